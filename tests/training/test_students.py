"""Students trained together, on several devices or hosts, learn what each learns alone on one device."""

import inspect
import itertools
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances
from small_runs import CONFIG, LSTM, WAVENET, Kind, music_config, prepare

from jaxalias.config import presets
from jaxalias.training import students

SCRIPT = Path(__file__).with_name("parallel_run.py")


def start(*arguments: object) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process: subprocess.Popen) -> list[dict]:
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    return json.loads(out.splitlines()[-1])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def assert_same_numbers(runs: list[dict], wanted: list[dict]) -> None:
    for run, reference in zip(runs, wanted, strict=True):
        np.testing.assert_allclose(run["losses"], reference["losses"], rtol=tolerances.F64_TRANSFORM)
        for ours, theirs in zip(run["params"], reference["params"], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerances.F64_TRANSFORM)


@pytest.fixture(scope="module")
def on_one_device() -> list[dict]:
    return finish(start("alone", 1))


@pytest.mark.slow
def test_eight_devices_share_37_rows(on_one_device: list[dict]) -> None:
    """All of them have some to do; the rows that fill up the last one's share count nowhere."""
    runs = finish(start("together", 8))
    assert [run["rows_of_devices"] for run in runs] == [[5, 5, 5, 5, 5, 5, 5, 2]] * 4
    assert [run["rows_of_devices"] for run in on_one_device] == [[37]] * 4
    assert_same_numbers(runs, on_one_device)


@pytest.mark.slow
def test_two_processes(on_one_device: list[dict]) -> None:
    address = f"127.0.0.1:{free_port()}"
    both = [start("together", 2, address, process, 2) for process in range(2)]
    for runs in [finish(process) for process in both]:
        assert [run["rows_of_devices"] for run in runs] == [[10, 10, 10, 7]] * 4
        assert_same_numbers(runs, on_one_device)


@pytest.mark.parametrize(
    ("platform", "count", "of_students", "shape"),
    [
        ("cpu", 5, 1, (1, 5)), ("cpu", 4, 8, (1, 4)), ("gpu", 4, 1, (1, 4)), ("gpu", 4, 2, (2, 2)),
        ("gpu", 4, 6, (2, 2)), ("gpu", 4, 8, (4, 1)), ("tpu", 8, 3, (1, 8)),
    ],
)  # fmt: skip
def test_devices_of_an_accelerator_are_told_apart_by_student_first(
    monkeypatch: pytest.MonkeyPatch, platform: str, count: int, of_students: int, shape: tuple[int, int]
) -> None:
    """They need not wait for each other; a CPU takes its students one after the other, each on all of its cores."""
    devices = [type("Device", (), {"platform": platform})() for _ in range(count)]
    made = type("Mesh", (), {"__init__": lambda self, devices, names: setattr(self, "shape", devices.shape)})
    monkeypatch.setattr(students, "Mesh", made)
    monkeypatch.setattr(students.jax, "devices", lambda: devices)
    assert inspect.unwrap(students.mesh_for)(of_students).shape == shape


@pytest.mark.parametrize("rows", [1, 2, 3, 8])
def test_rows_over_devices_are_the_rows_on_one(rows: int) -> None:
    """Values and gradients, of rows that two devices share evenly or not; keys of random numbers are rows too."""
    mesh = students.mesh_for(1)
    assert mesh.devices.size == 2
    x = jnp.asarray(np.random.default_rng(0).normal(size=(rows, 3)))
    keys = jax.random.split(jax.random.key(0), rows)

    def f(w: jax.Array, part: dict) -> tuple:
        noise = jax.vmap(lambda key: jax.random.normal(key, (3,)))(part["key"])
        return w * part["x"] + noise, jnp.sum(part["x"], axis=1)

    shared = students.over_rows(mesh, f, (-1, 0), (0, 0))
    given = {"x": x, "key": keys}

    def total(f, w: jax.Array, x: jax.Array) -> jax.Array:
        y, sums = f(w, given | {"x": x})
        return jnp.sum(y**2) + jnp.sum(sums**3)

    w = jnp.array([0.5, 2.0, -1.0])
    for ours, theirs in zip(shared(w, given), f(w, given), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerances.F64)
    for ours, theirs in zip(*(jax.grad(total, (1, 2))(each, w, x) for each in (shared, f)), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=tolerances.F64)


def test_nothing_in_rows_is_no_rows() -> None:
    """Sources without a lead-in have no memory to spread."""
    shared = students.over_rows(students.mesh_for(1), lambda w, rows: rows, (-1, 0), 0)
    assert shared(jnp.ones(2), ()) == ()


@pytest.mark.parametrize("count", [1, 3])
def test_each_student_has_what_it_would_have_alone(count: int) -> None:
    a, b = (jnp.arange(count * n, dtype=float).reshape(count, n) for n in (2, 3))
    found = students.each(students.mesh_for(count), lambda a, b: {"sum": a.sum() + b, "max": b.max()})(a, b)
    for index, name in itertools.product(range(count), ("sum", "max")):
        wanted = {"sum": a[index].sum() + b[index], "max": b[index].max()}[name]
        np.testing.assert_array_equal(found[name][index], wanted)


def parts_with_transfers(compiled: str) -> set[str]:
    """The computations of a compiled program (its entry, bodies of loops, branches) with data moved between devices."""
    found, part = set(), ""
    for line in compiled.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            part = line.split(" ")[0]
        elif re.search(r" (all-(gather|reduce|to-all)|collective-permute|reduce-scatter)(-start)?\(", line):
            found.add(part)
    return found


@pytest.mark.parametrize(("kind", "count"), [(LSTM, 1), (WAVENET, 2)], ids=["an LSTM", "two WaveNets"])
def test_devices_wait_for_each_other_in_one_part_of_a_program(kind: Kind, count: int) -> None:
    """XLA computes independent loops in any order: of two with transfers, each device could wait in another one."""
    music, optimiser = music_config(), presets.PRESETS["fast"](kind).optimiser
    config = CONFIG.model_copy(update={"music": music, "high_playing": music, "optimiser": optimiser})
    small = prepare(config, kind, sizes=(3.0, 2.0)[:count]).run
    student = small.start([0.01] * count)
    update = jax.jit(small.update).lower(student, [draw(0) for draw in small.draw], 0)
    validate = jax.jit(small.validate).lower(student.params)
    for lowered in (update, validate):
        assert len(parts_with_transfers(lowered.compile().as_text())) == 1
