"""pretrain.py: a run resumed is a run unbroken, a model learns, files load, and bad input is refused in a line."""

import argparse
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
from jaxalias.signals import playing, recordings
from jaxalias.signals.recordings import Pair
from jaxalias.training import loop, run

RATE = 44_100
CONFIG = PretrainConfig(
    updates=7, batch_size=2, warm_up=50, frame=256, frames=3, validate_every=2,
    optimiser=OptimiserConfig(learning_rate=5e-3, clip_norm=1.0),
)  # fmt: skip
TINY = Architecture(LSTMConfig(hidden_size=3), CONFIG, "guitarml", RATE)


def parts() -> tuple[list[Pair], list[Pair]]:
    x = playing.make(1.0, RATE, 0)
    return recordings.split([Pair(x, devices.DEVICES["clipper"](x[None], RATE)[0])], 0.2)


def make(config: PretrainConfig = CONFIG) -> run.Run:
    return training.prepare(models.build(TINY.model), *parts(), RATE, config)


def test_a_resumed_run_ends_as_an_unbroken_one() -> None:
    prepared = make()
    whole = loop.advance(prepared, loop.begin(prepared))
    saved: list[loop.Progress | None] = []
    broken = make()
    stopped = iter([False] * 4 + [True])
    hooks = loop.Hooks(on_checkpoint=saved.extend, should_stop=lambda: next(stopped))
    loop.advance(broken, loop.begin(broken), hooks)
    again = make()
    assert saved[-1] and saved[-1].updates_done == 4  # in the middle of a segment
    resumed = loop.advance(again, loop.join([saved[-1]], loop.begin(again)))
    assert resumed.updates_done == 7
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_learns() -> None:
    prepared = make(CONFIG.model_copy(update={"updates": 150, "batch_size": 8, "validate_every": 50}))
    began = loop.begin(prepared)
    ended = loop.advance(prepared, began)
    assert ended.best_loss[0] < 0.6 * began.best_loss[0]
    assert ended.best_loss[0] == min(r["validation_loss"] for r in ended.history[0] if "validation_loss" in r)


def test_divergence_stops_the_run_and_names_the_update() -> None:
    prepared = make()
    began = loop.begin(prepared)
    broken = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), began.state.params)
    with pytest.raises(loop.DivergedError, match=r"after update 1 .* loss was nan"):
        loop.advance(prepared, began._replace(state=began.state._replace(params=broken)))


def test_segments_are_slices_of_their_recording_with_its_past_in_front() -> None:
    """Every place of two recordings, the shorter of which holds two segments: input, target and past."""
    config = PretrainConfig(updates=1, batch_size=3, warm_up=5, frame=10, frames=2)
    pairs = [Pair(np.arange(1.0, 22), -np.arange(1.0, 22)), Pair(np.arange(101.0, 131), -np.arange(101.0, 131))]
    material = training._joined(pairs, config)
    places = int(material.ends[-1])
    assert places == 2 + 11
    every = jnp.arange(places)
    source = training.source(models.build(TINY.model), config, RATE, places, every)
    known = training.Known((), {"recording": material}, {})
    batch = source.complete(known, every)
    whole = np.concatenate([batch.lead_in.x, np.reshape(batch.inputs, (places, -1))], axis=1)
    np.testing.assert_array_equal(batch.inputs, -batch.targets)
    for row, first in zip(whole, [1, 2, *range(101, 112)], strict=True):
        begin = 1 if first < 100 else 101
        past = [max(0, n) if n >= begin else 0 for n in range(first - 5, first)]
        np.testing.assert_array_equal(row, [*past, *range(first, first + 20)])
    drawn = np.concatenate([source.draw(known, jax.random.key(i)) for i in range(300)])
    assert set(drawn) == set(range(places))
    np.testing.assert_array_equal(training._in_turn(pairs, 20), [0, 2])


def test_a_recording_that_is_too_short_is_refused() -> None:
    train, held_out = parts()
    with pytest.raises(
        ValueError,
        match=r"validation part must hold 0\.\d+ s .* record more, or give held-out",
    ):
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
    assert found.network.rate == (kind.sample_rate, "file", "") and found.format == kind.format
    jax.tree.map(np.testing.assert_array_equal, found.network.params, jax.tree.map(np.float64, params))
    document = json.loads(path.read_text())
    note = document["metadata"]["training"]["jaxalias"]
    assert set(note.pop("notes", {})) == ({"loudness", "gain"} if kind.format == "nam" else set())
    assert note == {"a": 1}
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


@pytest.mark.slow
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


def test_input_and_target_in_two_channels_of_one_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    x = np.random.default_rng(0).uniform(-0.5, 0.5, 30_000)
    soundfile.write(tmp_path / "both.wav", np.stack([np.r_[np.zeros(99), np.tanh(2 * x)][:30_000], x], 1), RATE)
    args = argparse.Namespace(channel=(2, 1), delay=None)
    pair = pretrain.recorded(tmp_path / "both.wav", tmp_path / "both.wav", RATE, args)
    assert pair.delay == 99
    assert "99 samples late" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ([], "give either --device, or --input and --target"),
        (["--input", "x.wav"], "--target: one for each --input (1), got 0"),
        (["--device", "clipper", "--seconds", "1"], "--seconds: must lie between 10 and 3600"),
        (["--input", "x.wav", "--target", "y.wav"], "x.wav: must be an audio file"),
        (["--input", "clipped.wav", "--target", "clipped.wav"], "clipped.wav: must not be clipped"),
        (["--input", "clipped_48k.wav", "--target", "clipped_48k.wav"], "clipped_48k.wav: must not be clipped"),
        (
            ["--input", "left.wav", "--target", "left.wav", "--channel", "3"],
            "left.wav: --channel must be 1 to 2, got 3",
        ),
        (["--input", "mono.wav", "--target", "right.wav"], "right.wav: its first channel is silent, channel 2 at"),
        (["--input", "left.wav", "--target", "right.wav", "--channel", "1", "2", "1"], "--channel: one or two numbers"),
        (
            ["--input", "left.wav", "--target", "foreign.wav", "--channel", "1"],
            "foreign.wav: must be what a device made",
        ),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], rule: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    soundfile.write("clipped.wav", np.clip(random.normal(size=9000), -1, 1), RATE)
    clipped = np.clip(1.5 * np.sin(np.arange(9000) / 9), -1, 1)  # whose flat tops another rate rounds
    soundfile.write("clipped_48k.wav", clipped, 48_000, "PCM_24")
    x, y = random.uniform(-0.5, 0.5, (2, 20_000))
    for name, left, right in (("left", x, 0 * x), ("right", 0 * x, np.tanh(2 * x)), ("foreign", y, y)):
        soundfile.write(f"{name}.wav", np.stack([left, right], 1), RATE)
    soundfile.write("mono.wav", x, RATE)
    assert call(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert rule in error and error.count("\n") == 1
