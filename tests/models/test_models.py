"""Each network against a slow NumPy copy of its equations, and what both have to keep: causality, blocks, batches."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxalias import models
from jaxalias.config import ConvNetConfig, GRUConfig, LayerArrayConfig, LinearConfig, LSTMConfig, WaveNetConfig
from jaxalias.models import feedforward
from jaxalias.models.activations import ACTIVATIONS

RNG = np.random.default_rng(0)
LSTMS = {
    "guitarml": LSTMConfig(hidden_size=5),
    "nam": LSTMConfig(hidden_size=4, num_layers=2, bias_vectors=1, skip=False, stored_initial_state=True),
    "no bias": LSTMConfig(hidden_size=2, bias_vectors=0),
    "knobs": LSTMConfig(hidden_size=3, num_layers=2, input_size=3, input_gain=1.7, output_gain=0.6),
}
GRUS = {
    "gru": GRUConfig(hidden_size=5),
    "stacked gru": GRUConfig(hidden_size=3, num_layers=2, input_size=2, skip=False),
    "gru without bias": GRUConfig(hidden_size=2, bias_vectors=0, input_gain=0.5, output_gain=3.0),
}
KNOBS = np.array([0.2, 0.9])
TANH = {"condition_size": 1, "activation": "Tanh"}
WAVENETS = {
    "chain": WaveNetConfig(
        layer_arrays=(
            LayerArrayConfig(input_size=1, head_size=2, channels=3, kernel_size=3, dilations=(1, 2), **TANH),
            LayerArrayConfig(
                input_size=3, head_size=1, channels=2, kernel_size=2, dilations=(3,), activation="ReLU", head_bias=True
            ),
        ),
        head_scale=0.3,
    ),
    "gated": WaveNetConfig(
        layer_arrays=(
            LayerArrayConfig(
                input_size=1, head_size=1, channels=2, kernel_size=4, dilations=(2, 1), gated=True, **TANH
            ),
        ),
        head_scale=0.02,
    ),
}
CONFIGS = {**LSTMS, **GRUS, **WAVENETS}
CONVNET = ConvNetConfig(channels=2, dilations=(1, 3), batchnorm=False, activation="Tanh")
LINEAR = LinearConfig(receptive_field=4, bias=True)
each_kind = pytest.mark.parametrize(
    "config",
    [LSTMS["nam"], LSTMS["knobs"], GRUS["stacked gru"], WAVENETS["chain"], CONVNET, LINEAR],
    ids=["nam", "knobs", "gru", "chain", "convnet", "linear"],
)


Config = LSTMConfig | GRUConfig | WaveNetConfig | ConvNetConfig | LinearConfig


def parameters(config: Config) -> dict:
    """Random numbers, large enough to bend the signal."""
    shapes = jax.eval_shape(models.build(config).init, jax.random.key(0))
    return jax.tree.map(lambda a: jnp.asarray(RNG.uniform(-1, 1, a.shape)), shapes)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def slow_recurrent(config: LSTMConfig | GRUConfig, p: dict, x: np.ndarray) -> np.ndarray:
    """One signal, one sample at a time; gate rows in PyTorch's order i, f, g, o and r, z, n."""
    size, layers = config.hidden_size, range(config.num_layers)
    stored = "initial_hidden_l0" in p
    h = [np.array(p[f"initial_hidden_l{i}"]) if stored else np.zeros(size) for i in layers]
    c = [np.array(p[f"initial_cell_l{i}"]) if stored else np.zeros(size) for i in layers]
    y = []
    for sample in config.input_gain * x:
        heard = np.array([sample, *KNOBS[: config.input_size - 1]])
        for i in layers:
            outside = p[f"weight_ih_l{i}"] @ heard + p.get(f"bias_ih_l{i}", 0) + p.get(f"bias_l{i}", 0)
            inside = p[f"weight_hh_l{i}"] @ h[i] + p.get(f"bias_hh_l{i}", 0)
            if isinstance(config, LSTMConfig):
                gates = (outside + inside).reshape(4, size)
                c[i] = sigmoid(gates[1]) * c[i] + sigmoid(gates[0]) * np.tanh(gates[2])
                heard = h[i] = sigmoid(gates[3]) * np.tanh(c[i])
            else:
                (a_r, a_z, a_n), (b_r, b_z, b_n) = outside.reshape(3, size), inside.reshape(3, size)
                update, new = sigmoid(a_z + b_z), np.tanh(a_n + sigmoid(a_r + b_r) * b_n)
                heard = h[i] = (1 - update) * new + update * h[i]
        y.append(p["head_weight"][0] @ heard + p["head_bias"][0] + config.skip * sample)
    return config.output_gain * np.array(y)


