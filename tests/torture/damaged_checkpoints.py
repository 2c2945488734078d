"""Every file of a checkpoint damaged in every way: the run goes on from the checkpoint before, to the same student.

    PYTHONPATH=tests python -m torture checkpoints

First `Checkpoints` alone, with damage at many places of every file; then `finetune.py`, with one damage of each kind.
"""

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import jax
import model_files
import numpy as np
from torture import commands
from torture.kills import sums

from jaxalias import evaluation
from jaxalias.commands import long_runs, measuring
from jaxalias.evaluation import played
from jaxalias.training.checkpoints import CheckpointDamagedError, Checkpoints

FILES = ("arrays.npz", "progress.json", "sha256")
IDENTITY = {"config": {"updates": 300, "table": None, "music": {}}, "model": {"hidden": 4}}
OLDER, NEWEST = 10, 20  # updates
PLACES = 500  # of each file: cut off there, and a bit flipped there
UPDATES = 4  # of the run by the command
Damage = Callable[[Path], object]


class Moments(NamedTuple):
    """Stands for an optimiser's state."""

    count: Any
    mean: Any


class Progress(NamedTuple):
    """As loops have it."""

    updates_done: int
    state: Any
    best: Any
    best_loss: list[float]
    history: list[dict[str, float]]


def progress(step: int) -> Progress:
    """That of a run after so many updates: random numbers."""
    random = np.random.default_rng(step)
    params = {"weight": random.normal(size=(3, 2)).astype(np.float32), "bias": random.normal(size=2)}
    state = {"params": params, "moments": (Moments(np.int32(step), [random.normal(size=(1, 3))]), ())}
    history = [{"update": n, "loss": float(random.normal()) / 3} for n in range(step)]
    return Progress(step, state, params, [1 / 3, float("inf")], history)


def assert_same(found: Progress, wanted: Progress) -> None:
    """Bit for bit, and in the same types."""
    assert found[0] == wanted[0] and found[3:] == wanted[3:]
    pairs = zip(jax.tree.leaves(found[1:3]), jax.tree.leaves(wanted[1:3]), strict=True)
    for ours, theirs in pairs:
        assert np.asarray(ours).dtype == np.asarray(theirs).dtype
        np.testing.assert_array_equal(ours, theirs)


def saved(folder: Path) -> Path:
    """The folder of a run with two checkpoints."""
    checkpoints = Checkpoints(folder, IDENTITY)
    for step in (5, OLDER, NEWEST):
        checkpoints.save(progress(step))
    checkpoints.close()
    return folder


def flip(path: Path, at: float) -> None:
    """Turn over one bit, at a share of the file's length."""
    data = bytearray(path.read_bytes())
    data[int(at * (len(data) - 1))] ^= 4
    path.write_bytes(data)


def cut(path: Path, at: float) -> None:
    """Keep a share of the file, but not all of it."""
    data = path.read_bytes()
    path.write_bytes(data[: min(int(at * len(data)), len(data) - 1)])


def in_folder(path: Path) -> None:
    """A folder of that name in its place."""
    path.unlink()
    path.mkdir()


KINDS: dict[str, Damage] = {
    "removed": Path.unlink,
    "cut off": lambda path: cut(path, 0.5),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "bit flipped": lambda path: flip(path, 0.5),
}
DAMAGES: dict[str, Damage] = KINDS | {
    "empty": lambda path: cut(path, 0),
    "one byte short": lambda path: cut(path, 1),
    "foreign": lambda path: path.write_bytes(b"\xff\xfe[]"),
    "folder": in_folder,
    **{f"bit flipped at {at}": lambda path, at=at: flip(path, at) for at in (0, 0.1, 0.3, 0.9, 1)},
}


def everywhere(places: int) -> Iterator[tuple[str, Damage]]:
    """The damage of each kind at many places."""
    yield from DAMAGES.items()
    for at in np.linspace(0, 1, places):
        yield f"bit flipped at {at}", lambda path, at=at: flip(path, at)
        yield f"cut off at {at}", lambda path, at=at: cut(path, at)


def torture_class(folder: Path, places: int) -> tuple[int, list[str]]:
    """Damage the newest checkpoint alone, then the older one too: how often, and what went wrong."""
    whole, damaged, count, faults = saved(folder / "whole"), folder / "damaged", 0, []
    for name, (words, damage) in itertools.product(FILES, everywhere(places)):
        shutil.copytree(whole, damaged)
        try:
            damage(damaged / "checkpoints" / str(NEWEST) / name)
            assert_same(Checkpoints(damaged, IDENTITY, lambda line: None).restore(OLDER, progress(0)), progress(OLDER))
            damage(damaged / "checkpoints" / str(OLDER) / name)
            try:
                Checkpoints(damaged, IDENTITY, lambda line: None)
            except CheckpointDamagedError as error:
                assert str(damaged) in str(error)
            else:
                raise AssertionError("no whole checkpoint was left, and there was no error")
        except Exception as error:
            faults.append(f"{name}, {words}: {type(error).__name__}: {error}"[:500])
        count += 2
        shutil.rmtree(damaged)
    return count, faults


def torture_command(folder: Path) -> tuple[int, list[str]]:
    """The same of a run of `finetune.py`, one damage of each kind to each file, and to `run.json`."""
    model = model_files.wavenet(folder / "amp.nam")

    def typed(run: str) -> tuple[int, str]:
        options = ["--model", model, "--run-dir", folder / run, "--output", folder / f"{run}.nam", "--quiet"]
        return commands.run("finetune", *options, "--updates", UPDATES, "--batch-size", 2)

    code, said = typed("whole")
    assert code == 0, said
    wanted = (folder / "whole.nam").read_bytes()
    places = [*(f"checkpoints/{UPDATES}/{name}" for name in FILES), "run.json"]
    faults = []
    for name, (words, damage) in itertools.product(places, KINDS.items()):
        shutil.copytree(folder / "whole", folder / "run")
        damage(folder / "run" / name)
        code, said = typed("run")
        if code or (folder / "run.nam").read_bytes() != wanted:
            faults.append(f"{name}, {words}: exit code {code}, or another student: {said}")
        elif sums(folder / "run", UPDATES) != sums(folder / "whole", UPDATES):
            faults.append(f"{name}, {words}: another state, or other losses")
        elif (name, words) != ("run.json", "removed") and str(folder / "run") not in said:
            faults.append(f"{name}, {words}: no line about the damage")
        shutil.rmtree(folder / "run")
        (folder / "run.nam").unlink(missing_ok=True)
    return len(places) * len(KINDS), faults


def torture(folder: Path, places: int = PLACES) -> dict[str, Any]:
    """Both; {"damages": of files, "by_command": those with `finetune.py`, "failures"}."""
    alone, by_command = folder / "alone", folder / "by_command"
    alone.mkdir()
    by_command.mkdir()
    count, faults = torture_class(alone, places)
    few = evaluation.SineSet((60, 61), (-18.0,))
    with (
        patch.multiple(long_runs, CHECKPOINT_EVERY_S=0.0, ASKED_EVERY=1),
        patch.multiple(played, SECONDS=1.0, LEAD_S=0.1),
        patch.object(measuring.measure, "__defaults__", (few,)),
    ):
        more, other_faults = torture_command(by_command)
    return {"damages": count, "by_command": more, "failures": faults + other_faults}
