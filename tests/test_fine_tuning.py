"""The whole method in one call, without files."""

from pathlib import Path

import jax
import numpy as np
import pytest
import tolerances
from small_runs import CONFIG, KNOB_LSTM, LSTM, RATE, WAVENET, Kind, music_config, noise, params_of

import jaxalias
from jaxalias import fine_tuning, models
from jaxalias.config import RateSearchConfig, SineConfig
from jaxalias.evaluation import played
from jaxalias.signals import playing
from jaxalias.training import loop

SHORT = CONFIG.model_copy(update={"updates": 3, "validate_every": 1})


@pytest.fixture
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Little music, and a folder that has to stay empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fine_tuning, "HELD_OUT_S", 0.2)


def aliasing(kind: Kind) -> tuple[models.Model, models.Params]:
    model = models.build(kind)
    return model, params_of(model)


@pytest.mark.usefixtures("_nowhere")
def test_it_gives_a_student_with_a_lower_loss_and_leaves_the_teacher_and_the_disk_alone(tmp_path: Path) -> None:
    model, teacher = aliasing(WAVENET)
    before, seen = jax.tree.map(np.array, teacher), []
    config = SHORT.model_copy(
        update={
            "music": music_config(1, seconds=0.3), "sines": SineConfig(whole_cycles=True), "updates": 12,
            "optimiser": SHORT.optimiser.model_copy(update={"learning_rate": 1e-3}),
        }
    )  # fmt: skip
    found = jaxalias.fine_tune(model, teacher, config, sample_rate=RATE, on_update=seen.append)
    assert isinstance(found, jaxalias.FineTuned)
    assert [record["update"] for record in found.history] == [record["update"] for record in seen] == [*range(1, 13)]
    assert found.learning_rate == pytest.approx(config.optimiser.learning_rate)
    validated = [record["validation_loss"] for record in found.history]
    assert min(validated) < validated[0]
    assert jax.tree.structure(found.student) == jax.tree.structure(teacher)
    assert any(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), found.student, teacher)))
    jax.tree.map(np.testing.assert_array_equal, teacher, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("_nowhere")
@pytest.mark.parametrize("kind", [LSTM, KNOB_LSTM], ids=["lstm", "knob"])
def test_it_finds_a_rate_and_trains_on_recordings(kind: Kind) -> None:
    """As the run would by hand: the numbers are those of `train`."""
    model, teacher = aliasing(kind)
    config = SHORT.model_copy(
        update={
            "music": music_config(1), "starts": music_config(1, 1), "updates": 5,
            "rate_search": RateSearchConfig(updates=2, most_esr=9.0),
        }
    )  # fmt: skip
    recording = np.float64(noise(20_000).x)
    found = jaxalias.fine_tune(model, teacher, config, sample_rate=RATE, audio=recording)
    assert np.log2(0.01 / found.learning_rate) == pytest.approx(round(np.log2(0.01 / found.learning_rate)), abs=1e-5)
    assert {"music ESR", "starts NMR"} <= found.history[0].keys()
    music = fine_tuning.play_music(model, teacher, config, RATE, recording)
    for name in ("music", "starts"):
        np.testing.assert_array_equal(music[name].training.x, recording)
    task = fine_tuning.Task("again", teacher, config, music=music)
    told: list[tuple] = [(0, 0.01)]
    hooks = loop.Hooks(on_lowered=lambda *lowered: told.append(lowered))
    progress = fine_tuning.train(fine_tuning.run.prepare(model, [task], RATE), hooks)
    assert progress.history[0] == found.history
    np.testing.assert_allclose(
        told, [(0, 0.01 / 2**halvings) for halvings in range(len(told))], rtol=tolerances.F32_ROUNDING
    )
    assert told[-1] == (0, pytest.approx(found.learning_rate))
    for ours, theirs in zip(jax.tree.leaves(found.student), jax.tree.leaves(progress.best), strict=True):
        np.testing.assert_array_equal(ours, theirs[0])


@pytest.mark.usefixtures("_nowhere")
def test_music_to_train_on_is_as_loud_as_what_is_measured() -> None:
    """Pieces of playing are within 3 dB of the quietest in the project's own set; of high playing, within 6 dB."""
    model, teacher = aliasing(LSTM)
    both = {"music": music_config(1, seconds=5.0), "high_playing": music_config(1, seconds=5.0)}
    found = fine_tuning.play_music(model, teacher, SHORT.model_copy(update={**both, "updates": 1000}), RATE)
    phrases, high = (found[name].training.x for name in both)
    for x, quietest_db in ((phrases, -12.0 - 3.0), (high, 20 * np.log10(min(played.PEAKS) / max(played.PEAKS)) - 6.0)):
        peaks = np.max(np.abs(x.reshape(4, -1)), axis=1)
        assert np.all(20 * np.log10(peaks / playing.PHRASE_PEAK) > quietest_db)


@pytest.mark.usefixtures("_nowhere")
def test_where_no_update_lowers_the_loss_the_student_is_the_teacher() -> None:
    model, teacher = aliasing(WAVENET)
    still = SHORT.model_copy(update={"optimiser": CONFIG.optimiser.model_copy(update={"learning_rate": 1e4})})
    found = jaxalias.fine_tune(model, teacher, still, sample_rate=RATE)
    for ours, theirs in zip(jax.tree.leaves(found.student), jax.tree.leaves(teacher), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerances.F32_ROUNDING)


@pytest.mark.usefixtures("_nowhere")
def test_what_was_saved_is_gone_on_with_at_its_rate() -> None:
    """No second search."""
    model, teacher = aliasing(WAVENET)
    task = fine_tuning.Task("amp", teacher, SHORT.model_copy(update={"rate_search": RateSearchConfig(updates=1)}))
    prepared = fine_tuning.run.prepare(model, [task], RATE)
    saved = loop.advance(prepared, loop.begin(prepared, [0.001]), until=2)
    hooks = loop.Hooks(on_lowered=lambda index, rate: pytest.fail("told again"))
    end = fine_tuning.train(prepared, hooks, saved)
    assert end.updates_done == 3
    assert end.state.rate.tolist() == [np.float32(0.001)]
