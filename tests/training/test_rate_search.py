"""The trial of the learning rate: the highest of the halved ones that does little harm, and the run keeps it."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_training import CONFIG, LSTM, RATE, assert_same_numbers, interrupted

from jaxalias import models
from jaxalias.config import TrialConfig
from jaxalias.training import loop, rate_search, runs
from jaxalias.training.exercises import Student


def prepare(*sizes: float) -> runs.Run:
    """Copies of teachers whose weights are so many times as large."""
    config = CONFIG.model_copy(update={"trial": TrialConfig(updates=4, most_loss=1.5, most_esr=9.0)})
    model = models.build(LSTM)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: jnp.asarray(rng.uniform(-1, 1, a.shape), jnp.float32), shapes)
    students = [Student("amp", jax.tree.map(lambda a, size=size: size * a, params), config) for size in sizes]
    return runs.prepare(model, students, RATE)


def at_rates(run: runs.Run, *rates: float) -> runs.Run:
    """The same program with other rates in the configs: it takes them as numbers."""

    def changed(student: Student, rate: float) -> Student:
        optimiser = student.config.optimiser.model_copy(update={"learning_rate": rate})
        return student._replace(config=student.config.model_copy(update={"optimiser": optimiser}))

    return run._replace(students=tuple(map(changed, run.students, rates)))


@pytest.fixture(scope="module")
def large() -> runs.Run:
    return prepare(3.0)


def lift(run: runs.Run, rate: float) -> float:
    """By what the first updates at that rate multiply the validation loss of a run of one student."""
    begin = loop.begin(run, [rate])
    tried = loop.advance(run, begin, until=4)
    assert tried.updates_done == 4
    return float(run.validate(tried.state.average)["loss"][0]) / begin.best_loss[0]


def test_the_rate_is_the_first_of_the_halved_ones_that_does_little_harm(large: runs.Run) -> None:
    (rate,) = rate_search.find(at_rates(large, 1.0))
    assert rate in [0.5**halvings for halvings in range(1, 12)]
    assert lift(large, rate) <= 1.5 < lift(large, 2 * rate)
    assert rate_search.find(at_rates(large, rate)) == [rate]


def test_students_together_are_given_what_each_finds_alone(large: runs.Run) -> None:
    found = rate_search.find(at_rates(prepare(3.0, 1.0, 3.0), 1.0, 1.0, 0.001))
    alone = rate_search.find(at_rates(large, 1.0)), rate_search.find(at_rates(prepare(1.0), 1.0))
    assert found == [*alone[0], *alone[1], 0.001]
    assert found[2] < found[0]


def test_a_rate_whose_numbers_are_not_finite_does_harm_and_there_are_twelve_halvings(large: runs.Run) -> None:
    assert rate_search.find(at_rates(large, 1e30)) == [1e30 / 2**12]


def test_without_a_trial_the_rate_is_that_of_the_config(large: runs.Run) -> None:
    (student,) = large.students
    untried = student._replace(config=student.config.model_copy(update={"trial": None}))
    run = at_rates(large._replace(students=(untried,)), 1.0)
    assert rate_search.find(run, on_update=lambda record: pytest.fail("an update")) == [1.0]


def test_asked_to_stop_it_does_not_try_again(large: runs.Run) -> None:
    seen: list[dict[str, float]] = []
    rate_search.find(at_rates(large, 1.0), on_update=seen.append, should_stop=lambda: len(seen) >= 2)
    assert [record["update"] for record in seen] == [1, 2, 3]  # read one update late


def test_a_run_goes_on_from_a_checkpoint_at_the_rate_that_it_began_with(large: runs.Run, tmp_path: Path) -> None:
    lower = [0.0025]
    _, resumed = interrupted(large, tmp_path, 5, lower)
    assert_same_numbers(resumed, loop.advance(large, loop.begin(large, lower)))
    assert np.asarray(resumed.state.rate) == np.float32(lower)
    plain = loop.advance(large, loop.begin(large))
    assert plain.history[0][0] == resumed.history[0][0]
    assert plain.history[0][-1] != resumed.history[0][-1]
