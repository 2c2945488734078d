"""The mel bands of MRSL are librosa's: numbers that librosa 0.11.0 gives, stored, for it is no dependency any more."""

import numpy as np
import pytest

from jaxalias.evaluation import metrics

FLOAT32 = 2e-7  # relative: librosa keeps its weights in float32

SUMS = {
    (44_100, 512): (1.4757026953930108, 0.014911520682350674),
    (44_100, 1024): (2.967666119438036, 0.030344906657499057),
    (44_100, 2048): (5.941555273058384, 0.06027264170848774),
    (48_000, 512): (1.354772920538835, 0.013631183372136766),
    (48_000, 1024): (2.725552305121596, 0.02680853788794121),
    (48_000, 2048): (5.458671615176968, 0.053523522470965),
}
"""(sample rate, FFT): sum of the weights and of their squares, `librosa.filters.mel(sr=..., n_fft=..., n_mels=128)`."""

BAND_50 = (82, (0.0006127713, 0.007065846, 0.01351892, 0.01446081, 0.008210798, 0.001960787))
"""Of 44.1 kHz and 2048 points: the first bin that is not zero, and the weights from there on."""


@pytest.mark.parametrize(("sample_rate", "size"), SUMS)
def test_weights_add_up_as_librosas(sample_rate: int, size: int) -> None:
    bands = metrics._mel_bands(sample_rate, size)
    assert bands.shape == (size // 2 + 1, 128)
    np.testing.assert_allclose((bands.sum(), np.square(bands).sum()), SUMS[sample_rate, size], rtol=FLOAT32)


def test_a_band_is_librosas_bin_by_bin() -> None:
    first, weights = BAND_50
    band = metrics._mel_bands(44_100, 2048)[:, 50]
    assert np.flatnonzero(band).tolist() == list(range(first, first + len(weights)))
    np.testing.assert_allclose(band[first : first + len(weights)], weights, rtol=1e-6)  # seven digits are stored


def test_mrsl_is_that_of_librosas_spectrograms() -> None:
    """Its `stft` and mel bands in float64, on a decaying sine and a clipped copy of it."""
    n = np.arange(8000)
    reference = np.sin(2 * np.pi * 440 / 44_100 * n) * np.exp(-n / 4000)
    estimate = np.tanh(3 * reference) / 2
    assert metrics.mrsl(estimate, reference, 44_100) == pytest.approx(0.19366403510849348, rel=1e-9)
