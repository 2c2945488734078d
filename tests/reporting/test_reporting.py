"""Tables, what the pictures are drawn from, and the page that must hold everything in one file."""

import base64
import csv
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tolerances
from matplotlib.image import imread

from jaxalias import evaluation
from jaxalias.reporting import page, pictures, tables

METRICS = [name for name in evaluation.METRICS if not name.endswith("-R")]  # those without a device
RATE, F0_HZ, ALIAS_HZ, ALIAS = 16_000, 1100.5, 2500.0, 1e-3
AMPLITUDES = np.array([0.5, 0.2, 0.0, 0.05, 0.01, 0.003, 0.001])  # of harmonics 1 to 7: all below 8 kHz
EVIL = 'a,"b" | </script><img src=x>.json'


def model(path: str, role: str, oversample: int = 1, **more: Any) -> dict[str, Any]:
    means = dict.fromkeys(METRICS, -12.34) | {"HESR-T": None if role == "teacher" else -20.0}
    tones = {name: [value, value, None] for name, value in means.items()}
    return {
        "path": path,
        "role": role,
        "oversample": oversample,
        "metrics": means,
        "metrics_all": dict.fromkeys(METRICS, 1.0),
        "metrics_db": dict.fromkeys(METRICS, None),
        "per_level": {name: [value] for name, value in means.items()},
        "per_tone": {"f0_hz": [110.0, 220.0, 440.0], "level_db": [-6.0] * 3, **tones},
        **more,
    }


def record(*models: dict[str, Any]) -> dict[str, Any]:
    return {"sample_rate": RATE, "sine_set": {"midi": [45, 69], "levels_db": [-6.0]}, "models": list(models)}


def answer(scale: float = 1.0) -> np.ndarray:
    time = np.arange(RATE) / RATE
    harmonics = sum(a * np.cos(2 * np.pi * F0_HZ * k * time + k) for k, a in enumerate(AMPLITUDES, 1))
    return scale * np.asarray(harmonics) + 0.1 + ALIAS * np.sin(2 * np.pi * ALIAS_HZ * time)


def test_table_has_a_dash_for_none_the_rate_in_the_role_and_audio_where_it_was_played() -> None:
    plain = tables.table_rows(record(model("x/t.json", "teacher"), model("x/s.json", "student", 2)))
    assert plain[0] == ["model", "role", *(f"{name} (dB)" for name in METRICS)]
    assert [row[:2] for row in plain[1:]] == [["t.json", "teacher"], ["s.json", "student 2x"]]
    assert plain[1][2:] == ["-12.3", "-12.3", "-", "-12.3", "-12.3"]
    clip = {"name": "riff", "reference": "recording", "delay": 0, "polarity": 1, "ESR": -9.0, "MRSL": None}
    heard = record(model("t", "teacher", audio={"ESR": -9.0, "MRSL": None, "clips": [clip]}), model("s", "student"))
    rows = tables.table_rows(heard)
    assert rows[0][-2:] == ["audio ESR (dB)", "audio MRSL (dB)"]
    assert [row[-2:] for row in rows[1:]] == [["-9.0", "-"], ["-", "-"]]
    assert tables.clip_rows(heard)[1:] == [["t", "teacher", "riff", "recording", "-9.0", "-"]]
    ratios = {"f0_hz": [101.0, 1111.2], "level_db": -18.0, "full": -40.0, "below_20_khz": None, "below_16_khz": -50.0}
    aliased = record(model("t", "teacher", 2, alias_to_signal=[ratios]), model("s", "student"))
    assert tables.alias_rows(aliased)[1:] == [["t", "teacher 2x", "101 + 1111", "-18", "-40.0", "-", "-50.0"]]
    assert tables.table_rows(heard, "metrics_all")[1][2:] == ["1.0"] * len(METRICS)
    assert [row[2:4] for row in tables.level_rows(heard)] == [["level (dB)", "ESR-T (dB)"]] + [["-6", "-12.3"]] * 2


def played(nmr: float | None, audible: float) -> dict[str, Any]:
    figures = {"ESR": -20.0, "NMR": nmr, "audible": audible}
    compared = {"self": figures | {"audible": 0.0}, "alias_free": figures}
    return {"playing": compared, "high_playing": compared | {"levels": [{"peak": 0.9, **compared}]}}


