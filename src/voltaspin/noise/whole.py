"""What is said of every bit of a recording: one pass, in memory that does not grow with it.

Bits come in pieces of any size. Kept are sums, one segment of a million bits, a block of at most 2**25 bits that is
read once more cell by cell, a table of fingerprints, and ten numbers per segment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.noise import entropy
from voltaspin.noise import whole_kernels as kernels
from voltaspin.noise.entropy import ESTIMATES, SEGMENT, EntropyEstimates
from voltaspin.noise.entropy_formulas import PREDICTORS, upper
from voltaspin.noise.entropy_limits import EntropyLimits, limits
from voltaspin.noise.health import Alarm, HealthTests, expected_alarms, fitted_a
from voltaspin.noise.repetition import Repeats, Repetition
from voltaspin.noise.source import NoiseSource
from voltaspin.noise.whole_parts import Drift, Lags, LongLag, Segment, Segments, WholeTest

FALSE_ALARM = 0.01  #: probability, at most, with which the whole verdict calls ideal bits not ideal
PARTS = ("battery", "sequences", "min-entropy", "health", "whole recording")  #: that share it evenly
SHARE = FALSE_ALARM / len(PARTS)
LAGS = 64  #: autocorrelations that are estimated
MOST_CELLS = 2**20  #: cells that are told apart; of more, the stream alone is judged
ROWS = 128  #: bits of each cell from which on its bits are read in a row

_BLOCK = 2**25  # bits that are read cell by cell at once
_STANDARD = 20  # a of the standard's cut-offs


@dataclass(frozen=True)
class WorstCell:
    """The cell whose bits are guessed best, by their share of ones or by the bit before.

    Args:
        cell: its number.
        p: share of right guesses.
        n_bits: of the cell.
        entropy: min-entropy of its bits, from the upper end of the 99 % interval of ``p``.
        proven: whether its bits are, at 1 % over all cells, guessed better than the segments say of all.
    """

    cell: int
    p: float
    n_bits: int
    entropy: float
    proven: bool


@dataclass(frozen=True)
class Whole:
    """What was found in all bits.

    Args:
        n_bits, ones, n_cells: how many.
        autocorrelation: at the lags 1 to 64: float64 (64,).
        segments: estimates by segment, and by cell where cells take turns.
        limits: that ideal bits stay above in every segment, together but for :data:`SHARE` of the recordings.
        tests: of bias, drift, correlation and cells.
        drift: bits of a stretch (the last one is shorter), and ones in each: int64 (stretches,).
        repetition: where bits stood before.
        worst_cell: where cells take turns.
        long_lag: the strongest correlation at lags up to half a segment.
        health: cut-offs, expected and found alarms, JSON-able; empty below 1,024 bits.
        alarm: the first of the health tests.
    """

    n_bits: int
    ones: int
    n_cells: int
    autocorrelation: NDArray[np.float64]
    segments: tuple[Segment, ...]
    limits: EntropyLimits | None
    tests: tuple[WholeTest, ...]
    drift: tuple[int, NDArray[np.int64]]
    repetition: Repetition | None
    worst_cell: WorstCell | None
    long_lag: LongLag | None
    health: dict[str, Any]
    alarm: Alarm | None

    @property
    def estimates(self) -> EntropyEstimates | None:
        """The smallest of every estimate over the segments."""
        if not self.segments:
            return None
        smallest = (min(getattr(s.estimates, name) for s in self.segments) for name in ESTIMATES)
        return EntropyEstimates(min(s.estimates.n_bits for s in self.segments), *smallest)

    @property
    def assessed(self) -> float | None:
        """Min-entropy, bit per bit: the smallest over estimates, segments and cells."""
        if self.estimates is None:
            return None
        worst = self.worst_cell
        return min(self.estimates.minimum, worst.entropy) if worst and worst.proven else self.estimates.minimum

    @property
    def low_entropy(self) -> tuple[str, ...]:
        """Estimates that are somewhere below what ideal bits get."""
        return self.limits.below(self.estimates) if self.limits and self.estimates else ()

    @property
    def failed(self) -> tuple[WholeTest, ...]:
        """Statistics too far off for so many (Bonferroni)."""
        return tuple(t for t in self.tests if t.p_value < SHARE / len(self.tests))

    def to_json(self) -> dict[str, Any]:
        size, ones = self.drift
        return {
            "n_bits": self.n_bits, "ones": self.ones, "n_cells": self.n_cells, "assessed_min_entropy": self.assessed,
            "segments": [s.to_json() for s in self.segments],
            "tests": [{**asdict(t), "failed": t in self.failed} for t in self.tests],
            "drift": {"bits": size, "ones": ones.tolist()},
            "repetition": None if self.repetition is None else self.repetition.to_json(),
            "worst_cell": None if self.worst_cell is None else asdict(self.worst_cell),
        }  # fmt: skip


class Reader:
    """Takes the bits of a recording in order; :meth:`found` says what they are.

    Args:
        n_bits: that will come, or a number that they do not exceed by much: the cut-offs of the health tests fit it.
        lanes: cells that deliver in turn.
        H: min-entropy per bit at which the health tests are set.
    """

    def __init__(self, n_bits: int, *, lanes: int = 1, H: float = 0.9) -> None:
        self.lanes = lanes if lanes <= MOST_CELLS else 1
        self.seen = 0
        a = fitted_a(n_bits, H=H, n_cells=self.lanes, false_alarm=SHARE)
        self._health = HealthTests(H=H, a=a, n_cells=self.lanes)
        self._standard = HealthTests(H=H, a=_STANDARD, n_cells=self.lanes).cutoffs
        self._planned = n_bits
        self._state = [np.full(self.lanes, 2, np.uint8), *(np.zeros(self.lanes, np.int64) for _ in range(3))]
        self._alarms = np.zeros(5, np.int64)
        self._ones, self._same = np.zeros(self.lanes, np.int64), np.zeros(self.lanes, np.int64)
        self._last = np.full(self.lanes, 2, np.uint8)
        self._lags, self._drift, self._repeats = Lags(LAGS), Drift(), Repeats()
        self._plain, self._turned = Segments("as read"), Segments("cell by cell")
        self._rows = np.empty(
            min(SEGMENT, max(1, _BLOCK // self.lanes)) * self.lanes if self.lanes > 1 else 0, np.uint8
        )
        self._filled = 0

    def feed(self, packed: NDArray[np.uint8], n: int) -> None:
        """The next ``n`` bits, packed with the first highest."""
        self._health.feed(packed, n)
        for at in range(0, n, SEGMENT):
            self._fed(np.unpackbits(packed[at // 8 : -(-n // 8)], count=min(SEGMENT, n - at)))

    def _fed(self, bits: NDArray[np.uint8]) -> None:
        kernels.alarms(bits, self.seen, self._health.window, *self._standard, *self._state, self._alarms)
        kernels.cells(bits, self.seen, self._ones, self._same, self._last)
        for part in (self._lags, self._drift, self._repeats, self._plain):
            part.feed(bits)
        self.seen += bits.size
        while self._rows.size and bits.size:
            room = min(self._rows.size - self._filled, bits.size)
            self._rows[self._filled : self._filled + room] = bits[:room]
            self._filled, bits = self._filled + room, bits[room:]
            if self._filled == self._rows.size:
                self._turn()

    def _turn(self) -> None:
        rows = self._filled // self.lanes
        if rows >= ROWS:
            turned = self._rows[: rows * self.lanes].reshape(rows, self.lanes).T.ravel()
            for at in range(0, turned.size, SEGMENT):
                self._turned.feed(turned[at : at + SEGMENT])
        self._filled = 0

    def found(self) -> Whole:
        """What the bits so far are; none may come after it."""
        self._turn()
        segments = (*self._plain.end(), *self._turned.end())
        shortest = min((s.estimates.n_bits for s in segments), default=0)
        found = limits(shortest, false_alarm=SHARE / len(segments)) if segments else None
        ones, lag = int(self._ones.sum()), self._lags.found()
        tests = _of_all(self.seen, ones, lag) + self._drift.tests() + self._cell_tests() + _of_guesses(segments)
        long = self._plain.long.found()
        if long is not None:
            said = f"{long.r:+.6f} at lag {long.lag}"
            tests += (WholeTest(f"correlation, lags to {long.lags}", long.p_value, said),)
        assessed = min((s.estimates.minimum for s in segments), default=1.0)
        health: dict[str, Any] = {}
        if self.seen:
            a20 = expected_alarms(self.seen, _STANDARD, H=self._health.H, n_cells=self.lanes)
            planned = expected_alarms(self._planned, self._health.a, H=self._health.H, n_cells=self.lanes)
            health = {
                **self._health.to_json(),
                "false_alarm": sum(planned),
                "longest_run": int(self._alarms[2]), "longest_run_ends": int(self._alarms[3]),
                "standard": {
                    "a": _STANDARD, "repetition_cutoff": self._standard[0], "proportion_cutoff": self._standard[1],
                    "runs": int(self._alarms[0]), "expected_runs": a20[0],
                    "windows": int(self._alarms[1]), "expected_windows": a20[1],
                },
            }  # fmt: skip
        return Whole(
            self.seen, ones, self.lanes, lag, segments, found, tests, self._drift.stretches(), self._repeats.found,
            self._worst(assessed), long, health, self._health.alarm,
        )  # fmt: skip

    def _sizes(self) -> NDArray[np.int64]:
        """Bits of each cell."""
        return self.seen // self.lanes + (np.arange(self.lanes) < self.seen % self.lanes)

    def _cell_tests(self) -> tuple[WholeTest, ...]:
        n = self._sizes()
        if self.lanes == 1 or n.min() < 16:
            return ()
        from scipy.stats import chi2

        spread = float(((2 * self._ones - n) ** 2 / n).sum())
        pairs, same = int((n - 1).sum()), int(self._same.sum())
        worst = max(range(self.lanes), key=lambda c: abs(2 * self._ones[c] - n[c]) / sqrt(n[c]))
        stuck = max(range(self.lanes), key=lambda c: abs(2 * self._same[c] - n[c] + 1) / sqrt(n[c]))
        biased, ones = int(n[worst]), int(self._ones[worst])
        mindful, repeated = int(n[stuck]) - 1, int(self._same[stuck])
        return (
            WholeTest(
                "bias between cells", float(chi2.sf(spread, self.lanes)),
                f"{sqrt(spread / self.lanes):.4f} times the spread of sampling",
            ),
            WholeTest("memory of the cells", _two_sided(same, pairs), f"{same / pairs:.6f} of bits repeat the last"),
            WholeTest(
                "the worst cell's bias", min(1.0, self.lanes * _two_sided(ones, biased)),
                f"cell {worst} gives {ones / biased:.4f} ones",
            ),
            WholeTest(
                "the worst cell's memory", min(1.0, self.lanes * _two_sided(repeated, mindful)),
                f"cell {stuck} repeats {repeated / mindful:.4f} of its bits",
            ),
        )  # fmt: skip

    def _worst(self, assessed: float) -> WorstCell | None:
        n = self._sizes()
        if self.lanes == 1 or n.min() < 16:
            return None
        from scipy.stats import binom

        by_ones, by_last = np.maximum(self._ones, n - self._ones), np.maximum(self._same, n - 1 - self._same)
        shares = np.maximum(by_ones / n, by_last / (n - 1))
        cell = int(shares.argmax())
        size = int(n[cell]) - int(by_last[cell] / (n[cell] - 1) > by_ones[cell] / n[cell])
        p = float(shares[cell])
        # each cell was tried in four ways
        chance = 4 * self.lanes * float(binom.sf(round(p * size) - 1, size, max(0.5, 2.0**-assessed)))
        return WorstCell(cell, p, size, upper(p, size), chance < 0.01)


def assess(draw: Callable[[int], NDArray[np.uint8]], n_bits: int, *, lanes: int = 1) -> Whole:
    """All bits of something that gives packed bits by number, in pieces of one segment."""
    reader = Reader(n_bits, lanes=lanes)
    for at in range(0, n_bits, SEGMENT):
        size = min(SEGMENT, n_bits - at)
        reader.feed(draw(size), size)
    return reader.found()


def assessed(source: NoiseSource) -> tuple[float, str]:
    """Min-entropy per bit of a source, and in words how it was found.

    A source that runs dry is read to its end and set back to where it was; of one that does not, a million bits are
    read and thrown away.

    Raises:
        InputError: too few bits, or none of them holds any entropy.
    """
    left = source.bits_left
    n = SEGMENT if left is None else left
    state = None if left is None else source.state_dict()
    found = assess(source.take, n, lanes=source.n_cells)
    if state is not None:
        source.load_state_dict(state)
    H = found.assessed
    if H is None or not H > 0:
        why = f"{n} bits are too few, at least {entropy.LEAST} are needed" if H is None else "they hold no min-entropy"
        raise InputError(f"{source.name} cannot be assessed: {why}; give another source, or H as a number")
    segments = f"{len(found.segments)} segment{'s' * (len(found.segments) > 1)}"
    return H, f"assessed here, the smallest of ten estimates over {segments} of {n} bits"


def seconds(n_bits: int, lanes: int = 1) -> float:
    """What reading so many bits takes on one core of a common processor, roughly: measured 0.6 s per million."""
    return 0.6e-6 * n_bits * (2 if 1 < lanes and n_bits >= ROWS * lanes else 1)


def _two_sided(ones: int, n: int) -> float:
    from scipy.stats import binom

    return min(1.0, 2 * float(binom.sf(max(ones, n - ones) - 1, n, 0.5)))


def _of_all(n: int, ones: int, lag: NDArray[np.float64]) -> tuple[WholeTest, ...]:
    from scipy.special import ndtr

    tests = [WholeTest("bias", _two_sided(ones, n), f"{ones / n - 0.5:+.6f}")] if n else []
    if n > 2 * LAGS:
        z = np.abs(lag) * np.sqrt(n - np.arange(1, LAGS + 1))
        at = int(z.argmax())
        p = min(1.0, 2 * LAGS * float(ndtr(-z[at])))
        if not 0 < ones < n:
            p = 1.0
        tests.append(WholeTest("correlation, lags to 64", p, f"{lag[at]:+.6f} at lag {at + 1}"))
    return tuple(tests)


def _of_guesses(segments: tuple[Segment, ...]) -> tuple[WholeTest, ...]:
    """Right guesses of every predictor, of all segments that do not overlap."""
    from scipy.stats import binom

    tests = []
    for order in dict.fromkeys(s.order for s in segments):
        apart = [s for s in segments if s.order == order and s.start % SEGMENT == 0]
        for i, name in enumerate(PREDICTORS):
            right, n = (sum(getattr(s.guesses[i], what) for s in apart) for what in ("right", "n"))
            tests.append(
                WholeTest(f"guesses, {name.replace('_', ' ')}" + (" by cell" if order == "cell by cell" else ""),
                          float(binom.sf(right - 1, n, 0.5)), f"{right / n:.6f} are right")
            )  # fmt: skip
    return tuple(tests)


def lag_correlations(bits: NDArray[np.uint8], lags: int) -> NDArray[np.float64]:
    """Autocorrelation at the lags 1 to ``lags`` of bits at hand, one a byte: float64 (lags,)."""
    counted = Lags(lags)
    counted.feed(bits)
    return counted.found()
