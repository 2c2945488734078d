"""Speed and peak memory of every stage, side by side with the same work in plain PyTorch.

Both sides take turns in one process, so that a machine that speeds up or slows down does so for both; each
figure is the median of its runs. Both use all cores they may use: `taskset -c 0` in front compares on one.
"""

import itertools
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import command_line
from jaxalias import config, dsp, harmonics, models, nmr, parallel, presets, runs, sines
from jaxalias.exercises import Student

try:
    import torch

    from experiments import peers
except ImportError:
    torch = None  # type: ignore[assignment]

SAMPLE_RATE = 44_100
SETTLING, ANALYSED = 8_820, 44_100  # samples of a training tone
MIDI = (21.0, 127.0)
STAGE_SECONDS = 60.0  # after two runs a side, no further run starts when a stage has lasted longer
_TIMES = ("median_s", "min_s", "max_s")
Work = Callable[[], Any]


class Stage(NamedTuple):
    """One row: how to make a side ("ours", "peer") ready for it in a precision, and what one run then does."""

    make: Callable[[str, str], Work | None]  # None: no such side
    samples: int  # that one run takes in, of all signals
    updates: int = 0  # optimiser updates in one run


class Network(NamedTuple):
    """A model of the benchmark, in the batch of a row."""

    config: config.LSTMConfig | config.WaveNetConfig
    batch: int
    frame: int  # samples an update


def main() -> None:
    """The command."""
    args = parse_arguments()
    if args.memory_of:
        print(memory_of(args.memory_of, args.stage[0], args.precision[0]))
        return
    if torch is not None:
        torch.set_num_threads(command_line.cores())
    elif not args.quiet:
        print("torch is not installed, its columns stay empty: pip install 'jaxalias[peers]'", file=sys.stderr)
    rows: list[dict[str, Any]] = []
    versions = {"torch": getattr(torch, "__version__", None), "threads": command_line.cores()}
    record: dict[str, Any] = {"stages": rows, "environment": command_line.environment() | versions}
    with command_line.progress("stage", len(args.stage) * len(args.precision), quiet=args.quiet) as step:
        for precision, name in itertools.product(args.precision, args.stage):
            rows.append(measure(name, precision, args.repeats, memory=not args.no_memory))
            if args.json:  # a run that is cut off leaves what it has
                command_line.write_json(args.json, record)
            step(name)
    for precision in args.precision:
        sides = f"{precision}, {command_line.cores()} threads a side"
        title = f"{sides}: median (min-max) of a run, ratio PyTorch / ours, peak memory"
        command_line.print_table(table([row for row in rows if row["precision"] == precision]), title)
    if not args.no_memory:
        record["imports_bytes"] = memory_in_fresh_process("neither", args.stage[0], args.precision[0])
        print(f"MiB: of a fresh process that runs the stage once; {record['imports_bytes'] >> 20} of it are imports")
    if args.json:
        command_line.write_json(args.json, record)
        print(f"wrote {args.json}")


def parse_arguments() -> Any:
    """The options."""
    parser = command_line.Parser(__doc__)
    both, stage_help = ["float32", "float64"], "which rows; one or more of %(choices)s"
    parser.add_argument("--precision", nargs="+", choices=both, default=both, help="of the work")
    parser.add_argument("--repeats", type=command_line.positive_int, default=7, metavar="N", help="runs of each side")
    parser.add_argument("--stage", nargs="+", choices=STAGES, default=list(STAGES), metavar="NAME", help=stage_help)
    parser.add_argument("--no-memory", action="store_true", help="leave out the processes that measure memory")
    parser.add_argument("--memory-of", choices=["ours", "peer", "neither"], help="print bytes for a stage, no more")
    return parser.parse_args()


def measure(name: str, precision: str, repeats: int, *, memory: bool) -> dict[str, Any]:
    """One row of the record: seconds and bytes of each side that is installed."""
    stage = STAGES[name]
    sides = ["ours"] if torch is None else ["ours", "peer"]
    works = {side: work for side in sides if (work := stage.make(side, precision)) is not None}
    row: dict[str, Any] = {"stage": name, "precision": precision, "ours": None, "peer": None, "ratio": None}
    for side, seconds in alternate(works, repeats).items():
        median = statistics.median(seconds)
        row[side] = {
            **dict(zip(_TIMES, (median, min(seconds), max(seconds)), strict=True)),
            "runs": len(seconds),
            "updates_per_s": stage.updates / median if stage.updates else None,
            "audio_s_per_s": stage.samples / SAMPLE_RATE / median,
            "peak_bytes": memory_in_fresh_process(side, name, precision) if memory else None,
        }
    if row["peer"]:
        row["ratio"] = row["peer"]["median_s"] / row["ours"]["median_s"]
    return row


