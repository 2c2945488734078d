"""The product of commands and kinds of model: each works, or is refused by name in one line with exit code 2.

    JAXALIAS_EVERY_CELL=1 pytest -m "" tests/commands/test_every_model_in_every_command.py

is all of it, some minutes. Without that, commands which do the same with a model as another one are tried on kinds
that differ most (`SHORT`).
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import model_kinds
import numpy as np
import pytest
import soundfile
from model_kinds import KINDS, RATE

from jaxalias import evaluation, listening
from jaxalias.commands import (
    command_line,
    convert,
    corrective_filter,
    evaluate,
    finetune,
    listening_test,
    measuring,
    render,
    survey,
    sweep,
)
from jaxalias.evaluation import played

SAMPLES = RATE // 2
FEW = evaluation.SineSet((60, 61), (-18.0,))
FEEDFORWARD = ("WaveNet, legacy", "WaveNet, current", "A2", "slimmable", "condition_dsp", "ConvNet", "Linear")
TRAINING = ("finetune", "sweep")
NOT_CONVERTED = "must be SimpleRNN or RTNeural JSON to be converted"


class Cell(NamedTuple):
    """A command that is typed: its module, its arguments, and the file that it has to make."""

    command: Any
    arguments: tuple[object, ...]
    makes: Path


def survey_it(folder: Path, model: Path, student: Path) -> Cell:
    made = folder / "table.csv"
    return Cell(survey, (model, "--quick", "--csv", made), made)


def evaluate_it(folder: Path, model: Path, student: Path) -> Cell:
    made = folder / "evaluation.json"
    clips = ("--audio", folder / "riff.wav", "--oversample", 2, "--json", made)
    few = ("--midi", 60, 61, "--levels", -18)
    return Cell(evaluate, ("--teacher", model, "--student", student, *clips, *few), made)


def render_it(folder: Path, model: Path, student: Path, *options: object) -> Cell:
    made = folder / "out.wav"
    return Cell(render, ("--model", model, "--input", folder / "riff.wav", "--output", made, *options), made)


def oversample_it(folder: Path, model: Path, student: Path) -> Cell:
    return render_it(folder, model, student, "--oversample", 2)


def convert_it(folder: Path, model: Path, student: Path) -> Cell:
    made = folder / "converted.json"
    return Cell(convert, ("--model", model, "--output", made), made)


def finetune_it(folder: Path, model: Path, student: Path) -> Cell:
    made = folder / "student"
    few = ("--updates", 1, "--batch-size", 2, "--run-dir", folder / "run")
    return Cell(finetune, ("--model", model, "--output", made, *few), made)


def sweep_it(folder: Path, model: Path, student: Path) -> Cell:
    made = folder / "run" / "table.csv"
    few = ("--set", "updates=1", "--set", "batch_size=2", "--run-dir", folder / "run", "--oversample")
    return Cell(sweep, ("--model", model, *few), made)


def listen_to_it(folder: Path, model: Path, student: Path) -> Cell:
    made = folder / "test" / "index.html"
    clip = ("--audio", folder / "riff.wav", "--seconds", listening.SHORTEST_S, "--oversample", 2)
    return Cell(listening_test, ("--teacher", model, "--student", student, *clip, "--output", made.parent), made)


def filter_it(folder: Path, model: Path, student: Path) -> Cell:
    made = folder / "filter.json"
    return Cell(corrective_filter, ("--teacher", model, "--student", student, "--taps", 4, "--json", made), made)


COMMANDS: dict[str, Callable[[Path, Path, Path], Cell]] = {
    "survey": survey_it,
    "evaluate": evaluate_it,
    "render": render_it,
    "render oversampled": oversample_it,
    "convert": convert_it,
    "finetune": finetune_it,
    "sweep": sweep_it,
    "listening_test": listen_to_it,
    "corrective_filter": filter_it,
}
REFUSED: dict[tuple[str, str], str] = {
    **{("convert", kind): NOT_CONVERTED for kind in (*FEEDFORWARD, "NAM LSTM", "PyTorch LSTM")},
    **{(command, "Linear"): "a Linear model does not alias" for command in TRAINING},
    **{(command, "slimmable"): "players may cut it to fewer channels" for command in TRAINING},
    ("sweep", "A2"): "must hold one network for a sweep, got 2",
    ("convert", "RTNeural LSTM"): "must be 40 (Proteus) or 20 (NeuralPi)",
    ("convert", "RTNeural GRU with a knob"): "must be LSTM",
}
"""What is refused, and the words."""
SHORT = {
    "finetune": ("WaveNet, current", "A2", "ConvNet", "NAM LSTM", "SimpleRNN GRU with a knob", "PyTorch LSTM"),
    "sweep": ("WaveNet, current",),
    "listening_test": ("A2", "Linear", "SimpleRNN GRU with a knob"),
    "corrective_filter": ("A2", "Linear", "SimpleRNN GRU with a knob"),
}
"""Of commands that play or train models as others do, and of kinds that are the same network in another format."""
CELLS = [
    pytest.param(name, kind, marks=pytest.mark.slow if name in TRAINING and (name, kind) not in REFUSED else ())
    for name in COMMANDS
    for kind in KINDS
    if os.environ.get("JAXALIAS_EVERY_CELL") or kind in SHORT.get(name, KINDS) or (name, kind) in REFUSED
]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few tones, little playing, several blocks."""
    monkeypatch.setattr(survey, "QUICK", FEW)
    monkeypatch.setattr(render, "BLOCK", 4000)
    monkeypatch.setattr(measuring.measure, "__defaults__", (FEW,))
    monkeypatch.setattr(played, "SECONDS", 2.0)
    monkeypatch.setattr(corrective_filter, "TONES", 4)


@pytest.mark.parametrize(("name", "kind"), CELLS)
def test_it_works_or_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, quick: None, name: str, kind: str
) -> None:
    if kind.startswith("PyTorch"):
        pytest.importorskip("torch")
    model, student = model_kinds.write(kind, tmp_path / "amp.x"), model_kinds.write(kind, tmp_path / "new.x", 0.9)
    x = np.random.default_rng(0).uniform(-0.3, 0.3, SAMPLES)
    soundfile.write(tmp_path / "riff.wav", x, RATE, subtype="FLOAT")
    command, arguments, made = COMMANDS[name](tmp_path, model, student)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments), "--quiet"])
    refusal = REFUSED.get((name, kind))
    if refusal is None:
        command_line.run(command.main)
        assert made.stat().st_size > 0
        check_finite(made)
        return
    with pytest.raises(SystemExit) as stopped:
        command_line.run(command.main)
    error = capsys.readouterr().err
    assert stopped.value.code == 2
    assert error.count("\n") == 1, error
    assert "amp.x" in error
    assert refusal in error
    assert not made.exists()


def check_finite(made: Path) -> None:
    if made.suffix == ".wav":
        y, _ = soundfile.read(made)
        assert len(y) == SAMPLES
        assert np.isfinite(y).all()
        assert y.any()
    if made.suffix == ".json":
        assert json.loads(made.read_text())
