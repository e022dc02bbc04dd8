"""Everything about one junction by itself: pulses, error rates, retention, energy, sensitivities, astroid, read.

``characterise(junction)`` asks the other files of this room and keeps their answers in one record, which
``device.json`` holds. What a junction cannot do is ``None`` there, with the reason beside it: without a
VCMA coefficient no pulse acts, without an in-plane field no pulse writes, without two wells there is no bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict

from voltaspin.device import breakdown
from voltaspin.device.fokker_planck import COARSER, MAX_DEGREE, SwitchingMap, least_degree, switching_map
from voltaspin.device.junction import Junction, Pulse, Well, require_positive
from voltaspin.device.pulse_design import BestPulse, Target, Tolerance, best_pulse
from voltaspin.device.retention import flip_rate
from voltaspin.device.sensitivity import sensitivities
from voltaspin.device.sphere import Floats
from voltaspin.device.temperature import at_temperature
from voltaspin.device.transport import ReadScheme, oxide_capacitance, pulse_energy, read, read_disturb
from voltaspin.errors import InputError
from voltaspin.specs import Spec, environment
from voltaspin.units import gamma_e, ns

Progress = Callable[[str, int, int], None]
Numbers = tuple[float, ...]
Gappy = tuple[float | None, ...]  #: ``None`` where there is no answer
_T = TypeVar("_T")

_WELLS: tuple[Well, Well] = ("up", "down")
_ATOL = 2e-2  #: of a probability, between two degrees: mostly the error of the coarser one; the record keeps it
_TAILS = 1.3  #: degree of error rates down to 1e-9 over that of probabilities
_FORGETTING = 20  #: relaxation times that a pulse may last where no in-plane field sets a period
#: A read as good circuits do it; spreads and noise are assumed.
READ = ReadScheme(
    voltage=-0.1, integration_time=25 * ns, resistance_spread=0.05, TMR_spread=0.05, amplifier_noise=1e-13
)


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How closely a junction is looked at.

    Args:
        voltages, widths: points of the map; a bathtub has twice as many widths.
        points: of a curve against the width, and of the oxide's life.
        stations: temperatures, and read voltages, of the retention.
        search: find the pulses by :func:`best_pulse`, with a coin's tolerance; else take them from the map.
        degree: of the harmonics in maps, curves and derivatives; chosen by the barrier where absent.
    """

    voltages: int = 32
    widths: int = 32
    points: int = 101
    stations: int = 13
    search: bool = True
    degree: int | None = None

    def __post_init__(self) -> None:
        for name, least in {"voltages": 3, "widths": 3, "points": 3, "stations": 2}.items():
            if getattr(self, name) < least:
                raise InputError(f"{name} = {getattr(self, name)}: give at least {least} points")


QUICK = Effort(voltages=12, widths=20, points=61, stations=5, search=False)


# --- the record ----------------------------------------------------------------------------------------


