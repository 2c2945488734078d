"""What a run draws and from which stream of random numbers, what it validates on, and what it refuses."""

import itertools
from typing import Any

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
    music_config,
    noise,
    params_of,
    prepare,
    tasks_of,
    update_by_hand,
)

from jaxalias import models
from jaxalias.config import LossConfig, LowpassConfig, SineConfig, presets
from jaxalias.signals import phase
from jaxalias.training import loop, plan, program, run
from jaxalias.training.plan import Played, Task
from jaxalias.training.sources import tones

EVERY_SOURCE = CONFIG.model_copy(
    update={"music": music_config(), "high_playing": music_config(), "starts": music_config()}
)


@pytest.fixture(scope="module")
def small() -> run.Run:
    """A run whose batches are cheap to draw."""
    return prepare(EVERY_SOURCE, WAVENET).run


def data(keys: Any) -> tuple[int, ...]:
    return tuple(np.asarray(jax.random.key_data(keys)).tolist())


STREAMS = ("tones", "music", "high_playing", "starts", "signs", "recording")


def test_no_two_draws_of_a_run_share_a_key() -> None:
    """Of none of the streams, of none of three seeds; and no key is that of a seed itself, which is folded."""
    seeds = [jax.random.key(seed) for seed in range(3)]
    keys = [
        data(program.stream(seed, name, number)) for seed in seeds for name in STREAMS for number in (*range(50), 2**31)
    ]
    keys += map(data, seeds)
    assert len(set(keys)) == len(keys) == 3 * (len(STREAMS) * 51 + 1)


@pytest.mark.parametrize("preset", presets.PRESETS.values(), ids=presets.PRESETS.keys())
def test_every_source_of_a_preset_has_a_stream_of_its_own(preset: Any) -> None:
    for kind in (LSTM, WAVENET):
        model = models.build(kind)
        names = [source.name for source in plan.sources_of(model, model, preset(kind), RATE)]
        assert len(set(names)) == len(names)
        assert set(names) <= set(STREAMS) - {"signs"}


def test_a_source_draws_from_its_stream_and_the_signs_from_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """The keys that a run takes are those of its streams, each once."""
    taken: list[tuple[str, Any]] = []
    stream = program.stream

    def noted(key: Any, name: str, number: Any) -> Any:
        found = stream(key, name, number)
        jax.debug.callback(lambda value: taken.append((name, data(value))), found)
        return found

    monkeypatch.setattr(program, "stream", noted)
    prepared = prepare(CONFIG.model_copy(update={"updates": 4, "music": music_config(frames=1)}), WAVENET).run
    loop.advance(prepared, loop.begin(prepared))
    jax.effects_barrier()
    key = jax.random.key(0)
    wanted = [("tones", n) for n in range(2)] + [(name, n) for name in ("music", "signs") for n in range(4)]
    assert set(taken) == {(name, data(stream(key, name, n))) for name, n in wanted}
    assert len({value for _, value in taken}) == len(wanted)


def test_the_number_of_a_batch_and_the_seed_decide_all_of_it(small: run.Run) -> None:
    other = prepare(EVERY_SOURCE.model_copy(update={"seed": 1}), WAVENET).run
    for draw, elsewhere in zip(small.draw, other.draw, strict=True):
        first, again, next_one, of_other = (
            np.asarray(batch.inputs) for batch in (draw(0), draw(0), draw(1), elsewhere(0))
        )
        np.testing.assert_array_equal(first, again)
        assert (first != next_one).mean() > 0.5
        assert (first != of_other).mean() > 0.5


def test_sources_of_one_material_draw_from_other_places(small: run.Run) -> None:
    """Music and high playing have the same material here, and the same rows: not the same excerpts."""
    excerpts = [np.asarray(draw(0).inputs).reshape(2, -1) for draw in small.draw[1:3]]
    for one, other in itertools.combinations([*excerpts[0], *excerpts[1]], 2):
        assert not np.array_equal(one, other)


def test_knobs_are_drawn_for_every_tone_and_learned() -> None:
    kind = KNOB_LSTM.model_copy(update={"input_size": 3})
    prepared = prepare(CONFIG.model_copy(update={"batch_size": 40}), kind).run
    first, second = (np.asarray(prepared.draw[0](number).lead_in.knobs) for number in (0, 1))
    assert first.shape == (1, 40, 2)
    for knob in (first[0, :, 0], first[0, :, 1]):
        assert stats.kstest(knob, "uniform").pvalue > tolerances.UNLIKELY
    assert len(np.unique([first, second])) == 160
    state = loop.begin(prepared).state
    before = np.array(state.params["weight_ih_l0"])
    after, _ = update_by_hand(prepared, state)
    assert (np.asarray(after.params["weight_ih_l0"]) != before).all(axis=1).mean() > 0.9  # columns of knobs too


@pytest.mark.parametrize(("low", "high"), [(21.0, 127.0), (21.0, 112.0), (60.0, 61.0)])
def test_validation_tones_spread_over_the_training_range_and_stay_inside(low: float, high: float) -> None:
    """Tones that are not trained for must not choose the student."""
    config = CONFIG.model_copy(update={"sines": SineConfig(midi_low=low, midi_high=high)})
    held_out, _ = tones.held_out_tones(config, RATE, tones.HELD_OUT)
    midi = 69 + 12 * np.log2(phase.to_ratio(held_out.increment) * RATE / 440)
    assert low < midi[0] < low + 4 and high - 4 < midi[-1] < high
    np.testing.assert_allclose(np.diff(midi), (midi[-1] - midi[0]) / (len(midi) - 1), rtol=1e-6)


