"""Strings that repeat after a whole number of samples: tones with overtones, for networks without recurrence.

A note on a string has about ten strong overtones. A distortion makes aliases of each and of their sums and differences,
so a high note aliases more than a sine of the same pitch. A student may be free of aliases on sines and not on notes.
The output of an alias-free model for a periodic sound consists of harmonics of its pitch, whatever its overtones. So
aliases and harmonics are separated as for sines (`periodic_tones`), without a lead-in.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxalias.config import StringConfig
from jaxalias.losses import terms
from jaxalias.models import Model
from jaxalias.signals import periodic_tones, phase, sines
from jaxalias.signals.periodic_tones import Cycle
from jaxalias.training.sources import Source
from jaxalias.training.sources.periodic_tones import repeated

HELD_OUT = 12  # validation tones
_HELD_OUT_KEY = 2  # differs from every draw of a run, whose keys are folded with the name of a stream
_PARTIALS, _HIGHEST_HZ = 24, 16_000.0  # a pickup and its cable attenuate higher partials
_PLUCKED, _PICKED_UP = (0.06, 0.4), (0.03, 0.25)  # places on the string, relative to its length
_BRIGHTNESS_HZ = (1500.0, 8000.0)  # above it the overtones fall by another 12 dB per octave


class Choices(NamedTuple):
    """Pitch, peak and cycle of each tone, and its partials."""

    tones: sines.Tones
    cycle: Cycle
    weight: Float[Array, "b partial"]
    turn: phase.Turns


def source(
    model: Model, teacher_model: Model, config: StringConfig, frame_s: float, sample_rate: int, dtype: str
) -> Source:
    """One frame of each tone.

    Args:
        model: of the student.
        teacher_model: of the teacher.
        config: range and number of tones, loss.
        frame_s: length of a frame.
        sample_rate: Hz.
        dtype: of the random numbers.

    Raises:
        ValueError: a model is recurrent.
    """
    samples = round(frame_s * sample_rate)

    def draw(key: Key[Array, ""], rows: int = config.rows) -> Choices:
        tone_key, period_key, *string_keys, turn_key = jax.random.split(key, 6)
        tones = sines.draw(
            tone_key, rows, midi_low=config.midi_low, midi_high=config.midi_high, sample_rate=sample_rate,
            dtype=dtype, quietest_db=config.quietest_db,
        )  # fmt: skip
        tones, cycle = periodic_tones.repeating(period_key, tones, samples)
        weight = _weights(string_keys, sample_rate * phase.signed(tones.increment, dtype), sample_rate, dtype)
        start = jax.random.bits(turn_key, weight.shape, jnp.uint32)
        return Choices(tones, cycle, weight, phase.Turns(start, jnp.zeros_like(start)))

    return repeated(
        "strings", config.rows, model, teacher_model, draw, lambda choices: render(choices, samples),
        draw(jax.random.key(_HELD_OUT_KEY), HELD_OUT), terms.of_periodic_tones(config.loss, sample_rate, "strings "),
    )  # fmt: skip


def render(choices: Choices, samples: int) -> Float[Array, "b t"]:
    """Samples of each tone, at its peak amplitude."""
    tones, numbers = choices.tones, jnp.arange(1, _PARTIALS + 1)
    _, increments = phase.multiply(jax.tree.map(lambda word: word[:, None], tones.increment), numbers)
    flat = jax.tree.map(jnp.ravel, sines.Tones(increments, choices.weight, choices.turn))
    y = jnp.sum(sines.render(flat, samples).reshape(*choices.weight.shape, samples), axis=1)
    return y * (tones.amplitude / jnp.max(jnp.abs(y), axis=1))[:, None]


def _weights(
    keys: list[Key[Array, ""]], f0_hz: Float[Array, "b"], sample_rate: int, dtype: str
) -> Float[Array, "b partial"]:
    """The weights of the partials, as in `high_playing.string`; the first partial is always present."""
    rows, number = (len(f0_hz), 1), jnp.arange(1, _PARTIALS + 1, dtype=dtype)
    plucked = jax.random.uniform(keys[0], rows, dtype, *_PLUCKED)
    picked_up = jax.random.uniform(keys[1], rows, dtype, *_PICKED_UP)
    bright = jnp.exp(jax.random.uniform(keys[2], rows, dtype, *np.log(_BRIGHTNESS_HZ).tolist()))
    hz = number * f0_hz[:, None]
    weight = (
        jnp.sin(jnp.pi * number * plucked) * jnp.sin(jnp.pi * number * picked_up) / number / (1 + (hz / bright) ** 2)
    )
    sounding = (number == 1) | (hz < min(_HIGHEST_HZ, 0.45 * sample_rate))
    return jnp.where(sounding, weight, 0)
