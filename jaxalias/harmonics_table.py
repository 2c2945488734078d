"""The teacher's harmonics, measured once and drawn from with any phase: training without running the teacher.

A settled model that answers a sine with a period of it knows the phase only as a place in time: y[n] = G(n f0 / Fs
+ p), so that an input ahead by p turns harmonic m by m p. What a tone (f0, A) becomes is then a row of numbers, for
every phase. `teacher.analyse` at that phase stays the reference, and differs in three ways. Where the model
had not settled, each phase left another rest. Its aliases turn by their own multiples of p: they reach a harmonic
through the window's side lobes (-120 dB), or whole near f0 = Fs / k, where `harmonics` keeps them. And a model
with more than one settled answer to a tone (two offsets, subharmonics, chaos) has that of phase 0 alone in its table.

Only harmonics below Nyquist are stored, one tone after the other: a sixth of what rows of equal length would take
with the paper's range of tones.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int32, Key

from jaxalias import harmonics, phase, sines
from jaxalias.harmonics import Harmonics


class Table(NamedTuple):
    """Harmonics of answers to tones of phase 0 that are settled; those of tone i begin at `first[i]`."""

    increment: phase.Turns
    amplitude: Float[Array, "tone"]
    first: Int32[Array, "tone"]
    coefficients: Complex[Array, "stored"]
    offset: Float[Array, "tone"]


def measure(analyse: Callable[[sines.Tones], Harmonics], tones: sines.Tones, batch: int) -> Table:
    """Read every tone's harmonics, `batch` tones at a time (on the host; not to be traced).

    Args:
        analyse: the teacher and what reads its answer, compiled (`teacher.analyse`).
        tones: their frequencies and amplitudes go into the table; they are heard at phase 0.
    """
    count = tones.amplitude.shape[0]
    from_zero = tones._replace(phase=jax.tree.map(jnp.zeros_like, tones.phase))
    coefficients, offsets, sizes = [], [], []
    for start in range(0, count, batch):
        every = np.arange(start, start + batch) % count  # the last batch is filled up: one shape, one compilation
        found = analyse(jax.tree.map(lambda leaf, every=every: leaf[every], from_zero))
        turns = jax.tree.map(lambda leaf, every=every: leaf[every], tones.increment)
        new = min(batch, count - start)
        keep = np.asarray(harmonics.below_nyquist(turns, found.coefficients.shape[1]))[:new]
        coefficients.append(np.asarray(found.coefficients)[:new][keep])
        offsets.append(np.asarray(found.offset)[:new])
        sizes.append(keep.sum(axis=1))
    first = np.cumsum(np.concatenate([[0], *sizes]))[:-1].astype(np.int32)
    stored = (first, np.concatenate(coefficients), np.concatenate(offsets))
    return Table(tones.increment, tones.amplitude, *(jnp.asarray(array) for array in stored))


def draw(key: Key[Array, ""], table: Table, batch: int, *, number: int) -> tuple[sines.Tones, Harmonics]:
    """Tones of the table, each as likely as any other, with phase ~ U(0, 2 pi), and the harmonics of their answers.

    Args:
        number: harmonics a tone (static), as many as were read when the table was made.

    Returns:
        The tones and what `teacher.analyse` would give for them, ready for `harmonics.resynthesise`.
    """
    tone_key, phase_key = jax.random.split(key)
    which = jax.random.randint(tone_key, (batch,), 0, table.amplitude.shape[0])
    start = jax.random.bits(phase_key, (batch,), jnp.uint32)
    increment, amplitude, first, offset = jax.tree.map(
        lambda leaf: leaf[which], (table.increment, table.amplitude, table.first, table.offset)
    )
    tones = sines.Tones(increment, amplitude, phase.Turns(start, jnp.zeros_like(start)))
    row = jnp.take(table.coefficients, first[:, None] + jnp.arange(number), mode="clip")  # and on into the next tone's
    coefficients = jnp.where(harmonics.below_nyquist(increment, number), row, 0)
    return tones, harmonics.turn(Harmonics(coefficients, offset), tones.phase)
