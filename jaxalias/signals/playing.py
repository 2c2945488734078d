"""Synthetic playing from a seed: the training signal, and phrases alone.

The training signal (`make`) is a signal to record a device with, before a model is trained on the recording. It
consists of chirps (every frequency at every level), noise bursts (all frequencies at once, and the recovery of the
device) and phrases on plucked strings. These follow each other in short pieces, so that every part of the signal
contains some of each. `playing` has the phrases alone. Notes high up the neck, where models alias, are in
`high_playing`.
"""

from collections.abc import Callable

import numpy as np
import scipy.signal

from jaxalias.signals import strings
from jaxalias.signals.strings import Signal

SECONDS = 220.0  # 3 min 40 s, as the paper's (section 3.2)
PEAK = 0.98  # below full scale, because samples at full scale mark a clipped recording
PHRASE_PEAK = 0.9  # of `playing`: a guitar played hard, plugged directly into the audio interface
_PIECE_S = 2.5
_PLAYING_STREAM = 1  # random stream of the seed; `high_playing` has a different one


def make(seconds: float, sample_rate: int, seed: int) -> Signal:
    """The training signal (t,), peak `PEAK`, with levels of its pieces from -30 to 0 dB.

    Args:
        seconds: duration.
        sample_rate: Hz.
        seed: the same seed gives the same signal.

    Example:
        >>> make(0.5, 8000, seed=0).shape
        (4000,)
    """
    random = np.random.default_rng(seed)
    makers: tuple[Callable, ...] = (strings.guitar, _chirp, strings.bass, _bursts, strings.chords)
    parts = []
    for index in range(int(np.ceil(seconds / _PIECE_S))):
        piece_random = np.random.default_rng(random.integers(2**63))
        level = PEAK * 10 ** (-random.choice([0, 0, 6, 6, 12, 18, 30]) / 20)
        piece = makers[index % len(makers)](round(_PIECE_S * sample_rate), sample_rate, piece_random)
        parts.append(strings.faded(piece / np.max(np.abs(piece)), sample_rate) * level)
    return np.concatenate(parts)[: round(seconds * sample_rate)]


def playing(seconds: float, sample_rate: int, seed: int) -> Signal:
    """Guitar lines, chords and bass lines in turn (t,), 2.5 s each, peak `PHRASE_PEAK`.

    Half of the pieces are at 0 dB, a quarter at -6 dB, a quarter at -12 dB.

    Args:
        seconds: duration.
        sample_rate: Hz.
        seed: the same seed gives the same signal.

    Example:
        >>> playing(0.5, 8000, seed=0).shape
        (4000,)
    """
    random = np.random.default_rng([seed, _PLAYING_STREAM])
    makers: tuple[Callable, ...] = (strings.guitar, strings.chords, strings.bass)
    parts = []
    for index in range(int(np.ceil(seconds / _PIECE_S))):
        piece = makers[index % len(makers)](round(_PIECE_S * sample_rate), sample_rate, random)
        level = PHRASE_PEAK * 10 ** (-random.choice([0, 0, 6, 12]) / 20)
        parts.append(strings.faded(piece / np.max(np.abs(piece)), sample_rate) * level)
    return np.concatenate(parts)[: round(seconds * sample_rate)]


def _chirp(length: int, sample_rate: int, random: np.random.Generator) -> Signal:
    """A logarithmic chirp between 20 Hz and 18 kHz, up or down, with a rising or falling level."""
    time = np.arange(length) / sample_rate
    ends = (20.0, 18_000.0) if random.integers(2) else (18_000.0, 20.0)
    first, last = random.permutation([-1.5, 0.0])
    swell = 10 ** np.linspace(first, last, length)
    return swell * scipy.signal.chirp(time, ends[0], time[-1], ends[1], method="logarithmic", phi=-90)


def _bursts(length: int, sample_rate: int, random: np.random.Generator) -> Signal:
    """Four bursts of noise with random brightness, duration and level, and rests between them."""
    parts = []
    for _ in range(4):
        corner, decay_s = 200 * 2 ** random.uniform(0, 6), 10 ** random.uniform(-2, -0.3)
        envelope = np.exp(-np.arange(length // 4) / (decay_s * sample_rate))
        parts.append(random.uniform(0.1, 1) * envelope * strings.noise(length // 4, sample_rate, corner, random))
    return np.concatenate([*parts, np.zeros(length - 4 * (length // 4))])
