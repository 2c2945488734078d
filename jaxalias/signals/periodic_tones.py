"""Tones that repeat after a whole number of samples, and what of a model's answer to them is harmonic.

With f0 = Fs c / N, c cycles in N samples and N prime, a settled answer repeats every N samples. Harmonic m lies in
bin m c of a discrete Fourier transform over these samples, whole, without a window, and an alias, a harmonic above
Nyquist, in a bin that is no multiple of c: the two are told apart exactly, in a frame as short as the repetition.
Only harmonics from about N / 2 up land on lower ones; for f0 below 2 Fs / N, where c = 1, all of them do, and
nothing counts as an alias.
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Array, Float, Int32, Key

from jaxalias.signals import phase, sines

LARGEST = 1 << 14  # samples: squares of twice that are exact in 32 bits


class Cycle(NamedTuple):
    """`turns` cycles take `period` samples; both 0 for what is no such tone."""

    period: Int32[Array, "..."]
    turns: Int32[Array, "..."]


def repeating(key: Key[Array, ""], tones: sines.Tones, longest: int) -> tuple[sines.Tones, Cycle]:
    """The tones, each frequency moved to the nearest that repeats after a random number of samples.

    Args:
        longest: samples; periods are the primes from half of it up to it, each as likely as any other. The lowest
            frequency is Fs / `longest`.
    """
    primes = jnp.asarray(_primes(longest))
    chosen = jax.random.randint(key, tones.amplitude.shape, 0, len(primes), jnp.int32)
    return snap(tones, primes[chosen])


def snap(tones: sines.Tones, period: Int32[Array, "b"]) -> tuple[sines.Tones, Cycle]:
    """The tones at the nearest frequencies above 0 and below Nyquist that repeat after `period` samples."""
    exact = phase.signed(tones.increment, jnp.result_type(float)) * period
    count = jnp.clip(jnp.round(exact).astype(jnp.int32), 1, (period - 1) // 2)
    return tones._replace(increment=phase.fraction(count, period)), Cycle(period, count)


def longest_period(longest: int) -> int:
    """The largest prime up to `longest`."""
    return int(_primes(longest)[-1])


def none(shape: tuple[int, ...]) -> Cycle:
    """Of signals that are no such tones."""
    return Cycle(jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.int32))


def harmonic_part(y: Float[Array, "b t"], cycle: Cycle) -> Float[Array, "b t"]:
    """Offset and harmonics below Nyquist of the first period, repeated over all of the signal.

    One compilation serves every period: a transform of N samples, N known when it runs, is a convolution with a
    chirp (Bluestein 1970), exp(-2 pi j n k / N) = w(n) w(k) / w(k - n), w(n) = exp(-j pi n^2 / N). Phases are
    integers modulo 2 N. Differentiable.

    Args:
        y: at least a period long. Without a cycle (period 0) it is returned as it is.
    """
    samples = y.shape[1]
    if samples > LARGEST:
        raise ValueError(f"a period is looked for in at most {LARGEST} samples, got {samples}")
    length = scipy.fft.next_fast_len(2 * samples)
    index = jnp.arange(length, dtype=jnp.int32)

    @jax.vmap
    def one_tone(y: Float[Array, "t"], cycle: Cycle) -> Float[Array, "t"]:
        period = jnp.maximum(cycle.period, 1)
        n = index[:samples]

        def chirp(at: Array) -> Array:
            turned = at % (2 * period)
            angle = np.pi * (turned * turned % (2 * period)).astype(y.dtype) / period
            return jax.lax.complex(jnp.cos(angle), jnp.sin(angle))

        distance = jnp.minimum(index, length - index)
        spread = jnp.fft.fft(jnp.where(distance < period, chirp(distance), 0))
        down = jnp.conj(chirp(n))

        def transform(x: Array) -> Array:
            return down * jnp.fft.ifft(jnp.fft.fft(x * down, length) * spread)[:samples]

        within = n < period
        spectrum = transform(jnp.where(within, y, 0))
        harmonic = jnp.minimum(n, period - n) % jnp.maximum(cycle.turns, 1) == 0
        kept = jnp.where(within & harmonic, spectrum, 0)
        part = transform(jnp.conj(kept)).real / period  # the inverse of a spectrum whose signal is real
        return jnp.where(cycle.period > 0, jnp.take(part, n % period), y)

    return one_tone(y, cycle)


@lru_cache
def _primes(longest: int) -> np.ndarray:
    if not 8 <= longest <= LARGEST:
        raise ValueError(f"the longest period must lie between 8 and {LARGEST} samples, got {longest}")
    numbers = np.arange(longest // 2 + 1, longest + 1)
    divisors = np.arange(2, int(np.sqrt(longest)) + 1)
    return numbers[(numbers[:, None] % divisors != 0).all(axis=1)].astype(np.int32)
