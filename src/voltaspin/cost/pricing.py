"""Prices: counted actions times energies, each number of the cost table drawn once.

The ledger counts, this file multiplies. Every number of a table carries a grade, and is drawn many times as widely as
its own range or its grade says. All prices are sums of these draws, so a bit, an image, a training run and every ratio
have ranges that agree. Three boundaries, each including the one before it:

* ``cell``: the energy that the junction itself dissipates and charges;
* ``cell+line``: adds the bit line that carries every pulse and read;
* ``macro``: adds drivers, sense amplifiers, XOR gates and table reads, and takes the area of the whole array.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, get_args

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import ACTIONS, Ledger
from voltaspin.core.quantity import Estimate, Grade, Sourced
from voltaspin.core.result import Boundary
from voltaspin.cost.circuits import Circuits
from voltaspin.cost.table import CostTable, Draws, Floats, si, weakest

if TYPE_CHECKING:
    from voltaspin.device.junction import Junction, Pulse

BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)


@dataclass(frozen=True, kw_only=True)
class CellPulse:
    """One voltage pulse on one cell, reduced to what it costs.

    Args:
        voltage: at the top [V].
        ohmic: V^2 t / R through the barrier [J].
        charging: C V^2 of the junction itself [J].

    Raises:
        InputError: a negative energy.
    """

    voltage: float
    ohmic: float
    charging: float

    def __post_init__(self) -> None:
        for name in ("ohmic", "charging"):
            if not getattr(self, name) >= 0:
                raise InputError(
                    f"{name} energy {getattr(self, name)!r} J of a pulse is negative or not a number; "
                    "check its voltage, width and resistance"
                )

    @property
    def energy(self) -> float:
        """[J]"""
        return self.ohmic + self.charging

    @classmethod
    def rectangular(cls, *, voltage: float, width: float, resistance: float, capacitance: float) -> Self:
        """From plain numbers.

        Args:
            voltage: [V]; width: [s]; resistance: at that voltage [ohm]; capacitance: of the cell [F].

        Raises:
            InputError: a width, resistance or capacitance that no cell has.
        """
        if not (width > 0 and resistance > 0 and capacitance >= 0):
            raise InputError(
                f"width {width!r} s and resistance {resistance!r} ohm must be positive, capacitance "
                f"{capacitance!r} F at least 0; give SI numbers"
            )
        return cls(voltage=voltage, ohmic=voltage**2 * width / resistance, charging=capacitance * voltage**2)

    @classmethod
    def read(cls, resistance: float, *, table: CostTable | None = None) -> Self:
        """The table's read through ``resistance`` [ohm]; it charges no cell."""
        table = table or CostTable.default()
        return cls.rectangular(
            voltage=si(table.read_voltage), width=si(table.read_width), resistance=resistance, capacitance=0.0
        )

    @classmethod
    def of(cls, junction: Junction, pulse: Pulse, *, table: CostTable | None = None) -> Self:
        """From a junction and its pulse: ohmic energy at the pulse's voltage, plate capacitance of the oxide.

        The conductance is the mean of the two states, as in ``Pulse.energy``.
        """
        from voltaspin.device.transport import pulse_energy

        energy = pulse_energy(junction, pulse, eps_r=(table or CostTable.default()).permittivity.value)
        return cls(voltage=pulse.voltage, ohmic=energy.ohmic, charging=energy.capacitive)


def random_pulse() -> tuple[Junction, Pulse]:
    """Return the cell that random bits come from and its pulse: those of the shipped switching model."""
    from voltaspin.device import SwitchingModel

    model = SwitchingModel.shipped()
    assert model.junction is not None, "the shipped model knows its junction"
    assert model.pulse is not None, "and its pulse"
    return model.junction, model.pulse


def weight_pulse() -> tuple[Junction, Pulse]:
    """Return the cell that holds weights, a storage junction, and the pulse that turns it over: half a precession."""
    from voltaspin.core.units import gamma_e
    from voltaspin.device import Pulse, presets

    junction = presets.get("storage")
    return junction, Pulse(voltage=junction.V_c, width=math.pi / (gamma_e * junction.B_in_plane))


ActionPrices = dict[Boundary, dict[str, Floats]]
FREE = frozenset({"raw", "bit", "normal"})  #: handing over a number costs nothing by itself
_PULSES = ("pulse", "reset", "write", "toggle", "read")


def drawn_line(draws: Draws, cells: int) -> Floats:
    """Return the capacitance [F] of a bit line of a square array of ``cells``, over its range; float64 (samples,)."""
    circuits = Circuits(draws, si(draws.table.feature_size))
    return circuits.line(cells**0.5, "drain load", np.sqrt(draws.cell_area))


