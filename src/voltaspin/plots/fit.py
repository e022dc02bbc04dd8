"""Measurements and the fitted junction's answer to them, in one picture: trust a fit after a look at it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.device.density import COARSER, least_degree
from voltaspin.device.fit.compare import DESCRIBES, chance
from voltaspin.device.fit.data import (
    ResistanceData,
    ResistanceSpread,
    SwitchingData,
    SwitchingFieldData,
    TMRData,
)
from voltaspin.device.fit.field import switched
from voltaspin.device.fit.goodness import signed_root
from voltaspin.device.fit.likelihood import FitResult
from voltaspin.device.fit.parameters import fitted_parameters
from voltaspin.device.fit.predictions import predictions
from voltaspin.device.fit.resistance import resistance
from voltaspin.device.junction import Junction, Well
from voltaspin.plots.drawing import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, figure, split
from voltaspin.plots.fit_devices import device_label, symbol

Measured = SwitchingData | ResistanceData | TMRData | SwitchingFieldData | ResistanceSpread
Predict = Callable[[Sequence[SwitchingData]], NDArray[np.float64]]
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#56b4e9", "#cc79a7", "#e69f00", INK)
MOST_PANELS = 24  #: devices of one picture of overlays
_PRINTED = (("ohm", "Ω"), ("um", "µm"), ("^2", "²"), ("^3", "³"))
#: Quantity of switching data that may run along the axis: SI to shown, label, how a curve is named after it.
_AXES = {
    "width": (1e9, "pulse width (ns)", "{:.3g} ns"),
    "voltage": (1.0, "pulse voltage (V)", "{:.3g} V"),
    "B_z": (1e3, "applied field along z (mT)", "$B_z$ {:.3g} mT"),
    "B_x": (1e3, "applied field along x (mT)", "$B_x$ {:.3g} mT"),
}


@figure((9.6, 4.2))
def fit_overlay(
    result: FitResult,
    data: Measured | Sequence[Measured],
    *,
    ax: Axes,
    degree: int | None = None,
    spin_torque: bool = False,
    predict: Predict | None = None,
) -> Axes:
    """Draw data with error bars, the fitted model through them, the residuals, and the parameters.

    Args:
        result: of a fit in :mod:`voltaspin.device.fit.switching`, ``resistance`` or ``field``.
        data: what was fitted; several data sets of one kind together.
        ax: to draw into.
        degree, spin_torque: as in the fit of switching probabilities.
        predict: P_sw of every row of data sets; where absent, by the fitted junction.

    Raises:
        InputError: no data, data of several kinds, or a result without the junction that its data need.
    """
    sets: list[Any] = list(data) if isinstance(data, list | tuple) else [data]
    if not sets or len({type(one) for one in sets}) > 1:
        raise InputError("give data sets of one kind, those that were fitted")
    kind = type(sets[0])
    junction = result.junction
    if junction is None and kind is not ResistanceSpread and predict is None:
        raise InputError(f"{kind.__name__} are drawn with the fitted junction, and this result has none; give its own")
    place, words = split(ax, 1, 2, width_ratios=(3.4, 1))[0]
    if kind is ResistanceSpread:
        left, right = split(place, 1, 2)[0]
        _draw_spread(left, right, result, sets[0])
    elif kind is SwitchingFieldData:
        assert junction is not None  # a result without one was refused
        _draw_fields(place, result, junction, sets)
    else:
        above, below = split(place, 2, 1, height_ratios=(3, 1), sharex=True)[:, 0]
        below.axhline(0, color=GREY, lw=1)
        if kind is SwitchingData:
            _draw_switching(above, below, sets, predict or _by_junction(junction, degree, spin_torque))
        else:
            assert junction is not None  # a result without one was refused
            _draw_curves(above, below, junction, sets)
    _write_parameters(words, result)
    return ax


def _write_parameters(axes: Axes, result: FitResult) -> None:
    axes.set_axis_off()
    lines = []
    for name, parameter in fitted_parameters(result).items():
        value, error, _, _, unit = parameter.texts()
        for plain, printed in _PRINTED:
            unit = unit.replace(plain, printed)
        lines.append(f"{symbol(name)} = {value} ± {error} {unit}".rstrip())
    if result.chi2 is not None and result.dof > 0:
        lines += ["", rf"$\chi^2$ = {result.chi2:.3g} for {result.dof} d.o.f."]
    if result.p_value is not None:
        lines.append(f"probability {chance(result.p_value)}")
    axes.text(0, 1, "Fitted, ± 1 σ", va="top", fontweight="bold", fontsize=10.5, transform=axes.transAxes)
    axes.text(0, 0.9, "\n".join(lines), va="top", linespacing=1.7, fontsize=9, transform=axes.transAxes)


def _by_junction(junction: Junction | None, degree: int | None, spin_torque: bool) -> Predict:
    """Predictions of a fitted macrospin."""
    assert junction is not None  # a result without one was refused
    fine = least_degree(junction) if degree is None else degree

    def predict(sets: Sequence[SwitchingData]) -> NDArray[np.float64]:
        # 80 % of the harmonics are true to less than the width of a line; residuals take all of them.
        share = COARSER if not any(one.P_sw.any() for one in sets) else 1.0
        return predictions([junction], sets, degree=max(int(share * fine), 4), spin_torque=spin_torque)[0]

    return predict


# --- switching probabilities ---------------------------------------------------------------------------


def _draw_switching(above: Axes, below: Axes | None, sets: Sequence[Any], predict: Predict) -> None:
    """One curve for each setting of what does not run along the axis; at most as many as there are colours.

    Without ``below`` it is a small panel: no residuals, no legend.
    """
    along = max(_AXES, key=lambda name: len(np.unique(np.concatenate([getattr(one, name) for one in sets]))))
    others = [name for name in _AXES if name != along]
    settings = np.unique(np.concatenate([np.stack([getattr(s, o) for o in others], axis=1) for s in sets]), axis=0)
    named = [k for k in range(len(others)) if len(np.unique(settings[:, k])) > 1] or [0]
    spaced = np.linspace(0, len(settings) - 1, min(len(settings), len(_COLOURS))).round().astype(int)
    shown = settings[np.unique(spaced)]
    factor, label, _ = _AXES[along]
    span = np.concatenate([getattr(one, along) for one in sets])
    every = predict(sets)
    for data in sets:
        up = data.initial == "up"
        model, every = every[: len(data)], every[len(data) :]
        off = signed_root(data.counts, data.trials, model)
        for colour, setting in zip(_COLOURS, shown, strict=False):
            here = np.all([getattr(data, o) == v for o, v in zip(others, setting, strict=True)], axis=0)
            if not here.any():
                continue
            x = getattr(data, along)[here]
            marks: Any = {"color": colour, "mfc": colour if up else "white", "marker": "o" if up else "s", "ms": 4.5}
            name = ", ".join(_AXES[others[k]][2].format(setting[k] * _AXES[others[k]][0]) for k in named)
            name += "" if len(sets) == 1 else ", up" if up else ", down"
            above.errorbar(x * factor, data.P_sw[here], data.error[here], ls="", elinewidth=1, label=name, **marks)
            if below is not None:
                below.plot(x * factor, off[here], ls="", **marks)
            ends = x if np.ptp(x) > 0 else span  # a pulse that is alone in its setting
            points = 80 if along == "width" else 40 if along == "voltage" else 17
            dense = np.unique(np.linspace(ends.min(), ends.max(), points))
            query = dict(zip(others, setting, strict=True)) | {along: dense}
            curve = predict([replace(data, P_sw=np.zeros(len(dense)), trials=1, **query)])
            above.plot(dense * factor, curve, color=colour, lw=1.4, ls="-" if up else (0, (4, 1.6)))
    above.set_ylim(0, 1)
    if below is None:
        above.set_xlabel(label)
        return
    above.set_ylabel("switching probability")
    above.legend(fontsize=8, ncols=2 if len(shown) * len(sets) > 4 else 1)
    below.set_xlabel(label)
    below.set_ylabel("off by (√deviance)")


@dataclass(frozen=True)
class Panel:
    """One device of a picture of many.

    Args:
        title: its name.
        data: switching probabilities, as they were fitted.
        predict: of its fit; p_value: probability of the fit, where it was judged.
    """

    title: str
    data: Sequence[SwitchingData]
    predict: Predict
    p_value: float | None = None


def _grid_of(panels: Sequence[Panel]) -> tuple[int, int]:
    columns = min(math.ceil(math.sqrt(1.5 * len(panels))), 6)
    return math.ceil(len(panels) / columns), columns


@figure(lambda panels: (2.3 * max(_grid_of(panels)[1], 2), 0.3 + 1.9 * _grid_of(panels)[0]))
def device_overlays(panels: Sequence[Panel], *, ax: Axes) -> Axes:
    """Draw the data and the fit of every device in a panel of its own; the title is orange where the model is off.

    Args:
        panels: at most :data:`MOST_PANELS`.
        ax: to draw into.

    Raises:
        InputError: no panel, or too many.
    """
    if not 1 <= len(panels) <= MOST_PANELS:
        raise InputError(f"{len(panels)} panels: give 1 to {MOST_PANELS} devices")
    places = split(ax, *_grid_of(panels), sharey=True)
    for place, panel in zip_longest(places.flat, panels):
        if panel is None:
            place.set_axis_off()
            continue
        _draw_switching(place, None, panel.data, panel.predict)
        good = panel.p_value is None or panel.p_value >= DESCRIBES
        place.set_title(device_label(panel.title), fontsize=8, color=INK if good else ORANGE)
        place.xaxis.label.set_size(7)
        place.tick_params(labelsize=7)
    for place in places[:, 0]:
        place.set_ylabel(r"$P_{\mathrm{sw}}$", fontsize=8)
    return ax


# --- resistance ----------------------------------------------------------------------------------------


def _draw_curves(above: Axes, below: Axes, junction: Junction, sets: Sequence[Any]) -> None:
    weighed = all(one.error is not None for one in sets)
    for data in sets:
        is_TMR = isinstance(data, TMRData)
        for state, colour, marker in (("P", BLUE, "o"), ("AP", ORANGE, "s")):
            here = np.full(len(data), state == "P") if is_TMR else data.state == state
            if not here.any():
                continue
            V = np.asarray(data.voltage)[here]
            dense = np.linspace(V.min(), V.max(), 120)
            if is_TMR:
                y, factor = data.TMR[here], 1.0
                model, curve = (np.array([junction.TMR(float(v)) for v in grid]) for grid in (V, dense))
            else:
                y, factor = data.R[here], 1e-3
                model, curve = (
                    resistance(junction, ResistanceData(voltage=grid, R=np.ones(len(grid)), state=np.array(state)))
                    for grid in (V, dense)
                )
            error = data.error[here] if data.error is not None else None
            off = (y - model) / error if weighed else 100 * (y / model - 1)
            label = None if is_TMR else {"P": "parallel", "AP": "antiparallel"}[state]
            above.errorbar(
                V, y * factor, None if error is None else error * factor, fmt=marker, color=colour, ms=4,
                elinewidth=1, label=label,
            )  # fmt: skip
            above.plot(dense, curve * factor, color=colour, lw=1.4)
            below.plot(V, off, marker, color=colour, ms=4)
    if isinstance(sets[0], TMRData):
        above.set_ylabel("TMR")
    else:
        above.set_ylabel("resistance (kΩ)")
        above.legend()
    above.set_ylim(bottom=0)
    below.set_xlabel("voltage (V)")
    below.set_ylabel("off by (σ)" if weighed else "off by (%)")


def _draw_spread(left: Axes, right: Axes, result: FitResult, data: ResistanceSpread) -> None:
    """Logarithms in a histogram under the normal densities that were fitted."""
    p = {name: estimate.value for name, estimate in result.parameters.items()}
    ratio_spread = p["TMR_spread"] * p["TMR"] / (1 + p["TMR"])
    panels: list[tuple[Axes, NDArray[np.float64], float, float, str, str]] = [
        (left, data.R_P * 1e-3, p["R_P"] * 1e-3, p["resistance_spread"], BLUE, "$R_{\\mathrm{P}}$ (kΩ)"),
        (right, data.R_AP / data.R_P, 1 + p["TMR"], ratio_spread, ORANGE, "$R_{\\mathrm{AP}}$ / $R_{\\mathrm{P}}$"),
    ]
    for axes, x, median, spread, colour, label in panels:
        edges = np.exp(np.linspace(np.log(x.min()), np.log(x.max()), min(max(len(x) // 15, 6), 30) + 1))
        counts = np.histogram(x, edges)[0]
        axes.stairs(counts / len(x) / np.diff(edges), edges, color=colour, fill=True, alpha=0.3)
        grid = median * np.exp(np.linspace(-3.5, 3.5, 160) * spread)
        density = np.exp(-0.5 * (np.log(grid / median) / spread) ** 2) / (grid * spread * math.sqrt(2 * math.pi))
        axes.plot(grid, density, color=colour, lw=1.6)
        axes.axvline(median, color=GREY, lw=1)
        axes.set_xlabel(label)
        axes.set_yticks([])
    left.set_ylabel("density of devices")
    left.set_title(f"{len(data)} devices")


# --- switching fields ----------------------------------------------------------------------------------


def _draw_fields(ax: Axes, result: FitResult, junction: Junction, sets: Sequence[Any]) -> None:
    """Share of ramps that have switched, in steps, under the fitted one; each direction has its own field axis."""
    both: tuple[tuple[str, Well], ...] = (("up_to_down", "up"), ("down_to_up", "down"))
    ways = [way for way in both if any(len(getattr(one, way[0])) for one in sets)]
    panels = split(ax, 2, len(ways), height_ratios=(3, 1), sharex="col", sharey="row")
    per_volt = result.parameters["B_z_per_volt"].value if "B_z_per_volt" in result.parameters else 0.0
    x, y, z = junction.B_bias
    for column, (name, initial) in enumerate(ways):
        above, below = panels[:, column]
        for colour, data in zip(_COLOURS, sorted(sets, key=lambda one: one.voltage), strict=False):
            fields = getattr(data, name)
            if not len(fields):
                continue
            # A torque shifts the field per volt. Falling ramps pass large fields first.
            here = replace(junction, B_bias=(x, y, z + per_volt * data.voltage))
            ordered = np.sort(fields)[:: -1 if initial == "up" else 1]
            share = (np.arange(len(fields)) + 0.5) / len(fields)
            span = np.ptp(fields) + 1e-9
            dense = np.linspace(fields.min() - 0.3 * span, fields.max() + 0.3 * span, 200)
            curve, model = (
                switched(here, B, ramp_rate=data.ramp_rate, initial=initial, voltage=data.voltage)
                for B in (dense, ordered)
            )
            above.plot(ordered * 1e3, share, "o", color=colour, mfc="white", ms=3, mew=0.8)
            above.plot(dense * 1e3, curve, color=colour, lw=1.4, label=f"{data.voltage:.3g} V")
            below.plot(ordered * 1e3, share - model, color=colour, lw=1.2)
        above.set_title("up to down" if initial == "up" else "down to up")
        above.set_ylim(0, 1)
        above.legend(fontsize=8)
        below.axhline(0, color=GREY, lw=1)
        below.set_xlabel("applied field along z (mT)")
        if column == 0:
            above.set_ylabel("share switched")
            below.set_ylabel("off by")
