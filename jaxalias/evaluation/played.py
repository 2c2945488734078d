"""Models on music, compared with alias-free outputs: phrases, notes played high, and a user's own clips.

Not only sines have an alias-free target. For any input x it is the output of the same weights at `FACTOR` times the
rate, decimated (`oversampling.oversample`); its aliases are lower by 60 dB or more. This gives two comparisons of a
model f:

    self:        f(x) with f at 8 times its rate, a measure of f's own aliases;
    alias_free:  f(x) with the teacher at 8 times its rate, a measure of aliases and changed tone together.

For the teacher both are the same. A student is useful on x if it is closer to the alias-free teacher than the teacher
is. Each comparison gives an ESR (sum of squared errors over sum of squares), an NMR (mean over all frames), and the
audible share: the share of frames of 2048 samples, half overlapping, whose NMR (mean over 109 bands) is above -10 dB. A
frame with a silent reference counts as inaudible.

The project's own sets are made at one rate from `SEED`, which no training signal uses. *playing* is `SECONDS` of guitar
lines, chords and bass lines with the noise of an audio interface, peaks from 0.9 to 12 dB below. *high_playing* is the
same length of notes from 660 Hz up, all at full level (peak 0.9, a guitar plugged directly into the interface), and the
same again at peak 0.25, 11 dB below. Its figures are for both together.

Precision: float64 for resampling and metrics; models run in the precision of their players.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxalias import memory
from jaxalias.evaluation import host
from jaxalias.evaluation.audio_set import SILENT
from jaxalias.evaluation.sine_set import PERFECT, Candidate
from jaxalias.losses import nmr
from jaxalias.signals import audio_files, dsp, high_playing, playing
from jaxalias.targets import oversampling
from jaxalias.targets.oversampling import Play

FACTOR = 8  # the multiple of the rate at which outputs count as alias-free
RIVALS = (2, 4)  # multiples of the rate; players offer 2 to 8 since 2026, for as many times the CPU load
FIGURES = ("ESR", "NMR", "audible")
SEED, SECONDS = 2026, 10.0
MADE_AT_HZ = 48_000
PEAKS = (0.9, 0.25)  # of high playing
SETS = {"playing": slice(0, 1), "high_playing": slice(1, 1 + len(PEAKS))}
"""The rows of each set in the signals of `own_sets`."""
SHORT = f"no value: shorter than one frame of {nmr.FRAME} samples"
FADE_S = 0.01
LEAD_S, PIECE_S = 1.0, 10.0  # a long clip is played in pieces, each with a lead-in of one second
_SILENCE = 1e-6  # peak to peak, -126 dB of full scale; rounding noise of a constant is below it
_FRAMES_AT_ONCE = 256


class Sums(NamedTuple):
    """The sums from which the figures of an output are computed. Sums of several outputs add up."""

    error: float
    power: float  # of the reference
    noise_over_mask: float  # of all frames
    audible: int  # frames
    frames: int


class Comparison(NamedTuple):
    """The output of a model for some signals (b, t), and its distances from two alias-free outputs."""

    output: Float[np.ndarray, "b t"]
    own: list[Sums]  # per signal, against the model's own alias-free output
    teacher: list[Sums]  # per signal, against the alias-free teacher


class Played(NamedTuple):
    """The output of the alias-free teacher for some signals (b, t), and the comparisons with it."""

    alias_free: Float[np.ndarray, "b t"]
    models: list[Comparison]  # the candidates, in order
    rivals: dict[int, Comparison]  # the teacher at multiples of its rate that are not among the candidates


def own_sets(sample_rate: int) -> Float[np.ndarray, "b t"]:
    """The signals of the project's own two sets (`SETS`): the same notes at every rate."""
    phrases = playing.playing(SECONDS, MADE_AT_HZ, SEED, quietest_db=-12.0)
    high = high_playing.high_playing(SECONDS, MADE_AT_HZ, SEED, quietest_db=0.0)
    phrases, high = (np.concatenate(list(audio_files.resampled([x], MADE_AT_HZ, sample_rate))) for x in (phrases, high))
    return np.stack([phrases, *(high * (peak / np.max(np.abs(high))) for peak in PEAKS)])


