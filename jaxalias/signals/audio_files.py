"""Read and write audio: WAV, FLAC and the other formats of libsndfile, in blocks, at any sample rate [disk].

Signals are mono numpy arrays (t,) in float64, full scale 1. Files are processed in blocks, with little memory; `read`
returns a whole file. libsoxr converts sample rates (quality VHQ, linear phase, delay compensated, stop-band below
-140 dB). Conversion in blocks and in one piece gives the same samples, bit for bit.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import soundfile
import soxr
from jaxtyping import Float

from jaxalias import disk
from jaxalias.signals import audio_headers, dsp

Signal = Float[np.ndarray, "t"]
Bits = Literal["16", "24", "float"]

BLOCK = 65_536  # samples read at a time
MUCH_LOUDER_DB = 20.0  # than the first channel: another channel that the user is told about
QUIET_DB = -50.0  # peak; a recording below it may hold nothing but the noise of the converter
_AGAIN = "it is damaged or was cut off: copy or export it again"
_SUBTYPES = {"16": "PCM_16", "24": "PCM_24", "float": "FLOAT"}
_READ_AS = {"PCM_16": "int16", "PCM_24": "int32", "FLOAT": "float32"}
_MADE_BY = "jaxalias:"
_BYTES = {"16": 2, "24": 3, "float": 4}
_WAV_MAX_BYTES = 2**32 - 2**16  # a WAV header counts in 32 bits; RF64 is the same file with 64


class AudioFileError(ValueError):
    """An audio file that cannot be read or written. The message is one line: file, rule, value."""


class Recording(NamedTuple):
    """A whole file: samples (t,), sample rate in Hz, and warnings for the user."""

    samples: Signal
    sample_rate: int
    warnings: tuple[str, ...]


class Source(NamedTuple):
    """An open file: `blocks` yields the samples of one channel, once. `length` is the number of samples in the file."""

    path: Path
    sample_rate: int
    length: int
    warnings: tuple[str, ...]
    blocks: Iterator[Signal]


class Sink:
    """An open file to write to. `clipped` counts samples beyond the range of PCM; `peak` is the largest magnitude."""

    def __init__(self, path: Path, file: soundfile.SoundFile, bits: Bits) -> None:
        self.clipped, self.peak, self.length = 0, 0.0, 0
        self.digest = hashlib.sha256()  # of the samples as the file holds them
        self._path, self._file, self._bits = path, file, bits

    def write(self, block: Signal) -> None:
        """Append samples. Raises AudioFileError if one is not finite; `writing` raises it if the disk is full."""
        _refuse_not_finite(self._path, block, self.length)
        self.peak = max(self.peak, float(np.max(np.abs(block), initial=0)))
        self.length += len(block)
        data = block.astype(np.float32)
        if self._bits != "float":
            data, clipped = dsp.quantise(block, int(self._bits))
            self.clipped += clipped
        self.digest.update(data.tobytes())
        self._file.write(data)


def read(path: str | os.PathLike[str], sample_rate: int | None = None, channel: int | None = None) -> Recording:
    """Read one channel of a file, at the sample rate of the file or converted to another.

    Args:
        path: any format of libsndfile, any sample rate, bit depth and number of channels.
        sample_rate: wanted sample rate in Hz; None keeps that of the file.
        channel: counted from 1; None is the first. A file with one channel always gives that channel.

    Raises:
        AudioFileError: no such file, not audio, empty, a sample that is not finite, or no such channel. Also if
            `channel` is None, the first channel is silent and another one is not.

    Example:
        samples, sample_rate, warnings = read("take.flac", 48_000)
    """
    with reading(path, channel) as source:
        samples = np.concatenate(list(source.blocks))
        return converted(Recording(samples, source.sample_rate, source.warnings), sample_rate)


def converted(recording: Recording, sample_rate: int | None) -> Recording:
    """The recording at another sample rate in Hz; None keeps its own.

    Example:
        >>> converted(Recording(np.zeros(441), 44_100, ()), 48_000).samples.shape
        (480,)
    """
    samples, rate, warnings = recording
    wanted = sample_rate or rate
    return Recording(np.concatenate(list(resampled([samples], rate, wanted))), wanted, warnings)


@contextmanager
def reading(path: str | os.PathLike[str], channel: int | None = None) -> Iterator[Source]:
    """Open a file to read it in blocks. Raises as `read`, also while the blocks are read.

    Example:
        with reading("take.wav") as source:
            peak = max(abs(block).max() for block in source.blocks)
    """
    path = Path(path)
    if not path.exists():
        raise AudioFileError(f"{path}: must be an audio file, there is none of this name")
    if not path.is_file():
        raise AudioFileError(f"{path}: must be an audio file, is a folder or a device")
    try:
        file = soundfile.SoundFile(path)
    except (soundfile.SoundFileError, TypeError, OSError) as error:  # TypeError: soundfile's for headerless ".raw"
        what = f"must be an audio file that libsndfile reads, as WAV and FLAC: {_reason(error)}"
        raise AudioFileError(f"{path}: {what}") from None
    with file:
        if file.frames == 0:
            what = f"must hold at least 1 sample, got 0{audio_headers.unfinished(path)}"
            raise AudioFileError(f"{path}: {what}; {_AGAIN}")
        index, warnings = _choose(path, file, channel)
        warnings += audio_headers.cut_off(path, file)
        yield Source(path, file.samplerate, file.frames, warnings, _blocks(path, file, index))


@contextmanager
def writing(
    path: str | os.PathLike[str], sample_rate: int, bits: Bits, length: int = 0, made_by: str = ""
) -> Iterator[Sink]:
    """Write a mono WAV file that gets its name only when it is complete.

    Before that, the samples are in a file with another name in the same folder. If a run fails or is interrupted, an
    earlier file of this name stays as it was, and no other file is left. AudioFileError: it cannot be written.

    Args:
        sample_rate: Hz.
        bits: 16 or 24 bit PCM (rounded, no dither, clipped samples are counted), or 32-bit float.
        length: number of samples to come, if known. A file beyond 4 GiB is an RF64, which WAV readers support too.
        made_by: one word that names the writing program; the function `made_by` returns it.

    Example:
        with writing("out.wav", 48_000, "24") as sink:
            sink.write(np.zeros(480))
    """
    target = Path(path)
    if target.is_dir():
        raise AudioFileError(f"{path}: must be a file name, is a folder")
    form = "RF64" if length * _BYTES[bits] > _WAV_MAX_BYTES else "WAV"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            disk.replacing(target) as partial,
            soundfile.SoundFile(partial, "w", sample_rate, 1, _SUBTYPES[bits], format=form) as file,
        ):
            sink = Sink(target, file, bits)
            yield sink
            if made_by:
                file.comment = f"{_MADE_BY} {made_by} {sink.digest.hexdigest()}"
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioFileError(f"{path}: cannot be written: {_reason(error)}") from None


def made_by(path: str | os.PathLike[str]) -> str | None:
    """The `made_by` of a file written by `writing`; None for other files, or if the samples have changed since.

    Example:
        made_by("out.wav")  # "render", for instance
    """
    try:
        with soundfile.SoundFile(path) as file:
            found = re.fullmatch(rf"{_MADE_BY} (\S+) ([0-9a-f]{{64}})", file.comment)
            if not found or file.subtype not in _READ_AS:
                return None
            digest = hashlib.sha256()
            for block in file.blocks(BLOCK, dtype=_READ_AS[file.subtype]):
                digest.update(block.tobytes())
    except (soundfile.SoundFileError, TypeError, OSError):
        return None
    return found[1] if digest.hexdigest() == found[2] else None


def resampled(blocks: Iterable[Signal], from_hz: int, to_hz: int) -> Iterator[Signal]:
    """The same signal at another sample rate, aligned in time, (t to_hz / from_hz,), in blocks of any length.

    Example:
        >>> sum(len(block) for block in resampled([np.zeros(441)], 44_100, 48_000))
        480
    """
    if from_hz == to_hz:
        yield from blocks
        return
    converter = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float64", quality="VHQ")
    for block in blocks:
        yield converter.resample_chunk(np.ascontiguousarray(block, np.float64))
    yield converter.resample_chunk(np.zeros(0), last=True)


def in_blocks(blocks: Iterable[Signal], size: int) -> Iterator[Signal]:
    """The same signal in blocks of `size` samples; the last may be shorter.

    Example:
        >>> [len(block) for block in in_blocks([np.zeros(5)], 2)]
        [2, 2, 1]
    """
    waiting = np.zeros(0)
    for block in blocks:
        waiting = np.concatenate([waiting, block])
        whole = len(waiting) // size * size
        yield from waiting[:whole].reshape(-1, size)
        waiting = waiting[whole:]
    if len(waiting):
        yield waiting


def exactly(blocks: Iterable[Signal], *, skip: int, length: int) -> Iterator[Signal]:
    """`length` samples of a signal, from sample `skip` on, padded with zeros after its end.

    Example:
        >>> np.concatenate(list(exactly([np.arange(4.0)], skip=2, length=3))).tolist()
        [2.0, 3.0, 0.0]
    """
    for block in blocks:
        kept = block[skip : skip + length]
        skip -= min(skip, len(block))
        length -= len(kept)
        yield kept
    yield np.zeros(length)


def _choose(path: Path, file: soundfile.SoundFile, channel: int | None) -> tuple[int, tuple[str, ...]]:
    """The index of the channel to read, and warnings."""
    count = file.channels
    if count == 1:
        said = f"{path}: has 1 channel, there is no channel {channel}; the one is used"
        return 0, ((said,) if (channel or 1) > 1 else ())
    if channel is not None:
        if channel > count:
            raise AudioFileError(f"{path}: --channel must be 1 to {count}, got {channel}")
        return channel - 1, ()
    peaks = np.zeros(count)
    for block in _frames(path, file):
        peaks = np.fmax(peaks, np.max(np.abs(block), axis=0))
    file.seek(0)
    quiet, best = peaks < 10 ** (QUIET_DB / 20), int(np.argmax(peaks))
    first = f"peaks at {20 * np.log10(peaks[0]):.0f} dB" if peaks[0] else "is silent"
    loudest = f"channel {best + 1} at {20 * np.log10(max(peaks[best], 1e-30)):.0f} dB"
    if quiet[0] and not quiet.all():
        choice = f"choose one with --channel {best + 1} or --channel 1"
        raise AudioFileError(f"{path}: its first channel {first}, {loudest}; {choice}")
    warning = f"{path}: has {count} channels; only the first is used"
    if peaks[best] > 10 ** (MUCH_LOUDER_DB / 20) * peaks[0]:
        warning += f", which {first}, {loudest}: --channel {best + 1} takes that"
    return 0, (warning,)


def _blocks(path: Path, file: soundfile.SoundFile, index: int) -> Iterator[Signal]:
    position = 0
    for frames in _frames(path, file):
        block = frames[:, index]
        _refuse_not_finite(path, block, position)
        position += len(block)
        yield block


def _frames(path: Path, file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """All channels (t, c), in blocks."""
    position = 0
    while True:
        try:
            block = file.read(BLOCK, dtype="float64", always_2d=True)
        except (soundfile.SoundFileError, OSError) as error:
            what = f"cannot be read from sample {position} on ({_reason(error)})"
            raise AudioFileError(f"{path}: {what}; {_AGAIN}") from None
        if not len(block):
            break
        position += len(block)
        yield block
    if position < file.frames:
        what = f"must hold the {file.frames} samples of its header, ends after {position}"
        raise AudioFileError(f"{path}: {what}; {_AGAIN}")


def _refuse_not_finite(path: Path, block: Signal, position: int) -> None:
    bad = ~np.isfinite(block)
    if bad.any():
        first = int(np.argmax(bad))
        raise AudioFileError(f"{path}: samples must be finite, sample {position + first} is {block[first]}")


def _reason(error: Exception) -> str:
    return getattr(error, "error_string", None) or str(error)
