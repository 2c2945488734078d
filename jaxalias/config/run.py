"""The records of a run: the training tones, the loss and its terms, the optimiser, and the whole of a run."""

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
    """Training tones (eqs. 3-5). The first `settling` of each tone is not part of the target."""

    midi_low: FiniteFloat = 21.0
    midi_high: FiniteFloat = 127.0
    quietest_db: Annotated[float, Field(lt=0)] | None = Field(
        None, description="peaks are uniform in dB from here to 0; none: the amplitude is uniform, few tones are quiet"
    )
    whole_cycles: bool = Field(
        False,
        description="f0 moves to where a whole number of cycles fits into samples, at most a frame, so that a frame "
        "tells aliases from harmonics, and a network without recurrence is settled from its first sample "
        "(`periodic_tones`)",
    )
    settling_s: PositiveFloat = 0.2
    analysed_s: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _range_ascends(self) -> Self:
        if not self.midi_low < self.midi_high:
            raise ValueError(f"midi_high must be above midi_low = {self.midi_low}, got {self.midi_high}")
        return self


Reduction = Literal["ratio_of_sums", "mean_of_ratios", "geometric", "soft_hinge", "pseudo_huber"]
"""How the tones of a batch become one number; see `losses.reduce`."""


class ESRConfig(Record):
    """Error-to-signal ratio (eq. 13)."""

    weight: NonNegativeFloat = 1.0
    reduction: Reduction = "mean_of_ratios"
    knee: PositiveFloat = Field(
        0.01, description="the ratio (-20 dB) up to which soft_hinge and pseudo_huber hardly count"
    )


class NMRConfig(Record):
    """Noise-to-mask ratio (eqs. 14-16)."""

    of: Literal["error", "tone_error", "aliases"] = Field(
        "error",
        description="noise: all that differs from the target; that of tones alone, since the target of music has the "
        "teacher's aliases; or of a tone what is no harmonic (sines.whole_cycles)",
    )
    weight: NonNegativeFloat = 1.0
    reduction: Literal["mean_of_ratios", "geometric", "soft_hinge", "pseudo_huber"] = "mean_of_ratios"
    knee: PositiveFloat = Field(
        0.03, description="the ratio (-15 dB) up to which soft_hinge and pseudo_huber hardly count"
    )
    ramp: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="share of the run over which the weight grows from 0; 0: it is there from the start"
    )


class HarmonicConfig(Record):
    """Levels of the harmonics alone, aliases aside: mean squared difference in bels (see `losses`)."""

    weight: PositiveFloat = 1.0
    floor_db: Annotated[float, Field(lt=0)] = Field(
        -60.0, description="under the strongest harmonic of the tone; what lies deeper counts little"
    )


class LowpassConfig(Record):
    """What lies above its edge is not asked of the student (section 2.3)."""

    pass_hz: PositiveFloat = 12_000.0
    stop_hz: PositiveFloat = 16_000.0
    attenuation_db: PositiveFloat = 80.0


class LossConfig(Record):
    """L = ESR + lambda NMR + DC (eq. 17) and the levels of harmonics, each with its weight, behind a pre-emphasis."""

    esr: ESRConfig = ESRConfig()
    nmr: NMRConfig = NMRConfig()
    harmonic: HarmonicConfig | None = None
    dc_weight: NonNegativeFloat = 0.0
    emphasis: Literal["flat", "a_weighting"] = Field("flat", description="in series with the low-pass")
    lowpass: LowpassConfig | None = Field(LowpassConfig(), description="none: all is heard, to half the sample rate")

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if self.esr.weight == self.nmr.weight == self.dc_weight == 0 and self.harmonic is None:
            raise ValueError("at least one of esr.weight, nmr.weight and dc_weight must be above 0, or harmonic given")
        return self


class CurvatureConfig(Record):
    """Gauss-Newton steps in the place of Adam's (see `gauss_newton`)."""

    damping: PositiveFloat = Field(0.3, description="added to every curvature, in units of the loss")
    memory: PositiveInt = Field(1000, description="updates that the running mean of the curvature reaches back")
    renew_every: PositiveInt = Field(
        50, description="updates between factorisations, a twentieth of the run at most; the first so many only gather"
    )


class SoapConfig(Record):
    """Adam along the axes of each weight matrix (see `soap`)."""

    renew_every: PositiveInt = Field(
        10, description="updates between renewals of the axes; until the first there are none, as for Adam"
    )


