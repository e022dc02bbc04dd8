"""How long a junction keeps its bit: the rate of thermal flips at a constant voltage.

Four methods, because none covers all barriers: the slowest eigenvalue of the Fokker-Planck operator is exact
but drowns in rounding above some 25 k_B T; Langer's rate with the Mel'nikov-Meshkov depopulation factors
(Kalmykov's formula) keeps its relative accuracy at any height but needs an in-plane field that makes one
saddle; the axial junction has an integral; and what a field too weak for a saddle adds to that integral hardly
depends on the height, so that it is extrapolated from eigenvalues at lower barriers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
from scipy import sparse

from voltaspin.core.errors import InputError
from voltaspin.core.units import gamma_e, k_B
from voltaspin.device.fokker_planck import COARSER, MAX_DEGREE, generator, least_degree, well_indicator
from voltaspin.device.junction import Junction, Well, require_positive
from voltaspin.device.sphere import Floats, as_sparse, occupied

Method = Literal["eigenvalue", "saddle", "axial", "extrapolated"]

#: Barrier [k_B T] up to which the eigenvalue still has its digits in double precision.
EIGENVALUE_LIMIT = 25.0
SADDLE_FIELD = 2.0  #: least energy of the in-plane field [k_B T] that makes a saddle
LOWER = (14.0, 20.0)  #: Delta of the lower barriers from which ``"extrapolated"`` goes up
RTOL = 0.01  #: admitted change of the eigenvalue between two degrees


def flip_rate(
    junction: Junction,
    *,
    voltage: float = 0.0,
    well: Well = "up",
    spin_torque: bool = False,
    method: Method | None = None,
) -> float:
    """Thermal flips out of a well per second at a constant voltage.

    Args:
        junction: with two wells and a barrier of at least 1 k_B T at that voltage.
        voltage: [V]; zero for storage, the read voltage for read disturb.
        well: the one that is left.
        spin_torque: of the current at ``voltage``; eigenvalue only.
        method: by barrier and field where absent: ``"eigenvalue"`` up to 25 k_B T, above that ``"axial"``
            without an in-plane field, ``"extrapolated"`` with one of less than 2 k_B T and ``"saddle"`` with
            a stronger one.

    Returns:
        Rate [1/s]; its inverse is the mean life of the bit.

    Raises:
        InputError: no barrier to speak of, torque above 25 k_B T, or a method that does not apply.

    Source: Y. P. Kalmykov, J. Appl. Phys. 96, 1138 (2004) (saddle); W. F. Brown, Phys. Rev. 130, 1677 (1963).
    """
    require_positive("temperature", junction.temperature, "K", "nothing flips at zero kelvin")
    barrier = junction.barrier(voltage)
    if barrier < 1:
        raise InputError(
            f"the barrier at {voltage:g} V is {barrier:.2g} k_B T; below 1 k_B T there are no two states to flip "
            "between: lower the voltage or the in-plane field, or raise Delta"
        )
    if method is None:
        if barrier <= EIGENVALUE_LIMIT or spin_torque:
            method = "eigenvalue"
        elif junction.B_in_plane == 0:
            method = "axial"
        else:
            method = "saddle" if _field_energy(junction) >= SADDLE_FIELD else "extrapolated"
    if method == "eigenvalue":
        if barrier > EIGENVALUE_LIMIT + 3:
            raise InputError(
                f"a barrier of {barrier:.3g} k_B T is above {EIGENVALUE_LIMIT + 3:g}, where the eigenvalue has no "
                "digits left; use method='saddle' or 'axial', without spin torque"
            )
        return slow_mode(junction, voltage=voltage, spin_torque=spin_torque).rate(well)
    if spin_torque:
        raise InputError(f"method {method!r} has no spin torque; use 'eigenvalue' or spin_torque=False")
    if method == "axial":
        return _axial_rate(junction, voltage, well)
    if method == "saddle":
        return _saddle_rate(junction, voltage, well)
    if method == "extrapolated":
        return _extrapolated_rate(junction, voltage, well)
    raise InputError(f"method {method!r} is unknown; use 'eigenvalue', 'saddle', 'axial' or 'extrapolated'")


def _field_energy(junction: Junction) -> float:
    """Ms V B of the in-plane field over k_B T."""
    return junction.Ms * junction.volume * junction.B_in_plane / (k_B * junction.temperature)


# --- the slowest eigenvalue ----------------------------------------------------------------------------


@dataclass(frozen=True)
class SlowMode:
    """Slowest relaxation of a junction.

    Args:
        eigenvalue: sum of the rates out of both wells [1/s].
        population_up: share of the upper half of the sphere in the stationary state.
        error: relative change of the eigenvalue between two degrees.
        degree: of the finer solution.
    """

    eigenvalue: float
    population_up: float
    error: float
    degree: int

    def rate(self, well: Well) -> float:
        """Rate out of ``well`` [1/s], by detailed balance of the two populations."""
        other = 1 - self.population_up if well == "up" else self.population_up
        return self.eigenvalue * other


@lru_cache(maxsize=64)
def slow_mode(
    junction: Junction, *, voltage: float = 0.0, spin_torque: bool = False, degree: int | None = None
) -> SlowMode:
    """Slowest eigenvalue of the Fokker-Planck operator and the stationary populations at ``voltage`` [V].

    Raises:
        InputError: the degree, or the largest, does not resolve the barrier.
    """
    fine = least_degree(junction) if degree is None else degree
    coarse, _ = _inverse_iteration(junction, voltage, spin_torque, int(COARSER * fine))
    while True:
        eigenvalue, up = _inverse_iteration(junction, voltage, spin_torque, fine)
        error = abs(coarse / eigenvalue - 1)
        if eigenvalue > 0 and error <= RTOL:
            return SlowMode(eigenvalue, up, error, fine)
        if degree is not None or fine >= MAX_DEGREE:
            raise InputError(
                f"degree {fine} does not resolve a barrier of {junction.barrier(voltage):.3g} k_B T: the rate "
                f"changes by {error:.2%} from degree {int(COARSER * fine)} on, where {RTOL:.0%} is allowed; "
                "give a higher degree, or leave it out"
            )
        coarse, fine = eigenvalue, min(math.ceil(fine / COARSER), MAX_DEGREE)


def _inverse_iteration(junction: Junction, voltage: float, spin_torque: bool, degree: int) -> tuple[float, float]:
    """(eigenvalue, stationary population of the upper half)."""
    operator = generator(junction, voltage, degree=degree, spin_torque=spin_torque)
    used = np.flatnonzero(occupied(degree))
    A = sparse.csc_array(as_sparse(operator.basis, operator.diagonals)[used][:, used])
    up = well_indicator(degree, "up")[used]
    # The first coefficient is the total probability, which never changes: what remains is regular.
    whole, inner = 1 / math.sqrt(4 * math.pi), sparse.csc_array(A[1:, 1:])
    solver = sparse.linalg.splu(inner)
    stationary = np.concatenate([[whole], solver.solve(-A[1:, [0]].toarray().ravel() * whole)])
    v: Floats = up[1:].copy()
    eigenvalue = 0.0
    for _ in range(30):
        w = solver.solve(v)
        previous, eigenvalue = eigenvalue, -float(v @ v) / float(v @ w)
        v = w / np.linalg.norm(w)
        if abs(eigenvalue - previous) <= 1e-10 * abs(eigenvalue):
            break
    return eigenvalue, float(up @ stationary)


@lru_cache(maxsize=4)
def _gauss(points: int) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights on -1..1; kept, since they cost 20 times what they are used for."""
    return np.polynomial.legendre.leggauss(points)


