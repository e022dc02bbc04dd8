"""Counts over a stream of bits that comes in pieces of any size: the parts of the verdict on every bit."""

from __future__ import annotations

from math import sqrt
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.result import Part
from voltaspin.noise.examination import entropy, kernels
from voltaspin.noise.examination.entropy import SEGMENT, EntropyEstimates, Guesses

_DRIFT, _STRETCHES = 256, 512  # bits of the shortest stretch whose ones are counted, and stretches kept, at most

Order = Literal["as read", "cell by cell"]


class Segment(Part):
    """The estimates of one stretch.

    Args:
        order: of its bits: as they were read, or each cell's bits in a row.
        start: place of its first bit in that order; the last segment overlaps with the one before, so that all are
            equally long.
        estimates: of min-entropy.
        guesses: scores of the four predictors.
    """

    order: Order
    start: int
    estimates: EntropyEstimates
    guesses: tuple[Guesses, ...]


class WholeTest(Part):
    """A statistic of all bits.

    Args:
        name: the defect that it would show.
        p_value: probability with which ideal bits are this far off or farther.
        said: its value in words.
    """

    name: str
    p_value: float
    said: str


class LongLag(NamedTuple):
    """The strongest correlation of two bits a long way apart.

    ``lag`` is their distance, ``r`` the mean product of their signs (around 1/2, not around the mean), ``pairs`` the
    number of pairs, and ``lags`` the number of lags that were searched, from 1.
    """

    lag: int
    r: float
    pairs: int
    lags: int

    @property
    def p_value(self) -> float:
        """The probability with which ideal bits have so strong a correlation at any of the lags."""
        from scipy.special import ndtr

        return min(1.0, 2 * self.lags * float(ndtr(-abs(self.r) * sqrt(self.pairs))))


