"""Figures of a study: paired differences and the margin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes

from voltaspin.plots.drawing import BLUE, GREEN, GREY, INK, ORANGE, figure, named_rows
from voltaspin.study.equivalence import Equivalence
from voltaspin.study.specification import StudySpec


@figure(lambda spec, verdicts: (8.6, 1.3 + 0.36 * len(verdicts)))
def differences(spec: StudySpec, verdicts: Sequence[Equivalence], *, ax: Axes) -> Axes:
    """Draw the differences in KID with 95 % intervals, and the margin."""
    ax.axvspan(-1e3 * spec.margin, 1e3 * spec.margin, color=GREEN, alpha=0.18, lw=0)
    ax.axvline(0, color=INK, lw=0.8)
    for i, v in enumerate(verdicts):
        colour = BLUE if v.equivalent else ORANGE
        ax.plot([1e3 * v.low, 1e3 * v.high], [i, i], color=colour, lw=2)
        ax.plot(1e3 * v.difference, i, "o", color=colour, ms=5)
    named_rows(ax, [v.name for v in verdicts], parse_math=False)
    if max(abs(end) for v in verdicts for end in (v.low, v.high)) > 6 * spec.margin:
        ax.set_xscale("symlog", linthresh=2e3 * spec.margin)
        ax.xaxis.set_major_formatter("{x:,g}")
    ax.set_xlabel(f"KID less that of {spec.baseline}, x 1000; 95 % intervals; green: the margin", parse_math=False)
    ax.set_title(spec.name, parse_math=False)
    return ax


@figure((3.6, 3.2))
def along_axis(spec: StudySpec, verdicts: Sequence[Equivalence], path: str, *, ax: Axes) -> Axes:
    """Draw the difference in KID over the values of one axis, FD beside it; the dotted line is the value of the base.

    Args:
        spec, verdicts: of the study.
        path: of the axis.
        ax: to draw into.
    """
    own = next((name for name in spec.conditions if not spec.conditions[name]), "")
    found = {v.name: v for v in verdicts}
    names = {value: own if value == spec.value_in_base(path) else f"{path}={value}" for value in spec.axes[path]}
    points: list[tuple[Any, Equivalence]] = [(x, found[name]) for x, name in names.items() if name in found]
    places = range(len(points))
    ax.axhspan(-1e3 * spec.margin, 1e3 * spec.margin, color=GREEN, alpha=0.15, lw=0)
    ax.axhline(0, color=INK, lw=0.8)
    ax.errorbar(
        places, [1e3 * v.difference for _, v in points], [1e3 * (v.high - v.difference) for _, v in points], fmt="o-",
        color=BLUE, ms=4, capsize=3,
    )  # fmt: skip
    ax.set_yscale("symlog", linthresh=2e3 * spec.margin)
    ax.set_xticks(places, [f"{x}" for x, _ in points])
    for place, (x, _) in enumerate(points):
        if x == spec.value_in_base(path):
            ax.axvline(place, color=GREY, lw=0.8, ls=":")
    ax.set_xlabel(path, parse_math=False)
    ax.set_ylabel("KID less baseline, x 1000")
    if all(v.fd is not None and v.fd_std is not None for _, v in points):
        beside = ax.twinx()
        beside.errorbar(
            places, [v.fd or 0.0 for _, v in points], [1.96 * (v.fd_std or 0.0) for _, v in points], fmt="s--",
            color=ORANGE, ms=3, capsize=2, lw=1,
        )  # fmt: skip
        beside.set_yscale("symlog", linthresh=1)
        beside.set_ylabel("FD less baseline (dashed)")
    return ax
