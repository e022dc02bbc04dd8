"""Figures and a page of one junction's characterisation, drawn with ``drawing``, its page like ``page``.

A part that the junction does not have is left out, and the page says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import ArrayLike, NDArray

from voltaspin.cost.comparison import energy_text
from voltaspin.device.characterisation import Characterisation, ErrorCurve, PulseRecord
from voltaspin.plots.drawing import BLUE, DPI, GREEN, GREY, INK, ORANGE, PURPLE, STYLE, figure_png, mathtext
from voltaspin.report.page import data_uri, number, seconds, symbols

_PREFIXES = {-18: "a", -15: "f", -12: "p", -9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
_LANDMARKS = {"1 ms": 1e-3, "1 s": 1.0, "1 h": 3600.0, "1 d": 86400.0, "1 y": 3.156e7, "10 y": 3.156e8}
_FLOOR = 1e-13  #: below this an error rate is rounding
#: By how much a bar of the sensitivity figure moves a parameter: one percent where it is not named here.
_STEPS = {"B_x": (1e-3, "1 mT"), "B_y": (1e-3, "1 mT"), "B_z": (1e-3, "1 mT"), "temperature": (10.0, "10 K")}


def prefixed(values: ArrayLike, unit: str) -> tuple[NDArray[np.float64], str]:
    """Values in the unit whose prefix fits the largest: ``([5e-10], "s")`` to ``([500], "ps")``."""
    array = np.asarray(values, float)
    largest = float(np.max(np.abs(array), initial=0.0))
    power = 3 * math.floor(math.log10(largest * 1.0001) / 3) if largest > 0 else 0
    power = min(max(power, min(_PREFIXES)), max(_PREFIXES))
    return array / 10.0**power, _PREFIXES[power] + unit


def _text(value: float, unit: str, digits: int = 3) -> str:
    (scaled,), name = prefixed([value], unit)
    return f"{number(float(scaled), digits)} {name}"


def _figure(width: float, height: float, columns: int = 1, *, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    return figure, list(figure.subplots(1, columns, sharey=sharey, squeeze=False)[0])


# --- figures -------------------------------------------------------------------------------------------


def pulses_png(result: Characterisation) -> bytes:
    """Switching probability against the width of the pulse, a line per voltage."""
    assert result.curves is not None
    figure, (axes,) = _figure(9.6, 3.9)
    axes.axhline(0.5, color=GREY, lw=1)
    reach = max(c.widths[-1] for c in result.curves)
    for curve, colour in zip(result.curves, (GREY, BLUE, ORANGE), strict=True):
        widths, unit = prefixed([*curve.widths, reach], "s")
        label = f"{mathtext(curve.label)} = {curve.voltage:.3g} V"
        axes.plot(widths[:-1], curve.p01, color=colour, label=label)
        if curve.p10 != curve.p01:
            axes.plot(widths[:-1], curve.p10, color=colour, linestyle=(0, (4, 1.6)), lw=1.4)
    axes.set_xlim(0, widths[-1])
    axes.set_ylim(0, 1)
    axes.set_xlabel(f"pulse width ({unit})")
    axes.set_ylabel("switching probability")
    best = max(result.curves, key=lambda c: max(c.p01))
    at = best.widths[int(np.argmax(best.p01))]
    share = f"{100 * max(best.p01):.3g} %" if max(best.p01) < 0.999 else "More than 99.9 %"
    mirrored = all(c.p10 == c.p01 for c in result.curves)
    axes.set_title(
        f"{share} of the bits switch after {_text(at, 's')} at {mathtext(best.label)}"
        + ("" if mirrored else "; dashed: 1 to 0")
    )
    figure.legend(loc="outside lower center", ncols=3)
    return figure_png(figure)


def shmoo_png(result: Characterisation) -> bytes:
    """Write error rate over voltage and width, with the band around 1/2 and the two pulses."""
    grid = result.map
    assert grid is not None
    figure, (axes,) = _figure(7.6, 4.6)
    log_WER = np.log10(np.maximum(np.maximum(grid.WER, grid.error), _FLOOR))
    (*widths, _), unit = prefixed([*grid.widths, grid.widths[-1]], "s")
    scale = widths[0] / grid.widths[0]
    lowest, colours = min(float(log_WER.min()), -1.0), matplotlib.colormaps["Blues_r"]
    mesh = axes.pcolormesh(widths, grid.voltages, log_WER, cmap=colours, shading="gouraud", vmin=lowest, vmax=0)
    axes.grid(False)
    # The probabilities themselves, not their distance from 1/2, whose kink a coarse map would tear apart.
    bands = {"50 ± 5 %": (grid.p01, ORANGE)}
    if grid.p10 != grid.p01:
        bands = {"50 ± 5 %, 0 to 1": (grid.p01, ORANGE), "1 to 0": (grid.p10, PURPLE)}
    for name, (p, colour) in bands.items():
        if np.min(p) < 0.55 and np.max(p) > 0.45:
            axes.contourf(widths, grid.voltages, np.array(p), levels=[0.45, 0.55], colors=[colour], alpha=0.6)
            axes.plot([], [], color=colour, alpha=0.6, lw=7, label=name)
    for pulse, marker, name in ((result.write, "D", "write pulse"), (result.coin, "o", "coin pulse")):
        if pulse is not None:
            axes.plot(
                pulse.width * scale, pulse.voltage, marker, color="white", mec=INK, mew=1.4, ms=7, ls="", label=name,
                clip_on=False,
            )  # fmt: skip
    if grid.voltages[0] < result.oxide.limit < grid.voltages[-1]:
        axes.axhline(result.oxide.limit, color=INK, lw=1.2, linestyle="--", label="oxide breaks down")
    axes.set_xlim(widths[0], widths[-1])
    axes.set_ylim(grid.voltages[0], grid.voltages[-1])
    axes.set_xlabel(f"pulse width ({unit})")
    axes.set_ylabel("pulse voltage (V)")
    bar = figure.colorbar(mesh, ax=axes, pad=0.02)
    ends = range(math.ceil(lowest), 1)
    marks = [e for e in ends if e % max(1, math.ceil(len(ends) / 7)) == 0]
    bar.set_ticks(marks, labels=[f"$10^{{{e}}}$" if e else "1" for e in marks])
    bar.set_label("write error rate")
    bar.outline.set_visible(False)
    axes.set_title("Where a pulse writes (dark) and where it tosses a coin (orange)")
    figure.legend(loc="outside lower center", ncols=4)
    return figure_png(figure)


def bathtub_png(result: Characterisation) -> bytes:
    """Write error rate around the write pulse, against its voltage and against its width."""
    assert result.bathtub is not None
    assert result.write is not None
    figure, (left, right) = _figure(9.6, 3.5, 2, sharey=True)
    _bathtub(left, result.bathtub.voltage, result.write.voltage, "V", "pulse voltage")
    _bathtub(right, result.bathtub.width, result.write.width, "s", "pulse width")
    left.set_ylabel("write error rate")
    left.set_title(f"At {_text(result.write.width, 's')}; {number(result.write.WER, 2)} at the mark")
    right.set_title(f"At {_text(result.write.voltage, 'V')}")
    return figure_png(figure)


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


def retention_png(result: Characterisation) -> bytes:
    """Mean life of a bit against temperature and against a constant voltage."""
    kept = result.retention
    assert kept is not None
    figure, (left, right) = _figure(9.6, 3.5, 2, sharey=True)
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
    left.set_title("Heat shortens a bit's life" + (f": {life_text(kept.life)} at {T:g} K" if kept.life else ""))
    sign = "negative" if result.junction.xi > 0 else "positive"
    right.set_title(f"A {sign} voltage prolongs it" if result.junction.xi else "A voltage does not touch it")
    return figure_png(figure)


def life_text(life: float) -> str:
    """A mean life with the unit that reads best: ``"53 s"``, ``"4.1 d"``, ``"2·10⁹ y"``."""
    if life < 1:
        return _text(life, "s")
    units = {"s": (5400, 1), "h": (172800, 3600), "d": (3.156e7, 86400), "y": (math.inf, 3.156e7)}
    name, unit = next((name, unit) for name, (limit, unit) in units.items() if life < limit)
    return f"{number(life / unit)} {name}"


def energy_png(result: Characterisation) -> bytes:
    """Energy of both pulses by where it goes."""
    pulses = _shots(result)
    figure, (axes,) = _figure(9.6, 0.9 + 1.15 * len(pulses))
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
            axes.barh(place, value, height=0.82, color=colour, label=words if k == 0 else None)
            axes.annotate(
                energy_text(value * 1e12), (value, place), (5, 0), textcoords="offset points", va="center", fontsize=8.5
            )
    axes.set_xscale("log")
    axes.set_xlim(lowest / 3, highest * 4)
    low, high = axes.get_xlim()
    ticks = [10.0**e for e in range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)]
    axes.set_xticks(ticks, [energy_text(t * 1e12) for t in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    names = [f"{name} pulse\n{p.voltage:.3g} V, {_text(p.width, 's')}" for name, p in pulses.items()]
    axes.set_yticks([3.6 * k + 1 for k in range(len(pulses))], names)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    pulse = list(pulses.values())[-1]
    cell, line = pulse.energy.ohmic + pulse.energy.capacitive, pulse.energy.line
    more = f" and {energy_text(line * 1e12)} in the line" if line else ""
    axes.set_title(f"A {list(pulses)[-1]} pulse costs {energy_text(cell * 1e12)} in the cell{more}")
    figure.legend(loc="outside lower center", ncols=3)
    return figure_png(figure)


def sensitivity_png(result: Characterisation) -> bytes:
    """What a small change of each parameter does to both pulses: a bar each."""
    pulses = _shots(result)
    figure, panels = _figure(9.6, 3.5, len(pulses))
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
    return figure_png(figure)


def _name(parameter: str) -> str:
    return {"alpha_G": r"$\alpha_{\mathrm{G}}$", "xi": r"$\xi$"}.get(parameter, mathtext(parameter))


def astroid_png(result: Characterisation) -> bytes:
    """Stoner and Wohlfarth's switching fields, a curve per voltage, and the junction's own field."""
    curves = result.astroid
    assert curves is not None
    figure, (axes,) = _figure(6.4, 4.6)
    everything, unit = prefixed(curves[0].in_plane, "T")
    scale = float(np.max(everything)) / max(curves[0].in_plane)
    shades = matplotlib.colormaps["plasma"](np.linspace(0, 0.8, len(curves)))
    for curve, shade in zip(curves, shades, strict=True):
        axes.plot(
            scale * np.array(curve.in_plane),
            scale * np.array(curve.along_z),
            color=shade,
            label=f"{number(curve.voltage, 2)} V",
        )
    B = result.junction.B_bias
    axes.plot(
        scale * math.hypot(B[0], B[1]), scale * abs(B[2]), "o", color="white", mec=INK, mew=1.6, ms=7, ls="",
        label="the junction's field", clip_on=False,
    )  # fmt: skip
    axes.set_xlim(0)
    axes.set_ylim(0)
    axes.set_aspect("equal")
    axes.set_xlabel(f"in-plane field ({unit})")
    axes.set_ylabel(f"field along z ({unit})")
    sign = "positive" if result.junction.xi > 0 else "negative"
    axes.set_title(
        f"A {sign} voltage shrinks the field that switches" if len(curves) > 1 else "The field that switches"
    )
    axes.legend(loc="upper right")
    return figure_png(figure)


def _shots(result: Characterisation) -> dict[str, PulseRecord]:
    return {name: p for name, p in (("write", result.write), ("coin", result.coin)) if p is not None}


#: Figure: what draws it, the part that it needs, its caption.
_FIGURES: dict[str, tuple[Callable[[Characterisation], bytes], Callable[[Characterisation], object], str]] = {
    "pulses": (
        pulses_png, lambda r: r.curves,
        "Switching probability of a rectangular pulse. The bit is judged after a time of rest.",
    ),
    "shmoo": (
        shmoo_png, lambda r: r.map,
        "Write error rate of the direction that fails more often. Orange, and purple for the other "
        "direction where it differs: within 5 % of 1/2.",
    ),
    "bathtub": (bathtub_png, lambda r: r.bathtub, "Write error rate around the write pulse. Pale: numerical error."),
    "retention": (
        retention_png, lambda r: r.retention and any(r.retention.at_temperature + r.retention.at_voltage),
        "Mean life of a bit in the shallower well. The material follows assumed temperature laws; a constant "
        "voltage moves the barrier and nothing else.",
    ),
    "energy": (energy_png, _shots, "Energy of one pulse by where it goes. Resets and reads are not in it."),
    "sensitivity": (
        sensitivity_png, _shots,
        "First-order change for the step named at each bar; beyond some ten percent an error rate leaves this straight "
        "line. Temperature moves the thermal field alone.",
    ),
    "astroid": (astroid_png, lambda r: r.astroid, "Switching fields without thermal help; the two wells end there."),
}  # fmt: skip


def device_charts(result: Characterisation) -> dict[str, bytes]:
    """PNG bytes of every figure whose part exists, by name."""
    with matplotlib.rc_context(STYLE):
        return {name: draw(result) for name, (draw, part, _) in _FIGURES.items() if part(result)}


# --- page ----------------------------------------------------------------------------------------------

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Junction: {{ r.junction.name }}</title>
<style>
:root { --ink: #1f2430; --soft: #5a6273; --line: #dde1e8; --sans: Inter, "Segoe UI", Arial, "DejaVu Sans", sans-serif;
  color-scheme: light; }
body { margin: 0 auto; max-width: 1000px; padding: 32px 28px; background: #fbfbf9; color: var(--ink);
  font: 17px/1.55 Charter, "Sitka Text", Cambria, Georgia, serif; }
h1 { font-weight: 400; font-size: 34px; margin: 0 0 18px; overflow-wrap: anywhere; }
h2 { font: 600 17px/1.3 var(--sans); margin: 34px 0 8px; }
figure { margin: 30px 0; }
img { display: block; max-width: 100%; height: auto; }
figcaption, footer { color: var(--soft); font-size: 15px; margin-top: 8px; }
table { border-collapse: collapse; font: 14.5px/1.42 var(--sans); font-variant-numeric: tabular-nums; }
th, td { text-align: left; font-weight: 400; padding: 6px 22px 6px 0; border-bottom: 1px solid var(--line); }
</style>
</head>
<body>
<h1>{{ r.junction.name }}</h1>
<table>{% for name, value in facts %}<tr><th>{{ name|symbols }}</th><td>{{ value|symbols }}</td></tr>
{% endfor %}</table>
{% for name, uri, caption in figures %}
<figure><img src="{{ uri }}" alt="{{ caption }}"><figcaption>{{ caption }}</figcaption></figure>
{% endfor %}
{% if r.reasons %}<h2>What it does not have</h2>
<table>{% for part, reason in r.reasons.items() %}<tr><th>{{ part|symbols }}</th><td>{{ reason|symbols }}</td></tr>
{% endfor %}</table>{% endif %}
<footer><p>A macrospin under rectangular pulses, with{{ "" if r.spin_torque else "out" }} spin torque, judged {{ rest }}
after the pulse. All numbers stand in <code>device.json</code> beside this page.</p>
<p>{% for name, version in r.environment.items() %}{{ name }} {{ version }}{{ ", " if not loop.last }}{% endfor %}</p>
</footer>
</body>
</html>
"""


