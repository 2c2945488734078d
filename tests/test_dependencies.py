"""What the code imports is what `pyproject.toml` declares: no package that is not, and none that nothing needs."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

from jaxalias.commands import command_line, errors

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = {"orbax-checkpoint": "orbax"}  # where the module's name is not the package's
OPTIONAL = {"jaxalias/commands/peers.py": "torch", "jaxalias/commands/stages.py": "torch"}
"""Files that import what an extra installs when they are imported themselves."""


def modules(requirements: list[str]) -> set[str]:
    """What requirements such as "numpy>=2.0" install, by the names of their modules."""
    names = {re.match(r"[\w-]+", line)[0] for line in requirements}  # type: ignore[index]
    return {MODULES.get(name, name) for name in names}


def third_party(statements: list[ast.stmt]) -> set[str]:
    """The first names of modules that are neither of the standard library nor of this project."""
    found = set()
    for node in statements:
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    return found - set(sys.stdlib_module_names) - {"jaxalias", "weights_import"}


def files() -> list[tuple[str, ast.Module]]:
    paths = [path for package in ("jaxalias", "weights_import") for path in sorted((ROOT / package).rglob("*.py"))]
    return [(str(path.relative_to(ROOT)), ast.parse(path.read_text())) for path in paths]


def test_files_import_the_dependencies_and_nothing_else() -> None:
    core = modules(PROJECT["dependencies"])
    imported = set()
    for name, tree in files():
        found = third_party(tree.body)
        imported |= found
        assert found <= core | {OPTIONAL.get(name)}, f"{name}: a dependency that pyproject.toml does not declare"
    assert core <= imported, "a dependency that nothing imports"


def test_what_functions_import_is_a_dependency_or_an_extra() -> None:
    extras = {module for lines in PROJECT["optional-dependencies"].values() for module in modules(lines)}
    for name, tree in files():
        assert third_party(list(ast.walk(tree))) <= modules(PROJECT["dependencies"]) | extras, name  # type: ignore[arg-type]


def test_what_an_extra_installs_is_asked_for_by_name() -> None:
    command_line.require("numpy", "listening")
    with pytest.raises(errors.BadInputError, match=r"needs no_such_module, .* 'jaxalias\[listening\]'"):
        command_line.require("no_such_module", "listening")
