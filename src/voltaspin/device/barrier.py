"""Rates over a barrier of any height with a symmetry axis, and over the saddle that an in-plane field makes.

Without an in-plane field m_z diffuses by itself, and a torque of polarisation z acts as a field: the rates are
integrals over m_z that hold at any barrier, sums of positive terms in units of the barrier's top, so that a rate
keeps its relative accuracy at any height. With one, an asymptotic formula for high barriers holds at any damping.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.polynomial import legendre

from voltaspin.core.errors import InputError
from voltaspin.device.junction import Well
from voltaspin.device.landscape import Landscape
from voltaspin.device.sphere import Floats

_NODES = 20
#: Depth below the top [k_B T] at which an integral over the barrier ends.
_DEEP = 60.0


@lru_cache(maxsize=1)
def _panel() -> tuple[Floats, Floats, Floats]:
    """Gauss-Legendre nodes, weights, and the matrix that integrates a function from -1 to each node."""
    x, w = legendre.leggauss(_NODES)
    to_coefficients = np.linalg.inv(legendre.legvander(x, _NODES - 1))
    running = [legendre.legint(row, lbnd=-1) for row in np.eye(_NODES)]
    cumulative = np.stack([legendre.legval(x, c) for c in running], axis=1) @ to_coefficients
    return x, w, cumulative


def _side(Delta: float, width: float, reach: float) -> list[float]:
    """Ends of panels on one side of the top: distances from it, fine at the top and towards the pole."""
    scale = 1 / math.sqrt(Delta)
    ends = {k * scale for k in (0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 7)}
    ends |= {width - d for d in map(float, width * 0.5 ** np.arange(1, 12))}
    # A panel as narrow as the rounding of z would hold nodes on the pole itself.
    inside = sorted(d for d in ends if 1e-6 * reach < d < (1 - 1e-6) * reach)
    return [0.0, *(b for a, b in pairwise([0.0, *inside]) if b - a > 1e-6 * reach), reach]


def log_axial_rates(land: Landscape) -> tuple[float, float]:
    """Return the logarithms of the rates out of the well up and the well down over the diffusion constant.

    They are those of the process of two states that has the slowest eigenvalue and the stationary populations of
    the exact one, with the wells parted at the top of the barrier.

    Args:
        land: without an in-plane field and with two wells.
    """
    land.stations()  # refuses where a well is missing
    Delta, top = land.Delta, -land.b_z / (2 * land.Delta)
    wide = {1: 1 - top, -1: 1 + top}
    x, w, cumulative = _panel()
    ends = []
    for sign in (-1, 1):
        side = _side(Delta, wide[sign], min(wide[sign], math.sqrt(_DEEP / Delta)))
        ends += [top - d for d in reversed(side)] if sign < 0 else [top + d for d in side[1:]]
    a, b = np.array(ends[:-1])[:, None], np.array(ends[1:])[:, None]
    half = (b - a) / 2
    z = (a + b) / 2 + half * x
    u = z - top
    # Parts of the populations below and above z, each over that of the whole well on its side.
    f, g = 1 + _share(Delta, u, wide[-1]), 1 + _share(Delta, -u, wide[1])
    kernel = np.exp(-Delta * u**2) / ((1 - z) * (1 + z))
    flux = np.minimum(f, 1) * np.minimum(g, 1)
    mu = 0.0
    for _ in range(200):
        below, above = kernel * flux * f, kernel * flux * g
        # Each integral from its own end: a difference from the whole would lose the small one.
        F = _running(below, half, w, cumulative)
        G = _running(above[::-1, ::-1], half[::-1], w, cumulative)[::-1, ::-1]
        new = g * F + f * G
        before, mu = mu, float(new.max() / flux.max())
        flux = new / new.max()
        if abs(mu - before) <= 1e-13 * mu:
            break
    return -math.log(mu) - _log_well(Delta, wide[1]), -math.log(mu) - _log_well(Delta, wide[-1])


def _running(values: Floats, half: Floats, w: Floats, cumulative: Floats) -> Floats:
    """Integral from the first end to every node."""
    pieces = np.sum(half * w * values, axis=1)
    before = np.concatenate([[0.0], np.cumsum(pieces)[:-1]])
    return np.asarray(before[:, None] + half * (values @ cumulative.T))


def _share(Delta: float, u: Floats, width: float) -> Floats:
    """Integral of exp(Delta v^2) from 0 to u over that from 0 to ``width``."""
    from scipy.special import dawsn

    root = math.sqrt(Delta)
    return np.asarray(np.exp(Delta * (u**2 - width**2)) * dawsn(root * u) / float(dawsn(root * width)))


def _log_well(Delta: float, width: float) -> float:
    """Logarithm of the integral of exp(Delta v^2) from 0 to ``width``: a well's population over exp(-top)."""
    from scipy.special import dawsn

    root = math.sqrt(Delta)
    return Delta * width**2 + math.log(float(dawsn(root * width)) / root)


