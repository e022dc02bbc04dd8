"""Cells that are left out of a recording or stream whose cells are read in turn."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.noise.examination.cell_result import CellExamination, cells_of_text, cells_text
from voltaspin.noise.importer.reading import Understood

#: Cells to leave out: numbers, a text such as ``3,17,40-47``, or the file of a ``cell-examination``; a text may name
#: further cells behind the file, ``cells.json,12``.
LeaveOut = Sequence[int] | str | Path


class KeptCells:
    """Where the bits of the cells that are kept stand among those of all cells.

    Args:
        n_cells: cells that are read in turn.
        left_out: those that are left out, not all.
        origin: the file that names them, empty where they were given one by one.

    Raises:
        InputError: a cell that does not exist, or none that is kept.
    """

    def __init__(self, n_cells: int, left_out: Sequence[int] | NDArray[np.int64], *, origin: str = "") -> None:
        self.n_cells, self.origin = n_cells, origin
        self._keep = np.ones(n_cells, bool)
        for cell in left_out:
            if not 0 <= cell < n_cells:
                raise InputError(
                    f"leave_out={cell} is no cell of n_cells={n_cells}; give cells from 0 to {n_cells - 1}"
                )
            self._keep[cell] = False
        self.kept = np.flatnonzero(self._keep)
        self._before = np.concatenate([[0], np.cumsum(self._keep)])
        if not self.kept.size:
            raise InputError(f"leave_out= leaves none of the {n_cells} cells; keep one at least")

    @classmethod
    def of(cls, leave_out: LeaveOut, n_cells: int | None) -> Self:
        """Read what a user gave.

        Args:
            leave_out: as :data:`LeaveOut`.
            n_cells: cells that are read in turn; None takes the number of the file.

        Raises:
            InputError: no cells, a file that is none or of another number of cells, or as the class.
        """
        origin, cells = "", leave_out
        if isinstance(leave_out, Path) or (isinstance(leave_out, str) and not re.fullmatch(r"[\d\s,+-]+", leave_out)):
            path, more = Path(leave_out), ""
            if not path.is_file() and "," in str(leave_out):
                name, _, more = str(leave_out).partition(",")
                path = Path(name)
            if not path.is_file():
                raise InputError(
                    f"leave_out={str(leave_out)!r} is neither a list of cells such as 3,17,40-47 nor the "
                    "file of an examination of cells"
                )
            found = CellExamination.load(path)
            origin, cells = path.name, (*found.left_out, *(cells_of_text(more, "leave_out") if more else ()))
            if n_cells not in (None, found.n_cells):
                raise InputError(
                    f"leave_out={str(path)!r} is of {found.n_cells} cells and n_cells={n_cells}; leave n_cells= "
                    "out, or examine these cells"
                )
            n_cells = found.n_cells
        elif isinstance(leave_out, str):
            cells = cells_of_text(leave_out, "leave_out")
        elif any(type(cell) is bool or not isinstance(cell, int | np.integer) for cell in leave_out):
            raise InputError(f"leave_out={leave_out!r} must be whole numbers: the cells to leave out, from 0")
        if n_cells is None:
            raise InputError("leave_out= needs n_cells=, the number of cells that are read in turn")
        return cls(n_cells, cells, origin=origin)  # type: ignore[arg-type]

    @property
    def left_out(self) -> NDArray[np.int64]:
        return np.flatnonzero(~self._keep)

    def __str__(self) -> str:
        named = f", by {self.origin}" if self.origin else ""
        if not self.left_out.size:
            return f"no cell of {self.n_cells} left out{named}"
        return f"{self.left_out.size} of {self.n_cells} cells left out ({cells_text(self.left_out)}{named})"

    @property
    def note(self) -> str:
        """What a line about the file says of it."""
        return f"{self}, {self.kept.size} kept"

    def to_json(self) -> dict[str, Any]:
        """Return what a provenance says."""
        every = cells_text(self.left_out, self.n_cells)
        said: Mapping[str, Any] = {"n_cells": self.n_cells, "cells": every, "file": self.origin}
        return {name: value for name, value in said.items() if value != ""}

    def among(self, raw: int) -> int:
        """How many of the first ``raw`` bits of all cells are kept."""
        rounds, rest = divmod(raw, self.n_cells)
        return rounds * self.kept.size + int(self._before[rest])

    def place(self, kept: int) -> int:
        """Where the kept bit of this number stands among the bits of all cells."""
        rounds, rest = divmod(kept, self.kept.size)
        return rounds * self.n_cells + int(self.kept[rest])

    def span(self, kept: int) -> int:
        """How many bits of all cells hold the first ``kept`` that are kept."""
        return self.place(kept - 1) + 1 if kept else 0

    def of_bits(
        self, packed: NDArray[np.uint8], n: int, *, skip: int = 0, at: int = 0
    ) -> tuple[NDArray[np.uint8], int]:
        """Return the bits that are kept, packed, and how many.

        Args:
            packed: ``skip`` bits to leave aside, then ``n`` bits of all cells.
            at: number of the first of these among all.
        """
        bits = np.unpackbits(packed, count=skip + n)[skip:]
        first = at % self.n_cells
        chosen = bits[np.resize(np.roll(self._keep, -first), n)]
        return np.packbits(chosen), chosen.size


def noted(understood: Understood, kept: KeptCells | None) -> Understood:
    """Return how a file or stream was read, with a note on the cells that are left out of it."""
    return understood if kept is None else understood.model_copy(update={"notes": (*understood.notes, kept.note)})
