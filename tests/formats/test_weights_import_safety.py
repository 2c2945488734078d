"""Model files: nothing is lost on the way out, nothing damaged comes in, and what a fine-tuned file says is true."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances
from test_weights_import import guitarml, load, nam_lstm, play, wavenet

import weights_import
from weights_import import ModelFileError, nam_levels

SIGNAL_AT_100 = -0.04573976238184348
DAMAGED = {
    "empty": (b"", "1 to"),
    "not UTF-8": (b'{"architecture": "\xff"}', "UTF-8"),
    "not JSON": (b'{"architecture": ', "JSON"),
    "a list": (b"[1, 2]", "object"),
    "a web page": (b"\n<!DOCTYPE html><html>", "is a web page; download the file itself"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    "compressed": (b"\x1f\x8b\x08\x00", "unpack it"),
    "audio": (b"RIFF\x00\x00\x00\x00WAVEfmt ", "is a WAV file"),
    "a key twice": (b'{"architecture": "LSTM", "architecture": "WaveNet"}', "'architecture'"),
    "infinite": (b'{"architecture": 1e999}', "1e999"),
    "deep": (b'{"architecture":' + b"[" * 100 + b"]" * 100 + b"}", "deeper than 64"),
    "too deep to parse": (b'{"architecture":' * 100_000, "deeper than 64"),
    "digits": (b'{"architecture": ' + b"9" * 5000 + b"}", "JSON"),
    "a line break in a key": (b'{"architecture": "LSTM", "version": "a\\nb\\u2028"}', r"\n"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, name: str) -> None:
    data, word = DAMAGED[name]
    (tmp_path / "x.nam").write_bytes(data)
    with pytest.raises(ModelFileError) as caught:
        weights_import.load(tmp_path / "x.nam")
    assert len(str(caught.value).splitlines()) == 1
    assert "x.nam" in str(caught.value)
    assert word in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "huge.nam").open("wb") as file:
        file.truncate(2**40)  # a hole: takes no room on the disk, and must not be read
    for path, word in [
        (tmp_path, "folder"),
        (tmp_path / "none", "No such"),
        ("/dev/zero", "device"),
        ("huge.nam", "bytes"),
    ]:
        with pytest.raises(ModelFileError, match=word):
            weights_import.load(tmp_path / path)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    loaded = load(tmp_path, wavenet())
    before = (tmp_path / "model.bin").read_bytes()

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(ModelFileError, match=r"model.bin: cannot be written: No space left on device"):
        weights_import.save(tmp_path / "model.bin", loaded)
    assert [path.name for path in tmp_path.iterdir()] == ["model.bin"]
    assert (tmp_path / "model.bin").read_bytes() == before


def test_a_disk_that_alters_what_it_holds_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load(tmp_path, nam_lstm())
    honest = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: honest(path).replace(b"-0.0,", b"0.0,", 1))
    with pytest.raises(ModelFileError, match="read back"):
        weights_import.save(tmp_path / "other", loaded)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("target", ["none/x.nam", "", "."])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, target: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        weights_import.save(tmp_path / target, load(tmp_path, wavenet()))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("spoil", [lambda a: a[None], lambda a: a * np.nan, lambda a: a + 1e39])
def test_parameters_that_do_not_fit_are_refused(tmp_path: Path, spoil: Any) -> None:
    loaded = load(tmp_path, guitarml())
    params = {**loaded.network.params, "head_weight": spoil(loaded.network.params["head_weight"])}
    spoilt = dataclasses.replace(loaded, networks=(loaded.network._replace(params=params),))
    for action in (
        lambda: weights_import.fine_tuned(loaded, [params], {}),
        lambda: weights_import.save(tmp_path / "x", spoilt),
    ):
        with pytest.raises(ModelFileError, match=r"params\.head_weight"):
            action()
    without = {key: value for key, value in loaded.network.params.items() if key != "head_bias"}
    with pytest.raises(ModelFileError, match=r"params\.head_bias: missing"):
        weights_import.fine_tuned(loaded, [without], {})


def test_a_fine_tuned_file_keeps_the_rest_and_says_what_was_done(tmp_path: Path) -> None:
    for document in (nam_lstm(), wavenet(), guitarml()):
        loaded = load(tmp_path, document)
        student = jax.tree.map(lambda array: jnp.asarray(array) + 0.1, loaded.network.params)
        weights_import.save(tmp_path / "out", weights_import.fine_tuned(loaded, [student], {"updates": 7}))
        written, again = json.loads((tmp_path / "out").read_text()), weights_import.load(tmp_path / "out")
        note = written["metadata"]["training"].pop("jaxalias")
        assumed = {"sample_rate"} if "sample_rate" not in document else set()
        levels = {"loudness", "gain"} & set(document.get("metadata", {}))
        assert set(note.pop("notes", {})) == assumed | levels
        assert note == {"updates": 7}
        expected = document.get("metadata", {})
        assert written["metadata"]["training"] == expected.get("training", {})
        assert [key for key in written if key != "metadata"] == [key for key in document if key != "metadata"]
        assert all(np.array_equal(a, np.float32(a)) for a in jax.tree.leaves(again.network.params))
        kept = [key for key in student if not key.startswith("initial_")]
        pairs = ([again.network.params[k], student[k]] for k in kept)
        for a, b in (map(jax.tree.leaves, pair) for pair in pairs):
            assert all(np.allclose(x, y, rtol=1e-7) for x, y in zip(a, b, strict=True))


def test_a_fine_tuned_nam_lstm_starts_settled(tmp_path: Path) -> None:
    """What it stores is where silence leaves it: more silence changes nothing. A model kept as it was keeps its own."""
    loaded = load(tmp_path, nam_lstm())
    silence = np.zeros(200)
    assert np.ptp(play(loaded, silence)) > 1e-3  # the random state of the document is another
    student = jax.tree.map(lambda array: array + 0.01, loaded.network.params)
    assert np.ptp(play(weights_import.fine_tuned(loaded, [student], {}), silence)) < 1e-6
    kept = weights_import.fine_tuned(loaded, [loaded.network.params], {})
    assert kept.document["weights"] == np.float32(loaded.document["weights"]).tolist()


def test_loudness_and_gain_follow_the_student(tmp_path: Path) -> None:
    """A student twice as loud is 6.02 dB louder and as compressed; the file says how that was found."""
    document = {**wavenet(), "metadata": {"loudness": -17.0, "gain": 0.25, "name": None}}
    loaded = load(tmp_path, document)
    last = jax.tree.map(lambda array: 2 * array, loaded.network.params["array_2"]["head_rechannel"])
    params = loaded.network.params
    student = {**params, "array_2": {**params["array_2"], "head_rechannel": last}}
    metadata = weights_import.fine_tuned(loaded, [student], {}).document["metadata"]
    assert metadata["loudness"] == pytest.approx(-17.0 + 20 * np.log10(2), abs=1e-5)
    assert metadata["gain"] == pytest.approx(0.25, abs=1e-5)
    notes = metadata["training"]["jaxalias"]["notes"]
    assert all("pink noise" in notes[key] for key in ("loudness", "gain"))


def test_levels_are_those_of_nams_definition(tmp_path: Path) -> None:
    """loudness = 20 log10 rms(f(x)); gain from the rms of 11 input levels."""
    loaded = load(tmp_path, wavenet())
    signal = nam_levels.level_signal(8_000)
    rms = np.sqrt(np.mean(play(loaded, np.linspace(0, 1, 11)[:, None] * signal) ** 2, axis=1))
    expected = (20 * np.log10(rms[-1]), np.clip((sum(rms) - 5.5 * rms[-1]) / (5.5 * rms[-1]), 0, 1))
    assert nam_levels.measure(loaded.network, signal) == pytest.approx(expected, abs=1e-4)


def test_the_signal_of_the_levels_is_one_and_the_same() -> None:
    """Pink, at the level of NAM's; whoever changes it changes what files are said to be measured on."""
    signal = nam_levels.level_signal(48_000)
    assert 20 * np.log10(np.sqrt(np.mean(signal**2))) == pytest.approx(-14.968, abs=1e-6)
    octaves = [np.sum(np.abs(np.fft.rfft(signal))[low : 2 * low] ** 2) for low in (100, 400, 1600, 6400)]
    assert 10 * np.log10(np.max(octaves) / np.min(octaves)) < 1.5
    assert float(signal[100]) == pytest.approx(SIGNAL_AT_100, abs=1e-9)


@pytest.mark.parametrize("name", ["BossLSTM-1x16", "BossWN-a2", "core_A2"])
def test_levels_are_near_those_that_nams_trainer_stored(data_dir: Path, name: str) -> None:
    loaded = weights_import.load(data_dir / f"models/nam/{name}.nam")
    found = nam_levels.measure(loaded.network, nam_levels.level_signal(loaded.sample_rate))
    stored = loaded.document["metadata"]
    assert found.loudness == pytest.approx(stored["loudness"], abs=tolerances.LEVELS_DB)
    assert found.gain == pytest.approx(stored["gain"], abs=0.03)


def test_the_step_to_a_student_is_that_of_nams_signal(data_dir: Path) -> None:
    """The published student's loudness is within 0.1 dB of what its trainer measured."""
    teacher, student = (
        weights_import.load(data_dir / "models" / name)
        for name in ("nam/broadcast_tcn_teacher.nam", "published_students/broadcast_tcn_student.nam")
    )
    moved, _ = nam_levels.corrected(teacher.document["metadata"], teacher.network, student.network)
    assert moved["loudness"] == pytest.approx(student.document["metadata"]["loudness"], abs=0.1)
