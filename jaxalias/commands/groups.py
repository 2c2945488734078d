"""Networks that share a program: which of them, how many, and what came of each."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax

from jaxalias.commands import fine_tuning
from jaxalias.commands.errors import BadInputError
from jaxalias.commands.fine_tuning import Group, Task, Training
from jaxalias.training import plan
from jaxalias.training.checkpoints import Checkpoints

TOGETHER = 32  # students in one program of an accelerator, if its memory is large enough
DIVERGED = "diverged: its loss or its parameters are not finite any more"
"""Why a student that was trained is none."""
_NO_MEMORY = "RESOURCE_EXHAUSTED"  # in the message of JAX's error


class Outcome(NamedTuple):
    """What came of a task."""

    task: Task
    together: int  # students in the program
    training: Training | BadInputError  # an error: it could not be trained


def at_most() -> int:
    """The number of students in one program. One on a CPU: more would take as long, and all would end last."""
    return 1 if jax.default_backend() == "cpu" else TOGETHER


def train(claimed: Group, most: int, quiet: bool) -> Iterator[list[Outcome]]:
    """Train all tasks, one group after the other; what came of each group.

    A task that is refused stops no other. A group that the memory of the device cannot hold is halved, and so are those
    after it. Between two shapes, all compiled functions are freed: those of an A1 take half a gigabyte and 6000 memory
    maps, of which Linux allows a process 65 530.

    Args:
        claimed: the tasks with their checkpoints.
        most: students in one program.
        quiet: no progress on stderr.
    """
    waiting = list(in_step(claimed, most))
    while waiting:
        group, done = waiting.pop(0)
        if len(group) > most:
            waiting[:0] = [(group[:most], done), (group[most:], done)]
            continue
        try:
            yield attempt(group, done, quiet)
        except jax.errors.JaxRuntimeError as error:
            if _NO_MEMORY not in str(error) or len(group) == 1:
                raise
            most = len(group) // 2
            waiting.insert(0, (group, done))
        if waiting and _shape(waiting[0][0][0]) != _shape(group[0]):
            jax.clear_caches()


def attempt(group: Group, done: int, quiet: bool) -> list[Outcome]:
    """Train one group. If it is refused, its tasks are tried one by one."""
    try:
        trained: Sequence[Training | BadInputError] = fine_tuning.fine_tune(group, done, quiet)
    except BadInputError as error:
        if len(group) > 1:
            return [found for entry in group for found in attempt([entry], done, quiet)]
        trained = [error]
    return [Outcome(task, len(group), found) for (task, _), found in zip(group, trained, strict=True)]


def in_step(claimed: Group, most: int | None = None) -> Iterator[tuple[Group, int]]:
    """Tasks that can be trained in one program, and after which update they go on.

    Together go those of one shape and sample rate that are equally far, if their configs allow it (`plan.shared`).
    Where the last run was killed between two saves, those that are ahead go back to the checkpoint before.

    Args:
        most: tasks in one program.
    """

    def in_parts(group: Group) -> Iterator[Group]:
        size = most or len(group)
        yield from (group[start : start + size] for start in range(0, len(group), size))

    alike = (list(group) for _, group in itertools.groupby(sorted(claimed, key=_shape), key=_shape))
    for group in itertools.chain.from_iterable(map(in_parts, alike)):
        least = min(max(checkpoints.steps(), default=0) for _, checkpoints in group)
        by_step: dict[int, list[tuple[Task, Checkpoints]]] = {}
        for task, checkpoints in group:
            steps = checkpoints.steps()
            by_step.setdefault(least if least in steps else max(steps, default=0), []).append((task, checkpoints))
        for step, together in by_step.items():
            yield together, step


def _shape(entry: tuple[Task, Checkpoints]) -> str:
    """Equal for tasks that can share a program."""
    task = entry[0]
    return repr((task.network.config, task.teacher.config, task.network.sample_rate, plan.shared(task.config)))
