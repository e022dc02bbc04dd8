"""Magnetometric demagnetising factors of a uniformly magnetised pillar: a round or an elliptic cylinder."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.units import require_positive

_AZIMUTHS = 512  #: of the average over an ellipse, which converges exponentially: 1e-12 at an aspect ratio of 20
_MOST_ASPECT = 20.0


def cylinder_demagnetisation(*, diameter: float, height: float) -> tuple[float, float, float]:
    """Return the demagnetising factors (Nx, Ny, Nz) of a round cylinder.

    Args:
        diameter: [m].
        height: [m].

    Returns:
        Three factors that add up to 1.

    Raises:
        InputError: a length is not positive.

    Source: R. I. Joseph, J. Appl. Phys. 37, 4639 (1966); written with one hypergeometric function as in
    M. Beleggia et al., J. Phys. D 38, 3333 (2005). Tested against the integral over the charged faces.
    """
    _check(diameter, height)
    Nz = float(_axial(np.array(height / diameter)))
    return (1 - Nz) / 2, (1 - Nz) / 2, Nz


def ellipse_demagnetisation(*, diameter: float, diameter_y: float, height: float) -> tuple[float, float, float]:
    """Return the demagnetising factors (Nx, Ny, Nz) of an elliptic cylinder with its long axis along x.

    In Fourier space the integral over the length of the wave vector is that of a round cylinder whose radius is that
    of the ellipse in the direction of the wave vector: Nz is the mean of the round cylinder's over the azimuth, and
    the rest falls to x and y in the shares of the wave vector's direction.

    Args:
        diameter, diameter_y: along x and y [m].
        height: [m].

    Returns:
        Three factors that add up to 1.

    Raises:
        InputError: a length is not positive, or the ellipse is longer than 20 times its width.

    Source: derived from the shape amplitude of M. Beleggia et al., J. Phys. D 38, 3333 (2005). Tested against the
    integral over the charged faces.
    """
    _check(diameter, height)
    require_positive("diameter_y", diameter_y, "m", "give the pillar's short diameter, e.g. 40 * nm")
    if not 1 <= diameter / diameter_y <= _MOST_ASPECT:
        raise InputError(
            f"diameter = {diameter:g} m along x and diameter_y = {diameter_y:g} m: x is the long axis, up to "
            f"{_MOST_ASPECT:g} times the short one; exchange the two, or give a rounder pillar"
        )
    azimuth = 2 * math.pi * (np.arange(_AZIMUTHS) + 0.5) / _AZIMUTHS
    x, y = np.cos(azimuth) / diameter, np.sin(azimuth) / diameter_y
    inverse = np.hypot(x, y)
    Nz = _axial(height * inverse)
    return (
        float(np.mean((x / inverse) ** 2 * (1 - Nz))),
        float(np.mean((y / inverse) ** 2 * (1 - Nz))),
        float(Nz.mean()),
    )


def _axial(tau: NDArray[np.float64]) -> NDArray[np.float64]:
    """Nz of a round cylinder for height over diameter."""
    from scipy.special import hyp2f1

    return np.asarray(1 + 4 / (3 * math.pi * tau) - hyp2f1(-0.5, 0.5, 2.0, -(tau**-2)))


def _check(diameter: float, height: float) -> None:
    require_positive("diameter", diameter, "m", "give the pillar's diameter, e.g. 50 * nm")
    require_positive("height", height, "m", "give the layer's thickness, e.g. 1.1 * nm")
