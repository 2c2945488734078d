"""A fuzz: the clipping stage of the Big Muff Pi, a transistor with diodes in its feedback, at high gain.

A common-emitter stage. Its collector feeds back to its base through a resistor (bias), a capacitor (470 pF, which
attenuates the treble) and, in series with 100 nF, two antiparallel diodes. The pedal has two such stages after a
booster; here is one after an ideal amplifier, with a gain of 30 for a guitar of 0.2 V. The values are those commonly
published for the pedal of the 1970s, with a transistor similar to the data sheet of a 2N5133; they were not measured on
a unit. The diodes are the 1N4148 of Yeh, Abel and Smith (see `distortion`).
"""

from jaxalias.pretraining.devices.circuit import GROUND, SOURCE, SUPPLY, Circuit, Transistor
from jaxalias.pretraining.devices.distortion import diode_1n4148

_2N5133 = Transistor(
    collector="collector", base="base", emitter="emitter",
    saturation_a=7e-15, beta_forward=300.0, beta_reverse=5.0, base_emitter_f=12e-12, base_collector_f=4e-12,
)  # fmt: skip

CIRCUIT = Circuit(
    resistors={
        "source": (SOURCE, "in", 10e3),
        "R base": ("base", GROUND, 100e3),
        "R feedback": ("collector", "base", 470e3),
        "R collector": (SUPPLY, "collector", 12e3),
        "R emitter": ("emitter", GROUND, 150.0),
        "load": ("out", GROUND, 100e3),
    },
    capacitors={
        "C in": ("in", "base", 100e-9),
        "C feedback": ("collector", "base", 470e-12),
        "C diodes": ("collector", "diodes", 100e-9),
        "C out": ("collector", "out", 100e-9),
        "cable": ("out", GROUND, 470e-12),
    },
    diodes={"D1": diode_1n4148("diodes", "base"), "D2": diode_1n4148("base", "diodes")},
    transistors={"Q1": _2N5133},
    supply_v=9.0,
    output="out",
    input_v=6.0,
    output_per_v=-1.2,
)
