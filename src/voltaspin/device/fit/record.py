"""Any fit of a junction, by the kind of its measurements, and its record, ``fit.json``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

from voltaspin.core.errors import InputError
from voltaspin.core.result import Part, Result
from voltaspin.device.fit import field, resistance, switching
from voltaspin.device.fit.kinds import KINDS
from voltaspin.device.fit.likelihood import FitResult
from voltaspin.device.fit.tables import Measurements, joined
from voltaspin.device.junction import Junction

#: Units in which parameters are printed, with the factor from SI.
_SHOWN = {
    "J/(V m)": ("fJ/(V m)", 1e15), "J/m^3": ("kJ/m^3", 1e-3), "T": ("mT", 1e3), "T/V": ("mT/V", 1e3),
    "ohm m^2": ("ohm um^2", 1e12), "ohm": ("kohm", 1e-3), "1": ("", 1.0),
}  # fmt: skip


def fit_measurements(
    found: Measurements,
    start: Junction,
    *,
    free: Sequence[str] | None = None,
    degree: int | None = None,
    spin_torque: bool = False,
    quick: bool = False,
    progress: Callable[[int, float], None] | None = None,
    on_quick: Callable[[FitResult], None] | None = None,
) -> tuple[FitResult, Any]:
    """Fit a junction to measurements of any kind.

    Args:
        found: the measurements.
        start: the junction at which the fit starts, which keeps the values of what is not free.
        free: parameters to fit; default: those of the kind.
        degree, spin_torque, quick, progress, on_quick: of switching probabilities, as
            :func:`voltaspin.device.fit.switching.fit_switching` takes them.

    Returns:
        The fit, and its data as :func:`voltaspin.plots.fit.fit_overlay` takes them.

    Raises:
        InputError: what the kind has no use for, or data that the fit refuses.
    """
    kind, sets = found.kind, found.sets
    if free is not None and not KINDS[kind].free:
        raise InputError(f"free={tuple(free)}: a {kind} fit has no choice of parameters; leave it out")
    of_switching = {"degree": degree is not None, "spin_torque": spin_torque, "quick": quick}
    if kind != "switching" and any(of_switching.values()):
        option = next(name for name, given in of_switching.items() if given)
        raise InputError(f"{option}= is of a switching fit, and this is one of {kind}; leave it out")
    chosen: dict[str, Any] = {} if free is None else {"free": free}
    if kind == "switching":
        how: dict[str, Any] = {"spin_torque": spin_torque, "quick": quick, "progress": progress, "on_quick": on_quick}
        return switching.fit_switching(sets, start, degree=degree, **how, **chosen), sets
    if kind == "resistance":
        return resistance.fit_resistance(sets, start, **chosen), sets
    if kind == "tmr":
        return resistance.fit_TMR(data := joined(sets), start), data
    if kind == "spread":
        return resistance.fit_spread(data := joined(sets)), data
    voltages = [joined([one for one in sets if one.voltage == V]) for V in sorted({one.voltage for one in sets})]
    if len(voltages) == 1:
        return field.fit_switching_fields(voltages[0], start, **chosen), voltages
    if free is not None:
        raise InputError(f"free={tuple(free)}: fields at {len(voltages)} voltages fit xi and all that goes with it")
    return field.fit_xi(voltages, start), voltages


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
        unit, factor = _SHOWN.get(self.unit, (self.unit, 1.0))
        error = self.error * factor
        places = min(max(0, 1 - math.floor(math.log10(error))), 12) if error > 0 else 3
        value, low, high = (f"{x * factor:.{places}f}" for x in (self.value, self.low, self.high))
        return value, f"{error:.{places}f}", low, high, unit


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


class FitRecord(Result):
    """A fit of a junction to measurements.

    Args:
        measurement: kind of the measurements; points: how many; files: what was read from each.
        parameters: by name; covariance, correlation: in that order.
        approximate: whether it is a quick answer.
        chi2, dof, p_value: how well the model fits; None where the data brought no errors.
        notes: what a reader must know.
        start, junction: the junction before and after, as its file has it.
        fixed, degree, spin_torque: options of the fit; command: the command line.
    """

    KIND: ClassVar[str] = "fit"

    measurement: str
    parameters: dict[str, FittedParameter]
    approximate: bool
    interval: str
    covariance: tuple[tuple[float, ...], ...]
    correlation: tuple[tuple[float, ...], ...]
    chi2: float | None
    dof: int
    p_value: float | None
    notes: tuple[str, ...]
    start: dict[str, Any]
    junction: dict[str, Any] | None
    points: int
    files: tuple[dict[str, Any], ...]
    fixed: tuple[str, ...]
    degree: int | None
    spin_torque: bool
    command: tuple[str, ...]

    @classmethod
    def of(
        cls, result: FitResult, found: Measurements, start: Junction, *, notes: Sequence[str], **settings: Any
    ) -> Self:
        """Return the record of a fit of ``found`` that began at ``start``; ``settings`` are its further fields."""
        titled = ", ".join(file["name"] for file in found.files)
        made = None if result.junction is None else replace(result.junction, name=f"{start.name}, fitted to {titled}")
        return cls(
            measurement=found.kind, parameters=fitted_parameters(result), approximate=result.approximate,
            interval="95 %", covariance=result.covariance.tolist(), correlation=result.correlation.tolist(),
            chi2=result.chi2, dof=result.dof, p_value=result.p_value, notes=tuple(notes), start=start.to_json(),
            junction=None if made is None else made.to_json(), points=found.points, files=found.files, **settings,
        )  # fmt: skip

    def __str__(self) -> str:
        return "\n".join([*_table(_rows(self.parameters)), self._quality(), *self.notes])

    def _quality(self) -> str:
        if self.chi2 is None:
            return f"{self.points} points; no errors in the data, so their scatter gives those of the parameters"
        told = "" if self.p_value is None else f", probability {self.p_value:.2g}"
        return f"{self.points} points; chi2 {self.chi2:.4g} for {self.dof} degrees of freedom{told}"


def in_short(result: FitResult) -> str:
    """The parameters of a fit with their standard errors, in one line."""
    return ", ".join(f"{row[0]} {row[1]} +- {row[2]} {row[4]}".rstrip() for row in _rows(fitted_parameters(result))[1:])


def _rows(parameters: dict[str, FittedParameter]) -> list[tuple[str, ...]]:
    """The titles, then value, standard error, 95 % interval and unit of each parameter."""
    rows: list[tuple[str, ...]] = [("parameter", "value", "error", "95 % interval", "unit")]
    for name, p in parameters.items():
        value, error, low, high, unit = p.texts()
        rows.append((name, value, error, f"{low} to {high}", unit))
    return rows


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    """One line for each row."""
    wide = [max(len(row[k]) for row in rows) + 2 for k in range(4)]
    return [
        f"{row[0]:<{wide[0]}}{row[1]:>{wide[1]}}{row[2]:>{wide[2]}}{row[3]:>{wide[3]}}  {row[4]}".rstrip()
        for row in rows
    ]
