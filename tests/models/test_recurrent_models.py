"""LSTM and GRU: against PyTorch's own, their hand-written gradients, and their knobs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances
from test_models import GRUS, KNOBS, LSTMS, RNG, WAVENETS, Config, parameters, play, start

from jaxalias import models
from jaxalias.config import GRUConfig, LSTMConfig
from jaxalias.models import gru, lstm


@pytest.mark.parametrize("kind", [LSTMConfig, GRUConfig])
def test_recurrent_layers_equal_pytorchs(kind: type) -> None:
    """Which hears the knobs as constant signals."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: LSTM and GRU are compared with NumPy only")
    config = kind(hidden_size=3, num_layers=2, input_size=3, skip=False)
    p, x = parameters(config), RNG.normal(size=(2, 40))
    layers = torch.nn.LSTM if kind is LSTMConfig else torch.nn.GRU
    theirs = layers(3, config.hidden_size, config.num_layers, batch_first=True).double()
    theirs.load_state_dict({name: torch.tensor(np.array(a)) for name, a in p.items() if not name.startswith("head")})
    heard = np.concatenate([x[..., None], np.tile(KNOBS, (2, 40, 1))], axis=2)
    hidden = theirs(torch.tensor(heard))[0].detach().numpy()
    wanted = hidden @ np.array(p["head_weight"][0]) + np.array(p["head_bias"])
    np.testing.assert_allclose(play(config, p, x), wanted, atol=tolerances.F64)


def plain_lstm(cell: dict, x: jax.Array, state: tuple) -> tuple:
    """The recurrence as a scan that JAX differentiates by itself."""

    def step(carry: tuple, x_t: jax.Array) -> tuple:
        hidden, cell_state = carry
        rows = x_t @ cell["input"].T + hidden @ cell["hidden"].T + cell["bias"]
        i, f, g, o = jnp.split(rows, 4, axis=1)
        cell_state = jax.nn.sigmoid(f) * cell_state + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell_state)
        return (hidden, cell_state), hidden

    end, hiddens = jax.lax.scan(step, state, x)
    return hiddens, end


def plain_gru(cell: dict, x: jax.Array, state: jax.Array) -> tuple:
    """The same for the GRU."""

    def step(hidden: jax.Array, x_t: jax.Array) -> tuple:
        a_r, a_z, a_n = jnp.split(x_t @ cell["input"].T + cell["bias"], 3, axis=1)
        b_r, b_z, b_n = jnp.split(hidden @ cell["hidden"].T, 3, axis=1)
        update = jax.nn.sigmoid(a_z + b_z)
        new = jnp.tanh(a_n + jax.nn.sigmoid(a_r + b_r) * (b_n + cell["reset_bias"]))
        hidden = (1 - update) * new + update * hidden
        return hidden, hidden

    end, hiddens = jax.lax.scan(step, state, x)
    return hiddens, end


@pytest.mark.parametrize("inputs", [1, 2], ids=["plain", "knob"])
@pytest.mark.parametrize(("module", "kind", "plain"), [(lstm, LSTMConfig, plain_lstm), (gru, GRUConfig, plain_gru)])
def test_hand_written_gradient_is_that_of_the_plain_scan(
    module: Any, kind: type, plain: Callable, inputs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = kind(hidden_size=3, num_layers=2, input_size=inputs)
    model = models.build(config)
    p, x = parameters(config), jnp.asarray(RNG.normal(size=(2, 25)))
    state = jax.tree.map(lambda a: jnp.asarray(RNG.normal(size=a.shape)), start(config, p, 2))
    weights = jax.tree.map(lambda a: jnp.asarray(RNG.normal(size=a.shape)), (x, state))

    def weighted_sum(p: dict, x: jax.Array, state: tuple) -> jax.Array:
        products = jax.tree.map(lambda w, a: jnp.sum(w * a), weights, model.apply(p, x, state))
        return sum(jax.tree.leaves(products))

    def differentiated() -> tuple:
        return jax.jit(jax.value_and_grad(lambda *a: weighted_sum(*a), argnums=(0, 1, 2)))(p, x, state)

    value, by_hand = differentiated()
    monkeypatch.setattr(module, "recurrence", plain)
    wanted, automatic = differentiated()
    np.testing.assert_allclose(value, wanted, rtol=tolerances.F64_TRANSFORM)
    assert len(jax.tree.leaves(by_hand)) == len(p) + 1 + len(jax.tree.leaves(state))
    for ours, theirs in zip(jax.tree.leaves(by_hand), jax.tree.leaves(automatic), strict=True):
        assert np.abs(theirs).max() > 0
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerances.F64_TRANSFORM)


@pytest.mark.parametrize("config", [LSTMS["knobs"], GRUS["stacked gru"]], ids=lambda config: config.kind)
def test_each_signal_has_its_own_knobs(config: Config) -> None:
    """They go on from block to block; and a state without them, or with others than the model has, is refused."""
    model, p, x = models.build(config), parameters(config), jnp.asarray(RNG.normal(size=(2, 20)))
    own = RNG.uniform(size=(2, model.knobs))
    y, state = model.apply(p, x, model.initial_state(p, 2, own))
    np.testing.assert_array_equal(state[-1], own)
    for row in range(2):
        alone, _ = model.apply(p, x[row : row + 1], model.initial_state(p, 1, own[row]))
        np.testing.assert_allclose(y[row : row + 1], alone, atol=tolerances.F64)
    assert np.abs(y - model.apply(p, x, model.initial_state(p, 2, 1 - own))[0]).max() > 1e-3
    for wrong in (None, own[:, 1:], np.zeros((3, model.knobs)), 0.5):
        with pytest.raises(ValueError, match=rf"knobs: must be of shape \({model.knobs},\)"):
            model.initial_state(p, 2, wrong)


@pytest.mark.parametrize("config", [LSTMS["guitarml"], GRUS["gru"], WAVENETS["chain"]], ids=lambda config: config.kind)
def test_a_model_without_knobs_takes_none(config: Config) -> None:
    model, p = models.build(config), parameters(config)
    assert model.knobs == 0
    with pytest.raises(ValueError, match="knobs: must be of shape"):
        model.initial_state(p, 1, [0.5])
