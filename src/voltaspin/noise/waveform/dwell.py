"""Telegraph statistics: how long a trace stays in each state, at which rates it leaves, and by which law.

A trace is seen at its samples only. Of a process with the rates r01 and r10 the samples are a Markov chain that leaves
its states with p01 = (1 - exp(-L dt)) r01 / L and p10 likewise, L = r01 + r10. The chain's estimate, exits per sample,
takes the first and the last dwell along, which are cut, and gives the rates without the bias of the sampling: dwells
between two samples are missed, and the formula knows how many. Dwells that are shorter than a dead time are joined to
the one before; then the mean of what is left is (A. L. Blatz and K. L. Magleby, Biophys. J. 49, 967 (1986), whose
law is written here for samples)

    A0 = 1/p0 / s1 + 1/p1 (1/s1 - 1),   s1 = (1 - p1)^(m - 1),

where m samples are the shortest dwell that counts; it is solved for p0 and p1.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Z95, Estimate
from voltaspin.core.result import Array, Part, Result, Unit
from voltaspin.core.units import format_quantity
from voltaspin.noise.waveform.states import States

LEAST = 10  #: exits of each state that rates need
_ALPHA = 0.05
_FASTEST = 0.9  # p01 + p10 from which samples no longer tell the rates
_BINS = 24  # of the histogram of dwells

#: P-values of the distance D between the distribution of dwells and the exponential law of the same mean, in terms of
#: T = (D - 0.2/n) (sqrt(n) + 0.26 + 0.5/sqrt(n)): 10^5 simulated sets of 1000; M. A. Stephens, J. Am. Stat. Assoc. 69,
#: 730 (1974), table 1A, has 0.926, 0.990, 1.094, 1.190, 1.308 for 15, 10, 5, 2.5 and 1 %.
_P = np.array(
    [1, 0.99, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.05, 0.025, 0.01, 0.005, 0.002, 0.001]
)
_T = np.array([0.25, 0.398, 0.463, 0.505, 0.563, 0.611, 0.656, 0.701, 0.751, 0.807, 0.881, 0.926, 0.990, 1.094, 1.190,
               1.308, 1.37, 1.465, 1.53])  # fmt: skip


class StateDwells(Part):
    """The dwells in one state.

    Args:
        state: 0 or 1.
        dwells: complete ones; exits: the same and that of the first dwell, which is cut.
        time: spent in the state, cut dwells included [s].
        observed_mean: time over exits, as it was seen, by the exact chi-squared interval of an exponential law [s].
        rate: at which the state is left, corrected for dwells that were missed [1/s]; its mean dwell is
        mean_dwell: [s].
        missed: share of the dwells in this state that were too short to be seen.
        shortest, longest: complete dwell [s].
        distance: largest distance between the distribution of the dwells and the exponential law of their mean.
        p_exponential: P-value of that distance (Kolmogorov and Smirnov, mean estimated); at least 0.001.
        edges, counts, expected: histogram of the dwells, edges [s], and what the law expects in each bin.
    """

    state: int
    dwells: int
    exits: int
    time: Annotated[float, Unit("s")]
    observed_mean: Estimate
    rate: Estimate
    mean_dwell: Estimate
    missed: float
    shortest: Annotated[float, Unit("s")]
    longest: Annotated[float, Unit("s")]
    distance: float
    p_exponential: float
    edges: Annotated[Array, Unit("s")]
    counts: Array
    expected: Array


class Drift(Part):
    """How a trace changes from its beginning to its end, in equal stretches.

    Args:
        starts: of the stretches [s], (k,); occupancy: share of samples in state 1.
        low, high: mean of the samples in state 0 and 1, in the unit of the trace; NaN where a state was not met.
        p_rates: P-value of equal rates in all stretches (chi-squared of the exits); None where exits are too few.
    """

    starts: Annotated[Array, Unit("s")]
    occupancy: Array
    low: Array
    high: Array
    p_rates: float | None = None

    @property
    def shown(self) -> bool:
        """Whether the rates differ between stretches by more than chance."""
        return self.p_rates is not None and self.p_rates < _ALPHA


class Telegraph(Result):
    """Telegraph statistics of a trace.

    Args:
        samples: that were followed; step: time between them [s].
        dead_time: dwells that are shorter were joined to the one before [s]; zero for none.
        low, high: the dwells in state 0 and in state 1.
        relaxation: r01 + r10, at which correlations decay [1/s].
        occupancy: share of time in state 1.
        energy: of state 1 above state 0, ln(r10 / r01) [k_B T].
        drift: over the trace.
        notes: on what the numbers do not hold.
    """

    KIND: ClassVar[str] = "telegraph"

    samples: int
    step: Annotated[float, Unit("s")]
    dead_time: Annotated[float, Unit("s")]
    low: StateDwells
    high: StateDwells
    relaxation: Estimate
    occupancy: Estimate
    energy: Estimate
    drift: Drift
    notes: tuple[str, ...] = ()

    @property
    def exponential(self) -> bool:
        """Whether the dwells of both states follow the exponential law, as far as their number shows."""
        return min(self.low.p_exponential, self.high.p_exponential) >= _ALPHA

    def summary(self) -> list[tuple[str, str]]:
        """Return rows of (name, value) for people, one row for what belongs together."""
        rows = []
        for s in (self.low, self.high):
            law = "as an exponential law has it" if s.p_exponential >= _ALPHA else "not exponential"
            rows += [
                (f"state {s.state}: rate", f"{_shown(s.rate)}, mean dwell {_shown(s.mean_dwell)}"),
                (f"state {s.state}: dwells", f"{s.dwells:,} of {format_quantity(s.shortest, 's')} to "
                 f"{format_quantity(s.longest, 's')}, mean as seen {_shown(s.observed_mean)}; {100 * s.missed:.2g} % "
                 "too short to be seen"),
                (f"state {s.state}: law", f"{law} (P = {s.p_exponential:.2g}, distance {s.distance:.2g})"),
            ]  # fmt: skip
        d = self.drift
        steady = "" if d.p_rates is None else f"; equal rates in all: P = {d.p_rates:.2g}"
        rows += [
            ("share of time in 1", str(self.occupancy)), ("energy of 1 above 0", str(self.energy)),
            ("relaxation rate", _shown(self.relaxation)),
            ("drift", f"share of time in 1 {np.nanmin(d.occupancy):.3g} to {np.nanmax(d.occupancy):.3g} in "
             f"{d.starts.size} stretches{steady}"),
        ]  # fmt: skip
        if self.dead_time:
            rows.append(("dead time", f"{format_quantity(self.dead_time, 's')}, corrected in the rates"))
        return rows + [("note", note) for note in self.notes]


def _shown(e: Estimate) -> str:
    """An estimate with prefixes: ``20 k1/s`` is no way to write a rate, so rates are numbers."""
    if e.unit == "1/s":
        return f"{e.value:.4g} ({e.low:.4g} to {e.high:.4g}) {e.unit}"
    return f"{format_quantity(e.value, e.unit)} ({format_quantity(e.low, e.unit)} to {format_quantity(e.high, e.unit)})"


def telegraph_statistics(states: States, *, dead_time: float = 0.0, name: str = "the trace") -> Telegraph:
    """Return dwell times, rates of both states with intervals, occupancy, energy and drift.

    Args:
        states: of the trace.
        dead_time: dwells that are shorter [s] are left out and corrected for, as where the amplifier is slow; zero for
            the samples as they are.
        name: of the trace, for the messages.

    Returns:
        Intervals are of 95 %.

    Raises:
        InputError: fewer than 10 exits of a state, samples too far apart, or a dead time that hides most dwells.
    """
    least = max(1, math.ceil(dead_time / states.step * (1 - 1e-9)))
    if not 0 <= dead_time < states.n * states.step / 10:
        raise InputError(f"dead_time={dead_time:g} s must be zero or more, and short against {name}")
    raw, states = states, states.resolved(least)
    exits = states.exits(0), states.exits(1)
    for state in (0, 1):
        if exits[state] < LEAST or not states.dwells(state).size:
            raise InputError(
                f"{name} leaves state {state} {exits[state]} times in {states.n * states.step:.3g} s; rates need "
                f"{LEAST} exits: record longer" + (", or give a shorter dead_time=" if dead_time else "")
            )
    exposure = states.exposure(0), states.exposure(1)
    ends = [_exit_interval(exits[s], exposure[s]) for s in (0, 1)]
    values = tuple(exits[s] / exposure[s] for s in (0, 1))
    p = _chain(values, least, states.step, name)
    rates = _rates(p, states.step)
    spread = [[0.0, 0.0], [0.0, 0.0]]  # of each rate, down and up, in squares
    for of in (0, 1):
        for side in (0, 1):
            moved = tuple(ends[s][side] if s == of else values[s] for s in (0, 1))
            changed = _rates(_chain(moved, least, states.step, name), states.step)
            for s in (0, 1):
                spread[s][int(changed[s] > rates[s])] += (changed[s] - rates[s]) ** 2
    both = [
        Estimate(r, max(r - math.sqrt(down), 0.0), r + math.sqrt(up), n=n, unit="1/s")
        for r, (down, up), n in zip(rates, spread, exits, strict=True)
    ]
    found = [_of_state(states, s, both[s], p[s], least) for s in (0, 1)]
    notes = ["the first and the last dwell are cut: their time counts in the rates, their length in no histogram"]
    total = sum(rates)
    std_total = math.sqrt(sum(((e.high - e.low) / (2 * Z95)) ** 2 for e in both))
    n1 = int(raw.counts[:, 1].sum())
    share = n1 / max(int(raw.counts.sum()), 1)
    lasting = total * states.n * states.step
    std = math.sqrt(2 * share * (1 - share) / lasting)
    log = [(math.log(r / max(e.low, 1e-300)), math.log(e.high / r)) for r, e in zip(rates, both, strict=True)]
    energy = math.log(rates[1] / rates[0])
    return Telegraph(
        samples=states.n, step=states.step, dead_time=least * states.step if least > 1 else 0.0,
        low=found[0], high=found[1],
        relaxation=Estimate.normal(total, std_total, unit="1/s"),
        occupancy=Estimate(share, max(0.0, share - Z95 * std), min(1.0, share + Z95 * std), std=std),
        energy=Estimate(
            energy, energy - math.hypot(log[1][0], log[0][1]), energy + math.hypot(log[1][1], log[0][0]), unit="k_B T"
        ),
        drift=_drift(raw, states), notes=tuple(notes),
    )  # fmt: skip


def _exit_interval(exits: int, exposure: int) -> tuple[float, float]:
    """The exact 95 % interval of a probability; of rare exits that of the chi-squared law over the exposure."""
    from scipy.special import betaincinv

    low = float(betaincinv(exits, exposure - exits + 1, _ALPHA / 2)) if exits else 0.0
    high = float(betaincinv(exits + 1, max(exposure - exits, 1e-9), 1 - _ALPHA / 2))
    return low, high


def _chain(seen: tuple[float, ...], least: int, step: float, name: str) -> tuple[float, float]:
    """Probabilities of leaving a state per sample, from those of apparent dwells of ``least`` samples or more."""
    a0, a1 = 1 / seen[0], 1 / seen[1]
    p0, p1 = seen
    for _ in range(1000 if least > 1 else 0):
        s0, s1 = (1 - p0) ** (least - 1), (1 - p1) ** (least - 1)
        m0, m1 = a0 * s1 - (1 - s1) / p1, a1 * s0 - (1 - s0) / p0
        if min(m0, m1) <= 1 or least * max(1 / m0, 1 / m1) > 1:
            raise InputError(
                f"{name} dwells {a0 * step:.3g} s and {a1 * step:.3g} s on average, too short to be told from "
                f"those that are missed below {least * step:.3g} s; sample faster, or give a shorter dead_time="
            )
        before, p0, p1 = (p0, p1), 1 / m0, 1 / m1
        if abs(p0 - before[0]) <= 1e-13 * p0 and abs(p1 - before[1]) <= 1e-13 * p1:
            break
    if p0 + p1 >= _FASTEST:
        raise InputError(
            f"{name} changes between samples in {100 * p0:.3g} % and {100 * p1:.3g} % of the cases, as bits without "
            f"any correlation do: one sample every {step:.3g} s does not tell the rates; sample faster"
        )
    return p0, p1


def _rates(p: tuple[float, float], step: float) -> tuple[float, float]:
    """Rates [1/s] of the process of which the samples are a chain that leaves its states with p."""
    total = -math.log1p(-(p[0] + p[1])) / step
    return total * p[0] / (p[0] + p[1]), total * p[1] / (p[0] + p[1])


def _of_state(states: States, state: int, rate: Estimate, p: float, least: int) -> StateDwells:
    from scipy.special import gammaincinv

    dwells, exits = states.dwells(state), states.exits(state)
    time = (states.exposure(state)) * states.step
    # 2 n times the ratio of means is chi-squared with 2 n degrees of freedom; 2 n + 2 for the cut dwells
    low = time / float(gammaincinv(exits + 1, 1 - _ALPHA / 2))
    high = time / float(gammaincinv(exits, _ALPHA / 2))
    excess = dwells - (least - 1)
    distance, p_value = exponential_test(excess)
    edges, counts, expected = _histogram(excess, least - 1)
    return StateDwells(
        state=state, dwells=dwells.size, exits=exits, time=time,
        observed_mean=Estimate(time / exits, low, high, n=exits, unit="s"),
        rate=rate, mean_dwell=Estimate(1 / rate.value, 1 / rate.high, 1 / max(rate.low, 1e-300), n=exits, unit="s"),
        missed=_missed(rate.value * states.step, least),
        shortest=float(dwells.min()) * states.step, longest=float(dwells.max()) * states.step,
        distance=distance, p_exponential=p_value, edges=edges * states.step, counts=counts, expected=expected,
    )  # fmt: skip


def _missed(x: float, least: int) -> float:
    """Share of dwells of rate x per sample on which fewer than ``least`` samples fall."""
    return 1 + math.exp(-x * (least - 1)) * math.expm1(-x) / x


def exponential_test(dwells: NDArray[np.int64]) -> tuple[float, float]:
    """Return the distance of dwells from the law of their mean, and its P-value.

    The law is the geometric one of samples, which is exponential where the dwells are long. The distance is taken at
    the samples, so that short dwells make the test reject too seldom, never too often.

    Args:
        dwells: whole numbers of samples from 1, (n,).

    Returns:
        The distance, and a P-value from 0.001 to 1 (Lilliefors's test for the exponential law).
    """
    n = dwells.size
    p = n / float(dwells.sum())
    values, counts = np.unique(dwells, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)[:-1]]) / n
    with np.errstate(divide="ignore"):
        before, at = (
            -np.expm1((values - 1) * np.log1p(-min(p, 1 - 1e-16))),
            -np.expm1(values * np.log1p(-min(p, 1 - 1e-16))),
        )
    distance = float(max(np.abs(below - before).max(), np.abs(np.cumsum(counts) / n - at).max()))
    t = (distance - 0.2 / n) * (math.sqrt(n) + 0.26 + 0.5 / math.sqrt(n))
    return distance, float(np.exp(np.interp(t, _T, np.log(_P))))


def _histogram(
    excess: NDArray[np.int64], shift: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Edges [samples] with equal steps on a logarithmic axis, dwells in each bin, and those that the law expects."""
    edges = np.unique(np.rint(np.geomspace(1, excess.max() + 1, _BINS + 1)))
    counts = np.histogram(excess, edges)[0]
    p = excess.size / float(excess.sum())
    tail = np.exp((edges - 1) * np.log1p(-min(p, 1 - 1e-16)))
    return edges + shift, counts, excess.size * -np.diff(tail)


def _drift(raw: States, states: States) -> Drift:
    from scipy.special import gammaincc

    k = raw.counts.shape[0]
    width = -(-raw.n // k)
    total = raw.counts.sum(axis=1)
    used = total > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        occupancy = np.where(used, raw.counts[:, 1] / np.maximum(total, 1), np.nan)
    statistic, free = 0.0, 0
    for state in (0, 1):
        exits = states.edges[(states.first + state) % 2 :: 2]
        seen = np.bincount(np.minimum(exits // width, k - 1), minlength=k)
        rate = seen.sum() / max(int(raw.counts[:, state].sum()), 1)
        expected = rate * raw.counts[:, state]
        # what varies with the time spent in the state is in the expected exits; their variance is that of the mean time
        variance = rate * total * raw.counts[:, state].sum() / max(int(total.sum()), 1)
        good = variance >= 5
        if np.count_nonzero(good) < 2:
            continue
        statistic += float(((seen - expected)[good] ** 2 / variance[good]).sum()) / (1 - min(rate, 0.9))
        free += int(np.count_nonzero(good)) - 1
    return Drift(
        starts=np.arange(k) * width * raw.step, occupancy=occupancy, low=raw.means[:, 0], high=raw.means[:, 1],
        p_rates=float(gammaincc(free / 2, statistic / 2)) if free else None,
    )  # fmt: skip
