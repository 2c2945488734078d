"""The frame of every command: set up JAX, run, and end with an exit code."""

import hashlib
import logging
import os
import platform
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import jax

from jaxalias import memory
from jaxalias.commands import hosts
from jaxalias.commands.errors import BadInputError

logging.getLogger("matplotlib").setLevel(logging.ERROR)  # no lines about a home folder that is read-only


def require(module: str, extra: str) -> None:
    """Refuse to begin what needs a package that is not installed.

    Args:
        module: what is imported.
        extra: of `pyproject.toml`, that installs it.

    Raises:
        BadInputError: names both, and the command that installs it.
    """
    if find_spec(module) is None:
        raise BadInputError(f"needs {module}, which is not installed: pip install 'jaxalias[{extra}]'")


def run(main: Callable[[], None]) -> None:
    """Run a command: 0 done, 1 failure inside, 2 bad input, 130 interrupted."""
    memory.share_heap()
    jax.config.update("jax_enable_x64", True)  # analysis is in float64; models run in the precision asked for
    if "JAX_NUM_CPU_DEVICES" not in os.environ:
        jax.config.update("jax_num_cpu_devices", cores())  # see `jaxalias.training.students`
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(compilation_cache()))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # there are many small ones
    warnings.filterwarnings("ignore", "Error (reading|writing) persistent compilation cache")  # it is compiled anew
    try:
        main()
    except (BadInputError, OSError) as error:  # a full or read-only disk: the user can repair that
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        hosts.leave(error, 2)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print(f"{Path(sys.argv[0]).name}: interrupted", file=sys.stderr)
        raise SystemExit(130) from None
    except Exception as error:
        hosts.leave(error, 1, traceback.format_exc())
        raise


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compilation_cache() -> Path:
    """Where compiled programs are kept between runs: apart for each kind of processor that shares the folder."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    about = Path("/proc/cpuinfo")
    flags = re.search(r"^(?:flags|Features)\s*:.*$", about.read_text(), re.MULTILINE) if about.exists() else None
    kind = f"{platform.machine()} {flags.group() if flags else platform.processor()}"
    return home / "jaxalias" / hashlib.sha256(kind.encode()).hexdigest()[:12]
