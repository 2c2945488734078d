"""The tones of a batch spread over devices: GPUs, TPU cores, or the cores of a CPU.

Tones are independent of each other until their numbers meet in a loss, so each device takes its share of them
and runs the same program on it; JAX adds up the gradients. A CPU is one device to JAX, which runs a small
network on little more than one core of it; `jax.config.update("jax_num_cpu_devices", n)` before the first
computation makes it n devices. With several hosts (`jax.distributed`) the devices are those of all hosts.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_TONES = "tones"
Axes = Any
"""A pytree of the axis along which the arrays there hold tones; -1 where every device needs all of an array."""


def mesh_for(*tones: int, local: bool = False) -> Mesh:
    """The devices that can share batches of these sizes evenly: as many of those there are as possible.

    Args:
        tones: the number of tones of every batch that will be spread.
        local: of this host alone.

    Raises:
        ValueError: with several hosts, one of them would be left without work; names the sizes and the remedy.
    """
    devices = jax.local_devices() if local else jax.devices()
    shared = math.gcd(*tones)
    count = max(n for n in range(1, len(devices) + 1) if shared % n == 0)
    if not local and jax.process_count() > 1 and count < len(devices):
        raise ValueError(
            f"{len(devices)} devices on {jax.process_count()} hosts cannot share batches of {tones} tones evenly; "
            f"choose a batch size that is a multiple of {len(devices)}"
        )
    return Mesh(np.array(devices[:count]), (_TONES,))


def over_tones(f: Callable, mesh: Mesh, ins: Axes, outs: Axes) -> Callable:
    """f on every device's share of the tones; its gradient by what every device holds whole is summed.

    Args:
        f: a function of arrays that treats tones alike and apart.
        ins: for each argument the axis of its tones (`Axes`).
        outs: the same for the result.
    """
    specs = jax.tree.map(_spec, (ins, outs))
    return jax.shard_map(f, mesh=mesh, in_specs=specs[0], out_specs=specs[1], check_vma=False)


def sharding(mesh: Mesh, axes: Axes) -> Any:
    """How arrays with their tones along these axes lie on the devices."""
    return jax.tree.map(lambda axis: NamedSharding(mesh, _spec(axis)), axes)


def _spec(axis: int) -> PartitionSpec:
    return PartitionSpec() if axis < 0 else PartitionSpec(*(None,) * axis, _TONES)
