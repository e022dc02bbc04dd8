"""The pulse for a purpose: to write, to toss a fair coin at once, or to toss one by waiting.

Built on maps of the Fokker-Planck solution, so no counting error enters the choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.units import gamma_e, require_positive
from voltaspin.device.density import first_degree
from voltaspin.device.fokker_planck import ROUNDING, SwitchingMap, switching_map, switching_probability
from voltaspin.device.junction import Junction, Pulse, Well
from voltaspin.device.sphere import Floats

Target = Literal["write", "fair", "dephased"]
Progress = Callable[[int, int], None]
_WELLS: tuple[Well, Well] = ("up", "down")


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """What a fair pulse must bear: every deviation alone, on both sides, and K_eff with B_z together.

    Args:
        probability: largest distance of p01 and p10 from 1/2 [1].
        voltage: relative deviation of the pulse voltage [1].
        B_z: stray field along z [T].
        K_eff: relative deviation of K_eff [1].
        temperature: deviation of the thermal field's temperature [K].
    """

    probability: float = 0.01
    voltage: float = 0.02
    B_z: float = 2e-3
    K_eff: float = 0.05
    temperature: float = 20.0


@dataclass(frozen=True)
class BestPulse:
    """The outcome of :func:`best_pulse`.

    Args:
        pulse: the best that was found.
        target: its purpose.
        p01, p10: probabilities that it flips a 0 and a 1.
        WER: the larger probability to stay.
        meets: for a fair pulse, whether the tolerance holds over the whole box; True for a write pulse.
        worst_deviation: for a fair pulse, the largest distance from 1/2 over the box, else that of p01, p10.
        worst_case: where in the box.
        energy: ohmic, in one cell [J].
        verdict: the outcome in one sentence.
    """

    pulse: Pulse
    target: Target
    p01: float
    p10: float
    WER: float
    meets: bool
    worst_deviation: float
    worst_case: str
    energy: float
    verdict: str


def best_pulse(
    junction: Junction,
    *,
    target: Target = "write",
    tolerance: Tolerance | None = None,
    voltage_range: tuple[float, float] | None = None,
    longest: float | None = None,
    relax: float = 10e-9,
    spin_torque: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> BestPulse:
    """Search rectangular pulses for a purpose.

    * ``"write"``: the lowest write error rate of the worse direction, by a map and a simplex from its best.
    * ``"fair"``: the shortest with p01 and p10 within ``tolerance.probability`` of 1/2 over the box of
      ``tolerance``; the least bad where none is.
    * ``"dephased"``: the shortest width after which the nominal cell stays within ``tolerance.probability``
      of 1/2 for any longer pulse of that voltage. Its robustness over the box is reported too.

    Args:
        junction: nominal cell, with a VCMA coefficient and an in-plane field.
        tolerance: the box; defaults where absent.
        voltage_range: to search [V]; 0.7 to 1.4 V_c (0.9 to 1.6 for a coin) where absent.
        longest: longest width [s]; one period of the in-plane field to write, half of one for a fair pulse,
            ten for a dephased one where absent.
        relax, spin_torque: as :func:`voltaspin.device.fokker_planck.switching_probability`.
        threads, progress: as :func:`voltaspin.device.fokker_planck.switching_map`.

    Returns:
        The pulse with its evidence.

    Raises:
        InputError: a junction without in-plane field, an empty range, an unknown target.
    """
    if target not in ("write", "fair", "dephased"):
        raise InputError(f"target {target!r} is unknown; use 'write', 'fair' or 'dephased'")
    require_positive("in-plane field", junction.B_in_plane, "T", "a VCMA pulse turns the bit about it: set B_bias")
    box = tolerance or Tolerance()
    period = 2 * math.pi / (gamma_e * junction.B_in_plane)
    low, high = voltage_range or tuple(k * junction.V_c for k in ((0.7, 1.4) if target == "write" else (0.9, 1.6)))
    longest = longest or period * {"write": 1.0, "fair": 0.5, "dephased": 10.0}[target]
    if not high > low:
        raise InputError(f"voltage_range = ({low:g}, {high:g}) V must ascend")
    points = {"write": (15, 40), "fair": (15, 50), "dephased": (8, 200)}[target]
    voltages = np.linspace(low, high, points[0])
    widths = np.linspace(longest / points[1], longest, points[1])
    symmetric = junction.B_bias[2] == 0 and not spin_torque
    wells = _WELLS[: 1 if symmetric else 2]
    begun = reached = 0

    def tick(done: int, of: int) -> None:
        nonlocal reached
        reached = begun + of  # a map that raises its degree grows
        if progress is not None:
            progress(begun + done, begun + of * (len(wells) - len(maps)))

    maps: list[SwitchingMap] = []
    for well in wells:
        maps.append(
            switching_map(
                junction, voltages=voltages, widths=widths, initial=well, relax=relax,
                spin_torque=spin_torque, threads=threads, progress=tick, atol=1e-2,
            )
        )  # fmt: skip
        begun = reached

    def judge(pulse: Pulse) -> tuple[float, float, float]:
        flips, stays = [], []
        for well in _WELLS[: len(maps)]:
            result = switching_probability(
                junction, pulse, initial=well, relax=relax, spin_torque=spin_torque, rtol=0.01
            )
            flips.append(result.value)
            stays.append(result.WER or result.WER_high)
        return flips[0], flips[-1], max(stays)

    if target == "write":
        pulse = _lowest_WER(junction, maps, relax, spin_torque)
        p01, p10, WER = judge(pulse)
        rate = f"of {WER:.2g}" if WER > ROUNDING else f"below {ROUNDING:.0e}, which rounding hides"
        verdict = f"{_named(pulse)} writes with an error rate {rate}."
        return BestPulse(
            pulse, target, p01, p10, WER, True, max(abs(p01 - 0.5), abs(p10 - 0.5)), "nominal", pulse.energy(junction),
            verdict,
        )  # fmt: skip
    off = np.max([abs(m.P_sw - 0.5) for m in maps], axis=0)
    candidates = _settled(voltages, widths, off, box) if target == "dephased" else _flat(voltages, widths, off, box)
    judged: list[tuple[float, str, Pulse]] = []
    for pulse in candidates:
        worst, where = _worst_over_box(junction, pulse, box, relax, spin_torque)
        judged.append((worst, where, pulse))
        if worst <= box.probability or target == "dephased":
            break
    worst, where, pulse = judged[-1] if judged[-1][0] <= box.probability else min(judged, key=lambda j: j[0])
    p01, p10, WER = judge(pulse)
    meets = worst <= box.probability
    verdict = (
        f"{_named(pulse)} gives 1/2 within {box.probability:g} over the box (worst {worst:.4f}: {where})."
        if meets
        else f"No pulse found gives 1/2 within {box.probability:g} over the box; the best, {_named(pulse)}, "
        f"deviates by {worst:.4f} ({where}), so its bits need conditioning, a trim, or a stabiliser."
    )
    return BestPulse(pulse, target, p01, p10, WER, meets, worst, where, pulse.energy(junction), verdict)


def _named(pulse: Pulse) -> str:
    return f"{pulse.voltage:.3f} V for {pulse.width * 1e9:.3g} ns"


def _lowest_WER(junction: Junction, maps: list[SwitchingMap], relax: float, spin_torque: bool) -> Pulse:
    from scipy.optimize import minimize

    WER = np.max([m.WER for m in maps], axis=0)
    v, w = np.unravel_index(int(np.argmin(WER)), WER.shape)
    V0, w0 = float(maps[0].voltages[v]), float(maps[0].widths[w])
    best = Pulse(voltage=V0, width=w0)
    # The degree that resolves the best pulse of the map: at a lower one an error rate can come out negative.
    degree = switching_probability(junction, best, relax=relax, spin_torque=spin_torque, rtol=0.05).degree

    def cost(x: Floats) -> float:
        pulse = Pulse(voltage=V0 * (1 + float(x[0])), width=w0 * math.exp(float(x[1])))
        results = [
            switching_probability(
                junction, pulse, initial=well, relax=relax, spin_torque=spin_torque, degree=degree, rtol=1e9
            )
            for well in _WELLS[: len(maps)]
        ]
        stays = [result.WER or result.WER_high for result in results]
        return math.log(max(*stays, 1e-13))

    start = np.array([[0.0, 0.0], [0.02, 0.0], [0.0, 0.02]])
    found = minimize(
        cost, start[0], method="Nelder-Mead",
        options={"initial_simplex": start, "xatol": 1e-4, "fatol": 1e-3, "maxfev": 60},
    )  # fmt: skip
    return Pulse(voltage=V0 * (1 + float(found.x[0])), width=w0 * math.exp(float(found.x[1])))


def _flat(voltages: Floats, widths: Floats, off: Floats, box: Tolerance) -> list[Pulse]:
    """Pulses near 1/2 whose neighbours in width are too, shortest first; the flattest few at least."""
    around = np.maximum(off, np.maximum(np.roll(off, 1, axis=1), np.roll(off, -1, axis=1)))
    around[:, [0, -1]] = np.inf
    order = np.argsort(around, axis=None, kind="stable")
    good = int(np.sum(around <= 2 * box.probability))
    chosen = [np.unravel_index(int(i), off.shape) for i in order[: min(max(good, 8), 24)]]
    pulses = [Pulse(voltage=float(voltages[v]), width=float(widths[w])) for v, w in chosen]
    return sorted(pulses, key=lambda p: (p.width, p.voltage))


def _settled(voltages: Floats, widths: Floats, off: Floats, box: Tolerance) -> list[Pulse]:
    """Per voltage the shortest width from which on all stay within the tolerance; shortest first."""
    last_outside = [
        int(np.flatnonzero(row > box.probability)[-1]) if (row > box.probability).any() else -1 for row in off
    ]
    pulses = [
        Pulse(voltage=float(v), width=float(widths[k + 1]))
        for v, k in zip(voltages, last_outside, strict=True)
        if k + 1 < len(widths)
    ]
    if not pulses:
        raise InputError(
            f"no pulse up to {widths[-1] * 1e9:.3g} ns has forgotten its beginning to within {box.probability:g}; "
            "give a longer `longest` or a larger tolerance"
        )
    return sorted(pulses, key=lambda p: p.width)


def _worst_over_box(
    junction: Junction, pulse: Pulse, box: Tolerance, relax: float, spin_torque: bool
) -> tuple[float, str]:
    """Largest distance from 1/2 and the name of the case."""
    signs = (-1, 1)
    cases = [("nominal", junction, pulse)]
    cases += [
        (f"voltage {s * box.voltage:+.0%}", junction, replace(pulse, voltage=pulse.voltage * (1 + s * box.voltage)))
        for s in signs
    ]
    cases += [
        (
            f"K_eff {a * box.K_eff:+.0%}, B_z {b * box.B_z * 1e3:+g} mT",
            junction.with_variation(K_eff_scale=1 + a * box.K_eff, B_z=b * box.B_z),
            pulse,
        )
        for a in (-1, 0, 1)
        for b in (-1, 0, 1)
        if a or b
    ]
    cases += [
        (
            f"temperature {s * box.temperature:+g} K",
            replace(junction, temperature=junction.temperature + s * box.temperature),
            pulse,
        )
        for s in signs
    ]
    worst = (-1.0, "")
    # Without torque and field along z the box is its own mirror image, and p10 at B_z is p01 at -B_z.
    symmetric = junction.B_bias[2] == 0 and not spin_torque
    for name, cell, shot in cases:
        for well in _WELLS[: 1 if symmetric else 2]:
            p = switching_probability(
                cell, shot, initial=well, relax=relax, spin_torque=spin_torque,
                degree=first_degree(cell), rtol=1e9,
            ).value  # fmt: skip
            worst = max(worst, (abs(p - 0.5), name))
    return worst
