"""Damaged model files of every format, seeded: each plays finite numbers, or is refused in one line with exit code 2.

    PYTHONPATH=tests python -m torture models --files 10000

The same in a short form is in the tests. What is changed: values and keys anywhere in a file's tree (among them values
of other places, of other files and of other types), and the file's bytes: cut off, zeroed, flipped, doubled, in
another encoding or archive.
"""

import copy
import functools
import gzip
import io
import json
import pathlib
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax
import model_kinds
import numpy as np
import soundfile
from nam_documents import ALL
from rnn_documents import rtneural, simple_rnn
from torture import commands

import weights_import
from weights_import import ModelFile, ModelFileError, rehearsal

SLOWEST_S = 20.0  # a file takes some ms; the machine may be busy
MOST_ADDRESSES = 12 << 30  # bytes of a full run: a file that takes all memory fails, and not the machine
MEMORY_KIB = 600 * 1024
FORGET_EVERY = 200
PLAYED_BY_COMMAND = 40  # of those that are read, one in so many; all are played
LONGEST_LINE = 1000
SHARES = {"NAM": 5, "recurrent": 3, "PyTorch": 2}
ODD = (
    None, True, False, 0, -1, 1, 2, 3, 10**9, 10**30, -0.5, 0.5, 1e39, 1e38, 1e-300, "", "Tanh", "none", "WaveNet",
    "GELU", "48000", [], [1], [1, 10**9], [[0.0]], {}, {"type": "PReLU", "negative_slopes": [0.1]},
    {"active": True, "groups": 1}, float("nan"), float("inf"), "x" * 10_000, [0.0] * 1000, "\n\u2028\ud800\x00",
    [None] * 3,
)  # fmt: skip
KEYS = (
    "sample_rate",
    "samplerate",
    "metadata",
    "weights",
    "in_skip",
    "head",
    "condition_dsp",
    "slimmable",
    "input_batch",
)


class Damaged(NamedTuple):
    """One file: its number, which is its seed too, the kind of file that it was, and what is left of it."""

    number: int
    kind: str
    data: bytes


class Outcome(NamedTuple):
    """What came of a file: the model, or the line with which it was refused."""

    file: ModelFile | None
    refusal: str


def kinds() -> list[str]:
    """The kinds of file that can be made here: those of PyTorch only where it is installed."""
    return [kind for kind in SHARES if kind != "PyTorch" or find_spec("torch")]


def damaged_model_files(count: int, seed: int = 0, only: Sequence[str] | None = None) -> Iterator[Damaged]:
    """So many files, the same for the same seed; of the kinds named, or of all in their shares."""
    wanted = [kind for kind in only or kinds() for _ in range(SHARES[kind])]
    for number in range(count):
        random = np.random.default_rng([seed, number])
        kind = wanted[number % len(wanted)]
        documents, encode = sources()[kind]
        document = mutated(documents[random.integers(len(documents))], documents, random)
        yield Damaged(number, kind, damaged(encode(document), random))


@functools.cache
def sources() -> dict[str, tuple[list[Any], Callable[[Any], bytes]]]:
    """Whole documents of each kind, and how a file holds them."""
    made = [make() for make in model_kinds.DOCUMENTS.values()]
    recurrent = [document for document in made if "version" not in document]
    tested = {**rtneural(), "input_batch": [0.0, 0.1], "output_batch": [0.0, 0.0]}
    nam = [*ALL.values(), *(document for document in made if "version" in document)]
    found: dict[str, tuple[list[Any], Callable[[Any], bytes]]] = {
        "NAM": (nam, in_json),
        "recurrent": ([*recurrent, tested, simple_rnn(layers=2), rtneural(layers=2, in_skip=1, in_gain=3.5)], in_json),
    }
    if "PyTorch" in kinds():
        found["PyTorch"] = (list(checkpoints()), in_torch)
    return found


def checkpoints() -> Iterator[dict]:
    """PyTorch documents: bare tensors, tensors with a description, NAM's names, and objects that are not read."""
    import torch

    simple = simple_rnn()
    state = {key: torch.tensor(value) for key, value in simple["state_dict"].items()}
    yield state
    yield {**simple, "state_dict": state, "epoch": 3}
    yield {"state_dict": state, "hyper_parameters": {"sample_rate": 48_000, "train_path": pathlib.PurePosixPath("x")}}
    names = {"rec.": "_net._core.", "lin.": "_net._head."}
    renamed = {names[key[:4]] + key[4:]: tensor for key, tensor in state.items()}
    states = {"_net._initial_hidden": torch.zeros(1, 3), "_net._initial_cell": torch.zeros(1, 3)}
    yield {"state_dict": {**renamed, **states}, "hyper_parameters": {"best": np.float64(0.5)}}
    yield {"state_dict": {**renamed, **states}}


def in_json(document: Any) -> bytes:
    """As a file holds it."""
    return json.dumps(document).encode()


