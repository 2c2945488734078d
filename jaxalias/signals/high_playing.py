"""Notes high up the neck, where models alias: single notes, two together, bends with vibrato, pinched harmonics.

A clipped 2 kHz note has strong harmonics at 18, 22 and 26 kHz; a clipped 100 Hz note has hardly any there. So a
capture with high gain aliases audibly on these notes, and not on the riffs, chords and bass lines of `playing`.
"""

from collections.abc import Callable, Iterator

import numpy as np

from jaxalias.signals import strings
from jaxalias.signals.strings import Signal

PEAK = 0.9  # full level of a guitar plugged directly into the audio interface
LOWEST_HZ, SEMITONES = 660.0, 25.0  # the 12th fret of the high E string, to 2.8 kHz
PIECE_S = 1.25
_HIGH_PLAYING_STREAM = 2  # random stream of the seed; `playing` has a different one
_PARTIALS, _HIGHEST_PARTIAL_HZ = 40, 16_000.0  # a pickup and its cable attenuate higher partials
_PINCHED_FROM_HZ, _PINCHED_SEMITONES = 98.0, 24.0  # range of the fretted note, whose n-th partial sounds
_INTERVALS_BELOW, _INTERVALS_ABOVE = (0, 3, 4, 5, 7), (3, 4, 5, 7, 12)  # semitones, of two notes


def high_playing(seconds: float, sample_rate: int, seed: int, quietest_db: float = -26.0) -> Signal:
    """Pieces of 1.25 s, each of one kind drawn at random (t,).

    Args:
        seconds: duration.
        sample_rate: Hz.
        seed: the same seed gives the same signal.
        quietest_db: the peak of each piece is uniform in dB between this and 0 dB; 0 dB is `PEAK`.

    Returns:
        Notes from 660 Hz to 2.8 kHz, uniform in semitones. Pinched harmonics and the lower of two notes also go below.

    Example:
        >>> high_playing(0.5, 8000, seed=0).shape
        (4000,)
    """
    random = np.random.default_rng([seed, _HIGH_PLAYING_STREAM])
    makers: tuple[Callable, ...] = (single_notes, bend, two_notes, pinched_harmonics, single_notes, bend)
    parts = []
    for _ in range(int(np.ceil(seconds / PIECE_S))):
        piece = makers[random.integers(len(makers))](round(PIECE_S * sample_rate), sample_rate, random)
        level = PEAK * 10 ** (random.uniform(quietest_db, 0.0) / 20)
        parts.append(strings.faded(piece / np.max(np.abs(piece)), sample_rate) * level)
    return np.concatenate(parts)[: round(seconds * sample_rate)]


def single_notes(length: int, sample_rate: int, random: np.random.Generator) -> Signal:
    """One note after the other, (length,).

    Args:
        length: samples.
        sample_rate: Hz.
        random: the generator to draw from.

    Example:
        >>> single_notes(4000, 8000, np.random.default_rng(0)).shape
        (4000,)
    """
    y = np.zeros(length)
    for start, duration in _notes(length, sample_rate, random):
        level = random.uniform(0.4, 1)
        y[start : start + duration] = level * string(np.full(duration, _pitch(random)), sample_rate, random)
    return y


def bend(length: int, sample_rate: int, random: np.random.Generator) -> Signal:
    """A note bent up or released by up to three semitones, with vibrato of up to half a semitone, (length,).

    Arguments as `single_notes`.

    Example:
        >>> bend(4000, 8000, np.random.default_rng(0)).shape
        (4000,)
    """
    along = np.linspace(0, 1, length)
    furthest, begins, takes = random.uniform(0.5, 3), random.uniform(0, 0.3), random.uniform(0.1, 0.5)
    semitones = furthest * np.clip((along - begins) / takes, 0, 1)
    if random.integers(2):
        semitones = semitones[-1] - semitones
    depth, rate_hz = random.uniform(0, 0.5), random.uniform(4, 8)
    vibrato = depth * np.sin(2 * np.pi * rate_hz * np.arange(length) / sample_rate)
    return string(_pitch(random) * 2 ** ((semitones + vibrato) / 12), sample_rate, random)


