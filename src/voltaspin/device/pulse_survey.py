"""What pulses do to one junction: curves, a map, the pulses that write and toss a coin, error rates around the first.

The parts of a :class:`Characterisation` that take minutes. All pulses are rectangular, which flatters a write error
rate, and all probabilities are solutions of the Fokker-Planck equation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from voltaspin.core.errors import InputError
from voltaspin.core.units import gamma_e
from voltaspin.device import breakdown
from voltaspin.device.characterisation import (
    Bathtub,
    Energy,
    ErrorCurve,
    Numbers,
    PulseCurve,
    PulseMap,
    PulseRecord,
    Slope,
    numbers,
    or_reason,
)
from voltaspin.device.density import COARSER, MAX_DEGREE, first_degree
from voltaspin.device.fokker_planck import SwitchingMap, switching_map
from voltaspin.device.junction import Junction, Pulse, Well
from voltaspin.device.pulse_design import BestPulse, Target, Tolerance, best_pulse
from voltaspin.device.sensitivity import sensitivities
from voltaspin.device.sphere import Floats
from voltaspin.device.transport import pulse_energy

Progress = Callable[[int, int], None]

_WELLS: tuple[Well, Well] = ("up", "down")
_ATOL = 2e-2  #: of a probability, between two degrees: mostly the error of the coarser one; the record keeps it
_TAILS = 1.3  #: degree of error rates down to 1e-9 over that of probabilities
_FORGETTING = 20  #: relaxation times that a pulse may last where no in-plane field sets a period


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


@dataclass(frozen=True)
class Survey:
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
        tick: Progress | None = None,
    ) -> tuple[SwitchingMap, SwitchingMap]:
        """Up to down and down to up."""
        found = [self._resolved(well, voltages, widths, finer, tick) for well in self.wells]
        return found[0], found[-1]

    def _resolved(
        self, well: Well, voltages: ArrayLike, widths: ArrayLike, finer: float, tick: Progress | None
    ) -> SwitchingMap:
        degree = min(round(finer * (self.effort.degree or first_degree(self.junction))), MAX_DEGREE)
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


# --- curves and map ------------------------------------------------------------------------------------


def pulse_curves(survey: Survey, tick: Progress | None) -> tuple[PulseCurve, ...]:
    """Switching probabilities against the width at three voltages around V_c."""
    labels = {"0.7 V_c": 0.7, "V_c": 1.0, "1.3 V_c": 1.3}
    longest = survey.span * (3 if survey.junction.B_in_plane > 0 else 1)
    widths = np.linspace(longest / survey.effort.points, longest, survey.effort.points)
    V_c = survey.junction.V_c
    up, down = survey.maps([k * V_c for k in labels.values()], widths, tick=tick)
    return tuple(
        PulseCurve(
            label=label, voltage=k * V_c, widths=numbers(widths), p01=_probabilities(up.P_sw[i]),
            p10=_probabilities(down.P_sw[i]),
        )
        for i, (label, k) in enumerate(labels.items())
    )  # fmt: skip


def _probabilities(values: Floats) -> Numbers:
    return numbers(np.clip(values, 0, 1))


def _rows(values: Floats) -> tuple[Numbers, ...]:
    return tuple(numbers(row) for row in values)


def pulse_map(survey: Survey, tick: Progress | None) -> PulseMap:
    """Switching probabilities and error rates over voltage and width."""
    voltages = np.sort(np.linspace(0.5, 1.6, survey.effort.voltages) * survey.junction.V_c)
    widths = np.linspace(survey.span / survey.effort.widths, survey.span, survey.effort.widths)
    # The best rates lie near 1e-9: at the degree that serves the curves their error would be a thousand times larger.
    maps = survey.maps(voltages, widths, finer=_TAILS if survey.effort.search else 1.0, tick=tick)
    WER, error = _worse(maps)
    up, down = (np.clip(m.P_sw, 0, 1) for m in maps)
    return PulseMap(
        voltages=numbers(voltages), widths=numbers(widths), p01=_rows(up), p10=_rows(down), WER=_rows(WER),
        error=_rows(error), degree=max(m.degree for m in maps),
    )  # fmt: skip


# --- one pulse for each purpose ------------------------------------------------------------------------


def _search(survey: Survey, target: Target, reasons: dict[str, str], tick: Progress | None) -> BestPulse | None:
    V_c = survey.junction.V_c
    ends = (0.7, 1.4) if target == "write" else (0.9, 1.6)
    low, high = sorted(k * V_c for k in ends)
    return or_reason(
        reasons, f"search for the {target} pulse",
        lambda: best_pulse(
            survey.junction, target=target, voltage_range=(low, high), relax=survey.relax,
            spin_torque=survey.spin_torque, threads=survey.threads, progress=tick,
        ),
    )  # fmt: skip


def write_pulse(survey: Survey, pulses: PulseMap, reasons: dict[str, str], tick: Progress | None) -> BestPulse | None:
    """The pulse with the lowest error rate, searched or of the map; None with the reason in ``reasons``."""
    if survey.junction.B_in_plane == 0:
        reasons["write"] = "no in-plane field turns the bit: a pulse can make it forget, but not write it"
        return None
    if survey.effort.search and (found := _search(survey, "write", reasons, tick)):
        return found
    WER = np.array(pulses.WER)
    at = np.unravel_index(int(np.argmin(np.maximum(WER, pulses.error))), WER.shape)
    return _of_map(survey, pulses, at, "write", f"writes with an error rate of {WER[at]:.2g}")


def coin_pulse(survey: Survey, pulses: PulseMap, reasons: dict[str, str], tick: Progress | None) -> BestPulse | None:
    """The pulse closest to 1/2, searched or of the map; None with the reason in ``reasons``."""
    if survey.effort.search and survey.junction.B_in_plane > 0 and (found := _search(survey, "fair", reasons, tick)):
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
    return _of_map(survey, pulses, at, "fair", f"is off 1/2 by {off[at]:.2g}")


def _of_map(survey: Survey, pulses: PulseMap, at: tuple[Any, ...], target: Target, does: str) -> BestPulse:
    v, w = int(at[0]), int(at[1])
    pulse = Pulse(voltage=pulses.voltages[v], width=pulses.widths[w])
    p01, p10 = pulses.p01[v][w], pulses.p10[v][w]
    return BestPulse(
        pulse, target, p01, p10, pulses.WER[v][w], target == "write", math.nan, "", pulse.energy(survey.junction),
        f"{pulse.voltage:.3f} V for {pulse.width * 1e9:.3g} ns, the best of the map, {does}.",
    )  # fmt: skip


# --- around a pulse ------------------------------------------------------------------------------------


def oxide_life(junction: Junction, voltage: float, failure: float) -> float | None:
    """Stress at that voltage until a share ``failure`` has broken [s]; None above breakdown or where it overflows."""
    life = or_reason({}, "", lambda: breakdown.lifetime(junction, voltage=voltage, failure=failure))
    return life if life is not None and math.isfinite(life) else None


def pulse_record(survey: Survey, shot: BestPulse, coin: bool, line_capacitance: float, failure: float) -> PulseRecord:
    """What one pulse does and costs, and what it is sensitive to."""
    junction, pulse = survey.junction, shot.pulse
    energy = pulse_energy(junction, pulse, line_capacitance=line_capacitance)
    degree = survey.effort.degree or first_degree(junction)
    slopes = sensitivities(junction, pulse, relax=survey.relax, spin_torque=survey.spin_torque, degree=degree)
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
        band=_band(survey, pulse) if coin else None,
        energy=Energy(ohmic=energy.ohmic, capacitive=energy.capacitive, line=energy.line),
        slopes=tuple(Slope(**asdict(s)) for s in slopes.values()),
        oxide_life=oxide_life(junction, pulse.voltage, failure),
    )


def _band(survey: Survey, coin: Pulse) -> tuple[float, float] | None:
    """Widths around the coin's that are as fair as ``Tolerance`` asks, to 2 % of the width."""
    widths = coin.width * np.linspace(0.4, 2.0, 81)
    middle = 30
    up, down = survey.maps([coin.voltage], widths)
    off = np.maximum(abs(up.P_sw[0] - 0.5), abs(down.P_sw[0] - 0.5)) > Tolerance().probability
    if off[middle]:
        return None
    before, behind = np.flatnonzero(off[:middle]), np.flatnonzero(off[middle:])
    first = int(before[-1]) + 1 if len(before) else 0
    last = middle + int(behind[0]) - 1 if len(behind) else len(widths) - 1
    return float(widths[first]), float(widths[last])


def bathtub_around(survey: Survey, best: Pulse) -> Bathtub:
    """Error rates against voltage and width around the write pulse."""
    voltages = np.sort(best.voltage * np.linspace(0.8, 1.2, survey.effort.voltages | 1))
    widths = best.width * np.linspace(0.6, 1.4, 2 * survey.effort.widths - 1)
    across = _worse(survey.maps(voltages, [best.width], finer=_TAILS))
    along = _worse(survey.maps([best.voltage], widths, finer=_TAILS))
    return Bathtub(
        voltage=ErrorCurve(at=numbers(voltages), WER=numbers(across[0][:, 0]), error=numbers(across[1][:, 0])),
        width=ErrorCurve(at=numbers(widths), WER=numbers(along[0][0]), error=numbers(along[1][0])),
    )
