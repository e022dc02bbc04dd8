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
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.ledger import ACTIONS, Ledger

_HEAD = 3  # draws, numbers and nanoseconds stand in front of the counts of the ledger


class Tally:
    """Draws, numbers and nanoseconds of a block, here and in the processes that were started inside it.

    Args:
        ledger: of the source; what other processes count is added to it when this process reads.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._own = np.zeros(_HEAD, np.int64)
        self._folder: Path | None = None
        self._names: list[str] = []
        self._merged: dict[str, NDArray[np.int64]] = {}
        self._page: NDArray[np.int64] | None = None  # of a process that reports to another
        self._reports = False
        self._base: NDArray[np.int64] | None = None

    def add(self, numbers: int, seconds: float) -> None:
        """Count one draw."""
        self._own += (1, numbers, round(seconds * 1e9))
        if self._reports:
            self._report()

    def read(self) -> list[int]:
        """Return all draws, numbers and nanoseconds so far; add the new counts of other processes to the ledger."""
        if self._folder is None or self._reports:
            return self._own.tolist()
        for file in sorted(self._folder.glob("*.counts")):
            with contextlib.suppress(OSError):
                page = np.fromfile(file, np.int64)
                if page.size == _HEAD + len(self._names) * len(ACTIONS):
                    before = self._merged.get(file.name, np.zeros_like(page))
                    _add(self._ledger, self._names, (page - before)[_HEAD:])
                    self._merged[file.name] = page
        return np.sum([self._own, *(page[:_HEAD] for page in self._merged.values())], axis=0).tolist()

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
        self._own[:], self._ledger, self._page = 0, ledger, None
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
        self._page[:_HEAD] = self._own

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
    nodes = dict(ledger.walk())
    for name, row in zip(names, counts.reshape(len(names), -1), strict=True):
        nodes[name].update({action: int(n) for action, n in zip(ACTIONS, row, strict=True) if n > 0})
