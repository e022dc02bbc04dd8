"""The pulses that a reverse step needs of a driver: a coin, a certain toggle, and programmed flip probabilities.

The coin leaves a one with probability 1/2 whatever the cell held. Cells of a population differ, and a driver has a few
voltages and a clock, so each pulse is called by the mean of p01 and of p10 over the cells, which need not be equal: the
controller knows the state of the cell that it pulses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.diffusion.inplace.plan import GOLDEN, PLASTIC
from voltaspin.diffusion.inplace.source_cells import SourceCells
from voltaspin.memory import MagnetoelectricMemory
from voltaspin.memory.pulses import PulseLibrary
from voltaspin.memory.responses import Driven, PulsePair

Floats = NDArray[np.float64]

COUNT = 24  #: programmed pulses that are asked of a driver, spaced as equal steps of arcsin sqrt p
COIN_TOLERANCE = 0.02  #: farthest from 1/2 that a coin's mean may be, for cells at 0 and at 1
CERTAIN = 0.02  #: largest probability that a certain toggle fails
REPEATS = 8  #: reads of a toggle that is not certain, each followed by another pulse on the cells that did not turn
LIKELY = 0.5  #: smallest mean flip probability of a pulse that is read and repeated in place of a certain toggle
#: Weight of a pulse's variance over the cells, beside the square of its distance from a wanted probability. A pulse is
#: called by its real mean, so that the distance matters less; the full variance would leave no small probability.
VARIANCE_WEIGHT = 0.1


@dataclass(frozen=True)
class Drive:
    """The pulses of a driver.

    Args:
        coin: its pulse; ``coin_ones``: mean probability of a one after it, for cells at 0 and at 1.
        toggle: the pulse that flips almost surely.
        programmed: the others, rising in their mean flip probability.
        flips: mean p01 and p10 of no pulse and then of each of these, (n + 1, 2).
        certain: whether the toggle is; else the cells that get it are read, and pulsed again where they did not turn.

    Under a torque of one sign each of them is a pair, of which a cell gets the pulse for the bit that it holds.
    """

    coin: Driven
    coin_ones: tuple[float, float]
    toggle: Driven
    programmed: tuple[Driven, ...]
    flips: Floats
    certain: bool = True

    @property
    def pulses(self) -> tuple[Driven, ...]:
        """All of them, in the order of the roles of :mod:`~voltaspin.diffusion.inplace.plan`."""
        return (self.coin, self.toggle, *self.programmed)

    @property
    def q(self) -> float:
        """Probability of a one after the coin, on average over what cells held."""
        return sum(self.coin_ones) / 2

    @classmethod
    def of(
        cls, memory: MagnetoelectricMemory | SourceCells, *, count: int = COUNT, coin_tolerance: float = COIN_TOLERANCE
    ) -> Drive:
        """Choose the pulses for the cells of an array.

        Args:
            memory: ideal cells where it knows no junction.
            count: programmed pulses at most.
            coin_tolerance: farthest that the coin's mean may be from 1/2.

        Raises:
            InputError: a count below 2; a junction that no pulse makes a coin, or turns over for certain. The message
                says the nearest pulse and what it would do.
        """
        if count < 2:
            raise InputError(f"count = {count}: give at least 2 programmed pulses")
        targets = np.sin(np.pi / 2 * np.arange(1, count + 1) / count) ** 2
        if isinstance(memory, SourceCells) or memory.junction is None:
            flips = np.repeat(np.concatenate([[0.0], targets])[:, None], 2, 1)
            return cls(0.5, (0.5, 0.5), 1.0, tuple(float(p) for p in targets), flips)
        library = memory.library
        if library.apart:
            return cls._pairs(library, memory.spreads, targets, coin_tolerance)
        mean, of_each = library.moments(memory.spreads)
        variance = of_each.mean(-1)
        ones = np.stack([mean[..., 0], 1 - mean[..., 1]], -1)  # P(1) after the pulse, of a 0 and of a 1
        i, j = _least(((ones - 0.5) ** 2).mean(-1) + variance)
        coin_ones = (float(ones[i, j, 0]), float(ones[i, j, 1]))
        if max(abs(one - 0.5) for one in coin_ones) > coin_tolerance:
            q = sum(coin_ones) / 2
            raise InputError(
                f"no pulse of this junction is a fair coin within {coin_tolerance:g}; the nearest, "
                f"{library.voltages[i]:.3g} V for {library.widths[j] * 1e9:.3g} ns, leaves a 0 as a 1 with "
                f"{coin_ones[0]:.3f} and a 1 with {coin_ones[1]:.3f}: each coin moves the mean count by {q - 0.5:+.3f} "
                f"(and by {(coin_ones[1] - coin_ones[0]) / 2:+.3f} with the bit that it held) and has "
                f"{4 * q * (1 - q):.3f} of the variance. Take a junction with another in-plane field, or a larger "
                "coin_tolerance"
            )
        flips = mean.mean(-1)
        ti, tj = _least(-flips)
        if flips[ti, tj] < 1 - CERTAIN:
            raise InputError(
                f"no pulse of this junction flips with a probability of 1; the nearest, {library.voltages[ti]:.3g} V "
                f"for {library.widths[tj] * 1e9:.3g} ns, flips with {flips[ti, tj]:.3f}: a driver with more pulses may"
            )
        places = {_least((flips - target) ** 2 + VARIANCE_WEIGHT * variance) for target in targets}
        rising = sorted(places, key=lambda place: flips[place])
        return cls(
            library.at(i, j), coin_ones, library.at(ti, tj), tuple(library.at(*place) for place in rising),
            np.stack([np.zeros(2), *(mean[place] for place in rising)]),
        )  # fmt: skip

    @classmethod
    def _pairs(
        cls, library: PulseLibrary, spreads: Mapping[str, float], targets: Floats, coin_tolerance: float
    ) -> Drive:  # fmt: skip
        """The same choice where cells at 0 and at 1 get pulses of their own."""
        coins, of_coin = library.nearest([0.5], spreads)
        toggles, of_toggle = library.nearest([1.0], spreads, 0.0)
        ones = (float(of_coin[0, 0]), 1 - float(of_coin[0, 1]))
        coin, toggle = coins[0], toggles[0]
        assert isinstance(coin, PulsePair)
        assert isinstance(toggle, PulsePair)
        if max(abs(one - 0.5) for one in ones) > coin_tolerance:
            raise InputError(
                f"no pair of pulses of this junction is a fair coin within {coin_tolerance:g}; the nearest, "
                f"{coin.zero.name} on a 0 and {coin.one.name} on a 1, leaves a 1 with {ones[0]:.3f} and {ones[1]:.3f}"
            )
        if of_toggle.min() < LIKELY:
            raise InputError(
                f"no pulse of this junction flips with a probability above {LIKELY:g}, so that repeated ones would "
                f"turn a bit over; the nearest, {toggle.zero.name} on a 0 and {toggle.one.name} on a 1, flip with "
                f"{of_toggle[0, 0]:.3f} and {of_toggle[0, 1]:.3f}"
            )
        programmed, flips = library.nearest(targets, spreads, VARIANCE_WEIGHT)
        different = list[int]()
        for k in range(len(flips)):
            if not different or (flips[k] > flips[different[-1]]).all():
                different.append(k)
        return cls(
            coin, ones, toggle, tuple(programmed[k] for k in different),
            np.concatenate([np.zeros((1, 2)), flips[different]]), bool(of_toggle.min() >= 1 - CERTAIN),
        )  # fmt: skip

    def nearest(self, wanted: ArrayLike, bits: ArrayLike, *, step: int = 0) -> NDArray[np.int64]:
        """The programmed pulse of each cell, 0 for none: the one below or above, so that the average is right.

        Args:
            wanted: flip probabilities; more than the last pulse has takes that.
            bits: that the cells hold, in the same shape.
            step: moves the pattern of the dither.
        """
        p, one = np.broadcast_arrays(np.asarray(wanted, np.float64), np.asarray(bits))
        flips = np.maximum.accumulate(self.flips, 0)
        found = [np.clip(np.searchsorted(flips[:, s], p), 1, len(flips) - 1) for s in (0, 1)]
        upper = np.where(one == 1, found[1], found[0])
        low, high = flips[upper - 1, one], flips[upper, one]
        share = (p - low) / np.maximum(high - low, 1e-12)
        shade = np.arange(p.size).reshape(p.shape) * GOLDEN + step * PLASTIC
        return np.asarray(upper - (share <= shade % 1.0))

    def given_to(self, pulses: Sequence[Driven]) -> Drive:
        """The same choice and the same expectations for cells that respond otherwise: the driver does not know."""
        coin, toggle, *programmed = pulses
        return replace(self, coin=coin, toggle=toggle, programmed=tuple(programmed))


def _least(cost: Floats) -> tuple[int, int]:
    i, j = np.unravel_index(int(cost.argmin()), cost.shape)
    return int(i), int(j)
