"""What went into a device and what came out, made ready to train on or to compare with: checked, and in step.

A model has no delay of its own to learn, so the way through the converters is taken off to the sample
(`jaxalias.signals.alignment` finds it, and says what it explains).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxalias.signals import alignment
from jaxalias.signals.alignment import Found
from jaxalias.signals.audio_files import QUIET_DB
from jaxalias.signals.dsp import power_to_db

_FULL_SCALE, _RUN = 0.99, 3  # this many equal samples in a row up there were cut off by a converter
_SAME_PEAK, _SEVERAL = 1e-4, 5  # two halves of a wave differ by a step of 16 bits; flat tops that a warning needs
_ONSET_S = 0.01  # before the largest value of its impulse response a device may have begun to answer
_HELD = 0.5  # share of an input that its output has to hold
_EXPLAINED = 0.4  # share of an output that has to follow its input; high gain: 0.6, foreign recordings: 0.05
_RIVAL = 0.95  # of what the best delay explains; another one that explains as much could be the right one


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

    Args:
        samples: as the file holds them: a change of the rate rounds what a converter cut off.

    Raises:
        RecordingError: peak below -50 dB of full scale; or runs of equal samples within 1 % of full scale, next to
            samples that are more than two steps of the file's resolution away (a slow wave has flat tops too).
    """
    refuse_silence(samples, name)
    clipped = clipping(samples)
    if clipped:
        raise RecordingError(f"{name}: must not be clipped, {clipped}; record softer")


def clipping(samples: Float[np.ndarray, "t"]) -> str | None:
    """Where a converter clipped a recording, in words; None where it did not (see `check`)."""
    starts, lengths = _flat_tops(samples, _FULL_SCALE)
    if not len(starts):
        return None
    level = abs(samples[starts[0]])
    return f"sample {starts[0]} and the {lengths[0] - 1} after it are equal at {level:.3f} of full scale"


def turned_down(samples: Float[np.ndarray, "t"], name: str) -> str | None:
    """A warning where a recording looks as if it was clipped and its level lowered afterwards, else None.

    Its flat tops then lie at its own peak. A distortion that runs in a computer has such tops too, so this is no error.
    """
    peak = float(np.max(np.abs(samples), initial=0))
    starts, _ = _flat_tops(samples, (1 - _SAME_PEAK) * peak)
    if peak >= _FULL_SCALE or len(starts) < _SEVERAL:
        return None
    return (
        f"{name}: {len(starts)} of its tops are flat at its peak, {peak:.3f} of full scale: if it was clipped and "
        "turned down afterwards, record again, softer"
    )


def refuse_silence(samples: Float[np.ndarray, "t"], name: str) -> None:
    """Refuse a recording that peaks below -50 dB of full scale; raises RecordingError."""
    peak = float(np.max(np.abs(samples), initial=0))
    if peak < 10 ** (QUIET_DB / 20):
        level = "silence" if peak == 0 else f"{20 * np.log10(peak):.0f} dB"
        raise RecordingError(f"{name}: must peak at {QUIET_DB:g} dB of full scale or above, is {level}; record louder")


