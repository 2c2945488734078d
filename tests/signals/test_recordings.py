"""Pairs of recordings: what is refused, what is taken off, and what is drawn from them."""

import numpy as np
import pytest

from jaxalias.signals import dsp, recordings
from jaxalias.signals.recordings import Pair, RecordingError

RATE = 44_100


def device(x: np.ndarray) -> np.ndarray:
    """A clipper with a low-pass, so that its response is smeared to the right."""
    y = np.tanh(4 * x)
    for n in range(1, len(y)):
        y[n] = 0.7 * y[n - 1] + 0.3 * y[n]
    return 0.5 * y


def sent(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    envelope = 0.5 + 0.5 * np.sin(np.arange(round(seconds * RATE)) / 9000) ** 2
    return 0.3 * envelope * np.convolve(random.standard_normal(round(seconds * RATE)), np.ones(12) / 4, "same")


@pytest.mark.parametrize("polarity", [1, -1])
@pytest.mark.parametrize("delay", [0, 1, 517, -300])
def test_delay_is_taken_off_and_polarity_kept(delay: int, polarity: int) -> None:
    x = sent()
    y = polarity * device(x)
    late = np.roll(np.pad(y, (400, 1000)), delay)[400 : 400 + len(y)]
    pair = recordings.align(x, late, RATE, "y.wav")
    assert (pair.delay, pair.polarity) == (delay, polarity)
    inner = slice(500, -500)
    start = max(0, -delay)  # what the recording lacks at its beginning is taken off the input too
    np.testing.assert_array_equal(pair.x[inner], x[start : start + len(pair.x)][inner])
    np.testing.assert_allclose(pair.y[inner], y[start : start + len(pair.y)][inner], atol=1e-12)


def test_a_given_delay_is_used() -> None:
    x = sent()
    assert recordings.align(x, device(x), RATE, "y.wav", delay=3).delay == 3


@pytest.mark.parametrize(
    ("y", "rule"),
    [
        (sent(seed=1), "is it the right file"),
        (sent(0.5), "as long as its input"),
    ],
)
def test_a_foreign_output_is_refused(y: np.ndarray, rule: str) -> None:
    with pytest.raises(RecordingError, match=rf"^y\.wav: .*{rule}"):
        recordings.align(sent(), y, RATE, "y.wav")


LOUD = 0.995 * sent() / np.max(np.abs(sent()))


@pytest.mark.parametrize("ceiling", [1.0, 1 - 2**-15, 0.995])
@pytest.mark.parametrize("bits", [8, 16, 24, None], ids=lambda bits: f"{bits} bits")
@pytest.mark.parametrize("sign", [1, -1])
def test_a_clipped_recording_is_refused(bits: int | None, ceiling: float, sign: int) -> None:
    """At the ceiling of a converter, on one side, whatever a sample holds."""
    clipped = quantised(sign * np.minimum(3 * LOUD, ceiling), bits)
    assert np.max(np.abs(clipped)) >= 0.99
    with pytest.raises(
        RecordingError, match=r"^x\.wav: must not be clipped, sample \d+ and the \d+ after it are equal"
    ):
        recordings.check(clipped, "x.wav")


@pytest.mark.parametrize("bits", [8, 16, 24, None], ids=lambda bits: f"{bits} bits")
@pytest.mark.parametrize("f0_hz", [20.0, 31.0, 82.4, 1000.0])
def test_a_loud_slow_wave_is_not_clipped(bits: int | None, f0_hz: float) -> None:
    """Its tops are flat where integers hold it, but it comes to them slowly."""
    wave = quantised(0.993 * np.sin(2 * np.pi * f0_hz * np.arange(RATE) / RATE), bits)
    recordings.check(wave, "x.wav")


def quantised(samples: np.ndarray, bits: int | None) -> np.ndarray:
    if bits is None:
        return samples
    scale = 2 ** (bits - 1)
    return np.clip(np.rint(samples * scale), -scale, scale - 1) / scale


@pytest.mark.parametrize(("samples", "rule"), [(np.zeros(1000), "is silence"), (1e-4 * sent(), "record louder")])
def test_a_silent_recording_is_refused(samples: np.ndarray, rule: str) -> None:
    with pytest.raises(RecordingError, match=rf"^x\.wav: .*{rule}"):
        recordings.check(samples, "x.wav")


def test_loud_and_whole_recordings_pass() -> None:
    recordings.check(LOUD, "x.wav")
    recordings.check(np.clip(4 * sent(), -0.9, 0.9), "a distortion.wav")  # flat, but not at full scale


@pytest.mark.parametrize("gain", [0.1, 0.5, 0.891, 0.98])
@pytest.mark.parametrize("bits", [16, 24, None], ids=lambda bits: f"{bits} bits")
def test_a_recording_that_was_clipped_and_turned_down_is_doubted(gain: float, bits: int | None) -> None:
    """A distortion has flat tops too, so this is a warning."""
    clipped = quantised(gain * np.clip(3 * LOUD, -1, 1), bits)
    recordings.check(clipped, "x.wav")
    warning = recordings.turned_down(clipped, "x.wav")
    assert warning is not None
    assert f"flat at its peak, {np.max(np.abs(clipped)):.3f} of full scale" in warning
    assert recordings.turned_down(quantised(gain * LOUD, bits), "x.wav") is None


def test_draws_hold_what_stands_in_the_recordings_and_reach_all_of_it() -> None:
    pairs = [Pair(np.arange(100.0), -np.arange(100.0)), Pair(np.arange(1000.0, 1030), -np.arange(1000.0, 1030))]
    drawn = recordings.draw(pairs, 4000, 5, 20, np.random.default_rng(0))
    assert drawn.inputs.shape == (4000, 20) and drawn.lead_in.shape == (4000, 5)
    np.testing.assert_array_equal(drawn.targets, -drawn.inputs)
    first = drawn.inputs[:, :1]
    np.testing.assert_array_equal(drawn.inputs, first + np.arange(20))
    before = first - np.arange(5, 0, -1)
    outside = (before < 0) | ((first >= 1000) & (before < 1000))
    np.testing.assert_array_equal(drawn.lead_in, np.where(outside, 0, before))
    assert set(first.ravel()) == {*range(81), *range(1000, 1011)}


def test_split_and_segments_in_turn() -> None:
    train, held_out = recordings.split([Pair(np.arange(100.0), np.arange(100.0))], 0.25)
    assert len(train[0].x) == 75 and held_out[0].x[0] == 75
    whole = recordings.in_turn(train, 4, 30)
    np.testing.assert_array_equal(whole.inputs, np.arange(60.0).reshape(2, 30))
    np.testing.assert_array_equal(whole.lead_in[1], np.arange(26.0, 30))


def test_a_weighting_follows_the_standard() -> None:
    """IEC 61672-1, table of A: -3.2 dB at 500 Hz, 0 at 1, +1.2 at 2, +1.0 at 4, -1.1 at 8 kHz."""
    taps = dsp.a_weighting_taps(48_000)
    f = np.array([500, 1000, 2000, 4000, 8000])
    response = np.abs(np.exp(-2j * np.pi * f[:, None] / 48_000 * np.arange(len(taps))) @ taps)
    np.testing.assert_allclose(20 * np.log10(response), [-3.2, 0, 1.2, 1.0, -1.1], atol=1.0)
    np.testing.assert_allclose(20 * np.log10(response[2:]), [1.2, 1.0, -1.1], atol=0.6)
