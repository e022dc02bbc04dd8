"""Figures of an array: what it kept of a picture, and how its cells are spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from voltaspin.plots.drawing import BLUE, DPI, GREEN, GREY, INK, ORANGE, STYLE, figure_png
from voltaspin.report.device_page import life_text

if TYPE_CHECKING:
    from voltaspin.memory import MagnetoelectricMemory
    from voltaspin.memory.stored_image import StoredImage

_DOTS = 2000  # of a sigma plot, its ends in full


def kept_png(picture: NDArray[np.uint8], kept: Sequence[StoredImage]) -> bytes:
    """The picture that was stored, and what was read back from each array."""
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        n = 1 + len(kept)
        figure = Figure(figsize=(3.3 * n, 3.9), dpi=DPI, layout="constrained")
        panels = figure.subplots(1, n, squeeze=False)[0]
        for axes, shown in zip(panels, (picture, *(k.picture for k in kept)), strict=True):
            axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axes.set_axis_off()
        panels[0].set_title("stored")
        for axes, k in zip(panels[1:], kept, strict=True):
            axes.set_title(
                f"{k.preset}: {life_text(k.seconds)} at {k.temperature - 273.15:.0f} \N{DEGREE SIGN}C\n"
                f"{k.lost:.2%} of the bits lost"
            )
        return figure_png(figure)


def sigma_png(memory: MagnetoelectricMemory, *, eps: float = 0.01, seconds: float = 60.0) -> bytes:
    """Normal probability plots of p01 and p10, and of the chance that a cell loses its bit: a Gaussian is a line."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9.6, 3.8), dpi=DPI, layout="constrained")
        left, right = figure.subplots(1, 2)
        left.axvspan(0.5 - eps, 0.5 + eps, color=GREEN, alpha=0.22, lw=0)
        for p, colour, name in ((memory.p01, BLUE, "$p_{01}$"), (memory.p10, ORANGE, "$p_{10}$")):
            left.plot(*_sigmas(p.ravel()), ".", ms=3, color=colour, label=name)
        left.set_xlabel(f"probability that the pulse flips the cell; band: 1/2 \N{PLUS-MINUS SIGN} {eps:g}")
        left.set_ylabel("standard normal quantile [sigma]")
        left.set_title("Fairness")
        left.legend()
        up, down = memory.forgetting(seconds)
        lost = (up + down) / 2
        right.plot(*_sigmas(np.maximum(lost.ravel(), 1e-30)), ".", ms=3, color=BLUE)
        right.set_xscale("log")
        right.axvline(0.01, color=GREY, lw=1, ls="--")
        right.set_xlabel(f"probability to lose the bit within {life_text(seconds)}; dashed: 1 %")
        right.set_title("Retention")
        for axes in (left, right):
            axes.axhline(0, color=INK, lw=0.6)
        return figure_png(figure)


def _sigmas(values: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Ordered values and their normal quantiles, thinned out in the middle."""
    from scipy.special import ndtri

    x = np.sort(values)
    z = ndtri((np.arange(x.size) + 0.5) / x.size)
    if x.size <= _DOTS:
        return x, z
    ends = np.arange(_DOTS // 4)
    middle = np.unique(np.linspace(0, x.size - 1, _DOTS // 2).astype(int))
    chosen = np.unique(np.concatenate([ends, middle, x.size - 1 - ends]))
    return x[chosen], z[chosen]