def test_what_is_played_is_in_the_headline_and_in_full_in_a_table_of_its_own() -> None:
    clip = {"name": "riff", "reference": "teacher", "ESR": -9.0, "MRSL": -8.0, **played(1.0, 0.5)["playing"]}
    audio = {"ESR": -9.0, "MRSL": -8.0, "clips": [clip]}
    rival = {"oversample": 4, "played": played(-40.0, 0.0)}
    heard = record(
        model("t", "teacher", played=played(14.0, 0.766), rivals=[rival], audio=audio),
        model("s", "student", played=played(None, 0.0)),
    )
    rows = tables.table_rows(heard)
    assert rows[0][-4:] == [
        "playing NMR (dB)", "playing audible (%)", "high playing NMR (dB)", "high playing audible (%)"
    ]  # fmt: skip
    assert rows[0][-6:-4] == ["audio ESR (dB)", "audio MRSL (dB)"]
    assert [row[-4:] for row in rows[1:]] == [["14.0", "76.6"] * 2, ["-", "0.0"] * 2]
    assert tables.table_rows(heard, "metrics_all")[0][-1] == "NMR-S (dB)"
    full = tables.played_rows(heard)
    assert full[1] == ["t", "teacher", "playing", "itself", "-20.0", "14.0", "0.0"]
    assert full[2] == ["t", "teacher", "playing", "the teacher", "-20.0", "14.0", "76.6"]
    pieces = ["playing", "high playing", "high playing, peak 0.9"]
    found = list(dict.fromkeys((row[1], row[2]) for row in full[1:]))
    assert found == [
        *(("teacher", piece) for piece in (*pieces, "riff")), *(("teacher 4x", piece) for piece in pieces),
        *(("student", piece) for piece in pieces),
    ]  # fmt: skip
    assert len(tables.played_rows(record(model("t", "teacher")))) == 1


def test_tables_survive_names_with_their_own_signs_in_them() -> None:
    rows = tables.table_rows(record(model(EVIL.replace("/", "."), "teacher")))
    assert list(csv.reader(io.StringIO(tables.csv_table(rows)))) == rows
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in tables.markdown_table(rows).splitlines()]
    assert set(cells) == {len(rows[0]) + 1}


def test_every_entry_has_its_own_label_and_look_and_rates_of_a_model_share_a_hue() -> None:
    entries = [("m/a", "teacher", 1), ("m/a", "teacher", 2), ("m/b", "student", 1), ("n/b", "student", 1)]
    labels = pictures.labels(record(*(model(*entry) for entry in entries)))
    assert labels == ["teacher", "teacher 2x", "student m/b", "student n/b"]
    assert pictures.labels(record(*(model(*entry) for entry in entries[:3])))[2] == "student"
    styles = pictures.styles(labels)
    assert len(set(styles.values())) == len(labels)
    teacher, oversampled = np.array(styles["teacher"].colour), np.array(styles["teacher 2x"].colour)
    np.testing.assert_allclose((1 - oversampled) / (1 - teacher), 0.65)


def test_harmonics_are_read_at_their_amplitudes_whatever_lies_between_them() -> None:
    frequency, level = pictures.harmonic_levels(answer(), F0_HZ, RATE)
    np.testing.assert_allclose(frequency, F0_HZ * np.arange(1, 8))
    np.testing.assert_allclose(10 ** (level / 20), AMPLITUDES, atol=tolerances.SIDE_LOBES)


def test_between_the_harmonics_the_spectrum_holds_the_aliases_and_nothing_else() -> None:
    frequency, level = pictures.spectrum(answer(), RATE)
    aliases = pictures.between_harmonics(frequency, F0_HZ)
    peak = np.argmax(np.where(aliases, level, -np.inf))
    assert frequency[peak] == ALIAS_HZ
    assert level[peak] == pytest.approx(20 * np.log10(ALIAS), abs=tolerances.ANALYTIC_DB)
    elsewhere = aliases & (np.abs(frequency - ALIAS_HZ) > 6)
    assert level[elsewhere].max() < 20 * np.log10(tolerances.SIDE_LOBES)


def test_spectrogram_finds_a_tone_at_its_time_frequency_and_level() -> None:
    time = np.arange(RATE) / RATE
    seconds, frequency, level = pictures.spectrogram(0.25 * np.sin(2 * np.pi * 3000 * time) * (time < 0.5), RATE)
    assert frequency[np.argmax(level[:, 0])] == 3000
    assert level[:, 0].max() == pytest.approx(20 * np.log10(0.25), abs=tolerances.ANALYTIC_DB)
    assert seconds[level.max(axis=0) > -60].max() < 0.5 + 2048 / RATE
    assert level[:, seconds > 0.5 + 2048 / RATE].max() < -200


