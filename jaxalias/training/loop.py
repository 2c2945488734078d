"""The loop over the updates of a run, from any update: history, validation, checkpoints, and reasons to stop."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxalias import memory
from jaxalias.models import Params
from jaxalias.training import students
from jaxalias.training.run import Run
from jaxalias.training.sources import Batch
from jaxalias.training.step import Student


class Progress(NamedTuple):
    """Everything that is needed to continue: a checkpoint holds this and nothing else (`split`, `join`)."""

    updates_done: int
    state: Student  # all students
    best: Params  # the average with the lowest validation loss so far
    best_loss: list[float]
    history: list[list[dict[str, float]]]  # for each student, one record per update: "update", "loss", and its terms


class DivergedError(ArithmeticError):
    """The loss or the parameters of every student are not finite. The last checkpoints are good."""


def begin(run: Run, rates: Sequence[float] | None = None) -> Progress:
    """The progress of a run before its first update: every student equals its teacher.

    Args:
        run: the compiled functions.
        rates: the learning rate of each student (`rate_search.begin`); None: those of the configs.
    """
    state = run.start(rates or run.rates)
    best_loss = np.asarray(run.validate(state.average)["loss"]).tolist()
    return Progress(0, state, jax.tree.map(jnp.copy, state.average), best_loss, [[] for _ in run.rates])


def split(progress: Progress) -> list[Progress | None]:
    """The progress of each student alone, on the host; None for a student whose parameters are not finite."""
    state, best = students.to_host((progress.state, progress.best))

    def alone(one: int) -> Progress | None:
        state_of_one, best_of_one = jax.tree.map(lambda a: a[one : one + 1], (state, best))
        unbroken = len(progress.history[one]) == progress.updates_done
        if not unbroken or not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state_of_one.params)):
            return None
        loss, records = progress.best_loss[one : one + 1], progress.history[one : one + 1]
        return Progress(progress.updates_done, state_of_one, best_of_one, loss, records)

    return [alone(one) for one in range(len(progress.history))]


def join(parts: Sequence[Progress], like: Progress) -> Progress:
    """The inverse of `split`, for students after the same number of updates, placed on the devices like `like`."""
    arrays = jax.tree.map(lambda *leaves: np.concatenate(leaves), *[(part.state, part.best) for part in parts])
    wanted = jax.tree.map(lambda a: a.sharding, (like.state, like.best))
    state, best = jax.device_put(arrays, wanted)
    losses, histories = [part.best_loss[0] for part in parts], [part.history[0] for part in parts]
    return Progress(parts[0].updates_done, state, best, losses, histories)


class Hooks(NamedTuple):
    """Functions that `advance` and the rate search call.

    on_update: after each update, in order, with the mean of the records of all finite students.
    on_checkpoint: with the result of `split`, when `is_due` returns true, and at the end or stop.
    is_due: after each update, with the number of updates done.
    should_stop: before each update; true ends the loop.
    on_lowered: when a student begins again at a lower learning rate (`rate_search`), with its index and that rate.
    """

    on_update: Callable[[dict[str, float]], None] = lambda record: None
    on_checkpoint: Callable[[list[Progress | None]], None] = lambda parts: None
    is_due: Callable[[int], bool] = lambda done: False
    should_stop: Callable[[], bool] = lambda: False
    on_lowered: Callable[[int, float], None] = lambda index, rate: None


SILENT = Hooks()


def advance(run: Run, progress: Progress, hooks: Hooks = SILENT, *, until: int | None = None) -> Progress:
    """Continue from `progress` to the last update of the run, to update `until`, or until a hook stops the loop.

    A batch depends only on the seed and its number, so a resumed run gives the same numbers as an unbroken one. Metrics
    are read one update late, so that the device never waits for the host. A student whose parameters are not finite
    gets no further records, and the run continues for the others. If the optimiser restored the parameters
    (`jaxalias.optimisers.rewind`), a loss that is not finite stays in the records.

    Raises:
        DivergedError: no student is finite any more. The message names the update.
    """
    config = run.config
    records = _Records(progress, hooks.on_update)
    done, state, best = progress[:3]
    best_loss = list(progress.best_loss)
    batches: list[Batch] = []

    def reached() -> Progress:
        records.read()
        now = Progress(done, state, best, list(best_loss), [list(record) for record in records.history])
        parts = split(now)
        if not any(part is not None for part in parts):
            raise DivergedError(f"the parameters after update {done} are not finite")
        hooks.on_checkpoint(parts)
        return now

    last = config.updates if until is None else min(until, config.updates)
    first = done
    with memory.kept() as fill:
        while done < last and not hooks.should_stop():
            state, batches = _drawn(run, state, batches, done)
            state, terms = run.update(state, batches, done)
            records.read()
            done += 1
            records.pending = done, terms
            if done == first + 1:  # the functions are compiled now
                fill()
            if done % config.validate_every == 0 or done == config.updates:
                found = {name: np.asarray(value) for name, value in run.validate(state.average).items()}
                records.read(found)
                better = found["loss"] < np.array(best_loss)
                best_loss[:] = np.where(better, found["loss"], best_loss).tolist()
                best = _choose(better, state.average, best)
            if hooks.is_due(done) and done < config.updates:
                reached()
        return reached()


def _drawn(run: Run, state: Student, batches: Sequence[Batch], done: int) -> tuple[Student, list[Batch]]:
    """A batch of each source for the update after `done`, and the memories; those are reset where a batch is new."""
    found, memories = [], list(state.memories)
    for index, source in enumerate(run.sources):
        number, frame = divmod(done, source.frames)
        found.append(batches[index] if batches and frame else run.draw[index](number))
        if frame == 0:
            memories[index] = run.begin[index](state.params, found[index])
    return state._replace(memories=tuple(memories)), found


class _Records:
    """Terms of the updates, read from the device one update late."""

    def __init__(self, progress: Progress, on_update: Callable[[dict[str, float]], None]) -> None:
        self.history = [list(records) for records in progress.history]
        self.pending: tuple[int, dict] | None = None
        self._on_update = on_update

    def read(self, validation: dict[str, np.ndarray] | None = None) -> None:
        """Add the records of the last update, with its validation if there was one, and call the hook."""
        if self.pending is None:
            return
        number, terms = self.pending[0], {name: np.asarray(value) for name, value in self.pending[1].items()}
        self.pending = None
        finite = terms.pop("finite")
        alive = [i for i, records in enumerate(self.history) if len(records) == number - 1 and finite[i]]
        if not alive:
            raise DivergedError(f"after update {number} the parameters are not finite; its loss was {terms['loss'][0]}")
        terms |= {f"validation_{name}": value for name, value in (validation or {}).items()}
        for i in alive:
            self.history[i].append({"update": number, **{name: float(value[i]) for name, value in terms.items()}})
        newest = [self.history[i][-1] for i in alive]
        self._on_update({name: float(np.mean([record[name] for record in newest])) for name in newest[0]})


@jax.jit
def _choose(which: Array, these: Params, others: Params) -> Params:
    return jax.tree.map(lambda a, b: jnp.where(which.reshape(-1, *(1,) * (a.ndim - 1)), a, b), these, others)
