"""RTNeural JSON: played as PyTorch plays the same weights, its own test kept true, refusals by key and value."""

import copy
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from rnn_documents import rtneural
from test_weights_import import changed, load, play

import weights_import
from weights_import import ModelFileError

X = np.random.default_rng(1).normal(0, 0.5, 40)
KNOBS = (0.2, 0.9)
CLOSE = 1e-12


def keras(document: dict, x: np.ndarray) -> np.ndarray:
    """A file by Keras's definition, sample by sample: x W + h U + b, gates i f c o, or z r h with reset_after."""
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    amplitude = {key: 10 ** (document.get(key, 0) / 20) for key in ("in_gain", "out_gain")}
    *stack, dense = document["layers"]
    states = [[np.zeros(layer["shape"][-1])] * 2 for layer in stack]
    y = []
    for sample in amplitude["in_gain"] * x:
        heard = np.array([sample, *KNOBS[: document["in_shape"][-1] - 1]])
        for layer, state in zip(stack, states, strict=True):
            w, u, b = (np.array(a) for a in layer["weights"])
            hidden, cell = state
            if layer["type"] == "lstm":
                i, f, c, o = np.split(heard @ w + hidden @ u + b, 4)
                cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
                hidden = sigmoid(o) * np.tanh(cell)
            else:
                (xz, xr, xh), (hz, hr, hh) = np.split(heard @ w + b[0], 3), np.split(hidden @ u + b[1], 3)
                z = sigmoid(xz + hz)
                hidden = z * hidden + (1 - z) * np.tanh(xh + sigmoid(xr + hr) * hh)
            heard, state[:] = hidden, [hidden, cell]
        out = heard @ np.array(dense["weights"][0])[:, 0] + dense["weights"][1][0]
        y.append(out + document.get("in_skip", 0) * sample)
    return amplitude["out_gain"] * np.array(y)


