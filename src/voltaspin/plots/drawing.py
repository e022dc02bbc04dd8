"""The palette (Okabe and Ito's, safe for colour-blind readers), the style and the way to PNG of all figures.

Matplotlib without pyplot, so that nothing global is left behind.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from voltaspin.core.errors import InputError

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
Size = tuple[float, float]
NARROW = 4.1  #: width of a figure for a phone [inch]
_NARROW_TITLE = 38  # characters of a line
_narrow: ContextVar[bool] = ContextVar("narrow", default=False)


def is_narrow() -> bool:
    """Whether figures are drawn for a phone, see :func:`narrow`."""
    return _narrow.get()


@contextmanager
def narrow() -> Iterator[None]:
    """Draw new figures for a phone: one column of panels, of the width that stays readable there."""
    token = _narrow.set(True)
    try:
        yield
    finally:
        _narrow.reset(token)


def figure(size: Size | Callable[..., Size], **style: Any) -> Callable[[Callable[..., Axes]], Callable[..., Axes]]:
    """Let a function draw into ``ax``, or where it is None into new axes in the package's style.

    Args:
        size: width and height [inch] of a new figure, or a function of what is drawn.
        style: what differs from ``STYLE``, with underscores for dots.
    """

    def decorate(draw: Callable[..., Axes]) -> Callable[..., Axes]:
        def size_of(*shown: Any) -> Size:
            return size(*shown) if callable(size) else size

        @wraps(draw)
        def drawn(*shown: Any, ax: Axes | None = None, **options: Any) -> Axes:
            if ax is not None:
                return draw(*shown, ax=ax, **options)
            with matplotlib.rc_context(STYLE | {name.replace("_", "."): value for name, value in style.items()}):
                width, height = size_of(*shown)
                if is_narrow():
                    width = NARROW
                made = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
                drawn_into = draw(*shown, ax=made.subplots(), **options)
                if is_narrow():
                    _wrap_titles(made)
                return drawn_into

        drawn.size_of = size_of  # type: ignore[attr-defined]
        return drawn

    return decorate


def split(ax: Axes, rows: int = 1, columns: int = 1, **options: Any) -> NDArray[Any]:
    """Replace ``ax`` by panels in its place; returns (rows, columns) of axes.

    Args:
        ax: of ``plt.subplots()`` or ``Figure.subplots()``.
        rows, columns: of panels.
        options: ``sharex``, ``sharey``, and ratios as of ``GridSpec``.

    Raises:
        InputError: the axes have no place in a grid.
    """
    spec = ax.get_subplotspec()
    if spec is None:
        raise InputError("these axes have no place in a grid; give axes of plt.subplots()")
    ax.set_axis_off()
    shared = {name: options.pop(name, False) for name in ("sharex", "sharey")}
    if is_narrow() and columns > 1:  # column by column, one below the other
        ratios = np.outer(options.pop("width_ratios", (1,) * columns), options.pop("height_ratios", (1,) * rows))
        if isinstance(ax.figure, Figure):
            width, height = ax.figure.get_size_inches()
            ax.figure.set_size_inches(width, height * columns)
        shared = {name: value is True for name, value in shared.items()}
        grid = spec.subgridspec(rows * columns, 1, height_ratios=ratios.ravel(), **options)
        return np.asarray(grid.subplots(**shared, squeeze=False)).reshape(columns, rows).T
    return np.asarray(spec.subgridspec(rows, columns, **options).subplots(**shared, squeeze=False))


def _wrap_titles(made: Figure) -> None:
    for axes in made.axes:
        title = axes.get_title(loc="left")
        if len(title) > _NARROW_TITLE:
            axes.set_title(textwrap.fill(title, _NARROW_TITLE), loc="left")


def outer_legend(ax: Axes, *entries: Any, **options: Any) -> None:
    """Add a legend beside all panels of the figure of ``ax``; into ``ax`` where its layout leaves no space outside.

    Args:
        ax: of the figure.
        entries: handles and labels; those of ``ax`` where absent.
        options: as of ``Figure.legend``, its place ``"outside ..."``.
    """
    if isinstance(ax.figure.get_layout_engine(), ConstrainedLayoutEngine):
        if is_narrow():
            options |= {"loc": "outside lower center", "ncols": 1}
            handles, labels = entries or ax.get_legend_handles_labels()
            entries = (handles, [textwrap.fill(label, 46) for label in labels])
        legend = ax.figure.legend(*entries, **options)
        if is_narrow() and isinstance(ax.figure, Figure):
            width, height = ax.figure.get_size_inches()
            ax.figure.set_size_inches(width, height + 0.19 * len(legend.get_texts()))
    else:
        ax.legend(*entries, **options | {"loc": "best"})


def png(ax: Axes) -> bytes:
    """Return the figure of ``ax`` as PNG."""
    return figure_png(ax.figure)  # type: ignore[arg-type]


def stacked(*drawn: tuple[Callable[..., Axes], Any]) -> bytes:
    """Return several figures, one below the other, as one PNG: pairs of a function and what it draws."""
    sizes = [draw.size_of(shown) for draw, shown in drawn]  # type: ignore[attr-defined]
    heights = [height for _, height in sizes]
    with matplotlib.rc_context(STYLE):
        made = Figure(figsize=(max(width for width, _ in sizes), sum(heights)), dpi=DPI, layout="constrained")
        places = made.subfigures(len(drawn), 1, height_ratios=heights, squeeze=False)[:, 0]
        for place, (draw, shown) in zip(places, drawn, strict=True):
            draw(shown, ax=place.subplots())
        return figure_png(made)


def figure_png(figure: Figure) -> bytes:
    """Return a figure on a transparent ground as PNG, without the version of matplotlib in it."""
    buffer = io.BytesIO()
    figure.set_facecolor("none")
    for axes in figure.axes:
        axes.set_facecolor("none")
    with matplotlib.rc_context(STYLE):
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def mathtext(text: str) -> str:
    """Return ``V_c`` with its index, for matplotlib; a dollar sign stays what it is."""
    return re.sub(r"\b([A-Za-z]{1,3})_([A-Za-z0-9]{1,4})\b", r"$\1_{\\mathrm{\2}}$", text.replace("$", r"\$"))


def named_rows(ax: Axes, names: Sequence[str], **style: Any) -> None:
    """Let the y axis list names from the top down, in two lines where the figure is narrow."""
    if is_narrow():
        names, style = [textwrap.fill(name, 22) for name in names], style | {"fontsize": 7}
    ax.set_yticks(range(len(names)), names, **style)
    ax.set_ylim(len(names) - 0.4, -0.6)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)


def estimate_mark(ax: Axes, place: float, e: Any, colour: str, **style: Any) -> None:
    """Mark a value with its interval in a row of ``ax``."""
    ax.plot([e.low, e.high], [place, place], color=colour, lw=2.2, alpha=style.pop("bar", 1.0), solid_capstyle="butt")
    mark: dict[str, Any] = {"marker": "o", "ms": 5.5, "mec": "white", "mew": 0.8, "ls": ""}
    ax.plot([e.value], [place], color=colour, **mark | style)
