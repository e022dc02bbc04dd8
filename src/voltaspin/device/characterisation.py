"""The record of one junction, ``device.json``: its parts, and how answers and refusals get into it.

:func:`voltaspin.device.characterise.characterise` fills it. A part that a junction does not have is ``None``, with
the reason in :attr:`Characterisation.reasons`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from voltaspin.core.errors import InputError
from voltaspin.core.format import duration, number
from voltaspin.core.result import Numbers, Part, Result
from voltaspin.device.breakdown import statement
from voltaspin.device.junction import Junction, Pulse
from voltaspin.device.pulse_design import Tolerance
from voltaspin.device.sensitivity import Sensitivity
from voltaspin.device.transport import PulseEnergy

Gappy = tuple[float | None, ...]  #: ``None`` where there is no answer
_T = TypeVar("_T")


class Derived(Part):
    """Values that follow from the parameters.

    Args:
        Delta, barrier: without and with the field [k_B T]; the barrier is zero without two wells.
        K_eff: [J/m^3]; B_k: [T].
        V_c: voltage that cancels K_eff [V]; None without VCMA.
        period: of one turn about the in-plane field [s]; None without it.
        relaxation_time: of the free precession [s].
        R_P, R_AP: at vanishing voltage [ohm].
        capacitance: of the oxide [F].
    """

    Delta: float
    barrier: float
    K_eff: float
    B_k: float
    V_c: float | None
    period: float | None
    relaxation_time: float
    R_P: float
    R_AP: float
    capacitance: float


class PulseCurve(Part):
    """Switching probabilities against the width [s] at one voltage [V]."""

    label: str
    voltage: float
    widths: Numbers
    p01: Numbers
    p10: Numbers


class PulseMap(Part):
    """Switching probabilities over voltage and width.

    Args:
        voltages: (n,) [V]; widths: (m,) [s].
        p01, p10: (n, m), that a pulse flips a 0 and a 1.
        WER: (n, m), of the direction that fails more often.
        error: (n, m), of the WER, by the change between two degrees.
        degree: of the finer solution.
    """

    voltages: Numbers
    widths: Numbers
    p01: tuple[Numbers, ...]
    p10: tuple[Numbers, ...]
    WER: tuple[Numbers, ...]
    error: tuple[Numbers, ...]
    degree: int


class PulseRecord(Part):
    """One pulse and what it does.

    Args:
        voltage: [V]; width: [s].
        p01, p10: that it flips a 0 and a 1; WER: of the direction that fails more often.
        searched: by :func:`best_pulse`; else it is the best of the map.
        verdict: in one sentence.
        worst_deviation, worst_case: of a searched fair pulse, over the box of :class:`Tolerance`.
        band: of a fair pulse, shortest and longest width around it with p01 and p10 within 0.01 of 1/2 [s]; None
            where the pulse itself is not.
        energy: by where it goes.
        slopes: derivatives.
        oxide_life: stress at its voltage until a share ``Oxide.failure`` of the oxides has broken [s];
            None above the breakdown field, or where it overflows.
    """

    voltage: float
    width: float
    p01: float
    p10: float
    WER: float
    searched: bool
    verdict: str
    worst_deviation: float | None
    worst_case: str
    band: tuple[float, float] | None
    energy: PulseEnergy
    slopes: tuple[Sensitivity, ...]
    oxide_life: float | None

    @property
    def fair(self) -> bool:
        """Whether p01 and p10 are 1/2 within the tolerance, over its box where the pulse was searched for."""
        off = max(abs(self.p01 - 0.5), abs(self.p10 - 0.5)) if self.worst_deviation is None else self.worst_deviation
        return off <= Tolerance().probability


class ErrorCurve(Part):
    """Write error rate of the worse direction, with its numerical error, against ``at`` (V or s)."""

    at: Numbers
    WER: Numbers
    error: Numbers


class Bathtub(Part):
    """Error rates around the write pulse: against its voltage [V] and against its width [s]."""

    voltage: ErrorCurve
    width: ErrorCurve


class Retention(Part):
    """Mean life of a bit in the shallower well [s].

    Args:
        life: as the junction stands.
        temperatures: [K]; at_temperature: life there, the material following its laws.
        voltages: constant, on the cell [V]; at_voltage: life there, without spin torque.
    """

    life: float | None
    temperatures: Numbers
    at_temperature: Gappy
    voltages: Numbers
    at_voltage: Gappy


class Astroid(Part):
    """Stoner and Wohlfarth's switching fields at one voltage: a quadrant [T]."""

    voltage: float
    B_k: float
    in_plane: Numbers
    along_z: Numbers


class Read(Part):
    """A read at one voltage [V] averaged over a time [s].

    Args:
        P, AP: currents of the two states; reference: between them; margin: of the nearer one [A].
        error: probability to read a bit as the other, over devices and reads.
        energy: of one read [J].
        disturb: probability that it flips the bit, of the worse state; None without a rate.
    """

    voltage: float
    integration_time: float
    P: float
    AP: float
    reference: float
    margin: float
    error: float
    energy: float
    disturb: float | None


class Oxide(Part):
    """Life of the oxide at a voltage [V] until a share ``failure`` has broken [s]; none above ``limit`` [V]."""

    failure: float
    limit: float
    voltages: Numbers
    life: Gappy


class Characterisation(Result):
    """``device.json``: all of it, SI. A part that does not exist is None and has its reason in ``reasons``."""

    KIND: ClassVar[str] = "device-characterisation"
    junction: Junction
    relax: float
    spin_torque: bool
    line_capacitance: float
    derived: Derived
    curves: tuple[PulseCurve, ...] | None
    map: PulseMap | None
    write: PulseRecord | None
    coin: PulseRecord | None
    bathtub: Bathtub | None
    retention: Retention | None
    astroid: tuple[Astroid, ...] | None
    read: Read | None
    oxide: Oxide
    reasons: dict[str, str]

    def __str__(self) -> str:
        d = self.derived
        first = f"{self.junction.name}: Delta {d.Delta:.1f}, barrier with the in-plane field {d.barrier:.1f} k_B T"
        lines = [first if d.V_c is None else f"{first}, V_c {d.V_c:.3f} V"]
        for name, p in (("write", self.write), ("coin", self.coin)):
            if p is not None:
                worn = statement(self.junction, Pulse(voltage=p.voltage, width=p.width), failure=self.oxide.failure)
                lines += [f"{name}: {p.verdict}", f"{name}, oxide: {worn}"]
        if self.retention is not None and self.retention.life is not None:
            lines.append(f"a bit lives {duration(self.retention.life)} on average")
        if self.read is not None:
            lines.append(f"read errors {number(self.read.error)} at {self.read.voltage:g} V")
        return "\n".join(lines + [f"no {part}: {reason}" for part, reason in self.reasons.items()])


# --- into the record ------------------------------------------------------------------------------------


def numbers(values: ArrayLike) -> Numbers:
    """Return an array as the record keeps it."""
    return tuple(float(v) for v in np.asarray(values, float))


def or_reason(reasons: dict[str, str], part: str, ask: Callable[[], _T]) -> _T | None:
    """Return the answer, or None and keep the refusal's own words in ``reasons``."""
    try:
        return ask()
    except InputError as error:
        reasons[part] = str(error)
        return None
