"""The report of a measurement: tables, pictures, and a page to look at and listen to."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.signal

from jaxalias import page, pictures, reporting
from jaxalias.dsp import db_to_amplitude
from jaxalias.evaluation import ANALYSED_S, SETTLING_S, Candidate, Clip

TONE_HZ, TONE_DB = 2394.3, -6.0
SWEEP_HZ, SWEEP_S, SWEEP_DB = (20.0, 10_000.0), 5.0, -6.0
LISTEN_S = 15.0  # of each clip on the page: all renders of all clips travel in one file


def write(
    folder: Path, record: dict[str, Any], candidates: Sequence[Candidate], clips: Sequence[Clip] = ()
) -> list[Path]:
    """Write everything into a folder that exists; returns the paths."""
    sample_rate, labels = record["sample_rate"], pictures.labels(record)
    players = dict(zip(labels, candidates, strict=True))
    rows = reporting.table_rows(record)
    markdown, table, html = (folder / name for name in ("table.md", "table.csv", "index.html"))
    markdown.write_text(reporting.markdown_table(rows))
    table.write_text(reporting.csv_table(rows))

    spectrum, harmonic, nmr, sweeps = (folder / f"{n}.png" for n in ("spectrum", "harmonics", "nmr", "sweep"))
    tone = _tone(sample_rate)
    settled = {label: _play(player, tone)[round(SETTLING_S * sample_rate) :] for label, player in players.items()}
    pictures.spectrum_picture(settled, TONE_HZ, sample_rate, spectrum)
    pictures.harmonic_picture(settled, TONE_HZ, sample_rate, harmonic)
    pictures.nmr_picture(record, nmr)
    sweep = _sweep(sample_rate)
    swept = {label: _play(player, sweep) for label, player in players.items()}
    pictures.spectrogram_picture(swept, sample_rate, sweeps)

    heard = [_clip("sweep", sweep, None, swept, sample_rate), *(_renders(c, players, sample_rate) for c in clips)]
    page.write_page(
        html, "Aliasing of " + Path(candidates[0].path).name, record, (spectrum, harmonic, nmr, sweeps), heard
    )
    return [markdown, table, spectrum, harmonic, nmr, sweeps, html]


def _play(candidate: Candidate, x: np.ndarray) -> np.ndarray:
    return np.asarray(candidate.play(jnp.asarray(x)[None])[0])


def _renders(clip: Clip, players: dict[str, Candidate], sample_rate: int) -> page.Clip:
    x = clip.x[: round(LISTEN_S * sample_rate)]
    renders = {label: _play(player, x) for label, player in players.items()}
    return _clip(clip.name, x, clip.recording, renders, sample_rate)


def _clip(
    name: str, x: np.ndarray, recording: np.ndarray | None, renders: dict[str, np.ndarray], sample_rate: int
) -> page.Clip:
    reference = {} if recording is None else {"recording": recording[: len(x)]}
    return page.Clip(name, sample_rate, {**renders, **reference, "input": x})


def _tone(sample_rate: int) -> np.ndarray:
    time = np.arange(round((SETTLING_S + ANALYSED_S) * sample_rate)) / sample_rate
    return db_to_amplitude(TONE_DB) * np.sin(2 * np.pi * TONE_HZ * time)


def _sweep(sample_rate: int) -> np.ndarray:
    time = np.arange(round(SWEEP_S * sample_rate)) / sample_rate
    low, high = SWEEP_HZ
    return db_to_amplitude(SWEEP_DB) * scipy.signal.chirp(time, low, SWEEP_S, high, method="logarithmic", phi=-90)
