"""The circuits around the cells at a technology node: energies, areas, times and lines, each a draw of the cost table.

A number of the table says its node and how it scales. Energy goes as node times supply voltage squared, area as node
squared, a transistor's load as node; wires per length stay. An exponent, drawn with its range, says how well such
scaling holds. Converters follow the regression of published ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Sourced
from voltaspin.cost.table import CircuitNumber, Draws, Floats, si
from voltaspin.memory.lines import line_capacitance

#: Nominal supply voltage [V] by node [nm]: those of the common foundry processes (textbook).
SUPPLY = {180: 1.8, 130: 1.3, 90: 1.2, 65: 1.1, 45: 1.0, 28: 0.9, 22: 0.8, 16: 0.8, 10: 0.75, 7: 0.7, 5: 0.65}
_LOGIC_NM = 45  # node of the table's digital operations
_ADC_NM, _ADC_RATE = 28, 1e8  # of the table's converters
#: Exponents of the regression over published converters: energy over node, area over node and over rate.
ADC_ENERGY_NODE, ADC_AREA_NODE, ADC_AREA_RATE = 1.88, 0.99, 0.18
#: Energy of a digital operation moved to another node, and of a memory access.
_OPERATIONS = frozenset({"xor", "full_adder", "lookup"})


def supply_voltage(node: float) -> float:
    """Return the nominal supply voltage [V] at a node [m], interpolated in its logarithm.

    Raises:
        InputError: a node outside 5 to 180 nm.
    """
    nm = np.array(sorted(SUPPLY))
    if not nm[0] <= node * 1e9 * (1 + 1e-9) or not node * 1e9 <= nm[-1] * (1 + 1e-9):
        raise InputError(f"node = {node * 1e9:g} nm: scaling is stated for {nm[0]} to {nm[-1]} nm; give one of these")
    return float(np.interp(np.log(node * 1e9), np.log(nm), [SUPPLY[n] for n in nm]))


@dataclass(frozen=True)
class Circuits:
    """Draws of the table's circuits at one node.

    Args:
        draws: of the cost table.
        node: [m].
        supply: of the logic [V]; the node's nominal one where None.
        extra: further numbers by name, float64 (samples,) or plain, which go before those of the table.
    """

    draws: Draws
    node: float
    supply: float | None = None
    extra: dict[str, Floats] = field(default_factory=dict, repr=False)

    @property
    def voltage(self) -> float:
        """Supply of the logic [V]."""
        return supply_voltage(self.node) if self.supply is None else self.supply

    def __getitem__(self, name: str) -> Floats:
        """Draws of a number in SI units at this node, float64 (samples,)."""
        if name in self.extra:
            return self.extra[name]
        table, drawn = self.draws.table, self.draws[name]
        if name in table.circuits:
            return drawn * self._scale(table.circuits[name])
        if name in table.operations or name in _OPERATIONS:
            return drawn * self._energy(_LOGIC_NM * 1e-9, nominal=supply_voltage(_LOGIC_NM * 1e-9))
        return drawn

    def line(self, cells: float, load: str, pitch: Floats | float) -> Floats:
        """Return the capacitance [F] of a line past ``cells``, a ``pitch`` [m] apart, each with a ``load``."""
        return line_capacitance(cells, wire=self["wire"], load=self[load], pitch=pitch)

    def nominal_line(self, cells: float, load: str, pitch: float) -> float:
        """Return the same capacitance [F] of the table's values, without their ranges."""
        known = self.draws.table.circuits
        wire, each = (si(known[name].number) * float(self._scale(known[name])) for name in ("wire", load))
        return line_capacitance(cells, wire=wire, load=each, pitch=pitch)

    def adc(self, bits: int) -> Floats:
        """Return the energy [J] of one conversion.

        The table's regression from 4 bits on; below it a straight line in the logarithm down to one bit, which is one
        decision of a sense amplifier; above the table's bits it doubles with each.
        """
        scale = (self.node * 1e9 / _ADC_NM) ** ADC_ENERGY_NODE
        return self._by_bits(self.draws.table.adc, "adc", bits, scale, doubling=1.0, least="sense")

    def adc_area(self, bits: int, rate: Floats | float) -> Floats:
        """Return the area [m^2] of one converter of ``bits`` at ``rate`` [1/s], below 4 bits as :meth:`adc` does."""
        scale = (self.node * 1e9 / _ADC_NM) ** ADC_AREA_NODE * (rate / _ADC_RATE) ** ADC_AREA_RATE
        return self._by_bits(self.draws.table.adc_area, "adc area", bits, scale, doubling=0.2, least="sense area")

    def _by_bits(
        self, known: Mapping[str, Sourced], name: str, bits: int, scale: Floats | float, *, doubling: float, least: str
    ) -> Floats:
        """Look up a number of converters times ``scale``: doublings for each bit above the table, ``least`` at one."""
        first, last = min(map(int, known)), max(map(int, known))
        found = self.draws.of(known[str(min(max(bits, first), last))], name) * scale
        if bits < first:
            share = (bits - 1) / (first - 1)
            return self[least] ** (1 - share) * found**share
        return found * 2.0 ** (doubling * max(bits - last, 0))

    def _scale(self, number: CircuitNumber) -> Floats | float:
        ratio, there = self.node * 1e9 / number.node_nm, number.node_nm * 1e-9
        match number.scales:
            case "energy":
                return self._energy(there, nominal=supply_voltage(there))
            case "area":
                return (ratio**2) ** self._exponent
            case "load":
                return ratio
            case "none":
                return 1.0

    def _energy(self, there: float, *, nominal: float) -> Floats:
        return (self.node / there) ** self._exponent * (self.voltage / nominal) ** 2

    @property
    def _exponent(self) -> Floats:
        return self.draws["node scaling"]
