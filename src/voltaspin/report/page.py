"""The page: everything a run found in one self-contained HTML file, and its summary for the terminal.

No script, no outside address, pictures as data URIs. Every number is formatted from the results.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup, escape
from rich.console import Group
from rich.table import Table

from voltaspin.core.errors import InputError
from voltaspin.core.files import write_text
from voltaspin.core.quantity import Estimate
from voltaspin.cost.comparison import SUPERSCRIPT, digits, energies, energy_text, ratio_text, spread_parts
from voltaspin.cost.results import ABOUT_A_THOUSAND, Claim, Metric, Reading
from voltaspin.report.results import (
    Boundary,
    CostRow,
    DemoResults,
    Device,
    Provenance,
    Quality,
    QualityRow,
    Ratio,
    Score,
)

#: What each kind of provenance means, in words that promise no more than it holds.
MEANING: dict[Provenance, str] = {
    "simulated": "The junctions are simulated; their chance is drawn from a counter-based pseudo-random "
    "generator. Statistics of the device, no physical randomness.",
    "recorded": "Bits measured on a device earlier and replayed; nothing is pseudo-random.",
    "instrument": "Bits read from an instrument while it ran; nothing is pseudo-random.",
    "operating system": "Bits of the operating system's generator; no magnetic device was involved.",
    "pseudo": "Software pseudo-random numbers, the baseline; no device was involved.",
}


#: Ledger actions as the page counts them.
COUNTED = {
    "pulse": "stochastic pulses",
    "reset": "resets",
    "write": "writes",
    "read": "reads",
    "raw": "raw bits conditioned",
    "xor": "XORs",
    "and": "ANDs",
    "hash": "SHA-256 blocks",
    "bit": "conditioned bits",
    "normal": "Gaussian numbers",
    "lookup": "table reads",
}
#: Units of the readings that are no energies.
UNITS: dict[Metric, str] = {"area": "µm²", "energy x area": "pJ µm²", "energy / area": "pJ/µm²"}
_SYMBOL = re.compile(r"\b([A-Za-z]{1,3})_([A-Za-z0-9]{1,4})\b")


# numbers in words -------------------------------------------------------------------------------------


def number(value: float, digits: int = 3) -> str:
    """``digits`` significant digits, with a true minus and a readable power of ten."""
    if value == 0:
        return "0"
    if 1e-5 <= abs(value) < 1e6:
        places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
        text = f"{value:,.{places}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    else:
        mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
        text = f"{mantissa}·10{str(int(exponent)).translate(SUPERSCRIPT)}"
    return text.replace("-", "−")


def value_and_range(estimate: Estimate | Score) -> tuple[str, str]:
    """Value and ``"(low to high)"`` with as many places as the interval's width deserves."""
    width = estimate.high - estimate.low
    scale = width if width > 0 else max(abs(estimate.value), 1e-12)
    places = min(max(1 - math.floor(math.log10(scale)), 0), 7)
    value, low, high = (f"{x:.{places}f}".replace("-", "−") for x in (estimate.value, estimate.low, estimate.high))
    return value, f"({low} to {high})"


def interval(estimate: Estimate | Score) -> str:
    """``"0.0021 (0.0015 to 0.0027)"``"""
    return " ".join(value_and_range(estimate))


def symbols(text: str) -> Markup:
    """Escaped text in print: ``V_c`` with its index, ``+-2 mT`` as ±2 mT, ``J/m^3`` as J/m³, kOhm as kΩ."""
    for plain, printed in (("+-", "±"), ("^3", "³"), ("^2", "²"), ("Ohm", "Ω")):
        text = text.replace(plain, printed)
    return Markup(_SYMBOL.sub(r"<i>\1</i><sub>\2</sub>", str(escape(text))))


def seconds(value: float) -> str:
    """A duration: ``"0.30 ns"``, ``"42 s"``, ``"3 min 5 s"``."""
    if value < 1e-6:
        return f"{value * 1e9:.3g} ns"
    if value < 99.5:
        return f"{value:.3g} s"
    return f"{int(value + 0.5) // 60} min {int(value + 0.5) % 60} s"


