"""Sounds of a listening test: anchor, loudness, fades, order; and the folder and page that they end in."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest
import soundfile
import tolerances
from scipy.signal import lfilter

from jaxalias import listening
from jaxalias.listening import Trial, page, webmushra

RATE = 48_000
LOUDNESS_DB = 1e-5  # matching stops at 1e-6, and lowering all together may move a block across the gate
TITLE = 'a "b": é <script> # $1'


def noise(seed: int, scale: float = 0.1, seconds: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).standard_normal(round(seconds * RATE))


def trials() -> list[Trial]:
    """Two clips; one stimulus has silence in it, another a peak that cannot stay below full scale."""
    gap = np.concatenate([np.zeros(RATE // 2), 1e-3 * noise(2)])[:RATE]
    spiky = 1e-4 * noise(3)
    spiky[RATE // 2] = 1.0
    first = {"reference": noise(0), "teacher": gap, "anchor": listening.anchor(noise(0))}
    return [
        Trial("music", "riff", first, "a"),
        Trial("sweep", "up", {"reference": noise(4, 0.9), "teacher": spiky, "anchor": noise(5)}, "b"),
    ]


def test_anchor_by_its_formula() -> None:
    gain = 10 ** (48 / 20)  # 251
    x = np.array([0.0, 1e-3, -1e-3, 1.0, -1.0, 0.5 / gain, -0.6 / gain])
    expected = 10 ** (-9 / 20) * np.array([0, gain * 1e-3, -gain * 1e-3, 1, -0.5, 0.5, -0.5])
    np.testing.assert_allclose(listening.anchor(x), expected, rtol=tolerances.F64)


def test_loudness_of_the_standard_s_own_sine() -> None:
    time = np.arange(4 * RATE) / RATE
    assert listening.loudness(np.sin(2 * np.pi * 997 * time), RATE) == pytest.approx(-3.01, abs=0.01)


def test_loudness_is_that_of_the_standard_s_coefficients() -> None:
    """BS.1770-4, tables 1 and 2 (48 kHz), and one block: no gate to pass."""
    y = noise(0, 0.2, 0.4)
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285], [1.0, -1.69065929318241, 0.73248077421585]
    high_pass = [1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621]
    weighted = lfilter(*high_pass, lfilter(*shelf, y))
    assert listening.loudness(y, RATE) == pytest.approx(-0.691 + 10 * np.log10(np.mean(weighted**2)), abs=0.002)


def test_all_stimuli_are_equally_loud_faded_and_below_full_scale() -> None:
    matched, gains_db, loudness_lufs = listening.match(trials(), RATE)
    assert loudness_lufs < listening.TARGET_LUFS - 1  # the spike has lowered everything
    meter, peak = pyloudnorm.Meter(RATE, filter_class="DeMan"), 0.0
    for trial, gains, before in zip(matched, gains_db, trials(), strict=True):
        for name, y in trial.stimuli.items():
            assert meter.integrated_loudness(y) == pytest.approx(loudness_lufs, abs=LOUDNESS_DB)
            assert y[0] == 0 and abs(y[-1]) < 1e-12
            middle = slice(RATE // 10, -RATE // 10)
            np.testing.assert_allclose(y[middle], 10 ** (gains[name] / 20) * before.stimuli[name][middle])
            peak = max(peak, np.abs(y).max())
    assert peak == pytest.approx(1 - 2**-15)
    quiet, _, at_target = listening.match(trials()[:1], RATE)
    assert at_target == listening.TARGET_LUFS
    assert np.abs(quiet[0].stimuli["anchor"]).max() < 1


def test_fade_is_a_raised_cosine() -> None:
    y = listening.fade(np.ones(RATE), RATE)
    length = round(0.02 * RATE)
    np.testing.assert_allclose(y[:length], np.sin(np.pi * np.arange(length) / length / 2) ** 2, atol=tolerances.F64)
    np.testing.assert_array_equal(y[::-1], y)
    assert (y[length:-length] == 1).all()


@pytest.mark.parametrize(("low", "high"), listening.SWEEPS_HZ)
def test_sweep_rises_linearly(low: float, high: float) -> None:
    y = listening.sweep(low, high, RATE)
    assert len(y) == 5 * RATE and y[0] == pytest.approx(0, abs=tolerances.F64)
    assert np.abs(y).max() == pytest.approx(10 ** (-6 / 20), abs=1e-4)
    crossings = np.flatnonzero(np.diff(np.signbit(y)))
    for second in range(1, 5):
        around = crossings[np.abs(crossings - second * RATE) < RATE / 20]
        measured_hz = (len(around) - 1) / 2 * RATE / (around[-1] - around[0])
        assert measured_hz == pytest.approx(low + (high - low) * second / 5, rel=0.01)
    with pytest.raises(ValueError, match="a sweep to 20000 Hz needs more than 40000 Hz, the models have 32000"):
        listening.sweep(10_000.0, 20_000.0, 32_000)


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.full(RATE, 0.5), "clip 'riff', teacher: is silent"),
        (np.r_[noise(0), np.nan], "sample 48000 is not"),
        (noise(0, seconds=0.3), "must last at least 0.4 s, lasts 0.3"),
        (1.0 * (np.arange(49_920) == 48_480), "too short for its loudness"),  # a click after the last whole block
    ],
)
def test_a_sound_that_nobody_can_judge_is_named(y: np.ndarray, words: str) -> None:
    stimuli = {"reference": noise(0), "teacher": y}
    with pytest.raises(ValueError, match=re.escape(words)):
        listening.match([Trial("music", "riff", stimuli, "a")], RATE)


def test_orders_are_permutations_that_the_seed_decides() -> None:
    many = [trials()[0]._replace(clip=str(i)) for i in range(6)]
    first = listening.orders(many, 1)
    assert first == listening.orders(many, 1) != listening.orders(many, 2)
    assert len(first) == listening.ORDERS
    for order in first:
        assert sorted(order.trials) == list(range(6))
        assert all(sorted(stimuli) == [0, 1, 2] for stimuli in order.stimuli)
    places = np.array([order.trials.index(0) for order in first])
    assert len(set(places)) == 6, "a trial should come at every place for some listener"


def test_a_test_s_name_follows_from_what_is_heard() -> None:
    names = {listening.test_id(TITLE, trials(), 0), listening.test_id(TITLE, trials(), 0)}
    assert len(names) == 1
    assert re.fullmatch(r"a-b-script-1-[0-9a-f]{8}", names.pop())
    louder = trials()
    louder[1].stimuli["anchor"][7] += 1e-3
    assert len({listening.test_id("t", t, seed) for t, seed in ((trials(), 0), (trials(), 1), (louder, 0))}) == 3


def test_webmushra_configuration(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml")
    matched, _, _ = listening.match(trials(), RATE)
    config, *sounds = webmushra.write(tmp_path, TITLE, "t-1", RATE, matched)
    text = config.read_text("utf-8")
    assert "- - " not in text and "\\u" not in text  # what webMUSHRA's parser cannot read
    read = yaml.safe_load(text)
    assert {name: read[name] for name in ("testname", "testId", "bufferSize")} == {
        "testname": TITLE,
        "testId": "t-1",
        "bufferSize": 2048,
    }
    assert read["remoteService"] == "service/write.php"
    welcome, volume, practice, rated, finish = read["pages"]
    kinds = [screen["type"] for screen in (welcome, volume, practice, finish)]
    assert kinds == ["generic", "volume", "mushra", "finish"]
    assert rated[0] == "random" and [screen["id"] for screen in rated[1:]] == ["music/riff", "sweep/up"]
    assert finish["writeResults"] is True and finish["questionnaire"][0]["name"] == "name"
    for screen, trial in zip(rated[1:], matched, strict=True):
        assert screen["type"] == "mushra" and screen["createAnchor35"] is False and screen["createAnchor70"] is False
        heard = {"reference": screen["reference"], **screen["stimuli"]}
        assert list(heard) == ["reference", "teacher", "anchor"]
        for name, path in heard.items():
            samples, rate = soundfile.read(tmp_path / Path(path).relative_to("configs"))
            assert rate == RATE
            np.testing.assert_allclose(samples, trial.stimuli[name], rtol=0, atol=2**-16 + 1e-12)
    assert sorted(sounds) == sorted((tmp_path / "t-1").iterdir())


def test_page_carries_every_sound_and_needs_nothing_else(tmp_path: Path) -> None:
    matched, _, _ = listening.match(trials(), RATE)
    orders = listening.orders(matched, 3)
    for name in ("a.html", "b.html"):
        page.write(tmp_path / name, TITLE, "t-1", RATE, matched, orders)
    text = (tmp_path / "a.html").read_text("utf-8")
    assert (tmp_path / "b.html").read_text("utf-8") == text
    assert not re.search(r"https?://|@import|url\(|src=|<link", text)
    assert "<script> # $1" not in text and "&lt;script&gt; # $1" in text
    (data,) = re.findall(r'<script type="application/json" id="test">(.*?)</script>', text)
    test = json.loads(data)
    assert test["id"] == "t-1" and test["training"] == "training"
    assert test["orders"] == [order._asdict() for order in orders]
    for trial, carried in zip(matched, test["trials"], strict=True):
        assert carried["name"] == trial.name and carried["seconds"] == 1
        for stimulus, (name, y) in zip(carried["stimuli"], trial.stimuli.items(), strict=True):
            samples, rate = soundfile.read(io.BytesIO(base64.b64decode(stimulus["flac"])))
            assert (stimulus["name"], rate) == (name, RATE)
            np.testing.assert_allclose(samples, y, rtol=0, atol=2**-16 + 1e-12)
    body = text.partition('<script type="application/json"')[0]
    assert not re.search("teacher|anchor|student", body), "a listener must not see what is what"
