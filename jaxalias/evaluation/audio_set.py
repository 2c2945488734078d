"""Models on music, compared with a recording of the device or with the teacher (section 2.6)."""

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
REACH = 512  # samples; largest difference between the delays of a device and of its model


class Clip(NamedTuple):
    """A piece of music: the input and, if there is one, a recording of the device, (t,) at the models' rate."""

    name: str
    x: np.ndarray
    recording: np.ndarray | None = None
    delays: tuple[int, int] | None = None  # lowest and highest possible delay of the recording, samples; None: any


class Performance(NamedTuple):
    """The outputs of all candidates for a clip, (t,) each, and their reference."""

    clip: Clip
    renders: list[np.ndarray]
    reference: np.ndarray  # the recording, aligned; without one the teacher's render
    delay: int  # of the recording, in samples; positive: it is late
    polarity: int  # -1 if the recording is inverted
    held: tuple[int, int]  # first and end sample of the clip that the reference covers
    alias_free: np.ndarray | None = None  # output of the alias-free teacher, if it was computed
    own_set: bool = False  # true for one of the project's own sets, false for a user's clip


@host.in_double_precision
def perform(
    candidates: Sequence[Candidate], clip: Clip, on_step: Callable[[str], None] = lambda what: None
) -> Performance:
    """Play a clip through every candidate. The first candidate is the teacher.

    A recording is shifted by whole samples and inverted where necessary, to correlate best with the teacher's output.

    Args:
        candidates: the models.
        clip: the input, with or without a recording.
        on_step: called with a line of text after each candidate.

    Raises:
        RecordingError: the recording does not belong to this clip (`recordings.find`).
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
    """A clip with its recording, after a check: the recording must follow the clip and cover at least half of it.

    Args:
        clip: the input.
        recording: (t,), of any length.
        name: of the recording, for errors.
        delay: of the recording in samples, if known.

    Raises:
        RecordingError: as `recordings.find`.
    """
    found = recordings.find(clip.x, recording, name, delay).delay
    reach = REACH if delay is None else 0
    return clip._replace(recording=recording, delays=(found - reach, found + reach))


def evaluate(performances: Sequence[Performance], sample_rate: int) -> list[dict[str, Any]]:
    """ESR and MRSL of each candidate over all clips.

    Args:
        performances: one for each clip.
        sample_rate: Hz.

    Returns:
        For each candidate {"ESR": dB of the summed errors over the summed powers of all clips, "MRSL": dB of
        the mean over clips, "clips": [{"name", "reference", "delay", "polarity", "ESR", "MRSL"}]}, and "notes" with the
        reasons if one of the first two is None.
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
    """A recording (t,) shifted and inverted to match a signal: (aligned, delay in samples, polarity 1 or -1).

    The delay is where their correlation is largest in magnitude; positive: the recording is late. Samples outside the
    recording are zeros.

    Args:
        recording: of any length.
        like: (u,), the length of the result.
        delays: the lowest and the highest possible delay; None: any.
    """
    if delays is None:
        found = recordings.find(like, recording, "the recording").delay
        delays = found - REACH, found + REACH
    delay, polarity = alignment.best_shift(like, recording, *delays)
    late = recording[delay:] if delay >= 0 else np.pad(recording, (-delay, 0))
    return polarity * np.pad(late[: len(like)], (0, max(0, len(like) - len(late)))), delay, polarity
