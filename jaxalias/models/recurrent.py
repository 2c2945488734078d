"""What LSTM and GRU share: stacked layers, knobs, a dense output, the skip connection; explicit state.

A knob is constant over a signal, so it is part of the state and not of the signal. Its part of the gates is added to
the bias before the recurrence begins, so knobs do not make a sample more expensive.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxalias.config import GRUConfig, LSTMConfig
from jaxalias.models.initial_weights import uniform

State = tuple[Any, ...]
"""The state of each layer, then (b, knobs) if the model has knobs; the first axis of every array is the batch."""


class Recurrent(nn.Module):
    """y, state = Recurrent(config, gates, over_time).apply({"params": params}, x, state), x and y of shape (b, t).

    Args:
        config: sizes and gains.
        gates: the number of rows of the weights, divided by the hidden size.
        over_time: one layer over time, (cell, x, state of the layer) -> (hidden states, state of the layer). `cell`
            holds the layer's weights: "input", "hidden", "bias_ih" (n,) or (b, n), and "bias_hh" (n,).
        stored: names of the arrays of each layer that hold its initial state; declared here, used elsewhere.
    """

    config: LSTMConfig | GRUConfig
    gates: int
    over_time: Callable
    stored: tuple[str, ...] = ()

    @nn.compact
    def __call__(self, x: Float[Array, "b t"], state: State) -> tuple[Float[Array, "b t"], State]:
        config = self.config
        x = _times(config.input_gain, x)
        layers, knobs = state[: config.num_layers], state[config.num_layers :]
        signal = x.T[:, :, None]  # (t, b, channels): the recurrence runs over the first axis
        reached = []
        for layer, start in enumerate(layers):
            cell = self._cell(layer, config.hidden_size if layer else config.input_size)
            signal, end = self.over_time(cell if layer else _turned(cell, knobs), signal, start)
            reached.append(end)
        head = uniform(config.hidden_size)
        weight = self.param("head_weight", head, (1, config.hidden_size))
        y = jnp.einsum("tbh,h->bt", signal, weight[0], precision=jax.lax.Precision.HIGHEST)
        if config.head_bias:
            y = y + self.param("head_bias", head, (1,))
        return _times(config.output_gain, y + x if config.skip else y), (*reached, *knobs)

    def _cell(self, layer: int, inputs: int) -> dict[str, Array]:
        """Declare the parameters of a layer, under PyTorch's names. Missing biases are zero."""
        hidden, rows = self.config.hidden_size, self.gates * self.config.hidden_size
        initialise = uniform(hidden)
        for name in self.stored:
            self.param(f"{name}_l{layer}", nn.initializers.zeros, (hidden,))
        input_weight = self.param(f"weight_ih_l{layer}", initialise, (rows, inputs))
        names = {0: (), 1: ("bias",), 2: ("bias_ih", "bias_hh")}[self.config.bias_vectors]
        biases = [self.param(f"{name}_l{layer}", initialise, (rows,)) for name in names]
        none = jnp.zeros(rows, input_weight.dtype)
        bias_ih, bias_hh = (*biases, none, none)[:2]
        hidden_weight = self.param(f"weight_hh_l{layer}", initialise, (rows, hidden))
        return {"input": input_weight, "hidden": hidden_weight, "bias_ih": bias_ih, "bias_hh": bias_hh}


def with_knobs(layers: State, knobs: Any, batch: int) -> State:
    """The state of the whole model, from that of its layers and the knob positions, (knobs,) or (batch, knobs)."""
    if not knobs.shape[-1]:
        return layers
    dtype = jax.tree.leaves(layers)[0].dtype
    return (*layers, jnp.broadcast_to(jnp.asarray(knobs, dtype), (batch, knobs.shape[-1])))


def _turned(cell: dict[str, Array], knobs: State) -> dict[str, Array]:
    """The first layer with its knobs in the bias (b, rows); its only remaining input is the signal."""
    if not knobs:
        return cell
    weight = cell["input"]
    shares = jnp.dot(knobs[0], weight[:, 1:].T, precision=jax.lax.Precision.HIGHEST)
    return {**cell, "input": weight[:, :1], "bias_ih": cell["bias_ih"] + shares}


def _times(gain: float, x: Array) -> Array:
    return x if gain == 1 else gain * x


def dot(a: Float[Array, "b n"], weight: Float[Array, "n m"]) -> Float[Array, "b m"]:
    """A product in the form of a recurrence's step."""
    if weight.shape[0] == 1:
        return a * weight[0]  # faster than a matrix product with one column
    return jnp.dot(a, weight, precision=jax.lax.Precision.HIGHEST)


def outer(a: Float[Array, "b n"], b: Float[Array, "b m"]) -> Float[Array, "n m"]:
    """The sum of the outer products of all signals."""
    return jax.lax.dot_general(a, b, (((0,), (0,)), ((), ())), precision=jax.lax.Precision.HIGHEST)


def summed(d_rows: Float[Array, "b n"], bias: Array) -> Array:
    """The gradient with respect to a bias, (n,) or one per signal (b, n), from that with respect to the rows."""
    return d_rows if bias.ndim == 2 else d_rows.sum(axis=0)
