"""A circuit of resistors, capacitors, diodes and bipolar transistors as a differential equation of its node voltages.

Kirchhoff's current law at every node except ground and the supply, whose voltages are fixed:

    C dv/dt + G v + P e(Q v) = s + b u,    e_k(w) = I_s (exp(w / n V_T) - 1)

u is the voltage of the source. w = Q v are the junction voltages: of each diode, then base-emitter and base-collector
of each transistor. Diodes follow Shockley's equation, transistors the transport form of Ebers and Moll (1954), which is
SPICE's model without its refinements:
i_C = e_BE - (1 + 1/beta_R) e_BC and i_B = e_BE / beta_F + e_BC / beta_R, with constant junction capacitances.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

GROUND, SUPPLY, SOURCE = "ground", "supply", "source"
"""Nodes with known voltages: 0, the battery, the input."""

_THERMAL_V = 25.85e-3  # V_T = k T / q at 300 K


class Transistor(NamedTuple):
    """An NPN transistor. A PNP circuit equals an NPN circuit with all voltages negated."""

    collector: str
    base: str
    emitter: str
    saturation_a: float
    beta_forward: float
    beta_reverse: float
    base_emitter_f: float
    base_collector_f: float


class Diode(NamedTuple):
    """A diode without capacitance."""

    anode: str
    cathode: str
    saturation_a: float
    ideality: float  # n


@dataclass(frozen=True, eq=False)
class Circuit:
    """Components by name: (from node, to node, value). Circuits are compared by identity, not by content."""

    resistors: dict[str, tuple[str, str, float]]  # ohm
    capacitors: dict[str, tuple[str, str, float]]  # farad
    diodes: dict[str, Diode]
    transistors: dict[str, Transistor]
    supply_v: float
    output: str  # its node
    input_v: float  # volt at the source for an input of 1
    output_per_v: float  # output for 1 V at the output node; negative for an inverting circuit


class Equations(NamedTuple):
    """The matrices of the module's equation. One row is a node; a column of P and a row of Q are a junction."""

    capacitance: np.ndarray
    conductance: np.ndarray
    injection: np.ndarray  # P
    junctions: np.ndarray  # Q
    constant: np.ndarray  # s
    drive: np.ndarray  # b
    saturation_a: np.ndarray  # of each junction
    thermal_v: np.ndarray  # n V_T of each junction
    output: np.ndarray  # the row that picks the output node


def equations(circuit: Circuit) -> Equations:
    """Write each component into the matrices (nodal analysis)."""
    names = nodes(circuit)
    size = len(names)
    capacitance, conductance = np.zeros((size, size)), np.zeros((size, size))
    constant, drive = np.zeros(size), np.zeros(size)

    def row(node: str) -> np.ndarray:
        return np.array([float(node == name) for name in names])

    for a, b, ohm in circuit.resistors.values():
        difference = row(a) - row(b)
        conductance += np.outer(difference, difference) / ohm
        for here, there in ((a, b), (b, a)):
            constant += row(here) * (there == SUPPLY) * circuit.supply_v / ohm
            drive += row(here) * (there == SOURCE) / ohm
    transistors = circuit.transistors.values()
    junctions = [
        (row(d.anode) - row(d.cathode),) * 2 + (d.saturation_a, d.ideality * _THERMAL_V)
        for d in circuit.diodes.values()
    ]
    capacitors = list(circuit.capacitors.values())
    for t in transistors:
        capacitors += [(t.base, t.emitter, t.base_emitter_f), (t.base, t.collector, t.base_collector_f)]
        for far, collector, base in ((t.emitter, 1.0, 1 / t.beta_forward),
                                     (t.collector, -1 - 1 / t.beta_reverse, 1 / t.beta_reverse)):  # fmt: skip
            out = collector * row(t.collector) + base * row(t.base) - (collector + base) * row(t.emitter)
            junctions.append((row(t.base) - row(far), out, t.saturation_a, _THERMAL_V))
    for a, b, farad in capacitors:
        difference = row(a) - row(b)
        capacitance += np.outer(difference, difference) * farad
    voltages, currents, saturation, thermal = (np.array(column) for column in zip(*junctions, strict=True))
    return Equations(
        capacitance, conductance, currents.T, voltages, constant, drive, saturation, thermal, row(circuit.output)
    )


def operating_point(circuit: Circuit) -> np.ndarray:
    """Node voltages at rest, (nodes,): Newton's method while the supply voltage rises in steps from 0.

    Raises:
        ArithmeticError: no solution was found; the circuit is wrong.
    """
    c = equations(circuit)
    v = np.zeros(len(c.constant))
    for share in np.linspace(0, 1, 101)[1:]:
        for _ in range(200):
            w = np.minimum(c.junctions @ v / c.thermal_v, 40.0)
            current = c.saturation_a * np.expm1(w)
            slope = c.saturation_a * np.exp(w) / c.thermal_v
            residual = c.conductance @ v + c.injection @ current - share * c.constant
            step = np.linalg.solve(c.conductance + c.injection * slope @ c.junctions, residual)
            v = v - step * min(1.0, 2 / np.max(np.abs(c.junctions @ step) / c.thermal_v).clip(1e-30))
            if np.max(np.abs(step)) < 1e-13:
                break
        else:
            raise ArithmeticError(f"no operating point at {share:.0%} of {circuit.supply_v} V; last step {step}")
    return v


def nodes(circuit: Circuit) -> list[str]:
    """The nodes with unknown voltages, in the order of the equations."""
    ends = [node for a, b, _ in (*circuit.resistors.values(), *circuit.capacitors.values()) for node in (a, b)]
    ends += [node for d in circuit.diodes.values() for node in (d.anode, d.cathode)]
    ends += [node for t in circuit.transistors.values() for node in (t.collector, t.base, t.emitter)]
    return [node for node in dict.fromkeys(ends) if node not in (GROUND, SUPPLY, SOURCE)]
