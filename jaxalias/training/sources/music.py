"""Music and the alias-free teacher's output for it: the source that preserves the tone of the model.

The target is the teacher at a multiple of its sample rate, decimated (`jaxalias.targets.oversampling`): the same
weights, with aliases lower by 60 dB or more. It is computed once, before the run (`excerpts`), or at each draw if it
depends on what is drawn (`performed`).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int32, Key

from jaxalias.config import MusicConfig
from jaxalias.losses import nmr, terms
from jaxalias.models import Model
from jaxalias.targets.oversampling import oversample
from jaxalias.training import importance
from jaxalias.training.importance import Chances
from jaxalias.training.sources import Batch, Known, Material, Source, cut
from jaxalias.training.sources.tones import LeadIn, begin

HELD_OUT = 64  # validation excerpts, at most: as many as the held-out material has without overlap
_FRAMES = 1024  # STFT frames that are measured at once


class Choices(NamedTuple):
    """The start of each excerpt (0: first possible, 1: last possible), its knobs, and samples of silence in front."""

    place: Float[Array, "b"]
    knobs: Float[Array, "b knob"]
    silence: Int32[Array, "b"]
    weight: Float[Array, "b"] | None = None


def excerpts(
    model: Model, config: MusicConfig, name: str, sample_rate: int, play: Callable, *, settling: int, dtype: str
) -> Source:
    """Excerpts from anywhere in the material, loud aliases more often. The samples before are the lead-in.

    Args:
        model: of the student.
        config: length and number of excerpts, loss.
        name: of the source, and of its material.
        sample_rate: Hz.
        play: of the source (see `Source`).
        settling: samples of lead-in.
        dtype: of the random numbers.
    """
    shape = _Shape(config, sample_rate, settling)

    def draw(known: Known, key: Key[Array, ""]) -> Choices:
        place, weight = importance.place(known.chances.get(name), jax.random.uniform(key, (config.rows,), dtype))
        return _at(place)._replace(weight=weight)

    def complete(known: Known, choices: Choices) -> Batch:
        material = known.material[name]
        x, y = (_cut(signal, choices.place, settling + shape.length) for signal in (material.x, material.y))
        return _batch(x, y[:, settling:], choices.knobs, material, shape)._replace(weight=choices.weight)

    def held_out(known: Known) -> Choices:
        return _at(_even_places(known.material[name], shape, dtype))

    return Source(
        name, config.rows, config.frames, draw, complete, held_out,
        begin(model), play, terms.of_music(config.loss, sample_rate, name),
    )  # fmt: skip


def performed(
    model: Model, teacher_model: Model, config: MusicConfig, name: str, sample_rate: int, play: Callable,
    *, settling: int, dtype: str,
) -> Source:  # fmt: skip
    """Excerpts that the teacher plays at each draw, because their knobs or their beginning are drawn too.

    Args:
        model: of the student.
        teacher_model: of the teacher.
        settling: samples of lead-in. 0: each excerpt starts from the model's initial state, as in a player, with random
            silence of up to the whole excerpt, then music. Without this training, a recurrent model may begin with an
            audible transient.
        config, name, sample_rate, play, dtype: as for `excerpts`.
    """
    shape = _Shape(config, sample_rate, settling)

    def draw(known: Known, key: Key[Array, ""]) -> Choices:
        place, knobs, silence = jax.random.split(key, 3)
        longest = 1 if settling else shape.length
        return Choices(
            jax.random.uniform(place, (config.rows,), dtype),
            jax.random.uniform(knobs, (config.rows, model.knobs), dtype),
            jax.random.randint(silence, (config.rows,), 0, longest, jnp.int32),
        )

    def complete(known: Known, choices: Choices) -> Batch:
        material = known.material[name]
        x = _cut(material.x, choices.place, settling + shape.length)
        x = jnp.where(jnp.arange(x.shape[1]) < choices.silence[:, None], 0, x)
        knobs = jnp.repeat(choices.knobs, config.oversampling, axis=0)

        def output(x: Float[Array, "branches t"]) -> Float[Array, "branches t"]:
            return teacher_model.apply(known.teacher, x, teacher_model.initial_state(known.teacher, len(x), knobs))[0]

        y = jax.lax.stop_gradient(oversample(output, config.oversampling)(x))
        return _batch(x, y[:, settling:], choices.knobs, material, shape)

    def held_out(known: Known) -> Choices:
        place = _even_places(known.material[name], shape, dtype)
        turned = jnp.broadcast_to(place[:, None], (len(place), model.knobs))
        silence = (place * (0 if settling else shape.length / 2)).astype(jnp.int32)
        return Choices(place, turned, silence)

    return Source(
        name, config.rows, config.frames, draw, complete, held_out,
        begin(model), play, terms.of_music(config.loss, sample_rate, name),
    )  # fmt: skip


def least_samples(config: MusicConfig, sample_rate: int, settling: int) -> int:
    """The shortest material for one excerpt, in samples."""
    return settling + _Shape(config, sample_rate, settling).length


class _Shape:
    def __init__(self, config: MusicConfig, sample_rate: int, settling: int) -> None:
        self.settling, self.samples = settling, round(config.frame_s * sample_rate)
        self.length = config.frames * self.samples
        if self.samples < 2048:
            raise ValueError(
                f"music.frame_s = {config.frame_s} is {self.samples} samples at {sample_rate} Hz; must be at least 2048"
            )


def _even_places(material: Material, shape: _Shape, dtype: str) -> Float[Array, "b"]:
    """The starts of as many excerpts as the material has without overlap, evenly spaced."""
    count = (len(material.x) - shape.settling) // shape.length
    return jnp.linspace(0, 1, min(count, HELD_OUT), dtype=dtype)


def _at(place: Float[Array, "b"]) -> Choices:
    return Choices(place, jnp.zeros((len(place), 0), place.dtype), jnp.zeros(len(place), jnp.int32))


def _batch(x: Array, y: Array, knobs: Array, material: Material, shape: _Shape) -> Batch:
    power = jnp.broadcast_to(material.power, (len(x),))
    lead_in = LeadIn(x[:, : shape.settling], knobs)
    return Batch(lead_in, cut(x[:, shape.settling :], shape.samples), cut(y, shape.samples), power)


def _cut(signal: Float[Array, "t"], place: Float[Array, "b"], length: int) -> Float[Array, "b length"]:
    last = signal.shape[0] - length
    first = jnp.minimum((place * (last + 1)).astype(jnp.int32), last)
    return jax.vmap(lambda at: jax.lax.dynamic_slice(signal, (at,), (length,)))(first)


def material(x: np.ndarray, y: np.ndarray, dtype: str) -> Material:
    """Music and the teacher's output for it, on the device, in the precision of the run."""
    with np.errstate(over="ignore"):  # a power beyond the range of this precision becomes infinite: the run diverges
        power = np.mean(np.square(y)).astype(dtype)
    return Material(jnp.asarray(x, dtype), jnp.asarray(y, dtype), jnp.asarray(power))


