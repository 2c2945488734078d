"""Presets: functions from a model's config to one frozen config of a run."""

from collections.abc import Callable
from typing import Any

from jaxalias.config import (
    CurvatureConfig,
    ESRConfig,
    FineTuneConfig,
    LossConfig,
    ModelConfig,
    MusicConfig,
    NMRConfig,
    OptimiserConfig,
    RateSearchConfig,
    RecurrentConfig,
    Reduction,
    SineConfig,
    SoapConfig,
)


def paper(model: ModelConfig) -> FineTuneConfig:
    """The settings in the text of the paper: L = ESR + NMR, Adam 5e-4 constant, 40 000 updates in double precision.

    Published: at most 24 h on a GTX 1080; NMR-S of the Mesa LSTM from 19.3 to -14.8 dB (its Table 1).
    """
    return _published(model, "paper", LossConfig(esr=ESRConfig(weight=1.0), nmr=NMRConfig(weight=1.0)))


def authors(model: ModelConfig) -> FineTuneConfig:
    """The settings of the program that made the published weights: 0.5 ESR + 0.5 NMR + DC, with its own reductions.

    The ESR is one ratio of sums over the batch, the NMR the geometric mean over its tones.
    """
    loss = LossConfig(
        esr=ESRConfig(weight=0.5, reduction="ratio_of_sums"),
        nmr=NMRConfig(weight=0.5, reduction="geometric"),
        dc_weight=1.0,
    )
    return _published(model, "authors", loss)


def fast(model: ModelConfig) -> FineTuneConfig:
    """The default: minutes on a laptop's CPU.

    All models: tones, music, and notes played high, each with its own ESR and NMR. The target of music is the
    alias-free teacher. The moving average of the parameters is exported. No low-pass.

    The steps have cosine decay and clipping, at the highest stable learning rate (`jaxalias.training.rate_search`).

    A recurrent model: a soft hinge of the NMR at -15 dB; some music that starts from the model's initial state; SOAP
    steps (`jaxalias.optimisers.soap`).

    A network without recurrence: tones that repeat, so that the steady-state response needs no warm-up and aliases
    separate from harmonics (`jaxalias.signals.periodic_tones`); for tones a pseudo-Huber function of the NMR, close to
    the amplitude of audible errors, so that the loudest dominate; for music a soft hinge, close to the number of
    audible frames; tones and excerpts on which the teacher's aliases are loud drawn more often
    (`jaxalias.training.importance`); Gauss-Newton steps with momentum (`jaxalias.optimisers.gauss_newton`).

    Tones up to MIDI 112 (5.3 kHz): higher ones alias most and would dominate the gradient.

    Command, time, hardware and figures: experiments/RESULTS.md. How the numbers were chosen: experiments/RECIPES.md.
    """
    if isinstance(model, RecurrentConfig):
        return FineTuneConfig(
            preset="fast",
            updates=3200,
            batch_size=24,
            frame_s=0.05,
            sines=SineConfig(midi_low=18.0, midi_high=112.0, quietest_db=-50.0, analysed_s=0.5),
            loss=_recurrent_loss(1.0, "soft_hinge"),
            music=_recurrent_music(8, _recurrent_loss(1.0, "soft_hinge")),
            high_playing=_recurrent_music(6, _recurrent_loss(0.5, "soft_hinge"), high=True),
            starts=_recurrent_music(4, _recurrent_loss(0.1, "soft_hinge")),
            optimiser=OptimiserConfig(
                learning_rate=5e-3, schedule="cosine", clip_norm=1.0, ema_decay=0.995, soap=SoapConfig()
            ),
            rate_search=RateSearchConfig(),
        )
    return FineTuneConfig(
        preset="fast",
        updates=2000,
        batch_size=12,
        frame_s=0.05,
        sines=SineConfig(midi_high=112.0, whole_cycles=True, importance=True, quietest_db=-50.0),
        loss=LossConfig(nmr=_amplitude(0.03), aliases=_amplitude(0.03), lowpass=None),
        music=_convolutional_music(4),
        high_playing=_convolutional_music(6, 16.0, high=True),
        optimiser=OptimiserConfig(
            learning_rate=0.2, schedule="cosine", clip_norm=0.5, ema_decay=0.98, rewind_above=100.0,
            curvature=CurvatureConfig(damping=1.0, sample_every=4, momentum=0.9),
        ),
        rate_search=RateSearchConfig(updates=150, most_loss=1.2),
    )  # fmt: skip


