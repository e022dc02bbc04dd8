"""The figure of merit: energy per bit per area, and the published factor of 10^3 in every reading.

"About 10^3 better energy-per-bit-per-area" can be read as a ratio of energies, of areas, of their product or of their
quotient, each at three boundaries. All are computed, with ranges, against every generator of the cost table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, get_args

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.files import as_object
from voltaspin.core.format import energies, energy, number, spread, stretch, times
from voltaspin.core.quantity import FACTORS, Estimate, Grade
from voltaspin.core.result import Boundary, Part, Result, Unit
from voltaspin.cost.jobs import Workload
from voltaspin.cost.pricing import BOUNDARIES, Prices, bit_counts
from voltaspin.cost.table import CostTable, Draws, Floats, RandomSource
from voltaspin.device.fokker_planck import switching_probability
from voltaspin.device.junction import Junction, Pulse
from voltaspin.noise.conditioning import xor_bias

Metric = Literal["energy", "area", "energy x area", "energy / area"]
METRICS: tuple[Metric, ...] = get_args(Metric)
UNITS: dict[Metric, str] = {"energy": "pJ", "area": "um^2", "energy x area": "pJ um^2", "energy / area": "pJ/um^2"}
PUBLISHED = 1e3  #: "about 10^3", of the published abstract
ABOUT_A_THOUSAND = (10**2.5, 10**3.5)  #: within half a decade
LIKELY = 0.5  #: a ratio meets the published one where it is about 10^3 with more than this probability
#: Largest distance from 1/2 of the probability of a one at which a bit counts as random [chosen].
FAIR = 0.05
#: Most cells that the XOR of a bit takes [chosen]: their pulses flip, or fail to flip, at least once in 15.
MOST_CELLS = 16


class Ratio(Part):
    """A conventional generator over the memory in one metric, by Monte Carlo over the grades.

    Args:
        metric, boundary, against: which.
        ratio: median and 90 % interval; above 1 the memory wins.
        about: probability that the ratio is about 10^3, between 10^2.5 and 10^3.5.
        needed: energy [pJ] or area [um^2] or their combination that the memory would need for 10^3.
    """

    metric: Metric
    boundary: Boundary
    against: str
    ratio: Estimate
    about: float
    needed: float

    @property
    def verdict(self) -> str:
        """Where the published 10^3 lies relative to the interval."""
        if self.ratio.high < PUBLISHED:
            return "missed"
        return "exceeded" if self.ratio.low > PUBLISHED else "within the range"

    @property
    def likely(self) -> bool:
        """Whether the ratio is about 10^3 with more than even odds."""
        return self.about > LIKELY


class FigureOfMerit(Result):
    """Cost of one random bit of a junction, and its ratio to every conventional generator.

    Args:
        junction, pulse: in words.
        bit: actions behind one bit.
        own: by boundary and metric, median and 90 % interval.
        readings: all ratios; verdicts: where the published 10^3 lies relative to each.
        p01, p10: of the pulse.
        cells_per_bit: different cells that XOR combines: bits of the pulse per bit.
        residual_bias: largest distance of a bit's probability from 1/2, whatever the cells held before.
        samples: draws behind each number.
        factors: up and down, that holds 90 % of what a number of a grade may be.
        work: an image and a training run.
    """

    KIND: ClassVar[str] = "cost-claim"
    junction: str
    pulse: str
    bit: dict[str, float]
    own: dict[Boundary, dict[Metric, Estimate]]
    readings: tuple[Ratio, ...]
    verdicts: tuple[str, ...] = ()
    p01: float | None = None
    p10: float | None = None
    cells_per_bit: int | None = None
    residual_bias: float | None = None
    samples: Annotated[int, Unit("draws")]
    factors: dict[Grade, float]
    work: Workload | None = None

    @classmethod
    def from_json(cls, data: dict[str, Any], *, where: str = "specification") -> Self:
        """As :meth:`Result.from_json`; the work of 0.1.0 does not name its versions either."""
        data = dict(as_object(data, where=where))
        if isinstance(data.get("work"), dict):
            data["work"] = {"environment": {}} | data["work"]
        return super().from_json(data, where=where)

    def lines(self) -> list[RatioLine]:
        """Return the ratios by metric and boundary."""
        found = []
        for metric in METRICS:
            for b in BOUNDARIES:
                if here := [r for r in self.readings if (r.metric, r.boundary) == (metric, b)]:
                    found.append(RatioLine(metric, b, here, self.own[b][metric]))
        return found

    def summary(self) -> list[tuple[str, str]]:
        """Return rows for people: the bit, its cost by metric and boundary, the ratios, the work."""
        rows = [("junction", self.junction), ("pulse", self.pulse),
                ("per bit", ", ".join(f"{n:.3g} {action}" for action, n in self.bit.items()))]  # fmt: skip
        if self.residual_bias is not None:
            k = self.cells_per_bit
            how = "raw bits" if k == 1 else f"XOR of {k} cells: {k} bits of the pulse per bit"
            rows.append(("randomness", f"p01 {self.p01:.3f}, p10 {self.p10:.3f}; {how}, at most "
                         f"{self.residual_bias:.2g} from 1/2 whatever the cells held before"))  # fmt: skip
        if "area" not in self.own["cell"]:
            rows.append(("area", "not priced: the cost table knows cells of two terminals, and this one has three"))
        for m in (m for m in METRICS if m in self.own["cell"]):
            for b in BOUNDARIES:
                e = self.own[b][m]
                rows.append((f"{m}, {b}", energies(e) if m == "energy" else spread(e, unit=UNITS[m])))
        for line in self.lines():
            met = "; ".join(f"{r.against} {spread(r.ratio)}" for r in line.met)
            text = f"conventional over memory {line.span}; about 10^3: {line.verdict}"
            rows.append((f"{line.metric} ratio, {line.boundary}", f"{text}: {met}" if met else text))
        return rows + (self.work.summary() if self.work else [])


@dataclass(frozen=True)
class RatioLine:
    """All generators under one metric at one boundary."""

    metric: Metric
    boundary: Boundary
    readings: Sequence[Ratio]
    own: Estimate

    @property
    def met(self) -> list[Ratio]:
        """The ratios that are likely to be about 10^3."""
        return [r for r in self.readings if r.likely]

    @property
    def verdict(self) -> str:
        """``"met against 2 of 10; 3 above, 5 below"``"""
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
    def span(self) -> str:
        """Smallest to largest median."""
        found = [r.ratio.value for r in self.readings]
        return stretch(times(min(found)), times(max(found)))

    @property
    def needed(self) -> str:
        """Return what 10^3 would need, against the generator that asks most and the one that asks least."""
        found = [r.needed for r in self.readings]
        return stretch(self._text(min(found)), self._text(max(found)))

    @property
    def had(self) -> str:
        """The memory's value."""
        return self._text(self.own.value)

    def _text(self, value: float) -> str:
        return energy(value) if self.metric == "energy" else number(value, 2)  # a table names the unit once


