"""One update of one student: draw -> play -> compare -> step. Independent of other students and of devices."""

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
    """Everything that one update changes."""

    params: Params
    average: Params  # exponential moving average of params; params themselves without one
    optimiser: optax.OptState
    rate: Float[Array, ""]  # learning rate before the schedule; constant
    memories: tuple[State, ...]  # state of the model for every row of each source, after the last frame


class Setup(NamedTuple):
    """What all updates of a run share."""

    sources: tuple[Source, ...]
    learn: Learn
    optimiser: optax.GradientTransformationExtraArgs
    keep: float  # decay of the average per update


def start(params: Params, rate: Float[Array, ""], setup: Setup, memories: tuple[State, ...]) -> Student:
    """The student before the first update."""
    return Student(params, jax.tree.map(jnp.copy, params), setup.optimiser.init(params), rate, memories)


def train_step(
    student: Student, batches: Sequence[Batch], weights: dict[str, Any], key: Key[Array, ""], number: Any, setup: Setup
) -> tuple[Student, dict[str, Array]]:
    """One optimiser update on one frame of a batch of every source.

    Args:
        student: before the update.
        batches: one for each source.
        weights: of the terms of the loss, by name.
        key: for the random signs that sample the curvature.
        number: the number of earlier updates; it determines which frame of a batch is next.
        setup: sources and optimiser of the run.

    Returns:
        The student, and a dict with its loss, the terms by name, and "finite": true if all its parameters are finite.
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
    """True if every number is finite."""
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()
