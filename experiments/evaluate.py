"""Measure models on sines and music: Table 1 of the paper for any models, with pictures and a page to listen to."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import weights_import
from experiments import command_line, report
from experiments.command_line import BadInputError, input_errors
from jaxalias import evaluation, models, oversampling, reporting
from jaxalias.evaluation import Candidate, Clip
from weights_import import ModelFile


def main() -> None:
    """The command."""
    args = parse_arguments()
    files = load_models(args.teacher, args.student)
    sample_rate = files[0].sample_rate
    clips = load_clips(args.audio, args.recording, sample_rate)
    candidates = [
        candidate
        for file, role in zip(files, ["teacher"] + ["student"] * len(args.student), strict=True)
        for candidate in at_rates(file, role, args.oversample, args.precision)
    ]
    sine_set = evaluation.SineSet(tuple(args.midi), tuple(args.levels))
    record = measure(candidates, sample_rate, sine_set, clips, args.quiet)
    record["environment"] = command_line.environment()

    written = []
    if args.report:
        with input_errors("--report"):
            args.report.mkdir(parents=True, exist_ok=True)
            written += report.write(args.report, record, candidates, clips)
    if args.json:
        command_line.write_json(args.json, record)
        written.append(args.json)
    command_line.print_table(reporting.table_rows(record), "mean over levels of the dB of each level's mean")
    for line in [*remarks(record), *(f"wrote {path}" for path in written)]:
        print(line)


def parse_arguments() -> Any:
    """The options of INTERFACE.md."""
    parser = command_line.Parser(__doc__)
    add = parser.add_argument
    add("--teacher", type=Path, required=True, metavar="FILE", help="the model that others are compared with")
    add("--student", type=Path, nargs="+", default=[], metavar="FILE", help="models made from it")
    add(
        "--oversample",
        type=command_line.positive_int,
        nargs="+",
        default=[],
        metavar="M",
        help="each model also at M times its rate",
    )
    add(
        "--audio",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="music to play through the models, WAV or FLAC",
    )
    add(
        "--recording",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="what the device made of each --audio, in order; default: the teacher is the reference",
    )
    add("--report", type=Path, metavar="DIR", help="tables, pictures and index.html")
    add(
        "--midi",
        type=int,
        nargs=2,
        default=[21, 108],
        metavar=("LOW", "HIGH"),
        help="semitones of the sine set; 135 is 19.9 kHz",
    )
    add(
        "--levels",
        type=float,
        nargs="+",
        default=[-36.0, -18.0, -6.0],
        metavar="DB",
        help="peak levels of the sine set",
    )
    add("--precision", choices=["float32", "float64"], default="float32", help="of the models; analysis is in float64")
    args = parser.parse_args()
    if not 0 <= args.midi[0] <= args.midi[1]:
        parser.error(f"--midi: LOW must be at least 0 and at most HIGH, got {args.midi[0]} {args.midi[1]}")
    if not all(-120 <= level <= 0 for level in args.levels):
        parser.error(f"--levels: must lie between -120 and 0 dB, got {' '.join(map(str, args.levels))}")
    if args.recording and len(args.recording) != len(args.audio):
        parser.error(f"--recording: one for each --audio ({len(args.audio)}), got {len(args.recording)}")
    return args


def load_models(teacher: Path, students: Sequence[Path]) -> list[ModelFile]:
    """Teacher first; all of one rate, since they are compared sample by sample."""
    with input_errors():
        files = [weights_import.load(path) for path in (teacher, *students)]
    for file in files[1:]:
        if file.sample_rate != files[0].sample_rate:
            raise BadInputError(
                f"{file.path}: sample_rate must be the teacher's {files[0].sample_rate} Hz, got {file.sample_rate}"
            )
    return files


def load_clips(audio: Sequence[Path], recordings: Sequence[Path], sample_rate: int) -> list[Clip]:
    """Clips at the models' rate; warnings of the reader go to stderr."""
    with input_errors():
        sounds = [command_line.read_audio(path, sample_rate) for path in audio]
        played = [command_line.read_audio(path, sample_rate) for path in recordings]
    return [Clip(path.stem, x, y) for path, x, y in itertools.zip_longest(audio, sounds, played)]


def at_rates(file: ModelFile, role: str, factors: Sequence[int], precision: str) -> list[Candidate]:
    """A model as it is, and at each multiple of its rate."""
    play = evaluation.player(models.build(file.config), file.params, precision)
    return [
        Candidate(str(file.path), role, oversampling.oversample(play, factor), factor)
        for factor in sorted({1, *factors})
    ]


def measure(
    candidates: Sequence[Candidate],
    sample_rate: int,
    sine_set: evaluation.SineSet,
    clips: Sequence[Clip],
    quiet: bool,
) -> dict[str, Any]:
    """The record of INTERFACE.md."""
    steps = len(candidates) * (len(sine_set.levels_db) + len(clips))
    with input_errors(), command_line.progress("measuring", steps, quiet=quiet) as step:
        record = evaluation.evaluate(candidates, sample_rate, sine_set, on_step=step)
        for model, candidate in zip(record["models"], candidates, strict=True):
            model["alias_to_signal"] = evaluation.alias_to_signal(candidate, sample_rate)
        if clips:
            heard = evaluation.evaluate_audio(candidates, clips, sample_rate, on_step=step)
            for model, audio in zip(record["models"], heard, strict=True):
                model["audio"] = audio
    return record


def remarks(record: dict[str, Any]) -> list[str]:
    """What stands behind a dash or was left out, once each."""
    notes = {f"{name}: {why}" for model in record["models"] for name, why in model.get("notes", {}).items()}
    return sorted(notes)


if __name__ == "__main__":
    command_line.run(main)
