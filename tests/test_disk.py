"""The one writer: all of a file or nothing, whatever goes wrong, and what is no file stays what it is."""

import os
import re
import stat
from pathlib import Path

import pytest

from jaxalias import disk

ROOT = Path(__file__).parents[1]


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_is_written_and_replaced(tmp_path: Path) -> None:
    for text in ("first\r\n", "Gitarre äöü\n"):
        disk.write_text(tmp_path / "x.txt", text)
        assert everything(tmp_path) == {"x.txt": text.encode()}


@pytest.mark.parametrize("earlier", [None, b"earlier"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_writer_that_fails_leaves_what_was_there(
    tmp_path: Path, earlier: bytes | None, error: type[BaseException]
) -> None:
    path = tmp_path / "x.json"
    if earlier is not None:
        path.write_bytes(earlier)
    before = everything(tmp_path)
    with pytest.raises(error), disk.replacing(path) as partial:
        assert partial.suffix == ".json"
        partial.write_bytes(b"half")
        raise error
    assert everything(tmp_path) == before


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    (tmp_path / "x").write_bytes(b"earlier")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"):
        disk.write_bytes(tmp_path / "x", b"new")
    assert everything(tmp_path) == {"x": b"earlier"}


def test_links_modes_and_devices_stay_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"earlier")
    (tmp_path / "x").chmod(0o640)
    (tmp_path / "link").symlink_to("x")
    disk.write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "x").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640
    disk.write_bytes("/dev/null", b"nowhere")
    assert Path("/dev/null").is_char_device()


def test_folders_and_files_that_are_not_to_be_written_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder"):
        disk.write_bytes(tmp_path, b"")
    (tmp_path / "x").write_bytes(b"kept")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    with pytest.raises(PermissionError, match=r"x'"):
        disk.write_bytes(tmp_path / "x", b"new")
    assert everything(tmp_path) == {"x": b"kept"}


def test_no_other_writer_replaces_files() -> None:
    """Whoever writes a file does it through this one, or a crash may leave half of it."""
    sources = [path for name in ("jaxalias", "weights_import") for path in (ROOT / name).rglob("*.py")]
    own = re.compile(r"os\.replace|(?<!disk)(?<!writing)\.write_(text|bytes)\(|\.rename\(")
    writers = {str(path.relative_to(ROOT)) for path in sources if own.search(path.read_text())}
    assert writers == {
        "jaxalias/disk.py",
        "jaxalias/training/checkpoints.py",  # writes a folder, which takes its name as a whole
        "weights_import/disk.py",  # inside of `replacing`, to read it back
    }
