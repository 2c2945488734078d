"""Causal convolutions of (c, t), with what they remember from one block of time to the next."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxalias.models.initial_weights import uniform


class DilatedConv(nn.Module):
    """Causal convolution as a sum of shifted matrix products, the newest sample under the last tap."""

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
        y = convolve(weight, x, self.dilation, self.groups)
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


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(
    weight: Float[Array, "rows c taps"], x: Float[Array, "d t"], dilation: int, groups: int = 1
) -> Float[Array, "rows s"]:
    """Samples of a dilated convolution that hear the whole kernel; s = t - (taps - 1) dilation.

    The gradient is written by hand: what autodiff makes of a sum of shifted products, one product a tap for the
    weights, takes up to twice as long on a CPU as one product for all (`experiments/BENCHMARKS.md`).
    """
    y: Any = sum(
        _mix(weight[:, :, tap], part, groups) for tap, part in enumerate(_shifted(x, weight.shape[2], dilation))
    )
    return y


def _shifted(x: Float[Array, "d t"], taps: int, dilation: int) -> list[Float[Array, "d s"]]:
    """What each tap hears."""
    length = x.shape[1] - (taps - 1) * dilation
    return [x[:, tap * dilation : tap * dilation + length] for tap in range(taps)]


def remembered(
    memory: Float[Array, "c kept"] | None, signal: Float[Array, "c t"], reach: int
) -> tuple[Float[Array, "c s"], Float[Array, "c reach"]]:
    """The signal behind what came before it, and the end of both, `reach` samples, for the next block."""
    heard = signal if memory is None else jnp.concatenate([memory, signal], axis=1)
    return heard, heard[:, heard.shape[1] - reach :]


def newest(longer: Float[Array, "c t"], like: Float[Array, "d s"]) -> Float[Array, "c s"]:
    """The end of a signal, as long as another is: all convolutions drop their first samples."""
    return longer[:, longer.shape[1] - like.shape[1] :]


def _convolve_forward(weight: Array, x: Array, dilation: int, groups: int) -> tuple[Array, tuple[Array, Array]]:
    return convolve(weight, x, dilation, groups), (weight, x)


def _convolve_backward(dilation: int, groups: int, heard: tuple[Array, Array], d_y: Array) -> tuple[Array, Array]:
    """Gradients of the weights, in one product of all taps, and of the signal, a convolution backwards in time."""
    weight, x = heard
    rows, channels, taps = weight.shape
    columns = jnp.stack([part.reshape(groups, channels, -1) for part in _shifted(x, taps, dilation)], axis=1)
    by_group = d_y.reshape(groups, rows // groups, -1)
    d_weight = jnp.einsum(
        "grt,gnt->grn", by_group, columns.reshape(groups, taps * channels, -1), precision=jax.lax.Precision.HIGHEST
    )
    d_weight = jnp.moveaxis(d_weight.reshape(rows, taps, channels), 1, 2)
    silence = (taps - 1) * dilation
    backwards = weight.reshape(groups, rows // groups, channels, taps)[..., ::-1].swapaxes(1, 2)
    d_x = convolve(
        backwards.reshape(groups * channels, rows // groups, taps),
        jnp.pad(d_y, ((0, 0), (silence, silence))),
        dilation,
        groups,
    )
    return d_weight, d_x


convolve.defvjp(_convolve_forward, _convolve_backward)


def _mix(weight: Float[Array, "rows c"], x: Float[Array, "d t"], groups: int) -> Float[Array, "rows t"]:
    """Each group of rows hears its own group of channels; a matrix product where there is one group."""
    if groups > 1:
        weights, parts = weight.reshape(groups, -1, weight.shape[1]), x.reshape(groups, -1, x.shape[1])
        y = jnp.einsum("grc,gct->grt", weights, parts, precision=jax.lax.Precision.HIGHEST)
        return y.reshape(weight.shape[0], x.shape[1])
    if weight.shape[1] == 1:
        return weight * x
    return jnp.dot(weight, x, precision=jax.lax.Precision.HIGHEST)
