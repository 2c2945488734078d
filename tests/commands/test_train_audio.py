"""Fine-tuning on the user's own recordings: what is heard, what is refused, what a run remembers of it."""

import json
import shutil
from pathlib import Path

import little_music
import numpy as np
import pytest
import soundfile
from in_process import EXACT, run_command, run_in_process, with_little_music
from model_files import lstm, wavenet
from rnn_documents import simple_rnn

import weights_import
from jaxalias.commands import fine_tuning, finetune
from jaxalias.commands.errors import BadInputError
from jaxalias.commands.fine_tuning import Audio, Task
from jaxalias.config import SineConfig
from jaxalias.config.presets import balanced, fast
from jaxalias.training import plan, run

RATE, LEAST = 44_100, 52_920  # 0.2 s to settle and 1 s analysed


def recording(path: Path, samples: int = LEAST, rate: int = RATE, seed: int = 0) -> Path:
    x = 0.3 * np.random.default_rng(seed).uniform(-1, 1, samples)
    soundfile.write(path, x, rate, "PCM_16")
    return path


def asked(monkeypatch, *arguments: object):
    monkeypatch.setattr("sys.argv", ["finetune.py", *map(str, arguments)])
    return finetune.parse_arguments()


def test_recordings_are_joined_at_the_models_rate_and_known_by_their_samples(tmp_path):
    line, riff = recording(tmp_path / "line.flac", seed=1), recording(tmp_path / "riff.wav", 2 * RATE, 2 * RATE)
    with pytest.raises(BadInputError, match=r"riff.wav: must hold at least 52920 samples .* got 44100"):
        fine_tuning.read_audio([riff], RATE, SineConfig())
    riff = recording(tmp_path / "riff.wav", 2 * LEAST, 2 * RATE)
    both = fine_tuning.read_audio([line, riff], RATE, SineConfig())
    assert both.samples.shape == (2 * LEAST,)
    np.testing.assert_array_equal(both.samples[:LEAST], soundfile.read(line)[0])
    renamed = fine_tuning.read_audio([line.rename(tmp_path / "other"), riff], RATE, SineConfig())
    assert renamed.sha256 == both.sha256
    assert fine_tuning.read_audio([riff, tmp_path / "other"], RATE, SineConfig()).sha256 != both.sha256


def test_a_run_is_given_the_recording_or_without_one_the_projects_signal(tmp_path, monkeypatch):
    source = weights_import.load(lstm(tmp_path / "amp.json", 20.0))
    network, x = source.network, np.random.default_rng(1).uniform(-0.5, 0.5, LEAST)
    given: list[plan.Task] = []
    monkeypatch.setattr(run, "prepare", lambda model, tasks, *rest: given.extend(tasks))
    with_little_music(monkeypatch)
    task = Task("amp", network, network, balanced(network.config), "", tmp_path)
    fine_tuning.prepare([task._replace(audio=Audio((), x, "")), task])
    recorded, made = (found.music for found in given)
    assert recorded.keys() == made.keys() >= {"music", "starts"}
    for name in recorded:
        if name != "high_playing":  # that is what it is
            np.testing.assert_array_equal(recorded[name].training.x, x)
        assert made[name].training.x.shape == (2 * RATE,)
        np.testing.assert_array_equal(recorded[name].held_out.x, made[name].held_out.x)


def test_a_batch_has_a_row_of_recordings_for_every_five_tones_or_what_the_preset_has(tmp_path, monkeypatch):
    network = weights_import.load(lstm(tmp_path / "amp.json")).network
    given, own = ("--train-audio", "riff.wav"), fast(network.config).music
    assert own is not None
    for arguments, rows in (
        ((), own.rows), (given, own.rows), ((*given, "--batch-size", 5 * own.rows + 10), own.rows + 2),
        ((*given, "--batch-size", 2), own.rows), (("--preset", "authors"), None), ((*given, "--preset", "authors"), 8),
        ((*given, "--preset", "authors", "--batch-size", 2), 1),
    ):  # fmt: skip
        music = finetune.resolve_config(asked(monkeypatch, *arguments), network).music
        assert (music and music.rows) == rows