def chances(
    config: MusicConfig, target: Float[np.ndarray, "t"], own: Float[np.ndarray, "t"], sample_rate: int, settling: int
) -> Chances:
    """The probability of each place to begin an excerpt: half of it by the loudness of the teacher's own aliases there.

    Args:
        config: length of an excerpt, and the knee below which aliases count as silent.
        target: the alias-free output.
        own: the teacher's output at its own rate.
        sample_rate: Hz.
        settling: samples before an excerpt.
    """
    length = _Shape(config, sample_rate, settling).length
    places = len(target) - settling - length + 1
    cells = max(1, places // nmr.HOP)
    loudness = importance.loudness(_noise_to_mask(own, target, sample_rate), config.loss.nmr)
    begin = (settling + (np.arange(cells) + 0.5) * places / cells) / nmr.HOP  # middle of each cell, in STFT frames
    first = np.minimum(begin.astype(int), len(loudness) - 1)
    last = np.minimum((begin + length / nmr.HOP).astype(int), len(loudness))
    total = np.append(0.0, np.cumsum(loudness))
    return importance.chances((total[last] - total[first]) / (last - first))


def _noise_to_mask(
    y: Float[np.ndarray, "t"], reference: Float[np.ndarray, "t"], sample_rate: int
) -> Float[np.ndarray, "n"]:
    """The NMR of each STFT frame, some frames at a time, so that the memory does not grow with the length."""
    count = (len(y) - nmr.FRAME) // nmr.HOP + 1
    found = []
    for first in range(0, count, _FRAMES):
        part = slice(first * nmr.HOP, (min(first + _FRAMES, count) - 1) * nmr.HOP + nmr.FRAME)
        signal, wanted = jnp.asarray(y[part])[None], jnp.asarray(reference[part])[None]
        found.append(np.asarray(nmr.of_frames(signal, wanted, sample_rate)[0]))
    return np.concatenate(found)