def in_torch(document: Any) -> bytes:
    """As `torch.save` writes it."""
    import torch

    stream = io.BytesIO()
    torch.save(document, stream)
    return stream.getvalue()


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Where members stand, with but the first of a list of numbers: weights are most of a file."""
    members = list(value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ())
    members = members[:1] if isinstance(value, list) and value and isinstance(value[0], float) else members
    return [place for key, member in members for place in ((*path, key), *places(member, (*path, key)))]


def at(document: Any, path: tuple) -> Any:
    """The value at a place."""
    for key in path:
        document = document[key]
    return document


def mutated(document: Any, others: Sequence[Any], random: np.random.Generator) -> Any:
    """A copy with none to three changes in its tree."""
    document = copy.deepcopy(document)
    for _ in range(random.integers(4)):
        found = places(document)
        if not found:
            break
        *path, last = found[random.integers(len(found))]
        holder = at(document, tuple(path))
        match random.integers(7):
            case 0:
                del holder[last]
            case 1 if type(holder[last]) in (int, float):
                holder[last] *= type(holder[last])(random.choice([-1, 2, 3, 1000]))
            case 2 if isinstance(holder, list):
                holder.insert(last, copy.deepcopy(holder[last]))
            case 3:  # something else from this file ...
                holder[last] = copy.deepcopy(at(document, found[random.integers(len(found))]))
            case 4:  # ... or from another one
                other = others[random.integers(len(others))]
                there = places(other)
                holder[last] = copy.deepcopy(at(other, there[random.integers(len(there))]))
            case 5 if isinstance(holder, dict):
                holder[KEYS[random.integers(len(KEYS))]] = copy.deepcopy(holder[last])
            case _:
                holder[last] = copy.deepcopy(ODD[random.integers(len(ODD))])
    return document


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """The bytes of a file, three in four as they were."""
    if random.random() < 0.75:
        return data
    place, length = random.integers(len(data)), random.integers(1, 1 + len(data) // 4)
    changed = bytearray(data)
    match random.integers(10):
        case 0:
            return data[:place]
        case 1:
            changed[place : place + length] = bytes(len(changed[place : place + length]))
        case 2:
            changed[place] ^= 1 << int(random.integers(8))
        case 3:
            changed[place] = random.integers(256)
        case 4:
            changed[place:place] = random.bytes(3)
        case 5:
            del changed[place : place + length]
        case 6:
            return data + data
        case 7:
            return data.decode("latin-1").encode("utf-16" if random.random() < 0.5 else "utf-8-sig")
        case 8:
            return gzip.compress(data, mtime=0)
        case _:
            return b"<!DOCTYPE html><html><body>" + data[:place]
    return bytes(changed)


def attempt(damage: Damaged, folder: Path) -> Outcome:
    """Read one file, and play it or have the command refuse it; AssertionError where neither comes of it."""
    path = folder / "amp.nam"
    path.write_bytes(damage.data)
    started = time.monotonic()
    try:
        file = weights_import.load(path)
    except ModelFileError as error:
        refusal = str(error)
        assert refusal.startswith(f"{path}: "), refusal
        assert len(refusal) < LONGEST_LINE, refusal
        assert by_command(folder) == (2, f"render.py: {refusal}\n"), refusal
        return Outcome(None, refusal)
    finally:
        assert time.monotonic() - started < SLOWEST_S
    finite = all(np.isfinite(rehearsal.play(network)).all() for network in file.networks)
    if finite and damage.number % PLAYED_BY_COMMAND:
        return Outcome(file, "")
    code, line = by_command(folder)
    assert code in (0, 2), line
    if code == 2:  # numbers so large that what they play is not finite
        assert line.count("\n") == 1, line
        assert "must be finite" in line, line
        return Outcome(None, line)
    y, _ = soundfile.read(folder / "out.wav")
    assert np.isfinite(y).all()
    weights_import.save(folder / "again.nam", file)  # reads back what it wrote, and compares
    return Outcome(file, "")


def by_command(folder: Path) -> tuple[int, str]:
    """Exit code of `render.py`, and its stderr."""
    sound = folder / "in.wav"
    if not sound.exists():
        soundfile.write(sound, np.random.default_rng(0).uniform(-0.3, 0.3, 400), 44_100, subtype="FLOAT")
    files = {"--model": "amp.nam", "--input": "in.wav", "--output": "out.wav"}
    typed = [part for option, name in files.items() for part in (option, str(folder / name))]
    return commands.run("render", *typed, "--bits", "float", "--quiet")


def torture(count: int, seed: int, folder: Path, only: Sequence[str] | None = None) -> dict[str, Any]:
    """Try so many files.

    Returns:
        {"files", "read", "refused", "reasons": different keys that were named, "failures": [{"number", "kind",
        "what"}]}. A failure's file stays in the folder.
    """
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    failures: list[dict[str, Any]] = []
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for damage in damaged_model_files(count, seed, only):
        if damage.number % FORGET_EVERY == 0:
            jax.clear_caches()  # compiled models are kept as long as the process lives
        try:
            file, refusal = attempt(damage, folder)
        except Exception as error:
            kept = folder / f"failure-{seed}-{damage.number}"
            kept.write_bytes(damage.data)
            what = f"{type(error).__name__}: {error}"[:500]
            failures.append({"number": damage.number, "kind": damage.kind, "what": what, "file": str(kept)})
            continue
        counts["read" if file else "refused"] += 1
        reasons[refusal.removeprefix(f"{folder / 'amp.nam'}: ").split(":")[0]] += 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"files": count, "seed": seed, **counts, "reasons": len(reasons), "grown_kib": grown, "failures": failures}
