"""One update of one student: draw -> play -> compare -> step. Nothing here knows of other students or of devices."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Key

from jaxalias.models import Params, State
from jaxalias.training.gradients import Learn
from jaxalias.training.sources import Batch, Source, frame


class Student(NamedTuple):
    """All that one update changes."""

    params: Params
    average: Params  # exponential moving average of params; params themselves without one
    optimiser: optax.OptState
    rate: Float[Array, ""]  # learning rate before its schedule; stays as it is
    memories: tuple[State, ...]  # of the model for every row of each source, behind its last frame


class Setup(NamedTuple):
    """What all updates of a run share."""

    sources: tuple[Source, ...]
    learn: Learn
    optimiser: optax.GradientTransformationExtraArgs
    keep: float  # of the average, from one update to the next


def start(params: Params, rate: Float[Array, ""], setup: Setup, memories: tuple[State, ...]) -> Student:
    """Before the first update."""
    return Student(params, jax.tree.map(jnp.copy, params), setup.optimiser.init(params), rate, memories)


def train_step(
    student: Student, batches: Sequence[Batch], weights: dict[str, Any], key: Key[Array, ""], number: Any, setup: Setup
) -> tuple[Student, dict[str, Array]]:
    """One optimiser update on one frame of a batch of every source.

    Args:
        weights: of the terms in the loss, by name.
        key: of the random signs that sample the curvature.
        number: of the updates before this one; it says which frame of a batch is next.

    Returns:
        The student, and its loss, the terms by name, and under "finite" whether all its parameters are numbers.
    """
    frames = [frame(batch, number % source.frames) for source, batch in zip(setup.sources, batches, strict=True)]
    learned = setup.learn(student.params, weights, frames, student.memories, key, number)
    steps, moments = setup.optimiser.update(
        learned.gradient, student.optimiser, student.params, average=student.average,
        loss=learned.values["loss"], rate=student.rate, probes=learned.probes, number=number,
    )  # fmt: skip
    params = optax.apply_updates(student.params, steps)
    average = optax.incremental_update(params, student.average, 1 - setup.keep)
    after = Student(params, average, moments, student.rate, learned.memories)
    return after, learned.values | {"finite": all_finite(params)}


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether every number is one."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()
