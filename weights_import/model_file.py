"""What a model file is once it is read, what a format has to offer, and the error of a refused file."""

import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxalias.config import GRUConfig, LSTMConfig, WaveNetConfig
from jaxalias.models import Params

MAX_BYTES = 64 * 2**20  # of a file; the largest real one has 0.7 MB, and Python takes ten times the size to hold it
Config = LSTMConfig | GRUConfig | WaveNetConfig
Arrays = dict[tuple[str, ...], np.ndarray]
"""Parameters by their path in the tree, as `flax.traverse_util.flatten_dict` names them."""


class ModelFileError(ValueError):
    """A model file that cannot be read or written. The message is one line whatever stands in the file."""

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))


def fault(key: str, rule: str, value: Any) -> ModelFileError:
    """The error for one value of a file: key, rule, and what stands there, cut to a readable length."""
    return ModelFileError(f"{key}: {rule}, got {_REPR.repr(value)}")


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60


class Network(NamedTuple):
    """The model in a file: what it is, its numbers (float64, in the tree that `init` makes), its rate in Hz."""

    config: Config
    params: Params
    sample_rate: int


class Format(NamedTuple):
    """One file format as pure functions over its document (the parsed JSON, or the unpickled checkpoint).

    recognises(document): whether this format should read it, and explain what is wrong with it.
    read(document): the network; `ModelFileError` names key, rule and value of what the models cannot do.
    write(document, config, params): a copy with the parameters put in place, all else untouched.
    finish(document, teacher, params, note): what a fine-tuned file has to say: the parameters with what
        follows from them, and a copy of the document with the note. The weights are left to `write`.
    """

    name: str
    recognises: Callable[[Any], bool]
    read: Callable[[Any], Network]
    write: Callable[[Any, Config, Params], Any]
    finish: Callable[[Any, Network, Params, dict], tuple[Params, Any]]


@dataclass(frozen=True, eq=False)
class ModelFile:
    """A model together with everything else that its file holds.

    Attributes:
        path: where it was read.
        format: "nam", "guitarml", "rtneural" or "torch".
        config, params: the model; params are float64 numpy arrays in the tree of `models.build(config).init`.
        sample_rate: in Hz; the format's usual rate where the file has none.
        document: the whole file as read; `save` puts `params` in the place of its weights and keeps the rest.
        encode: document to bytes, in the layout (indentation, line ends ...) that the file had.
    """

    path: Path
    format: str
    config: Config
    params: Params
    sample_rate: int
    document: Any
    encode: Callable[[Any], bytes]
