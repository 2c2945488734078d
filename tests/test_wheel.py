"""The wheel is whole: installed in an environment of its own, outside the checkout, it has all that the program needs.

The environment borrows the dependencies of the one that runs the tests (a `.pth` file names its folder), so it is made
in seconds and without a network; `.ci/run` and `.ci/versions` are where dependencies are installed for real.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from model_files import lstm

import jaxalias

pytest.importorskip("setuptools", minversion="77.0.1")  # of the extra `test`; older ones cannot read pyproject.toml

TIMEOUT_S = 900  # of what takes half a minute where nothing else runs
ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "jaxalias", "weights_import")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing of an earlier build in the checkout gets into it."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder)
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder / "dist", folder)
    (built,) = (folder / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program `jaxalias` of an environment that has the wheel, and its dependencies from this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    pip("--python", folder / "bin" / "python", "install", "--no-deps", "--no-index", wheel)
    (packages / "borrowed.pth").write_text(f"{Path(np.__file__).parents[1]}\n")
    return folder / "bin" / "jaxalias"


def pip(*arguments: object) -> None:
    """As a user calls it; what it prints is shown where it fails."""
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *map(str, arguments)], check=True, timeout=TIMEOUT_S)


def run(program: Path, folder: Path, *arguments: object) -> str:
    """What a command prints, started in a folder outside the checkout, which its Python does not see."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "XLA_FLAGS")}
    command = [str(program), *map(str, arguments)]
    return subprocess.run(
        command, cwd=folder, env=environment, check=True, timeout=TIMEOUT_S, stdout=subprocess.PIPE
    ).stdout.decode()


def test_wheel_has_the_two_packages_their_data_and_nothing_else(wheel: Path) -> None:
    names = [Path(name) for name in zipfile.ZipFile(wheel).namelist()]
    about = f"jaxalias-{jaxalias.__version__}.dist-info"
    assert {name.parts[0] for name in names} == {"jaxalias", "weights_import", about}
    data = {
        str(path.relative_to(ROOT))
        for package in ("jaxalias", "weights_import")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {str(name) for name in names if name.parts[0] != about} == data
    assert data >= {"jaxalias/py.typed", "weights_import/py.typed", "jaxalias/shipped/distortion_lstm-40.json"}


def test_installed_program_says_its_version(program: Path, tmp_path: Path) -> None:
    first, *_ = run(program, tmp_path, "--version").splitlines()
    assert first == f"jaxalias {jaxalias.__version__}"


@pytest.mark.slow
def test_installed_program_fine_tunes_a_model_outside_the_checkout(program: Path, tmp_path: Path) -> None:
    model = lstm(tmp_path / "amp.json", 200.0)
    short = ("--updates", 20, "--batch-size", 2, "--quiet", "--run-dir", "run", "--json", "result.json")
    run(program, tmp_path, "finetune", model.name, *short)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["updates"] == 20
    assert result["environment"]["commit"] is None  # not in a checkout
    for path in ("run/amp_antialiased.json", "run/index.html", "run/nmr.png", "run/table.md"):
        assert (tmp_path / path).stat().st_size > 100
