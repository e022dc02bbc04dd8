"""The cost of a network in memory for each image, by layer, action and component, and on a conventional machine.

A trace says what the network computes, a mapping where its weights lie, a macro what its circuits cost. Three
boundaries, those of :mod:`voltaspin.cost.pricing`; the macro includes the digital unit for the work that is not in
memory, buffers, wires across the chip, clock and control, and leakage.

Layers work one after another, those of the digital unit among them; all arrays of a layer work at the same time. With
many images in flight every array works on another image, and the busiest one bounds the throughput.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.core.quantity import Estimate, Sourced
from voltaspin.core.result import Boundary
from voltaspin.cost.bill import ComputeCost, LayerCost
from voltaspin.cost.circuits import Circuits
from voltaspin.cost.macro import Macro, MacroSpec
from voltaspin.cost.mapping import LayerMapping, Mapping, array_of, map_network
from voltaspin.cost.pricing import BOUNDARIES, ActionPrices, CellPulse, picojoules
from voltaspin.cost.table import Draws, Floats, weakest

if TYPE_CHECKING:
    from voltaspin.diffusion.pipelines import Pipeline
    from voltaspin.memory import ArraySpec
    from voltaspin.memory.crossbar.trace import NetworkTrace

_BYTES = 8  # of one access that the table prices
#: Width [s] of one write of a weight, for chips that write weights again: assumed, that of magnetic memories.
WRITE_TIME = 10e-9
OTHER = "attention and other products"


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
class _Layer:
    """A layer's priced work for one image: actions, energies [J] by boundary and action, and time [s]."""

    name: str
    in_memory: bool
    counts: dict[str, float]
    energy: ActionPrices
    seconds: Floats

    def total(self, boundary: Boundary) -> Floats:
        return sum(self.energy[boundary].values(), start=np.zeros_like(self.seconds))

    def cost(self) -> LayerCost:
        return LayerCost(
            name=self.name, in_memory=self.in_memory, counts=self.counts, energy=_each(self.energy),
            total={b: picojoules(self.total(b)) for b in BOUNDARIES}, seconds=float(np.median(self.seconds)),
        )  # fmt: skip


