"""What long commands need: progress on the terminal, a stop by Ctrl-C, and a time for checkpoints."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from jaxalias.training import students

CHECKPOINT_EVERY_S, ASKED_EVERY = 60.0, 10  # the clock is read after so many updates: a kill loses little more
_PLAIN_LINE_EVERY_S = 10.0


class EveryMinute:
    """True if a checkpoint is due: a minute after the last one.

    The clock is read every few updates, on all hosts after the same update.
    """

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, done: int) -> bool:
        if done % ASKED_EVERY:
            return False
        now = time.monotonic()
        if not students.any_host(now - self.last >= CHECKPOINT_EVERY_S):
            return False
        self.last = now
        return True


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C (or SIGTERM) stops the run after its update, the second one interrupts it."""
    requested = False

    def handle(number: int, frame: Any) -> None:
        nonlocal requested
        if requested:
            raise KeyboardInterrupt
        requested = True

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: students.any_host(requested)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress(what: str, total: int, done: int = 0, *, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """A bar with the time remaining; plain lines where stderr is no terminal.

    Yields `step(text, now)`: one more is done, or `now` so many, which may be fewer where something is tried again.
    """
    console = Console(stderr=True)
    if quiet:
        yield _silent
    elif console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(what, total=total, completed=done, text="")

            def step(text: str = "", now: int | None = None) -> None:
                bar.update(task, advance=1 if now is None else None, completed=now, text=text)

            yield step
    else:
        yield _plain_lines(what, total, done)


def _silent(text: str = "", now: int | None = None) -> None:
    """Progress that is not shown."""


def _plain_lines(what: str, total: int, done: int) -> Callable[..., None]:
    """Lines with the time that is left, by what passed since the first step: that one waited for the compiler."""
    printed = time.monotonic()
    first, started = done, None

    def step(text: str = "", now: int | None = None) -> None:
        nonlocal done, first, printed, started
        clock = time.monotonic()
        now = done + 1 if now is None else now
        if started is not None and now <= done:  # begun again
            started, printed = None, clock
        if started is None:
            first, started = now, clock
        done = now
        if done == total or clock - printed >= _PLAIN_LINE_EVERY_S:
            printed = clock
            left = (clock - started) / (done - first) * (total - done) if done > first else None
            remaining = "" if left is None else f"{left / 60:.1f} min left  "
            print(f"{what} {done}/{total}  {remaining}{text}", file=sys.stderr, flush=True)

    return step
