"""Models on the sine set and on music, as plain records (section 2.6)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxalias import harmonics, metrics, models, sines
from jaxalias.dsp import db_to_amplitude, midi_to_hz, require_precision
from jaxalias.models import Model, Params
from jaxalias.oversampling import Play
from jaxalias.teacher import refuse_unusable

METRICS = ("ESR-T", "NMR-T", "HESR-T", "ESR-S", "NMR-S")
SETTLING_S, ANALYSED_S = 0.2, 1.0
_BLOCK = 1 << 18  # samples at once: bounds the memory of long clips
_ALIAS_TONES = ((1319.0, (1,)), (2633.0, (1,)), (4999.0, (1,)), (101.0, (11, 13)), (101.0, (41, 47)))
"""(Hz, multiples of it): single tones as in Sato and Smith, and two pairs with common spacing."""

_analyse = jax.jit(harmonics.analyse, static_argnums=2)
_resynthesise = jax.jit(harmonics.resynthesise, static_argnums=2)
_against_self = jax.jit(metrics.against_self, static_argnums=2)
_against_teacher = jax.jit(metrics.against_teacher, static_argnums=4)


class Candidate(NamedTuple):
    """A model under test: where it came from, and how it sounds."""

    path: str
    role: str  # "teacher" or "student"
    play: Play
    oversample: int = 1  # for the record; `play` does it


class Clip(NamedTuple):
    """A piece of music: input, and what the device made of it where that is known. (t,), at the models' rate."""

    name: str
    x: np.ndarray
    recording: np.ndarray | None = None


class SineSet(NamedTuple):
    """MIDI notes low ... high, every semitone, at each peak level (dB of full scale), phase 0."""

    midi: tuple[int, int] = (21, 108)
    levels_db: tuple[float, ...] = (-36.0, -18.0, -6.0)

    def f0_hz(self) -> np.ndarray:
        """Frequencies, ascending, in float64."""
        return np.asarray(midi_to_hz(np.arange(self.midi[0], self.midi[1] + 1)))


PIANO = SineSet()


def player(model: Model, params: Params, precision: Any = "float32") -> Play:
    """The model from its initial state, compiled; its output in float64 for the analysis."""
    cast = models.cast(params, precision)
    run = jax.jit(lambda x, state: model.apply(cast, x, state))

    def play(x: Float[Array, "b t"]) -> Float[Array, "b t"]:
        state, parts = model.initial_state(cast, x.shape[0]), []
        for start in range(0, x.shape[1], _BLOCK):
            y, state = run(x[:, start : start + _BLOCK].astype(precision), state)
            parts.append(y.astype(jnp.float64))
        return jnp.concatenate(parts, axis=1)

    return play


