"""Students side by side, and the rows of a batch spread over devices: GPUs, TPU cores, or the cores of a CPU.

Students do not depend on each other, nor rows before they meet in a loss, so each device takes its share of both and
runs the same program on it; JAX adds up the gradients. Nothing else in the code knows of either. A CPU is one device to
JAX, which runs a small network on little more than one core of it; `jax.config.update("jax_num_cpu_devices", n)` before
the first computation makes it n devices. With several hosts (`jax.distributed`) the devices are those of all hosts.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_STUDENTS, _ROWS = "students", "rows"
Axes = Any
"""A pytree prefix: 0 where arrays have the rows first, -1 where they have none."""


def mesh_for(students: int, *, local: bool = False) -> Mesh:
    """All devices, or those of this host (`local`): first told apart by student, the rest by row.

    An accelerator takes its students at once. A CPU, which gains nothing from that, takes them one after the other, so
    its devices share the rows.
    """
    devices = np.array(jax.local_devices() if local else jax.devices())
    by_student = 1 if on_cpu(devices) else math.gcd(students, devices.size)
    return Mesh(devices.reshape(by_student, -1), (_STUDENTS, _ROWS))


def on_cpu(devices: np.ndarray) -> bool:
    """Whether these devices are cores of a CPU."""
    return devices.flat[0].platform == "cpu"


def each(mesh: Mesh, f: Callable) -> Callable:
    """f, which knows one student, for all: every array gets them as its first axis."""

    def all_students(*arguments: Any) -> Any:
        if jax.tree.leaves(arguments)[0].shape[0] == 1:  # without a loop around it
            alone = f(*jax.tree.map(lambda a: a[0], arguments))
            return jax.tree.map(lambda a: a[None], alone)
        if on_cpu(mesh.devices):
            return jax.lax.map(lambda student: f(*student), arguments)
        return jax.vmap(f, spmd_axis_name=_STUDENTS)(*arguments)

    return all_students


def over_rows(mesh: Mesh, f: Callable, ins: Axes, outs: Axes) -> Callable:
    """f on every device's share of the rows; its gradient by what every device holds whole is summed.

    Where the rows cannot be shared evenly, the last one is repeated, and what comes of the copies is dropped.

    Args:
        f: a function that treats rows alike and apart, one axes entry an argument.
        outs: one entry for the whole result, or a tuple.
    """
    devices = mesh.shape[_ROWS]
    specs = jax.tree.map(lambda axis: PartitionSpec() if axis < 0 else PartitionSpec(_ROWS), (ins, outs))
    shared = jax.shard_map(f, mesh=mesh, in_specs=specs[0], out_specs=specs[1], check_vma=False)

    def spread(*arguments: Any) -> Any:
        split = [part for part, axis in zip(arguments, ins, strict=True) if axis == 0]
        rows = jax.tree.leaves(split)[0].shape[0] if jax.tree.leaves(split) else 0
        missing = -rows % devices
        if not missing:
            return shared(*arguments) if rows else f(*arguments)

        def padded(a: Any) -> Any:
            return jnp.concatenate([a, jnp.broadcast_to(a[-1:], (missing, *a.shape[1:]))])

        filled = (jax.tree.map(padded, part) if axis == 0 else part for part, axis in zip(arguments, ins, strict=True))
        return jax.tree.map(lambda a: a[:rows], shared(*filled))

    return spread


def layout(mesh: Mesh, *, students: bool) -> NamedSharding:
    """How arrays lie on the devices: with students first, each on its own ones; without, whole on all of them."""
    return NamedSharding(mesh, PartitionSpec(_STUDENTS) if students else PartitionSpec())


def to_host(tree: Any) -> Any:
    """As numpy arrays, whole on every host; all of them have to call it."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)


def any_host(flag: bool) -> bool:
    """Whether it is set on one of the hosts; all of them have to ask."""
    return flag if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.array(flag)).any())
