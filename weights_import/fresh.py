"""Files for models that were trained here, with all that players ask for: the one place where a file is made anew."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxalias.config import LSTMConfig, WaveNetConfig
from jaxalias.models import Params
from weights_import import guitarml, json_text, metadata, nam, nam_levels, sample_rates
from weights_import.model_file import Config, ModelFile, Network, Rate

_NAM_VERSION = "0.5.4"  # the last of the schema that every player reads
_LEGACY_KEYS = (
    "input_size", "condition_size", "head_size", "channels", "kernel_size", "dilations", "activation", "gated",
    "head_bias",
)  # fmt: skip


def guitarml_file(config: LSTMConfig, params: Params, note: dict[str, Any]) -> ModelFile:
    """A SimpleRNN file; its rate is 44.1 kHz, and its metadata say so."""
    rate = Rate(guitarml.SAMPLE_RATE)
    document = {**guitarml.empty(config), "metadata": sample_rates.written(rate)}
    return _file("guitarml", document, config, params, rate, note)


def nam_file(config: WaveNetConfig, params: Params, sample_rate: int, note: dict[str, Any]) -> ModelFile:
    """A `.nam` file of a WaveNet, with loudness and gain, from which players take the output level."""
    layers = [array.model_dump(mode="json", include=set(_LEGACY_KEYS)) for array in config.layer_arrays]
    document = {
        "version": _NAM_VERSION, "architecture": "WaveNet",
        "config": {"layers": layers, "head": None, "head_scale": config.head_scale},
        "weights": [], "sample_rate": sample_rate,
        "metadata": nam_levels.measure(
            Network(config, params, Rate(sample_rate)), nam_levels.level_signal(sample_rate)
        )._asdict(),
    }  # fmt: skip
    how = dict.fromkeys(nam_levels.Levels._fields, f"measured on {nam_levels.SIGNAL}")
    return _file("nam", document, config, params, Rate(sample_rate), metadata.about(note, how))


def _file(name: str, document: dict, config: Config, params: Params, rate: Rate, note: dict) -> ModelFile:
    form = {"nam": nam.FORMAT, "guitarml": guitarml.FORMAT}[name]
    if isinstance(config, WaveNetConfig):  # the scale stands among the weights too, which players read as float32
        config = config.model_copy(update={"head_scale": float(np.float32(config.head_scale))})
    exact = jax.tree.map(lambda array: np.asarray(array, np.float32).astype(np.float64), params)
    document = form.write(metadata.with_note(document, note), config, exact)
    layout = json_text.PLAIN._replace(end="\n")
    networks = (Network(config, exact, rate),)
    return ModelFile(Path(name), name, networks, document, partial(json_text.render, layout=layout))
