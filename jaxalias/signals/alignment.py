"""Where an output lies on its input: the delay that explains it best, and how well it does.

A device distorts, so that neither a plain correlation nor a linear fit can judge a delay: of a fuzz a linear filter
explains half, of an octave-up nothing. Here candidates come from Wiener's impulse response, of the input and of its
magnitude, over all delays that the two signals allow. Each is then judged by the share of the output's energy that
filters of a few static curves of the input explain (a Hammerstein model, fitted per frequency over short segments).
Of guitar pedals at high gain they explain over half, of a foreign recording nothing.
"""

from typing import NamedTuple

import numpy as np
import scipy.fft
from jaxtyping import Float

Signal = Float[np.ndarray, "t"]
Other = Float[np.ndarray, "u"]

SHORTEST = 2048  # samples that both have to hold
_SEGMENT, _SEGMENTS = 2048, 400  # samples of one; how many at most
_FEWEST = 32  # segments that a signal has to hold, or shorter ones are taken
_APART = 2048  # samples between delays that are told apart: a segment's filter reaches as far
_CANDIDATES = 3  # of each impulse response
_FLOOR = 1e-3  # of the input's mean power: below it an impulse response is held back
_GAIN = 10.0  # of the steep curve, over the rms
_ONSET, _GAP = 0.4, 8  # of the largest value of the impulse response; samples below it that do not end a lobe
_IN_DOUBT = 0.95  # an octave-up has to explain more than that
_DRIFT, _CLEARLY, _ALIKE = 10, 1.2, 0.5  # samples; how much more a pair has to correlate there, and how well


class Found(NamedTuple):
    """The delay of an output in samples, positive where it is late, and the best one apart from it.

    `explained` is the share of the energy that follows the input: of what both signals hold at that delay, times the
    share of it in all of the one that is held more.
    """

    delay: int
    polarity: int  # -1 where the output is turned over
    even: bool  # it follows the magnitude of the input better than the input: an octave up
    explained: float
    rival: int
    rival_explained: float


def search(x: Signal, y: Other) -> Found:
    """The delay of y behind x that explains most of y, of all at which both hold `SHORTEST` samples.

    Args:
        x: what went into a device.
        y: what came out, both with at least `SHORTEST` samples and not silent.
    """
    size = scipy.fft.next_fast_len(len(x) + len(y), real=True)
    theirs = scipy.fft.rfft(y.astype(np.float32), size)  # whose rounding is far below any peak
    responses = [_response(_curve(x, even), theirs, size) for even in (False, True)]
    candidates = [(delay, even) for even in (0, 1) for delay in _peaks(responses[even], len(x), len(y))]
    judged = [(explained(x, y, delay), delay, even) for delay, even in candidates]
    judged.sort(key=lambda entry: entry[0] * (_IN_DOUBT if entry[2] else 1), reverse=True)
    best, delay, even = judged[0]
    rival, other = next(((e, d) for e, d, _ in judged if abs(d - delay) >= _APART), (0.0, delay))
    return Found(delay, 1 if responses[0][delay] >= 0 else -1, bool(even), best, other, rival)


