"""What becomes of a trained model file: students in its format, their measurement, verdict and report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxalias import models
from jaxalias.commands import fine_tuning, measuring, reading, report, writing
from jaxalias.commands.errors import BadInputError
from jaxalias.commands.fine_tuning import Task, Training
from jaxalias.commands.parsing import KNOB_DEFAULT
from jaxalias.evaluation import audio_set, verdict
from weights_import import ModelFile

KNOB_POSITIONS = (0.0, 0.25, 0.5, 0.75, 1.0)


class Job(NamedTuple):
    """One model file: what is done to its networks, where the results go."""

    source: ModelFile
    tasks: tuple[Task, ...]  # in the order of its networks
    run_dir: Path
    output: Path


class Heard(NamedTuple):
    """The user's recordings that every model plays."""

    files: Mapping[str, str]  # SHA-256 by path
    clips: Mapping[int, Sequence[audio_set.Clip]]  # by sample rate


def earlier(job: Job, heard: Heard) -> dict[str, Any] | None:
    """The record of a job that an earlier command has finished with the same settings and recordings.

    None if there is none, or if the student's file has changed or the page has gone since.
    """
    record = reading.read_json(job.run_dir / "result.json")
    configs = [task.config.model_dump(mode="json") for task in job.tasks]
    teachers = [job.source.label(task.teacher) for task in job.tasks]
    try:
        same = [network["config"] for network in record["networks"]] == configs
        same &= [network["teacher"] for network in record["networks"]] == teachers
        same &= record["audio_files"] == heard.files and record["output"] == str(job.output)
        same &= (job.run_dir / "index.html").exists() and reading.digest(job.output) == record["output_sha256"]
        return record if same else None
    except (KeyError, TypeError, BadInputError):
        return None


def finish(job: Job, results: Sequence[Training], heard: Heard, quiet: bool) -> dict[str, Any]:
    """Export, measure and report; the record of INTERFACE.md.

    Students are measured against their teachers, models with knobs at several positions (`positions`). Pictures
    and page show the largest network, its knobs in the middle. A model that learned from a larger one is also
    measured as it was, against the same teacher.
    """
    student = fine_tuning.export(job.source, job.tasks, [result.student for result in results], job.output)
    places = [
        (task, trained, knobs)
        for task, trained in reversed(list(zip(job.tasks, student.networks, strict=True)))
        for knobs in positions(models.build(trained.config).knobs)
    ]
    groups = [
        [
            measuring.candidate_of(job.source, task.teacher, "teacher", knobs=knobs),
            *(
                measuring.candidate_of(file, network, "student", knobs=knobs)
                for file, network in ((job.source, task.network), (student, trained))
                if network is not task.teacher
            ),
        ]
        for task, trained, knobs in places
    ]
    clips = heard.clips[job.source.sample_rate]
    record, performances = measuring.measure(groups, job.source.sample_rate, clips, alias_free=True, quiet=quiet)
    networks = [
        {
            "label": task.label,
            "updates": task.config.updates,
            "seconds": result.seconds,
            "updates_per_second": result.updates_here / result.seconds if result.updates_here else None,
            "preset": task.config.preset,
            "learning_rate": result.learning_rate,
            "teacher": job.source.label(task.teacher),
            "config": task.config.model_dump(mode="json"),
            "train_audio": [str(path) for path in task.audio.files] if task.audio else [],
            "history": writing.history_of(result.progress.history[0]) if result.progress else [],
        }
        for task, result in zip(job.tasks, results, strict=True)
    ]
    largest = {key: value for key, value in networks[-1].items() if key != "label"}
    record |= {**largest, "output": str(job.output), "networks": networks, "audio_files": dict(heard.files)}
    path = job.run_dir / "result.json"
    written = [job.output, *report.write(job.run_dir, record, groups[0], performances), path]
    record["as_it_was"] = rejected = objections([task for task, *_ in places], groups, record["models"])
    record["rejected"] = None
    if rejected:
        aside = keep_teachers(job, results, rejected)
        written.append(aside)
        record["rejected"] = str(aside)
    record["output_sha256"] = reading.digest(job.output)
    writing.write_json(path, record)
    measuring.print_result(record, f"{job.source.path.name}, {job.tasks[-1].config.updates} updates", written)
    return record


def objections(
    tasks: Sequence[Task], groups: Sequence[Sequence[Any]], entries: Sequence[dict[str, Any]]
) -> dict[str, str]:
    """By the label of a task, why its model is kept as it was (`verdict.objection`). Only of students not to be used.

    Args:
        tasks, groups: a task and its candidates for each position of the knobs: the student last, before it the model
            as it was.
        entries: of the record, one a candidate.
    """
    positions: dict[str, list[tuple[dict[str, Any], dict[str, Any]]]] = {}
    rest = iter(entries)
    for task, group in zip(tasks, groups, strict=True):
        *_, before, student = [next(rest) for _ in group]
        positions.setdefault(task.label, []).append((before, student))
    found = {label: verdict.objection(pairs) for label, pairs in positions.items()}
    return {label: words for label, words in found.items() if words}


def keep_teachers(job: Job, results: Sequence[Training], rejected: Mapping[str, str]) -> Path:
    """Write the output anew, with the networks as they were whose students are put aside; returns where these went."""
    aside = job.run_dir / f"rejected_{job.output.name}"
    students = [result.student for result in results]
    fine_tuning.export(job.source, job.tasks, students, aside)
    kept = [
        task.network.params if task.label in rejected else student
        for task, student in zip(job.tasks, students, strict=True)
    ]
    fine_tuning.export(job.source, job.tasks, kept, job.output, {"as_it_was": sorted(rejected)})
    for label, words in rejected.items():
        print(f"{label}: the student {words}; {job.output} holds the model as it was, {aside} the student")
    return aside


def positions(knobs: int) -> list[tuple[float, ...] | None]:
    """Where the knobs stand when a model is measured: all in the middle, then each in turn from end to end."""
    if not knobs:
        return [None]
    middle = (KNOB_DEFAULT,) * knobs
    moved = [(*middle[:knob], at, *middle[knob + 1 :]) for knob in range(knobs) for at in KNOB_POSITIONS]
    return [middle, *(position for position in moved if position != middle)]
