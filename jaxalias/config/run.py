"""The records of a run: training tones, the loss and its terms, the optimiser, and the whole run."""

from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    FiniteFloat,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from jaxalias.config.record import Record


class SineConfig(Record):
    """Training tones (eqs. 3-5). The first `settling_s` of each tone is not part of the target."""

    midi_low: FiniteFloat = 21.0
    midi_high: FiniteFloat = 127.0
    quietest_db: Annotated[float, Field(lt=0)] | None = Field(
        None, description="peaks are uniform in dB from this to 0; none: uniform in amplitude, so few tones are quiet"
    )
    whole_cycles: bool = Field(
        False,
        description="f0 moves so that each tone repeats after a whole number of samples, at most a frame; then a frame "
        "separates aliases from harmonics, and a network without recurrence needs no warm-up (`periodic_tones`)",
    )
    importance: bool = Field(
        False, description="tones whose aliases are loud are drawn more often and weigh less; needs whole_cycles"
    )
    settling_s: PositiveFloat = 0.2
    analysed_s: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _options_suit(self) -> Self:
        if not self.midi_low < self.midi_high:
            raise ValueError(f"midi_high must be above midi_low = {self.midi_low}, got {self.midi_high}")
        if self.importance and not self.whole_cycles:
            raise ValueError("sines.importance needs sines.whole_cycles = true, got false")
        return self


Reduction = Literal["ratio_of_sums", "mean_of_ratios", "geometric", "soft_hinge", "pseudo_huber"]
"""The reduction of a batch to one number; see `losses.terms.reduce`."""


class ReductionConfig(Record):
    """The weight of a term, and its reduction of the rows of a batch to one number."""

    weight: NonNegativeFloat = 1.0
    reduction: Reduction = "mean_of_ratios"
    knee: PositiveFloat | None = Field(
        None, description="the ratio below which soft_hinge and pseudo_huber are almost zero; the others have none"
    )

    @model_validator(mode="after")
    def _knee_suits(self) -> Self:
        bent = self.reduction in ("soft_hinge", "pseudo_huber")
        if bent and self.knee is None:
            raise ValueError(f"knee must be given with reduction = {self.reduction}")
        if not bent and self.knee is not None:
            raise ValueError(f"knee must be none with reduction = {self.reduction}, which has none, got {self.knee}")
        return self


class ESRConfig(ReductionConfig):
    """Error-to-signal ratio (eq. 13)."""


class NMRConfig(ReductionConfig):
    """Noise-to-mask ratio (eqs. 14-16)."""

    phase: Literal["free", "counts"] = Field(
        "free", description="noise: differences of magnitude spectra (eq. 14), or of complex spectra"
    )
    reduction: Literal["mean_of_ratios", "geometric", "soft_hinge", "pseudo_huber"] = "mean_of_ratios"


class LowpassConfig(Record):
    """A low-pass in front of the loss; frequencies above its edge have no effect (section 2.3)."""

    pass_hz: PositiveFloat = 12_000.0
    stop_hz: PositiveFloat = 16_000.0
    attenuation_db: PositiveFloat = 80.0


class LossConfig(Record):
    """L = ESR + lambda NMR + DC (eq. 17), each term with its weight, after a pre-emphasis."""

    esr: ESRConfig = ESRConfig()
    nmr: NMRConfig = Field(NMRConfig(), description="noise: all differences in magnitude from the target")
    aliases: NMRConfig | None = Field(
        None, description="noise: everything but the harmonics (sines.whole_cycles); none: no such term"
    )
    dc_weight: NonNegativeFloat = 0.0
    emphasis: Literal["flat", "a_weighting"] = Field("flat", description="in series with the low-pass")
    lowpass: LowpassConfig | None = Field(LowpassConfig(), description="none: all frequencies count")

    @property
    def is_mean_over_rows(self) -> bool:
        """True if every term is the mean of a value of each row, so that rows can have weights.

        Terms of weight 0 too: they are recorded. They have no curvature (`FineTuneConfig._terms_have_a_curvature`).
        """
        used = [term.reduction for term in (self.esr, self.nmr, self.aliases) if term is not None]
        return not {"ratio_of_sums", "geometric"} & set(used) and not self.dc_weight

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if not (self.esr.weight or self.nmr.weight or self.dc_weight or (self.aliases and self.aliases.weight)):
            raise ValueError("at least one of esr.weight, nmr.weight, aliases.weight and dc_weight must be above 0")
        return self


