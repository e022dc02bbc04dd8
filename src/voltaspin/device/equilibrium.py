"""Where the magnetisation rests at zero voltage: the bottom of a well, and thermal equilibrium in it.

Equilibrium in a well is Boltzmann's distribution cut to one half of the sphere: the half on the side of the reference
layer is the well up. It is sampled exactly instead of letting an ensemble relax from the bottom of the well: that costs
10 ns of simulated time less, carries no time-step bias, and no device can have hopped before the pulse begins.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.compiled import numba
from voltaspin.core.errors import InputError
from voltaspin.core.units import k_B, require_count
from voltaspin.device.junction import Junction, Well
from voltaspin.device.torque import forces
from voltaspin.random.philox import high32, low32, philox4x32
from voltaspin.random.streams import Stream, derive_key

_GRID = 20001
_LEAST_ACCEPTED = 0.5  #: of the tries of the rejection
_MOST_CELLS = 200_000  #: of its envelope; a few hundred are usual


def well_sign(well: Well) -> int:
    """Return +1 for ``"up"`` (bit 0), -1 for ``"down"`` (bit 1); raises InputError for another name."""
    if well not in ("up", "down"):
        raise InputError(f"well {well!r} is unknown; use 'up' (parallel, bit 0) or 'down' (bit 1)")
    return 1 if well == "up" else -1


def well_bottom(junction: Junction, well: Well = "up") -> NDArray[np.float64]:
    """Return the unit vector (3,) of least energy at zero voltage in the half sphere of that well.

    Where the energy falls towards the other half throughout, that is a place on the border.
    """
    from scipy.optimize import minimize_scalar

    sign = well_sign(well)
    if junction.terms:
        return _lowest(_energy(junction), sign * np.array(junction.reference))
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
    from the von Mises distribution that the in-plane field makes of it. A junction with further terms takes
    rejection under an envelope of patches of the sphere, in each of which the energy has a strict bound.

    Args:
        junction: at its own temperature; at zero kelvin every device stands at the bottom of the well.
        n: number of devices.
        well: ``"up"`` (on the side of the reference layer, +z unless it says otherwise) or ``"down"``.
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
    if junction.terms:
        key = derive_key(seed, "llg", "well", ensemble, well, repr(junction))
        return _cut_boltzmann(_energy(junction) * to_kT, sign * np.array(junction.reference), np.uint64(key), n)
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


# --- with further terms --------------------------------------------------------------------------------


def _energy(junction: Junction) -> NDArray[np.float64]:
    """The energy at zero voltage over -Ms volume [T]: c0 z^2 - c1 (1 - z^2)^2 - c2 y^2 + c3 x + c4 y + c5 z, as c."""
    now = forces(junction, 0.0)
    return np.array([now.B_k / 2, now.B_K2 / 4, now.B_shape / 2, *now.field])


def _height(c: NDArray[np.float64], m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Minus the energy at m (3, ...)."""
    x, y, z = m
    return np.asarray(c[0] * z**2 - c[1] * (1 - z**2) ** 2 - c[2] * y**2 + c[3] * x + c[4] * y + c[5] * z)


