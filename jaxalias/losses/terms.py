"""The terms of a loss, and their weighted sum (eq. 17).

A term has a name, a weight, and two steps. `measure` returns numbers for each row of a batch separately, so that rows
can be on different devices. `reduce` combines them into one number. To add a term, write a function that returns a
`Term` and name it in `of_tones`, `of_periodic_tones` or `of_music`.

A term whose measure is a sum of squares also has `residuals`: numbers whose squared magnitudes add up to the measure.
Gauss-Newton steps need their derivatives (`jaxalias.optimisers.gauss_newton`). The residuals may be linear in the
estimate or not.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxalias.config import ESRConfig, LossConfig, NMRConfig, Reduction
from jaxalias.losses import nmr
from jaxalias.signals import dsp, periodic_tones

SILENCE = 1e-12  # mean square, -120 dB of full scale; added to a target's power to avoid a division by zero


class Term(NamedTuple):
    """One term of a loss.

    measure: (estimate (b, t), target (b, t), about) -> arrays with the rows first. `about` holds what the term needs to
        know about each row: the cycle of a periodic tone, the mean power of music.
    reduce: from these arrays to one number. With `residuals` it must be a mean over rows.
    residuals: the same arguments -> (b, ...), real or complex; the sum over the last axis of the squared magnitudes
        equals `measure`. None if the measure is no sum of squares.
    """

    name: str
    weight: float
    measure: Callable[[Array, Array, Any], Any]
    reduce: Callable[[Any], Float[Array, ""]]
    residuals: Callable[[Array, Array, Any], Array] | None = None


def squares(residuals: Array) -> Array:
    """The sum over the last axis of the squared magnitudes.

    Example:
        >>> squares(jnp.array([[3.0, 4.0]])).tolist()
        [25.0]
    """
    return jnp.sum(residuals.real**2 + residuals.imag**2 if jnp.iscomplexobj(residuals) else residuals**2, axis=-1)


def total(terms: Sequence[Term], values: dict[str, Array], weights: dict[str, Any] | None = None) -> Array:
    """The sum of weight times value (eq. 17), in the precision of the values.

    Args:
        terms: of one or more sources.
        values: of each term, by name.
        weights: by name; None: those of the terms.

    Example:
        >>> terms = [Term("a", 2.0, None, None), Term("b", 3.0, None, None)]
        >>> float(total(terms, {"a": jnp.array(1.0), "b": jnp.array(10.0)}))
        32.0
    """
    known = {term.name: term.weight for term in terms} if weights is None else weights
    return jnp.sum(jnp.stack([known[term.name] * values[term.name] for term in terms]))


def mean(term: Term, parts: Any, weight: Float[Array, "b"] | None) -> Float[Array, ""]:
    """The value of a term for a batch: its reduction, or the weighted mean of the reductions of each row.

    Args:
        term: with weights, its `reduce` must be a mean over rows.
        parts: the result of its `measure`.
        weight: of each row; None: all 1.

    Example:
        >>> term = esr(ESRConfig(), np.ones(1))
        >>> float(mean(term, jnp.array([0.25, 0.5]), jnp.array([1.5, 0.5])))
        0.3125
    """
    if weight is None:
        return term.reduce(parts)
    rows = jax.tree.map(lambda part: part[:, None], parts)
    return jnp.mean(weight * jax.vmap(term.reduce)(rows))


def of_tones(config: LossConfig, sample_rate: float) -> tuple[Term, ...]:
    """ESR + lambda NMR + DC of tones (eq. 17), each relative to the power of its own tone.

    Target and estimate first pass the same filters: the low-pass and the A-weighting of the config, zero-padded. What
    is above the edge of the low-pass has no effect on the loss.

    Args:
        config: filters, reductions and weights.
        sample_rate: Hz.

    Raises:
        ValueError: the low-pass does not fit below half the sample rate. When a term is called: the frame is shorter
            than an NMR frame of 2048 samples.

    Example:
        >>> [term.name for term in of_tones(LossConfig(dc_weight=1.0), 44_100)]
        ['ESR', 'NMR', 'DC']
    """
    taps = _emphasis(config, sample_rate)
    terms = [esr(config.esr, taps), nmr_of_error(config.nmr, taps, sample_rate), dc(config.dc_weight, taps)]
    return tuple(term for term in terms if term.weight or term.name in ("ESR", "NMR"))


def of_periodic_tones(config: LossConfig, sample_rate: float) -> tuple[Term, ...]:
    """The terms of `of_tones`, and the NMR of the aliases if the config has it.

    Example:
        >>> [term.name for term in of_periodic_tones(LossConfig(aliases=NMRConfig()), 44_100)]
        ['ESR', 'NMR', 'aliases']
    """
    found = of_tones(config, sample_rate)
    if config.aliases is not None:
        found = *found, nmr_of_aliases(config.aliases, _emphasis(config, sample_rate), sample_rate)
    return found


def of_music(config: LossConfig, sample_rate: float, name: str) -> tuple[Term, ...]:
    """ESR and NMR of the error on music.

    The error is divided by the mean power of the whole recording, as in the metric. Divided by the power of its own
    frame, the smallest error in a rest would be large.

    Args:
        config: filters, reductions and weights.
        sample_rate: Hz.
        name: of the source; the names of the terms begin with it.

    Returns:
        Terms whose `about` is that mean power, (b,).

    Example:
        >>> [term.name for term in of_music(LossConfig(), 44_100, "music")]
        ['music ESR', 'music NMR']
    """
    return tuple(term._replace(name=f"{name} {term.name}") for term in _of_any_music(config, sample_rate))


@lru_cache(maxsize=16)
def _of_any_music(config: LossConfig, sample_rate: float) -> tuple[Term, ...]:
    """Sources with the same config have the same functions, so that one loop can compute their rows."""
    taps = _emphasis(config, sample_rate)
    return esr(config.esr, taps, lambda target, power: power), nmr_of_error(config.nmr, taps, sample_rate)


def own_power(target: Float[Array, "b t"], about: Any) -> Float[Array, "b"]:
    """Mean square of each target.

    Example:
        >>> own_power(jnp.array([[3.0, 4.0]]), None).tolist()
        [12.5]
    """
    return jnp.mean(target**2, axis=1)


def esr(config: ESRConfig, taps: np.ndarray, power_of: Callable[[Array, Any], Array] = own_power) -> Term:
    """Error-to-signal ratio, sum (s - s^)^2 / sum s^2 (eq. 13).

    The reduction "ratio_of_sums" is one ratio for the whole batch, as in the authors' program: loud tones dominate. The
    other reductions combine the ratios of the rows.

    Args:
        config: reduction and weight.
        taps: FIR filter of estimate and target.
        power_of: (filtered target (b, t), about) -> mean power (b,) by which the error of each row is divided.

    Example:
        >>> term = esr(ESRConfig(), np.ones(1))
        >>> target = jnp.ones((1, 4))
        >>> round(float(term.reduce(term.measure(0.9 * target, target, None))), 6)
        0.01
    """

    def residuals(estimate: Array, target: Array, about: Any) -> Array:
        found, wanted = dsp.filter_same(estimate, taps), dsp.filter_same(target, taps)
        power = power_of(wanted, about) + SILENCE
        return (found - wanted) / jnp.sqrt(target.shape[1] * power)[:, None]

    def sums(estimate: Array, target: Array, about: Any) -> tuple[Array, Array]:
        found, wanted = dsp.filter_same(estimate, taps), dsp.filter_same(target, taps)
        return jnp.mean((found - wanted) ** 2, axis=1), power_of(wanted, about)

    if config.reduction == "ratio_of_sums":
        ratio = lambda parts: jnp.mean(parts[0]) / (jnp.mean(parts[1]) + SILENCE)  # noqa: E731
        return Term("ESR", config.weight, sums, ratio)
    return _of_squares("ESR", config, residuals)


def nmr_of_error(config: NMRConfig, taps: np.ndarray, sample_rate: float) -> Term:
    """Noise-to-mask ratio of each STFT frame of the whole difference to the target, with or without phase (eqs. 14-16).

    Args:
        config: phase, reduction and weight.
        taps: FIR filter of estimate and target.
        sample_rate: Hz.

    Example:
        >>> term = nmr_of_error(NMRConfig(), np.ones(1), 48_000)
        >>> target = jnp.sin(jnp.arange(4096.0))[None]
        >>> term.measure(0.9 * target, target, None).shape
        (1, 3)
    """

    def residuals(estimate: Array, target: Array, about: Any) -> Array:
        found, wanted = dsp.filter_same(estimate, taps), dsp.filter_same(target, taps)
        if config.phase == "free":
            return nmr.magnitudes_over_mask(found, wanted, sample_rate)
        return nmr.noise_over_mask(found - wanted, wanted, sample_rate)

    return _of_squares("NMR", config, residuals)


def nmr_of_aliases(config: NMRConfig, taps: np.ndarray, sample_rate: float) -> Term:
    """Noise-to-mask ratio of everything but the harmonics of a periodic tone, masked by the target.

    Arguments as `nmr_of_error`; `about` is the `Cycle` of each row.

    Example:
        >>> term = nmr_of_aliases(NMRConfig(), np.ones(1), 48_000)
        >>> cycle = periodic_tones.Cycle(jnp.array([2039], jnp.int32), jnp.array([325], jnp.int32))
        >>> target = jnp.sin(2 * np.pi * 325 / 2039 * jnp.arange(4096.0))[None]
        >>> bool(jnp.max(term.measure(0.9 * target, target, cycle)) < 1e-6)
        True
    """

    def residuals(estimate: Array, target: Array, cycle: periodic_tones.Cycle) -> Array:
        aliases = dsp.filter_same(estimate - periodic_tones.harmonic_part(estimate, cycle), taps)
        return nmr.noise_over_mask(aliases, dsp.filter_same(target, taps), sample_rate)

    return _of_squares("aliases", config, residuals)


def dc(weight: float, taps: np.ndarray) -> Term:
    """Mean over rows of the squared difference of the offsets, divided by the mean square of the targets.

    Args:
        weight: of the term.
        taps: FIR filter of estimate and target.

    Example:
        >>> term, target = dc(1.0, np.ones(1)), jnp.array([[1.0, -1.0]])
        >>> round(float(term.reduce(term.measure(target + 0.1, target, None))), 6)
        0.01
    """

    def measure(estimate: Array, target: Array, about: Any) -> tuple[Array, Array]:
        found, wanted = dsp.filter_same(estimate, taps), dsp.filter_same(target, taps)
        return jnp.mean(found - wanted, axis=1), jnp.mean(wanted**2, axis=1)

    return Term("DC", weight, measure, lambda parts: jnp.mean(parts[0] ** 2) / (jnp.mean(parts[1]) + SILENCE))


def reduce(ratios: Float[Array, "b ..."], reduction: Reduction, knee: float | None = None) -> Float[Array, ""]:
    """One number for the power ratios of a batch: (b,), or (b, n) with one ratio per STFT frame.

    mean_of_ratios  the mean; the worst row dominates
    geometric       10^(mean of dB / 10) over rows, after the mean over the frames of each; all rows weigh alike in dB
    soft_hinge      mean of log(1 + ratio / knee): like dB above the knee, almost zero below it
    pseudo_huber    mean of sqrt(1 + ratio / knee) - 1: like amplitudes above the knee, so loud errors dominate

    Args:
        ratios: power ratios.
        reduction: one of the four names.
        knee: power ratio, for soft_hinge and pseudo_huber.

    Raises:
        ValueError: another reduction, or no knee where one is needed.

    Example:
        >>> ratios = jnp.array([0.01, 1.0])
        >>> float(reduce(ratios, "mean_of_ratios")), round(float(reduce(ratios, "geometric")), 6)
        (0.505, 0.1)
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
    """The FIR filter that target and estimate pass before they are compared (section 2.3)."""
    taps = np.ones(1)
    if config.lowpass:
        edges = config.lowpass
        taps = dsp.lowpass_taps(sample_rate, edges.pass_hz, edges.stop_hz, edges.attenuation_db)
    if config.emphasis == "a_weighting":
        taps = np.convolve(taps, dsp.a_weighting_taps(sample_rate))
    return taps
