"""The main command as a user types it: results, interruptions, bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from model_files import lstm

import weights_import
from experiments import command_line, finetune

COMMAND = [sys.executable, "-m", "experiments.finetune"]
ALIASING = 200.0  # input gain at which the small model aliases audibly
SHORT = ["--updates", "130", "--batch-size", "2"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One whole run: (folder, model, result)."""
    folder = tmp_path_factory.mktemp("finished")
    model = lstm(folder / "amp.json", ALIASING)
    arguments = ["--model", model, "--run-dir", folder / "run", "--output", folder / "student.json"]
    subprocess.run([*COMMAND, *arguments, *SHORT, "--json", folder / "result.json"], check=True, timeout=300)
    return folder, model, json.loads((folder / "result.json").read_text())


def test_result_has_what_the_interface_promises(finished):
    folder, _, result = finished
    assert result["updates"] == 130
    assert result["preset"] == "fast"
    assert result["output"] == str(folder / "student.json")
    assert [record["update"] for record in result["history"]] == list(range(1, 131))
    assert {"loss", "ESR", "NMR", "DC"} <= result["history"][0].keys()
    teacher, student = result["models"]
    assert (teacher["role"], student["role"]) == ("teacher", "student")
    assert teacher["metrics"]["HESR-T"] is None
    assert "HESR-T" in teacher["notes"]
    assert len(student["per_tone"]["NMR-S"]) == len(student["per_tone"]["f0_hz"]) == 264
    for name in ("table.md", "result.json", "spectrum.png", "nmr.png", "index.html"):
        assert (folder / "run" / name).stat().st_size > 100


def test_student_loads_where_the_teacher_did_and_was_trained(finished):
    folder, model, result = finished
    source, student = weights_import.load(model), weights_import.load(folder / "student.json")
    assert student.network.config == source.network.config
    assert student.document["model_data"] == source.document["model_data"]
    assert "preset" in json.dumps(student.document["metadata"])
    assert any(
        not np.array_equal(student.network.params[key], source.network.params[key]) for key in source.network.params
    )
    validated = [record["validation_loss"] for record in result["history"] if "validation_loss" in record]
    assert len(validated) == 3  # after 50, 100 and all updates
    assert json.loads((folder / "run" / "result.json").read_text()) == result


def test_killed_and_interrupted_run_ends_like_the_unbroken_one(finished, tmp_path):
    folder, model, _ = finished
    command = [*COMMAND, "--model", model, "--run-dir", tmp_path / "run", "--output", tmp_path / "student.json", *SHORT]
    checkpoints = tmp_path / "run" / "checkpoints"

    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _wait_for(lambda: checkpoints.exists() and any(p.name.isdigit() for p in checkpoints.iterdir()), process)
    process.kill()
    process.wait()
    assert not (tmp_path / "student.json").exists()

    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, stderr=stream)
        _wait_for(lambda: "resuming after update" in log.read_text(), process)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert "the same command resumes" in log.read_text()

    subprocess.run(command, check=True, timeout=300)
    assert (tmp_path / "student.json").read_text() == (folder / "student.json").read_text()
    resumed, unbroken = (json.loads((run / "run" / "result.json").read_text()) for run in (tmp_path, folder))
    assert resumed["history"] == unbroken["history"]


def _wait_for(condition, process, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "ended before it could be interrupted: give it more updates"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def run_command(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["finetune.py", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        command_line.run(finetune.main)
    return int(stopped.value.code)


def broken(path: Path, change) -> Path:
    document = json.loads(lstm(path).read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path


def silence(document: dict) -> None:
    document["model_data"]["skip"] = 0
    document["state_dict"]["lin.weight"] = [[0.0] * 4]


BAD_MODELS = {
    "weights": (lambda d: d["state_dict"]["rec.weight_ih_l0"].pop(), "rec.weight_ih_l0"),
    "nan": (lambda d: d["state_dict"].update({"lin.bias": [float("nan")]}), "NaN"),
    "architecture": (lambda d: d["model_data"].update(unit_type="GRU"), "unit_type"),
    "silent": (silence, "silent"),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_bad_model_is_one_line_and_exit_2(name, tmp_path, monkeypatch, capsys):
    change, word = BAD_MODELS[name]
    model = broken(tmp_path / "amp.json", change)
    assert run_command(monkeypatch, "--model", model, "--run-dir", tmp_path / "run", "--updates", 1) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert word in line
    assert "amp.json" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--updates", "-1"], "--updates: must be at least 1, got -1"),
        (["--updates", "x"], "must be a whole number, got 'x'"),
        (["--preset", "slow"], "slow"),
        (["--model", "absent.json"], "absent.json"),
        (["--output", "{model}"], "the model itself"),
        (["--output", "{folder}"], "is a folder"),
        (["--output", "{model}/in/a/file.json"], "--output"),
        (["--run-dir", "{model}"], "amp.json"),
    ],
)
def test_bad_argument_is_one_line_and_exit_2(arguments, words, tmp_path, monkeypatch, capsys):
    model = lstm(tmp_path / "amp.json")
    before = model.read_bytes()
    filled = [a.format(model=model, folder=tmp_path) for a in arguments]
    defaults = ["--model", model, "--run-dir", tmp_path / "run"]
    assert run_command(monkeypatch, *defaults, *filled) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert words in line
    assert model.read_bytes() == before


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--updates", "131"], "config.updates is 130 there and 131 here"),
        (["--table-tones", "5"], "config.table_tones is None there and 5 here"),
    ],
)
def test_folder_of_another_run_is_refused_by_key(finished, monkeypatch, capsys, change, words):
    folder, model, _ = finished
    assert run_command(monkeypatch, "--model", model, "--run-dir", folder / "run", *SHORT, *change) == 2
    assert words in capsys.readouterr().err


def test_full_disk_at_export_loses_nothing(finished, tmp_path, monkeypatch, capsys):
    folder, model, _ = finished
    kept = (folder / "student.json").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    arguments = ["--model", model, "--run-dir", folder / "run", "--output", folder / "student.json", *SHORT]
    assert run_command(monkeypatch, *arguments, "--quiet") == 2
    assert "No space left" in capsys.readouterr().err
    assert (folder / "student.json").read_bytes() == kept
