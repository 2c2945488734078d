"""Take the aliasing out of a model: import, fine-tune, validate, export in the format that came in."""

import hashlib
import sys
import time
from pathlib import Path
from typing import Any

import jax

import jaxalias
import weights_import
from experiments import command_line, measuring, report
from experiments.command_line import BadInputError, input_errors
from jaxalias import models, training
from jaxalias.checkpoints import Checkpoints
from jaxalias.config import FineTuneConfig
from jaxalias.presets import PRESETS
from weights_import import ModelFile

DEFAULT_MODEL = command_line.REPOSITORY / "experiments" / "models" / "clipper_lstm16.json"


def main() -> None:
    """The command."""
    args = parse_arguments()
    with input_errors():
        source = weights_import.load(args.model)
        weights_import.require_trainable(source)
    if len(source.networks) > 1:
        raise BadInputError(f"{args.model}: must hold one model to be fine-tuned, holds {len(source.networks)}")
    config = resolve_config(args, source)
    run_dir = args.run_dir or Path("runs") / f"{args.model.stem}-{config.preset}"
    output = args.output or run_dir / f"{args.model.stem}_antialiased{args.model.suffix}"
    refuse_unwritable(output, args.model)
    clips = measuring.load_clips(args.audio, (), source.sample_rate)

    started = time.monotonic()
    progress, updates_here = fine_tune(source, config, run_dir, args.quiet)
    training_seconds = time.monotonic() - started
    if progress.updates_done < config.updates:
        print(
            f"stopped after update {progress.updates_done} of {config.updates}; the same command resumes",
            file=sys.stderr,
        )
        raise SystemExit(130)

    student = export(source, config, progress, output)
    candidates = [*measuring.candidates_of(source, "teacher"), *measuring.candidates_of(student, "student")]
    record, performances = measuring.measure(candidates, source.sample_rate, clips, quiet=args.quiet)
    record |= {
        "updates": config.updates,
        "seconds": training_seconds,
        "updates_per_second": updates_here / training_seconds if updates_here else None,
        "output": str(output),
        "preset": config.preset,
        "config": config.model_dump(mode="json"),
        "history": progress.history,
    }
    written = [output, *report.write(run_dir, record, candidates, performances)]
    for path in filter(None, (run_dir / "result.json", args.json)):
        command_line.write_json(path, record)
        written.append(path)
    measuring.print_result(record, f"{args.model.name}, {config.updates} updates", written)


def parse_arguments() -> Any:
    """The options of INTERFACE.md."""
    parser = command_line.Parser(__doc__)
    parser.add_argument(
        "--model",
        type=Path,
        default=DEFAULT_MODEL,
        metavar="FILE",
        help="NAM .nam, GuitarML .json or PyTorch checkpoint; told apart by content",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="where the student goes (default: into the run folder)"
    )
    parser.add_argument(
        "--run-dir",
        type=Path,
        metavar="DIR",
        help="checkpoints and report; the same folder again resumes (default: runs/MODEL-PRESET)",
    )
    parser.add_argument("--preset", choices=sorted(PRESETS), default="fast", help="recipe, see jaxalias/presets.py")
    parser.add_argument(
        "--updates", type=command_line.positive_int, metavar="N", help="optimiser updates (default: the preset's)"
    )
    parser.add_argument(
        "--batch-size", type=command_line.positive_int, metavar="N", help="tones in a batch (default: the preset's)"
    )
    parser.add_argument(
        "--table-tones",
        type=command_line.positive_int,
        metavar="N",
        help="run the teacher on N tones, once, and train on these at any phase (default: new tones in every batch)",
    )
    parser.add_argument("--seed", type=command_line.natural_int, default=0, metavar="N", help="of the random tones")
    parser.add_argument("--precision", choices=["float32", "float64"], help="of training (default: the preset's)")
    parser.add_argument(
        "--audio",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="music to play through teacher and student, WAV or FLAC: ESR and MRSL in the table, players in the report",
    )
    return parser.parse_args()


def resolve_config(args: Any, source: ModelFile) -> FineTuneConfig:
    """The preset for this kind of model, with what the command line changes."""
    config = PRESETS[args.preset](source.network.config).model_dump() | {"seed": args.seed}
    changes = {key: getattr(args, key) for key in ("updates", "batch_size", "table_tones", "precision")}
    return FineTuneConfig.model_validate(config | {key: value for key, value in changes.items() if value is not None})


def fine_tune(source: ModelFile, config: FineTuneConfig, run_dir: Path, quiet: bool) -> tuple[training.Progress, int]:
    """Start or resume the run; returns its progress and the updates made in this process."""
    identity = {
        "config": config.model_dump(mode="json"),
        "model": source.network.config.model_dump(mode="json"),
        "model_sha256": hashlib.sha256(source.path.read_bytes()).hexdigest(),
    }
    with input_errors():
        checkpoints = Checkpoints(run_dir, identity)
    if config.table_tones and not quiet:
        print(f"measuring {config.table_tones} tones of the teacher", file=sys.stderr, flush=True)
    with input_errors(str(source.path)):
        run = training.prepare(models.build(source.network.config), source.network.params, source.sample_rate, config)
    fresh = training.begin(run)
    progress = checkpoints.restore(fresh) or fresh
    before = progress.updates_done
    with (
        command_line.stop_on_interrupt() as should_stop,
        command_line.progress("update", config.updates, before, quiet=quiet) as step,
    ):
        if before and not quiet:
            print(f"resuming after update {before} of {config.updates} in {run_dir}", file=sys.stderr, flush=True)
        try:
            progress = training.advance(
                run,
                progress,
                on_update=lambda record: step("  ".join(f"{k} {record[k]:.4g}" for k in ("loss", "ESR", "NMR"))),
                on_checkpoint=checkpoints.save,
                should_stop=should_stop,
            )
        except training.DivergedError as error:
            print(f"finetune.py: {error}; the last good checkpoint is in {run_dir}", file=sys.stderr)
            raise SystemExit(1) from None
    checkpoints.close()
    if progress.updates_done == config.updates and progress.best_loss == fresh.best_loss:
        print("no update improved the validation loss: the student is the teacher; try more updates", file=sys.stderr)
    return progress, progress.updates_done - before


def export(source: ModelFile, config: FineTuneConfig, progress: training.Progress, output: Path) -> ModelFile:
    """Write the best student in the format of the source and read it back."""
    note = {
        "what": "fine-tuned against aliasing (Carson, Wright, Bilbao, DAFx25)",
        "program": f"jaxalias {jaxalias.__version__}",
        "source": source.path.name,
        "preset": config.preset,
        "updates": config.updates,
        "seed": config.seed,
    }
    with input_errors():
        weights_import.save(output, weights_import.fine_tuned(source, [jax.device_get(progress.best)], note))
        return weights_import.load(output)


def refuse_unwritable(output: Path, model: Path) -> None:
    """Find out before the training, not after it, that the result has no place to go."""
    if output.exists() and output.samefile(model):
        raise BadInputError(f"--output {output} is the model itself; give another name, the teacher is kept")
    if output.is_dir():
        raise BadInputError(f"--output {output} is a folder; give a file name")
    with input_errors("--output"):
        output.parent.mkdir(parents=True, exist_ok=True)
        probe = output.with_name(f".{output.name}.probe")
        probe.touch()
        probe.unlink()


if __name__ == "__main__":
    command_line.run(main)
