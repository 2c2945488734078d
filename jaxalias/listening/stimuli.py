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
FADE_S = 0.02  # raised cosine at both ends, against clicks at the beginning, the end and in loops
TARGET_LUFS = -23.0  # EBU R 128
SHORTEST_S = 0.4  # one gating block of BS.1770
HIGHEST = 1 - 2.0**-15  # of a 16-bit sample
ORDERS = 64  # random orders in a test, so that listeners get different ones
_ANCHOR_IN_DB, _ANCHOR_LIMITS, _ANCHOR_OUT_DB = 48.0, (-0.5, 1.0), -9.0
_SILENT = 1e-5  # peak to peak; a signal below it, -100 dB, is silent
_LOUDNESS_TOLERANCE, _LOUDNESS_PASSES = 1e-6, 8


class Trial(NamedTuple):
    """One clip in all conditions, the reference first."""

    group: str
    clip: str
    stimuli: dict[str, np.ndarray]
    reference: str  # description of the reference

    @property
    def name(self) -> str:
        """The name in files and tables of results."""
        return f"{self.group}/{self.clip}"


class Order(NamedTuple):
    """The order for one listener: indices of trials, and for trial i the indices of its stimuli."""

    trials: list[int]
    stimuli: list[list[int]]


def anchor(x: Signal) -> Signal:
    """The input with asymmetric hard clipping: gain 48 dB, clipped to [-0.5, 1], gain -9 dB."""
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
    """Refuse a sound that listeners cannot judge.

    Args:
        name: of the sound, the beginning of the error message.
        y: samples (t,).
        sample_rate: Hz.

    Raises:
        ValueError: `y` is not finite, silent, or too short for its loudness to be defined.
    """
    if not np.isfinite(y).all():
        raise ValueError(f"{name}: samples must be finite, sample {int(np.argmin(np.isfinite(y)))} is not")
    if len(y) < SHORTEST_S * sample_rate:
        raise ValueError(f"{name}: must last at least {SHORTEST_S:g} s, lasts {len(y) / sample_rate:.3g} s")
    if np.ptp(y) < _SILENT:
        raise ValueError(f"{name}: is silent, there is nothing to listen to")


def fade(y: Signal, sample_rate: int) -> Signal:
    """The signal with a fade-in and a fade-out of `FADE_S` each, half a period of a raised cosine."""
    length = round(FADE_S * sample_rate)
    ramp = 0.5 - 0.5 * np.cos(np.pi * np.arange(length) / length)
    window = np.ones(len(y))
    window[:length], window[-length:] = ramp, ramp[::-1]
    return window * y


def loudness(y: Signal, sample_rate: int) -> float:
    """Integrated loudness in LUFS after ITU-R BS.1770-4; -inf if no block passes its gate.

    This class of filters has the coefficients of the standard (a sine of 997 Hz at full scale is -3.01 LUFS). The
    default of the library differs by some hundredths of a dB.
    """
    import pyloudnorm  # of the extra `listening`, which the analysis of ratings does not need

    return float(pyloudnorm.Meter(sample_rate, filter_class="DeMan").integrated_loudness(y))


def match(trials: Sequence[Trial], sample_rate: int) -> tuple[list[Trial], list[dict[str, float]], float]:
    """Fade all stimuli and make all of them in all trials equally loud.

    Args:
        trials: clips in all conditions.
        sample_rate: Hz.

    Returns:
        The trials, the gain of each stimulus in dB, and the common loudness: `TARGET_LUFS`, or less if a
        peak would have exceeded full scale; then all stimuli are lowered together.

    Raises:
        ValueError: a stimulus is silent, too short or not finite. The message names it.
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
    """The gain to `TARGET_LUFS`. Repeated measurements are necessary because the gate at -70 LUFS is absolute."""
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
    """Random orders of the trials and of the stimuli in each. The same seed gives the same orders."""
    random = np.random.default_rng(seed)
    return [
        Order(
            random.permutation(len(trials)).tolist(),
            [random.permutation(len(trial.stimuli)).tolist() for trial in trials],
        )
        for _ in range(number)
    ]


def test_id(title: str, trials: Sequence[Trial], seed: int) -> str:
    """A unique name of a test: the letters and digits of its title, and a digest of all its sounds."""
    digest = hashlib.sha256(f"{seed}".encode())
    for trial in trials:
        for name, y in trial.stimuli.items():
            digest.update(f"\0{trial.name}\0{name}\0".encode() + np.round(y * 2**15).astype("<i2").tobytes())
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in title.lower())
    return f"{'-'.join(filter(None, plain.split('-')))}-{digest.hexdigest()[:8]}"


def describe(
    trials: Sequence[Trial], gains_db: Sequence[dict[str, float]], loudness_lufs: float, sample_rate: int
) -> dict[str, Any]:
    """The record of a test: stimuli, references, and levels."""
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
