"""The ranking of many captures: order, sentence, links."""

from pathlib import Path
from typing import Any

import pytest

from jaxalias.reporting import library


def entry(path: str, role: str, high: float, nmr: float = -5.0) -> dict[str, Any]:
    played = {"ESR": -20.0, "NMR": -15.0, "audible": high}
    return {
        "path": path, "role": role, "oversample": 1,
        "metrics": {"NMR-T": nmr, "HESR-T": None if role == "teacher" else -30.0},
        "played": {name: {"self": played, "alias_free": played} for name in ("playing", "high_playing")},
    }  # fmt: skip


def record(name: str, before: float, after: float, networks: int = 1, kept: int = 0) -> dict[str, Any]:
    models = [entry(name, "teacher", before), entry(f"new_{name}", "student", after)]
    models += [entry(f"{name} small", "teacher", 0.9), entry(f"new_{name} small", "student", 0.8)] * (networks - 1)
    labels = [f"{name} {n}" for n in range(networks)]
    return {"models": models, "networks": labels, "as_it_was": dict.fromkeys(labels[:kept], "is worse")}


@pytest.fixture
def captures(tmp_path: Path) -> list[library.Capture]:
    """Gains of 0.2, 0.5, 0.6 with one teacher of two kept, and a loss whose teacher was kept."""
    records = {
        "a & b.nam": record("amps/a & b.nam", 0.6, 0.4),
        "best.nam": record("amps/best.nam", 0.7, 0.2),
        "half.nam": record("amps/half.nam", 0.8, 0.2, networks=2, kept=1),
        "worse.nam": record("amps/worse.nam", 0.1, 0.3, kept=1),
    }
    return [library.capture(found, tmp_path / "runs" / name, tmp_path) for name, found in records.items()]


def test_those_that_gain_most_come_first_and_kept_teachers_last(captures: list[library.Capture]) -> None:
    order = library.ranked(captures)
    assert [found.name for found in order] == ["best.nam", "a & b.nam", "half.nam", "worse.nam"]
    header, first, *_, last = library.rows(order)
    assert first[: header.index("playing audible (%)")] == ["best.nam", "use it", "70.0", "-", "20.0"]
    assert last[1] == "keep the teacher"
    assert library.rows(order)[3][1] == "keep 1 of 2 teachers"


def test_the_sentence_counts_each_file_once(captures: list[library.Capture]) -> None:
    said = library.summary(captures, failed=1, left_out=3)
    assert said.startswith("2 of 5 captures have a student that is better than its teacher: 65 % of the frames")
    assert "30 % are left. Kept the teacher: 2. Could not be trained: 1. Files left out: 3." in said
    assert library.summary([], 1, 0).startswith("0 of 1 captures have a student that is better than its teacher. Kept")


def test_the_page_links_to_every_report_and_escapes_names(captures: list[library.Capture], tmp_path: Path) -> None:
    folder = tmp_path / "new"
    other = library.capture(record("amps/far.nam", 0.5, 0.1), tmp_path / "runs" / "far away", folder)
    page, table = library.write(folder, [*captures, other], ["<amp>: silent"], [], {"versions": {"jax": "1"}})
    text = page.read_text()
    assert 'href="runs/a%20%26%20b.nam/index.html"' in text and 'href="../runs/far%20away/index.html"' in text
    assert "&lt;amp&gt;: silent" in text and "<amp>" not in text and "a &amp; b.nam</a>" in text
    assert "Left out</h2>" not in text
    assert len(table.read_text().splitlines()) == 1 + 5
