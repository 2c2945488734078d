"""Which arrays a model has, in the order of NAM's flat list of weights, and that list itself.

Order after NeuralAmpModelerCore (NAM/wavenet, NAM/lstm.cpp, NAM/convnet.cpp) and `export_weights` of
neural-amp-modeler 0.12 and 0.13. The condition_dsp of a WaveNet is not part of its list: it has its own.

The `init` of a model would tell the shapes too, but not the order, and only once the model is traced: a file is checked
by arithmetic before that, however much it asks for. A test holds the two together.
"""

from collections.abc import Iterable, Iterator
from math import prod

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxalias.config import ConvNetConfig, GRUConfig, LayerArrayConfig, LinearConfig, LSTMConfig, WaveNetConfig
from jaxalias.models import Params, wavenet_plan
from weights_import.checks import weights_of
from weights_import.model_file import Arrays, Config

Shapes = dict[tuple[str, ...], tuple[int, ...]]
"""Path in the tree of parameters -> shape."""
Named = tuple[tuple[str, ...], tuple[int, ...]]


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
    if not isinstance(config, LSTMConfig | GRUConfig):
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
    if isinstance(config, LSTMConfig | GRUConfig):
        for layer in range(config.num_layers):
            input_weight, hidden_weight, *rest = recurrent_layer(config, layer).items()
            yield dict([input_weight, hidden_weight])
            yield from (dict([part]) for part in rest)
        yield from (dict([part]) for part in recurrent_head(config).items())
    else:
        yield from (dict([part]) for part in _feed_forward(config))


def _feed_forward(config: WaveNetConfig | ConvNetConfig | LinearConfig) -> Iterator[Named]:
    if isinstance(config, LinearConfig):
        yield ("weight",), (config.receptive_field,)
        if config.bias:
            yield ("bias",), (1,)
    elif isinstance(config, ConvNetConfig):
        yield from _convnet(config)
    else:
        for index, array in enumerate(config.layer_arrays):
            yield from _under(f"array_{index}", _layer_array(array))
        if config.head:
            inputs = config.layer_arrays[-1].head_size
            for index, size in enumerate(config.head.kernel_sizes):
                last = index + 1 == len(config.head.kernel_sizes)
                rows = config.head.out_channels if last else config.head.channels
                yield from _under("head", _weight_and_bias(f"conv_{index}", (rows, inputs, size)))
                inputs = rows


def _convnet(config: ConvNetConfig) -> Iterator[Named]:
    inputs = 1
    for index in range(len(config.dilations)):
        yield from _weight_and_bias(f"conv_{index}", (config.channels, inputs, 2), bias=not config.batchnorm)
        for name in ("running_mean", "running_var", "weight", "bias") if config.batchnorm else ():
            yield (f"batchnorm_{index}", name), (config.channels,)
        if config.batchnorm:
            yield (f"batchnorm_{index}", "eps"), (1,)
        inputs = config.channels
    yield from _weight_and_bias("head", (1, config.channels))


def _layer_array(array: LayerArrayConfig) -> Iterator[Named]:
    width = wavenet_plan.bottleneck(array)
    yield ("rechannel", "weight"), (array.channels, array.input_size)
    for index, layer in enumerate(wavenet_plan.layers(array)):
        conv = (layer.rows, array.channels // array.groups_input, layer.kernel_size)
        mixin = (layer.rows, array.condition_size // array.groups_input_mixin)
        parts = [*_weight_and_bias("conv", conv), *_weight_and_bias("input_mixin", mixin, bias=False)]
        if array.layer1x1_groups:
            parts += _weight_and_bias("layer1x1", (array.channels, width // array.layer1x1_groups))
        if array.head1x1:
            parts += _weight_and_bias("head1x1", (array.head1x1.out_channels, width // array.head1x1.groups))
        for name, channels in wavenet_plan.film_channels(array, layer).items():
            film = getattr(array.films, name)
            shape = ((2 if film.shift else 1) * channels, array.condition_size // film.groups)
            parts += _under(f"{name}_film", _weight_and_bias("film", shape))
        yield from _under(f"layer_{index}", parts)
    taps = () if array.head_kernel_size == 1 else (array.head_kernel_size,)
    head = (array.head_size, wavenet_plan.head_inputs(array), *taps)
    yield from _weight_and_bias("head_rechannel", head, bias=array.head_bias)


def _weight_and_bias(name: str, shape: tuple[int, ...], bias: bool = True) -> Iterator[Named]:
    yield (name, "weight"), shape
    if bias:
        yield (name, "bias"), shape[:1]


def _under(name: str, parts: Iterable[Named]) -> Iterator[Named]:
    return (((name, *path), shape) for path, shape in parts)
