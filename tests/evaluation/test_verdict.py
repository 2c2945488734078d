"""The sentences of the verdict, over records made by hand."""

from typing import Any

import pytest

from jaxalias.evaluation import verdict


def figures(nmr: float | None, audible: float | None, esr: float | None = -30.0) -> dict[str, Any]:
    return {"ESR": esr, "NMR": nmr, "audible": audible}


def entry(
    role: str,
    playing: dict[str, Any],
    high: dict[str, Any],
    nmr_t: float | None,
    *,
    own: float | None = None,
    path: str = "amp.nam",
    **more: Any,
) -> dict[str, Any]:
    """A model's figures against the alias-free teacher; `own`: its audible share of high playing against itself."""
    itself = {**high, "audible": high["audible"] if own is None else own}
    played = {"playing": {"self": playing, "alias_free": playing}, "high_playing": {"self": itself, "alias_free": high}}
    metrics = {"NMR-T": nmr_t, "NMR-S": nmr_t}
    return {"path": path, "role": role, "oversample": 1, "metrics": metrics, "played": played, **more}


TEACHER = entry("teacher", figures(-30.0, 0.0, -45.0), figures(14.0, 0.77), 11.8)
GOOD = entry("student", figures(-31.0, 0.0, -22.2), figures(-5.0, 0.12), -4.6, own=0.05, path="x/student.nam")


def one(*models: dict[str, Any]) -> str:
    (line,) = verdict.verdicts({"models": list(models)})
    return line


def test_a_student_worth_having() -> None:
    line = one(TEACHER, GOOD)
    assert line.startswith(
        "student.nam: aliases: 77 % of the frames of high playing were audible, 12 % are left "
        "(5 % by aliases of its own); tone: ESR 0.006 on playing, by the NAM trainer's scale 'Great!'; "
        "louder than the teacher's own aliases on ordinary playing: no."
    )
    assert "use it" in line and "keep the teacher" not in line


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"high": figures(15.0, 0.5)}, "NMR of high playing (15.0 dB against 14.0 dB)"),
        ({"high": figures(7.8, 1.0)}, "audible frames of high playing (100 % against 77 %)"),
        ({"playing": figures(-6.9, 0.01)}, "NMR of playing (-6.9 dB against -30.0 dB)"),
        ({"playing": figures(-12.0, 0.03)}, "audible frames of playing (3 % against 0 %)"),
        ({"nmr_t": 12.0}, "NMR-T on sines (12.0 dB against 11.8 dB)"),
    ],
)
def test_one_figure_that_is_worse_is_said_and_the_teacher_kept(changed: dict[str, Any], words: str) -> None:
    given = {"playing": figures(-20.0, 0.0), "high": figures(0.0, 0.1), "nmr_t": -8.0} | changed
    student = entry("student", given["playing"], given["high"], given["nmr_t"])
    assert verdict.worse(TEACHER, student) == [words]
    assert f"It is worse than its teacher in {words}: keep the teacher." in one(TEACHER, student)


@pytest.mark.parametrize(
    ("high", "nmr_t", "gained"),
    [
        (figures(14.0, 0.77), 11.8, False),
        (figures(13.1, 0.76), 10.9, False),
        (figures(12.9, 0.77), 11.8, True),
        (figures(14.0, 0.77), 10.7, True),
        (figures(14.0, 0.74), 11.8, True),
        (figures(None, 0.77), 11.8, True),
    ],
)
def test_a_student_that_is_no_better_is_not_recommended(high: dict[str, Any], nmr_t: float, gained: bool) -> None:
    student = entry("student", figures(-30.0, 0.0), high, nmr_t)
    line = one(TEACHER, student)
    assert ("use it" in line) == gained
    assert ("nothing is gained by it, keep the teacher" in line) != gained
    assert (verdict.objection([(TEACHER, student)]) == "") == gained


def test_what_was_inaudible_before_is_no_gain() -> None:
    quiet = entry("teacher", figures(-30.0, 0.0), figures(-12.0, 0.015), -20.0)
    quieter = entry("student", figures(-30.0, 0.0), figures(-40.0, 0.0), -60.0)
    assert not verdict.gains(quiet, quieter) and verdict.worse(quiet, quieter) == []
    rare = entry("teacher", figures(-30.0, 0.0), figures(-12.0, 0.05), -20.0)  # some loud frames, inaudible on average
    assert verdict.gains(rare, quieter)