def log_first_passage(land: Landscape, *, up: bool) -> float:
    """Return ln of half the inverse mean time from a pole to the top of the barrier, over the diffusion constant.

    The other half of those at the top falls back, if the barrier is high and symmetric: at Delta 1 it is 20 % below
    the rate of :func:`log_axial_rates`, in a strong field along z up to 20 % to either side at any height.

    Source: W. F. Brown, Phys. Rev. 130, 1677 (1963).
    """
    land.stations()
    Delta, top = land.Delta, -land.b_z / (2 * land.Delta) * (1 if up else -1)
    width = 1 - top
    ends = np.array(_side(Delta, width, min(width, math.sqrt(_DEEP / Delta))))
    x, w, _ = _panel()
    half = np.diff(ends)[:, None] / 2
    u = ends[:-1, None] + half * (1 + x)
    z = top + u
    time = np.sum(half * w * np.exp(-Delta * u**2) * (1 - _share(Delta, u, width)) / ((1 - z) * (1 + z)))
    return -math.log(2 * float(time)) - _log_well(Delta, width)


SADDLE_FIELD = 2.0  #: least energy of the in-plane field [k_B T] that makes a saddle


@lru_cache(maxsize=4)
def _gauss(points: int) -> tuple[Floats, Floats]:
    """Gauss-Legendre nodes and weights on -1..1; kept, since they cost 20 times what they are used for."""
    return np.polynomial.legendre.leggauss(points)


def _loss(land: Landscape, saddle: float, *, up: bool) -> float:
    """Energy lost in one turn along the separatrix through one well, over alpha_G [k_B T]."""
    z0, C = math.cos(saddle), -land.energy(saddle)
    # On the orbit x = (C - Delta z^2 - b_z z) / b_x; it closes where x^2 + z^2 = 1.
    line = np.array([-land.Delta, -land.b_z, C])
    closed = np.polysub(np.polymul([-(land.b_x**2), 0], [1, 0]), np.polymul(line, line))
    closed[-1] += land.b_x**2
    rest, _ = np.polydiv(closed, np.polymul([1, -z0], [1, -z0]))
    z1 = max(np.roots(rest).real) if up else min(np.roots(rest).real)
    nodes, weights = _gauss(200)
    u, du = (nodes + 1) / 2, weights / 2
    z = z1 - (z1 - z0) * u**2
    x = np.polyval(line, z) / land.b_x
    y = np.sqrt(np.maximum(1 - x**2 - z**2, 1e-300))
    axial = 2 * land.Delta * z + land.b_z
    tangential = land.b_x**2 + axial**2 - (land.b_x * x + axial * z) ** 2
    return float(2 * np.sum(du * 2 * abs(z1 - z0) * u * tangential / (y * land.b_x)))


def depopulation(loss: float) -> float:
    """Return the Mel'nikov-Meshkov factor A(loss) for an energy loss per turn in k_B T: 0 to 1.

    Source: V. I. Mel'nikov and S. V. Meshkov, J. Chem. Phys. 85, 1018 (1986).
    """
    # lambda = tan(t) / 2 makes the weight 1 / (lambda^2 + 1/4) constant.
    nodes, weights = _gauss(400)
    t = (nodes + 1) * math.pi / 4
    integrand = np.log1p(-np.exp(-loss / (4 * np.cos(t) ** 2)))
    return math.exp(2 / math.pi * float(np.sum(weights * math.pi / 4 * integrand)))


def log_saddle_rate(land: Landscape, well: Well, *, alpha_G: float) -> float:
    """Return ln of the rate out of a well over the rate gamma_e / (1 + alpha_G^2) of 1 k_B T of field energy.

    Raises:
        InputError: no two wells, or an in-plane field too weak for a single saddle.

    Source: Y. P. Kalmykov, J. Appl. Phys. 96, 1138 (2004).
    """
    if land.b_x < SADDLE_FIELD:
        raise InputError(
            f"the in-plane field turns the energy by {land.b_x:.2g} k_B T only, too little for a single saddle "
            f"({SADDLE_FIELD:g} needed); use method='flux', 'extrapolated' or 'eigenvalue'"
        )
    up, saddle, down = land.stations()
    c1, c2 = land.curvatures(saddle)
    growth = 0.5 * (-alpha_G * (c1 + c2) + math.sqrt((alpha_G * (c1 - c2)) ** 2 - 4 * c1 * c2))
    bottom = up if well == "up" else down
    a1, a2 = land.curvatures(bottom)
    losses = [alpha_G * _loss(land, saddle, up=side) for side in (True, False)]
    filled = depopulation(losses[0]) * depopulation(losses[1]) / depopulation(sum(losses))
    return math.log(growth / (2 * math.pi) * math.sqrt(a1 * a2 / (-c1 * c2)) * filled) - land.height(well)
