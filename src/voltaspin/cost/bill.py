"""The bill of a network in memory, for one image: medians with 90 % intervals."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from voltaspin.core.format import energies, quantity
from voltaspin.core.quantity import Estimate, Grade
from voltaspin.core.result import Boundary, Part, Result, Unit
from voltaspin.cost.mapping import Mapping
from voltaspin.cost.pricing import BOUNDARIES

_COSTLIEST = 8  # layers that a summary names


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
