"""Ratings read, screened and tested, against tables small enough to work out by hand."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import tolerances
from matplotlib.image import imread

from jaxalias.listening import ratings, statistics
from jaxalias.listening.ratings import Rating
from jaxalias.reporting import pictures

HEADER = "session_test_id,email,age,session_uuid,trial_id,rating_stimulus,rating_score,rating_time,rating_comment"


def rated(listener: str, trial: str, **scores: float) -> list[Rating]:
    return [Rating("t", listener, trial, name, score) for name, score in {"reference": 100.0, **scores}.items()]


def csv_file(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def row(listener: str, trial: str, stimulus: str, score: object) -> str:
    return f't,"a, ""b""",33,{listener},{trial},{stimulus},{score},1200,'


def test_webmushra_s_file_and_the_page_s_are_read_without_training(tmp_path: Path) -> None:
    mine = csv_file(
        tmp_path / "a.csv",
        row("u1", "training", "reference", 3),
        row("u1", "music/riff", "reference", 100),
        row("u1", "music/riff", "teacher", "42.5"),
    )
    other = csv_file(
        tmp_path / "b.csv",
        "t,Ann,u2,trial1,reference,90,7",
        header="\ufeffsession_test_id,name,session_uuid,trial_id,rating_stimulus,rating_score,rating_time",
    )
    found = ratings.read([mine, other])
    assert found == [
        Rating("t", "u1", "music/riff", "reference", 100.0),
        Rating("t", "u1", "music/riff", "teacher", 42.5),
        Rating("t", "u2", "trial1", "reference", 90.0),
    ]
    assert [rating.group for rating in found] == ["music", "music", "clips"]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row("u", "m/r", "reference", 101)], "a.csv, row 2: rating_score must be a number from 0 to 100, got '101'"),
        ([row("u", "m/r", "reference", -1)], "got '-1'"),
        ([row("u", "m/r", "reference", "nan")], "got 'nan'"),
        ([row("u", "m/r", "reference", "good")], "got 'good'"),
        ([row("u", "m/r", "reference", "")], "row 2: rating_score is empty"),
        (["t,x"], "row 2: session_uuid is empty"),
        ([row("u", "m/r", "reference", 99)] * 2, "row 3: listener 'u' rated 'reference' of trial 'm/r' before"),
        ([row("u", "m/r", "teacher", 50)], "no rating of the hidden reference ('reference') in trial 'm/r'"),
        ([row("u", "training", "reference", 99)], "must hold at least 1 rating, got 0"),
        (['t,"open'], "must be CSV in UTF-8"),
    ],
)
def test_rows_that_cannot_be_used_are_named(rows: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:
        ratings.read([csv_file(tmp_path / "a.csv", *rows)])
    assert words in str(error.value)


def test_files_that_are_no_results_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lacks session_uuid, rating_stimulus, rating_score"):
        ratings.read([csv_file(tmp_path / "a.csv", header="session_test_id,trial_id,score")])
    (tmp_path / "b.csv").write_bytes(HEADER.encode() + b"\n\xff\xfe\n")
    with pytest.raises(ValueError, match=r"b\.csv: must be CSV in UTF-8"):
        ratings.read([tmp_path / "b.csv"])
    (tmp_path / "c.csv").write_bytes(b"")
    with pytest.raises(ValueError, match=r"c\.csv: must have the columns"):
        ratings.read([tmp_path / "c.csv"])
    with pytest.raises(OSError, match=r"d\.csv"):
        ratings.read([tmp_path / "d.csv"])


def test_screening_leaves_out_who_failed_in_more_than_15_percent() -> None:
    def listener(name: str, *scores: float) -> list[Rating]:
        return [Rating("t", name, f"m/{i}", "reference", score) for i, score in enumerate(scores)]

    exactly = listener("3 of 20", *[79.0] * 3, *[80.0] * 17)  # 15 %: stays
    over = listener("4 of 20", *[79.9] * 4, *[100.0] * 16)
    one = listener("1 of 4", 10.0, 95.0, 95.0, 95.0)
    ninety = listener("all 85", *[85.0] * 4)
    everyone = [*exactly, *over, *one, *ninety]
    kept, excluded = ratings.screen(everyone, 80.0)
    assert excluded == {"4 of 20": 0.2, "1 of 4": 0.25}
    assert {rating.listener for rating in kept} == {"3 of 20", "all 85"}
    with pytest.raises(ValueError, match="leaves no listener: all 2 rated the hidden reference below 90"):
        ratings.screen([*exactly, *ninety], 90.0)
    assert ratings.screen([*over, *listener("good", 90.0)], 90.0)[1] == {"4 of 20": 0.2}


def test_stimuli_and_groups_in_the_order_of_the_tables() -> None:
    given = [
        *rated("u", "sweep/a", anchor=1, **{"student b": 2, "teacher": 3, "other": 4}),
        *rated("u", "music/b", student=5),
    ]
    assert ratings.stimuli(given) == ["reference", "teacher", "student", "student b", "other", "anchor"]
    assert [(name, len(members)) for name, members in ratings.groups(given).items()] == [
        ("music", 2), ("sweep", 5), ("all", 7),
    ]  # fmt: skip
    assert list(ratings.groups(given[-2:])) == ["music"]


def test_medians() -> None:
    given = [
        *rated("u1", "m/a", teacher=10), *rated("u1", "m/b", teacher=20),
        *rated("u2", "m/a", teacher=40), *rated("u3", "m/a", teacher=70),
    ]  # fmt: skip
    rows = {row["stimulus"]: row for row in statistics.summarise(given, 0)}
    assert rows["teacher"]["median"] == 30
    assert (rows["teacher"]["ratings"], rows["teacher"]["listeners"]) == (4, 3)
    assert statistics.summarise(given, 0) == statistics.summarise(given, 0)
    assert (rows["reference"]["low"], rows["reference"]["high"]) == (100, 100)
    (alone, *_) = statistics.summarise(given[:2], 0)
    assert (alone["low"], alone["high"]) == (None, None)


@pytest.mark.parametrize("given", [[[10, 20], [40], [70, 75, 80]], [[1, 5], [2, 9], [3, 7]]], ids=["ragged", "even"])
def test_interval_against_every_possible_resample(given: list[list[float]]) -> None:
    """Three listeners can be drawn in 27 ways: the bootstrap's whole distribution."""
    medians = [np.median(np.concatenate(drawn)) for drawn in itertools.product(given, repeat=3)]
    exact = np.quantile(medians, [0.025, 0.975], method="inverted_cdf")
    np.testing.assert_allclose(statistics.interval(given, np.random.default_rng(0)), exact)


def test_interval_covers_the_median_as_often_as_it_says() -> None:
    random = np.random.default_rng(5)
    covered = 0
    for _ in range(50):
        listeners = random.normal(50, 10, (20, 1)) + random.normal(0, 3, (20, 3))  # correlated within a listener
        low, high = statistics.interval(listeners.tolist(), random)
        covered += low <= 50 <= high
    assert covered >= 43  # 47.5 expected; were ratings drawn instead of listeners, about 37


def test_signed_rank_by_hand() -> None:
    """Differences 1, 2, 3, -4, 5, 6, and a zero that does not count: W- is 4, and so is the statistic.

    Of the 64 signs, those whose smaller sum is at most 4 have the sums 0, 1, 2, 3 (two), 4 (two), on either side.
    """
    row = statistics.signed_rank(np.array([1.0, 2, 3, -4, 5, 6, 0]))
    assert row["statistic"] == 4 and row["listeners"] == 7 and row["median_difference"] == 2
    assert row["p"] == pytest.approx(2 * 7 / 64)
    assert row["effect"] == pytest.approx((17 - 4) / 21)
    assert statistics.signed_rank(np.array([3.0]))["p"] == 1
    nothing = statistics.signed_rank(np.zeros(3))
    assert nothing["p"] is None and nothing["effect"] is None and nothing["median_difference"] == 0


def test_comparison_pairs_listeners_over_the_trials_that_have_both() -> None:
    teacher = {"u1": (40, 50), "u2": (30, 30), "u3": (60, 20), "u4": (50, 45)}
    student = {"u1": (60, 80), "u2": (20, 50), "u3": (90, 60), "u4": (51, 58)}
    given = []
    for who in teacher:
        for trial, mine, others in zip(("m/a", "m/b"), student[who], teacher[who], strict=True):
            given += rated(who, trial, teacher=others, student=mine)
    given += rated("u1", "m/c", student=0)  # never with a teacher: no pair
    given += rated("u1", "s/c", student=7, teacher=7, **{"student b": 9})
    rows = {(row["group"], row["student"]): row for row in statistics.compare(given)}
    assert list(rows) == [
        ("m", "student"),
        ("s", "student"),
        ("s", "student b"),
        ("all", "student"),
        ("all", "student b"),
    ]
    wanted = np.array([np.mean(np.subtract(student[who], teacher[who])) for who in teacher])  # 25, 5, 35, 7
    row = rows["m", "student"]
    assert row["median_difference"] == pytest.approx(np.median(wanted))
    assert row["p"] == pytest.approx(scipy.stats.wilcoxon(wanted).pvalue) == pytest.approx(2 / 16)
    assert row["effect"] == 1 and row["listeners"] == 4
    assert rows["s", "student"]["p"] is None and rows["s", "student"]["p_holm"] is None
    assert row["p_holm"] == pytest.approx(4 * 2 / 16)  # of four tests the smallest
    assert statistics.compare(rated("u1", "m/a", student=5)) == []


def test_holm_by_hand() -> None:
    assert statistics.holm([0.03, 0.01, 0.04]) == pytest.approx([0.06, 0.03, 0.06], abs=tolerances.F64)
    assert statistics.holm([0.9, 0.6]) == [1, 1]


def test_violins_show_every_group(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    given = []
    for who, trial in itertools.product("abcd", ("music/a", "sweep/b")):
        given += rated(who, trial, teacher=random.uniform(20, 60), student=random.uniform(60, 90), anchor=5)
    path = tmp_path / "violins.png"
    pictures.violin_picture(ratings.scores_by_group(given), statistics.summarise(given, 0), path)
    pixels = np.asarray(imread(path)[:, :, :3])
    colours = pictures.styles(["teacher", "student"])
    for name, style in colours.items():
        close = np.abs(pixels - np.array(style.colour)).max(axis=2) < 0.1
        columns = np.flatnonzero(close.any(axis=0))
        assert close.sum() > 50, f"{name} is not in the picture"
        assert np.diff(columns).max() > pixels.shape[1] / 5, f"{name} should be in both columns of panels"
