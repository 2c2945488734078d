"""Causal convolutions of signals (c, t), and their memory between blocks of time."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from jaxalias.models.initial_weights import uniform


class Loop(NamedTuple):
    """Used instead of a memory for a signal that repeats every `period` samples and always did."""

    period: Int32[Array, ""]  # more than half of the signal's length


class DilatedConv(nn.Module):
    """Causal convolution; the last tap belongs to the newest sample. The outputs of all taps, shifted and summed.

    One matrix product for all taps, then the shifts. This is faster than one product per tap of a shifted input, and
    than one product of concatenated shifted inputs (`experiments/BENCHMARKS.md`).
    """

    rows: int
    kernel_size: int
    dilation: int
    bias: bool = True
    groups: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "c t"]) -> Float[Array, "rows s"]:
        inputs = x.shape[0] // self.groups
        initialise = uniform(inputs * self.kernel_size)
        weight = self.param("weight", initialise, (self.rows, inputs, self.kernel_size))
        length = x.shape[1] - (self.kernel_size - 1) * self.dilation
        by_group = weight.reshape(self.groups, -1, inputs, self.kernel_size).transpose(0, 3, 1, 2)
        outputs = _mix(by_group.reshape(-1, inputs), x, self.groups)
        outputs = outputs.reshape(self.groups, self.kernel_size, self.rows // self.groups, x.shape[1])
        starts = (tap * self.dilation for tap in range(self.kernel_size))
        y: Any = sum(outputs[:, tap, :, start : start + length] for tap, start in enumerate(starts))
        y = y.reshape(self.rows, length)
        return y + self.param("bias", initialise, (self.rows,))[:, None] if self.bias else y


class Pointwise(nn.Module):
    """A 1x1 convolution: a matrix over the channels."""

    rows: int
    bias: bool
    groups: int = 1

    @nn.compact
    def __call__(self, x: Float[Array, "c t"]) -> Float[Array, "rows t"]:
        inputs = x.shape[0] // self.groups
        initialise = uniform(inputs)
        y = _mix(self.param("weight", initialise, (self.rows, inputs)), x, self.groups)
        return y + self.param("bias", initialise, (self.rows,))[:, None] if self.bias else y


def shares(memory: Any, count: int) -> tuple:
    """The memory of each of `count` parts of a network, from the memory of the whole."""
    return (memory,) * count if memory is None or isinstance(memory, Loop) else memory


def remembered(
    memory: Float[Array, "c kept"] | Loop | None, signal: Float[Array, "c t"], reach: int
) -> tuple[Float[Array, "c s"], Float[Array, "c reach"]]:
    """(memory + signal, new memory): the signal after the samples before it, and the last `reach` samples of both."""
    before = _before(memory, signal, reach) if isinstance(memory, Loop) else memory
    inputs = signal if before is None else jnp.concatenate([before, signal], axis=1)
    return inputs, inputs[:, inputs.shape[1] - reach :]


def _before(loop: Loop, signal: Float[Array, "c t"], reach: int) -> Float[Array, "c reach"]:
    """The `reach` samples before a periodic signal: a part of its period, or several periods."""
    if 2 * reach <= signal.shape[1]:
        return jax.lax.dynamic_slice_in_dim(signal, loop.period - reach, reach, axis=1)
    return jnp.take(signal, jnp.arange(-reach, 0) % loop.period, axis=1)


def newest(longer: Float[Array, "c t"], like: Float[Array, "d s"]) -> Float[Array, "c s"]:
    """The last samples of a signal, as many as `like` has; needed because every convolution drops its first samples."""
    return longer[:, longer.shape[1] - like.shape[1] :]


def _mix(weight: Float[Array, "rows c"], x: Float[Array, "d t"], groups: int) -> Float[Array, "rows t"]:
    """Multiply each group of channels with its own group of rows; with one group this is a matrix product."""
    if groups > 1:
        weights = weight.reshape(groups, -1, weight.shape[1])
        parts = x.reshape(groups, weight.shape[1], x.shape[1])  # a block of the past alone has no sample here
        y = jnp.einsum("grc,gct->grt", weights, parts, precision=jax.lax.Precision.HIGHEST)
        return y.reshape(weight.shape[0], x.shape[1])
    if weight.shape[1] == 1:
        return weight * x
    return jnp.dot(weight, x, precision=jax.lax.Precision.HIGHEST)