def test_validation_is_the_mean_over_frames_of_what_an_update_measures() -> None:
    """Of the held-out batches; each source in its own frames; the loss is the weighted sum."""
    config = CONFIG.model_copy(update={"music": music_config(frames=2)})
    prepared = prepare(config, WAVENET).run
    found = {name: float(value[0]) for name, value in prepared.validate(loop.begin(prepared).state.average).items()}
    model, (task,) = models.build(WAVENET), tasks_of(config, WAVENET)
    known = plan.known_of(model, task, 1, RATE)
    wanted: dict[str, float] = {}
    for source in plan.sources_of(model, model, config, RATE):
        other = known._replace(material=known.held_out)
        batch = source.complete(other, source.held_out(other))
        memory = source.begin(known.teacher, batch.lead_in)
        values: dict[str, list[float]] = {}
        for index in range(source.frames):
            estimate, memory = source.play(known.teacher, batch.inputs[:, index], memory)
            for term in source.terms:
                value = term.reduce(term.measure(estimate, batch.targets[:, index], batch.about))
                values.setdefault(term.name, []).append(float(value))
        wanted |= {name: float(np.mean(each)) for name, each in values.items()}
    assert found == pytest.approx(wanted | {"loss": found["loss"]}, rel=1e-3, abs=1e-7)
    weights = {"ESR": 1.0, "NMR": 0.1, "music ESR": 1.0, "music NMR": 0.1}
    assert found["loss"] == pytest.approx(sum(weight * found[name] for name, weight in weights.items()), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame_s": 0.04}, "frame_s = 0.04 is 1764 samples"),
        ({"frame_s": 1.0}, "at most 6144"),
        ({"loss": LossConfig(lowpass=LowpassConfig(stop_hz=30_000))}, "below 22050 Hz"),
        ({"sines": SineConfig(whole_cycles=True)}, "sines.whole_cycles needs a network without recurrence"),
        ({"music": music_config(frame_s=0.04)}, r"music.frame_s = 0.04 is 1764 samples at 44100 Hz"),
    ],
)
def test_a_config_that_does_not_suit_the_model_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(CONFIG.model_copy(update=change))


@pytest.mark.parametrize("name", ["music", "starts"])
def test_music_must_be_there_and_long_enough(name: str) -> None:
    """An excerpt and, but at a start, its past: here as long as a tone settles."""
    config = CONFIG.model_copy(update={name: music_config(rows=1)})
    least = 3 * 2048 + (0 if name == "starts" else 441)
    with pytest.raises(ValueError, match=f"amp: {name} needs music of at least {least} samples, got none"):
        prepare(config, music={})
    for short in (Played(noise(least - 1), noise()), Played(noise(), noise(least - 1))):
        with pytest.raises(ValueError, match=f"amp: {name} needs music of at least {least} samples, got {least - 1}"):
            prepare(config, music={name: short})


def test_a_silent_teacher_is_refused() -> None:
    model = models.build(WAVENET)
    silent = jax.tree.map(jnp.zeros_like, params_of(model))
    with pytest.raises(ValueError, match=r"dead.json: .*silent for a sine of 33\.\d Hz"):
        run.prepare(model, [Task("dead.json", silent, CONFIG)], RATE)


def test_a_teacher_with_other_knobs_is_refused() -> None:
    student, teacher = models.build(LSTM), models.build(KNOB_LSTM)
    task = Task("amp", params_of(teacher), CONFIG, initial=params_of(student))
    with pytest.raises(ValueError, match="a teacher with 1 knobs for students with 0"):
        run.prepare(student, [task], RATE, teacher)


def test_students_in_one_program_may_differ_in_seed_rate_and_weights_alone() -> None:
    """With and without a term of the offset are two programs, for it is left out where it has no weight."""
    model = models.build(LSTM)
    params = params_of(model)

    def tasks(change: dict) -> list[Task]:
        return [Task(name, params, CONFIG.model_copy(update=new)) for name, new in (("a", {}), ("b", change))]

    rate, clip = (CONFIG.optimiser.model_copy(update=change) for change in ({"learning_rate": 0.5}, {"clip_norm": 2.0}))
    heavy = CONFIG.loss.model_copy(update={"nmr": CONFIG.loss.nmr.model_copy(update={"weight": 3.0})})
    offset = CONFIG.loss.model_copy(update={"dc_weight": 0.0 if CONFIG.loss.dc_weight else 1.0})
    plan.refuse_different(tasks({"seed": 7, "optimiser": rate, "loss": heavy}))
    for change in ({"batch_size": 5}, {"loss": offset}, {"music": music_config()}, {"optimiser": clip}):
        with pytest.raises(ValueError, match="b: students trained together may differ in seed, learning rate and loss"):
            plan.refuse_different(tasks(change))


def test_float64_without_64_bit_mode_is_refused() -> None:
    with jax.enable_x64(False), pytest.raises(ValueError, match="float64 needs JAX's 64-bit mode"):
        prepare(CONFIG.model_copy(update={"precision": "float64"}))
