"""Harmonics measured once at phase 0 and turned are those that the teacher gives at the other phase."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances
from scipy import stats

from jaxalias import models
from jaxalias.config import LayerArrayConfig, LSTMConfig, WaveNetConfig
from jaxalias.signals import phase, sines
from jaxalias.targets import harmonics, harmonics_table, teacher

RATE, SETTLING, ANALYSED = 44_100, 4_410, 8_820  # a fifth of a second: a main lobe of some 20 Hz to each side
LOWEST = 60.0
NUMBER = harmonics.highest_number(261.6, RATE)
LSTM = LSTMConfig(hidden_size=4)
WAVENET = WaveNetConfig(
    layer_arrays=(
        LayerArrayConfig(input_size=1, head_size=1, channels=4, kernel_size=3, dilations=(1, 4), activation="Tanh"),
    ),
    head_scale=1.0,
)


def draw_tones(count: int, dtype: str, seed: int = 0) -> sines.Tones:
    key = jax.random.key(seed)
    return sines.draw(key, count, midi_low=LOWEST, midi_high=127.0, sample_rate=RATE, dtype=dtype)


def teacher_of(kind: LSTMConfig | WaveNetConfig, dtype: str) -> Any:
    """A driven model: tones -> harmonics of its settled answers."""
    model, random = models.build(kind), np.random.default_rng(5)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda a: jnp.asarray(random.uniform(-1, 1, a.shape), dtype), shapes)
    return partial(
        jax.jit(partial(teacher.analyse, model, settling=SETTLING, analysed=ANALYSED, number=NUMBER)), params
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_turned_harmonics_are_a_waveform_begun_elsewhere(dtype: str) -> None:
    f0, start, samples = np.array([27.5, 440.1, 9_000.0]), np.array([0.31, 0.77, 0.5]), 500
    number = harmonics.highest_number(27.5, RATE)
    m = np.arange(1, number + 1)
    random = np.random.default_rng(0)
    c = (m * f0[:, None] < RATE / 2) * (random.normal(size=(3, number)) + 1j * random.normal(size=(3, number))) / m**1.5
    angle = 2 * np.pi * m[:, None] * (f0[:, None, None] / RATE * np.arange(samples) + start[:, None, None])
    expected = 0.2 + 2 * np.sum((c[:, :, None] * np.exp(1j * angle)).real, axis=1)
    before = harmonics.Harmonics(jnp.asarray(c, np.result_type(dtype, np.complex64)), jnp.full(3, 0.2, dtype))
    turned = harmonics.turn(before, phase.exact(start))
    assert turned.coefficients.dtype == before.coefficients.dtype
    y = harmonics.resynthesise(turned, phase.exact(f0 / RATE), samples)
    tolerance = tolerances.F64_TRANSFORM if dtype == "float64" else tolerances.F32_RESYNTHESIS
    np.testing.assert_allclose(y, expected, atol=tolerance)


def answer_by_formula(tones: sines.Tones) -> harmonics.Harmonics:
    """In place of a teacher: other numbers for every tone and harmonic, turned as the tone is."""
    assert tones.amplitude.shape == (4,), "batches of one size: one compilation"
    below = harmonics.below_nyquist(tones.increment, NUMBER)
    at_zero = harmonics.Harmonics(below * (tones.amplitude[:, None] + 1j * np.arange(NUMBER)), tones.amplitude)
    return harmonics.turn(at_zero, tones.phase)


def test_a_table_holds_the_answers_at_phase_0_and_nothing_above_nyquist() -> None:
    tones = draw_tones(11, "float64")  # 11: the last of three batches is not full
    table, left_out = harmonics_table.measure(answer_by_formula, tones, batch=4)
    assert left_out == 0
    counts = np.ceil(0.5 / phase.to_ratio(tones.increment)).astype(int) - 1
    amplitudes = np.asarray(tones.amplitude)
    rows = [amplitude + 1j * np.arange(count) for amplitude, count in zip(amplitudes, counts, strict=True)]
    np.testing.assert_array_equal(table.coefficients, np.concatenate(rows))
    np.testing.assert_array_equal(table.first, np.cumsum(counts) - counts)
    np.testing.assert_array_equal(table.offset, amplitudes)


@pytest.mark.parametrize("what", ["coefficients", "offset"])
def test_a_tone_with_two_answers_is_left_out(what: str) -> None:
    tones = draw_tones(8, "float64")
    loud = tones.amplitude > np.sort(tones.amplitude)[-4]  # three of eight

    def wavering(heard: sines.Tones) -> harmonics.Harmonics:
        answer = answer_by_formula(heard)
        other = (heard.phase.high != 0) & (heard.amplitude > np.min(tones.amplitude[loud]) - 1e-9)
        value = getattr(answer, what)
        return answer._replace(**{what: jnp.where(other.reshape(-1, *(1,) * (value.ndim - 1)), value + 100, value)})

    table, left_out = harmonics_table.measure(wavering, tones, batch=4)
    assert left_out == 3
    assert table.amplitude.shape == (8,)
    assert set(np.asarray(table.amplitude)) == set(np.asarray(tones.amplitude[~loud]))
    offset_of = dict(zip(np.asarray(table.amplitude).tolist(), np.asarray(table.offset).tolist(), strict=True))
    assert all(amplitude == offset for amplitude, offset in offset_of.items())  # each its own row
    with pytest.raises(ValueError, match="more than one settled answer to 8 of 8 tones; train it without a table"):
        harmonics_table.measure(lambda heard: wavering(heard._replace(amplitude=heard.amplitude + 1)), tones, batch=4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [LSTM, WAVENET], ids=lambda kind: kind.kind)
def test_targets_of_the_table_are_the_teachers_at_any_phase(kind: LSTMConfig | WaveNetConfig, dtype: str) -> None:
    analyse = teacher_of(kind, dtype)
    table, _ = harmonics_table.measure(analyse, draw_tones(12, dtype), batch=12)
    tones, turned = harmonics_table.draw(jax.random.key(1), table, 12, number=NUMBER)
    direct, ours = (harmonics.resynthesise(h, tones.increment, ANALYSED) for h in (analyse(tones), turned))
    assert ours.dtype == dtype
    np.testing.assert_allclose(ours, direct, atol=tolerances.SIDE_LOBES)


def test_draws_are_even_over_the_tones_and_the_phases() -> None:
    table, _ = harmonics_table.measure(answer_by_formula, draw_tones(8, "float64"), batch=4)
    tones, _ = harmonics_table.draw(jax.random.key(2), table, 4_000, number=NUMBER)
    amplitude, drawn = np.unique(tones.amplitude, return_counts=True)
    np.testing.assert_array_equal(amplitude, np.sort(table.amplitude))
    assert stats.chisquare(drawn).pvalue > tolerances.UNLIKELY
    pitch_of = dict(zip(table.amplitude.tolist(), phase.to_ratio(table.increment), strict=True))
    np.testing.assert_array_equal(phase.to_ratio(tones.increment), [pitch_of[a] for a in tones.amplitude.tolist()])
    starts = phase.to_ratio(tones.phase)
    assert stats.kstest(starts, "uniform").pvalue > tolerances.UNLIKELY
    assert stats.pearsonr(starts, tones.amplitude).pvalue > tolerances.UNLIKELY
