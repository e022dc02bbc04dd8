"""Any fit of a junction, by the kind of its measurements, and its record, ``fit.json``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.result import Result
from voltaspin.device.density import least_degree
from voltaspin.device.fit import field, resistance
from voltaspin.device.fit.analytic import Analytic
from voltaspin.device.fit.compare import Comparison, chance, fit_models
from voltaspin.device.fit.data import Floats, SwitchingData
from voltaspin.device.fit.kinds import KINDS
from voltaspin.device.fit.likelihood import FitResult
from voltaspin.device.fit.model import FittedModel, Settings
from voltaspin.device.fit.models import MODELS
from voltaspin.device.fit.parameters import FittedParameter, fitted_parameters, parameter_rows, table
from voltaspin.device.fit.predictions import predictions
from voltaspin.device.fit.tables import Measurements, joined
from voltaspin.device.junction import Junction


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A fit of one device.

    Args:
        result: of the model with the lowest criterion.
        data: as :func:`voltaspin.plots.fit.fit_overlay` takes them.
        junction: of the macrospin, if it was fitted.
        model: the fitted model, of switching probabilities.
        comparison: of several models.
    """

    result: FitResult
    data: Any
    junction: Junction | None
    model: FittedModel | None = None
    comparison: Comparison | None = None


def fit_measurements(
    found: Measurements,
    start: Junction,
    *,
    free: Sequence[str] | None = None,
    models: Sequence[str] = ("vcma",),
    on_fit: Callable[[str, FittedModel | None], Any] | None = None,
    **of_switching: Any,
) -> Fitted:
    """Fit a junction to measurements of any kind.

    Args:
        found: the measurements.
        start: the junction at which the fit starts, which keeps the values of what is not free.
        free: parameters to fit; default: those of the kind.
        models: of switching probabilities, keys of :data:`voltaspin.device.fit.models.MODELS`.
        on_fit: as :func:`voltaspin.device.fit.compare.fit_models`.
        of_switching: ``degree``, ``spin_torque``, ``quick``, ``progress`` and ``on_quick`` of a macrospin, as
            :func:`voltaspin.device.fit.switching.fit_switching` takes them.

    Raises:
        InputError: what the kind has no use for, or data that the fit refuses.
    """
    kind, sets = found.kind, found.sets
    if free is not None and not KINDS[kind].free:
        raise InputError(f"free={tuple(free)}: a {kind} fit has no choice of parameters; leave it out")
    asked = {name: of_switching.get(name) not in (None, False) for name in ("degree", "spin_torque", "quick")}
    asked["free"] = free is not None
    if kind == "switching":
        if "vcma" not in models and any(asked.values()):
            option = next(name for name, given in asked.items() if given)
            raise InputError(f"{option}= is of the macrospin, and model={','.join(models)} has none; leave it out")
        settings = Settings(constants=found.constants, free=free, **of_switching)
        compared = fit_models(sets, start, models, settings, on_fit=on_fit)
        best = compared.fitted[0]
        junctions = [one.result.junction for one in compared.fitted if one.result.junction is not None]
        return Fitted(result=best.result, data=sets, junction=junctions[0] if junctions else None, model=best,
                      comparison=compared.comparison)  # fmt: skip
    if tuple(models) != ("vcma",):
        raise InputError(
            f"model={','.join(models)} is of switching probabilities, and these are of {kind}; leave it out"
        )
    if any(given for name, given in asked.items() if name != "free"):
        option = next(name for name, given in asked.items() if given)
        raise InputError(f"{option}= is of a switching fit, and this is one of {kind}; leave it out")
    chosen: dict[str, Any] = {} if free is None else {"free": free}
    data: Any = sets
    if kind == "resistance":
        result = resistance.fit_resistance(sets, start, **chosen)
    elif kind == "tmr":
        result = resistance.fit_TMR(data := joined(sets), start)
    elif kind == "spread":
        result = resistance.fit_spread(data := joined(sets))
    else:
        data = [joined([one for one in sets if one.voltage == V]) for V in sorted({one.voltage for one in sets})]
        if len(data) == 1:
            result = field.fit_switching_fields(data[0], start, **chosen)
        elif free is not None:
            raise InputError(f"free={tuple(free)}: fields at {len(data)} voltages fit xi and all that goes with it")
        else:
            result = field.fit_xi(data, start)
    return Fitted(result=result, data=data, junction=result.junction)


def prediction(record: FitRecord, found: Measurements, start: Junction) -> Callable[[Sequence[SwitchingData]], Floats]:
    """Return P_sw of rows of switching data by the fit of a record.

    Args:
        record: of switching probabilities.
        found: that were fitted.
        start: as in the fit.
    """
    model = MODELS[str(record.model)]
    if isinstance(model, Analytic):
        values = {name: parameter.value for name, parameter in record.parameters.items()}
        return model.again(found.sets, start, found.constants, values)
    junction = Junction.from_json(record.junction or {})
    degree = record.degree or least_degree(junction)
    return lambda asked: np.asarray(predictions([junction], asked, degree=degree, spin_torque=record.spin_torque)[0])


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
        model: of switching probabilities, whose parameters these are; comparison: with other models.
        device: that was measured, where a column says it.
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
    model: str | None = None
    comparison: Comparison | None = None
    device: str | None = None

    @classmethod
    def of(cls, fitted: Fitted, found: Measurements, start: Junction, *, notes: Sequence[str], **settings: Any) -> Self:
        """Return the record of a fit of ``found`` that began at ``start``; ``settings`` are its further fields."""
        titled = ", ".join(file["name"] for file in found.files) + (f" ({found.device})" if found.device else "")
        result, junction, model = fitted.result, fitted.junction, fitted.model
        made = None if junction is None else replace(junction, name=f"{start.name}, fitted to {titled}")
        return cls(
            measurement=found.kind, parameters=fitted_parameters(result), approximate=result.approximate,
            interval="95 %", covariance=result.covariance.tolist(), correlation=result.correlation.tolist(),
            chi2=result.chi2, dof=result.dof, p_value=result.p_value, notes=tuple(notes), start=start.to_json(),
            junction=None if made is None else made.to_json(), points=found.points, files=found.files,
            model=None if model is None else model.word, comparison=fitted.comparison, device=found.device, **settings,
        )  # fmt: skip

    def __str__(self) -> str:
        if self.comparison is not None:
            return "\n".join([str(self.comparison), *self.notes])
        return "\n".join([*table(parameter_rows(self.parameters)), self._quality(), *self.notes])

    def _quality(self) -> str:
        if self.chi2 is None:
            return f"{self.points} points; no errors in the data, so their scatter gives those of the parameters"
        told = "" if self.p_value is None else f", probability {chance(self.p_value)}"
        return f"{self.points} points; chi2 {self.chi2:.4g} for {self.dof} degrees of freedom{told}"
