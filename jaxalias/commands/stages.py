"""What each row of the benchmark does, on either side."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxalias import config, models
from jaxalias.commands import fast_updates
from jaxalias.config import presets
from jaxalias.losses import nmr
from jaxalias.pretraining.architectures import ARCHITECTURES
from jaxalias.signals import dsp, sines
from jaxalias.targets import harmonics
from jaxalias.training import loop, plan, run, students

try:
    import torch

    from jaxalias.commands import peers
except ImportError:
    torch = None  # type: ignore[assignment]

SAMPLE_RATE = 44_100
SETTLING, ANALYSED = 8_820, 44_100  # samples of a training tone
MIDI = (21.0, 127.0)
Work = Callable[[], Any]


class Stage(NamedTuple):
    """One row: how to make a side ("ours", "peer") ready for it in a precision, and what one run then does."""

    make: Callable[[str, str], Work | None]  # None: no such side
    samples: int  # that one run takes in, of all signals
    updates: int = 0  # optimiser updates in one run


class Network(NamedTuple):
    """A model of the benchmark, in the batch of a row."""

    config: config.LSTMConfig | config.WaveNetConfig
    batch: int
    frame: int  # samples an update
    students: int = 1  # that are trained together


def nmr_work(side: str, precision: str, *, samples: int, gradient: bool) -> Work:
    """NMR of 40 signals; its gradient by the signals."""
    x, y = _signals(40, samples, precision)
    if side == "peer":
        return peers.nmr_work(x, y, SAMPLE_RATE, gradient)

    def mean(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.mean(nmr.nmr(x, y, SAMPLE_RATE))

    return partial(jax.jit(jax.grad(mean) if gradient else mean), jnp.asarray(x), jnp.asarray(y))


def resynthesis_work(side: str, precision: str) -> Work:
    """Targets of 40 tones of one second, from the output of the teacher on."""
    tones = _tones(40)
    y, _ = _signals(40, ANALYSED, precision)  # any signal: the work depends on f0 alone
    if side == "peer":
        return partial(peers.bandlimit, torch.tensor(y), tones[0], SAMPLE_RATE)
    increment = sines.tones(*tones, sample_rate=SAMPLE_RATE, dtype=precision).increment
    number = harmonics.highest_number(float(dsp.midi_to_hz(MIDI[0])), SAMPLE_RATE)
    bandlimit = students.over_rows(students.mesh_for(1), partial(harmonics.bandlimit, number=number), (0, 0), 0)
    return partial(jax.jit(bandlimit), jnp.asarray(y), increment)


def model_work(side: str, precision: str, *, network: Network, samples: int, gradient: bool) -> Work:
    """A batch through the model; the gradient of its power by the parameters."""
    x, _ = _signals(network.batch, samples, precision)
    if side == "peer":
        return peers.model_work(network.config, x, gradient)
    model, params = _model(network, precision)
    state = model.initial_state(params, network.batch)

    apply = students.over_rows(students.mesh_for(1), model.apply, (-1, 0, 0), (0, 0))

    def power(params: models.Params, x: jax.Array) -> jax.Array:
        return jnp.mean(apply(params, x, state)[0] ** 2)

    work = jax.grad(power) if gradient else lambda params, x: apply(params, x, state)
    return partial(jax.jit(work), params, jnp.asarray(x))


def draw_work(side: str, precision: str, *, network: Network) -> Work | None:
    """Ours alone: tones and targets of a batch, by the teacher."""
    if side == "peer":
        return None
    return partial(_run(network, precision).draw[0], 0)


def training_work(side: str, precision: str, *, network: Network, whole: bool) -> Work | None:
    """One update by the authors' loss and Adam; or a batch: drawn, through the teacher, rebuilt, all its updates."""
    if side == "peer" and network.students > 1:
        return None
    if side == "peer":
        trainer = peers.Trainer(network.config, SAMPLE_RATE, precision)
        if whole:
            return partial(trainer.batch, _tones(network.batch), SETTLING, ANALYSED, network.frame)
        trainer.lead_in(torch.tensor(_signals(network.batch, SETTLING, precision)[0]))
        return partial(trainer.update, *(torch.tensor(x) for x in _signals(network.batch, network.frame, precision)))

    prepared = _run(network, precision)
    (draw,), (begin,), (source,) = prepared.draw, prepared.begin, prepared.sources
    state, drawn, batch = loop.begin(prepared).state, draw(0), 0
    state = state._replace(memories=(begin(state.params, drawn),))

    def work() -> Any:
        nonlocal batch, drawn, state
        if whole:
            batch += 1
            drawn = draw(batch)
            state = state._replace(memories=(begin(state.params, drawn),))
        for number in range(source.frames if whole else 1):
            state, terms = prepared.update(state, [drawn], number)
        return terms

    return work


