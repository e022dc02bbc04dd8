"""The cost of a network in memory for each image, by layer and by kind of action, and on a conventional machine.

The crossbars' ledger counts, the cost table prices, at the three boundaries of :mod:`voltaspin.cost.pricing`:

* ``cell``: current through the cells;
* ``cell+line``: adds the word and bit lines;
* ``macro``: adds drivers, converters, adders, buffers, and the digital unit for the work that is not in memory.

Assumed throughout: arrays hold all weights at once and all tiles of a layer work at the same time. Layers work one
after another, those of the digital unit among them. Writing the weights is counted once and listed apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.format import energies, quantity
from voltaspin.core.quantity import Estimate, Grade, Sourced
from voltaspin.core.result import Boundary, Part, Result, Unit
from voltaspin.cost.pricing import BOUNDARIES, ActionPrices, CellPulse, Draws, Floats, picojoules, si, weakest

if TYPE_CHECKING:
    from torch import nn

    from voltaspin.diffusion.pipelines import Pipeline
    from voltaspin.memory import ArraySpec, Coverage
    from voltaspin.memory.crossbar.readout import Readout

_BYTES = 8  # of one access that the table prices
#: Multiply-accumulates of the digital unit beside the arrays, which does what is not in memory.
DIGITAL_RATE = Sourced(1e12, "1/s", "1,024 multiply-accumulate units at 1 GHz", "assumed", 1e11, 1e13)
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
        mac_fraction: share of the multiply-accumulates in memory.
        steps: network evaluations per image.
        by_action: energy [pJ] by boundary and action.
        total: [pJ] by boundary.
        cells, area: in use, and of the macros that hold them [mm^2].
        writes, writing: cells written once for the weights, and their energy at the macro [pJ]; None without a price.
        conventional: energy [pJ] of the same network in 8-bit integers on a digital machine, by action.
        conventional_total: their sum [pJ].
        seconds: time per image.
        grade: the weakest number in it.
        assumptions: in words.
    """

    KIND: ClassVar[str] = "compute-cost"
    VERSION: ClassVar[int] = 2
    array: str = ""
    layers: tuple[LayerCost, ...] = Field(repr=False)
    mac_fraction: float
    steps: float
    by_action: dict[Boundary, dict[str, Estimate]]
    total: dict[Boundary, Estimate]
    cells: int
    area: Estimate
    writes: int
    writing: Estimate | None
    conventional: dict[str, Estimate]
    conventional_total: Estimate
    seconds: Annotated[float, Unit("s")]
    grade: Grade
    assumptions: tuple[str, ...] = ()

    @property
    def costliest(self) -> list[LayerCost]:
        """Layers by their energy at the macro, the costliest first."""
        return sorted(self.layers, key=lambda layer: -layer.total["macro"].value)

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people: energies by action and boundary, time, area, the costliest layers, assumptions."""
        rows = [(f"{action}, {b}", energies(e)) for b in BOUNDARIES for action, e in self.by_action[b].items()]
        rows += [(f"energy per image, {b}", energies(self.total[b])) for b in BOUNDARIES]
        rows += [
            ("int8 on a digital machine", f"{energies(self.conventional_total)}: "
             + ", ".join(f"{a} {energies(e)}" for a, e in self.conventional.items())),
            ("time per image", quantity(self.seconds, "s")),
            ("arrays", f"{self.cells:,} cells, macros of {self.area:.3g}; {self.steps:g} network evaluations"),
        ]  # fmt: skip
        if self.writing is not None:
            rows.append(("writing the weights once", f"{self.writes:,} cells, {energies(self.writing)}"))
        whole = self.total["macro"].value
        for layer in self.costliest[:_COSTLIEST]:
            e = layer.total["macro"]
            where = "" if layer.in_memory else ", digital"
            rows.append((f"layer {layer.name}", f"{energies(e)}, {e.value / whole:.1%}{where}"))
        return [*rows, ("weakest grade", self.grade), *(("assumption", text) for text in self.assumptions)]


@dataclass(frozen=True)
class PricedNetwork:
    """The drawn energies of one image of a network, from which :class:`ComputeCost` takes its medians and ranges.

    Args:
        result: medians and ranges.
        energy: in crossbars at the macro [J]; float64 (samples,).
        digital: on the digital machine [J].
    """

    result: ComputeCost
    energy: Floats
    digital: Floats

    def by_machine(self) -> dict[str, Floats]:
        """Drawn energy [J] of an image's arithmetic on the digital machine and in crossbars."""
        return {"an int8 digital machine": self.digital, f"crossbars ({self.result.array})": self.energy}


