"""Files written whole or not at all: the one writer behind all that this package puts on a disk [disk]."""

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Write a file under another name beside `path`; it gets that name when the block ends without an error.

    By then its content is on the disk, so that a crash leaves either the file that was there before or the new one.
    An error in the block leaves the earlier file as it was and nothing beside it.

    Args:
        path: a file, an earlier one or none; links are followed to the file they lead to. A device or a pipe has
            nothing to be kept and is written to directly.

    Yields:
        The path to write to, with the ending of `path`.

    Raises:
        OSError: `path` is a folder or a file that may not be written to; or the disk does not take the file.
    """
    target = Path(path).resolve()
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "must be a file, is a folder", str(path))
    if target.exists() and not target.is_file():
        yield target
        return
    if target.exists() and not os.access(target, os.W_OK):  # its folder would let it be replaced, its owner would not
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    partial = target.with_name(f".{uuid.uuid4().hex}.part{target.suffix}")  # unlike tempfile's, with usual permissions
    try:
        yield partial
        sync(partial)
        if target.exists():
            partial.chmod(stat.S_IMODE(target.stat().st_mode))
        partial.replace(target)
        sync(target.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a file, all or nothing; raises OSError as `replacing` does."""
    with replacing(path) as partial:
        partial.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text in UTF-8, its line ends as they are; raises OSError as `replacing` does."""
    write_bytes(path, text.encode())


def sync(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":  # where folders cannot be opened
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
