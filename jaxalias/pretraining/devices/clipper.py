"""A clipping stage without memory between two filters: the simplest device that aliases, in a dozen lines.

First-order high-pass, biased tanh, first-order low-pass, at sixteen times the sample rate.
"""

import numpy as np
import scipy.signal

OVERSAMPLING = 16
_DRIVE, _BIAS = 60.0, 0.3
_COUPLING_HZ, _TONE_HZ = 40.0, 14_000.0


def play(x: np.ndarray, sample_rate: int) -> np.ndarray:
    """The output of the stage for signals (b, t), about 1 at full scale: (b, t), float64, zero at rest."""
    high_rate = sample_rate * OVERSAMPLING
    signal = scipy.signal.resample_poly(x, OVERSAMPLING, 1, axis=1)
    signal = _first_order(signal, "highpass", _COUPLING_HZ, high_rate)
    signal = 0.5 * (np.tanh(_DRIVE * signal + _BIAS) - np.tanh(_BIAS))
    signal = _first_order(signal, "lowpass", _TONE_HZ, high_rate)
    return np.asarray(scipy.signal.resample_poly(signal, 1, OVERSAMPLING, axis=1))


def _first_order(x: np.ndarray, kind: str, corner_hz: float, sample_rate: float) -> np.ndarray:
    b, a = scipy.signal.butter(1, corner_hz, kind, fs=sample_rate)
    return np.asarray(scipy.signal.lfilter(b, a, x, axis=1))
