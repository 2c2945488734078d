"""Gauss-Newton steps for small networks: the gradient solved against the curvature of a loss made of squares.

Where the loss is a weighted sum of squares of residuals r, its curvature is that of J^T J, J = dr / dparameters
(Gauss and Newton; see Martens, "New insights and perspectives on the natural gradient method", JMLR 2020). It is not
formed but sampled: with random signs s, u = J^T s has the mean E[u u^T] = J^T J, and one more backward pass gives
u for every tone. A running mean of such products over some thousand tones stands for the curvature of them all.
Products between layers are left out (K-FAC's blocks, Martens and Grosse 2015, without its factors): a layer of a NAM
WaveNet has a thousand parameters at most, so a block is factorised as it is.

Why: the harmonics of a tone answer to some directions of the parameters thousands of times as strongly as its
aliases to others. A step that is safe along the first hardly moves along the second; what came of Adam's is in
experiments/RESULTS.md.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxalias.config import CurvatureConfig
from jaxalias.models import Params

_MOST_BYTES = 4 << 30  # of both matrices of all layers: of a laptop

Blocks = dict[str, Array]
"""One array a layer: vectors (..., p) or matrices (p, p) of its p parameters."""


class Curvature(NamedTuple):
    """What the steps are made with, of one student."""

    products: Blocks  # running mean of u u^T, (p, p)
    weight: Float[Array, ""]  # of what is in it
    roots: Blocks  # W, (p * p,), with W^T W the inverse of the damped curvature when last renewed; before that, zeros


def scale_by_curvature(config: CurvatureConfig) -> optax.GradientTransformationExtraArgs:
    """Newton directions for gradients; until the curvature is known for the first time they are zero.

    Its update takes two more arguments: `probes`, a tree of u (b, ...), one for each tone, and `number`, of the
    updates before it. The number is not part of the state, so that it can be one for many students (`jax.vmap`):
    then they factorise when it is time; if each had its own, all would do so in every update.
    """
    keep = 1 - config.sample_every / (config.memory + config.sample_every - 1)

    def init(params: Params) -> Curvature:
        vectors = blocks(params)
        nothing = {name: jnp.zeros((v.size, v.size), v.dtype) for name, v in vectors.items()}
        roots = {name: jnp.zeros(v.size**2, v.dtype) for name, v in vectors.items()}
        return Curvature(nothing, jnp.zeros((), next(iter(vectors.values())).dtype), roots)

    def update(
        gradient: Params, state: Curvature, params: Params | None = None, *, probes: Params, number: Any, **_: Any
    ) -> tuple[Params, Curvature]:
        def gathered() -> tuple[Blocks, Array]:
            found = {
                name: keep * state.products[name] + (1 - keep) * _dot(u.T, u) / len(u)
                for name, u in blocks(probes, leading=1).items()
            }
            return found, keep * state.weight + (1 - keep)

        sampled = is_sampled(config, number)
        products, weight = jax.lax.cond(sampled, gathered, lambda: (state.products, state.weight))

        def renewed(_: Blocks) -> Blocks:
            return {name: _root(mean / weight, config.damping) for name, mean in products.items()}

        roots = jax.lax.cond((number + 1) % config.renew_every == 0, renewed, lambda old: old, state.roots)
        direction = {name: _solve(roots[name], g) for name, g in blocks(gradient).items()}
        return unblocked(direction, gradient), Curvature(products, weight, roots)

    return optax.GradientTransformationExtraArgs(init, update)


def is_sampled(config: CurvatureConfig, number: Any) -> Any:
    """Whether the curvature is sampled after `number` updates: all up to the first factorisation, then some of them.

    Of the later ones it is one in `sample_every`.
    """
    return (number < config.renew_every) | (number % config.sample_every == 0)


def refuse_too_large(params: Params) -> None:
    """Raise before the memory of a machine is full.

    Raises:
        ValueError: the matrices of all layers together take more than 4 GiB; names the largest layer.
    """
    vectors = blocks(params)
    largest = max(vectors, key=lambda name: vectors[name].size)
    wanted = 2 * sum(v.size**2 * v.dtype.itemsize for v in vectors.values())
    if wanted > _MOST_BYTES:
        raise ValueError(
            f"the curvature of this model takes {wanted / 2**30:.0f} GiB, more than {_MOST_BYTES / 2**30:.0f} "
            f"(largest layer: {largest or 'the whole model'}, {vectors[largest].size} parameters); "
            "use a preset without optimiser.curvature"
        )


def blocks(tree: Params, leading: int = 0) -> Blocks:
    """The parameters of each layer as one vector, behind `leading` axes of the leaves; by the layer's path."""
    found: dict[str, list[Array]] = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        found.setdefault(_layer(path), []).append(leaf.reshape(*leaf.shape[:leading], -1))
    return {name: jnp.concatenate(parts, axis=-1) for name, parts in found.items()}


def unblocked(vectors: Blocks, like: Params) -> Params:
    """The inverse of `blocks`."""
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    used, leaves = dict.fromkeys(vectors, 0), []
    for path, leaf in paths:
        name = _layer(path)
        leaves.append(vectors[name][used[name] : used[name] + leaf.size].reshape(leaf.shape))
        used[name] += leaf.size
    return jax.tree.unflatten(structure, leaves)


def _root(mean: Float[Array, "p p"], damping: float) -> Float[Array, "square"]:
    """For twice J^T J, the second derivative of a sum of squares, and what is added to make it solvable.

    The inverse of Cholesky's factor: solving against the factor in every update took ten times as long as two
    products. Flat, or LAPACK's order of columns would be that of the state, and be copied in every update.
    """
    rounding = 4 * jnp.finfo(mean.dtype).eps * jnp.trace(mean)
    one = jnp.eye(len(mean), dtype=mean.dtype)
    factor = jnp.linalg.cholesky(2 * mean + (damping + rounding) * one)
    return jax.scipy.linalg.solve_triangular(factor, one, lower=True).ravel()


def _solve(root: Float[Array, "square"], gradient: Float[Array, "p"]) -> Float[Array, "p"]:
    """W^T W g."""
    w = root.reshape(gradient.size, gradient.size)
    return _dot(_dot(w, gradient), w)


def _layer(path: tuple) -> str:
    """A layer is what has several groups of weights (a convolution, a mixin ...), or the one group that there is."""
    names = [str(key.key) for key in path]
    return "/".join(names[:-2] or names[:-1])


def _dot(a: Array, b: Array) -> Array:
    return jnp.dot(a, b, precision=jax.lax.Precision.HIGHEST)
