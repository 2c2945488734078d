"""The functions of a run, built from its config and compiled once each, for all its students.

One program trains several students of one shape, with different teachers, seeds, loss weights or learning rates. The
result for each student is the same as if it were trained alone. Later runs in the same process that differ in no more
than this use the same compiled functions.
"""

import zlib
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Key

from jaxalias import models, optimisers
from jaxalias.config import FineTuneConfig, PretrainConfig
from jaxalias.models import Model, Params, State
from jaxalias.optimisers import gauss_newton
from jaxalias.signals.dsp import require_precision
from jaxalias.targets import teacher
from jaxalias.training import gradients, plan, sources, step, students
from jaxalias.training.plan import Task
from jaxalias.training.sources import Batch, Known, Source
from jaxalias.training.step import Setup, Student


class Program(NamedTuple):
    """What the functions of a run share."""

    setup: Setup
    mesh: Mesh

    def over(self, f: Callable, ins: Any, outs: Any) -> Callable:
        """f on every device's share of the rows."""
        return students.over_rows(self.mesh, f, ins, outs)

    def each(self, f: Callable) -> Callable:
        """Apply f, a function of one student, to all students."""
        return students.each(self.mesh, f)


class Compiled(NamedTuple):
    """The functions of a program, compiled at their first call. All data of a run are arguments."""

    sources: tuple[Source, ...]
    start: Callable[..., Student]  # keys, known, parameters, learning rates
    draw: Callable[..., Batch]  # index of the source, keys, known, number of the batch
    begin: Callable[..., State]  # index of the source, parameters, batch
    update: Callable[..., tuple[Student, dict[str, Array]]]  # student, weights, keys, batches, number of the update
    validate: Callable[..., dict[str, Array]]  # weights, parameters, validation batches
    held_out: Callable[..., list[Batch]]  # known


class Run(NamedTuple):
    """Compiled functions for all students, the first axis of every array. Tuples have one entry for each source."""

    start: Callable[[Sequence[float]], Student]  # from the learning rate of each
    draw: tuple[Callable[[int], Batch], ...]  # the batch with a number; it depends only on seed and number
    begin: tuple[Callable[[Params, Batch], State], ...]  # memories before the first frame of a batch
    update: Callable[[Student, Sequence[Batch], Any], tuple[Student, dict[str, Array]]]
    validate: Callable[[Params], dict[str, Array]]
    sources: tuple[Source, ...]
    config: FineTuneConfig | PretrainConfig  # of the first student; all students agree in what the loop needs
    rates: tuple[float, ...]  # the learning rate in each student's config
    held_out: tuple[Batch, ...]  # the validation batches
    compiled: Compiled  # the functions behind those above, shared with other runs of the same settings


def prepare(model: Model, tasks: Sequence[Task], sample_rate: int, teacher_model: Model | None = None) -> Run:
    """Build the functions of a run that fine-tunes copies of one teacher, or of several teachers of one shape.

    Args:
        model: of the students.
        tasks: one for each student. Their configs may differ in seed, learning rate, and the weights of the loss. The
            run casts the parameters to `config.precision`.
        sample_rate: Hz, of the model files.
        teacher_model: of the teachers, if it differs from the students'; the tasks then have `initial` parameters.

    Raises:
        ValueError: the config does not suit the sample rate (low-pass, frame shorter than an NMR frame), or needs
            float64 without JAX's 64-bit mode, or a curvature that takes gigabytes; configs that differ in other
            ways; music that is missing or too short; teachers with another number of knobs; or a teacher that is silent
            or not finite.
    """
    config = tasks[0].config
    require_precision(config.precision)
    plan.refuse_different(tasks)
    teacher_model = teacher_model or model
    if teacher_model.knobs != model.knobs:
        raise ValueError(f"a teacher with {teacher_model.knobs} knobs for students with {model.knobs}")
    mesh = students.mesh_for(len(tasks))
    functions = _fine_tuning(model, teacher_model, plan.shared(config), sample_rate, mesh)
    settling = plan.settling_of(model, config, sample_rate)
    prepared = assemble(
        functions,
        mesh,
        config,
        initial=[task.teacher if task.initial is None else task.initial for task in tasks],
        known=[plan.known_of(teacher_model, task, settling, sample_rate) for task in tasks],
        weights=[plan.weights_of(model, task.config, sample_rate) for task in tasks],
        seeds=[task.config.seed for task in tasks],
        rates=[task.config.optimiser.learning_rate for task in tasks],
    )
    tones = functions.sources[0].held_out.tones
    for task, targets in zip(tasks, students.to_host(prepared.held_out[0].targets), strict=True):
        try:
            teacher.refuse_unusable(targets.reshape(len(targets), -1), tones.increment, sample_rate)
        except ValueError as error:
            raise ValueError(f"{task.name}: {error}") from None
    return prepared


