"""The escape over the saddle that an in-plane field makes, at any damping: an asymptotic formula for high barriers."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.device.junction import Well
from voltaspin.device.landscape import Landscape
from voltaspin.device.sphere import Floats

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


def log_rate(land: Landscape, well: Well, *, alpha_G: float) -> float:
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
