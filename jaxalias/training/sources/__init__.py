"""Where the training signals of a run come from: tones, periodic tones, music (section 2.5).

A source is a bundle of pure functions. To add one, write a file here with a function that returns a `Source`, and one
line in `jaxalias.training.plan.sources_of`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxalias.losses.terms import Term
from jaxalias.models import Params, State


class Material(NamedTuple):
    """Music and what the teacher makes of it."""

    x: Float[Array, "t"]
    y: Float[Array, "t"]
    power: Float[Array, ""]  # mean square of y


class Known(NamedTuple):
    """What the targets of one student are made from."""

    teacher: Params
    material: dict[str, Any]  # by the name of its source; of music a `Material`
    held_out: dict[str, Any]  # likewise, for validation


class Batch(NamedTuple):
    """What one draw of a source gives. The first axis of every array is the row."""

    lead_in: Any  # what `Source.begin` plays before the first frame
    inputs: Any  # what `Source.play` plays: the second axis is the frame
    targets: Float[Array, "b frame t"]
    about: Any  # what the terms need to know of each row (`jaxalias.losses.terms.Term`)


class Source(NamedTuple):
    """A source of training signals, of one student.

    draw: key -> the random choices of one batch, a pytree of arrays with the rows first.
    complete: (Known, choices) -> Batch, each row by itself, so that rows can be spread over devices.
    held_out: choices of the batch that validation plays.
    begin: (params, lead-in) -> memory of the model before the first frame.
    play: (params, inputs of one frame, memory) -> (estimate (b, t), memory). Sources that share this function and the
        length of a frame are played in one call.
    terms: of its loss.
    """

    name: str
    rows: int
    frames: int  # in one draw, one update each
    draw: Callable[[Key[Array, ""]], Any]
    complete: Callable[[Known, Any], Batch]
    held_out: Any
    begin: Callable[[Params, Any], State]
    play: Callable[[Params, Any, State], tuple[Float[Array, "b t"], State]]
    terms: tuple[Term, ...]


class Frame(NamedTuple):
    """One frame of a batch."""

    inputs: Any
    targets: Float[Array, "b t"]
    about: Any


def frame(batch: Batch, index: Any) -> Frame:
    """The frame at `index`."""
    inputs, targets = jax.tree.map(lambda a: a[:, index], (batch.inputs, batch.targets))
    return Frame(inputs, targets, batch.about)


def cut(x: Float[Array, "b samples"], samples: int) -> Float[Array, "b frame t"]:
    """Frames of so many samples side by side; what is left after the last whole one is dropped."""
    count = x.shape[1] // samples
    return x[:, : count * samples].reshape(x.shape[0], count, samples)


def play_together(
    sources: Sequence[Source], params: Params, inputs: Sequence[Any], memories: Sequence[State], spread: Callable
) -> tuple[list[Float[Array, "b t"]], list[State]]:
    """One frame of every source; those that share `play` and the length of a frame in one call, row behind row.

    Args:
        spread: (f, axes in, axes out) -> f on every device's share of the rows (`jaxalias.training.students`).
    """
    groups: dict[Any, list[int]] = {}
    for index, (source, heard) in enumerate(zip(sources, inputs, strict=True)):
        groups.setdefault((source.play, tuple(leaf.shape[1:] for leaf in jax.tree.leaves(heard))), []).append(index)
    estimates, after = list(inputs), list(memories)
    for (play, _), members in groups.items():
        heard, before = (_joined([parts[i] for i in members]) for parts in (inputs, memories))
        played = spread(play, (-1, 0, 0), 0)(params, heard, before)
        start = 0
        for i in members:
            end = start + jax.tree.leaves(inputs[i])[0].shape[0]
            estimates[i], after[i] = jax.tree.map(lambda a, s=start, e=end: a[s:e], played)
            start = end
    return estimates, after


def _joined(trees: Sequence[Any]) -> Any:
    return trees[0] if len(trees) == 1 else jax.tree.map(lambda *parts: jnp.concatenate(parts), *trees)
