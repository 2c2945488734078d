"""Gauss-Newton steps: against curvature formed in full, Newton's own step, and the batch's gradient."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tolerances
from test_training import CONFIG, LSTM, WAVENET, assert_same_numbers, interrupted, prepare

from jaxalias import losses, models
from jaxalias.config import CurvatureConfig, FineTuneConfig, LossConfig, NMRConfig, OptimiserConfig, SineConfig
from jaxalias.optimisers import gauss_newton
from jaxalias.signals import periodic_tones, sines
from jaxalias.training import learning, loop

RATE, FRAME, BATCH = 44_100, 2048, 3
REFERENCE = jnp.array([0.0, 0.5, 0.0])  # one row is measured against another power than its own
LOSS = LossConfig(nmr=NMRConfig(of="aliases", weight=0.1, reduction="soft_hinge"))
PARAMS = {"a": {"conv": {"weight": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(2)}}, "b": {"w": {"c": jnp.ones(4)}}}


def aliasing(kind: Any) -> tuple:
    """A small model that clips, and tones with their targets."""
    model = models.build(kind)
    params = jax.tree.map(lambda a: 3 * a, models.cast(model.init(jax.random.key(1)), "float64"))
    key = jax.random.key(0)
    tones = sines.draw(key, BATCH, midi_low=60.0, midi_high=110.0, sample_rate=RATE, dtype="float64")
    tones, cycle = periodic_tones.repeating(key, tones, FRAME)
    x = sines.render(tones, FRAME)
    y = periodic_tones.harmonic_part(0.7 * jnp.tanh(4 * x), cycle)
    before = model.initial_state(params, BATCH)

    def play(params: Any, x: jax.Array, cycle: periodic_tones.Cycle, before: Any) -> tuple:
        return model.apply(params, x, before)

    return model, params, play, (x, y, tones.increment, cycle, before)


@pytest.mark.parametrize("kind", [LSTM, WAVENET], ids=["lstm", "wavenet"])
def test_gradients_of_tones_average_to_that_of_the_batch(kind: Any) -> None:
    model, params, play, tones = aliasing(kind)
    x, y, increment, cycle, before = tones
    loss = losses.build(LOSS, RATE)
    learn = jax.jit(learning.tone_by_tone(model, play, loss))
    keys = jax.random.split(jax.random.key(2), BATCH)
    gradients, _, differences, after = learn(params, loss.weights, x, y, cycle, REFERENCE, before, keys)

    def whole(params: Any) -> Any:
        measured = loss.measure(model.apply(params, x, before)[0], y, increment, cycle, REFERENCE)
        return losses.total(loss.terms(measured), loss.weights)

    wanted = jax.jit(jax.grad(whole))(params)
    for found, right in zip(jax.tree.leaves(gradients), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(found.mean(axis=0), right, rtol=1e-8, atol=1e-12)
    estimate, state = model.apply(params, x, before)
    measured = loss.measure(estimate, y, increment, cycle, REFERENCE)
    for found, right in zip(jax.tree.leaves((differences, after)), jax.tree.leaves((measured, state)), strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-9, atol=tolerances.F64)


def test_probes_have_the_gauss_newton_matrix_as_their_mean_square() -> None:
    """J^T J formed from the whole derivative of the residuals, weighed by the slopes of the loss."""
    model, params, play, tones = aliasing(WAVENET)
    x, y, increment, cycle, before = tones
    loss = losses.build(LOSS, RATE)
    flat, unravel = jax.flatten_util.ravel_pytree(params)

    def weighed(flat: jax.Array) -> jax.Array:
        r, _ = loss.residuals(model.apply(unravel(flat), x, before)[0], y, cycle)
        noise = slopes.nmr[:, None, None] ** 0.5 * r.noise
        parts = (slopes.error[:, None] ** 0.5 * r.error, noise.real.reshape(BATCH, -1), noise.imag.reshape(BATCH, -1))
        return jnp.concatenate(parts, axis=1)

    differences = jax.jit(lambda p: loss.measure(model.apply(p, x, before)[0], y, increment, cycle))(params)
    slopes = jax.grad(lambda d: BATCH * losses.total(loss.terms(d), loss.weights))(differences)
    jacobian = jax.jit(jax.jacfwd(weighed))(flat)
    learn = jax.jit(learning.tone_by_tone(model, play, loss))
    mean, count = 0.0, 200
    for index in range(count):
        keys = jax.random.split(jax.random.key(index), BATCH)
        _, probes, _, _ = learn(params, loss.weights, x, y, cycle, jnp.zeros(BATCH), before, keys)
        u = jax.vmap(lambda tree: jax.flatten_util.ravel_pytree(tree)[0])(probes)
        mean += np.einsum("bp,bq->bpq", u, u) / count
    wanted = np.einsum("bip,biq->bpq", jacobian, jacobian)
    for found, right in zip(mean, wanted, strict=True):
        assert np.linalg.norm(found - right) < 6 * np.trace(right) / np.sqrt(count)


def test_blocks_are_layers_and_come_back_whole() -> None:
    vectors = gauss_newton.blocks(PARAMS)
    assert {name: v.size for name, v in vectors.items()} == {"a": 8, "b": 4}
    back = gauss_newton.unblocked(vectors, PARAMS)
    assert jax.tree.all(jax.tree.map(np.array_equal, back, PARAMS))


def test_a_curvature_that_fills_the_memory_is_refused() -> None:
    wide = {"array_0": {"layer_0": {"conv": {"weight": jax.ShapeDtypeStruct((200, 200), jnp.float32)}}}}
    with pytest.raises(ValueError, match=r"takes 12 GiB, more than 4 \(largest layer: array_0/layer_0, 40000 param"):
        gauss_newton.refuse_too_large(jax.tree.map(lambda s: np.zeros(s.shape, s.dtype), wide))


def test_a_quadratic_is_at_its_minimum_after_one_step() -> None:
    """Residuals A (p - p*) of one layer; probes of every one of them, so that nothing is left to chance."""
    random = np.random.default_rng(0)
    a, goal = random.standard_normal((20, 4)), random.standard_normal(4)
    params = {"one": {"w": {"c": jnp.zeros(4)}}}
    steps = gauss_newton.scale_by_curvature(CurvatureConfig(damping=1e-9, renew_every=2))
    state = steps.init(params)
    probes = {"one": {"w": {"c": jnp.asarray(np.sqrt(20) * a)}}}  # their mean square is A^T A
    gradient = {"one": {"w": {"c": jnp.asarray(2 * a.T @ (a @ -goal))}}}
    nothing, state = steps.update(gradient, state, params, probes=probes, number=0)
    np.testing.assert_array_equal(nothing["one"]["w"]["c"], 0)
    direction, state = steps.update(gradient, state, params, probes=probes, number=1)
    np.testing.assert_allclose(-direction["one"]["w"]["c"], goal, rtol=1e-8)


def test_students_trained_together_factorise_only_when_it_is_time() -> None:
    """Under `jax.vmap` a condition that differs between students would become both of its branches, every update."""
    steps = gauss_newton.scale_by_curvature(CurvatureConfig())
    twice = jax.tree.map(lambda a: jnp.stack([a, a]), PARAMS)
    probes = jax.tree.map(lambda a: jnp.ones((2, 3, *a.shape[1:])), twice)

    def update(number: Any) -> Any:
        one = lambda g, probes: steps.update(g, steps.init(g), probes=probes, number=number)  # noqa: E731
        return jax.vmap(one)(twice, probes)

    always = {equation.primitive.name for equation in jax.make_jaxpr(update)(7).eqns}
    assert "cond" in always and "cholesky" not in always


NEWTON = CONFIG.model_copy(
    update={
        "updates": 40,
        "sines": SineConfig(whole_cycles=True, settling_s=0.01, analysed_s=3 * FRAME / RATE),
        "loss": LOSS,
        "optimiser": OptimiserConfig(
            learning_rate=0.3, clip_norm=0.5, curvature=CurvatureConfig(damping=0.1, memory=100, renew_every=5)
        ),
    }
)


def test_a_run_learns_and_goes_on_from_a_checkpoint_as_if_unbroken(tmp_path: Path) -> None:
    """Stopped between two factorisations, so that what the steps are made with has to come back too."""
    run = prepare(NEWTON, WAVENET).run
    start = loop.begin(run)
    end = loop.advance(run, start)
    assert end.best_loss[0] < 0.9 * start.best_loss[0]
    stopped, resumed = interrupted(run, tmp_path, 10)
    assert stopped % 2  # renewed every second update: a twentieth of 40
    assert_same_numbers(resumed, end)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": LossConfig()}, "optimiser.curvature needs loss.nmr.of = aliases, got error"),
        ({"loss": LOSS.model_copy(update={"dc_weight": 1.0})}, "optimiser.curvature needs loss.dc_weight = 0"),
        ({"sines": SineConfig()}, "loss.nmr.of = aliases needs sines.whole_cycles = true"),
        ({"table_tones": 10}, "table_tones must be none with sines.whole_cycles"),
    ],
)
def test_what_has_no_curvature_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FineTuneConfig.model_validate(NEWTON.model_copy(update=change).model_dump())


def test_newton_directions_go_through_a_chain_of_optax() -> None:
    steps = optax.chain(gauss_newton.scale_by_curvature(CurvatureConfig(renew_every=1)), optax.scale(-1.0))
    probes = jax.tree.map(lambda a: jnp.ones((2, *a.shape)), PARAMS)
    found, _ = steps.update(PARAMS, steps.init(PARAMS), PARAMS, probes=probes, number=0)
    assert jax.tree.structure(found) == jax.tree.structure(PARAMS)
