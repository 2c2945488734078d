"""Exact phase: an angle as a 64-bit fixed-point fraction of a turn.

A sine of f0 at sample n has the phase n f0 / Fs turns. As a float32 product this is wrong by whole degrees
after one second, and its harmonic 800 by whole turns. Here a turn is 2**64 units, held in two unsigned 32-bit
words. Multiplication by an integer then wraps exactly, on any device and without 64-bit mode. Only the last
step, from the fraction to an angle, rounds: by 2e-7 rad in float32, 1e-15 in float64.
"""

from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int32, Num, UInt32

_WORD = 1 << 32
_UNIT = 2.0**-32  # one step of a word, in turns


class Turns(NamedTuple):
    """A fraction of a turn: (high * 2**32 + low) / 2**64, in [0, 1). As a frequency: turns per sample."""

    high: UInt32[Any, "..."]
    low: UInt32[Any, "..."]


def exact(turns: ArrayLike) -> Turns:
    """Round float64 turns (any shape, on the host) to the nearest 64-bit fraction. Whole turns are dropped.

    Example:
        >>> to_ratio(exact(np.array([0.25, 1.75]))).tolist()
        [0.25, 0.75]
    """
    values = np.asarray(turns, np.float64)
    units = [round(Fraction(float(value)) * _WORD**2) % _WORD**2 for value in values.ravel()]
    high = np.array([unit // _WORD for unit in units], np.uint32).reshape(values.shape)
    low = np.array([unit % _WORD for unit in units], np.uint32).reshape(values.shape)
    return Turns(jnp.asarray(high), jnp.asarray(low))


def from_ratio(ratio: Float[jax.Array, "..."]) -> Turns:
    """The exact value of a floating-point ratio in [2**-40, 1), on the device.

    Example:
        >>> to_ratio(from_ratio(jnp.array([0.375]))).tolist()
        [0.375]
    """
    scaled = ratio / _UNIT
    high = jnp.floor(scaled)
    return Turns(high.astype(jnp.uint32), ((scaled - high) / _UNIT).astype(jnp.uint32))


def fraction(count: Int32[Array, "..."], period: Int32[Array, "..."]) -> Turns:
    """count / period, rounded down to one unit of 2**-64 turns.

    Args:
        count: positive and below `period`.
        period: below 2**15.

    Example:
        >>> to_ratio(fraction(jnp.array([3], jnp.int32), jnp.array([8], jnp.int32))).tolist()
        [0.375]
    """
    rest, digits = count.astype(jnp.uint32), []
    for _ in range(4):  # of 16 bits
        rest = rest << 16
        digits.append(rest // period.astype(jnp.uint32))
        rest = rest % period.astype(jnp.uint32)
    return Turns(digits[0] << 16 | digits[1], digits[2] << 16 | digits[3])


def to_ratio(turns: Turns) -> np.ndarray:
    """The fraction in float64, in [0, 1), on the host. Multiplied by the sample rate it is a frequency in Hz.

    Example:
        >>> (48_000 * to_ratio(exact(np.array([0.25])))).tolist()
        [12000.0]
    """
    return np.asarray(turns.high, np.float64) * _UNIT + np.asarray(turns.low, np.float64) * _UNIT**2


def multiply(turns: Turns, factor: Num[ArrayLike, "..."]) -> tuple[UInt32[jax.Array, "..."], Turns]:
    """Multiply by an integer below 2**32: (whole turns, remaining fraction). Shapes broadcast.

    Example:
        >>> whole, rest = multiply(exact(np.array([0.75])), 3)
        >>> whole.tolist(), to_ratio(rest).tolist()
        ([2], [0.25])
    """
    factor = jnp.asarray(factor).astype(jnp.uint32)
    carried, low = _wide_product(turns.low, factor)
    whole, high = _wide_product(turns.high, factor)
    high = high + carried
    whole = whole + (high < carried)  # unsigned overflow of the sum
    return whole, Turns(high, low)


def add(a: Turns, b: Turns) -> Turns:
    """The sum, without whole turns.

    Example:
        >>> to_ratio(add(exact(np.array([0.75])), exact(np.array([0.5])))).tolist()
        [0.25]
    """
    low = a.low + b.low
    return Turns(a.high + b.high + (low < a.low), low)


def halve(turns: Turns, times: int) -> Turns:
    """The fraction divided by 2**times (0 to 31), rounded down. A frequency stays the same at 2**times the sample rate.

    Example:
        >>> to_ratio(halve(exact(np.array([0.5])), 2)).tolist()
        [0.125]
    """
    if times == 0:
        return turns
    return Turns(turns.high >> times, (turns.low >> times) | (turns.high << (32 - times)))


def signed(turns: Turns, dtype: Any) -> Float[jax.Array, "..."]:
    """The fraction as a float in [-0.5, 0.5): small angles keep their relative precision.

    Example:
        >>> signed(exact(np.array([0.75])), "float32").tolist()
        [-0.25]
    """
    high = jax.lax.bitcast_convert_type(turns.high, jnp.int32).astype(dtype)
    return high * _UNIT + turns.low.astype(dtype) * _UNIT**2


def cos_sin(turns: Turns, dtype: Any) -> tuple[Float[jax.Array, "..."], Float[jax.Array, "..."]]:
    """cos and sin of the angle, in `dtype`.

    Example:
        >>> _, sin = cos_sin(exact(np.array([0.25, 0.75])), "float32")
        >>> sin.tolist()
        [1.0, -1.0]
    """
    angle = 2 * np.pi * signed(turns, dtype)
    return jnp.cos(angle), jnp.sin(angle)


def _wide_product(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(high word, low word) of the 64-bit product of 32-bit words, by 16-bit limbs."""
    half = np.uint32(0xFFFF)
    a_low, a_high, b_low, b_high = a & half, a >> 16, b & half, b >> 16
    middle = a_high * b_low + ((a_low * b_low) >> 16)  # at most (2**16 - 1) * 2**16: no overflow
    crossed = a_low * b_high + (middle & half)
    return a_high * b_high + (middle >> 16) + (crossed >> 16), a * b
