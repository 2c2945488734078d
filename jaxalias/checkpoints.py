"""Save and restore the progress of a run with Orbax [disk].

A checkpoint appears under its final name only when it is complete, so a run killed at any moment finds
the last whole one. The two newest are kept.
"""

import json
from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp

_ARRAYS, _PROGRESS = "arrays", "progress"


Progress = TypeVar("Progress", bound=tuple)
"""How far a run is: a NamedTuple of `updates_done`, arrays under `state` (all that one update changes) and `best`
(the best parameters so far), and whatever else JSON holds."""


class CheckpointMismatchError(ValueError):
    """The checkpoints of a folder belong to another model or another config."""


class Checkpoints:
    """The checkpoints of one run in one folder.

    Args:
        folder: of the run, made if it is not there; checkpoints go to `checkpoints` in it.
        identity: what the run is (config, model), as plain JSON; a folder that holds another is refused.

    Raises:
        CheckpointMismatchError: names the first key that differs and both values.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        _claim(folder / "run.json", identity)
        self._manager = ocp.CheckpointManager(
            folder.absolute() / "checkpoints",
            options=ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False),
        )

    def save(self, progress: Any) -> None:
        """Write a checkpoint of a `Progress`; returns when it is on disk."""
        arrays = {"state": progress.state, "best": progress.best}
        rest = {name: value for name, value in progress._asdict().items() if name not in ("updates_done", *arrays)}
        self._manager.save(
            progress.updates_done,
            args=ocp.args.Composite(**{_ARRAYS: ocp.args.StandardSave(arrays), _PROGRESS: ocp.args.JsonSave(rest)}),
        )

    def restore(self, like: Progress) -> Progress | None:
        """The newest checkpoint, or None where there is none. `like` gives shapes and types."""
        step = self._manager.latest_step()
        if step is None:
            return None
        run: Any = like
        shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, {"state": run.state, "best": run.best})
        saved = self._manager.restore(
            step,
            args=ocp.args.Composite(**{_ARRAYS: ocp.args.StandardRestore(shapes), _PROGRESS: ocp.args.JsonRestore()}),
        )
        restored: Progress = run._replace(updates_done=step, **saved[_ARRAYS], **saved[_PROGRESS])
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
