"""Commands run in this process as they are typed: what they return, and what they print on stderr."""

import contextlib
import importlib
import io
import os
import sys
from unittest.mock import patch

import jax

from jaxalias.commands import command_line


def run(name: str, *arguments: object) -> tuple[int, str]:
    """The exit code of a command of `jaxalias.commands`, and its stderr."""
    error = io.StringIO()
    code = 0
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(error):
        try:
            with patch.object(sys, "argv", [f"{name}.py", *map(str, arguments)]):
                command_line.run(importlib.import_module(f"jaxalias.commands.{name}").main)
        except SystemExit as stop:
            code = int(stop.code or 0)
    return code, error.getvalue()


def one_device() -> None:
    """Commands set the number of devices before JAX begins, and here it may have begun."""
    os.environ.setdefault("JAX_NUM_CPU_DEVICES", "1")
    jax.config.update("jax_num_cpu_devices", int(os.environ["JAX_NUM_CPU_DEVICES"]))
