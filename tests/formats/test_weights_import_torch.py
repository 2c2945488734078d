"""PyTorch checkpoints: tensors in and out bit for bit, the sound of PyTorch's own LSTM, clear refusals."""

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_weights_import import ARRAYS, esr_db, load, play, wavenet

import weights_import
from weights_import import ModelFileError

torch = pytest.importorskip("torch")


class SimpleRNN(torch.nn.Module):
    """As in Automated-GuitarAmpModelling."""

    def __init__(self, unit: str, inputs: int, layers: int) -> None:
        super().__init__()
        self.rec = getattr(torch.nn, unit)(inputs, 5, layers, batch_first=True)
        self.lin = torch.nn.Linear(5, 1)

    def forward(self, x: Any) -> Any:
        return self.lin(self.rec(x)[0]) + x[..., :1]


def net(unit: str = "LSTM", inputs: int = 1, layers: int = 2) -> SimpleRNN:
    torch.manual_seed(3)
    return SimpleRNN(unit, inputs, layers).double()


def answer(model: SimpleRNN, x: np.ndarray, knobs: tuple[float, ...]) -> np.ndarray:
    """What PyTorch's layers make of a signal and constant knobs."""
    heard = torch.tensor(np.column_stack([x, *(np.full_like(x, knob) for knob in knobs)]))
    with torch.no_grad():
        return model(heard[None])[0, :, 0].numpy()


def described(unit: str, inputs: int, layers: int) -> dict:
    """The trainer's own words for `net`."""
    return {"model": "SimpleRNN", "input_size": inputs, "skip": 1, "output_size": 1, "unit_type": unit,
            "num_layers": layers, "hidden_size": 5, "bias_fl": True}  # fmt: skip


KINDS = [("LSTM", 1, 2), ("LSTM", 3, 1), ("GRU", 1, 1), ("GRU", 2, 2)]
KNOBS = (0.2, 0.9)


@pytest.mark.parametrize("with_data", [False, True], ids=["bare", "with model_data"])
@pytest.mark.parametrize(("unit", "inputs", "layers"), KINDS)
def test_every_simple_rnn_sounds_as_in_pytorch(
    tmp_path: Path, unit: str, inputs: int, layers: int, with_data: bool
) -> None:
    """As a checkpoint, whose tensors say what it is, and as the trainer's JSON file."""
    model, x, knobs = net(unit, inputs, layers), np.random.default_rng(0).normal(0, 0.3, 100), KNOBS[: inputs - 1]
    reference, state = answer(model, x, knobs), model.state_dict()
    document = {"model_data": described(unit, inputs, layers), "state_dict": state} if with_data else state
    loaded = weights_import.load(put(tmp_path / "a", document))
    assert (loaded.network.config.kind, loaded.sample_rate) == (unit.lower(), 44_100)
    assert esr_db(play(loaded, x, knobs), reference) < -250
    weights_import.save(tmp_path / "b", loaded)
    after = torch.load(tmp_path / "b", weights_only=True)
    after = after["state_dict"] if with_data else after
    assert all(torch.equal(after[key], value) for key, value in state.items())
    listed = {key: value.tolist() for key, value in state.items()}
    json_file = load(tmp_path, {"model_data": described(unit, inputs, layers), "state_dict": listed})
    assert esr_db(play(json_file, x, knobs), reference) < -250


def nam_wavenet(folder: Path, newer: bool) -> dict:
    """A Lightning checkpoint with the weights of a .nam file, under the names that NAM's trainer gives them."""
    state = {"_net._has_sample_rate": torch.tensor(True), "_net._sample_rate": torch.tensor(44100.0)}
    arrays, pointwise = ("_layer_arrays", "_layer1x1") if newer else ("_layers", "_1x1")
    for a, array in enumerate(load(folder, wavenet()).network.params.values()):
        for part, members in array.items():
            inner = f"_layers.{part[6:]}" if part.startswith("layer_") else f"_{part}"
            for name, value in members.items():
                if isinstance(value, dict):
                    called = {"conv": "_conv", "input_mixin": "_input_mixer", "layer1x1": pointwise}[name]
                    for kind, numbers in value.items():
                        tensor = torch.tensor(numbers, dtype=torch.float32)
                        tensor = tensor[..., None] if kind == "weight" and name != "conv" else tensor
                        state[f"_net._net.{arrays}.{a}.{inner}.{called}.{kind}"] = tensor
                else:
                    tensor = torch.tensor(value, dtype=torch.float32)
                    state[f"_net._net.{arrays}.{a}.{inner}.{name}"] = tensor[..., None] if name == "weight" else tensor
    config = {"layers_configs": copy.deepcopy(ARRAYS), "head_scale": float(np.float32(0.02))}
    return {"epoch": 3, "state_dict": state, "hyper_parameters": {"net": {"name": "WaveNet", "config": config}}}


