"""A priced ledger beside conventional generators, and the facts that speak against the memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.format import energies, energy
from voltaspin.core.ledger import Ledger
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Boundary, Part, Result, Unit
from voltaspin.cost.bill import ComputeCost
from voltaspin.cost.jobs import ARRAY, image_job, network_seconds, training_job, workload
from voltaspin.cost.merit import FigureOfMerit, drawn_source, estimates, figure_of_merit, metrics
from voltaspin.cost.network import priced_network
from voltaspin.cost.pricing import BOUNDARIES, Prices, picojoules, price
from voltaspin.cost.processors import processor_rng
from voltaspin.cost.table import Draws, Floats, si_unit
from voltaspin.device import Junction, Pulse
from voltaspin.memory import ArraySpec

if TYPE_CHECKING:
    from voltaspin.diffusion.pipelines import Pipeline


class CostRow(Part):
    """The cost of one random number from one source at one boundary: medians with 90 % intervals.

    Args:
        key, name: of the source.
        ours: whether it is the memory.
        energy: per bit or per Gaussian number [pJ].
        area: of the generator; at the macro that of the array [um^2].
        energy_area, energy_over_area: [pJ um^2] and [pJ/um^2], of bits.
        rate, node_nm, how, family: as printed.
        grade, area_grade: the weakest among the numbers used.
        source: of the energy.
    """

    key: str
    name: str
    ours: bool
    boundary: Boundary
    energy: Estimate
    area: Estimate | None = None
    energy_area: Estimate | None = None
    energy_over_area: Estimate | None = None
    rate: str = ""
    node_nm: int | None = None
    how: str = ""
    family: Literal["cmos", "spin", "vcma"] = "cmos"
    grade: str
    area_grade: str | None = None
    source: str


class Cost(Result):
    """A priced ledger beside conventional sources.

    Args:
        table: name of the cost table.
        samples: draws behind each number.
        counts: totals of the ledger.
        per_pulse: energy of one pulse [pJ], by boundary.
        per_image: energy of the random numbers of one image [pJ], by boundary.
        parts: energy of the ledger at the macro [pJ], by action.
        rows, normals: sources of bits and of Gaussian numbers.
        counterweights: sentences against the memory, computed from the numbers.
        network: the arithmetic of an image, in memory and not.
        figure_of_merit: the published factor in every reading.
    """

    KIND: ClassVar[str] = "cost"
    table: str
    samples: Annotated[int, Unit("draws")]
    counts: dict[str, int]
    per_pulse: dict[Boundary, Estimate]
    per_image: dict[Boundary, Estimate] = Field(default_factory=dict)
    parts: dict[str, Estimate]
    rows: tuple[CostRow, ...]
    normals: tuple[CostRow, ...]
    counterweights: tuple[str, ...]
    network: ComputeCost | None = None
    figure_of_merit: FigureOfMerit | None = None

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people: every source's energy, and what speaks against the memory."""
        rows = [(f"per bit, {r.name}, {r.boundary}", f"{energies(r.energy)} [{r.grade}]") for r in self.rows]
        rows += [(f"per normal, {r.name}, {r.boundary}", f"{energies(r.energy)} [{r.grade}]") for r in self.normals]
        rows += [("counterweight", text) for text in self.counterweights]
        return rows + (self.figure_of_merit.summary() if self.figure_of_merit else [])


def conventional_rows(draws: Draws, per: Literal["bit", "normal"]) -> tuple[CostRow, ...]:
    """Return the table's generators of bits or of Gaussian numbers."""
    rows = []
    for source in draws.table.sources:
        if source.per != per:
            continue
        found = estimates(metrics(*drawn_source(source, draws)))
        energy, area = source.energy, source.area
        rows.append(CostRow(
            key=source.key, name=source.name, ours=False, boundary=source.boundary,
            energy=energy.estimate("pJ", 1e12 * si_unit(energy)),
            area=None if area is None else area.estimate("um^2", 1e12 * si_unit(area)),
            energy_area=found.get("energy x area") if per == "bit" else None,
            energy_over_area=found.get("energy / area") if per == "bit" else None,
            rate=source.rate, node_nm=source.node_nm, how=source.how, family=source.family,
            grade=energy.grade, area_grade=area.grade if area else None, source=energy.source,
        ))  # fmt: skip
    return tuple(rows)


