"""Everything about one junction by itself: pulses, error rates, retention, energy, sensitivities, astroid, read.

``characterise(junction)`` asks the other files of this package and keeps their answers in the record of
``characterisation.py``. A part that a junction does not have is ``None`` there, with the reason beside it: without a
VCMA coefficient no pulse acts, without an in-plane field no pulse writes, without two wells there is no bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import count
from typing import TypeVar

import numpy as np

from voltaspin.core.capacity import check_time
from voltaspin.core.errors import InputError
from voltaspin.core.units import ns, require_positive
from voltaspin.device import breakdown
from voltaspin.device.characterisation import (
    Astroid,
    Characterisation,
    Derived,
    Oxide,
    Read,
    Retention,
    numbers,
    or_reason,
)
from voltaspin.device.junction import Junction
from voltaspin.device.protocol import USUAL, WELLS, Protocol
from voltaspin.device.pulse_design import period
from voltaspin.device.pulse_survey import (
    Effort,
    Survey,
    bathtub_around,
    coin_pulse,
    oxide_life,
    pulse_curves,
    pulse_map,
    pulse_record,
    write_pulse,
)
from voltaspin.device.retention import flip_rate
from voltaspin.device.sphere import Floats
from voltaspin.device.temperature import at_temperature
from voltaspin.device.transport import ReadScheme, oxide_capacitance, read, read_disturb

Progress = Callable[[str, int, int], None]

_T = TypeVar("_T")
MOST_SECONDS = 4 * 3600.0  #: of one core, for which a characterisation is begun
QUICK = Effort(voltages=12, widths=20, points=61, stations=5, search=False)
#: A read as good circuits do it; spreads and noise are assumed.
READ = ReadScheme(
    voltage=-0.1, integration_time=25 * ns, resistance_spread=0.05, TMR_spread=0.05, amplifier_noise=1e-13
)


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
    """Compute the whole record of a junction.

    All pulses are rectangular, which understates a write error rate.

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
        InputError: a junction with further terms, a temperature of zero, a degree that does not resolve the barrier,
            or more work than four hours of one core, before any is done.
    """
    effort = effort or Effort()
    expected_seconds(junction, effort=effort, relax=relax, spin_torque=spin_torque)
    reasons: dict[str, str] = {}
    tick = lambda part: None if progress is None else partial(progress, part)  # noqa: E731
    derived = _derived(junction, reasons)
    survey = Survey(junction, Protocol("up", relax, spin_torque), effort, threads)
    curves = pulses = write = coin = bathtub = None
    if nothing := _no_pulse_acts(junction):
        reasons |= dict.fromkeys(("curves", "map", "write", "coin", "bathtub"), nothing)
    else:
        curves = pulse_curves(survey, tick("pulse curves"))
        pulses = pulse_map(survey, tick("map"))
        shots = {
            "write": write_pulse(survey, pulses, reasons, tick("write pulse")),
            "coin": coin_pulse(survey, reasons, tick("coin pulse")),
        }
        told = _counted(tick("sensitivities"), sum(shot is not None for shot in shots.values()))
        write, coin = (
            None if shot is None else told(pulse_record(survey, shot, line_capacitance, failure))
            for shot in shots.values()
        )
        if shots["write"] is not None:
            bathtub = bathtub_around(survey, shots["write"].pulse)
        else:
            reasons["bathtub"] = "there is no write pulse"
    scheme = read_scheme or replace(
        READ, voltage=math.copysign(READ.voltage, -junction.xi), line_capacitance=line_capacitance
    )
    return Characterisation(
        junction=junction,
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
        read=or_reason(reasons, "read", lambda: _read(junction, scheme)),
        oxide=_oxide(junction, effort.points, failure),
        reasons=reasons,
    )


def expected_seconds(
    junction: Junction, *, effort: Effort | None = None, relax: float = 10 * ns, spin_torque: bool = False
) -> float:
    """Return about how long :func:`characterise` takes on one core [s], from its arguments alone.

    Right within a factor of three where the first degree of the harmonics resolves the pulses; at a damping far below
    0.01 it does not, and each further degree takes longer. A fair pulse that is known from another time takes none.

    Args:
        junction, effort, relax, spin_torque: as :func:`characterise`.

    Raises:
        InputError: as :func:`characterise`; they take more than ``MOST_SECONDS``.
    """
    junction.require_plain("the characterisation")
    require_positive("temperature", junction.temperature, "K", "at zero kelvin no bit is ever lost; give e.g. 300")
    effort = effort or Effort()
    if _no_pulse_acts(junction):
        return 0.2 * effort.stations
    seconds = Survey(junction, Protocol("up", relax, spin_torque), effort, None).seconds()
    check_time(
        seconds, most=MOST_SECONDS, what="all parts of the characterisation",
        remedy="give a stronger in-plane field, whose turn is shorter, or fewer points",
    )  # fmt: skip
    return seconds


def _no_pulse_acts(junction: Junction) -> str:
    """Why no voltage pulse acts on a bit, or nothing."""
    if junction.xi == 0:
        return "xi = 0 J/(V m): the voltage does not reach the anisotropy"
    if junction.barrier() == 0:
        return "no two wells at zero voltage, so no bit: raise K_i or lower the field"
    return ""


def _derived(junction: Junction, reasons: dict[str, str]) -> Derived:
    if (turn := period(junction)) is None:
        reasons["period"] = "no in-plane field to turn about"
    return Derived(
        Delta=junction.Delta(),
        barrier=junction.barrier(),
        K_eff=junction.K_eff(),
        B_k=junction.B_k(),
        V_c=or_reason(reasons, "V_c", lambda: junction.V_c),
        period=turn,
        relaxation_time=junction.relaxation_time,
        R_P=junction.R_P,
        R_AP=junction.R_AP(),
        capacitance=oxide_capacitance(junction),
    )


def _counted(tick: Callable[[int, int], None] | None, total: int) -> Callable[[_T], _T]:
    """Pass a value on, and tell that one more of ``total`` is done."""
    done = count(1)

    def told(value: _T) -> _T:
        if tick is not None:
            tick(next(done), total)
        return value

    return told


# --- without a pulse -----------------------------------------------------------------------------------


def _life(junction: Junction, voltage: float) -> float:
    rate = max(flip_rate(junction, voltage=voltage, well=well) for well in USUAL.wells(junction))
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
    told, gaps = _counted(tick, 2 * stations), dict[str, str]()
    warm = [told(or_reason(gaps, f"{T:g} K", partial(_life_at, junction, T))) for T in map(float, temperatures)]
    biased = [told(or_reason(gaps, f"{V:g} V", partial(_life, junction, V))) for V in map(float, voltages)]
    now = or_reason(reasons, "life", partial(_life, junction, 0.0))
    if gaps:
        where, why = next(iter(gaps.items()))
        reasons["some of retention"] = f"{len(gaps)} of {2 * stations} points, the first at {where}: {why}"
    return Retention(
        life=now, temperatures=numbers(temperatures), at_temperature=tuple(warm), voltages=numbers(voltages),
        at_voltage=tuple(biased),
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
    return tuple(_astroid_at(junction, voltage) for voltage in voltages)


def _astroid_at(junction: Junction, voltage: float) -> Astroid:
    in_plane, along_z = astroid(junction.B_k(voltage))
    return Astroid(voltage=voltage, B_k=junction.B_k(voltage), in_plane=numbers(in_plane), along_z=numbers(along_z))


def _read(junction: Junction, scheme: ReadScheme) -> Read:
    found, pulse = read(junction, scheme), scheme.pulse
    disturb = or_reason(
        {}, "disturb",
        lambda: max(read_disturb(junction, voltage=pulse.voltage, duration=pulse.width, well=w) for w in WELLS),
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


def _oxide(junction: Junction, points: int, failure: float) -> Oxide:
    limit = breakdown.PowerLaw().limit.value * junction.t_ox
    voltages = numbers(np.linspace(0.3, 0.999, points) * limit)
    life = tuple(oxide_life(junction, V, failure) for V in voltages)
    return Oxide(failure=failure, limit=limit, voltages=voltages, life=life)
