"""Feature-wise linear modulation (FiLM) as in NAM: the condition scales each channel, and may shift it."""

import flax.linen as nn
from jaxtyping import Array, Float

from jaxalias.config.wavenet import FiLMConfig
from jaxalias.models.convolution import Pointwise, newest


class FiLM(nn.Module):
    """y = scale(condition) x + shift(condition). One 1x1 convolution gives both; its first rows are the scale.

    The condition may be longer than x; then its newest samples are used.
    """

    config: FiLMConfig

    @nn.compact
    def __call__(self, x: Float[Array, "c t"], condition: Float[Array, "d s"]) -> Float[Array, "c t"]:
        channels = x.shape[0]
        rows = 2 * channels if self.config.shift else channels
        modulation = Pointwise(rows, bias=True, groups=self.config.groups, name="film")(newest(condition, x))
        y = modulation[:channels] * x
        return y + modulation[channels:] if self.config.shift else y
