"""Speed and peak memory of every stage, side by side with the same work in plain PyTorch.

Both sides take turns in one process, so that a machine that speeds up or slows down does so for both; each
figure is the median of its runs. Both use all cores they may use: `taskset -c 0` in front compares on one. Where
JAX sees a GPU both work on it, in full float32; memory is that of the host (`--no-memory` leaves it out).
"""

import itertools
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax

from jaxalias.commands import command_line, errors, long_runs, overwriting, parsing, writing
from jaxalias.commands.stages import EVERY, FAST, GROWTH, SAMPLE_RATE, STAGES, Work, torch

STAGE_SECONDS = 60.0  # after two runs a side, no further run starts when a stage has lasted longer
_TIMES = ("median_s", "min_s", "max_s")


def main() -> None:
    """The command."""
    args = parse_arguments()
    if args.memory_of:
        print(memory_of(args.memory_of, args.stage[0], args.precision[0]))
        return
    overwriting.refuse(args, [], [])
    gpu = jax.default_backend() == "gpu"
    if torch is not None:
        torch.set_num_threads(command_line.cores())
        if gpu:
            torch.set_default_device("cuda")
            torch.backends.cudnn.allow_tf32 = False
    elif not args.quiet:
        print("torch is not installed, its columns stay empty: pip install 'jaxalias[peers]'", file=sys.stderr)
    rows: list[dict[str, Any]] = []
    versions = {"torch": getattr(torch, "__version__", None), "threads": command_line.cores()}
    record: dict[str, Any] = {"stages": rows, "environment": writing.environment() | versions}
    with long_runs.progress("stage", len(args.stage) * len(args.precision), quiet=args.quiet) as step:
        for precision, name in itertools.product(args.precision, args.stage):
            rows.append(measure(name, precision, args.repeats, memory=not args.no_memory))
            if args.json:  # a run that is cut off leaves what it has
                writing.write_json(args.json, record)
            step(name)
    where = jax.devices()[0].device_kind if gpu else f"{command_line.cores()} threads a side"
    for precision in args.precision:
        title = f"{precision}, {where}: median (min-max) of a run, ratio PyTorch / ours, peak memory"
        writing.print_table(table([row for row in rows if row["precision"] == precision]), title)
    if not args.no_memory:
        record["imports_bytes"] = memory_in_fresh_process("neither", args.stage[0], args.precision[0])
        print(f"MiB: of a fresh process that runs the stage once; {record['imports_bytes'] >> 20} of it are imports")
    if args.json:
        writing.write_json(args.json, record)
        print(f"wrote {args.json}")


def parse_arguments() -> Any:
    """The options."""
    parser = parsing.Parser(__doc__)
    both, stage_help = ["float32", "float64"], "which rows; one or more of %(choices)s"
    parser.add_argument("--precision", nargs="+", choices=both, default=both, help="of the work")
    parser.add_argument("--repeats", type=parsing.positive_int, default=7, metavar="N", help="runs of each side")
    parser.add_argument(
        "--stage", nargs="+", choices=list(EVERY), default=list(STAGES), metavar="NAME", help=stage_help
    )
    for option, rows, what in (
        ("--growth", GROWTH, "the rows that differ in one size alone"),
        ("--fast", FAST, "50 updates of the preset `fast`, with 1, 8 and 32 models in one program; for a GPU"),
    ):
        parser.add_argument(option, action="store_const", dest="stage", const=list(rows), help=what)
    parser.add_argument("--no-memory", action="store_true", help="leave out the processes that measure memory")
    parser.add_argument("--memory-of", choices=["ours", "peer", "neither"], help="print bytes for a stage, no more")
    return parser.parse_args()


def measure(name: str, precision: str, repeats: int, *, memory: bool) -> dict[str, Any]:
    """One row of the record: seconds and bytes of each side that is installed."""
    stage = EVERY[name]
    works, first_s = {}, {}
    for side in ("ours",) if torch is None else ("ours", "peer"):
        started = time.perf_counter()
        work = stage.make(side, precision)
        if work is not None:
            time_once(work)
            works[side], first_s[side] = work, time.perf_counter() - started
    row: dict[str, Any] = {"stage": name, "precision": precision, "ours": None, "peer": None, "ratio": None}
    for side, seconds in alternate(works, repeats).items():
        median = statistics.median(seconds)
        row[side] = {
            **dict(zip(_TIMES, (median, min(seconds), max(seconds)), strict=True)),
            "runs": len(seconds),
            "first_s": first_s[side],  # making it ready, compilation included, and the first run
            "updates_per_s": stage.updates / median if stage.updates else None,
            "audio_s_per_s": stage.samples / SAMPLE_RATE / median,
            "peak_bytes": memory_in_fresh_process(side, name, precision) if memory else None,
        }
    if row["peer"]:
        row["ratio"] = row["peer"]["median_s"] / row["ours"]["median_s"]
    return row


def alternate(works: dict[str, Work], repeats: int) -> dict[str, list[float]]:
    """Seconds of every run, the sides in turns, each having run before."""
    seconds: dict[str, list[float]] = {side: [] for side in works}
    started = time.perf_counter()
    for done in range(repeats):
        if done >= 2 and time.perf_counter() - started > STAGE_SECONDS:
            break
        for side, work in works.items():
            seconds[side].append(time_once(work))
    return seconds


def time_once(work: Work) -> float:
    """Seconds until the result is there."""
    started = time.perf_counter()
    jax.block_until_ready(work())
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def memory_in_fresh_process(side: str, stage: str, precision: str) -> int:
    """Peak bytes of a Python process that does one run of a stage."""
    options = ["--memory-of", side, "--stage", stage, "--precision", precision]
    command = [sys.executable, "-m", "jaxalias.commands.benchmark", *options]
    done = subprocess.run(command, cwd=writing.REPOSITORY, capture_output=True, text=True, check=True)
    return int(done.stdout)


def memory_of(side: str, stage: str, precision: str) -> int:
    """Peak bytes of this process after one run."""
    if side != "neither":
        work = EVERY[stage].make(side, precision)
        if work is None:
            raise errors.BadInputError(f"--memory-of {side}: {stage} has no such side")
        time_once(work)
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, ru_maxrss starts from the peak of the process that started this one
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024  # type: ignore[index]
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Rows of text, a dash where there is nothing."""

    def digits(side: dict[str, Any] | None, key: str, scale: float = 1.0) -> str:
        value = scale * side[key] if side and side[key] is not None else None
        return "-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"

    heads = ["ours, ms", "PyTorch, ms", "ratio", "updates/s", "audio s/s", "first, s", "ours, MiB", "PyTorch, MiB"]
    text = [["stage", *heads]]
    for row in rows:
        sides = ours, _ = row["ours"], row["peer"]
        times = ["{} ({}-{})".format(*(digits(side, key, 1e3) for key in _TIMES)) if side else "-" for side in sides]
        rates = [
            digits(row, "ratio"),
            digits(ours, "updates_per_s"),
            digits(ours, "audio_s_per_s"),
            digits(ours, "first_s"),
        ]
        text.append([row["stage"], *times, *rates, *(digits(side, "peak_bytes", 2**-20) for side in sides)])
    return text


if __name__ == "__main__":
    command_line.run(main)