def compute_cost(
    model: nn.Module,
    coverage: Coverage,
    *,
    images: int,
    per_image: float = 1.0,
    write: CellPulse | None = None,
    array: str = "",
    draws: Draws | None = None,
) -> ComputeCost:
    """Price the work that a converted model has counted; see :func:`network_draws` for the arguments."""
    return network_draws(
        model, coverage, images=images, per_image=per_image, write=write, array=array, draws=draws
    ).result


def network_draws(
    model: nn.Module,
    coverage: Coverage,
    *,
    images: int,
    per_image: float = 1.0,
    write: CellPulse | None = None,
    array: str = "",
    draws: Draws | None = None,
) -> PricedNetwork:
    """Price the work that a converted model has counted, draw by draw.

    Args:
        model: from ``convert``; its ledger holds the work of ``images`` images.
        coverage: the report of ``convert``.
        images: that the ledger's work made.
        per_image: how many times that work makes an image, where only some of its evaluations were counted.
        write: pulse that writes a cell, to price the weights' writing.
        array: preset or file of the arrays, for people.
        draws: of the cost table; a thousand of the package's own where None.

    Raises:
        InputError: nothing was counted yet, ``images`` is not positive, or not all of the model's work is known.
    """
    from voltaspin.memory.crossbar.counting import NETWORK
    from voltaspin.memory.crossbar.layer import MemoryLayer, context_of

    if images < 1:
        raise InputError(f"images = {images}: give how many images the ledger's work made, at least 1")
    if coverage.macs is None or coverage.mac_fraction is None:
        raise InputError(f"a price needs every multiply-accumulate of the model, whose number is {coverage.unknown}")
    draws = draws or Draws()
    table, context = draws.table, context_of(model)
    readouts = {m.name: m.crossbar.readout for m in model.modules() if isinstance(m, MemoryLayer)}
    layers, writes, moved = [], 0, 0.0
    drawn: ActionPrices = {b: {} for b in BOUNDARIES}
    for name, ledger in context.ledger.children.items():
        counts = {a: n * per_image / images for a, n in ledger.totals().items() if a not in ("write", "activation")}
        writes += ledger.total("write")
        if not counts or name == NETWORK:
            continue
        readout = readouts.get(name)
        energy = {b: {a: prices[a] * n for a, n in counts.items() if a in prices and n}
                  for b, prices in _prices(readout, draws).items()}  # fmt: skip
        for b in BOUNDARIES:
            for a, joules in energy[b].items():
                drawn[b][a] = drawn[b].get(a, 0.0) + joules
        moved += counts.get("byte", 0.0)
        if readout is None:
            seconds = counts.get("mac", 0.0) / DIGITAL_RATE.value
        else:
            each = readout.activation_time(si(table.read_width), table.adc_sharing.value * si(table.adc_time))
            seconds = ledger.total("activation") * per_image / images * each
        layers.append(LayerCost(
            name=name, in_memory=readout is not None, counts=counts, energy=_each(energy), seconds=seconds,
            total={b: picojoules(_sum(energy[b].values(), draws)) for b in BOUNDARIES},
        ))  # fmt: skip
    if not layers:
        raise InputError("the model has computed nothing yet; sample with it first, then price its ledger")
    evaluations = context.ledger.child(NETWORK).total("evaluation") * per_image / images
    if not evaluations:
        raise InputError("the ledger holds no call of the model as a whole; call the model, not its parts")
    total = {b: _sum(by.values(), draws) for b, by in drawn.items()}
    conventional = _conventional(coverage, moved, evaluations, draws)
    digital = _sum(conventional.values(), draws)
    used = [table.line_capacitance, table.driver_overhead, table.dac, table.full_adder, table.input_square,
            table.cell_area, *table.adc.values()]  # fmt: skip
    writing = None
    if write is not None:
        line = draws["line_capacitance"] * write.voltage**2 * (1 + draws["driver_overhead"])
        writing = picojoules(writes * (write.energy + line))
    result = ComputeCost(
        array=array, layers=tuple(layers), mac_fraction=coverage.mac_fraction, steps=evaluations,
        by_action=_each(drawn), total={b: picojoules(e) for b, e in total.items()}, cells=coverage.cells,
        area=Estimate.of_draws(1e6 * coverage.cells * draws.cell_area / draws["array_efficiency"], unit="mm^2"),
        writes=writes, writing=writing, conventional={a: picojoules(e) for a, e in conventional.items()},
        conventional_total=picojoules(digital), seconds=sum(layer.seconds for layer in layers), grade=weakest(used),
        assumptions=(
            f"a converter for every {table.adc_sharing.value:g} columns, one conversion in "
            f"{si(table.adc_time) * 1e9:g} ns; its area counts as part of the {1 - table.array_efficiency.value:.0%} "
            "of a macro that is not cells (assumed)",
            f"a digital unit of {DIGITAL_RATE.value:.0e} multiply-accumulates per second ({DIGITAL_RATE.low:.0e} to "
            f"{DIGITAL_RATE.high:.0e}) for what is not in memory (assumed)",
            f"inputs with a mean square of {table.input_square.value:g} of the largest (assumed)",
            "digital machine: int8 multiply and int32 add; activations through 32 KB of SRAM, weights once per "
            "evaluation from 1 MB; the upper end adds one byte of SRAM to every multiply-accumulate, the lower end "
            "reads a weight in every tenth evaluation (assumed)",
        ),
    )  # fmt: skip
    return PricedNetwork(result, total["macro"], digital)


