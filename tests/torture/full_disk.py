"""A disk that takes no more, or nothing at all: one line, exit code 2, and what was there before is whole.

    PYTHONPATH=tests python -m torture disk

Each command writes into a folder, and again after the disk has been filled: by a limit on the size of files (the
beginning of a file is still written), and, where this user may mount one, in a small file system of its own that is
full, or that may only be read.
"""

import contextlib
import json
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import model_files
import model_kinds
import numpy as np
import soundfile
from torture import commands

from jaxalias import evaluation, listening
from jaxalias.commands import corrective_filter, measuring, survey
from jaxalias.evaluation import played

LIMITS = (0, 100, 3000)  # bytes of a file
DISK = "8m"
FEW = evaluation.SineSet((60, 61), (-18.0,))
TYPED: dict[str, str] = {
    "render": "--model amp.nam --input riff.wav --output {}/out.wav --json {}/render.json",
    "convert": "--model rnn.json --output {}/converted.json --json {}/convert.json",
    "pretrain": "--signal {}/signal.wav --seconds 10",
    "survey": "amp.nam --quick --csv {}/survey.csv --json {}/survey.json",
    "evaluate": "--teacher amp.nam --audio riff.wav --midi 60 61 --levels -18 --report {}/report --json {}/eval.json",
    "corrective_filter": "--teacher amp.nam --student amp.nam --taps 4 --json {}/filter.json",
    "finetune": "--model amp.nam --updates 1 --batch-size 2 --run-dir {}/run --output {}/student.nam --json {}/f.json",
    "sweep": "--model amp.nam --set updates=1 --set batch_size=2 --run-dir {}/sweep --json {}/sweep.json",
    "listening_test": f"--teacher amp.nam --seconds {listening.SHORTEST_S} --oversample 2 --output {{}}/listen",
}
"""What is typed; {} is the folder to write to."""
QUICK = ("render", "convert", "pretrain", "survey")


def files(folder: Path) -> None:
    """What the commands read."""
    model_files.wavenet(folder / "amp.nam")
    (folder / "rnn.json").write_text(json.dumps(model_kinds.simple_rnn(hidden=20) | model_kinds.SAYS_ITS_RATE))
    x = np.random.default_rng(0).uniform(-0.3, 0.3, model_kinds.RATE)
    soundfile.write(folder / "riff.wav", x, model_kinds.RATE)


def content(folder: Path) -> dict[Path, bytes]:
    """All files of a folder."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def file_size(limit: int) -> Iterator[None]:
    """No file of this process gets longer than so many bytes."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


@contextmanager
def filled(folder: Path) -> Iterator[None]:
    """No room is left in the file system of a folder."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1024))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nothing may be written to the file system of a folder."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


@contextmanager
def mounted(folder: Path) -> Iterator[bool]:
    """A small file system of its own at a folder; False where this user may not mount one."""
    folder.mkdir()
    done = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder)], capture_output=True, check=False
        ).returncode
    )
    try:
        yield bool(done)
    finally:
        if done:
            subprocess.run(["umount", str(folder)], check=True)


def refused(name: str, typed: Sequence[str], made: Path, *, all_of_it: bool) -> str:
    """What is wrong with how a command ends on such a disk, if anything.

    Args:
        made: the folder with what it wrote before.
        all_of_it: nothing can have been written; else a short file may have been.
    """
    before = content(made)
    code, said = commands.run(name, *typed)
    after = content(made)
    if all_of_it and (code != 2 or after != before):
        return f"exit code {code}, or files changed: {said}"
    if code not in (0, 2) or (code == 2 and said.count("\n") != 1):
        return f"exit code {code}, {said}"
    lost = [path.name for path in before if path not in after]
    left = [path.name for path in after if path.suffix == ".part" or ".part." in path.name]
    broken = [path.name for path in after if path.suffix == ".json" and not _is_json(after[path])]
    return f"lost {lost}, left behind {left}, broken {broken}" if lost or left or broken else ""


def torture(folder: Path, names: Sequence[str] = tuple(TYPED), *, mounts: bool = True) -> dict[str, Any]:
    """{"tries", "mounted": how many file systems there were besides, "failures"}."""
    files(folder)
    tries, failures = 0, []

    def check(name: str, made: Path, words: str, disk: Callable[[], Any], *, all_of_it: bool) -> None:
        nonlocal tries
        typed = [part.format(made) for part in TYPED[name].replace("amp.nam", str(folder / "amp.nam")).split()]
        typed = [str(folder / part) if part in ("riff.wav", "rnn.json") else part for part in typed]
        if not content(made):
            code, said = commands.run(name, *typed, "--quiet")
            assert code == 0, said
        with disk():
            fault = refused(name, [*typed, "--quiet"], made, all_of_it=all_of_it)
        tries += 1
        if fault:
            failures.append(f"{name}, {words}: {fault}")

    with quick():
        for name in names:
            made = folder / f"{name}-made"
            made.mkdir()
            for limit in LIMITS:
                check(name, made, f"files of {limit} bytes", lambda limit=limit: file_size(limit), all_of_it=not limit)
        disks = 0
        for name in names if mounts else ():
            made = folder / f"{name}-disk"
            with mounted(made) as there:
                disks += there
                for words, disk in (("full", filled), ("read-only", read_only)) if there else ():
                    check(name, made, words, lambda disk=disk, made=made: disk(made), all_of_it=True)
    return {"tries": tries, "mounted": disks, "failures": failures}


@contextmanager
def quick() -> Iterator[None]:
    """Few tones, little playing; compiled programs are not kept, for this process may write no files."""
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    with ExitStack() as stack:
        stack.enter_context(patch.object(survey, "QUICK", FEW))
        stack.enter_context(patch.object(measuring.measure, "__defaults__", (FEW,)))
        stack.enter_context(patch.multiple(played, SECONDS=1.0, LEAD_S=0.1))
        stack.enter_context(patch.object(corrective_filter, "TONES", 4))
        yield
    jax.config.update("jax_enable_compilation_cache", before)


def _is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True
