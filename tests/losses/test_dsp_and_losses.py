"""Filters, frames, and the terms of the loss, each against its definition."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import tolerances

from jaxalias import losses
from jaxalias.config import ESRConfig, HarmonicConfig, LossConfig, LowpassConfig, NMRConfig
from jaxalias.losses.nmr import nmr
from jaxalias.signals import dsp, periodic_tones, phase, sines

RNG = np.random.default_rng(0)
TARGET = RNG.normal(size=(3, 2500)) * [[0.01], [0.1], [1.0]]
ESTIMATE = TARGET + RNG.normal(size=(3, 2500)) * [[0.01], [0.01], [0.2]] + 0.003
RATIOS = np.array([1e-4, 0.03, 20.0])


def test_pitches_and_levels() -> None:
    np.testing.assert_allclose(dsp.midi_to_hz(np.array([21, 69, 81, 127])), [27.5, 440, 880, 12543.8539514], rtol=1e-10)
    np.testing.assert_allclose(dsp.db_to_amplitude(np.array([-20.0, 0.0, 6.0])), [0.1, 1, 1.99526231], rtol=1e-8)
    assert dsp.power_to_db(dsp.db_to_amplitude(-7.0) ** 2) == pytest.approx(-7, abs=1e-12)
    assert dsp.power_to_db(0.0) is None


def test_side_lobes_of_the_window_are_at_120_db() -> None:
    window = dsp.chebyshev_window(441)
    response = np.abs(np.fft.rfft(window, 2**14)) / window.sum()
    assert window.max() == 1
    assert 5e-7 < response[400:].max() < 2e-6  # 1e-6 but for the sample that a periodic window leaves out


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_lowpass_is_flat_to_12_khz_and_80_db_down_from_16_khz(rate: int) -> None:
    taps = dsp.lowpass_taps(rate)
    hz, response = scipy.signal.freqz(taps, worN=2**14, fs=rate)
    assert taps.size % 2 == 1
    np.testing.assert_allclose(taps, taps[::-1], atol=tolerances.F64)  # linear phase
    assert np.abs(np.abs(response[hz <= 12_000]) - 1).max() < tolerances.RIPPLE
    assert np.abs(response[hz >= 16_000]).max() < tolerances.RIPPLE


def test_lowpass_taps_are_the_authors(data_dir: Path) -> None:
    stored = np.load(data_dir / "vectors" / "filters_44100.npz")["lowpass"]
    np.testing.assert_allclose(dsp.lowpass_taps(44_100), stored, rtol=0, atol=tolerances.F64)


@pytest.mark.parametrize("edges", [(12_000, 16_000, 32_000), (12_000, 16_000, 22_050), (9_000, 9_000, 44_100)])
def test_lowpass_edges_out_of_order_or_above_nyquist_are_refused(edges: tuple[int, int, int]) -> None:
    pass_hz, stop_hz, rate = edges
    with pytest.raises(ValueError, match=f"{stop_hz} Hz must be in ascending order and below {rate / 2:g} Hz"):
        losses.build(LossConfig(lowpass=LowpassConfig(pass_hz=pass_hz, stop_hz=stop_hz)), rate)


@pytest.mark.parametrize("taps", [np.array([2.0]), np.array([1.0, 2.0, 5.0]), RNG.normal(size=57)])
def test_filter_is_the_centred_convolution(taps: np.ndarray) -> None:
    x = RNG.normal(size=(2, 80))
    wanted = [np.convolve(row, taps, mode="same") for row in x]
    np.testing.assert_allclose(dsp.filter_same(jnp.asarray(x), taps), wanted, atol=tolerances.F64)


@pytest.mark.parametrize(("samples", "length", "hop"), [(20, 8, 4), (23, 8, 4), (8, 8, 4), (23, 6, 4), (23, 4, 6)])
def test_frames_are_slices(samples: int, length: int, hop: int) -> None:
    x = RNG.normal(size=(2, samples))
    wanted = [x[:, start : start + length] for start in range(0, samples - length + 1, hop)]
    np.testing.assert_array_equal(dsp.frames(jnp.asarray(x), length, hop), np.stack(wanted, axis=1))
    with pytest.raises(ValueError, match=f"{length - 1} samples is shorter than one frame of {length}"):
        dsp.frames(jnp.zeros((1, length - 1)), length, hop)


def no_tones(count: int) -> phase.Turns:
    return phase.exact(np.zeros(count))


def test_reductions() -> None:
    wanted = {
        "mean_of_ratios": RATIOS.mean(),
        "geometric": 10 ** (np.mean(10 * np.log10(RATIOS)) / 10),
        "soft_hinge": np.mean(np.log(1 + RATIOS / 0.03)),
        "pseudo_huber": np.mean((1 + RATIOS / 0.03) ** 0.5 - 1),
    }
    for name, value in wanted.items():
        np.testing.assert_allclose(losses.reduce(jnp.asarray(RATIOS), name, 0.03), value, rtol=tolerances.F64)


def test_esr_and_dc_are_their_definitions() -> None:
    target, estimate = jnp.asarray(TARGET), jnp.asarray(ESTIMATE)
    error, power = np.sum((TARGET - ESTIMATE) ** 2, axis=1), np.sum(TARGET**2, axis=1)
    wanted = {"ratio_of_sums": error.sum() / power.sum(), "mean_of_ratios": np.mean(error / power)}
    wanted["geometric"] = np.exp(np.mean(np.log(error / power)))
    for name, value in wanted.items():
        np.testing.assert_allclose(losses.esr(estimate, target, name), value, rtol=tolerances.SILENCE_RELATIVE)
    offsets = np.mean(np.mean(TARGET - ESTIMATE, axis=1) ** 2)
    wanted_dc = offsets / np.mean(TARGET**2)
    np.testing.assert_allclose(losses.dc(estimate, target), wanted_dc, rtol=tolerances.SILENCE_RELATIVE)


def test_total_is_the_weighted_sum_of_named_terms_behind_the_lowpass() -> None:
    config = LossConfig(
        esr=ESRConfig(weight=0.7, reduction="ratio_of_sums"),
        nmr=NMRConfig(weight=0.2, reduction="soft_hinge", knee=0.5),
        dc_weight=3.0,
    )
    total, terms = losses.build(config, 44_100)(jnp.asarray(ESTIMATE), jnp.asarray(TARGET), no_tones(len(TARGET)))
    taps = dsp.lowpass_taps(44_100)
    estimate, target = (jnp.asarray([np.convolve(x, taps, "same") for x in s]) for s in (ESTIMATE, TARGET))
    wanted = {
        "ESR": losses.esr(estimate, target, "ratio_of_sums"),
        "NMR": losses.reduce(nmr(estimate, target, 44_100), "soft_hinge", 0.5),
        "DC": losses.dc(estimate, target),
    }
    assert terms.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(terms[name], value, rtol=tolerances.F64_TRANSFORM, err_msg=name)
    np.testing.assert_allclose(total, 0.7 * terms["ESR"] + 0.2 * terms["NMR"] + 3 * terms["DC"], rtol=tolerances.F64)


def test_a_perfect_match_costs_nothing_and_silence_divides_nothing_by_zero() -> None:
    loss = losses.build(LossConfig(dc_weight=1.0), 48_000)
    tones = no_tones(len(TARGET))
    total, terms = loss(jnp.asarray(TARGET), jnp.asarray(TARGET), tones)
    assert terms["ESR"] == terms["DC"] == 0
    assert 0 <= total < 1e-9  # the floor of the noise pattern over the mask
    silent, _ = loss(jnp.zeros((1, 2048)), jnp.zeros((1, 2048)), no_tones(1))
    assert 0 <= silent < 1e-9
    assert np.isfinite(loss(jnp.asarray(TARGET), jnp.zeros_like(TARGET), tones)[0])


def test_an_error_above_the_lowpass_is_asked_of_the_student_only_without_one() -> None:
    n = np.arange(4096)
    target = 0.5 * np.sin(2 * np.pi * 1000 * n / 44_100)
    fade = np.hanning(n.size)  # no click at the edges, which would lie in the pass band
    inside, above = (0.1 * fade * np.sin(2 * np.pi * f * n / 44_100) for f in (11_000, 17_000))

    def esr(lowpass: LowpassConfig | None, error: np.ndarray) -> float:
        loss = losses.build(LossConfig(lowpass=lowpass), 44_100)
        return float(loss(jnp.asarray([target + error]), jnp.asarray([target]), no_tones(1))[1]["ESR"])

    heard = esr(LowpassConfig(), inside)
    assert heard > 0.01
    assert esr(LowpassConfig(), above) < 1e-7 * heard
    for error in (inside, above):
        np.testing.assert_allclose(
            esr(None, error), np.sum(error**2) / np.sum(target**2), rtol=tolerances.F64_TRANSFORM
        )


F0_HZ = (100.0, 1234.5)  # of the two tones below: 10 and 123 bins apart


def harmonics_at(levels_db: tuple[float, float], sample_rate: int = 44_100, samples: int = 4410) -> np.ndarray:
    """Two tones with harmonics that fall by 6 dB each; those of odd number changed by the one, of even by the other."""
    n, tones = np.arange(samples), []
    for f0_hz in F0_HZ:
        numbers = np.arange(1, int(12_000 / f0_hz) + 1)
        amplitudes = 0.5**numbers * 10 ** (np.where(numbers % 2, *levels_db) / 20)
        tones.append(amplitudes @ np.sin(2 * np.pi * numbers[:, None] * f0_hz / sample_rate * n + numbers[:, None]))
    return np.array(tones)


def test_harmonic_distance_is_in_bels_and_does_not_see_what_lies_between_or_below() -> None:
    increment = phase.exact(np.array(F0_HZ) / 44_100)
    target = harmonics_at((0.0, 0.0))
    loud = np.random.default_rng(0).standard_normal(target.shape)  # strong in every bin: no floor to be seen
    same = losses.harmonic_distance(jnp.asarray(0.5 * loud), jnp.asarray(loud), increment, -300.0)
    np.testing.assert_allclose(same, np.log10(0.25) ** 2, rtol=1e-3)
    some = losses.harmonic_distance(jnp.asarray(harmonics_at((-3.0, 0.0))), jnp.asarray(target), increment, -40.0)
    numbers = np.arange(1, 121)  # of the first tone; a harmonic under the floor counts little
    power = 0.25 ** (numbers - 1)
    odd = np.log10((power * 10**-0.3 + 1e-4) / (power + 1e-4)) ** 2 * (numbers % 2)
    assert float(some[0]) == pytest.approx(odd.sum() / 220, rel=0.02)  # 220 harmonics up to Nyquist
    between = 0.01 * np.sin(2 * np.pi * 1851.75 / 44_100 * np.arange(4410))  # half way, -34 dB
    aliased = losses.harmonic_distance(jnp.asarray(target + between), jnp.asarray(target), increment, -60.0)
    assert float(aliased[1]) < 1e-6
    music = losses.harmonic_distance(jnp.asarray(0.5 * target), jnp.asarray(target), no_tones(2))
    np.testing.assert_array_equal(music, 0)


def test_options_of_the_loss_are_terms_and_weights() -> None:
    config = LossConfig(
        esr=ESRConfig(weight=1.0, reduction="soft_hinge", knee=0.02),
        nmr=NMRConfig(weight=0.2, ramp=0.5),
        harmonic=HarmonicConfig(weight=0.3),
        emphasis="a_weighting",
    )
    loss = losses.build(config, 44_100)
    increment = phase.exact(np.full(len(TARGET), 0.01))
    total, terms = loss(jnp.asarray(ESTIMATE), jnp.asarray(TARGET), increment)
    taps = np.convolve(dsp.lowpass_taps(44_100), dsp.a_weighting_taps(44_100))
    estimate, target = (np.array([np.convolve(x, taps, "same") for x in s]) for s in (ESTIMATE, TARGET))
    ratios = np.sum((target - estimate) ** 2, axis=1) / np.sum(target**2, axis=1)
    np.testing.assert_allclose(terms["ESR"], np.mean(np.log1p(ratios / 0.02)), rtol=tolerances.SILENCE_RELATIVE)
    harmonic = losses.harmonic_distance(jnp.asarray(estimate), jnp.asarray(target), increment)
    np.testing.assert_allclose(terms["harmonic"], np.mean(harmonic), rtol=tolerances.F64_TRANSFORM)
    assert loss.weights == {"ESR": 1.0, "NMR": 0.2, "DC": 0.0, "harmonic": 0.3}
    np.testing.assert_allclose(total, sum(loss.weights[name] * terms[name] for name in terms), rtol=tolerances.F64)
    factors = [losses.grown(config, jnp.asarray(share)) for share in (0.0, 0.25, 0.5, 1.0)]
    assert [float(each["NMR"]) for each in factors] == [0.0, 0.5, 1.0, 1.0]
    assert all(each["ESR"] == each["harmonic"] == 1 for each in factors)
    assert losses.grown(LossConfig(), jnp.asarray(0.0))["NMR"] == 1


def repeating_tones(count: int) -> tuple[sines.Tones, periodic_tones.Cycle]:
    key = jax.random.key(0)
    tones = sines.draw(key, count, midi_low=70.0, midi_high=90.0, sample_rate=44_100, dtype="float64")
    return periodic_tones.repeating(key, tones, 2048)


def test_aliases_alone_do_not_count_what_is_harmonic() -> None:
    """A changed harmonic is error, not noise; an alias is both."""
    tones, cycle = repeating_tones(6)
    loss = losses.build(LossConfig(nmr=NMRConfig(of="aliases")), 44_100)
    x = sines.render(tones, 2048)
    changed = loss.measure(0.8 * x, x, tones.increment, cycle)
    aliased = loss.measure(x + 0.1 * jnp.sign(x), periodic_tones.harmonic_part(x + 0.1 * jnp.sign(x), cycle),
                           tones.increment, cycle)  # fmt: skip
    assert np.all(np.asarray(changed.nmr) < 1e-12) and np.all(np.asarray(changed.error / changed.power) > 0.03)
    assert np.all(np.asarray(aliased.nmr) > 1e-3)
    residuals, power = loss.residuals(0.8 * x, x, cycle)
    np.testing.assert_allclose(jnp.sum(residuals.error**2, axis=1), changed.error, rtol=tolerances.F64)
    np.testing.assert_allclose(power, changed.power, rtol=tolerances.F64)
    with pytest.raises(ValueError, match="how each tone repeats"):
        loss(x, x, tones.increment)


def test_the_error_of_music_has_no_nmr_where_that_of_tones_alone_is_asked_for() -> None:
    tones, _ = repeating_tones(2)
    x = sines.render(tones, 2048)
    increment = jax.tree.map(lambda turns: turns.at[1].set(0), tones.increment)  # a tone, and a row of music
    arguments = 0.8 * x, x, increment, None, jnp.array([0.0, 0.5])
    every, alone = (losses.build(LossConfig(nmr=NMRConfig(of=of)), 44_100) for of in ("error", "tone_error"))
    wanted, found = every.measure(*arguments), alone.measure(*arguments)
    assert wanted.nmr[1] > 0.01
    np.testing.assert_array_equal(found.nmr, [wanted.nmr[0], 0])
    np.testing.assert_array_equal(found.error, wanted.error)
    slope = jax.grad(lambda s: alone.terms(alone.measure(s, *arguments[1:]))["NMR"])(arguments[0])
    assert np.any(slope[0] != 0) and np.all(slope[1] == 0)


@pytest.mark.parametrize("of", ["error", "tone_error", "aliases"])
def test_an_error_can_be_measured_against_another_power_than_its_targets(of: Any) -> None:
    tones, cycle = repeating_tones(2)
    loss = losses.build(LossConfig(nmr=NMRConfig(of=of)), 44_100)
    x = sines.render(tones, 2048)
    own = loss.measure(0.8 * x, x, tones.increment, cycle)
    given = loss.measure(0.8 * x, x, tones.increment, cycle, jnp.array([0.0, 0.5]))
    np.testing.assert_array_equal(given.power, [own.power[0], 0.5])
    np.testing.assert_array_equal(given.error, own.error)
    np.testing.assert_allclose(loss.terms(given)["ESR"], (own.error[0] / own.power[0] + 2 * own.error[1]) / 2)
