"""RTNeural's Keras-style JSON as AIDA-X plays it: LSTM or GRU layers and a dense one.

y = out_gain (dense(rnn([in_gain x, knobs])) + in_skip in_gain x), the gains in dB in the file, 0 where it has none.
Weights are Keras's: transposed against PyTorch's; gates i, f, c, o of an LSTM (PyTorch's order) with one bias;
z, r, h of a GRU (PyTorch: r, z, n) with two. Source: RTNeural, aidadsp-lv2, and modelToKeras.py of AIDA's trainer.

Rate: `metadata.samplerate`, else `samplerate`, else 48000 Hz. The shipped files have it as a string. The player
takes a number only, so it falls back to 48000 for those; here a string counts for the number in it, with a note.

A file may hold its own test, `input_batch` and the `output_batch` that a silent start answers with. It is played
on load, and a file that fails it is refused; a student's is written anew.
"""

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal, TypeVar

import jax
import numpy as np
from flax.traverse_util import flatten_dict
from pydantic import Field, PositiveInt

from jaxalias import models
from jaxalias.config import GRUConfig, LSTMConfig, Record
from jaxalias.models import Params
from weights_import import checks, layout, metadata, sample_rates
from weights_import.model_file import Config, Format, Network, Rate, fault

_PLAYERS_RATE = sample_rates.assumed(48_000, "AIDA-X does")
_TEXT = "AIDA-X takes numbers only, and 48000 Hz in its place"
TEST_TOLERANCE = 1e-3  # of the peak; shipped files: 7e-6, and the rounding of float32 grows with a model's gain
_TEST_LIMIT = 65_536  # samples of a test; real ones have 2048
_GAIN_LIMIT_DB = 100.0
_Gain = Annotated[float, Field(ge=-_GAIN_LIMIT_DB, le=_GAIN_LIMIT_DB)]
_Shape = tuple[PositiveInt | None, PositiveInt | None, PositiveInt]  # batch, time, channels
_PLAYED_SIZES = (8, 12, 16, 20, 24, 32, 40, 64, 80)  # hidden sizes that AIDA-X has compiled in

_R = TypeVar("_R", bound=Record)


class _Top(Record):
    in_shape: tuple[PositiveInt | None, PositiveInt | None, checks.Inputs]
    in_skip: checks.ZeroOrOne | None = None
    in_gain: _Gain | None = None
    out_gain: _Gain | None = None


class _Recurrent(Record):
    type: Literal["lstm", "gru"]
    activation: Literal["", "tanh"] = ""
    shape: _Shape


class _Dense(Record):
    type: Literal["dense"]
    activation: Literal[""] = ""
    shape: tuple[PositiveInt | None, PositiveInt | None, checks.One]


def recognises(document: dict) -> bool:
    """The format's two members; one is enough to be told that the other is missing."""
    return "layers" in document or "in_shape" in document


def read(document: dict) -> Network:
    """The network of an RTNeural file, which passes the file's own test."""
    held = {key: document[key] for key in _Top.model_fields if key in document}
    top, layers = checks.record(_Top, held, ""), checks.require(document, "layers")
    if not isinstance(layers, list) or len(layers) < 2 or not all(isinstance(layer, dict) for layer in layers):
        raise fault("layers", "must be a list of objects, at least one lstm or gru and then one dense", layers)
    found = [_layer(layer, f"layers.{index}", _Recurrent) for index, layer in enumerate(layers[:-1])]
    _layer(layers[-1], f"layers.{len(found)}", _Dense)
    kind, hidden = found[0].type, found[0].shape[-1]
    for index, layer in enumerate(found):
        for name, value, first in (("type", layer.type, kind), ("shape.2", layer.shape[-1], hidden)):
            if value != first:
                raise fault(f"layers.{index}.{name}", f"must be {first!r} as in the first layer", value)
    shared = {
        "hidden_size": hidden,
        "num_layers": len(found),
        "input_size": top.in_shape[-1],
        "skip": bool(top.in_skip),
        "input_gain": _linear(top.in_gain),
        "output_gain": _linear(top.out_gain),
    }
    config = LSTMConfig(bias_vectors=1, **shared) if kind == "lstm" else GRUConfig(**shared)
    _count_weights(layers, config)
    params = {}
    for place, name, shape in _slots(config):
        value, key = _at(layers, place), f"layers.{place[0]}.weights." + ".".join(map(str, place[1:]))
        params[name] = _in_other_order(checks.nested(value, shape[::-1], key).T, name, config)
    network = Network(config, params, _rate(document))
    _test(document, network)
    return network


def write(document: dict, config: Config, params: Params) -> dict:
    """The document with the parameters in its layers."""
    return {**document, "layers": _with_weights(document["layers"], config, params)}


def finish(document: dict, teacher: Network, params: Params, note: dict) -> tuple[Params, dict]:
    """The file's own test, if it has one, gets the student's answer."""
    noted = metadata.with_note(document, note)
    if "output_batch" not in document:
        return params, noted
    answer = _answer(document["input_batch"], teacher._replace(params=params))
    return params, {**noted, "output_batch": checks.finite(answer, "output_batch").tolist()}


