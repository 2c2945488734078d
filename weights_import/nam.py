"""NAM `.nam` files: WaveNet, LSTM, ConvNet and Linear, and the SlimmableContainer of several of them.

Source: NeuralAmpModelerCore 0.5.5 and neural-amp-modeler 0.12.3 and 0.13.0; where they disagree, the core. A file
keeps its version, schema and keys: old players refuse newer ones, and a missing key can take the host of a plugin down.
"""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field, PositiveInt

from jaxalias import models
from jaxalias.config import ConvNetConfig, LinearConfig, LSTMConfig, Record, WaveNetConfig
from jaxalias.models import Params
from weights_import import checks, layout, metadata, nam_container, nam_levels, sample_rates
from weights_import.model_file import OTHER_KIND, Config, Format, ModelFileError, Network, Rate, fault, inside
from weights_import.nam_wavenet import RECEPTIVE_FIELD_LIMIT, STATE_LIMIT, activation, wavenet_config

__all__ = ["FORMAT", "rate_of", "wavenet_config"]

_PLAYERS_RATE = sample_rates.assumed(48_000, "NAM's players do")
_SETTLING_SAMPLES = 48_000  # of silence, after which the trainer stores an LSTM's state


class _LSTM(Record):
    input_size: checks.One
    hidden_size: PositiveInt
    num_layers: PositiveInt
    in_channels: checks.One = 1
    out_channels: checks.One = 1


class _ConvNet(Record):
    channels: PositiveInt
    dilations: tuple[PositiveInt, ...] = Field(min_length=1, max_length=256)  # each is compiled
    batchnorm: bool
    activation: Any
    groups: checks.One = 1
    in_channels: checks.One = 1
    out_channels: checks.One = 1


class _Linear(Record):
    receptive_field: PositiveInt = Field(le=RECEPTIVE_FIELD_LIMIT)
    bias: bool
    implementation: Literal["auto", "direct", "fft"] = "auto"
    in_channels: checks.One = 1
    out_channels: checks.One = 1


def recognises(document: dict) -> bool:
    """Every NAM file names its architecture."""
    return "architecture" in document


def read(document: dict) -> Network:
    """The network of a NAM file that holds one.

    The last weight of a WaveNet is its head_scale whatever config.head_scale says, as for the core; in 847 real files
    the two agree, in random examples of the core they do not.
    """
    return _read(document)


def write(document: dict, config: Config, params: Params) -> dict:
    """The document with the parameters as its weights, plain Python floats, and so for the condition_dsp in it."""
    scale = [config.head_scale] if isinstance(config, WaveNetConfig) else []
    written = {**document, "weights": layout.flatten(params, config).tolist() + scale}
    if isinstance(config, WaveNetConfig) and config.condition_dsp:
        described = document["config"]
        nested = write(described["condition_dsp"], config.condition_dsp, params["condition_dsp"])
        written["config"] = {**described, "condition_dsp": nested}
    return written


def finish(document: dict, teacher: Network, params: Params, note: dict) -> tuple[Params, dict]:
    """Bring what follows from the weights up to date: the initial state of an LSTM, and loudness and gain.

    A model that is kept as it was keeps its initial state, too.
    """
    if isinstance(teacher.config, LSTMConfig):
        as_it_was = jax.tree.map(np.float32, teacher.params)
        if not all(map(np.array_equal, jax.tree.leaves(params), jax.tree.leaves(as_it_was))):
            params = params | settled_state(teacher.config, params)
    student = teacher._replace(params=params)
    levels, how = nam_levels.corrected(metadata.of(document), teacher, student)
    return params, metadata.with_note(document, metadata.about(note, how), **levels)


def settled_state(config: LSTMConfig, params: Params) -> dict[str, np.ndarray]:
    """The initial state that NAM's trainer stores: after 48000 zeros from a zero state, in float32."""
    model = models.build(config.model_copy(update={"stored_initial_state": False}))
    single = models.cast(params, np.float32)
    silence = jnp.zeros((1, _SETTLING_SAMPLES), np.float32)
    _, state = model.apply(single, silence, model.initial_state(single, 1))
    return {
        f"initial_{name}_l{layer}": np.asarray(values[0], np.float64)
        for layer, ends in enumerate(state)
        for name, values in zip(("hidden", "cell"), ends, strict=True)
    }


