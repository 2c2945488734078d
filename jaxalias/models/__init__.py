"""The contract that every model keeps, and the way from a config to a model.

Nothing outside this package asks which kind of network it holds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from jaxalias.config import ConvNetConfig, LinearConfig, LSTMConfig, WaveNetConfig
from jaxalias.dsp import require_precision
from jaxalias.models import convnet, feedforward, lstm, wavenet, wavenet_plan

Params = Any  # a nested dict of arrays
State = Any  # a pytree of arrays whose first axis is the batch


class Model(NamedTuple):
    """A network as pure functions over a dict of parameters.

    init(key): fresh parameters in float32.
    initial_state(params, batch): what the model remembers before the first sample, after endless silence as
        far as the file format knows it.
    apply(params, x, state): (y, next state) for a block of any length; blocks in a row give the same output
        as one piece. x and y are (b, t). Precision is that of the parameters and x, float32 or float64.
    receptive_field: input samples that an output sample depends on; None for a recurrent model.
    """

    init: Callable[[Key[Array, ""]], Params]
    initial_state: Callable[[Params, int], State]
    apply: Callable[[Params, Float[Array, "b t"], State], tuple[Float[Array, "b t"], State]]
    receptive_field: int | None


def build(config: LSTMConfig | WaveNetConfig | ConvNetConfig | LinearConfig) -> Model:
    """The model that a config describes."""
    if isinstance(config, LSTMConfig):
        module = lstm.LSTM(config)
        return Model(
            init=lambda key: module.init(key, jnp.zeros((1, 1), jnp.float32), lstm.zero_state(config, 1, jnp.float32))[
                "params"
            ],
            initial_state=lambda params, batch: lstm.initial_state(config, params, batch),
            apply=lambda params, x, state: module.apply({"params": params}, x, state),
            receptive_field=None,
        )
    if isinstance(config, LinearConfig):
        return _feed_forward(convnet.Linear(config), config.receptive_field, convnet.play)
    if isinstance(config, ConvNetConfig):
        return _feed_forward(convnet.ConvNet(config), convnet.receptive_field(config), feedforward.apply)
    if config.out_channels != 1:
        raise ValueError(f"out_channels of a model must be 1, got {config.out_channels}")
    return _feed_forward(wavenet.WaveNet(config), wavenet_plan.receptive_field(config), feedforward.apply)


def _feed_forward(net: nn.Module, receptive_field: int, apply: Callable) -> Model:
    past = receptive_field - 1
    return Model(
        init=lambda key: net.init(key, jnp.zeros((1, past + 1), jnp.float32))["params"],
        initial_state=lambda params, batch: jnp.zeros((batch, past), dtype_of(params)),
        apply=lambda params, x, state: apply(net, params, x, state),
        receptive_field=past + 1,
    )


def dtype_of(params: Params) -> Any:
    """The precision of a model: that of its parameters."""
    return jnp.result_type(*jax.tree.leaves(params))


def cast(params: Params, dtype: Any) -> Params:
    """The same parameters on the device, in another precision (ValueError where JAX cannot hold it)."""
    require_precision(dtype)
    return jax.tree.map(lambda array: jnp.asarray(array, dtype), params)


def parameter_count(params: Params) -> int:
    """How many numbers a model has."""
    return sum(array.size for array in jax.tree.leaves(params))
