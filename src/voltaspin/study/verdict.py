"""Whether a junction, or recorded bits, keep to the specification of a noise device, and where they fail first."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from voltaspin.device import Junction, Pulse
from voltaspin.device.fokker_planck import switching_probability
from voltaspin.device.temperature import at_temperature
from voltaspin.errors import InputError
from voltaspin.noise.analysis import bit_statistics
from voltaspin.study.axes import bias_and_correlation, pair
from voltaspin.study.noise_specification import Limit, NoiseSpecification

TREATMENTS = ("raw", "xor")
BLOCKS = 16  #: of a recording, between which a drift is looked for
_PERIODIC = 2**22  # bits in which a period is looked for
_NODES = 3  # of the Gauss-Hermite rule over K_eff and over the stray field
# Multiples of a deviation at which a junction is solved: another pulse costs 0.06 s, another junction a second.
_MULTIPLES = {"voltage": range(1, 20), "width": range(1, 20), "B_z": (1, 2, 4, 8, 16, 32), "temperature": (1, 2, 4, 8)}
_FAR = (0.3, 0.95)  # bias and correlation at which no specification goes on
MAPPINGS = ("fixed", "rotated", "hashed")

Said = Literal["meets", "fails", "undecided"]
Interval = tuple[float, float, float]  # value, low, high


@dataclass(frozen=True)
class Row:
    """One axis in one treatment.

    Args:
        axis, title, unit, per_unit, treatment: of the specification.
        amplitude, low, high: of the device, SI; for a period that was not found, high is infinite.
        limit: of the specification, in words.
        said: ``meets`` where the whole interval of the device lies within what is surely borne, ``fails`` where it lies
            wholly beyond the limit's own interval, else ``undecided``.
        margin_left: the limit over the worse end of the device's interval (of a period the other way round); infinite
            for nothing at all. Where the limit was not reached, the largest amplitude that was asked stands for it.
    """

    axis: str
    title: str
    unit: str
    per_unit: float
    treatment: str
    amplitude: float
    low: float
    high: float
    limit: str
    said: Said
    margin_left: float


@dataclass(frozen=True)
class DeviceVerdict:
    """All axes of one device.

    Args:
        subject: what was judged.
        rows: every axis raw and under XOR of two cells.
        assumed: what was taken for granted.
    """

    subject: str
    rows: tuple[Row, ...]
    assumed: tuple[str, ...]

    def of(self, treatment: str) -> list[Row]:
        """Rows of one treatment, the one that fails first in front."""
        return sorted((r for r in self.rows if r.treatment == treatment), key=lambda r: r.margin_left)

    def sentence(self, treatment: str) -> str:
        """The verdict of one treatment in words."""
        rows = self.of(treatment)
        if not rows:
            return f"{treatment}: the specification has no axis that applies"
        first = rows[0]
        fails = [r for r in rows if r.said == "fails"]
        open_ = [r for r in rows if r.said == "undecided"]
        if fails:
            text = f"does not meet the specification: fails on {', '.join(r.axis for r in fails)}"
        elif open_:
            text = f"is not shown to meet the specification: {', '.join(r.axis for r in open_)} undecided"
        else:
            text = "meets the specification on every axis judged"
        how = "none left" if first.margin_left < 1 else "no trace of anything" if first.margin_left == math.inf else (
            f"a factor {first.margin_left:.2g} is left"
        )  # fmt: skip
        return f"{treatment}: {text}; first to fail: {first.axis} ({how})"

    def to_json(self) -> dict[str, Any]:
        def finite(x: Any) -> Any:
            return None if isinstance(x, float) and not math.isfinite(x) else x

        return {
            "kind": "noise-verdict", "schema_version": 1, "subject": self.subject, "assumed": list(self.assumed),
            "rows": [{k: finite(v) for k, v in asdict(r).items()} for r in self.rows],
            "treatments": {
                t: {
                    "meets": all(r.said == "meets" for r in self.of(t)),
                    "fails": [r.axis for r in self.of(t) if r.said == "fails"],
                    "first": self.of(t)[0].axis if self.of(t) else None, "verdict": self.sentence(t),
                }
                for t in TREATMENTS
            },
        }  # fmt: skip

    def __str__(self) -> str:
        lines = [self.subject, *(f"assumed: {a}" for a in self.assumed), ""]
        lines.append(f"{'axis':22} {'':4} {'of the device (95 %)':>32}  {'limit':42} {'left':>7}  verdict")
        for t in TREATMENTS:
            for r in self.of(t):
                a, low, high = (f"{v * r.per_unit:.3g}" for v in (r.amplitude, r.low, r.high))
                own = f"at least {low}" if r.high == math.inf else a if low == high else f"{a} ({low} to {high})"
                left = "> 1000x" if r.margin_left > 1000 else f"{r.margin_left:.2g}x"
                lines.append(
                    f"{r.axis:22} {t:4} {own + (' ' + r.unit if r.unit else ''):>32}  {r.limit:42} {left:>7}  {r.said}"
                )
        return "\n".join([*lines, "", *(self.sentence(t) for t in TREATMENTS)])


def _row(limit: Limit, found: Interval) -> Row:
    """A device's amplitude, not negative, against its limit."""
    value, low, high = found
    down = limit.falling
    bears, outside = limit.bears, limit.high if limit.said != "not reached" else None
    if bears is not None and (low >= bears if down else high <= bears):
        said: Said = "meets"
    elif outside is not None and (high <= outside if down else low >= outside):
        said = "fails"
    else:
        said = "undecided"
    at = _at(limit)
    left = low / at if down else math.inf if high == 0 else at / high
    return Row(
        limit.name, limit.title, limit.unit, limit.per_unit, limit.treatment, value, low, high, limit.text, said, left
    )


