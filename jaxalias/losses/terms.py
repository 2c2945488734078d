"""ESR, NMR, DC and the levels of the harmonics behind a pre-emphasis, weighted into one number (eqs. 13-17)."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxalias.config import LossConfig, Reduction
from jaxalias.losses import nmr
from jaxalias.signals import dsp, periodic_tones, phase
from jaxalias.signals.periodic_tones import Cycle

Terms = dict[str, Float[Array, "*student"]]

_SILENCE = 1e-12  # mean square added to a target's power: -120 dB of full scale, so silence divides nothing by zero


class Differences(NamedTuple):
    """Of each tone alone, all that the terms of a loss are made of."""

    error: Float[Array, "b"]  # mean square
    power: Float[Array, "b"]  # that it is measured against, mean square: of the target unless said otherwise
    offset: Float[Array, "b"]  # mean
    nmr: Float[Array, "b"]  # noise-to-mask ratio, of the error or of the aliases
    harmonic: Float[Array, "b"] | None  # mean square of the harmonics' differences in bels, where asked for


class Residuals(NamedTuple):
    """Numbers, linear in the estimate, whose squared magnitudes add up to a tone's `Differences` (`squares`)."""

    error: Float[Array, "b t"]
    noise: Complex[Array, "b n f"]


class Loss(NamedTuple):
    """loss(estimate, target, increment) -> (total, its terms by name, unweighted), in steps that can be taken apart.

    measure: every tone by itself, so that tones can lie on different devices; `increment` is f0 / Fs in turns a
        sample, 0 for what is no tone and has no harmonics; how it repeats is needed where aliases count alone; a
        `reference` above 0 is the power to measure the error against, in the place of that of the target.
    terms: the tones' numbers become one a term.
    weights: of the terms in the total (`total`).
    residuals: (estimate, target, cycle, reference) -> what the curvature of the loss is made of, where aliases count
        alone, and the power that it is measured against.
    """

    measure: Callable[..., Differences]
    terms: Callable[[Differences], Terms]
    weights: dict[str, float]
    residuals: Callable[..., tuple[Residuals, Float[Array, "b"]]]

    def __call__(
        self,
        estimate: Float[Array, "b t"],
        target: Float[Array, "b t"],
        increment: phase.Turns,
        cycle: Cycle | None = None,
    ) -> tuple[Float[Array, ""], Terms]:
        """All steps."""
        terms = self.terms(self.measure(estimate, target, increment, cycle))
        return total(terms, self.weights), terms


def total(terms: Terms, weights: dict[str, Any]) -> Float[Array, ""]:
    """L = ESR + lambda NMR + DC (eq. 17), each with its weight."""
    return sum((weight * terms[name] for name, weight in weights.items()), start=jnp.zeros(()))


def build(config: LossConfig, sample_rate: float) -> Loss:
    """The loss of a preset.

    Target and estimate pass the same zero-padded low-pass first, if any, designed for `sample_rate`: what lies
    above its edge is not asked of the student. A-weighting, where asked for, is in series with it.

    Raises:
        ValueError: the low-pass does not fit below half the sample rate, or the loss is called with a
            frame shorter than an NMR frame of 2048 samples.
    """
    taps = np.ones(1)
    if config.lowpass:
        edges = config.lowpass
        taps = dsp.lowpass_taps(sample_rate, edges.pass_hz, edges.stop_hz, edges.attenuation_db)
    if config.emphasis == "a_weighting":
        taps = np.convolve(taps, dsp.a_weighting_taps(sample_rate))

    def residuals(
        estimate: Float[Array, "b t"],
        target: Float[Array, "b t"],
        cycle: Cycle,
        reference: Float[Array, "b"] | None = None,
    ) -> tuple[Residuals, Float[Array, "b"]]:
        aliases = dsp.filter_same(estimate - periodic_tones.harmonic_part(estimate, cycle), taps)
        heard, wanted = dsp.filter_same(estimate, taps), dsp.filter_same(target, taps)
        error = (heard - wanted) / math.sqrt(target.shape[1])
        noise = nmr.noise_over_mask(aliases, wanted, sample_rate)
        return Residuals(error, noise), _power(wanted, reference)

    def measure(
        estimate: Float[Array, "b t"],
        target: Float[Array, "b t"],
        increment: phase.Turns,
        cycle: Cycle | None = None,
        reference: Float[Array, "b"] | None = None,
    ) -> Differences:
        heard, wanted = dsp.filter_same(estimate, taps), dsp.filter_same(target, taps)
        if config.nmr.of == "aliases":
            if cycle is None:
                raise ValueError(
                    "the NMR of aliases needs to know how each tone repeats (periodic_tones.Cycle), got none"
                )
            found = squares(*residuals(estimate, target, cycle, reference))
        else:
            noise = nmr.nmr(heard, wanted, sample_rate)
            if config.nmr.of == "tone_error":
                noise = jnp.where(phase.signed(increment, noise.dtype) == 0, 0, noise)
            found = Differences(*_differences(heard, wanted, reference), noise, None)
        if config.harmonic is None:
            return found
        return found._replace(harmonic=harmonic_distance(heard, wanted, increment, config.harmonic.floor_db))

    def terms(tones: Differences) -> Terms:
        found = {
            "ESR": _esr(tones.error, tones.power, config.esr.reduction, config.esr.knee),
            "NMR": reduce(tones.nmr, config.nmr.reduction, config.nmr.knee),
            "DC": _dc(tones.offset, tones.power),
        }
        return found if tones.harmonic is None else {**found, "harmonic": jnp.mean(tones.harmonic)}

    return Loss(measure, terms, weights(config), residuals)


