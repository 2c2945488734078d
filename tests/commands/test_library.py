"""A folder of captures in one command: the ranked page, resuming, what is left out, and groups that fit the memory."""

import csv
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest
from in_process import ALIASING, EXACT, broken, run_command, run_in_process
from model_files import lstm

from jaxalias.commands import fine_tuning, groups
from jaxalias.commands.errors import BadInputError
from jaxalias.commands.fine_tuning import Training
from jaxalias.reporting import library

pytestmark = pytest.mark.usefixtures("tones_alone", "quick_report")


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """Three models, and two files that are none."""
    folder = tmp_path / "amps"
    (folder / "more").mkdir(parents=True)
    lstm(folder / "clean.json")
    lstm(folder / "hot.json", ALIASING)
    lstm(folder / "more" / "third.json", 50.0)
    (folder / "hot.txt").write_text("settings: all knobs at ten")
    broken(folder / "torn.json", lambda d: d["state_dict"].pop("lin.bias"))
    return folder


def page_of(folder: Path) -> tuple[str, list[list[str]]]:
    with (folder / "ranking.csv").open(newline="") as file:
        return (folder / "index.html").read_text(), list(csv.reader(file))


@pytest.mark.slow
def test_a_folder_ends_with_a_page_that_ranks_its_models_and_is_resumed_where_it_was(
    captures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    runs = tmp_path / "runs"
    arguments = ["--model", captures, "--run-dir", runs, *EXACT, "--json", tmp_path / "all.json"]
    run_in_process(monkeypatch, *arguments)
    said = capsys.readouterr()
    for name in ("hot.txt", "torn.json"):
        assert re.search(f"left out: .*{name}", said.err)
    page, (header, *rows) = page_of(runs)
    assert tuple(header) == library.COLUMNS
    assert {row[0] for row in rows} == {"clean.json", "hot.json", "third.json"}
    assert "of 3 captures have a student" in page and "Could not be trained: 0. Files left out: 2." in page
    links = re.findall('href="([^"]+)"', page)
    assert len(links) == 3
    for link in links:
        assert (runs / link).parent.is_dir()
        (runs / link).write_text("the report, which this test does not make")
    records = json.loads((tmp_path / "all.json").read_text())["runs"]
    assert len(records) == 3

    monkeypatch.setattr(fine_tuning, "fine_tune", None)  # nothing is trained again
    run_in_process(monkeypatch, *arguments)
    assert page_of(runs) == (page, [header, *rows])
    assert json.loads((tmp_path / "all.json").read_text())["runs"] == records

    (runs / "hot" / "hot_antialiased.json").unlink()
    with pytest.raises(TypeError):  # what is lost is made again
        run_in_process(monkeypatch, *arguments)


def test_a_model_that_is_refused_in_its_training_stops_no_other(
    captures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    train = fine_tuning.fine_tune

    def refuse(group: Any, *rest: Any) -> list[Training]:
        if any("third" in task.label for task, _ in group):
            raise BadInputError("third.json: silent")
        return train(group, *rest)

    monkeypatch.setattr(fine_tuning, "fine_tune", refuse)
    arguments = ["--model", captures, "--run-dir", tmp_path / "runs", *EXACT, "--quiet"]
    assert run_command(monkeypatch, *arguments) == 2
    assert "third.json: silent" in capsys.readouterr().err
    page, (_, *rows) = page_of(tmp_path / "runs")
    assert len(rows) == 2 and "third.json: silent" in page and "Could not be trained: 1." in page


def test_a_folder_without_a_model_and_a_page_of_another_program_are_refused(
    captures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    (tmp_path / "empty").mkdir()
    assert run_command(monkeypatch, "--model", tmp_path / "empty", "--run-dir", tmp_path / "runs") == 2
    assert "holds no model that can be fine-tuned" in capsys.readouterr().err
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "index.html").write_text("<h1>My pedals</h1>")
    assert run_command(monkeypatch, "--model", captures, "--run-dir", tmp_path / "runs", *EXACT) == 2
    assert "index.html exists, and finetune did not make it" in capsys.readouterr().err
    assert run_command(monkeypatch, "--model", captures / "hot.txt", captures / "hot.json") == 2
    assert "hot.txt" in capsys.readouterr().err


def test_compiled_functions_are_freed_before_another_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the outcomes of the last group of a shape are dealt with."""
    events: list[Any] = []
    monkeypatch.setattr(fine_tuning, "fine_tune", lambda group, done, quiet: [Training(None, 0, 0.0)] * len(group))
    monkeypatch.setattr(groups, "in_step", lambda claimed, most: [([(name, None)], 0) for name in ("a1", "a2", "b1")])
    monkeypatch.setattr(groups, "_shape", lambda entry: entry[0][0])
    monkeypatch.setattr(jax, "clear_caches", lambda: events.append("freed"))
    for (outcome,) in groups.train([], 8, True):
        events.append(outcome.task)
    assert events == ["a1", "a2", "freed", "b1"]


def test_groups_are_halved_until_they_fit_into_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve models, on a device that holds four: of 8, 4 and 4; then of 4."""
    tried: list[int] = []

    def fine_tune(group: Any, done: int, quiet: bool) -> list[Training]:
        tried.append(len(group))
        if len(group) > 4:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate")
        return [Training(None, index, 0.0) for index, _ in enumerate(group)]

    monkeypatch.setattr(fine_tuning, "fine_tune", fine_tune)
    monkeypatch.setattr(groups, "_shape", lambda entry: "one")
    alike = [(range(start, end), 0) for start, end in ((0, 8), (8, 12))]
    monkeypatch.setattr(groups, "in_step", lambda claimed, most: [([(n, None) for n in part], 0) for part, _ in alike])
    outcomes = [outcome for group in groups.train([], 8, True) for outcome in group]
    assert tried == [8, 4, 4, 4]
    assert [outcome.task for outcome in outcomes] == list(range(12))
    assert {outcome.together for outcome in outcomes} == {4}

    monkeypatch.setattr(groups, "in_step", lambda claimed, most: [([(0, None)], 0)])

    def fail(*arguments: Any) -> list[Training]:
        raise jax.errors.JaxRuntimeError("INTERNAL")

    monkeypatch.setattr(fine_tuning, "fine_tune", fail)
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        list(groups.train([], 8, True))


def test_one_student_at_a_time_on_a_cpu_many_on_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    assert groups.at_most() == 1
    monkeypatch.setattr(groups, "jax", SimpleNamespace(default_backend=lambda: "gpu"))
    assert groups.at_most() == groups.TOGETHER
