"""Measuring beside an accelerator that has no double precision, which the second CPU device stands for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalias import models
from jaxalias.config import LSTMConfig
from jaxalias.evaluation import Candidate, SineSet, evaluate, host, player
from jaxalias.evaluation import audio_set as clips

RATE = 16_000
SINES = SineSet((60, 61), (-6.0,))


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> jax.Device:
    """The first device "cannot" measure; the "host's CPU" is the second."""
    first, second = jax.local_devices()[:2]
    monkeypatch.setattr(host, "can_measure", lambda device: device != first)
    monkeypatch.setattr(host, "measuring_device", lambda: second)
    return second


def test_a_device_that_can_is_the_one_that_measures() -> None:
    assert host.can_measure(jax.local_devices()[0])
    assert host.measuring_device() == jax.local_devices()[0]
    with host.double_precision():
        assert jnp.fft.rfft(jnp.ones(8)).dtype == jnp.complex128


def test_one_that_cannot_hands_over_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "can_measure", lambda device: False)
    assert host.measuring_device().platform == "cpu"


def test_without_a_cpu_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    first = jax.local_devices()[0]

    def devices(backend: str | None = None) -> list:
        if backend == "cpu":
            raise RuntimeError("Unknown backend cpu")
        return [first]

    monkeypatch.setattr(host, "can_measure", lambda device: False)
    monkeypatch.setattr(jax, "local_devices", devices)
    with pytest.raises(RuntimeError, match="JAX_PLATFORMS=tpu,cpu"):
        host.measuring_device()


def test_what_models_played_is_analysed_there_to_the_same_figures(beside: jax.Device) -> None:
    seen = set()

    def play(x: jnp.ndarray) -> jnp.ndarray:
        y = jnp.tanh(5 * jnp.asarray(x))
        seen.update(y.devices())
        return y

    candidate = Candidate("a", "teacher", play)
    there = evaluate([candidate], RATE, SINES)["models"][0]["per_tone"]
    clips.perform([candidate], clips.Clip("riff", np.ones(10)))
    assert seen == {beside}
    here = evaluate.__wrapped__([candidate], RATE, SINES)["models"][0]["per_tone"]
    np.testing.assert_allclose(there["NMR-S"], here["NMR-S"])


def test_a_model_runs_where_it_did_and_its_output_goes_there(beside: jax.Device) -> None:
    model = models.build(LSTMConfig(hidden_size=2))
    params = model.init(jax.random.key(0))
    with host.double_precision():
        y = player(model, params)(jnp.ones((1, 50)))
    assert y.devices() == {beside} and y.dtype == jnp.float64
