"""Switching probabilities to the parameters of a junction, or to a curve that stands for one pulse.

The first way fits the Fokker-Planck solution and extrapolates to other pulses; the second draws a smooth curve
through what was counted and asks nothing of the physics. Resistances and switching fields have files of their
own: :mod:`voltaspin.device.resistance`, :mod:`voltaspin.device.switching_field`.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit

from voltaspin.core.errors import InputError
from voltaspin.core.units import k_B
from voltaspin.device.fokker_planck import first_degree, switching_map
from voltaspin.device.junction import Junction
from voltaspin.device.likelihood import FitResult, as_list, climb, enough, known_names, poor_fit, result
from voltaspin.device.measurements import Floats, SwitchingData
from voltaspin.device.sensitivity import PARAMETERS

# --- switching probabilities ---------------------------------------------------------------------------

#: Parameters that P_sw determines; units and steps as in :mod:`voltaspin.device.sensitivity`.
SWITCHING = ("xi", "K_eff", "Delta", "B_x", "B_z", "alpha_G")


def fit_switching(
    data: SwitchingData | Sequence[SwitchingData],
    junction: Junction,
    *,
    free: Sequence[str] = ("xi", "K_eff", "B_x", "B_z"),
    degree: int | None = None,
    spin_torque: bool = False,
    threads: int | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> FitResult:
    """Parameters of the junction from P_sw against width, voltage and field, on the Fokker-Planck solution.

    P_sw oscillates with the width: from a start where the precession is out of step by half a turn the fit finds
    a wrong maximum, which shows as a large chi2. So begin near, with B_x from the period of the oscillation
    (gamma_e B_x per radian) and xi, K_eff from the voltage where it is deepest (V_c = K_eff t_F t_ox / xi).

    Args:
        data: one or more data sets; both initial states separate B_z from a shift of the rest.
        junction: where the fit starts; what is not free stays.
        free: of ``xi``, ``K_eff`` or ``Delta``, ``B_x``, ``B_z`` and ``alpha_G``.
        degree: of the harmonics; :func:`voltaspin.device.fokker_planck.least_degree` where absent.
        spin_torque: see :func:`voltaspin.device.torque.spin_torque_field`.
        threads: at most so many; all cores where absent.
        progress: as :func:`voltaspin.device.likelihood.climb`; a fit takes some 5 to 10 steps.

    Returns:
        The parameters and the junction with them; chi2 is Pearson's.

    Raises:
        InputError: too few points, an unknown parameter, data that do not determine one, no maximum, or a degree
            whose error is more than half of a point's standard error.
    """
    sets = as_list(data, SwitchingData)
    known_names(free, SWITCHING)
    if {"K_eff", "Delta"} <= set(free):
        raise InputError("K_eff and Delta are one parameter at a fixed volume; free one of them")
    P, trials = (np.concatenate([getattr(one, name) for one in sets]) for name in ("P_sw", "trials"))
    enough(len(P), free, "points")
    L = first_degree(junction) if degree is None else degree
    sizes = np.array([_parameter(junction, name)[1] for name in free])

    def at(theta: Floats) -> Junction:
        moved = junction
        for name, t in zip(free, theta, strict=True):
            moved = _moved(moved, name, float(t))
        return moved

    def model(thetas: Sequence[Floats]) -> tuple[Floats, Floats]:
        """(probabilities, numerical errors) for each theta, (len(thetas), points) both."""
        cells = [(at(theta), one) for theta in thetas for one in sets]
        with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
            made = list(pool.map(lambda c: predict(*c, degree=L, spin_torque=spin_torque), cells))
        P, error = (np.concatenate([m[k] for m in made]).reshape(len(thetas), -1) for k in (0, 1))
        return np.clip(P, 1e-12, 1 - 1e-12), error

    def log_binomial(p: Floats) -> float:
        return float(np.sum(trials * (P * np.log(p) + (1 - P) * np.log1p(-p))))

    def likelihood(theta: Floats) -> float:
        try:
            return log_binomial(model([theta])[0][0])
        except InputError:
            return -math.inf

    def slope(theta: Floats) -> tuple[Floats, Floats]:
        # One passage serves all widths of a voltage, so that differences cost less than exact derivatives, which
        # go pulse by pulse; the solution is smooth down to 1e-12.
        steps = 1e-5 * np.diag(sizes)
        p, *moved = model([theta, *(theta + h for h in steps)])[0]
        J = np.stack([(q - p) / h for q, h in zip(moved, np.diag(steps), strict=True)], axis=1)
        weight = trials / (p * (1 - p))
        return J.T @ (weight * (P - p)), (J.T * weight) @ J

    step, covariance = climb(np.zeros(len(free)), free, likelihood=likelihood, slope=slope, progress=progress)
    found = at(step)
    (p,), (error,) = model([step])
    spread = np.sqrt(p * (1 - p) / trials)
    half = (p * trials + 0.5) / (trials + 1)  # half a count more: where nothing flips, p says too little of a count
    counting = np.sqrt(half * (1 - half) / trials)
    if error[worst := int(np.argmax(error / counting))] > 0.5 * counting[worst]:
        raise InputError(
            f"degree {L} leaves an error of {error[worst]:.2g} where point {worst + 1} has a standard error of "
            f"{counting[worst]:.2g}; give degree={math.ceil(1.25 * L)} or more"
        )
    return result(
        free, np.array([_parameter(found, name)[0] for name in free]), covariance,
        [_parameter(found, name)[2] for name in free], chi2=float(np.sum(((P - p) / spread) ** 2)),
        dof=len(P) - len(free), junction=found,
    )  # fmt: skip


def predict(
    junction: Junction, data: SwitchingData, *, degree: int | None = None, spin_torque: bool = False
) -> tuple[Floats, Floats]:
    """P_sw of the junction for each row of the data, and its numerical error: two float64 (n,)."""
    P, error = np.empty(len(data)), np.empty(len(data))
    fields = np.stack([data.B_x, data.B_z], axis=1)
    x, y, z = junction.B_bias
    for field in np.unique(fields, axis=0):
        cell = replace(junction, B_bias=(x + float(field[0]), y, z + float(field[1])))
        here = (fields == field).all(axis=1)
        for voltage in np.unique(data.voltage[here]):
            rows = np.flatnonzero(here & (data.voltage == voltage))
            rows = rows[np.argsort(data.width[rows])]
            made = switching_map(
                cell, voltages=[voltage], widths=data.width[rows], initial=data.initial, relax=data.relax,
                rise=data.rise, fall=data.fall, spin_torque=spin_torque, degree=degree, atol=1.0, threads=1,
            )  # fmt: skip
            P[rows], error[rows] = made.P_sw[0], made.error[0]
    return P, error


def _parameter(junction: Junction, name: str) -> tuple[float, float, str]:
    """Value, typical size and unit."""
    if name == "Delta":
        return junction.Delta(), 40.0, "1"
    unit, size, _ = PARAMETERS[name]
    values = {"K_eff": junction.K_eff(), "B_x": junction.B_bias[0], "B_z": junction.B_bias[2]}
    return values[name] if name in values else float(getattr(junction, name)), size, unit


def _moved(junction: Junction, name: str, step: float) -> Junction:
    if name == "Delta":
        name, step = "K_eff", step * k_B * junction.temperature / junction.volume
    return PARAMETERS[name][2](junction, step)


# --- one pulse against the stray field: what a switching model needs ----------------------------------------


@dataclass(frozen=True, kw_only=True)
class MeasuredPulse:
    """p01 and p10 of one pulse against the stray field along z, as smooth curves through counts.

    The logit of each probability is a polynomial in y = B_z / (the larger end of ``B_z_range``): terms (0, j) in
    the convention of :class:`voltaspin.device.switching.SwitchingModel`.

    Args:
        voltage, width: of the pulse [V], [s].
        B_z_range: fields at which both were measured [T]; the curves hold inside.
        c01, c10: coefficients of y^0, y^1, ...
        covariance01, covariance10: of the coefficients, (n, n).
        fit_error: root-mean-square error with which a point is predicted from the others [1].
        chi2, dof: of both curves together.
    """

    voltage: float
    width: float
    B_z_range: tuple[float, float]
    c01: tuple[float, ...]
    c10: tuple[float, ...]
    covariance01: Floats
    covariance10: Floats
    fit_error: float
    chi2: float
    dof: int

    def probabilities(self, B_z: ArrayLike) -> tuple[Floats, Floats, Floats, Floats]:
        """(p01, p10, error of p01, error of p10) in a stray field [T] of any shape; errors are standard ones.

        Raises:
            InputError: a field outside ``B_z_range``.
        """
        B, (low, high) = np.asarray(B_z, np.float64), self.B_z_range
        outside = ~((B >= low) & (B <= high))
        if outside.any():
            raise InputError(
                f"B_z = {B[outside].flat[0]:g} T is outside the {low:g} to {high:g} T that were measured; measure "
                "further out, or take a model of the fitted junction"
            )
        X = np.stack([(B / max(-low, high)) ** j for j in range(len(self.c01))], axis=-1)
        p = [expit(X @ np.array(c)) for c in (self.c01, self.c10)]
        logit_errors = [np.sqrt(np.sum(X @ C * X, axis=-1)) for C in (self.covariance01, self.covariance10)]
        errors = [q * (1 - q) * e for q, e in zip(p, logit_errors, strict=True)]
        return p[0], p[1], errors[0], errors[1]


def switching_model_from_measurements(p01: SwitchingData, p10: SwitchingData, *, max_degree: int = 4) -> MeasuredPulse:
    """Smooth p01(B_z) and p10(B_z) of one pulse from counts, without any physics.

    Logistic regression; both curves get the degree that best predicts each point from the others.

    Args:
        p01: counts from ``up`` at one voltage and width, at several B_z.
        p10: counts from ``down`` under the same pulse.
        max_degree: of the polynomials in B_z.

    Returns:
        The curves with their errors.

    Raises:
        InputError: different pulses, too few fields, a range that does not hold 0 T, or a curve that never or
            always flips.
    """
    for name, data, initial in (("p01", p01, "up"), ("p10", p10, "down")):
        if data.initial != initial:
            raise InputError(f"{name} must begin in the well {initial!r}, not {data.initial!r}; exchange p01 and p10")
        flips, pulses = float(data.counts.sum()), float(data.trials.sum())
        if flips in (0, pulses):
            raise InputError(
                f"{name}: {flips:g} flips of {pulses:g} pulses bound the curve on one side only; pulse more"
            )
    for name, unit in (("voltage", "V"), ("width", "s"), ("B_x", "T")):
        values = np.concatenate([getattr(p01, name), getattr(p10, name)])
        if float(np.ptp(values)) > 1e-6 * float(np.abs(values).max()):
            raise InputError(
                f"{name} runs from {values.min():g} to {values.max():g} {unit}; a switching model is of one pulse: "
                "select the rows of one"
            )
    low, high = max(p01.B_z.min(), p10.B_z.min()), min(p01.B_z.max(), p10.B_z.max())
    fields = min(len(np.unique(one.B_z)) for one in (p01, p10))
    if fields < 3 or not low < 0 < high:
        raise InputError(
            f"{fields} fields B_z from {low:g} to {high:g} T carry no curve around 0 T; measure p01 and p10 at 3 or "
            "more fields on both sides of zero"
        )
    reach = float(max(-low, high))
    best: tuple[float, list[tuple[Floats, Floats, float, Floats]]] | None = None
    for degree in range(min(max_degree, fields - 2) + 1):
        try:
            fitted = [_logistic_curve(one, reach, degree) for one in (p01, p10)]
        except InputError:  # so steep that a curve of this degree has no finite maximum
            break
        left_out = math.sqrt(sum(float(np.sum(left**2)) for *_, left in fitted) / (len(p01) + len(p10)))
        if best is None or left_out < best[0]:
            best = left_out, fitted
    assert best is not None  # degree 0 is always tried
    (c01, C01, chi2_01, _), (c10, C10, chi2_10, _) = best[1]
    chi2, dof = chi2_01 + chi2_10, len(p01) + len(p10) - 2 * len(c01)
    for note in poor_fit(chi2, dof):
        warnings.warn(note, UserWarning, stacklevel=2)
    return MeasuredPulse(
        voltage=float(p01.voltage[0]), width=float(p01.width[0]), B_z_range=(float(low), float(high)),
        c01=tuple(map(float, c01)), c10=tuple(map(float, c10)), covariance01=C01, covariance10=C10,
        fit_error=best[0], chi2=chi2, dof=dof,
    )  # fmt: skip


def _logistic_curve(data: SwitchingData, reach: float, degree: int) -> tuple[Floats, Floats, float, Floats]:
    """Coefficients, their covariance, chi2, and the residual of each point when it is left out of the fit."""
    X = np.stack([(data.B_z / reach) ** j for j in range(degree + 1)], axis=1)
    k, n = data.counts, data.trials

    def likelihood(c: Floats) -> float:
        return float(np.sum(k * log_expit(X @ c) + (n - k) * log_expit(-(X @ c))))

    def slope(c: Floats) -> tuple[Floats, Floats]:
        p = expit(X @ c)
        return X.T @ (k - n * p), (X.T * (n * p * (1 - p))) @ X

    start = np.zeros(degree + 1)
    start[0] = math.log(k.sum() / (n - k).sum())
    c, covariance = climb(start, [f"B_z^{j}" for j in range(degree + 1)], likelihood=likelihood, slope=slope)
    p = expit(X @ c)
    weight = n * p * (1 - p)
    # Each point predicted from the others, to first order: its residual over 1 - its leverage.
    leverage = weight * np.sum(X @ covariance * X, axis=1)
    return c, covariance, float(np.sum((k - n * p) ** 2 / weight)), (k / n - p) / np.maximum(1 - leverage, 1e-9)
