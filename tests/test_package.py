"""What the package says of itself is true: the method in eight lines runs, each folder names its files."""

import re
from pathlib import Path

import jax
import optax
import pytest

import jaxalias
from jaxalias import config, fine_tuning, models
from jaxalias.losses import terms
from jaxalias.signals import sines
from jaxalias.targets import harmonics, teacher

STAGES = sorted(
    set(jaxalias.__all__) - {"models", "fine_tuning", "fine_tune", "FineTuned"}
)  # the files of `models` are the kinds of models and their parts; the others are no folders


def test_the_method_in_eight_lines_changes_every_parameter() -> None:
    found = re.search(r":\n\n((?:    .*\n)+)", jaxalias.__doc__ or "")
    assert found
    lines = [line[4:] for line in found[1].splitlines()]
    assert len(lines) == 8
    model = models.build(config.LSTMConfig(hidden_size=4))
    params = model.init(jax.random.key(0))
    optimiser = optax.adam(1e-3)
    names = {
        "config": config, "harmonics": harmonics, "jax": jax, "terms": terms, "model": model, "optax": optax,
        "optimiser": optimiser, "sines": sines, "teacher": teacher, "key": jax.random.key(1), "fs": 44_100,
        "settling": 2000, "analysed": 4410, "params": params, "student": params, "moments": optimiser.init(params),
    }  # fmt: skip
    exec("\n".join(lines), names)
    after: models.Params = names["student"]  # type: ignore[assignment]
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), params, after)))


def test_the_method_in_one_call_is_at_the_top() -> None:
    assert jaxalias.fine_tune is fine_tuning.fine_tune
    assert jaxalias.FineTuned is fine_tuning.FineTuned


@pytest.mark.parametrize("stage", STAGES)
def test_a_folder_names_its_files(stage: str) -> None:
    package = getattr(jaxalias, stage)
    folder = Path(package.__file__).parent
    files = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert files - {"__init__"} <= set(re.findall(r"`(\w+)`", package.__doc__))


def test_what_the_package_has_not_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="'nonsense'"):
        _ = jaxalias.nonsense
