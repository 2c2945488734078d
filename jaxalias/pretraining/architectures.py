"""The networks that players load (GuitarML's LSTM, the sizes of NAM's WaveNet) and the settings of their training."""

from typing import NamedTuple

from jaxalias.config import LayerArrayConfig, LSTMConfig, OptimiserConfig, PretrainConfig, WaveNetConfig


class Architecture(NamedTuple):
    """A network, its training settings, and its file format."""

    model: LSTMConfig | WaveNetConfig
    training: PretrainConfig
    format: str  # "guitarml" or "nam"
    sample_rate: int  # Hz, of its player


def _wavenet(channels: tuple[int, int], dilations: tuple[tuple[int, ...], tuple[int, ...]]) -> Architecture:
    """Two layer arrays, the second half as wide, kernels of 3, tanh, as in neural-amp-modeler 0.12.3.

    The learning rate is NAM's. The segments have 16384 samples after a lead-in of one receptive field (section 3.2).
    """
    first, second = channels
    arrays = tuple(
        LayerArrayConfig(
            input_size=inputs, head_size=head, channels=width, kernel_size=3, dilations=steps,
            activation="Tanh", gated=False, head_bias=bias,
        )
        for inputs, head, width, steps, bias in (
            (1, second, first, dilations[0], False), (first, 1, second, dilations[1], True),
        )
    )  # fmt: skip
    past = sum(2 * sum(steps) for steps in dilations)
    training = PretrainConfig(
        updates=12_000,
        batch_size=40,
        warm_up=past,
        frame=16_384,
        frames=1,
        optimiser=OptimiserConfig(learning_rate=4e-3, schedule="cosine", clip_norm=1.0),
    )
    return Architecture(WaveNetConfig(layer_arrays=arrays, head_scale=0.02), training, "nam", 48_000)


_DOUBLING = tuple(2**k for k in range(10))
_SHORT, _LONG = _DOUBLING[:7], (128, 256, 512, *_DOUBLING)

ARCHITECTURES = {
    "lstm-40": Architecture(
        LSTMConfig(hidden_size=40),
        PretrainConfig(
            updates=30_000,
            batch_size=40,
            warm_up=1_000,
            frame=2_048,
            frames=10,
            optimiser=OptimiserConfig(learning_rate=5e-3, schedule="cosine", clip_norm=1.0),
        ),
        "guitarml",
        44_100,
    ),
    "nam-standard": _wavenet((16, 8), (_DOUBLING, _DOUBLING)),
    "nam-lite": _wavenet((12, 6), (_SHORT, _LONG)),
    "nam-feather": _wavenet((8, 4), (_SHORT, _LONG)),
    "nam-nano": _wavenet((4, 2), (_SHORT, _LONG)),
}
"""By the names that users know."""
