"""Checks of single values that several formats share. Nothing is allocated before its size is known to fit."""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BeforeValidator, ValidationError

from jaxalias.config import Record
from weights_import import schema_errors
from weights_import.model_file import Arrays, ModelFileError, fault, shown

FLOAT32_MAX = float(np.finfo(np.float32).max)  # every player reads weights as float32


def _whole(value: Any) -> Any:
    if type(value) is not int:
        raise ValueError(f"must be a whole number, got {shown(value)}")
    return value


One = Annotated[Literal[1], BeforeValidator(_whole)]
"""1, and neither true nor 1.0, which a Literal takes for it."""
ZeroOrOne = Annotated[Literal[0, 1], BeforeValidator(_whole)]
Inputs = Annotated[Literal[1, 2, 3], BeforeValidator(_whole)]
"""The signal and up to two knobs: all that the players of recurrent models are built for."""

_R = TypeVar("_R", bound=Record)


def require(members: dict, key: str, parent: str = "") -> Any:
    """The value of a key that must be there."""
    if key not in members:
        raise ModelFileError(f"{parent}{key}: missing; the format requires it")
    return members[key]


def record(kind: type[_R], value: Any, key: str) -> _R:
    """Validate a part of a file (the file itself: key "") as a record, strictly: no bool as int, no unknown keys."""
    if not isinstance(value, dict):
        raise fault(key, "must be an object", value)
    try:  # as JSON, where strict still takes a list for a tuple
        return kind.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise schema_errors.in_words(error, value, key) from None


def numbers(values: Any, key: str) -> np.ndarray:
    """A flat list of numbers, each finite as float32, as float64."""
    if not isinstance(values, list):
        raise fault(key, "must be a list of numbers", values)
    for index, value in enumerate(values):
        if type(value) not in (int, float) or not abs(value) <= FLOAT32_MAX:
            raise fault(f"{key}[{index}]", "must be a number that is finite as float32", value)
    return np.array(values, np.float64)


def nested(values: Any, shape: tuple[int, ...], key: str) -> np.ndarray:
    """Nested lists of numbers that must have a shape, as a float64 array."""
    if not isinstance(values, list) or len(values) != shape[0]:
        raise ModelFileError(f"{key}: must be of shape {shape}, got {_shape(values)}")
    if len(shape) == 1:
        return numbers(values, key)
    return np.stack([nested(row, shape[1:], f"{key}[{index}]") for index, row in enumerate(values)])


def exactly(found: Iterable[str], expected: Iterable[str], parent: str) -> None:
    """Every expected key is there, and no other. `expected` may be endless: the first that is missing ends it."""
    left = dict.fromkeys(found)
    for key in expected:
        if key not in left:
            raise ModelFileError(f"{parent}.{key}: missing; the configuration requires it")
        del left[key]
    for key in left:
        raise ModelFileError(f"{parent}.{key}: must not be there, the configuration has no such weights")


def weights_of(arrays: Arrays, path: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
    """One array that is about to be written: there, of the right shape, finite."""
    key = f"params.{'.'.join(path)}"
    if path not in arrays:
        raise ModelFileError(f"{key}: missing; the configuration requires it")
    array = np.asarray(arrays[path], np.float64)
    if array.shape != shape:
        raise ModelFileError(f"{key}: must be of shape {shape}, got {array.shape}")
    return finite(array, key)


def finite(array: np.ndarray, key: str) -> np.ndarray:
    """The same array, refused where a number is not finite as float32."""
    bad = ~(np.abs(array) <= FLOAT32_MAX)  # NaN too
    if bad.any():
        raise fault(key, "must be finite as float32", float(array[bad][0]))
    return array


def _shape(values: Any) -> tuple[int, ...]:
    return (len(values), *(_shape(values[0]) if values else ())) if isinstance(values, list) else ()
