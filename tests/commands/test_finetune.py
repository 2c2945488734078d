"""The main command as a user types it: results, interruptions, bad input."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from in_process import ALIASING, EXACT, broken, run_command, run_in_process
from model_files import lstm
from test_students import free_port
from torture import kills

import weights_import
from jaxalias.commands import finetune, long_runs, writing
from jaxalias.training import run

COMMAND = [sys.executable, str(writing.REPOSITORY / "experiments" / "finetune.py")]
SHORT = ["--updates", "130", "--batch-size", "2"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One whole run: (folder, model, result)."""
    folder = tmp_path_factory.mktemp("finished")
    model = lstm(folder / "amp.json", ALIASING)
    arguments = ["--model", model, "--run-dir", folder / "run", "--output", folder / "student.json"]
    subprocess.run([*COMMAND, *arguments, *SHORT, "--json", folder / "result.json"], check=True, timeout=300)
    return folder, model, json.loads((folder / "result.json").read_text())


@pytest.mark.slow
def test_result_has_what_the_interface_promises(finished):
    folder, _, result = finished
    assert result["updates"] == 130
    assert result["preset"] == "fast"
    assert np.log2(0.005 / result["learning_rate"]) == pytest.approx(round(np.log2(0.005 / result["learning_rate"])))
    assert result["output"] == str(folder / "student.json")
    assert [record["update"] for record in result["history"]] == list(range(1, 131))
    assert {"loss", "ESR", "NMR", "starts ESR", "starts NMR"} <= result["history"][0].keys()
    teacher, student = result["models"]
    assert (teacher["role"], student["role"]) == ("teacher", "student")
    assert teacher["metrics"]["HESR-T"] is None
    assert "HESR-T" in teacher["notes"]
    assert set(student["played"]) == {"playing", "high_playing"} and len(result["verdict"]) == 1
    assert len(student["per_tone"]["NMR-S"]) == len(student["per_tone"]["f0_hz"]) == 264
    for name in ("table.md", "result.json", "spectrum.png", "nmr.png", "index.html"):
        assert (folder / "run" / name).stat().st_size > 100


@pytest.mark.slow
def test_student_loads_where_the_teacher_did_and_was_trained(finished):
    folder, model, result = finished
    source, student = weights_import.load(model), weights_import.load(folder / "student.json")
    assert student.network.config == source.network.config
    assert student.document["model_data"] == source.document["model_data"]
    assert "preset" in json.dumps(student.document["metadata"])
    trained = weights_import.load(result["rejected"]) if result["rejected"] else student
    assert any(
        not np.array_equal(trained.network.params[key], source.network.params[key]) for key in source.network.params
    )
    validated = [record["validation_loss"] for record in result["history"] if "validation_loss" in record]
    assert len(validated) == 3  # after 50, 100 and all updates
    assert json.loads((folder / "run" / "result.json").read_text()) == result


@pytest.mark.slow
def test_killed_and_interrupted_run_ends_like_the_unbroken_one(finished, tmp_path):
    """Killed before the first checkpoint and after it; at a hundred random moments by `torture.kills`."""
    folder, model, _ = finished
    options = ["--model", model, "--run-dir", tmp_path / "run", "--output", tmp_path / "student.json", *SHORT]
    command = [*COMMAND, *options]

    for is_far_enough in ((tmp_path / "run" / "run.json").exists, lambda: kills.has_checkpoint(tmp_path / "run")):
        process = kills.start(options, stderr=subprocess.DEVNULL)
        kills.wait_for(is_far_enough, process)
        process.kill()
        process.wait()
    assert not (tmp_path / "student.json").exists()

    log = tmp_path / "log"
    with log.open("w") as stream:
        process = subprocess.Popen(command, stderr=stream)
        kills.wait_for(lambda: "resuming after update" in log.read_text(), process)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert "the same command resumes" in log.read_text()

    subprocess.run(command, check=True, timeout=300)
    assert (tmp_path / "student.json").read_text() == (folder / "student.json").read_text()
    resumed, unbroken = (json.loads((run / "run" / "result.json").read_text()) for run in (tmp_path, folder))
    assert resumed["history"] == unbroken["history"]


def test_the_time_that_is_left_counts_from_the_first_update_also_where_a_search_begins_again(monkeypatch, capsys):
    """The first one waits for the compiler."""
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with long_runs.progress("update", 100) as step:
        for number in (1, 2, 1, 2, 3):
            step("", number)
    lines = capsys.readouterr().err.splitlines()
    known = [f"update {n}/100  {(100 - n) * 10 / 60:.1f} min left  " for n in (2, 2, 3)]
    assert lines == ["update 1/100  ", *known]


def silence(document: dict) -> None:
    document["model_data"]["skip"] = 0
    document["state_dict"]["lin.weight"] = [[0.0] * 4]


