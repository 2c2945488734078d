"""Conversion between SimpleRNN and RTNeural JSON: lossless, or refused with the reason."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rnn_documents import rtneural, simple_rnn
from test_weights_import import changed, load, play

import weights_import
from jaxalias.commands import command_line, convert

X = np.random.default_rng(1).normal(0, 0.5, 50)
AT_44100 = {"samplerate": 44100}


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["convert.py", *map(str, arguments)])
    command_line.run(convert.main)


def put(path: Path, document: dict) -> Path:
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize(
    ("document", "knobs"),
    [
        (simple_rnn(hidden=40, inputs=2), (0.3,)),
        (simple_rnn(hidden=20), ()),
        (simple_rnn("GRU", hidden=8, inputs=3, skip=0), (0.3, 0.8)),
        ({**rtneural(hidden=20, inputs=3, in_skip=1, in_gain=0.0), "metadata": {**AT_44100, "esr": 0.1}}, (0.1, 1.0)),
    ],
    ids=["proteus knob", "neuralpi", "gru", "aida-x"],
)  # fmt: skip
def test_sounds_the_same_and_comes_back(tmp_path, monkeypatch, capsys, document: dict, knobs: tuple) -> None:
    source, there = put(tmp_path / "source.json", document), tmp_path / "there.json"
    monkeypatch.setattr(convert, "SAMPLES", 500)
    run(monkeypatch, "--model", source, "--output", there, "--json", tmp_path / "record.json")
    before, after = weights_import.load(source), weights_import.load(there)
    assert {before.format, after.format} == {"guitarml", "rtneural"}
    assert after.sample_rate == before.sample_rate == 44_100
    np.testing.assert_allclose(play(after, X, knobs), play(before, X, knobs), rtol=0, atol=1e-13)
    written = json.loads(there.read_text())
    assert written["metadata"].items() >= document.get("metadata", {"name": "source"}).items()
    error_db = json.loads((tmp_path / "record.json").read_text())["error_db"]
    assert error_db is None or error_db < convert.LIMIT_DB
    assert "it plays what" in capsys.readouterr().out
    if after.network.config.kind == "gru":  # no player of SimpleRNN files has one
        return
    run(monkeypatch, "--model", there, "--output", tmp_path / "back.json")
    back = weights_import.load(tmp_path / "back.json")
    assert back.format == before.format
    np.testing.assert_allclose(play(back, X, knobs), play(before, X, knobs), rtol=0, atol=1e-13)


def test_a_file_without_biases_gets_zeros(tmp_path: Path) -> None:
    document = changed("model_data", "bias_fl", to=False)(simple_rnn("GRU", hidden=8))
    for name in ("rec.bias_ih_l0", "rec.bias_hh_l0", "lin.bias"):
        del document["state_dict"][name]
    source = load(tmp_path, document)
    assert source.network.config.bias_vectors == 0
    np.testing.assert_allclose(play(weights_import.converted(source), X), play(source, X), rtol=0, atol=1e-13)


def amp(**top: Any) -> dict:
    """An RTNeural file that Proteus could play."""
    return {**rtneural(hidden=40, **{"in_skip": 1, **top}), "metadata": AT_44100}


REFUSED = [
    (simple_rnn(hidden=10), ["hidden_size", "AIDA-X", "10"]),
    (simple_rnn(hidden=8, layers=2), ["num_layers", "AIDA-X", "2"]),
    ({**rtneural("gru", hidden=40, in_skip=1), "metadata": AT_44100}, ["unit_type", "LSTM", "GRU"]),
    ({**rtneural(hidden=12, in_skip=1), "metadata": AT_44100}, ["hidden_size", "Proteus", "12"]),
    ({**rtneural(hidden=20, layers=2, in_skip=1), "metadata": AT_44100}, ["num_layers", "2"]),
    (amp(inputs=3), ["input_size", "Proteus", "3"]),
    (amp(in_skip=0), ["skip", "always add", "0"]),
    (amp(in_gain=6), ["input_gain", "no gains", "1.99"]),
    (amp(out_gain=-6), ["output_gain", "no gains", "0.501"]),
    (rtneural(hidden=40, in_skip=1), ["sample_rate", "44100", "48000"]),
]


@pytest.mark.parametrize(("document", "words"), REFUSED)
def test_what_would_be_lost_is_refused(tmp_path, monkeypatch, capsys, document: dict, words: list) -> None:
    source = put(tmp_path / "source.json", document)
    with pytest.raises(SystemExit, match="2"):
        run(monkeypatch, "--model", source, "--output", tmp_path / "out.json")
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert [word for word in ["source.json", *words] if word not in line] == [], line
    assert not (tmp_path / "out.json").exists()


def test_other_formats_and_the_model_itself_are_refused(tmp_path, monkeypatch, capsys) -> None:
    from model_files import wavenet

    nam, own = wavenet(tmp_path / "a.nam"), put(tmp_path / "own.json", simple_rnn(hidden=8))
    for model, output, words in ((nam, tmp_path / "b", "SimpleRNN or RTNeural"), (own, own, "is the model itself")):
        with pytest.raises(SystemExit, match="2"):
            run(monkeypatch, "--model", model, "--output", output)
        assert words in capsys.readouterr().err


def test_real_models_convert_and_come_back(data_dir: Path) -> None:
    """Parameters of a capture without a knob and of one with it: the sum of the biases is all that is left of them."""
    for name in ("MesaMiniRec_HighGain_DirectOut", "Barber_GC_GainKnob"):
        source = weights_import.load(data_dir / "models" / "guitarml" / f"{name}.json")
        there = weights_import.converted(source)
        back = weights_import.converted(there)
        knobs = (0.4,) * (source.network.config.input_size - 1)
        for file in (there, back):
            np.testing.assert_allclose(play(file, X, knobs), play(source, X, knobs), rtol=0, atol=1e-13)
        assert np.array_equal(
            back.network.params["bias_ih_l0"], source.network.params["bias_ih_l0"] + source.network.params["bias_hh_l0"]
        )
