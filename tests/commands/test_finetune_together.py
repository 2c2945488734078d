"""`finetune` of several models: of one command, of a container, of the positions of a knob."""

import json
import shutil
from pathlib import Path

import pytest
from in_process import ALIASING, EXACT, broken, run_command, run_in_process
from model_files import lstm, wavenet
from rnn_documents import simple_rnn

import weights_import
from jaxalias.commands import groups, long_runs


@pytest.fixture
def in_one_program(monkeypatch):
    """As on an accelerator."""
    monkeypatch.setattr(groups, "at_most", lambda: groups.TOGETHER)


@pytest.mark.slow
def test_several_models_learn_what_each_learns_alone(tmp_path, monkeypatch, quick_report, in_one_program):
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


@pytest.mark.slow
@pytest.mark.usefixtures("tones_alone")
def test_models_killed_between_two_saves_go_on_together(tmp_path, monkeypatch, capsys, quick_report, in_one_program):
    monkeypatch.setattr(long_runs, "CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(long_runs, "ASKED_EVERY", 1)
    models = [lstm(tmp_path / f"{name}.json", gain) for name, gain in (("a", ALIASING), ("b", 100.0))]
    arguments = ["--model", *models, "--run-dir", tmp_path / "runs", *EXACT[2:], "--updates", 52]
    run_in_process(monkeypatch, *arguments)
    shutil.rmtree(tmp_path / "runs" / "b" / "checkpoints" / "52")  # b was about to be saved
    unbroken = [(tmp_path / "runs" / name / "result.json").read_text() for name in "ab"]
    for name in "ab":
        (tmp_path / "runs" / name / "result.json").unlink()  # and neither was measured
    capsys.readouterr()
    run_in_process(monkeypatch, *arguments)
    assert "resuming after update 51 of 52 in 2 folders" in capsys.readouterr().err
    for name, before in zip("ab", map(json.loads, unbroken), strict=True):
        after = json.loads((tmp_path / "runs" / name / "result.json").read_text())
        assert after["history"] == before["history"]
        assert after["models"] == before["models"]


@pytest.mark.usefixtures("tones_alone")
def test_a_model_that_diverges_stops_no_other(tmp_path, monkeypatch, capsys, quick_report, in_one_program):
    good = lstm(tmp_path / "good.json", ALIASING)
    bad = broken(tmp_path / "bad.json", lambda d: d["state_dict"].update({"lin.weight": [[1e25, 1e25, 1e25, 1e25]]}))
    arguments = ["--model", good, bad, "--run-dir", tmp_path / "runs", "--updates", 3, "--batch-size", 2]
    assert run_command(monkeypatch, *arguments) == 1
    assert "bad.json: diverged" in capsys.readouterr().err
    assert (tmp_path / "runs" / "good" / "good_antialiased.json").exists()
    assert not (tmp_path / "runs" / "bad" / "bad_antialiased.json").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("tones_alone")
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


@pytest.mark.slow
@pytest.mark.usefixtures("tones_alone")
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


@pytest.mark.slow
@pytest.mark.usefixtures("tones_alone")
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
