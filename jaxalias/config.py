"""What a model is and how a run goes, as frozen validated records. No behaviour.

Every record converts with `model_dump(mode="json")` and `model_validate` (pydantic); an unknown key, a wrong
type or a value out of range is an error that names the key, the rule and the value (`explain`).
"""

from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

Activation = Literal[
    "Tanh", "Hardtanh", "Fasttanh", "ReLU", "LeakyReLU", "PReLU", "Sigmoid", "SiLU", "Hardswish",
    "LeakyHardtanh", "LeakyHardTanh", "Softsign",
]  # fmt: skip
"""The element-wise functions that NAM's players know, by NAM's names."""


class Record(BaseModel):
    """Frozen, hashable, and closed: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class LSTMConfig(Record):
    """Stacked LSTM and a dense output: GuitarML SimpleRNN (two bias vectors, skip) and NAM LSTM."""

    kind: Literal["lstm"] = "lstm"
    hidden_size: PositiveInt
    num_layers: PositiveInt = 1
    bias_vectors: Literal[0, 1, 2] = Field(2, description="per layer: 2 as PyTorch, 1 where the file holds their sum")
    head_bias: bool = True
    skip: bool = Field(True, description="the input is added to the output")
    stored_initial_state: bool = Field(False, description="starts from a state in the file, not from zeros")


class LayerArrayConfig(Record):
    """One stack of dilated layers of a NAM WaveNet (the legacy, 0.5.x, schema of a NAM file)."""

    input_size: PositiveInt
    condition_size: Literal[1] = 1
    head_size: PositiveInt
    channels: PositiveInt
    kernel_size: PositiveInt
    dilations: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    activation: Activation
    gated: bool = False
    head_bias: bool = False


class WaveNetConfig(Record):
    """NAM's WaveNet: layer arrays in a chain, each adding to the head of the one before."""

    kind: Literal["wavenet"] = "wavenet"
    layer_arrays: Annotated[tuple[LayerArrayConfig, ...], Field(min_length=1)]
    head_scale: FiniteFloat

    @model_validator(mode="after")
    def _sizes_chain(self) -> Self:
        if self.layer_arrays[0].input_size != 1:
            raise ValueError(f"layers[0].input_size must be 1, got {self.layer_arrays[0].input_size}")
        if self.layer_arrays[-1].head_size != 1:
            raise ValueError(f"the last layer array's head_size must be 1, got {self.layer_arrays[-1].head_size}")
        for i, (before, after) in enumerate(zip(self.layer_arrays, self.layer_arrays[1:], strict=False), start=1):
            if after.input_size != before.channels:
                raise ValueError(
                    f"layers[{i}].input_size must be {before.channels}, the channels of the array before, "
                    f"got {after.input_size}"
                )
            if after.channels != before.head_size:
                raise ValueError(
                    f"layers[{i}].channels must be {before.head_size}, the head_size of the array before, "
                    f"got {after.channels}"
                )
        return self


ModelConfig = Annotated[LSTMConfig | WaveNetConfig, Field(discriminator="kind")]


class SineConfig(Record):
    """Training tones (eqs. 3-5). The first `settling` of each tone is not part of the target."""

    midi_low: FiniteFloat = 21.0
    midi_high: FiniteFloat = 127.0
    settling_s: PositiveFloat = 0.2
    analysed_s: PositiveFloat = 1.0

    @model_validator(mode="after")
    def _range_ascends(self) -> Self:
        if not self.midi_low < self.midi_high:
            raise ValueError(f"midi_high must be above midi_low = {self.midi_low}, got {self.midi_high}")
        return self


Reduction = Literal["ratio_of_sums", "mean_of_ratios", "geometric", "soft_hinge"]
"""How the tones of a batch become one number; see `losses.reduce`."""


class ESRConfig(Record):
    """Error-to-signal ratio (eq. 13)."""

    weight: NonNegativeFloat = 1.0
    reduction: Literal["ratio_of_sums", "mean_of_ratios", "geometric"] = "mean_of_ratios"


class NMRConfig(Record):
    """Noise-to-mask ratio (eqs. 14-16)."""

    weight: NonNegativeFloat = 1.0
    reduction: Literal["mean_of_ratios", "geometric", "soft_hinge"] = "mean_of_ratios"
    knee: PositiveFloat = Field(0.03, description="soft_hinge: the ratio (-15 dB) under which it stops counting")


class LossConfig(Record):
    """L = ESR + lambda NMR + DC (eq. 17), each term with its weight, behind a low-pass pre-emphasis."""

    esr: ESRConfig = ESRConfig()
    nmr: NMRConfig = NMRConfig()
    dc_weight: NonNegativeFloat = 0.0
    lowpass_pass_hz: PositiveFloat = 12_000.0
    lowpass_stop_hz: PositiveFloat = 16_000.0
    lowpass_attenuation_db: PositiveFloat = 80.0

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if self.esr.weight == self.nmr.weight == self.dc_weight == 0:
            raise ValueError("at least one of esr.weight, nmr.weight and dc_weight must be above 0")
        return self


class OptimiserConfig(Record):
    """Adam and what surrounds it."""

    learning_rate: PositiveFloat = 5e-4
    schedule: Literal["constant", "cosine"] = "constant"
    clip_norm: PositiveFloat | None = Field(None, description="global norm of the gradient")
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = Field(0.0, description="of the exported average; 0: none")


class FineTuneConfig(Record):
    """One run. What a preset returns, and what stands in `config.json` of a run."""

    preset: str
    updates: NonNegativeInt
    batch_size: PositiveInt = Field(description="tones in one update")
    batches_per_draw: PositiveInt = Field(1, description="batches of tones rendered together and taken in turn")
    table_tones: PositiveInt | None = Field(
        None, description="tones measured once, before the run, and drawn from with any phase; none: new tones always"
    )
    frame_s: PositiveFloat = Field(description="length of the frame of one update, of each tone's analysed part")
    precision: Literal["float32", "float64"] = "float32"
    seed: NonNegativeInt = 0
    sines: SineConfig = SineConfig()
    loss: LossConfig = LossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    validate_every: PositiveInt = Field(50, description="updates between validations")
    checkpoint_every: PositiveInt = Field(50, description="updates between checkpoints")


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


def explain(error: ValidationError) -> str:
    """The first fault of a refused record in one line: key, rule, value."""
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    rule = fault["msg"].removeprefix("Value error, ")
    value = "" if fault["type"] in ("value_error", "missing") else f", got {fault['input']!r:.80}"
    return f"{key}: {rule}{value}" if key else rule
