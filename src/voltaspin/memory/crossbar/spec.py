"""The specification of a crossbar as versioned data, and the circuits that its words choose.

``mode`` chooses a :class:`Column`, and ``inputs`` one of the column's drives (``drive.py``). ``readout.py`` chooses the
readout. No other code asks for these words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from voltaspin.core.errors import InputError
from voltaspin.core.files import as_object
from voltaspin.core.spec import Spec, complaint
from voltaspin.core.units import e_charge, k_B
from voltaspin.memory.crossbar.drive import Drive, Levels, Serial, Weighted
from voltaspin.memory.lines import bit_line

Mode = Literal["digital", "analog", "resistance_sum"]
Inputs = Literal["multilevel", "bit-serial"]
Converter = Literal["exact", "statistical"]
_FIELDS_WITHIN: tuple[tuple[tuple[str, ...], Callable[[float], bool], str], ...] = (
    (("weight_bits", "input_bits", "adc_bits"), lambda x: 1 <= x <= 16, "give 1 to 16 bits"),
    (("rows", "columns", "write_attempts", "time_buckets", "time_steps"), lambda x: x >= 1, "give at least 1"),
    (
        ("resistance_spread", "read_noise", "wire_resistance", "retention_rate", "age", "line_capacitance"),
        lambda x: 0 <= x < math.inf,
        "give a finite number that is not negative",
    ),
    (
        ("R_P", "read_voltage", "supply_voltage", "bandwidth", "temperature"),
        lambda x: 0 < x < math.inf,
        "give a finite positive number in SI units",
    ),
    (("TMR",), lambda x: 0 < x < math.inf, "give a finite positive ratio, 1.0 for 100 %"),
    (("adc_range",), lambda x: 0 < x < math.inf, "give a finite positive number of counts, or null to choose it"),
    (("write_error_rate", "stuck", "clip_share"), lambda x: 0 <= x <= 1, "give a share from 0 to 1"),
)
_LINE_OF_VERSION_1 = 50e-15  # [F], of every bit line
_WITHIN = {name: (fits, remedy) for names, fits, remedy in _FIELDS_WITHIN for name in names}


class ArraySpec(Spec):
    """Arrays of binary magnetic cells that multiply a matrix with vectors.

    Args:
        rows, columns: cells of one tile.
        weight_bits: of a weight, sign included, 1 to 16; one bit stands for -1 and +1 in one differential pair of
            cells, both of which are off for a weight of exactly 0.
        input_bits: of an input, sign included, 1 to 16; one bit stands for 0 and 1, and negative inputs are refused.
        adc_bits: of a converter, 1 to 16.
        mode: ``digital`` (every cell is sensed alone, an adder tree counts), ``analog`` (the currents of a
            column add up and are converted), ``resistance_sum`` (the cells of a column lie in series and their
            resistances add up).
        TMR: tunnel magnetoresistance at the read voltage, a ratio.
        resistance_spread: standard deviation of a cell's resistance over its mean, from cell to cell; lognormal.
        read_noise: standard deviation of a cell's current over its mean, new at every read. None computes shot and
            Johnson noise from ``R_P``, ``read_voltage``, ``bandwidth`` and ``temperature``.
        write_error_rate: share of cells that keep a wrong bit after one write.
        inputs: ``multilevel`` (a DAC drives each row to one of many voltages) or ``bit-serial``. In a resistance sum
            ``multilevel`` means that the input's bits come one by one, weighted and added as charge before one
            conversion.
        adc_model: ``exact`` (every conversion is rounded and clipped) or ``statistical`` (what rounding and clipping
            do to sums, as a gain, a shift and Gaussian noise: of the recorded sums after ``calibrate``, else of
            Gaussian ones).
        seed: of the cells' variation, the write errors and the read noise.
        signed: ``differential`` (a column of positive and one of negative parts, subtracted before conversion) or
            ``offset`` (weights shifted to be positive, the shift taken off digitally).
        dummy_column: with ``offset``, a column of cells at 0 whose current is subtracted; without it the mean
            off-state current is subtracted as a number.
        R_P: low resistance of a cell [ohm].
        wire_resistance: of a line from one cell to the next [ohm].
        read_voltage: on a cell at 1 for the largest input [V]. None: 0.1 V, and in a resistance sum less where a
            string of cells would exceed the supply.
        supply_voltage: that no cell and no string of cells in series may exceed [V] (assumed).
        line_capacitance: of a bit line [F], where it was measured; None: what ``rows`` cells make of it, at the pitch
            of the macro that the array is built in, or without one at 28 nm.
        bandwidth: of the read noise [Hz]; None: 1 / (4 R_P C) of one cell on its bit line.
        temperature: [K].
        stuck: share of cells that keep one state, half of them each.
        write_attempts: writes of a verified bit at most; the others are written once.
        verified_bits: how many of the highest bits of a weight are read back and written again.
        retention_rate: thermal flips of a cell per second; ``device.flip_rate`` computes it.
        age: time since the weights were written [s].
        adc_range: of the converters [counts, one count being one cell for one step of the input]; None: the range
            that loses least for the root mean square of the column's sums.
        clip_share: share of clipped conversions, or inputs, from which a warning is given.
        time_buckets: parts of the diffusion's time axis that have input and converter ranges of their own.
        time_steps: of the diffusion's time axis.
        digital_ends: whether the first and the last layer of a model stay digital.
        layers: fields that differ in the layers whose name matches a pattern (as in ``fnmatch``), or ``"digital"``;
            the first pattern that matches counts.

    Raises:
        InputError: a value out of its range.
    """

    KIND: ClassVar[str] = "array-spec"
    VERSION: ClassVar[int] = 2
    rows: int = 256
    columns: int = 256
    weight_bits: int = 8
    input_bits: int = 8
    adc_bits: int = 8
    mode: Mode = "analog"
    TMR: float = 1.0
    resistance_spread: float = 0.0
    read_noise: float | None = 0.0
    write_error_rate: float = 0.0
    inputs: Inputs = "multilevel"
    adc_model: Converter = "statistical"
    seed: int = 0
    signed: Literal["differential", "offset"] = "differential"
    dummy_column: bool = True
    R_P: float = 100e3
    wire_resistance: float = 0.0
    read_voltage: float | None = None
    supply_voltage: float = 1.8
    line_capacitance: float | None = None
    bandwidth: float | None = None
    temperature: float = 300.0
    stuck: float = 0.0
    write_attempts: int = 1
    verified_bits: int = 0
    retention_rate: float = 0.0
    age: float = 0.0
    adc_range: float | None = None
    clip_share: float = 0.02
    time_buckets: int = 1
    time_steps: int = 1000
    digital_ends: bool = True
    layers: dict[str, Literal["digital"] | dict[str, Any]] = Field(default_factory=dict)

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InputError(complaint(error, "ArraySpec")) from None

    @classmethod
    def from_json(cls, data: dict[str, Any], *, where: str = "specification") -> Self:
        """As :meth:`Spec.from_json`, but files of version 1 are read too.

        Bit lines of version 1 had 50 fF, which stay unless the file says another number. A file without a supply
        voltage is one of 0.1.0, whose read voltage was 0.1 V.
        """
        data = as_object(data, where=where)
        version = data.get("schema_version")
        if data.get("kind") == cls.KIND and type(version) is int and version == 1:  # True is none
            data = {"line_capacitance": _LINE_OF_VERSION_1, **data, "schema_version": cls.VERSION}
        if "supply_voltage" not in data and data.get("read_voltage") == 0.1:
            data = {**data, "read_voltage": None}
        return super().from_json(data, where=where)

    @field_validator(*_WITHIN)
    @classmethod
    def _within(cls, value: float | None, info: ValidationInfo) -> float | None:
        fits, remedy = _WITHIN[str(info.field_name)]
        if value is not None and not fits(value):
            raise ValueError(remedy)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.resistance_spread > 1:
            raise ValueError(
                f"resistance_spread = {self.resistance_spread} is above 1, which no array has; it is a ratio"
            )
        if self.columns < self.columns_per_output + self.dummies:
            raise ValueError(
                f"columns = {self.columns} do not hold one output, which takes {self.columns_per_output} of "
                f"{self.weight_bits} bits; give more columns or fewer weight_bits"
            )
        if self.seed < 0 or self.verified_bits < 0:
            raise ValueError(f"seed = {self.seed} and verified_bits = {self.verified_bits} must not be negative")
        if self.bandwidth is None and self.bit_line == 0:
            raise ValueError("line_capacitance = 0 F leaves the bandwidth open; give bandwidth in Hz")
        if self.string_voltage > self.supply_voltage * (1 + 1e-9):
            most = self.supply_voltage * (self.cell_voltage / self.string_voltage)  # in this order nothing overflows
            where, remedy = self.column.overload()
            raise ValueError(
                f"read_voltage = {self.cell_voltage:g} V {where}, more than supply_voltage = {self.supply_voltage:g} "
                f"V; give a read_voltage of at most {math.floor(most * 1e4) / 1e4:g} V{remedy}"
            )
        for pattern, fields in self.layers.items():
            if fields != "digital":
                assert isinstance(fields, dict)
                unknown = set(fields) - set(type(self).model_fields) | set(fields) & {"layers", "digital_ends"}
                if unknown:
                    raise ValueError(
                        f"layers[{pattern!r}] sets {', '.join(sorted(unknown))}, which a layer does not have"
                    )
                merged = {**self.to_json(), **fields, "layers": {}}
                try:
                    type(self).from_json(merged, where=f"layers[{pattern!r}]")
                except InputError as error:
                    raise ValueError(str(error)) from None
        return self

    @property
    def slices(self) -> int:
        """Bits of a weight's magnitude, each on cells of its own."""
        return self.weight_bits if self.offset else max(self.weight_bits - 1, 1)

    @property
    def columns_per_output(self) -> int:
        """Cells that one weight takes."""
        return self.slices * (1 if self.offset else 2)

    @property
    def offset(self) -> int:
        """The number that is added to a weight before it is written; 0 with differential columns."""
        return 1 << (self.weight_bits - 1) if self.signed == "offset" and self.weight_bits > 1 else 0

    @property
    def column(self) -> Column:
        """The circuit that reads a column of cells, chosen by ``mode``."""
        return COLUMNS[self.mode](self)

    @property
    def drive(self) -> Drive:
        """The circuit that drives the rows, chosen by ``inputs`` among those of the column."""
        return self.column.drives[self.inputs](self.phases)

    @property
    def dummies(self) -> int:
        """Dummy columns of a tile."""
        return int(self.dummy_column and self.offset > 0 and self.column.converted)

    @property
    def outputs_per_tile(self) -> int:
        """Outputs whose columns fit side by side."""
        return (self.columns - self.dummies) // self.columns_per_output

    @property
    def weight_top(self) -> int:
        """Largest weight as an integer."""
        return max((1 << (self.weight_bits - 1)) - 1, 1)

    @property
    def input_top(self) -> int:
        """Largest input as an integer."""
        return max((1 << (self.input_bits - 1)) - 1, 1)

    @property
    def input_bottom(self) -> int:
        """Smallest input as an integer; one-bit inputs have no sign."""
        return -self.input_top if self.input_bits > 1 else 0

    @property
    def phases(self) -> int:
        """Bits of an input's magnitude, which a bit-serial array takes one by one."""
        return max(self.input_bits - 1, 1)

    @property
    def cell_voltage(self) -> float:
        """Voltage on one cell at 1 for the largest input [V]."""
        return self.read_voltage or min(0.1, self.supply_voltage / self.column.cells_at_most)

    @property
    def string_voltage(self) -> float:
        """Largest voltage that the reading of a column puts on the cells between two lines [V]."""
        return self.cell_voltage * self.column.cells_at_most

    @property
    def bit_line(self) -> float:
        """Capacitance of a bit line [F]."""
        return bit_line(self.rows) if self.line_capacitance is None else self.line_capacitance

    @property
    def noise_follows_lines(self) -> bool:
        """Whether columns have the noise of their line's bandwidth, in these arrays or in those of some layer."""
        own = [self, *map(self.of_layer, (p for p, fields in self.layers.items() if fields != "digital"))]
        return any(s and s.column.converted and s.read_noise is None and s.bandwidth is None for s in own)

    @property
    def noise_bandwidth(self) -> float:
        """[Hz]"""
        return 1 / (4 * self.R_P * self.bit_line) if self.bandwidth is None else self.bandwidth

    def override(self, name: str) -> Literal["digital"] | dict[str, Any] | None:
        """Fields of ``layers`` for one layer: those of the first pattern that matches, or None."""
        return next((fields for pattern, fields in self.layers.items() if fnmatchcase(name, pattern)), None)

    def of_layer(self, name: str) -> ArraySpec | None:
        """The specification of one layer; None where it is to stay digital."""
        fields = self.override(name)
        if fields is None:
            return self
        return None if fields == "digital" else ArraySpec(**{**self.model_dump(exclude={"layers"}), **fields})

    @classmethod
    def preset(cls, name: str) -> ArraySpec:
        """One of :data:`PRESETS`."""
        if name not in PRESETS:
            raise InputError(f"array preset {name!r} is unknown; use {', '.join(PRESETS)} or a JSON file")
        return cls(**PRESETS[name])

    @classmethod
    def of(cls, fields: Mapping[str, Any], *, where: str) -> Self:
        """Read the fields of a study or a design space, of which ``preset`` names one of :data:`PRESETS`.

        Raises:
            InputError: an unknown preset or field, or a value that the field cannot have.
        """
        changes = dict(fields)
        preset = changes.pop("preset", None)
        if preset is not None:
            cls.preset(str(preset))
            changes = PRESETS[preset] | changes
        return super().from_json({"kind": cls.KIND, "schema_version": cls.VERSION} | changes, where=where)