def balanced(model: ModelConfig) -> FineTuneConfig:
    """As `fast`, but longer. A recurrent model also has more rows of each source, and a pseudo-Huber NMR.

    If the loss of a recurrent model jumps, the run continues from the average (`jaxalias.optimisers.rewind`).
    """
    config = fast(model)
    if not isinstance(model, RecurrentConfig):
        return config.model_copy(update={"preset": "balanced", "updates": 4000})
    changes = {
        "preset": "balanced",
        "updates": 5000,
        "batch_size": 36,
        "loss": _recurrent_loss(1.0, "pseudo_huber"),
        "music": _recurrent_music(12, _recurrent_loss(1.0, "pseudo_huber")),
        "high_playing": _recurrent_music(12, _recurrent_loss(0.5, "pseudo_huber"), high=True),
        "starts": _recurrent_music(4, _recurrent_loss(0.1, "pseudo_huber")),
        "optimiser": config.optimiser.model_copy(update={"learning_rate": 4e-3, "rewind_above": 10.0}),
    }
    return config.model_copy(update=changes)


def best(model: ModelConfig) -> FineTuneConfig:
    """As `balanced`, twice as long.

    Measured on three WaveNets and two LSTMs: fewer aliases than by `fast`, playing no nearer (experiments/RESULTS.md).
    """
    config = balanced(model)
    return config.model_copy(update={"preset": "best", "updates": 2 * config.updates})


def with_music(config: FineTuneConfig, model: ModelConfig, rows: int) -> FineTuneConfig:
    """The config with at least `rows` rows of a user's recordings: a new source, or more rows of the existing one.

    Recordings may have high notes, so the teacher plays them at 8 times its rate.
    """
    recurrent = isinstance(model, RecurrentConfig)
    found = config.music or (
        _recurrent_music(rows, _recurrent_loss(0.5, "pseudo_huber")) if recurrent else _convolutional_music(rows)
    )
    changes = {"rows": max(rows, found.rows), "oversampling": 8}
    return config.model_copy(update={"music": found.model_copy(update=changes)})


PRESETS: dict[str, Callable[[ModelConfig], FineTuneConfig]] = {
    "fast": fast,
    "balanced": balanced,
    "best": best,
    "paper": paper,
    "authors": authors,
}


def _amplitude(weight: float) -> NMRConfig:
    """A pseudo-Huber function of the NMR: like the amplitude of audible errors, almost zero below -15 dB."""
    return NMRConfig(phase="counts", weight=weight, reduction="pseudo_huber", knee=0.03)


def _convolutional_music(rows: int, weight: float = 12.0, *, high: bool = False) -> MusicConfig:
    """Excerpts of five STFT frames after a lead-in of one receptive field.

    The weight is that of the ESR; the ESR of the tones has 1. The NMR has 0.045 times as much.
    `high`: for high playing.
    """
    nmr = NMRConfig(phase="counts", weight=0.045 * weight, reduction="soft_hinge", knee=0.03)
    loss = LossConfig(esr=ESRConfig(weight=weight), nmr=nmr, lowpass=None)
    return MusicConfig(rows=rows, frame_s=0.14, importance=True, loss=loss, **_material(high))


def _recurrent_loss(share: float, reduction: Reduction) -> LossConfig:
    """ESR and 0.03 times the NMR above -15 dB, both multiplied by `share`; all frequencies."""
    return LossConfig(
        esr=ESRConfig(weight=share), nmr=NMRConfig(weight=0.03 * share, reduction=reduction, knee=0.03), lowpass=None
    )


def _recurrent_music(rows: int, loss: LossConfig, *, high: bool = False) -> MusicConfig:
    """Excerpts of half a second, in frames as long as those of the tones, so that one call plays both."""
    return MusicConfig(rows=rows, frame_s=0.05, frames=10, loss=loss, **_material(high))


def _material(high: bool) -> dict[str, Any]:
    """Length of the music, and the multiple of the rate at which the teacher plays it.

    So long that students do not overfit to it. At 4 times the rate, a teacher's aliases are at least 19 dB below
    audibility in every frame of playing; notes played high need 8 times. Measured: experiments/RECIPES.md.
    """
    return {"seconds": 360.0, "oversampling": 8} if high else {"seconds": 240.0, "oversampling": 4}


def _published(model: ModelConfig, name: str, loss: LossConfig) -> FineTuneConfig:
    """What the paper and its program share (section 2.5): TBPTT frames of N/10 for a recurrent model, N/2 for a TCN."""
    recurrent = isinstance(model, RecurrentConfig)
    return FineTuneConfig(
        preset=name,
        updates=40_000,
        batch_size=40 if recurrent else 32,
        frame_s=0.1 if recurrent else 0.5,
        precision="float64",
        loss=loss,
        optimiser=OptimiserConfig(learning_rate=5e-4),
        validate_every=1000,
    )
