"""Which arrays a model has, in the order of NAM's flat list of weights, and that list itself.

Order after NeuralAmpModelerCore (NAM/wavenet, NAM/lstm.cpp) and `export_weights` of neural-amp-modeler 0.12.
"""

from collections.abc import Iterator
from math import prod

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxalias.config import GRUConfig, LayerArrayConfig, LSTMConfig, WaveNetConfig
from jaxalias.models import Params
from weights_import.checks import weights_of
from weights_import.model_file import Arrays, Config

Shapes = dict[tuple[str, ...], tuple[int, ...]]
"""Path in the tree of parameters -> shape."""


def recurrent_layer(config: LSTMConfig | GRUConfig, layer: int) -> Shapes:
    """The arrays of one LSTM or GRU layer. In these names and shapes PyTorch, GuitarML and NAM agree."""
    gates = 4 if isinstance(config, LSTMConfig) else 3
    rows, inputs = gates * config.hidden_size, config.hidden_size if layer else config.input_size
    shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, config.hidden_size)}
    biases = {0: (), 1: ("bias",), 2: ("bias_ih", "bias_hh")}[config.bias_vectors]
    states = (
        ("initial_hidden", "initial_cell") if isinstance(config, LSTMConfig) and config.stored_initial_state else ()
    )
    return {
        (f"{name}_l{layer}",): shape
        for name, shape in (
            *shapes.items(),
            *((name, (rows,)) for name in biases),
            *((name, (config.hidden_size,)) for name in states),
        )
    }


def recurrent_head(config: LSTMConfig | GRUConfig) -> Shapes:
    """The dense output of an LSTM or GRU."""
    bias: Shapes = {("head_bias",): (1,)} if config.head_bias else {}
    return {("head_weight",): (1, config.hidden_size), **bias}


def arrays(config: Config) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    """Path and shape of every array, one after the other and lazily: a config may ask for endless layers."""
    for block in _blocks(config):
        yield from block.items()


def count(config: Config) -> int:
    """How many numbers a model has, by arithmetic alone: nothing is made, however large the config."""
    if isinstance(config, WaveNetConfig):
        return sum(prod(shape) for _, shape in arrays(config))
    first, later, head = (
        sum(map(prod, shapes.values()))
        for shapes in (recurrent_layer(config, 0), recurrent_layer(config, 1), recurrent_head(config))
    )
    return first + (config.num_layers - 1) * later + head


def unflatten(weights: np.ndarray, config: Config) -> Params:
    """The tree of parameters from NAM's flat list, which has to have `count(config)` numbers."""
    found: Arrays = {}
    start = 0
    for block in _blocks(config):
        rows = next(iter(block.values()))[:-1]
        widths = [shape[-1] for shape in block.values()]
        end = start + prod(rows) * sum(widths)
        parts = np.split(weights[start:end].reshape(*rows, sum(widths)), np.cumsum(widths)[:-1], axis=-1)
        found.update(zip(block, map(np.ascontiguousarray, parts), strict=True))
        start = end
    return unflatten_dict(found)


def flatten(params: Params, config: Config) -> np.ndarray:
    """NAM's flat list from the tree of parameters; an array of another shape or not finite is refused."""
    flat = flatten_dict(params)
    blocks = ([weights_of(flat, path, shape) for path, shape in block.items()] for block in _blocks(config))
    return np.concatenate([np.concatenate(block, axis=-1).ravel() for block in blocks])


def _blocks(config: Config) -> Iterator[Shapes]:
    """The arrays in NAM's order; those of one block stand row by row beside each other."""
    if not isinstance(config, WaveNetConfig):
        for layer in range(config.num_layers):
            input_weight, hidden_weight, *rest = recurrent_layer(config, layer).items()
            yield dict([input_weight, hidden_weight])
            yield from (dict([part]) for part in rest)
        yield from (dict([part]) for part in recurrent_head(config).items())
    else:
        for index, array in enumerate(config.layer_arrays):
            yield from ({(f"array_{index}", *path): shape} for path, shape in _layer_array(array))


def _layer_array(array: LayerArrayConfig) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
    channels, rows = array.channels, (2 if array.gated else 1) * array.channels
    yield ("rechannel", "weight"), (channels, array.input_size)
    for index in range(len(array.dilations)):
        layer = f"layer_{index}"
        yield (layer, "conv", "weight"), (rows, channels, array.kernel_size)
        yield (layer, "conv", "bias"), (rows,)
        yield (layer, "input_mixin", "weight"), (rows, array.condition_size)
        yield (layer, "layer1x1", "weight"), (channels, channels)
        yield (layer, "layer1x1", "bias"), (channels,)
    yield ("head_rechannel", "weight"), (array.head_size, channels)
    if array.head_bias:
        yield ("head_rechannel", "bias"), (array.head_size,)
