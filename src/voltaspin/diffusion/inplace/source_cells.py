"""Ideal cells whose chance comes from a noise source: recorded or live bits stand for their coins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.ledger import Ledger
from voltaspin.noise import NoiseSource

_DIGITS = 16  #: binary digits of a probability


class SourceCells:
    """As much of a memory as :class:`voltaspin.diffusion.inplace.array.PixelArray` needs, with ideal cells.

    A coin takes one bit of the source. A flip of another probability compares its binary digits with further bits,
    until they differ: two bits on average.

    Args:
        source: of the bits.
        rows, columns: of the array.
    """

    junction = None

    def __init__(self, source: NoiseSource, *, rows: int, columns: int) -> None:
        self.source, self.seed = source, 0
        self.state = np.zeros((rows, columns), np.uint8)
        self.ledger = Ledger("memory")

    def write(self, bits: ArrayLike) -> None:
        self.state[:] = bits
        self.ledger.count("write", self.state.size)

    def read(self, *, mask: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
        self.ledger.count("read", self.state.size if mask is None else int(np.count_nonzero(mask)))
        return self.state.copy() if mask is None else self.state[mask]

    def pulse_each(self, pulses: Sequence[Any], which: NDArray[Any], *, known: NDArray[Any] | None = None) -> None:
        """As that of a memory, whose pairs these cells do not have; raises NoiseStoppedError at the source's end."""
        state, chosen = self.state.reshape(-1), which.ravel()
        for number in np.flatnonzero(np.bincount(chosen)):
            if not number:
                continue
            cells, p = np.flatnonzero(chosen == number), float(pulses[int(number) - 1])
            if p == 0.5:
                state[cells] = self._bits(len(cells))
            else:
                state[cells] ^= self._flips(len(cells), p)
            self.ledger.child(f"flips {p:g}").count("pulse", len(cells))

    def _bits(self, n: int) -> NDArray[np.uint8]:
        return np.unpackbits(self.source.bits(n), count=n)

    def _flips(self, n: int, p: float) -> NDArray[np.uint8]:
        whole = round(p * 2**_DIGITS)
        found, open_ = np.full(n, whole >= 2**_DIGITS, np.uint8), np.arange(n if 0 < whole < 2**_DIGITS else 0)
        for digit in range(_DIGITS - 1, -1, -1):
            if not len(open_):
                break
            bits, own = self._bits(len(open_)), whole >> digit & 1
            found[open_[bits < own]] = 1  # below p for certain
            open_ = open_[bits == own]
        return found
