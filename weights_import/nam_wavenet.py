"""The config of a WaveNet in a NAM file, in the legacy (0.5.x) and the current (0.6, 0.7) schema, and mixtures of both.

Source: NeuralAmpModelerCore 0.5.5. What it throws at is refused here; what it ignores (limits of Hardtanh, a secondary
activation without a gate) is read and left alone.
"""

from typing import Any, Literal, get_args

from pydantic import Field, FiniteFloat, PositiveInt

from jaxalias.config.record import Record
from jaxalias.config.wavenet import Activation, ActivationConfig, FiLMsConfig, LayerArrayConfig, WaveNetConfig
from jaxalias.models import wavenet_plan
from weights_import import checks
from weights_import.model_file import OTHER_KIND, ModelFileError, fault

_LAYERS_LIMIT = 256  # the largest known has 80; each is compiled
RECEPTIVE_FIELD_LIMIT = 1_000_000  # samples; the longest known is 6347, and playing has to hold them all ...
STATE_LIMIT = 2**26  # ... in every channel
_FILMS = tuple(f"{name}_film" for name in FiLMsConfig.model_fields)


class _Head(Record):
    out_channels: PositiveInt
    kernel_size: PositiveInt
    bias: bool
    head_dilation: PositiveInt = 1


class _Head1x1(Record):
    active: bool
    out_channels: PositiveInt
    groups: PositiveInt


class _Layer1x1(Record):
    active: bool
    groups: PositiveInt


class _FiLM(Record):
    active: bool
    shift: bool = True
    groups: PositiveInt = 1


class _Slimmable(Record):
    method: Literal["slice_channels_uniform"]
    kwargs: dict[str, Any] = Field(default_factory=dict)


class _LayerArray(Record):
    """Both schemas; `_layer_array` says which keys go together."""

    input_size: PositiveInt
    condition_size: PositiveInt
    channels: PositiveInt
    dilations: tuple[PositiveInt, ...] = Field(min_length=1)
    activation: Any
    kernel_size: PositiveInt | None = None
    kernel_sizes: tuple[PositiveInt, ...] | None = None
    head_size: PositiveInt | None = None
    head_bias: bool | None = None
    head: _Head | None = None
    bottleneck: PositiveInt | None = None
    gated: bool = False
    gating_mode: Any = None
    secondary_activation: Any = None
    head1x1: _Head1x1 = _Head1x1(active=False, out_channels=1, groups=1)
    layer1x1: _Layer1x1 = _Layer1x1(active=True, groups=1)
    groups_input: PositiveInt = 1
    groups_input_mixin: PositiveInt = 1
    slimmable: _Slimmable | None = None
    conv_pre_film: Any = False
    conv_post_film: Any = False
    input_mixin_pre_film: Any = False
    input_mixin_post_film: Any = False
    activation_pre_film: Any = False
    activation_post_film: Any = False
    layer1x1_post_film: Any = False
    head1x1_post_film: Any = False


class _PostHead(Record):
    channels: PositiveInt
    out_channels: PositiveInt
    kernel_sizes: tuple[PositiveInt, ...] = Field(min_length=1)
    activation: Any
    in_channels: PositiveInt | None = None


class _WaveNet(Record):
    layers: tuple[Any, ...] = Field(min_length=1, max_length=_LAYERS_LIMIT)
    head: _PostHead | None = None
    head_scale: FiniteFloat
    in_channels: checks.One = 1
    condition_dsp: Any = None


