"""PyTorch checkpoints: a bare state_dict, or a dict that holds one (Lightning's `.ckpt`).

Which network it is shows in the names: `rec.*`, `lin.*` is GuitarML's SimpleRNN; `_net._core.*` NAM's LSTM;
`_net._net.*` NAM's WaveNet, in the names of neural-amp-modeler 0.12 (`_layers.0`, `_1x1`) or 0.13
(`_layer_arrays.0`, `_layer1x1`). Sizes come from the tensors. What tensors do not tell comes from
`hyper_parameters`: for a WaveNet {"net": {"config": {...}}} as in the trainer's `config_model.json`, for a
SimpleRNN `skip`, which is 1 where nothing is said, since every player adds the input; a SimpleRNN may also have
its `model_data` beside the `state_dict`, as in the trainer's JSON file.
"""

import copy
import importlib
import io
import itertools
import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxalias.config import GRUConfig, LSTMConfig, WaveNetConfig
from jaxalias.models import Params
from weights_import import checks, guitarml, layout, nam, pickled
from weights_import.json_text import plain
from weights_import.model_file import DAMAGED, Config, Format, ModelFileError, Network, Rate, fault

_OURS = ("rec.", "lin.", "_net.")  # names of a network; a checkpoint may hold more, as of a loss
_RATE = ("_net._has_sample_rate", "_net._sample_rate")  # buffers of NAM's networks
_STATES = {"initial_hidden": "_net._initial_hidden", "initial_cell": "_net._initial_cell"}  # (layers, hidden) each
_LAYER_PARTS = {"conv": "_conv", "input_mixin": "_input_mixer"}
_MISSING_CONFIG = (
    "hyper_parameters.net.config: missing; dilations, activation and head_scale of a WaveNet are not in its "
    "tensors (take the .nam file that the trainer writes beside it, or add its config_model.json as hyper_parameters)"
)


def holds_checkpoint(data: bytes) -> bool:
    """Whether a file begins as `torch.save` begins one: a zip archive, or a bare pickle as before PyTorch 1.6."""
    return pickled.is_zip(data) or data.startswith(b"\x80")


def parse(data: bytes) -> dict:
    """Unpickle a checkpoint, tensors and plain values only (`weights_only`): no code in the file runs."""
    pickled.refuse_programs(data)
    pickled.refuse_objects(data)
    torch = _torch()
    try:
        with warnings.catch_warnings():  # of pickles in another protocol than torch.save's, over several lines
            warnings.simplefilter("ignore")
            document = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged archive or pickle raises whatever it runs into
        told = re.search("WeightsUnpickler error: *(.*)", str(error))
        reason = told[1] if told else (str(error).splitlines() or [""])[0]
        what = f"must be a PyTorch checkpoint of tensors, cannot be read: {type(error).__name__}: {reason:.200}"
        raise ModelFileError(what, f"{DAMAGED}, or {pickled.REMEDY}") from None
    if not isinstance(document, dict):
        raise ModelFileError(f"must hold a dict of tensors, got {type(document).__name__}", pickled.REMEDY)
    return document


