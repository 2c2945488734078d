"""Everything that a NAM file can say, played as a slow reading of the format plays it."""

import copy

import jax
import jax.numpy as jnp
import nam_reference
import numpy as np
import pytest
import tolerances
from nam_documents import ALL, FIELDS, films, legacy
from nam_documents import wavenet as document_of
from test_weights_import import changed, esr_db, load, play

import weights_import
from jaxalias import models
from jaxalias.models import feedforward
from weights_import import ModelFileError

RNG = np.random.default_rng(7)


@pytest.mark.parametrize("name", ALL)
def test_a_file_sounds_like_a_slow_reading_of_it_and_comes_back(tmp_path, name):
    loaded, x = load(tmp_path, ALL[name]), RNG.normal(0, 0.5, 50)
    reference = nam_reference.play(ALL[name], x)
    assert np.ptp(reference) > 1e-3
    assert esr_db(play(loaded, x), reference) < -250
    if name in FIELDS:
        assert models.build(loaded.network.config).receptive_field == FIELDS[name]
    before = (tmp_path / "model.bin").read_bytes()
    weights_import.save(tmp_path / "copy", loaded)
    assert (tmp_path / "copy").read_bytes() == before


@pytest.mark.parametrize("samples", [33, 30])
@pytest.mark.parametrize("name", ["every memory", "head1x1 in groups", "FiLM", "condition", "ConvNet", "Linear"])
def test_long_signals_in_blocks_of_time_are_one_piece(tmp_path, name, samples, monkeypatch):
    """Three blocks after a first one that has three samples of the signal, or none."""
    loaded, x = load(tmp_path, ALL[name]), RNG.normal(0, 0.5, samples)
    whole = play(loaded, x)
    monkeypatch.setattr(feedforward, "_BLOCK", 10)
    monkeypatch.setattr(feedforward, "_LONG", 30)
    np.testing.assert_allclose(play(loaded, x), whole, rtol=0, atol=tolerances.F64)


def test_the_last_weight_is_the_scale(tmp_path):
    """As for the core; files of the core's own tests have another number in their config."""
    document, x = ALL["legacy"], RNG.normal(0, 0.5, 20)
    louder = {**document, "weights": [*document["weights"][:-1], 2.0]}
    y = play(load(tmp_path, document), x)
    np.testing.assert_allclose(play(load(tmp_path, louder), x), y * (2 / document["weights"][-1]), rtol=1e-12)


def test_weights_without_effect_stay(tmp_path):
    """`layer1x1_post_film` outside of blended layers is in the file, but not played."""
    document = nam_reference.filled(document_of(legacy(**films("layer1x1_post_film"))))
    loaded = load(tmp_path, document)
    model, params = models.build(loaded.network.config), models.cast(loaded.network.params, np.float64)
    power = lambda p: jnp.mean(model.apply(p, jnp.ones((1, 9)), model.initial_state(p, 1))[0] ** 2)  # noqa: E731
    slopes = jax.grad(power)(params)["array_0"]["layer_0"]
    assert not np.any(slopes["layer1x1_post_film"]["film"]["weight"])
    assert np.any(slopes["layer1x1"]["weight"])


def test_the_statistics_of_a_normalisation_are_not_trained(tmp_path):
    network = load(tmp_path, ALL["ConvNet, normalised"]).network
    model, params = models.build(network.config), models.cast(network.params, np.float64)
    power = lambda p: jnp.mean(model.apply(p, jnp.ones((1, 9)), model.initial_state(p, 1))[0] ** 2)  # noqa: E731
    slopes = jax.grad(power)(params)["batchnorm_0"]
    assert np.any(slopes["bias"])
    assert not any(np.any(slopes[name]) for name in ("running_mean", "running_var", "eps"))


@pytest.mark.parametrize(
    ("name", "words"), [("Linear", "does not alias"), ("slimmable", "layers.slimmable: must be null")]
)
def test_what_cannot_be_fine_tuned_is_refused_with_the_reason(tmp_path, name, words):
    with pytest.raises(ModelFileError, match=f"model.bin: .*{words}"):
        weights_import.require_trainable(load(tmp_path, ALL[name]))
    weights_import.require_trainable(load(tmp_path, ALL["ConvNet"]))


