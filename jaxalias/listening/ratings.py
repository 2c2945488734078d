"""Read the ratings of listeners, screen the listeners, and group the clips (section 5) [disk].

A row is one score of one stimulus by one listener, in a CSV file with webMUSHRA's columns. The name of a trial is
"group/clip"; a name without a group belongs to the group "clips".
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxalias.listening.stimuli import ANCHOR, REFERENCE
from jaxalias.listening.webmushra import TRAINING

COLUMNS = ("session_test_id", "session_uuid", "trial_id", "rating_stimulus", "rating_score")
ALL = "all"
TEACHER, STUDENT = "teacher", "student"  # prefixes of their stimuli's names
FAILED_SHARE = 0.15  # largest share of trials with an unrecognised hidden reference


class Rating(NamedTuple):
    """One score, from 0 to 100."""

    test: str
    listener: str  # the session's id
    trial: str
    stimulus: str
    score: float

    @property
    def group(self) -> str:
        """The group of its clip."""
        return self.trial.partition("/")[0] if "/" in self.trial else "clips"


def read(paths: Sequence[Path]) -> list[Rating]:
    """The ratings of all files, without those of training pages.

    Raises:
        ValueError: a file is not CSV in UTF-8, a column is missing, a score is no number from 0 to 100, a listener
            rated a stimulus of a trial twice or left out a hidden reference, or there is no rating at all. The message
            names file, row (the header is row 1) and rule.
        OSError: a file cannot be opened.
    """
    found: dict[tuple[str, ...], Rating] = {}
    for path in paths:
        for row, rating in _rows(path):
            key = rating[:-1]
            if key in found:
                raise ValueError(
                    f"{path}, row {row}: listener {rating.listener!r} rated {rating.stimulus!r} of trial "
                    f"{rating.trial!r} before"
                )
            if rating.trial != TRAINING:
                found[key] = rating
    if not found:
        raise ValueError(f"{', '.join(map(str, paths))}: must hold at least 1 rating, got 0")
    for rating in found.values():
        if (*rating[:3], REFERENCE) not in found:
            raise ValueError(
                f"listener {rating.listener!r} has no rating of the hidden reference ({REFERENCE!r}) in trial "
                f"{rating.trial!r} of test {rating.test!r}"
            )
    return list(found.values())


def _rows(path: Path) -> Iterator[tuple[int, Rating]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        try:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"{path}: must have the columns {', '.join(COLUMNS)}; lacks {', '.join(missing)}")
            for cells in reader:
                yield reader.line_num, _rating(f"{path}, row {reader.line_num}", cells)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: must be CSV in UTF-8: {error}") from None


def _rating(where: str, cells: dict[str, str]) -> Rating:
    for name in COLUMNS:
        if not cells[name]:
            raise ValueError(f"{where}: {name} is empty")
    text = cells["rating_score"]
    try:
        score = float(text)
    except ValueError:
        score = np.nan
    if not 0 <= score <= 100:
        raise ValueError(f"{where}: rating_score must be a number from 0 to 100, got {text!r}")
    test, listener, trial, stimulus = (cells[name] for name in COLUMNS[:-1])
    return Rating(test, listener, trial, stimulus, score)


def failed_shares(ratings: Sequence[Rating], lowest: float) -> dict[str, float]:
    """For each listener, the share of trials with a rating of the hidden reference below `lowest`."""
    scores: dict[str, list[float]] = {}
    for rating in ratings:
        if rating.stimulus == REFERENCE:
            scores.setdefault(rating.listener, []).append(rating.score)
    return {listener: float(np.mean(np.array(given) < lowest)) for listener, given in scores.items()}


def screen(ratings: Sequence[Rating], lowest: float) -> tuple[list[Rating], dict[str, float]]:
    """Leave out listeners who rated the hidden reference below `lowest` in more than 15 % of their trials.

    The paper uses 80, BS.1534-3 uses 90. (The recommendation's other criterion needs a mid-range anchor, a low-passed
    reference, which this test does not have.)

    Returns:
        The ratings of the other listeners, and the excluded ones with their share of such trials.

    Raises:
        ValueError: every listener is excluded.
    """
    shares = failed_shares(ratings, lowest)
    excluded = {listener: share for listener, share in shares.items() if share > FAILED_SHARE}
    if len(excluded) == len(shares):
        raise ValueError(
            f"post-screening leaves no listener: all {len(shares)} rated the hidden reference below {lowest:g} in more "
            f"than {FAILED_SHARE:.0%} of their trials"
        )
    return [rating for rating in ratings if rating.listener not in excluded], excluded


def groups(ratings: Sequence[Rating]) -> dict[str, list[Rating]]:
    """The ratings of each group of clips, and of all clips if there are several groups."""
    found: dict[str, list[Rating]] = {}
    for rating in ratings:
        found.setdefault(rating.group, []).append(rating)
    return dict(sorted(found.items())) | ({ALL: list(ratings)} if len(found) > 1 else {})


def stimuli(ratings: Sequence[Rating]) -> list[str]:
    """The names of all stimuli, in order: the reference, the teacher, students, others, the anchor."""
    starts = (REFERENCE, TEACHER, STUDENT, "", ANCHOR)

    def place(name: str) -> tuple[int, str]:
        known = [start for start in starts if start and name.startswith(start)]
        return starts.index(known[0] if known else ""), name

    return sorted({rating.stimulus for rating in ratings}, key=place)


def scores_by_group(ratings: Sequence[Rating]) -> dict[str, dict[str, np.ndarray]]:
    """{group: {stimulus: scores}}, in the order of the tables."""
    return {
        group: {
            stimulus: np.array([rating.score for rating in members if rating.stimulus == stimulus])
            for stimulus in stimuli(members)
        }
        for group, members in groups(ratings).items()
    }
