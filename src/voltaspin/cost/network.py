"""What a network in memory costs for each image, by layer and by kind of action, and on a conventional machine.

The crossbars' ledger counts, the cost table prices, at the three boundaries of ``report.cost``:

* ``cell``: current through the cells;
* ``cell+line``: the word and bit lines as well;
* ``macro``: drivers, converters, adders, buffers, and the digital unit for what is not in memory.

Assumed throughout: arrays hold all weights at once and all tiles of a layer work at the same time, layers one after
another, those of the digital unit among them; writing the weights is counted once and listed apart.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Grade, Sourced
from voltaspin.core.result import Boundary
from voltaspin.cost.results import Network, NetworkPart
from voltaspin.cost.table import BOUNDARIES, CostTable, Span, si, weakest

if TYPE_CHECKING:
    from torch import nn

    from voltaspin.diffusion.pipelines import Pipeline
    from voltaspin.memory import ArraySpec, Coverage

ACTIONS = ("product", "drive", "conversion", "add", "mac", "byte")
_BYTES = 8  # of one access that the table prices
#: Multiply-accumulates of the digital unit beside the arrays, which does what is not in memory.
DIGITAL_RATE = Sourced(1e12, "1/s", "1,024 multiply-accumulate units at 1 GHz", "assumed", 1e11, 1e13)
_NONE = Span.exactly(0.0)
_PREFIXES = {-6: "a", -5: "f", -4: "p", -3: "n", -2: "u", -1: "m", 0: ""}


@dataclass(frozen=True)
class LayerCost:
    """One layer, for one image.

    Args:
        name: as in the model.
        in_memory: whether crossbars compute it.
        counts: of each action.
        energy: [J] by boundary and action.
        seconds: of its turns, one after another, or of its work in the digital unit.
    """

    name: str
    in_memory: bool
    counts: dict[str, float]
    energy: dict[Boundary, dict[str, Span]]
    seconds: float

    def total(self, boundary: Boundary) -> Span:
        """[J]"""
        return _sum(self.energy[boundary].values())


@dataclass(frozen=True)
class ComputeCost:
    """Energy, time and area of a network in memory, for one image.

    Args:
        layers: of the model; the last may stand for the work that belongs to no layer.
        steps: network evaluations per image.
        cells, area: in use, and of the macros that hold them [m^2].
        writes, writing: cells written once for the weights, and their energy at the macro [J]; None without a price.
        conventional: energy [J] of the same network in 8-bit integers on a digital machine, by action.
        grade: the weakest number in it.
        assumptions: in words.
    """

    layers: tuple[LayerCost, ...]
    steps: float
    cells: int
    area: Span
    writes: int
    writing: Span | None
    conventional: dict[str, Span]
    grade: Grade
    assumptions: tuple[str, ...] = field(default_factory=tuple)

    def total(self, boundary: Boundary) -> Span:
        """[J] per image."""
        return _sum(layer.total(boundary) for layer in self.layers)

    def by_action(self, boundary: Boundary) -> dict[str, Span]:
        """[J] per image of each kind of action."""
        found = {a: _sum(layer.energy[boundary].get(a, _NONE) for layer in self.layers) for a in ACTIONS}
        return {a: e for a, e in found.items() if e.value}

    @property
    def seconds(self) -> float:
        """Time per image."""
        return sum(layer.seconds for layer in self.layers)

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": "compute-cost", "schema_version": 1, "per": "image", "steps": self.steps, "cells": self.cells,
            "area_m2": self.area._asdict(), "seconds": self.seconds, "grade": self.grade, "writes": self.writes,
            "writing_J": None if self.writing is None else self.writing._asdict(),
            "assumptions": list(self.assumptions),
            "energy_J": {b: {a: e._asdict() for a, e in self.by_action(b).items()} for b in BOUNDARIES},
            "conventional_J": {a: e._asdict() for a, e in self.conventional.items()},
            "layers": [{**asdict(w), "energy": {b: {a: e._asdict() for a, e in parts.items()}
                                                for b, parts in w.energy.items()}} for w in self.layers],
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [f"{'energy per image':24} " + " ".join(f"{b:>30}" for b in BOUNDARIES)]
        for action in ACTIONS:
            parts = [self.by_action(b).get(action) for b in BOUNDARIES]
            if any(parts):
                lines.append(f"{action:24} " + " ".join(f"{_text(p):>30}" for p in parts))
        lines.append(f"{'in all':24} " + " ".join(f"{_text(self.total(b)):>30}" for b in BOUNDARIES))
        both = _sum(self.conventional.values())
        lines += [
            f"the same network in int8 on a digital machine (macro): {_text(both)}: "
            + ", ".join(f"{a} {_text(e)}" for a, e in self.conventional.items()),
            f"time per image {_quantity(self.seconds, 's')}; {self.cells:,} cells, macros of "
            f"{self.area.value * 1e6:.3g} ({self.area.low * 1e6:.3g} to {self.area.high * 1e6:.3g}) mm^2; "
            f"{self.steps:g} network evaluations",
        ]
        if self.writing is not None:
            lines.append(f"writing the weights once: {self.writes:,} cells, {_text(self.writing)}")
        lines.append("dearest layers (macro):")
        dear = sorted(self.layers, key=lambda w: -w.total("macro").value)[:8]
        whole = self.total("macro").value
        lines += [f"  {w.name:44} {_text(w.total('macro')):>30} {w.total('macro').value / whole:6.1%}"
                  f"{'' if w.in_memory else '  digital'}" for w in dear]  # fmt: skip
        lines += [f"weakest grade: {self.grade}", *self.assumptions]
        return "\n".join(lines)


def compute_cost(
    model: nn.Module,
    coverage: Coverage,
    *,
    images: int,
    per_image: float = 1.0,
    write_energy: Span | None = None,
    table: CostTable | None = None,
) -> ComputeCost:
    """Price what a converted model has counted.

    Args:
        model: from ``convert``; its ledger holds the work of ``images`` images.
        coverage: what ``convert`` said of it.
        images: that the ledger's work made.
        per_image: how many times that work makes an image, where only some of its evaluations were counted.
        write_energy: of one write of a cell [J], to price the weights' writing.
        table: prices; the package's own by default.

    Raises:
        InputError: nothing was counted yet, ``images`` is not positive, or not all of the model's work is known.
    """
    from voltaspin.memory.conversion import machine_of
    from voltaspin.memory.layers import MemoryLayer
    from voltaspin.memory.machine import NETWORK

    if images < 1:
        raise InputError(f"images = {images}: give how many images the ledger's work made, at least 1")
    if coverage.macs is None:
        raise InputError(f"a price needs every multiply-accumulate of the model, whose number is {coverage.unknown}")
    table = table or CostTable.default()
    machine = machine_of(model)
    specs = {m.name: m.spec for m in model.modules() if isinstance(m, MemoryLayer)}
    layers, writes = [], 0
    for name, ledger in machine.ledger.children.items():
        counts = {a: n * per_image / images for a, n in ledger.totals().items() if a not in ("write", "turn")}
        writes += ledger.total("write")
        if not counts or name == NETWORK:
            continue
        spec = specs.get(name)
        energy = {b: _energies(counts, spec, b, table) for b in BOUNDARIES}
        if spec is None:
            seconds = counts.get("mac", 0.0) / DIGITAL_RATE.value
        else:
            seconds = ledger.total("turn") * per_image / images * _turn_time(spec, table)
        layers.append(LayerCost(name, spec is not None, counts, energy, seconds))
    if not layers:
        raise InputError("the model has computed nothing yet; sample with it first, then price its ledger")
    evaluations = machine.ledger.child(NETWORK).total("evaluation") * per_image / images
    if not evaluations:
        raise InputError("the ledger holds no call of the model as a whole; call the model, not its parts")
    bare = coverage.cells * table.area_of_cell
    share = table.array_efficiency
    assert share.low is not None
    assert share.high is not None
    area = Span(bare / share.value, bare / share.high, bare / share.low)
    used = [table.line_capacitance, table.driver_overhead, table.dac, table.full_adder, table.input_square,
            table.cell_area, *table.adc.values()]  # fmt: skip
    writing = None if write_energy is None else write_energy.times(writes)
    return ComputeCost(
        layers=tuple(layers), steps=evaluations, cells=coverage.cells, area=area, writes=writes, writing=writing,
        conventional=_conventional(coverage, layers, evaluations, table), grade=weakest(used),
        assumptions=(
            f"a converter for every {table.adc_sharing.value:g} columns, one conversion in "
            f"{si(table.adc_time) * 1e9:g} ns; its area counts as part of the {1 - share.value:.0%} of a macro that is "
            "not cells (assumed)",
            f"a digital unit of {DIGITAL_RATE.value:.0e} multiply-accumulates per second ({DIGITAL_RATE.low:.0e} to "
            f"{DIGITAL_RATE.high:.0e}) for what is not in memory (assumed)",
            f"inputs with a mean square of {table.input_square.value:g} of the largest (assumed)",
            "digital machine: int8 multiply and int32 add; activations through 32 KB of SRAM, weights once per "
            "evaluation from 1 MB; the upper end adds one byte of SRAM to every multiply-accumulate, the lower end "
            "reads no weight twice (assumed)",
        ),
    )  # fmt: skip


def cost_of_images(
    pipeline: Pipeline, spec: ArraySpec, *, steps: int, write_energy: Span | None = None
) -> tuple[ComputeCost, Coverage]:
    """What one image costs with the pipeline's network in crossbars; and what they cover.

    Every evaluation counts the same, so two of them stand for all ``steps``.
    """
    from voltaspin.diffusion import sample
    from voltaspin.memory import convert
    from voltaspin.noise import PseudoSource

    made = min(steps, 2)
    unet, coverage = convert(pipeline.unet, spec)
    sample(replace(pipeline, unet=unet), PseudoSource(seed=0), count=1, steps=made)
    return compute_cost(unet, coverage, images=1, per_image=steps / made, write_energy=write_energy), coverage


def network_section(cost: ComputeCost, *, array: str, mac_fraction: float, layers: int = 6) -> Network:
    """The page's part of it, energies in pJ."""

    def part(name: str, energy: Mapping[Boundary, Span]) -> NetworkPart:
        pJ = {b: 1e12 * e.value for b, e in energy.items()}
        return NetworkPart(name=name, energy=pJ, low=1e12 * energy["macro"].low, high=1e12 * energy["macro"].high)

    by_action = {b: cost.by_action(b) for b in BOUNDARIES}
    actions = [part(a, {b: by_action[b].get(a, _NONE) for b in BOUNDARIES}) for a in by_action["macro"]]
    actions.append(part("in all", {b: cost.total(b) for b in BOUNDARIES}))
    dear = sorted(cost.layers, key=lambda w: -w.total("macro").value)[:layers]
    conventional = [part(a, {"macro": e}) for a, e in cost.conventional.items()]
    conventional.append(part("in all", {"macro": _sum(cost.conventional.values())}))
    return Network(
        array=array, mac_fraction=mac_fraction, steps=round(cost.steps), actions=tuple(actions),
        layers=tuple(part(w.name, {b: w.total(b) for b in BOUNDARIES}) for w in dear),
        conventional=tuple(conventional), seconds=cost.seconds, cells=cost.cells,
        area_mm2=(1e6 * cost.area.value, 1e6 * cost.area.low, 1e6 * cost.area.high), grade=cost.grade,
        assumptions=cost.assumptions,
    )  # fmt: skip


