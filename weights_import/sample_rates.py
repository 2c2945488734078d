"""The sample rate of a model: the one in its file, under any of several names, or else the one that players assume.

NAM files have one place for it. SimpleRNN files have none, but trainers and people write one into the metadata.
RTNeural files have it there, some as text. A rate in the file always counts. An assumed rate comes with a note.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from weights_import.model_file import ModelFileError, Network, Rate, fault

RANGE_HZ = (8_000, 768_000)  # what audio interfaces and converters offer
_NAMES = ("samplerate", "samplingrate", "samplingfrequency", "fs")  # without case, spaces and signs between words
_IN_TEXT = r"\s*([0-9]{1,9}(?:\.[0-9]{0,6})?)\s*(k)?(?:hz)?\s*"  # "44100", "44100.0", "44100 Hz", "44.1 kHz", "48k"
_LONGEST = 300  # characters of a note that a file holds
ASSUMED = "samplerate_assumed"
"""The key in the metadata of a converted file with the reason why its samplerate is an assumption."""


def whole(value: Any, key: str = "sample_rate") -> int:
    """A rate in Hz as a whole number. Null is refused too: the players' JSON reader throws on it."""
    low, high = RANGE_HZ
    if type(value) not in (int, float) or not low <= value <= high or value != int(value):
        rule = f"must be a whole number of Hz from {low} to {high} (or leave the key out: players then take theirs)"
        raise fault(key, rule, value, "mend or remove it in a text editor")
    return int(value)


def assumed(hz: int, whose: str) -> Rate:
    """The rate for a file without one, and the players that assume it."""
    return Rate(hz, "assumed", f"not in the file; {hz} Hz is assumed, as {whose}; --sample-rate sets another")


def stated(parts: Mapping[str, Any], otherwise: Rate, numbers_only: str = "") -> Rate:
    """The rate in the first of several parts of a file that has one, or `otherwise`.

    Args:
        parts: the objects that may hold a rate, by the key where they stand ("" for the file itself), in the order in
            which they count. What is no object holds none.
        numbers_only: what a player makes of a rate that is text, where it takes numbers only.

    Raises:
        ModelFileError: a rate that is none.
    """
    found = [place for key, part in parts.items() for place in _places(part, key)]
    if not found:
        return otherwise
    (key, value), *others = found
    hz, notes = _number(value, key), []
    for part in parts.values():
        if isinstance(part, dict) and isinstance(part.get(ASSUMED), str):
            return Rate(hz, "assumed", " ".join(part[ASSUMED].split())[:_LONGEST])
    if isinstance(value, str):
        notes.append(f"{key} is text, read as {hz} Hz" + (f"; {numbers_only}" if numbers_only else ""))
    for other, another in others:
        if _number(another, other) != hz:
            notes.append(f"{key} says {hz} Hz and counts, {other} says {another}")
    return Rate(hz, "file", "; ".join(notes))


def without(members: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an object without its rates."""
    return {key: value for key, value in members.items() if key != ASSUMED and not _names_a_rate(key)}


def written(rate: Rate) -> dict[str, Any]:
    """Metadata for a new file: the rate, and the note if it is an assumption."""
    return {"samplerate": rate.hz} | ({ASSUMED: rate.note} if rate.source == "assumed" else {})


def given(network: Network, hz: int) -> Network:
    """The network at a rate from the user, for a file without one.

    Raises:
        ModelFileError: the file has another one.
    """
    rate = network.rate
    if rate.source == "file":
        if rate.hz != hz:
            rule = f"the file says {rate.hz} Hz, and --sample-rate {hz} is for files that do not say theirs"
            raise ModelFileError(f"sample_rate: {rule}", "leave the option out, or mend the file if it is wrong")
        return network
    return network._replace(rate=Rate(hz, "user", f"not in the file; {hz} Hz as given by --sample-rate"))


def _places(part: Any, parent: str) -> Iterator[tuple[str, Any]]:
    for key, value in part.items() if isinstance(part, dict) else ():
        if value is not None and _names_a_rate(key):
            yield (f"{parent}.{key}" if parent else key), value


def _names_a_rate(key: Any) -> bool:
    return isinstance(key, str) and re.sub(r"[\s_-]", "", key.lower().removesuffix("_hz")) in _NAMES


def _number(value: Any, key: str) -> int:
    found = re.fullmatch(_IN_TEXT, value, re.IGNORECASE) if isinstance(value, str) else None
    if found:
        value = round(float(found[1]) * (1000 if found[2] else 1), 6)
    return whole(value, key)