class CellNoise(NamedTuple):
    """Coefficients of the read noise of one cell.

    One read of a cell of conductance g [counts] at an input of q steps adds a variance [counts^2] of
    ``relative**2 g**2 q**2 + g (per_step |q| + always)``.
    """

    relative: float = 0.0
    per_step: float = 0.0
    always: float = 0.0

    @property
    def silent(self) -> bool:
        return not any(self)


@dataclass(frozen=True)
class Column:
    """The cells of one column, and the circuit that reads them.

    Sums of a column are counted in units of one cell at 1 minus one cell at 0, for one step of the input.

    Attributes:
        drives: of the rows, by ``ArraySpec.inputs``.
        converted: whether sums of cells are converted; a cell is sensed alone otherwise.
        wired: whether the resistance of the lines is modelled.
        in_series: whether one current passes all cells of a column.
    """

    spec: ArraySpec
    drives: ClassVar[Mapping[Inputs, type[Drive]]] = {"multilevel": Levels, "bit-serial": Serial}
    converted: ClassVar[bool] = True
    wired: ClassVar[bool] = False
    in_series: ClassVar[bool] = False

    def power(self) -> tuple[float, float, str]:
        """Return what one cell takes at the largest input, the mean of its two states, while current flows.

        Returns:
            Power in the cell [W]; the current that its rail gives for it [A]; the rail: ``"rail"`` of the read
            current, or ``"string supply"``.
        """
        s = self.spec
        conductance = (1 + 1 / (1 + s.TMR)) / (2 * s.R_P)
        return s.cell_voltage**2 * conductance, s.cell_voltage * conductance, "rail"

    @property
    def cells_at_most(self) -> float:
        """Largest voltage between the two lines of a column over that of one cell at 1."""
        return 1.0

    def overload(self) -> tuple[str, str]:
        """Return the place of a voltage above the supply, and a remedy beside a lower read voltage."""
        return "lies on a cell", ""

    def noise(self) -> CellNoise:
        """Return the read noise of one cell during one phase of the input.

        A number in the specification is a share of the cell's own current. Without one, the noise is computed from
        ``R_P``, ``cell_voltage``, ``noise_bandwidth`` and ``temperature``.
        """
        return self.physical_noise() if self.spec.read_noise is None else CellNoise(self.spec.read_noise)

    def physical_noise(self) -> CellNoise:
        """Return shot noise ``2 e I B`` and Johnson noise ``4 k T G B`` of each cell's current."""
        s = self.spec
        count = (1 - 1 / (1 + s.TMR)) / s.R_P  # G_P - G_AP
        step = s.cell_voltage / (s.input_top if s.drive.multilevel else 1)
        return CellNoise(0.0, 2 * e_charge * s.noise_bandwidth / (step * count),
                         4 * k_B * s.temperature * s.noise_bandwidth / (step**2 * count))  # fmt: skip


