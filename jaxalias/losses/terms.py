"""The terms of a loss, and their weighted sum (eq. 17).

A term has a name, a weight, and two steps: `measure` gives numbers of each row of a batch by itself, so that rows can
lie on different devices, and `reduce` makes one number of them. To add a term, write a function that returns a `Term`
and name it in `of_tones`, `of_periodic_tones` or `of_music`.

A term whose measure is a sum of squares also has `residuals`: numbers whose squared magnitudes add up to the measure.
Gauss-Newton steps are made from their derivatives (`jaxalias.optimisers.gauss_newton`), whether they are linear in the
estimate or not.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxalias.config import ESRConfig, LossConfig, NMRConfig, Reduction
from jaxalias.losses import nmr
from jaxalias.signals import dsp, periodic_tones

SILENCE = 1e-12  # mean square added to a target's power: -120 dB of full scale, so silence divides nothing by zero


class Term(NamedTuple):
    """One term of a loss.

    measure: (estimate (b, t), target (b, t), about) -> arrays with the rows first. `about` is what the source of the
        signals knows of each row: the cycle of a periodic tone, the mean power of music.
    reduce: these arrays -> one number. With `residuals` it must be a mean over rows.
    residuals: the same arguments -> (b, ...), real or complex; the sum over the last axis of the squared magnitudes is
        what `measure` gives. None where the measure is no sum of squares.
    """

    name: str
    weight: float
    measure: Callable[[Array, Array, Any], Any]
    reduce: Callable[[Any], Float[Array, ""]]
    residuals: Callable[[Array, Array, Any], Array] | None = None


def squares(residuals: Array) -> Array:
    """The sum over the last axis of the squared magnitudes."""
    return jnp.sum(residuals.real**2 + residuals.imag**2 if jnp.iscomplexobj(residuals) else residuals**2, axis=-1)


def total(terms: Sequence[Term], values: dict[str, Array], weights: dict[str, Any] | None = None) -> Array:
    """The sum of weight times value (eq. 17), in the precision of the values; weights by name, default: the terms'."""
    known = {term.name: term.weight for term in terms} if weights is None else weights
    return jnp.sum(jnp.stack([known[term.name] * values[term.name] for term in terms]))


def of_tones(config: LossConfig, sample_rate: float) -> tuple[Term, ...]:
    """ESR + lambda NMR + DC of tones, each measured against its own power.

    Target and estimate pass the same zero-padded low-pass first, if any, designed for `sample_rate`: what lies above
    its edge does not count. A-weighting, where asked for, is in series with it.

    Raises:
        ValueError: the low-pass does not fit below half the sample rate; or, when called, the frame is shorter than
            an NMR frame of 2048 samples.
    """
    taps = _emphasis(config, sample_rate)
    terms = [esr(config.esr, taps), nmr_of_error(config.nmr, taps, sample_rate), dc(config.dc_weight, taps)]
    return tuple(term for term in terms if term.weight or term.name in ("ESR", "NMR"))


def of_periodic_tones(config: LossConfig, sample_rate: float, prefix: str = "") -> tuple[Term, ...]:
    """The same, and the NMR of what is no harmonic; names begin with `prefix`."""
    found = of_tones(config, sample_rate)
    if config.aliases is not None:
        found = *found, nmr_of_aliases(config.aliases, _emphasis(config, sample_rate), sample_rate)
    return tuple(term._replace(name=prefix + term.name) for term in found)


def of_music(config: LossConfig, sample_rate: float, name: str) -> tuple[Term, ...]:
    """ESR and NMR of the error of music, the ESR against the mean power of all of it, as the metric has it.

    Against its own power the smallest error in a rest would be large. `about` is that mean power, (b,).
    """
    taps = _emphasis(config, sample_rate)
    terms = esr(config.esr, taps, lambda target, power: power), nmr_of_error(config.nmr, taps, sample_rate)
    return tuple(term._replace(name=f"{name} {term.name}") for term in terms)


def own_power(target: Float[Array, "b t"], about: Any) -> Float[Array, "b"]:
    """Mean square of each target."""
    return jnp.mean(target**2, axis=1)