def optional_energy(pJ: float | None) -> str:
    return "–" if pJ is None else energy_text(pJ)


def spread_cell(e: Estimate | None) -> Markup:
    """Median of an energy [pJ] above its range, both in the unit that the median asks for."""
    if e is None:
        return Markup("–")
    value, unit, ends = spread_parts(e)
    return above_range(f"{value} {unit}", ends)


def number_cell(e: Estimate | None, factor: float = 1.0, unit: str = "") -> Markup:
    """The same of a plain number, times ``factor``."""
    if e is None:
        return Markup("–")
    value, low, high = (digits(factor * x) for x in (e.value, e.low, e.high))
    return above_range(f"{value}{unit}", "" if low == high else f"{low} to {high}")


def above_range(value: str, ends: str) -> Markup:
    return Markup('{}<br><span class="ends">{}</span>').format(value, ends)


def optional_number(value: float | None) -> str:
    return "–" if value is None else number(value)


# what the page says -----------------------------------------------------------------------------------


def provenance_groups(results: DemoResults) -> list[tuple[str, str, list[str]]]:
    """Each kind of provenance in the run: its name, what it means, the arms that have it."""
    kinds: dict[str, list[str]] = {}
    for arm in results.reverse.arms:
        kinds.setdefault(arm.provenance, []).append(arm.name)
    return [(kind, MEANING[kind], kinds[kind]) for kind in MEANING if kind in kinds]


def barrier_text(device: Device) -> str:
    """How long the generator's bits last, from its barrier where the run gives one."""
    found = [q for q in device.derived if q.name.lower().startswith("barrier")]
    height = f" (barrier {number(found[0].value)} {found[0].unit})" if found else ""
    return (
        f"The generator junction{height} forgets within minutes: it draws bits and is no long-term memory. "
        "The storage junction, a different preset, keeps them. One junction cannot be both."
    )


def verdict(quality: Quality, arm: str) -> str:
    """What the paired difference of an arm says, in words."""
    difference = next((d for d in quality.differences if d.arm == arm), None)
    if difference is None:
        return "–"
    if difference.equivalent:
        apart = difference.kid.low > 0 or difference.kid.high < 0
        first = "different, yet " if apart else ""
        return f"{first}equivalent within ±{number(difference.margin or 0.0)}"
    if difference.kid.low > 0:
        return "worse than software"
    if difference.kid.high < 0:
        return "better than software"
    if difference.equivalent is None:
        return "no difference resolved"
    return f"not shown equivalent within ±{number(difference.margin or 0.0)}"


def ratio_ranges(ratios: Sequence[Ratio]) -> list[tuple[str, list[str]]]:
    """Per metric, the smallest to the largest ratio over all sources at each boundary."""
    boundaries: tuple[Boundary, ...] = ("cell", "cell+line", "macro")
    lines = []
    for metric in dict.fromkeys(r.metric for r in ratios):
        cells = []
        for boundary in boundaries:
            here = [r.ratio for r in ratios if r.metric == metric and r.boundary == boundary]
            cells.append(f"{ratio_text(min(here))} to {ratio_text(max(here))}" if here else "–")
        lines.append((metric.replace(" x ", " × "), cells))
    return lines


def reading_lines(claim: Claim) -> list[ReadingLine]:
    """The readings by metric and boundary: the ratios, against which generators they come to 10^3, what would."""
    lines = []
    for metric in dict.fromkeys(r.metric for r in claim.readings):
        for boundary in dict.fromkeys(r.boundary for r in claim.readings):
            here = [r for r in claim.readings if (r.metric, r.boundary) == (metric, boundary)]
            lines.append(ReadingLine(metric, boundary, here, claim.own[boundary][metric]))
    return lines


