"""The loop: it learns, it compiles once, it resumes bit for bit, and it stops at the first number that is none."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tolerances
from pydantic import ValidationError
from scipy import stats

from jaxalias import config as configs
from jaxalias import models
from jaxalias.config import (
    FineTuneConfig,
    LayerArrayConfig,
    LSTMConfig,
    OptimiserConfig,
    SineConfig,
    WaveNetConfig,
    presets,
)
from jaxalias.signals import phase, sines
from jaxalias.signals.recordings import Pair
from jaxalias.targets import harmonics, oversampling, teacher
from jaxalias.training import exercises, loop, runs
from jaxalias.training.checkpoints import CheckpointMismatchError, Checkpoints
from jaxalias.training.exercises import Student

RATE, FRAME = 44_100, 2048
LSTM = LSTMConfig(hidden_size=3)
WAVENET = WaveNetConfig(
    layer_arrays=(
        LayerArrayConfig(input_size=1, head_size=1, channels=2, kernel_size=2, dilations=(1,), activation="Tanh"),
    ),
    head_scale=1.0,
)
CONFIG = FineTuneConfig(
    preset="test",
    updates=9,  # three batches of three frames
    batch_size=4,
    frame_s=FRAME / RATE,
    sines=SineConfig(settling_s=0.01, analysed_s=3 * FRAME / RATE),
    loss=configs.LossConfig(nmr=configs.NMRConfig(weight=0.1, reduction="soft_hinge")),  # no single tone dominates
    optimiser=OptimiserConfig(learning_rate=0.01, schedule="cosine", clip_norm=1.0, ema_decay=0.5),
    validate_every=4,
    checkpoint_every=4,
)


class Prepared(NamedTuple):
    run: runs.Run
    traces: list[Any]  # one entry for every time JAX traced the model


def prepare(config: FineTuneConfig, kind: LSTMConfig | WaveNetConfig = LSTM, music: Pair | None = None) -> Prepared:
    """A run whose teacher clips hard, and so aliases."""
    model, traces = models.build(kind), []
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: jnp.asarray(3 * rng.uniform(-1, 1, a.shape), jnp.float32), shapes)

    def counted(params: dict, x: jax.Array, state: Any) -> tuple:
        traces.append(x.shape)
        return model.apply(params, x, state)

    student = Student("amp", params, config, music=music)
    return Prepared(runs.prepare(model._replace(apply=counted), [student], RATE), traces)


def with_config(run: runs.Run, **changes: Any) -> runs.Run:
    (student,) = run.students
    return run._replace(students=(student._replace(config=student.config.model_copy(update=changes)),))


def keys(seed: int) -> jax.Array:
    return jax.random.key(seed)[None]


@pytest.fixture(scope="module", params=[None, 10], ids=["teacher", "table"])
def prepared(request: pytest.FixtureRequest) -> Prepared:
    """Both sources of targets; 10 tones are two and a half batches."""
    return prepare(CONFIG.model_copy(update={"table_tones": request.param}))


@pytest.fixture(scope="module")
def unbroken(prepared: Prepared) -> loop.Progress:
    return loop.advance(prepared.run, loop.begin(prepared.run))


def assert_same_numbers(a: loop.Progress, b: loop.Progress) -> None:
    assert a.history == b.history
    assert (a.updates_done, a.best_loss) == (b.updates_done, b.best_loss)
    for ours, theirs in zip(jax.tree.leaves((a.state, a.best)), jax.tree.leaves((b.state, b.best)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def interrupted(
    run: runs.Run, folder: Path, reports_read: int, rates: list[float] | None = None
) -> tuple[int, loop.Progress]:
    """After how many updates a run stopped that was told to, and where it ends that goes on from the checkpoint."""
    reports: list[dict] = []
    with closing(Checkpoints(folder, {})) as checkpoints:
        stopped = loop.advance(
            run, loop.begin(run, rates), on_update=reports.append, should_stop=lambda: len(reports) >= reports_read,
            on_checkpoint=lambda parts: checkpoints.save(*parts),
        )  # fmt: skip
        fresh = loop.begin(run)
        saved = checkpoints.restore(stopped.updates_done, *loop.split(fresh))
    return stopped.updates_done, loop.advance(run, loop.join([saved], fresh))


def test_a_run_keeps_its_best_and_a_record_of_every_update(prepared: Prepared, unbroken: loop.Progress) -> None:
    begin = loop.begin(prepared.run)
    assert [record["update"] for record in unbroken.history[0]] == list(range(1, 10))
    validated = {r["update"]: r["validation_loss"] for r in unbroken.history[0] if "validation_loss" in r}
    assert list(validated) == [4, 8, 9]
    assert unbroken.best_loss == [min(begin.best_loss[0], *validated.values())]


def test_loss_falls_on_a_batch_that_is_heard_again(prepared: Prepared) -> None:
    run = prepared.run
    batch, state, losses = run.draw(keys(0)), loop.begin(run).state, []
    state = state._replace(params=state.params | {"head_bias": state.params["head_bias"] + 0.2})
    for _ in range(3):
        state = run.lead_in(state, batch)
        for number in range(run.updates_per_draw):
            state, terms = run.update(state, batch, number)
            losses.append(float(terms["loss"][0]))
    first, second, third = np.split(np.array(losses), 3)
    assert (third < second).all()
    assert (second < first).all()


def test_everything_is_traced_once_whatever_the_batch(prepared: Prepared, unbroken: loop.Progress) -> None:
    before = len(prepared.traces)
    again = loop.advance(prepared.run, loop.begin(prepared.run))
    assert len(prepared.traces) == before
    assert prepared.run.update._cache_size() == 1
    assert_same_numbers(again, unbroken)  # same seed, same numbers


def test_another_seed_gives_other_numbers(prepared: Prepared, unbroken: loop.Progress) -> None:
    other = with_config(prepared.run, seed=1, updates=1)
    assert loop.advance(other, loop.begin(other)).history[0][0] != unbroken.history[0][0]


def test_a_run_resumed_inside_a_batch_equals_the_unbroken_one(
    prepared: Prepared, unbroken: loop.Progress, tmp_path: Path
) -> None:
    identity, reports = CONFIG.model_dump(mode="json"), []
    first = Checkpoints(tmp_path / "run", identity)
    assert first.steps() == []
    stopped = loop.advance(
        prepared.run,
        loop.begin(prepared.run),
        on_update=reports.append,
        on_checkpoint=lambda parts: first.save(*parts),
        should_stop=lambda: len(reports) >= 4,  # read one update late: five are done, in the middle of a batch
    )
    first.close()
    assert stopped.updates_done % prepared.run.updates_per_draw != 0
    second = Checkpoints(tmp_path / "run", identity)
    assert second.steps()[-1] == stopped.updates_done
    fresh = loop.begin(prepared.run)
    progress = loop.join([second.restore(stopped.updates_done, *loop.split(fresh))], fresh)
    second.close()
    assert progress.updates_done == stopped.updates_done
    assert_same_numbers(loop.advance(prepared.run, progress), unbroken)


@pytest.mark.parametrize("kind", [LSTM, WAVENET], ids=lambda kind: kind.kind)
def test_batches_in_turn_hear_what_one_large_batch_hears(kind: LSTMConfig | WaveNetConfig) -> None:
    """With parameters that stand still, frame by frame, the mean loss of two batches is that of all their tones."""
    still = CONFIG.model_copy(update={"optimiser": OptimiserConfig(learning_rate=1e-30)})
    together = prepare(still.model_copy(update={"updates": 3}), kind).run
    in_turn = prepare(still.model_copy(update={"updates": 6, "batch_size": 2, "batches_per_draw": 2}), kind).run
    whole, parts = (
        np.array([record["loss"] for record in loop.advance(run, loop.begin(run)).history[0]])
        for run in (together, in_turn)
    )
    np.testing.assert_allclose(parts.reshape(3, 2).mean(1), whole, rtol=1e-4)
    assert len(set(whole)) == 3


def test_a_table_comes_from_the_seed_alone_and_the_teacher_is_not_heard_again() -> None:
    config = CONFIG.model_copy(update={"table_tones": 10})
    (first, traces), (again, _) = prepare(config, WAVENET), prepare(config, WAVENET)
    other, _ = prepare(config.model_copy(update={"seed": 1}), WAVENET)
    before, key = len(traces), keys(0)
    drawn = first.draw(key)
    assert len(traces) == before
    same, another = again.draw(key), other.draw(key)
    for name in ("lead_in", "inputs", "targets"):
        np.testing.assert_array_equal(getattr(drawn, name), getattr(same, name))
        assert (np.asarray(getattr(drawn, name)) != getattr(another, name)).mean() > 0.9


def test_knobs_are_drawn_for_every_tone_and_learned() -> None:
    run, _ = prepare(CONFIG.model_copy(update={"batch_size": 40}), LSTMConfig(hidden_size=3, input_size=3))
    first, second = (np.asarray(run.draw(keys(seed)).knobs) for seed in (0, 1))
    assert first.shape == (1, 1, 40, 2)
    for knob in (first[0, 0, :, 0], first[0, 0, :, 1]):
        assert stats.kstest(knob, "uniform").pvalue > tolerances.UNLIKELY
    assert len(np.unique([first, second])) == 160
    state, drawn = loop.begin(run).state, run.draw(keys(0))
    before = np.array(state.params["weight_ih_l0"])
    after, _ = run.update(run.lead_in(state, drawn), drawn, 0)
    assert (np.asarray(after.params["weight_ih_l0"]) != before).all(axis=1).mean() > 0.9  # columns of knobs too


def test_a_folder_of_another_run_is_refused_by_its_key(tmp_path: Path) -> None:
    Checkpoints(tmp_path, {"optimiser": {"learning_rate": 1.0}, "seed": 1}).close()
    with pytest.raises(CheckpointMismatchError, match=r"optimiser\.learning_rate is 1\.0 there and 2\.0 here"):
        Checkpoints(tmp_path, {"optimiser": {"learning_rate": 2.0}, "seed": 1})


def test_a_checkpoint_that_another_run_left_in_the_folder_is_refused(tmp_path: Path, prepared: Prepared) -> None:
    started = loop.begin(prepared.run)
    saved = loop.split(started)[0]._replace(updates_done=4)
    with closing(Checkpoints(tmp_path, {"seed": 1})) as checkpoints:
        checkpoints.save(saved)
        assert checkpoints.restore(4, saved).updates_done == 4
    (tmp_path / "run.json").unlink()
    with (
        closing(Checkpoints(tmp_path, {"seed": 2})) as checkpoints,
        pytest.raises(CheckpointMismatchError, match="checkpoint 4 is not of the run"),
    ):
        checkpoints.restore(4, saved)


def poisoned(run: runs.Run, at: int) -> runs.Run:
    """A run whose parameters are no numbers from update `at` on; the loss of that update itself still is one."""
    done = 0

    def update(state: runs.TrainState, drawn: exercises.Frames, number: int) -> tuple:
        nonlocal done
        done += 1
        state, terms = run.update(state, drawn, number)
        return (state._replace(params=jax.tree.map(lambda a: a * np.nan, state.params)) if done == at else state), terms

    return run._replace(update=update)


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_update(prepared: Prepared) -> None:
    saved: list[int] = []
    run = poisoned(prepared.run, at=6)
    with pytest.raises(loop.DivergedError, match="update 7 "):
        loop.advance(run, loop.begin(run), on_checkpoint=lambda parts: saved.append(parts[0].updates_done))
    assert saved == [4]


def test_no_checkpoint_holds_parameters_that_are_no_numbers(prepared: Prepared) -> None:
    def check(parts: list) -> None:
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(parts[0].state.params)), parts[0].updates_done

    run = poisoned(prepared.run, at=4)  # the update right before a checkpoint
    with pytest.raises(loop.DivergedError):
        loop.advance(run, loop.begin(run), on_checkpoint=check)


def test_average_is_an_exponential_moving_one(prepared: Prepared) -> None:
    run = prepared.run
    batch, state = run.draw(keys(5)), loop.begin(run).state
    average = jax.tree.map(np.array, state.params)
    for number in range(3):
        state, _ = run.update(state, batch, number)
        average = jax.tree.map(lambda old, new: 0.5 * old + 0.5 * np.array(new), average, state.params)
    for ours, wanted in zip(jax.tree.leaves(state.average), jax.tree.leaves(average), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=tolerances.F32_ROUNDING, atol=tolerances.F32_ROUNDING)


@pytest.mark.parametrize(("low", "high"), [(21.0, 127.0), (21.0, 112.0), (60.0, 61.0)])
def test_validation_tones_spread_over_the_training_range_and_stay_inside(low: float, high: float) -> None:
    """Tones that are not trained for must not choose the student."""
    config = CONFIG.model_copy(update={"sines": SineConfig(midi_low=low, midi_high=high)})
    tones = exercises._validation_tones(config, RATE)
    midi = 69 + 12 * np.log2(phase.to_ratio(tones.increment) * RATE / 440)
    assert low < midi[0] < low + 4 and high - 4 < midi[-1] < high
    np.testing.assert_allclose(np.diff(midi), (midi[-1] - midi[0]) / (len(midi) - 1), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frame_s": 0.04}, "frame_s = 0.04 is 1764 samples"),
        ({"frame_s": 1.0}, "at most 6144"),
        ({"loss": configs.LossConfig(lowpass=configs.LowpassConfig(stop_hz=30_000))}, "below 22050 Hz"),
    ],
)
def test_a_config_that_does_not_suit_the_model_is_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(CONFIG.model_copy(update=change))


def test_a_silent_teacher_is_refused() -> None:
    model = models.build(WAVENET)
    silent = jax.tree.map(lambda a: jnp.zeros(a.shape), jax.eval_shape(model.init, jax.random.key(0)))
    with pytest.raises(ValueError, match=r"dead.json: .*silent for a sine of 33\.\d Hz"):
        runs.prepare(model, [Student("dead.json", silent, CONFIG)], RATE)


@pytest.mark.parametrize("preset", presets.PRESETS.values(), ids=presets.PRESETS.keys())
@pytest.mark.parametrize("kind", [LSTM, WAVENET], ids=lambda kind: kind.kind)
def test_presets_are_valid_and_survive_json(preset: Callable, kind: LSTMConfig | WaveNetConfig) -> None:
    config = preset(kind)
    assert presets.PRESETS[config.preset] is preset
    assert FineTuneConfig.model_validate(json.loads(json.dumps(config.model_dump(mode="json")))) == config
    assert round(config.sines.analysed_s / config.frame_s, 9).is_integer()


@pytest.mark.parametrize("preset", presets.PRESETS.values(), ids=presets.PRESETS.keys())
def test_no_preset_asks_for_music_from_a_model_with_knobs(preset: Callable) -> None:
    assert preset(LSTMConfig(hidden_size=3, input_size=2)).music_rows == 0


@pytest.mark.parametrize(("kind", "batch", "frame_s"), [(LSTM, 40, 0.1), (WAVENET, 32, 0.5)])
def test_published_presets_hold_the_papers_numbers(
    kind: LSTMConfig | WaveNetConfig, batch: int, frame_s: float
) -> None:
    for preset in (presets.paper, presets.authors):
        config = preset(kind)
        assert (config.batch_size, config.frame_s, config.updates) == (batch, frame_s, 40_000)
        assert config.precision == "float64"
        assert (config.sines.midi_low, config.sines.midi_high) == (21, 127)
        assert (config.sines.settling_s, config.sines.analysed_s) == (0.2, 1.0)
        assert config.optimiser == OptimiserConfig(learning_rate=5e-4, schedule="constant")
        assert config.loss.lowpass == configs.LowpassConfig(pass_hz=12_000, stop_hz=16_000, attenuation_db=80)
    text, program = presets.paper(kind).loss, presets.authors(kind).loss
    assert (text.esr.weight, text.nmr.weight, text.dc_weight) == (1, 1, 0)
    assert (program.esr.weight, program.nmr.weight, program.dc_weight) == (0.5, 0.5, 1)
    assert (program.esr.reduction, program.nmr.reduction) == ("ratio_of_sums", "geometric")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"speed": 2}, "speed: Extra inputs are not permitted, got 2"),
        ({"batch_size": 0}, "batch_size: Input should be greater than 0, got 0"),
        ({"optimiser": {"ema_decay": 1.0}}, "optimiser.ema_decay: Input should be less than 1, got 1.0"),
        ({"sines": {"midi_low": 99, "midi_high": 50}}, "sines: midi_high must be above midi_low = 99.0, got 50.0"),
        ({"frame_s": float("nan")}, "frame_s: Input should be"),
    ],
)
def test_a_fault_of_a_config_is_told_in_one_line(change: dict, line: str) -> None:
    with pytest.raises(ValidationError) as caught:
        FineTuneConfig.model_validate(CONFIG.model_dump() | change)
    told = configs.explain(caught.value)
    assert told.startswith(line)
    assert "\n" not in told


EVERYTHING = CONFIG.model_copy(
    update={
        "loss": configs.LossConfig(
            esr=configs.ESRConfig(reduction="soft_hinge"),
            nmr=configs.NMRConfig(weight=0.1, reduction="soft_hinge", ramp=0.5),
            harmonic=configs.HarmonicConfig(weight=0.1),
            emphasis="a_weighting",
        ),
        "optimiser": CONFIG.optimiser.model_copy(update={"pull": 0.1}),
        "music_rows": 2,
        "music_starts": 1,
        "teacher_oversampling": 2,
    }
)


def noise(samples: int = 9000) -> Pair:
    x = np.random.default_rng(3).uniform(-0.5, 0.5, samples)
    return Pair(x, np.tanh(x))


@pytest.mark.parametrize("table_tones", [None, 8])
def test_a_run_with_all_options_resumes_and_is_traced_once(table_tones: int | None) -> None:
    config = EVERYTHING.model_copy(update={"table_tones": table_tones})
    run = prepare(config, music=noise()).run
    unbroken = loop.advance(run, loop.begin(run))
    assert run.update._cache_size() == 1
    assert {"ESR", "NMR", "DC", "harmonic"} <= unbroken.history[0][0].keys()
    parts: list[loop.Progress] = []
    loop.advance(run, loop.begin(run), on_checkpoint=lambda found: parts.append(found[0]))
    resumed = loop.advance(run, loop.join([parts[0]], loop.begin(run)))
    assert_same_numbers(resumed, unbroken)


def test_music_is_heard_and_learned() -> None:
    """A batch has its rows of music, and without a teacher to leave the music decides."""
    only = CONFIG.model_copy(update={"music_rows": 4, "updates": 3})
    plain, mixed = (prepare(config, music=noise()).run for config in (only.model_copy(update={"music_rows": 0}), only))
    drawn = mixed.draw(keys(0))
    assert drawn.inputs.shape == (1, 1, 3, 8, FRAME)
    np.testing.assert_array_equal(drawn.inputs[:, :, :, :4], plain.draw(keys(0)).inputs)
    np.testing.assert_array_equal(np.asarray(drawn.increment.high)[..., 4:], 0)
    np.testing.assert_allclose(drawn.targets[:, :, :, 4:], np.tanh(drawn.inputs[:, :, :, 4:]), atol=1e-6)
    np.testing.assert_array_equal(drawn.reference[..., :4], 0)
    np.testing.assert_allclose(drawn.reference[..., 4:], np.mean(noise().y ** 2), rtol=1e-6)
    whole = np.concatenate([drawn.lead_in[0, 0, 4], *drawn.inputs[0, 0, :, 4]])
    places = np.lib.stride_tricks.sliding_window_view(np.float32(noise().x), len(whole))
    assert (np.abs(places - whole).max(axis=1) == 0).sum() == 1
    first, second = (loop.advance(run, loop.begin(run)).history[0][0]["ESR"] for run in (plain, mixed))
    assert second > first  # the tones' targets are nearly what the student plays, tanh is not


@pytest.mark.parametrize("factor", [1, 2])
def test_a_start_is_that_of_a_player(factor: int) -> None:
    """From the initial state on teacher and student play silence, then music; all of it counts."""
    config = CONFIG.model_copy(update={"music_rows": 4, "music_starts": 3, "teacher_oversampling": factor})
    run = prepare(config, music=noise()).run
    drawn = run.draw(keys(0))
    np.testing.assert_array_equal(drawn.begins, [[[False] * 5 + [True] * 3]])
    x, y = (np.concatenate(frames[0, 0, :, 5:], axis=1) for frames in (drawn.inputs, drawn.targets))
    sounds = np.abs(x) > 0
    assert len({int(row.argmax()) for row in sounds}) == 3  # silences of different lengths
    for row, sounding in zip(x, sounds, strict=True):
        begin = int(sounding.argmax())
        places = np.lib.stride_tricks.sliding_window_view(np.float32(noise().x), len(row) - begin)
        assert (np.abs(places - row[begin:]).max(axis=1) == 0).sum() == 1
    model, (student,), state = models.build(LSTM), run.students, loop.begin(run).state
    play = oversampling.oversample(
        lambda x: model.apply(student.teacher, x, model.initial_state(student.teacher, x.shape[0]))[0], factor
    )
    np.testing.assert_allclose(y, play(jnp.asarray(x)), atol=1e-6)
    fresh = jax.tree.leaves(jax.tree.map(np.array, state.memory))
    heard = jax.tree.leaves(run.lead_in(state, drawn).memory)
    for before, after in zip(fresh, heard, strict=True):
        np.testing.assert_array_equal(after[:, :, 5:], before[:, :, 5:])
        assert np.all(np.any(after[:, :, :5] != before[:, :, :5], axis=-1))


def test_music_must_be_long_enough_and_of_one_knob_position() -> None:
    config = CONFIG.model_copy(update={"music_rows": 1})
    with pytest.raises(ValueError, match="amp: music_rows needs music of at least 6585 samples, got 100"):
        prepare(config, music=noise(100))
    with pytest.raises(ValueError, match="amp: music_rows needs music of at least 6585 samples, got 0"):
        prepare(config)
    with pytest.raises(ValueError, match="music_rows: not for a model with knobs"):
        prepare(config, LSTMConfig(hidden_size=2, input_size=2), music=noise())
    with pytest.raises(ValidationError, match="music_starts must be at most music_rows = 1, got 2"):
        FineTuneConfig.model_validate({**config.model_dump(), "music_starts": 2})


def test_pull_leads_back_to_the_start() -> None:
    """Without a gradient the way back is exponential: AdamW with the first parameters in the place of zero."""
    optimiser = runs.build_optimiser(OptimiserConfig(learning_rate=0.1, pull=2.0), 10)
    first = {"a": jnp.array([1.0, -2.0])}
    state, params = optimiser.init(first), {"a": jnp.array([3.0, 3.0])}
    for _ in range(5):
        steps, state = optimiser.update({"a": jnp.zeros(2)}, state, params, rate=0.1)
        params = optax.apply_updates(params, steps)
    np.testing.assert_allclose(params["a"], first["a"] + 0.8**5 * np.array([2.0, 5.0]), rtol=tolerances.F64)


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_an_oversampled_teacher_answers_as_its_oversampled_self(factor: int) -> None:
    """Two ways to play it faster: the tone begun between samples, and the rival's resampling of any signal."""
    model = models.build(LSTM)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda a: jnp.asarray(3 * rng.uniform(-1, 1, a.shape)), shapes)
    tones = sines.tones(np.array([441.3, 3001.7]), 0.7, 1.0, sample_rate=RATE, dtype="float64")
    lengths = {"settling": 8820, "analysed": RATE}
    number = harmonics.highest_number(441.3, RATE)
    found = teacher.analyse(model, params, tones, **lengths, number=number, factor=factor)

    def play(x: jax.Array) -> jax.Array:
        return model.apply(params, x, model.initial_state(params, x.shape[0]))[0]

    y = oversampling.oversample(play, factor)(sines.render(tones, sum(lengths.values()) + 4000))
    wanted = harmonics.analyse(y[:, 8820 : 8820 + RATE], tones.increment, number)
    largest = np.abs(wanted.coefficients).max()
    np.testing.assert_allclose(found.coefficients, wanted.coefficients, atol=1e-4 * largest)
    np.testing.assert_allclose(found.offset, wanted.offset, atol=1e-4 * largest)
