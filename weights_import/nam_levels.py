"""Loudness and gain of a NAM file, which players use to set the output level.

loudness = 20 log10 rms(f(x)); with r_i = rms(f(g_i x)), g = 0, 0.1 ... 1, and triangle = 11 r_11 / 2:
gain = (sum r - triangle) / triangle, within 0..1. Source: neural-amp-modeler, models/base.py
(`_metadata_loudness`, `_metadata_gain`); the signal x is a file of that package.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxalias import models
from weights_import.model_file import Network

_INPUT_GAINS = np.linspace(0.0, 1.0, 11)
_NAM_RMS = 10 ** (-14.968 / 20)  # of NAM's signal
_SILENCE = 1e-10  # rms, -200 dB: keeps the loudness of a silent model a number


class Levels(NamedTuple):
    """What a NAM file says about level: in dB, and 0 (linear) to 1 (fully compressed)."""

    loudness: float
    gain: float


def corrected(metadata: dict, teacher: Network, student: Network) -> dict[str, float]:
    """New values for those of `loudness` and `gain` that the metadata has as numbers.

    With the neural-amp-modeler package installed they are measured as it measures them. Without, teacher and
    student are measured on a signal made here, and what lies between them is added to the stored values.
    """
    stored = {key: metadata[key] for key in Levels._fields if type(metadata.get(key)) in (int, float)}
    if not stored:
        return {}
    own = _nam_signal()
    if own is not None:
        measured = measure(student, own)._asdict()
        return {key: measured[key] for key in stored}
    signal = pink_noise(student.sample_rate)
    before, after = measure(teacher, signal)._asdict(), measure(student, signal)._asdict()
    moved = {key: value + after[key] - before[key] for key, value in stored.items()}
    return moved | ({"gain": min(max(moved["gain"], 0.0), 1.0)} if "gain" in moved else {})


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


def pink_noise(rate_hz: int) -> Float[np.ndarray, "t"]:
    """One second that stands in for NAM's signal, which is pink noise of the same level.

    With it the step from the published Broadcast WaveNet teacher to its student is -0.60 dB, with NAM's -0.67.
    """
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(rate_hz))
    spectrum[0], spectrum[1:] = 0, spectrum[1:] / np.sqrt(np.arange(1, spectrum.size))
    signal = np.fft.irfft(spectrum, rate_hz)
    return _NAM_RMS * signal / np.sqrt(np.mean(signal**2))


def _nam_signal() -> Float[np.ndarray, "t"] | None:
    """The signal in the neural-amp-modeler package, which is found and not imported: that would take PyTorch."""
    package = find_spec("nam")  # any folder of that name answers, so the file decides
    for folder in (package and package.submodule_search_locations) or ():
        file = Path(folder) / "models" / "_resources" / "loudness_input.wav"
        if file.is_file():
            import soundfile  # only here: the rest of the package reads no audio

            return soundfile.read(file)[0]
    return None