def _model(network: Network, precision: str) -> tuple[models.Model, models.Params]:
    model = models.build(network.config)
    return model, models.cast(model.init(jax.random.key(0)), precision)


def _run(network: Network, precision: str) -> run.Run:
    """A run by the authors' recipe, in the batch and frame of the network; students differ in their seeds."""
    changes = {"precision": precision, "batch_size": network.batch, "frame_s": network.frame / SAMPLE_RATE}
    config = presets.authors(network.config).model_copy(update=changes)
    model, params = _model(network, precision)
    tasks = [plan.Task("", params, config.model_copy(update={"seed": seed})) for seed in range(network.students)]
    return run.prepare(model, tasks, SAMPLE_RATE)


def _signals(batch: int, samples: int, precision: str) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and the same with a little other noise added, seeded."""
    random = np.random.default_rng(0)
    x = random.uniform(-0.5, 0.5, (batch, samples))
    return x.astype(precision), (x + 0.01 * random.standard_normal(x.shape)).astype(precision)


def _tones(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """f0 in Hz, amplitude and phase in radians, distributed as in training, seeded."""
    random = np.random.default_rng(0)
    f0_hz = dsp.midi_to_hz(random.uniform(*MIDI, count))
    return f0_hz, random.uniform(0, 1, count), random.uniform(0, 2 * np.pi, count)


def _stages() -> dict[str, Stage]:
    stages = {"resynthesis": Stage(resynthesis_work, 40 * ANALYSED)}
    for samples in (4410, 44100):
        for name, gradient in (("forward", False), ("gradient", True)):
            nmr_of = partial(nmr_work, samples=samples, gradient=gradient)
            stages[f"nmr-{samples}-{name}"] = Stage(nmr_of, 40 * samples)
    make: Callable[..., Work | None]
    for name, network in NETWORKS.items():
        for kind, make, samples, updates in (
            ("forward", partial(model_work, samples=network.frame, gradient=False), network.frame, 0),
            ("gradient", partial(model_work, samples=network.frame, gradient=True), network.frame, 0),
            ("teacher", partial(model_work, samples=SETTLING + ANALYSED, gradient=False), SETTLING + ANALYSED, 0),
            ("draw", draw_work, ANALYSED, 0),
            ("update", partial(training_work, whole=False), network.frame, 1),
            ("training", partial(training_work, whole=True), ANALYSED, ANALYSED // network.frame),
        ):
            stages[f"{name}-{kind}"] = Stage(partial(make, network=network), network.batch * samples, updates)
    for count in (2, 8):
        network = NETWORKS["lstm"]._replace(students=count)
        together = partial(training_work, whole=False, network=network)
        stages[f"lstm-update-{count}-students"] = Stage(together, count * network.batch * network.frame, count)
    return stages


def _growth() -> dict[str, Stage]:
    """Forward and backward of the LSTM, one size at a time away from 40 hidden units, 40 signals, 4410 samples."""
    lstm = NETWORKS["lstm"]
    networks = {f"batch-{batch}": lstm._replace(batch=batch) for batch in (1, 4, 16, 40, 80, 160)}
    for hidden in (16, 32, 64, 96, 128):
        networks[f"hidden-{hidden}"] = lstm._replace(config=config.LSTMConfig(hidden_size=hidden))
    networks |= {f"samples-{samples}": lstm._replace(frame=samples) for samples in (1_102, 2_205, 8_820, 22_050)}
    return {
        name: Stage(partial(model_work, network=n, samples=n.frame, gradient=True), n.batch * n.frame)
        for name, n in networks.items()
    }


def _fast() -> dict[str, Stage]:
    """Updates of `fast` of each kind of model, of one and of several students in one program."""
    return {
        f"fast-{network}-{count}": Stage(
            partial(fast_updates.work, network=network, students=count),
            count * fast_updates.samples(network),
            count * fast_updates.UPDATES,
        )
        for network in fast_updates.NETWORKS
        for count in fast_updates.STUDENTS
    }


_LSTM, _NAM_STANDARD = (ARCHITECTURES[name].model for name in ("lstm-40", "nam-standard"))
NETWORKS = {
    "lstm": Network(_LSTM, 40, 4_410),
    "tcn-4": Network(_NAM_STANDARD, 4, 22_050),
    "tcn": Network(_NAM_STANDARD, presets.paper(_NAM_STANDARD).batch_size, 22_050),
}
STAGES, GROWTH, FAST = _stages(), _growth(), _fast()
EVERY = STAGES | GROWTH | FAST
