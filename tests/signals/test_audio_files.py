"""Audio in and out: exact samples, rates, blocks, and nothing half written."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxalias.signals import audio_files
from jaxalias.signals.audio_files import AudioFileError

CONVERTED = 1e-6
"""libsoxr VHQ on a tone in its pass-band: -120 dB of full scale."""


def tone(f0_hz: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * f0_hz * np.arange(round(seconds * rate)) / rate)


def cut(x: np.ndarray, sizes: tuple[int, ...]) -> Iterator[np.ndarray]:
    yield from np.split(x, np.cumsum(sizes))


@pytest.mark.parametrize("bits", ["16", "24", "float"])
def test_what_is_written_is_read_back_to_the_bit(tmp_path, bits):
    steps = {"16": 2**15, "24": 2**23, "float": 2**23}[bits]
    x = np.random.default_rng(0).integers(-steps, steps, 3000) / steps
    x[:2] = -1, 1 - 1 / steps
    with audio_files.writing(tmp_path / "x.wav", 44_100, bits) as sink:
        for block in cut(x, (1, 999)):
            sink.write(block)
    found = audio_files.read(tmp_path / "x.wav")
    np.testing.assert_array_equal(found.samples, x)
    assert (found.sample_rate, found.warnings) == (44_100, ())
    assert (sink.clipped, sink.peak, sink.length) == (0, 1, 3000)


def test_pcm_rounds_clips_and_counts(tmp_path):
    x = np.array([0.4, 0.6, -0.6, 1.5, 2**15, -(2**15) - 0.6, 1e9]) / 2**15
    with audio_files.writing(tmp_path / "x.wav", 8000, "16") as sink:
        sink.write(x)
    found = audio_files.read(tmp_path / "x.wav").samples * 2**15
    np.testing.assert_array_equal(found, [0, 1, -1, 2, 2**15 - 1, -(2**15), 2**15 - 1])
    assert sink.clipped == 3
    assert sink.peak == pytest.approx(1e9 / 2**15)


@pytest.mark.parametrize(("name", "subtype"), [("x.flac", "PCM_24"), ("x.aiff", "PCM_16"), ("x.wav", "PCM_U8")])
@pytest.mark.parametrize("rate", [22_050, 44_100, 96_000])
def test_reads_formats_depths_and_rates_aligned(tmp_path, name, subtype, rate):
    soundfile.write(tmp_path / name, tone(997, rate), rate, subtype=subtype)
    found = audio_files.read(tmp_path / name, 48_000)
    expected = tone(997, 48_000)
    assert found.sample_rate == 48_000
    assert len(found.samples) == len(expected)
    inner = slice(2000, -2000)
    step = {"PCM_24": 2**-23, "PCM_16": 2**-15, "PCM_U8": 2**-7}[subtype]
    np.testing.assert_allclose(found.samples[inner], expected[inner], rtol=0, atol=CONVERTED + 2 * step)


def test_what_the_lower_rate_cannot_hold_is_gone():
    passed = np.concatenate(list(audio_files.resampled([tone(23_000, 48_000)], 48_000, 44_100)))
    assert np.max(np.abs(passed[2000:-2000])) < CONVERTED


@pytest.mark.parametrize("sizes", [(1, 1, 3000), (777,) * 20, (0, 0, 15_000)])
def test_blocks_do_not_change_a_signal(sizes):
    x = np.random.default_rng(0).normal(size=20_000)
    whole = np.concatenate(list(audio_files.resampled([x], 44_100, 48_000)))
    np.testing.assert_array_equal(np.concatenate(list(audio_files.resampled(cut(x, sizes), 44_100, 48_000))), whole)
    blocks = list(audio_files.in_blocks(cut(x, sizes), 1024))
    assert {len(block) for block in blocks[:-1]} == {1024}
    np.testing.assert_array_equal(np.concatenate(blocks), x)
    for skip, length in ((0, 20_000), (1500, 3), (19_000, 2000)):
        found = np.concatenate(list(audio_files.exactly(cut(x, sizes), skip=skip, length=length)))
        np.testing.assert_array_equal(found, np.pad(x, (0, 2000))[skip : skip + length])


def test_stereo_is_its_first_channel_with_a_warning(tmp_path):
    left, right = tone(100, 8000), tone(300, 8000)
    soundfile.write(tmp_path / "x.wav", np.stack([left, right], axis=1), 8000, subtype="DOUBLE")
    found = audio_files.read(tmp_path / "x.wav")
    np.testing.assert_array_equal(found.samples, left)
    assert found.warnings == (f"{tmp_path / 'x.wav'}: has 2 channels; only the first is used",)


def test_a_first_channel_with_little_but_hum_is_said(tmp_path):
    right, path = tone(300, 8000), tmp_path / "x.wav"
    soundfile.write(path, np.stack([0.02 * right, right], axis=1), 8000, subtype="FLOAT")
    (warning,) = audio_files.read(path).warnings
    assert warning.endswith("only the first is used, which peaks at -40 dB, channel 2 at -6 dB: --channel 2 takes that")


@pytest.mark.parametrize("first_db", [None, -70.0])
def test_sound_in_another_channel_is_pointed_at(tmp_path, first_db):
    right, path = tone(300, 8000), tmp_path / "x.wav"
    left = right * (0 if first_db is None else 10 ** (first_db / 20))
    soundfile.write(path, np.stack([left, 0 * left, right], axis=1), 8000, subtype="FLOAT")
    level = "is silent" if first_db is None else "peaks at -76 dB"
    rule = f"^{re.escape(str(path))}: its first channel {level}, channel 3 at -6 dB; choose one with --channel 3 or"
    for reader in (audio_files.read, lambda path: audio_files.reading(path).__enter__()):
        with pytest.raises(AudioFileError, match=rule):
            reader(path)
    for channel, wanted in ((1, left), (2, 0 * left), (3, right)):
        found = audio_files.read(path, channel=channel)
        np.testing.assert_allclose(found.samples, wanted, rtol=0, atol=1e-7)
        assert found.warnings == ()
    with pytest.raises(AudioFileError, match=r"x\.wav: --channel must be 1 to 3, got 4"):
        audio_files.read(path, channel=4)


def test_a_file_of_one_channel_has_no_other(tmp_path):
    soundfile.write(tmp_path / "x.wav", tone(100, 8000), 8000, subtype="DOUBLE")
    found = audio_files.read(tmp_path / "x.wav", channel=2)
    np.testing.assert_array_equal(found.samples, tone(100, 8000))
    assert found.warnings == (f"{tmp_path / 'x.wav'}: has 1 channel, there is no channel 2; the one is used",)


@pytest.mark.parametrize(
    ("name", "form", "subtype", "channels"),
    [
        ("x.wav", "WAV", "PCM_16", 1), ("x.wav", "WAV", "PCM_24", 2), ("x.wav", "WAV", "PCM_U8", 1),
        ("x.wav", "WAV", "FLOAT", 1), ("x.wav", "WAVEX", "PCM_32", 2), ("x.wav", "RF64", "PCM_24", 1),
        ("x.wav", "WAV", "ULAW", 1), ("x.wav", "WAV", "MS_ADPCM", 1), ("x.aiff", "AIFF", "PCM_24", 1),
        ("x.au", "AU", "PCM_16", 1), ("x.w64", "W64", "PCM_16", 1),
    ],
)  # fmt: skip
def test_a_file_that_was_cut_off_says_both_lengths(tmp_path, name, form, subtype, channels):
    path = tmp_path / name
    samples = np.repeat(tone(100, 8000, 3.0)[:, None], channels, axis=1)
    soundfile.write(path, samples, 8000, format=form, subtype=subtype)
    whole = audio_files.read(path, channel=1)
    assert whole.warnings == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    found = audio_files.read(path, channel=1)
    (said,) = found.warnings
    in_header, held = map(int, re.findall(r"(\d+) samples", said))
    assert said.startswith(f"{path}: was cut off: its header says ")
    assert held == len(found.samples) < in_header
    assert abs(in_header - len(whole.samples)) <= (0 if subtype != "MS_ADPCM" else 2000)  # which comes in blocks
    np.testing.assert_array_equal(found.samples, whole.samples[:held])


def test_an_ogg_file_without_its_end_is_called_cut_off(tmp_path):
    """Wherever it was cut: between pages, inside one, or inside its last one. The whole file gives no warning."""
    path = tmp_path / "whole.ogg"
    noise = 0.1 * np.random.default_rng(0).standard_normal(200_000)
    soundfile.write(path, noise, 44_100, format="OGG", subtype="VORBIS")
    whole = path.read_bytes()
    pages = [at.start() for at in re.finditer(b"OggS", whole)]
    assert audio_files.read(path).warnings == ()
    for size in (pages[-2], (pages[-3] + pages[-2]) // 2, pages[-1] + 10, len(whole) - 5):
        short = tmp_path / "short.ogg"
        short.write_bytes(whole[:size])
        (said,) = audio_files.read(short).warnings
        assert said.startswith(f"{short}: was cut off: its last Ogg page is missing, it holds ")


@pytest.mark.parametrize("length", [0x7FFFFF00, 0xFFFFFFFF])
def test_a_stream_of_unknown_length_is_not_called_cut_off(tmp_path, length):
    path = tmp_path / "x.wav"
    soundfile.write(path, tone(100, 8000), 8000)
    data = path.read_bytes()
    place = data.index(b"data") + 4
    path.write_bytes(data[:place] + length.to_bytes(4, "little") + data[place + 4 :])
    found = audio_files.read(path)
    assert (len(found.samples), found.warnings) == (4000, ())
    path.write_bytes(data[:place] + bytes(4) + data[place + 4 :])
    with pytest.raises(
        AudioFileError, match=r"got 0 by its header, though it has \d+ bytes: a recorder did not finish"
    ):
        audio_files.read(path)


def test_failed_writing_leaves_what_was_there(tmp_path):
    path = tmp_path / "x.wav"
    path.write_text("earlier")
    refused = pytest.raises(AudioFileError, match=re.escape("x.wav: samples must be finite, sample 6 is nan"))
    with refused, audio_files.writing(path, 8000, "16") as sink:
        sink.write(np.zeros(5))
        sink.write(np.array([0, np.nan]))
    with pytest.raises(KeyboardInterrupt), audio_files.writing(path, 8000, "16"):
        raise KeyboardInterrupt
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_too_long_for_wav_is_rf64(tmp_path):
    with audio_files.writing(tmp_path / "x.wav", 8000, "float", length=2**30) as sink:
        sink.write(tone(100, 8000))
    assert (tmp_path / "x.wav").read_bytes()[:4] == b"RF64"
    np.testing.assert_allclose(audio_files.read(tmp_path / "x.wav").samples, tone(100, 8000), rtol=0, atol=1e-7)


def test_refused_files_are_named_with_the_rule(tmp_path):
    def made(name: str, content: bytes) -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    soundfile.write(tmp_path / "nan.wav", np.array([0, 0, np.inf]), 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "whole.flac", np.random.default_rng(0).uniform(-1, 1, 50_000), 8000)
    flac = (tmp_path / "whole.flac").read_bytes()
    for path, rule in (
        (tmp_path / "none.wav", "there is none of this name"),
        (tmp_path, "is a folder"),
        (made("text.wav", b"not audio"), "Format not recognised"),
        (made("text.raw", b"not audio"), "must be an audio file that libsndfile reads"),
        (tmp_path / "empty.wav", "at least 1 sample, got 0"),
        (tmp_path / "nan.wav", "must be finite, sample 2 is inf"),
        (made("cut.flac", flac[: len(flac) // 2]), "cannot be read from sample|must hold the 50000 samples"),
    ):
        with pytest.raises(AudioFileError, match=f"^{re.escape(str(path))}: .*({rule})") as caught:
            audio_files.read(path)
        assert "\n" not in str(caught.value)
        assert ("copy or export it again" in str(caught.value)) == (path.stem in ("empty", "cut"))
    for path in (tmp_path, tmp_path / "text.wav" / "x.wav"):
        with pytest.raises(AudioFileError, match=re.escape(str(path))), audio_files.writing(path, 8000, "16"):
            pass
