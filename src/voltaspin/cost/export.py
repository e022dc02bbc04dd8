"""A mapped network as tables of other programs: Accelergy's energy and area references, and plain tables.

Accelergy multiplies counted actions by the energy of each, as this package does. Its files hold one number for each
action, so the export takes the nominal values of the cost table. Medians would not do: medians of parts do not add up
to the median of their sum, while nominal values do. The ranges are in ``table.csv``.

A component class stands for each kind of array (``crossbar_0``, ...), one for the digital unit and one for the buffer.
Clock and control are a share of each action's energy, so every action includes them. ``leak`` is counted in cycles of
the logic for one instance.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from voltaspin.core.format import energies, quantity
from voltaspin.core.plain_yaml import yaml_text
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Part, Result, Unit
from voltaspin.cost.bill import ComputeCost, LayerCost
from voltaspin.cost.macro import Macro, MacroSpec
from voltaspin.cost.mapping import Mapping, array_of
from voltaspin.cost.network import PricedNetwork, digital_prices, price_network
from voltaspin.cost.pricing import CellPulse
from voltaspin.cost.table import CostTable, Draws, Floats

if TYPE_CHECKING:
    from voltaspin.memory import ArraySpec
    from voltaspin.memory.crossbar.trace import NetworkTrace

ACCELERGY = 0.4  #: version of the format
CHIP = "(chip)"  #: layer of the rows that belong to no layer
CONTROL, LEAK = "clock and control", "leakage"
_PRIMITIVE = "priced_part"  # class of every part, which the plug-in knows
_COMMENT = """\
# Written by `voltaspin memory export`. Energies are in pJ for one action of one instance, areas in um^2 of one
# instance.
# They are nominal values of the cost table, not medians: medians of parts do not add up to the median of their sum,
# nominal values do. table.csv has the ranges.
"""
_PLUG_IN = '''\
"""Plug-in of Accelergy 0.4 for the components of `voltaspin memory export`: components.yaml says every number."""

from accelergy.plug_in_interface.estimator import Estimator, actionDynamicEnergy


class PricedPart(Estimator):
    """A part whose area [um^2] is an attribute, and whose energy [pJ] is an argument of its action."""

    name = "priced_part"
    percent_accuracy_0_to_100 = 50

    def __init__(self, part_area):
        self.part_area = part_area

    def get_area(self):
        return self.part_area * 1e-12

    @actionDynamicEnergy
    def use(self, part_energy):
        return part_energy * 1e-12

    def leak(self, global_cycle_seconds):
        return 0.0
'''


class ExportRow(Part):
    """One row of ``table.csv``, for one image. Each column adds up to the whole.

    Args:
        layer: as in the model; ``(chip)`` for what belongs to none.
        action: as counted; ``leak``, ``write``, ``area`` and ``time`` stand for themselves.
        component: of the macro.
        count: of the action; arrays for ``area``.
        energy: nominal; energy_low, energy_high: ends of the 90 % range, which do not add up.
        area: of the component in all arrays of the layer's first copy and of the others.
        seconds: of the layer.
    """

    layer: str
    action: str
    component: str
    count: float
    energy: Annotated[float, Unit("pJ")] = 0.0
    energy_low: Annotated[float, Unit("pJ")] = 0.0
    energy_high: Annotated[float, Unit("pJ")] = 0.0
    area: Annotated[float, Unit("um^2")] = 0.0
    seconds: Annotated[float, Unit("s")] = 0.0


class NetworkExport(Result):
    """A network in the arrays of a chip, as the tables of other programs; all numbers are nominal.

    Args:
        energy: of an image at the macro [pJ]; median: the same as all other commands give it, with its range.
        area: of the chip [mm^2].
        seconds: of an image.
        energy_reference, area_reference: tables ``ERT`` and ``ART`` of Accelergy.
        components, architecture, action_counts: compound components, where they lie, and the actions of one image.
        table: energy, area and time by layer, action and component.
        mapping: where the layers lie.
    """

    KIND: ClassVar[str] = "network-export"
    energy: Annotated[float, Unit("pJ")]
    median: Estimate
    area: Annotated[float, Unit("mm^2")]
    seconds: Annotated[float, Unit("s")]
    energy_reference: dict[str, Any] = Field(repr=False)
    area_reference: dict[str, Any] = Field(repr=False)
    components: dict[str, Any] = Field(repr=False)
    architecture: dict[str, Any] = Field(repr=False)
    action_counts: dict[str, Any] = Field(repr=False)
    table: tuple[ExportRow, ...] = Field(repr=False)
    mapping: Mapping = Field(repr=False)

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people: totals and the exported components."""
        tables = self.energy_reference["ERT"]["tables"]
        return [
            ("energy per image, nominal", quantity(1e-12 * self.energy, "J")),
            ("median and 90 % range", energies(self.median)),
            ("area, nominal", f"{self.area:.3g} mm^2"),
            ("time per image, nominal", quantity(self.seconds, "s")),
            *((one["name"], ", ".join(a["name"] for a in one["actions"])) for one in tables),
            ("rows of table.csv", f"{len(self.table):,}"),
            ("check it", "accelergy ERT.yaml action_counts.yaml -f energy_estimation -o out"),
        ]

    def texts(self) -> dict[str, str]:
        """Return the text of each exported file by its name."""
        return {
            "ERT.yaml": _COMMENT + yaml_text(self.energy_reference),
            "ART.yaml": _COMMENT + yaml_text(self.area_reference),
            "components.yaml": _COMMENT + yaml_text(self.components),
            "architecture.yaml": _COMMENT + yaml_text(self.architecture),
            "action_counts.yaml": "# Actions of one image.\n" + yaml_text(self.action_counts),
            "plug_in.py": _PLUG_IN,
            "table.csv": self._table_csv(),
            "mapping.csv": self._mapping_csv(),
        }

    def _table_csv(self) -> str:
        head = ("layer", "action", "component", "count", "energy_pJ", "energy_low_pJ", "energy_high_pJ", "area_um2",
                "seconds")  # fmt: skip
        return _csv(head, [[getattr(row, name) for name in ExportRow.model_fields] for row in self.table])

    def _mapping_csv(self) -> str:
        head = ("layer", "kind", "groups", "outputs", "inputs", "positions", "rows", "columns", "arrays", "copies",
                "cells", "utilisation", "turns", "seconds")  # fmt: skip
        return _csv(
            head,
            [[w.name, w.kind, *w.shape, w.positions, w.rows, w.columns, w.arrays, w.copies, w.cells, w.utilisation,
              w.turns, w.seconds] for w in self.mapping.layers],
        )  # fmt: skip


