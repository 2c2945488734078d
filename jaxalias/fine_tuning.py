"""The whole method in one call: `fine_tune`. No files, no command line."""

from collections.abc import Callable
from functools import lru_cache
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
from jaxalias.targets import pieces
from jaxalias.targets.oversampling import at_rates
from jaxalias.training import loop, plan, rate_search, run
from jaxalias.training.loop import SILENT, Hooks, Progress
from jaxalias.training.plan import Played, Task

TRAINING_SEED, HELD_OUT_SEED = 0, 1  # of the project's synthetic music
HELD_OUT_S, LEAST_S = 8.0, 2.0  # length of validation music, shortest music; of each source
QUIETEST_DB, QUIETEST_HIGH_DB = -15.0, -17.0  # lowest peak of a piece of playing and of high playing
_KNOB_MIDDLE = 0.5


class FineTuned(NamedTuple):
    """The result of a run."""

    student: Params  # the average with the lowest validation loss; equals the teacher if no update lowered this loss
    learning_rate: float  # of the config, or lower if the rate search chose so (`jaxalias.training.rate_search`)
    history: list[dict[str, float]]  # per update: "update", "loss", its terms by name, and sometimes validation values


def fine_tune(
    model: Model,
    params: Params,
    config: FineTuneConfig,
    *,
    sample_rate: int,
    audio: Float[np.ndarray, "t"] | None = None,
    on_update: Callable[[dict[str, float]], None] = lambda record: None,
) -> FineTuned:
    """Fine-tune a copy of a model to remove its aliases.

    `jaxalias.memory.share_heap()`, called before JAX's first computation, saves up to a third of the time on a CPU.

    Args:
        model: the network (`jaxalias.models.build`).
        params: of the teacher, a nested dict of arrays.
        config: from `jaxalias.config.presets` for this kind of model, or your own.
        sample_rate: Hz, of the model.
        audio: dry recordings (t,) at that rate, to train on instead of synthetic playing. If they have high notes, set
            `config.music.oversampling` to 8 (`jaxalias.config.presets.with_music` does).
        on_update: called with a record of the history after each update.

    Raises:
        ValueError: the config does not suit the model or the sample rate; or the teacher is silent or not finite.
        DivergedError: the parameters are no longer finite (`jaxalias.training.loop`).

    Example:
        source = weights_import.load("amp.nam")
        model, config = models.build(source.network.config), presets.fast(source.network.config)
        tuned = fine_tune(model, source.network.params, config, sample_rate=source.sample_rate)
    """
    task = Task("the model", params, config, music=play_music(model, params, config, sample_rate, audio))
    progress = train(run.prepare(model, [task], sample_rate), Hooks(on_update=on_update))
    student = jax.tree.map(lambda a: a[0], progress.best)
    return FineTuned(student, float(progress.state.rate[0]), progress.history[0])


def train(prepared: run.Run, hooks: Hooks = SILENT, saved: Progress | None = None) -> Progress:
    """Train from the first update, or from saved progress, to the last update, or until a hook stops the run.

    Args:
        prepared: the compiled functions of the run (`jaxalias.training.run.prepare`).
        hooks: called by the loop (`jaxalias.training.loop.Hooks`).
        saved: progress to continue from, also from within the rate search; None: from the first update.

    Raises:
        DivergedError: no student is finite any more.

    Example:
        progress = train(run.prepare(model, [task], sample_rate), Hooks(on_update=print))
    """
    return loop.advance(prepared, rate_search.begin(prepared, hooks, saved), hooks)


def play_music(
    model: Model, params: Params, config: FineTuneConfig, sample_rate: int, audio: np.ndarray | None = None
) -> dict[str, Played]:
    """The music of a config's sources and the alias-free teacher's output for it, for training and for validation.

    Args:
        model, params: the teacher.
        config: names the sources and their lengths.
        sample_rate: Hz, of the model.
        audio: (t,), used instead of synthetic playing, in its own length.

    Returns:
        One pair for training and one for validation, for each source of music by name.

    Example:
        music = play_music(model, params, presets.fast(network), 48_000)
        task = Task("amp", params, presets.fast(network), music=music)
    """
    position = (_KNOB_MIDDLE,) * model.knobs or None
    play = player(model, params, knobs=position)

    @lru_cache  # `music` and `starts` are the same playing
    def played(seconds: float, seed: int, high: bool, factor: int) -> tuple[Pair, np.ndarray]:
        instead = audio if seed == TRAINING_SEED and not high else None
        x = _synthetic(seconds, sample_rate, seed, high) if instead is None else instead
        at_both = at_rates(play, (1, factor))
        own, target = pieces.in_pieces(
            lambda piece: [y[0] for y in at_both(jnp.asarray(piece)[None])],
            x,
            longest=round(pieces.LONGEST_S * sample_rate),
            settling=round(pieces.SETTLING_S * sample_rate),
        )
        return Pair(x, target), own

    found = {}
    for name, each in plan.music_of(config).items():
        drawn_s = config.updates * each.rows * each.frame_s  # drawn by all updates: a short run needs no more music
        seconds, other_s = (min(most, max(LEAST_S, drawn_s)) for most in (each.seconds, HELD_OUT_S))
        # sources that play the teacher at each draw need only the power of its output here
        alike = config.music if name == "starts" and config.music else each
        high, factor = name == "high_playing", 1 if model.knobs else alike.oversampling
        training, own = played(seconds, TRAINING_SEED, high, factor)
        held_out, _ = played(other_s, HELD_OUT_SEED, high, factor)
        found[name] = Played(training, held_out, own if factor > 1 else None)
    return found


@lru_cache(maxsize=4)
def _synthetic(seconds: float, sample_rate: int, seed: int, high: bool) -> np.ndarray:
    """Playing, or high playing, loud as a player's. Several sources and all models of one sample rate use the same."""
    make, quietest_db = (high_playing.high_playing, QUIETEST_HIGH_DB) if high else (playing.playing, QUIETEST_DB)
    found = make(seconds, sample_rate, seed, quietest_db)
    found.flags.writeable = False
    return found
