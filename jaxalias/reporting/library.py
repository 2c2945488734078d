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


def summary(captures: Sequence[Capture], failures: int) -> str:
    """The result of the whole library in three sentences.

    Args:
        captures: all that are finished.
        failures: the number of files without a student.
    """
    used = [found for found in captures if not found.kept]
    words = f"{len(used)} of {len(captures) + failures} captures have a student that is no worse than its teacher"
    if used:
        before, after = (np.mean([_audible(getattr(found, at)) for found in used]) for at in ("before", "after"))
        words += f": of their high playing, {before:.0%} of the frames were audible and {after:.0%} are left"
    return f"{words}. {len(captures) - len(used)} kept the teacher. {failures} could not be trained."


def write(
    folder: Path, captures: Sequence[Capture], failures: Sequence[str], environment: dict[str, Any]
) -> list[Path]:
    """Write the page and the table.

    Args:
        folder: made if it does not exist.
        captures: all that are finished.
        failures: why files have no student, a sentence each.
        environment: of the command.

    Returns:
        The paths.
    """
    order = ranked(captures)
    found, links = rows(order), [one.report for one in order]
    reasons = "".join(f"<li>{html.escape(why)}</li>\n" for why in failures)
    text = page.fill(
        files("jaxalias.reporting") / "library_template.html",
        title=TITLE,
        summary=html.escape(summary(captures, len(failures))),
        table=page.table(found, _CAPTION, links) if captures else "",
        failures=f"<h2>Without a student</h2>\n<ul>{reasons}</ul>\n" if failures else "",
        footer=page.footer(environment),
    )
    folder.mkdir(parents=True, exist_ok=True)
    index, table = (folder / name for name in NAMES)
    disk.write_text(index, text)
    disk.write_text(table, tables.csv_table(found))
    return [index, table]


def _row(found: Capture) -> list[str]:
    at_twice = next((rival for rival in found.before.get("rivals", ()) if rival["oversample"] == 2), None)
    playing = found.after["played"]["playing"]["alias_free"]
    before, after = found.before["metrics"], found.after["metrics"]
    shares = [tables.share(_audible(entry)) if entry else "-" for entry in (found.before, at_twice, found.after)]
    figures = playing["ESR"], before["NMR-T"], after["NMR-T"], after["HESR-T"]
    return [found.name, found.kept or "use it", *shares, tables.share(playing["audible"]), *map(tables.number, figures)]


def _audible(entry: Mapping[str, Any]) -> float:
    return float(entry["played"]["high_playing"]["alias_free"]["audible"])
