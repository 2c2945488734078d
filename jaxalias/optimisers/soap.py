"""Adam in the eigenbasis of the gradients of a weight matrix (SOAP).

Adam scales the step of every single weight. But the directions of large curvature are seldom single weights. The
gradients G of a matrix have the covariances E[G G^T] and E[G^T G]. Here the gradient is rotated into their eigenvectors
(the axes of Shampoo), scaled there as Adam does, and rotated back. Between two renewals of the axes a step costs a few
products of small matrices more.

Vyas et al., "SOAP: Improving and Stabilizing Shampoo using Adam", ICLR 2025.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from jaxalias.models import Params

_MEAN, _SQUARE = 0.9, 0.99  # decay of the running means of gradients and of squares
_EPSILON = 1e-8  # added to the root of the mean square, as in Adam

Leaves = dict[str, Array]
"""The arrays of a tree by their paths."""


class Axes(NamedTuple):
    """Covariances and eigenvectors of one weight matrix (n, m)."""

    rows: Float[Array, "n n"]  # running mean of G G^T
    columns: Float[Array, "m m"]  # running mean of G^T G
    left: Float[Array, "n n"]  # eigenvectors of `rows` at the last renewal, in columns
    right: Float[Array, "m m"]  # eigenvectors of `columns`


class Soap(NamedTuple):
    """The state of the optimiser, for one student."""

    mean: Leaves  # running mean of the gradients
    square: Leaves  # running mean of their squares along the axes
    axes: dict[str, Axes]  # of the leaves that are matrices


def scale_by_soap(renew_every: int) -> optax.GradientTransformationExtraArgs:
    """Adam's directions, for matrices along their own axes. Vectors have no axes and get plain Adam.

    The update also takes `number`, the number of earlier updates; the reason is in `gauss_newton.newton_steps`.

    Args:
        renew_every: updates between two renewals of the axes.

    Example:
        optimiser = scale_by_soap(renew_every=10)
        direction, state = optimiser.update(gradient, state, number=number)
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
    """New eigenvectors, and the mean squares along them, estimated from those along the old ones."""
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
