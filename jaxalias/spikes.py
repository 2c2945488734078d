"""Updates that are left out: those of a batch on which the loss is far from what it usually is, or not finite.

A recurrent student can have a second state in which it stays on some tone that it has not heard yet. That one tone then
is the loss and the gradient of the batch, and the updates that follow it spoil what was learned from all others
(experiments/RECIPES.md). Left out, the next batch is as usual. Chowdhery et al., "PaLM", 2022, section 5.1, go back to
a checkpoint and skip what comes after it, for the same reason.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxalias.models import Params

_REMEMBERED = 100  # updates


class Spikes(NamedTuple):
    """Of one student."""

    usual: Float[Array, ""]  # running mean of the logarithm of the loss
    inner: optax.OptState


def skip_spikes(inner: optax.GradientTransformationExtraArgs, most: float) -> optax.GradientTransformationExtraArgs:
    """No steps, and nothing remembered, where the loss is not finite, or more than `most` times its usual value.

    Usual is the geometric mean of the last hundred or so; a spike counts in it as `most` times as much, so that a loss
    that stays high becomes usual. In the first hundred updates nothing finite is left out: how much a model is thrown
    about there is a matter of its learning rate (`trial`).

    Its update takes two more arguments: `loss`, and `number`, of the updates before it.
    """

    def init(params: Params) -> Spikes:
        return Spikes(jnp.zeros((), jax.tree.leaves(params)[0].dtype), inner.init(params))

    def update(
        gradient: Params, state: Spikes, params: Params | None = None, *, loss: Array, number: Any, **extra: Any
    ) -> tuple[Params, Spikes]:
        steps, after = inner.update(gradient, state.inner, params, number=number, **extra)
        highest = state.usual + jnp.log(most)
        finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradient))
        fits = finite & ((jnp.log(loss) <= highest) | (number < _REMEMBERED))
        seen = jnp.where(fits, jnp.log(loss), highest)
        usual = state.usual + (seen - state.usual) / jnp.minimum(number + 1, _REMEMBERED)
        kept = jax.tree.map(lambda new, old: jnp.where(fits, new, old), after, state.inner)
        return jax.tree.map(lambda step: jnp.where(fits, step, 0), steps), Spikes(usual, kept)

    return optax.GradientTransformationExtraArgs(init, update)
