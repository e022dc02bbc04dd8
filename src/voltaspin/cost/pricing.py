"""Prices: counted actions times energies, each number of the cost table drawn once.

The ledger counts, this file multiplies. Every number of a table carries a grade, and is drawn many times as widely as
its own range or its grade says. All prices are sums of these draws, so a bit, an image, a training run and every ratio
have ranges that agree. Three boundaries, each including the one before it:

* ``cell``: the energy that the junction itself dissipates and charges;
* ``cell+line``: adds the bit line that carries every pulse and read;
* ``macro``: adds drivers, sense amplifiers, XOR gates and table reads, and takes the area of the whole array.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import ACTIONS, Ledger
from voltaspin.core.quantity import Estimate, Grade, Sourced
from voltaspin.core.result import Boundary
from voltaspin.cost.table import BOUNDARIES, CellPulse, CostTable, si, si_unit, weakest
from voltaspin.random.streams import Stream

if TYPE_CHECKING:
    from voltaspin.device.junction import Junction, Pulse

Floats = NDArray[np.float64]
ActionPrices = dict[Boundary, dict[str, Floats]]
#: Choices of a design: they are not drawn.
CHOSEN = frozenset({"feature_size", "read_voltage", "read_width"})
FREE = frozenset({"raw", "bit", "normal"})  #: handing over a number costs nothing by itself
_PULSES = ("pulse", "reset", "write", "toggle", "read")


class Draws:
    """The numbers of a cost table, drawn: one name always stands for the same draws.

    Args:
        table: the package's own where None.
        samples: draws of each number.
        seed: of the draws.

    Raises:
        InputError: fewer than 100 samples, which give no 90 % interval.
    """

    def __init__(self, table: CostTable | None = None, *, samples: int = 1000, seed: int = 0) -> None:
        if samples < 100:
            raise InputError(f"samples = {samples} must be at least 100 for an interval of 90 %")
        self.table, self.samples, self.seed = table or CostTable.default(), samples, seed
        self._known: dict[str, Floats] = {}

    def of(self, number: Sourced, *name: str) -> Floats:
        """Return draws of ``number`` in SI units; float64 (samples,)."""
        return number.draws(Stream.of(self.seed, "cost", *name).normals(self.samples)) * si_unit(number)

    def __getitem__(self, name: str) -> Floats:
        """Draws of a field or an operation of the table, in SI units."""
        if name not in self._known:
            found = self.table.operations.get(name) or getattr(self.table, name)
            made = np.full(self.samples, si(found)) if name in CHOSEN else self.of(found, name)
            self._known[name] = np.minimum(made, 0.95) if name == "array_efficiency" else made
        return self._known[name]

    @property
    def cell_area(self) -> Floats:
        """Area of a cell [m^2]."""
        return self["cell_area"] * self["feature_size"] ** 2


@dataclass(frozen=True)
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
        energy: ActionPrices = {b: dict.fromkeys(at_macro, nothing) for b in BOUNDARIES}
        energy["macro"] |= at_macro
        for action, pulse in pulses.items():
            line = draws["line_capacitance"] * pulse.voltage**2
            cell = pulse.ohmic * current + pulse.charging * plate
            driven = cell + line * (1 + draws["driver_overhead"])
            energy["cell"][action], energy["cell+line"][action] = cell, cell + line
            energy["macro"][action] = driven + draws["sense"] if action == "read" else driven
        area = draws.cell_area
        at_cell = weakest([grade, "derived", t.permittivity])
        at_line = weakest([at_cell, t.line_capacitance])
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
