"""Random sines and their samples (eqs. 3-5)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Float, Key

from jaxalias.signals import phase
from jaxalias.signals.dsp import db_to_amplitude, midi_to_hz


class Tones(NamedTuple):
    """A batch of sines: x[n] = amplitude sin(2 pi (n increment + phase)), increment and phase in turns."""

    increment: phase.Turns
    amplitude: Float[jax.Array, "b"]
    phase: phase.Turns


def tones(f0_hz: ArrayLike, amplitude: ArrayLike, phase_rad: ArrayLike, *, sample_rate: float, dtype: Any) -> Tones:
    """Sines of given frequency in Hz, peak amplitude and phase in radians, each of shape (b,).

    The frequency is kept to 2**-64 turns a sample whatever `dtype` is.
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
    """Draw A ~ U(0, 1), phase ~ U(0, 2 pi) and f0 = 440 2^((l - 69) / 12) with l ~ U(midi_low, midi_high).

    With `quietest_db`, not the paper's, the level is uniform instead: 20 log10 A ~ U(quietest_db, 0).

    The frequency of a drawn tone is exactly its increment times the sample rate: what float32 does to l
    moves the tone by a millionth, and nothing after it knows another frequency.
    """
    midi_key, amplitude_key, phase_key = jax.random.split(key, 3)
    midi = jax.random.uniform(midi_key, (batch,), dtype, midi_low, midi_high)
    start = jax.random.bits(phase_key, (batch,), jnp.uint32)
    return Tones(
        phase.from_ratio(midi_to_hz(midi) / sample_rate),
        amplitudes(jax.random.uniform(amplitude_key, (batch,), dtype), quietest_db),
        phase.Turns(start, jnp.zeros_like(start)),
    )


def amplitudes(even: Any, quietest_db: float | None) -> Any:
    """Peaks from numbers that are even over 0 ... 1: these numbers, or even in dB from `quietest_db` up to 0."""
    return even if quietest_db is None else db_to_amplitude(quietest_db * (1 - even))


def render(sines: Tones, samples: int) -> Float[jax.Array, "b t"]:
    """Samples 0 ... samples - 1 of each tone, in the precision of its amplitude.

    The phase of sample n is an integer product, so its error does not grow with n (up to n = 2**32).
    """
    n = jnp.arange(samples, dtype=jnp.uint32)
    column = jax.tree.map(lambda word: word[:, None], (sines.increment, sines.phase))
    _, advanced = phase.multiply(column[0], n)
    _, sine = phase.cos_sin(phase.add(advanced, column[1]), sines.amplitude.dtype)
    return sines.amplitude[:, None] * sine
