"""Filters, frames, and the terms of the loss, each against its definition."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal
import tolerances

from jaxalias.config import ESRConfig, LossConfig, LowpassConfig, NMRConfig
from jaxalias.losses import nmr, terms
from jaxalias.signals import dsp, periodic_tones, sines

RNG = np.random.default_rng(0)
TARGET = RNG.normal(size=(3, 2500)) * [[0.01], [0.1], [1.0]]
ESTIMATE = TARGET + RNG.normal(size=(3, 2500)) * [[0.01], [0.01], [0.2]] + 0.003
RATIOS = np.array([1e-4, 0.03, 20.0])
FLAT = np.ones(1)  # the taps of no filter


def test_pitches_and_levels() -> None:
    np.testing.assert_allclose(dsp.midi_to_hz(np.array([21, 69, 81, 127])), [27.5, 440, 880, 12543.8539514], rtol=1e-10)
    np.testing.assert_allclose(dsp.db_to_amplitude(np.array([-20.0, 0.0, 6.0])), [0.1, 1, 1.99526231], rtol=1e-8)
    assert dsp.power_to_db(dsp.db_to_amplitude(-7.0) ** 2) == pytest.approx(-7, abs=1e-12)
    assert dsp.power_to_db(0.0) is None
    for nothing in (np.nan, np.inf, -1.0):
        with pytest.raises(ValueError, match="finite and not negative"):
            dsp.power_to_db(nothing)


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
        terms.of_tones(LossConfig(lowpass=LowpassConfig(pass_hz=pass_hz, stop_hz=stop_hz)), rate)


@pytest.mark.parametrize("device", ["cpu", jax.devices()[0]], ids=["name", "device"])
def test_the_platform_is_that_of_the_default_device(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a GPU can be told to compute on its CPU."""
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert (dsp.platform(), dsp.on_cpu()) == ("gpu", False)
    with jax.default_device(device):
        assert (dsp.platform(), dsp.on_cpu()) == ("cpu", True)
    assert dsp.platform() == "gpu"


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


def measured(term: terms.Term, estimate: Any, target: Any, about: Any = ()) -> Any:
    return term.measure(jnp.asarray(estimate), jnp.asarray(target), about)


def values(found: tuple[terms.Term, ...], estimate: Any, target: Any, about: Any = ()) -> dict[str, float]:
    """By name; under "loss" their sum."""
    each = {term.name: term.reduce(measured(term, estimate, target, about)) for term in found}
    return {name: float(value) for name, value in (each | {"loss": terms.total(found, each)}).items()}


