"""Models on the sine set, with plain records as results (section 2.6)."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float

from jaxalias import memory, models
from jaxalias.evaluation import host, metrics
from jaxalias.models import Model, Params
from jaxalias.signals import sines
from jaxalias.signals.dsp import db_to_amplitude, midi_to_hz, power_to_db, require_precision
from jaxalias.targets import harmonics
from jaxalias.targets.harmonics import Harmonics
from jaxalias.targets.oversampling import Play
from jaxalias.targets.teacher import refuse_unusable
from jaxalias.training import students

PERFECT = "no dB value: the model is compared with itself, a perfect match"
METRICS = ("ESR-R", "NMR-R", "HESR-R", "ESR-T", "NMR-T", "HESR-T", "ESR-S", "NMR-S")
SETTLING_S, ANALYSED_S = 0.2, 1.0
_BLOCK = 1 << 18  # samples of a signal in one call; limits the memory for long clips
_BATCH_BLOCK = 1 << 16  # of all signals, for models that store inner states of all samples: those stay in the cache
_GRAIN = 1 << 12  # calls of a network without recurrence have multiples of it, so that few shapes are compiled
_ALIAS_TONES = ((1319.0, (1,)), (2633.0, (1,)), (4999.0, (1,)), (101.0, (11, 13)), (101.0, (41, 47)))
"""(Hz, multiples of it): single tones as in Sato and Smith, and two pairs of tones with a common spacing."""

_analyse = jax.jit(harmonics.analyse, static_argnums=2)
_resynthesise = jax.jit(harmonics.resynthesise, static_argnums=2)
_against_self = jax.jit(metrics.against_self, static_argnums=2)
_against_other = jax.jit(metrics.against_other, static_argnums=(4, 5))


class Candidate(NamedTuple):
    """A model under test: its file, its role and its player."""

    path: str
    role: str  # "teacher" or "student"
    play: Play
    oversample: int = 1  # for the record; `play` does it
    knobs: tuple[float, ...] = ()  # likewise
    notes: Mapping[str, str] = MappingProxyType({})  # assumptions about it, by their subject, for the record


class SineSet(NamedTuple):
    """MIDI notes low ... high, every semitone, at each peak level (dB of full scale), phase 0."""

    midi: tuple[int, int] = (21, 108)
    levels_db: tuple[float, ...] = (-36.0, -18.0, -6.0)

    def f0_hz(self) -> np.ndarray:
        """Frequencies, ascending, in float64."""
        return np.asarray(midi_to_hz(np.arange(self.midi[0], self.midi[1] + 1)))


PIANO = SineSet()


def player(model: Model, params: Params, precision: Any = "float32", knobs: Sequence[float] | None = None) -> Play:
    """The model from its initial state, compiled, with the batch distributed over this host's devices.

    The output is in float64, on the device for measurements (`host`).

    Args:
        model: the network.
        params: of the model.
        precision: of the model.
        knobs: one position for each knob, for all signals.
    """
    cast = models.cast(params, precision)

    def play(x: Float[Array, "b t"]) -> Float[Array, "b t"]:
        mesh = students.mesh_for(1, local=True)
        signals, (batch, samples) = np.asarray(x, precision), x.shape
        rows, block = _shape_of_a_call(model, batch, samples, mesh.size)
        outputs = np.empty((math.ceil(batch / rows) * rows, math.ceil(samples / block) * block))
        for first in range(0, batch, rows):
            state = model.initial_state(cast, rows, knobs)
            for start in range(0, samples, block):
                part = signals[first : first + rows, start : start + block]
                missing = (0, rows - part.shape[0]), (0, block - part.shape[1])
                with jax.default_device(None):  # the model runs on the default device, not on the measuring one
                    y, state = _run(model.apply, mesh, cast, np.pad(part, missing), state)
                outputs[first : first + rows, start : start + block] = y
        return jax.device_put(outputs[:batch, :samples], host.measuring_device())

    return play


def _shape_of_a_call(model: Model, batch: int, samples: int, devices: int) -> tuple[int, int]:
    """Rows and samples of each call of a network; the last rows and samples are padded with silence.

    All calls for one signal are equally long. Where a model computes its rows one after the other, a call has one row
    for each device. Other calls have all rows.
    """
    longest = _BLOCK if model.receptive_field is not None else min(_BLOCK, max(1, _BATCH_BLOCK // batch))
    block = math.ceil(samples / math.ceil(samples / longest))
    return (devices, math.ceil(block / _GRAIN) * _GRAIN) if models.one_by_one(model) else (batch, block)


@partial(jax.jit, static_argnums=(0, 1))
def _run(apply: Callable, mesh: Mesh, params: Params, x: Array, state: Any) -> tuple[Array, Any]:
    """Compiled once for all players of one network and signals of one shape."""
    return students.over_rows(mesh, apply, (-1, 0, 0), (0, 0))(params, x, state)


@memory.kept()
@host.in_double_precision
def evaluate(
    candidates: Sequence[Candidate],
    sample_rate: int,
    sine_set: SineSet = PIANO,
    on_step: Callable[[str], None] = lambda what: None,
    *,
    device: Play | None = None,
) -> dict[str, Any]:
    """Measure every candidate on the sine set. The first candidate is the teacher.

    One level at a time, with all its tones in one batch, in float64.

    Args:
        candidates: the models.
        sample_rate: Hz.
        sine_set: the tones.
        on_step: called with a line of text after each candidate and level.
        device: the modelled device, if it can be played: adds the columns -R. Only its harmonics are the reference.
            (For a device that cannot be played, the paper uses the bandlimited teacher instead: columns -T.)

    Returns:
        The record of INTERFACE.md ("evaluate.py --json"), in dB. A perfect match has no dB value: it is
        None, with the reason under "notes".

    Raises:
        ValueError: the output of a model for a tone, or a metric of it, is silent or not finite (the message names f0
            and level); JAX is not in 64-bit mode; or every tone is degenerate (see `harmonics`). Single degenerate
            tones are left out and noted.
    """
    require_precision("float64")
    f0 = sine_set.f0_hz()
    left_out = harmonics.degenerate(f0, sample_rate, 1 / ANALYSED_S)
    if left_out.all():
        raise ValueError(f"no tone of MIDI {sine_set.midi} can be measured at {sample_rate} Hz")
    ratios: list[list[dict[str, np.ndarray]]] = [[] for _ in candidates]  # [candidate][level]
    for level_db in sine_set.levels_db:
        for index, measured in enumerate(_measure_level(candidates, f0, level_db, sample_rate, device)):
            _refuse_not_finite(candidates[index].path, measured, f0, level_db, left_out)
            ratios[index].append(measured)
            on_step(f"{candidates[index].path} at {level_db:g} dB")
    return {
        "sample_rate": sample_rate,
        "sine_set": {"midi": list(sine_set.midi), "levels_db": list(sine_set.levels_db)},
        "models": [
            _record(candidate, levels, f0, left_out, sine_set)
            for candidate, levels in zip(candidates, ratios, strict=True)
        ],
    }


@host.in_double_precision
def alias_to_signal(candidate: Candidate, sample_rate: int, level_db: float = -18.0) -> list[dict[str, Any]]:
    """Alias-to-signal ratios of one tone and of two (see `metrics.alias_to_signal`), in dB.

    Args:
        candidate: the model.
        sample_rate: Hz.
        level_db: peak of each tone.

    Returns:
        For each set of tones {"f0_hz": [...], "level_db": peak of each, "full", "below_20_khz", "below_16_khz"}; a set
        that reaches the Nyquist frequency is left out.
    """
    length = metrics.prime_length(sample_rate)
    time = np.arange(-round(SETTLING_S * sample_rate), length)
    spacings = [(round(base_hz * length / sample_rate), multiples) for base_hz, multiples in _ALIAS_TONES]
    inside = [(spacing, multiples) for spacing, multiples in spacings if 2 * spacing * max(multiples) < length]
    x = [sum(np.sin(2 * np.pi * (spacing * m * time % length) / length) for m in each) for spacing, each in inside]
    outputs = candidate.play(jnp.asarray(db_to_amplitude(level_db) * np.stack(x)))[:, -length:]
    rows = []
    for (spacing, multiples), y in zip(inside, np.asarray(outputs), strict=True):
        row: dict[str, Any] = {"f0_hz": [spacing * m * sample_rate / length for m in multiples], "level_db": level_db}
        for name, highest_hz in (("full", None), ("below_20_khz", 20_000.0), ("below_16_khz", 16_000.0)):
            row[name] = power_to_db(metrics.alias_to_signal(y, spacing, sample_rate, highest_hz))
        rows.append(row)
    return rows


def _measure_level(
    candidates: Sequence[Candidate], f0_hz: np.ndarray, level_db: float, sample_rate: int, device: Play | None
) -> Iterator[dict[str, np.ndarray]]:
    settling, analysed = round(SETTLING_S * sample_rate), round(ANALYSED_S * sample_rate)
    amplitude = db_to_amplitude(level_db)
    tones = sines.tones(f0_hz, amplitude, 0.0, sample_rate=sample_rate, dtype=jnp.float64)
    x = sines.render(tones, settling + analysed)
    number = harmonics.highest_number(float(f0_hz.min()), sample_rate)

    def measured_parts(path: str, play: Play) -> tuple[Array, Harmonics, Array]:
        """The settled outputs, their harmonics, and the outputs with these harmonics alone."""
        y = play(x)[:, settling:]
        try:
            refuse_unusable(y, tones.increment, sample_rate)
        except ValueError as error:
            raise ValueError(f"{path}: {error} (peak {level_db:g} dB)") from None
        own = _analyse(y, tones.increment, number)
        return y, own, _resynthesise(own, tones.increment, analysed)

    references = {} if device is None else {"R": measured_parts("the device", device)[1:]}
    for candidate in candidates:
        y, own, bandlimited = measured_parts(candidate.path, partial(_play_in_parts, candidate))
        measured = _against_self(y, bandlimited, sample_rate)
        for suffix, reference in references.items():
            measured |= _against_other(y, own, *reference, suffix, sample_rate)
        if "T" not in references:  # the teacher: its distances from itself are known already
            references["T"] = (own, bandlimited)
            same = {"ESR-T": measured["ESR-S"], "NMR-T": measured["NMR-S"], "HESR-T": jnp.zeros(len(f0_hz))}
            measured |= same
        yield {name: np.asarray(measured[name]) for name in METRICS if name in measured}


def _play_in_parts(candidate: Candidate, x: Float[Array, "b t"]) -> Float[Array, "b t"]:
    """The outputs, for fewer signals at a time the higher the rate: the memory is that at the model's own rate."""
    rows = math.ceil(len(x) / candidate.oversample)
    return jnp.concatenate([candidate.play(x[first : first + rows]) for first in range(0, len(x), rows)])