def _facts(result: Characterisation) -> list[tuple[str, str]]:
    d, facts = result.derived, []
    facts.append(("Delta, barrier", f"{number(d.Delta)}, {number(d.barrier)} k_B T"))
    facts.append(("B_k", _text(d.B_k, "T")))
    if d.V_c is not None:
        facts.append(("V_c", _text(d.V_c, "V")))
    if d.period is not None:
        facts.append(("turn about the in-plane field", _text(d.period, "s")))
    facts.append(("R_P, R_AP", f"{_text(d.R_P, 'Ω')}, {_text(d.R_AP, 'Ω')}"))
    for name, pulse in _shots(result).items():
        facts.append((f"{name} pulse", pulse.verdict))
        worn = "no life: above the breakdown field" if abs(pulse.voltage) > result.oxide.limit else "too long to tell"
        if pulse.oxide_life is not None:
            survived = pulse.oxide_life / pulse.width
            count = number(survived, 2) if survived < 1e18 else "more than 10¹⁸"
            worn = f"{count} pulses until a share of {result.oxide.failure:g} has broken (assumed anchor)"
        facts.append((f"oxide under it, {name}", worn))
    if result.coin and result.coin.band:
        low, high = result.coin.band
        facts.append(("widths within 0.01 of 1/2", f"{_text(low, 's')} to {_text(high, 's')}"))
    if result.retention and result.retention.life:
        facts.append(("mean life of a bit", life_text(result.retention.life)))
    if result.read:
        r = result.read
        facts.append(
            (
                f"read at {number(r.voltage)} V for {seconds(r.integration_time)}",
                f"{_text(abs(r.P), 'A')} or {_text(abs(r.AP), 'A')}, margin {_text(r.margin, 'A')}, "
                f"error {number(r.error, 2)}" + (f", disturb {number(r.disturb, 2)}" if r.disturb is not None else ""),
            )
        )
    return facts


def device_page(result: Characterisation, pictures: dict[str, bytes]) -> str:
    """One self-contained HTML page: what follows from the parameters, the figures, and what does not exist.

    Args:
        result: every number.
        pictures: of :func:`device_charts`.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    environment.filters["symbols"] = symbols
    figures = [(name, data_uri(data), _FIGURES[name][2]) for name, data in pictures.items()]
    template = environment.from_string(_PAGE)
    return template.render(r=result, facts=_facts(result), figures=figures, rest=seconds(result.relax))
