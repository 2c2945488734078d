"""The functions of a run without its data, compiled once each.

Runs in one process with the same models and settings share one program, whatever their teachers, music, seeds, loss
weights and learning rates (`jaxalias.training.run`).
"""

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Key

from jaxalias import models, optimisers
from jaxalias.config import FineTuneConfig, PretrainConfig
from jaxalias.losses import terms as loss_terms
from jaxalias.models import Model, Params, State
from jaxalias.optimisers import gauss_newton
from jaxalias.training import gradients, sources, step, students
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
    mesh: Mesh  # of the devices of all arrays
    start: Callable[..., Student]  # keys, known, parameters, learning rates
    draw: Callable[..., Batch]  # index of the source, keys, known, number of the batch
    begin: Callable[..., State]  # index of the source, parameters, batch
    update: Callable[..., tuple[Student, dict[str, Array]]]  # student, weights, keys, batches, number of the update
    validate: Callable[..., dict[str, Array]]  # weights, parameters, validation batches
    held_out: Callable[..., list[Batch]]  # known


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
        mesh,
        start=jax.jit(partial(_start, program), out_shardings=apart),
        draw=jax.jit(partial(_draw, program), static_argnums=0, out_shardings=apart),
        begin=jax.jit(partial(_begin, program), static_argnums=0, out_shardings=apart),
        update=jax.jit(partial(_update, program), donate_argnums=0, out_shardings=(apart, whole)),
        validate=jax.jit(partial(_validate, program), out_shardings=whole),
        held_out=jax.jit(partial(_held_out, program)),
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
        return [program.over(s.complete, (-1, 0), 0)(other, s.held_out(other)) for s in program.setup.sources]

    return program.each(one)(known)


def _validate(program: Program, weights: dict, params: Params, batches: Sequence[Batch]) -> dict[str, Array]:
    """The loss and its terms, each the mean over all frames of the held-out batch of its source.

    The devices exchange rows outside the loops over frames: XLA computes independent loops in any order, so with
    exchanges inside them two devices could wait for each other in different loops.
    """

    def one(params: Params, batches: Sequence[Batch], weights: dict) -> dict[str, Array]:
        values: dict[str, Array] = {}
        for source, batch in zip(program.setup.sources, batches, strict=True):
            measures = program.over(partial(_over_frames, source), (-1, 0), 0)(params, batch)
            for term, part in zip(source.terms, measures, strict=True):
                of_frames = jax.vmap(partial(loss_terms.mean, term, weight=batch.weight), in_axes=1)(part)
                values[term.name] = jnp.mean(of_frames)
        total: Any = sum(weights[name] * value for name, value in values.items())
        return {"loss": total, **values}

    return program.each(one)(params, batches, weights)


def _over_frames(source: Source, params: Params, batch: Batch) -> list[Any]:
    """The measures of each term of a source: rows first, then frames."""

    def next_frame(memory: State, index: Array) -> tuple[State, list[Any]]:
        frame = sources.frame(batch, index)
        estimate, after = source.play(params, frame.inputs, memory)
        return after, [term.measure(estimate, frame.targets, frame.about) for term in source.terms]

    memory = source.begin(params, batch.lead_in)
    found = jax.lax.scan(next_frame, memory, jnp.arange(source.frames))[1]
    return jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), found)
