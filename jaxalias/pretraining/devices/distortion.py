"""A diode clipper with a tone control: a strong signal through a resistor into two antiparallel diodes.

The clipper is that of Yeh, Abel and Smith, "Simulation of the diode limiter in guitar distortion circuits by numerical
solution of ordinary differential equations" (DAFx-07): 2.2 kohm, 10 nF, 1N4148 with their I_s = 2.52 nA and n = 1.752.
An ideal amplifier with a coupling capacitor drives it, with a gain of 500 for a guitar of 0.2 V. The tone control of
the Big Muff follows (a low-pass and a high-pass, mixed half and half), with that pedal's values.
"""

from jaxalias.pretraining.devices.circuit import GROUND, SOURCE, Circuit, Diode


def diode_1n4148(anode: str, cathode: str) -> Diode:
    """A 1N4148 diode with the values of that paper."""
    return Diode(anode, cathode, saturation_a=2.52e-9, ideality=1.752)


CIRCUIT = Circuit(
    resistors={
        "R1": (SOURCE, "in", 2.2e3),
        "bias": ("clipped", GROUND, 1e6),
        "low": ("clipped", "dark", 39e3),
        "high": ("bright", GROUND, 22e3),
        "tone, dark side": ("dark", "out", 50e3),
        "tone, bright side": ("out", "bright", 50e3),
        "load": ("out", GROUND, 1e6),
    },
    capacitors={
        "coupling": ("in", "clipped", 470e-9),
        "C1": ("clipped", GROUND, 10e-9),
        "C dark": ("dark", GROUND, 10e-9),
        "C bright": ("clipped", "bright", 4e-9),
        "cable": ("out", GROUND, 100e-12),
    },
    diodes={"D1": diode_1n4148("clipped", GROUND), "D2": diode_1n4148(GROUND, "clipped")},
    transistors={},
    supply_v=0.0,
    output="out",
    input_v=100.0,
    output_per_v=2.0,
)
