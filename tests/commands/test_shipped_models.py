"""The models that come with the repository: all there, small, of the devices as they are, and aliasing audibly."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import SHIPPED_BYTES, SHIPPED_ESR_DB

import weights_import
from jaxalias import evaluation
from jaxalias.commands import measuring, reading
from jaxalias.pretraining import devices
from jaxalias.signals import playing

FOLDER = reading.SHIPPED_MODELS
NAMES = ["distortion_lstm-40.json", "distortion_nam-feather.nam", "fuzz_lstm-40.json", "fuzz_nam-feather.nam"]
each_model = pytest.mark.parametrize("name", NAMES)


class EverySixth(evaluation.SineSet):
    """Every sixth semitone of the sine set, from 27.5 Hz to 3.5 kHz."""

    def f0_hz(self) -> np.ndarray:
        return super().f0_hz()[::6]


def candidate(path: Path) -> tuple[evaluation.Candidate, int]:
    file = weights_import.load(path)
    return measuring.candidate_of(file, file.network, "teacher"), file.sample_rate


def test_all_are_there_and_small() -> None:
    files = [path for path in FOLDER.iterdir() if not path.name.startswith(".")]
    assert sorted(path.name for path in files) == sorted(NAMES)
    assert sum(path.stat().st_size for path in files) < SHIPPED_BYTES
    assert reading.SHIPPED_MODEL in files


@each_model
def test_it_aliases_audibly(name: str) -> None:
    model, sample_rate = candidate(FOLDER / name)
    record = evaluation.evaluate([model], sample_rate, EverySixth())
    assert record["models"][0]["metrics"]["NMR-S"] > 0


@pytest.mark.slow
@each_model
def test_it_is_a_model_of_the_device_as_it_is(name: str) -> None:
    """On a signal that it was not trained on. Whoever changes a circuit has to train its models again."""
    model, sample_rate = candidate(FOLDER / name)
    x = playing.make(10.0, sample_rate, seed=1)[None, : sample_rate // 4]
    wanted = devices.DEVICES[name.partition("_")[0]](x, sample_rate)
    found = np.asarray(model.play(jnp.asarray(x)))
    error, signal = (np.sum(y[:, sample_rate // 10 :] ** 2) for y in (found - wanted, wanted))
    assert 10 * np.log10(error / signal) < SHIPPED_ESR_DB
