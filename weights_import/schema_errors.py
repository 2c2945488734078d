"""What is wrong with a part of a model file, in words for somebody who plays guitar: key, rule, what stands there.

pydantic finds the fault and names it for programmers: "in_shape.2: Field required" is a list that is too short.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError

from weights_import.model_file import NEWER, OTHER_KIND, ModelFileError, shown

_RULES: dict[str, Callable[[dict[str, Any]], str]] = {
    "int_type": lambda _: "must be a whole number",
    "int_from_float": lambda _: "must be a whole number",
    "int_parsing": lambda _: "must be a whole number",
    "int_parsing_size": lambda _: "must be a whole number that is not so large",
    "float_type": lambda _: "must be a number",
    "float_parsing": lambda _: "must be a number",
    "finite_number": lambda _: "must be a number, neither infinite nor NaN",
    "bool_type": lambda _: "must be true or false",
    "bool_parsing": lambda _: "must be true or false",
    "string_type": lambda _: "must be text",
    "tuple_type": lambda _: "must be a list",
    "list_type": lambda _: "must be a list",
    "dict_type": lambda _: "must be an object {...}",
    "model_type": lambda _: "must be an object {...}",
    "literal_error": lambda about: f"must be {about['expected']}",
    "greater_than": lambda about: f"must be above {about['gt']:,.10g}",
    "greater_than_equal": lambda about: f"must be at least {about['ge']:,.10g}",
    "less_than": lambda about: f"must be below {about['lt']:,.10g}",
    "less_than_equal": lambda about: f"must be at most {about['le']:,.10g}",
    "too_short": lambda about: f"must hold at least {about['min_length']} {_values(about['min_length'])}",
    "too_long": lambda about: f"must hold at most {about['max_length']} {_values(about['max_length'])}",
    "extra_forbidden": lambda _: "must not be there: the key is unknown, and what it asks for would be lost",
}
"""By pydantic's name of a fault, from what pydantic says about it."""
_REMEDIES = {"literal_error": OTHER_KIND, "extra_forbidden": NEWER}
_MEANINGS = {
    "in_shape": "batch, time, inputs",
    "shape": "batch, time, channels",
    "input_size": "inputs: the signal, and after it the knobs",
    "output_size": "outputs",
    "in_channels": "inputs",
    "out_channels": "outputs",
    "hidden_size": "size of the recurrent layer",
    "unit_type": "kind of the recurrent layer",
    "num_layers": "recurrent layers",
    "bias_fl": "whether there are biases",
    "skip": "whether the input is added to the output",
    "in_skip": "whether the input is added to the output",
    "in_gain": "gain before the network, in dB",
    "out_gain": "gain after the network, in dB",
    "head_scale": "gain of the output",
    "receptive_field": "length of the impulse response",
    "dilations": "spacing of the taps of each layer",
    "kernel_size": "taps of a layer",
    "kernel_sizes": "taps of each layer",
    "gated": "whether layers have gates",
    "head_size": "outputs of the layer array",
    "submodels": "the models of the container",
    "max_value": "up to which size a model is played",
}
"""Of a key, for somebody who does not know the formats."""


def in_words(error: ValidationError, document: Any, parent: str = "") -> ModelFileError:
    """The first fault of a refused part of a file.

    Args:
        document: the part.
        parent: the key under which it stands.
    """
    faults = error.errors(include_url=False)
    first = faults[0]
    path = _keys(first["loc"], document)
    kind, found = first["type"], first["input"]
    if kind == "missing" and path and isinstance(path[-1], int):  # a list, by the place that it should have
        length = 1 + max(int(other["loc"][-1]) for other in faults if other["loc"][:-1] == first["loc"][:-1])
        return _error(parent, path[:-1], f"must be a list of {length} {_values(length)}, got {shown(found)}")
    if kind == "missing":
        return _error(parent, path, "missing; the format requires it")
    if kind == "value_error":
        return _error(parent, path, first["msg"].removeprefix("Value error, "))
    rule = _RULES[kind](first.get("ctx", {})) if kind in _RULES else first["msg"]
    return _error(parent, path, f"{rule}, got {shown(found)}", _REMEDIES.get(kind))


def _error(parent: str, path: Sequence[str | int], text: str, remedy: str | None = None) -> ModelFileError:
    key = ".".join([*filter(None, [parent]), *map(str, path)])
    names = [part for part in path if isinstance(part, str)]
    meaning = _MEANINGS.get(names[-1]) if names else None
    key += f" ({meaning})" if meaning else ""
    return ModelFileError(f"{key}: {text}" if key else text, remedy)


def _keys(location: Sequence[str | int], document: Any) -> list[str | int]:
    """The keys among the parts of pydantic's location, which also holds names of the types that it tried."""
    keys: list[str | int] = []
    for index, part in enumerate(location):
        members = document if isinstance(document, dict) else dict(enumerate(_list(document)))
        if part in members:
            document = members[part]
        elif index + 1 < len(location) or not isinstance(document, dict | list | tuple):
            continue
        keys.append(part)
    return keys


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _values(count: int) -> str:
    return "value" if count == 1 else "values"
