"""Return to the average of the parameters when training has entered another stable regime.

Small steps can lead the parameters of a recurrent model to a point where the model has a second stable output. A tone
that began earlier is unaffected, because its state is carried on; the next tone, which begins from zeros, goes wrong.
So the loss jumps by ten or a thousand times from one batch to the next, and hundreds of updates do not repair it. The
average of the last parameters still gives the right output (experiments/RECIPES.md, "LSTMs"). The
optimiser here then continues from this average.

Chowdhery et al., "PaLM", 2022, section 5.1, return to a checkpoint for the same reason.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxalias.models import Params

_REMEMBERED = 100  # updates


class Rewind(NamedTuple):
    """The state of the optimiser, for one student."""

    usual: Float[Array, ""]  # running mean of the logarithm of the loss
    inner: optax.OptState


def rewind_above(most: float, inner: optax.GradientTransformationExtraArgs) -> optax.GradientTransformationExtraArgs:
    """The steps of `inner`, but a step to the average if the loss is not finite or above `most` times its usual value.

    The usual value is the geometric mean of about the last hundred losses. A loss above the limit enters this mean as
    `most` times the mean, so that a loss that stays high becomes usual. In the first hundred updates every finite loss
    is accepted: large jumps there depend on the learning rate (`rate_search`). A step to the average leaves the state
    of `inner` unchanged.

    The update takes three more arguments: `loss`, `average` (a tree like the parameters), and `number`, the number of
    earlier updates.

    Args:
        most: limit of the loss relative to its usual value.
        inner: the optimiser.

    Example:
        optimiser = rewind_above(10.0, optax.with_extra_args_support(optax.adam(1e-3)))
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