def wavenet_config(
    described: Any, key: str = "config", condition_dsp: WaveNetConfig | None = None, out_channels: int = 1
) -> WaveNetConfig:
    """The config of a WaveNet from the `config` of a file, which stands there under `key`.

    Args:
        condition_dsp: the config of the model under that key, which its own file part holds.
        out_channels: what the players need: 1, or the condition_size of the WaveNet that this one conditions.

    Raises:
        ModelFileError: naming key, rule and value.
    """
    found = checks.record(_WaveNet, described, key)
    if found.condition_dsp is not None and condition_dsp is None:
        raise fault(f"{key}.condition_dsp", "must be null here", found.condition_dsp)
    arrays = [_layer_array(array, f"{key}.layers.{index}") for index, array in enumerate(found.layers)]
    head = None
    if found.head:
        if found.head.in_channels not in (None, arrays[-1].head_size):
            rule = f"must be {arrays[-1].head_size}, the last layer array's head_size"
            raise fault(f"{key}.head.in_channels", rule, found.head.in_channels)
        bend = activation(found.head.activation, f"{key}.head.activation")
        head = found.head.model_dump(exclude={"in_channels"}) | {"activation": bend}
    settings = {
        "layer_arrays": [array.model_dump(mode="json", exclude_unset=True) for array in arrays],
        "head_scale": found.head_scale,
        "head": head,
        "condition_dsp": condition_dsp and condition_dsp.model_dump(mode="json", exclude_unset=True),
        "out_channels": out_channels,
    }
    config = checks.record(WaveNetConfig, settings, key)
    _limit(config, f"{key}.layers")
    return config


def activation(value: Any, key: str) -> Any:
    """A name, or a record of a name and its parameters, as `wavenet.AnyActivation` is in JSON."""
    described = {"type": value} if isinstance(value, str) else value
    if not isinstance(described, dict):
        raise fault(key, "must be a name, or an object with a type", value)
    kind = checks.require(described, "type", f"{key}.")
    if kind not in get_args(Activation):
        place = f"{key}.type" if isinstance(value, dict) else key
        raise fault(place, f"must be one of {', '.join(get_args(Activation))}", kind, OTHER_KIND)
    rest = {name: member for name, member in described.items() if name != "type"}
    if kind == "Hardtanh":  # players have it at -1 and 1 whatever the file says
        rest = {name: member for name, member in rest.items() if name not in ("min_val", "max_val")}
    if "negative_slope" in rest and kind in ("LeakyReLU", "PReLU"):
        if "negative_slopes" in rest:
            raise fault(f"{key}.negative_slopes", "must not stand beside negative_slope", rest["negative_slopes"])
        slope = rest.pop("negative_slope")
        if type(slope) not in (int, float):
            raise fault(f"{key}.negative_slope", "must be a number", slope)
        rest["negative_slopes"] = [slope]
    for name, member in rest.items():
        for number in member if isinstance(member, list) else [member]:
            if isinstance(number, int | float) and not abs(number) <= checks.FLOAT32_MAX:
                raise fault(f"{key}.{name}", "must be finite as float32", number)
    checked = checks.record(ActivationConfig, {"type": kind, **rest}, key)
    return checked.model_dump(mode="json", exclude_unset=True) if rest else kind


def _layer_array(described: Any, key: str) -> LayerArrayConfig:
    found = checks.record(_LayerArray, described, key)
    count = len(found.dilations)
    settings = {
        name: getattr(found, name)
        for name in ("input_size", "condition_size", "channels", "dilations", "bottleneck", "groups_input",
                     "groups_input_mixin")
    }  # fmt: skip
    settings |= _kernel(found, key) | _head(found, key) | _gate(found, count, key)
    settings["activation"] = _each(found.activation, count, f"{key}.activation", activation)
    settings["layer1x1_groups"] = found.layer1x1.groups if found.layer1x1.active else None
    if found.head1x1.active:
        settings["head1x1"] = found.head1x1.model_dump(exclude={"active"})
    films = {name: _film(getattr(found, name), f"{key}.{name}") for name in _FILMS}
    settings["films"] = {name.removesuffix("_film"): film for name, film in films.items() if film}
    settings["slimmable"] = found.slimmable is not None
    return checks.record(LayerArrayConfig, settings, key)


