"""The functions of a run, built from its config and compiled once each, for all its students.

One program trains several students of one shape, with different teachers, seeds, loss weights or learning rates. The
result for each student is the same as if it were trained alone. Later runs in the same process that differ in no more
than this use the same compiled functions.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array

from jaxalias import models
from jaxalias.config import FineTuneConfig, PretrainConfig
from jaxalias.models import Model, Params, State
from jaxalias.optimisers import gauss_newton
from jaxalias.signals.dsp import require_precision
from jaxalias.targets import teacher
from jaxalias.training import plan, program, students
from jaxalias.training.plan import Task
from jaxalias.training.program import Compiled
from jaxalias.training.sources import Batch, Source
from jaxalias.training.step import Student


class Run(NamedTuple):
    """Compiled functions for all students, the first axis of every array. Tuples have one entry for each source."""

    start: Callable[[Sequence[float]], Student]  # from the learning rate of each
    draw: tuple[Callable[[int], Batch], ...]  # the batch with a number; it depends only on seed and number
    begin: tuple[Callable[[Params, Batch], State], ...]  # memories before the first frame of a batch
    update: Callable[[Student, Sequence[Batch], Any], tuple[Student, dict[str, Array]]]
    validate: Callable[[Params], dict[str, Array]]
    config: FineTuneConfig | PretrainConfig  # of the first student; all students agree in what the loop needs
    rates: tuple[float, ...]  # the learning rate in each student's config
    held_out: tuple[Batch, ...]  # the validation batches
    compiled: Compiled  # the functions behind those above, shared with other runs of the same settings

    @property
    def sources(self) -> tuple[Source, ...]:
        """The sources of the program."""
        return self.compiled.sources


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
    known = [plan.known_of(teacher_model, task, settling, sample_rate) for task in tasks]
    prepared = assemble(
        functions,
        config,
        initial=[task.teacher if task.initial is None else task.initial for task in tasks],
        known=known,
        weights=[plan.weights_of(model, task.config, sample_rate) for task in tasks],
        seeds=[task.config.seed for task in tasks],
        rates=[task.config.optimiser.learning_rate for task in tasks],
    )
    sines = functions.sources[0]
    for task, own, targets in zip(tasks, known, students.to_host(prepared.held_out[0].targets), strict=True):
        increment = sines.held_out(own).tones.increment
        try:
            teacher.refuse_unusable(targets.reshape(len(targets), -1), increment, sample_rate)
        except ValueError as error:
            raise ValueError(f"{task.name}: {error}") from None
    return prepared


@lru_cache(maxsize=4)
def _fine_tuning(model: Model, teacher_model: Model, shared: FineTuneConfig, sample_rate: int, mesh: Mesh) -> Compiled:
    """The functions of all runs of these models whose configs agree in `shared` (`plan.shared`)."""
    return program.compiled(model, plan.sources_of(model, teacher_model, shared, sample_rate), shared, mesh)


def assemble(
    functions: Compiled,
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
        config: of the first student.
        initial: parameters.
        known: the first argument of the sources' `complete`.
        weights: of the terms, by name.
        seeds: of the random numbers.
        rates: learning rates.

    Raises:
        ValueError: a curvature that takes gigabytes.
    """
    apart = students.layout(functions.mesh, students=True)

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
        config=config,
        rates=tuple(rates),
        held_out=tuple(held_out),
        compiled=functions,
    )