def _read(document: dict, conditions: int | None = None) -> Network:
    """`conditions` is how many channels are needed of a model that conditions another."""
    nam_container.check_version(checks.require(document, "version"))
    metadata.of(document)
    architecture, described = checks.require(document, "architecture"), checks.require(document, "config")
    nested: Any = None
    if architecture == "WaveNet":
        nested = _condition(document, described)
        config: Config = wavenet_config(described, "config", nested and nested.config, conditions or 1)
    elif conditions:
        rule = "must be WaveNet in a condition_dsp (others are not supported)"
        raise fault("architecture", rule, architecture, OTHER_KIND)
    elif isinstance(architecture, str) and architecture in _OTHERS:
        config = _OTHERS[architecture](described)
    else:
        rule = f"must be WaveNet, {', '.join(_OTHERS)} or SlimmableContainer"
        raise fault("architecture", rule, architecture, OTHER_KIND)
    weights = checks.numbers(checks.require(document, "weights"), "weights")
    expected = layout.count(config) + isinstance(config, WaveNetConfig)
    if len(weights) != expected:
        raise ModelFileError(f"weights: config requires {expected} numbers, got {len(weights)}")
    if isinstance(config, WaveNetConfig):
        config, weights = config.model_copy(update={"head_scale": float(weights[-1])}), weights[:-1]
    params = layout.unflatten(weights, config)
    _check_variances(config, params)
    if nested:
        params["condition_dsp"] = nested.params
    return Network(config, params, rate_of(document))


def rate_of(document: dict) -> Rate:
    """That of the file; where it has none, players do not look into the metadata, but somebody may have written it."""
    if "sample_rate" in document:
        return Rate(sample_rates.whole(document["sample_rate"]))
    parts = {"metadata": metadata.of(document), "hyper_parameters": document.get("hyper_parameters")}
    return sample_rates.stated(parts, _PLAYERS_RATE)


def _condition(document: dict, described: Any) -> Any:
    """The network under `condition_dsp`, at the rate of the one around it, which the core insists on."""
    held = described.get("condition_dsp") if isinstance(described, dict) else None
    if held is None:
        return None
    if not isinstance(held, dict):
        raise fault("config.condition_dsp", "must be a model as an object, or null", held)
    with inside("config.condition_dsp"):
        layers = described.get("layers")
        first = layers[0] if isinstance(layers, list) and layers else None
        size = first.get("condition_size") if isinstance(first, dict) else None
        nested = _read(held, size if type(size) is int and size > 0 else 1)
        if held.get("sample_rate") != document.get("sample_rate"):
            rule = f"must be {document.get('sample_rate')}, that of the model around it"
            raise fault("sample_rate", rule, held.get("sample_rate"))
    return nested


def _lstm_config(described: Any) -> LSTMConfig:
    found = checks.record(_LSTM, described, "config")
    return LSTMConfig(
        hidden_size=found.hidden_size,
        num_layers=found.num_layers,
        bias_vectors=1,
        skip=False,
        stored_initial_state=True,
    )


def _convnet_config(described: Any) -> ConvNetConfig:
    found = checks.record(_ConvNet, described, "config")
    field = 1 + sum(found.dilations)
    if field * found.channels > STATE_LIMIT or field > RECEPTIVE_FIELD_LIMIT:
        rule = f"receptive field must be at most {RECEPTIVE_FIELD_LIMIT} samples, times channels {STATE_LIMIT}"
        raise fault("config.dilations", rule, field)
    settings = found.model_dump(include={"channels", "dilations", "batchnorm"})
    settings["activation"] = activation(found.activation, "config.activation")
    return checks.record(ConvNetConfig, settings, "config")


def _linear_config(described: Any) -> LinearConfig:
    found = checks.record(_Linear, described, "config")
    return LinearConfig(receptive_field=found.receptive_field, bias=found.bias)


_OTHERS: dict[str, Callable[[Any], Config]] = {
    "LSTM": _lstm_config,
    "ConvNet": _convnet_config,
    "Linear": _linear_config,
}


def _check_variances(config: Config, params: Params) -> None:
    """A normalisation divides by the root of variance + eps."""
    if not isinstance(config, ConvNetConfig) or not config.batchnorm:
        return
    for index in range(len(config.dilations)):
        block = params[f"batchnorm_{index}"]
        lowest = float(np.min(block["running_var"]) + block["eps"][0])
        if not np.float32(lowest) >= np.finfo(np.float32).tiny:
            raise fault("weights", f"running_var + eps of block {index} must be above 0", lowest)


FORMAT = Format("nam", recognises, read, write, finish, nam_container.split, nam_container.join)
