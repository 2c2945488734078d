"""A MUSHRA listening test of models: write one, as a page and for webMUSHRA, or analyse what listeners answered."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxalias import listening
from jaxalias.commands import (
    channels,
    command_line,
    evaluate,
    listening_pieces,
    long_runs,
    measuring,
    overwriting,
    parsing,
    reading,
    writing,
)
from jaxalias.commands.errors import input_errors
from jaxalias.commands.overwriting import Output
from jaxalias.listening import Trial, page, ratings, statistics, webmushra
from jaxalias.pretraining import devices
from jaxalias.reporting import pictures

SCREENING = {"paper": 80.0, "bs1534": 90.0}
"""The lowest score of a recognised hidden reference; see `ratings.screen`."""


def main() -> None:
    """The command."""
    args = parse_arguments()
    refuse_overwriting(args)
    with input_errors("--output"):
        args.output.mkdir(parents=True, exist_ok=True)
    record, written = analyse(args) if args.analyse else write(args)
    if args.json:
        writing.write_json(args.json, record)
        written.append(args.json)
    print("\n".join(f"wrote {path}" for path in written))


def parse_arguments() -> Any:
    """The options: a teacher makes a test, results make an analysis."""
    parser = parsing.Parser(__doc__)
    add = parser.add_argument
    add("--teacher", type=Path, metavar="FILE", help="write a test of this model ...")
    add("--student", type=Path, nargs="+", default=[], metavar="FILE", help="... and of models made from it")
    add(
        "--audio",
        nargs="+",
        default=[],
        metavar="[GROUP=]FILE",
        help="clips for the models to play, at the models' rate; their group is 'music' unless named; two sweeps "
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
    channels.add_two(parser, "--audio", "--recording")
    add("--device", choices=sorted(devices.DEVICES), help="the reference: the virtual device that the models are of")
    add(
        "--oversample",
        type=parsing.positive_int,
        default=8,
        metavar="M",
        help="the reference where there is no other: the teacher at M times its rate",
    )
    add("--seconds", type=float, default=10.0, metavar="S", help="of each clip, from its beginning")
    add("--seed", type=parsing.natural_int, default=0, metavar="N", help="of the orders, or of the analysis")
    add("--analyse", type=Path, nargs="+", metavar="CSV", help="results, of the page or of webMUSHRA")
    add(
        "--screening",
        choices=sorted(SCREENING),
        default="paper",
        help="leave out who rated the hidden reference below 80 (paper) or 90 (bs1534) in over 15 %% of trials",
    )
    add("--output", type=Path, default=Path("runs/listening_test"), metavar="DIR", help="folder to write to")
    parsing.add_sample_rate(parser)
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
    args.channel = channels.both(parser, args.channel)
    return args


def refuse_overwriting(args: Any) -> None:
    """Refuse to write over what is read or was not made by a listening test."""
    clips = [listening_pieces.split_group(text) for text in args.audio]
    read = overwriting.inputs(
        teacher=args.teacher, student=args.student, audio=[path for _, path in clips], recording=args.recording,
        analyse=args.analyse,
    )  # fmt: skip
    if args.analyse:
        overwriting.refuse(args, [Output("--output", args.output / "violins.png", overwriting.picture)], read)
        return
    names = [(group, path.stem) for group, path in clips]
    names += [(listening_pieces.SWEEP, listening_pieces.sweep_name(*limits)) for limits in listening.SWEEPS_HZ]
    paths = [args.output / listening_pieces.input_name(*name) for name in names]
    overwriting.refuse(args, [Output("--output", path, overwriting.audio) for path in dict.fromkeys(paths)], read)
    overwriting.refuse_in(args, "--output", args.output, ["index.html", "test.json"], read, overwriting.report)


def write(args: Any) -> tuple[dict[str, Any], list[Path]]:
    """Play, match, and write the test; returns its record and the paths."""
    command_line.require("pyloudnorm", "listening")
    files = evaluate.load_models(args.teacher, args.student, args.sample_rate)
    sample_rate = files[0].sample_rate
    pieces = listening_pieces.load_pieces(args, sample_rate)
    candidates = [
        measuring.candidate_of(file, file.network, role)
        for file, role in zip(files, ["teacher"] + ["student"] * len(args.student), strict=True)
    ]
    steps = len(pieces) * len(candidates)
    with input_errors(), long_runs.progress("playing", steps, quiet=args.quiet) as step:
        reference = listening_pieces.reference_of(args, candidates[0], sample_rate)
        trials = [listening_pieces.trial_of(piece, candidates, reference, sample_rate, step) for piece in pieces]
        trials, gains_db, loudness_lufs = listening.match(trials, sample_rate)

    title = f"Listening test of {args.teacher.stem}"
    test_id = listening.test_id(title, trials, args.seed)
    paths = [candidate.path for candidate in candidates]
    models = dict(zip(listening_pieces.labels(candidates), paths, strict=True))
    record = {"test_id": test_id, "seed": args.seed, "models": models}
    record |= listening.describe(trials, gains_db, loudness_lufs, sample_rate)
    record["notes"] = {str(file.path): file.notes for file in files if file.notes}
    record["environment"] = writing.environment()

    html, description = args.output / "index.html", args.output / "test.json"
    with input_errors("--output"):
        written = listening_pieces.write_inputs(args.output, pieces, sample_rate)
        page.write(html, title, test_id, sample_rate, trials, listening.orders(trials, args.seed))
        written += webmushra.write(args.output / "webmushra", title, test_id, sample_rate, shuffled(trials, args.seed))
    writing.write_json(description, record)
    rows = [[row["trial"], row["reference"], f"{row['seconds']:.1f}"] for row in record["trials"]]
    reading.tell_assumed(files)
    title = f"{test_id}: {len(trials[0].stimuli)} stimuli each at {loudness_lufs:.1f} LUFS"
    writing.print_table([["trial", "reference", "seconds"], *rows], title)
    return record, [html, description, *sorted({path.parent for path in written})]


def shuffled(trials: Sequence[Trial], seed: int) -> list[Trial]:
    """In the first of the test's orders."""
    (order,) = listening.orders(trials, seed, 1)
    return [trials[index] for index in order.trials]


def analyse(args: Any) -> tuple[dict[str, Any], list[Path]]:
    """Screen, summarise, compare, draw; returns the record and the pictures."""
    lowest = SCREENING[args.screening]
    with input_errors():
        given = ratings.read(args.analyse)
        record = statistics.analyse(given, lowest, args.seed)
        kept, _ = ratings.screen(given, lowest)
    picture = args.output / "violins.png"
    with input_errors("--output"):
        pictures.violin_picture(ratings.scores_by_group(kept), record["medians"], picture)
    for caption, rows in statistics.tables(record).items():
        writing.print_table(rows, caption)
    print("\n".join(statistics.remarks(record)))
    return record, [picture]


if __name__ == "__main__":
    command_line.run(main)
