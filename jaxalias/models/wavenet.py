"""NAM's WaveNet: a dilated causal convolutional network, in the legacy and the current schema of its files.

Where NeuralAmpModelerCore and the package neural-amp-modeler disagree, this follows the core, which players use.
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxalias.config.wavenet import LayerArrayConfig, PostHeadConfig, WaveNetConfig
from jaxalias.models import activations, wavenet_plan
from jaxalias.models.convolution import DilatedConv, Loop, Pointwise, newest, remembered, shares
from jaxalias.models.feedforward import Memory
from jaxalias.models.film import FiLM


class WaveNet(nn.Module):
    """memory, y = WaveNet(config).apply({"params": params}, x, memory); y has all t samples of x.

    Without memory, the first r - 1 samples of x are the past, r being the receptive field, and y is (c, t - r + 1).
    """

    config: WaveNetConfig

    @nn.compact
    def __call__(self, x: Float[Array, "1 t"], memory: Memory | None = None) -> tuple[Memory, Float[Array, "c s"]]:
        before = iter(shares(memory, len(self.config.layer_arrays) + 2))
        condition, kept = x, []
        if self.config.condition_dsp:
            after, condition = WaveNet(self.config.condition_dsp, name="condition_dsp")(x, next(before))
            kept.append(after)
        signal, head = newest(x, condition), None
        for index, array in enumerate(self.config.layer_arrays):
            signal, head, after = LayerArray(array, name=f"array_{index}")(signal, condition, head, next(before))
            kept.append(after)
        assert head is not None  # there is at least one array
        y = self.config.head_scale * head
        if self.config.head:
            after, y = PostHead(self.config.head, name="head")(y, next(before))
            kept.append(after)
        return tuple(kept), y


class LayerArray(nn.Module):
    """Layers of one width. The head of the array is the sum of their outputs and of the head before."""

    config: LayerArrayConfig

    @nn.compact
    def __call__(
        self, signal: Array, condition: Array, head: Array | None, memory: Memory | None
    ) -> tuple[Array, Array, Memory]:
        layers = wavenet_plan.layers(self.config)
        signal = Pointwise(self.config.channels, bias=False, name="rechannel")(signal)
        outputs, kept = [] if head is None else [head], []
        before = shares(memory, len(layers) + 1)
        for index, layer in enumerate(layers):
            signal, output, after = Layer(self.config, layer, name=f"layer_{index}")(signal, condition, before[index])
            outputs.append(output)
            kept.append(after)
        total: Any = sum(newest(output, signal) for output in outputs)
        size, bias, kernel = self.config.head_size, self.config.head_bias, self.config.head_kernel_size
        if kernel == 1:
            return signal, Pointwise(size, bias=bias, name="head_rechannel")(total), tuple(kept)
        total, after = remembered(before[-1], total, (kernel - 1) * self.config.head_dilation)
        head = DilatedConv(size, kernel, self.config.head_dilation, bias=bias, name="head_rechannel")(total)
        return newest(signal, head), head, (*kept, after)


class Layer(nn.Module):
    """z = conv(x) + mixin(condition); h = act(z) or gated halves of z; outputs x + 1x1(h), and 1x1(h) for the head.

    The condition may modulate each of the signals in between.
    """

    array: LayerArrayConfig
    layer: wavenet_plan.Layer

    @nn.compact
    def __call__(self, signal: Array, condition: Array, memory: Array | Loop | None) -> tuple[Array, Array, Array]:
        array, layer = self.array, self.layer

        def film(place: str, x: Array) -> Array:
            config = getattr(array.films, place)
            return x if config is None else FiLM(config, name=f"{place}_film")(x, condition)

        inputs, kept = remembered(memory, film("conv_pre", signal), layer.reach)
        conv = DilatedConv(layer.rows, layer.kernel_size, layer.dilation, groups=array.groups_input, name="conv")
        z = film("conv_post", conv(inputs))
        mixin = Pointwise(layer.rows, bias=False, groups=array.groups_input_mixin, name="input_mixin")
        z = z + film("input_mixin_post", mixin(film("input_mixin_pre", newest(condition, z))))
        h = film("activation_post", _bend(layer, film("activation_pre", z)))

        output = h
        if array.head1x1:
            mix = Pointwise(array.head1x1.out_channels, bias=True, groups=array.head1x1.groups, name="head1x1")
            output = film("head1x1_post", mix(h))
        signal = newest(signal, h)
        if array.layer1x1_groups:
            mixed = Pointwise(array.channels, bias=True, groups=array.layer1x1_groups, name="layer1x1")(h)
            modulated = film("layer1x1_post", mixed)  # the file has its weights even if the mode does not use it
            signal = signal + (modulated if layer.mode == "blended" else mixed)
        return signal, output, kept


class PostHead(nn.Module):
    """Convolutions after the scaled output, an activation before each."""

    config: PostHeadConfig

    @nn.compact
    def __call__(self, x: Array, memory: Memory | None) -> tuple[Memory, Array]:
        sizes, kept = self.config.kernel_sizes, []
        activate = activations.of(self.config.activation)
        for index, (size, before) in enumerate(zip(sizes, shares(memory, len(sizes)), strict=True)):
            x, after = remembered(before, activate(x), size - 1)
            rows = self.config.channels if index + 1 < len(sizes) else self.config.out_channels
            x = DilatedConv(rows, size, 1, name=f"conv_{index}")(x)
            kept.append(after)
        return tuple(kept), x


def _bend(layer: wavenet_plan.Layer, z: Array) -> Array:
    activate = activations.of(layer.activation)
    if layer.mode == "none":
        return activate(z)
    first, second = jnp.split(z, 2)
    gate, bent = activations.of(layer.secondary)(second), activate(first)
    return gate * bent if layer.mode == "gated" else gate * bent + (1 - gate) * first
