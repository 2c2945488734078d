"""The delay of an output relative to its input, and the share of the output that this delay explains.

A device distorts, so neither a plain correlation nor a linear fit can judge a delay: a linear filter explains half
of the output of a fuzz, and nothing of an octave-up. Here candidates are the peaks of Wiener's impulse response, of the
input and of its magnitude, over all delays that the lengths of the two signals allow. Each candidate is judged by the
share of the output's energy that a Hammerstein model explains: a few static curves of the input, each with a filter,
fitted per frequency over short segments. This share is above a half for guitar pedals at high gain, and about zero for
an unrelated recording.
"""

from typing import NamedTuple

import numpy as np
import scipy.fft
from jaxtyping import Float

Signal = Float[np.ndarray, "t"]
Other = Float[np.ndarray, "u"]

SHORTEST = 2048  # samples; the least overlap of the two signals
_SEGMENT, _SEGMENTS = 2048, 400  # samples per segment; largest number of segments
_FEWEST = 32  # segments per signal; a shorter signal is cut into shorter segments
_APART = 2048  # samples; the reach of a segment's filter, so nearer delays are not distinguished
_CANDIDATES = 3  # of each impulse response
_FLOOR = 1e-3  # of the input's mean power; regularises the impulse response
_GAIN = 10.0  # of the steep curve, relative to the rms
_ONSET, _GAP = 0.4, 8  # threshold relative to the peak of the impulse response; samples below it that do not end a lobe
_IN_DOUBT = 0.95  # the share of an octave-up is multiplied by it when shares are compared
_DRIFT, _CLEARLY, _ALIKE = 10, 1.2, 0.5  # least samples, ratio of correlations and correlation of a drift


class Found(NamedTuple):
    """The delay of an output in samples (positive: the output is late), and the best delay at a distance from it.

    `explained` is the share of the output's energy that the input explains, within the overlap of the two signals,
    multiplied by the share of a signal's energy that lies in the overlap (of the signal with the larger such share).
    """

    delay: int
    polarity: int  # -1 if the output is inverted
    even: bool  # True if the magnitude of the input explains more than the input: an octave-up
    explained: float
    rival: int
    rival_explained: float


def search(x: Signal, y: Other) -> Found:
    """The delay of y relative to x that explains most of y, among those with an overlap of at least `SHORTEST` samples.

    Args:
        x: input of a device, (t,).
        y: its output, (u,). Both have at least `SHORTEST` samples and are not silent.

    Example:
        >>> x = np.random.default_rng(0).standard_normal(20_000)
        >>> found = search(x, -np.tanh(np.roll(x, 7)))
        >>> found.delay, found.polarity
        (7, -1)
    """
    size = scipy.fft.next_fast_len(len(x) + len(y), real=True)
    theirs = scipy.fft.rfft(y.astype(np.float32), size)  # the rounding of float32 is far below any peak
    responses = [_response(_curve(x, even), theirs, size) for even in (False, True)]
    candidates = [(delay, even) for even in (0, 1) for delay in _peaks(responses[even], len(x), len(y))]
    judged = [(explained(x, y, delay), delay, even) for delay, even in candidates]
    judged.sort(key=lambda entry: entry[0] * (_IN_DOUBT if entry[2] else 1), reverse=True)
    best, delay, even = judged[0]
    rival, other = next(((e, d) for e, d, _ in judged if abs(d - delay) >= _APART), (0.0, delay))
    return Found(delay, 1 if responses[0][delay] >= 0 else -1, bool(even), best, other, rival)