@lru_cache(maxsize=8)
def _fine_tuning(model: Model, teacher_model: Model, shared: FineTuneConfig, sample_rate: int, mesh: Mesh) -> Compiled:
    """The functions of all runs of these models whose configs agree in `shared` (`plan.shared`)."""
    return compiled(model, plan.sources_of(model, teacher_model, shared, sample_rate), shared, mesh)


def compiled(model: Model, every: tuple[Source, ...], config: FineTuneConfig | PretrainConfig, mesh: Mesh) -> Compiled:
    """The functions of a program with any sources.

    Args:
        model: of the students.
        every: the sources.
        config: its optimiser, its number of updates and its precision belong to the program.
        mesh: of the devices (`students.mesh_for`).
    """
    program = _program(model, config, every, mesh)
    apart, whole = students.layout(mesh, students=True), students.layout(mesh, students=False)
    return Compiled(
        every,
        start=jax.jit(partial(_start, program), out_shardings=apart),
        draw=jax.jit(partial(_draw, program), static_argnums=0, out_shardings=apart),
        begin=jax.jit(partial(_begin, program), static_argnums=0, out_shardings=apart),
        update=jax.jit(partial(_update, program), donate_argnums=0, out_shardings=(apart, whole)),
        validate=jax.jit(partial(_validate, program), out_shardings=whole),
        held_out=jax.jit(partial(_held_out, program)),
    )


def assemble(
    functions: Compiled,
    mesh: Mesh,
    config: FineTuneConfig | PretrainConfig,
    *,
    initial: Sequence[Params],
    known: Sequence[Any],
    weights: Sequence[dict[str, Any]],
    seeds: Sequence[int],
    rates: Sequence[float],
) -> Run:
    """A run: the functions of a program with the data of its students. The keyword arguments have one entry for each.

    Args:
        functions: of the program.
        mesh: of its devices.
        config: of the first student.
        initial: parameters.
        known: the first argument of the sources' `complete`.
        weights: of the terms, by name.
        seeds: of the random numbers.
        rates: learning rates.

    Raises:
        ValueError: a curvature that takes gigabytes.
    """
    apart = students.layout(mesh, students=True)

    def stacked(trees: Sequence[Any]) -> Any:
        return jax.device_put(jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees), apart)

    if config.optimiser.curvature:
        gauss_newton.refuse_too_large(initial[0])
    first = stacked([models.cast(params, config.precision) for params in initial])
    data, heavy = stacked(known), stacked(weights)
    words = stacked([jax.random.key_data(jax.random.key(seed)) for seed in seeds])  # keys themselves stay on their host
    keys = jax.jit(jax.random.wrap_key_data, out_shardings=apart)(words)
    held_out = functions.held_out(data)
    each = range(len(functions.sources))
    return Run(
        start=lambda chosen: functions.start(keys, data, first, jnp.asarray(chosen, config.precision)),
        draw=tuple(partial(functions.draw, index, keys, data) for index in each),
        begin=tuple(partial(functions.begin, index) for index in each),
        update=lambda student, batches, number: functions.update(student, heavy, keys, batches, number),
        validate=lambda params: functions.validate(heavy, params, held_out),
        sources=functions.sources,
        config=config,
        rates=tuple(rates),
        held_out=tuple(held_out),
        compiled=functions,
    )


