"""Models on music, against a recording of the device or against the teacher (section 2.6)."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxalias.evaluation import host, metrics
from jaxalias.evaluation.sine_set import PERFECT, Candidate
from jaxalias.signals import alignment, recordings
from jaxalias.signals.dsp import power_to_db

METRICS = ("ESR", "MRSL")
SILENT = "no dB value: the reference is silent"
REACH = 512  # samples by which a device may delay what a model of it does not, or the other way round


class Clip(NamedTuple):
    """A piece of music: input, and what the device made of it where that is known. (t,), at the models' rate."""

    name: str
    x: np.ndarray
    recording: np.ndarray | None = None
    delays: tuple[int, int] | None = None  # of the recording, lowest and highest, in samples; None: any


class Performance(NamedTuple):
    """A clip as every candidate played it, (t,) each, and what they are to be compared with."""

    clip: Clip
    renders: list[np.ndarray]
    reference: np.ndarray  # the recording, aligned; without one the teacher's render
    delay: int  # of the recording, in samples; positive where it came late
    polarity: int  # -1 where the recording had to be turned over
    held: tuple[int, int]  # the samples of the clip, from and up to, that the reference holds
    alias_free: np.ndarray | None = None  # what the teacher plays at a multiple of its rate, where that was asked for
    own_set: bool = False  # one of the project's own, not a user's clip


@host.in_double_precision
def perform(
    candidates: Sequence[Candidate], clip: Clip, on_step: Callable[[str], None] = lambda what: None
) -> Performance:
    """Play a clip through every candidate; the first is the teacher.

    A recording is shifted by whole samples and turned over where the teacher's correlation with it says so.

    Raises:
        RecordingError: the recording is not of this clip (`recordings.find`).
    """
    if clip.recording is not None and clip.delays is None:
        clip = recorded(clip, clip.recording, f"the recording of clip {clip.name!r}")
    renders = []
    for candidate in candidates:
        renders.append(np.asarray(candidate.play(jnp.asarray(clip.x)[None])[0]))
        on_step(f"{candidate.path}: {clip.name}")
    if clip.recording is None:
        return Performance(clip, renders, renders[0], delay=0, polarity=1, held=(0, len(renders[0])))
    reference, delay, polarity = align(clip.recording, renders[0], clip.delays)
    held = max(0, -delay), min(len(reference), len(clip.recording) - delay)
    return Performance(clip, renders, reference, delay, polarity, held)


def recorded(clip: Clip, recording: np.ndarray, name: str, delay: int | None = None) -> Clip:
    """A clip with its recording, which is checked: it has to follow the clip, and to hold at least half of it.

    Args:
        recording: (t,), as long as it is.
        name: of the recording, for errors.
        delay: of the recording in samples, where it is known.

    Raises:
        RecordingError: as `recordings.find`.
    """
    found = recordings.find(clip.x, recording, name, delay).delay
    reach = REACH if delay is None else 0
    return clip._replace(recording=recording, delays=(found - reach, found + reach))


def evaluate(performances: Sequence[Performance], sample_rate: int) -> list[dict[str, Any]]:
    """ESR and MRSL of each candidate over all clips.

    Returns:
        For each candidate {"ESR": dB of the summed errors over the summed powers of all clips, "MRSL": dB of
        the mean over clips, "clips": [{"name", "reference", "delay", "polarity", "ESR", "MRSL"}]}, and "notes" with the
        reasons where one of the first two is None.
    """
    records = []
    for index in range(len(performances[0].renders)):
        rows, sums = [], np.zeros(3)  # error, power, distance
        for clip, renders, reference, delay, polarity, held, *_ in performances:
            y, wanted = renders[index][slice(*held)], reference[slice(*held)]
            error, power = np.sum((y - wanted) ** 2), np.sum(wanted**2)
            distance = metrics.mrsl(y, wanted, sample_rate)
            sums += error, power, distance
            against = "teacher" if clip.recording is None else "recording"
            row = {"name": clip.name, "reference": against, "delay": delay, "polarity": polarity}
            rows.append(row | _decibels(error, power, distance))
        error, power, distance = sums
        found = _decibels(error, power, distance / len(rows))
        notes = {name: PERFECT if power else SILENT for name in METRICS if found[name] is None}
        records.append(found | {"clips": rows} | ({"notes": notes} if notes else {}))
    return records


def _decibels(error: float, power: float, mrsl: float) -> dict[str, Any]:
    return {"ESR": power_to_db(error / power) if power else None, "MRSL": power_to_db(mrsl**2)}


def align(
    recording: np.ndarray, like: np.ndarray, delays: tuple[int, int] | None = None
) -> tuple[np.ndarray, int, int]:
    """A recording (t,) shifted and turned over to match a signal: (aligned, delay in samples, polarity 1 or -1).

    The delay is where their correlation is largest in magnitude; a positive one means the recording came late.
    Samples from outside the recording are zeros.

    Args:
        recording: of any length.
        like: (u,), the length of what is returned.
        delays: the lowest and the highest that it can be; None looks everywhere.
    """
    if delays is None:
        found = recordings.find(like, recording, "the recording").delay
        delays = found - REACH, found + REACH
    delay, polarity = alignment.best_shift(like, recording, *delays)
    late = recording[delay:] if delay >= 0 else np.pad(recording, (-delay, 0))
    return polarity * np.pad(late[: len(like)], (0, max(0, len(like) - len(late)))), delay, polarity