class OptimiserConfig(Record):
    """Adam, SOAP or Gauss-Newton steps, and what surrounds them."""

    learning_rate: PositiveFloat = 5e-4
    schedule: Literal["constant", "cosine"] = "constant"
    clip_norm: PositiveFloat | None = Field(
        None, description="global norm of the gradient; with a curvature, of the step"
    )
    soap: SoapConfig | None = Field(None, description="none: Adam")
    curvature: CurvatureConfig | None = Field(
        None, description="none: Adam; else the learning rate is the share of a Newton step"
    )
    rewind_above: Annotated[FiniteFloat, Field(gt=1)] | None = Field(
        None, description="times its usual value, above which a loss sends the parameters to their average (`rewind`)"
    )
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="of the exported average; 0: none")
    pull: NonNegativeFloat = Field(
        0.0, description="decay towards where the run began instead of towards zero, decoupled as in AdamW"
    )

    @model_validator(mode="after")
    def _one_kind_of_steps(self) -> Self:
        if self.soap and self.curvature:
            raise ValueError("optimiser.soap must be none with optimiser.curvature, which makes steps of its own")
        return self


class TrialConfig(Record):
    """The learning rate is halved until the first updates do little harm, on the validation tones: `rate_search`."""

    updates: PositiveInt = 50
    most_loss: Annotated[FiniteFloat, Field(gt=1)] = Field(
        2.0, description="times what it was before the first update, that the loss may be after so many"
    )
    most_esr: PositiveFloat = Field(0.1, description="the ratio (-10 dB) that the ESR may be then")


class FineTuneConfig(Record):
    """One run. What a preset returns, and what stands in `run.json` of its folder."""

    preset: str
    updates: NonNegativeInt
    batch_size: PositiveInt = Field(description="tones in one update")
    batches_per_draw: PositiveInt = Field(1, description="batches of tones rendered together and taken in turn")
    table_tones: PositiveInt | None = Field(
        None, description="tones measured once, before the run, and drawn from with any phase; none: new tones always"
    )
    music_rows: NonNegativeInt = Field(0, description="segments of music in one update, besides the tones")
    music_starts: NonNegativeInt = Field(
        0, description="so many of them begin as a player does: without a past, counting from the first sample"
    )
    teacher_oversampling: Literal[1, 2, 4, 8] = Field(
        1, description="multiple of its rate at which the teacher makes the targets: truer harmonics, less folded"
    )
    frame_s: PositiveFloat = Field(description="length of the frame of one update, of each tone's analysed part")
    precision: Literal["float32", "float64"] = "float32"
    seed: NonNegativeInt = 0
    sines: SineConfig = SineConfig()
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    trial: TrialConfig | None = Field(None, description="none: the learning rate is that of the optimiser")
    validate_every: PositiveInt = Field(50, description="updates between validations")
    checkpoint_every: PositiveInt = Field(50, description="updates between checkpoints")

    @model_validator(mode="after")
    def _options_suit(self) -> Self:
        if self.loss.nmr.of == "aliases" and not self.sines.whole_cycles:
            raise ValueError("loss.nmr.of = aliases needs sines.whole_cycles = true, got false")
        if self.sines.whole_cycles and self.table_tones:
            raise ValueError("table_tones must be none with sines.whole_cycles, which draws other tones")
        if self.music_starts > self.music_rows:
            raise ValueError(f"music_starts must be at most music_rows = {self.music_rows}, got {self.music_starts}")
        if self.optimiser.curvature:
            self._terms_have_a_curvature()
        return self

    def _terms_have_a_curvature(self) -> None:
        """It is made of every tone's own squares: of the error, and of the aliases over the mask."""
        loss = self.loss
        if loss.nmr.of != "aliases":
            raise ValueError(f"optimiser.curvature needs loss.nmr.of = aliases, got {loss.nmr.of}")
        for name, reduction in (("esr", loss.esr.reduction), ("nmr", loss.nmr.reduction)):
            if reduction in ("ratio_of_sums", "geometric"):
                raise ValueError(
                    f"optimiser.curvature needs a mean over tones as loss.{name}.reduction, not {reduction}"
                )
        if loss.dc_weight or loss.harmonic:
            raise ValueError("optimiser.curvature needs loss.dc_weight = 0 and loss.harmonic = none: it knows neither")


class PretrainConfig(Record):
    """One run that trains a model from a recording. Lengths are in samples."""

    updates: NonNegativeInt
    batch_size: PositiveInt = Field(description="segments in one update")
    warm_up: NonNegativeInt = Field(description="heard before a segment, without gradient")
    frame: PositiveInt = Field(description="of one update")
    frames: PositiveInt = Field(description="in a segment, one update each")
    held_out: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="share of each recording, its end")
    precision: Literal["float32", "float64"] = "float32"
    seed: NonNegativeInt = 0
    optimiser: OptimiserConfig = OptimiserConfig()
    validate_every: PositiveInt = Field(100, description="updates between validations")
    checkpoint_every: PositiveInt = Field(100, description="updates between checkpoints")
