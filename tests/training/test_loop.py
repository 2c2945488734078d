"""The loop: it learns, it compiles once, it resumes bit for bit, and it stops where nothing finite is left."""

from contextlib import closing
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances
from small_runs import CONFIG, Prepared, assert_same_numbers, broken_off, prepare, with_config

from jaxalias.training import loop, run
from jaxalias.training.checkpoints import Checkpoints
from jaxalias.training.loop import Hooks, Progress


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return prepare(CONFIG)


@pytest.fixture(scope="module")
def two() -> run.Run:
    """Two students, which go back to their averages where the loss is not finite."""
    optimiser = CONFIG.optimiser.model_copy(update={"rewind_above": 10.0})
    return prepare(CONFIG.model_copy(update={"optimiser": optimiser}), sizes=(3.0, 2.0)).run


@pytest.fixture(scope="module")
def unbroken(prepared: Prepared) -> Progress:
    return loop.advance(prepared.run, loop.begin(prepared.run))


def test_a_run_keeps_its_best_and_a_record_of_every_update(prepared: Prepared, unbroken: Progress) -> None:
    begin = loop.begin(prepared.run)
    assert [record["update"] for record in unbroken.history[0]] == list(range(1, 10))
    validated = {r["update"]: r["validation_loss"] for r in unbroken.history[0] if "validation_loss" in r}
    assert list(validated) == [4, 8, 9]
    assert unbroken.best_loss == [min(begin.best_loss[0], *validated.values())]
    found = prepared.run.validate(unbroken.best)
    np.testing.assert_allclose(found["loss"], unbroken.best_loss, rtol=tolerances.F32_ROUNDING)
    assert {"loss", "ESR", "NMR"} == unbroken.history[0][0].keys() - {"update"}


def test_every_record_is_told_as_it_stands_in_the_history(prepared: Prepared, unbroken: Progress) -> None:
    """In order, and with its validation where there was one."""
    told: list[dict[str, float]] = []
    loop.advance(prepared.run, loop.begin(prepared.run), Hooks(on_update=told.append))
    assert told == unbroken.history[0]


def test_loss_falls_on_a_batch_that_is_heard_again(prepared: Prepared) -> None:
    (draw,), (begin,), (source,) = prepared.run.draw, prepared.run.begin, prepared.run.sources
    batch, state, losses = draw(0), loop.begin(prepared.run).state, []
    state = state._replace(params=state.params | {"head_bias": state.params["head_bias"] + 0.2})
    for _ in range(3):
        state = state._replace(memories=(begin(state.params, batch),))
        for number in range(source.frames):
            state, terms = prepared.run.update(state, [batch], number)
            losses.append(float(terms["loss"][0]))
    first, second, third = np.reshape(losses, (3, -1)).mean(axis=1)
    assert third < second < first


def test_everything_is_traced_once_whatever_the_batch(prepared: Prepared, unbroken: Progress) -> None:
    before = len(prepared.traces)
    again = loop.advance(prepared.run, loop.begin(prepared.run))
    assert len(prepared.traces) == before
    assert prepared.run.compiled.update._cache_size() == 1
    assert_same_numbers(again, unbroken)  # same seed, same numbers


def test_a_run_resumed_from_disk_inside_a_batch_equals_the_unbroken_one(
    prepared: Prepared, unbroken: Progress, tmp_path: Path
) -> None:
    identity, records = CONFIG.model_dump(mode="json"), []
    with closing(Checkpoints(tmp_path / "run", identity)) as first:
        hooks = Hooks(
            on_update=records.append,
            on_checkpoint=lambda parts: first.save(*parts),
            should_stop=lambda: len(records) >= 4,  # read one update late: five are done, in the middle of a batch
        )
        stopped = loop.advance(prepared.run, loop.begin(prepared.run), hooks)
    assert stopped.updates_done % prepared.run.sources[0].frames != 0
    with closing(Checkpoints(tmp_path / "run", identity)) as second:
        assert second.steps()[-1] == stopped.updates_done
        fresh = loop.begin(prepared.run)
        progress = loop.join([second.restore(stopped.updates_done, *loop.split(fresh))], fresh)
    assert progress.updates_done == stopped.updates_done
    assert_same_numbers(loop.advance(prepared.run, progress), unbroken)


@pytest.mark.parametrize("after", [2, 3, 4])
def test_a_run_may_be_broken_off_anywhere(prepared: Prepared, unbroken: Progress, after: int) -> None:
    """Inside a batch, between two, and right behind a validation."""
    assert_same_numbers(broken_off(prepared.run, loop.begin(prepared.run), after), unbroken)


def test_checkpoints_come_when_they_are_due_and_at_the_end(prepared: Prepared) -> None:
    asked: list[int] = []
    saved: list[int] = []

    def is_due(done: int) -> bool:
        asked.append(done)
        return done in (2, 9)

    hooks = Hooks(on_checkpoint=lambda parts: saved.append(parts[0].updates_done), is_due=is_due)
    loop.advance(prepared.run, loop.begin(prepared.run), hooks)
    assert (asked, saved) == (list(range(1, 10)), [2, 9])
    half = loop.advance(prepared.run, loop.begin(prepared.run), hooks, until=4)
    assert (half.updates_done, saved[2:]) == (4, [2, 4])


