"""Energy-per-bit-per-area of a junction's random bits, with ranges, and what the published factor would need.

Every number of the cost table carries a grade. Here each is drawn anew many times, log-normally around its value, as
widely as its grade deserves (or its own range says), and everything that follows is computed again: the result is a
distribution for energy, area, energy x area and energy / area, and for each ratio to a conventional generator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Z90, Estimate, Grade, Sourced
from voltaspin.core.result import Boundary
from voltaspin.cost.results import ABOUT_A_THOUSAND, CLAIM, Claim, Metric, Reading
from voltaspin.cost.table import BOUNDARIES, CellPulse, CostTable, RandomSource, action_energies, si
from voltaspin.device.fokker_planck import switching_probability
from voltaspin.device.junction import Junction, Pulse
from voltaspin.noise.conditioning import xor_bias
from voltaspin.random.streams import Stream

METRICS: tuple[Metric, ...] = get_args(Metric)
UNITS: dict[Metric, str] = {"energy": "pJ", "area": "um^2", "energy x area": "pJ um^2", "energy / area": "pJ/um^2"}

#: Factor up and down that holds 90 % of what a number of that grade may be. Chosen; a range of its own goes first.
FACTORS: dict[Grade, float] = {
    "measured": 1.1, "textbook": 1.2, "fitted": 1.3, "derived": 1.5, "recalled": 2.0, "assumed": 3.0,
}  # fmt: skip
#: Choices of a design, which are what they are.
CHOSEN = frozenset({"feature_size", "read_voltage", "read_width"})
_BOUND = 10.0  # how far below its value a number may lie of which only an upper bound is known [assumed]
#: Largest distance from 1/2 of the probability of a one at which a bit counts as random [chosen].
FAIR = 0.05
#: Most cells that the XOR of a bit takes [chosen]: their pulses flip, or fail to flip, at least once in 15.
MOST_CELLS = 16
_QUANTILES = (0.05, 0.5, 0.95)


def spread(draws: NDArray[np.float64]) -> Estimate:
    """Median and 90 % interval."""
    low, value, high = np.quantile(draws, _QUANTILES)
    return Estimate(float(value), float(low), float(high), level=0.9)


def spread_text(e: Estimate) -> str:
    return f"{e.value:.3g} ({e.low:.2g} to {e.high:.2g})"


def drawn(number: Sourced, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values that ``number`` may have, for standard normals ``z``: log-normal on either side of its value."""
    if number.value <= 0:
        return np.full_like(z, number.value)
    factor = FACTORS[number.grade]
    up = factor if number.high is None else max(number.high / number.value, 1.0)
    low = 1 / factor if number.low is None else min(number.low / number.value or 1 / _BOUND, 1.0)
    return number.value * np.exp(np.where(z > 0, z * math.log(up), -z * math.log(low)) / Z90)


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


@dataclass(frozen=True)
class ActionDraws:
    """What each counted action may cost, and the memory's area, draw by draw.

    Args:
        energy: of one ``pulse``, ``reset``, ``read``, ``xor`` and ``lookup`` [J], by boundary; float64 (samples,).
        area: of a cell, or of the array's macro [m^2], by boundary; float64 (samples,).
    """

    energy: dict[Boundary, dict[str, NDArray[np.float64]]]
    area: dict[Boundary, NDArray[np.float64]]

    def bit(self, boundary: Boundary, *, cells_per_bit: int, resets: float) -> NDArray[np.float64]:
        """Energy of one conditioned bit [J]; ``resets`` of them go before each pulse, on average."""
        e = self.energy[boundary]
        return cells_per_bit * (e["pulse"] + e["read"] + resets * e["reset"]) + (cells_per_bit - 1) * e["xor"]


def action_draws(
    junction: Junction,
    pulse: Pulse | CellPulse,
    *,
    cells: int = 65536,
    table: CostTable | None = None,
    samples: int = 1000,
    seed: int = 0,
    grade: Grade = "assumed",
) -> ActionDraws:
    """Draw the table, and the junction's own currents as widely as ``grade``, and price every action at each boundary.

    Of several pulses give the mean: every price is linear in the ohmic energy and in the square of the voltage.

    A reset is taken to cost what a pulse does. Pulse, reset and read share the junction's resistance, and its error.
    """
    from voltaspin.device.transport import oxide_capacitance

    table = table or CostTable.default()
    nominal = pulse if isinstance(pulse, CellPulse) else CellPulse.of(junction, pulse, table=table)
    own = Sourced(1.0, "1", "the junction's own current", grade)
    factors = drawn(own, Stream.of(seed, "cost", "own").normals(samples))
    actions = ("pulse", "reset", "read", "xor", "lookup")
    energy: dict[Boundary, dict[str, list[float]]] = {b: {a: [] for a in actions} for b in BOUNDARIES}
    area: dict[Boundary, list[float]] = {b: [] for b in BOUNDARIES}
    for one, factor in zip(table_draws(table, samples, seed), factors, strict=True):
        charging = oxide_capacitance(junction, eps_r=one.permittivity.value) * nominal.voltage**2
        cell = CellPulse(voltage=nominal.voltage, ohmic=nominal.ohmic * factor, charging=charging)
        read = CellPulse.rectangular(
            voltage=si(one.read_voltage), width=si(one.read_width), resistance=junction.R_P / factor, capacitance=0.0
        )
        for b in BOUNDARIES:
            found = action_energies(pulses={"pulse": cell, "reset": cell, "read": read}, boundary=b, table=one)
            for a in actions:
                energy[b][a].append(found[a][0].value)
            macro = cells * one.area_of_cell / one.array_efficiency.value
            area[b].append(macro if b == "macro" else one.area_of_cell)
    return ActionDraws(
        energy={b: {a: np.array(v) for a, v in by.items()} for b, by in energy.items()},
        area={b: np.array(v) for b, v in area.items()},
    )


