"""A long signal through a model in overlapping pieces, so that the memory does not grow with its length."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import ArrayLike, Float

LONGEST_S, SETTLING_S = 30.0, 1.0  # of a piece; of what is played before and after it and not used


def in_pieces(
    play: Callable[[Float[np.ndarray, "t"]], Sequence[ArrayLike]],
    x: Float[np.ndarray, "n"],
    *,
    longest: int,
    settling: int,
) -> list[np.ndarray]:
    """The outputs of `play` for a signal, played in pieces of equal length.

    Args:
        play: from a signal (t,) to outputs of its length. Its output at a sample must not depend on the input more than
            `settling` samples before or after it, apart from an error that may be neglected: the memory of a model, the
            ends of a resampled signal.
        x: the signal.
        longest: samples of a piece. A signal that is not longer is played as it is.
        settling: samples before and after each piece that are played with it.

    Returns:
        Each output, (n,).

    Example:
        >>> def of_pieces(piece):
        ...     print(piece.tolist())
        ...     return [2 * piece]
        >>> [y.tolist() for y in in_pieces(of_pieces, np.arange(6.0), longest=3, settling=1)]
        [0.0, 1.0, 2.0, 3.0, 4.0]
        [1.0, 2.0, 3.0, 4.0, 5.0]
        [[0.0, 2.0, 4.0, 6.0, 8.0, 10.0]]
    """
    count = max(1, math.ceil(len(x) / longest))
    length = math.ceil(len(x) / count)
    played = length if count == 1 else min(len(x), length + 2 * settling)
    parts = []
    for start in range(0, len(x), length):
        first = min(max(0, start - settling), len(x) - played)
        outputs = play(x[first : first + played])
        parts.append([np.asarray(y)[start - first :][: min(length, len(x) - start)] for y in outputs])
    return [np.concatenate(output) for output in zip(*parts, strict=True)]
