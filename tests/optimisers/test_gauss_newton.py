"""Gauss-Newton steps: against curvature formed in full, Newton's own step, and the batch's gradient."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tolerances
from jax.flatten_util import ravel_pytree
from small_runs import (
    CONFIG,
    FRAME,
    LSTM,
    RATE,
    WAVENET,
    Kind,
    assert_same_numbers,
    broken_off,
    music_config,
    prepare,
    tasks_of,
)

from jaxalias import models, optimisers
from jaxalias.config import (
    CurvatureConfig,
    ESRConfig,
    FineTuneConfig,
    LossConfig,
    NMRConfig,
    OptimiserConfig,
    SineConfig,
)
from jaxalias.losses import terms
from jaxalias.optimisers import gauss_newton
from jaxalias.training import gradients, loop, plan, sources, students

HINGE = NMRConfig(weight=0.1, reduction="soft_hinge", knee=0.03)
OF_TONES = LossConfig(
    nmr=NMRConfig(weight=0.05, phase="counts", reduction="pseudo_huber", knee=0.03), aliases=HINGE, lowpass=None
)
OF_MUSIC = LossConfig(esr=ESRConfig(weight=1.5), nmr=HINGE, lowpass=None)
HIGH = LossConfig(esr=ESRConfig(weight=4.0), nmr=HINGE.model_copy(update={"weight": 0.3}), lowpass=None)
NEWTON = CONFIG.model_copy(
    update={
        "updates": 40,
        "batch_size": 3,
        "sines": SineConfig(whole_cycles=True, midi_low=60.0, midi_high=110.0),
        "loss": OF_TONES,
        "music": music_config(2, 1, frame_s=2 * FRAME / RATE, loss=OF_MUSIC),
        "optimiser": OptimiserConfig(
            learning_rate=0.3, clip_norm=0.5, curvature=CurvatureConfig(damping=0.1, memory=100, renew_every=5)
        ),
    }
)
PARAMS = {"a": {"conv": {"weight": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(2)}}, "b": {"w": {"c": jnp.ones(4)}}}


class Begun(NamedTuple):
    """A model near its teacher, and a frame of each source of a run."""

    every: tuple[sources.Source, ...]
    params: models.Params
    weights: dict[str, Any]
    frames: list[sources.Frame]
    memories: list[models.State]
    learn: gradients.Learn  # row by row; the number of an update below 0 has no sample
    loops: list[Any]  # one entry for every loop over rows that JAX traced


def begun(kind: Kind) -> Begun:
    """Of tones, music and high playing; a recurrent model has tones that are no cycles, and a state to carry on.

    The functions are those of a program, which has fixed weights.
    """
    high = music_config(1, 1, frame_s=2 * FRAME / RATE, loss=HIGH)
    config = NEWTON.model_copy(update={"precision": "float64", "high_playing": high})
    if kind is LSTM:
        loss = OF_TONES.model_copy(update={"aliases": None})
        config = config.model_copy(update={"sines": CONFIG.sines, "loss": loss})
    model, (task,) = models.build(kind), tasks_of(config, kind)
    every = plan.sources_of(model, model, plan.shared(config), RATE)
    known = plan.known_of(model, task, plan.settling_of(model, config, RATE), RATE)
    params = jax.tree.map(lambda a: 1.1 * a, known.teacher)
    batches = [source.complete(known, source.draw(known, jax.random.key(1))) for source in every]
    memories = [source.begin(params, batch.lead_in) for source, batch in zip(every, batches, strict=True)]
    spread = partial(students.over_rows, students.mesh_for(1))
    loops: list[Any] = []

    def each_row(f: Any, rows: Any) -> Any:
        loops.append(f)
        return models.each_row(model, f, rows)

    learn = gradients.row_by_row(every, spread, each_row, lambda number: number >= 0)
    weights = plan.weights_of(model, config, RATE)
    return Begun(every, params, weights, [sources.frame(batch, 0) for batch in batches], memories, learn, loops)


@pytest.mark.parametrize("kind", [LSTM, WAVENET], ids=lambda kind: kind.kind)
def test_gradients_of_rows_add_up_to_that_of_the_loss(kind: Kind) -> None:
    """Of all sources together, and so do the values; no update has another gradient for its sample."""
    given = begun(kind)
    whole = gradients.of_batch(given.every, lambda f, ins, outs: f)
    arguments = given.params, given.weights, given.frames, given.memories, jax.random.key(2)
    learn = jax.jit(given.learn)
    wanted, found, unsampled = jax.jit(whole)(*arguments, 0), learn(*arguments, 0), learn(*arguments, -1)
    for ours, right in zip(jax.tree.leaves(found.gradient), jax.tree.leaves(wanted.gradient), strict=True):
        np.testing.assert_allclose(ours, right, rtol=0, atol=1e-6 * np.abs(right).max())  # a recurrence amplifies
    music = {f"{name} {term}" for name in ("music", "high_playing") for term in ("ESR", "NMR")}
    names = {"loss", "ESR", "NMR"} | music | ({"aliases"} if kind is WAVENET else set())
    assert found.values.keys() == wanted.values.keys() == names
    for ours, right in zip(
        jax.tree.leaves((found.values, found.memories)), jax.tree.leaves((wanted.values, wanted.memories)), strict=True
    ):
        np.testing.assert_allclose(ours, right, rtol=1e-9, atol=tolerances.F64)
    jax.tree.map(np.testing.assert_array_equal, unsampled.gradient, found.gradient)
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(unsampled.probes))
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(found.probes))


def test_rows_of_sources_with_the_same_functions_share_a_loop() -> None:
    """Music and high playing, whatever their weights; periodic tones are played in another way."""
    given = begun(WAVENET)
    assert [source.name for source in given.every] == ["tones", "music", "high_playing"]
    jax.eval_shape(given.learn, given.params, given.weights, given.frames, given.memories, jax.random.key(2), 0)
    assert len(given.loops) == 2


def matrix_of(given: Begun, index: int) -> np.ndarray:
    """J^T S J of one source: J the derivative of all its residuals, S the slopes of the whole loss by their squares."""
    flat, unravel = ravel_pytree(given.params)
    source, frame, memory = (part[index] for part in (given.every, given.frames, given.memories))

    def residuals(flat: jax.Array) -> list[jax.Array]:
        estimate = source.play(unravel(flat), frame.inputs, memory)[0]
        return [term.residuals(estimate, frame.targets, frame.about) for term in source.terms]  # type: ignore[misc]

    def loss(squares: list[jax.Array]) -> jax.Array:
        every = zip(source.terms, squares, strict=True)
        values = {term.name: terms.mean(term, part, frame.weight) for term, part in every}
        return terms.total(source.terms, values, given.weights)

    def weighed(flat: jax.Array) -> jax.Array:
        parts = [slope[..., None] ** 0.5 * r for slope, r in zip(slopes, residuals(flat), strict=True)]
        return jnp.concatenate([side.ravel() for part in parts for side in (part.real, part.imag)])

    slopes = jax.grad(loss)([terms.squares(r) for r in residuals(flat)])
    jacobian = np.asarray(jax.jit(jax.jacfwd(weighed))(flat))
    return jacobian.T @ jacobian


def test_probes_have_the_gauss_newton_matrix_of_the_whole_loss_as_their_mean_square() -> None:
    """That of all sources together, each source its part of it, from sums over the batch alone."""
    given, count = begun(WAVENET), 300

    @jax.jit
    def product(key: jax.Array) -> jax.Array:
        learned = given.learn(given.params, given.weights, given.frames, given.memories, key, 0)
        u = jax.vmap(lambda tree: ravel_pytree(tree)[0])(learned.probes)
        of_sources = jnp.split(u, np.cumsum([source.rows for source in given.every])[:-1])
        return jnp.stack([part.T @ part for part in of_sources]) / len(u)

    mean = sum(np.asarray(product(key)) for key in jax.random.split(jax.random.key(3), count)) / count
    wanted = [matrix_of(given, index) for index in range(len(given.every))]
    for found, right in zip(mean, wanted, strict=True):
        assert np.linalg.norm(found - right) < 6 * np.trace(right) / np.sqrt(count)
        assert np.trace(found) == pytest.approx(np.trace(right), rel=0.25)
    assert min(np.trace(part) for part in wanted) > 0.02 * max(np.trace(part) for part in wanted)  # all count


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
    steps = gauss_newton.newton_steps(CurvatureConfig(damping=1e-9, renew_every=2), None)
    state = steps.init(params)
    probes = {"one": {"w": {"c": jnp.asarray(np.sqrt(20) * a)}}}  # their mean square is A^T A
    gradient = {"one": {"w": {"c": jnp.asarray(2 * a.T @ (a @ -goal))}}}
    nothing, state = steps.update(gradient, state, params, rate=1.0, probes=probes, number=0)
    np.testing.assert_array_equal(nothing["one"]["w"]["c"], 0)
    step, state = steps.update(gradient, state, params, rate=1.0, probes=probes, number=1)
    np.testing.assert_allclose(step["one"]["w"]["c"], goal, rtol=1e-8)


def test_students_trained_together_factorise_only_when_it_is_time() -> None:
    """Under `jax.vmap` a condition that differs between students would become both of its branches, every update."""
    steps = gauss_newton.newton_steps(CurvatureConfig(), 0.1)
    twice = jax.tree.map(lambda a: jnp.stack([a, a]), PARAMS)
    probes = jax.tree.map(lambda a: jnp.ones((2, 3, *a.shape[1:])), twice)

    def update(number: Any) -> Any:
        one = lambda g, probes: steps.update(g, steps.init(g), rate=1.0, probes=probes, number=number)  # noqa: E731
        return jax.vmap(one)(twice, probes)

    always = {equation.primitive.name for equation in jax.make_jaxpr(update)(7).eqns}
    assert "cond" in always and "cholesky" not in always


def test_a_run_learns_and_goes_on_as_if_unbroken() -> None:
    """Broken off between two factorisations, so that what the steps are made with has to come back too."""
    run = prepare(NEWTON, WAVENET).run
    start = loop.begin(run)
    end = loop.advance(run, start)
    assert end.best_loss[0] < 0.9 * start.best_loss[0]
    assert_same_numbers(broken_off(run, loop.begin(run), 11), end)  # renewed every second update: a twentieth of 40
    assert run.compiled.update._cache_size() == 1


def test_the_curvature_is_sampled_up_to_the_first_factorisation_then_now_and_then() -> None:
    config = CurvatureConfig(renew_every=10, sample_every=4)
    sampled = [number for number in range(30) if gauss_newton.is_sampled(config, number)]
    assert sampled == [*range(10), 12, 16, 20, 24, 28]
    assert all(gauss_newton.is_sampled(CurvatureConfig(), number) for number in (0, 1, 49, 50, 51, 999))


def test_an_update_without_a_sample_leaves_the_curvature_as_it_is() -> None:
    steps = gauss_newton.newton_steps(CurvatureConfig(renew_every=2, sample_every=3), None)
    probes = jax.tree.map(lambda a: jnp.ones((2, *a.shape)), PARAMS)
    nothing = jax.tree.map(jnp.zeros_like, probes)
    with_zeros = with_ones = steps.init(PARAMS)
    for number in range(6):
        sampled = number in (0, 1, 3)
        given = {"rate": 1.0, "number": number}
        _, with_zeros = steps.update(PARAMS, with_zeros, probes=probes if sampled else nothing, **given)
        _, with_ones = steps.update(PARAMS, with_ones, probes=probes, **given)
    jax.tree.map(np.testing.assert_array_equal, with_zeros, with_ones)
    mean = with_ones.products["b"] / with_ones.weight
    np.testing.assert_allclose(mean, np.ones((4, 4)), rtol=tolerances.F64)


def of_music(**change: Any) -> dict[str, Any]:
    return {"music": music_config(loss=OF_MUSIC.model_copy(update=change))}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": LossConfig(dc_weight=1.0)}, "optimiser.curvature needs loss.dc_weight = 0"),
        (
            {"loss": LossConfig(esr=ESRConfig(reduction="ratio_of_sums"))},
            "optimiser.curvature needs a mean over rows as loss.esr.reduction, not ratio_of_sums",
        ),
        ({"loss": LossConfig(nmr=NMRConfig(reduction="geometric"))}, "as loss.nmr.reduction, not geometric"),
        (
            {"loss": OF_TONES.model_copy(update={"aliases": NMRConfig(reduction="geometric")})},
            "as loss.aliases.reduction, not geometric",
        ),
        (of_music(nmr=NMRConfig(reduction="geometric")), "as music.loss.nmr.reduction, not geometric"),
        (of_music(esr=ESRConfig(reduction="geometric")), "as music.loss.esr.reduction, not geometric"),
        ({"sines": SineConfig()}, "loss.aliases needs sines.whole_cycles = true, got false"),
    ],
)
def test_what_has_no_curvature_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NEWTON.model_copy(update=change)


def test_a_term_without_weight_needs_no_curvature() -> None:
    unheard = NMRConfig(weight=0.0, reduction="geometric")
    config = NEWTON.model_copy(update={"loss": OF_TONES.model_copy(update={"nmr": unheard})})
    assert isinstance(config, FineTuneConfig)


def test_newton_directions_go_through_a_chain_of_optax() -> None:
    steps = optax.chain(gauss_newton.newton_steps(CurvatureConfig(renew_every=1), None), optax.scale(-1.0))
    probes = jax.tree.map(lambda a: jnp.ones((2, *a.shape)), PARAMS)
    found, _ = steps.update(PARAMS, steps.init(PARAMS), PARAMS, rate=1.0, probes=probes, number=0)
    assert jax.tree.structure(found) == jax.tree.structure(PARAMS)


def built(updates: int = 20, **curvature: Any) -> optax.GradientTransformationExtraArgs:
    """Steps of at most 0.1 with curvatures of one sample."""
    found = CurvatureConfig(damping=1e-3, renew_every=1, **curvature)
    return optimisers.build(OptimiserConfig(schedule="cosine", clip_norm=0.1, curvature=found), updates)


def along_ones(optimiser: Any, signs: Sequence[float], rate: float = 1.0) -> list[np.ndarray]:
    """The steps for gradients and samples of ones, times the signs; each block is a matrix of ones, damped."""
    state, probes, found = optimiser.init(PARAMS), jax.tree.map(lambda a: jnp.ones((1, *a.shape)), PARAMS), []
    for number, sign in enumerate(signs):
        gradient = jax.tree.map(lambda a, sign=sign: sign * jnp.ones_like(a), PARAMS)
        steps, state = optimiser.update(gradient, state, PARAMS, probes=probes, number=number, rate=rate)
        found.append(ravel_pytree(steps)[0])
    return found


def length(step: np.ndarray) -> float:
    """sqrt(s H s) with the curvature H of `along_ones`: twice a matrix of ones for each block, and the damping."""
    blocks = step[:8], step[8:]
    return float(np.sqrt(sum(2 * part.sum() ** 2 + 1e-3 * np.sum(part**2) for part in blocks)))


def test_momentum_averages_the_directions_before_they_are_clipped() -> None:
    """After directions of signs + + - - the mean with decay 0.75 turns at the fourth: 0.42 + 0.56 - 0.75 - 1 < 0."""
    steps = along_ones(built(updates=10_000, momentum=0.75), 1e3 * np.array([1, 1, -1, -1]))
    assert [bool(np.all(step > 0)) for step in steps] == [False, False, False, True]
    np.testing.assert_allclose([length(step) for step in steps], 0.1, rtol=1e-4)


def test_a_step_is_clipped_by_its_length_in_the_curvature() -> None:
    """The length of a Newton step is sqrt(g H^-1 g); a shorter one is not clipped. The rate scales both."""
    whole = np.sqrt(8 / 16.001 + 4 / 8.001)
    for size, rate, wanted in (
        (1.0, 1.0, 0.1),
        (1.0, 0.5, 0.05),
        (0.05, 1.0, 0.05 * whole),
        (0.05, 0.5, 0.025 * whole),
    ):
        (step,) = along_ones(built(), [size], rate)
        assert length(step) == pytest.approx(wanted, rel=1e-4)


def test_a_clipped_step_decays_with_the_schedule() -> None:
    """Where every step is clipped, the cosine is the length of the steps: the last ones settle the average."""
    lengths = [length(step) for step in along_ones(built(), [1e3] * 20)]
    wanted = 0.1 * 0.5 * (1 + np.cos(np.pi * np.arange(20) / 20))
    np.testing.assert_allclose(lengths, wanted, rtol=1e-4)
