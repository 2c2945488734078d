"""Fine-tune at many settings: a grid over options of the config, or some of its points at random, in one table."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxalias.commands import (
    channels,
    command_line,
    fine_tuning,
    grid,
    groups,
    measuring,
    overwriting,
    parsing,
    reading,
    sweep_table,
    writing,
)
from jaxalias.commands.errors import BadInputError
from jaxalias.commands.evaluate import at_rates
from jaxalias.commands.fine_tuning import Group, Task, Training
from jaxalias.commands.grid import Point
from jaxalias.commands.overwriting import Input
from jaxalias.config.presets import PRESETS
from jaxalias.evaluation import audio_set
from weights_import import ModelFile

_WAITING: dict[str, Any] = {"failed": None, "minutes": None, "measured": None, "front": False, "result": None}


class Sweep(NamedTuple):
    """All that is done to one model."""

    source: ModelFile
    folder: Path
    points: tuple[Point, ...]
    tasks: tuple[Task, ...]  # of the points, in order
    students: tuple[ModelFile, ...]  # to compare with
    clips: list[audio_set.Clip]
    heard: dict[str, str]  # SHA-256 of the clips' files, by path


class Place(NamedTuple):
    """Where a task belongs."""

    sweep: Sweep
    point: Point
    entry: dict[str, Any]  # of the record


def main() -> None:
    """The command."""
    args = parse_arguments()
    sweeps = list(plan(args))
    refuse_overwriting(args, sweeps)
    claimed = [(task, fine_tuning.claim(task)) for sweep in sweeps for task in sweep.tasks]
    if not args.quiet:  # else it stands in the record alone
        reading.tell_assumed(sweep.source for sweep in sweeps)
    record = {
        "preset": args.preset,
        "models": [begin(sweep, args) for sweep in sweeps],
        "environment": writing.environment(),
    }
    places = {
        task.run_dir: Place(sweep, point, entry)
        for sweep, block in zip(sweeps, record["models"], strict=True)
        for task, point, entry in zip(sweep.tasks, sweep.points, block["points"], strict=True)
    }
    waiting = []
    for task, checkpoints in claimed:
        found = finished(task, places[task.run_dir].sweep)
        if found is None:
            waiting.append((task, checkpoints))
        else:
            checkpoints.close()
            places[task.run_dir].entry.update(found)
    written = write(args, record)
    for task, entry in train(waiting, places, args):
        places[task.run_dir].entry.update(entry)
        written = write(args, record)
    for block in record["models"]:
        writing.print_table(sweep_table.rows(block, sweep_table.varied(block)), sweep_table.title(block))
    print("\n".join(f"wrote {path}" for path in written))
    refused = [place.point.name for place in places.values() if place.entry["result"] is None]
    if refused:
        raise BadInputError(f"{len(refused)} of {len(places)} points could not be trained, see above: {refused[0]} ...")


def parse_arguments() -> Any:
    """The options of INTERFACE.md."""
    parser = parsing.Parser(__doc__)
    add, count = parser.add_argument, parsing.positive_int
    add("--model", type=Path, nargs="+", required=True, metavar="FILE", help="as in finetune.py; folders too")
    add("--preset", choices=sorted(PRESETS), default="fast", help="recipe that the points change")
    add(
        "--set", action="append", required=True, metavar="KEY=V1,V2,...",
        help="values of an option of the config (jaxalias/config/run.py), such as loss.nmr.weight=0.03,0.1 or seed=0,1 "
        "or updates=200; several times for a grid",
    )  # fmt: skip
    add("--random", type=count, metavar="N", help="so many different points of the grid (default: all)")
    add("--seed", type=parsing.natural_int, default=0, metavar="N", help="of --random; of the tones: --set seed=")
    add("--run-dir", type=Path, metavar="DIR", help="table, pictures, and a folder a model and point; the same folder "
        "and points again resume (default: runs/sweep-PRESET)")  # fmt: skip
    add(
        "--together", type=count, metavar="N",
        help="at most so many points in one program, of those that differ in seed, learning rate and loss weights "
        f"alone; changes time and memory, no result (default: 1 on a CPU, {groups.TOGETHER} elsewhere)",
    )  # fmt: skip
    add("--audio", type=Path, nargs="+", default=[], metavar="FILE",
        help="music to play through teacher and students, WAV or FLAC: ESR and MRSL against the teacher")  # fmt: skip
    channels.add_one(parser, "--audio")
    add(
        "--student", nargs="+", default=[], metavar="FILE",
        help="students made elsewhere, to be compared with; where there are several models as NAME=FILE, with NAME the "
        "model's file name without its ending",
    )  # fmt: skip
    add("--oversample", type=count, nargs="*", default=[2, 4], metavar="M", help="the teacher also at M times its rate")
    parsing.add_sample_rate(parser)
    return parser.parse_args()


def plan(args: Any) -> Iterator[Sweep]:
    """What is to be done, checked as far as it can be before the training."""
    run_dir = run_dir_of(args)
    changes = grid.choose(grid.parse(args.set), args.random, args.seed)
    paths = list(reading.find_files(args.model))
    fine_tuning.refuse_same_names(paths)
    sources = [fine_tuning.load(path, args.sample_rate) for path in paths]
    if not sources:
        raise BadInputError(f"{', '.join(map(str, args.model))}: must hold at least 1 file, got 0")
    students = students_of(sources, args.student, args.sample_rate)
    heard = {str(path): reading.digest(path) for path in args.audio}
    rates = {source.sample_rate for source in sources}
    clips = {rate: measuring.load_clips(args.audio, (), rate, (args.channel, None)) for rate in rates}
    for source in sources:
        if len(source.networks) > 1:
            raise BadInputError(f"{source.path}: must hold one network for a sweep, got {len(source.networks)}")
        network, path = source.networks[0], source.path
        points, digest = tuple(grid.points(PRESETS[args.preset](network.config), changes)), reading.digest(path)
        folder = run_dir / path.stem
        tasks = tuple(
            Task(f"{path} {point.name}", network, network, point.config, digest, folder / point.name)
            for point in points
        )
        yield Sweep(source, folder, points, tasks, tuple(students[path.stem]), clips[source.sample_rate], heard)


def refuse_overwriting(args: Any, sweeps: Sequence[Sweep]) -> None:
    """Refuse to write over what is read or was not made by a sweep."""
    read = [Input(sweep.source.path, "one of the models") for sweep in sweeps]
    read += [Input(Path(file.path), "one of the students") for sweep in sweeps for file in sweep.students]
    read += overwriting.inputs(audio=args.audio)
    overwriting.refuse(args, [], read)
    names = ("table.md", "table.csv", *(f"pareto_{sweep.source.path.stem}.png" for sweep in sweeps))
    overwriting.refuse_in(args, "--run-dir", run_dir_of(args), names, read, overwriting.sweep_folder)
    for sweep in sweeps:
        overwriting.refuse_in(args, "--run-dir", sweep.folder, ["marks.json"], read, overwriting.marks)


def run_dir_of(args: Any) -> Path:
    """The folder of the sweep."""
    return args.run_dir or Path("runs") / f"sweep-{args.preset}"


def students_of(
    sources: Sequence[ModelFile], given: Sequence[str], sample_rate: int | None
) -> dict[str, list[ModelFile]]:
    """By the name of their model, the students to compare with."""
    teachers = {source.path.stem: source for source in sources}
    found: dict[str, list[ModelFile]] = {stem: [] for stem in teachers}
    for text in given:
        stem, _, file = text.partition("=")
        if stem not in teachers:
            if len(sources) > 1:
                raise BadInputError(f"--student {text}: must be NAME=FILE with one of {', '.join(teachers)} as NAME")
            stem, file = sources[0].path.stem, text
        student, teacher = reading.load_model(Path(file), sample_rate), teachers[stem]
        if len(student.networks) > 1 or student.sample_rate != teacher.sample_rate:
            raise BadInputError(
                f"--student {file}: must hold one network at {teacher.sample_rate} Hz as {teacher.path.name}, "
                f"got {len(student.networks)} at {student.sample_rate} Hz"
            )
        found[stem].append(student)
    return found


def begin(sweep: Sweep, args: Any) -> dict[str, Any]:
    """The record of a model before its first point: the marks are measured here, or found from an earlier run."""
    path = sweep.folder / "marks.json"
    inputs = {
        "teacher": sweep.tasks[0].model_sha256,
        "sample_rate": sweep.source.sample_rate,
        "oversample": sorted({1, *args.oversample}),
        "students": {str(student.path): reading.digest(student.path) for student in sweep.students},
        "audio": sweep.heard,
    }
    known = reading.read_json(path)
    if known.get("inputs") != inputs:
        teacher = measuring.candidate_of(sweep.source, sweep.source.network, "teacher")
        others = [measuring.candidate_of(student, student.network, "student") for student in sweep.students]
        group = [*at_rates(teacher, args.oversample), *others]
        measured, _ = measuring.measure([group], sweep.source.sample_rate, sweep.clips, quiet=args.quiet)
        known = {"inputs": inputs, **measured}
        writing.write_json(path, known)
    return {
        "path": str(sweep.source.path),
        "name": sweep.source.path.stem,
        "preset": args.preset,
        "marks": known["models"],
        "points": [{"name": point.name, "changes": point.changes, **_WAITING} for point in sweep.points],
    }


def train(waiting: Group, places: dict[Path, Place], args: Any) -> Iterator[tuple[Task, dict[str, Any]]]:
    """Train and measure what is not finished; the entry of each point in the record as soon as it is known."""
    left = len(waiting)
    for outcomes in groups.train(waiting, args.together or groups.at_most(), args.quiet):
        for task, together, training in outcomes:
            if isinstance(training, BadInputError):
                print(f"sweep.py: {task.label}: {training}", file=sys.stderr)
                yield task, {"failed": str(training)}
            else:
                yield task, finish(task, training, places[task.run_dir], together, args.quiet)
            left -= 1
            if not args.quiet:
                print(f"{task.label}: done, {left} of {len(places)} points to go", file=sys.stderr, flush=True)


def finish(task: Task, training: Training, place: Place, together: int, quiet: bool) -> dict[str, Any]:
    """Export and measure a point; its entry, which stands with the history of its training in `result.json`."""
    source = place.sweep.source
    path, output = task.run_dir / "result.json", task.run_dir / f"{source.path.stem}_antialiased{source.path.suffix}"
    result: dict[str, Any] = {
        "preset": task.config.preset, "changes": place.point.changes, "config": task.config.model_dump(mode="json"),
        "updates": task.config.updates, "learning_rate": training.learning_rate,
        "seconds": training.seconds, "updates_here": training.updates_here,
        "trained_together": together, "audio_files": place.sweep.heard, "failed": groups.DIVERGED,
    }  # fmt: skip
    if training.progress is not None:
        student = fine_tuning.export(source, [task], [training.student], output, {"changes": place.point.changes})
        result |= {
            "output": str(output),
            "history": writing.history_of(training.progress.history[0]),
            "failed": None,
        }
        candidates = [
            measuring.candidate_of(source, source.network, "teacher"),
            measuring.candidate_of(student, student.network, "student"),
        ]
        try:
            measured, _ = measuring.measure([candidates], source.sample_rate, place.sweep.clips, quiet=quiet)
            result |= measured
        except BadInputError as error:  # silent, or not finite on some tone
            result["failed"] = f"cannot be measured: {error}"
    if result["failed"]:
        print(f"{task.label}: {result['failed']}", file=sys.stderr)
    before = reading.read_json(path)
    if not training.updates_here and before:  # trained and timed by an earlier run
        result |= {key: before[key] for key in ("seconds", "updates_here", "trained_together")}
    writing.write_json(path, result)
    return entry_of(result, path)


def finished(task: Task, sweep: Sweep) -> dict[str, Any] | None:
    """The entry of a point that an earlier run has finished and, unless it failed, played the same music through."""
    path = task.run_dir / "result.json"
    result = reading.read_json(path)
    if not result:
        return None
    return entry_of(result, path) if result["failed"] or result["audio_files"] == sweep.heard else None


def entry_of(result: dict[str, Any], path: Path) -> dict[str, Any]:
    """What the record of the sweep holds of a point: minutes are its share, from the speed of its last stretch."""
    minutes = None
    if result["updates_here"]:
        minutes = result["seconds"] / result["updates_here"] * result["updates"] / result["trained_together"] / 60
    measured = result["models"][1] if "models" in result else None
    return {"failed": result["failed"], "minutes": minutes, "measured": measured, "result": str(path)}


def write(args: Any, record: dict[str, Any]) -> list[Path]:
    """Tables, pictures and, if asked for, JSON, as far as the points are known."""
    for block in record["models"]:
        sweep_table.mark_front(block["points"])
    run_dir = run_dir_of(args)
    written = sweep_table.write(run_dir, record)
    if args.json:
        writing.write_json(args.json, record)
        written.append(args.json)
    return written


if __name__ == "__main__":
    command_line.run(main)
