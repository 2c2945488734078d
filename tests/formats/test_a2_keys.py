"""A fine-tuned A2 file keeps what players look for: NeuralAmpModelerCore plays it by its hand-written path.

That path takes a WaveNet only if its config is literally what the trainer writes for A2, with 3 or 8 channels; every
other one goes through the general code, which is several times as slow. The condition is that of the core 0.5.5.
"""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from model_kinds import container
from nam_documents import current, wavenet
from nam_reference import FILMS, filled

import weights_import
from weights_import import ModelFile, nam_levels

BLOCK = [1, 3, 7, 17, 41, 101, 239]
DILATIONS = [*BLOCK, *BLOCK, 1, 13, *BLOCK]
KERNELS = [6] * 14 + [15] * 2 + [6] * 7
BEND = {"type": "LeakyReLU", "negative_slope": 0.01}
HEAD = {"out_channels": 1, "kernel_size": 16, "bias": True}
WEIGHTS = {3: 1871, 8: 12146}


def a2_model(channels: int) -> dict:
    """As the trainer writes it, with random weights."""
    layers = current(
        23, channels=channels, bottleneck=channels, kernel_sizes=KERNELS, dilations=DILATIONS, activation=[BEND] * 23,
        head=HEAD,
    )  # fmt: skip
    document = filled(wavenet(layers, head_scale=0.01))
    return document | {"metadata": {"loudness": -20.0 - channels, "gain": 0.5}, "sample_rate": 48_000.0}


def a2_file(path: Path) -> Path:
    document = container(**{"0.5": a2_model(3), "1": a2_model(8)})
    metadata = {"name": "A2", "loudness": -28.0, "gain": 0.5, "input_level_dbu": 14.76}
    path.write_text(json.dumps(document | {"sample_rate": 48_000.0, "metadata": metadata}))
    return path


def channels_of_fast_path(config: dict) -> int | None:
    """3 or 8 where the core's hand-written A2 path takes a config, else None: every value as it has to be written."""
    if len(config["layers"]) != 1 or config["head"] is not None or config.get("in_channels", 1) != 1:
        return None
    array = config["layers"][0]
    off = (array.get(film) for film in FILMS)
    literal = {
        "input_size": 1, "condition_size": 1, "kernel_sizes": KERNELS, "dilations": DILATIONS,
        "activation": [BEND] * 23, "layer1x1": {"active": True, "groups": 1},
    }  # fmt: skip
    fits = (
        isinstance(config["head_scale"], float)
        and all(array[key] == value for key, value in literal.items())
        and all(type(number) is int for number in (*array["kernel_sizes"], *array["dilations"]))
        and array["channels"] == array["bottleneck"]
        and array.get("gating_mode", ["none"] * 23) == ["none"] * 23
        and array.get("secondary_activation", [None] * 23) == [None] * 23
        and not array.get("head1x1", {}).get("active", False)
        and {"head_dilation": 1, **array["head"]} == {"head_dilation": 1, **HEAD}
        and not any(film["active"] if isinstance(film, dict) else film for film in off)
        and array.get("groups_input", 1) == array.get("groups_input_mixin", 1) == 1
        and array.get("slimmable") is None
    )
    return array["channels"] if fits and array["channels"] in WEIGHTS else None


def tuned_file(source: ModelFile, path: Path) -> dict:
    """Changed by a little noise, written and read again as JSON."""
    random = np.random.default_rng(0)
    params = [
        jax.tree.map(lambda a: a + 0.02 * np.std(a) * random.normal(size=a.shape), network.params)
        for network in source.networks
    ]
    weights_import.save(path, weights_import.fine_tuned(source, params, {"updates": 1}))
    return json.loads(path.read_text())


def shape_of(value: Any) -> Any:
    """Keys in their order and all values with their types, but numbers of weights, metadata and JSON's own."""
    if isinstance(value, dict):
        left_out = ("weights", "metadata")
        return [(key, len(member) if key in left_out[:1] else key in left_out or shape_of(member))
                for key, member in value.items()]  # fmt: skip
    return [shape_of(member) for member in value] if isinstance(value, list) else (type(value), value)


def check(source: ModelFile, written: dict, text: str) -> None:
    before = source.document
    assert shape_of(written) == shape_of(before)
    sizes = [held["model"] for held in written["config"]["submodels"]]
    assert [channels_of_fast_path(model["config"]) for model in sizes] == [3, 8]
    assert [len(model["weights"]) for model in sizes] == list(WEIGHTS.values())
    assert written["sample_rate"] == 48_000
    assert all(model["sample_rate"] == 48_000 for model in sizes)
    # the scale is the last weight, and players take that; the key has to stay a number of its own
    assert all(model["weights"][-1] == np.float32(model["config"]["head_scale"]) for model in sizes)
    assert list(written["metadata"])[: len(before["metadata"])] == list(before["metadata"])
    for key in ("loudness", "gain"):
        assert written["metadata"][key] == sizes[-1]["metadata"][key]
    for model, held in zip(sizes, before["config"]["submodels"], strict=True):
        assert model["metadata"]["loudness"] != held["model"]["metadata"]["loudness"]
    assert text[:60] == source.path.read_text()[:60]  # laid out as it was


def test_a_tuned_a2_file_keeps_its_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nam_levels, "level_signal", lambda rate_hz: np.random.default_rng(1).normal(0, 0.2, 500))
    source = weights_import.load(a2_file(tmp_path / "a2.nam"))
    written = tuned_file(source, tmp_path / "tuned.nam")
    check(source, written, (tmp_path / "tuned.nam").read_text())


@pytest.mark.parametrize("name", ["core_A2", "BossWN-a2"])
def test_a_tuned_a2_capture_keeps_its_keys(data_dir: Path, tmp_path: Path, name: str) -> None:
    source = weights_import.load(data_dir / f"models/nam/{name}.nam")
    written = tuned_file(source, tmp_path / "tuned.nam")
    check(source, written, (tmp_path / "tuned.nam").read_text())


CHANGES = {
    "a scalar kernel": lambda array: array.update(kernel_size=6) or array.pop("kernel_sizes"),
    "a name for an activation": lambda array: array.update(activation=["LeakyReLU"] * 23),
    "one activation for all": lambda array: array.update(activation=BEND),
    "no bottleneck": lambda array: array.update(bottleneck=4),
    "a dilation": lambda array: array["dilations"].__setitem__(3, 18),
    "a float dilation": lambda array: array["dilations"].__setitem__(3, 17.0),
    "an active FiLM": lambda array: array["conv_pre_film"].update(active=True),
    "no bias of the head": lambda array: array["head"].update(bias=False),
    "slimmable": lambda array: array.update(slimmable={"method": "slice_channels_uniform"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_condition_sees_a_changed_key(name: str) -> None:
    config = json.loads(json.dumps(a2_model(8)["config"]))
    assert channels_of_fast_path(config) == 8
    CHANGES[name](config["layers"][0])
    try:
        assert channels_of_fast_path(config) is None
    except KeyError:
        assert name == "a scalar kernel"
