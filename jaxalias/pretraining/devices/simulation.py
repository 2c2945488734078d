"""Simulate a circuit for given inputs: upsampling, an implicit integration method, downsampling.

Integration is the second-order backward differentiation formula (BDF2, Gear's method), which is stable for stiff
circuits: C (3 v - 4 v' + v'') / 2T + G v + P e(Q v) = s + b u. Solving for v leaves one equation for
the junction voltages w = Q v alone, w + F e(w) = w_linear, solved by a fixed number of Newton steps. Voltages and
currents are relative to their values at rest. So a circuit at rest stays at rest, and rounding errors of the bias do
not accumulate. Everything is in float64 and needs JAX's 64-bit mode. libsoxr resamples (see
`jaxalias.signals.audio_files`).
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import soxr

from jaxalias.pretraining.devices.circuit import Circuit, Equations, equations, nodes, operating_point
from jaxalias.signals.dsp import require_precision

OVERSAMPLING = 96
NEWTON_STEPS = 5  # a test bounds the remaining error
LANES, LEAD_IN_S = 64, 1.0  # pieces of one long signal; lead-in of each
_BLOCK = 1024  # samples at the low rate; limits the memory
_BEYOND = 512  # samples; the look-ahead of the resampler's filters
_PREDICTED_FROM = 32  # samples; order of the prediction


class _State(NamedTuple):
    """Node voltages of this sample and the one before, relative to rest, and junction voltages; tuples of (b,)."""

    v: tuple[jax.Array, ...]
    before: tuple[jax.Array, ...]
    w: tuple[jax.Array, ...]


def play(circuit: Circuit, x: np.ndarray, sample_rate: int) -> np.ndarray:
    """The output of the circuit, at rest before, for given inputs.

    A long signal is cut into `LANES` pieces, which are simulated in parallel. Each starts from rest with a lead-in of
    `LEAD_IN_S`, which is longer than the memory of the circuits here.

    Args:
        circuit: the device.
        x: inputs (b, t), full scale 1.
        sample_rate: Hz.

    Returns:
        Outputs (b, t), float64, without delay.
    """
    require_precision("float64")
    samples = x.shape[1]
    x = np.array([_continued(row) for row in np.asarray(x, np.float64)])
    lead_in = round(LEAD_IN_S * sample_rate)
    if len(x) == 1 and samples > LANES * lead_in // 4:
        piece = -(-x.shape[1] // LANES)
        padded = np.pad(x[0], (lead_in, LANES * piece + _BEYOND - x.shape[1]))
        width = lead_in + piece + _BEYOND
        pieces = np.lib.stride_tricks.sliding_window_view(padded, width)[::piece]
        return _side_by_side(circuit, pieces, sample_rate)[:, lead_in : lead_in + piece].reshape(1, -1)[:, :samples]
    return _side_by_side(circuit, x, sample_rate)[:, :samples]


def _continued(x: np.ndarray) -> np.ndarray:
    """A signal (t,) continued by linear prediction, because a jump to zero would cause ringing in its last samples."""
    order = min(_PREDICTED_FROM, len(x) // 3)
    past = np.lib.stride_tricks.sliding_window_view(x[-16 * order :], order + 1)
    weights = np.linalg.lstsq(past[:, :order], past[:, order], rcond=1e-12)[0]
    longer = np.concatenate([x, np.zeros(_BEYOND)])
    for index in range(len(x), len(longer)):
        longer[index] = np.clip(weights @ longer[index - order : index], -2, 2)
    longer[len(x) :] *= np.linspace(1, 0, _BEYOND)
    return longer


def _side_by_side(circuit: Circuit, x: np.ndarray, sample_rate: int) -> np.ndarray:
    high_rate = OVERSAMPLING * sample_rate
    up, down = (
        soxr.ResampleStream(*rates, len(x), dtype="float64", quality="VHQ")
        for rates in ((sample_rate, high_rate), (high_rate, sample_rate))
    )
    step, state = _stepper(circuit, high_rate), _at_rest(circuit, len(x))

    def high() -> Iterator[np.ndarray]:
        for start in range(0, x.shape[1], _BLOCK):
            yield up.resample_chunk(np.ascontiguousarray(x[:, start : start + _BLOCK].T))
        yield up.resample_chunk(np.zeros((0, len(x))), last=True)

    parts = []
    for block in _of_one_length(high(), _BLOCK * OVERSAMPLING):
        padded = np.pad(block, ((0, _BLOCK * OVERSAMPLING - len(block)), (0, 0)))  # one shape, compiled once
        state, y = step(state, padded)
        parts.append(down.resample_chunk(np.asarray(y)[: len(block)]))
    parts.append(down.resample_chunk(np.zeros((0, len(x))), last=True))
    return np.concatenate(parts)[: x.shape[1]].T


def _of_one_length(blocks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    waiting: list[np.ndarray] = []
    for block in blocks:
        waiting.append(block)
        if sum(map(len, waiting)) >= size:
            joined = np.concatenate(waiting)
            whole = len(joined) // size * size
            yield from joined[:whole].reshape(-1, size, joined.shape[1])
            waiting = [joined[whole:]]
    joined = np.concatenate(waiting)
    if len(joined):
        yield joined


def _at_rest(circuit: Circuit, batch: int) -> _State:
    w = equations(circuit).junctions @ operating_point(circuit)
    rest = tuple(jnp.zeros(batch) for _ in nodes(circuit))
    return _State(rest, rest, tuple(jnp.full(batch, value) for value in w))


@lru_cache
def _stepper(circuit: Circuit, rate_hz: float) -> Callable:
    """The compiled (state, u (t, b)) -> (state, y (t, b)) of a circuit at a sample rate."""
    c = equations(circuit)
    per_step = c.capacitance * rate_hz
    solved = np.linalg.inv(1.5 * per_step + c.conductance)
    feedback = c.junctions @ solved @ c.injection  # F
    from_voltages, from_junctions = solved @ per_step, -solved @ c.injection
    drive = solved @ c.drive * circuit.input_v
    rest = c.junctions @ operating_point(circuit)
    at_rest = c.saturation_a * np.exp(rest / c.thermal_v)

    def step(state: _State, u: jax.Array) -> tuple[_State, jax.Array]:
        past = [2 * a - 0.5 * b for a, b in zip(state.v, state.before, strict=True)]
        linear = [
            row + drive[i] * u for i, row in enumerate(_times(from_voltages, past))
        ]  # v for junction currents equal to those at rest
        w = _junctions(c, rest, at_rest, feedback, _times(c.junctions, linear), state.w)
        current = [s * jnp.exp(x / n) - e for s, x, n, e in zip(c.saturation_a, w, c.thermal_v, at_rest, strict=True)]
        v = tuple(a + b for a, b in zip(linear, _times(from_junctions, current), strict=True))
        (out,) = _times(c.output[None] * circuit.output_per_v, v)
        return _State(v, state.v, tuple(w)), out

    return jax.jit(lambda state, u: jax.lax.scan(step, state, u))


def _junctions(
    c: Equations, rest: np.ndarray, at_rest: np.ndarray, feedback: np.ndarray, linear: list, w: Any
) -> list[jax.Array]:
    """Solve w + F e(w) = w_linear by Newton's method, starting from the sample before."""
    w = list(w)
    for _ in range(NEWTON_STEPS):
        grown = [s * jnp.exp(x / n) for s, x, n in zip(c.saturation_a, w, c.thermal_v, strict=True)]
        current = [e - e0 for e, e0 in zip(grown, at_rest, strict=True)]
        residual = [x - x0 + y - z for x, x0, y, z in zip(w, rest, _times(feedback, current), linear, strict=True)]
        jacobian = [
            [feedback[i, j] * grown[j] / c.thermal_v[j] + float(i == j) for j in range(len(w))] for i in range(len(w))
        ]
        changes = _solve(jacobian, residual)
        w = [_limited(x, x - change, n) for x, change, n in zip(w, changes, c.thermal_v, strict=True)]
    return w


