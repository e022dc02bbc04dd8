"""What randomness costs: counted actions times sourced energies, beside conventional generators.

The ledger counts, this file multiplies. A ledger can be priced again with another table or another pulse.
Three boundaries, each including the one before it:

* ``cell``: what the junction itself dissipates and charges;
* ``cell+line``: the bit line that carries every pulse and read as well;
* ``macro``: drivers, sense amplifiers, XOR gates and table reads as well, and the area of the whole array.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self, get_args

from voltaspin.core.errors import InputError
from voltaspin.core.files import as_object, read_object
from voltaspin.core.ledger import Ledger
from voltaspin.core.quantity import Grade, Sourced
from voltaspin.core.result import Boundary
from voltaspin.core.spec import Spec
from voltaspin.cost.results import CostRow

if TYPE_CHECKING:
    from voltaspin.device.junction import Junction, Pulse

BOUNDARIES: tuple[Boundary, ...] = get_args(Boundary)
#: From what was read in its source to what was chosen: a row is as good as its worst number.
WEAKNESS: tuple[Grade, ...] = ("measured", "textbook", "fitted", "derived", "recalled", "assumed")
_SI = {
    "fJ": 1e-15, "pJ": 1e-12, "pJ/bit": 1e-12, "pJ/sample": 1e-12, "fF": 1e-15, "ns": 1e-9, "nm": 1e-9,
    "um^2": 1e-12, "V": 1.0, "1": 1.0, "F^2": 1.0, "W": 1.0, "1/s": 1.0,
}  # fmt: skip


def si(number: Sourced) -> float:
    """``number`` in SI units; raises InputError for a unit that cost tables do not use."""
    if number.unit not in _SI:
        raise InputError(f"unit {number.unit!r} is not used in cost tables; known: {', '.join(_SI)}")
    return number.value * _SI[number.unit]


def weakest(numbers: Iterable[Sourced | Grade]) -> Grade:
    """The worst grade among graded numbers, or among grades."""
    grades = [n.grade if isinstance(n, Sourced) else n for n in numbers]
    return max(grades, key=WEAKNESS.index)


class Span(NamedTuple):
    """A value with its range; ranges of independent table entries are simply added (worst case)."""

    value: float
    low: float
    high: float

    def plus(self, other: Span) -> Span:
        return Span(self.value + other.value, self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> Span:
        return Span(self.value * factor, self.low * factor, self.high * factor)

    @classmethod
    def of(cls, number: Sourced, *, per: float = 1.0) -> Span:
        """In SI units, or in units of ``per``: 1e-12 gives pJ and um^2."""
        scale = si(replace(number, value=1.0, low=None, high=None)) / per
        low = number.value if number.low is None else number.low
        high = number.value if number.high is None else number.high
        return cls(number.value * scale, low * scale, high * scale)

    @classmethod
    def exactly(cls, value: float) -> Span:
        return cls(value, value, value)


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

    def line_energy(self, voltage: float) -> float:
        """Energy [J] drawn to charge the line once to ``voltage`` [V]; half is lost going up, half down."""
        return si(self.line_capacitance) * voltage**2


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
    def of(cls, junction: Junction, pulse: Pulse, *, table: CostTable | None = None) -> Self:
        """From a junction and its pulse: ohmic energy at the pulse's voltage, plate capacitance of the oxide.

        The conductance is the mean of the two states, as in ``Pulse.energy``.
        """
        from voltaspin.device.transport import pulse_energy

        energy = pulse_energy(junction, pulse, eps_r=(table or CostTable.default()).permittivity.value)
        return cls(voltage=pulse.voltage, ohmic=energy.ohmic, charging=energy.capacitive)


def action_energies(
    *, pulses: dict[str, CellPulse], boundary: Boundary, table: CostTable
) -> dict[str, tuple[Span, Grade]]:
    """Energy [J] of one count of each action at a boundary, with its range and weakest grade.

    Args:
        pulses: the cell's energy for each of ``pulse``, ``reset``, ``write``, ``toggle``, ``read`` that was counted.
        boundary: see the top of this file.
        table: prices.

    Returns:
        Action to (energy, grade). Handing over a bit or a normal costs nothing by itself.
    """
    zero: tuple[Span, Grade] = (Span.exactly(0.0), "measured")
    prices: dict[str, tuple[Span, Grade]] = dict.fromkeys(
        ("raw", "xor", "and", "hash", "lookup", "bit", "normal"), zero
    )
    for action, cell in pulses.items():
        energy, grade = Span.exactly(cell.energy), weakest(["derived", table.permittivity])
        if boundary != "cell":
            line = Span.of(table.line_capacitance).times(cell.voltage**2)
            energy, grade = energy.plus(line), weakest([grade, table.line_capacitance])
            if boundary == "macro":
                share = Span.of(table.driver_overhead)
                driver = Span(line.value * share.value, line.low * share.low, line.high * share.high)
                energy, grade = energy.plus(driver), weakest([grade, table.driver_overhead])
                if action == "read":
                    energy, grade = energy.plus(Span.of(table.sense)), weakest([grade, table.sense])
        prices[action] = (energy, grade)
    if boundary == "macro":
        prices["xor"] = prices["and"] = (Span.of(table.xor), table.xor.grade)
        prices["hash"] = (Span.of(table.sha256), table.sha256.grade)
        prices["lookup"] = (Span.of(table.lookup), table.lookup.grade)
    return prices


def price(
    ledger: Ledger,
    *,
    pulse: CellPulse,
    reset: CellPulse | None = None,
    write: CellPulse | None = None,
    read: CellPulse | None = None,
    resistance: float | None = None,
    cells: int = 1,
    images: int | None = None,
    junction_grade: Grade = "assumed",
    table: CostTable | None = None,
) -> tuple[CostRow, ...]:
    """Price a ledger at each boundary.

    Energy per bit takes everything but table reads and adders over the ``bit`` count, energy per normal
    everything over the ``normal`` count: price the part of a ledger that made one kind of number, not a
    mixture. Normals without table reads are taken to be sums of their bits and charged for adders.

    Args:
        ledger: counts.
        pulse, reset, write, read: what one of each costs in the cell. ``read`` defaults to the table's read
            voltage and width through ``resistance``.
        resistance: of the cell at the read voltage [ohm].
        cells: in the array, for the area of the macro.
        images: that the ledger's numbers made.
        junction_grade: how well the junction's own values are known; the presets are ``assumed``.
        table: prices; the package's own by default.

    Returns:
        One row per boundary, from ``cell`` to ``macro``.

    Raises:
        InputError: the ledger counts an action whose energy was not given, or ``cells`` or ``images`` is
            not positive.
    """
    table = table or CostTable.default()
    counts = ledger.totals()
    if cells < 1 or (images is not None and images < 1):
        raise InputError(f"cells = {cells} and images = {images} must be at least 1")
    computing = ("product", "activation", "drive", "conversion", "add", "mac", "byte")
    unpriced = [action for action in computing if counts.get(action)]
    if unpriced:
        raise InputError(
            f"the ledger counts {', '.join(unpriced)} of crossbars, which are no cost of random numbers; price that "
            "part with report.compute_cost, and the part that made the noise with this"
        )
    if read is None and resistance is not None:
        read = CellPulse.rectangular(
            voltage=si(table.read_voltage), width=si(table.read_width), resistance=resistance, capacitance=0.0
        )
    given = {"pulse": pulse, "reset": reset, "write": write, "toggle": write, "read": read}
    for action, cell in given.items():
        if cell is None and counts.get(action):
            what = "resistance=, in ohm" if action == "read" else f"{action}=CellPulse.of(junction, pulse)"
            raise InputError(f"the ledger counts {counts[action]} of {action!r} without a price; give {what}")
    known = {a: c for a, c in given.items() if c is not None and counts.get(a)}
    return tuple(_own_row(counts, known, boundary, cells, images, junction_grade, table) for boundary in BOUNDARIES)


def _own_row(
    counts: dict[str, int],
    pulses: dict[str, CellPulse],
    boundary: Boundary,
    cells: int,
    images: int | None,
    junction_grade: Grade,
    table: CostTable,
) -> CostRow:
    prices = action_energies(pulses=pulses, boundary=boundary, table=table)
    spent = {a: prices[a][0].times(n) for a, n in counts.items() if prices[a][0].value > 0}
    grades: list[Grade] = [junction_grade, *(prices[a][1] for a in spent)]
    total, for_bits = Span.exactly(0.0), Span.exactly(0.0)
    for action, energy in spent.items():
        total = total.plus(energy)
        for_bits = for_bits if action == "lookup" else for_bits.plus(energy)
    bits, normals = counts.get("bit", 0), counts.get("normal", 0)
    if boundary == "macro" and normals and not counts.get("lookup") and bits > normals:
        # no table means that the bits were added up: at most one full adder, an eighth of add int8, per bit
        adders = Span.of(table.operations["add int8"]).times((bits - normals) / 8)
        spent["adders"], total = adders, total.plus(adders)
    area = table.area_of_cell
    array = cells * area / table.array_efficiency.value
    generator = array if boundary == "macro" else area
    per_bit = for_bits.times(1e12 / bits) if bits else None
    return CostRow(
        key=f"ours-{boundary}",
        name="VCMA memory of this run",
        ours=True,
        boundary=boundary,
        energy_per_bit=per_bit.value if per_bit else None,
        low=per_bit.low if per_bit else None,
        high=per_bit.high if per_bit else None,
        energy_per_normal=total.value * 1e12 / normals if normals else None,
        energy_per_image=total.value * 1e12 / images if images else None,
        area_um2=generator * 1e12,
        array_area_um2=array * 1e12,
        energy_area=per_bit.value * generator * 1e12 if per_bit else None,
        energy_over_area=per_bit.value / (generator * 1e12) if per_bit else None,
        how="counted, priced",
        family="vcma",
        grade=weakest(grades),
        area_grade=weakest(
            [table.cell_area, table.feature_size, *([table.array_efficiency] if boundary == "macro" else [])]
        ),
        source=f"this run's ledger; {table.name}",
        parts={action: energy.value * 1e12 for action, energy in spent.items()},
    )


def conventional_rows(table: CostTable, per: Literal["bit", "normal"]) -> tuple[CostRow, ...]:
    """The table's generators of bits or of Gaussian numbers, as rows of the same kind as ours."""
    rows = []
    for source in table.sources:
        if source.per != per:
            continue
        energy, low, high = Span.of(source.energy, per=1e-12)
        area = Span.of(source.area, per=1e-12).value if source.area else None
        numbers: dict[str, Any] = {"energy_per_normal": energy}
        if per == "bit":
            numbers = {
                "energy_per_bit": energy,
                "energy_area": energy * area if area else None,
                "energy_over_area": energy / area if area else None,
            }
        rows.append(
            CostRow(
                key=source.key,
                name=source.name,
                ours=False,
                boundary=source.boundary,
                low=low,
                high=high,
                area_um2=area,
                rate=source.rate,
                node_nm=source.node_nm,
                how=source.how,
                family=source.family,
                grade=source.energy.grade,
                area_grade=source.area.grade if source.area else None,
                source=source.energy.source,
                **numbers,
            )
        )
    return tuple(rows)
