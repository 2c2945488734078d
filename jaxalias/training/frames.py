"""What a model hears in one draw, cut into frames, and what it should answer."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxalias.signals import phase
from jaxalias.signals.periodic_tones import Cycle


class Frames(NamedTuple):
    """Batches of tones cut into frames: what a model hears first, what in each frame, what it should answer.

    Of one student, or of all with them as the first axis. A row of a batch may be music instead of a tone.
    """

    increment: phase.Turns  # (*student batch tone): f0 / Fs, 0 where it is music
    cycle: Cycle  # (*student batch tone): how it repeats, 0 where it does not
    reference: Float[Array, "*student batch tone"]  # power that an error is measured against, 0: that of the frame
    begins: Bool[Array, "*student batch tone"]  # in the model's initial state: its lead-in is not heard
    knobs: Float[Array, "*student batch tone knob"]  # where they stand, of a model that has some
    lead_in: Float[Array, "*student batch tone settling"]
    inputs: Float[Array, "*student batch frame tone t"]
    targets: Float[Array, "*student batch frame tone t"]


AXES = Frames._make((1, 1, 1, 1, 1, 1, 2, 2))
"""Where the tones are, for `parallel`, which puts the students before them."""


def of_tones(
    increment: phase.Turns, cycle: Cycle, knobs: Array, lead_in: Array, inputs: Array, targets: Array
) -> Frames:
    """One batch: each tone is measured against itself, and nothing begins with it."""
    none = jnp.zeros(knobs.shape[:1], inputs.dtype)
    return Frames(increment, cycle, none, none > 0, knobs, lead_in, inputs, targets)


def cut(x: Float[Array, "b samples"], frame: int) -> Float[Array, "frame b t"]:
    """Frames side by side; samples after the last whole one are left out."""
    count = x.shape[1] // frame
    return jnp.moveaxis(x[:, : count * frame].reshape(x.shape[0], count, frame), 1, 0)


def join(some: Frames, others: Frames) -> Frames:
    """Rows of both in the same batches, of all students."""

    def rows(axis: int, part: Any, other: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b], axis + 1), part, other)

    return jax.tree.map(rows, AXES, some, others)
