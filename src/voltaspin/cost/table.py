"""The cost table: every sourced number that turns counts into joules and square micrometres; pulses of a cell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, get_args

from voltaspin.core.errors import InputError
from voltaspin.core.files import as_object, read_object
from voltaspin.core.quantity import Grade, Sourced
from voltaspin.core.result import Boundary
from voltaspin.core.spec import Spec

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
