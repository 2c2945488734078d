"""The evaluation as a user types it: record, report, bad input."""

import json
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from model_files import lstm, wavenet

from jaxalias import evaluation
from jaxalias.commands import command_line, evaluate
from jaxalias.evaluation import metrics

FEW = ["--midi", "60", "63", "--levels", "-18", "-6", "--quiet"]
RATE = 44_100


def run(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, arguments)])
    command_line.run(evaluate.main)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "guitar.wav"
    soundfile.write(path, 0.3 * np.random.default_rng(0).normal(size=3000), RATE)
    return path


def test_record_and_report(tmp_path, clip, monkeypatch, capsys):
    teacher, student = lstm(tmp_path / "a.json", 200.0), lstm(tmp_path / "b.json", 100.0)
    arguments = ["--teacher", teacher, "--student", student, "--oversample", 2, "--audio", clip, "--device", "clipper"]
    run(monkeypatch, *arguments, *FEW, "--json", tmp_path / "r.json", "--report", tmp_path / "report")
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["sine_set"] == {"midi": [60, 63], "levels_db": [-18, -6]}
    entries = [(model["role"], model["oversample"]) for model in record["models"]]
    assert entries == [("teacher", 1), ("teacher", 2), ("student", 1), ("student", 2)]
    native, doubled, *_ = record["models"]
    assert doubled["metrics"]["NMR-S"] < native["metrics"]["NMR-S"]
    assert native["audio"]["ESR"] is None
    assert "itself" in native["notes"]["audio ESR"]
    assert doubled["audio"]["ESR"] < 0
    assert doubled["audio"]["clips"][0]["reference"] == "teacher"
    assert doubled["alias_to_signal"][0]["full"] < native["alias_to_signal"][0]["full"]
    assert native["metrics"]["ESR-R"] is not None
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {"table.md", "table.csv", "index.html", "spectrum.png", "harmonics.png", "nmr.png", "sweep.png"}
    assert "teacher" in capsys.readouterr().out


def test_without_a_model_the_shipped_one_is_measured(tmp_path, monkeypatch):
    run(monkeypatch, *FEW, "--json", tmp_path / "r.json")
    (model,) = json.loads((tmp_path / "r.json").read_text())["models"]
    assert (model["path"], model["role"]) == (str(command_line.SHIPPED_MODEL), "teacher")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--midi", "70", "60"], "--midi: LOW"),
        (["--levels", "3"], "between -120 and 0 dB"),
        (["--student", "{nam}"], "sample_rate must be the teacher's 44100 Hz, got 48000"),
        (["--student", "absent.nam"], "absent.nam"),
        (["--audio", "{amp}"], "must be an audio file"),
        (["--recording", "a.wav", "b.wav"], "one for each --audio (0), got 2"),
        (["--report", "{amp}"], "--report"),
        (["--midi", "140", "141"], "no tone of MIDI"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, words, tmp_path, monkeypatch, capsys):
    amp, nam = lstm(tmp_path / "amp.json"), wavenet(tmp_path / "amp.nam")
    filled = [argument.format(amp=amp, nam=nam) for argument in arguments]
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, "--teacher", amp, *FEW, *filled)
    assert stopped.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert words in line


def test_degenerate_tones_are_left_out_and_named():
    play = lambda x: jnp.tanh(20 * x)  # noqa: E731
    tones = evaluation.SineSet((69, 70), (-6.0,))
    candidate = evaluation.Candidate("a", "teacher", play)
    model = evaluation.evaluate([candidate], 44_000, tones)["models"][0]  # 440 Hz is a hundredth of it
    assert model["per_tone"]["NMR-S"][0] is None
    assert "440.0" in model["notes"]["left out"]
    assert model["metrics"]["NMR-S"] == model["per_tone"]["NMR-S"][1]


def test_alias_to_signal_counts_what_lies_between_the_multiples():
    length = metrics.prime_length(RATE)
    n = np.arange(length)
    wanted = np.sin(2 * np.pi * 300 * n / length) + 0.5 * np.sin(2 * np.pi * 900 * n / length)
    alias = 0.01 * np.sin(2 * np.pi * 17_000 * n / length + 1)
    ratio = metrics.alias_to_signal(wanted + alias + 3.0, 300, RATE)
    assert abs(ratio / (1e-4 / 1.25) - 1) < 1e-9
    assert metrics.alias_to_signal(wanted + alias, 300, RATE, 16_000) < 1e-20


@pytest.mark.filterwarnings("ignore:Empty filters")
def test_mrsl_against_a_slow_version_of_its_definition():
    librosa = pytest.importorskip("librosa")
    random = np.random.default_rng(2)
    estimate, reference = random.normal(size=(2, 4096))

    def log_mel(x: np.ndarray, size: int, hop: int, width: int) -> np.ndarray:
        spectrum = librosa.stft(x, n_fft=size, hop_length=hop, win_length=width, window="hann", pad_mode="reflect")
        bands = librosa.filters.mel(sr=RATE, n_fft=size, n_mels=128, dtype=np.float64)
        return np.log(np.maximum(bands @ np.abs(spectrum), 1e-5))

    found = []
    for resolution in ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240)):
        mine, wanted = (log_mel(x, *resolution) for x in (estimate, reference))
        found.append(np.linalg.norm(wanted - mine) / np.linalg.norm(wanted))
    assert abs(metrics.mrsl(estimate, reference, RATE) / np.mean(found) - 1) < 1e-6