class CurvatureConfig(Record):
    """Gauss-Newton steps instead of Adam's (see `gauss_newton`)."""

    damping: PositiveFloat = Field(0.3, description="added to every curvature, in units of the loss")
    memory: PositiveInt = Field(1000, description="updates; time constant of the running mean of the curvature")
    renew_every: PositiveInt = Field(
        50, description="updates between factorisations, at most a twentieth of the run; no steps before the first"
    )
    sample_every: PositiveInt = Field(
        1, description="updates between samples of the curvature, after the first factorisation"
    )
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="decay per update of the mean gradient that a step follows; 0: that of one batch"
    )


class SoapConfig(Record):
    """Adam along the axes of each weight matrix (see `soap`)."""

    renew_every: PositiveInt = Field(10, description="updates between renewals of the axes; plain Adam until the first")


class OptimiserConfig(Record):
    """Adam, SOAP or Gauss-Newton steps, with schedule, clipping and averaging."""

    learning_rate: PositiveFloat = 5e-4
    schedule: Literal["constant", "cosine"] = "constant"
    clip_norm: PositiveFloat | None = Field(
        None,
        description="global norm of the gradient; with a curvature, length of a step at rate 1, measured by it",
    )
    soap: SoapConfig | None = Field(None, description="none: Adam")
    curvature: CurvatureConfig | None = Field(
        None, description="none: Adam; else the learning rate is a fraction of a Newton step"
    )
    rewind_above: Annotated[FiniteFloat, Field(gt=1)] | None = Field(
        None, description="ratio of the loss to its usual value, above which the parameters return to their average"
    )
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="of the exported average; 0: none")

    @model_validator(mode="after")
    def _options_suit(self) -> Self:
        if self.soap and self.curvature:
            raise ValueError("optimiser.soap must be none with optimiser.curvature, which makes steps of its own")
        if self.rewind_above and not self.ema_decay:
            raise ValueError("optimiser.rewind_above needs an average to go back to: give optimiser.ema_decay too")
        return self


class RateSearchConfig(Record):
    """Halve the learning rate until the first updates are stable, measured on the validation batches."""

    updates: PositiveInt = 50
    most_loss: Annotated[FiniteFloat, Field(gt=1)] = Field(
        2.0, description="highest loss after these updates, relative to that before the first"
    )
    most_esr: PositiveFloat = Field(
        0.1, description="highest ESR of the tones then, a power ratio (0.1: -10 dB), if it was not higher before"
    )


class MusicConfig(Record):
    """Excerpts of music, with the alias-free teacher as the target (`jaxalias.training.sources.music`)."""

    rows: PositiveInt = Field(description="excerpts in one update")
    frame_s: PositiveFloat = Field(description="length of the frame of one update")
    frames: PositiveInt = Field(1, description="per excerpt, one update each; the model's state is carried on")
    seconds: PositiveFloat = Field(240.0, description="most synthetic music; a short run makes only what it draws")
    oversampling: Literal[1, 2, 4, 8] = Field(8, description="multiple of its rate at which the teacher plays it")
    importance: bool = Field(
        False, description="excerpts in which the teacher's aliases are loud are drawn more often and weigh less"
    )
    loss: LossConfig

    @model_validator(mode="after")
    def _terms_suit(self) -> Self:
        if self.loss.aliases or self.loss.dc_weight:
            raise ValueError("loss.aliases must be none and loss.dc_weight 0 for music: both are of tones")
        if self.loss.esr.reduction == "ratio_of_sums":
            raise ValueError("loss.esr.reduction must not be ratio_of_sums for music, whose power is that of all of it")
        if self.importance and not self.loss.is_mean_over_rows:
            raise ValueError("importance needs a mean over rows as loss.esr.reduction and loss.nmr.reduction")
        if self.importance and self.oversampling == 1:
            raise ValueError("importance needs oversampling above 1, which tells aliases apart, got 1")
        return self


