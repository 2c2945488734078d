"""Take the aliasing out of models: import, fine-tune, validate, export in the format that came in."""

import functools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxalias.commands import (
    channels,
    command_line,
    fine_tuning,
    hosts,
    measuring,
    outcome,
    overwriting,
    parsing,
    reading,
    writing,
)
from jaxalias.commands.errors import BadInputError
from jaxalias.commands.fine_tuning import Task, Training
from jaxalias.commands.outcome import Job
from jaxalias.config import FineTuneConfig, presets
from jaxalias.config.presets import PRESETS
from weights_import import Network

TONES_PER_MUSIC_ROW = 5  # at most, with --train-audio


def main() -> None:
    """The command."""
    args = parse_arguments()
    if args.distributed:
        hosts.join()
    with hosts.all_or_none():
        jobs = list(plan(args))
        rates = {job.source.sample_rate for job in jobs}
        clips = {rate: measuring.load_clips(args.audio, (), rate, (args.channel, None)) for rate in rates}
        if args.train_audio:
            refuse_trained_on(args.audio, args.train_audio)
        claimed = [(task, fine_tuning.claim(task)) for job in jobs for task in job.tasks]

    if not args.quiet:  # else it stands in the result alone
        reading.tell_assumed(job.source for job in jobs)
    several = len(jobs) > 1
    results: dict[str, Training] = {}
    records = []
    for group, done in fine_tuning.in_step(claimed):
        trained = fine_tuning.fine_tune(group, done, args.quiet)
        results |= {task.label: result for (task, _), result in zip(group, trained, strict=True)}
        for job in [job for job in jobs if all(task.label in results for task in job.tasks)]:
            jobs.remove(job)
            found = [results[task.label] for task in job.tasks]
            if jax.process_index() == 0 and all(result.progress for result in found):
                records.append(outcome.finish(job, found, clips[job.source.sample_rate], args.quiet))
    if args.json and records:
        writing.write_json(args.json, {"runs": records} if several else records[0])
        print(f"wrote {args.json}")
    failed = [task for task, _ in claimed if results[task.label].progress is None]
    for task in failed:
        what = "diverged: its loss or its parameters are not finite any more"
        print(f"{task.label}: {what}; the last good checkpoint is in {task.run_dir}", file=sys.stderr)
    if failed:
        raise SystemExit(1)


def parse_arguments() -> Any:
    """The options of INTERFACE.md."""
    parser = parsing.Parser(__doc__)
    _add_files(parser)
    _add_training(parser)
    _add_audio(parser)
    hosts.add_option(parser)
    return parser.parse_args()


def _add_files(parser: parsing.Parser) -> None:
    """Options of the model files and of the places for results."""
    parser.add_argument(
        "--model",
        type=Path,
        nargs="+",
        default=[reading.SHIPPED_MODEL],
        metavar="FILE",
        help="NAM .nam, GuitarML .json or PyTorch checkpoint, told apart by content; several of one shape are "
        "trained together, and a folder stands for the files in it",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where the student goes; of several a folder (default: into the run folder)",
    )
    parser.add_argument(
        "--run-dir",
        type=Path,
        metavar="DIR",
        help="checkpoints and report; the same folder again resumes; of several models one that holds a folder for "
        "each (default: runs/MODEL-PRESET)",
    )


def _add_training(parser: parsing.Parser) -> None:
    """Options of the run."""
    add = parser.add_argument
    add("--preset", choices=sorted(PRESETS), default="fast", help="recipe, see jaxalias/config/presets.py")
    add("--updates", type=parsing.positive_int, metavar="N", help="optimiser updates (default: the preset's)")
    add("--batch-size", type=parsing.positive_int, metavar="N", help="tones in a batch (default: the preset's)")
    add(
        "--teacher",
        choices=["own", "largest"],
        default="own",
        help="in a container of several sizes: what each learns to answer as, itself as it was or the largest",
    )
    parsing.add_sample_rate(parser)
    add("--seed", type=parsing.natural_int, default=0, metavar="N", help="of the random tones")
    add("--precision", choices=["float32", "float64"], help="of training (default: the preset's)")


def _add_audio(parser: parsing.Parser) -> None:
    """Options of the user's recordings."""
    parser.add_argument(
        "--audio",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="music to play through teacher and student, WAV or FLAC: ESR and MRSL in the table, players in the report",
    )
    parser.add_argument(
        "--train-audio",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="your own dry recordings to train on among the tones, WAV or FLAC, instead of synthetic playing; "
        f"a batch has at least one row of it for every {TONES_PER_MUSIC_ROW} tones; no file of --audio may be "
        "among them",
    )
    channels.add_one(parser, "--audio and --train-audio")


def plan(args: Any) -> Iterator[Job]:
    """What is to be done, checked as far as it can be before the training."""
    paths = list(reading.find_files(args.model))
    read = functools.partial(fine_tuning.read_audio, args.train_audio, channel=args.channel)
    read_audio = functools.cache(read)  # once at each rate
    several = len(paths) > 1
    for source in fine_tuning.load(paths, args.sample_rate):
        path = source.path
        run_dir = args.run_dir or Path("runs") / f"{path.stem}-{args.preset}"
        if several and args.run_dir:
            run_dir = args.run_dir / path.stem
        name = f"{path.stem}_antialiased{path.suffix}"
        output = args.output or run_dir / name
        if several and args.output:
            output = args.output / name
        overwriting.refuse_for_run(args, path, run_dir, output)
        overwriting.refuse_unwritable(output)
        digest = reading.digest(path)
        configs = [resolve_config(args, network) for network in source.networks]
        audio = None
        if args.train_audio:
            audio = read_audio(source.sample_rate, configs[0].sines)
        tasks = [
            Task(
                source.label(network), network, source.network if args.teacher == "largest" else network,
                config, digest, run_dir / network.name.replace(" ", "_"), audio,
            )
            for network, config in zip(source.networks, configs, strict=True)
        ]  # fmt: skip
        yield Job(source, tuple(tasks), run_dir, output)


def resolve_config(args: Any, network: Network) -> FineTuneConfig:
    """The preset for this kind of model, with what the command line changes; with --train-audio enough music."""
    config = PRESETS[args.preset](network.config)
    changes = {key: getattr(args, key) for key in ("updates", "batch_size", "precision", "seed")}
    config = config.model_copy(update={key: value for key, value in changes.items() if value is not None})
    if args.train_audio:
        config = presets.with_music(config, network.config, max(1, config.batch_size // TONES_PER_MUSIC_ROW))
    return config


def refuse_trained_on(held_out: Sequence[Path], trained: Sequence[Path]) -> None:
    """What the student is measured on tells something only if it was not trained on it, under whatever name."""
    known = {reading.digest(path): path for path in trained}
    for path in held_out:
        same = known.get(reading.digest(path))
        if same is not None:
            raise BadInputError(f"--audio {path}: must not be trained on, is {same} of --train-audio; leave one out")


if __name__ == "__main__":
    command_line.run(main)