@dataclass(frozen=True, repr=False)
class Prices:
    """The energy of one count of each action, and the memory's area, draw by draw.

    Args:
        draws: of the table.
        energy: [J] by boundary and action; float64 (samples,).
        area: of one cell, or of the array's macro [m^2], by boundary; float64 (samples,).
        grades: the weakest grade behind the prices of a boundary.
    """

    draws: Draws
    energy: ActionPrices
    area: dict[Boundary, Floats]
    grades: dict[Boundary, Grade]

    def __repr__(self) -> str:
        return f"Prices({', '.join(self.energy['macro'])}; {self.draws!r})"

    @classmethod
    def of(
        cls,
        junction: Junction,
        pulse: Pulse | CellPulse,
        *,
        cells: int = 65536,
        draws: Draws | None = None,
        grade: Grade = "assumed",
    ) -> Self:
        """The prices of a junction's memory. A reset, a write and a toggle are taken to cost what a pulse does.

        Args:
            junction: of the cells.
            pulse: of each action. Instead of several pulses give their mean: every price is linear in the ohmic energy
                and in the square of the voltage.
            cells, draws, grade: see :meth:`of_pulses`.
        """
        draws = draws or Draws()
        cell = pulse if isinstance(pulse, CellPulse) else CellPulse.of(junction, pulse, table=draws.table)
        pulses = dict.fromkeys(_PULSES, cell) | {"read": CellPulse.read(junction.R_P, table=draws.table)}
        return cls.of_pulses(pulses, cells=cells, draws=draws, grade=grade)

    @classmethod
    def of_pulses(
        cls,
        pulses: Mapping[str, CellPulse],
        *,
        cells: int = 65536,
        draws: Draws | None = None,
        grade: Grade = "assumed",
    ) -> Self:
        """The prices of a memory whose pulses are known.

        Args:
            pulses: of one ``pulse``, ``reset``, ``write``, ``toggle`` and ``read``, as far as they are counted.
            cells: of the array, whose periphery the macro shares.
            draws: of the table; a thousand of the package's own where None.
            grade: how well the junction's current is known; all pulses share its error.

        Raises:
            InputError: an array without cells.
        """
        if cells < 1:
            raise InputError(f"cells = {cells} must be at least 1")
        draws = draws or Draws()
        t, nothing = draws.table, np.zeros(draws.samples)
        current = draws.of(Sourced(1.0, "1", "the junction's own current", grade), "own")
        plate = draws["permittivity"] / t.permittivity.value
        at_macro = {"xor": draws["xor"], "and": draws["xor"], "hash": draws["sha256"], "lookup": draws["lookup"],
                    "adder": draws["add int8"] / 8}  # fmt: skip
        area = draws.cell_area
        capacitance = drawn_line(draws, cells)
        energy: ActionPrices = {b: dict.fromkeys(at_macro, nothing) for b in BOUNDARIES}
        energy["macro"] |= at_macro
        for action, pulse in pulses.items():
            line = capacitance * pulse.voltage**2
            cell = pulse.ohmic * current + pulse.charging * plate
            driven = cell + line * (1 + draws["driver_overhead"])
            energy["cell"][action], energy["cell+line"][action] = cell, cell + line
            energy["macro"][action] = driven + draws["sense"] if action == "read" else driven
        at_cell = weakest([grade, "derived", t.permittivity])
        at_line = weakest([at_cell, *(t.circuits[name].number for name in ("wire", "drain load"))])
        return cls(
            draws=draws, energy=energy,
            area={"cell": area, "cell+line": area, "macro": cells * area / draws["array_efficiency"]},
            grades={"cell": at_cell, "cell+line": at_line, "macro": weakest([at_line, t.driver_overhead, t.sense])},
        )  # fmt: skip

    def total(self, counts: Ledger | Mapping[str, float], boundary: Boundary) -> Floats:
        """Return the energy [J] of all counts at a boundary, draw by draw.

        Raises:
            InputError: an action was counted that has no price here.
        """
        counts = counts.totals() if isinstance(counts, Ledger) else counts
        prices = self.energy[boundary]
        priced = {a: n for a, n in counts.items() if n and a not in FREE}
        if unknown := [a for a in priced if a not in prices]:
            raise InputError(_unpriced(unknown, counts))
        return sum((n * prices[a] for a, n in priced.items()), start=np.zeros(self.draws.samples))


def _unpriced(actions: list[str], counts: Mapping[str, float]) -> str:
    if unknown := [a for a in actions if a not in _PULSES]:
        word = "of crossbars, which" if unknown[0] in ACTIONS else "which"
        return (
            f"the ledger counts {', '.join(unknown)} {word} are no cost of random numbers; price that part with "
            "cost.compute_cost, and the part that made the noise with this"
        )
    remedy = "read=CellPulse.read(resistance), in ohm" if actions[0] == "read" else f"{actions[0]}=CellPulse.of(...)"
    return f"the ledger counts {counts[actions[0]]} of {actions[0]!r} without a price; give Prices.of_pulses {remedy}"


def price(counts: Ledger | Mapping[str, float], prices: Prices) -> dict[Boundary, Estimate]:
    """Price counted actions at each boundary: the medians of all draws with 90 % intervals [pJ].

    Args:
        counts: a ledger, or actions with their counts.
        prices: of :meth:`Prices.of`.

    Raises:
        InputError: an action was counted that has no price.
    """
    return {b: picojoules(prices.total(counts, b)) for b in BOUNDARIES}


def picojoules(joules: Floats) -> Estimate:
    """Return the median of drawn energies [J] and their 90 % interval, in pJ."""
    return Estimate.of_draws(1e12 * joules, unit="pJ")


def bit_counts(*, cells_per_bit: int, resets: float) -> dict[str, float]:
    """Return the actions behind one bit that XOR combines of several cells; ``resets`` go before each pulse."""
    k = cells_per_bit
    return {"pulse": k, "reset": k * resets, "read": k, "xor": k - 1}
