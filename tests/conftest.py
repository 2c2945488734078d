"""Strictness for every test: 64-bit mode, warnings as errors, shapes and dtypes of annotations checked at run time."""

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

from jaxalias import memory

CHECKED = (
    "signals", "models", "targets", "losses", "optimisers", "training", "fine_tuning",
    "pretraining.training", "evaluation.metrics", "evaluation.sine_set", "evaluation.played",
    "listening.stimuli", "listening.webmushra", "listening.ratings", "listening.statistics", "reporting.pareto",
)  # fmt: skip
"""Modules whose annotations are checked; `config` is checked by pydantic."""

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int will do where a float is asked for

QUICK = "--xla_cpu_use_fusion_emitters=false"
"""Most of the time of the tests is compilation; this saves a quarter of all. XLA_FLAGS="" compiles as for users."""


def accepted(flags: str) -> bool:
    """Whether this version of XLA knows these flags: it ends a process that has others."""
    probe = [sys.executable, "-c", "import jax; jax.devices()"]
    return subprocess.run(probe, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True).returncode == 0


if "XLA_FLAGS" not in os.environ:  # for all processes of a session, as the folder of the compiled programs below
    os.environ["XLA_FLAGS"] = QUICK if accepted(QUICK) else ""
memory.share_heap = lambda: None  # thousands of compiled functions in one process: it keeps its usual allocator
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 2)  # whatever the machine, here ...
os.environ["JAX_NUM_CPU_DEVICES"] = "2"  # ... and in the commands that tests call and start
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # one for all processes of a session
    _cache = tempfile.TemporaryDirectory(prefix="jaxalias-tests-", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
install_import_hook([f"jaxalias.{name}" for name in CHECKED], "conftest.checked")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "error")
    config.addinivalue_line("filterwarnings", "ignore:The Pallas Triton backend is deprecated:DeprecationWarning")
    renamed = "ignore:'.*' deprecated - use ':DeprecationWarning"  # of pyparsing, by matplotlib 3.10.0
    config.addinivalue_line("filterwarnings", renamed)
    compiled_anew = "ignore:Error (reading|writing) persistent compilation cache"  # while another process writes it
    config.addinivalue_line("filterwarnings", compiled_anew)
    config.addinivalue_line("markers", "slow: over 15 s: commands that train, processes of their own, simulations")
    config.addinivalue_line("markers", "data: compares with third-party data (`data_dir`), given by JAXALIAS_DATA")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "data_dir" in getattr(item, "fixturenames", ()):
            item.add_marker("data")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Third-party models, vectors and audio; not part of the repository, so tests that ask for them may be skipped."""
    folder = os.environ.get("JAXALIAS_DATA")
    if not folder:
        pytest.skip("JAXALIAS_DATA is not set: no third-party reference data to compare with")
    return Path(folder)


@pytest.fixture(autouse=True)
def short_sets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands measure half a minute of playing at eight times the rate; a second of it shows as well that they do."""
    if request.path.parent.name == "commands":
        monkeypatch.setattr("jaxalias.evaluation.played.SECONDS", 1.0)
        monkeypatch.setattr("jaxalias.evaluation.played.LEAD_S", 0.1)


@pytest.fixture
def quick_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tones and no pictures: for tests of the training, several times over."""
    from jaxalias import evaluation
    from jaxalias.commands import measuring, report

    few = functools.partial(measuring.measure, sine_set=evaluation.SineSet((60, 61), (-18.0,)))
    monkeypatch.setattr(measuring, "measure", few)
    monkeypatch.setattr(report, "write", lambda *arguments: [])


@pytest.fixture
def tones_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Presets without music, for tests of other things: more than half of such a test is compilation."""
    from jaxalias.config import presets

    def without_music(preset: Callable[[Any], Any], model: Any) -> Any:
        return preset(model).model_copy(update={"music": None, "high_playing": None, "starts": None})

    for name, preset in presets.PRESETS.items():
        monkeypatch.setitem(presets.PRESETS, name, functools.partial(without_music, preset))
