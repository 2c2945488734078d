"""Every preset: what it holds, and that a run of it compiles once, resumes bit for bit, and needs no 64-bit mode."""

import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from small_runs import KNOB_LSTM, LSTM, WAVENET, Kind, assert_same_numbers, broken_off, prepare

from jaxalias.config import (
    FineTuneConfig,
    LowpassConfig,
    LSTMConfig,
    MusicConfig,
    OptimiserConfig,
    RateSearchConfig,
    WaveNetConfig,
    presets,
)
from jaxalias.training import loop, plan, rate_search

Preset = Callable[[Any], FineTuneConfig]
each_preset = pytest.mark.parametrize("preset", presets.PRESETS.values(), ids=presets.PRESETS.keys())
each_kind = pytest.mark.parametrize("kind", [LSTM, KNOB_LSTM, WAVENET], ids=["lstm", "knob", "wavenet"])


def reduced(config: FineTuneConfig) -> FineTuneConfig:
    """The preset in small: every option that it has, few rows, short frames, two of them where it has several."""

    def fewer(music: MusicConfig | None) -> MusicConfig | None:
        changes = {"rows": 1, "frame_s": 0.05, "frames": min(2, music.frames), "oversampling": 2} if music else {}
        return music and music.model_copy(update=changes)

    sines = config.sines.model_copy(update={"settling_s": 0.02, "analysed_s": 0.1, "midi_low": 50.0})
    optimiser = config.optimiser
    if optimiser.soap:
        optimiser = optimiser.model_copy(update={"soap": optimiser.soap.model_copy(update={"renew_every": 2})})
    search = config.rate_search and config.rate_search.model_copy(update={"updates": 3, "most_esr": 9.0})
    return config.model_copy(
        update={
            "updates": 7, "batch_size": 2, "frame_s": 0.05, "precision": "float32", "validate_every": 3,
            "sines": sines, "optimiser": optimiser, "rate_search": search,
            **{name: fewer(music) for name, music in plan.music_of(config).items()},
        }
    )  # fmt: skip


def different_runs() -> list[Any]:
    """Presets and kinds of models, those left out that differ from another one in their length and rates alone."""
    found: dict[Any, Any] = {}
    for name, preset in presets.PRESETS.items():
        for of_kind, kind in (("lstm", LSTM), ("knob", KNOB_LSTM), ("wavenet", WAVENET)):
            key = of_kind, plan.shared(reduced(preset(kind)).model_copy(update={"preset": ""}))
            found.setdefault(key, pytest.param(preset, kind, id=f"{name}-{of_kind}"))
    return list(found.values())


@pytest.mark.parametrize(("preset", "kind"), different_runs())
def test_a_run_of_a_preset_compiles_once_and_resumes_bit_for_bit(preset: Preset, kind: Kind) -> None:
    """With its search for a rate; broken off inside a batch of tones; all of it in single precision."""
    run, traces = prepare(reduced(preset(kind)), kind)
    begun = rate_search.begin(run)
    parts = loop.split(begun)
    unbroken = loop.advance(run, begun)
    assert unbroken.updates_done == 7
    compiled = run.compiled.update, run.compiled.draw, run.compiled.begin
    counts = [f._cache_size() for f in compiled], len(traces)
    assert counts[0] == [1, len(run.sources), len(run.sources)]
    resumed = loop.join([part for part in parts if part is not None], loop.begin(run))
    assert_same_numbers(broken_off(run, resumed, 5), unbroken)
    assert ([f._cache_size() for f in compiled], len(traces)) == counts
    for leaf in jax.tree.leaves((unbroken.state, unbroken.best)):
        assert leaf.dtype in (np.float32, np.int32)
    assert unbroken.history[0][0]["loss"] != unbroken.history[0][-1]["loss"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [LSTM, WAVENET], ids=lambda kind: kind.kind)
