"""Strings that repeat after a whole number of samples: tones with overtones, for networks without recurrence.

A note on a string has some ten strong overtones. A distortion makes aliases of each and of their sums and differences,
so a note played high aliases more than the sine of its pitch: a student may be free of aliases on sines and not on
notes. What a model without aliases makes of a periodic sound is harmonics of its pitch, whatever its overtones are. So
aliases are told from harmonics as for sines (`periodic_tones`), without a past that has to be played first.
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
_HELD_OUT_KEY = 2  # a draw that no seed of a run makes: those are made from keys folded with the name of a stream
_PARTIALS, _HIGHEST_HZ = 24, 16_000.0  # a pickup and its cable give little above
_PLUCKED, _PICKED_UP = (0.06, 0.4), (0.03, 0.25)  # where, as a share of the string's length
_BRIGHTNESS_HZ = (1500.0, 8000.0)  # where the overtones begin to fall by another 12 dB an octave


class Choices(NamedTuple):
    """Pitch and peak of each tone, how it repeats, and its partials."""

    tones: sines.Tones
    cycle: Cycle
    weight: Float[Array, "b partial"]
    turn: phase.Turns


def source(
    model: Model, teacher_model: Model, config: StringConfig, frame_s: float, sample_rate: int, dtype: str
) -> Source:
    """One frame of each tone.

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
    """Of the partials, as `high_playing.string` has them; the first is never left out."""
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
