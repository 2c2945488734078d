"""A file that was just written is played before it takes its place: what cannot be played is no result."""

from functools import lru_cache
from typing import Any

import jax
import numpy as np

from jaxalias import models
from weights_import.model_file import Config, ModelFileError, Network

_SAMPLES = 1024
_LEVEL = 0.25  # -12 dB, in the range that models are trained on


def compare(found: Network, meant: Network) -> None:
    """Play what was read back and what was to be written, in float32 as players do.

    Raises:
        ModelFileError: the output is not finite, or not the same.
    """
    played, expected = play(found), play(meant)
    if not np.isfinite(played).all():
        raise ModelFileError("params: must make a model whose output is finite, and it is not")
    if not np.array_equal(played, expected):
        raise ModelFileError("params: must sound as they were meant to, but read back they sound otherwise")


def play(network: Network) -> np.ndarray:
    """The answer to a short noise after silence, knobs in the middle."""
    params = models.cast(network.params, np.float32)
    x = np.random.default_rng(0).uniform(-_LEVEL, _LEVEL, (1, _SAMPLES)).astype(np.float32)
    return np.asarray(_player(network.config)(params, x))


@lru_cache(8)
def _player(config: Config) -> Any:
    model = models.build(config)
    middle = np.full(model.knobs, 0.5)
    return jax.jit(lambda params, x: model.apply(params, x, model.initial_state(params, 1, middle))[0])
