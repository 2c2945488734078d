"""Noise-to-mask ratio, differentiable (eqs. 14-16; ITU-R BS.1387, FFT model).

The energy of an error relative to the masking threshold of the ear, averaged over critical bands and frames. 0 dB is
the masking threshold; the paper takes -10 dB as the threshold of audibility.

Sources: ITU-R BS.1387; P. Kabal, "An Examination and Interpretation of ITU-R BS.1387: Perceptual Evaluation
of Audio Quality" (2002). The names of Kabal's routines (PQ...) are given where a step follows one of them.
Precision: float32 is within 0.05 dB down to -60 dB. Below that, the rounding errors of its FFT dominate.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxalias.signals import dsp

AUDIBLE_DB = -10.0  # aliasing above this counts as audible (section 2.6)
FRAME = 2048
HOP = 1024
BANDS = 109
_BARK_STEP = 0.25
_POWER = 0.4  # spread patterns add after they are raised to this power
_FLOOR = 1e-12
_FULL_SCALE_DB_SPL = 92.0
_FRAMES_IN_CACHE = 128  # spectra that a CPU processes at a time; the gradient recomputes them
_TINY = 1e-30  # keeps the square root of a magnitude differentiable at zero; -300 dB of full scale

# Entries of the table in the authors' program that differ from 7 asinh(f / 650) by more than 0.003 Hz, in Hz.
_AUTHORS_BANDS = {("lower", 66): 3853.817, ("upper", 28): 933.113, ("upper", 70): 4643.482, ("centre", 100): 13294.850}


class Tables(NamedTuple):
    """Constants of one sample rate, in float64. `z` is the critical band, `f` the FFT bin."""

    window: np.ndarray  # (2048,) Hann, scaled so that a full-scale sine is 92 dB SPL
    ear_weight: np.ndarray  # (f,) amplitude response of outer and middle ear
    grouping: np.ndarray  # (f, z) the share of a bin that lies in a band
    internal_noise: np.ndarray  # (z,) energy
    mask_offset: np.ndarray  # (z,) power ratio of the spread pattern to the mask
    slope_db: np.ndarray  # (z,) upper slope without its level term, in dB per Bark
    spread_of_one: np.ndarray  # (z,) spreading of E = 1, the normalisation


def nmr(signal: Float[Array, "b t"], reference: Float[Array, "b t"], sample_rate: float) -> Float[Array, "b"]:
    """Noise-to-mask ratio of each signal relative to its reference, as a power ratio (eq. 14).

    The noise is the squared difference of the ear-weighted magnitude spectra in each band. The mask is the spread
    excitation of the reference, divided by the masking offset. Their ratio is averaged over the 109 bands and over all
    whole frames (2048 samples, half overlapping, no padding).

    Args:
        signal: peak 1 is a full-scale signal, 92 dB SPL.
        reference: the same length, at least 2048 samples.
        sample_rate: Hz; bands above Nyquist count as free of noise.

    Returns:
        The mean ratio. The noise of a band is at least 1e-12, so gradients are finite at silence and at a perfect
        match.

    Raises:
        ValueError: the signal is shorter than one frame.

    Example:
        A tone of 1 kHz, and an alias of 5 kHz at -40 dB:

        >>> n = jnp.arange(4096.0)
        >>> tone, alias = (jnp.sin(2 * np.pi * hz / 48_000 * n)[None] for hz in (1000, 5000))
        >>> bool(10 * jnp.log10(nmr(tone + 0.01 * alias, tone, 48_000)[0]) > AUDIBLE_DB)
        True
    """

    def together(pair: tuple[Array, Array]) -> Float[Array, "b"]:
        return jnp.mean(of_frames(*pair, sample_rate), axis=1)

    count = _signals_together(*signal.shape)
    groups = signal.reshape(-1, count, signal.shape[1]), reference.reshape(-1, count, reference.shape[1])
    return jax.lax.map(jax.checkpoint(together, prevent_cse=False), groups).reshape(-1)


def of_frames(signal: Float[Array, "b t"], reference: Float[Array, "b t"], sample_rate: float) -> Float[Array, "b n"]:
    """The noise-to-mask ratio of each frame (mean over bands). `nmr` is its mean over frames, with the same arguments.

    Example:
        >>> x = jnp.sin(jnp.arange(4096.0))[None]
        >>> of_frames(1.1 * x, x, 48_000).shape
        (1, 3)
    """
    tables = _tables(float(sample_rate))
    noise = _noise_pattern(_magnitudes(signal, tables), _magnitudes(reference, tables), tables)
    return jnp.mean(noise / masking_threshold(reference, sample_rate), axis=-1)


def noise_over_mask(
    noise: Float[Array, "b t"], reference: Float[Array, "b t"], sample_rate: float
) -> Complex[Array, "b n f"]:
    """Spectra of a noise relative to the mask of `reference`: the sum of squared magnitudes over bins is a frame's NMR.

    This is the NMR of a noise that is added to the reference. `nmr` differs: it measures changes of magnitudes only.
    The mask is a constant: no gradient flows into `reference`.

    Args:
        noise: t >= 2048 samples.
        reference: the same length.
        sample_rate: Hz.

    Returns:
        One complex spectrum per frame.

    Example:
        >>> x = jnp.sin(jnp.arange(4096.0))[None]
        >>> noise_over_mask(0.01 * x, x, 48_000).shape
        (1, 3, 1025)
    """
    tables = _tables(float(sample_rate))
    spectrum = jnp.fft.rfft(dsp.frames(noise, FRAME, HOP) * _as(tables.window, noise))
    return spectrum * (_as(tables.ear_weight, noise) * _share_of_mask(reference, tables, sample_rate))


def magnitudes_over_mask(
    signal: Float[Array, "b t"], reference: Float[Array, "b t"], sample_rate: float
) -> Float[Array, "b n f"]:
    """Differences of ear-weighted magnitude spectra relative to the mask of `reference` (eq. 14).

    The sum of squares over bins is the NMR of a frame. The mean over frames is `nmr`, apart from its floor. The phase
    of the signal has no effect. The mask is a constant: no gradient flows into `reference`.

    Args:
        signal: t >= 2048 samples.
        reference: the same length.
        sample_rate: Hz.

    Example:
        >>> x = jnp.sin(jnp.arange(4096.0))[None]
        >>> of_each_frame = jnp.sum(magnitudes_over_mask(1.1 * x, x, 48_000) ** 2, axis=-1)
        >>> bool(jnp.allclose(of_each_frame, of_frames(1.1 * x, x, 48_000), rtol=1e-3))
        True
    """
    tables = _tables(float(sample_rate))
    reference = jax.lax.stop_gradient(reference)
    difference = _magnitudes(signal, tables) - _magnitudes(reference, tables)
    return difference * _share_of_mask(reference, tables, sample_rate)


def masking_threshold(reference: Float[Array, "... t"], sample_rate: float) -> Float[Array, "... n z"]:
    """The energy in each frame and band below which `reference`, of at least 2048 samples, masks a noise (eq. 16).

    Example:
        >>> masking_threshold(jnp.sin(jnp.arange(4096.0)), 48_000).shape
        (3, 109)
    """
    tables = _tables(float(sample_rate))
    excitation = _into_bands(_magnitudes(reference, tables) ** 2, tables)
    pitch_pattern = jnp.maximum(excitation, _FLOOR) + _as(tables.internal_noise, reference)
    return _spread(pitch_pattern, tables) / _as(tables.spread_of_one * tables.mask_offset, reference)


def critical_bands(sample_count: int = BANDS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(lower, centre, upper) of each band in Hz: 0.25 Bark wide, from 80 Hz to 18 kHz, as in the authors' program.

    Example:
        >>> lower, centre, upper = critical_bands()
        >>> round(float(lower[0])), round(float(upper[-1])), len(centre)
        (80, 18000, 109)
    """
    first, last = 7 * np.arcsinh(80 / 650), 7 * np.arcsinh(18_000 / 650)
    lower = first + _BARK_STEP * np.arange(sample_count)
    upper = np.minimum(lower + _BARK_STEP, last)
    edges = {
        name: 650 * np.sinh(bark / 7)
        for name, bark in {"lower": lower, "centre": (lower + upper) / 2, "upper": upper}.items()
    }
    for (name, band), hz in _AUTHORS_BANDS.items():
        edges[name][band] = hz
    return edges["lower"], edges["centre"], edges["upper"]


