"""Files for models that were trained here, with all that players ask for: the one place where a file is made anew."""

from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxalias.config import LSTMConfig, WaveNetConfig
from jaxalias.models import Params
from weights_import import guitarml, json_text, metadata, nam, nam_levels
from weights_import.model_file import Config, ModelFile, Network

_NAM_VERSION = "0.5.4"  # the last of the schema that every player reads
_LEGACY_KEYS = (
    "input_size", "condition_size", "head_size", "channels", "kernel_size", "dilations", "activation", "gated",
    "head_bias",
)  # fmt: skip


def guitarml_file(config: LSTMConfig, params: Params, note: dict[str, Any]) -> ModelFile:
    """A SimpleRNN file; its rate is 44.1 kHz."""
    return _file("guitarml", guitarml.empty(config), config, params, guitarml.SAMPLE_RATE, note)


def nam_file(config: WaveNetConfig, params: Params, sample_rate: int, note: dict[str, Any]) -> ModelFile:
    """A `.nam` file of a WaveNet, with loudness and gain, from which players take the output level."""
    layers = [array.model_dump(mode="json", include=set(_LEGACY_KEYS)) for array in config.layer_arrays]
    document = {
        "version": _NAM_VERSION, "architecture": "WaveNet",
        "config": {"layers": layers, "head": None, "head_scale": config.head_scale},
        "weights": [], "sample_rate": sample_rate,
        "metadata": nam_levels.measure(
            Network(config, params, sample_rate), nam_levels.pink_noise(sample_rate)
        )._asdict(),
    }  # fmt: skip
    return _file("nam", document, config, params, sample_rate, note)


def _file(name: str, document: dict, config: Config, params: Params, sample_rate: int, note: dict) -> ModelFile:
    form = {"nam": nam.FORMAT, "guitarml": guitarml.FORMAT}[name]
    if isinstance(config, WaveNetConfig):  # the scale stands among the weights too, which players read as float32
        config = config.model_copy(update={"head_scale": float(np.float32(config.head_scale))})
    exact = jax.tree.map(lambda array: np.asarray(array, np.float32).astype(np.float64), params)
    document = form.write(metadata.with_note(document, note), config, exact)
    layout = json_text.PLAIN._replace(end="\n")
    networks = (Network(config, exact, sample_rate),)
    return ModelFile(Path(name), name, networks, document, partial(json_text.render, layout=layout))
