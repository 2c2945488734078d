"""Some hundred damaged files of every format; ten thousand by `python -m torture.damaged_models` (see there)."""

from pathlib import Path

import pytest
from torture.damaged_models import MEMORY_KIB, SHARES, damaged_model_files, torture

COUNTS = {"NAM": 400, "recurrent": 300, "PyTorch": 200}
REASONS = {"NAM": 60, "recurrent": 40, "PyTorch": 15}
"""Different keys that were named: damage that is always the same would find nothing."""


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHARES)
def test_damaged_files_play_or_are_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    if kind == "PyTorch":
        pytest.importorskip("torch")
    found = torture(COUNTS[kind], 1, tmp_path, [kind])
    assert not found["failures"]
    assert found["refused"] > COUNTS[kind] / 3
    assert found["read"] > COUNTS[kind] / 20
    assert found["reasons"] > REASONS[kind]
    assert found["grown_kib"] < MEMORY_KIB


def test_damage_is_the_same_for_the_same_seed() -> None:
    first, again, other = (list(damaged_model_files(20, seed, ["NAM", "recurrent"])) for seed in (1, 1, 2))
    assert first == again
    assert first != other
