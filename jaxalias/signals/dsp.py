"""Decibels, PCM steps, pitches, windows, frames, and the filters of the loss."""

import math
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.signal
from jaxtyping import Array, Float


def db_to_amplitude(level_db: Any) -> Any:
    """10^(dB / 20), of a number or an array, on the host or the device.

    Example:
        >>> db_to_amplitude(-20.0)
        0.1
    """
    return 10 ** (level_db / 20)


def power_to_db(ratio: float) -> float | None:
    """10 log10 of a power ratio. Zero, a perfect match, gives None, because JSON records cannot hold -Infinity.

    Raises:
        ValueError: the ratio is NaN, infinite or negative. Then the measurement is faulty; it is not a match.

    Example:
        >>> power_to_db(0.01), power_to_db(0.0)
        (-20.0, None)
    """
    if not 0 <= ratio < math.inf:
        raise ValueError(f"a power ratio must be finite and not negative, got {ratio}")
    return float(10 * np.log10(ratio)) if ratio > 0 else None


def quantise(samples: Float[np.ndarray, "t"], bits: int) -> tuple[np.ndarray, int]:
    """Round to PCM: (integers as soundfile expects them, number of clipped samples).

    Integers of 24 bits are in the upper part of 32. Full scale 1 is 2^(bits - 1), as in programs that read the file;
    libsndfile's own conversion scales by one step less, and truncates instead of rounding.

    Example:
        >>> steps, clipped = quantise(np.array([0.5, 1.0]), 16)
        >>> steps.tolist(), clipped
        ([16384, 32767], 1)
    """
    scale = 2 ** (bits - 1)
    steps = np.rint(samples * scale)
    held = np.clip(steps, -scale, scale - 1)
    clipped = int(np.count_nonzero(held != steps))
    return (held.astype(np.int16), clipped) if bits == 16 else (held.astype(np.int32) << (32 - bits), clipped)


def midi_to_hz(midi: Any) -> Any:
    """Equal temperament, A4 = MIDI 69 = 440 Hz (eq. 5), of a number or an array, on the host or the device.

    Example:
        >>> midi_to_hz(81)
        880.0
    """
    return 440 * 2 ** ((midi - 69) / 12)


def require_precision(dtype: Any) -> None:
    """Refuse float64 where JAX would silently compute in float32.

    Raises:
        ValueError: `dtype` is float64 and JAX's 64-bit mode is off.

    Example:
        >>> require_precision("float32")
    """
    if jax.dtypes.canonicalize_dtype(dtype) != jnp.dtype(dtype):
        raise ValueError(f"{jnp.dtype(dtype)} needs JAX's 64-bit mode: jax.config.update('jax_enable_x64', True)")


def platform() -> str:
    """The platform of a computation traced now, "cpu", "gpu" or "tpu". Respects `jax.default_device`.

    Example:
        >>> platform() in ("cpu", "gpu", "tpu")
        True
    """
    device: Any = jax.config.values["jax_default_device"]
    if device is None:
        return jax.default_backend()
    return device if isinstance(device, str) else device.platform


def on_cpu() -> bool:
    """True if a computation traced now runs on a CPU.

    Example:
        >>> on_cpu() == (platform() == "cpu")
        True
    """
    return platform() == "cpu"


@lru_cache
def chebyshev_window(samples: int, attenuation_db: float = 120.0) -> np.ndarray:
    """Dolph-Chebyshev window (samples,), periodic, peak 1, float64. Side lobes `attenuation_db` below the main lobe.

    Example:
        >>> chebyshev_window(1024).shape
        (1024,)
    """
    return scipy.signal.windows.chebwin(samples, at=attenuation_db, sym=False)


