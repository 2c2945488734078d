"""NAM files played slowly in NumPy, from the description of the format alone: no part of the library is used.

A signal is preceded by silence, longer than any receptive field here; every convolution runs over all of it.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

SILENCE = 600
Take = Callable[..., np.ndarray]
FILMS = (
    "conv_pre_film", "conv_post_film", "input_mixin_pre_film", "input_mixin_post_film", "activation_pre_film",
    "activation_post_film", "layer1x1_post_film", "head1x1_post_film",
)  # fmt: skip


def play(document: dict, x: np.ndarray) -> np.ndarray:
    """What a player makes of x (t,), in float64; every weight is used once."""
    flat = iter(document["weights"])
    y = architecture(document, np.concatenate([np.zeros(SILENCE), x])[None], reader(flat))
    assert next(flat, None) is None, "weights are left over"
    return y[0, SILENCE:]


def filled(document: dict, seed: int = 0) -> dict:
    """The same document with as many random weights as it takes, rounded to float32."""
    random, drawn = np.random.default_rng(seed), []
    document = {**document, "config": dict(document["config"])}
    if document["config"].get("condition_dsp"):
        document["config"]["condition_dsp"] = filled(document["config"]["condition_dsp"], seed + 1)

    def take(*shape: int, positive: bool = False) -> np.ndarray:
        numbers = random.normal(0, 0.4, shape).astype(np.float32).astype(float)
        numbers = np.abs(numbers) if positive else numbers
        drawn.extend(numbers.ravel().tolist())
        return numbers

    architecture(document, np.zeros((1, 2)), take)
    if document["architecture"] == "WaveNet":
        drawn[-1] = float(np.float32(document["config"]["head_scale"]))
    return {**document, "weights": drawn}


def reader(flat: Iterator[float]) -> Take:
    return lambda *shape, positive=False: np.array([next(flat) for _ in range(int(np.prod(shape)))]).reshape(shape)


def architecture(document: dict, x: np.ndarray, take: Take) -> np.ndarray:
    return {"WaveNet": wavenet, "ConvNet": convnet, "Linear": linear}[document["architecture"]](
        document["config"], x, take
    )


def conv(x: np.ndarray, weight: np.ndarray, dilation: int = 1, groups: int = 1) -> np.ndarray:
    """Tap by tap and group by group; the last tap is the newest sample."""
    rows, inputs, taps = weight.shape
    y = np.zeros((rows, x.shape[1]))
    for tap in range(taps):
        delay = (taps - 1 - tap) * dilation
        shifted = np.concatenate([np.zeros((len(x), delay)), x], axis=1)[:, : x.shape[1]]
        for row in range(rows):
            group = row // (rows // groups)
            y[row] += weight[row, :, tap] @ shifted[group * inputs : (group + 1) * inputs]
    return y


def wavenet(config: dict, x: np.ndarray, take: Take) -> np.ndarray:
    condition, signal, head = x, x, None
    if config.get("condition_dsp"):
        nested = config["condition_dsp"]
        condition = architecture(nested, x, reader(iter(nested["weights"])))
    for array in config["layers"]:
        signal, head = layer_array(array, signal, condition, head, take)
    convs = []
    if config.get("head"):
        inputs = len(head)
        for index, size in enumerate(config["head"]["kernel_sizes"]):
            last = index + 1 == len(config["head"]["kernel_sizes"])
            rows = config["head"]["out_channels" if last else "channels"]
            convs.append((take(rows, inputs, size), take(rows)))
            inputs = rows
    y = take(1)[0] * head
    for weight, bias in convs:
        y = conv(activate(config["head"]["activation"], y), weight) + bias[:, None]
    return y


def layer_array(array: dict, x: np.ndarray, condition: np.ndarray, head: Any, take: Take) -> tuple:
    channels, width = array["channels"], array.get("bottleneck", array["channels"])
    signal, count = take(channels, array["input_size"]) @ x, len(array["dilations"])

    def each(value: Any) -> list:
        return value if isinstance(value, list) else [value] * count

    modes = each(array.get("gating_mode", "gated" if array.get("gated") else "none"))
    seconds = each(array.get("secondary_activation", "Sigmoid"))
    kernels = each(array.get("kernel_sizes", array.get("kernel_size")))
    total = head
    for mode, second, kernel, dilation, bend in zip(
        modes, seconds, kernels, array["dilations"], each(array["activation"]), strict=True
    ):
        signal, term = layer(array, (mode, second, kernel, dilation, bend, width), signal, condition, take)
        total = term if total is None else total + term
    described = array.get("head", {"out_channels": array.get("head_size"), "kernel_size": 1,
                                   "bias": array.get("head_bias")})  # fmt: skip
    weight = take(described["out_channels"], len(total), described["kernel_size"])
    bias = take(described["out_channels"])[:, None] if described["bias"] else 0
    return signal, conv(total, weight, described.get("head_dilation", 1)) + bias


def layer(array: dict, own: tuple, x: np.ndarray, condition: np.ndarray, take: Take) -> tuple:
    mode, second, kernel, dilation, bend, width = own
    channels, rows = array["channels"], width if mode == "none" else 2 * width
    groups, mixin_groups = array.get("groups_input", 1), array.get("groups_input_mixin", 1)
    one, out = array.get("layer1x1", {"active": True, "groups": 1}), array.get("head1x1", {"active": False})
    weight, bias = take(rows, channels // groups, kernel), take(rows)[:, None]
    mixin = take(rows, len(condition) // mixin_groups, 1)
    if one["active"]:
        layer1x1 = take(channels, width // one["groups"], 1), take(channels)[:, None]
    if out["active"]:
        head1x1 = take(out["out_channels"], width // out["groups"], 1), take(out["out_channels"])[:, None]
    sizes = (channels, rows, len(condition), rows, rows, width, channels, out.get("out_channels"))
    films = {}
    for name, size in zip(FILMS, sizes, strict=True):
        film = array.get(name)
        if film and film["active"]:
            height = (2 if film.get("shift", True) else 1) * size
            matrix = take(height, len(condition) // film.get("groups", 1), 1), take(height)[:, None]
            films[name] = conv(condition, matrix[0], groups=film.get("groups", 1)) + matrix[1]

    def film(name: str, value: np.ndarray) -> np.ndarray:
        if name not in films:
            return value
        scale, shift = films[name][: len(value)], films[name][len(value) :]
        return value * scale + (shift if len(shift) else 0)

    z = film("conv_post_film", conv(film("conv_pre_film", x), weight, dilation, groups) + bias)
    z = z + film("input_mixin_post_film", conv(film("input_mixin_pre_film", condition), mixin, groups=mixin_groups))
    z = film("activation_pre_film", z)
    h = activate(bend, z[:width])
    if mode == "gated":
        h = h * activate(second, z[width:])
    elif mode == "blended":
        gate = activate(second, z[width:])
        h = gate * h + (1 - gate) * z[:width]
    h = film("activation_post_film", h)
    term = film("head1x1_post_film", conv(h, head1x1[0], groups=out["groups"]) + head1x1[1]) if out["active"] else h
    if not one["active"]:
        return x, term
    passed = conv(h, layer1x1[0], groups=one["groups"]) + layer1x1[1]
    return x + (film("layer1x1_post_film", passed) if mode == "blended" else passed), term


def convnet(config: dict, x: np.ndarray, take: Take) -> np.ndarray:
    for dilation in config["dilations"]:
        channels = config["channels"]
        weight = take(channels, len(x), 2)
        if config["batchnorm"]:
            mean, variance, scale, bias = take(channels), take(channels, positive=True), take(channels), take(channels)
            eps = take(1, positive=True)[0]
            x = conv(x, weight, dilation)
            x = scale[:, None] * (x - mean[:, None]) / np.sqrt(variance + eps)[:, None] + bias[:, None]
        else:
            x = conv(x, weight, dilation) + take(channels)[:, None]
        x = activate(config["activation"], x)
    return conv(x, take(1, len(x), 1)) + take(1)[:, None]


def linear(config: dict, x: np.ndarray, take: Take) -> np.ndarray:
    """The first weight is for the newest sample."""
    response = take(config["receptive_field"])
    y = np.convolve(x[0], response)[: x.shape[1]]
    return (y + take(1) if config["bias"] else y)[None]


def activate(described: Any, x: np.ndarray) -> np.ndarray:
    kind, settings = (described, {}) if isinstance(described, str) else (described["type"], described)
    if kind in ("LeakyReLU", "PReLU"):
        slope = np.atleast_1d(settings.get("negative_slopes", settings.get("negative_slope", 0.01)))[:, None]
        return np.where(x > 0, x, slope * x)
    if kind in ("LeakyHardtanh", "LeakyHardTanh"):
        low, high = settings.get("min_val", -1), settings.get("max_val", 1)
        below, above = settings.get("min_slope", 0.01), settings.get("max_slope", 0.01)
        return np.clip(x, low, high) + below * np.minimum(x - low, 0) + above * np.maximum(x - high, 0)
    sigmoid = 1 / (1 + np.exp(-x))
    return {
        "Tanh": np.tanh(x), "Hardtanh": np.clip(x, -1, 1), "ReLU": np.maximum(x, 0), "Sigmoid": sigmoid,
        "SiLU": x * sigmoid, "Hardswish": x * np.clip(x / 6 + 0.5, 0, 1), "Softsign": x / (1 + np.abs(x)),
    }[kind]  # fmt: skip