LAYER = ("config", "layers", 0)
NESTED = ("config", "condition_dsp")
REFUSALS = [
    ("current", (*LAYER, "head_size"), 1, ["config.layers.0.head", "head_size"]),
    ("current", (*LAYER, "kernel_size"), 3, ["config.layers.0", "either kernel_size or kernel_sizes"]),
    ("current", (*LAYER, "kernel_sizes"), [3], ["config.layers.0.kernel_sizes", "2 numbers", "got 1"]),
    ("current", (*LAYER, "kernel_sizes"), [3, 0], ["config.layers.0.kernel_sizes", "got 0"]),
    ("current", (*LAYER, "activation"), ["Tanh"], ["config.layers.0.activation", "2 in a list", "got 1"]),
    ("current", (*LAYER, "activation", 1), "GELU", ["config.layers.0.activation.1", "GELU"]),
    ("current", (*LAYER, "activation", 1), {"name": "Tanh"}, ["config.layers.0.activation.1.type: missing"]),
    ("current", (*LAYER, "activation", 1), {"type": "Tanh", "min_val": 1.0}, ["activation.1", "no effect on Tanh"]),
    ("current", (*LAYER, "activation", 1), {"type": "LeakyReLU", "negative_slope": None}, ["negative_slope", "null"]),
    ("slopes", (*LAYER, "activation", 0, "negative_slopes"), [0.1] * 3, ["config.layers.0", "1 or 4", "got 3"]),
    ("slopes", (*LAYER, "activation", 0, "negative_slopes"), [], ["negative_slopes", "[]"]),
    ("current", (*LAYER, "gating_mode", 1), "both", ["config.layers.0.gating_mode.1", "blended", "both"]),
    ("gates", (*LAYER, "secondary_activation", 1), None, ["config.layers.0.secondary_activation", "null"]),
    ("current", (*LAYER, "groups_input"), 3, ["config.layers.0", "groups_input must divide 4", "got 3"]),
    ("current", (*LAYER, "groups_input_mixin"), 2, ["config.layers.0", "groups_input_mixin must divide 1", "got 2"]),
    ("current", (*LAYER, "layer1x1"), {"active": True}, ["config.layers.0.layer1x1.groups", "missing"]),
    ("current", (*LAYER, "layer1x1", "groups"), 3, ["layer1x1.groups must divide 4", "got 3"]),
    ("current", (*LAYER, "head1x1"), None, ["config.layers.0.head1x1", "null"]),
    ("head1x1", (*LAYER, "head1x1", "groups"), 2, ["head1x1.groups must divide 3", "got 2"]),
    ("current", (*LAYER, "conv_pre_film"), True, ["config.layers.0.conv_pre_film", "object", "true"]),
    ("FiLM", (*LAYER, "conv_pre_film", "groups"), 2, ["conv_pre_film.groups must divide 1", "got 2"]),
    ("FiLM", (*LAYER, "head1x1", "active"), False, ["head1x1_post_film", "head1x1 is not"]),
    ("FiLM in blended layers", (*LAYER, "layer1x1", "active"), False, ["layer1x1_post_film", "layer1x1 is not"]),
    ("head convolution", (*LAYER, "head", "out_channels"), 5, ["layers[1].channels must be 5", "got 4"]),
    ("head convolution", ("config", "layers", 1, "head1x1"), {"active": True, "out_channels": 2, "groups": 1},
     ["layers[1].head1x1.out_channels must be 4", "got 2"]),
    ("post head", ("config", "head", "out_channels"), 2, ["head.out_channels must be 1", "got 2"]),
    ("post head", ("config", "head", "in_channels"), 2, ["config.head.in_channels", "must be 3", "got 2"]),
    ("post head", ("config", "head", "kernel_sizes"), [], ["config.head.kernel_sizes", "[]"]),
    ("current", (*LAYER, "activation", 1), {"type": "PReLU", "negative_slopes": [0.0, 1e39]},
     ["config.layers.0.activation.1.negative_slopes", "finite as float32", "1e+39"]),
    ("current", (*LAYER, "packing"), {}, ["config.layers.0.packing", "must not be there"]),
    ("current", (*LAYER, "slimmable"), {"method": "other"}, ["config.layers.0.slimmable.method", "other"]),
    ("condition", NESTED, {}, ["config.condition_dsp.version: missing"]),
    ("condition", NESTED, [], ["config.condition_dsp", "object, or null"]),
    ("condition", NESTED, ALL["ConvNet"], ["config.condition_dsp.architecture", "must be WaveNet", "ConvNet"]),
    ("condition", (*NESTED, "sample_rate"), 44_100, ["config.condition_dsp.sample_rate", "48000", "44100"]),
    ("condition", (*NESTED, "version"), "0.8.0", ["config.condition_dsp.version", "0.8.0"]),
    ("condition", (*NESTED, "weights", 3), None, ["config.condition_dsp.weights[3]", "null"]),
    ("condition", (*LAYER, "condition_size"), 3, ["config.condition_dsp.config", "head_size must be 3", "got 4"]),
    ("current", (*LAYER, "channels"), 10**9, ["config.layers", "must be at most"]),
    ("current", (*LAYER, "head", "kernel_size"), 10**7, ["config.layers", "receptive field", "1000000"]),
    ("ConvNet", ("config", "groups"), 3, ["config.groups", "3"]),
    ("ConvNet", ("config", "dilations"), [1, 10**8, 1], ["config.dilations", "receptive field"]),
    ("ConvNet, normalised", ("weights", 6 + 3), -1.0, ["weights", "running_var + eps of block 0", "-"]),
    ("Linear", ("config", "receptive_field"), 10**8, ["config.receptive_field", "1000000"]),
    ("Linear", ("config", "receptive_field"), 41, ["weights", "requires 41", "40"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "place", "value", "words"), REFUSALS)
def test_what_players_would_refuse_is_refused_with_key_and_value(tmp_path, name, place, value, words):
    document = changed(*place, to=value)(copy.deepcopy(ALL[name]))
    with pytest.raises(ModelFileError) as caught:
        load(tmp_path, document)
    message = str(caught.value)
    assert message.splitlines() == [message]
    assert [word for word in ["model.bin", *words] if word not in message] == [], message
