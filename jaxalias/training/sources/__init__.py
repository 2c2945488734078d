"""The sources of training signals: tones, periodic tones, music (section 2.5).

A source is a bundle of pure functions. To add one, write a file here with a function that returns a `Source`, and add
one line to `jaxalias.training.plan.sources_of`. Tones with a lead-in (`tones`) and music (`music`) suit any model.
Tones that repeat after a whole number of samples (`periodic_tones`) suit networks without recurrence. Rows on which the
teacher's aliases are loud are drawn more often (`jaxalias.training.importance`).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxalias.losses.terms import Term
from jaxalias.models import Params, State
from jaxalias.training.importance import Chances


class Material(NamedTuple):
    """Music and the teacher's output for it."""

    x: Float[Array, "t"]
    y: Float[Array, "t"]
    power: Float[Array, ""]  # mean square of y


class Known(NamedTuple):
    """The data from which the targets of one student are computed."""

    teacher: Params
    material: dict[str, Any]  # by the name of its source; a `Material` for music
    held_out: dict[str, Any]  # likewise, for validation
    chances: Mapping[str, Chances] = {}  # of the rows of a source, by its name; no entry: all have the same


class Batch(NamedTuple):
    """The result of one draw of a source. The first axis of every array is the row."""

    lead_in: Any  # input of `Source.begin`, before the first frame
    inputs: Any  # input of `Source.play`: the second axis is the frame
    targets: Float[Array, "b frame t"]
    about: Any  # data of each row for the terms (`jaxalias.losses.terms.Term`)
    weight: Float[Array, "b"] | None = None  # of each row in the loss, with expected mean 1; None: all 1


class Source(NamedTuple):
    """A source of training signals, for one student.

    draw: (Known, key) -> the random choices of one batch, a pytree of arrays with the rows first.
    complete: (Known, choices) -> Batch, each row independently, so that devices can share the rows.
    held_out: (Known with the validation music as its material) -> the choices of the validation batch.
    begin: (params, lead-in) -> memory of the model before the first frame.
    play: (params, inputs of one frame, memory) -> (estimate (b, t), memory). Sources with the same function and the
        same length of a frame are played in one call.
    terms: of its loss.
    """

    name: str
    rows: int
    frames: int  # per draw; one update uses one frame
    draw: Callable[[Known, Key[Array, ""]], Any]
    complete: Callable[[Known, Any], Batch]
    held_out: Callable[[Known], Any]
    begin: Callable[[Params, Any], State]
    play: Callable[[Params, Any, State], tuple[Float[Array, "b t"], State]]
    terms: tuple[Term, ...]


class Frame(NamedTuple):
    """One frame of a batch."""

    inputs: Any
    targets: Float[Array, "b t"]
    about: Any
    weight: Float[Array, "b"] | None


def frame(batch: Batch, index: Any) -> Frame:
    """The frame at `index`."""
    inputs, targets = jax.tree.map(lambda a: a[:, index], (batch.inputs, batch.targets))
    return Frame(inputs, targets, batch.about, batch.weight)


def cut(x: Float[Array, "b samples"], samples: int) -> Float[Array, "b frame t"]:
    """Consecutive frames of `samples` samples; samples after the last whole frame are dropped."""
    count = x.shape[1] // samples
    return x[:, : count * samples].reshape(x.shape[0], count, samples)


def play_together(
    sources: Sequence[Source], params: Params, inputs: Sequence[Any], memories: Sequence[State], spread: Callable
) -> tuple[list[Float[Array, "b t"]], list[State]]:
    """One frame of every source. Sources with the same `play` and the same frame length are played in one call.

    Args:
        sources: of the run.
        params: of the student.
        inputs: of one frame, for each source.
        memories: before the frame, for each source.
        spread: (f, axes in, axes out) -> f on every device's share of the rows (`jaxalias.training.students`).

    Returns:
        The estimates and the memories after the frame, for each source.
    """
    keys = [
        (source.play, *(leaf.shape[1:] for leaf in jax.tree.leaves(rows)))
        for source, rows in zip(sources, inputs, strict=True)
    ]

    def play(first: int, rows: tuple[Any, State]) -> tuple[Array, State]:
        return spread(sources[first].play, (-1, 0, 0), 0)(params, *rows)

    played = together(keys, list(zip(inputs, memories, strict=True)), play)
    return [estimate for estimate, _ in played], [memory for _, memory in played]


def together(keys: Sequence[Hashable], rows: Sequence[Any], f: Callable[[int, Any], Any]) -> list[Any]:
    """The results of f for several batches. Batches with equal keys are joined, so that one call computes them.

    Args:
        keys: of each batch.
        rows: each batch, a pytree of arrays with the rows first.
        f: (index of the first of the joined batches, their rows) -> a pytree with the rows first.

    Example:
        >>> batches = [jnp.array([1, 2]), jnp.array([3]), jnp.array([4])]
        >>> [double.tolist() for double in together("aba", batches, lambda first, rows: 2 * rows)]
        [[2, 4], [6], [8]]
    """
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    found = list(rows)
    for members in groups.values():
        results = f(members[0], _joined([rows[i] for i in members]))
        start = 0
        for i in members:
            end = start + jax.tree.leaves(rows[i])[0].shape[0]
            found[i] = jax.tree.map(lambda a, s=start, e=end: a[s:e], results)
            start = end
    return found


def _joined(trees: Sequence[Any]) -> Any:
    return trees[0] if len(trees) == 1 else jax.tree.map(lambda *parts: jnp.concatenate(parts), *trees)
