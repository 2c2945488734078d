"""One optimiser update, then the loop (section 2.5).

Each update takes one frame of a batch of tones (`exercises`). Batches drawn together take turns, so that updates
in a row hear different tones. The model's state is carried from frame to frame and the gradient is cut there
(truncated back-propagation through time). For a model whose state is its past input that cut loses nothing.
The tones of a batch are spread over the devices (`parallel`); parameters and optimiser are the same on all.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from jaxalias import exercises, losses, models, parallel
from jaxalias.config import FineTuneConfig, OptimiserConfig
from jaxalias.exercises import Frames
from jaxalias.models import Model, Params, State


class TrainState(NamedTuple):
    """All that one update changes."""

    params: Params
    average: Params  # exponential moving average of params; params themselves without one
    optimiser: optax.OptState
    memory: State  # of the model for every batch and tone that was drawn, at the end of its last frame


class Progress(NamedTuple):
    """All that a run needs to go on: a checkpoint holds this and nothing else."""

    updates_done: int
    state: TrainState
    best: Params  # the average with the lowest validation loss so far
    best_loss: float
    history: list[dict[str, float]]  # a record an update: "update", "loss", and its terms


class DivergedError(ArithmeticError):
    """A loss or the parameters after an update were not finite. The last checkpoint is good."""


class Run(NamedTuple):
    """The pure functions of one run, compiled once each (`prepare`)."""

    start: Callable[[], TrainState]
    draw: Callable[[Key[Array, ""]], Frames]
    lead_in: Callable[[TrainState, Frames], TrainState]
    update: Callable[[TrainState, Frames, Any], tuple[TrainState, losses.Terms]]
    validate: Callable[[Params], losses.Terms]
    updates_per_draw: int
    config: FineTuneConfig


def prepare(model: Model, teacher_params: Params, sample_rate: int, config: FineTuneConfig) -> Run:
    """Build the functions of a run that fine-tunes a copy of the teacher.

    Args:
        teacher_params: in any precision; the run casts them to `config.precision`.
        sample_rate: Hz, that of the model file.

    Raises:
        ValueError: the config does not suit the sample rate (low-pass, frame shorter than an NMR frame),
            or asks for float64 without JAX's 64-bit mode; or the teacher is silent or not finite.
    """
    mesh = parallel.mesh_for(config.batch_size, exercises.VALIDATION_TONES)
    frozen = jax.device_put(models.cast(teacher_params, config.precision), parallel.sharding(mesh, -1))
    optimiser = build_optimiser(config.optimiser, config.updates)
    loss = losses.build(config.loss, sample_rate)
    heard = exercises.prepare(model, frozen, sample_rate, config, mesh)

    def start(params: Params) -> TrainState:
        fresh = model.initial_state(params, config.batch_size)
        memory = jax.tree.map(lambda a: jnp.broadcast_to(a, (config.batches_per_draw, *a.shape)), fresh)
        return TrainState(params, jax.tree.map(jnp.copy, params), optimiser.init(params), memory)

    def listen(params: Params, lead_in: Float[Array, "batch tone settling"]) -> State:
        fresh = model.initial_state(params, lead_in.shape[1])
        return jax.lax.map(lambda x: model.apply(params, x, fresh)[1], lead_in)

    def answer(params: Params, x: Array, y: Array, before: State) -> tuple[losses.Differences, State]:
        estimate, after = model.apply(params, x, before)
        return loss.measure(estimate, y), after

    listen_apart = parallel.over_tones(listen, mesh, (-1, 1), 1)
    answer_apart = parallel.over_tones(answer, mesh, (-1, 0, 0, 0), (0, 0))

    def lead_in(state: TrainState, drawn: Frames) -> TrainState:
        return state._replace(memory=listen_apart(state.params, drawn.lead_in))

    def update(state: TrainState, drawn: Frames, number: Array) -> tuple[TrainState, losses.Terms]:
        index, batch = divmod(number, config.batches_per_draw)
        before = jax.tree.map(lambda a: a[batch], state.memory)

        def frame_loss(params: Params) -> tuple[Array, tuple]:
            tones, after = answer_apart(params, drawn.inputs[batch, index], drawn.targets[batch, index], before)
            total, terms = loss.combine(tones)
            return total, (terms, after)

        (total, (terms, after)), gradient = jax.value_and_grad(frame_loss, has_aux=True)(state.params)
        steps, moments = optimiser.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, steps)
        average = optax.incremental_update(params, state.average, 1 - config.optimiser.ema_decay)
        memory = jax.tree.map(lambda every, part: every.at[batch].set(part), state.memory, after)
        return TrainState(params, average, moments, memory), {"loss": total, **terms}

    def validate(params: Params, once: Frames) -> losses.Terms:
        memory = jax.tree.map(lambda a: a[0], listen_apart(params, once.lead_in))
        total, terms = loss.combine(answer_apart(params, once.inputs[0, 0], once.targets[0, 0], memory)[0])
        return {"loss": total, **terms}

    laid_out = parallel.sharding(mesh, TrainState(params=-1, average=-1, optimiser=-1, memory=1))
    begin_state = partial(jax.jit(start, out_shardings=laid_out), frozen)
    jit_validate = jax.jit(validate)
    return Run(
        start=begin_state,
        draw=heard.draw,
        lead_in=jax.jit(lead_in, donate_argnums=0, out_shardings=laid_out),
        update=jax.jit(update, donate_argnums=0, out_shardings=(laid_out, parallel.sharding(mesh, -1))),
        validate=lambda params: jit_validate(params, heard.validation),
        updates_per_draw=heard.validation.inputs.shape[-1]
        // round(config.frame_s * sample_rate)
        * config.batches_per_draw,
        config=config,
    )


def begin(run: Run) -> Progress:
    """The state of a run before its first update: the student is the teacher."""
    state = run.start()
    return Progress(0, state, jax.tree.map(jnp.copy, state.average), float(run.validate(state.average)["loss"]), [])


def advance(
    run: Run,
    progress: Progress,
    *,
    on_update: Callable[[dict[str, float]], None] = lambda record: None,
    on_checkpoint: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Progress:
    """Go on from `progress` to the last update of the run, or until `should_stop`.

    Draw i is made from the seed and i, so that a run resumed from any checkpoint ends with the numbers
    of an unbroken one. Metrics are read one update late: the device never waits for the host.

    Args:
        on_update: called with the record of each update, in order.
        on_checkpoint: called every `checkpoint_every` updates and at the end or stop, never after a non-finite loss.

    Raises:
        DivergedError: a loss or a parameter was not finite; names the update.
    """
    config = run.config
    key = jax.random.key(config.seed)
    done, state, best, best_loss, history = progress
    drawn: Frames | None = None
    pending: dict | None = None
    history = list(history)

    def settle() -> None:
        nonlocal pending
        if pending is not None:
            record = {name: float(value) for name, value in pending.items()}
            pending = None
            if not np.isfinite(record["loss"]):
                raise DivergedError(f"the loss of update {record['update']:.0f} is {record['loss']}")
            history.append(record)
            on_update(record)

    while done < config.updates and not should_stop():
        index, number = divmod(done, run.updates_per_draw)
        if drawn is None or number == 0:
            drawn = run.draw(jax.random.fold_in(key, index))
        if number == 0:
            state = run.lead_in(state, drawn)
        state, terms = run.update(state, drawn, number)
        settle()
        done += 1
        pending = {"update": done, **terms}
        if done % config.validate_every == 0 or done == config.updates:
            settle()
            validation = {f"validation_{name}": float(v) for name, v in run.validate(state.average).items()}
            history[-1] |= validation
            if validation["validation_loss"] < best_loss:
                best, best_loss = jax.tree.map(jnp.copy, state.average), validation["validation_loss"]
        if done % config.checkpoint_every == 0:
            settle()
            on_checkpoint(_finite(Progress(done, state, best, best_loss, history)))
    settle()
    end = _finite(Progress(done, state, best, best_loss, history))
    if done % config.checkpoint_every:
        on_checkpoint(end)
    return end


def _finite(progress: Progress) -> Progress:
    """The same progress; a loss can be finite and what its gradient made of the parameters not."""
    if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(progress.state.params)):
        raise DivergedError(f"the parameters after update {progress.updates_done} are not finite")
    return progress


def build_optimiser(config: OptimiserConfig, updates: int) -> optax.GradientTransformation:
    """Adam on a constant or cosine schedule, behind a global-norm clip if one is set."""
    rate: Any = config.learning_rate
    if config.schedule == "cosine":
        rate = optax.cosine_decay_schedule(config.learning_rate, max(1, updates))
    clip = optax.identity() if config.clip_norm is None else optax.clip_by_global_norm(config.clip_norm)
    return optax.chain(clip, optax.adam(rate))
