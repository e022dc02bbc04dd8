"""Counts of draws that several processes add to, and that the first of them reads.

Every process writes its own counts into a small file of a temporary folder at each draw, so nothing is lost when a
worker is killed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.ledger import ACTIONS, Ledger

_HEAD = 3  # draws, numbers and nanoseconds stand in front of the counts of the ledger


@dataclass
class Counts:
    """Draws served, numbers served and seconds of the source."""

    served: int = 0
    numbers: int = 0
    seconds: float = 0.0


class Tally:
    """What a block has served, here and in the processes that were started inside it.

    Args:
        ledger: of the source; what other processes count is added to it when this process reads.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._own = Counts()
        self._folder: Path | None = None
        self._names: list[str] = []
        self._merged: dict[str, NDArray[np.int64]] = {}
        self._page: NDArray[np.int64] | None = None  # of a process that reports to another
        self._reports = False
        self._base: NDArray[np.int64] | None = None

    def add(self, numbers: int, seconds: float) -> None:
        """Count one draw."""
        self._own.served += 1
        self._own.numbers += numbers
        self._own.seconds += seconds
        if self._reports:
            self._report()

    def read(self) -> Counts:
        """All counts so far; adds what is new of other processes to the ledger."""
        total = Counts(self._own.served, self._own.numbers, self._own.seconds)
        if self._folder is None or self._reports:
            return total
        for file in sorted(self._folder.glob("*.counts")):
            with contextlib.suppress(OSError):
                page = np.fromfile(file, np.int64)
                if page.size == _HEAD + len(self._names) * len(ACTIONS):
                    before = self._merged.get(file.name, np.zeros_like(page))
                    _add(self._ledger, self._names, (page - before)[_HEAD:])
                    self._merged[file.name] = page
        for page in self._merged.values():
            total.served += int(page[0])
            total.numbers += int(page[1])
            total.seconds += int(page[2]) * 1e-9
        return total

    @property
    def processes(self) -> int:
        """Other processes that have drawn."""
        self.read()
        return len(self._merged)

    def share(self) -> None:
        """Make the folder that other processes report in."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="voltaspin-counts-"))
            self._names = [path for path, _ in self._ledger.walk()]
            weakref.finalize(self, _remove, self._folder, os.getpid())

    def leave(self, ledger: Ledger) -> None:
        """Called in another process, whose source counts into ``ledger``: report from now on, from 0."""
        self._own, self._ledger, self._page = Counts(), ledger, None
        self._reports = self._folder is not None
        self._merged = {}
        self._base = _counts(ledger, self._names)

    def _report(self) -> None:
        assert self._folder is not None
        assert self._base is not None
        if self._page is None:
            handle, name = tempfile.mkstemp(dir=self._folder, suffix=".counts")
            os.close(handle)
            size = _HEAD + self._base.size
            self._page = np.memmap(name, np.int64, "w+", shape=(size,))
        self._page[_HEAD:] = _counts(self._ledger, self._names) - self._base
        self._page[:_HEAD] = self._own.served, self._own.numbers, round(self._own.seconds * 1e9)

    def __getstate__(self) -> dict[str, Any]:
        return {"ledger": self._ledger, "folder": self._folder, "names": self._names}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        Tally.__init__(self, state["ledger"])
        self._folder, self._names = state["folder"], state["names"]


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _counts(ledger: Ledger, names: list[str]) -> NDArray[np.int64]:
    """The counts of each node in the order of ``names``; those of nodes that came later stand with the first."""
    out = np.zeros((len(names), len(ACTIONS)), np.int64)
    at = {name: i for i, name in enumerate(names)}
    for name, counts in ledger.walk():
        if names:
            out[at.get(name, 0)] += [counts[action] for action in ACTIONS]
    return out.reshape(-1)


def _add(ledger: Ledger, names: list[str], counts: NDArray[np.int64]) -> None:
    nodes = dict(_nodes(ledger))
    for name, row in zip(names, counts.reshape(len(names), -1), strict=True):
        for action, n in zip(ACTIONS, row, strict=True):
            if n > 0:
                nodes[name].count(action, int(n))


def _nodes(ledger: Ledger, path: str = "") -> list[tuple[str, Ledger]]:
    here = f"{path}/{ledger.name}" if path else ledger.name
    return [(here, ledger), *(pair for child in ledger.children.values() for pair in _nodes(child, here))]
