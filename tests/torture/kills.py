"""Runs that are killed at random moments and started again end with the losses and the student of an unbroken run.

    PYTHONPATH=tests python -m torture kills --kills 100

Each run is `finetune.py` on a small model, with a checkpoint after every update, in a process that gets SIGKILL at a
moment drawn from the time that an unbroken run takes: while it compiles, trains, saves, exports or writes the report.
"""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import model_files
import numpy as np

PROGRAM = """
import sys
from jaxalias.commands import command_line, finetune, long_runs, measuring
from jaxalias.evaluation import SineSet, played
long_runs.CHECKPOINT_EVERY_S, long_runs.ASKED_EVERY = 0, 1
played.SECONDS, played.LEAD_S = 1.0, 0.1
measuring.measure.__defaults__ = (SineSet((60, 61), (-18.0,)),)
sys.argv[0] = "finetune.py"
command_line.run(finetune.main)
"""
"""The command with a checkpoint after every update, so that the test need not wait for a minute; it measures little."""
LITTLE_MUSIC = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import little_music
from jaxalias import fine_tuning
fine_tuning.play_music, fine_tuning.HELD_OUT_S = little_music.play_music, little_music.HELD_OUT_S
"""
"""Before the program."""
GAIN = 200.0  # of the input of the models, which then alias and are trained
LONGEST_S = 1800.0


class Case(NamedTuple):
    """A kind of model, a preset, and how long the run is."""

    kind: str
    preset: str
    updates: int


CASES = tuple(
    Case(kind, preset, updates)
    for (kind, updates), preset in itertools.product((("WaveNet", 160), ("LSTM", 58)), ("fast", "best"))
)
"""The first 150 updates of a WaveNet, 50 of an LSTM, are the search for its learning rate."""
MODELS: dict[str, Callable[[Path], Path]] = {
    "WaveNet": lambda path: model_files.wavenet(path, gain=GAIN),
    "LSTM": lambda path: model_files.lstm(path, GAIN),
}


def start(options: Sequence[object], before: str = "", **streams: Any) -> subprocess.Popen:
    """The command in a process of its own, after a program that runs before it."""
    return subprocess.Popen([sys.executable, "-c", before + PROGRAM, *map(str, options)], **streams)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen, seconds: float = 600) -> None:
    """Wait until something is so, while a process runs; the process is killed if that takes too long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "ended before it could be interrupted: give it more updates"
        if time.monotonic() > deadline:
            process.kill()
            raise TimeoutError(f"not so after {seconds:g} s: {process.args}")
        time.sleep(0.02)


def killed(options: Sequence[object], after_s: float) -> bool:
    """Whether the command was killed after so many seconds; False where it had ended by then, as it should."""
    process = start(options, LITTLE_MUSIC, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, error = process.communicate(timeout=after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True
    assert process.returncode == 0, error.decode()
    return False


def history(folder: Path) -> list[dict[str, Any]]:
    """The losses of all updates of a run that has ended."""
    return json.loads((folder / "result.json").read_text())["history"]


def has_checkpoint(folder: Path) -> bool:
    """Whether a run has saved something."""
    return any(path.name.isdecimal() for path in folder.glob("checkpoints/*"))


def sums(folder: Path, updates: int) -> bytes:
    """The checksums of the last checkpoint: of all parameters and moments, and of the losses of all updates."""
    return (folder / "checkpoints" / str(updates) / "sha256").read_bytes()


def torture_one(case: Case, count: int, random: np.random.Generator, folder: Path) -> dict[str, Any]:
    """Kill the runs of a case so many times; a run that ends before its next kill is compared, and another begins."""
    model = MODELS[case.kind](folder / "amp.x")

    def options(run: str) -> list[object]:
        files = ["--model", model, "--run-dir", folder / run, "--output", folder / f"{run}.x", "--quiet"]
        return [*files, "--preset", case.preset, "--updates", case.updates, "--batch-size", 2]

    killed(options("warm"), LONGEST_S)  # compiles; the programs are kept
    started = time.monotonic()
    killed(options("whole"), LONGEST_S)
    seconds = time.monotonic() - started
    student = (folder / "whole.x").read_bytes()
    kills = saved = runs = 0
    faults: list[str] = []
    while True:
        run = f"run{runs}"
        while killed(options(run), random.uniform(0, seconds) if kills < count else LONGEST_S):
            kills += 1
            saved += has_checkpoint(folder / run)
            if (folder / f"{run}.x").exists() and (folder / f"{run}.x").read_bytes() != student:
                faults.append(f"{run}: a student that is not whole after kill {kills}")
        runs += 1
        if history(folder / run) != history(folder / "whole"):
            faults.append(f"{run}: other losses than those of the unbroken run")
        if sums(folder / run, case.updates) != sums(folder / "whole", case.updates):
            faults.append(f"{run}: another state than that of the unbroken run")
        if (folder / f"{run}.x").read_bytes() != student:
            faults.append(f"{run}: another student than that of the unbroken run")
        if kills >= count:
            break
    return {"kills": kills, "with_checkpoints": saved, "runs": runs, "unbroken_s": round(seconds, 1), "faults": faults}


def torture(count: int, seed: int, folder: Path, cases: Sequence[Case] = CASES) -> dict[str, Any]:
    """Kill runs of each case in equal shares.

    Returns:
        {"kills", "failures": what was not as in the unbroken run, "cases": {name: {"kills", "with_checkpoints": those
        after which there was something to resume, "runs", "unbroken_s", "faults"}}}.
    """
    found = {}
    for number, case in enumerate(cases):
        share = count * (number + 1) // len(cases) - count * number // len(cases)
        place = folder / f"{case.kind}-{case.preset}"
        place.mkdir(parents=True)
        found[place.name] = torture_one(case, share, np.random.default_rng([seed, number]), place)
    failures = [f"{name}, {fault}" for name, one in found.items() for fault in one["faults"]]
    return {"kills": sum(one["kills"] for one in found.values()), "cases": found, "failures": failures}