def stream(key: Key[Array, ""], name: str, number: Any) -> Key[Array, ""]:
    """The key of draw `number` from a named stream of random numbers: a source's name, or "signs"."""
    return jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(name.encode())), number)


def _program(model: Model, config: FineTuneConfig | PretrainConfig, every: tuple[Source, ...], mesh: Mesh) -> Program:
    over = partial(students.over_rows, mesh)
    learn: gradients.Learn = gradients.of_batch(every, over)
    if config.optimiser.curvature:
        is_sampled = partial(gauss_newton.is_sampled, config.optimiser.curvature)
        learn = gradients.row_by_row(every, over, partial(models.each_row, model), is_sampled)
    optimiser = optimisers.build(config.optimiser, config.updates)
    return Program(Setup(every, learn, optimiser, config.optimiser.ema_decay), mesh)


def _draw(program: Program, index: int, keys: Array, known: Known, number: Array) -> Batch:
    source = program.setup.sources[index]

    def one(key: Array, known: Known) -> Batch:
        return program.over(source.complete, (-1, 0), 0)(known, source.draw(known, stream(key, source.name, number)))

    return program.each(one)(keys, known)


def _begin(program: Program, index: int, params: Params, batch: Batch) -> State:
    source = program.setup.sources[index]
    return program.each(program.over(source.begin, (-1, 0), 0))(params, batch.lead_in)


def _start(program: Program, keys: Array, known: Known, params: Params, rates: Array) -> Student:
    """The memories have the shapes of those before the first batch of each source, and are zero."""

    def one(params: Params, rate: Array, key: Array, known: Known) -> Student:
        def memory(source: Source) -> State:
            shapes = jax.eval_shape(
                lambda: source.begin(params, source.complete(known, source.draw(known, key)).lead_in)
            )
            return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        return step.start(params, rate, program.setup, tuple(memory(source) for source in program.setup.sources))

    return program.each(one)(params, rates, keys, known)


def _update(
    program: Program, student: Student, weights: dict, keys: Array, batches: Sequence[Batch], number: Array
) -> tuple[Student, dict[str, Array]]:
    def one(student: Student, batches: Sequence[Batch], weights: dict, key: Array) -> tuple:
        return step.train_step(student, batches, weights, stream(key, "signs", number), number, program.setup)

    return program.each(one)(student, batches, weights, keys)


def _held_out(program: Program, known: Known) -> list[Batch]:
    def one(known: Known) -> list[Batch]:
        other = known._replace(material=known.held_out)
        return [program.over(s.complete, (-1, 0), 0)(other, s.held_out) for s in program.setup.sources]

    return program.each(one)(known)


def _validate(program: Program, weights: dict, params: Params, batches: Sequence[Batch]) -> dict[str, Array]:
    """The loss and its terms, each the mean over all frames of the held-out batch of its source."""

    def one(params: Params, batches: Sequence[Batch], weights: dict) -> dict[str, Array]:
        values: dict[str, Array] = {}
        for source, batch in zip(program.setup.sources, batches, strict=True):
            found = _over_frames(program, source, params, batch, weights)
            values |= {name: jnp.mean(value) for name, value in found.items() if name != "loss"}
        total: Any = sum(weights[name] * value for name, value in values.items())
        return {"loss": total, **values}

    return program.each(one)(params, batches, weights)


def _over_frames(program: Program, source: Source, params: Params, batch: Batch, weights: dict) -> dict[str, Array]:
    """The loss of one source and its terms, for each frame."""

    def next_frame(memory: State, index: Array) -> tuple[State, dict[str, Array]]:
        frame = sources.frame(batch, index)
        found, (after,) = gradients.values_of([source], params, weights, [frame], [memory], program.over)
        return after, found

    memory = program.over(source.begin, (-1, 0), 0)(params, batch.lead_in)
    return jax.lax.scan(next_frame, memory, jnp.arange(source.frames))[1]