def _at(limit: Limit) -> float:
    """The limit as one number: the last amplitude stands for one that was not reached, the first for one before it."""
    if limit.value is not None:
        return limit.value
    return limit.amplitudes[-1 if limit.said == "not reached" else 0]


def _signed(spec: NoiseSpecification, name: str, value: float, treatment: str) -> Limit | None:
    """The limit for a sign; under XOR, or where the negative one was not asked, that of the positive one."""
    negative = spec.limit(f"{name}-negative", treatment) if value < 0 else None
    return negative or spec.limit(name, treatment)


def _absolute(value: float, low: float, high: float) -> Interval:
    """An interval of a number as one of its size."""
    ends = sorted((abs(low), abs(high)))
    return abs(value), 0.0 if low <= 0 <= high else ends[0], ends[1]


# -- a junction ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a junction has to bear; all assumed unless measured.

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
    around: Surroundings | None = None,
) -> DeviceVerdict:
    """A junction under a pulse against the specification.

    Everything comes from the Fokker-Planck equation of the junction: bias and correlation from p01 and p10; the spread
    of the bias from a Gauss-Hermite rule of 3 x 3 cells over K_eff and the stray field; drift and telegraph noise from
    the bias at their ends. The correlation that is judged is the root mean square over the cells. A deviation of the
    pulse, field or temperature is judged by the bias and the correlation to which it leads: what is tolerated is where
    these leave their limits, interpolated between multiples of the deviation (every one for the pulse, up to its
    whole; 1, 2, 4 ... 32 for the field and up to 8 for the temperature). A junction that leaves them without any
    deviation has none to judge. Half a minute.

    Args:
        spec: what must be kept.
        junction, pulse: nominal cell, and its pulse.
        around: what it has to bear; the defaults where absent.

    Raises:
        InputError: as the Fokker-Planck solution.
    """
    around = around or Surroundings()
    reset, K_eff, stray = around.reset, around.K_eff_spread, around.stray_field_spread

    def does(j: Junction, p: Pulse) -> tuple[float, float]:
        p01, p10 = pair(j, p, finer=0)
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
            limit = _signed(spec, name, value, t)
            if limit is not None:
                rows.append(_row(limit, _absolute(value, value - exact_to[name], value + exact_to[name])))
        for name, value in (*((f"spread-{m}", spread) for m in MAPPINGS), ("drift", drift), ("telegraph", swing)):
            limit = spec.limit(name, t)
            if limit is not None:
                rows.append(_row(limit, (value, value, value)))
        for name, unit, per_unit, whole in (("voltage", "mV", 1e3, pulse.voltage), ("width", "ps", 1e12, pulse.width),
                                            ("B_z", "mT", 1e3, 1.0), ("temperature", "K", 1.0, 1.0)):  # fmt: skip
            limit = _tolerated(spec, name, unit, per_unit, curves[name], t)
            if limit is not None and curves[name]:
                amount = abs(whole) * getattr(around, name)
                rows.append(_row(limit, (amount, amount, amount)))
    subject = (
        f"{junction.name or 'junction'} under {pulse.voltage:.4g} V for {1e12 * pulse.width:.4g} ps: p01 = "
        f"{exact[0].value:.5f}, p10 = {exact[1].value:.5f} (to {error:.1e})"
    )
    return DeviceVerdict(subject, tuple(rows), around.sentences)


