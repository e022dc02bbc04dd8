"""Functions on the unit sphere as real spherical harmonics, and the operators of Brownian magnetism on them.

A function is a vector of coefficients of orthonormal real harmonics up to a degree. Every operator that the
Fokker-Planck equation of a macrospin needs (Laplacian, rotation, drift along the gradient of z, x and z^2) is
sparse there and exact but for the cut at the degree.

Layout: block 2 m holds cos(m phi), block 2 m + 1 holds sin(m phi), each degree + 1 long and indexed by l, with
zeros where l < m. So every coupling of neighbours in l and m is a whole diagonal, and the product of a
generator with a vector is a handful of multiplications of contiguous runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from voltaspin.core.compiled import numba

Floats = NDArray[np.float64]

#: The operators in the order in which :class:`Generator` weights them.
TERMS = ("turn_K", "fall_K", "turn_x", "fall_x", "turn_z", "fall_z", "diffuse")


@dataclass(frozen=True)
class Basis:
    """The seven operators up to one degree.

    ``turn_*`` rotates a density as precession about the field of z^2/2, x or z does, ``fall_*`` carries it up
    the gradient of the same function, ``diffuse`` is the Laplacian.

    Args:
        degree: largest l.
        offsets: int64 (diagonals,), column less row.
        data: float64 (7, diagonals, size); entry [k, d, i] of operator k multiplies element i + offsets[d].
    """

    degree: int
    offsets: NDArray[np.int64]
    data: Floats

    @property
    def size(self) -> int:
        """Length of a vector of coefficients, zeros of the layout included."""
        return 2 * (self.degree + 1) ** 2


def _index(degree: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """l and m of every complex harmonic, in the order l^2 + l + m."""
    l = np.repeat(np.arange(degree + 1), 2 * np.arange(degree + 1) + 1)
    return l, np.arange(len(l)) - l**2 - l


def _matrix(l: NDArray[np.int64], m: NDArray[np.int64], dl: int, dm: int, value: ArrayLike) -> sparse.csr_array:
    """Operator that takes the harmonic (l, m) to value * (l + dl, m + dm), cut at the largest l."""
    to_l, to_m = l + dl, m + dm
    keep = (to_l >= np.abs(to_m)) & (to_l <= l[-1])
    column = np.flatnonzero(keep)
    row = (to_l**2 + to_l + to_m)[keep]
    entries = np.broadcast_to(np.asarray(value, np.complex128), l.shape)[keep]
    return sparse.csr_array((entries, (row, column)), shape=(len(l), len(l)))


def _complex_coordinates(degree: int) -> tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array]:
    """Multiplication by x, y and z in complex harmonics (Condon-Shortley phase), cut at ``degree``."""
    l, m = _index(degree)
    raised = np.sqrt(np.maximum(((l + 1.0) ** 2 - m**2) / ((2 * l + 1) * (2 * l + 3)), 0))
    lowered = np.sqrt(np.maximum((l**2 - m**2) / ((2 * l - 1.0) * (2 * l + 1)), 0))
    z = _matrix(l, m, 1, 0, raised) + _matrix(l, m, -1, 0, lowered)
    up, down = (2.0 * l + 1) * (2 * l + 3), np.maximum((2.0 * l - 1) * (2 * l + 1), 1)
    plus = _matrix(l, m, 1, 1, -np.sqrt((l + m + 1.0) * (l + m + 2) / up)) + _matrix(
        l, m, -1, 1, np.sqrt(np.maximum((l - m) * (l - m - 1.0), 0) / down)
    )
    minus = _matrix(l, m, 1, -1, np.sqrt((l - m + 1.0) * (l - m + 2) / up)) + _matrix(
        l, m, -1, -1, -np.sqrt(np.maximum((l + m) * (l + m - 1.0), 0) / down)
    )
    return (plus + minus) / 2, (plus - minus) / 2j, z


def _complex_rotations(degree: int) -> tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array]:
    """The rotations m x grad about x, y and z in complex harmonics."""
    l, m = _index(degree)
    ladder = l * (l + 1.0) - m**2
    raised = _matrix(l, m, 0, 1, np.sqrt(np.maximum(ladder - m, 0)))
    lowered = _matrix(l, m, 0, -1, np.sqrt(np.maximum(ladder + m, 0)))
    return 0.5j * (raised + lowered), 0.5 * (raised - lowered), _matrix(l, m, 0, 0, 1j * m)


def _complex_operators(degree: int) -> tuple[sparse.csr_array, ...]:
    """The seven in complex harmonics (Condon-Shortley phase), exact up to ``degree``."""
    l, m = _index(degree + 2)
    x, _, z = _complex_coordinates(degree + 2)
    laplacian = _matrix(l, m, 0, 0, -l * (l + 1.0))
    one = sparse.eye_array(len(l), format="csr")
    around_x, _, around_z = _complex_rotations(degree + 2)

    def up_the_gradient(u: sparse.csr_array, laplacian_of_u: sparse.csr_array) -> sparse.csr_array:
        """-div(P grad u) = (u lap P - lap(u P) - P lap u) / 2."""
        return (u @ laplacian - laplacian @ u - laplacian_of_u) / 2

    zz = z @ z
    n = (degree + 1) ** 2
    whole = (
        -(z @ around_z), up_the_gradient(zz / 2, one - 3 * zz), -around_x, up_the_gradient(x, -2 * x),
        -around_z, up_the_gradient(z, -2 * z), laplacian,
    )  # fmt: skip
    return tuple(sparse.csr_array(operator[:n, :n]) for operator in whole)


def _real_entries(
    degree: int, operators: tuple[sparse.csr_array, ...]
) -> list[tuple[NDArray[np.int64], NDArray[np.int64], Floats]]:
    """Rows, columns and values in the layout of real harmonics of operators on complex ones."""
    l, m = _index(degree)
    width = degree + 1
    # Real harmonic j = sum over complex ones: cos from (m, -m), sin likewise.
    a = np.abs(m)
    place = (2 * a + (m < 0)) * width + l
    sign, root = (-1.0) ** a, 1 / math.sqrt(2)
    mirror = l**2 + l - m
    here = np.where(m == 0, 1.0, np.where(m > 0, sign * root, -root / 1j))
    there = np.where(m == 0, 0.0, np.where(m > 0, root, sign * root / 1j))
    row = np.arange(len(l))
    to_real = sparse.csr_array(
        (np.concatenate([here, there]), (np.concatenate([row, row]), np.concatenate([row, mirror])))
    )
    out = []
    for operator in operators:
        real = sparse.coo_array(to_real.conj() @ operator @ to_real.T)
        some = np.abs(real.data.real) > 1e-14
        out.append((place[real.coords[0]][some], place[real.coords[1]][some], real.data.real[some]))
    return out


@lru_cache(maxsize=6)
def basis(degree: int) -> Basis:
    """Return the operators up to ``degree``, kept for the next call."""
    size = 2 * (degree + 1) ** 2
    stack = _real_entries(degree, _complex_operators(degree))
    offsets = np.unique(np.concatenate([c - r for r, c, _ in stack]))
    data = np.zeros((len(stack), len(offsets), size))
    for k, (r, c, v) in enumerate(stack):
        data[k, np.searchsorted(offsets, c - r), r] = v
    return Basis(degree, offsets, data)


@lru_cache(maxsize=4)
def coordinates(degree: int) -> tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array]:
    """Return the multiplication by x, y and z in the layout of a vector of coefficients, cut at ``degree``."""
    x, y, z = (_in_layout(degree, operator) for operator in _complex_coordinates(degree))
    return x, y, z


@lru_cache(maxsize=4)
def rotations(degree: int) -> tuple[sparse.csr_array, sparse.csr_array, sparse.csr_array]:
    """Return the rotations m x grad about x, y and z in the layout of a vector of coefficients."""
    x, y, z = (_in_layout(degree, operator) for operator in _complex_rotations(degree))
    return x, y, z


def _in_layout(degree: int, operator: sparse.csr_array) -> sparse.csr_array:
    size = 2 * (degree + 1) ** 2
    ((row, column, value),) = _real_entries(degree, (operator,))
    return sparse.csr_array((value, (row, column)), shape=(size, size))


def transposed(basis: Basis, diagonals: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Return the offsets and diagonals of the transpose of an operator given by ``diagonals`` (diagonals, size)."""
    flipped = np.zeros_like(diagonals)
    for d, offset in enumerate(basis.offsets):
        lo, hi = max(0, -offset), min(basis.size, basis.size - offset)
        flipped[d, lo + offset : hi + offset] = diagonals[d, lo:hi]
    return -basis.offsets, flipped


