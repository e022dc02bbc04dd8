"""Fitted parameters as a record has them, and as they are printed."""

from __future__ import annotations

import math
from collections.abc import Sequence

from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Part
from voltaspin.device.fit.likelihood import FitResult

#: Units in which parameters are printed, with the factor from SI.
_SHOWN = {
    "J/(V m)": ("fJ/(V m)", 1e15), "J/m^3": ("kJ/m^3", 1e-3), "T": ("mT", 1e3), "T/V": ("mT/V", 1e3),
    "ohm m^2": ("ohm um^2", 1e12), "ohm": ("kohm", 1e-3), "1": ("", 1.0), "s": ("ns", 1e9),
}  # fmt: skip


class FittedParameter(Part):
    """One parameter: its value, standard error and 95 % interval in its unit, and the error of the solution."""

    value: float
    error: float
    low: float
    high: float
    unit: str
    numerical_error: float | None = None

    def texts(self) -> tuple[str, str, str, str, str]:
        """Return value, error, ends of the interval and unit as they are printed: to two digits of the error."""
        unit, factor = printed(self.unit)
        error = self.error * factor
        places = min(max(0, 1 - math.floor(math.log10(error))), 12) if error > 0 else 3
        value, low, high = (f"{x * factor:.{places}f}" for x in (self.value, self.low, self.high))
        return value, f"{error:.{places}f}", low, high, unit


def printed(unit: str) -> tuple[str, float]:
    """Return the unit in which an SI unit is printed, and the factor to it."""
    return _SHOWN.get(unit, (unit, 1.0))


def shown_estimate(estimate: Estimate) -> str:
    """Return an estimate in the unit in which it is printed."""
    unit, factor = printed(estimate.unit)
    return format(estimate.scaled(factor, unit), ".3g")


def fitted_parameters(result: FitResult) -> dict[str, FittedParameter]:
    """The parameters of a fit as its record has them."""
    numerical = result.numerical or {}
    return {
        name: FittedParameter(
            value=e.value, error=e.standard_error, low=e.low, high=e.high, unit=e.unit,
            numerical_error=numerical.get(name),
        )
        for name, e in result.parameters.items()
    }  # fmt: skip


def in_short(result: FitResult) -> str:
    """The parameters of a fit with their standard errors, in one line."""
    return ", ".join(
        f"{row[0]} {row[1]} +- {row[2]} {row[4]}".rstrip() for row in parameter_rows(fitted_parameters(result))[1:]
    )


def parameter_rows(parameters: dict[str, FittedParameter]) -> list[tuple[str, ...]]:
    """The titles, then value, standard error, 95 % interval and unit of each parameter."""
    rows: list[tuple[str, ...]] = [("parameter", "value", "error", "95 % interval", "unit")]
    for name, p in parameters.items():
        value, error, low, high, unit = p.texts()
        rows.append((name, value, error, f"{low} to {high}", unit))
    return rows


def table(rows: Sequence[Sequence[str]], *, words: int = 1) -> list[str]:
    """Return one line for each row.

    Args:
        rows: cells as texts; the first row has the titles.
        words: how many columns at the start are words, which stand to the left, as the last column does.
    """
    last = len(rows[0]) - 1
    wide = [max(len(row[k]) for row in rows) for k in range(last)]
    return [
        "  ".join([*(f"{row[k]:{'<' if k < words else '>'}{wide[k]}}" for k in range(last)), row[last]]).rstrip()
        for row in rows
    ]
