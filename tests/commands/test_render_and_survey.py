"""Playing audio through a model file, and ranking model files, as a user types it."""

import csv
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from model_files import lstm, wavenet

import weights_import
from jaxalias import evaluation, models
from jaxalias.commands import command_line, render, survey
from jaxalias.targets import oversampling

RATE = 44_100
FLOAT_FILE = 1e-6
"""Some units of float32, as files hold it, on a signal of size 1."""
FILTERED = 3e-5
"""Filters with a ripple and a stop-band of -110 dB (3e-6), through a model, against the whole-signal FFT."""


def music(path: Path, samples: int = 3000, rate: int = RATE, seed: int = 0) -> Path:
    """Noise that fades in and out, below the edge of every filter."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=samples))
    spectrum[int(0.3 * len(spectrum)) :] = 0
    x = np.fft.irfft(spectrum, samples) * np.hanning(samples)
    soundfile.write(path, x, rate, subtype="FLOAT")
    return path


@pytest.fixture
def typed(monkeypatch, capsys):
    """Run a command in this process: exit code, stdout, stderr."""

    def run(command, *arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", [command.__name__.rpartition(".")[2] + ".py", *map(str, arguments)])
        try:
            command_line.run(command.main)
            code = 0
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("make", [lstm, wavenet])
def test_renders_in_blocks_what_the_model_plays_as_a_whole(tmp_path, typed, monkeypatch, make, factor):
    monkeypatch.setattr(render, "BLOCK", 700)
    rate = 48_000 if make is wavenet else RATE
    file = weights_import.load(make(tmp_path / "model"))
    files = ["--model", file.path, "--input", music(tmp_path / "in.wav", rate=rate), "--output", tmp_path / "out.wav"]
    options = ["--oversample", factor, "--bits", "float", "--precision", "float64", "--json", tmp_path / "r.json"]
    code, out, err = typed(render, *files, *options)
    assert code == 0, err
    x, _ = soundfile.read(tmp_path / "in.wav")
    y, written_rate = soundfile.read(tmp_path / "out.wav")
    play = evaluation.player(models.build(file.network.config), file.network.params, "float64")
    expected = np.asarray(oversampling.oversample(play, factor)(jnp.asarray(x)[None]))[0]
    assert (written_rate, len(y)) == (rate, len(x))
    if factor == 1:
        np.testing.assert_allclose(y, expected, rtol=0, atol=FLOAT_FILE)
    else:  # the rival hears silence before the signal, and its filters part ways above their pass-band
        settled = slice(1000, -100)
        error, reference = np.abs(np.fft.rfft(np.hanning(1900) * [(y - expected)[settled], expected[settled]]))
        passed = np.fft.rfftfreq(1900) < oversampling.PASS
        assert np.max(error[passed]) < FILTERED * np.max(reference)
    record = json.loads((tmp_path / "r.json").read_text())
    assert (record["samples"], record["oversample"], record["clipped_samples"]) == (len(x), factor, 0)
    assert record["peak_db"] == pytest.approx(20 * np.log10(np.max(np.abs(y))), abs=1e-4)
    assert "rendering" in err
    assert str(tmp_path / "out.wav") in out


def test_converts_to_the_rate_of_the_model_and_back(tmp_path, typed):
    """Noise and a tone at 96 kHz through a model at 48 kHz: as long as the input, and in time with it."""
    model, recording = wavenet(tmp_path / "model.nam"), tmp_path / "in.wav"
    time = np.arange(20_000) / 96_000
    soundfile.write(recording, 0.3 * np.sin(2 * np.pi * 500 * time), 96_000, subtype="FLOAT")
    code, _, err = typed(
        render, "--model", model, "--input", recording, "--output", tmp_path / "out.wav", "--bits", "float"
    )
    assert code == 0, err
    y, rate = soundfile.read(tmp_path / "out.wav")
    file = weights_import.load(model)
    play = evaluation.player(models.build(file.network.config), file.network.params)
    expected = np.asarray(play(jnp.asarray(0.3 * np.sin(2 * np.pi * 500 * time[::2]))[None]))[0]
    assert (rate, len(y)) == (96_000, 20_000)
    np.testing.assert_allclose(y[4000:-4000:2], expected[2000:-2000], rtol=0, atol=1e-5)


def test_counts_clipping_and_warns_of_stereo(tmp_path, typed):
    model = wavenet(tmp_path / "model.nam", head_scale=50.0)
    soundfile.write(tmp_path / "in.wav", np.random.default_rng(0).uniform(-1, 1, (2000, 2)), 48_000)
    code, _, err = typed(
        render, "--model", model, "--input", tmp_path / "in.wav", "--output", tmp_path / "out.wav", "--bits", "16",
        "--json", tmp_path / "r.json",
    )  # fmt: skip
    record = json.loads((tmp_path / "r.json").read_text())
    y, _ = soundfile.read(tmp_path / "out.wav", dtype="int16")
    assert code == 0
    assert soundfile.info(tmp_path / "out.wav").subtype == "PCM_16"
    assert 0 < record["clipped_samples"] <= np.count_nonzero((y == 2**15 - 1) | (y == -(2**15)))
    assert f"{record['clipped_samples']} of 2000 samples clipped" in err
    assert "has 2 channels; only the first is used" in err


def test_render_refuses_in_one_line_and_writes_nothing(tmp_path, typed):
    model, sound = lstm(tmp_path / "model.json"), music(tmp_path / "in.wav")
    (tmp_path / "link.wav").hardlink_to(sound)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for files, rule in (
        ((model, sound, sound), "is the file of --input"),
        ((model, sound, tmp_path / "link.wav"), "is the file of --input"),
        ((model, sound, model), "is the file of --model"),
        ((sound, sound, tmp_path / "out.wav"), "in.wav"),
        ((model, model, tmp_path / "out.wav"), "must be an audio file"),
        ((model, tmp_path / "none.wav", tmp_path / "out.wav"), "there is none of this name"),
        ((model, sound, tmp_path), "is a folder"),
        ((model, sound, sound / "out.wav"), "cannot be written"),
    ):
        options = zip(("--model", "--input", "--output"), files, strict=True)
        code, _, err = typed(render, "--quiet", *(part for option in options for part in option))
        assert (code, err.count("\n")) == (2, 1), err
        assert rule in err
        assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    code, _, err = typed(render, "--model", model, "--input", sound, "--output", sound, "--oversample", 0)
    assert code == 2
    assert "must be at least 1, got 0" in err


def test_survey_ranks_the_worst_first_and_names_what_it_leaves_out(tmp_path, typed, monkeypatch):
    monkeypatch.setattr(survey, "QUICK", evaluation.SineSet((96, 99), (-6.0,)))
    library = tmp_path / "library" / "below"
    library.mkdir(parents=True)
    lstm(library / "a_clean.json", gain=0.01)
    lstm(library / "b_loud.json", gain=300)
    (library / "c_notes.txt").write_text("not a model")
    (library / ".hidden").write_text("not looked at")
    lstm(library / "d_silent.json").write_text((library / "a_clean.json").read_text().replace('"skip": 1', '"skip": 2'))
    files = ["--csv", tmp_path / "t.csv", "--json", tmp_path / "r.json"]
    code, out, err = typed(survey, library.parent, library / "b_loud.json", "--quick", *files)
    assert code == 0, err
    record = json.loads((tmp_path / "r.json").read_text())
    ranking = [(entry["rank"], Path(entry["path"]).name) for entry in record["models"]]
    assert ranking == [(1, "b_loud.json"), (2, "a_clean.json")]
    loud, clean = record["models"]
    assert loud["NMR-S"] > clean["NMR-S"] + 20
    assert loud["worst_NMR-S"] >= loud["NMR-S"]
    assert 96 <= 69 + 12 * np.log2(loud["worst_f0_hz"] / 440) <= 99
    assert loud["audible_share"] == 1
    assert [Path(entry["path"]).name for entry in record["left_out"]] == ["c_notes.txt", "d_silent.json"]
    assert all(entry["reason"] in err for entry in record["left_out"])
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [entry["path"] for entry in record["models"]]
    assert float(rows[0]["NMR-S"]) == loud["NMR-S"]
    assert out.index("b_loud") < out.index("a_clean")


def test_one_file_that_fails_does_not_end_a_survey(tmp_path, typed, monkeypatch):
    """Whatever it fails with: its reason has its name in front, and says where the fault is not the file's."""
    monkeypatch.setattr(survey, "QUICK", evaluation.SineSet((96, 97), (-6.0,)))
    measured = survey.measure_network

    def measure_network(file, *rest):
        faults = {"b": ValueError("axes must have the same shape"), "c": RuntimeError("out of\nmemory")}
        if file.path.stem in faults:
            raise faults[file.path.stem]
        return measured(file, *rest)

    monkeypatch.setattr(survey, "measure_network", measure_network)
    for name in "abc":
        lstm(tmp_path / f"{name}.json", gain=300)
    code, _, err = typed(survey, tmp_path, "--quick", "--quiet", "--json", tmp_path / "r.json")
    assert code == 0, err
    record = json.loads((tmp_path / "r.json").read_text())
    assert [entry["reason"] for entry in record["left_out"]] == [
        f"{tmp_path / 'b.json'}: axes must have the same shape",
        f"{tmp_path / 'c.json'}: failed inside, with RuntimeError: out of memory",
    ]


