"""Closed formulas of switching probabilities, fitted in a fraction of a second.

They have a barrier ``Delta`` and a threshold ``V_c`` for each direction, because stray fields and the torque make both
differ. They know no field, so they take data at one field. The voltage is positive where it favours the switch.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import expit

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Z95, Estimate
from voltaspin.core.units import require_positive
from voltaspin.device.fit.bench import DIRECTIONS
from voltaspin.device.fit.data import Floats, SwitchingData
from voltaspin.device.fit.goodness import judge
from voltaspin.device.fit.likelihood import FitResult, climb, enough, poor_fit
from voltaspin.device.fit.model import FittedModel, Model, Settings
from voltaspin.device.junction import Junction

TAU_0 = 1e-9  #: attempt time of thermal activation [s], the convention; a factor of e in it moves Delta by 1
_LEAST_BARRIER = 3.0  # k_B T below which no rate exists
_UNKNOWN = 25.0  # variance of a logarithm
_PREFERRED = 10.0  # in log-likelihood
_SMOOTH = 0.05  # in V / V_c
_LEAST_DRIVE, _SURE_DRIVE = 1.3, 1.5  # V / V_c from which the curve rises by itself, and from which it is trusted


@dataclass(frozen=True)
class _Rows:
    """All rows together: the direction of each, its drive (positive where it favours the switch), width and counts."""

    direction: np.ndarray
    drive: Floats
    width: Floats
    k: Floats
    trials: Floats


class Analytic(Model):
    """A model with Delta and V_c for each direction and one time for both."""

    time: ClassVar[str]  #: name of the time

    @abstractmethod
    def logs(self, v: Floats, t: Floats, Delta: Floats) -> tuple[Floats, Floats]:
        """Return the logarithms of P_sw and 1 - P_sw.

        Args:
            v: voltage over V_c.
            t: width over the time of the model.
            Delta: barrier [k_B T].
        """

    @abstractmethod
    def outside(self, v: Floats, t: Floats, Delta: Floats) -> np.ndarray:
        """Return whether the law does not hold; arguments as :meth:`logs`."""

    def known(self, start: Junction, widths: int) -> dict[str, float]:
        """Return what data at so many widths do not determine: the time [s], or Delta."""
        return {self.time: TAU_0}

    def fit(self, word: str, sets: Sequence[SwitchingData], start: Junction, settings: Settings) -> FittedModel:
        """As :meth:`Model.fit`."""
        signs = _signs(sets)
        wells, rows = list(signs), _rows(sets, signs)
        kinds = ["Delta", "V_c"] * len(wells) + [self.time]
        names = [f"{kind}{_of(well, wells)}" for well in wells for kind in ("Delta", "V_c")] + [self.time]
        known = {name: value for name, value in settings.constants.items() if name == self.time}
        known = known or self.known(start, len(np.unique(rows.width)))
        free = np.array([kind not in known for kind in kinds])
        fitted = [name for name, one in zip(names, free, strict=True) if one]
        for name, value in known.items():
            require_positive(name, value, "" if name == "Delta" else "s", "give e.g. 40 for Delta, 1 ns for a time")
        first = self._start(rows, len(wells), known)

        def whole(theta: Floats) -> Floats:
            full = first.copy()
            full[free] = theta
            return full

        def logits(theta: Floats, of: _Rows = rows) -> Floats:
            log_P, log_Q = self.logs(*_arguments(whole(theta), of))
            return np.clip(log_P - log_Q, -500.0, 500.0)

        def likelihood(theta: Floats) -> float:
            if not np.abs(theta).max() < 60:
                return -math.inf
            eta = logits(theta)
            return float(np.sum(rows.k * eta - rows.trials * np.logaddexp(0, eta)))

        def slopes(theta: Floats) -> Floats:
            return np.stack([(logits(theta + h) - logits(theta - h)) / 2e-5 for h in 1e-5 * np.eye(len(theta))], axis=1)

        def slope(theta: Floats) -> tuple[Floats, Floats]:
            X, P = slopes(theta), expit(logits(theta))
            return X.T @ (rows.k - rows.trials * P), (X.T * (rows.trials * P * (1 - P))) @ X

        try:
            enough(len(rows.k), fitted, "rows")
            theta, covariance = climb(first[free], fitted, likelihood=likelihood, slope=slope)
            if np.diag(covariance).max() > _UNKNOWN:
                raise InputError(f"these data do not determine {fitted[int(np.argmax(np.diag(covariance)))]}")
        except InputError as error:
            reason = str(error).partition(";")[0]
            raise InputError(
                f"{reason}; measure P_sw from 0.05 to 0.95 at several voltages, and at more than one width"
            ) from None
        judged = judge(sets, expit(logits(theta)), slopes(theta))
        counted = judged.log_likelihood is not None
        if not counted:
            covariance = covariance * judged.total / max(judged.dof, 1)
        signed = np.array(
            [signs[well] if kind == "V_c" else 1.0 for well in wells for kind in ("Delta", "V_c")] + [1.0]
        )
        units = [{"Delta": "1", "V_c": "V"}.get(kind, "s") for kind in kinds]
        value, unit = (np.exp(whole(theta)) * signed)[free], [u for u, one in zip(units, free, strict=True) if one]
        errors = np.sqrt(np.diag(covariance))
        chi2 = judged.total if counted else None
        result = FitResult(
            parameters={n: _estimate(v, e, u) for n, v, e, u in zip(fitted, value, errors, unit, strict=True)},
            covariance=covariance * np.outer(value, value), chi2=chi2, dof=judged.dof,
            notes=poor_fit(chi2, judged.dof, judged.p_value, judged.where), probability=judged.p_value,
            log_likelihood=judged.log_likelihood,
        )  # fmt: skip

        def predict(asked: Sequence[SwitchingData]) -> Floats:
            return expit(logits(theta, _rows(asked, signs)))

        outside = int(np.sum(self.outside(*_arguments(whole(theta), rows))))
        return FittedModel(word=word, result=result, predict=predict, outside=outside, fixed=known)

    def again(
        self, sets: Sequence[SwitchingData], start: Junction, constants: Mapping[str, float], found: Mapping[str, float]
    ) -> Callable[[Sequence[SwitchingData]], Floats]:  # fmt: skip
        """Return ``predict`` of an earlier fit to ``sets`` with the parameters ``found`` in SI, by name."""
        signs = _signs(sets)
        wells, widths = list(signs), np.unique(np.concatenate([one.width for one in sets]))
        known = {name: value for name, value in constants.items() if name == self.time} or self.known(
            start, len(widths)
        )
        names = [(kind, kind + _of(well, wells)) for well in wells for kind in ("Delta", "V_c")] + [(self.time,) * 2]
        theta = np.log(np.abs([known.get(kind, found.get(name, np.nan)) for kind, name in names]))

        def predict(asked: Sequence[SwitchingData]) -> Floats:
            log_P, log_Q = self.logs(*_arguments(theta, _rows(asked, signs)))
            return np.asarray(expit(np.clip(log_P - log_Q, -500.0, 500.0)))

        return predict

    def _start(self, rows: _Rows, wells: int, known: Mapping[str, float]) -> Floats:
        """The best of a coarse grid, (Delta, V_c for each direction, time) as logarithms."""
        V, t = np.abs(rows.drive).max(), float(np.median(rows.width))
        barriers = [known["Delta"]] if "Delta" in known else np.geomspace(1.5, 300, 18)
        Delta, V_c = (x.ravel()[:, None] for x in np.meshgrid(barriers, V * np.geomspace(0.2, 6, 32)))
        best: tuple[float, Floats] = (-math.inf, np.zeros(0))
        for time in (known[self.time],) if self.time in known else t * np.geomspace(0.03, 30, 15):
            total, theta = 0.0, []
            for well in range(wells):
                here = rows.direction == well
                at = rows.drive[here] / V_c, rows.width[here] / time, Delta
                log_P, log_Q = self.logs(*at)
                k, left = rows.k[here], (rows.trials - rows.k)[here]
                likely = np.sum(k * np.maximum(log_P, -500) + left * np.maximum(log_Q, -500), axis=1)
                # Where a curve has a second maximum outside the range of its law, the one inside is meant.
                likely = likely - _PREFERRED * (self.outside(*at).mean(axis=1) > 0.5)
                top = int(np.argmax(likely))
                total += float(likely[top])
                theta += [math.log(Delta[top, 0]), math.log(V_c[top, 0])]
            if total > best[0]:
                best = total, np.array([*theta, math.log(time)])
        return best[1]


def _arguments(theta: Floats, rows: _Rows) -> tuple[Floats, Floats, Floats]:
    """(v, t, Delta) of every row."""
    Delta, V_c = np.exp(theta[0:-1:2]), np.exp(theta[1:-1:2])
    return rows.drive / V_c[rows.direction], rows.width / math.exp(theta[-1]), Delta[rows.direction]


class _Activated(Analytic):
    """Escape over a barrier at the rate exp(-Delta g(v)) / tau_0: P_sw = 1 - exp(-rate width)."""

    time = "tau_0"

    @abstractmethod
    def share(self, v: Floats) -> Floats:
        """Return the share g of the barrier that is left at v = V / V_c."""

    def logs(self, v: Floats, t: Floats, Delta: Floats) -> tuple[Floats, Floats]:
        """As :meth:`Analytic.logs`."""
        log_Q = -t * np.exp(np.minimum(-Delta * self.share(v), 30.0))
        return np.log(np.maximum(-np.expm1(log_Q), 1e-300)), log_Q

    def outside(self, v: Floats, t: Floats, Delta: Floats) -> np.ndarray:
        """As :meth:`Analytic.outside`."""
        return np.asarray(Delta * self.share(v) < _LEAST_BARRIER)


class LinearBarrier(_Activated):
    """Thermal activation over a barrier that falls linearly."""

    title = "thermal activation, linear barrier"
    law = "1 - exp(-t/tau_0 exp(-Delta (1 - V/V_c)))"
    valid = "a barrier of 3 k_B T or more left: V below V_c, pulses longer than tau_0; a continuation elsewhere"
    source = "R. H. Koch, J. A. Katine, J. Z. Sun, PRL 92, 088302 (2004)"

    def share(self, v: Floats) -> Floats:
        """As :meth:`_Activated.share`; it goes on below zero above V_c."""
        return 1 - v


class SquareBarrier(_Activated):
    """Thermal activation over a barrier that falls as a field along the easy axis makes it fall."""

    title = "thermal activation, barrier by a field along the easy axis or a perpendicular layer's spin transfer"
    law = "1 - exp(-t/tau_0 exp(-Delta (1 - V/V_c)^2))"
    valid = "a barrier of 3 k_B T or more left: V below V_c, pulses longer than tau_0"
    source = "W. F. Brown, Phys. Rev. 130, 1677 (1963); T. Taniguchi, H. Imamura, PRB 83, 054432 (2011)"

    def share(self, v: Floats) -> Floats:
        """As :meth:`_Activated.share`; zero above V_c."""
        return np.maximum(1 - v, 0.0) ** 2


class SpinOrbitBarrier(_Activated):
    """Thermal activation over the barrier under a spin-orbit torque.

    The damping-like torque turns the magnetisation in the plane of the current and the easy axis. Along that turn its
    work is an energy: E = K sin(theta)^2 - b theta. The bottom lies at sin(2 theta) = b / K = s and the saddle at
    pi / 2 - theta, so that the barrier is K (sqrt(1 - s^2) - s acos(s)) with s = V / V_c.
    """

    title = "thermal activation under a spin-orbit torque on a perpendicular layer"
    law = "1 - exp(-t/tau_0 exp(-Delta (sqrt(1 - s^2) - s acos(s)))), s = V/V_c"
    valid = "a barrier of 3 k_B T or more left: V below V_c, pulses longer than tau_0; a field well below B_k"
    source = "K.-S. Lee et al., Appl. Phys. Lett. 104, 072413 (2014), arXiv 1401.2266; derived here without a field"

    def share(self, v: Floats) -> Floats:
        """As :meth:`_Activated.share`; one below zero, zero above V_c."""
        s = np.clip(v, 0.0, 1.0)
        return np.sqrt(1 - s**2) - s * np.arccos(s)


class Precessional(Analytic):
    """Spin transfer above its threshold, where the angle at the start decides.

    Near the pole the angle is normal in two dimensions with the mean square 1 / Delta. It grows as exp((i - 1) t/tau_D)
    with i = V / V_c while the thermal field goes on feeding it. Further out it obeys
    d theta/dt = sin(theta) (i - cos(theta)) / tau_D, which reaches pi / 2 when the exponential reaches theta_c, with
    theta_c^2 = 2^(1 + (i - 1)/(i + 1)) (1 - 1/i)^(2/(i + 1)). The pulse fails where the angle stays below. Published is
    the form with theta_c = pi / 2, which fails too often: at i = 1.5 and Delta = 40 by 0.25 where P_sw is 0.8.
    """

    title = "spin transfer above its threshold, thermal start (perpendicular layer)"
    law = "exp(-theta_c^2 Delta (i - 1) / (i exp(2 (i - 1) t/tau_D) - 1)), i = V/V_c"
    valid = "V above 1.5 V_c: within 0.09 of the Fokker-Planck solution for Delta from 20 to 70, 0.02 above 2 V_c"
    source = "W. H. Butler et al., IEEE Trans. Magn. 48, 4684 (2012), arXiv 1202.2621; theta_c derived here"
    time = "tau_D"

    def known(self, start: Junction, widths: int) -> dict[str, float]:
        """As :meth:`Analytic.known`: Delta at one width, which enters by its logarithm alone."""
        return {} if widths > 1 else {"Delta": start.Delta()}

    def logs(self, v: Floats, t: Floats, Delta: Floats) -> tuple[Floats, Floats]:
        """As :meth:`Analytic.logs`; below 1.3 V_c the angle of 1.3 V_c stands in, so that the curve only rises.

        The way from one to the other is smooth, because a kink makes several maxima of the likelihood.
        """
        i = _LEAST_DRIVE + _SMOOTH * np.logaddexp(0, (v - _LEAST_DRIVE) / _SMOOTH)
        angle = 2 ** (1 + (i - 1) / (i + 1)) * (1 - 1 / i) ** (2 / (i + 1))
        x = np.where(np.abs(v - 1) < 1e-6, 1e-6, v - 1)
        grown = np.exp(np.clip(2 * x * t, -600.0, 600.0))
        log_P = np.minimum(-angle * Delta * x / ((1 + x) * grown - 1), -1e-300)
        return log_P, np.log(np.maximum(-np.expm1(log_P), 1e-300))

    def outside(self, v: Floats, t: Floats, Delta: Floats) -> np.ndarray:
        """As :meth:`Analytic.outside`."""
        return np.asarray(v < _SURE_DRIVE)


def _of(well: str, wells: Sequence[str]) -> str:
    return f" ({DIRECTIONS[well]})" if len(wells) > 1 else ""


def _estimate(value: float, error: float, unit: str) -> Estimate:
    """An estimate with a normal logarithm, whose standard error is given."""
    low, high = sorted(value * math.exp(x) for x in (-Z95 * error, Z95 * error))
    return Estimate(float(value), float(low), float(high), std=float(abs(value) * error), unit=unit)


def _rows(sets: Sequence[SwitchingData], signs: Mapping[str, float]) -> _Rows:
    order = list(signs)
    return _Rows(
        np.concatenate([np.full(len(one), order.index(one.initial)) for one in sets]),
        np.concatenate([signs[one.initial] * one.voltage for one in sets]),
        *(np.concatenate([np.asarray(getattr(one, name)) for one in sets]) for name in ("width", "counts", "trials")),
    )


def _signs(sets: Sequence[SwitchingData]) -> dict[str, float]:
    """The sign of the voltage that favours the switch out of each well that was measured.

    Raises:
        InputError: several fields, or a direction that never or always switches.
    """
    for name in ("B_x", "B_z"):
        values = np.unique(np.concatenate([getattr(one, name) for one in sets]))
        if len(values) > 1:
            raise InputError(
                f"{name} runs from {values[0]:g} to {values[-1]:g} T, and the analytic models know no field; fit the "
                "rows of one field, or the macrospin alone"
            )
    found: dict[str, float] = {}
    for well in dict.fromkeys(one.initial for one in sets):
        mine = [one for one in sets if one.initial == well]
        V, k, trials = (
            np.concatenate([getattr(one, name) for one in mine]) for name in ("voltage", "counts", "trials")
        )
        if k.sum() in (0, trials.sum()):
            raise InputError(
                f"{DIRECTIONS[well]}: {'none' if not k.sum() else 'all'} of {trials.sum():g} pulses switched, which "
                "bounds the curve on one side only; measure between, or leave this direction out"
            )
        rising = np.sum(trials * (V - np.average(V, weights=trials)) * (k / trials - k.sum() / trials.sum()))
        found[well] = 1.0 if (V > 0).all() or ((V < 0).any() and (V > 0).any() and rising >= 0) else -1.0
    return found
