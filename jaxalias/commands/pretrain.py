"""Train a model of a device: from what went into it and what came out, or from a built-in virtual device."""

import contextlib
import hashlib
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

import weights_import
from jaxalias import disk
from jaxalias.commands import channels, command_line, long_runs, measuring, overwriting, parsing, writing
from jaxalias.commands.errors import input_errors
from jaxalias.commands.overwriting import Output
from jaxalias.config import LSTMConfig, PretrainConfig
from jaxalias.evaluation import audio_set
from jaxalias.models import build
from jaxalias.pretraining import devices, training
from jaxalias.pretraining.architectures import ARCHITECTURES, Architecture
from jaxalias.signals import audio_files, playing, recordings
from jaxalias.signals.recordings import Pair
from jaxalias.training import loop
from jaxalias.training.checkpoints import Checkpoints
from weights_import import ModelFile, fresh

DEFAULT = "lstm-40"
MADE_BY = "experiments/pretrain.py"


def main() -> None:
    """The command."""
    args = parse_arguments()
    kind = ARCHITECTURES[args.model]
    names = ("input", "target", "held_out_input", "held_out_target")
    read = overwriting.inputs(**{name: getattr(args, name) for name in names})
    if args.signal:
        overwriting.refuse(args, [Output("--signal", args.signal, overwriting.audio)], read)
        write_signal(args.signal, args.seconds, args.sample_rate or kind.sample_rate, args.seed)
        return
    changes = {key: getattr(args, key) for key in ("updates", "batch_size", "seed") if getattr(args, key) is not None}
    config = PretrainConfig.model_validate(kind.training.model_dump() | changes)
    run_dir = args.run_dir or Path("runs") / f"pretrain-{args.device or args.target[0].stem}-{args.model}"
    suffix = {"guitarml": ".json", "nam": ".nam"}[kind.format]
    output = args.output or run_dir / f"{args.device or args.target[0].stem}_{args.model}{suffix}"
    in_run = args.output is None and overwriting.run_folder(run_dir)
    made_before = overwriting.model("made_by", MADE_BY)
    overwriting.refuse(args, [Output("--output", output, lambda path: in_run or made_before(path))], read)
    overwriting.refuse_in_run(args, run_dir, output)
    overwriting.refuse_unwritable(output)
    train, held_out = make_pairs(args, kind, config, run_dir)
    progress = fit(kind, config, train, held_out, run_dir, args.quiet)
    if progress.updates_done < config.updates:
        print(f"stopped after update {progress.updates_done} of {config.updates}; the same command resumes",
              file=sys.stderr)  # fmt: skip
        raise SystemExit(130)
    save(kind, config, progress, args, held_out, output)


def parse_arguments() -> Any:
    """The options of the command."""
    parser = parsing.Parser(__doc__)
    add = parser.add_argument
    add("--device", choices=sorted(devices.DEVICES), help="a virtual device to make the model of")
    add("--input", type=Path, nargs="+", default=[], metavar="WAV", help="what went into your device, WAV or FLAC")
    add("--target", type=Path, nargs="+", default=[], metavar="WAV", help="what came out of it, one for each --input")
    add("--held-out-input", type=Path, nargs="+", default=[], metavar="WAV",
        help="recordings to validate on (default: the last tenth of each recording)")  # fmt: skip
    add("--held-out-target", type=Path, nargs="+", default=[], metavar="WAV", help="and what came out")
    channels.add_two(parser, "the inputs", "the targets")
    add("--signal", type=Path, metavar="WAV",
        help="only write the signal to record your device with; then give both as --input, --target")  # fmt: skip
    add("--seconds", type=float, default=playing.SECONDS, metavar="S", help="of signal, for --device, --signal")
    add("--sample-rate", type=parsing.positive_int, metavar="HZ", help="of --signal (default: the model's)")
    add(
        "--model",
        choices=list(ARCHITECTURES),
        default=DEFAULT,
        help="see jaxalias/pretraining/architectures.py",
    )
    add("--output", type=Path, metavar="FILE", help="the model (default: into the run folder)")
    add("--run-dir", type=Path, metavar="DIR",
        help="checkpoints; the same again resumes (default: runs/pretrain-DEVICE-MODEL)")  # fmt: skip
    add("--updates", type=parsing.positive_int, metavar="N", help="optimiser updates (default: the model's)")
    add("--batch-size", type=parsing.positive_int, metavar="N", help="segments an update (default: the model's)")
    add("--seed", type=parsing.natural_int, default=0, metavar="N", help="of weights, segments and signal")
    args = parser.parse_args()
    if args.signal is None and bool(args.device) == bool(args.input):
        parser.error("give either --device, or --input and --target")
    for given, made in (("input", "target"), ("held_out_input", "held_out_target")):
        if len(getattr(args, given)) != len(getattr(args, made)):
            option = made.replace("_", "-")
            parser.error(f"--{option}: one for each --{given.replace('_', '-')} ({len(getattr(args, given))}), "
                         f"got {len(getattr(args, made))}")  # fmt: skip
    if not 10 <= args.seconds <= 3600:
        parser.error(f"--seconds: must lie between 10 and 3600, got {args.seconds:g}")
    args.channel = channels.both(parser, args.channel)
    return args


