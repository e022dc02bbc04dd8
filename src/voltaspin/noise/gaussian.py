"""Gaussian transforms: from bits to Gaussian numbers, each with its exact moments.

``InverseCDF`` reads b bits as a level and looks up the quantile in the middle of that level: b = 16 is the
default, with a variance of 0.99998 and a largest number of 4.33. ``Popcount`` counts the ones of n bits: it costs
nothing where an array adds up anyway, but it has n + 1 levels and amplifies a bias of the bits by sqrt(n). All
transforms consume a fixed number of bits per number, so a draw can be replayed and addressed; the ziggurat does not,
and is left out. Further ones are in :mod:`voltaspin.noise.gaussian_variants`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from math import comb, sqrt
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.compiled import numba
from voltaspin.core.errors import InputError
from voltaspin.core.renamed import renamed

_TABLE = 16  #: most bits for which every level stands in a table
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


class GaussianTransform(ABC):
    """A fixed number of bits to one number of mean 0 and variance 1 (exactly or nearly)."""

    bits_per_sample: int  #: bits that one number consumes
    label: str  #: its name in reports

    @property
    def coins(self) -> int:
        """Old name of ``bits_per_sample``."""
        return self.bits_per_sample

    @property
    @abstractmethod
    def values(self) -> NDArray[np.float64]:
        """All values of a number, ascending: float64 (levels,)."""

    @abstractmethod
    def probabilities(self, p: float = 0.5) -> NDArray[np.float64]:
        """Return the probability of each value for independent bits that are 1 with probability ``p``: (levels,)."""

    @property
    @abstractmethod
    def counts_ones(self) -> bool:
        """Whether the index of a value is the count of ones (else the bits as an integer)."""

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
        """Return the exact raw moment E[z**order] for independent bits of probability ``p``.

        Args:
            order: 0 or more; orders 1 to 6 are the tested ones.
            p: probability of a one [1].
        """
        if order < 0:
            raise InputError(f"moment of order {order} does not exist; ask for order 0 or more")
        return float(np.dot(self.probabilities(p), self.values**order))

    @property
    def variance(self) -> float:
        """Exact variance of the numbers from fair bits."""
        return self.moment(2) - self.moment(1) ** 2

    @property
    def excess_kurtosis(self) -> float:
        """Exact fourth central moment over the squared variance, less 3, from fair bits."""
        return self.moment(4) / self.variance**2 - 3  # all transforms are symmetric

    @property
    def kolmogorov(self) -> float:
        """Largest distance of the distribution function from the standard normal one, from fair bits."""
        from scipy.special import ndtr

        above = np.cumsum(self.probabilities())
        normal = ndtr(self.values)
        return float(max(np.abs(above - normal).max(), np.abs(above - self.probabilities() - normal).max()))

    def __call__(self, bits: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return numbers from unpacked bits.

        Args:
            bits: uint8 (n * bits_per_sample,), one bit a byte; each number takes neighbouring ones.

        Returns:
            float32 (n,).
        """
        if bits.ndim != 1 or bits.size % self.bits_per_sample:
            raise InputError(f"bits of shape {bits.shape} do not divide into numbers of {self.bits_per_sample} bits")
        out = np.empty(bits.size // self.bits_per_sample, np.float32)
        self.fill(np.ascontiguousarray(bits, np.uint8), out)
        return out

    def from_packed(
        self, packed: NDArray[np.uint8], n: int, out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Return ``n`` numbers from packed bits, the same as from the bits one a byte.

        Args:
            packed: uint8, first bit highest, at least ``n * bits_per_sample`` bits.
            n: how many numbers.
            out: float32 (n,) to fill; None makes it.

        Returns:
            float32 (n,).
        """
        if 8 * packed.size < n * self.bits_per_sample:
            raise InputError(f"{8 * packed.size} bits do not make {n} numbers of {self.bits_per_sample} bits")
        numbers = np.empty(n, np.float32) if out is None else out
        self._fill_packed(np.ascontiguousarray(packed, np.uint8), numbers)
        return numbers

    def _fill_packed(self, packed: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        self.fill(np.unpackbits(packed, count=out.size * self.bits_per_sample), out)

    def fill(self, bits: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        """Fill ``out`` (n,) from unpacked bits; bits may be left over."""
        look_up_bits(bits, self.bits_per_sample, self.counts_ones, self.table, out)


@cache
def _table(transform: GaussianTransform) -> NDArray[np.float32]:
    table = transform.values.astype(np.float32)
    table.flags.writeable = False
    return table


def checked_p(p: float) -> float:
    """Return a probability; raises InputError for what is none."""
    if not 0.0 <= p <= 1.0:
        raise InputError(f"probability of a one {p} is outside [0, 1]")
    return float(p)


@final
@renamed(coins="bits_per_sample")
@dataclass(frozen=True)
class InverseCDF(GaussianTransform):
    """Quantile of the normal distribution at ``(level + 1/2) / 2**bits_per_sample``.

    Up to 16 bits every level stands in a table. Above, a table of 1024 knots in each octave towards the tail is
    interpolated linearly, except for the outermost 2048 levels, which stand there themselves: the numbers lie
    within 3e-7 of the quantiles, and the moments are those of the quantiles.

    Args:
        bits_per_sample: bits per number, 4 to 24; the first bit is the highest.

    >>> round(InverseCDF(16).largest, 2)
    4.32
    """

    bits_per_sample: int = 16

    label: ClassVar[str] = "inverse CDF"  # type: ignore[misc]

    def __post_init__(self) -> None:
        if not 4 <= self.bits_per_sample <= 24:
            raise InputError(f"an inverse CDF of {self.bits_per_sample} bits is not offered; use 4 to 24 bits")

    @property
    def values(self) -> NDArray[np.float64]:
        return _inverse_cdf_values(self.bits_per_sample)

    @property
    def counts_ones(self) -> bool:
        return False

    def probabilities(self, p: float = 0.5) -> NDArray[np.float64]:
        p = checked_p(p)
        per_count = p ** np.arange(self.bits_per_sample + 1) * (1 - p) ** np.arange(self.bits_per_sample, -1, -1)
        return np.asarray(per_count[_ones(self.bits_per_sample)], dtype=np.float64)

    @property
    def kolmogorov(self) -> float:
        return 0.5 / 2**self.bits_per_sample  # the middle of each level has its own probability

    @property
    def table(self) -> NDArray[np.float32]:
        return _table(self) if self.bits_per_sample <= _TABLE else _refined_table(self.bits_per_sample)

    def fill(self, bits: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        if self.bits_per_sample <= _TABLE:
            super().fill(bits, out)
        else:
            self._fill_packed(np.packbits(bits[: out.size * self.bits_per_sample]), out)

    def _fill_packed(self, packed: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        if self.bits_per_sample == 16:
            look_up16(packed[: 2 * out.size], self.table, out)
            return
        padded = np.append(packed[: -(-out.size * self.bits_per_sample // 8)], np.zeros(4, np.uint8))
        if self.bits_per_sample < 16:
            look_up(padded, self.bits_per_sample, self.table, out)
        else:
            interpolate(padded, self.bits_per_sample, self.table, out)


@cache
def _refined_table(bits: int) -> NDArray[np.float32]:
    """Knots of :func:`interpolate`: float32 (octaves + 2, 1025).

    Rows 0 and 1 hold the outermost levels; row ``1 + e`` the quantiles at the levels
    ``1024 2**e`` to ``2048 2**e``, in steps of ``2**e``.
    """
    from scipy.special import ndtri

    octaves = bits - 1 - (_KNOTS.bit_length() - 1)
    j = np.arange(_KNOTS + 1)
    rows = [j, *((_KNOTS + j) * 2.0**e for e in range(octaves))]
    table = np.array([ndtri((np.asarray(row, np.float64) + 0.5) / 2.0**bits) for row in rows], np.float32)
    table.flags.writeable = False
    return table


@final
@renamed(coins="bits_per_sample")
@dataclass(frozen=True)
class Popcount(GaussianTransform):
    """Standardised count of ones, ``(count - n/2) / sqrt(n/4)``.

    Args:
        bits_per_sample: bits n per number, 1 to 1024.
    """

    bits_per_sample: int = 64

    label: ClassVar[str] = "popcount"  # type: ignore[misc]

    def __post_init__(self) -> None:
        if not 1 <= self.bits_per_sample <= 1024:
            raise InputError(f"a popcount of {self.bits_per_sample} bits is not offered; use 1 to 1024 bits")

    @property
    def values(self) -> NDArray[np.float64]:
        n = self.bits_per_sample
        return np.asarray(2 * np.arange(n + 1) - n, np.float64) / sqrt(n)

    @property
    def counts_ones(self) -> bool:
        return True

    def _fill_packed(self, packed: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        if self.bits_per_sample == 64:
            count64(packed[: 8 * out.size].view(np.uint64), self.table, out)
        else:
            super()._fill_packed(packed, out)

    def probabilities(self, p: float = 0.5) -> NDArray[np.float64]:
        p = checked_p(p)
        n = self.bits_per_sample
        if p == 0.5:
            return np.array([comb(n, c) / 2**n for c in range(n + 1)])
        from scipy.stats import binom

        return np.asarray(binom.pmf(np.arange(n + 1), n, p), dtype=np.float64)


def transform_of(transform: str | GaussianTransform, bits_per_sample: int) -> GaussianTransform:
    """Return a transform by name with its bits, or the transform itself; InputError for an unknown name."""
    known = {"inverse_cdf": InverseCDF, "popcount": Popcount}
    if isinstance(transform, GaussianTransform):
        return transform
    if transform not in known:
        raise InputError(
            f"transform {transform!r} is unknown; use {', '.join(map(repr, known))} or a transform such as BoxMuller()"
        )
    return known[transform](bits_per_sample)


Shaping = GaussianTransform  #: old name


@numba.njit(cache=True, nogil=True)
def look_up_bits(bits, size, count_ones, table, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` with ``table`` at the integer (first bit highest) or at the count of ones of ``size`` bits each.

    bits: uint8, one bit a byte. table: float32 (2**size,) or (size + 1,). out: float32 (n,).
    """
    n = out.shape[0]
    if count_ones:
        for i in range(n):
            total = 0
            for m in range(size):
                total += bits[i * size + m]
            out[i] = table[total]
    elif size == 16:
        # Eight bytes to eight bits by one multiplication: 1.5 instead of 8 ns per number.
        eight = bits[: 16 * n].view(np.uint64)
        magic = np.uint64(0x8040201008040201)
        top = np.uint64(56)
        for i in range(n):
            high = (eight[2 * i] * magic) >> top
            low = (eight[2 * i + 1] * magic) >> top
            out[i] = table[(high << np.uint64(8)) | low]
    else:
        for i in range(n):
            level = 0
            for m in range(size):
                level = 2 * level + bits[i * size + m]
            out[i] = table[level]


@numba.njit(cache=True, nogil=True)
def look_up16(packed, table, out):  # type: ignore[no-untyped-def]
    """``table`` float32 (65536,) at two bytes each, the first one high, into ``out`` float32 (n,)."""
    for i in range(out.shape[0]):
        out[i] = table[(np.intp(packed[2 * i]) << 8) | np.intp(packed[2 * i + 1])]


@numba.njit(inline="always")
def _level(packed, at, size):  # type: ignore[no-untyped-def]
    """``size`` (at most 24) bits from bit ``at``, the first one highest; four bytes must follow its own."""
    i = at >> 3
    word = np.uint64(packed[i]) << np.uint64(24) | np.uint64(packed[i + 1]) << np.uint64(16)
    word |= np.uint64(packed[i + 2]) << np.uint64(8) | np.uint64(packed[i + 3])
    return np.intp((word >> np.uint64(32 - size - (at & 7))) & np.uint64((1 << size) - 1))


@numba.njit(cache=True, nogil=True)
def look_up(packed, size, table, out):  # type: ignore[no-untyped-def]
    """``table`` float32 (2**size,) at ``size`` bits each; ``packed`` holds four bytes more than they fill."""
    for i in range(out.shape[0]):
        out[i] = table[_level(packed, i * size, size)]


@numba.njit(cache=True, nogil=True)
def interpolate(packed, size, table, out):  # type: ignore[no-untyped-def]
    """Quantiles of 17 to 24 bits from a table that is finer the nearer to the tail, see ``refined_table``."""
    half = 1 << (size - 1)
    knots = table.shape[1] - 1  # a power of 2
    shift = 0
    while 1 << shift < knots:
        shift += 1
    for i in range(out.shape[0]):
        level = _level(packed, i * size, size)
        upper = level >= half
        h = 2 * half - 1 - level if upper else level
        octave = 0
        while h >> octave >= 2 * knots:
            octave += 1
        # the first row holds the levels below twice the knots themselves
        if h < 2 * knots:
            z = table[0, h] if h < knots else table[1, h - knots]
        else:
            place = h - (knots << octave)
            j = place >> octave
            share = np.float32(place & ((1 << octave) - 1)) * np.float32(1.0 / (1 << octave))
            z = table[1 + octave, j] + share * (table[1 + octave, j + 1] - table[1 + octave, j])
        out[i] = -z if upper else z


@numba.njit(cache=True, nogil=True)
def count64(words, table, out):  # type: ignore[no-untyped-def]
    """``table`` float32 (65,) at the ones of each of the ``words`` uint64."""
    one, two, four = np.uint64(0x5555555555555555), np.uint64(0x3333333333333333), np.uint64(0x0F0F0F0F0F0F0F0F)
    for i in range(out.shape[0]):
        x = words[i]
        x -= (x >> np.uint64(1)) & one
        x = (x & two) + ((x >> np.uint64(2)) & two)
        x = (x + (x >> np.uint64(4))) & four
        out[i] = table[np.intp((x * np.uint64(0x0101010101010101)) >> np.uint64(56))]
