"""Audio of an hour through `render.py` takes no more memory than a minute of it.

PYTHONPATH=tests python -m torture audio --seconds 3600
"""

import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import model_files
import numpy as np
import soundfile

from jaxalias.commands import writing

RATE = 44_100  # of the audio; the model's is 48 kHz, so that it is converted both ways
SHORT_S = 20.0
MEMORY_KIB = 32 * 1024  # an hour has 1.2 GB in float64


def write(path: Path, seconds: float) -> Path:
    """Noise, in blocks of a second."""
    block = np.random.default_rng(0).uniform(-0.3, 0.3, RATE)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        for _ in range(round(seconds)):
            file.write(block)
    return path


def render(model: Path, sound: Path, output: Path) -> tuple[int, float]:
    """The memory in KiB that the largest process so far has had, after this one; and its seconds."""
    files = ["--model", model, "--input", sound, "--output", output, "--quiet"]
    command = [sys.executable, writing.REPOSITORY / "experiments" / "render.py", *files]
    started = time.monotonic()
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, time.monotonic() - started


def torture(seconds: float, folder: Path) -> dict[str, Any]:
    """{"seconds" of audio, "peak_kib", "grown_kib": how much more than for 20 s of audio, "took_s", "failures"}."""
    model = model_files.wavenet(folder / "amp.nam")
    short = write(folder / "short.wav", SHORT_S)
    render(model, short, folder / "out.wav")  # compiles
    before, _ = render(model, short, folder / "out.wav")
    long = write(folder / "long.wav", seconds)
    peak, took_s = render(model, long, folder / "out.wav")
    failures = []
    if peak - before > MEMORY_KIB:
        failures.append(f"{seconds:g} s of audio took {peak} KiB, {SHORT_S:g} s took {before}")
    if soundfile.info(folder / "out.wav").frames != soundfile.info(long).frames:
        failures.append("the output is not as long as the input")
    for path in (long, folder / "out.wav"):
        path.unlink()
    return {"seconds": seconds, "peak_kib": peak, "grown_kib": peak - before, "took_s": round(took_s, 1),
            "failures": failures}  # fmt: skip
