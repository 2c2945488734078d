"""The loss of one update, summed over the sources, and its gradient with respect to the parameters.

`of_batch` differentiates the whole sum at once. `row_by_row` computes the gradient of every row separately and, with
the same forward pass, a sample of the curvature (`jaxalias.optimisers.gauss_newton`).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key

from jaxalias.losses import terms as loss_terms
from jaxalias.models import Params, State
from jaxalias.training.sources import Frame, Source, play_together, together

Spread = Callable[[Callable, Any, Any], Callable]
"""(f, axes in, axes out) -> f on every device's share of the rows (`jaxalias.training.students.over_rows`)."""


class Learned(NamedTuple):
    """The results of one update's batches."""

    gradient: Params
    probes: Params | None  # samples of the curvature, rows first; the mean of their outer products is the curvature
    values: dict[str, Array]  # the loss and its terms by name
    memories: tuple[State, ...]  # state of the model after the frame, for each source


class Row(NamedTuple):
    """A row of a source, or all its rows, before the gradient."""

    weights: list[Array]  # of the terms, in their order
    frame: Frame
    memory: State
    key: Array  # of the random signs


Learn = Callable[[Params, dict[str, Any], Sequence[Frame], Sequence[State], Key[Array, ""], Any], Learned]
"""(params, weights by term, a frame and a memory for each source, key, number of earlier updates) -> Learned."""


def of_batch(sources: Sequence[Source], spread: Spread) -> Learn:
    """The gradient of the loss by reverse-mode differentiation.

    Args:
        sources: of the run.
        spread: distributes the rows over devices.
    """

    def learn(
        params: Params, weights: dict, frames: Sequence[Frame], memories: Sequence[State], key: Array, number: Any
    ) -> Learned:
        def loss(params: Params) -> tuple[Array, tuple]:
            values, after = _values_of_batch(sources, params, weights, frames, memories, spread)
            return values["loss"], (values, after)

        gradient, (values, after) = jax.grad(loss, has_aux=True)(params)
        return Learned(gradient, None, values, after)

    return learn


def _values_of_batch(
    sources: Sequence[Source], params: Params, weights: dict[str, Any], frames: Sequence[Frame],
    memories: Sequence[State], spread: Spread,
) -> tuple[dict[str, Array], tuple[State, ...]]:  # fmt: skip
    """The loss and its terms, and the memories after the frames."""
    estimates, after = play_together(sources, params, [frame.inputs for frame in frames], memories, spread)
    compared = [(estimate, frame.targets, frame.about) for estimate, frame in zip(estimates, frames, strict=True)]

    def measure(first: int, rows: tuple) -> list[Any]:
        return spread(lambda *row: [term.measure(*row) for term in sources[first].terms], (0, 0, 0), 0)(*rows)

    alike = [_comparison(source, rows) for source, rows in zip(sources, compared, strict=True)]
    values: dict[str, Array] = {}
    for source, parts, frame in zip(sources, together(alike, compared, measure), frames, strict=True):
        values |= _values(source, parts, frame)
    every = [term for source in sources for term in source.terms]
    return {"loss": loss_terms.total(every, values, weights), **values}, tuple(after)


