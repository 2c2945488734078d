"""The sources of a run's config, and the data for their targets."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxalias import models
from jaxalias.config import FineTuneConfig, MusicConfig
from jaxalias.models import Model, Params
from jaxalias.signals.recordings import Pair
from jaxalias.training.importance import Chances
from jaxalias.training.sources import Known, Material, Source, music, periodic_tones, tones


class Played(NamedTuple):
    """Music for training and other music for validation, with the teacher's output."""

    training: Pair
    held_out: Pair
    own: np.ndarray | None = None  # the teacher's output at its own rate for the training music, (t,)


class Task(NamedTuple):
    """One student of a run."""

    name: str  # for errors
    teacher: Params  # in any precision
    config: FineTuneConfig
    initial: Params | None = None  # initial parameters of the student; None: those of its teacher
    music: Mapping[str, Played] = {}  # for each source of music of the config, by name (`music_of`)


def music_of(config: FineTuneConfig) -> dict[str, MusicConfig]:
    """The sources of music of a run, by name."""
    every = {"music": config.music, "high_playing": config.high_playing, "starts": config.starts}
    return {name: found for name, found in every.items() if found is not None}


def sources_of(model: Model, teacher_model: Model, config: FineTuneConfig, sample_rate: int) -> tuple[Source, ...]:
    """The sources of a run. To add your own, add one line here.

    Args:
        model: of the students.
        teacher_model: of the teachers.
        config: names the sources.
        sample_rate: Hz.

    Raises:
        ValueError: a frame that is too short or too long, tones that the model cannot play, or importance sampling of
            music for a model with knobs.
    """
    settling = settling_of(model, config, sample_rate)
    play, dtype = model.apply, config.precision  # sources that share this function are played in one call
    found = []
    if config.sines.whole_cycles:
        found.append(periodic_tones.source(model, teacher_model, config, sample_rate))
    else:
        found.append(tones.source(model, teacher_model, config, sample_rate, play))
    for name, each in music_of(config).items():
        if model.knobs and each.importance:
            raise ValueError(f"{name}.importance needs a model without knobs: the teacher plays at each draw")
        if name == "starts" or model.knobs:
            past = 0 if name == "starts" else settling
            found.append(
                music.performed(model, teacher_model, each, name, sample_rate, play, settling=past, dtype=dtype)
            )
        else:
            found.append(music.excerpts(model, each, name, sample_rate, play, settling=settling, dtype=dtype))
    return tuple(found)


def settling_of(model: Model, config: FineTuneConfig, sample_rate: int) -> int:
    """Samples of music before an excerpt: the receptive field, or the settling time of a recurrent model."""
    if model.receptive_field is not None:
        return model.receptive_field - 1
    return round(config.sines.settling_s * sample_rate)


def known_of(model: Model, task: Task, settling: int, sample_rate: int) -> Known:
    """Teacher and music of one student, on the device, in the precision of the run.

    Args:
        model: of the teacher.
        task: the student.
        settling: samples before an excerpt (`settling_of`).
        sample_rate: Hz.

    Raises:
        ValueError: music that a source needs is missing or too short.
    """
    training: dict[str, Material] = {}
    held_out: dict[str, Material] = {}
    chances: dict[str, Chances] = {}
    for name, config in music_of(task.config).items():
        least = music.least_samples(config, sample_rate, 0 if name == "starts" else settling)
        if name not in task.music:
            raise ValueError(f"{task.name}: {name} needs music of at least {least} samples, got none")
        for part, kept in zip(task.music[name][:2], (training, held_out), strict=True):
            if min(len(part.x), len(part.y)) < least:
                raise ValueError(f"{task.name}: {name} needs music of at least {least} samples, got {len(part.x)}")
            kept[name] = music.material(part.x, part.y, task.config.precision)
        if config.importance:
            part, _, own = task.music[name]
            if own is None:
                raise ValueError(f"{task.name}: {name}.importance needs the teacher's output at its own rate, got none")
            chances[name] = music.chances(config, part.y, own, sample_rate, settling)
    teacher = models.cast(task.teacher, task.config.precision)
    if task.config.sines.importance:
        settings = shared(task.config)  # compiled once for all seeds and weights
        chances["tones"] = periodic_tones.chances(model, teacher, settings, sample_rate)
    return Known(teacher, training, held_out, chances)


def weights_of(model: Model, config: FineTuneConfig, sample_rate: int) -> dict[str, Any]:
    """The weights of one student's terms, by name. Other students in the same program may have other weights."""
    own = sources_of(model, model, config, sample_rate)
    return {term.name: jnp.asarray(term.weight, config.precision) for source in own for term in source.terms}


def refuse_different(tasks: Sequence[Task]) -> None:
    """Refuse students that cannot share one program.

    Raises:
        ValueError: configs differ in more than seed, learning rate and loss weights. The message names the first such
            one.
    """
    for task in tasks:
        if shared(task.config) != shared(tasks[0].config):
            raise ValueError(
                f"{task.name}: students trained together may differ in seed, learning rate and loss weights alone, "
                f"and the config of this one differs in more from that of {tasks[0].name}"
            )


def shared(config: FineTuneConfig) -> FineTuneConfig:
    """The config with a fixed seed, learning rate and loss weights: what students of one program must agree in."""

    def fixed(part: Any) -> Any:
        if not isinstance(part, dict):
            return part
        kept = {key: _FIXED.get(key, fixed(value)) for key, value in part.items()}
        if "dc_weight" in kept:  # with weight zero the program has no such term
            kept["dc_weight"] = float(bool(kept["dc_weight"]))
        return kept

    return FineTuneConfig.model_validate(fixed(config.model_dump()))


_FIXED = {"seed": 0, "learning_rate": 1.0, "weight": 1.0}
