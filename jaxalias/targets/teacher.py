"""The frozen model, and its settled output for a tone (eqs. 1-2)."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxalias.models import Model, Params
from jaxalias.signals import phase, sines
from jaxalias.targets import harmonics

_SILENCE = 1e-6  # peak to peak, -126 dB of full scale: a constant output differs from silence by rounding alone


def settled(
    model: Model,
    params: Params,
    tones: sines.Tones,
    knobs: Float[Array, "b knob"] | None = None,
    *,
    settling: int,
    analysed: int,
) -> Float[Array, "b t"]:
    """The last `analysed` of `settling + analysed` samples of the output for sines, with fixed knobs (eqs. 1-2).

    The parameters are constants: no gradient flows into them. The output during `settling` is not used, so XLA removes
    its computation from a convolutional model.

    Args:
        model: the network.
        params: of the teacher.
        tones: the sines, (b,).
        knobs: position of each knob for each tone; None for a model without knobs.
        settling: samples before the analysed part.
        analysed: samples to return, t.

    Example:
        y = settled(model, params, tones, settling=9_600, analysed=48_000)
    """
    frozen, x = jax.lax.stop_gradient(params), sines.render(tones, settling + analysed)
    _, memory = model.apply(frozen, x[:, :settling], model.initial_state(frozen, x.shape[0], knobs))
    return model.apply(frozen, x[:, settling:], memory)[0]


def analyse(
    model: Model,
    params: Params,
    tones: sines.Tones,
    knobs: Float[Array, "b knob"] | None = None,
    *,
    settling: int,
    analysed: int,
    number: int,
    factor: int = 1,
) -> harmonics.Harmonics:
    """The harmonics of the settled output below Nyquist (eqs. 6-11). Resynthesised (eq. 12) they are the target.

    With `factor` M the model runs as M copies of itself, each of which processes every M-th sample (`oversampling`):
    the same tone, begun a fraction of a sample later. The interleaved outputs keep the harmonics between the native
    Nyquist frequency and M times it apart, which would alias at the native rate.

    Args:
        model, params, tones, knobs, settling, analysed: as for `settled`.
        number: harmonics of the lowest possible tone, see `harmonics.highest_number`.
        factor: M, a power of two (static).

    Returns:
        The harmonics of each tone; zero from the native Nyquist frequency up.

    Example:
        found = analyse(model, params, tones, settling=9_600, analysed=48_000, number=800)
        target = harmonics.resynthesise(found, tones.increment, 48_000)
    """
    times = factor.bit_length() - 1
    slow = phase.halve(tones.increment, times)

    def copy(branch: int) -> Float[Array, "b t"]:
        later = tones._replace(phase=phase.add(tones.phase, phase.multiply(slow, branch)[1]))
        return settled(model, params, later, knobs, settling=settling, analysed=analysed)

    y = jnp.stack([copy(branch) for branch in range(factor)], axis=-1).reshape(tones.amplitude.shape[0], -1)
    found = harmonics.analyse(y, slow, number)
    keep = harmonics.below_nyquist(tones.increment, number)
    return found._replace(coefficients=jnp.where(keep, found.coefficients, 0))


def refuse_unusable(y: Float[Array | np.ndarray, "b t"], increment: phase.Turns, sample_rate: float) -> None:
    """Raise if the model's outputs for tones cannot be used to train or to measure (on the host).

    Args:
        y: settled outputs.
        increment: f0 / Fs of each tone, in turns per sample.
        sample_rate: Hz.

    Raises:
        ValueError: an output is not finite or is silent. The message names the frequency of the first such tone.

    Example:
        >>> refuse_unusable(np.array([[0.0, 1.0]]), phase.exact(np.array([0.25])), 48_000)
    """
    swing = np.ptp(np.asarray(y), axis=1)
    for bad, what in ((~np.isfinite(swing), "not finite"), (swing < _SILENCE, "silent")):
        if bad.any():
            f0_hz = phase.to_ratio(increment)[np.argmax(bad)] * sample_rate
            raise ValueError(f"the model's output is {what} for a sine of {f0_hz:.1f} Hz; it cannot be used")
