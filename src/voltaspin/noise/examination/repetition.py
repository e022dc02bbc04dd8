"""Whether a recording repeats itself: in one pass, in bounded memory, at any offset."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.result import Part
from voltaspin.noise.examination import whole_kernels as kernels

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
