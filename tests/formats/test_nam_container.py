"""NAM's containers: every model in them is read, changed and written; all else stays, key by key."""

import copy
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from nam_documents import ALL
from test_weights_import import changed, load, nam_lstm, play_network

import weights_import
from jaxalias import evaluation
from jaxalias.commands import command_line, evaluate, render, survey
from weights_import import ModelFileError, nam_levels, rehearsal


def container() -> dict:
    """As A2: levels in each model and, those of the largest, around them."""
    names = {0.25: "legacy", 0.5: "gates", 1.0: "condition"}
    submodels = [
        {"max_value": size, "model": copy.deepcopy(ALL[name]) | {"metadata": {"loudness": -20.0 - size, "gain": 0.5}}}
        for size, name in names.items()
    ]
    return {
        "version": "0.7.0", "architecture": "SlimmableContainer", "config": {"submodels": submodels}, "weights": [],
        "sample_rate": 48_000.0, "metadata": {"name": "x", "loudness": -21.0, "gain": 0.5, "training": {"kept": 1}},
    }  # fmt: skip


def test_networks_are_in_the_files_order_and_named(tmp_path: Path) -> None:
    document, x = container(), np.random.default_rng(0).normal(size=20)
    loaded = load(tmp_path, document)
    assert [network.name for network in loaded.networks] == ["max_value 0.25", "max_value 0.5", "max_value 1"]
    assert loaded.network is loaded.networks[-1]
    assert loaded.sample_rate == 48_000
    alone = load(tmp_path, document["config"]["submodels"][1]["model"]).network
    np.testing.assert_array_equal(play_network(loaded.networks[1], x), play_network(alone, x))


def test_an_unchanged_container_is_saved_byte_for_byte(tmp_path: Path) -> None:
    loaded = load(tmp_path, container())
    weights_import.save(tmp_path / "copy", loaded)
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "model.bin").read_bytes()