def _refuse_not_finite(
    path: str, measured: dict[str, np.ndarray], f0_hz: np.ndarray, level_db: float, left_out: np.ndarray
) -> None:
    """Refuse NaN outside the mask of left-out tones: NaN does not mark missing values here."""
    for name, values in measured.items():
        bad = ~np.isfinite(values) & ~left_out
        if bad.any():
            f0 = f0_hz[np.argmax(bad)]
            raise ValueError(
                f"{path}: {name} is {values[np.argmax(bad)]} for a sine of {f0:.1f} Hz (peak {level_db:g} dB); "
                "it cannot be measured"
            )


def _record(
    candidate: Candidate,
    levels: list[dict[str, np.ndarray]],
    f0_hz: np.ndarray,
    left_out: np.ndarray,
    sine_set: SineSet,
) -> dict:
    kept = np.tile(~left_out, len(levels))
    tones = {name: np.concatenate([level[name] for level in levels]) for name in levels[0]}
    level_means = {name: [power_to_db(np.mean(level[name][~left_out])) for level in levels] for name in levels[0]}
    record: dict[str, Any] = {
        "path": candidate.path,
        "role": candidate.role,
        "oversample": candidate.oversample,
        "metrics": {name: _mean(means) for name, means in level_means.items()},
        "metrics_all": {name: power_to_db(np.mean(values[kept])) for name, values in tones.items()},
        "metrics_db": {name: _mean([power_to_db(value) for value in values[kept]]) for name, values in tones.items()},
        "per_level": level_means,
        "per_tone": {
            "f0_hz": list(np.tile(f0_hz, len(levels))),
            "level_db": list(np.repeat(sine_set.levels_db, len(f0_hz))),
            **{
                name: [power_to_db(value) if keep else None for value, keep in zip(values, kept, strict=True)]
                for name, values in tones.items()
            },
        },
    }
    if candidate.knobs:
        record["knobs"] = list(candidate.knobs)
    missing = [name for name, value in record["metrics"].items() if value is None]
    notes = {**candidate.notes, **dict.fromkeys(missing, PERFECT)}
    if left_out.any():
        at = ", ".join(f"{f0:.1f}" for f0 in f0_hz[left_out])
        notes["left out"] = f"aliases fall on harmonics at f0 = {at} Hz"
    return record | ({"notes": notes} if notes else {})


def _mean(values: Sequence[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return float(np.mean(numbers)) if len(numbers) == len(values) else None