def test_a_run_has_the_same_losses_without_64_bit_mode(kind: Kind) -> None:
    """The same tones, excerpts, silences and signs too: a run on a TPU is the same experiment."""
    config = reduced(presets.fast(kind)).model_copy(update={"rate_search": None, "updates": 4})

    def losses() -> np.ndarray:
        run = prepare(config, kind).run
        end = loop.advance(run, loop.begin(run))
        assert {leaf.dtype for leaf in jax.tree.leaves(end.state.params)} == {np.dtype("float32")}
        named = [name for name in end.history[0][0] if not name.startswith("validation")]
        return np.array([[record[name] for name in named] for record in end.history[0]])

    double = losses()
    with jax.enable_x64(False):
        single = losses()
    np.testing.assert_allclose(single, double, rtol=2e-3, atol=1e-6)  # rounding of targets, in a small difference


@each_preset
@pytest.mark.parametrize("kind", [LSTM, WAVENET], ids=lambda kind: kind.kind)
def test_presets_are_valid_and_survive_json(preset: Preset, kind: LSTMConfig | WaveNetConfig) -> None:
    config = preset(kind)
    assert presets.PRESETS[config.preset] is preset
    assert FineTuneConfig.model_validate(json.loads(json.dumps(config.model_dump(mode="json")))) == config
    assert round(config.sines.analysed_s / config.frame_s, 9).is_integer()


@each_preset
def test_a_model_with_a_knob_is_trained_as_one_without(preset: Preset) -> None:
    assert preset(KNOB_LSTM) == preset(LSTM)


@pytest.mark.parametrize(("kind", "batch", "frame_s"), [(LSTM, 40, 0.1), (WAVENET, 32, 0.5)])
def test_published_presets_hold_the_papers_numbers(kind: Kind, batch: int, frame_s: float) -> None:
    for preset in (presets.paper, presets.authors):
        config = preset(kind)
        assert (config.batch_size, config.frame_s, config.updates) == (batch, frame_s, 40_000)
        assert config.precision == "float64"
        assert (config.sines.midi_low, config.sines.midi_high) == (21, 127)
        assert (config.sines.settling_s, config.sines.analysed_s) == (0.2, 1.0)
        assert config.optimiser == OptimiserConfig(learning_rate=5e-4, schedule="constant")
        assert config.loss.lowpass == LowpassConfig(pass_hz=12_000, stop_hz=16_000, attenuation_db=80)
        assert plan.music_of(config) == {} and config.rate_search is None
    text, program = presets.paper(kind).loss, presets.authors(kind).loss
    assert (text.esr.weight, text.nmr.weight, text.dc_weight) == (1, 1, 0)
    assert (program.esr.weight, program.nmr.weight, program.dc_weight) == (0.5, 0.5, 1)
    assert (program.esr.reduction, program.nmr.reduction) == ("ratio_of_sums", "geometric")


@each_preset
@each_kind
def test_music_of_ones_own_has_at_least_the_rows_that_are_asked_for(preset: Preset, kind: Kind) -> None:
    """In a source of its own, with all that a preset has beside it; a preset that has more keeps them.

    The target has no aliases even of notes played high.
    """
    config = preset(kind)
    for rows in (1, 30):
        found = presets.with_music(config, kind, rows)
        assert found.music is not None
        assert found.music.rows == max(rows, config.music.rows if config.music else 0)
        assert found.music.oversampling == 8
        assert found.model_copy(update={"music": config.music}) == config
        if config.music:
            as_it_was = {"rows": config.music.rows, "oversampling": config.music.oversampling}
            assert found.music.model_copy(update=as_it_was) == config.music


def test_all_models_search_for_their_rate() -> None:
    """Gauss-Newton steps begin with the first factorisation, so their trial goes on after it."""
    assert presets.fast(LSTM).rate_search == RateSearchConfig()
    found = presets.fast(WAVENET)
    assert found.rate_search and found.optimiser.curvature
    assert found.rate_search.updates >= 3 * found.optimiser.curvature.renew_every
