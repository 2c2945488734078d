"""The clips of a listening test, their references, and all of them in all conditions."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxalias import listening
from jaxalias.commands import reading, writing
from jaxalias.commands.errors import BadInputError, input_errors
from jaxalias.evaluation import Candidate, audio_set
from jaxalias.listening import ANCHOR, REFERENCE, Trial, ratings
from jaxalias.pretraining import devices
from jaxalias.reporting import pictures
from jaxalias.signals import audio_files
from jaxalias.targets import oversampling

MUSIC, SWEEP = "music", "sweep"
LATEST_S = 0.5  # that a recording may be late or early; the models play so much more than a stimulus holds
Reference = Callable[[np.ndarray], np.ndarray]


class Piece(NamedTuple):
    """A clip for the models to play, and the largest number of its samples in a stimulus."""

    group: str
    clip: audio_set.Clip
    length: int

    @property
    def name(self) -> str:
        """Group and clip; unique among the pieces."""
        return f"{self.group}/{self.clip.name}"


def load_pieces(args: Any, sample_rate: int) -> list[Piece]:
    """Each --audio, cut to what is played, and the sweeps, with their recordings."""
    longest, played = (round(seconds * sample_rate) for seconds in (args.seconds, args.seconds + LATEST_S))
    named = [split_group(text) for text in args.audio]
    with input_errors():
        clips = [(group, path.stem, read(path, sample_rate, args.channel[0]), longest) for group, path in named]
        for low_hz, high_hz in listening.SWEEPS_HZ:
            with input_errors(str(args.teacher)):
                x = listening.sweep(low_hz, high_hz, sample_rate)
            clips.append((SWEEP, sweep_name(low_hz, high_hz), x, len(x)))
        pieces = []
        for (group, name, x, length), path in itertools.zip_longest(clips, args.recording):
            listening.refuse_unusable(f"clip {name!r}", x, sample_rate)
            clip = audio_set.Clip(name, x)
            if path is not None:
                recording = read(path, sample_rate, args.channel[1], reference=True)
                clip = audio_set.recorded(clip, recording, str(path), args.delay)  # the whole: a part may fit elsewhere
            pieces.append(Piece(group, clip._replace(x=x[: max(played, length)]), length))
    names = [piece.name for piece in pieces]
    for name in names:
        if names.count(name) > 1:
            raise BadInputError(f"--audio: clips of a group need names of their own, {name} is there twice")
    return pieces


def split_group(text: str) -> tuple[str, Path]:
    """GROUP=FILE, or a file of the group of music."""
    group, equals, name = text.partition("=")
    if not equals or Path(text).exists():
        return MUSIC, Path(text)
    if not group or "/" in group or group == ratings.ALL:
        raise BadInputError(f"--audio: a group's name must not be empty, 'all', or hold '/', got {text!r}")
    return group, Path(name)


def read(path: Path, sample_rate: int, channel: int | None, *, reference: bool = False) -> np.ndarray:
    """A clip at the models' rate. Other rates are refused: the conversion would be audible in the test."""
    with audio_files.reading(path, channel) as source:
        if source.sample_rate != sample_rate:
            raise BadInputError(
                f"{path}: sample rate must be the models' {sample_rate} Hz, got {source.sample_rate}; convert it first"
            )
    return reading.read_audio(path, sample_rate, channel, reference=reference)


def labels(candidates: Sequence[Candidate]) -> list[str]:
    """What the models are called in the results."""
    return pictures.labels({"models": [candidate._asdict() for candidate in candidates]})


def reference_of(args: Any, teacher: Candidate, sample_rate: int) -> tuple[str, Reference]:
    """The reference of a clip without a recording, in words and as a function of the input."""
    if args.device:
        return f"virtual device {args.device}", lambda x: devices.DEVICES[args.device](x[None], sample_rate)[0]
    play = oversampling.oversample(teacher.play, args.oversample)
    return f"teacher at {args.oversample} times its rate", lambda x: np.asarray(play(jnp.asarray(x)[None])[0])


def trial_of(
    piece: Piece,
    candidates: Sequence[Candidate],
    reference: tuple[str, Reference],
    sample_rate: int,
    on_step: Callable[[str], None],
) -> Trial:
    """A piece in all conditions, without what a recording that came late or early does not hold.

    Raises:
        BadInputError: the recording came more than `LATEST_S` late or early.
    """
    group, clip, length = piece
    played = audio_set.perform(candidates, clip, on_step)
    renders = dict(zip(labels(candidates), played.renders, strict=True))
    words, device = reference
    wanted = played.reference if clip.recording is not None else device(clip.x)
    if clip.recording is not None:
        words = recording_in_words(clip.name, played, sample_rate)
    start, stop = played.held
    stimuli = {REFERENCE: wanted, **renders, ANCHOR: listening.anchor(clip.x)}
    return Trial(group, clip.name, {name: y[start:stop][:length] for name, y in stimuli.items()}, words)


def recording_in_words(name: str, played: audio_set.Performance, sample_rate: int) -> str:
    """How the recording had to be moved to be in time."""
    late = f"{abs(played.delay)} samples {'late' if played.delay > 0 else 'early'}"
    if abs(played.delay) > LATEST_S * sample_rate:
        raise BadInputError(
            f"clip {name!r}: its recording is {late}, it must be within {LATEST_S:g} s; is it of this clip?"
        )
    return "recording" + (f", {late}" if played.delay else "") + (", turned over" if played.polarity < 0 else "")


def sweep_name(low_hz: float, high_hz: float) -> str:
    """What a sweep is called."""
    return f"{low_hz:g}-{high_hz:g}_Hz"


def input_name(group: str, clip: str) -> str:
    """The file of a clip in the folder of a test."""
    return f"inputs/{group}-{clip}.wav"


def write_inputs(folder: Path, pieces: Sequence[Piece], sample_rate: int) -> list[Path]:
    """The clips as the models got them, to be sent through a device."""
    paths = []
    for piece in pieces:
        paths.append(folder / input_name(piece.group, piece.clip.name))
        with audio_files.writing(paths[-1], sample_rate, "float", made_by=writing.command_name()) as sink:
            sink.write(piece.clip.x)
    return paths
