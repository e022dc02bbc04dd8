"""Wanted flip probabilities, one for each cell, given by a few pulses that every cell can be masked for.

Each cell takes one of the two levels next to what it wants. Rounding to the nearer one errs the same way wherever the
network says the same; ordered dither picks the upper one as often as makes the average right, without drawing anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.diffusion.bitflip.flips import TOLERANCE, Driven
from voltaspin.memory import MagnetoelectricMemory
from voltaspin.memory.pulses import PulseResponse

Floats = NDArray[np.float64]

#: Share of a pulse's variance over the cells that is set against its distance from a wanted level. A level is called by
#: its real mean, so that the distance matters less than for a step of a schedule; all of it would leave no level below
#: the spread of small probabilities, and every cell a useless pulse.
SPREAD_COUNTS = 0.1
COUNT = 24  #: pulses that are asked of a driver, spaced as equal steps of arcsin sqrt p
_GOLDEN, _PLASTIC = 0.6180339887498949, 0.7548776662466927  # low-discrepancy steps from cell to cell and step to step


@dataclass(frozen=True)
class Levels:
    """Flip probabilities that a cell can be given.

    Args:
        flips: mean over the cells and both directions, rising, (n,); the first is 0, no pulse.
        spread: from cell to cell, (n,).
        pulses: (n,); the first is not given.
        own: mean of p01 and p10 of each cell, float32 (n, rows, columns), where each was measured: a cell then takes
            the levels next to what it wants by its own response.
    """

    flips: Floats
    spread: Floats
    pulses: tuple[Driven, ...]
    own: NDArray[np.float32] | None = None

    @classmethod
    def exact(cls, probabilities: Sequence[float] | Floats) -> Levels:
        """Levels of ideal cells; raises InputError for what are no flip probabilities."""
        steps = np.unique(np.asarray(probabilities, np.float64))
        if not len(steps) or steps[0] < 0 or steps[-1] > 1:
            raise InputError("levels must be flip probabilities from 0 to 1")
        steps = steps if steps[0] == 0 else np.concatenate([[0.0], steps])
        return cls(steps, np.zeros(len(steps)), tuple(float(p) for p in steps))

    @classmethod
    def of(cls, memory: MagnetoelectricMemory, *, count: int = COUNT) -> Levels:
        """What the memory's driver can give.

        Args:
            memory: ideal cells where it knows no junction.
            count: pulses at most.

        Raises:
            InputError: fewer than 2 levels, or a junction that no pulse turns over for certain; it says the nearest.
        """
        if count < 2:
            raise InputError(f"levels = {count}: give at least 2 flip probabilities")
        targets = np.sin(np.pi / 2 * np.arange(1, count + 1) / count) ** 2
        if memory.junction is None:
            return cls.exact(targets)
        library = memory.library
        weights, p = library.over_cells(memory.spreads)
        mean = np.tensordot(weights, p, 1)
        variance = np.tensordot(weights, (p - mean) ** 2, 1).mean(-1)
        flips = mean.mean(-1)
        i, j = (int(k) for k in np.unravel_index(int(flips.argmax()), flips.shape))
        if flips[i, j] < 1 - TOLERANCE:
            raise InputError(
                f"no pulse of this junction flips with a probability of 1; the nearest, {library.voltages[i]:.3g} V "
                f"for {library.widths[j] * 1e9:.3g} ns, flips with {flips[i, j]:.3f}: a driver with more pulses may"
            )
        found: dict[tuple[int, int], float] = {}
        for target in targets:
            cost = (flips - target) ** 2 + SPREAD_COUNTS * variance
            i, j = (int(k) for k in np.unravel_index(int(cost.argmin()), cost.shape))
            found[i, j] = float(flips[i, j])
        places = sorted(found, key=lambda place: found[place])
        return cls(
            np.array([0.0, *(found[place] for place in places)]),
            np.array([0.0, *(float(np.sqrt(variance[place])) for place in places)]),
            (0.0, *(library.at(*place) for place in places)),
        )

    def calibrated(self, memory: MagnetoelectricMemory) -> Levels:
        """The same pulses, with the response of each cell of this array known."""
        none = np.zeros(memory.state.shape, np.float32)
        answers = [p for p in self.pulses if isinstance(p, PulseResponse)]
        if not answers:
            return self
        own = [np.broadcast_to(sum(a.probabilities(memory.quantities)) / 2, none.shape) for a in answers]
        return replace(self, own=np.stack([none, *own]).astype(np.float32))

    def given(self, chosen: NDArray[np.int64]) -> Floats:
        """Flip probabilities of the chosen levels."""
        if self.own is None:
            return np.asarray(self.flips[chosen])
        return np.take_along_axis(self.own, chosen[None], 0)[0].astype(np.float64)

    def choose(self, wanted: ArrayLike, *, step: int = 0, dither: bool = True) -> NDArray[np.int64]:
        """The level of each cell, an index into ``flips``.

        Args:
            wanted: flip probabilities from 0 to 1, any shape; more than the largest level takes that.
            step: moves the pattern of the dither.
            dither: pick the upper of the two nearest as often as makes the average right; else the nearer one.
        """
        p = np.asarray(wanted, np.float64)
        if self.own is None:
            upper = np.clip(np.searchsorted(self.flips, p, side="left"), 1, len(self.flips) - 1)
        else:  # the first level that a cell flips with often enough; of two that cross in it, the lower is passed over
            upper = np.clip((np.maximum.accumulate(self.own, 0) < p).sum(0), 1, len(self.flips) - 1)
        low, high = self.given(upper - 1), self.given(upper)
        share = np.clip((p - low) / np.maximum(high - low, 1e-12), 0, 1)
        if dither:
            cells = np.arange(p.size, dtype=np.float64).reshape(p.shape)
            return upper - (share <= (cells * _GOLDEN + step * _PLASTIC) % 1.0)
        return upper - (share < 0.5)


@dataclass
class Rounding:
    """What the choice of levels did to the wanted probabilities, summed over all cells and steps.

    Args:
        cells: choices made.
        error: sum of given less wanted; ``size`` of its magnitude.
        wanted, given: flips expected before and after.
        beyond: cells that wanted more than the driver can give.
    """

    cells: int = 0
    error: float = 0.0
    size: float = 0.0
    wanted: float = 0.0
    given: float = 0.0
    beyond: int = 0

    def add(self, wanted: Floats, levels: Levels, chosen: NDArray[np.int64]) -> None:
        given = levels.given(chosen)
        difference = given - wanted
        self.cells += wanted.size
        self.error += float(difference.sum())
        self.size += float(np.abs(difference).sum())
        self.wanted += float(wanted.sum())
        self.given += float(given.sum())
        self.beyond += int((wanted > levels.flips[-1]).sum())

    def to_json(self) -> dict[str, Any]:
        n = max(self.cells, 1)
        return {
            "mean_error": self.error / n,
            "mean_size_of_error": self.size / n,
            "flips_given_over_wanted": self.given / self.wanted if self.wanted else 1.0,
            "share_beyond_the_driver": self.beyond / n,
        }
