"""The rival: the same weights at M times the rate (section 4.4), for any model and any integer M.

At M times the rate a model must hear what it heard at its own: an LSTM its state from M samples ago, a
convolution its taps M times as far apart. Either is exactly M interleaved copies of the native model, each fed
one polyphase branch of the upsampled input, so the model itself is never touched: upsample, split into M
branches, run them as a batch, interleave, drop everything above the old Nyquist frequency, decimate.

Two forms. `oversample` resamples whole signals in the frequency domain, as the paper does. `streaming` resamples
with linear-phase filters that carry their state, for audio of any length in blocks. Precision is that of the
input; errors are those of the FFT, 1e-7 in float32, and of the filter's stop-band.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.signal
from jaxtyping import Array, Float

from jaxalias.models import Model, Params, State

Play = Callable[[Float[Array, "b t"]], Float[Array, "b t"]]
"""A model from its initial state over whole signals."""

JOIN = 4096  # samples of the native rate over which the end of a signal is led back to its beginning
PASS = 20_000 / 44_100  # pass-band edge of the streaming filters, in cycles a native sample; they stop at 1 / 2
STOP_DB = 110.0  # their attenuation by design: measured 109.9 and, as ripple of the pass-band, the same


def oversample(play: Play, factor: int) -> Play:
    """The model at `factor` times the rate, on whole signals, resampled in the frequency domain.

    A whole-signal FFT takes the signal for one period of a periodic one, and a step where its end meets its
    beginning would ring through both. So the gap between them (at least `JOIN` samples, up to a length that
    is quick to transform) is filled: the signal goes on as its own odd reflection about its last sample, fading
    into the odd reflection about its first. A component exactly at Nyquist is dropped, as in `harmonics`.

    Args:
        play: any map of signals that treats the rows of a batch alike, as `evaluation.player` gives it.
        factor: M; 1 gives `play` itself.

    Raises:
        ValueError: `factor` is below 1.
    """
    _refuse_factor(factor)
    if factor == 1:
        return play
    return lambda x: _decimate(play(_upsample(x, factor)), factor)


def at_rates(play: Play, factors: Sequence[int]) -> Callable[[Float[Array, "b t"]], list[Float[Array, "b t"]]]:
    """The model at several multiples of its rate, for the price of the highest: x to an output for each factor.

    The copies of the model that hear 8 times the rate are, every second one, those that hear 4 times; and the first
    hears the signal as it is. So all the others divide the highest. Otherwise as `oversample`.

    Raises:
        ValueError: a factor is below 1 or does not divide the highest.
    """
    highest = max(factors)
    for factor in factors:
        _refuse_factor(factor)
        if highest % factor:
            raise ValueError(f"factors must divide the highest, {highest}, got {factor}")

    def play_all(x: Float[Array, "b t"]) -> list[Float[Array, "b t"]]:
        batch, samples = x.shape
        branches = _upsample(x, highest).reshape(batch, highest, samples).at[:, 0].set(x)  # Nyquist included
        played = play(branches.reshape(-1, samples)).reshape(batch, highest, samples)
        shares = {factor: played[:, :: highest // factor].reshape(-1, samples) for factor in factors}
        return [share if factor == 1 else _decimate(share, factor) for factor, share in shares.items()]

    return play_all


@partial(jax.jit, static_argnums=1)
def _upsample(x: Float[Array, "b t"], factor: int) -> Float[Array, "branches t"]:
    """Band-limited interpolation; row b M + k of the result holds samples k, k + M, k + 2 M ... of signal b."""
    batch, samples = x.shape
    period = _period(samples)
    spectrum = jnp.fft.rfft(_close(x, period - samples))[:, : (period + 1) // 2]
    u = factor * jnp.fft.irfft(spectrum, factor * period)[:, : factor * samples]
    return u.reshape(batch, samples, factor).swapaxes(1, 2).reshape(batch * factor, samples)


@partial(jax.jit, static_argnums=1)
def _decimate(branches: Float[Array, "branches t"], factor: int) -> Float[Array, "b t"]:
    """Interleave the branches, keep what lies below the native Nyquist frequency, take every M-th sample."""
    batch, samples = branches.shape[0] // factor, branches.shape[1]
    v = branches.reshape(batch, factor, samples).swapaxes(1, 2).reshape(batch, factor * samples)
    period = _period(samples)
    spectrum = jnp.fft.rfft(_close(v, factor * (period - samples)))[:, : (period + 1) // 2]
    return jnp.fft.irfft(spectrum, period)[:, :samples] / factor


def _period(samples: int) -> int:
    return scipy.fft.next_fast_len(samples + JOIN, real=True)


def _close(x: Float[Array, "b t"], gap: int) -> Float[Array, "b period"]:
    """Append `gap` samples that lead smoothly from the end of a signal to its beginning."""
    reach = min(gap, x.shape[1] - 1)
    after = jnp.pad(2 * x[:, -1:] - x[:, -2 : -2 - reach : -1], ((0, 0), (0, gap - reach)), mode="edge")
    before = jnp.pad(2 * x[:, :1] - x[:, reach:0:-1], ((0, 0), (gap - reach, 0)), mode="edge")
    fade = jnp.asarray(0.5 + 0.5 * np.cos(np.pi * (np.arange(gap) + 1) / (gap + 1)), x.dtype)
    return jnp.concatenate([x, fade * after + (1 - fade) * before], axis=1)


class StreamState(NamedTuple):
    """What the filters and the copies of the model remember."""

    heard: Float[Array, "b r"]
    model: State
    made: Float[Array, "branches r"]


def streaming(model: Model, factor: int) -> Model:
    """The model at `factor` times the rate as a model of its own: blocks in, blocks out, `latency` samples late.

    Both filters are one linear-phase low-pass, flat up to `PASS` (20 kHz at 44.1 kHz) and `STOP_DB` down from
    Nyquist on, each used by its polyphase components. The filters and all copies of the model start from
    silence, so the model hears half the latency of silence before the signal begins.

    Raises:
        ValueError: `factor` is below 1.
    """
    _refuse_factor(factor)
    if factor == 1:
        return model
    taps, past = _branch_taps(factor), latency(factor)

    def initial_state(params: Params, batch: int, knobs: Any = None) -> StreamState:
        dtype = jnp.result_type(*jax.tree.leaves(params))
        silence = jnp.zeros((batch * factor, past), dtype)
        if knobs is not None and np.ndim(knobs) == 2:  # each signal its own: the same for all its branches
            knobs = jnp.repeat(jnp.asarray(knobs), factor, axis=0)
        return StreamState(silence[:batch], model.initial_state(params, batch * factor, knobs), silence)

    def apply(params: Params, x: Float[Array, "b t"], state: StreamState) -> tuple[Float[Array, "b t"], StreamState]:
        batch, samples = x.shape
        heard = jnp.concatenate([state.heard, x], axis=1)
        branches = _convolve(heard[:, None, :], factor * taps[:, None, :]).reshape(batch * factor, samples)
        played, inner = model.apply(params, branches, state.model)
        made = jnp.concatenate([state.made, played], axis=1)
        # y[n] = sum_m h[m] v[n M - m] takes branch k (samples k, k + M ...) by the taps m = j M - k
        backwards = np.concatenate([taps[:1], np.roll(taps[:0:-1], 1, axis=1)])
        y = _convolve(made.reshape(batch, factor, past + samples), backwards[None])[:, 0, :]
        return y, StreamState(heard[:, samples:], inner, made[:, samples:])

    field = model.receptive_field
    return Model(model.init, initial_state, apply, None if field is None else field + 2 * past, model.knobs)


def latency(factor: int) -> int:
    """Samples of the native rate by which `streaming` is late: half in each filter."""
    return 0 if factor == 1 else _branch_taps(factor).shape[1] - 1


@lru_cache
def lowpass(factor: int) -> np.ndarray:
    """The filter of `streaming` at `factor` times the rate, float64, gain 1, of 2 K M + 1 taps with M = `factor`.

    Kaiser's window method; its delay is a whole number K of native samples.
    """
    width = (0.5 - PASS) / factor
    half = int(np.ceil((STOP_DB - 7.95) / 14.36 / width / 2 / factor))
    window = ("kaiser", scipy.signal.kaiser_beta(STOP_DB))
    return scipy.signal.firwin(2 * half * factor + 1, (0.5 + PASS) / factor, window=window)


def _branch_taps(factor: int) -> Float[np.ndarray, "branches taps"]:
    """Row k: taps k, k + M, k + 2 M ... of the low-pass, filled up with zeros."""
    taps = lowpass(factor)
    return np.pad(taps, (0, factor - 1)).reshape(-1, factor).T.copy()


def _convolve(x: Float[Array, "b c heard"], taps: Float[np.ndarray, "d c taps"]) -> Float[Array, "b d t"]:
    kernel = jnp.asarray(taps[:, :, ::-1].copy(), x.dtype)
    return jax.lax.conv_general_dilated(x, kernel, (1,), "VALID", precision=jax.lax.Precision.HIGHEST)


def _refuse_factor(factor: int) -> None:
    if factor < 1:
        raise ValueError(f"the oversampling factor must be a whole number of at least 1, got {factor}")
