"""Back to the average of the parameters, where a recurrent student has come upon a second way to answer.

Small steps can lead a recurrent model to where it settles elsewhere: a tone that was begun before stays as it was, for
the state is carried on, and the next that begins from zeros goes wrong. So the loss leaps from one batch to the next by
ten or a thousand times and hundreds of updates do not mend it, while the average of the last parameters still answers
as it should (experiments/RECIPES.md, "Students that broke"). Then that is where the run goes on.

Chowdhery et al., "PaLM", 2022, section 5.1, go back to a checkpoint for the same reason.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxalias.models import Params

_REMEMBERED = 100  # updates


class Rewind(NamedTuple):
    """Of one student."""

    usual: Float[Array, ""]  # running mean of the logarithm of the loss
    inner: optax.OptState


def rewind_above(most: float, inner: optax.GradientTransformationExtraArgs) -> optax.GradientTransformationExtraArgs:
    """The steps of `inner`, but back to the average where the loss is not finite, or `most` times its usual value.

    Usual is the geometric mean of the last hundred or so; a higher loss counts in it as `most` times as much, so that
    one that stays high becomes usual. In the first hundred updates any that is finite will do: how much a model is
    thrown about there is a matter of its learning rate (`rate_search`). What `inner` remembers is then as before.

    Its update takes three more arguments: `loss`, the `average` (a tree like the parameters), and `number`, of the
    updates before it.
    """

    def init(params: Params) -> Rewind:
        return Rewind(jnp.zeros((), jax.tree.leaves(params)[0].dtype), inner.init(params))

    def update(
        gradient: Params, state: Rewind, params: Params, *, loss: Array, average: Params, number: Any, **extra: Any
    ) -> tuple[Params, Rewind]:
        steps, after = inner.update(gradient, state.inner, params, number=number, **extra)
        highest = state.usual + jnp.log(most)
        finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradient))
        fits = finite & ((jnp.log(loss) <= highest) | (number < _REMEMBERED))
        seen = jnp.where(fits, jnp.log(loss), highest)
        usual = state.usual + (seen - state.usual) / jnp.minimum(number + 1, _REMEMBERED)
        back = optax.tree.sub(average, params)
        chosen, kept = jax.lax.cond(fits, lambda: (steps, after), lambda: (back, state.inner))
        return chosen, Rewind(usual, kept)

    return optax.GradientTransformationExtraArgs(init, update)
