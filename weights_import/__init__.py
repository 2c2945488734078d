"""Reads and writes model files: `load(path)`, `save(path, model_file)`, and `fine_tuned` or `converted` between them.

The format is recognised by content, never by name. What comes back from a file is a `jaxalias` config and a tree
of parameters; what goes out is the same file with other numbers.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxalias.config import LinearConfig, WaveNetConfig
from jaxalias.models import Params
from weights_import import (
    checks,
    conversion,
    disk,
    guitarml,
    json_text,
    metadata,
    nam,
    pickled,
    rehearsal,
    rtneural,
    sample_rates,
    torch_checkpoint,
)
from weights_import.model_file import DAMAGED, Format, ModelFile, ModelFileError, Network, Rate, inside

__all__ = [
    "RATES_HZ", "ModelFile", "ModelFileError", "Network", "Rate", "at_rate", "converted", "fine_tuned", "load",
    "require_trainable", "save",
]  # fmt: skip

RATES_HZ = sample_rates.RANGE_HZ
"""Lowest and highest sample rate of a model."""
_JSON_FORMATS = (nam.FORMAT, guitarml.FORMAT, rtneural.FORMAT)
_FORMATS = {known.name: known for known in (*_JSON_FORMATS, torch_checkpoint.FORMAT)}


def load(path: str | os.PathLike[str]) -> ModelFile:
    """Read a model file of any supported format.

    Args:
        path: a `.nam`, GuitarML or RTNeural `.json`, or PyTorch file, under whatever name.

    Returns:
        The model and all else that the file holds.

    Raises:
        ModelFileError: the file cannot be read, or asks for what the models cannot do. One line with the file, the
            key, the rule, the value, and what to do about it.
    """
    with _errors_about(path, "read", DAMAGED):
        form, document, encode = _parse(disk.read(Path(path)))
        return ModelFile(Path(path), form.name, _networks(form, document), document, encode)


def at_rate(model_file: ModelFile, hz: int) -> ModelFile:
    """The same models at the sample rate that the user says of a file that says none.

    Raises:
        ModelFileError: the file says another one.
    """
    with _errors_about(model_file.path, "read"):
        return dataclasses.replace(
            model_file, networks=tuple(sample_rates.given(network, hz) for network in model_file.networks)
        )


def save(path: str | os.PathLike[str], model_file: ModelFile) -> None:
    """Write a model in the format and layout that it came in, all or nothing.

    Args:
        path: where to; an existing file is replaced once the new one is on the disk, read back and compared.
        model_file: from `load` or `fine_tuned`, or a copy of one with other `params`.

    Raises:
        ModelFileError: parameters that do not fit the format, or a disk that does not take the file. A file that
            was there is as it was.
    """
    form, networks = _FORMATS[model_file.format], model_file.networks
    with _errors_about(path, "written"):
        parts = zip(form.split(model_file.document), networks, strict=True)
        written = [form.write(part.document, network.config, network.params) for part, network in parts]
        document = form.join(model_file.document, written, None)
        changed = not _holds(form, model_file.document, networks)
        disk.replace(Path(path), model_file.encode(document), lambda data: _verify(data, networks, changed))


def converted(source: ModelFile) -> ModelFile:
    """The same network in the other format, SimpleRNN or RTNeural JSON, ready to save (see `conversion`).

    Raises:
        ModelFileError: something would be lost, or the players of the other format would refuse it.
    """
    with _errors_about(source.path, "converted"):
        return conversion.converted(source)


def fine_tuned(source: ModelFile, params: Sequence[Params], training: dict[str, Any]) -> ModelFile:
    """The file of a student, ready to save: the teacher's with other parameters and a note of what was done.

    In JSON the note is `metadata.training.jaxalias`, in a PyTorch checkpoint `jaxalias` (a bare state_dict has no
    room for it). A NAM file gets its `loudness` and `gain`, if it has them, and an LSTM its initial state, for the
    new parameters; these take some seconds. Under `notes` the note says how levels were found, and at which rate the
    models were taken to play where the file does not say.

    Args:
        source: the teacher's file.
        params: of each network in the file's order, the student's, any precision; rounded to float32, which is
            what players read.
        training: what to note, as JSON can hold it.

    Raises:
        ModelFileError: parameters of another tree or shape than the teacher's or not finite, or a note that JSON
            cannot hold.
    """
    form, finished, networks = _FORMATS[source.format], [], []
    if source.network.rate.source != "file":
        training = metadata.about(training, source.notes)
    with _errors_about(source.path, "read"):
        if len(params) != len(source.networks):
            raise ModelFileError(f"params: must be {len(source.networks)}, one for each network, got {len(params)}")
        for part, teacher, new in zip(form.split(source.document), source.networks, params, strict=True):
            student, document = form.finish(part.document, teacher, _rounded(new, like=teacher.params), training)
            networks.append(teacher._replace(params=student))
            finished.append(document)
        whole = form.join(source.document, finished, training, (source.network, networks[-1]))
    return dataclasses.replace(source, networks=tuple(networks), document=whole)


def require_trainable(source: ModelFile) -> None:
    """Raise ModelFileError where fine-tuning against aliasing makes no sense, with the reason."""
    for network in source.networks:
        if isinstance(network.config, LinearConfig):
            raise ModelFileError(f"{source.path}: architecture: a Linear model does not alias: nothing to tune")
        arrays = network.config.layer_arrays if isinstance(network.config, WaveNetConfig) else ()
        if any(array.slimmable for array in arrays):
            reason = "players may cut it to fewer channels, which fine-tuning at its full width would spoil"
            raise ModelFileError(f"{source.path}: layers.slimmable: must be null for fine-tuning: {reason}")


@contextmanager
def _errors_about(path: str | os.PathLike[str], action: str, remedy: str = "") -> Iterator[None]:
    """Errors get the path in front, and behind them what to do: their own remedy, or else this one."""
    try:
        yield
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be {action}: {error.strerror or error}") from error
    except ModelFileError as error:
        advice = remedy if error.remedy is None else error.remedy
        raise ModelFileError(f"{path}: {error}; {advice}" if advice else f"{path}: {error}", advice) from None


def _parse(data: bytes) -> tuple[Format, Any, Callable[[Any], bytes]]:
    """The format of a file, its document, and the way back from a document to bytes."""
    if torch_checkpoint.holds_checkpoint(data):
        encode = functools.partial(torch_checkpoint.render, zipped=pickled.is_zip(data))
        return torch_checkpoint.FORMAT, torch_checkpoint.parse(data), encode
    document, layout = json_text.parse(data)
    for known in _JSON_FORMATS:
        if known.recognises(document):
            return known, document, functools.partial(json_text.render, layout=layout)
    keys = ", ".join(f"{key:.40}" for key in list(document)[:5]) or "none"
    what = "must be a NAM, GuitarML, RTNeural or PyTorch model (others are not supported)"
    raise ModelFileError(f"{what}, has the keys: {keys}", "")


def _networks(form: Format, document: Any) -> tuple[Network, ...]:
    networks = []
    for part in form.split(document):
        with inside(part.key):
            networks.append(form.read(part.document)._replace(name=part.name))
    return tuple(networks)


def _verify(data: bytes, wanted: Sequence[Network], changed: bool) -> None:
    """What stands on the disk are the models that were to be written, bit for bit; new numbers also have to play."""
    form, document, _ = _parse(data)
    found = _networks(form, document)
    if len(found) != len(wanted):
        raise ModelFileError(f"networks: must be {len(wanted)}, but read back as {len(found)}")
    for network, meant in zip(found, wanted, strict=True):
        if not _same(network, meant):
            raise ModelFileError("params: must be held exactly by the format, but read back as other numbers")
        if changed:
            rehearsal.compare(network, meant)


def _holds(form: Format, document: Any, networks: Sequence[Network]) -> bool:
    """Whether a document is of these networks as it stands."""
    try:
        return all(map(_same, _networks(form, document), networks))
    except ModelFileError:  # a student's document: the answer that its own test asks for is not that of its old weights
        return False


def _same(found: Network, meant: Network) -> bool:
    """The same config and, bit for bit, the same numbers."""
    here, there = flatten_dict(found.params), flatten_dict(meant.params)
    return (
        found.config == meant.config
        and here.keys() == there.keys()
        and all(here[path].tobytes() == np.asarray(there[path], np.float64).tobytes() for path in here)
    )


def _rounded(params: Params, like: Params) -> Params:
    """Parameters as float32 numbers in float64 arrays, in the tree and shapes of others."""
    found, expected = flatten_dict(params), flatten_dict(like)
    checks.exactly(map(".".join, found), map(".".join, expected), "params")
    single = {path: checks.weights_of(found, path, array.shape).astype(np.float32) for path, array in expected.items()}
    return unflatten_dict({path: array.astype(np.float64) for path, array in single.items()})
