"""The comparison of recurrences: what of it runs without a GPU."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tolerances
from jax.experimental import rnn

from experiments import command_line, recurrences
from jaxalias.models import lstm, lstm_kernel

ARGUMENTS = recurrences.draw(hidden=5, batch=2, samples=9, inputs=3)


def reference_of_cudnn(x, hidden, cell, weights, lengths, inputs, size, layers, dropout, both_ways, precision):
    """JAX's own description of what cuDNN computes, in place of the call."""
    assert precision == jax.lax.Precision.HIGHEST  # else cuDNN takes TF32
    unpacked = rnn.unpack_lstm_weights(weights, inputs, size, layers, both_ways)
    return rnn.lstm_ref(x, hidden, cell, *unpacked, lengths, inputs, size, layers, dropout, both_ways)


def test_weights_reach_cudnn_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, x, _ = ARGUMENTS
    assert recurrences.pack(cell).shape == (rnn.get_num_params_in_lstm(3, 5, 1, False),)
    monkeypatch.setattr(rnn, "lstm", reference_of_cudnn)
    ours, wanted = recurrences.cudnn(*ARGUMENTS), lstm.recurrence(*ARGUMENTS)
    jax.tree.map(partial(np.testing.assert_allclose, atol=tolerances.F64), ours, wanted)
    assert ours[0].shape == (*x.shape[:2], 5)


@pytest.mark.parametrize("gradient", [False, True])
def test_rows_say_how_far_a_way_is_off(gradient: bool) -> None:
    ways = {
        "kernel": partial(lstm_kernel.recurrence, interpret=True),
        "wrong": lambda cell, x, state: lstm.recurrence(cell, 1.01 * x, state),
    }
    kernel, wrong = recurrences.compare(ways, ARGUMENTS, 1, gradient=gradient)
    assert (kernel["work"], kernel["way"]) == ("gradient" if gradient else "forward", "kernel")
    assert 0 < kernel["error"] < tolerances.F32_RECURRENCE
    assert wrong["error"] > 1e-3
    assert 0 < kernel["min_s"] <= kernel["median_s"] <= kernel["max_s"]


def test_refused_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    monkeypatch.setattr("sys.argv", ["recurrences.py"])
    with pytest.raises(command_line.BadInputError, match="needs a GPU"):
        recurrences.main()


def test_writes_a_row_for_each_way_and_work(tmp_path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """The command from end to end, with the scan in place of what needs a GPU."""
    path = tmp_path / "times.json"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(recurrences, "WAYS", {"scan": lstm.recurrence})
    options = {"hidden": 4, "batch": 2, "samples": 8, "inputs": 1, "repeats": 2}
    arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    monkeypatch.setattr("sys.argv", ["recurrences.py", *arguments, "--json", str(path)])
    recurrences.main()
    assert [line for line in capsys.readouterr().out.splitlines() if "scan" in line and "forward" in line]
    assert path.read_text().count('"way": "scan"') == 2


def test_more_than_the_kernel_takes_is_refused(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["recurrences.py", "--hidden", "65"])
    with pytest.raises(SystemExit, match="2"):
        recurrences.main()
    assert "64 at most, got 65" in capsys.readouterr().err


def test_float64_is_the_reference() -> None:
    assert {a.dtype for a in jax.tree.leaves(ARGUMENTS)} == {jnp.dtype("float64")}