def write_signal(path: Path, seconds: float, sample_rate: int, seed: int) -> None:
    """Write the training signal as a 24-bit WAV file."""
    signal = playing.make(seconds, sample_rate, seed)
    with input_errors(), audio_files.writing(path, sample_rate, "24", made_by=writing.command_name()) as sink:
        sink.write(signal)
    print(f"wrote {path}")


def make_pairs(args: Any, kind: Architecture, config: PretrainConfig, run_dir: Path) -> tuple[list[Pair], list[Pair]]:
    """What to train on and what to validate on."""
    rate = kind.sample_rate
    if args.device:
        pairs = [rendered(args.device, args.seconds, rate, args.seed, run_dir, args.quiet)]
    else:
        pairs = [recorded(x, y, rate, args) for x, y in zip(args.input, args.target, strict=True)]
    if args.held_out_input:
        return pairs, [
            recorded(x, y, rate, args)
            for x, y in zip(args.held_out_input, args.held_out_target, strict=True)
        ]  # fmt: skip
    return recordings.split(pairs, config.held_out)


def recorded(x: Path, y: Path, sample_rate: int, args: Any) -> Pair:
    """A pair of files, checked and in step."""
    with input_errors():
        sent, returned = (
            checked(path, sample_rate, channel) for path, channel in zip((x, y), args.channel, strict=True)
        )
        pair = recordings.align(sent, returned, sample_rate, str(y), args.delay)
    turned = ", turned over (kept: it is the device's)" if pair.polarity < 0 else ""
    print(f"{y.name}: {len(pair.x) / sample_rate:.1f} s, {pair.delay} samples late{turned}", file=sys.stderr)
    return pair


def checked(path: Path, sample_rate: int, channel: int | None) -> np.ndarray:
    """A recording at a rate (t,), refused where it is silent or clipped: in its own samples, before any conversion."""
    recording = audio_files.read(path, channel=channel)
    recordings.check(recording.samples, str(path))
    turned_down = recordings.turned_down(recording.samples, str(path))
    for warning in (*recording.warnings, *([turned_down] if turned_down else [])):
        print(warning, file=sys.stderr)
    return audio_files.converted(recording, sample_rate).samples


def rendered(device: str, seconds: float, sample_rate: int, seed: int, run_dir: Path, quiet: bool) -> Pair:
    """The training signal and the output of a virtual device, which is kept in the run folder."""
    x = playing.make(seconds, sample_rate, seed)
    circuit = hashlib.sha256(repr((device, sample_rate, devices.version(device))).encode() + x.tobytes()).hexdigest()
    kept = run_dir / f"device-{circuit[:16]}.npy"
    y = None
    with contextlib.suppress(OSError, ValueError, EOFError):  # not there, or damaged
        y = np.load(kept)
    if y is None or y.shape != x.shape:
        if not quiet:
            print(f"playing {seconds:g} s through the {device}", file=sys.stderr, flush=True)
        run_dir.mkdir(parents=True, exist_ok=True)
        y = devices.DEVICES[device](x[None], sample_rate)[0]
        with disk.replacing(kept) as partial:
            np.save(partial, y)
    return Pair(x, y)