# --- over the saddle -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Landscape:
    """Energy -(Delta z^2 + b_x x + b_z z) in k_B T on the great circle through the field: z of its stations."""

    Delta: float
    b_x: float
    b_z: float

    def energy(self, theta: float) -> float:
        c, s = math.cos(theta), math.sin(theta)
        return -(self.Delta * c * c + self.b_x * s + self.b_z * c)

    def slope(self, theta: float) -> float:
        c, s = math.cos(theta), math.sin(theta)
        return 2 * self.Delta * c * s - self.b_x * c + self.b_z * s

    def curvatures(self, theta: float) -> tuple[float, float]:
        """Second derivatives along the meridian and across it."""
        c, s = math.cos(theta), math.sin(theta)
        along = 2 * self.Delta * (c * c - s * s) + self.b_x * s + self.b_z * c
        return along, self.b_x / s

    def stations(self) -> tuple[float, float, float]:
        """Polar angles of the well up, of the saddle and of the well down."""
        from scipy.optimize import brentq

        grid = np.linspace(1e-9, math.pi - 1e-9, 4001)
        slopes = [self.slope(float(t)) for t in grid]
        roots = [
            float(brentq(self.slope, a, b))
            for a, b, u, v in zip(grid[:-1], grid[1:], slopes[:-1], slopes[1:], strict=True)
            if u * v < 0
        ]
        if len(roots) != 3:
            raise InputError(f"the energy has {len(roots)} stations in the plane of the field; a flip needs two wells")
        return roots[0], roots[1], roots[2]

    def loss(self, saddle: float, *, up: bool) -> float:
        """Energy lost in one turn along the separatrix through one well, over alpha_G [k_B T]."""
        z0, C = math.cos(saddle), -self.energy(saddle)
        # On the orbit x = (C - Delta z^2 - b_z z) / b_x; it closes where x^2 + z^2 = 1.
        line = np.array([-self.Delta, -self.b_z, C])
        closed = np.polysub(np.polymul([-(self.b_x**2), 0], [1, 0]), np.polymul(line, line))
        closed[-1] += self.b_x**2
        rest, _ = np.polydiv(closed, np.polymul([1, -z0], [1, -z0]))
        z1 = max(np.roots(rest).real) if up else min(np.roots(rest).real)
        nodes, weights = _gauss(200)
        u, du = (nodes + 1) / 2, weights / 2
        z = z1 - (z1 - z0) * u**2
        x = np.polyval(line, z) / self.b_x
        y = np.sqrt(np.maximum(1 - x**2 - z**2, 1e-300))
        axial = 2 * self.Delta * z + self.b_z
        tangential = self.b_x**2 + axial**2 - (self.b_x * x + axial * z) ** 2
        return float(2 * np.sum(du * 2 * abs(z1 - z0) * u * tangential / (y * self.b_x)))


