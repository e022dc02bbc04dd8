"""The memory beside conventional generators: every reading of "better", and what speaks against it.

"About 10^3 better energy-per-bit-per-area" can be read as a ratio of energies, of areas, of their product or
of their quotient, each at three boundaries. All are computed; those that come to 10^3 are named with the
assumption behind them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.core.quantity import Estimate
from voltaspin.cost.results import ABOUT_A_THOUSAND, Cost, CostRow, Metric, Ratio
from voltaspin.cost.table import CellPulse, CostTable, conventional_rows, si

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_METRICS: tuple[tuple[Metric, str], ...] = (
    ("energy", "energy_per_bit"),
    ("area", "area_um2"),
    ("energy x area", "energy_area"),
    ("energy / area", "energy_over_area"),
)
_LEFT_OUT = {
    "cell": "the junction alone is charged; lines, drivers, sensing and conditioning are left out",
    "cell+line": "junction and bit line are charged; drivers, sensing and conditioning are left out",
    "macro": "everything counted is charged, with assumed periphery and the area of the whole array",
}


def energy_text(pJ: float) -> str:
    """An energy with the prefix that reads best: ``energy_text(0.072)`` is ``"72 fJ"``."""
    if pJ == 0:
        return "0 fJ"
    steps = ((1e-3, "aJ"), (1.0, "fJ"), (1e3, "pJ"), (1e6, "nJ"), (1e9, "µJ"), (1e12, "mJ"), (1e15, "J"))
    # 0.9995 so that 999.7 fJ is printed as 1 pJ, not as 1e+03 fJ
    for limit, name in steps:
        if abs(pJ) < limit * 0.9995:
            return f"{pJ / limit * 1e3:.3g} {name}"
    return f"{pJ / 1e15:.3g} kJ"


def spread_parts(e: Estimate) -> tuple[str, str, str]:
    """Median of an energy [pJ], its unit, and its range in that unit: ``("12.1", "pJ", "4.1 to 45")``."""
    value, unit = energy_text(e.value).split(" ")
    scale = e.value / float(value)
    return value, unit, f"{digits(e.low / scale)} to {digits(e.high / scale)}"


def energies(e: Estimate | None) -> str:
    """``"12.1 (4.1 to 45) pJ"``"""
    if e is None:
        return "-"
    value, unit, ends = spread_parts(e)
    return f"{value} ({ends}) {unit}"


def digits(value: float) -> str:
    """Two significant digits, as a plain number: ``"0.021"``, ``"3,400"``; a power of ten below a millionth."""
    if value >= 10:
        return f"{float(f'{value:.2g}'):,.0f}"
    if 0 < value < 1e-4:
        places = 1 - math.floor(math.log10(value))
        return f"{value:.{places}f}" if value >= 1e-6 else f"{value:.1e}"
    return f"{value:.2g}"


def ratio_text(ratio: float) -> str:
    """``"1,280×"``, ``"0.021×"``, ``"1.3·10⁵×"``."""
    if ratio >= 1e5 or ratio < 1e-4:
        mantissa, exponent = f"{ratio:.1e}".split("e")
        return f"{mantissa}·10{str(int(exponent)).translate(SUPERSCRIPT)}×"
    return f"{float(f'{ratio:.3g}'):,.0f}×" if ratio >= 100 else f"{ratio:.2g}×"


def ratios(ours: Sequence[CostRow], conventional: Sequence[CostRow]) -> tuple[Ratio, ...]:
    """Conventional over ours for each metric, boundary and source with both numbers; above 1 we win.

    Args:
        ours: rows of :func:`voltaspin.cost.table.price`.
        conventional: rows of :func:`voltaspin.cost.table.conventional_rows`.

    Returns:
        One entry per pair and metric for which both sides have a number that could be read.
    """
    found = []
    for own in ours:
        for other in conventional:
            for metric, field in _METRICS:
                a, b = getattr(other, field), getattr(own, field)
                guess = other.how == "unread" and metric != "area"
                if a is None or not b or guess or other.family == "vcma":
                    continue
                assumption = _LEFT_OUT[own.boundary]
                if metric != "energy" and own.boundary != "macro":
                    assumption += "; one cell's area against a whole generator"
                if metric == "energy / area":
                    assumption += (
                        "; grows by itself with the size of the array"
                        if own.boundary == "macro"
                        else "; a small area counts against the memory"
                    )
                found.append(
                    Ratio(
                        metric=metric,
                        boundary=own.boundary,
                        against=other.name,
                        ratio=a / b,
                        assumption=assumption,
                    )
                )
    return tuple(found)


def about_a_thousand(all_ratios: Sequence[Ratio]) -> tuple[Ratio, ...]:
    """The readings within half a decade of 10^3, nearest first."""
    low, high = ABOUT_A_THOUSAND
    near = [r for r in all_ratios if low <= r.ratio <= high]
    return tuple(sorted(near, key=lambda r: abs(math.log10(r.ratio) - 3)))


def counterweights(
    ledger: Ledger,
    ours: Sequence[CostRow],
    *,
    pulse: CellPulse,
    table: CostTable,
    images: int | None = None,
    macs_per_image: int | None = None,
) -> tuple[str, ...]:
    """Sentences that weigh against the memory, each computed from the numbers.

    Args:
        ledger: what was counted.
        ours: its rows, one per boundary.
        pulse: the stochastic pulse.
        table: prices.
        images: that the ledger's numbers made.
        macs_per_image: multiply-accumulates of the network per image, to show the noise's share.
    """
    counts = ledger.totals()
    at = {row.boundary: row for row in ours}
    line = table.line_energy(pulse.voltage) * 1e12
    cell = pulse.energy * 1e12
    said = [
        f"Driving the bit line takes {energy_text(line)} per pulse, {line / cell:,.0f} times the "
        f"{energy_text(cell)} of the cell itself."
    ]
    best = _cheapest(conventional_rows(table, "bit"), "energy_per_bit", how="silicon")
    if best and (row := at["cell+line"]).energy_per_bit and best.energy_per_bit:
        more = row.energy_per_bit > best.energy_per_bit
        said.append(
            f"With its line a conditioned bit costs {energy_text(row.energy_per_bit)}, "
            f"{'more' if more else 'less'} than the {energy_text(best.energy_per_bit)} of the most frugal "
            f"measured CMOS generator in the table ({best.name})."
        )
    gauss = _cheapest(conventional_rows(table, "normal"), "energy_per_normal", how="silicon")
    if gauss and gauss.energy_per_normal and at["cell"].energy_per_normal and counts.get("normal"):
        switched = sum(counts.get(a, 0) for a in ("pulse", "reset"))
        cell_normal, line_normal = at["cell"].energy_per_normal, at["cell+line"].energy_per_normal or 0.0
        verdict = "more" if cell_normal > gauss.energy_per_normal else "less"
        said.append(
            f"One Gaussian number took {switched / counts['normal']:.3g} pulses and resets here: "
            f"{energy_text(cell_normal)} in the cells alone, {verdict} than the "
            f"{energy_text(gauss.energy_per_normal)} of the best CMOS Gaussian generator per sample, and "
            f"{energy_text(line_normal)} with the lines. The advantage is per bit."
        )
    worse = [r for r in ratios([at["cell"]], conventional_rows(table, "bit")) if r.metric == "energy / area"]
    if worse:
        losing = sum(r.ratio < 1 for r in worse)
        said.append(
            f"Read literally, energy per bit divided by area, the cell is worse than {losing} of "
            f"{len(worse)} generators whose area is known: its area is what is small."
        )
    if counts.get("read"):
        said.append(
            f"A pulse per nanosecond is not a bit per nanosecond: one read of one cell takes about "
            f"{table.read_width.value:g} {table.read_width.unit} to charge the line."
        )
    if (parts := at["macro"].parts).get("lookup") and parts["lookup"] > 0.5 * sum(parts.values()):
        share = parts["lookup"] / sum(parts.values())
        said.append(
            f"At the boundary of the macro {100 * share:.0f} % of the energy goes into reading the "
            "inverse-CDF table, not into randomness."
        )
    if macs_per_image and images and (macro := at["macro"].energy_per_image):
        mac = (si(table.operations["mul float32"]) + si(table.operations["add float32"])) * 1e12
        network = mac * macs_per_image
        said.append(
            f"The network's own arithmetic, in float32 at 45 nm, takes {energy_text(network)} per image; "
            f"all its noise takes {energy_text(macro)} at the boundary of the macro, "
            f"{100 * macro / (macro + network):.2g} % of the sum."
        )
    return tuple(said)


def _cheapest(rows: Sequence[CostRow], field: str, *, how: str) -> CostRow | None:
    known = [r for r in rows if r.how == how and getattr(r, field) is not None]
    return min(known, key=lambda r: getattr(r, field), default=None)


def compare(
    ledger: Ledger,
    ours: Sequence[CostRow],
    *,
    pulse: CellPulse,
    table: CostTable | None = None,
    images: int | None = None,
    macs_per_image: int | None = None,
) -> Cost:
    """The cost section of the results: priced rows beside the table's generators.

    Args:
        ledger: what was counted.
        ours: rows that :func:`voltaspin.cost.table.price` made of it, with the same table.
        pulse: the stochastic pulse.
        table: prices; the package's own by default.
        images, macs_per_image: see :func:`counterweights`.

    Raises:
        InputError: ``ours`` does not have one row for each boundary.
    """
    table = table or CostTable.default()
    if sorted(row.boundary for row in ours) != ["cell", "cell+line", "macro"]:
        raise InputError(f"{len(ours)} priced rows given; pass all rows that price() returned")
    bits = conventional_rows(table, "bit")
    every = ratios(ours, bits)
    return Cost(
        table=table.name,
        counts=ledger.totals(),
        pulse_energy_fJ={
            "ohmic": pulse.ohmic * 1e15,
            "charging": pulse.charging * 1e15,
            "line": table.line_energy(pulse.voltage) * 1e15,
        },
        rows=(*ours, *bits),
        normals=(*(r for r in ours if r.energy_per_normal is not None), *conventional_rows(table, "normal")),
        ratios=every,
        thousand=about_a_thousand(every),
        counterweights=counterweights(
            ledger, ours, pulse=pulse, table=table, images=images, macs_per_image=macs_per_image
        ),
    )
