"""What every tone alone says about the parameters: a gradient, and a probe of the curvature (`gauss_newton`)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxalias import losses, models
from jaxalias.losses import Differences, Loss, Residuals
from jaxalias.models import Model, Params, State
from jaxalias.signals.periodic_tones import Cycle


def tone_by_tone(model: Model, play: Callable, loss: Loss) -> Callable[..., tuple[Params, Params, Differences, State]]:
    """(params, weights, x, y, cycle, reference, before, key) -> (gradients, probes, differences, after), tones first.

    The gradients are those of each tone's own loss, whose mean is the loss of the batch: the reductions must be
    means over tones. A probe is J^T s, J the derivative of the tone's residuals, scaled by the root of what each of
    its terms costs (the slope of a hinge there), s random signs: its outer product has the mean J^T J.

    Args:
        play: (params, x, cycle, before) -> (estimate, after), of a batch.
    """

    def learn(params: Params, weights: dict[str, Any], tone: tuple[Array, Array, Cycle, Array, State, Array]) -> tuple:
        x, y, cycle, reference, before = jax.tree.map(lambda a: a[None], tone[:-1])  # a batch of one
        estimate, pull, after = jax.vjp(lambda p: play(p, x, cycle, before), params, has_aux=True)
        residuals, pull_residuals, power = jax.vjp(
            lambda e: loss.residuals(e, y, cycle, reference), estimate, has_aux=True
        )
        differences, pull_squares = jax.vjp(lambda r: losses.squares(r, power), residuals)
        slopes = jax.grad(lambda d: losses.total(loss.terms(d), weights))(differences)
        scales = Residuals(*jnp.sqrt(jnp.stack([slopes.error[0], slopes.nmr[0]])))
        signs = jax.tree.map(_signs, Residuals(*jax.random.split(tone[-1])), scales, residuals)
        cotangents = pull_squares(slopes)[0], signs
        gradient, probe = (pull(*pull_residuals(each))[0] for each in cotangents)  # `vmap` is slower
        return gradient, probe, *jax.tree.map(lambda a: a[0], (differences, after))

    def all_tones(params: Params, weights: dict[str, Any], *tones: Any) -> tuple:
        return models.each_tone(model, lambda tone: learn(params, weights, tone), tones)

    return all_tones


def _signs(key: Array, scale: Array, like: Array) -> Array:
    """Numbers of this size and random sign, of complex numbers in both parts."""
    real, imaginary = scale * jax.random.rademacher(key, (2, *like.shape), like.real.dtype)
    return jax.lax.complex(real, imaginary) if jnp.iscomplexobj(like) else real
