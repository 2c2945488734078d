"""The recurrence of `lstm` on a GPU: one fused kernel for all steps of a frame, forward and backward (Pallas, Triton).

A scan launches several kernels in each step and loads the recurrent weights again each time. Here one program computes
all steps of one signal with the weights in registers. A program handles one signal, not a tile of 16 as for a matrix
unit: in float32 without TF32 such a product runs on the same cores as a matrix-vector product, so a step of
16 signals would take 16 times as long, and the steps are sequential. Everything that does not depend on the step before
is computed outside the kernel, as large products in XLA: the input's part of the gates; for the backward pass the
gates of all steps again and all factors of the gradients; and the gradient of the weights.

Inside the kernel, the time of a step is dominated by the communication between threads. The layout of the units
reduces it: vectors are (n, lanes), matrices (n, to, to lanes, lanes). Triton then gives each thread whole parts of one
row, sums over four threads in two exchanges, and keeps the gates of a unit in one thread. This relies on a rule
of Triton (the last axis is distributed to neighbouring threads first, then the one before), which older versions do not
have: there the results are the same, and a step is several times slower.

float32 only. Measured on an H100, with the scan and cuDNN for comparison (experiments/BENCHMARKS.md). Tests check the
numbers in Pallas's interpreter and, where there is a GPU, compiled.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jaxtyping import Array, Float

from jaxalias.models import lstm_slopes

try:
    from jax.experimental.pallas import triton
except ImportError:  # deprecated since JAX 0.11; without it the scan is used
    triton = None  # type: ignore[assignment]

HIDDEN_LIMIT = 64
"""With 128 units, the four matrices alone have 65 536 numbers, which would fill every register of a multiprocessor."""

_LANES = 16  # adjacent columns of a product in memory: four threads with four each, so a sum takes two exchanges
_WEIGHTS_A_THREAD = 64  # of its 255 registers; the others hold the products, the state and prefetched values


def fits(cell: dict[str, Array], x: Float[Array, "t b inputs"], state: tuple[Array, Array]) -> bool:
    """True if the kernel supports this layer: float32, at most 64 hidden units, not empty, and JAX has Triton."""
    single = all(array.dtype == jnp.float32 for array in jax.tree.leaves((cell, x, state)))
    return triton is not None and single and cell["hidden"].shape[1] <= HIDDEN_LIMIT and x.size > 0


def recurrence(
    cell: dict[str, Array], x: Float[Array, "t b inputs"], state: tuple[Array, Array], *, interpret: bool = False
) -> tuple[Float[Array, "t b h"], tuple[Array, Array]]:
    """One LSTM layer over time, as `lstm.recurrence`: the same arguments, results and gradients.

    The hidden units are padded to a power of two, because Triton needs one. The padded units stay at zero.

    Args:
        cell: "input" W (4h, inputs), "hidden" U (4h, h), "bias" (4h,) or one per signal (b, 4h); rows i, f, g, o.
        x: input of every step.
        state: (hidden, cell) before the first.
        interpret: run the kernel in Pallas's interpreter, on any device: for tests.
    """
    size = cell["hidden"].shape[1]
    missing = max(_LANES, pl.next_power_of_2(size)) - size

    def padded(array: Array, *axes: int) -> Array:
        return jnp.pad(array, [(0, missing if axis in axes else 0) for axis in range(array.ndim)])

    weight = padded(cell["hidden"].reshape(4, size, size), 1, 2)
    input_weight = padded(cell["input"].reshape(4, size, x.shape[-1]), 1)
    rows = jnp.einsum("tbn,khn->tbkh", x, input_weight, precision=jax.lax.Precision.HIGHEST)
    bias = cell["bias"].reshape(*cell["bias"].shape[:-1], 4, size)
    rows = rows + padded(bias, bias.ndim - 1)
    hiddens, cell_end = _walk(interpret, weight, rows, *(padded(part, 1) for part in state))
    return hiddens[..., :size], (hiddens[-1, :, :size], cell_end[:, :size])


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _walk(
    interpret: bool,
    weight: Float[Array, "4 h h"],
    rows: Float[Array, "t b 4 h"],
    hidden: Float[Array, "b h"],
    cell: Float[Array, "b h"],
) -> tuple[Float[Array, "t b h"], Float[Array, "b h"]]:
    """Hidden states of every step and the last cell state; rows are W x + b of all steps."""
    return _walk_forward(interpret, weight, rows, hidden, cell)[0]


def _walk_forward(interpret: bool, weight: Array, rows: Array, hidden: Array, cell: Array) -> tuple:
    steps, batch, _, size = rows.shape
    matrices = _by_lanes(_by_lanes(weight, 2), 1).transpose(0, 3, 1, 2, 4)
    result = [(steps, batch, size // _LANES, _LANES, 2)]
    arrays = (_by_lanes(rows, 3), _by_lanes(hidden, 1), _by_lanes(cell, 1))
    (states,) = _launch(_forward_kernel, matrices, arrays, result, interpret)
    hiddens, cells = (states[..., k].reshape(steps, batch, size) for k in range(2))
    return (hiddens, cells[-1]), (weight, rows, hidden, cell, hiddens, cells)


def _walk_backward(interpret: bool, residuals: tuple, gradients: tuple) -> tuple:
    """Recompute the gates of all steps at once, and from them the factors of each step's gradients."""
    weight, rows, hidden, cell, hiddens, cells = residuals
    steps, batch, _, size = rows.shape
    hidden_before, cell_before = (
        jnp.concatenate([first[None], states[:-1]]) for first, states in ((hidden, hiddens), (cell, cells))
    )
    rows = rows + jnp.einsum("kij,tbj->tbki", weight, hidden_before, precision=jax.lax.Precision.HIGHEST)
    i, f, o = (jax.nn.sigmoid(rows[:, :, k]) for k in (0, 1, 3))
    slopes = lstm_slopes.of_step((i, f, jnp.tanh(rows[:, :, 2]), o), cell_before, jnp.tanh(cells))
    units = (size // _LANES, _LANES)
    matrix = weight.reshape(2, 2, *units, *units).transpose(0, 1, 2, 4, 5, 3)
    results = [(steps, batch, *units, 2, 2), (batch, *units), (batch, *units)]
    d_hiddens, d_cell_end = gradients
    arrays = (_by_lanes(jnp.stack(slopes, axis=2), 3), _by_lanes(d_hiddens, 2), _by_lanes(d_cell_end, 1))
    d_rows, *d_start = _launch(_backward_kernel, matrix, arrays, results, interpret)
    d_rows = d_rows.reshape(steps, batch, size, 4).swapaxes(2, 3)
    d_hidden, d_cell = (part.reshape(batch, size) for part in d_start)
    each = jnp.einsum("tbki,tbj->bkij", d_rows, hidden_before, precision=jax.lax.Precision.HIGHEST)
    d_weight = jnp.sum(each, axis=0)  # one product that sums over time and signals would use few processors
    return d_weight, d_rows, d_hidden, d_cell


_walk.defvjp(_walk_forward, _walk_backward)


def _forward_kernel(weight: Any, rows: Any, hidden: Any, cell: Any, states: Any) -> None:
    """One signal; h means (n, lanes): rows (t, 4, h), the first hidden and cell state (h).

    weight: (4, n, h, lanes), from the units of the outer axes to those in the middle, gates i, f, g, o.
    states: (t, h, 2), filled with the hidden and cell state after every step.
    """
    u = [weight[k] for k in range(4)]

    def step(t: Array, carry: tuple, now: list) -> tuple:
        hidden_before, cell_before = carry
        i, f, g, o = (row + _times(u_k, hidden_before) for row, u_k in zip(now, u, strict=True))
        cell_after = jax.nn.sigmoid(f) * cell_before + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden_after = jax.nn.sigmoid(o) * jnp.tanh(cell_after)
        states[t] = jnp.stack([hidden_after, cell_after], axis=-1)
        return hidden_after, cell_after

    _along_time(lambda t: [rows[t, k] for k in range(4)], step, (hidden[...], cell[...]), rows.shape[0])


def _backward_kernel(weight: Any, slopes: Any, d_hiddens: Any, d_cell_end: Any, *results: Any) -> None:
    """One signal from its end to its start; h means (n, lanes): slopes (t, 6, h), d_hiddens (t, h).

    weight: (2, 2, n, h, lanes), from the gates [[i, f], [g, o]] of the units of the outer axes to the units h.
    results: gradients with respect to the rows (t, h, 2, 2), the first hidden and the first cell state (h).
    """
    d_rows, d_hidden_start, d_cell_start = results
    u = weight[...]
    last = slopes.shape[0] - 1

    def read(back: Any) -> list:
        t = last - back
        return [*(slopes[t, k] for k in range(6)), d_hiddens[t]]

    def step(back: Array, carry: tuple, now: list) -> tuple:
        in_i, in_f, in_g, in_o, through, keep, d_hidden_t = now
        d_hidden = carry[0] + d_hidden_t
        d_cell = carry[1] + d_hidden * through
        pairs = [jnp.stack([d_cell * in_i, d_cell * in_g], -1), jnp.stack([d_cell * in_f, d_hidden * in_o], -1)]
        d_gates = jnp.stack(pairs, -1)  # [[i, f], [g, o]] of each unit
        d_rows[last - back] = d_gates
        return _times(u, d_gates.transpose(2, 3, 0, 1)), d_cell * keep

    end = (jnp.zeros_like(d_cell_end[...]), d_cell_end[...])
    d_hidden_start[...], d_cell_start[...] = _along_time(read, step, end, last + 1)


def _times(matrix: Float[Array, "... n to lanes from"], vector: Float[Array, "... n from"]) -> Float[Array, "to lanes"]:
    """Matrix times vector: each thread sums its part of a row first, then the threads of a row are summed."""
    products = matrix * vector[..., None, None, :]
    while products.ndim > 3:
        products = jnp.sum(products, axis=0)
    return jnp.sum(products, axis=-1)


def _by_lanes(array: Array, axis: int) -> Array:
    """The units of an axis as (n, lanes). Inside a kernel, a reshape would destroy the layout over threads."""
    return array.reshape(*array.shape[:axis], -1, _LANES, *array.shape[axis + 1 :])


def _along_time(read: Callable[[Any], list], step: Callable[..., tuple], carry: tuple, steps: int) -> tuple:
    """step(index, carry, read(index)) for every index. Values are read one step early, to hide memory latency."""

    def body(index: Array, both: tuple) -> tuple:
        carry, now = both
        ahead = read(jnp.minimum(index + 1, np.int32(steps - 1)))
        return step(index, carry, now), ahead

    first = np.int32(0)  # 32 bits also in 64-bit mode
    return jax.lax.fori_loop(first, np.int32(steps), body, (carry, read(first)))[0]


def _launch(kernel: Callable[..., None], weight: Array, arrays: tuple, results: list, interpret: bool) -> tuple:
    """Run a kernel once for each signal, with the whole weight and that signal's part of arrays and results."""

    def own_part(shape: tuple[int, ...]) -> pl.BlockSpec:
        axis = 0 if len(shape) == 3 else 1  # (b, n, lanes), or time first
        block = tuple(None if n == axis else length for n, length in enumerate(shape))
        return pl.BlockSpec(block, lambda signal: tuple(signal if n == axis else 0 for n in range(len(shape))))

    threads = weight.size // _WEIGHTS_A_THREAD
    run = pl.pallas_call(
        kernel,
        grid=(arrays[0].shape[1],),
        in_specs=[pl.BlockSpec(weight.shape, lambda signal: (0,) * weight.ndim), *(own_part(a.shape) for a in arrays)],
        out_specs=[own_part(shape) for shape in results],
        out_shape=[jax.ShapeDtypeStruct(shape, weight.dtype) for shape in results],
        compiler_params=triton.CompilerParams(num_warps=max(1, threads // 32), num_stages=1),
        interpret=interpret,
    )
    return tuple(run(weight, *arrays))
