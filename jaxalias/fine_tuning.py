"""The whole method in one call: `fine_tune`. No files, no command line."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxalias.config import FineTuneConfig
from jaxalias.evaluation.sine_set import player
from jaxalias.models import Model, Params
from jaxalias.signals import high_playing, playing
from jaxalias.signals.recordings import Pair
from jaxalias.targets.oversampling import oversample
from jaxalias.training import loop, plan, rate_search, run
from jaxalias.training.loop import SILENT, Hooks, Progress
from jaxalias.training.plan import Played, Task

TRAINING_SEED, HELD_OUT_SEED = 0, 1  # of the music that the project makes
HELD_OUT_S, LEAST_S = 8.0, 2.0  # of each kind
_KNOB_MIDDLE = 0.5


class FineTuned(NamedTuple):
    """What came of a run."""

    student: Params  # the average with the lowest validation loss; the teacher itself where no update lowered it
    learning_rate: float  # that of the config, or a lower one (`jaxalias.training.rate_search`)
    history: list[dict[str, float]]  # of each update: "update", "loss" and its terms by name, some with validation


def fine_tune(
    model: Model,
    params: Params,
    config: FineTuneConfig,
    *,
    sample_rate: int,
    audio: Float[np.ndarray, "t"] | None = None,
    on_update: Callable[[dict[str, float]], None] = lambda record: None,
) -> FineTuned:
    """Fine-tune a copy of a model against its aliases.

    Args:
        model: the network (`jaxalias.models.build`).
        params: those of the teacher, a nested dict of arrays.
        config: what `jaxalias.config.presets` return for the model's kind, or one of your own.
        sample_rate: Hz, of the model.
        audio: dry recordings to train on in the place of the project's training signal, at that rate.
        on_update: takes a record of the history after each update.

    Raises:
        ValueError: the config does not suit the model or the sample rate; or the teacher is silent or not finite.
        DivergedError: the parameters are not finite any more (`jaxalias.training.loop`).
    """
    task = Task("the model", params, config, music=play_music(model, params, config, sample_rate, audio))
    progress = train(run.prepare(model, [task], sample_rate), Hooks(on_update=on_update))
    (student,) = jax.tree.map(lambda a: a[0], [progress.best])
    return FineTuned(student, float(progress.state.rate[0]), progress.history[0])


def train(
    prepared: run.Run,
    hooks: Hooks = SILENT,
    saved: Progress | None = None,
    on_rates: Callable[[list[float]], None] = lambda rates: None,
) -> Progress:
    """From the first update, or from what was saved, to the last; or until told to stop.

    Args:
        on_rates: takes the learning rate of each student, once it is found.
    """
    if saved is None:
        saved = rate_search.begin(prepared, hooks)
        on_rates(np.asarray(saved.state.rate).tolist())
    return loop.advance(prepared, saved, hooks)


def play_music(
    model: Model, params: Params, config: FineTuneConfig, sample_rate: int, audio: np.ndarray | None = None
) -> dict[str, Played]:
    """The music of a config's sources and the alias-free teacher's answers, for training and for validation.

    Args:
        audio: takes the place of the project's training signal, as long as it is.
    """
    position = (_KNOB_MIDDLE,) * model.knobs or None
    play = player(model, params, knobs=position)

    def answered(x: np.ndarray, factor: int) -> Pair:
        return Pair(x, np.asarray(oversample(play, factor)(jnp.asarray(x)[None])[0]))

    found = {}
    for name, each in plan.music_of(config).items():
        drawn_s = config.updates * each.rows * each.frame_s  # by all updates: a short run needs no more than that
        seconds, other_s = (min(most, max(LEAST_S, drawn_s)) for most in (each.seconds, HELD_OUT_S))
        # what is played when it is drawn needs the power of the answer alone
        factor = 1 if name == "starts" or model.knobs else each.oversampling
        if name == "high_playing":
            x = high_playing.high_playing(seconds, sample_rate, TRAINING_SEED)
            other = high_playing.high_playing(other_s, sample_rate, HELD_OUT_SEED)
        else:
            x = _training_music(seconds, sample_rate) if audio is None else audio
            other = playing.playing(other_s, sample_rate, HELD_OUT_SEED)
        found[name] = Played(answered(x, factor), answered(other, factor))
    return found


def _training_music(seconds: float, sample_rate: int) -> np.ndarray:
    """A third of it the signal that devices are recorded with, everything at every level; two thirds playing."""
    everything = playing.make(seconds / 3, sample_rate, TRAINING_SEED)
    return np.concatenate([everything, playing.playing(2 * seconds / 3, sample_rate, TRAINING_SEED)])
