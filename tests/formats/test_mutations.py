"""Ten thousand damaged files of every format, seeded: refused in one line or finite, quickly, in little memory."""

import copy
import io
import json
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from nam_documents import ALL
from rnn_documents import rtneural
from test_nam_container import container
from test_weights_import import DOCUMENTS, load, play

import weights_import
from weights_import import ModelFile, ModelFileError, rehearsal

FILES = {"NAM": 6000, "recurrent": 4000, "PyTorch": 1000}
RENDERED = 6  # of those that were read: each is compiled
SLOWEST_S = 5.0  # a file takes some ms; the machine may be busy
MEMORY_KIB = 400 * 1024
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


def mutated(document: Any, random: np.random.Generator) -> Any:
    """A copy with one to three changes in its tree."""
    document = copy.deepcopy(document)
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
    return document


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """The bytes of a file, in one of five with another one among them, in one of twenty cut off."""
    changed = bytearray(data)
    if random.random() < 0.2:
        changed[random.integers(len(changed))] = random.integers(256)
    return bytes(changed[: random.integers(len(changed))] if random.random() < 0.05 else changed)


def attempt(path: Path, data: bytes, seed: int) -> ModelFile | ModelFileError:
    """Read a file; what comes back is finite, or an error of one line about this file; and soon."""
    path.write_bytes(data)
    started = time.monotonic()
    try:
        loaded = weights_import.load(path)
    except ModelFileError as error:
        assert len(str(error).splitlines()) == 1, seed
        assert str(error).startswith(f"{path}: "), seed
        assert len(str(error)) < 1000, seed
        return error
    finally:
        assert time.monotonic() - started < SLOWEST_S, seed
    for network in loaded.networks:
        assert all(np.all(np.isfinite(array)) for array in jax.tree.leaves(network.params)), seed
    return loaded


def survivors(
    path: Path, sources: Sequence[Any], encode: Callable[[Any], bytes], files: int, *, reasons: int
) -> list[tuple[int, ModelFile]]:
    """What could be read of so many damaged files, with their seeds; there were enough other reasons not to."""
    read, given = [], []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(files):
        random = np.random.default_rng(seed)
        data = encode(mutated(sources[random.integers(len(sources))], random))
        outcome = attempt(path, damaged(data, random), seed)
        if isinstance(outcome, ModelFile):
            read.append((seed, outcome))
        else:
            given.append(str(outcome).removeprefix(f"{path}: ").split(":")[0])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY_KIB
    assert len(given) > files / 3
    assert len(set(given)) > reasons
    return read


def test_damaged_nam_files(tmp_path: Path) -> None:
    sources = [*ALL.values(), container(), DOCUMENTS["wavenet"], DOCUMENTS["nam lstm"]]
    read = survivors(tmp_path / "model.nam", sources, in_json, FILES["NAM"], reasons=100)
    each = {network.config: (seed, file, network) for seed, file in read for network in file.networks}
    found = list(each.values())
    for seed, file, network in found[:: len(found) // RENDERED]:
        assert np.isfinite(rehearsal.play(network)).all(), seed
        weights_import.save(tmp_path / "again.nam", file)


def test_damaged_recurrent_files(tmp_path: Path) -> None:
    """SimpleRNN and RTNeural files, one with a test of its own; all that can be read can be played."""
    kinds = ["guitarml", "lstm with two knobs", "stacked gru with a knob", "rtneural", "rtneural gru"]
    answer = float(play(load(tmp_path, rtneural()), np.zeros(1))[0])
    tested = {**rtneural(), "input_batch": [0.0], "output_batch": [answer]}
    sources = [*(DOCUMENTS[name] for name in kinds), tested]
    read = survivors(tmp_path / "model.json", sources, in_json, FILES["recurrent"], reasons=40)
    assert len(read) > FILES["recurrent"] / 40
    for seed, file in read:
        assert np.isfinite(rehearsal.play(file.network)).all(), seed


def test_damaged_checkpoints(tmp_path: Path) -> None:
    """Those of PyTorch: tensors in a zip archive, whose pickle must not be trusted."""
    torch = pytest.importorskip("torch")

    def tensors(value: Any) -> Any:
        return {key: torch.tensor(array) for key, array in value.items()} if isinstance(value, dict) else value

    def in_torch(document: Any) -> bytes:
        buffer = io.BytesIO()
        torch.save(document, buffer)
        return buffer.getvalue()

    simple = DOCUMENTS["guitarml"]
    sources = [tensors(simple["state_dict"]), {**simple, "state_dict": tensors(simple["state_dict"])}]
    read = survivors(tmp_path / "model.pt", sources, in_torch, FILES["PyTorch"], reasons=15)
    for seed, file in read:
        assert np.isfinite(rehearsal.play(file.network)).all(), seed


def in_json(document: Any) -> bytes:
    """As a file holds it."""
    return json.dumps(document).encode()
