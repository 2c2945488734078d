"""Importance sampling: what is drawn more often weighs less, so that the mean of the loss is that of uniform draws."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances
from scipy import stats
from small_runs import CONFIG, KNOB_LSTM, RATE, WAVENET, music_config, noise, tasks_of

from jaxalias import models
from jaxalias.config import LossConfig, NMRConfig, SineConfig
from jaxalias.losses import terms
from jaxalias.signals import phase
from jaxalias.signals.recordings import Pair
from jaxalias.training import importance, plan
from jaxalias.training.plan import Played
from jaxalias.training.sources import Known, Source, music

EVEN = (np.arange(40_000) + 0.5) / 40_000
LOUDNESS = np.array([1.0, 0.2, 5.0, 0.0, 1.3])
LOUD = slice(20_000, 24_000)  # where the teacher of MUSIC aliases


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_places_have_the_density_and_weigh_its_inverse(dtype: str) -> None:
    """So the weighted mean of any function is its mean over uniform places."""
    place, weight = importance.place(importance.chances(LOUDNESS), jnp.asarray(EVEN, dtype))
    assert place.dtype == weight.dtype == dtype
    assert np.all((place >= 0) & (place < 1)) and np.all(np.diff(place) >= 0)
    wanted = 0.5 + 0.5 * LOUDNESS / LOUDNESS.mean()
    np.testing.assert_allclose(np.histogram(place, 5, (0, 1))[0] / 8000, wanted, atol=3 / 8000)
    for function in (np.sin, np.exp, lambda at: at > 0.45):
        wanted_mean = np.mean(function(EVEN))
        np.testing.assert_allclose(np.mean(np.asarray(weight) * function(np.asarray(place))), wanted_mean, atol=1e-4)
    assert np.max(weight) <= 2


def test_without_chances_places_are_uniform_and_have_no_weights() -> None:
    even = jnp.asarray(EVEN)
    place, weight = importance.place(None, even)
    assert place is even and weight is None


def drawn(name: str, own: np.ndarray | None, rows: int = 4000, importance: bool = True) -> tuple[Source, Known]:
    """A source of tones that repeat and of music whose target differs from the teacher's output in one place."""
    nmr = NMRConfig(weight=0.1, reduction="pseudo_huber", knee=0.03)
    config = CONFIG.model_copy(
        update={
            "batch_size": rows,
            "sines": SineConfig(midi_low=60.0, midi_high=110.0, quietest_db=-40.0, whole_cycles=True, importance=True),
            "loss": LossConfig(nmr=nmr, aliases=nmr, lowpass=None),
            "music": music_config(rows, frames=1, importance=importance, loss=LossConfig(nmr=nmr, lowpass=None)),
        }
    )
    x = 0.01 * noise(40_000).x
    played = Played(Pair(x, np.tanh(x)), noise(), own)
    model, (task,) = models.build(WAVENET), tasks_of(config, WAVENET, {"music": played})
    (source,) = (each for each in plan.sources_of(model, model, config, RATE) if each.name == name)
    return source, plan.known_of(model, task, 1, RATE)


def aliased() -> np.ndarray:
    y = np.tanh(0.01 * noise(40_000).x)
    y[LOUD] += 0.1 * np.sin(0.5 * np.arange(4000))
    return y


def test_excerpts_where_the_teacher_aliases_are_drawn_more_often() -> None:
    """And count less, so that the weighted mean of a function of the place is its mean over all places."""
    source, known = drawn("music", aliased())
    choices = source.draw(known, jax.random.key(0))
    places = np.asarray(choices.place) * (40_000 - 2048)
    inside = (places > LOUD.start - 1500) & (places < LOUD.stop - 500)
    density, usual = inside.mean(), 5000 / (40_000 - 2048)
    assert density > 3 * usual
    assert np.mean(choices.weight[inside]) < 0.5 and np.max(choices.weight) <= 2
    batch = source.complete(known, choices)
    np.testing.assert_array_equal(batch.weight, choices.weight)
    weighted = np.asarray(choices.weight) * np.asarray(choices.place)
    assert np.mean(weighted) == pytest.approx(0.5, abs=5 * np.std(weighted) / np.sqrt(4000))


