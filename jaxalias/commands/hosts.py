"""A command on several hosts: it begins on all of them, and ends on all of them."""

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax

from jaxalias.commands.errors import BadInputError
from jaxalias.training import students

_LAST_HOST_S = 24 * 3600  # for which the others wait while the first one exports and measures
_KNOWN = "all hosts know of this error"
_several = False  # whether this process is one of several


def add_option(parser: argparse.ArgumentParser) -> None:
    """The option `--distributed`."""
    parser.add_argument(
        "--distributed",
        action="store_true",
        help="one of several hosts with this command line and one file system: on a TPU pod, under Slurm or Open MPI "
        "as it is, elsewhere with JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID set",
    )


def join() -> None:
    """Become one of several processes; before any computation. What JAX cannot find out stands in the environment."""
    global _several
    ask = {"num_processes": "JAX_NUM_PROCESSES", "process_id": "JAX_PROCESS_ID"}
    try:
        given: dict[str, Any] = {key: int(os.environ[name]) for key, name in ask.items() if name in os.environ}
        jax.distributed.initialize(**given, shutdown_timeout_seconds=_LAST_HOST_S)
    except (ValueError, RuntimeError) as error:
        raise BadInputError(f"--distributed: {' '.join(str(error).split())}") from error
    _several = jax.process_count() > 1


@contextmanager
def all_or_none() -> Iterator[None]:
    """Hosts go on together or end together: what is refused on one of them ends all. All have to come here.

    Raises:
        BadInputError: another host could not go on; its own message says why.
    """
    try:
        yield
    except Exception as error:
        students.any_host(True)
        error.add_note(_KNOWN)
        raise
    if students.any_host(False):
        refused = BadInputError("another host could not go on, its message says why")
        refused.add_note(_KNOWN)
        raise refused


def leave(error: Exception, code: int, text: str = "") -> None:
    """End this process at once if the other hosts do not know of an error.

    Otherwise JAX would wait at the end of this one for the others, and these for its part of a computation. So they
    are ended by JAX, which finds that one of them is gone.
    """
    if _several and _KNOWN not in getattr(error, "__notes__", ()):
        print(text, file=sys.stderr, end="", flush=True)
        os._exit(code)
