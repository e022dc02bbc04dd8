"""Bits from what a laboratory writes down: bytes, text, NumPy arrays, CSV columns, and resistances.

A read gives a resistance, and a threshold makes it a bit. Where the two states are well apart any threshold
between them does; where they overlap, the one at which the two densities are equal misreads least.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from math import log, sqrt
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError

Format = Literal["packed", "bytes", "text", "npy", "csv"]

_VALUES = 1 << 20  # values read at once
_FITTED = 200_000  # resistances that the fit looks at, spread over the first ones read


@dataclass(frozen=True)
class TwoPopulations:
    """A mixture of two Gaussians fitted to resistances.

    Args:
        low, high: means of the parallel and of the antiparallel state [ohm].
        low_spread, high_spread: standard deviations [ohm].
        high_share: share of the antiparallel state.
        threshold: where the two weighted densities are equal [ohm].
        misread: probability that a read falls on the other side of the threshold.
    """

    low: float
    high: float
    low_spread: float
    high_spread: float
    high_share: float
    threshold: float
    misread: float

    @property
    def separation(self) -> float:
        """Distance of the means over the mean of the spreads."""
        return (self.high - self.low) / ((self.low_spread + self.high_spread) / 2)

    def to_json(self) -> dict[str, float]:
        return {**asdict(self), "separation": self.separation}


def two_populations(resistances: NDArray[np.float64]) -> TwoPopulations:
    """Find the two states in a set of resistances, by expectation and maximisation.

    Args:
        resistances: [ohm], at least 100.

    Raises:
        InputError: too few, or one population only: between the two fitted means the data are not rarer than at
            them by half.
    """
    from scipy.special import ndtr

    r = np.sort(np.asarray(resistances, np.float64).ravel())
    if r.size < 100:
        raise InputError(
            f"{r.size} resistances are too few to find two states in; record 100, or give a threshold in ohm"
        )
    if r[0] == r[-1]:
        raise InputError(
            f"all resistances are {r[0]:g} ohm: one population only; record both states, or check the reader"
        )
    one, s = _fit(r)
    order = np.argsort(one[:, 0])
    (low, low_spread, _), (high, high_spread, share) = one[order]
    threshold = _crossing(low, low_spread, 1 - share, high, high_spread, share)
    window = 0.1 * (high - low)

    def rate(x: float) -> int:
        return int(np.searchsorted(r, x + window) - np.searchsorted(r, x - window))

    at_low, between, at_high = rate(low), rate((low + high) / 2), rate(high)
    # one broad or skewed population splits into two halves without a gap between them
    if not low < threshold < high or 2 * between > min(at_low, at_high) or min(share, 1 - share) * r.size < 10:
        raise InputError(
            f"the resistances ({r[0]:.4g} to {r[-1]:.4g} ohm, spread {s:.3g} ohm) show one population only; record "
            "both states, or give a threshold in ohm"
        )
    wrong = (1 - share) * float(ndtr((low - threshold) / low_spread)) + share * float(
        ndtr((threshold - high) / high_spread)
    )
    return TwoPopulations(low, high, low_spread, high_spread, share, threshold, wrong)


def _fit(r: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """(mean, spread, share) of two Gaussians, and the spread of all."""
    s = float(r.std())
    split = (r[0] + r[-1]) / 2
    sides = [r[r <= split], r[r > split]]
    found = np.array([[side.mean(), max(side.std(), 1e-6 * s), side.size / r.size] for side in sides])
    for _ in range(500):
        mean, spread, share = (found[:, i, None] for i in range(3))
        logs = np.log(share) - np.log(spread) - 0.5 * ((r - mean) / spread) ** 2
        weight = np.exp(logs - np.logaddexp(logs[0], logs[1]))
        size = weight.sum(axis=1)
        if (size < 1).any():
            break
        means = (weight @ r) / size
        spreads = np.sqrt((weight * (r - means[:, None]) ** 2).sum(axis=1) / size)
        after = np.column_stack([means, np.maximum(spreads, 1e-6 * s), size / r.size])
        done = np.abs(after - found)[:, :2].max() < 1e-9 * s
        found = after
        if done:
            break
    return found, s


def _crossing(m0: float, s0: float, w0: float, m1: float, s1: float, w1: float) -> float:
    """Where ``w0 N(m0, s0)`` equals ``w1 N(m1, s1)`` between the means; NaN if it does not there."""
    a = 1 / s1**2 - 1 / s0**2
    b = m0 / s0**2 - m1 / s1**2
    c = m1**2 / s1**2 - m0**2 / s0**2 + 2 * log(w0 * s1 / (w1 * s0))
    roots = [-c / (2 * b)] if abs(a) < 1e-12 * abs(b / m1) else [(-b + d) / a for d in _roots(b * b - a * c)]
    inside = [x for x in roots if m0 < x < m1]
    return inside[0] if inside else float("nan")


def _roots(square: float) -> tuple[float, ...]:
    return (-sqrt(square), sqrt(square)) if square >= 0 else ()


class BitReader:
    """The bits of a file in blocks, and the threshold that made them.

    Args:
        path: file.
        format: any but ``packed``.
        threshold: for resistances [ohm], ``"fit"``, or None for 0 and 1.
        column: of a CSV file.

    Iterating gives uint8 (n,), one bit a byte.
    """

    def __init__(
        self, path: Path, format: Format, *, threshold: float | Literal["fit"] | None, column: str | int
    ) -> None:
        self._path, self._format, self._column = path, format, column
        self.populations: TwoPopulations | None = None
        if isinstance(threshold, str) and threshold != "fit":
            raise InputError(f"threshold {threshold!r} is unknown; give a resistance in ohm, or 'fit'")
        if threshold is not None and not isinstance(threshold, str) and not threshold > 0:
            raise InputError(f"threshold = {threshold} ohm must be positive")
        if threshold == "fit":
            self.populations = two_populations(self._first_resistances())
            self.threshold: float | None = self.populations.threshold
        else:
            self.threshold = None if threshold is None else float(threshold)

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        at, ones = 0, 0
        for values in self._values():
            if self.threshold is None:
                bad = np.flatnonzero((values != 0) & (values != 1))
                if bad.size:
                    raise InputError(
                        f"{self._path}: value {at + int(bad[0])} is {values[bad[0]]}, which is neither 0 nor 1; for "
                        "resistances give a threshold in ohm, or threshold='fit'"
                    )
                bits = values.astype(np.uint8)
            else:
                _check_resistances(self._path, values, at)
                bits = (values > self.threshold).astype(np.uint8)
            at += values.size
            ones += int(bits.sum())
            yield bits
        if self.threshold is not None and at and ones in (0, at):
            side = "above" if ones else "below"
            raise InputError(
                f"{self._path}: all {at} resistances lie {side} the threshold of {self.threshold:g} ohm; check the "
                "unit and the threshold, or use threshold='fit'"
            )

    def _first_resistances(self) -> NDArray[np.float64]:
        parts, at = [], 0
        for values in islice(self._values(), 4):
            _check_resistances(self._path, values, at)
            parts.append(values.astype(np.float64))
            at += values.size
        found = np.concatenate([np.empty(0), *parts])
        return found[:: max(1, found.size // _FITTED)]

    def _values(self) -> Iterator[NDArray[Any]]:
        if self._format == "npy":
            return self._of_npy()
        if self._format == "csv":
            return self._of_csv()
        return self._of_bytes(text=self._format == "text")

    def _of_bytes(self, *, text: bool) -> Iterator[NDArray[Any]]:
        with self._path.open("rb") as file:
            while block := file.read(_VALUES):
                values = np.frombuffer(b"".join(block.split()) if text else block, np.uint8)
                # '0' is 48: any other character is left as a value that is no bit
                yield values ^ 48 if text else values

    def _of_npy(self) -> Iterator[NDArray[Any]]:
        try:
            array = np.load(self._path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise InputError(f"{self._path} is not a readable npy file ({error}); it may be truncated") from None
        if array.dtype.kind not in "buif":
            raise InputError(f"{self._path} holds {array.dtype}; give an array of 0 and 1, or of resistances in ohm")
        flat = array.reshape(-1)
        for i in range(0, flat.size, _VALUES):
            yield np.asarray(flat[i : i + _VALUES])

    def _of_csv(self) -> Iterator[NDArray[Any]]:
        with self._path.open(newline="", encoding="utf-8-sig", errors="replace") as file:
            rows = (row for row in csv.reader(file) if row and not row[0].lstrip().startswith("#"))
            first = next(rows, None)
            if first is None:
                return
            index, line = self._index(first), 1
            pending = [] if _number(first[index]) is None else [first]
            while block := [*pending, *islice(rows, _VALUES - len(pending))]:
                pending = []
                values = np.empty(len(block))
                for i, row in enumerate(block):
                    value = _number(row[index]) if index < len(row) else None
                    if value is None:
                        given = ",".join(row)[:60]
                        raise InputError(
                            f"{self._path}: row {line + i} ({given!r}) has no number in column {self._column!r}; it "
                            "may be truncated: remove the row or give another column"
                        )
                    values[i] = value
                line += len(block)
                yield values

    def _index(self, first: list[str]) -> int:
        names = [name.strip() for name in first]
        if isinstance(self._column, str):
            if self._column not in names:
                raise InputError(f"{self._path} has no column {self._column!r}; its first line is {', '.join(names)}")
            return names.index(self._column)
        if not 0 <= self._column < len(first):
            raise InputError(f"{self._path} has {len(first)} columns and no column {self._column}; count from 0")
        return self._column


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _check_resistances(path: Path, values: NDArray[Any], at: int) -> None:
    bad = np.flatnonzero(~np.isfinite(values) | (values <= 0))
    if bad.size:
        raise InputError(
            f"{path}: resistance {at + int(bad[0])} is {values[bad[0]]} ohm; remove the values that are not finite and "
            "positive, or check the reader"
        )
    middle = float(np.median(values)) if values.size else 1e3
    if not 1 <= middle <= 1e9:
        raise InputError(
            f"{path}: a median resistance of {middle:.3g} ohm is none of a junction (1 to 1e9 ohm); convert the values "
            "to ohm"
        )