def slow_wavenet(config: WaveNetConfig, p: dict, x: np.ndarray) -> np.ndarray:
    """One signal after long silence, one sample and one tap at a time."""
    silence = models.build(config).receptive_field - 1
    condition = np.concatenate([np.zeros(silence), x])[None]
    signal, head = condition, 0.0
    for a, array in enumerate(config.layer_arrays):
        weights, channels = p[f"array_{a}"], array.channels
        signal = weights["rechannel"]["weight"] @ signal
        for j, dilation in enumerate(array.dilations):
            layer = weights[f"layer_{j}"]
            z = layer["input_mixin"]["weight"] @ condition + layer["conv"]["bias"][:, None]
            for t in range(condition.shape[1]):
                for tap in range(array.kernel_size):
                    past = t - (array.kernel_size - 1 - tap) * dilation
                    if past >= 0:
                        z[:, t] += layer["conv"]["weight"][:, :, tap] @ signal[:, past]
            bend = np.tanh if array.activation == "Tanh" else lambda z: np.maximum(z, 0)
            h = bend(z[:channels]) * sigmoid(z[channels:]) if array.gated else bend(z)
            head = head + h
            signal = signal + layer["layer1x1"]["weight"] @ h + layer["layer1x1"]["bias"][:, None]
        out = weights["head_rechannel"]
        head = out["weight"] @ head + (out["bias"][:, None] if array.head_bias else 0)
    return config.head_scale * head[0, silence:]


def play(config: Config, p: dict, x: np.ndarray) -> np.ndarray:
    return np.asarray(jax.jit(models.build(config).apply)(p, jnp.asarray(x), start(config, p, x.shape[0]))[0])


def start(config: Config, p: dict, batch: int) -> models.State:
    """The initial state, the knobs of every signal alike."""
    model = models.build(config)
    return model.initial_state(p, batch, KNOBS[: model.knobs] if model.knobs else None)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_each_signal_of_a_batch_equals_the_slow_copy(config: Config) -> None:
    p, x = parameters(config), RNG.normal(size=(3, 30))
    slow = slow_wavenet if isinstance(config, WaveNetConfig) else slow_recurrent
    numbers = jax.tree.map(np.array, p)
    y = play(config, p, x)
    np.testing.assert_allclose(y, [slow(config, numbers, row) for row in x], atol=tolerances.F64)
    assert np.ptp(y) > 1e-3


@each_kind
def test_single_precision_is_close_to_double_and_stays_single(config: Config) -> None:
    p, x = parameters(config), RNG.normal(size=(3, 30))
    single = play(config, models.cast(p, np.float32), x.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, play(config, p, x), atol=tolerances.F32_MODEL)


@each_kind
def test_no_output_depends_on_later_input(config: Config) -> None:
    p, model = parameters(config), models.build(config)
    state = start(config, p, 1)
    slopes = jax.jacobian(lambda x: model.apply(p, x[None], state)[0][0])(jnp.asarray(RNG.normal(size=12)))
    assert not np.triu(slopes, 1).any()
    assert np.diag(slopes).all()


@pytest.mark.parametrize("name", WAVENETS)
def test_receptive_field_is_exact(name: str) -> None:
    p, model = parameters(WAVENETS[name]), models.build(WAVENETS[name])
    reach, past = model.receptive_field, model.initial_state(p, 1)
    assert reach == {"chain": 1 + 2 * 3 + 3, "gated": 1 + 3 * 3}[name]
    assert past.shape == (1, reach - 1)
    draws = [(parameters(WAVENETS[name]), jnp.asarray(RNG.normal(size=(1, reach + 4)))) for _ in range(10)]
    slope_of = jax.jit(jax.grad(lambda x, p: model.apply(p, x, past)[0][0, -1]))
    slopes = np.concatenate([slope_of(x, p) for p, x in draws])
    assert not slopes[:, :4].any()
    assert slopes[:, 4].any()  # in one draw or another: a ReLU may be off


@each_kind
def test_blocks_of_any_size_are_one_piece(config: Config) -> None:
    model, p, x = models.build(config), parameters(config), RNG.normal(size=(2, 6))
    apply, whole = jax.jit(model.apply), play(config, p, x)

    @settings(max_examples=30, deadline=None)
    @given(st.sets(st.integers(1, 5)))
    def check(cuts: set[int]) -> None:
        state, blocks = start(config, p, 2), []
        for block in np.split(x, sorted(cuts), axis=1):
            y, state = apply(p, jnp.asarray(block), state)
            blocks.append(y)
        np.testing.assert_allclose(np.concatenate(blocks, axis=1), whole, atol=tolerances.F64)

    check()


@pytest.mark.parametrize("taps", [1, 4, 256, 257, 700])
def test_a_linear_model_is_its_impulse_response(taps: int) -> None:
    """Of every signal of a batch by itself, directly and through an FFT, its first number for the newest sample."""
    config = LinearConfig(receptive_field=taps, bias=True)
    p, x = parameters(config), RNG.normal(size=(3, 900))
    expected = [np.convolve(signal, p["weight"])[:900] + p["bias"] for signal in x]
    np.testing.assert_allclose(play(config, p, x), expected, atol=tolerances.F64 * taps**0.5)


