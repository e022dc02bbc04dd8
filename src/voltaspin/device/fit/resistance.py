"""Resistances to parameters: R-V and TMR-V curves of one junction, and the spread over many."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.device.equilibrium import well_bottom
from voltaspin.device.fit.data import Floats, ResistanceData, ResistanceSpread, TMRData
from voltaspin.device.fit.likelihood import FitResult, as_list, climb, enough, known_names, result, uniformity
from voltaspin.device.junction import Junction

_RESISTIVE = {"RA": "ohm m^2", "TMR0": "1", "V_h": "V"}


def fit_resistance(
    data: ResistanceData | Sequence[ResistanceData], junction: Junction, *, free: Sequence[str] = tuple(_RESISTIVE)
) -> FitResult:
    """RA, TMR0 and V_h from R-V curves of both states.

    The free layer rests at the bottom of its well, tilted by the starting junction's ``B_bias`` and VCMA; its
    thermal motion, which lowers the apparent TMR by about 1 / (2 Delta), is left out. Without errors in the data
    all points get the same relative one, taken from the residuals; then there is no chi2.

    Args:
        data: R-V curves; several data sets are joined.
        junction: where the fit starts; its diameter turns resistances into RA.
        free: what is fitted; the other values stay the junction's.

    Returns:
        The parameters and the junction with them.

    Raises:
        InputError: too few points, or data that do not determine a parameter; AP alone does not separate RA from
            TMR0, and P alone knows no TMR.
    """
    sets = as_list(data, ResistanceData)
    tilts = [_tilts(junction, one) for one in sets]

    def predict(trial: Junction) -> Floats:
        return np.concatenate([_resistance(trial, one, tilt) for one, tilt in zip(sets, tilts, strict=True)])

    errors = [one.error for one in sets if one.error is not None]
    if errors and len(errors) < len(sets):
        raise InputError("some R-V curves have errors and some have none; give them for all or for none")
    measured = np.concatenate([one.R for one in sets])
    return _fit_positive(free, junction, predict, measured, np.concatenate(errors) if errors else None)


def fit_TMR(data: TMRData, junction: Junction) -> FitResult:
    """TMR0 and V_h from TMR-V data: TMR0 / (1 + V^2 / V_h^2).

    Args:
        data: TMR against voltage; without errors all points get the same relative one, from the residuals.
        junction: where the fit starts.

    Returns:
        The parameters and the junction with them.

    Raises:
        InputError: too few points, or data that do not determine a parameter.
    """

    def predict(trial: Junction) -> Floats:
        return np.array([trial.TMR(float(v)) for v in data.voltage])

    return _fit_positive(("TMR0", "V_h"), junction, predict, data.TMR, data.error)


def resistance(junction: Junction, data: ResistanceData) -> Floats:
    """Resistance [ohm] that :func:`fit_resistance` compares with each row: (n,)."""
    return _resistance(junction, data, _tilts(junction, data))


def _tilts(junction: Junction, data: ResistanceData) -> dict[tuple[float, str], float]:
    """m_z at the bottom of the well, by voltage and state."""
    tilts = {}
    for voltage, state in set(zip(map(float, data.voltage), map(str, data.state), strict=True)):
        m_z = 1.0 if state == "P" else -1.0
        if junction.B_in_plane > 0:
            if junction.barrier(voltage) == 0:
                raise InputError(
                    f"no two wells are left at {voltage:g} V, so the state {state} has no resistance there; leave "
                    "rows at that voltage out"
                )
            biased = replace(junction, K_i=junction.K_i - junction.xi * voltage / junction.t_ox)
            m_z = float(well_bottom(biased, "up" if state == "P" else "down")[2])
        tilts[voltage, state] = m_z
    return tilts


def _resistance(junction: Junction, data: ResistanceData, tilts: dict[tuple[float, str], float]) -> Floats:
    rows = zip(map(float, data.voltage), map(str, data.state), strict=True)
    return np.array([1 / float(junction.conductance(tilts[row], row[0])) for row in rows])


def _fit_positive(
    free: Sequence[str], junction: Junction, predict: Callable[[Junction], Floats], measured: Floats,
    error: Floats | None,
) -> FitResult:  # fmt: skip
    """Least squares in the logarithms of the parameters, which keeps them positive."""
    known_names(free, tuple(_RESISTIVE))
    enough(len(measured), free, "points")

    def at(theta: Floats) -> Junction:
        values: dict[str, Any] = {name: math.exp(t) for name, t in zip(free, theta, strict=True)}
        return replace(junction, **values)

    def residuals(theta: Floats) -> Floats:
        model = predict(at(theta))
        return np.log(measured / model) if error is None else (measured - model) / error

    start = np.log([getattr(junction, name) for name in free])
    scale, rounds = 1.0, 1 if error is not None else 3
    for _ in range(rounds):
        if error is None:  # of the residuals so far; the fit from the last round then converges at that scale
            scale = math.sqrt(float(np.sum(residuals(start) ** 2)) / (len(measured) - len(free))) + 1e-12
        start, covariance = _least_squares(start, free, residuals, scale)
    values = np.exp(start)
    notes = [
        f"{name} is hardly determined ({value:.3g} ± {value * e:.2g} {_RESISTIVE[name]}); measure at larger voltages"
        for name, value, e in zip(free, values, np.sqrt(np.diag(covariance)), strict=True)
        if e > 0.5
    ]
    return result(
        free, values, covariance * np.outer(values, values), [_RESISTIVE[name] for name in free],
        chi2=None if error is None else float(np.sum(residuals(start) ** 2)), dof=len(measured) - len(free),
        junction=at(start), notes=notes,
    )  # fmt: skip


def _least_squares(
    start: Floats, names: Sequence[str], residuals: Callable[[Floats], Floats], scale: float
) -> tuple[Floats, Floats]:
    """Maximum and its covariance where residuals are normal with that standard deviation."""

    def likelihood(theta: Floats) -> float:
        try:
            return -0.5 * float(np.sum((residuals(theta) / scale) ** 2))
        except (InputError, OverflowError):
            return -math.inf

    def slope(theta: Floats) -> tuple[Floats, Floats]:
        steps = 1e-5 * np.eye(len(theta))
        J = np.stack([(residuals(theta + h) - residuals(theta - h)) / 2e-5 for h in steps], axis=1) / scale
        return -J.T @ residuals(theta) / scale, J.T @ J

    return climb(start, names, likelihood=likelihood, slope=slope)


# --- resistance from device to device ------------------------------------------------------------------


def fit_spread(data: ResistanceSpread) -> FitResult:
    """Median resistance and TMR and their spreads, as :class:`voltaspin.device.transport.ReadScheme` takes them.

    ln(R_P) and ln(R_AP / R_P) are normal and independent there: ``resistance_spread`` is the standard deviation
    of the first, and that of the second is ``TMR_spread`` TMR / (1 + TMR), so that
    ``replace(scheme, resistance_spread=fit.parameters["resistance_spread"].value, ...)`` reads like this wafer.
    chi2 compares both distributions with the normal one in bins of equal probability.

    Args:
        data: both resistances of at least 10 devices.

    Returns:
        ``R_P`` [ohm] and ``TMR`` (medians, at the voltage of the read), ``resistance_spread``, ``TMR_spread``.

    Raises:
        InputError: fewer than 10 devices, or no spread at all.
    """
    from scipy.special import ndtr

    n = len(data)
    if n < 10:
        raise InputError(f"{n} devices tell no spread; measure at least 10 (100 give a spread to 7 %)")
    both = np.stack([np.log(data.R_P), np.log(data.R_AP / data.R_P)])
    mean, spread = both.mean(axis=1), both.std(axis=1, ddof=1)
    if not (spread > 1e-9).all():
        raise InputError("all devices have the same resistance or the same TMR; give one row per device")
    TMR, ratio = math.expm1(mean[1]), math.exp(mean[1])
    share = ratio / TMR  # turns the spread of ln(R_AP / R_P) into the relative one of the TMR
    # Rows: R_P, TMR, resistance_spread, TMR_spread; columns: the two means, the two standard deviations.
    jacobian = np.array(
        [[math.exp(mean[0]), 0, 0, 0], [0, ratio, 0, 0], [0, 0, 1, 0], [0, -spread[1] * ratio / TMR**2, 0, share]]
    )
    variances = np.concatenate([spread**2 / n, spread**2 / (2 * (n - 1))])
    independent = float(np.corrcoef(both)[0, 1])
    notes = []
    if abs(independent) > 4 / math.sqrt(n):
        notes.append(
            f"ln(R_P) and ln(R_AP / R_P) are correlated ({independent:.2f}), while a read takes them as independent; "
            "the error of AP is then somewhat off: check for a series resistance or for shorted edges"
        )
    chi2, bins = uniformity([ndtr((x - m) / s) for x, m, s in zip(both, mean, spread, strict=True)])
    return result(
        ("R_P", "TMR", "resistance_spread", "TMR_spread"),
        np.array([math.exp(mean[0]), TMR, spread[0], spread[1] * share]),
        jacobian * variances @ jacobian.T, ("ohm", "1", "1", "1"),
        chi2=chi2, dof=max(bins - 4, 0), junction=None, notes=notes,
    )  # fmt: skip