@dataclass(frozen=True)
class _Pricing:
    """One network in one chip."""

    trace: NetworkTrace
    spec: ArraySpec
    macro: MacroSpec
    evaluations: float
    draws: Draws

    def priced(self, write: CellPulse | None, array: str) -> PricedNetwork:
        """Price the network; ``write`` and ``array`` as of :func:`price_network`."""
        circuits, mapping, table = self._base.circuits, self._mapping, self.draws.table
        areas, writing = self._areas, self._writing(write)
        area, by_component = self._sum(areas.values()), dict[str, Floats]()
        layers = [self._layer(name, counts, own, by_component) for name, counts, own in self._work]
        seconds = self._sum(layer.seconds for layer in layers)
        drawn: ActionPrices = {b: {} for b in BOUNDARIES}
        for layer in layers:
            for b in BOUNDARIES:
                for action, joules in layer.energy[b].items():
                    drawn[b][action] = drawn[b].get(action, 0.0) + joules
        if mapping.reloaded:
            assert writing is not None
            drawn["macro"]["write"] = by_component["writing of weights"] = self.evaluations * writing
            rounds = math.ceil(mapping.needed / mapping.arrays)
            seconds = seconds + self.evaluations * rounds * self.spec.rows * WRITE_TIME
        by_component |= {"clock and control": drawn["macro"]["control"], "leakage": drawn["macro"]["leakage"]}
        total = {b: self._sum(by.values()) for b, by in drawn.items()}
        conventional = self._conventional(circuits)
        digital = self._sum(conventional.values())
        numbers = (table.driver_overhead, table.dac, table.full_adder, table.input_square, table.cell_area)
        result = ComputeCost(
            array=array, macro=self.macro.to_json(), macs=float(self.trace.macs or 0) * self.evaluations,
            mac_fraction=self._share, steps=self.evaluations, layers=tuple(layer.cost() for layer in layers),
            by_action=_each(drawn), by_component=_ordered({n: picojoules(e) for n, e in by_component.items()}),
            total={b: picojoules(e) for b, e in total.items()}, cells=mapping.cells, arrays=mapping.arrays,
            area=Estimate.of_draws(1e6 * area, unit="mm^2"),
            area_by=_ordered({n: Estimate.of_draws(1e6 * a, unit="mm^2") for n, a in areas.items()}),
            writes=mapping.cells, writing=None if writing is None else picojoules(writing),
            conventional={a: picojoules(e) for a, e in conventional.items()}, conventional_total=picojoules(digital),
            seconds=Estimate.of_draws(seconds, unit="s"),
            throughput=Estimate.of_draws(1 / self._stage(seconds), unit="1/s"), mapping=mapping,
            grade=weakest([*numbers, *table.adc.values(), *(c.number for c in table.circuits.values())]),
            assumptions=(*self._assumptions(), f"{self._base.lines} (assumed)"),
            warnings=(*mapping.warnings, *self._base.warnings),
        )  # fmt: skip
        return PricedNetwork(result, total["macro"], digital, seconds, area)

    def _sum(self, terms: Iterable[Floats]) -> Floats:
        return sum(terms, start=np.zeros(self.draws.samples))

    @cached_property
    def _base(self) -> Macro:
        return self._macro_of(self.spec.model_copy(update={"layers": {}}))

    @cached_property
    def _made(self) -> dict[str, Macro]:
        return {}

    def _macro_of(self, own: ArraySpec) -> Macro:
        """The macro of one kind of array, checked."""
        key = own.model_dump_json()
        if key not in self._made:
            self._made[key] = Macro(own, self.macro, self.draws)
            self._made[key].check()
        return self._made[key]

    @cached_property
    def _mapping(self) -> Mapping:
        return map_network(
            self.trace, self.spec, arrays=self.macro.arrays, pack=self.macro.pack,
            input_time=lambda own, rows: float(np.median(self._macro_of(own).input_time(rows))),
        )  # fmt: skip

    @cached_property
    def _mapped(self) -> dict[str, LayerMapping]:
        return {w.name: w for w in self._mapping.layers}

    @cached_property
    def _areas(self) -> dict[str, Floats]:
        """Area of the chip [m^2] by component."""
        circuits, mapping, areas = self._base.circuits, self._mapping, dict[str, Floats]()
        for w in mapping.layers:
            for name, each in self._macro_of(array_of(self.spec, w.name)).areas.items():
                areas[name] = areas.get(name, 0.0) + mapping.built(w) * each
        unit = self.macro.digital_units * circuits["mac area"]
        buffer = self.macro.buffer * 8 * circuits["SRAM area"]
        return areas | {"digital unit": unit, "buffer": buffer,
                        "wiring": areas["wiring"] + (unit + buffer) * circuits["routing"]}  # fmt: skip

    @cached_property
    def _always(self) -> Floats:
        """Power [W] that leaks all the time; without gates everything does."""
        density = self._base.circuits["leakage"]
        if self.macro.gated:
            return self._areas["buffer"] * density
        cells = self._areas["cells"] + self._areas["wiring"]
        return (self._sum(self._areas.values()) - cells) * density

    def _layer(
        self, name: str, counts: dict[str, float], own: ArraySpec | None, by_component: dict[str, Floats]
    ) -> _Layer:
        """Price a layer, in arrays ``own`` or in the digital unit, and add its parts at the macro to the components."""
        circuits, digital = self._base.circuits, self._digital
        elsewhere = np.full(self.draws.samples, self._digital_seconds(counts))
        inside, leaking = np.zeros_like(elsewhere), np.zeros_like(elsewhere)
        prices = digital
        if own is not None:
            macro, mapped = self._macro_of(own), self._mapped[name]
            prices = {b: digital[b] | macro.prices[b] for b in BOUNDARIES}
            each = macro.input_time(own.rows)
            inside = self.evaluations * mapped.seconds * each / np.median(each)
            leaking = macro.leakage * mapped.arrays * mapped.copies
        energy: ActionPrices = {b: {} for b in BOUNDARIES}
        for b in BOUNDARIES:
            for action, components in prices[b].items():
                for component, joules in components.items():
                    if n := counts.get(action, 0.0):
                        energy[b][action] = energy[b].get(action, 0.0) + n * joules
                        if b == "macro":
                            by_component[component] = by_component.get(component, 0.0) + n * joules
        leak = self._always * (inside + elsewhere)
        if self.macro.gated:
            leak = leak + leaking * inside + self._areas["digital unit"] * circuits["leakage"] * elsewhere
        energy["macro"] |= {"control": circuits["control"] * self._sum(energy["macro"].values()), "leakage": leak}
        return _Layer(name, own is not None, counts, energy, inside + elsewhere)

    @cached_property
    def _digital(self) -> dict[Boundary, dict[str, dict[str, Floats]]]:
        return digital_prices(self._base.circuits, self._sum(self._areas.values()))

    def _writing(self, write: CellPulse | None) -> Floats | None:
        """Energy [J] of writing every weight once; None without a pulse."""
        mapping, circuits = self._mapping, self._base.circuits
        if write is not None:
            line = circuits["bit line"] * write.voltage**2 * (1 + self.draws["driver_overhead"])
            return mapping.cells * (write.energy + line)
        if mapping.reloaded:
            raise InputError(
                f"arrays = {mapping.arrays} do not hold the network, which needs {mapping.needed}, so that its weights "
                "are written in every evaluation, which has no price here; give write=CellPulse.of(...)"
            )
        return None

    def _stage(self, seconds: Floats) -> Floats:
        """Time [s] between two images with many in flight: the busiest array's, or that of the digital unit."""
        if self._mapping.reloaded:
            return seconds
        each = self._base.input_time(self.spec.rows)
        digital = sum(self._digital_seconds(counts) for _, counts, _ in self._work)
        return np.maximum(self.evaluations * self._mapping.busiest * each / np.median(each), digital)

    @cached_property
    def _work(self) -> list[tuple[str, dict[str, float], ArraySpec | None]]:
        """Actions of each layer for one image, and the arrays that hold it."""
        from voltaspin.memory.crossbar.converted import readout_of

        digital, n, found = self.trace.digital(self.spec), self.evaluations, []
        for w in self.trace.layers:
            counts: dict[str, float] = {"byte": 0.0, "element": float(w.numbers_out)}
            own = None
            if w.name in digital:
                counts |= {"mac": float(w.macs), "byte": w.numbers_in + 2.0 * w.numbers_out}
            else:
                own = array_of(self.spec, w.name)
                assert w.shape is not None
                ledger = Ledger(w.name)
                readout_of(own, where=f"layer {w.name!r}").count(ledger, w.shape, w.positions, own.slices)
                counts |= {a: float(k) for a, k in ledger.totals().items() if a != "activation"}
                counts["byte"] = math.ceil(w.numbers_in * own.input_bits / 8) + 2.0 * w.numbers_out
            found.append((w.name, {a: k * n for a, k in counts.items() if k}, own))
        if other := self.trace.other_macs:
            found.append((OTHER, {"mac": other * n}, None))
        return found

    def _digital_seconds(self, counts: dict[str, float]) -> float:
        operations = counts.get("mac", 0.0) + counts.get("element", 0.0)
        return operations / (self.macro.digital_units * self.macro.clock)

    @property
    def _share(self) -> float:
        """Share of the multiply-accumulates that is done in memory."""
        return sum(w.macs for w in self.trace.layers if w.name in self._mapped) / max(self.trace.macs or 0, 1)

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
        own = self._digital["macro"]
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
            f"{m.buffer / 1024:g} KB, {'what has no work is switched off' if m.gated else 'nothing is switched off'} "
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


def _each(energy: ActionPrices) -> dict[Boundary, dict[str, Estimate]]:
    return {b: {a: picojoules(e) for a, e in by.items()} for b, by in energy.items()}


def _ordered(found: dict[str, Estimate]) -> dict[str, Estimate]:
    return dict(sorted(found.items(), key=lambda item: -item[1].value))
