"""What all figures share: a palette (Okabe and Ito's, safe for colour-blind readers), a style, the way to PNG.

Matplotlib without pyplot, so that nothing global is left behind.
"""

from __future__ import annotations

import io
import re
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, GREY, PALE = "#1f2430", "#737b8c", "#e4e7ee"
BLUE, ORANGE, GREEN, PURPLE = "#0072b2", "#d55e00", "#009e73", "#7b5ea7"
STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 9,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
DPI = 160


def figure_png(figure: Figure) -> bytes:
    """A figure on a transparent ground, as PNG without the version of matplotlib in it."""
    buffer = io.BytesIO()
    figure.set_facecolor("none")
    for axes in figure.axes:
        axes.set_facecolor("none")
    FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def mathtext(text: str) -> str:
    """``V_c`` with its index, for matplotlib; a dollar sign stays what it is."""
    return re.sub(r"\b([A-Za-z]{1,3})_([A-Za-z0-9]{1,4})\b", r"$\1_{\\mathrm{\2}}$", text.replace("$", r"\$"))