def _kernel(found: _LayerArray, key: str) -> dict[str, Any]:
    if (found.kernel_size is None) == (found.kernel_sizes is None):
        raise fault(key, "must have either kernel_size or kernel_sizes", [found.kernel_size, found.kernel_sizes])
    if found.kernel_sizes is not None and len(found.kernel_sizes) != len(found.dilations):
        rule = f"must be {len(found.dilations)} numbers, one for each dilation"
        raise fault(f"{key}.kernel_sizes", rule, len(found.kernel_sizes))
    return {"kernel_size": found.kernel_size or found.kernel_sizes}


def _head(found: _LayerArray, key: str) -> dict[str, Any]:
    if found.head is None:
        for name in ("head_size", "head_bias"):
            if getattr(found, name) is None:
                raise ModelFileError(f"{key}.{name}: missing; the format requires it, or head with all of its keys")
        return {"head_size": found.head_size, "head_bias": found.head_bias}
    if found.head_size is not None or found.head_bias is not None:
        raise fault(f"{key}.head", "must not stand beside head_size or head_bias", found.head.model_dump())
    head = found.head
    return {
        "head_size": head.out_channels,
        "head_bias": head.bias,
        "head_kernel_size": head.kernel_size,
        "head_dilation": head.head_dilation,
    }


def _gate(found: _LayerArray, count: int, key: str) -> dict[str, Any]:
    """Modes and second activations; legacy `gated` counts where there is no `gating_mode`."""
    if found.gating_mode is None:
        return {"gated": found.gated}
    modes = _each(found.gating_mode, count, f"{key}.gating_mode", _mode)
    modes = modes if isinstance(modes, list) else [modes] * count
    second, place = found.secondary_activation, f"{key}.secondary_activation"
    if "secondary_activation" not in found.model_fields_set:
        second = "Sigmoid"
    values = second if isinstance(second, list) else [second] * count
    if len(values) != count:
        raise fault(place, f"must be one, or {count} in a list, one for each dilation", len(values))
    read = [
        "Sigmoid" if mode == "none" else activation(value, place) for mode, value in zip(modes, values, strict=True)
    ]
    return {"gated": modes, "secondary_activation": read}


def _each(value: Any, count: int, key: str, read: Any) -> Any:
    """One value for all layers, or a list of one for each."""
    if not isinstance(value, list):
        return read(value, key)
    if len(value) != count:
        raise fault(key, f"must be one, or {count} in a list, one for each dilation", len(value))
    return [read(member, f"{key}.{index}") for index, member in enumerate(value)]


def _mode(value: Any, key: str) -> str:
    if value not in ("none", "gated", "blended"):
        raise fault(key, "must be none, gated or blended", value)
    return value


def _film(value: Any, key: str) -> dict | None:
    if value is False:
        return None
    found = checks.record(_FiLM, value, key)
    return {"shift": found.shift, "groups": found.groups} if found.active else None


def _limit(config: WaveNetConfig, key: str) -> None:
    """Bound what compiling and playing take, by arithmetic alone."""
    field, widest, depth = wavenet_plan.receptive_field(config), 1, 0
    part: WaveNetConfig | None = config
    while part:
        for array in part.layer_arrays:
            widths = [layer.rows for layer in wavenet_plan.layers(array)] + [array.channels, array.head_size]
            widest = max(widest, 2 * array.condition_size, wavenet_plan.head_inputs(array), *widths)
            depth += len(array.dilations)
        if part.head:
            depth, widest = depth + len(part.head.kernel_sizes), max(widest, part.head.channels)
        part = part.condition_dsp
    if depth > _LAYERS_LIMIT:
        raise fault(key, f"must have at most {_LAYERS_LIMIT} layers in all", depth)
    if field > RECEPTIVE_FIELD_LIMIT:
        raise fault(key, f"receptive field must be at most {RECEPTIVE_FIELD_LIMIT} samples", field)
    if field * widest > STATE_LIMIT:
        rule = f"receptive field times the most channels must be at most {STATE_LIMIT}"
        raise fault(key, rule, field * widest)
