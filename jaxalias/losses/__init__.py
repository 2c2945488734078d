"""The difference between student and target as one number: its terms and their weighted sum (`terms`).

The noise-to-mask ratio, with its critical bands and masking thresholds, is in `nmr`.
"""

from jaxalias.losses.terms import (
    Differences,
    Loss,
    Residuals,
    Terms,
    build,
    dc,
    esr,
    grown,
    harmonic_distance,
    reduce,
    squares,
    total,
    weights,
)

__all__ = [
    "Differences",
    "Loss",
    "Residuals",
    "Terms",
    "build",
    "dc",
    "esr",
    "grown",
    "harmonic_distance",
    "reduce",
    "squares",
    "total",
    "weights",
]
