"""Figures of the specification of a noise device: image quality over the amplitude of each defect."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from voltaspin.core.quantity import Z95
from voltaspin.plots.drawing import BLUE, GREEN, INK, ORANGE, figure, outer_legend, split
from voltaspin.requirements.specification import Limit, NoiseSpecification


def _grid(spec: NoiseSpecification) -> tuple[int, int]:
    columns = min(4, len(spec.names))
    return -(-len(spec.names) // columns), columns


@figure((5.6, 3.5))
def one_axis(spec: NoiseSpecification, name: str, *, ax: Axes) -> Axes:
    """Draw the KID differences of one axis with 95 % intervals, the margin, and the amplitude that leaves it."""
    limits = _draw(ax, spec, name)
    ax.set_xlabel(limits[0].title + (f" [{limits[0].unit}]" if limits[0].unit else ""))
    ax.set_ylabel(f"KID less {spec.baseline}, x 1000")
    ax.set_title("\n".join(f"{x.treatment}: {x.text}" for x in limits), fontsize=8.5)
    ax.legend()
    return ax


@figure(lambda spec: (2.6 * _grid(spec)[1], 2.1 * _grid(spec)[0]), font_size=7.5)
def every_axis(spec: NoiseSpecification, *, ax: Axes) -> Axes:
    """Draw all axes on one scale of KID."""
    panels = split(ax, *_grid(spec), sharey=True).ravel()
    for panel, name in zip(panels, spec.names, strict=False):
        unit = _draw(panel, spec, name)[0].unit
        panel.set_title(name + (f" [{unit}]" if unit else ""), fontsize=8.5)
    outer_legend(ax, *panels[0].get_legend_handles_labels(), loc="outside lower right", ncols=2, fontsize=8)
    for panel in panels[len(spec.names) :]:
        panel.set_axis_off()
    for panel in panels[:: _grid(spec)[1]]:
        panel.set_ylabel("KID difference x 1000")
    return ax


def _draw(ax: Axes, spec: NoiseSpecification, name: str) -> list[Limit]:
    """Draw the curves of one axis; return its limits."""
    limits = [x for x in spec.limits if x.name == name]
    ax.axhspan(-1e3 * spec.margin, 1e3 * spec.margin, color=GREEN, alpha=0.15, lw=0)
    ax.axhline(0, color=INK, lw=0.8)
    for x in limits:
        colour, label = (ORANGE, "XOR of two cells") if x.treatment == "xor" else (BLUE, "raw")
        at = [x.per_unit * a for a in x.amplitudes]
        ax.errorbar(at, [1e3 * p.difference for p in x.points], [1e3 * Z95 * p.std for p in x.points], fmt="o-",
                    color=colour, ms=4, capsize=3, label=label)  # fmt: skip
        low, high = (x.per_unit * (end if v is None else v) for v, end in
                     ((x.low, x.amplitudes[0]), (x.high, x.amplitudes[-1])))  # fmt: skip
        if x.said == "reached":
            ax.axvspan(low, high, color=colour, alpha=0.12, lw=0)
            ax.axvline(x.per_unit * float(x.value or 0.0), color=colour, lw=1.2, ls="--")
    ax.set_yscale("symlog", linthresh=2e3 * spec.margin)
    ax.set_yticks([-100, 0, 100, 1000, 10000], ["-100", "0", "100", "1000", "10,000"])
    ax.set_ylim(-150, max(1500.0, *(1.5e3 * p.difference for x in spec.limits for p in x.points)))
    asked = [x.per_unit * a for x in limits for a in x.amplitudes]
    decades = math.log10(max(asked) / min(asked))
    if decades > 0.9:
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 1.6 else (1,)))
        ax.xaxis.set_minor_formatter(NullFormatter())
        if max(asked) < 1000:
            ax.xaxis.set_major_formatter("{x:g}")
    if limits[0].falling:
        ax.invert_xaxis()
    return limits
