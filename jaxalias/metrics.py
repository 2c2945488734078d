"""How far an output is from its alias-free self (-S) and from the alias-free teacher (-T) (section 2.6).

All as power ratios of each tone, in the precision of their input; float64 is meant. No pre-emphasis.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxalias import nmr
from jaxalias.harmonics import Harmonics


def esr(estimate: Float[Array, "b t"], reference: Float[Array, "b t"]) -> Float[Array, "b"]:
    """Error-to-signal ratio of each signal: sum (s - s^)^2 / sum s^2 (eq. 13)."""
    return jnp.sum((reference - estimate) ** 2, axis=1) / jnp.sum(reference**2, axis=1)


def hesr(estimate: Harmonics, reference: Harmonics) -> Float[Array, "b"]:
    """Harmonic error-to-signal ratio: ESR of the magnitudes |C_m|, offset left out, phase ignored.

    The paper compares "magnitudes of the bandlimited spectra", which are these and nothing else.
    """
    magnitude, ideal = jnp.abs(estimate.coefficients), jnp.abs(reference.coefficients)
    return jnp.sum((ideal - magnitude) ** 2, axis=1) / jnp.sum(ideal**2, axis=1)


def against_self(
    y: Float[Array, "b t"], bandlimited: Float[Array, "b t"], sample_rate: float
) -> dict[str, Float[Array, "b"]]:
    """ESR-S and NMR-S: what is in the output besides its own harmonics, that is, aliasing."""
    return {"ESR-S": esr(y, bandlimited), "NMR-S": nmr.nmr(y, bandlimited, sample_rate)}


def against_teacher(
    y: Float[Array, "b t"],
    own: Harmonics,
    teacher: Harmonics,
    teacher_bandlimited: Float[Array, "b t"],
    sample_rate: float,
) -> dict[str, Float[Array, "b"]]:
    """ESR-T, NMR-T and HESR-T: what was lost or changed with the aliasing."""
    return {
        "ESR-T": esr(y, teacher_bandlimited),
        "NMR-T": nmr.nmr(y, teacher_bandlimited, sample_rate),
        "HESR-T": hesr(own, teacher),
    }
