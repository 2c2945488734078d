"""The frozen model, and what it does to a tone once it has settled (eqs. 1-2)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxalias.models import Model, Params
from jaxalias.signals import phase, sines
from jaxalias.targets import harmonics

_SILENCE = 1e-6  # peak to peak, -126 dB of full scale: below it is what rounding leaves of a constant


def settled(
    model: Model,
    params: Params,
    tones: sines.Tones,
    knobs: Float[Array, "b knob"] | None = None,
    *,
    settling: int,
    analysed: int,
) -> Float[Array, "b t"]:
    """The last `analysed` of `settling + analysed` samples of the model's answer to sines, its knobs standing still.

    No gradient flows into the parameters. What the model answers while it settles is not asked for, so a
    convolution does not compute it.
    """
    frozen, x = jax.lax.stop_gradient(params), sines.render(tones, settling + analysed)
    _, memory = model.apply(frozen, x[:, :settling], model.initial_state(frozen, x.shape[0], knobs))
    return model.apply(frozen, x[:, settling:], memory)[0]


def analyse(
    model: Model,
    params: Params,
    tones: sines.Tones,
    knobs: Float[Array, "b knob"] | None = None,
    *,
    settling: int,
    analysed: int,
    number: int,
    factor: int = 1,
) -> harmonics.Harmonics:
    """The harmonics of the settled output below Nyquist (eqs. 6-11): rebuilt, the target of training (eq. 12).

    At `factor` times its rate the model is that many copies of itself, each fed every M-th sample (`oversampling`):
    the same tone, begun a part of a sample later. Between their outputs lies what would have folded at its own rate.

    Args:
        number: harmonics of the lowest possible tone, see `harmonics.highest_number`.
        factor: a power of two (static).
    """
    times = factor.bit_length() - 1
    slow = phase.halve(tones.increment, times)

    def copy(branch: int) -> Float[Array, "b t"]:
        later = tones._replace(phase=phase.add(tones.phase, phase.multiply(slow, branch)[1]))
        return settled(model, params, later, knobs, settling=settling, analysed=analysed)

    y = jnp.stack([copy(branch) for branch in range(factor)], axis=-1).reshape(tones.amplitude.shape[0], -1)
    found = harmonics.analyse(y, slow, number)
    keep = harmonics.below_nyquist(tones.increment, number)
    return found._replace(coefficients=jnp.where(keep, found.coefficients, 0))


def refuse_unusable(y: Float[Array | np.ndarray, "b t"], increment: phase.Turns, sample_rate: float) -> None:
    """Raise where nothing can be learned or measured from a model's answers to tones (on the host).

    Raises:
        ValueError: an output is not finite, or is silent; names the frequency of the first such tone.
    """
    swing = np.ptp(np.asarray(y), axis=1)
    for bad, what in ((~np.isfinite(swing), "not finite"), (swing < _SILENCE, "silent")):
        if bad.any():
            f0_hz = phase.to_ratio(increment)[np.argmax(bad)] * sample_rate
            raise ValueError(f"the model's output is {what} for a sine of {f0_hz:.1f} Hz; it cannot be used")
