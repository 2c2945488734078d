"""Anti-aliasing of neural distortion effects by fine-tuning (Carson, Wright, Bilbao, DAFx25).

The method in eight lines, one update of it (`sines` is in `jaxalias.signals`, `harmonics` and `teacher` in
`jaxalias.targets`, `terms` in `jaxalias.losses`):

    tones = sines.draw(key, 40, midi_low=21, midi_high=127, sample_rate=fs, dtype="float32")
    x = sines.render(tones, settling + analysed)
    y = teacher.settled(model, params, tones, settling=settling, analysed=analysed)
    target = harmonics.bandlimit(y, tones.increment, harmonics.highest_number(27.5, fs))
    memory = model.apply(student, x[:, :settling], model.initial_state(student, 40))[1]
    loss = lambda y: sum(t.weight * t.reduce(t.measure(y, target, ())) for t in terms.of_tones(config.LossConfig(), fs))
    gradient = jax.grad(lambda p: loss(model.apply(p, x[:, settling:], memory)[0]))(student)
    student = optax.apply_updates(student, optimiser.update(gradient, moments)[0])

`jaxalias.fine_tune` runs the whole method in one call.

Axes in signatures: b batch, t samples, k harmonic, f FFT bin, n STFT frame, z critical band, h hidden unit,
c channel. Suffixes name units: _hz, _db, _s; a bare length is in samples. Signals are (b, t).
"""

from importlib import import_module
from importlib.metadata import version
from typing import Any

__all__ = [
    "FineTuned",
    "config",
    "evaluation",
    "fine_tune",
    "fine_tuning",
    "listening",
    "losses",
    "models",
    "optimisers",
    "pretraining",
    "reporting",
    "signals",
    "targets",
    "training",
]
__version__ = version("jaxalias")


def __getattr__(name: str) -> Any:
    """Import a sub-package at its first use, because `jaxalias --help` needs none of them."""
    if name in ("FineTuned", "fine_tune"):
        return getattr(import_module("jaxalias.fine_tuning"), name)
    if name in __all__:
        return import_module(f"jaxalias.{name}")
    raise AttributeError(f"module 'jaxalias' has no attribute {name!r}")
