"""Compliance of a junction with the specification of a noise device, and the axis that fails first."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.device import Junction, Pulse
from voltaspin.device.fokker_planck import sufficient_degree, switching_probability
from voltaspin.device.temperature import at_temperature
from voltaspin.requirements.axes import bias_and_correlation, pair
from voltaspin.requirements.compliance import MAPPINGS, TREATMENTS, Compliance, Row, absolute, row_of, signed_limit
from voltaspin.requirements.specification import Limit, NoiseSpecification

_NODES = 3  # of the Gauss-Hermite rule over K_eff and over the stray field
# Multiples of a deviation at which a junction is solved: another pulse costs 0.06 s, another junction a second.
_MULTIPLES = {"voltage": range(1, 20), "width": range(1, 20), "B_z": (1, 2, 4, 8, 16, 32), "temperature": (1, 2, 4, 8)}
_FAR = (0.3, 0.95)  # bias and correlation at which no specification goes on


@dataclass(frozen=True, kw_only=True)
class OperatingConditions:
    """Deviations that a junction has to tolerate; all assumed unless measured.

    Args:
        K_eff_spread: standard deviation of K_eff over its mean, from cell to cell [1].
        stray_field_spread: of the stray field along z [T].
        temperature_drift: common, root mean square [K].
        telegraph_field: of a two-level fluctuator [T]; judged as if every cell had one.
        voltage, width: deviation of the pulse, a share of its own [1].
        B_z: a common stray field [T].
        temperature: deviation [K].
        reset: whether the cells are reset before every pulse; then P(1) is p01 and nothing is remembered.
    """

    K_eff_spread: float = 0.05
    stray_field_spread: float = 0.5e-3
    temperature_drift: float = 1.0
    telegraph_field: float = 0.5e-3
    voltage: float = 0.05
    width: float = 0.05
    B_z: float = 1e-3
    temperature: float = 20.0
    reset: bool = False

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} = {value} must be finite and not negative")

    @property
    def sentences(self) -> tuple[str, ...]:
        kept = "reset before every pulse" if self.reset else "not reset between pulses"
        return (
            f"cells {kept}; from cell to cell K_eff {self.K_eff_spread:.1%}, stray field "
            f"{1e3 * self.stray_field_spread:g} mT",
            f"temperature drift {self.temperature_drift:g} K rms; telegraph field {1e3 * self.telegraph_field:g} mT, "
            "judged as if in every cell",
            f"deviations of the pulse {self.voltage:.1%} in voltage and {self.width:.1%} in width, of the field "
            f"{1e3 * self.B_z:g} mT, of the temperature {self.temperature:g} K",
        )


def judge_junction(
    spec: NoiseSpecification,
    junction: Junction,
    pulse: Pulse,
    *,
    around: OperatingConditions | None = None,
) -> Compliance:
    """Compare a junction under a pulse with the specification.

    Everything comes from the Fokker-Planck equation of the junction: bias and correlation from p01 and p10; the spread
    of the bias from a Gauss-Hermite rule of 3 x 3 cells over K_eff and the stray field; drift and telegraph noise from
    the bias at their ends. The correlation that is judged is the root mean square over the cells. A deviation of the
    pulse, field or temperature is judged by the bias and the correlation to which it leads: what is tolerated is where
    these leave their limits, interpolated between multiples of the deviation (every one for the pulse, up to its
    whole; 1, 2, 4 ... 32 for the field and up to 8 for the temperature). A junction that leaves them without any
    deviation has none to judge. Half a minute.

    Args:
        spec: the specification.
        junction, pulse: nominal cell, and its pulse.
        around: deviations that it has to tolerate; the defaults if None.

    Raises:
        InputError: as the Fokker-Planck solution.
    """
    around = around or OperatingConditions()
    reset, K_eff, stray = around.reset, around.K_eff_spread, around.stray_field_spread

    least = sufficient_degree(junction, pulse)

    def does(j: Junction, p: Pulse) -> tuple[float, float]:
        p01, p10 = pair(j, p, finer=0, least=least)
        return (p01 - 0.5, 0.0) if reset else bias_and_correlation(p01, p10)

    exact = [switching_probability(junction, pulse, initial=w) for w in ("up", "down")]
    error = max(e.error for e in exact)
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    weights = np.outer(weights, weights) / weights.sum() ** 2
    cells = np.array([
        [does(junction.with_variation(K_eff_scale=1 + K_eff * x, B_z=stray * y), pulse) for y in nodes] for x in nodes
    ])  # fmt: skip
    bias, mean_r = (float((weights * cells[..., i]).sum()) for i in (0, 1))
    spread = math.sqrt(max(float((weights * (cells[..., 0] - bias) ** 2).sum()), 0.0))
    rms = math.copysign(math.sqrt(float((weights * cells[..., 1] ** 2).sum())), mean_r)
    size = around.temperature_drift
    ends = (
        [does(at_temperature(junction, junction.temperature + s * size), pulse)[0] for s in (-1, 1)] if size else [0, 0]
    )
    drift = abs(ends[1] - ends[0]) / 2
    ends = [does(junction.with_variation(B_z=s * around.telegraph_field), pulse)[0] for s in (-1, 1)]
    swing = abs(ends[1] - ends[0]) / 2
    rows: list[Row] = []
    asked = all(spec.limit(n, t) for n in ("bias", "correlation") for t in TREATMENTS)
    curves = _curves(does, junction, pulse, around) if asked else {name: [] for name in _MULTIPLES}
    for t in TREATMENTS:
        exact_to = {"bias": error, "correlation": 0.0 if reset else 2 * error}
        for name, value in (("bias", bias), ("correlation", rms)):
            limit = signed_limit(spec, name, value, t)
            if limit is not None:
                rows.append(row_of(limit, absolute(value, value - exact_to[name], value + exact_to[name])))
        for name, value in (*((f"spread-{m}", spread) for m in MAPPINGS), ("drift", drift), ("telegraph", swing)):
            limit = spec.limit(name, t)
            if limit is not None:
                rows.append(row_of(limit, (value, value, value)))
        for name, unit, per_unit, whole in (("voltage", "mV", 1e3, pulse.voltage), ("width", "ps", 1e12, pulse.width),
                                            ("B_z", "mT", 1e3, 1.0), ("temperature", "K", 1.0, 1.0)):  # fmt: skip
            limit = _tolerated(spec, name, unit, per_unit, curves[name], t)
            if limit is not None and curves[name]:
                amount = abs(whole) * getattr(around, name)
                rows.append(row_of(limit, (amount, amount, amount)))
    subject = (
        f"{junction.name or 'junction'} under {pulse.voltage:.4g} V for {1e12 * pulse.width:.4g} ps: p01 = "
        f"{exact[0].value:.5f}, p10 = {exact[1].value:.5f} (to {error:.1e})"
    )
    return Compliance(subject=subject, rows=tuple(rows), assumed=around.sentences)


Curve = list[tuple[float, list[tuple[float, float]]]]  # deviation [SI], and (bias, correlation) at both signs


def _curves(
    does: Callable[[Junction, Pulse], tuple[float, float]],
    junction: Junction,
    pulse: Pulse,
    around: OperatingConditions,
) -> dict[str, Curve]:
    """Return bias and correlation at multiples of each deviation, as far as the junction has an answer."""

    def moved(name: str, x: float) -> tuple[float, float]:
        if name in ("voltage", "width"):
            return does(junction, replace(pulse, **{name: getattr(pulse, name) * (1 + x)}))
        if name == "B_z":
            return does(junction.with_variation(B_z=x), pulse)
        return does(at_temperature(junction, junction.temperature + x), pulse)

    found: dict[str, Curve] = {}
    for name in ("voltage", "width", "B_z", "temperature"):
        one, whole = getattr(around, name), abs(getattr(pulse, name)) if name in ("voltage", "width") else 1.0
        curve: Curve = [(0.0, [does(junction, pulse)] * 2)]
        for k in _MULTIPLES[name] if one and whole else ():  # a bit that only waits has no voltage to deviate
            if name in ("voltage", "width") and k * one >= 1:
                break
            try:
                curve.append((k * one * whole, [moved(name, s * k * one) for s in (-1, 1)]))
            except InputError:  # beyond what the equation or the laws of the material answer
                break
            if any(abs(v) > far for both in curve[-1][1] for v, far in zip(both, _FAR, strict=True)):
                break
        found[name] = curve if len(curve) > 1 else []
    return found


def _tolerated(
    spec: NoiseSpecification, name: str, unit: str, per_unit: float, curve: Curve, treatment: str
) -> Limit | None:
    """A limit on a deviation, from those on bias and correlation; None where they are left without any."""
    if not curve or not all(spec.limit(n, treatment) for n in ("bias", "correlation")):
        return None

    def size(x: Limit, which: str) -> float:
        if which == "value":
            return x.value if x.value is not None else math.inf if x.said == "not reached" else 0.0
        if which == "low":
            return x.low if x.low is not None else 0.0
        return x.high if x.high is not None else math.inf

    def excess(which: str, numbers: tuple[float, float]) -> float:
        worst = 0.0
        for axis, value in zip(("bias", "correlation"), numbers, strict=True):
            own = signed_limit(spec, axis, value, treatment)
            assert own is not None
            at = size(own, which)
            worst = max(worst, math.inf if at == 0 and value != 0 else abs(value) / at if at else 0.0)
        return worst

    def crossing(which: str) -> float | None:
        """Return the deviation at which the limits are left; None if none of the curve leaves them."""
        before_x, before = 0.0, max(excess(which, n) for n in curve[0][1])
        if before > 1:
            return 0.0
        for x, both in curve[1:]:
            here = max(excess(which, n) for n in both)
            if here > 1:
                share = (1 - before) / (here - before) if math.isfinite(here) else 0.0
                return before_x + share * (x - before_x)
            before_x, before = x, here
        return None

    value, low, high = (crossing(w) for w in ("value", "low", "high"))
    last = curve[-1][0]
    if value == 0:
        return None
    return Limit(
        name=name, title=f"deviation of {name}", unit=unit, per_unit=per_unit,
        treatment="xor" if treatment == "xor" else "raw", scale="linear", falling=False,
        note="from bias and correlation", amplitudes=(0.0, last), points=(),
        said="not reached" if value is None else "reached", value=value,
        low=last if low is None else low if low > 0 else None, high=high,
    )  # fmt: skip


Surroundings = OperatingConditions  #: the name in 0.1.0