def depopulation(loss: float) -> float:
    """Mel'nikov-Meshkov factor A(loss) for an energy loss per turn in k_B T: 0 to 1.

    Source: V. I. Mel'nikov and S. V. Meshkov, J. Chem. Phys. 85, 1018 (1986).
    """
    # lambda = tan(t) / 2 makes the weight 1 / (lambda^2 + 1/4) constant.
    nodes, weights = _gauss(400)
    t = (nodes + 1) * math.pi / 4
    integrand = np.log1p(-np.exp(-loss / (4 * np.cos(t) ** 2)))
    return math.exp(2 / math.pi * float(np.sum(weights * math.pi / 4 * integrand)))


def _saddle_rate(junction: Junction, voltage: float, well: Well) -> float:
    kT = k_B * junction.temperature
    to_kT = junction.Ms * junction.volume / kT
    land = _Landscape(junction.Delta(voltage), junction.B_in_plane * to_kT, junction.B_bias[2] * to_kT)
    if land.b_x < SADDLE_FIELD:
        raise InputError(
            f"an in-plane field of {junction.B_in_plane:g} T turns the energy by {land.b_x:.2g} k_B T only, too "
            f"little for a single saddle ({SADDLE_FIELD:g} needed); use method='extrapolated' or 'eigenvalue'"
        )
    up, saddle, down = land.stations()
    alpha = junction.alpha_G
    rate = gamma_e / (1 + alpha**2) / to_kT
    c1, c2 = land.curvatures(saddle)
    growth = rate / 2 * (-alpha * (c1 + c2) + math.sqrt((alpha * (c1 - c2)) ** 2 - 4 * c1 * c2))
    bottom = up if well == "up" else down
    a1, a2 = land.curvatures(bottom)
    height = land.energy(saddle) - land.energy(bottom)
    langer = growth / (2 * math.pi) * math.sqrt(a1 * a2 / (-c1 * c2)) * math.exp(-height)
    losses = [alpha * land.loss(saddle, up=side) for side in (True, False)]
    filled = depopulation(losses[0]) * depopulation(losses[1]) / depopulation(sum(losses))
    return langer * filled


