"""The target: harmonics below Nyquist and an offset, whatever else was in the signal."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances
from scipy.signal.windows import chebwin

from jaxalias.losses import nmr
from jaxalias.signals import phase, sines
from jaxalias.targets import harmonics

RATE, SAMPLES = 44_100, 8_820  # a fifth of a second: bins of 5 Hz, a main lobe of some 20 Hz to each side


def increments(*f0_hz: float) -> phase.Turns:
    return phase.exact(np.array(f0_hz) / RATE)


def bandlimit(y: np.ndarray, *f0_hz: float) -> np.ndarray:
    return np.asarray(harmonics.bandlimit(jnp.asarray(np.atleast_2d(y)), increments(*f0_hz), 250))


def harmonic_sum(f0_hz: float, seed: int = 0) -> np.ndarray:
    """An offset and every harmonic below Nyquist, with amplitudes that fall as 1/m and random phases."""
    m = np.arange(1, np.ceil(RATE / 2 / f0_hz))[:, None]
    start = np.random.default_rng(seed).uniform(0, 2 * np.pi, m.shape)
    return 0.2 + np.sum(np.cos(2 * np.pi * m * f0_hz * np.arange(SAMPLES) / RATE + start) / m, axis=0)


def slow_analysis(y: np.ndarray, f0_hz: float) -> tuple[np.ndarray, float]:
    """Equations 6 to 11 as they are printed."""
    n, window = np.arange(y.size), chebwin(y.size, at=120, sym=False)
    spectrum = np.fft.rfft(window * y)
    position = f0_hz * np.arange(1, int(RATE / (2 * f0_hz)) + 1) * y.size / RATE
    nearest = np.round(position).astype(int)
    responses = [np.sum(window * np.exp(2j * np.pi * n * d / y.size)) for d in position - nearest]
    return spectrum[nearest] / responses, spectrum[0].real / window.sum()


def slow_sum(coefficients: np.ndarray, offset: float, f0_hz: float, samples: int) -> np.ndarray:
    """Equation 12 as it is printed."""
    y = np.full(samples, offset)
    for m, c in enumerate(coefficients, start=1):
        y += 2 * np.abs(c) * np.cos(2 * np.pi * m * f0_hz * np.arange(samples) / RATE + np.angle(c))
    return y


@pytest.mark.parametrize("f0_hz", [103.3, 440.0, 1002.5, 2394.3, 9000.7, 21_999.9])
def test_equals_the_printed_equations_on_noise(f0_hz: float) -> None:  # 1002.5: every other harmonic ties two bins
    y = np.random.default_rng(1).normal(size=SAMPLES)
    coefficients, offset = slow_analysis(y, f0_hz)
    found = harmonics.analyse(jnp.asarray(y[None]), increments(f0_hz), 250)
    np.testing.assert_allclose(found.coefficients[0, : coefficients.size], coefficients, atol=tolerances.F64_TRANSFORM)
    assert not found.coefficients[0, coefficients.size :].any()
    np.testing.assert_allclose(found.offset[0], offset, atol=tolerances.F64_TRANSFORM)
    rebuilt = slow_sum(coefficients, offset, f0_hz, SAMPLES)
    np.testing.assert_allclose(bandlimit(y, f0_hz)[0], rebuilt, atol=tolerances.F64_TRANSFORM)


@pytest.mark.parametrize("f0_hz", [103.3, 997.0, 5000.1])
def test_keeps_harmonics_and_removes_all_else(f0_hz: float) -> None:
    clean = harmonic_sum(f0_hz)
    between = 2.5 * f0_hz * np.arange(SAMPLES) / RATE
    np.testing.assert_allclose(bandlimit(clean, f0_hz)[0], clean, atol=tolerances.SIDE_LOBES)
    dirty = clean + 0.3 * np.sin(2 * np.pi * between)
    np.testing.assert_allclose(bandlimit(dirty, f0_hz)[0], clean, atol=tolerances.SIDE_LOBES)


def test_twice_is_once() -> None:
    once = bandlimit(np.random.default_rng(2).uniform(-1, 1, SAMPLES), 311.7)
    np.testing.assert_allclose(bandlimit(once, 311.7), once, atol=tolerances.SIDE_LOBES)


@pytest.mark.parametrize("period", [2, 3, 4, 5, 8, 9])
def test_of_a_period_of_whole_samples_only_the_part_at_nyquist_is_lost(period: int) -> None:
    y = np.tile(np.random.default_rng(period).uniform(-1, 1, period), SAMPLES // period + 1)[:8_640]
    alternating = (-1.0) ** np.arange(y.size)
    at_nyquist = alternating * np.mean(y * alternating)  # 8640 samples are whole periods of all these
    np.testing.assert_allclose(bandlimit(y, RATE / period)[0], y - at_nyquist, atol=tolerances.SIDE_LOBES)
    assert (np.abs(at_nyquist).max() > 0.01) == (period % 2 == 0)


def test_harmonics_counted_lie_strictly_below_nyquist() -> None:
    kept = harmonics.below_nyquist(increments(RATE / 8, RATE / 8 + 1e-9, RATE / 2, RATE / 2 - 1e-6, 0.75 * RATE), 6)
    assert kept.sum(axis=1).tolist() == [3, 3, 0, 1, 0]
    assert harmonics.highest_number(27.5, RATE) == 801
    assert harmonics.highest_number(30_000.0, RATE) == 1


def test_just_below_half_the_rate_one_harmonic_above_it_the_offset() -> None:
    below, above = RATE / 2 - 150, RATE / 2 + 150
    y = 0.3 + 0.5 * np.sin(2 * np.pi * below * np.arange(SAMPLES) / RATE + 1.0)
    np.testing.assert_allclose(bandlimit(y, below)[0], y, atol=tolerances.SIDE_LOBES)
    np.testing.assert_allclose(bandlimit(y, above)[0], 0.3, atol=tolerances.SIDE_LOBES)


def test_one_compilation_serves_every_f0_and_a_batch_is_its_tones() -> None:
    traces = []

    @jax.jit
    def bandlimit(y: jax.Array, increment: phase.Turns) -> jax.Array:
        traces.append(1)
        return harmonics.bandlimit(y, increment, 250)

    f0 = np.array([103.3, 440.0, 2394.3, RATE / 5, 21_999.9])
    y = jnp.asarray(np.random.default_rng(3).normal(size=(f0.size, SAMPLES)))
    alone = [bandlimit(y[i : i + 1], increments(f0[i])) for i in range(f0.size)]
    assert len(traces) == 1
    np.testing.assert_allclose(bandlimit(y, increments(*f0)), np.concatenate(alone), atol=tolerances.F64)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_equals_the_authors_program(data_dir: Path, rate: int) -> None:
    stored = np.load(data_dir / "vectors" / f"resynthesis_nmr_{rate}.npz")
    f0, amplitude, start = (stored[name] for name in ("f0_hz", "amplitude", "phase"))
    n = np.arange(round(1.2 * rate))
    x = amplitude[:, None] * np.sin(2 * np.pi * f0[:, None] * n / rate + start[:, None])
    y = (np.tanh(12 * x + 0.4) - np.tanh(0.4) + 0.05 * x)[:, -rate:]
    np.testing.assert_allclose(y[:, :512], stored["y_head"], atol=tolerances.VECTORS_F64)
    for dtype, tolerance in (("float64", tolerances.VECTORS_F64), ("float32", tolerances.F32_RESYNTHESIS)):
        tones = sines.tones(f0, amplitude, start, sample_rate=rate, dtype=dtype)
        found = harmonics.analyse(jnp.asarray(y, dtype), tones.increment, harmonics.highest_number(27.5, rate))
        for tone in range(f0.size):
            coefficients = stored[f"harmonics_{tone}"]
            np.testing.assert_allclose(found.coefficients[tone, : coefficients.size], coefficients, atol=tolerance)
        rebuilt = harmonics.resynthesise(found, tones.increment, rate)
        assert rebuilt.dtype == dtype
        np.testing.assert_allclose(rebuilt[:, : rate // 4], stored["bandlimited_head"], rtol=0, atol=tolerance)
        if dtype == "float64":  # the two stages together
            decibels = 10 * np.log10(nmr.nmr(jnp.asarray(y), rebuilt, rate) / stored["nmr_y_vs_bandlimited"])
            np.testing.assert_allclose(decibels, 0, atol=tolerances.NMR_F64_DB)
