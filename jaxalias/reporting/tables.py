"""Tables of a record of an evaluation, as rows of text, header first."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxalias.evaluation import audio_set

Rows = list[list[str]]
_UNKNOWN = {"ESR": None, "NMR": None, "audible": None}
_NOT_PLAYED = {"self": _UNKNOWN, "alias_free": _UNKNOWN}
_AGAINST = {"self": "itself", "alias_free": "the teacher"}


def table_rows(record: dict[str, Any], average: str = "metrics") -> Rows:
    """One row per model: the sine set in dB and, if they were played, music and the project's own sets.

    For these sets: the NMR relative to the alias-free teacher, and the share of frames in which it is audible. A dash
    means undefined.

    Args:
        record: of `evaluation.evaluate`, its models with or without "audio".
        average: which figure, "metrics" (the headline), "metrics_all" or "metrics_db" (see INTERFACE.md); the
            last two concern the sine set alone.
    """
    headline = average == "metrics"
    with_audio = headline and any(model.get("audio") for model in record["models"])
    sets = _sets(record) if headline else []
    audio_metrics = audio_set.METRICS if with_audio else ()
    names, audio_names = _columns(record), [f"audio {name}" for name in audio_metrics]
    shares = [f"{name.replace('_', ' ')} {what}" for name in sets for what in ("NMR (dB)", "audible (%)")]
    rows = [["model", "role", *(f"{name} (dB)" for name in (*names, *audio_names)), *shares]]
    for model in record["models"]:
        audio = model.get("audio") or {}
        values = [model[average].get(name) for name in names] + [audio.get(name) for name in audio_metrics]
        found = [model.get("played", {}).get(name, _NOT_PLAYED)["alias_free"] for name in sets]
        cells = [cell for figures in found for cell in (number(figures["NMR"]), share(figures["audible"]))]
        rows.append([*_who(model), *map(number, values), *cells])
    return rows


def played_rows(record: dict[str, Any]) -> Rows:
    """One row per model, piece and reference, also for the teacher at rates that are not in the headline table."""
    rows = [["model", "role", "piece", "against", "ESR (dB)", "NMR (dB)", "audible (%)"]]
    for model in record["models"]:
        at_rates = [{**model, **rival} for rival in model.get("rivals", ())]
        for entry in (model, *at_rates):
            for piece, compared in _pieces(entry, clips=entry is model):
                for against, words in _AGAINST.items():
                    figures = compared[against]
                    cells = [number(figures["ESR"]), number(figures["NMR"]), share(figures["audible"])]
                    rows.append([*_who(entry), piece, words, *cells])
    return rows


def level_rows(record: dict[str, Any]) -> Rows:
    """One row per model and level of the sine set: the dB of the mean over the tones of that level."""
    names = _columns(record)
    rows = [["model", "role", "level (dB)", *(f"{name} (dB)" for name in names)]]
    for model in record["models"]:
        for index, level_db in enumerate(record["sine_set"]["levels_db"]):
            values = (model["per_level"][name][index] for name in names)
            rows.append([*_who(model), f"{level_db:g}", *map(number, values)])
    return rows


def clip_rows(record: dict[str, Any]) -> Rows:
    """One row per model and piece of music; only the header if there was none."""
    rows = [["model", "role", "clip", "against", *(f"{name} (dB)" for name in audio_set.METRICS)]]
    for model in record["models"]:
        for clip in (model.get("audio") or {}).get("clips", []):
            values = (clip[name] for name in audio_set.METRICS)
            rows.append([*_who(model), clip["name"], clip["reference"], *map(number, values)])
    return rows


def alias_rows(record: dict[str, Any]) -> Rows:
    """One row per model and set of tones of `evaluation.alias_to_signal`; only the header if it was not measured."""
    bands = {"full": "all (dB)", "below_20_khz": "below 20 kHz (dB)", "below_16_khz": "below 16 kHz (dB)"}
    rows = [["model", "role", "tones (Hz)", "level (dB)", *bands.values()]]
    for model in record["models"]:
        for tone in model.get("alias_to_signal", []):
            f0_hz = " + ".join(f"{f0:.0f}" for f0 in tone["f0_hz"])
            rows.append([*_who(model), f0_hz, f"{tone['level_db']:g}", *(number(tone[band]) for band in bands)])
    return rows


def tables(record: dict[str, Any]) -> dict[str, Rows]:
    """All tables that have rows, by caption, the headline first."""
    found = {
        "Decibels, less is better: mean over the levels of the dB of each level's mean": table_rows(record),
        "Each level of the sine set": level_rows(record),
        "dB of the mean over all tones": table_rows(record, "metrics_all"),
        "Mean of the dB of all tones": table_rows(record, "metrics_db"),
        "Aliases against signal, single tones": alias_rows(record),
        "Pieces of music": clip_rows(record),
        "What is played, against alias-free answers (8 times the rate)": played_rows(record),
    }
    return {caption: rows for caption, rows in found.items() if len(rows) > 1}


def remarks(record: dict[str, Any]) -> list[str]:
    """The reasons for dashes and omissions, each once."""
    return sorted({f"{name}: {why}" for model in record["models"] for name, why in model.get("notes", {}).items()})


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table from header and rows."""
    lines = ["| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]) + "\n"


def csv_table(rows: Sequence[Sequence[str]]) -> str:
    """Comma-separated values, quoted where necessary."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _columns(record: dict[str, Any]) -> list[str]:
    """The measured metrics; -R only if there was a device."""
    return list(record["models"][0]["metrics"])


def _sets(record: dict[str, Any]) -> list[str]:
    """The project's own sets that were played."""
    return list(dict.fromkeys(name for model in record["models"] for name in model.get("played", ())))


def _pieces(model: dict[str, Any], clips: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Everything that was played through a model and compared: sets, their levels, and the user's clips."""
    for name, found in model.get("played", {}).items():
        yield name.replace("_", " "), found
        for level in found.get("levels", ()):
            yield f"{name.replace('_', ' ')}, peak {level['peak']:g}", level
    for clip in (model.get("audio") or {}).get("clips", ()) if clips else ():
        if "alias_free" in clip:
            yield clip["name"], clip


def _who(model: dict[str, Any]) -> list[str]:
    factor, knobs = model.get("oversample", 1), " ".join(f"{knob:g}" for knob in model.get("knobs", ()))
    position = f" (knobs {knobs})" if knobs else ""
    return [Path(model["path"]).name + position, model["role"] + (f" {factor}x" if factor > 1 else "")]


def share(value: float | None) -> str:
    """In percent."""
    return "-" if value is None else f"{100 * value:.1f}"


def number(value: float | None) -> str:
    """With one decimal."""
    return "-" if value is None else f"{value:.1f}"
