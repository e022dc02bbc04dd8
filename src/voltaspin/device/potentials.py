"""The Fokker-Planck operator in any field that is a polynomial of the direction, and turned functions on the sphere.

``turn`` of a potential u carries a density along grad u x m, ``fall`` up the gradient of u. Both are products of
sparse matrices, exact but for the cut at the degree: they are built some degrees higher and then cut.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from voltaspin.device.drive import (
    AXIAL,
    DIFFUSE,
    FALL_SHAPE,
    FALL_X,
    FALL_Y,
    TURN_SHAPE,
    TURN_X,
    TURN_Y,
)
from voltaspin.device.sphere import Basis, Floats, Generator, coordinates, from_latitudes, latitude, rotations
from voltaspin.device.terms import Vector

_MARGIN = 6  #: degrees above the cut at which products of up to the sixth order are built


def generator(degree: int, weights: Floats) -> Generator:
    """Return the operator of :func:`voltaspin.device.drive.weights` in harmonics up to ``degree``."""
    parts = [(weights[k], _operator(degree, k)) for k in np.flatnonzero(weights)]
    offsets = np.unique(np.concatenate([[0], *(part[0] for _, part in parts)])).astype(np.int64)
    data = np.zeros((len(offsets), 2 * (degree + 1) ** 2))
    for weight, (at, diagonals) in parts:
        data[np.searchsorted(offsets, at)] += weight * diagonals
    return Generator(Basis(degree, offsets, data[None]), np.ones(1), bounds(degree, weights))


def bounds(degree: int, weights: Floats) -> tuple[float, float]:
    """Return the bounds on the spectrum: -real part and |imaginary part| [1/s]."""
    turn, fall, gather = speeds(weights)
    return weights[DIFFUSE] * degree * (degree + 1) + gather, (turn + fall) * (degree + 1.5)


def speeds(weights: Floats) -> tuple[float, float, float]:
    """Return the largest turning and falling speed, and the largest convergence of the latter [1/s]."""
    z = np.linspace(-1, 1, 401)
    s = np.sqrt(1 - z**2)
    turn_z, fall_z = (np.polynomial.polynomial.polyval(z, weights[AXIAL + k :: 2]) for k in (0, 1))
    turn = np.max(s * abs(turn_z)) + math.hypot(weights[TURN_X], weights[TURN_Y]) + abs(weights[TURN_SHAPE]) / 2
    across = math.hypot(weights[FALL_X], weights[FALL_Y])
    fall = np.max(s * abs(fall_z)) + across + abs(weights[FALL_SHAPE]) / 2
    slope = np.polynomial.polynomial.polyval(z, np.polynomial.polynomial.polyder(weights[AXIAL + 1 :: 2]))
    gather = np.max(abs(s**2 * slope - 2 * z * fall_z)) + 2 * across + 2 * abs(weights[FALL_SHAPE])
    return float(1.02 * turn), float(1.02 * fall), float(1.02 * gather)


@lru_cache(maxsize=128)
def _operator(degree: int, place: int) -> tuple[Floats, Floats]:
    """One operator up to ``degree``: the offsets of its diagonals, and the diagonals (n, size)."""
    power = (place - AXIAL) // 2
    more = degree + max(_MARGIN, power + 3)
    x, y, z = coordinates(more)
    R_x, R_y, R_z = rotations(more)
    l = np.tile(np.arange(more + 1.0), 2 * (more + 1))
    laplacian = sparse.dia_array((-l * (l + 1), 0), shape=(len(l), len(l))).tocsr()
    one = sparse.eye_array(len(l), format="csr")

    def fall(u: sparse.csr_array, laplacian_of_u: sparse.csr_array) -> sparse.csr_array:
        return (u @ laplacian - laplacian @ u - laplacian_of_u) / 2

    if place == DIFFUSE:
        whole = laplacian
    elif place in (TURN_X, TURN_Y):
        whole = -(R_x if place == TURN_X else R_y)
    elif place in (FALL_X, FALL_Y):
        u = x if place == FALL_X else y
        whole = fall(u, -2 * u)
    elif place == TURN_SHAPE:
        whole = -(y @ R_y)
    elif place == FALL_SHAPE:
        whole = fall(y @ y / 2, one - 3 * (y @ y))
    else:
        up = one
        for _ in range(power - 1):
            up = up @ z
        below, here = (up, up @ z) if power > 0 else (0 * one, one)  # z^(power - 1) and z^power
        above = here @ z
        turning = (place - AXIAL) % 2 == 0
        whole = -(here @ R_z) if turning else fall(above / (power + 1), power * below - (power + 2) * above)
    return _cut(whole, more, degree)


def _cut(operator: sparse.csr_array, more: int, degree: int) -> tuple[Floats, Floats]:
    entries = sparse.coo_array(operator)
    row, column = (np.asarray(index, np.int64) for index in entries.coords)
    largest = float(np.abs(entries.data).max(initial=0.0))

    def place(index: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        block, l = np.divmod(index, more + 1)
        return block * (degree + 1) + l, (l <= degree) & (l >= block // 2) & (block != 1)

    (to, kept_row), (source, kept_column) = place(row), place(column)
    some = kept_row & kept_column & (np.abs(entries.data) > 1e-15 * largest)
    offset = (source - to)[some]
    offsets = np.unique(offset)
    data = np.zeros((len(offsets), 2 * (degree + 1) ** 2))
    data[np.searchsorted(offsets, offset), to[some]] = entries.data[some]
    return offsets, data


# --- functions about a direction -----------------------------------------------------------------------


def turned(degree: int, function: Floats, direction: Vector) -> Floats:
    """Return the function turned so that what lay along z lies along ``direction``: coefficients (size,)."""
    x, y, z = direction
    angle, across = math.atan2(math.hypot(x, y), z), math.hypot(x, y)
    if angle == 0:
        return function
    axis = (-y / across, x / across) if across > 0 else (1.0, 0.0)
    rotation = np.zeros(AXIAL + 2)
    rotation[[TURN_X, TURN_Y]] = angle * axis[0], angle * axis[1]
    return generator(degree, rotation).propagate(function, 1.0)


def projected(degree: int, values: Floats, z: Floats, shares: Floats) -> Floats:
    """Return the coefficients (size,) of a function given on rings of latitude.

    Args:
        degree: of the harmonics.
        values: float64 (rings, azimuths), the azimuths equally spaced from 0 on.
        z, shares: latitudes of the rings and the weights of their quadrature, (rings,).
    """
    rings = np.fft.rfft(values, axis=1)[:, : degree + 1] * (2 * math.pi / values.shape[1])
    parts = latitude(degree, z)
    cosines = np.einsum("mlz,zm->ml", parts, shares[:, None] * rings.real)
    sines = np.einsum("mlz,zm->ml", parts, -shares[:, None] * rings.imag)
    out = from_latitudes(degree, cosines).reshape(2 * (degree + 1), degree + 1)
    out[3::2] = sines[1:]
    return out.ravel()
