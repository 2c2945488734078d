"""How networks without recurrence run: the state is the past input, and long signals are split into blocks of time.

Signals inside are (c, t). On a CPU, tones are computed one at a time, and a long tone in blocks of time, for which each
layer stores the end of its input. So the activations of a block stay in the cache, and the backward pass recomputes
instead of storing them. Of the orders tried on a CPU, this is the fastest and needs least memory
(`experiments/BENCHMARKS.md`). On an accelerator the whole batch is one block.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from jaxalias.models.convolution import Loop
from jaxalias.signals import dsp

Memory = Any
"""A pytree: the end of each convolution's input, (c, kept); or a `Loop`."""

_BLOCK = 2048  # samples; the activations of a few layers fit into a core's cache
_LONG = 4 * _BLOCK  # a shorter signal is one block


def apply(
    net: nn.Module, params: dict, x: Float[Array, "b t"], past: Float[Array, "b r"]
) -> tuple[Float[Array, "b t"], Float[Array, "b r"]]:
    """Apply a network to a block and to the input before it (one receptive field).

    The state holds inputs instead of activations, so a block is exact even if the parameters have changed since the one
    before, and in training the gradient is not cut at the edge of a frame.

    Args:
        net: memory, y = net.apply({"params": params}, x, memory); all t samples of x (1, t) give y (1, t). Without
            memory the first r samples of x are the past, and y is shorter by r.
        params: of the network.
        x: inputs.
        past: the r inputs before.

    Returns:
        The outputs, and the new past.
    """
    inputs = jnp.concatenate([past, x], axis=1)
    samples = x.shape[1]
    later = samples // _BLOCK if one_by_one() and samples >= _LONG else 0  # blocks after a first one, maybe the past

    @jax.checkpoint
    def block(memory: Memory | None, part: Float[Array, "s"]) -> tuple[Memory, Float[Array, "t"]]:
        played: Any = net.apply({"params": params}, part[None], memory)
        return played[0], played[1][0]

    def one_tone(tone: Float[Array, "s"]) -> Float[Array, "t"]:
        first = tone.shape[0] - later * _BLOCK
        memory, y = block(None, tone[:first])
        if not later:
            return y
        _, ys = jax.lax.scan(block, memory, tone[first:].reshape(later, _BLOCK))
        return jnp.concatenate([y, ys.ravel()])

    y = jax.lax.map(one_tone, inputs) if one_by_one() else jax.vmap(one_tone)(inputs)
    return y, inputs[:, inputs.shape[1] - past.shape[1] :]


def settled(net: nn.Module, params: dict, x: Float[Array, "b t"], period: Int32[Array, "b"]) -> Float[Array, "b t"]:
    """The steady-state response to periodic signals: each layer continues its input periodically into the past.

    Exact, and much cheaper than a warm-up of one receptive field.

    Args:
        net: as for `apply`.
        params: of the network.
        x: periodic signals.
        period: samples, more than half of t and at most t.
    """

    def one_tone(tone: tuple[Float[Array, "t"], Int32[Array, ""]]) -> Float[Array, "t"]:
        played: Any = net.apply({"params": params}, tone[0][None], Loop(tone[1]))
        return played[1][0]

    return jax.lax.map(one_tone, (x, period)) if one_by_one() else jax.vmap(one_tone)((x, period))


def one_by_one() -> bool:
    """True if tones are computed one after the other: on a CPU, whose cache holds the activations of one tone."""
    return dsp.on_cpu()
