"""Figures of a junction: switching curves of the demo, and every part of a characterisation."""

from __future__ import annotations

import math
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from voltaspin.core.errors import InputError
from voltaspin.core.format import duration, number, prefixed, quantity
from voltaspin.device.characterisation import Characterisation, ErrorCurve, PulseRecord
from voltaspin.device.fokker_planck import SwitchingMap
from voltaspin.plots.cost import energy_axis
from voltaspin.plots.drawing import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, figure, mathtext, outer_legend, split

_LANDMARKS = {"1 ms": 1e-3, "1 s": 1.0, "1 h": 3600.0, "1 d": 86400.0, "1 y": 3.156e7, "10 y": 3.156e8}
_FLOOR = 1e-13  #: below this an error rate is rounding
#: By how much a bar of the sensitivity figure moves a parameter: one percent where it is not named here.
_STEPS = {"B_x": (1e-3, "1 mT"), "B_y": (1e-3, "1 mT"), "B_z": (1e-3, "1 mT"), "temperature": (10.0, "10 K")}


@figure((9.6, 3.5))
def fair_pulse(device: Any, *, ax: Axes) -> Axes:
    """Draw P_sw against pulse width, one panel per voltage, with the band around 1/2 and the chosen pulse.

    Args:
        device: with the ``curves`` and the ``chosen`` pulse of the demo's results.
        ax: to draw into.
    """
    tolerance, chosen = device.chosen.tolerance, device.chosen
    panels = split(ax, 1, len(device.curves), sharey=True)[0]
    for panel, curve in zip(panels, device.curves, strict=True):
        widths = np.array(curve.widths) * 1e9
        panel.axhspan(0.5 - tolerance, 0.5 + tolerance, color=GREEN, alpha=0.22, lw=0)
        for values, colour, line, name in (
            (curve.p01, BLUE, "-", "$p_{01}$"),
            (curve.p10, ORANGE, (0, (4, 1.6)), "$p_{10}$"),
        ):
            p, error = np.array(values), 2 * np.array(curve.error)
            panel.fill_between(widths, p - error, p + error, color=colour, alpha=0.18, lw=0)
            panel.plot(widths, p, color=colour, linestyle=line, label=name)
        if math.isclose(curve.voltage, chosen.voltage, rel_tol=1e-3):
            panel.axvline(chosen.width * 1e9, color=INK, lw=1)
            late = chosen.width > 0.5 * curve.widths[-1]
            panel.annotate(
                f"chosen\n{chosen.width * 1e9:.3g} ns", (chosen.width * 1e9, 0.03), (-5 if late else 5, 0),
                textcoords="offset points", fontsize=8.5, ha="right" if late else "left",
            )  # fmt: skip
        if widths[0] > 0 and widths[-1] / widths[0] > 30:
            panel.set_xscale("log")
            panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.xaxis.set_major_formatter("{x:g}")
            panel.xaxis.set_minor_formatter(NullFormatter())
        else:
            panel.set_xlim(0, widths[-1] * 1.02)
        panel.set_title(f"{mathtext(curve.label)}: {curve.voltage:.2f} V")
        panel.set_xlabel("pulse width (ns)")
        panel.set_ylim(0, 1)
    panels[0].set_ylabel("switching probability")
    outer_legend(ax, *panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return ax


@figure((9.6, 3.9))
def switching_curves(result: Characterisation, *, ax: Axes) -> Axes:
    """Draw the switching probability against the width of the pulse, a line per voltage.

    Raises:
        InputError: the junction has no curves.
    """
    if result.curves is None:
        raise InputError(f"{result.junction.name} has no switching curves: {result.reasons.get('curves', 'not made')}")
    ax.axhline(0.5, color=GREY, lw=1)
    reach = max(c.widths[-1] for c in result.curves)
    for curve, colour in zip(result.curves, (GREY, BLUE, ORANGE), strict=True):
        widths, unit = prefixed([*curve.widths, reach], "s")
        label = f"{mathtext(curve.label)} = {curve.voltage:.3g} V"
        ax.plot(widths[:-1], curve.p01, color=colour, label=label)
        if curve.p10 != curve.p01:
            ax.plot(widths[:-1], curve.p10, color=colour, linestyle=(0, (4, 1.6)), lw=1.4)
    ax.set_xlim(0, widths[-1])
    ax.set_ylim(0, 1)
    ax.set_xlabel(f"pulse width ({unit})")
    ax.set_ylabel("switching probability")
    best = max(result.curves, key=lambda c: max(c.p01))
    at = best.widths[int(np.argmax(best.p01))]
    share = f"{100 * max(best.p01):.3g} %" if max(best.p01) < 0.999 else "More than 99.9 %"
    mirrored = all(c.p10 == c.p01 for c in result.curves)
    ax.set_title(
        f"{share} of the bits switch after {quantity(at, 's')} at {mathtext(best.label)}"
        + ("" if mirrored else "; dashed: 1 to 0")
    )
    outer_legend(ax, loc="outside lower center", ncols=3)
    return ax


@figure((6.8, 4.2))
def switching_map(found: SwitchingMap, *, ax: Axes) -> Axes:
    """Draw the switching probability: over voltage and width as colours, of one or two voltages or widths as lines."""
    widths, unit = prefixed(found.widths, "s")
    ax.set_xlabel(f"pulse width ({unit})")
    if min(found.P_sw.shape) > 2:
        mesh = ax.pcolormesh(widths, found.voltages, found.P_sw, vmin=0, vmax=1, shading="nearest", cmap="cividis")
        ax.figure.colorbar(mesh, ax=ax, label="switching probability")
        ax.set_ylabel("voltage (V)")
    else:
        for voltage, row in zip(found.voltages, found.P_sw, strict=True):
            ax.plot(widths, row, marker="." if len(widths) < 3 else None, label=f"{voltage:.3g} V")
        ax.set_ylabel("switching probability")
        ax.set_ylim(0, 1)
        ax.legend()
    ax.set_title(f"Switching; numerical error at most {found.error.max():.1g}")
    return ax


@figure((7.6, 4.6))
def write_error_map(result: Characterisation, *, ax: Axes) -> Axes:
    """Draw the write error rate over voltage and width, with the band around 1/2 and the two pulses."""
    grid = result.map
    assert grid is not None
    log_WER = np.log10(np.maximum(np.maximum(grid.WER, grid.error), _FLOOR))
    (*widths, _), unit = prefixed([*grid.widths, grid.widths[-1]], "s")
    scale = widths[0] / grid.widths[0]
    lowest, colours = min(float(log_WER.min()), -1.0), matplotlib.colormaps["Blues_r"]
    if result.write is not None:  # the scale reaches the pulse that the figure marks, which lies between the points
        lowest = min(lowest, math.log10(max(result.write.WER, _FLOOR)))
    mesh = ax.pcolormesh(widths, grid.voltages, log_WER, cmap=colours, shading="gouraud", vmin=lowest, vmax=0)
    ax.grid(False)
    # The probabilities themselves, not their distance from 1/2, whose kink a coarse map would tear apart.
    bands = {"50 ± 5 %": (grid.p01, ORANGE)}
    if grid.p10 != grid.p01:
        bands = {"50 ± 5 %, 0 to 1": (grid.p01, ORANGE), "1 to 0": (grid.p10, PURPLE)}
    for name, (p, colour) in bands.items():
        if np.min(p) < 0.55 and np.max(p) > 0.45:
            ax.contourf(widths, grid.voltages, np.array(p), levels=[0.45, 0.55], colors=[colour], alpha=0.6)
            ax.plot([], [], color=colour, alpha=0.6, lw=7, label=name)
    for pulse, marker, name in ((result.write, "D", "write pulse"), (result.coin, "o", "fair pulse")):
        if pulse is not None:
            ax.plot(
                pulse.width * scale, pulse.voltage, marker, color="white", mec=INK, mew=1.4, ms=7, ls="", label=name,
                clip_on=False,
            )  # fmt: skip
    if grid.voltages[0] < result.oxide.limit < grid.voltages[-1]:
        ax.axhline(result.oxide.limit, color=INK, lw=1.2, linestyle="--", label="oxide breaks down")
    ax.set_xlim(widths[0], widths[-1])
    ax.set_ylim(grid.voltages[0], grid.voltages[-1])
    ax.set_xlabel(f"pulse width ({unit})")
    ax.set_ylabel("pulse voltage (V)")
    bar = ax.figure.colorbar(mesh, ax=ax, pad=0.02)
    ends = range(math.ceil(lowest), 1)
    marks = [e for e in ends if e % max(1, math.ceil(len(ends) / 7)) == 0]
    bar.set_ticks(marks, labels=[f"$10^{{{e}}}$" if e else "1" for e in marks])
    bar.set_label("write error rate")
    bar.outline.set_visible(False)
    ax.set_title("Where a pulse writes (dark) and where it is fair (orange)")
    outer_legend(ax, loc="outside lower center", ncols=4)
    return ax


@figure((9.6, 3.5))
def bathtub(result: Characterisation, *, ax: Axes) -> Axes:
    """Draw the write error rate around the write pulse, against its voltage and against its width."""
    assert result.bathtub is not None
    assert result.write is not None
    left, right = split(ax, 1, 2, sharey=True)[0]
    _bathtub(left, result.bathtub.voltage, result.write.voltage, "V", "pulse voltage")
    _bathtub(right, result.bathtub.width, result.write.width, "s", "pulse width")
    left.set_ylabel("write error rate")
    left.set_title(f"At {quantity(result.write.width, 's')}; {number(result.write.WER, 2)} at the mark")
    right.set_title(f"At {quantity(result.write.voltage, 'V')}")
    return ax


def _bathtub(axes: Axes, curve: ErrorCurve, best: float, unit: str, what: str) -> None:
    values, name = prefixed([*curve.at, best], unit)
    WER, error = np.array(curve.WER), np.array(curve.error)
    axes.fill_between(
        values[:-1], np.maximum(WER - error, _FLOOR), np.maximum(WER + error, _FLOOR), color=BLUE, alpha=0.18, lw=0
    )
    axes.plot(values[:-1], np.maximum(WER, _FLOOR), color=BLUE)
    axes.axvline(values[-1], color=GREY, lw=1)
    axes.set_yscale("log")
    axes.set_xlim(values[0], values[-2])
    axes.set_xlabel(f"{what} ({name})")


@figure((9.6, 3.5))
def retention(result: Characterisation, *, ax: Axes) -> Axes:
    """Draw the mean life of a bit against temperature and against a constant voltage."""
    kept = result.retention
    assert kept is not None
    left, right = split(ax, 1, 2, sharey=True)[0]
    for axes, at, life in (
        (left, kept.temperatures, kept.at_temperature),
        (right, kept.voltages, kept.at_voltage),
    ):
        values = np.array([math.nan if t is None else t for t in life])
        axes.plot(at, values, color=BLUE, marker="o", ms=4, mec="white", mew=0.6)
        axes.set_yscale("log")
    low, high = left.get_ylim()
    for name, time in _LANDMARKS.items():
        if low < time < high:
            for axes in (left, right):
                axes.axhline(time, color=GREEN, lw=0.9, alpha=0.7)
            right.annotate(
                name, (1, time), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points", va="center",
                fontsize=8.5, color=GREEN,
            )  # fmt: skip
    T = result.junction.temperature
    left.axvline(T, color=GREY, lw=1)
    right.axvline(0, color=GREY, lw=1)
    left.set_xlabel("temperature (K)")
    right.set_xlabel("constant voltage on the cell (V)")
    left.set_ylabel("mean life of a bit (s)")
    left.set_title("Heat shortens a bit's life" + (f": {duration(kept.life)} at {T:g} K" if kept.life else ""))
    sign = "negative" if result.junction.xi > 0 else "positive"
    right.set_title(f"A {sign} voltage prolongs it" if result.junction.xi else "A voltage does not touch it")
    return ax


@figure(lambda result: (9.6, 0.9 + 1.15 * len(pulses_of(result))))
def pulse_energies(result: Characterisation, *, ax: Axes) -> Axes:
    """Draw the energy of both pulses by where it goes."""
    pulses = pulses_of(result)
    parts = (("ohmic", "through the barrier", BLUE), ("capacitive", "charging the oxide", ORANGE),
             ("line", "charging the line", GREY))  # fmt: skip
    places: list[float] = []
    lowest, highest = math.inf, 0.0
    for k, pulse in enumerate(pulses.values()):
        for j, (part, words, colour) in enumerate(parts):
            value, place = getattr(pulse.energy, part), 3.6 * k + j
            places.append(place)
            if value <= 0:
                continue
            lowest, highest = min(lowest, value), max(highest, value)
            ax.barh(place, value, height=0.82, color=colour, label=words if k == 0 else None)
            ax.annotate(
                quantity(value, "J"),
                (value, place),
                (5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
            )
    ax.set_xlim(lowest / 3, highest * 4)
    energy_axis(ax, room=1.0, per=1e12)
    names = [f"{name} pulse\n{p.voltage:.3g} V, {quantity(p.width, 's')}" for name, p in pulses.items()]
    ax.set_yticks([3.6 * k + 1 for k in range(len(pulses))], names)
    ax.invert_yaxis()
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    pulse = list(pulses.values())[-1]
    cell, line = pulse.energy.ohmic + pulse.energy.capacitive, pulse.energy.line
    more = f" and {quantity(line, 'J')} in the line" if line else ""
    ax.set_title(f"A {list(pulses)[-1]} pulse costs {quantity(cell, 'J')} in the cell{more}")
    outer_legend(ax, loc="outside lower center", ncols=3)
    return ax


@figure((9.6, 3.5))
def sensitivities(result: Characterisation, *, ax: Axes) -> Axes:
    """Draw the effect of a small change of each parameter on both pulses, a bar each."""
    pulses = pulses_of(result)
    panels = split(ax, 1, len(pulses))[0]
    for axes, (name, pulse) in zip(panels, pulses.items(), strict=True):
        steps = [_STEPS.get(s.parameter, (0.01 * s.value, "1 %")) for s in pulse.slopes]
        change = np.array([s.derivative * step for s, (step, _) in zip(pulse.slopes, steps, strict=True)])
        change *= 100 if name == "coin" else -100 / max(pulse.WER, _FLOOR)
        order = np.argsort(np.abs(change))
        colours = [BLUE if change[k] > 0 else ORANGE for k in order]
        axes.barh(range(len(order)), change[order], color=colours, height=0.7)
        axes.axvline(0, color=INK, lw=0.8)
        axes.set_yticks(range(len(order)), [f"{_name(pulse.slopes[k].parameter)} +{steps[k][1]}" for k in order])
        axes.grid(axis="y", visible=False)
        axes.tick_params(axis="y", length=0)
        first = _name(pulse.slopes[int(order[-1])].parameter)
        axes.set_title(f"The {name} pulse feels {first} most")
        axes.set_xlabel(
            "change of the probability (percentage points)" if name == "coin" else "change of the error rate (% of it)"
        )
        axes.margins(x=0.12)
    return ax


def _name(parameter: str) -> str:
    return {"alpha_G": r"$\alpha_{\mathrm{G}}$", "xi": r"$\xi$"}.get(parameter, mathtext(parameter))


@figure((6.4, 4.6))
def astroid(result: Characterisation, *, ax: Axes) -> Axes:
    """Draw Stoner and Wohlfarth's switching fields, a curve per voltage, and the junction's own field."""
    curves = result.astroid
    assert curves is not None
    everything, unit = prefixed(curves[0].in_plane, "T")
    scale = float(np.max(everything)) / max(curves[0].in_plane)
    shades = matplotlib.colormaps["plasma"](np.linspace(0, 0.8, len(curves)))
    for curve, shade in zip(curves, shades, strict=True):
        ax.plot(
            scale * np.array(curve.in_plane),
            scale * np.array(curve.along_z),
            color=shade,
            label=f"{number(curve.voltage, 2)} V",
        )
    B = result.junction.B_bias
    ax.plot(
        scale * math.hypot(B[0], B[1]), scale * abs(B[2]), "o", color="white", mec=INK, mew=1.6, ms=7, ls="",
        label="the junction's field", clip_on=False,
    )  # fmt: skip
    ax.set_xlim(0)
    ax.set_ylim(0)
    ax.set_aspect("equal")
    ax.set_xlabel(f"in-plane field ({unit})")
    ax.set_ylabel(f"field along z ({unit})")
    sign = "positive" if result.junction.xi > 0 else "negative"
    ax.set_title(f"A {sign} voltage shrinks the field that switches" if len(curves) > 1 else "The field that switches")
    ax.legend(loc="upper right")
    return ax


def pulses_of(result: Characterisation) -> dict[str, PulseRecord]:
    """Return the pulses that were found, by name."""
    return {name: p for name, p in (("write", result.write), ("coin", result.coin)) if p is not None}
