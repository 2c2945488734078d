"""Arguments of the commands: the parser, types, and options that several commands share."""

import argparse
import sys
from pathlib import Path
from typing import Any

import weights_import

KNOB_DEFAULT = 0.5


class Parser(argparse.ArgumentParser):
    """Argument errors are one line on stderr and exit code 2."""

    def __init__(self, description: str | None) -> None:
        prog = Path(sys.argv[0]).name  # with a space in it where it is a sub-command: see `program`
        super().__init__(prog, description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        self.add_argument("--json", type=Path, metavar="FILE", help="write the result as JSON")
        self.add_argument(
            "--force", action="store_true", help="overwrite existing files that this command did not make"
        )
        self.add_argument("--quiet", action="store_true", help="no progress, only the result")

    def error(self, message: str) -> Any:
        """As argparse calls it."""
        print(f"{self.prog}: {message} (see --help)", file=sys.stderr)
        raise SystemExit(2)


def positive_int(text: str) -> int:
    """An argparse type."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def natural_int(text: str) -> int:
    """An argparse type: 0 or more, as a seed is."""
    return 0 if text == "0" else positive_int(text)


def knob_position(text: str) -> float:
    """An argparse type."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a number, got {text!r}") from None
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to 1, got {text}")
    return value


def sample_rate_hz(text: str) -> int:
    """An argparse type."""
    low, high = weights_import.RATES_HZ
    value = positive_int(text)
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"must be from {low} to {high} Hz, got {text}")
    return value


def add_sample_rate(parser: argparse.ArgumentParser) -> None:
    """The option `--sample-rate` of the commands that read model files."""
    what = "of model files that do not say theirs (None: what most or all of their players take, said in a note)"
    parser.add_argument("--sample-rate", type=sample_rate_hz, metavar="HZ", help=what)


def add_knobs(parser: argparse.ArgumentParser) -> None:
    """The option `--knobs` of the commands that play models."""
    what = f"where the knobs of a model stand, 0 to 1, one for each (None: {KNOB_DEFAULT} each)"
    parser.add_argument("--knobs", type=knob_position, nargs="+", metavar="POSITION", help=what)
