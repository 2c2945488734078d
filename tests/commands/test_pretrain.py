"""pretrain.py: a run resumed is a run unbroken, a model learns, files load, and bad input is refused in a line."""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

import weights_import
from jaxalias import models
from jaxalias.commands import command_line, pretrain
from jaxalias.config import LSTMConfig, OptimiserConfig, PretrainConfig
from jaxalias.pretraining import devices, training
from jaxalias.pretraining.architectures import ARCHITECTURES, Architecture
from jaxalias.pretraining.training import DivergedError, Progress
from jaxalias.signals import playing, recordings
from jaxalias.signals.recordings import Pair

RATE = 44_100
CONFIG = PretrainConfig(
    updates=7, batch_size=2, warm_up=50, frame=256, frames=3, validate_every=2, checkpoint_every=2,
    optimiser=OptimiserConfig(learning_rate=5e-3, clip_norm=1.0),
)  # fmt: skip
TINY = Architecture(LSTMConfig(hidden_size=3), CONFIG, "guitarml", RATE)


def parts() -> tuple[list[Pair], list[Pair]]:
    x = playing.make(1.0, RATE, 0)
    return recordings.split([Pair(x, devices.DEVICES["clipper"](x[None], RATE)[0])], 0.2)


def make(config: PretrainConfig = CONFIG) -> training.Run:
    return training.prepare(models.build(TINY.model), *parts(), RATE, config)


def test_a_resumed_run_ends_as_an_unbroken_one() -> None:
    run = make()
    whole = training.advance(run, training.begin(run))
    saved: list[Progress] = []
    broken = make()
    stopped = iter([False] * 4 + [True])
    training.advance(
        broken,
        training.begin(broken),
        on_checkpoint=lambda progress: saved.append(
            progress._replace(state=jax.tree.map(jnp.copy, progress.state), history=list(progress.history))
        ),
        should_stop=lambda: next(stopped),
    )
    again = make()
    resumed = training.advance(again, saved[-1])
    assert saved[-1].updates_done == 4 and resumed.updates_done == 7  # in the middle of a segment
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_learns() -> None:
    run = make(CONFIG.model_copy(update={"updates": 150, "batch_size": 8, "validate_every": 50}))
    began = training.begin(run)
    ended = training.advance(run, began)
    assert ended.best_loss < 0.5 * began.best_loss
    assert ended.best_loss == min(r["validation_loss"] for r in ended.history if "validation_loss" in r)


def test_divergence_stops_the_run_and_names_the_update() -> None:
    run = make()
    began = training.begin(run)
    broken = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), began.state.params)
    with pytest.raises(DivergedError, match="of update 1 is nan"):
        training.advance(run, began._replace(state=began.state._replace(params=broken)))


def test_a_recording_that_is_too_short_is_refused() -> None:
    train, held_out = parts()
    with pytest.raises(ValueError, match="validation part must hold 768 samples"):
        training.prepare(models.build(TINY.model), train, [Pair(*p[:2])._replace(x=p.x[:9]) for p in held_out],
                            RATE, CONFIG)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "count"),
    [("lstm-40", 6921), ("nam-standard", 13_801), ("nam-lite", 6553), ("nam-feather", 3025), ("nam-nano", 841)],
)
def test_sizes_are_those_that_players_know(name: str, count: int) -> None:
    """Proteus's LSTM and NAM's WaveNets, whose files have one number more, the head's scale."""
    model = models.build(ARCHITECTURES[name].model)
    assert models.parameter_count(jax.eval_shape(model.init, jax.random.key(0))) == count
    if model.receptive_field is not None:
        assert model.receptive_field == 4093 == ARCHITECTURES[name].training.warm_up + 1


@pytest.mark.parametrize("name", ["lstm-40", "nam-nano"])
def test_files_load_as_what_was_saved(name: str, tmp_path: Path) -> None:
    kind = ARCHITECTURES[name]
    params = models.build(kind.model).init(jax.random.key(0))
    path = tmp_path / "model"
    weights_import.save(path, pretrain.model_file(kind, params, {"a": 1}))
    found = weights_import.load(path)
    assert found.sample_rate == kind.sample_rate and found.format == kind.format
    jax.tree.map(np.testing.assert_array_equal, found.network.params, jax.tree.map(np.float64, params))
    document = json.loads(path.read_text())
    assert document["metadata"]["training"]["jaxalias"] == {"a": 1}
    if kind.format == "nam":
        assert document["version"] == "0.5.4"
        assert -120 < document["metadata"]["loudness"] < 0 and 0 <= document["metadata"]["gain"] <= 1


def call(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> int:
    monkeypatch.setattr(sys, "argv", ["pretrain.py", *map(str, arguments)])
    try:
        command_line.run(pretrain.main)
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_from_recordings_to_a_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(pretrain, "ARCHITECTURES", {"tiny": TINY})
    monkeypatch.setattr(pretrain, "DEFAULT", "tiny")
    assert call(monkeypatch, "--signal", tmp_path / "sent.wav", "--seconds", 10, "--sample-rate", RATE) == 0
    x = soundfile.read(tmp_path / "sent.wav")[0]
    y = np.pad(devices.DEVICES["clipper"](x[None], RATE)[0], (321, 0))[: len(x)]
    soundfile.write(tmp_path / "back.wav", -0.5 * y, RATE, "FLOAT")
    arguments = ["--input", tmp_path / "sent.wav", "--target", tmp_path / "back.wav", "--run-dir", tmp_path / "run",
                 "--output", tmp_path / "model.json", "--json", tmp_path / "result.json"]  # fmt: skip
    assert call(monkeypatch, *arguments) == 0
    said = capsys.readouterr().err
    assert "321 samples late, turned over" in said
    assert weights_import.load(tmp_path / "model.json").network.config == TINY.model
    result = json.loads((tmp_path / "result.json").read_text())
    assert len(result["held_out_esr_db"]) == 1 and len(result["history"]) == 7
    assert call(monkeypatch, *arguments) == 0
    assert "resuming after update 7 of 7" in capsys.readouterr().err
    assert call(monkeypatch, *arguments, "--seed", 1) == 2
    assert "holds another run: config.seed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ([], "give either --device, or --input and --target"),
        (["--input", "x.wav"], "--target: one for each --input (1), got 0"),
        (["--device", "clipper", "--seconds", "1"], "--seconds: must lie between 10 and 3600"),
        (["--input", "x.wav", "--target", "y.wav"], "x.wav: must be an audio file"),
        (["--input", "clipped.wav", "--target", "clipped.wav"], "clipped.wav: must not be clipped"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], rule: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    soundfile.write("clipped.wav", np.clip(np.random.default_rng(0).normal(size=9000), -1, 1), RATE)
    assert call(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert rule in error and error.count("\n") == 1
