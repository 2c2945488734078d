"""Optimisers besides Adam, as optax transformations.

SOAP (`soap`), Gauss-Newton steps (`gauss_newton`), and a return to the averaged parameters when the loss jumps
(`rewind`).
"""

from typing import Any

import jax
import optax

from jaxalias.config import OptimiserConfig
from jaxalias.models import Params
from jaxalias.optimisers import gauss_newton, rewind, soap


def build(config: OptimiserConfig, updates: int) -> optax.GradientTransformationExtraArgs:
    """Adam, SOAP or Gauss-Newton steps with a constant or cosine schedule, clipped if the config says so.

    The `update` of the result takes more arguments than Optax's own: `rate`, the learning rate before the schedule;
    `number`, the number of earlier updates; `probes`, samples of the curvature for Gauss-Newton steps; and `loss` and
    `average`, which `rewind_above` needs.

    Args:
        config: chooses the optimiser.
        updates: length of the run, for the schedule.

    Example:
        optimiser = build(config.optimiser, config.updates)
        steps, state = optimiser.update(gradient, state, params, rate=1e-3, number=0, probes=None, loss=loss,
        average=params)
    """
    decay = optax.constant_schedule(1.0)
    if config.schedule == "cosine":
        decay = optax.cosine_decay_schedule(1.0, max(1, updates))
    schedule = optax.scale_by_schedule(decay)
    if config.curvature:  # the clipped step decays too: most steps are clipped
        often = min(config.curvature.renew_every, max(1, updates // 20))
        renewed = config.curvature.model_copy(update={"renew_every": often})
        chain = optax.chain(gauss_newton.newton_steps(renewed, config.clip_norm), schedule)
    else:
        clip = optax.identity() if config.clip_norm is None else optax.clip_by_global_norm(config.clip_norm)
        directions = soap.scale_by_soap(config.soap.renew_every) if config.soap else optax.scale_by_adam()
        chain = optax.chain(clip, directions, schedule, scale_by_rate())
    optimiser = optax.with_extra_args_support(chain)
    return rewind.rewind_above(config.rewind_above, optimiser) if config.rewind_above else optimiser


def scale_by_rate() -> optax.GradientTransformationExtraArgs:
    """Steps against the gradient, scaled by the argument `rate` of the update."""

    def update(
        updates: Params, state: optax.EmptyState, params: Params | None = None, *, rate: Any, **_: Any
    ) -> tuple[Params, optax.EmptyState]:
        return jax.tree.map(lambda step: -rate * step, updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
