"""One measurement of models, for every command that ends with the table: sines, pure tones, music."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxalias import evaluation, models
from jaxalias.commands import command_line
from jaxalias.commands.command_line import input_errors
from jaxalias.evaluation import audio_set
from jaxalias.pretraining import devices
from jaxalias.reporting import tables
from weights_import import ModelFile, Network


def candidate_of(
    file: ModelFile, network: Network, role: str, precision: str = "float32", knobs: Sequence[float] | None = None
) -> evaluation.Candidate:
    """One of the models of a file, its knobs in the middle unless said otherwise."""
    positions = command_line.knobs_of(file, network, knobs)
    play = evaluation.player(models.build(network.config), network.params, precision, positions or None)
    return evaluation.Candidate(file.label(network), role, play, knobs=positions)


def load_clips(audio: Sequence[Path], recordings: Sequence[Path], sample_rate: int) -> list[audio_set.Clip]:
    """Clips at the models' rate, with the recordings of the first of them; warnings of the reader go to stderr."""
    with input_errors():
        played = [command_line.read_audio(path, sample_rate) for path in audio]
        recorded = [command_line.read_audio(path, sample_rate) for path in recordings]
    return [audio_set.Clip(path.stem, x, y) for path, x, y in itertools.zip_longest(audio, played, recorded)]


def measure(
    groups: Sequence[Sequence[evaluation.Candidate]],
    sample_rate: int,
    clips: Sequence[audio_set.Clip],
    sine_set: evaluation.SineSet = evaluation.PIANO,
    *,
    device: str | None = None,
    quiet: bool,
) -> tuple[dict[str, Any], list[audio_set.Performance]]:
    """The record of INTERFACE.md, and what the candidates made of the clips; -R against a virtual device if named.

    Args:
        groups: teachers, each the first of its group and compared with none but its own group.
    """
    played = None if device is None else lambda x: jnp.asarray(devices.DEVICES[device](np.asarray(x), sample_rate))

    def one(candidates: Sequence[evaluation.Candidate]) -> tuple[dict[str, Any], list[audio_set.Performance]]:
        steps = len(candidates) * (len(sine_set.levels_db) + len(clips))
        with input_errors(), command_line.progress("measuring", steps, quiet=quiet) as step:
            record = evaluation.evaluate(candidates, sample_rate, sine_set, step, device=played)
            performances = [audio_set.perform(candidates, clip, on_step=step) for clip in clips]
            for model, candidate in zip(record["models"], candidates, strict=True):
                model["alias_to_signal"] = evaluation.alias_to_signal(candidate, sample_rate)
        if performances:
            for model, audio in zip(record["models"], audio_set.evaluate(performances, sample_rate), strict=True):
                model["audio"] = audio
                perfect = {f"audio {name}": evaluation.PERFECT for name in audio_set.METRICS if audio[name] is None}
                if perfect:
                    model["notes"] = model.get("notes", {}) | perfect
        return record, performances

    measured = [one(group) for group in groups]
    models_of_all = [model for record, _ in measured for model in record["models"]]
    performances = [
        played[0]._replace(renders=[render for performance in played for render in performance.renders])
        for played in zip(*(performances for _, performances in measured), strict=True)
    ]
    return measured[0][0] | {"models": models_of_all, "environment": command_line.environment()}, performances


def print_result(record: dict[str, Any], title: str, written: Sequence[Path]) -> None:
    """Table, what stands behind its dashes, and the files, on stdout."""
    command_line.print_table(tables.table_rows(record), title)
    print("\n".join([*tables.remarks(record), *(f"wrote {path}" for path in written)]))
