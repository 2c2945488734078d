"""NAM's WaveNet: a dilated causal convolutional network, state = the past of the input.

Signals inside are (c, t), one tone at a time and, where it is long, a block of time at a time, each layer keeping
the end of what it heard: the activations of a block stay in the cache, and the backward pass recomputes them
rather than storing them. On a CPU that is the fastest order tried and the smallest (`experiments/BENCHMARKS.md`);
on an accelerator the whole batch is one block.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxalias.config import LayerArrayConfig, WaveNetConfig
from jaxalias.models.activations import ACTIVATIONS

Memory = tuple[tuple[Array, ...], ...]
"""Of each layer of each array the end of its input, (c, kept)."""

_BLOCK = 2048  # samples, of which a few layers' activations fit into a core's cache
_LONG = 4 * _BLOCK  # a shorter signal is one block


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
    samples, on_cpu = x.shape[1], jax.default_backend() == "cpu"
    later = (samples - 1) // _BLOCK if on_cpu and samples >= _LONG else 0  # blocks after the first

    @jax.checkpoint
    def block(memory: Memory | None, heard: Float[Array, "heard"]) -> tuple[Memory, Float[Array, "t"]]:
        played: Any = net.apply({"params": params}, heard[None], memory)
        return played

    def one_tone(tone: Float[Array, "heard"]) -> Float[Array, "t"]:
        first = tone.shape[0] - later * _BLOCK
        memory, y = block(None, tone[:first])
        if not later:
            return y
        _, ys = jax.lax.scan(block, memory, tone[first:].reshape(later, _BLOCK))
        return jnp.concatenate([y, ys.ravel()])

    y = jax.lax.map(one_tone, heard) if on_cpu else jax.vmap(one_tone)(heard)
    return y, heard[:, heard.shape[1] - past.shape[1] :]


class WaveNet(nn.Module):
    """memory, y = WaveNet(config).apply({"params": params}, x, memory), all t samples of x in y.

    Without memory the first r - 1 samples of x, the receptive field but one, are the past: y is (t - r + 1,).
    """

    config: WaveNetConfig

    @nn.compact
    def __call__(self, x: Float[Array, "1 t"], memory: "Memory | None" = None) -> "tuple[Memory, Float[Array, 's']]":
        signal, head = x, jnp.zeros((self.config.layer_arrays[0].channels, x.shape[1]), x.dtype)
        kept = []
        for index, array in enumerate(self.config.layer_arrays):
            before = None if memory is None else memory[index]
            signal, head, after = LayerArray(array, name=f"array_{index}")(signal, x, head, before)
            kept.append(after)
        return tuple(kept), self.config.head_scale * head[0]


class LayerArray(nn.Module):
    """Layers of one width; their outputs add up, with the head so far, to the head of this array."""

    config: LayerArrayConfig

    @nn.compact
    def __call__(
        self, signal: Array, condition: Array, head: Array, memory: tuple[Array, ...] | None
    ) -> tuple[Array, Array, tuple[Array, ...]]:
        signal = Pointwise(self.config.channels, bias=False, name="rechannel")(signal)
        outputs, kept = [], []
        for index, dilation in enumerate(self.config.dilations):
            heard = signal if memory is None else jnp.concatenate([memory[index], signal], axis=1)
            kept.append(heard[:, heard.shape[1] - (self.config.kernel_size - 1) * dilation :])
            signal, output = Layer(self.config, dilation, name=f"layer_{index}")(heard, condition)
            outputs.append(output)
        total = sum((_newest(output, signal) for output in outputs), start=_newest(head, signal))
        head = Pointwise(self.config.head_size, bias=self.config.head_bias, name="head_rechannel")(total)
        return signal, head, tuple(kept)


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
