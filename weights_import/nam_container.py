"""NAM's SlimmableContainer: complete models of rising size in one file, and what all kinds of NAM file share.

A player asked for size v takes the first model with v < max_value, else the last; one that is not asked plays the last.
A2, which the trainer writes today, is a container of two WaveNets.
"""

import re
from collections.abc import Sequence
from typing import Any

from pydantic import Field, FiniteFloat

from jaxalias.config import Record
from weights_import import checks, metadata, nam_levels
from weights_import.model_file import Network, Part, fault

_ARCHITECTURE = "SlimmableContainer"
_OTHER_VERSION = "export it again with today's trainer, or look for a newer version of this program"


class _Submodel(Record):
    max_value: FiniteFloat
    model: dict[str, Any]


class _Container(Record):
    submodels: tuple[Any, ...] = Field(min_length=1, max_length=64)


def split(document: dict) -> tuple[Part, ...]:
    """The complete files in a container, in their order; a file that is no container is its only part."""
    if document.get("architecture") != _ARCHITECTURE:
        return (Part("", "", document),)
    check_version(checks.require(document, "version"))
    metadata.of(document)
    described = checks.record(_Container, checks.require(document, "config"), "config").submodels
    if checks.require(document, "weights") != []:
        raise fault("weights", "must be [] in a container, whose models have their own", document["weights"])
    rate = document.get("sample_rate")
    parts: list[Part] = []
    before = float("-inf")
    for index, value in enumerate(described):
        key = f"config.submodels.{index}"
        found = checks.record(_Submodel, value, key)
        if not found.max_value > before:
            raise fault(f"{key}.max_value", f"must be above {before}, that of the model before", found.max_value)
        before, model = found.max_value, document["config"]["submodels"][index]["model"]
        if model.get("architecture") == _ARCHITECTURE:
            raise fault(f"{key}.model.architecture", "must be a model, not a container", _ARCHITECTURE)
        rate = model.get("sample_rate") if index == 0 and "sample_rate" not in document else rate
        if model.get("sample_rate") != rate:
            raise fault(f"{key}.model.sample_rate", f"must be {rate}, that of the others", model.get("sample_rate"))
        parts.append(Part(f"max_value {found.max_value:g}", f"{key}.model", model))
    if before < 1:
        raise fault(f"config.submodels.{len(parts) - 1}.max_value", "must be at least 1, the largest size", before)
    return tuple(parts)


def join(document: dict, parts: Sequence[dict], note: dict | None, pair: tuple[Network, Network] | None = None) -> dict:
    """The file with other parts. With a note it goes to the container too, and levels are those of the largest part.

    Args:
        pair: the largest network as it was and as it is: levels that the container alone has are moved by these.
    """
    if document.get("architecture") != _ARCHITECTURE:
        return parts[0]
    submodels = [{**held, "model": part} for held, part in zip(document["config"]["submodels"], parts, strict=True)]
    joined = {**document, "config": {**document["config"], "submodels": submodels}}
    if note is None or pair is None:
        return joined
    own, largest = metadata.of(document), metadata.of(parts[-1])
    levels = {key: largest[key] for key in nam_levels.Levels._fields if key in own and key in largest}
    alone = {key: value for key, value in own.items() if key not in levels}
    moved, how = nam_levels.corrected(alone, *pair)
    how |= dict.fromkeys(levels, "that of the largest model, see there")
    return metadata.with_note(joined, metadata.about(note, how), **levels, **moved)


def check_version(version: Any) -> None:
    """The gate of NeuralAmpModelerCore 0.5.5."""
    numbers = re.fullmatch(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})", version) if isinstance(version, str) else None
    if numbers is None or not (0, 5) <= (int(numbers[1]), int(numbers[2])) <= (0, 7):
        raise fault("version", 'must be "0.5.0" to "0.7.x", as for the players', version, _OTHER_VERSION)
