"""The teacher's harmonics, measured once and drawn from with any phase: training without running the teacher.

A settled model that answers a sine with a period of it knows the phase only as a place in time: y[n] = G(n f0 / Fs
+ p), so that an input ahead by p turns harmonic m by m p. What a tone (f0, A) becomes is then a row of numbers, for
every phase. `teacher.analyse` at that phase stays the reference, and differs in two ways. Where the model had not
settled, each phase left another rest. Its aliases turn by their own multiples of p: they reach a harmonic through the
window's side lobes (-120 dB), or whole near f0 = Fs / k, where `harmonics` keeps them.

A model can have more than one settled answer to a tone (two offsets, subharmonics, chaos). Then no row is right for
every phase, and the tone is left out: each is heard at two phases, and has to give the same row.

Only harmonics below Nyquist are stored, one tone after the other: a sixth of what rows of equal length would take
with the paper's range of tones.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int32, Key

from jaxalias.signals import phase, sines
from jaxalias.targets import harmonics
from jaxalias.targets.harmonics import Harmonics

_SECOND_PHASE = 0.381966  # turns; no small multiple of it is a whole number
_SAME = 1e-3  # of the answer's power may differ between the two phases: -30 dB


class Table(NamedTuple):
    """Harmonics of settled answers to tones of phase 0; those of tone i begin at `first[i]`. Can be stacked."""

    increment: phase.Turns
    amplitude: Float[Array, "*student tone"]
    first: Int32[Array, "*student tone"]
    coefficients: Complex[Array, "*student stored"]
    offset: Float[Array, "*student tone"]


def measure(analyse: Callable[[sines.Tones], Harmonics], tones: sines.Tones, batch: int) -> tuple[Table, int]:
    """Read every tone's harmonics, `batch` tones at a time (on the host; not to be traced).

    Args:
        analyse: the teacher and what reads its answer, compiled (`teacher.analyse`).
        tones: their frequencies and amplitudes go into the table; they are heard at phase 0 and at another.

    Returns:
        The table, and how many tones had different answers: others stand in their places, twice.

    Raises:
        ValueError: half of the tones or more had.
    """
    count = tones.amplitude.shape[0]
    rows, offsets, sizes, same = [], [], [], []
    for start in range(0, count, batch):
        every = np.arange(start, start + batch) % count  # the last batch is filled up: one shape, one compilation
        heard = jax.tree.map(lambda leaf, every=every: leaf[every], tones)
        found, again = (analyse(heard._replace(phase=_everywhere(turns, batch))) for turns in (0.0, _SECOND_PHASE))
        new = min(batch, count - start)
        keep = np.asarray(harmonics.below_nyquist(heard.increment, found.coefficients.shape[1]))[:new]
        rows.append(np.asarray(found.coefficients)[:new][keep])
        offsets.append(np.asarray(found.offset)[:new])
        sizes.append(keep.sum(axis=1))
        same.append(_agree(harmonics.turn(found, _everywhere(_SECOND_PHASE, batch)), again)[:new])
    usable = np.concatenate(same)
    left_out = int(count - usable.sum())
    if 2 * left_out >= count:
        raise ValueError(
            f"the model has more than one settled answer to {left_out} of {count} tones; train it without a table"
        )
    use = np.arange(count)
    use[~usable] = np.resize(use[usable], left_out)
    first = np.cumsum(np.concatenate([[0], *sizes]))[:-1].astype(np.int32)
    increment, amplitude = jax.tree.map(lambda leaf: leaf[use], (tones.increment, tones.amplitude))
    stored = (first[use], np.concatenate(rows), np.concatenate(offsets)[use])
    return Table(increment, amplitude, *(jnp.asarray(array) for array in stored)), left_out


def stack(tables: Sequence[Table]) -> Table:
    """Tables of as many tones each, as one with them along a new first axis."""
    longest = max(table.coefficients.shape[0] for table in tables)
    padded = [
        table._replace(coefficients=jnp.pad(table.coefficients, (0, longest - table.coefficients.shape[0])))
        for table in tables
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *padded)


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


def _everywhere(turns: float, batch: int) -> phase.Turns:
    return phase.exact(np.full(batch, turns))


def _agree(one: Harmonics, other: Harmonics) -> np.ndarray:
    """Which tones' answers are the same but for a rest, offset included (on the host)."""
    distances = np.abs(np.asarray(one.coefficients) - other.coefficients) ** 2
    power = np.sum(np.abs(np.asarray(one.coefficients)) ** 2, axis=1)
    shift = np.abs(np.asarray(one.offset) - other.offset) ** 2
    return 2 * distances.sum(axis=1) + shift <= _SAME * 2 * power
