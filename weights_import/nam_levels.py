"""Loudness and gain of a NAM file, which players use to set the output level.

loudness = 20 log10 rms(f(x)); with r_i = rms(f(g_i x)), g = 0, 0.1 ... 1, and triangle = 11 r_11 / 2:
gain = (sum r - triangle) / triangle, within 0..1. Source: neural-amp-modeler, models/base.py
(`_metadata_loudness`, `_metadata_gain`). There x is a file of that package; here it is `level_signal`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxalias import models
from weights_import.model_file import Network

_INPUT_GAINS = np.linspace(0.0, 1.0, 11)
_NAM_RMS, _NAM_MEAN = 10 ** (-14.968 / 20), -0.0397  # of NAM's signal
_SEED = 276
SIGNAL = "one second of pink noise at -14.968 dB rms, which is not NAM's own signal"
"""What levels are measured on, for the notes in a file."""
_SILENCE = 1e-10  # rms, -200 dB: keeps the loudness of a silent model a number


class Levels(NamedTuple):
    """What a NAM file says about level: in dB, and 0 (linear) to 1 (fully compressed)."""

    loudness: float
    gain: float


def corrected(metadata: dict, teacher: Network, student: Network) -> tuple[dict[str, float], dict[str, str]]:
    """New values for those of `loudness` and `gain` that the metadata has as numbers, and how they were found.

    Teacher and student are measured on a signal made here, and what lies between them is added to what the teacher's
    trainer stored, which was measured on its own signal.
    """
    stored = {key: metadata[key] for key in Levels._fields if type(metadata.get(key)) in (int, float)}
    if not stored:
        return {}, {}
    signal = level_signal(student.sample_rate)
    before, after = measure(teacher, signal)._asdict(), measure(student, signal)._asdict()
    moved = {key: value + after[key] - before[key] for key, value in stored.items()}
    if "gain" in moved:
        moved["gain"] = min(max(moved["gain"], 0.0), 1.0)
    return moved, dict.fromkeys(moved, f"as it was, moved by what the student differs from it on {SIGNAL}")


def measure(network: Network, signal: Float[np.ndarray, "t"]) -> Levels:
    """Loudness and gain of a model on a signal, in float32 as NAM's trainer has it."""
    model = models.build(network.config)
    params = models.cast(network.params, np.float32)
    x = jnp.asarray(_INPUT_GAINS[:, None] * signal, np.float32)
    y, _ = jax.jit(model.apply)(params, x, model.initial_state(params, len(x)))
    rms = np.maximum(np.sqrt(np.mean(np.square(y, dtype=np.float64), axis=1)), _SILENCE)
    triangle = rms[-1] * len(x) / 2
    gain = (rms.sum() - triangle) / triangle
    return Levels(loudness=float(20 * np.log10(rms[-1])), gain=float(np.clip(gain, 0, 1)))


def level_signal(rate_hz: int) -> Float[np.ndarray, "t"]:
    """One second of pink noise with the mean and the level of NAM's signal, the same on every machine.

    NAM's own signal lies in a package that not everybody has, and levels must not depend on that. The seed is that of
    300 whose loudness through bends and filters is nearest to NAM's: of eight captures it is within 0.17 dB of what
    NAM's trainer stored, and the step from one capture to a student of it is much nearer still.
    """
    spectrum = np.fft.rfft(np.random.default_rng(_SEED).standard_normal(rate_hz))
    spectrum[0], spectrum[1:] = 0, spectrum[1:] / np.sqrt(np.arange(1, spectrum.size))
    noise = np.fft.irfft(spectrum, rate_hz)
    return _NAM_MEAN + np.sqrt(_NAM_RMS**2 - _NAM_MEAN**2) * noise / np.sqrt(np.mean(noise**2))
