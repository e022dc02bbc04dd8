"""Single cells against the specification of a noise device: limits for leaving out, and rows for the worst cell."""

from __future__ import annotations

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from voltaspin.noise.examination import cell_tests as tests
from voltaspin.noise.examination.cell_result import CellCriteria
from voltaspin.noise.examination.cells import CellReader
from voltaspin.requirements.compliance import TREATMENTS, Interval, Row, absolute, limit_at, row_of, signed_limit
from voltaspin.requirements.specification import Limit, NoiseSpecification

_LEVEL = 0.05  # probability that an interval of any cell misses its truth
_SPREAD = "spread-fixed"


def cell_criteria(spec: NoiseSpecification) -> CellCriteria:
    """Return the limits of a cell that follow from the specification, for raw bits and a fixed mapping.

    The limit of the bias is that of the spread of fixed biases: where every cell that is kept is within it, so is the
    root mean square of all, which is the spread. A cell whose bias drifts has at each time a bias, so the same limit is
    that of the drift. The limit of the correlation is the correlation's. For min-entropy the specification has none.
    """
    spread, correlation = (spec.limit(name, "raw") for name in (_SPREAD, "correlation"))
    at = None if spread is None else limit_at(spread)
    return CellCriteria(
        max_bias=at, max_drift=at, max_correlation=None if correlation is None else limit_at(correlation),
        origin="the specification of a noise device",
    )  # fmt: skip


def extreme_of(n_cells: int) -> float:
    """The median of the largest of so many normal deviates, in magnitude, in standard deviations."""
    from scipy.special import ndtri

    return float(ndtri((1 + 0.5 ** (1 / n_cells)) / 2))


def worst_cells(
    spec: NoiseSpecification, bits: NDArray[np.uint8], n_cells: int, failed: Collection[tuple[str, str]] = ()
) -> tuple[list[Row], list[str]]:
    """Return rows for the worst cell, and in words what so few bits of a cell cannot show.

    An axis that all cells together ``failed``, given with its treatment, has no row for its worst cell.

    The intervals hold for all cells at once (Bonferroni). The worst bias counts as the spread of an array whose worst
    cell it would be in the median, so that an array which just keeps the limit of the spread keeps this one.
    """
    from scipy.special import ndtri

    reader = CellReader(n_cells)
    reader.feed_bits(bits)
    counts = reader.counts()
    level, extreme = 1 - _LEVEL / n_cells, extreme_of(n_cells)
    z = -float(ndtri((1 - level) / 2))  # and the worst of ideal cells is `extreme` standard errors off by itself
    low, high = tests.bias_interval(counts, level)
    found: dict[str, tuple[str, str, Interval, float]] = {
        "worst-cell-bias": (
            _SPREAD, f"bias of the worst of {n_cells} cells, as the spread of an array that has such a one",
            _worst(counts.p - 0.5, low, high, 1 / extreme), ((z + extreme) / 2 / extreme) ** 2,
        ),
        "worst-cell-correlation": (
            "correlation", f"lag-1 correlation of the bits of the worst of {n_cells} cells",
            _worst(*tests.autocorrelation(counts, 1, z)), (z + extreme) ** 2,
        ),
    }  # fmt: skip
    rows: list[Row] = []
    unjudged: dict[str, None] = {}
    for axis, (name, title, interval, square) in found.items():
        for t in TREATMENTS:
            limit = spec.limit(name, t) if name == _SPREAD else signed_limit(spec, name, interval[0], t)
            if limit is None or (name, t) in failed:
                continue
            row = row_of(limit.model_copy(update={"name": axis, "title": title}), absolute(*interval))
            needed = math.ceil(square / _surely(limit) ** 2)
            if row.said == "undecided" and needed > counts.n.min():
                unjudged[
                    f"{axis} ({t}) cannot be judged with {counts.n.min()} bits a cell: {needed} are needed, "
                    f"{needed * n_cells} in all"
                ] = None
            else:
                rows.append(row)
    return rows, list(unjudged)


def _worst(value: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], by: float = 1) -> Interval:
    """The value that is furthest from zero; its sign, with the bounds that hold for the largest magnitude.

    A cell that never changes has no correlation, and none counts.
    """
    known = np.isfinite(value)
    if not known.any():
        return 0.0, 0.0, 0.0
    value, low, high = value[known], low[known], high[known]
    at = int(np.abs(value).argmax())
    least = float(np.maximum(0, np.maximum(low, -high)).max())
    most = float(np.maximum(high, -low).max())
    size = min(max(abs(float(value[at])), least), most)
    ends = (size * by, least * by, most * by)
    return ends if value[at] >= 0 else (-ends[0], -ends[2], -ends[1])


def _surely(limit: Limit) -> float:
    """The amplitude that is surely tolerated, or the first that was asked."""
    return limit.low if limit.low is not None else limit.amplitudes[0]
