"""Images read in parts and never all at once, their features, and mean and covariance that are summed up on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.diffusion.pictures import check_size, read_pictures
from voltaspin.metrics.distance import Array

PART = 256  #: images in memory at a time
Progress = Callable[[int, int], None]


class AnyExtractor(Protocol):
    """A feature network: the shipped one, or one of torch-fidelity."""

    @property
    def name(self) -> str:
        """As scores quote it."""

    @property
    def sha256(self) -> str:
        """Of its weights."""

    @property
    def frechet(self) -> str:
        """What its Frechet distance is called."""

    def features(self, images: NDArray[np.uint8], *, batch: int = 64) -> NDArray[np.float32]:
        """Return features float32 (n, d) of uint8 (n, channels, h, w)."""


class Moments:
    """Mean and covariance of vectors that come in parts, in float64.

    Every part is centred on its own mean before its products are summed, so that a mean that is large beside the spread
    costs no digits, whatever the number of parts and their order.

    Source: T. F. Chan, G. H. Golub, R. J. LeVeque, Am. Stat. 37, 242 (1983).

    >>> m = Moments()
    >>> m.add([[1e9, 0.0], [1e9 + 1, 2.0]])
    >>> m.add([[1e9 + 2, 4.0]])
    >>> m.covariance.tolist()
    [[1.0, 2.0], [2.0, 4.0]]
    """

    def __init__(self) -> None:
        self.n = 0
        self._mean: Array = np.zeros(0)
        self._products: Array = np.zeros((0, 0))

    @classmethod
    def known(cls, n: int, mean: Array, covariance: Array) -> Moments:
        """Those of ``n`` vectors that were summed up before."""
        made = cls()
        made._join(n, mean, covariance * (n - 1))
        return made

    def add(self, x: ArrayLike) -> None:
        """Take vectors (k, d) into account; raises InputError for another width, or a value that is not finite."""
        part = np.asarray(x, np.float64)
        if part.ndim != 2 or (self.n and part.shape[1] != len(self._mean)):
            raise InputError(f"features of shape {part.shape} do not fit; give (n, d), with one d for all parts")
        if not np.isfinite(part).all():
            raise InputError("features hold NaN or infinity; look at those images first")
        if len(part):
            mean = part.mean(axis=0)
            centred = part - mean
            self._join(len(part), mean, centred.T @ centred)

    def merge(self, other: Moments) -> None:
        """Take all that another has seen into account."""
        if other.n:
            self._join(other.n, other._mean, other._products)

    def _join(self, k: int, mean: Array, products: Array) -> None:
        if not self.n:
            self.n, self._mean, self._products = k, mean.copy(), products.copy()
            return
        n, apart = self.n + k, mean - self._mean
        self._products += products + np.outer(apart, apart) * (self.n * k / n)
        self._mean += apart * (k / n)
        self.n = n

    @property
    def mean(self) -> Array:
        """float64 (d,)."""
        return self._mean

    @property
    def covariance(self) -> Array:
        """float64 (d, d), over n - 1; raises InputError for fewer than two vectors."""
        if self.n < 2:
            raise InputError(f"{self.n} images have no covariance; give at least 2")
        return np.asarray(self._products / (self.n - 1))


@dataclass(frozen=True)
class ImageParts:
    """Images that are read when they are needed.

    Args:
        count: how many; size: width x height [pixels].
        parts: gives them anew, uint8 (k, channels, h, w) at a time.
    """

    count: int
    size: str
    parts: Callable[[], Iterator[NDArray[np.uint8]]]

    @classmethod
    def of(cls, images: NDArray[np.uint8]) -> ImageParts:
        """Images that are in memory already."""
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
            raise InputError("images must be uint8 (n, channels, h, w); convert them first")
        size = f"{images.shape[3]}x{images.shape[2]}"
        return cls(len(images), size, lambda: (images[k : k + PART] for k in range(0, len(images), PART)))

    @classmethod
    def of_files(cls, folder: Path, files: list[Path], *, background: str | None = None) -> ImageParts:
        """Pictures of one size.

        Raises:
            InputError: as :func:`voltaspin.diffusion.pictures.read_pictures`, of the first; of the others when they
                are read.
        """
        first = read_pictures(folder, files[:1], background=background)

        def parts() -> Iterator[NDArray[np.uint8]]:
            for k in range(0, len(files), PART):
                chosen = files[k : k + PART]
                part = read_pictures(folder, chosen, background=background)
                check_size(part[0, 0], first[0, 0], where=str(folder), names=(files[0].name, chosen[0].name))
                yield part

        return cls(len(files), f"{first.shape[3]}x{first.shape[2]}", parts)


def features_of(
    images: ImageParts, extractor: AnyExtractor, progress: Progress | None = None
) -> tuple[NDArray[np.float32], Moments]:
    """Return the features of images, float32 (n, d), and their moments.

    Args:
        images: read part by part.
        extractor: of the features.
        progress: called with (done, n).
    """
    found, moments = list[NDArray[np.float32]](), Moments()
    for part in images.parts():
        found.append(extractor.features(part))
        moments.add(found[-1])
        if progress is not None:
            progress(moments.n, images.count)
    return np.concatenate(found), moments