class Part(BaseModel):
    """A piece of the record: frozen, closed to unknown fields, finite numbers, SI throughout."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class JunctionSpec(Spec):
    """The parameters of a :class:`Junction` as data, SI."""

    KIND: ClassVar[str] = "junction"
    name: str
    diameter: float
    t_F: float
    t_ox: float
    Ms: float
    K_i: float
    xi: float
    alpha_G: float
    B_bias: tuple[float, float, float]
    temperature: float
    RA: float
    TMR0: float
    V_h: float
    N: tuple[float, float, float]

    @classmethod
    def of(cls, junction: Junction) -> Self:
        return cls(**asdict(junction))

    def junction(self) -> Junction:
        return Junction(**self.model_dump())


class Derived(Part):
    """What follows from the parameters.

    Args:
        Delta, barrier: without and with the field [k_B T]; the barrier is zero without two wells.
        K_eff: [J/m^3]; B_k: [T].
        V_c: voltage that cancels K_eff [V]; None without VCMA.
        period: of one turn about the in-plane field [s]; None without it.
        relaxation_time: of the free precession [s].
        R_P, R_AP: at vanishing voltage [ohm].
        capacitance: of the oxide [F].
    """

    Delta: float
    barrier: float
    K_eff: float
    B_k: float
    V_c: float | None
    period: float | None
    relaxation_time: float
    R_P: float
    R_AP: float
    capacitance: float


class PulseCurve(Part):
    """Switching probabilities against the width [s] at one voltage [V]."""

    label: str
    voltage: float
    widths: Numbers
    p01: Numbers
    p10: Numbers


class PulseMap(Part):
    """Switching probabilities over voltage and width.

    Args:
        voltages: (n,) [V]; widths: (m,) [s].
        p01, p10: (n, m), that a pulse flips a 0 and a 1.
        WER: (n, m), of the direction that fails more often.
        error: (n, m), of the WER, by the change between two degrees.
        degree: of the finer solution.
    """

    voltages: Numbers
    widths: Numbers
    p01: tuple[Numbers, ...]
    p10: tuple[Numbers, ...]
    WER: tuple[Numbers, ...]
    error: tuple[Numbers, ...]
    degree: int


class Energy(Part):
    """Of one pulse [J]: through the barrier, to charge the oxide, to charge the line."""

    ohmic: float
    capacitive: float
    line: float


class Slope(Part):
    """dP_sw / d(parameter) [1/unit] from the well up, and the parameter's value [unit]."""

    parameter: str
    unit: str
    value: float
    derivative: float


class PulseRecord(Part):
    """One pulse and what it does.

    Args:
        voltage: [V]; width: [s].
        p01, p10: that it flips a 0 and a 1; WER: of the direction that fails more often.
        searched: by :func:`best_pulse`; else it is the best of the map.
        verdict: in one sentence.
        worst_deviation, worst_case: of a searched coin, over the box of :class:`Tolerance`.
        band: of a coin, shortest and longest width around it with p01 and p10 within 0.01 of 1/2 [s]; None
            where the coin itself is not.
        energy: by where it goes.
        slopes: derivatives.
        oxide_life: stress at its voltage until a share ``Oxide.failure`` of the oxides has broken [s];
            None above the breakdown field, or where it overflows.
    """

    voltage: float
    width: float
    p01: float
    p10: float
    WER: float
    searched: bool
    verdict: str
    worst_deviation: float | None
    worst_case: str
    band: tuple[float, float] | None
    energy: Energy
    slopes: tuple[Slope, ...]
    oxide_life: float | None


class ErrorCurve(Part):
    """Write error rate of the worse direction, with its numerical error, against ``at`` (V or s)."""

    at: Numbers
    WER: Numbers
    error: Numbers


class Bathtub(Part):
    """Error rates around the write pulse: against its voltage [V] and against its width [s]."""

    voltage: ErrorCurve
    width: ErrorCurve


class Retention(Part):
    """Mean life of a bit in the shallower well [s].

    Args:
        life: as the junction stands.
        temperatures: [K]; at_temperature: life there, the material following its laws.
        voltages: constant, on the cell [V]; at_voltage: life there, without spin torque.
    """

    life: float | None
    temperatures: Numbers
    at_temperature: Gappy
    voltages: Numbers
    at_voltage: Gappy


class Astroid(Part):
    """Stoner and Wohlfarth's switching fields at one voltage: a quadrant [T]."""

    voltage: float
    B_k: float
    in_plane: Numbers
    along_z: Numbers


class Read(Part):
    """A read at one voltage [V] averaged over a time [s].

    Args:
        P, AP: currents of the two states; reference: between them; margin: of the nearer one [A].
        error: probability to read a bit as the other, over devices and reads.
        energy: of one read [J].
        disturb: probability that it flips the bit, of the worse state; None without a rate.
    """

    voltage: float
    integration_time: float
    P: float
    AP: float
    reference: float
    margin: float
    error: float
    energy: float
    disturb: float | None


class Oxide(Part):
    """Life of the oxide at a voltage [V] until a share ``failure`` has broken [s]; none above ``limit`` [V]."""

    failure: float
    limit: float
    voltages: Numbers
    life: Gappy