@memory.kept()
@host.in_double_precision
def measure(
    candidates: Sequence[Candidate],
    x: Float[np.ndarray, "b t"],
    sample_rate: int,
    on_step: Callable[[str], None] = lambda what: None,
    *,
    rivals: Sequence[int] = (),
) -> Played:
    """Play signals through every candidate, also at `FACTOR` times its rate. The first candidate is the teacher.

    Args:
        candidates: the models.
        x: inputs.
        sample_rate: Hz.
        on_step: called once for each candidate.
        rivals: multiples of the rate at which the teacher is compared too, unless a candidate is that already.

    Raises:
        ValueError: an output is not finite, or a candidate at a multiple of its rate does not come after the same model
            at its own rate. The message names the model.
    """
    dsp.require_precision("float64")
    first, at_rates = _key(candidates[0]), dict[tuple, dict[int, np.ndarray]]()
    for candidate in candidates:
        key, factor = _key(candidate), candidate.oversample
        if factor == 1:
            same = {other.oversample for other in candidates if _key(other) == key}
            wanted = {1, FACTOR, *same, *(rivals if key == first else ())}
            shared = sorted(factor for factor in wanted if FACTOR % factor == 0)
            played = render(oversampling.at_rates(candidate.play, shared), x, sample_rate)
            at_rates[key] = dict(zip(shared, played, strict=True))
        elif key not in at_rates:
            raise ValueError(f"{candidate.path}: must stand before its {factor}x, at its own rate")
        elif factor not in at_rates[key]:
            (at_rates[key][factor],) = render(_alone(candidate.play), x, sample_rate)
        if not all(np.isfinite(y).all() for y in at_rates[key].values()):
            raise ValueError(f"{candidate.path}: the model's output is not finite on what is played")
        on_step(candidate.path)

    def compared(key: tuple, factor: int) -> Comparison:
        y = at_rates[key][factor]
        own, teacher = (compare(y, at_rates[of][FACTOR], sample_rate) for of in (key, first))
        return Comparison(y, own, teacher)

    known = {candidate.oversample for candidate in candidates if _key(candidate) == first}
    return Played(
        at_rates[first][FACTOR],
        [compared(_key(candidate), candidate.oversample) for candidate in candidates],
        {factor: compared(first, factor) for factor in rivals if factor not in known},
    )


def _alone(play: Play) -> Callable[[Float[Array, "b t"]], list[Float[Array, "b t"]]]:
    return lambda x: [play(x)]


def _key(candidate: Candidate) -> tuple:
    """The identity of a model: equal for candidates that are the same model at several rates."""
    return candidate.path, candidate.role, candidate.knobs


def render(
    play: Callable[[Float[Array, "b t"]], Sequence[Float[Array, "b t"]]],
    x: Float[np.ndarray, "b t"],
    sample_rate: int,
) -> list[Float[np.ndarray, "b t"]]:
    """Outputs of a player for signals of any length, computed in pieces to limit the memory.

    Each piece has a lead-in of `LEAD_S`, the first one of silence. So transients of the model's start are not measured,
    and the ends of resampled signals are outside the kept part. The whole signal is faded in and out within `FADE_S`: a
    signal cut from the middle of a note begins with a click, which would alias more than the music.

    Args:
        play: a model, or several rates of it.
        x: inputs.
        sample_rate: Hz.

    Returns:
        The outputs of `play`, each (b, t).
    """
    samples = x.shape[1]
    fade = np.sin(0.5 * np.pi * (np.arange(samples) + 0.5) / (FADE_S * sample_rate)) ** 2
    rising = np.where(np.arange(samples) < FADE_S * sample_rate, fade, 1.0)
    x = x * rising * rising[::-1]
    lead, follow = round(LEAD_S * sample_rate), oversampling.JOIN
    length = sample_rate * math.ceil(min(PIECE_S, samples / sample_rate))  # whole seconds: few shapes to compile
    starts = range(0, samples, length)
    padded = np.pad(x, ((0, 0), (lead, len(starts) * length - samples + follow)))
    pieces = []
    for start in starts:
        outputs = play(jnp.asarray(padded[:, start : start + lead + length + follow]))
        pieces.append([np.asarray(y)[:, lead : lead + length] for y in outputs])
    return [np.concatenate(parts, axis=1)[:, :samples] for parts in zip(*pieces, strict=True)]


