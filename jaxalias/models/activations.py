"""The element-wise functions of NAM's players, under NAM's names (NeuralAmpModelerCore, activations.h)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxalias.config.wavenet import ActivationConfig, AnyActivation

_SLOPE = 0.01  # the players' default for a file without a slope


def _fast_tanh(x: jax.Array) -> jax.Array:
    """The players' approximation of tanh. A file that names it was trained with it."""
    size = jnp.abs(x)
    square = x * x
    top = x * (2.45550750702956 + 2.45550750702956 * size + (0.893229853513558 + 0.821226666969744 * size) * square)
    return top / (2.44506634652299 + (2.44506634652299 + square) * jnp.abs(x + 0.814642734961073 * x * size))


def _leaky_hard_tanh(
    x: jax.Array, low: float = -1.0, high: float = 1.0, below: float = _SLOPE, above: float = _SLOPE
) -> jax.Array:
    return jnp.where(x < low, below * (x - low) + low, jnp.where(x > high, above * (x - high) + high, x))


def _leaky_relu(x: jax.Array, slope: float | jax.Array = _SLOPE) -> jax.Array:
    return jnp.where(x > 0, x, slope * x)


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "Tanh": jnp.tanh,
    "Hardtanh": lambda x: jnp.clip(x, -1, 1),
    "Fasttanh": _fast_tanh,
    "ReLU": jax.nn.relu,
    "LeakyReLU": _leaky_relu,
    "PReLU": _leaky_relu,
    "Sigmoid": jax.nn.sigmoid,
    "SiLU": jax.nn.silu,
    "Hardswish": lambda x: x * jnp.clip(x + 3, 0, 6) / 6,
    "LeakyHardtanh": _leaky_hard_tanh,
    "LeakyHardTanh": _leaky_hard_tanh,
    "Softsign": lambda x: x / (1 + jnp.abs(x)),
}


def of(activation: AnyActivation) -> Callable[[jax.Array], jax.Array]:
    """The function of (c, t) that a config names, with its parameters if it has any."""
    if not isinstance(activation, ActivationConfig):
        return ACTIVATIONS[activation]
    if activation.type in ("LeakyReLU", "PReLU"):
        slopes = activation.negative_slopes
        if len(slopes) == 1:
            return lambda x: _leaky_relu(x, slopes[0])
        return lambda x: _leaky_relu(x, jnp.asarray(slopes, x.dtype)[:, None])
    if activation.type in ("LeakyHardtanh", "LeakyHardTanh"):
        limits = activation.min_val, activation.max_val, activation.min_slope, activation.max_slope
        return lambda x: _leaky_hard_tanh(x, *limits)
    return ACTIVATIONS[activation.type]
