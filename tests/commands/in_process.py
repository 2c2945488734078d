"""`finetune` as it is typed, in the process of the test, with two seconds of music."""

import json
import sys
from pathlib import Path

import pytest
from model_files import lstm

from jaxalias import fine_tuning
from jaxalias.commands import command_line, finetune
from jaxalias.training import plan

ALIASING = 200.0  # input gain at which the small model aliases audibly
EXACT = ["--updates", "4", "--batch-size", "2", "--precision", "float64"]


def little_music(monkeypatch) -> None:
    """Two seconds of each kind, and one that is held out."""
    play_music = fine_tuning.play_music

    def play(model, params, config, sample_rate, audio=None):
        short = {name: each.model_copy(update={"seconds": 2.0}) for name, each in plan.music_of(config).items()}
        return play_music(model, params, config.model_copy(update=short), sample_rate, audio)

    monkeypatch.setattr(fine_tuning, "HELD_OUT_S", 1.0)
    if play_music.__module__ == "jaxalias.fine_tuning":  # not yet
        monkeypatch.setattr(fine_tuning, "play_music", play)


def run_in_process(monkeypatch, *arguments: object) -> None:
    little_music(monkeypatch)
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
