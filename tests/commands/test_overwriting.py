"""No command writes over a file that it reads, nor over one that it did not make."""

import csv
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from model_files import lstm
from rnn_documents import simple_rnn

import weights_import
from jaxalias.commands import command_line, convert, overwriting, pretrain, reading, survey, writing
from jaxalias.commands.fine_tuning import FINE_TUNED
from jaxalias.commands.overwriting import Output
from jaxalias.signals import audio_files

RATE = 44_100


@pytest.fixture
def typed(monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """Run a command in this process: exit code, stderr."""

    def run(name: str, *arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments), "--quiet"])
        try:
            command_line.run(importlib.import_module(f"jaxalias.commands.{name}").main)
        except SystemExit as stop:
            return int(stop.code), capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


@pytest.fixture
def files(tmp_path: Path, monkeypatch) -> Path:
    """A user's folder, and the one in which commands run."""
    monkeypatch.chdir(tmp_path)
    lstm(tmp_path / "amp.json")
    lstm(tmp_path / "mine.json", 3.0)
    (tmp_path / "rnn.json").write_text(json.dumps(simple_rnn(hidden=20)))
    random = np.random.default_rng(0)
    for name in ("riff.wav", "take.wav"):
        soundfile.write(tmp_path / name, 0.3 * random.uniform(-1, 1, RATE), RATE)
    (tmp_path / "results.csv").write_text("session_test_id\n")
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    (tmp_path / "link.wav").symlink_to("riff.wav")
    for name in ("index.html", "table.md", "result.json", "nmr.png", "test.json", "violins.png", "marks.json"):
        (tmp_path / "site" / "amp").mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_text("mine")
        (tmp_path / "site" / "amp" / name).write_text("mine")
    (tmp_path / "site" / "inputs").mkdir()
    soundfile.write(tmp_path / "site" / "inputs" / "music-riff.wav", np.zeros(10), RATE)
    return tmp_path


EXISTS = "exists, and {} did not make it; give another name, or --force"
CASES: list[tuple[str, str, str]] = [
    ("finetune", "--model amp.json --output mine.json", EXISTS),
    ("finetune", "--model amp.json --output amp.json", "is the model itself"),
    ("finetune", "--model amp.json --train-audio riff.wav --output link.wav", "is the file of --train-audio"),
    ("finetune", "--model amp.json --audio riff.wav --json riff.wav", "is the file of --audio"),
    ("finetune", "--model amp.json --run-dir site", EXISTS),
    ("finetune", "--model amp.json --json results.csv", EXISTS),
    ("evaluate", "--teacher amp.json --json amp.json", "is the file of --teacher"),
    ("evaluate", "--teacher amp.json --student mine.json --json mine.json", "is the file of --student"),
    ("evaluate", "--teacher amp.json --audio riff.wav --recording take.wav --json take.wav", "the file of --recording"),
    ("evaluate", "--teacher amp.json --json mine.json", EXISTS),
    ("evaluate", "--teacher amp.json --report site", EXISTS),
    ("evaluate", "--teacher amp.json --report .", "table.csv " + EXISTS),
    (
        "evaluate",
        "--teacher amp.json --report new --json new/index.html",
        "index.html is a file of --report",
    ),
    ("finetune", "--model amp.json --run-dir new --output new/run.json", "is a file of the run itself"),
    ("finetune", "--model amp.json --run-dir new --output ./new/table.md", "is a file of the run itself"),
    ("finetune", "--model amp.json --run-dir new --json new/run.json", "is a file of the run itself"),
    ("survey", "amp.json --csv table.csv", EXISTS),
    ("survey", "amp.json --json riff.wav", EXISTS),
    ("survey", ". --csv amp.json", "is one of the files to be surveyed"),
    ("survey", "amp.json --csv new --json ./new", "--json new is the file of --csv"),
    ("render", "--model amp.json --input riff.wav --output take.wav", EXISTS),
    ("render", "--model amp.json --input riff.wav --output new.wav --json mine.json", EXISTS),
    ("render", "--model amp.json --input link.wav --output riff.wav", "is the file of --input"),
    ("convert", "--model rnn.json --output mine.json", EXISTS),
    ("convert", "--model rnn.json --output new.json --json rnn.json", "is the model itself"),
    ("pretrain", "--signal riff.wav --input riff.wav --target take.wav", "is the file of --input"),
    ("pretrain", "--signal take.wav --input riff.wav --target take.wav", "is the file of --target"),
    ("pretrain", "--signal riff.wav", EXISTS),
    ("pretrain", "--input riff.wav --target take.wav --output take.wav", "is the file of --target"),
    ("pretrain", "--device clipper --output mine.json", EXISTS),
    ("pretrain", "--device clipper --run-dir new --output new/run.json", "is a file of the run itself"),
    ("pretrain", "--device clipper --output new.json --json mine.json", EXISTS),
    ("corrective_filter", "--teacher amp.json --student mine.json --json mine.json", "is the file of --student"),
    ("sweep", "--model amp.json --set seed=0,1 --run-dir site", EXISTS),
    ("sweep", "--model amp.json --set seed=0,1 --run-dir new --json amp.json", "is one of the models"),
    ("listening_test", "--teacher amp.json --output site", EXISTS),
    ("listening_test", "--teacher amp.json --audio riff.wav --output site", "inputs/music-riff.wav " + EXISTS),
    ("listening_test", "--analyse results.csv --output site", "violins.png " + EXISTS),
    ("listening_test", "--analyse results.csv --output new --json results.csv", "is the file of --analyse"),
    ("benchmark", "--stage resynthesis --json mine.json", EXISTS),
]