@pytest.mark.parametrize("name", WAVENETS)
def test_a_wavenet_works_through_a_long_signal_in_blocks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three blocks and a shorter first one, each layer with the end of its own past: the same as in one block."""
    p, model, x = parameters(WAVENETS[name]), models.build(WAVENETS[name]), jnp.asarray(RNG.normal(size=(2, 33)))
    past = jnp.asarray(RNG.normal(size=(2, model.receptive_field - 1)))

    def run() -> list[jax.Array]:
        def power(p: dict) -> tuple[jax.Array, tuple]:
            y, state = model.apply(p, x, past)
            return jnp.mean(y**2), (y, state)

        blocks = str(jax.make_jaxpr(jax.grad(power, has_aux=True))(p)).count("length=3")
        assert (blocks > 0) == (feedforward._LONG <= 33)
        return jax.tree.leaves(jax.jit(jax.grad(power, has_aux=True))(p))

    whole = run()
    monkeypatch.setattr(feedforward, "_BLOCK", 10)
    monkeypatch.setattr(feedforward, "_LONG", 33)
    for ours, wanted in zip(run(), whole, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=tolerances.F64)


def test_initial_state_is_the_stored_one() -> None:
    config = LSTMS["nam"]
    p, model = parameters(config), models.build(config)
    state = model.initial_state(p, 3)
    for layer, (hidden, cell) in enumerate(state):
        np.testing.assert_array_equal(hidden, np.tile(p[f"initial_hidden_l{layer}"], (3, 1)))
        np.testing.assert_array_equal(cell, np.tile(p[f"initial_cell_l{layer}"], (3, 1)))
    gradient = jax.grad(lambda p: jnp.sum(model.apply(p, jnp.ones((1, 3)), model.initial_state(p, 1))[0]))(p)
    assert all(np.abs(a).max() > 0 for a in jax.tree.leaves(gradient))  # it is learned like any other parameter


def test_fresh_parameters_have_the_names_and_shapes_of_the_files() -> None:
    fresh = jax.jit(models.build(LSTMS["guitarml"]).init)(jax.random.key(0))
    assert jax.tree.map(jnp.shape, fresh) == {
        "weight_ih_l0": (20, 1), "weight_hh_l0": (20, 5), "bias_ih_l0": (20,), "bias_hh_l0": (20,),
        "head_weight": (1, 5), "head_bias": (1,),
    }  # fmt: skip
    assert models.parameter_count(fresh) == 166
    assert models.dtype_of(fresh) == np.float32
    assert all(0 < np.abs(a).max() <= 5**-0.5 for a in fresh.values())
    layer = {"input_mixin": {"weight": (4, 1)}, "layer1x1": {"weight": (2, 2), "bias": (2,)}}
    layer["conv"] = {"weight": (4, 2, 4), "bias": (4,)}
    out = {"rechannel": {"weight": (2, 1)}, "head_rechannel": {"weight": (1, 2)}}
    shapes = jax.tree.map(jnp.shape, jax.eval_shape(models.build(WAVENETS["gated"]).init, jax.random.key(0)))
    assert shapes == {"array_0": {**out, "layer_0": layer, "layer_1": layer}}


FORMULAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Tanh": np.tanh,
    "Hardtanh": lambda x: np.minimum(np.maximum(x, -1), 1),
    "ReLU": lambda x: np.maximum(x, 0),
    "LeakyReLU": lambda x: np.maximum(x, 0.01 * x),
    "PReLU": lambda x: np.maximum(x, 0.01 * x),
    "Sigmoid": sigmoid,
    "SiLU": lambda x: x * sigmoid(x),
    "Hardswish": lambda x: np.select([x <= -3, x >= 3], [0 * x, x], x * (x + 3) / 6),
    "LeakyHardtanh": lambda x: np.clip(x, -1, 1) + 0.01 * (x - np.clip(x, -1, 1)),
    "LeakyHardTanh": lambda x: np.clip(x, -1, 1) + 0.01 * (x - np.clip(x, -1, 1)),
    "Softsign": lambda x: x / (1 + np.abs(x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_its_formula(name: str) -> None:
    x = np.linspace(-6, 6, 241)
    if name == "Fasttanh":  # the players' approximation: odd, and close to tanh
        y = ACTIVATIONS[name](jnp.asarray(x))
        np.testing.assert_allclose(y, -y[::-1], atol=tolerances.F64)
        assert 1e-6 < np.abs(y - np.tanh(x)).max() < tolerances.FAST_TANH
    else:
        np.testing.assert_allclose(ACTIVATIONS[name](jnp.asarray(x)), FORMULAS[name](x), atol=tolerances.F64)
