"""SOAP: Adam where there are no axes, the same answer in any axes, and sooner at the end of a skewed valley."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pydantic import ValidationError
from scipy.stats import ortho_group
from small_runs import CONFIG, LSTM, assert_same_numbers, broken_off, prepare

from jaxalias.config import CurvatureConfig, OptimiserConfig, SoapConfig
from jaxalias.optimisers.soap import scale_by_soap
from jaxalias.training import loop


def follow(steps: Any, gradients: list[dict[str, np.ndarray]]) -> list[dict[str, jax.Array]]:
    """The directions for gradients in a row."""
    gradients = jax.tree.map(jnp.asarray, gradients)
    state, found, update = steps.init(gradients[0]), [], jax.jit(steps.update)
    for number, gradient in enumerate(gradients):
        direction, state = update(gradient, state, number=number)
        found.append(direction)
    return found


def some_gradients(count: int = 8) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    return [{"w": random.standard_normal((5, 3)), "b": random.standard_normal(5)} for _ in range(count)]


def test_it_is_adam_until_the_axes_are_known_and_for_vectors() -> None:
    gradients = some_gradients()
    adam = follow(optax.with_extra_args_support(optax.scale_by_adam(b1=0.9, b2=0.99)), gradients)
    for found, wanted in zip(follow(scale_by_soap(100), gradients), adam, strict=True):
        np.testing.assert_allclose(found["w"], wanted["w"], rtol=1e-10)
    for found, wanted in zip(follow(scale_by_soap(2), gradients), adam, strict=True):
        np.testing.assert_allclose(found["b"], wanted["b"], rtol=1e-10)


def test_turned_gradients_have_turned_directions() -> None:
    """What Adam cannot do: its directions depend on the axes in which the weights are written down."""
    random = np.random.default_rng(1)
    rows, columns = ortho_group.rvs(4, random_state=random), ortho_group.rvs(4, random_state=random)
    plain = [{"w": random.standard_normal((4, 4))} for _ in range(6)]
    turned = [{"w": rows @ g["w"] @ columns.T} for g in plain]
    for one, other in zip(*(follow(scale_by_soap(1), gradients) for gradients in (plain, turned)), strict=True):
        np.testing.assert_allclose(other["w"], rows @ one["w"] @ columns.T, atol=1e-6)  # measured: 6e-8


def test_it_learns_a_skewed_regression_better_than_adam() -> None:
    """B W x against B V x, x and B of condition 30 along no axis of W; the same rate, the same noisy batches."""
    random = np.random.default_rng(2)
    spread = np.diag(np.geomspace(1, 1 / 30, 8))
    a, b = (ortho_group.rvs(8, random_state=random) @ spread @ ortho_group.rvs(8, random_state=random) for _ in "ab")
    goal, inputs = random.standard_normal((8, 8)), random.standard_normal((600, 8, 16))

    @jax.jit
    @jax.value_and_grad
    def loss(w: jax.Array, x: np.ndarray) -> jax.Array:
        return jnp.mean((b @ (w - goal) @ a @ x) ** 2)

    def reached(directions: Any) -> float:
        steps = optax.chain(directions, optax.scale_by_learning_rate(optax.cosine_decay_schedule(0.03, len(inputs))))
        update, w, state = jax.jit(steps.update), jnp.zeros((8, 8)), steps.init(jnp.zeros((8, 8)))
        for number, x in enumerate(inputs):
            step, state = update(loss(w, x)[1], state, number=number)
            w = w + step
        return float(loss(w, np.eye(8))[0])

    adam = optax.with_extra_args_support(optax.scale_by_adam())
    assert reached(scale_by_soap(10)) < 0.5 * reached(adam)  # measured: 0.28


def test_students_trained_together_renew_their_axes_only_when_it_is_time() -> None:
    steps, gradient = scale_by_soap(10), {"w": jnp.ones((2, 5, 3))}

    def update(number: Any) -> Any:
        return jax.vmap(lambda g: steps.update(g, steps.init(g), number=number))(gradient)

    always = {equation.primitive.name for equation in jax.make_jaxpr(update)(7).eqns}
    assert "cond" in always and "eigh" not in always


def test_a_run_goes_on_as_if_unbroken() -> None:
    """Broken off between two renewals, so that the axes have to come back too."""
    optimiser = CONFIG.optimiser.model_copy(update={"learning_rate": 0.003, "soap": SoapConfig(renew_every=3)})
    run = prepare(CONFIG.model_copy(update={"optimiser": optimiser, "updates": 14}), LSTM).run
    assert_same_numbers(broken_off(run, loop.begin(run), 10), loop.advance(run, loop.begin(run)))


def test_two_kinds_of_steps_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"optimiser.soap must be none with optimiser.curvature"):
        OptimiserConfig(soap=SoapConfig(), curvature=CurvatureConfig())
