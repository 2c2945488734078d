"""The record of a sweep as tables and pictures, written anew whenever a point is done."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxalias.commands import writing
from jaxalias.commands.grid import value_text
from jaxalias.reporting import pareto, pictures, tables
from jaxalias.reporting.tables import Rows

METRICS = ("ESR-T", "NMR-T", "HESR-T", "ESR-S", "NMR-S")
AUDIO_METRICS = ("audio ESR", "audio MRSL")
_ABOUT = (
    "Decibels, less is better. front: no other point is better in NMR-S and HESR-T. minutes: of training, "
    "all updates; of points trained together each one's share. A dash: no difference, or no value (see note)."
)


def figures(measured: dict[str, Any]) -> dict[str, float | None]:
    """The headline metrics of one model of a measurement, those on music under "audio NAME"."""
    audio = measured.get("audio") or {}
    found = {name: measured["metrics"][name] for name in METRICS}
    return found | {name: audio[name.removeprefix("audio ")] for name in AUDIO_METRICS if audio}


def mark_front(points: Sequence[dict[str, Any]]) -> None:
    """Write into each point of a model whether it is on the front of NMR-S against HESR-T."""
    found = [figures(point["measured"]) if point["measured"] else {} for point in points]
    costs = np.array([[known.get(name) for name in (pareto.ALIASING, "HESR-T")] for known in found], float)
    for point, on in zip(points, pareto.front(costs.reshape(-1, 2)), strict=True):
        point["front"] = bool(on)


def write(folder: Path, record: dict[str, Any]) -> list[Path]:
    """Write `table.md`, `table.csv` and a picture a model; returns the paths."""
    sections, lines = [f"{_ABOUT}\n"], []
    for block in record["models"]:
        sections.append(f"## {title(block)}\n\n{tables.markdown_table(rows(block, varied(block)))}")
        header, *values = rows(block, keys(block), digits=None)
        lines += [[block["name"], *line] for line in values]
    markdown, table = folder / "table.md", folder / "table.csv"
    writing.write_text(markdown, "\n".join(sections))
    writing.write_text(table, tables.csv_table([["model", *header], *lines]))
    return [markdown, table, *(draw(folder, block) for block in record["models"])]


def draw(folder: Path, block: dict[str, Any]) -> Path:
    """The picture of a model."""
    path = folder / f"pareto_{block['name']}.png"
    changing = varied(block)
    points = {
        ", ".join(value_text(point["changes"][key]) for key in changing) or point["name"]: figures(point["measured"])
        for point in block["points"]
        if point["measured"]
    }
    marks = dict(zip(mark_names(block), map(figures, block["marks"]), strict=True))
    pareto.pareto_picture(points, marks, path, title(block), ", ".join(changing))
    return path


def title(block: dict[str, Any]) -> str:
    """What all points of a model share."""
    fixed = {key: block["points"][0]["changes"][key] for key in keys(block) if key not in varied(block)}
    knobs = " ".join(f"{knob:g}" for knob in block["marks"][0].get("knobs", ()))
    parts = [f"{block['name']}: preset {block['preset']}", *(f"{key}={value_text(fixed[key])}" for key in fixed)]
    return ", ".join([*parts, f"measured with the knobs at {knobs}"] if knobs else parts)


def rows(block: dict[str, Any], shown: Sequence[str], digits: int | None = 1) -> Rows:
    """Header, teacher and other marks, and one row a point.

    Args:
        shown: keys of the config.
        digits: after the decimal point; None writes all, and nothing where there is no value.
    """
    models = [*block["marks"], *(point["measured"] for point in block["points"] if point["measured"])]
    metrics = METRICS + (AUDIO_METRICS if any(model.get("audio") for model in models) else ())

    def text(value: float | None) -> str:
        if digits is None:
            return "" if value is None else repr(value)
        return "-" if value is None else f"{value:.{digits}f}"

    def of(measured: dict[str, Any] | None) -> list[str]:
        found = figures(measured) if measured else {}
        return [text(found.get(name)) for name in metrics]

    table = [["what", *shown, "minutes", *(f"{name} (dB)" for name in metrics), "front", "note"]]
    for name, mark in zip(mark_names(block), block["marks"], strict=True):
        table.append([name, *[""] * len(shown), text(None), *of(mark), "", ""])
    for point in block["points"]:
        values = [value_text(point["changes"][key]) for key in shown]
        on = "yes" if point["front"] else ""
        table.append(["point", *values, text(point["minutes"]), *of(point["measured"]), on, note(point)])
    return table


def note(point: dict[str, Any]) -> str:
    """What stands behind a point's dashes."""
    if point["failed"]:
        return point["failed"]
    if point["measured"] is None:
        return "not trained yet"
    return "the model as it was" if point["measured"]["metrics"]["HESR-T"] is None else ""


def keys(block: dict[str, Any]) -> list[str]:
    """Of the config, all that the sweep sets."""
    return list(block["points"][0]["changes"])


def varied(block: dict[str, Any]) -> list[str]:
    """Those with more than one value."""
    return [key for key in keys(block) if len({value_text(point["changes"][key]) for point in block["points"]}) > 1]


def mark_names(block: dict[str, Any]) -> list[str]:
    """Teacher, teacher 2x, student FILE ..."""
    names = pictures.labels({"models": block["marks"]})
    return [
        f"student {Path(mark['path']).stem}" if name == "student" else name
        for name, mark in zip(names, block["marks"], strict=True)
    ]
