"""What went into a device and what came out, made ready to train on: checked, and brought into line.

A model has no delay of its own to learn, so the way through the converters is taken off to the sample. It is found
on the impulse response that fits the pair best (Wiener's): a distortion smears the peak of a plain correlation.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxalias.signals.dsp import power_to_db

LONGEST_DELAY_S = 1.0
_QUIET_DB = -50.0  # peak: below this a converter's noise is what is trained on
_FULL_SCALE, _RUN = 0.99, 3  # this many equal samples in a row up there were cut off by a converter
_ONSET = 0.4  # of the largest value of the impulse response
_RELATED = 8.0  # peak of the impulse response over its rms; of signals that have nothing to do with each other: 5


class Pair(NamedTuple):
    """Input and output (t,), in step; `delay` is what was taken off, in samples, `polarity` -1 if it turns over."""

    x: Float[np.ndarray, "t"]
    y: Float[np.ndarray, "t"]
    delay: int = 0
    polarity: int = 1


class Segments(NamedTuple):
    """Pieces of one length of a pair, on the host or the device: what comes before, then input and target."""

    lead_in: Any  # (b, before)
    inputs: Any  # (b, t)
    targets: Any  # (b, t)


class RecordingError(ValueError):
    """A recording that cannot be trained on, in one line: file, rule, value."""


def check(samples: Float[np.ndarray, "t"], name: str) -> None:
    """Refuse a recording that is silent, or that a converter has clipped.

    Raises:
        RecordingError: peak below -50 dB of full scale; or runs of equal samples within 1 % of full scale.
    """
    peak = float(np.max(np.abs(samples), initial=0))
    if peak < 10 ** (_QUIET_DB / 20):
        level = "silence" if peak == 0 else f"{20 * np.log10(peak):.0f} dB"
        raise RecordingError(f"{name}: must peak at {_QUIET_DB:g} dB of full scale or above, is {level}; record louder")
    flat = (np.abs(samples) >= _FULL_SCALE) & (np.diff(samples, append=np.nan) == 0)
    runs = np.convolve(flat, np.ones(_RUN - 1), mode="valid") == _RUN - 1 if len(samples) > _RUN else np.zeros(0)
    if np.any(runs):
        raise RecordingError(
            f"{name}: must not be clipped, sample {int(np.argmax(runs))} and the {_RUN - 1} after it are equal "
            f"at {peak:.3f} of full scale; record softer"
        )


def align(
    x: Float[np.ndarray, "t"], y: Float[np.ndarray, "u"], sample_rate: int, name: str, delay: int | None = None
) -> Pair:
    """Take the delay off an output, and keep what both recordings hold.

    The polarity is reported and kept: it belongs to the device.

    Args:
        delay: in samples, where it is known; None finds it.
        name: of the output, for errors.

    Raises:
        RecordingError: the lengths are more than a second apart, or the output is not that of this input.
    """
    if abs(len(x) - len(y)) > LONGEST_DELAY_S * sample_rate:
        raise RecordingError(
            f"{name}: must be as long as its input within {LONGEST_DELAY_S:g} s, "
            f"is {len(y) / sample_rate:.1f} s and its input {len(x) / sample_rate:.1f} s"
        )
    onset, polarity, strength = _onset(x, y, sample_rate)
    if strength < _RELATED:
        raise RecordingError(
            f"{name}: must be what a device made of its input, but hardly follows it "
            f"(impulse response {strength:.1f} times its rms, must be {_RELATED:g}); is it the right file?"
        )
    shift = onset if delay is None else delay
    x, y = (x, y[shift:]) if shift >= 0 else (x[-shift:], y)
    both = min(len(x), len(y))
    return Pair(x[:both], y[:both], shift, polarity)


def split(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """The beginning of each pair to train on, and its last `share` to validate on."""
    cuts = [len(pair.x) - round(share * len(pair.x)) for pair in pairs]
    return (
        [Pair(pair.x[:cut], pair.y[:cut]) for pair, cut in zip(pairs, cuts, strict=True)],
        [Pair(pair.x[cut:], pair.y[cut:]) for pair, cut in zip(pairs, cuts, strict=True)],
    )


def draw(pairs: Sequence[Pair], number: int, before: int, length: int, random: np.random.Generator) -> Segments:
    """Segments that begin anywhere, each beginning as likely as any other. What precedes a recording is silence."""
    room = [max(0, len(pair.x) - length + 1) for pair in pairs]
    ends = np.cumsum(room)
    picks = random.integers(ends[-1], size=number)
    which = np.searchsorted(ends, picks, side="right")
    return _cut(
        [(pairs[i], int(pick - ends[i] + room[i])) for i, pick in zip(which, picks, strict=True)], before, length
    )


def in_turn(pairs: Sequence[Pair], before: int, length: int) -> Segments:
    """All whole segments, side by side."""
    places = [(pair, start) for pair in pairs for start in range(0, len(pair.x) - length + 1, length)]
    return _cut(places, before, length)


def esr_db(estimate: np.ndarray, target: np.ndarray) -> float | None:
    """Error-to-signal ratio of two signals (t,) in dB (eq. 13)."""
    return power_to_db(float(np.sum((target - estimate) ** 2) / np.sum(target**2)))


def _cut(places: Sequence[tuple[Pair, int]], before: int, length: int) -> Segments:
    rows = []
    for (x, y, *_), start in places:
        lead_in = np.pad(x[max(0, start - before) : start], (max(0, before - start), 0))
        rows.append((lead_in, x[start : start + length], y[start : start + length]))
    return Segments(*map(np.stack, zip(*rows, strict=True)))


def _onset(x: np.ndarray, y: np.ndarray, sample_rate: int) -> tuple[int, int, float]:
    """Where the impulse response from x to y begins, its sign there, and its peak over its rms."""
    longest = round(LONGEST_DELAY_S * sample_rate)
    size = 1 << (max(len(x), len(y)) + longest - 1).bit_length()
    heard, made = np.fft.rfft(x, size), np.fft.rfft(y, size)
    power = np.abs(heard) ** 2
    response = np.fft.irfft(made * np.conj(heard) / (power + 1e-2 * np.mean(power)), size)
    response = np.roll(response, longest)[: 2 * longest + 1]
    size_db = np.abs(response)
    peak = int(np.argmax(size_db))
    early = max(0, peak - sample_rate // 100)
    first = early + int(np.argmax(size_db[early : peak + 1] >= _ONSET * size_db[peak]))
    strength = float(size_db[peak] / np.sqrt(np.mean(size_db**2)))
    return first - longest, (1 if response[first] >= 0 else -1), strength