class CurrentSum(Column):
    """The currents of the cells add up on the bit line."""

    wired = True


class SensedAlone(Column):
    """Every cell is compared with a reference halfway between its two conductances."""

    converted = False

    def noise(self) -> CellNoise:
        """Return silence: a cell is read right or wrong."""
        return CellNoise()


class ResistanceSum(Column):
    """The cells lie in series, and their resistances add up."""

    drives: ClassVar[Mapping[Inputs, type[Drive]]] = {"multilevel": Weighted, "bit-serial": Serial}
    in_series: ClassVar[bool] = True

    def power(self) -> tuple[float, float, str]:
        """Return I^2 R of a cell at the current ``cell_voltage / R_P``, and its share of the string's current."""
        s = self.spec
        current = s.cell_voltage / s.R_P
        return current**2 * s.R_P * (1 + s.TMR / 2), current / s.rows, "string supply"

    @property
    def cells_at_most(self) -> float:
        """A string in which all cells have the high resistance."""
        return self.spec.rows * (1 + self.spec.TMR)

    def overload(self) -> tuple[str, str]:
        """Return the place of a voltage above the supply, and a remedy beside a lower read voltage."""
        return f"puts up to {self.spec.string_voltage:.3g} V on {self.spec.rows} cells in series", " or fewer rows"

    def physical_noise(self) -> CellNoise:
        """Return the Johnson voltage ``4 k T R B`` of each cell at the current ``cell_voltage / R_P``."""
        s = self.spec
        swing = s.R_P * s.TMR  # R_AP - R_P
        thermal = 4 * k_B * s.temperature * s.noise_bandwidth
        return CellNoise(always=thermal / ((s.cell_voltage / s.R_P) ** 2 * swing))


