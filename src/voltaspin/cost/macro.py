"""A macro: arrays of cells with all that drives, reads and adds up, each part with its energy, area and time.

An :class:`ArraySpec` says what an array computes, a :class:`MacroSpec` what it is built of, the cost table what the
circuits cost. Three boundaries, as everywhere: the cells; with their lines; the macro, which adds everything else.

What is modelled:

* current flows through a cell as long as its column settles, and its conversion too unless the sum is held, so the
  resistance of a cell matters; it is drawn from a rail, which loses what the cell does not drop;
* lines are as long as their cells are many: wire by pitch, and a transistor's load for each cell;
* a column's sum is converted once for each plane of the input; columns share converters and take turns;
* clock and control are a share of all other dynamic energy; transistors leak while their array is not gated;
* the area is that of whole arrays, of converters, drivers, adders and registers, each counted, and a share for wiring.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field, ValidationError, model_validator

from voltaspin.core.errors import InputError
from voltaspin.core.extras import NeedsExtra
from voltaspin.core.format import energies, quantity
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Boundary, Result, Unit
from voltaspin.core.spec import Spec, complaint
from voltaspin.cost.circuits import Circuits, supply_voltage
from voltaspin.cost.pricing import BOUNDARIES, picojoules
from voltaspin.cost.table import Draws, Floats

if TYPE_CHECKING:
    from voltaspin.memory import ArraySpec
    from voltaspin.memory.crossbar.readout import Readout, Timing

#: The longest strip that a converter under its columns may fill [m]; chosen: taller than published compute macros.
TALLEST_CONVERTER = 2e-3
#: Current [A] of one bit line from which a warning is given; chosen: some microns of an upper metal carry it for years.
LINE_CURRENT = 2e-3


class MacroSpec(Spec):
    """What a macro around arrays is built of.

    Args:
        node: technology node [m], 5 to 180 nm.
        columns_per_converter: that take turns at one converter.
        hold: whether the sums of all columns are sampled together and held for their turn; current stops then.
        rail_voltage: that the read current is drawn from [V]; None: the core's supply or less, as the table says.
        core_voltage: of the logic and word lines [V]; None: the node's nominal one.
        cell_area: of one cell [m^2]; None: that of the table.
        settling_time, sense_time, conversion_time: of a column, of one sensing, of one conversion [s]; None: as the
            table says.
        planes_per_read: planes of the inputs that a sensed weight serves in a digital array; None: all of one input.
        rows_at_once: of a digital array, sensed and added up together by circuits of their own.
        sensed: whether the bits of a digital array are sensed; False for static cells, whose bit drives the logic.
        gated: whether an array or a digital unit that has nothing to do is switched off; magnetic cells keep their
            bits, the buffer is always on.
        pack: whether blocks of several small layers share an array.
        arrays: that the chip has; None: as many as the network needs once. More are used for copies of slow layers;
            with fewer the weights are written again in each evaluation.
        digital_units: multiply-accumulate units of the digital part, for what is not in memory.
        clock: of the logic [Hz].
        buffer: static memory for activations [bytes].

    Raises:
        InputError: a value that no macro has.
    """

    KIND: ClassVar[str] = "macro-spec"
    node: float = 28e-9
    columns_per_converter: int = 16
    hold: bool = False
    rail_voltage: float | None = None
    core_voltage: float | None = None
    cell_area: float | None = None
    settling_time: float | None = None
    sense_time: float | None = None
    conversion_time: float | None = None
    planes_per_read: int | None = None
    rows_at_once: int = 1
    sensed: bool = True
    gated: bool = True
    pack: bool = True
    arrays: int | None = None
    digital_units: int = 1024
    clock: float = 1e9
    buffer: int = 256 << 10

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InputError(complaint(error, "MacroSpec")) from None

    @model_validator(mode="after")
    def _possible(self) -> MacroSpec:
        supply_voltage(self.node)
        for name in ("columns_per_converter", "planes_per_read", "rows_at_once", "arrays", "digital_units"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"MacroSpec: {name} = {value}: give at least 1")
        for name in ("rail_voltage", "core_voltage", "cell_area", "settling_time", "sense_time", "conversion_time",
                     "clock"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise InputError(f"MacroSpec: {name} = {value}: give a positive number in SI units")
        if self.buffer < 0:
            raise InputError(f"MacroSpec: buffer = {self.buffer} bytes must not be negative")
        return self


@dataclass(frozen=True)
class Macro:
    """The circuits of one kind of array, drawn.

    Args:
        array: what it computes.
        spec: what it is built of.
        draws: of the cost table.

    Raises:
        InputError: columns that cannot share a converter.
    """

    array: ArraySpec
    spec: MacroSpec
    draws: Draws

    def __post_init__(self) -> None:
        if self.spec.columns_per_converter > self.array.columns:
            raise InputError(
                f"columns_per_converter = {self.spec.columns_per_converter} is more than the {self.array.columns} "
                "columns of an array; give at most as many"
            )

    @cached_property
    def readout(self) -> Readout:
        """The circuit behind the columns."""
        with NeedsExtra("the circuit of a macro"):
            from voltaspin.memory.crossbar.converted import readout_of

        return readout_of(self.placed, where="the macro")

    @cached_property
    def _base(self) -> Circuits:
        return Circuits(self.draws, self.spec.node, self.spec.core_voltage)

    @cached_property
    def pitch(self) -> Floats:
        """Of the cells, which are taken to be square [m]; float64 (samples,)."""
        return np.sqrt(self.cell_area)

    @cached_property
    def cell_area(self) -> Floats:
        """Of one cell [m^2]; float64 (samples,)."""
        if self.spec.cell_area is not None:
            return np.full(self.draws.samples, self.spec.cell_area)
        return self.draws["cell_area"] * self.spec.node**2

    @cached_property
    def bit_line(self) -> Floats:
        """Capacitance of a bit line [F]: what its cells make of it, unless the array gives one; float64 (samples,)."""
        if (given := self.array.line_capacitance) is not None:
            return np.full(self.draws.samples, given)
        return self._base.line(self.array.rows, "drain load", self.pitch)

    @cached_property
    def _nominal_pitch(self) -> float:
        area = self.draws.table.cell_area.value * self.spec.node**2
        return math.sqrt(area if self.spec.cell_area is None else self.spec.cell_area)

    def _nominal_line(self, rows: int) -> float:
        """Capacitance of a bit line [F] that so many cells make, by the table's values."""
        return self._base.nominal_line(rows, "drain load", self._nominal_pitch)

    @cached_property
    def placed(self) -> ArraySpec:
        """The array with the bit line that it has in this macro, which decides its noise and the time of a read."""
        a, own = self.array, "line_capacitance"
        if a.line_capacitance is not None:
            return a
        layers = {
            pattern: fields | {own: self._nominal_line(fields.get("rows", a.rows))}
            if isinstance(fields, dict) and fields.get(own) is None else fields
            for pattern, fields in a.layers.items()
        }  # fmt: skip
        return a.model_copy(update={own: self._nominal_line(a.rows), "layers": layers})

    @property
    def lines(self) -> str:
        """The bit line in words."""
        a, cells = self.array, f"{self.array.rows} cells, {self._nominal_pitch * 1e9:.3g} nm apart"
        made = f"{self._nominal_line(a.rows) * 1e15:.3g} fF"
        if a.line_capacitance is None:
            return f"bit lines of {made}: {cells}"
        return f"bit lines of {a.line_capacitance * 1e15:.3g} fF, as the array gives them; {cells}, would make {made}"

    @cached_property
    def timing(self) -> Timing:
        """How long its circuits take."""
        with NeedsExtra("the timing of a macro"):
            from voltaspin.memory.crossbar.readout import Timing

        spec, base = self.spec, self._base
        averaging = self.readout.averaging_time
        planes = spec.planes_per_read or self.readout.drive.activations
        return Timing(
            settling=np.maximum(base["settling"], averaging) if spec.settling_time is None else spec.settling_time,
            sense=base["sense time"] if spec.sense_time is None else spec.sense_time,
            conversion=self.draws["adc_time"] if spec.conversion_time is None else spec.conversion_time,
            cycle=1 / spec.clock, sharing=spec.columns_per_converter, hold=spec.hold, planes_per_read=planes,
            rows_at_once=min(spec.rows_at_once, self.array.rows), sensed=spec.sensed,
        )  # fmt: skip

    @cached_property
    def circuits(self) -> Circuits:
        """Everything that parts of energy and area name."""
        a, t, base = self.array, self.timing, self._base
        one = np.ones(self.draws.samples)
        core = base.voltage * one
        rail = base["rail"] * core if self.spec.rail_voltage is None else self.spec.rail_voltage * one
        square = self.draws["input_square"]
        extra = {
            "core": core,
            "rail": np.maximum(rail, a.cell_voltage),  # a rail below the cell's own voltage would give no current
            "string supply": a.supply_voltage * one,
            "word line": base.line(a.columns, "gate load", self.pitch),
            "row line": base.line(a.columns, "drain load", self.pitch),
            "bit line": self.bit_line,
            "current time": self.readout.current_time(t) * one * t.sensed,
            "sensings per product": one * t.sensed / t.planes_per_read,
            "input square": square,
            "input mean": np.sqrt(2 / math.pi * square),  # of a Gaussian
            "adc": base.adc(a.adc_bits),
            "adc area": base.adc_area(a.adc_bits, 1 / t.conversion),
        }
        return Circuits(self.draws, self.spec.node, self.spec.core_voltage, extra)

    def check(self) -> None:
        """Refuse what could not be built: lines too long to settle, converters that do not fit under their columns.

        Raises:
            InputError: says which limit, and what would do.
        """
        if impossible := self._impossible():
            raise InputError(impossible[0])

    def _impossible(self) -> list[str]:
        a, c, found = self.array, self.circuits, []
        pitch = float(np.median(self.pitch))
        # without the averaging of noise, whose time grows with the line itself
        given = self.spec.settling_time if a.column.converted else self.spec.sense_time
        usual = self._base["settling" if a.column.converted else "sense time"]
        most = float(np.median(usual)) if given is None else given
        for what, cells, remedy in (("bit", a.rows, "rows"), ("word", a.columns, "columns")):
            each = a.wire_resistance or float(np.median(c["wire resistance"])) * pitch
            load = float(np.median(c[f"{what} line"]))
            if (delay := 0.5 * cells * each * load) > most:
                found.append(
                    f"a {what} line past {cells:,} cells, {each:.3g} ohm and {load / cells * 1e15:.3g} fF each, takes "
                    f"{quantity(delay, 's')} to settle, longer than the {quantity(most, 's')} of a read; give fewer "
                    f"{remedy} or a longer time"
                )
        if a.column.converted:
            area, shared = float(np.median(c["adc area"])), self.spec.columns_per_converter
            if (tall := area / (shared * pitch)) > TALLEST_CONVERTER:
                fits = math.ceil(area / (TALLEST_CONVERTER * pitch))
                found.append(
                    f"a {a.adc_bits}-bit converter of {area * 1e12:,.0f} um^2 under {shared} columns of "
                    f"{pitch * 1e9:.3g} nm would be {tall * 1e3:.2g} mm tall, more than {TALLEST_CONVERTER * 1e3:g} "
                    f"mm; let {fits} columns share it, or give fewer adc_bits"
                )
        return found

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a designer should know."""
        a, found = self.array, self._impossible()
        if a.column.converted and not a.column.in_series:
            current = a.rows * a.column.power()[1] * float(np.median(self.circuits[self.readout.activity[1][0]]))
            if current > LINE_CURRENT:
                found.append(
                    f"{a.rows} cells of {a.R_P:g} ohm at {a.cell_voltage:g} V put {current * 1e3:.2g} mA on one bit "
                    f"line (more than {LINE_CURRENT * 1e3:g} mA): widen it, read fewer rows, or raise R_P"
                )
        return tuple(found)

    @cached_property
    def prices(self) -> dict[Boundary, dict[str, dict[str, Floats]]]:
        """Energy [J] of one count of each action, by boundary, action and component; float64 (samples,)."""
        at: dict[Boundary, dict[str, dict[str, Floats]]] = {b: {} for b in BOUNDARIES}
        for part in self.readout.energy():
            energy = np.full(self.draws.samples, float(part.factor))
            for entry in part.entries:
                energy = energy * self.circuits[entry]
            for b in BOUNDARIES[BOUNDARIES.index(part.since) :]:
                by = at[b].setdefault(part.action, {})
                by[part.component] = by.get(part.component, 0.0) + energy
        return at

    @property
    def control(self) -> Floats:
        """Energy of clock and control over all other dynamic energy at the macro."""
        return self.circuits["control"]

    @cached_property
    def areas(self) -> dict[str, Floats]:
        """Area [m^2] of one array by component, its cells with decoders and write drivers first."""
        a, c = self.array, self.circuits
        found = {"cells": a.rows * a.columns * self.cell_area / c["array_efficiency"]}
        for part in self.readout.area(self.timing):
            found[part.component] = found.get(part.component, 0.0) + part.number * c[part.entry]
        return found | {"wiring": sum(found.values()) * c["routing"]}

    @property
    def area(self) -> Floats:
        """Of one array with all its circuits [m^2]."""
        return sum(self.areas.values(), start=np.zeros(self.draws.samples))

    @property
    def leakage(self) -> Floats:
        """Power [W] of one array that is not switched off: what computes leaks, wires and the memory itself do not."""
        return (self.area - self.areas["wiring"] - self.areas["cells"]) * self.circuits["leakage"]

    def input_time(self, rows: int) -> Floats:
        """Return the time [s] in which an array of which so many rows are used takes one input; float64 (samples,)."""
        return np.ones(self.draws.samples) * self.readout.input_time(self.timing, min(rows, self.array.rows))


class MacroCost(Result):
    """One whole array at work: what it computes, spends, covers and takes, with 90 % ranges.

    Args:
        array, macro: the specifications.
        operations: of one input that meets all weights, two for a multiply-accumulate.
        bit_operations: the same in 1-bit operations: times the bits of weights and of inputs.
        energy: of one input [pJ], by component.
        total: their sum, control and leakage included, by boundary [pJ].
        area: [mm^2], by component; area_total: their sum.
        time: of one input.
        tops_per_watt, tops_per_mm2: of operations as they are; in 1-bit operations ``bit_tops_per_watt`` and
            ``bit_tops_per_mm2``.
        megabits_per_mm2: cells over the whole area.
        lines: capacitance of a word and of a bit line [fF]; lines_from: where the latter comes from, in words.
        warnings: what a designer should know.
    """

    KIND: ClassVar[str] = "macro-cost"
    array: dict[str, Any]
    macro: dict[str, Any]
    operations: int
    bit_operations: int
    energy: dict[str, Estimate]
    total: dict[Boundary, Estimate]
    area: dict[str, Estimate]
    area_total: Estimate
    time: Annotated[Estimate, Unit("s")]
    tops: Estimate
    tops_per_watt: Estimate
    tops_per_mm2: Estimate
    bit_tops_per_watt: Estimate
    bit_tops_per_mm2: Estimate
    megabits_per_mm2: Estimate
    lines: dict[str, Estimate] = Field(default_factory=dict)
    lines_from: str = ""
    warnings: tuple[str, ...] = ()

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people."""
        rows = [
            ("one input takes", " to ".join(quantity(t, "s") for t in (self.time.low, self.time.high))),
            ("energy of one input", energies(self.total["macro"])),
            *((f"  {name}", energies(e)) for name, e in self.energy.items()),
            ("of it in the cells", energies(self.total["cell"])),
            ("with their lines", energies(self.total["cell+line"])),
            ("area", f"{self.area_total:.3g}"),
            *((f"  {name}", f"{a:.3g}") for name, a in self.area.items()),
            ("throughput", f"{self.tops:.3g}"),
            ("efficiency", f"{self.tops_per_watt:.3g}; {self.bit_tops_per_watt:.3g}"),
            ("density of operations", f"{self.tops_per_mm2:.3g}; {self.bit_tops_per_mm2:.3g}"),
            ("density of cells", f"{self.megabits_per_mm2:.3g}"),
            *((name, f"{c:.3g}") for name, c in self.lines.items()),
        ]
        if self.lines_from:
            rows.append(("lines", self.lines_from))
        return rows + [("warning", text) for text in self.warnings]


