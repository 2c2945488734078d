"""Model files: the same bits back, the same sound as the file's own players, and a clear line for what is refused."""

import copy
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rnn_documents import HIDDEN, rtneural, simple_rnn, weights

import weights_import
from jaxalias import models
from weights_import import ModelFile, ModelFileError, Network

ARRAYS = [
    {"input_size": 1, "condition_size": 1, "head_size": 3, "channels": 4, "kernel_size": 5, "dilations": [1, 3],
     "activation": "Tanh", "gated": True, "head_bias": False},
    {"input_size": 4, "condition_size": 1, "head_size": 2, "channels": 3, "kernel_size": 2, "dilations": [7],
     "activation": "ReLU", "gated": False, "head_bias": True},
    {"input_size": 3, "condition_size": 1, "head_size": 1, "channels": 2, "kernel_size": 1, "dilations": [1, 2],
     "activation": "Tanh", "gated": False, "head_bias": True},
]  # fmt: skip
WAVENET_COUNT = (
    (4 + 2 * (8 * 4 * 5 + 8 + 8 + 16 + 4) + 12)
    + (12 + (3 * 3 * 2 + 3 + 3 + 9 + 3) + 6 + 2)
    + (6 + 2 * (2 * 2 + 2 + 2 + 4 + 2) + 2 + 1)
)  # rechannel, layers (conv, its bias, mix-in, 1x1, its bias), head, its bias
ENOUGH = 6000  # samples of a reference output; the longest receptive field is 4093
LSTM_COUNT = (12 * 4 + 12 + 6) + (12 * 6 + 12 + 6) + 3 + 1


def wavenet() -> dict:
    config = {"layers": copy.deepcopy(ARRAYS), "head": None, "head_scale": 0.02}
    last = float(np.float32(0.02))
    return {"version": "0.5.4", "architecture": "WaveNet", "config": config, "weights": [*weights(WAVENET_COUNT), last]}


def nam_lstm() -> dict:
    config = {"input_size": 1, "hidden_size": HIDDEN, "num_layers": 2}
    metadata = {"name": "Röhre", "loudness": -20.0, "gain": 0.5, "training": {"validation_esr": 0.1}}
    return {"version": "0.5.1", "metadata": metadata, "architecture": "LSTM", "config": config, "notes": ["kept"],
            "weights": weights(LSTM_COUNT), "sample_rate": 44100}  # fmt: skip


def guitarml(skip: int = 1, bias: bool = True, head_bias: bool = True) -> dict:
    data = {"model": "SimpleRNN", "input_size": 1, "skip": skip, "output_size": 1, "unit_type": "LSTM",
            "num_layers": 1, "hidden_size": HIDDEN, "bias_fl": bias}  # fmt: skip
    biases = {"rec.bias_ih_l0": weights(12), "rec.bias_hh_l0": weights(12)} if bias else {}
    head = {"lin.bias": weights(1)} if head_bias else {}
    state = {"rec.weight_ih_l0": weights(12, 1), "rec.weight_hh_l0": weights(12, 3), **biases}
    return {"model_data": data, "state_dict": {**state, "lin.weight": weights(1, 3), **head}}


DOCUMENTS = {
    "wavenet": wavenet(),
    "nam lstm": nam_lstm(),
    "guitarml": guitarml(),
    "guitarml without skip": guitarml(skip=0),
    "guitarml without biases": guitarml(bias=False),
    "simple gru": simple_rnn("GRU"),
    "stacked gru with a knob": simple_rnn("GRU", inputs=2, layers=2, skip=0),
    "lstm with two knobs": simple_rnn(inputs=3),
    "rtneural": rtneural(),
    "rtneural gru": rtneural("gru", inputs=2, layers=2, in_skip=1, in_gain=3.5),
    "guitarml, bias_fl false": {**guitarml(head_bias=False), "model_data": guitarml(bias=False)["model_data"]},
}
TEXTS = {
    "one line": lambda document: json.dumps(document),
    "compact": lambda document: json.dumps(document, separators=(",", ":"), ensure_ascii=False),
    "Windows": lambda document: json.dumps(document, indent=4).replace("\n", "\r\n") + "\r\n",
}


def load(folder: Path, document: dict) -> ModelFile:
    path = folder / "model.bin"
    path.write_text(json.dumps(document), encoding="utf-8")
    return weights_import.load(path)


