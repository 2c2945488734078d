"""A spike of the loss moves nothing, and what comes after it goes on as if it had not been."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_training import CONFIG, prepare

from jaxalias import training
from jaxalias.spikes import skip_spikes

PARAMS = {"a": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}
STEPS = skip_spikes(optax.with_extra_args_support(optax.adam(0.1)), 10.0)


def gradient(number: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(number)
    return {"a": random.standard_normal(2), "b": random.standard_normal()}


@jax.jit
def step(gradient: Any, state: Any, params: Any, loss: Any, number: Any) -> tuple[Any, Any]:
    updates, state = STEPS.update(gradient, state, params, loss=loss, number=number)
    return optax.apply_updates(params, updates), state


def follow(losses: list[float], gradients: list[Any] | None = None) -> list[Any]:
    """The parameters after every update."""
    state, params, found = STEPS.init(PARAMS), PARAMS, []
    for number, loss in enumerate(losses):
        given = gradient(number) if gradients is None else gradients[number]
        params, state = step(given, state, params, loss, number)
        found.append(params)
    return found


def usual(count: int) -> list[float]:
    return np.exp(np.random.default_rng(0).normal(0, 0.5, count)).tolist()


@pytest.mark.parametrize("spike", [30.0, np.inf, np.nan])
def test_a_spike_moves_nothing_and_is_forgotten(spike: float) -> None:
    losses = usual(130)
    with_spike = follow([*losses[:120], spike, *losses[120:]], [gradient(i - (i > 120)) for i in range(131)])
    without = follow(losses)
    np.testing.assert_array_equal(with_spike[120]["a"], with_spike[119]["a"])
    assert not np.array_equal(with_spike[121]["a"], with_spike[120]["a"])
    np.testing.assert_allclose(with_spike[-1]["a"], without[-1]["a"], rtol=1e-6)


def test_a_gradient_that_is_not_finite_is_a_spike_at_any_time() -> None:
    gradients = [gradient(i) for i in range(20)]
    gradients[7] = {"a": np.array([1.0, np.inf]), "b": 0.0}
    found = follow(usual(20), gradients)
    np.testing.assert_array_equal(found[7]["a"], found[6]["a"])
    assert np.isfinite(found[-1]["a"]).all() and not np.array_equal(found[8]["a"], found[7]["a"])


def test_in_the_first_hundred_updates_nothing_finite_is_left_out() -> None:
    losses = usual(130)
    losses[99], losses[100] = 1000.0, 2000.0
    found = follow(losses)
    assert not np.array_equal(found[99]["a"], found[98]["a"])
    np.testing.assert_array_equal(found[100]["a"], found[99]["a"])


def test_a_loss_that_stays_high_becomes_usual() -> None:
    """e^5 times as high is 2.7 above the bound; each spike raises it by a hundredth of log(10)."""
    found = follow([1.0] * 100 + [float(np.exp(5))] * 200)
    moved = [not np.array_equal(one["a"], other["a"]) for one, other in zip(found[1:], found, strict=False)]
    first = 100 + moved[99:].index(True)
    assert first == 100 + int(np.ceil((5 - np.log(10)) / (np.log(10) / 100)))
    assert all(moved[first:])


def test_an_update_of_a_run_is_left_out_where_its_loss_is_a_spike() -> None:
    optimiser = CONFIG.optimiser.model_copy(update={"skip_spikes": 10.0})
    run = prepare(CONFIG.model_copy(update={"optimiser": optimiser})).run
    drawn, learned = run.draw(jax.random.key(0)[None]), []
    for usual in (0.0, -100.0):
        begin = training.begin(run).state
        before = jax.tree.map(np.asarray, begin.params)
        begin = begin._replace(optimiser=begin.optimiser._replace(usual=jnp.array([usual])))
        after, _ = run.update(run.lead_in(begin, drawn), drawn, 200)
        learned.append(not np.array_equal(after.params["head_weight"], before["head_weight"]))
    assert learned == [True, False]
