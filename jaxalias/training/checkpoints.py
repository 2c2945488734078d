"""Save and restore the progress of a run, with checksums that detect damaged files [disk].

A checkpoint is a folder; its name is the number of its update:

    arrays.npz      all arrays by their path in the tree, in numpy's format, bit for bit
    progress.json   the rest, and the checksum of the run's identity
    sha256          the checksums of both files, in the format of `sha256sum --check`

The folder gets this name when all its files are on the disk. So a run that is killed at any moment finds the last
complete checkpoint. A checkpoint is used only if both files match their checksums: if the newest is damaged, a run
continues from the one before. The two newest are kept.
"""

import hashlib
import json
import shutil
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from jaxalias import disk

_ARRAYS, _PROGRESS, _SUMS = "arrays.npz", "progress.json", "sha256"
_RUN = "run_sha256"
_EARLIER = "_CHECKPOINT_METADATA"  # part of the checkpoints of versions before 0.1.0, which Orbax wrote
_KEPT = 2


Progress = TypeVar("Progress", bound=tuple)
"""The progress of a run: a NamedTuple of `updates_done`, arrays under `state` (everything that one update changes) and
`best` (the best parameters so far), and other fields that JSON can hold."""


class CheckpointMismatchError(ValueError):
    """The checkpoints of a folder belong to another model or another config."""


class CheckpointDamagedError(ValueError):
    """A folder has checkpoints, and all of them are damaged."""


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Checkpoints:
    """The checkpoints of one model in one folder, whether it is trained alone or with others.

    With several hosts the first writes and all read, so all of them need access to the folder.

    Args:
        folder: of the model, made if it does not exist; checkpoints are in its folder `checkpoints`.
        identity: config and model of the run, as plain JSON, in the order in which a difference is looked for; a folder
            with another identity is refused.
        say: called with a line about each damaged file and how the run continues (default: prints it on stderr).

    Raises:
        CheckpointMismatchError: the message names the first key that differs and both values.
        CheckpointDamagedError: all checkpoints are damaged. The message names the folder and the remedy.
    """

    def __init__(self, folder: Path, identity: dict[str, Any], say: Callable[[str], None] = _print) -> None:
        self._first = jax.process_index() == 0  # the first host alone writes and prints
        self._folder, self._place = folder, folder / "checkpoints"
        self._say = say if self._first else lambda line: None
        plain = json.dumps(identity, sort_keys=True)
        self._run = hashlib.sha256(plain.encode()).hexdigest()
        self._place.mkdir(parents=True, exist_ok=True)
        steps = sorted(int(path.name) for path in self._place.iterdir() if path.name.isdecimal())
        faults = {step: fault for step in steps if (fault := _fault(self._at(step)))}
        self._whole = [step for step in steps if step not in faults]
        if self._first:
            self._claim(folder / "run.json", json.dumps(identity, indent=1), new=not steps)
        if steps and not self._whole:
            raise CheckpointDamagedError(
                f"{folder}: none of its checkpoints is whole ({'; '.join(f'{s}: {f}' for s, f in faults.items())}); "
                f"give another run folder, or delete {self._place} to begin this run again"
            )
        for step, fault in faults.items():
            self._say(f"{folder}: checkpoint {step} is damaged ({fault}); {self._whole[-1]} is the newest whole one")

    def save(self, progress: Any) -> None:
        """Write a `Progress` that is on this host. Returns when it is on the disk."""
        if not self._first:
            return
        arrays = _by_path({"state": progress.state, "best": progress.best})
        rest = {
            name: value
            for name, value in progress._asdict().items()
            if name not in ("updates_done", "state", "best")
        }  # fmt: skip
        step = progress.updates_done
        partial = self._place / f".{uuid.uuid4().hex}.part"
        try:
            partial.mkdir()
            with (partial / _ARRAYS).open("wb") as file:
                np.savez(file, **arrays)  # type: ignore[arg-type]
            (partial / _PROGRESS).write_text(json.dumps({_RUN: self._run, "progress": rest}))
            (partial / _SUMS).write_text("".join(_sum(partial / name) for name in (_ARRAYS, _PROGRESS)))
            for path in (*(partial / name for name in (_ARRAYS, _PROGRESS, _SUMS)), partial):
                disk.sync(path)
            _remove(self._at(step))
            partial.rename(self._at(step))
            disk.sync(self._place)
        finally:
            _remove(partial)
        self._whole = [*(found for found in self._whole if found < step), step][-_KEPT:]
        kept = {str(found) for found in self._whole}
        for path in self._place.iterdir():  # older ones, damaged ones, and unfinished ones of a killed run
            if path.name not in kept and (path.name.isdecimal() or path.suffix == ".part"):
                _remove(path)

    def steps(self) -> list[int]:
        """The updates with an undamaged checkpoint, oldest first."""
        return list(self._whole)

    def restore(self, step: int, like: Progress) -> Progress:
        """The progress after `step` updates, on the host. `like`, also on the host, gives shapes and types.

        Raises:
            CheckpointMismatchError: the checkpoint belongs to another run, or its arrays differ in shape or type from
                `like`.
        """
        run: Any = like
        saved = json.loads((self._at(step) / _PROGRESS).read_text())
        if saved[_RUN] != self._run:
            raise CheckpointMismatchError(
                f"{self._folder}: checkpoint {step} is not of the run in run.json there; give another run folder"
            )
        wanted = {"state": run.state, "best": run.best}
        with np.load(self._at(step) / _ARRAYS) as file:
            found = {path: file[path] for path in file.files}
        for path, array in _by_path(wanted).items():
            there = found.get(path)
            if there is None or (there.shape, there.dtype.itemsize) != (array.shape, array.dtype.itemsize):
                what = "nothing" if there is None else f"{there.dtype}{list(there.shape)}"
                raise CheckpointMismatchError(
                    f"{self._folder}: checkpoint {step} must hold {path} as {array.dtype}{list(array.shape)}, holds "
                    f"{what}: it is of another version of this program; give another run folder"
                )
        leaves = [found[path].view(array.dtype) for path, array in _by_path(wanted).items()]
        arrays = jax.tree.unflatten(jax.tree.structure(wanted), leaves)
        restored: Progress = run._replace(updates_done=step, **arrays, **saved["progress"])
        return restored

    def close(self) -> None:
        """Do nothing: `save` returns only when everything is on the disk."""

    def _at(self, step: int) -> Path:
        return self._place / str(step)

    def _claim(self, path: Path, text: str, *, new: bool) -> None:
        """Write the identity of the run, or compare it with the one in the folder.

        The checkpoints hold the checksum of the identity too. If all undamaged checkpoints belong to this run, a
        `run.json` that cannot be read, or that differs, is damaged and is written again.

        Args:
            path: of `run.json`.
            text: the identity of this run as JSON, the content of the file.
            new: true if the run has no checkpoints yet.
        """
        identity = json.loads(text)
        found = _read_object(path) if path.exists() else None
        there, here = _flat(found), _flat(identity)
        every = [*here, *sorted(there.keys() - here.keys())]
        differing = [key for key in every if there.get(key) != here.get(key)]
        if found is not None and not differing:
            return
        of_this_run = [self._run_of(step) == self._run for step in self._whole]
        if not path.exists():
            disk.write_text(path, text)
        elif (of_this_run and all(of_this_run)) or (found is None and new and _was_object(path)):
            self._say(f"{path}: was damaged and is written anew for this run")
            disk.write_text(path, text)
        elif found is not None and (other := _fields(found) ^ _fields(identity)):
            raise CheckpointMismatchError(
                f"{self._folder}: this folder holds a run of another version of this program, or of another command "
                f"(config.{min(other)} is known to one of the two alone); give another run folder"
            )
        elif found is not None:
            raise CheckpointMismatchError(
                f"{self._folder}: this folder holds another run: {differing[0]} is {_shown(there, differing[0])} there "
                f"and {_shown(here, differing[0])} here; give another run folder, or the arguments of that run"
            )
        elif of_this_run or new:
            what = "is not what a run writes" if new else "is damaged, and the checkpoints there are of another run"
            raise CheckpointMismatchError(f"{path}: {what}; give another run folder, or the arguments of that run")

    def _run_of(self, step: int) -> str:
        return str(json.loads((self._at(step) / _PROGRESS).read_text())[_RUN])


