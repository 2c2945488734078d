"""The same weights at M times the sample rate (section 4.4), for any model and any integer M.

At M times the rate the model needs the delays, in seconds, that it was trained with: an LSTM needs its state from M
samples ago, a convolution needs taps M times as far apart. Both equal M interleaved copies of the native model, each
of which processes one polyphase branch of the upsampled input. So the model itself does not change: upsample, split
into M branches, process them as a batch, interleave, remove everything above the native Nyquist frequency, decimate.

There are two forms. `oversample` resamples whole signals in the frequency domain, as in the paper. `streaming`
resamples with linear-phase filters that carry their state, for audio of any length in blocks. The precision is that of
the input. Errors are those of the FFT, 1e-7 in float32, and of the stop-band of the filters.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.signal
from jaxtyping import Array, Complex, Float

from jaxalias.models import Model, Params, State

Play = Callable[[Float[Array, "b t"]], Float[Array, "b t"]]
"""A model applied to whole signals, from its initial state."""

JOIN = 4096  # native samples; the shortest transition from the end of a signal to its beginning
PASS = 20_000 / 44_100  # pass-band edge of the streaming filters, cycles per native sample; the stop-band is at 1 / 2
STOP_DB = 110.0  # their attenuation by design; measured 109.9, and the pass-band ripple is equally small


def oversample(play: Play, factor: int) -> Play:
    """The model at `factor` times its sample rate, for whole signals, resampled in the frequency domain.

    An FFT treats the signal as one period of a periodic signal. A step between its end and its beginning would then
    cause ringing at both. So a gap between them (at least `JOIN` samples, up to a length with a fast FFT) is filled:
    the signal continues as its odd reflection about its last sample, and fades into the odd reflection about its first.
    A component exactly at Nyquist is dropped, as in `harmonics`.

    Args:
        play: a map of signals that treats all rows of a batch alike, for instance from `evaluation.player`.
        factor: M; 1 returns `play` itself.

    Raises:
        ValueError: `factor` is below 1.

    Example:
        The aliases of a clipped 9 kHz tone at 48 kHz, against 8 times the rate:

        >>> x = jnp.sin(2 * np.pi * 9 / 48 * jnp.arange(4800.0))[None]
        >>> clip = lambda x: jnp.clip(3 * x, -1, 1)
        >>> aliases = clip(x) - oversample(clip, 8)(x)
        >>> bool(jnp.std(aliases) > 0.1)
        True
    """
    _refuse_factor(factor)
    if factor == 1:
        return play
    return lambda x: _decimate(play(_upsample(x, factor)), factor)


def at_rates(play: Play, factors: Sequence[int]) -> Callable[[Float[Array, "b t"]], list[Float[Array, "b t"]]]:
    """The model at several multiples of its rate, for the cost of the highest: from x to one output per factor.

    The copies of the model for 8 times the rate include those for 4 times (every second copy), and the first copy
    processes the signal itself. So every factor must divide the highest. Otherwise as `oversample`.

    Args:
        play: a map of signals, as for `oversample`.
        factors: in any order.

    Raises:
        ValueError: a factor is below 1 or does not divide the highest.

    Example:
        >>> x = jnp.ones((1, 100))
        >>> [y.shape for y in at_rates(jnp.tanh, (1, 2, 4))(x)]
        [(1, 100), (1, 100), (1, 100)]
    """
    highest = max(factors)
    for factor in factors:
        _refuse_factor(factor)
        if highest % factor:
            raise ValueError(f"factors must divide the highest, {highest}, got {factor}")

    def play_all(x: Float[Array, "b t"]) -> list[Float[Array, "b t"]]:
        batch, samples = x.shape
        played = play(_with_first(_upsample(x, highest), x)).reshape(batch, highest, samples)  # and Nyquist with it
        shares = ((factor, played[:, :: highest // factor].reshape(-1, samples)) for factor in factors)
        return [share if factor == 1 else _decimate(share, factor) for factor, share in shares]

    return play_all


@partial(jax.jit, static_argnums=1)
def _upsample(x: Float[Array, "b t"], factor: int) -> Float[Array, "branches t"]:
    """Band-limited interpolation; row b M + k of the result holds samples k, k + M, k + 2 M ... of signal b.

    Branch k is the signal, k / M samples early: a phase in its spectrum. So no FFT is longer than the signal's.
    """
    batch, samples = x.shape
    period = _period(samples)
    spectrum = jnp.fft.rfft(_close(x, period - samples))[:, : (period + 1) // 2]

    def branch(k: Array) -> Array:
        return jnp.fft.irfft(spectrum * _early(spectrum, k, factor * period), period)[:, :samples]

    return jax.lax.map(branch, jnp.arange(factor)).swapaxes(0, 1).reshape(batch * factor, samples)


@partial(jax.jit, static_argnums=1)
def _decimate(branches: Float[Array, "branches t"], factor: int) -> Float[Array, "b t"]:
    """Interleave the branches, remove everything from the native Nyquist frequency up, take every M-th sample.

    The spectrum of the interleaved signal is the sum of the branches' spectra, each k / M samples late.
    """
    batch, samples = branches.shape[0] // factor, branches.shape[1]
    period = _period(samples)
    parts = branches.reshape(batch, factor, samples)
    joins = _joins(parts, period - samples)

    def spectrum(k: Any) -> Array:
        return jnp.fft.rfft(jnp.concatenate([parts[:, k], joins[:, k]], axis=1))[:, : (period + 1) // 2]

    def add(k: Array, total: Array) -> Array:
        return total + spectrum(k) * _early(total, k, factor * period).conj()

    return jnp.fft.irfft(jax.lax.fori_loop(1, factor, add, spectrum(0)), period)[:, :samples] / factor


def _early(spectrum: Complex[Array, "b f"], k: Array, period: int) -> Array:
    """What each bin is multiplied by where the signal, of `period` samples, comes k samples earlier."""
    turn = jnp.arange(spectrum.shape[1]) * k % period / period
    return jnp.exp(2j * jnp.pi * turn).astype(spectrum.dtype)


def _joins(parts: Float[Array, "b factor t"], gap: int) -> Float[Array, "b factor gap"]:
    """What `_close` appends to the interleaved signal, in branches. It depends on the ends of the signal alone."""
    batch, factor, samples = parts.shape
    ends = parts if samples <= 2 * gap + 2 else jnp.concatenate([parts[..., : gap + 1], parts[..., -gap - 1 :]], axis=2)
    signal = ends.swapaxes(1, 2).reshape(batch, -1)
    return _close(signal, factor * gap)[:, signal.shape[1] :].reshape(batch, gap, factor).swapaxes(1, 2)


@partial(jax.jit, donate_argnums=0)
def _with_first(branches: Float[Array, "branches t"], x: Float[Array, "b t"]) -> Float[Array, "branches t"]:
    """The signal itself in place of the first branch of each."""
    return branches.at[:: branches.shape[0] // x.shape[0]].set(x)


def _period(samples: int) -> int:
    return scipy.fft.next_fast_len(samples + JOIN, real=True)


def _close(x: Float[Array, "b t"], gap: int) -> Float[Array, "b period"]:
    """Append `gap` samples: a smooth transition from the end of a signal to its beginning."""
    reach = min(gap, x.shape[1] - 1)
    after = jnp.pad(2 * x[:, -1:] - x[:, -2 : -2 - reach : -1], ((0, 0), (0, gap - reach)), mode="edge")
    before = jnp.pad(2 * x[:, :1] - x[:, reach:0:-1], ((0, 0), (gap - reach, 0)), mode="edge")
    fade = jnp.asarray(0.5 + 0.5 * np.cos(np.pi * (np.arange(gap) + 1) / (gap + 1)), x.dtype)
    return jnp.concatenate([x, fade * after + (1 - fade) * before], axis=1)


class StreamState(NamedTuple):
    """The memory of the filters and of the copies of the model."""

    inputs: Float[Array, "b r"]
    model: State
    outputs: Float[Array, "branches r"]


def streaming(model: Model, factor: int) -> Model:
    """The model at `factor` times its sample rate as a `Model`: blocks in, blocks out, `latency` samples late.

    Both filters are the same linear-phase low-pass, flat up to `PASS` (20 kHz at 44.1 kHz) and at -`STOP_DB` from
    Nyquist up, in polyphase form. The filters and all copies of the model start from silence, so the copies process
    half the latency of silence before the signal begins.

    Args:
        model: at its own rate.
        factor: M; 1 returns the model itself.

    Raises:
        ValueError: `factor` is below 1.

    Example:
        >>> identity = Model(lambda key: {"gain": jnp.ones(())}, lambda params, batch, knobs=None: (),
        ...                  lambda params, x, state: (params["gain"] * x, state), 1, 0)
        >>> params, twice = identity.init(None), streaming(identity, 2)
        >>> y, state = twice.apply(params, jnp.ones((1, 300)), twice.initial_state(params, 1))
        >>> round(float(y[0, -1]), 3)
        1.0
    """
    _refuse_factor(factor)
    if factor == 1:
        return model
    taps, past = _branch_taps(factor), latency(factor)

    def initial_state(params: Params, batch: int, knobs: Any = None) -> StreamState:
        dtype = jnp.result_type(*jax.tree.leaves(params))
        silence = jnp.zeros((batch * factor, past), dtype)
        if knobs is not None and np.ndim(knobs) == 2:  # positions per signal: all branches of a signal share them
            knobs = jnp.repeat(jnp.asarray(knobs), factor, axis=0)
        return StreamState(silence[:batch], model.initial_state(params, batch * factor, knobs), silence)

    def apply(params: Params, x: Float[Array, "b t"], state: StreamState) -> tuple[Float[Array, "b t"], StreamState]:
        batch, samples = x.shape
        inputs = jnp.concatenate([state.inputs, x], axis=1)
        branches = _convolve(inputs[:, None, :], factor * taps[:, None, :]).reshape(batch * factor, samples)
        played, inner = model.apply(params, branches, state.model)
        outputs = jnp.concatenate([state.outputs, played], axis=1)
        # in y[n] = sum_m h[m] v[n M - m], branch k (samples k, k + M ...) has the taps m = j M - k
        backwards = np.concatenate([taps[:1], np.roll(taps[:0:-1], 1, axis=1)])
        y = _convolve(outputs.reshape(batch, factor, past + samples), backwards[None])[:, 0, :]
        return y, StreamState(inputs[:, samples:], inner, outputs[:, samples:])

    field = model.receptive_field
    return Model(model.init, initial_state, apply, None if field is None else field + 2 * past, model.knobs)


def latency(factor: int) -> int:
    """The delay of `streaming` in native samples; each of its two filters causes half of it.

    Example:
        >>> latency(1), latency(2) == latency(4)
        (0, True)
    """
    return 0 if factor == 1 else _branch_taps(factor).shape[1] - 1


@lru_cache
def lowpass(factor: int) -> np.ndarray:
    """The filter of `streaming` at `factor` = M times the rate: float64, gain 1, 2 K M + 1 taps.

    Kaiser's window method. Its delay is K native samples, a whole number.

    Example:
        >>> taps = lowpass(2)
        >>> len(taps) % 4, round(float(taps.sum()), 6)
        (1, 1.0)
    """
    width = (0.5 - PASS) / factor
    half = int(np.ceil((STOP_DB - 7.95) / 14.36 / width / 2 / factor))
    window = ("kaiser", scipy.signal.kaiser_beta(STOP_DB))
    return scipy.signal.firwin(2 * half * factor + 1, (0.5 + PASS) / factor, window=window)


def _branch_taps(factor: int) -> Float[np.ndarray, "branches taps"]:
    """Row k: taps k, k + M, k + 2 M ... of the low-pass, padded with zeros."""
    taps = lowpass(factor)
    return np.pad(taps, (0, factor - 1)).reshape(-1, factor).T.copy()


def _convolve(x: Float[Array, "b c padded"], taps: Float[np.ndarray, "d c taps"]) -> Float[Array, "b d t"]:
    kernel = jnp.asarray(taps[:, :, ::-1].copy(), x.dtype)
    return jax.lax.conv_general_dilated(x, kernel, (1,), "VALID", precision=jax.lax.Precision.HIGHEST)


def _refuse_factor(factor: int) -> None:
    if factor < 1:
        raise ValueError(f"the oversampling factor must be a whole number of at least 1, got {factor}")
