"""Switching fields to Delta, anisotropy field, stray field and xi.

While a field along z is ramped against a state, the state escapes at a rate that grows by orders of magnitude
within a few millitesla; the field at which it does so is random (Kurkijarvi, Garg). From the mean of its
distribution, its width and the shift between both directions follow the anisotropy field, Delta and the stray
field; from the anisotropy field at several voltages, xi.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from voltaspin.core.errors import InputError
from voltaspin.core.units import gamma_e, k_B, require_positive
from voltaspin.device.fit.data import Floats, SwitchingFieldData
from voltaspin.device.fit.likelihood import FitResult, as_list, climb, enough, known_names, poor_fit, result, uniformity
from voltaspin.device.junction import Junction, Well
from voltaspin.device.retention import log_flip_rate

#: Least barrier [k_B T] at the median switch for which an escape rate describes the ramp.
LEAST_BARRIER = 4.0
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(24)

# --- the rate ------------------------------------------------------------------------------------------


def log_escape_rates(junction: Junction, B_z: ArrayLike) -> Floats:
    """Logarithm of the rate out of the well ``up`` in total fields along z, at zero voltage.

    Without an in-plane field it is half the inverse mean first passage to the top of the barrier (Brown's integral,
    ``method="axial"`` of :func:`voltaspin.device.retention.log_flip_rate`); with one, Langer's rate, interpolated
    between 13 fields. Where less than 1 k_B T of barrier is left it stays constant: a
    state never gets there on a ramp that a rate describes. The rate of the well ``down`` is that in -B_z.

    Args:
        junction: its own field along z is left aside.
        B_z: total field along z [T], (n,).

    Returns:
        ln(rate / (1/s)), float64 (n,).

    Raises:
        InputError: no two wells at zero field, or an in-plane field too weak for a single saddle.

    Source: W. F. Brown, Phys. Rev. 130, 1677 (1963).
    """
    from scipy.special import dawsn

    B, Delta, B_k = np.asarray(B_z, np.float64), junction.Delta(), junction.B_k()
    if not 2 < Delta < math.inf:
        raise InputError(f"Delta = {Delta:.3g} leaves no two wells between which a field switches; it must be above 2")
    if junction.B_in_plane > 0:
        return _over_saddle(junction, B)
    h = np.clip(B / B_k, -1 + 1 / math.sqrt(Delta), 0.99)[:, None]
    E = Delta * (1 + h) ** 2
    root, top = np.sqrt(E), np.minimum(1, 7 / np.sqrt(E))
    s, ds = top * (_NODES + 1) / 2, top * _WEIGHTS / 2
    # s runs from the top of the barrier to the pole; the inner integral over the well is Dawson's.
    well = (dawsn(root) - np.exp(-E * (1 - s**2)) * dawsn(root * s)) / root
    time = (1 + h) * np.exp(-E * s**2) * well / ((1 - s) * (1 - h + (1 + h) * s))
    alpha = junction.alpha_G
    attempt = alpha * gamma_e / (1 + alpha**2) * B_k / (4 * Delta)
    return np.asarray(math.log(attempt) - np.log(np.sum(ds * time, axis=1)) - E[:, 0])


def _over_saddle(junction: Junction, B: Floats) -> Floats:
    from scipy.interpolate import CubicSpline

    x, y, _ = junction.B_bias
    low, high = float(B.min()) - 1e-5, float(B.max()) + 1e-5  # distinct for a single field too
    nodes = low + (high - low) * (1 - np.cos(np.pi * np.arange(13) / 12)) / 2
    fields, logs, refusal = [], [], None
    for field in map(float, nodes):
        try:
            logs.append(log_flip_rate(replace(junction, B_bias=(x, y, field)), method="saddle").value)
            fields.append(field)
        except InputError as error:
            refusal = error
    if len(fields) < 4:
        raise InputError(f"no rate over the saddle at these fields ({refusal})")
    return np.asarray(CubicSpline(fields, logs)(np.clip(B, fields[0], fields[-1])))


def _hazard(log_rate: Floats, step: float, ramp_rate: float) -> Floats:
    """Expected escapes on the way from the far end of the grid down to each point: integral of rate / ramp_rate.

    The rate is an exponential between grid points, so that a coarse grid is exact to its curvature.
    """
    rise = np.diff(log_rate)
    small = np.abs(rise) < 1e-6
    mean = np.where(small, 1.0, np.expm1(rise) / np.where(small, 1.0, rise)) * np.exp(log_rate[:-1])
    return np.concatenate([np.cumsum((mean * step / ramp_rate)[::-1])[::-1], [0.0]])


def switched(
    junction: Junction, fields: ArrayLike, *, ramp_rate: float, initial: Well = "up", voltage: float = 0.0
) -> Floats:
    """Probability that a ramp which began at saturation has switched the state by the time it reaches a field.

    Args:
        junction: its field along z is the stray field.
        fields: applied along z [T], (n,); ramps fall for ``up`` and rise for ``down``.
        ramp_rate: magnitude of dB/dt [T/s].
        initial: state before the ramp.
        voltage: constant meanwhile [V].

    Returns:
        float64 (n,), from 0 to 1.

    Raises:
        InputError: a ramp rate that is not positive, or as :func:`log_escape_rates`.
    """
    require_positive("ramp_rate", ramp_rate, "T/s", "give the magnitude of dB/dt, e.g. 0.05")
    at_voltage = replace(junction, K_i=junction.K_i - junction.xi * voltage / junction.t_ox)
    sign = 1 if initial == "up" else -1
    total = sign * (np.asarray(fields, np.float64) + junction.B_bias[2])
    grid, step = np.linspace(total.min(), max(float(total.max()), at_voltage.B_k() / 2), 1001, retstep=True)
    hazard = _hazard(log_escape_rates(at_voltage, grid), float(step), ramp_rate)
    return np.asarray(-np.expm1(-np.interp(total, grid, hazard)))


# --- likelihood of one direction of ramps --------------------------------------------------------------


@dataclass(frozen=True)
class _Ramps:
    """Switches in one direction, against the field mirrored such that every ramp falls.

    Args:
        events: mirrored applied fields [T], (n,).
        grid: mirrored applied fields that hold the whole distribution [T], (m,); it moves with no parameter, so
            that the likelihood is smooth in them.
        sign: what turns a stray field into a mirrored one.
        ramp_rate: [T/s].
    """

    events: Floats
    grid: Floats
    sign: int
    ramp_rate: float

    @classmethod
    def of(cls, data: SwitchingFieldData, sign: int) -> _Ramps:
        events = sign * (data.up_to_down if sign > 0 else data.down_to_up)
        scale = _scale(data)
        return cls(
            events, np.linspace(events.min() - 3 * scale, events.max() + 15 * scale, 241), sign, data.ramp_rate
        )  # fmt: skip

    def curves(self, junction: Junction, B_z: float) -> tuple[Floats, Floats]:
        """Logarithms of rate over ramp rate [1/T] and of the hazard, both on the grid."""
        log_rate = log_escape_rates(junction, self.grid + self.sign * B_z)
        hazard = _hazard(log_rate, float(self.grid[1] - self.grid[0]), self.ramp_rate)
        return log_rate - math.log(self.ramp_rate), np.log(np.maximum(hazard, 1e-300))

    def at_events(self, curves: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
        """Log-density and hazard of every switch."""
        log_rate, log_hazard = (np.interp(self.events, self.grid, curve) for curve in curves)
        hazard = np.exp(log_hazard)
        return log_rate - hazard, hazard


def _scale(data: SwitchingFieldData) -> float:
    """Field in which the rate grows by e [T], from the standard deviation of the Gumbel distribution."""
    spread = [np.var(B, ddof=1) * (len(B) - 1) for B in (data.up_to_down, data.down_to_up) if len(B) > 1]
    pooled = math.sqrt(sum(spread) / max(len(data) - len(spread), 1)) if spread else 0.0
    if not pooled > 1e-9:
        raise InputError("all switching fields are equal; give single switches, not their mean, and in finer steps")
    return pooled * math.sqrt(6) / math.pi


@dataclass(frozen=True)
class _Voltage:
    """All ramps at one voltage; its parameters are (ln(Ms volume / k_B T), B_k, B_z)."""

    data: SwitchingFieldData
    junction: Junction
    ramps: tuple[_Ramps, ...]

    @classmethod
    def of(cls, data: SwitchingFieldData, junction: Junction) -> _Voltage:
        for name, B in (("up_to_down", data.up_to_down), ("down_to_up", data.down_to_up)):
            if 0 < len(B) < 5:
                raise InputError(f"{len(B)} switching fields {name} at {data.voltage:g} V; measure at least 5 ramps")
        signs = [s for s, B in ((1, data.up_to_down), (-1, data.down_to_up)) if len(B)]
        return cls(data, junction, tuple(_Ramps.of(data, s) for s in signs))

    def curves(self, theta: Floats) -> list[tuple[Floats, Floats]]:
        trial = _activated(self.junction, theta[0], theta[1])
        return [ramps.curves(trial, float(theta[2])) for ramps in self.ramps]

    def likelihood(self, theta: Floats) -> float:
        pairs = zip(self.ramps, self.curves(theta), strict=True)
        return sum(float(ramps.at_events(curves)[0].sum()) for ramps, curves in pairs)

    def slope(self, theta: Floats) -> tuple[Floats, Floats]:
        """Gradient (3,) and expected Fisher information (3, 3)."""
        steps = np.diag([1e-4, 1e-4 * theta[1], 1e-3 * _scale(self.data)])
        moved = [(self.curves(theta + h), self.curves(theta - h)) for h in steps]
        gradient, information = np.zeros(3), np.zeros((3, 3))
        for k, (ramps, here) in enumerate(zip(self.ramps, self.curves(theta), strict=True)):
            rows = []
            for i, (high, low) in enumerate(moved):
                ends = [(ramps.at_events(c[k])[0].sum(), c[k][0] - np.exp(c[k][1])) for c in (high, low)]
                gradient[i] += (ends[0][0] - ends[1][0]) / (2 * steps[i, i])
                rows.append((ends[0][1] - ends[1][1]) / (2 * steps[i, i]))
            weight = np.exp(here[0] - np.exp(here[1])) * (ramps.grid[1] - ramps.grid[0]) * len(ramps.events)
            J = np.where(weight > 1e-12, np.stack(rows), 0.0)
            information += (J * weight) @ J.T
        return gradient, information

    def ranks(self, theta: Floats) -> list[Floats]:
        """Return numbers that are uniform from 0 to 1 if the model holds."""
        pairs = zip(self.ramps, self.curves(theta), strict=True)
        return [np.exp(-ramps.at_events(curves)[1]) for ramps, curves in pairs]

    def start(self, *, free_volume: bool, free_field: bool) -> Floats:
        """Parameters from mean and width of the distribution, with Delta (1 - B/B_k)^2 for the barrier."""
        B_z = self.junction.B_bias[2]
        means = {ramps.sign: float(ramps.events.mean()) for ramps in self.ramps}
        if free_field and len(means) == 2:
            B_z = (means[-1] - means[1]) / 2
        mean = -float(np.mean([m + sign * B_z for sign, m in means.items()]))
        scale, M = _scale(self.data), _moment(self.junction)
        B_k, barrier = abs(mean) * 1.5 + scale, 15.0
        for _ in range(30):
            Delta = (B_k / (2 * scale)) ** 2 / barrier if free_volume else M * B_k / 2
            u = min(math.sqrt(barrier / Delta), 1.0)
            B_k = mean + 2 * barrier * scale if free_volume else mean + u * B_k
            B_k = max(B_k, 2 * scale)
            attempt = self.junction.alpha_G * gamma_e * B_k * math.sqrt(Delta / math.pi) * u**2 * (2 - u)
            barrier = max(math.log(max(attempt * scale / self.data.ramp_rate, 1.0)), LEAST_BARRIER)
        return np.array([math.log(2 * Delta / B_k if free_volume else M), B_k, B_z])


def _moment(junction: Junction) -> float:
    """Ms volume / k_B T [1/T]: Delta is half of it times B_k."""
    require_positive("temperature", junction.temperature, "K", "nothing flips at zero kelvin")
    return junction.Ms * junction.volume / (k_B * junction.temperature)


def _activated(junction: Junction, log_moment: float, B_k: float) -> Junction:
    """The junction with that moment and that B_k at zero voltage.

    The moment goes into the diameter, that of the volume which reverses; the resistance R_P stays.
    """
    grown = math.exp(log_moment) / _moment(junction)
    K_i = junction.K_i + (B_k - junction.B_k()) * junction.Ms / 2 * junction.t_F
    return replace(junction, diameter=junction.diameter * math.sqrt(grown), RA=junction.RA * grown, K_i=K_i)


# --- fits ----------------------------------------------------------------------------------------------


def fit_switching_fields(
    data: SwitchingFieldData, junction: Junction, *, free: Sequence[str] = ("Delta", "B_k", "B_z")
) -> FitResult:
    """Delta, anisotropy field and stray field from switching fields, by maximum likelihood of every switch.

    The attempt rate is that of a macrospin with the junction's damping; a wrong factor of 2 in it moves B_k by 3 %
    and Delta by 1 % (for the generator on ramps of 0.5 T/s). Delta and B_k together give the volume that reverses,
    which need not be the pillar's: the junction returned has the diameter of that volume and keeps its R_P. chi2
    compares the ranks of the switches with the uniform distribution. The in-plane field is the junction's.

    Args:
        data: at one voltage.
        junction: its damping, temperature and Ms; what is not free stays (Delta: follows B_k at its volume).
        free: of ``Delta``, ``B_k`` and ``B_z``, the stray field along z.

    Returns:
        The parameters at the voltage of the data, and the junction with them; its B_k at zero voltage follows
        with the starting junction's xi.

    Raises:
        InputError: fewer than 5 ramps in a direction, one direction alone with ``B_z`` free, data that do not
            determine a parameter, or a ramp so fast that a rate does not describe it.
    """
    known_names(free, ("Delta", "B_k", "B_z"))
    enough(len(data), free, "switching fields")
    if "B_z" in free and not (len(data.up_to_down) and len(data.down_to_up)):
        raise InputError(
            "one direction of ramps cannot tell the stray field from the anisotropy field; give both directions, or "
            "fix B_z: free=('Delta', 'B_k')"
        )
    here = _Voltage.of(data, junction)
    where = np.array([name in free for name in ("Delta", "B_k", "B_z")])
    theta = here.start(free_volume=bool(where[0]), free_field=bool(where[2]))
    own = np.array([math.log(_moment(junction)), junction.B_k(data.voltage), junction.B_bias[2]])
    theta, covariance = _climb_from(np.where(where, theta, own), own, where, [here])
    log_moment, B_k, B_z = map(float, theta)
    Delta = math.exp(log_moment) * B_k / 2
    jacobian = np.array([[Delta, Delta / B_k, 0], [0, 1, 0], [0, 0, 1]])[np.ix_(where, where)]
    B_k0 = B_k + junction.B_k() - junction.B_k(data.voltage)
    chi2, dof = uniformity(here.ranks(theta))
    return result(
        [n for n in ("Delta", "B_k", "B_z") if n in free], np.array([Delta, B_k, B_z])[where],
        jacobian @ covariance @ jacobian.T, [u for u, w in zip(("1", "T", "T"), where, strict=True) if w],
        chi2=chi2, dof=dof - len(free), junction=_stray(_activated(junction, log_moment, B_k0), B_z),
    )  # fmt: skip


def fit_xi(data: Sequence[SwitchingFieldData], junction: Junction) -> FitResult:
    """xi from switching fields at several voltages: the slope of the anisotropy field.

    The volume is common to all voltages; each has its own B_k and its own stray field, because a spin torque
    acts like a field along z that grows with the voltage. Straight lines through both give xi and the values at
    zero voltage; chi2 tests that they are straight.

    Args:
        data: at two or more voltages, both directions at each.
        junction: as :func:`fit_switching_fields`; its Ms, t_F and t_ox turn the slope into xi.

    Returns:
        ``Delta``, ``B_k`` and ``B_z`` at zero voltage, ``xi``, and ``B_z_per_volt`` [T/V], the slope of the stray
        field; the junction with the first four.

    Raises:
        InputError: fewer than two voltages, the same voltage twice, or as :func:`fit_switching_fields`.
    """
    sets = sorted(as_list(data, SwitchingFieldData), key=lambda one: one.voltage)
    V = np.array([one.voltage for one in sets])
    if len(V) < 2 or not (np.diff(V) > 0).all():
        raise InputError(f"xi needs switching fields at two or more voltages, one data set each; got {V.tolist()} V")
    for one in sets:
        if not (len(one.up_to_down) and len(one.down_to_up)):
            raise InputError(f"at {one.voltage:g} V there are ramps in one direction only; give both at every voltage")
    voltages = [_Voltage.of(one, junction) for one in sets]
    starts = np.stack([v.start(free_volume=True, free_field=True) for v in voltages])
    theta = np.concatenate([[np.median(starts[:, 0])], starts[:, 1], starts[:, 2]])
    own = np.concatenate([[math.log(_moment(junction))], [junction.B_k(v) for v in V], starts[:, 2]])
    theta, covariance = _climb_from(theta, own, np.ones(len(theta), bool), voltages)
    # Straight lines through B_k and B_z, weighted with the covariance: (ln moment, B_k, slope, B_z, slope).
    n = len(V)
    A = np.zeros((2 * n + 1, 5))
    A[0, 0] = 1
    A[1 : n + 1, 1], A[1 : n + 1, 2], A[n + 1 :, 3], A[n + 1 :, 4] = 1, V, 1, V
    weight = np.linalg.inv(covariance)
    lines_covariance = np.linalg.inv(A.T @ weight @ A)
    lines = lines_covariance @ (A.T @ weight @ theta)
    off = theta - A @ lines
    log_moment, B_k, B_k_slope, B_z, B_z_slope = map(float, lines)
    Delta = math.exp(log_moment) * B_k / 2
    to_xi = -junction.Ms * junction.t_F * junction.t_ox / 2
    jacobian = np.array(
        [[Delta, Delta / B_k, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, to_xi, 0, 0], [0, 0, 0, 0, 1]]
    )
    ranks = [u for k, v in enumerate(voltages) for u in v.ranks(theta[[0, 1 + k, 1 + n + k]])]
    made = replace(_activated(junction, log_moment, B_k), xi=B_k_slope * to_xi)
    chi2, dof = uniformity(ranks)
    return result(
        ("Delta", "B_k", "B_z", "xi", "B_z_per_volt"),
        np.array([Delta, B_k, B_z, B_k_slope * to_xi, B_z_slope]), jacobian @ lines_covariance @ jacobian.T,
        ("1", "T", "T", "J/(V m)", "T/V"), chi2=float(off @ weight @ off), dof=2 * n - 4,
        junction=_stray(made, B_z), notes=poor_fit(chi2, dof - len(theta)),
    )  # fmt: skip


def _climb_from(guess: Floats, own: Floats, where: np.ndarray, voltages: Sequence[_Voltage]) -> tuple[Floats, Floats]:
    """All parameters at the maximum and the covariance of the free ones; starts at the better of two guesses."""
    n = len(voltages)
    parts = [np.array([0, 1 + k, 1 + n + k]) for k in range(n)]
    names = np.array(["Delta", *["B_k"] * n, *["B_z"] * n])[where]

    def likelihood(theta: Floats) -> float:
        try:
            return sum(v.likelihood(theta[part]) for v, part in zip(voltages, parts, strict=True))
        except (InputError, OverflowError):
            return -math.inf

    start = max((guess, np.where(where, own, guess)), key=likelihood)

    def whole(reduced: Floats) -> Floats:
        theta = start.copy()
        theta[where] = reduced
        return theta

    def slope(reduced: Floats) -> tuple[Floats, Floats]:
        theta = whole(reduced)
        gradient, information = np.zeros(len(theta)), np.zeros((len(theta), len(theta)))
        for voltage, part in zip(voltages, parts, strict=True):
            g, information_here = voltage.slope(theta[part])
            gradient[part] += g
            information[np.ix_(part, part)] += information_here
        return gradient[where], information[np.ix_(where, where)]

    of: Callable[[Floats], float] = lambda reduced: likelihood(whole(reduced))  # noqa: E731
    reduced, covariance = climb(start[where], list(names), likelihood=of, slope=slope)
    theta = whole(reduced)
    for voltage, part in zip(voltages, parts, strict=True):
        trial = _activated(voltage.junction, *theta[part][:2])
        for ramps in voltage.ramps:
            field = float(np.median(ramps.events)) + ramps.sign * float(theta[part][2])
            left = replace(trial, B_bias=(*trial.B_bias[:2], field)).barrier()
            if left < LEAST_BARRIER:
                raise InputError(
                    f"only {left:.2g} k_B T of barrier are left at the median switch at {voltage.data.voltage:g} V, "
                    f"where an escape rate needs {LEAST_BARRIER:g}; ramp the field more slowly, or fit P_sw instead"
                )
    return theta, covariance


def _stray(junction: Junction, B_z: float) -> Junction:
    x, y, _ = junction.B_bias
    return replace(junction, B_bias=(x, y, B_z))
