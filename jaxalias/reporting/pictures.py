"""Pictures of records and signals, after figures 2 to 5 of the paper [disk].

`outputs` is a dict from label to settled or whole output (t,), the teacher first. The colour shows the model, the line
style its sample rate. Models look alike in all pictures if every picture gets them in the order of the record, under
the names of `labels`.
"""

import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from jaxalias import disk
from jaxalias.losses.nmr import AUDIBLE_DB
from jaxalias.signals import phase
from jaxalias.signals.dsp import chebyshev_window
from jaxalias.targets import harmonics

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's colours, which colour-blind people can distinguish."""
SOFTWARE = "jaxalias"
"""Metadata of every picture; it identifies a picture of this program."""
INK, _DPI = "0.2", 120
_MODELS = ("teacher", "student")  # stimuli with the colour of a model
_LOBE_BINS = 6  # half the Chebyshev window's main lobe: arccosh(10^(120 / 20)) / pi = 4.6 bins, and rounding
_FLOOR_DB = -100.0  # relative to the strongest; anything fainter is rounding noise
_FRAME_SAMPLES, _HOP_SAMPLES, _RANGE_DB = 2048, 512, 90.0  # of the spectrogram


class Style(NamedTuple):
    """How a model is drawn: filled dots at its own rate, larger hollow marks behind them at higher rates."""

    colour: tuple[float, float, float]
    nth: int  # of the model's rates

    def line(self, label: str, size: float) -> dict[str, Any]:
        """Keywords of `Axes.plot`."""
        nth = min(self.nth, 2)
        line = {"label": label, "color": self.colour, "lw": 1.2, "ls": ("-", "--", ":")[nth], "zorder": 2.5 - 0.1 * nth}
        return line | {"marker": "os^"[nth], "ms": size + 1.5 * nth} | ({"mfc": "w"} if nth else {})


def labels(record: dict[str, Any]) -> list[str]:
    """A short and unique name for each entry of a record: its role, the file if roles repeat, and the factor."""
    files = list(dict.fromkeys((model["role"], model["path"]) for model in record["models"]))
    roles, stems = [role for role, _ in files], [(role, _stem(path)) for role, path in files]
    names = {}
    for role, path in files:
        stem = _stem(path)
        again = stems.count((role, stem)) > 1  # files of one name in several folders
        detail = f" {Path(path).parent.name}/{stem}" if again else f" {stem}"
        names[role, path] = role + detail if roles.count(role) > 1 else role
    return [f"{names[model['role'], model['path']]}{_times(model['oversample'])}" for model in record["models"]]


def _stem(path: str) -> str:
    """The file's name without its ending, and the name of the model in it: "amp [max_value 0.5]"."""
    file, which, name = path.partition(" [")
    return f"{Path(file).stem}{which}{name}"


def styles(names: Iterable[str]) -> dict[str, Style]:
    """A colour for each model in order of appearance; "NAME 2x" has a paler colour than NAME."""
    drawn: dict[str, Style] = {}
    rates: dict[str, int] = {}  # how many rates of a model have been seen
    for name in names:
        model = re.sub(r" \d+x$", "", name)
        nth = rates.setdefault(model, 0)
        rates[model] += 1
        pale = min(0.35 * nth, 0.6)
        rgb = np.array(to_rgb(COLOURS[list(rates).index(model) % len(COLOURS)]))
        red, green, blue = (rgb + pale * (1 - rgb)).tolist()
        drawn[name] = Style((red, green, blue), nth)
    return drawn