#: The column that each mode stands for.
COLUMNS: dict[Mode, type[Column]] = {"analog": CurrentSum, "digital": SensedAlone, "resistance_sum": ResistanceSum}

#: Arrays to start from. Spread, noise and error rates are assumed; the sizes follow published chips.
PRESETS: dict[str, dict[str, Any]] = {
    "digital": {"mode": "digital", "weight_bits": 8, "input_bits": 8, "TMR": 1.0, "resistance_spread": 0.05,
                "write_error_rate": 1e-6},
    "analog": {"mode": "analog", "weight_bits": 4, "input_bits": 8, "adc_bits": 6, "TMR": 1.0,
               "resistance_spread": 0.05, "read_noise": None, "write_error_rate": 1e-4, "wire_resistance": 1.0},
    "analog-fine": {"mode": "analog", "weight_bits": 8, "input_bits": 8, "adc_bits": 8, "TMR": 2.0,
                    "resistance_spread": 0.02, "read_noise": None, "write_error_rate": 1e-6, "wire_resistance": 1.0},
    "resistance-sum": {"mode": "resistance_sum", "rows": 64, "columns": 64, "weight_bits": 4, "input_bits": 8,
                       "adc_bits": 6, "TMR": 1.0, "resistance_spread": 0.05, "read_noise": None,
                       "write_error_rate": 1e-4},
}  # fmt: skip
