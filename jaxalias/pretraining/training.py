"""Train a model of a device from a recording of it (section 3.2), to serve as the teacher.

The loop is that of fine-tuning, with one source of training signals: segments from anywhere in the recording. The
samples before a segment only set the state. Then each frame of the segment is one update; the state is carried on and
the gradient is cut (TBPTT). For a WaveNet a segment is one frame. The loss is an ESR after A-weighting, plus a DC term
without it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from jaxalias.config import ESRConfig, PretrainConfig
from jaxalias.losses import terms
from jaxalias.losses.terms import Term
from jaxalias.models import Model
from jaxalias.signals import dsp
from jaxalias.signals.recordings import Pair
from jaxalias.training import program, run, students
from jaxalias.training.run import Run
from jaxalias.training.sources import Batch, Known, Source, cut
from jaxalias.training.sources.tones import LeadIn, begin


class Recording(NamedTuple):
    """Concatenated inputs and outputs of pairs, with silence before each pair, as long as the lead-in of a segment."""

    x: Float[Array, "t"]
    y: Float[Array, "t"]
    offsets: Int[Array, "pair"]  # the first sample of each pair, after its silence
    ends: Int[Array, "pair"]  # cumulative number of possible starts of a segment, up to and including each pair


def prepare(
    model: Model, training: Sequence[Pair], validation: Sequence[Pair], sample_rate: int, config: PretrainConfig
) -> Run:
    """The functions of a run from random parameters.

    Args:
        model: the network.
        training, validation: aligned pairs of recordings.
        sample_rate: Hz.
        config: of the run.

    Raises:
        ValueError: a part of the recording has no whole segment; or float64 without JAX's 64-bit mode.
    """
    length = config.frames * config.frame
    for part, pairs in (("training", training), ("validation", validation)):
        if not any(len(pair.x) >= length for pair in pairs):
            longest = max((len(pair.x) for pair in pairs), default=0)
            needs = f"{length / sample_rate:.2f} s in one piece, its longest has {longest / sample_rate:.2f} s"
            share = f", or give held-out recordings: by default the last {config.held_out:.0%} of each is held out"
            raise ValueError(f"the {part} part must hold {needs}; record more{share if part == 'validation' else ''}")
    dsp.require_precision(config.precision)
    material, held_out = (_joined(pairs, config) for pairs in (training, validation))
    segments = source(model, config, sample_rate, int(material.ends[-1]), _in_turn(validation, length))
    return run.assemble(
        program.compiled(model, (segments,), config, students.mesh_for(1)),
        config,
        initial=[model.init(jax.random.key(config.seed))],
        known=[Known((), {segments.name: material}, {segments.name: held_out})],
        weights=[{term.name: jnp.asarray(term.weight, config.precision) for term in segments.terms}],
        seeds=[config.seed],
        rates=[config.optimiser.learning_rate],
    )


def source(model: Model, config: PretrainConfig, sample_rate: int, places: int, held_out: Array) -> Source:
    """Segments from anywhere in the recording; every start has the same probability.

    Args:
        model: the network.
        config: lengths and number of segments.
        sample_rate: Hz.
        places: the number of possible starts in all pairs together.
        held_out: the starts of the validation segments.
    """
    name, before, length = "recording", config.warm_up, config.frames * config.frame

    def draw(known: Known, key: Key[Array, ""]) -> Int[Array, "b"]:
        return jax.random.randint(key, (config.batch_size,), 0, places, jnp.int32)

    def complete(known: Known, place: Int[Array, "b"]) -> Batch:
        recording: Recording = known.material[name]
        pair = jnp.searchsorted(recording.ends, place, side="right")
        skipped = jnp.where(pair > 0, recording.ends[pair - 1], 0)
        first = recording.offsets[pair] + place - skipped - before
        x, y = (_segments(signal, first, before + length) for signal in (recording.x, recording.y))
        lead_in = LeadIn(x[:, :before], jnp.zeros((len(x), 0), x.dtype))
        return Batch(lead_in, cut(x[:, before:], config.frame), cut(y[:, before:], config.frame), ())

    return Source(
        name, config.batch_size, config.frames, draw, complete, lambda known: held_out,
        begin(model), model.apply, loss_of(sample_rate),
    )  # fmt: skip


def loss_of(sample_rate: int) -> tuple[Term, ...]:
    """The terms of the loss: ESR after A-weighting, DC without it; and a plain ESR of weight 0, for the history."""
    flat = np.ones(1)
    emphasised = terms.esr(ESRConfig(reduction="ratio_of_sums"), dsp.a_weighting_taps(sample_rate))
    plain = terms.esr(ESRConfig(reduction="ratio_of_sums", weight=0.0), flat)
    return emphasised._replace(name="emphasised"), terms.dc(1.0, flat), plain


def _joined(pairs: Sequence[Pair], config: PretrainConfig) -> Recording:
    length, silence = config.frames * config.frame, np.zeros(config.warm_up)
    known = [pair for pair in pairs if len(pair.x) >= length]

    def behind_each_other(signals: Sequence[np.ndarray]) -> Array:
        return jnp.asarray(np.concatenate([part for signal in signals for part in (silence, signal)]), config.precision)

    starts = np.cumsum([0, *(len(silence) + len(pair.x) for pair in known)])[:-1] + len(silence)
    ends = np.cumsum([len(pair.x) - length + 1 for pair in known])
    return Recording(
        behind_each_other([pair.x for pair in known]),
        behind_each_other([pair.y for pair in known]),
        jnp.asarray(starts, jnp.int32),
        jnp.asarray(ends, jnp.int32),
    )


def _in_turn(pairs: Sequence[Pair], length: int) -> Int[Array, "b"]:
    """The starts of all whole segments, one after the other."""
    rooms = [len(pair.x) - length + 1 for pair in pairs if len(pair.x) >= length]
    ends = np.cumsum(rooms)
    places = [end - room + start for end, room in zip(ends, rooms, strict=True) for start in range(0, room, length)]
    return jnp.asarray(places, jnp.int32)


def _segments(signal: Float[Array, "t"], first: Int[Array, "b"], length: int) -> Float[Array, "b length"]:
    return jax.vmap(lambda at: jax.lax.dynamic_slice(signal, (at,), (length,)))(first)
