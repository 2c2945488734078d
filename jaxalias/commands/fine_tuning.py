"""The training of one group of networks, behind `finetune.py` and `sweep.py`: each has its checkpoints."""

import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import jaxalias
import weights_import
from jaxalias import fine_tuning, models
from jaxalias.commands import long_runs, reading
from jaxalias.commands.errors import BadInputError, input_errors
from jaxalias.config import FineTuneConfig, SineConfig
from jaxalias.models import Params
from jaxalias.training import loop, plan, run
from jaxalias.training.checkpoints import Checkpoints
from jaxalias.training.loop import Progress
from weights_import import ModelFile, Network

FINE_TUNED = "fine-tuned against aliasing (Carson, Wright, Bilbao, DAFx25)"


class Audio(NamedTuple):
    """The user's own recordings to train on, one joined to the other."""

    files: tuple[Path, ...]
    samples: np.ndarray  # (t,), at the rate of the models
    sha256: str  # of the samples


class Task(NamedTuple):
    """One network to be fine-tuned."""

    label: str  # the file, and which of its networks
    network: Network
    teacher: Network  # what it learns to answer as: itself as it was, or another of its file
    config: FineTuneConfig
    model_sha256: str  # of the file
    run_dir: Path  # with its checkpoints
    audio: Audio | None = None  # what a config with music trains on; None: synthetic playing


class Training(NamedTuple):
    """What came of a task, alone or with others."""

    progress: Progress | None  # of this student; None: its numbers were not finite any more
    updates_here: int  # in this process
    seconds: float

    @property
    def student(self) -> Params:
        """The parameters with the lowest validation loss."""
        if self.progress is None:
            raise ValueError("the run diverged: it has no student")
        return jax.tree.map(lambda a: a[0], self.progress.best)

    @property
    def learning_rate(self) -> float | None:
        """With which it was trained: that of its config, or a lower one (`jaxalias.training.rate_search`)."""
        return None if self.progress is None else float(str(self.progress.state.rate[0]))  # 0.004, also of a float32


Group = Sequence[tuple[Task, Checkpoints]]
"""Tasks that are trained in one program, each with its checkpoints."""


def refuse_same_names(paths: Sequence[Path]) -> None:
    """The results of several models go by the names of their files."""
    known: set[str] = set()
    for path in paths:
        if path.stem in known:
            raise BadInputError(
                f"{path}: another model has the name {path.stem} too; results go by name, give it another"
            )
        known.add(path.stem)


def load(path: Path, sample_rate: int | None = None) -> ModelFile:
    """A model that can be fine-tuned.

    Args:
        path: of its file.
        sample_rate: Hz, if the file does not say its own.
    """
    source = reading.load_model(path, sample_rate)
    with input_errors():
        weights_import.require_trainable(source)
    return source


def read_audio(files: Sequence[Path], sample_rate: int, sines: SineConfig, channel: int | None = None) -> Audio:
    """Recordings to train on, each long enough for one excerpt: as long as a tone, settling and analysed part.

    Raises:
        BadInputError: a file, named, is no audio, is shorter than that, or holds nothing but silence.
    """
    least = round(sines.settling_s * sample_rate) + round(sines.analysed_s * sample_rate)
    with input_errors():
        parts = [reading.read_audio(path, sample_rate, channel) for path in files]
    for path, part in zip(files, parts, strict=True):
        if len(part) < least:
            raise BadInputError(
                f"{path}: must hold at least {least} samples at {sample_rate} Hz "
                f"({least / sample_rate:.1f} s) to be trained on, got {len(part)}"
            )
        if not part.any():
            raise BadInputError(f"{path}: must hold a signal to be trained on, is silent")
    samples = np.concatenate(parts)
    return Audio(tuple(files), samples, hashlib.sha256(samples.tobytes()).hexdigest())


def claim(task: Task) -> Checkpoints:
    """The checkpoints of a task, in a folder that holds no other one's."""
    identity: dict[str, Any] = {
        "train_audio_sha256": task.audio and task.audio.sha256,  # first: the config follows from it
        "config": task.config.model_dump(mode="json"),
        "model": task.network.config.model_dump(mode="json"),
        "model_sha256": task.model_sha256,
        "teacher": task.teacher.name,
    }
    if task.network.rate.source == "user":  # else it follows from the file
        identity["sample_rate"] = task.network.sample_rate
    with input_errors():
        return Checkpoints(task.run_dir, identity)


