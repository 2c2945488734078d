"""What a student hears and what it should answer: tones and their targets, cut into frames (section 2.5).

A draw makes several batches of tones at once; each update takes one frame of one batch of them. The targets come
from the frozen teacher, or from a table of its harmonics that was measured before the run.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Key

from jaxalias import harmonics, harmonics_table, parallel, sines, teacher
from jaxalias.config import FineTuneConfig
from jaxalias.dsp import midi_to_hz
from jaxalias.harmonics import Harmonics
from jaxalias.harmonics_table import Table
from jaxalias.models import Model, Params

VALIDATION_TONES = 24
_TABLE = 2**32 - 1  # folded into the seed for the tones of a table: no run makes that many draws
_VALIDATION_MIDI = np.linspace(24.3, 123.7, VALIDATION_TONES)  # off the semitone grid of the evaluation
_VALIDATION_AMPLITUDES = (0.5 + 0.618034 * np.arange(VALIDATION_TONES)) % 1  # even over 0 ... 1, whatever the pitch


class Frames(NamedTuple):
    """Batches of tones cut into frames: what a model hears first, what in each frame, what it should answer."""

    lead_in: Float[Array, "batch tone settling"]
    inputs: Float[Array, "batch frame tone t"]
    targets: Float[Array, "batch frame tone t"]


AXES = Frames._make((1, 2, 2))  # where the tones are, for `parallel`


class Exercises(NamedTuple):
    """What one run hears."""

    draw: Callable[[Key[Array, ""]], Frames]  # compiled; `batches_per_draw` batches
    updates_per_draw: int
    validation: Frames  # one batch of one frame, the same for every run at this sample rate


def prepare(model: Model, frozen: Params, sample_rate: int, config: FineTuneConfig, mesh: Mesh) -> Exercises:
    """Get ready to draw, with the tones of every batch spread over the devices of `mesh`.

    Args:
        frozen: the teacher's parameters in `config.precision`.

    Raises:
        ValueError: frame shorter than an NMR frame or longer than a tone; or the teacher is silent or not finite.
    """
    settling, analysed = (round(s * sample_rate) for s in (config.sines.settling_s, config.sines.analysed_s))
    frame = round(config.frame_s * sample_rate)
    if not 2048 <= frame <= analysed:
        raise ValueError(
            f"frame_s = {config.frame_s} is {frame} samples at {sample_rate} Hz; "
            f"it must be at least 2048 and at most {analysed}, the analysed part of a tone"
        )
    lowest = float(midi_to_hz(min(config.sines.midi_low, _VALIDATION_MIDI[0])))
    number = harmonics.highest_number(lowest, sample_rate)
    tones_drawn = config.batches_per_draw * config.batch_size
    draw_tones = partial(
        sines.draw, midi_low=config.sines.midi_low, midi_high=config.sines.midi_high,
        sample_rate=sample_rate, dtype=config.precision,
    )  # fmt: skip

    def answer_of(params: Params, tones: sines.Tones) -> Harmonics:
        return teacher.analyse(model, params, tones, settling=settling, analysed=analysed, number=number)

    def frames_of(tones: sines.Tones, answer: Harmonics, frame: int) -> Frames:
        x = sines.render(tones, settling + analysed)
        y = harmonics.resynthesise(answer, tones.increment, analysed)
        return Frames(x[:, :settling], _cut(x[:, settling:], frame), _cut(y, frame))

    def from_teacher(frame: int, params: Params, tones: sines.Tones) -> Frames:
        return jax.lax.map(lambda batch: frames_of(batch, answer_of(params, batch), frame), tones)

    def from_harmonics(tones: sines.Tones, answers: Harmonics) -> Frames:
        return jax.lax.map(lambda batch: frames_of(batch[0], batch[1], frame), (tones, answers))

    def in_batches(tree: Any) -> Any:
        return jax.tree.map(lambda a: a.reshape(config.batches_per_draw, config.batch_size, *a.shape[1:]), tree)

    def draw(key: Array, params: Params) -> Frames:
        tones = in_batches(draw_tones(key, tones_drawn))
        return parallel.over_tones(partial(from_teacher, frame), mesh, (-1, 1), AXES)(params, tones)

    def draw_from_table(key: Array, table: Table) -> Frames:
        drawn = in_batches(harmonics_table.draw(key, table, tones_drawn, number=number))
        return parallel.over_tones(from_harmonics, mesh, (1, 1), AXES)(*drawn)

    tones = _validation_tones(sample_rate, config.precision)
    hear = jax.jit(parallel.over_tones(partial(from_teacher, analysed), mesh, (-1, 1), AXES))
    validation = hear(frozen, jax.tree.map(lambda a: a[None], tones))
    whole = parallel.sharding(mesh, -1)  # for the host to read, which on several hosts sees only its own devices
    teacher.refuse_unusable(
        jax.jit(lambda y: y[0, 0], out_shardings=whole)(validation.targets), tones.increment, sample_rate
    )
    updates = analysed // frame * config.batches_per_draw
    if config.table_tones is None:
        return Exercises(partial(jax.jit(draw), params=frozen), updates, validation)
    measured = draw_tones(jax.random.fold_in(jax.random.key(config.seed), _TABLE), config.table_tones)
    analyse = jax.jit(parallel.over_tones(answer_of, mesh, (-1, 0), 0), out_shardings=whole)
    table = harmonics_table.measure(partial(analyse, frozen), measured, config.batch_size)
    return Exercises(partial(jax.jit(draw_from_table), table=table), updates, validation)


def _validation_tones(sample_rate: int, dtype: Any) -> sines.Tones:
    f0 = midi_to_hz(_VALIDATION_MIDI)
    return sines.tones(f0, _VALIDATION_AMPLITUDES, np.zeros_like(f0), sample_rate=sample_rate, dtype=dtype)


def _cut(x: Float[Array, "b samples"], frame: int) -> Float[Array, "frame b t"]:
    count = x.shape[1] // frame
    return jnp.moveaxis(x[:, : count * frame].reshape(x.shape[0], count, frame), 1, 0)