def find(x: Float[np.ndarray, "t"], y: Float[np.ndarray, "u"], name: str, delay: int | None = None) -> Found:
    """The delay of an output behind its input, which has to be the only one that explains it.

    Args:
        delay: in samples, where it is known.
        name: of the output, for errors.

    Raises:
        RecordingError: the output is silent, holds too little of its input, does not follow it, follows it as well
            at another delay, or follows it much better at another one than that which was given.
    """
    refuse_silence(y, name)
    if min(len(x), len(y)) < alignment.SHORTEST:
        lengths = f"hold {len(y)} and {len(x)}"
        raise RecordingError(f"{name}: it and its input must hold {alignment.SHORTEST} samples at least, {lengths}")
    if len(y) < _HELD * len(x):
        _refuse_short(name, len(y), len(x))
    found = alignment.search(x, y)
    if delay is not None:
        share = alignment.explained(x, y, delay)
        if share < _EXPLAINED <= found.explained:
            raise RecordingError(
                f"{name}: delay of {delay} samples: {share:.0%} of it follows its input there, and "
                f"{found.explained:.0%} at {found.delay}"
            )
        return found._replace(delay=delay, explained=share)
    if found.explained < _EXPLAINED:
        raise RecordingError(
            f"{name}: must be what a device made of its input, but only {max(found.explained, 0):.0%} of it follows "
            f"its input (at a delay of {found.delay} samples, where it does most; must be {_EXPLAINED:.0%}); is it the "
            "right file? If so, give its --delay"
        )
    if found.rival_explained > _RIVAL * found.explained:
        raise RecordingError(
            f"{name}: its delay cannot be told: {found.explained:.0%} of it follows its input at {found.delay} samples "
            f"and {found.rival_explained:.0%} at {found.rival}; record something that does not repeat itself, or give "
            "its --delay"
        )
    held, _ = alignment.overlap(x, y, found.delay)
    if len(held) < _HELD * len(x):
        _refuse_short(name, len(held), len(x), f" after a delay of {found.delay}")
    return found


def align(
    x: Float[np.ndarray, "t"], y: Float[np.ndarray, "u"], sample_rate: int, name: str, delay: int | None = None
) -> Pair:
    """Take the delay off an output, and keep what both recordings hold.

    The polarity is reported and kept: it belongs to the device.

    Args:
        delay: in samples, where it is known; None finds it: where the device begins to answer.
        name: of the output, for errors.

    Raises:
        RecordingError: as `find`, or the delay changes on the way.
    """
    found = find(x, y, name, delay)
    pair = alignment.overlap(x, y, found.delay)
    if delay is not None:
        return Pair(*pair, delay, found.polarity)
    changed = alignment.drift(*pair)
    if changed:
        raise RecordingError(
            f"{name}: its delay must stay the same, at the end it is {changed:+d} samples from what it is at the "
            "beginning: samples were lost, or input and output ran on two clocks; record again on one interface, or "
            "give its --delay"
        )
    shift = found.delay + alignment.onset(*pair, round(_ONSET_S * sample_rate), even=found.even)
    return Pair(*alignment.overlap(x, y, shift), shift, found.polarity)


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


def _refuse_short(name: str, held: int, wanted: int, where: str = "") -> None:
    raise RecordingError(
        f"{name}: must be as long as its input, holds {held} of its {wanted} samples{where}, must be {_HELD:.0%} at "
        "least; record all of it"
    )


def _flat_tops(samples: Float[np.ndarray, "t"], lowest: float) -> tuple[np.ndarray, np.ndarray]:
    """Where runs of equal samples begin that are so high and end in a jump, and how long they are."""
    ends = np.flatnonzero(np.diff(samples, prepend=np.nan, append=np.nan) != 0)  # where runs of equal samples begin
    starts, lengths = ends[:-1], np.diff(ends)
    high = (lengths >= _RUN) & (np.abs(samples[starts]) >= lowest)
    starts, lengths = starts[high], lengths[high]
    padded = np.pad(samples, 1, constant_values=np.nan)
    around = np.stack([padded[starts], padded[starts + lengths + 1]]) - samples[starts]
    jumps = ~(np.abs(around) <= 2 * _resolution(samples))  # the ends of the recording count as jumps
    flat = jumps.any(axis=0)
    return starts[flat], lengths[flat]


def _resolution(samples: np.ndarray) -> float:
    """The step of the integers that a file holds, 0 for one of floating-point numbers."""
    for bits in (8, 16, 24):
        parts = samples[:65_536], samples  # the first says at once that it is not this one
        if all(np.array_equal(scaled, np.rint(scaled)) for scaled in (part * 2.0 ** (bits - 1) for part in parts)):
            return 2.0 ** (1 - bits)
    return 0.0
