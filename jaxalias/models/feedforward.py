"""How networks without recurrence are run: state = the past of the input, long signals in blocks of time.

Signals inside are (c, t), one tone at a time and, where it is long, a block of time at a time, each layer keeping
the end of what it heard: the activations of a block stay in the cache, and the backward pass recomputes them
rather than storing them. On a CPU that is the fastest order tried and the smallest (`experiments/BENCHMARKS.md`);
on an accelerator the whole batch is one block.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from jaxalias.models.convolution import Loop
from jaxalias.signals import dsp

Memory = Any
"""A pytree: of each convolution the end of its input, (c, kept); or a `Loop`."""

_BLOCK = 2048  # samples, of which a few layers' activations fit into a core's cache
_LONG = 4 * _BLOCK  # a shorter signal is one block


def apply(
    net: nn.Module, params: dict, x: Float[Array, "b t"], past: Float[Array, "b r"]
) -> tuple[Float[Array, "b t"], Float[Array, "b r"]]:
    """Run a block with the receptive field's worth of input that came before it.

    Keeping input, not activations, as the state makes a block exact under whatever parameters it is run
    with: in training no gradient is cut at the edge of a frame.

    Args:
        net: memory, y = net.apply({"params": params}, x, memory), all t samples of x (1, t) in y (1, t). Without
            memory the first r samples of x are the past, and y is that much shorter.
    """
    heard = jnp.concatenate([past, x], axis=1)
    samples = x.shape[1]
    later = (samples - 1) // _BLOCK if one_by_one() and samples >= _LONG else 0  # blocks after the first

    @jax.checkpoint
    def block(memory: Memory | None, heard: Float[Array, "heard"]) -> tuple[Memory, Float[Array, "t"]]:
        played: Any = net.apply({"params": params}, heard[None], memory)
        return played[0], played[1][0]

    def one_tone(tone: Float[Array, "heard"]) -> Float[Array, "t"]:
        first = tone.shape[0] - later * _BLOCK
        memory, y = block(None, tone[:first])
        if not later:
            return y
        _, ys = jax.lax.scan(block, memory, tone[first:].reshape(later, _BLOCK))
        return jnp.concatenate([y, ys.ravel()])

    y = jax.lax.map(one_tone, heard) if one_by_one() else jax.vmap(one_tone)(heard)
    return y, heard[:, heard.shape[1] - past.shape[1] :]


def settled(net: nn.Module, params: dict, x: Float[Array, "b t"], period: Int32[Array, "b"]) -> Float[Array, "b t"]:
    """What the network answers to signals that repeat and always did: each layer hears its own end before it begins.

    Exact, and much cheaper than to wait until the receptive field has gone by.

    Args:
        x: each repeats after `period` samples, more than half of t and at most t.
    """

    def one_tone(tone: tuple[Float[Array, "t"], Int32[Array, ""]]) -> Float[Array, "t"]:
        played: Any = net.apply({"params": params}, tone[0][None], Loop(tone[1]))
        return played[1][0]

    return jax.lax.map(one_tone, (x, period)) if one_by_one() else jax.vmap(one_tone)((x, period))


def one_by_one() -> bool:
    """Whether tones are taken one after the other: on a CPU, whose cache holds the activations of one."""
    return dsp.on_cpu()
