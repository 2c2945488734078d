"""The recurrence of `lstm` on a GPU: one fused kernel over the whole frame each way (Pallas, lowered by Triton).

A scan launches a handful of kernels a step and fetches the recurrent weights anew in each. Here a program
walks one signal from its first sample to its last with the weights in registers. One signal, not a tile of
16 as a matrix unit would ask for: in float32 without TF32 such a product runs on the same cores as a matrix
times a vector, and a step of 16 signals would take 16 times the arithmetic of the step that all wait for.
What does not wait for the step before stays outside, as large products that XLA runs: the input's share of
the gates; for the backward pass the gates of all steps again and everything that a gradient is multiplied
with; and the gradient of the weights.

Inside, a step costs what its threads tell each other, so the units of a vector are arranged for that: as
(n, lanes), with matrices as (n, to, to lanes, lanes). Triton then gives each thread whole stretches of one
row, adds up four threads in two exchanges, and has a unit's gates in one thread. It does so by a rule of its
own (the last axis goes to neighbouring threads first, then the one before), which older Tritons do not have:
there the results are the same and the step is several times slower.

float32 only. Measured on an H100 beside the scan and cuDNN (experiments/BENCHMARKS.md); the numbers are checked in
Pallas's interpreter and, where there is a GPU, compiled.
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
except ImportError:  # JAX calls this way to Triton deprecated since 0.11; without it the scan does the work
    triton = None  # type: ignore[assignment]

HIDDEN_LIMIT = 64
"""The four matrices of 128 units alone are 65 536 numbers: every register of a multiprocessor."""

_LANES = 16  # columns of a product side by side in memory: four threads of four each, so a sum is two exchanges
_WEIGHTS_A_THREAD = 64  # of its 255 registers; the rest hold the products, the state and what is read ahead


def fits(cell: dict[str, Array], x: Float[Array, "t b inputs"], state: tuple[Array, Array]) -> bool:
    """Whether the kernel takes this work: float32 throughout, at most 64 hidden units, not empty (and JAX has it)."""
    single = all(array.dtype == jnp.float32 for array in jax.tree.leaves((cell, x, state)))
    return triton is not None and single and cell["hidden"].shape[1] <= HIDDEN_LIMIT and x.size > 0


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
    """The gates of all steps are computed again at once, and all that a step multiplies its gradients with."""
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
    d_weight = jnp.sum(each, axis=0)  # a sum over time and signals in one product keeps few processors at work
    return d_weight, d_rows, d_hidden, d_cell


_walk.defvjp(_walk_forward, _walk_backward)


def _forward_kernel(weight: Any, rows: Any, hidden: Any, cell: Any, states: Any) -> None:
    """One signal, h standing for (n, lanes): rows (t, 4, h), the first hidden and cell state (h).

    weight: (4, n, h, lanes), to the units in the middle from those around it, gates i, f, g, o.
    states: (t, h, 2) to fill in, hidden and cell state after every step.
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
    """One signal from its end to its start, h standing for (n, lanes): slopes (t, 6, h), d_hiddens (t, h).

    weight: (2, 2, n, h, lanes), to the units h from the gates [[i, f], [g, o]] of those around it.
    results: gradients by the rows (t, h, 2, 2), by the first hidden and by the first cell state (h).
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
        d_gates = jnp.stack(pairs, -1)  # of each unit [[i, f], [g, o]]
        d_rows[last - back] = d_gates
        return _times(u, d_gates.transpose(2, 3, 0, 1)), d_cell * keep

    end = (jnp.zeros_like(d_cell_end[...]), d_cell_end[...])
    d_hidden_start[...], d_cell_start[...] = _along_time(read, step, end, last + 1)


def _times(matrix: Float[Array, "... n to lanes from"], vector: Float[Array, "... n from"]) -> Float[Array, "to lanes"]:
    """Matrix times vector: what a thread has of a row is summed first, then over the threads of a row."""
    products = matrix * vector[..., None, None, :]
    while products.ndim > 3:
        products = jnp.sum(products, axis=0)
    return jnp.sum(products, axis=-1)


def _by_lanes(array: Array, axis: int) -> Array:
    """The units of an axis as (n, lanes): a reshape inside a kernel would undo the arrangement of threads."""
    return array.reshape(*array.shape[:axis], -1, _LANES, *array.shape[axis + 1 :])


def _along_time(read: Callable[[Any], list], step: Callable[..., tuple], carry: tuple, steps: int) -> tuple:
    """step(index, carry, read(index)) for every index, each read one step early: memory answers meanwhile."""

    def body(index: Array, both: tuple) -> tuple:
        carry, now = both
        ahead = read(jnp.minimum(index + 1, np.int32(steps - 1)))
        return step(index, carry, now), ahead

    first = np.int32(0)  # in 64-bit mode too
    return jax.lax.fori_loop(first, np.int32(steps), body, (carry, read(first)))[0]


def _launch(kernel: Callable[..., None], weight: Array, arrays: tuple, results: list, interpret: bool) -> tuple:
    """Run a kernel once for each signal: it sees the whole weight, and its own part of arrays and results."""

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
