"""The method in plain PyTorch, as a user of PyTorch would write it: what `benchmark.py` compares with.

Written from the paper's equations for this comparison; none of it is the authors' program. Each part does
the work of its counterpart in `jaxalias` and agrees with it to rounding in float64 (tests/commands/test_benchmark.py).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.signal
import torch
from flax import traverse_util
from torch import Tensor, nn
from torch.nn import functional

from jaxalias.config import LayerArrayConfig, LSTMConfig, WaveNetConfig
from jaxalias.losses.nmr import critical_bands
from jaxalias.models import wavenet_plan
from jaxalias.signals.dsp import lowpass_taps

Tones = tuple[np.ndarray, np.ndarray, np.ndarray]  # f0 in Hz, amplitude, phase in radians


class LSTM(nn.Module):
    """nn.LSTM, a dense output and the skip of the input: (b, t), state -> (b, t), state."""

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__()
        self.recurrence = nn.LSTM(1, config.hidden_size, batch_first=True)
        self.head = nn.Linear(config.hidden_size, 1)

    def forward(self, x: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        hidden, state = self.recurrence(x[..., None], state)
        return self.head(hidden)[..., 0] + x, state

    def load(self, params: dict[str, Any]) -> None:
        """Take the parameters of a `jaxalias` LSTM."""
        own = {
            f"head.{name.removeprefix('head_')}" if "head" in name else f"recurrence.{name}": name for name in params
        }
        self.load_state_dict({name: torch.tensor(np.asarray(params[source])) for name, source in own.items()})


class Layer(nn.Module):
    """One dilated convolution with its condition and residual connection."""

    def __init__(self, config: LayerArrayConfig, layer: wavenet_plan.Layer) -> None:
        super().__init__()
        self.conv = nn.Conv1d(config.channels, config.channels, layer.kernel_size, dilation=layer.dilation)
        self.input_mixin = nn.Conv1d(1, config.channels, 1, bias=False)
        self.layer1x1 = nn.Conv1d(config.channels, config.channels, 1)

    def forward(self, signal: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        z = self.conv(signal)
        h = torch.tanh(z + self.input_mixin(condition)[..., -z.shape[-1] :])
        return signal[..., -h.shape[-1] :] + self.layer1x1(h), h


class LayerArray(nn.Module):
    """A stack of layers whose outputs add up to its head."""

    def __init__(self, config: LayerArrayConfig) -> None:
        super().__init__()
        self.rechannel = nn.Conv1d(config.input_size, config.channels, 1, bias=False)
        layers = wavenet_plan.layers(config)
        self.layers = nn.ModuleList(Layer(config, layer) for layer in layers)
        self.head_rechannel = nn.Conv1d(config.channels, config.head_size, 1, bias=config.head_bias)
        self.context = sum(layer.reach for layer in layers)

    def forward(self, signal: Tensor, condition: Tensor, head: Tensor | None) -> tuple[Tensor, Tensor]:
        length = signal.shape[-1] - self.context
        total = None if head is None else head[..., -length:]
        signal = self.rechannel(signal)
        for layer in self.layers:
            signal, output = layer(signal, condition)
            total = output[..., -length:] if total is None else total + output[..., -length:]
        return signal, self.head_rechannel(total)


class WaveNet(nn.Module):
    """NAM's WaveNet without gates, tanh: (b, t), past input -> (b, t), past input."""

    def __init__(self, config: WaveNetConfig) -> None:
        super().__init__()
        self.arrays = nn.ModuleList(LayerArray(array) for array in config.layer_arrays)
        self.head_scale = config.head_scale
        self.context = wavenet_plan.receptive_field(config) - 1

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        heard = torch.cat([x.new_zeros(len(x), self.context) if past is None else past, x], dim=1)
        signal = condition = heard[:, None]
        head = None
        for array in self.arrays:
            signal, head = array(signal, condition, head)
        assert head is not None
        return self.head_scale * head[:, 0], heard[:, -self.context :]

    def load(self, params: dict[str, Any]) -> None:
        """Take the parameters of a `jaxalias` WaveNet."""
        own = {}
        for path, array in traverse_util.flatten_dict(params, sep=".").items():
            value = torch.tensor(np.asarray(array))
            name = path.replace("array_", "arrays.").replace("layer_", "layers.")
            own[name] = value[..., None] if value.ndim == 2 else value  # a matrix is a convolution of width 1
        self.load_state_dict(own)


