"""What people play: levels, pitches and the absence of folded partials."""

from collections.abc import Callable

import numpy as np
import pytest

from jaxalias.signals import high_playing, playing, strings

RATE = 24_000
PIECE = round(high_playing.PIECE_S * RATE)


def piece_levels_db(x: np.ndarray, length: int, peak: float) -> np.ndarray:
    return 20 * np.log10(np.max(np.abs(x[: len(x) // length * length].reshape(-1, length)), axis=1) / peak)


@pytest.mark.parametrize("make", [playing.playing, high_playing.high_playing])
def test_the_seed_decides(make: Callable) -> None:
    x = make(6.3, RATE, 5)
    assert x.shape == (round(6.3 * RATE),) and x.dtype == np.float64
    np.testing.assert_array_equal(x, make(6.3, RATE, 5))
    assert np.max(np.abs(x - make(6.3, RATE, 6))) > 0.1
    np.testing.assert_array_equal(x[: 5 * RATE], make(5.0, RATE, 5))  # longer is the same, and more


def test_streams_of_one_seed_differ() -> None:
    """The generators of the two signals must not be in step."""
    draws = [np.random.default_rng([3, stream]).uniform(size=4) for stream in (1, 2)]
    assert np.min(np.abs(draws[0] - draws[1])) > 1e-3


def test_levels_of_playing() -> None:
    levels = piece_levels_db(playing.playing(100.0, RATE, 0), round(playing.PHRASE_S * RATE), playing.PHRASE_PEAK)
    assert np.max(levels) <= 0 and np.min(levels) > -30.5
    assert np.quantile(levels, 0.25) < -18 and np.quantile(levels, 0.75) > -12  # even in dB


def test_playing_has_quiet_passages_over_hiss_and_hum_and_no_silence() -> None:
    """As a recording by an interface: the level of short frames goes down to the noise, and nothing is digital zero."""
    x = playing.playing(100.0, RATE, 0)
    frames = x[: len(x) // 1000 * 1000].reshape(-1, 1000)
    levels = 10 * np.log10(np.mean(frames**2, axis=1))
    assert np.min(levels) > -105
    assert 0.05 < np.mean(levels < -60) < 0.4


def test_a_bass_is_dark_and_a_guitar_is_not() -> None:
    """Shares of the energy above 640 Hz, of each third piece; of real recordings they are -32 dB and -3 dB."""
    x = playing.playing(150.0, RATE, 0).reshape(-1, 3, round(playing.PHRASE_S * RATE))
    power, hz = np.abs(np.fft.rfft(x)) ** 2, np.fft.rfftfreq(x.shape[2], 1 / RATE)
    above = 10 * np.log10(np.sum(power[..., hz > 640], axis=-1) / np.sum(power, axis=-1))
    assert np.min(above[:, 2]) < -25 and np.median(above[:, 2]) < -10
    assert np.median(above[:, 0]) > -6


@pytest.mark.parametrize(("slope", "wanted_db"), [(1.0, 6.0), (-2.0, -12.0), (0.0, 0.0)])
def test_tones_have_their_slope(slope: float, wanted_db: float) -> None:
    """Decibels an octave, far above where it begins and far below where it ends."""
    click = np.zeros(RATE)
    click[RATE // 2] = 1
    response = np.abs(np.fft.rfft(strings.coloured(click, RATE, strings.Tone(20.0, slope, 11_000.0))))
    assert 20 * np.log10(response[2000] / response[1000]) == pytest.approx(wanted_db, abs=0.05)


def test_levels_of_high_playing() -> None:
    levels = piece_levels_db(high_playing.high_playing(40 * 1.25, RATE, 0), PIECE, high_playing.PEAK)
    assert np.max(levels) < 1e-9 and np.min(levels) > -26.5
    assert np.quantile(levels, 0.25) < -15 and np.quantile(levels, 0.75) > -10  # even in dB
    loud = piece_levels_db(high_playing.high_playing(10 * 1.25, RATE, 0, quietest_db=-3.0), PIECE, high_playing.PEAK)
    assert -3.5 < np.min(loud) <= np.max(loud) < 1e-9


@pytest.mark.parametrize("kind", [high_playing.single_notes, high_playing.bend])
@pytest.mark.parametrize("seed", range(4))
def test_pitches_by_their_spectrum(kind: Callable, seed: int) -> None:
    """The attack aside nothing sounds below the lowest fundamental, and a fundamental does sound."""
    x = kind(PIECE, RATE, np.random.default_rng(seed))
    power = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
    hz = np.fft.rfftfreq(len(x), 1 / RATE)
    assert np.sum(power[hz < 600]) < 0.02 * np.sum(power)
    highest = 2 ** (3.5 / 12) * 660 * 2 ** (25 / 12)  # bent up by three semitones, with vibrato
    assert np.sum(power[(hz > 600) & (hz < highest * 1.02)]) > 0.05 * np.sum(power)


def test_two_notes_sound_together() -> None:
    x = high_playing.two_notes(PIECE, RATE, np.random.default_rng(2))
    power = np.abs(np.fft.rfft(x * np.hanning(len(x)))) ** 2
    hz = np.fft.rfftfreq(len(x), 1 / RATE)
    assert 660 / 2 ** (7 / 12) * 0.97 < hz[np.argmax(power)] < 2 * 2800 * 1.03


def test_a_pinched_string_sounds_its_partial_and_its_multiples() -> None:
    x = high_playing.string(np.full(RATE, 200.0), RATE, np.random.default_rng(1), pinched=5)
    power = np.abs(np.fft.rfft(x * np.hanning(RATE))) ** 2
    multiples = np.abs(np.arange(len(power)) / 1000 % 1 - 0.5) > 0.44  # within 60 Hz, as it is stretched a little
    assert np.sum(power[multiples]) > 0.95 * np.sum(power)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "make",
    [
        lambda rate, pitch, random: high_playing.string(np.full(rate, pitch), rate, random),
        lambda rate, pitch, random: strings.pluck(pitch, rate, rate, random),
    ],
    ids=["high", "pluck"],
)
def test_no_partial_is_folded(make: Callable, seed: int) -> None:
    """At a low rate, where 16 kHz of partials would fold: 50 ms after the attack only partials sound, in order."""
    rate, pitch, random = 8000, 710.0, np.random.default_rng(seed)
    x = make(rate, pitch, random)[400:-100]
    window = np.blackman(len(x))
    power = np.abs(np.fft.rfft(x * window)) ** 2
    hz = np.fft.rfftfreq(len(x), 1 / rate)
    partials = np.arange(1, 6) * pitch  # 3.6 kHz is 0.45 of the rate
    near = np.any(np.abs(hz[:, None] - partials) < 0.02 * partials + 8, axis=1)
    assert np.sum(power[~near]) < 1e-6 * np.sum(power)
