"""The rival against models that are built for the higher rate, and its filters against what they promise."""

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import scipy.special
from tolerances import F64, F64_TRANSFORM

from jaxalias import evaluation, models
from jaxalias.config import LayerArrayConfig, LSTMConfig, WaveNetConfig
from jaxalias.models import Model, Params
from jaxalias.signals.dsp import chebyshev_window
from jaxalias.targets import oversampling

LENGTH, SECOND = 2000, 44_100
FILTERED = 1e-5
"""Whole-signal FFT against filters with a ripple and a stop-band of -110 dB (3e-6), for a signal in their pass-band."""

LSTM = LSTMConfig(hidden_size=3, stored_initial_state=True)


def wavenet(dilation: int) -> WaveNetConfig:
    dilations = tuple(dilation * d for d in (1, 2, 5))
    array = LayerArrayConfig(
        input_size=1, head_size=1, channels=3, kernel_size=3, dilations=dilations, activation="Tanh", head_bias=True
    )
    return WaveNetConfig(layer_arrays=(array,), head_scale=0.5)


@cache
def at_rest(config: LSTMConfig | WaveNetConfig) -> tuple[Model, Params]:
    """A random model that starts from the state that silence leaves it in: no output has a step at its start."""
    model = models.build(config)
    params = jax.tree.map(lambda array: 2 * array, models.cast(jax.jit(model.init)(jax.random.key(1)), jnp.float64))
    if isinstance(config, LSTMConfig):
        _, ((hidden, cell),) = jax.jit(model.apply)(params, jnp.zeros((1, 4000)), model.initial_state(params, 1))
        params |= {"initial_hidden_l0": hidden[0], "initial_cell_l0": cell[0]}
    return model, params


def player(model: Model, params: Params) -> oversampling.Play:
    return jax.jit(lambda x: model.apply(params, x, model.initial_state(params, len(x)))[0])


def memoryless(x: jax.Array) -> jax.Array:
    return jnp.tanh(4 * x + 0.3)


def bursts() -> np.ndarray:
    """Two signals (2, LENGTH) that begin and end in silence, so that no reference rings at its ends.

    No low multiple of their frequencies (rad a sample) is near an odd multiple of pi: what lies exactly on
    Nyquist is dropped here and kept by scipy.
    """
    time = np.arange(LENGTH) - LENGTH / 2
    return np.exp(-((time / 160) ** 2)) * np.stack([np.sin(0.57 * time), 0.7 * np.sin(0.9 * time + 1)])


def lstm_with_delay(params: Params, delay: int) -> Callable[[np.ndarray], np.ndarray]:
    """An LSTM whose state comes from `delay` samples ago (section 4.4), sample by sample in NumPy."""
    p, sigmoid = {name: np.asarray(array) for name, array in params.items()}, scipy.special.expit

    def play(x: np.ndarray) -> np.ndarray:
        states = [(np.tile(p["initial_hidden_l0"], (len(x), 1)), np.tile(p["initial_cell_l0"], (len(x), 1)))] * delay
        y = np.zeros_like(x)
        for n in range(x.shape[1]):
            hidden, cell = states[n]
            rows = x[:, n, None] @ p["weight_ih_l0"].T + hidden @ p["weight_hh_l0"].T
            i, f, g, o = np.split(rows + p["bias_ih_l0"] + p["bias_hh_l0"], 4, axis=1)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            hidden = sigmoid(o) * np.tanh(cell)
            states.append((hidden, cell))
            y[:, n] = hidden @ p["head_weight"][0] + p["head_bias"] + x[:, n]
        return y

    return play


def built_for(kind: str, factor: int) -> tuple[oversampling.Play, Callable]:
    """A native model, and the same weights built for `factor` times the rate."""
    if kind == "memoryless":
        return memoryless, memoryless
    if kind == "lstm":
        model, params = at_rest(LSTM)
        return player(model, params), lstm_with_delay(params, factor)
    model, params = at_rest(wavenet(dilation=1))
    return player(model, params), player(models.build(wavenet(dilation=factor)), params)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("kind", ["memoryless", "lstm", "wavenet"])
def test_is_the_model_built_for_the_higher_rate(kind, factor):
    play, high_play = built_for(kind, factor)
    y = oversampling.oversample(play, factor)(jnp.asarray(bursts()))
    high = np.asarray(high_play(scipy.signal.resample(bursts(), factor * LENGTH, axis=1)))
    expected = scipy.signal.resample(high, LENGTH, axis=1)
    assert np.ptp(expected) > 0.5
    np.testing.assert_allclose(y, expected, rtol=0, atol=F64_TRANSFORM)


def test_factor_one_changes_nothing_and_less_is_refused():
    model, _ = at_rest(wavenet(dilation=1))
    assert oversampling.oversample(memoryless, 1) is memoryless
    assert oversampling.streaming(model, 1) is model
    assert oversampling.latency(1) == 0
    for form, what in ((oversampling.oversample, memoryless), (oversampling.streaming, model)):
        with pytest.raises(ValueError, match="at least 1, got 0"):
            form(what, 0)


