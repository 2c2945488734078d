"""Delays: found as far as recordings allow, whatever the device, and refused where they cannot be trusted."""

from collections.abc import Callable
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import soundfile

import jaxalias
import weights_import
from jaxalias import evaluation, models
from jaxalias.signals import alignment, recordings
from jaxalias.signals.recordings import RecordingError

RATE = 44_100
NEAR = 12
"""Samples: a narrow input blurs where the answer begins, to a fraction of a millisecond."""
DEVICES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "clean": lambda x: x,
    "overdrive": lambda x: np.tanh(30 * x),
    "fuzz": np.sign,
    "octave up": np.abs,
    "one-sided": lambda x: np.clip(300 * x, -0.05, 1.0),
    "gate": lambda x: np.sign(x) * (np.abs(x) > 0.03),
}


def plucks(seconds: float = 6.0, seed: int = 0, notes: int = 5) -> np.ndarray:
    """Notes of a few pitches, each the same whenever it comes: shifts by the time between two fit a part of them."""
    random = np.random.default_rng(seed)
    x, time = np.zeros(round(seconds * RATE)), np.arange(RATE) / RATE
    tones = []
    for f0 in 110 * 2 ** (random.choice(25, notes, replace=False) / 12):
        partials = [np.sin(2 * np.pi * k * f0 * time) * np.exp(-k * 4 * time) / k for k in range(1, 30)]
        tones.append(0.2 * np.sum(partials, 0))
    for start in np.sort(random.integers(0, len(x) - RATE // 4, 3 * round(seconds))):
        tone = tones[random.integers(notes)]
        x[start : start + len(tone)] += tone[: len(x) - start]
    return x / np.max(np.abs(x)) * 0.7


def played(x: np.ndarray, name: str, polarity: int = 1, noise_db: float = -60.0) -> np.ndarray:
    """What a device makes of it: a curve, a low-pass, and noise."""
    y = scipy.signal.lfilter(*scipy.signal.butter(2, 6000, fs=RATE), DEVICES[name](x))
    y *= 0.4 * polarity / np.max(np.abs(y))
    return y + 0.4 * 10 ** (noise_db / 20) * np.random.default_rng(9).normal(size=len(y)) / 3


def late(y: np.ndarray, delay: int) -> np.ndarray:
    """As long as it was, moved: the beginning or the end is lost."""
    return np.r_[np.zeros(max(0, delay)), y[max(0, -delay) :]][: len(y)]


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("delay", [60_000, -70_123, 417])
def test_far_delays_of_every_device_are_found(name: str, delay: int) -> None:
    polarity = 1 if delay == 417 else -1
    x = plucks()
    pair = recordings.align(x, late(played(x, name, polarity), delay), RATE, "y.wav")
    assert abs(pair.delay - delay) <= NEAR
    if name != "octave up":  # has none
        assert pair.polarity == polarity
    assert len(pair.x) == len(pair.y) == len(x) - abs(pair.delay)


@pytest.mark.parametrize("name", ["fuzz", "distortion"])
def test_models_at_high_gain_are_found(name: str) -> None:
    """Ten times as loud as they are played, turned over, late, and with noise at -60 dB."""
    x = plucks(4.0)
    file = weights_import.load(Path(jaxalias.__file__).parent / "shipped" / f"{name}_lstm-40.json")
    y = np.asarray(
        evaluation.player(models.build(file.network.config), file.network.params)(jnp.asarray(10 * x)[None])
    )[0]
    noise = 1e-3 * np.max(np.abs(y)) * np.random.default_rng(0).normal(size=len(y))
    pair = recordings.align(x, late(noise - y, 60_000), RATE, "y.wav")
    assert abs(pair.delay - 60_000) <= NEAR


def test_a_longer_recording_is_searched_as_a_whole() -> None:
    x = plucks()
    y = np.r_[1e-4 * np.random.default_rng(0).normal(size=10 * RATE), played(x, "overdrive"), np.zeros(2 * RATE)]
    pair = recordings.align(x, y, RATE, "y.wav")
    assert abs(pair.delay - 10 * RATE) <= NEAR and len(pair.x) == len(x)


def test_a_riff_that_is_played_again_and_again_is_put_in_its_place() -> None:
    loop = np.tile(plucks(1.0), 8)
    assert abs(recordings.align(loop, late(played(loop, "fuzz"), RATE), RATE, "y.wav").delay - RATE) <= NEAR


SECOND = plucks(seed=1)  # another piece with other notes
SINE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(6 * RATE) / RATE)


@pytest.mark.parametrize(
    ("x", "y", "rule"),
    [
        (plucks(), played(SECOND, "overdrive"), r"only -?\d+% of it follows its input .* is it the right file\?"),
        (plucks(), played(SINE, "overdrive"), "is it the right file"),
        (SINE, played(SINE, "overdrive"), r"cannot be told: \d+% .* at -?\d+ samples and \d+% at .* give its --delay"),
        (
            plucks(),
            late(played(plucks(), "fuzz"), 4 * RATE),
            r"must be as long as its input, holds 88\d\d\d of its 264600",
        ),
        (plucks(), played(plucks(), "fuzz")[: 2 * RATE], "must be as long as its input, holds 88200 of its 264600"),
        (plucks(), np.zeros(6 * RATE), "is silence; record louder"),
        (plucks(), 1e-4 * played(plucks(), "fuzz"), "record louder"),
        (plucks()[9000:9500], plucks()[9000:9500], "must hold 2048 samples at least, hold 500 and 500"),
    ],
    ids=["foreign", "sine", "repeats", "too late", "too short", "silent", "quiet", "nothing"],
)
def test_what_cannot_be_aligned_is_refused_with_figure_and_remedy(x: np.ndarray, y: np.ndarray, rule: str) -> None:
    with pytest.raises(RecordingError, match=rf"^y\.wav: .*{rule}"):
        recordings.align(x, y, RATE, "y.wav")


@pytest.mark.parametrize("change", ["lost", "clock"])
def test_a_delay_that_changes_is_refused(change: str) -> None:
    x = plucks(12.0)
    y = played(x, "overdrive")
    if change == "lost":
        y = np.delete(y, np.arange(300_000, 300_300))
    else:  # 100 ppm
        y = np.interp(np.arange(len(y)) * 1.0001, np.arange(len(y)), y)
    with pytest.raises(RecordingError, match=r"must stay the same, at the end it is -\d+ samples from"):
        recordings.align(x, y, RATE, "y.wav")


def test_a_given_delay_is_used_but_not_where_another_one_explains_far_more() -> None:
    x = plucks()
    y = late(played(x, "fuzz"), 60_000)
    pair = recordings.align(x, y, RATE, "y.wav", delay=60_003)
    assert pair.delay == 60_003 and len(pair.x) == len(x) - 60_003
    with pytest.raises(
        RecordingError, match=r"delay of 42193 samples: \d+% of it follows its input there, and 9\d% at"
    ):
        recordings.align(x, y, RATE, "y.wav", delay=42_193)
    assert recordings.align(x, played(SECOND, "fuzz"), RATE, "y.wav", delay=5).delay == 5  # the user knows


def test_shares_of_a_known_mixture() -> None:
    """Of an output that is half noise by power, half is explained, whatever the curve; of noise nothing."""
    random = np.random.default_rng(0)
    x, noise = random.normal(size=(2, 3 * RATE))
    for curve in (lambda x: x, np.abs):
        y = curve(x) - np.mean(curve(x))
        mixed = y / np.std(y) + noise
        assert alignment.explained(x, mixed, 0) == pytest.approx(0.5, abs=0.02)
    assert alignment.explained(x, noise, 0) == pytest.approx(0, abs=0.02)
    half = np.r_[x[: len(x) // 2], noise[len(x) // 2 :]]  # filters of half the gain fit both halves best
    assert alignment.explained(x, half, 0) == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("clip", ["bass_2", "guitar_1", "sweep_10k"])
@pytest.mark.parametrize("device", ["broadcast_target", "gypsy_target", "mesa_lstm_aa"])
def test_real_pedals_and_amplifiers(data_dir: Path, clip: str, device: str) -> None:
    x, y = (soundfile.read(data_dir / "audio" / clip / f"{name}.wav")[0] for name in ("input_reroute", device))
    noise = 1e-3 * np.max(np.abs(y)) * np.random.default_rng(0).normal(size=len(y))
    first = recordings.align(x, y, RATE, "y.wav")
    assert abs(first.delay) <= NEAR
    second = recordings.align(x, late(noise - y, 60_000), RATE, "y.wav")
    assert abs(second.delay - 60_000) <= NEAR and second.polarity == -first.polarity
