"""The figure of quality against energy."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from voltaspin.core.format import energy
from voltaspin.plots.drawing import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, figure, outer_legend
from voltaspin.study.frontier import Frontier

_COLOURS = {"CPU core": GREY, "GPU": INK, "int8 digital machine": PURPLE, "digital crossbars": BLUE,
            "analog crossbars": ORANGE, "resistance sums": GREEN}  # fmt: skip


@figure((10.5, 6.2))
def quality_and_energy(found: Frontier, *, ax: Axes) -> Axes:
    """Draw KID over the energy of an image: bars are intervals, squares images in place, rings the best designs."""
    for d in found.designs:
        colour, x, y = _COLOURS[d.machine], d.energy, d.kid.scaled(1e3, "")
        ax.plot([x.low, x.high], [y.value, y.value], color=colour, lw=1.4, alpha=0.55, zorder=2)
        ax.plot([x.value, x.value], [y.low, y.high], color=colour, lw=1.4, alpha=0.55, zorder=2)
        marker = "s" if d.diffusion == "in-place" else "o"
        ax.plot(x.value, y.value, marker, ms=7.5, mfc=colour, mec="white", zorder=4, ls="none")
        if d.on_front:
            ax.plot(x.value, y.value, "o", ms=15, mfc="none", mec=colour, mew=1.6, zorder=3)
        if d.best:
            ax.plot(x.value, y.value, "*", ms=36, mfc="#f0e442", mec=INK, mew=0.8, zorder=1)
        left = d.diffusion == "in-place"
        offset = (-8, 7) if left else (7, 6)
        ax.annotate(str(d.evaluations), (x.value, y.value), offset, textcoords="offset points", fontsize=8, color=INK,
                    ha="right" if left else "left")  # fmt: skip
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(numticks=9))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(lambda pJ, _: energy(pJ))
    ax.set_xlabel("energy of a whole image: network, random numbers, data movement; bars: 90 % ranges")
    ax.set_ylabel("KID × 1000, lower is better; bars: 95 % intervals")
    ax.set_ylim(min(0.0, *(1e3 * d.kid.low for d in found.designs)), None)
    for machine in dict.fromkeys(d.machine for d in found.designs):
        ax.plot([], [], lw=4, color=_COLOURS[machine], label=machine)
    for marker, words in (("o", "Gaussian"), ("s", "in place")):
        ax.plot([], [], marker, mfc="none", mec=INK, ls="none", ms=7, label=words)
    outer_legend(
        ax,
        loc="outside right upper",
        title="numbers: evaluations\nrings: front of crossbars\nstar: as good, least energy",
    )
    ax.set_title("Quality against energy")
    return ax
