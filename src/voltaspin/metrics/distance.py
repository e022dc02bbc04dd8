"""Distances between two sets of features, each with an interval: KID, FD, FD extrapolated, and differences.

Both distances are smooth functions of independent images, so their intervals come from the influence of
each image (the first-order term), images of both sets being random. KID also gets its second-order term,
which dominates if the two sets have one distribution. The naive bootstrap is not used: it biases an FD
upward. The measured coverage of the 95 % intervals is in ``tests/metrics/test_coverage.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.random.streams import Stream

Array = NDArray[np.float64]
#: Signed sets of features: one set for a score, two for a difference.
Contrast = Sequence[tuple[float, Array]]

_CHUNK = 64  # rows of the kernel matrix at a time: 5 MB against 10,000 images; 512 take 1.6 times as long
_DEALS = 16  # how often the disjoint parts of an extrapolation are dealt anew: 4 make an interval twice as wide


@dataclass(frozen=True, kw_only=True)
class Score(Estimate):
    """A quality score: an estimate that also says which network and which images it belongs to.

    The interval always holds the value. An FD is biased upward by the number of images, so its interval is one of the
    expected FD at this n; "FD extrapolated" is the estimate of the distance without that bias.

    Args:
        name: ``KID``, ``FD``, ``FD extrapolated``, ``precision``, ``recall`` or the difference of one of them; ``FID``
            for the Inception network only.
        n: images behind the value (pairs, for a difference).
        extractor, extractor_sha256: the frozen network whose features were compared.
        noise: where the noise of the images came from.
        shared: what the compared conditions have in common.
    """

    name: str
    extractor: str
    extractor_sha256: str
    noise: str = ""
    shared: str = ""

    @classmethod
    def of(cls, estimate: Estimate, **labels: Any) -> Self:
        """Give an estimate a name and say where it comes from; ``labels`` are the fields of a score alone."""
        return cls(**vars(estimate), **labels)

    @property
    def factor(self) -> float:
        """Multiply by this for people: a KID is shown in thousandths."""
        return 1e3 if self.name.startswith("KID") else 1.0

    @property
    def label(self) -> str:
        """The name with its factor."""
        return f"{self.name} x1e3" if self.factor > 1 else self.name

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        value, low, high = (f"{self.factor * v:.3g}" for v in (self.value, self.low, self.high))
        more = "".join(f", {k}: {v}" for k, v in (("noise", self.noise), ("shared", self.shared)) if v)
        return (
            f"{self.label} = {value} [{low}, {high}] (n={self.n}, {self.extractor} {self.extractor_sha256[:8]}{more})"
        )


def checked_features(x: ArrayLike, name: str, least: int = 4, remedy: str = "score more images") -> Array:
    """Features as float64 (n, d); raises InputError for another shape, NaN, or fewer than ``least`` rows."""
    out = np.ascontiguousarray(x, dtype=np.float64)
    if out.ndim != 2 or out.shape[1] == 0:
        raise InputError(f"{name} has shape {out.shape}, not (n, d) features; pass what Extractor.features returns")
    if not np.isfinite(out).all():
        bad = int((~np.isfinite(out)).any(axis=1).sum())
        raise InputError(f"{name} holds NaN or infinity in {bad} of {len(out)} rows; look at those images first")
    if len(out) < least:
        raise InputError(f"{name} has {len(out)} images, this distance needs at least {least}; {remedy}")
    return out


def same_width(x: Array, y: Array) -> None:
    """Refuse features of two extractors."""
    if x.shape[1] != y.shape[1]:
        raise InputError(f"features of width {x.shape[1]} and {y.shape[1]} do not compare; use one extractor for both")


def paired(a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    """Check the features of two conditions; raises InputError where they are not pairs of equal width."""
    pair = checked_features(a, "a"), checked_features(b, "b")
    same_width(*pair)
    if len(pair[0]) != len(pair[1]):
        raise InputError(
            f"conditions of {len(pair[0])} and {len(pair[1])} images are no pairs; "
            "image i of both conditions must come from one latent"
        )
    return pair


def _added(parts: Iterable[Array]) -> Array:
    """Sum over the contrast."""
    return np.asarray(sum(parts))


# Kernel distance --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KernelSums:
    """The sums that a U-statistic needs of one matrix of pairs: means along rows and columns, and of the squares."""

    rows: Array
    columns: Array
    mean_square: float

    @property
    def mean(self) -> float:
        return float(self.rows.mean())

    @property
    def second_order(self) -> float:
        """Variance of what is left of an entry after its row and column effects."""
        left = self.mean_square - self.rows.var() - self.columns.var() - self.mean**2
        return max(float(left), 0.0)


def _kernel(x: Array, y: Array) -> Array:
    k = (x / x.shape[1]) @ y.T
    k += 1.0
    square = k * k
    k *= square
    return k


def within(contrast: Contrast) -> KernelSums:
    """Sums over i != j of the kernel between images i and j of one set, signed and added over the contrast."""
    n = len(contrast[0][1])
    rows, square = np.zeros(n), 0.0
    for i in range(0, n, _CHUNK):
        # The matrix is symmetric: each block right of the diagonal stands for its mirror image too.
        block = _added(sign * _kernel(x[i : i + _CHUNK], x[i:]) for sign, x in contrast)
        np.fill_diagonal(block, 0.0)
        own, right = block[:, : len(block)], block[:, len(block) :]
        rows[i : i + _CHUNK] += block.sum(axis=1)
        rows[i + _CHUNK :] += right.sum(axis=0)
        square += float(np.einsum("ij,ij->", own, own) + 2 * np.einsum("ij,ij->", right, right))
    rows /= n - 1
    return KernelSums(rows, rows, square / (n * (n - 1)))


def _between(contrast: Contrast, y: Array) -> KernelSums:
    n, m = len(contrast[0][1]), len(y)
    rows, columns, square = np.empty(n), np.zeros(m), 0.0
    for i in range(0, n, _CHUNK):
        block = _added(sign * _kernel(x[i : i + _CHUNK], y) for sign, x in contrast)
        rows[i : i + _CHUNK] = block.mean(axis=1)
        columns += block.sum(axis=0) / n
        square += float(np.einsum("ij,ij->", block, block))
    return KernelSums(rows, columns, square / (n * m))


def kernel_estimate(contrast: Contrast, y: Array, own: KernelSums | None) -> Estimate:
    """Two-sample U-statistic of the contrast against ``y`` (``own``: its own sums)."""
    n, m = len(contrast[0][1]), len(y)
    inner, cross = within(contrast), _between(contrast, y)
    value = inner.mean - 2 * cross.mean + (own.mean if own else 0.0)
    to_y = (own.rows if own else 0.0) - cross.columns
    influence = float(4 * np.var(inner.rows - cross.rows) / n + 4 * np.var(to_y) / m)
    second = 2 * inner.second_order / n**2 + 4 * cross.second_order / (n * m)
    second += 2 * own.second_order / m**2 if own else 0.0
    # The row means carry the second-order noise twice over (as a jackknife does), so once is taken off.
    return Estimate.normal(value, math.sqrt(max(influence - second, second)), n=n)


def kid(x: ArrayLike, y: ArrayLike) -> Estimate:
    """Kernel distance: the unbiased squared maximum mean discrepancy with the kernel (x.y/d + 1)^3.

    Args:
        x: features of the scored images, float (n, d), n >= 4.
        y: features of the reference, float (m, d).

    Returns:
        The distance, negative by chance where the two hardly differ, with the standard error of both sets.

    Raises:
        InputError: shapes that do not fit, too few images, or a value that is not finite.

    Source: M. Bińkowski et al., ICLR 2018, arXiv 1801.01401 (the distance); R. J. Serfling, Approximation
        Theorems of Mathematical Statistics, 1980, section 5.2 (variance of a U-statistic).
    """
    x, y = checked_features(x, "x"), checked_features(y, "y")
    same_width(x, y)
    return kernel_estimate([(1.0, x)], y, within([(1.0, y)]))


def kid_difference(a: ArrayLike, b: ArrayLike, y: ArrayLike) -> Estimate:
    """KID of ``a`` less KID of ``b`` against ``y``, image i of both conditions being one pair.

    Args:
        a, b: features of the conditions, float (n, d), pair by pair.
        y: features of the reference, float (m, d); its own term cancels.

    Returns:
        The difference and its standard error, 0 and 0 where the conditions coincide.

    Raises:
        InputError: as :func:`kid`, or conditions of unequal length.
    """
    a, b = paired(a, b)
    y = checked_features(y, "y")
    same_width(a, y)
    return kernel_estimate([(1.0, a), (-1.0, b)], y, None)


# Frechet distance -------------------------------------------------------------------------------------


def _moments(x: Array) -> tuple[Array, Array]:
    mean = x.mean(axis=0)
    centred = x - mean
    return mean, centred.T @ centred / (len(x) - 1)


def _power(matrix: Array, exponent: float) -> Array:
    """Power of a symmetric matrix that has no negative eigenvalue but by rounding."""
    values, vectors = np.linalg.eigh(matrix)
    floor = max(float(values[-1]), 1e-300) * 1e-14
    return np.asarray((vectors * np.maximum(values, floor) ** exponent) @ vectors.T)


def gaussian_fd(mean_x: ArrayLike, cov_x: ArrayLike, mean_y: ArrayLike, cov_y: ArrayLike) -> float:
    """Frechet distance of two Gaussians: |mx - my|^2 + tr(Cx + Cy - 2 (Cx^1/2 Cy Cx^1/2)^1/2).

    The roots are taken of symmetric matrices, so no imaginary part ever arises.

    Source: D. C. Dowson, B. V. Landau, J. Multivariate Anal. 12, 450 (1982).
    """
    shift = np.asarray(mean_x, np.float64) - np.asarray(mean_y, np.float64)
    a, b = np.asarray(cov_x, np.float64), np.asarray(cov_y, np.float64)
    root = _power(a, 0.5)
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0.0)).sum()
    return float(shift @ shift + np.trace(a) + np.trace(b) - 2 * cross)


def _influence(x: Array, y: Array) -> Array:
    """Return the influence of each image of ``x`` on the FD (n,): the gradient in mean and covariance at that image.

    The gradient in the covariance is the identity less the optimal map from one Gaussian to the other.
    """
    (mean_x, cov_x), (mean_y, cov_y) = _moments(x), _moments(y)
    root, inverse = _power(cov_x, 0.5), _power(cov_x, -0.5)
    onto = inverse @ _power(root @ cov_y @ root, 0.5) @ inverse
    centred = x - mean_x
    along = 2 * centred @ (mean_x - mean_y)
    return np.asarray(along + np.einsum("ij,ij->i", centred @ (np.eye(x.shape[1]) - onto), centred))


def _frechet_std(contrast: Contrast, y: Array) -> float:
    of_images = _added(sign * _influence(x, y) for sign, x in contrast)
    of_reference = _added(sign * _influence(y, x) for sign, x in contrast)
    return math.sqrt(float(np.var(of_images) / len(contrast[0][1]) + np.var(of_reference) / len(y)))


def _dealt(contrast: Contrast, y: Array, parts: int, stream: Stream, deal: int) -> float:
    """Mean signed FD over disjoint parts of both sets; pairs stay together."""
    n, m = len(contrast[0][1]), len(y)
    keys = stream.uniforms(n + m, start=deal * (n + m))
    order, order_y = np.argsort(keys[:n], kind="stable"), np.argsort(keys[n:], kind="stable")
    total = 0.0
    for part in range(parts):
        mean_y, cov_y = _moments(y[order_y[part::parts]])
        for sign, x in contrast:
            total += sign * gaussian_fd(*_moments(x[order[part::parts]]), mean_y, cov_y) / parts
    return total


def frechet_estimate(contrast: Contrast, y: Array, *, extrapolate: bool, seed: int = 0) -> Estimate:
    """FD of the contrast against ``y``."""
    std, n = _frechet_std(contrast, y), len(contrast[0][1])
    stream = Stream.of(seed, "metrics", "fd", "deal")
    if not extrapolate:
        return Estimate.normal(_dealt(contrast, y, 1, stream, 0), std, n=n)
    # All images are used at every size, so what single images add cancels in the fit. A line in 1/n would be less noisy
    # but biased: by 3.5 standard errors at d = 64, n = 256 against 5,000.
    whole = _dealt(contrast, y, 1, stream, 0)
    halves, thirds = (np.array([_dealt(contrast, y, parts, stream, i) for i in range(_DEALS)]) for parts in (2, 3))
    dealt = thirds - 3 * halves
    # A half holds each pair of images or not, by chance, so the spread between deals is the second-order part of the
    # distance. Where it rules, the first-order error of a draw that lies low is too small, hence it is added.
    variances = (std**2, float(np.var(dealt, ddof=1)) / _DEALS, float(np.var(halves, ddof=1)))
    return Estimate.normal(3 * whole + float(dealt.mean()), math.sqrt(sum(variances)), n=n)


def least_images(d: int, *, extrapolate: bool) -> int:
    """The fewest images of a set for a Frechet distance of ``d`` features.

    With fewer the extrapolated distance is biased by more than its interval allows, since the curve in 1/n is no
    parabola there. This grows with d: 0.9 standard errors at d = 64 and n = 4 d, 1.9 at d = 128
    (``scripts/fd_coverage.py``). Below 128 images a heavy tail is not known well enough: 90 % at n = 32.
    """
    return max(128, (4 if d <= 64 else 6) * d) if extrapolate else 2 * d


def _frechet_pair(x: ArrayLike, y: ArrayLike, extrapolate: bool) -> tuple[Array, Array]:
    x, y = checked_features(x, "x"), checked_features(y, "y")
    same_width(x, y)
    for features, name in ((x, "x"), (y, "y")):
        least = least_images(features.shape[1], extrapolate=extrapolate)
        why = "its interval holds the truth too rarely" if extrapolate else "the covariance is singular"
        why = f"with fewer of {features.shape[1]} features {why}; score more images, or use kid"
        checked_features(features, name, least, why)
    return x, y


def fd(x: ArrayLike, y: ArrayLike) -> Estimate:
    """Frechet distance of the Gaussians with the moments of two feature sets: biased upward, about as 1/n.

    Only scores of equal n compare; quote the floor of real against real images at that n.

    Args:
        x: features of the scored images, float (n, d), n >= 2 d.
        y: features of the reference, float (m, d), m >= 2 d.

    Returns:
        The distance; its interval is one of the expected distance at this n and m.

    Raises:
        InputError: shapes that do not fit, too few images for a covariance, or a value that is not finite.

    Source: M. Heusel et al., NeurIPS 2017, arXiv 1706.08500, with another extractor.
    """
    x, y = _frechet_pair(x, y, extrapolate=False)
    return frechet_estimate([(1.0, x)], y, extrapolate=False)


def fd_extrapolated(x: ArrayLike, y: ArrayLike, *, seed: int = 0) -> Estimate:
    """FD extrapolated to infinitely many images in both sets.

    Both sets are dealt into 1, 2 and 3 disjoint parts. The mean FD over the parts is fitted by a parabola in the number
    of parts (which is one in 1/n) and read off at none. The parts are dealt several times; the standard error includes
    the chance of the dealing.

    Args:
        x: features of the scored images, float (n, d); n >= 128 and 4 d, above 64 features 6 d.
        y: features of the reference, float (m, d); m as n.
        seed: of the dealing.

    Returns:
        The extrapolated distance, negative by chance where the two hardly differ.

    Raises:
        InputError: as :func:`fd`.

    Source: M. J. Chong, D. Forsyth, CVPR 2020, arXiv 1911.07023 (extrapolation, there in n alone).
    """
    x, y = _frechet_pair(x, y, extrapolate=True)
    return frechet_estimate([(1.0, x)], y, extrapolate=True, seed=seed)


def fd_difference(a: ArrayLike, b: ArrayLike, y: ArrayLike, *, seed: int = 0) -> Estimate:
    """Extrapolated FD of ``a`` less that of ``b`` against ``y``, image i of both conditions being one pair.

    Args:
        a, b: features of the conditions, float (n, d), pair by pair; n as in :func:`fd_extrapolated`.
        y: features of the reference, float (m, d); m as n.
        seed: of the dealing, which keeps pairs together.

    Returns:
        The difference and its standard error, 0 and 0 where the conditions coincide.

    Raises:
        InputError: as :func:`fd`, or conditions of unequal length.
    """
    a, b = paired(a, b)
    a, y = _frechet_pair(a, y, extrapolate=True)
    return frechet_estimate([(1.0, a), (-1.0, b)], y, extrapolate=True, seed=seed)
