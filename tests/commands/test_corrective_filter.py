"""The filter behind a student: against a filter that is known, and as a user types it."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
from model_files import lstm

from jaxalias.commands import command_line, corrective_filter, measuring, reading
from jaxalias.evaluation import SineSet
from jaxalias.evaluation.corrective_filter import behind, fit


def test_a_filter_that_is_known_is_found_whatever_the_levels() -> None:
    random = np.random.default_rng(0)
    h = np.array([0.8, -0.3, 0.2, 0.05])
    y = random.standard_normal((3, 2000)) * [[1.0], [1e-3], [0.0]]
    y[:, -8:] = 0  # so that the filter's end is in the frame
    wanted = scipy.signal.lfilter(h, 1, y, axis=1)
    np.testing.assert_allclose(fit(y, wanted, 6), [*h, 0, 0], atol=1e-7)


def test_a_quiet_signal_counts_as_much_as_a_loud_one() -> None:
    """Two signals at one frequency that ask for gains of 1 and 3: relative to what is wanted, 1.2 is least wrong."""
    y = np.sin(0.3 * np.arange(20_000)) * [[1.0], [1e-3]]
    (gain,) = fit(y, y * [[1.0], [3.0]], 1)
    np.testing.assert_allclose(gain, (1 + 1 / 3) / (1 + 1 / 9), rtol=1e-6)


def test_a_model_with_it_is_the_model_filtered() -> None:
    x, h = np.random.default_rng(1).standard_normal((2, 50)), np.array([0.5, 0.25])
    played = np.asarray(behind(lambda x: 2 * x, h)(x))
    np.testing.assert_allclose(played[:, 1:], x[:, 1:] + 0.5 * x[:, :-1], rtol=1e-12)


def run(monkeypatch: Any, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["corrective_filter.py", *map(str, arguments)])
    command_line.run(corrective_filter.main)


def test_the_command_leaves_a_model_alone_that_is_its_own_teacher(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(corrective_filter, "TONES", 3)
    few = SineSet((60, 61), (-18.0,))
    monkeypatch.setattr(measuring, "measure", partial(measuring.measure, sine_set=few))
    same = lstm(tmp_path / "a.json")
    run(monkeypatch, "--teacher", same, "--student", same, "--taps", 4, "--json", tmp_path / "r.json", "--quiet")
    teacher, student, filtered = json.loads((tmp_path / "r.json").read_text())["models"]
    assert (teacher["role"], student["role"], filtered["path"]) == ("teacher", "student", f"{same} + 4 taps")
    assert filtered["metrics"]["ESR-T"] < -40


def test_a_student_at_another_rate_is_refused(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    nam = reading.SHIPPED_MODELS / "distortion_nam-feather.nam"
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, "--teacher", lstm(tmp_path / "a.json"), "--student", nam)
    assert stop.value.code == 2
    assert "sample_rate must be the teacher's 44100 Hz, got 48000" in capsys.readouterr().err
