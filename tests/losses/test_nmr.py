"""Noise-to-mask ratio against its formulas, the authors' numbers, and what a measure of audibility has to do."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances

from jaxalias.losses import nmr

RNG = np.random.default_rng(0)
SAMPLES = 4_600  # three frames, and a rest that does not count


def tone(level: float = 0.3) -> np.ndarray:
    n = np.arange(SAMPLES)
    return level * np.sin(2 * np.pi * 1000 * n / 44_100) + 0.1 * level * np.sin(2 * np.pi * 5012 * n / 44_100)


compiled = jax.jit(nmr.nmr, static_argnums=2)


def decibels(signal: np.ndarray, reference: np.ndarray, rate: float = 44_100) -> np.ndarray:
    return 10 * np.log10(compiled(np.atleast_2d(signal), np.atleast_2d(reference), rate))


def slow_nmr(signal: np.ndarray, reference: np.ndarray, rate: float) -> float:
    """The formulas of PAPER.md, band by band."""
    lower, centre, upper = nmr.critical_bands()
    bands, dz, khz = range(109), 0.25, np.linspace(0, rate // 2, 1025)[1:] / 1000
    ear = 10 ** ((-2.184 * khz**-0.8 + 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) - 0.001 * khz**3.6) / 20)
    distance = 1019.5 / rate * 2048 % 1
    w = 2047 * min(distance, 1 - distance) / 2048
    g = np.sin(np.pi * w) / (np.pi * w * (1 - w**2))
    window = np.hanning(2048) * 10 ** (92 / 20) / (g / 4 * 2047)

    def group(power: np.ndarray) -> list[float]:
        width = rate / 2048
        low, high = ((np.arange(1025) + side) * width for side in (-0.5, 0.5))
        shared = (np.minimum(upper[z], high) - np.maximum(lower[z], low) for z in bands)
        return [max(float(np.sum(np.maximum(hz, 0) / width * power)), 1e-12) for hz in shared]

    def spread(energy: list[float]) -> list[float]:
        down = 10 ** (-2.7 * dz)
        up = [10 ** ((-2.4 - 23 / centre[m]) * dz) * energy[m] ** (0.2 * dz) for m in bands]
        parts = [(1 - down ** (m + 1)) / (1 - down) + (1 - up[m] ** (109 - m)) / (1 - up[m]) - 1 for m in bands]
        e = [(energy[m] / parts[m]) ** 0.4 for m in bands]
        return [sum(e[m] * (up[m] ** (0.4 * (i - m)) if m <= i else down ** (0.4 * (m - i))) for m in bands) ** 2.5
                for i in bands]  # fmt: skip

    one, total, frames = spread([1.0] * 109), 0.0, range(0, signal.size - 2047, 1024)
    for start in frames:
        heard, ideal = (
            np.append(0, ear * np.abs(np.fft.rfft(window * s[start : start + 2048]))[1:]) for s in (signal, reference)
        )
        noise = group((heard - ideal) ** 2)
        mask = spread([e + 10 ** (0.1456 * (centre[z] / 1000) ** -0.8) for z, e in enumerate(group(ideal**2))])
        for z in bands:
            offset_db = 3 if z <= 48 else 0.25 * (z * 0.25)
            total += noise[z] / (mask[z] / one[z] * 10 ** (-offset_db / 10))
    return total / (109 * len(frames))


@pytest.mark.parametrize(("rate", "error"), [(44_100, 1e-6), (44_100, 1.0), (48_000, 1e-2)])
def test_equals_the_formulas_band_by_band(rate: int, error: float) -> None:
    reference = tone() + 0.01 * RNG.normal(size=SAMPLES)
    signal = reference + error * RNG.normal(size=SAMPLES)
    wanted = 10 * np.log10(slow_nmr(signal, reference, rate))
    np.testing.assert_allclose(decibels(signal, reference, rate), wanted, atol=tolerances.F64_TRANSFORM)


def test_bands_are_a_quarter_bark_apart() -> None:
    lower, centre, upper = nmr.critical_bands()
    bark = 7 * np.arcsinh(np.stack([lower, centre, upper]) / 650)
    corrected = [(0, 66), (2, 28), (2, 70), (1, 100)]  # where the authors' table is off its own formula
    for row, start in enumerate((0.0, 0.125, 0.25)):
        kept = [z for z in range(108) if (row, z) not in corrected]  # the last band ends at 18 kHz, and is narrower
        wanted = bark[0, 0] + start + 0.25 * np.arange(109)
        np.testing.assert_allclose(bark[row, kept], wanted[kept], atol=1e-9)
    assert abs(lower[0] - 80) < 1e-9
    assert abs(upper[-1] - 18_000) < 1e-9


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradient_is_finite_at_silence_and_at_a_perfect_match(dtype: str) -> None:
    signal, reference = (jnp.asarray(np.outer(on, tone()), dtype) for on in ([0, 1, 0, 1], [0, 1, 1, 0]))
    measure = jax.jit(jax.value_and_grad(lambda *pair: jnp.sum(nmr.nmr(*pair, 44_100)), argnums=(0, 1)))
    value, gradients = measure(signal, reference)
    assert 0 <= value < np.inf
    for gradient in gradients:
        assert gradient.dtype == dtype
        assert np.isfinite(gradient).all()


def test_gradient_equals_finite_differences() -> None:
    reference, error, *along = RNG.normal(size=(4, 1, SAMPLES))  # noise: no bin is so small that it is all curvature
    pair = np.stack([reference + 0.3 * error, reference])
    measure = jax.jit(lambda pair: nmr.nmr(*pair, 44_100)[0])
    gradient, step = jax.grad(measure)(jnp.asarray(pair)), 1e-6
    for direction in (np.stack([along[0], 0 * reference]), np.stack([0 * reference, along[1]])):
        difference = (measure(pair + step * direction) - measure(pair - step * direction)) / (2 * step)
        np.testing.assert_allclose(np.sum(gradient * direction), difference, rtol=tolerances.FINITE_DIFFERENCE)


def test_a_louder_error_is_worse_and_a_small_one_counts_by_its_power() -> None:
    reference, error = tone() + 0.01 * RNG.normal(size=SAMPLES), RNG.normal(size=SAMPLES)
    levels = decibels(reference + np.array([[1e-6], [1e-5], [1e-3], [0.1], [1]]) * error, np.tile(reference, (5, 1)))
    assert (np.diff(levels) > 0).all()
    np.testing.assert_allclose(levels[1] - levels[0], 20, atol=0.1)


def test_an_error_near_a_loud_tone_is_masked_and_one_far_below_it_is_not() -> None:
    near, far = (0.003 * np.sin(2 * np.pi * f * np.arange(SAMPLES) / 44_100) for f in (5_200, 300))
    loud = 0.5 * np.sin(2 * np.pi * 5_000 * np.arange(SAMPLES) / 44_100)
    assert decibels(loud + near, loud) < decibels(loud + far, loud) - 20


def test_a_signal_shorter_than_a_frame_is_refused() -> None:
    with pytest.raises(ValueError, match="2047 samples is shorter than one frame of 2048"):
        nmr.nmr(jnp.zeros((1, 2047)), jnp.zeros((1, 2047)), 44_100)


def test_band_table_is_the_authors(data_dir: Path) -> None:
    table = np.loadtxt(data_dir / "bs1387_bands.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(np.stack(nmr.critical_bands()), table[:, 1:].T, rtol=0, atol=tolerances.TABLE_HZ)


def test_tables_are_the_authors(data_dir: Path) -> None:
    stored, ours = np.load(data_dir / "vectors" / "nmr_tables_44100.npz"), nmr._tables(44_100.0)
    close = {"rtol": tolerances.TABLE_RELATIVE, "atol": 0}
    np.testing.assert_allclose(ours.window, stored["win"] * stored["GL"] * stored["Amax"], **close)
    np.testing.assert_allclose(ours.ear_weight, stored["w_ears"], **close)
    np.testing.assert_allclose(ours.grouping, stored["U"][0].T, rtol=0, atol=tolerances.TABLE_HZ / 21.5)
    np.testing.assert_allclose(ours.internal_noise, stored["Ein"][0], **close)
    np.testing.assert_allclose(1 / ours.mask_offset, stored["gm"][:, 0], **close)
    np.testing.assert_allclose(ours.spread_of_one, stored["Bs"][0, 0], **close)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_equals_the_authors_program(data_dir: Path, rate: int) -> None:
    stored = np.load(data_dir / "vectors" / f"resynthesis_nmr_{rate}.npz")
    f0, amplitude, start = (stored[name][:, None] for name in ("f0_hz", "amplitude", "phase"))
    n = np.arange(round(1.2 * rate))[-rate:][: rate // 10]
    x = amplitude * np.sin(2 * np.pi * f0 * n / rate + start)
    y = np.tanh(12 * x + 0.4) - np.tanh(0.4) + 0.05 * x
    reference, wanted = stored["bandlimited_head"][:, : rate // 10], 10 * np.log10(stored["nmr_first_tenth"])
    np.testing.assert_allclose(decibels(y, reference, rate), wanted, atol=tolerances.NMR_F64_DB)
    single = decibels(y.astype(np.float32), reference.astype(np.float32), rate)
    audible = wanted > -60
    np.testing.assert_allclose(single[audible], wanted[audible], atol=tolerances.NMR_F32_DB)
    assert (single[~audible] < -50).all()


def test_magnitudes_over_the_mask_are_the_ratio() -> None:
    """Squares of a frame add up to its NMR; its mean over frames is `nmr`."""
    reference = tone() + 0.01 * RNG.normal(size=(2, SAMPLES))
    signal = reference + np.array([[1e-3], [0.1]]) * RNG.normal(size=(2, SAMPLES))
    found = nmr.magnitudes_over_mask(jnp.asarray(signal), jnp.asarray(reference), 44_100)
    assert found.shape == (2, 3, 1025)
    wanted = nmr.nmr(jnp.asarray(signal), jnp.asarray(reference), 44_100)
    np.testing.assert_allclose(jnp.mean(jnp.sum(found**2, axis=2), axis=1), wanted, rtol=tolerances.F64_TRANSFORM)
    gradient = jax.grad(lambda r: jnp.sum(nmr.magnitudes_over_mask(jnp.asarray(signal), r, 44_100) ** 2))
    np.testing.assert_array_equal(gradient(jnp.asarray(reference)), 0)


def test_noise_apart_from_the_reference_counts_alike_over_its_mask() -> None:
    """Tones an octave and more from the reference: magnitudes of the sum differ by those of the noise."""
    n = np.arange(4096) / 44_100
    reference = jnp.asarray([0.5 * np.sin(2 * np.pi * f * n) for f in (400.0, 1000.0)])
    noise = jnp.asarray([1e-3 * np.sin(2 * np.pi * f * n) for f in (5000.0, 9000.0)])
    wanted = nmr.nmr(reference + noise, reference, 44_100)
    found = jnp.mean(jnp.sum(jnp.abs(nmr.noise_over_mask(noise, reference, 44_100)) ** 2, axis=2), axis=1)
    np.testing.assert_allclose(10 * np.log10(found), 10 * np.log10(wanted), atol=tolerances.NMR_F32_DB)
    gradient = jax.grad(lambda r: jnp.sum(jnp.abs(nmr.noise_over_mask(noise, r, 44_100)) ** 2))(reference)
    np.testing.assert_array_equal(gradient, 0)  # the student cannot raise what masks it


def test_the_tables_do_not_depend_on_the_precision_in_which_they_were_first_made() -> None:
    """They are kept for the life of a process, which may compute in 32 bits first."""
    reference = tone() + 0.01 * np.random.default_rng(5).normal(size=(1, SAMPLES))
    signal = 1.1 * reference
    nmr._tables.cache_clear()
    first = nmr.nmr(jnp.asarray(signal), jnp.asarray(reference), 44_100), nmr._tables(44_100.0)
    nmr._tables.cache_clear()
    with jax.enable_x64(False):
        single = nmr.nmr(jnp.asarray(signal), jnp.asarray(reference), 44_100)
    assert single.dtype == "float32"
    later = nmr.nmr(jnp.asarray(signal), jnp.asarray(reference), 44_100), nmr._tables(44_100.0)
    jax.tree.map(np.testing.assert_array_equal, first, later)
    np.testing.assert_allclose(10 * np.log10(single), 10 * np.log10(first[0]), atol=tolerances.NMR_F32_DB)
