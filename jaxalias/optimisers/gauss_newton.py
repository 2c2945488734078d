"""Gauss-Newton steps for small networks: the gradient multiplied by the inverse curvature of a sum of squares.

If the loss is a weighted sum of squares of residuals r, its Gauss-Newton curvature is that of J^T J, J = dr /
dparameters (see Martens, "New insights and perspectives on the natural gradient method", JMLR 2020). J^T J is not
computed but sampled: for random signs s, the vector u = J^T s has E[u u^T] = J^T J, and one more backward pass gives
one u for every tone. A running mean of u u^T over some thousand tones approximates the curvature of all tones.
Products between layers are neglected (the blocks of K-FAC, Martens and Grosse 2015, without its factors). A layer of a
NAM WaveNet has at most a thousand parameters, so each block is factorised directly.

Why: in some directions of the parameters the harmonics of a tone change thousands of times as strongly as its aliases
do in others. A learning rate that is stable in the first directions makes almost no progress in the second. The results
with Adam are in experiments/RESULTS.md.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxalias.config import CurvatureConfig
from jaxalias.models import Params

_MOST_BYTES = 4 << 30  # for both matrices of all layers; what a laptop can spare

Blocks = dict[str, Array]
"""One array per layer: vectors (..., p) or matrices (p, p) of its p parameters."""


class Curvature(NamedTuple):
    """The state of the optimiser, for one student."""

    products: Blocks  # running mean of u u^T, (p, p)
    weight: Float[Array, ""]  # sum of the weights in that mean
    roots: Blocks  # W, (p * p,); W^T W is the inverse of the damped curvature at the last renewal; zeros before
    mean: Blocks  # running mean of W g, (p,)


def newton_steps(config: CurvatureConfig, longest: float | None) -> optax.GradientTransformationExtraArgs:
    """Steps against the gradient, -rate W^T m with m the running mean of W g. They are zero until there is a W.

    The length of a step is measured by the curvature H, not in the units of the parameters: |m| = sqrt(s H s) for a
    step s = W^T m. Its square is twice the change that the second derivative of the loss expects. It is limited before
    the rate, so the rate scales every step. The limit is that of the mean: the mean of many noisy directions points
    further downhill than each of them.

    The update takes three more arguments: `rate`; `probes`, a tree of u (b, ...), one for each tone; and `number`, the
    number of earlier updates. The number is not part of the state, so that many students can share it under `jax.vmap`.
    With a number per student, `jax.lax.cond` would become a select and factorise in every update.

    Args:
        config: how often to sample and to renew, the memory of the curvature, the damping, the momentum.
        longest: limit of |m|; None: no limit.

    Example:
        optimiser = newton_steps(CurvatureConfig(), 0.5)
        step, state = optimiser.update(gradient, state, rate=0.2, probes=probes, number=number)
    """
    keep = 1 - config.sample_every / (config.memory + config.sample_every - 1)

    def init(params: Params) -> Curvature:
        vectors = blocks(params)
        nothing = {name: jnp.zeros((v.size, v.size), v.dtype) for name, v in vectors.items()}
        roots = {name: jnp.zeros(v.size**2, v.dtype) for name, v in vectors.items()}
        dtype = next(iter(vectors.values())).dtype
        return Curvature(nothing, jnp.zeros((), dtype), roots, jax.tree.map(jnp.zeros_like, vectors))

    def update(
        gradient: Params, state: Curvature, params: Params | None = None, *, rate: Any, probes: Params, number: Any,
        **_: Any,
    ) -> tuple[Params, Curvature]:  # fmt: skip
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
        mean = {
            name: config.momentum * state.mean[name] + (1 - config.momentum) * _dot(_square(roots[name], g), g)
            for name, g in blocks(gradient).items()
        }
        return unblocked(_step(mean, roots, rate, longest), gradient), Curvature(products, weight, roots, mean)

    return optax.GradientTransformationExtraArgs(init, update)


def is_sampled(config: CurvatureConfig, number: Any) -> Any:
    """True if the curvature is sampled in the update after `number` earlier ones.

    It is sampled in all updates up to the first factorisation, and then in one of `sample_every`.
    """
    return (number < config.renew_every) | (number % config.sample_every == 0)


def refuse_too_large(params: Params) -> None:
    """Raise if the curvature matrices would fill the memory of the machine.

    Raises:
        ValueError: the matrices of all layers together need more than 4 GiB. The message names the largest layer.
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
    """The parameters of each layer as one vector, after `leading` axes of the leaves, by the path of the layer."""
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
    """The inverse of the Cholesky factor of the damped curvature: twice J^T J (the second derivative) plus damping.

    Solving with the factor in every update took ten times as long as two products with its inverse. The result is flat:
    as a matrix, the state would get LAPACK's column order and be copied in every update.
    """
    rounding = 4 * jnp.finfo(mean.dtype).eps * jnp.trace(mean)
    one = jnp.eye(len(mean), dtype=mean.dtype)
    factor = jnp.linalg.cholesky(2 * mean + (damping + rounding) * one)
    return jax.scipy.linalg.solve_triangular(factor, one, lower=True).ravel()


def _step(mean: Blocks, roots: Blocks, rate: Any, longest: float | None) -> Blocks:
    """-rate W^T m, with |m| limited to `longest`."""
    scale = rate if longest is None else rate * longest / jnp.maximum(optax.tree.norm(mean), longest)
    return {name: -scale * _dot(m, _square(roots[name], m)) for name, m in mean.items()}


def _square(root: Float[Array, "square"], like: Float[Array, "p"]) -> Float[Array, "p p"]:
    return root.reshape(like.size, like.size)


def _layer(path: tuple) -> str:
    """The path of a layer: a module with several groups of weights (convolution, mixin ...), or with the only group."""
    names = [str(key.key) for key in path]
    return "/".join(names[:-2] or names[:-1])


def _dot(a: Array, b: Array) -> Array:
    return jnp.dot(a, b, precision=jax.lax.Precision.HIGHEST)
