"""Initial weights of a fresh model."""

from typing import Any

import jax
import jax.numpy as jnp


def uniform(fan_in: int) -> Any:
    """PyTorch's initialisation: uniform within 1 / sqrt(fan in). The fan in of a recurrent layer is its hidden size."""
    bound = fan_in**-0.5
    return lambda key, shape, dtype=jnp.float32: jax.random.uniform(key, shape, dtype, -bound, bound)