def spectrum(y: np.ndarray, sample_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and levels in dB (f,) of a settled signal (t,). 0 dB is a sine of peak 1.

    One FFT with the Chebyshev window of the method (side lobes at -120 dB).
    """
    y = np.asarray(y, np.float64)
    return np.fft.rfftfreq(len(y), 1 / sample_rate), _levels(y, chebyshev_window(len(y)))


def between_harmonics(frequency_hz: np.ndarray, f0_hz: float) -> np.ndarray:
    """True for bins (f,) that belong neither to a multiple of f0 nor to the offset: the bins of aliases."""
    distance = np.abs(frequency_hz - f0_hz * np.round(frequency_hz / f0_hz))
    return distance > _LOBE_BINS * frequency_hz[1]


def harmonic_levels(y: np.ndarray, f0_hz: float, sample_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in Hz and levels in dB (k,) of the harmonics below Nyquist of a settled signal (t,).

    0 dB is a sine of peak 1. These are the harmonics of the bandlimited signal (see `harmonics.analyse`).
    """
    number = harmonics.highest_number(f0_hz, sample_rate)
    increment = phase.exact(np.array([f0_hz / sample_rate]))
    below = np.asarray(harmonics.below_nyquist(increment, number))[0]
    read = harmonics.analyse(jnp.asarray(y)[None], increment, number)
    return f0_hz * np.arange(1, number + 1)[below], _db(2 * np.abs(np.asarray(read.coefficients[0]))[below])


def spectrogram(y: np.ndarray, sample_rate: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times in s (n,), frequencies in Hz (f,), and levels in dB (f, n) of a signal (t,); 0 dB is a sine of peak 1."""
    frames = np.lib.stride_tricks.sliding_window_view(np.asarray(y, np.float64), _FRAME_SAMPLES)[::_HOP_SAMPLES]
    time = (np.arange(len(frames)) * _HOP_SAMPLES + _FRAME_SAMPLES / 2) / sample_rate
    level = _levels(frames, chebyshev_window(_FRAME_SAMPLES, 100.0))
    return time, np.fft.rfftfreq(_FRAME_SAMPLES, 1 / sample_rate), level.T


def spectrum_picture(
    outputs: dict[str, np.ndarray], f0_hz: float, sample_rate: int, path: Path, highest_hz: float | None = None
) -> None:
    """Figure 2: spectra of settled outputs for one sine, with marked harmonics. Everything between them is aliasing."""
    figure = Figure(figsize=(9, 0.7 + 1.9 * len(outputs)), layout="constrained")
    axes = figure.subplots(len(outputs), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    top_db = 5.0
    for (label, style), axis in zip(styles(outputs).items(), axes, strict=True):
        frequency, level = spectrum(outputs[label], sample_rate)
        aliases = between_harmonics(frequency, f0_hz)
        multiples, peaks = harmonic_levels(outputs[label], f0_hz, sample_rate)
        top_db = max(top_db, peaks.max() + 5)
        axis.plot(frequency / 1000, level, lw=0.8, color=INK)
        axis.plot(frequency / 1000, np.where(aliases, level, np.nan), lw=0.8, color=style.colour)
        axis.plot(multiples / 1000, peaks, "o", ms=4, mfc="w", mec=INK, mew=1, clip_on=False, zorder=3)
        power = 10 ** (level / 10)
        inside = ~aliases & (frequency > f0_hz / 2)
        ratio = 10 * np.log10(power[aliases].sum() / power[inside].sum())
        axis.set_title(f"{label}: aliases {ratio:.1f} dB of the harmonics' power", loc="left", fontsize=10)
        axis.set_ylabel("level (dB)")
        grid(axis)
    axes[0].set(ylim=(-120, top_db), xlim=(0, (highest_hz or sample_rate / 2) / 1000))
    axes[-1].set_xlabel("frequency (kHz)")
    figure.suptitle(f"Answers to a sine of {f0_hz:g} Hz: harmonics black with circles, aliases coloured", fontsize=12)
    save(figure, path)


def harmonic_picture(outputs: dict[str, np.ndarray], f0_hz: float, sample_rate: int, path: Path) -> None:
    """Figure 3: levels of the harmonics below Nyquist, and their differences from the first output's."""
    figure = Figure(figsize=(9, 5.6), layout="constrained")
    levels, differences = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    read = {label: harmonic_levels(y, f0_hz, sample_rate) for label, y in outputs.items()}
    first = next(iter(read))
    frequency, teacher = read[first]
    above_floor = teacher > teacher.max() + _FLOOR_DB
    size = 5 if len(frequency) < 40 else 3
    for label, style in styles(outputs).items():
        level, line = read[label][1], style.line(label, size)
        levels.plot(frequency / 1000, level, **line)
        if label != first:
            differences.plot(frequency / 1000, np.where(above_floor, level - teacher, np.nan), **line)
    differences.axhline(0, color=INK, lw=1)
    strongest = max(level.max() for _, level in read.values())
    weakest = min(level[above_floor].min() for _, level in read.values())
    levels.set(ylabel="level (dB)", ylim=(max(weakest, strongest + _FLOOR_DB) - 5, strongest + 5))
    levels.set_title(f"Harmonics of a sine of {f0_hz:g} Hz, aliases removed", fontsize=12)
    differences.set(ylabel=f"difference from\n{first} (dB)", xlabel="frequency (kHz)", xlim=(0, sample_rate / 2000))
    for axis in (levels, differences):
        grid(axis)
    _legend(figure, levels)
    save(figure, path)


def nmr_picture(record: dict[str, Any], path: Path, level_db: float | None = None) -> None:
    """Figure 4: NMR-S and HESR-T of every model versus f0, at one level of the sine set (default: the highest)."""
    at_db = max(record["sine_set"]["levels_db"]) if level_db is None else level_db
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    axes = figure.subplots(2, 1, sharex=True)
    names, below = labels(record), []
    for (label, style), model in zip(styles(names).items(), record["models"], strict=True):
        tones = model["per_tone"]
        at = [i for i, level in enumerate(tones["level_db"]) if level == at_db]
        for name, axis in zip(("NMR-S", "HESR-T"), axes, strict=True):
            values = [np.nan if tones[name][i] is None else tones[name][i] for i in at]
            if np.nanmax([_FLOOR_DB, *values]) > _FLOOR_DB:
                axis.semilogx([tones["f0_hz"][i] for i in at], values, **style.line(label, 3))
            elif not np.isnan(values).all():
                below.append(f"{name} of {label}")
    axes[0].axhline(AUDIBLE_DB, color=INK, lw=1.2, ls=(0, (6, 3)))
    beside = axes[0].get_yaxis_transform()
    axes[0].text(1.01, AUDIBLE_DB, f"audible\nabove\n{AUDIBLE_DB:g} dB", transform=beside, va="center", fontsize=9)
    axes[0].set_title(f"Sines at {at_db:g} dB", fontsize=12)
    axes[0].set_ylabel("aliasing, NMR-S (dB)")
    axes[1].set_ylabel("harmonic error, HESR-T (dB)")
    axes[1].set_xlabel("f0 (Hz)" + (f"\nnot shown, below {_FLOOR_DB:g} dB: " + ", ".join(below) if below else ""))
    axes[1].xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[1].xaxis.set_major_formatter(FuncFormatter(lambda hz, _: f"{hz:g}"))
    axes[1].xaxis.set_minor_formatter(NullFormatter())
    for axis in axes:
        axis.set_ylim(bottom=max(axis.get_ylim()[0], _FLOOR_DB))
        grid(axis)
    _legend(figure, axes[0])
    save(figure, path)


def spectrogram_picture(
    outputs: dict[str, np.ndarray], sample_rate: int, path: Path, title: str = "Answers to a sweep"
) -> None:
    """Figure 5: spectrograms with one colour scale. For a sweep, lines that fall while it rises are aliases."""
    columns = 1 if len(outputs) == 1 else 2
    rows = -(-len(outputs) // columns)
    figure = Figure(figsize=(10, 0.9 + 3.1 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    seen = {label: spectrogram(y, sample_rate) for label, y in outputs.items()}
    top_db = max(level.max() for *_, level in seen.values())
    for axis, (label, (time, frequency, level)) in zip(axes.flat, seen.items(), strict=False):
        image = axis.imshow(
            level, origin="lower", aspect="auto", cmap="magma", vmin=top_db - _RANGE_DB, vmax=top_db,
            extent=(time[0], time[-1], 0, frequency[-1] / 1000),
        )  # fmt: skip
        axis.set_title(label, fontsize=10)
    for axis in axes.flat[len(outputs) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("frequency (kHz)")
    for axis in axes.flat[max(0, len(outputs) - columns) : len(outputs)]:
        axis.set_xlabel("time (s)")
        axis.tick_params(labelbottom=True)
    figure.colorbar(image, ax=axes, label="level (dB)", aspect=40, pad=0.02)
    figure.suptitle(title, fontsize=12)
    save(figure, path)


def violin_picture(scores: dict[str, dict[str, np.ndarray]], medians: Sequence[dict[str, Any]], path: Path) -> None:
    """Ratings of a listening test: one panel per group of clips, one violin per stimulus, scores, median and interval.

    Args:
        scores: {group: {stimulus: scores}}, of `ratings.scores_by_group`.
        medians: of `statistics.summarise`.
        path: of the PNG file.
    """
    columns = min(2, len(scores))
    rows = -(-len(scores) // columns)
    widest = max(map(len, scores.values()))
    figure = Figure(figsize=(1.2 + columns * max(3.6, 1.05 * widest), 0.6 + 3.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    found = {(row["group"], row["stimulus"]): row for row in medians}
    names = list(dict.fromkeys(stimulus for given in scores.values() for stimulus in given))
    colours = {name: style.colour for name, style in styles(n for n in names if n.startswith(_MODELS)).items()}
    random = np.random.default_rng(0)  # for the horizontal places of the dots, which have no meaning
    for axis, (group, given) in zip(axes.flat, scores.items(), strict=False):
        for place, (stimulus, values) in enumerate(given.items()):
            colour, row = colours.get(stimulus, (0.5, 0.5, 0.5)), found[group, stimulus]
            if np.ptp(values) > 0:
                (body,) = axis.violinplot(values, [place], widths=0.85, showextrema=False)["bodies"]  # type: ignore[misc]
                body.set(facecolor=colour, edgecolor=colour, alpha=0.3)
            axis.plot(place + random.uniform(-0.12, 0.12, len(values)), values, "o", ms=2.5, color=colour, mew=0)
            if row["low"] is not None:
                axis.plot([place, place], [row["low"], row["high"]], color=INK, lw=2.5, solid_capstyle="butt")
            axis.plot(place, row["median"], "o", ms=7, mfc="w", mec=INK, mew=1.5, zorder=3)
        axis.set_xticks(range(len(given)), [textwrap.fill(name, 12) for name in given], fontsize=9)
        axis.set(xlim=(-0.6, len(given) - 0.4), ylim=(-2, 102), yticks=range(0, 101, 20))
        axis.set_title(f"{group}, n = {max(map(len, given.values()))}", loc="left", fontsize=10)
        grid(axis)
    for axis in axes.flat[len(scores) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("score")
    figure.suptitle("Similarity to the reference: ratings, medians with their 95 % intervals", fontsize=12)
    save(figure, path)


def _levels(frames: np.ndarray, window: np.ndarray) -> np.ndarray:
    return _db(2 * np.abs(np.fft.rfft(frames * window)) / window.sum())


def _db(magnitude: np.ndarray) -> np.ndarray:
    return 20 * np.log10(np.maximum(magnitude, 1e-12))


def _times(factor: int) -> str:
    return f" {factor}x" if factor > 1 else ""


def grid(axis: Axes) -> None:
    """Pale lines behind the data, no frame."""
    axis.grid(color="0.85", lw=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _legend(figure: Figure, axis: Axes) -> None:
    handles, names = axis.get_legend_handles_labels()
    columns = min(len(names), max(1, 130 // (8 + max(map(len, names)))))  # a row has about 130 characters
    figure.legend(handles, names, loc="outside lower center", ncols=columns, fontsize=9, frameon=False)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG file. The same picture gives the same bytes."""
    with disk.replacing(path) as partial:
        figure.savefig(partial, dpi=_DPI, format="png", metadata={"Software": SOFTWARE})