def _sum(spans: Any) -> Span:
    total = _NONE
    for span in spans:
        total = total.plus(span)
    return total


def _product(*spans: Span) -> Span:
    return Span(*(math.prod(parts) for parts in zip(*spans, strict=True)))


def _energies(
    counts: Mapping[str, float], spec: ArraySpec | None, boundary: Boundary, table: CostTable
) -> dict[str, Span]:
    """[J] of each action of one layer."""
    macro = boundary == "macro"
    price: dict[str, Span] = {}
    if macro:
        price["mac"] = Span.of(table.operations["mul int8"]).plus(Span.of(table.operations["add int32"]))
        price["byte"] = Span.of(table.operations["SRAM 32 KB"]).times(1 / _BYTES)
    if spec is not None:
        square = _input_square(spec, table)
        G = (1 + 1 / (1 + spec.TMR)) / (2 * spec.R_P)
        price["product"] = square.times(spec.cell_voltage**2 * G * _read_time(spec, table))
        if spec.mode == "digital":
            # every cell is sensed alone: a decision and, at the line, a charging of its bit line
            if boundary != "cell":
                line = Span.of(table.line_capacitance).times(spec.cell_voltage**2)
                price["product"] = price["product"].plus(line)
            if macro:
                price["product"] = price["product"].plus(Span.of(table.sense))
                price["add"] = Span.of(table.full_adder).times(spec.input_bits if spec.inputs == "multilevel" else 1)
        elif macro:
            price["conversion"] = adc_energy(table, spec.adc_bits)
            price["add"] = Span.of(table.operations["add int32"])
        if boundary != "cell":
            line = _product(square, Span.of(table.line_capacitance)).times(spec.cell_voltage**2)
            price["drive"] = line
            if macro:
                price["drive"] = line.plus(_product(line, Span.of(table.driver_overhead)))
                if spec.inputs == "multilevel" and spec.mode == "analog":
                    price["drive"] = price["drive"].plus(Span.of(table.dac))
    return {a: price[a].times(n) for a, n in counts.items() if a in price and n}


