"""Fine-tune two small models for a few updates and print what came out, on the devices that this process is given.

python parallel_run.py together|alone DEVICES [ADDRESS PROCESS PROCESSES]
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxalias import models
from jaxalias.config import (
    ESRConfig,
    FineTuneConfig,
    LayerArrayConfig,
    LossConfig,
    LSTMConfig,
    NMRConfig,
    OptimiserConfig,
    SineConfig,
    WaveNetConfig,
)
from jaxalias.training import loop, runs
from jaxalias.training.exercises import Student

RATE = 44_100
KINDS = (
    LSTMConfig(hidden_size=3),
    WaveNetConfig(
        layer_arrays=(
            LayerArrayConfig(input_size=1, head_size=1, channels=2, kernel_size=2, dilations=(1,), activation="Tanh"),
        ),
        head_scale=1.0,
    ),
)


STUDENTS = ((0, 0.1), (7, 0.3))  # (seed, weight of the NMR)


def config_of(seed: int, weight: float) -> FineTuneConfig:
    return FineTuneConfig(
        preset="test", updates=6, batch_size=8, batches_per_draw=2, frame_s=0.05, precision="float64", seed=seed,
        sines=SineConfig(settling_s=0.01, analysed_s=0.1), validate_every=3,
        loss=LossConfig(
            esr=ESRConfig(reduction="ratio_of_sums"), nmr=NMRConfig(weight=weight, reduction="soft_hinge"),
            dc_weight=1.0,
        ),
        optimiser=OptimiserConfig(learning_rate=0.01, clip_norm=1.0),
    )  # fmt: skip


def train(model: models.Model, students: list[Student]) -> list[dict]:
    """Losses of every update, and the parameters at the end, of each student."""
    run = runs.prepare(model, students, RATE)
    begin = loop.begin(run)
    moved = jax.tree.map(lambda a: 1.1 * a, begin.state.params)  # off the teacher: Adam divides by what a gradient is
    end = loop.advance(run, begin._replace(state=begin.state._replace(params=moved)))
    assert run.update._cache_size() == 1
    memory, *_ = jax.tree.leaves(end.state.memory)
    return [
        {
            "devices": len(memory.sharding.device_set),
            "losses": [value for record in part.history[0] for value in record.values()],
            "params": [np.asarray(leaf).ravel().tolist() for leaf in jax.tree.leaves(part.state.params)],
        }
        for part in loop.split(end)
    ]


def train_both(kind: LSTMConfig | WaveNetConfig, together: bool) -> list[dict]:
    model, rng = models.build(kind), np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    students = [
        Student(f"{seed}", jax.tree.map(lambda a: jnp.asarray(rng.uniform(-1, 1, a.shape)), shapes), config_of(*rest))
        for seed, *rest in ((seed, seed, weight) for seed, weight in STUDENTS)
    ]  # tame: rounding stays small
    return train(model, students) if together else [train(model, [student])[0] for student in students]


if __name__ == "__main__":
    how, devices, *hosts = sys.argv[1:]
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", int(devices))
    if hosts:
        address, process, processes = hosts
        jax.distributed.initialize(address, num_processes=int(processes), process_id=int(process))
    print(json.dumps([result for kind in KINDS for result in train_both(kind, how == "together")]))
