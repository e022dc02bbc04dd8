"""The cost of a network in memory for each image, by layer, action and component, and on a conventional machine.

A trace says what the network computes, a mapping where its weights lie, a macro what its circuits cost. Three
boundaries, those of :mod:`voltaspin.cost.pricing`; the macro includes the digital unit for the work that is not in
memory, buffers, wires across the chip, clock and control, and leakage.

Layers work one after another, those of the digital unit among them; all arrays of a layer work at the same time. With
many images in flight every array works on another image, and the busiest one bounds the throughput.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.format import energies, quantity
from voltaspin.core.ledger import Ledger
from voltaspin.core.quantity import Estimate, Grade, Sourced
from voltaspin.core.result import Boundary, Part, Result, Unit
from voltaspin.cost.circuits import Circuits
from voltaspin.cost.macro import Macro, MacroSpec
from voltaspin.cost.mapping import Mapping, map_network
from voltaspin.cost.pricing import BOUNDARIES, ActionPrices, CellPulse, picojoules
from voltaspin.cost.table import Draws, Floats, weakest

if TYPE_CHECKING:
    from voltaspin.diffusion.pipelines import Pipeline
    from voltaspin.memory import ArraySpec
    from voltaspin.memory.crossbar.trace import NetworkTrace

_BYTES = 8  # of one access that the table prices
_COSTLIEST = 8  # layers that a summary names
#: Width [s] of one write of a weight, for chips that write weights again: assumed, that of magnetic memories.
WRITE_TIME = 10e-9
OTHER = "attention and other products"


class LayerCost(Part):
    """One layer, for one image.

    Args:
        name: as in the model.
        in_memory: whether crossbars compute it.
        counts: of each action.
        energy: [pJ] by boundary and action.
        total: [pJ] by boundary.
        seconds: of its turns, one after another, or of its work in the digital unit.
    """

    name: str
    in_memory: bool
    counts: dict[str, float]
    energy: dict[Boundary, dict[str, Estimate]]
    total: dict[Boundary, Estimate]
    seconds: Annotated[float, Unit("s")]


class ComputeCost(Result):
    """Energy, time and area of a network in memory, for one image: medians with 90 % intervals.

    Args:
        layers: of the model; the last may stand for the work that belongs to no layer.
        array: preset of the arrays, or file of their specification.
        macro: what they are built of.
        macs: multiply-accumulates of an image; mac_fraction: share of them in memory.
        steps: network evaluations per image.
        by_action: energy [pJ] by boundary and action.
        by_component: energy at the macro [pJ], by component.
        total: [pJ] by boundary.
        cells: that hold weights; arrays: of the chip.
        area: of the whole chip; area_by: by component.
        writes, writing: cells written once for the weights, and their energy at the macro [pJ]; None without a price.
        conventional: energy [pJ] of the same network in 8-bit integers on a digital machine of the same node, by
            action.
        conventional_total: their sum [pJ].
        seconds: from the start of an image to its end.
        throughput: images per second with many in flight.
        mapping: where the layers lie.
        grade: the weakest number in it.
        assumptions, warnings: in words.
    """

    KIND: ClassVar[str] = "compute-cost"
    VERSION: ClassVar[int] = 3
    array: str = ""
    macro: dict[str, Any] = Field(default_factory=dict, repr=False)
    macs: float = 0.0
    layers: tuple[LayerCost, ...] = Field(repr=False)
    mac_fraction: float
    steps: float
    by_action: dict[Boundary, dict[str, Estimate]]
    by_component: dict[str, Estimate] = Field(default_factory=dict)
    total: dict[Boundary, Estimate]
    cells: int
    arrays: int = 0
    area: Estimate
    area_by: dict[str, Estimate] = Field(default_factory=dict)
    writes: int
    writing: Estimate | None
    conventional: dict[str, Estimate]
    conventional_total: Estimate
    seconds: Estimate
    throughput: Estimate | None = None
    mapping: Mapping | None = Field(default=None, repr=False)
    grade: Grade
    assumptions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def costliest(self) -> list[LayerCost]:
        """Layers by their energy at the macro, the costliest first."""
        return sorted(self.layers, key=lambda layer: -layer.total["macro"].value)

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people: energies by component, time, area, the costliest layers, assumptions."""
        rows = [(f"energy per image, {b}", energies(self.total[b])) for b in BOUNDARIES]
        rows += [(f"  {name}", energies(e)) for name, e in self.by_component.items()]
        rows += [
            ("int8 on a digital machine", f"{energies(self.conventional_total)}: "
             + ", ".join(f"{a} {energies(e)}" for a, e in self.conventional.items())),
            ("time per image", f"{self.seconds:.3g}"),
        ]  # fmt: skip
        if self.throughput is not None:
            rows.append(("throughput, many images in flight", f"{self.throughput:.3g}"))
        rows.append(("area", f"{self.area:.3g}: {self.arrays} arrays, {self.cells:,} cells with weights"))
        rows += [(f"  {name}", f"{a:.3g}") for name, a in self.area_by.items()]
        if self.writing is not None:
            rows.append(("writing the weights once", f"{self.writes:,} cells, {energies(self.writing)}"))
        whole = self.total["macro"].value
        for layer in self.costliest[:_COSTLIEST]:
            e = layer.total["macro"]
            where = "" if layer.in_memory else ", digital"
            rows.append((
                f"layer {layer.name}", f"{energies(e)}, {e.value / whole:.1%}, {quantity(layer.seconds, 's')}{where}"
            ))  # fmt: skip
        rows += [("weakest grade", self.grade), *(("assumption", text) for text in self.assumptions)]
        return rows + [("warning", text) for text in self.warnings]


