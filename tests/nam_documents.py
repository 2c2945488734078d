"""NAM files of random weights, at least one for each thing that the format can say."""

from typing import Any

from nam_reference import FILMS, filled

NAMES = ("Tanh", "Hardtanh", "ReLU", "LeakyReLU", "PReLU", "Sigmoid", "SiLU", "Hardswish", "LeakyHardtanh",
         "LeakyHardTanh", "Softsign")  # fmt: skip
LIMITS = {"type": "LeakyHardtanh", "min_val": -0.3, "max_val": 0.9, "min_slope": 0.0, "max_slope": 0.05}


def legacy(**changes: Any) -> dict:
    return {"input_size": 1, "condition_size": 1, "head_size": 1, "channels": 4, "kernel_size": 3,
            "dilations": [1, 3], "activation": "Tanh", "gated": False, "head_bias": True} | changes  # fmt: skip


def current(count: int = 2, **changes: Any) -> dict:
    """As the 0.13 trainer writes it: every key, and a list of one value for each layer."""
    changes = {"dilations": list(range(1, count + 1)), **changes}
    film = {"active": False, "shift": True, "groups": 1}
    return {
        "input_size": 1, "condition_size": 1, "head": {"out_channels": 1, "kernel_size": 1, "bias": True},
        "channels": 4, "kernel_sizes": [3] * count, "activation": [{"type": "Tanh"}] * count, "bottleneck": 4,
        "head1x1": {"active": False, "out_channels": 1, "groups": 1}, "layer1x1": {"active": True, "groups": 1},
        "groups_input": 1, "groups_input_mixin": 1, **dict.fromkeys(FILMS, film),
        "gating_mode": ["none"] * count, "secondary_activation": [None] * count, "slimmable": None,
    } | changes  # fmt: skip


def wavenet(*layers: dict, version: str = "0.7.0", rate: int = 48_000, **config: Any) -> dict:
    return {"version": version, "architecture": "WaveNet", "sample_rate": rate,
            "config": {"layers": list(layers), "head": None, "head_scale": 0.3, **config}}  # fmt: skip


def other(architecture: str, **config: Any) -> dict:
    return {"version": "0.5.4", "architecture": architecture, "config": config, "sample_rate": 48_000}


def films(*names: str, **settings: Any) -> dict:
    return {name: {"active": True, "shift": True, "groups": 1} | settings for name in names}


def head(out: int, kernel: int, bias: bool = True, **rest: int) -> dict:
    return {"out_channels": out, "kernel_size": kernel, "bias": bias, **rest}


GATES = {
    "gating_mode": ["none", "gated", "blended"],
    "secondary_activation": [None, {"type": "Tanh"}, {"type": "Hardswish"}],
}
MIX = {"head1x1": {"active": True, "out_channels": 3, "groups": 1}}
PLAYED = tuple(name for name in FILMS if name not in ("layer1x1_post_film", "head1x1_post_film"))
CONDITION = wavenet(legacy(channels=3, head_size=2), legacy(input_size=3, channels=2, head_size=4, gated=True))
SLOPES = {"type": "PReLU", "negative_slopes": [0.1, 0.0, -0.2, 0.5]}

