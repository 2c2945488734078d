"""The settings of each layer of a NAM WaveNet, from a config that gives most of them once for all layers."""

from typing import NamedTuple

from jaxalias.config.wavenet import AnyActivation, GatingMode, LayerArrayConfig, WaveNetConfig


class Layer(NamedTuple):
    """The settings of one layer of an array."""

    kernel_size: int
    dilation: int
    activation: AnyActivation
    mode: GatingMode
    secondary: AnyActivation
    rows: int  # channels before the activation: with a gate, twice those after it

    @property
    def reach(self) -> int:
        """The number of past samples in the input of its convolution."""
        return (self.kernel_size - 1) * self.dilation


def layers(array: LayerArrayConfig) -> tuple[Layer, ...]:
    """The layers of an array, in order."""
    count = len(array.dilations)

    def each(value: object) -> tuple:
        return value if isinstance(value, tuple) else (value,) * count

    modes = array.gated if isinstance(array.gated, tuple) else ("gated" if array.gated else "none",) * count
    values = (array.kernel_size, array.dilations, array.activation, modes, array.secondary_activation)
    rows = ((1 if mode == "none" else 2) * bottleneck(array) for mode in modes)
    return tuple(Layer(*settings) for settings in zip(*map(each, values), rows, strict=True))


def bottleneck(array: LayerArrayConfig) -> int:
    """The number of channels after the activation."""
    return array.bottleneck or array.channels


def head_inputs(array: LayerArrayConfig) -> int:
    """The number of channels in the sum of the layers' outputs."""
    return array.head1x1.out_channels if array.head1x1 else bottleneck(array)


def film_channels(array: LayerArrayConfig, layer: Layer) -> dict[str, int]:
    """The number of channels at each modulation in use, in the order of the files."""
    channels = {
        "conv_pre": array.channels,
        "conv_post": layer.rows,
        "input_mixin_pre": array.condition_size,
        "input_mixin_post": layer.rows,
        "activation_pre": layer.rows,
        "activation_post": bottleneck(array),
        "layer1x1_post": array.channels,
        "head1x1_post": head_inputs(array),
    }
    return {name: size for name, size in channels.items() if getattr(array.films, name) is not None}


def receptive_field(config: WaveNetConfig) -> int:
    """1 + the sum of (kernel - 1) * dilation over all convolutions, with those of heads and condition, in samples."""
    reach = sum(
        sum(layer.reach for layer in layers(array)) + (array.head_kernel_size - 1) * array.head_dilation
        for array in config.layer_arrays
    )
    after = sum(size - 1 for size in config.head.kernel_sizes) if config.head else 0
    before = receptive_field(config.condition_dsp) - 1 if config.condition_dsp else 0
    return 1 + before + reach + after
