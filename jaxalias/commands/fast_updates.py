"""Updates of `fast` as `finetune` makes them, for the benchmark: every source, with draws and validation."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxalias import models
from jaxalias.config import FineTuneConfig, LayerArrayConfig, ModelConfig, WaveNetConfig, presets
from jaxalias.pretraining.architectures import ARCHITECTURES
from jaxalias.signals.recordings import Pair
from jaxalias.training import loop, plan, run

UPDATES = 50  # in one run of a row: as many as between two factorisations of the curvature and two validations
STUDENTS = (1, 8, 32)
_SAMPLE_RATE, _MUSIC_S = 48_000, 10.0
_CYCLE = (1, 3, 7, 17, 41, 101, 239)

_A2 = LayerArrayConfig(
    input_size=1,
    head_size=1,
    channels=8,
    bottleneck=8,
    kernel_size=(6,) * 14 + (15, 15) + (6,) * 7,
    dilations=(*_CYCLE, *_CYCLE, 1, 13, *_CYCLE),
    activation="LeakyReLU",
    head_bias=True,
    head_kernel_size=16,
)
NETWORKS: dict[str, ModelConfig] = {
    "lstm": ARCHITECTURES["lstm-40"].model,
    "a1": ARCHITECTURES["nam-standard"].model,
    "a2": WaveNetConfig(layer_arrays=(_A2,), head_scale=0.01),
}
"""LSTM-40, NAM's A1 standard and A2 (8 channels), with random weights."""


def work(side: str, precision: str, *, network: str, students: int) -> Callable[[], Any] | None:
    """A run of `UPDATES` updates of several students in one program, from after the first factorisation.

    Args:
        side: "ours"; PyTorch has no such row.
        precision: of the training.
        network: of `NETWORKS`.
        students: in the program; they differ in their seeds.
    """
    if side == "peer":
        return None
    config, model = _config(network, precision), models.build(NETWORKS[network])
    x, y = np.random.default_rng(0).uniform(-0.5, 0.5, (2, round(_MUSIC_S * _SAMPLE_RATE)))
    played = plan.Played(Pair(x, y), Pair(x, y), 0.9 * y)  # any signals: the work does not depend on them
    params = models.cast(model.init(jax.random.key(0)), precision)
    tasks = [
        plan.Task(
            "", params, config.model_copy(update={"seed": seed}), music=dict.fromkeys(plan.music_of(config), played)
        )
        for seed in range(students)
    ]
    prepared = run.prepare(model, tasks, _SAMPLE_RATE)
    progress = loop.begin(prepared)

    def updates() -> Any:
        nonlocal progress
        progress = loop.advance(prepared, progress, until=progress.updates_done + UPDATES)
        return progress.state

    updates()
    return updates


def samples(network: str) -> int:
    """The samples of all rows of `UPDATES` updates of one student."""
    config = _config(network, "float32")
    rows_s = [
        config.batch_size * config.frame_s,
        *(each.rows * each.frame_s for each in plan.music_of(config).values()),
    ]
    return round(UPDATES * sum(rows_s) * _SAMPLE_RATE)


def _config(network: str, precision: str) -> FineTuneConfig:
    """`fast`, with steps so small that random weights stay finite, and so long that no measurement reaches its end."""
    config = presets.fast(NETWORKS[network])
    optimiser = config.optimiser.model_copy(update={"learning_rate": 1e-6})
    return config.model_copy(update={"precision": precision, "updates": 10**6, "optimiser": optimiser})