def squares(residuals: Residuals, power: Float[Array, "b"]) -> Differences:
    """What each tone's residuals add up to, beside the power that they are measured against."""
    error, noise = residuals
    offset = jnp.mean(error, axis=1) * math.sqrt(error.shape[1])
    ratio = jnp.sum(noise.real**2 + noise.imag**2, axis=(1, 2))
    return Differences(jnp.sum(error**2, axis=1), power, offset, ratio, None)


def weights(config: LossConfig) -> dict[str, float]:
    """Of each term in the total, once they are grown."""
    always = {"ESR": config.esr.weight, "NMR": config.nmr.weight, "DC": config.dc_weight}
    return always if config.harmonic is None else {**always, "harmonic": config.harmonic.weight}


def grown(config: LossConfig, share: Float[Array, ""]) -> dict[str, Any]:
    """What part of its weight each term has after that share (0 to 1) of the run."""
    factors: dict[str, Any] = dict.fromkeys(weights(config), 1.0)
    if config.nmr.ramp:
        factors["NMR"] = jnp.minimum(share / config.nmr.ramp, 1.0)
    return factors


def esr(estimate: Float[Array, "b t"], target: Float[Array, "b t"], reduction: Reduction) -> Float[Array, ""]:
    """Error-to-signal ratio, sum (s - s^)^2 / sum s^2 (eq. 13), over a batch.

    "ratio_of_sums" is one ratio for the whole batch, as in the authors' program: loud tones dominate.
    The others reduce the tones' own ratios.
    """
    error, power, _ = _differences(estimate, target)
    return _esr(error, power, reduction, 1.0)


def dc(estimate: Float[Array, "b t"], target: Float[Array, "b t"]) -> Float[Array, ""]:
    """Mean over tones of the squared difference of offsets, over the mean square of the targets."""
    _, power, offset = _differences(estimate, target)
    return _dc(offset, power)


def harmonic_distance(
    estimate: Float[Array, "b t"], target: Float[Array, "b t"], increment: phase.Turns, floor_db: float = -60.0
) -> Float[Array, "b"]:
    """Mean over a tone's harmonics of the squared difference of their levels in bels; phases do not matter.

    Read from the bins of one Hann-windowed FFT that are next to the harmonics, so that most of what lies between
    them (aliases) is not seen; harmonics nearer than two bins are seen together. The floor, `floor_db` under the
    strongest harmonic of the target, is added to both powers. 0 where there is no harmonic (increment 0).
    """
    samples = target.shape[1]
    window = jnp.asarray(np.hanning(samples + 1)[:-1], target.dtype)
    power, wanted = (jnp.abs(jnp.fft.rfft(window * x)) ** 2 for x in (estimate, target))
    bins = jnp.arange(power.shape[1], dtype=target.dtype)
    spacing = phase.signed(increment, target.dtype)[:, None] * samples  # of the harmonics, in bins
    number = jnp.round(bins / jnp.maximum(spacing, 0.5))
    near = (number >= 1) & (jnp.abs(bins - number * spacing) <= 0.5) & (spacing > 0)
    floor = 10 ** (floor_db / 10) * jnp.max(jnp.where(near, wanted, 0), axis=1, keepdims=True) + _SILENCE
    difference = jnp.log10((power + floor) / (wanted + floor))
    return jnp.sum(jnp.where(near, difference**2, 0), axis=1) / jnp.maximum(jnp.sum(near, axis=1), 1)


def reduce(ratios: Float[Array, "b"], reduction: Reduction, knee: float = 1.0) -> Float[Array, ""]:
    """One number for the power ratios of a batch.

    mean_of_ratios  the mean; the worst tone dominates
    geometric       10^(mean of dB / 10); every tone's dB count alike
    soft_hinge      mean of log(1 + ratio / knee): dB above the knee, hardly anything below it
    pseudo_huber    mean of sqrt(1 + ratio / knee) - 1: amplitudes above the knee, so that loud tones lead
    """
    if reduction == "mean_of_ratios":
        return jnp.mean(ratios)
    if reduction == "geometric":
        return jnp.exp(jnp.mean(jnp.log(jnp.maximum(ratios, _SILENCE))))
    if reduction == "soft_hinge":
        return jnp.mean(jnp.log1p(ratios / knee))
    if reduction == "pseudo_huber":
        return jnp.mean(jnp.sqrt(1 + ratios / knee) - 1)
    raise ValueError(f"reduction must be mean_of_ratios, geometric, soft_hinge or pseudo_huber, got {reduction!r}")


def _differences(estimate: Array, target: Array, reference: Array | None = None) -> tuple[Array, Array, Array]:
    difference = estimate - target
    return jnp.mean(difference**2, axis=1), _power(target, reference), jnp.mean(difference, axis=1)


def _power(target: Array, reference: Array | None) -> Array:
    own = jnp.mean(target**2, axis=1)
    return own if reference is None else jnp.where(reference > 0, reference, own)


def _esr(error: Array, power: Array, reduction: Reduction, knee: float) -> Array:
    heard = power + _SILENCE
    return jnp.mean(error) / jnp.mean(heard) if reduction == "ratio_of_sums" else reduce(error / heard, reduction, knee)


def _dc(offset: Array, power: Array) -> Array:
    return jnp.mean(offset**2) / (jnp.mean(power) + _SILENCE)
