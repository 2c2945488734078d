"""Small model files for tests of the commands."""

import json
from pathlib import Path

import numpy as np


def lstm(path: Path, gain: float = 1.0, hidden: int = 4) -> Path:
    """A GuitarML file of a small random LSTM."""
    random = np.random.default_rng(3)
    shapes = {
        "rec.weight_ih_l0": (4 * hidden, 1), "rec.weight_hh_l0": (4 * hidden, hidden), "rec.bias_ih_l0": (4 * hidden,),
        "rec.bias_hh_l0": (4 * hidden,), "lin.weight": (1, hidden), "lin.bias": (1,),
    }  # fmt: skip
    weights = {name: random.uniform(-0.5, 0.5, shape) for name, shape in shapes.items()}
    weights["rec.weight_ih_l0"] *= gain
    model_data = {
        "model": "SimpleRNN", "input_size": 1, "skip": 1, "output_size": 1, "unit_type": "LSTM", "num_layers": 1,
        "hidden_size": hidden, "bias_fl": True,
    }  # fmt: skip
    state = {name: np.float32(array).astype(float).tolist() for name, array in weights.items()}
    path.write_text(json.dumps({"model_data": model_data, "state_dict": state}))
    return path


def wavenet(path: Path, head_scale: float = 0.5, gain: float = 1.0) -> Path:
    """A NAM file of a small random WaveNet, at 48 kHz; `gain` is that of its input."""
    array = {
        "input_size": 1, "condition_size": 1, "head_size": 1, "channels": 2, "kernel_size": 3, "dilations": [1, 4],
        "activation": "Tanh", "gated": False, "head_bias": False,
    }  # fmt: skip
    config = {"layers": [array], "head": None, "head_scale": head_scale}
    weights = np.random.default_rng(0).normal(size=2 + 2 * (12 + 2 + 2 + 4 + 2) + 2).astype(np.float32)
    weights[:2] *= gain
    document = {"version": "0.5.4", "architecture": "WaveNet", "config": config, "sample_rate": 48_000}
    path.write_text(json.dumps({**document, "weights": [*weights.tolist(), head_scale]}))
    return path
