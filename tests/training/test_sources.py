"""What the sources of training signals give: music cut from its material, starts from silence, tones, in one call."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances
from scipy import stats
from small_runs import (
    CONFIG,
    KNOB_LSTM,
    LSTM,
    RATE,
    WAVENET,
    Kind,
    music_config,
    noise,
    params_of,
    prepare,
    tasks_of,
    update_by_hand,
)

from jaxalias import fine_tuning, models
from jaxalias.config import FineTuneConfig, SineConfig
from jaxalias.evaluation import sine_set
from jaxalias.models import Model, Params
from jaxalias.signals import periodic_tones, sines
from jaxalias.targets import harmonics, oversampling
from jaxalias.training import loop, plan
from jaxalias.training.sources import Batch, Known, Source, music, play_together

SETTLING = 441  # of a recurrent model, by CONFIG
ROWS = 6


class Drawn(NamedTuple):
    """One batch of a source of a run, made without the run."""

    model: Model
    teacher: Params
    source: Source
    known: Known
    choices: Any
    batch: Batch


def draw(config: FineTuneConfig, name: str, kind: Kind = LSTM, seed: int = 0) -> Drawn:
    model, (task,) = models.build(kind), tasks_of(config, kind)
    (source,) = (each for each in plan.sources_of(model, model, config, RATE) if each.name == name)
    known = plan.known_of(model, task, plan.settling_of(model, config, RATE), RATE)
    choices = jax.jit(source.draw)(known, jax.random.key(seed))
    return Drawn(model, known.teacher, source, known, choices, jax.jit(source.complete)(known, choices))


def whole(batch: Batch, part: str = "inputs") -> np.ndarray:
    """The frames of every row joined."""
    frames = np.asarray(getattr(batch, part))
    return frames.reshape(len(frames), -1)


def place_of(signal: np.ndarray, row: np.ndarray) -> int:
    """Where in a signal a row was cut; refused if it was not, or from several places."""
    windows = np.lib.stride_tricks.sliding_window_view(np.float32(signal), len(row))
    (place,) = np.flatnonzero((windows == row).all(axis=1))
    return int(place)


@pytest.mark.parametrize("kind", [LSTM, WAVENET], ids=lambda kind: kind.kind)
def test_an_excerpt_is_a_slice_of_the_material_with_its_past_in_front(kind: Kind) -> None:
    """The past of a convolution is its receptive field; a recurrent model has the time of a tone to settle."""
    drawn = draw(CONFIG.model_copy(update={"music": music_config(ROWS)}), "music", kind)
    x, y = noise()[:2]
    past = {"lstm": SETTLING, "wavenet": models.build(WAVENET).receptive_field - 1}[kind.kind]  # type: ignore[operator]
    assert drawn.batch.inputs.shape == drawn.batch.targets.shape == (ROWS, 3, 2048)
    assert drawn.batch.lead_in.x.shape == (ROWS, past)
    assert drawn.source.frames == 3
    rows = np.concatenate([drawn.batch.lead_in.x, whole(drawn.batch)], axis=1)
    places = [place_of(x, row) for row in rows]
    assert len(set(places)) == ROWS
    for place, target in zip(places, whole(drawn.batch, "targets"), strict=True):
        np.testing.assert_array_equal(target, np.float32(y[place + past : place + past + 3 * 2048]))
    np.testing.assert_allclose(drawn.batch.about, np.mean(y**2), rtol=tolerances.F32_ROUNDING)


def test_every_place_of_the_material_is_as_likely_as_any_other() -> None:
    """Also its first and its last one."""
    drawn = draw(CONFIG.model_copy(update={"music": music_config(2000, frames=1)}), "music", WAVENET)
    assert stats.kstest(drawn.choices.place, "uniform").pvalue > tolerances.UNLIKELY
    x = np.float32(noise().x)
    for place, first in ((0.0, 0), (np.nextafter(np.float32(1), np.float32(0)), len(x) - 2049), (1.0, len(x) - 2049)):
        choices = jax.tree.map(lambda a: a[:1], drawn.choices)._replace(place=jnp.full(1, place, jnp.float32))
        batch = drawn.source.complete(drawn.known, choices)
        np.testing.assert_array_equal(batch.inputs[0, 0], x[first + 1 : first + 2049])


def test_validation_plays_all_of_the_music_that_is_held_out() -> None:
    """In as many excerpts as there are without overlap, but not in more than 64."""
    drawn = draw(CONFIG.model_copy(update={"music": music_config(ROWS, frames=1)}), "music")
    known = drawn.known._replace(material=drawn.known.held_out)
    batch = drawn.source.complete(known, drawn.source.held_out(known))
    x = noise(seed=4).x
    places = [place_of(x, row) for row in np.concatenate([batch.lead_in.x, whole(batch)], axis=1)]
    assert (len(places), places[0], places[-1]) == ((len(x) - SETTLING) // 2048, 0, len(x) - SETTLING - 2048)
    assert np.ptp(np.diff(places)) <= 1 and np.diff(places).min() >= 2048
    long = music.material(*noise(200_000)[:2], "float32")
    assert len(drawn.source.held_out(known._replace(material={"music": long})).place) == 64


def play(model: Model, params: Params, x: Any, knobs: Any = None) -> np.ndarray:
    return model.apply(params, x, model.initial_state(params, len(x), knobs))[0]


@pytest.mark.parametrize("factor", [1, 2])
def test_a_start_is_that_of_a_player(factor: int) -> None:
    """From the initial state on teacher and student play silence, then music; all of it counts."""
    config = CONFIG.model_copy(update={"starts": music_config(ROWS, oversampling=factor)})
    drawn = draw(config, "starts")
    x = whole(drawn.batch)
    sounds = [int(np.flatnonzero(row)[0]) for row in x]
    assert len(set(sounds)) == ROWS  # silences of different lengths
    np.testing.assert_array_equal(sounds, drawn.choices.silence)
    assert min(sounds) >= 0 and max(sounds) < 3 * 2048
    for row, begin in zip(x, sounds, strict=True):
        place_of(noise().x, row[begin:])
    wanted = oversampling.oversample(lambda each: play(drawn.model, drawn.teacher, each), factor)(jnp.asarray(x))
    np.testing.assert_allclose(whole(drawn.batch, "targets"), wanted, atol=tolerances.F32_RESYNTHESIS)
    memory = drawn.source.begin(drawn.teacher, drawn.batch.lead_in)
    fresh = drawn.model.initial_state(drawn.teacher, ROWS)
    jax.tree.map(np.testing.assert_array_equal, memory, fresh)


def test_music_of_a_model_with_knobs_is_played_where_they_stand() -> None:
    """By teacher and student alike, at a position that is drawn for every row, with the past in front."""
    drawn = draw(CONFIG.model_copy(update={"music": music_config(ROWS)}), "music", KNOB_LSTM)
    knobs = np.asarray(drawn.batch.lead_in.knobs)
    assert knobs.shape == (ROWS, 1) and len(np.unique(knobs)) == ROWS
    assert knobs.min() >= 0 and knobs.max() <= 1
    rows = jnp.concatenate([drawn.batch.lead_in.x, whole(drawn.batch)], axis=1)
    assert rows.shape == (ROWS, SETTLING + 3 * 2048)
    for row, position, target in zip(rows, knobs, whole(drawn.batch, "targets"), strict=True):
        place_of(noise().x, np.asarray(row))
        of_one = oversampling.oversample(lambda x, at=position: play(drawn.model, drawn.teacher, x, at), 2)
        np.testing.assert_allclose(target, of_one(row[None])[0, SETTLING:], atol=tolerances.F32_RESYNTHESIS)
    elsewhere = oversampling.oversample(lambda x: play(drawn.model, drawn.teacher, x, knobs[0] / 2), 2)(rows[:1])
    assert np.abs(elsewhere[0, SETTLING:] - whole(drawn.batch, "targets")[0]).max() > 1e-2
    memory = drawn.source.begin(drawn.teacher, drawn.batch.lead_in)
    estimate, _ = drawn.source.play(drawn.teacher, drawn.batch.inputs[:, 0], memory)
    wanted = play(drawn.model, drawn.teacher, rows, knobs)[:, SETTLING : SETTLING + 2048]
    np.testing.assert_allclose(estimate, wanted, atol=tolerances.F32_ROUNDING)


@pytest.mark.parametrize("kind", [LSTM, WAVENET], ids=lambda kind: kind.kind)
def test_the_target_of_music_is_the_teacher_at_eight_times_its_rate(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a listener would render it, all of the material at once; validation has other music."""
    monkeypatch.setattr(fine_tuning, "HELD_OUT_S", 0.1)
    model = models.build(kind)
    params = params_of(model)
    config = CONFIG.model_copy(update={"music": music_config(1, frames=1, oversampling=8, seconds=0.2)})
    found = fine_tuning.play_music(model, params, config, RATE)["music"]
    assert (len(found.training.x), len(found.held_out.x)) == (8820, 4410)
    teacher = sine_set.player(model, params)
    for pair in found[:2]:
        wanted = oversampling.oversample(teacher, 8)(jnp.asarray(pair.x)[None])[0]
        np.testing.assert_allclose(pair.y, wanted, atol=tolerances.F32_RESYNTHESIS)
        aliased = teacher(jnp.asarray(pair.x)[None])[0]
        assert np.abs(pair.y - aliased).max() > 1e-4
    own = fine_tuning.play_music(model, params, config, RATE, np.float64(noise(3000).x))["music"]
    np.testing.assert_array_equal(own.training.x, noise(3000).x)
    np.testing.assert_array_equal(own.held_out.x, found.held_out.x)


