"""The Pareto front of recipes in two metrics, and a picture of it [disk]."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from jaxalias.reporting.pictures import COLOURS, grid, save

ALIASING = "NMR-S"
CHANGES = {"HESR-T": "harmonic error, HESR-T (dB)", "audio ESR": "error on music against the teacher, ESR (dB)"}
"""The costs of less aliasing: one panel each, with the name of its axis."""
_FAR_DB = 15.0  # marks further than this to the left of all points (or, without points, of all marks) become lines
_BESIDE = ((6, 6), (6, -6), (-6, 6), (-6, -6), (0, 11), (0, -11), (11, 0), (-11, 0), (14, 14), (14, -14), (-14, 14),
           (-14, -14), (0, 22), (0, -22))  # fmt: skip
"""Possible places of a label, in points from its mark; the first free one is used."""

Figures = Mapping[str, float | None]
"""Metrics by name in dB; None if undefined."""


class Place(NamedTuple):
    """A mark with its label; the label is drawn if there is room, or always if it is needed."""

    x: float
    y: float
    label: str
    needed: bool
    colour: str
    side: int = 1  # first place of its label: 1 above to the right, -1 below to the left


def front(points: Float[np.ndarray, "n metric"]) -> Bool[np.ndarray, "n"]:
    """True for the points that no other point dominates: less or equal in every metric, and less in one.

    Equal points are on the front together. A point with a NaN is not on it, and dominates none.
    """
    known = ~np.isnan(points).any(axis=1)
    no_worse = (points[:, None] <= points[None]).all(axis=-1)  # row against column
    better = (points[:, None] < points[None]).any(axis=-1)
    return known & ~(no_worse & better).any(axis=0)


def pareto_picture(
    points: Mapping[str, Figures], marks: Mapping[str, Figures], path: Path, title: str, legend: str = ""
) -> None:
    """Aliasing versus its cost: one panel for HESR-T and, if there is music, one for its ESR.

    Args:
        points: figures by label. Labels of points on the front are always drawn, others if there is room.
        marks: figures to compare with, by name. A mark with almost no change of tone (a teacher, oversampled or not) is
            a horizontal line, because the axis does not reach it.
        path: of the PNG file.
        title: of the picture.
        legend: the meaning of the labels.
    """
    both = [*points.values(), *marks.values()]
    panels = [name for name in CHANGES if name == "HESR-T" or any(known.get(name) is not None for known in both)]
    figure = Figure(figsize=(1 + 6.2 * len(panels), 6.2), layout="constrained")
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    places = [_panel(axis, name, points, marks) for axis, name in zip(axes, panels, strict=True)]
    axes[0].set_ylabel(f"aliasing, {ALIASING} (dB)")
    figure.suptitle(title + (f"\nlabels: {legend}" if legend else ""), fontsize=11)
    figure.draw_without_rendering()  # sets the layout of the axes, which the places of labels depend on
    for axis, of_one in zip(axes, places, strict=True):
        if of_one:
            _write_labels(axis, of_one)
    save(figure, path)


def _panel(axis: Axes, name: str, points: Mapping[str, Figures], marks: Mapping[str, Figures]) -> list[Place]:
    """Draw everything but the labels, and return the labels to draw."""
    where = {label: (_number(found, name), _number(found, ALIASING)) for label, found in points.items()}
    drawn = {label: place for label, place in where.items() if not np.isnan(place).any()}
    x, y = np.array(list(drawn.values())).reshape(-1, 2).T
    best = front(np.stack([x, y], axis=1))
    order = np.argsort(x[best], kind="stable")
    axis.plot(x, y, "o", ms=5, color="0.6", mew=0, zorder=2)
    axis.plot(x[best][order], y[best][order], "o-", ms=6, lw=1.2, color=COLOURS[1], zorder=2.2)
    places = [
        Place(at_x, at_y, label, bool(on), COLOURS[1] if on else "0.45", -1 if on else 1)  # no points below the front
        for label, at_x, at_y, on in zip(drawn, x, y, best, strict=True)
    ]
    compared = [at_x for at_x in (_number(found, name) for found in marks.values()) if not np.isnan(at_x)]
    lowest = min(x, default=max(compared, default=0.0)) - _FAR_DB
    across = {}
    for index, (label, found) in enumerate(marks.items()):
        at_x, at_y = _number(found, name), _number(found, ALIASING)
        colour = COLOURS[(0, 2, 3, 4, 5)[index % 5]]
        if np.isnan(at_y):
            continue
        if np.isnan(at_x) or at_x < lowest:
            axis.axhline(at_y, color=colour, lw=1.2, ls=(0, (6, 3)), zorder=1.8)
            across[label if np.isnan(at_x) else f"{label} ({name} {at_x:.0f} dB)"] = (at_y, colour)
        else:
            axis.plot(at_x, at_y, "*", ms=13, color=colour, mec="w", mew=0.6, zorder=2.4)
            places.append(Place(at_x, at_y, label, True, colour))
    axis.margins(0.12, 0.12)
    grid(axis)
    edge = axis.get_xlim()[0]
    places = [Place(edge, at_y, label, True, colour) for label, (at_y, colour) in across.items()] + places
    axis.set_xlim(axis.get_xlim())
    axis.set_xlabel(CHANGES[name])
    axis.text(0.01, 0.01, "↙ lower left is better", transform=axis.transAxes, fontsize=9, color="0.35")
    return places


def _write_labels(axis: Axes, places: Sequence[Place]) -> None:
    """Draw labels beside their marks, needed ones first, so that none overlaps another label, a mark or a line."""
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in axis.transData.transform([place[:2] for place in places])]
    taken += [text.get_window_extent().extents for text in axis.texts]
    for line in axis.lines:
        if line.get_linestyle() != "None":
            along = line.get_transform().transform_path(line.get_path()).interpolated(40)
            taken += [(x - 1, y - 1, x + 1, y + 1) for x, y in np.asarray(along.vertices)]
    inside = axis.get_window_extent()

    def write(place: Place, offset: tuple[int, int]) -> Annotation:
        dx, dy = (place.side * distance for distance in offset)
        text = axis.annotate(
            place.label, place[:2], (dx, dy), textcoords="offset points", fontsize=8, color=place.colour,
            ha=("center", "left", "right")[np.sign(dx)], va=("center", "bottom", "top")[np.sign(dy)],
        )  # fmt: skip
        text.set_in_layout(False)
        return text

    for place in sorted(places, key=lambda place: not place.needed):
        for offset in _BESIDE:
            text = write(place, offset)
            x0, y0, x1, y1 = text.get_window_extent().extents
            left, low, right, high = np.transpose(taken)
            overlaps = (x0 < right) & (left < x1) & (y0 < high) & (low < y1)
            if not overlaps.any() and inside.x0 <= x0 and x1 <= inside.x1 and inside.y0 <= y0:
                taken.append((x0, y0, x1, y1))
                break
            text.remove()
        else:
            if place.needed:
                write(place, _BESIDE[0])


def _number(found: Figures, name: str) -> float:
    value = found.get(name)
    return float("nan") if value is None else value
