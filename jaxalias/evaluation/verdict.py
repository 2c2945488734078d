"""A measurement in plain words: is a student better than its teacher?

A student must be closer to the alias-free teacher than the teacher is, on sines and on music. Where the teacher's
aliases are inaudible, the student's error must be inaudible too, and no more is required. A student is worse if one of
these figures is worse: the NMR or the audible share of playing, of high playing or of one of the user's clips, relative
to the alias-free teacher (`played`), or the NMR-T of the sine set (the teacher's own NMR-T is its NMR-S). A student
that is no worse and gains nothing is not worth a changed tone: the teacher is kept then, too.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxalias.losses.nmr import AUDIBLE_DB

INAUDIBLE_SHARE = 0.02  # of frames; a set with fewer audible frames counts as inaudible
NAM_SCALE = (
    (0.01, "Great!"),
    (0.035, "Not bad!"),
    (0.1, "...This *might* sound ok!"),
    (0.3, "...This probably won't sound great :("),
    (float("inf"), "...Something seems to have gone wrong."),
)
"""(upper limit of the ESR, comment), from the trainer of neural-amp-modeler 0.13 (`nam.train.core._esr_comment`)."""
_ROUNDING_DB = 0.05  # smaller differences are rounding errors of float32
_GAIN_DB = 1.0  # an NMR that is lower by less is no reason to change a capture
_NO_GAIN = "does not alias audibly less: nothing is gained by it"
_RECORDINGS = "Recorded playing can be harder than these sets: measure yours with --audio"
_SETS = {"playing": "playing", "high_playing": "high playing"}


class Pair(NamedTuple):
    """Entries of a record: a student, its teacher, and the teacher at higher rates, by factor."""

    teacher: dict[str, Any]
    student: dict[str, Any]
    rivals: dict[int, dict[str, Any]]


def verdicts(record: dict[str, Any]) -> list[str]:
    """One string for each student, in the order of the record. Students that were measured on sines alone have none.

    A student measured at several knob positions has one string, for the first position. It also names the other
    positions at which the student is worse than its teacher.
    """
    positions: dict[tuple[str, str], list[Pair]] = {}
    for pair in _pairs(record["models"]):
        if pair.student.get("played") and pair.teacher.get("played"):
            positions.setdefault((pair.student["path"], pair.teacher["path"]), []).append(pair)
    return [_verdict(of_one) for of_one in positions.values()]


def worse(teacher: dict[str, Any], student: dict[str, Any]) -> list[str]:
    """The figures in which a student is worse than its teacher, each with both values. Empty if it is no worse.

    Args:
        teacher, student: entries of a record, both with "played".
    """
    found = []
    for words, before, after in _compared(teacher, student):
        found += _worse_nmr(f"NMR of {words}", after["NMR"], before["NMR"])
        if after["audible"] > max(before["audible"], INAUDIBLE_SHARE):
            shares = f"{_percent(after['audible'])} against {_percent(before['audible'])}"
            found.append(f"audible frames of {words} ({shares})")
    return found + _worse_nmr("NMR-T on sines", student["metrics"]["NMR-T"], teacher["metrics"]["NMR-T"])


def gains(teacher: dict[str, Any], student: dict[str, Any]) -> bool:
    """True if a student aliases audibly less than its teacher.

    The NMR of high playing or NMR-T, where audible, is lower by more than 1 dB, or the share of the audible frames of
    high playing is lower by more than `INAUDIBLE_SHARE`.
    """
    before, after = (model["played"]["high_playing"]["alias_free"] for model in (teacher, student))
    nmr = [(before["NMR"], after["NMR"]), (teacher["metrics"]["NMR-T"], student["metrics"]["NMR-T"])]
    lower = any(max(_nmr(less), AUDIBLE_DB) < _nmr(more) - _GAIN_DB for more, less in nmr)
    return lower or after["audible"] < before["audible"] - INAUDIBLE_SHARE


def objection(positions: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    """Why the teacher is kept instead of a student: what follows "the student". Empty if the student is to be used.

    Args:
        positions: teacher and student, entries of a record with "played", at each position of the knobs.
    """
    found = [figure for teacher, student in positions for figure in worse(teacher, student)]
    if found:
        return f"is worse than its teacher in {', '.join(found)}"
    return "" if any(gains(teacher, student) for teacher, student in positions) else _NO_GAIN


def _compared(teacher: dict[str, Any], student: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """What both models played, in words, with the figures of each. Clips shorter than one frame are left out."""
    for name, words in _SETS.items():
        yield words, teacher["played"][name]["alias_free"], student["played"][name]["alias_free"]
    for before, after in zip(_clips(teacher), _clips(student), strict=True):
        if after["alias_free"]["audible"] is not None:
            yield f"the clip {after['name']}", before["alias_free"], after["alias_free"]


def _clips(model: dict[str, Any]) -> Sequence[dict[str, Any]]:
    return (model.get("audio") or {}).get("clips", ())


def nam_comment(esr: float) -> str:
    """The comment of the NAM trainer on an ESR (a power ratio)."""
    return next(words for limit, words in NAM_SCALE if esr < limit)


def _pairs(entries: Sequence[dict[str, Any]]) -> Iterator[Pair]:
    """Students with the teacher before them. Students at higher rates are left out."""
    groups: list[list[dict[str, Any]]] = []
    for entry in entries:
        if entry["role"] == "teacher" and entry["oversample"] == 1:
            groups.append([])
        if groups:
            groups[-1].append(entry)
    for teacher, *others in groups:
        rivals = [*teacher.get("rivals", ()), *(entry for entry in others if entry["role"] == "teacher")]
        at_rates = {rival["oversample"]: rival for rival in sorted(rivals, key=lambda rival: rival["oversample"])}
        for entry in others:
            if entry["role"] == "student" and entry["oversample"] == 1:
                yield Pair(teacher, entry, at_rates)


def _verdict(positions: Sequence[Pair]) -> str:
    teacher, student, rivals = positions[0]
    before, after = (model["played"]["high_playing"]["alias_free"]["audible"] for model in (teacher, student))
    own = student["played"]["high_playing"]["self"]["audible"]
    left = _percent(after) + (f" are left ({_percent(own)} by aliases of its own)" if own < after else " are left")
    clauses = [
        f"aliases: {_percent(before)} of the frames of high playing were audible, {left}",
        f"tone: {_tone(student)}",
        f"louder than the teacher's own aliases on ordinary playing: {_louder(teacher, student)}",
    ]
    sentences = ["; ".join(clauses), _advice(positions)]
    if rivals:
        sentences.append(_rivals_in_words(rivals))
    return f"{_name(student)}: " + ". ".join(sentences) + "."


def _tone(student: dict[str, Any]) -> str:
    esr_db = student["played"]["playing"]["alias_free"]["ESR"]
    esr = 0.0 if esr_db is None else 10 ** (esr_db / 10)
    return f"ESR {esr:.2g} on playing, by the NAM trainer's scale '{nam_comment(esr)}'"


def _louder(teacher: dict[str, Any], student: dict[str, Any]) -> str:
    before, after = (_nmr(model["played"]["playing"]["alias_free"]["NMR"]) for model in (teacher, student))
    if after <= before + _ROUNDING_DB:
        return "no"
    audible = "and audible" if after > AUDIBLE_DB else "but inaudible"
    return f"yes, {audible} (NMR {after:.1f} dB against {before:.1f} dB, audible from {AUDIBLE_DB:g} dB)"


def _advice(positions: Sequence[Pair]) -> str:
    found = worse(positions[0].teacher, positions[0].student)
    elsewhere = [_at(pair.student) for pair in positions[1:] if worse(pair.teacher, pair.student)]
    if found:
        return f"It is worse than its teacher in {', '.join(found)}: keep the teacher"
    if elsewhere:
        return f"With the knobs at {', '.join(elsewhere)} it is worse than its teacher: keep the teacher there"
    if not any(gains(pair.teacher, pair.student) for pair in positions):
        return f"It is no worse than its teacher, but {_NO_GAIN}, keep the teacher"
    advice = "It is no worse than its teacher in any of this: use it"
    return advice if _clips(positions[0].student) else f"{advice}. {_RECORDINGS}"


def _rivals_in_words(rivals: dict[int, dict[str, Any]]) -> str:
    """The result and the cost of the alternative: the player oversamples the teacher."""
    parts = []
    for factor, rival in rivals.items():
        left = _percent(rival["played"]["high_playing"]["alias_free"]["audible"])
        parts.append(f"at {factor}x leaves {left}, for {'twice' if factor == 2 else f'{factor} times'} the CPU")
    return "The teacher oversampled by the player " + "; ".join(parts)


def _worse_nmr(name: str, after: float | None, before: float | None) -> list[str]:
    if _nmr(after) <= max(_nmr(before), AUDIBLE_DB) + _ROUNDING_DB:
        return []
    return [f"{name} ({_nmr(after):.1f} dB against {_nmr(before):.1f} dB)"]


def _nmr(value: float | None) -> float:
    """-inf for None, which is a perfect match."""
    return float("-inf") if value is None else value


def _percent(share: float) -> str:
    return "less than 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def _name(model: dict[str, Any]) -> str:
    return Path(model["path"]).name


def _at(model: dict[str, Any]) -> str:
    return " ".join(f"{knob:g}" for knob in model["knobs"])