def test_aliases_of_long_music_are_measured_some_frames_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    _, known = drawn("music", aliased(), rows=2)
    monkeypatch.setattr(music, "_FRAMES", 3)
    _, in_parts = drawn("music", aliased(), rows=2)
    wanted = known.chances["music"].density
    assert len(wanted) > 3
    np.testing.assert_allclose(in_parts.chances["music"].density, wanted, rtol=tolerances.F32_ROUNDING)


def test_without_importance_excerpts_are_drawn_uniformly() -> None:
    source, known = drawn("music", aliased(), importance=False)
    choices = source.draw(known, jax.random.key(0))
    assert "music" not in known.chances and choices.weight is None
    assert stats.kstest(choices.place, "uniform").pvalue > tolerances.UNLIKELY


def test_tones_with_loud_aliases_are_drawn_more_often() -> None:
    """High and loud ones of a model that clips. The weighted means of pitch and level are those of uniform draws."""
    source, known = drawn("tones", aliased())
    choices = source.draw(known, jax.random.key(0))
    midi = 69 + 12 * np.log2(np.asarray(phase.to_ratio(choices.tones.increment)) * RATE / 440)
    level = 20 * np.log10(np.asarray(choices.tones.amplitude))
    weight = np.asarray(choices.weight)
    assert midi.min() > 59 and midi.max() < 111 and level.min() >= -40 and level.max() <= 0
    assert midi.mean() > 86 and level.mean() > -19
    for values, middle in ((midi, 85), (level, -20)):
        spread = np.std(weight * (values - middle)) / np.sqrt(len(values))
        assert np.mean(weight * (values - middle)) == pytest.approx(0, abs=5 * spread)
    high = weight[(midi > 100) & (level > -6)]
    assert high.mean() < weight.mean()
    np.testing.assert_allclose(np.mean(known.chances["tones"].density), 1, rtol=tolerances.F32_ROUNDING)


def test_validation_tones_are_those_of_training() -> None:
    """A few of them have the loss of aliases that many drawn tones have, within a fifth."""
    source, known = drawn("tones", aliased())
    quiet = jax.tree.map(lambda a: 0.7 * a, known.teacher)

    @jax.jit
    def aliases(choices: Any) -> jax.Array:
        batch = source.complete(known, choices)
        (term,) = (each for each in source.terms if "aliases" in each.name)
        estimate, _ = source.play(quiet, jax.tree.map(lambda a: a[:, 0], batch.inputs), ())
        measure = term.measure(estimate, batch.targets[:, 0], batch.about)
        return terms.mean(term, measure, batch.weight)

    few, many = source.held_out(known), source.draw(known, jax.random.key(1))
    assert (len(few.weight), len(many.weight)) == (48, 4000)
    assert float(aliases(few)) == pytest.approx(float(aliases(many)), rel=0.2)
    assert float(aliases(many)) > 0


def test_what_cannot_be_weighted_is_refused() -> None:
    """A loss that is no mean over rows; music without its aliases; what the teacher plays at each draw."""
    geometric, periodic = (
        LossConfig(nmr=NMRConfig(reduction="geometric")),
        SineConfig(whole_cycles=True, importance=True),
    )
    for make, message in (
        (lambda: SineConfig(importance=True), "sines.importance needs sines.whole_cycles = true"),
        (lambda: CONFIG.model_copy(update={"sines": periodic, "loss": geometric}), "sines.importance needs a mean"),
        (lambda: CONFIG.model_copy(update={"sines": periodic, "loss": LossConfig(dc_weight=1.0)}), "and no DC"),
        (lambda: music_config(importance=True, loss=geometric), "importance needs a mean over rows"),
        (lambda: music_config(importance=True, oversampling=1), "importance needs oversampling above 1"),
        (
            lambda: CONFIG.model_copy(update={"starts": music_config(importance=True)}),
            "starts.importance must be false",
        ),
        (lambda: drawn("music", None), "music.importance needs the teacher's output at its own rate, got none"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    config = CONFIG.model_copy(update={"music": music_config(importance=True)})
    with pytest.raises(ValueError, match=r"music.importance needs a model without knobs"):
        plan.sources_of(models.build(KNOB_LSTM), models.build(KNOB_LSTM), config, RATE)
