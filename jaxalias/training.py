"""One optimiser update, then the loop (section 2.5).

Tones are rendered once and cut into frames; each update takes one frame of a batch of them. Batches drawn
together take turns, so that updates in a row hear different tones. The model's state is carried from frame
to frame and the gradient is cut there (truncated back-propagation through time). For a model whose state is
its past input that cut loses nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key

from jaxalias import harmonics, harmonics_table, losses, models, sines, teacher
from jaxalias.config import FineTuneConfig, OptimiserConfig
from jaxalias.dsp import midi_to_hz
from jaxalias.harmonics import Harmonics
from jaxalias.models import Model, Params, State

_TABLE = 2**32 - 1  # folded into the seed for the tones of a table: no run makes that many draws
_VALIDATION_MIDI = np.linspace(24.3, 123.7, 24)  # off the semitone grid of the evaluation
_VALIDATION_AMPLITUDES = (0.5 + 0.618034 * np.arange(24)) % 1  # even over 0 ... 1, as in training, whatever the pitch


class Frames(NamedTuple):
    """Tones cut into frames: what a model hears first, what it hears in each frame, what it should answer."""

    lead_in: Float[Array, "tone settling"]
    inputs: Float[Array, "frame tone t"]
    targets: Float[Array, "frame tone t"]


class TrainState(NamedTuple):
    """All that one update changes."""

    params: Params
    average: Params  # exponential moving average of params; params themselves without one
    optimiser: optax.OptState
    memory: State  # of the model for every drawn tone, at the end of its last frame


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
    frozen = models.cast(teacher_params, config.precision)
    optimiser = build_optimiser(config.optimiser, config.updates)
    loss = losses.build(config.loss, sample_rate)
    settling, analysed = (round(s * sample_rate) for s in (config.sines.settling_s, config.sines.analysed_s))
    frame = round(config.frame_s * sample_rate)
    if not 2048 <= frame <= analysed:
        raise ValueError(
            f"frame_s = {config.frame_s} is {frame} samples at {sample_rate} Hz; "
            f"it must be at least 2048 and at most {analysed}, the analysed part of a tone"
        )
    lowest = float(midi_to_hz(min(config.sines.midi_low, _VALIDATION_MIDI[0])))
    number = harmonics.highest_number(lowest, sample_rate)
    analyse = partial(teacher.analyse, model, settling=settling, analysed=analysed, number=number)
    tones_drawn = config.batch_size * config.batches_per_draw
    draw_tones = partial(
        sines.draw, midi_low=config.sines.midi_low, midi_high=config.sines.midi_high,
        sample_rate=sample_rate, dtype=config.precision,
    )  # fmt: skip

    def frames_of(tones: sines.Tones, answer: Harmonics, frame: int) -> Frames:
        x = sines.render(tones, settling + analysed)
        y = harmonics.resynthesise(answer, tones.increment, analysed)
        return Frames(x[:, :settling], _cut(x[:, settling:], frame), _cut(y, frame))

    def draw(key: Array, source: Params) -> Frames:
        tones = draw_tones(key, tones_drawn)
        batches = jax.tree.map(lambda a: a.reshape(config.batches_per_draw, config.batch_size), tones)
        coefficients, offset = jax.lax.map(partial(analyse, source), batches)
        return frames_of(tones, Harmonics(coefficients.reshape(tones_drawn, number), offset.reshape(-1)), frame)

    def draw_from_table(key: Array, source: harmonics_table.Table) -> Frames:
        return frames_of(*harmonics_table.draw(key, source, tones_drawn, number=number), frame)

    def start(params: Params) -> TrainState:
        memory = model.initial_state(params, tones_drawn)
        return TrainState(params, jax.tree.map(jnp.copy, params), optimiser.init(params), memory)

    def lead_in(state: TrainState, drawn: Frames) -> TrainState:
        fresh = model.initial_state(state.params, tones_drawn)
        return state._replace(memory=model.apply(state.params, drawn.lead_in, fresh)[1])

    def update(state: TrainState, drawn: Frames, number: Array) -> tuple[TrainState, losses.Terms]:
        index, batch = divmod(number, config.batches_per_draw)
        first = batch * config.batch_size

        def of_batch(array: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(array, first, config.batch_size)

        def with_batch(array: Array, part: Array) -> Array:
            return jax.lax.dynamic_update_slice_in_dim(array, part, first, axis=0)

        x, y = of_batch(drawn.inputs[index]), of_batch(drawn.targets[index])
        before = jax.tree.map(of_batch, state.memory)

        def frame_loss(params: Params) -> tuple[Array, tuple]:
            estimate, after = model.apply(params, x, before)
            total, terms = loss(estimate, y)
            return total, (terms, after)

        (total, (terms, after)), gradient = jax.value_and_grad(frame_loss, has_aux=True)(state.params)
        steps, moments = optimiser.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, steps)
        average = optax.incremental_update(params, state.average, 1 - config.optimiser.ema_decay)
        memory = jax.tree.map(with_batch, state.memory, after)
        return TrainState(params, average, moments, memory), {"loss": total, **terms}

    def validate(params: Params, heard: Frames) -> losses.Terms:
        memory = model.initial_state(params, heard.lead_in.shape[0])
        _, memory = model.apply(params, heard.lead_in, memory)
        total, terms = loss(model.apply(params, heard.inputs[0], memory)[0], heard.targets[0])
        return {"loss": total, **terms}

    validation_tones = _validation_tones(sample_rate, config.precision)
    analyse_now = partial(jax.jit(analyse), frozen)
    validation = jax.jit(partial(frames_of, frame=analysed))(validation_tones, analyse_now(validation_tones))
    teacher.refuse_unusable(validation.targets[0], validation_tones.increment, sample_rate)
    jit_draw = partial(jax.jit(draw), source=frozen)
    if config.table_tones is not None:
        tones = draw_tones(jax.random.fold_in(jax.random.key(config.seed), _TABLE), config.table_tones)
        table = harmonics_table.measure(analyse_now, tones, config.batch_size)
        jit_draw = partial(jax.jit(draw_from_table), source=table)
    jit_validate = jax.jit(validate)
    return Run(
        start=lambda: jax.jit(start)(frozen),
        draw=jit_draw,
        lead_in=jax.jit(lead_in, donate_argnums=0),
        update=jax.jit(update, donate_argnums=0),
        validate=lambda params: jit_validate(params, validation),
        updates_per_draw=analysed // frame * config.batches_per_draw,
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


def _validation_tones(sample_rate: int, dtype: Any) -> sines.Tones:
    f0 = midi_to_hz(_VALIDATION_MIDI)
    return sines.tones(f0, _VALIDATION_AMPLITUDES, np.zeros_like(f0), sample_rate=sample_rate, dtype=dtype)


def _cut(x: Float[Array, "b samples"], frame: int) -> Float[Array, "frame b t"]:
    count = x.shape[1] // frame
    return jnp.moveaxis(x[:, : count * frame].reshape(x.shape[0], count, frame), 1, 0)