def as_sparse(basis: Basis, diagonals: Floats) -> sparse.csr_array:
    """Return the operator given by ``diagonals`` (diagonals, size) as a sparse matrix: the slow, simple form."""
    row = np.arange(basis.size)
    rows, columns, values = [], [], []
    for offset, diagonal in zip(basis.offsets, diagonals, strict=True):
        some = (diagonal != 0) & (row + offset >= 0) & (row + offset < basis.size)
        rows.append(row[some])
        columns.append(row[some] + offset)
        values.append(diagonal[some])
    return sparse.csr_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=(basis.size, basis.size)
    )


def occupied(degree: int) -> NDArray[np.bool_]:
    """Return which places of a vector hold a coefficient: bool (size,)."""
    used = np.zeros(2 * (degree + 1) ** 2, bool)
    for first, last in _runs(degree):
        used[first:last] = True
    return used


def latitude(degree: int, z: ArrayLike) -> Floats:
    """Return the latitude part of every real harmonic: float64 (m = 0..degree, l = 0..degree, points).

    The harmonic is this times 1 for m = 0, cos(m phi) or sin(m phi) otherwise, and all are orthonormal on the
    sphere. Zero where l < m.
    """
    z = np.asarray(z, np.float64)
    s = np.sqrt(np.maximum(1 - z**2, 0))
    P = np.zeros((degree + 1, degree + 1, len(z)))
    P[0, 0] = math.sqrt(1 / (4 * math.pi))
    for m in range(1, degree + 1):
        P[m, m] = math.sqrt((2 * m + 1) / (2 * m)) * s * P[m - 1, m - 1]
    for l in range(1, degree + 1):
        below = np.arange(l)[:, None]
        a = np.sqrt((4.0 * l * l - 1) / (l * l - below**2))
        P[:l, l] = a * z * P[:l, l - 1]
        if l > 1:
            b = np.sqrt(np.maximum((l - 1) ** 2 - below**2, 0) / (4.0 * (l - 1) ** 2 - 1))
            P[:l, l] -= a * b * P[:l, l - 2]
    P[1:] *= math.sqrt(2)
    return P


