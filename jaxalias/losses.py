"""ESR, NMR and DC behind a low-pass, weighted into one number (eqs. 13-17)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxalias import dsp
from jaxalias.config import LossConfig, Reduction
from jaxalias.nmr import nmr

Terms = dict[str, Float[Array, "*student"]]

_SILENCE = 1e-12  # mean square added to a target's power: -120 dB of full scale, so silence divides nothing by zero


class Differences(NamedTuple):
    """Of each tone alone, all that the terms of a loss are made of."""

    error: Float[Array, "b"]  # mean square
    power: Float[Array, "b"]  # of the target, mean square
    offset: Float[Array, "b"]  # mean
    nmr: Float[Array, "b"]  # noise-to-mask ratio


class Loss(NamedTuple):
    """loss(estimate, target) -> (total, its terms by name, unweighted), in steps that can be taken apart.

    measure: every tone by itself, so that tones can lie on different devices.
    terms: the tones' numbers become one a term.
    weights: of the terms in the total (`total`).
    """

    measure: Callable[[Float[Array, "b t"], Float[Array, "b t"]], Differences]
    terms: Callable[[Differences], Terms]
    weights: dict[str, float]

    def __call__(self, estimate: Float[Array, "b t"], target: Float[Array, "b t"]) -> tuple[Float[Array, ""], Terms]:
        """All steps."""
        terms = self.terms(self.measure(estimate, target))
        return total(terms, self.weights), terms


def total(terms: Terms, weights: dict[str, Any]) -> Float[Array, ""]:
    """L = ESR + lambda NMR + DC (eq. 17), each with its weight."""
    return sum((weight * terms[name] for name, weight in weights.items()), start=jnp.zeros(()))


def build(config: LossConfig, sample_rate: float) -> Loss:
    """The loss of a preset.

    Target and estimate pass the same zero-padded low-pass first, designed for `sample_rate`: what lies
    above its edge is not asked of the student.

    Raises:
        ValueError: the low-pass does not fit below half the sample rate, or the loss is called with a
            frame shorter than an NMR frame of 2048 samples.
    """
    taps = dsp.lowpass_taps(sample_rate, config.lowpass_pass_hz, config.lowpass_stop_hz, config.lowpass_attenuation_db)

    def measure(estimate: Float[Array, "b t"], target: Float[Array, "b t"]) -> Differences:
        estimate, target = dsp.filter_same(estimate, taps), dsp.filter_same(target, taps)
        return Differences(*_differences(estimate, target), nmr(estimate, target, sample_rate))

    def terms(tones: Differences) -> Terms:
        return {
            "ESR": _esr(tones.error, tones.power, config.esr.reduction),
            "NMR": reduce(tones.nmr, config.nmr.reduction, config.nmr.knee),
            "DC": _dc(tones.offset, tones.power),
        }

    return Loss(measure, terms, weights(config))


def weights(config: LossConfig) -> dict[str, float]:
    """Of each term in the total."""
    return {"ESR": config.esr.weight, "NMR": config.nmr.weight, "DC": config.dc_weight}


def esr(estimate: Float[Array, "b t"], target: Float[Array, "b t"], reduction: Reduction) -> Float[Array, ""]:
    """Error-to-signal ratio, sum (s - s^)^2 / sum s^2 (eq. 13), over a batch.

    "ratio_of_sums" is one ratio for the whole batch, as in the authors' program: loud tones dominate.
    The others reduce the tones' own ratios.
    """
    error, power, _ = _differences(estimate, target)
    return _esr(error, power, reduction)


def dc(estimate: Float[Array, "b t"], target: Float[Array, "b t"]) -> Float[Array, ""]:
    """Mean over tones of the squared difference of offsets, over the mean square of the targets."""
    _, power, offset = _differences(estimate, target)
    return _dc(offset, power)


def reduce(ratios: Float[Array, "b"], reduction: Reduction, knee: float = 1.0) -> Float[Array, ""]:
    """One number for the power ratios of a batch.

    mean_of_ratios  the mean; the worst tone dominates
    geometric       10^(mean of dB / 10); every tone's dB count alike
    soft_hinge      mean of log(1 + ratio / knee): dB above the knee, hardly anything below it
    """
    if reduction == "mean_of_ratios":
        return jnp.mean(ratios)
    if reduction == "geometric":
        return jnp.exp(jnp.mean(jnp.log(jnp.maximum(ratios, _SILENCE))))
    if reduction == "soft_hinge":
        return jnp.mean(jnp.log1p(ratios / knee))
    raise ValueError(f"reduction must be mean_of_ratios, geometric or soft_hinge, got {reduction!r}")


def _differences(estimate: Array, target: Array) -> tuple[Array, Array, Array]:
    difference = target - estimate
    return jnp.mean(difference**2, axis=1), jnp.mean(target**2, axis=1), jnp.mean(difference, axis=1)


def _esr(error: Array, power: Array, reduction: Reduction) -> Array:
    heard = power + _SILENCE
    return jnp.mean(error) / jnp.mean(heard) if reduction == "ratio_of_sums" else reduce(error / heard, reduction)


def _dc(offset: Array, power: Array) -> Array:
    return jnp.mean(offset**2) / (jnp.mean(power) + _SILENCE)