def play(model_file: ModelFile, x: np.ndarray, knobs: tuple[float, ...] = ()) -> np.ndarray:
    """(t,) or (b, t) from the model's own initial state, in float64."""
    return play_network(model_file.network, x, knobs)


def play_network(network: Network, x: np.ndarray, knobs: tuple[float, ...] = ()) -> np.ndarray:
    model, signals = models.build(network.config), jnp.atleast_2d(x)
    params = models.cast(network.params, np.float64)
    y, _ = model.apply(params, signals, model.initial_state(params, len(signals), np.array(knobs)))
    return np.asarray(y).reshape(x.shape)


def esr_db(y: np.ndarray, reference: np.ndarray) -> float:
    return float(10 * np.log10(np.sum((y - reference) ** 2) / np.sum(reference**2) + 1e-40))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", DOCUMENTS)
def test_saving_gives_back_every_byte(tmp_path: Path, name: str, text: str) -> None:
    source, target = tmp_path / "a.txt", tmp_path / "b"
    source.write_bytes(TEXTS[text](DOCUMENTS[name]).encode())
    loaded = weights_import.load(source)
    weights_import.save(target, loaded)
    assert target.read_bytes() == source.read_bytes()
    config, params = loaded.network.config, loaded.network.params
    expected = jax.eval_shape(models.build(config).init, jax.random.key(0))
    assert jax.tree.map(lambda array: array.shape, params) == jax.tree.map(lambda array: array.shape, expected)


def test_real_files_come_back_byte_for_byte(data_dir: Path, tmp_path: Path) -> None:
    """What cannot be read yet is refused for what it is; all else returns as it was."""
    refused = set()
    for path in sorted((data_dir / "models").glob("*/*")):
        try:
            weights_import.save(tmp_path / "copy", weights_import.load(path))
        except ModelFileError:
            refused.add(path.stem)
        else:
            written, source = (tmp_path / "copy").read_bytes(), path.read_bytes()
            if path.name == "core_slimmable_wavenet.nam":  # laid out by hand, some objects on one line
                written, source = (json.dumps(json.loads(data)) for data in (written, source))
            assert written == source, path.name
    assert not refused


def test_wavenet_matches_a_slow_reading_of_the_flat_list(tmp_path: Path) -> None:
    """Sample by sample in NumPy, taking weights in the documented order."""
    document, x = wavenet(), np.random.default_rng(1).normal(0, 0.5, 60)
    flat = iter(document["weights"])

    def take(*shape: int) -> np.ndarray:
        return np.array([next(flat) for _ in range(int(np.prod(shape)))]).reshape(shape)

    signal, head = x[None], 0.0
    for array in ARRAYS:
        channels, rows = array["channels"], array["channels"] * (2 if array["gated"] else 1)
        signal = take(channels, array["input_size"]) @ signal
        for dilation in array["dilations"]:
            conv, bias = take(rows, channels, array["kernel_size"]), take(rows)
            z = bias[:, None] + take(rows, 1) @ x[None]
            for t in range(x.size):
                for tap in range(array["kernel_size"]):
                    past = t - (array["kernel_size"] - 1 - tap) * dilation
                    # Before the signal every layer's input is what silence makes of it only if it is zero there.
                    z[:, t] += conv[:, :, tap] @ signal[:, past] if past >= 0 else 0
            h = {"Tanh": np.tanh, "ReLU": lambda v: np.maximum(v, 0)}[array["activation"]](z[:channels])
            h = h / (1 + np.exp(-z[channels:])) if array["gated"] else h
            head = head + h
            signal = signal + take(channels, channels) @ h + take(channels)[:, None]
        head = take(array["head_size"], channels) @ head
        head = head + take(array["head_size"])[:, None] if array["head_bias"] else head
    reference = take(1)[0] * head[0]
    assert next(flat, None) is None
    field = models.build(load(tmp_path, document).network.config).receptive_field
    y = play(load(tmp_path, document), x)
    assert esr_db(y[field - 1 :], reference[field - 1 :]) < -250


