"""The recurrence of `lstm` on a GPU: one fused kernel over the whole frame each way (Pallas, lowered by Triton).

A scan launches a handful of kernels a step and fetches the recurrent weights anew in each. Here a program
walks one signal from its first sample to its last with the weights in registers. One signal, not a tile of
16 as a matrix unit would ask for: in float32 without TF32 such a product runs on the same cores as a matrix
times a vector, and a step of 16 signals would take 16 times the arithmetic of the step that all wait for.
What does not wait for the step before stays outside, as large products that XLA runs and differentiates: the
input's share of the gates, and the gradient of the weights. That costs 4 numbers a hidden unit and sample.

float32 only. Its numbers are checked in Pallas's interpreter and its lowering without a GPU; on one it is
unmeasured (`experiments/recurrences.py` is the command that compares it there with the scan and with cuDNN).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float

HIDDEN_LIMIT = 64
"""The four matrices of 128 units alone are 65 536 numbers: every register of a multiprocessor."""

_SMALLEST = 16  # hidden units that a program is padded to; below, most of a warp idles anyway
_WEIGHTS_A_THREAD = 64  # of its 255 registers; the rest hold the products, the state and what is read ahead


def fits(cell: dict[str, Array], x: Float[Array, "t b inputs"], state: tuple[Array, Array]) -> bool:
    """Whether the kernel takes this work: float32 throughout, at most 64 hidden units, not empty."""
    single = all(array.dtype == jnp.float32 for array in jax.tree.leaves((cell, x, state)))
    return single and cell["hidden"].shape[1] <= HIDDEN_LIMIT and x.size > 0


def recurrence(
    cell: dict[str, Array], x: Float[Array, "t b inputs"], state: tuple[Array, Array], *, interpret: bool = False
) -> tuple[Float[Array, "t b h"], tuple[Array, Array]]:
    """One LSTM layer over time, as `lstm.recurrence`: the same arguments, results and gradients.

    The hidden units are padded to a power of two, as Triton asks. A unit that is all zeros stays at zero.

    Args:
        cell: "input" W (4h, inputs), "hidden" U (4h, h), "bias" (4h,) or each signal its own (b, 4h); rows i, f, g, o.
        interpret: run the kernel's own arithmetic in XLA, on any device: for tests.
    """
    size = cell["hidden"].shape[1]
    missing = max(_SMALLEST, pl.next_power_of_2(size)) - size

    def padded(array: Array, *axes: int) -> Array:
        return jnp.pad(array, [(0, missing if axis in axes else 0) for axis in range(array.ndim)])

    weight = padded(cell["hidden"].reshape(4, size, size), 1, 2)
    input_weight = padded(cell["input"].reshape(4, size, x.shape[-1]), 1)
    rows = jnp.einsum("tbn,khn->tbkh", x, input_weight, precision=jax.lax.Precision.HIGHEST)
    bias = cell["bias"].reshape(*cell["bias"].shape[:-1], 4, size)
    rows = rows + padded(bias, bias.ndim - 1)
    hiddens, *end = _walk(interpret, weight, rows, *(padded(part, 1) for part in state))
    return hiddens[..., :size], (end[0][:, :size], end[1][:, :size])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _walk(
    interpret: bool,
    weight: Float[Array, "4 h h"],
    rows: Float[Array, "t b 4 h"],
    hidden: Float[Array, "b h"],
    cell: Float[Array, "b h"],
) -> tuple[Float[Array, "t b h"], Float[Array, "b h"], Float[Array, "b h"]]:
    """Hidden states of every step, the last hidden and cell state; rows are W x + b of all steps."""
    steps, batch, _, size = rows.shape
    results = [(steps, batch, size), (batch, size), (batch, size)]
    return _launch(_forward_kernel, weight, (rows, hidden, cell), results, interpret)


def _walk_forward(interpret: bool, weight: Array, rows: Array, hidden: Array, cell: Array) -> tuple:
    steps, batch, _, size = rows.shape
    results = [(steps, batch, size), (batch, size), (batch, size), rows.shape, (steps, batch, size)]
    *out, gates, cells = _launch(_forward_kernel, weight, (rows, hidden, cell), results, interpret)
    return tuple(out), (weight, hidden, out[0], gates, cells)


def _walk_backward(interpret: bool, residuals: tuple, gradients: tuple) -> tuple:
    weight, hidden, hiddens, gates, cells = residuals
    transposed = weight.swapaxes(1, 2)
    results = [gates.shape, hidden.shape, hidden.shape]
    arrays = (gates, cells, *gradients)
    d_rows, d_hidden, d_cell = _launch(_backward_kernel, transposed, arrays, results, interpret)
    before = jnp.concatenate([hidden[None], hiddens[:-1]])
    d_weight = jnp.einsum("tbki,tbj->kij", d_rows, before, precision=jax.lax.Precision.HIGHEST)
    return d_weight, d_rows, d_hidden, d_cell


_walk.defvjp(_walk_forward, _walk_backward)


def _forward_kernel(weight: Any, rows: Any, hidden: Any, cell: Any, hiddens: Any, *rest: Any) -> None:
    """One signal: weight (4, h, h), rows (t, 4, h), hidden and cell (h,), and the results to fill in.

    rest: the last hidden and cell state; then, for the backward pass, the gates (t, 4, h) of every step and
    the cell state (t, h) before it.
    """
    hidden_end, cell_end, *saved = rest
    u = [weight[k] for k in range(4)]

    def step(t: Array, carry: tuple, now: list) -> tuple:
        hidden_before, cell_before = carry
        i, f, g, o = (row + jnp.sum(u_k * hidden_before[None, :], axis=1) for row, u_k in zip(now, u, strict=True))
        gates = i, f, g, o = _sigmoid(i), _sigmoid(f), jnp.tanh(g), _sigmoid(o)
        if saved:
            saved[1][t] = cell_before
            for k in range(4):
                saved[0][t, k] = gates[k]
        cell_after = f * cell_before + i * g
        hidden_after = o * jnp.tanh(cell_after)
        hiddens[t] = hidden_after
        return hidden_after, cell_after

    hidden_end[...], cell_end[...] = _along_time(
        lambda t: [rows[t, k] for k in range(4)], step, (hidden[...], cell[...]), rows.shape[0]
    )


def _backward_kernel(
    weight: Any, gates: Any, cells: Any, d_hiddens: Any, d_hidden_end: Any, d_cell_end: Any, *results: Any
) -> None:
    """One signal from its end to its start; weight (4, h, h) is transposed, [gate, from, to].

    results: gradients by the rows (t, 4, h), by the first hidden and by the first cell state.
    """
    d_rows, d_hidden_start, d_cell_start = results
    u = [weight[k] for k in range(4)]
    last = gates.shape[0] - 1

    def read(back: Any) -> list:
        t = last - back
        return [*(gates[t, k] for k in range(4)), cells[t], d_hiddens[t]]

    def step(back: Array, carry: tuple, now: list) -> tuple:
        i, f, g, o, cell_before, d_hidden_t = now
        squashed = jnp.tanh(f * cell_before + i * g)
        d_hidden = carry[0] + d_hidden_t
        d_cell = carry[1] + d_hidden * o * (1 - squashed * squashed)
        d_gates = (
            d_cell * g * i * (1 - i),
            d_cell * cell_before * f * (1 - f),
            d_cell * i * (1 - g * g),
            d_hidden * squashed * o * (1 - o),
        )
        for k in range(4):
            d_rows[last - back, k] = d_gates[k]
        products = [u_k * d_gate[None, :] for u_k, d_gate in zip(u, d_gates, strict=True)]
        return jnp.sum(products[0] + products[1] + products[2] + products[3], axis=1), d_cell * f

    d_hidden_start[...], d_cell_start[...] = _along_time(read, step, (d_hidden_end[...], d_cell_end[...]), last + 1)


def _along_time(read: Callable[[Any], list], step: Callable[..., tuple], carry: tuple, steps: int) -> tuple:
    """step(index, carry, read(index)) for every index, each read one step early: memory answers meanwhile."""

    def body(index: Array, both: tuple) -> tuple:
        carry, now = both
        ahead = read(jnp.minimum(index + 1, np.int32(steps - 1)))
        return step(index, carry, now), ahead

    first = np.int32(0)  # in 64-bit mode too
    return jax.lax.fori_loop(first, np.int32(steps), body, (carry, read(first)))[0]


def _sigmoid(a: Array) -> Array:
    return 0.5 + 0.5 * jnp.tanh(0.5 * a)


def _launch(kernel: Callable[..., None], weight: Array, arrays: tuple, results: list, interpret: bool) -> tuple:
    """Run a kernel once for each signal: it sees the whole weight, and its own part of arrays and results."""

    def own_part(shape: tuple[int, ...]) -> pl.BlockSpec:
        axis = 0 if len(shape) == 2 else 1  # (b, h), or time first
        block = tuple(None if n == axis else length for n, length in enumerate(shape))
        return pl.BlockSpec(block, lambda signal: tuple(signal if n == axis else 0 for n in range(len(shape))))

    threads = weight.size // _WEIGHTS_A_THREAD
    run = pl.pallas_call(
        kernel,
        grid=(arrays[1].shape[0] if arrays[1].ndim == 2 else arrays[1].shape[1],),
        in_specs=[pl.BlockSpec(weight.shape, lambda signal: (0, 0, 0)), *(own_part(a.shape) for a in arrays)],
        out_specs=[own_part(shape) for shape in results],
        out_shape=[jax.ShapeDtypeStruct(shape, weight.dtype) for shape in results],
        compiler_params=triton.CompilerParams(num_warps=max(1, threads // 32), num_stages=1),
        interpret=interpret,
    )
    return tuple(run(weight, *arrays))
