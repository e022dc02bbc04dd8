"""Gaussian transforms beside the inverse CDF and the popcount.

``DitheredPopcount`` fills the steps between two counts from a few further bits. ``BoxMuller`` needs no quantile, only a
logarithm and a cosine of 16 bits each. ``Requantised`` has the distribution of another transform, from 16 bits.

``DiscreteGaussian`` makes integers with the probabilities of a Gaussian, exactly, from fair bits, by the fast loaded
dice roller (F. A. Saad, C. E. Freer, M. C. Rinard, V. K. Mansinghka, AISTATS 2020, PMLR 108, 1036). It rolls a die with
whole weights by walking down a binary tree, one bit a step. It is exact for the weights and takes less than 6 bits more
than the entropy of the die; here, where the weights sum to a power of 2, less than 2 (D. E. Knuth and A. C. Yao, 1976).
The number of bits varies, so its numbers have no address.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from math import log2, pi, sqrt
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.compiled import numba
from voltaspin.core.errors import InputError
from voltaspin.core.renamed import renamed
from voltaspin.noise.gaussian import GaussianTransform, InverseCDF, Popcount, checked_p
from voltaspin.noise.source import NoiseSource, checked_count


@final
@dataclass(frozen=True)
class DitheredPopcount(GaussianTransform):
    """Count of ones with the step between two counts filled evenly from further bits.

    ``(count + (d + 1/2) / 2**dither - 1/2 - n/2) / s`` with ``d`` the integer of the ``dither`` further bits and
    ``s**2 = n/4 + (1 - 4**-dither) / 12``, so that the variance is 1.

    Args:
        counted: bits n that are counted, 1 to 1024.
        dither: further bits, 1 to 12.
    """

    counted: int = 64
    dither: int = 8

    label: ClassVar[str] = "dithered popcount"  # type: ignore[misc]

    def __post_init__(self) -> None:
        if not 1 <= self.counted <= 1024 or not 1 <= self.dither <= 12:
            raise InputError(
                f"a popcount of {self.counted} bits with {self.dither} of dither is not offered; use 1 to 1024 bits "
                "and 1 to 12 of dither"
            )

    @property
    def bits_per_sample(self) -> int:  # type: ignore[override]
        return self.counted + self.dither

    @property
    def values(self) -> NDArray[np.float64]:
        steps = 2**self.dither
        level = (np.arange((self.counted + 1) * steps) + 0.5) / steps - 0.5 - self.counted / 2
        return np.asarray(level / sqrt(self.counted / 4 + (1 - 4.0**-self.dither) / 12))

    @property
    def counts_ones(self) -> bool:
        return True

    def probabilities(self, p: float = 0.5) -> NDArray[np.float64]:
        p = checked_p(p)
        counts = Popcount(self.counted).probabilities(p)
        filled: NDArray[np.float64] = np.ones(1)
        for _ in range(self.dither):
            filled = np.asarray(np.kron(filled, [1 - p, p]), np.float64)
        return np.asarray(np.kron(counts, filled))

    def fill(self, bits: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        dithered(bits, self.counted, self.bits_per_sample, self.table, out)


@final
@dataclass(frozen=True)
class Requantised(GaussianTransform):
    """Numbers with the distribution of another transform, from 16 bits.

    The 16 bits are a level u, as the inverse CDF reads them; the number is the quantile of the other transform at u.
    So its numbers are those of the 16-bit inverse CDF made coarse, from the same bits: a comparison of quantisations
    needs this. It is exact for an inverse CDF of fewer bits, and to 1/65536 in probability for the others.

    Args:
        law: the transform whose distribution from fair bits is taken; it needs values and probabilities.
    """

    law: GaussianTransform

    bits_per_sample: ClassVar[int] = 16  # type: ignore[misc]

    @property
    def label(self) -> str:  # type: ignore[override]
        return f"{self.law.label} of {self.law.bits_per_sample} bits, from 16 bits"

    @property
    def counts_ones(self) -> bool:
        return False

    @property
    def values(self) -> NDArray[np.float64]:
        below = np.cumsum(self.law.probabilities())[:-1]
        return self.law.values[np.searchsorted(below, (np.arange(2**16) + 0.5) / 2**16)]

    @property
    def kolmogorov(self) -> float:
        return self.law.kolmogorov

    def probabilities(self, p: float = 0.5) -> NDArray[np.float64]:
        return InverseCDF(16).probabilities(p)


@final
@renamed(coins="bits_per_sample")
@dataclass(frozen=True)
class BoxMuller(GaussianTransform):
    """``sqrt(-2 ln u) cos(2 pi v)`` of two 16-bit uniforms (G. E. P. Box, M. E. Muller, 1958).

    ``u`` and ``v`` are the middles of their levels, 32 bits for a number. The sine would be a second number of the
    same bits; it is left out so that every number has its own and can be addressed.
    """

    bits_per_sample: int = 32

    label: ClassVar[str] = "Box-Muller"  # type: ignore[misc]

    def __post_init__(self) -> None:
        if self.bits_per_sample != 32:
            raise InputError(f"Box-Muller takes 32 bits, 16 for each uniform, not {self.bits_per_sample}")

    @property
    def counts_ones(self) -> bool:
        return False

    def probabilities(self, p: float = 0.5) -> NDArray[np.float64]:
        raise InputError("Box-Muller has 2**32 values, too many for a list; ask for moment(), largest or kolmogorov")

    @property
    def values(self) -> NDArray[np.float64]:
        return self.probabilities()

    @property
    def levels(self) -> int:
        return 2**32

    @property
    def largest(self) -> float:
        radius, cosine = _radius_and_cosine()
        return float(radius.max() * cosine.max())

    @property
    def table(self) -> NDArray[np.float32]:
        return np.stack(_radius_and_cosine()).astype(np.float32)

    def moment(self, order: int, *, p: float = 0.5) -> float:
        if order < 0:
            raise InputError(f"moment of order {order} does not exist; ask for order 0 or more")
        weight = InverseCDF(16).probabilities(p)
        radius, cosine = _radius_and_cosine()
        return float(weight @ radius**order) * float(weight @ cosine**order)

    @property
    def kolmogorov(self) -> float:
        """The distance at 513 points from 0 to 6, from the exact distribution function at each."""
        from scipy.special import ndtr

        radius, cosine = _radius_and_cosine()
        rising, positive = radius[::-1], cosine[cosine > 0]
        z = np.linspace(0, 6, 513)
        # above z: the radii beyond z / cos v, for each v with a positive cosine
        above = [(rising.size - np.searchsorted(rising, x / positive, side="right")).sum() for x in z]
        return float(np.abs(np.array(above) / 2.0**32 - ndtr(-z)).max())

    def fill(self, bits: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        self._fill_packed(np.packbits(bits[: 32 * out.size]), out)

    def _fill_packed(self, packed: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        box_muller16(packed, *_float_radius_and_cosine(), out)


@cache
def _radius_and_cosine() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    middle = (np.arange(2**16) + 0.5) / 2**16
    return np.sqrt(-2 * np.log(middle)), np.cos(2 * pi * middle)


@cache
def _float_radius_and_cosine() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    radius, cosine = _radius_and_cosine()
    return radius.astype(np.float32), cosine.astype(np.float32)


@numba.njit(cache=True, nogil=True)
def dithered(bits, counted, size, table, out):  # type: ignore[no-untyped-def]
    """``table`` at (ones of the first ``counted`` bits, integer of the others) of each ``size`` bits."""
    for i in range(out.shape[0]):
        level = 0
        for b in bits[i * size : i * size + counted]:
            level += b
        for b in bits[i * size + counted : (i + 1) * size]:
            level = 2 * level + b
        out[i] = table[level]


@numba.njit(cache=True, nogil=True)
def box_muller16(packed, radius, cosine, out):  # type: ignore[no-untyped-def]
    """``radius[u] cosine[v]`` of two 16-bit integers each, the first byte high."""
    for i in range(out.shape[0]):
        u = (np.intp(packed[4 * i]) << 8) | np.intp(packed[4 * i + 1])
        v = (np.intp(packed[4 * i + 2]) << 8) | np.intp(packed[4 * i + 3])
        out[i] = radius[u] * cosine[v]


@final
@dataclass(frozen=True)
class DiscreteGaussian:
    """P(k) proportional to ``exp(-k**2 / (2 sigma**2))``, rounded to whole weights of the sum 2**precision.

    Args:
        sigma: of the Gaussian, 0.1 to 1000; the standard deviation of the integers is the same but for small ones.
        precision: bits of the weights, 16 to 52. What has a weight below 1/2 cannot come out.

    >>> DiscreteGaussian(sigma=2.0).expected_bits < DiscreteGaussian(sigma=2.0).entropy + 2
    True
    """

    sigma: float = 1.0
    precision: int = 48

    def __post_init__(self) -> None:
        if not 0.1 <= self.sigma <= 1000:
            raise InputError(f"sigma = {self.sigma} is not offered; give 0.1 to 1000")
        if not 16 <= self.precision <= 52:
            raise InputError(f"precision = {self.precision} bits is not offered; give 16 to 52")

    @cached_property
    def weights(self) -> NDArray[np.int64]:
        """Whole weights of ``values``: int64 (values,)."""
        k = np.arange(-int(12 * self.sigma) - 12, int(12 * self.sigma) + 13)
        p = np.exp(-(k**2) / (2 * self.sigma**2))
        w = np.rint(2.0**self.precision * p / p.sum()).astype(np.int64)
        # A sum of a whole power of 2 leaves nothing to reject: 2 bits above the entropy at most.
        w[w.size // 2] += 2**self.precision - int(w.sum())
        return w[w > 0]

    @property
    def values(self) -> NDArray[np.int64]:
        """The integers that can come out, ascending: int64 (values,)."""
        side = self.weights.size // 2
        return np.arange(-side, side + 1)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """Of ``values``, to float64: (values,)."""
        return np.asarray(self.weights / int(self.weights.sum()))

    @property
    def largest(self) -> int:
        return int(self.values[-1])

    def moment(self, order: int) -> float:
        """Return the exact raw moment of the integers."""
        return float(self.probabilities @ self.values.astype(np.float64) ** order)

    @property
    def entropy(self) -> float:
        """Shannon entropy of one integer [bit]."""
        p = self.probabilities
        return float(-(p * np.log2(p)).sum())

    @property
    def distance(self) -> float:
        """Total variation from the unrounded discrete Gaussian."""
        k = np.arange(-int(40 * self.sigma) - 40, int(40 * self.sigma) + 41)
        p = np.exp(-(k**2) / (2 * self.sigma**2))
        p /= p.sum()
        ours = np.zeros_like(p)
        ours[np.searchsorted(k, self.values)] = self.probabilities
        return float(np.abs(p - ours).sum() / 2)

    @property
    def expected_bits(self) -> float:
        """Exact mean number of bits for one integer."""
        leaves = self._tree[0].astype(np.float64)
        levels = np.arange(leaves.size)
        total = int(self.weights.sum())
        return float((levels * leaves / 2.0**levels).sum() * 2.0 ** (leaves.size - 1) / total)

    @cached_property
    def _tree(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Leaves at each level, and their outcomes, level after level; the last outcome means: roll again."""
        total = int(self.weights.sum())
        depth = max(1, (total - 1).bit_length())
        weights = [*map(int, self.weights), (1 << depth) - total]
        labels = [[i for i, w in enumerate(weights) if w >> (depth - level) & 1] for level in range(depth + 1)]
        counts = np.array([len(of) for of in labels], np.int64)
        return counts, np.array([i for of in labels for i in of], np.int64)

    def sample(self, source: NoiseSource, n: int) -> NDArray[np.int64]:
        """Return ``n`` integers from the next bits of a source.

        Args:
            source: of fair bits; what is left of the last bits drawn for this is thrown away.
            n: how many.

        Returns:
            int64 (n,).
        """
        n = checked_count(n, "number of integers")
        counts, labels = self._tree
        out = np.empty(n, np.int64)
        done, node = 0, np.zeros(2, np.int64)
        while done < n:
            more = int((n - done) * self.expected_bits * 1.01) + 64
            bits = np.unpackbits(source.bits(more), count=more)
            done = int(_roll(bits, counts, labels, self.weights.size, node, out, done))
        source.ledger.count("normal", n)
        return out - self.weights.size // 2

    def __str__(self) -> str:
        return (
            f"discrete Gaussian of sigma {self.sigma:g}: {self.weights.size} integers, {self.expected_bits:.3f} bits "
            f"each (entropy {self.entropy:.3f} bit), within 2**{log2(max(self.distance, 1e-300)):.1f} of the ideal"
        )


@numba.njit(cache=True, nogil=True)
def _roll(bits, counts, labels, faces, node, out, done):  # type: ignore[no-untyped-def]
    """Roll until the bits or ``out`` are used up; the place in the tree stays in ``node`` (level, number)."""
    starts = np.zeros(counts.shape[0] + 1, np.int64)
    for i in range(counts.shape[0]):
        starts[i + 1] = starts[i] + counts[i]
    level, number = node[0], node[1]
    for b in bits:
        if done == out.shape[0]:
            break
        # inner nodes are numbered after the leaves of their level
        level += 1
        number = 2 * number + 1 - b
        if number < counts[level]:
            label = labels[starts[level] + number]
            if label < faces:
                out[done] = label
                done += 1
            level, number = 0, 0
        else:
            number -= counts[level]
    node[0], node[1] = level, number
    return done
