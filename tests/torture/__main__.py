"""All torture tests in full; exit code 1 if one of them fails.

    PYTHONPATH=tests python -m torture            # everything, some hours on a laptop
    PYTHONPATH=tests python -m torture kills disk # some of it

models       damaged model files of all formats
checkpoints  every file of a checkpoint removed, cut off, zeroed and with a bit flipped
kills        runs that are killed at random moments, of `fast` and `best`
disk         disks that are full or may not be written to
audio        an hour of audio at constant memory
commands     the product of all commands and all kinds of model

The tests have a short form of each.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torture import commands, damaged_checkpoints, damaged_models, full_disk, kills, long_audio

PRODUCT = Path(__file__).parents[1] / "commands" / "test_every_model_in_every_command.py"


def product() -> dict[str, Any]:
    """All cells, by pytest."""
    every = {**os.environ, "JAXALIAS_EVERY_CELL": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "", "-p", "no:cacheprovider", PRODUCT],
        env=every, capture_output=True, text=True, check=False,
    )  # fmt: skip
    *rest, last = done.stdout.splitlines() or [""]
    return {"tests": last, "failures": [line for line in rest if line.startswith("FAILED")] if done.returncode else []}


def models(count: int, seed: int, folder: Path, kinds: Sequence[str] | None) -> dict[str, Any]:
    """Damaged model files, in so much memory."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (damaged_models.MOST_ADDRESSES, before[1]))
    try:
        return damaged_models.torture(count, seed, folder, kinds)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def main() -> None:
    """One after the other, each in a folder of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts: dict[str, Callable[[Path], dict[str, Any]]] = {
        "models": lambda folder: models(args.files, args.seed, folder, args.kinds),
        "checkpoints": damaged_checkpoints.torture,
        "kills": lambda folder: kills.torture(args.kills, args.seed, folder),
        "disk": full_disk.torture,
        "audio": lambda folder: long_audio.torture(args.seconds, folder),
        "commands": lambda folder: product(),
    }
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help="of the above (default: all)")
    add("--files", type=int, default=10_000, metavar="N", help="damaged model files (default: 10000)")
    add("--kinds", nargs="+", choices=list(damaged_models.SHARES), help="of model files (default: all)")
    add("--kills", type=int, default=100, metavar="N", help="of runs (default: 100)")
    add("--seconds", type=float, default=3600.0, metavar="S", help="of audio (default: 3600)")
    add("--seed", type=int, default=0, metavar="N", help="of damage and kills (default: 0)")
    add("--folder", type=Path, help="to work in; what failed stays there (default: a temporary one)")
    args = parser.parse_args()
    if unknown := set(args.parts) - parts.keys():
        parser.error(f"must be among {', '.join(parts)}, got {', '.join(sorted(unknown))}")
    commands.one_device()
    failed = False
    with tempfile.TemporaryDirectory() as made:
        for name in args.parts or parts:
            folder = (args.folder or Path(made)) / name
            folder.mkdir(parents=True)
            started = time.monotonic()
            found = parts[name](folder)
            print(json.dumps({name: found | {"minutes": round((time.monotonic() - started) / 60, 1)}}, indent=1))
            failed |= bool(found["failures"])
    raise SystemExit(int(failed))


if __name__ == "__main__":
    main()
