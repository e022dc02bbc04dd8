"""Figures of a study: paired differences and the margin."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes

from voltaspin.plots.drawing import BLUE, GREEN, INK, ORANGE, figure, named_rows
from voltaspin.study.judgement import Verdict
from voltaspin.study.specification import StudySpec


@figure(lambda spec, verdicts: (8.6, 1.3 + 0.36 * len(verdicts)))
def differences(spec: StudySpec, verdicts: Sequence[Verdict], *, ax: Axes) -> Axes:
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
