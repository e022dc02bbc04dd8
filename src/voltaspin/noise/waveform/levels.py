"""The two levels of a trace and the thresholds between them, found or given."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from voltaspin.core.errors import InputError
from voltaspin.core.result import Array, Part
from voltaspin.noise.importer.values import TwoPopulations, given_level, two_populations
from voltaspin.noise.waveform.trace import Trace

BINS = 1 << 16  #: of the histogram in which the populations are sought: a glitch may be far from both
_FITTED = 4096  # bins that a fit looks at
_DRAWN = 256  # and a figure
HYSTERESIS = 0.5  #: of the way from the threshold to either level, where the hysteresis thresholds lie by default
_SAME = 1e-12  # difference of values, over their size, below which they are one
_DISTINCT = 16  # values up to which a trace has no noise by which a clipped level could be told
_CLIPPED = 1e-3  # share of samples at the end of the range from which a trace is clipped


class Levels(Part):
    """The levels of a trace, in its unit.

    Args:
        threshold: above which a bit is 1.
        rise, fall: hysteresis thresholds: a state becomes 1 above ``rise``, and 0 below ``fall``.
        fitted: whether the threshold was found between two populations.
        populations: the two populations; None where a threshold was given and no two were found.
        misread: probability that a sample falls on the other side of the threshold (overlap of the populations).
        false_switch: probability that a sample of one state passes the far hysteresis threshold.
        missed: probability that a sample of one state stays between the hysteresis thresholds or below.
        edges, counts: the histogram of all samples, (k + 1,) and (k,).
    """

    threshold: float
    rise: float
    fall: float
    fitted: bool
    low: Annotated[float | None, Field(title="low level")] = None
    high: Annotated[float | None, Field(title="high level")] = None
    low_spread: float | None = None
    high_spread: float | None = None
    high_share: float | None = None
    separation: float | None = None
    misread: float | None = None
    false_switch: float | None = None
    missed: float | None = None
    edges: Array = Field(title="histogram edges")
    counts: Array = Field(title="histogram counts")


def find_levels(trace: Trace, *, threshold: float | str | None = None, hysteresis: float | str | None = None) -> Levels:
    """Find the two levels of a trace, or take a threshold that is given.

    Args:
        trace: the values.
        threshold: a text with a unit, a number in SI, or None or ``"fit"`` to find it between two populations.
        hysteresis: distance of the two hysteresis thresholds, as ``threshold``; default: half of the way from the
            threshold to either level, and none where there are no two levels.

    Raises:
        InputError: a dead channel; without a given threshold, a clipped trace or one population only; a threshold
            that no sample passes, or thresholds outside the values.
    """
    name = trace.file.name
    if trace.high - trace.low <= _SAME * max(abs(trace.low), abs(trace.high)):
        raise InputError(
            f"{name}: all {trace.n} samples are {trace.shown(trace.low)}: a dead channel; check probe, range and "
            "channel, and record again"
        )
    found = threshold in (None, "fit")
    if found:
        _check_clipped(trace)
    values, counts, edges = _histogram(trace)
    populations: TwoPopulations | None = None
    try:
        populations = two_populations(values, trace.unit, counts)
    except InputError as error:
        if found:
            raise InputError(f"{name}: {error}") from None
    level = populations.threshold if found and populations else 0.0
    if threshold is not None and threshold != "fit":
        level, _ = given_level(trace.reading, trace.file, threshold)
        if not trace.low <= level < trace.high:
            raise InputError(
                f"{name}: no sample passes the threshold of {trace.shown(level)}: they lie between "
                f"{trace.shown(trace.low)} and {trace.shown(trace.high)}; give a threshold between them, or none to "
                "have it found"
            )
    rise = fall = level
    if hysteresis is not None:
        width, _ = given_level(trace.reading, trace.file, hysteresis, "hysteresis")
        rise, fall = level + width / 2, level - width / 2
        if width < 0 or not trace.low < fall <= rise < trace.high:
            raise InputError(
                f"{name}: hysteresis={trace.shown(width)} around {trace.shown(level)} reaches beyond the values "
                f"({trace.shown(trace.low)} to {trace.shown(trace.high)}); give less, zero or more"
            )
    elif populations is not None and populations.low < level < populations.high:
        rise += HYSTERESIS * (populations.high - level)
        fall -= HYSTERESIS * (level - populations.low)
    every = BINS // _DRAWN
    drawn = np.add.reduceat(_spread(values, counts, edges), np.arange(0, BINS, every))
    about = {} if populations is None else _overlap(populations, level, rise, fall)
    return Levels(
        threshold=level, rise=rise, fall=fall, fitted=found, edges=edges[::every], counts=drawn, **about
    )  # fmt: skip


def _overlap(p: TwoPopulations, level: float, rise: float, fall: float) -> dict[str, Any]:
    """Errors of a threshold and of two hysteresis thresholds, by the Gaussians of the two populations."""
    from scipy.special import ndtr

    def beyond(x: float, y: float) -> float:
        """That a sample of 0 lies above x, or one of 1 below y."""
        return float(
            (1 - p.high_share) * ndtr((p.low - x) / p.low_spread) + p.high_share * ndtr((y - p.high) / p.high_spread)
        )

    return {
        "low": p.low, "high": p.high, "low_spread": p.low_spread, "high_spread": p.high_spread,
        "high_share": p.high_share, "separation": p.separation, "misread": beyond(level, level),
        "false_switch": beyond(rise, fall), "missed": beyond(fall, rise),
    }  # fmt: skip


def _histogram(trace: Trace) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Values and how often each was met, at most 4096 of them, and the edges of all bins."""
    edges = np.linspace(trace.low, trace.high, BINS + 1)
    scale = BINS / (trace.high - trace.low)
    counts = np.zeros(BINS, np.int64)
    for values in trace.blocks():
        places = ((values - trace.low) * scale).astype(np.int64)
        counts += np.bincount(np.minimum(places, BINS - 1, out=places), minlength=BINS)
    middle = (edges[:-1] + edges[1:]) / 2
    # of a converter with few codes or a trace without noise, the values themselves
    kept = np.flatnonzero(counts)
    if kept.size <= _FITTED:
        exact = np.unique(trace.sample)
        place = np.minimum(((exact - trace.low) * scale).astype(np.int64), BINS - 1)
        middle[place] = exact
        return middle[kept], counts[kept], edges
    size = BINS // _FITTED
    grouped = counts.reshape(-1, size)
    total = grouped.sum(axis=1)
    mean = (middle.reshape(-1, size) * grouped).sum(axis=1) / np.maximum(total, 1)
    return mean[total > 0], total[total > 0], edges