def esr(config: ESRConfig, taps: np.ndarray, power_of: Callable[[Array, Any], Array] = own_power) -> Term:
    """Error-to-signal ratio, sum (s - s^)^2 / sum s^2 (eq. 13).

    "ratio_of_sums" is one ratio for the whole batch, as in the authors' program: loud tones dominate. The other
    reductions take each row's own ratio.

    Args:
        power_of: (filtered target (b, t), about) -> mean power that the error of each row is measured against, (b,).
    """

    def residuals(estimate: Array, target: Array, about: Any) -> Array:
        heard, wanted = dsp.filter_same(estimate, taps), dsp.filter_same(target, taps)
        power = power_of(wanted, about) + SILENCE
        return (heard - wanted) / jnp.sqrt(target.shape[1] * power)[:, None]

    def sums(estimate: Array, target: Array, about: Any) -> tuple[Array, Array]:
        heard, wanted = dsp.filter_same(estimate, taps), dsp.filter_same(target, taps)
        return jnp.mean((heard - wanted) ** 2, axis=1), power_of(wanted, about)

    if config.reduction == "ratio_of_sums":
        ratio = lambda parts: jnp.mean(parts[0]) / (jnp.mean(parts[1]) + SILENCE)  # noqa: E731
        return Term("ESR", config.weight, sums, ratio)
    return _of_squares("ESR", config, residuals)


def nmr_of_error(config: NMRConfig, taps: np.ndarray, sample_rate: float) -> Term:
    """Noise-to-mask ratio of each STFT frame: all that differs from the target, with or without phase (eqs. 14-16)."""

    def residuals(estimate: Array, target: Array, about: Any) -> Array:
        heard, wanted = dsp.filter_same(estimate, taps), dsp.filter_same(target, taps)
        if config.phase == "free":
            return nmr.magnitudes_over_mask(heard, wanted, sample_rate)
        return nmr.noise_over_mask(heard - wanted, wanted, sample_rate)

    return _of_squares("NMR", config, residuals)


def nmr_of_aliases(config: NMRConfig, taps: np.ndarray, sample_rate: float) -> Term:
    """Noise-to-mask ratio of what is no harmonic of a periodic tone, masked by the target; `about` is its `Cycle`."""

    def residuals(estimate: Array, target: Array, cycle: periodic_tones.Cycle) -> Array:
        aliases = dsp.filter_same(estimate - periodic_tones.harmonic_part(estimate, cycle), taps)
        return nmr.noise_over_mask(aliases, dsp.filter_same(target, taps), sample_rate)

    return _of_squares("aliases", config, residuals)


def dc(weight: float, taps: np.ndarray) -> Term:
    """Mean over rows of the squared difference of the offsets, over the mean square of the targets."""

    def measure(estimate: Array, target: Array, about: Any) -> tuple[Array, Array]:
        heard, wanted = dsp.filter_same(estimate, taps), dsp.filter_same(target, taps)
        return jnp.mean(heard - wanted, axis=1), jnp.mean(wanted**2, axis=1)

    return Term("DC", weight, measure, lambda parts: jnp.mean(parts[0] ** 2) / (jnp.mean(parts[1]) + SILENCE))


def reduce(ratios: Float[Array, "b ..."], reduction: Reduction, knee: float | None = None) -> Float[Array, ""]:
    """One number for the power ratios of a batch, (b,) or, of each STFT frame, (b, n).

    mean_of_ratios  the mean; the worst row dominates
    geometric       10^(mean of dB / 10) over rows, each with the mean of its frames; every row's dB count alike
    soft_hinge      mean of log(1 + ratio / knee): dB above the knee, hardly anything below it
    pseudo_huber    mean of sqrt(1 + ratio / knee) - 1: amplitudes above the knee, so that loud errors lead
    """
    if reduction == "mean_of_ratios":
        return jnp.mean(ratios)
    if reduction == "geometric":
        of_rows = jnp.mean(ratios.reshape(ratios.shape[0], -1), axis=1)
        return jnp.exp(jnp.mean(jnp.log(jnp.maximum(of_rows, SILENCE))))
    if reduction == "soft_hinge":
        return jnp.mean(jnp.log1p(ratios / _given(knee)))
    if reduction == "pseudo_huber":
        return jnp.mean(jnp.sqrt(1 + ratios / _given(knee)) - 1)
    raise ValueError(f"reduction must be mean_of_ratios, geometric, soft_hinge or pseudo_huber, got {reduction!r}")


def _given(knee: float | None) -> float:
    if knee is None:
        raise ValueError("knee must be given for soft_hinge and pseudo_huber, got none")
    return knee


def _of_squares(name: str, config: ESRConfig | NMRConfig, residuals: Callable[..., Array]) -> Term:
    return Term(
        name,
        config.weight,
        lambda estimate, target, about: squares(residuals(estimate, target, about)),
        lambda ratios: reduce(ratios, config.reduction, config.knee),
        residuals,
    )


def _emphasis(config: LossConfig, sample_rate: float) -> np.ndarray:
    """The taps that target and estimate pass before they are compared (section 2.3)."""
    taps = np.ones(1)
    if config.lowpass:
        edges = config.lowpass
        taps = dsp.lowpass_taps(sample_rate, edges.pass_hz, edges.stop_hz, edges.attenuation_db)
    if config.emphasis == "a_weighting":
        taps = np.convolve(taps, dsp.a_weighting_taps(sample_rate))
    return taps