def compare(y: Float[np.ndarray, "b t"], reference: Float[np.ndarray, "b t"], sample_rate: int) -> list[Sums]:
    """The sums of each signal relative to its reference."""
    error, power = np.sum((y - reference) ** 2, axis=1), np.sum(reference**2, axis=1)
    ratios, silent = (np.concatenate(parts, axis=1) for parts in zip(*_frames(y, reference, sample_rate), strict=True))
    audible = (ratios > 10 ** (nmr.AUDIBLE_DB / 10)) & ~silent
    return [
        Sums(float(error[row]), float(power[row]), float(ratios[row].sum()), int(audible[row].sum()), ratios.shape[1])
        for row in range(len(y))
    ]


def _frames(y: np.ndarray, reference: np.ndarray, sample_rate: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Noise over mask for some hundred frames at a time, and which of their references are silent, (b, n) each."""
    count = max(0, 1 + (y.shape[1] - nmr.FRAME) // nmr.HOP)
    length = (_FRAMES_AT_ONCE - 1) * nmr.HOP + nmr.FRAME
    for first in range(0, max(1, count), _FRAMES_AT_ONCE):
        start = first * nmr.HOP
        pair = (signal[:, start : start + length] for signal in (y, reference))
        whole = [jnp.asarray(np.pad(part, ((0, 0), (0, length - part.shape[1])))) for part in pair]
        here = min(_FRAMES_AT_ONCE, count - first)  # the others are padding
        ratios, silent = _measure_frames(*whole, sample_rate)
        yield np.asarray(ratios)[:, :here], np.asarray(silent)[:, :here]


@partial(jax.jit, static_argnums=2)
def _measure_frames(y: Float[Array, "b t"], reference: Float[Array, "b t"], sample_rate: int) -> tuple[Array, Array]:
    silent = jnp.ptp(dsp.frames(reference, nmr.FRAME, nmr.HOP), axis=-1) < _SILENCE
    return nmr.of_frames(y, reference, sample_rate), silent


def record(own: Sequence[Sums], teacher: Sequence[Sums]) -> dict[str, dict[str, float | None]]:
    """The figures of INTERFACE.md for some signals together, {"self": {...}, "alias_free": {...}}."""
    return {"self": figures(own), "alias_free": figures(teacher)}


def record_of_set(name: str, comparison: Comparison) -> dict[str, Any]:
    """The same for one of `SETS` in a comparison of `own_sets`; for high playing also at each level, as "levels"."""
    own, teacher = comparison.own[SETS[name]], comparison.teacher[SETS[name]]
    found: dict[str, Any] = record(own, teacher)
    if name == "high_playing":
        found["levels"] = [
            {"peak": peak, **record([alone], [against])}
            for peak, alone, against in zip(PEAKS, own, teacher, strict=True)
        ]
    return found


def notes(own: Sequence[Sums], teacher: Sequence[Sums]) -> dict[str, str]:
    """The reasons for figures of `record` that are None, by name, such as "self ESR"."""
    against = {"self": own, "alias_free": teacher}
    return {f"{what} {name}": why for what, sums in against.items() for name, why in reasons(sums).items()}


def figures(sums: Sequence[Sums]) -> dict[str, float | None]:
    """ESR and NMR in dB and the audible share (0 to 1), over all signals; None if undefined (`reasons`)."""
    error, power, noise_over_mask, audible, frames = _total(sums)
    undefined = reasons(sums)
    ratios = {"ESR": (error, power), "NMR": (noise_over_mask, frames), "audible": (audible, frames)}
    found: dict[str, float | None] = {}
    for name, (part, whole) in ratios.items():
        if name in undefined:
            found[name] = None
        else:
            found[name] = part / whole if name == "audible" else dsp.power_to_db(part / whole)
    return found


def reasons(sums: Sequence[Sums]) -> dict[str, str]:
    """The reasons for figures that are None, by their names."""
    total = _total(sums)
    found = {} if total.power else {"ESR": SILENT}
    if total.error == 0:
        found = {"ESR": PERFECT, "NMR": PERFECT}
    return found | ({} if total.frames else {"NMR": SHORT, "audible": SHORT})


def _total(sums: Sequence[Sums]) -> Sums:
    return Sums(*(sum(values) for values in zip(*sums, strict=True)))
