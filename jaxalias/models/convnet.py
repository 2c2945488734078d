"""NAM's ConvNet and Linear: a chain of convolutions with two taps, and an impulse response."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.scipy.signal import fftconvolve
from jaxtyping import Array, Float

from jaxalias.config.wavenet import ConvNetConfig, LinearConfig
from jaxalias.models import activations
from jaxalias.models.convolution import DilatedConv, Pointwise, remembered, shares
from jaxalias.models.feedforward import Memory
from jaxalias.models.initial_weights import uniform

_DIRECT_TAPS = 256  # longest direct convolution, as in NeuralAmpModelerCore; an FFT spreads rounding over all samples


def receptive_field(config: ConvNetConfig) -> int:
    """1 + the sum of the dilations, in samples: every block has two taps."""
    return 1 + sum(config.dilations)


def play(
    net: "Linear", params: dict, x: Float[Array, "b t"], past: Float[Array, "b r"]
) -> tuple[Float[Array, "b t"], Float[Array, "b r"]]:
    """Apply a Linear to a block and the input before it, to all signals at once."""
    inputs = jnp.concatenate([past, x], axis=1)
    y: Array = net.apply({"params": params}, inputs)  # type: ignore[assignment]
    return y, inputs[:, x.shape[1] :]


def _respond(x: Float[Array, "b t"], response: Float[Array, "taps"]) -> Float[Array, "b s"]:
    """The convolution of each signal: directly if the response is short, else by an FFT."""
    if response.size > _DIRECT_TAPS:
        return jax.vmap(lambda signal: fftconvolve(signal, response, mode="valid"))(x)
    taps, highest = response[None, None, ::-1], jax.lax.Precision.HIGHEST
    return jax.lax.conv_general_dilated(x[:, None], taps, (1,), "VALID", precision=highest)[:, 0]


class ConvNet(nn.Module):
    """memory, y = ConvNet(config).apply({"params": params}, x, memory), as for a `WaveNet`."""

    config: ConvNetConfig

    @nn.compact
    def __call__(self, x: Float[Array, "1 t"], memory: Memory | None = None) -> tuple[Memory, Float[Array, "1 s"]]:
        activate, kept = activations.of(self.config.activation), []
        before = shares(memory, len(self.config.dilations))
        for index, dilation in enumerate(self.config.dilations):
            x, after = remembered(before[index], x, dilation)
            kept.append(after)
            normalised = self.config.batchnorm
            x = DilatedConv(self.config.channels, 2, dilation, bias=not normalised, name=f"conv_{index}")(x)
            x = activate(BatchNorm(name=f"batchnorm_{index}")(x) if normalised else x)
        return tuple(kept), Pointwise(1, bias=True, name="head")(x)


class BatchNorm(nn.Module):
    """Batch normalisation after training: an affine map whose statistics are constants."""

    @nn.compact
    def __call__(self, x: Float[Array, "c t"]) -> Float[Array, "c t"]:
        shape, zeros, ones = (x.shape[0],), nn.initializers.zeros, nn.initializers.ones
        mean, variance = self.param("running_mean", zeros, shape), self.param("running_var", ones, shape)
        weight, bias = self.param("weight", ones, shape), self.param("bias", zeros, shape)
        eps = self.param("eps", nn.initializers.constant(1e-5), (1,))
        mean, variance, eps = jax.lax.stop_gradient((mean, variance, eps))
        return (weight / (variance + eps) ** 0.5)[:, None] * (x - mean[:, None]) + bias[:, None]


class Linear(nn.Module):
    """An impulse response. Its first number belongs to the newest sample, as in NeuralAmpModelerCore."""

    config: LinearConfig

    @nn.compact
    def __call__(self, x: Float[Array, "b t"]) -> Float[Array, "b s"]:
        initialise = uniform(self.config.receptive_field)
        response = self.param("weight", initialise, (self.config.receptive_field,))
        y = _respond(x, response)
        return y + self.param("bias", initialise, (1,)) if self.config.bias else y