def from_latitudes(degree: int, part: Floats) -> Floats:
    """Return the coefficients (size,) of a function even in phi, from those of the cosines: (m, l) to a vector."""
    out = np.zeros((2 * (degree + 1), degree + 1))
    out[0::2] = part
    return out.ravel()


# --- propagation ---------------------------------------------------------------------------------------


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
def _expand(offsets, data, runs, pad, weights, v):  # type: ignore[no-untyped-def]
    """Sums over k of weights[k, n] T_k(A) v, Chebyshev's T on i [-1, 1], for every n: float64 (n, padded size).

    A is scaled so that its spectrum is i [-1, 1]. runs: int64 (n, 2), beginning and end of the stretches of a
    vector that hold coefficients.
    """
    now, before = v.copy(), np.zeros_like(v)
    totals = np.empty((weights.shape[1], v.shape[0]))
    for n in range(weights.shape[1]):
        totals[n] = weights[0, n] * v
    for k in range(1, weights.shape[0]):
        factor = 1.0 if k == 1 else 2.0
        for r in range(runs.shape[0]):
            first, last = runs[r, 0], runs[r, 1]
            # `before` becomes the next term. Slices spare the check for negative indices, without which
            # the inner loops vectorise: 7 times faster.
            out = before[pad + first : pad + last]
            for d in range(offsets.shape[0]):
                source = now[pad + first + offsets[d] : pad + last + offsets[d]]
                row = data[d, first:last]
                for i in range(out.shape[0]):
                    out[i] += factor * row[i] * source[i]
            for n in range(weights.shape[1]):
                kept, weight = totals[n, pad + first : pad + last], weights[k, n]
                for i in range(out.shape[0]):
                    kept[i] += weight * out[i]
        now, before = before, now
    return totals


