"""The contract that every model keeps, and the way from a config to a model.

Nothing outside this package asks which kind of network it holds.
"""

from collections.abc import Callable
from functools import partial
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
    initial_state(params, batch, knobs=None): what the model remembers before the first sample, after endless
        silence as far as the file format knows it; and where its knobs stand, (knobs,) for all signals alike or
        (batch, knobs): a knob stands still over a signal. ValueError where they do not suit the model.
    apply(params, x, state): (y, next state) for a block of any length; blocks in a row give the same output
        as one piece. x and y are (b, t). Precision is that of the parameters and x, float32 or float64.
    receptive_field: input samples that an output sample depends on; None for a recurrent model.
    knobs: how many the model has.
    settled(params, x, period): y, of signals that repeat every `period` (b,) samples, more than half of t and at most
        t, and always did; None for a recurrent model, which has to be waited for.
    """

    init: Callable[[Key[Array, ""]], Params]
    initial_state: Callable[..., State]
    apply: Callable[[Params, Float[Array, "b t"], State], tuple[Float[Array, "b t"], State]]
    receptive_field: int | None
    knobs: int = 0
    settled: Callable[[Params, Float[Array, "b t"], Int32[Array, "b"]], Float[Array, "b t"]] | None = None


def build(config: ModelConfig) -> Model:
    """The model that a config describes."""
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
    """Where the knobs stand, refused where it is not a position for each of them."""
    found = jnp.zeros(0) if knobs is None else jnp.asarray(knobs)
    if found.shape not in ((count,), (batch, count)):
        got = "none" if knobs is None else f"an array of shape {found.shape}"
        raise ValueError(f"knobs: must be of shape ({count},) or (batch, {count}) for this model, got {got}")
    return found


def each_row(model: Model, f: Callable[[Any], Any], rows: Any) -> Any:
    """f of every row (the first axis of `rows`), in the order in which the model itself takes them."""
    one_by_one = model.receptive_field is not None and feedforward.one_by_one()
    return jax.lax.map(f, rows) if one_by_one else jax.vmap(f)(rows)


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
