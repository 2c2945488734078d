"""The sine set on devices whose harmonics and faults are known in closed form."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import tolerances

from jaxalias import evaluation, models
from jaxalias.evaluation import Candidate, SineSet, evaluate, sine_set
from jaxalias.targets import harmonics

RATE = 16_000
SINES = SineSet((60, 62), (-18.0, -6.0))  # with three harmonics each: nothing of the device's own aliases
HUM_HZ, HUM, DETUNING = 3333.3, 1e-3, 0.02


def device(x: jnp.ndarray) -> jnp.ndarray:
    return x + 0.5 * x**2 + 0.25 * x**3


def humming(x: jnp.ndarray) -> jnp.ndarray:
    return device(x) + HUM * jnp.sin(2 * np.pi * HUM_HZ * jnp.arange(x.shape[1])[None] / RATE)


def quieter(x: jnp.ndarray) -> jnp.ndarray:
    return device(x) - DETUNING * x


def power_of_device(level_db: float, with_offset: bool) -> float:
    """Mean square of a + b sin + c cos 2 + d sin 3, by the powers of a sine."""
    a = 10 ** (level_db / 20)
    harmonic = np.array([a + 0.25 * 0.75 * a**3, 0.5 * a**2 / 2, 0.25 * a**3 / 4])
    return float(np.sum(harmonic**2) / 2 + with_offset * (0.5 * a**2 / 2) ** 2)


def test_at_a_multiple_of_the_rate_fewer_tones_are_played_at_once() -> None:
    """The figures are those of all at once; the signals at eight times the rate take eight times the memory."""
    at_once: list[int] = []

    def play(x: jnp.ndarray) -> jnp.ndarray:
        at_once.append(len(x))
        return device(x)

    tones = SineSet((60, 78), (-18.0,))
    alike = [Candidate("device.nam", "teacher", play, oversample=factor) for factor in (1, 8)]
    own, at_eight = evaluate(alike, RATE, tones)["models"]
    assert at_once == [19] + 6 * [3] + [1]
    for name, value in own["metrics"].items():
        assert at_eight["metrics"][name] == (value and pytest.approx(value, abs=1e-6))


@pytest.fixture(scope="module")
def record() -> dict:
    steps: list[str] = []
    candidates = [
        Candidate("device.nam", "teacher", device),
        Candidate("hum.nam", "student", humming),
        Candidate("quiet.nam", "student", quieter),
    ]
    found = evaluate(candidates, RATE, SINES, steps.append)
    assert len(steps) == 6
    return found


def test_record_has_the_promised_shape(record: dict) -> None:
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["sample_rate"] == RATE
    assert record["sine_set"] == {"midi": [60, 62], "levels_db": [-18, -6]}
    assert [(m["path"], m["role"], m["oversample"]) for m in record["models"]] == [
        ("device.nam", "teacher", 1), ("hum.nam", "student", 1), ("quiet.nam", "student", 1)
    ]  # fmt: skip
    for model in record["models"]:
        for averages in ("metrics", "metrics_all", "metrics_db"):
            assert set(model[averages]) >= {"ESR-T", "NMR-T", "HESR-T", "ESR-S", "NMR-S"}
        assert model["per_tone"]["level_db"] == [-18] * 3 + [-6] * 3
        np.testing.assert_allclose(model["per_tone"]["f0_hz"], np.tile([261.6256, 277.1826, 293.6648], 2), atol=1e-4)


def test_known_faults_are_measured(record: dict) -> None:
    clean, hum, quiet = (model["per_tone"] for model in record["models"])
    for index, level_db in enumerate(clean["level_db"]):
        signal, harmonic = (power_of_device(level_db, with_offset) for with_offset in (True, False))
        a = 10 ** (level_db / 20)
        assert clean["ESR-S"][index] < -100
        wanted = 10 * np.log10(
            [HUM**2 / 2 / signal, (DETUNING * a) ** 2 / 2 / signal, (DETUNING * a) ** 2 / 2 / harmonic]
        )
        found = [hum["ESR-S"][index], quiet["ESR-T"][index], quiet["HESR-T"][index]]
        np.testing.assert_allclose(found, wanted, atol=tolerances.ANALYTIC_DB)
        assert abs(hum["ESR-T"][index] - wanted[0]) < tolerances.ANALYTIC_DB
        assert hum["HESR-T"][index] < -80  # the hum lies between the harmonics
        assert quiet["ESR-S"][index] < -100  # and a lower gain does not alias
        assert hum["NMR-S"][index] > clean["NMR-S"][index] + 20


def test_averages_follow_from_the_tones(record: dict) -> None:
    for model in record["models"]:
        levels = np.array(model["per_tone"]["level_db"])
        for name in model["metrics"]:
            if name in model.get("notes", {}):
                continue
            decibels = np.array(model["per_tone"][name])
            means = [10 * np.log10(np.mean(10 ** (decibels[levels == level] / 10))) for level in SINES.levels_db]
            np.testing.assert_allclose(model["metrics"][name], np.mean(means), atol=1e-9)
            wanted_all = 10 * np.log10(np.mean(10 ** (decibels / 10)))
            np.testing.assert_allclose(model["metrics_all"][name], wanted_all, atol=1e-9)
            np.testing.assert_allclose(model["metrics_db"][name], decibels.mean(), atol=1e-9)


def test_a_perfect_match_has_no_decibels_but_a_reason(record: dict) -> None:
    teacher, student, _ = record["models"]
    assert teacher["metrics"]["HESR-T"] is None
    assert set(teacher["per_tone"]["HESR-T"]) == {None}
    assert "HESR-T" in teacher["notes"]
    assert teacher["metrics"]["ESR-T"] == teacher["metrics"]["ESR-S"]
    assert not student.get("notes")


def test_a_device_that_can_be_played_is_a_second_reference() -> None:
    record = evaluate(
        [Candidate("q", "teacher", quieter), Candidate("h", "student", humming)], RATE, SINES, device=device
    )
    off, hum = (model["per_tone"] for model in record["models"])
    alone = evaluate([Candidate("d", "teacher", device), Candidate("q", "student", quieter)], RATE, SINES)
    expected = alone["models"][1]["per_tone"]
    for name in ("ESR", "NMR", "HESR"):
        np.testing.assert_allclose(off[f"{name}-R"], expected[f"{name}-T"], atol=1e-6)
    assert max(hum["HESR-R"]) < -80 < min(hum["HESR-T"])
    assert "ESR-R" not in alone["models"][0]["metrics"]


@pytest.mark.parametrize(("output", "what"), [(0.0, "silent"), (0.7, "silent"), (np.nan, "not finite")])
def test_a_model_that_says_nothing_is_refused_by_name_and_tone(output: float, what: str) -> None:
    def dead(x: jnp.ndarray) -> jnp.ndarray:
        return device(x).at[1].set(output)

    with pytest.raises(ValueError, match=rf"dead\.nam.*{what}.*277\.2 Hz.*-18 dB"):
        evaluate([Candidate("dead.nam", "student", dead)], RATE, SINES)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_metric_that_is_no_number_is_a_fault_and_not_left_out(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(y: jnp.ndarray, bandlimited: jnp.ndarray, sample_rate: float) -> dict:
        return {"ESR-S": jnp.full(y.shape[0], 0.5), "NMR-S": jnp.full(y.shape[0], 0.5).at[1].set(value)}

    monkeypatch.setattr(sine_set, "_against_self", broken)
    with pytest.raises(ValueError, match=r"a\.nam: NMR-[ST] is (nan|inf) for a sine of 277\.2 Hz .*-18 dB"):
        evaluate([Candidate("a.nam", "teacher", device)], RATE, SINES)


def test_a_tone_that_is_left_out_counts_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if its numbers are none: the mask says so, not the numbers."""
    monkeypatch.setattr(harmonics, "degenerate", lambda f0, rate, width: np.array([False, True, False]))
    measure = sine_set._against_self
    spoilt = lambda *given: {name: v.at[1].set(jnp.nan) for name, v in measure(*given).items()}  # noqa: E731
    monkeypatch.setattr(sine_set, "_against_self", spoilt)
    (found,) = evaluate([Candidate("a", "teacher", humming)], RATE, SINES)["models"]
    tones = found["per_tone"]["ESR-S"]
    assert tones[1] is None and tones[4] is None and "277.2" in found["notes"]["left out"]
    powers = 10 ** (np.array([tones[0], tones[2]], float) / 10)
    assert found["per_level"]["ESR-S"][0] == pytest.approx(10 * np.log10(powers.mean()))


def test_authors_weights_score_what_their_program_says(data_dir: Path) -> None:
    """BASELINE.md, Broadcast LSTM at -18 dB. Golden: changes only if the convention of the averages does."""
    weights_import = pytest.importorskip("weights_import")
    wanted = [{"ESR-S": -16.9, "NMR-S": 19.8}, {"ESR-T": -15.2, "NMR-T": -19.9, "ESR-S": -30.3, "NMR-S": -23.8}]
    files = ("guitarml/broadcast_lstm_teacher.json", "published_students/broadcast_lstm_student.json")
    candidates = []
    for name, role in zip(files, ("teacher", "student"), strict=True):
        file = weights_import.load(data_dir / "models" / name)
        candidates.append(
            Candidate(name, role, evaluation.player(models.build(file.network.config), file.network.params))
        )
    record = evaluate(candidates, 44_100, SineSet(levels_db=(-18.0,)))
    for model, cells in zip(record["models"], wanted, strict=True):
        for name, decibels in cells.items():
            assert abs(model["metrics"][name] - decibels) < tolerances.BASELINE_DB, (model["path"], name)
