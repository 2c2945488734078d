"""Take the aliasing out of models: import, fine-tune, validate, export in the format that came in."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jaxalias.commands import (
    channels,
    command_line,
    fine_tuning,
    hosts,
    library,
    measuring,
    overwriting,
    parsing,
    reading,
    writing,
)
from jaxalias.commands.errors import BadInputError
from jaxalias.commands.fine_tuning import Audio, Task
from jaxalias.commands.outcome import Heard, Job
from jaxalias.config import FineTuneConfig, presets
from jaxalias.config.presets import PRESETS
from jaxalias.reporting import library as ranking
from jaxalias.training.loop import DivergedError
from weights_import import ModelFile, Network

TONES_PER_MUSIC_ROW = 5  # at most, with --train-audio


def main() -> None:
    """The command."""
    args = parse_arguments()
    if args.distributed:
        hosts.join()
    with hosts.all_or_none():
        jobs, left_out = plan(args)
        rates = {job.source.sample_rate for job in jobs}
        clips = {rate: measuring.load_clips(args.audio, (), rate, (args.channel, None)) for rate in rates}
        if args.train_audio:
            refuse_trained_on(args.audio, args.train_audio)
        heard = Heard({str(path): reading.digest(path) for path in args.audio}, clips)
        claimed = [(job, [(task, fine_tuning.claim(task)) for task in job.tasks]) for job in jobs]

    if not args.quiet:  # else it stands in the result alone
        reading.tell_assumed(job.source for job in jobs)
    library.tell(left_out, "left out: ")
    several, first, folder = len(jobs) + len(left_out) > 1, jax.process_index() == 0, library_folder(args)
    ended, written, environment = library.Ended([], [], [], left_out), list[Path](), writing.environment()
    for job, found in library.train(claimed, heard, args.quiet):
        if isinstance(found, BadInputError) and not several:
            raise found
        if isinstance(found, BadInputError | DivergedError):
            library.tell([found])
            ended.failed.append(found)
        elif first:
            ended.records.append(found)
            ended.captures.append(ranking.capture(found, job.run_dir, folder))
        if several and first:
            written = library.write(folder, ended, environment)
    if args.json and ended.records:
        writing.write_json(args.json, {"runs": ended.records} if several else ended.records[0])
        written.append(args.json)
    print("".join(f"wrote {path}\n" for path in written), end="")
    if ended.failed:
        raise SystemExit(1 if any(isinstance(failure, DivergedError) for failure in ended.failed) else 2)


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
        help="NAM .nam, GuitarML .json or PyTorch checkpoint, told apart by content; on an accelerator several of one "
        "shape are trained together; a folder stands for the models in it, other files are left out",
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
        "each, and a page that ranks them (default: runs/MODEL-PRESET, page in runs)",
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


def plan(args: Any) -> tuple[list[Job], list[BadInputError]]:
    """What is to be done, checked as far as it can be before the training.

    Returns:
        The jobs, and why files of a folder are left out.
    """
    paths = list(reading.find_files(args.model))
    sources, left_out = sources_of(args, paths)
    read = functools.partial(fine_tuning.read_audio, args.train_audio, channel=args.channel)
    read_audio = functools.cache(read)  # once at each rate
    several, read_files = len(paths) > 1, overwriting.read_by_runs(args, paths)
    if several:
        overwriting.refuse_for_library(args, library_folder(args))
    jobs = []
    for source in sources:
        path = source.path
        run_dir = args.run_dir or Path("runs") / f"{path.stem}-{args.preset}"
        if several and args.run_dir:
            run_dir = args.run_dir / path.stem
        name = f"{path.stem}_antialiased{path.suffix}"
        output = args.output or run_dir / name
        if several and args.output:
            output = args.output / name
        overwriting.refuse_for_run(args, read_files, run_dir, output)
        overwriting.refuse_unwritable(output)
        configs = [resolve_config(args, network) for network in source.networks]
        audio = read_audio(source.sample_rate, configs[0].sines) if args.train_audio else None
        jobs.append(job_of(args, source, configs, audio, run_dir, output))
    return jobs, left_out


def sources_of(args: Any, paths: Sequence[Path]) -> tuple[list[ModelFile], list[BadInputError]]:
    """The models, and why files of a folder are none that can be fine-tuned; a named file must be one."""
    sources: list[ModelFile] = []
    left_out: list[BadInputError] = []
    for path in paths:
        try:
            sources.append(fine_tuning.load(path, args.sample_rate))
        except BadInputError as error:
            if path in args.model:
                raise
            left_out.append(error)
    if not sources:
        why = f": {left_out[0]}" if left_out else ""
        raise BadInputError(f"{', '.join(map(str, args.model))}: holds no model that can be fine-tuned{why}")
    fine_tuning.refuse_same_names([source.path for source in sources])
    return sources, left_out


def job_of(
    args: Any, source: ModelFile, configs: Sequence[FineTuneConfig], audio: Audio | None, run_dir: Path, output: Path
) -> Job:
    """The job of one file: a task for each of its networks."""
    digest = reading.digest(source.path)
    tasks = [
        Task(
            source.label(network), network, source.network if args.teacher == "largest" else network,
            config, digest, run_dir / network.name.replace(" ", "_"), audio,
        )
        for network, config in zip(source.networks, configs, strict=True)
    ]  # fmt: skip
    return Job(source, tuple(tasks), run_dir, output)


def library_folder(args: Any) -> Path:
    """Where the page is that ranks several models."""
    return args.run_dir or Path("runs")


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