@dataclass(frozen=True)
class PricedNetwork:
    """The drawn numbers of one image of a network, from which :class:`ComputeCost` takes its medians and ranges.

    Args:
        result: medians and ranges.
        energy: in crossbars at the macro [J]; float64 (samples,).
        digital: on the digital machine [J].
        seconds: of an image [s]; area: of the chip [m^2].
    """

    result: ComputeCost
    energy: Floats
    digital: Floats
    seconds: Floats
    area: Floats

    def by_machine(self) -> dict[str, Floats]:
        """Drawn energy [J] of an image's arithmetic on the digital machine and in crossbars."""
        return {"an int8 digital machine": self.digital, f"crossbars ({self.result.array})": self.energy}


def compute_cost(
    trace: NetworkTrace,
    spec: ArraySpec,
    macro: MacroSpec | None = None,
    *,
    evaluations: float,
    write: CellPulse | None = None,
    array: str = "",
    draws: Draws | None = None,
) -> ComputeCost:
    """Price one image of a network in memory; see :func:`price_network` for the arguments."""
    return price_network(trace, spec, macro, evaluations=evaluations, write=write, array=array, draws=draws).result


def price_network(
    trace: NetworkTrace,
    spec: ArraySpec,
    macro: MacroSpec | None = None,
    *,
    evaluations: float,
    write: CellPulse | None = None,
    array: str = "",
    draws: Draws | None = None,
) -> PricedNetwork:
    """Price one image of a network in memory, draw by draw.

    Args:
        trace: of the network, of :func:`voltaspin.memory.trace`.
        spec: of the arrays.
        macro: what they are built of; the defaults where None.
        evaluations: of the network for an image.
        write: pulse that writes a cell, to price the weights' writing.
        array: preset or file of the arrays, for people.
        draws: of the cost table; a thousand of the package's own where None.

    Raises:
        InputError: not all of the network's work is known, no layer goes into memory, the macro cannot be built, or
            ``evaluations`` is not positive.
    """
    if not 0 < evaluations < math.inf:
        raise InputError(f"evaluations = {evaluations}: give how many network evaluations make an image, above 0")
    if trace.macs is None:
        raise InputError(
            f"a price needs every multiply-accumulate of the model; {', '.join(trace.uncounted)} cannot be counted"
        )
    draws, macro = draws or Draws(), macro or MacroSpec()
    return _Pricing(trace, spec, macro, evaluations, draws).priced(write, array)


def priced_network(
    pipeline: Pipeline, spec: ArraySpec, *, steps: int, array: str = "", macro: MacroSpec | None = None,
    write: CellPulse | None = None, draws: Draws | None = None,
) -> PricedNetwork:  # fmt: skip
    """Price one image of ``steps`` evaluations of the pipeline's network in crossbars."""
    from voltaspin.memory import trace

    return price_network(trace(pipeline.unet), spec, macro, evaluations=steps, write=write, array=array, draws=draws)


