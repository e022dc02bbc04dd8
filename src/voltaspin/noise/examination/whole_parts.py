"""What is counted of a stream of bits that comes in pieces, whatever their sizes: the parts of the whole verdict."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voltaspin.noise.examination import entropy
from voltaspin.noise.examination.entropy import SEGMENT, EntropyEstimates, Guesses

_DRIFT, _BLOCKS = 256, 512  # bits of the shortest stretch whose ones are counted, and stretches kept, at most

Order = Literal["as read", "cell by cell"]


@dataclass(frozen=True)
class Segment:
    """The estimates of one stretch.

    Args:
        order: of its bits: as they were read, or each cell's bits in a row.
        start: of its first bit in that order; the last segment overlaps with the one before, so that all are equally
            long.
        estimates: of min-entropy.
        guesses: of the four predictors.
    """

    order: Order
    start: int
    estimates: EntropyEstimates
    guesses: tuple[Guesses, ...]

    def to_json(self) -> dict[str, Any]:
        return {"order": self.order, "start": self.start, **self.estimates.to_json()}


@dataclass(frozen=True)
class WholeTest:
    """A statistic of all bits.

    Args:
        name: what it would show.
        p_value: with which ideal bits are this far off or farther.
        said: its value in words.
    """

    name: str
    p_value: float
    said: str


@dataclass(frozen=True)
class LongLag:
    """The strongest correlation of two bits a long way apart.

    Args:
        lag: between them.
        r: mean product of their signs, around 1/2 and not around the mean.
        pairs: of bits.
        lags: that were searched, from 1.
    """

    lag: int
    r: float
    pairs: int
    lags: int

    @property
    def p_value(self) -> float:
        """With which ideal bits have so strong a correlation at any of the lags."""
        from scipy.special import ndtr

        return min(1.0, 2 * self.lags * float(ndtr(-abs(self.r) * sqrt(self.pairs))))


class LongLags:
    """The strongest correlation at any lag up to half a segment: the spectra of the segments are added."""

    def __init__(self) -> None:
        self._power: NDArray[np.float64] | None = None
        self._size = self._added = 0

    def add(self, bits: NDArray[np.uint8]) -> None:
        from scipy.fft import next_fast_len, rfft

        signs = 1.0 - 2.0 * bits
        power = np.abs(rfft(signs, next_fast_len(2 * bits.size, real=True))) ** 2
        self._power = power if self._power is None else self._power + power
        self._size, self._added = bits.size, self._added + 1

    def found(self) -> LongLag | None:
        if self._power is None:
            return None
        from scipy.fft import irfft, next_fast_len

        lags = np.arange(1, self._size // 2 + 1)
        pairs = self._added * (self._size - lags)
        r = irfft(self._power, next_fast_len(2 * self._size, real=True))[lags] / pairs
        at = int(np.abs(r * np.sqrt(pairs)).argmax())
        return LongLag(int(lags[at]), float(r[at]), int(pairs[at]), lags.size)


class Segments:
    """Cuts a stream into segments of a million bits; the last one reaches back, so that it is as long as the others."""

    def __init__(self, order: Order) -> None:
        self._order: Order = order
        self._kept = np.empty(2 * SEGMENT, np.uint8)  # the last segment, then what came after it
        self._before = self._size = self._start = 0
        self._made: list[Segment] = []
        self.long = LongLags()

    def feed(self, bits: NDArray[np.uint8]) -> None:
        while bits.size:
            room = min(self._before + SEGMENT - self._size, bits.size)
            self._kept[self._size : self._size + room] = bits[:room]
            self._size, bits = self._size + room, bits[room:]
            if self._size == self._before + SEGMENT:
                self._add(self._kept[self._before : self._size], self._start + self._before)
                if self._before:
                    self._kept[:SEGMENT] = self._kept[SEGMENT:]
                    self._start += SEGMENT
                self._before = self._size = SEGMENT

    def _add(self, bits: NDArray[np.uint8], start: int) -> None:
        if self._order == "as read" and start % SEGMENT == 0:
            self.long.add(bits)
        self._made.append(Segment(self._order, start, *entropy.estimate_and_guesses(bits)))

    def end(self) -> tuple[Segment, ...]:
        rest = self._size - self._before
        if rest and self._before:
            self._add(self._kept[rest : self._size], self._start + rest)
        elif rest >= entropy.LEAST:
            self._add(self._kept[:rest], 0)
        self._size = self._before
        return tuple(self._made)


class Lags:
    """Autocorrelation of a stream, exact over the borders of its pieces."""

    def __init__(self, lags: int) -> None:
        self.lags = lags
        self._both = np.zeros(lags, np.int64)
        self._n = self._ones = 0
        self._first = self._last = np.empty(0, np.uint8)

    def feed(self, bits: NDArray[np.uint8]) -> None:
        held = self._last.size
        joined = np.concatenate([self._last, bits])
        for lag in range(1, min(self.lags, joined.size - 1) + 1):
            early = max(0, held - lag)  # the pair must end among the new bits
            self._both[lag - 1] += np.count_nonzero(joined[early:-lag] & joined[early + lag :])
        if self._first.size < self.lags:
            self._first = np.concatenate([self._first, bits])[: self.lags]
        self._last = joined[-self.lags :].copy()
        self._n += bits.size
        self._ones += int(np.count_nonzero(bits))

    def found(self) -> NDArray[np.float64]:
        n, ones, out = self._n, self._ones, np.zeros(self.lags)
        if 0 < ones < n:
            mean = ones / n
            for lag in range(1, min(self.lags, n - 1) + 1):
                first, last = ones - int(self._last[-lag:].sum()), ones - int(self._first[:lag].sum())
                both = int(self._both[lag - 1])
                out[lag - 1] = (both - mean * (first + last) + (n - lag) * mean**2) / (n - lag) / (mean * (1 - mean))
        return out


class Drift:
    """Ones in up to 512 equal stretches of a stream whose length is not known beforehand."""

    def __init__(self) -> None:
        self._left = np.empty(0, np.uint8)
        self._scale, self._pending, self._units = 1, 0, 0
        self._ones: list[int] = []

    def feed(self, bits: NDArray[np.uint8]) -> None:
        joined = np.concatenate([self._left, bits])
        whole = joined.size // _DRIFT * _DRIFT
        for ones in joined[:whole].reshape(-1, _DRIFT).sum(axis=1, dtype=np.int64).tolist():
            self._pending += ones
            self._units += 1
            if self._units == self._scale:
                self._ones.append(self._pending)
                self._pending = self._units = 0
                if len(self._ones) == _BLOCKS:
                    self._ones = [a + b for a, b in zip(self._ones[::2], self._ones[1::2], strict=True)]
                    self._scale *= 2
        self._left = joined[whole:].copy()

    def _counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Bits and ones of each stretch, the short last one included."""
        size = self._scale * _DRIFT
        rest = self._units * _DRIFT + self._left.size
        ones = [*self._ones, self._pending + int(self._left.sum())] if rest else self._ones
        n = [*([size] * len(self._ones)), rest] if rest else [size] * len(self._ones)
        return np.array(n, np.int64), np.array(ones, np.int64)

    def stretches(self) -> tuple[int, NDArray[np.int64]]:
        return self._scale * _DRIFT, self._counts()[1]

    def tests(self) -> tuple[WholeTest, ...]:
        n, ones = self._counts()
        total, all_ones = int(n.sum()), int(ones.sum())
        if n.size < 8 or not 0 < all_ones < total:
            return ()
        from scipy.special import kolmogorov
        from scipy.stats import chi2

        p = all_ones / total
        spread = float(((ones - n * p) ** 2 / (n * p * (1 - p))).sum())
        apart = (np.cumsum(ones) - np.cumsum(n) * p) / sqrt(total * p * (1 - p))
        at = int(np.abs(apart).argmax())
        here = int(n[: at + 1].sum())
        before, after = int(ones[: at + 1].sum()) / here, (all_ones - int(ones[: at + 1].sum())) / max(total - here, 1)
        return (
            WholeTest("slow drift", float(kolmogorov(abs(apart[at]))),
                      f"{before:.5f} ones before bit {here}, {after:.5f} after"),
            WholeTest("drift between stretches", float(chi2.sf(spread, n.size - 1)),
                      f"{sqrt(spread / (n.size - 1)):.4f} times the spread of sampling, {n.size} stretches"),
        )  # fmt: skip