def fit(
    kind: Architecture, config: PretrainConfig, train: list[Pair], held_out: list[Pair], run_dir: Path, quiet: bool
) -> loop.Progress:
    """Start or resume the run."""
    digest = hashlib.sha256()
    for pair in (*train, *held_out):
        digest.update(pair.x.tobytes() + pair.y.tobytes())
    identity = {
        "config": config.model_dump(mode="json"),
        "model": kind.model.model_dump(mode="json"),
        "recordings_sha256": digest.hexdigest(),
    }
    with input_errors():
        checkpoints = Checkpoints(run_dir, identity)
        prepared = training.prepare(build(kind.model), train, held_out, kind.sample_rate, config)
        fresh, saved = loop.begin(prepared), checkpoints.steps()
        progress = fresh
        if saved:
            progress = loop.join([checkpoints.restore(saved[-1], part) for part in loop.split(fresh) if part], fresh)
    before = progress.updates_done
    with (
        long_runs.stop_on_interrupt() as should_stop,
        long_runs.progress("update", config.updates, before, quiet=quiet) as step,
    ):
        if before and not quiet:
            print(f"resuming after update {before} of {config.updates} in {run_dir}", file=sys.stderr, flush=True)
        shown = ""

        def on_update(record: dict[str, float]) -> None:
            nonlocal shown
            if "validation_ESR" in record:
                shown = f"held out {10 * np.log10(record['validation_ESR']):.1f} dB"
            step(f"ESR {10 * np.log10(record['ESR']):.1f} dB  {shown}")

        def keep(parts: list[loop.Progress | None]) -> None:
            if parts[0] and parts[0].updates_done:
                checkpoints.save(parts[0])

        try:
            progress = loop.advance(
                prepared, progress, loop.Hooks(on_update, keep, long_runs.EveryMinute(), should_stop)
            )
        except loop.DivergedError as error:
            print(f"pretrain.py: {error}; the last good checkpoint is in {run_dir}", file=sys.stderr)
            raise SystemExit(1) from None
    checkpoints.close()
    return progress


def save(
    kind: Architecture, config: PretrainConfig, progress: loop.Progress, args: Any, held_out: list[Pair],
    output: Path,
) -> None:  # fmt: skip
    """Write the best model, read it back, and measure that: held-out recordings, sines, pure tones."""
    best = jax.tree.map(lambda a: a[0], jax.device_get(progress.best))
    note = {"made_by": MADE_BY, "model": args.model, "device": args.device,
            "config": config.model_dump(mode="json")}  # fmt: skip
    file = model_file(kind, best, note)
    with input_errors():
        weights_import.save(output, file)
        file = weights_import.load(output)
    candidate = measuring.candidate_of(file, file.network, "teacher")
    clips = [audio_set.Clip(f"held out {i + 1}", pair.x, pair.y, (0, 0)) for i, pair in enumerate(held_out)]
    record, performances = measuring.measure(
        [[candidate]], file.sample_rate, clips, device=args.device, quiet=args.quiet
    )
    esr = [recordings.esr_db(renders[0], pair.y) for (_, renders, *_), pair in zip(performances, held_out, strict=True)]
    record |= {
        "updates": config.updates,
        "output": str(output),
        "held_out_esr_db": esr,
        "history": writing.history_of(progress.history[0]),
    }
    written = [output]
    if args.json:
        writing.write_json(args.json, record)
        written.append(args.json)
    measuring.print_result(record, f"{args.model}, {config.updates} updates", written)
    print("held out: ESR " + ", ".join(f"{value:.1f} dB" for value in esr if value is not None))


def model_file(kind: Architecture, params: Any, note: dict[str, Any]) -> ModelFile:
    """The file of a model, in the format of its kind."""
    if isinstance(kind.model, LSTMConfig):
        return fresh.guitarml_file(kind.model, params, note)
    return fresh.nam_file(kind.model, params, kind.sample_rate, note)


if __name__ == "__main__":
    command_line.run(main)
