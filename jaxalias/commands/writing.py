"""What commands write: records with their environment, texts and tables."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxalias import disk
from jaxalias.commands.errors import input_errors

REPOSITORY = Path(__file__).resolve().parents[2]
_NAME_WIDTH = 40  # characters of a name before it is broken into lines


def print_table(rows: list[list[str]], title: str) -> None:
    """Header and rows on stdout."""
    table = Table(title=title)
    for index, name in enumerate(rows[0]):
        longest = max(len(row[index]) for row in rows) if index == 0 else 0  # names of models stay in one line
        table.add_column(
            name, justify="left" if index < 2 else "right", overflow="fold", min_width=min(longest, _NAME_WIDTH)
        )
    for row in rows[1:]:
        table.add_row(*map(escape, row))
    Console(width=None if sys.stdout.isatty() else 180).print(table)


def history_of(records: Sequence[Mapping[str, float]]) -> list[dict[str, float | None]]:
    """The records of a run as JSON takes them: None where a loss was not finite and the run went on (`rewind`)."""
    return [{name: value if np.isfinite(value) else None for name, value in record.items()} for record in records]


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write a record as JSON, all or nothing, with the environment that marks it as a file of this package."""
    made = record if "environment" in record else {**record, "environment": environment()}
    write_text(path, json.dumps(made, indent=1, allow_nan=False))


def write_text(path: Path, text: str) -> None:
    """Write a text, all or nothing."""
    with input_errors():
        disk.write_text(path, text)


def command_name() -> str:
    """The name of the command, without folder and ending."""
    return Path(sys.argv[0]).name.split()[-1].removesuffix(".py").replace("-", "_")


def environment() -> dict[str, Any]:
    """Versions, commit and hardware: what a number needs beside it to be repeated."""
    commit = None
    if (REPOSITORY / ".git").exists():  # an installed package may lie in a repository that is not its own
        describe = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
        commit = subprocess.run(describe, capture_output=True, text=True, check=False).stdout.strip() or None
    return {
        "command": command_name(),
        "versions": {name: version(name) for name in ("jaxalias", "jax", "flax", "optax", "numpy")},
        "commit": commit,
        "devices": [f"{device}, {device.device_kind}" for device in jax.devices()],
        "cpus": os.cpu_count(),
        "machine": platform.platform(),
    }
