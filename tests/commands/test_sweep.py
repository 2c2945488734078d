"""Many settings of the fine-tuning in one command: the grid, the front, what is resumed and what is refused."""

import csv
import functools
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from in_process import ALIASING, with_little_music
from model_files import lstm, wavenet

import weights_import
from jaxalias import evaluation
from jaxalias.commands import command_line, fine_tuning, grid, groups, measuring, reading, sweep, writing
from jaxalias.config import presets
from jaxalias.reporting import pareto

TINY = ["--set", "updates=4", "--set", "batch_size=2", "--set", "precision=float64", "--set", "validate_every=1",
        "--oversample", "2"]  # fmt: skip
BASE = presets.fast(weights_import.load(reading.SHIPPED_MODEL).network.config)


@pytest.fixture
def typed(monkeypatch, capsys):
    """Run the command in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with_little_music(monkeypatch)
        monkeypatch.setattr("sys.argv", ["sweep.py", *map(str, arguments)])
        try:
            command_line.run(sweep.main)
            code = 0
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def quick(monkeypatch, tones_alone):
    """No music, two tones and no alias-to-signal ratios; counts the trainings and measurements."""
    calls = {"trained": 0, "measured": 0}
    fine_tune = fine_tuning.fine_tune

    def train(group, *arguments):
        calls["trained"] += len(group)
        return fine_tune(group, *arguments)

    def measure(*arguments, **options):
        calls["measured"] += 1
        return few(*arguments, **options)

    few = functools.partial(measuring.measure, sine_set=evaluation.SineSet((60, 61), (-18.0,)))
    monkeypatch.setattr(measuring, "measure", measure)
    monkeypatch.setattr(evaluation, "alias_to_signal", lambda candidate, sample_rate: [])
    monkeypatch.setattr(fine_tuning, "fine_tune", train)
    return calls


def results(folder: Path) -> dict[str, dict]:
    """By MODEL/POINT."""
    found = sorted(folder.glob("*/*/result.json"))
    return {str(path.parent.relative_to(folder)): json.loads(path.read_text()) for path in found}


points = arrays(
    float, st.tuples(st.integers(0, 30), st.just(2)), elements=st.sampled_from([-2.0, -1, 0, 0.5, 1, np.nan])
)


@given(points)
def test_the_front_is_what_no_other_point_beats(values):
    def beats(a, b) -> bool:
        return bool(a[0] <= b[0] and a[1] <= b[1] and (a[0] < b[0] or a[1] < b[1]))

    expected = [not np.isnan(b).any() and not any(beats(a, b) for a in values if not np.isnan(a).any()) for b in values]
    assert pareto.front(values).tolist() == expected


def test_the_picture_takes_points_without_values(tmp_path):
    """And a sweep that has no point yet; a mark far to the left is no reason to squeeze the points."""
    marks = {"teacher": {"NMR-S": 20.0, "HESR-T": None}, "teacher 2x": {"NMR-S": -5.0, "HESR-T": -90.0}}
    pareto.pareto_picture({}, marks, tmp_path / "none.png", "nothing yet")
    points = {"a": {"NMR-S": -10.0, "HESR-T": -20.0, "audio ESR": -8.0}, "b": {"NMR-S": 3.0, "HESR-T": None}}
    pareto.pareto_picture(points, marks, tmp_path / "some.png", "a title", "key")
    assert all((tmp_path / name).stat().st_size > 5000 for name in ("none.png", "some.png"))


def test_a_grid_has_every_point_and_a_draw_some_of_them():
    axes = grid.parse(["loss.nmr.weight=0.03,0.1,3e-1", "optimiser.clip_norm=null,1", "precision=float64,float32"])
    changes = grid.choose(axes)
    assert len(changes) == 12
    assert changes[0] == {"loss.nmr.weight": 0.03, "optimiser.clip_norm": None, "precision": "float64"}
    names = [point.name for point in grid.points(BASE, changes)]
    assert len(set(names)) == 12
    assert names[3] == "loss.nmr.weight=0.03,optimiser.clip_norm=1.0,precision=float32"
    config = grid.points(BASE, changes)[3].config
    assert (config.loss.nmr.weight, config.optimiser.clip_norm, config.precision) == (0.03, 1.0, "float32")
    assert config.loss.nmr.reduction == BASE.loss.nmr.reduction

    few, more = grid.choose(axes, 4, seed=1), grid.choose(axes, 9, seed=1)
    assert (len(few), len(more)) == (4, 9)
    assert all(one in more for one in few)
    assert all(one in changes for one in more)
    assert few != grid.choose(axes, 4, seed=2)
    assert len(grid.points(BASE, grid.choose(axes, 12, seed=3))) == 12


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "loss.nmr.wieght=0.1"], ["loss.nmr.wieght", "0.1"]),
        (["--set", "loss.nmr.weight=0.1,-1"], ["loss.nmr.weight", "greater than or equal to 0", "-1"]),
        (["--set", "loss.nmr.reduction=median"], ["loss.nmr.reduction", "median"]),
        (["--set", "seed.x=1"], ["seed.x=1", "one value"]),
        (["--set", "sines.midi_low=127"], ["sines.midi_low=127", "midi_high must be above"]),
        (["--set", "seed="], ["--set seed=", "no value empty"]),
        (["--set", "seed=0,,1"], ["seed=0,,1", "no value empty"]),
        (["--set", "seed"], ["--set seed", "KEY=VALUE"]),
        (["--set", "seed=0,1,0"], ["seed=0", "the same point"]),
        (["--set", "seed=1,1.0"], ["seed=1.0", "the same point"]),
        (["--set", "seed=0", "--set", "seed=1"], ["seed is given twice"]),
        (["--set", "preset=fast"], ["--preset"]),
        (["--set", "seed=0,1", "--random", "3"], ["--random must be at most 2", "got 3"]),
        ([], ["--set"]),
        (["--set", "seed=0", "--student", "{other}"], ["other.nam", "44100 Hz", "48000"]),
        (["--set", "seed=0", "--audio", "{folder}/none.wav"], ["none.wav"]),
    ],
)
def test_bad_options_are_one_line_and_exit_2(tmp_path, typed, arguments, words):
    model, other = lstm(tmp_path / "amp.json"), wavenet(tmp_path / "other.nam")
    filled = [text.format(other=other, folder=tmp_path) for text in arguments]
    code, _, err = typed("--model", model, "--run-dir", tmp_path / "run", *filled)
    assert (code, err.count("\n")) == (2, 1), err
    assert all(word in err for word in words), err
    assert not (tmp_path / "run").exists()


def test_the_options_in_the_recipes_are_options():
    readme = (writing.REPOSITORY / "experiments" / "RECIPES.md").read_text().partition("## Look for a better recipe")[2]
    rows = [line.split("|")[1:3] for line in readme.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    named = [(text, meaning) for options, meaning in rows for text in options.split("`")[1::2]]
    assert len(named) >= 9
    needed = {"loss.aliases": {"sines.whole_cycles": True}, "optimiser.curvature": {"optimiser.soap": None}}
    wavenet = weights_import.load(reading.SHIPPED_MODELS / "distortion_nam-feather.nam")
    for text, meaning in named:
        (change,) = grid.choose(grid.parse([text]))
        base = presets.fast(wavenet.network.config) if "(presets for LSTMs)" in meaning else BASE
        (point,) = grid.points(base, [needed.get(next(iter(change)), {}) | change])
        assert point.config != base, text


@pytest.mark.slow
def test_a_sweep_goes_on_where_it_was_killed_and_does_nothing_twice(tmp_path, typed, quick, monkeypatch):
    """Killed while it exports the third of four points; two models, one with a student to compare with."""
    models = [lstm(tmp_path / "a.json", ALIASING), lstm(tmp_path / "b.json", ALIASING / 2)]
    command = ["--model", *models, "--run-dir", tmp_path / "run", "--json", tmp_path / "all.json", "--quiet", *TINY]
    command += ["--student", f"a={models[0]}", "--set", "loss.nmr.weight=0.1,1"]
    export, exported = fine_tuning.export, []

    def until_the_third(source, *arguments):
        exported.append(source.path.name)
        if len(exported) == 3:
            raise KeyboardInterrupt
        return export(source, *arguments)

    monkeypatch.setattr(fine_tuning, "export", until_the_third)
    assert typed(*command)[0] == 130
    early = (tmp_path / "run" / "table.md").read_text()
    assert early.count("not trained yet") == 2
    assert (quick["trained"], quick["measured"]) == (3, 4)  # two models with their marks, two points
    before = results(tmp_path / "run")
    code, out, err = typed(*command)
    assert code == 0, err
    assert (quick["trained"], quick["measured"]) == (5, 6)
    after = results(tmp_path / "run")
    assert len(list((tmp_path / "run").glob("*/*/*_antialiased.*"))) == 4
    assert typed(*command)[0] == 0
    assert (quick["trained"], quick["measured"]) == (5, 6)
    assert len(before) == 2

    record = json.loads((tmp_path / "all.json").read_text())
    names = ["loss.nmr.weight=0.1", "loss.nmr.weight=1.0"]
    for block, model in zip(record["models"], models, strict=True):
        assert block["path"] == str(model)
        assert [point["name"].rpartition(",")[2] for point in block["points"]] == names
        assert (tmp_path / "run" / f"pareto_{block['name']}.png").stat().st_size > 5000
        for point in block["points"]:
            found = json.loads(Path(point["result"]).read_text())
            assert found["config"]["loss"]["nmr"]["weight"] == point["changes"]["loss.nmr.weight"]
            assert weights_import.load(found["output"]).network.config == weights_import.load(model).network.config
    assert [(mark["role"], mark["oversample"]) for mark in record["models"][0]["marks"]] == [
        ("teacher", 1), ("teacher", 2), ("student", 1),
    ]  # fmt: skip
    with (tmp_path / "run" / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["what"] for row in rows if row["model"] == "a"] == [
        "teacher", "teacher 2x", "student a", "point", "point",
    ]  # fmt: skip
    assert {row["front"] for row in rows if row["what"] == "point"} <= {"yes", ""}
    for row, point in zip([row for row in rows if row["model"] == "a"][3:], record["models"][0]["points"], strict=True):
        assert float(row["NMR-S (dB)"]) == point["measured"]["metrics"]["NMR-S"]
        assert float(row["minutes"]) > 0
    assert "1.0" in out
    assert after == after | before


@pytest.mark.slow
def test_points_that_share_a_program_are_what_they_are_alone(tmp_path, typed, quick):
    model = lstm(tmp_path / "a.json", ALIASING)
    options = [*TINY, "--set", "seed=0,1", "--set", "loss.nmr.weight=0.1,1", "--random", 3]
    for most in (3, 1):
        code, _, err = typed(
            "--model", model, "--run-dir", tmp_path / str(most), "--together", most, "--quiet", *options
        )
        assert code == 0, err
    together, alone = results(tmp_path / "3"), results(tmp_path / "1")
    assert len(together) == 3
    assert together.keys() == alone.keys()
    for name, found in together.items():
        assert (found["trained_together"], alone[name]["trained_together"]) == (3, 1)
        for ours, theirs in zip(found["history"], alone[name]["history"], strict=True):
            assert ours == pytest.approx(theirs, rel=1e-6)
    assert len({json.dumps(found["history"]) for found in together.values()}) == 3


def test_a_program_is_shared_by_points_that_differ_in_seed_rate_and_loss_weights_alone(tmp_path):
    """Of 18 points the six of each norm, in programs of at most four; those further trained apart."""
    network = weights_import.load(lstm(tmp_path / "a.json")).network
    texts = ["optimiser.learning_rate=1e-3,1e-4", "loss.nmr.weight=0,0.1,1", "optimiser.clip_norm=0.1,1,10"]
    found = grid.points(BASE, grid.choose(grid.parse(texts)))
    far = {found[0].name: [50, 100], found[3].name: [100, 150]}
    claimed = []
    for point in found:
        task = fine_tuning.Task(point.name, network, network, point.config, "", tmp_path)
        claimed.append((task, SimpleNamespace(steps=functools.partial(far.get, point.name, []))))
    shared = [([task for task, _ in group], done) for group, done in groups.in_step(claimed, 4)]
    assert sorted(task.label for tasks, _ in shared for task in tasks) == sorted(point.name for point in found)
    for tasks, _ in shared:
        assert len({task.config.optimiser.clip_norm for task in tasks}) == 1
    assert sorted((len(tasks), done) for tasks, done in shared) == sorted(
        [(1, 100), (1, 150), (2, 0), (2, 0), (4, 0), (4, 0), (2, 0), (2, 0)]
    )


@pytest.mark.slow
def test_a_point_that_diverges_and_one_that_is_refused_stop_no_other(tmp_path, typed, quick):
    model = lstm(tmp_path / "a.json", ALIASING)
    command = ["--model", model, "--run-dir", tmp_path / "run", *TINY]
    command += ["--set", "optimiser.clip_norm=null", "--set", "rate_search=null"]
    code, _, err = typed(*command, "--set", "optimiser.learning_rate=1e-3,1e300")
    assert code == 0, err
    assert "1e+300: diverged" in err
    table = (tmp_path / "run" / "table.md").read_text().splitlines()
    assert sum("| diverged" in line and "1e+300" in line for line in table) == 1
    trained = quick["trained"]
    assert typed(*command, "--set", "optimiser.learning_rate=1e-3,1e300")[0] == 0
    assert quick["trained"] == trained

    shutil.rmtree(tmp_path / "run")
    code, _, err = typed(*command, "--set", "frame_s=0.01,0.1", "--quiet")
    assert code == 2
    assert "frame_s = 0.01 is 441 samples" in err
    assert [len(result["models"]) for result in results(tmp_path / "run").values()] == [2]


def test_a_rate_that_does_harm_is_halved_unless_there_is_no_search(tmp_path, typed, quick):
    model = lstm(tmp_path / "a.json", ALIASING)
    command = ["--model", model, "--run-dir", tmp_path / "run", *TINY, "--set", "optimiser.learning_rate=10"]
    code, _, err = typed(*command, "--set", 'rate_search={"most_loss": 1.5},null')
    assert code == 0, err
    tried, untried = sorted(found["learning_rate"] for found in results(tmp_path / "run").values())
    assert untried == 10
    assert tried in [10 * 0.5**halvings for halvings in range(1, 13)]
    assert f"again at learning rate {tried:.3g}: at twice that the first updates do harm (its config has 10)" in err


def test_music_is_played_only_where_it_was_not_yet(tmp_path, typed, quick):
    """Music given later is measured without training; the table gets its columns, the picture its panel."""
    model = lstm(tmp_path / "a.json", ALIASING)
    soundfile.write(tmp_path / "riff.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 9000), 44_100, subtype="FLOAT")
    command = [
        "--model",
        model,
        "--run-dir",
        tmp_path / "run",
        "--quiet",
        *TINY,
        "--set",
        "optimiser.learning_rate=0.01",
    ]
    assert typed(*command)[0] == 0
    before = results(tmp_path / "run")
    code, _, err = typed(*command, "--audio", tmp_path / "riff.wav")
    assert code == 0, err
    (found,), (earlier,) = results(tmp_path / "run").values(), before.values()
    assert found["models"][1]["audio"]["ESR"] < 0
    assert found["history"] == earlier["history"]
    assert (found["seconds"], found["updates_here"]) == (earlier["seconds"], 4)
    assert "audio ESR (dB)" in (tmp_path / "run" / "table.csv").read_text()
