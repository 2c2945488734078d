"""The interface of all models, and `build`, which makes a model from a config.

Only this package distinguishes between kinds of networks.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32, Key

from jaxalias.config import ConvNetConfig, GRUConfig, LinearConfig, LSTMConfig, ModelConfig
from jaxalias.models import convnet, feedforward, gru, lstm, recurrent, wavenet, wavenet_plan
from jaxalias.signals.dsp import require_precision

Params = Any  # a nested dict of arrays
State = Any  # a pytree of arrays whose first axis is the batch


class Model(NamedTuple):
    """A network as pure functions over a dict of parameters.

    init(key): fresh parameters in float32.
    initial_state(params, batch, knobs=None): the state before the first sample, after endless silence as far as the
        file format stores it. It includes the knob positions, (knobs,) for all signals or (batch, knobs); they are
        constant over a signal. ValueError if their shape does not suit the model.
    apply(params, x, state): (y, next state) for a block of any length. The outputs of consecutive blocks equal the
    output
        of one long block. x and y are (b, t). The precision is that of the parameters and x, float32 or float64.
    receptive_field: the number of input samples that affect one output sample; None for a recurrent model.
    knobs: the number of knobs.
    settled(params, x, period): y, the steady-state response to signals with a period of `period` (b,) samples, more
    than
        half of t and at most t. None for a recurrent model, which needs a warm-up instead.
    """

    init: Callable[[Key[Array, ""]], Params]
    initial_state: Callable[..., State]
    apply: Callable[[Params, Float[Array, "b t"], State], tuple[Float[Array, "b t"], State]]
    receptive_field: int | None
    knobs: int = 0
    settled: Callable[[Params, Float[Array, "b t"], Int32[Array, "b"]], Float[Array, "b t"]] | None = None


@lru_cache(maxsize=64)
def build(config: ModelConfig) -> Model:
    """The model for a config. Equal configs give the same object, so what was compiled for it is used again.

    Args:
        config: of any kind of network.

    Raises:
        ValueError: a WaveNet with more than one output channel.

    Example:
        model = build(LSTMConfig(hidden_size=40))
        params = model.init(jax.random.key(0))
        y, state = model.apply(params, x, model.initial_state(params, x.shape[0]))
    """
    if isinstance(config, LSTMConfig | GRUConfig):
        return _recurrent(config, lstm if isinstance(config, LSTMConfig) else gru)
    if isinstance(config, LinearConfig):
        return _feed_forward(convnet.Linear(config), config.receptive_field, convnet.play)._replace(settled=None)
    if isinstance(config, ConvNetConfig):
        return _feed_forward(convnet.ConvNet(config), convnet.receptive_field(config), feedforward.apply)
    if config.out_channels != 1:
        raise ValueError(f"out_channels of a model must be 1, got {config.out_channels}")
    return _feed_forward(wavenet.WaveNet(config), wavenet_plan.receptive_field(config), feedforward.apply)


def _feed_forward(net: nn.Module, receptive_field: int, apply: Callable) -> Model:
    past = receptive_field - 1

    def initial_state(params: Params, batch: int, knobs: Any = None) -> State:
        _positions(knobs, 0, batch)
        return jnp.zeros((batch, past), dtype_of(params))

    return Model(
        init=lambda key: net.init(key, jnp.zeros((1, past + 1), jnp.float32))["params"],
        initial_state=initial_state,
        apply=lambda params, x, state: apply(net, params, x, state),
        receptive_field=past + 1,
        settled=partial(feedforward.settled, net),
    )


def _recurrent(config: LSTMConfig | GRUConfig, kind: Any) -> Model:
    module, count = kind.build(config), config.input_size - 1

    def initial_state(params: Params, batch: int, knobs: Any = None) -> State:
        positions = _positions(knobs, count, batch)
        return recurrent.with_knobs(kind.initial_state(config, params, batch), positions, batch)

    def init(key: Key[Array, ""]) -> Params:
        state = recurrent.with_knobs(kind.zero_state(config, 1, jnp.float32), jnp.zeros(count), 1)
        return module.init(key, jnp.zeros((1, 1), jnp.float32), state)["params"]

    return Model(
        init=init,
        initial_state=initial_state,
        apply=lambda params, x, state: module.apply({"params": params}, x, state),
        receptive_field=None,
        knobs=count,
    )


def _positions(knobs: Any, count: int, batch: int) -> Array:
    """The knob positions as an array; ValueError if their shape does not suit the model."""
    found = jnp.zeros(0) if knobs is None else jnp.asarray(knobs)
    if found.shape not in ((count,), (batch, count)):
        got = "none" if knobs is None else f"an array of shape {found.shape}"
        raise ValueError(f"knobs: must be of shape ({count},) or (batch, {count}) for this model, got {got}")
    return found


def each_row(model: Model, f: Callable[[Any], Any], rows: Any) -> Any:
    """f of every row (the first axis of `rows`), sequential or parallel as in the model itself."""
    return jax.lax.map(f, rows) if one_by_one(model) else jax.vmap(f)(rows)


def one_by_one(model: Model) -> bool:
    """True if the model computes its rows one after the other (`jaxalias.models.feedforward`)."""
    return model.receptive_field is not None and feedforward.one_by_one()


def dtype_of(params: Params) -> Any:
    """The precision of a model, which is that of its parameters."""
    return jnp.result_type(*jax.tree.leaves(params))


def cast(params: Params, dtype: Any) -> Params:
    """The parameters on the device, in another precision. ValueError: float64 while JAX's 64-bit mode is off."""
    require_precision(dtype)
    return jax.tree.map(lambda array: jnp.asarray(array, dtype), params)


def parameter_count(params: Params) -> int:
    """The number of scalar parameters of a model."""
    return sum(array.size for array in jax.tree.leaves(params))