@dataclass(frozen=True)
class Generator:
    """A Fokker-Planck operator at fixed voltage: d(coefficients)/dt = A coefficients.

    Args:
        basis: the operators.
        weights: float64 (7,) [1/s], in the order of TERMS.
        bounds: what :meth:`extent` returns, for operators that are not those seven.
    """

    basis: Basis
    weights: Floats
    bounds: tuple[float, float] | None = None

    @cached_property
    def diagonals(self) -> Floats:
        """Float64 (diagonals, size) [1/s]; kept, since a walk along a pulse asks for them at every width."""
        return np.tensordot(self.weights, self.basis.data, axes=1)

    def extent(self) -> tuple[float, float]:
        """Return the bounds on the spectrum: -real part and |imaginary part| [1/s].

        Rotation of degree l by the local field turns no faster than l times the tangential field, of which
        the largest on the sphere is taken; drift along gradients adds as much again of its own field.
        """
        if self.bounds is not None:
            return self.bounds
        turn_K, fall_K, turn_x, fall_x, turn_z, fall_z, diffuse = np.abs(self.weights)
        z = np.linspace(0, 1, 201)
        s = np.sqrt(1 - z**2)
        # Largest |m x B| over the azimuth is bounded by the sum of the parts.
        turn = np.max(s * (turn_K * z + turn_z)) + turn_x
        fall = np.max(s * (fall_K * z + fall_z)) + fall_x
        L = self.basis.degree
        return diffuse * L * (L + 1) + 2 * (fall_K + fall_x + fall_z), (turn + fall) * (L + 1.5)

    def apply(self, v: Floats) -> Floats:
        """A v: float64 (size,)."""
        return np.asarray(as_sparse(self.basis, self.diagonals) @ v)

    def propagate(self, v: Floats, time: float, *, adjoint: bool = False) -> Floats:
        """exp(time A) v, or exp(time A^T) v for ``adjoint``: float64 (size,)."""
        return _propagate(self.basis, *self._oriented(adjoint), self.extent(), v, [time])[-1]

    def walk(self, v: Floats, times: Sequence[float]) -> list[Floats]:
        """exp(t A) v at every one of the ascending times: the expansions are shared by several of them."""
        return _propagate(self.basis, *self._oriented(False), self.extent(), v, times)

    def propagate_with_slope(
        self, v: Floats, dv: Floats, d_weights: Floats, time: float, *, adjoint: bool = False
    ) -> tuple[Floats, Floats]:
        """exp(time A) v and its derivative along (d_weights, dv): two float64 (size,).

        One exponential of the block matrix [[A, 0], [dA, A]], which is exact.

        Source: C. Van Loan, IEEE Trans. Autom. Control 23, 395 (1978).
        """
        slope = Generator(self.basis, d_weights)
        extent, reach = self.extent(), sum(slope.extent())
        if reach == 0:
            return self.propagate(v, time, adjoint=adjoint), self.propagate(dv, time, adjoint=adjoint)
        # A small dA leaves the spectrum where it is; the problem is linear in it.
        scale = 1e-3 * max(extent) / reach
        offsets, diagonals = self._oriented(adjoint)
        _, d_diagonals = slope._oriented(adjoint)
        size = self.basis.size
        gap = size + 2 * int(np.abs(offsets).max())
        both = np.zeros((2 * len(offsets), 2 * gap))
        both[: len(offsets), :size] = diagonals
        both[: len(offsets), gap : gap + size] = diagonals
        both[len(offsets) :, gap : gap + size] = scale * d_diagonals
        start = np.zeros(2 * gap)
        start[:size], start[gap : gap + size] = v, scale * dv
        end = _propagate(self.basis, np.concatenate([offsets, offsets - gap]), both, extent, start, [time])[-1]
        return end[:size], end[gap : gap + size] / scale

    def _oriented(self, adjoint: bool) -> tuple[NDArray[np.int64], Floats]:
        """Offsets and diagonals of the operator or of its transpose."""
        if not adjoint:
            return self.basis.offsets, self.diagonals
        return transposed(self.basis, self.diagonals)


