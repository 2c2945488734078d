"""Stacked LSTM with a dense output and explicit state (GuitarML SimpleRNN, RTNeural, NAM LSTM).

Gate rows are i, f, g, o. Parameters have PyTorch's names and shapes, so files map one to one. With autodiff, most of
the time of a plain scan goes into a backward pass that recomputes and copies. Here the forward pass stores the local
derivatives of each step, and a hand-written backward scan uses them (`experiments/benchmark.py` prints the times of
both, and PyTorch's). On a GPU a fused kernel replaces both.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxalias.config import LSTMConfig
from jaxalias.models import lstm_kernel, lstm_slopes
from jaxalias.models.recurrent import Recurrent, State, dot, outer, summed
from jaxalias.signals import dsp


def build(config: LSTMConfig) -> Recurrent:
    """The network as a Flax module."""
    stored = ("initial_hidden", "initial_cell") if config.stored_initial_state else ()
    return Recurrent(config, gates=4, over_time=over_time, stored=stored)


def zero_state(config: LSTMConfig, batch: int, dtype: Any) -> State:
    """(hidden, cell) of every layer at zero."""
    zeros = jnp.zeros((batch, config.hidden_size), dtype)
    return ((zeros, zeros),) * config.num_layers


def initial_state(config: LSTMConfig, params: dict, batch: int) -> State:
    """Zeros, or the state in the file, for every signal of a batch."""
    if not config.stored_initial_state:
        return zero_state(config, batch, params["weight_hh_l0"].dtype)
    shape = (batch, config.hidden_size)
    return tuple(
        (
            jnp.broadcast_to(params[f"initial_hidden_l{layer}"], shape),
            jnp.broadcast_to(params[f"initial_cell_l{layer}"], shape),
        )
        for layer in range(config.num_layers)
    )


def over_time(
    cell: dict[str, Array], x: Float[Array, "t b inputs"], state: tuple[Array, Array]
) -> tuple[Float[Array, "t b h"], tuple[Array, Array]]:
    """One layer: the fused kernel on a GPU if it supports the layer (float32, up to 64 hidden units); else the scan."""
    merged = {"input": cell["input"], "hidden": cell["hidden"], "bias": cell["bias_ih"] + cell["bias_hh"]}
    if dsp.platform() == "gpu" and lstm_kernel.fits(merged, x, state):
        return lstm_kernel.recurrence(merged, x, state)
    return recurrence(merged, x, state)


@jax.custom_vjp
def recurrence(
    cell: dict[str, Array], x: Float[Array, "t b inputs"], state: tuple[Array, Array]
) -> tuple[Float[Array, "t b h"], tuple[Array, Array]]:
    """One LSTM layer over time: hidden states of every step, and the last (hidden, cell).

    c' = f c + i g, h' = o tanh(c'), with i, f, o = sigmoid and g = tanh of W x + U h + b.

    Args:
        cell: "input" W (4h, inputs), "hidden" U (4h, h), "bias" (4h,) or one per signal (b, 4h); rows i, f, g, o.
        x: input of every step.
        state: (hidden, cell) before the first.
    """
    step = _step(cell)

    def forward(carry: tuple, x_t: Array) -> tuple[tuple, Array]:
        hidden, cell_state, *_ = step(carry, x_t)
        return (hidden, cell_state), hidden

    end, hiddens = jax.lax.scan(forward, state, x)
    return hiddens, end


def _recurrence_forward(cell: dict, x: Array, state: tuple) -> tuple:
    step = _step(cell)

    def forward(carry: tuple, x_t: Array) -> tuple[tuple, tuple]:
        cell_before = carry[1]
        hidden, cell_state, gates, squashed = step(carry, x_t)
        return (hidden, cell_state), (hidden, lstm_slopes.of_step(gates, cell_before, squashed))

    end, (hiddens, slopes) = jax.lax.scan(forward, state, x)
    return (hiddens, end), (cell, x, state, hiddens, slopes)


def _recurrence_backward(residuals: tuple, gradients: tuple) -> tuple:
    cell, x, state, hiddens, slopes = residuals
    d_hiddens, (d_hidden_end, d_cell_end) = gradients
    hiddens_before = jnp.concatenate([state[0][None], hiddens[:-1]])

    def backward(carry: tuple, inputs: tuple) -> tuple[tuple, Array]:
        d_hidden, d_cell, total = carry
        d_hidden_t, (in_i, in_f, in_g, in_o, through, keep), hidden_before, x_t = inputs
        d_hidden = d_hidden + d_hidden_t
        d_cell = d_cell + d_hidden * through
        d_rows = jnp.concatenate([d_cell * in_i, d_cell * in_f, d_cell * in_g, d_hidden * in_o], axis=1)
        total = {  # summed in each step: one contraction over all steps afterwards takes longer
            "input": total["input"] + outer(d_rows, x_t),
            "hidden": total["hidden"] + outer(hidden_before, d_rows),
            "bias": total["bias"] + summed(d_rows, cell["bias"]),
        }
        return (dot(d_rows, cell["hidden"]), d_cell * keep, total), dot(d_rows, cell["input"])

    zeros = jax.tree.map(jnp.zeros_like, {**cell, "hidden": cell["hidden"].T})
    (d_hidden, d_cell, total), d_x = jax.lax.scan(
        backward, (d_hidden_end, d_cell_end, zeros), (d_hiddens, slopes, hiddens_before, x), reverse=True
    )
    return {**total, "hidden": total["hidden"].T}, d_x, (d_hidden, d_cell)


recurrence.defvjp(_recurrence_forward, _recurrence_backward)


def _step(cell: dict[str, Array]) -> Any:
    """One step of the recurrence. sigmoid(a) = (1 + tanh(a / 2)) / 2, so one tanh serves all four gates."""
    size = cell["hidden"].shape[1]
    half = jnp.repeat(jnp.array([0.5, 0.5, 1.0, 0.5], cell["hidden"].dtype), size)
    input_weight, hidden_weight, bias = (
        (cell["input"] * half[:, None]).T,
        (cell["hidden"] * half[:, None]).T,
        cell["bias"] * half,
    )

    def step(carry: tuple[Array, Array], x_t: Float[Array, "b inputs"]) -> tuple[Array, Array, tuple, Array]:
        hidden, cell_state = carry
        gates = jnp.tanh(dot(hidden, hidden_weight) + (dot(x_t, input_weight) + bias))
        i, f, o = (0.5 + 0.5 * gates[:, k * size : (k + 1) * size] for k in (0, 1, 3))
        g = gates[:, 2 * size : 3 * size]
        cell_state = f * cell_state + i * g
        squashed = jnp.tanh(cell_state)
        return o * squashed, cell_state, (i, f, g, o), squashed

    return step
