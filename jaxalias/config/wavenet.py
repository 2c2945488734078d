"""The records of NAM's networks without recurrence, in the legacy and the current schema of its files."""

from typing import Annotated, Literal, Self

from pydantic import Field, FiniteFloat, PositiveInt, model_validator

from jaxalias.config.record import Record

Activation = Literal[
    "Tanh", "Hardtanh", "Fasttanh", "ReLU", "LeakyReLU", "PReLU", "Sigmoid", "SiLU", "Hardswish",
    "LeakyHardtanh", "LeakyHardTanh", "Softsign",
]  # fmt: skip
"""The element-wise functions of NAM's players, under NAM's names."""


class ActivationConfig(Record):
    """An element-wise function with parameters that differ from the players' defaults."""

    type: Activation
    negative_slopes: Annotated[tuple[FiniteFloat, ...], Field(min_length=1)] = Field(
        (0.01,), description="LeakyReLU and PReLU: below zero, one for all channels or, PReLU, one for each"
    )
    min_val: FiniteFloat = -1.0
    max_val: FiniteFloat = 1.0
    min_slope: FiniteFloat = 0.01
    max_slope: FiniteFloat = 0.01

    @model_validator(mode="after")
    def _everything_counts(self) -> Self:
        parameters = _PARAMETERS.get(self.type, ())
        for name in sorted(self.model_fields_set - {"type"}):
            if name not in parameters:
                raise ValueError(f"{name} has no effect on {self.type}")
        if self.type == "LeakyReLU" and len(self.negative_slopes) > 1:
            raise ValueError(f"negative_slopes of LeakyReLU must be 1, got {len(self.negative_slopes)}")
        return self


_LIMITS = ("min_val", "max_val", "min_slope", "max_slope")
_PARAMETERS = {
    "LeakyReLU": ("negative_slopes",),
    "PReLU": ("negative_slopes",),
    "LeakyHardtanh": _LIMITS,
    "LeakyHardTanh": _LIMITS,
}
AnyActivation = Activation | ActivationConfig
GatingMode = Literal["none", "gated", "blended"]
"""h = act(z); act(z_1) act2(z_2); a act(z_1) + (1 - a) z_1 with a = act2(z_2)."""


class FiLMConfig(Record):
    """Feature-wise linear modulation: scale (and shift) of each channel, a 1x1 convolution of the condition."""

    shift: bool = True
    groups: PositiveInt = 1


class FiLMsConfig(Record):
    """The modulations of a layer, in the order of their weights in NAM's files."""

    conv_pre: FiLMConfig | None = None
    conv_post: FiLMConfig | None = None
    input_mixin_pre: FiLMConfig | None = None
    input_mixin_post: FiLMConfig | None = None
    activation_pre: FiLMConfig | None = None
    activation_post: FiLMConfig | None = None
    layer1x1_post: FiLMConfig | None = Field(None, description="used in layers of mode blended only, as in players")
    head1x1_post: FiLMConfig | None = None


class Head1x1Config(Record):
    """A 1x1 convolution between a layer's activation and the head."""

    out_channels: PositiveInt
    groups: PositiveInt = 1


