"""From bits to Gaussian numbers: shapings that know their own exact moments.

``InverseCDF`` reads b bits as a level and looks up the quantile in the middle of that level: b = 16 is the
default, with a variance of 0.99998 and a largest number of 4.33. ``Popcount`` counts the ones of n coins:
free where an array adds up anyway, but it has n + 1 levels and amplifies a bias of the coins by sqrt(n);
``DitheredPopcount`` fills the steps between them from a few coins more. ``BoxMuller`` needs no quantile, only a
logarithm and a cosine of 16 bits each. ``Requantised`` has the distribution of another one from 16 coins. All consume
a fixed number of bits per number, so a draw can be replayed and addressed. (The ziggurat does not, and is not here.)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from math import comb, pi, sqrt
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.memory.pulse import shape_bits
from voltaspin.noise import shaping_kernels as kernels
from voltaspin.noise.quantile import quantiles53

__all__ = [
    "BoxMuller", "DitheredPopcount", "InverseCDF", "Popcount", "Requantised", "Shaping", "named_shaping", "quantiles53",
]  # fmt: skip

_TABLE = 16  #: most coins for which every level stands in a table
_KNOTS = 1024  # of each octave of the refined table


@cache
def _inverse_cdf_values(bits: int) -> NDArray[np.float64]:
    from scipy.special import ndtri

    lower = np.asarray(ndtri((np.arange(2 ** (bits - 1)) + 0.5) / 2**bits), dtype=np.float64)
    values = np.concatenate([lower, -lower[::-1]])  # symmetric to the last bit
    values.flags.writeable = False
    return values


@cache
def _ones(bits: int) -> NDArray[np.int64]:
    return np.bitwise_count(np.arange(2**bits)).astype(np.int64)


class Shaping(ABC):
    """A fixed number of coins to one number of mean 0 and variance 1 (exactly or nearly)."""

    coins: int  #: coins (bits) that one number consumes
    label: str  #: its name in reports

    @property
    @abstractmethod
    def values(self) -> NDArray[np.float64]:
        """The numbers that can come out, ascending: float64 (levels,)."""

    @abstractmethod
    def probabilities(self, p: float = 0.5) -> NDArray[np.float64]:
        """Probability of each value when every coin is independently 1 with probability ``p``: (levels,)."""

    @property
    @abstractmethod
    def counts_ones(self) -> bool:
        """Whether the index of a value is the count of ones (else the coins as an integer)."""

    @property
    def levels(self) -> int:
        return len(self.values)

    @property
    def largest(self) -> float:
        """Largest absolute number that can come out."""
        return float(self.values[-1])

    @property
    def table(self) -> NDArray[np.float32]:
        """The values in the precision in which they are handed out: float32 (levels,)."""
        return _table(self)

    def moment(self, order: int, *, p: float = 0.5) -> float:
        """Exact raw moment E[z**order] for independent coins of probability ``p``.

        Args:
            order: 0 or more; orders 1 to 6 are the tested ones.
            p: probability of a one [1].
        """
        if order < 0:
            raise InputError(f"moment of order {order} does not exist; ask for order 0 or more")
        return float(np.dot(self.probabilities(p), self.values**order))

    @property
    def variance(self) -> float:
        """Exact variance of the numbers from fair coins."""
        return self.moment(2) - self.moment(1) ** 2

    @property
    def excess_kurtosis(self) -> float:
        """Exact fourth central moment over the squared variance, less 3, from fair coins."""
        return self.moment(4) / self.variance**2 - 3  # all shapings are symmetric

    @property
    def kolmogorov(self) -> float:
        """Largest distance of the distribution function from the standard normal one, from fair coins."""
        from scipy.special import ndtr

        above = np.cumsum(self.probabilities())
        normal = ndtr(self.values)
        return float(max(np.abs(above - normal).max(), np.abs(above - self.probabilities() - normal).max()))

    def mean_shift(self, p: float) -> float:
        """Mean of the numbers, in standard deviations, when every coin is 1 with probability ``p``."""
        return self.moment(1, p=p)

    def __call__(self, bits: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Numbers from unpacked bits.

        Args:
            bits: uint8 (n * coins,), one bit a byte; each number takes ``coins`` neighbours.

        Returns:
            float32 (n,).
        """
        if bits.ndim != 1 or bits.size % self.coins:
            raise InputError(f"bits of shape {bits.shape} do not divide into numbers of {self.coins} coins")
        out = np.empty(bits.size // self.coins, np.float32)
        self.fill(np.ascontiguousarray(bits, np.uint8), out, self.table)
        return out

    def from_packed(
        self, packed: NDArray[np.uint8], n: int, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """``n`` numbers from packed bits, the same as from the bits one a byte.

        Args:
            packed: uint8, first bit highest, at least ``n * coins`` bits.
            n: how many numbers.
            out: float32 (n,) to fill; None makes it.

        Returns:
            float32 (n,).
        """
        if 8 * packed.size < n * self.coins:
            raise InputError(f"{8 * packed.size} bits do not make {n} numbers of {self.coins} coins")
        numbers = np.empty(n, np.float32) if out is None else out
        self._fill_packed(np.ascontiguousarray(packed, np.uint8), numbers)
        return numbers

    def _fill_packed(self, packed: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        self.fill(np.unpackbits(packed, count=out.size * self.coins), out, self.table)

    def fill(self, bits: NDArray[np.uint8], out: NDArray[np.float32], table: NDArray[np.float32]) -> None:
        """The same into ``out`` (n,), with ``table`` (levels,) in place of ours; bits may be left over."""
        shape_bits(bits, self.coins, self.counts_ones, table, out)


@cache
def _table(shaping: Shaping) -> NDArray[np.float32]:
    table = shaping.values.astype(np.float32)
    table.flags.writeable = False
    return table


def _checked_p(p: float) -> float:
    if not 0.0 <= p <= 1.0:
        raise InputError(f"probability of a one {p} is outside [0, 1]")
    return float(p)


@final
@dataclass(frozen=True)
class InverseCDF(Shaping):
    """Quantile of the normal distribution at ``(level + 1/2) / 2**coins``.

    Up to 16 coins every level stands in a table. Above, a table of 1024 knots in each octave towards the tail is
    interpolated linearly, except for the outermost 2048 levels, which stand there themselves: the numbers lie
    within 3e-7 of the quantiles, and the moments are those of the quantiles.

    Args:
        coins: bits per number, 4 to 24; the first bit is the highest.

    >>> round(InverseCDF(16).largest, 2)
    4.32
    """

    coins: int = 16

    label: ClassVar[str] = "inverse CDF"  # type: ignore[misc]

    def __post_init__(self) -> None:
        if not 4 <= self.coins <= 24:
            raise InputError(f"an inverse CDF of {self.coins} bits is not offered; use 4 to 24 bits")

    @property
    def values(self) -> NDArray[np.float64]:
        return _inverse_cdf_values(self.coins)

    @property
    def counts_ones(self) -> bool:
        return False

    def probabilities(self, p: float = 0.5) -> NDArray[np.float64]:
        p = _checked_p(p)
        per_count = p ** np.arange(self.coins + 1) * (1 - p) ** np.arange(self.coins, -1, -1)
        return np.asarray(per_count[_ones(self.coins)], dtype=np.float64)

    @property
    def kolmogorov(self) -> float:
        return 0.5 / 2**self.coins  # the middle of each level has its own probability

    @property
    def table(self) -> NDArray[np.float32]:
        return _table(self) if self.coins <= _TABLE else _refined_table(self.coins)

    def fill(self, bits: NDArray[np.uint8], out: NDArray[np.float32], table: NDArray[np.float32]) -> None:
        if self.coins <= _TABLE:
            super().fill(bits, out, table)
        else:
            self._fill_packed(np.packbits(bits[: out.size * self.coins]), out)

    def _fill_packed(self, packed: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        if self.coins == 16:
            kernels.look_up16(packed[: 2 * out.size], self.table, out)
            return
        padded = np.append(packed[: -(-out.size * self.coins // 8)], np.zeros(4, np.uint8))
        if self.coins < 16:
            kernels.look_up(padded, self.coins, self.table, out)
        else:
            kernels.interpolate(padded, self.coins, self.table, out)


@cache
def _refined_table(coins: int) -> NDArray[np.float32]:
    """Knots of :func:`voltaspin.noise.shaping_kernels.interpolate`: float32 (octaves + 2, 1025).

    Rows 0 and 1 hold the outermost levels; row ``1 + e`` the quantiles at the levels
    ``1024 2**e`` to ``2048 2**e``, in steps of ``2**e``.
    """
    from scipy.special import ndtri

    octaves = coins - 1 - (_KNOTS.bit_length() - 1)
    j = np.arange(_KNOTS + 1)
    rows = [j, *((_KNOTS + j) * 2.0**e for e in range(octaves))]
    table = np.array([ndtri((np.asarray(row, np.float64) + 0.5) / 2.0**coins) for row in rows], np.float32)
    table.flags.writeable = False
    return table


@final
@dataclass(frozen=True)
class Popcount(Shaping):
    """Standardised count of ones, ``(count - n/2) / sqrt(n/4)``.

    Args:
        coins: coins n per number, 1 to 1024.
    """

    coins: int = 64

    label: ClassVar[str] = "popcount"  # type: ignore[misc]

    def __post_init__(self) -> None:
        if not 1 <= self.coins <= 1024:
            raise InputError(f"a popcount of {self.coins} coins is not offered; use 1 to 1024 coins")

    @property
    def values(self) -> NDArray[np.float64]:
        return np.asarray(2 * np.arange(self.coins + 1) - self.coins, np.float64) / sqrt(self.coins)

    @property
    def counts_ones(self) -> bool:
        return True

    def _fill_packed(self, packed: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        if self.coins == 64:
            kernels.count64(packed[: 8 * out.size].view(np.uint64), self.table, out)
        else:
            super()._fill_packed(packed, out)

    def probabilities(self, p: float = 0.5) -> NDArray[np.float64]:
        p = _checked_p(p)
        n = self.coins
        if p == 0.5:
            return np.array([comb(n, c) / 2**n for c in range(n + 1)])
        from scipy.stats import binom

        return np.asarray(binom.pmf(np.arange(n + 1), n, p), dtype=np.float64)


@final
@dataclass(frozen=True)
class DitheredPopcount(Shaping):
    """Count of ones with the step between two counts filled evenly from further coins.

    ``(count + (d + 1/2) / 2**dither - 1/2 - n/2) / s`` with ``d`` the integer of the ``dither`` further coins and
    ``s**2 = n/4 + (1 - 4**-dither) / 12``, so that the variance is 1.

    Args:
        counted: coins n that are counted, 1 to 1024.
        dither: further coins, 1 to 12.
    """

    counted: int = 64
    dither: int = 8

    label: ClassVar[str] = "dithered popcount"  # type: ignore[misc]

    def __post_init__(self) -> None:
        if not 1 <= self.counted <= 1024 or not 1 <= self.dither <= 12:
            raise InputError(
                f"a popcount of {self.counted} coins with {self.dither} of dither is not offered; use 1 to 1024 coins "
                "and 1 to 12 of dither"
            )

    @property
    def coins(self) -> int:  # type: ignore[override]
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
        p = _checked_p(p)
        counts = Popcount(self.counted).probabilities(p)
        filled: NDArray[np.float64] = np.ones(1)
        for _ in range(self.dither):
            filled = np.asarray(np.kron(filled, [1 - p, p]), np.float64)
        return np.asarray(np.kron(counts, filled))

    def fill(self, bits: NDArray[np.uint8], out: NDArray[np.float32], table: NDArray[np.float32]) -> None:
        kernels.dithered(bits, self.counted, self.coins, table, out)


@final
@dataclass(frozen=True)
class Requantised(Shaping):
    """Numbers with the distribution of another shaping, from 16 coins.

    The 16 coins are a level u, as the inverse CDF reads them; the number is the quantile of the other shaping at u.
    So its numbers are those of the 16-bit inverse CDF made coarse, coin by coin the same: what a comparison of
    quantisations needs. Exact for an inverse CDF of fewer coins, to 1/65536 in probability for the others.

    Args:
        law: the shaping whose distribution from fair coins is taken; it needs values and probabilities.
    """

    law: Shaping

    coins: ClassVar[int] = 16  # type: ignore[misc]

    @property
    def label(self) -> str:  # type: ignore[override]
        return f"{self.law.label} of {self.law.coins} coins, from 16 coins"

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
@dataclass(frozen=True)
class BoxMuller(Shaping):
    """``sqrt(-2 ln u) cos(2 pi v)`` of two 16-bit uniforms (G. E. P. Box, M. E. Muller, 1958).

    ``u`` and ``v`` are the middles of their levels, 32 coins for a number. The sine would be a second number of the
    same coins; it is left out so that every number has its own and can be addressed.
    """

    coins: int = 32

    label: ClassVar[str] = "Box-Muller"  # type: ignore[misc]

    def __post_init__(self) -> None:
        if self.coins != 32:
            raise InputError(f"Box-Muller of {self.coins} coins is not offered; it takes 32, 16 for each uniform")

    @property
    def counts_ones(self) -> bool:
        return False

    @property
    def values(self) -> NDArray[np.float64]:
        raise InputError("Box-Muller has 2**32 values, too many for a list; ask for moment(), largest or kolmogorov")

    def probabilities(self, p: float = 0.5) -> NDArray[np.float64]:
        raise InputError("Box-Muller has 2**32 values, too many for a list; ask for moment(), largest or kolmogorov")

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

    def fill(self, bits: NDArray[np.uint8], out: NDArray[np.float32], table: NDArray[np.float32]) -> None:
        self._fill_packed(np.packbits(bits[: 32 * out.size]), out)

    def _fill_packed(self, packed: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        kernels.box_muller16(packed, *_float_radius_and_cosine(), out)


@cache
def _radius_and_cosine() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    middle = (np.arange(2**16) + 0.5) / 2**16
    return np.sqrt(-2 * np.log(middle)), np.cos(2 * pi * middle)


@cache
def _float_radius_and_cosine() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    radius, cosine = _radius_and_cosine()
    return radius.astype(np.float32), cosine.astype(np.float32)


def named_shaping(shaping: str | Shaping, coins: int) -> Shaping:
    """``InverseCDF(coins)`` or ``Popcount(coins)`` by name, or the shaping itself; InputError for an unknown name."""
    if isinstance(shaping, Shaping):
        return shaping
    if shaping == "inverse_cdf":
        return InverseCDF(coins)
    if shaping == "popcount":
        return Popcount(coins)
    raise InputError(f"shaping {shaping!r} is unknown; use 'inverse_cdf', 'popcount' or a Shaping such as BoxMuller()")
