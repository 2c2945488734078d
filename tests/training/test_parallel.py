"""Students trained together, on several devices or hosts, learn what each learns alone on one device."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tolerances

from jaxalias.training import parallel

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


def test_eight_devices(on_one_device: list[dict]) -> None:
    runs = finish(start("together", 8))
    assert [run["devices"] for run in runs] == [8] * 4
    assert_same_numbers(runs, on_one_device)


def test_two_processes(on_one_device: list[dict]) -> None:
    address = f"127.0.0.1:{free_port()}"
    both = [start("together", 2, address, process, 2) for process in range(2)]
    for runs in [finish(process) for process in both]:
        assert [run["devices"] for run in runs] == [4] * 4
        assert_same_numbers(runs, on_one_device)


def test_devices_share_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = np.arange(5)
    monkeypatch.setattr(parallel, "Mesh", lambda devices, names: devices.shape)
    monkeypatch.setattr(parallel.jax, "devices", lambda: devices)
    assert parallel.mesh_for(1, 40) == (1, 5)
    assert parallel.mesh_for(1, 40, 24) == (1, 4)
    assert parallel.mesh_for(1, 7) == (1, 1)
    assert parallel.mesh_for(2, 40, 24) == (2, 2)  # students first: they need not wait for each other
    assert parallel.mesh_for(3, 40, 24) == (1, 4)
    assert parallel.mesh_for(10, 1) == (5, 1)
    monkeypatch.setattr(parallel.jax, "process_count", lambda: 5)
    with pytest.raises(ValueError, match=r"5 devices on 5 hosts .* multiple of 5"):
        parallel.mesh_for(1, 24)
