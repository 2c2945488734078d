"""Random sines and their samples (eqs. 3-5)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Key, UInt32

from jaxalias.signals import phase
from jaxalias.signals.dsp import db_to_amplitude, midi_to_hz


class Tones(NamedTuple):
    """A batch of sines: x[n] = amplitude sin(2 pi (n increment + phase)), increment and phase in turns."""

    increment: phase.Turns
    amplitude: Float[jax.Array, "b"]
    phase: phase.Turns


def tones(f0_hz: ArrayLike, amplitude: ArrayLike, phase_rad: ArrayLike, *, sample_rate: float, dtype: Any) -> Tones:
    """Sines of given frequency, peak amplitude and phase, each of shape (b,) or broadcast to it (eqs. 3-4).

    The frequency is exact to 2**-64 turns per sample, whatever `dtype` is.

    Args:
        f0_hz: frequency in Hz.
        amplitude: peak amplitude, full scale 1.
        phase_rad: phase of sample 0, radians.
        sample_rate: Hz.
        dtype: of the amplitude, and so of the samples that `render` returns.

    Example:
        >>> sine = tones(np.array([0.25, 0.125]), 1.0, 0.0, sample_rate=1, dtype="float32")
        >>> render(sine, 4).round(2).tolist()[0]
        [0.0, 1.0, 0.0, -1.0]
    """
    f0, level, angle = np.broadcast_arrays(*(np.asarray(a, np.float64) for a in (f0_hz, amplitude, phase_rad)))
    return Tones(
        phase.exact(f0 / sample_rate),
        jnp.asarray(level, dtype),
        phase.exact(angle / (2 * np.pi)),
    )


def draw(
    key: Key[jax.Array, ""],
    batch: int,
    *,
    midi_low: float,
    midi_high: float,
    sample_rate: float,
    dtype: Any,
    quietest_db: float | None = None,
) -> Tones:
    """Draw A ~ U(0, 1), phase ~ U(0, 2 pi) and f0 = 440 2^((l - 69) / 12) with l ~ U(midi_low, midi_high) (eqs. 3-5).

    The frequency of a drawn tone is exactly its increment times the sample rate. Rounding l to float32 moves the
    drawn frequency by a millionth, but every later stage uses this same increment.

    Args:
        key: consumed; do not use it again.
        batch: number of tones, b.
        midi_low, midi_high: range of the pitch, MIDI note numbers.
        sample_rate: Hz.
        dtype: of pitch and amplitude.
        quietest_db: if given (not in the paper), the level is uniform in dB: 20 log10 A ~ U(quietest_db, 0).

    Returns:
        Tones of shape (b,).

    Example:
        >>> drawn = draw(jax.random.key(0), 3, midi_low=21, midi_high=108, sample_rate=48_000, dtype="float32")
        >>> drawn.amplitude.shape
        (3,)
    """
    midi_key, amplitude_key, phase_key = jax.random.split(key, 3)
    return of_even(
        jax.random.uniform(midi_key, (batch,), dtype), jax.random.uniform(amplitude_key, (batch,), dtype),
        jax.random.bits(phase_key, (batch,), jnp.uint32),
        midi_low=midi_low, midi_high=midi_high, sample_rate=sample_rate, quietest_db=quietest_db,
    )  # fmt: skip


def of_even(
    pitch: Float[jax.Array, "b"],
    level: Float[jax.Array, "b"],
    start: UInt32[jax.Array, "b"],
    *,
    midi_low: float,
    midi_high: float,
    sample_rate: float,
    quietest_db: float | None,
) -> Tones:
    """Tones from numbers in [0, 1).

    Args:
        pitch: 0: `midi_low`, 1: `midi_high`.
        level: see `amplitudes`.
        start: phase of sample 0, in 2**-32 turns.
        midi_low, midi_high, sample_rate, quietest_db: as for `draw`.

    Example:
        >>> found = of_even(
        ...     jnp.array([0.5]), jnp.array([1.0]), jnp.array([0], jnp.uint32),
        ...     midi_low=57.0, midi_high=81.0, sample_rate=48_000, quietest_db=-40.0,
        ... )
        >>> (48_000 * phase.to_ratio(found.increment)).round(2).tolist(), found.amplitude.tolist()
        ([440.0], [1.0])
    """
    return Tones(
        phase.from_ratio(midi_to_hz(midi_low + (midi_high - midi_low) * pitch) / sample_rate),
        amplitudes(level, quietest_db),
        phase.Turns(start, jnp.zeros_like(start)),
    )


def amplitudes(even: Any, quietest_db: float | None) -> Any:
    """Map numbers uniform in [0, 1] to peak amplitudes: unchanged, or uniform in dB from `quietest_db` to 0 dB.

    Example:
        >>> amplitudes(0.5, None), round(amplitudes(0.5, -40.0), 6)
        (0.5, 0.1)
    """
    return even if quietest_db is None else db_to_amplitude(quietest_db * (1 - even))


def render(sines: Tones, samples: int) -> Float[jax.Array, "b t"]:
    """Samples 0 ... samples - 1 of each tone, (b, samples), in the precision of its amplitude (eq. 3).

    The phase of sample n is an integer product, so its error does not grow with n (up to n = 2**32).

    Example:
        >>> sine = tones(np.array([12_000.0]), 0.5, 0.0, sample_rate=48_000, dtype="float32")
        >>> render(sine, 4).round(2).tolist()
        [[0.0, 0.5, 0.0, -0.5]]
    """
    n = jnp.arange(samples, dtype=jnp.uint32)
    column = jax.tree.map(lambda word: word[:, None], (sines.increment, sines.phase))
    _, advanced = phase.multiply(column[0], n)
    _, sine = phase.cos_sin(phase.add(advanced, column[1]), sines.amplitude.dtype)
    return sines.amplitude[:, None] * sine