@lru_cache
def lowpass_taps(
    sample_rate: float, pass_hz: float = 12_000.0, stop_hz: float = 16_000.0, attenuation_db: float = 80.0
) -> np.ndarray:
    """Linear-phase low-pass by the Kaiser window method, float64, an odd number of taps.

    The order is Kaiser's estimate (A - 7.95) / (14.36 df), df = (stop - pass) / Fs, rounded up to an even number. The
    cut-off is half way between the edges. Source: section 2.3 of the paper; at 44.1 kHz these are the authors' taps.

    Args:
        sample_rate: Hz.
        pass_hz, stop_hz: edges of the pass-band and the stop-band, Hz.
        attenuation_db: A, of the stop-band.

    Raises:
        ValueError: the edges are not in ascending order, or not below Nyquist.

    Example:
        >>> taps = lowpass_taps(44_100)
        >>> len(taps) % 2, round(float(taps.sum()), 6)
        (1, 1.0)
    """
    if not 0 < pass_hz < stop_hz < sample_rate / 2:
        raise ValueError(
            f"low-pass edges {pass_hz:g} and {stop_hz:g} Hz must be in ascending order and below "
            f"{sample_rate / 2:g} Hz, half the sample rate; choose lower edges for this model"
        )
    order = math.ceil((attenuation_db - 7.95) / 14.36 / ((stop_hz - pass_hz) / sample_rate))
    order += order % 2
    beta = scipy.signal.kaiser_beta(attenuation_db)
    return scipy.signal.firwin(order + 1, (pass_hz + stop_hz) / 2, window=("kaiser", beta), fs=sample_rate)


@lru_cache
def a_weighting_taps(sample_rate: float, taps: int = 101) -> np.ndarray:
    """Linear-phase FIR filter of the A-weighting curve (IEC 61672-1), gain 1 at 1 kHz, float64, an odd number of taps.

    With 101 taps the filter follows the curve to 1 dB from 500 Hz up. Below 500 Hz its gain is higher than the curve,
    so the lowest notes weigh more than in A-weighting. Source: Wright and Valimaki, "Perceptual loss function for
    neural modelling of audio systems" (ICASSP 2020), who filter both signals before the ESR.

    Args:
        sample_rate: Hz.
        taps: length of the filter, odd.

    Example:
        >>> a_weighting_taps(48_000).shape
        (101,)
    """
    f = np.linspace(0, sample_rate / 2, 4097)
    weight = f**4 / ((f**2 + 20.6**2) * np.sqrt((f**2 + 107.7**2) * (f**2 + 737.9**2)) * (f**2 + 12194.0**2))
    gains = weight * 12194.0**2
    filtered = scipy.signal.firwin2(taps, f, gains, fs=sample_rate)
    at_1_khz = np.abs(np.exp(-2j * np.pi * 1000 / sample_rate * np.arange(taps)) @ filtered)
    return filtered / at_1_khz


def filter_same(x: Float[Array, "b t"], taps: np.ndarray) -> Float[Array, "b t"]:
    """Convolve with an odd number of taps. The signal is zero outside; the output is centred on the input ("same").

    Args:
        x: signals.
        taps: (m,), m odd.

    Example:
        >>> filter_same(jnp.array([[0.0, 1.0, 0.0]]), np.array([1.0, 2.0, 3.0])).tolist()
        [[1.0, 2.0, 3.0]]
    """
    kernel = jnp.asarray(taps[::-1].copy(), x.dtype)[None, None, :]
    half = len(taps) // 2
    return jax.lax.conv_general_dilated(
        x[:, None, :], kernel, (1,), [(half, half)], precision=jax.lax.Precision.HIGHEST
    )[:, 0, :]


def frames(x: Float[Array, "... t"], length: int, hop: int) -> Float[Array, "... n length"]:
    """Overlapping frames without padding. Samples after the last whole frame are dropped.

    Args:
        x: signals.
        length: of a frame, samples.
        hop: from one frame to the next, samples.

    Raises:
        ValueError: the signal is shorter than one frame.

    Example:
        >>> frames(jnp.arange(4.0), 3, 1).tolist()
        [[0.0, 1.0, 2.0], [1.0, 2.0, 3.0]]
    """
    samples = x.shape[-1]
    if samples < length:
        raise ValueError(f"a signal of {samples} samples is shorter than one frame of {length}")
    count = 1 + (samples - length) // hop
    if length % hop == 0:  # concatenate whole hops: a reshape, faster than the gather below
        hops = x[..., : (count - 1) * hop + length].reshape(*x.shape[:-1], -1, hop)
        return jnp.concatenate([hops[..., i : i + count, :] for i in range(length // hop)], axis=-1)
    index = np.arange(count)[:, None] * hop + np.arange(length)
    return x[..., index]