def evaluate(
    candidates: Sequence[Candidate],
    sample_rate: int,
    sine_set: SineSet = PIANO,
    on_step: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Measure every candidate on the sine set; the first is the teacher.

    Runs a level at a time, all its tones in one batch, in float64.

    Returns:
        The record of INTERFACE.md ("evaluate.py --json"), in dB. A perfect match has no dB value: it is
        None, with the reason under "notes".

    Raises:
        ValueError: a model's output is silent or not finite for a tone, named by its f0 and level; JAX is not in
            64-bit mode; or every tone is degenerate (see `harmonics`). Single such tones are left out, and noted.
    """
    require_precision("float64")
    f0 = sine_set.f0_hz()
    if harmonics.degenerate(f0, sample_rate, 1 / ANALYSED_S).all():
        raise ValueError(f"no tone of MIDI {sine_set.midi} can be measured at {sample_rate} Hz")
    ratios: list[list[dict[str, np.ndarray]]] = [[] for _ in candidates]  # [candidate][level]
    for level_db in sine_set.levels_db:
        for index, measured in enumerate(_measure_level(candidates, f0, level_db, sample_rate)):
            ratios[index].append(measured)
            on_step(f"{candidates[index].path} at {level_db:g} dB")
    return {
        "sample_rate": sample_rate,
        "sine_set": {"midi": list(sine_set.midi), "levels_db": list(sine_set.levels_db)},
        "models": [
            _record(candidate, levels, f0, sine_set) for candidate, levels in zip(candidates, ratios, strict=True)
        ],
    }


def evaluate_audio(
    candidates: Sequence[Candidate],
    clips: Sequence[Clip],
    sample_rate: int,
    on_step: Callable[[str], None] = lambda what: None,
) -> list[dict[str, Any]]:
    """ESR and MRSL on music, against the recording of each clip or, without one, against the first candidate.

    A recording is shifted by whole samples and turned over where the teacher's correlation with it says so.

    Returns:
        For each candidate {"ESR": dB of the summed errors over the summed powers of all clips, "MRSL": dB of
        the mean over clips, "clips": [{"name", "reference", "delay", "polarity", "ESR", "MRSL"}]}.
    """
    rows: list[list[dict[str, Any]]] = [[] for _ in candidates]
    sums = np.zeros((len(candidates), 3))  # error, power, distance
    for clip in clips:
        reference, how = None, {"reference": "teacher", "delay": 0, "polarity": 1}
        for index, candidate in enumerate(candidates):
            y = np.asarray(candidate.play(jnp.asarray(clip.x)[None])[0])
            if reference is None:
                reference = y
                if clip.recording is not None:
                    reference, delay, polarity = align(clip.recording, y)
                    how = {"reference": "recording", "delay": delay, "polarity": polarity}
            length = min(len(y), len(reference))
            error, power = np.sum((y - reference)[:length] ** 2), np.sum(reference[:length] ** 2)
            distance = metrics.mrsl(y[:length], reference[:length], sample_rate)
            sums[index] += error, power, distance
            rows[index].append({"name": clip.name, **how, "ESR": _db(error / power), "MRSL": _db(distance**2)})
            on_step(f"{candidate.path}: {clip.name}")
    return [
        {
            "ESR": _db(error / power),
            "MRSL": _db((distance / len(clips)) ** 2),
            "clips": clip_rows,
        }
        for (error, power, distance), clip_rows in zip(sums, rows, strict=True)
    ]


def alias_to_signal(candidate: Candidate, sample_rate: int, level_db: float = -18.0) -> list[dict[str, Any]]:
    """Alias-to-signal ratios of one tone and of two (see `metrics.alias_to_signal`), in dB.

    Returns:
        For each set of tones {"f0_hz": [...], "level_db": peak of each, "full", "below_20_khz", "below_16_khz"}.
    """
    length = metrics.prime_length(sample_rate)
    time = np.arange(-round(SETTLING_S * sample_rate), length)
    rows = []
    for base_hz, multiples in _ALIAS_TONES:
        spacing = round(base_hz * length / sample_rate)
        tones = [np.sin(2 * np.pi * (spacing * m * time % length) / length) for m in multiples]
        y = candidate.play(jnp.asarray(db_to_amplitude(level_db) * sum(tones))[None])[0, -length:]
        row: dict[str, Any] = {"f0_hz": [spacing * m * sample_rate / length for m in multiples], "level_db": level_db}
        for name, highest_hz in (("full", None), ("below_20_khz", 20_000.0), ("below_16_khz", 16_000.0)):
            row[name] = _db(metrics.alias_to_signal(np.asarray(y), spacing, sample_rate, highest_hz))
        rows.append(row)
    return rows


def align(recording: np.ndarray, like: np.ndarray) -> tuple[np.ndarray, int, int]:
    """A recording (t,) shifted and turned over to match a signal: (aligned, delay in samples, polarity 1 or -1).

    The delay is where the circular cross-correlation is largest in magnitude; a positive one means the
    recording came late. Samples from outside the recording are zeros.
    """
    length = len(like)
    recording = np.pad(recording, (0, max(0, length - len(recording))))[:length]
    size = 2 * length
    spectrum = np.fft.rfft(recording, size) * np.conj(np.fft.rfft(like, size))
    correlation = np.fft.irfft(spectrum, size)
    peak = int(np.argmax(np.abs(correlation)))
    delay, polarity = (peak - size if peak > length else peak), (1 if correlation[peak] >= 0 else -1)
    shifted = np.roll(np.pad(recording, (0, length)), -delay)[:length]
    return polarity * shifted, delay, polarity


def _measure_level(
    candidates: Sequence[Candidate], f0_hz: np.ndarray, level_db: float, sample_rate: int
) -> Iterator[dict[str, np.ndarray]]:
    settling, analysed = round(SETTLING_S * sample_rate), round(ANALYSED_S * sample_rate)
    amplitude = db_to_amplitude(level_db)
    tones = sines.tones(f0_hz, amplitude, 0.0, sample_rate=sample_rate, dtype=jnp.float64)
    x = sines.render(tones, settling + analysed)
    number = harmonics.highest_number(float(f0_hz.min()), sample_rate)
    left_out = harmonics.degenerate(f0_hz, sample_rate, 1 / ANALYSED_S)
    teacher: tuple | None = None
    for candidate in candidates:
        y = candidate.play(x)[:, settling:]
        try:
            refuse_unusable(y, tones.increment, sample_rate)
        except ValueError as error:
            raise ValueError(f"{candidate.path}: {error} (peak {level_db:g} dB)") from None
        own = _analyse(y, tones.increment, number)
        bandlimited = _resynthesise(own, tones.increment, analysed)
        measured = _against_self(y, bandlimited, sample_rate)
        if teacher is None:
            teacher = (own, bandlimited)
            same = {"ESR-T": measured["ESR-S"], "NMR-T": measured["NMR-S"], "HESR-T": jnp.zeros(len(f0_hz))}
            measured = same | measured
        else:
            measured = _against_teacher(y, own, *teacher, sample_rate) | measured
        yield {name: np.where(left_out, np.nan, np.asarray(value)) for name, value in measured.items()}


def _record(candidate: Candidate, levels: list[dict[str, np.ndarray]], f0_hz: np.ndarray, sine_set: SineSet) -> dict:
    tones = {name: np.concatenate([level[name] for level in levels]) for name in METRICS}
    level_means = {name: [_db(np.nanmean(level[name])) for level in levels] for name in METRICS}
    record: dict[str, Any] = {
        "path": candidate.path,
        "role": candidate.role,
        "oversample": candidate.oversample,
        "metrics": {name: _mean(means) for name, means in level_means.items()},
        "metrics_all": {name: _db(np.nanmean(values)) for name, values in tones.items()},
        "metrics_db": {
            name: _mean([_db(value) for value in values if not np.isnan(value)]) for name, values in tones.items()
        },
        "per_level": level_means,
        "per_tone": {
            "f0_hz": list(np.tile(f0_hz, len(levels))),
            "level_db": list(np.repeat(sine_set.levels_db, len(f0_hz))),
            **{name: [_db(value) for value in values] for name, values in tones.items()},
        },
    }
    missing = [name for name, value in record["metrics"].items() if value is None]
    notes = dict.fromkeys(missing, "no dB value: the model is compared with itself, a perfect match")
    left_out = f0_hz[np.isnan(levels[0]["NMR-S"])]
    if left_out.size:
        notes["left out"] = "aliases fall on harmonics at f0 = " + ", ".join(f"{f0:.1f}" for f0 in left_out) + " Hz"
    return record | ({"notes": notes} if notes else {})


def _db(ratio: float) -> float | None:
    return float(10 * np.log10(ratio)) if ratio > 0 else None


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if len(numbers) == len(values) else None
