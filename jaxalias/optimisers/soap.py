"""Adam along the axes in which a weight matrix is learned (SOAP).

Adam gives every weight a step of its own, but what is steep is a direction and seldom a single weight. The gradients
G of a matrix have the covariances E[G G^T] and E[G^T G]. Along their eigenvectors (the axes of Shampoo) Adam's steps
are taken here, and turned back. Between two renewals of the axes a step costs some products of small matrices more.

Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", ICLR 2025.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxalias.models import Params

_MEAN, _SQUARE = 0.9, 0.99  # what is kept of a running mean from one update to the next: of gradients, of squares
_EPSILON = 1e-8  # beside the root of the mean square, as Adam's

Leaves = dict[str, Array]
"""The arrays of a tree by their paths."""


class Axes(NamedTuple):
    """Of one weight matrix (n, m)."""

    rows: Float[Array, "n n"]  # running mean of G G^T
    columns: Float[Array, "m m"]  # and of G^T G
    left: Float[Array, "n n"]  # their eigenvectors, in columns, when they were last renewed
    right: Float[Array, "m m"]


class Soap(NamedTuple):
    """What the steps are made with, of one student."""

    mean: Leaves  # of the gradients
    square: Leaves  # of their squares along the axes
    axes: dict[str, Axes]  # of what is a matrix


def scale_by_soap(renew_every: int) -> optax.GradientTransformationExtraArgs:
    """Adam's directions, those of matrices along their own axes; vectors have none and are left as they are.

    Its update takes `number` too, of the updates before it; `gauss_newton.scale_by_curvature` says why.
    """

    def init(params: Params) -> Soap:
        zeros = {path: jnp.zeros_like(leaf) for path, leaf in _leaves(params).items()}
        return Soap(zeros, zeros, {path: _unturned(leaf) for path, leaf in zeros.items() if leaf.ndim == 2})

    @jax.default_matmul_precision("highest")
    def update(
        gradient: Params, state: Soap, params: Params | None = None, *, number: Any, **_: Any
    ) -> tuple[Params, Soap]:
        found, seen = _leaves(gradient), number + 1
        mean = optax.tree.update_moment(found, state.mean, _MEAN, 1)
        axes = {path: _gathered(a, found[path]) for path, a in state.axes.items()}
        axes, square = jax.lax.cond(seen % renew_every == 0, _renewed, lambda *old: old, axes, state.square)
        square = optax.tree.update_moment(_along(axes, found), square, _SQUARE, 2)
        drift = _along(axes, optax.tree.bias_correction(mean, _MEAN, seen))
        spread = optax.tree.bias_correction(square, _SQUARE, seen)
        steps = _back(axes, jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + _EPSILON), drift, spread))
        return jax.tree.unflatten(jax.tree.structure(gradient), [steps[p] for p in found]), Soap(mean, square, axes)

    return optax.GradientTransformationExtraArgs(init, update)


def _unturned(matrix: Float[Array, "n m"]) -> Axes:
    (n, m), kind = matrix.shape, matrix.dtype
    return Axes(jnp.zeros((n, n), kind), jnp.zeros((m, m), kind), jnp.eye(n, dtype=kind), jnp.eye(m, dtype=kind))


def _gathered(axes: Axes, gradient: Float[Array, "n m"]) -> Axes:
    new = gradient @ gradient.T, gradient.T @ gradient
    rows, columns = optax.incremental_update(new, (axes.rows, axes.columns), 1 - _SQUARE)
    return axes._replace(rows=rows, columns=columns)


def _renewed(axes: dict[str, Axes], square: Leaves) -> tuple[dict[str, Axes], Leaves]:
    """New eigenvectors, and the mean squares as they would be along them if nothing else were known."""
    fresh, turned = {}, dict(square)
    for path, old in axes.items():
        new = old._replace(left=jnp.linalg.eigh(old.rows)[1], right=jnp.linalg.eigh(old.columns)[1])
        fresh[path] = new
        turned[path] = (new.left.T @ old.left) ** 2 @ square[path] @ (old.right.T @ new.right) ** 2
    return fresh, turned


def _along(axes: dict[str, Axes], leaves: Leaves) -> Leaves:
    return leaves | {path: a.left.T @ leaves[path] @ a.right for path, a in axes.items()}


def _back(axes: dict[str, Axes], leaves: Leaves) -> Leaves:
    return leaves | {path: a.left @ leaves[path] @ a.right.T for path, a in axes.items()}


def _leaves(tree: Params) -> Leaves:
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}
