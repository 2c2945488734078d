"""The listening test as a user types it: written, taken in a browser where there is one, analysed, bad input."""

import csv
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
from model_files import lstm, wavenet

from jaxalias import listening
from jaxalias.commands import command_line, listening_test
from jaxalias.listening import ratings

RATE = 44_100
HEADER = "session_test_id,name,session_uuid,trial_id,rating_stimulus,rating_score,rating_time\n"


def run(monkeypatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["listening_test.py", *map(str, arguments), "--quiet"])
    command_line.run(listening_test.main)


@pytest.fixture
def riff(tmp_path: Path) -> Path:
    path = tmp_path / "riff.wav"
    soundfile.write(path, 0.3 * np.random.default_rng(0).uniform(-1, 1, RATE), RATE, "FLOAT")
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """The folder of a test with a clip that is recorded, late and turned over, and one that is not."""
    folder = tmp_path_factory.mktemp("written")
    random = np.random.default_rng(1)
    x = 0.3 * random.uniform(-1, 1, RATE)
    soundfile.write(folder / "a.wav", x, RATE, "FLOAT")
    soundfile.write(folder / "b.wav", -np.r_[np.zeros(100), x][:RATE], RATE, "FLOAT")
    with pytest.MonkeyPatch.context() as patch:
        models = ["--teacher", lstm(folder / "amp.json", 50.0), "--student", lstm(folder / "new.json", 5.0)]
        clips = ["--audio", f"guitar={folder / 'a.wav'}", "--recording", folder / "b.wav"]
        run(patch, *models, *clips, "--oversample", 2, "--seconds", 0.9, "--seed", 5, "--output", folder / "out")
    return folder


