"""Energy-per-bit-per-area of a junction's random bits, with ranges, and what the published factor would need.

Every number of the cost table carries a grade. Here each is drawn anew many times, log-normally around its value, as
widely as its grade deserves (or its own range says), and everything that follows is computed again: the result is a
distribution for energy, area, energy x area and energy / area, and for each ratio to a conventional generator.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voltaspin.device.junction import Junction, Pulse
from voltaspin.errors import InputError
from voltaspin.ledger import Ledger
from voltaspin.report.cost import BOUNDARIES, CellPulse, CostTable, RandomSource, price
from voltaspin.report.results import Boundary
from voltaspin.sourced import Grade, Sourced
from voltaspin.streams import Stream

Metric = Literal["energy", "area", "energy x area", "energy / area"]
METRICS: tuple[Metric, ...] = ("energy", "area", "energy x area", "energy / area")
UNITS: dict[Metric, str] = {"energy": "pJ", "area": "um^2", "energy x area": "pJ um^2", "energy / area": "pJ/um^2"}

#: Factor up and down that holds 90 % of what a number of that grade may be. Chosen; a range of its own goes first.
FACTORS: dict[Grade, float] = {
    "measured": 1.1, "textbook": 1.2, "fitted": 1.3, "derived": 1.5, "recalled": 2.0, "assumed": 3.0,
}  # fmt: skip
CLAIM = 1e3  #: "about 10^3", of the published abstract
NEAR = (10**2.5, 10**3.5)  #: what counts as about 10^3
#: Choices of a design, which are what they are.
CHOSEN = frozenset({"feature_size", "read_voltage", "read_width"})
_BOUND = 10.0  # how far below its value a number may lie of which only an upper bound is known [assumed]
_Z90 = 1.6448536269514722
_QUANTILES = (0.05, 0.5, 0.95)


@dataclass(frozen=True)
class Spread:
    """Median and 90 % interval of a quantity."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: NDArray[np.float64]) -> Spread:
        low, value, high = np.quantile(draws, _QUANTILES)
        return cls(float(value), float(low), float(high))


@dataclass(frozen=True)
class Reading:
    """One way to read "better per bit per area": conventional over ours.

    Args:
        metric, boundary, against: which.
        ratio: above 1 the memory wins.
        about: probability that the ratio is about 10^3, between 10^2.5 and 10^3.5.
        needed: energy [pJ] or area [um^2] or their combination that the memory would need for 10^3.
    """

    metric: Metric
    boundary: Boundary
    against: str
    ratio: Spread
    about: float
    needed: float

    @property
    def verdict(self) -> str:
        if self.ratio.high < CLAIM:
            return "missed"
        return "exceeded" if self.ratio.low > CLAIM else "within the range"


@dataclass(frozen=True)
class Claim:
    """What a junction's random bits cost, and every ratio.

    Args:
        junction, pulse: in words.
        bit: actions behind one bit.
        own: metric and boundary to its spread.
        readings: all ratios.
        samples: draws behind each.
    """

    junction: str
    pulse: str
    bit: dict[str, float]
    own: dict[Boundary, dict[Metric, Spread]]
    readings: tuple[Reading, ...]
    samples: int

    def to_json(self) -> dict[str, Any]:
        return {"kind": "cost-claim", "schema_version": 1, **asdict(self), "factors": FACTORS,
                "verdicts": [r.verdict for r in self.readings]}  # fmt: skip

    def __str__(self) -> str:
        def text(s: Spread) -> str:
            return f"{s.value:.3g} ({s.low:.2g} to {s.high:.2g})"

        lines = [f"{self.junction}; {self.pulse}; per bit " + ", ".join(f"{n:g} {a}" for a, n in self.bit.items()),
                 f"{'':14} " + " ".join(f"{b:>28}" for b in BOUNDARIES)]  # fmt: skip
        lines += [f"{m:14} " + " ".join(f"{text(self.own[b][m]):>28}" for b in BOUNDARIES) + f"  {UNITS[m]}"
                  for m in METRICS]  # fmt: skip
        lines.append("conventional over memory: smallest and largest median; generators for which about 10^3 is likely")
        for m in METRICS:
            for b in BOUNDARIES:
                here = [r for r in self.readings if (r.metric, r.boundary) == (m, b)]
                if not here:
                    continue
                least, most = (f(r.ratio.value for r in here) for f in (min, max))
                near = [f"{r.against} {text(r.ratio)}" for r in here if r.about > 0.5]
                lines.append(f"  {m:14} {b:10} {least:9.2g} to {most:9.2g}  " + ("; ".join(near) or "none"))
        return "\n".join(lines)