def _input_square(spec: ArraySpec, table: CostTable) -> Span:
    if spec.mode == "digital" and spec.inputs == "multilevel":
        return Span.exactly(1.0)  # every cell is read, whatever its input
    if spec.inputs == "bit-serial" or spec.mode != "analog":
        return Span(0.5, 0.1, 1.0)  # a share of the bits is 1 and its row driven
    return Span.of(table.input_square)


def _read_time(spec: ArraySpec, table: CostTable) -> float:
    return si(table.read_width) if spec.mode == "digital" else 1 / (2 * spec.noise_bandwidth)


def _turn_time(spec: ArraySpec, table: CostTable) -> float:
    """[s] from one driving of the rows to the next."""
    if spec.mode == "digital":
        return spec.rows * si(table.read_width)  # row after row
    return max(_read_time(spec, table), table.adc_sharing.value * si(table.adc_time))


def adc_energy(table: CostTable, bits: int) -> Span:
    """[J] of one conversion; below the table's bits that of its fewest, above them twice as much for each bit."""
    known = sorted(int(b) for b in table.adc)
    nearest = min(max(bits, known[0]), known[-1])
    return Span.of(table.adc[str(nearest)]).times(2.0 ** max(bits - known[-1], 0))


def _conventional(coverage: Coverage, layers: list[LayerCost], evaluations: float, table: CostTable) -> dict[str, Span]:
    """[J] per image of the same network in 8-bit integers."""
    assert coverage.macs_per_image is not None
    macs = coverage.macs_per_image * evaluations
    mac = Span.of(table.operations["mul int8"]).plus(Span.of(table.operations["add int32"])).times(macs)
    access = Span.of(table.operations["SRAM 32 KB"]).times(1 / _BYTES)
    activations = access.times(sum(w.counts.get("byte", 0.0) for w in layers))
    per_weight = Span.of(table.operations["SRAM 1 MB"]).times(evaluations / _BYTES)
    weights = per_weight.times(sum(w.weights for w in coverage.layers))
    return {
        "multiply-accumulate": mac,
        "activations": Span(activations.value, activations.low, activations.high + access.high * macs),
        "weights": Span(weights.value, 0.0, weights.high),
    }


def _quantity(value: float, unit: str) -> str:
    if not value:
        return f"0 {unit}"
    power = min(max(math.floor(math.log10(abs(value)) / 3), -6), 0)
    return f"{value / 1000.0**power:.3g} {_PREFIXES[power]}{unit}"


def _text(span: Span | None) -> str:
    if span is None or not span.value:
        return "-"
    if span.low == span.high:
        return _quantity(span.value, "J")
    return f"{_quantity(span.value, 'J')} ({_quantity(span.low, 'J')} to {_quantity(span.high, 'J')})"