class Characterisation(Spec):
    """``device.json``: all of it, SI. A part that does not exist is None and has its reason in ``reasons``."""

    KIND: ClassVar[str] = "device-characterisation"
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    junction: JunctionSpec
    relax: float
    spin_torque: bool
    line_capacitance: float
    derived: Derived
    curves: tuple[PulseCurve, ...] | None
    map: PulseMap | None
    write: PulseRecord | None
    coin: PulseRecord | None
    bathtub: Bathtub | None
    retention: Retention | None
    astroid: tuple[Astroid, ...] | None
    read: Read | None
    oxide: Oxide
    reasons: dict[str, str]
    environment: dict[str, str]


def _numbers(values: ArrayLike) -> Numbers:
    return tuple(float(v) for v in np.asarray(values, float))


def _rows(values: Floats) -> tuple[Numbers, ...]:
    return tuple(_numbers(row) for row in values)


# --- the questions -------------------------------------------------------------------------------------


def characterise(
    junction: Junction,
    *,
    effort: Effort | None = None,
    relax: float = 10 * ns,
    spin_torque: bool = False,
    read_scheme: ReadScheme | None = None,
    line_capacitance: float = 0.0,
    failure: float = 1e-6,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Characterisation:
    """Ask everything about a junction.

    All pulses are rectangular, which flatters a write error rate.

    Args:
        junction: at a temperature above zero.
        effort: grids and search; ``QUICK`` for a first look.
        relax: time after a pulse before the bit is judged [s].
        spin_torque: add the torque of the tunnel current to the pulses (not to retention and read).
        read_scheme: ``READ`` where absent, at the voltage that raises the barrier.
        line_capacitance: charged by every pulse and read [F].
        failure: share of broken oxides that ends a life [1].
        threads: at most so many; all cores where absent.
        progress: called with (part, done, total).

    Returns:
        The record.

    Raises:
        InputError: a temperature of zero, or a degree that does not resolve the barrier.
    """
    require_positive("temperature", junction.temperature, "K", "at zero kelvin no bit is ever lost; give e.g. 300")
    effort = effort or Effort()
    reasons: dict[str, str] = {}
    tick = lambda part: None if progress is None else partial(progress, part)  # noqa: E731
    derived = _derived(junction, reasons)
    cell = _Cell(junction, relax, spin_torque, effort, threads)
    curves = pulses = write = coin = bathtub = None
    if nothing := _no_pulse_acts(junction):
        reasons |= dict.fromkeys(("curves", "map", "write", "coin", "bathtub"), nothing)
    else:
        curves = _curves(cell, tick("pulse curves"))
        pulses = _map(cell, tick("map"))
        shots = {
            "write": _write_pulse(cell, pulses, reasons, tick("write pulse")),
            "coin": _coin_pulse(cell, pulses, reasons, tick("coin pulse")),
        }
        told = _Counter(tick("sensitivities"), sum(shot is not None for shot in shots.values()))
        records: dict[str, PulseRecord | None] = dict.fromkeys(shots)
        for name, shot in shots.items():
            if shot is not None:
                records[name] = _record(cell, shot, name == "coin", line_capacitance, failure)
                told()
        write, coin = records["write"], records["coin"]
        if shots["write"] is not None:
            bathtub = _bathtub(cell, shots["write"].pulse)
        else:
            reasons["bathtub"] = "there is no write pulse"
    scheme = read_scheme or replace(
        READ, voltage=math.copysign(READ.voltage, -junction.xi), line_capacitance=line_capacitance
    )
    return Characterisation(
        junction=JunctionSpec.of(junction),
        relax=relax,
        spin_torque=spin_torque,
        line_capacitance=line_capacitance,
        derived=derived,
        curves=curves,
        map=pulses,
        write=write,
        coin=coin,
        bathtub=bathtub,
        retention=_retention(junction, effort.stations, reasons, tick("retention")),
        astroid=_astroids(junction, reasons),
        read=_or_reason(reasons, "read", lambda: _read(junction, scheme)),
        oxide=_oxide(junction, effort.points, failure),
        reasons=reasons,
        environment=environment(),
    )


def _or_reason(reasons: dict[str, str], part: str, ask: Callable[[], _T]) -> _T | None:
    """The answer, or None and the refusal's own words in ``reasons``."""
    try:
        return ask()
    except InputError as error:
        reasons[part] = str(error)
        return None


def _no_pulse_acts(junction: Junction) -> str:
    """Why no voltage pulse acts on a bit, or nothing."""
    if junction.xi == 0:
        return "xi = 0 J/(V m): the voltage does not reach the anisotropy"
    if junction.barrier() == 0:
        return "no two wells at zero voltage, so no bit: raise K_i or lower the field"
    return ""


def _derived(junction: Junction, reasons: dict[str, str]) -> Derived:
    period = None
    if junction.B_in_plane > 0:
        period = 2 * math.pi / (gamma_e * junction.B_in_plane)
    else:
        reasons["period"] = "no in-plane field to turn about"
    return Derived(
        Delta=junction.Delta(),
        barrier=junction.barrier(),
        K_eff=junction.K_eff(),
        B_k=junction.B_k(),
        V_c=_or_reason(reasons, "V_c", lambda: junction.V_c),
        period=period,
        relaxation_time=junction.relaxation_time,
        R_P=junction.R_P,
        R_AP=junction.R_AP(),
        capacitance=oxide_capacitance(junction),
    )


# --- pulses --------------------------------------------------------------------------------------------


class _Counter:
    """Counts what is done, for a progress callback."""

    def __init__(self, report: Callable[[int, int], None] | None, total: int) -> None:
        self.report, self.total, self.done = report, total, 0

    def __call__(self, more: int = 1) -> None:
        self.done += more
        if self.report is not None:
            self.report(self.done, self.total)


@dataclass(frozen=True)
class _Cell:
    """A junction and how its pulses are computed."""

    junction: Junction
    relax: float
    spin_torque: bool
    effort: Effort
    threads: int | None

    @property
    def wells(self) -> tuple[Well, ...]:
        """The directions that differ: one where the junction is its own mirror image."""
        return _WELLS[: 1 if self.junction.B_bias[2] == 0 and not self.spin_torque else 2]

    @property
    def span(self) -> float:
        """Longest width of the map [s]: a turn and a quarter, or until a bit without a turn is forgotten."""
        if self.junction.B_in_plane > 0:
            return 1.25 * 2 * math.pi / (gamma_e * self.junction.B_in_plane)
        return _FORGETTING * self.junction.relaxation_time

    def maps(
        self,
        voltages: ArrayLike,
        widths: ArrayLike,
        *,
        finer: float = 1.0,
        tick: Callable[[int, int], None] | None = None,
    ) -> tuple[SwitchingMap, SwitchingMap]:
        """Up to down and down to up."""
        found = [self._resolved(well, voltages, widths, finer, tick) for well in self.wells]
        return found[0], found[-1]

    def _resolved(
        self, well: Well, voltages: ArrayLike, widths: ArrayLike, finer: float, tick: Callable[[int, int], None] | None
    ) -> SwitchingMap:
        degree = min(round(finer * (self.effort.degree or least_degree(self.junction))), MAX_DEGREE)
        while True:
            try:
                return switching_map(
                    self.junction, voltages=voltages, widths=widths, initial=well, relax=self.relax,
                    spin_torque=self.spin_torque, degree=degree, atol=_ATOL, threads=self.threads,
                    progress=tick,
                )  # fmt: skip
            except InputError:
                if self.effort.degree is not None or degree == MAX_DEGREE:
                    raise
                degree = min(math.ceil(degree / COARSER), MAX_DEGREE)


def _worse(maps: tuple[SwitchingMap, SwitchingMap]) -> tuple[Floats, Floats]:
    """WER of the direction that fails more often, and its error."""
    up, down = maps
    return np.clip(np.maximum(up.WER, down.WER), 0, 1), np.maximum(up.error, down.error)


def _curves(cell: _Cell, tick: Callable[[int, int], None] | None) -> tuple[PulseCurve, ...]:
    labels = {"0.7 V_c": 0.7, "V_c": 1.0, "1.3 V_c": 1.3}
    longest = cell.span * (3 if cell.junction.B_in_plane > 0 else 1)
    widths = np.linspace(longest / cell.effort.points, longest, cell.effort.points)
    V_c = cell.junction.V_c
    up, down = cell.maps([k * V_c for k in labels.values()], widths, tick=tick)
    return tuple(
        PulseCurve(
            label=label, voltage=k * V_c, widths=_numbers(widths), p01=_probabilities(up.P_sw[i]),
            p10=_probabilities(down.P_sw[i]),
        )
        for i, (label, k) in enumerate(labels.items())
    )  # fmt: skip


def _probabilities(values: Floats) -> Numbers:
    return _numbers(np.clip(values, 0, 1))


def _map(cell: _Cell, tick: Callable[[int, int], None] | None) -> PulseMap:
    voltages = np.sort(np.linspace(0.5, 1.6, cell.effort.voltages) * cell.junction.V_c)
    widths = np.linspace(cell.span / cell.effort.widths, cell.span, cell.effort.widths)
    # The best rates lie near 1e-9: at the degree that serves the curves their error would be a thousand times larger.
    maps = cell.maps(voltages, widths, finer=_TAILS if cell.effort.search else 1.0, tick=tick)
    WER, error = _worse(maps)
    up, down = (np.clip(m.P_sw, 0, 1) for m in maps)
    return PulseMap(
        voltages=_numbers(voltages), widths=_numbers(widths), p01=_rows(up), p10=_rows(down), WER=_rows(WER),
        error=_rows(error), degree=max(m.degree for m in maps),
    )  # fmt: skip


def _search(
    cell: _Cell, target: Target, reasons: dict[str, str], tick: Callable[[int, int], None] | None
) -> BestPulse | None:
    V_c = cell.junction.V_c
    ends = (0.7, 1.4) if target == "write" else (0.9, 1.6)
    low, high = sorted(k * V_c for k in ends)
    return _or_reason(
        reasons, f"search for the {target} pulse",
        lambda: best_pulse(
            cell.junction, target=target, voltage_range=(low, high), relax=cell.relax, spin_torque=cell.spin_torque,
            threads=cell.threads, progress=tick,
        ),
    )  # fmt: skip


def _write_pulse(
    cell: _Cell, pulses: PulseMap, reasons: dict[str, str], tick: Callable[[int, int], None] | None
) -> BestPulse | None:
    if cell.junction.B_in_plane == 0:
        reasons["write"] = "no in-plane field turns the bit: a pulse can make it forget, but not write it"
        return None
    if cell.effort.search and (found := _search(cell, "write", reasons, tick)):
        return found
    WER = np.array(pulses.WER)
    at = np.unravel_index(int(np.argmin(np.maximum(WER, pulses.error))), WER.shape)
    return _of_map(cell, pulses, at, "write", f"writes with an error rate of {WER[at]:.2g}")


def _coin_pulse(
    cell: _Cell, pulses: PulseMap, reasons: dict[str, str], tick: Callable[[int, int], None] | None
) -> BestPulse | None:
    if cell.effort.search and cell.junction.B_in_plane > 0 and (found := _search(cell, "fair", reasons, tick)):
        return found
    off = np.maximum(abs(np.array(pulses.p01) - 0.5), abs(np.array(pulses.p10) - 0.5))
    # Of the flattest, whose neighbours in width are fair as well, the shortest. The ends have one neighbour only.
    around = np.max([off[:, :-2], off[:, 1:-1], off[:, 2:]], axis=0)
    shortest = int(np.argmax((around <= max(around.min(), 2 * Tolerance().probability)).any(axis=0)))
    best = int(np.argmin(around[:, shortest])), shortest
    at = (best[0], best[1] + 1)
    if off[at] > 0.1:
        reasons["coin"] = f"no pulse of the map comes within 0.1 of 1/2; the closest is off by {off[at]:.2g}"
        return None
    return _of_map(cell, pulses, at, "fair", f"is off 1/2 by {off[at]:.2g}")


def _of_map(cell: _Cell, pulses: PulseMap, at: tuple[Any, ...], target: Target, does: str) -> BestPulse:
    v, w = int(at[0]), int(at[1])
    pulse = Pulse(voltage=pulses.voltages[v], width=pulses.widths[w])
    p01, p10 = pulses.p01[v][w], pulses.p10[v][w]
    return BestPulse(
        pulse, target, p01, p10, pulses.WER[v][w], target == "write", math.nan, "", pulse.energy(cell.junction),
        f"{pulse.voltage:.3f} V for {pulse.width * 1e9:.3g} ns, the best of the map, {does}.",
    )  # fmt: skip


def _record(cell: _Cell, shot: BestPulse, coin: bool, line_capacitance: float, failure: float) -> PulseRecord:
    junction, pulse = cell.junction, shot.pulse
    energy = pulse_energy(junction, pulse, line_capacitance=line_capacitance)
    degree = cell.effort.degree or least_degree(junction)
    slopes = sensitivities(junction, pulse, relax=cell.relax, spin_torque=cell.spin_torque, degree=degree)
    searched = not math.isnan(shot.worst_deviation)
    return PulseRecord(
        voltage=pulse.voltage,
        width=pulse.width,
        p01=shot.p01,
        p10=shot.p10,
        WER=shot.WER,
        searched=searched,
        verdict=shot.verdict,
        worst_deviation=shot.worst_deviation if coin and searched else None,
        worst_case=shot.worst_case if coin and searched else "",
        band=_band(cell, pulse) if coin else None,
        energy=Energy(ohmic=energy.ohmic, capacitive=energy.capacitive, line=energy.line),
        slopes=tuple(Slope(**asdict(s)) for s in slopes.values()),
        oxide_life=_life_of_oxide(junction, pulse.voltage, failure),
    )


def _band(cell: _Cell, coin: Pulse) -> tuple[float, float] | None:
    """Widths around the coin's that are as fair as ``Tolerance`` asks, to 2 % of the width."""
    widths = coin.width * np.linspace(0.4, 2.0, 81)
    middle = 30
    up, down = cell.maps([coin.voltage], widths)
    off = np.maximum(abs(up.P_sw[0] - 0.5), abs(down.P_sw[0] - 0.5)) > Tolerance().probability
    if off[middle]:
        return None
    before, behind = np.flatnonzero(off[:middle]), np.flatnonzero(off[middle:])
    first = int(before[-1]) + 1 if len(before) else 0
    last = middle + int(behind[0]) - 1 if len(behind) else len(widths) - 1
    return float(widths[first]), float(widths[last])


def _bathtub(cell: _Cell, best: Pulse) -> Bathtub:
    voltages = np.sort(best.voltage * np.linspace(0.8, 1.2, cell.effort.voltages | 1))
    widths = best.width * np.linspace(0.6, 1.4, 2 * cell.effort.widths - 1)
    across = _worse(cell.maps(voltages, [best.width], finer=_TAILS))
    along = _worse(cell.maps([best.voltage], widths, finer=_TAILS))
    return Bathtub(
        voltage=ErrorCurve(at=_numbers(voltages), WER=_numbers(across[0][:, 0]), error=_numbers(across[1][:, 0])),
        width=ErrorCurve(at=_numbers(widths), WER=_numbers(along[0][0]), error=_numbers(along[1][0])),
    )


# --- rest ----------------------------------------------------------------------------------------------


def _life(junction: Junction, voltage: float) -> float:
    wells = _WELLS[: 1 if junction.B_bias[2] == 0 else 2]
    rate = max(flip_rate(junction, voltage=voltage, well=well) for well in wells)
    if not rate > 0 or math.isinf(1 / rate):
        raise InputError(f"a barrier of {junction.barrier(voltage):.3g} k_B T: the rate of flips underflows")
    return 1 / rate


def _life_at(junction: Junction, temperature: float) -> float:
    return _life(at_temperature(junction, temperature), 0.0)


def _retention(
    junction: Junction, stations: int, reasons: dict[str, str], tick: Callable[[int, int], None] | None
) -> Retention | None:
    if junction.barrier() == 0:
        reasons["retention"] = "no two wells at zero voltage, so no bit: raise K_i or lower the field"
        return None
    temperatures, voltages = np.linspace(250, 400, stations), np.linspace(-0.3, 0.3, stations)
    told = _Counter(tick, 2 * stations)
    gaps: dict[str, str] = {}

    def ask(where: str, life: Callable[[], float]) -> float | None:
        told()
        return _or_reason(gaps, where, life)

    warm = tuple(ask(f"{T:g} K", partial(_life_at, junction, T)) for T in map(float, temperatures))
    biased = tuple(ask(f"{V:g} V", partial(_life, junction, V)) for V in map(float, voltages))
    now = _or_reason(reasons, "life", partial(_life, junction, 0.0))
    if gaps:
        where, why = next(iter(gaps.items()))
        reasons["some of retention"] = f"{len(gaps)} of {2 * stations} points, the first at {where}: {why}"
    return Retention(
        life=now, temperatures=_numbers(temperatures), at_temperature=warm, voltages=_numbers(voltages),
        at_voltage=biased,
    )  # fmt: skip


def astroid(B_k: float, points: int = 61) -> tuple[Floats, Floats]:
    """Switching fields (in plane, along z) of an anisotropy field, all [T]: h_x^(2/3) + h_z^(2/3) = 1, one quadrant.

    Source: E. C. Stoner and E. P. Wohlfarth, Phil. Trans. R. Soc. A 240, 599 (1948).
    """
    require_positive("B_k", B_k, "T", "an easy plane has no astroid")
    t = np.linspace(0, math.pi / 2, points)
    return B_k * np.sin(t) ** 3, B_k * np.cos(t) ** 3


def _astroids(junction: Junction, reasons: dict[str, str]) -> tuple[Astroid, ...] | None:
    if junction.K_eff() <= 0:
        reasons["astroid"] = f"K_eff = {junction.K_eff():.3g} J/m^3: an easy plane has no astroid"
        return None
    voltages = [k * junction.V_c for k in (-0.25, 0.0, 0.25, 0.5, 0.75)] if junction.xi else [0.0]
    out = []
    for voltage in voltages:
        in_plane, along_z = astroid(junction.B_k(voltage))
        out.append(
            Astroid(voltage=voltage, B_k=junction.B_k(voltage), in_plane=_numbers(in_plane), along_z=_numbers(along_z))
        )
    return tuple(out)


def _read(junction: Junction, scheme: ReadScheme) -> Read:
    found, pulse = read(junction, scheme), scheme.pulse
    disturb = _or_reason(
        {}, "disturb",
        lambda: max(read_disturb(junction, voltage=pulse.voltage, duration=pulse.width, well=w) for w in _WELLS),
    )  # fmt: skip
    return Read(
        voltage=scheme.voltage,
        integration_time=scheme.integration_time,
        P=found.P.current,
        AP=found.AP.current,
        reference=found.reference,
        margin=found.margin,
        error=found.error,
        energy=found.energy.total,
        disturb=disturb,
    )


def _life_of_oxide(junction: Junction, voltage: float, failure: float) -> float | None:
    life = _or_reason({}, "", lambda: breakdown.lifetime(junction, voltage=voltage, failure=failure))
    return life if life is not None and math.isfinite(life) else None


def _oxide(junction: Junction, points: int, failure: float) -> Oxide:
    limit = breakdown.PowerLaw().limit.value * junction.t_ox
    voltages = _numbers(np.linspace(0.3, 0.999, points) * limit)
    life = tuple(_life_of_oxide(junction, V, failure) for V in voltages)
    return Oxide(failure=failure, limit=limit, voltages=voltages, life=life)
