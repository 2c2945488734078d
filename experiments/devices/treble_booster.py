"""A one-transistor germanium booster, after the Dallas Rangemaster: a preamp stage that breaks up softly and unevenly.

Schematic and values: Holmes and van Walstijn, "Physical model parameter optimisation for calibrated emulation of the
Dallas Rangemaster treble booster guitar pedal" (DAFx-16). The transistor's values are round ones for an OC44, not
measured ones; its capacitances are of the order of its data sheet. The collector's pot is at its maximum.

Not the pedal's: C2 is 10 uF where it has 47, so that the bias settles within the tones of the evaluation, and 22 pF
from base to collector keep radio out.
"""

from experiments.devices.circuit import GROUND, SOURCE, SUPPLY, Circuit, Transistor

OC44 = Transistor(
    collector="collector", base="base", emitter="emitter",
    saturation_a=2e-6, beta_forward=90.0, beta_reverse=10.0, base_emitter_f=400e-12, base_collector_f=10e-12,
)  # fmt: skip

CIRCUIT = Circuit(
    resistors={
        "source": (SOURCE, "in", 10e3),  # of a guitar, turned down a little, or of a pedal before
        "R1": (SUPPLY, "base", 470e3),
        "R2": ("base", GROUND, 68e3),
        "R3": ("emitter", GROUND, 3.9e3),
        "pot": (SUPPLY, "collector", 10e3),
        "load": ("out", GROUND, 1e6),
    },
    capacitors={
        "C1": ("in", "base", 4.7e-9),
        "C2": ("emitter", GROUND, 10e-6),
        "radio": ("base", "collector", 22e-12),
        "C3": ("collector", "out", 10e-9),
        "cable": ("out", GROUND, 470e-12),
    },
    diodes={},
    transistors={"Q1": OC44},
    supply_v=9.0,
    thermal_v=25.85e-3,
    output="out",
    input_v=0.5,
    output_per_v=-0.17,
)
