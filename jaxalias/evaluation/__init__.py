"""Measurements: the distance of a student from its teacher and from the alias-free teacher.

Metrics of a tone or a clip (`metrics`), the sine set (`sine_set`), music (`audio_set`), models played against the
alias-free teacher (`played`), a verdict in plain words (`verdict`), a short linear filter fitted to the output of a
student (`corrective_filter`), and the device for double precision (`host`).
"""

from jaxalias.evaluation.sine_set import (
    ANALYSED_S,
    METRICS,
    PERFECT,
    PIANO,
    SETTLING_S,
    Candidate,
    SineSet,
    alias_to_signal,
    evaluate,
    player,
)

__all__ = [
    "ANALYSED_S",
    "METRICS",
    "PERFECT",
    "PIANO",
    "SETTLING_S",
    "Candidate",
    "SineSet",
    "alias_to_signal",
    "evaluate",
    "player",
]
