"""The figure of an exploration: quality against energy, with the fronts."""

from __future__ import annotations

from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogLocator, NullLocator

from voltaspin.core.format import energy, quantity
from voltaspin.design.result import DesignPoint, DesignResult
from voltaspin.design.space import Objective
from voltaspin.plots.drawing import GREY, INK, figure, is_narrow, outer_legend

_ORDER: tuple[Objective, ...] = ("energy", "quality", "latency", "area")
_MARKS = "osD^vP*X<>"
_WORDS: dict[Objective, str] = {
    "quality": "output error over its root mean square", "energy": "energy of an image", "latency": "time of an image",
    "area": "area of the chip [mm²]",
}  # fmt: skip


def _formatted(name: Objective) -> Any:
    if name == "energy":
        return lambda pJ, _: energy(pJ)
    if name == "latency":
        return lambda s, _: quantity(s, "s")
    return (lambda x, _: f"{100 * x:g} %") if name == "quality" else (lambda x, _: f"{x:g}")


@figure((9, 5.4))
def pareto(result: DesignResult, *, ax: Axes) -> Axes:
    """Draw every design: output error over energy, a third objective as colour, the fronts with their 90 % ranges.

    A mark stands for one way of sampling, and each has a front of its own. Where quality or energy is no objective, the
    next ones take their places.
    """
    names = [name for name in _ORDER if name in result.space.objectives or name != "quality"]
    x, y, *more = names
    if x not in result.points[0].objectives or y not in result.points[0].objectives:  # of a file that was edited
        x, y = list(result.points[0].objectives)[:2]
    third = next((name for name in more if name in result.points[0].objectives), x)
    values = [p.objectives[third].value for p in result.points]
    norm = LogNorm(min(values), max(values) * (1 + 1e-9))
    colours = colormaps["viridis"]
    settings = list(dict.fromkeys(p.setting for p in result.points))
    for place, setting in enumerate(settings):
        here = [p for p in result.points if p.setting == setting]
        mark = _MARKS[place % len(_MARKS)]
        _scatter(ax, [p for p in here if not p.front], x, y, mark, alpha=0.35, s=20, color=GREY, linewidths=0)
        front = sorted((p for p in here if p.front), key=lambda p: p.objectives[x].value)
        for p in front:
            a, b = p.objectives[x], p.objectives[y]
            colour = colours(norm(p.objectives[third].value))
            ax.plot([a.low, a.high], [b.value] * 2, color=colour, lw=0.9, alpha=0.35)
            ax.plot([a.value] * 2, [b.low, b.high], color=colour, lw=0.9, alpha=0.5)
        _scatter(ax, front, x, y, mark, s=42, c=[colours(norm(p.objectives[third].value)) for p in front],
                 edgecolors=INK, linewidths=0.7, label=setting, zorder=3)  # fmt: skip
        _steps(ax, front, x, y)
    ax.set_xscale("log")
    if min(p.objectives[y].low for p in result.points) > 0:
        ax.set_yscale("log")
    for axis, name in ((ax.xaxis, x), (ax.yaxis, y)):
        if axis.get_scale() == "log":
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(_formatted(name))
        axis.set_label_text(_WORDS[name])
    bar = ax.figure.colorbar(
        ScalarMappable(norm, colours), ax=ax, pad=0.02, format=_formatted(third), ticks=LogLocator(subs=(1, 2, 5))
    )
    bar.ax.yaxis.set_minor_locator(NullLocator())
    bar.set_label(f"{_WORDS[third]} (designs of a front)")
    if len(settings) <= len(_MARKS):
        if is_narrow():
            outer_legend(ax, fontsize=8)
        else:
            ax.legend(fontsize=8)
    ax.set_title(f"{result.space.name}: {len(result.points)} designs, {len(result.front)} on a front", parse_math=False)
    return ax


def _scatter(ax: Axes, points: list[DesignPoint], x: Objective, y: Objective, mark: str, **style: Any) -> None:
    xs, ys = ([p.objectives[name].value for p in points] for name in (x, y))
    ax.scatter(xs, ys, marker=mark, **style)


def _steps(ax: Axes, front: list[DesignPoint], x: Objective, y: Objective) -> None:
    """The border of what is reached in these two objectives."""
    best: list[tuple[float, float]] = []
    for p in front:
        a, b = p.objectives[x].value, p.objectives[y].value
        if not best or b < best[-1][1]:
            best.append((a, b))
    if len(best) > 1:
        ax.step([a for a, _ in best], [b for _, b in best], where="post", color=INK, lw=0.9, alpha=0.6, zorder=2)
