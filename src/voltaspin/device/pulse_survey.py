"""The effect of pulses on one junction: curves, a map, the write pulse and the fair one, error rates around the first.

The parts of a :class:`Characterisation` that take minutes. All pulses are rectangular, which understates a write error
rate, and all probabilities are solutions of the Fokker-Planck equation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from voltaspin.core.errors import InputError
from voltaspin.device import breakdown
from voltaspin.device.characterisation import (
    Bathtub,
    ErrorCurve,
    Numbers,
    PulseCurve,
    PulseMap,
    PulseRecord,
    numbers,
    or_reason,
)
from voltaspin.device.density import COARSER, MAX_DEGREE, cost_of, first_degree
from voltaspin.device.fokker_planck import FokkerPlanck, SwitchingMap
from voltaspin.device.junction import Junction, Pulse
from voltaspin.device.protocol import Protocol
from voltaspin.device.pulse_design import FORGETTING, BestPulse, Tolerance, best_pulse, fair_pulse, named, period
from voltaspin.device.sensitivity import sensitivities
from voltaspin.device.sphere import Floats
from voltaspin.device.transport import pulse_energy

Progress = Callable[[int, int], None]

_ATOL = 2e-2  #: of a probability, between two degrees: mostly the error of the coarser one; the record keeps it
OF_MAP = "of the map"  #: the case of a pulse that was taken from a map and not searched
#: Solutions that a search tries; the time of a map's row as a share of what :func:`cost_of` says, which knows nothing
#: of what rows share, and that of all derivatives of a pulse.
_TRIALS, _OF_BOUND, _OF_SLOPES = 40, 0.1, 3.0
_TAILS = 1.3  #: degree of error rates down to 1e-9 over that of probabilities


@dataclass(frozen=True, kw_only=True)
class Effort:
    """The resolution at which a junction is examined.

    Args:
        voltages, widths: points of the map; a bathtub has twice as many widths.
        points: of a curve against the width, and of the oxide's life.
        stations: temperatures, and read voltages, of the retention.
        search: find the write pulse by :func:`best_pulse`; else take it from the map. ``coin`` is the fair pulse.
        degree: of the harmonics in maps, curves and derivatives; chosen by the barrier where absent.
    """

    voltages: int = 48
    widths: int = 64
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
    protocol: Protocol
    effort: Effort
    threads: int | None

    @property
    def span(self) -> float:
        """Longest width of the map [s]: a turn and a quarter, or until a bit without a turn is forgotten."""
        return 1.25 * turn if (turn := period(self.junction)) else FORGETTING * self.junction.relaxation_time

    @property
    def degree(self) -> int:
        """The degree of the harmonics for probabilities."""
        return self.effort.degree or first_degree(self.junction)

    def seconds(self) -> float:
        """Return about how long all parts of a characterisation take on one core [s], if the degree need not rise."""
        junction, relax, effort = self.junction, self.protocol.relax, self.effort
        wells = len(self.protocol.wells(junction))
        span, finer = self.span, _TAILS if effort.search else 1.0

        def cost(width: float, degree: float, rows: float = 1.0) -> float:
            pulse = Pulse(voltage=junction.V_c, width=width)
            at = min(round(degree), MAX_DEGREE)
            return rows * cost_of(junction, [pulse], at, relax, self.protocol.spin_torque)

        longest = span * (3 if junction.B_in_plane > 0 else 1)
        maps = cost(longest, self.degree, 3) + cost(span, finer * self.degree, effort.voltages)  # curves and map
        maps += cost(span, _TAILS * self.degree, effort.voltages + 1)  # bathtub
        if effort.search and junction.B_in_plane > 0:
            maps += cost(span, first_degree(junction), _TRIALS)
        maps += cost(span / 2, first_degree(junction), _TRIALS) + cost(span, self.degree)  # fair pulse and its band
        return wells * _OF_BOUND * maps + 2 * _OF_SLOPES * cost(span / 4, self.degree) + 0.2 * effort.stations

    def maps(
        self, voltages: ArrayLike, widths: ArrayLike, *, finer: float = 1.0, tick: Progress | None = None
    ) -> tuple[SwitchingMap, SwitchingMap]:
        """Return the maps from up and from down, which are one where the junction is its own mirror image."""
        found = [
            self._resolved(replace(self.protocol, initial=well), voltages, widths, finer, tick)
            for well in self.protocol.wells(self.junction)
        ]
        return found[0], found[-1]

    def _resolved(
        self, protocol: Protocol, voltages: ArrayLike, widths: ArrayLike, finer: float, tick: Progress | None
    ) -> SwitchingMap:
        degree = min(round(finer * self.degree), MAX_DEGREE)
        while True:
            solver = FokkerPlanck(degree, threads=self.threads)
            try:
                return solver.map(self.junction, voltages, widths, protocol, atol=_ATOL, progress=tick)
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
    """Return the switching probabilities against the width at three voltages around V_c."""
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
    """Return the switching probabilities and error rates over voltage and width."""
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


def write_pulse(survey: Survey, pulses: PulseMap, reasons: dict[str, str], tick: Progress | None) -> BestPulse | None:
    """Return the pulse with the lowest error rate, searched or of the map; None with the reason in ``reasons``."""
    junction, protocol = survey.junction, survey.protocol
    if junction.B_in_plane == 0:
        reasons["write"] = "no in-plane field turns the bit: a pulse can make it forget, but not write it"
        return None
    if survey.effort.search:
        found = or_reason(
            reasons, "search for the write pulse",
            lambda: best_pulse(
                junction, relax=protocol.relax, spin_torque=protocol.spin_torque, threads=survey.threads, progress=tick
            ),
        )  # fmt: skip
        if found is not None:
            return found
    WER = np.array(pulses.WER)
    v, w = np.unravel_index(int(np.argmin(np.maximum(WER, pulses.error))), WER.shape)
    pulse = Pulse(voltage=pulses.voltages[v], width=pulses.widths[w])
    p01, p10 = pulses.p01[v][w], pulses.p10[v][w]
    return BestPulse(
        pulse=pulse, target="write", p01=p01, p10=p10, WER=float(WER[v, w]), error=pulses.error[v][w], meets=True,
        worst_deviation=max(abs(p01 - 0.5), abs(p10 - 0.5)), worst_case=OF_MAP, energy=pulse.energy(junction),
        verdict=f"{named(pulse)}, the best of the map, writes with an error rate of {WER[v, w]:.2g}.",
    )  # fmt: skip


def coin_pulse(survey: Survey, reasons: dict[str, str], tick: Progress | None) -> BestPulse | None:
    """Return the fair pulse; None with the reason in ``reasons`` where it is not fair."""
    found = or_reason(
        reasons, "coin",
        lambda: fair_pulse(survey.junction, protocol=survey.protocol, threads=survey.threads, progress=tick),
    )  # fmt: skip
    if tick is not None:
        tick(1, 1)  # also where it was kept from another time
    off = 0.0 if found is None else max(abs(found.p01 - 0.5), abs(found.p10 - 0.5))
    if off > 0.1:
        reasons["coin"] = f"no pulse comes within 0.1 of 1/2; the closest is off by {off:.2g}"
        return None
    return found


# --- around a pulse ------------------------------------------------------------------------------------


def oxide_life(junction: Junction, voltage: float, failure: float) -> float | None:
    """Return the stress at a voltage until a share ``failure`` has broken [s]; None where there is none or no end."""
    life = or_reason({}, "", lambda: breakdown.lifetime(junction, voltage=voltage, failure=failure))
    return life if life is not None and math.isfinite(life) else None


def pulse_record(survey: Survey, shot: BestPulse, line_capacitance: float, failure: float) -> PulseRecord:
    """Return what one pulse does and costs, and what it is sensitive to."""
    junction, pulse, protocol = survey.junction, shot.pulse, survey.protocol
    coin = shot.target == "fair"
    slopes = sensitivities(
        junction, pulse, relax=protocol.relax, spin_torque=protocol.spin_torque, degree=survey.degree
    )  # fmt: skip
    return PulseRecord(
        voltage=pulse.voltage,
        width=pulse.width,
        p01=shot.p01,
        p10=shot.p10,
        WER=shot.WER,
        searched=shot.worst_case != OF_MAP,
        verdict=shot.verdict,
        worst_deviation=shot.worst_deviation if coin else None,
        worst_case=shot.worst_case if coin else "",
        band=_band(survey, pulse) if coin else None,
        energy=pulse_energy(junction, pulse, line_capacitance=line_capacitance),
        slopes=tuple(slopes.values()),
        oxide_life=oxide_life(junction, pulse.voltage, failure),
    )


def _band(survey: Survey, pulse: Pulse) -> tuple[float, float] | None:
    """Widths around that of the pulse that are as fair as ``Tolerance`` asks, to 2 % of the width."""
    widths = pulse.width * np.linspace(0.4, 2.0, 81)
    middle = 30
    up, down = survey.maps([pulse.voltage], widths)
    off = np.maximum(abs(up.P_sw[0] - 0.5), abs(down.P_sw[0] - 0.5)) > Tolerance().probability
    if off[middle]:
        return None
    before, behind = np.flatnonzero(off[:middle]), np.flatnonzero(off[middle:])
    first = int(before[-1]) + 1 if len(before) else 0
    last = middle + int(behind[0]) - 1 if len(behind) else len(widths) - 1
    return float(widths[first]), float(widths[last])


def bathtub_around(survey: Survey, best: Pulse) -> Bathtub:
    """Return the error rates against voltage and width around the write pulse."""
    voltages = np.sort(best.voltage * np.linspace(0.8, 1.2, survey.effort.voltages | 1))
    widths = best.width * np.linspace(0.6, 1.4, 2 * survey.effort.widths - 1)
    across = _worse(survey.maps(voltages, [best.width], finer=_TAILS))
    along = _worse(survey.maps([best.voltage], widths, finer=_TAILS))
    return Bathtub(
        voltage=ErrorCurve(at=numbers(voltages), WER=numbers(across[0][:, 0]), error=numbers(across[1][:, 0])),
        width=ErrorCurve(at=numbers(widths), WER=numbers(along[0][0]), error=numbers(along[1][0])),
    )
