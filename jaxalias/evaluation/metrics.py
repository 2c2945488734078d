"""Distances of an output from its alias-free part (-S), the alias-free teacher (-T) and recordings (section 2.6).

Power ratios of each tone, in the precision of their input, which should be float64. No pre-emphasis.
"""

from functools import lru_cache

import jax.numpy as jnp
import numpy as np
import scipy.signal
from jaxtyping import Array, Float

from jaxalias.losses import nmr
from jaxalias.targets.harmonics import Harmonics

_RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  # FFT, hop, window: auraloss's defaults
_MEL_BANDS, _MEL_FLOOR = 128, 1e-5  # -100 dB of full scale


def esr(estimate: Float[Array, "b t"], reference: Float[Array, "b t"]) -> Float[Array, "b"]:
    """Error-to-signal ratio of each signal: sum (s - s^)^2 / sum s^2 (eq. 13).

    Example:
        >>> esr(jnp.array([[0.9, 0.9]]), jnp.array([[1.0, 1.0]])).round(6).tolist()
        [0.01]
    """
    return jnp.sum((reference - estimate) ** 2, axis=1) / jnp.sum(reference**2, axis=1)


def hesr(estimate: Harmonics, reference: Harmonics) -> Float[Array, "b"]:
    """Harmonic error-to-signal ratio: the ESR of the magnitudes |C_m|. Offset and phase have no effect.

    The paper compares "magnitudes of the bandlimited spectra". A bandlimited spectrum consists of these harmonics.

    Example:
        >>> one = Harmonics(jnp.ones((1, 3), complex), jnp.zeros(1))
        >>> hesr(one._replace(coefficients=0.9j * one.coefficients), one).round(6).tolist()
        [0.01]
    """
    magnitude, ideal = jnp.abs(estimate.coefficients), jnp.abs(reference.coefficients)
    return jnp.sum((ideal - magnitude) ** 2, axis=1) / jnp.sum(ideal**2, axis=1)


def against_self(
    y: Float[Array, "b t"], bandlimited: Float[Array, "b t"], sample_rate: float
) -> dict[str, Float[Array, "b"]]:
    """ESR-S and NMR-S: aliasing, everything in the output except its own harmonics.

    Args:
        y: settled outputs.
        bandlimited: the same outputs with their harmonics alone (`harmonics.bandlimit`).
        sample_rate: Hz.

    Example:
        >>> y = jnp.sin(jnp.arange(4096.0))[None]
        >>> sorted(against_self(1.01 * y, y, 48_000))
        ['ESR-S', 'NMR-S']
    """
    return {"ESR-S": esr(y, bandlimited), "NMR-S": nmr.nmr(y, bandlimited, sample_rate)}


def against_other(
    y: Float[Array, "b t"],
    own: Harmonics,
    other: Harmonics,
    other_bandlimited: Float[Array, "b t"],
    suffix: str,
    sample_rate: float,
) -> dict[str, Float[Array, "b"]]:
    """ESR, NMR and HESR relative to the teacher (suffix "T") or the device ("R"): aliasing and changed tone together.

    Args:
        y: settled outputs.
        own: their harmonics.
        other: the harmonics of the reference.
        other_bandlimited: the reference with these harmonics alone.
        suffix: of the names.
        sample_rate: Hz.

    Example:
        >>> y, one = jnp.sin(jnp.arange(4096.0))[None], Harmonics(jnp.ones((1, 3), complex), jnp.zeros(1))
        >>> sorted(against_other(1.01 * y, one, one, y, "T", 48_000))
        ['ESR-T', 'HESR-T', 'NMR-T']
    """
    return {
        f"ESR-{suffix}": esr(y, other_bandlimited),
        f"NMR-{suffix}": nmr.nmr(y, other_bandlimited, sample_rate),
        f"HESR-{suffix}": hesr(own, other),
    }


