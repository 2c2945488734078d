"""Pairs of recordings, the input and the output of a device: checked, and aligned in time.

A model has no delay to learn, so the delay of the converters is removed, to the sample. `jaxalias.signals.alignment`
finds the delay and measures how much of the output it explains.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxalias.signals import alignment
from jaxalias.signals.alignment import Found
from jaxalias.signals.audio_files import QUIET_DB
from jaxalias.signals.dsp import power_to_db

_FULL_SCALE, _RUN = 0.99, 3  # this many equal samples in a row, this near to full scale, were clipped by a converter
_SAME_PEAK, _SEVERAL = 1e-4, 5  # tolerance of equal peaks (a step of 16 bits is below it); flat tops for a warning
_ONSET_S = 0.01  # search range for the beginning of the impulse response, before its largest value
_HELD = 0.5  # least share of the input's length that the output must cover
_EXPLAINED = 0.4  # least explained share of the output; pedals at high gain: 0.6, unrelated recordings: 0.05
_RIVAL = 0.95  # another delay that explains this much of the best one's share may be the right one


class Pair(NamedTuple):
    """Input and output (t,), aligned. `delay`: removed samples. `polarity`: -1 if the device inverts the signal."""

    x: Float[np.ndarray, "t"]
    y: Float[np.ndarray, "t"]
    delay: int = 0
    polarity: int = 1


class Segments(NamedTuple):
    """Segments of equal length of pairs, on the host or the device: the input before, then input and target."""

    lead_in: Any  # (b, before)
    inputs: Any  # (b, t)
    targets: Any  # (b, t)


class RecordingError(ValueError):
    """A recording that cannot be used for training. The message is one line: file, rule, value."""


def check(samples: Float[np.ndarray, "t"], name: str) -> None:
    """Refuse a recording that is silent, or that a converter has clipped.

    Args:
        samples: (t,), as in the file, before any change of the sample rate, which would smooth the clipped tops.
        name: of the recording, for errors.

    Raises:
        RecordingError: the peak is below -50 dB of full scale. Or there are runs of equal samples within 1 % of full
            scale that end with a jump of more than two steps of the file's resolution (without the jump it may be the
            flat top of a slow wave).

    Example:
        >>> check(np.sin(np.arange(100.0)), "take.wav")
    """
    refuse_silence(samples, name)
    clipped = clipping(samples)
    if clipped:
        raise RecordingError(f"{name}: must not be clipped, {clipped}; record softer")


def clipping(samples: Float[np.ndarray, "t"]) -> str | None:
    """The place where a converter clipped a recording (t,), in words; None if it did not (see `check`).

    Example:
        >>> clipping(np.clip(2 * np.sin(np.arange(100.0)), -1, 1))
        'sample 10 and the 2 after it are equal at 1.000 of full scale'
    """
    starts, lengths = _flat_tops(samples, _FULL_SCALE)
    if not len(starts):
        return None
    level = abs(samples[starts[0]])
    return f"sample {starts[0]} and the {lengths[0] - 1} after it are equal at {level:.3f} of full scale"


def turned_down(samples: Float[np.ndarray, "t"], name: str) -> str | None:
    """A warning if a recording (t,) was probably clipped and its level lowered afterwards, else None.

    The flat tops of such a recording are at its own peak. The output of a distortion in software may have flat tops
    too, so this is no error.

    Example:
        >>> turned_down(0.5 * np.sin(np.arange(100.0)), "take.wav") is None
        True
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
    """Refuse a recording (t,) that peaks below -50 dB of full scale.

    Raises:
        RecordingError: it does.

    Example:
        >>> refuse_silence(np.full(10, 0.1), "take.wav")
    """
    peak = float(np.max(np.abs(samples), initial=0))
    if peak < 10 ** (QUIET_DB / 20):
        level = "silence" if peak == 0 else f"{20 * np.log10(peak):.0f} dB"
        raise RecordingError(f"{name}: must peak at {QUIET_DB:g} dB of full scale or above, is {level}; record louder")


