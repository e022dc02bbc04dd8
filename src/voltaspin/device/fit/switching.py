"""Switching probabilities to the parameters of a junction, on the Fokker-Planck solution.

:mod:`voltaspin.device.fit.measured_pulse` draws curves through what was counted and asks nothing of the physics.
Resistances and switching fields have files of their own: :mod:`voltaspin.device.fit.resistance`,
:mod:`voltaspin.device.fit.field`.
"""

from __future__ import annotations

import contextlib
import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.units import k_B
from voltaspin.device.density import COARSER, MAX_DEGREE, first_degree, term_weights
from voltaspin.device.fit.data import Floats, SwitchingData
from voltaspin.device.fit.goodness import judge
from voltaspin.device.fit.likelihood import (
    FitResult,
    as_list,
    climb,
    enough,
    inverse_information,
    known_names,
    result,
)
from voltaspin.device.fit.predictions import predictions, solution_seconds, solvable
from voltaspin.device.fit.propagation import SIDE
from voltaspin.device.junction import Junction
from voltaspin.device.sensitivity import PARAMETERS

#: Parameters that P_sw determines; units and steps as in :mod:`voltaspin.device.sensitivity`.
SWITCHING = ("xi", "K_eff", "Delta", "B_x", "B_z", "alpha_G")
#: Degrees at which the fit begins and of the quick answer, as shares of the degree of the fit. A solution costs the
#: third power of its degree.
FIRST, QUICK = 0.5, 0.62
DEFAULT = ("xi", "K_eff", "B_x", "B_z")  #: what a fit frees where nothing is asked for
_ROUNDS = 4  # of climbs with few harmonics before the one with all
_SOLUTIONS = 6  # of the degree of the fit beside those for the derivatives, all other degrees included


def fit_switching(
    data: SwitchingData | Sequence[SwitchingData],
    junction: Junction,
    *,
    free: Sequence[str] = DEFAULT,
    degree: int | None = None,
    spin_torque: bool = False,
    quick: bool = False,
    progress: Callable[[int, None, float], None] | None = None,
    on_quick: Callable[[FitResult], None] | None = None,
    threads: int | None = None,
) -> FitResult:
    """Parameters of the junction from P_sw against width, voltage and field, on the Fokker-Planck solution.

    P_sw oscillates with the width: from a start where the precession is out of step by half a turn the fit finds
    a wrong maximum, which shows as a large chi2. So begin near, with B_x from the period of the oscillation
    (gamma_e B_x per radian) and xi, K_eff from the voltage where it is deepest (V_c = K_eff t_F t_ox / xi).

    The fit first climbs with few harmonics, which gives the quick answer, and then from there with all of them.

    Args:
        data: one or more data sets; both initial states separate B_z from a shift of the rest.
        junction: where the fit starts; what is not free stays.
        free: of ``xi``, ``K_eff`` or ``Delta``, ``B_x``, ``B_z`` and ``alpha_G``.
        degree: of the harmonics; from :func:`voltaspin.device.fokker_planck.first_degree` on, raised until the
            numerical error of every point is below half of its standard error, where absent.
        spin_torque: see :func:`voltaspin.device.torque.spin_torque_field`.
        quick: return the quick answer, which is marked as approximate; its errors contain the numerical ones.
        progress: called often, with the steps done, None since nobody knows how many it takes, and the squared distance
            to the maximum in standard deviations.
        on_quick: called with the quick answer before the long part of the fit begins.
        threads: has no effect any more; the solution of all pulses is one computation.

    Returns:
        The parameters and the junction with them; chi2 is the deviance, its probability that of
        :mod:`voltaspin.device.fit.goodness`.

    Raises:
        InputError: too few points, an unknown parameter, data that do not determine one, no maximum, or a degree
            whose error is more than half of a point's standard error.
    """
    sets = as_list(data, SwitchingData)
    known_names(free, SWITCHING)
    if junction.terms:
        raise InputError(
            f"the macrospin of a fit is switched by VCMA alone, and {junction.name} has {', '.join(junction.terms)}; "
            "fit a closed formula to it, model=stt for spin transfer or model=sot for a spin-orbit line, or begin at a "
            "junction without further terms"
        )
    if {"K_eff", "Delta"} <= set(free):
        raise InputError("K_eff and Delta are one parameter at a fixed volume; free one of them")
    enough(sum(map(len, sets)), free, "points")
    solvable(junction, degree)
    fine = first_degree(junction) if degree is None else degree
    fit = _Fit(sets, junction, tuple(free), spin_torque, progress)
    theta = np.zeros(len(free))
    with contextlib.suppress(InputError):  # so few harmonics may show no maximum where all of them do
        theta, _ = fit.climb(theta, max(int(FIRST * fine), 5), near=1.0)
    try:
        theta, covariance = fit.quick(theta, fine)
        if quick or on_quick is not None:
            found = fit.result(theta, covariance, approximate=True, warn=quick)
            if quick:
                return found
            assert on_quick is not None
            on_quick(found)
    except InputError:
        if quick:
            raise
        fit.J, theta = None, np.zeros(len(free))
    while True:
        if theta.any():  # near enough that the exact derivatives of the last climb are asked for once
            theta, _ = fit.climb(theta, max(int(COARSER * fine), 4), near=0.3, direct=fit.few)
            theta = theta if fit.few else fit.approach(theta, fine)
        # A degree that is too low already for the quick answer needs no climb; one that was asked for is climbed.
        excess = fit.unresolved(theta, fine) if degree is None and theta.any() else ""
        if not excess:
            theta, covariance = fit.climb(theta, fine, near=1e-2, checked=True)  # a tenth of a standard error
            theta = fit.newton_step(theta, covariance)  # and some percent of that
            excess = fit.unresolved(theta, fine)
        if not excess:
            return fit.result(theta, covariance, approximate=False, warn=True)
        more = math.ceil(1.25 * fine)
        if degree is not None or more > MAX_DEGREE:
            raise InputError(f"degree {fine} leaves {excess}; give degree={more} or more")
        fine = more


