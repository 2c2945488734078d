"""GuitarML SimpleRNN JSON (Automated-GuitarAmpModelling, Proteus, NeuralPi).

y = lin(lstm(x)) + skip x. The players read nothing but `model_data.input_size` and `state_dict`, have the hidden
size compiled in and always add the input, so none of that may change on the way.
"""

from collections.abc import Iterator
from typing import Any, Literal

from flax.traverse_util import flatten_dict, unflatten_dict
from pydantic import PositiveInt

from jaxalias.config import LSTMConfig, Record
from jaxalias.models import Params
from weights_import import checks, layout, metadata
from weights_import.model_file import Config, Format, Network, fault

SAMPLE_RATE = 44_100  # of the library's captures; the format does not hold one
_HEAD = {"head_weight": "lin.weight", "head_bias": "lin.bias"}


class _ModelData(Record):
    model: Literal["SimpleRNN"]
    input_size: checks.One
    skip: checks.ZeroOrOne
    output_size: checks.One
    unit_type: Literal["LSTM"]
    num_layers: PositiveInt
    hidden_size: PositiveInt
    bias_fl: bool


def recognises(document: dict) -> bool:
    """The format's two members; one is enough to be told that the other is missing."""
    return "model_data" in document or "state_dict" in document


def read(document: dict) -> Network:
    """The network of a SimpleRNN file; with `bias_fl` false the state_dict says which biases there are."""
    metadata.of(document)
    data = checks.record(_ModelData, checks.require(document, "model_data"), "model_data")
    state = checks.require(document, "state_dict")
    if not isinstance(state, dict):
        raise fault("state_dict", "must be an object", state)
    config = LSTMConfig(
        hidden_size=data.hidden_size,
        num_layers=data.num_layers,
        bias_vectors=2 if data.bias_fl or "rec.bias_ih_l0" in state else 0,
        head_bias=data.bias_fl or "lin.bias" in state,
        skip=bool(data.skip),
    )
    checks.exactly(state, (key for key, _, _ in tensors(config)), "state_dict")
    arrays = {path: checks.nested(state[key], shape, f"state_dict.{key}") for key, path, shape in tensors(config)}
    return Network(config, unflatten_dict(arrays), SAMPLE_RATE)


def write(document: dict, config: Config, params: Params) -> dict:
    """The document with the parameters in its state_dict, in the order that it has."""
    flat = flatten_dict(params)
    state = {key: checks.weights_of(flat, path, shape).tolist() for key, path, shape in tensors(config)}
    return {**document, "state_dict": {key: state[key] for key in document["state_dict"]}}


def finish(document: dict, teacher: Network, params: Params, note: dict) -> tuple[Params, dict]:
    """The format has no metadata of its own; players look at nothing but the two members they know."""
    return params, metadata.with_note(document, note)


def tensors(config: Any) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    """Key in the state_dict, path in the tree of parameters, and shape, lazily."""
    for path, shape in layout.arrays(config):
        yield _HEAD.get(path[0], f"rec.{path[0]}"), path, shape


FORMAT = Format("guitarml", recognises, read, write, finish)