# --- without an in-plane field -------------------------------------------------------------------------


def _axial_rate(junction: Junction, voltage: float, well: Well) -> float:
    """Half the inverse of the mean time from the pole to the top of the barrier, by quadrature in m_z."""
    from scipy.integrate import quad

    if junction.B_in_plane != 0:
        raise InputError(
            f"the in-plane field of {junction.B_in_plane:g} T breaks the axial symmetry; use method='saddle'"
        )
    to_kT = junction.Ms * junction.volume / (k_B * junction.temperature)
    Delta, b_z = junction.Delta(voltage), junction.B_bias[2] * to_kT * (1 if well == "up" else -1)
    top = -b_z / (2 * Delta)
    energy = lambda z: -Delta * z * z - b_z * z  # noqa: E731
    peak, floor = energy(top), energy(1.0)
    inner = lambda z: quad(lambda x: math.exp(floor - energy(x)), z, 1, epsabs=0, limit=200)[0]  # noqa: E731
    # exp(energy) weighs the neighbourhood of the top: substitute away from the pole, where 1 - z^2 vanishes too.
    outer = quad(
        lambda z: math.exp(energy(z) - peak) * inner(z) / (1 - z * z), top, 1, epsabs=0, limit=400,
        points=[min(top + k / math.sqrt(2 * Delta), 0.999) for k in (1, 3)],
    )[0]  # fmt: skip
    alpha = junction.alpha_G
    diffusion = alpha * gamma_e / (1 + alpha**2) / to_kT
    return diffusion / 2 / outer * math.exp(floor - peak)


# --- with a field too weak for a saddle ----------------------------------------------------------------


def _extrapolated_rate(junction: Junction, voltage: float, well: Well) -> float:
    """The axial rate times what the in-plane field adds to it, which is linear in 1 / Delta and near its limit."""
    if (energy := _field_energy(junction)) > SADDLE_FIELD + 1:
        raise InputError(
            f"the in-plane field turns the energy by {energy:.3g} k_B T; above {SADDLE_FIELD + 1:g} it has a saddle: "
            "use method='saddle'"
        )
    Delta, full = junction.Delta(voltage), junction.Delta()
    if Delta < LOWER[1]:
        raise InputError(f"Delta = {Delta:.3g} is below {LOWER[1]:g}, where nothing is extrapolated; use 'eigenvalue'")

    def bare(cell: Junction) -> float:
        return _axial_rate(replace(cell, B_bias=(0.0, 0.0, cell.B_bias[2])), voltage, well)

    def gain(lower: float) -> float:
        cell = junction.with_variation(K_eff_scale=1 + (lower - Delta) / full)  # the voltage takes away as much
        return flip_rate(cell, voltage=voltage, well=well, method="eigenvalue") / bare(cell)

    near, far = (gain(lower) for lower in reversed(LOWER))
    slope = (far - near) / (1 / LOWER[0] - 1 / LOWER[1])
    return (near + slope * (1 / Delta - 1 / LOWER[1])) * bare(junction)