def _climb(c: NDArray[np.float64], m: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gradient of :func:`_height` (3, ...)."""
    x, y, z = m
    return np.stack([c[3] + 0 * x, c[4] - 2 * c[2] * y, c[5] + 2 * c[0] * z + 4 * c[1] * z * (1 - z**2)])


def _lowest(c: NDArray[np.float64], half: NDArray[np.float64]) -> NDArray[np.float64]:
    """The highest place of :func:`_height` where m . half >= 0: the best of a grid, then refined."""
    from scipy.optimize import minimize

    theta, phi = np.meshgrid(np.linspace(0, np.pi, 121), np.linspace(0, 2 * np.pi, 240, endpoint=False))
    grid = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]).reshape(3, -1)
    grid = np.concatenate([half[:, None], np.eye(3), -np.eye(3), grid], axis=1)
    grid = grid[:, half @ grid >= 0]
    start = grid[:, np.argmax(_height(c, grid))]
    scale = np.abs(c).max()
    if scale == 0:
        return half
    across = np.linalg.svd(start[None])[2][1:]  # two directions of the tangent plane

    def place(p: NDArray[np.float64]) -> NDArray[np.float64]:
        m = start + p @ across
        return np.asarray(m / np.linalg.norm(m))

    def depth(p: NDArray[np.float64]) -> float:
        return -float(_height(c, place(p))) / float(scale)

    def slope(p: NDArray[np.float64]) -> NDArray[np.float64]:
        m, length = place(p), np.linalg.norm(start + p @ across)
        G = _climb(c, m)
        return np.asarray(-(across @ (G - (G @ m) * m)) / length / scale)

    options: dict[str, Any] = {
        "jac": slope, "method": "SLSQP", "options": {"ftol": 1e-16, "maxiter": 200},
        "constraints": {"type": "ineq", "fun": lambda p: half @ place(p)},
    }  # fmt: skip
    found = minimize(depth, np.zeros(2), **options)
    end = place(found.x)
    return end if half @ end >= -1e-9 and _height(c, end) > _height(c, start) else start


def _envelope(c: NDArray[np.float64], half: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Patches of the half sphere, and a strict upper bound of :func:`_height` in each.

    Patches are divided until at least half of the tries will be accepted. A bound is the second order of Taylor's
    formula around the middle of a patch with the largest curvature in it: nothing is left out.

    Returns:
        (patches (4, k): theta from, to, phi from, to; bounds (k,)).
    """
    theta, phi = np.linspace(0, np.pi, 9), np.linspace(0, 2 * np.pi, 9)
    first = np.meshgrid(np.arange(8), np.arange(8))
    patches = np.stack([theta[first[0]], theta[first[0] + 1], phi[first[1]], phi[first[1] + 1]]).reshape(4, -1)
    while True:
        low, high, left, right = patches
        middle, azimuth = (low + high) / 2, (left + right) / 2
        m = np.stack([np.sin(middle) * np.cos(azimuth), np.sin(middle) * np.sin(azimuth), np.cos(middle)])
        turn = 2 * np.sin((right - left) / 4) ** 2
        # The farthest point of a patch from its middle is a corner, while it covers less than half the azimuths.
        far2 = 2 * np.max(
            [2 * np.sin((end - middle) / 2) ** 2 + np.sin(end) * np.sin(middle) * turn for end in (low, high)], axis=0
        )
        far = np.sqrt(far2)
        G = _climb(c, m)
        normal = np.sum(G * m, axis=0)
        tangent = np.linalg.norm(G - normal * m, axis=0)
        ends = np.clip(np.abs(m[2]) + np.stack([-far, far]), 0, 1) ** 2
        bend = 2 * c[0] + 4 * c[1] * (1 - 3 * ends)
        rise = np.maximum(0, np.maximum(0, bend.max(axis=0)) - normal) / 2
        drop = np.minimum(0, np.minimum(0, bend.min(axis=0)) - normal - 2 * c[2]) / 2
        height, side = _height(c, m), half @ m
        top = height + tangent * far + rise * far2
        bottom = np.where(side > far, height - tangent * far + drop * far2, -np.inf)
        here = side > -far - 1e-12
        area = (np.cos(low) - np.cos(high)) * (right - left)
        most = top[here].max()
        above, below = np.exp(top - most) * area * here, np.exp(bottom - most) * area * here
        if below.sum() >= _LEAST_ACCEPTED * above.sum():
            return patches[:, here], top[here]
        if len(top) > _MOST_CELLS:
            raise InputError("the energy of this junction is too steep beside k_B temperature to draw from; warm it")
        gap = above - below
        split = gap > 0.3 * gap.mean()
        by_theta = split & (high - low >= np.sin(middle) * (right - left))
        by_phi = split & ~by_theta
        halves = [patches[:, here & ~split]]
        for which, row, at in ((by_theta, 1, middle), (by_phi, 3, azimuth)):
            one, two = patches[:, which].copy(), patches[:, which].copy()
            one[row], two[row - 1] = at[which], at[which]
            halves += [one, two]
        patches = np.concatenate(halves, axis=1)


def _cut_boltzmann(c: NDArray[np.float64], half: NDArray[np.float64], key: np.uint64, n: int) -> NDArray[np.float32]:
    patches, top = _envelope(c, half)
    weight = np.exp(top - top.max()) * (np.cos(patches[0]) - np.cos(patches[1])) * (patches[3] - patches[2])
    sums = np.cumsum(weight) / weight.sum()
    sums[-1] = 1.0
    out = np.empty((n, 3))
    _rejection(key, c, half, patches, top, sums, out)
    return out.astype(np.float32)


@numba.njit(inline="always")
def _words_of(block, device, k0, k1):  # type: ignore[no-untyped-def]
    return philox4x32(low32(block), high32(block), low32(device), high32(device), k0, k1)


@numba.njit(cache=True, nogil=True)
def _rejection(key, c, half, patches, top, sums, out):  # type: ignore[no-untyped-def]
    """Unit vectors with density ~ exp(height) where m . half > 0, one Philox stream each."""
    k0, k1 = low32(key), high32(key)
    for i in range(out.shape[0]):
        device, block = np.uint64(i), np.uint64(0)
        while True:
            w0, w1, w2, w3 = _words_of(block, device, k0, k1)
            w4, _, _, _ = _words_of(block + np.uint64(1), device, k0, k1)
            block += np.uint64(2)
            which = np.searchsorted(sums, float(w0) * 2.0**-32 + float(w1) * 2.0**-64, side="right")
            p = min(which, len(sums) - 1)
            near, far = math.cos(patches[0, p]), math.cos(patches[1, p])
            z = near - (float(w2) + 0.5) * 2.0**-32 * (near - far)
            phi = patches[2, p] + (float(w3) + 0.5) * 2.0**-32 * (patches[3, p] - patches[2, p])
            s = math.sqrt((1 - z) * (1 + z))
            x, y = s * math.cos(phi), s * math.sin(phi)
            height = c[0] * z**2 - c[1] * (1 - z**2) ** 2 - c[2] * y**2 + c[3] * x + c[4] * y + c[5] * z
            inside = half[0] * x + half[1] * y + half[2] * z > 0
            if inside and math.log((float(w4) + 0.5) * 2.0**-32) <= height - top[p]:
                out[i, 0], out[i, 1], out[i, 2] = x, y, z
                break
