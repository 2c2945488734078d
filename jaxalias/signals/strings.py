"""A synthetic guitar and bass: plucked strings as sums of decaying, slightly stretched partials.

Every note is in tune at any sample rate and free of aliases: partials near or above half the sample rate are not
computed. All functions draw from the generator in their arguments, so the same generator gives the same notes.
"""

from typing import Any, NamedTuple

import numpy as np
import scipy.signal
from jaxtyping import Complex, Float

Signal = Float[np.ndarray, "t"]

GUITAR = (82.41, 110.0, 146.83, 196.0, 246.94, 329.63)  # open strings, Hz
BASS = (41.2, 55.0, 73.42, 98.0)
FADE_S = 0.005
HIGHEST_PARTIAL = 0.45  # of the sample rate; higher partials are left out
_TRIAD = (0, 7, 12, 16)  # semitones


def guitar(length: int, sample_rate: int, random: np.random.Generator) -> Signal:
    """A line of single notes on any string and fret, 0.12 to 0.7 s each, (length,).

    Args:
        length: samples.
        sample_rate: Hz.
        random: the generator to draw from.

    Example:
        >>> guitar(4000, 8000, np.random.default_rng(0)).shape
        (4000,)
    """
    return _line(length, sample_rate, random, GUITAR, frets=20, note_s=(0.12, 0.7))


def bass(length: int, sample_rate: int, random: np.random.Generator) -> Signal:
    """A line of single notes on a bass, 0.2 to 0.9 s each, (length,).

    Arguments as `guitar`.

    Example:
        >>> bass(4000, 8000, np.random.default_rng(0)).shape
        (4000,)
    """
    return _line(length, sample_rate, random, BASS, frets=14, note_s=(0.2, 0.9))