BAD_MODELS = {
    "weights": (lambda d: d["state_dict"]["rec.weight_ih_l0"].pop(), "rec.weight_ih_l0"),
    "nan": (lambda d: d["state_dict"].update({"lin.bias": [float("nan")]}), "NaN"),
    "architecture": (lambda d: d["model_data"].update(unit_type="RNN"), "unit_type"),
    "silent": (silence, "silent"),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_bad_model_is_one_line_and_exit_2(name, tmp_path, monkeypatch, capsys):
    change, word = BAD_MODELS[name]
    model = broken(tmp_path / "amp.json", change)
    assert run_command(monkeypatch, "--model", model, "--run-dir", tmp_path / "run", "--updates", 1, "--quiet") == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "is assumed" not in line]  # of a rate: a note
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--updates", "131"], "config.updates is 130 there and 131 here"),
        (["--seed", "5"], "config.seed is 0 there and 5 here"),
    ],
)
def test_folder_of_another_run_is_refused_by_key(finished, monkeypatch, capsys, change, words):
    folder, model, _ = finished
    assert run_command(monkeypatch, "--model", model, "--run-dir", folder / "run", *SHORT, *change) == 2
    assert words in capsys.readouterr().err


@pytest.mark.slow
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


def test_a_checkpoint_is_due_a_minute_after_the_last_one(monkeypatch):
    """Asked after every tenth update, so that several hosts agree."""
    clock = iter([0.0, 50.0, 61.0, 62.0, 130.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    is_due = long_runs.EveryMinute()
    assert [done for done in range(1, 41) if is_due(done)] == [20, 40]


@pytest.mark.usefixtures("tones_alone")
def test_a_loss_that_was_not_finite_is_null_in_the_result(tmp_path, monkeypatch, quick_report):
    """A run that went on from its average ends like any other."""
    prepare = run.prepare

    def with_a_spike(*arguments) -> run.Run:
        prepared = prepare(*arguments)

        def update(state, batches, number):
            if number == 1:
                batches = [batch._replace(targets=batch.targets * np.nan) for batch in batches]
            return prepared.update(state, batches, number)

        return prepared._replace(update=update)

    monkeypatch.setattr(run, "prepare", with_a_spike)
    arguments = ["--model", lstm(tmp_path / "amp.json", ALIASING), "--run-dir", tmp_path / "run", *EXACT]
    with monkeypatch.context() as patched:
        config = finetune.PRESETS["balanced"](weights_import.load(tmp_path / "amp.json").network.config)
        patched.setitem(finetune.PRESETS, "fast", lambda model: config.model_copy(update={"rate_search": None}))
        run_in_process(patched, *arguments, "--quiet")
    history = json.loads((tmp_path / "run" / "result.json").read_text())["history"]
    assert [record["loss"] is None for record in history] == [False, True, False, False]


@pytest.mark.slow
def test_two_hosts_with_one_command_line(finished, tmp_path):
    """One of them writes; what it writes is what one host alone finds, to rounding."""
    _, model, _ = finished
    address = f"127.0.0.1:{free_port()}"
    command = [*COMMAND, "--model", model, *EXACT, "--batch-size", "8"]
    hosts = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    both = [
        subprocess.Popen(
            [*command, "--distributed", "--run-dir", tmp_path / "both"],
            env=os.environ | hosts | {"JAX_PROCESS_ID": str(index)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    alone = subprocess.run([*command, "--run-dir", tmp_path / "alone"], check=True, capture_output=True, timeout=300)
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert b"wrote" in alone.stdout
    assert ["wrote" in output for output in outputs] == [True, False]
    shared, single = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("both", "alone"))
    for ours, theirs in zip(shared["history"], single["history"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("fault", ["run.json", "one host"])
def test_what_one_host_refuses_ends_both(tmp_path, fault):
    """The first alone compares run.json; the second alone is given a model that is not there."""
    model = lstm(tmp_path / "amp.json", ALIASING)
    if fault == "run.json":
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "run.json").write_text(json.dumps({"config": {"updates": 7}}))
    arguments = ["--distributed", "--run-dir", tmp_path / "run", "--updates", 4, "--batch-size", 8]
    hosts = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": "2"}
    both = [
        subprocess.Popen(
            [*COMMAND, *map(str, arguments), "--model", model if index == 0 or fault == "run.json" else "absent.json"],
            env=os.environ | hosts | {"JAX_PROCESS_ID": str(index)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [2, 2]
    lines = [next(line for line in text.splitlines() if line.startswith("finetune.py: ")) for text in said]
    refused, other = lines if fault == "run.json" else reversed(lines)
    assert ("this folder holds a run of" if fault == "run.json" else "absent.json") in refused
    assert other == "finetune.py: another host could not go on, its message says why"
