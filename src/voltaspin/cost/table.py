"""The cost table: every number that turns counts into energy, area and time, with its source; and draws of them.

Every number carries a grade, and is drawn many times as widely as its own range or its grade says. One name always
stands for the same draws, so that all prices, which are sums of them, have ranges that agree.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from importlib.resources import files
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import as_object, read_object
from voltaspin.core.quantity import Grade, Sourced
from voltaspin.core.result import Boundary
from voltaspin.core.spec import Spec, built
from voltaspin.random.streams import Stream

Floats = NDArray[np.float64]
#: Choices of a design: they are not drawn.
CHOSEN = frozenset({"feature_size", "read_voltage", "read_width"})
#: From a number that was read in its source to one that was chosen: a price is as good as its worst number.
WEAKNESS: tuple[Grade, ...] = ("measured", "textbook", "fitted", "derived", "recalled", "assumed")
_SI = {
    "fJ": 1e-15, "pJ": 1e-12, "pJ/bit": 1e-12, "pJ/sample": 1e-12, "fF": 1e-15, "ns": 1e-9, "nm": 1e-9,
    "um^2": 1e-12, "V": 1.0, "s": 1.0, "J": 1.0, "1": 1.0, "F^2": 1.0, "W": 1.0, "1/s": 1.0, "1/J": 1.0, "fF/um": 1e-9,
    "ohm/um": 1e6, "mW/mm^2": 1e3,
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


_CELLS_OF_A_LINE = 256  # whose capacitance tables of version 3 and before gave


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


class CircuitNumber(Spec):
    """A number of a circuit that a macro is made of.

    Args:
        number: at the node it is given for.
        node_nm: that node.
        scales: how it goes to another node, see :class:`voltaspin.cost.circuits.Circuits`.
    """

    KIND: ClassVar[str] = "circuit-number"
    number: Sourced
    node_nm: int = 28
    scales: Literal["energy", "area", "load", "none"]


class CostTable(Spec):
    """Every number that turns counts into joules and square micrometres.

    Args:
        sources: conventional and magnetic generators to stand beside.
        pulses: published energies of one pulse, for comparison only.
        operations: energies of digital operations and memory accesses.
        driver_overhead: decoders and drivers, as a share of the line's energy.
        sense, xor, lookup: one sense decision, one XOR (or AND) gate, one read of the inverse-CDF table.
        sha256: one compression function of SHA-256.
        read_voltage, read_width: the default read.
        permittivity: relative, of the tunnel oxide.
        cell_area, feature_size, array_efficiency: area of a cell and its share of a macro.
        adc, adc_area: one conversion, and the converter, by its bits; adc_time: how long a conversion takes.
        dac: one setting of a multi-level input.
        input_square: mean square of the inputs of a crossbar over that of the largest.
        full_adder: addition of one bit in an adder tree.
        processors: random numbers in software.
        software_over_mtj: how many times more energy than a stochastic junction others state for software.
        circuits: what a macro is made of beside these: lines, drivers, adders, registers, buffers, control, leakage.
    """

    KIND: ClassVar[str] = "cost-table"
    VERSION: ClassVar[int] = 4
    #: What each version of the table was the first to have.
    SINCE: ClassVar[dict[int, tuple[str, ...]]] = {
        2: ("sha256", "adc", "adc_time", "dac", "input_square", "full_adder"),
        3: ("processors", "software_over_mtj"),
        4: ("adc_area", "circuits"),
    }
    name: str
    sources: tuple[RandomSource, ...]
    pulses: dict[str, Sourced]
    operations: dict[str, Sourced]
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
    adc_area: dict[str, Sourced]
    adc_time: Sourced
    dac: Sourced
    input_square: Sourced
    full_adder: Sourced
    processors: tuple[Processor, ...]
    software_over_mtj: dict[str, Sourced]
    circuits: dict[str, CircuitNumber]

    def __repr__(self) -> str:
        return f"CostTable({self.name!r}, {len(self.sources)} generators, {len(self.operations)} operations)"

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
            if (line := data.pop("line_capacitance", None)) is not None:
                shipped["circuits"] = _with_line(shipped["circuits"], line, where)
            data.pop("adc_sharing", None)
            data |= {f: shipped[f] for f in later} | {"schema_version": cls.VERSION}
            data["name"] = f"{data.get('name')} (version {version}; {', '.join(later)} of the package's own)"
        return super().from_json(data, where=where)

    def nominal(self) -> Self:
        """Return the table as if it knew every number exactly, so that draws are all equal."""

        def fixed(value: Any) -> Any:
            if isinstance(value, Sourced):
                return replace(value, low=value.value, high=value.value)
            if isinstance(value, Spec):
                return value.model_copy(update={name: fixed(getattr(value, name)) for name in type(value).model_fields})
            if isinstance(value, dict):
                return {key: fixed(v) for key, v in value.items()}
            return tuple(map(fixed, value)) if isinstance(value, tuple) else value

        made: Self = fixed(self)
        return made

    @property
    def area_of_cell(self) -> float:
        """[m^2]"""
        return self.cell_area.value * si(self.feature_size) ** 2


def _with_line(circuits: dict[str, Any], line: Any, where: str) -> dict[str, Any]:
    """Return circuits whose lines are those of a table that gave one capacitance, taken for 256 cells."""
    built(Sourced, line, where=f"{where}: line_capacitance")
    each = {
        end: line[end] if line.get(end) is None else line[end] / _CELLS_OF_A_LINE for end in ("value", "low", "high")
    }
    load = line | each | {"source": f"{line['source']}; over {_CELLS_OF_A_LINE} cells"}
    wire = circuits["wire"]["number"] | {"value": 0.0, "low": None, "high": None, "source": "part of the loads"}
    return circuits | {
        "wire": circuits["wire"] | {"number": wire},
        "gate load": circuits["gate load"] | {"number": load},
        "drain load": circuits["drain load"] | {"number": load},
    }


def _shipped() -> str:
    return str(files("voltaspin") / "data" / "cost-table.json")


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

    def __repr__(self) -> str:
        return f"Draws({self.table.name!r}, {self.samples:,} samples, seed {self.seed})"

    def of(self, number: Sourced, *name: str) -> Floats:
        """Return draws of ``number`` in SI units; float64 (samples,)."""
        return number.draws(Stream.of(self.seed, "cost", *name).normals(self.samples)) * si_unit(number)

    def __getitem__(self, name: str) -> Floats:
        """Draws of a field, an operation or a circuit of the table, in SI units and at the node of the table."""
        if name not in self._known:
            if name in self.table.circuits:
                made = self.of(self.table.circuits[name].number, "circuit", name)
            else:
                found = self.table.operations.get(name) or getattr(self.table, name)
                made = np.full(self.samples, si(found)) if name in CHOSEN else self.of(found, name)
            self._known[name] = np.minimum(made, 0.95) if name == "array_efficiency" else made
        return self._known[name]

    @property
    def cell_area(self) -> Floats:
        """Area of a cell [m^2]."""
        return self["cell_area"] * self["feature_size"] ** 2
