"""The sample rate of a model: what the file says is honoured, what is assumed is said, and the user may say it."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from model_files import lstm
from nam_documents import ALL
from rnn_documents import rtneural, simple_rnn
from test_weights_import import load

import weights_import
from jaxalias.commands import command_line, convert, render
from weights_import import ModelFileError

STATED: dict[str, tuple[dict, int]] = {
    "SimpleRNN, metadata.samplerate": ({**simple_rnn(), "metadata": {"samplerate": 48_000}}, 48_000),
    "SimpleRNN, metadata.sample_rate": ({**simple_rnn(), "metadata": {"sample_rate": 48_000.0}}, 48_000),
    "SimpleRNN, sampleRate": ({**simple_rnn(), "sampleRate": 96_000}, 96_000),
    "SimpleRNN, model_data": (
        simple_rnn() | {"model_data": {**simple_rnn()["model_data"], "Sample Rate": 48_000}}, 48_000
    ),
    "RTNeural, number": ({**rtneural(), "metadata": {"samplerate": 44_100}}, 44_100),
    "RTNeural, at the top": ({**rtneural(), "metadata": {}, "samplerate": 44_100}, 44_100),
    "NAM": ({**ALL["legacy"], "sample_rate": 44_100}, 44_100),
    "NAM, metadata": (
        {key: value for key, value in ALL["legacy"].items() if key != "sample_rate"}
        | {"metadata": {"sample_rate": 96_000}}, 96_000
    ),
}  # fmt: skip
ASSUMED = {
    "SimpleRNN": (simple_rnn(), 44_100),
    "SimpleRNN, null": ({**simple_rnn(), "metadata": {"samplerate": None}}, 44_100),
    "RTNeural": ({**rtneural(), "metadata": {"name": "x"}}, 48_000),
    "NAM": ({key: value for key, value in ALL["legacy"].items() if key != "sample_rate"}, 48_000),
}


@pytest.mark.parametrize("name", STATED)
def test_what_a_file_says_is_honoured(tmp_path: Path, name: str) -> None:
    document, hz = STATED[name]
    assert load(tmp_path, document).network.rate == (hz, "file", "")


@pytest.mark.parametrize("name", ASSUMED)
def test_what_is_assumed_is_said_and_the_user_may_say_it(tmp_path: Path, name: str) -> None:
    document, hz = ASSUMED[name]
    file = load(tmp_path, document)
    assert (file.sample_rate, file.network.rate.source) == (hz, "assumed")
    assert f"not in the file; {hz} Hz is assumed" in file.notes["sample_rate"]
    given = weights_import.at_rate(file, 96_000)
    assert (given.sample_rate, given.network.rate.source) == (96_000, "user")
    assert "96000 Hz as given" in given.notes["sample_rate"]
    tuned = weights_import.fine_tuned(given, [given.network.params], {"seed": 1})
    assert "96000 Hz" in tuned.document["metadata"]["training"]["jaxalias"]["notes"]["sample_rate"]


@pytest.mark.parametrize("text", ["44100", " 44100 ", "44100.0", "44100 Hz", "44.1 kHz", "44.1k"])
def test_text_counts_for_the_number_in_it_with_a_note(tmp_path: Path, text: str) -> None:
    rate = load(tmp_path, {**rtneural(), "metadata": {"samplerate": text}}).network.rate
    assert (rate.hz, rate.source) == (44_100, "file")
    assert "metadata.samplerate is text" in rate.note
    assert "48000 Hz in its place" in rate.note  # in the player, which takes numbers only


def test_two_rates_are_said(tmp_path: Path) -> None:
    document = {**rtneural(), "metadata": {"samplerate": 48_000}, "samplerate": 44_100}
    rate = load(tmp_path, document).network.rate
    assert rate.hz == 48_000
    assert "metadata.samplerate says 48000 Hz and counts, samplerate says 44100" in rate.note


@pytest.mark.parametrize("value", ["fast", "", "48", "44.1 Hz", True, 100, 1e9, 44_100.5, [48_000]])
def test_no_rate_is_refused_with_its_place(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ModelFileError, match=r"metadata\.samplerate: must be a whole number of Hz.*text editor"):
        load(tmp_path, {**simple_rnn(), "metadata": {"samplerate": value}})


def test_the_user_does_not_overrule_the_file(tmp_path: Path) -> None:
    file = load(tmp_path, STATED["RTNeural, number"][0])
    assert weights_import.at_rate(file, 44_100).network.rate.source == "file"
    with pytest.raises(ModelFileError, match=r"model.bin: sample_rate: the file says 44100 Hz.*leave the option out"):
        weights_import.at_rate(file, 48_000)


def run(monkeypatch: pytest.MonkeyPatch, command: Any, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["command.py", *map(str, arguments)])
    command_line.run(command.main)


def put(path: Path, document: dict) -> Path:
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("metadata", "options", "written", "source"),
    [
        ({"samplerate": 48_000}, [], {"samplerate": 48_000}, "file"),
        ({"Sample rate": "48000"}, [], {"samplerate": 48_000}, "file"),
        ({}, ["--sample-rate", 48_000], {"samplerate": 48_000}, "file"),
        ({}, [], {"samplerate": 44_100}, "assumed"),
    ],
)
def test_a_converted_file_says_what_is_known_and_what_is_assumed(
    tmp_path, monkeypatch, metadata: dict, options: list, written: dict, source: str
) -> None:
    monkeypatch.setattr(convert, "SAMPLES", 300)
    model = put(tmp_path / "amp.json", {**simple_rnn(hidden=8), "metadata": {**metadata, "name": "amp"}})
    files = ["--model", model, "--output", tmp_path / "out.json", "--json", tmp_path / "r.json"]
    run(monkeypatch, convert, *files, *options)
    found = json.loads((tmp_path / "out.json").read_text())["metadata"]
    assert found.pop("training") == {"jaxalias": {"converted_from": "amp.json"}}
    assert ("samplerate_assumed" in found) == (source == "assumed")
    assert {key: value for key, value in found.items() if key != "samplerate_assumed"} == {"name": "amp", **written}
    again = weights_import.load(tmp_path / "out.json")
    assert (again.sample_rate, again.network.rate.source) == (written["samplerate"], source)
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["sample_rate"] == written["samplerate"]
    assert ("sample_rate" in record["notes"]) == (metadata != {"samplerate": 48_000})


def test_a_command_says_what_it_assumes_and_takes_the_users_word(tmp_path, monkeypatch, capsys) -> None:
    import soundfile

    model = lstm(tmp_path / "amp.json")
    soundfile.write(tmp_path / "in.wav", [0.1] * 1000, 48_000)
    files = ["--model", model, "--input", tmp_path / "in.wav", "--output", tmp_path / "out.wav"]
    run(monkeypatch, render, *files, "--json", tmp_path / "r.json", "--quiet")
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["model_sample_rate"] == 44_100
    assert f"amp.json: sample_rate: {record['notes']['sample_rate']}" in capsys.readouterr().err
    run(monkeypatch, render, *files, "--json", tmp_path / "r.json", "--sample-rate", 48_000, "--quiet")
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["model_sample_rate"] == 48_000
    assert "48000 Hz as given by --sample-rate" in record["notes"]["sample_rate"]


@pytest.mark.parametrize("rate", ["100", "1e5", "44.1k"])
def test_a_rate_that_is_none_is_refused(monkeypatch, capsys, rate: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, render, "--model", "a", "--input", "b", "--output", "c", "--sample-rate", rate)
    assert "--sample-rate: must be" in capsys.readouterr().err
