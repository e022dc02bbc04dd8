"""Escape on the sphere: the slowest eigenvalue, and the flux through a latitude, which keeps its digits.

An eigenvalue is a difference at the level of rounding once it is 1e-12 of the fastest rate, some 25 k_B T. The flux
is none: the density is written as exp(-W) g with W near the energy, so that g is of order one in the well and at
the saddle however high the saddle is. Of the functions g that no time changes (two, up to the tiny rate) the
combination that leaves the other well empty carries the escape: rate = flux through the saddle's latitude over the
population. The Boltzmann factor between the two is known and never computed as a difference.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import sparse

from voltaspin.core.errors import InputError
from voltaspin.core.units import k_B
from voltaspin.device.density import COARSER, MAX_DEGREE, generator, least_degree, side_indicator, term_weights
from voltaspin.device.junction import Junction, Well
from voltaspin.device.landscape import Landscape
from voltaspin.device.sphere import Floats, as_sparse, coordinates, latitude, occupied
from voltaspin.device.torque import spin_torque_field
from voltaspin.device.warming import settled

RTOL = 0.01  #: admitted change of a rate between two degrees
#: Eigenvalues below this share of the largest entry of the operator may be rounding: some 30 k_B T.
NOISE = 1e-16

# --- the slowest eigenvalue ----------------------------------------------------------------------------


@dataclass(frozen=True)
class SlowMode:
    """Slowest relaxation of a junction.

    Args:
        eigenvalue: sum of the rates out of both wells [1/s].
        population_up: share of the side of the reference layer, the upper half of the sphere for a perpendicular one,
            in the stationary state.
        error: relative change of the eigenvalue between two degrees.
        degree: of the finer solution.
    """

    eigenvalue: float
    population_up: float
    error: float
    degree: int

    def rate(self, well: Well) -> float:
        """Return the rate out of ``well`` [1/s], by detailed balance of the two populations.

        Raises:
            InputError: the other well's population is too small for the digits of this solution.
        """
        other = 1 - self.population_up if well == "up" else self.population_up
        if other < LEAST_SHARE:
            raise InputError(
                f"the well beside {well!r} holds a share of {max(other, 0):.1g}, which rounding hides; "
                "flip_rate and log_flip_rate give the rate"
            )
        return self.eigenvalue * other


#: Least share of a well that a solution with an error of some 1e-8 still gives to 1 %.
LEAST_SHARE = 1e-5


@lru_cache(maxsize=64)
def slow_mode(
    junction: Junction, *, voltage: float = 0.0, spin_torque: bool = False, degree: int | None = None
) -> SlowMode:
    """Return the slowest eigenvalue of the Fokker-Planck operator and the stationary populations at ``voltage`` [V].

    Raises:
        InputError: the degree, or the largest, does not resolve the barrier, or the eigenvalue is rounding or no real
            number.
    """
    junction = settled(junction, voltage)
    fine = min(least_degree(junction), MAX_DEGREE) if degree is None else degree
    coarse, _, _ = _inverse_iteration(junction, voltage, spin_torque, int(COARSER * fine))
    while True:
        eigenvalue, up, floor = _inverse_iteration(junction, voltage, spin_torque, fine)
        error = abs(coarse / eigenvalue - 1)
        if eigenvalue > floor and error <= RTOL:
            return SlowMode(eigenvalue, min(max(up, 0.0), 1.0), error, fine)
        if degree is not None or fine >= MAX_DEGREE:
            why = (
                f"changes by {error:.2%} from degree {int(COARSER * fine)} on, where {RTOL:.0%} is allowed"
                if eigenvalue > floor
                else f"is below {floor:.1g} per second, where it is rounding"
            )
            barrier = f"a barrier of {junction.barrier(voltage):.3g} k_B T" if not junction.terms else ""
            what = barrier or f"the slowest mode of {junction.name}"
            raise InputError(
                f"degree {fine} does not resolve {what}: the rate {why}; "
                "give a higher degree, or leave it out, or use log_flip_rate, which has methods for high barriers"
            )
        coarse, fine = eigenvalue, min(math.ceil(fine / COARSER), MAX_DEGREE)


def _inverse_iteration(
    junction: Junction, voltage: float, spin_torque: bool, degree: int
) -> tuple[float, float, float]:
    """(eigenvalue, stationary population of the upper half, what rounding makes of a vanishing eigenvalue)."""
    operator = generator(junction, voltage, degree=degree, spin_torque=spin_torque)
    used = np.flatnonzero(occupied(degree))
    A = sparse.csc_array(as_sparse(operator.basis, operator.diagonals)[used][:, used])
    up = side_indicator(degree, junction.reference)[used]
    # The first coefficient is the total probability, which never changes: what remains is regular.
    whole, inner = 1 / math.sqrt(4 * math.pi), sparse.csc_array(A[1:, 1:])
    solver = sparse.linalg.splu(inner)
    stationary = np.concatenate([[whole], solver.solve(-A[1:, [0]].toarray().ravel() * whole)])
    v: Floats = up[1:].copy()
    eigenvalue = 0.0
    for _ in range(30 if not junction.terms else 300):
        w = solver.solve(v)
        previous, eigenvalue = eigenvalue, -float(v @ v) / float(v @ w)
        v = w / np.linalg.norm(w)
        if abs(eigenvalue - previous) <= 1e-10 * abs(eigenvalue):
            break
    else:
        if junction.terms and abs(eigenvalue - previous) > 1e-4 * abs(eigenvalue):
            raise InputError(
                "the slowest mode turns or has an equal beside it, so it is no single rate; "
                "voltaspin.device.relaxation gives the correlation time"
            )
    return eigenvalue, float(up @ stationary), NOISE * float(np.abs(inner.data).max())


# --- flux over population ------------------------------------------------------------------------------

#: Largest degree of the flux: 6 s on one core, and a Delta of some 400.
FLUX_DEGREE = 240
FLUX_DELTA = 400.0
FLUX_ERROR = 0.05  #: largest admitted error of the flux, of which RTOL may be that of the degree
_PLANES = (-0.35, 0.0, 0.35)  #: latitudes of the flux, in widths 1/sqrt(2 Delta) from the saddle


@dataclass(frozen=True)
class _Gauge:
    """The exponent W = -(a z^2 + b x + c z) of the density exp(-W) g."""

    a: float
    b: float
    c: float

    def __call__(self, x: Any, z: Any) -> Any:
        return -(self.a * z * z + self.b * x + self.c * z)


def _gauges(junction: Junction, land: Landscape, well: Well, voltage: float, spin_torque: bool) -> list[_Gauge]:
    """Exponents to try for the escape from one well, the likeliest first.

    A torque does work on the turns that m makes in its well, so that the logarithm of the density there rises by
    about a constant factor faster or slower than the energy. That factor is taken from small turns at the bottom.
    """
    energy = _Gauge(land.Delta, land.b_x, land.b_z)
    if not spin_torque or (a_J := spin_torque_field(junction, voltage)) == 0:
        return [energy]
    work = a_J / junction.alpha_G * junction.Ms * junction.volume / (k_B * junction.temperature)
    moved = _Gauge(land.Delta, land.b_x, land.b_z + work)
    if land.b_x < 1:
        return [moved, energy]
    up, _, down = land.stations()
    bottom = up if well == "up" else down
    factor = 1 + 2 * work * math.cos(bottom) / sum(land.curvatures(bottom))
    if abs(factor - 1) < 0.05:
        return [energy]
    # In a well that the torque deepens the work near the saddle counts more than that at the bottom.
    factors = (factor, 1.0) if factor < 1 else (1 + 1.4 * (factor - 1), 1 + 1.8 * (factor - 1))
    scaled = [_Gauge(c * land.Delta, c * land.b_x, c * land.b_z) for c in factors if c > 0.1]
    if factor > 1 and 1.4 * (factor - 1) * land.height(well) < 14:
        scaled = [energy, scaled[0]]  # g falls by six digits towards the saddle, of which there are twelve
    # A high damping does not leave m the time for turns: the torque then acts as a field nearly everywhere.
    half = (1 + factor) / 2
    between = _Gauge(half * land.Delta, half * land.b_x, half * land.b_z + work / 2)
    return [between, moved] if junction.alpha_G >= 0.08 else scaled


@lru_cache(maxsize=64)
def log_flux_rate(
    junction: Junction, well: Well, *, voltage: float = 0.0, spin_torque: bool = False
) -> tuple[float, float] | None:
    """Return (ln(rate / (1/s)), relative error) of the escape from one well by flux over population, or None.

    The error is the largest of the change between two degrees, of that between latitudes and definitions of the
    empty well, and of the amplified rounding. None where it stays above ``FLUX_ERROR``: the wells are too shallow for
    their rates to have a meaning of their own, or torque and barrier too large.

    Args:
        junction: with two wells of the energy.
        well: the one that is left.
        voltage: constant [V].
        spin_torque: of the current at that voltage.
    """
    land = Landscape.of(junction, voltage)
    land.stations()
    if land.Delta > FLUX_DELTA:
        return None
    gauges = _gauges(junction, land, well, voltage, spin_torque)
    torque = spin_torque and spin_torque_field(junction, voltage) != 0
    first = 10 + (7.5 if torque else 6) * math.sqrt(land.Delta + land.b_x + abs(land.b_z))
    degree = min(max(int(first), 30), FLUX_DEGREE)
    before: dict[_Gauge, float] = {}
    for _ in range(3 if torque else 7):  # with torque a degree costs three times as much, and more seldom helps
        for gauge in gauges:
            found = _flux_rates(junction, gauge, voltage, spin_torque, degree).get(well)
            if found is None:
                continue
            log_rate, error = found
            if gauge in before:
                change = abs(math.expm1(min(before[gauge] - log_rate, 1.0)))
                if change < RTOL and error < FLUX_ERROR:
                    return log_rate, max(error, 2 * change, 1e-4)
            before[gauge] = log_rate
        if not before or degree >= FLUX_DEGREE:
            break
        gauges = [g for g in gauges if g in before]
        degree = min(math.ceil(degree / COARSER), FLUX_DEGREE)
    return None


@lru_cache(maxsize=16)
def _flux_rates(
    junction: Junction, gauge: _Gauge, voltage: float, spin_torque: bool, degree: int
) -> dict[Well, tuple[float, float]]:
    """By well ln(rate) and its relative error but for the degree; wells that are not resolved are missing."""
    land = Landscape.of(junction, voltage)
    try:
        functions, rounding = _unchanging(junction, gauge, voltage, spin_torque, degree)
    except RuntimeError:  # the factor is singular all the same
        return {}
    up, saddle, down = land.stations()
    edge = math.cos(saddle)
    top = float(gauge(math.sin(saddle), edge))
    wells: tuple[Well, Well] = ("up", "down")
    shares: dict[Well, list[Floats]] = {}
    floors: dict[Well, float] = {}
    sizes: dict[Well, Floats] = {}
    for well, bottom in zip(wells, (math.cos(up), math.cos(down)), strict=True):
        pole = 1.0 if well == "up" else -1.0
        z, w = _well_nodes(edge, pole, land.Delta)
        rings = [_on_rings(f, degree, z)[1] for f in functions]
        x = np.sqrt(1 - z[:, None] ** 2) * np.cos(_azimuths(degree))
        exponent = gauge(x, z[:, None])
        floors[well] = float(exponent.min())
        weight = w[:, None] * np.exp(floors[well] - exponent) * (2 * math.pi / x.shape[1])
        cuts = [(z - cut) * pole >= 0 for cut in (edge, (edge + bottom) / 2, (edge + 3 * bottom) / 4)]
        shares[well] = [np.array([float(np.sum((weight * r)[inside])) for r in rings]) for inside in cuts]
        # The functions have norm 1, so that their rounding on the sphere is about that of their coefficients.
        sizes[well] = np.full(2, rounding * float(np.sum(weight)))
    width = 1 / math.sqrt(2 * land.Delta)
    latitudes = np.clip(edge + width * np.array(_PLANES), -0.999, 0.999)
    pairs = [_fluxes(junction, gauge, voltage, spin_torque, f, degree, latitudes, top, rounding) for f in functions]
    fluxes, noise = np.array([p[0] for p in pairs]), float(np.max([p[1] for p in pairs]))
    out: dict[Well, tuple[float, float]] = {}
    for well, other in (wells, wells[::-1]):
        rates, amplified = [], 0.0
        for empty in shares[other]:
            mix = np.array([empty[1], -empty[0]])
            held, flux = float(mix @ shares[well][0]), mix @ fluxes
            if held == 0 or not (flux / held * (1 if well == "up" else -1) > 0).all():
                break
            rates.append(np.abs(flux / held))
            size, doubt = np.abs(mix).sum(), sizes[other] * np.abs(fluxes).max()
            amplified = max(
                amplified, size * noise / np.abs(flux).min(), size * sizes[well][0] / abs(held),
                doubt.sum() / np.abs(flux).min(), float((sizes[other] * np.abs(shares[well][0])).sum()) / abs(held),
            )  # fmt: skip
        if len(rates) < 3:
            continue
        middle = float(rates[1][1])
        spread = float(np.ptp(np.concatenate(rates))) / middle
        out[well] = math.log(middle) - (top - floors[well]), max(spread, float(amplified))
    return out


def _well_nodes(edge: float, pole: float, Delta: float) -> tuple[Floats, Floats]:
    """Nodes and weights in z from the saddle's latitude to a pole, dense at the pole: z = pole (1 - t^2)."""
    nodes, weights = np.polynomial.legendre.leggauss(24)
    reach = math.sqrt(1 - edge * pole)
    ends = [k / math.sqrt(Delta) for k in (0.5, 1, 1.5, 2, 3, 4, 6, 8) if k / math.sqrt(Delta) < reach]
    t, dt = [], []
    for a, b in zip([0.0, *ends], [*ends, reach], strict=True):
        t.append((a + b) / 2 + (b - a) / 2 * nodes)
        dt.append((b - a) / 2 * weights)
    s, ds = np.concatenate(t), np.concatenate(dt)
    return pole * (1 - s**2), 2 * s * ds


