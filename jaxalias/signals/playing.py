"""A signal to record a device with before a model is trained on it: what it may meet, in three and a half minutes.

Chirps (every frequency at every level), noise bursts (everything at once, and how the device recovers), and phrases
on plucked strings (what is played): guitar lines and chords, and bass. In turn, in short pieces, so that every
stretch of the signal holds some of each.
"""

from collections.abc import Callable

import numpy as np
import scipy.signal

SECONDS = 220.0  # 3 min 40 s, as the paper's (section 3.2)
PEAK = 0.98  # no sample stands at full scale, which is how clipped recordings are told
_PIECE_S, _FADE_S = 2.5, 0.005
_GUITAR, _BASS = (82.41, 110.0, 146.83, 196.0, 246.94, 329.63), (41.2, 55.0, 73.42, 98.0)  # open strings, Hz
_TRIAD = (0, 7, 12, 16)  # semitones


def make(seconds: float, sample_rate: int, seed: int) -> np.ndarray:
    """The signal (t,), peak `PEAK`, levels of its pieces from -30 to 0 dB."""
    random = np.random.default_rng(seed)
    makers: tuple[Callable, ...] = (_guitar, _chirp, _bass, _bursts, _chords)
    parts = []
    for index in range(int(np.ceil(seconds / _PIECE_S))):
        piece_random = np.random.default_rng(random.integers(2**63))
        level = PEAK * 10 ** (-random.choice([0, 0, 6, 6, 12, 18, 30]) / 20)
        piece = makers[index % len(makers)](round(_PIECE_S * sample_rate), sample_rate, piece_random)
        parts.append(_faded(piece / np.max(np.abs(piece)), sample_rate) * level)
    return np.concatenate(parts)[: round(seconds * sample_rate)]


def _guitar(length: int, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    """A line of single notes, 4 to 8 a second at times, on any string and fret."""
    return _line(length, sample_rate, random, _GUITAR, frets=20, note_s=(0.12, 0.7))


def _bass(length: int, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    return _line(length, sample_rate, random, _BASS, frets=14, note_s=(0.2, 0.9))


def _line(
    length: int,
    sample_rate: int,
    random: np.random.Generator,
    strings: tuple[float, ...],
    frets: int,
    note_s: tuple[float, float],
) -> np.ndarray:
    y, start = np.zeros(length), 0
    while start < length:
        duration = min(round(random.uniform(*note_s) * sample_rate), length - start)
        pitch = random.choice(strings) * 2 ** (random.integers(0, frets) / 12)
        y[start : start + duration] += random.uniform(0.3, 1) * _pluck(pitch, duration, sample_rate, random)
        start += duration
    return y


def _chords(length: int, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    """Two strummed chords, a quarter of the time power chords."""
    y = np.zeros(length)
    for start in (0, length // 2):
        root = random.choice(_GUITAR[:3]) * 2 ** (random.integers(0, 8) / 12)
        for number, semitones in enumerate(_TRIAD[: random.choice([3, 4, 4, 4])]):
            onset = start + round(0.015 * number * sample_rate)
            rest = start + length // 2 - onset
            y[onset : onset + rest] += _pluck(root * 2 ** (semitones / 12), rest, sample_rate, random)
    return y


def _pluck(pitch_hz: float, length: int, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    """A string as the sum of its decaying partials, slightly stretched (stiffness), plucked here, picked up there.

    The same string as a delay line (Karplus and Strong 1983), but in tune at any rate and free of aliases.
    """
    time = np.arange(length) / sample_rate
    plucked, picked_up = random.uniform(0.08, 0.4), random.uniform(0.05, 0.25)
    stiffness, brightness = 10 ** random.uniform(-4.5, -3.7), random.uniform(2e3, 6e3)
    decay_s = 1.2 * (110 / pitch_hz) ** 0.4
    y = np.zeros(length)
    for n in range(1, int(min(40, 14_000 / pitch_hz)) + 1):
        partial_hz = n * pitch_hz * np.sqrt(1 + stiffness * n * n)
        weight = np.sin(np.pi * n * plucked) * np.sin(np.pi * n * picked_up) / n / (1 + (partial_hz / brightness) ** 2)
        rate = (1 + (partial_hz / 2500) ** 1.3) / decay_s
        y += weight * np.exp(-rate * time) * np.sin(2 * np.pi * partial_hz * time)
    fade = np.minimum(1, np.arange(length)[::-1] / (_FADE_S * sample_rate))
    attack = _noise(length, sample_rate, 3500.0, random) * np.exp(-time / 0.004)  # the pick
    return (y / np.max(np.abs(y)) + 0.1 * attack) * fade


def _chirp(length: int, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    """Up or down through the octaves, 20 Hz to 18 kHz, swelling or dying away."""
    time = np.arange(length) / sample_rate
    ends = (20.0, 18_000.0) if random.integers(2) else (18_000.0, 20.0)
    first, last = random.permutation([-1.5, 0.0])
    swell = 10 ** np.linspace(first, last, length)
    return swell * scipy.signal.chirp(time, ends[0], time[-1], ends[1], method="logarithmic", phi=-90)


def _bursts(length: int, sample_rate: int, random: np.random.Generator) -> np.ndarray:
    """Four bursts of noise, each darker or brighter, shorter or longer, louder or softer, with rests between."""
    parts = []
    for _ in range(4):
        corner, decay_s = 200 * 2 ** random.uniform(0, 6), 10 ** random.uniform(-2, -0.3)
        envelope = np.exp(-np.arange(length // 4) / (decay_s * sample_rate))
        parts.append(random.uniform(0.1, 1) * envelope * _noise(length // 4, sample_rate, corner, random))
    return np.concatenate([*parts, np.zeros(length - 4 * (length // 4))])


def _noise(length: int, sample_rate: int, corner_hz: float, random: np.random.Generator) -> np.ndarray:
    """White noise behind a low-pass, peak 1."""
    sections = scipy.signal.butter(2, min(corner_hz, 0.45 * sample_rate), fs=sample_rate, output="sos")
    noise = scipy.signal.sosfilt(sections, random.standard_normal(length))
    return noise / np.max(np.abs(noise))


def _faded(piece: np.ndarray, sample_rate: int) -> np.ndarray:
    fade = round(_FADE_S * sample_rate)
    shape = np.ones(len(piece))
    shape[:fade], shape[len(shape) - fade :] = np.linspace(0, 1, fade), np.linspace(1, 0, fade)
    return piece * shape
