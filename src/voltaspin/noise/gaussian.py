"""From bits to Gaussian numbers: two shapings that know their own exact moments.

``InverseCDF`` reads b bits as a level and looks up the quantile in the middle of that level: b = 16 is the
default, with a variance of 0.99998 and a largest number of 4.32. ``Popcount`` counts the ones of n coins:
free where an array adds up anyway, but it has n + 1 levels and amplifies a bias of the coins by sqrt(n).
Both consume a fixed number of bits per number, so a draw can be replayed and addressed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from math import comb, log, sqrt
from typing import final

import numba
import numpy as np
from numpy.typing import NDArray

from voltaspin.errors import InputError
from voltaspin.memory.pulse import shape_bits


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
        if self.coins == 16 and not self.counts_ones:
            look_up16(packed[: 2 * n], self.table, numbers)
        else:
            self.fill(np.unpackbits(packed, count=n * self.coins), numbers, self.table)
        return numbers

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
    """Quantile of the normal distribution at ``(level + 1/2) / 2**coins``, from a table.

    Args:
        coins: bits per number, 4 to 16; the first bit is the highest.

    >>> round(InverseCDF(16).largest, 2)
    4.32
    """

    coins: int = 16

    def __post_init__(self) -> None:
        if not 4 <= self.coins <= 16:
            raise InputError(f"an inverse-CDF table of {self.coins} bits is not offered; use 4 to 16 bits")

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


@final
@dataclass(frozen=True)
class Popcount(Shaping):
    """Standardised count of ones, ``(count - n/2) / sqrt(n/4)``.

    Args:
        coins: coins n per number, 1 to 1024.
    """

    coins: int = 64

    def __post_init__(self) -> None:
        if not 1 <= self.coins <= 1024:
            raise InputError(f"a popcount of {self.coins} coins is not offered; use 1 to 1024 coins")

    @property
    def values(self) -> NDArray[np.float64]:
        return np.asarray(2 * np.arange(self.coins + 1) - self.coins, np.float64) / sqrt(self.coins)

    @property
    def counts_ones(self) -> bool:
        return True

    def probabilities(self, p: float = 0.5) -> NDArray[np.float64]:
        p = _checked_p(p)
        n = self.coins
        if p == 0.5:
            return np.array([comb(n, c) / 2**n for c in range(n + 1)])
        from scipy.stats import binom

        return np.asarray(binom.pmf(np.arange(n + 1), n, p), dtype=np.float64)


def named_shaping(shaping: str, coins: int) -> Shaping:
    """``InverseCDF(coins)`` or ``Popcount(coins)`` by name; raises InputError for an unknown one."""
    if shaping == "inverse_cdf":
        return InverseCDF(coins)
    if shaping == "popcount":
        return Popcount(coins)
    raise InputError(f"shaping {shaping!r} is unknown; use 'inverse_cdf' or 'popcount'")


@numba.njit(cache=True, nogil=True)
def look_up16(packed, table, out):  # type: ignore[no-untyped-def]
    """``table`` float32 (65536,) at two bytes each, the first one high, into ``out`` float32 (n,)."""
    for i in range(out.shape[0]):
        out[i] = table[(np.intp(packed[2 * i]) << 8) | np.intp(packed[2 * i + 1])]


@numba.njit(inline="always")
def _ratio(x, p0, p1, p2, p3, p4, p5, p6, p7, q1, q2, q3, q4, q5, q6, q7):  # type: ignore[no-untyped-def]
    top = ((((((p7 * x + p6) * x + p5) * x + p4) * x + p3) * x + p2) * x + p1) * x + p0
    return top / (((((((q7 * x + q6) * x + q5) * x + q4) * x + q3) * x + q2) * x + q1) * x + 1.0)


@numba.njit(inline="always")
def _lower_quantile(p):  # type: ignore[no-untyped-def]
    """Quantile of the standard normal for 0 < p <= 1/2, to about 1e-16 relative.

    Source: M. J. Wichura, algorithm AS 241 (PPND16), Appl. Statist. 37, 477 (1988).
    """
    q = p - 0.5
    if q >= -0.425:
        return q * _ratio(
            0.180625 - q * q,
            3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3,
            1.3731693765509461125e4, 4.5921953931549871457e4, 6.7265770927008700853e4,
            3.3430575583588128105e4, 2.5090809287301226727e3, 4.2313330701600911252e1,
            6.8718700749205790830e2, 5.3941960214247511077e3, 2.1213794301586595867e4,
            3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3,
        )  # fmt: skip
    r = sqrt(-log(p))
    if r <= 5.0:
        return -_ratio(
            r - 1.6,
            1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0,
            3.64784832476320460504e0, 1.27045825245236838258e0, 2.41780725177450611770e-1,
            2.27238449892691845833e-2,
            7.74545014278341407640e-4, 2.05319162663775882187e0, 1.67638483018380384940e0,
            6.89767334985100004550e-1, 1.48103976427480074590e-1, 1.51986665636164571966e-2,
            5.47593808499534494600e-4, 1.05075007164441684324e-9,
        )  # fmt: skip
    return -_ratio(
        r - 5.0,
        6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0,
        2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7, 5.99832206555887937690e-1, 1.36929880922735805310e-1,
        1.48753612908506148525e-2, 7.86869131145613259100e-4, 1.84631831751005468180e-5,
        1.42151175831644588870e-7, 2.04426310338993978564e-15,
    )  # fmt: skip


@numba.njit(cache=True, nogil=True)
def quantiles53(levels, fine, out):  # type: ignore[no-untyped-def]
    """Normals from 53-bit uniforms ``(level 2^37 + fine 2^-27 + 1/2) / 2^53``, exact and finite at both ends.

    levels: float32 (n,), 16-bit integers. fine: uint64 (n,), of which the upper 37 bits are used.
    out: float32 (n,), may be ``levels``. Four times as fast as scipy.special.ndtri, which it is tested
        against.
    """
    for i in range(out.shape[0]):
        u = (np.int64(levels[i]) << 37) | np.int64(fine[i] >> np.uint64(27))
        if u >= 2**52:
            out[i] = -_lower_quantile((np.float64(2**53 - 1 - u) + 0.5) * 2.0**-53)
        else:
            out[i] = _lower_quantile((np.float64(u) + 0.5) * 2.0**-53)
