"""The report of a measurement: tables, pictures, and a page to look at and listen to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.signal

from jaxalias import disk
from jaxalias.evaluation import ANALYSED_S, SETTLING_S, Candidate, host
from jaxalias.evaluation.audio_set import Performance
from jaxalias.reporting import page, pictures, tables
from jaxalias.signals.dsp import db_to_amplitude

TONE_HZ, TONE_DB = 2394.3, -6.0
SWEEP_HZ, SWEEP_S, SWEEP_DB = (20.0, 10_000.0), 5.0, -6.0
LISTEN_S = 15.0  # of each clip on the page: all renders of all clips travel in one file
OWN_SETS_S = 7.5  # of the project's own sets likewise
ALIAS_FREE = "alias-free teacher"


PICTURES = ("spectrum.png", "harmonics.png", "nmr.png", "sweep.png")
NAMES = ("table.md", "table.csv", *PICTURES, "index.html")


@host.in_double_precision
def write(
    folder: Path, record: dict[str, Any], candidates: Sequence[Candidate], performances: Sequence[Performance] = ()
) -> list[Path]:
    """Write everything into a folder that exists; returns the paths (OSError: it takes no files).

    The tables hold all models of the record, pictures and page the first, as many as there are candidates.
    """
    shown = record | {"models": record["models"][: len(candidates)]}
    sample_rate, labels = record["sample_rate"], pictures.labels(shown)
    players = dict(zip(labels, candidates, strict=True))
    markdown, table, html = (folder / name for name in ("table.md", "table.csv", "index.html"))
    sections = (f"{caption}\n\n{tables.markdown_table(rows)}" for caption, rows in tables.tables(record).items())
    said = [f"{line}\n" for line in record.get("verdict", [])]
    disk.write_text(markdown, "\n".join([*said, *sections, *(f"{line}\n" for line in tables.remarks(record))]))
    disk.write_text(table, tables.csv_table(tables.table_rows(record)))

    spectrum, harmonic, nmr, sweeps = (folder / name for name in PICTURES)
    tone = _tone(sample_rate)
    settled = {label: _play(player, tone)[round(SETTLING_S * sample_rate) :] for label, player in players.items()}
    pictures.spectrum_picture(settled, TONE_HZ, sample_rate, spectrum)
    pictures.harmonic_picture(settled, TONE_HZ, sample_rate, harmonic)
    pictures.nmr_picture(shown, nmr)
    sweep = _sweep(sample_rate)
    swept = {label: _play(player, sweep) for label, player in players.items()}
    pictures.spectrogram_picture(swept, sample_rate, sweeps)

    heard = [page.Clip("sweep", sample_rate, {**swept, "input": sweep})]
    heard += [_excerpt(performance, labels, sample_rate) for performance in performances]
    page.write_page(
        html, "Aliasing of " + Path(candidates[0].path).name, record, (spectrum, harmonic, nmr, sweeps), heard
    )
    return [markdown, table, spectrum, harmonic, nmr, sweeps, html]


def _play(candidate: Candidate, x: np.ndarray) -> np.ndarray:
    return np.asarray(candidate.play(jnp.asarray(x)[None])[0])


def _excerpt(performance: Performance, labels: Sequence[str], sample_rate: int) -> page.Clip:
    renders = dict(zip(labels, performance.renders, strict=False))
    if performance.alias_free is not None:
        renders[ALIAS_FREE] = performance.alias_free
    if performance.clip.recording is not None:
        renders["recording"] = performance.reference
    renders["input"] = performance.clip.x
    length = round((OWN_SETS_S if performance.own_set else LISTEN_S) * sample_rate)
    return page.Clip(performance.clip.name, sample_rate, {label: y[:length] for label, y in renders.items()})


def _tone(sample_rate: int) -> np.ndarray:
    time = np.arange(round((SETTLING_S + ANALYSED_S) * sample_rate)) / sample_rate
    return db_to_amplitude(TONE_DB) * np.sin(2 * np.pi * TONE_HZ * time)


def _sweep(sample_rate: int) -> np.ndarray:
    time = np.arange(round(SWEEP_S * sample_rate)) / sample_rate
    low, high = SWEEP_HZ
    return db_to_amplitude(SWEEP_DB) * scipy.signal.chirp(time, low, SWEEP_S, high, method="logarithmic", phi=-90)
