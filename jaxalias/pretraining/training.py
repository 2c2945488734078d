"""Train a model of a device from a recording of it (section 3.2): the teacher, where there is none yet.

Loss: ESR behind an A-weighting pre-emphasis, plus DC without. Each draw is a batch of segments from anywhere in the
recording; what comes before a segment only sets the state, then each of its frames is one update, the state carried
on and the gradient cut (TBPTT). For a WaveNet a segment is one frame.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from jaxalias import losses, models
from jaxalias.config import PretrainConfig
from jaxalias.models import Model, Params, State
from jaxalias.signals import dsp, recordings
from jaxalias.signals.recordings import Pair, Segments
from jaxalias.training import parallel
from jaxalias.training.loop import DivergedError
from jaxalias.training.runs import build_optimiser


class TrainState(NamedTuple):
    """All that one update changes."""

    params: Params
    optimiser: optax.OptState
    memory: State  # of the model, for every segment of the batch


class Progress(NamedTuple):
    """All that a run needs to go on."""

    updates_done: int
    state: TrainState
    best: Params  # of the lowest validation loss so far
    best_loss: float
    history: list[dict[str, float]]


class Run(NamedTuple):
    """The functions of one run, compiled once each (`prepare`)."""

    start: Callable[[], TrainState]
    draw: Callable[[int], Segments]
    lead_in: Callable[[TrainState, Array], TrainState]
    update: Callable[[TrainState, Segments, Any], tuple[TrainState, losses.Terms]]
    validate: Callable[[Params], losses.Terms]
    config: PretrainConfig


def prepare(
    model: Model, training: Sequence[Pair], validation: Sequence[Pair], sample_rate: int, config: PretrainConfig
) -> Run:
    """Build the functions of a run.

    Raises:
        ValueError: neither part of the recording holds a whole segment; or float64 without JAX's 64-bit mode.
    """
    before, frame = config.warm_up, config.frame
    length = config.frames * frame
    for part, pairs in (("training", training), ("validation", validation)):
        if not any(len(pair.x) >= length for pair in pairs):
            longest = max((len(pair.x) for pair in pairs), default=0)
            raise ValueError(f"the {part} part must hold {length} samples in one piece, its longest has {longest}")
    dsp.require_precision(config.precision)
    taps = dsp.a_weighting_taps(sample_rate)
    optimiser = build_optimiser(config.optimiser, config.updates)
    mesh = parallel.mesh_for(1, config.batch_size)
    whole = recordings.in_turn(validation, before, length)
    single = Segments(*(jnp.asarray(part, config.precision) for part in whole))

    def start() -> TrainState:
        params = models.cast(model.init(jax.random.key(config.seed)), config.precision)
        return TrainState(params, optimiser.init(params), model.initial_state(params, config.batch_size))

    def draw(index: int) -> Segments:
        drawn = recordings.draw(
            training, config.batch_size, before, length, np.random.default_rng((config.seed, index))
        )
        return Segments(*(jnp.asarray(part, config.precision) for part in drawn))

    def listen(params: Params, x: Array) -> State:
        return model.apply(params, x, model.initial_state(params, x.shape[0]))[1]

    def answer(params: Params, x: Array, memory: State) -> tuple[Array, State]:
        return model.apply(params, x, memory)

    listen_apart = parallel.over_tones(listen, mesh, (-1, 0), 0)
    answer_apart = parallel.over_tones(answer, mesh, (-1, 0, 0), (0, 0))

    def update(state: TrainState, drawn: Segments, number: Array) -> tuple[TrainState, losses.Terms]:
        x, y = (jax.lax.dynamic_slice_in_dim(part, number * frame, frame, 1) for part in drawn[1:])

        def loss(params: Params) -> tuple[Array, tuple]:
            estimate, after = answer_apart(params, x, state.memory)
            terms = _terms(estimate, y, taps)
            return terms["loss"], (terms, after)

        (_, (terms, after)), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
        rate = config.optimiser.learning_rate
        steps, moments = optimiser.update(gradient, state.optimiser, state.params, rate=rate)
        return TrainState(optax.apply_updates(state.params, steps), moments, after), terms

    def validate(params: Params, held_out: Segments) -> losses.Terms:
        estimate, _ = model.apply(params, held_out.inputs, listen(params, held_out.lead_in))
        return _terms(estimate, held_out.targets, taps)

    def lead_in(state: TrainState, x: Array) -> TrainState:
        return state._replace(memory=listen_apart(state.params, x))

    laid_out = parallel.layout(mesh, TrainState(params=-1, optimiser=-1, memory=0))
    return Run(
        start=jax.jit(start, out_shardings=laid_out),
        draw=draw,
        lead_in=jax.jit(lead_in, donate_argnums=0, out_shardings=laid_out),
        update=jax.jit(update, donate_argnums=0, out_shardings=(laid_out, parallel.whole(mesh))),
        validate=partial(jax.jit(validate), held_out=single),
        config=config,
    )


def begin(run: Run) -> Progress:
    """The state of a run before its first update: random parameters."""
    state = run.start()
    return Progress(0, state, jax.tree.map(jnp.copy, state.params), float(run.validate(state.params)["loss"]), [])


def advance(
    run: Run,
    progress: Progress,
    *,
    on_update: Callable[[dict[str, float]], None] = lambda record: None,
    on_checkpoint: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Progress:
    """Go on from `progress` to the last update of the run, or until `should_stop`.

    Draw i is made from the seed and i: a run resumed from any checkpoint ends as an unbroken one.

    Args:
        on_update: called with the record of each update, in order; some have validation terms.
        on_checkpoint: called every `checkpoint_every` updates and at the end or stop.

    Raises:
        DivergedError: a loss was not finite; names the update. What was saved before is good.
    """
    config = run.config
    done, state, best, best_loss, history = progress
    history, drawn, saved = list(history), None, done
    while done < config.updates and not should_stop():
        index, number = divmod(done, config.frames)
        if drawn is None or number == 0:
            drawn = run.draw(index)
        if number == 0:
            state = run.lead_in(state, drawn.lead_in)
        state, terms = run.update(state, drawn, number)
        done += 1
        record = _finite({"update": done, **{name: float(value) for name, value in terms.items()}})
        if done % config.validate_every == 0 or done == config.updates:
            found = {f"validation_{name}": float(value) for name, value in run.validate(state.params).items()}
            record = _finite(record | found)
            if found["validation_loss"] < best_loss:
                best, best_loss = jax.tree.map(jnp.copy, state.params), found["validation_loss"]
        history.append(record)
        on_update(record)
        if done % config.checkpoint_every == 0:
            on_checkpoint(Progress(done, state, best, best_loss, history))
            saved = done
    end = Progress(done, state, best, best_loss, history)
    if done > saved:
        on_checkpoint(end)
    return end


def _terms(estimate: Float[Array, "b t"], target: Float[Array, "b t"], taps: np.ndarray) -> losses.Terms:
    heard, wanted = (dsp.filter_same(signal, taps) for signal in (estimate, target))
    emphasised, offset = losses.esr(heard, wanted, "ratio_of_sums"), losses.dc(estimate, target)
    return {
        "loss": emphasised + offset,
        "emphasised": emphasised,
        "DC": offset,
        "ESR": losses.esr(estimate, target, "ratio_of_sums"),
    }


def _finite(record: dict[str, float]) -> dict[str, float]:
    for name, value in record.items():
        if not np.isfinite(value):
            raise DivergedError(f"{name} of update {record['update']:.0f} is {value}")
    return record
