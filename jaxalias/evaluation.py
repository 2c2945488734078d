"""The sine set: every semitone of a piano at three levels through each model, as plain records (section 2.6)."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxalias import harmonics, metrics, models, sines
from jaxalias.dsp import require_precision
from jaxalias.models import Model, Params
from jaxalias.teacher import refuse_unusable

METRICS = ("ESR-T", "NMR-T", "HESR-T", "ESR-S", "NMR-S")
SETTLING_S, ANALYSED_S = 0.2, 1.0
_SELF = "the model is compared with itself"

Play = Callable[[Float[Array, "b t"]], Float[Array, "b t"]]


_analyse = jax.jit(harmonics.analyse, static_argnums=2)
_resynthesise = jax.jit(harmonics.resynthesise, static_argnums=2)
_against_self = jax.jit(metrics.against_self, static_argnums=2)
_against_teacher = jax.jit(metrics.against_teacher, static_argnums=4)


class Candidate(NamedTuple):
    """A model under test: where it came from, and how it sounds."""

    path: str
    role: str  # "teacher" or "student"
    play: Play


class SineSet(NamedTuple):
    """MIDI notes low ... high, every semitone, at each peak level (dB of full scale), phase 0."""

    midi: tuple[int, int] = (21, 108)
    levels_db: tuple[float, ...] = (-36.0, -18.0, -6.0)

    def f0_hz(self) -> np.ndarray:
        """Frequencies, ascending, in float64."""
        return np.asarray(440 * 2 ** ((np.arange(self.midi[0], self.midi[1] + 1) - 69) / 12))


PIANO = SineSet()


def player(model: Model, params: Params, precision: Any = "float32") -> Play:
    """The model from its initial state, compiled; its output in float64 for the analysis."""
    cast = models.cast(params, precision)
    run = jax.jit(lambda x: model.apply(cast, x.astype(precision), model.initial_state(cast, x.shape[0]))[0])
    return lambda x: run(x).astype(jnp.float64)


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
        ValueError: a model's output is silent or not finite for a tone, named by its f0 and level; or JAX is
            not in 64-bit mode.
    """
    require_precision("float64")
    f0 = sine_set.f0_hz()
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


def _measure_level(
    candidates: Sequence[Candidate], f0_hz: np.ndarray, level_db: float, sample_rate: int
) -> Iterator[dict[str, np.ndarray]]:
    settling, analysed = round(SETTLING_S * sample_rate), round(ANALYSED_S * sample_rate)
    amplitude = 10 ** (level_db / 20)
    tones = sines.tones(f0_hz, amplitude, 0.0, sample_rate=sample_rate, dtype=jnp.float64)
    x = sines.render(tones, settling + analysed)
    number = harmonics.highest_number(float(f0_hz.min()), sample_rate)
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
        yield {name: np.asarray(value) for name, value in measured.items()}


def _record(candidate: Candidate, levels: list[dict[str, np.ndarray]], f0_hz: np.ndarray, sine_set: SineSet) -> dict:
    tones = {name: np.concatenate([level[name] for level in levels]) for name in METRICS}
    level_means = {name: [_db(np.mean(level[name])) for level in levels] for name in METRICS}
    record: dict[str, Any] = {
        "path": candidate.path,
        "role": candidate.role,
        "oversample": 1,
        "metrics": {name: _mean(means) for name, means in level_means.items()},
        "metrics_all": {name: _db(np.mean(values)) for name, values in tones.items()},
        "metrics_db": {name: _mean([_db(value) for value in values]) for name, values in tones.items()},
        "per_level": level_means,
        "per_tone": {
            "f0_hz": list(np.tile(f0_hz, len(levels))),
            "level_db": list(np.repeat(sine_set.levels_db, len(f0_hz))),
            **{name: [_db(value) for value in values] for name, values in tones.items()},
        },
    }
    missing = [name for name, value in record["metrics"].items() if value is None]
    if missing:
        record["notes"] = dict.fromkeys(missing, f"perfect match, no dB value: {_SELF}")
    return record


def _db(ratio: float) -> float | None:
    return float(10 * np.log10(ratio)) if ratio > 0 else None


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if len(numbers) == len(values) else None
