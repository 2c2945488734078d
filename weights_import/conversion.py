"""A model from one format into another, where nothing is lost on the way: SimpleRNN to RTNeural JSON and back.

What is kept is the network. What a player puts before and after it is the player's own: Proteus multiplies the
input by 1.25 (2.5 times its drive knob; models with a knob by 1.5), AIDA-X by nothing.
"""

import dataclasses
import functools
from typing import Any

import numpy as np

from weights_import import guitarml, json_text, metadata, rtneural
from weights_import.model_file import ModelFile, Network, fault

_TARGETS: dict[str, Any] = {"guitarml": (rtneural, 1), "rtneural": (guitarml, 2)}
"""Format of the source -> module of the target, and the bias vectors of an LSTM there."""


def converted(source: ModelFile) -> ModelFile:
    """The same network as a file of the other format, ready to be saved.

    Raises:
        ModelFileError: the source has no other format, or the other format or its players cannot take the model
            as it is; names what, and why.
    """
    if source.format not in _TARGETS:
        raise fault("format", "must be SimpleRNN or RTNeural JSON to be converted", source.format)
    target, bias_vectors = _TARGETS[source.format]
    network = _with_biases(source.network, bias_vectors)
    about = {"name": source.path.stem} | metadata.of(source.document)
    document = target.create(network, about)
    encode = functools.partial(json_text.render, layout=json_text.PLAIN)
    networks = (target.FORMAT.read(document),)
    return dataclasses.replace(source, format=target.FORMAT.name, networks=networks, document=document, encode=encode)


def _with_biases(network: Network, bias_vectors: int) -> Network:
    """An LSTM with one bias vector a layer or two, of the same sum; a GRU with two; a head with a bias."""
    config: Any = network.config
    params = dict(network.params)
    for layer in range(config.num_layers):
        rows = params[f"weight_hh_l{layer}"].shape[0]
        parts = [params.pop(f"{name}_l{layer}", np.zeros(rows)) for name in ("bias", "bias_ih", "bias_hh")]
        both = parts[1:] if config.kind == "gru" else [sum(parts), np.zeros(rows)]
        names = ("bias",) if bias_vectors == 1 and config.kind == "lstm" else ("bias_ih", "bias_hh")
        params |= {f"{name}_l{layer}": part for name, part in zip(names, both, strict=False)}
    params.setdefault("head_bias", np.zeros(1))
    changes = {"bias_vectors": len(names), "head_bias": True}
    return network._replace(config=config.model_copy(update=changes), params=params)
