"""Where the magnetisation rests at zero voltage: the bottom of a well, and thermal equilibrium in it.

Equilibrium in a well is Boltzmann's distribution cut to one half of the sphere. It is sampled exactly instead
of letting an ensemble relax from the bottom of the well: that costs 10 ns of simulated time less, carries no
time-step bias, and no device can have hopped before the pulse begins.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.compiled import numba
from voltaspin.core.errors import InputError
from voltaspin.core.units import k_B, require_count
from voltaspin.device.junction import Junction, Well
from voltaspin.random.streams import Stream, derive_key, high32, low32, philox4x32

_GRID = 20001


def well_sign(well: Well) -> int:
    """Return +1 for ``"up"`` (bit 0), -1 for ``"down"`` (bit 1); raises InputError for another name."""
    if well not in ("up", "down"):
        raise InputError(f"well {well!r} is unknown; use 'up' (parallel, bit 0) or 'down' (bit 1)")
    return 1 if well == "up" else -1


def well_bottom(junction: Junction, well: Well = "up") -> NDArray[np.float64]:
    """Return the unit vector (3,) of least energy at zero voltage in the half sphere of that well."""
    from scipy.optimize import minimize_scalar

    sign = well_sign(well)
    B_k, B_p, B_z = junction.B_k(), junction.B_in_plane, sign * junction.B_bias[2]
    energies = lambda t: -0.5 * B_k * math.cos(t) ** 2 - B_p * math.sin(t) - B_z * math.cos(t)  # noqa: E731
    found = minimize_scalar(energies, bounds=(0, math.pi / 2), method="bounded", options={"xatol": 1e-9})
    theta = min((float(found.x), 0.0, math.pi / 2), key=energies)
    azimuth = math.atan2(junction.B_bias[1], junction.B_bias[0])
    s = math.sin(theta)
    return np.array([s * math.cos(azimuth), s * math.sin(azimuth), sign * math.cos(theta)])


def equilibrium(
    junction: Junction, n: int, *, well: Well = "up", seed: int = 0, ensemble: str | int = 0
) -> NDArray[np.float32]:
    """Return the independent draws from thermal equilibrium at zero voltage, restricted to one half of the sphere.

    The polar coordinate comes from its marginal distribution (inverse of a tabulated integral), the azimuth
    from the von Mises distribution that the in-plane field makes of it.

    Args:
        junction: at its own temperature; at zero kelvin every device stands at the bottom of the well.
        n: number of devices.
        well: ``"up"`` (m_z > 0) or ``"down"``.
        seed, ensemble: name the random numbers; device i always gets the same ones.

    Returns:
        float32 (n, 3), unit vectors.

    Raises:
        InputError: an unknown well or a negative ``n``.

    Source: W. F. Brown, Phys. Rev. 130, 1677 (1963), for the distribution; D. J. Best and N. I. Fisher, Appl.
    Stat. 28, 152 (1979), for drawing the azimuth.
    """
    from scipy.special import i0e

    sign = well_sign(well)
    require_count("n", n, least=0, most=1_000_000_000)
    if junction.temperature == 0:
        return np.tile(well_bottom(junction, well).astype(np.float32), (n, 1))
    to_kT = junction.Ms * junction.volume / (k_B * junction.temperature)
    b_p, b_z, Delta = junction.B_in_plane * to_kT, sign * junction.B_bias[2] * to_kT, junction.Delta()
    # z = 1 - t^2 puts the points of the table where the distribution is narrow.
    t = np.linspace(0, 1, _GRID)
    z = 1 - t**2
    s = np.sqrt(np.maximum(1 - z**2, 0))
    log_density = Delta * z**2 + b_z * z + b_p * s
    density = np.exp(log_density - log_density.max()) * i0e(b_p * s) * 2 * t
    integral = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    draws = Stream.of(seed, "llg", "well", ensemble, well, repr(junction)).uniforms(n)
    z = 1 - np.interp(draws, integral / integral[-1], t) ** 2
    s = np.sqrt(1 - z**2)
    azimuth = np.empty(n)
    _von_mises(np.uint64(derive_key(seed, "llg", "azimuth", ensemble, well, repr(junction))), b_p * s, azimuth)
    azimuth += math.atan2(junction.B_bias[1], junction.B_bias[0])
    return np.stack([s * np.cos(azimuth), s * np.sin(azimuth), sign * z], axis=1).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def _von_mises(key, kappa, out):  # type: ignore[no-untyped-def]
    """Angles with density ~ exp(kappa cos(angle)); Best and Fisher's rejection, one Philox stream each."""
    k0, k1 = low32(key), high32(key)
    for i in range(out.shape[0]):
        k = kappa[i]
        device = np.uint64(i)
        tau = 1 + math.sqrt(1 + 4 * k * k)
        rho = (tau - math.sqrt(2 * tau)) / (2 * k) if k > 1e-4 else k / 2
        block = np.uint64(0)
        while True:
            w0, w1, w2, _ = philox4x32(low32(block), high32(block), low32(device), high32(device), k0, k1)
            block += np.uint64(1)
            u = (float(w1) + 0.5) * 2.0**-32
            if k <= 1e-4:
                out[i] = 2 * math.pi * u  # the density differs from a uniform one by less than 1e-4
                break
            r = (1 + rho * rho) / (2 * rho)
            c = math.cos(math.pi * (float(w0) + 0.5) * 2.0**-32)
            f = (1 + r * c) / (r + c)
            d = k * (r - f)
            if d * (2 - d) > u or math.log(d / u) + 1 - d >= 0:
                angle = math.acos(min(max(f, -1.0), 1.0))
                out[i] = angle if w2 & np.uint64(1) else -angle
                break
