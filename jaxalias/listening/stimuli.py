"""The sounds of a listening test (section 5): anchor, sweeps, fades, equal loudness, random order.

Signals are numpy arrays (t,) in float64, full scale 1.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.signal
from jaxtyping import Float

from jaxalias.signals.dsp import db_to_amplitude

Signal = Float[np.ndarray, "t"]

REFERENCE, ANCHOR = "reference", "anchor"
SWEEPS_HZ = ((20.0, 10_000.0), (10_000.0, 20_000.0))
SWEEP_S, SWEEP_DB = 5.0, -6.0
FADE_S = 0.02  # raised cosine at both ends: no click where a clip begins, ends or is looped
TARGET_LUFS = -23.0  # EBU R 128
SHORTEST_S = 0.4  # one gating block of BS.1770
HIGHEST = 1 - 2.0**-15  # of a 16-bit sample
ORDERS = 64  # that a test carries, for listeners to be given different ones
_ANCHOR_IN_DB, _ANCHOR_LIMITS, _ANCHOR_OUT_DB = 48.0, (-0.5, 1.0), -9.0
_SILENT = 1e-5  # peak of a signal that holds nothing to listen to: -100 dB
_LOUDNESS_TOLERANCE, _LOUDNESS_PASSES = 1e-6, 8


class Trial(NamedTuple):
    """One clip in all conditions, the reference first."""

    group: str
    clip: str
    stimuli: dict[str, np.ndarray]
    reference: str  # what it is, in words

    @property
    def name(self) -> str:
        """As files and tables of results have it."""
        return f"{self.group}/{self.clip}"


class Order(NamedTuple):
    """What one listener is given: trials by index, and in trial i its stimuli, by index too."""

    trials: list[int]
    stimuli: list[list[int]]


def anchor(x: Signal) -> Signal:
    """The input hard-clipped without symmetry: 48 dB up, cut to [-0.5, 1], 9 dB down."""
    return db_to_amplitude(_ANCHOR_OUT_DB) * np.clip(db_to_amplitude(_ANCHOR_IN_DB) * x, *_ANCHOR_LIMITS)


def sweep(low_hz: float, high_hz: float, sample_rate: int) -> Signal:
    """A sine that rises linearly from one frequency to another in 5 s, peak -6 dB.

    Raises:
        ValueError: it would rise above half the sample rate.
    """
    if high_hz >= sample_rate / 2:
        raise ValueError(f"a sweep to {high_hz:g} Hz needs more than {2 * high_hz:g} Hz, the models have {sample_rate}")
    time = np.arange(round(SWEEP_S * sample_rate)) / sample_rate
    return db_to_amplitude(SWEEP_DB) * scipy.signal.chirp(time, low_hz, SWEEP_S, high_hz, phi=-90)


def refuse_unusable(name: str, y: np.ndarray, sample_rate: int) -> None:
    """A sound that nobody can judge.

    Raises:
        ValueError: `y` is not finite, silent, or too short for its loudness to be defined; starts with `name`.
    """
    if not np.isfinite(y).all():
        raise ValueError(f"{name}: samples must be finite, sample {int(np.argmin(np.isfinite(y)))} is not")
    if len(y) < SHORTEST_S * sample_rate:
        raise ValueError(f"{name}: must last at least {SHORTEST_S:g} s, lasts {len(y) / sample_rate:.3g} s")
    if np.ptp(y) < _SILENT:
        raise ValueError(f"{name}: is silent, there is nothing to listen to")


def fade(y: Signal, sample_rate: int) -> Signal:
    """Faded in and out by half a period of a raised cosine of `FADE_S` each."""
    length = round(FADE_S * sample_rate)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(length) / length)
    window = np.ones(len(y))
    window[:length], window[-length:] = ramp, ramp[::-1]
    return window * y


def loudness(y: Signal, sample_rate: int) -> float:
    """Integrated loudness in LUFS after ITU-R BS.1770-4; -inf where no block passes its gate.

    The class of filters is the one that has the standard's own coefficients (a sine of 997 Hz at full scale
    is -3.01 LUFS); the library's default is off by some hundredths of a dB.
    """
    import pyloudnorm  # of the extra `listening`; answers are analysed without it

    return float(pyloudnorm.Meter(sample_rate, filter_class="DeMan").integrated_loudness(y))


def match(trials: Sequence[Trial], sample_rate: int) -> tuple[list[Trial], list[dict[str, float]], float]:
    """Fade all stimuli and make them equally loud, every one in every trial.

    Returns:
        The trials, the gain of each stimulus in dB, and the loudness of all: `TARGET_LUFS`, or less where a
        peak would have exceeded full scale; then everything is lowered together.

    Raises:
        ValueError: a stimulus that is silent, too short or not finite, named.
    """
    faded, gains = [], []
    for trial in trials:
        for name, y in trial.stimuli.items():
            refuse_unusable(f"clip {trial.clip!r}, {name}", y, sample_rate)
        sounds = {name: fade(y, sample_rate) for name, y in trial.stimuli.items()}
        faded.append(trial._replace(stimuli=sounds))
        gains.append({name: _gain(f"clip {trial.clip!r}, {name}", y, sample_rate) for name, y in sounds.items()})
    pairs = list(zip(faded, gains, strict=True))
    peak = max(gain[name] * np.abs(y).max() for trial, gain in pairs for name, y in trial.stimuli.items())
    common = min(1.0, HIGHEST / peak)
    matched = [
        trial._replace(stimuli={name: common * gain[name] * y for name, y in trial.stimuli.items()})
        for trial, gain in pairs
    ]
    gains_db = [{name: float(20 * np.log10(common * value)) for name, value in gain.items()} for gain in gains]
    return matched, gains_db, TARGET_LUFS + float(20 * np.log10(common))


def _gain(name: str, y: Signal, sample_rate: int) -> float:
    """The gain to `TARGET_LUFS`. The gate at -70 LUFS is absolute, so that loudness is measured again after it."""
    gain = 1 / float(np.abs(y).max())
    for _ in range(_LOUDNESS_PASSES):
        error_db = TARGET_LUFS - loudness(gain * y, sample_rate)
        if not np.isfinite(error_db):
            raise ValueError(f"{name}: is too quiet or too short for its loudness to be measured")
        gain *= db_to_amplitude(error_db)
        if abs(error_db) < _LOUDNESS_TOLERANCE:
            break
    return gain


def orders(trials: Sequence[Trial], seed: int, number: int = ORDERS) -> list[Order]:
    """Random orders of the trials and of the stimuli in each; the same for the same seed."""
    random = np.random.default_rng(seed)
    return [
        Order(
            random.permutation(len(trials)).tolist(),
            [random.permutation(len(trial.stimuli)).tolist() for trial in trials],
        )
        for _ in range(number)
    ]


def test_id(title: str, trials: Sequence[Trial], seed: int) -> str:
    """A name of a test that no other test has: the title's letters and digits, and a digest of all that is heard."""
    digest = hashlib.sha256(f"{seed}".encode())
    for trial in trials:
        for name, y in trial.stimuli.items():
            digest.update(f"\0{trial.name}\0{name}\0".encode() + np.round(y * 2**15).astype("<i2").tobytes())
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in title.lower())
    return f"{'-'.join(filter(None, plain.split('-')))}-{digest.hexdigest()[:8]}"


def describe(
    trials: Sequence[Trial], gains_db: Sequence[dict[str, float]], loudness_lufs: float, sample_rate: int
) -> dict[str, Any]:
    """The record of a test: what is heard, against what, and how it was levelled."""
    return {
        "sample_rate": sample_rate,
        "loudness_lufs": round(loudness_lufs, 2),
        "fade_s": FADE_S,
        "trials": [
            {
                "trial": trial.name,
                "group": trial.group,
                "reference": trial.reference,
                "seconds": len(next(iter(trial.stimuli.values()))) / sample_rate,
                "gains_db": {name: round(value, 2) for name, value in gains.items()},
            }
            for trial, gains in zip(trials, gains_db, strict=True)
        ],
    }
