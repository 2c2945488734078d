"""A report as one self-contained HTML file: tables, pictures, and players to compare by ear [disk]."""

import base64
import html
import io
import json
from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import zip_longest
from pathlib import Path
from string import Template
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import soundfile

from jaxalias import disk
from jaxalias.reporting import tables

GENERATOR = '<meta name="generator" content="jaxalias">'
"""Part of every page; it identifies a page of this program."""
_HERE = files("jaxalias.reporting")
_CAPTIONS = {
    "spectrum": "Spectra of the settled answers to one sine. Harmonics belong there; what lies between is aliasing.",
    "harmonics": "The harmonics below half the sample rate, and how far each model's are from the teacher's: what the "
    "model costs in tone.",
    "nmr": "Aliasing (noise-to-mask ratio against the model's own bandlimited answer) and harmonic error, by pitch.",
    "sweep": "Answers to a rising sweep. Harmonics rise with it; lines that fall are aliases, folded at half "
    "the sample rate.",
}
_STEPS = 2**15  # of a 16-bit sample, to full scale


class Clip(NamedTuple):
    """A piece of music in several versions, each (t,), to compare by ear."""

    name: str
    sample_rate: int
    renders: dict[str, np.ndarray]


def write_page(
    path: Path, title: str, record: dict[str, Any], pictures: Sequence[Path] = (), clips: Sequence[Clip] = ()
) -> None:
    """Write the report of an evaluation.

    Args:
        path: the HTML file.
        title: its heading.
        record: of `evaluation.evaluate`, with the command's "environment" and "verdict" if there are any.
        pictures: PNG files to embed, in order; those named as in `_CAPTIONS` (or "harmonics-220hz") get a caption.
        clips: versions to compare by ear; without any, the page has no such section.

    Raises:
        ValueError: a clip without renders, or a render that is empty or not finite, named.
    """
    levels = ", ".join(f"{level:g}" for level in record["sine_set"]["levels_db"])
    low, high = record["sine_set"]["midi"]
    headline, *details = (table(rows, caption) for caption, rows in tables.tables(record).items())
    text = fill(
        _HERE / "page_template.html",
        title=html.escape(title),
        subtitle=f"{record['sample_rate']} Hz. Sine set: MIDI {low} to {high}, every semitone, peaks at {levels} dB.",
        headline=_verdict(record) + headline + _notes(record),
        details="".join(details),
        listening=_listening(clips),
        pictures="<h2>Pictures</h2>" + "".join(map(_figure, pictures)) if pictures else "",
        footer=footer(record.get("environment") or {}),
        clips=embedded([_payload(clip) for clip in clips]),
    )
    disk.write_text(path, text)


def fill(template: Traversable, **parts: str) -> str:
    """A page from a template, with the style and the player that all pages share."""
    text, style, deck = (file.read_text("utf-8") for file in (template, _HERE / "page_style.css", _HERE / "deck.js"))
    return Template(text).substitute(style=style, deck=deck, **parts)


def embedded(value: Any) -> str:
    """A value as JSON that cannot close the HTML element around it."""
    return json.dumps(value).replace("<", "\\u003c")