@pytest.mark.parametrize("name", ["spectrum", "harmonics", "nmr", "sweep"])
def test_pictures_show_every_model(name: str, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.png"
    outputs = {"teacher": answer(), "teacher 2x": answer(0.9), "student": answer(0.8)}
    draw: dict[str, Callable[[], None]] = {
        "spectrum": lambda: pictures.spectrum_picture(outputs, F0_HZ, RATE, path),
        "harmonics": lambda: pictures.harmonic_picture(outputs, F0_HZ, RATE, path),
        "nmr": lambda: pictures.nmr_picture(record(model("t", "teacher"), model("s", "student")), path),
        "sweep": lambda: pictures.spectrogram_picture(outputs, RATE, path),
    }
    draw[name]()
    pixels = imread(path)[:, :, :3]
    assert pixels.shape[0] > 400 and pixels.shape[1] > 800
    for label in ("teacher", "student") if name != "sweep" else ():
        off = np.abs(pixels - np.array(pictures.styles(outputs)[label].colour)).max(axis=2)
        assert (off < 0.02).sum() > 20, f"{label} is not in the picture"


class Links(HTMLParser):
    """What a page refers to, its text, and the clips that it carries."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.clips = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(f"{tag}#{dict(attrs).get('id')}")
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script#clips" and not self.clips:
            self.clips = data
        self.text.append(data)


def test_page_needs_no_other_file_and_carries_every_clip(tmp_path: Path) -> None:
    picture, target = tmp_path / "nmr.png", tmp_path / "index.html"
    evaluated = record(model(EVIL.replace("/", "."), "teacher", notes={"HESR-T": "<b>none</b>"}))
    pictures.nmr_picture(evaluated, picture)
    evaluated |= {"verdict": ["<worse>: keep the teacher"]}
    rng = np.random.default_rng(0)
    quiet, loud = 0.1 * rng.uniform(-1, 1, 3000), 2.5 * rng.uniform(-1, 1, 2900)
    page.write_page(target, EVIL, evaluated, [picture], [page.Clip(EVIL, RATE, {"teacher": quiet, "<2x>": loud})])
    text = target.read_text()
    seen = Links(text)

    assert not re.search(r"https?://|@import|url\(", text)
    assert len(seen.links) == 1 and base64.b64decode(seen.links[0].partition(",")[2]) == picture.read_bytes()
    assert "<worse>: keep the teacher" in seen.text and text.index("keep the teacher") < text.index("<table")
    assert EVIL in seen.text and EVIL.replace("/", ".") in seen.text and "HESR-T: <b>none</b>" in seen.text
    assert sum(tag.startswith("script") for tag in seen.tags) == 2  # the clips and the program
    assert "$" not in re.sub(r'"flac": "[^"]*"|base64,[^"]*', "", text), "a placeholder is left"

    (clip,) = json.loads(seen.clips)
    assert clip["name"] == EVIL and [render["label"] for render in clip["renders"]] == ["teacher", "<2x>"]
    assert clip["duration_s"] == 3000 / RATE
    scale = 10 ** (clip["scale_db"] / 20)
    assert scale == pytest.approx(1 / np.abs(loud).max(), rel=2e-3)  # printed to 0.01 dB
    for render, y in zip(clip["renders"], (quiet, np.pad(loud, (0, 100))), strict=True):
        samples, rate = soundfile.read(io.BytesIO(base64.b64decode(render["flac"])))
        assert rate == RATE
        exact = y * (1 - 2**-15) / np.abs(loud).max()
        np.testing.assert_allclose(samples, exact, rtol=0, atol=2**-16 + 1e-12)  # half a step of 16 bits


def test_page_without_clips_or_pictures_has_no_such_sections(tmp_path: Path) -> None:
    page.write_page(tmp_path / "index.html", "t", record(model("t", "teacher")))
    text = (tmp_path / "index.html").read_text()
    assert "<h2>Listen" not in text and "<h2>Pictures" not in text and "<td>t</td>" in text


def test_matched_renders_are_equally_loud_and_none_clips() -> None:
    rng = np.random.default_rng(1)
    spiky = 0.01 * rng.standard_normal(4000)
    spiky[7] = 0.9
    renders = {"a": 0.3 * rng.uniform(-1, 1, 4000) + 0.2, "spiky": spiky, "silent": np.zeros(4000)}
    gains = page.matching_gains(renders)
    matched = {label: gains[label] * y for label, y in renders.items()}
    assert np.std(matched["a"]) == pytest.approx(np.std(matched["spiky"]))
    assert max(np.abs(y).max() for y in matched.values()) == pytest.approx(1)
    assert gains["silent"] == 1
    assert page.matching_gains({"silent": np.zeros(8)}) == {"silent": 1}


@pytest.mark.parametrize("y", [np.array([0.0, np.nan]), np.zeros(0), np.zeros((2, 2))], ids=["nan", "empty", "stereo"])
def test_a_render_that_cannot_be_played_is_named(y: np.ndarray, tmp_path: Path) -> None:
    measured = record(model("t", "teacher"))
    with pytest.raises(ValueError, match="'riff', 'student': must be finite samples"):
        page.write_page(tmp_path / "x", "t", measured, clips=[page.Clip("riff", RATE, {"student": y})])
    with pytest.raises(ValueError, match="at least one render"):
        page.write_page(tmp_path / "x", "t", measured, clips=[page.Clip("riff", RATE, {})])
