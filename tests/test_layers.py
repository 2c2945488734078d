"""The folders are the stages of the method: each imports only from those before it, and no two modules each other."""

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BEFORE: dict[str, tuple[str, ...]] = {"config": (), "disk": (), "memory": (), "signals": ("disk",)}
BEFORE["models"] = ("config", "disk", "signals")
BEFORE["targets"] = BEFORE["losses"] = (*BEFORE["models"], "models")
BEFORE["optimisers"] = (*BEFORE["models"], "models")
BEFORE["training"] = (*BEFORE["targets"], "targets", "losses", "optimisers", "memory")
BEFORE["pretraining"] = BEFORE["evaluation"] = (*BEFORE["training"], "training")
BEFORE["fine_tuning"] = (*BEFORE["training"], "training", "evaluation")
BEFORE["reporting"] = (*BEFORE["fine_tuning"], "fine_tuning", "pretraining")
BEFORE["listening"] = (*BEFORE["reporting"], "reporting")
BEFORE["commands"] = (*BEFORE["listening"], "listening")
BEFORE["__main__"] = ("commands",)
EXCEPTIONS: dict[str, str] = {}
"""Imports against the order, "importing file: imported package", and why each of them stands."""

LIBRARY = sorted((ROOT / "jaxalias").rglob("*.py"))
FORMATS = sorted((ROOT / "weights_import").glob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Full names of what a file imports, wherever in it; `from a import b` counts as a.b."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute here"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def stage(path: Path) -> str:
    """The place of a library file in the order: its own name, or its folder's."""
    return path.relative_to(ROOT / "jaxalias").with_suffix("").parts[0]


def module(path: Path) -> str:
    """The dotted name of a file."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_library_files_import_only_from_earlier_stages(path: Path) -> None:
    names = set(imported(path))
    others = {n.split(".")[0] for n in names} & {"weights_import", "experiments", "tests"}
    assert others <= ({"weights_import"} if stage(path) == "commands" else set())
    if stage(path) == "__init__":
        assert not {n for n in names if n.startswith("jaxalias")}, (
            "the package imports its parts when they are asked for"
        )
        return
    assert stage(path) in BEFORE, f"{path} is new: say in BEFORE which stages it may import from"
    used = {n.split(".")[1] for n in names if n.startswith("jaxalias.") and n != "jaxalias.__version__"}
    excused = {key.split(": ")[1] for key in EXCEPTIONS if key.split(": ")[0] == str(path.relative_to(ROOT))}
    assert used <= {*BEFORE[stage(path)], stage(path), *excused}, f"{stage(path)} may import {BEFORE[stage(path)]} only"


@pytest.mark.parametrize("path", FORMATS, ids=lambda path: path.name)
def test_formats_know_models_and_config_only(path: Path) -> None:
    names = {n for n in imported(path) if n.split(".")[0] in ("jaxalias", "experiments")}
    assert all(n.startswith(("jaxalias.models", "jaxalias.config", "jaxalias.disk")) for n in names), names


def test_no_two_modules_import_each_other() -> None:
    """A package stands for what it re-exports; of its own modules the imports of the package do not count."""
    modules = {module(path): path for path in (*LIBRARY, *FORMATS)}
    graph = {}
    for name, path in modules.items():
        used = {n if n in modules else n.rpartition(".")[0] for n in imported(path)} & set(modules)
        graph[name] = {other for other in used if not f"{name}.".startswith(f"{other}.")}
    try:
        tuple(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"modules import each other: {' <- '.join(error.args[1])}")


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_the_front_doors(path: Path) -> None:
    assert not {n for n in imported(path) if n.split(".")[0] == "experiments"}


def test_library_was_found() -> None:
    assert {stage(path) for path in LIBRARY} >= set(BEFORE) - {"fine_tuning", "__main__"}