def table(rows: tables.Rows, caption: str, links: Sequence[str | None] = ()) -> str:
    """Rows of text, header first, as an HTML table. Columns in dB and percent are aligned as numbers.

    Args:
        rows: of text.
        caption: of the table.
        links: of the first cell of each row below the header; None: no link.
    """
    sides = [' class="number"' if name.endswith(("(dB)", "(%)")) else "" for name in rows[0]]

    def line(cells: Sequence[str], tag: str, link: str | None = None) -> str:
        first, *rest = map(html.escape, cells)
        if link is not None:
            first = f'<a href="{html.escape(quote(link))}">{first}</a>'
        return "".join(f"<{tag}{side}>{cell}</{tag}>" for cell, side in zip((first, *rest), sides, strict=True))

    head = line(rows[0], "th").replace("<th", '<th scope="col"')
    linked = zip_longest(rows[1:], links)
    body = "".join(f"<tr>{line(row, 'td', link)}</tr>\n" for row, link in linked)
    return (
        f'<div class="wide" tabindex="0"><table><caption>{html.escape(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def fit(renders: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], float]:
    """Pad renders with zeros to one length. If one exceeds full scale, lower all by one gain (also returned)."""
    length = max(len(y) for y in renders.values())
    peak = max(np.abs(y).max() for y in renders.values())
    gain = min(1.0, (1 - 1 / _STEPS) / peak) if peak > 0 else 1.0
    return {label: gain * np.pad(np.asarray(y, np.float64), (0, length - len(y))) for label, y in renders.items()}, gain


def matching_gains(renders: dict[str, np.ndarray]) -> dict[str, float]:
    """Gains that give all renders the RMS (about the mean) of the loudest; less if a peak would exceed full scale.

    A silent render keeps its level.
    """
    rms = {label: float(np.std(y)) for label, y in renders.items()}
    audible = {label: y for label, y in renders.items() if rms[label] > 0}
    if not audible:
        return dict.fromkeys(renders, 1.0)
    common = min(max(rms.values()), *(rms[label] / np.abs(y).max() for label, y in audible.items()))
    return {label: common / rms[label] if rms[label] > 0 else 1.0 for label in renders}


def encode(y: np.ndarray, sample_rate: int) -> str:
    """Samples (t,) from -1 to 1 - 2**-15 as 16-bit FLAC, which every browser can decode, in base64."""
    file = io.BytesIO()
    soundfile.write(file, np.round(y * _STEPS).astype(np.int16), sample_rate, format="FLAC", subtype="PCM_16")
    return base64.b64encode(file.getvalue()).decode("ascii")


def _payload(clip: Clip) -> dict[str, Any]:
    if not clip.renders:
        raise ValueError(f"clip {clip.name!r}: needs at least one render, got none")
    for label, y in clip.renders.items():
        if not (np.ndim(y) == 1 and len(y) and np.isfinite(y).all()):
            raise ValueError(f"clip {clip.name!r}, {label!r}: must be finite samples (t,), got shape {np.shape(y)}")
    renders, scale = fit(clip.renders)
    gains = matching_gains(renders)
    return {
        "name": clip.name,
        "sample_rate": clip.sample_rate,
        "duration_s": len(next(iter(renders.values()))) / clip.sample_rate,
        "scale_db": _db(scale),
        "renders": [
            {"label": label, "match_db": _db(gains[label]), "flac": encode(y, clip.sample_rate)}
            for label, y in renders.items()
        ],
    }


def _db(gain: float) -> float:
    return round(float(20 * np.log10(gain)), 2)


def _listening(clips: Sequence[Clip]) -> str:
    if not clips:
        return ""
    return (
        "<h2>Listen</h2>\n<p>All versions of a piece run together; buttons or the keys <kbd>1</kbd> to <kbd>9</kbd> "
        "change which one is heard, at the same place. The alias-free teacher is the teacher at 8 times its rate: what "
        'a student is to sound like.</p>\n<div id="players"></div>\n'
        "<noscript><p>The players need JavaScript.</p></noscript>\n"
    )


def _figure(picture: Path) -> str:
    name = picture.stem.split("-")[0]
    caption = html.escape(_CAPTIONS.get(name, picture.stem.replace("_", " ")))
    data = base64.b64encode(picture.read_bytes()).decode("ascii")
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{caption}"><figcaption>{caption}</figcaption></figure>\n'
    )


def _verdict(record: dict[str, Any]) -> str:
    return "".join(f'<p class="verdict">{html.escape(line)}</p>\n' for line in record.get("verdict", []))


def _notes(record: dict[str, Any]) -> str:
    return "".join(f'<p class="dim">{html.escape(note)}</p>\n' for note in tables.remarks(record))


def footer(environment: dict[str, Any]) -> str:
    """Versions, commit and machine behind a page, as HTML."""
    known = [f"{name} {number}" for name, number in environment.get("versions", {}).items()]
    known += [f"commit {environment['commit']}"] if environment.get("commit") else []
    known += [str(environment["machine"])] if environment.get("machine") else []
    return html.escape(", ".join(known))