def claim(
    junction: Junction,
    pulse: Pulse,
    *,
    cells_per_bit: int = 2,
    reset: bool | float = True,
    cells: int = 65536,
    against: tuple[str, ...] = (),
    table: CostTable | None = None,
    samples: int = 1000,
    seed: int = 0,
    grade: Grade = "assumed",
    draws: ActionDraws | None = None,
) -> Claim:
    """Price one random bit of a junction at every boundary, with ranges, beside conventional generators.

    Args:
        junction, pulse: of the nominal cell.
        cells_per_bit: combined by XOR; more where the pulse needs them, see :func:`randomness`.
        reset: whether every pulse begins with a deterministic write, which costs one pulse; or which share of them do.
        cells: of the array, whose periphery the macro shares.
        against: keys of the table's generators; all that were measured or simulated with an energy where empty.
        table: prices.
        samples, seed: of the Monte Carlo.
        grade: how well the junction's own numbers are known.
        draws: of :func:`action_draws` with the same arguments, where they were made already.

    Raises:
        InputError: an unknown generator, counts that make no sense, or a pulse that is not random enough.
    """
    table = table or CostTable.default()
    if cells_per_bit < 1 or samples < 100 or not 0 <= reset <= 1:
        raise InputError(
            f"cells_per_bit = {cells_per_bit} must be at least 1, samples = {samples} at least 100, and "
            f"reset = {reset} from 0 to 1"
        )
    sources = _sources(table, against)
    bits = randomness(junction, pulse, cells_per_bit=cells_per_bit, reset=float(reset))
    k = bits.cells_per_bit
    if draws is None:
        draws = action_draws(junction, pulse, cells=cells, table=table, samples=samples, seed=seed, grade=grade)
    bit = {"pulse": k, "reset": k * float(reset), "read": k, "xor": k - 1}
    own: dict[Boundary, dict[Metric, NDArray[np.float64]]] = {}
    for b in BOUNDARIES:
        E, A = 1e12 * draws.bit(b, cells_per_bit=k, resets=float(reset)), 1e12 * draws.area[b]
        own[b] = {"energy": E, "area": A, "energy x area": E * A, "energy / area": E / A}
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
                about = float(((ratio > ABOUT_A_THOUSAND[0]) & (ratio < ABOUT_A_THOUSAND[1])).mean())
                needed = float(np.median(other)) / CLAIM
                readings.append(Reading(
                    metric=metric, boundary=b, against=source.name, ratio=spread(ratio), about=about, needed=needed,
                ))  # fmt: skip
    return Claim(
        junction=junction.name, pulse=f"{pulse.voltage:.3g} V for {pulse.width * 1e9:.3g} ns",
        bit={k: float(v) for k, v in bit.items() if v},
        own={b: {m: spread(v) for m, v in by.items()} for b, by in own.items()}, readings=tuple(readings),
        samples=samples, factors=dict(FACTORS), **bits._asdict(),
    )  # fmt: skip


class Randomness(NamedTuple):
    """How random the pulses behind a bit are, and what XOR makes of them.

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
    raise InputError(
        f"p01 = {up.value:.3g} and p10 = {down.value:.3g} of {junction.name} at {pulse.voltage:g} V for "
        f"{pulse.width:.3g} s: the XOR of {MOST_CELLS} cells is still further than {FAIR:g} from 1/2, so its bits "
        "are not random and have no price; give the pulse that 'voltaspin device characterise' finds"
    )


def claim_text(found: Claim) -> str:
    """The claim for a terminal."""
    per_bit = ", ".join(f"{n:.3g} {a}" for a, n in found.bit.items())
    lines = [f"{found.junction}; {found.pulse}; per bit {per_bit}"]
    if found.residual_bias is not None:
        k = found.cells_per_bit
        how = "raw bits" if k == 1 else f"XOR of {k} cells: {k} bits of the pulse per bit"
        lines.append(f"p01 {found.p01:.3f}, p10 {found.p10:.3f}; {how}, at most {found.residual_bias:.2g} from 1/2 "
                     "whatever the cells held before")  # fmt: skip
    lines += [f"{'':14} " + " ".join(f"{b:>28}" for b in BOUNDARIES)]  # fmt: skip
    lines += [f"{m:14} " + " ".join(f"{spread_text(found.own[b][m]):>28}" for b in BOUNDARIES) + f"  {UNITS[m]}"
              for m in METRICS]  # fmt: skip
    lines.append("conventional over memory: smallest and largest median; generators for which about 10^3 is likely")
    for m in METRICS:
        for b in BOUNDARIES:
            here = [r for r in found.readings if (r.metric, r.boundary) == (m, b)]
            if not here:
                continue
            least, most = (f(r.ratio.value for r in here) for f in (min, max))
            near = [f"{r.against} {spread_text(r.ratio)}" for r in here if r.likely]
            lines.append(f"  {m:14} {b:10} {least:9.2g} to {most:9.2g}  " + ("; ".join(near) or "none"))
    return "\n".join(lines)


def _sources(table: CostTable, keys: tuple[str, ...]) -> list[RandomSource]:
    known = {s.key: s for s in table.sources if s.per == "bit"}
    if unknown := [k for k in keys if k not in known]:
        raise InputError(f"generator {unknown[0]!r} is not in the cost table; known: {', '.join(known)}")
    if keys:
        return [known[k] for k in keys]
    return [s for s in known.values() if s.how != "unread" and s.family != "vcma"]
