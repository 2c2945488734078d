"""Records to a table and pictures [disk]."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from jaxalias.dsp import chebyshev_window
from jaxalias.evaluation import METRICS

AUDIBLE_DB = -10.0  # NMR above which aliasing is taken to be audible (section 2.6)
_COLOURS = ("tab:red", "tab:blue", "tab:green", "tab:purple")


def table_rows(record: dict[str, Any]) -> list[list[str]]:
    """Header and one row a model of an evaluation record: headline metrics in dB, a dash where undefined."""
    rows = [["model", "role", *(f"{name} (dB)" for name in METRICS)]]
    for model in record["models"]:
        values = (model["metrics"][name] for name in METRICS)
        rows.append([Path(model["path"]).name, model["role"], *("-" if v is None else f"{v:.1f}" for v in values)])
    return rows


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """A GitHub table from header and rows."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + " --- |" * len(rows[0]), *lines[1:]]) + "\n"


def spectrum_picture(
    outputs: dict[str, np.ndarray], f0_hz: float, sample_rate: int, path: Path, highest_hz: float | None = None
) -> None:
    """Spectra of settled answers to one sine (t,), their harmonics marked; what lies between them is aliasing."""
    figure = Figure(figsize=(9, 2.6 * len(outputs)), layout="tight")
    axes = figure.subplots(len(outputs), 1, sharex=True, sharey=True, squeeze=False)
    for (label, y), axis, colour in zip(outputs.items(), axes[:, 0], _COLOURS, strict=False):
        window = chebyshev_window(len(y))
        magnitude = 2 * np.abs(np.fft.rfft(np.asarray(y, np.float64) * window)) / window.sum()
        frequency = np.fft.rfftfreq(len(y), 1 / sample_rate)
        level = 20 * np.log10(np.maximum(magnitude, 1e-12))
        axis.plot(frequency / 1000, level, lw=0.7, color=colour, label=label)
        multiples = np.arange(1, int(sample_rate / 2 / f0_hz) + 1) * f0_hz
        at = np.round(multiples * len(y) / sample_rate).astype(int)
        axis.plot(multiples / 1000, level[at], "k.", ms=5, label="harmonics")
        axis.set(ylabel="level (dB)", ylim=(-140, 5), xlim=(0, (highest_hz or sample_rate / 2) / 1000))
        axis.legend(loc="upper right", fontsize=8)
        axis.grid(alpha=0.3)
    axes[0, 0].set_title(f"sine of {f0_hz:g} Hz")
    axes[-1, 0].set_xlabel("frequency (kHz)")
    figure.savefig(path, dpi=110)


def nmr_picture(record: dict[str, Any], path: Path, level_db: float = -6.0) -> None:
    """NMR-S of every model against f0 at one level, with the threshold of audibility."""
    figure = Figure(figsize=(9, 4), layout="tight")
    axis = figure.subplots()
    for model, colour in zip(record["models"], _COLOURS, strict=False):
        tones = model["per_tone"]
        at = [i for i, level in enumerate(tones["level_db"]) if level == level_db]
        values = [np.nan if tones["NMR-S"][i] is None else tones["NMR-S"][i] for i in at]
        label = f"{model['role']}: {Path(model['path']).name}"
        axis.semilogx([tones["f0_hz"][i] for i in at], values, "o-", ms=3, lw=1, color=colour, label=label)
    axis.axhline(AUDIBLE_DB, color="k", ls="--", lw=1, label=f"audible above {AUDIBLE_DB:g} dB")
    axis.set(xlabel="f0 (Hz)", ylabel="NMR-S (dB)", title=f"aliasing of sines at {level_db:g} dB")
    axis.grid(alpha=0.3, which="both")
    axis.legend(fontsize=8)
    figure.savefig(path, dpi=110)
