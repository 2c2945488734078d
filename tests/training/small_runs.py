"""Small runs for tests: models that clip hard and so alias, a config, music, and ways to break off and go on."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxalias import models
from jaxalias.config import (
    FineTuneConfig,
    LayerArrayConfig,
    LossConfig,
    LSTMConfig,
    MusicConfig,
    NMRConfig,
    OptimiserConfig,
    SineConfig,
    WaveNetConfig,
)
from jaxalias.models import Model, Params
from jaxalias.signals.recordings import Pair
from jaxalias.training import loop, plan, run
from jaxalias.training.loop import Hooks, Progress
from jaxalias.training.plan import Played, Task

Kind = LSTMConfig | WaveNetConfig

RATE, FRAME = 44_100, 2048
LSTM, KNOB_LSTM = LSTMConfig(hidden_size=3), LSTMConfig(hidden_size=3, input_size=2)
WAVENET = WaveNetConfig(
    layer_arrays=(
        LayerArrayConfig(input_size=1, head_size=1, channels=2, kernel_size=2, dilations=(1,), activation="Tanh"),
    ),
    head_scale=1.0,
)
HINGE = NMRConfig(weight=0.1, reduction="soft_hinge", knee=0.03)  # no single tone dominates
CONFIG = FineTuneConfig(
    preset="test",
    updates=9,  # three batches of three frames
    batch_size=4,
    frame_s=FRAME / RATE,
    sines=SineConfig(settling_s=0.01, analysed_s=3 * FRAME / RATE),
    loss=LossConfig(nmr=HINGE),
    optimiser=OptimiserConfig(learning_rate=0.01, schedule="cosine", clip_norm=1.0, ema_decay=0.5),
    validate_every=4,
)


def music_config(rows: int = 2, frames: int = 3, **changes: Any) -> MusicConfig:
    """Excerpts in frames as long as those of the tones."""
    defaults: dict[str, Any] = {"frame_s": FRAME / RATE, "oversampling": 2, "loss": LossConfig(nmr=HINGE)}
    return MusicConfig(rows=rows, frames=frames, **(defaults | changes))


def noise(samples: int = 9000, seed: int = 3) -> Pair:
    """Something to play, and an answer to it that is not the teacher's."""
    x = np.random.default_rng(seed).uniform(-0.5, 0.5, samples)
    return Pair(x, np.tanh(x))


def music_for(config: FineTuneConfig, samples: int = 9000) -> dict[str, Played]:
    """The same for all sources of music of a config; the teacher's own output is the input, as if it did not clip."""
    music = noise(samples)
    return dict.fromkeys(plan.music_of(config), Played(music, noise(samples, seed=4), music.x))


def params_of(model: Model, size: float = 3.0, seed: int = 0) -> Params:
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(size * rng.uniform(-1, 1, a.shape), jnp.float32), shapes)


def tasks_of(
    config: FineTuneConfig, kind: Kind = LSTM, music: Mapping[str, Played] | None = None, sizes: Sequence[float] = (3,)
) -> list[Task]:
    """As many students as sizes, copies of teachers whose weights are so large."""
    model, played = models.build(kind), music_for(config) if music is None else music
    return [Task("amp", params_of(model, size), config, music=played) for size in sizes]


class Prepared(NamedTuple):
    run: run.Run
    traces: list[Any]  # one entry for every time JAX traced the model


def prepare(
    config: FineTuneConfig, kind: Kind = LSTM, music: Mapping[str, Played] | None = None, sizes: Sequence[float] = (3,)
) -> Prepared:
    """A run of the tasks that `tasks_of` makes."""
    model, traces = models.build(kind), []

    def counted(params: Params, x: jax.Array, state: Any) -> tuple:
        traces.append(x.shape)
        return model.apply(params, x, state)

    return Prepared(run.prepare(model._replace(apply=counted), tasks_of(config, kind, music, sizes), RATE), traces)


def with_config(prepared: run.Run, **changes: Any) -> run.Run:
    """The run with another config where its compiled functions do not depend on it: updates, rate search."""
    return prepared._replace(config=prepared.config.model_copy(update=changes))


def broken_off(prepared: run.Run, begin: Progress, after: int) -> Progress:
    """Where a run ends that was told to stop after an update, taken from the devices, and gone on with."""
    kept: list[Any] = []
    stops = iter([False] * (after - begin.updates_done))
    hooks = Hooks(on_checkpoint=kept.append, should_stop=lambda: next(stops, True))
    stopped = loop.advance(prepared, begin, hooks)
    assert stopped.updates_done == after
    return loop.advance(prepared, loop.join(kept[-1], loop.begin(prepared)))


def assert_same_numbers(a: Progress, b: Progress) -> None:
    """Bit for bit."""
    assert a.history == b.history
    assert (a.updates_done, a.best_loss) == (b.updates_done, b.best_loss)
    for ours, theirs in zip(jax.tree.leaves((a.state, a.best)), jax.tree.leaves((b.state, b.best)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def update_by_hand(prepared: run.Run, state: Any, batch: int = 0, number: int = 0) -> tuple[Any, dict]:
    """One update on the first frames of the batches of a number."""
    drawn = [draw(batch) for draw in prepared.draw]
    memories = tuple(begin(state.params, each) for begin, each in zip(prepared.begin, drawn, strict=True))
    return prepared.update(state._replace(memories=memories), drawn, number)
