"""A long signal in pieces is the signal as a whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from jaxalias import evaluation, models
from jaxalias.config import LayerArrayConfig, WaveNetConfig
from jaxalias.targets.oversampling import at_rates
from jaxalias.targets.pieces import in_pieces

X = np.random.default_rng(0).uniform(-1, 1, 1000)


@pytest.mark.parametrize(
    ("longest", "calls"), [(1, 1000), (7, 143), (333, 4), (500, 2), (999, 2), (1000, 1), (2000, 1)]
)
def test_outputs_are_those_of_the_whole_where_the_memory_is_shorter_than_what_is_played_before(
    longest: int, calls: int
) -> None:
    """Of a filter with 21 taps and of one that looks as far ahead; all calls are equally long."""
    lengths = []

    def play(x: np.ndarray) -> list[np.ndarray]:
        lengths.append(len(x))
        return [np.convolve(x, np.arange(1, 22.0))[: len(x)], np.convolve(x[::-1], np.arange(1, 22.0))[: len(x)][::-1]]

    found, wanted = in_pieces(play, X, longest=longest, settling=20), play(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    pieces = lengths[:-1]  # the last call is that of the whole
    assert len(pieces) == calls and len(set(pieces)) == 1 and pieces[0] <= longest + 40


def test_the_ends_of_resampled_pieces_are_not_used() -> None:
    """The alias-free output of a WaveNet for noise below a quarter of Nyquist; the whole has ends of its own."""
    array = LayerArrayConfig(
        input_size=1, head_size=1, channels=2, kernel_size=2, dilations=(1, 4), activation="Tanh", head_bias=True
    )
    model = models.build(WaveNetConfig(layer_arrays=(array,), head_scale=0.1))
    params = model.init(jax.random.key(0))
    x = scipy.signal.sosfilt(scipy.signal.butter(8, 0.25, output="sos"), np.random.default_rng(1).normal(size=40_000))
    both = at_rates(evaluation.player(model, params, "float64"), (1, 4))

    def play(piece: np.ndarray) -> list[np.ndarray]:
        return [y[0] for y in both(jnp.asarray(piece)[None])]

    found, wanted = in_pieces(play, x, longest=10_000, settling=4000), play(x)
    for ours, theirs, most_db in zip(found, wanted, (-250, -90), strict=True):
        error = np.mean((ours - theirs)[1000:-1000] ** 2) / np.mean(theirs**2)
        assert 10 * np.log10(error + 1e-30) < most_db
