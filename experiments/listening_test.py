"""A MUSHRA listening test of models: write one, as a page and for webMUSHRA, or analyse what listeners answered."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from experiments import command_line, devices, evaluate, measuring
from experiments.command_line import BadInputError, input_errors
from jaxalias import (
    audio_files,
    listening,
    listening_page,
    music,
    oversampling,
    pictures,
    rating_statistics,
    ratings,
    webmushra,
)
from jaxalias.evaluation import Candidate
from jaxalias.listening import ANCHOR, REFERENCE, Trial

SCREENING = {"paper": 80.0, "bs1534": 90.0}
"""The lowest score of a recognised hidden reference; see `ratings.screen`."""
MUSIC, SWEEP = "music", "sweep"


def main() -> None:
    """The command."""
    args = parse_arguments()
    with input_errors("--output"):
        args.output.mkdir(parents=True, exist_ok=True)
    record, written = analyse(args) if args.analyse else write(args)
    if args.json:
        command_line.write_json(args.json, record)
        written.append(args.json)
    print("\n".join(f"wrote {path}" for path in written))


def parse_arguments() -> Any:
    """The options: a teacher makes a test, results make an analysis."""
    parser = command_line.Parser(__doc__)
    add = parser.add_argument
    add("--teacher", type=Path, metavar="FILE", help="write a test of this model ...")
    add("--student", type=Path, nargs="+", default=[], metavar="FILE", help="... and of models made from it")
    add(
        "--audio",
        nargs="+",
        default=[],
        metavar="[GROUP=]FILE",
        help=f"clips for the models to play, at the models' rate; of the group {MUSIC!r} unless named; two sweeps "
        "(group 'sweep') are always added",
    )
    add(
        "--recording",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="the reference: what the device made of each --audio, in order, and if wanted of the two sweeps, "
        "which are in the output's folder 'inputs'",
    )
    add("--device", choices=sorted(devices.DEVICES), help="the reference: the virtual device that the models are of")
    add(
        "--oversample",
        type=command_line.positive_int,
        default=8,
        metavar="M",
        help="the reference where there is no other: the teacher at M times its rate",
    )
    add("--seconds", type=float, default=10.0, metavar="S", help="of each clip, from its beginning")
    add("--seed", type=command_line.natural_int, default=0, metavar="N", help="of the orders, or of the analysis")
    add("--analyse", type=Path, nargs="+", metavar="CSV", help="results, of the page or of webMUSHRA")
    add(
        "--screening",
        choices=sorted(SCREENING),
        default="paper",
        help="leave out who rated the hidden reference below 80 (paper) or 90 (bs1534) in over 15 %% of trials",
    )
    add("--output", type=Path, default=Path("listening_test"), metavar="DIR", help="folder to write to")
    args = parser.parse_args()
    if bool(args.teacher) == bool(args.analyse):
        parser.error("either --teacher, to write a test, or --analyse, to read its results")
    if args.analyse and (args.student or args.audio or args.recording or args.device):
        parser.error("--analyse: takes results alone, no models or clips")
    if args.recording and args.device:
        parser.error("--recording or --device: there is one reference")
    if args.recording and len(args.recording) not in (len(args.audio), len(args.audio) + len(listening.SWEEPS_HZ)):
        parser.error(f"--recording: one for each --audio ({len(args.audio)}) or 2 more, got {len(args.recording)}")
    if not args.seconds >= listening.SHORTEST_S:
        parser.error(f"--seconds: must be at least {listening.SHORTEST_S:g}, got {args.seconds:g}")
    return args


def write(args: Any) -> tuple[dict[str, Any], list[Path]]:
    """Play, match, and write the test; returns its record and the paths."""
    files = evaluate.load_models(args.teacher, args.student)
    sample_rate = files[0].sample_rate
    clips = load_clips(args, sample_rate)
    candidates = [
        measuring.candidate_of(file, role)
        for file, role in zip(files, ["teacher"] + ["student"] * len(args.student), strict=True)
    ]
    steps = len(clips) * len(candidates)
    with input_errors(), command_line.progress("playing", steps, quiet=args.quiet) as step:
        reference = reference_of(args, candidates[0], sample_rate)
        trials = [trial_of(group, clip, candidates, reference, step) for group, clip in clips]
        trials, gains_db, loudness_lufs = listening.match(trials, sample_rate)

    title = f"Listening test of {args.teacher.stem}"
    test_id = listening.test_id(title, trials, args.seed)
    models = {label: candidate.path for label, candidate in zip(labels(candidates), candidates, strict=True)}
    record = {"test_id": test_id, "seed": args.seed, "models": models}
    record |= listening.describe(trials, gains_db, loudness_lufs, sample_rate)
    record["environment"] = command_line.environment()

    html, description = args.output / "index.html", args.output / "test.json"
    with input_errors("--output"):
        written = write_inputs(args.output / "inputs", clips, sample_rate)
        listening_page.write(html, title, test_id, sample_rate, trials, listening.orders(trials, args.seed))
        written += webmushra.write(args.output / "webmushra", title, test_id, sample_rate, shuffled(trials, args.seed))
    command_line.write_json(description, record)
    command_line.print_table(
        [
            ["trial", "reference", "seconds"],
            *([row["trial"], row["reference"], f"{row['seconds']:.1f}"] for row in record["trials"]),
        ],
        f"{test_id}: {len(trials[0].stimuli)} stimuli each at {loudness_lufs:.1f} LUFS",
    )
    folders = {path.parent for path in written}
    return record, [html, description, *sorted(folders)]


def load_clips(args: Any, sample_rate: int) -> list[tuple[str, music.Clip]]:
    """(group, clip) of each --audio and of the sweeps, cut to length, with their recordings."""
    length = round(args.seconds * sample_rate)
    named = [split_group(text) for text in args.audio]
    with input_errors():
        inputs = [(group, path.stem, read(path, sample_rate)[:length]) for group, path in named]
        for low_hz, high_hz in listening.SWEEPS_HZ:
            name = f"{low_hz:g}-{high_hz:g}_Hz"
            inputs.append((SWEEP, name, listening.sweep(low_hz, high_hz, sample_rate)))
        recordings = [read(path, sample_rate)[:length] for path in args.recording]
    for (_, name, x), recording in itertools.zip_longest(inputs, recordings):
        with input_errors():
            listening.refuse_unusable(f"clip {name!r}", x, sample_rate)
            if recording is not None:
                listening.refuse_unusable(f"clip {name!r}, recording", recording, sample_rate)
    clips = [(group, music.Clip(name, x, y)) for (group, name, x), y in itertools.zip_longest(inputs, recordings)]
    names = [f"{group}/{clip.name}" for group, clip in clips]
    for name in names:
        if names.count(name) > 1:
            raise BadInputError(f"--audio: clips of a group need names of their own, {name} is there twice")
    return clips


def split_group(text: str) -> tuple[str, Path]:
    """GROUP=FILE, or a file of the group of music."""
    group, equals, name = text.partition("=")
    if not equals or Path(text).exists():
        return MUSIC, Path(text)
    if not group or "/" in group or group == ratings.ALL:
        raise BadInputError(f"--audio: a group's name must not be empty, 'all', or hold '/', got {text!r}")
    return group, Path(name)


def read(path: Path, sample_rate: int) -> np.ndarray:
    """A clip that is at the models' rate already: a conversion would be part of what is heard."""
    with audio_files.reading(path) as source:
        if source.sample_rate != sample_rate:
            raise BadInputError(
                f"{path}: sample rate must be the models' {sample_rate} Hz, got {source.sample_rate}; convert it first"
            )
    return command_line.read_audio(path, sample_rate)


