"""The record of a fit, ``fit.json``."""

from __future__ import annotations

from typing import Any, ClassVar

from voltaspin.core.result import Part, Result


class FittedParameter(Part):
    """One parameter: its value, standard error and 95 % interval in its unit, and the error of the solution."""

    value: float
    error: float
    low: float
    high: float
    unit: str
    numerical_error: float | None = None


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
