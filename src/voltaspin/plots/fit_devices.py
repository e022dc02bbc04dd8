"""Fitted parameters of many devices: each with its interval, and the spread between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

from voltaspin.device.fit.compare import DESCRIBES
from voltaspin.device.fit.parameters import printed
from voltaspin.plots.drawing import BLUE, GREEN, GREY, ORANGE, figure, mathtext, split

if TYPE_CHECKING:
    from voltaspin.device.fit.devices import DeviceFits, DeviceRow

_NAMED = 30  #: devices up to which each is named
_NAMES = {
    "xi": r"$\xi$", "Delta": r"$\Delta$", "alpha_G": r"$\alpha_{\mathrm{G}}$", "TMR0": "TMR$_0$",

    "tau_0": r"$\tau_0$", "tau_D": r"$\tau_{\mathrm{D}}$",
    "B_z_per_volt": r"d$B_{\mathrm{z}}$/d$V$", "resistance_spread": "spread of R", "TMR_spread": "spread of TMR",
}  # fmt: skip


def symbol(parameter: str) -> str:
    """Return the symbol of a fitted parameter; a direction behind it stays."""
    name, space, direction = parameter.partition(" ")
    return _NAMES.get(name, mathtext(name)) + space + direction.replace("->", "\N{RIGHTWARDS ARROW}")


def _size(result: DeviceFits) -> tuple[float, float]:
    shown = max(len(_names(result)), 1)
    return min(2.0 + 2.6 * shown, 14.0), min(1.6 + 0.28 * max(len(result.devices), 4), 9.0)


def _names(result: DeviceFits) -> list[str]:
    return list(dict.fromkeys(name for row in result.devices for name in row.parameters))


def device_label(device: str, number: int | None = None) -> str:
    """The name of a device, or its number where the font lacks a letter of it."""
    known = all(letter.isprintable() and ord(letter) < 0x250 for letter in device)
    numbered = "device" if number is None else f"device {number}"
    return device[:24].replace("$", r"\$") if known else numbered


def _label(number: int, row: DeviceRow) -> str:
    return device_label(row.device, number)


@figure(_size)
def device_fits(result: DeviceFits, *, ax: Axes) -> Axes:
    """Draw every parameter of every device with its 95 % interval, a panel for each parameter.

    The line is the mean, and the band one standard deviation between devices on either side. Devices that the model
    does not describe are orange. Many devices are ordered by their value and not named.

    Args:
        result: the fits.
        ax: to draw into.
    """
    names = _names(result)
    panels = split(ax, 1, max(len(names), 1), sharey=len(result.devices) <= _NAMED)[0]
    for panel, name in zip(panels, names, strict=False):
        rows = [row for row in result.devices if name in row.parameters]
        if len(result.devices) > _NAMED:
            rows.sort(key=lambda row: row.parameters[name].value)
            places = list(range(len(rows)))
        else:
            places = [k for k, row in enumerate(result.devices) if name in row.parameters]
        unit, factor = printed(rows[0].parameters[name].unit)
        for good, colour in ((True, BLUE), (False, ORANGE)):
            here = [k for k, row in enumerate(rows) if (row.p_value is None or row.p_value >= DESCRIBES) is good]
            if not here:
                continue
            value, low, high = (
                factor * np.array([getattr(rows[k].parameters[name], end) for k in here])
                for end in ("value", "low", "high")
            )
            at = np.array([places[k] for k in here])
            panel.errorbar(value, at, xerr=(value - low, high - value), fmt="o", ms=4, lw=1.2, color=colour)
        for spread in result.spreads:
            if spread.parameter == name:
                mean, std = factor * spread.mean.value, factor * spread.between.value
                panel.axvline(mean, color=GREY, lw=1)
                panel.axvspan(mean - std, mean + std, color=GREEN, alpha=0.15, lw=0)
        panel.set_xlabel(f"{symbol(name)} [{unit}]" if unit else symbol(name))
        panel.set_yticks([])
        panel.locator_params(axis="x", nbins=4)
    first = panels[0]
    if len(result.devices) <= _NAMED:
        first.set_yticks(
            range(len(result.devices)), list(map(_label, range(1, 1 + len(result.devices)), result.devices))
        )
        first.set_ylim(len(result.devices) - 0.4, -0.6)
    else:
        first.set_ylabel(f"{len(result.devices)} devices, by value")
    first.set_title(
        f"{result.model} (blue: describes the data, orange: does not)" if result.model else "95 % intervals"
    )
    return ax
