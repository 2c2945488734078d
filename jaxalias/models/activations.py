"""The element-wise functions of NAM's players, by NAM's names (NeuralAmpModelerCore, activations.h)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

_SLOPE = 0.01  # what the players take where a file names no slope


def _fast_tanh(x: jax.Array) -> jax.Array:
    """The players' approximation of tanh; a file that asks for it was trained with it."""
    size = jnp.abs(x)
    square = x * x
    top = x * (2.45550750702956 + 2.45550750702956 * size + (0.893229853513558 + 0.821226666969744 * size) * square)
    return top / (2.44506634652299 + (2.44506634652299 + square) * jnp.abs(x + 0.814642734961073 * x * size))


def _leaky_hard_tanh(x: jax.Array) -> jax.Array:
    return jnp.where(x < -1, _SLOPE * (x + 1) - 1, jnp.where(x > 1, _SLOPE * (x - 1) + 1, x))


def _leaky_relu(x: jax.Array) -> jax.Array:
    return jnp.where(x > 0, x, _SLOPE * x)


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
