"""Measure the harmonics of a tone and rebuild it without anything else (eqs. 6-12).

Whatever a memoryless or fading-memory device makes of a sine is a sum of harmonics m f0. What a sampled
model adds between them is aliasing. Keeping the harmonics below Nyquist and dropping the rest gives the
target that the student is trained towards.

Degenerate tones. A harmonic exactly at Nyquist is left out: two samples a turn do not determine its
amplitude and phase. With f0 = Fs / k aliases land on harmonics and cannot be told from them, so the target
is the teacher's own output. With f0 so near to Fs / k that an alias falls into the main lobe of a harmonic's
window (about 4 Hz at one second) it is kept in part. From f0 = Fs / 2 up there is no harmonic: B remains.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, UInt32

from jaxalias.signals import phase
from jaxalias.signals.dsp import chebyshev_window

_BLOCK = 64  # harmonics a matrix product: small enough that high tones do little, large enough to be fast
_STRIDE = 16  # about the root of the number of rotations in a table
_SERIES = 12  # terms of the scalloping series; the first one left out is (pi/2)^24 / 24! = 8e-20


class Harmonics(NamedTuple):
    """y[n] = offset + 2 sum_k |C_k| cos(2 pi (k + 1) n f0 / Fs + angle C_k), zero from Nyquist up."""

    coefficients: Complex[Array, "b k"]
    offset: Float[Array, "b"]


def highest_number(lowest_f0_hz: float, sample_rate: float) -> int:
    """Harmonics that fit below Nyquist for the lowest f0 of a set: the static size K of its arrays."""
    return max(1, math.floor(sample_rate / (2 * lowest_f0_hz)))


def below_nyquist(increment: phase.Turns, number: int) -> Bool[Array, "b k"]:
    """True where harmonic k + 1 of the tone lies strictly below half the sample rate."""
    whole, fraction = _multiples(increment, jnp.arange(1, number + 1))
    return (whole == 0) & (fraction.high < np.uint32(1 << 31))


def degenerate(f0_hz: np.ndarray, sample_rate: float, resolution_hz: float = 1.0) -> np.ndarray:
    """True where aliases of a tone fall on its harmonics, within half a bin: f0 = Fs / k, and Fs / 2 and above.

    Args:
        resolution_hz: the spacing of bins, the inverse of the analysed duration.
    """
    periods = sample_rate / np.asarray(f0_hz, np.float64)
    nearest = np.maximum(np.round(periods), 1)
    return (np.abs(periods - nearest) * f0_hz < resolution_hz / 2) | (periods <= 2)


def analyse(y: Float[Array, "b t"], increment: phase.Turns, number: int) -> Harmonics:
    """Read the harmonics of settled tones from one windowed FFT (eqs. 6-11).

    C_m = Y[b_m] / sum_n w[n] exp(j 2 pi n d_m / N), the nearest bin b_m corrected for the distance d_m
    from it (scalloping), w the periodic Chebyshev window with side lobes at -120 dB, N = t samples.

    Args:
        y: the model's output, transients gone; one second in the paper.
        increment: f0 / Fs of each tone, in turns a sample.
        number: K, the harmonics to read (static); at most 2**32 / t.

    Returns:
        The harmonics below Nyquist; the rest of the K are zero.

    Source: section 2.2 of the paper. Precision: errors are those of one FFT, relative to the largest
    harmonic 1e-7 in float32 and 1e-16 in float64.
    """
    samples = y.shape[1]
    window, moments = _window(samples)
    spectrum = jnp.fft.rfft(y * jnp.asarray(window, y.dtype))
    bins, fraction = _multiples(increment, jnp.arange(1, number + 1) * samples)
    above_half = fraction.high >> 31
    tie = (fraction.high == np.uint32(1 << 31)) | (fraction.high == np.uint32((1 << 31) - 1))
    rounded = jnp.where(tie, bins & 1, above_half)  # half to even, as the authors' program rounds
    nearest = bins + rounded
    distance = phase.signed(fraction, y.dtype) + above_half.astype(y.dtype) - rounded.astype(y.dtype)
    # The window is symmetric about n = N / 2 but for its first sample: its transform at d, turned back by
    # exp(j pi d), is an even polynomial in d and that sample's imaginary part.
    cos, sin = jnp.cos(np.pi * distance), jnp.sin(np.pi * distance)
    even = jnp.polyval(jnp.asarray(moments, y.dtype), distance**2)
    correction = jax.lax.complex(cos, -sin) / jax.lax.complex(even, -float(window[0]) * sin)
    picked = jnp.take_along_axis(spectrum, jnp.minimum(nearest, samples // 2).astype(jnp.int32), axis=1)
    keep = below_nyquist(increment, number)
    return Harmonics(jnp.where(keep, picked * correction, 0), spectrum[:, 0].real / float(window.sum()))


def turn(harmonics: Harmonics, angle: phase.Turns) -> Harmonics:
    """The harmonics of the same waveform begun at another place: harmonic m turned by m times the angle.

    Args:
        angle: of each tone; what the phase of its fundamental gains. Its multiples wrap exactly.
    """
    _, ahead = _multiples(angle, jnp.arange(1, harmonics.coefficients.shape[1] + 1))
    rotation = jax.lax.complex(*phase.cos_sin(ahead, harmonics.offset.dtype))
    return harmonics._replace(coefficients=harmonics.coefficients * rotation)


def resynthesise(harmonics: Harmonics, increment: phase.Turns, samples: int) -> Float[Array, "b t"]:
    """The tone that has these harmonics and nothing else (eq. 12).

    With n = a L + b, -L / 2 < b < L / 2, exp(j w m n) = exp(j w m a L) exp(j w m b): two small tables of
    rotations, and the sum over m becomes two matrix products, of cosines of b and of its sines, of which
    one half of b is the other's mirror. One compilation serves every f0; a tone costs what its own number
    of harmonics costs, not K. Phases are exact integers (see `phase`), so nothing drifts with m or n.

    Args:
        harmonics: as `analyse` gives them.
        increment: f0 / Fs of each tone, in turns a sample.
        samples: length of the output (static).

    Not differentiable in reverse mode (its loops have data-dependent length): a target needs no gradient.
    """
    half = math.ceil(math.sqrt(samples) / 2)
    columns = 2 * half + 1
    rows = math.ceil(samples / columns)
    number = harmonics.coefficients.shape[1]
    blocks = math.ceil(number / _BLOCK)
    padded = jnp.pad(harmonics.coefficients, ((0, 0), (0, blocks * _BLOCK - number)))
    counts = jnp.sum(below_nyquist(increment, number), axis=1)

    def one_tone(tone: tuple) -> Float[Array, "rows columns"]:
        coefficients, turns, count = tone
        dtype = coefficients.real.dtype

        def add_block(block: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
            first = block * _BLOCK
            m = (first + 1 + jnp.arange(_BLOCK)).astype(jnp.uint32)
            c = jax.lax.dynamic_slice(coefficients, (first,), (_BLOCK,))[:, None]
            harmonic = phase.multiply(turns, m)[1]
            cos_coarse, sin_coarse = _rotations(harmonic, half, columns, rows, dtype)
            cos_fine, sin_fine = _rotations(harmonic, 0, 1, half + 1, dtype)
            real = c.real * cos_coarse - c.imag * sin_coarse
            imaginary = c.real * sin_coarse + c.imag * cos_coarse
            even, odd = (_contract("mr,mb->rb", *sides) for sides in ((real, cos_fine), (imaginary, sin_fine)))
            return sums[0] + even, sums[1] + odd

        nothing = jnp.zeros((rows, half + 1), dtype)
        even, odd = jax.lax.fori_loop(0, (count + _BLOCK - 1) // _BLOCK, add_block, (nothing, nothing))
        return jnp.concatenate([(even + odd)[:, :0:-1], even - odd], axis=1)

    waves = jax.lax.map(one_tone, (padded, increment, counts))
    return harmonics.offset[:, None] + 2 * waves.reshape(len(counts), -1)[:, :samples]


def bandlimit(y: Float[Array, "b t"], increment: phase.Turns, number: int) -> Float[Array, "b t"]:
    """`y` with everything but its offset and its harmonics below Nyquist removed: the alias-free target."""
    return resynthesise(analyse(y, increment, number), increment, y.shape[1])


def _multiples(increment: phase.Turns, factors: Array) -> tuple[UInt32[Array, "b k"], phase.Turns]:
    return phase.multiply(jax.tree.map(lambda word: word[:, None], increment), factors)


def _rotations(
    harmonic: phase.Turns, first: int, stride: int, count: int, dtype: np.dtype
) -> tuple[Float[Array, "m n"], Float[Array, "m n"]]:
    """cos and sin of each harmonic at the samples first + n stride, n = 0 ... count - 1.

    Products of a few sines, which cost more. They are written as contractions over (cos, sin), since XLA would
    take the sines anew for each element of an element-wise product.
    """
    far = first + stride * _STRIDE * jnp.arange(math.ceil(count / _STRIDE))
    cos, sin = phase.cos_sin(_multiples(harmonic, stride * jnp.arange(_STRIDE))[1], dtype)
    both = jnp.stack(phase.cos_sin(_multiples(harmonic, far)[1], dtype), axis=-1)
    products = (_contract("mfk,mnk->mfn", both, jnp.stack(near, axis=-1)) for near in ((cos, -sin), (sin, cos)))
    real, imaginary = (product.reshape(product.shape[0], -1)[:, :count] for product in products)
    return real, imaginary


def _contract(form: str, a: Array, b: Array) -> Array:
    return jnp.einsum(form, a, b, precision=jax.lax.Precision.HIGHEST)


@lru_cache
def _window(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """The window, and its response at d bins as a polynomial in d^2 (highest power first), in float64.

    sum_n w[n] cos(2 pi (n - N/2) d / N) = sum_i (-1)^i (2 pi / N)^2i / (2i)! * sum_n w[n] (n - N/2)^2i * d^2i
    """
    window = chebyshev_window(samples)
    angle = 2 * np.pi * (np.arange(samples) - samples / 2) / samples
    moments = [(-1) ** i * np.sum(window * angle ** (2 * i)) / math.factorial(2 * i) for i in range(_SERIES)]
    return window, np.array(moments[::-1])
