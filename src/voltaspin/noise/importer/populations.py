"""Two states in a set of measured values: a mixture of two Gaussians, and the threshold that misreads least.

A read gives a resistance, a voltage or a current, and a threshold makes it a bit. Where the two states are well apart
any threshold between them does; where they overlap, the one at which the two weighted densities are equal misreads
least.
"""

from __future__ import annotations

from math import log
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.result import Result

LEAST = 100  #: values that a fit needs


class TwoPopulations(Result):
    """A mixture of two Gaussians fitted to measured values.

    Args:
        low, high: means of the lower and of the higher state; of resistances, parallel and antiparallel [ohm].
        low_spread, high_spread: standard deviations, in the same unit.
        high_share: share of the higher state.
        threshold: where the two weighted densities are equal, in the same unit.
        misread: probability that a read falls on the other side of the threshold.
        separation: distance of the means over the mean of the spreads.
    """

    KIND: ClassVar[str] = "two-populations"

    low: float
    high: float
    low_spread: float
    high_spread: float
    high_share: float
    threshold: float
    misread: float
    separation: float


def two_populations(values: NDArray[np.float64], unit: str = "ohm") -> TwoPopulations:
    """Find the two states in a set of values, by expectation and maximisation.

    The fit does not depend on origin or scale: negative and signed values are as good as resistances.

    Args:
        values: at least 100, all finite.
        unit: of the values, for the messages; empty where it is not known.

    Raises:
        InputError: too few, or one population only: between the two fitted means the data are not rarer than at
            them by half.
    """
    from scipy.special import ndtr

    r = np.sort(np.asarray(values, np.float64).ravel())
    given = f"a threshold in {unit}" if unit else "a threshold"
    if r.size < LEAST:
        raise InputError(f"{r.size} values are too few to find two states in; record {LEAST}, or give {given}")
    if r[0] == r[-1]:
        raise InputError(
            f"all values are {r[0]:g} {unit}".rstrip() + ": one population only; record both states, or check the "
            "reader"
        )
    # sums of numbers near the largest float overflow
    scale = float(np.abs(r).max())
    centre = float((r / scale).mean()) * scale
    s = float((r / scale).std()) * scale
    z = (r - centre) / s
    found = _fit(z)
    order = np.argsort(found[:, 0])
    (low, low_spread, _), (high, high_spread, share) = found[order]
    threshold = _crossing(low, low_spread, 1 - share, high, high_spread, share)
    window = 0.1 * (high - low)

    def rate(x: float) -> int:
        return int(np.searchsorted(z, x + window) - np.searchsorted(z, x - window))

    at_low, between, at_high = rate(low), rate((low + high) / 2), rate(high)
    # one broad or skewed population splits into two halves without a gap between them
    if not low < threshold < high or 2 * between > min(at_low, at_high) or min(share, 1 - share) * r.size < 10:
        raise InputError(
            f"the values ({r[0]:.4g} to {r[-1]:.4g} {unit}".rstrip() + f", spread {s:.3g}) show one population only; "
            f"record both states, or give {given}"
        )
    wrong = (1 - share) * float(ndtr((low - threshold) / low_spread)) + share * float(
        ndtr((threshold - high) / high_spread)
    )
    return TwoPopulations(
        low=centre + s * float(low), high=centre + s * float(high), low_spread=s * float(low_spread),
        high_spread=s * float(high_spread), high_share=float(share), threshold=centre + s * float(threshold),
        misread=wrong, separation=float((high - low) / ((low_spread + high_spread) / 2)),
    )  # fmt: skip


def _fit(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """(mean, spread, share) of two Gaussians in values of mean 0 and standard deviation 1."""
    split = (z[0] + z[-1]) / 2
    sides = [z[z <= split], z[z > split]]
    found = np.array([[side.mean(), max(side.std(), 1e-6), side.size / z.size] for side in sides])
    for _ in range(500):
        mean, spread, share = (found[:, i, None] for i in range(3))
        logs = np.log(share) - np.log(spread) - 0.5 * ((z - mean) / spread) ** 2
        weight = np.exp(logs - np.logaddexp(logs[0], logs[1]))
        size = weight.sum(axis=1)
        if (size < 1).any():
            break
        means = (weight @ z) / size
        spreads = np.sqrt((weight * (z - means[:, None]) ** 2).sum(axis=1) / size)
        after = np.column_stack([means, np.maximum(spreads, 1e-6), size / z.size])
        done = np.abs(after - found)[:, :2].max() < 1e-9
        found = after
        if done:
            break
    return found


def _crossing(m0: float, s0: float, w0: float, m1: float, s1: float, w1: float) -> float:
    """Where ``w0 N(m0, s0)`` equals ``w1 N(m1, s1)`` between the means; NaN if it does not there."""
    from scipy.optimize import brentq

    def over(x: float) -> float:
        """Logarithm of the ratio of the two densities."""
        return float(((x - m1) / s1) ** 2 - ((x - m0) / s0) ** 2) / 2 + log(w0 * s1 / (w1 * s0))

    return float(brentq(over, m0, m1, xtol=1e-15, rtol=1e-14)) if over(m0) > 0 > over(m1) else float("nan")
