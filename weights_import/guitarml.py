"""GuitarML SimpleRNN JSON (Automated-GuitarAmpModelling, Proteus, NeuralPi).

y = lin(rec([x, knobs])) + skip x, rec an LSTM or GRU. The players read nothing but `model_data.input_size` and
`state_dict`, have the hidden size compiled in, play LSTMs and always add the input, so none of that may change on
the way.
"""

from collections.abc import Iterator
from typing import Any, Literal

from flax.traverse_util import flatten_dict, unflatten_dict
from pydantic import PositiveInt

from jaxalias.config import GRUConfig, LSTMConfig, Record
from jaxalias.models import Params
from weights_import import checks, layout, metadata, sample_rates
from weights_import.model_file import Config, Format, Network, Rate, fault

SAMPLE_RATE = 44_100  # of the library's captures and of Proteus; the format has no place for one
_USUAL_RATE = sample_rates.assumed(SAMPLE_RATE, "most captures for Proteus and NeuralPi have it")
_HEAD = {"head_weight": "lin.weight", "head_bias": "lin.bias"}
_PLAYERS = {40: ("Proteus", 2), 20: ("NeuralPi", 3)}  # hidden size -> who plays it, up to which input size


class ModelData(Record):
    """The member `model_data`."""

    model: Literal["SimpleRNN"]
    input_size: checks.Inputs
    skip: checks.ZeroOrOne
    output_size: checks.One
    unit_type: Literal["LSTM", "GRU"]
    num_layers: PositiveInt
    hidden_size: PositiveInt
    bias_fl: bool


def recognises(document: dict) -> bool:
    """The format's two members; one is enough to be told that the other is missing."""
    return "model_data" in document or "state_dict" in document


def read(document: dict) -> Network:
    """The network of a SimpleRNN file; with `bias_fl` false the state_dict says which biases there are."""
    described = checks.require(document, "model_data")
    state = checks.require(document, "state_dict")
    if not isinstance(state, dict):
        raise fault("state_dict", "must be an object", state)
    config = config_of(described, state)
    checks.exactly(state, (key for key, _, _ in tensors(config)), "state_dict")
    arrays = {path: checks.nested(state[key], shape, f"state_dict.{key}") for key, path, shape in tensors(config)}
    return Network(config, unflatten_dict(arrays), rate_of(document))


def rate_of(document: dict) -> Rate:
    """The rate that somebody has written into a file, or the usual one: the format has no place for it."""
    others = {key: document.get(key) for key in ("model_data", "hyper_parameters")}
    parts = {"metadata": metadata.of(document), **others, "": document}
    return sample_rates.stated(parts, _USUAL_RATE)


def config_of(described: Any, state: Any) -> LSTMConfig | GRUConfig:
    """The config that `model_data` describes, given the names in the state_dict."""
    described = sample_rates.without(described) if isinstance(described, dict) else described
    data = checks.record(ModelData, described, "model_data")
    kind = {"LSTM": LSTMConfig, "GRU": GRUConfig}[data.unit_type]
    return kind(
        hidden_size=data.hidden_size,
        num_layers=data.num_layers,
        input_size=data.input_size,
        bias_vectors=2 if data.bias_fl or "rec.bias_ih_l0" in state else 0,
        head_bias=data.bias_fl or "lin.bias" in state,
        skip=bool(data.skip),
    )


def write(document: dict, config: Config, params: Params) -> dict:
    """The document with the parameters in its state_dict, in the order that it has."""
    flat = flatten_dict(params)
    state = {key: checks.weights_of(flat, path, shape).tolist() for key, path, shape in tensors(config)}
    return {**document, "state_dict": {key: state[key] for key in document["state_dict"]}}


def finish(document: dict, teacher: Network, params: Params, note: dict) -> tuple[Params, dict]:
    """The format has no metadata of its own; players look at nothing but the two members they know."""
    return params, metadata.with_note(document, note)


def create(network: Network, about: dict) -> dict:
    """A new file, with `about` as metadata; its two bias vectors as they are.

    Raises:
        ModelFileError: Proteus and NeuralPi would not play it, or the format has no place for something in it.
    """
    config = network.config
    if not isinstance(config, LSTMConfig):
        raise fault("unit_type", "must be LSTM, the players of SimpleRNN files have no other", config.kind.upper())
    if config.hidden_size not in _PLAYERS:
        rule = "must be " + " or ".join(f"{size} ({player})" for size, (player, _) in _PLAYERS.items())
        raise fault("hidden_size", f"{rule}, which the players of SimpleRNN files have built in", config.hidden_size)
    player, inputs = _PLAYERS[config.hidden_size]
    for key, value, wanted, why in (
        ("input_size", config.input_size, range(1, inputs + 1), f"{player} plays no others"),
        ("num_layers", config.num_layers, (1,), "the players of SimpleRNN files play one layer"),
        ("skip", int(config.skip), (1,), "the players of SimpleRNN files always add the input"),
        ("input_gain", config.input_gain, (1,), "a SimpleRNN file has no gains"),
        ("output_gain", config.output_gain, (1,), "a SimpleRNN file has no gains"),
        ("sample_rate", network.sample_rate, (SAMPLE_RATE,), "a SimpleRNN file holds none, and this is its players'"),
    ):
        if value not in wanted:
            note = f" ({network.rate.note})" if key == "sample_rate" and network.rate.note else ""
            raise fault(key, f"must be {' or '.join(map(str, wanted))}: {why}{note}", value)
    about = sample_rates.without(about) | sample_rates.written(network.rate)
    return write({**empty(config), "metadata": about}, config, network.params)


def empty(config: LSTMConfig) -> dict:
    """The document of a model, as Automated-GuitarAmpModelling writes it, its weights still to be put in."""
    data = ModelData(
        model="SimpleRNN", input_size=config.input_size, skip=int(config.skip), output_size=1, unit_type="LSTM",
        num_layers=config.num_layers, hidden_size=config.hidden_size, bias_fl=True,
    )  # fmt: skip
    return {"model_data": data.model_dump(), "state_dict": dict.fromkeys(key for key, _, _ in tensors(config))}


def tensors(config: Any) -> Iterator[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    """Key in the state_dict, path in the tree of parameters, and shape, lazily."""
    for path, shape in layout.arrays(config):
        yield _HEAD.get(path[0], f"rec.{path[0]}"), path, shape


FORMAT = Format("guitarml", recognises, read, write, finish)
