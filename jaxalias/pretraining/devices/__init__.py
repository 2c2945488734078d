"""Virtual devices: circuits that are solved as differential equations, so that what they play has no aliases.

They stand in for a recording where there is none: to train a model of (`pretrain.py --device`), and to compare it
with (`evaluate.py --device`, columns -R). The dictionary below is all that the commands know of them.
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
"""By name: functions of (x (b, t) at full scale 1, sample rate in Hz) to what the device makes of it, (b, t)."""


def version(name: str) -> str:
    """All that a device's sound depends on: when this changes, what was played before is out of date."""
    settings = (simulation.OVERSAMPLING, simulation.NEWTON_STEPS, simulation.LANES, simulation.LEAD_IN_S)
    return repr((name, _CIRCUITS.get(name), settings))