def onset(x: Signal, y: Signal, before: int, *, even: bool = False) -> int:
    """How many samples after x a device begins to answer: where the largest lobe of its impulse response rises.

    The response is averaged over segments, so that neither noise nor gaps in the input's spectrum move it much.

    Args:
        x, y: in step, or nearly so.
        before: samples to look at on either side.
        even: the answer is to the magnitude of x (see `Found`).
    """
    place, window = _places(len(x))
    ours, theirs = _spectra(_curve(x[place], even), window), _spectra(y[place], window)
    power = np.mean(np.abs(ours) ** 2, 1)
    found = scipy.fft.irfft(np.mean(ours.conj() * theirs, 1) / (power + _FLOOR * np.mean(power) + 1e-30))
    before = min(before, len(window) // 2 - 1)
    near = np.abs(found[np.arange(-before, before + 1)])
    peak = int(np.argmax(near))
    high = np.flatnonzero(near[: peak + 1] >= _ONSET * near[peak])
    lobe = np.flatnonzero(np.diff(high) > _GAP)
    return int(high[lobe[-1] + 1 if len(lobe) else 0]) - before


def explained(x: Signal, y: Other, delay: int) -> float:
    """The share of y's energy that filters of static curves of x explain at a delay (see `Found`), about 0 to 1.

    The share is corrected for what as many filters explain of noise, so that it may be just below 0.
    """
    ours, theirs = overlap(x, y, delay)
    length = len(ours)
    if length < SHORTEST or not np.any(theirs):
        return 0.0
    place, window = _places(length)
    basis, wanted = _basis(ours[place], window), _spectra(theirs[place], window)
    rest = np.sum(np.abs(wanted - _answer(_fit(basis, wanted), basis)) ** 2) / max(np.sum(np.abs(wanted) ** 2), 1e-30)
    curves = basis.shape[1]
    trials = max(min(len(place), 1.4 * length / len(window)), curves + 1)  # segments that are independent of each other
    share = 1 - rest * trials / (trials - curves)
    held = max(np.sum(part**2) / max(np.sum(whole**2), 1e-30) for part, whole in ((ours, x), (theirs, y)))
    return float(share * held)


def overlap(x: Signal, y: Other, delay: int) -> tuple[np.ndarray, np.ndarray]:
    """What both signals hold, in step."""
    x, y = (x, y[delay:]) if delay >= 0 else (x[-delay:], y)
    length = min(len(x), len(y))
    return x[:length], y[:length]


def best_shift(like: Signal, y: Other, low: int, high: int) -> tuple[int, int]:
    """The delay from `low` to `high` at which y correlates most with `like`, turned over or not: (delay, polarity)."""
    size = scipy.fft.next_fast_len(len(like) + len(y), real=True)
    correlation = scipy.fft.irfft(scipy.fft.rfft(y, size) * np.conj(scipy.fft.rfft(like, size)), size)
    delays = np.arange(max(low, 1 - len(like)), min(high, len(y) - 1) + 1)
    delay = int(delays[np.argmax(np.abs(correlation[delays]))])
    return delay, (1 if correlation[delay] >= 0 else -1)


def drift(x: Signal, y: Signal) -> int:
    """How much later a pair in step is at its end than at its beginning, in samples; 0 where that is not clear.

    The filters of the first third say what is to be expected in the last, and a correlation where it is.
    """
    place, window = _places(len(x))
    basis, wanted = _basis(x[place], window), _spectra(y[place], window)
    third = max(len(place) // 3, 1)
    found, expected = wanted[:, -third:], _answer(_fit(basis[..., :third], wanted[:, :third]), basis[..., -third:])

    def correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return scipy.fft.irfft(np.sum(one.conj() * other, 1))

    reach = len(window) // 4
    near = correlation(expected, found)[np.arange(-reach, reach + 1)]
    alike = near.max() / np.sqrt(correlation(expected, expected)[0] * correlation(found, found)[0] + 1e-30)
    lag = int(np.argmax(near)) - reach
    return lag if abs(lag) > _DRIFT and alike > _ALIKE and near.max() > _CLEARLY * near[reach] else 0


def _response(x: np.ndarray, theirs: np.ndarray, size: int) -> np.ndarray:
    """Wiener's impulse response from x to a signal of this spectrum at all delays: [d] is that at d, also below 0."""
    ours = scipy.fft.rfft(x.astype(np.float32), size)
    power = ours.real**2 + ours.imag**2
    return scipy.fft.irfft(theirs * ours.conj() / (power + _FLOOR * np.mean(power) + 1e-30), size)


def _curve(x: Float[np.ndarray, "*segments t"], even: bool) -> np.ndarray:
    return np.abs(x) - np.mean(np.abs(x)) if even else x


def _places(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of segments (n, s) spread over a signal, and a window for them."""
    size = _SEGMENT
    while size > 256 and length < _FEWEST * size:
        size //= 2
    starts = np.unique(np.linspace(0, length - size, min(_SEGMENTS, 2 * (length // size) - 1)).astype(int))
    return starts[:, None] + np.arange(size), np.hanning(size)


def _spectra(rows: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Of segments (n, s), each without its mean: (f, n)."""
    return scipy.fft.rfft((rows - rows.mean(1, keepdims=True)) * window).T


def _basis(rows: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Spectra of static curves of segments (f, c, n): themselves, an even curve, and a steep one."""
    rms = np.sqrt(np.mean(rows**2)) + 1e-30
    return np.stack([_spectra(curve, window) for curve in (rows, np.abs(rows), np.tanh(_GAIN * rows / rms))], 1)


def _fit(basis: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The filters (f, c) whose sum comes closest to what is wanted (f, n)."""
    gram = basis.conj() @ basis.transpose(0, 2, 1)
    power = np.einsum("fcc->fc", gram).real
    gram += (1e-6 * power + 1e-12 * power.max() + 1e-30)[..., None] * np.eye(basis.shape[1])
    return np.linalg.solve(gram, basis.conj() @ wanted[..., None])[..., 0]


def _answer(filters: np.ndarray, basis: np.ndarray) -> np.ndarray:
    return np.einsum("fc,fcn->fn", filters, basis)


def _peaks(found: np.ndarray, inputs: int, outputs: int) -> list[int]:
    """The delays of the largest values of an impulse response, apart from each other."""
    size = np.abs(found)
    size[outputs - SHORTEST + 1 : len(found) - inputs + SHORTEST] = 0
    peaks = []
    for _ in range(_CANDIDATES):
        peak = int(np.argmax(size))
        peaks.append(peak if peak < outputs else peak - len(found))
        size[np.arange(peak - _APART + 1, peak + _APART) % len(size)] = 0
    return peaks