@dataclass(frozen=True)
class _Pricing:
    """One network in one chip."""

    trace: NetworkTrace
    spec: ArraySpec
    macro: MacroSpec
    evaluations: float
    draws: Draws

    def priced(self, write: CellPulse | None, array: str) -> PricedNetwork:
        draws, macros = self.draws, self._macros()
        base = macros(self.spec.model_copy(update={"layers": {}}))
        mapping = map_network(
            self.trace, self.spec, arrays=self.macro.arrays, pack=self.macro.pack,
            input_time=lambda own, rows: float(np.median(macros(own).input_time(rows))),
        )  # fmt: skip
        where = {w.name: w for w in mapping.layers}
        circuits, nothing = base.circuits, np.zeros(draws.samples)
        # the chip
        areas: dict[str, Floats] = {}
        for w in mapping.layers:
            number = w.arrays + (w.copies - 1) * math.ceil(w.arrays)
            number *= min(1.0, mapping.arrays / mapping.needed)
            for name, each in macros(self._own(w.name)).areas.items():
                areas[name] = areas.get(name, nothing) + number * each
        unit = self.macro.digital_units * circuits["mac area"]
        memory = self.macro.buffer * 8 * circuits["SRAM area"]
        areas |= {"digital unit": unit, "buffer": memory}
        areas["wiring"] = areas["wiring"] + (unit + memory) * circuits["routing"]
        area = sum(areas.values(), start=nothing)
        always = (unit + memory) * circuits["leakage"]
        # its work
        digital = digital_prices(circuits, area)
        energy: list[ActionPrices] = []
        layers, seconds = [], nothing
        by_component: dict[str, Floats] = {}
        for name, counts, held in self._work:
            prices = digital if held is None else _merged(macros(held).prices, digital)
            mapped = where.get(name)
            if mapped is None or held is None:
                time = nothing + self._digital_seconds(counts)
                leak = always * time
            else:
                per_input = macros(held).input_time(held.rows)
                time = self.evaluations * mapped.seconds * per_input / np.median(per_input)
                leak = (always + macros(held).leakage * mapped.arrays * mapped.copies) * time
                time = time + self._digital_seconds(counts)
            spent: ActionPrices = {b: {} for b in BOUNDARIES}
            for b in BOUNDARIES:
                for action, components in prices[b].items():
                    if not (n := counts.get(action, 0.0)):
                        continue
                    for component, each in components.items():
                        joules = each * n
                        spent[b][action] = spent[b].get(action, nothing) + joules
                        if b == "macro":
                            by_component[component] = by_component.get(component, nothing) + joules
            dynamic = sum(spent["macro"].values(), start=nothing)
            spent["macro"]["control"] = circuits["control"] * dynamic
            spent["macro"]["leakage"] = leak
            layers.append((name, held is not None, counts, spent, time))
            energy.append(spent)
            seconds = seconds + time
        if not self.macro.gated:
            whole = sum((m.leakage for m in self._all_arrays(mapping, macros)), start=nothing)
            extra = whole * seconds - sum((e["macro"]["leakage"] for e in energy), start=nothing) + always * seconds
            energy[-1]["macro"]["leakage"] = energy[-1]["macro"]["leakage"] + extra
        drawn: ActionPrices = {b: {} for b in BOUNDARIES}
        for spent in energy:
            for b in BOUNDARIES:
                for action, joules in spent[b].items():
                    drawn[b][action] = drawn[b].get(action, nothing) + joules
        writing = None
        if write is not None:
            line = circuits["bit line"] * write.voltage**2 * (1 + draws["driver_overhead"])
            writing = mapping.cells * (write.energy + line)
        if mapping.reloaded:
            if writing is None:
                raise InputError(
                    f"arrays = {mapping.arrays} do not hold the network, which needs {mapping.needed}, so that its "
                    f"weights are written in every evaluation, which has no price here; give write=CellPulse.of(...)"
                )
            drawn["macro"]["write"] = self.evaluations * writing
            rounds = math.ceil(mapping.needed / mapping.arrays)
            seconds = seconds + self.evaluations * rounds * self.spec.rows * WRITE_TIME
        by_component |= {"clock and control": drawn["macro"]["control"], "leakage": drawn["macro"]["leakage"]}
        if "write" in drawn["macro"]:
            by_component["writing of weights"] = drawn["macro"]["write"]
        total = {b: sum(by.values(), start=nothing) for b, by in drawn.items()}
        conventional = self._conventional(circuits)
        on_digital = sum(conventional.values(), start=nothing)
        digital_time = sum((self._digital_seconds(c) for _, c, _ in self._work), start=0.0) / self.evaluations
        stage = np.maximum(mapping.busiest * base.input_time(self.spec.rows)
                           / np.median(base.input_time(self.spec.rows)), digital_time)  # fmt: skip
        if mapping.reloaded:
            stage = seconds / self.evaluations
        table = draws.table
        result = ComputeCost(
            array=array, macro=self.macro.to_json(), mac_fraction=self._share(where), steps=self.evaluations,
            macs=float(self.trace.macs or 0) * self.evaluations,
            layers=tuple(LayerCost(
                name=name, in_memory=held, counts=counts, energy=_each(spent), seconds=float(np.median(time)),
                total={b: picojoules(sum(spent[b].values(), start=nothing)) for b in BOUNDARIES},
            ) for name, held, counts, spent, time in layers),
            by_action=_each(drawn), by_component=_ordered({n: picojoules(e) for n, e in by_component.items()}),
            total={b: picojoules(e) for b, e in total.items()}, cells=mapping.cells, arrays=mapping.arrays,
            area=Estimate.of_draws(1e6 * area, unit="mm^2"),
            area_by=_ordered({n: Estimate.of_draws(1e6 * a, unit="mm^2") for n, a in areas.items()}),
            writes=mapping.cells, writing=None if writing is None else picojoules(writing),
            conventional={a: picojoules(e) for a, e in conventional.items()}, conventional_total=picojoules(on_digital),
            seconds=Estimate.of_draws(seconds, unit="s"),
            throughput=Estimate.of_draws(1 / (self.evaluations * stage), unit="1/s"), mapping=mapping,
            grade=weakest(
                [table.driver_overhead, table.dac, table.full_adder, table.input_square, table.cell_area,
                 *table.adc.values(), *(c.number for c in table.circuits.values())]
            ),
            assumptions=self._assumptions(), warnings=(*mapping.warnings, *base.warnings),
        )  # fmt: skip
        return PricedNetwork(result, total["macro"], on_digital, seconds, area)

    def _macros(self) -> Any:
        """Macros by the specification of an array, each checked."""
        known: dict[str, Macro] = {}

        def of(own: ArraySpec) -> Macro:
            key = own.model_dump_json()
            if key not in known:
                known[key] = Macro(own, self.macro, self.draws)
                known[key].check()
            return known[key]

        return of

    def _own(self, name: str) -> ArraySpec:
        own = self.spec.of_layer(name)
        assert own is not None
        return own.model_copy(update={"layers": {}})

    def _all_arrays(self, mapping: Mapping, macros: Any) -> list[Macro]:
        return [macros(self._own(w.name)) for w in mapping.layers for _ in range(math.ceil(w.arrays) * w.copies)]

    @cached_property
    def _work(self) -> list[tuple[str, dict[str, float], ArraySpec | None]]:
        """Actions of each layer for one image, and the arrays that hold it."""
        from voltaspin.memory.crossbar.readout import readout_of

        digital, n, found = self.trace.digital(self.spec), self.evaluations, []
        for w in self.trace.layers:
            counts: dict[str, float] = {"byte": 0.0, "element": float(w.numbers_out)}
            own = None
            if w.name in digital:
                counts |= {"mac": float(w.macs), "byte": w.numbers_in + 2.0 * w.numbers_out}
            else:
                own = self._own(w.name)
                assert w.shape is not None
                ledger = Ledger(w.name)
                readout_of(own, where=f"layer {w.name!r}").count(ledger, w.shape, w.positions, own.slices)
                counts |= {a: float(k) for a, k in ledger.totals().items() if a != "activation"}
                counts["byte"] = math.ceil(w.numbers_in * own.input_bits / 8) + 2.0 * w.numbers_out
            found.append((w.name, {a: k * n for a, k in counts.items() if k}, own))
        if other := self.trace.other_macs:
            found.append((OTHER, {"mac": other * n}, None))
        return found

    def _digital_seconds(self, counts: Dict[str, float]) -> float:
        operations = counts.get("mac", 0.0) + counts.get("element", 0.0)
        return operations / (self.macro.digital_units * self.macro.clock)

    def _share(self, where: Dict[str, Any]) -> float:
        assert self.trace.macs is not None
        return sum(w.macs for w in self.trace.layers if w.name in where) / max(self.trace.macs, 1)

    def _conventional(self, circuits: Circuits) -> dict[str, Floats]:
        """Energy [J] per image of the same network in 8-bit integers on a digital machine.

        How often data are moved again is unknown: at most a byte for each multiply-accumulate, and no weight at best.
        """
        draws, n = self.draws, self.evaluations
        assert self.trace.macs is not None
        macs = self.trace.macs * n
        moved = sum(w.numbers_in + 2.0 * w.numbers_out for w in self.trace.layers) * n
        read = self.trace.weights * n
        numbers = sum(w.numbers_out for w in self.trace.layers) * n
        activations = Sourced(moved, "1", "bytes of activations", "assumed", moved, moved + macs)
        weights = Sourced(read, "1", "bytes of weights", "assumed", 0.0, read)
        own = digital_prices(circuits, np.zeros(draws.samples))["macro"]
        found = {
            "multiply-accumulate": own["mac"]["digital unit"] * macs,
            "elementwise": own["element"]["digital unit"] * numbers,
            "activations": circuits["SRAM 32 KB"] / _BYTES * draws.of(activations, "activations"),
            "weights": circuits["SRAM 1 MB"] / _BYTES * draws.of(weights, "weights"),
        }
        return found | {"control": circuits["control"] * sum(found.values(), start=np.zeros(draws.samples))}

    def _assumptions(self) -> tuple[str, ...]:
        m, table = self.macro, self.draws.table
        rail = "the core's supply or less" if m.rail_voltage is None else f"{m.rail_voltage:g} V"
        held = "sums are held for their turn" if m.hold else "current flows during the conversion"
        return (
            f"{m.node * 1e9:g} nm; a converter for every {m.columns_per_converter} columns, {held}; read current from "
            f"{rail} (assumed)",
            f"a digital unit of {m.digital_units:,} multiply-accumulate units at {m.clock / 1e9:g} GHz, a buffer of "
            f"{m.buffer / 1024:g} KB, {'arrays without work switched off' if m.gated else 'no array switched off'} "
            "(assumed)",
            f"inputs with a mean square of {table.input_square.value:g} of the largest (assumed)",
            "digital machine: int8 multiply and int32 add; activations through 32 KB of SRAM, weights once per "
            "evaluation from 1 MB; the upper end adds one byte of SRAM to every multiply-accumulate, the lower end "
            "reads a weight in every tenth evaluation (assumed)",
        )


