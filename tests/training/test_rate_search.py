"""The search for a learning rate: the highest of the halved ones that does little harm; its updates are the run's."""

from typing import Any

import numpy as np
import pytest
from small_runs import (
    CONFIG,
    LSTM,
    RATE,
    assert_same_numbers,
    broken_off,
    params_of,
    prepare,
    tasks_of,
    with_config,
)

from jaxalias import models
from jaxalias.config import RateSearchConfig
from jaxalias.training import loop, rate_search, run
from jaxalias.training.loop import Hooks, Progress
from jaxalias.training.run import Run

TRIED = 4  # updates
SEARCHING = CONFIG.model_copy(update={"rate_search": RateSearchConfig(updates=TRIED, most_loss=1.5, most_esr=9.0)})


def at_rates(run: Run, *rates: float) -> Run:
    """The same program with other rates in the configs: it takes them as numbers."""
    return run._replace(rates=rates)


def found(run: Run, **hooks: Any) -> list[float]:
    return rate_search.begin(run, Hooks(**hooks)).state.rate.tolist()


@pytest.fixture(scope="module")
def large() -> Run:
    return prepare(SEARCHING).run


@pytest.fixture(scope="module")
def rate(large: Run) -> float:
    """What the search finds below 1."""
    (rate,) = found(at_rates(large, 1.0))
    return rate


def lift(run: Run, rate: float) -> float:
    """By what the first updates at that rate multiply the validation loss of a run of one student."""
    begin = loop.begin(run, [rate])
    tried = loop.advance(run, begin, until=TRIED)
    assert tried.updates_done == TRIED
    return float(run.validate(tried.state.average)["loss"][0]) / begin.best_loss[0]


def test_the_rate_is_the_first_of_the_halved_ones_that_does_little_harm(large: Run, rate: float) -> None:
    assert rate in [0.5**halvings for halvings in range(1, 12)]
    assert lift(large, rate) <= 1.5 < lift(large, 2 * rate)
    assert found(at_rates(large, rate)) == [rate]


def test_the_error_of_the_tones_may_not_be_large_however_small_the_loss(large: Run, rate: float) -> None:
    begin = loop.begin(large, [rate])
    esr = float(large.validate(loop.advance(large, begin, until=TRIED).state.average)["ESR"][0])
    stricter = RateSearchConfig(updates=TRIED, most_loss=1e9, most_esr=0.9 * esr)
    assert found(with_config(at_rates(large, rate), rate_search=stricter))[0] < rate


def test_an_error_that_was_large_before_only_may_not_grow() -> None:
    """A student that begins far from its teacher, as the small model of a container, keeps a rate that helps it."""
    model, (task,) = models.build(LSTM), tasks_of(SEARCHING)
    far = run.prepare(model, [task._replace(initial=params_of(model, 1.0))], RATE)
    before = float(far.validate(loop.begin(far).state.average)["ESR"][0])
    strict = RateSearchConfig(updates=TRIED, most_loss=1.5, most_esr=before / 10)
    assert found(with_config(at_rates(far, 2**-7), rate_search=strict)) == [2**-7]


def test_the_updates_of_the_trial_that_passed_are_the_first_of_the_run(large: Run, rate: float) -> None:
    """Then and at the end it is where an unbroken run at that rate is, records and all."""
    begun = rate_search.begin(at_rates(large, 1.0))
    plain = loop.advance(large, loop.begin(large, [rate]), until=TRIED)
    assert begun.updates_done == TRIED
    assert_same_numbers(begun, plain)
    whole = loop.advance(large, loop.begin(large, [rate]))
    assert_same_numbers(loop.advance(large, rate_search.begin(at_rates(large, 1.0))), whole)
    assert_same_numbers(broken_off(large, rate_search.begin(at_rates(large, 1.0)), TRIED + 1), whole)


def test_students_together_are_given_what_each_finds_alone(large: Run, rate: float) -> None:
    three = at_rates(prepare(SEARCHING, sizes=(3.0, 1.0, 3.0)).run, 1.0, 1.0, 0.001)
    begun = rate_search.begin(three)
    (of_small,) = found(at_rates(prepare(SEARCHING, sizes=(1.0,)).run, 1.0))
    np.testing.assert_array_equal(begun.state.rate, np.float32([rate, of_small, 0.001]))
    assert begun.updates_done == TRIED
    assert [len(records) for records in begun.history] == [TRIED] * 3


def test_a_rate_whose_numbers_are_not_finite_does_harm_and_there_are_twelve_halvings(large: Run) -> None:
    seen: list[float] = []
    with pytest.raises(loop.DivergedError):
        rate_search.begin(at_rates(large, 1e30), Hooks(on_update=lambda record: seen.append(record["update"])))
    assert seen.count(1) <= 13  # trials


def test_the_rate_after_twelve_halvings_is_kept_whatever_it_does(large: Run) -> None:
    never = RateSearchConfig(updates=TRIED, most_loss=1.5, most_esr=1e-30)
    begun = rate_search.begin(with_config(at_rates(large, 1.0), rate_search=never))
    assert (begun.updates_done, begun.state.rate.tolist()) == (TRIED, [2**-12])


def test_without_a_search_the_rate_is_that_of_the_config(large: Run) -> None:
    run = with_config(at_rates(large, 1.0), rate_search=None)
    begun = rate_search.begin(run, Hooks(on_update=lambda record: pytest.fail("an update")))
    assert (begun.updates_done, begun.state.rate.tolist()) == (0, [1.0])


def test_a_run_that_is_shorter_than_its_search_is_over_with_it(large: Run, rate: float) -> None:
    short = with_config(at_rates(large, rate), updates=2)
    begun = rate_search.begin(short)
    assert begun.updates_done == 2
    assert [record["update"] for record in loop.advance(short, begun).history[0]] == [1, 2]


@pytest.mark.parametrize("trials", [0, 1, 2])
def test_stopped_within_a_trial_it_goes_on_to_the_same_numbers(large: Run, rate: float, trials: int) -> None:
    highest = at_rates(large, 2 * rate)
    seen: list[float] = []
    saved: list[list[Progress | None]] = []
    stop_at = trials * TRIED + 2
    hooks = Hooks(
        on_update=lambda record: seen.append(record["update"]), on_checkpoint=saved.append,
        is_due=lambda done: True, should_stop=lambda: len(seen) >= stop_at,
    )  # fmt: skip
    stopped = rate_search.begin(highest, hooks)
    assert 0 < stopped.updates_done < TRIED or trials == 2
    assert all(part and part.updates_done < TRIED for parts in saved for part in parts)
    parts = [part for part in saved[-1] if part]
    again = rate_search.begin(highest, saved=loop.join(parts, loop.begin(highest)))
    assert_same_numbers(again, rate_search.begin(highest))
    assert again.state.rate.tolist() == [rate]


def test_progress_beyond_the_trial_is_not_tried_again(large: Run) -> None:
    beyond = loop.advance(large, loop.begin(large, [0.0025]), until=TRIED)
    assert rate_search.begin(large, Hooks(on_update=lambda record: pytest.fail("an update")), beyond) is beyond


def test_a_run_goes_on_from_a_checkpoint_at_the_rate_that_it_began_with(large: Run) -> None:
    lower = [0.0025]
    resumed = broken_off(large, loop.begin(large, lower), 5)
    assert_same_numbers(resumed, loop.advance(large, loop.begin(large, lower)))
    assert np.asarray(resumed.state.rate) == np.float32(lower)
    plain = loop.advance(large, loop.begin(large))
    assert plain.history[0][0] == resumed.history[0][0]
    assert plain.history[0][-1] != resumed.history[0][-1]