def alternate(works: dict[str, Work], repeats: int) -> dict[str, list[float]]:
    """Seconds of every run, the sides in turns, after one run of each that is not counted."""
    seconds: dict[str, list[float]] = {side: [] for side in works}
    started = time.perf_counter()
    for work in works.values():
        time_once(work)
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
    return time.perf_counter() - started


def memory_in_fresh_process(side: str, stage: str, precision: str) -> int:
    """Peak bytes of a Python process that does one run of a stage."""
    options = ["--memory-of", side, "--stage", stage, "--precision", precision]
    command = [sys.executable, "-m", "experiments.benchmark", *options]
    done = subprocess.run(command, cwd=command_line.REPOSITORY, capture_output=True, text=True, check=True)
    return int(done.stdout)


def memory_of(side: str, stage: str, precision: str) -> int:
    """Peak bytes of this process after one run."""
    if side != "neither":
        work = STAGES[stage].make(side, precision)
        if work is None:
            raise command_line.BadInputError(f"--memory-of {side}: {stage} has no such side")
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

    text = [["stage", "ours, ms", "PyTorch, ms", "ratio", "updates/s", "audio s/s", "ours, MiB", "PyTorch, MiB"]]
    for row in rows:
        sides = ours, _ = row["ours"], row["peer"]
        times = ["{} ({}-{})".format(*(digits(side, key, 1e3) for key in _TIMES)) if side else "-" for side in sides]
        rates = [digits(row, "ratio"), digits(ours, "updates_per_s"), digits(ours, "audio_s_per_s")]
        text.append([row["stage"], *times, *rates, *(digits(side, "peak_bytes", 2**-20) for side in sides)])
    return text


