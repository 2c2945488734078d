"""The main command as a user types it: results, interruptions, bad input."""

import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from model_files import lstm, wavenet
from rnn_documents import simple_rnn
from test_students import free_port
from torture import kills

import weights_import
from jaxalias import evaluation, fine_tuning
from jaxalias.commands import command_line, finetune, long_runs, measuring, report, writing
from jaxalias.training import plan, run

COMMAND = [sys.executable, str(writing.REPOSITORY / "experiments" / "finetune.py")]
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


def test_the_time_that_is_left_is_counted_anew_where_a_search_begins_again(monkeypatch, capsys):
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    with long_runs.progress("update", 100) as step:
        for number in (1, 2, 1, 2, 3):
            step("", number)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"update {n}/100  {(100 - n) * left / 60:.1f} min left  " for n, left in
                     ((1, 10), (2, 10), (2, 5), (3, 20 / 3))]  # fmt: skip


def little_music(monkeypatch) -> None:
    """Two seconds of each kind, and one that is held out."""
    play_music = fine_tuning.play_music

    def play(model, params, config, sample_rate, audio=None):
        short = {name: each.model_copy(update={"seconds": 2.0}) for name, each in plan.music_of(config).items()}
        return play_music(model, params, config.model_copy(update=short), sample_rate, audio)

    monkeypatch.setattr(fine_tuning, "HELD_OUT_S", 1.0)
    if play_music.__module__ == "jaxalias.fine_tuning":  # not yet
        monkeypatch.setattr(fine_tuning, "play_music", play)


def run_in_process(monkeypatch, *arguments: object) -> None:
    little_music(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["finetune.py", *map(str, arguments)])
    command_line.run(finetune.main)


