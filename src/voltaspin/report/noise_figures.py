"""One figure of a stretch of bits: its P-values, its correlations, its picture."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from voltaspin.noise import sp800_22
from voltaspin.noise.randomness import Randomness
from voltaspin.report.drawing import BLUE, DPI, GREY, INK, ORANGE, STYLE, figure_png

_FLOOR = 1e-8  #: smaller P-values are drawn here


def randomness_png(found: Randomness) -> bytes:
    """P-values of every test, autocorrelation with its 95 % band, and the first bits as an image."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.5, 4.6), dpi=DPI, layout="constrained")
        grid = figure.add_gridspec(2, 2, width_ratios=(1.55, 1))
        left = figure.add_subplot(grid[:, 0])
        names = [n for n in sp800_22.TESTS if any(r.name == n for r in found.applied)]
        spread = np.linspace(-0.28, 0.28, 7)  # so that dots of one test do not hide each other
        for y, name in enumerate(names):
            p = np.array([r.p_value for r in found.applied if r.name == name], float)
            shown = np.maximum(p, _FLOOR)
            place = y + (spread[np.arange(p.size) % 7] if p.size > 2 else np.zeros(p.size))
            left.scatter(shown, place, s=14, c=np.where(p < 0.01, ORANGE, BLUE), alpha=0.75, linewidths=0)
        left.axvline(0.01, color=GREY, lw=1, ls="--")
        left.set_xscale("log")
        left.set_xlim(_FLOOR * 0.6, 1.6)
        left.set_ylim(len(names) - 0.4, -0.6)
        left.set_yticks(range(len(names)), names)
        left.set_xlabel(f"P-value; dashed: 0.01, below which one in a hundred falls; {_FLOOR:g} stands for less")
        left.set_title(f"SP 800-22 on {found.n_bits:,} bits".replace(",", "\u2009"))
        right = figure.add_subplot(grid[0, 1])
        half = 1.96 / found.n_bits**0.5
        lags = np.arange(1, found.autocorrelation.size + 1)
        right.axhspan(-half, half, color=GREY, alpha=0.2, lw=0)
        outside = np.abs(found.autocorrelation) > half
        right.vlines(lags, 0, found.autocorrelation, colors=[ORANGE if o else BLUE for o in outside], lw=2)
        right.axhline(0, color=INK, lw=0.8)
        right.set_xlabel("lag [bits]")
        right.set_title("Autocorrelation; band: 95 % of ideal bits")
        picture = figure.add_subplot(grid[1, 1])
        side = int(min(found.first.size, 2**14) ** 0.5)
        picture.imshow(found.first[: side * side].reshape(side, side), cmap="gray_r", interpolation="nearest")
        picture.set_axis_off()
        picture.set_title(f"The first {side} x {side} bits")
        return figure_png(figure)