def mrsl(estimate: np.ndarray, reference: np.ndarray, sample_rate: float) -> float:
    """Multi-resolution spectral distance of log-mel spectrograms, as an amplitude ratio; 20 log10 of it is in dB.

    Spectral convergence |L(s) - L(s^)| / |L(s)| (Frobenius norm) of L = ln max(mel magnitude, 1e-5), mean over
    the resolutions of auraloss (FFT/hop/window 1024/120/600, 2048/240/1200, 512/50/240, Hann), 128 mel bands
    as in librosa. The paper gives no settings. These are the project's own, and are stated with every published figure.

    Args:
        estimate, reference: (t,), the same length, at least 1024 samples.
        sample_rate: Hz.

    Example:
        >>> x = np.random.default_rng(0).standard_normal(4800)
        >>> mrsl(x, x, 48_000), mrsl(0.5 * x, x, 48_000) > 0.1
        (0.0, True)
    """
    return float(np.mean([_convergence(estimate, reference, sample_rate, *r) for r in _RESOLUTIONS]))


def prime_length(sample_rate: float) -> int:
    """The largest prime up to the sample rate (Hz): a length of about one second, in samples.

    Example:
        >>> prime_length(48_000)
        47981
    """
    length = int(sample_rate)
    while any(length % divisor == 0 for divisor in range(2, int(length**0.5) + 1)):
        length -= 1
    return length


def alias_to_signal(y: np.ndarray, spacing: int, sample_rate: float, highest_hz: float | None = None) -> float:
    """Energy between the multiples of a bin divided by the energy on them, for one period of a settled output.

    The input is periodic in N = len(y) samples, N prime. Its frequencies are multiples of bin `spacing`: one sine on
    that bin, or two sines on p and q times it. All products k1 f1 + k2 f2 below Nyquist then are multiples of this bin.
    As N is prime, all aliases are between the multiples. No window; DC is left out.
    Source: Sato and Smith, arXiv 2505.04082.

    Args:
        y: (N,), float64.
        spacing: the number of the bin.
        sample_rate: Hz.
        highest_hz: count bins up to this frequency only (16 or 20 kHz, for example); None: all.

    Example:
        >>> n = np.arange(101)
        >>> y = np.sin(2 * np.pi * 10 * n / 101) + 0.1 * np.sin(2 * np.pi * 3 * n / 101)
        >>> round(alias_to_signal(y, 10, 48_000), 6)
        0.01
    """
    energy = np.abs(np.fft.rfft(np.asarray(y, np.float64))) ** 2
    bins = np.arange(energy.size)
    counted = (bins > 0) & (bins * sample_rate / len(y) <= (highest_hz or sample_rate))
    wanted = bins % spacing == 0
    return float(energy[counted & ~wanted].sum() / energy[counted & wanted].sum())


def _convergence(
    estimate: np.ndarray, reference: np.ndarray, sample_rate: float, size: int, hop: int, width: int
) -> float:
    log_estimate, log_reference = (_log_mel(x, sample_rate, size, hop, width) for x in (estimate, reference))
    return float(np.linalg.norm(log_reference - log_estimate) / np.linalg.norm(log_reference))


def _log_mel(x: np.ndarray, sample_rate: float, size: int, hop: int, width: int) -> np.ndarray:
    """(frames, mel): centred frames, the signal reflected at its ends, a centred Hann window of `width` samples."""
    window = np.pad(scipy.signal.windows.hann(width, sym=False), (size - width) // 2)
    padded = np.pad(np.asarray(x, np.float64), size // 2, mode="reflect")
    segments = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    return np.log(np.maximum(np.abs(np.fft.rfft(segments * window)) @ _mel_bands(sample_rate, size), _MEL_FLOOR))


@lru_cache
def _mel_bands(sample_rate: float, size: int) -> np.ndarray:
    """(f, mel): triangles of equal area on Slaney's mel scale, the default of `librosa.filters.mel`.

    Linear below 1 kHz, 3 mel per 200 Hz; above, 27 mel per factor of 6.4. At 512 points some bands are empty.
    """
    corner_hz, hz_per_mel, log_per_mel = 1000.0, 200 / 3, np.log(6.4) / 27
    corner = corner_hz / hz_per_mel
    highest = corner + np.log(sample_rate / 2 / corner_hz) / log_per_mel
    mel = np.linspace(0, highest, _MEL_BANDS + 2)
    edges = np.where(mel < corner, mel * hz_per_mel, corner_hz * np.exp((mel - corner) * log_per_mel))
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    bins = np.fft.rfftfreq(size, 1 / sample_rate)[:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.maximum(np.minimum(rising, falling), 0) * 2 / (high - low)
