"""Thousands of damaged NAM files, seeded: refused in one line or finite, quickly, in little memory."""

import copy
import json
import resource
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from nam_documents import ALL
from test_nam_container import container
from test_weights_import import nam_lstm, wavenet

import weights_import
from weights_import import ModelFileError, rehearsal

FILES = 2500
RENDERED = 6  # of those that were read: each is compiled
SLOWEST_S = 5.0  # a file takes some ms; the machine may be busy
MEMORY_KIB = 400 * 1024
SOURCES = [*ALL.values(), container(), wavenet(), nam_lstm()]
ODD = (
    None, True, False, 0, -1, 1, 2, 3, 10**9, 10**30, -0.5, 0.5, 1e39, 1e-300, "", "Tanh", "none", "WaveNet", "GELU",
    [], [1], [1, 10**9], [[0.0]], {}, {"type": "PReLU", "negative_slopes": [0.1]}, {"active": True, "groups": 1},
    float("nan"), float("inf"), "x" * 10_000, [0.0] * 1000,
)  # fmt: skip


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Where members stand, with but the first of a list of numbers: weights are most of a file."""
    members = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    members = members[:1] if isinstance(value, list) and value and isinstance(value[0], float) else members
    return [place for key, member in members for place in ((*path, key), *places(member, (*path, key)))]


def mutated(random: np.random.Generator) -> bytes:
    """One to three changes in the tree of a file, and sometimes in its bytes."""
    document = copy.deepcopy(SOURCES[random.integers(len(SOURCES))])
    for _ in range(random.integers(1, 4)):
        found = places(document)
        if not found:
            break
        *path, last = found[random.integers(len(found))]
        holder: Any = document
        for key in path:
            holder = holder[key]
        match random.integers(5):
            case 0:
                del holder[last]
            case 1 if type(holder[last]) in (int, float):
                holder[last] *= type(holder[last])(random.choice([-1, 2, 3, 1000]))
            case 2 if isinstance(holder, list):
                holder.insert(last, copy.deepcopy(holder[last]))
            case 3:  # something else from this file
                other: Any = document
                for key in found[random.integers(len(found))]:
                    if not isinstance(other, dict | list) or (isinstance(other, list) and key not in range(len(other))):
                        break
                    other = other[key] if isinstance(other, list) else other.get(key)
                holder[last] = copy.deepcopy(other)
            case _:
                holder[last] = copy.deepcopy(ODD[random.integers(len(ODD))])
    data = bytearray(json.dumps(document).encode())
    if random.random() < 0.2:
        data[random.integers(len(data))] = random.integers(256)
    return bytes(data[: random.integers(len(data))] if random.random() < 0.05 else data)


def test_damaged_files_are_refused_in_one_line_or_finite(tmp_path: Path) -> None:
    path, read, refused, reasons = tmp_path / "model.nam", {}, 0, set()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(FILES):
        path.write_bytes(mutated(np.random.default_rng(seed)))
        started = time.monotonic()
        try:
            loaded = weights_import.load(path)
        except ModelFileError as error:
            assert len(str(error).splitlines()) == 1, seed
            assert str(error).startswith(f"{path}: "), seed
            assert len(str(error)) < 1000, seed
            refused += 1
            reasons.add(str(error).removeprefix(f"{path}: ").split(":")[0])
        else:
            for network in loaded.networks:
                assert all(np.all(np.isfinite(array)) for array in jax.tree.leaves(network.params)), seed
                read[network.config] = (seed, network)
        assert time.monotonic() - started < SLOWEST_S, seed
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY_KIB
    assert refused > FILES / 3
    assert len(reasons) > 100
    found = list(read.values())
    for seed, network in found[:: len(found) // RENDERED]:
        assert np.isfinite(rehearsal.play(network)).all(), seed
