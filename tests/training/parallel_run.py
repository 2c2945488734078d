"""Fine-tune two small models for a few updates and print what came out, on the devices that this process is given.

python parallel_run.py together|alone DEVICES [ADDRESS PROCESS PROCESSES]
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from small_runs import LSTM, RATE, WAVENET, Kind, music_config, music_for

from jaxalias import models
from jaxalias.config import ESRConfig, FineTuneConfig, LossConfig, NMRConfig, OptimiserConfig, SineConfig
from jaxalias.training import loop, run, students
from jaxalias.training.plan import Task

ROWS = 37  # of tones: no number of devices shares them evenly
STUDENTS = ((0, 0.1), (7, 0.3))  # (seed, weight of the NMR)


def config_of(seed: int, weight: float) -> FineTuneConfig:
    return FineTuneConfig(
        preset="test", updates=6, batch_size=ROWS, frame_s=0.05, precision="float64", seed=seed,
        sines=SineConfig(settling_s=0.01, analysed_s=0.1), validate_every=3,
        loss=LossConfig(
            esr=ESRConfig(reduction="ratio_of_sums"), nmr=NMRConfig(weight=weight, reduction="soft_hinge", knee=0.03),
            dc_weight=1.0,
        ),
        starts=music_config(3, frames=2, frame_s=0.05),
        optimiser=OptimiserConfig(learning_rate=0.01, clip_norm=1.0),
    )  # fmt: skip


def train(model: models.Model, tasks: list[Task]) -> list[dict]:
    """Losses of every update, and the parameters at the end, of each student."""
    prepared = run.prepare(model, tasks, RATE)
    begin = loop.begin(prepared)
    params, where = begin.state.params, jax.tree.map(lambda a: a.sharding, begin.state.params)
    moved = jax.jit(lambda tree: jax.tree.map(lambda a: 1.1 * a, tree), out_shardings=where)(params)
    end = loop.advance(prepared, begin._replace(state=begin.state._replace(params=moved)))  # Adam divides by gradients
    assert prepared.compiled.update._cache_size() == 1
    return [
        {
            "rows_of_devices": rows_of_devices(ROWS),
            "losses": [value for record in part.history[0] for value in record.values()],
            "params": [np.asarray(leaf).ravel().tolist() for leaf in jax.tree.leaves(part.state.params)],
        }
        for part in loop.split(end)
        if part is not None
    ]


def rows_of_devices(rows: int) -> list[int]:
    """How many of the rows of a batch each device computes."""
    which = students.over_rows(students.mesh_for(1), lambda x: 0 * x + jax.lax.axis_index("rows"), (0,), 0)
    return np.bincount(students.to_host(jax.jit(which)(jnp.zeros(rows, int)))).tolist()


def train_both(kind: Kind, together: bool) -> list[dict]:
    model, rng = models.build(kind), np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    tasks = []
    for seed, weight in STUDENTS:  # tame: rounding stays small
        params = jax.tree.map(lambda a: jnp.asarray(rng.uniform(-1, 1, a.shape)), shapes)
        config = config_of(seed, weight)
        tasks.append(Task(f"{seed}", params, config, music=music_for(config)))
    return train(model, tasks) if together else [train(model, [task])[0] for task in tasks]


if __name__ == "__main__":
    how, devices, *hosts = sys.argv[1:]
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", int(devices))
    if hosts:
        address, process, processes = hosts
        jax.distributed.initialize(address, num_processes=int(processes), process_id=int(process))
    print(json.dumps([result for kind in (LSTM, WAVENET) for result in train_both(kind, how == "together")]))