def render(document: dict, zipped: bool) -> bytes:
    """Pickle a checkpoint, in the kind of container that it had."""
    stream = io.BytesIO()
    _torch().save(document, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def recognises(document: dict) -> bool:
    """Told from JSON by the first bytes of the file, so nothing is left to tell here."""
    return True


def read(document: dict) -> Network:
    """The network of a checkpoint. The rate is the checkpoint's own, or what players take without one."""
    tensors = _tensors(_state(document))
    config, rate = _describe(document, tensors)
    checks.exactly(tensors, (key for key, _, _ in _slots(config, tensors)), "state_dict")
    arrays = {path: _array(tensors[key], key, shape) for key, path, shape in _slots(config, tensors)}
    return Network(config, unflatten_dict(arrays), rate)


def write(document: dict, config: Config, params: Params) -> dict:
    """The checkpoint with the parameters in its tensors, each in the dtype that it had."""
    torch, flat = _torch(), flatten_dict(params)
    state = copy.copy(_state(document))  # not dict(...): PyTorch keeps versions of modules as an attribute
    for key in filter(_is_ours, state):
        state[key] = state[key].detach().clone()
    tensors = _tensors(state)
    for key, path, shape in _slots(config, tensors):
        array = torch.from_numpy(checks.weights_of(flat, path, shape))
        tensors[key].copy_(array.reshape(tensors[key].shape))
    return {**document, "state_dict": state} if "state_dict" in document else state


def finish(document: dict, teacher: Network, params: Params, note: dict) -> tuple[Params, dict]:
    """The note goes beside a `state_dict`; a bare one has no room for it: each of its keys is a tensor."""
    noted = {**document, "jaxalias": plain(note, "training")} if "state_dict" in document else document
    return params, noted


def _state(document: dict) -> dict:
    state = document.get("state_dict", document)
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise fault("state_dict", "must be a dict of tensors by name", state)
    return state


def _tensors(state: dict) -> dict[str, Any]:
    """The tensors of the network by name, those of initial states as a view of each row."""
    torch, found = _torch(), {}
    for key in filter(_is_ours, state):
        tensor = state[key]
        dense = isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided and tensor.device.type == "cpu"
        if not dense or tensor.dtype not in (torch.float32, torch.float64):
            value = getattr(tensor, "dtype", tensor)
            rule, remedy = "must be a dense tensor of float32 or float64", "convert it: tensor.cpu().float()"
            raise fault(f"state_dict.{key}", rule, value, remedy)
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise fault(f"state_dict.{key}", "must hold as many numbers as its shape says", tuple(tensor.shape))
        # There are more names than layers, so a longer tensor is wrong; it is then missed by its rows' names.
        rows = key in _STATES.values() and tensor.dim() == 2 and len(tensor) < len(state)
        found.update({f"{key}[{i}]": row for i, row in enumerate(tensor)} if rows else {key: tensor})
    return found


def _is_ours(key: str) -> bool:
    return key.startswith(_OURS) and key not in _RATE


def _describe(document: dict, tensors: dict[str, Any]) -> tuple[Config, Rate]:
    """Config and sample rate of the network that the names show."""
    said = {key: document.get(key) for key in ("metadata", "model_data", "hyper_parameters")}
    said = {key: part for key, part in said.items() if isinstance(part, dict)}
    if any(key.startswith("rec.") for key in tensors):
        rate = guitarml.rate_of(said)
        if "model_data" in document:  # as in the trainer's JSON file
            return guitarml.config_of(plain(document["model_data"], "model_data"), tensors), rate
        skip = _flag(_hyper_parameters(document).get("skip", 1))
        rest = {"skip": skip, "head_bias": "lin.bias" in tensors}
        return _recurrent_config(tensors, "rec.", rest), rate
    state = _state(document)
    has_rate, rate_hz = (float(state[key]) if _is_number(state.get(key)) else 0.0 for key in _RATE)
    rate = nam.rate_of({"sample_rate": rate_hz} if has_rate else said)
    if any(key.startswith("_net._core.") for key in tensors):
        rest = {"skip": False, "stored_initial_state": True}
        return _recurrent_config(tensors, "_net._core.", rest), rate
    if any(key.startswith("_net._net.") for key in tensors):
        net = _hyper_parameters(document).get("net")
        described = net.get("config") if isinstance(net, dict) else None
        if not isinstance(described, dict):
            raise ModelFileError(_MISSING_CONFIG)
        names = {"layers_configs": "layers", "head_config": "head"}  # the trainer's: those of a .nam file
        described = {names.get(key, key): value for key, value in described.items()}
        return nam.wavenet_config(described, "hyper_parameters.net.config"), rate
    raise fault("state_dict", "must hold rec.* and lin.*, or _net._core.*, or _net._net.*", list(_state(document)))


def _recurrent_config(tensors: dict[str, Any], prefix: str, rest: dict[str, bool]) -> LSTMConfig | GRUConfig:
    """Sizes and kind from the shapes: an LSTM has four gates, a GRU three. NAM has but LSTMs, without knobs."""
    weight, inputs = (checks.require(tensors, f"{prefix}weight_{kind}_l0", "state_dict.") for kind in ("hh", "ih"))
    hidden = weight.shape[-1] if weight.dim() else 0
    gru = prefix == "rec." and len(weight) == 3 * hidden if weight.dim() else False
    described = {
        "hidden_size": hidden,
        "num_layers": next(n for n in itertools.count() if f"{prefix}weight_hh_l{n}" not in tensors),
        "input_size": inputs.shape[-1] if prefix == "rec." and inputs.dim() == 2 and inputs.shape[1] in (2, 3) else 1,
        "bias_vectors": 2 if f"{prefix}bias_ih_l0" in tensors else 0,
    }
    kind: type[LSTMConfig | GRUConfig] = GRUConfig if gru else LSTMConfig
    return checks.record(kind, described | rest, "state_dict")


def _slots(config: Config, tensors: dict[str, Any]) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    """Name of each tensor, path in the tree of parameters, and shape; lazily, as a file may name a billion layers."""
    if isinstance(config, WaveNetConfig):
        newer = any(key.startswith("_net._net._layer_arrays.") for key in tensors)
        return ((_wavenet_name(path, newer), path, shape) for path, shape in layout.arrays(config))
    assert isinstance(config, LSTMConfig | GRUConfig)
    if isinstance(config, GRUConfig) or not config.stored_initial_state:
        return guitarml.tensors(config)
    return ((_nam_lstm_name(path[0]), path, shape) for path, shape in layout.arrays(config))


def _nam_lstm_name(name: str) -> str:
    part, _, layer = name.rpartition("_l")
    if part in _STATES:
        return f"{_STATES[part]}[{layer}]"
    return f"_net._head.{name.removeprefix('head_')}" if name.startswith("head_") else f"_net._core.{name}"


def _wavenet_name(path: tuple[str, ...], newer: bool) -> str:
    array, *layer, part, kind = path
    names = _LAYER_PARTS | {"layer1x1": "_layer1x1" if newer else "_1x1"}
    arrays = "_layer_arrays" if newer else "_layers"
    inside = [f"_layers.{name.removeprefix('layer_')}" for name in layer]
    return ".".join(["_net._net", arrays, array.removeprefix("array_"), *inside, names.get(part, f"_{part}"), kind])


def _array(tensor: Any, key: str, shape: tuple[int, ...]) -> np.ndarray:
    if tuple(tensor.shape) not in (shape, (*shape, 1)):  # a 1x1 convolution has a third axis in PyTorch
        raise ModelFileError(f"state_dict.{key}: must be of shape {shape}, got {tuple(tensor.shape)}")
    array = tensor.detach().resolve_neg().numpy().astype(np.float64).reshape(shape)
    return checks.finite(array, f"state_dict.{key}")


def _hyper_parameters(document: dict) -> dict:
    found = plain(document.get("hyper_parameters", {}), "hyper_parameters")
    if not isinstance(found, dict):
        raise fault("hyper_parameters", "must be a dict", found)
    return found


def _flag(value: Any) -> bool:
    if type(value) is not int or value not in (0, 1):
        raise fault("hyper_parameters.skip", "must be 0 or 1", value)
    return bool(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, _torch().Tensor) and value.numel() == 1 and not value.is_complex()


def _torch() -> Any:
    try:
        return importlib.import_module("torch")
    except ImportError:
        raise ModelFileError("a PyTorch checkpoint needs PyTorch: pip install 'jaxalias[torch]'", "") from None


FORMAT = Format("torch", recognises, read, write, finish)
