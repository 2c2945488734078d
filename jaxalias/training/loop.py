"""The loop over the updates of a run, from any point on: what it keeps, and what stops it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxalias.models import Params
from jaxalias.training import parallel
from jaxalias.training.frames import Frames
from jaxalias.training.runs import Run, TrainState


class Progress(NamedTuple):
    """All that students need to go on: a checkpoint holds this and nothing else (`split`, `join`)."""

    updates_done: int
    state: TrainState
    best: Params  # the average with the lowest validation loss so far
    best_loss: list[float]
    history: list[list[dict[str, float]]]  # of each student a record an update: "update", "loss", and its terms


class DivergedError(ArithmeticError):
    """The loss or the parameters of every student were not finite. The last checkpoints are good."""


def begin(run: Run, rates: Sequence[float] | None = None) -> Progress:
    """The state of a run before its first update: every student is its teacher.

    Args:
        rates: the learning rate of each (`rate_search.find`); default: those of the configs.
    """
    state = run.start(rates or [student.config.optimiser.learning_rate for student in run.students])
    best_loss = np.asarray(run.validate(state.average)["loss"]).tolist()
    return Progress(0, state, jax.tree.map(jnp.copy, state.average), best_loss, [[] for _ in run.students])


def split(progress: Progress) -> list[Progress | None]:
    """The progress of each student alone, on the host; None for one whose numbers are not finite."""
    state, best = parallel.to_host((progress.state, progress.best))

    def alone(one: int) -> Progress | None:
        state_of_one, best_of_one = jax.tree.map(lambda a: a[one : one + 1], (state, best))
        unbroken = len(progress.history[one]) == progress.updates_done
        if not unbroken or not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state_of_one.params)):
            return None
        loss, records = progress.best_loss[one : one + 1], progress.history[one : one + 1]
        return Progress(progress.updates_done, state_of_one, best_of_one, loss, records)

    return [alone(one) for one in range(len(progress.history))]


def join(parts: Sequence[Progress], like: Progress) -> Progress:
    """The inverse of `split`, for students that are equally far; on the devices as `like` is."""
    arrays = jax.tree.map(lambda *leaves: np.concatenate(leaves), *[(part.state, part.best) for part in parts])
    wanted = jax.tree.map(lambda a: a.sharding, (like.state, like.best))
    state, best = jax.device_put(arrays, wanted)
    losses, histories = [part.best_loss[0] for part in parts], [part.history[0] for part in parts]
    return Progress(parts[0].updates_done, state, best, losses, histories)


def advance(
    run: Run,
    progress: Progress,
    *,
    until: int | None = None,
    on_update: Callable[[dict[str, float]], None] = lambda record: None,
    on_checkpoint: Callable[[list[Progress | None]], None] = lambda parts: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Progress:
    """Go on from `progress` to the last update of the run, to that of number `until`, or until `should_stop`.

    Draw i is made from the seed and i, so that a run resumed from any checkpoint ends with the numbers
    of an unbroken one. Metrics are read one update late: the device never waits for the host. A student whose
    numbers are not finite any more has no further records, and the run goes on for the others.

    Args:
        on_update: called after each update, in order, with the mean of the records of the students that are finite.
        on_checkpoint: called every `checkpoint_every` updates and at the end or stop, with what `split` makes of it.

    Raises:
        DivergedError: no student is finite any more; names the update.
    """
    config = run.students[0].config
    keys = jnp.stack([jax.random.key(student.config.seed) for student in run.students])
    done, state, best, best_loss, history = progress
    drawn: Frames | None = None
    pending: dict | None = None
    history, best_loss = [list(records) for records in history], list(best_loss)

    def settle() -> None:
        nonlocal pending
        if pending is None:
            return
        number, terms = pending["update"], {name: np.asarray(value) for name, value in pending["terms"].items()}
        pending = None
        alive = [i for i, kept in enumerate(history) if len(kept) == number - 1 and np.isfinite(terms["loss"][i])]
        if not alive:
            raise DivergedError(f"the loss of update {number} is {terms['loss'][0]}")
        for i in alive:
            history[i].append({"update": number, **{name: float(value[i]) for name, value in terms.items()}})
        on_update({name: float(np.mean([history[i][-1][name] for i in alive])) for name in history[alive[0]][-1]})

    def validate() -> None:
        nonlocal best
        found = {name: np.asarray(value) for name, value in run.validate(state.average).items()}
        better = found["loss"] < np.array(best_loss)
        for i in (i for i, records in enumerate(history) if len(records) == done):
            history[i][-1] |= {f"validation_{name}": float(value[i]) for name, value in found.items()}
        best_loss[:] = np.where(better, found["loss"], best_loss).tolist()
        best = _choose(better, state.average, best)

    def reached() -> Progress:
        settle()
        progress = Progress(done, state, best, list(best_loss), [list(records) for records in history])
        parts = split(progress)
        if not any(part is not None for part in parts):
            raise DivergedError(f"the parameters after update {done} are not finite")
        on_checkpoint(parts)
        return progress

    last = config.updates if until is None else min(until, config.updates)
    while done < last and not should_stop():
        index, number = divmod(done, run.updates_per_draw)
        if drawn is None or number == 0:
            drawn = run.draw(jax.vmap(jax.random.fold_in, (0, None))(keys, index))
        if number == 0:
            state = run.lead_in(state, drawn)
        state, terms = run.update(state, drawn, done)
        settle()
        done += 1
        pending = {"update": done, "terms": terms}
        if done % config.validate_every == 0 or done == config.updates:
            settle()
            validate()
        if done % config.checkpoint_every == 0 and done < config.updates:
            reached()
    return reached()


@jax.jit
def _choose(which: Array, these: Params, others: Params) -> Params:
    return jax.tree.map(lambda a, b: jnp.where(which.reshape(-1, *(1,) * (a.ndim - 1)), a, b), these, others)