def priced_network(
    pipeline: Pipeline, spec: ArraySpec, *, steps: int, array: str = "", write: CellPulse | None = None,
    draws: Draws | None = None,
) -> tuple[PricedNetwork, Coverage]:  # fmt: skip
    """Price one image with the pipeline's network in crossbars, and return what they cover.

    Every evaluation counts the same, so two of them stand for all ``steps``.
    """
    from voltaspin.diffusion import sample
    from voltaspin.memory import convert
    from voltaspin.noise import PseudoSource

    made = min(steps, 2)
    unet, coverage = convert(pipeline.unet, spec)
    sample(replace(pipeline, unet=unet), PseudoSource(seed=0), count=1, steps=made)
    cost = network_draws(unet, coverage, images=1, per_image=steps / made, write=write, array=array, draws=draws)
    return cost, coverage


def _sum(terms: Iterable[Floats], draws: Draws) -> Floats:
    return sum(terms, start=np.zeros(draws.samples))


def _each(energy: ActionPrices) -> dict[Boundary, dict[str, Estimate]]:
    return {b: {a: picojoules(e) for a, e in by.items()} for b, by in energy.items()}


def _prices(readout: Readout | None, draws: Draws) -> ActionPrices:
    """Energy [J] of each action of one layer, by boundary."""
    at: ActionPrices = {b: {} for b in BOUNDARIES}
    at["macro"] = {"mac": draws["mul int8"] + draws["add int32"], "byte": draws["SRAM 32 KB"] / _BYTES}
    if readout is None:
        return at
    for part in readout.energy(si(draws.table.read_width)):
        energy = np.full(draws.samples, part.factor)
        for entry in part.entries:
            if isinstance(entry, Sourced):
                energy = energy * draws.of(entry, "input bits")
            else:
                energy = energy * (adc_energy(draws, readout.spec.adc_bits) if entry == "adc" else draws[entry])
        for b in BOUNDARIES[BOUNDARIES.index(part.since) :]:
            at[b][part.action] = at[b].get(part.action, 0.0) + energy
    return at


def adc_energy(draws: Draws, bits: int) -> Floats:
    """Return the energy [J] of one conversion.

    Below the table's bits it is that of its fewest; above them it doubles with each bit.
    """
    known = sorted(int(b) for b in draws.table.adc)
    nearest = min(max(bits, known[0]), known[-1])
    return draws.of(draws.table.adc[str(nearest)], "adc") * 2.0 ** max(bits - known[-1], 0)


def _conventional(coverage: Coverage, moved: float, evaluations: float, draws: Draws) -> dict[str, Floats]:
    """Energy [J] per image of the same network in 8-bit integers.

    How often data are moved again is unknown: at most a byte for each multiply-accumulate, and no weight at best.
    """
    assert coverage.macs_per_image is not None
    macs = coverage.macs_per_image * evaluations
    read = sum(w.weights for w in coverage.layers) * evaluations
    activations = Sourced(moved, "1", "bytes of activations", "assumed", moved, moved + macs)
    weights = Sourced(read, "1", "bytes of weights", "assumed", 0.0, read)
    return {
        "multiply-accumulate": (draws["mul int8"] + draws["add int32"]) * macs,
        "activations": draws["SRAM 32 KB"] / _BYTES * draws.of(activations, "activations"),
        "weights": draws["SRAM 1 MB"] / _BYTES * draws.of(weights, "weights"),
    }