@pytest.mark.parametrize(("config", "factor"), [(LSTM, 3), (wavenet(dilation=1), 2)], ids=["lstm", "wavenet"])
def test_streams_blocks_of_any_size(config, factor):
    model, params = at_rest(config)
    streamed = oversampling.streaming(model, factor)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 400)))
    apply = jax.jit(streamed.apply)
    in_one_piece, _ = apply(params, x, streamed.initial_state(params, 2))
    state, parts = streamed.initial_state(params, 2), []
    for block in jnp.split(x, [1, 2, 201, 202, 203], axis=1):
        y, state = apply(params, block, state)
        parts.append(y)
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), in_one_piece, rtol=0, atol=F64)


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_streamed_and_whole_signal_agree_in_the_pass_band(factor):
    """Also that the latency is what it says: a sample off would be an error of the size of the signal."""
    model, params = at_rest(wavenet(dilation=1))
    streamed, late = oversampling.streaming(model, factor), oversampling.latency(factor)
    x = jnp.asarray(bursts()[:1])
    y = player(streamed, params)(jnp.pad(x, ((0, 0), (0, late))))
    expected = oversampling.oversample(player(model, params), factor)(x)
    error, reference = np.abs(np.fft.rfft([y[0, late:] - expected[0], expected[0]]))
    passed = np.fft.rfftfreq(LENGTH) <= oversampling.PASS
    assert np.max(error[passed]) < FILTERED * np.max(reference[1:])


@pytest.mark.parametrize("factor", [2, 3, 8])
def test_streaming_filters_pass_20_khz_and_stop_nyquist(factor):
    cycles, response = scipy.signal.freqz(oversampling.lowpass(factor), worN=1 << 16)
    native = cycles / (2 * np.pi) * factor
    assert np.max(np.abs(response[native >= 0.5])) < 10 ** (-105 / 20)
    assert np.max(np.abs(np.abs(response[native <= 20 / 44.1]) - 1)) < 10 ** (-105 / 20)


def test_knobs_reach_every_branch_of_their_signal():
    """Two signals with their own knobs, streamed at three times the rate, and each alone by the whole-signal form."""
    model = models.build(LSTMConfig(hidden_size=3, input_size=2))
    params = jax.tree.map(lambda array: 2 * array, models.cast(jax.jit(model.init)(jax.random.key(1)), jnp.float64))
    knobs = jnp.asarray([[0.1], [0.9]])
    x, settling = jnp.asarray(bursts()), jnp.zeros((2, 1500))
    heard = jnp.concatenate([settling, x], axis=1)  # from rest, so that nothing has a step at its start
    streamed, late = oversampling.streaming(model, 3), oversampling.latency(3)
    assert streamed.knobs == 1
    state = streamed.initial_state(params, 2, knobs)
    y, _ = jax.jit(streamed.apply)(params, jnp.pad(heard, ((0, 0), (0, late))), state)
    for row in range(2):
        play = evaluation.player(model, params, "float64", knobs=(float(knobs[row, 0]),))
        expected = oversampling.oversample(play, 3)(heard[row : row + 1])
        error, reference = np.abs(np.fft.rfft([y[row, late + 1500 :] - expected[0, 1500:], expected[0, 1500:]]))
        passed = np.fft.rfftfreq(LENGTH) <= oversampling.PASS
        assert np.max(error[passed]) < FILTERED * np.max(reference[1:])


def test_receptive_field_of_the_streamed_model():
    """Every input sample in it counts, the one before it does not."""
    model, params = at_rest(wavenet(dilation=1))
    streamed = oversampling.streaming(model, 2)
    field = streamed.receptive_field
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, field + 1)))
    last = jax.jit(jax.grad(lambda x: player(streamed, params)(x)[0, -1]))(x)[0]
    assert last[0] == 0
    assert last[1] != 0


def test_aliases_between_multiples_of_the_factor_cancel():
    """The ninth harmonic of 5003 Hz folds once at 44.1 kHz, to 927 Hz; at twice the rate it does not fold.

    The seventeenth folds twice, to 3149 Hz: at twice the rate it is still there, at three times it is gone.
    """
    time = np.arange(-4410, SECOND + 4410) / SECOND
    x = jnp.asarray(0.5 * np.sin(2 * np.pi * 5003 * time))[None]
    window = chebyshev_window(SECOND)
    level_db = {}
    for factor in (1, 2, 3):
        y = oversampling.oversample(lambda x: jnp.tanh(20 * x), factor)(x)[0, 4410:-4410]
        spectrum = np.abs(np.fft.rfft(window * np.asarray(y))) / window.sum()
        level_db[factor] = 20 * np.log10(spectrum[[927, 3149]] / spectrum[5003])
    assert np.all(level_db[1] > -80)
    assert level_db[2][0] < -120
    np.testing.assert_allclose(level_db[2][1], level_db[1][1], atol=0.1)
    assert np.all(level_db[3] < -120)


def test_the_end_of_a_signal_does_not_ring_into_its_beginning():
    """A tone that is cut off: what scipy's periodic resampling makes of its first samples, and what this makes."""
    x = 0.5 * np.sin(2 * np.pi * 1000.3 * np.arange(SECOND // 10) / SECOND)[None]
    exact = 0.5 * np.sin(2 * np.pi * 1000.3 * np.arange(SECOND // 5) / SECOND / 2)
    branches = np.asarray(oversampling._upsample(jnp.asarray(x), 2))
    error = np.abs(branches.T.ravel() - exact)
    periodic = np.abs(scipy.signal.resample(x[0], 2 * x.shape[1]) - exact)
    assert periodic[:50].max() > 1e-2
    assert error[:50].max() < 1e-6
    assert error[-50:].max() < 1e-2


def test_several_rates_at_once_are_each_by_itself() -> None:
    play = player(*at_rest(LSTM))
    x = jnp.asarray(bursts())
    for factor, y in zip((1, 2, 4, 1), oversampling.at_rates(play, (1, 2, 4, 1))(x), strict=True):
        np.testing.assert_allclose(y, oversampling.oversample(play, factor)(x), atol=F64_TRANSFORM)
    with pytest.raises(ValueError, match="must divide the highest, 4, got 3"):
        oversampling.at_rates(play, (1, 3, 4))