def export_network(
    trace: NetworkTrace,
    spec: ArraySpec,
    macro: MacroSpec | None = None,
    *,
    evaluations: float,
    write: CellPulse | None = None,
    array: str = "",
    table: CostTable | None = None,
) -> NetworkExport:
    """Return the tables of a network in memory; see :func:`voltaspin.cost.network.price_network` for the arguments.

    Args:
        trace, spec, macro, evaluations, write, array: of the network, its arrays and their circuits.
        table: of costs; the package's own where None.

    Raises:
        InputError: as of :func:`price_network`.
    """
    macro = macro or MacroSpec()
    chips = []
    for draws in (Draws((table or CostTable.default()).nominal(), samples=100), Draws(table)):
        priced = price_network(trace, spec, macro, evaluations=evaluations, write=write, array=array, draws=draws)
        chips.append(_Chip.of(priced, spec, macro, draws, write))
    chip, drawn = chips
    cost = chip.cost
    assert cost.mapping is not None
    instances = _instances(chip)
    return NetworkExport(
        energy=cost.total["macro"].value, median=drawn.cost.total["macro"], area=cost.area.value,
        seconds=cost.seconds.value,
        energy_reference={"ERT": {"version": ACCELERGY, "tables": [
            {"name": i.full_name, "actions": [
                {"name": action, "arguments": {}, "energy": sum(parts.values())} for action, parts in i.actions.items()
            ]} for i in instances
        ]}},
        area_reference={"ART": {"version": ACCELERGY, "tables": [
            {"name": i.full_name, "area": sum(i.areas.values())} for i in instances
        ]}},
        components={"compound_components": {"version": ACCELERGY, "classes": [i.as_class() for i in instances]}},
        architecture={"architecture": {"version": ACCELERGY, "subtree": [{
            "name": "chip",
            "attributes": {"technology": f'"{macro.node * 1e9:g}nm"', "global_cycle_seconds": 1 / macro.clock},
            "local": [{"name": i.name, "class": i.kind, "attributes": i.attributes} for i in instances],
        }]}},
        action_counts={"action_counts": {"version": ACCELERGY, "local": [
            {"name": i.full_name, "action_counts": [
                {"name": action, "counts": i.counts.get(action, 0.0)} for action in i.actions
            ]} for i in instances
        ]}},
        table=tuple(_table(chip, drawn)), mapping=cost.mapping,
    )  # fmt: skip


Components = dict[str, dict[str, Floats]]  # energy [J] by action and component; float64 (samples,)


