"""Excerpts of music among the tones of a batch, so that what a model did well with a guitar stays good.

The targets are what the teacher makes of the music, best played at a multiple of its rate (`oversampling`), or a
recording of the device: the same loss for all rows, but music has no harmonics to tell from the rest, and an error is
measured against the power of the whole music, as in the metric: in a rest the smallest is large beside the signal.

Most excerpts are from the middle: what comes before them is heard and does not count. Some are starts: a player begins
with no past, which for a recurrent model is not where silence leads it, and a student that is never heard there may
begin with a thump.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxalias.signals import periodic_tones, phase
from jaxalias.signals.recordings import Pair
from jaxalias.training import frames
from jaxalias.training.frames import Frames


class Music(NamedTuple):
    """What is played and what each student should make of it."""

    x: Float[Array, "*student t"]
    y: Float[Array, "*student t"]


def stack(pairs: Sequence[Pair | None], names: Sequence[str], least: int, dtype: Any) -> Music:
    """The music of all students as one, cut to the length of the shortest.

    Args:
        least: samples that one excerpt takes.

    Raises:
        ValueError: a student, named, has none or too little.
    """
    for pair, name in zip(pairs, names, strict=True):
        length = 0 if pair is None else min(len(pair.x), len(pair.y))
        if length < least:
            raise ValueError(f"{name}: music_rows needs music of at least {least} samples, got {length}")
    known = [pair for pair in pairs if pair is not None]
    length = min(min(len(pair.x), len(pair.y)) for pair in known)
    x, y = (np.stack([signal[:length] for signal in signals]) for signals in zip(*(p[:2] for p in known), strict=True))
    return Music(jnp.asarray(x, dtype), jnp.asarray(y, dtype))


def draw(
    key: Key[Array, ""],
    music: Music,
    play: Callable[[Float[Array, "b t"]], Float[Array, "b t"]],
    *,
    shape: tuple[int, int],
    starts: int,
    settling: int,
    analysed: int,
    frame: int,
) -> Frames:
    """Excerpts from anywhere in the music of one student, each place as likely as any other.

    Args:
        play: the teacher from its initial state on, for the targets of starts.
        shape: batches, and excerpts in each.
        starts: the last so many of these are starts: silence of any length, up to all that is analysed, then music.
        settling: samples that are only heard; of a start they are not.
        analysed: samples after them, cut into frames of `frame`.
    """
    batches, rows = shape
    x, y = _cut(key, music, (batches, rows - starts), settling + analysed)
    heard = x[..., :settling], x[..., settling:], y[..., settling:]
    if starts:
        place, pause = jax.random.split(jax.random.fold_in(key, 1))
        x, _ = _cut(place, music, (batches, starts), analysed)
        silence = jax.random.randint(pause, (batches, starts, 1), 0, analysed)
        x = jnp.where(jnp.arange(analysed) < silence, 0, x)
        begun = jnp.zeros((batches, starts, settling), x.dtype), x, jax.lax.map(play, x)
        heard = jax.tree.map(lambda some, others: jnp.concatenate([some, others], axis=1), heard, begun)
    lead_in, inputs, targets = heard
    none = jnp.zeros(shape, jnp.uint32)
    reference = jnp.full(shape, jnp.mean(music.y**2))
    begins = jnp.broadcast_to(jnp.arange(rows) >= rows - starts, shape)
    row = phase.Turns(none, none), periodic_tones.none(shape), reference, begins, jnp.zeros((*shape, 0), x.dtype)
    in_frames = jax.vmap(lambda batch: frames.cut(batch, frame))
    return Frames(*row, lead_in, in_frames(inputs), in_frames(targets))


def _cut(key: Array, music: Music, shape: tuple[int, int], length: int) -> tuple[Array, Array]:
    """Input and target from the same random places, (batch, row, t) each."""
    first = jax.random.randint(key, shape, 0, music.x.shape[0] - length + 1)
    cut = jax.vmap(jax.vmap(lambda at, signal: jax.lax.dynamic_slice(signal, (at,), (length,)), (0, None)), (0, None))
    return cut(first, music.x), cut(first, music.y)