def _by_path(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a tree as arrays, by their path in it."""
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}


def _fault(folder: Path) -> str | None:
    """The fault of a checkpoint, or None."""
    name = _SUMS
    try:
        sums = (folder / _SUMS).read_bytes().splitlines(keepends=True)
        for name in (_ARRAYS, _PROGRESS):
            if _sum(folder / name).encode() not in sums:
                return f"{name} has not the checksum in {_SUMS}"
    except OSError as error:
        if (folder / _EARLIER).exists():
            return "it is of an earlier version of this program, in another format"
        return f"{name}: {error.strerror}"
    return None


def _sum(path: Path) -> str:
    """A line in the format of `sha256sum`."""
    with path.open("rb") as file:
        return f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {path.name}\n"


def _read_object(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None if the file holds anything else."""
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _was_object(path: Path) -> bool:
    """True if a file that is no valid JSON may be the remains of an object."""
    return path.read_bytes().strip(b"\0 \n")[:1] in (b"", b"{")


def _remove(path: Path) -> None:
    """Remove a file, or a folder with its content, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _fields(identity: dict[str, Any]) -> set[str]:
    """The names of a run's settings. They are equal for all runs of one version of a command."""
    config = identity.get("config")
    return set(config) if isinstance(config, dict) else set()


def _shown(flat: dict[str, Any], key: str) -> str:
    """A setting in the form for an error message."""
    return repr(flat[key]) if key in flat else "not set"


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for name, part in value.items() for k, v in _flat(part, f"{key}.{name}".lstrip(".")).items()}
    return {key: value}
