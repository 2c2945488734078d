"""Music through devices that do something known to it."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxalias.evaluation import Candidate, audio_set

RATE = 44_100
TEACHER = Candidate("teacher.nam", "teacher", lambda x: jnp.tanh(3 * x))
QUIETER = Candidate("student.nam", "student", lambda x: 0.9 * jnp.tanh(3 * x))


@pytest.fixture
def x() -> np.ndarray:
    return 0.3 * np.random.default_rng(1).normal(size=5000)


def test_a_late_recording_turned_over_is_aligned(x: np.ndarray) -> None:
    aligned, delay, polarity = audio_set.align(-np.concatenate([np.zeros(37), x]), x)
    assert (delay, polarity) == (37, -1)
    np.testing.assert_array_equal(aligned[:4900], x[:4900])


@pytest.mark.parametrize(("delay", "length"), [(0, 3000), (37, 5037), (700, 4000), (-400, 4600), (20_000, 40_000)])
def test_a_recording_is_compared_where_it_holds_the_clip(x: np.ndarray, delay: int, length: int) -> None:
    y = np.tanh(3 * x)
    recording = np.r_[np.zeros(max(0, delay)), y[max(0, -delay) :], np.zeros(length)][:length]
    performance = audio_set.perform([TEACHER], audio_set.Clip("riff", x, recording))
    start, stop = max(0, -delay), min(5000, length - delay)
    assert (performance.delay, performance.held) == (delay, (start, stop))
    np.testing.assert_array_equal(performance.reference[start:stop], y[start:stop])
    assert len(performance.reference) == 5000
    esr = audio_set.evaluate([performance], RATE)[0]["ESR"]
    assert esr is None or esr < -250  # to the rounding of two tanh


def test_without_a_recording_the_teacher_is_the_reference(x: np.ndarray) -> None:
    steps: list[str] = []
    performance = audio_set.perform([TEACHER, QUIETER], audio_set.Clip("riff", x), steps.append)
    teacher, student = audio_set.evaluate([performance], RATE)
    assert steps == ["teacher.nam: riff", "student.nam: riff"]
    assert teacher["ESR"] is None
    assert teacher["MRSL"] is None
    assert student["ESR"] == pytest.approx(-20, abs=1e-5)  # a tenth of the amplitude is missing
    assert student["clips"][0]["reference"] == "teacher"


def test_clips_count_by_their_power(x: np.ndarray) -> None:
    recording = -np.concatenate([np.zeros(37), np.tanh(3 * x)])
    loud, quiet = audio_set.Clip("loud", x, recording), audio_set.Clip("quiet", 1e-3 * x)
    clips = [audio_set.perform([TEACHER, QUIETER], clip) for clip in (loud, quiet)]
    teacher, student = audio_set.evaluate(clips, RATE)
    assert student["ESR"] == pytest.approx(student["clips"][0]["ESR"], abs=1e-3)
    first = teacher["clips"][0]
    assert (first["reference"], first["delay"], first["polarity"]) == ("recording", 37, -1)
    assert first["ESR"] < -20  # all but the last 37 samples
