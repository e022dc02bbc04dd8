"""The verdict on every bit of a recording: one pass, in memory that does not grow with it.

Bits come in pieces of any size. Kept are sums, one segment of a million bits, a block of at most 2**25 bits that is
read once more cell by cell, a table of fingerprints, and ten numbers per segment.
"""

from __future__ import annotations

from math import sqrt
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.result import Array, Part, Unit
from voltaspin.noise.examination import entropy, kernels
from voltaspin.noise.examination.entropy import ESTIMATES, PREDICTORS, SEGMENT, EntropyEstimates, upper
from voltaspin.noise.examination.entropy_limits import EntropyLimits, limits
from voltaspin.noise.examination.whole_parts import Drift, Lags, Repeats, Repetition, Segment, Segments, WholeTest
from voltaspin.noise.health import START_UP, Alarm, HealthTests, expected_alarms, fitted_a
from voltaspin.noise.source import NoiseSource

FALSE_ALARM = 0.01  #: probability, at most, with which the verdict calls ideal bits not ideal
PARTS = ("battery", "sequences", "min-entropy", "health", "whole recording")  #: that share it evenly
SHARE = FALSE_ALARM / len(PARTS)
LAGS = 64  #: autocorrelations that are estimated
MOST_CELLS = 2**20  #: cells that are told apart; of more, the stream alone is judged
ROWS = 128  #: bits of each cell from which on its bits are read in a row

_BLOCK = 2**25  # bits that are read cell by cell at once
_LEAST = 16  # bits of a cell that can be judged
_STANDARD = 20  # a of the standard's cut-offs

_Entropy = Annotated[float, Unit("bit/bit")]


class WorstCell(Part):
    """The cell whose bits are guessed best, by their share of ones or by the bit before.

    Args:
        cell: its number.
        p: share of right guesses.
        n_bits: number of its bits.
        entropy: min-entropy of its bits, from the upper end of the 99 % interval of ``p``.
        proven: whether its bits are, at 1 % over all cells, guessed better than the segments say of all.
    """

    cell: int
    p: float
    n_bits: int
    entropy: _Entropy
    proven: bool


class Whole(Part):
    """Everything that was found in all bits.

    Args:
        n_bits, ones, n_cells: how many.
        autocorrelation: at the lags 1 to 64: float64 (64,).
        segments: estimates by segment, and by cell where cells take turns.
        estimates: the smallest of every estimate over the segments; None where the bits are too few.
        assessed: the smallest over estimates, segments and cells.
        limited_by: the estimate, or the cell, that is the smallest.
        limits: that ideal bits stay above in every segment, together but for :data:`SHARE` of the recordings.
        tests: of bias, drift, correlation and cells.
        p_limit: P-value below which one of so many tests fails (Bonferroni).
        drift_bits: bits of a stretch; the last one is shorter.
        drift_ones: ones in each stretch: int64 (stretches,).
        repetition: bits that stood before.
        worst_cell: where cells take turns.
        health: cut-offs, expected and found alarms, JSON-able; empty below 1,024 bits.
        alarm: the first of the health tests.
    """

    n_bits: int
    ones: int
    n_cells: int
    autocorrelation: Array
    segments: tuple[Segment, ...]
    estimates: EntropyEstimates | None
    assessed: _Entropy | None
    limited_by: str
    limits: EntropyLimits | None
    tests: tuple[WholeTest, ...]
    p_limit: float
    drift_bits: Annotated[int, Unit("bit")]
    drift_ones: Array
    repetition: Repetition | None
    worst_cell: WorstCell | None
    health: dict[str, Any]
    alarm: Alarm | None

    @property
    def low_entropy(self) -> tuple[str, ...]:
        """Estimates that are somewhere below those of ideal bits."""
        return self.limits.below(self.estimates) if self.limits and self.estimates else ()

    @property
    def failed(self) -> tuple[WholeTest, ...]:
        """Statistics too far off for so many."""
        return tuple(t for t in self.tests if t.p_value < self.p_limit)


