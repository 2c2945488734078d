"""Local derivatives of an LSTM step: all factors of a gradient in the backward pass."""

from typing import NamedTuple

from jaxtyping import Array, Float


class Slopes(NamedTuple):
    """The derivatives of each unit with gates i, f, g, o; the same in the scan and in the kernel."""

    in_i: Float[Array, "*b h"]  # d cell / d (row i before its sigmoid)
    in_f: Float[Array, "*b h"]
    in_g: Float[Array, "*b h"]
    in_o: Float[Array, "*b h"]  # d hidden / d (row o)
    through: Float[Array, "*b h"]  # d hidden / d cell
    keep: Float[Array, "*b h"]  # d cell / d cell before


def of_step(gates: tuple[Array, Array, Array, Array], cell_before: Array, squashed: Array) -> Slopes:
    """The derivatives of one step, or of many at once.

    Args:
        gates: i, f, g, o.
        cell_before: the cell state before the step.
        squashed: tanh of the cell state after the step.
    """
    i, f, g, o = gates
    return Slopes(
        in_i=g * i * (1 - i),
        in_f=cell_before * f * (1 - f),
        in_g=i * (1 - g * g),
        in_o=squashed * o * (1 - o),
        through=o * (1 - squashed * squashed),
        keep=f,
    )
