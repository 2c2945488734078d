"""NAM `.nam` files: WaveNet in the legacy (0.5.x) schema, and LSTM.

Source: NeuralAmpModelerCore 0.5.5 and neural-amp-modeler 0.12.3. A file keeps its version, schema and keys: old
players refuse newer ones, and a missing key can take the host of a plugin down.
"""

import re
from typing import Any

import jax.numpy as jnp
import numpy as np
from pydantic import Field, FiniteFloat, PositiveInt

from jaxalias import models
from jaxalias.config import LayerArrayConfig, LSTMConfig, Record, WaveNetConfig
from jaxalias.models import Params
from jaxalias.models.wavenet import receptive_field
from weights_import import checks, layout, metadata, nam_levels
from weights_import.model_file import Config, Format, ModelFileError, Network, fault

SAMPLE_RATE = 48_000  # what players assume for a file without one
_RECEPTIVE_FIELD_LIMIT = 1_000_000  # samples; the longest known is 6347, and playing has to hold them all
_SCALE_TOLERANCE = 1e-6  # relative, between config.head_scale and its float32 copy; real files: 3e-8
_SETTLING_SAMPLES = 48_000  # of silence, after which the trainer stores an LSTM's state


class _LayerArray(LayerArrayConfig):
    """A layer array as files hold it: no defaults, since the trainer's and the players' differ."""

    condition_size: checks.One
    gated: bool
    head_bias: bool


class _WaveNet(Record):
    layers: tuple[_LayerArray, ...] = Field(min_length=1)
    head: None = None
    head_scale: FiniteFloat
    in_channels: checks.One = 1


class _LSTM(Record):
    input_size: checks.One
    hidden_size: PositiveInt
    num_layers: PositiveInt
    in_channels: checks.One = 1
    out_channels: checks.One = 1


def recognises(document: dict) -> bool:
    """Every NAM file names its architecture."""
    return "architecture" in document


def read(document: dict) -> Network:
    """The network of a NAM file. The last weight of a WaveNet is its head_scale, as for the players."""
    _check_version(checks.require(document, "version"))
    metadata.of(document)
    architecture, described = document["architecture"], checks.require(document, "config")
    if architecture == "WaveNet":
        config: Config = wavenet_config(described)
    elif architecture == "LSTM":
        config = _lstm_config(described)
    else:
        raise fault("architecture", "must be WaveNet or LSTM (others are not supported)", architecture)
    weights = checks.numbers(checks.require(document, "weights"), "weights")
    expected = layout.count(config) + isinstance(config, WaveNetConfig)
    if len(weights) != expected:
        raise ModelFileError(f"weights: config requires {expected} numbers, got {len(weights)}")
    if isinstance(config, WaveNetConfig):
        config, weights = _with_scale(config, float(weights[-1])), weights[:-1]
    rate = checks.sample_rate(document.get("sample_rate", SAMPLE_RATE))
    return Network(config, layout.unflatten(weights, config), rate)


def write(document: dict, config: Config, params: Params) -> dict:
    """The document with the parameters as its weights, plain Python floats."""
    scale = [config.head_scale] if isinstance(config, WaveNetConfig) else []
    return {**document, "weights": layout.flatten(params, config).tolist() + scale}


def finish(document: dict, teacher: Network, params: Params, note: dict) -> tuple[Params, dict]:
    """Bring what follows from the weights up to date: the initial state of an LSTM, and loudness and gain."""
    if isinstance(teacher.config, LSTMConfig):
        params = params | settled_state(teacher.config, params)
    student = teacher._replace(params=params)
    levels = nam_levels.corrected(metadata.of(document), teacher, student)
    return params, metadata.with_note(document, note, **levels)


def wavenet_config(described: Any, key: str = "config") -> WaveNetConfig:
    """The config of a WaveNet, from the `config` of a file in the legacy schema, which stands there under `key`."""
    _refuse_newer_schema(described, key)
    found = checks.record(_WaveNet, described, key).model_dump()
    config = checks.record(WaveNetConfig, {"layer_arrays": found["layers"], "head_scale": found["head_scale"]}, key)
    field = receptive_field(config)
    if field > _RECEPTIVE_FIELD_LIMIT:
        raise fault(f"{key}.layers", f"receptive field must be at most {_RECEPTIVE_FIELD_LIMIT} samples", field)
    return config


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


def _lstm_config(described: Any) -> LSTMConfig:
    found = checks.record(_LSTM, described, "config")
    return LSTMConfig(
        hidden_size=found.hidden_size,
        num_layers=found.num_layers,
        bias_vectors=1,
        skip=False,
        stored_initial_state=True,
    )


def _with_scale(config: WaveNetConfig, scale: float) -> WaveNetConfig:
    if abs(scale - config.head_scale) > _SCALE_TOLERANCE * abs(config.head_scale):
        rule = f"the last weight must equal config.head_scale = {config.head_scale}"
        raise fault("weights[-1]", rule, scale)
    return config.model_copy(update={"head_scale": scale})


def _check_version(version: Any) -> None:
    """The gate of NeuralAmpModelerCore 0.5.5."""
    numbers = re.fullmatch(r"([0-9]{1,9})\.([0-9]{1,9})\.([0-9]{1,9})", version) if isinstance(version, str) else None
    if numbers is None or not (0, 5) <= (int(numbers[1]), int(numbers[2])) <= (0, 7):
        raise fault("version", 'must be "0.5.0" to "0.7.x", as for the players', version)


def _refuse_newer_schema(described: Any, parent: str) -> None:
    """Name the key that makes a file a newer one, before the keys that it lacks for that reason."""
    layers = described.get("layers") if isinstance(described, dict) else None
    parts: list[tuple[str, Any, type[Record]]] = [(parent, described, _WaveNet)]
    parts += [
        (f"{parent}.layers.{i}", x, _LayerArray) for i, x in enumerate(layers if isinstance(layers, list) else ())
    ]
    for name, part, schema in parts:
        for key, value in part.items() if isinstance(part, dict) else ():
            if key not in schema.model_fields:
                raise fault(f"{name}.{key}", "not a key of the legacy (0.5.x) schema, the only one supported", value)


FORMAT = Format("nam", recognises, read, write, finish)
