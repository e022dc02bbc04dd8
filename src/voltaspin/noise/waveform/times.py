"""Whether the times of a trace are even, and where they are not.

Instruments write times with few digits, so that neighbouring ones may be rounded to the same number. Rounding makes few
different steps; a jitter makes many. Both are told apart from a jump, a gap and a clock that runs backwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.units import format_quantity
from voltaspin.noise.importer.reading import FileError, Reading

_LONGEST = 1e15  # seconds that a time may be from zero
_EVEN = 0.02  # part of a step by which it may differ
_KINDS = 16  # different steps that rounding makes in one block, at most
_FEW = 0.01  # share of odd steps up to which they are single events
_REMEDY = "export the trace with even times, or give sample_rate= to leave the times aside"


class TimeCheck:
    """Takes the times of a trace in blocks and refuses the first uneven one.

    Args:
        reading: whose lines are named; name: of the file.
    """

    def __init__(self, reading: Reading, name: str) -> None:
        self._reading, self._name = reading, name
        self._n, self._first, self._last, self._step = 0, 0.0, 0.0, 0.0

    def step(self) -> float:
        """Return the mean time between samples [s]."""
        return (self._last - self._first) / (self._n - 1)

    def add(self, times: NDArray[np.float64], values: NDArray[np.float64]) -> None:
        """Take the times [s] of the next values.

        Raises:
            FileError: a time that is missing, not finite, before the last one, or not a step after it; values that
                rise evenly while the times do not.
        """
        times = np.asarray(times, np.float64)
        if times.size != values.size:
            raise FileError(f"{self._name} has {times.size} times and {values.size} values in a block; {_REMEDY}")
        if not times.size:
            return
        if (bad := np.flatnonzero(~(np.abs(times) < _LONGEST))).size:
            raise FileError(f"{self._name}: {self._at(int(bad[0]), 'time')} is {times[bad[0]]}; {_REMEDY}")
        if not self._n:
            self._first = float(times[0])
            self._check_swapped(times, values)
        steps = np.diff(times) if not self._n else np.diff(times, prepend=self._last)
        shift = 0 if self._n else 1
        if steps.size:
            self._check(steps, shift)
        self._n += times.size
        self._last = float(times[-1])

    def _at(self, index: int, what: str) -> str:
        return self._reading.at(self._n + index, what)

    def _check_swapped(self, times: NDArray[np.float64], values: NDArray[np.float64]) -> None:
        if rises_evenly(values):
            how = "both columns rise" if rises_evenly(times) else "the values rise and the times do not"
            raise FileError(
                f"{self._name}: {how} by even steps, as times do; the columns of time and values look swapped: say "
                "column= for the values and time_column= for the times"
            )

    def _check(self, steps: NDArray[np.float64], shift: int) -> None:
        back = np.flatnonzero(steps < 0)
        if back.size:
            i = int(back[0])
            raise FileError(
                f"{self._name}: {self._at(i + shift, 'time')} lies {format_quantity(-float(steps[i]), 's')} before the "
                f"one above it; the times run backwards (several segments in one file?): export one segment, or give "
                "sample_rate= to leave the times aside"
            )
        if not self._step:
            self._step = self._typical(steps)
        step = self._step
        odd = np.abs(steps - step) > _EVEN * step
        if not odd.any():
            return
        kinds, inverse = np.unique(np.rint(steps / (1e-3 * step)), return_inverse=True)
        met = np.bincount(inverse)
        common = kinds[met >= max(2, 1e-3 * steps.size)] * 1e-3 * step
        if np.count_nonzero(odd) > max(_FEW * steps.size, 1) and len(kinds) > _KINDS:
            ends = format_quantity(float(steps.min()), "s"), format_quantity(float(steps.max()), "s")
            raise FileError(
                f"{self._name} is not sampled evenly: from {self._at(0, 'time')} on, samples are {ends[0]} to "
                f"{ends[1]} apart; {_REMEDY}"
            )
        grain = float(np.diff(common).max()) if common.size > 1 else 0.0
        jumps = np.flatnonzero(np.abs(steps - step) > max(0.5 * step, 1.5 * grain))
        if jumps.size:
            i = int(jumps[0])
            raise FileError(
                f"{self._name}: {self._at(i + shift, 'time')} lies {format_quantity(float(steps[i]), 's')} after the "
                f"one above it, and samples are {format_quantity(step, 's')} apart; the times jump: export the part "
                "before or behind it, or give sample_rate= to leave the times aside"
            )
        size, means = _stretches(steps)
        other = np.flatnonzero(np.abs(means - step) > _EVEN * step + 2 * grain / size)
        if other.size:
            first = int(other[0]) * size
            i = first + int(np.argmax(odd[first : first + size]))
            raise FileError(
                f"{self._name}: around {self._at(i + shift, 'time')}, samples are "
                f"{format_quantity(float(means[other[0]]), 's')} apart, and {format_quantity(step, 's')} elsewhere; "
                f"{_REMEDY}"
            )

    def _typical(self, steps: NDArray[np.float64]) -> float:
        """The time between samples that is met most, whatever single ones are: the commonest mean of a stretch."""
        means = _stretches(steps)[1]
        like = np.abs(means[:, None] - means) <= _EVEN * np.abs(means)
        step = float(means[np.argmax(like.sum(axis=1))])
        if not step > 0:
            raise FileError(
                f"{self._name}: most times equal the one above them; they have too few digits, so give sample_rate= to "
                "leave them aside"
            )
        return step


def _stretches(steps: NDArray[np.float64]) -> tuple[int, NDArray[np.float64]]:
    """The length of a stretch, and the mean step of each."""
    size = max(1, min(1000, steps.size // 10))
    return size, steps[: steps.size // size * size].reshape(-1, size).mean(axis=1)


def rises_evenly(values: NDArray[np.float64]) -> bool:
    """Whether 20 values or more rise by equal steps, but for rounding, as times do."""
    with np.errstate(all="ignore"):
        steps = np.diff(values)
        return bool(values.size >= 20 and steps.min() > 0 and np.ptp(steps) <= 1e-2 * steps.mean())
