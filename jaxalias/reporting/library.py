"""The ranking of many captures, fine-tuned by one command: a table, and a page that links to each report [disk].

The first is the capture of which most audible aliases are gone. Captures whose student was put aside come last.
"""

import html
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxalias import disk
from jaxalias.reporting import page, tables

COLUMNS = (
    "capture", "result", "high playing audible before (%)", "at 2x (%)", "after (%)", "playing audible (%)",
    "playing ESR (dB)", "NMR-T before (dB)", "NMR-T (dB)", "HESR-T (dB)",
)  # fmt: skip
NAMES = ("index.html", "ranking.csv")
TITLE = "Fine-tuned captures"
"""Of the page; it tells the page from that of one run."""
_CAPTION = "Shares of audible frames and distances to the alias-free teacher. Each name links to its report."


class Capture(NamedTuple):
    """One model file after its training."""

    name: str
    report: str  # path of its page, relative to the page of the library
    before: dict[str, Any]  # entry of the teacher, as in the record
    after: dict[str, Any]  # entry of the student
    kept: str  # in words, which networks are as they were; empty: none

    @property
    def gain(self) -> float:
        """The share of frames of high playing that are audible no more; of a student that was put aside minus one."""
        return -1.0 if self.kept else _audible(self.before) - _audible(self.after)


def capture(record: Mapping[str, Any], report: Path, folder: Path) -> Capture:
    """What the library shows of the record of one `finetune`.

    Args:
        record: as in INTERFACE.md, with "as_it_was". Of several networks or knob positions the first is shown.
        report: folder of its page.
        folder: of the page of the library.
    """
    teacher, *others = record["models"]
    ends = next((n for n, entry in enumerate(others) if entry["role"] == "teacher"), len(others))
    kept, networks = len(record["as_it_was"]), len(record["networks"])
    words = "" if not kept else "keep the teacher" if networks == 1 else f"keep {kept} of {networks} teachers"
    link = Path(os.path.relpath(report / "index.html", folder)).as_posix()
    return Capture(Path(teacher["path"]).name, link, teacher, others[ends - 1], words)


def ranked(captures: Sequence[Capture]) -> list[Capture]:
    """The one that gains most first."""
    return sorted(captures, key=lambda found: (-found.gain, found.name))


def rows(captures: Sequence[Capture]) -> tables.Rows:
    """One row of text per capture, header first."""
    return [list(COLUMNS), *map(_row, captures)]


def summary(captures: Sequence[Capture], failed: int, left_out: int) -> str:
    """The result of the whole library in a few words.

    Args:
        captures: all that are finished.
        failed: the number of models that could not be trained.
        left_out: the number of files that are no models.
    """
    used = [found for found in captures if not found.kept]
    words = f"{len(used)} of {len(captures) + failed} captures have a student that is better than its teacher"
    if used:
        before, after = (np.mean([_audible(getattr(found, at)) for found in used]) for at in ("before", "after"))
        words += f": {100 * before:.0f} % of the frames of high playing were audible, {100 * after:.0f} % are left"
    kept = len(captures) - len(used)
    return f"{words}. Kept the teacher: {kept}. Could not be trained: {failed}. Files left out: {left_out}."


def write(
    folder: Path,
    captures: Sequence[Capture],
    failed: Sequence[str],
    left_out: Sequence[str],
    environment: dict[str, Any],
) -> list[Path]:
    """Write the page and the table.

    Args:
        folder: made if it does not exist.
        captures: all that are finished.
        failed: why models could not be trained, a sentence each.
        left_out: why files are no models, likewise.
        environment: of the command.

    Returns:
        The paths.
    """
    order = ranked(captures)
    found, links = rows(order), [one.report for one in order]
    text = page.fill(
        files("jaxalias.reporting") / "library_template.html",
        title=TITLE,
        summary=html.escape(summary(captures, len(failed), len(left_out))),
        table=page.table(found, _CAPTION, links) if captures else "",
        failures=_listed("Could not be trained", failed) + _listed("Left out", left_out),
        footer=page.footer(environment),
    )
    folder.mkdir(parents=True, exist_ok=True)
    index, table = (folder / name for name in NAMES)
    disk.write_text(index, text)
    disk.write_text(table, tables.csv_table(found))
    return [index, table]


def _listed(title: str, reasons: Sequence[str]) -> str:
    lines = "".join(f"<li>{html.escape(reason)}</li>\n" for reason in reasons)
    return f"<h2>{title}</h2>\n<ul>{lines}</ul>\n" if reasons else ""


def _row(found: Capture) -> list[str]:
    at_twice = next((rival for rival in found.before.get("rivals", ()) if rival["oversample"] == 2), None)
    playing = found.after["played"]["playing"]["alias_free"]
    before, after = found.before["metrics"], found.after["metrics"]
    shares = [tables.share(_audible(entry)) if entry else "-" for entry in (found.before, at_twice, found.after)]
    figures = playing["ESR"], before["NMR-T"], after["NMR-T"], after["HESR-T"]
    return [found.name, found.kept or "use it", *shares, tables.share(playing["audible"]), *map(tables.number, figures)]


def _audible(entry: Mapping[str, Any]) -> float:
    return float(entry["played"]["high_playing"]["alias_free"]["audible"])