def of_frames(estimate: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The NMR of every STFT frame by itself, (b, n)."""
    starts = range(0, target.shape[1] - nmr.FRAME + 1, nmr.HOP)
    cuts = [[jnp.asarray(s[:, i : i + nmr.FRAME]) for s in (estimate, target)] for i in starts]
    return np.stack([nmr.nmr(*cut, 44_100) for cut in cuts], axis=1)


def filtered(taps: np.ndarray) -> list[np.ndarray]:
    return [np.array([np.convolve(row, taps, "same") for row in signals]) for signals in (ESTIMATE, TARGET)]


def test_reductions() -> None:
    wanted = {
        "mean_of_ratios": RATIOS.mean(),
        "geometric": 10 ** (np.mean(10 * np.log10(RATIOS)) / 10),
        "soft_hinge": np.mean(np.log(1 + RATIOS / 0.03)),
        "pseudo_huber": np.mean((1 + RATIOS / 0.03) ** 0.5 - 1),
    }
    for name, value in wanted.items():
        knee = 0.03 if name in ("soft_hinge", "pseudo_huber") else None
        np.testing.assert_allclose(terms.reduce(jnp.asarray(RATIOS), name, knee), value, rtol=tolerances.F64)


def test_reductions_of_frames() -> None:
    """Every frame counts by itself, but for the geometric mean, which is that of rows."""
    ratios = RATIOS[:, None] * np.array([1.0, 0.5, 3.0, 7.0])
    for name, knee in (("mean_of_ratios", None), ("soft_hinge", 0.03), ("pseudo_huber", 0.03)):
        one_by_one = [float(terms.reduce(jnp.asarray([ratio]), name, knee)) for ratio in ratios.ravel()]
        found = terms.reduce(jnp.asarray(ratios), name, knee)
        np.testing.assert_allclose(found, np.mean(one_by_one), rtol=tolerances.F64)
    of_rows = terms.reduce(jnp.asarray(ratios.mean(axis=1)), "geometric")
    np.testing.assert_allclose(terms.reduce(jnp.asarray(ratios), "geometric"), of_rows, rtol=tolerances.F64)


@pytest.mark.parametrize("reduction", ["soft_hinge", "pseudo_huber"])
def test_a_reduction_with_a_knee_needs_one(reduction: str) -> None:
    with pytest.raises(ValueError, match="knee must be given for soft_hinge and pseudo_huber"):
        terms.reduce(jnp.asarray(RATIOS), reduction)
    with pytest.raises(ValueError, match=r"reduction must be mean_of_ratios, .* got 'ratio_of_sums'"):
        terms.reduce(jnp.asarray(RATIOS), "ratio_of_sums")


def test_esr_and_dc_are_their_definitions() -> None:
    error, power = np.sum((TARGET - ESTIMATE) ** 2, axis=1), np.sum(TARGET**2, axis=1)
    wanted = {"ratio_of_sums": error.sum() / power.sum(), "mean_of_ratios": np.mean(error / power)}
    wanted["geometric"] = np.exp(np.mean(np.log(error / power)))
    for name, value in wanted.items():
        term = terms.esr(ESRConfig(reduction=name), FLAT)
        found = term.reduce(measured(term, ESTIMATE, TARGET))
        np.testing.assert_allclose(found, value, rtol=tolerances.SILENCE_RELATIVE)
    offsets = np.mean(np.mean(TARGET - ESTIMATE, axis=1) ** 2)
    term = terms.dc(1.0, FLAT)
    wanted_dc = offsets / np.mean(TARGET**2)
    np.testing.assert_allclose(
        term.reduce(measured(term, ESTIMATE, TARGET)), wanted_dc, rtol=tolerances.SILENCE_RELATIVE
    )


def test_the_loss_is_the_weighted_sum_of_named_terms_behind_the_lowpass() -> None:
    config = LossConfig(
        esr=ESRConfig(weight=0.7, reduction="ratio_of_sums"),
        nmr=NMRConfig(weight=0.2, reduction="soft_hinge", knee=0.5),
        dc_weight=3.0,
    )
    found = values(terms.of_tones(config, 44_100), ESTIMATE, TARGET)
    estimate, target = filtered(dsp.lowpass_taps(44_100))
    ratio, offset = terms.esr(config.esr, FLAT), terms.dc(3.0, FLAT)
    wanted = {
        "ESR": ratio.reduce(measured(ratio, estimate, target)),
        "NMR": np.mean(np.log(1 + of_frames(estimate, target) / 0.5)),
        "DC": offset.reduce(measured(offset, estimate, target)),
    }
    assert found.keys() == wanted.keys() | {"loss"}
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=tolerances.F64_TRANSFORM, err_msg=name)
    total = 0.7 * found["ESR"] + 0.2 * found["NMR"] + 3 * found["DC"]
    np.testing.assert_allclose(found["loss"], total, rtol=tolerances.F64)


def test_weights_may_come_from_outside() -> None:
    """Students in one program have weights of their own."""
    found = terms.of_tones(LossConfig(), 44_100)
    each = {"ESR": jnp.array(2.0), "NMR": jnp.array(5.0)}
    assert terms.total(found, each) == 7
    assert terms.total(found, each, {"ESR": 0.5, "NMR": jnp.array(3.0)}) == 16


def test_of_the_terms_without_weight_those_stay_that_are_read() -> None:
    """ESR and NMR are in every record; an offset that does not count costs nothing."""
    without = LossConfig(esr=ESRConfig(weight=0.0), nmr=NMRConfig(weight=1.0))
    assert [(term.name, term.weight) for term in terms.of_tones(without, 44_100)] == [("ESR", 0.0), ("NMR", 1.0)]
    every = LossConfig(dc_weight=2.0, aliases=NMRConfig(weight=0.3))
    names = [(term.name, term.weight) for term in terms.of_periodic_tones(every, 44_100)]
    assert names == [("ESR", 1.0), ("NMR", 1.0), ("DC", 2.0), ("aliases", 0.3)]
    names = [term.name for term in terms.of_music(LossConfig(), 44_100, "starts")]
    assert names == ["starts ESR", "starts NMR"]


def test_a_perfect_match_costs_nothing_and_silence_divides_nothing_by_zero() -> None:
    found = terms.of_tones(LossConfig(dc_weight=1.0), 48_000)
    assert values(found, TARGET, TARGET) == {"ESR": 0, "NMR": 0, "DC": 0, "loss": 0}
    silence = np.zeros((1, 2048))
    assert values(found, silence, silence)["loss"] == 0
    assert np.isfinite(values(found, TARGET, np.zeros_like(TARGET))["loss"])


@pytest.mark.parametrize("build", [terms.of_tones, terms.of_periodic_tones, partial(terms.of_music, name="music")])
def test_gradients_are_finite_at_a_perfect_match_and_at_silence(build: Callable) -> None:
    config = LossConfig(
        esr=ESRConfig(reduction="geometric"), nmr=NMRConfig(reduction="geometric"),
        aliases=NMRConfig() if build is terms.of_periodic_tones else None,
    )  # fmt: skip
    about: Any = periodic_tones.Cycle(*np.array([[2039, 2039], [7, 100]]))
    if build not in (terms.of_tones, terms.of_periodic_tones):
        about = jnp.array([0.1, 0.0])
    found = build(config, 44_100)
    target = jnp.asarray(np.stack([TARGET[1], np.zeros(2500)]))

    def loss(estimate: jax.Array) -> jax.Array:
        each = {term.name: term.reduce(term.measure(estimate, target, about)) for term in found}
        return terms.total(found, each)

    assert np.isfinite(jax.grad(loss)(target)).all()


def test_an_error_above_the_lowpass_is_asked_of_the_student_only_without_one() -> None:
    n = np.arange(4096)
    target = 0.5 * np.sin(2 * np.pi * 1000 * n / 44_100)
    fade = np.hanning(n.size)  # no click at the edges, which would lie in the pass band
    inside, above = (0.1 * fade * np.sin(2 * np.pi * f * n / 44_100) for f in (11_000, 17_000))

    def esr(lowpass: LowpassConfig | None, error: np.ndarray) -> float:
        return values(terms.of_tones(LossConfig(lowpass=lowpass), 44_100), [target + error], [target])["ESR"]

    heard = esr(LowpassConfig(), inside)
    assert heard > 0.01
    assert esr(LowpassConfig(), above) < 1e-7 * heard
    for error in (inside, above):
        np.testing.assert_allclose(
            esr(None, error), np.sum(error**2) / np.sum(target**2), rtol=tolerances.F64_TRANSFORM
        )


def test_emphasis_and_hinge_are_their_formulas() -> None:
    config = LossConfig(esr=ESRConfig(reduction="soft_hinge", knee=0.02), emphasis="a_weighting")
    found = values(terms.of_tones(config, 44_100), ESTIMATE, TARGET)
    estimate, target = filtered(np.convolve(dsp.lowpass_taps(44_100), dsp.a_weighting_taps(44_100)))
    ratios = np.sum((target - estimate) ** 2, axis=1) / np.sum(target**2, axis=1)
    np.testing.assert_allclose(found["ESR"], np.mean(np.log1p(ratios / 0.02)), rtol=tolerances.SILENCE_RELATIVE)
    np.testing.assert_allclose(found["NMR"], of_frames(estimate, target).mean(), rtol=tolerances.F64_TRANSFORM)


def test_music_is_measured_against_the_power_that_is_given() -> None:
    """In a rest the error counts by what it is beside the music."""
    config, power = LossConfig(lowpass=None), jnp.array([0.5, 0.5, 0.1])
    target = TARGET * [[0.0], [1.0], [1.0]]
    found = values(terms.of_music(config, 44_100, "music"), ESTIMATE, target, power)
    error = np.mean((ESTIMATE - target) ** 2, axis=1)
    np.testing.assert_allclose(found["music ESR"], np.mean(error / np.array(power)), rtol=tolerances.F64_TRANSFORM)
    own = values(terms.of_tones(config, 44_100), ESTIMATE, target)
    assert found["music NMR"] == own["NMR"]
    assert own["ESR"] > 1e6 * found["music ESR"]


def test_phase_counts_only_where_it_is_said() -> None:
    """A tone upside down has the same magnitudes; its error is that of a tone twice as loud."""
    free, counted = (terms.nmr_of_error(NMRConfig(phase=phase), FLAT, 44_100) for phase in ("free", "counts"))
    n = np.arange(4096) / 44_100
    tone = 0.1 * np.sin(2 * np.pi * np.array([[440.0], [3000.0]]) * n)
    np.testing.assert_allclose(measured(free, -tone, tone), 0, atol=tolerances.F64)
    np.testing.assert_allclose(measured(counted, -tone, tone), measured(free, 3 * tone, tone), rtol=tolerances.F64)


def repeating_tones(count: int) -> tuple[sines.Tones, periodic_tones.Cycle]:
    key = jax.random.key(0)
    tones = sines.draw(key, count, midi_low=70.0, midi_high=90.0, sample_rate=44_100, dtype="float64")
    return periodic_tones.repeating(key, tones, 2048)


def test_aliases_alone_do_not_count_what_is_harmonic() -> None:
    """A changed harmonic is error, not alias; an alias is both."""
    tones, cycle = repeating_tones(6)
    found = {term.name: term for term in terms.of_periodic_tones(LossConfig(aliases=NMRConfig()), 44_100)}
    x = sines.render(tones, 2048)
    clipped = x + 0.1 * jnp.sign(x)
    changed, aliased = (
        {name: np.asarray(measured(term, *pair, cycle)) for name, term in found.items()}
        for pair in ((0.8 * x, x), (clipped, periodic_tones.harmonic_part(clipped, cycle)))
    )
    assert (changed["aliases"] < 1e-12).all() and (changed["ESR"] > 0.03).all() and (changed["NMR"] > 1e-3).all()
    assert (aliased["aliases"] > 1e-3).all() and (aliased["NMR"] > 1e-3).all()


def test_residuals_are_what_a_measure_is_made_of() -> None:
    """Their squares add up to it, row by row and frame by frame."""
    tones, cycle = repeating_tones(3)
    x = sines.render(tones, 4096)
    for term in terms.of_periodic_tones(LossConfig(aliases=NMRConfig()), 44_100):
        assert term.residuals is not None
        r = np.asarray(term.residuals(0.8 * x + 0.01 * jnp.sign(x), x, cycle))
        assert r.shape[:-1] == {"ESR": (3,)}.get(term.name, (3, 3))  # three STFT frames
        wanted = np.sum(np.abs(r) ** 2, axis=-1)
        np.testing.assert_allclose(measured(term, 0.8 * x + 0.01 * jnp.sign(x), x, cycle), wanted, rtol=tolerances.F64)
    with_phase = terms.nmr_of_error(NMRConfig(phase="counts"), FLAT, 44_100)
    assert with_phase.residuals is not None
    wanted = np.sum(np.abs(with_phase.residuals(0.8 * x, x, ())) ** 2, axis=-1)
    np.testing.assert_allclose(measured(with_phase, 0.8 * x, x), wanted, rtol=tolerances.F64)
    sums = terms.of_tones(LossConfig(esr=ESRConfig(reduction="ratio_of_sums"), dc_weight=1.0), 44_100)
    assert [term.name for term in sums if term.residuals is None] == ["ESR", "DC"]