def digital_prices(circuits: Circuits, area: Floats) -> dict[Boundary, dict[str, dict[str, Floats]]]:
    """Energy [J] of the digital unit's actions, and of a byte through the buffer and across the chip."""
    arithmetic = circuits["mul int8"] + circuits["add int32"]
    # half of a byte's wires toggle, over half of the chip's side
    wires = 4 * circuits["wire"] * np.sqrt(area) / 2 * circuits.voltage**2
    at: dict[Boundary, dict[str, dict[str, Floats]]] = {b: {} for b in BOUNDARIES}
    at["macro"] = {
        "mac": {"digital unit": arithmetic * (1 + circuits["mac overhead"])},
        "element": {"digital unit": circuits["elementwise"] * circuits["add int32"]},
        "byte": {"buffer": circuits["SRAM 32 KB"] / _BYTES, "wires across the chip": wires},
    }
    return at


def _merged(*prices: dict[Boundary, dict[str, dict[str, Floats]]]) -> dict[Boundary, dict[str, dict[str, Floats]]]:
    return {b: {a: c for p in prices for a, c in p[b].items()} for b in BOUNDARIES}


def _each(energy: ActionPrices) -> dict[Boundary, dict[str, Estimate]]:
    return {b: {a: picojoules(e) for a, e in by.items()} for b, by in energy.items()}


def _ordered(found: dict[str, Estimate]) -> dict[str, Estimate]:
    return dict(sorted(found.items(), key=lambda item: -item[1].value))
