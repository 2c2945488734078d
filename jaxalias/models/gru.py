"""Stacked GRU with a dense output and explicit state (GuitarML SimpleRNN, RTNeural).

Gate rows are r, z, n. Parameters have PyTorch's names and shapes, so files map one to one. The forward pass stores
the local derivatives of each step, and a hand-written backward scan uses them, as in `lstm`.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxalias.config import GRUConfig
from jaxalias.models.recurrent import Recurrent, State, dot, outer, summed


def build(config: GRUConfig) -> Recurrent:
    """The network as a Flax module."""
    return Recurrent(config, gates=3, over_time=over_time)


def zero_state(config: GRUConfig, batch: int, dtype: Any) -> State:
    """The hidden state of every layer at zero."""
    return (jnp.zeros((batch, config.hidden_size), dtype),) * config.num_layers


def initial_state(config: GRUConfig, params: dict, batch: int) -> State:
    """Zeros: no file format stores another state."""
    return zero_state(config, batch, params["weight_hh_l0"].dtype)


def over_time(
    cell: dict[str, Array], x: Float[Array, "t b inputs"], state: Float[Array, "b h"]
) -> tuple[Float[Array, "t b h"], Float[Array, "b h"]]:
    """One layer. The two biases of r and of z are summed; that of n inside the reset gate stays separate."""
    size = cell["hidden"].shape[1]
    outside = cell["bias_hh"].at[2 * size :].set(0)
    merged = {"input": cell["input"], "hidden": cell["hidden"], "bias": cell["bias_ih"] + outside}
    return recurrence({**merged, "reset_bias": cell["bias_hh"][2 * size :]}, x, state)


@jax.custom_vjp
def recurrence(
    cell: dict[str, Array], x: Float[Array, "t b inputs"], state: Float[Array, "b h"]
) -> tuple[Float[Array, "t b h"], Float[Array, "b h"]]:
    """One GRU layer over time: hidden states of every step, and the last.

    h' = n + z (h - n), with r, z = sigmoid of W x + U h + b, and n = tanh(W x + b + r (U h + b_reset)).

    Args:
        cell: "input" W (3h, inputs), "hidden" U (3h, h), "bias" b (3h,) or one per signal (b, 3h), gate rows r, z, n;
            "reset_bias" b_reset (h,).
        x: input of every step.
        state: hidden state before the first.
    """
    step = _step(cell)

    def forward(hidden: Array, x_t: Array) -> tuple[Array, Array]:
        hidden, _ = step(hidden, x_t)
        return hidden, hidden

    end, hiddens = jax.lax.scan(forward, state, x)
    return hiddens, end


def _recurrence_forward(cell: dict, x: Array, state: Array) -> tuple:
    step = _step(cell)

    def forward(before: Array, x_t: Array) -> tuple[Array, tuple]:
        hidden, (r, z, n, gated) = step(before, x_t)
        new = (1 - z) * (1 - n * n)  # d hidden / d (row n before its tanh)
        slopes = (
            new * gated * r * (1 - r),  # d hidden / d (row r before its sigmoid)
            (before - n) * z * (1 - z),
            new,
            new * r,  # d hidden / d (input of the reset gate)
            z,  # d hidden / d hidden before, without the paths through the gates
        )
        return hidden, (hidden, slopes)

    end, (hiddens, slopes) = jax.lax.scan(forward, state, x)
    return (hiddens, end), (cell, x, state, hiddens, slopes)


def _recurrence_backward(residuals: tuple, gradients: tuple) -> tuple:
    cell, x, state, hiddens, slopes = residuals
    d_hiddens, d_hidden_end = gradients
    hiddens_before = jnp.concatenate([state[None], hiddens[:-1]])

    def backward(carry: tuple, inputs: tuple) -> tuple[tuple, Array]:
        d_hidden, total = carry
        d_hidden_t, (in_r, in_z, in_n, reset, keep), hidden_before, x_t = inputs
        d_hidden = d_hidden + d_hidden_t
        d_r, d_z, d_n, d_reset = (d_hidden * slope for slope in (in_r, in_z, in_n, reset))
        d_rows, d_inner = (jnp.concatenate([d_r, d_z, last], axis=1) for last in (d_n, d_reset))
        total = {
            "input": total["input"] + outer(d_rows, x_t),
            "hidden": total["hidden"] + outer(hidden_before, d_inner),
            "bias": total["bias"] + summed(d_rows, cell["bias"]),
            "reset_bias": total["reset_bias"] + d_reset.sum(axis=0),
        }
        return (dot(d_inner, cell["hidden"]) + d_hidden * keep, total), dot(d_rows, cell["input"])

    zeros = jax.tree.map(jnp.zeros_like, {**cell, "hidden": cell["hidden"].T})
    (d_hidden, total), d_x = jax.lax.scan(
        backward, (d_hidden_end, zeros), (d_hiddens, slopes, hiddens_before, x), reverse=True
    )
    return {**total, "hidden": total["hidden"].T}, d_x, d_hidden


recurrence.defvjp(_recurrence_forward, _recurrence_backward)


def _step(cell: dict[str, Array]) -> Any:
    """One step of the recurrence. sigmoid(a) = (1 + tanh(a / 2)) / 2; the factors 1/2 are moved out of the loop."""
    size = cell["hidden"].shape[1]
    half = jnp.repeat(jnp.array([0.5, 0.5, 1.0], cell["hidden"].dtype), size)
    hidden_weight = (cell["hidden"] * half[:, None]).T
    input_weights = jnp.split((cell["input"] * half[:, None]).T, 3, axis=1)
    biases = jnp.split(cell["bias"] * half, 3, axis=-1)

    def step(before: Float[Array, "b h"], x_t: Float[Array, "b inputs"]) -> tuple[Array, tuple]:
        inner = jnp.split(dot(before, hidden_weight), 3, axis=1)
        # Gate by gate: for a sum or a tanh of all three, XLA on a CPU emits a loop that takes three times as long.
        outside = [dot(x_t, weight) + bias for weight, bias in zip(input_weights, biases, strict=True)]
        r, z = (0.5 + 0.5 * jnp.tanh(inner[k] + outside[k]) for k in (0, 1))
        gated = inner[2] + cell["reset_bias"]
        n = jnp.tanh(outside[2] + r * gated)
        return n + z * (before - n), (r, z, n, gated)

    return step