#: Longest expansion: its terms grow by exp(decay), which costs 1.5 of sixteen digits, and turn through the phase.
_MOST_DECAY, _MOST_PHASE = 3.5, 150.0


def _propagate(
    basis: Basis, offsets: NDArray[np.int64], diagonals: Floats, extent: tuple[float, float], v: Floats,
    times: Sequence[float],
) -> list[Floats]:  # fmt: skip
    """exp(t A) v at ascending times, A given by diagonals, by Chebyshev expansions of the exponential on i [-1, 1].

    The real part of the spectrum lies off that line: see _MOST_DECAY. A vector may hold several functions,
    each as long as its share of the diagonals.
    """
    depth, height = extent
    height = max(height, depth / 2)
    if height == 0:
        return [v.copy() for _ in times]
    longest = min(_MOST_DECAY / (depth / 2) if depth else np.inf, _MOST_PHASE / height)
    one = _runs(basis.degree)
    copies = 1 if len(v) == basis.size else 2
    runs = np.concatenate([one + k * (len(v) // copies) for k in range(copies)])
    middle = offsets == 0
    kept = middle | diagonals.any(axis=1)  # without a field along z a quarter of them is empty
    offsets, middle, scaled = offsets[kept], middle[kept], diagonals[kept] / height
    for first, last in runs:
        scaled[middle, first:last] += depth / 2 / height
    pad = int(np.abs(offsets).max())
    now = np.zeros(len(v) + 2 * pad)
    now[pad : len(v) + pad] = v
    out = list[Floats]()
    for spans, repeats in _plan(times, longest):
        weights = _weights(depth / 2, height, spans)
        for _ in range(repeats):
            totals = _expand(offsets, scaled, runs, pad, weights, now)
            now = totals[-1]
        out += [row[pad : len(v) + pad].copy() for row in totals]
    return out


def _plan(times: Sequence[float], longest: float) -> Iterator[tuple[Floats, int]]:
    """Expansions that reach the ascending times: the spans that each serves, counted from the last time reached,
    and how often it is repeated."""
    reached, group = 0.0, list[float]()
    for t in times:
        if group and t - reached > longest:
            yield np.array(group) - reached, 1
            reached, group = group[-1], []
        if t - reached > longest:
            count = math.ceil((t - reached) / longest)
            yield np.array([(t - reached) / count]), count
            reached = t
        else:
            group.append(t)
    if group:
        yield np.array(group) - reached, 1


def _weights(decay: float, turn: float, spans: Floats) -> Floats:
    """Chebyshev coefficients of exp(t (-decay + turn i x)) for every span t: float64 (terms, spans)."""
    from scipy.special import jv

    z = turn * spans
    orders = np.arange(int(z[-1] + 12 * z[-1] ** (1 / 3) + 40))[:, None]
    bessel = jv(orders, z)
    growth = np.exp(np.minimum(orders * math.asinh(decay / turn), 40))
    needed = int(np.flatnonzero((np.abs(bessel) * growth).max(axis=1) > 1e-17)[-1]) + 1
    return np.exp(-decay * spans) * np.where(orders == 0, 1.0, 2.0)[:needed] * bessel[:needed]


def _runs(degree: int) -> NDArray[np.int64]:
    """Beginning and end of the stretches that hold coefficients: int64 (2 degree + 1, 2)."""
    block = np.delete(np.arange(2 * (degree + 1)), 1)
    return np.stack([block * (degree + 1) + block // 2, (block + 1) * (degree + 1)], axis=1)