@pytest.mark.parametrize("name", ["nam lstm", "guitarml", "guitarml without skip", "guitarml without biases"])
def test_lstm_matches_a_slow_reading(tmp_path: Path, name: str) -> None:
    document, x = DOCUMENTS[name], np.random.default_rng(1).normal(0, 0.5, 60)
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    if "state_dict" in document:
        state = {key: np.array(value) for key, value in document["state_dict"].items()}
        bias = state.get("rec.bias_ih_l0", 0) + state.get("rec.bias_hh_l0", 0)
        cells = [(np.hstack([state["rec.weight_ih_l0"], state["rec.weight_hh_l0"]]), bias, np.zeros(3), np.zeros(3))]
        head, offset, skip = state["lin.weight"][0], state["lin.bias"][0], document["model_data"]["skip"]
    else:
        parts = np.split(np.array(document["weights"]), np.cumsum([48, 12, 3, 3, 72, 12, 3, 3, 3]))
        cells = [(parts[i].reshape(12, -1), *parts[i + 1 : i + 4]) for i in (0, 4)]
        head, offset, skip = parts[8], parts[9][0], 0
    reference = []
    for sample in x:
        signal = np.array([sample])
        for index, (weight, bias, hidden, cell) in enumerate(cells):
            i, f, g, o = np.split(weight @ np.concatenate([signal, hidden]) + bias, 4)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            signal = sigmoid(o) * np.tanh(cell)
            cells[index] = (weight, bias, signal, cell)
        reference.append(head @ signal + offset + skip * sample)
    assert esr_db(play(load(tmp_path, document), x), np.array(reference)) < -250


def test_outputs_match_the_neural_amp_modeler_package(data_dir: Path) -> None:
    """WaveNets differ by its head_scale, 0.02, from the last weight, 0.02 as float32, that players take."""
    vectors = np.load(data_dir / "vectors/nam_outputs.npz")
    for name in set(vectors) - {"input_44100", "input_48000", "core_wavenet_a1_standard.nam"}:  # as helga_5150
        loaded = weights_import.load(data_dir / "models/nam" / name)
        limit_db = -250 if loaded.network.config.kind == "lstm" else -150
        x = vectors[f"input_{loaded.sample_rate}"][:ENOUGH]
        assert esr_db(play(loaded, x), vectors[name][:ENOUGH]) < limit_db, name


def test_outputs_match_the_authors_program(data_dir: Path) -> None:
    """Which rounds a file to float32; only the published students hold more digits."""
    vectors = np.load(data_dir / "vectors/lstm_outputs.npz")
    for name in set(vectors) - {"input"}:
        loaded = weights_import.load(data_dir / "models" / f"{name.replace('__', '/')}.json")
        rounded = weights_import.fine_tuned(loaded, [loaded.network.params], {})
        assert esr_db(play(rounded, vectors["input"][:ENOUGH]), vectors[name][:ENOUGH]) < -250, name


def changed(*path: str | int, to: Any) -> Any:
    """A mutation: the document with another value at a place."""

    def mutate(document: dict) -> dict:
        place: Any = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to
        return document

    return mutate