def test_survey_says_which_rates_are_assumed_and_takes_the_users_word_for_those(tmp_path, typed, monkeypatch):
    monkeypatch.setattr(survey, "QUICK", evaluation.SineSet((60, 61), (-6.0,)))
    says, silent = wavenet(tmp_path / "a.nam"), lstm(tmp_path / "b.json", gain=300)
    code, _, err = typed(survey, says, silent, "--quick", "--quiet", "--json", tmp_path / "r.json")
    assert code == 0, err
    assert "1 of 2 models: sample_rate: not in the file; 44100 Hz is assumed" in err
    rows = {Path(entry["path"]).name: entry for entry in json.loads((tmp_path / "r.json").read_text())["models"]}
    assert (rows["a.nam"]["notes"], rows["b.json"]["sample_rate"]) == ({}, 44_100)
    assert "44100 Hz is assumed" in rows["b.json"]["notes"]["sample_rate"]
    few = ["--quick", "--quiet", "--sample-rate", 32_000, "--json", tmp_path / "r.json"]
    code, _, err = typed(survey, says, silent, *few)
    assert code == 0, err
    rows = {Path(entry["path"]).name: entry for entry in json.loads((tmp_path / "r.json").read_text())["models"]}
    assert (rows["a.nam"]["sample_rate"], rows["b.json"]["sample_rate"]) == (48_000, 32_000)
    assert "32000 Hz as given" in rows["b.json"]["notes"]["sample_rate"]


def test_survey_of_nothing_readable_is_bad_input(tmp_path, typed):
    (tmp_path / "notes.txt").write_text("not a model")
    code, _, err = typed(survey, tmp_path, "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    assert "notes.txt" in err
    assert "none of 1 files could be measured" in err
    code, _, err = typed(survey, tmp_path / "none", "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    assert "there is none of this name" in err
