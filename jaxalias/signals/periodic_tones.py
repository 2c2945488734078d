"""Tones that repeat after a whole number of samples, and the harmonic part of a model's output for them.

Let f0 = Fs c / N: c cycles in N samples, N prime. A settled output repeats every N samples. Harmonic m is exactly
bin m c of a discrete Fourier transform over these N samples, without a window. An alias, a harmonic above Nyquist,
is in a bin that is no multiple of c. So harmonics and aliases separate exactly, in a frame as short as N samples.

Exceptions: harmonics from about N / 2 up fold onto lower harmonics. For f0 below 2 Fs / N, where c = 1, all of them
do, and nothing counts as an alias.
"""

from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from jaxtyping import Array, Float, Int32, Key

from jaxalias.signals import phase, sines

LARGEST = 1 << 14  # samples; (2 LARGEST)^2 fits into 32 bits


class Cycle(NamedTuple):
    """A tone of `turns` cycles in `period` samples. Both are 0 for a signal that is not periodic."""

    period: Int32[Array, "..."]
    turns: Int32[Array, "..."]


def repeating(key: Key[Array, ""], tones: sines.Tones, longest: int) -> tuple[sines.Tones, Cycle]:
    """Move each frequency to the nearest one that repeats after a random number of samples.

    Args:
        key: consumed; do not use it again.
        tones: of shape (b,).
        longest: samples. Periods are the primes from longest / 2 to longest, each with the same probability. The lowest
            frequency is Fs / `longest`.

    Returns:
        The moved tones, and the cycle of each.

    Raises:
        ValueError: `longest` is below 8 or above `LARGEST`.

    Example:
        >>> drawn = sines.tones(np.array([440.0]), 1.0, 0.0, sample_rate=48_000, dtype="float32")
        >>> _, cycle = repeating(jax.random.key(0), drawn, 2048)
        >>> 1024 < int(cycle.period[0]) <= 2048
        True
    """
    primes = jnp.asarray(_primes(longest))
    chosen = jax.random.randint(key, tones.amplitude.shape, 0, len(primes), jnp.int32)
    return snap(tones, primes[chosen])


def snap(tones: sines.Tones, period: Int32[Array, "b"]) -> tuple[sines.Tones, Cycle]:
    """Move each frequency to the nearest one, above 0 and below Nyquist, that repeats after `period` samples.

    Args:
        tones: of shape (b,).
        period: samples, (b,).

    Returns:
        The moved tones, and the cycle of each.

    Example:
        >>> drawn = sines.tones(np.array([440.0]), 1.0, 0.0, sample_rate=48_000, dtype="float32")
        >>> moved, cycle = snap(drawn, jnp.array([1009], jnp.int32))
        >>> cycle.turns.tolist(), (48_000 * phase.to_ratio(moved.increment)).round(1).tolist()
        ([9], [428.1])
    """
    exact = phase.signed(tones.increment, jnp.result_type(float)) * period
    count = jnp.clip(jnp.round(exact).astype(jnp.int32), 1, (period - 1) // 2)
    return tones._replace(increment=phase.fraction(count, period)), Cycle(period, count)


def longest_period(longest: int) -> int:
    """The largest prime up to `longest`, in samples.

    Example:
        >>> longest_period(2048)
        2039
    """
    return int(_primes(longest)[-1])


def none(shape: tuple[int, ...]) -> Cycle:
    """The cycle of signals that are not periodic: zeros.

    Example:
        >>> none((2,)).period.tolist()
        [0, 0]
    """
    return Cycle(jnp.zeros(shape, jnp.int32), jnp.zeros(shape, jnp.int32))


def harmonic_part(y: Float[Array, "b t"], cycle: Cycle) -> Float[Array, "b t"]:
    """Offset and harmonics below Nyquist of the first period, repeated over the whole signal.

    One compilation serves every period: a transform of N samples, with N known only at run time, is a convolution with
    a chirp (Bluestein 1970), exp(-2 pi j n k / N) = w(n) w(k) / w(k - n), w(n) = exp(-j pi n^2 / N). Phases are
    integers modulo 2 N. Differentiable.

    Args:
        y: settled outputs, at least one period long.
        cycle: of each row. A row with period 0 is returned unchanged.

    Raises:
        ValueError: y has more than `LARGEST` samples.

    Example:
        A tone of 3 cycles in 7 samples, and an alias of 1 cycle:

        >>> tone, alias = (jnp.cos(2 * jnp.pi * bin * jnp.arange(7) / 7)[None] for bin in (3, 1))
        >>> cycle = Cycle(jnp.array([7], jnp.int32), jnp.array([3], jnp.int32))
        >>> bool(jnp.allclose(harmonic_part(tone + 0.1 * alias, cycle), tone, atol=1e-5))
        True
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
        part = transform(jnp.conj(kept)).real / period  # the inverse transform, of a real signal
        return jnp.where(cycle.period > 0, jnp.take(part, n % period), y)

    return one_tone(y, cycle)


@lru_cache
def _primes(longest: int) -> np.ndarray:
    if not 8 <= longest <= LARGEST:
        raise ValueError(f"the longest period must lie between 8 and {LARGEST} samples, got {longest}")
    numbers = np.arange(longest // 2 + 1, longest + 1)
    divisors = np.arange(2, int(np.sqrt(longest)) + 1)
    return numbers[(numbers[:, None] % divisors != 0).all(axis=1)].astype(np.int32)
