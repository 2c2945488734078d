"""The examples in the docstrings are right, and each public function of the method has one."""

import ast
import doctest
from importlib import import_module
from pathlib import Path

import pytest

import jaxalias

HERE = Path(jaxalias.__file__).parent
FILES = sorted(path.relative_to(HERE).as_posix() for path in HERE.rglob("*.py") if ">>> " in path.read_text())
METHOD = ("signals", "targets", "losses", "evaluation/metrics.py", "fine_tuning.py")


def docstrings(file: str) -> dict[str, str]:
    """The docstrings of functions and classes of a file, by name."""
    parts = (ast.FunctionDef, ast.ClassDef)
    body = ast.parse((HERE / file).read_text()).body
    return {part.name: ast.get_docstring(part) or "" for part in body if isinstance(part, parts)}


@pytest.mark.parametrize("file", FILES)
def test_examples_give_what_they_show(file: str) -> None:
    module = import_module("jaxalias." + file.removesuffix(".py").replace("/", "."))
    failures = []
    for name, text in docstrings(file).items():
        example = doctest.DocTestParser().get_doctest(text, dict(vars(module)), f"{file}:{name}", file, 0)
        doctest.DocTestRunner(verbose=False).run(example, out=failures.append)
    assert not failures, "\n".join(failures)


def test_each_public_function_of_the_method_has_an_example() -> None:
    files = [path for part in METHOD for path in ((HERE / part).rglob("*.py") if "." not in part else [HERE / part])]
    functions = {
        f"{path.relative_to(HERE)}:{part.name}": ast.get_docstring(part) or ""
        for path in files
        for part in ast.parse(path.read_text()).body
        if isinstance(part, ast.FunctionDef) and not part.name.startswith("_")
    }
    assert len(functions) > 60
    assert not [name for name, text in functions.items() if "\nExample:\n" not in text]
