"""The exact counterpart of the LLG: density of the magnetisation on the sphere, and what a pulse does to it.

Solves dP/dt = -div(P v) + D lap P with the drift v of the macrospin equation (precession, damping, in-plane
and axial field, VCMA, spin torque) and D = alpha_G gamma' k_B T / (Ms volume), in spherical harmonics
(:mod:`voltaspin.device.sphere`). A probability of 1e-9 costs what one of 1/2 costs.

The observable travels instead of the density where that saves work: the probability to be found in a well
``relax`` after the pulse is one function on the sphere, common to all pulses of a junction.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.core.units import gamma_e, k_B, require_positive
from voltaspin.device.equilibrium import well_sign
from voltaspin.device.junction import Junction, Pulse, Well
from voltaspin.device.sphere import Floats, Generator, basis, from_latitudes, latitude
from voltaspin.device.torque import spin_torque_field

Progress = Callable[[int, int], None]

MAX_DEGREE = 200
COARSER = 0.8  #: the second degree, of which the difference is the error, as a share of the first
ROUNDING = 1e-12  #: what rounding leaves of a probability: no smaller one means anything
BOUND = 1e-6  #: largest error with which a probability that is not told from zero is still answered by a bound

# --- the equation --------------------------------------------------------------------------------------


def term_weights(junction: Junction, voltage: float, *, spin_torque: bool = False) -> Floats:
    """Weights of the seven operators at ``voltage`` [V]: float64 (7,) [1/s], linear in the fields.

    The in-plane field is turned onto x, which changes no probability of a round pillar.
    """
    alpha = junction.alpha_G
    rate = gamma_e / (1 + alpha**2)
    B_k, B_x, B_z = junction.B_k(voltage), junction.B_in_plane, junction.B_bias[2]
    a_J = spin_torque_field(junction, voltage) if spin_torque else 0.0
    diffusion = alpha * rate * k_B * junction.temperature / (junction.Ms * junction.volume)
    return np.array(
        [
            rate * B_k, alpha * rate * B_k, rate * B_x, alpha * rate * B_x, rate * (B_z - alpha * a_J),
            rate * (alpha * B_z + a_J), diffusion,
        ]
    )  # fmt: skip


def generator(junction: Junction, voltage: float, *, degree: int, spin_torque: bool = False) -> Generator:
    """The Fokker-Planck operator of the junction at ``voltage`` [V] in harmonics up to ``degree``."""
    return Generator(basis(degree), term_weights(junction, voltage, spin_torque=spin_torque))


def boltzmann_exponents(junction: Junction) -> Floats:
    """(Delta, b_x, b_z): thermal equilibrium at zero voltage is exp(Delta z^2 + b_x x + b_z z)."""
    to_kT = junction.Ms * junction.volume / (k_B * junction.temperature)
    return np.array([junction.Delta(), junction.B_in_plane * to_kT, junction.B_bias[2] * to_kT])


@lru_cache(maxsize=4)
def _half_sphere(degree: int) -> tuple[Floats, Floats, Floats]:
    """Nodes and weights on 0 < z < 1 and the latitude parts there."""
    nodes, weights = np.polynomial.legendre.leggauss(max(120, 2 * degree))
    z = (nodes + 1) / 2
    return z, weights / 2, latitude(degree, z)


def well_density(exponents: Floats, *, degree: int, well: Well) -> Floats:
    """Thermal equilibrium cut to one half of the sphere, integral 1: coefficients (size,).

    Args:
        exponents: (Delta, b_x, b_z) as :func:`boltzmann_exponents`.
        degree: of the harmonics.
        well: ``"up"`` (z > 0) or ``"down"``.
    """
    from scipy.special import ive

    sign = well_sign(well)
    Delta, b_x, b_z = exponents[0], exponents[1], sign * exponents[2]
    z, weights, parts = _half_sphere(degree)
    s = np.sqrt(1 - z**2)
    log_density = Delta * z**2 + b_z * z + b_x * s
    density = weights * np.exp(log_density - log_density.max())
    m = np.arange(degree + 1)
    around = ive(m[:, None], b_x * s)  # integral of cos(m phi) exp(b_x s cos phi), over 2 pi exp(b_x s)
    coefficients = np.einsum("mlz,mz->ml", parts, around * density)
    total = float(np.sum(around[0] * density))
    return from_latitudes(degree, _mirrored(coefficients / total, sign))


def well_indicator(degree: int, well: Well) -> Floats:
    """The function that is 1 in one half of the sphere and 0 in the other: coefficients (size,)."""
    _, weights, parts = _half_sphere(degree)
    coefficients = np.zeros((degree + 1, degree + 1))
    coefficients[0] = 2 * math.pi * (parts[0] @ weights)
    return from_latitudes(degree, _mirrored(coefficients, well_sign(well)))


def _mirrored(coefficients: Floats, sign: int) -> Floats:
    """Coefficients (m, l) of the function of -z where ``sign`` is -1."""
    odd = np.indices(coefficients.shape).sum(axis=0) % 2
    return coefficients if sign > 0 else coefficients * np.where(odd, -1.0, 1.0)


# --- pulses --------------------------------------------------------------------------------------------


def staircase(pulse: Pulse, junction: Junction, begin: float, end: float) -> Iterator[tuple[float, float]]:
    """Constant voltages [V] and their durations [s] that act as the pulse does between two times.

    Flat parts stay one step. A changing voltage is replaced by the pair of constants of the commutator-free
    Magnus scheme of fourth order, which fits because the equation is linear in the voltage.

    Source: S. Blanes and P. C. Moan, Appl. Numer. Math. 56, 1519 (2006).
    """
    plus, minus = 0.5 + 1 / math.sqrt(3), 0.5 - 1 / math.sqrt(3)
    for a, b, steps, flat in _pieces(pulse, junction, begin, end):
        if steps == 0:
            yield flat, b - a
            continue
        h = (b - a) / steps
        for k in range(steps):
            middle = a + (k + 0.5) * h
            V1, V2 = pulse.voltage_at(np.array([middle - h / math.sqrt(12), middle + h / math.sqrt(12)]))
            yield float(plus * V1 + minus * V2), h / 2
            yield float(minus * V1 + plus * V2), h / 2


def _pieces(pulse: Pulse, junction: Junction, begin: float, end: float) -> Iterator[tuple[float, float, int, float]]:
    """(begin, end, steps, voltage in the middle) of every stretch between knots; no steps where it is flat."""
    knots = np.unique(np.clip([begin, *pulse.knots, end], begin, end))
    turn = gamma_e * abs(junction.B_k(1.0) - junction.B_k(0.0))
    for a, b in pairwise(map(float, knots)):
        inside = pulse.voltage_at(a + (b - a) * np.array([1e-6, 0.5, 1 - 1e-6]))
        swing, steps = float(np.ptp(inside)), 0
        if swing > 1e-9 * abs(pulse.voltage):
            steps = max(2, math.ceil(turn * swing * (b - a) / 0.4))
            if pulse.tau > 0:
                steps = max(steps, math.ceil(2 * (b - a) / pulse.tau))
        yield a, b, steps, float(inside[1])


# --- probabilities -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FokkerPlanckResult:
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
        return FokkerPlanckResult(flips, stays, bound, degree)
    return FokkerPlanckResult(min(flips, 1.0), min(stays, 1.0), error, degree)


def least_degree(junction: Junction) -> int:
    """Degree to begin with: the width of the density in a well is 1 / sqrt(2 Delta)."""
    exponents = np.abs(boltzmann_exponents(junction))
    return int(12 + 6 * math.sqrt(exponents.sum()))


def first_degree(junction: Junction) -> int:
    """Return :func:`least_degree`, or refuse a junction for which no degree is enough.

    Raises:
        InputError: the wells are too narrow for the largest degree; nothing has been computed.
    """
    if (degree := least_degree(junction)) > MAX_DEGREE:
        raise InputError(
            f"Delta = {junction.Delta():.4g} at {junction.temperature:g} K needs harmonics of about degree {degree}, "
            f"and {MAX_DEGREE} is the largest (docs/limits.md): take a higher temperature or a lower Delta, or use "
            "llg.switching_probability"
        )
    return degree


#: Longest computation that is begun [s], and seconds per product of one coefficient with one diagonal.
MOST_SECONDS, _PRODUCT = 1800.0, 4e-10


def _check_cost(junction: Junction, pulses: Sequence[Pulse], degree: int, relax: float, spin_torque: bool) -> None:
    """Refuse what would take longer than ``MOST_SECONDS``, before it begins."""
    size, terms, begun = 2 * (degree + 1) ** 2, 0.0, 0.0
    for pulse in pulses:
        end = pulse.duration + min(pulse.tail, relax)
        steps, swing = 0.0, 0.0
        for _, _, pieces, peak in _pieces(pulse, junction, 0.0, end):
            steps += 2 * pieces
            swing = max(swing, abs(peak))
        longest = math.inf
        for voltage in (pulse.voltage, swing, -swing):
            weights = np.abs(term_weights(junction, voltage, spin_torque=spin_torque))
            reach = (weights[:6].sum() * (degree + 1.5)) + weights[6] * degree * (degree + 1)
            longest = min(longest, 1 / reach if reach else math.inf)
        terms += 1.5 * (end + relax) / longest + 20 * steps
        begun += 2e-7 * steps * size  # a generator for each step
    seconds = float(terms * size * 15 * _PRODUCT + begun)
    if not seconds <= MOST_SECONDS:
        hours = f"{seconds / 3600:.3g} hours" if math.isfinite(seconds) else "an endless time"
        raise InputError(
            f"{len(pulses)} pulse(s) of up to {max(p.width for p in pulses):g} s and {relax:g} s of relaxation would "
            f"take about {hours} at degree {degree}, and {MOST_SECONDS / 3600:g} is the most: give a shorter pulse, a "
            "lower voltage or fewer points; flip_rate answers for long times at a constant voltage"
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
    """Probability that one pulse flips the bit, down to write error rates of 1e-9 and below.

    Begins in thermal equilibrium in the well ``initial`` at zero voltage; the sign of m_z is judged ``relax``
    after the pulse.

    Args:
        junction: at a temperature above zero.
        pulse: its edges, low-pass and jitter included.
        initial: ``"up"`` (bit 0) or ``"down"`` (bit 1).
        relax: time at zero voltage [s].
        spin_torque: see :func:`voltaspin.device.torque.spin_torque_field`.
        degree: of the harmonics; raised until two degrees agree where absent.
        rtol: largest relative error of the smaller of P_sw and WER (beyond a rounding of 1e-12); without a
            ``degree`` at most 0.1, because low degrees may agree on a wrong number.

    Returns:
        Both probabilities and the difference between two degrees. A probability that even the largest degree does
        not tell from zero is 0, with an upper bound; so is one that is not ten times its error at a large ``rtol``.

    Raises:
        InputError: a degree, or the largest, does not resolve the barrier; a temperature of zero; a computation
            that would take longer than half an hour.

    Source: W. F. Brown, Phys. Rev. 130, 1677 (1963), for the equation.
    """
    _checked(junction, relax, degree, rtol)

    def solve(degree: int) -> tuple[float, float]:
        return _outcome(junction, pulse, initial, degree, relax, spin_torque)

    fine = first_degree(junction) if degree is None else degree
    if degree is None:
        rtol = min(rtol, 0.1)
    _check_cost(junction, [pulse] * len(_widths(pulse)), fine, relax, spin_torque)
    coarse = solve(max(int(COARSER * fine), 4))
    while True:
        result = solve(fine)
        error = max(abs(result[0] - coarse[0]), abs(result[1] - coarse[1]), 1e-14)
        smaller = min(result)
        limit = rtol * max(smaller, 0.0) + ROUNDING
        if error <= limit:
            return _honest(*result, error, fine)
        last = degree is not None or fine >= MAX_DEGREE
        # Many steps leave some 1e-12 of rounding, which no higher degree takes away.
        if smaller <= error <= (BOUND if last else 10 * ROUNDING):
            return _honest(*result, error, fine)
        if last:
            raise _unresolved(junction, fine, error, limit)
        coarse, fine = result, min(math.ceil(fine / COARSER), MAX_DEGREE)


def switching_pair(
    junction: Junction, pulse: Pulse, *, relax: float, spin_torque: bool, degree: int
) -> tuple[float, float]:
    """(p01, p10) at one degree, without a second one to compare: for fits that are checked as a whole.

    The arguments are those of :func:`switching_probability`; both directions share all that is costly.
    """
    wells: tuple[Well, Well] = ("up", "down")
    p01, p10 = (_outcome(junction, pulse, initial, degree, relax, spin_torque)[0] for initial in wells)
    return min(max(p01, 0.0), 1.0), min(max(p10, 0.0), 1.0)


def _outcome(
    junction: Junction, pulse: Pulse, initial: Well, degree: int, relax: float, spin_torque: bool
) -> tuple[float, float]:
    """(P_sw, WER) at one degree."""
    other: Well = "down" if initial == "up" else "up"
    start = well_density(boltzmann_exponents(junction), degree=degree, well=initial)
    flips, stays = 0.0, 0.0
    for width, share in _widths(pulse):
        density, left = _after(junction, pulse.with_width(width), start, degree, relax, spin_torque)
        flips += share * float(_observable(junction, degree, other, left) @ density)
        stays += share * float(_observable(junction, degree, initial, left) @ density)
    return flips, stays


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


def _checked(junction: Junction, relax: float, degree: int | None, rtol: float) -> None:
    require_positive("temperature", junction.temperature, "K", "at zero kelvin nothing diffuses; use the LLG")
    require_positive("relax", relax, "s", "give the time before the bit is read, e.g. 10 * ns", zero=True)
    require_positive("rtol", rtol, "", "give a relative tolerance, e.g. 0.01")
    if degree is not None and not 5 <= degree <= MAX_DEGREE:
        raise InputError(f"degree = {degree!r} must lie from 5 to {MAX_DEGREE}; leave it out to have it chosen")


def _widths(pulse: Pulse) -> list[tuple[float, float]]:
    """Widths [s] and shares that stand for the jitter: Gauss-Hermite nodes."""
    if pulse.jitter == 0:
        return [(pulse.width, 1.0)]
    nodes, shares = np.polynomial.hermite_e.hermegauss(9)
    return [
        (pulse.width + pulse.jitter * float(x), float(s / shares.sum())) for x, s in zip(nodes, shares, strict=True)
    ]


def _after(
    junction: Junction, pulse: Pulse, density: Floats, degree: int, relax: float, spin_torque: bool
) -> tuple[Floats, float]:
    """Density when the voltage has vanished, and what is left of ``relax`` then."""
    tail = min(pulse.tail, relax)
    for voltage, duration in staircase(pulse, junction, 0.0, pulse.duration + tail):
        step = generator(junction, voltage, degree=degree, spin_torque=spin_torque)
        density = step.propagate(density, duration)
    return density, relax - tail


def _observable(junction: Junction, degree: int, well: Well, relax: float) -> Floats:
    """Probability to be found in ``well`` after ``relax`` at zero voltage, as a function of the start."""
    up = _found_up(junction, degree, relax)
    return up if well == "up" else _one(degree) - up


@lru_cache(maxsize=32)
def _found_up(junction: Junction, degree: int, relax: float) -> Floats:
    rest = generator(junction, 0.0, degree=degree)
    function = rest.propagate(well_indicator(degree, "up"), relax, adjoint=True)
    function.setflags(write=False)
    return function


def _one(degree: int) -> Floats:
    """The function that is 1 everywhere."""
    function = np.zeros(2 * (degree + 1) ** 2)
    function[0] = math.sqrt(4 * math.pi)
    return function


@dataclass(frozen=True)
class SwitchingMap:
    """Switching probabilities over voltage and width.

    Args:
        voltages: float64 (n,) [V].
        widths: float64 (m,) [s].
        P_sw, WER: float64 (n, m), to be found in the other and in the first well.
        error: float64 (n, m), change between the two degrees.
        degree: of the finer solution.
    """

    voltages: Floats
    widths: Floats
    P_sw: Floats
    WER: Floats
    error: Floats
    degree: int


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
    """P_sw and WER on a grid of pulses: one passage per voltage serves all widths.

    Args:
        junction: at a temperature above zero.
        voltages: of the pulses [V], (n,).
        widths: at half height [s], (m,), ascending.
        initial, relax, spin_torque: as :func:`switching_probability`.
        rise, fall: durations of linear edges [s].
        degree: of the harmonics; raised until two degrees agree where absent.
        atol: largest admitted difference between the two degrees; the WER of each point carries its own.
        threads: at most so many; all cores where absent.
        progress: called with (done, total) voltages, twice or more of them: every degree is a pass.

    Returns:
        The map with the error of every point.

    Raises:
        InputError: widths that do not ascend, or as :func:`switching_probability`.
    """
    _checked(junction, relax, degree, 1.0)
    V, w = np.atleast_1d(np.asarray(voltages, float)), np.atleast_1d(np.asarray(widths, float))
    if V.ndim != 1 or w.ndim != 1 or not len(V) or not len(w) or np.any(np.diff(w) <= 0):
        raise InputError("voltages and widths must be lists of at least one value, the widths ascending")
    fine = first_degree(junction) if degree is None else degree
    longest = [Pulse(voltage=float(v), width=float(w[-1]), rise=rise, fall=fall) for v in V]
    _check_cost(junction, longest, fine, relax, spin_torque)

    def solve(degree: int, begun: int, passes: int) -> Floats:
        basis(degree)
        _observable(junction, degree, initial, relax)  # before the threads, so that they share it
        done = 0

        def row(voltage: float) -> Floats:
            nonlocal done
            stays = _along(junction, voltage, w, initial, relax, rise, fall, spin_torque, degree)
            done += 1
            if progress is not None:
                progress(begun + done, passes * len(V))
            return stays

        with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
            return np.stack(list(pool.map(row, map(float, V))))

    coarse, begun = solve(max(int(COARSER * fine), 4), 0, 2), len(V)
    while True:
        stays = solve(fine, begun, begun // len(V) + 1)
        begun += len(V)
        error = np.maximum(abs(stays - coarse), 1e-14)
        if error.max() <= atol:
            stays = np.clip(stays, 0.0, 1.0)
            return SwitchingMap(V, w, 1 - stays, stays, error, fine)
        if degree is not None or fine >= MAX_DEGREE:
            raise _unresolved(junction, fine, float(error.max()), atol)
        coarse, fine = stays, min(math.ceil(fine / COARSER), MAX_DEGREE)


def _along(
    junction: Junction, voltage: float, widths: Floats, initial: Well, relax: float, rise: float, fall: float,
    spin_torque: bool, degree: int,
) -> Floats:  # fmt: skip
    """Probability to stay after each width: the density walks along the top, the observable back up the fall."""
    pulses = [Pulse(voltage=voltage, width=float(w), rise=rise, fall=fall) for w in widths]
    density = well_density(boltzmann_exponents(junction), degree=degree, well=initial)
    seen = _observable(junction, degree, initial, relax)
    last = pulses[-1]
    for v, duration in reversed(list(staircase(last, junction, last.duration - fall, last.duration))):
        step = generator(junction, v, degree=degree, spin_torque=spin_torque)
        seen = step.propagate(seen, duration, adjoint=True)
    for v, duration in staircase(last, junction, 0.0, rise):
        density = generator(junction, v, degree=degree, spin_torque=spin_torque).propagate(density, duration)
    top = generator(junction, voltage, degree=degree, spin_torque=spin_torque)
    densities = top.walk(density, [pulse.duration - fall - rise for pulse in pulses])
    return np.array([seen @ density for density in densities])