def onset(x: Signal, y: Signal, before: int, *, even: bool = False) -> int:
    """The number of samples between x and the beginning of the response: where the largest lobe of the response rises.

    The impulse response is averaged over segments, so that noise and gaps in the input's spectrum move it little.

    Args:
        x, y: aligned to within `before` samples, (t,) each.
        before: samples; the search range on either side.
        even: True if the output follows the magnitude of x (see `Found`).

    Example:
        >>> x = np.random.default_rng(0).standard_normal(20_000)
        >>> onset(x, np.roll(x, 3), before=10)
        3
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
    """The share of y's energy that filtered static curves of x explain at a delay (see `Found`), about 0 to 1.

    The share is corrected for the share of noise that the same number of filters explains. It may be just below 0.

    Args:
        x: input, (t,).
        y: output, (u,).
        delay: samples; positive: y is late.

    Example:
        >>> x = np.random.default_rng(0).standard_normal(20_000)
        >>> explained(x, np.roll(x, 5), 5) > 0.99, explained(x, np.roll(x, 5), 3000) < 0.05
        (True, True)
    """
    ours, theirs = overlap(x, y, delay)
    length = len(ours)
    if length < SHORTEST or not np.any(theirs):
        return 0.0
    place, window = _places(length)
    basis, wanted = _basis(ours[place], window), _spectra(theirs[place], window)
    rest = np.sum(np.abs(wanted - _predict(_fit(basis, wanted), basis)) ** 2) / max(np.sum(np.abs(wanted) ** 2), 1e-30)
    curves = basis.shape[1]
    trials = max(min(len(place), 1.4 * length / len(window)), curves + 1)  # number of independent segments
    share = 1 - rest * trials / (trials - curves)
    held = max(np.sum(part**2) / max(np.sum(whole**2), 1e-30) for part, whole in ((ours, x), (theirs, y)))
    return float(share * held)


def overlap(x: Signal, y: Other, delay: int) -> tuple[np.ndarray, np.ndarray]:
    """The parts of both signals that overlap at a delay of y (samples), of equal length.

    Example:
        >>> x, y = overlap(np.arange(5.0), np.arange(5.0), 2)
        >>> x.tolist(), y.tolist()
        ([0.0, 1.0, 2.0], [2.0, 3.0, 4.0])
    """
    x, y = (x, y[delay:]) if delay >= 0 else (x[-delay:], y)
    length = min(len(x), len(y))
    return x[:length], y[:length]


def best_shift(like: Signal, y: Other, low: int, high: int) -> tuple[int, int]:
    """The delay from `low` to `high` with the largest correlation, in magnitude, of y and `like`: (delay, polarity).

    Args:
        like: (t,).
        y: (u,).
        low, high: samples.

    Example:
        >>> x = np.random.default_rng(0).standard_normal(1000)
        >>> best_shift(x, -np.roll(x, 4), -10, 10)
        (4, -1)
    """
    size = scipy.fft.next_fast_len(len(like) + len(y), real=True)
    correlation = scipy.fft.irfft(scipy.fft.rfft(y, size) * np.conj(scipy.fft.rfft(like, size)), size)
    delays = np.arange(max(low, 1 - len(like)), min(high, len(y) - 1) + 1)
    delay = int(delays[np.argmax(np.abs(correlation[delays]))])
    return delay, (1 if correlation[delay] >= 0 else -1)


def drift(x: Signal, y: Signal) -> int:
    """The growth of the delay from the beginning to the end of an aligned pair, in samples; 0 if it is not clear.

    Filters fitted to the first third predict the last third. The drift is the delay at which the output correlates best
    with this prediction.

    Args:
        x, y: aligned input and output, (t,) each.

    Example:
        >>> x = np.random.default_rng(0).standard_normal(200_000)
        >>> drift(x, np.tanh(x))
        0
    """
    place, window = _places(len(x))
    basis, wanted = _basis(x[place], window), _spectra(y[place], window)
    third = max(len(place) // 3, 1)
    found, expected = wanted[:, -third:], _predict(_fit(basis[..., :third], wanted[:, :third]), basis[..., -third:])

    def correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        return scipy.fft.irfft(np.sum(one.conj() * other, 1))

    reach = len(window) // 4
    near = correlation(expected, found)[np.arange(-reach, reach + 1)]
    alike = near.max() / np.sqrt(correlation(expected, expected)[0] * correlation(found, found)[0] + 1e-30)
    lag = int(np.argmax(near)) - reach
    return lag if abs(lag) > _DRIFT and alike > _ALIKE and near.max() > _CLEARLY * near[reach] else 0


def _response(x: np.ndarray, theirs: np.ndarray, size: int) -> np.ndarray:
    """Wiener's impulse response from x to a signal with the spectrum `theirs`; index d is delay d, circularly."""
    ours = scipy.fft.rfft(x.astype(np.float32), size)
    power = ours.real**2 + ours.imag**2
    return scipy.fft.irfft(theirs * ours.conj() / (power + _FLOOR * np.mean(power) + 1e-30), size)


def _curve(x: Float[np.ndarray, "*segments t"], even: bool) -> np.ndarray:
    return np.abs(x) - np.mean(np.abs(x)) if even else x


def _places(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (n, s) of n segments distributed over a signal, and a window (s,) for them."""
    size = _SEGMENT
    while size > 256 and length < _FEWEST * size:
        size //= 2
    starts = np.unique(np.linspace(0, length - size, min(_SEGMENTS, 2 * (length // size) - 1)).astype(int))
    return starts[:, None] + np.arange(size), np.hanning(size)


def _spectra(rows: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Spectra (f, n) of segments (n, s), after each segment's mean is removed."""
    return scipy.fft.rfft((rows - rows.mean(1, keepdims=True)) * window).T


def _basis(rows: np.ndarray, window: np.ndarray) -> np.ndarray:
    """Spectra (f, c, n) of c static curves of segments: the segments themselves, an even curve, and a steep one."""
    rms = np.sqrt(np.mean(rows**2)) + 1e-30
    return np.stack([_spectra(curve, window) for curve in (rows, np.abs(rows), np.tanh(_GAIN * rows / rms))], 1)


def _fit(basis: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The filters (f, c) whose summed outputs are closest to the spectra `wanted` (f, n)."""
    gram = basis.conj() @ basis.transpose(0, 2, 1)
    power = np.einsum("fcc->fc", gram).real
    gram += (1e-6 * power + 1e-12 * power.max() + 1e-30)[..., None] * np.eye(basis.shape[1])
    return np.linalg.solve(gram, basis.conj() @ wanted[..., None])[..., 0]


def _predict(filters: np.ndarray, basis: np.ndarray) -> np.ndarray:
    return np.einsum("fc,fcn->fn", filters, basis)


def _peaks(found: np.ndarray, inputs: int, outputs: int) -> list[int]:
    """The delays of the largest values of an impulse response, at least `_APART` from each other."""
    size = np.abs(found)
    size[outputs - SHORTEST + 1 : len(found) - inputs + SHORTEST] = 0
    peaks = []
    for _ in range(_CANDIDATES):
        peak = int(np.argmax(size))
        peaks.append(peak if peak < outputs else peak - len(found))
        size[np.arange(peak - _APART + 1, peak + _APART) % len(size)] = 0
    return peaks