def create(network: Network, about: dict) -> dict:
    """A new file, its metadata from `about`; an LSTM has its biases summed.

    Raises:
        ModelFileError: AIDA-X would not play it.
    """
    config = network.config
    assert isinstance(config, LSTMConfig | GRUConfig)
    if config.num_layers != 1:
        raise fault("num_layers", "must be 1, AIDA-X plays one layer", config.num_layers)
    if config.hidden_size not in _PLAYED_SIZES:
        raise fault("hidden_size", f"must be one of {_PLAYED_SIZES}, which AIDA-X has built in", config.hidden_size)
    layers: list[dict] = [
        {"type": config.kind, "activation": "", "shape": [None, None, config.hidden_size]},
        {"type": "dense", "activation": "", "shape": [None, None, 1]},
    ]
    return {
        "in_shape": [None, None, config.input_size],
        "in_skip": int(config.skip),
        "layers": _with_weights(layers, config, network.params),
        "metadata": sample_rates.without(about) | sample_rates.written(network.rate),
    }


def _layer(layer: dict, key: str, kind: type[_R]) -> _R:
    return checks.record(kind, {name: value for name, value in layer.items() if name != "weights"}, key)


def _count_weights(layers: list[dict], config: LSTMConfig | GRUConfig) -> None:
    """Every layer has the arrays that its kind has, and no more."""
    for index, layer in enumerate(layers):
        expected, key = 2 if index == config.num_layers else 3, f"layers.{index}.weights"
        weights = checks.require(layer, "weights", f"layers.{index}.")
        if not isinstance(weights, list) or len(weights) != expected:
            raise fault(key, f"must be a list of {expected} arrays", weights)
        if (
            expected == 3
            and isinstance(config, GRUConfig)
            and not (isinstance(weights[2], list) and len(weights[2]) == 2)
        ):
            raise fault(f"{key}.2", "must be a list of 2 biases, of the input and of the state", weights[2])


def _slots(config: LSTMConfig | GRUConfig) -> Iterator[tuple[tuple[int, ...], str, tuple[int, ...]]]:
    """Where in the layers' weights an array stands; its name in the tree of parameters, and its shape there."""
    for layer in range(config.num_layers):
        places = [(0,), (1,), (2,)] if isinstance(config, LSTMConfig) else [(0,), (1,), (2, 0), (2, 1)]
        for place, ((name,), shape) in zip(places, layout.recurrent_layer(config, layer).items(), strict=True):
            yield (layer, *place), name, shape
    for index, ((name,), shape) in enumerate(layout.recurrent_head(config).items()):
        yield (config.num_layers, index), name, shape


def _at(layers: list[dict], place: tuple[int, ...]) -> Any:
    value = layers[place[0]]["weights"]
    for index in place[1:]:
        value = value[index]
    return value


def _with_weights(layers: list[dict], config: Any, params: Params) -> list[dict]:
    flat, weights = flatten_dict(params), [[] for _ in layers]  # type: ignore[var-annotated]
    for (layer, *inside), name, shape in _slots(config):
        array = _in_other_order(checks.weights_of(flat, (name,), shape), name, config).T.tolist()
        if len(inside) == 1:
            weights[layer].append(array)
        elif inside[1] == 0:  # a GRU's biases, of which there are two
            weights[layer].append([array])
        else:
            weights[layer][-1].append(array)
    return [{**layer, "weights": arrays} for layer, arrays in zip(layers, weights, strict=True)]


def _in_other_order(array: np.ndarray, name: str, config: Any) -> np.ndarray:
    """Rows of a GRU from r, z, n to z, r, n or back; all else as it is."""
    if isinstance(config, LSTMConfig) or name.startswith("head_"):
        return array
    first, second, third = np.split(array, 3)
    return np.concatenate([second, first, third])


def _linear(gain_db: float | None) -> float:
    return 10 ** ((gain_db or 0.0) / 20)


def _rate(document: dict) -> Rate:
    return sample_rates.stated({"metadata": metadata.of(document), "": document}, _PLAYERS_RATE, _TEXT)


def _test(document: dict, network: Network) -> None:
    """Play the file's own test, if it has one."""
    if not {"input_batch", "output_batch"} & set(document):
        return
    expected = checks.numbers(checks.require(document, "output_batch"), "output_batch")
    answer = _answer(checks.require(document, "input_batch"), network)
    if answer.shape != expected.shape:
        raise fault("output_batch", f"must be as long as input_batch, {len(answer)}", len(expected))
    error, peak = np.max(np.abs(answer - expected)), np.max(np.abs(expected))
    limit = max(TEST_TOLERANCE * peak, 1e-6)
    if not error <= limit:
        rule = f"must be what the model answers to input_batch, to {limit:.1e}"
        raise fault("output_batch", rule, f"up to {error:.1e} from it")


def _answer(values: Any, network: Network) -> np.ndarray:
    """What the model answers to `input_batch`: a number a sample, or a row with the knobs, which stand still."""
    config: Any = network.config
    inputs = config.input_size
    if not isinstance(values, list) or not 0 < len(values) <= _TEST_LIMIT:
        rule = f"must be a list of 1 to {_TEST_LIMIT} samples"
        raise fault("input_batch", rule, len(values) if isinstance(values, list) else values)
    shape = (len(values), inputs) if inputs > 1 else (len(values),)
    rows = checks.nested(values, shape, "input_batch").reshape(len(values), inputs)
    if (rows[:, 1:] != rows[0, 1:]).any():
        raise fault("input_batch", "the knobs in it must stand still", "moving ones")
    single = models.cast((network.params, rows), np.float32)
    return np.asarray(_play(config, *single), np.float64)


@partial(jax.jit, static_argnums=0)
def _play(config: Any, params: Params, rows: jax.Array) -> jax.Array:
    model = models.build(config)
    knobs = rows[0, 1:] if model.knobs else None
    return model.apply(params, rows[None, :, 0], model.initial_state(params, 1, knobs))[0][0]


FORMAT = Format("rtneural", recognises, read, write, finish)
