"""A junction at a glance, and the list of presets."""

from __future__ import annotations

from typing import Annotated, ClassVar

from voltaspin.core.errors import InputError
from voltaspin.core.result import Part, Result, Unit
from voltaspin.device import presets
from voltaspin.device.junction import Junction, Well
from voltaspin.device.llg import LLG
from voltaspin.device.protocol import Protocol
from voltaspin.device.pulse import Pulse

WELLS: tuple[Well, Well] = ("up", "down")


class Counted(Part):
    """A probability that was counted: its value, standard error and number of trajectories."""

    value: float
    error: float
    n: int


class PulseInNanoseconds(Part):
    """The pulse of an overview."""

    voltage_V: float
    width_ns: float


class JunctionOverview(Result):
    """Derived values of a junction, and what one pulse does.

    Args:
        preset: the junction, as it was named.
        Delta, barrier: without and with the in-plane field [k_B T].
        V_c_V: voltage that cancels the anisotropy [V], None with further terms; ``B_k_mT``,
            ``K_eff_J_per_m3``, ``R_P_ohm``: as their names say.
        p01, p10: that the pulse flips a 0 and a 1; ``seed``: of the trajectories.
    """

    KIND: ClassVar[str] = "junction-overview"

    preset: str
    Delta: Annotated[float, Unit("k_B T")]
    barrier: Annotated[float, Unit("k_B T")]
    V_c_V: float | None
    B_k_mT: float
    K_eff_J_per_m3: float
    R_P_ohm: float
    pulse: PulseInNanoseconds
    seed: int
    p01: Counted
    p10: Counted

    def __str__(self) -> str:
        V_c = "" if self.V_c_V is None else f"V_c {self.V_c_V:.3f} V, "
        lines = [
            f"{self.preset}: Delta {self.Delta:.1f}, barrier with the in-plane field {self.barrier:.1f} k_B T, "
            f"{V_c}B_k {self.B_k_mT:.1f} mT, R_P {self.R_P_ohm / 1e3:.0f} kOhm"
        ]
        at = f"at {self.pulse.voltage_V:.3f} V, {self.pulse.width_ns:g} ns"
        lines += [f"{n} = {p.value:.4f} +- {p.error:.4f} {at}" for n, p in (("p01", self.p01), ("p10", self.p10))]
        return "\n".join(lines)


def overview(name: str, *, voltage: float | None = None, width: float, devices: int, seed: int = 0) -> JunctionOverview:
    """Return derived values of a junction and its response to one pulse.

    Args:
        name: as :meth:`Junction.of` takes it.
        voltage: of the pulse [V]; default: V_c. width: [s].
        devices: trajectories; seed: of their chance.

    Raises:
        InputError: no such junction, no such pulse, or more trajectories than can be followed.
    """
    junction = Junction.of(name)
    if voltage is None and junction.terms:
        raise InputError(
            f"voltage: {name} with {', '.join(junction.terms)} has no V_c to take in its place; give volts"
        )
    pulse = Pulse(voltage=junction.V_c if voltage is None else voltage, width=width)
    solver = LLG(devices=devices, seed=seed)
    up, down = (solver.switching(junction, pulse, Protocol(initial=well)) for well in WELLS)
    return JunctionOverview(
        preset=name, Delta=junction.Delta(), barrier=junction.barrier(),
        V_c_V=None if junction.terms else junction.V_c,
        B_k_mT=junction.B_k() * 1e3, K_eff_J_per_m3=junction.K_eff(), R_P_ohm=junction.R_P, seed=seed,
        pulse=PulseInNanoseconds(voltage_V=pulse.voltage, width_ns=float(f"{width * 1e9:.12g}")),
        p01=Counted(value=up.value, error=up.error, n=devices),
        p10=Counted(value=down.value, error=down.error, n=devices),
    )  # fmt: skip


class PresetRow(Part):
    """One preset: its origin, derived values, and how many of its numbers have each grade."""

    name: str
    title: str
    citation: str
    Delta: float
    barrier: float
    V_c_V: float | None
    R_P_ohm: float
    grades: dict[str, int]


class PresetList(Result):
    """The presets, and what follows from their numbers."""

    KIND: ClassVar[str] = "presets"

    presets: tuple[PresetRow, ...]

    def __str__(self) -> str:
        lines = [f"{'preset':<17}{'Delta':>6}{'barrier':>9}{'V_c (V)':>9}{'R_P (ohm)':>11}  what it is"]
        for p in self.presets:
            V_c = "-" if p.V_c_V is None else f"{p.V_c_V:.2f}"
            lines.append(f"{p.name:<17}{p.Delta:>6.1f}{p.barrier:>9.1f}{V_c:>9}{p.R_P_ohm:>11.3g}  {p.title}")
        return "\n".join(lines)


def preset_list() -> PresetList:
    """Return every preset with its derived values."""
    rows = []
    for name in presets.names():
        entry, junction = presets.entry(name), presets.get(name)
        grades = [number.grade for number in entry.numbers.values()]
        rows.append(
            PresetRow(
                name=name, title=entry.title, citation=entry.citation, Delta=junction.Delta(),
                barrier=junction.barrier(), V_c_V=junction.V_c if junction.xi and not junction.terms else None,
                R_P_ohm=junction.R_P,
                grades={grade: grades.count(grade) for grade in sorted(set(grades))},
            )
        )  # fmt: skip
    return PresetList(presets=tuple(rows))
