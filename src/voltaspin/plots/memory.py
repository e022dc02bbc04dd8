"""Figures of an array: what it kept of a picture, and how its cells are spread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from voltaspin.core.format import duration
from voltaspin.plots.drawing import BLUE, GREEN, GREY, INK, ORANGE, figure, split

if TYPE_CHECKING:
    from voltaspin.memory import MagnetoelectricMemory, StoredImage

_DOTS = 2000  # of a sigma plot, its ends in full


@figure(lambda picture, kept: (3.3 * (1 + len(kept)), 3.9), axes_grid=False)
def stored_images(picture: NDArray[np.uint8], kept: Sequence[StoredImage], *, ax: Axes) -> Axes:
    """Draw the picture that was stored, and the one that was read back from each array."""
    panels = split(ax, 1, 1 + len(kept))[0]
    for panel, shown in zip(panels, (picture, *(k.picture for k in kept)), strict=True):
        panel.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        panel.set_axis_off()
    panels[0].set_title("stored")
    for panel, k in zip(panels[1:], kept, strict=True):
        panel.set_title(
            f"{k.preset}: {duration(k.seconds)} at {k.temperature - 273.15:.0f} \N{DEGREE SIGN}C\n"
            f"{k.lost:.2%} of the bits lost"
        )
    return ax


@figure((9.6, 3.8))
def spread_of_cells(memory: MagnetoelectricMemory, *, ax: Axes, eps: float = 0.01, seconds: float = 60.0) -> Axes:
    """Draw normal probability plots of p01 and p10, and of the chance to lose a bit: a Gaussian is a line."""
    left, right = split(ax, 1, 2)[0]
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
    right.set_xlabel(f"probability to lose the bit within {duration(seconds)}; dashed: 1 %")
    right.set_title("Retention")
    for panel in (left, right):
        panel.axhline(0, color=INK, lw=0.6)
    return ax


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
