"""Phases are integers, so that a float32 sine is as good after an hour as at its start."""

import json
import subprocess
import sys
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from jaxalias.losses import nmr
from jaxalias.signals import phase, sines

TURN = 2**64  # units
ROUNDING = 2.3e-16  # of one float64
SIZE = 16  # numbers at a time: one shape, so nothing is compiled twice
words = st.lists(st.integers(0, TURN - 1), min_size=SIZE, max_size=SIZE)
factors = st.lists(st.integers(0, 2**32 - 1), min_size=SIZE, max_size=SIZE)


def turns_of(units: list[int]) -> phase.Turns:
    high, low = zip(*(divmod(unit, 2**32) for unit in units), strict=True)
    return phase.Turns(jnp.array(high, jnp.uint32), jnp.array(low, jnp.uint32))


def units_of(turns: phase.Turns) -> list[int]:
    return [(high << 32) + low for high, low in zip(*(np.asarray(word).tolist() for word in turns), strict=True)]


def exact_sines(tones: sines.Tones, n: np.ndarray) -> np.ndarray:
    """The samples in float64, by unsigned 64-bit integers that wrap at one turn."""
    increment, start = (np.array(units_of(t), np.uint64)[:, None] for t in (tones.increment, tones.phase))
    turns = (increment * n.astype(np.uint64) + start).astype(np.float64) / TURN
    return np.asarray(tones.amplitude, np.float64)[:, None] * np.sin(2 * np.pi * turns)


@settings(max_examples=60, deadline=None)
@given(words, factors)
def test_multiply_is_exact(units: list[int], by: list[int]) -> None:
    whole, fraction = phase.multiply(turns_of(units), np.array(by, np.uint32))
    products = [u * f for u, f in zip(units, by, strict=True)]
    assert whole.tolist() == [p // TURN for p in products]
    assert units_of(fraction) == [p % TURN for p in products]


@settings(max_examples=60, deadline=None)
@given(words, words)
def test_add_is_exact(a: list[int], b: list[int]) -> None:
    assert units_of(phase.add(turns_of(a), turns_of(b))) == [(x + y) % TURN for x, y in zip(a, b, strict=True)]


@settings(max_examples=60, deadline=None)
@given(words, st.integers(0, 3))
def test_halves_are_rounded_down(units: list[int], times: int) -> None:
    assert units_of(phase.halve(turns_of(units), times)) == [unit >> times for unit in units]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=SIZE))
@settings(max_examples=60, deadline=None)
def test_exact_rounds_by_less_than_a_unit_and_drops_whole_turns(values: list[float]) -> None:
    for units, value in zip(units_of(phase.exact(np.array(values))), values, strict=True):
        off = (Fraction(units, TURN) - Fraction(value)) % 1
        assert min(off, 1 - off) <= Fraction(1, 2 * TURN)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_from_ratio_keeps_every_bit_that_fits(dtype: type) -> None:
    ratios = np.exp2(np.random.default_rng(0).uniform(-40, 0, 500)).astype(dtype)
    ratios = np.concatenate([ratios, np.array([2.0**-40, 0.5, np.nextafter(dtype(1), dtype(0))], dtype)])
    for units, ratio in zip(units_of(phase.from_ratio(jnp.asarray(ratios))), ratios, strict=True):
        wanted = Fraction(float(ratio)) * TURN
        assert units == (wanted if dtype is np.float32 else int(wanted))


@settings(max_examples=60, deadline=None)
@given(words)
def test_signed_and_to_ratio_are_the_fraction(units: list[int]) -> None:
    wanted = np.array([float(Fraction(u - TURN if 2 * u >= TURN else u, TURN)) for u in units])
    found = phase.signed(turns_of(units), np.float64)
    np.testing.assert_allclose(found, wanted, rtol=ROUNDING, atol=ROUNDING / TURN**0.5)
    np.testing.assert_allclose(phase.signed(turns_of(units), np.float32), wanted, rtol=2e-7, atol=1e-7 / 2**32)
    np.testing.assert_allclose(phase.to_ratio(turns_of(units)), wanted % 1, rtol=ROUNDING)


def test_sine_is_the_formula() -> None:
    f0, amplitude, start = np.array([27.5, 440.0, 12543.85]), np.array([1.0, 0.1, 0.5]), np.array([0.0, 1.0, 6.0])
    tones = sines.tones(f0, amplitude, start, sample_rate=48_000, dtype=np.float64)
    n = np.arange(4800)
    wanted = amplitude[:, None] * np.sin(2 * np.pi * f0[:, None] * n / 48_000 + start[:, None])
    np.testing.assert_allclose(sines.render(tones, n.size), wanted, rtol=0, atol=tolerances.F64 * 10)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", tolerances.F32_ANGLE), ("float64", tolerances.F64)])
