"""What all commands share: options, exit codes, progress, records of a run."""

import argparse
import hashlib
import json
import logging
import os
import platform
import re
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

import weights_import
from jaxalias import disk, models
from jaxalias.commands import hosts
from jaxalias.commands.errors import BadInputError
from jaxalias.signals import audio_files, recordings
from jaxalias.training import students
from weights_import import ModelFile, Network

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # no lines about a home folder that is read-only
REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED_MODELS = Path(__file__).resolve().parents[1] / "shipped"
SHIPPED_MODEL = SHIPPED_MODELS / "distortion_lstm-40.json"
_PLAIN_LINE_EVERY_S = 10.0
_NAME_WIDTH = 40  # characters of a name before it is broken into lines
KNOB_DEFAULT = 0.5
CHECKPOINT_EVERY_S, ASKED_EVERY = 60.0, 10  # the clock is read after so many updates: a kill loses little more


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


def load_model(path: Path, sample_rate: int | None = None) -> ModelFile:
    """A model file.

    Args:
        sample_rate: in Hz, for a file without one.

    Raises:
        BadInputError: the file is no model, or holds another rate.
    """
    with input_errors():
        file = weights_import.load(path)
        if sample_rate is not None:
            file = weights_import.at_rate(file, sample_rate)
    return file


def tell_assumed(files: Iterable[ModelFile]) -> None:
    """Print on stderr what was assumed on reading. Call it after all checks, so that an error is the only line."""
    for file in files:
        for about, note in file.notes.items():
            print(f"{file.path}: {about}: {note}", file=sys.stderr)


def add_knobs(parser: argparse.ArgumentParser) -> None:
    """The option `--knobs` of the commands that play models."""
    what = f"where the knobs of a model stand, 0 to 1, one for each (None: {KNOB_DEFAULT} each)"
    parser.add_argument("--knobs", type=knob_position, nargs="+", metavar="POSITION", help=what)


def knobs_of(file: ModelFile, network: Network, given: Sequence[float] | None) -> tuple[float, ...]:
    """Where the knobs of a model stand: as given, or in the middle; () where it has none.

    Raises:
        BadInputError: another number was given than the model has knobs.
    """
    count = models.build(network.config).knobs
    if given is not None and len(given) != count:
        raise BadInputError(
            f"{file.label(network)}: --knobs must be {count or 'left out'}, as the model has {count}, got {len(given)}"
        )
    return (KNOB_DEFAULT,) * count if given is None else tuple(given)


@contextmanager
def input_errors(prefix: str = "") -> Iterator[None]:
    """ValueError and OSError from reading the user's input become `BadInputError`."""
    try:
        yield
    except (ValueError, OSError) as error:
        line = " ".join(str(error).split())
        raise BadInputError(f"{prefix}: {line}" if prefix else line) from error


def require(module: str, extra: str) -> None:
    """Refuse to begin what needs a package that is not installed.

    Args:
        module: what is imported.
        extra: of `pyproject.toml`, that installs it.

    Raises:
        BadInputError: names both, and the command that installs it.
    """
    if find_spec(module) is None:
        raise BadInputError(f"needs {module}, which is not installed: pip install 'jaxalias[{extra}]'")


def run(main: Callable[[], None]) -> None:
    """Run a command: 0 done, 1 failure inside, 2 bad input, 130 interrupted."""
    jax.config.update("jax_enable_x64", True)  # analysis is in float64; models run in the precision asked for
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", cores())  # see `jaxalias.training.students`
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(compilation_cache()))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # there are many small ones
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")  # it is compiled anew
    try:
        main()
    except (BadInputError, OSError) as error:  # a full or read-only disk: the user can repair that
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        hosts.leave(error, 2)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(f"{Path(sys.argv[0]).name}: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        hosts.leave(error, 1, traceback.format_exc())
        raise


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compilation_cache() -> Path:
    """Where compiled programs are kept between runs: apart for each kind of processor that shares the folder."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    about = Path("/proc/cpuinfo")
    flags = re.search(r"^(?:flags|Features)\s*:.*$", about.read_text(), re.MULTILINE) if about.exists() else None
    kind = f"{platform.machine()} {flags.group() if flags else platform.processor()}"
    return home / "jaxalias" / hashlib.sha256(kind.encode()).hexdigest()[:12]


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
    started = printed = time.monotonic()
    first = done

    def step(text: str = "", now: int | None = None) -> None:
        nonlocal done, first, printed, started
        clock = time.monotonic()
        if now is not None and now <= done:  # begun again
            first, started, printed = now - 1, clock, clock
        done = done + 1 if now is None else now
        if done == total or clock - printed >= _PLAIN_LINE_EVERY_S:
            printed = clock
            left = (clock - started) / (done - first) * (total - done)
            print(f"{what} {done}/{total}  {left / 60:.1f} min left  {text}", file=sys.stderr, flush=True)

    return step


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


def find_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Files as given, folders as the files below them in order of name; hidden ones left out, each file once."""
    seen = set()
    for path in paths:
        with input_errors():
            if not path.exists():
                raise ValueError(f"{path}: must be a file or a folder, there is none of this name")
            below = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in below:
            hidden = path.is_dir() and any(part.startswith(".") for part in file.relative_to(path).parts)
            if not hidden and not file.is_dir() and file.resolve() not in seen:
                seen.add(file.resolve())
                yield file


def digest(path: Path) -> str:
    """The SHA-256 of a file's content."""
    with input_errors():
        return hashlib.sha256(path.read_bytes()).hexdigest()


def read_audio(path: Path, sample_rate: int, channel: int | None = None, *, reference: bool = False) -> np.ndarray:
    """One channel of a clip at a rate (t,); warnings about it go to stderr.

    Args:
        reference: warn if it is clipped: models are compared with it.
    """
    recording = audio_files.read(path, channel=channel)
    warnings_of = list(recording.warnings)
    clipped = recordings.clipping(recording.samples) if reference else None  # before a conversion rounds the tops
    if clipped:
        warnings_of.append(f"{path}: is clipped, {clipped}: the figures against it include that; record softer")
    for warning in warnings_of:
        print(warning, file=sys.stderr)
    return audio_files.converted(recording, sample_rate).samples


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one if the file is missing or damaged."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


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
