"""One small model file of every kind that can be read."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from nam_documents import ALL, current, legacy, wavenet
from nam_reference import filled
from rnn_documents import rtneural, simple_rnn

RATE = 44_100
SAYS_ITS_RATE = {"metadata": {"samplerate": RATE}}


def nam_lstm() -> dict:
    """With a stored initial state."""
    random = np.random.default_rng(4)
    count = 12 * 4 + 12 + 6 + 3 + 1
    weights = random.normal(0, 0.4, count).astype(np.float32).tolist()
    config = {"input_size": 1, "hidden_size": 3, "num_layers": 1}
    return {"version": "0.5.4", "architecture": "LSTM", "config": config, "weights": weights, "sample_rate": RATE}


def container(**models: dict) -> dict:
    """Of models by their sizes: "0.5" and "1"."""
    submodels = [{"max_value": float(size), "model": model} for size, model in models.items()]
    return {"version": "0.7.0", "architecture": "SlimmableContainer", "config": {"submodels": submodels}, "weights": [],
            "sample_rate": RATE}  # fmt: skip


def at_rate(document: dict) -> dict:
    """A NAM document at that rate, and the models inside of it."""
    document = copy.deepcopy(document) | {"sample_rate": RATE}
    nested = document["config"].get("condition_dsp")
    if nested:
        document["config"]["condition_dsp"] = at_rate(nested)
    return document


def a2(channels: int) -> dict:
    """A WaveNet in A2's schema with LeakyReLU and a head of several taps, much shorter than A2's."""
    bend = [{"type": "LeakyReLU", "negative_slope": 0.01}] * 2
    head = {"out_channels": 1, "kernel_size": 3, "bias": True}
    return filled(wavenet(current(2, channels=channels, bottleneck=channels, activation=bend, head=head), rate=RATE))


def in_torch(document: Callable[[], dict]) -> Callable[[Path], None]:
    """A PyTorch checkpoint of a SimpleRNN, rate and all; None where there is no PyTorch."""

    def write(path: Path) -> None:
        import torch

        made = document()
        state = {key: torch.tensor(value) for key, value in made["state_dict"].items()}
        torch.save({"state_dict": state, "hyper_parameters": {"sample_rate": RATE}}, path)

    return write


DOCUMENTS: dict[str, Callable[[], dict]] = {
    "WaveNet, legacy": lambda: filled(wavenet(legacy(), version="0.5.4", rate=RATE)),
    "WaveNet, current": lambda: filled(wavenet(current(), rate=RATE)),
    "A2": lambda: container(**{"0.5": a2(3), "1": a2(4)}),
    "slimmable": lambda: at_rate(ALL["slimmable"]),
    "condition_dsp": lambda: at_rate(ALL["condition of a condition"]),
    "ConvNet": lambda: at_rate(ALL["ConvNet"]),
    "Linear": lambda: at_rate(ALL["Linear with bias"]),
    "NAM LSTM": nam_lstm,
    "SimpleRNN LSTM": lambda: simple_rnn(hidden=8) | SAYS_ITS_RATE,
    "SimpleRNN LSTM with knobs": lambda: simple_rnn(hidden=8, inputs=3) | SAYS_ITS_RATE,
    "SimpleRNN GRU": lambda: simple_rnn("GRU", hidden=8) | SAYS_ITS_RATE,
    "SimpleRNN GRU with a knob": lambda: simple_rnn("GRU", hidden=8, inputs=2) | SAYS_ITS_RATE,
    "RTNeural LSTM": lambda: rtneural(hidden=8, in_skip=1) | SAYS_ITS_RATE,
    "RTNeural GRU with a knob": lambda: rtneural("gru", hidden=8, inputs=2) | SAYS_ITS_RATE,
}
KINDS = (*DOCUMENTS, "PyTorch LSTM")


def write(kind: str, path: Path, louder: float = 1.0) -> Path:
    """The file of a kind; `louder` than another of its kind if a student is wanted."""
    if kind == "PyTorch LSTM":
        in_torch(lambda: scaled(simple_rnn(hidden=8), louder))(path)
    else:
        path.write_text(json.dumps(scaled(DOCUMENTS[kind](), louder)))
    return path


def scaled(value: Any, factor: float) -> Any:
    """A document with its weights multiplied: all long lists of numbers."""
    if factor == 1:
        return value
    if isinstance(value, dict):
        names = ("weights", "state_dict")
        return {key: times(member, factor) if key in names else scaled(member, factor) for key, member in value.items()}
    return [scaled(member, factor) for member in value] if isinstance(value, list) else value


def times(value: Any, factor: float) -> Any:
    """Every number in nested lists and dicts."""
    if isinstance(value, dict):
        return {key: times(member, factor) for key, member in value.items()}
    return [times(member, factor) for member in value] if isinstance(value, list) else value * factor