def nmr_work(side: str, precision: str, *, samples: int, gradient: bool) -> Work:
    """NMR of 40 signals; its gradient by the signals."""
    x, y = _signals(40, samples, precision)
    if side == "peer":
        return peers.nmr_work(x, y, SAMPLE_RATE, gradient)

    def mean(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.mean(nmr.nmr(x, y, SAMPLE_RATE))

    return partial(jax.jit(jax.grad(mean) if gradient else mean), jnp.asarray(x), jnp.asarray(y))


def resynthesis_work(side: str, precision: str) -> Work:
    """Targets of 40 tones of one second, from the output of the teacher on."""
    tones = _tones(40)
    y, _ = _signals(40, ANALYSED, precision)  # any signal: the work depends on f0 alone
    if side == "peer":
        return partial(peers.bandlimit, torch.tensor(y), tones[0], SAMPLE_RATE)
    increment = sines.tones(*tones, sample_rate=SAMPLE_RATE, dtype=precision).increment
    number = harmonics.highest_number(float(dsp.midi_to_hz(MIDI[0])), SAMPLE_RATE)
    return partial(jax.jit(harmonics.bandlimit, static_argnums=2), jnp.asarray(y), increment, number)


def model_work(side: str, precision: str, *, network: Network, samples: int, gradient: bool) -> Work:
    """A batch through the model; the gradient of its power by the parameters."""
    x, _ = _signals(network.batch, samples, precision)
    if side == "peer":
        return peers.model_work(network.config, x, gradient)
    model, params = _model(network, precision)
    state = model.initial_state(params, network.batch)

    apply = parallel.over_tones(model.apply, parallel.mesh_for(1, network.batch), (-1, 0, 0), (0, 0))

    def power(params: models.Params, x: jax.Array) -> jax.Array:
        return jnp.mean(apply(params, x, state)[0] ** 2)

    work = jax.grad(power) if gradient else lambda params, x: apply(params, x, state)
    return partial(jax.jit(work), params, jnp.asarray(x))


def draw_work(side: str, precision: str, *, network: Network, table: bool) -> Work | None:
    """Ours alone: tones and targets of a batch, by the teacher or from a table of its harmonics."""
    if side == "peer":
        return None
    run = _run(network, precision, table_tones=network.batch if table else None)  # a larger table answers as fast
    return partial(run.draw, _keys(0))


def training_work(side: str, precision: str, *, network: Network, whole: bool) -> Work:
    """One update by the authors' loss and Adam; or a batch: drawn, through the teacher, rebuilt, all its updates."""
    if side == "peer":
        trainer = peers.Trainer(network.config, SAMPLE_RATE, precision)
        if whole:
            return partial(trainer.batch, _tones(network.batch), SETTLING, ANALYSED, network.frame)
        trainer.lead_in(torch.tensor(_signals(network.batch, SETTLING, precision)[0]))
        return partial(trainer.update, *(torch.tensor(x) for x in _signals(network.batch, network.frame, precision)))

    run = _run(network, precision)
    drawn, batch = run.draw(_keys(0)), 0
    state = run.lead_in(run.start(), drawn)

    def work() -> Any:
        nonlocal batch, drawn, state
        if whole:
            batch += 1
            drawn = run.draw(_keys(batch))
            state = run.lead_in(state, drawn)
        for number in range(run.updates_per_draw if whole else 1):
            state, terms = run.update(state, drawn, number)
        return terms

    return work


def _model(network: Network, precision: str) -> tuple[models.Model, models.Params]:
    model = models.build(network.config)
    return model, models.cast(model.init(jax.random.key(0)), precision)


def _run(network: Network, precision: str, **changes: Any) -> runs.Run:
    """A run by the authors' recipe, in the batch and frame of the network."""
    changes |= {"precision": precision, "batch_size": network.batch, "frame_s": network.frame / SAMPLE_RATE}
    config = presets.authors(network.config).model_copy(update=changes)
    model, params = _model(network, precision)
    return runs.prepare(model, [Student("", params, config)], SAMPLE_RATE)


def _keys(batch: int) -> jax.Array:
    return jax.random.key(batch)[None]  # of the only student


def _signals(batch: int, samples: int, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and the same with a little other noise added, seeded."""
    random = np.random.default_rng(0)
    x = random.uniform(-0.5, 0.5, (batch, samples))
    return x.astype(precision), (x + 0.01 * random.standard_normal(x.shape)).astype(precision)


def _tones(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f0 in Hz, amplitude and phase in radians, distributed as in training, seeded."""
    random = np.random.default_rng(0)
    f0_hz = dsp.midi_to_hz(random.uniform(*MIDI, count))
    return f0_hz, random.uniform(0, 1, count), random.uniform(0, 2 * np.pi, count)


def _stages() -> dict[str, Stage]:
    stages = {"resynthesis": Stage(resynthesis_work, 40 * ANALYSED)}
    for samples in (4410, 44100):
        for name, gradient in (("forward", False), ("gradient", True)):
            nmr_of = partial(nmr_work, samples=samples, gradient=gradient)
            stages[f"nmr-{samples}-{name}"] = Stage(nmr_of, 40 * samples)
    make: Callable[..., Work | None]
    for name, network in NETWORKS.items():
        for kind, make, samples, updates in (
            ("forward", partial(model_work, samples=network.frame, gradient=False), network.frame, 0),
            ("gradient", partial(model_work, samples=network.frame, gradient=True), network.frame, 0),
            ("teacher", partial(model_work, samples=SETTLING + ANALYSED, gradient=False), SETTLING + ANALYSED, 0),
            ("draw", partial(draw_work, table=False), ANALYSED, 0),
            ("draw-table", partial(draw_work, table=True), ANALYSED, 0),
            ("update", partial(training_work, whole=False), network.frame, 1),
            ("training", partial(training_work, whole=True), ANALYSED, ANALYSED // network.frame),
        ):
            stages[f"{name}-{kind}"] = Stage(partial(make, network=network), network.batch * samples, updates)
    return stages


_NAM_STANDARD = config.WaveNetConfig(
    layer_arrays=tuple(
        config.LayerArrayConfig(
            input_size=inputs, head_size=head, channels=channels, kernel_size=3, head_bias=head == 1,
            dilations=tuple(2**power for power in range(10)), activation="Tanh",
        )
        for inputs, channels, head in ((1, 16, 8), (16, 8, 1))
    ),
    head_scale=0.02,
)  # fmt: skip
NETWORKS = {
    "lstm": Network(config.LSTMConfig(hidden_size=40), 40, 4_410),
    "tcn-4": Network(_NAM_STANDARD, 4, 22_050),
    "tcn": Network(_NAM_STANDARD, presets.fast(_NAM_STANDARD).batch_size, 22_050),
}
STAGES = _stages()

if __name__ == "__main__":
    command_line.run(main)