def own_rows(ledger: Ledger, prices: Prices, per: Literal["bit", "normal"]) -> tuple[CostRow, ...]:
    """Return the cost of a ledger's numbers at each boundary; none where it counts no such number.

    A bit takes everything but table reads and adders, a normal everything: give the part of a ledger that made one
    kind of number. Normals without table reads are taken to be sums of their bits, and charged for adders.
    """
    counts = with_adders(ledger)
    made = counts.get(per, 0)
    if not made:
        return ()
    used = {a: n / made for a, n in counts.items() if per == "normal" or a not in ("lookup", "adder")}
    rows = []
    for b in BOUNDARIES:
        found = estimates(metrics(prices.total(used, b), prices.area[b]))
        rows.append(CostRow(
            key=f"ours-{b}", name="VCMA memory of this run", ours=True, boundary=b, energy=found["energy"],
            area=found["area"], energy_area=found["energy x area"], energy_over_area=found["energy / area"],
            how="counted, priced", family="vcma", grade=prices.grades[b], area_grade=prices.draws.table.cell_area.grade,
            source=f"this run's ledger; {prices.draws.table.name}",
        ))  # fmt: skip
    return tuple(rows)


def with_adders(ledger: Ledger) -> dict[str, float]:
    """Return the totals of a ledger; without table reads its normals are sums: one full adder a bit at most."""
    counts: dict[str, float] = dict(ledger.totals())
    bits, normals = counts.get("bit", 0), counts.get("normal", 0)
    if normals and not counts.get("lookup") and bits > normals:
        counts["adder"] = bits - normals
    return counts


def compare(
    ledger: Ledger,
    prices: Prices,
    *,
    images: int | None = None,
    macs_per_image: float | None = None,
    network: ComputeCost | None = None,
    figure_of_merit: FigureOfMerit | None = None,
) -> Cost:
    """Price a ledger at each boundary, beside the table's generators.

    Args:
        ledger: counts of a memory that made random numbers.
        prices: of its actions; see :meth:`Prices.of`.
        images: that the ledger's numbers made.
        macs_per_image: multiply-accumulates of the network per image, for the noise's share.
        network, figure_of_merit: to stand beside it.

    Raises:
        InputError: an action was counted that has no price, or ``images`` is not positive.
    """
    if images is not None and images < 1:
        raise InputError(f"images = {images} must be at least 1")
    draws, counts = prices.draws, with_adders(ledger)
    whole = {b: prices.total(counts, b) for b in BOUNDARIES}
    rows = (*own_rows(ledger, prices, "bit"), *conventional_rows(draws, "bit"))
    normals = (*own_rows(ledger, prices, "normal"), *conventional_rows(draws, "normal"))
    parts = {a: prices.total({a: n}, "macro") for a, n in counts.items()}
    return Cost(
        table=draws.table.name, samples=draws.samples, counts=ledger.totals(), rows=rows, normals=normals,
        per_pulse=price({"pulse": 1}, prices),
        per_image={b: picojoules(e / images) for b, e in whole.items()} if images else {},
        parts={a: picojoules(e) for a, e in parts.items() if e.any()},
        counterweights=counterweights(counts, prices, rows, normals, images=images, macs_per_image=macs_per_image),
        network=network, figure_of_merit=figure_of_merit,
    )  # fmt: skip