@dataclass(frozen=True)
class _Kind:
    """Arrays of one specification."""

    macro: Macro
    prices: Components
    layers: list[str]


@dataclass(frozen=True)
class _Chip:
    """A priced network and the prices of its parts, for the same draws."""

    cost: ComputeCost
    spec: MacroSpec
    kinds: list[_Kind]
    digital: Components
    areas: dict[str, Floats]  # [m^2] of the digital unit and the buffer
    leakage: dict[str, Floats]  # [W] of both
    write: Floats | None  # [J] of one cell

    @classmethod
    def of(
        cls, priced: PricedNetwork, spec: ArraySpec, macro: MacroSpec, draws: Draws, write: CellPulse | None
    ) -> _Chip:
        cost = priced.result
        assert cost.mapping is not None
        base = Macro(spec.model_copy(update={"layers": {}}), macro, draws)
        circuits = base.circuits
        grouped: dict[str, _Kind] = {}
        for w in cost.mapping.layers:
            made = Macro(array_of(spec, w.name), macro, draws)
            key = made.array.model_dump_json()
            if key not in grouped:
                grouped[key] = _Kind(made, _controlled(made.prices["macro"], made.control), [])
            grouped[key].layers.append(w.name)
        plain = {"digital unit": macro.digital_units * circuits["mac area"],
                 "buffer": macro.buffer * 8 * circuits["SRAM area"]}  # fmt: skip
        each = None
        if write is not None:
            each = write.energy + circuits["bit line"] * write.voltage**2 * (1 + draws["driver_overhead"])
        digital = digital_prices(circuits, priced.area)["macro"]
        return cls(
            cost, macro, list(grouped.values()), _controlled(digital, base.control),
            {name: a * (1 + circuits["routing"]) for name, a in plain.items()},
            {name: a * circuits["leakage"] for name, a in plain.items()}, each,
        )  # fmt: skip

    def prices_of(self, layer: LayerCost) -> Components:
        held = next((k for k in self.kinds if layer.name in k.layers), None)
        return self.digital if held is None or not layer.in_memory else held.prices | self.digital

    def arrays_of(self, layer: str) -> float:
        """Arrays that a layer has on the chip, copies included."""
        mapping = self.cost.mapping
        assert mapping is not None
        return mapping.built(next(w for w in mapping.layers if w.name == layer))


def _controlled(prices: Components, control: Floats) -> Components:
    """The prices with the share of clock and control in each action."""
    return {action: by | {CONTROL: control * sum(by.values())} for action, by in prices.items()}


@dataclass(frozen=True)
class _Instances:
    """A component of the architecture: one or several equal ones.

    Args:
        kind: its class.
        number: of instances, None for a single one.
        attributes: numbers only, since Accelergy evaluates texts.
        actions: energy [pJ] by action and part.
        areas: [um^2] of one instance by part.
        counts: of each action, all instances together.
    """

    kind: str
    number: int | None
    attributes: dict[str, float]
    actions: dict[str, dict[str, float]]
    areas: dict[str, float]
    counts: dict[str, float]

    @property
    def name(self) -> str:
        return self.kind if self.number is None else f"{self.kind}[0..{self.number - 1}]"

    @property
    def full_name(self) -> str:
        return f"chip.{self.name}"

    def as_class(self) -> dict[str, Any]:
        """The compound component: parts with their areas, actions that use parts."""
        parts = dict.fromkeys([*self.areas, *(p for by in self.actions.values() for p in by)])
        return {
            "name": self.kind,
            "attributes": self.attributes,
            "subcomponents": [
                {"name": _word(p), "class": _PRIMITIVE, "attributes": {"part_area": self.areas.get(p, 0.0)}}
                for p in parts
            ],
            "actions": [
                {"name": action, "subcomponents": [
                    {"name": _word(p), "actions": [{"name": "use", "arguments": {"part_energy": e}}]}
                    for p, e in by.items()
                ]} for action, by in self.actions.items()
            ],
        }  # fmt: skip