class LongLags:
    """Find the strongest correlation at any lag up to half a segment: the spectra of the segments are added."""

    def __init__(self) -> None:
        self._power: Any = 0.0
        self._size = self._added = 0

    def add(self, bits: NDArray[np.uint8]) -> None:
        from scipy.fft import next_fast_len, rfft

        self._power = self._power + np.abs(rfft(1.0 - 2.0 * bits, next_fast_len(2 * bits.size, real=True))) ** 2
        self._size, self._added = bits.size, self._added + 1

    def found(self) -> LongLag | None:
        from scipy.fft import irfft, next_fast_len

        if not self._added:
            return None
        lags = np.arange(1, self._size // 2 + 1)
        pairs = self._added * (self._size - lags)
        r = irfft(self._power, next_fast_len(2 * self._size, real=True))[lags] / pairs
        at = int(np.abs(r * np.sqrt(pairs)).argmax())
        return LongLag(int(lags[at]), float(r[at]), int(pairs[at]), lags.size)


class Segments:
    """Cut a stream into segments of a million bits; the last one reaches back, so that it is as long as the others."""

    def __init__(self, order: Order) -> None:
        self._order: Order = order
        self._kept = np.empty(2 * SEGMENT, np.uint8)  # the last segment, then the bits after it
        self._before = self._size = self._start = 0
        self._made: list[tuple[int, int, dict[str, float], tuple[Guesses, ...]]] = []
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
        self._made.append((start, bits.size, *entropy.estimates_and_guesses(bits)))

    def end(self) -> tuple[Segment, ...]:
        rest = self._size - self._before
        if rest and self._before:
            self._add(self._kept[rest : self._size], self._start + rest)
        elif rest >= entropy.LEAST:
            self._add(self._kept[:rest], 0)
        self._size = self._before
        of = EntropyEstimates.of
        return tuple(
            Segment(order=self._order, start=start, estimates=of(size, values, environment={}), guesses=guesses)
            for start, size, values, guesses in self._made  # the recording says the environment once
        )


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
        self.size = _DRIFT  #: bits of a stretch
        self._left = np.empty(0, np.uint8)  # bits of a stretch that is not complete
        self._ones = np.empty(0, np.int64)

    def feed(self, bits: NDArray[np.uint8]) -> None:
        while bits.size:  # at most so many that the stretches kept are full once
            room = self.size * (_STRETCHES - self._ones.size) - self._left.size
            joined, bits = np.concatenate([self._left, bits[:room]]), bits[room:]
            complete = joined.size // self.size * self.size
            self._ones = np.append(self._ones, joined[:complete].reshape(-1, self.size).sum(axis=1, dtype=np.int64))
            self._left = joined[complete:].copy()
            if self._ones.size == _STRETCHES:
                self._ones = self._ones[::2] + self._ones[1::2]
                self.size *= 2

    def ones(self) -> NDArray[np.int64]:
        """Return the ones of each stretch, the short last one included."""
        return np.append(self._ones, int(self._left.sum())) if self._left.size else self._ones

    def tests(self) -> tuple[WholeTest, ...]:
        from scipy.special import kolmogorov
        from scipy.stats import chi2

        ones = self.ones()
        n = np.full(ones.size, self.size)
        if self._left.size:
            n[-1] = self._left.size
        total, all_ones = int(n.sum()), int(ones.sum())
        if n.size < 8 or not 0 < all_ones < total:
            return ()
        p = all_ones / total
        spread = float(((ones - n * p) ** 2 / (n * p * (1 - p))).sum())
        places, so_far = np.cumsum(n), np.cumsum(ones)
        apart = (so_far - places * p) / sqrt(total * p * (1 - p))
        at = int(np.abs(apart).argmax())
        here, before = int(places[at]), int(so_far[at])
        after = (all_ones - before) / max(total - here, 1)
        return (
            WholeTest(name="slow drift", p_value=float(kolmogorov(abs(apart[at]))),
                      said=f"{before / here:.5f} ones before bit {here}, {after:.5f} after"),
            WholeTest(name="drift between stretches", p_value=float(chi2.sf(spread, n.size - 1)),
                      said=f"{sqrt(spread / (n.size - 1)):.4f} times the spread of sampling, {n.size} stretches"),
        )  # fmt: skip


WINDOW = 128  #: bits that must be equal; a pair of equal windows has a probability of 2**-128 in perfect bits
_SLOTS = 2**20  # of the table, half of which is used


class Repetition(Part):
    """Bits of a recording that stood in it before.

    Args:
        start, stop: of the longest stretch that repeats earlier bits at one distance.
        distance: places before it at which the same bits stood.
        bits: in all such stretches.
        share: of all bits.
        found_from: length of a repeated stretch from which on it is found with 99.9 %.
    """

    start: int
    stop: int
    distance: int
    bits: int
    share: float
    found_from: int

    def __str__(self) -> str:
        return (
            f"bits {self.start} to {self.stop} repeat those {self.distance} places before, and {100 * self.share:.3g} "
            "% of all bits stood before in stretches of 128 or more"
        )


class Repeats:
    """Search for windows of 128 bits that come again; 24 MiB whatever the length."""

    def __init__(self) -> None:
        self._words = np.zeros(5, np.uint64)
        self._keys, self._anchors = np.zeros(_SLOTS, np.uint64), np.zeros(_SLOTS, np.uint64)
        self._places = np.zeros(_SLOTS, np.int64)
        self._state = np.zeros(11, np.int64)
        self.seen = 0

    def feed(self, bits: NDArray[np.uint8]) -> None:
        """Search the next bits, one a byte."""
        kernels.repeats(bits, self.seen, self._words, self._keys, self._places, self._anchors, self._state)
        self.seen += bits.size

    @property
    def found_from(self) -> int:
        """Bits of a repeated stretch of which 99.9 % are found: a window in ``mask + 1`` is looked up."""
        return WINDOW + 7 * int(self._words[2])

    @property
    def found(self) -> Repetition | None:
        """The longest stretch, None where no window came again."""
        _, windows, start, stop, _, first, last, distance, before = map(int, self._state[:9])
        if windows == 0:
            return None
        bits = before + stop - start
        return Repetition(
            start=first, stop=last, distance=distance, bits=bits, share=bits / self.seen, found_from=self.found_from
        )