def test_a_knob_needs_a_gain_somewhere_and_a_loss_nowhere() -> None:
    same = {**TEACHER, "role": "student"}
    bad = entry("student", figures(-30.0, 0.0), figures(15.0, 0.1), -8.0)
    assert verdict.objection([(TEACHER, same), (TEACHER, GOOD)]) == ""
    assert verdict.objection([(TEACHER, GOOD), (TEACHER, bad)]) == (
        "is worse than its teacher in NMR of high playing (15.0 dB against 14.0 dB)"
    )


def clip(name: str, of_it: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "ESR": -20.0, "self": of_it, "alias_free": of_it}


def test_a_clip_of_ones_own_counts_as_what_is_played() -> None:
    """A recorded bass may be audible where the project's own set is not. A clip of less than a frame has no figures."""

    def with_clips(model: dict[str, Any], *bass_and_riff: dict[str, Any]) -> dict[str, Any]:
        every = zip(("bass", "riff", "click"), (*bass_and_riff, figures(None, None)), strict=True)
        return {**model, "audio": {"clips": [clip(name, of_it) for name, of_it in every]}}

    teacher = with_clips(TEACHER, figures(-29.0, 0.0), figures(-40.0, 0.0))
    worse = with_clips(GOOD, figures(-11.0, 0.28), figures(-20.0, 0.01))
    words = "audible frames of the clip bass (28 % against 0 %)"
    assert verdict.worse(teacher, worse) == [words]
    assert f"It is worse than its teacher in {words}: keep the teacher." in one(teacher, worse)
    better = one(teacher, with_clips(GOOD, figures(-11.0, 0.02), figures(None, 0.0)))
    assert better.endswith("use it.")


def test_without_a_clip_the_user_is_asked_for_one() -> None:
    asked = "Recorded playing can be harder than these sets: measure yours with --audio."
    assert one(TEACHER, GOOD).endswith(f"use it. {asked}")
    assert asked not in one(TEACHER, {**TEACHER, "role": "student"})


def test_what_stays_inaudible_is_no_loss() -> None:
    """The teacher was at -30 dB on playing; -14 dB is louder than its aliases, and below what is heard."""
    student = entry("student", figures(-14.0, 0.015), figures(0.0, 0.2), -9.0)
    line = one(TEACHER, student)
    assert "playing: yes, but inaudible (NMR -14.0 dB against -30.0 dB, audible from -10 dB)" in line
    assert "use it" in line
    loud = entry("student", figures(-3.0, 0.4), figures(0.0, 0.2), -9.0)
    assert "yes, and audible" in one(TEACHER, loud)


def test_the_teacher_itself_is_no_worse_and_no_match_is_undefined() -> None:
    same = {**TEACHER, "role": "student"}
    assert verdict.worse(TEACHER, same) == []
    perfect = entry("student", figures(None, 0.0, None), figures(None, 0.0, None), None)
    assert "ESR 0 on playing" in one(TEACHER, perfect) and verdict.worse(TEACHER, perfect) == []


def test_rivals_stand_beside_it_with_their_cost() -> None:
    at_2x = entry("teacher", figures(-50.0, 0.0), figures(9.0, 0.4), 4.0) | {"oversample": 2}
    rival = {"oversample": 4, "played": at_2x["played"] | {"high_playing": {"alias_free": figures(-20.0, 0.004)}}}
    line = one({**TEACHER, "rivals": [rival]}, at_2x, GOOD, {**GOOD, "oversample": 2})
    assert line.endswith(
        "The teacher oversampled by the player at 2x leaves 40 %, for twice the CPU; at 4x leaves less than 1 %, for 4 "
        "times the CPU."
    )


def test_positions_of_knobs_make_one_verdict() -> None:
    bad = entry("student", figures(-3.0, 0.4), figures(0.0, 0.2), -9.0, path="x/student.nam")
    models = []
    for position, student in ((0.5, GOOD), (0.0, bad), (1.0, GOOD)):
        models += [{**TEACHER, "knobs": [position]}, {**student, "knobs": [position]}]
    assert "With the knobs at 0 it is worse than its teacher: keep the teacher there." in one(*models)


def test_no_students_no_verdict() -> None:
    assert verdict.verdicts({"models": [TEACHER]}) == []
    silent = {key: value for key, value in GOOD.items() if key != "played"}
    assert verdict.verdicts({"models": [TEACHER, silent]}) == []


@pytest.mark.parametrize(
    ("esr", "words"),
    [(0.0, "Great!"), (0.01, "Not bad!"), (0.05, "ok!"), (0.2, ":("), (0.3, "wrong."), (9.0, "wrong.")],
)
def test_the_scale_is_the_nam_trainers(esr: float, words: str) -> None:
    assert verdict.nam_comment(esr).endswith(words)
    core = pytest.importorskip("nam.train.core")
    assert verdict.nam_comment(esr) == core._esr_comment(esr)
