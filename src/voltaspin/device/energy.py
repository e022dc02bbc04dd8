"""The energy of a junction with further terms on the sphere: its minima, its saddles and the barrier between two sides.

The sides are those of the plane across the reference layer. Stations of the energy are sought from starting points
all over the sphere; their kinds must satisfy Euler's count (minima less saddles plus maxima is 2), or the search is
refused. Where nothing distinguishes the directions across z, they are roots of a polynomial of m_z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.units import k_B
from voltaspin.device.drive import Floats, TermedJunction, drive
from voltaspin.device.landscape import Well
from voltaspin.device.terms import Vector

_STARTS = 600
_FALL, _FALL_STEP = 75, 0.06  #: steps in which points fall into their wells
_SAME = 1e-5  #: distance at which two stations are one
WELLS: tuple[Well, Well] = ("up", "down")


@dataclass(frozen=True)
class Station:
    """A point without slope.

    Args:
        m: unit vector.
        energy: [k_B T].
        curvatures: second derivatives along the two main directions, ascending [k_B T].
        directions: those two, as rows (2, 3).
    """

    m: Floats
    energy: float
    curvatures: tuple[float, float]
    directions: Floats

    @property
    def kind(self) -> int:
        """Directions in which the energy falls: 0 in a minimum, 1 in a saddle, 2 at a maximum."""
        return sum(c < 0 for c in self.curvatures)


@dataclass(frozen=True, eq=False)
class Energy:
    """Energy -(U(z) + b_x x + b_y y - shape y^2) over k_B T.

    Args:
        field: coefficients of the powers of z of dU/dz.
        across: b_x and b_y.
        shape: of an elliptical pillar.
        reference: towards the side ``"up"``.
    """

    field: Floats
    across: tuple[float, float]
    shape: float
    reference: Vector

    @classmethod
    def of(
        cls, junction: TermedJunction, voltage: float = 0.0, *, spin_torque: bool = False, kT: float | None = None
    ) -> Energy:
        """Return the energy at ``voltage`` [V], over ``kT`` [J], that of the junction's temperature where absent.

        Raises:
            InputError: a torque that no energy describes.
        """
        at = drive(junction, voltage, spin_torque=spin_torque)
        scale = junction.Ms * junction.volume / (k_B * junction.temperature if kT is None else kT)
        field = at.field
        if at.torque:
            if not at.axial:
                raise InputError(
                    f"the torque at {voltage:g} V on a layer that is not symmetric about z has no energy and no "
                    "barrier; ask for the barrier at 0 V, or for the rate"
                )
            field = field + at.damping / junction.alpha_G
        return cls(
            scale * field, (scale * at.across[0], scale * at.across[1]), scale * at.shape / 2, junction.reference
        )

    @property
    def axial(self) -> bool:
        """Whether nothing, or 2e-6 of the energy, distinguishes the directions across z."""
        return math.hypot(*self.across) + self.shape <= 2e-6 * self.stiffness

    @cached_property
    def potential(self) -> Floats:
        """Coefficients of the powers of z of U."""
        return np.asarray(np.polynomial.polynomial.polyint(self.field), np.float64)

    @property
    def stiffness(self) -> float:
        """Size of the energy [k_B T], which sets how narrow the density may be."""
        z = np.linspace(-1, 1, 401)
        U = np.polynomial.polynomial.polyval(z, self.potential)
        return float(np.ptp(U)) + math.hypot(*self.across) + self.shape

    def __call__(self, m: Floats) -> Floats:
        """Return the energy of unit vectors (..., 3)."""
        U = np.polynomial.polynomial.polyval(m[..., 2], self.potential)
        return np.asarray(-(U + m[..., 0] * self.across[0] + m[..., 1] * self.across[1] - self.shape * m[..., 1] ** 2))

    def gradient(self, m: Floats) -> Floats:
        """Return the gradient along the sphere (..., 3)."""
        g = self._free_gradient(m)
        return np.asarray(g - np.sum(g * m, axis=-1, keepdims=True) * m)

    def _free_gradient(self, m: Floats) -> Floats:
        g = np.empty_like(m)
        g[..., 0] = -self.across[0]
        g[..., 1] = -self.across[1] + 2 * self.shape * m[..., 1]
        g[..., 2] = -np.polynomial.polynomial.polyval(m[..., 2], self.field)
        return g

    def _hessian(self, m: Floats) -> tuple[Floats, Floats]:
        """Two directions along the sphere (..., 2, 3), and the second derivatives in them (..., 2, 2)."""
        helper = np.where(np.abs(m[..., 2:]) < 0.7, np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0]))
        e1 = np.cross(helper, m)
        e1 /= np.linalg.norm(e1, axis=-1, keepdims=True)
        e = np.stack([e1, np.cross(m, e1)], axis=-2)
        slope = -np.polynomial.polynomial.polyval(m[..., 2], np.polynomial.polynomial.polyder(self.field))
        zz = e[..., :, None, 2] * e[..., None, :, 2] * slope[..., None, None]
        yy = e[..., :, None, 1] * e[..., None, :, 1] * 2 * self.shape
        pull = np.sum(self._free_gradient(m) * m, axis=-1)
        return e, zz + yy - pull[..., None, None] * np.eye(2)

    # --- stations ---

    @cached_property
    def stations(self) -> tuple[Station, ...]:
        """All points without slope, lowest energy first.

        Raises:
            InputError: lines of them, or a search that does not satisfy Euler's count.
        """
        k = np.arange(_STARTS) + 0.5
        z, turn = 1 - 2 * k / _STARTS, math.pi * (1 + math.sqrt(5)) * k
        s = np.sqrt(1 - z**2)
        axes = np.concatenate([np.eye(3), -np.eye(3)])
        m = np.concatenate([np.stack([s * np.cos(turn), s * np.sin(turn), z], axis=1), axes])
        for _ in range(80):  # Newton's steps, of 0.2 at most
            e, H = self._hessian(m)
            g = np.einsum("nij,nj->ni", e, self.gradient(m))
            step = -np.einsum("nij,nj->ni", np.linalg.pinv(H, rcond=1e-12, hermitian=True), g)
            length = np.linalg.norm(step, axis=1, keepdims=True)
            step *= np.minimum(1, 0.2 / np.maximum(length, 1e-300))
            m = m + np.einsum("ni,nij->nj", step, e)
            m /= np.linalg.norm(m, axis=1, keepdims=True)
        size = max(self.stiffness, 1e-300)
        m = m[np.linalg.norm(self.gradient(m), axis=1) < 1e-9 * size]
        found: list[Station] = []
        for point in m:
            if all(np.linalg.norm(point - other.m) > _SAME for other in found):
                e, H = self._hessian(point)
                c, v = np.linalg.eigh(H)
                found.append(Station(point, float(self(point)), (float(c[0]), float(c[1])), v.T @ e))
        flat = any(min(map(abs, s.curvatures)) < 1e-6 * size for s in found)
        if flat or sum((-1) ** s.kind for s in found) != 2:
            raise InputError(
                "the energy has lines of stations, or one that is hardly one, so its saddles are not resolved; make "
                "the pillar or the in-plane field a little less symmetric"
            )
        return tuple(sorted(found, key=lambda s: s.energy))

    def side(self, m: Floats) -> Well:
        """Return the side of the reference plane on which a direction lies."""
        return "up" if float(m @ np.array(self.reference)) > 0 else "down"

    def descend(self, m: Floats) -> Station:
        """Return the minimum into which the energy falls from ``m``."""
        minima = [s for s in self.stations if s.kind == 0]
        for _ in range(20000):
            near = min(minima, key=lambda s: float(np.linalg.norm(m - s.m)))
            if float(np.linalg.norm(m - near.m)) < 0.02:
                return near
            g = self.gradient(m)
            m = m - 0.01 * g / max(float(np.linalg.norm(g)), 1e-300)
            m = m / np.linalg.norm(m)
        raise InputError("the fall from a saddle does not end in a minimum; the energy is too flat to part its wells")

    @cached_property
    def ways(self) -> tuple[tuple[Station, Station, Station], ...]:
        """Every saddle with the two minima that it parts, lowest first."""
        out = []
        for s in self.stations:
            if s.kind == 1:
                ends = [self.descend(_moved(s.m, sign * 0.03 * s.directions[0])) for sign in (1, -1)]
                out.append((s, ends[0], ends[1]))
        return tuple(out)

    @cached_property
    def profile(self) -> tuple[tuple[float, float], ...]:
        """Latitudes z of the stations of an axial energy, poles included, with their energies: z ascending."""
        roots = (
            np.polynomial.polynomial.polyroots(np.trim_zeros(self.field, "b")) if np.any(self.field) else np.array([])
        )
        inside = [float(r.real) for r in roots if abs(r.imag) < 1e-9 and abs(r.real) < 1]
        z = np.array([-1.0, *sorted(inside), 1.0])
        U = -np.polynomial.polynomial.polyval(z, self.potential)
        return tuple(zip(map(float, z), map(float, U), strict=True))

    def heights(self) -> dict[Well, float] | None:
        """Return the lowest pass over the deepest minimum of each side [k_B T]; None where a side has no minimum.

        Raises:
            InputError: as :attr:`stations`.
        """
        return self._axial_heights() if self.axial else self._heights()

    def bottoms(self) -> tuple[float, float] | None:
        """Return the cosine between the layers in the deepest minimum of each side (up, down); None without two."""
        if self.heights() is None:
            return None
        if self.axial:
            minima = self._axial_minima()
            assert minima is not None
            low, high = minima
            ends = high[0] * self.reference[2], low[0] * self.reference[2]
            return ends if self.reference[2] > 0 else (ends[1], ends[0])
        cosines = [float(s.m @ np.array(self.reference)) for s in self.stations if s.kind == 0]
        return next(c for c in cosines if c > 0), next(c for c in cosines if c <= 0)

    def _axial_minima(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """(z, energy) of the deepest minima below and above the plane across z."""
        points = self.profile
        minima = [
            p for k, p in enumerate(points)
            if (k == 0 or points[k - 1][1] > p[1]) and (k == len(points) - 1 or points[k + 1][1] > p[1])
        ]  # fmt: skip
        below, above = ([p for p in minima if side * p[0] > 0] for side in (-1, 1))
        return (min(below, key=_energy), min(above, key=_energy)) if below and above else None

    def _axial_heights(self) -> dict[Well, float] | None:
        # A reference plane that holds the axis makes one state of both sides.
        if self.reference[2] == 0 or (minima := self._axial_minima()) is None:
            return None
        low, high = minima
        top = max(E for z, E in self.profile if low[0] <= z <= high[0])
        heights = top - high[1], top - low[1]
        return dict(zip(WELLS, heights if self.reference[2] > 0 else heights[::-1], strict=True))

    def _heights(self) -> dict[Well, float] | None:
        minima = [s for s in self.stations if s.kind == 0]
        deepest: dict[Well, Station] = {}
        for s in minima:
            deepest.setdefault(self.side(s.m), s)
        if len(deepest) < 2:
            return None
        joined = {id(s): {id(s)} for s in minima}
        for saddle, a, b in self.ways:
            together = joined[id(a)] | joined[id(b)]
            for key in together:
                joined[key] = together
            if id(deepest["up"]) in joined[id(deepest["down"])]:
                return {well: saddle.energy - deepest[well].energy for well in WELLS}
        raise InputError("no saddle joins the two sides; the energy is too flat to part its wells")

    @cached_property
    def log_populations(self) -> dict[str, tuple[float, float]]:
        """Ln of the integral of exp(-energy), by well: over all that falls into it, and over its side of the plane.

        The energy is not symmetric about z. The two numbers differ where the plane cuts through a well.
        """
        z = self.reference
        halves = [
            hemisphere(max(80, int(6 * math.sqrt(self.stiffness)) + 40), way) for way in (z, (-z[0], -z[1], -z[2]))
        ]
        m = np.concatenate([half[0].reshape(-1, 3) for half in halves])
        shares = np.concatenate([np.repeat(half[1] / half[0].shape[1], half[0].shape[1]) for half in halves])
        logs = -self(m) + np.log(2 * math.pi * shares)
        top, above = float(logs.max()), m @ np.array(z) > 0
        weight = np.exp(logs - top)
        for _ in range(_FALL):
            g = self.gradient(m)
            m = m - _FALL_STEP * g / np.maximum(np.linalg.norm(g, axis=1, keepdims=True), 1e-300)
            m /= np.linalg.norm(m, axis=1, keepdims=True)
        minima = [s.m for s in self.stations if s.kind == 0]
        nearest = np.argmax(m @ np.array(minima).T, axis=1)
        falls = np.array([self.side(point) == "up" for point in minima])[nearest]
        with np.errstate(divide="ignore"):  # a well that is far above the other one
            return {
                well: (
                    top + float(np.log(weight[falls == sign].sum())), top + float(np.log(weight[above == sign].sum()))
                )
                for well, sign in zip(WELLS, (True, False), strict=True)
            }  # fmt: skip


def _energy(point: tuple[float, float]) -> float:
    return point[1]


def _moved(m: Floats, step: Floats) -> Floats:
    out = m + step
    return np.asarray(out / np.linalg.norm(out))


def frame(direction: Vector) -> Floats:
    """Return the rotation (3, 3) that :func:`voltaspin.device.potentials.turned` applies; z becomes ``direction``."""
    x, y, z = direction
    across = math.hypot(x, y)
    if across == 0:
        return np.diag([1.0, math.copysign(1, z), math.copysign(1, z)])
    u, v = -y / across, x / across
    s, c = across, z
    return np.array(
        [
            [c + u * u * (1 - c), u * v * (1 - c), v * s],
            [u * v * (1 - c), c + v * v * (1 - c), -u * s],
            [-v * s, u * s, c],
        ]
    )


@lru_cache(maxsize=4)
def hemisphere(rings: int, direction: Vector) -> tuple[Floats, Floats, Floats, Floats]:
    """Return a grid on the half sphere about ``direction``: points, weights and cosines of its rings, rotation.

    The points are (rings, 2 rings, 3); the weights (rings,) are those of the cosine from 0 to 1.
    """
    nodes, shares = np.polynomial.legendre.leggauss(rings)
    z = (nodes + 1) / 2
    azimuth = 2 * math.pi * np.arange(2 * rings) / (2 * rings)
    s = np.sqrt(1 - z**2)[:, None]
    local = np.stack(
        [s * np.cos(azimuth), s * np.sin(azimuth), np.broadcast_to(z[:, None], (rings, 2 * rings))], axis=-1
    )
    rotation = frame(direction)
    return local @ rotation.T, shares / 2, z, rotation
