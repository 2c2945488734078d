"""Small documents of the recurrent formats with random weights, for tests."""

from typing import Any

import numpy as np

HIDDEN = 3


def weights(*shape: int) -> Any:
    """Numbers that float32 holds, among them a sign that careless writing loses."""
    drawn = np.random.default_rng(sum(shape)).normal(0, 0.4, shape).astype(np.float32)
    drawn.flat[0] = -0.0
    return drawn.tolist()


def simple_rnn(unit: str = "LSTM", inputs: int = 1, hidden: int = HIDDEN, layers: int = 1, skip: int = 1) -> dict:
    """A SimpleRNN file."""
    data = {"model": "SimpleRNN", "input_size": inputs, "skip": skip, "output_size": 1, "unit_type": unit,
            "num_layers": layers, "hidden_size": hidden, "bias_fl": True}  # fmt: skip
    rows, state = {"LSTM": 4, "GRU": 3}[unit] * hidden, {}
    for layer in range(layers):
        state |= {f"rec.weight_ih_l{layer}": weights(rows, hidden if layer else inputs)}
        state |= {f"rec.weight_hh_l{layer}": weights(rows, hidden)}
        state |= {f"rec.bias_{kind}_l{layer}": weights(rows) for kind in ("ih", "hh")}
    return {"model_data": data, "state_dict": {**state, "lin.weight": weights(1, hidden), "lin.bias": weights(1)}}


def rtneural(kind: str = "lstm", inputs: int = 1, hidden: int = HIDDEN, layers: int = 1, **top: Any) -> dict:
    """An AIDA-X file without a test of its own."""
    rows, stack = {"lstm": 4, "gru": 3}[kind] * hidden, []
    for layer in range(layers):
        bias = weights(rows) if kind == "lstm" else weights(2, rows)
        arrays = [weights(hidden if layer else inputs, rows), weights(hidden, rows), bias]
        stack.append({"type": kind, "activation": "", "shape": [None, None, hidden], "weights": arrays})
    dense = {"type": "dense", "activation": "", "shape": [None, None, 1], "weights": [weights(hidden, 1), weights(1)]}
    about = {"name": "Röhre", "samplerate": "48000", "esr": 0.1}
    return {"in_shape": [None, None, inputs], **top, "layers": [*stack, dense], "metadata": about}
