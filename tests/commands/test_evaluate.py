"""The evaluation as a user types it: record, report, bad input."""

import json
import re
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from model_files import lstm, wavenet

import weights_import
from jaxalias import evaluation, models
from jaxalias.commands import command_line, evaluate, reading
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
    for model in record["models"]:
        for compared in (*model["played"].values(), model["audio"], *model["audio"]["clips"]):
            for against in ("self", "alias_free"):
                assert set(compared[against]) == {"ESR", "NMR", "audible"}
                assert 0 <= compared[against]["audible"] <= 1
        assert list(model["played"]) == ["playing", "high_playing"]
    assert native["played"]["high_playing"]["alias_free"] == native["played"]["high_playing"]["self"]
    assert doubled["played"]["high_playing"]["self"]["ESR"] < native["played"]["high_playing"]["self"]["ESR"]
    assert record["models"][2]["played"]["playing"]["alias_free"]["ESR"] > -60
    assert [rival["oversample"] for rival in native["rivals"]] == [4]
    (line,) = record["verdict"]
    assert line.startswith("b.json: aliases: ") and "at 2x leaves" in line and "at 4x leaves" in line
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {"table.md", "table.csv", "index.html", "spectrum.png", "harmonics.png", "nmr.png", "sweep.png"}
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(line) and "playing" in said.removeprefix(line)
    assert (tmp_path / "report" / "table.md").read_text().startswith(line)
    clips = re.search(r'id="clips">(.*?)</script>', (tmp_path / "report" / "index.html").read_text(), re.S)
    heard = {clip["name"]: [y["label"] for y in clip["renders"]] for clip in json.loads(clips[1])}
    assert list(heard) == ["sweep", "playing", "high playing", "guitar"]
    models = ["teacher", "teacher 2x", "student", "student 2x"]
    assert heard["playing"] == heard["guitar"] == [*models, "alias-free teacher", "input"]


def test_what_has_no_figure_has_a_reason(tmp_path, monkeypatch):
    """The teacher at 8 times its rate is the reference itself, and nothing can be played too short."""
    short = tmp_path / "short.wav"
    soundfile.write(short, 0.3 * np.random.default_rng(0).normal(size=1500), RATE)
    run(
        monkeypatch,
        "--teacher",
        lstm(tmp_path / "a.json"),
        "--oversample",
        8,
        "--audio",
        short,
        *FEW,
        "--json",
        tmp_path / "r.json",
    )
    native, reference = json.loads((tmp_path / "r.json").read_text())["models"]
    assert native["audio"]["self"]["audible"] is None and "shorter" in native["notes"]["audio self audible"]
    assert reference["played"]["playing"]["self"] == {"ESR": None, "NMR": None, "audible": 0}
    assert "perfect match" in reference["notes"]["playing self NMR"]


def test_a_silent_clip_is_no_perfect_match(tmp_path, monkeypatch):
    silent = tmp_path / "silent.wav"
    soundfile.write(silent, np.zeros(3000), RATE)
    arguments = ["--teacher", lstm(tmp_path / "a.json"), "--student", lstm(tmp_path / "b.json", 2.0), "--audio", silent]
    run(monkeypatch, *arguments, *FEW, "--json", tmp_path / "r.json")
    student = json.loads((tmp_path / "r.json").read_text())["models"][1]
    assert student["audio"]["alias_free"]["audible"] == 0


@pytest.fixture
def answer(tmp_path: Path, clip: Path) -> tuple[Path, np.ndarray]:
    """A model, and what it makes of a clip of a second."""
    x = 0.3 * np.random.default_rng(0).normal(size=RATE)
    soundfile.write(clip, x, RATE, "FLOAT")
    file = weights_import.load(lstm(tmp_path / "a.json", 20.0))
    play = evaluation.player(models.build(file.network.config), file.network.params)
    return Path(file.path), np.asarray(play(jnp.asarray(soundfile.read(clip)[0])[None]))[0]


@pytest.mark.parametrize(
    ("delay", "polarity", "length"),
    [(0, 1, RATE), (300, 1, RATE), (300, -1, RATE + 300), (9000, -1, 2 * RATE), (-700, 1, RATE), (20, 1, 25_000)],
)
def test_a_recording_of_the_model_itself_is_itself_whenever_it_was_made(
    tmp_path, clip, answer, monkeypatch, delay, polarity, length
):
    model, y = answer
    recording = np.r_[np.zeros(max(0, delay)), y[max(0, -delay) :], np.zeros(length)][:length]
    soundfile.write(tmp_path / "late.wav", polarity * recording, RATE, "FLOAT")
    arguments = ["--teacher", model, "--audio", clip, "--recording", tmp_path / "late.wav", *FEW]
    run(monkeypatch, *arguments, "--json", tmp_path / "r.json")
    (found,) = json.loads((tmp_path / "r.json").read_text())["models"]
    (row,) = found["audio"]["clips"]
    assert (row["reference"], row["delay"], row["polarity"]) == ("recording", delay, polarity)
    assert found["audio"]["ESR"] is None or found["audio"]["ESR"] < -120  # of float32


@pytest.mark.parametrize(
    ("recording", "words"),
    [
        (lambda y: 0 * y, "bad.wav: must peak at -50 dB of full scale or above, is silence; record louder"),
        (lambda y: y[:9000], "bad.wav: must be as long as its input, holds 9000 of its 44100 samples"),
        (lambda y: np.r_[np.zeros(30_000), y][:RATE], "bad.wav: must be as long as its input, holds 14100"),
        (lambda y: np.random.default_rng(5).normal(size=RATE), "bad.wav: must be what a device made of its input"),
        (lambda y: np.stack([0 * y, y], 1), "bad.wav: its first channel is silent, channel 2 at"),
    ],
)
def test_a_recording_that_tells_nothing_is_refused(tmp_path, clip, answer, monkeypatch, capsys, recording, words):
    model, y = answer
    soundfile.write(tmp_path / "bad.wav", recording(y), RATE, "FLOAT")
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, "--teacher", model, "--audio", clip, "--recording", tmp_path / "bad.wav", *FEW)
    assert stopped.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and words in line


def test_without_a_model_the_shipped_one_is_measured(tmp_path, monkeypatch):
    run(monkeypatch, *FEW, "--json", tmp_path / "r.json")
    (model,) = json.loads((tmp_path / "r.json").read_text())["models"]
    assert (model["path"], model["role"]) == (str(reading.SHIPPED_MODEL), "teacher")


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