Curve = list[tuple[float, list[tuple[float, float]]]]  # deviation [SI], and (bias, correlation) at both signs


def _curves(
    does: Callable[[Junction, Pulse], tuple[float, float]], junction: Junction, pulse: Pulse, around: Surroundings
) -> dict[str, Curve]:
    """What the junction does at multiples of each deviation, as far as it has an answer."""

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
        for k in _MULTIPLES[name] if one else ():
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
            return x.bears if x.bears is not None else 0.0
        return x.high if x.high is not None else math.inf

    def excess(which: str, numbers: tuple[float, float]) -> float:
        worst = 0.0
        for axis, value in zip(("bias", "correlation"), numbers, strict=True):
            own = _signed(spec, axis, value, treatment)
            assert own is not None
            at = size(own, which)
            worst = max(worst, math.inf if at == 0 and value != 0 else abs(value) / at if at else 0.0)
        return worst

    def crossing(which: str) -> float | None:
        """Where the limits are left; None if not up to the end."""
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
        note="from bias and correlation", amplitudes=[0.0, last], points=[],
        said="not reached" if value is None else "reached", value=value,
        low=last if low is None else low if low > 0 else None, high=high,
    )  # fmt: skip


# -- recorded bits -------------------------------------------------------------------------------------------------


def judge_bits(
    spec: NoiseSpecification, bits: NDArray[np.uint8], *, lanes: int = 1, subject: str = "bits"
) -> DeviceVerdict:
    """Recorded bits against the specification.

    Judged: bias, lag-1 correlation of each cell's bits, spread of the bias over the cells (with two lanes or more), a
    common drift between 16 stretches of the recording, and a period, which only an exact repetition is. Not judged:
    what bits do not show, such as quantisation, or telegraph noise slower than the recording.

    Args:
        spec: what must be kept.
        bits: uint8 (n,), one bit a byte, raw; bit j comes from cell ``j % lanes``.
        lanes: cells that were read in turn.
        subject: what they are.

    A period is judged as far as the recording shows one, half of its length; it decides nothing about how many bits
    are needed.

    Raises:
        InputError: too few for a verdict: more are needed for ideal bits to be shown within the other limits.
    """
    from scipy.stats import chi2

    n = bits.size // lanes * lanes
    needed, why = bits_needed(spec, lanes)
    if n < needed:
        raise InputError(
            f"{n} bits of {lanes} cells are too few for a verdict: {needed} are needed, so that ideal bits could be "
            f"shown to keep {why}; record {needed} bits or more"
        )
    rows = bits[:n].reshape(-1, lanes)
    found = bit_statistics(rows, lags=1)
    cycles = len(rows)
    r = found.autocorrelation[0]
    freedom = lanes - 1
    numbers: dict[str, Interval] = {
        "bias": (found.bias.value, found.bias.low, found.bias.high), "correlation": (r.value, r.low, r.high),
    }  # fmt: skip

    def beyond_chance(variance: float, chance: float, freedom: int) -> Interval:
        """A standard deviation with the chance of sampling taken away."""
        ends = (variance, variance * freedom / chi2.ppf(0.975, freedom), variance * freedom / chi2.ppf(0.025, freedom))
        value, low, high = (math.sqrt(max(float(v) - chance, 0.0)) for v in ends)
        return value, low, high

    if lanes > 1:
        numbers["spread"] = beyond_chance(found.cell_bias_std**2, found.sampling_std**2, freedom)
    whole = cycles // BLOCKS * BLOCKS
    means = rows[:whole].reshape(BLOCKS, -1).mean(axis=1)
    p, rho = 0.5 + found.bias.value, min(max(r.value, -0.999), 0.999)
    chance = p * (1 - p) / (whole * lanes / BLOCKS) * (1 + rho) / (1 - rho)
    numbers["drift"] = beyond_chance(float(means.var(ddof=1)), chance, BLOCKS - 1)
    repeats = period_of(bits[: min(n, _PERIODIC)])
    judged: list[Row] = []
    for t in TREATMENTS:
        for name in ("bias", "correlation"):
            limit = _signed(spec, name, numbers[name][0], t)
            if limit is not None:
                judged.append(_row(limit, _absolute(*numbers[name])))
        for name in (*((f"spread-{m}" for m in MAPPINGS) if lanes > 1 else ()), "drift"):
            limit = spec.limit(name, t)
            if limit is not None:
                judged.append(_row(limit, numbers[name.split("-")[0]]))
        # the XOR of two such streams has the same period
        limit = spec.limit("period", "raw")
        if limit is not None:
            seen = float(min(n, _PERIODIC) // 2)
            row = _row(limit, (float(repeats),) * 3 if repeats else (seen, seen, math.inf))
            judged.append(replace(row, treatment=t))
    assumed = (f"{n} bits, bit j from cell j % {lanes}; XOR takes two cells that are independent and alike",)
    return DeviceVerdict(subject, tuple(judged), assumed)


def bits_needed(spec: NoiseSpecification, lanes: int = 1) -> tuple[int, str]:
    """The fewest raw bits of which ideal ones are shown within every raw limit, and the axis that needs them.

    Half the 95 % interval must be less than what is surely borne (or, where not even the first amplitude is, than that
    amplitude): for the bias ``t / (2 sqrt(n))``, for the correlation ``t / sqrt(n)``, with Student's t of the cells;
    for a spread or a drift the upper end for no spread, from the chi-square of the cells or stretches.
    """
    from scipy.stats import chi2, t

    freedom = lanes - 1
    z = float(t.ppf(0.975, freedom)) if lanes > 1 else 1.959963984540054
    found: list[tuple[float, str]] = [(float(BLOCKS * 4 * lanes), "the number of stretches of a drift")]

    def upper(freedom: int) -> float:
        """Of a variance over its chance, less 1."""
        return float(freedom / chi2.ppf(0.025, freedom)) - 1

    for limit in spec.limits:
        if limit.treatment != "raw":
            continue
        at = limit.bears if limit.bears is not None else limit.amplitudes[0]
        name = limit.name.removesuffix("-negative")
        if name == "bias":
            n = (z / (2 * at)) ** 2
        elif name == "correlation":
            n = (z / at) ** 2
        elif name.startswith("spread-") and lanes > 1:
            n = lanes * upper(freedom) / (4 * at**2)
        elif name == "drift":
            n = BLOCKS * upper(BLOCKS - 1) / (4 * at**2)
        else:
            continue
        found.append((n, f"the axis {limit.name}"))
    most, why = max(found)
    return math.ceil(most / lanes) * lanes, why


def period_of(bits: NDArray[np.uint8]) -> int | None:
    """The smallest number of places after which the bits repeat exactly, up to half of them; None if they do not."""
    from scipy.fft import irfft, next_fast_len, rfft

    n = bits.size
    signs = 1.0 - 2.0 * bits
    size = next_fast_len(2 * n, real=True)
    power = np.abs(rfft(signs, size)) ** 2
    same = irfft(power, size)[1 : n // 2 + 1] / (n - np.arange(1, n // 2 + 1))
    for lag in np.flatnonzero(same > 0.999) + 1:
        if np.array_equal(bits[:-lag], bits[lag:]):
            return int(lag)
    return None


def surroundings(given: Mapping[str, Any]) -> Surroundings:
    """Those of the defaults that are not given."""
    return replace(Surroundings(), **{k: v for k, v in given.items() if v is not None})
