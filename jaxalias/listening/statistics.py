"""Statistics of a listening test: medians with their intervals, students compared with the teacher (section 5)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats

from jaxalias.listening.ratings import FAILED_SHARE, STUDENT, TEACHER, Rating, groups, screen, stimuli

RESAMPLES = 10_000
CONFIDENCE = 0.95
_FEWEST = 6  # listeners; with five the smallest possible p is 2 / 2^5 = 0.0625


def analyse(ratings: Sequence[Rating], lowest: float, seed: int) -> dict[str, Any]:
    """The whole analysis as a plain record: screening, medians, comparisons. Raises as `screen`."""
    kept, excluded = screen(ratings, lowest)
    return {
        "screening": {
            "reference_at_least": lowest,
            "in_share_of_trials": 1 - FAILED_SHARE,
            "listeners": len({rating.listener for rating in ratings}),
            "excluded": [{"session_uuid": who, "failed": share} for who, share in excluded.items()],
        },
        "interval": f"{CONFIDENCE:.0%}, percentiles of {RESAMPLES} bootstrap resamples of listeners, seed {seed}",
        "medians": summarise(kept, seed),
        "comparisons": compare(kept),
    }


def summarise(ratings: Sequence[Rating], seed: int) -> list[dict[str, Any]]:
    """Medians of each stimulus in each group of clips, with 95 % confidence intervals.

    The interval is a bootstrap (percentiles of 10 000 medians). It resamples listeners with all of their ratings,
    because the ratings of one listener are not independent. None with fewer than two listeners.

    Returns:
        [{"group", "stimulus", "median", "low", "high", "listeners", "ratings"}].
    """
    random, rows = np.random.default_rng(seed), []
    for group, members in groups(ratings).items():
        for stimulus in stimuli(members):
            by_listener: dict[str, list[float]] = {}
            for rating in members:
                if rating.stimulus == stimulus:
                    by_listener.setdefault(rating.listener, []).append(rating.score)
            given = list(by_listener.values())
            low, high = interval(given, random) if len(given) > 1 else (None, None)
            scores = np.concatenate(given)
            row = {"group": group, "stimulus": stimulus, "median": float(np.median(scores)), "low": low, "high": high}
            rows.append(row | {"listeners": len(given), "ratings": len(scores)})
    return rows


def interval(given: Sequence[Sequence[float]], random: np.random.Generator) -> tuple[float, float]:
    """Percentile bootstrap of the median over listeners, each with all of their scores."""
    longest = max(map(len, given))
    scores = np.array([[*mine, *[np.nan] * (longest - len(mine))] for mine in given])
    drawn = scores[random.integers(len(given), size=(RESAMPLES, len(given)))].reshape(RESAMPLES, -1)
    medians = np.nanmedian(drawn, axis=1) if np.isnan(scores).any() else np.median(drawn, axis=1)
    low, high = np.quantile(medians, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def compare(ratings: Sequence[Rating]) -> list[dict[str, Any]]:
    """Each student compared with the teacher in each group of clips: Wilcoxon's signed-rank test, two-sided.

    The pairs are listeners: the difference of a listener, student minus teacher, is the mean over the trials of the
    group. Differences of zero are left out (Wilcoxon's method). The effect is the rank-biserial correlation of matched
    pairs, from -1 to 1: the sum of ranks in favour of the student minus the sum of the others, divided by the sum of
    all. `p_holm` is corrected for the number of rows.

    Returns:
        [{"group", "student", "listeners", "median_difference", "statistic", "p", "p_holm", "effect"}]; empty
        if teacher and student were never rated in one trial. `statistic`, `p` and `effect` are None if all differences
        are zero.
    """
    rows = []
    for group, members in groups(ratings).items():
        for student in (name for name in stimuli(members) if name.startswith(STUDENT)):
            differences = _differences(members, student)
            if len(differences):
                rows.append({"group": group, "student": student, **signed_rank(differences)})
    tested = [row for row in rows if row["p"] is not None]
    for row, adjusted in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_holm"] = adjusted
    return rows


def signed_rank(differences: np.ndarray) -> dict[str, Any]:
    """Wilcoxon's test of paired differences (listener,), with its effect size."""
    row: dict[str, Any] = {"listeners": len(differences), "median_difference": float(np.median(differences))}
    unequal = differences[differences != 0]
    if not len(unequal):
        return row | {"statistic": None, "p": None, "p_holm": None, "effect": None}
    ranks = scipy.stats.rankdata(np.abs(unequal))
    effect = np.sum(np.sign(unequal) * ranks) / np.sum(ranks)
    test = scipy.stats.wilcoxon(unequal)
    return row | {"statistic": float(test.statistic), "p": float(test.pvalue), "p_holm": None, "effect": float(effect)}


def holm(p: Sequence[float]) -> list[float]:
    """p-values with Holm's correction, which keeps the error rate of the whole family."""
    adjusted, highest = [0.0] * len(p), 0.0
    for rank, index in enumerate(np.argsort(p)):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = highest
    return adjusted


def _differences(ratings: Sequence[Rating], student: str) -> np.ndarray:
    """Student minus teacher, one mean per listener, over the trials in which both were rated."""
    scores = {rating[:-1]: rating.score for rating in ratings}
    by_listener: dict[str, list[float]] = {}
    for (test, listener, trial, stimulus), score in scores.items():
        other = scores.get((test, listener, trial, TEACHER))
        if stimulus == student and other is not None:
            by_listener.setdefault(listener, []).append(score - other)
    return np.array([np.mean(mine) for mine in by_listener.values()])


def tables(record: dict[str, Any]) -> dict[str, list[list[str]]]:
    """Rows of text, header first, by caption; a table of comparisons only if there are any."""
    medians = [["group", "stimulus", "median", "low", "high", "ratings", "listeners"]]
    for row in record["medians"]:
        numbers = [_text(row[name], "g") for name in ("median", "low", "high")]
        medians.append([row["group"], row["stimulus"], *numbers, str(row["ratings"]), str(row["listeners"])])
    found = {"Medians of the scores with their 95 % confidence intervals": medians}
    comparisons = [["group", "student", "median difference", "p", "p (Holm)", "effect", "listeners"]]
    forms = {"median_difference": "+.3g", "p": ".2g", "p_holm": ".2g", "effect": "+.2f", "listeners": "d"}
    for row in record["comparisons"]:
        numbers = [_text(row[name], form) for name, form in forms.items()]
        comparisons.append([row["group"], row["student"], *numbers])
    return found | ({"Student less teacher, Wilcoxon signed-rank": comparisons} if len(comparisons) > 1 else {})


def remarks(record: dict[str, Any]) -> list[str]:
    """What was left out, and notes on the tables."""
    screening = record["screening"]
    excluded = screening["excluded"]
    lines = [
        f"{len(excluded)} of {screening['listeners']} listeners left out: hidden reference below "
        f"{screening['reference_at_least']:g} in over {FAILED_SHARE:.0%} of trials"
    ]
    lines += [f"  {one['session_uuid']}: in {one['failed']:.0%}" for one in excluded]
    lines.append(f"intervals: {record['interval']}")
    if any(row["listeners"] < 2 for row in record["medians"]):
        lines.append("a dash for an interval: it takes two listeners or more")
    if record["comparisons"] and max(row["listeners"] for row in record["comparisons"]) < _FEWEST:
        lines.append(f"fewer than {_FEWEST} listeners: no difference can be significant at 5 %")
    if not record["comparisons"]:
        lines.append("no comparison: no trial has ratings of both 'teacher' and a student")
    return lines


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
