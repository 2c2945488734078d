"""Tones that repeat after a whole number of samples: the source for networks without recurrence.

The steady-state response is computed without a warm-up (`Model.settled`), and aliases and harmonics are separated
exactly (`jaxalias.signals.periodic_tones`), so a short frame is enough.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxalias.config import FineTuneConfig
from jaxalias.losses import terms
from jaxalias.losses.terms import Term
from jaxalias.models import Model, Params
from jaxalias.signals import periodic_tones, sines
from jaxalias.signals.periodic_tones import Cycle
from jaxalias.training.sources import Batch, Known, Source, tones


class Choices(NamedTuple):
    """The tones, and the cycle of each."""

    tones: sines.Tones
    cycle: Cycle


def source(model: Model, teacher_model: Model, config: FineTuneConfig, sample_rate: int) -> Source:
    """One frame of each sine.

    Args:
        model: of the student.
        teacher_model: of the teacher.
        config: range and number of tones, loss.
        sample_rate: Hz.

    Raises:
        ValueError: a model is recurrent; or the frame is shorter than an NMR frame.
    """
    samples = tones.frame_of(config, sample_rate, periodic_tones.LARGEST)

    def draw(key: Key[Array, ""]) -> Choices:
        tone_key, period_key = jax.random.split(key)
        return Choices(*periodic_tones.repeating(period_key, tones.draw_tones(tone_key, config, sample_rate), samples))

    period = jnp.full(tones.HELD_OUT, periodic_tones.longest_period(samples), jnp.int32)
    held_out = Choices(*periodic_tones.snap(tones.held_out_tones(config, sample_rate), period))
    return repeated(
        "tones", config.batch_size, model, teacher_model, draw, lambda choices: sines.render(choices.tones, samples),
        held_out, terms.of_periodic_tones(config.loss, sample_rate),
    )  # fmt: skip


def repeated(
    name: str,
    rows: int,
    model: Model,
    teacher_model: Model,
    draw: Callable[[Key[Array, ""]], Any],
    render: Callable[[Any], Float[Array, "b t"]],
    held_out: Any,
    loss: tuple[Term, ...],
) -> Source:
    """A source of periodic signals, one frame of each. The target is the harmonic part of the teacher's output.

    Args:
        name: of the source.
        rows: signals in one update.
        model: of the student.
        teacher_model: of the teacher.
        draw: from a key to choices; their `cycle` holds the period of each row.
        render: from choices to samples, at least one period.
        held_out: choices of the validation batch.
        loss: the terms.

    Raises:
        ValueError: a model is recurrent.
    """
    if model.settled is None or teacher_model.settled is None:
        raise ValueError("sines.whole_cycles needs a network without recurrence, whose response has a steady state")
    settled, settled_teacher = model.settled, teacher_model.settled

    def complete(known: Known, choices: Any) -> Batch:
        x, cycle = render(choices), choices.cycle
        y = periodic_tones.harmonic_part(settled_teacher(known.teacher, x, cycle.period), cycle)
        return Batch((), (x[:, None], cycle.period[:, None]), y[:, None], cycle)

    def play(params: Params, inputs: tuple[Array, Array], memory: tuple) -> tuple[Array, tuple]:
        return settled(params, *inputs), memory

    return Source(name, rows, 1, draw, complete, held_out, lambda params, lead_in: (), play, loss)