def expected_seconds(
    data: Sequence[SwitchingData], junction: Junction, degree: int | None, *, parameters: int
) -> float:  # fmt: skip
    """Processor time of :func:`fit_switching` [s], within a factor of three from ten seconds on; nothing is solved.

    Args:
        data, junction, degree: as :func:`fit_switching`.
        parameters: how many are free.
    """
    return (_SOLUTIONS + parameters) * solution_seconds(
        junction, data, first_degree(junction) if degree is None else degree
    )


class _Fit:
    """The likelihood of switching data, its slope from differences and secants, and what is kept between degrees."""

    def __init__(
        self, sets: list[SwitchingData], junction: Junction, free: tuple[str, ...], spin_torque: bool,
        progress: Callable[[int, None, float], None] | None,
    ) -> None:  # fmt: skip
        self.sets, self.junction, self.free, self.spin_torque = sets, junction, free, spin_torque
        self.P, self.trials = (np.concatenate([getattr(one, name) for one in sets]) for name in ("P_sw", "trials"))
        self.sizes = np.array([_parameter(junction, name)[1] for name in free])
        self.degree, self.direct = 0, False  # of the probabilities that are fitted
        self.shift: Floats = np.zeros(1)  # added to the probabilities that are fitted
        self.J: Floats | None = None
        self.known: dict[tuple[int, bool, bytes], Floats] = {}  # probabilities by degree, directness and parameters
        self.last: tuple[Floats, Floats] | None = None  # where J holds
        self.progress, self.told = progress, (0, math.inf)  # steps and distance
        fields = {(one.relax, *field) for one in sets for field in zip(one.B_x, one.B_z, strict=True)}
        self.few = len(fields) * (len(free) + 1) <= SIDE  # then all derivatives take the time of one solution
        along = [Counter((field[0], field[axis]) for field in fields) for axis in (1, 2)]
        self.across = max(count for one in along for count in one.values()) > SIDE  # fields on a line
        self.most_work = 10 * self._work(junction)

    def tell(self, *told: Any) -> None:
        """Report the step and the distance, or the last ones again while one is on the way."""
        self.told = told or self.told
        if self.progress is not None:
            self.progress(self.told[0], None, self.told[1])

    def at(self, theta: Floats) -> Junction:
        moved = self.junction
        for name, t in zip(self.free, theta, strict=True):
            moved = _moved(moved, name, float(t))
        return moved

    def _work(self, junction: Junction) -> float:
        """Return the cost of a solution apart from the degree: the largest rates of turning and falling."""
        largest = max(float(np.abs(one.voltage).max()) for one in self.sets)
        return max(float(np.abs(term_weights(junction, V)).sum()) for V in (0.0, largest, -largest))

    def model(self, thetas: Sequence[Floats], degree: int, *, direct: bool) -> Floats:
        """Probabilities for each theta, (len(thetas), points), no nearer than 1e-12 to 0 and 1.

        Only direct ones may be an answer; the others are interpolated across fields where that saves work.
        """
        direct = direct or not self.across
        keys = [(degree, direct, theta.tobytes()) for theta in thetas]
        if new := [k for k, key in enumerate(keys) if key not in self.known]:
            cells = [self.at(thetas[k]) for k in new]
            if max(map(self._work, cells)) > self.most_work:
                raise InputError("the fit went to fields ten times those of its start; start from another junction")
            made = predictions(
                cells, self.sets, degree=degree, spin_torque=self.spin_torque, across_fields=not direct,
                alive=self.tell,
            )  # fmt: skip
            self.known |= {keys[k]: p for k, p in zip(new, np.clip(made, 1e-12, 1 - 1e-12), strict=True)}
        return np.stack([self.known[key] for key in keys])

    def here(self, theta: Floats) -> Floats:
        """Probabilities at the degree of the climb; with few fields its derivatives come along."""
        p = self.model(self._around(theta) if self.few else [theta], self.degree, direct=self.direct)[0]
        return np.clip(p + self.shift, 1e-12, 1 - 1e-12)

    def likelihood(self, theta: Floats) -> float:
        try:
            p = self.here(theta)
        except InputError:
            return -math.inf
        return float(np.sum(self.trials * (self.P * np.log(p) + (1 - self.P) * np.log1p(-p))))

    def _around(self, theta: Floats) -> list[Floats]:
        return [theta, *(theta + h for h in 1e-5 * np.diag(self.sizes))]

    def exact_slope(self, theta: Floats) -> tuple[Floats, Floats]:
        """Gradient and information from differences; the solution is smooth down to 1e-11."""
        p, *moved = self.model(self._around(theta), self.degree, direct=self.direct)
        self.J = np.stack([(q - p) / h for q, h in zip(moved, 1e-5 * self.sizes, strict=True)], axis=1)
        self.last = theta, self.here(theta)
        return self._slope(self.last[1])

    def slope(self, theta: Floats) -> tuple[Floats, Floats]:
        """The same from the last derivatives, corrected along the last step: one solution instead of one for each
        parameter.

        Source: C. G. Broyden, Math. Comp. 19, 577 (1965).
        """
        if self.J is None or self.last is None or self.few:
            return self.exact_slope(theta)
        p = self.here(theta)
        old, old_p = self.last
        step = theta - old
        if step.any():
            # The least change of the derivatives in units of standard errors, whatever the parameters' correlation.
            by = self._slope(old_p)[1] @ step
            self.J = self.J + np.outer(p - old_p - self.J @ step, by) / (by @ step)
        self.last = theta, p
        return self._slope(p)

    def _slope(self, p: Floats) -> tuple[Floats, Floats]:
        assert self.J is not None
        weight = self.trials / (p * (1 - p))
        return self.J.T @ (weight * (self.P - p)), (self.J.T * weight) @ self.J

    def climb(
        self, theta: Floats, degree: int, *, near: float, direct: bool = False, checked: bool = False
    ) -> tuple[Floats, Floats]:
        """The maximum at a degree, from the derivatives of the last one.

        Args:
            theta: where to begin.
            degree: of the harmonics.
            near: squared distance in standard errors at which to end.
            direct: whether nothing is interpolated across fields.
            checked: whether the answer is final: from direct probabilities, and exact derivatives near the maximum.
        """
        self.degree, self.direct = degree, direct or checked
        if checked:  # the quick answer is near, where the derivatives of its few harmonics only cost steps
            gradient, information = self.exact_slope(theta)
            checked = float(gradient @ inverse_information(information, self.free) @ gradient) >= 1
        elif self.J is not None:
            self.last = theta, self.here(theta)
        return climb(
            theta, self.free, likelihood=self.likelihood, slope=self.slope, exact_slope=self.exact_slope, near=near,
            checked=checked, progress=self.tell,
        )  # fmt: skip

    def quick(self, theta: Floats, degree: int) -> tuple[Floats, Floats]:
        """The maximum at the degree of the quick answer; from a first climb's by moved climbs, in half of the time."""
        here = max(int(QUICK * degree), 5)
        if theta.any() and not self.few:
            with contextlib.suppress(InputError):
                few = max(int(FIRST * degree), 5)
                theta, covariance = self._moved_climbs(theta, here, few, near=3e-2, direct=False)
                self.degree = here
                return theta, covariance
        return self.climb(theta, here, near=1e-2)

    def approach(self, theta: Floats, degree: int) -> Floats:
        """Come near the maximum at a degree by climbs with few harmonics, which are moved to what all give here.

        Each round costs one full solution. Where the rounds end, the slopes of the few harmonics are those of all but
        for some percent, so the distance left is some percent of a standard error. Where they find no maximum the
        parameters stay: the climb with all harmonics has the last word.
        """
        with contextlib.suppress(InputError):
            return self._moved_climbs(theta, degree, max(int(COARSER * degree), 5), near=1e-3, direct=True)[0]
        return theta

    def _moved_climbs(
        self, theta: Floats, degree: int, few: int, *, near: float, direct: bool
    ) -> tuple[Floats, Floats]:
        """What :meth:`approach` does, with so few harmonics."""
        for _ in range(_ROUNDS):
            (p,) = self.model([theta], degree, direct=direct)
            self.shift = p - self.model([theta], few, direct=False)[0]
            try:
                before, (theta, covariance) = theta, self.climb(theta, few, near=near)
            finally:
                self.shift = np.zeros(1)
            moved = theta - before
            if moved @ np.linalg.solve(covariance, moved) < 0.1:
                break
        return theta, covariance

    def newton_step(self, theta: Floats, covariance: Floats) -> Floats:
        """One more step from derivatives that hold at ``theta``, if it leads up."""
        further = theta + covariance @ self._slope(self.here(theta))[0]
        return further if self.likelihood(further) > self.likelihood(theta) else theta

    def _two_degrees(self, theta: Floats, degree: int, *, direct: bool) -> tuple[Floats, Floats]:
        """Probabilities, and how far they are from direct ones with fewer harmonics."""
        (p,) = self.model(self._around(theta) if self.few else [theta], degree, direct=direct)[:1]
        return p, self.model([theta], max(int(COARSER * degree), 4), direct=True)[0] - p

    def unresolved(self, theta: Floats, degree: int) -> str:
        """A numerical error of more than half of a point's standard error, in words; nothing where there is none."""
        p, off = self._two_degrees(theta, degree, direct=True)
        # Half a count more: where nothing flips, p says too little of a count.
        half = (p * self.trials + 0.5) / (self.trials + 1)
        error, counting = np.abs(off), np.sqrt(half * (1 - half) / self.trials)
        worst = int(np.argmax(error / counting))
        if error[worst] <= 0.5 * counting[worst]:
            return ""
        return (
            f"an error of {error[worst]:.2g} where point {worst + 1} has a standard error of {counting[worst]:.2g}"
        )  # fmt: skip

    def result(self, theta: Floats, covariance: Floats, *, approximate: bool, warn: bool) -> FitResult:
        """The result, with the shift of each parameter between two degrees as its numerical error."""
        assert self.J is not None
        p, off = self._two_degrees(theta, self.degree, direct=self.direct)
        shift = np.abs(covariance @ (self.J.T @ (self.trials / (p * (1 - p)) * off)))
        notes, statistical = [], np.sqrt(np.diag(covariance))
        if approximate:
            covariance = covariance + np.diag(shift**2)
            notes.append(
                f"approximate: with harmonics up to degree {self.degree}; fewer of them move a parameter by up to "
                f"{float(np.max(shift / statistical)):.2g} of its statistical error, which the errors include"
            )
        found = self.at(theta)
        values = [_parameter(found, name) for name in self.free]
        return result(
            self.free, np.array([v[0] for v in values]), covariance, [v[2] for v in values],
            chi2=None, dof=len(p) - len(self.free), judged=judge(self.sets, p, self.J / (p * (1 - p))[:, None]),
            junction=found, notes=notes, numerical=shift, approximate=approximate, warn=warn,
        )  # fmt: skip


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
