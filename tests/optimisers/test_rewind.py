"""A spike of the loss leads back to the average, and is forgotten."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from small_runs import CONFIG, prepare, update_by_hand

from jaxalias.optimisers.rewind import rewind_above
from jaxalias.training import loop

PARAMS = {"a": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}
AVERAGE = {"a": jnp.array([7.0, 8.0]), "b": jnp.array(9.0)}
STEPS = rewind_above(10.0, optax.with_extra_args_support(optax.adam(0.1)))


def gradient(number: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(number)
    return {"a": random.standard_normal(2), "b": random.standard_normal()}


@jax.jit
def step(gradient: Any, state: Any, params: Any, loss: Any, number: Any) -> tuple[Any, Any]:
    updates, state = STEPS.update(gradient, state, params, loss=loss, average=AVERAGE, number=number)
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


def rewound(params: Any) -> bool:
    return bool(np.allclose(params["a"], AVERAGE["a"], rtol=1e-6))


def moves(found: list[Any]) -> list[np.ndarray]:
    return [np.asarray(one["a"] - other["a"]) for one, other in zip(found[1:], found, strict=False)]


@pytest.mark.parametrize("spike", [30.0, np.inf, np.nan])
def test_a_spike_leads_to_the_average_and_leaves_no_trace(spike: float) -> None:
    """The steps after it are those of a run that has not met it."""
    losses = usual(130)
    with_spike = follow([*losses[:120], spike, *losses[120:]], [gradient(i - (i > 120)) for i in range(131)])
    assert rewound(with_spike[120])
    np.testing.assert_allclose(moves(with_spike)[120:], moves(follow(losses))[119:], rtol=1e-4, atol=1e-5)


def test_a_gradient_that_is_not_finite_is_a_spike_at_any_time() -> None:
    gradients = [gradient(i) for i in range(20)]
    gradients[7] = {"a": np.array([1.0, np.inf]), "b": 0.0}
    found = follow(usual(20), gradients)
    assert [rewound(params) for params in found] == [number == 7 for number in range(20)]
    assert np.isfinite(found[-1]["a"]).all()


def test_in_the_first_hundred_updates_nothing_finite_is_a_spike() -> None:
    losses = usual(130)
    losses[99], losses[100] = 1000.0, 2000.0
    found = follow(losses)
    assert [rewound(params) for params in found] == [number == 100 for number in range(130)]


def test_a_loss_that_stays_high_becomes_usual() -> None:
    """e^5 times as high is 2.7 above the bound; each spike raises it by a hundredth of log(10)."""
    found = follow([1.0] * 100 + [float(np.exp(5))] * 200)
    last = 99 + int(np.ceil((5 - np.log(10)) / (np.log(10) / 100)))
    assert [rewound(params) for params in found] == [99 < number <= last for number in range(300)]


def test_an_update_of_a_run_leads_to_its_average_where_the_loss_is_a_spike() -> None:
    optimiser = CONFIG.optimiser.model_copy(update={"rewind_above": 10.0})
    run, back = prepare(CONFIG.model_copy(update={"optimiser": optimiser})).run, []
    for usual in (0.0, -100.0):
        begin = loop.begin(run).state
        average = jax.tree.map(lambda a: a + 0.125, begin.average)
        wanted = np.asarray(average["head_weight"])
        begin = begin._replace(average=average, optimiser=begin.optimiser._replace(usual=jnp.array([usual])))
        after, _ = update_by_hand(run, begin, number=201)
        back.append(np.allclose(after.params["head_weight"], wanted, rtol=1e-6))
    assert back == [False, True]
