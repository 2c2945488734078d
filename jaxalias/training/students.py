"""Many students in one program, and the rows of a batch distributed over devices: GPUs, TPU cores, or cores of a CPU.

Students are independent of each other, and rows are independent until a loss combines them. So each device gets a share
of both and runs the same program on it; JAX sums the gradients. No other module handles students or devices. To JAX, a
CPU is one device, and a small network uses little more than one core of it. `jax.config.update("jax_num_cpu_devices",
n)` before the first computation makes it n devices. With several hosts (`jax.distributed`) the devices are those of all
hosts.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_STUDENTS, _ROWS = "students", "rows"
Axes = Any
"""A pytree prefix: 0 for arrays with the rows first, -1 for arrays without rows."""


def mesh_for(students: int, *, local: bool = False) -> Mesh:
    """A mesh (students, rows) of all devices, or of those of this host (`local`).

    An accelerator computes its students at the same time. A CPU gains nothing from that and computes them one after the
    other, so its devices share the rows instead.
    """
    devices = np.array(jax.local_devices() if local else jax.devices())
    by_student = 1 if on_cpu(devices) else math.gcd(students, devices.size)
    return Mesh(devices.reshape(by_student, -1), (_STUDENTS, _ROWS))


def on_cpu(devices: np.ndarray) -> bool:
    """True if these devices are cores of a CPU."""
    return devices.flat[0].platform == "cpu"


def each(mesh: Mesh, f: Callable) -> Callable:
    """Apply f, a function of one student, to all students: the first axis of every array."""

    def all_students(*arguments: Any) -> Any:
        if jax.tree.leaves(arguments)[0].shape[0] == 1:  # one student needs no loop
            alone = f(*jax.tree.map(lambda a: a[0], arguments))
            return jax.tree.map(lambda a: a[None], alone)
        if on_cpu(mesh.devices):
            return jax.lax.map(lambda student: f(*student), arguments)
        return jax.vmap(f, spmd_axis_name=_STUDENTS)(*arguments)

    return all_students


def over_rows(mesh: Mesh, f: Callable, ins: Axes, outs: Axes) -> Callable:
    """f on every device's share of the rows. Gradients of arguments without rows are summed over the devices.

    Before and after, each device has all rows. Without this rule the compiler distributes what lies between two calls
    too, and every array moves from device to device several times: 857 transfers in an update of a WaveNet, now 10.

    If the devices cannot share the rows equally, the last row is repeated, and the results of the copies are dropped.

    Args:
        mesh: from `mesh_for`.
        f: a function that treats all rows alike and independently.
        ins: one axes entry for each argument.
        outs: one entry for the whole result, or a tuple.
    """
    devices = mesh.shape[_ROWS]
    specs = jax.tree.map(lambda axis: PartitionSpec() if axis < 0 else PartitionSpec(_ROWS), (ins, outs))
    by_device = jax.shard_map(f, mesh=mesh, in_specs=specs[0], out_specs=specs[1], check_vma=False)
    everywhere = partial(jax.lax.with_sharding_constraint, shardings=NamedSharding(mesh, PartitionSpec()))

    def shared(*arguments: Any) -> Any:
        return everywhere(by_device(*everywhere(arguments)))

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
    """The sharding of arrays: with `students`, each student on its own devices; else a whole copy on every device."""
    return NamedSharding(mesh, PartitionSpec(_STUDENTS) if students else PartitionSpec())


def to_host(tree: Any) -> Any:
    """Convert to numpy arrays, whole on every host. With several hosts, all of them must call it."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)


def any_host(flag: bool) -> bool:
    """True if `flag` is true on any host. All hosts must call it."""
    return flag if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.array(flag)).any())
