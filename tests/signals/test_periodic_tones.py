"""Tones that repeat: their frequencies are exact, and harmonics and aliases are told apart as NumPy's FFT does it."""

from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances

from jaxalias import models
from jaxalias.config import ConvNetConfig, LayerArrayConfig, WaveNetConfig
from jaxalias.signals import periodic_tones, phase, sines
from jaxalias.signals.periodic_tones import Cycle

RATE, LONGEST = 44_100, 2048
RANGE = {"midi_low": 21.0, "midi_high": 127.0, "sample_rate": RATE}


def drawn(seed: int, count: int, longest: int, **how: Any) -> tuple[sines.Tones, Cycle]:
    key = jax.random.key(seed)
    return periodic_tones.repeating(key, sines.draw(key, count, **RANGE, **how), longest)


def clipped(dtype: str) -> tuple[np.ndarray, Cycle]:
    """Hard clipped tones, which alias, and an offset."""
    tones, cycle = drawn(1, 40, LONGEST, dtype=dtype, quietest_db=-40.0)
    return jnp.clip(30 * sines.render(tones, LONGEST), -0.4, 0.5), cycle


def by_fft(y: np.ndarray, period: int, turns: int) -> np.ndarray:
    spectrum = np.fft.rfft(y[:period])
    spectrum[np.arange(len(spectrum)) % turns != 0] = 0
    return np.resize(np.fft.irfft(spectrum, period), y.shape)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float64", tolerances.F64_TRANSFORM), ("float32", tolerances.F32_RESYNTHESIS)]
)
def test_harmonic_part_is_the_bins_of_the_harmonics(dtype: str, tolerance: float) -> None:
    y, cycle = clipped(dtype)
    found = periodic_tones.harmonic_part(y, cycle)
    assert found.dtype == y.dtype
    for one, part, period, turns in zip(np.asarray(y, np.float64), found, *map(np.asarray, cycle), strict=True):
        np.testing.assert_allclose(part, by_fft(one, period, turns), atol=tolerance)


def test_harmonic_part_is_a_projection_and_leaves_alone_what_does_not_repeat() -> None:
    y, cycle = clipped("float64")
    once = periodic_tones.harmonic_part(y, cycle)
    np.testing.assert_allclose(periodic_tones.harmonic_part(once, cycle), once, atol=tolerances.F64_TRANSFORM)
    assert np.max(np.abs(y - once)) > 0.01  # there are aliases
    np.testing.assert_array_equal(periodic_tones.harmonic_part(y, periodic_tones.none((len(y),))), y)


def test_gradient_of_the_harmonic_part_is_that_of_a_linear_map() -> None:
    y, cycle = (jax.tree.map(lambda a: a[:3], part) for part in clipped("float64"))
    other = jnp.asarray(np.random.default_rng(0).standard_normal(y.shape))
    _, pull = jax.vjp(lambda y: periodic_tones.harmonic_part(y, cycle), y)
    _, pushed = jax.jvp(lambda y: periodic_tones.harmonic_part(y, cycle), (y,), (other,))
    np.testing.assert_allclose(
        jnp.vdot(pull(other)[0], y), jnp.vdot(other, periodic_tones.harmonic_part(y, cycle)), rtol=1e-9
    )
    np.testing.assert_allclose(pushed, periodic_tones.harmonic_part(other, cycle), atol=tolerances.F64_TRANSFORM)


def test_drawn_frequencies_are_whole_turns_in_prime_periods_near_those_of_the_sines() -> None:
    tones, cycle = drawn(7, 500, LONGEST, dtype="float64")
    plain = sines.draw(jax.random.key(7), 500, dtype="float64", **RANGE)
    period, turns = np.asarray(cycle.period), np.asarray(cycle.turns)
    assert np.all((period > LONGEST // 2) & (period <= LONGEST)) and np.all((turns >= 1) & (turns < period / 2))
    assert not np.any([period % n == 0 for n in range(2, 46)])
    assert len(np.unique(period)) > 50
    near = np.abs(phase.to_ratio(tones.increment) - phase.to_ratio(plain.increment)) * period
    assert np.all((near <= 0.5) | (turns == 1))
    for a, b in ((tones.amplitude, plain.amplitude), (tones.phase.high, plain.phase.high)):
        np.testing.assert_array_equal(a, b)


def test_fractions_are_exact_to_the_last_unit() -> None:
    count, period = np.int32([1, 2, 333, 16_000]), np.int32([2039, 3, 1031, 32_749])
    found = phase.fraction(jnp.asarray(count), jnp.asarray(period))
    units = [int(high) * 2**32 + int(low) for high, low in zip(found.high, found.low, strict=True)]
    assert units == [int(Fraction(int(c), int(p)) * 2**64) for c, p in zip(count, period, strict=True)]


@pytest.mark.parametrize("longest", [4, 40_000])
def test_periods_out_of_range_are_refused(longest: int) -> None:
    with pytest.raises(ValueError, match=f"between 8 and 16384 samples, got {longest}"):
        periodic_tones.longest_period(longest)


@pytest.mark.parametrize(
    "config",
    [
        WaveNetConfig(
            layer_arrays=(
                LayerArrayConfig(
                    input_size=1, head_size=2, channels=3, kernel_size=3, dilations=(1, 90), activation="Tanh"
                ),
                LayerArrayConfig(
                    input_size=3, head_size=1, channels=2, kernel_size=2, dilations=(512,), activation="ReLU"
                ),
            ),
            head_scale=0.3,
        ),
        ConvNetConfig(channels=2, dilations=(1, 300), batchnorm=True, activation="Tanh"),
    ],
    ids=["wavenet", "convnet"],
)
def test_settled_is_what_the_model_answers_after_a_while(config: WaveNetConfig | ConvNetConfig) -> None:
    """Layers that reach back over less than half the signal, more than that, and over several periods."""
    model = models.build(config)
    params = models.cast(model.init(jax.random.key(0)), "float64")
    tones, cycle = drawn(2, 3, 256, dtype="float64")
    wait = -(-model.receptive_field // cycle.period) * cycle.period  # whole periods
    x = sines.render(tones, int(wait.max()) + 256)
    y, _ = model.apply(params, x, model.initial_state(params, 3))
    settled = model.settled(params, x[:, :256], cycle.period)
    for one, waited, start in zip(settled, y, wait, strict=True):
        np.testing.assert_allclose(one, waited[start : start + 256], atol=tolerances.F64)
