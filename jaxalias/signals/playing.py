"""Synthetic playing from a seed: a signal to record a device with, and phrases alone.

A device is recorded with the signal of `make`, then a model is trained on the recording. The signal consists of chirps
(every frequency at every level), noise bursts (all frequencies at once, and the recovery of the device) and phrases on
plucked strings. These follow each other in short pieces, so that every part of the signal contains some of each.
`playing` has phrases alone, to fine-tune and to measure with. Notes high up the neck, where models alias, are in
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
_PIECE_S, PHRASE_S = 2.5, 1.25
_PLAYING_STREAM = 1  # random stream of the seed; `high_playing` has a different one


def make(seconds: float, sample_rate: int, seed: int) -> Signal:
    """A signal to record a device with (t,), peak `PEAK`, with levels of its pieces from -30 to 0 dB.

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


def playing(seconds: float, sample_rate: int, seed: int, quietest_db: float = -30.0) -> Signal:
    """Guitar lines, chords and bass lines in turn (t,), as recorded with an audio interface, 1.25 s each.

    Each piece has a random tone, from a bass with its tone control closed to a bright bridge pickup. Some are played
    staccato, some decay by up to 70 dB. All contain the hiss and the mains hum of an interface; at high gain, these are
    the signal in a rest.

    Args:
        seconds: duration.
        sample_rate: Hz.
        seed: the same seed gives the same signal.
        quietest_db: the peak of each piece is uniform in dB between this and 0 dB; 0 dB is `PHRASE_PEAK`.

    Example:
        >>> playing(0.5, 8000, seed=0).shape
        (4000,)
    """
    random = np.random.default_rng([seed, _PLAYING_STREAM])
    parts = []
    for index in range(int(np.ceil(seconds / PHRASE_S))):
        make, tone = _INSTRUMENTS[index % len(_INSTRUMENTS)]
        length = round(PHRASE_S * sample_rate)
        piece = strings.coloured(make(length, sample_rate, random), sample_rate, tone(random))
        piece = strings.faded(piece * _dying_away(length, sample_rate, random), sample_rate)
        level = PHRASE_PEAK * 10 ** (random.uniform(quietest_db, 0) / 20)
        parts.append(level * piece / np.max(np.abs(piece)) + _interface(length, sample_rate, random))
    y = np.concatenate(parts)[: round(seconds * sample_rate)]
    return np.clip(y, -PHRASE_PEAK, PHRASE_PEAK)


def _guitar_tone(random: np.random.Generator) -> strings.Tone:
    return strings.Tone(_between(random, 300, 2000), random.uniform(-1, 2), _between(random, 3000, 10_000))


def _bass_tone(random: np.random.Generator) -> strings.Tone:
    return strings.Tone(_between(random, 100, 1500), random.uniform(-2.5, 0.5), _between(random, 2000, 8000))


_INSTRUMENTS = ((strings.guitar, _guitar_tone), (strings.chords, _guitar_tone), (strings.bass, _bass_tone))


def _dying_away(length: int, sample_rate: int, random: np.random.Generator) -> Signal:
    """An envelope (t,): 40 % of the pieces are staccato, 20 % decay by 20 to 70 dB, the others are unchanged.

    Staccato: sound for 40 to 400 ms, muted within 2 to 30 ms, then a rest of 40 to 400 ms.
    """
    kind = random.integers(5)
    if kind > 2:
        return np.ones(length)
    if kind == 2:
        return 10 ** (-random.uniform(20, 70) * np.arange(length) / length / 20)
    y, start = np.empty(length), 0
    while start < length:
        sound, rest = (round(_between(random, 0.04, 0.4) * sample_rate) for _ in range(2))
        since_muted = np.maximum(0, np.arange(min(sound + rest, length - start)) - sound)
        mute_s = _between(random, 0.002, 0.03)
        y[start : start + sound + rest] = np.exp(-since_muted / (mute_s * sample_rate))
        start += sound + rest
    return y


def _interface(length: int, sample_rate: int, random: np.random.Generator) -> Signal:
    """Hiss of -100 to -66 dB rms, and hum of -100 to -60 dB with overtones of the mains frequency, (t,)."""
    hiss_db, hum_db = random.uniform(-100, -66), random.uniform(-100, -60)
    mains_hz = random.choice([50.0, 60.0]) * np.arange(1, 16)
    phases = np.exp(2j * np.pi * random.uniform(0, 1, len(mains_hz)))
    weights = phases * random.uniform(0, 1, len(mains_hz)) / np.arange(1, 16)
    hum = strings.decaying_sines(weights, mains_hz, np.zeros(len(mains_hz)), length, sample_rate)
    return 10 ** (hiss_db / 20) * random.standard_normal(length) + 10 ** (hum_db / 20) * hum


def _between(random: np.random.Generator, low: float, high: float) -> float:
    """A random number, uniform on a logarithmic scale."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


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