@dataclass(frozen=True)
class ReadingLine:
    """All generators under one metric at one boundary."""

    metric: Metric
    boundary: Boundary
    readings: Sequence[Reading]
    own: Estimate

    @property
    def met(self) -> list[Reading]:
        return [r for r in self.readings if r.likely]

    @property
    def verdict(self) -> str:
        """``"met against 2 of 10; above in 3, below in 5"``"""
        others = [r for r in self.readings if not r.likely]
        above = sum(r.ratio.value > ABOUT_A_THOUSAND[1] for r in others)
        below = sum(r.ratio.value < ABOUT_A_THOUSAND[0] for r in others)
        apart = [f"{n} {word}" for n, word in ((above, "above"), (below, "below"),
                                               (len(others) - above - below, "undecided")) if n]  # fmt: skip
        if self.met:
            word = f"met against {len(self.met)} of {len(self.readings)}"
        elif above == 0:
            word = "missed"
        else:
            word = "exceeded" if above == len(others) else "not met"
        return f"{word}; {', '.join(apart)}" if apart else word

    @property
    def ratios(self) -> str:
        found = [r.ratio.value for r in self.readings]
        return f"{ratio_text(min(found))} to {ratio_text(max(found))}"

    @property
    def needed(self) -> str:
        """What the memory would need, against the generator that asks most and the one that asks least."""
        found = [r.needed for r in self.readings]
        return f"{self._text(min(found))} to {self._text(max(found))}"

    @property
    def had(self) -> str:
        """What it has."""
        return self._text(self.own.value)

    def _text(self, value: float) -> str:
        return energy_text(value) if self.metric == "energy" else number(value, 2)  # the page names the unit once


def required_pictures(results: DemoResults) -> dict[str, str]:
    """Names of the pictures that the page of these results needs, with their alternative texts."""
    named = {
        "main": "Images sampled with noise drawn by the memory",
        "switching": "Switching probability against pulse width at two voltages",
        "conditioning": "Autocorrelation and mean of each cell, raw and conditioned",
        "forward": "Images on their way into noise",
        "quality_live": "Image quality of this run with intervals",
        "cost": "Energy per random bit of several generators on a logarithmic axis",
    }
    named |= {f"arm:{arm.key}": f"Images sampled with {arm.name}" for arm in results.reverse.arms}
    if claim := results.cost.claim:
        named["claim"] = "Ratios of conventional generators to the memory in four metrics, with ranges"
        if claim.work:
            named["image"] = "Energy of the random numbers of one image from several sources, beside its arithmetic"
    if results.quality.study:
        named["quality_study"] = "Image quality of the shipped study with intervals"
    return named


#: Pictures that the page shows where they are given.
OPTIONAL_PICTURES = {"reverse": "Noise on its way to images"}


def data_uri(picture: bytes) -> str:
    """A PNG as a data URI; raises InputError for other bytes."""
    if not picture.startswith(b"\x89PNG\r\n\x1a\n"):
        raise InputError(f"a picture of {len(picture)} bytes is no PNG; use the functions of report.figures")
    return "data:image/png;base64," + base64.b64encode(picture).decode("ascii")


def write_page(results: DemoResults, pictures: dict[str, bytes], path: Path | str) -> None:
    """Write the page, whole or not at all.

    Args:
        results: every number.
        pictures: PNG bytes named as in :func:`required_pictures`: ``charts(results)`` draws those that follow
            from the numbers; ``main``, ``forward`` and one ``arm:<key>`` per arm are grids of images;
            ``reverse`` may be added.
        path: of the HTML file; its folder must exist.

    Raises:
        InputError: a picture is missing, unknown, or no PNG.
    """
    from jinja2 import Environment, StrictUndefined

    texts = required_pictures(results)
    if missing := [name for name in texts if name not in pictures]:
        raise InputError(f"the page lacks {', '.join(missing)}; draw them with voltaspin.plots.demo")
    if unknown := [name for name in pictures if name not in texts | OPTIONAL_PICTURES]:
        raise InputError(f"the page has no place for {', '.join(unknown)}; known: {', '.join(texts)}")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "number": number,
        "interval": lambda estimate: interval(estimate).replace(" to ", "\xa0to\xa0"),
        "parts": value_and_range,
        "symbols": symbols,
        "seconds": seconds,
        "energy": optional_energy,
        "value": optional_number,
        "ratio": ratio_text,
    }
    template = environment.from_string((files("voltaspin.report") / "page.html.jinja").read_text(encoding="utf-8"))
    provenance = provenance_groups(results)
    html = template.render(
        r=results,
        picture={name: data_uri(data) for name, data in pictures.items()},
        alt=texts | OPTIONAL_PICTURES,
        provenance=provenance,
        barrier=barrier_text(results.device),
        device_kinds=[kind for kind, _, _ in provenance if kind in ("simulated", "recorded", "instrument")],
        verdict=verdict,
        spread=spread_cell,
        plain=number_cell,
        energies=energies,
        units=UNITS,
        counted=[(COUNTED.get(action, action), n) for action, n in results.cost.counts.items()],
        ratio_ranges=ratio_ranges(results.cost.ratios),
        reading_lines=reading_lines(results.cost.claim) if results.cost.claim else [],
        own={row.boundary: row for row in results.cost.rows if row.ours},
    )
    write_text(path, html)


