"""What a model file is once it is read, what a format has to offer, and the error of a refused file."""

import reprlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxalias.config import ModelConfig
from jaxalias.models import Params

MAX_BYTES = 64 * 2**20  # of a file; the largest real one has 0.7 MB, and Python takes ten times the size to hold it
Config = ModelConfig
Arrays = dict[tuple[str, ...], np.ndarray]
"""Parameters by their path in the tree, as `flax.traverse_util.flatten_dict` names them."""


DAMAGED = "the file is damaged or incomplete: download or export it again"
"""What to do about a file that breaks the rules of its format."""
OTHER_KIND = "this program does not play this kind of model: export it as another kind"
"""What to do about a file that keeps the rules and holds what the models here cannot do."""
NEWER = "look for a newer version of this program, or export the model with another version of its trainer"
"""What to do about a file that has more in it than is known here."""


class ModelFileError(ValueError):
    """A model file that cannot be read or written. The message is one line whatever stands in the file.

    Attributes:
        remedy: what the user can do about it; None where nothing is said, "" where the message says it.
    """

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in message))
        self.remedy = remedy


def fault(key: str, rule: str, value: Any, remedy: str | None = None) -> ModelFileError:
    """The error for one value of a file: key, rule, and what stands there, cut to a readable length."""
    return ModelFileError(f"{key}: {rule}, got {shown(value)}", remedy)


def shown(value: Any) -> str:
    """A value as an error shows it: short, and with JSON's null, true and false."""
    text = " ".join(_REPR.repr(value).split())  # a tensor is shown over several lines
    return text if len(text) <= _LONGEST else text[:_LONGEST].rstrip() + " ..."


@contextmanager
def inside(key: str) -> Iterator[None]:
    """Errors about a part of a file get the key under which it stands."""
    try:
        yield
    except ModelFileError as error:
        raise ModelFileError(f"{key}.{error}" if key else str(error), error.remedy) from None


class _Repr(reprlib.Repr):
    def repr_NoneType(self, value: None, level: int) -> str:  # noqa: N802, as reprlib looks for it
        return "null"

    def repr_bool(self, value: bool, level: int) -> str:
        return str(value).lower()


_REPR = _Repr()
_REPR.maxstring = _REPR.maxother = _REPR.maxlong = 60
_LONGEST = 120  # characters, of all its parts together


class Rate(NamedTuple):
    """A sample rate in Hz, who says it, and what there is to say about it ("": nothing).

    It is what the file says, what the user says of a file that says none, or what is assumed of such a file because
    its players do.
    """

    hz: int
    source: Literal["file", "user", "assumed"] = "file"
    note: str = ""


class Network(NamedTuple):
    """A model in a file: what it is, its numbers (float64, in the tree that `init` makes), its sample rate.

    The name says which of several it is, and is empty where it is the only one.
    """

    config: Config
    params: Params
    rate: Rate
    name: str = ""

    @property
    def sample_rate(self) -> int:
        """In Hz."""
        return self.rate.hz


class Part(NamedTuple):
    """A document with one network, inside of another or all of it: its name, the key where it stands, itself."""

    name: str
    key: str
    document: Any


def _whole(document: Any) -> tuple[Part, ...]:
    return (Part("", "", document),)


def _only(document: Any, parts: Sequence[Any], note: dict | None, pair: Any = None) -> Any:
    return parts[0]


class Format(NamedTuple):
    """One file format as pure functions over its document (the parsed JSON, or the unpickled checkpoint).

    recognises(document): whether this format should read it, and explain what is wrong with it.
    read(document): the network; `ModelFileError` names key, rule and value of what the models cannot do.
    write(document, config, params): a copy with the parameters put in place, all else untouched.
    finish(document, teacher, params, note): what a fine-tuned file has to say: the parameters with what
        follows from them, and a copy of the document with the note. The weights are left to `write`.

    A format whose files may hold several networks also has

    split(document): the parts with one network each, in the file's order, for the three functions above.
    join(document, parts, note, pair): a copy with other parts, and what a note, if there is one, changes around them;
        the pair is then the largest network as it was and as it is.
    """

    name: str
    recognises: Callable[[Any], bool]
    read: Callable[[Any], Network]
    write: Callable[[Any, Config, Params], Any]
    finish: Callable[[Any, Network, Params, dict], tuple[Params, Any]]
    split: Callable[[Any], tuple[Part, ...]] = _whole
    join: Callable[..., Any] = _only


@dataclass(frozen=True, eq=False)
class ModelFile:
    """The models of a file together with everything else that it holds.

    Attributes:
        path: where it was read.
        format: "nam", "guitarml", "rtneural" or "torch".
        networks: the models in the file's order; all formats but NAM's container hold one. Their params are
            float64 numpy arrays in the tree of `models.build(config).init`; their rate says whether the file has it.
        document: the whole file as read; `save` puts the params in the place of its weights and keeps the rest.
        encode: document to bytes, in the layout (indentation, line ends ...) that the file had.
    """

    path: Path
    format: str
    networks: tuple[Network, ...]
    document: Any
    encode: Callable[[Any], bytes]

    @property
    def network(self) -> Network:
        """What a player plays that is not told a size: the last, which is the largest."""
        return self.networks[-1]

    @property
    def sample_rate(self) -> int:
        """In Hz, of all its networks."""
        return self.network.sample_rate

    @property
    def notes(self) -> dict[str, str]:
        """What was assumed on reading the file, by what it is about."""
        note = self.network.rate.note
        return {"sample_rate": note} if note else {}

    def label(self, network: Network) -> str:
        """How a network of this file is called in tables: the path, and which one it is where there are several."""
        return f"{self.path} [{network.name}]" if network.name else str(self.path)