@pytest.mark.parametrize(("name", "arguments", "words"), CASES, ids=[f"{name} {text}" for name, text, _ in CASES])
def test_what_is_read_or_was_not_made_here_is_kept(files: Path, typed, name: str, arguments: str, words: str) -> None:
    before = {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    code, said = typed(name, *arguments.split())
    assert (code, said.count("\n")) == (2, 1), said
    assert words.format(name) in said
    assert {path: path.read_bytes() for path in files.rglob("*") if path.is_file()} == before


def test_a_command_writes_again_what_it_wrote(files: Path, typed, monkeypatch) -> None:
    monkeypatch.setattr(convert, "SAMPLES", 500)
    commands: list[tuple[str, str]] = [
        ("render", "--model amp.json --input riff.wav --output new.wav --json new.json"),
        ("pretrain", "--signal sent.wav --seconds 10"),
        ("convert", "--model rnn.json --output other.json --json record.json"),
    ]
    for name, arguments in 2 * commands:
        assert typed(name, *arguments.split())[0] == 0
    for name, arguments in (
        ("render", "--model amp.json --input riff.wav --output sent.wav"),
        ("pretrain", "--signal new.wav --seconds 10"),
        ("convert", "--model rnn.json --output other.json --json new.json"),
    ):
        code, said = typed(name, *arguments.split())
        assert code == 2 and EXISTS.format(name) in said
        assert typed(name, *arguments.split(), "--force")[0] == 0


@pytest.mark.parametrize("bits", ["16", "24", "float"])
def test_a_sound_is_known_until_it_is_changed(tmp_path: Path, bits: Any) -> None:
    """An editor may keep the comment of the file that was opened first."""
    path, x = tmp_path / "x.wav", np.random.default_rng(0).uniform(-0.5, 0.5, 100_000)
    with audio_files.writing(path, RATE, bits, made_by="render") as sink:
        for block in np.split(x, 4):
            sink.write(block)
    assert audio_files.made_by(path) == "render"
    with soundfile.SoundFile(path) as file:
        comment, subtype = file.comment, file.subtype
    with soundfile.SoundFile(tmp_path / "edited.wav", "w", RATE, 1, subtype) as file:
        file.comment = comment
        file.write(0.5 * x)
    assert audio_files.made_by(tmp_path / "edited.wav") is None
    assert audio_files.made_by(tmp_path / "none.wav") is None
    with audio_files.writing(path, RATE, bits) as sink:
        sink.write(x)
    assert audio_files.made_by(path) is None


def test_files_are_known_by_what_they_say(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["jaxalias survey"])
    writing.write_json(tmp_path / "a.json", {"models": []})
    assert overwriting.result(tmp_path / "a.json")
    for text in ("{", "[]", "{}", '{"environment": 1}', '{"environment": {"versions": {"numpy": "2"}}}'):
        (tmp_path / "b.json").write_text(text)
        assert not overwriting.result(tmp_path / "b.json")
    (tmp_path / "b.json").write_text('{"environment": {"versions": {"jaxalias": "0.1.0"}}}')  # of an earlier version
    assert overwriting.result(tmp_path / "b.json")
    monkeypatch.setattr(sys, "argv", ["render.py"])
    assert not overwriting.result(tmp_path / "a.json")

    survey.write_csv(tmp_path / "a.csv", [])
    assert overwriting.table(survey.COLUMNS)(tmp_path / "a.csv")
    with (tmp_path / "b.csv").open("w", newline="") as file:
        csv.writer(file).writerow([*survey.COLUMNS, "mine"])
    assert not overwriting.table(survey.COLUMNS)(tmp_path / "b.csv")

    student = overwriting.model("what", FINE_TUNED)
    teacher = weights_import.load(lstm(tmp_path / "amp.json"))
    for note, known in (({"what": FINE_TUNED}, True), ({"made_by": pretrain.MADE_BY}, False), ({}, False)):
        weights_import.save(tmp_path / "s.json", weights_import.fine_tuned(teacher, [teacher.network.params], note))
        assert student(tmp_path / "s.json") == known
    assert not student(tmp_path / "amp.json") and not student(tmp_path / "a.csv")
    assert overwriting.model("made_by", pretrain.MADE_BY)(reading.SHIPPED_MODEL)
    assert not student(reading.SHIPPED_MODEL)


@pytest.mark.parametrize("name", ["run.json", "small/run.json", "checkpoints/12/progress.json"])
def test_the_folder_of_a_run_is_known_by_what_is_left_of_it(tmp_path: Path, name: str) -> None:
    assert not overwriting.run_folder(tmp_path)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("{}")
    assert overwriting.run_folder(tmp_path)


def test_devices_and_new_names_are_free(tmp_path: Path) -> None:
    class Arguments:
        json, force = None, False

    for path in (Path("/dev/null"), tmp_path / "new"):
        overwriting.refuse(Arguments, [Output("--output", path, lambda path: False)], [])
