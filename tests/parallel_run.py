"""Fine-tune a small model for a few updates and print what came out, on the devices that this process is given.

python parallel_run.py DEVICES [ADDRESS PROCESS PROCESSES]
"""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

from jaxalias import models, training
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


def run(kind: LSTMConfig | WaveNetConfig) -> dict:
    """Losses of every update, and the parameters at the end."""
    config = FineTuneConfig(
        preset="test", updates=6, batch_size=8, batches_per_draw=2, frame_s=0.05, precision="float64",
        sines=SineConfig(settling_s=0.01, analysed_s=0.1), validate_every=3,
        loss=LossConfig(
            esr=ESRConfig(reduction="ratio_of_sums"), nmr=NMRConfig(weight=0.1, reduction="soft_hinge"), dc_weight=1.0
        ),
        optimiser=OptimiserConfig(learning_rate=0.01, clip_norm=1.0),
    )  # fmt: skip
    model = models.build(kind)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda a: jnp.asarray(rng.uniform(-1, 1, a.shape)), shapes)  # tame: rounding stays small
    prepared = training.prepare(model, params, RATE, config)
    begin = training.begin(prepared)
    moved = jax.tree.map(lambda a: 1.1 * a, begin.state.params)  # off the teacher: Adam divides by what a gradient is
    end = training.advance(prepared, begin._replace(state=begin.state._replace(params=moved)))
    assert prepared.update._cache_size() == 1
    (memory, *_) = jax.tree.leaves(end.state.memory)
    return {
        "devices": len(memory.sharding.device_set),
        "losses": [value for record in end.history for value in record.values()],
        "params": [np.asarray(leaf).ravel().tolist() for leaf in jax.tree.leaves(end.state.params)],
    }


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_num_cpu_devices", int(sys.argv[1]))
    if len(sys.argv) > 2:
        jax.distributed.initialize(sys.argv[2], num_processes=int(sys.argv[4]), process_id=int(sys.argv[3]))
    print(json.dumps([run(kind) for kind in KINDS]))
