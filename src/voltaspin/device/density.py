"""The density of the magnetisation on the sphere: its equation, where it begins, and the pulse that drives it.

The equation is dP/dt = -div(P v) + D lap P with the drift v of the macrospin equation (precession, damping, in-plane
and axial field, VCMA, spin torque) and D = alpha_G gamma' k_B T / (Ms volume), in spherical harmonics
(:mod:`voltaspin.device.sphere`). A junction with further terms has operators of its own
(:mod:`voltaspin.device.potentials`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import numpy as np

from voltaspin.core.compiled import numba
from voltaspin.core.errors import InputError
from voltaspin.core.units import gamma_e, k_B
from voltaspin.device import drive, potentials
from voltaspin.device.energy import Energy, hemisphere
from voltaspin.device.equilibrium import well_sign
from voltaspin.device.junction import Junction, Pulse, Well
from voltaspin.device.sphere import Floats, Generator, basis, from_latitudes, latitude
from voltaspin.device.terms import Vector
from voltaspin.device.torque import spin_torque_field
from voltaspin.device.warming import stretches

MAX_DEGREE = 200
_PLAIN = 7  #: weights of a junction without further terms
COARSER = 0.8  #: the second degree, of which the difference is the error, as a share of the first

# --- the equation --------------------------------------------------------------------------------------


def term_weights(junction: Junction, voltage: float, *, spin_torque: bool = False) -> Floats:
    """Return the weights of the seven operators at ``voltage`` [V]: float64 (7,) [1/s], linear in the fields.

    The in-plane field is turned onto x, which changes no probability of a round pillar.

    Raises:
        InputError: a junction with further terms, which has more operators.
    """
    junction.require_plain("the set of seven operators")
    alpha = junction.alpha_G
    rate = gamma_e / (1 + alpha**2)
    B_k, B_x, B_z = junction.B_k(voltage), junction.B_in_plane, junction.B_bias[2]
    a_J = spin_torque_field(junction, voltage) if spin_torque else 0.0
    return np.array(
        [
            rate * B_k, alpha * rate * B_k, rate * B_x, alpha * rate * B_x, rate * (B_z - alpha * a_J),
            rate * (alpha * B_z + a_J), drive.diffusion(junction),
        ]
    )  # fmt: skip


def weights_of(junction: Junction, voltage: float, *, spin_torque: bool = False) -> Floats:
    """Return the weights [1/s] of the operator of any junction at ``voltage`` [V]."""
    if junction.terms:
        return drive.weights(junction, voltage, spin_torque=spin_torque)
    return term_weights(junction, voltage, spin_torque=spin_torque)


def built(degree: int, weights: Floats) -> Generator:
    """Return the operator of :func:`weights_of` in harmonics up to ``degree``."""
    return Generator(basis(degree), weights) if len(weights) == _PLAIN else potentials.generator(degree, weights)


def generator(junction: Junction, voltage: float, *, degree: int, spin_torque: bool = False) -> Generator:
    """Return the Fokker-Planck operator of the junction at ``voltage`` [V] in harmonics up to ``degree``."""
    return built(degree, weights_of(junction, voltage, spin_torque=spin_torque))


def boltzmann_exponents(junction: Junction) -> Floats:
    """Return (Delta, b_x, b_z): thermal equilibrium at zero voltage is exp(Delta z^2 + b_x x + b_z z).

    Raises:
        InputError: a junction with further terms, whose energy is another (:class:`voltaspin.device.energy.Energy`).
    """
    junction.require_plain("the equilibrium of three exponents")
    to_kT = junction.Ms * junction.volume / (k_B * junction.temperature)
    return np.array([junction.Delta(), junction.B_in_plane * to_kT, junction.B_bias[2] * to_kT])


@lru_cache(maxsize=4)
def _half_sphere(degree: int) -> tuple[Floats, Floats, Floats]:
    """Nodes and weights on 0 < z < 1 and the latitude parts there."""
    nodes, weights = np.polynomial.legendre.leggauss(max(120, 2 * degree))
    z = (nodes + 1) / 2
    return z, weights / 2, latitude(degree, z)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def bessel_i(x, orders):  # type: ignore[no-untyped-def]
    """exp(-x) I_k(x) for k below ``orders`` and x >= 0, downward (J. C. P. Miller): float64 (orders, len(x)).

    Thirty times faster than the ``ive`` of scipy, whose tables took a tenth of a fit with many fields.
    """
    out = np.zeros((orders, x.size))
    for i in range(x.size):
        z = x[i]
        if z < 1e-90:  # where all others vanish beside the first
            out[0, i] = 1.0
            continue
        above, here, total = 0.0, 1e-300, 0.0
        for k in range(orders + 40 + int(10 * math.sqrt(z)), 0, -1):
            above, here = here, 2 * k / z * here + above
            if here > 1e200:
                above, here, total = above * 1e-200, here * 1e-200, total * 1e-200
                for m in range(k, orders):
                    out[m, i] *= 1e-200
            if k - 1 < orders:
                out[k - 1, i] = here
            total += here if k == 1 else 2 * here  # exp(z) is I_0 and twice all others
        for m in range(orders):
            out[m, i] /= total
    return out


def well_density(exponents: Floats, *, degree: int, well: Well) -> Floats:
    """Return the thermal equilibrium cut to one half of the sphere, integral 1: coefficients (size,).

    Args:
        exponents: (Delta, b_x, b_z) as :func:`boltzmann_exponents`.
        degree: of the harmonics.
        well: ``"up"`` (z > 0) or ``"down"``.
    """
    sign = well_sign(well)
    Delta, b_x, b_z = exponents[0], exponents[1], sign * exponents[2]
    z, weights, parts = _half_sphere(degree)
    s = np.sqrt(1 - z**2)
    log_density = Delta * z**2 + b_z * z + b_x * s
    density = weights * np.exp(log_density - log_density.max())
    around = bessel_i(b_x * s, degree + 1)  # integral of cos(m phi) exp(b_x s cos phi), over 2 pi exp(b_x s)
    coefficients = np.einsum("mlz,mz->ml", parts, around * density)
    total = float(np.sum(around[0] * density))
    return from_latitudes(degree, _mirrored(coefficients / total, sign))


def well_indicator(degree: int, well: Well) -> Floats:
    """Return the function that is 1 in one half of the sphere and 0 in the other: coefficients (size,)."""
    _, weights, parts = _half_sphere(degree)
    coefficients = np.zeros((degree + 1, degree + 1))
    coefficients[0] = 2 * math.pi * (parts[0] @ weights)
    return from_latitudes(degree, _mirrored(coefficients, well_sign(well)))


def _mirrored(coefficients: Floats, sign: int) -> Floats:
    """Coefficients (m, l) of the function of -z where ``sign`` is -1."""
    odd = np.indices(coefficients.shape).sum(axis=0) % 2
    return coefficients if sign > 0 else coefficients * np.where(odd, -1.0, 1.0)


def start_density(junction: Junction, *, degree: int, well: Well) -> Floats:
    """Return the thermal equilibrium at zero voltage on one side of the reference plane, integral 1: (size,)."""
    if not junction.terms:
        return well_density(boltzmann_exponents(junction), degree=degree, well=well)
    return _start(junction, degree, well)


@lru_cache(maxsize=16)
def _start(junction: Junction, degree: int, well: Well) -> Floats:
    sign = well_sign(well)
    x, y, z = junction.reference
    direction: Vector = (sign * x, sign * y, sign * z)
    energy = Energy.of(junction)
    m, shares, cosines, _ = hemisphere(max(120, 2 * degree), direction)
    exponent = -energy(m)
    values = np.exp(exponent - exponent.max())
    values /= 2 * math.pi * float(shares @ values.mean(axis=1))
    found = potentials.turned(degree, potentials.projected(degree, values, cosines, shares), direction)
    found.setflags(write=False)
    return found


@lru_cache(maxsize=16)
def side_indicator(degree: int, reference: Vector) -> Floats:
    """Return the function that is 1 where m points along ``reference`` rather than against it: (size,)."""
    if reference == (0.0, 0.0, 1.0):
        return well_indicator(degree, "up")
    return potentials.turned(degree, well_indicator(degree, "up"), reference)


# --- pulses --------------------------------------------------------------------------------------------


def staircase(pulse: Pulse, junction: Junction, begin: float, end: float) -> Iterator[tuple[float, float]]:
    """Return the constant voltages [V] and their durations [s] that act as the pulse does between two times.

    Flat parts stay one step. A changing voltage is replaced by the pair of constants of the commutator-free
    Magnus scheme of fourth order, which fits because the equation is linear in the voltage.

    Source: S. Blanes and P. C. Moan, Appl. Numer. Math. 56, 1519 (2006).
    """
    for a, b, count, flat in _stretches(pulse, junction, begin, end):
        if count == 0:
            yield flat, b - a
        for h, (V1, V2) in _pairs(pulse, a, b, count):
            yield float(_PLUS * V1 + _MINUS * V2), h / 2
            yield float(_MINUS * V1 + _PLUS * V2), h / 2


#: Weights of the two voltages of a step in each half of it, by the commutator-free Magnus scheme of fourth order.
_PLUS, _MINUS = 0.5 + 1 / math.sqrt(3), 0.5 - 1 / math.sqrt(3)


def _pairs(pulse: Pulse, a: float, b: float, count: int) -> Iterator[tuple[float, Floats]]:
    """(length [s], the two voltages (2,)) of each of ``count`` steps between two times."""
    for k in range(count):
        h = (b - a) / count
        middle = a + (k + 0.5) * h
        yield h, pulse.voltage_at(np.array([middle - h / math.sqrt(12), middle + h / math.sqrt(12)]))


def steps(
    pulse: Pulse, junction: Junction, begin: float, end: float, *, spin_torque: bool = False
) -> Iterator[tuple[Floats, float]]:
    """Return the constant weights [1/s] and their durations [s] that act as the pulse does between two times.

    Those of :func:`staircase`. With further terms the pairs of the Magnus scheme are made of the weights, which need
    not be linear in the voltage; with self-heating every stretch of time has its own temperature.
    """
    if not junction.terms:
        for voltage, duration in staircase(pulse, junction, begin, end):
            yield term_weights(junction, voltage, spin_torque=spin_torque), duration
        return
    for first, last, warm in stretches(junction, pulse, end):
        for a, b, count, flat in _stretches(pulse, warm, max(first, begin), max(last, begin)):
            at = lambda V, cell=warm: drive.weights(cell, float(V), spin_torque=spin_torque)  # noqa: E731
            if count == 0:
                yield at(flat), b - a
            for h, volts in _pairs(pulse, a, b, count):
                w1, w2 = map(at, volts)
                yield drive.mixed(_PLUS, w1, _MINUS, w2), h / 2
                yield drive.mixed(_MINUS, w1, _PLUS, w2), h / 2


def _stretches(pulse: Pulse, junction: Junction, begin: float, end: float) -> Iterator[tuple[float, float, int, float]]:
    """(begin, end, steps, voltage in the middle) of every stretch between knots; no steps where it is flat."""
    knots = np.unique(np.clip([begin, *pulse.knots, end], begin, end))
    turn = _turn_per_volt(junction, pulse.voltage)
    for a, b in pairwise(map(float, knots)):
        inside = pulse.voltage_at(a + (b - a) * np.array([1e-6, 0.5, 1 - 1e-6]))
        swing, steps = float(np.ptp(inside)), 0
        if swing > 1e-9 * abs(pulse.voltage):
            steps = max(2, math.ceil(turn * swing * (b - a) / 0.4))
            if pulse.tau > 0:
                steps = max(steps, math.ceil(2 * (b - a) / pulse.tau))
        yield a, b, steps, float(inside[1])


def _turn_per_volt(junction: Junction, voltage: float) -> float:
    """By how much a volt changes the speed of m [1/(V s)]."""
    if not junction.terms:
        return gamma_e * abs(junction.B_k(1.0) - junction.B_k(0.0))
    if voltage == 0:
        return 0.0
    change = drive.mixed(
        1.0, drive.weights(junction, voltage, spin_torque=True), -1.0, drive.weights(junction, 0.0, spin_torque=True)
    )
    turn, fall, _ = potentials.speeds(change)
    return 2 * (turn + fall) / abs(voltage)


# --- degrees, and what they cost -----------------------------------------------------------------------


def least_degree(junction: Junction) -> int:
    """Return the degree to begin with: the width of the density in a well is 1 / sqrt(2 Delta)."""
    if junction.terms:
        return int(12 + 6 * math.sqrt(Energy.of(junction).stiffness))
    exponents = np.abs(boltzmann_exponents(junction))
    return int(12 + 6 * math.sqrt(exponents.sum()))


def first_degree(junction: Junction) -> int:
    """Return :func:`least_degree`, or refuse a junction for which no degree is enough.

    Raises:
        InputError: the wells are too narrow for the largest degree; nothing has been computed.
    """
    if (degree := least_degree(junction)) > MAX_DEGREE:
        raise InputError(
            f"{_size_of(junction)} at {junction.temperature:g} K needs harmonics of about degree {degree}, "
            f"and {MAX_DEGREE} is the largest (docs/limits.md): take a higher temperature or a lower Delta, or use "
            "llg.switching_probability"
        )
    return degree


def _size_of(junction: Junction) -> str:
    if junction.terms:
        return f"an energy that spans {Energy.of(junction).stiffness:.4g} k_B T"
    return f"Delta = {junction.Delta():.4g}"


#: Longest computation that is begun [s], and seconds per product of one coefficient with one diagonal.
MOST_SECONDS, _PRODUCT = 1800.0, 4e-10


def cost_of(junction: Junction, pulses: Sequence[Pulse], degree: int, relax: float, spin_torque: bool) -> float:
    """Return about how long the solution for some pulses takes at one degree and at about two thirds of it [s]."""
    size, terms, begun = 2 * (degree + 1) ** 2, 0.0, 0.0
    for pulse in pulses:
        end = pulse.duration + min(pulse.tail, relax)
        pieces_of, swing = 0.0, 0.0
        for _, _, pieces, peak in _stretches(pulse, junction, 0.0, end):
            pieces_of += 2 * pieces
            swing = max(swing, abs(peak))
        if junction.heating is not None:
            pieces_of += sum(1 for _ in stretches(junction, pulse, pulse.duration + relax))
        longest = math.inf
        for voltage in (pulse.voltage, swing, -swing):
            reach = _reach(weights_of(junction, voltage, spin_torque=spin_torque), degree)
            longest = min(longest, 1 / reach if reach else math.inf)
        terms += 1.5 * (end + relax) / longest + 20 * pieces_of
        begun += (2e-6 if junction.terms else 2e-7) * pieces_of * size  # a generator for each step
    return float(terms * size * (40 if junction.terms else 15) * _PRODUCT + begun)


def check_cost(junction: Junction, pulses: Sequence[Pulse], degree: int, relax: float, spin_torque: bool) -> None:
    """Refuse what would take longer than ``MOST_SECONDS``, before it begins."""
    seconds = cost_of(junction, pulses, degree, relax, spin_torque)
    if not seconds <= MOST_SECONDS:
        hours = f"{seconds / 3600:.3g} hours" if math.isfinite(seconds) else "an endless time"
        raise InputError(
            f"{len(pulses)} pulse(s) of up to {max(p.width for p in pulses):g} s and {relax:g} s of relaxation would "
            f"take about {hours} at degree {degree}, and {MOST_SECONDS / 3600:g} is the most: give a shorter pulse, a "
            "lower voltage or fewer points; flip_rate answers for long times at a constant voltage"
        )


def _reach(weights: Floats, degree: int) -> float:
    """Largest rate of change of a coefficient [1/s]."""
    if len(weights) != _PLAIN:
        return float(sum(potentials.bounds(degree, weights)))
    sizes = np.abs(weights)
    return float((sizes[:6].sum() * (degree + 1.5)) + sizes[6] * degree * (degree + 1))
