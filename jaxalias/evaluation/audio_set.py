"""Models on music, against a recording of the device or against the teacher (section 2.6)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxalias.evaluation import metrics
from jaxalias.evaluation.sine_set import Candidate
from jaxalias.signals.dsp import power_to_db

METRICS = ("ESR", "MRSL")


class Clip(NamedTuple):
    """A piece of music: input, and what the device made of it where that is known. (t,), at the models' rate."""

    name: str
    x: np.ndarray
    recording: np.ndarray | None = None


class Performance(NamedTuple):
    """A clip as every candidate played it, (t,) each, and what they are to be compared with."""

    clip: Clip
    renders: list[np.ndarray]
    reference: np.ndarray  # the recording, aligned; without one the teacher's render
    delay: int  # of the recording, in samples; positive where it came late
    polarity: int  # -1 where the recording had to be turned over


def perform(
    candidates: Sequence[Candidate], clip: Clip, on_step: Callable[[str], None] = lambda what: None
) -> Performance:
    """Play a clip through every candidate; the first is the teacher.

    A recording is shifted by whole samples and turned over where the teacher's correlation with it says so.
    """
    renders = []
    for candidate in candidates:
        renders.append(np.asarray(candidate.play(jnp.asarray(clip.x)[None])[0]))
        on_step(f"{candidate.path}: {clip.name}")
    if clip.recording is None:
        return Performance(clip, renders, renders[0], delay=0, polarity=1)
    return Performance(clip, renders, *align(clip.recording, renders[0]))


def evaluate(performances: Sequence[Performance], sample_rate: int) -> list[dict[str, Any]]:
    """ESR and MRSL of each candidate over all clips.

    Returns:
        For each candidate {"ESR": dB of the summed errors over the summed powers of all clips, "MRSL": dB of
        the mean over clips, "clips": [{"name", "reference", "delay", "polarity", "ESR", "MRSL"}]}.
    """
    records = []
    for index in range(len(performances[0].renders)):
        rows, sums = [], np.zeros(3)  # error, power, distance
        for clip, renders, reference, delay, polarity in performances:
            length = min(len(renders[index]), len(reference))
            y, wanted = renders[index][:length], reference[:length]
            error, power = np.sum((y - wanted) ** 2), np.sum(wanted**2)
            distance = metrics.mrsl(y, wanted, sample_rate)
            sums += error, power, distance
            against = "teacher" if clip.recording is None else "recording"
            row = {"name": clip.name, "reference": against, "delay": delay, "polarity": polarity}
            rows.append(row | _decibels(error / power, distance))
        error, power, distance = sums
        records.append(_decibels(error / power, distance / len(rows)) | {"clips": rows})
    return records


def _decibels(esr: float, mrsl: float) -> dict[str, Any]:
    return {"ESR": power_to_db(esr), "MRSL": power_to_db(mrsl**2)}


def align(recording: np.ndarray, like: np.ndarray) -> tuple[np.ndarray, int, int]:
    """A recording (t,) shifted and turned over to match a signal: (aligned, delay in samples, polarity 1 or -1).

    The delay is where the circular cross-correlation is largest in magnitude; a positive one means the
    recording came late. Samples from outside the recording are zeros.
    """
    length = len(like)
    recording = np.pad(recording, (0, max(0, length - len(recording))))[:length]
    size = 2 * length
    spectrum = np.fft.rfft(recording, size) * np.conj(np.fft.rfft(like, size))
    correlation = np.fft.irfft(spectrum, size)
    peak = int(np.argmax(np.abs(correlation)))
    delay, polarity = (peak - size if peak > length else peak), (1 if correlation[peak] >= 0 else -1)
    shifted = np.roll(np.pad(recording, (0, length)), -delay)[:length]
    return polarity * shifted, delay, polarity