def drawn(number: Sourced, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values that ``number`` may have, for standard normals ``z``: log-normal on either side of its value."""
    if number.value <= 0:
        return np.full_like(z, number.value)
    factor = FACTORS[number.grade]
    up = factor if number.high is None else max(number.high / number.value, 1.0)
    low = 1 / factor if number.low is None else min(number.low / number.value or 1 / _BOUND, 1.0)
    return number.value * np.exp(np.where(z > 0, z * math.log(up), -z * math.log(low)) / _Z90)


def table_draws(table: CostTable, samples: int, seed: int) -> list[CostTable]:
    """``samples`` tables whose numbers were drawn."""
    names = [n for n in type(table).model_fields if isinstance(getattr(table, n), Sourced) and n not in CHOSEN]
    z = {n: Stream.of(seed, "cost", n).normals(samples) for n in names}
    values = {n: drawn(getattr(table, n), z[n]) for n in names}
    bounded = {"array_efficiency": 0.95}
    made = []
    for i in range(samples):
        update = {}
        for n in names:
            value = min(float(values[n][i]), bounded.get(n, math.inf))
            update[n] = replace(getattr(table, n), value=value, low=None, high=None)
        made.append(table.model_copy(update=update))
    return made


def claim(
    junction: Junction,
    pulse: Pulse,
    *,
    cells_per_bit: int = 2,
    reset: bool = True,
    cells: int = 65536,
    against: tuple[str, ...] = (),
    table: CostTable | None = None,
    samples: int = 1000,
    seed: int = 0,
    grade: Grade = "assumed",
) -> Claim:
    """Price one random bit of a junction at every boundary, with ranges, beside conventional generators.

    Args:
        junction, pulse: of the nominal cell.
        cells_per_bit: combined by XOR.
        reset: whether every pulse begins with a deterministic write; it costs one pulse.
        cells: of the array, whose periphery the macro shares.
        against: keys of the table's generators; all that were measured or simulated with an energy where empty.
        table: prices.
        samples, seed: of the Monte Carlo.
        grade: how well the junction's own numbers are known.

    Raises:
        InputError: an unknown generator, or counts that make no sense.
    """
    table = table or CostTable.default()
    if cells_per_bit < 1 or samples < 100:
        raise InputError(f"cells_per_bit = {cells_per_bit} must be at least 1 and samples = {samples} at least 100")
    sources = _sources(table, against)
    bit = {"pulse": cells_per_bit, "reset": cells_per_bit if reset else 0, "read": cells_per_bit,
           "xor": cells_per_bit - 1, "bit": 1}  # fmt: skip
    ledger = Ledger("bits")
    for action, n in bit.items():
        ledger.count(action, 1000 * n)
    own_factor = drawn(Sourced(1.0, "1", "the junction's own pulse", grade), Stream.of(seed, "cost", "own").normals(
        samples))  # fmt: skip
    values: dict[Boundary, dict[Metric, list[float]]] = {b: {m: [] for m in METRICS} for b in BOUNDARIES}
    for one, factor in zip(table_draws(table, samples, seed), own_factor, strict=True):
        nominal = CellPulse.of(junction, pulse, table=one)
        cell = replace(nominal, ohmic=nominal.ohmic * factor)
        for row in price(ledger, pulse=cell, reset=cell, resistance=junction.R_P, cells=cells, table=one):
            assert row.energy_per_bit is not None
            assert row.area_um2 is not None
            E, A = row.energy_per_bit, row.area_um2
            for metric, value in zip(METRICS, (E, A, E * A, E / A), strict=True):
                values[row.boundary][metric].append(value)
    own = {b: {m: np.array(v) for m, v in by.items()} for b, by in values.items()}
    readings = []
    for source in sources:
        z = Stream.of(seed, "cost", source.key).normals(2 * samples)
        e = drawn(source.energy, z[:samples])
        a = None if source.area is None else drawn(source.area, z[samples:])
        theirs: dict[Metric, Any] = {
            "energy": e, "area": a, "energy x area": None if a is None else e * a,
            "energy / area": None if a is None else e / a,
        }  # fmt: skip
        for metric, other in theirs.items():
            if other is None:
                continue
            for b in BOUNDARIES:
                ratio = other / own[b][metric]
                about = float(((ratio > NEAR[0]) & (ratio < NEAR[1])).mean())
                needed = float(np.median(other)) / CLAIM
                readings.append(Reading(metric, b, source.name, Spread.of(ratio), about, needed))
    return Claim(
        junction=junction.name, pulse=f"{pulse.voltage:.3g} V for {pulse.width * 1e9:.3g} ns",
        bit={k: float(v) for k, v in bit.items() if v and k != "bit"},
        own={b: {m: Spread.of(v) for m, v in by.items()} for b, by in own.items()}, readings=tuple(readings),
        samples=samples,
    )  # fmt: skip


def _sources(table: CostTable, keys: tuple[str, ...]) -> list[RandomSource]:
    known = {s.key: s for s in table.sources if s.per == "bit"}
    if unknown := [k for k in keys if k not in known]:
        raise InputError(f"generator {unknown[0]!r} is not in the cost table; known: {', '.join(known)}")
    if keys:
        return [known[k] for k in keys]
    return [s for s in known.values() if s.how != "unread" and s.family != "vcma"]


def claim_png(found: Claim) -> bytes:
    """Ratios by metric and boundary, with the claim."""
    import matplotlib
    from matplotlib.figure import Figure

    from voltaspin.report.drawing import BLUE, DPI, GREEN, GREY, ORANGE, PURPLE, STYLE, figure_png

    colours = dict(zip(BOUNDARIES, (BLUE, PURPLE, ORANGE), strict=True))
    names = list(dict.fromkeys(r.against for r in found.readings))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 1.5 + 0.62 * len(names)), dpi=DPI, layout="constrained")
        panels = figure.subplots(1, len(METRICS), sharey=True)
        for axes, metric in zip(panels, METRICS, strict=True):
            axes.axvspan(*NEAR, color=GREEN, alpha=0.18, lw=0)
            axes.axvline(1, color=GREY, lw=0.8)
            for r in found.readings:
                if r.metric != metric:
                    continue
                y = names.index(r.against) + 0.22 * (BOUNDARIES.index(r.boundary) - 1)
                axes.plot([r.ratio.low, r.ratio.high], [y, y], color=colours[r.boundary], lw=2)
                axes.plot(r.ratio.value, y, "o", color=colours[r.boundary], ms=4)
            axes.set_xscale("log")
            axes.set_title(metric.replace(" x ", " \N{MULTIPLICATION SIGN} "))
            axes.set_yticks(range(len(names)), names, fontsize=8)
            axes.set_ylim(len(names) - 0.4, -0.6)
        for b in BOUNDARIES:
            panels[0].plot([], [], color=colours[b], label=b)
        figure.legend(loc="outside lower center", ncols=4, title="conventional over memory; green: about 10\u00b3")
        return figure_png(figure)
