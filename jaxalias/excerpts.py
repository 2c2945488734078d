"""Excerpts of music among the tones of a batch, so that what a model did well with a guitar stays good.

The targets are what the teacher makes of the music, best played at a multiple of its rate (`oversampling`), or a
recording of the device: the same loss for all rows, but music has no harmonics to tell from the rest, and an error is
measured against the power of the whole music, as in the metric: in a rest the smallest is large beside the signal.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxalias import cycles, frames, phase
from jaxalias.frames import Frames
from jaxalias.recordings import Pair


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
    key: Key[Array, ""], music: Music, shape: tuple[int, int], *, settling: int, analysed: int, frame: int
) -> Frames:
    """Excerpts from anywhere in the music of one student, each place as likely as any other.

    Args:
        shape: batches, and excerpts in each.
        settling: samples that are only heard.
        analysed: samples after them, cut into frames of `frame`.
    """
    length = settling + analysed
    first = jax.random.randint(key, shape, 0, music.x.shape[0] - length + 1)

    @jax.vmap
    def one_batch(first: Array) -> Frames:
        x, y = (
            jax.vmap(lambda at, signal=signal: jax.lax.dynamic_slice(signal, (at,), (length,)))(first)
            for signal in music
        )
        none = jnp.zeros(first.shape, jnp.uint32)
        nowhere = jnp.zeros((*first.shape, 0), x.dtype)
        reference = jnp.full(first.shape, jnp.mean(music.y**2))
        inputs, targets = (frames.cut(signal[:, settling:], frame) for signal in (x, y))
        row = phase.Turns(none, none), cycles.none(first.shape), reference, nowhere
        return Frames(*row, x[:, :settling], inputs, targets)

    return one_batch(first)
