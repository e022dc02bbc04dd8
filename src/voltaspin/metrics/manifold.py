"""Precision and recall of generated images: how many lie among the real ones, and how much of the real is reached.

A set of images covers what lies within the distance of each to its k-th neighbour in the same set. Precision is the
share of generated images that the real ones cover, recall the share of real ones that the generated cover.

Source: T. Kynkäänniemi et al., NeurIPS 2019, arXiv 1904.06991.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Result
from voltaspin.metrics.distance import Array, Contrast, checked_features, same_width

NEIGHBOURS = 3  #: k of the source
_GROUPS = 20  # of the jackknife
_KEPT = 40  # nearest neighbours that are remembered: enough when a twentieth is left out
_CHUNK = 256  # points at a time


def _squared_distances(x: Array, y: Array) -> Array:
    """(n, m) squared Euclidean distances."""
    d = np.einsum("ij,ij->i", x, x)[:, None] + np.einsum("ij,ij->i", y, y)[None] - 2 * (x @ y.T)
    return np.maximum(d, 0.0, out=d)


@dataclass(frozen=True)
class Manifold:
    """The region that a set of images covers.

    Args:
        points: features, float64 (n, d).
        radii: squared distance to the k-th neighbour, float64 (1 + groups, n): of the whole set, then with each group
            of the jackknife left out, whose own are -1.
    """

    points: Array
    radii: Array

    @classmethod
    def of(cls, points: Array, k: int = NEIGHBOURS) -> Manifold:
        """Measure the radii; raises InputError for fewer than 2 k + 2 images."""
        n = len(points)
        if n < 2 * k + 2:
            raise InputError(f"{n} images have too few neighbours for precision and recall with k = {k}; score more")
        kept, groups = min(_KEPT, n - 1), np.arange(n) % _GROUPS
        radii = np.empty((1 + _GROUPS, n))
        for i in range(0, n, _CHUNK):
            d = _squared_distances(points[i : i + _CHUNK], points)
            d[np.arange(len(d)), np.arange(i, i + len(d))] = np.inf  # no point is its own neighbour
            near = np.argpartition(d, kept - 1, axis=1)[:, :kept]
            d = np.take_along_axis(d, near, 1)
            order = np.argsort(d, axis=1)
            d, of = np.take_along_axis(d, order, 1), groups[np.take_along_axis(near, order, 1)]
            radii[0, i : i + len(d)] = d[:, k - 1]
            for g in range(_GROUPS):
                rank = np.cumsum(of != g, axis=1)
                kth = np.where(rank[:, -1] >= k, np.argmax(rank == k, axis=1), kept - 1)
                radii[1 + g, i : i + len(d)] = d[np.arange(len(d)), kth]
        radii[1 + groups, np.arange(n)] = -1.0
        return cls(points, radii)

    def covers(self, x: Array) -> NDArray[np.bool_]:
        """Return whether each of ``x`` is within reach of the set, then without each group: bool (1 + groups, n)."""
        found = np.empty((len(self.radii), len(x)), bool)
        for i in range(0, len(x), _CHUNK):
            d = _squared_distances(x[i : i + _CHUNK], self.points)
            for g, reach in enumerate(self.radii):
                found[g, i : i + len(d)] = (d <= reach).any(1)
        return found


def _share(covered: Array, n: int) -> Estimate:
    """Estimate the share of points covered from signed indicators (1 + groups, points), of ``n`` scored images.

    Points and covering images are both random: the first by the variance of the indicators, the second by a jackknife
    over groups, from which the points' own noise is taken off, as it is in the first.
    """
    points = covered.shape[1]
    own = float(covered[0].var(ddof=1)) / points
    moved = covered[1:] - covered[1:].mean(0)
    by = (_GROUPS - 1) / _GROUPS * float((moved.mean(1) ** 2 - moved.var(1, ddof=1) / points).sum())
    return Estimate.normal(float(covered[0].mean()), math.sqrt(own + max(by, 0.0)), n=n)


def precision_of(contrast: Contrast, real: Manifold) -> Estimate:
    """Precision of the contrast."""
    return _share(np.asarray(sum(sign * real.covers(x) for sign, x in contrast)), len(contrast[0][1]))


def recall_of(contrast: Contrast, real: Array, k: int = NEIGHBOURS) -> Estimate:
    """Recall of the contrast."""
    covered = np.asarray(sum(sign * Manifold.of(x, k).covers(real) for sign, x in contrast))
    return _share(covered, len(contrast[0][1]))


class PrecisionRecall(Result):
    """Precision and recall of images; it unpacks into the two.

    Args:
        precision: share of the images that lie among the real ones.
        recall: share of the real images that lie among these.
        k: the neighbour that sets the reach of an image.
    """

    KIND: ClassVar[str] = "precision-recall"
    precision: Estimate
    recall: Estimate
    k: int

    def __iter__(self) -> Iterator[Estimate]:  # type: ignore[override]
        return iter((self.precision, self.recall))


def precision_recall(x: ArrayLike, y: ArrayLike, *, k: int = NEIGHBOURS) -> PrecisionRecall:
    """Return precision and recall of images; the standard errors hold both sets' chance and are at most too wide.

    Both depend on the numbers of images: compare at equal n only.

    Args:
        x: features of the scored images, float (n, d).
        y: features of the reference, float (m, d).
        k: the neighbour that sets the reach of an image.

    Raises:
        InputError: shapes that do not fit, too few images, or a value that is not finite.
    """
    least, remedy = 2 * k + 2, f"precision and recall with k = {k} need as many"
    a, b = checked_features(x, "x", least, remedy), checked_features(y, "y", least, remedy)
    same_width(a, b)
    return PrecisionRecall(
        precision=precision_of([(1.0, a)], Manifold.of(b, k)), recall=recall_of([(1.0, a)], b, k), k=k
    )