def _share_of_mask(reference: Float[Array, "b t"], tables: Tables, sample_rate: float) -> Float[Array, "b n f"]:
    """Per bin, the square root of 1 / mask, averaged over the bands with the share of the bin in each."""
    mask = jax.lax.stop_gradient(masking_threshold(reference, sample_rate))
    return jnp.sqrt(_dot(1 / mask, tables.grouping.T) / BANDS)


def _signals_together(count: int, samples: int) -> int:
    """The number of signals to process at a time. On a CPU their spectra must fit into its cache."""
    if not dsp.on_cpu():
        return count
    fitting = [n for n in range(1, count + 1) if count % n == 0 and n * samples <= _FRAMES_IN_CACHE * HOP]
    return max(fitting, default=1)


def _magnitudes(x: Float[Array, "... t"], tables: Tables) -> Float[Array, "... n f"]:
    spectrum = jnp.fft.rfft(dsp.frames(x, FRAME, HOP) * _as(tables.window, x))
    return jnp.sqrt(spectrum.real**2 + spectrum.imag**2 + _TINY) * _as(tables.ear_weight, x)


def _noise_pattern(signal: Array, reference: Array, tables: Tables) -> Float[Array, "... n z"]:
    return jnp.maximum(_into_bands((signal - reference) ** 2, tables), _FLOOR)


