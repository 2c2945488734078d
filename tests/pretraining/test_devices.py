"""Virtual devices: against an independent solver, linear theory, and their own promise of no aliases."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from tolerances import DEVICE_ALIAS_DB, DEVICE_INTEGRATION, DEVICE_SMALL_SIGNAL_DB, NEWTON_LEFT

from jaxalias.losses import nmr
from jaxalias.pretraining import devices
from jaxalias.pretraining.devices import circuit, distortion, fuzz, simulation
from jaxalias.signals import playing

RATE = 44_100
CIRCUITS = {"distortion": distortion.CIRCUIT, "fuzz": fuzz.CIRCUIT}
each_circuit = pytest.mark.parametrize("name", CIRCUITS)


def slope(c: circuit.Equations, v: np.ndarray) -> np.ndarray:
    """d (P e(Q v)) / d v."""
    return c.injection * (c.saturation_a * np.exp(c.junctions @ v / c.thermal_v) / c.thermal_v) @ c.junctions


@each_circuit
def test_integration_agrees_with_radau_at_tight_tolerances(name: str) -> None:
    device = CIRCUITS[name]
    c, rest = circuit.equations(device), circuit.operating_point(device)
    rate, inverse = simulation.OVERSAMPLING * RATE, np.linalg.inv(c.capacitance)
    time = np.arange(rate // 1000) / rate  # 1 ms

    def played(t: np.ndarray) -> np.ndarray:  # loud, two tones, no jump at the start
        return 0.5 * np.sin(2 * np.pi * 1009 * t) ** 2 * np.sin(2 * np.pi * 3001 * t)

    def change(t: float, v: np.ndarray) -> np.ndarray:
        current = c.injection @ (c.saturation_a * np.expm1(c.junctions @ v / c.thermal_v))
        return inverse @ (c.constant + c.drive * device.input_v * played(t) - c.conductance @ v - current)

    def jacobian(t: float, v: np.ndarray) -> np.ndarray:
        return -inverse @ (c.conductance + slope(c, v))

    exact = scipy.integrate.solve_ivp(
        change, (0, time[-1]), rest, method="Radau", t_eval=time, jac=jacobian, rtol=1e-9, atol=1e-12
    )
    wanted = c.output @ exact.y * device.output_per_v
    _, y = simulation._stepper(device, rate)(simulation._at_rest(device, 1), jnp.asarray(played(time))[:, None])
    assert np.max(np.abs(wanted)) > 0.2
    assert np.max(np.abs(np.asarray(y)[:, 0] - wanted)) < DEVICE_INTEGRATION


@each_circuit
def test_newton_steps_are_enough(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    device = CIRCUITS[name]
    time = np.arange(256) / RATE
    x = np.stack([np.sin(2 * np.pi * f * time) for f in (100.0, 997.0, 11_003.0)])
    y = simulation.play(device, x, RATE)
    monkeypatch.setattr(simulation, "NEWTON_STEPS", 4 * simulation.NEWTON_STEPS)
    more = simulation.play(dataclasses.replace(device), x, RATE)  # another object: compiled anew
    assert np.max(np.abs(more - y)) < NEWTON_LEFT


@each_circuit
def test_at_rest_no_current_flows_into_any_node(name: str) -> None:
    device = CIRCUITS[name]
    c, v = circuit.equations(device), circuit.operating_point(device)
    current = c.injection @ (c.saturation_a * np.expm1(c.junctions @ v / c.thermal_v))
    assert np.max(np.abs(c.conductance @ v + current - c.constant)) < 1e-12  # ampere, of 1e-4 that flow
    assert np.max(np.abs(simulation.play(device, np.zeros((1, 2000)), RATE))) < 1e-9


def test_operating_point_of_the_fuzz_is_that_of_the_textbook() -> None:
    """Bias by collector feedback: the divider's current and the base's flow through R feedback, V_BE of 0.6 V."""
    v = dict(zip(circuit.nodes(fuzz.CIRCUIT), circuit.operating_point(fuzz.CIRCUIT), strict=True))
    emitter_current = v["emitter"] / 150
    base_current = emitter_current / 301
    assert 0.5 < v["base"] - v["emitter"] < 0.7
    assert v["collector"] == pytest.approx(v["base"] + 470e3 * (v["base"] / 100e3 + base_current), rel=1e-3)
    assert 9 - v["collector"] == pytest.approx(12e3 * (emitter_current + v["base"] / 100e3), rel=1e-3)


@each_circuit
def test_small_signals_pass_as_through_the_linearised_circuit(name: str) -> None:
    """Gain at four frequencies against (j w C + G + P e'(v0) Q)^-1 b at the operating point."""
    device = CIRCUITS[name]
    c, rest = circuit.equations(device), circuit.operating_point(device)
    f_hz = np.array([100, 1000, 5000, 12_000])
    time = np.arange(RATE // 5)
    tone = np.exp(-2j * np.pi * f_hz[:, None] * time / RATE)
    y = simulation.play(device, 1e-5 * -tone.imag, RATE)
    last = RATE // 20  # whole periods of each
    gain = np.abs(np.mean(2 * y[:, -last:] * tone[:, -last:], axis=1)) / 1e-5
    at = [2j * np.pi * f * c.capacitance + c.conductance + slope(c, rest) for f in f_hz]
    wanted = [np.abs(c.output @ np.linalg.solve(a, c.drive)) * device.input_v * abs(device.output_per_v) for a in at]
    np.testing.assert_allclose(20 * np.log10(gain), 20 * np.log10(wanted), atol=DEVICE_SMALL_SIGNAL_DB)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rate"), [("fuzz", 48_000), ("distortion", 44_100)])  # of both rates the worse
def test_output_has_no_aliases_up_to_12_khz(name: str, rate: int) -> None:
    """NMR-S at -6 dB, whole periods of each tone in a quarter second: its FFT tells harmonics from all else exactly."""
    periods = np.array([41, 443, 1249, 1783, 2797, 2999])  # prime; times 4 Hz
    analysed, settling = rate // 4, rate // 5
    phase = periods[:, None] * np.arange(-settling, analysed) % analysed / analysed
    y = devices.DEVICES[name](0.5 * np.sin(2 * np.pi * phase), rate)[:, settling:]
    spectrum = np.fft.rfft(y)
    harmonic = np.arange(spectrum.shape[1]) % periods[:, None] == 0
    clean = np.fft.irfft(np.where(harmonic, spectrum, 0), analysed)
    overtones = np.sum(np.abs(spectrum[1, 2 * periods[1] :]) ** 2) / np.abs(spectrum[1, periods[1]]) ** 2
    assert overtones > 0.02, "a device that hardly distorts proves nothing"
    heard = 10 * np.log10(np.asarray(nmr.nmr(jnp.asarray(y), jnp.asarray(clean), rate)))
    assert np.max(heard) < DEVICE_ALIAS_DB, dict(zip(4 * periods, heard, strict=True))


def test_a_long_signal_in_pieces_is_the_signal_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    x = playing.make(0.4, RATE, seed=1)[None]
    whole = simulation.play(distortion.CIRCUIT, x, RATE)
    monkeypatch.setattr(simulation, "LANES", 4)
    monkeypatch.setattr(simulation, "LEAD_IN_S", 0.08)
    pieces = simulation.play(distortion.CIRCUIT, x, RATE)
    assert np.max(np.abs(pieces - whole)) < 1e-4  # what resampling takes for zeros before a piece


def test_training_signal_is_the_seeds_and_whole() -> None:
    x = playing.make(25.0, 48_000, seed=3)
    assert len(x) == 25 * 48_000 and 0.5 < np.max(np.abs(x)) <= playing.PEAK
    np.testing.assert_array_equal(x, playing.make(25.0, 48_000, seed=3))
    assert np.max(np.abs(x - playing.make(25.0, 48_000, seed=4))) > 0.1
    power = np.mean(np.abs(np.fft.rfft(x[: 24 * 48_000].reshape(-1, 48_000))) ** 2, axis=0)
    assert np.all(power[[60, 200, 1000, 5000, 15_000]] > 0)