def _limited(before: jax.Array, after: jax.Array, thermal_v: float) -> jax.Array:
    """Limit an upward Newton step to its logarithm where the junction conducts, or the exponential would overflow."""
    start = jnp.maximum(before, jnp.minimum(after, 0))
    return jnp.where(after > before, start + thermal_v * jnp.log1p((after - start).clip(0) / thermal_v), after)


def _solve(matrix: list[list], right: list) -> list:
    """Gaussian elimination, written out: each entry is an array over the signals."""
    size = len(right)
    matrix, right = [list(row) for row in matrix], list(right)
    for k in range(size):
        for i in range(k + 1, size):
            factor = matrix[i][k] / matrix[k][k]
            for j in range(k + 1, size):
                matrix[i][j] = matrix[i][j] - factor * matrix[k][j]
            right[i] = right[i] - factor * right[k]
    for k in reversed(range(size)):
        right[k] = (right[k] - sum(matrix[k][j] * right[j] for j in range(k + 1, size))) / matrix[k][k]
    return right


def _times(matrix: np.ndarray, rows: Any) -> list:
    """A constant matrix times rows of arrays. Zero entries cost nothing."""
    return [
        sum((float(m) * row for m, row in zip(line, rows, strict=True) if m), start=jnp.zeros_like(rows[0]))
        for line in matrix
    ]
