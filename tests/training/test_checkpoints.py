"""Checkpoints are whole or not used: every file of one damaged in every way, and `run.json` as well."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torture.damaged_checkpoints import DAMAGES, FILES, IDENTITY, assert_same, flip, progress, saved, torture_class

from jaxalias.training.checkpoints import CheckpointDamagedError, CheckpointMismatchError, Checkpoints


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run with checkpoints after 10 and 20 updates."""
    return saved(tmp_path / "run")


def opened(folder: Path, identity: dict[str, Any] = IDENTITY) -> tuple[Checkpoints, str]:
    lines: list[str] = []
    return Checkpoints(folder, identity, lines.append), "\n".join(lines)


def test_what_is_restored_is_what_was_saved_bit_for_bit(folder: Path) -> None:
    checkpoints, said = opened(folder)
    assert checkpoints.steps() == [10, 20] and said == ""
    for step in (10, 20):
        assert_same(checkpoints.restore(step, progress(0)), progress(step))
    assert sorted(path.name for path in (folder / "checkpoints" / "20").iterdir()) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_newest_checkpoint_is_passed_over_and_replaced(folder: Path, name: str, damage: str) -> None:
    DAMAGES[damage](folder / "checkpoints" / "20" / name)
    checkpoints, said = opened(folder)
    assert checkpoints.steps() == [10]
    assert said.startswith(f"{folder}: checkpoint 20 is damaged (") and said.endswith("10 is the newest whole one")
    assert_same(checkpoints.restore(10, progress(0)), progress(10))
    checkpoints.save(progress(20))
    again, said = opened(folder)
    assert again.steps() == [10, 20] and said == ""
    assert_same(again.restore(20, progress(0)), progress(20))


def test_where_none_is_whole_the_folder_and_the_remedy_are_named(folder: Path) -> None:
    (folder / "checkpoints" / "10" / "sha256").unlink()
    shutil.rmtree(folder / "checkpoints" / "20")
    (folder / "checkpoints" / "20").write_bytes(b"")
    with pytest.raises(CheckpointDamagedError) as caught:
        opened(folder)
    line = str(caught.value)
    assert line.startswith(f"{folder}: none of its checkpoints is whole (10: sha256: No such file or directory; 20: ")
    assert f"delete {folder / 'checkpoints'} to begin this run again" in line and "\n" not in line
    shutil.rmtree(folder / "checkpoints")
    assert opened(folder)[0].steps() == []


def test_an_older_checkpoint_than_a_damaged_one_is_kept_until_there_is_another(folder: Path) -> None:
    flip(folder / "checkpoints" / "20" / "arrays.npz", 0.5)
    checkpoints, _ = opened(folder)
    checkpoints.save(progress(12))
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["10", "12"]
    checkpoints.save(progress(15))
    assert checkpoints.steps() == [12, 15] == opened(folder)[0].steps()


def test_a_run_killed_while_it_saves_leaves_the_one_before(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints, _ = opened(folder)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(progress(30))
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["10", "20"]
    (folder / "checkpoints" / ".x.part").mkdir()  # as a kill leaves it, where no `finally` runs
    (folder / "checkpoints" / "notes.txt").write_text("the user's")
    checkpoints, said = opened(folder)
    checkpoints.save(progress(30))
    assert said == ""
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["20", "30", "notes.txt"]


@pytest.mark.parametrize("damage", sorted(DAMAGES.keys() - {"folder"}))
def test_a_damaged_run_json_is_written_anew_where_the_checkpoints_are_of_this_run(folder: Path, damage: str) -> None:
    DAMAGES[damage](folder / "run.json")
    checkpoints, said = opened(folder)
    assert json.loads((folder / "run.json").read_text()) == IDENTITY
    assert checkpoints.steps() == [10, 20]
    unharmed = damage == "removed" or not said  # a flipped bit in a space between values harms nobody
    assert unharmed or said == f"{folder / 'run.json'}: was damaged and is written anew for this run"


@pytest.mark.parametrize("text", ["", "{", '{"config": {"updates": 30', "[]", "null", "\0" * 40, "{}" * 2])
def test_a_damaged_run_json_does_not_hide_another_run(folder: Path, text: str) -> None:
    (folder / "run.json").write_text(text)
    with pytest.raises(CheckpointMismatchError, match=r"run\.json: is damaged, and the checkpoints there are of"):
        opened(folder, {**IDENTITY, "seed": 1})
    assert (folder / "run.json").read_text() == text
    shutil.rmtree(folder / "checkpoints")  # nothing is lost any more ...
    if text[:1] in ("[", "n"):  # ... but this was never the file of a run
        with pytest.raises(CheckpointMismatchError, match=r"run\.json: is not what a run writes; give another run"):
            opened(folder, {**IDENTITY, "seed": 1})
        assert (folder / "run.json").read_text() == text
    else:
        checkpoints, said = opened(folder, {**IDENTITY, "seed": 1})
        assert checkpoints.steps() == [] and "written anew" in said


def test_the_key_that_differs_is_named(folder: Path) -> None:
    other = {**IDENTITY, "config": {**IDENTITY["config"], "updates": 301}}
    with pytest.raises(CheckpointMismatchError, match=r"holds another run: config\.updates is 300 there and 301 here"):
        opened(folder, other)


def test_arrays_of_another_program_are_refused_by_name(folder: Path) -> None:
    checkpoints, _ = opened(folder)
    like = progress(0)
    wider = like._replace(state={**like.state, "params": {**like.best, "weight": np.zeros((4, 2), np.float32)}})
    with pytest.raises(CheckpointMismatchError, match=r"state/params/weight as float32\[4, 2\], holds float32\[3, 2\]"):
        checkpoints.restore(20, wider)
    with pytest.raises(CheckpointMismatchError, match=r"must hold best/more as float64\[\], holds nothing"):
        checkpoints.restore(20, like._replace(best={**like.best, "more": np.zeros(())}))


def test_damage_at_any_place_of_any_file_is_found(tmp_path: Path) -> None:
    """At thousands of places by `torture.damaged_checkpoints`."""
    count, faults = torture_class(tmp_path, places=10)
    assert not faults
    assert count == 2 * len(FILES) * (len(DAMAGES) + 2 * 10)


def test_a_run_of_another_version_is_called_that(folder: Path) -> None:
    older = {**IDENTITY, "config": {**IDENTITY["config"], "batches_per_draw": 1}}
    (folder / "run.json").write_text(json.dumps(older))
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(CheckpointMismatchError, match=r"another version of this program.*config\.batches_per_draw"):
        opened(folder)


def test_checkpoints_of_an_earlier_format_are_called_that(folder: Path) -> None:
    for step in (10, 20):
        place = folder / "checkpoints" / str(step)
        shutil.rmtree(place)
        place.mkdir()
        (place / "_CHECKPOINT_METADATA").write_text("{}")
    with pytest.raises(CheckpointDamagedError, match="20: it is of an earlier version of this program"):
        opened(folder)