def find(x: Float[np.ndarray, "t"], y: Float[np.ndarray, "u"], name: str, delay: int | None = None) -> Found:
    """Find the delay of an output relative to its input, and check that no other delay explains the output as well.

    Args:
        x: input.
        y: output, of any length.
        name: of the output, for errors.
        delay: in samples, if known; it is then checked.

    Raises:
        RecordingError: the output is silent, covers too little of its input, or does not follow it. Also if two delays
            explain it equally well, or if another delay explains it much better than the given one.

    Example:
        >>> x = np.random.default_rng(0).standard_normal(20_000)
        >>> find(x, np.tanh(np.roll(x, 5)), "output.wav").delay
        5
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
    """Remove the delay of an output, and keep the part that both recordings cover.

    The polarity is reported but not changed, because it is a property of the device.

    Args:
        x: input.
        y: output, of any length.
        sample_rate: Hz.
        name: of the output, for errors.
        delay: in samples, if known. None: it is found, as the sample where the response of the device begins.

    Raises:
        RecordingError: as `find`, or the delay changes during the recording.

    Example:
        >>> x = np.random.default_rng(0).standard_normal(20_000)
        >>> align(x, np.tanh(np.roll(x, 5)), 48_000, "output.wav").delay
        5
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
    """Split each pair: its beginning for training, its last `share` (0 to 1) for validation.

    Example:
        >>> training, validation = split([Pair(np.arange(10.0), np.arange(10.0))], 0.2)
        >>> validation[0].x.tolist()
        [8.0, 9.0]
    """
    cuts = [len(pair.x) - round(share * len(pair.x)) for pair in pairs]
    return (
        [Pair(pair.x[:cut], pair.y[:cut]) for pair, cut in zip(pairs, cuts, strict=True)],
        [Pair(pair.x[cut:], pair.y[cut:]) for pair, cut in zip(pairs, cuts, strict=True)],
    )


def draw(pairs: Sequence[Pair], number: int, before: int, length: int, random: np.random.Generator) -> Segments:
    """Random segments; every start has the same probability. Before the start of a recording there is silence.

    Args:
        pairs: to draw from.
        number: of segments, b.
        before: samples of lead-in.
        length: samples of a segment, t.
        random: the generator to draw from.

    Example:
        >>> pair = Pair(np.arange(10.0), np.arange(10.0))
        >>> draw([pair], 3, before=2, length=4, random=np.random.default_rng(0)).inputs.shape
        (3, 4)
    """
    room = [max(0, len(pair.x) - length + 1) for pair in pairs]
    ends = np.cumsum(room)
    picks = random.integers(ends[-1], size=number)
    which = np.searchsorted(ends, picks, side="right")
    return _cut(
        [(pairs[i], int(pick - ends[i] + room[i])) for i, pick in zip(which, picks, strict=True)], before, length
    )


def in_turn(pairs: Sequence[Pair], before: int, length: int) -> Segments:
    """All whole segments of `length` samples, one after the other, each with `before` samples of lead-in.

    Example:
        >>> in_turn([Pair(np.arange(10.0), np.arange(10.0))], before=2, length=4).lead_in.tolist()
        [[0.0, 0.0], [2.0, 3.0]]
    """
    places = [(pair, start) for pair in pairs for start in range(0, len(pair.x) - length + 1, length)]
    return _cut(places, before, length)


def esr_db(estimate: np.ndarray, target: np.ndarray) -> float | None:
    """Error-to-signal ratio of two signals (t,) in dB (eq. 13); None for a perfect match.

    Example:
        >>> esr_db(np.array([0.9, 0.9]), np.array([1.0, 1.0]))
        -20.0
    """
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
    """(starts, lengths) of runs of equal samples with a magnitude of at least `lowest` that end with a jump."""
    ends = np.flatnonzero(np.diff(samples, prepend=np.nan, append=np.nan) != 0)  # first samples of runs of equal ones
    starts, lengths = ends[:-1], np.diff(ends)
    high = (lengths >= _RUN) & (np.abs(samples[starts]) >= lowest)
    starts, lengths = starts[high], lengths[high]
    padded = np.pad(samples, 1, constant_values=np.nan)
    around = np.stack([padded[starts], padded[starts + lengths + 1]]) - samples[starts]
    jumps = ~(np.abs(around) <= 2 * _resolution(samples))  # the ends of the recording count as jumps
    flat = jumps.any(axis=0)
    return starts[flat], lengths[flat]


def _resolution(samples: np.ndarray) -> float:
    """The step of the integer samples in a file; 0 for floating-point samples."""
    for bits in (8, 16, 24):
        parts = samples[:65_536], samples  # the short part rejects a wrong bit depth quickly
        if all(np.array_equal(scaled, np.rint(scaled)) for scaled in (part * 2.0 ** (bits - 1) for part in parts)):
            return 2.0 ** (1 - bits)
    return 0.0
