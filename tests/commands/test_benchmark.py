"""The benchmark runs, and both of its sides do the same work."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxalias import config, models
from jaxalias.commands import benchmark, fast_updates, stages
from jaxalias.config import presets
from jaxalias.losses import nmr
from jaxalias.signals import sines
from jaxalias.targets import harmonics
from jaxalias.training import loop, plan, run
from jaxalias.training.sources import Batch
from jaxalias.training.sources.tones import LeadIn

FS = stages.SAMPLE_RATE
_TCN = stages.NETWORKS["tcn"].config
SMALL = {
    "lstm": config.LSTMConfig(hidden_size=8),
    "tcn": _TCN.model_copy(
        update={"layer_arrays": tuple(array.model_copy(update={"dilations": (1, 4)}) for array in _TCN.layer_arrays)}
    ),
}


@pytest.mark.slow
def test_a_row_of_fast_makes_updates_of_all_its_students(monkeypatch):
    """Three updates of two small LSTMs, each with every source; A2 has its 23 layers."""
    monkeypatch.setitem(fast_updates.NETWORKS, "lstm", SMALL["lstm"])
    monkeypatch.setattr(fast_updates, "UPDATES", 3)
    state = fast_updates.work("ours", "float32", network="lstm", students=2)()
    assert all(leaf.shape[0] == 2 and np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    fast = presets.fast(SMALL["lstm"])
    rows = fast.batch_size + fast.music.rows + fast.high_playing.rows + fast.starts.rows
    assert fast_updates.samples("lstm") == 3 * rows * round(fast.frame_s * 48_000)
    (a2,) = fast_updates.NETWORKS["a2"].layer_arrays
    assert (len(a2.dilations), sum(a2.kernel_size), a2.channels) == (23, 156, 8)
    assert fast_updates.work("peer", "float32", network="a2", students=1) is None


@pytest.fixture
def torch():
    module = pytest.importorskip("torch", reason="PyTorch is not installed (pip install 'jaxalias[peers]')")
    module.set_num_threads(1)  # its threads wait for each other at every step, for long on a busy machine
    return module


@pytest.fixture
def peers(torch):
    from jaxalias.commands import peers

    return peers


def test_writes_what_it_measured(tmp_path, monkeypatch, capsys):
    path = tmp_path / "speed.json"
    arguments = ["--stage", "nmr-4410-forward", "--precision", "float32", "--repeats", "2", "--quiet", "--no-memory"]
    monkeypatch.setattr("sys.argv", ["benchmark.py", *arguments, "--json", str(path)])
    benchmark.main()

    (row,) = json.loads(path.read_text())["stages"]
    ours = row["ours"]
    assert (row["stage"], row["precision"], ours["runs"]) == ("nmr-4410-forward", "float32", 2)
    assert 0 < ours["min_s"] <= ours["median_s"] <= ours["max_s"]
    assert ours["first_s"] > 0
    assert ours["audio_s_per_s"] == pytest.approx(4.0 / ours["median_s"])  # 40 signals of 0.1 s
    if row["peer"]:
        assert row["ratio"] == pytest.approx(row["peer"]["median_s"] / ours["median_s"])
    assert "nmr-4410-forward" in capsys.readouterr().out


def test_an_unknown_stage_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["benchmark.py", "--stage", "polishing"])
    with pytest.raises(SystemExit, match="2"):
        benchmark.main()
    assert "polishing" in capsys.readouterr().err


def test_runs_without_torch(monkeypatch):
    monkeypatch.setattr(benchmark, "torch", None)
    row = benchmark.measure("nmr-4410-forward", "float32", 1, memory=False)
    assert row["peer"] is None
    assert benchmark.table([row])[1][2] == "-"


def test_peer_nmr_and_its_gradient(torch, peers):
    x, y = stages._signals(3, 6000, "float64")
    x[1], y[1] = 1e-3 * x[1], 1e-3 * y[1]
    signal = torch.tensor(x, requires_grad=True)
    measured = peers.NMR(FS, torch.float64)(signal, torch.tensor(y))
    measured.sum().backward()

    ours, back = jax.vjp(lambda x: nmr.nmr(x, jnp.asarray(y), FS), jnp.asarray(x))
    np.testing.assert_allclose(measured.detach().numpy(), ours, rtol=1e-10)
    gradient = back(jnp.ones(3))[0]
    np.testing.assert_allclose(signal.grad.numpy(), gradient, rtol=0, atol=1e-10 * float(jnp.abs(gradient).max()))


def test_peer_bandlimit(torch, peers):
    f0_hz = np.array([1234.5, 5000.1, 21000.0])
    y = np.tanh(5 * np.sin(2 * np.pi * f0_hz[:, None] / FS * np.arange(FS) + 0.3)) + 0.1
    increment = sines.tones(f0_hz, 1.0, 0.0, sample_rate=FS, dtype="float64").increment
    ours = harmonics.bandlimit(jnp.asarray(y), increment, 20)
    # n f0 / Fs as a float64 product is what limits the peer: 44100 samples, 2e-16 a turn
    np.testing.assert_allclose(peers.bandlimit(torch.tensor(y), f0_hz, FS).numpy(), ours, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", SMALL)
def test_peer_models_with_their_state(torch, peers, name):
    model_config = SMALL[name]
    model = models.build(model_config)
    params = models.cast(model.init(jax.random.key(1)), "float64")
    peer = peers.build(model_config, "float64")
    peer.load(jax.device_get(params))
    x, _ = stages._signals(2, 600, "float64")

    ours, state = model.apply(params, jnp.asarray(x), model.initial_state(params, 2))
    theirs, memory = peer(torch.tensor(x))
    again, _ = peer(torch.tensor(x), memory)
    np.testing.assert_allclose(theirs.detach().numpy(), ours, rtol=0, atol=1e-13)
    np.testing.assert_allclose(
        again.detach().numpy(), model.apply(params, jnp.asarray(x), state)[0], rtol=0, atol=1e-13
    )


@pytest.mark.parametrize("name", SMALL)
def test_peer_updates(torch, peers, name):
    """From the same parameters, each update reports the same loss and so took the same step before."""
    model_config = SMALL[name]
    short = config.SineConfig(settling_s=0.05, analysed_s=0.1)
    changes = {"batch_size": 2, "frame_s": 0.1, "sines": short}
    model = models.build(model_config)
    params = models.cast(model.init(jax.random.key(1)), "float64")
    authors = presets.authors(model_config).model_copy(update=changes)
    prepared = run.prepare(model, [plan.Task("", params, authors)], FS)
    lead_in, x, y = np.split(stages._signals(2, 10_000, "float64")[0], [1180, 5590], axis=1)
    batch = Batch(LeadIn(lead_in, np.zeros((2, 0))), x[:, None], y[:, None], ())
    drawn = jax.tree.map(lambda a: jnp.asarray(a)[None], batch)  # of one student
    peer = peers.Trainer(model_config, FS, "float64")
    peer.student.load(jax.device_get(params))

    state = loop.begin(prepared).state
    state = state._replace(memories=(prepared.begin[0](state.params, drawn),))
    peer.lead_in(torch.tensor(lead_in))
    for _ in range(3):
        state, terms = prepared.update(state, [drawn], 0)
        theirs = peer.update(torch.tensor(x), torch.tensor(y))
        np.testing.assert_allclose(theirs.numpy(), terms["loss"][0], rtol=1e-9)