def _spread(values: NDArray[np.float64], counts: NDArray[np.int64], edges: NDArray[np.float64]) -> NDArray[np.int64]:
    place = ((values - edges[0]) * (BINS / (edges[-1] - edges[0]))).astype(np.int64)
    return np.bincount(np.minimum(place, BINS - 1), weights=counts, minlength=BINS).astype(np.int64)


def _check_clipped(trace: Trace) -> None:
    """Refuse a trace that stays at an end of its range, where the level is not known."""
    limits = trace.reading.limits
    scale = trace.reading.factor
    values, counts = np.unique(trace.sample, return_counts=True)
    for end, at, least in ((0, trace.at_low, trace.low), (-1, trace.at_high, trace.high)):
        share = at / trace.n
        full = limits is not None and least == limits[end] * scale
        piled = values.size > _DISTINCT and values[end] == least and at > 2
        piled = piled and counts[end] > 2 * max(counts[1 if end == 0 else -2], 2)
        if share > _CLIPPED and (full or piled):
            raise InputError(
                f"{trace.file.name} is clipped: {at} of {trace.n} samples ({100 * share:.2g} %) are exactly "
                f"{trace.shown(least)}, the {'lowest' if end == 0 else 'highest'} value"
                f"{' of the words' if full else ''}; record again with a larger range, or give a threshold, which a "
                "clipped level does not change"
            )
