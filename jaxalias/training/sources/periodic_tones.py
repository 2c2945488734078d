"""Tones that repeat after a whole number of samples: the source for networks without recurrence.

The steady-state response is computed without a warm-up (`Model.settled`), and aliases and harmonics are separated
exactly (`jaxalias.signals.periodic_tones`), so a short frame is enough.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxalias.config import FineTuneConfig, NMRConfig
from jaxalias.losses import terms
from jaxalias.models import Model, Params
from jaxalias.signals import periodic_tones, sines
from jaxalias.signals.periodic_tones import Cycle
from jaxalias.training import importance
from jaxalias.training.importance import Chances
from jaxalias.training.sources import Batch, Known, Source, tones

HELD_OUT = 48  # validation tones


class Choices(NamedTuple):
    """The tones, the cycle of each, and its weight."""

    tones: sines.Tones
    cycle: Cycle
    weight: Float[Array, "b"] | None = None


def source(model: Model, teacher_model: Model, config: FineTuneConfig, sample_rate: int) -> Source:
    """One frame of each sine. The target is the harmonic part of the teacher's output.

    Args:
        model: of the student.
        teacher_model: of the teacher.
        config: range and number of tones, loss.
        sample_rate: Hz.

    Raises:
        ValueError: a model is recurrent; or the frame is shorter than an NMR frame.
    """
    settled, settled_teacher = _settled(model), _settled(teacher_model)
    samples = tones.frame_of(config, sample_rate, periodic_tones.LARGEST)

    def draw(known: Known, key: Key[Array, ""]) -> Choices:
        tone_key, period_key = jax.random.split(key)
        drawn, weight = tones.draw_tones(tone_key, config, sample_rate, known.chances.get("tones"))
        return Choices(*periodic_tones.repeating(period_key, drawn, samples), weight)

    def complete(known: Known, choices: Choices) -> Batch:
        x, cycle = sines.render(choices.tones, samples), choices.cycle
        y = periodic_tones.harmonic_part(settled_teacher(known.teacher, x, cycle.period), cycle)
        return Batch((), (x[:, None], cycle.period[:, None]), y[:, None], cycle, choices.weight)

    def play(params: Params, inputs: tuple[Array, Array], memory: tuple) -> tuple[Array, tuple]:
        return settled(params, *inputs), memory

    def held_out(known: Known) -> Choices:
        chosen, weight = tones.held_out_tones(config, sample_rate, HELD_OUT, known.chances.get("tones"))
        period = jnp.full(HELD_OUT, periodic_tones.longest_period(samples), jnp.int32)
        return Choices(*periodic_tones.snap(chosen, period), weight)

    return Source(
        "tones", config.batch_size, 1, draw, complete, held_out, lambda params, lead_in: (), play,
        terms.of_periodic_tones(config.loss, sample_rate),
    )  # fmt: skip


def chances(model: Model, teacher: Params, config: FineTuneConfig, sample_rate: int) -> Chances:
    """How often each cell of pitch and level is drawn: by the loudness of the teacher's aliases in its middle.

    Args:
        model, teacher: of the teacher.
        config: range of the tones, and the knee below which aliases count as silent.
        sample_rate: Hz.
    """
    found = _noise_to_mask(_settled(model), config, sample_rate, teacher)
    return importance.chances(importance.loudness(found.ravel(), _loss_of_aliases(config)))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _noise_to_mask(
    settled: Callable[..., Array], config: FineTuneConfig, sample_rate: int, teacher: Params
) -> Float[Array, "pitch level"]:
    """The NMR of the teacher's aliases in the middle of each cell."""
    samples = tones.frame_of(config, sample_rate, periodic_tones.LARGEST)
    measure = terms.nmr_of_aliases(_loss_of_aliases(config), np.ones(1), sample_rate).measure

    def of_pitch(pitch: sines.Tones) -> Float[Array, "level"]:
        period = jnp.full(tones.LEVELS, periodic_tones.longest_period(samples), jnp.int32)
        found, cycle = periodic_tones.snap(pitch, period)
        y = settled(teacher, sines.render(found, samples), cycle.period)
        return jnp.mean(measure(y, periodic_tones.harmonic_part(y, cycle), cycle), axis=1)

    grid = jax.tree.map(lambda a: a.reshape(tones.PITCHES, tones.LEVELS), tones.grid(config, sample_rate))
    return jax.lax.map(of_pitch, grid)


def _loss_of_aliases(config: FineTuneConfig) -> NMRConfig:
    return config.loss.aliases or config.loss.nmr


def _settled(model: Model) -> Callable[..., Array]:
    if model.settled is None:
        raise ValueError("sines.whole_cycles needs a network without recurrence, whose response has a steady state")
    return model.settled
