"""The amplitude at which the images leave the margin, and how well it is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.result import Result
from voltaspin.random.streams import Stream

Array = NDArray[np.float64]
DRAWS = 4000  #: of the points, for an interval
_SURE = 2.5758293035489004  # normal quantile of a two-sided 99 % interval


class Threshold(Result):
    """The amplitude at which a curve of differences leaves the margin.

    Args:
        value: the amplitude; None where the curve leaves it before the first amplitude or not up to the last.
        low: less harmful end of the 95 % interval; None where that lies before the first amplitude.
        high: more harmful end; None where that lies beyond the last amplitude.
        first, last: amplitudes that were asked, least and most harmful.
        inside: whether the first amplitude is within the margin.
    """

    KIND: ClassVar[str] = "threshold"
    value: float | None
    low: float | None
    high: float | None
    first: float
    last: float
    inside: bool

    @property
    def said(self) -> Literal["reached", "not reached", "already outside"]:
        """``reached``, ``not reached`` or ``already outside``."""
        return "reached" if self.value is not None else "not reached" if self.inside else "already outside"


def threshold(
    amplitudes: Sequence[float], differences: Sequence[float], stds: Sequence[float], margin: float, *,
    scale: str = "linear", seed: int = 0,
) -> Threshold:  # fmt: skip
    """Return the amplitude at which a difference of either sign leaves ``±margin``.

    A monotone curve is fitted to the points in each direction (isotonic regression, weighted by their errors), and
    between two points its square root is taken to be linear in the amplitude, or in its logarithm: exact for a
    difference that goes as the square, as that of a bias does. Some noise improves the score before it harms: where a
    curve turns after a point that surely (99 %) lies outside the margin, the fit of that direction ends at its farthest
    point; a dip that is not sure is taken for chance. The interval: the same of 4000 sets of points drawn from their
    normal errors, 2.5 to 97.5 %.

    Args:
        amplitudes: from the least harm to the most, rising or falling, two or more.
        differences, stds: of the score and its standard errors, as many.
        margin: largest difference that counts as none.
        scale: ``linear`` or ``log``, on which amplitudes are interpolated.
        seed: of the draws.

    Raises:
        InputError: fewer than two points, amplitudes in no order, or a margin that is not positive.
    """
    x, d, s = (np.asarray(v, np.float64) for v in (amplitudes, differences, stds))
    steps = np.diff(x)
    if x.size < 2 or not (x.size == d.size == s.size) or not ((steps > 0).all() or (steps < 0).all()):
        raise InputError(
            f"{x.size} amplitudes, {d.size} differences, {s.size} errors: give two or more of each, in order"
        )
    if not margin > 0 or (s < 0).any():
        raise InputError(f"margin {margin} must be positive and errors not negative")
    if scale == "log" and not (x > 0).all():
        raise InputError("amplitudes on a logarithmic scale must be positive")
    u = np.log(x) if scale == "log" else x
    ends = tuple(_end(sign * d, s, margin) for sign in (1, -1))
    value = float(_crossing(d[None], s, margin, ends)[0])
    z = Stream.of(seed, "study", "threshold").normals(DRAWS * x.size).reshape(DRAWS, x.size)
    drawn = np.sort(_crossing(d + s * z, s, margin, ends))
    # the places are numbered 0 to n - 1, before the first is -inf and beyond the last inf: they sort as they are
    low, high = (float(drawn[round(q * (DRAWS - 1))]) for q in (0.025, 0.975))
    # the curve itself belongs to the interval, also where it lies at an end of the draws
    low, high = min(low, value), max(high, value)

    def amplitude(place: float) -> float | None:
        if not math.isfinite(place):
            return None
        at = float(np.interp(place, np.arange(x.size), u))
        return math.exp(at) if scale == "log" else at

    last = float(x[-1])
    return Threshold(
        value=amplitude(value),
        low=last if low == math.inf else amplitude(low),
        high=float(x[0]) if high == -math.inf else amplitude(high),
        first=float(x[0]),
        last=last,
        inside=value > -math.inf,
    )


def _end(d: Array, std: Array, margin: float) -> int:
    """Points that a rising curve is fitted to: up to the farthest one, where that is surely outside, or all."""
    top = int(d.argmax())
    return top + 1 if d[top] - _SURE * std[top] > margin else d.size


def _crossing(d: Array, std: Array, margin: float, ends: tuple[int, ...]) -> Array:
    """Places, counted in points from 0, at which sets of points (sets, n) leave the margin; -inf before, inf never."""
    weights = 1 / np.maximum(std, 1e-3 * margin) ** 2  # points of equal images have no error
    up, down = (
        _upward(_isotonic(sign * d[:, :end], weights[:end]), margin) for sign, end in zip((1, -1), ends, strict=True)
    )
    return np.minimum(up, down)


def _isotonic(d: Array, weights: Array) -> Array:
    """Least-squares rising curves through (sets, n), by the formula of largest of smallest weighted means."""
    n = d.shape[1]
    above = np.concatenate([np.zeros((len(d), 1)), np.cumsum(d * weights, axis=1)], axis=1)
    mass = np.concatenate([[0.0], np.cumsum(weights)])
    fit = np.full(d.shape, -np.inf)
    for i in range(n):
        for j in range(i + 1):
            means = (above[:, i + 1 :] - above[:, j : j + 1]) / (mass[i + 1 :] - mass[j])
            fit[:, i] = np.maximum(fit[:, i], means.min(axis=1))
    return fit


def _upward(fit: Array, margin: float) -> Array:
    places = np.full(len(fit), np.inf)
    root = np.sign(fit) * np.sqrt(np.abs(fit))
    for i in range(fit.shape[1] - 1, 0, -1):
        here = fit[:, i] > margin
        rise = np.where(here, root[:, i] - root[:, i - 1], 1.0)
        share = np.clip((math.sqrt(margin) - root[:, i - 1]) / np.where(rise > 0, rise, 1.0), 0.0, 1.0)
        places = np.where(here, i - 1 + share, places)
    return np.where(fit[:, 0] > margin, -np.inf, places)
