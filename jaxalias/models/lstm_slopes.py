"""Local derivatives of an LSTM's step: all that a gradient is multiplied with on its way back through it."""

from typing import NamedTuple

from jaxtyping import Array, Float


class Slopes(NamedTuple):
    """Of each unit, i, f, g, o being its gates, in the scan and in the kernel alike."""

    in_i: Float[Array, "*b h"]  # d cell / d (row i before its sigmoid)
    in_f: Float[Array, "*b h"]
    in_g: Float[Array, "*b h"]
    in_o: Float[Array, "*b h"]  # d hidden / d (row o)
    through: Float[Array, "*b h"]  # d hidden / d cell
    keep: Float[Array, "*b h"]  # d cell / d cell before


def of_step(gates: tuple[Array, Array, Array, Array], cell_before: Array, squashed: Array) -> Slopes:
    """Of one step, or of many at once: its gates i, f, g, o, the cell state before it and the tanh of that after it."""
    i, f, g, o = gates
    return Slopes(
        in_i=g * i * (1 - i),
        in_f=cell_before * f * (1 - f),
        in_g=i * (1 - g * g),
        in_o=squashed * o * (1 - o),
        through=o * (1 - squashed * squashed),
        keep=f,
    )
