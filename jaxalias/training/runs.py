"""One optimiser update (section 2.5), for one student or for several at once, and what else a run is made of.

Each update takes one frame of a batch of tones (`exercises`). Batches drawn together take turns, so that updates
in a row hear different tones. The model's state is carried from frame to frame and the gradient is cut there
(truncated back-propagation through time). For a model whose state is its past input that cut loses nothing.

Students of one shape are trained in one program: other teachers, other seeds, other weights in the loss, other
learning rates. Each learns as it would alone. They and the tones of a batch are spread over the devices (`parallel`).
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Key

from jaxalias import losses, models
from jaxalias.config import FineTuneConfig, OptimiserConfig
from jaxalias.models import Model, Params, State
from jaxalias.optimisers import gauss_newton, rewind, soap
from jaxalias.signals import phase
from jaxalias.signals.periodic_tones import Cycle
from jaxalias.training import exercises, learning, parallel
from jaxalias.training.exercises import Student
from jaxalias.training.frames import Frames


class TrainState(NamedTuple):
    """All that one update changes, of every student (the first axis of every array)."""

    params: Params
    average: Params  # exponential moving average of params; params themselves without one
    optimiser: optax.OptState
    rate: Float[Array, "student"]  # learning rate before its schedule; stays as it is
    memory: State  # of the model for every batch and tone that was drawn, at the end of its last frame


class Run(NamedTuple):
    """The pure functions of one run, compiled once each (`prepare`).

    update: takes the number of the updates before it, in the run: it says which frame of the draw is next.
    """

    start: Callable[[Sequence[float]], TrainState]  # at the learning rate of each
    draw: Callable[[Key[Array, "student"]], Frames]
    lead_in: Callable[[TrainState, Frames], TrainState]
    update: Callable[[TrainState, Frames, Any], tuple[TrainState, losses.Terms]]
    validate: Callable[[Params], losses.Terms]
    updates_per_draw: int
    students: tuple[Student, ...]
    left_out: tuple[int, ...]  # tones of each one's table with more than one answer


def prepare(model: Model, students: Sequence[Student], sample_rate: int, teacher_model: Model | None = None) -> Run:
    """Build the functions of a run that fine-tunes copies of one teacher, or of several of one shape.

    Args:
        students: their configs may differ in seed, learning rate, and the weights of the loss. The run casts the
            parameters to `config.precision`.
        sample_rate: Hz, that of the model files.
        teacher_model: the teachers', where it is another than the students'; these then have `initial` parameters.

    Raises:
        ValueError: the config does not suit the sample rate (low-pass, frame shorter than an NMR frame),
            or asks for float64 without JAX's 64-bit mode, or for a curvature that takes gigabytes; configs that
            differ in other ways; teachers with another number of knobs; or a teacher that is silent or not finite.
    """
    config = students[0].config
    refuse_different(students)
    rows = config.batch_size + config.music_rows
    mesh = parallel.mesh_for(len(students), config.batch_size, rows, exercises.VALIDATION_TONES)
    teacher_model = teacher_model or model
    if teacher_model.knobs != model.knobs:
        raise ValueError(f"a teacher with {teacher_model.knobs} knobs for students with {model.knobs}")

    def stacked(every: Sequence[Params]) -> Params:
        cast = [models.cast(params, config.precision) for params in every]
        together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *cast)
        return jax.device_put(together, parallel.layout_of_students(mesh, -1))

    frozen = stacked([student.teacher for student in students])
    initial = stacked([student.teacher if student.initial is None else student.initial for student in students])
    if config.optimiser.curvature:
        gauss_newton.refuse_too_large(jax.tree.map(lambda a: a[0], initial))
    optimiser = build_optimiser(config.optimiser, config.updates)
    loss = losses.build(config.loss, sample_rate)
    at_once = exercises.heard_at_once(config, teacher_model, model)
    heard = exercises.prepare(teacher_model, students, frozen, sample_rate, mesh, at_once=at_once)
    every = [losses.weights(student.config.loss) for student in students]
    weights = {name: jnp.array([each[name] for each in every], config.precision) for name in loss.weights}
    keys = jnp.stack([jax.random.key(student.config.seed) for student in students])

    def start(params: Params, rate: Float[Array, "student"]) -> TrainState:
        somewhere = jnp.zeros(model.knobs)  # where they stand is drawn with the tones
        fresh = jax.vmap(lambda one: model.initial_state(one, rows, somewhere))(params)
        memory = jax.tree.map(lambda a: jnp.repeat(a[:, None], config.batches_per_draw, axis=1), fresh)
        return TrainState(params, jax.tree.map(jnp.copy, params), jax.vmap(optimiser.init)(params), rate, memory)

    def listen(
        params: Params, lead_in: Float[Array, "batch tone settling"], begins: Bool[Array, "batch tone"], knobs: Array
    ) -> State:
        def one_batch(batch: tuple[Array, Array, Array]) -> State:
            x, begins, positions = batch
            fresh = model.initial_state(params, x.shape[0], positions)
            if at_once:
                return fresh
            _, after = model.apply(params, x, fresh)
            return jax.tree.map(lambda a, b: jnp.where(begins.reshape(-1, *(1,) * (a.ndim - 1)), a, b), fresh, after)

        return jax.lax.map(one_batch, (lead_in, begins, knobs))

    def play(params: Params, x: Array, cycle: Cycle, before: State) -> tuple[Array, State]:
        if at_once:
            return model.settled(params, x, cycle.period), before  # type: ignore[misc]
        return model.apply(params, x, before)

    def answer(
        params: Params, x: Array, y: Array, increment: phase.Turns, cycle: Cycle, reference: Array, before: State
    ) -> tuple[losses.Differences, State]:
        estimate, after = play(params, x, cycle, before)
        return loss.measure(estimate, y, increment, cycle, reference), after

    listen_apart = parallel.over_students(listen, mesh, (-1, 1, 1, 1), 1)
    answer_apart = parallel.over_students(answer, mesh, (-1, 0, 0, 0, 0, 0, 0), (0, 0))
    by_tone = learning.tone_by_tone(model, play, loss)
    learn_apart = parallel.over_students(by_tone, mesh, (-1, -1, 0, 0, 0, 0, 0, 0), (0, 0, 0, 0))

    @jax.vmap
    def add_up(tones: losses.Differences, weights: losses.Terms) -> losses.Terms:
        terms = loss.terms(tones)
        return {"loss": losses.total(terms, weights), **terms}

    def lead_in(state: TrainState, drawn: Frames) -> TrainState:
        return state._replace(memory=listen_apart(state.params, drawn.lead_in, drawn.begins, drawn.knobs))

    def update(state: TrainState, drawn: Frames, number: Array) -> tuple[TrainState, losses.Terms]:
        index, batch = divmod(number % heard.updates_per_draw, config.batches_per_draw)
        factors = losses.grown(config.loss, number / config.updates)
        heavy = {name: weight * factors[name] for name, weight in weights.items()}
        x, y = drawn.inputs[:, batch, index], drawn.targets[:, batch, index]
        row = drawn.increment, drawn.cycle, drawn.reference
        increment, cycle, reference, before = jax.tree.map(lambda a: a[:, batch], (*row, state.memory))

        def frame_loss(params: Params) -> tuple[Array, tuple]:
            tones, after = answer_apart(params, x, y, increment, cycle, reference, before)
            terms = add_up(tones, heavy)
            return terms["loss"].sum(), (terms, after)  # a student's parameters move no other one's loss

        if config.optimiser.curvature is None:
            gradient, (terms, after) = jax.grad(frame_loss, has_aux=True)(state.params)
            probes: Params | None = None
        else:
            signs = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, number), rows))(keys)
            gradients, probes, tones, after = learn_apart(state.params, heavy, x, y, cycle, reference, before, signs)
            terms = add_up(tones, heavy)
            gradient = jax.tree.map(lambda g: jnp.mean(g, axis=1), gradients)
        steps, moments = jax.vmap(
            lambda g, moments, params, average, loss, rate, probes: optimiser.update(
                g, moments, params, average=average, loss=loss, rate=rate, probes=probes, number=number
            )
        )(gradient, state.optimiser, state.params, state.average, terms["loss"], state.rate, probes)
        params = optax.apply_updates(state.params, steps)
        average = optax.incremental_update(params, state.average, 1 - config.optimiser.ema_decay)
        memory = jax.tree.map(lambda every, part: every.at[:, batch].set(part), state.memory, after)
        return TrainState(params, average, moments, state.rate, memory), terms

    def validate(params: Params, once: Frames) -> losses.Terms:
        memory = jax.tree.map(lambda a: a[:, 0], listen_apart(params, once.lead_in, once.begins, once.knobs))
        row = jax.tree.map(lambda a: a[:, 0], (once.increment, once.cycle, once.reference))
        tones, _ = answer_apart(params, once.inputs[:, 0, 0], once.targets[:, 0, 0], *row, memory)
        return add_up(tones, weights)

    tones_at: Any = {"params": -1, "average": -1, "optimiser": -1, "rate": -1, "memory": 1}
    laid_out = parallel.layout_of_students(mesh, TrainState(**tones_at))
    readable = parallel.whole(mesh)
    jit_start = jax.jit(start, out_shardings=laid_out)
    jit_validate = jax.jit(validate, out_shardings=readable)
    return Run(
        start=lambda rates: jit_start(initial, jnp.asarray(rates, config.precision)),
        draw=heard.draw,
        lead_in=jax.jit(lead_in, donate_argnums=0, out_shardings=laid_out),
        update=jax.jit(update, donate_argnums=0, out_shardings=(laid_out, readable)),
        validate=lambda params: jit_validate(params, heard.validation),
        updates_per_draw=heard.updates_per_draw,
        students=tuple(students),
        left_out=heard.left_out,
    )


def refuse_different(students: Sequence[Student]) -> None:
    """One program serves them all.

    Raises:
        ValueError: configs that differ in more than seed, learning rate and loss weights; names the first such one.
    """
    for student in students:
        if shared(student.config) != shared(students[0].config):
            raise ValueError(
                f"{student.name}: students trained together may differ in seed, learning rate and loss weights alone, "
                f"and the config of this one differs in more from that of {students[0].name}"
            )


def shared(config: FineTuneConfig) -> FineTuneConfig:
    """What the configs of students trained together must agree in: all but seed, learning rate, and loss weights."""
    weighed = ("esr", "nmr", "harmonic")
    terms = {name: getattr(config.loss, name) for name in weighed}
    alike = {name: term and term.model_copy(update={"weight": 1.0}) for name, term in terms.items()}
    loss = config.loss.model_copy(update=alike | {"dc_weight": 1.0})
    optimiser = config.optimiser.model_copy(update={"learning_rate": 1.0})
    return config.model_copy(update={"seed": 0, "loss": loss, "optimiser": optimiser})


def build_optimiser(config: OptimiserConfig, updates: int) -> optax.GradientTransformationExtraArgs:
    """Adam, SOAP or Gauss-Newton steps on a constant or cosine schedule, clipped and pulled to the start if set.

    Its update takes `rate`, the learning rate before the schedule, which may be each student's own; for SOAP's steps
    `number`, of the updates before it; for Gauss-Newton's that and `probes`; and what `rewind_above` says.
    """
    decay = optax.constant_schedule(1.0)
    if config.schedule == "cosine":
        decay = optax.cosine_decay_schedule(1.0, max(1, updates))
    clip = optax.identity() if config.clip_norm is None else optax.clip_by_global_norm(config.clip_norm)
    pull = pull_to_start(config.pull) if config.pull else optax.identity()
    scaled = optax.chain(optax.scale_by_schedule(decay), scale_by_rate())
    if config.curvature:
        often = min(config.curvature.renew_every, max(1, updates // 20))
        renewed = config.curvature.model_copy(update={"renew_every": often})
        chain = optax.chain(gauss_newton.scale_by_curvature(renewed), pull, scaled, clip)
    else:
        directions = soap.scale_by_soap(config.soap.renew_every) if config.soap else optax.scale_by_adam()
        chain = optax.chain(clip, directions, pull, scaled)
    optimiser = optax.with_extra_args_support(chain)
    return rewind.rewind_above(config.rewind_above, optimiser) if config.rewind_above else optimiser


def scale_by_rate() -> optax.GradientTransformationExtraArgs:
    """Steps down the slope, of a size that its update takes as `rate`."""

    def update(
        updates: Params, state: optax.EmptyState, params: Params | None = None, *, rate: Any, **_: Any
    ) -> tuple[Params, optax.EmptyState]:
        return jax.tree.map(lambda step: -rate * step, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def pull_to_start(strength: float) -> optax.GradientTransformation:
    """Weight decay towards the first parameters: adds strength * (params - first) to the updates."""

    def update(updates: Params, first: Params, params: Params | None = None) -> tuple[Params, Params]:
        return jax.tree.map(lambda step, now, then: step + strength * (now - then), updates, params, first), first

    return optax.GradientTransformation(lambda params: jax.tree.map(jnp.copy, params), update)