def test_every_model_of_a_fine_tuned_container_is_changed_and_nothing_else(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(nam_levels, "level_signal", lambda rate_hz: np.random.default_rng(1).normal(0, 0.2, 500))
    document = container()
    loaded = load(tmp_path, document)
    params = [jax.tree.map(lambda a: a * 1.25, network.params) for network in loaded.networks]
    tuned = weights_import.fine_tuned(loaded, params, {"updates": 3})
    weights_import.save(tmp_path / "tuned", tuned)
    written, again = json.loads((tmp_path / "tuned").read_text()), weights_import.load(tmp_path / "tuned")
    for network, meant in zip(again.networks, params, strict=True):
        close = jax.tree.map(lambda a, b: np.allclose(a, b, rtol=1e-7), network.params, meant)
        assert all(jax.tree.leaves(close))
    models = [held["model"] for held in written["config"]["submodels"]]
    for model, before in zip(models, loaded.networks, strict=True):
        assert model["metadata"]["training"]["jaxalias"]["updates"] == 3
        assert "pink noise" in model["metadata"]["training"]["jaxalias"]["notes"]["loudness"]
        assert model["metadata"]["loudness"] != -20.0 - float(before.name.split()[1])
    assert written["metadata"]["loudness"] == models[-1]["metadata"]["loudness"]
    assert written["metadata"]["gain"] == models[-1]["metadata"]["gain"]
    note = written["metadata"]["training"].pop("jaxalias")
    assert note == {"updates": 3, "notes": dict.fromkeys(("loudness", "gain"), "that of the largest model, see there")}
    assert written["metadata"]["training"] == {"kept": 1}
    assert without_numbers(written) == without_numbers(document)
    nested = models[2]["config"]["condition_dsp"]["weights"]
    before = np.array(document["config"]["submodels"][2]["model"]["config"]["condition_dsp"]["weights"])
    np.testing.assert_allclose(nested[:-1], before[:-1] * 1.25, rtol=1e-6)


def test_levels_that_the_container_alone_has_follow_its_largest_model(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(nam_levels, "level_signal", lambda rate_hz: np.random.default_rng(1).normal(0, 0.2, 500))
    document = container()
    for held in document["config"]["submodels"]:
        del held["model"]["metadata"]
    loaded = load(tmp_path, document)
    params = [jax.tree.map(lambda a: a * 1.25, network.params) for network in loaded.networks]
    tuned = weights_import.fine_tuned(loaded, params, {})
    levels = [
        nam_levels.measure(network, nam_levels.level_signal(48_000)) for network in (loaded.network, tuned.network)
    ]
    found = tuned.document["metadata"]
    assert found["loudness"] == pytest.approx(-21.0 + levels[1].loudness - levels[0].loudness)
    assert "pink noise" in found["training"]["jaxalias"]["notes"]["loudness"]
    assert all("loudness" not in held["model"]["metadata"] for held in tuned.document["config"]["submodels"])


def without_numbers(document: Any) -> Any:
    """Keys in their order, and all values but weights and metadata."""
    if isinstance(document, dict):
        changing = ("weights", "metadata")
        return [(key, len(value) if key == "weights" else key in changing or without_numbers(value))
                for key, value in document.items()]  # fmt: skip
    return [without_numbers(member) for member in document] if isinstance(document, list) else document


def test_there_must_be_parameters_for_each_network(tmp_path: Path) -> None:
    loaded = load(tmp_path, container())
    with pytest.raises(ModelFileError, match="params: must be 3, one for each network, got 1"):
        weights_import.fine_tuned(loaded, [loaded.network.params], {})


def test_a_model_whose_output_is_not_finite_is_not_written(tmp_path: Path) -> None:
    loaded = load(tmp_path, ALL["legacy"])
    huge = jax.tree.map(lambda a: a * 1e38, loaded.network.params)
    with pytest.raises(ModelFileError, match="finite"):
        weights_import.save(tmp_path / "out", weights_import.fine_tuned(loaded, [huge], {}))
    assert not (tmp_path / "out").exists()


def test_what_sounds_otherwise_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(tmp_path, ALL["legacy"])
    tuned = weights_import.fine_tuned(loaded, [jax.tree.map(lambda a: a * 1.1, loaded.network.params)], {})
    renders = iter([np.zeros(3), np.ones(3)])
    monkeypatch.setattr(rehearsal, "play", lambda network: next(renders))
    with pytest.raises(ModelFileError, match="sound"):
        weights_import.save(tmp_path / "out", tuned)
    assert not (tmp_path / "out").exists()


SUBMODELS = ("config", "submodels")
REFUSALS = [
    (("weights",), [1.0], ["weights", "must be []"]),
    (("config",), {}, ["config.submodels", "missing; the format requires it"]),
    (SUBMODELS, [], ["config.submodels", "[]"]),
    ((*SUBMODELS, 1, "max_value"), 0.25, ["config.submodels.1.max_value", "above 0.25", "got 0.25"]),
    ((*SUBMODELS, 2, "max_value"), 0.9, ["config.submodels.2.max_value", "at least 1", "0.9"]),
    ((*SUBMODELS, 1, "model", "architecture"), "SlimmableContainer", ["submodels.1.model.architecture", "container"]),
    ((*SUBMODELS, 1, "model", "architecture"), "PackedWaveNet", ["submodels.1.model.architecture", "PackedWaveNet"]),
    ((*SUBMODELS, 1, "model", "sample_rate"), 44_100, ["config.submodels.1.model.sample_rate", "48000", "44100"]),
    ((*SUBMODELS, 0, "model", "weights", 0), None, ["config.submodels.0.model.weights[0]", "null"]),
    ((*SUBMODELS, 1, "model", "version"), "1.0.0", ["config.submodels.1.model.version", "1.0.0"]),
    (("version",), "0.4.0", ["version", "0.4.0"]),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value", "words"), REFUSALS)
def test_a_container_that_players_refuse_is_refused(tmp_path: Path, place: Any, value: Any, words: Any) -> None:
    with pytest.raises(ModelFileError) as caught:
        load(tmp_path, changed(*place, to=value)(container()))
    message = str(caught.value)
    assert message.splitlines() == [message]
    assert [word for word in ["model.bin", *words] if word not in message] == [], message


def test_a2_is_a_container_of_two_wavenets(data_dir: Path, tmp_path: Path) -> None:
    """Fine-tuned, it keeps literally the keys that the players' fast path asks for."""
    loaded = weights_import.load(data_dir / "models/nam/BossWN-a2.nam")
    assert [network.name for network in loaded.networks] == ["max_value 0.5", "max_value 1"]
    counts = [sum(a.size for a in jax.tree.leaves(network.params)) + 1 for network in loaded.networks]
    assert counts == [1871, 12146]
    assert all(weights_import.nam.models.build(n.config).receptive_field == 6347 for n in loaded.networks)
    written = loaded.encode(loaded.document)
    assert written == loaded.path.read_bytes()


def typed(monkeypatch: Any, command: Any, *arguments: object) -> None:
    monkeypatch.setattr("sys.argv", [command.__name__.rpartition(".")[2] + ".py", *map(str, arguments)])
    command_line.run(command.main)


def pair(path: Path, scale: float = 1.0) -> Path:
    """A container of two small models; the WaveNet is the larger."""
    wavenet, lstm = copy.deepcopy(ALL["legacy"]), nam_lstm() | {"sample_rate": 48_000}
    wavenet["weights"] = [scale * weight for weight in wavenet["weights"]]
    submodels = [{"max_value": 0.5, "model": lstm}, {"max_value": 1.0, "model": wavenet}]
    path.write_text(json.dumps(container() | {"config": {"submodels": submodels}}))
    return path


@pytest.mark.slow
def test_evaluate_compares_each_model_with_its_own_teacher(tmp_path: Path, monkeypatch: Any) -> None:
    teacher, student = pair(tmp_path / "t.nam"), pair(tmp_path / "s.nam", 0.9)
    few = ["--midi", 60, 61, "--levels", -6, "--quiet", "--json", tmp_path / "r.json"]
    typed(monkeypatch, evaluate, "--teacher", teacher, "--student", student, *few)
    rows = json.loads((tmp_path / "r.json").read_text())["models"]
    assert [(Path(row["path"]).name, row["role"]) for row in rows] == [
        ("t.nam [max_value 1]", "teacher"), ("s.nam [max_value 1]", "student"),
        ("t.nam [max_value 0.5]", "teacher"), ("s.nam [max_value 0.5]", "student"),
    ]  # fmt: skip
    assert [row["metrics"]["HESR-T"] is None for row in rows] == [True, False, True, True]  # the LSTM is the same
    assert rows[1]["metrics"]["HESR-T"] > -40


def test_survey_has_a_row_for_each_model(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(survey, "QUICK", evaluation.SineSet((60, 61), (-6.0,)))
    typed(monkeypatch, survey, pair(tmp_path / "t.nam"), "--quick", "--quiet", "--json", tmp_path / "r.json")
    rows = json.loads((tmp_path / "r.json").read_text())["models"]
    assert {Path(row["path"]).name for row in rows} == {"t.nam [max_value 1]", "t.nam [max_value 0.5]"}
    assert rows[0]["parameters"] != rows[1]["parameters"]


@pytest.mark.parametrize(("options", "name"), [([], "max_value 1"), (["--submodel", 1], "max_value 0.5")])
def test_render_plays_the_largest_or_the_one_asked_for(
    tmp_path: Path, monkeypatch: Any, options: list, name: str
) -> None:
    import soundfile

    model, x = pair(tmp_path / "t.nam"), np.random.default_rng(0).normal(0, 0.1, 500)
    soundfile.write(tmp_path / "in.wav", x, 48_000, subtype="DOUBLE")
    files = ["--input", tmp_path / "in.wav", "--output", tmp_path / "out.wav", "--json", tmp_path / "r.json"]
    typed(monkeypatch, render, "--model", model, *files, *options, "--bits", "float", "--precision", "float64")
    network = next(n for n in weights_import.load(model).networks if n.name == name)
    np.testing.assert_allclose(soundfile.read(tmp_path / "out.wav")[0], play_network(network, x), atol=1e-6)
    assert json.loads((tmp_path / "r.json").read_text())["model"] == f"{model} [{name}]"


def test_render_has_no_model_of_that_number(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    files = ["--input", tmp_path / "in.wav", "--output", tmp_path / "out.wav", "--submodel", 3]
    with pytest.raises(SystemExit) as stopped:
        typed(monkeypatch, render, "--model", pair(tmp_path / "t.nam"), *files)
    assert stopped.value.code == 2
    assert "holds 2 models, got 3" in capsys.readouterr().err