def _into_bands(power: Float[Array, "... n f"], tables: Tables) -> Float[Array, "... n z"]:
    """Sum the bins of each band, for a quarter of the bands at a time and only over the bins that overlap these."""
    sums = []
    for columns in np.array_split(tables.grouping, 4, axis=1):
        used = np.flatnonzero(columns.any(axis=1))
        first, end = (used[0], used[-1] + 1) if used.size else (0, 1)
        sums.append(_dot(power[..., first:end], columns[first:end]))
    return jnp.concatenate(sums, axis=-1)


def _spread(energy: Float[Array, "... z"], tables: Tables) -> Float[Array, "... z"]:
    """Energy that spreads from each band to the others (PQ_SpreadCB), before normalisation.

    27 dB per Bark downwards; upwards 24 + 230 / f_c - 0.2 * 10 log10 E dB per Bark, so louder bands reach
    further. The contributions add after they are raised to the power 0.4.
    """
    step, bands = _BARK_STEP, energy.shape[-1]
    band = np.arange(bands)
    lower = 10 ** (-2.7 * step)
    lower_sum = (1 - lower ** (band + 1)) / (1 - lower)
    log_energy = jnp.log(energy)  # all powers are exponentials of this logarithm, because XLA's pow is slow
    log_upper = _as(-tables.slope_db * step / 10 * np.log(10), energy) + 0.2 * step * log_energy
    upper_sum = jnp.expm1(_as(bands - band, energy) * log_upper) / jnp.expm1(log_upper)
    source = jnp.exp(_POWER * (log_energy - jnp.log(_as(lower_sum, energy) + upper_sum - 1)))
    distance = np.maximum(band[:, None] - band[None, :], 0)  # [from, to], downwards
    downwards = _dot(source, np.where(distance > 0, lower ** (_POWER * distance), 0))
    total = _sum_upwards(source, jnp.exp(_POWER * log_upper)) + downwards
    return total * total * jnp.sqrt(total)  # the power 1 / 0.4


