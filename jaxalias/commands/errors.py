"""The error that every command ends with one line for, and what becomes it."""

from collections.abc import Iterator
from contextlib import contextmanager


class BadInputError(Exception):
    """What the user gave cannot be used: one line, exit code 2."""


@contextmanager
def input_errors(prefix: str = "") -> Iterator[None]:
    """ValueError and OSError from reading the user's input become `BadInputError`."""
    try:
        yield
    except (ValueError, OSError) as error:
        line = " ".join(str(error).split())
        raise BadInputError(f"{prefix}: {line}" if prefix else line) from error
