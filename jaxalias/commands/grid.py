"""Points of a grid over options of the fine-tuning config, all of them or some at random."""

import hashlib
import json
import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError

from jaxalias.commands.errors import BadInputError
from jaxalias.config import FineTuneConfig, explain

_LONGEST_NAME = 150  # a file system takes 255 bytes


class Axis(NamedTuple):
    """One option and the values that it takes."""

    key: str  # dotted path into the config: "loss.nmr.weight"
    values: tuple[Any, ...]  # as JSON has them, or text


class Point(NamedTuple):
    """One config of the grid."""

    changes: dict[str, Any]  # of the preset, as the config holds them
    config: FineTuneConfig

    @property
    def name(self) -> str:
        """Readable, and fit for a folder: "loss.nmr.weight=0.1,seed=0"."""
        name = re.sub(r"[^\w.,=+-]+", "_", describe(self.changes))
        if len(name) <= _LONGEST_NAME:
            return name
        return f"{name[:_LONGEST_NAME]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def describe(changes: Mapping[str, Any]) -> str:
    """As "KEY=VALUE,KEY=VALUE"."""
    return ",".join(f"{key}={value_text(value)}" for key, value in changes.items())


def value_text(value: Any) -> str:
    """As it is typed after `--set KEY=`."""
    return value if isinstance(value, str) else json.dumps(value)


def parse(texts: Iterable[str]) -> list[Axis]:
    """The axes of "KEY=V1,V2" each.

    Values are read as JSON (3e-4, null, [1, 2]) where they are that, else as text.

    Raises:
        BadInputError: no key, an empty value, a key given twice, or the preset, which has its own option.
    """
    axes: list[Axis] = []
    for text in texts:
        key, _, values = text.partition("=")
        try:
            parsed = json.loads(f"[{values}]")
        except ValueError:
            parsed = [_value(value) for value in values.split(",")]
        if not key or not parsed or "" in parsed:
            raise BadInputError(f"--set {text}: must be KEY=VALUE or KEY=VALUE,VALUE,... with no value empty")
        if key in [axis.key for axis in axes]:
            raise BadInputError(f"--set {text}: {key} is given twice; name all its values at once")
        if key == "preset":
            raise BadInputError(f"--set {text}: preset is what the changes are made to; give it as --preset")
        axes.append(Axis(key, tuple(parsed)))
    return axes


def choose(axes: Sequence[Axis], number: int | None = None, seed: int = 0) -> list[dict[str, Any]]:
    """The changes of every point, the last key changing fastest; or of `number` different ones drawn at random.

    With the same seed a larger number adds points to those of a smaller one.

    Raises:
        BadInputError: `number` is larger than the grid.
    """
    total = math.prod(len(axis.values) for axis in axes)
    if number is None:
        return [_at(axes, index) for index in range(total)]
    if number > total:
        raise BadInputError(f"--random must be at most {total}, the points of the grid, got {number}")
    draw, drawn = random.Random(seed), set[int]()
    while len(drawn) < number:
        drawn.add(draw.randrange(total))
    return [_at(axes, index) for index in sorted(drawn)]


def points(base: FineTuneConfig, changes: Iterable[Mapping[str, Any]]) -> list[Point]:
    """The configs that the changes make of a preset.

    Raises:
        BadInputError: an unknown key, a value that is not allowed, or two points of one config.
    """
    found: dict[FineTuneConfig, str] = {}
    made = []
    for wanted in changes:
        point = _resolve(base, wanted)
        if point.config in found:
            raise BadInputError(f"--set {describe(wanted)}: the same point as {found[point.config]}; name values once")
        found[point.config] = describe(wanted)
        made.append(point)
    return made


def _resolve(base: FineTuneConfig, changes: Mapping[str, Any]) -> Point:
    document = base.model_dump(mode="json")
    for path, value in changes.items():
        *groups, last = path.split(".")
        inside = document
        for name in groups:
            if inside.get(name) is None:  # not there, which validation will find, or left out by this preset
                inside[name] = {}
            inside = inside[name]
            if not isinstance(inside, dict):
                raise BadInputError(f"--set {path}={value_text(value)}: {name} is one value, nothing is under it")
        inside[last] = value
    try:
        config = FineTuneConfig.model_validate(document)
    except ValidationError as error:
        raise BadInputError(f"--set {describe(changes)}: {explain(error)}") from None
    return Point({path: _look_up(config, path) for path in changes}, config)


def _look_up(config: FineTuneConfig, path: str) -> Any:
    value: Any = config.model_dump(mode="json")
    for name in path.split("."):
        value = value[name]
    return value


def _at(axes: Sequence[Axis], index: int) -> dict[str, Any]:
    changes = {}
    for axis in reversed(axes):
        index, nth = divmod(index, len(axis.values))
        changes[axis.key] = axis.values[nth]
    return {axis.key: changes[axis.key] for axis in axes}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