def _sum_upwards(source: Float[Array, "... z"], ratio: Float[Array, "... z"]) -> Float[Array, "... z"]:
    """sum_{m <= i} source_m ratio_m^(i - m) for every band i, by one multiplication per band instead of powers."""
    bands = source.shape[-1]
    joining, decay = (jnp.moveaxis(a, -1, 0).reshape(bands, -1) for a in (source, ratio))

    def next_band(decayed: Array, band: Array) -> tuple[Array, Array]:
        decayed = decayed * decay
        new = jax.lax.dynamic_slice_in_dim(joining, band, 1)
        decayed = jax.lax.dynamic_update_slice_in_dim(decayed, new, band, axis=0)
        return decayed, jnp.sum(decayed, axis=0)

    _, sums = jax.lax.scan(next_band, jnp.zeros_like(joining), jnp.arange(bands))
    return jnp.moveaxis(sums, 0, -1).reshape(source.shape)


@lru_cache
def _tables(sample_rate: float) -> Tables:
    lower, centre, upper = critical_bands()
    kilohertz = np.linspace(0, sample_rate // 2, FRAME // 2 + 1) / 1000
    with np.errstate(divide="ignore"):
        ear_db = -2.184 * kilohertz**-0.8 + 6.5 * np.exp(-0.6 * (kilohertz - 3.3) ** 2) - 0.001 * kilohertz**3.6
    spacing = sample_rate / FRAME
    edge_low, edge_high = ((np.arange(FRAME // 2 + 1) + side) * spacing for side in (-0.5, 0.5))
    overlap = np.minimum(upper, edge_high[:, None]) - np.maximum(lower, edge_low[:, None])
    band = np.arange(BANDS)
    tables = Tables(
        window=np.hanning(FRAME) * _level(sample_rate),
        ear_weight=10 ** (ear_db / 20),
        grouping=np.maximum(overlap, 0) / spacing,
        internal_noise=10 ** (0.1456 * (centre / 1000) ** -0.8),
        mask_offset=10 ** (np.where(band <= 48, 3.0, 0.25 * _BARK_STEP * band) / 10),
        slope_db=24 + 230 / centre,
        spread_of_one=np.ones(BANDS),
    )
    return tables._replace(spread_of_one=_spread_of_one(tables))


def _spread_of_one(tables: Tables) -> np.ndarray:
    """`_spread` of E = 1 in every band, on the host in float64, so that it does not depend on JAX's precision.

    The sums of PQ_SpreadCB in Kabal's form, from every band to every other.
    """
    band = np.arange(BANDS)
    lower, upper = 10 ** (-2.7 * _BARK_STEP), 10 ** (-tables.slope_db * _BARK_STEP / 10)
    sums = (1 - lower ** (band + 1)) / (1 - lower) + (1 - upper ** (BANDS - band)) / (1 - upper) - 1
    source = sums**-_POWER
    distance = band[None, :] - band[:, None]  # [from, to]
    spread = np.where(distance >= 0, upper[:, None] ** np.maximum(distance, 0), lower ** np.maximum(-distance, 0))
    return np.sum(source[:, None] * spread**_POWER, axis=0) ** (1 / _POWER)


def _level(sample_rate: float) -> float:
    """Scale of the windowed FFT: a full-scale 1019.5 Hz sine has a peak of 92 dB SPL (PQ_GL)."""
    bins = 1019.5 / sample_rate * FRAME
    offset = min(bins - np.floor(bins), np.ceil(bins) - bins) / FRAME * (FRAME - 1)
    peak = np.sinc(offset) / (1 - offset**2)
    return 10 ** (_FULL_SCALE_DB_SPL / 20) / (peak / 4 * (FRAME - 1))


def _dot(x: Float[Array, "... n"], matrix: np.ndarray) -> Float[Array, "... m"]:
    return jnp.dot(x, _as(matrix, x), precision=jax.lax.Precision.HIGHEST)


def _as(constant: np.ndarray, like: Any) -> Array:
    return jnp.asarray(constant, like.dtype)