def prepare(tasks: Sequence[Task]) -> run.Run:
    """The functions of a run of these tasks, which have one shape; the alias-free teachers play the music first."""
    model, teacher = (models.build(network.config) for network in (tasks[0].network, tasks[0].teacher))
    every = [
        plan.Task(
            task.label, task.teacher.params, task.config, initial=task.network.params,
            music=fine_tuning.play_music(
                teacher, task.teacher.params, task.config, task.teacher.sample_rate, task.audio and task.audio.samples
            ),
        )
        for task in tasks
    ]  # fmt: skip
    return run.prepare(model, every, tasks[0].network.sample_rate, teacher)


def fine_tune(group: Group, done: int, quiet: bool) -> list[Training]:
    """Train a group from the update that it has reached to the last; what came of each task."""
    tasks, config = [task for task, _ in group], group[0][0].config
    quiet = quiet or jax.process_index() > 0
    started = time.monotonic()
    if not quiet:
        print("the teacher plays the music of the run, and the first update is compiled", file=sys.stderr, flush=True)
    with input_errors():
        prepared = prepare(tasks)
        fresh = loop.begin(prepared)
        progress = restore(group, done, fresh) if done else None
    where = tasks[0].run_dir if len(tasks) == 1 else f"{len(tasks)} folders"
    name = "update" if len(tasks) == 1 else f"update of {len(tasks)} models"
    with (
        long_runs.stop_on_interrupt() as should_stop,
        long_runs.progress(name, config.updates, done, quiet=quiet) as step,
    ):
        if done and not quiet:
            print(f"resuming after update {done} of {config.updates} in {where}", file=sys.stderr, flush=True)

        def show(record: dict[str, float]) -> None:
            step("  ".join(f"{name} {record[name]:.4g}" for name in ("loss", "ESR", "NMR")), round(record["update"]))

        def tell_lowered(index: int, rate: float) -> None:
            if not quiet:
                print(lowered(tasks[index], rate), file=sys.stderr, flush=True)

        hooks = loop.Hooks(show, partial(save, group), long_runs.EveryMinute(), should_stop, tell_lowered)
        try:
            progress = fine_tuning.train(prepared, hooks, progress)
        except loop.DivergedError:
            return [Training(None, 0, 0.0)] * len(group)
        finally:
            for _, checkpoints in group:
                checkpoints.close()
    if progress.updates_done < config.updates:
        message = f"stopped after update {progress.updates_done} of {config.updates}; the same command resumes"
        print(message, file=sys.stderr)
        raise SystemExit(130)
    for task, before, after in zip(tasks, fresh.best_loss, progress.best_loss, strict=True):
        if before == after:
            what = "no update improved the validation loss: the student is the model as it was; try more updates"
            print(f"{task.label}: {what}", file=sys.stderr)
    seconds = time.monotonic() - started
    return [Training(part, progress.updates_done - done, seconds) for part in loop.split(progress)]


def restore(group: Group, done: int, fresh: Progress) -> Progress:
    """The progress of a group after `done` updates, from the checkpoints of its tasks; `fresh` is one like it."""
    pairs = zip(group, loop.split(fresh), strict=True)
    return loop.join([checkpoints.restore(done, part) for (_, checkpoints), part in pairs if part], fresh)


def save(group: Group, parts: Sequence[Progress | None]) -> None:
    """A checkpoint of each task whose parameters are finite, but none of a run before its first update."""
    for (_, checkpoints), part in zip(group, parts, strict=True):
        if part is not None and part.updates_done:
            checkpoints.save(part)


def lowered(task: Task, rate: float) -> str:
    """A line that says that the first updates of a task are repeated at a lower learning rate."""
    highest = f"its config has {task.config.optimiser.learning_rate:g}"
    return f"{task.label}: again at learning rate {rate:.3g}: at twice that the first updates do harm ({highest})"


def export(
    source: ModelFile, tasks: Sequence[Task], students: Sequence[Params], output: Path, also: Mapping[str, Any] = {}
) -> ModelFile:
    """Write students in the format of the source and read them back.

    Args:
        tasks: one for each network of the source, in its order.
        students: the parameters of each.
        also: to be noted in the file, beside preset, updates, seed and teacher.
    """
    config, audio = tasks[-1].config, tasks[-1].audio
    note = {
        "what": FINE_TUNED,
        "program": f"jaxalias {jaxalias.__version__}",
        "source": source.path.name,
        "preset": config.preset,
        "updates": config.updates,
        "seed": config.seed,
        "teacher": "own" if all(task.teacher is task.network for task in tasks) else "largest",
        **({"train_audio": [path.name for path in audio.files]} if audio else {}),
        **also,
    }
    with input_errors():
        weights_import.save(output, weights_import.fine_tuned(source, students, note))
        student, rate = weights_import.load(output), source.network.rate
        return weights_import.at_rate(student, rate.hz) if rate.source == "user" else student
