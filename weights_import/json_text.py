"""Strict JSON in, the same layout out.

Python's parser takes what players do not (NaN, repeated keys, any depth); a model file with these is refused.
"""

import json
import re
from typing import Any, NamedTuple

from weights_import.model_file import ModelFileError, fault

_MAX_DEPTH = 64  # the deepest real file (a container of WaveNets) has 9; copies and comparisons recurse


_NO_MODEL = {
    b"<": ("a web page", "download the file itself, on GitHub by the button Raw"),
    b"version https://git-lfs": ("a pointer to a file in Git LFS", "fetch the file itself: git lfs pull"),
    b"\x1f\x8b": ("a compressed file", "unpack it, and give the model in it"),
    b"RIFF": ("a WAV file", "give the audio by another option"),
    b"fLaC": ("a FLAC file", "give the audio by another option"),
}
"""What people take for a model file, by how it begins."""


class Layout(NamedTuple):
    """How a file is written: enough to give every real file back byte for byte."""

    indent: str | None
    separators: tuple[str, str]
    newline: str
    ascii_only: bool
    end: str


PLAIN = Layout(indent=None, separators=(", ", ": "), newline="\n", ascii_only=True, end="")
"""A new file: one line, as Python and the trainers write it."""


def parse(data: bytes) -> tuple[dict, Layout]:
    """Read a JSON object and how it is laid out.

    Raises:
        ModelFileError: not UTF-8, not JSON, not an object, a repeated key, a number that is not finite, or
            nesting deeper than 64.
    """
    for start, (what, remedy) in _NO_MODEL.items():
        if data[:256].lstrip().startswith(start):
            raise ModelFileError(f"must be a model, is {what}", remedy)
    try:
        text = data.decode("utf-8-sig")  # as the players' parser, past a byte order mark
        document = json.loads(text, object_pairs_hook=_object, parse_float=_number, parse_constant=_number)
    except ModelFileError:
        raise
    except UnicodeDecodeError as error:
        raise ModelFileError(f"must be UTF-8 text, got byte {data[error.start]:#04x} at {error.start}") from None
    except RecursionError:
        raise ModelFileError(f"must not be nested deeper than {_MAX_DEPTH}, got more") from None
    except ValueError as error:
        raise ModelFileError(f"must be valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise ModelFileError(f"must hold a JSON object, got {type(document).__name__}")
    _limit_depth(document)
    return document, _layout(text)


def render(document: dict, layout: Layout) -> bytes:
    """Write a document in a layout; floats as the shortest text that reads back to the same double."""
    text = json.dumps(
        document,
        indent=layout.indent,
        separators=layout.separators,
        ensure_ascii=layout.ascii_only,
        allow_nan=False,
    )
    return (text.replace("\n", layout.newline) + layout.end).encode()


def plain(value: Any, key: str) -> Any:
    """A copy of a value as JSON would give it back; refused where JSON cannot hold it."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{key}: must hold only what JSON can: {error}") from None


def _layout(text: str) -> Layout:
    start = re.match(r'\s*\{(?:(\r?\n)([ \t]*))?\s*(?:"(?:[^"\\]|\\.)*"\s*:( ?))?', text)
    newline, indent, space = start.groups() if start else (None, None, None)
    return Layout(
        indent=indent,
        separators=(", " if indent is None and space else ",", f":{space or ''}"),
        newline=newline or "\n",
        # A file that escapes anything gets escapes: half a surrogate pair has no other way to be written.
        ascii_only=text.isascii() or "\\u" in text,
        end=text[len(text.rstrip()) :],
    )


def _object(pairs: list[tuple[str, Any]]) -> dict:
    members: dict = {}
    for key, value in pairs:
        if key in members:
            raise fault("JSON", "a key must stand once in an object", key)
        members[key] = value
    return members


def _number(text: str) -> float:
    number = float(text)
    if not abs(number) < float("inf"):  # false for NaN too
        raise fault("JSON", "numbers must be finite", text)
    return number


def _limit_depth(document: dict) -> None:
    """Breadth first, so that depth costs no stack."""
    level: list = [document]
    for _ in range(_MAX_DEPTH):
        members = (member for node in level for member in (node.values() if isinstance(node, dict) else node))
        level = [member for member in members if isinstance(member, (dict, list))]
        if not level:
            return
    raise ModelFileError(f"must not be nested deeper than {_MAX_DEPTH}, got more")
