"""`finetune` as it is typed, in the process of the test, with two seconds of music."""

import json
import sys
from pathlib import Path

import little_music
import pytest
from model_files import lstm

from jaxalias import fine_tuning
from jaxalias.commands import command_line, finetune

ALIASING = 200.0  # input gain at which the small model aliases audibly
EXACT = ["--updates", "4", "--batch-size", "2", "--precision", "float64"]


def with_little_music(monkeypatch) -> None:
    monkeypatch.setattr(fine_tuning, "HELD_OUT_S", little_music.HELD_OUT_S)
    monkeypatch.setattr(fine_tuning, "play_music", little_music.play_music)


def run_in_process(monkeypatch, *arguments: object) -> None:
    with_little_music(monkeypatch)
    monkeypatch.setattr(sys, "argv", ["finetune.py", *map(str, arguments)])
    command_line.run(finetune.main)


def run_command(monkeypatch, *arguments: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        run_in_process(monkeypatch, *arguments)
    return int(stopped.value.code)


def broken(path: Path, change) -> Path:
    document = json.loads(lstm(path).read_text())
    change(document)
    path.write_text(json.dumps(document))
    return path
