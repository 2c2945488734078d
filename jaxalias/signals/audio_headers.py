"""Audio files that were cut off: fewer samples than the header states, or no last page [disk]."""

import re
from pathlib import Path

import soundfile

_WIDTHS = {
    "PCM_S8": 1, "PCM_U8": 1, "ULAW": 1, "ALAW": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8,
}  # fmt: skip
_HEADER_BYTES = {"WAV": 0, "WAVEX": 0, "RF64": 0, "AU": 0, "AIFF": 8, "W64": 24}  # counted with a chunk of samples
_LENGTH_IN_LOG = r"^\s*(?:data|SSND|Data Size|Data size) *: *(\d+)(?: \(should be (\d+)\))?"
_UNKNOWN_BYTES = (range(0x7FFF0000, 0x80000001), range(0xFFFF0000, 0x100000000))  # in headers of streams
_HEADER_AT_MOST = 1024
_PAGE_HEADER, _PAGE_AT_MOST = 27, 27 + 255 + 255 * 255  # bytes of an Ogg page


def cut_off(path: Path, file: soundfile.SoundFile) -> tuple[str, ...]:
    """A warning if an uncompressed file holds fewer samples than its header states, or an Ogg file has no last page.

    libsndfile reads the samples that are there; only its log states the number in the header. Programs that write a
    stream do not know its length and write the largest number instead: such headers give no warning.

    Args:
        path: for the warning.
        file: the open file.

    Returns:
        The warning, or nothing.

    Example:
        with soundfile.SoundFile("take.wav") as file:
            warnings = cut_off(Path("take.wav"), file)
    """
    if file.format == "OGG" and not _has_last_page(path):
        held = f"{file.frames} samples ({file.frames / file.samplerate:.2f} s)"
        return (f"{path}: was cut off: its last Ogg page is missing, it holds {held}",)
    if file.format not in _HEADER_BYTES:
        return ()
    found = re.search(_LENGTH_IN_LOG, file.extra_info, re.MULTILINE)
    said = int(found[1]) if found else 0
    if found is None or (file.format != "RF64" and any(said in unknown for unknown in _UNKNOWN_BYTES)):
        return ()
    width = _WIDTHS.get(file.subtype, 0) * file.channels
    if width:
        frames = (said - _HEADER_BYTES[file.format]) // width
    else:
        frames = round(file.frames * said / int(found[2] or said))
    if frames <= file.frames:
        return ()
    lengths = (f"{length} samples ({length / file.samplerate:.2f} s)" for length in (frames, file.frames))
    return ("{}: was cut off: its header says {}, it holds {}".format(path, *lengths),)


def _has_last_page(path: Path) -> bool:
    """True if an Ogg file ends with a whole page that has the flag "end of stream" (RFC 3533, section 6)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _PAGE_AT_MOST))
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < _PAGE_HEADER or not page[5] & 4:
        return False
    segments = page[26]
    return len(page) >= _PAGE_HEADER + segments + sum(page[_PAGE_HEADER : _PAGE_HEADER + segments])


def unfinished(path: Path) -> str:
    """The reason why a file holds no samples although bytes follow its header, as the end of an error message, else "".

    Example:
        raise AudioFileError(f"{path}: must hold at least 1 sample, got 0{unfinished(path)}")
    """
    size = path.stat().st_size
    return f" by its header, though it has {size} bytes: a recorder did not finish it" if size > _HEADER_AT_MOST else ""
