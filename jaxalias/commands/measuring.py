"""One measurement of models, for every command that ends with the table: sines, pure tones, and what is played."""

import itertools
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxalias import evaluation, models
from jaxalias.commands import long_runs, reading, writing
from jaxalias.commands.errors import input_errors
from jaxalias.evaluation import audio_set, played, verdict
from jaxalias.pretraining import devices
from jaxalias.reporting import tables
from weights_import import ModelFile, Network

WIDTH = 100  # of the verdict on a terminal


def candidate_of(
    file: ModelFile, network: Network, role: str, precision: str = "float32", knobs: Sequence[float] | None = None
) -> evaluation.Candidate:
    """One of the models of a file. Its knobs are in the middle unless `knobs` gives their positions."""
    positions = reading.knobs_of(file, network, knobs)
    play = evaluation.player(models.build(network.config), network.params, precision, positions or None)
    return evaluation.Candidate(file.label(network), role, play, knobs=positions, notes=file.notes)


def load_clips(
    audio: Sequence[Path], recorded: Sequence[Path], sample_rate: int,
    channels: tuple[int | None, int | None] = (None, None), delay: int | None = None,
) -> list[audio_set.Clip]:  # fmt: skip
    """Clips at the models' rate, with the recordings of the first of them; warnings of the reader go to stderr.

    Args:
        channels: that of the clips and that of the recordings, from 1; None is the first.
        delay: of the recordings, in samples at the models' rate; None finds it.
    """
    clips = []
    with input_errors():
        for path, other in itertools.zip_longest(audio, recorded):
            x = reading.read_audio(path, sample_rate, channels[0])
            clip = audio_set.Clip(path.stem, x)
            if other is not None:
                y = reading.read_audio(other, sample_rate, channels[1], reference=True)
                clip = audio_set.recorded(clip, y, str(other), delay)
            clips.append(clip)
    return clips


def measure(
    groups: Sequence[Sequence[evaluation.Candidate]],
    sample_rate: int,
    clips: Sequence[audio_set.Clip],
    sine_set: evaluation.SineSet = evaluation.PIANO,
    *,
    device: str | None = None,
    alias_free: bool = False,
    quiet: bool,
) -> tuple[dict[str, Any], list[audio_set.Performance]]:
    """The record of INTERFACE.md, and what the candidates made of the clips; -R against a virtual device if named.

    Args:
        groups: teachers, each the first of its group and compared with none but its own group.
        alias_free: compare what is played with the alias-free teacher too: the clips and, before them among what is
            returned, the project's own sets; a verdict on each student.
    """
    real = None if device is None else lambda x: jnp.asarray(devices.DEVICES[device](np.asarray(x), sample_rate))

    def one(candidates: Sequence[evaluation.Candidate]) -> tuple[dict[str, Any], list[audio_set.Performance]]:
        steps = len(candidates) * (len(sine_set.levels_db) + len(clips) + alias_free * (1 + len(clips)))
        with input_errors(), long_runs.progress("measuring", steps, quiet=quiet) as step:
            record = evaluation.evaluate(candidates, sample_rate, sine_set, step, device=real)
            performances = [audio_set.perform(candidates, clip, on_step=step) for clip in clips]
            for model, candidate in zip(record["models"], candidates, strict=True):
                model["alias_to_signal"] = evaluation.alias_to_signal(candidate, sample_rate)
            if performances:
                add_clips(record["models"], audio_set.evaluate(performances, sample_rate))
            if alias_free:
                performances = hear_clips(candidates, performances, record["models"], sample_rate, step)
                performances = [*hear_sets(candidates, record["models"], sample_rate, step), *performances]
        return record, performances

    measured = [one(group) for group in groups]
    models_of_all = [model for record, _ in measured for model in record["models"]]
    performances = [
        same[0]._replace(renders=[render for performance in same for render in performance.renders])
        for same in zip(*(performances for _, performances in measured), strict=True)
    ]
    record = measured[0][0] | {"models": models_of_all, "environment": writing.environment()}
    notes = {candidate.path: dict(candidate.notes) for group in groups for candidate in group if candidate.notes}
    record |= ({"notes": notes} if notes else {}) | ({"verdict": verdict.verdicts(record)} if alias_free else {})
    return record, performances


def add_clips(entries: Sequence[dict[str, Any]], heard: Sequence[dict[str, Any]]) -> None:
    """ESR and MRSL of the clips into the entries of the models, the reasons of what is undefined among their notes."""
    for model, audio in zip(entries, heard, strict=True):
        add_notes(model, "audio", audio.pop("notes", {}))
        model["audio"] = audio


def hear_clips(
    candidates: Sequence[evaluation.Candidate],
    performances: Sequence[audio_set.Performance],
    entries: Sequence[dict[str, Any]],
    sample_rate: int,
    on_step: Callable[[str], None],
) -> list[audio_set.Performance]:
    """Compare the clips with the alias-free teacher: figures into the entries, its renders to the performances."""
    clips = [played.measure(candidates, performance.clip.x[None], sample_rate, on_step) for performance in performances]
    for index, model in enumerate(entries if clips else ()):
        compared = [clip.models[index] for clip in clips]
        own, teacher = ([sums for one in compared for sums in getattr(one, of)] for of in ("own", "teacher"))
        add_notes(model, "audio", played.notes(own, teacher))
        model["audio"] |= played.record(own, teacher)
        for row, comparison in zip(model["audio"]["clips"], compared, strict=True):
            row |= played.record(comparison.own, comparison.teacher)
    return [
        performance._replace(alias_free=clip.alias_free[0])
        for performance, clip in zip(performances, clips, strict=True)
    ]


def hear_sets(
    candidates: Sequence[evaluation.Candidate],
    entries: Sequence[dict[str, Any]],
    sample_rate: int,
    on_step: Callable[[str], None],
) -> list[audio_set.Performance]:
    """Play the project's own sets: figures into the entries, those of the oversampled teacher as its "rivals".

    Returns:
        What the candidates made of the first signal of each set.
    """
    x = played.own_sets(sample_rate)
    found = played.measure(candidates, x, sample_rate, on_step, rivals=played.RIVALS)
    rivals = [{"oversample": factor} for factor in found.rivals]
    shown = []
    for name, rows in played.SETS.items():
        for entry, comparison in zip([*entries, *rivals], [*found.models, *found.rivals.values()], strict=True):
            entry.setdefault("played", {})[name] = played.record_of_set(name, comparison)
            add_notes(entry, name, played.notes(comparison.own[rows], comparison.teacher[rows]))
        first = rows.start
        renders = [comparison.output[first] for comparison in found.models]
        clip = audio_set.Clip(name.replace("_", " "), x[first])
        performance = audio_set.Performance(
            clip, renders, renders[0], 0, 1, (0, len(renders[0])), found.alias_free[first], own_set=True
        )
        shown.append(performance)
    if rivals:
        entries[0]["rivals"] = rivals
    return shown


def add_notes(entry: dict[str, Any], prefix: str, reasons: dict[str, str]) -> None:
    """Reasons of undefined figures among the notes of an entry."""
    if reasons:
        entry["notes"] = entry.get("notes", {}) | {f"{prefix} {name}": why for name, why in reasons.items()}


def print_result(record: dict[str, Any], title: str, written: Sequence[Path]) -> None:
    """The verdict, the table, what stands behind its dashes, and the files, on stdout."""
    print("".join(f"{textwrap.fill(line, WIDTH)}\n\n" for line in record.get("verdict", [])), end="")
    writing.print_table(tables.table_rows(record), title)
    print("\n".join([*tables.remarks(record), *(f"wrote {path}" for path in written)]))
