"""The notebook runs from its first cell to its last, in a reduced form, and stores what it shows."""

import json
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pytest
from model_files import wavenet

NOTEBOOK = Path(__file__).parents[1] / "experiments" / "walkthrough.ipynb"
CELLS = json.loads(NOTEBOOK.read_text())["cells"]
REDUCED = "UPDATES, TONES, MUSIC_S, LOWEST_NOTE = 4, 2, 2.0, 106"


def code() -> list[str]:
    return ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]


@pytest.mark.slow
def test_every_cell_runs_on_a_tiny_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = wavenet(tmp_path / "tiny.nam", 3.0)
    (settings,) = (i for i, cell in enumerate(code()) if "\nUPDATES, " in cell)
    cells = code()
    lines = cells[settings].splitlines()
    for start, line in (("MODEL = ", f"MODEL = Path({str(model)!r})"), ("UPDATES, ", REDUCED)):
        (place,) = (i for i, found in enumerate(lines) if found.startswith(start))
        lines[place] = line
    cells[settings] = "\n".join(lines)
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    monkeypatch.chdir(NOTEBOOK.parent)
    names: dict[str, object] = {}
    with matplotlib.rc_context():
        matplotlib.use("agg")
        for number, cell in enumerate(cells):
            exec(compile(cell, f"{NOTEBOOK.name}, code cell {number + 1}", "exec"), names)
    printed = capsys.readouterr().out
    assert "slope" in printed and "two ESR" in printed  # the term and the source of one's own
    assert "nan" not in printed


def test_stored_outputs_are_of_a_whole_run_without_errors() -> None:
    outputs = [output for cell in CELLS if cell["cell_type"] == "code" for output in cell["outputs"]]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == sum(cell.count("plt.show()") for cell in code())
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert NOTEBOOK.stat().st_size < 1_000_000