def row_by_row(
    sources: Sequence[Source], spread: Spread, each_row: Callable, is_sampled: Callable[[Any], Any]
) -> Learn:
    """Per-row gradients and samples of the Gauss-Newton curvature. The terms must be means over rows.

    A sample is J^T s: J is the derivative of the row's residuals, each residual scaled by the root of the derivative of
    the loss with respect to its square, and s are random signs. The outer product of a sample has the mean J^T J. The
    samples of all sources are weighted by their numbers of rows, so that the mean of all outer products is the
    curvature of the loss.

    Args:
        sources: of the run.
        spread: distributes the rows over devices.
        each_row: (f, rows) -> f of every row, sequential or parallel as suits the model (`models.each_row`).
        is_sampled: from the number of earlier updates to whether this update samples the curvature; if not, its probes
            are zeros.
    """
    all_rows = sum(source.rows for source in sources)

    def learn(
        params: Params, weights: dict, frames: Sequence[Frame], memories: Sequence[State], key: Array, number: Any
    ) -> Learned:
        sampled = jnp.asarray(is_sampled(number))

        def rows_of(index: int, source: Source, frame: Frame, memory: State) -> Row:
            own = [jnp.full(source.rows, weights[term.name], frame.targets.dtype) for term in source.terms]
            return Row(own, frame, memory, jax.random.split(jax.random.fold_in(key, index), source.rows))

        def learn_rows(first: int, rows: Row) -> tuple:
            def share(params: Params, sampled: Array, *rows: Any) -> Any:
                return each_row(lambda row: _learn_row(sources[first], params, sampled, Row(*row)), rows)

            return spread(share, (-1, -1, 0, 0, 0, 0), 0)(params, sampled, *rows)

        each = zip(range(len(sources)), sources, frames, memories, strict=True)
        rows = [rows_of(*one) for one in each]
        alike = [(source.play, *_comparison(source, own)) for source, own in zip(sources, rows, strict=True)]
        learned = together(alike, rows, learn_rows)
        gradients, probes, measures, after = zip(*learned, strict=True)
        scaled = [math.sqrt(all_rows / source.rows) * probe for source, probe in zip(sources, probes, strict=True)]
        values: dict[str, Array] = {}
        for source, parts, frame in zip(sources, measures, frames, strict=True):
            values |= _values(source, parts, frame)
        every = [term for source in sources for term in source.terms]
        unravel = ravel_pytree(params)[1]
        means = [jnp.mean(gradient, axis=0) for gradient in gradients]
        return Learned(
            unravel(jnp.sum(jnp.stack(means), axis=0)),
            jax.vmap(unravel)(jnp.concatenate(scaled)),
            {"loss": loss_terms.total(every, values, weights), **values},
            after,
        )

    return learn


def _comparison(source: Source, rows: Any) -> tuple:
    """Equal for sources whose rows can be compared in one call: the same terms, arrays of the same shapes."""
    leaves, structure = jax.tree.flatten(rows)
    functions = [(term.measure, term.residuals, term.reduce) for term in source.terms]
    return *functions, structure, *(leaf.shape[1:] for leaf in leaves)


def _learn_row(source: Source, params: Params, sampled: Array, row: Row) -> tuple:
    """Gradient (p,), sample of the curvature (p,), measures and memory of one row of this source or of one like it.

    Vectors of all p parameters, because each array that devices share costs a transfer.
    """
    frame, memory = jax.tree.map(lambda a: a[None], (row.frame, row.memory))  # a batch of one
    weights = {term.name: weight for term, weight in zip(source.terms, row.weights, strict=True)}

    def residuals(estimate: Float[Array, "b t"]) -> list[Array]:
        return [_residuals(term)(estimate, frame.targets, frame.about) for term in source.terms]

    def loss(parts: list[Array]) -> Array:
        return loss_terms.total(source.terms, _values(source, parts, frame), weights)

    estimate, pull, after = jax.vjp(lambda p: source.play(p, frame.inputs, memory), params, has_aux=True)
    found, pull_residuals = jax.vjp(residuals, estimate)
    parts, pull_squares = jax.vjp(lambda every: [loss_terms.squares(r) for r in every], found)
    slopes = jax.grad(loss)(parts)
    signs = [_signs(k, s, r) for k, s, r in zip(jax.random.split(row.key, len(found)), slopes, found, strict=True)]
    gradient = ravel_pytree(pull(*pull_residuals(*pull_squares(slopes)))[0])[0]
    probe = jax.lax.cond(
        sampled, lambda: ravel_pytree(pull(*pull_residuals(signs))[0])[0], lambda: jnp.zeros_like(gradient)
    )
    return gradient, probe, *jax.tree.map(lambda a: a[0], (parts, after))


def _values(source: Source, parts: Sequence[Any], frame: Frame) -> dict[str, Array]:
    """The terms of a source by name, from the measures of its rows."""
    every = zip(source.terms, parts, strict=True)
    return {term.name: loss_terms.mean(term, part, frame.weight) for term, part in every}


def _residuals(term: loss_terms.Term) -> Callable:
    if term.residuals is None:
        raise ValueError(f"Gauss-Newton steps need terms that are sums of squares, {term.name} is none")
    return term.residuals


def _signs(key: Key[Array, ""], slope: Array, like: Array) -> Array:
    """Random signs times the root of the loss's derivative by the squared residuals; two signs per complex residual."""
    up = jax.random.bernoulli(key, jnp.float32(0.5), (2, *like.shape))  # float32: equal in 64-bit mode, half the cost
    real, imaginary = jnp.sqrt(slope)[..., None] * jnp.where(up, 1, -1).astype(slope.dtype)
    return jax.lax.complex(real, imaginary) if jnp.iscomplexobj(like) else real
