"""Random tones through the frozen teacher, without their aliases: the source for any model (eqs. 3-12)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxalias.config import FineTuneConfig
from jaxalias.losses import terms
from jaxalias.models import Model, Params, State
from jaxalias.signals import sines
from jaxalias.signals.dsp import midi_to_hz
from jaxalias.targets import harmonics, teacher
from jaxalias.training import importance
from jaxalias.training.importance import Chances
from jaxalias.training.sources import Batch, Known, Source, cut

HELD_OUT = 24  # validation tones, as long as training tones
_INSIDE = 3.3  # semitones from the ends of the training range; not a whole number, to avoid the evaluation's pitches
PITCHES, LEVELS = 92, 10  # cells of the grid of chances


class Choices(NamedTuple):
    """The tones, and the position of each knob for each tone."""

    tones: sines.Tones
    knobs: Float[Array, "b knob"]


class LeadIn(NamedTuple):
    """Input before the first frame, in which the model settles."""

    x: Float[Array, "b settling"]
    knobs: Float[Array, "b knob"]


def source(model: Model, teacher_model: Model, config: FineTuneConfig, sample_rate: int, play: Callable) -> Source:
    """Tones with a lead-in; the part after it is cut into frames.

    Args:
        model: of the student.
        teacher_model: of the teacher.
        config: range, length and number of tones, loss.
        sample_rate: Hz.
        play: of the source (see `Source`).

    Raises:
        ValueError: the frame is shorter than an NMR frame or longer than the analysed part of a tone.
    """
    settling, analysed = (round(s * sample_rate) for s in (config.sines.settling_s, config.sines.analysed_s))
    samples = frame_of(config, sample_rate, analysed)
    number = harmonics.highest_number(float(midi_to_hz(config.sines.midi_low)), sample_rate)

    def draw(known: Known, key: Key[Array, ""]) -> Choices:
        tone_key, knob_key = jax.random.split(key)
        knobs = jax.random.uniform(knob_key, (config.batch_size, model.knobs), config.precision)
        return Choices(draw_tones(tone_key, config, sample_rate)[0], knobs)

    def complete(known: Known, choices: Choices) -> Batch:
        tones, knobs = choices
        x = sines.render(tones, settling + analysed)
        found = teacher.analyse(
            teacher_model, known.teacher, tones, knobs, settling=settling, analysed=analysed, number=number
        )
        y = harmonics.resynthesise(found, tones.increment, analysed)
        return Batch(LeadIn(x[:, :settling], knobs), cut(x[:, settling:], samples), cut(y, samples), ())

    def held_out(known: Known) -> Choices:
        knobs = jnp.asarray(held_out_knobs(model.knobs), config.precision)
        return Choices(held_out_tones(config, sample_rate, HELD_OUT)[0], knobs)

    return Source(
        "tones", config.batch_size, analysed // samples, draw, complete, held_out,
        begin(model), play, terms.of_tones(config.loss, sample_rate),
    )  # fmt: skip


def begin(model: Model) -> Callable[[Params, LeadIn], State]:
    """(params, lead-in) -> memory after the lead-in, which starts from the model's initial state."""

    def played(params: Params, lead_in: LeadIn) -> State:
        fresh = model.initial_state(params, lead_in.x.shape[0], lead_in.knobs)
        return model.apply(params, lead_in.x, fresh)[1]

    return played


def frame_of(config: FineTuneConfig, sample_rate: int, longest: int) -> int:
    """The length of a frame, in samples.

    Raises:
        ValueError: it is shorter than an NMR frame, or longer than `longest`.
    """
    samples = round(config.frame_s * sample_rate)
    if not 2048 <= samples <= longest:
        raise ValueError(
            f"frame_s = {config.frame_s} is {samples} samples at {sample_rate} Hz; "
            f"it must be at least 2048 and at most {longest}, the analysed part of a tone"
        )
    return samples