# the same for the terminal ----------------------------------------------------------------------------


def summary_table(results: DemoResults) -> Group:
    """The page's summary for the terminal: device and bits, quality, cost. Print it with rich."""
    tables = [_bits_table(results), _quality_table(results.quality.live)]
    if results.quality.study:
        tables.append(_quality_table(results.quality.study))
    return Group(*tables, _cost_table(results))


def _bits_table(results: DemoResults) -> Table:
    chosen, memory = results.device.chosen, results.memory
    table = Table(title="Device and memory", title_justify="left", show_header=False)
    meets = "meets" if chosen.meets else "misses"
    table.add_row("junction", results.device.junction)
    table.add_row("pulse", f"{chosen.voltage:.3g} V, {seconds(chosen.width)}")
    table.add_row("worst |p − 1/2|", f"{number(chosen.worst_deviation)}, {meets} ±{number(chosen.tolerance)}")
    table.add_row("lag 1 = 1 − p01 − p10", interval(results.device.lag1))
    for bits in (memory.raw, memory.conditioned):
        table.add_row(f"bias, {bits.label}", interval(bits.bias))
        table.add_row(f"lag-1 autocorrelation, {bits.label}", interval(bits.lag1))
        spread = f"{number(bits.cell_std)} (sampling alone {number(bits.sampling_std)}), worst {bits.worst_cell:.4f}"
        table.add_row(f"spread of the cells' means, {bits.label}", spread)
        lag1 = f"{number(bits.cell_lag1_mean)} ± {number(bits.cell_lag1_std)}"
        table.add_row(
            f"lag 1 of single cells, {bits.label}", f"{lag1} (sampling alone ± {number(bits.cell_lag1_sampling_std)})"
        )
    return table


def _quality_table(quality: Quality) -> Table:
    table = Table(
        title=f"{quality.label}: {quality.n} images, {quality.steps} steps, {quality.extractor}",
        title_justify="left",
    )
    for heading in ("noise", "KID (95 %)", "FD (95 %)", "KID less software", "verdict"):
        table.add_column(heading)
    less = {d.arm: interval(d.kid) for d in quality.differences}

    def add(row: QualityRow, less_software: str, said: str) -> None:
        table.add_row(row.name, interval(row.kid), interval(row.fd) if row.fd else "–", less_software, said)

    for row in quality.rows:
        add(row, less.get(row.arm, ""), verdict(quality, row.arm))
    for row in (quality.floor, *quality.yardsticks):
        add(row, "", "")
    if quality.control:
        said = "detected" if quality.control.detected else "NOT DETECTED"
        add(quality.control.row, interval(quality.control.difference.kid), said)
    if not quality.floor.fd:
        table.caption = quality.floor.fd_reason
    return table


def _cost_table(results: DemoResults) -> Table:
    table = Table(title="Cost of randomness", title_justify="left")
    for heading in ("source", "boundary", "energy per bit", "area (µm²)", "grade"):
        table.add_column(heading)
    rows: Sequence[CostRow] = results.cost.rows
    for row in rows:
        table.add_row(
            row.name,
            row.boundary,
            optional_energy(row.energy_per_bit),
            optional_number(row.area_um2),
            row.grade,
            style="bold" if row.ours else None,
        )
    return table