def test_tones_have_a_lead_in_and_harmonics_alone() -> None:
    drawn = draw(CONFIG.model_copy(update={"batch_size": ROWS}), "tones")
    chosen = drawn.choices.tones
    x = sines.render(chosen, SETTLING + 3 * 2048)
    np.testing.assert_array_equal(np.concatenate([drawn.batch.lead_in.x, whole(drawn.batch)], axis=1), x)
    y = play(drawn.model, drawn.teacher, x)[:, SETTLING:]
    number = harmonics.highest_number(27.5, RATE)
    wanted = harmonics.bandlimit(y, chosen.increment, number)
    np.testing.assert_allclose(whole(drawn.batch, "targets"), wanted, atol=tolerances.F32_RESYNTHESIS)


def test_periodic_tones_are_settled_at_once() -> None:
    """The target has the harmonics of the teacher's answer, from which the teacher differs by what is none."""
    config = CONFIG.model_copy(update={"batch_size": ROWS, "sines": SineConfig(whole_cycles=True, midi_low=60.0)})
    drawn = draw(config, "tones", WAVENET)
    cycle = drawn.batch.about
    assert drawn.source.frames == 1
    assert drawn.batch.inputs[0].shape == drawn.batch.targets.shape == (ROWS, 1, 2048)
    periods = np.asarray(cycle.period)
    assert periods.min() > 1024 and periods.max() <= 2048
    longer = sines.render(drawn.choices.tones, 3 * 2048)
    settled = play(drawn.model, drawn.teacher, longer)
    estimate, memory = drawn.source.play(
        drawn.teacher, jax.tree.map(lambda a: a[:, 0], drawn.batch.inputs), drawn.source.begin(drawn.teacher, ())
    )
    assert memory == ()
    for row, answer, period in zip(estimate, settled, periods, strict=True):
        np.testing.assert_allclose(row, answer[period : period + 2048], atol=tolerances.F32_MODEL)
    wanted = periodic_tones.harmonic_part(estimate, cycle)
    np.testing.assert_allclose(drawn.batch.targets[:, 0], wanted, atol=tolerances.F32_MODEL)
    assert np.abs(drawn.batch.targets[:, 0] - estimate).max() > 1e-3


