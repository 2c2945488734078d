"""A short form of what `python -m torture` does in full.

Those of damaged model files, of damaged checkpoints, of runs that are killed and of the product of commands and kinds
are in `formats/test_mutations.py`, `training/test_checkpoints.py`, `commands/test_finetune.py` and
`commands/test_every_model_in_every_command.py`.
"""

import os
import subprocess
import sys
from pathlib import Path

import model_files
from torture import full_disk, long_audio

from jaxalias.commands import writing


def test_commands_on_a_disk_that_takes_no_more_end_in_one_line_and_lose_nothing(tmp_path: Path) -> None:
    found = full_disk.torture(tmp_path, full_disk.QUICK, mounts=False)
    assert not found["failures"]
    assert found["tries"] == len(full_disk.QUICK) * len(full_disk.LIMITS)


def test_minutes_of_audio_take_no_more_memory_than_seconds(tmp_path: Path) -> None:
    """Four minutes, of which a copy in float64 would take 85 MB."""
    found = long_audio.torture(240.0, tmp_path)
    assert not found["failures"]


def test_a_home_folder_that_takes_no_files_is_no_error(tmp_path: Path) -> None:
    """Compiled programs and fonts are then not kept; no line about it, so that those about the input can be read."""
    model, sound = model_files.wavenet(tmp_path / "amp.nam"), long_audio.write(tmp_path / "in.wav", 1)
    (tmp_path / "cache").write_text("a file in the place of the folder")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    for name in ("JAX_COMPILATION_CACHE_DIR", "MPLCONFIGDIR"):
        environment.pop(name, None)
    render = writing.REPOSITORY / "experiments" / "render.py"
    files = ["--model", model, "--input", sound, "--output", tmp_path / "out.wav", "--quiet"]
    command = [str(part) for part in (sys.executable, render, *files)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