def test_written_test(written: Path) -> None:
    record = json.loads((written / "out" / "test.json").read_text())
    assert record["seed"] == 5 and record["loudness_lufs"] == -23
    assert list(record["models"]) == ["teacher", "student"]
    trials = {trial["trial"]: trial for trial in record["trials"]}
    assert list(trials) == ["guitar/a", "sweep/20-10000_Hz", "sweep/10000-20000_Hz"]
    assert trials["guitar/a"]["reference"] == "recording, 100 samples late, turned over"
    assert trials["guitar/a"]["seconds"] == 0.9
    assert trials["sweep/20-10000_Hz"]["seconds"] == 5
    assert trials["sweep/20-10000_Hz"]["reference"] == "teacher at 2 times its rate"
    assert all(list(trial["gains_db"]) == ["reference", "teacher", "student", "anchor"] for trial in trials.values())
    names = {str(path.relative_to(written / "out")) for path in (written / "out").rglob("*") if path.is_file()}
    assert {"index.html", "test.json", f"webmushra/{record['test_id']}.yaml", "inputs/guitar-a.wav"} <= names
    heard, _ = soundfile.read(written / "out" / "inputs" / "guitar-a.wav")
    assert len(heard) == RATE  # a second: more than is heard, so that a late recording can be moved
    sounds = sorted((written / "out" / "webmushra" / record["test_id"]).iterdir())
    assert len(sounds) == 12
    for path in sounds:
        y, rate = soundfile.read(path)
        assert rate == RATE and np.abs(y).max() < 1
        assert listening.loudness(y, rate) == pytest.approx(-23, abs=0.01)  # 16 bits
        if path.name.endswith("_0.wav") and len(y) == 0.9 * RATE:  # the recording, moved and turned over again
            middle = slice(RATE // 10, RATE // 2)
            assert np.corrcoef(y[middle], heard[middle])[0, 1] > 0.9999


def test_same_seed_same_files(written: Path, monkeypatch, tmp_path: Path) -> None:
    models = ["--teacher", written / "amp.json", "--audio", written / "a.wav", "--device", "clipper"]
    for folder in "ab":
        run(monkeypatch, *models, "--seed", 1, "--output", tmp_path / folder, "--json", tmp_path / f"{folder}.json")
    files = {path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert len(files) == 2 + 3 + 1 + 3 * 3
    for name in files:
        one, other = tmp_path / "a" / name, tmp_path / "b" / name
        if name.suffix == ".wav":  # whose header may hold the time
            np.testing.assert_array_equal(soundfile.read(one)[0], soundfile.read(other)[0])
        else:
            assert one.read_bytes() == other.read_bytes()
    records = [json.loads((tmp_path / f"{folder}.json").read_text()) for folder in "ab"]
    assert records[0] == records[1]
    assert {trial["reference"] for trial in records[0]["trials"]} == {"virtual device clipper"}
    assert records[0]["trials"][0]["trial"] == "music/a"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "either --teacher"),
        (["--teacher", "{amp}", "--analyse", "x.csv"], "either --teacher"),
        (["--analyse", "x.csv", "--student", "{amp}"], "takes results alone"),
        (["--analyse", "absent.csv"], "absent.csv"),
        (["--teacher", "absent.nam"], "absent.nam"),
        (["--teacher", "{riff}"], "riff.wav"),
        (["--teacher", "{amp}", "--student", "{nam}"], "sample_rate must be the teacher's 44100 Hz, got 48000"),
        (["--teacher", "{nam}", "--audio", "{riff}"], "riff.wav: sample rate must be the models' 48000 Hz, got 44100"),
        (["--teacher", "{amp}", "--audio", "{amp}"], "must be an audio file"),
        (["--teacher", "{amp}", "--audio", "{silent}"], "clip 'silent': is silent"),
        (["--teacher", "{amp}", "--audio", "{short}"], "clip 'short': must last at least 0.4 s, lasts 0.1"),
        (["--teacher", "{amp}", "--audio", "{riff}", "--recording", "{silent}"], "silent.wav: must peak at -50 dB"),
        (["--teacher", "{amp}", "--recording", "a.wav"], "--recording: one for each --audio (0) or 2 more, got 1"),
        (["--teacher", "{amp}", "--audio", "a", "--recording", "a", "--device", "clipper"], "there is one reference"),
        (["--teacher", "{amp}", "--audio", "{riff}", "{riff}"], "music/riff is there twice"),
        (["--teacher", "{amp}", "--audio", "all={riff}"], "a group's name must not be"),
        (["--teacher", "{amp}", "--audio", "{riff}", "--recording", "{late}"], "samples late, it must be within 0.5 s"),
        (
            ["--teacher", "{amp}", "--audio", "{riff}", "--recording", "{brief}"],
            "brief.wav: must be as long",
        ),
        (
            ["--teacher", "{amp}", "--audio", "{riff}", "--recording", "{other}"],
            "other.wav: must be what a device",
        ),
        (["--teacher", "{amp}", "--seconds", "0.1"], "--seconds: must be at least 0.4"),
        (["--teacher", "{amp}", "--output", "{riff}"], "--output"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments, words, riff, tmp_path, monkeypatch, capsys) -> None:
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(tmp_path / "late.wav", np.r_[np.zeros(23_000), soundfile.read(riff)[0]], RATE)
    soundfile.write(tmp_path / "short.wav", np.ones(RATE // 10), RATE)
    soundfile.write(tmp_path / "brief.wav", soundfile.read(riff)[0][: RATE * 9 // 20], RATE)
    soundfile.write(tmp_path / "other.wav", np.random.default_rng(7).uniform(-0.3, 0.3, RATE), RATE)
    places = {"amp": lstm(tmp_path / "amp.json"), "nam": wavenet(tmp_path / "amp.nam"), "riff": riff}
    places |= {name: tmp_path / f"{name}.wav" for name in ("silent", "short", "late", "brief", "other")}
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, *(argument.format(**places) for argument in arguments))
    assert stopped.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert words in line


def results(path: Path, listeners: dict[str, tuple[int, int, int]]) -> Path:
    """Reference, teacher and student as each listener rated them in one trial."""
    rows = [
        f"t,n,{who},music/riff,{stimulus},{score},1\n"
        for who, scores in listeners.items()
        for stimulus, score in zip(("reference", "teacher", "student"), scores, strict=True)
    ]
    path.write_text(HEADER + "".join(rows))
    return path


def test_analysis(tmp_path: Path, monkeypatch, capsys) -> None:
    first = results(tmp_path / "a.csv", {"u1": (100, 30, 60), "u2": (85, 40, 50), "u3": (79, 0, 100)})
    second = results(tmp_path / "b.csv", {"u4": (95, 50, 70)})
    run(monkeypatch, "--analyse", first, second, "--output", tmp_path, "--json", tmp_path / "r.json")
    printed = capsys.readouterr().out
    assert "1 of 4 listeners left out: hidden reference below 80 in over 15% of trials" in printed
    assert "u3: in 100%" in printed
    assert "fewer than 6 listeners: no difference can be significant" in printed
    record = json.loads((tmp_path / "r.json").read_text())
    assert [(row["stimulus"], row["median"]) for row in record["medians"]] == [
        ("reference", 95), ("teacher", 40), ("student", 60),
    ]  # fmt: skip
    (row,) = record["comparisons"]
    assert (row["listeners"], row["median_difference"], row["effect"], row["p"]) == (3, 20, 1, 0.25)
    assert (tmp_path / "violins.png").stat().st_size > 10_000
    run(monkeypatch, "--analyse", first, second, "--output", tmp_path, "--screening", "bs1534")
    assert "2 of 4 listeners left out: hidden reference below 90" in capsys.readouterr().out


def test_analysis_of_nobody_is_one_line_and_exit_2(tmp_path: Path, monkeypatch, capsys) -> None:
    path = results(tmp_path / "a.csv", {"u1": (50, 30, 60)})
    with pytest.raises(SystemExit) as stopped:
        run(monkeypatch, "--analyse", path, "--output", tmp_path)
    assert stopped.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and "post-screening leaves no listener" in line


class Reports(BaseHTTPRequestHandler):
    """Takes what the robot has to say, once."""

    def do_GET(self) -> None:
        path, _, said = self.path.partition("?")
        if path == "/report":
            self.server.reports.put(json.loads(unquote(said)))  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Quietly."""


@pytest.fixture
def reports() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Reports) as server:
        server.reports = queue.Queue()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_session_in_a_browser(written: Path, reports, tmp_path: Path, monkeypatch, capsys) -> None:
    """A robot in the page listens, rates, reloads half-way, saves; its file is analysed."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here: the page of the listening test is not tried in a browser")
    robot = (Path(__file__).parent / "listening_robot.js").read_text("utf-8")
    robot = robot.replace("REPORT_TO", f"http://127.0.0.1:{reports.server_port}/report?")
    page = (written / "out" / "index.html").read_text("utf-8")
    (tmp_path / "page.html").write_text(page.replace("</body>", f"<script>{robot}</script></body>"), "utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
    flags += [f"--user-data-dir={tmp_path / 'profile'}", (tmp_path / "page.html").as_uri()]
    browser = subprocess.Popen(
        [chromium, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path, start_new_session=True
    )
    try:
        said = reports.reports.get(timeout=150)
    finally:
        os.killpg(browser.pid, signal.SIGTERM)
        browser.wait(timeout=20)
    assert "error" not in said, said["error"]

    results_file = tmp_path / "results.csv"
    results_file.write_text(said["csv"])
    found = {(rating.trial, rating.stimulus): rating for rating in ratings.read([results_file])}
    assert len(found) == 3 * 4
    assert {rating.listener for rating in found.values()} == {said["session"]}
    for (_, stimulus), rating in found.items():
        assert rating.score == {"reference": 100, "teacher": 90, "student": 80, "anchor": 70}[stimulus]
    record = json.loads((written / "out" / "test.json").read_text())
    assert {rating.test for rating in found.values()} == {record["test_id"]}
    assert {trial for trial, _ in found} == {trial["trial"] for trial in record["trials"]}
    with results_file.open(newline="") as file:
        assert {row["name"] for row in csv.DictReader(file)} == {'Ann "A", 1'}
    run(monkeypatch, "--analyse", results_file, "--output", tmp_path)
    assert "0 of 1 listeners left out" in capsys.readouterr().out
