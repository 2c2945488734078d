"""Model files in and out: `load(path)`, `save(path, model_file)`, and `fine_tuned` or `converted` between them.

The format is recognised by content, never by name. What comes back from a file is a `jaxalias` config and a tree
of parameters; what goes out is the same file with other numbers.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxalias.models import Params
from weights_import import checks, conversion, disk, guitarml, json_text, nam, rtneural, torch_checkpoint
from weights_import.model_file import Format, ModelFile, ModelFileError, Network

__all__ = ["ModelFile", "ModelFileError", "converted", "fine_tuned", "load", "save"]

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
            key, the rule and the value.
    """
    with _errors_about(path, "read"):
        form, document, encode = _parse(disk.read(Path(path)))
        return ModelFile(Path(path), form.name, *form.read(document), document, encode)


def save(path: str | os.PathLike[str], model_file: ModelFile) -> None:
    """Write a model in the format and layout that it came in, all or nothing.

    Args:
        path: where to; an existing file is replaced once the new one is on the disk, read back and compared.
        model_file: from `load` or `fine_tuned`, or a copy of one with other `params`.

    Raises:
        ModelFileError: parameters that do not fit the format, or a disk that does not take the file. A file that
            was there is as it was.
    """
    config, params = model_file.config, model_file.params
    with _errors_about(path, "written"):
        document = _FORMATS[model_file.format].write(model_file.document, config, params)
        disk.replace(Path(path), model_file.encode(document), lambda data: _verify(data, model_file))


def converted(source: ModelFile) -> ModelFile:
    """The same network in the other format, SimpleRNN or RTNeural JSON, ready to save (see `conversion`).

    Raises:
        ModelFileError: something would be lost, or the players of the other format would refuse it.
    """
    with _errors_about(source.path, "converted"):
        return conversion.converted(source)


def fine_tuned(source: ModelFile, params: Params, training: dict[str, Any]) -> ModelFile:
    """The file of a student, ready to save: the teacher's with other parameters and a note of what was done.

    In JSON the note is `metadata.training.jaxalias`, in a PyTorch checkpoint `jaxalias` (a bare state_dict has no
    room for it). A NAM file gets its `loudness` and `gain`, if it has them, and an LSTM its initial state, for the
    new parameters; these take some seconds.

    Args:
        source: the teacher's file.
        params: the student's parameters, any precision; rounded to float32, which is what players read.
        training: what to note, as JSON can hold it.

    Raises:
        ModelFileError: parameters of another tree or shape than the teacher's or not finite, or a note that JSON
            cannot hold.
    """
    teacher = Network(source.config, source.params, source.sample_rate)
    with _errors_about(source.path, "read"):
        student = _rounded(params, like=source.params)
        params, document = _FORMATS[source.format].finish(source.document, teacher, student, training)
    return dataclasses.replace(source, params=params, document=document)


@contextmanager
def _errors_about(path: str | os.PathLike[str], action: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be {action}: {error.strerror or error}") from error
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from None


def _parse(data: bytes) -> tuple[Format, Any, Callable[[Any], bytes]]:
    """The format of a file, its document, and the way back from a document to bytes."""
    if torch_checkpoint.holds_checkpoint(data):
        encode = functools.partial(torch_checkpoint.render, zipped=torch_checkpoint.is_zip(data))
        return torch_checkpoint.FORMAT, torch_checkpoint.parse(data), encode
    document, layout = json_text.parse(data)
    for known in _JSON_FORMATS:
        if known.recognises(document):
            return known, document, functools.partial(json_text.render, layout=layout)
    keys = ", ".join(list(document)[:5]) or "none"
    raise ModelFileError(
        f"must be a NAM, GuitarML, RTNeural or PyTorch model (others are not supported), has the keys: {keys}"
    )


def _verify(data: bytes, wanted: ModelFile) -> None:
    """What stands on the disk is the model that was to be written, bit for bit."""
    form, document, _ = _parse(data)
    found = form.read(document)
    here, there = flatten_dict(found.params), flatten_dict(wanted.params)
    same = here.keys() == there.keys() and all(
        here[path].tobytes() == np.asarray(there[path], np.float64).tobytes() for path in here
    )
    if found.config != wanted.config or not same:
        raise ModelFileError("params: must be held exactly by the format, but read back as other numbers")


def _rounded(params: Params, like: Params) -> Params:
    """Parameters as float32 numbers in float64 arrays, in the tree and shapes of others."""
    found, expected = flatten_dict(params), flatten_dict(like)
    checks.exactly(map(".".join, found), map(".".join, expected), "params")
    single = {path: checks.weights_of(found, path, array.shape).astype(np.float32) for path, array in expected.items()}
    return unflatten_dict({path: array.astype(np.float64) for path, array in single.items()})