class FineTuneConfig(Record):
    """One run: the result of a preset, and the content of `run.json` in the run's folder."""

    preset: str
    updates: NonNegativeInt
    batch_size: PositiveInt = Field(description="tones in one update")
    frame_s: PositiveFloat = Field(description="length of the frame of one update, part of each tone's analysed time")
    precision: Literal["float32", "float64"] = "float32"
    seed: NonNegativeInt = 0
    sines: SineConfig = SineConfig()
    loss: LossConfig = Field(LossConfig(), description="of the tones; each other source has its own")
    music: MusicConfig | None = Field(None, description="synthetic playing, or the user's recordings")
    high_playing: MusicConfig | None = Field(None, description="single notes, bends and two notes from 660 Hz up")
    starts: MusicConfig | None = Field(None, description="music that starts from the model's initial state")
    optimiser: OptimiserConfig = OptimiserConfig()
    rate_search: RateSearchConfig | None = Field(None, description="none: the learning rate is that of the optimiser")
    validate_every: PositiveInt = Field(50, description="updates between validations")

    @model_validator(mode="after")
    def _options_suit(self) -> Self:
        if self.loss.aliases and not self.sines.whole_cycles:
            raise ValueError("loss.aliases needs sines.whole_cycles = true, got false")
        if self.sines.importance and not self.loss.is_mean_over_rows:
            raise ValueError("sines.importance needs a mean over rows as every reduction of the loss, and no DC")
        if self.starts and self.starts.importance:
            raise ValueError("starts.importance must be false: the teacher plays them at each draw")
        if self.optimiser.curvature:
            self._terms_have_a_curvature()
        return self

    def _terms_have_a_curvature(self) -> None:
        """Refuse losses that are no mean over rows of functions of squares: the curvature is computed row by row."""
        every = {
            "": self,
            **{f"{name}.": getattr(self, name) for name in ("music", "high_playing", "starts")},
        }
        for name, part in every.items():
            if part is None:
                continue
            for term in ("esr", "nmr", "aliases"):
                found = getattr(part.loss, term)
                if found and found.weight and found.reduction in ("ratio_of_sums", "geometric"):
                    raise ValueError(
                        f"optimiser.curvature needs a mean over rows as {name}loss.{term}.reduction, "
                        f"not {found.reduction}"
                    )
        if self.loss.dc_weight:
            raise ValueError("optimiser.curvature needs loss.dc_weight = 0: it does not know this term")


class PretrainConfig(Record):
    """One run that trains a model from a recording. Lengths are in samples."""

    updates: NonNegativeInt
    batch_size: PositiveInt = Field(description="segments in one update")
    warm_up: NonNegativeInt = Field(description="lead-in of a segment, without gradient")
    frame: PositiveInt = Field(description="of one update")
    frames: PositiveInt = Field(description="in a segment, one update each")
    held_out: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="share of each recording, its end")
    precision: Literal["float32", "float64"] = "float32"
    seed: NonNegativeInt = 0
    optimiser: OptimiserConfig = OptimiserConfig()
    validate_every: PositiveInt = Field(100, description="updates between validations")

    @model_validator(mode="after")
    def _options_suit(self) -> Self:
        if self.optimiser.curvature:
            raise ValueError("optimiser.curvature must be none: the loss of pretraining is no mean over rows")
        return self
