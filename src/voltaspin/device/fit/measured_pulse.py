"""One pulse against the stray field, from counts and without any physics: what a switching model needs."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, log_expit

from voltaspin.core.errors import InputError
from voltaspin.device.fit.data import Floats, SwitchingData
from voltaspin.device.fit.likelihood import climb, poor_fit


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
        if not data.counted:
            raise InputError(f"{name}: nobody counted its pulses, and a curve needs their errors; give trials")
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