def test_error_of_a_sine_does_not_grow_with_time(dtype: str, tolerance: float) -> None:
    tones = sines.tones(np.array([27.5, 12543.85]), 1.0, 2.0, sample_rate=44_100, dtype=dtype)
    n = np.arange(2**20 + 3)
    samples = sines.render(tones, n.size)
    assert samples.dtype == dtype
    error = np.abs(np.asarray(samples, np.float64) - exact_sines(tones, n)).reshape(2, -1)
    assert error[:, -44_100:].max() <= tolerance
    assert error[:, :44_100].max() <= tolerance


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_are_uniform_independent_and_in_range(dtype: str) -> None:
    ranges = {"midi_low": 21.0, "midi_high": 127.0, "sample_rate": 44_100, "dtype": dtype}
    tones = sines.draw(jax.random.key(3), 20_000, **ranges)
    midi = 69 + 12 * np.log2(phase.to_ratio(tones.increment) * 44_100 / 440)
    drawn = {"midi": (midi, 21.0, 106.0), "amplitude": (np.asarray(tones.amplitude), 0.0, 1.0)}
    drawn["phase"] = (phase.to_ratio(tones.phase), 0.0, 1.0)
    for name, (values, low, width) in drawn.items():
        assert low - 1e-4 <= values.min(), name  # of a semitone: float32 keeps its frequency to a millionth
        assert values.max() <= low + width + 1e-4, name
        assert kstest(values, "uniform", args=(low, width)).pvalue > tolerances.UNLIKELY, name
    together = np.corrcoef(np.stack([values for values, _, _ in drawn.values()]))
    assert np.abs(together - np.eye(3)).max() < 5 / np.sqrt(20_000)


def test_levels_can_be_uniform_in_db() -> None:
    ranges = {"midi_low": 21.0, "midi_high": 127.0, "sample_rate": 44_100, "dtype": "float64"}
    quiet, plain = (sines.draw(jax.random.key(3), 5000, **ranges, quietest_db=db) for db in (-40.0, None))
    levels = 20 * np.log10(np.asarray(quiet.amplitude))
    assert kstest(levels, "uniform", args=(-40.0, 40.0)).pvalue > tolerances.UNLIKELY
    np.testing.assert_array_equal(quiet.increment.high, plain.increment.high)


def test_same_key_same_tones() -> None:
    def draw(seed: int) -> list[np.ndarray]:
        key = jax.random.key(seed)
        tones = sines.draw(key, 8, midi_low=21.0, midi_high=127.0, sample_rate=44_100, dtype="float32")
        return [np.asarray(leaf) for leaf in jax.tree.leaves(tones)]

    assert all((a == b).all() for a, b in zip(draw(1), draw(1), strict=True))
    assert not (draw(1)[0] == draw(2)[0]).any()


WITHOUT_X64 = """
import json, jax, numpy as np, jax.numpy as jnp
from jaxalias import config, models
from jaxalias.training import plan, run
from jaxalias.targets import harmonics
from jaxalias.losses import nmr
from jaxalias.signals import phase, sines
assert not jax.config.jax_enable_x64
rate, f0 = 44_100, 110.3
tones = sines.tones(np.array([f0]), 1.0, 2.0, sample_rate=rate, dtype="float32")
units = [int(t.high[0]) * 2**32 + int(t.low[0]) for t in (tones.increment, tones.phase)]
samples = sines.render(tones, 2**20)
angle = (np.uint64(units[0]) * np.arange(2**20, dtype=np.uint64) + np.uint64(units[1])).astype(float) * 2.0**-64
n, m = np.arange(rate)[:, None], np.arange(1, 200)
clean = 0.1 + np.sum(np.cos(2 * np.pi * ((m * f0 * n / rate) % 1) + m) / m, axis=1)
dirty = clean + 0.1 * np.sin(2 * np.pi * 3333.3 * n[:, 0] / rate)
rebuilt = harmonics.bandlimit(jnp.asarray(dirty[None], jnp.float32), tones.increment, 801)
model = models.build(config.LSTMConfig(hidden_size=2))
double = config.FineTuneConfig(preset="", updates=1, batch_size=1, frame_s=0.1, precision="float64")
try:
    run.prepare(model, [plan.Task("", model.init(jax.random.key(0)), double)], rate)
except ValueError as error:
    refusal = str(error)
print(json.dumps({
    "dtypes": sorted({str(a.dtype) for a in (samples, rebuilt)}),
    "sine_error": float(np.abs(samples[0] - np.sin(2 * np.pi * angle)).max()),
    "resynthesis_error": float(np.abs(rebuilt[0] - clean).max() / np.abs(dirty).max()),
    "clean": clean[:8192].tolist(), "dirty": dirty[:8192].tolist(), "refusal": refusal,
    "nmr": float(nmr.nmr(*(jnp.asarray(a[None, :8192], jnp.float32) for a in (dirty, clean)), rate)[0]),
}))
"""


def test_all_of_this_holds_without_64_bit_mode() -> None:
    ran = subprocess.run([sys.executable, "-W", "error", "-c", WITHOUT_X64], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert found["dtypes"] == ["float32"]
    assert found["sine_error"] <= tolerances.F32_ANGLE
    assert found["resynthesis_error"] <= tolerances.F32_RESYNTHESIS
    in_double = nmr.nmr(*(jnp.asarray([found[name]]) for name in ("dirty", "clean")), 44_100)[0]
    assert abs(10 * np.log10(found["nmr"] / in_double)) <= tolerances.NMR_F32_DB
    assert "jax_enable_x64" in found["refusal"]
