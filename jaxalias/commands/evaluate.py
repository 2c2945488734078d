"""Measure models on sines and music: Table 1 of the paper for any models, with pictures and a page to listen to."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxalias import evaluation
from jaxalias.commands import channels, command_line, measuring, overwriting, parsing, reading, report, writing
from jaxalias.commands.errors import BadInputError, input_errors
from jaxalias.evaluation import Candidate
from jaxalias.pretraining import devices
from jaxalias.targets import oversampling
from weights_import import ModelFile, Network


def main() -> None:
    """The command."""
    args = parse_arguments()
    read = overwriting.inputs(teacher=args.teacher, student=args.student, audio=args.audio, recording=args.recording)
    overwriting.refuse(args, [], read)
    if args.report:
        overwriting.refuse_in(args, "--report", args.report, report.NAMES, read, overwriting.report)
    files = load_models(args.teacher, args.student, args.sample_rate)
    sample_rate = files[0].sample_rate
    clips = measuring.load_clips(args.audio, args.recording, sample_rate, args.channel, args.delay)
    groups = group(files, args.oversample, args.precision, args.knobs)
    if args.report:
        with input_errors("--report"):
            args.report.mkdir(parents=True, exist_ok=True)
    sine_set = evaluation.SineSet(tuple(args.midi), tuple(args.levels))
    record, performances = measuring.measure(
        groups, sample_rate, clips, sine_set, device=args.device, alias_free=True, quiet=args.quiet
    )

    candidates = list(itertools.chain(*groups))
    written = report.write(args.report, record, candidates, performances) if args.report else []
    if args.json:
        writing.write_json(args.json, record)
        written.append(args.json)
    measuring.print_result(record, "mean over levels of the dB of each level's mean", written)


def parse_arguments() -> Any:
    """The options of INTERFACE.md."""
    parser = parsing.Parser(__doc__)
    _add_models(parser)
    _add_music(parser)
    parser.add_argument(
        "--device", choices=sorted(devices.DEVICES), help="virtual device that the models are of: columns -R"
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="tables, pictures and index.html")
    _add_sine_set(parser)
    parsing.add_knobs(parser)
    parsing.add_sample_rate(parser)
    parser.add_argument(
        "--precision", choices=["float32", "float64"], default="float32", help="of the models; analysis is in float64"
    )
    args = parser.parse_args()
    _check(parser, args)
    args.channel = channels.both(parser, args.channel)
    return args


def _add_models(parser: parsing.Parser) -> None:
    """Options of the models to compare."""
    parser.add_argument(
        "--teacher",
        type=Path,
        default=reading.SHIPPED_MODEL,
        metavar="FILE",
        help="the model that others are compared with",
    )
    parser.add_argument("--student", type=Path, nargs="+", default=[], metavar="FILE", help="models made from it")
    parser.add_argument(
        "--oversample",
        type=parsing.positive_int,
        nargs="+",
        default=[],
        metavar="M",
        help="each model also at M times its rate",
    )


def _add_music(parser: parsing.Parser) -> None:
    """Options of clips and recordings."""
    parser.add_argument(
        "--audio",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="music to play through the models, WAV or FLAC",
    )
    parser.add_argument(
        "--recording",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="what the device made of each --audio, in order; default: the teacher is the reference",
    )
    channels.add_two(parser, "--audio", "--recording")


def _add_sine_set(parser: parsing.Parser) -> None:
    """Options of the sine set."""
    parser.add_argument(
        "--midi",
        type=int,
        nargs=2,
        default=[21, 108],
        metavar=("LOW", "HIGH"),
        help="semitones of the sine set; 135 is 19.9 kHz",
    )
    parser.add_argument(
        "--levels",
        type=float,
        nargs="+",
        default=[-36.0, -18.0, -6.0],
        metavar="DB",
        help="peak levels of the sine set",
    )


def _check(parser: parsing.Parser, args: Any) -> None:
    """Refuse values outside their range."""
    if not 0 <= args.midi[0] <= args.midi[1]:
        parser.error(f"--midi: LOW must be at least 0 and at most HIGH, got {args.midi[0]} {args.midi[1]}")
    if not all(-120 <= level <= 0 for level in args.levels):
        parser.error(f"--levels: must lie between -120 and 0 dB, got {' '.join(map(str, args.levels))}")
    if args.recording and len(args.recording) != len(args.audio):
        parser.error(f"--recording: one for each --audio ({len(args.audio)}), got {len(args.recording)}")


def load_models(teacher: Path, students: Sequence[Path], sample_rate: int | None = None) -> list[ModelFile]:
    """Teacher first; all of one rate, since they are compared sample by sample."""
    files = [reading.load_model(path, sample_rate) for path in (teacher, *students)]
    for file in files[1:]:
        if file.sample_rate != files[0].sample_rate:
            note = f" ({file.network.rate.note})" if file.network.rate.note else ""
            rule = f"must be the teacher's {files[0].sample_rate} Hz, got {file.sample_rate}"
            raise BadInputError(f"{file.path}: sample_rate {rule}{note}")
    return files


def group(
    files: Sequence[ModelFile], factors: Sequence[int], precision: str, knobs: Sequence[float] | None
) -> list[list[Candidate]]:
    """For each model of the teacher's file, the largest first, itself and what is compared with it.

    The models of a student's file go to their own teachers where there are as many of them, else to the largest.
    """

    def played(file: ModelFile, network: Network, role: str) -> list[Candidate]:
        return at_rates(measuring.candidate_of(file, network, role, precision, knobs), factors)

    teacher, *students = files
    groups = [played(teacher, network, "teacher") for network in reversed(teacher.networks)]
    for student in students:
        same = len(student.networks) == len(groups)
        for index, network in enumerate(reversed(student.networks)):
            groups[index if same else 0] += played(student, network, "student")
    return groups


def at_rates(native: Candidate, factors: Sequence[int]) -> list[Candidate]:
    """A model as it is, and at each multiple of its rate."""
    return [
        native._replace(play=oversampling.oversample(native.play, factor), oversample=factor)
        for factor in sorted({1, *factors})
    ]


if __name__ == "__main__":
    command_line.run(main)