def labels(candidates: Sequence[Candidate]) -> list[str]:
    """What the models are called in the results."""
    return pictures.labels({"models": [candidate._asdict() for candidate in candidates]})


Reference = Callable[[np.ndarray], np.ndarray]


def reference_of(args: Any, teacher: Candidate, sample_rate: int) -> tuple[str, Reference]:
    """The reference of a clip without a recording, in words and as a function of the input."""
    if args.device:
        return f"virtual device {args.device}", lambda x: devices.DEVICES[args.device](x, sample_rate)
    play = oversampling.oversample(teacher.play, args.oversample)
    return f"teacher at {args.oversample} times its rate", lambda x: np.asarray(play(jnp.asarray(x)[None])[0])


def trial_of(
    group: str,
    clip: music.Clip,
    candidates: Sequence[Candidate],
    reference: tuple[str, Reference],
    on_step: Callable[[str], None],
) -> Trial:
    """A clip in all conditions."""
    played = music.perform(candidates, clip, on_step)
    words, device = reference
    wanted = device(clip.x) if clip.recording is None else played.reference
    if clip.recording is not None:
        words = "recording" + (f", {played.delay} samples late" if played.delay else "")
        words += ", turned over" if played.polarity < 0 else ""
    renders = dict(zip(labels(candidates), played.renders, strict=True))
    return Trial(group, clip.name, {REFERENCE: wanted, **renders, ANCHOR: listening.anchor(clip.x)}, words)


def write_inputs(folder: Path, clips: Sequence[tuple[str, music.Clip]], sample_rate: int) -> list[Path]:
    """The clips as the models got them, to be sent through a device."""
    paths = []
    for group, clip in clips:
        paths.append(folder / f"{group}-{clip.name}.wav")
        with audio_files.writing(paths[-1], sample_rate, "float") as sink:
            sink.write(clip.x)
    return paths


def shuffled(trials: Sequence[Trial], seed: int) -> list[Trial]:
    """In the first of the test's orders."""
    (order,) = listening.orders(trials, seed, 1)
    return [trials[index] for index in order.trials]


def analyse(args: Any) -> tuple[dict[str, Any], list[Path]]:
    """Screen, summarise, compare, draw; returns the record and the pictures."""
    lowest = SCREENING[args.screening]
    with input_errors():
        given = ratings.read(args.analyse)
        record = rating_statistics.analyse(given, lowest, args.seed)
        kept, _ = ratings.screen(given, lowest)
    picture = args.output / "violins.png"
    with input_errors("--output"):
        pictures.violin_picture(ratings.scores_by_group(kept), record["medians"], picture)
    for caption, rows in rating_statistics.tables(record).items():
        command_line.print_table(rows, caption)
    print("\n".join(rating_statistics.remarks(record)))
    return record, [picture]


if __name__ == "__main__":
    command_line.run(main)
