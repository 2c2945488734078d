"""The fused LSTM kernel against the scan: in Pallas's interpreter everywhere, compiled where there is a GPU."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances

from jaxalias import models
from jaxalias.config import LSTMConfig
from jaxalias.models import lstm, lstm_kernel

STEPS = 20
ON_GPU = jax.default_backend() == "gpu"
COMPILED = pytest.param(False, id="compiled", marks=pytest.mark.skipif(not ON_GPU, reason="there is no GPU"))
each_way = pytest.mark.parametrize("interpret", [pytest.param(True, id="interpreted"), COMPILED])


def draw(seed: int, hidden: int, batch: int, inputs: int, *stack: int) -> tuple:
    """Arguments of a recurrence, and weights that make one number of its results; stack: leading axes of all."""
    random = np.random.default_rng(seed)

    def normal(*shape: int) -> jax.Array:
        return jnp.asarray(0.5 * random.normal(size=(*stack, *shape)), jnp.float32)

    cell = {"input": normal(4 * hidden, inputs), "hidden": normal(4 * hidden, hidden), "bias": normal(4 * hidden)}
    arguments = cell, normal(STEPS, batch, inputs), (normal(batch, hidden), normal(batch, hidden))
    return arguments, (normal(STEPS, batch, hidden), (normal(batch, hidden), normal(batch, hidden)))


def results_and_gradients(recurrence, arguments: tuple, weights: tuple) -> tuple:
    """Hiddens and end state, and the gradients of their weighted sum by cell, x and state."""
    results, back = jax.vjp(recurrence, *arguments)
    return results, back(weights)


def assert_same(ours: tuple, theirs: tuple) -> None:
    assert jax.tree.map(jnp.shape, ours) == jax.tree.map(jnp.shape, theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype == np.float32
        largest = float(jnp.abs(b).max())
        assert largest > 0.01
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerances.F32_RECURRENCE * largest)


@each_way
@pytest.mark.parametrize(("hidden", "batch", "inputs"), [(5, 3, 1), (40, 2, 3), (17, 1, 17)])
def test_equals_the_scan_with_all_gradients(hidden: int, batch: int, inputs: int, interpret: bool) -> None:
    drawn = draw(hidden, hidden, batch, inputs)
    kernel = partial(lstm_kernel.recurrence, interpret=interpret)
    ours = jax.jit(partial(results_and_gradients, kernel))(*drawn)
    assert_same(ours, jax.jit(partial(results_and_gradients, lstm.recurrence))(*drawn))


@each_way
def test_each_signal_may_have_its_own_bias(interpret: bool) -> None:
    """As knobs make it."""
    (cell, x, state), weights = draw(4, 6, 3, 1)
    biases = cell["bias"] * jnp.arange(1, 4, dtype=jnp.float32)[:, None]
    arguments = {**cell, "bias": biases}, x, state
    kernel = partial(lstm_kernel.recurrence, interpret=interpret)
    ours = jax.jit(partial(results_and_gradients, kernel))(arguments, weights)
    assert_same(ours, jax.jit(partial(results_and_gradients, lstm.recurrence))(arguments, weights))


@each_way
def test_many_models_at_once_equal_each_alone(interpret: bool) -> None:
    """Three models with their own states hear the same two signals."""
    (cell, x, state), weights = draw(1, 6, 2, 1, 3)
    kernel = partial(lstm_kernel.recurrence, interpret=interpret)
    axes = ((0, None, 0), 0)
    ours = jax.jit(jax.vmap(partial(results_and_gradients, kernel), axes))((cell, x[0], state), weights)
    alone = jax.jit(partial(results_and_gradients, lstm.recurrence))
    theirs = [
        alone((own_cell, x[0], own_state), own_weights)
        for own_cell, own_state, own_weights in (
            jax.tree.map(lambda a, number=number: a[number], (cell, state, weights)) for number in range(3)
        )
    ]
    assert_same(ours, jax.tree.map(lambda *a: jnp.stack(a), *theirs))


@pytest.mark.skipif(
    jax.__version_info__ > (0, 10, 2) and not ON_GPU, reason="a later JAX lowers with a GPU's compiler only"
)
@pytest.mark.parametrize("stack", [(), (3,)], ids=["one", "vmapped"])
@pytest.mark.parametrize("hidden", [3, 40, 64])
def test_triton_takes_both_kernels(hidden: int, stack: tuple[int, ...]) -> None:
    """No GPU is needed to see whether every operation and shape has a lowering to Triton."""
    drawn = draw(0, hidden, 3, 1, *stack)
    work = partial(results_and_gradients, lstm_kernel.recurrence)
    lowered = jax.jit(jax.vmap(work) if stack else work).trace(*drawn).lower(lowering_platforms=("cuda",)).as_text()
    assert lowered.count('name = "_forward_kernel"') == lowered.count('name = "_backward_kernel"') == 1
    assert "stablehlo.while" not in lowered  # nothing is left to walk along time outside


def runs_kernel(hidden: int, dtype: str, samples: int) -> bool:
    """Whether a model of this kind has the kernel in it."""
    model = models.build.__wrapped__(LSTMConfig(hidden_size=hidden))  # a new one: JAX keeps the traces of each
    params = jax.tree.map(lambda a: jnp.zeros(a.shape, dtype), jax.eval_shape(model.init, jax.random.key(0)))
    program = jax.make_jaxpr(model.apply)(params, jnp.zeros((2, samples), dtype), model.initial_state(params, 2))
    return "pallas_call" in str(program)


def test_chosen_on_a_gpu_for_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    for backend in ("cpu", "tpu"):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        assert not runs_kernel(8, "float32", 4)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert runs_kernel(8, "float32", 4)
    assert runs_kernel(lstm_kernel.HIDDEN_LIMIT, "float32", 4)
    assert not runs_kernel(lstm_kernel.HIDDEN_LIMIT + 1, "float32", 4)
    assert not runs_kernel(8, "float64", 4)
    assert not runs_kernel(8, "float32", 0)
    monkeypatch.setattr(lstm_kernel, "triton", None)  # as in a JAX that has dropped it
    assert not runs_kernel(8, "float32", 4)


@each_way
def test_a_model_with_the_kernel_is_the_same_model(interpret: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.build(LSTMConfig(hidden_size=6, num_layers=2))
    params = models.cast(jax.jit(model.init)(jax.random.key(0)), "float32")
    x = draw(2, 6, 3, 1)[0][1][..., 0].T
    state = model.initial_state(params, 3)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    wanted = jax.jit(model.apply)(params, x, state)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(lstm_kernel, "recurrence", partial(lstm_kernel.recurrence, interpret=interpret))
    assert_same(jax.jit(lambda *a: model.apply(*a))(params, x, state), wanted)