def poisoned(prepared: run.Run, at: int, student: int = 0) -> run.Run:
    """A run in which parameters are not finite from update `at` on; the loss of that update itself still is."""
    done = 0

    def update(state: Any, batches: Any, number: Any) -> tuple:
        nonlocal done
        done += 1
        state, terms = prepared.update(state, batches, number)
        if done == at:
            state = state._replace(params=jax.tree.map(lambda a: a.at[student].multiply(jnp.nan), state.params))
        return state, terms

    return prepared._replace(update=update)


def test_parameters_that_are_not_finite_stop_the_run_and_name_the_update(prepared: Prepared) -> None:
    saved: list[int] = []
    hooks = Hooks(on_checkpoint=lambda parts: saved.append(parts[0].updates_done), is_due=lambda done: done % 4 == 0)
    broken = poisoned(prepared.run, at=6)
    with pytest.raises(loop.DivergedError, match="after update 7 the parameters are not finite; its loss was nan"):
        loop.advance(broken, loop.begin(broken), hooks)
    assert saved == [4]


def test_no_checkpoint_holds_parameters_that_are_not_finite(prepared: Prepared) -> None:
    hooks = Hooks(on_checkpoint=lambda parts: pytest.fail("saved"), is_due=lambda done: done == 4)
    broken = poisoned(prepared.run, at=4)  # the update right before a checkpoint
    with pytest.raises(loop.DivergedError, match="after update 4 "):
        loop.advance(broken, loop.begin(broken), hooks)


def test_a_student_that_is_not_finite_stops_no_other(two: run.Run) -> None:
    """Its records end, its checkpoints too; the records that are shown are of those that are left."""
    parts: list[Any] = []
    shown: list[dict[str, float]] = []
    hooks = Hooks(on_update=shown.append, on_checkpoint=parts.append, is_due=lambda done: done == 3)
    end = loop.advance(poisoned(two, at=5, student=1), loop.begin(two), hooks)
    plain = loop.advance(two, loop.begin(two))
    assert end.history[0] == plain.history[0]
    assert end.history[1] == plain.history[1][:5]
    assert [[part is not None for part in both] for both in parts] == [[True, True], [True, False]]
    assert shown[3]["loss"] == pytest.approx((plain.history[0][3]["loss"] + plain.history[1][3]["loss"]) / 2)
    assert [record["loss"] for record in shown[5:]] == [record["loss"] for record in plain.history[0][5:]]


def with_a_nan(prepared: run.Run, at: int, student: int = 0) -> run.Run:
    """A run in which one target of one student is not finite in one update."""

    def update(state: Any, batches: Any, number: Any) -> tuple:
        if number + 1 == at:
            batches = [b._replace(targets=b.targets.at[student, 0, :, 0].set(jnp.nan)) for b in batches]
        return prepared.update(state, batches, number)

    return prepared._replace(update=update)


def test_a_loss_that_is_not_finite_sends_a_student_to_its_average_and_the_run_goes_on(two: run.Run) -> None:
    """It stays in the records as it was; the other student does not notice."""
    end = loop.advance(with_a_nan(two, at=5), loop.begin(two))
    plain = loop.advance(two, loop.begin(two))
    losses = np.array([record["loss"] for record in end.history[0]])
    np.testing.assert_array_equal(np.isnan(losses), np.arange(1, 10) == 5)
    assert losses[:4].tolist() == [record["loss"] for record in plain.history[0][:4]]
    assert end.history[1] == plain.history[1]
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((end.state, end.best)))
    assert end.updates_done == 9
    before = loop.advance(two, loop.begin(two), until=4)
    average = jax.tree.map(np.array, before.state.average)
    rewound = loop.advance(with_a_nan(two, at=5), before, until=5)
    for found, wanted in zip(jax.tree.leaves(rewound.state.params), jax.tree.leaves(average), strict=True):
        np.testing.assert_allclose(found[0], wanted[0], rtol=tolerances.F32_ROUNDING)


def test_without_a_way_back_it_ends_the_student(prepared: Prepared) -> None:
    broken = with_a_nan(prepared.run, at=5)
    with pytest.raises(loop.DivergedError, match="after update 5 the parameters are not finite; its loss was nan"):
        loop.advance(broken, loop.begin(broken))


def test_average_is_an_exponential_moving_one(prepared: Prepared) -> None:
    (draw,), (begin,) = prepared.run.draw, prepared.run.begin
    batch, state = draw(5), loop.begin(prepared.run).state
    state = state._replace(memories=(begin(state.params, batch),))
    average = jax.tree.map(np.array, state.params)
    for number in range(3):
        state, _ = prepared.run.update(state, [batch], number)
        average = jax.tree.map(lambda old, new: 0.5 * old + 0.5 * np.array(new), average, state.params)
    for ours, wanted in zip(jax.tree.leaves(state.average), jax.tree.leaves(average), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=tolerances.F32_ROUNDING, atol=tolerances.F32_ROUNDING)


def test_rates_are_numbers_of_a_run_and_none_of_its_program(prepared: Prepared, unbroken: Progress) -> None:
    run_at = prepared.run._replace(rates=(0.0025,))
    assert loop.begin(run_at).state.rate.tolist() == [np.float32(0.0025)]
    slow = loop.advance(with_config(run_at, updates=2), loop.begin(run_at))
    assert slow.history[0][0] == unbroken.history[0][0]  # the loss before the first step
    assert slow.history[0][1]["loss"] != unbroken.history[0][1]["loss"]
    assert prepared.run.compiled.update._cache_size() == 1
