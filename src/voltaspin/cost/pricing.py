"""Prices: counted actions times energies, each number of the cost table drawn once.

The ledger counts, this file multiplies. Every number of a table carries a grade, and is drawn many times as widely as
its own range or its grade says. All prices are sums of these draws, so a bit, an image, a training run and every ratio
have ranges that agree. Three boundaries, each including the one before it:

* ``cell``: the energy that the junction itself dissipates and charges;
* ``cell+line``: adds the bit line that carries every pulse and read;
* ``macro``: adds drivers, sense amplifiers, XOR gates and table reads, and takes the area of the whole array.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import as_object, read_object
from voltaspin.core.ledger import ACTIONS, Ledger
from voltaspin.core.quantity import Estimate, Grade, Sourced
from voltaspin.core.result import Boundary
from voltaspin.core.spec import Spec
from voltaspin.random.streams import Stream

if TYPE_CHECKING:
    from voltaspin.device.junction import Junction, Pulse

BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)
#: From a number that was read in its source to one that was chosen: a price is as good as its worst number.
WEAKNESS: tuple[Grade, ...] = ("measured", "textbook", "fitted", "derived", "recalled", "assumed")
_SI = {
    "fJ": 1e-15, "pJ": 1e-12, "pJ/bit": 1e-12, "pJ/sample": 1e-12, "fF": 1e-15, "ns": 1e-9, "nm": 1e-9,
    "um^2": 1e-12, "V": 1.0, "s": 1.0, "J": 1.0, "1": 1.0, "F^2": 1.0, "W": 1.0, "1/s": 1.0,
}  # fmt: skip


def si(number: Sourced) -> float:
    """Return ``number`` in SI units; raises InputError for a unit that cost tables do not use."""
    return number.value * si_unit(number)


def si_unit(number: Sourced) -> float:
    """Return the unit of ``number`` in SI units."""
    if number.unit not in _SI:
        raise InputError(f"unit {number.unit!r} is not used in cost tables; known: {', '.join(_SI)}")
    return _SI[number.unit]


def weakest(numbers: Iterable[Sourced | Grade]) -> Grade:
    """Return the worst grade among graded numbers, or among grades."""
    grades = [n.grade if isinstance(n, Sourced) else n for n in numbers]
    return max(grades, key=WEAKNESS.index)


class RandomSource(Spec):
    """A published generator of random bits or Gaussian numbers.

    Args:
        key, name: identifier and text.
        per: what ``energy`` is per.
        energy, area: sourced; the area is that of the whole generator.
        rate: as printed; node_nm: technology.
        boundary: what the published energy includes.
        how: ``silicon``, ``device``, ``simulated``, or ``unread`` where the energy's unit could not be read.
        family: what it is made of; ``vcma`` is shown but never compared against.
    """

    KIND: ClassVar[str] = "random-source"
    key: str
    name: str
    per: Literal["bit", "normal"]
    energy: Sourced
    area: Sourced | None = None
    rate: str = ""
    node_nm: int | None = None
    boundary: Boundary = "macro"
    how: Literal["silicon", "device", "simulated", "unread"]
    family: Literal["cmos", "spin", "vcma"] = "cmos"


class Processor(Spec):
    """A processor that draws random numbers in software.

    Args:
        key, name: identifier and text.
        kind: ``cpu``, whose numbers one core draws, or ``gpu``, where the whole card does.
        generator: NumPy's bit generator, for a CPU: what a run can time itself.
        power: of what draws, while it draws.
        normals, bits: drawn per second at that power; None where no source was found.
    """

    KIND: ClassVar[str] = "processor"
    key: str
    name: str
    kind: Literal["cpu", "gpu"]
    generator: Literal["PCG64", "Philox", "MT19937"] | None = None
    power: Sourced
    normals: Sourced | None = None
    bits: Sourced | None = None


class CostTable(Spec):
    """Every number that turns counts into joules and square micrometres.

    Args:
        sources: conventional and magnetic generators to stand beside.
        pulses: published energies of one pulse, for comparison only.
        operations: energies of digital operations and memory accesses.
        line_capacitance: of the line charged by every pulse and read.
        driver_overhead: decoders and drivers, as a share of the line's energy.
        sense, xor, lookup: one sense decision, one XOR (or AND) gate, one read of the inverse-CDF table.
        sha256: one compression function of SHA-256.
        read_voltage, read_width: the default read.
        permittivity: relative, of the tunnel oxide.
        cell_area, feature_size, array_efficiency: area of a cell and its share of a macro.
        adc: one conversion, by its bits; adc_time, adc_sharing: how long it takes, and how many columns share one.
        dac: one setting of a multi-level input.
        input_square: mean square of the inputs of a crossbar over that of the largest.
        full_adder: addition of one bit in an adder tree.
        processors: random numbers in software.
        software_over_mtj: how many times more energy than a stochastic junction others state for software.
    """

    KIND: ClassVar[str] = "cost-table"
    VERSION: ClassVar[int] = 3
    #: What each version of the table was the first to have.
    SINCE: ClassVar[dict[int, tuple[str, ...]]] = {
        2: ("sha256", "adc", "adc_time", "adc_sharing", "dac", "input_square", "full_adder"),
        3: ("processors", "software_over_mtj"),
    }
    name: str
    sources: tuple[RandomSource, ...]
    pulses: dict[str, Sourced]
    operations: dict[str, Sourced]
    line_capacitance: Sourced
    driver_overhead: Sourced
    sense: Sourced
    xor: Sourced
    lookup: Sourced
    sha256: Sourced
    read_voltage: Sourced
    read_width: Sourced
    permittivity: Sourced
    cell_area: Sourced
    feature_size: Sourced
    array_efficiency: Sourced
    adc: dict[str, Sourced]
    adc_time: Sourced
    adc_sharing: Sourced
    dac: Sourced
    input_square: Sourced
    full_adder: Sourced
    processors: tuple[Processor, ...]
    software_over_mtj: dict[str, Sourced]

    @classmethod
    def default(cls) -> Self:
        """The table that ships with the package."""
        return cls.from_json(read_object(_shipped()), where="the cost table of the package")

    @classmethod
    def from_json(cls, data: dict[str, Any], *, where: str = "specification") -> Self:
        """As :meth:`Spec.from_json`, but tables of earlier versions are read too.

        What a version did not have yet is taken from the package's own table, and the name of the table says so.
        """
        data = dict(as_object(data, where=where))
        version = data.get("schema_version")
        if data.get("kind") == cls.KIND and type(version) is int and 1 <= version < cls.VERSION:
            later = [f for since, fields in cls.SINCE.items() if since > version for f in fields if f not in data]
            shipped = read_object(_shipped())
            data |= {f: shipped[f] for f in later} | {"schema_version": cls.VERSION}
            data["name"] = f"{data.get('name')} (version {version}; {', '.join(later)} of the package's own)"
        return super().from_json(data, where=where)

    @property
    def area_of_cell(self) -> float:
        """[m^2]"""
        return self.cell_area.value * si(self.feature_size) ** 2


def _shipped() -> str:
    return str(files("voltaspin") / "data" / "cost-table.json")


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