def cost_of_images(
    ledger: Ledger, pipeline: Pipeline, *, images: int, steps: int, junction: Junction, pulse: Pulse, cells: int
) -> Cost:
    """Price the noise of sampled images, the network in arrays, and the published factor, each from the same draws.

    Args:
        ledger: of a memory source that made every number of the images.
        pipeline: that sampled them, with ``steps`` ancestral steps each.
        junction, pulse, cells: of the memory.
    """
    counts = ledger.totals()
    per_bit: dict[str, Any] = {"cells_per_bit": counts["pulse"] // counts["bit"]}
    resets = counts["reset"] / counts["pulse"]
    prices = Prices.of(junction, pulse, cells=cells)
    network = priced_network(pipeline, ArraySpec.preset(ARRAY), steps=steps, array=ARRAY, draws=prices.draws)
    # Short periods and no GPU, so that nobody waits for them; ``voltaspin cost`` measures longer.
    processors, notes = processor_rng(prices.draws.table, gpu=False, seconds=0.1, repeats=3)
    # Training resets the array before every example, sampling once an image.
    jobs = image_job(pipeline, steps, resets=resets, **per_bit), training_job(pipeline, None, None, **per_bit)
    work = workload(
        prices, jobs, processors=processors, networks=network.by_machine(),
        own_network=network_seconds(pipeline, steps, repeats=2), notes=notes,
    )  # fmt: skip
    merit = figure_of_merit(junction, pulse, reset=resets, prices=prices, **per_bit)
    return compare(
        ledger, prices, images=images, macs_per_image=network.result.macs,
        network=network.result, figure_of_merit=merit.model_copy(update={"work": work}),
    )  # fmt: skip


def counterweights(
    counts: Mapping[str, float],
    prices: Prices,
    rows: Sequence[CostRow],
    normals: Sequence[CostRow],
    *,
    images: int | None = None,
    macs_per_image: float | None = None,
) -> tuple[str, ...]:
    """Return sentences that weigh against the memory, each computed from the numbers.

    Args:
        counts: what was counted.
        prices: of the memory.
        rows, normals: of bits and of Gaussian numbers, the memory's own first.
        images, macs_per_image: see :func:`compare`.
    """
    draws = prices.draws
    cell, lined = prices.energy["cell"]["pulse"], prices.energy["cell+line"]["pulse"]
    said = [f"Driving the bit line takes {_pJ(lined - cell)} per pulse, {np.median((lined - cell) / cell):,.0f} times "
            f"the {_pJ(cell)} of the cell itself."]  # fmt: skip
    bit, normal = ({r.boundary: r.energy.value for r in found if r.ours} for found in (rows, normals))
    best = min((r for r in rows if r.how == "silicon"), key=lambda r: r.energy.value, default=None)
    if best and bit:
        more = bit["cell+line"] > best.energy.value
        said.append(
            f"With its line a conditioned bit costs {energy(bit['cell+line'])}, {'more' if more else 'less'} than the "
            f"{energy(best.energy.value)} of the most frugal measured CMOS generator in the table ({best.name})."
        )
    gauss = min((r for r in normals if r.how == "silicon"), key=lambda r: r.energy.value, default=None)
    if gauss and normal.get("cell"):
        switched = sum(counts.get(a, 0) for a in ("pulse", "reset"))
        verdict = "more" if normal["cell"] > gauss.energy.value else "less"
        said.append(
            f"One Gaussian number took {switched / counts['normal']:.3g} pulses and resets here: "
            f"{energy(normal['cell'])} in the cells alone, {verdict} than the {energy(gauss.energy.value)} of the best "
            f"CMOS Gaussian generator per sample, and {energy(normal['cell+line'])} with the lines. The advantage is "
            "per bit."
        )
    ours = next((r.energy_over_area for r in rows if r.ours and r.energy_over_area), None)
    known = [r.energy_over_area.value for r in rows
             if not r.ours and r.energy_over_area and r.how != "unread" and r.family != "vcma"]  # fmt: skip
    if ours and known:
        said.append(
            f"Read literally, energy per bit divided by area, the cell is worse than "
            f"{sum(e < ours.value for e in known)} of {len(known)} generators whose area is known: its area is what "
            "is small."
        )
    if counts.get("read"):
        width = draws.table.read_width
        said.append(
            "A pulse per nanosecond is not a bit per nanosecond: one read of one cell takes about "
            f"{width.value:g} {width.unit} to charge the line."
        )
    whole = prices.total(counts, "macro")
    if counts.get("lookup") and (share := np.median(counts["lookup"] * draws["lookup"] / whole)) > 0.5:
        said.append(
            f"At the boundary of the macro {100 * share:.0f} % of the energy goes into reading the inverse-CDF table, "
            "not into randomness."
        )
    if macs_per_image and images:
        noise = whole / images
        network = (draws["mul float32"] + draws["add float32"]) * macs_per_image
        said.append(
            f"The network's own arithmetic, in float32 at 45 nm, takes {_pJ(network)} per image; all its noise takes "
            f"{_pJ(noise)} at the boundary of the macro, {100 * np.median(noise / (noise + network)):.2g} % of the sum."
        )
    return tuple(said)


def _pJ(joules: Floats) -> str:
    return energy(1e12 * float(np.median(joules)))