class LayerArrayConfig(Record):
    """One stack of dilated layers of a NAM WaveNet. The defaults are the legacy (0.5.x) schema of a NAM file.

    A setting of the layers is one value for all of them, or a tuple with one value for each dilation.
    `models.wavenet_plan` gives the settings of each layer.
    """

    input_size: PositiveInt
    condition_size: PositiveInt = 1
    head_size: PositiveInt
    channels: PositiveInt
    kernel_size: PositiveInt | tuple[PositiveInt, ...]
    dilations: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    activation: AnyActivation | tuple[AnyActivation, ...]
    gated: bool | tuple[GatingMode, ...] = False
    head_bias: bool = False
    secondary_activation: AnyActivation | tuple[AnyActivation, ...] = "Sigmoid"
    bottleneck: PositiveInt | None = Field(None, description="channels between activation and 1x1; none: `channels`")
    head_kernel_size: PositiveInt = 1
    head_dilation: PositiveInt = 1
    groups_input: PositiveInt = 1
    groups_input_mixin: PositiveInt = 1
    layer1x1_groups: PositiveInt | None = Field(1, description="none: no layer1x1, a layer passes its input on")
    head1x1: Head1x1Config | None = None
    films: FiLMsConfig = FiLMsConfig()
    slimmable: bool = Field(False, description="players may use fewer channels; here all of them are used")

    @model_validator(mode="after")
    def _layers_fit(self) -> Self:
        for name in ("kernel_size", "activation", "gated", "secondary_activation"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != len(self.dilations):
                raise ValueError(f"{name} must be {len(self.dilations)}, one for each dilation, got {len(value)}")
        width = self.bottleneck or self.channels
        for value in (self.activation, self.secondary_activation):
            for activation in value if isinstance(value, tuple) else (value,):
                slopes = len(activation.negative_slopes) if isinstance(activation, ActivationConfig) else 1
                if slopes not in (1, width):
                    raise ValueError(f"negative_slopes must be 1 or {width}, the channels they bend, got {slopes}")
        return self

    @model_validator(mode="after")
    def _groups_divide(self) -> Self:
        width = self.bottleneck or self.channels
        modes = self.gated if isinstance(self.gated, tuple) else ("gated" if self.gated else "none",)
        rows = tuple({(1 if mode == "none" else 2) * width for mode in modes})
        groups = {
            "groups_input": (self.groups_input, (self.channels, *rows)),
            "groups_input_mixin": (self.groups_input_mixin, (self.condition_size, *rows)),
            "layer1x1.groups": (self.layer1x1_groups or 1, (width, self.channels)),
        }
        if self.head1x1:
            groups["head1x1.groups"] = (self.head1x1.groups, (width, self.head1x1.out_channels))
        films = {
            "conv_pre": (self.channels,), "conv_post": rows, "input_mixin_pre": (self.condition_size,),
            "input_mixin_post": rows, "activation_pre": rows, "activation_post": (width,),
            "layer1x1_post": (self.channels,), "head1x1_post": (self.head1x1.out_channels if self.head1x1 else 1,),
        }  # fmt: skip
        for name, widths in films.items():
            film = getattr(self.films, name)
            if film:
                scaled = ((2 if film.shift else 1) * size for size in widths)
                groups[f"{name}_film.groups"] = (film.groups, (self.condition_size, *scaled))
        for name, (count, widths) in groups.items():
            for size in widths:
                if size % count:
                    raise ValueError(f"{name} must divide {size}, the channels of one side of it, got {count}")
        if self.films.layer1x1_post and self.layer1x1_groups is None:
            raise ValueError("layer1x1_post_film must not be active where layer1x1 is not")
        if self.films.head1x1_post and self.head1x1 is None:
            raise ValueError("head1x1_post_film must not be active where head1x1 is not")
        return self


class PostHeadConfig(Record):
    """Convolutions after the last layer array and its scale, each after an activation."""

    channels: PositiveInt = Field(description="between the convolutions")
    out_channels: PositiveInt
    kernel_sizes: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    activation: AnyActivation


class WaveNetConfig(Record):
    """NAM's WaveNet: layer arrays in a chain; each adds its head to the head of the one before."""

    kind: Literal["wavenet"] = "wavenet"
    layer_arrays: Annotated[tuple[LayerArrayConfig, ...], Field(min_length=1)]
    head_scale: FiniteFloat
    head: PostHeadConfig | None = None
    condition_dsp: "WaveNetConfig | None" = Field(None, description="computes the condition; none: it is the input")
    out_channels: PositiveInt = Field(1, description="above 1 only in a condition_dsp")

    @model_validator(mode="after")
    def _sizes_chain(self) -> Self:
        last = f"the last layer array's head_size must be {self.out_channels}", self.layer_arrays[-1].head_size
        if self.head:
            last = f"head.out_channels must be {self.out_channels}", self.head.out_channels
        if last[1] != self.out_channels:
            raise ValueError(f"{last[0]}, got {last[1]}")
        if self.layer_arrays[0].input_size != 1:
            raise ValueError(f"layers[0].input_size must be 1, got {self.layer_arrays[0].input_size}")
        condition = self.condition_dsp.out_channels if self.condition_dsp else 1
        for i, array in enumerate(self.layer_arrays):
            if array.condition_size != condition:
                source = "condition_dsp" if self.condition_dsp else "the input"
                raise ValueError(
                    f"layers[{i}].condition_size must be {condition}, the channels of {source}, got "
                    f"{array.condition_size}"
                )
        for i, (before, after) in enumerate(zip(self.layer_arrays, self.layer_arrays[1:], strict=False), start=1):
            if after.input_size != before.channels:
                raise ValueError(
                    f"layers[{i}].input_size must be {before.channels}, the channels of the array before, "
                    f"got {after.input_size}"
                )
            summed = after.head1x1.out_channels if after.head1x1 else after.bottleneck or after.channels
            sizes = {"channels": after.channels, "head1x1.out_channels" if after.head1x1 else "bottleneck": summed}
            for name, size in sizes.items():
                if size != before.head_size:
                    rule = f"must be {before.head_size}, the head_size of the array before"
                    raise ValueError(f"layers[{i}].{name} {rule}, got {size}")
        return self


class ConvNetConfig(Record):
    """NAM's ConvNet: a chain of dilated convolutions with two taps, each with optional batch norm and an activation."""

    kind: Literal["convnet"] = "convnet"
    channels: PositiveInt
    dilations: Annotated[tuple[PositiveInt, ...], Field(min_length=1)]
    batchnorm: bool
    activation: AnyActivation

    @model_validator(mode="after")
    def _slopes_fit(self) -> Self:
        slopes = len(self.activation.negative_slopes) if isinstance(self.activation, ActivationConfig) else 1
        if slopes not in (1, self.channels):
            raise ValueError(f"negative_slopes must be 1 or {self.channels}, the channels, got {slopes}")
        return self


class LinearConfig(Record):
    """NAM's Linear: an impulse response."""

    kind: Literal["linear"] = "linear"
    receptive_field: PositiveInt
    bias: bool
