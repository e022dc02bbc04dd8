"""Integers with the probabilities of a Gaussian, exactly, from fair bits.

The fast loaded dice roller (F. A. Saad, C. E. Freer, M. C. Rinard, V. K. Mansinghka, AISTATS 2020, PMLR 108, 1036)
rolls a die with whole weights by walking down a binary tree, one bit a step. It is exact for the weights and takes
less than 6 bits more than the entropy of the die; here, where the weights sum to a power of 2, less than 2 (D. E.
Knuth and A. C. Yao, 1976). The number of bits varies, so its numbers have no address.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import log2
from typing import final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.compiled import numba
from voltaspin.core.errors import InputError
from voltaspin.noise.source import NoiseSource, checked_count


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
