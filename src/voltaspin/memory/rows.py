"""Logic in the rows of an array: copying, majority, AND, OR, and addition bit by bit.

Rows that are read together share their bit lines, and a reference between two sums of currents tells how many ones
there are at least; what the sense amplifiers of a row hold then drives a toggle of another. Nothing leaves the array.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger

Bits = NDArray[np.uint8]


class RowLogic:
    """Operations on whole rows, built from sensing and toggling of cells."""

    rows: int
    columns: int
    ledger: Ledger

    @abstractmethod
    def _sense(self, rows: NDArray[np.int64], ones: int) -> Bits:
        """1 where at least ``ones`` of the cells of these rows are ones as the amplifiers see it: (columns,)."""

    @abstractmethod
    def _toggle(self, where: NDArray[np.bool_], error: float | None = None) -> None:
        """Turn those cells over, bool (rows, columns)."""

    def copy_row(self, source: int, target: int) -> None:
        """Copy a row: read it, read the target, toggle what differs."""
        self._put(self._latched((source,), 1), target)

    def toggle_row(self, target: int, operand: int) -> None:
        """``target`` xor ``operand``, left in ``target``: one read of the operand, one pulse where it is 1."""
        self._drive(target, self._latched((operand,), 1))

    def majority(self, rows: Sequence[int], into: int) -> None:
        """The majority of an odd number of rows, written into a row."""
        if len(rows) % 2 == 0:
            raise InputError(f"a majority of {len(rows)} rows can be even; give an odd number of rows")
        self._put(self._latched(rows, len(rows) // 2 + 1), into)

    def and_rows(self, rows: Sequence[int], into: int) -> None:
        """1 where all of the rows are 1, written into a row."""
        self._put(self._latched(rows, len(rows)), into)

    def or_rows(self, rows: Sequence[int], into: int) -> None:
        """1 where any of the rows is 1, written into a row."""
        self._put(self._latched(rows, 1), into)

    def add_rows(self, a: Sequence[int], b: Sequence[int], into: Sequence[int], *, carry: tuple[int, int]) -> None:
        """Add two numbers in each column, bit by bit, all columns at once.

        Args:
            a, b: rows of their bits, the lowest first.
            into: rows of the sum, as many; one more takes the last carry. None of them may be among a and b.
            carry: two free rows; the first ends with the last carry.

        The sum bit is a xor b xor carry, by two toggles of a copy; the next carry is the majority of the three.

        Raises:
            InputError: numbers of unequal length, or rows that are used twice.
        """
        if len(a) != len(b) or len(into) not in (len(a), len(a) + 1) or len(a) == 0:
            raise InputError(
                f"{len(a)} and {len(b)} bits do not add up into {len(into)} rows; give two numbers of equal length and "
                "as many rows, or one more"
            )
        results = [*into, *carry]
        if len(set(results)) < len(results) or set(results) & {*a, *b}:
            raise InputError("the rows of the sum and of the carry must differ from each other and from a and b")
        now, after = carry
        self._put(np.zeros(self.columns, np.uint8), now)
        for x, y, out in zip(a, b, into, strict=False):
            self.copy_row(x, out)
            self.toggle_row(out, y)
            self.toggle_row(out, now)
            self.majority((x, y, now), into=after)
            now, after = after, now
        if len(into) > len(a):
            self.copy_row(now, into[-1])
        if now != carry[0]:
            self.copy_row(now, carry[0])

    def _latched(self, rows: Sequence[int], ones: int) -> Bits:
        chosen = np.array([self._row(r) for r in rows], np.int64)
        if len(set(rows)) < len(rows) or len(rows) == 0:
            raise InputError(f"rows {tuple(rows)}: give at least one row, none of them twice")
        self.ledger.count("read", len(rows) * self.columns)
        return self._sense(chosen, ones)

    def _put(self, bits: Bits, target: int) -> None:
        """Write what the amplifiers hold into a row: its own bits are read, and those that differ toggled."""
        self._drive(target, bits ^ self._latched((target,), 1))

    def _drive(self, target: int, bits: ArrayLike) -> None:
        where = np.zeros((self.rows, self.columns), np.bool_)
        where[self._row(target)] = np.asarray(bits).astype(bool)
        self._toggle(where)

    def _row(self, row: int) -> int:
        if not isinstance(row, int | np.integer) or not 0 <= row < self.rows:
            raise InputError(f"row {row!r} is not one of this memory; give 0 to {self.rows - 1}")
        return int(row)
