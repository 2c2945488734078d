"""Options of the commands that read audio: which channel of a file, and how late a recording is."""

import argparse
from collections.abc import Sequence

from jaxalias.commands.parsing import Parser, positive_int


def add_one(parser: argparse.ArgumentParser, files: str) -> None:
    """The option `--channel` of the commands that read audio."""
    what = f"which channel of {files}, from 1 (default: the first); a file of one channel has no other"
    parser.add_argument("--channel", type=positive_int, metavar="N", help=what)


def add_two(parser: argparse.ArgumentParser, inputs: str, recordings: str) -> None:
    """The options of the commands that read inputs and recordings of what a device made of them."""
    what = f"which channel of {inputs}, from 1, and where it is another one, which of {recordings} (default: the first)"
    parser.add_argument("--channel", type=positive_int, nargs="+", metavar="N", help=what)
    parser.add_argument(
        "--delay", type=int, metavar="SAMPLES", help=f"of {recordings}, at the model's rate (default: found)"
    )


def both(parser: Parser, given: Sequence[int] | None) -> tuple[int | None, int | None]:
    """The channel of inputs and that of recordings, from the option `--channel`."""
    if given is not None and len(given) > 2:
        parser.error(f"--channel: one or two numbers, got {len(given)}")
    return (None, None) if given is None else (given[0], given[-1])
