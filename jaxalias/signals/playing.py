"""What people play, made from a seed: the training signal, and phrases alone.

The training signal (`make`) is what a device is recorded with before a model is trained on it: chirps (every frequency
at every level), noise bursts (everything at once, and how the device recovers), and phrases on plucked strings. In
turn, in short pieces, so that every stretch of the signal holds some of each. `playing` has the phrases alone. Notes
high up the neck, where models alias, are in `high_playing`.
"""

from collections.abc import Callable

import numpy as np
import scipy.signal

from jaxalias.signals import strings
from jaxalias.signals.strings import Signal

SECONDS = 220.0  # 3 min 40 s, as the paper's (section 3.2)
PEAK = 0.98  # no sample stands at full scale, which is how clipped recordings are told
PHRASE_PEAK = 0.9  # of `playing`: a guitar straight into the interface, played hard
_PIECE_S, PHRASE_S = 2.5, 1.25
_PLAYING_STREAM = 1  # of the seed; `high_playing` draws from another


def make(seconds: float, sample_rate: int, seed: int) -> Signal:
    """The training signal (t,), peak `PEAK`, levels of its pieces from -30 to 0 dB."""
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
    """Guitar lines, chords and bass lines in turn (t,), as an audio interface records them, 1.25 s each.

    The peak of each is drawn evenly in dB between `quietest_db` and 0 dB, which is `PHRASE_PEAK`. Each piece has a tone
    of its own, from a bass with its tone control closed to a bright bridge pickup. Some are played staccato, some die
    away by up to 70 dB. Below all lie the hiss and the mains hum of an interface: with much gain they are what is
    left to play in a rest.
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
    """An envelope (t,): two in five play staccato, one in five falls by 20 to 70 dB, the others are as they are.

    Staccato is sound for 40 to 400 ms, muted within 2 to 30 ms, and a rest as long.
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
    angles = 2 * np.pi * (np.outer(np.arange(length) / sample_rate, mains_hz) + random.uniform(0, 1, len(mains_hz)))
    hum = np.sin(angles) @ (random.uniform(0, 1, len(mains_hz)) / np.arange(1, 16))
    return 10 ** (hiss_db / 20) * random.standard_normal(length) + 10 ** (hum_db / 20) * hum


def _between(random: np.random.Generator, low: float, high: float) -> float:
    """Drawn evenly on a logarithmic scale."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _chirp(length: int, sample_rate: int, random: np.random.Generator) -> Signal:
    """Up or down through the octaves, 20 Hz to 18 kHz, swelling or dying away."""
    time = np.arange(length) / sample_rate
    ends = (20.0, 18_000.0) if random.integers(2) else (18_000.0, 20.0)
    first, last = random.permutation([-1.5, 0.0])
    swell = 10 ** np.linspace(first, last, length)
    return swell * scipy.signal.chirp(time, ends[0], time[-1], ends[1], method="logarithmic", phi=-90)


def _bursts(length: int, sample_rate: int, random: np.random.Generator) -> Signal:
    """Four bursts of noise, each darker or brighter, shorter or longer, louder or softer, with rests between."""
    parts = []
    for _ in range(4):
        corner, decay_s = 200 * 2 ** random.uniform(0, 6), 10 ** random.uniform(-2, -0.3)
        envelope = np.exp(-np.arange(length // 4) / (decay_s * sample_rate))
        parts.append(random.uniform(0.1, 1) * envelope * strings.noise(length // 4, sample_rate, corner, random))
    return np.concatenate([*parts, np.zeros(length - 4 * (length // 4))])