def run_command(monkeypatch, *arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        run_in_process(monkeypatch, *arguments)
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


@pytest.fixture
def quick_report(monkeypatch):
    """Two tones and no pictures: for tests of the training, several times over."""
    few = functools.partial(measuring.measure, sine_set=evaluation.SineSet((60, 61), (-18.0,)))
    monkeypatch.setattr(measuring, "measure", few)
    monkeypatch.setattr(report, "write", lambda *arguments: [])


EXACT = ["--updates", "4", "--batch-size", "2", "--precision", "float64"]


def test_several_models_learn_what_each_learns_alone(tmp_path, monkeypatch, quick_report):
    """Two of one shape and one of another, two of them in a folder; the shape of the group is no part of a result."""
    (tmp_path / "amps").mkdir()
    first, other = lstm(tmp_path / "amps" / "a.json", ALIASING), lstm(tmp_path / "amps" / "c.json", hidden=2)
    second = lstm(tmp_path / "b.json", 2 * ALIASING)
    outputs = tmp_path / "students"
    arguments = ["--model", tmp_path / "amps", second, "--run-dir", tmp_path / "runs", "--output", outputs]
    run_in_process(monkeypatch, *arguments, *EXACT, "--json", tmp_path / "all.json", "--quiet")
    runs = json.loads((tmp_path / "all.json").read_text())["runs"]
    assert sorted(Path(run["output"]).name for run in runs) == [f"{name}_antialiased.json" for name in "abc"]
    for model in (first, second, other):
        together = json.loads((tmp_path / "runs" / model.stem / "result.json").read_text())
        assert together in runs
        alone = tmp_path / f"alone_{model.stem}"
        run_in_process(monkeypatch, "--model", model, "--run-dir", alone, *EXACT, "--quiet")
        record = json.loads((alone / "result.json").read_text())
        for ours, theirs in zip(together["history"], record["history"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-6)


def test_models_killed_between_two_saves_go_on_together(tmp_path, monkeypatch, capsys, quick_report):
    monkeypatch.setattr(long_runs, "CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(long_runs, "ASKED_EVERY", 1)
    models = [lstm(tmp_path / f"{name}.json", gain) for name, gain in (("a", ALIASING), ("b", 100.0))]
    arguments = ["--model", *models, "--run-dir", tmp_path / "runs", *EXACT[2:], "--updates", 52]
    run_in_process(monkeypatch, *arguments)
    shutil.rmtree(tmp_path / "runs" / "b" / "checkpoints" / "52")  # b was about to be saved
    unbroken = [(tmp_path / "runs" / name / "result.json").read_text() for name in "ab"]
    capsys.readouterr()
    run_in_process(monkeypatch, *arguments)
    assert "resuming after update 51 of 52 in 2 folders" in capsys.readouterr().err
    for name, before in zip("ab", map(json.loads, unbroken), strict=True):
        after = json.loads((tmp_path / "runs" / name / "result.json").read_text())
        assert after["history"] == before["history"]
        assert after["models"] == before["models"]


def test_a_checkpoint_is_due_a_minute_after_the_last_one(monkeypatch):
    """Asked after every tenth update, so that several hosts agree."""
    clock = iter([0.0, 50.0, 61.0, 62.0, 130.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    is_due = long_runs.EveryMinute()
    assert [done for done in range(1, 41) if is_due(done)] == [20, 40]


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


def test_a_model_that_diverges_stops_no_other(tmp_path, monkeypatch, capsys, quick_report):
    good = lstm(tmp_path / "good.json", ALIASING)
    bad = broken(tmp_path / "bad.json", lambda d: d["state_dict"].update({"lin.weight": [[1e25, 1e25, 1e25, 1e25]]}))
    arguments = ["--model", good, bad, "--run-dir", tmp_path / "runs", "--updates", 3, "--batch-size", 2]
    assert run_command(monkeypatch, *arguments) == 1
    assert "bad.json: diverged" in capsys.readouterr().err
    assert (tmp_path / "runs" / "good" / "good_antialiased.json").exists()
    assert not (tmp_path / "runs" / "bad" / "bad_antialiased.json").exists()


def test_a_model_with_a_knob_is_trained_and_measured_at_five_positions(tmp_path, monkeypatch, quick_report):
    document = simple_rnn(inputs=2, hidden=4)
    (tmp_path / "amp.json").write_text(json.dumps(document))
    arguments = ["--model", tmp_path / "amp.json", "--run-dir", tmp_path / "run", "--updates", 20, "--batch-size", 4]
    run_in_process(monkeypatch, *arguments, "--quiet")
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert [(m["role"], m["knobs"][0]) for m in record["models"]] == [
        (role, knob) for knob in (0.5, 0.0, 0.25, 0.75, 1.0) for role in ("teacher", "student")
    ]
    noted = [m["metrics"]["ESR-S"] for m in record["models"] if m["role"] == "teacher"]
    assert len(set(noted)) == 5


@pytest.fixture
def container(tmp_path):
    """A file of two models, the first twice as loud."""
    small, large = (json.loads(wavenet(tmp_path / f"{scale}.nam", scale).read_text()) for scale in (0.5, 0.25))
    members = [{"max_value": 0.5, "model": small}, {"max_value": 1.0, "model": large}]
    document = {
        "version": "0.7.0", "architecture": "SlimmableContainer", "config": {"submodels": members}, "weights": [],
        "sample_rate": 48_000,
    }  # fmt: skip
    (tmp_path / "both.nam").write_text(json.dumps(document))
    return document


def test_the_models_of_a_container_are_trained_each_against_its_own(tmp_path, monkeypatch, quick_report, container):
    names = ("max_value_0.5", "max_value_1")
    arguments = ["--model", tmp_path / "both.nam", "--run-dir", tmp_path / "run", "--updates", 3, "--batch-size", 2]
    run_in_process(monkeypatch, *arguments, "--quiet")
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert [m["role"] for m in record["models"]] == ["teacher", "student"] * 2
    large, small = (m["metrics"]["NMR-T"] for m in record["models"] if m["role"] == "student")
    assert large != small
    assert [len(network["history"]) for network in record["networks"]] == [3, 3]
    assert all((tmp_path / "run" / name / "checkpoints").is_dir() for name in names)
    source, student = (weights_import.load(path) for path in (tmp_path / "both.nam", record["output"]))
    for before, after in zip(source.networks, student.networks, strict=True):
        assert after.config == before.config
    kept = {key: value for key, value in student.document.items() if key != "metadata"}
    assert list(kept) == list(container)


def test_a_small_model_of_a_container_can_learn_from_the_largest(tmp_path, monkeypatch, quick_report, container):
    arguments = ["--model", tmp_path / "both.nam", "--run-dir", tmp_path / "run", "--updates", 40, "--batch-size", 2]
    run_in_process(monkeypatch, *arguments, "--teacher", "largest", "--quiet")
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert [m["role"] for m in record["models"]] == ["teacher", "student", "teacher", "student", "student"]
    large, _, same_large, before, after = record["models"]
    assert large["path"] == same_large["path"] == record["networks"][0]["teacher"] == record["networks"][1]["teacher"]
    assert before["path"] == f"{tmp_path / 'both.nam'} [{record['networks'][0]['label'].split('[')[1]}"
    assert before["metrics"]["ESR-T"] > -10
    assert after["metrics"]["ESR-T"] < before["metrics"]["ESR-T"] - 0.1  # 40 updates go a little way
    assert weights_import.load(record["output"]).document["metadata"]["training"]["jaxalias"]["teacher"] == "largest"


def test_models_of_one_name_are_refused(tmp_path, monkeypatch, capsys):
    (tmp_path / "other").mkdir()
    models = [lstm(folder / "amp.json") for folder in (tmp_path, tmp_path / "other")]
    assert run_command(monkeypatch, "--model", *models) == 2
    assert "another model has the name amp too" in capsys.readouterr().err


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
