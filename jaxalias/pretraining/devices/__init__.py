"""Virtual devices: circuits simulated as differential equations, whose output has no aliases.

They replace a recording: to train a model (`pretrain.py --device`), and as a reference for it (`evaluate.py --device`,
columns -R). The commands use the dictionary below only.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from jaxalias.pretraining.devices import clipper, distortion, fuzz, simulation

_CIRCUITS = {"distortion": distortion.CIRCUIT, "fuzz": fuzz.CIRCUIT}
DEVICES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "clipper": clipper.play,
    **{name: partial(simulation.play, circuit) for name, circuit in _CIRCUITS.items()},
}
"""By name: functions from (x (b, t) at full scale 1, sample rate in Hz) to the output of the device, (b, t)."""


def version(name: str) -> str:
    """Everything that affects the output of a device. If it changes, earlier recordings are out of date."""
    settings = (simulation.OVERSAMPLING, simulation.NEWTON_STEPS, simulation.LANES, simulation.LEAD_IN_S)
    return repr((name, _CIRCUITS.get(name), settings))
