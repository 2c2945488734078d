"""Bytes of a model file from and to the disk: bounded on the way in, all or nothing on the way out."""

from collections.abc import Callable
from pathlib import Path

from jaxalias import disk
from weights_import.model_file import MAX_BYTES, ModelFileError


def read(path: Path) -> bytes:
    """The bytes of a file.

    Raises:
        ModelFileError: not a regular file (a device may have no end), empty, or larger than any model.
        OSError: not there, or not allowed.
    """
    size = path.stat().st_size
    if not path.is_file():
        raise ModelFileError("must be a file, not a folder or device")
    if not 0 < size <= MAX_BYTES:
        raise ModelFileError(f"must hold 1 to {MAX_BYTES} bytes, got {size}")
    return path.read_bytes()


def replace(path: Path, data: bytes, verify: Callable[[bytes], None]) -> None:
    """Write a file beside `path`, read it back, and only then give it that name.

    Args:
        path: through links, to the file they lead to.
        verify: raises if what was read back is not what was meant.

    Raises:
        OSError, or what `verify` raises. A file that was there is then as it was, and nothing is left beside it.
    """
    if path.is_dir():
        raise ModelFileError("must be a file, not a folder")
    with disk.replacing(path) as partial:
        partial.write_bytes(data)
        verify(partial.read_bytes())
