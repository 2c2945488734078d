"""A short linear filter after a student, which corrects its harmonics as far as one linear filter can."""

import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.linalg
import scipy.signal
from jaxtyping import Float

from jaxalias.evaluation.sine_set import Play

_LEAST = 1e-9  # relative to the mean power; regularises frequencies without energy


def fit(y: Float[np.ndarray, "b t"], wanted: Float[np.ndarray, "b t"], taps: int) -> Float[np.ndarray, "taps"]:
    """The FIR filter h with the least sum over signals of |wanted - h * y|^2 / |wanted|^2. Causal, so without latency.

    Solves the normal equations of the signals' correlations (Wiener filter). Silent signals are left out.

    Args:
        y: outputs of the student.
        wanted: outputs to match.
        taps: length of h.
    """
    power = np.sum(wanted**2, axis=1, keepdims=True)
    scale = np.where(power > 0, 1 / np.sqrt(np.where(power > 0, power, 1)), 0)
    length = scipy.fft.next_fast_len(y.shape[1] + taps, real=True)
    found, aim = (scipy.fft.rfft(scale * signal, length) for signal in (y, wanted))
    auto, cross = (scipy.fft.irfft(np.sum(s, axis=0), length)[:taps] for s in (np.abs(found) ** 2, found.conj() * aim))
    auto[0] *= 1 + _LEAST
    return scipy.linalg.solve_toeplitz(auto, cross)


def behind(play: Play, h: Float[np.ndarray, "taps"]) -> Play:
    """The model followed by the filter."""
    return lambda x: jnp.asarray(scipy.signal.lfilter(h, 1, np.asarray(play(x)), axis=1))