def chords(length: int, sample_rate: int, random: np.random.Generator) -> Signal:
    """Two strummed chords, (length,). One chord in four is a power chord.

    Arguments as `guitar`.

    Example:
        >>> chords(4000, 8000, np.random.default_rng(0)).shape
        (4000,)
    """
    y = np.zeros(length)
    for start in (0, length // 2):
        root = random.choice(GUITAR[:3]) * 2 ** (random.integers(0, 8) / 12)
        for number, semitones in enumerate(_TRIAD[: random.choice([3, 4, 4, 4])]):
            onset = start + round(0.015 * number * sample_rate)
            rest = start + length // 2 - onset
            y[onset : onset + rest] += pluck(root * 2 ** (semitones / 12), rest, sample_rate, random)
    return y


def _line(
    length: int,
    sample_rate: int,
    random: np.random.Generator,
    strings: tuple[float, ...],
    frets: int,
    note_s: tuple[float, float],
) -> Signal:
    y, start = np.zeros(length), 0
    while start < length:
        duration = min(round(random.uniform(*note_s) * sample_rate), length - start)
        pitch = random.choice(strings) * 2 ** (random.integers(0, frets) / 12)
        y[start : start + duration] += random.uniform(0.3, 1) * pluck(pitch, duration, sample_rate, random)
        start += duration
    return y


def pluck(pitch_hz: float, length: int, sample_rate: int, random: np.random.Generator) -> Signal:
    """One string as the sum of its decaying, slightly stretched partials (stiffness), (length,), peak about 1.

    The place of the pick and that of the pickup are random; both weight the partials. The result is the string of
    Karplus and Strong (1983), but in tune at any sample rate and free of aliases.

    Args:
        pitch_hz: fundamental.
        length: samples.
        sample_rate: Hz.
        random: the generator to draw from.

    Example:
        >>> pluck(110.0, 4000, 8000, np.random.default_rng(0)).shape
        (4000,)
    """
    time = np.arange(length) / sample_rate
    plucked, picked_up = random.uniform(0.08, 0.4), random.uniform(0.05, 0.25)
    stiffness, brightness = 10 ** random.uniform(-4.5, -3.7), random.uniform(2e3, 6e3)
    decay_s = 1.2 * (110 / pitch_hz) ** 0.4
    n = np.arange(1, int(min(40, 14_000 / pitch_hz)) + 1)
    partial_hz = n * pitch_hz * np.sqrt(1 + stiffness * n * n)
    weights = partial_weight(n, partial_hz, plucked, picked_up, brightness)
    below = partial_hz <= HIGHEST_PARTIAL * sample_rate
    y = decaying_sines(weights * below, partial_hz, (1 + (partial_hz / 2500) ** 1.3) / decay_s, length, sample_rate)
    fade = np.minimum(1, np.arange(length)[::-1] / (FADE_S * sample_rate))
    attack = noise(length, sample_rate, 3500.0, random) * np.exp(-time / 0.004)  # the pick
    return (y / np.max(np.abs(y)) + 0.1 * attack) * fade


def decaying_sines(
    weights: Float[np.ndarray, "n"] | Complex[np.ndarray, "n"],
    hz: Float[np.ndarray, "n"],
    rates: Float[np.ndarray, "n"],
    length: int,
    sample_rate: int,
) -> Signal:
    """The sum of w exp(-r t) sin(2 pi f t), (length,).

    As exp(s (t + u)) = exp(s t) exp(s u), one product of two small matrices gives all samples: t is the start of a
    block, u the time within it. Computing `sin` and `exp` of every sample takes far longer.

    Args:
        weights: amplitudes; the angle of a complex one is the phase in radians.
        hz: frequencies.
        rates: of decay, 1/s.
        length: samples.
        sample_rate: Hz.

    Example:
        >>> y = decaying_sines(np.array([2.0]), np.array([1000.0]), np.array([0.0]), 4, 4000)
        >>> y.round(9).tolist()
        [0.0, 2.0, 0.0, -2.0]
    """
    block = int(np.ceil(np.sqrt(length)))
    exponents = (2j * np.pi * hz - rates) / sample_rate
    within = np.exp(np.outer(exponents, np.arange(block)))
    blocks = np.exp(np.outer(exponents, block * np.arange(-(-length // block))))
    return np.ravel(((weights[:, None] * blocks).T @ within).imag)[:length]


def partial_weight(number: Any, hz: Any, plucked: float, picked_up: float, brightness_hz: float) -> Any:
    """The amplitude of a string's partial at a pickup, or of several.

    Args:
        number: of the partial, from 1.
        hz: its frequency.
        plucked, picked_up: places on the string, relative to its length.
        brightness_hz: above it, partials fall by another 12 dB per octave.

    Example:
        >>> bool(partial_weight(1, 100.0, 0.5, 0.5, 1e9) > 0.99)
        True
    """
    shape = np.sin(np.pi * number * plucked) * np.sin(np.pi * number * picked_up)
    return shape / number / (1 + (hz / brightness_hz) ** 2)


def noise(length: int, sample_rate: int, corner_hz: float, random: np.random.Generator) -> Signal:
    """White noise through a low-pass of the second order, peak 1, (length,).

    Args:
        length: samples.
        sample_rate: Hz.
        corner_hz: of the low-pass.
        random: the generator to draw from.

    Example:
        >>> float(np.max(np.abs(noise(4000, 8000, 1000.0, np.random.default_rng(0)))))
        1.0
    """
    sections = scipy.signal.butter(2, min(corner_hz, 0.45 * sample_rate), fs=sample_rate, output="sos")
    filtered = scipy.signal.sosfilt(sections, random.standard_normal(length))
    return filtered / np.max(np.abs(filtered))


class Tone(NamedTuple):
    """The filter of a pickup and its tone control: a slope above one frequency, and a cut-off."""

    from_hz: float
    slope: float  # exponent: 1 rises by 6 dB per octave, -1 falls by as much
    up_to_hz: float  # cut-off of a second-order roll-off


def coloured(piece: Signal, sample_rate: int, tone: Tone) -> Signal:
    """A piece filtered with a tone, without a shift in time (t,).

    Args:
        piece: (t,).
        sample_rate: Hz.
        tone: the filter.

    Example:
        >>> coloured(np.ones(100), 8000, Tone(1000.0, 1.0, 3000.0)).shape
        (100,)
    """
    hz = np.fft.rfftfreq(len(piece), 1 / sample_rate)
    gain = (1 + (hz / tone.from_hz) ** 2) ** (tone.slope / 2) / (1 + (hz / tone.up_to_hz) ** 4) ** 0.5
    return np.fft.irfft(np.fft.rfft(piece) * gain, len(piece))


def faded(piece: Signal, sample_rate: int) -> Signal:
    """Fade the ends of a piece in and out within `FADE_S`, so that pieces can follow each other without a click.

    Example:
        >>> faded(np.ones(1000), 8000)[[0, 500, -1]].tolist()
        [0.0, 1.0, 0.0]
    """
    fade = round(FADE_S * sample_rate)
    shape = np.ones(len(piece))
    shape[:fade], shape[len(shape) - fade :] = np.linspace(0, 1, fade), np.linspace(1, 0, fade)
    return piece * shape
