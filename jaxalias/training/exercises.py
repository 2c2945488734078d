"""What students hear and what they should answer: tones and their targets, cut into frames (section 2.5).

A draw makes several batches of tones at once; each update takes one frame of one batch of them. The targets come
from each one's frozen teacher, or from a table of its harmonics that was measured before the run. A network without
recurrence can be asked for its settled answer to tones that repeat: then each is one frame (`heard_at_once`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Key

from jaxalias import models
from jaxalias.config import FineTuneConfig
from jaxalias.models import Model, Params
from jaxalias.signals import periodic_tones, sines
from jaxalias.signals.dsp import midi_to_hz
from jaxalias.signals.periodic_tones import Cycle
from jaxalias.signals.recordings import Pair
from jaxalias.targets import harmonics, harmonics_table, teacher
from jaxalias.targets.harmonics import Harmonics
from jaxalias.targets.harmonics_table import Table
from jaxalias.targets.oversampling import oversample
from jaxalias.training import excerpts, frames, parallel
from jaxalias.training.frames import AXES, Frames

VALIDATION_TONES = 24
_TABLE = 2**32 - 1  # folded into the seed for the tones of a table: no run makes that many draws
_KNOBS = 2**32 - 2  # folded into the key of a draw for the positions of the knobs
_MUSIC = 2**32 - 3  # and for where excerpts begin
_INSIDE = 3.3  # semitones from the ends of the training range: off the semitone grid of the evaluation
_VALIDATION_LEVELS = (0.5 + 0.618034 * np.arange(VALIDATION_TONES)) % 1  # even over 0 ... 1, whatever the pitch


class Student(NamedTuple):
    """One of those that are trained together."""

    name: str  # for errors
    teacher: Params  # in any precision
    config: FineTuneConfig
    initial: Params | None = None  # where it begins, of the students' model; None: as its teacher
    music: Pair | None = None  # and what it should become, for a config with `music_rows`


class Exercises(NamedTuple):
    """What the students of a run hear. Every array has the students as its first axis."""

    draw: Callable[[Key[Array, "student"]], Frames]  # compiled; `batches_per_draw` batches
    updates_per_draw: int
    validation: Frames  # one batch of one frame, of the same tones for all runs alike in sample rate and range
    left_out: tuple[int, ...]  # tones of each student's table that could not be used


def heard_at_once(config: FineTuneConfig, *models: Model) -> bool:
    """Whether each tone is one frame of a settled answer (`Model.settled`), for which no model has to be waited for.

    Music among the tones needs its past, and a teacher at a multiple of its rate is not asked this way.
    """
    alone = config.sines.whole_cycles and not config.music_rows and config.teacher_oversampling == 1
    return alone and all(model.settled for model in models)


def prepare(
    model: Model, students: Sequence[Student], frozen: Params, sample_rate: int, mesh: Mesh, *, at_once: bool = False
) -> Exercises:
    """Get ready to draw, with the students and the tones of every batch spread over the devices of `mesh`.

    Args:
        model: the teachers'.
        students: alike but for their names, teachers and seeds, as far as this stage goes.
        frozen: their teachers' parameters in the precision of the run, students along the first axis.
        at_once: see `heard_at_once`; then nothing is heard before the one frame of a tone.

    Raises:
        ValueError: frame shorter than an NMR frame or longer than a tone; or a teacher, named, that is silent or
            not finite or has more than one answer to most tones of its table.
    """
    config = students[0].config
    settling, analysed = (round(s * sample_rate) for s in (config.sines.settling_s, config.sines.analysed_s))
    frame = round(config.frame_s * sample_rate)
    if config.table_tones and model.knobs:
        raise ValueError("table_tones: not for a model with knobs, a table would hold few of their positions")
    if config.music_rows and model.knobs:
        raise ValueError("music_rows: not for a model with knobs, music has its target at one position")
    if not 2048 <= frame <= analysed:
        raise ValueError(
            f"frame_s = {config.frame_s} is {frame} samples at {sample_rate} Hz; "
            f"it must be at least 2048 and at most {analysed}, the analysed part of a tone"
        )
    if at_once:
        settling, analysed = 0, frame
    lowest = float(midi_to_hz(config.sines.midi_low))
    if config.sines.whole_cycles:
        lowest = min(lowest, sample_rate / frame)  # one cycle in the longest period
    number = harmonics.highest_number(lowest, sample_rate)
    tones_drawn = config.batches_per_draw * config.batch_size

    def draw_tones(key: Array, count: int) -> tuple[sines.Tones, Cycle]:
        tones = sines.draw(
            key, count, midi_low=config.sines.midi_low, midi_high=config.sines.midi_high,
            sample_rate=sample_rate, dtype=config.precision, quietest_db=config.sines.quietest_db,
        )  # fmt: skip
        if config.sines.whole_cycles:
            return periodic_tones.repeating(key, tones, frame)
        return tones, periodic_tones.none((count,))

    def answer_of(params: Params, tones: sines.Tones, knobs: Array | None = None) -> Harmonics:
        return teacher.analyse(
            model, params, tones, knobs,
            settling=settling, analysed=analysed, number=number, factor=config.teacher_oversampling,
        )  # fmt: skip

    def frames_of(tones: sines.Tones, cycle: Cycle, knobs: Array, answer: Harmonics, frame: int) -> Frames:
        x = sines.render(tones, settling + analysed)
        y = harmonics.resynthesise(answer, tones.increment, analysed)
        inputs, targets = (frames.cut(signal, frame) for signal in (x[:, settling:], y))
        return frames.of_tones(tones.increment, cycle, knobs, x[:, :settling], inputs, targets)

    def settled_frames(params: Params, tones: sines.Tones, cycle: Cycle, knobs: Array) -> Frames:
        x = sines.render(tones, frame)
        y = periodic_tones.harmonic_part(model.settled(params, x, cycle.period), cycle)  # type: ignore[misc]
        return frames.of_tones(tones.increment, cycle, knobs, x[:, :0], x[None], y[None])

    def from_teacher(frame: int, params: Params, tones: sines.Tones, cycle: Cycle, knobs: Array) -> Frames:
        def one_batch(batch: tuple[sines.Tones, Cycle, Array]) -> Frames:
            tones, cycle, knobs = batch
            if at_once:
                return settled_frames(params, tones, cycle, knobs)
            return frames_of(tones, cycle, knobs, answer_of(params, tones, knobs), frame)

        return jax.lax.map(one_batch, (tones, cycle, knobs))

    def from_harmonics(tones: sines.Tones, answers: Harmonics) -> Frames:
        def one_batch(batch: tuple[sines.Tones, Harmonics]) -> Frames:
            tones, answer = batch
            count = tones.amplitude.shape[0]
            return frames_of(
                tones, periodic_tones.none((count,)), jnp.zeros((count, 0), config.precision), answer, frame
            )

        return jax.lax.map(one_batch, (tones, answers))

    def in_batches(tree: Any) -> Any:
        shape = (len(students), config.batches_per_draw, config.batch_size)
        return jax.tree.map(lambda a: a.reshape(*shape, *a.shape[2:]), tree)

    def draw(keys: Array, params: Params) -> Frames:
        def draw_one(key: Array) -> tuple[sines.Tones, Cycle, Array]:
            knobs = jax.random.uniform(jax.random.fold_in(key, _KNOBS), (tones_drawn, model.knobs), config.precision)
            return *draw_tones(key, tones_drawn), knobs

        drawn = in_batches(jax.vmap(draw_one)(keys))
        return parallel.over_students(partial(from_teacher, frame), mesh, (-1, 1, 1, 1), AXES)(params, *drawn)

    def draw_from_table(keys: Array, tables: Table) -> Frames:
        look_up = partial(harmonics_table.draw, batch=tones_drawn, number=number)
        drawn = in_batches(jax.vmap(look_up)(keys, tables))
        return parallel.over_students(from_harmonics, mesh, (1, 1), AXES)(*drawn)

    tones = _validation_tones(config, sample_rate)
    cycle = periodic_tones.none(tones.amplitude.shape)
    if config.sines.whole_cycles:
        tones, cycle = periodic_tones.snap(
            tones, jnp.full(VALIDATION_TONES, periodic_tones.longest_period(frame), jnp.int32)
        )
    positions = jnp.asarray(_validation_knobs(model.knobs), config.precision)
    longest = frame if config.sines.whole_cycles else analysed
    hear = jax.jit(parallel.over_students(partial(from_teacher, longest), mesh, (-1, 1, 1, 1), AXES))
    for_all = jax.tree.map(lambda a: jnp.broadcast_to(a, (len(students), 1, *a.shape)), (tones, cycle, positions))
    validation = hear(frozen, *for_all)
    for student, targets in zip(students, parallel.to_host(validation.targets), strict=True):
        with _about(student):
            teacher.refuse_unusable(targets[0, 0], tones.increment, sample_rate)
    updates = analysed // frame * config.batches_per_draw
    with_music = partial(_with_music, model, students, frozen, mesh, settling=settling, analysed=analysed, frame=frame)
    if config.table_tones is None:
        draw_ready = with_music(draw, params=frozen)
        return Exercises(draw_ready, updates, validation, (0,) * len(students))
    on_all = parallel.over_tones(answer_of, parallel.mesh_for(1, config.batch_size), (-1, 0), 0)
    analyse = jax.jit(on_all, out_shardings=parallel.whole(mesh))
    tables, left_out = [], []
    for student in students:
        key = jax.random.fold_in(jax.random.key(student.config.seed), _TABLE)
        measured, _ = draw_tones(key, config.table_tones)
        ask = partial(analyse, models.cast(student.teacher, config.precision))
        with _about(student):
            table, unusable = harmonics_table.measure(ask, measured, config.batch_size)
        tables.append(table)
        left_out.append(unusable)
    draw_ready = with_music(draw_from_table, tables=harmonics_table.stack(tables))
    return Exercises(draw_ready, updates, validation, tuple(left_out))


def _with_music(
    model: Model, students: Sequence[Student], frozen: Params, mesh: Mesh, draw: Callable[..., Frames], /,
    *, settling: int, analysed: int, frame: int, **known: Any,
) -> Any:  # fmt: skip
    """A compiled draw of tones from what is known, with music beside them where the config asks for it."""
    config = students[0].config
    if not config.music_rows:
        return partial(jax.jit(draw), **known)
    least = settling + analysed
    every = excerpts.stack([s.music for s in students], [s.name for s in students], least, config.precision)

    def pick(key: Array, music: excerpts.Music, params: Params) -> Frames:
        def play(x: Array) -> Array:
            return model.apply(params, x, model.initial_state(params, x.shape[0]))[0]

        return excerpts.draw(
            jax.random.fold_in(key, _MUSIC), music, oversample(play, config.teacher_oversampling),
            shape=(config.batches_per_draw, config.music_rows), starts=config.music_starts,
            settling=settling, analysed=analysed, frame=frame,
        )  # fmt: skip

    pick_apart = parallel.over_students(pick, mesh, (-1, -1, -1), -1)

    def mixed(keys: Array, music: excerpts.Music, teachers: Params, **known: Any) -> Frames:
        return frames.join(draw(keys, **known), pick_apart(keys, music, teachers))

    return partial(jax.jit(mixed), music=every, teachers=frozen, **known)


@contextmanager
def _about(student: Student) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{student.name}: {error}") from None


def _validation_tones(config: FineTuneConfig, sample_rate: int) -> sines.Tones:
    """Spread over the range of the training tones: what is not trained for must not choose the best student."""
    low, high = config.sines.midi_low, config.sines.midi_high
    inside = min(_INSIDE, (high - low) / 4)
    f0 = midi_to_hz(np.linspace(low + inside, high - inside, VALIDATION_TONES))
    peaks = sines.amplitudes(_VALIDATION_LEVELS, config.sines.quietest_db)
    return sines.tones(f0, peaks, np.zeros_like(f0), sample_rate=sample_rate, dtype=config.precision)


def _validation_knobs(count: int) -> np.ndarray:
    """Positions (tone, knob) that fill the cube evenly, whatever pitch and amplitude (Roberts' sequence)."""
    root = np.polynomial.Polynomial([-1, -1, *[0] * (count - 1), 1]).roots().real.max() if count else 1.0
    return (0.5 + np.arange(VALIDATION_TONES)[:, None] * root ** -np.arange(1.0, count + 1)) % 1