LAYER = ("config", "layers", 0)
REFUSALS = [
    (wavenet, changed("version", to="0.4.9"), ["version", "0.5.0", "0.4.9"]),
    (wavenet, changed("version", to="0.8.0"), ["version", "0.8.0"]),
    (wavenet, changed("version", to="1.5.0"), ["version", "1.5.0"]),
    (wavenet, changed("version", to="0.5.4\n"), ["version"]),
    (wavenet, changed("architecture", to="SlimmableContainer"), ["config.", "submodels"]),
    (wavenet, changed("architecture", to="Sequential"), ["architecture", "must be WaveNet, LSTM", "Sequential"]),
    (wavenet, changed("sample_rate", to=None), ["sample_rate", "null"]),
    (wavenet, changed("sample_rate", to=0), ["sample_rate", "got 0"]),
    (wavenet, changed("sample_rate", to=1e9), ["sample_rate", "1000000000"]),
    (wavenet, changed("sample_rate", to=True), ["sample_rate", "true"]),
    (wavenet, changed("metadata", to=[1]), ["metadata", "object", "[1]"]),
    (wavenet, changed("config", "head", to={"channels": 2}), ["config.head", "channels"]),
    (wavenet, changed("config", "condition_dsp", to={}), ["config.condition_dsp.version: missing"]),
    (wavenet, changed(*LAYER, "bottleneck", to=3), ["weights", "requires"]),
    (wavenet, changed(*LAYER, "slimmable", to={}), ["config.layers.0.slimmable.method"]),
    (wavenet, changed(*LAYER, "activation", to="Softsigmoid"), ["config.layers.0.activation", "Softsigmoid"]),
    (wavenet, changed(*LAYER, "gated", to=1), ["config.layers.0.gated", "true or false", "1"]),
    (wavenet, changed(*LAYER, "channels", to=True), ["config.layers.0.channels", "true"]),
    (wavenet, changed(*LAYER, "channels", to=4.0), ["config.layers.0.channels", "4.0"]),
    (wavenet, changed(*LAYER, "channels", to=5), ["layers[1].input_size", "5"]),
    (wavenet, changed(*LAYER, "condition_size", to=2), ["layers[0].condition_size must be 1", "2"]),
    (wavenet, changed(*LAYER, "kernel_size", to=10**9), ["config.layers", "receptive field"]),
    (wavenet, changed("config", "layers", to=[{**ARRAYS[2], "input_size": 1, "channels": 10**9}]),
     ["config.layers", "most channels", "1000000000"]),
    (wavenet, changed(*LAYER, "dilations", to=[1, 10**12]), ["config.layers", "receptive field", "4000000000"]),
    (wavenet, changed("weights", to=weights(9)), ["weights", "requires", str(WAVENET_COUNT + 1), "9"]),
    (wavenet, changed("weights", 3, to=True), ["weights[3]", "true"]),
    (wavenet, changed("weights", 3, to="1"), ["weights[3]", "'1'"]),
    (wavenet, changed("weights", 3, to=float("nan")), ["finite", "NaN"]),
    (wavenet, changed("weights", 3, to=10**400), ["weights[3]", "float32"]),
    (wavenet, changed("weights", 3, to=1e39), ["weights[3]", "float32", "1e+39"]),
    (nam_lstm, changed("config", "hidden_size", to=10**9), ["weights", str(LSTM_COUNT)]),
    (nam_lstm, changed("config", "num_layers", to=10**9), ["weights", str(LSTM_COUNT)]),
    (nam_lstm, changed("config", "input_size", to=2), ["config.input_size", "2"]),
    (nam_lstm, changed("config", to=None), ["config", "null"]),
    (guitarml, changed("model_data", "unit_type", to="RNN"), ["model_data.unit_type", "LSTM", "GRU", "RNN"]),
    (guitarml, changed("model_data", "unit_type", to="GRU"), ["rec.weight_ih_l0", "(9, 1)", "(12, 1)"]),
    (guitarml, changed("model_data", "input_size", to=4), ["model_data.input_size", "4"]),
    (guitarml, changed("model_data", "input_size", to=2), ["rec.weight_ih_l0", "(2,)", "(1,)"]),
    (guitarml, changed("model_data", "skip", to=2), ["model_data.skip", "2"]),
    (guitarml, changed("model_data", "skip", to=True), ["model_data.skip", "true"]),
    (guitarml, changed("model_data", "hidden_size", to=10**9), ["rec.weight_ih_l0", "(4000000000, 1)", "(12, 1)"]),
    (guitarml, changed("model_data", "num_layers", to=10**9), ["rec.weight_ih_l1", "missing"]),
    (guitarml, changed("state_dict", "rec.weight_hh_l0", 5, to=[0.0] * 4), ["rec.weight_hh_l0[5]", "(3,)", "(4,)"]),
    (guitarml, changed("state_dict", "lin.more", to=[]), ["state_dict.lin.more"]),
    (guitarml, changed("state_dict", to=[]), ["state_dict", "object"]),
    (guitarml, lambda document: {"shape": 1, "weights": []}, ["shape, weights", "not supported"]),
]  # fmt: skip


@pytest.mark.parametrize(("make", "mutate", "words"), REFUSALS)
def test_what_cannot_be_done_is_refused_with_key_and_value(tmp_path: Path, make: Any, mutate: Any, words: Any) -> None:
    with pytest.raises(ModelFileError) as caught:
        load(tmp_path, mutate(make()))
    message = str(caught.value)
    assert message.splitlines() == [message]
    assert [word for word in ["model.bin", *words] if word not in message] == [], message


@pytest.mark.parametrize("key", ["version", "config", "weights"])
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    with pytest.raises(ModelFileError, match=f"model.bin: {key}: missing"):
        load(tmp_path, {name: value for name, value in wavenet().items() if name != key})
