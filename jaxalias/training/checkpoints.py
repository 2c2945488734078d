"""Save and restore the progress of a run with Orbax [disk].

A checkpoint appears under its final name only when it is complete, so a run killed at any moment finds
the last whole one. The two newest are kept. Each says what run it is of, so that one left by a run that
should have been gone, written late into a folder that was emptied, is not taken for this one's.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp

_ARRAYS, _PROGRESS, _RUN = "arrays", "progress", "run_sha256"
_KEPT = 2


Progress = TypeVar("Progress", bound=tuple)
"""How far a run is: a NamedTuple of `updates_done`, arrays under `state` (all that one update changes) and `best`
(the best parameters so far), and whatever else JSON holds."""


class CheckpointMismatchError(ValueError):
    """The checkpoints of a folder belong to another model or another config."""


class Checkpoints:
    """The checkpoints of one model in one folder, whether it is trained alone or with others.

    With several hosts the first writes and all read, so the folder has to be one that they share.

    Args:
        folder: of the model, made if it is not there; checkpoints go to `checkpoints` in it.
        identity: what is trained (config, model), as plain JSON; a folder that holds another is refused.

    Raises:
        CheckpointMismatchError: names the first key that differs and both values.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self._here, self._folder = jax.process_index(), folder
        self._run = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        if self._here == 0:
            _claim(folder / "run.json", identity)
        alone = ocp.options.MultiprocessingOptions(
            primary_host=self._here, active_processes={self._here}, barrier_sync_key_prefix=f"host{self._here}"
        )
        self._manager = ocp.CheckpointManager(
            folder.absolute() / "checkpoints",
            options=ocp.CheckpointManagerOptions(
                max_to_keep=_KEPT, create=False, enable_async_checkpointing=False, multiprocessing_options=alone
            ),
        )

    def save(self, progress: Any) -> None:
        """Write a `Progress` that is on this host; returns when it is on disk."""
        if self._here:
            return
        arrays = {"state": progress.state, "best": progress.best}
        rest = {name: value for name, value in progress._asdict().items() if name not in ("updates_done", *arrays)}
        rest[_RUN] = self._run
        self._manager.save(
            progress.updates_done,
            args=ocp.args.Composite(**{_ARRAYS: ocp.args.StandardSave(arrays), _PROGRESS: ocp.args.JsonSave(rest)}),
        )

    def steps(self) -> list[int]:
        """After which updates there is a checkpoint, oldest first."""
        return sorted(self._manager.all_steps())

    def restore(self, step: int, like: Progress) -> Progress:
        """The progress after `step` updates, on the host. `like`, on the host too, gives shapes and types.

        Raises:
            CheckpointMismatchError: that checkpoint is another run's.
        """
        run: Any = like
        saved = self._manager.restore(
            step,
            args=ocp.args.Composite(
                **{
                    _ARRAYS: ocp.args.StandardRestore({"state": run.state, "best": run.best}),
                    _PROGRESS: ocp.args.JsonRestore(),
                }
            ),
        )
        rest = dict(saved[_PROGRESS])
        if rest.pop(_RUN, None) != self._run:
            raise CheckpointMismatchError(
                f"{self._folder}: checkpoint {step} is not of the run in run.json there; give another run folder"
            )
        restored: Progress = run._replace(updates_done=step, **saved[_ARRAYS], **rest)
        return restored

    def close(self) -> None:
        """Wait for Orbax to finish."""
        self._manager.close()


def _claim(path: Path, identity: dict[str, Any]) -> None:
    """Write what the run is, or compare with what stands there."""
    if not path.exists():
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(identity, indent=1))
        partial.replace(path)
        return
    found, asked = _flat(json.loads(path.read_text())), _flat(json.loads(json.dumps(identity)))
    for key in sorted(found.keys() | asked.keys()):
        if found.get(key) != asked.get(key):
            raise CheckpointMismatchError(
                f"{path.parent}: this folder holds another run: {key} is {found.get(key)!r} there and "
                f"{asked.get(key)!r} here; give another run folder, or the arguments of that run"
            )


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for name, part in value.items() for k, v in _flat(part, f"{key}.{name}".lstrip(".")).items()}
    return {key: value}
