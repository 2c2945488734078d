"""The comparison of recurrences: what of it runs without a GPU."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances
from jax.experimental import rnn

from jaxalias.commands import errors, recurrences
from jaxalias.models import lstm, lstm_kernel

ARGUMENTS = recurrences.draw(hidden=5, batch=2, samples=9, inputs=3)


def reference_of_cudnn(x, hidden, cell, weights, lengths, inputs, size, layers, dropout, both_ways, precision):
    """JAX's own description of what cuDNN computes, in place of the call."""
    assert precision == jax.lax.Precision.HIGHEST  # else cuDNN takes TF32
    unpacked = rnn.unpack_lstm_weights(weights, inputs, size, layers, both_ways)
    return rnn.lstm_ref(x, hidden, cell, *unpacked, lengths, inputs, size, layers, dropout, both_ways)


def test_weights_reach_cudnn_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, x, state = ARGUMENTS
    assert recurrences.pack(cell).shape == (rnn.get_num_params_in_lstm(3, 5, 1, False),)
    monkeypatch.setattr(rnn, "lstm", reference_of_cudnn)
    (hiddens, end), wanted = recurrences.cudnn(cell, x.swapaxes(0, 1), state), lstm.recurrence(*ARGUMENTS)
    ours = hiddens.swapaxes(0, 1), end
    jax.tree.map(partial(np.testing.assert_allclose, atol=tolerances.F64), ours, wanted)
    assert ours[0].shape == (*x.shape[:2], 5)


def test_refused_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr("sys.argv", ["recurrences.py"])
    with pytest.raises(errors.BadInputError, match="needs a GPU"):
        recurrences.main()


def test_says_how_far_each_way_is_off(tmp_path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """The command from end to end, the kernel interpreted, JAX's description of cuDNN, and a wrong recurrence."""
    path = tmp_path / "times.json"
    ways = {
        "kernel": partial(lstm_kernel.recurrence, interpret=True),
        "cudnn": recurrences.cudnn,
        "wrong": lambda cell, x, state: lstm.recurrence(cell, 1.01 * x, state),
    }
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(rnn, "lstm", reference_of_cudnn)
    monkeypatch.setattr(recurrences, "WAYS", ways)
    options = {"hidden": 4, "batch": 2, "samples": 8, "inputs": 1, "repeats": 2}
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    monkeypatch.setattr("sys.argv", ["recurrences.py", *arguments, "--json", str(path)])
    recurrences.main()

    rows = json.loads(path.read_text())["rows"]
    assert [(row["work"], row["way"]) for row in rows] == [(w, n) for w in ("forward", "gradient") for n in ways]
    for row in rows:
        assert 0 < row["min_s"] <= row["median_s"] <= row["max_s"]
        assert row["error"] > 1e-4 if row["way"] == "wrong" else 0 < row["error"] < tolerances.F32_RECURRENCE
    assert "4 hidden units, 2 signals of 8 samples" in " ".join(capsys.readouterr().out.split())


def test_more_than_the_kernel_takes_is_refused(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["recurrences.py", "--hidden", "65"])
    with pytest.raises(SystemExit, match="2"):
        recurrences.main()
    assert "64 at most, got 65" in capsys.readouterr().err


def test_float64_is_the_reference() -> None:
    assert {a.dtype for a in jax.tree.leaves(ARGUMENTS)} == {jnp.dtype("float64")}