class Reader:
    """Take the bits of a recording in order; :meth:`found` judges them.

    Args:
        n_bits: that will come, or a number that they do not exceed by much: the cut-offs of the health tests fit it.
        n_cells: cells that deliver in turn.
        H: min-entropy per bit at which the health tests are set.
        lanes: old name of ``n_cells``.
    """

    def __init__(self, n_bits: int, *, n_cells: int = 1, H: float = 0.9, lanes: int | None = None) -> None:
        cells = lanes or n_cells
        self.n_cells = cells = cells if cells <= MOST_CELLS else 1
        self.seen = 0
        self._health = HealthTests(H=H, a=fitted_a(n_bits, H=H, n_cells=cells, false_alarm=SHARE), n_cells=cells)
        self._standard = HealthTests(H=H, a=_STANDARD, n_cells=cells).cutoffs
        self._planned = n_bits
        # of every cell: last bit, run, first bit and count of its window; then its ones and its repeated bits
        self._state: list[NDArray[Any]] = [np.full(cells, 2, np.uint8), *(np.zeros(cells, np.int64) for _ in range(5))]
        self._alarms = np.zeros(4, np.int64)
        self._lags, self._drift, self._repeats = Lags(LAGS), Drift(), Repeats()
        self._plain, self._turned = Segments("as read"), Segments("cell by cell")
        self._rows = np.empty(min(SEGMENT, max(1, _BLOCK // cells)) * cells if cells > 1 else 0, np.uint8)
        self._filled = 0

    def feed(self, packed: NDArray[np.uint8], n: int) -> None:
        """Take the next ``n`` bits, packed with the first highest."""
        self._health.feed(packed, n)
        for at in range(0, n, SEGMENT):
            self._fed(np.unpackbits(packed[at // 8 : -(-n // 8)], count=min(SEGMENT, n - at)))

    def _fed(self, bits: NDArray[np.uint8]) -> None:
        kernels.cells(bits, self.seen, self._health.window, *self._standard, *self._state, self._alarms)
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
        rows = self._filled // self.n_cells
        if rows >= ROWS:
            turned = self._rows[: rows * self.n_cells].reshape(rows, self.n_cells).T.ravel()
            for at in range(0, turned.size, SEGMENT):
                self._turned.feed(turned[at : at + SEGMENT])
        self._filled = 0

    def found(self) -> Whole:
        """Return the verdict on the bits so far; none may come after it."""
        self._turn()
        segments = (*self._plain.end(), *self._turned.end())
        estimates = found_limits = assessed = None
        limited_by = ""
        if segments:
            smallest = {name: min(float(getattr(s.estimates, name)) for s in segments) for name in ESTIMATES}
            estimates = EntropyEstimates.of(min(s.estimates.n_bits for s in segments), smallest, environment={})
            found_limits = limits(estimates.n_bits, false_alarm=SHARE / len(segments))
            worst_segment = min(segments, key=lambda s: s.estimates.minimum)
            assessed, limited_by = estimates.minimum, f"{estimates.limiting}, {worst_segment.order}"
        ones, lag = int(self._state[4].sum()), self._lags.found()
        worst = self._worst_cell(1.0 if assessed is None else assessed)
        if assessed is not None and worst and worst.proven and worst.entropy < assessed:
            assessed, limited_by = worst.entropy, f"cell {worst.cell}"
        tests = _of_all(self.seen, ones, lag) + self._drift.tests() + self._cell_tests() + _of_guesses(segments)
        long = self._plain.long.found()
        if long is not None:
            said = f"{long.r:+.6f} at lag {long.lag}"
            tests += (WholeTest(name=f"correlation, lags to {long.lags}", p_value=long.p_value, said=said),)
        judged = self.seen >= START_UP
        return Whole(
            n_bits=self.seen, ones=ones, n_cells=self.n_cells, autocorrelation=lag, segments=segments,
            estimates=estimates, assessed=assessed, limited_by=limited_by, limits=found_limits, tests=tests,
            p_limit=SHARE / max(len(tests), 1), drift_bits=self._drift.size, drift_ones=self._drift.ones(),
            repetition=self._repeats.found, worst_cell=worst, health=self._health_found() if judged else {},
            alarm=self._health.alarm if judged else None,
        )  # fmt: skip

    def _health_found(self) -> dict[str, Any]:
        H, cells = self._health.H, self.n_cells
        runs, windows, longest, ends = map(int, self._alarms)
        expected = expected_alarms(self.seen, _STANDARD, H=H, n_cells=cells)
        return {
            **self._health.to_json(),
            "false_alarm": sum(expected_alarms(self._planned, self._health.a, H=H, n_cells=cells)),
            "longest_run": longest, "longest_run_ends": ends,
            "standard": {
                "a": _STANDARD, "repetition_cutoff": self._standard[0], "proportion_cutoff": self._standard[1],
                "runs": runs, "expected_runs": expected[0], "windows": windows, "expected_windows": expected[1],
            },
        }  # fmt: skip

    @property
    def _sizes(self) -> NDArray[np.int64]:
        """Bits of each cell; empty where one alone delivers, or where they have too few."""
        n = self.seen // self.n_cells + (np.arange(self.n_cells) < self.seen % self.n_cells)
        return n if self.n_cells > 1 and n.min() >= _LEAST else n[:0]

    def _cell_tests(self) -> tuple[WholeTest, ...]:
        from scipy.stats import chi2

        n, (ones, same) = self._sizes, self._state[4:]
        if not n.size:
            return ()
        excess = 2 * ones - n
        spread = float((excess**2 / n).sum())
        worst = int(np.argmax(np.abs(excess) / np.sqrt(n)))
        stuck = int(np.argmax(np.abs(2 * same - n + 1) / np.sqrt(n)))
        pairs, repeated = int((n - 1).sum()), int(same.sum())
        rows = (
            ("bias between cells", float(chi2.sf(spread, n.size)),
             f"{sqrt(spread / n.size):.4f} times the spread of sampling"),
            ("memory of the cells", _two_sided(repeated, pairs), f"{repeated / pairs:.6f} of bits repeat the last"),
            ("the worst cell's bias", min(1.0, n.size * _two_sided(int(ones[worst]), int(n[worst]))),
             f"cell {worst} gives {ones[worst] / n[worst]:.4f} ones"),
            ("the worst cell's memory", min(1.0, n.size * _two_sided(int(same[stuck]), int(n[stuck]) - 1)),
             f"cell {stuck} repeats {same[stuck] / (n[stuck] - 1):.4f} of its bits"),
        )  # fmt: skip
        return tuple(WholeTest(name=name, p_value=p, said=said) for name, p, said in rows)

    def _worst_cell(self, assessed: float) -> WorstCell | None:
        from scipy.stats import binom

        n, (ones, same) = self._sizes, self._state[4:]
        if not n.size:
            return None
        by_ones, by_last = np.maximum(ones, n - ones), np.maximum(same, n - 1 - same)
        shares = np.maximum(by_ones / n, by_last / (n - 1))
        cell = int(shares.argmax())
        size = int(n[cell]) - int(by_last[cell] / (n[cell] - 1) > by_ones[cell] / n[cell])
        p = float(shares[cell])
        # each cell was tried in four ways
        chance = 4 * n.size * float(binom.sf(round(p * size) - 1, size, max(0.5, 2.0**-assessed)))
        return WorstCell(cell=cell, p=p, n_bits=size, entropy=upper(p, size), proven=chance < 0.01)


def assessed(source: NoiseSource) -> tuple[float, str]:
    """Return the min-entropy per bit of a source, and in words how it was found.

    A source that runs dry is read to its end and set back to where it was; of one that does not, a million bits are
    read and thrown away.

    Raises:
        InputError: too few bits, or none of them holds any entropy.
    """
    left = source.bits_left
    n = SEGMENT if left is None else left
    state = None if left is None else source.state_dict()
    reader = Reader(n, n_cells=source.n_cells)
    for at in range(0, n, SEGMENT):
        size = min(SEGMENT, n - at)
        reader.feed(source.take(size), size)
    found = reader.found()
    if state is not None:
        source.load_state_dict(state)
    H = found.assessed
    if H is None or not H > 0:
        why = f"{n} bits are too few, at least {entropy.LEAST} are needed" if H is None else "they hold no min-entropy"
        raise InputError(f"{source.name} cannot be assessed: {why}; give another source, or H as a number")
    segments = f"{len(found.segments)} segment{'s' * (len(found.segments) > 1)}"
    return H, f"assessed here, the smallest of ten estimates over {segments} of {n} bits"


def seconds(n_bits: int, n_cells: int = 1) -> float:
    """Return the time to read so many bits on one core of a common processor, roughly: measured 0.6 s per million."""
    return 0.6e-6 * n_bits * (2 if 1 < n_cells and n_bits >= ROWS * n_cells else 1)


def _two_sided(ones: int, n: int) -> float:
    from scipy.stats import binom

    return min(1.0, 2 * float(binom.sf(max(ones, n - ones) - 1, n, 0.5)))


def _of_all(n: int, ones: int, lag: NDArray[np.float64]) -> tuple[WholeTest, ...]:
    from scipy.special import ndtr

    if not n:
        return ()
    tests = [WholeTest(name="bias", p_value=_two_sided(ones, n), said=f"{ones / n - 0.5:+.6f}")]
    if n > 2 * LAGS:
        z = np.abs(lag) * np.sqrt(n - np.arange(1, LAGS + 1))
        at = int(z.argmax())
        p = min(1.0, 2 * LAGS * float(ndtr(-z[at]))) if 0 < ones < n else 1.0
        tests.append(WholeTest(name="correlation, lags to 64", p_value=p, said=f"{lag[at]:+.6f} at lag {at + 1}"))
    return tuple(tests)


def _of_guesses(segments: tuple[Segment, ...]) -> tuple[WholeTest, ...]:
    """Tests of the right guesses of every predictor, over all segments that do not overlap."""
    from scipy.stats import binom

    tests = []
    for order in dict.fromkeys(s.order for s in segments):
        apart = [s.guesses for s in segments if s.order == order and s.start % SEGMENT == 0]
        for i, name in enumerate(PREDICTORS):
            right, n = sum(g[i].right for g in apart), sum(g[i].n for g in apart)
            full = f"guesses, {name.replace('_', ' ')}" + (" by cell" if order == "cell by cell" else "")
            p = float(binom.sf(right - 1, n, 0.5))
            tests.append(WholeTest(name=full, p_value=p, said=f"{right / n:.6f} are right"))
    return tuple(tests)