def _azimuths(degree: int) -> Floats:
    return 2 * math.pi * np.arange(4 * degree) / (4 * degree)


def _on_rings(f: Floats, degree: int, z: Floats) -> tuple[Floats, Floats, Floats]:
    """(azimuths, values, derivatives with the polar angle) of a function on circles of latitude."""
    P = latitude(degree, z)
    n, m = np.arange(degree + 1), np.arange(degree + 1)[:, None]
    step = np.sqrt(np.maximum((2 * n + 1) / np.maximum(2 * n - 1, 1) * (n * n - m * m), 0))
    # (z^2 - 1) dP_n/dz = n z P_n - step P_(n-1); over the sine it is the derivative with the polar angle.
    dP = n[None, :, None] * z * P
    dP[:, 1:] -= step[:, 1:, None] * P[:, :-1]
    dP /= np.sqrt(1 - z**2)
    c = f.reshape(2 * (degree + 1), degree + 1)
    azimuth = _azimuths(degree)
    cosines, sines = np.cos(m * azimuth), np.sin(m * azimuth)

    def values(part: Floats) -> Floats:
        even = np.matmul(c[0::2, None, :], part)[:, 0]
        odd = np.matmul(c[1::2, None, :], part)[:, 0]
        return np.asarray(even.T @ cosines + odd.T @ sines)

    return azimuth, values(P), values(dP)