FOR_PLAYER_13 = {
    "current": wavenet(current()),
    "two arrays": wavenet(current(head=head(3, 1, False)), current(input_size=4, channels=3, bottleneck=3)),
    "kernels": wavenet(current(3, kernel_sizes=[2, 6, 3], dilations=[1, 5, 2])),
    "head convolution": wavenet(
        current(head=head(4, 3, False)), current(input_size=4, head=head(1, 16)), version="0.6.0"
    ),
    "bottleneck": wavenet(current(bottleneck=2)),
    "gated": wavenet(current(gating_mode=["gated"] * 2, secondary_activation=[{"type": "Sigmoid"}] * 2)),
    "gates": wavenet(current(3, **GATES)),
    "activations": wavenet(current(8, activation=[
        {"type": name} for name in NAMES if name not in ("Hardtanh", "PReLU", "LeakyHardTanh")
    ])),
    "slope": wavenet(current(activation=[{"type": "LeakyReLU", "negative_slope": 0.2}, LIMITS])),
    "groups": wavenet(current(channels=6, bottleneck=4, groups_input=2, layer1x1={"active": True, "groups": 2})),
    "head1x1": wavenet(current(**MIX), rate=44_100),
    "head1x1 in groups": wavenet(current(head1x1={"active": True, "out_channels": 6, "groups": 2})),
    "post head": wavenet(
        current(head=head(3, 2)),
        head={"channels": 2, "out_channels": 1, "kernel_sizes": [3, 1, 4], "activation": "SiLU"},
    ),
    "FiLM": wavenet(current(3, **MIX, **GATES, **films(*PLAYED, "head1x1_post_film"))),
    "FiLM without shift": wavenet(current(3, **GATES, **films(*PLAYED, shift=False))),
    "FiLM in blended layers": wavenet(current(
        gating_mode=["blended"] * 2, secondary_activation=[{"type": "Sigmoid"}] * 2, **films("layer1x1_post_film")
    )),
}  # fmt: skip
"""What neural-amp-modeler 0.13 reads, and plays as the core does."""
FOR_PLAYER_12 = {
    "legacy": wavenet(legacy(), version="0.5.4"),
    "legacy gated": wavenet(legacy(gated=True, activation="ReLU"), version="0.5.0"),
    "legacy chain": wavenet(
        legacy(head_size=2, head_bias=False), legacy(input_size=4, channels=2, kernel_size=6), version="0.5.4"
    ),
}
"""What neural-amp-modeler 0.12 reads."""
FOR_NO_PLAYER = {
    "one value for all layers": wavenet(legacy(activation={"type": "SiLU"}, gating_mode="gated")),
    "gates with parameters": wavenet(current(3, **GATES | {"secondary_activation": [None, SLOPES, LIMITS]})),
    "second for all layers": wavenet(legacy(gating_mode="blended", secondary_activation="Hardswish")),
    "mode before gated": wavenet(legacy(gated=True, gating_mode="none", secondary_activation="")),
    "head dilation": wavenet(current(head=head(1, 4, False, head_dilation=5))),
    "every activation": wavenet(legacy(dilations=[1] * len(NAMES), activation=list(NAMES))),
    "slopes": wavenet(current(activation=[SLOPES, {"type": "PReLU", "negative_slope": -0.5}])),
    "Hardtanh has no limits": wavenet(
        legacy(activation={"type": "Hardtanh", "min_val": -3.0, "max_val": 0.1}), head_scale=9.0
    ),
    "no layer1x1": wavenet(current(layer1x1={"active": False, "groups": 1}, bottleneck=3)),
    "FiLM after layer1x1": wavenet(current(3, **MIX, **GATES, **films(*FILMS))),
    "FiLM false": wavenet(legacy(conv_pre_film=False, conv_post_film={"active": True})),
    "condition": wavenet(
        legacy(condition_size=4, groups_input_mixin=2, **films(*PLAYED, groups=2)),
        legacy(condition_size=4, input_size=4, channels=1, head_bias=False), condition_dsp=CONDITION,
    ),
    "condition of a condition": wavenet(
        current(condition_size=2, head=head(1, 5)),
        condition_dsp=wavenet(
            legacy(condition_size=4, head_size=3), condition_dsp=CONDITION,
            head={"channels": 1, "in_channels": 3, "out_channels": 2, "kernel_sizes": [2], "activation": "ReLU"},
        ),
    ),
    "every memory": wavenet(
        current(1, condition_size=2, head=head(1, 3), conv_pre_film={"active": True}),
        condition_dsp=wavenet(current(1, dilations=[2], head=head(2, 2))),
        head={"channels": 1, "out_channels": 1, "kernel_sizes": [2], "activation": "Tanh"},
    ),
    "slimmable": wavenet(legacy(slimmable={"method": "slice_channels_uniform", "kwargs": {"allowed_channels": [2]}})),
    "ConvNet": other("ConvNet", channels=3, dilations=[1, 4, 2], batchnorm=False, activation="Tanh", groups=1),
    "ConvNet, normalised": other("ConvNet", channels=3, dilations=[1, 4], batchnorm=True, activation={"type": "ReLU"}),
    "Linear": other("Linear", receptive_field=40, bias=False),
    "Linear with bias": other("Linear", receptive_field=7, bias=True, implementation="direct", in_channels=1),
}  # fmt: skip
"""Follows the core alone; no package is at hand that plays it."""
ALL = {name: filled(document) for name, document in (FOR_PLAYER_13 | FOR_PLAYER_12 | FOR_NO_PLAYER).items()}
FIELDS = {
    "current": 1 + 2 * 3, "kernels": 1 + 1 + 5 * 5 + 2 * 2, "head convolution": 1 + 2 * 2 * 3 + 2 + 15,
    "head dilation": 1 + 2 * 3 + 3 * 5, "post head": 1 + 2 * 3 + 1 + 2 + 0 + 3,
    "condition": 1 + 4 * 8, "condition of a condition": 1 + 2 * 3 + 4 + 8 + 1 + 2 * 8, "ConvNet": 8, "Linear": 40,
}  # fmt: skip
"""Receptive fields in samples, by hand."""
