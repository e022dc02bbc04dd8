"""The exact counterpart of the LLG: what a pulse does to the density of the magnetisation on the sphere.

A probability of 1e-9 costs as much as one of 1/2. The observable travels instead of the density where that saves
work: the probability to be found in a well ``relax`` after the pulse is one function on the sphere, common to all
pulses of a junction.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Array, Result, Unit
from voltaspin.core.units import require_positive
from voltaspin.device.density import (
    COARSER,
    MAX_DEGREE,
    built,
    check_cost,
    first_degree,
    generator,
    side_indicator,
    start_density,
    steps,
)
from voltaspin.device.junction import Junction, Pulse, Well
from voltaspin.device.protocol import USUAL, Protocol
from voltaspin.device.sphere import Floats, basis

Progress = Callable[[int, int], None]

ROUNDING = 1e-12  #: what rounding leaves of a probability: no smaller one means anything
BOUND = 1e-6  #: largest error with which a probability that is not told from zero is still answered by a bound


class FokkerPlanckResult(Result):
    """A switching probability with its numerical error.

    A probability that is not resolved (below rounding, or not ten times its error) is 0, and only its upper bound
    means anything: ``high`` or ``WER_high``.

    Args:
        value: probability to be found in the other well (P_sw), from 0 to 1.
        WER: probability to be found in the first well, 1 - value without cancellation, from 0 to 1.
        error: of ``value`` and ``WER``: the change between the two degrees, at least the rounding; the upper bound
            itself where one of them is 0.
        degree: of the finer solution.
    """

    KIND: ClassVar[str] = "switching-probability"

    value: float
    WER: float
    error: float
    degree: int

    @property
    def low(self) -> float:
        """Lower bound of ``value``."""
        return max(self.value - self.error, 0.0)

    @property
    def high(self) -> float:
        """Upper bound of ``value``."""
        return min(self.value + self.error, 1.0)

    @property
    def WER_low(self) -> float:
        """Lower bound of ``WER``."""
        return max(self.WER - self.error, 0.0)

    @property
    def WER_high(self) -> float:
        """Upper bound of ``WER``."""
        return min(self.WER + self.error, 1.0)

    @property
    def P_sw_estimate(self) -> Estimate:
        """``value`` with its bounds."""
        return Estimate(self.value, self.low, self.high, level=1.0)

    @property
    def WER_estimate(self) -> Estimate:
        """``WER`` with its bounds."""
        return Estimate(self.WER, self.WER_low, self.WER_high, level=1.0)


def _honest(flips: float, stays: float, error: float, degree: int) -> FokkerPlanckResult:
    """The result of two solutions: what is not ten times its error becomes 0, with an upper bound.

    Two low degrees may agree to a fifth on a number that is all wrong, so that less than that is no answer.
    """
    smaller = min(flips, stays)
    if smaller <= max(10 * error, ROUNDING):
        bound = min(max(smaller, 0.0) + 2 * max(error, ROUNDING / 2), 1.0)
        flips, stays = (0.0, 1.0) if flips < stays else (1.0, 0.0)
        return FokkerPlanckResult(value=flips, WER=stays, error=bound, degree=degree)
    return FokkerPlanckResult(value=min(flips, 1.0), WER=min(stays, 1.0), error=error, degree=degree)


class SwitchingMap(Result):
    """Switching probabilities over voltage and width.

    Args:
        voltages: float64 (n,) [V].
        widths: float64 (m,) [s].
        P_sw, WER: float64 (n, m), to be found in the other and in the first well.
        error: float64 (n, m), change between the two degrees.
        degree: of the finer solution.
    """

    KIND: ClassVar[str] = "switching-map"

    voltages: Annotated[Array, Unit("V")]
    widths: Annotated[Array, Unit("s")]
    P_sw: Array
    WER: Array
    error: Array
    degree: int


# --- the solver ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FokkerPlanck:
    """The solver by the density: exact but for the degree of the harmonics, of which it states the error.

    Args:
        degree: of the harmonics; raised until two degrees agree where absent.
        rtol: largest relative error of the smaller of P_sw and WER (beyond a rounding of 1e-12); without a
            ``degree`` at most 0.1, because low degrees may agree on a wrong number.
        threads: at most so many; all cores where absent.

    Raises:
        InputError: a degree out of range, or a tolerance that is not positive.
    """

    degree: int | None = None
    rtol: float = 0.01
    threads: int | None = None

    def __post_init__(self) -> None:
        require_positive("rtol", self.rtol, "", "give a relative tolerance, e.g. 0.01")
        if self.degree is not None and not 5 <= self.degree <= MAX_DEGREE:
            raise InputError(f"degree = {self.degree!r} must lie from 5 to {MAX_DEGREE}; leave it out to choose it")

    def switching(self, junction: Junction, pulse: Pulse, protocol: Protocol = USUAL) -> FokkerPlanckResult:
        """Return the probability that one pulse flips the bit; see :func:`switching_probability`."""
        self._check(junction, [pulse] * len(_widths(pulse)), protocol)
        rtol = self.rtol if self.degree is not None else min(self.rtol, 0.1)
        found, error, degree = self._agreed(
            junction, lambda degree: np.array(_outcome(junction, pulse, degree, protocol)),
            allowed=lambda pair: rtol * max(float(pair.min()), 0.0) + ROUNDING, bounded=True,
        )  # fmt: skip
        return _honest(float(found[0]), float(found[1]), float(error.max()), degree)

    def once(self, junction: Junction, pulse: Pulse, protocol: Protocol = USUAL) -> tuple[float, float]:
        """Return (P_sw, WER) at one degree alone, without an error: for searches and fits that are checked later."""
        return _outcome(junction, pulse, self._first(junction), protocol)

    def map(
        self,
        junction: Junction,
        voltages: ArrayLike,
        widths: ArrayLike,
        protocol: Protocol = USUAL,
        *,
        rise: float = 0.0,
        fall: float = 0.0,
        atol: float = 1e-3,
        progress: Progress | None = None,
    ) -> SwitchingMap:
        """Return P_sw and WER on a grid of pulses; see :func:`switching_map`."""
        V, w = np.atleast_1d(np.asarray(voltages, float)), np.atleast_1d(np.asarray(widths, float))
        if V.ndim != 1 or w.ndim != 1 or not len(V) or not len(w) or np.any(np.diff(w) <= 0):
            raise InputError("voltages and widths must be lists of at least one value, the widths ascending")
        rows = [[Pulse(voltage=float(v), width=float(x), rise=rise, fall=fall) for x in w] for v in V]
        self._check(junction, [row[-1] for row in rows], protocol)
        done = passes = 0

        def solve(degree: int) -> Floats:
            nonlocal passes
            basis(degree)
            _observable(junction, degree, protocol.initial, protocol.relax)  # before the threads, so that they share it
            passes += 1

            def row(pulses: list[Pulse]) -> Floats:
                nonlocal done
                stays = _along(junction, pulses, degree, protocol)
                done += 1
                if progress is not None:
                    progress(done, max(passes, 2) * len(V))
                return stays

            if junction.heating is not None:  # every width has its own course of the temperature
                pairs = [[_outcome(junction, pulse, degree, protocol) for pulse in row] for row in rows]
                return np.array(pairs)[:, :, 1]
            with ThreadPoolExecutor(self.threads or os.cpu_count() or 1) as pool:
                return np.stack(list(pool.map(row, rows)))

        stays, error, degree = self._agreed(junction, solve, allowed=lambda _: atol)
        stays = np.clip(stays, 0.0, 1.0)
        return SwitchingMap(voltages=V, widths=w, P_sw=1 - stays, WER=stays, error=error, degree=degree)

    def _check(self, junction: Junction, pulses: list[Pulse], protocol: Protocol) -> None:
        require_positive("temperature", junction.temperature, "K", "at zero kelvin nothing diffuses; use the LLG")
        check_cost(junction, pulses, self._first(junction), protocol.relax, protocol.spin_torque)

    def _first(self, junction: Junction) -> int:
        return first_degree(junction) if self.degree is None else self.degree

    def _agreed(
        self, junction: Junction, solve: Callable[[int], Floats], allowed: Callable[[Floats], float], *,
        bounded: bool = False,
    ) -> tuple[Floats, Floats, int]:  # fmt: skip
        """The solution of the first degree that agrees with a lower one, the change from that, and the degree.

        With ``bounded`` a probability that is smaller than its own small error is an answer too.
        """
        fine = self._first(junction)
        coarse = solve(max(int(COARSER * fine), 4))
        while True:
            found = solve(fine)
            error = np.maximum(abs(found - coarse), 1e-14)
            largest, limit = float(error.max()), allowed(found)
            last = self.degree is not None or fine >= MAX_DEGREE
            # Many steps leave some 1e-12 of rounding, which no higher degree takes away.
            if largest <= limit or (bounded and found.min() <= largest <= (BOUND if last else 10 * ROUNDING)):
                return found, error, fine
            if last:
                raise _unresolved(junction, fine, largest, limit)
            coarse, fine = found, min(math.ceil(fine / COARSER), MAX_DEGREE)


def _unresolved(junction: Junction, degree: int, error: float, limit: float) -> InputError:
    more = math.ceil(degree / COARSER)
    remedy = (
        f"give at least {more}, or leave degree out"
        if more <= MAX_DEGREE
        else f"allow an error of {error:.1g}, raise the temperature, or use llg.switching_probability"
    )
    return InputError(
        f"degree {degree} does not resolve a barrier of {junction.barrier():.3g} k_B T: the probability changes "
        f"by {error:.2g} from degree {int(COARSER * degree)} on, where {limit:.2g} is allowed; {remedy}"
    )


def switching_probability(
    junction: Junction,
    pulse: Pulse,
    *,
    initial: Well = "up",
    relax: float = 10e-9,
    spin_torque: bool = False,
    degree: int | None = None,
    rtol: float = 0.01,
) -> FokkerPlanckResult:
    """Return the probability that one pulse flips the bit, down to write error rates of 1e-9 and below.

    Begins in thermal equilibrium in the well ``initial`` at zero voltage; the side of the reference plane on which m
    lies (the sign of m_z for a perpendicular reference layer) is judged ``relax`` after the pulse.

    Args:
        junction: at a temperature above zero.
        pulse: its edges, low-pass and jitter included.
        initial, relax, spin_torque: of the :class:`Protocol`.
        degree, rtol: of :class:`FokkerPlanck`.

    Returns:
        Both probabilities and the difference between two degrees. A probability that even the largest degree does
        not tell from zero is 0, with an upper bound; so is one that is not ten times its error at a large ``rtol``.

    Raises:
        InputError: a degree, or the largest, does not resolve the barrier; a temperature of zero; a computation
            that would take longer than half an hour.

    Source: W. F. Brown, Phys. Rev. 130, 1677 (1963), for the equation.
    """
    return FokkerPlanck(degree, rtol).switching(junction, pulse, Protocol(initial, relax, spin_torque))


def switching_map(
    junction: Junction,
    *,
    voltages: ArrayLike,
    widths: ArrayLike,
    initial: Well = "up",
    relax: float = 10e-9,
    rise: float = 0.0,
    fall: float = 0.0,
    spin_torque: bool = False,
    degree: int | None = None,
    atol: float = 1e-3,
    threads: int | None = None,
    progress: Progress | None = None,
) -> SwitchingMap:
    """Return P_sw and WER on a grid of pulses: one passage per voltage serves all widths.

    Args:
        junction: at a temperature above zero.
        voltages: of the pulses [V], (n,).
        widths: at half height [s], (m,), ascending.
        initial, relax, spin_torque: of the :class:`Protocol`.
        rise, fall: durations of linear edges [s].
        degree, threads: of :class:`FokkerPlanck`.
        atol: largest admitted difference between the two degrees; the WER of each point carries its own.
        progress: called with (done, total) voltages, twice or more of them: every degree is a pass.

    Returns:
        The map with the error of every point.

    Raises:
        InputError: widths that do not ascend, or as :func:`switching_probability`.
    """
    return FokkerPlanck(degree, threads=threads).map(
        junction, voltages, widths, Protocol(initial, relax, spin_torque), rise=rise, fall=fall, atol=atol,
        progress=progress,
    )  # fmt: skip


def switching_pair(
    junction: Junction, pulse: Pulse, *, relax: float, spin_torque: bool, degree: int
) -> tuple[float, float]:
    """Return (p01, p10) at one degree, without a second one to compare: for fits that are checked as a whole.

    The arguments are those of :func:`switching_probability`; both directions share all that is costly.
    """
    wells: tuple[Well, Well] = ("up", "down")
    p01, p10 = (_outcome(junction, pulse, degree, Protocol(well, relax, spin_torque))[0] for well in wells)
    return min(max(p01, 0.0), 1.0), min(max(p10, 0.0), 1.0)


def switching_grid(
    junction: Junction, voltages: Floats, widths: Floats, *, wells: Sequence[Well], relax: float, degree: int
) -> Floats:
    """Return P_sw of each pulse from each of ``wells`` at one degree, as :func:`switching_pair`: (n, m, wells)."""
    found = np.empty((len(voltages), len(widths), len(wells)))
    for i, k in np.ndindex(len(voltages), len(wells)):
        protocol = Protocol(wells[k], relax)
        pulses = [Pulse(voltage=float(voltages[i]), width=float(w)) for w in widths]
        if junction.heating is None:
            found[i, :, k] = 1 - _along(junction, pulses, degree, protocol)
        else:  # every width has its own course of the temperature
            found[i, :, k] = [_outcome(junction, pulse, degree, protocol)[0] for pulse in pulses]
    return np.clip(found, 0.0, 1.0)


def sufficient_degree(
    junction: Junction, pulse: Pulse, *, relax: float = 10e-9, spin_torque: bool = False, atol: float = 5e-3
) -> int:
    """Return a degree at which p01 and p10 have settled to ``atol``: for fits that take one degree for many cells.

    The width of the wells says it where no further term is on. A torque makes the density narrower than they are.

    Raises:
        InputError: as :func:`voltaspin.device.density.first_degree`, or no degree is enough.
    """
    degree = first_degree(junction)
    if not junction.terms:
        return degree
    coarse = switching_pair(junction, pulse, relax=relax, spin_torque=spin_torque, degree=degree)
    while degree < MAX_DEGREE:
        finer = min(math.ceil(degree / COARSER), MAX_DEGREE)
        fine = switching_pair(junction, pulse, relax=relax, spin_torque=spin_torque, degree=finer)
        if max(abs(a - b) for a, b in zip(coarse, fine, strict=True)) <= atol:
            return degree
        degree, coarse = finer, fine
    raise InputError(
        f"{pulse.voltage:g} V for {pulse.width:g} s on {junction.name}: p01 and p10 still change by more than {atol:g} "
        f"at degree {degree}, the largest; take a weaker or shorter pulse, or llg.switching_probability"
    )


# --- one pulse, and all widths of one voltage ----------------------------------------------------------


def _widths(pulse: Pulse) -> list[tuple[float, float]]:
    """Widths [s] and shares that stand for the jitter: Gauss-Hermite nodes."""
    if pulse.jitter == 0:
        return [(pulse.width, 1.0)]
    nodes, shares = np.polynomial.hermite_e.hermegauss(9)
    return [
        (pulse.width + pulse.jitter * float(x), float(s / shares.sum())) for x, s in zip(nodes, shares, strict=True)
    ]


def _outcome(junction: Junction, pulse: Pulse, degree: int, protocol: Protocol) -> tuple[float, float]:
    """(P_sw, WER) at one degree."""
    start = start_density(junction, degree=degree, well=protocol.initial)
    tail = min(pulse.tail, protocol.relax) if junction.heating is None else protocol.relax  # it cools meanwhile
    flips, stays = 0.0, 0.0
    for width, share in _widths(pulse):
        density, shaped = start, pulse.with_width(width)
        for weights, duration in steps(shaped, junction, 0.0, shaped.duration + tail, spin_torque=protocol.spin_torque):
            density = built(degree, weights).propagate(density, duration)
        left = protocol.relax - tail
        flips += share * float(_observable(junction, degree, protocol.other, left) @ density)
        stays += share * float(_observable(junction, degree, protocol.initial, left) @ density)
    return flips, stays


def _along(junction: Junction, pulses: list[Pulse], degree: int, protocol: Protocol) -> Floats:
    """Probability to stay after each width: the density walks along the top, the observable back up the fall."""
    last, torque = pulses[-1], protocol.spin_torque
    rise, fall = last.rise, last.fall
    density = start_density(junction, degree=degree, well=protocol.initial)
    seen = _observable(junction, degree, protocol.initial, protocol.relax)
    falling = list(steps(last, junction, last.duration - fall, last.duration, spin_torque=torque))
    for weights, duration in reversed(falling):
        seen = built(degree, weights).propagate(seen, duration, adjoint=True)
    for weights, duration in steps(last, junction, 0.0, rise, spin_torque=torque):
        density = built(degree, weights).propagate(density, duration)
    top = generator(junction, last.voltage, degree=degree, spin_torque=torque)
    densities = top.walk(density, [pulse.duration - fall - rise for pulse in pulses])
    return np.array([seen @ density for density in densities])


def _observable(junction: Junction, degree: int, well: Well, relax: float) -> Floats:
    """Probability to be found on the side ``well`` after ``relax`` at zero voltage, as a function of the start."""
    up = _found_up(junction, degree, relax)
    return up if well == "up" else _one(degree) - up


@lru_cache(maxsize=32)
def _found_up(junction: Junction, degree: int, relax: float) -> Floats:
    rest = generator(junction, 0.0, degree=degree)
    function = rest.propagate(side_indicator(degree, junction.reference), relax, adjoint=True)
    function.setflags(write=False)
    return function


def _one(degree: int) -> Floats:
    """The function that is 1 everywhere."""
    function = np.zeros(2 * (degree + 1) ** 2)
    function[0] = math.sqrt(4 * math.pi)
    return function