def two_notes(length: int, sample_rate: int, random: np.random.Generator) -> Signal:
    """Two strings together, a third to an octave apart and slightly out of tune; they intermodulate. (length,).

    Arguments as `single_notes`.

    Example:
        >>> two_notes(4000, 8000, np.random.default_rng(0)).shape
        (4000,)
    """
    y = np.zeros(length)
    for start, duration in _notes(length, sample_rate, random):
        low = _pitch(random) / 2 ** (random.choice(_INTERVALS_BELOW) / 12)
        detuned = 2 ** (random.choice(_INTERVALS_ABOVE) / 12) * 2 ** (random.normal(0, 0.1) / 12)
        for pitch in (low, low * detuned):
            level = random.uniform(0.5, 1)
            y[start : start + duration] += level * string(np.full(duration, pitch), sample_rate, random)
    return y


def pinched_harmonics(length: int, sample_rate: int, random: np.random.Generator) -> Signal:
    """A low note with a loud third to eighth partial, with vibrato, (length,).

    Arguments as `single_notes`.

    Example:
        >>> pinched_harmonics(4000, 8000, np.random.default_rng(0)).shape
        (4000,)
    """
    y = np.zeros(length)
    for start, duration in _notes(length, sample_rate, random):
        fretted = _PINCHED_FROM_HZ * 2 ** (random.uniform(0, _PINCHED_SEMITONES) / 12)
        partial = int(random.integers(3, 9))
        vibrato = random.uniform(0, 0.5) * np.sin(2 * np.pi * 6 * np.arange(duration) / sample_rate)
        level = random.uniform(0.4, 1)
        y[start : start + duration] = level * string(fretted * 2 ** (vibrato / 12), sample_rate, random, partial)
    return y


def string(pitch_hz: Signal, sample_rate: int, random: np.random.Generator, pinched: int = 0) -> Signal:
    """A string of varying pitch, as the sum of its decaying, slightly stretched partials (t,).

    Args:
        pitch_hz: fundamental over time, (t,). Partials near half the sample rate are left out.
        sample_rate: Hz.
        random: the generator to draw from.
        pinched: number n of the partial whose node is touched. It and its multiples sound, the others are 26 dB
            lower. 0: none is touched.

    Example:
        >>> string(np.full(4000, 880.0), 8000, np.random.default_rng(0)).shape
        (4000,)
    """
    time = np.arange(len(pitch_hz)) / sample_rate
    turns = np.cumsum(pitch_hz) / sample_rate
    first_hz = pitch_hz[0]
    plucked, picked_up = random.uniform(0.06, 0.4), random.uniform(0.03, 0.25)
    stiffness, brightness = 10 ** random.uniform(-4.5, -3.5), 10 ** random.uniform(np.log10(1.5e3), np.log10(8e3))
    decay_s = random.uniform(0.3, 1.5) * (LOWEST_HZ / first_hz) ** 0.3
    y = np.zeros(len(pitch_hz))
    for n in range(1, int(min(_PARTIALS, _HIGHEST_PARTIAL_HZ / pitch_hz.max())) + 1):
        stretch = np.sqrt(1 + stiffness * n * n)
        if n * stretch * pitch_hz.max() > strings.HIGHEST_PARTIAL * sample_rate:
            break
        weight = strings.partial_weight(n, n * first_hz, plucked, picked_up, brightness)
        if pinched:
            weight *= 0.05 if n % pinched else pinched * (1 + (n * first_hz / brightness) ** 2) ** 0.5
        rate = (1 + (n * first_hz / 4000) ** 1.3) / decay_s
        angle = 2 * np.pi * (n * stretch * turns) + random.uniform(0, 2 * np.pi)
        y += weight * np.exp(-rate * time) * np.sin(angle)
    attack = strings.noise(len(y), sample_rate, random.uniform(2000, 8000), random) * np.exp(-time / 0.004)
    y = y / np.max(np.abs(y)) + random.uniform(0, 0.3) * attack
    rise = np.minimum(1, (np.arange(len(y)) + 1) / (random.uniform(0.001, 0.02) * sample_rate))
    return y * rise * np.minimum(1, np.arange(len(y))[::-1] / (strings.FADE_S * sample_rate))


def _pitch(random: np.random.Generator) -> float:
    return LOWEST_HZ * 2 ** (random.uniform(0, SEMITONES) / 12)


def _notes(length: int, sample_rate: int, random: np.random.Generator) -> Iterator[tuple[int, int]]:
    """(start, duration) of notes of 0.1 to 0.8 s that fill `length` samples; the last note may be a shorter rest."""
    start = 0
    while start < length:
        duration = min(round(random.uniform(0.1, 0.8) * sample_rate), length - start)
        if duration > 0.03 * sample_rate:
            yield start, duration
        start += duration
