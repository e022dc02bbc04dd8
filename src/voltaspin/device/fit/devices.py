"""Fits of many devices: their table, and the spread of each parameter between them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Part, Result
from voltaspin.device.fit.compare import DESCRIBES, chance
from voltaspin.device.fit.parameters import FittedParameter, parameter_rows, shown_estimate, table
from voltaspin.device.fit.record import FitRecord

_SHOWN = 40  #: devices that are printed


class DeviceRow(Part):
    """One device: its file, the model with the lowest criterion, and the parameters of the common model."""

    device: str
    file: str
    best_model: str | None
    parameters: dict[str, FittedParameter]
    chi2: float | None
    dof: int
    p_value: float | None


class BadRow(Part):
    """A device without a fit, and the reason."""

    device: str
    reason: str


class DeviceSpread(Part):
    """One parameter over all devices: its mean, and the standard deviation between devices without the errors."""

    parameter: str
    mean: Estimate
    between: Estimate
    devices: int


class DeviceFits(Result):
    """Fits of several devices.

    Args:
        model: whose parameters are listed, the same of all devices; None where the measurements have no choice.
        devices: in the order of the files, each with the file of its own fit.
        failed: devices without a fit.
        spreads: of each parameter.
        notes: what a reader must know.
        command: the command line.
    """

    KIND: ClassVar[str] = "device-fits"

    model: str | None
    devices: tuple[DeviceRow, ...]
    failed: tuple[BadRow, ...]
    spreads: tuple[DeviceSpread, ...]
    notes: tuple[str, ...]
    command: tuple[str, ...]

    @classmethod
    def of(cls, records: Mapping[str, FitRecord], failed: Mapping[str, str], **settings: Any) -> Self:
        """Return the table of records by their files, and of devices that have none."""
        model = _common_model(list(records.values()))
        rows = [_row(file, record, model) for file, record in records.items()]
        rows_of = [row for row in rows if row.parameters]
        without = [row.device for row in rows if not row.parameters]
        notes = [f"{device}: {model} could not be fitted, which the others have" for device in without]
        bad = [row.device for row in rows_of if row.p_value is not None and row.p_value < DESCRIBES]
        if bad:
            notes.append(
                f"{model or 'the model'} does not describe {len(bad)} of {len(rows_of)} devices (probability below "
                f"{DESCRIBES:g}: {', '.join(bad[:6])}{', ...' if len(bad) > 6 else ''}). Their errors are too small, "
                "so the spread between devices holds some of the misfit."
            )
        names = dict.fromkeys(name for row in rows_of for name in row.parameters)
        spreads = [one for name in names if (one := _spread_of(name, rows_of)) is not None]
        return cls(
            model=model, devices=tuple(rows), failed=tuple(BadRow(device=d, reason=r) for d, r in failed.items()),
            spreads=tuple(spreads), notes=tuple(notes), **settings,
        )  # fmt: skip

    def __str__(self) -> str:
        names = list(dict.fromkeys(name for row in self.devices for name in row.parameters))
        some = next((row.parameters for row in self.devices if row.parameters), {})
        units = {name: some[name].texts()[4] if name in some else "" for name in names}
        head = ["device", *(f"{n} ({units[n]})" if units[n] else n for n in names), "probability", "lowest criterion"]
        rows = [head]
        for row in self.devices[:_SHOWN]:
            cells = {r[0]: f"{r[1]} ({r[3]})" for r in parameter_rows(row.parameters)[1:]}
            rows.append(
                [row.device, *(cells.get(n, "") for n in names), chance(row.p_value), row.best_model or ""]
            )  # fmt: skip
        spread = [["parameter", "devices", "mean", "between devices"]]
        spread += [
            [s.parameter, str(s.devices), shown_estimate(s.mean), shown_estimate(s.between)] for s in self.spreads
        ]
        lines = [f"model: {self.model}"] if self.model else []
        lines += table(rows)
        lines += [f"... and {len(self.devices) - _SHOWN} more"] if len(self.devices) > _SHOWN else []
        if self.spreads:
            lines += ["", "standard deviation between devices, without the errors of the fits (95 % intervals):"]
            lines += table(spread)
        lines += [f"{row.device} has no fit: {row.reason}" for row in self.failed]
        return "\n".join([*lines, *self.notes])


def between_devices(values: Sequence[float], errors: Sequence[float]) -> tuple[Estimate, Estimate]:
    """Return the mean over devices, and the standard deviation between them without the errors of measurement.

    With s the standard deviation, Q(s) = sum (x - mean)^2 / (error^2 + s^2) follows the chi-squared law with n - 1
    degrees of freedom. The estimate has Q = n - 1, and the interval the quantiles of that law.

    Args:
        values: of each device, at least two.
        errors: their standard errors, positive.

    Raises:
        InputError: fewer than two devices, or errors that are not positive.

    Source: R. C. Paule, J. Mandel, J. Res. NBS 87, 377 (1982); W. Viechtbauer, Stat. Med. 26, 37 (2007).
    """
    from scipy.optimize import brentq
    from scipy.special import chdtri
    from scipy.stats import t

    x, e = np.asarray(values, np.float64), np.asarray(errors, np.float64)
    if len(x) < 2 or not (e > 0).all():
        raise InputError(f"{len(x)} values tell no spread; give those of two or more devices, with positive errors")
    scale = float(np.ptp(x)) + float(e.max())

    def mean(s: float) -> float:
        weight = 1 / (e**2 + s**2)
        return float(weight @ x / weight.sum())

    def Q(s: float) -> float:
        return float(np.sum((x - mean(s)) ** 2 / (e**2 + s**2)))

    def solved(level: float) -> float:
        if Q(0.0) <= level:
            return 0.0
        top = scale
        while Q(top) > level:
            top *= 2
        return float(brentq(lambda s: Q(s) - level, 0.0, top, xtol=1e-12 * scale))

    n = len(x)
    s = solved(n - 1)
    low, high = solved(float(chdtri(n - 1, 0.025))), solved(float(chdtri(n - 1, 0.975)))
    weight = 1 / (e**2 + s**2)
    std = float(np.sqrt(1 / weight.sum()))
    reach = float(t.ppf(0.975, n - 1)) * std
    return Estimate(mean(s), mean(s) - reach, mean(s) + reach, std=std, n=n), Estimate(s, low, high, n=n)


def _spread_of(name: str, rows: Sequence[DeviceRow]) -> DeviceSpread | None:
    found = [row.parameters[name] for row in rows if name in row.parameters and row.parameters[name].error > 0]
    if len(found) < 2:
        return None
    mean, between = between_devices([p.value for p in found], [p.error for p in found])
    unit = found[0].unit
    return DeviceSpread(
        parameter=name, mean=mean.scaled(1.0, unit), between=between.scaled(1.0, unit), devices=len(found)
    )  # fmt: skip


def _common_model(records: Sequence[FitRecord]) -> str | None:
    """The model with the lowest sum of criteria, among those that most devices have."""
    total: dict[str, tuple[int, float]] = {}
    for record in records:
        for one in record.comparison.models if record.comparison is not None else ():
            if not one.reason:
                n, so_far = total.get(one.model, (0, 0.0))
                total[one.model] = n - 1, so_far + (one.criterion or 0.0)
    return min(total, key=lambda word: total[word]) if total else records[0].model if records else None


def _row(file: str, record: FitRecord, model: str | None) -> DeviceRow:
    """The row of one device with the parameters of a model."""
    source: Any = record
    if record.comparison is not None and record.model != model:
        source = next(one for one in record.comparison.models if one.model == model)
    return DeviceRow(
        device=str(record.device), file=file, best_model=record.model, parameters=source.parameters, chi2=source.chi2,
        dof=source.dof or 0, p_value=source.p_value,
    )  # fmt: skip


def file_names(devices: Sequence[str]) -> dict[str, str]:
    """Return a name of a file for each device: its own, with an underscore for what a file or a shell does not like."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for device in devices:
        plain = re.sub(r"[^A-Za-z0-9._+-]+", "_", device).strip("._")[:80] or "device"
        name, n = plain, 1
        while name.casefold() in taken:
            n += 1
            name = f"{plain}-{n}"
        names[device] = name
        taken.add(name.casefold())
    return {device: f"devices/{name}.json" for device, name in names.items()}