@pytest.mark.slow
def test_models_of_two_rates_hear_one_recording_and_a_run_goes_on_with_no_other(
    tmp_path, monkeypatch, capsys, quick_report
):
    heard = {}
    play_music = little_music.play_music

    def listen(model, params, config, sample_rate, audio=None):
        found = play_music(model, params, config, sample_rate, audio)
        heard[sample_rate] = found["music"].training
        return found

    monkeypatch.setattr(little_music, "play_music", listen)
    amps = lstm(tmp_path / "a.json", 200.0), wavenet(tmp_path / "b.nam")
    riff = recording(tmp_path / "riff.wav", 2 * LEAST)
    arguments = ["--model", *amps, "--run-dir", tmp_path / "runs", *EXACT, "--quiet", "--train-audio"]
    run_in_process(monkeypatch, *arguments, riff)
    assert {rate: len(pair.x) / rate for rate, pair in heard.items()} == pytest.approx({RATE: 2.4, 48_000: 2.4})
    for amp in amps:
        result = json.loads((tmp_path / "runs" / amp.stem / "result.json").read_text())
        assert result["train_audio"] == result["networks"][0]["train_audio"] == [str(riff)]
        assert result["history"][0]["music ESR"] > 0
        student = weights_import.load(result["output"])
        assert student.document["metadata"]["training"]["jaxalias"]["train_audio"] == ["riff.wav"]
    capsys.readouterr()
    other = recording(tmp_path / "other.wav", 2 * LEAST, seed=1)
    assert run_command(monkeypatch, *arguments, other) == 2
    line = capsys.readouterr().err
    assert "this folder holds another run: train_audio_sha256 is" in line
    assert line.count("\n") == 1
    assert run_command(monkeypatch, *arguments[:-1]) == 2
    assert "this folder holds another run: train_audio_sha256 is" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("train", "audio", "words"),
    [
        (["riff.wav", "short.wav"], [], "short.wav: must hold at least 30870 samples at 44100 Hz (0.7 s)"),
        (["silent.wav"], [], "silent.wav: must hold a signal"),
        (["absent.wav"], [], "absent.wav: must be an audio file"),
        (["riff.wav"], ["riff.wav"], "riff.wav: must not be trained on"),
        (["riff.wav"], ["copy.wav"], "copy.wav: must not be trained on"),
    ],
)
def test_a_recording_that_will_not_do_is_one_line_and_exit_2(train, audio, words, tmp_path, monkeypatch, capsys):
    recording(tmp_path / "short.wav", 30_869)
    soundfile.write(tmp_path / "silent.wav", np.zeros(LEAST), RATE)
    shutil.copy(recording(tmp_path / "riff.wav"), tmp_path / "copy.wav")
    arguments = ["--model", lstm(tmp_path / "amp.json"), "--run-dir", tmp_path / "run", *EXACT]
    options = [("--train-audio", train), ("--audio", audio)]
    given = [part for name, files in options if files for part in (name, *(tmp_path / file for file in files))]
    assert run_command(monkeypatch, *arguments, *given) == 2
    line = capsys.readouterr().err
    assert words in line
    assert line.count("\n") == 1
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.slow
def test_a_model_with_knobs_hears_recordings_with_its_knobs_anywhere(tmp_path, monkeypatch, quick_report):
    (tmp_path / "amp.json").write_text(json.dumps(simple_rnn(inputs=2, hidden=4)))
    arguments = ["--model", tmp_path / "amp.json", "--train-audio", recording(tmp_path / "riff.wav")]
    run_in_process(monkeypatch, *arguments, "--run-dir", tmp_path / "run", *EXACT, "--quiet")
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert all(record["music ESR"] > 0 for record in result["history"][1:])