class NMR:
    """Noise-to-mask ratio (eqs. 14-16): tensors of all bands against all bands, no loop."""

    def __init__(self, sample_rate: float, dtype: torch.dtype) -> None:
        lower, centre, upper = critical_bands()
        frequency = np.linspace(0, sample_rate // 2, 1025) / 1000
        frequency[0] = 1e-9  # its weight underflows to 0, as it should
        ear_db = -2.184 * frequency**-0.8 + 6.5 * np.exp(-0.6 * (frequency - 3.3) ** 2) - 0.001 * frequency**3.6
        spacing, bin_centre = sample_rate / 2048, np.arange(1025)[:, None]
        right, left = ((bin_centre + side) * spacing for side in (0.5, -0.5))
        index = np.arange(centre.size)
        offset_db = np.where(index <= 48, 3.0, 0.0625 * index)
        tone = 1019.5 / sample_rate * 2048
        distance = abs(tone - round(tone)) / 2048 * 2047
        peak = np.sin(np.pi * distance) / (np.pi * distance * (1 - distance**2))
        level = 10 ** (92 / 20) / (peak / 4 * 2047)

        def constant(values: np.ndarray) -> Tensor:
            return torch.tensor(values, dtype=dtype)

        self.window = constant(np.hanning(2048) * level)
        self.ear = constant(10 ** (ear_db / 20))
        self.grouping = constant(np.clip(np.minimum(upper, right) - np.maximum(lower, left), 0, None) / spacing)
        self.internal = constant(10 ** (0.1456 * (centre / 1000) ** -0.8))
        self.offset = constant(10 ** (offset_db / 10))
        self.slope = constant(10 ** (-(2.4 + 23 / centre) * 0.25))
        self.index = torch.arange(centre.size, dtype=dtype)
        self.ones = self.spread(torch.ones(centre.size, dtype=dtype))

    def __call__(self, signal: Tensor, reference: Tensor) -> Tensor:
        """Mean ratio of each signal of (b, t)."""
        heard, expected = self.magnitudes(signal), self.magnitudes(reference)
        noise = ((heard - expected) ** 2 @ self.grouping).clamp(min=1e-12)
        pattern = (expected**2 @ self.grouping).clamp(min=1e-12) + self.internal
        mask = self.spread(pattern) / self.ones / self.offset
        return (noise / mask).mean(dim=(1, 2))

    def magnitudes(self, x: Tensor) -> Tensor:
        """Ear-weighted spectra (b, n, f)."""
        return torch.fft.rfft(x.unfold(1, 2048, 1024) * self.window).abs() * self.ear

    def spread(self, energy: Tensor) -> Tensor:
        """PQ_SpreadCB over the last axis."""
        index, count, lower = self.index, len(self.index), 10 ** (-2.7 * 0.25)
        upper = self.slope * energy**0.05
        below = (1 - lower ** (index + 1)) / (1 - lower)
        above = (1 - upper ** (count - index)) / (1 - upper)
        source = (energy / (below + above - 1)) ** 0.4
        steps = index[None, :] - index[:, None]  # [from, to]
        upwards = upper[..., :, None] ** (0.4 * steps.clamp(min=0))
        downwards = lower ** (0.4 * (-steps).clamp(min=0))
        share = torch.where(steps >= 0, upwards, downwards)
        return (source[..., :, None] * share).sum(-2) ** 2.5


def bandlimit(y: Tensor, f0_hz: np.ndarray, sample_rate: float) -> Tensor:
    """The target of training (eqs. 6-12), one tone after the other, each sum over samples written out.

    Our plain peer, not the authors' code: theirs took 22 to 25 s for 40 one-second tones in float64 on two
    shared cores. In float32 the phases of this one are wrong by degrees: a figure of time, not a target.
    """
    samples = y.shape[1]
    window = torch.tensor(scipy.signal.windows.chebwin(samples, at=120, sym=False), dtype=y.dtype)
    n = torch.arange(samples, dtype=y.dtype)
    targets = []
    for tone, f0 in zip(y, f0_hz, strict=True):
        spectrum = torch.fft.rfft(window * tone)
        number = math.ceil(sample_rate / (2 * f0)) - 1  # below Nyquist, not at it
        f = f0 * torch.arange(1, number + 1, dtype=torch.float64)
        nearest = torch.round(f * samples / sample_rate)
        distance = (f * samples / sample_rate - nearest).to(y.dtype)
        turning = torch.exp(2j * math.pi / samples * distance[:, None] * n)
        c = spectrum[nearest.long()] / (window * turning).sum(dim=1)
        angle = (2 * math.pi / sample_rate * f).to(y.dtype)[:, None] * n + c.angle()[:, None]
        waves = 2 * c.abs()[:, None] * torch.cos(angle)
        targets.append(spectrum[0].real / window.sum() + waves.sum(dim=0))
    return torch.stack(targets)


class Loss:
    """0.5 ESR + 0.5 NMR + DC behind the low-pass: the loss of the authors' program."""

    def __init__(self, sample_rate: float, dtype: torch.dtype) -> None:
        self.nmr = NMR(sample_rate, dtype)
        self.taps = torch.tensor(lowpass_taps(sample_rate), dtype=dtype)[None, None]

    def __call__(self, estimate: Tensor, target: Tensor) -> Tensor:
        half = self.taps.shape[-1] // 2
        estimate, target = (functional.conv1d(x[:, None], self.taps, padding=half)[:, 0] for x in (estimate, target))
        error = target - estimate
        esr = (error**2).sum() / (target**2).sum()
        nmr = 10 ** torch.log10(self.nmr(estimate, target)).mean()
        dc = (error.mean(dim=1) ** 2).mean() / (target**2).mean()
        return 0.5 * esr + 0.5 * nmr + dc


class Trainer:
    """A fresh student and its frozen teacher, Adam, one frame an update, the model's state carried."""

    def __init__(self, config: LSTMConfig | WaveNetConfig, sample_rate: float, precision: str) -> None:
        self.student, self.teacher = (build(config, precision) for _ in range(2))
        self.loss = Loss(sample_rate, getattr(torch, precision))
        self.optimiser = torch.optim.Adam(self.student.parameters(), lr=5e-4)
        self.sample_rate, self.dtype = sample_rate, getattr(torch, precision)
        self.memory: Any = None

    @torch.no_grad()
    def lead_in(self, x: Tensor) -> None:
        """Begin a batch: hear what comes before the first frame."""
        self.memory = self.student(x)[1]

    def update(self, x: Tensor, target: Tensor) -> Tensor:
        """One optimiser step; returns the loss before it."""
        self.optimiser.zero_grad()
        estimate, memory = self.student(x, self.memory)
        self.memory = tuple(part.detach() for part in memory) if isinstance(memory, tuple) else memory
        loss = self.loss(estimate, target)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def batch(self, tones: Tones, settling: int, analysed: int, frame: int) -> None:
        """Tones through the teacher, rebuilt, and all the updates they serve."""
        x = render(tones, self.sample_rate, settling + analysed, self.dtype)
        with torch.no_grad():
            y = self.teacher(x)[0]
            target = bandlimit(y[:, settling:], tones[0], self.sample_rate)
        self.lead_in(x[:, :settling])
        for inputs, targets in zip(x[:, settling:].split(frame, 1), target.split(frame, 1), strict=True):
            self.update(inputs, targets)


def build(config: LSTMConfig | WaveNetConfig, precision: str) -> nn.Module:
    """The model of a config with fresh parameters."""
    torch.manual_seed(0)
    return (LSTM(config) if isinstance(config, LSTMConfig) else WaveNet(config)).to(getattr(torch, precision))


def render(tones: Tones, sample_rate: float, samples: int, dtype: torch.dtype) -> Tensor:
    """Samples (b, t) of sines."""
    f0_hz, amplitude, phase_rad = (torch.tensor(column)[:, None] for column in tones)
    n = torch.arange(samples, dtype=torch.float64)
    return (amplitude * torch.sin(2 * math.pi * f0_hz / sample_rate * n + phase_rad)).to(dtype)


def nmr_work(x: np.ndarray, y: np.ndarray, sample_rate: float, gradient: bool) -> Callable[[], Any]:
    """A call that measures, or that differentiates by x."""
    signal, reference = torch.tensor(x, requires_grad=gradient), torch.tensor(y)
    measure = NMR(sample_rate, signal.dtype)
    if gradient:
        return lambda: torch.autograd.grad(measure(signal, reference).mean(), signal)
    return lambda: measure(signal, reference).mean()


def model_work(config: LSTMConfig | WaveNetConfig, x: np.ndarray, gradient: bool) -> Callable[[], Any]:
    """A call that runs a fresh model on a frame, or differentiates its power by the parameters."""
    model, signal = build(config, x.dtype.name), torch.tensor(x)
    parameters = list(model.parameters())
    if gradient:  # the residual output of a WaveNet's last layer goes nowhere
        return lambda: torch.autograd.grad((model(signal)[0] ** 2).mean(), parameters, allow_unused=True)
    return torch.no_grad()(lambda: model(signal))