def figure_of_merit(
    junction: Junction,
    pulse: Pulse,
    *,
    cells_per_bit: int = 2,
    reset: bool | float = True,
    against: tuple[str, ...] = (),
    prices: Prices | None = None,
) -> FigureOfMerit:
    """Price one random bit of a junction at every boundary, with ranges, beside conventional generators.

    Args:
        junction, pulse: of the nominal cell.
        cells_per_bit: combined by XOR; more where the pulse needs them, see :func:`randomness`.
        reset: whether every pulse begins with a deterministic write, which costs one pulse; or which share of them do.
        against: keys of the table's generators; all that were measured or simulated with an energy where empty.
        prices: of :meth:`Prices.of` for the same junction and pulse; an array of 65,536 cells and the package's own
            table where None.

    Raises:
        InputError: an unknown generator, counts that make no sense, or a pulse that is not random enough.
    """
    if cells_per_bit < 1 or not 0 <= reset <= 1:
        raise InputError(f"cells_per_bit = {cells_per_bit} must be at least 1, and reset = {reset} from 0 to 1")
    prices = prices or Prices.of(junction, pulse)
    draws = prices.draws
    sources = _sources(draws.table, against)
    quality = randomness(junction, pulse, cells_per_bit=cells_per_bit, reset=float(reset))
    bit = bit_counts(cells_per_bit=quality.cells_per_bit, resets=float(reset))
    # The table's cell has two terminals. One with a spin-orbit line has three, and no area here.
    own = {b: metrics(prices.total(bit, b), None if junction.line else prices.area[b]) for b in BOUNDARIES}
    readings = []
    for source in sources:
        for metric, other in metrics(*drawn_source(source, draws)).items():
            for b in BOUNDARIES if metric in own["cell"] else ():
                ratio = other / own[b][metric]
                about = float(((ratio > ABOUT_A_THOUSAND[0]) & (ratio < ABOUT_A_THOUSAND[1])).mean())
                readings.append(Ratio(
                    metric=metric, boundary=b, against=source.name, ratio=Estimate.of_draws(ratio), about=about,
                    needed=float(np.median(other)) / PUBLISHED,
                ))  # fmt: skip
    return FigureOfMerit(
        junction=junction.name, pulse=f"{pulse.voltage:.3g} V for {pulse.width * 1e9:.3g} ns",
        bit={a: float(n) for a, n in bit.items() if n}, own={b: estimates(by) for b, by in own.items()},
        readings=tuple(readings), verdicts=tuple(r.verdict for r in readings), samples=draws.samples,
        factors=dict(FACTORS), **quality._asdict(),
    )  # fmt: skip