def _fluxes(
    junction: Junction, gauge: _Gauge, voltage: float, spin_torque: bool, f: Floats, degree: int, latitudes: Floats,
    top: float, rounding: float,
) -> tuple[Floats, float]:  # fmt: skip
    """Probability per second through circles of latitude towards the well down, over exp(-top), and its rounding."""
    _, fall_K, turn_x, fall_x, _, fall_z, diffusion = term_weights(junction, voltage, spin_torque=spin_torque)
    azimuth, g, slope = _on_rings(f, degree, latitudes)
    z = latitudes[:, None]
    s, c = np.sqrt(1 - z * z), np.cos(azimuth)
    # The polar component of the drift: precession about x, then the fall towards the fields.
    drift = -turn_x * np.sin(azimuth) + fall_x * z * c - (fall_K * z + fall_z) * s
    gauge_slope = -gauge.b * z * c + (gauge.c + 2 * gauge.a * z) * s
    current = g * (drift + diffusion * gauge_slope) - diffusion * slope
    weight = np.exp(top - gauge(s * c, z)) * s * (2 * math.pi / g.shape[1])
    doubt = rounding * float(np.max(np.sum(np.abs(drift) * weight, axis=1)))
    return np.sum(current * weight, axis=1), doubt


def _unchanging(
    junction: Junction, gauge: _Gauge, voltage: float, spin_torque: bool, degree: int
) -> tuple[Floats, float]:
    """Two functions g that span those of which exp(-W) g stays as it is: coefficients (2, size); their rounding.

    With A the Fokker-Planck operator, exp(W) A exp(-W) = A + [W, A] + [W, [W, A]] / 2 is exact and sparse, since A
    is of second order and W a polynomial.
    """
    more = degree + 6  # so that the cut of the products stays outside
    operator = generator(junction, voltage, degree=more, spin_torque=spin_torque)
    A = as_sparse(operator.basis, operator.diagonals)
    x, _, z = coordinates(more)
    W = -(gauge.a * (z @ z) + gauge.b * x + gauge.c * z)
    once = W @ A - A @ W
    whole = A + once + (W @ once - once @ W) / 2
    block, n = np.divmod(np.arange(2 * (more + 1) ** 2), more + 1)
    m = block // 2
    some = np.flatnonzero((n <= degree) & (n >= m) & (m <= degree) & ~((block % 2 == 1) & (m == 0)))
    B = sparse.csc_array(whole[some][:, some])
    largest = float(np.abs(B.data).max())
    B.data[np.abs(B.data) < 1e-14 * largest] = 0
    B.eliminate_zeros()
    # Without the shift the factor of an operator that keeps a constant is singular.
    solver = sparse.linalg.splu(sparse.csc_array(B - 1e-13 * largest * sparse.eye_array(len(some))))
    both = np.zeros((len(some), 2))
    both[np.flatnonzero((n[some] == 0) & (m[some] == 0)), 0] = 1
    both[np.flatnonzero((n[some] == 1) & (m[some] == 0)), 1] = 1
    for _ in range(5):
        both, _ = np.linalg.qr(solver.solve(both))
    place = block[some] * (degree + 1) + n[some]
    out = np.zeros((2, 2 * (degree + 1) ** 2))
    out[:, place] = both.T
    # The slowest of the other rates, the relaxation in a well, divides the rounding of the operator.
    relaxation = abs(float(operator.weights[1]))
    return out, 30 * 2.0**-52 * largest / relaxation
