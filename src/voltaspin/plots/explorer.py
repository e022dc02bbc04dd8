"""The figure of the explorer's switching view."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.axes import Axes

from voltaspin.core.format import prefixed, quantity
from voltaspin.plots.drawing import BLUE, GREY, ORANGE, figure

if TYPE_CHECKING:
    from voltaspin.explorer import SwitchingView


@figure((6.4, 3.6))
def switching_curve(view: SwitchingView, *, ax: Axes) -> Axes:
    """Draw both switching probabilities against the width of the pulse, with the chosen pulse as a mark."""
    widths, unit = prefixed([*view.widths, view.width], "s")
    ax.axhline(0.5, color=GREY, lw=1)
    ax.plot(widths[:-1], view.p01, color=BLUE, label="0 to 1")
    if view.p10 != view.p01:
        ax.plot(widths[:-1], view.p10, color=ORANGE, ls=(0, (4, 1.6)), label="1 to 0")
        ax.plot(widths[-1], view.p10_at.value, "o", mfc="white", mec=ORANGE, ms=7)
    ax.plot(widths[-1], view.p01_at.value, "o", color=BLUE, ms=7)
    ax.axvline(widths[-1], color=GREY, lw=1, ls=":")
    ax.set(xlim=(0, float(widths[:-1].max())), ylim=(0, 1), xlabel=f"pulse width ({unit})",
           ylabel="switching probability")  # fmt: skip
    ax.set_title(f"{view.p01_at.value:.3f} of zeros flip after {quantity(view.width, 's')} at {view.voltage:.3g} V")
    if view.p10 != view.p01:
        ax.legend(loc="lower right")
    return ax
