"""Models with knobs as a user meets them: where they stand, what is said about it, what is refused."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from model_files import lstm
from rnn_documents import rtneural, simple_rnn
from test_render_and_survey import music, typed  # noqa: F401

import weights_import
from jaxalias import evaluation, models
from jaxalias.commands import evaluate, measuring, render, survey
from jaxalias.targets import oversampling

FEW = ["--midi", "60", "62", "--levels", "-6", "--quiet"]


@pytest.fixture
def knob_model(tmp_path: Path) -> Path:
    """A SimpleRNN file with one knob, loud enough to alias."""
    document = simple_rnn(inputs=2, hidden=4)
    document["state_dict"]["rec.weight_ih_l0"] = [
        [80 * row[0], row[1]] for row in document["state_dict"]["rec.weight_ih_l0"]
    ]
    (tmp_path / "amp.json").write_text(json.dumps(document))
    return tmp_path / "amp.json"


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("given", [None, 0.9])
def test_render_turns_the_knob(tmp_path, typed, knob_model, factor, given):  # noqa: F811
    sound, out = music(tmp_path / "in.wav"), tmp_path / "out.wav"
    files = ["--model", knob_model, "--input", sound, "--output", out, "--json", tmp_path / "r.json"]
    options = ["--bits", "float", "--precision", "float64", "--oversample", factor]
    code, said, err = typed(render, *files, *options, *([] if given is None else ["--knobs", given]))
    assert code == 0, err
    position = 0.5 if given is None else given
    assert f"knobs of {knob_model}: {position:g}" in said
    assert json.loads((tmp_path / "r.json").read_text())["knobs"] == [position]
    file, (x, _), (y, _) = weights_import.load(knob_model), soundfile.read(sound), soundfile.read(out)
    errors = []
    for knob in (position, 0.1):
        play = evaluation.player(models.build(file.network.config), file.network.params, "float64", (knob,))
        expected = np.asarray(oversampling.oversample(play, factor)(jnp.asarray(x)[None]))[0]
        errors.append(np.sum((y - expected)[1000:-100] ** 2) / np.sum(expected[1000:-100] ** 2))
    assert errors[0] < (1e-10 if factor == 1 else 0.1) * errors[1]  # the two filters part ways above their pass-band


def test_evaluate_says_where_the_knobs_stand(tmp_path, typed, knob_model):  # noqa: F811
    files = ["--teacher", knob_model, "--oversample", 2, "--json", tmp_path / "r.json"]
    code, said, err = typed(evaluate, *files, *FEW, "--knobs", 0.25)
    assert code == 0, err
    native, doubled = json.loads((tmp_path / "r.json").read_text())["models"]
    assert native["knobs"] == doubled["knobs"] == [0.25]
    assert "(knobs 0.25)" in " ".join(said.split())
    assert doubled["metrics"]["NMR-S"] < native["metrics"]["NMR-S"]
    file = weights_import.load(knob_model)
    middle = measuring.candidate_of(file, file.network, "teacher")
    assert middle.knobs == (0.5,)
    metrics = evaluation.evaluate([middle], 44_100, evaluation.SineSet((60, 62), (-6.0,)))["models"][0]["metrics"]
    assert abs(metrics["NMR-S"] - native["metrics"]["NMR-S"]) > 1e-3


def test_survey_takes_models_with_and_without(tmp_path, typed, monkeypatch, knob_model):  # noqa: F811
    monkeypatch.setattr(survey, "QUICK", evaluation.SineSet((96, 97), (-6.0,)))
    lstm(tmp_path / "plain.json", gain=50)
    (tmp_path / "two.json").write_text(json.dumps(rtneural(inputs=3)))
    files = ["--quick", "--quiet", "--json", tmp_path / "r.out", "--csv", tmp_path / "t.csv"]
    code, said, err = typed(survey, tmp_path, *files, "--knobs", 0.75)
    assert code == 0, err
    record = json.loads((tmp_path / "r.out").read_text())
    knobs = {Path(entry["path"]).name: entry["knobs"] for entry in record["models"]}
    assert knobs == {"amp.json": [0.75], "plain.json": []}
    assert "two.json: --knobs must be 2" in err
    assert "0.75" in (tmp_path / "t.csv").read_text()
    assert "(knobs 0.75)" in " ".join(said.split())


def test_wrong_knobs_are_one_line_and_exit_2(tmp_path, typed, knob_model):  # noqa: F811
    plain, sound = lstm(tmp_path / "plain.json"), music(tmp_path / "in.wav")
    out = ["--input", sound, "--output", tmp_path / "out.wav"]
    for command, arguments, words in (
        (
            render,
            ["--model", knob_model, *out, "--knobs", 0.5, 0.5],
            "amp.json: --knobs must be 1, as the model has 1, got 2",
        ),
        (render, ["--model", plain, *out, "--knobs", 0.5], "plain.json: --knobs must be left out"),
        (render, ["--model", knob_model, *out, "--knobs", 1.5], "must be from 0 to 1, got 1.5"),
        (render, ["--model", knob_model, *out, "--knobs", "nan"], "must be from 0 to 1, got nan"),
        (evaluate, ["--teacher", knob_model, *FEW, "--knobs", "loud"], "must be a number, got 'loud'"),
        (evaluate, ["--teacher", knob_model, "--student", plain, *FEW, "--knobs", 0.5], "plain.json: --knobs"),
    ):
        code, _, err = typed(command, *arguments)
        assert (code, err.count("\n")) == (2, 1), err
        assert words in err
    assert not (tmp_path / "out.wav").exists()
