"""The program `jaxalias`: its sub-commands are the modules of this package, each imported only when it is called."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple


class Command(NamedTuple):
    """A sub-command."""

    module: str
    does: str
    option: str | None = None  # of the model file, which may be left out where the file comes first


COMMANDS = {
    "finetune": Command("finetune", "take the aliasing out of models: import, fine-tune, validate, export", "--model"),
    "evaluate": Command("evaluate", "measure models on sines and music, with tables, pictures and a page", "--teacher"),
    "survey": Command("survey", "rank a library of models by how much they alias"),
    "render": Command("render", "play audio of any length through a model", "--model"),
    "convert": Command("convert", "turn a SimpleRNN into an RTNeural model or back", "--model"),
    "pretrain": Command("pretrain", "train a model of a device from recordings, or of a virtual device"),
    "sweep": Command("sweep", "fine-tune at a grid of settings, all in one table", "--model"),
    "corrective-filter": Command("corrective_filter", "fit a short linear filter behind a student", "--teacher"),
    "listening-test": Command("listening_test", "write a MUSHRA listening test, or analyse its answers", "--teacher"),
    "benchmark": Command("benchmark", "time and memory of every stage, beside plain PyTorch"),
    "recurrences": Command("recurrences", "time and error of the LSTM on a GPU, computed in three ways"),
}
HELP = "\n".join(
    [
        "usage: jaxalias COMMAND [FILE] [OPTION ...]",
        "",
        "Takes the aliasing out of neural models of guitar amps and pedals.",
        "",
        *(f"  {name:18} {command.does}" for name, command in COMMANDS.items()),
        "",
        "  --version          versions of jaxalias and JAX, and the devices that JAX finds",
        "  COMMAND --help     the options of a command",
    ]
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with these arguments (default: the command line's); exit codes as in `command_line.run`."""
    first, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if first in ("-h", "--help"):
        print(HELP)
    elif first == "--version":
        print(versions())
    elif first in COMMANDS:
        start(first, rest)
    else:
        print(f"jaxalias: no command {first!r}, must be one of {', '.join(COMMANDS)} (see --help)", file=sys.stderr)
        raise SystemExit(2)


def start(name: str, arguments: Sequence[str]) -> None:
    """Run a command as its own script does."""
    command = COMMANDS[name]
    if command.option and arguments and not arguments[0].startswith("-"):
        arguments = [command.option, *arguments]
    sys.argv = [f"jaxalias {name}", *arguments]
    from jaxalias.commands import command_line  # imports JAX

    command_line.run(import_module(f"jaxalias.commands.{command.module}").main)


def versions() -> str:
    """Three lines: of this package, of JAX, and the devices."""
    import jax

    import jaxalias

    devices = ", ".join(f"{device} ({device.device_kind})" for device in jax.devices())
    return f"jaxalias {jaxalias.__version__}\nJAX {jax.__version__}\ndevices: {devices}"