def draw_tones(
    key: Key[Array, ""], config: FineTuneConfig, sample_rate: int, found: Chances | None = None
) -> tuple[sines.Tones, Float[Array, "b"] | None]:
    """The tones of one batch (eqs. 3-5), and the weight of each.

    Args:
        key: consumed.
        config: range and number of tones.
        sample_rate: Hz.
        found: of the cells of `grid`; None: uniform, without weights.
    """
    if found is None:
        return sines.draw(key, config.batch_size, dtype=config.precision, **_ranges(config, sample_rate)), None
    place_key, level_key, phase_key = jax.random.split(key, 3)
    shape, dtype = (config.batch_size,), config.precision
    place, level = (jax.random.uniform(each, shape, dtype) for each in (place_key, level_key))
    return _by_chance(found, place, level, jax.random.bits(phase_key, shape, jnp.uint32), config, sample_rate)


def _by_chance(
    found: Chances, place: Array, level: Array, start: Array, config: FineTuneConfig, sample_rate: int
) -> tuple[sines.Tones, Float[Array, "b"] | None]:
    """Tones in cells of `grid`, chosen by `place` in [0, 1), at `level` of a cell, and the weight of each."""
    place, weight = importance.place(found, place)
    at = place * (PITCHES * LEVELS)
    cell = jnp.minimum(at.astype(jnp.int32), PITCHES * LEVELS - 1)
    pitch, level = (cell // LEVELS + at - cell) / PITCHES, (cell % LEVELS + level) / LEVELS
    return sines.of_even(pitch, level, start, **_ranges(config, sample_rate)), weight


def grid(config: FineTuneConfig, sample_rate: int) -> sines.Tones:
    """One tone in the middle of each cell of pitch and level: all levels of the lowest pitch, then of the next."""
    cell = np.arange(PITCHES * LEVELS)
    return sines.of_even(
        jnp.asarray((cell // LEVELS + 0.5) / PITCHES, config.precision),
        jnp.asarray((cell % LEVELS + 0.5) / LEVELS, config.precision),
        jnp.zeros(len(cell), jnp.uint32),
        **_ranges(config, sample_rate),
    )


def _ranges(config: FineTuneConfig, sample_rate: int) -> dict[str, Any]:
    own = config.sines
    return {
        "midi_low": own.midi_low,
        "midi_high": own.midi_high,
        "quietest_db": own.quietest_db,
        "sample_rate": sample_rate,
    }


def held_out_tones(
    config: FineTuneConfig, sample_rate: int, count: int, found: Chances | None = None
) -> tuple[sines.Tones, Float[Array, "b"] | None]:
    """Validation tones, and the weight of each.

    With chances they have the distribution of training tones. Loud aliases are rare: of 24 evenly spaced tones the mean
    loss of aliases is 0.08 to 0.9 of that of all tones (five captures), of as many tones by chance 1.0, with a standard
    deviation of 0.06 to 0.12 (experiments/RESULTS.md).

    Args:
        config: range of the tones.
        sample_rate: Hz.
        count: number of tones, b.
        found: of the cells of `grid`; None: evenly spaced inside the training range, without weights, because untrained
            pitches must not affect the choice of the student.
    """
    if found is None:
        low, high = config.sines.midi_low, config.sines.midi_high
        inside = min(_INSIDE, (high - low) / 4)
        f0 = midi_to_hz(np.linspace(low + inside, high - inside, count))
        peaks = sines.amplitudes(_spread(count), config.sines.quietest_db)
        return sines.tones(f0, peaks, np.zeros_like(f0), sample_rate=sample_rate, dtype=config.precision), None
    place = jnp.asarray((np.arange(count) + 0.5) / count, config.precision)
    level = jnp.asarray(_spread(count), config.precision)
    return _by_chance(found, place, level, jnp.zeros(count, jnp.uint32), config, sample_rate)


def _spread(count: int) -> np.ndarray:
    """Numbers that fill 0 ... 1 evenly, whichever of them are taken: independent of the pitch."""
    return (0.5 + 0.618034 * np.arange(count)) % 1


def held_out_knobs(count: int) -> np.ndarray:
    """Positions (tone, knob) that fill the cube evenly and independently of pitch and amplitude (Roberts' sequence)."""
    root: Any = np.polynomial.Polynomial([-1, -1, *[0] * (count - 1), 1]).roots().real.max() if count else 1.0
    return (0.5 + np.arange(HELD_OUT)[:, None] * root ** -np.arange(1.0, count + 1)) % 1
