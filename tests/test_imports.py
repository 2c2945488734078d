"""The order of the files is the order of the method: each imports only from those above it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = (
    "record", "wavenet_config",
    "config", "parallel", "phase", "dsp", "models", "sines", "cycles", "harmonics", "teacher",
    "oversampling", "harmonics_table",
    "recordings", "frames", "excerpts", "exercises",
    "nmr", "losses", "metrics", "presets", "learning", "curvature", "soap", "rewind", "runs", "training", "trial",
    "architectures", "pretraining", "checkpoints", "evaluation", "corrective_filter", "music",
    "audio_files", "listening", "webmushra", "ratings", "rating_statistics", "pictures", "pareto", "reporting", "page",
    "listening_page",
)  # fmt: skip
LIBRARY = sorted((ROOT / "jaxalias").rglob("*.py"))


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


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(ROOT)))
def test_library_files_import_only_from_above(path: Path) -> None:
    names = set(imported(path))
    assert not {n for n in names if n.split(".")[0] in ("weights_import", "experiments", "tests")}
    if stage(path) == "__init__":
        return  # re-exports
    assert stage(path) in ORDER, f"{path} is new: give it its place in ORDER, after everything that it imports"
    allowed = ORDER[: ORDER.index(stage(path))] + (("models",) if stage(path) == "models" else ())
    assert "jaxalias" not in names, "name the module, not the package: the package imports all of them"
    used = {n.split(".")[1] for n in names if n.startswith("jaxalias.")}
    assert used <= set(allowed), f"{path} may import {allowed} only, as the order of the method is {ORDER}"


@pytest.mark.parametrize("path", sorted((ROOT / "weights_import").glob("*.py")), ids=lambda path: path.name)
def test_formats_know_models_and_config_only(path: Path) -> None:
    names = {n for n in imported(path) if n.split(".")[0] in ("jaxalias", "experiments")}
    known = ("jaxalias.models", "jaxalias.config", "jaxalias.wavenet_config", "jaxalias.record")
    assert all(n.startswith(known) for n in names), names


def test_library_was_found() -> None:
    assert {stage(path) for path in LIBRARY} >= {"config", "harmonics", "models", "training"}