def _instances(chip: _Chip) -> list[_Instances]:
    cost, spec = chip.cost, chip.spec
    assert cost.mapping is not None
    cycle, whole = 1 / spec.clock, sum(w.seconds for w in cost.layers)
    where = {w.name: w for w in cost.mapping.layers}
    counts = {layer.name: layer.counts for layer in cost.layers}
    found, working = [], 0.0  # working: time of arrays at work [s]
    for number, kind in enumerate(chip.kinds):
        array = kind.macro.array
        held = sum(chip.arrays_of(name) for name in kind.layers)
        built = max(1, round(held))
        on = 0.0  # time that arrays are on, over all of them [s]
        for name in kind.layers:
            w = where[name]
            time = cost.steps * w.seconds
            working += time
            on += w.arrays * w.copies * time if spec.gated else chip.arrays_of(name) * whole
        actions = {a: _picojoules(by) for a, by in kind.prices.items()}
        actions["leak"] = {LEAK: 1e12 * cycle * float(np.median(kind.macro.leakage))}
        total = {a: sum(counts[name].get(a, 0.0) for name in kind.layers) for a in kind.prices} | {"leak": on / cycle}
        if chip.write is not None:
            actions["write"] = {"cells and bit lines": 1e12 * float(np.median(chip.write))}
            cells = sum(where[name].cells for name in kind.layers)
            total["write"] = cost.steps * cells if cost.mapping.reloaded else 0.0
        areas = {name: 1e12 * float(np.median(a)) * held / built for name, a in kind.macro.areas.items()}
        attributes: dict[str, float] = {"rows": array.rows, "columns": array.columns}
        found.append(_Instances(f"crossbar_{number}", built, attributes, actions, areas, total))
    # the buffer is always on, the digital unit only while it works
    busy = whole - working if spec.gated else whole
    for name, used, time, attributes in (
        ("digital unit", ("mac", "element"), busy, {"multiply_accumulate_units": float(spec.digital_units)}),
        ("buffer", ("byte",), whole, {"size_bytes": float(spec.buffer)}),
    ):
        actions = {a: _picojoules(chip.digital[a]) for a in used}
        actions["leak"] = {LEAK: 1e12 * cycle * float(np.median(chip.leakage[name]))}
        total = {a: sum(c.get(a, 0.0) for c in counts.values()) for a in used} | {"leak": time / cycle}
        areas = {name: 1e12 * float(np.median(chip.areas[name]))}
        found.append(_Instances(_word(name), None, attributes, actions, areas, total))
    return found


def _picojoules(by: Dict[str, Floats]) -> dict[str, float]:
    return {part: 1e12 * float(np.median(e)) for part, e in by.items()}


def _table(chip: _Chip, drawn: _Chip) -> list[ExportRow]:
    """Rows at nominal values, with the ranges of the drawn prices."""
    rows, by_name = [], {layer.name: layer for layer in drawn.cost.layers}
    where = {name: kind for kind in chip.kinds for name in kind.layers}
    ranges: dict[int, Estimate] = {}  # of drawn prices, which many layers share

    def ends(price: Floats) -> Estimate:
        if id(price) not in ranges:
            ranges[id(price)] = Estimate.of_draws(1e12 * price)
        return ranges[id(price)]

    for layer in chip.cost.layers:
        prices, other = chip.prices_of(layer), drawn.prices_of(layer)
        for action, count in layer.counts.items():
            for part, price in prices.get(action, {}).items():
                e = ends(other[action][part])
                rows.append(ExportRow(
                    layer=layer.name, action=action, component=part, count=count,
                    energy=1e12 * count * float(np.median(price)), energy_low=count * e.low, energy_high=count * e.high,
                ))  # fmt: skip
        leak = layer.energy["macro"]["leakage"]
        e = by_name[layer.name].energy["macro"]["leakage"]
        rows.append(ExportRow(layer=layer.name, action="leak", component=LEAK, count=layer.seconds * chip.spec.clock,
                              energy=leak.value, energy_low=e.low, energy_high=e.high))  # fmt: skip
        rows.append(ExportRow(layer=layer.name, action="time", component="", count=1.0, seconds=layer.seconds))
        if layer.name in where:
            arrays = chip.arrays_of(layer.name)
            rows += [
                ExportRow(layer=layer.name, action="area", component=part, count=arrays,
                          area=1e12 * arrays * float(np.median(a)))
                for part, a in where[layer.name].macro.areas.items()
            ]  # fmt: skip
    rows += [
        ExportRow(layer=CHIP, action="area", component=name, count=1.0, area=1e12 * float(np.median(a)))
        for name, a in chip.areas.items()
    ]
    cost = chip.cost
    if (written := cost.by_action["macro"].get("write")) is not None:
        e = drawn.cost.by_action["macro"]["write"]
        rows.append(ExportRow(
            layer=CHIP, action="write", component="writing of weights", count=cost.steps * cost.writes,
            energy=written.value, energy_low=e.low, energy_high=e.high,
            seconds=cost.seconds.value - sum(layer.seconds for layer in cost.layers),
        ))  # fmt: skip
    return rows


def _word(text: str) -> str:
    """A name that Accelergy takes: small letters, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def _csv(head: tuple[str, ...], rows: list[list[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return out.getvalue()
