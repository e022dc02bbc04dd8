"""Figures of image quality: scores and paired differences with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from voltaspin.metrics.conditions import ConditionComparison, ConditionScores
from voltaspin.metrics.distance import Score
from voltaspin.plots.drawing import BLUE, GREEN, GREY, ORANGE, estimate_mark, figure, named_rows, split


def _rows(quality: ConditionComparison) -> list[tuple[str, ConditionScores]]:
    groups: list[tuple[str, Sequence[ConditionScores]]] = [
        (GREY, (quality.floor, *quality.yardsticks)), (BLUE, quality.rows),
        (ORANGE, (quality.control.row,) if quality.control else ()),
    ]  # fmt: skip
    return [(colour, row) for colour, group in groups for row in group]


@figure(lambda quality: (10.6, 1.35 + 0.34 * len(_rows(quality))))
def scores(quality: ConditionComparison, *, ax: Axes) -> Axes:
    """Draw KID, FD and paired KID difference of conditions, floor, yardsticks and control, with their intervals."""
    rows = _rows(quality)
    differences = {d.condition: d for d in quality.differences}
    if quality.control:
        differences[quality.control.row.condition] = quality.control.difference
    columns: list[tuple[str, dict[int, Score]]] = [
        ("KID", {k: row.kid for k, (_, row) in enumerate(rows)}),
        ("FD", {k: row.fd for k, (_, row) in enumerate(rows) if row.fd}),
        ("KID less software noise",
         {k: differences[row.condition].kid for k, (_, row) in enumerate(rows) if row.condition in differences}),
    ]  # fmt: skip
    columns = [(title, marks) for title, marks in columns if marks or title != "FD"]
    panels = split(ax, 1, len(columns), sharey=True)[0]
    for panel, (title, marks) in zip(panels, columns, strict=True):
        for place, score in marks.items():
            estimate_mark(panel, place, score, rows[place][0])
        named_rows(panel, [row.name for _, row in rows])
        panel.locator_params(axis="x", nbins=5)
        _wide_scale(panel, list(marks.values()))
        panel.set_title(title)
    panels[-1].axvline(0, color=GREY, lw=1)
    if margins := [d.margin for d in differences.values() if d.margin]:
        panels[-1].axvspan(-max(margins), max(margins), color=GREEN, alpha=0.16, lw=0)
    return ax


def _wide_scale(ax: Axes, marks: Sequence[Any]) -> None:
    """Set a logarithmic axis where the values span it, linear near zero where some are not positive."""
    if not marks:
        return
    ends = np.array([(s.low, s.value, s.high) for s in marks])
    largest, typical = np.abs(ends).max(), float(np.median(np.abs(ends[:, 1])))
    if largest < 12 * typical or largest == 0:
        return
    if ends.min() > 0:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter("{x:g}")
        return
    linear = float(np.median(np.abs(ends[:, 2] - ends[:, 0]))) or largest / 10
    ax.set_xscale("symlog", linthresh=linear, linscale=0.8)
    decades = range(math.ceil(math.log10(linear)), math.floor(math.log10(largest)) + 1)
    ticks = [10.0**e for e in decades] or [largest]
    shown = [*(-t for t in ticks if -t >= ends.min()), 0, *ticks]
    ax.set_xticks(shown, [f"{t:g}" for t in shown])
    ax.xaxis.set_minor_locator(NullLocator())
