"""Many files in one command: each is trained, measured and reported; what is finished stays; one page ranks them."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxalias.commands import groups, outcome, writing
from jaxalias.commands.errors import BadInputError
from jaxalias.commands.fine_tuning import Group, Training
from jaxalias.commands.outcome import Heard, Job
from jaxalias.reporting import library
from jaxalias.training.loop import DivergedError

Failure = BadInputError | DivergedError
"""Why a file has no student: it was refused, or its numbers were not finite any more."""


class Ended(NamedTuple):
    """What came of the files so far. The lists grow."""

    records: list[dict[str, Any]]  # on the first host
    captures: list[library.Capture]
    failed: list[Failure]
    left_out: list[BadInputError]  # files of a folder that are no models


def train(claimed: Sequence[tuple[Job, Group]], heard: Heard, quiet: bool) -> Iterator[tuple[Job, Any]]:
    """Train the jobs, one group of networks after the other.

    Args:
        claimed: each job with its tasks and their checkpoints.
        heard: the user's clips.
        quiet: no progress on stderr.

    Yields:
        A job and its record, or its `Failure`, as soon as all its networks are done. None on all hosts but the first.
        Of several jobs, those that an earlier command has finished come first, with the record from then.
    """
    waiting = {job.source.path: (job, group) for job, group in claimed}
    for job, _ in claimed if len(claimed) > 1 else ():
        if (record := outcome.earlier(job, heard)) is not None:
            del waiting[job.source.path]
            yield job, record
    results: dict[str, Training | BadInputError] = {}
    for outcomes in groups.train([pair for _, group in waiting.values() for pair in group], groups.at_most(), quiet):
        results |= {found.task.label: found.training for found in outcomes}
        for job, _ in list(waiting.values()):
            if all(task.label in results for task in job.tasks):
                del waiting[job.source.path]
                yield job, _end(job, results, heard, quiet)


def _end(
    job: Job, results: dict[str, Training | BadInputError], heard: Heard, quiet: bool
) -> dict[str, Any] | Failure | None:
    """The record of a job whose networks are done, or why it has none."""
    trained = []
    for task in job.tasks:
        found = results.pop(task.label)  # no longer needed: it holds all arrays of its run
        if isinstance(found, BadInputError):
            return found
        if found.progress is None:
            return DivergedError(f"{task.label}: {groups.DIVERGED}; the last good checkpoint is in {task.run_dir}")
        trained.append(found)
    if jax.process_index() > 0:
        return None
    try:
        return outcome.finish(job, trained, heard, quiet)
    except BadInputError as error:  # it cannot be measured
        return error


def write(folder: Path, ended: Ended, environment: dict[str, Any]) -> list[Path]:
    """Write the page and the table that rank all that is finished; the environment stands at the page's foot."""
    failed, left_out = (list(map(str, failures)) for failures in (ended.failed, ended.left_out))
    return library.write(folder, ended.captures, failed, left_out, environment)


def tell(failures: Sequence[Failure], what: str = "") -> None:
    """One line on stderr for each."""
    for failure in failures:
        print(f"{writing.command_name()}.py: {what}{failure}", file=sys.stderr)