DOCUMENTS = {
    "lstm": rtneural(),
    "gru": rtneural("gru", in_skip=1),
    "stacked lstm with knobs": rtneural(inputs=3, layers=2, in_skip=1, in_gain=6.0, out_gain=-9.5),
    "stacked gru with a knob": rtneural("gru", inputs=2, layers=2, in_gain=-3, in_skip=0),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_plays_as_keras_defines_it(tmp_path: Path, name: str) -> None:
    document = DOCUMENTS[name]
    loaded = load(tmp_path, document)
    assert loaded.sample_rate == 48_000
    knobs = KNOBS[: document["in_shape"][-1] - 1]
    np.testing.assert_allclose(play(loaded, X, knobs), keras(document, X), rtol=0, atol=CLOSE)


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_is_pytorchs_layer_transposed(tmp_path: Path, kind: str) -> None:
    """Weights of PyTorch's own module through the documented mapping of the trainer's exporter."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: the format is compared with NumPy only")
    torch.manual_seed(0)
    net = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](2, 5, batch_first=True).double()
    head = torch.nn.Linear(5, 1).double()
    w, u, b, c = (p.detach().numpy() for p in net.parameters())
    if kind == "gru":
        w, u, b, c = (np.concatenate([a[5:10], a[:5], a[10:]]) for a in (w, u, b, c))
    document = rtneural(kind, inputs=2, hidden=5, in_skip=1)
    document["layers"][0]["weights"] = [
        w.T.tolist(),
        u.T.tolist(),
        (b + c if kind == "lstm" else np.stack([b, c])).tolist(),
    ]
    document["layers"][1]["weights"] = [head.weight.detach().T.tolist(), head.bias.detach().tolist()]
    heard = torch.tensor(np.stack([X, np.full_like(X, 0.7)], axis=1))[None]
    wanted = head(net(heard)[0])[0, :, 0].detach().numpy() + X
    np.testing.assert_allclose(play(load(tmp_path, document), X, (0.7,)), wanted, rtol=0, atol=CLOSE)


def test_rate_of_the_file(tmp_path: Path) -> None:
    for metadata, top, rate in (
        ({"samplerate": 44100}, {}, 44100), ({"samplerate": "96000"}, {}, 96000), ({}, {"samplerate": 32000.0}, 32000),
        ({"samplerate": None}, {}, 48000), ({}, {}, 48000), (None, {}, 48000),
    ):  # fmt: skip
        assert load(tmp_path, {**rtneural(), **top, "metadata": metadata}).sample_rate == rate


def with_test(document: dict) -> dict:
    """A document with a test of its own, the answer by Keras's definition."""
    moving = 0.3 * np.random.default_rng(2).normal(size=60)
    knobs = KNOBS[: document["in_shape"][-1] - 1]
    rows = np.column_stack([moving, *(np.full_like(moving, knob) for knob in knobs)]) if knobs else moving
    return {**document, "input_batch": rows.tolist(), "output_batch": keras(document, moving).tolist()}


@pytest.mark.parametrize("name", ["gru", "stacked lstm with knobs"])
def test_the_files_own_test_is_played_and_a_students_written(tmp_path: Path, name: str) -> None:
    document = with_test(DOCUMENTS[name])
    loaded = load(tmp_path, document)
    student = jax.tree.map(lambda array: array + 0.01, loaded.network.params)
    weights_import.save(tmp_path / "student", weights_import.fine_tuned(loaded, [student], {"updates": 3}))
    written = json.loads((tmp_path / "student").read_text())
    weights_import.load(tmp_path / "student")
    assert list(written) == list(document)
    assert written["metadata"]["training"] == {"jaxalias": {"updates": 3}}
    moving = np.array(document["input_batch"]).reshape(60, -1)[:, 0]
    np.testing.assert_allclose(written["output_batch"], keras(written, moving), rtol=0, atol=1e-5)
    assert np.max(np.abs(np.subtract(written["output_batch"], document["output_batch"]))) > 1e-3
    for answer in (document["output_batch"], []):
        with pytest.raises(ModelFileError, match="output_batch: must be"):
            load(tmp_path, {**written, "output_batch": answer})


def test_shipped_files_pass_their_own_test_and_return_byte_for_byte(data_dir: Path, tmp_path: Path) -> None:
    """With one weight off by 0.1 they do not."""
    for path in sorted((data_dir / "models" / "rtneural").glob("*.json")):
        loaded = weights_import.load(path)
        weights_import.save(tmp_path / "copy", loaded)
        assert (tmp_path / "copy").read_bytes() == path.read_bytes()
        worse = copy.deepcopy(loaded.document)
        worse["layers"][0]["weights"][1][0][0] += 0.1
        with pytest.raises(ModelFileError, match="output_batch: must be what the model answers"):
            load(tmp_path, worse)


LSTM, DENSE = ("layers", 0), ("layers", 1)
REFUSALS = [
    (changed("in_shape", to=1), ["in_shape", "1"]),
    (changed("in_shape", to=[None, None, 4]), ["in_shape.2", "4"]),
    (changed("in_shape", to=[None, None, True]), ["in_shape.2", "true"]),
    (changed("in_skip", to=2), ["in_skip", "2"]),
    (changed("in_gain", to=1e9), ["in_gain", "100", "1000000000"]),
    (changed("out_gain", to="6"), ["out_gain", "'6'"]),
    (changed("layers", to=[]), ["layers", "dense"]),
    (changed("layers", to={}), ["layers", "list"]),
    (changed(*LSTM, "type", to="conv1d"), ["layers.0.type", "conv1d"]),
    (changed(*LSTM, "activation", to="relu"), ["layers.0.activation", "relu"]),
    (changed(*LSTM, "kernel_size", to=3), ["layers.0.kernel_size", "3"]),
    (changed(*LSTM, "shape", to=[None, None, 10**9]), ["layers.0.weights.0[0]", "(4000000000,)", "(12,)"]),
    (changed(*LSTM, "shape", to=[None, None, 4]), ["layers.0.weights.0[0]", "(16,)"]),
    (changed(*LSTM, "weights", to=[[[0.0]]]), ["layers.0.weights", "3 arrays"]),
    (changed(*LSTM, "weights", 1, 2, to=[0.0]), ["layers.0.weights.1[2]", "(12,)", "(1,)"]),
    (changed(*LSTM, "weights", 1, 2, 3, to="a"), ["layers.0.weights.1[2][3]", "'a'"]),
    (changed(*DENSE, "type", to="prelu"), ["layers.1.type", "prelu"]),
    (changed(*DENSE, "activation", to="tanh"), ["layers.1.activation", "tanh"]),
    (changed(*DENSE, "shape", to=[None, None, 2]), ["layers.1.shape.2", "2"]),
    (changed("metadata", "samplerate", to="fast"), ["metadata.samplerate", "fast"]),
    (changed("metadata", "samplerate", to="1"), ["metadata.samplerate", "got 1"]),
    (changed("metadata", to=[]), ["metadata", "object"]),
    (changed("output_batch", to=[0.0]), ["input_batch", "missing"]),
    (changed("input_batch", to=[0.0]), ["output_batch", "missing"]),
    (lambda document: {**with_test(document), "output_batch": [1e30] * 60}, ["output_batch", "answers"]),
    (lambda document: {**with_test(document), "input_batch": []}, ["input_batch", "got 0"]),
    (lambda document: {**with_test(document), "input_batch": [0.0] * 70_000}, ["input_batch", "70000"]),
    (lambda _: {**(d := with_test(rtneural(inputs=2))), "input_batch": [[0.0, 0.5], *d["input_batch"][1:]]},
     ["input_batch", "knobs"]),
    (lambda _: changed("layers", 1, "type", to="gru")(rtneural(layers=2)), ["layers.1.type", "'lstm'", "'gru'"]),
    (lambda _: changed("layers", 1, "shape", to=[None, None, 4])(rtneural(layers=2)), ["layers.1.shape.2", "3", "4"]),
    (lambda _: changed("layers", 0, "weights", 2, to=[[0.0]])(rtneural("gru")), ["layers.0.weights.2", "2 biases"]),
    (lambda _: {"in_shape": [None, None, 1]}, ["layers", "missing"]),
    (lambda _: {"layers": []}, ["in_shape", "missing; the format requires it"]),
]  # fmt: skip


@pytest.mark.parametrize(("mutate", "words"), REFUSALS)
def test_what_cannot_be_played_is_refused_with_key_and_value(tmp_path: Path, mutate: Any, words: list) -> None:
    with pytest.raises(ModelFileError) as caught:
        load(tmp_path, mutate(rtneural()))
    message = str(caught.value)
    assert message.splitlines() == [message]
    assert [word for word in ["model.bin", *words] if word not in message] == [], message
