"""Students, and the tones of a batch, spread over devices: GPUs, TPU cores, or the cores of a CPU.

Students have nothing to do with each other, and tones nothing until their numbers meet in a loss, so each device
takes its share of both and runs the same program on it; JAX adds up the gradients. A CPU is one device to JAX,
which runs a small network on little more than one core of it; `jax.config.update("jax_num_cpu_devices", n)` before
the first computation makes it n devices. With several hosts (`jax.distributed`) the devices are those of all hosts.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

_STUDENTS, _TONES = "students", "tones"
Axes = Any
"""A pytree of the axis along which the arrays there hold tones; -1 where there are none in an array."""


def mesh_for(students: int, *tones: int, local: bool = False) -> Mesh:
    """The devices that can share these students and batches evenly: as many of those there are as possible.

    Students are told apart first, since they need not wait for each other.

    Args:
        students: how many are trained together.
        tones: the number of tones of every batch that will be spread.
        local: of this host alone.

    Raises:
        ValueError: with several hosts, one of them would be left without work; names the sizes and the remedy.
    """
    devices = jax.local_devices() if local else jax.devices()
    share = math.gcd(*tones)
    shapes = [
        (by_student, by_tone)
        for by_student in range(1, len(devices) + 1)
        for by_tone in range(1, len(devices) // by_student + 1)
        if students % by_student == 0 and share % by_tone == 0
    ]
    by_student, by_tone = max(shapes, key=lambda shape: (shape[0] * shape[1], shape[0]))
    if not local and jax.process_count() > 1 and by_student * by_tone < len(devices):
        raise ValueError(
            f"{len(devices)} devices on {jax.process_count()} hosts cannot share {students} students and batches of "
            f"{tones} tones evenly; choose a batch size that is a multiple of {len(devices)}"
        )
    devices = np.array(devices[: by_student * by_tone]).reshape(by_student, by_tone)
    return Mesh(devices, (_STUDENTS, _TONES))


def over_tones(f: Callable, mesh: Mesh, ins: Axes, outs: Axes) -> Callable:
    """f on every device's share of the tones; its gradient by what every device holds whole is summed.

    Args:
        f: a function of arrays that treats tones alike and apart.
        ins: for each argument the axis of its tones (`Axes`).
        outs: the same for the result.
    """
    return _spread(f, mesh, ins, outs, ())


def over_students(f: Callable, mesh: Mesh, ins: Axes, outs: Axes) -> Callable:
    """f, which knows one student, for all students: arrays have these first, then the axes that f knows.

    Arguments as for `over_tones`. A device takes its students at once; a CPU, which has nothing to gain from that,
    one after the other.
    """

    def each(*arguments: Any) -> Any:
        if jax.tree.leaves(arguments)[0].shape[0] == 1:  # without a loop around it
            alone = f(*jax.tree.map(lambda a: a[0], arguments))
            return jax.tree.map(lambda a: a[None], alone)
        if jax.default_backend() == "cpu":
            return jax.lax.map(lambda student: f(*student), arguments)
        return jax.vmap(f)(*arguments)

    return _spread(each, mesh, ins, outs, (_STUDENTS,))


def layout(mesh: Mesh, axes: Axes) -> Any:
    """How arrays with their tones along these axes lie on the devices."""
    return jax.tree.map(lambda axis: NamedSharding(mesh, _spec(axis, ())), axes)


def layout_of_students(mesh: Mesh, axes: Axes) -> Any:
    """The same for arrays of all students; the axes are those of one."""
    return jax.tree.map(lambda axis: NamedSharding(mesh, _spec(axis, (_STUDENTS,))), axes)


def whole(mesh: Mesh) -> NamedSharding:
    """On every device all of an array, so that every host can read it."""
    return NamedSharding(mesh, PartitionSpec())


def to_host(tree: Any) -> Any:
    """As numpy arrays, whole on every host; all of them have to call it."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)


def any_host(flag: bool) -> bool:
    """Whether it is set on one of the hosts; all of them have to ask."""
    return flag if jax.process_count() == 1 else bool(multihost_utils.process_allgather(np.array(flag)).any())


def _spread(f: Callable, mesh: Mesh, ins: Axes, outs: Axes, first: tuple[str, ...]) -> Callable:
    specs = jax.tree.map(lambda axis: _spec(axis, first), (ins, outs))
    return jax.shard_map(f, mesh=mesh, in_specs=specs[0], out_specs=specs[1], check_vma=False)


def _spec(axis: int, first: tuple[str, ...]) -> PartitionSpec:
    return PartitionSpec(*first) if axis < 0 else PartitionSpec(*first, *(None,) * axis, _TONES)