def macro_cost(array: ArraySpec, macro: MacroSpec | None = None, draws: Draws | None = None) -> MacroCost:
    """Price one array whose weights and rows are all in use, for one input.

    Args:
        array: what it computes.
        macro: what it is built of; the defaults where None.
        draws: of the cost table; a thousand of the package's own where None.

    Raises:
        InputError: a macro that cannot be built.
    """
    from voltaspin.core.ledger import Ledger

    draws = draws or Draws()
    made = Macro(array, macro or MacroSpec(), draws)
    outputs, ledger = array.outputs_per_tile, Ledger("array")
    made.readout.count(ledger, (1, outputs, array.rows), 1, array.slices)
    counts = ledger.totals()
    parts, total = {}, {}
    for b in BOUNDARIES:
        by: dict[str, Floats] = {}
        for action, components in made.prices[b].items():
            for name, energy in components.items():
                by[name] = by.get(name, 0.0) + energy * counts.get(action, 0)
        parts[b], total[b] = by, sum(by.values(), start=np.zeros(draws.samples))
    time = made.input_time(array.rows)
    parts["macro"] |= {"clock and control": made.control * total["macro"], "leakage": made.leakage * time}
    total["macro"] = sum(parts["macro"].values(), start=np.zeros(draws.samples))
    operations = 2 * array.rows * outputs
    bits = operations * array.weight_bits * array.input_bits
    area, J = made.area, total["macro"]

    def of(x: Floats, unit: str) -> Estimate:
        return Estimate.of_draws(x, unit=unit)

    return MacroCost(
        array=array.to_json(), macro=made.spec.to_json(), operations=operations, bit_operations=bits,
        energy={name: picojoules(e) for name, e in sorted(parts["macro"].items(), key=lambda x: -np.median(x[1]))},
        total={b: picojoules(e) for b, e in total.items()},
        area={name: of(1e6 * x, "mm^2") for name, x in sorted(made.areas.items(), key=lambda x: -np.median(x[1]))},
        area_total=of(1e6 * area, "mm^2"), time=of(time, "s"), tops=of(1e-12 * operations / time, "TOPS"),
        tops_per_watt=of(1e-12 * operations / J, "TOPS/W"),
        tops_per_mm2=of(1e-18 * operations / time / area, "TOPS/mm^2"),
        bit_tops_per_watt=of(1e-12 * bits / J, "1b-TOPS/W"),
        bit_tops_per_mm2=of(1e-18 * bits / time / area, "1b-TOPS/mm^2"),
        megabits_per_mm2=of(1e-6 * array.rows * array.columns / (1e6 * area), "Mb/mm^2"),
        lines={name: of(1e15 * made.circuits[name], "fF") for name in ("word line", "bit line")},
        lines_from=made.lines, warnings=made.warnings,
    )  # fmt: skip