def test_terms_of_tones_are_means_over_the_tones_alone() -> None:
    """Whatever music is beside them, and however much of it."""
    found = []
    for change in ({}, {"music": music_config(2)}, {"music": music_config(7), "starts": music_config(1)}):
        prepared = prepare(CONFIG.model_copy(update=change)).run
        _, values = update_by_hand(prepared, loop.begin(prepared).state)
        found.append({name: float(value[0]) for name, value in values.items()})
    for mixed in found[1:]:
        for name in ("ESR", "NMR"):
            assert mixed[name] == pytest.approx(found[0][name], rel=1e-5)
    assert {"music ESR", "music NMR"} == found[1].keys() - found[0].keys()
    total = sum(found[1][name] for name in ("ESR", "music ESR")) + 0.1 * (found[1]["NMR"] + found[1]["music NMR"])
    assert found[1]["loss"] == pytest.approx(total, rel=1e-5)


def test_sources_that_share_a_model_and_a_frame_are_played_in_one_call() -> None:
    """Row behind row, with the numbers that each has alone; one with another frame length has a call of its own."""
    config = CONFIG.model_copy(
        update={"music": music_config(2), "high_playing": music_config(3, 1, frame_s=0.06), "starts": music_config(1)}
    )
    plain, (task,), calls = models.build(LSTM), tasks_of(config), []

    def counted(params: Params, x: jax.Array, state: Any) -> tuple:
        calls.append(x.shape)
        return plain.apply(params, x, state)

    model = plain._replace(apply=counted)
    every = plan.sources_of(model, model, config, RATE)
    known = plan.known_of(model, task, SETTLING, RATE)
    batches = [source.complete(known, source.draw(known, jax.random.key(0))) for source in every]
    memories = [source.begin(known.teacher, batch.lead_in) for source, batch in zip(every, batches, strict=True)]
    inputs = [batch.inputs[:, 0] for batch in batches]
    calls.clear()
    together = play_together(every, known.teacher, inputs, memories, lambda f, ins, outs: f)
    assert calls == [(4 + 2 + 1, 2048), (3, 2646)]
    for source, x, memory, estimate, after in zip(every, inputs, memories, *together, strict=True):
        alone = source.play(known.teacher, x, memory)
        for ours, theirs in zip(jax.tree.leaves((estimate, after)), jax.tree.leaves(alone), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=tolerances.F32_ROUNDING)


def test_an_update_plays_each_such_group_once() -> None:
    """The student: the trace of an update has one call for tones, music and starts."""
    config = CONFIG.model_copy(update={"music": music_config(2), "starts": music_config(1)})
    prepared, traces = prepare(config)
    state = loop.begin(prepared).state
    traces.clear()
    update_by_hand(prepared, state)
    frames = [shape for shape in traces if shape[1] == 2048]
    assert {shape[0] for shape in frames} == {-(-7 // len(jax.devices()))}