def put(path: Path, document: Any, **how: Any) -> Path:
    torch.save(document, path, **how)
    return path


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_sounds_as_in_pytorch_and_comes_back(tmp_path: Path, zipped: bool) -> None:
    model, x = net(), np.random.default_rng(0).normal(0, 0.3, 300)
    source = put(tmp_path / "a", model.state_dict(), _use_new_zipfile_serialization=zipped)
    loaded = weights_import.load(source)
    assert esr_db(play(loaded, x), answer(model, x, ())) < -250
    weights_import.save(tmp_path / "b", loaded)
    before, after = (torch.load(path, weights_only=True) for path in (source, tmp_path / "b"))
    assert list(before) == list(after)
    assert all(before[key].numpy().tobytes() == after[key].numpy().tobytes() for key in before)
    assert ((tmp_path / "b").read_bytes()[:2] == b"PK") == zipped


@pytest.mark.parametrize("newer", [False, True])
def test_a_nam_checkpoint_is_the_nam_file(tmp_path: Path, newer: bool) -> None:
    checkpoint, x = nam_wavenet(tmp_path, newer), np.random.default_rng(0).normal(0, 0.3, 200)
    loaded = weights_import.load(put(tmp_path / "a.ckpt", checkpoint))
    assert loaded.sample_rate == 44100
    assert np.array_equal(play(loaded, x), play(load(tmp_path, wavenet()), x))
    tuned = weights_import.fine_tuned(loaded, [loaded.network.params], {"updates": 2})
    weights_import.save(tmp_path / "b.ckpt", tuned)
    after = torch.load(tmp_path / "b.ckpt", weights_only=True)
    assert after.pop("jaxalias") == {"updates": 2}
    assert list(after) == list(checkpoint)
    assert all(torch.equal(after["state_dict"][key], value) for key, value in checkpoint["state_dict"].items())


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    state, bare = net().state_dict(), nam_wavenet(tmp_path, newer=False)
    unnamed = {key: value for key, value in bare["hyper_parameters"]["net"]["config"].items() if key != "head_scale"}
    refusals = {
        "hyper_parameters.net.config: missing": {"state_dict": bare["state_dict"]},
        "hyper_parameters.net.config.head_scale": {**bare, "hyper_parameters": {"net": {"config": unnamed}}},
        "rec.bias_hh_l1: missing": {key: value for key, value in state.items() if key != "rec.bias_hh_l1"},
        r"rec.weight_ih_l0: must be of shape \(20, 1\), got \(20, 4\)": {
            **state,
            "rec.weight_ih_l0": torch.zeros(20, 4),
        },
        "lin.weight: must be finite": {**state, "lin.weight": state["lin.weight"] * torch.nan},
        "lin.bias: must be a dense tensor": {**state, "lin.bias": torch.zeros(1, dtype=torch.int64)},
        "as many numbers as its shape says": {**state, "rec.weight_hh_l0": torch.zeros(1, 1).expand(20, 10**9)},
        "rec.more: must not be there": {**state, "rec.more": torch.zeros(1)},
        "model_data.unit_type": {"state_dict": state, "model_data": {**described("LSTM", 1, 2), "unit_type": "RNN"}},
        "rec.weight_ih_l2: missing": {"state_dict": state, "model_data": described("LSTM", 1, 10**9)},
        "hyper_parameters.skip": {"state_dict": state, "hyper_parameters": {"skip": 3}},
        "must hold rec": {"weight": torch.zeros(1)},
        "dict of tensors": [1],
        r"holds a path \(pathlib.PosixPath\).*torch.save\(model.state_dict\(\)": {"state_dict": Path("code")},
        "a number or an array of NumPy": {"state_dict": state, "best": np.float64(0.1)},
        r"NumPy \(numpy": {key: tensor.numpy() for key, tensor in state.items()},
        "a whole network .*torch.nn.modules": net(),
    }
    for message, document in refusals.items():
        with pytest.raises(ModelFileError, match=message) as caught:
            weights_import.load(put(tmp_path / "x.pt", document))
        assert len(str(caught.value).splitlines()) == 1


def test_a_torchscript_archive_is_refused_with_the_way_to_its_tensors(tmp_path: Path) -> None:
    with warnings.catch_warnings():  # TorchScript is on its way out, and its archives stay
        warnings.simplefilter("ignore")
        torch.jit.trace(net(layers=1), torch.zeros(1, 3, 1, dtype=torch.float64)).save(str(tmp_path / "x.pt"))
    with pytest.raises(ModelFileError, match=r"TorchScript.*torch.jit.load\(FILE\).state_dict\(\)"):
        weights_import.load(tmp_path / "x.pt")


def test_the_rate_that_a_checkpoint_says_is_honoured(tmp_path: Path) -> None:
    document = {"state_dict": net().state_dict(), "hyper_parameters": {"sample_rate": 48_000}}
    assert weights_import.load(put(tmp_path / "x.pt", document)).network.rate == (48_000, "file", "")


def test_a_truncated_checkpoint_is_refused(tmp_path: Path) -> None:
    data = put(tmp_path / "x.pt", net().state_dict()).read_bytes()
    for length in (2, 100, len(data) // 2, len(data) - 1):
        (tmp_path / "x.pt").write_bytes(data[:length])
        with pytest.raises(ModelFileError):
            weights_import.load(tmp_path / "x.pt")


def test_without_pytorch_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "x.pt", net().state_dict())
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    with pytest.raises(ModelFileError, match=r"pip install 'jaxalias\[torch\]'"):
        weights_import.load(path)
