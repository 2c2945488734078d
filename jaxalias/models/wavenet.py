"""NAM's WaveNet: a dilated causal convolutional network, state = the past of the input.

Signals inside are (c, t), one tone at a time: the activations of one tone stay in the cache, and the
backward pass recomputes them rather than storing them for the whole batch. On a CPU that is both the
fastest order tried and the smallest (`experiments/benchmark.py`); on an accelerator the batch is mapped
in parallel.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxalias.config import LayerArrayConfig, WaveNetConfig
from jaxalias.models.activations import ACTIVATIONS


def receptive_field(config: WaveNetConfig) -> int:
    """1 + the sum of (kernel - 1) * dilation over all layers, in samples."""
    return 1 + sum((array.kernel_size - 1) * sum(array.dilations) for array in config.layer_arrays)


def apply(
    net: "WaveNet", params: dict, x: Float[Array, "b t"], past: Float[Array, "b r"]
) -> tuple[Float[Array, "b t"], Float[Array, "b r"]]:
    """Run a block with the receptive field's worth of input that came before it.

    Keeping input, not activations, as the state makes a block exact under whatever parameters it is run
    with: in training no gradient is cut at the edge of a frame.
    """
    heard = jnp.concatenate([past, x], axis=1)
    one_tone = jax.checkpoint(lambda tone: net.apply({"params": params}, tone[None]))
    y = jax.lax.map(one_tone, heard) if jax.default_backend() == "cpu" else jax.vmap(one_tone)(heard)
    return y, heard[:, heard.shape[1] - past.shape[1] :]


class WaveNet(nn.Module):
    """y = WaveNet(config).apply({"params": params}, x): (1, r - 1 + t) samples in, (t,) out."""

    config: WaveNetConfig

    @nn.compact
    def __call__(self, x: Float[Array, "1 heard"]) -> Float[Array, "t"]:
        signal, head = x, jnp.zeros((self.config.layer_arrays[0].channels, x.shape[1]), x.dtype)
        for index, array in enumerate(self.config.layer_arrays):
            signal, head = LayerArray(array, name=f"array_{index}")(signal, x, head)
        return self.config.head_scale * head[0]


class LayerArray(nn.Module):
    """Layers of one width; their outputs add up, with the head so far, to the head of this array."""

    config: LayerArrayConfig

    @nn.compact
    def __call__(self, signal: Array, condition: Array, head: Array) -> tuple[Array, Array]:
        signal = Pointwise(self.config.channels, bias=False, name="rechannel")(signal)
        outputs = []
        for index, dilation in enumerate(self.config.dilations):
            signal, output = Layer(self.config, dilation, name=f"layer_{index}")(signal, condition)
            outputs.append(output)
        total = sum((_newest(output, signal) for output in outputs), start=_newest(head, signal))
        return signal, Pointwise(self.config.head_size, bias=self.config.head_bias, name="head_rechannel")(total)


class Layer(nn.Module):
    """z = conv(x) + mixin(condition); h = act(z), or act(z_1) sigmoid(z_2) if gated; out: x + 1x1(h), h."""

    config: LayerArrayConfig
    dilation: int

    @nn.compact
    def __call__(self, signal: Array, condition: Array) -> tuple[Array, Array]:
        channels, activate = self.config.channels, ACTIVATIONS[self.config.activation]
        rows = 2 * channels if self.config.gated else channels
        z = DilatedConv(rows, self.config.kernel_size, self.dilation, name="conv")(signal)
        z = z + Pointwise(rows, bias=False, name="input_mixin")(_newest(condition, z))
        h = activate(z[:channels]) * jax.nn.sigmoid(z[channels:]) if self.config.gated else activate(z)
        return _newest(signal, h) + Pointwise(channels, bias=True, name="layer1x1")(h), h


class DilatedConv(nn.Module):
    """Causal convolution as a sum of shifted matrix products, the newest sample under the last tap."""

    rows: int
    kernel_size: int
    dilation: int

    @nn.compact
    def __call__(self, x: Float[Array, "c t"]) -> Float[Array, "rows s"]:
        initialise = _uniform(x.shape[0] * self.kernel_size)
        weight = self.param("weight", initialise, (self.rows, x.shape[0], self.kernel_size))
        bias = self.param("bias", initialise, (self.rows,))
        length = x.shape[1] - (self.kernel_size - 1) * self.dilation
        shifted = (x[:, tap * self.dilation : tap * self.dilation + length] for tap in range(self.kernel_size))
        return sum(_mix(weight[:, :, tap], part) for tap, part in enumerate(shifted)) + bias[:, None]


class Pointwise(nn.Module):
    """A 1x1 convolution: a matrix over the channels."""

    rows: int
    bias: bool

    @nn.compact
    def __call__(self, x: Float[Array, "c t"]) -> Float[Array, "rows t"]:
        initialise = _uniform(x.shape[0])
        y = _mix(self.param("weight", initialise, (self.rows, x.shape[0])), x)
        return y + self.param("bias", initialise, (self.rows,))[:, None] if self.bias else y


def _newest(longer: Float[Array, "c t"], like: Float[Array, "d s"]) -> Float[Array, "c s"]:
    return longer[:, longer.shape[1] - like.shape[1] :]


def _mix(weight: Float[Array, "rows c"], x: Float[Array, "c t"]) -> Float[Array, "rows t"]:
    if weight.shape[1] == 1:
        return weight * x
    return jnp.dot(weight, x, precision=jax.lax.Precision.HIGHEST)


def _uniform(fan_in: int) -> Any:
    """PyTorch's initialisation: uniform within 1 / sqrt(fan in)."""
    bound = fan_in**-0.5
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)
