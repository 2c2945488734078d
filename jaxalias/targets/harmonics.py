"""Measure the harmonics of a tone and rebuild the tone from them alone (eqs. 6-12).

The response of a device with fading memory, or none, to a sine is a sum of harmonics m f0. A sampled model adds
aliases between them. The target of the student keeps the harmonics below Nyquist and drops everything else.

Degenerate tones. A harmonic exactly at Nyquist is left out: two samples per period do not determine its
amplitude and phase. With f0 = Fs / k, aliases coincide with harmonics and cannot be separated, so the target
is the teacher's own output. If f0 is so near to Fs / k that an alias lies in the main lobe of a harmonic's
window (about 4 Hz at one second), the target keeps a part of it. From f0 = Fs / 2 up there is no harmonic: only the
offset B remains.
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

_BLOCK = 64  # harmonics per matrix product: small enough that high tones cost little, large enough to be fast
_STRIDE = 16  # about the square root of the number of rotations in a table
_SERIES = 12  # terms of the scalloping series; the first omitted one is (pi/2)^24 / 24! = 8e-20


class Harmonics(NamedTuple):
    """y[n] = offset + 2 sum_k |C_k| cos(2 pi (k + 1) n f0 / Fs + angle C_k); C_k is zero from Nyquist up."""

    coefficients: Complex[Array, "b k"]
    offset: Float[Array, "b"]


def highest_number(lowest_f0_hz: float, sample_rate: float) -> int:
    """The number of harmonics below Nyquist of the lowest f0 (Hz) in a set: the static size K of its arrays.

    Example:
        >>> highest_number(1000.0, 48_000)
        24
    """
    return max(1, math.floor(sample_rate / (2 * lowest_f0_hz)))


def below_nyquist(increment: phase.Turns, number: int) -> Bool[Array, "b k"]:
    """True where harmonic k + 1 of the tone is strictly below half the sample rate.

    Args:
        increment: f0 / Fs of each tone, in turns per sample.
        number: K, the number of harmonics.

    Example:
        >>> below_nyquist(phase.exact(np.array([0.2])), 4).tolist()
        [[True, True, False, False]]
    """
    whole, fraction = _multiples(increment, jnp.arange(1, number + 1))
    return (whole == 0) & (fraction.high < np.uint32(1 << 31))


def degenerate(f0_hz: np.ndarray, sample_rate: float, resolution_hz: float = 1.0) -> np.ndarray:
    """True for tones whose aliases coincide with harmonics, to within half a bin: f0 = Fs / k, and f0 >= Fs / 2.

    Args:
        f0_hz: frequencies, any shape.
        sample_rate: Hz.
        resolution_hz: the distance between bins, the inverse of the analysed duration.

    Example:
        >>> degenerate(np.array([1000.0, 1001.0, 30_000.0]), 48_000).tolist()
        [True, False, True]
    """
    periods = sample_rate / np.asarray(f0_hz, np.float64)
    nearest = np.maximum(np.round(periods), 1)
    return (np.abs(periods - nearest) * f0_hz < resolution_hz / 2) | (periods <= 2)


def analyse(y: Float[Array, "b t"], increment: phase.Turns, number: int) -> Harmonics:
    """Measure the harmonics of settled tones with one windowed FFT (eqs. 6-11).

    C_m = Y[b_m] / sum_n w[n] exp(j 2 pi n d_m / N). Here b_m is the bin nearest to harmonic m, d_m the distance of
    the harmonic from this bin (the division corrects scalloping), w the periodic Chebyshev window with side lobes at
    -120 dB, and N = t samples.

    Args:
        y: the output of the model after its transients; one second in the paper.
        increment: f0 / Fs of each tone, in turns per sample.
        number: K, the number of harmonics to measure (static); at most 2**32 / t.

    Returns:
        The harmonics below Nyquist. The others of the K are zero.

    Source: section 2.2 of the paper. Precision: the errors are those of one FFT, relative to the largest
    harmonic 1e-7 in float32 and 1e-16 in float64.

    Example:
        >>> increment = phase.exact(np.array([0.01234]))
        >>> y = 0.5 * jnp.cos(2 * np.pi * 0.01234 * jnp.arange(4096.0))[None]
        >>> (2 * abs(analyse(y, increment, 2).coefficients)).round(3).tolist()
        [[0.5, 0.0]]
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
    # The window is symmetric about n = N / 2 except for its first sample. So its transform at d, times exp(j pi d),
    # is an even polynomial in d plus the imaginary part of the first sample.
    cos, sin = jnp.cos(np.pi * distance), jnp.sin(np.pi * distance)
    even = jnp.polyval(jnp.asarray(moments, y.dtype), distance**2)
    correction = jax.lax.complex(cos, -sin) / jax.lax.complex(even, -float(window[0]) * sin)
    picked = jnp.take_along_axis(spectrum, jnp.minimum(nearest, samples // 2).astype(jnp.int32), axis=1)
    keep = below_nyquist(increment, number)
    return Harmonics(jnp.where(keep, picked * correction, 0), spectrum[:, 0].real / float(window.sum()))


def turn(harmonics: Harmonics, angle: phase.Turns) -> Harmonics:
    """Shift the phase of the waveform: the phase of harmonic m changes by m times the angle.

    Args:
        harmonics: of each tone.
        angle: phase change of each fundamental. Its multiples wrap exactly.

    Example:
        >>> one = Harmonics(jnp.ones((1, 2), complex), jnp.zeros(1))
        >>> turned = turn(one, phase.exact(np.array([0.25]))).coefficients
        >>> bool(jnp.allclose(turned, jnp.array([[1j, -1]]), atol=1e-6))
        True
    """
    _, ahead = _multiples(angle, jnp.arange(1, harmonics.coefficients.shape[1] + 1))
    rotation = jax.lax.complex(*phase.cos_sin(ahead, harmonics.offset.dtype))
    return harmonics._replace(coefficients=harmonics.coefficients * rotation)


def resynthesise(harmonics: Harmonics, increment: phase.Turns, samples: int) -> Float[Array, "b t"]:
    """The tone with these harmonics and nothing else (eq. 12).

    Write n = a L + b with -L / 2 < b < L / 2. Then exp(j w m n) = exp(j w m a L) exp(j w m b): two small tables of
    rotations, and the sum over m becomes two matrix products, one with the cosines of b and one with the sines. For -b
    the cosines are equal and the sines have the opposite sign, so half of the table is enough. One compilation serves
    every f0. The cost of a tone depends on its own number of harmonics, not on K. Phases are exact integers (see
    `phase`), so errors do not grow with m or n.

    Args:
        harmonics: from `analyse`.
        increment: f0 / Fs of each tone, in turns per sample.
        samples: length of the output, t (static).

    Not differentiable in reverse mode, because its loops have data-dependent length. A target needs no gradient.

    Example:
        >>> one = Harmonics(jnp.full((1, 1), 0.5, complex), jnp.zeros(1))
        >>> y = resynthesise(one, phase.exact(np.array([0.25])), 5)
        >>> bool(jnp.allclose(y, jnp.array([[1.0, 0, -1, 0, 1]]), atol=1e-6))
        True
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
    """The alias-free target: the offset of `y` and its harmonics below Nyquist (eqs. 6-12).

    Args:
        y: settled outputs.
        increment: f0 / Fs of each tone, in turns per sample.
        number: K, as for `analyse`.

    Example:
        >>> n = jnp.arange(4096.0)
        >>> tone, alias = (jnp.cos(2 * np.pi * f * n)[None] for f in (0.1, 0.0333))
        >>> found = bandlimit(tone + 0.1 * alias, phase.exact(np.array([0.1])), 4)
        >>> bool(jnp.allclose(found, tone, atol=1e-4))
        True
    """
    return resynthesise(analyse(y, increment, number), increment, y.shape[1])


def _multiples(increment: phase.Turns, factors: Array) -> tuple[UInt32[Array, "b k"], phase.Turns]:
    return phase.multiply(jax.tree.map(lambda word: word[:, None], increment), factors)


def _rotations(
    harmonic: phase.Turns, first: int, stride: int, count: int, dtype: np.dtype
) -> tuple[Float[Array, "m n"], Float[Array, "m n"]]:
    """cos and sin of each harmonic at the samples first + n stride, n = 0 ... count - 1.

    Products of a few sines, because a sine costs more than a product. The products are contractions over (cos, sin):
    in an element-wise product, XLA would compute the sines again for each element.
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
