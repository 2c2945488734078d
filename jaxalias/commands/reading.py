"""What commands read: model files, audio, folders and JSON."""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import weights_import
from jaxalias import models
from jaxalias.commands.errors import BadInputError, input_errors
from jaxalias.commands.parsing import KNOB_DEFAULT
from jaxalias.signals import audio_files, recordings
from weights_import import ModelFile, Network

SHIPPED_MODELS = Path(__file__).resolve().parents[1] / "shipped"
SHIPPED_MODEL = SHIPPED_MODELS / "distortion_lstm-40.json"


def load_model(path: Path, sample_rate: int | None = None) -> ModelFile:
    """A model file.

    Args:
        sample_rate: in Hz, for a file without one.

    Raises:
        BadInputError: the file is no model, or holds another rate.
    """
    with input_errors():
        file = weights_import.load(path)
        if sample_rate is not None:
            file = weights_import.at_rate(file, sample_rate)
    return file


def tell_assumed(files: Iterable[ModelFile]) -> None:
    """Print on stderr what was assumed on reading. Call it after all checks, so that an error is the only line."""
    for file in files:
        for about, note in file.notes.items():
            print(f"{file.path}: {about}: {note}", file=sys.stderr)


def knobs_of(file: ModelFile, network: Network, given: Sequence[float] | None) -> tuple[float, ...]:
    """Where the knobs of a model stand: as given, or in the middle; () where it has none.

    Raises:
        BadInputError: another number was given than the model has knobs.
    """
    count = models.build(network.config).knobs
    if given is not None and len(given) != count:
        raise BadInputError(
            f"{file.label(network)}: --knobs must be {count or 'left out'}, as the model has {count}, got {len(given)}"
        )
    return (KNOB_DEFAULT,) * count if given is None else tuple(given)


def find_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Files as given, folders as the files below them in order of name; hidden ones left out, each file once."""
    seen = set()
    for path in paths:
        with input_errors():
            if not path.exists():
                raise ValueError(f"{path}: must be a file or a folder, there is none of this name")
            below = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in below:
            hidden = path.is_dir() and any(part.startswith(".") for part in file.relative_to(path).parts)
            if not hidden and not file.is_dir() and file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def digest(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with input_errors():
        return hashlib.sha256(path.read_bytes()).hexdigest()


def read_audio(path: Path, sample_rate: int, channel: int | None = None, *, reference: bool = False) -> np.ndarray:
    """One channel of a clip at a rate (t,); warnings about it go to stderr.

    Args:
        reference: warn if it is clipped: models are compared with it.
    """
    recording = audio_files.read(path, channel=channel)
    warnings_of = list(recording.warnings)
    clipped = recordings.clipping(recording.samples) if reference else None  # before a conversion rounds the tops
    if clipped:
        warnings_of.append(f"{path}: is clipped, {clipped}: the figures against it include that; record softer")
    for warning in warnings_of:
        print(warning, file=sys.stderr)
    return audio_files.converted(recording, sample_rate).samples


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one if the file is missing or damaged."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
