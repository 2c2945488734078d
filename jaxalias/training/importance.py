"""Importance sampling: rows on which the teacher's aliases are loud are drawn more often, and weigh less.

A few rows have nearly all of the gradient: of the tones of a WaveNet, 5 % have 93 % of its squared norm. Drawn
uniformly they are rare, so the gradient of a small batch is mostly noise. A row that is drawn q times as often and
weighted by 1 / q leaves the mean of the gradient as it was. The variance is least if q is proportional to the norm of
the row's gradient (Katharopoulos and Fleuret, "Not all samples are created equal", ICML 2018). The amplitude of the
teacher's own aliases predicts this norm for the whole run (experiments/RECIPES.md, "Importance sampling").
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from jaxalias.config import NMRConfig

_UNIFORM = 0.5  # share of the rows that are drawn uniformly, so that no row weighs more than twice


class Chances(NamedTuple):
    """A probability density over [0, 1), constant in each of n equal cells."""

    density: Float[Array, "n"]  # with mean 1


def chances(loudness: Float[np.ndarray, "n"]) -> Chances:
    """Half uniform, half proportional to `loudness`, the expected norm of the gradient in each cell.

    Example:
        >>> chances(np.array([0.0, 3.0, 0.0])).density.tolist()
        [0.5, 2.0, 0.5]
    """
    return Chances(jnp.asarray(_UNIFORM + (1 - _UNIFORM) * loudness / np.mean(loudness), jnp.float32))


def place(found: Chances | None, even: Float[Array, "b"]) -> tuple[Float[Array, "b"], Float[Array, "b"] | None]:
    """Numbers in [0, 1) with this density, and the weight of each: 1 / density.

    Args:
        found: the density; None: uniform, without weights.
        even: uniform in [0, 1); mapped by the inverse of the cumulative distribution.

    Example:
        >>> where, weight = place(chances(np.array([0.0, 3.0, 0.0])), jnp.array([0.1, 0.5]))
        >>> where.round(3).tolist(), weight.tolist()
        ([0.2, 0.5], [2.0, 0.5])
    """
    if found is None:
        return even, None
    count, densities = len(found.density), found.density.astype(even.dtype)
    edges = jnp.cumsum(densities) / count
    cell = jnp.minimum(jnp.searchsorted(edges, even, side="right"), count - 1)
    density = densities[cell]
    inside = 1 - (edges[cell] - even) * count / density
    return (cell + jnp.clip(inside, 0, 1)) / count, 1 / density


def loudness(noise_to_mask: ArrayLike, term: NMRConfig) -> Float[np.ndarray, "..."]:
    """The amplitude of noise relative to its mask, a power ratio; almost constant below the knee of the term."""
    return np.sqrt(1 + np.asarray(noise_to_mask, np.float64) / (term.knee or 1.0))
