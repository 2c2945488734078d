"""A virtual device to make a model of: filter, clipper, filter, at sixteen times the rate.

Stands in for a recording where there is none. Its output hardly aliases, so what a model of it aliases is
the model's own doing.
"""

import numpy as np
import scipy.signal

OVERSAMPLING = 16
_DRIVE, _BIAS = 60.0, 0.3
_COUPLING_HZ, _TONE_HZ = 40.0, 14_000.0


def clipper(x: np.ndarray, sample_rate: int) -> np.ndarray:
    """A hard-driven clipping stage: first-order high-pass, biased tanh, first-order low-pass.

    Args:
        x: input (t,), about 1 at full scale.

    Returns:
        Output (t,), float64, its offset at rest removed.
    """
    high_rate = sample_rate * OVERSAMPLING
    signal = scipy.signal.resample_poly(x, OVERSAMPLING, 1)
    signal = _first_order(signal, "highpass", _COUPLING_HZ, high_rate)
    signal = 0.5 * (np.tanh(_DRIVE * signal + _BIAS) - np.tanh(_BIAS))
    signal = _first_order(signal, "lowpass", _TONE_HZ, high_rate)
    return scipy.signal.resample_poly(signal, 1, OVERSAMPLING)


DEVICES = {"clipper": clipper}
"""Virtual devices by name: functions of (x, sample_rate)."""


def training_signal(seconds: float, sample_rate: int, seed: int) -> np.ndarray:
    """Plucked strings, sweeps and noise bursts in turn, half a second each, at random levels (t,)."""
    random = np.random.default_rng(seed)
    length = sample_rate // 2
    makers = (_pluck, _sweep, _burst)
    parts = []
    for index in range(int(np.ceil(2 * seconds))):
        part = makers[index % len(makers)](length, sample_rate, random)
        parts.append(part / np.max(np.abs(part)) * 10 ** random.uniform(-2, 0))
    return np.concatenate(parts)


def _first_order(x: np.ndarray, kind: str, corner_hz: float, sample_rate: float) -> np.ndarray:
    b, a = scipy.signal.butter(1, corner_hz, kind, fs=sample_rate)
    return np.asarray(scipy.signal.lfilter(b, a, x))


def _pluck(length: int, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    """Karplus-Strong: a burst of noise in a damped delay line, as one recursive filter."""
    period = int(sample_rate / (82.4 * 2 ** random.uniform(0, 3)))
    excitation = np.zeros(length)
    excitation[:period] = random.uniform(-1, 1, period)
    feedback = np.zeros(period + 2)
    feedback[0], feedback[period], feedback[period + 1] = 1, -0.498, -0.498
    return np.asarray(scipy.signal.lfilter([1.0], feedback, excitation))


def _sweep(length: int, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    low, high = sorted(20 * 2 ** random.uniform(0, 9.5, 2))
    time = np.arange(length) / sample_rate
    return scipy.signal.chirp(time, low, time[-1], high, method="logarithmic", phi=random.uniform(0, 360))


def _burst(length: int, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    noise = random.standard_normal(length) * np.exp(-np.arange(length) / (0.1 * sample_rate))
    return _first_order(noise, "lowpass", 20 * 2 ** random.uniform(3, 9.5), sample_rate)
