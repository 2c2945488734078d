"""Recipes: functions of the model's kind that return one frozen config each."""

from collections.abc import Callable

from jaxalias.config import (
    CurvatureConfig,
    ESRConfig,
    FineTuneConfig,
    LossConfig,
    LowpassConfig,
    ModelConfig,
    NMRConfig,
    OptimiserConfig,
    RecurrentConfig,
    SineConfig,
    SoapConfig,
    TrialConfig,
)


def paper(model: ModelConfig) -> FineTuneConfig:
    """The text of the paper: L = ESR + NMR, Adam 5e-4 constant, 40 000 updates in double precision.

    Published: 24 h at most on a GTX 1080; NMR-S of the Mesa LSTM from 19.3 to -14.8 dB (its Table 1).
    """
    return _published(model, "paper", LossConfig(esr=ESRConfig(weight=1.0), nmr=NMRConfig(weight=1.0)))


def authors(model: ModelConfig) -> FineTuneConfig:
    """The program that made the published weights: 0.5 ESR + 0.5 NMR + DC, with its own reductions.

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

    A recurrent model: ESR of each tone, averaged over tones, plus 0.03 times a soft hinge of each tone's NMR at -15 dB;
    some music among the tones, from the first sample that a player plays; SOAP's steps (`soap`) with cosine decay,
    clipped, at the highest rate that does little harm at first (`rate_search`); the moving average of the parameters is
    exported.

    A network without recurrence: tones that repeat, so that it is heard settled and its aliases are told from its
    harmonics; what counts beside the ESR is the amplitude of the aliases alone, and the steps are Gauss-Newton's
    (`periodic_tones`, `gauss_newton`).

    Tones up to MIDI 112 (5.3 kHz): those above alias most, are given up least, and take most of the gradient.

    Obtained (experiments/RESULTS.md), NMR-S and HESR-T in dB, in brackets those of the authors' student. One core of
    two of an AMD EPYC, the other at work too: Broadcast LSTM, 17 minutes: from 8.8 to -24.7, -28.4 (-20.9, -26.1).
    H100, ten LSTMs in one program, 2.5 minutes: Mesa LSTM: from 24.9 to -27.5, -33.0 (-15.7, -22.8). One core of an
    Intel Xeon, 1.3 times as fast: Broadcast TCN, 7 minutes: from 11.8 to -25.2, -21.2 (-23.4, -15.1). 5150 NAM, 7
    minutes: from 10.1 to -22.1, -19.6.
    """
    if isinstance(model, RecurrentConfig):
        return FineTuneConfig(
            preset="fast",
            updates=3200,
            **_rows(model, tones=36, music=4, starts=4),
            frame_s=0.05,
            sines=SineConfig(midi_low=18.0, midi_high=112.0, quietest_db=-50.0, analysed_s=0.5),
            loss=LossConfig(
                nmr=NMRConfig(weight=0.03, reduction="soft_hinge", knee=0.03),
                lowpass=LowpassConfig(pass_hz=16_000.0, stop_hz=18_000.0),
            ),
            optimiser=OptimiserConfig(
                learning_rate=5e-3, schedule="cosine", clip_norm=1.0, ema_decay=0.995, soap=SoapConfig()
            ),
            trial=TrialConfig(),
        )
    return FineTuneConfig(
        preset="fast",
        updates=1500,
        batch_size=24,
        batches_per_draw=10,
        frame_s=0.05,
        sines=SineConfig(midi_high=112.0, whole_cycles=True, quietest_db=-50.0),
        loss=LossConfig(nmr=NMRConfig(of="aliases", weight=0.03, reduction="pseudo_huber", knee=0.03)),
        optimiser=OptimiserConfig(
            learning_rate=0.2, schedule="cosine", clip_norm=0.15, ema_decay=0.98, curvature=CurvatureConfig()
        ),
    )


def balanced(model: ModelConfig) -> FineTuneConfig:
    """Half an hour or little more, of a network without recurrence a quarter: as `fast`, but longer.

    A recurrent model hears more music, all frequencies. What counts with it beside the ESR is the amplitude of what
    is wrong with a tone, so that the loudest aliases lead; music has no NMR: its target holds the teacher's aliases.
    Where its loss leaps it goes on from the average (`rewind`).

    Obtained like the above. H100, several LSTMs in one program, 3.3 and 3.6 minutes, before there was a rewind:
    Broadcast LSTM from 8.8 to -24.8, -30.5 (-20.9, -26.1), Mesa LSTM from 24.9 to -26.6, -32.5 (-15.7, -22.8). Intel
    Xeon: 5150 NAM, 14 minutes: from 10.1 to -24.9, -20.1. Broadcast TCN, by slower updates, 22 minutes: from 11.8 to
    -30.7, -23.0 (-23.4, -15.1).
    """
    config = fast(model)
    if not isinstance(model, RecurrentConfig):
        return config.model_copy(update={"preset": "balanced", "updates": 3000})
    changes = {
        "preset": "balanced",
        "updates": 5000,
        "loss": LossConfig(nmr=NMRConfig(of="tone_error", weight=0.03, reduction="pseudo_huber"), lowpass=None),
        "optimiser": config.optimiser.model_copy(update={"learning_rate": 4e-3, "rewind_above": 10.0}),
        **_rows(model, tones=40, music=24, starts=4),
    }
    return config.model_copy(update=changes)


def best(model: ModelConfig) -> FineTuneConfig:
    """The best that is known, an hour or little more: as `balanced`, twice as long, a recurrent model with more tones.

    Obtained like the above. One core of the EPYC: Broadcast LSTM, 73 minutes: from 8.8 to -29.7, -32.6 (-20.9, -26.1).
    Mesa LSTM, 74 minutes: from 24.9 to -31.5, -35.3 (-15.7, -22.8). Intel Xeon: Broadcast TCN, 27 minutes: from 11.8 to
    -32.8, -24.0 (-23.4, -15.1). 5150 NAM, 26 minutes: from 10.1 to -27.7, -20.6.
    """
    config = balanced(model)
    changes = {"preset": "best", "updates": 2 * config.updates}
    if isinstance(model, RecurrentConfig):
        changes |= _rows(model, tones=48, music=16, starts=4)
    return config.model_copy(update=changes)


PRESETS: dict[str, Callable[[ModelConfig], FineTuneConfig]] = {
    "fast": fast,
    "balanced": balanced,
    "best": best,
    "paper": paper,
    "authors": authors,
}


def _rows(model: RecurrentConfig, tones: int, music: int, starts: int = 0) -> dict[str, int]:
    """Of a batch. With knobs all are tones: music has its target at one position of theirs."""
    if model.input_size > 1:
        tones, music, starts = tones + music, 0, 0
    return {"batch_size": tones, "music_rows": music, "music_starts": starts}


def _published(model: ModelConfig, name: str, loss: LossConfig) -> FineTuneConfig:
    """What text and program share (section 2.5): TBPTT frames of N/10 for a recurrent model, of N/2 for a TCN."""
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
        checkpoint_every=500,
    )