def metrics(joules: Floats, area: Floats | None) -> dict[Metric, Floats]:
    """Return all metrics of an energy [J] and an area [m^2], in the units of ``UNITS``; energy alone without area."""
    E = 1e12 * joules
    if area is None:
        return {"energy": E}
    A = 1e12 * area
    return {"energy": E, "area": A, "energy x area": E * A, "energy / area": E / A}


def estimates(drawn: dict[Metric, Floats]) -> dict[Metric, Estimate]:
    """Return medians and 90 % intervals with their units."""
    return {m: Estimate.of_draws(x, unit=UNITS[m]) for m, x in drawn.items()}


def drawn_source(source: RandomSource, draws: Draws) -> tuple[Floats, Floats | None]:
    """Return draws of a generator's energy [J] and area [m^2]."""
    area = None if source.area is None else draws.of(source.area, source.key, "area")
    return draws.of(source.energy, source.key), area


class Randomness(NamedTuple):
    """The bias of the pulses behind a bit, and of their XOR.

    Args:
        p01, p10: of the pulse.
        cells_per_bit: different cells in the XOR.
        residual_bias: largest distance from 1/2 of the probability of a one, whatever the cells held before. The
            numerical error of ``p01`` and ``p10`` is included.
    """

    p01: float
    p10: float
    cells_per_bit: int
    residual_bias: float


def randomness(junction: Junction, pulse: Pulse, *, cells_per_bit: int = 1, reset: float = 1.0) -> Randomness:
    """Find how many cells the XOR of a bit must combine for a pulse.

    After a reset a cell reads 1 with ``p01``. Without one it reads 1 with ``p01`` or ``1 - p10``, by its state before
    the pulse, so the one that is further from 1/2 decides. This bounds the bias and the correlation in time at once.

    Args:
        junction, pulse: of the nominal cell.
        cells_per_bit: least number of cells.
        reset: share of the pulses that begin with a reset; below 1 both directions count.

    Raises:
        InputError: more than ``MOST_CELLS`` are needed to come within ``FAIR`` of 1/2.
    """
    up, down = (switching_probability(junction, pulse, initial=well, rtol=0.05) for well in ("up", "down"))
    bounds = [b for p in ((up, down) if reset < 1 else (up,)) for b in (p.low, p.high)]
    worst = max(bounds, key=lambda p: abs(p - 0.5))
    for k in range(cells_per_bit, max(MOST_CELLS, cells_per_bit) + 1):
        if (left := xor_bias(worst, k)) <= FAIR:
            return Randomness(up.value, down.value, k, left)
    remedy = "give the pulse that 'voltaspin device characterise' finds"
    if junction.terms:
        remedy = "give the pulse of fair_pulse" + (", and reset the cells before it" if reset < 1 else "")
    raise InputError(
        f"p01 = {up.value:.3g} and p10 = {down.value:.3g} of {junction.name} at {pulse.voltage:g} V for "
        f"{pulse.width:.3g} s: the XOR of {MOST_CELLS} cells is still further than {FAIR:g} from 1/2, so its bits "
        f"are not random and have no price; {remedy}"
    )


def _sources(table: CostTable, keys: tuple[str, ...]) -> list[RandomSource]:
    known = {s.key: s for s in table.sources if s.per == "bit"}
    if unknown := [k for k in keys if k not in known]:
        raise InputError(f"generator {unknown[0]!r} is not in the cost table; known: {', '.join(known)}")
    if keys:
        return [known[k] for k in keys]
    return [s for s in known.values() if s.how != "unread" and s.family != "vcma"]
