"""The pulse for a purpose: to write, to make a fair bit at once, or to make one by waiting.

The searches use maps of the Fokker-Planck solution, so no counting error enters the choice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.files import cached
from voltaspin.core.result import Part, Result, Unit
from voltaspin.core.spec import environment
from voltaspin.core.units import gamma_e, require_positive
from voltaspin.device.density import first_degree
from voltaspin.device.fokker_planck import (
    ROUNDING,
    FokkerPlanck,
    FokkerPlanckResult,
    SwitchingMap,
    sufficient_degree,
)
from voltaspin.device.junction import Junction, Pulse
from voltaspin.device.protocol import Protocol
from voltaspin.device.sphere import Floats

Target = Literal["write", "fair", "dephased"]
Progress = Callable[[int, int], None]
WAITS, WAITED = 5.0, 10  #: barrier [k_B T] up to which a bit is made by waiting, and for how many relaxation times
FORGETTING = 20  #: relaxation times after which a bit is forgotten where no in-plane field sets a period

#: Of each target: the ends of the voltages in V_c, how many voltages and widths, the longest width in periods.
_GRIDS: dict[str, tuple[tuple[float, float], int, int, float]] = {
    "write": ((0.7, 1.4), 15, 40, 1.0),
    "fair": ((0.9, 1.6), 15, 50, 0.5),
    "dephased": ((0.9, 1.6), 8, 200, 10.0),
}


class Tolerance(Part):
    """The deviations over which a pulse must stay fair: each alone, on both sides, and K_eff with B_z together.

    Args:
        probability: largest distance of p01 and p10 from 1/2 [1].
        voltage: relative deviation of the pulse voltage [1].
        B_z: stray field along z [T].
        K_eff: relative deviation of K_eff [1].
        temperature: deviation of the thermal field's temperature [K].
    """

    probability: float = 0.01
    voltage: float = 0.02
    B_z: Annotated[float, Unit("T")] = 2e-3
    K_eff: float = 0.05
    temperature: Annotated[float, Unit("K")] = 20.0

    def cells(self, junction: Junction, pulse: Pulse) -> Iterator[tuple[str, Junction, Pulse]]:
        """Yield every case of the box by name: the nominal one, then the deviations."""
        signs = (-1, 1)
        yield "nominal", junction, pulse
        for a in (-1, 0, 1):
            for b in (-1, 0, 1):
                if a or b:
                    cell = junction.with_variation(K_eff_scale=1 + a * self.K_eff, B_z=b * self.B_z)
                    yield f"K_eff {a * self.K_eff:+.0%}, B_z {b * self.B_z * 1e3:+g} mT", cell, pulse
        for s in signs:
            shot = replace(pulse, voltage=pulse.voltage * (1 + s * self.voltage))
            yield f"voltage {s * self.voltage:+.0%}", junction, shot
        for s in signs:
            warm = replace(junction, temperature=junction.temperature + s * self.temperature)
            yield f"temperature {s * self.temperature:+g} K", warm, pulse


class Corner(Part):
    """One case of the box of :class:`Tolerance`, with the probabilities that a pulse flips a 0 and a 1 there."""

    name: str
    p01: float
    p10: float


class BestPulse(Result):
    """The outcome of :func:`best_pulse` and :func:`fair_pulse`.

    Args:
        pulse: the best that was found.
        target: its purpose.
        p01, p10: probabilities that it flips a 0 and a 1.
        WER: the larger probability to stay.
        error: numerical error of the three.
        meets: for a fair pulse, whether the tolerance holds over the whole box; True for a write pulse.
        worst_deviation: for a fair pulse, the largest distance from 1/2 over the box, else that of p01, p10.
        worst_case: where in the box.
        energy: ohmic, in one cell [J].
        verdict: the outcome in one sentence.
        tolerance, corners: of a fair pulse, the box and what the pulse does in each of its cases.
        reset: whether 1/2 holds only for bits that are reset to 0 before the pulse, which a torque of one sign needs.
    """

    KIND: ClassVar[str] = "best-pulse"

    pulse: Pulse
    target: Target
    p01: float
    p10: float
    WER: float
    error: float
    meets: bool
    worst_deviation: float
    worst_case: str
    energy: Annotated[float, Unit("J")]
    verdict: str
    tolerance: Tolerance | None = None
    corners: tuple[Corner, ...] = ()
    reset: bool = False


class _Search:
    """A junction under one protocol: how its pulses are mapped and judged."""

    def __init__(self, junction: Junction, protocol: Protocol, threads: int | None, *, reset: bool = False) -> None:
        self.junction, self.threads, self.reset = junction, threads, reset
        self._degrees: dict[float, int] = {}
        self.protocols = [replace(protocol, initial=well) for well in protocol.wells(junction)]

    def maps(self, voltages: Floats, widths: Floats, progress: Progress | None) -> list[SwitchingMap]:
        solver = FokkerPlanck(threads=self.threads)
        return [solver.map(self.junction, voltages, widths, p, atol=1e-2, progress=progress) for p in self.protocols]

    def both(self, cell: Junction, pulse: Pulse, solver: FokkerPlanck) -> list[FokkerPlanckResult]:
        """Return the results from up and, where it differs, from down."""
        return [solver.switching(cell, pulse, protocol) for protocol in self.protocols]

    def worst_over(self, box: Tolerance, pulse: Pulse, give_up: float) -> tuple[float, str]:
        """Largest distance from 1/2 over the box and the name of its case, or the first that is above ``give_up``."""
        worst = (-1.0, "")
        for name, cell, shot in box.cells(self.junction, pulse):
            once = FokkerPlanck(self.degree(cell, shot))
            for protocol in self.protocols:
                worst = max(worst, (abs(once.once(cell, shot, protocol)[0] - 0.5), name))
            if worst[0] > give_up:
                break
        return worst

    def degree(self, cell: Junction, pulse: Pulse) -> int:
        """The degree for one case of a box; under further terms that of the nominal cell serves them all."""
        if not self.junction.terms:
            return first_degree(cell)
        if pulse.width not in self._degrees:
            own = self.protocols[0]
            self._degrees[pulse.width] = sufficient_degree(
                self.junction, pulse, relax=own.relax, spin_torque=own.spin_torque
            )
        return max(self._degrees[pulse.width], first_degree(cell))

    def found(
        self, pulse: Pulse, target: Target, box: Tolerance | None, where: tuple[float, str],
        corners: tuple[Corner, ...] = (),
    ) -> BestPulse:  # fmt: skip
        """Return the answer for a chosen pulse, with the two degrees that give its error."""
        results = self.both(self.junction, pulse, FokkerPlanck())
        p01, p10 = results[0].value, results[-1].value
        WER = max(result.WER or result.WER_high for result in results)
        meets, (worst, case) = True, where
        if box is None:
            rate = f"of {WER:.2g}" if WER > ROUNDING else f"below {ROUNDING:.0e}, which rounding hides"
            verdict = f"{named(pulse)} writes with an error rate {rate}."
            worst, case = max(abs(p01 - 0.5), abs(p10 - 0.5)), "nominal"
        else:
            corners = corners or tuple(self._corner(*case) for case in box.cells(self.junction, pulse))
            meets = worst <= box.probability
            after = " after a reset" if self.reset else ""
            verdict = (
                f"{named(pulse)}{after} gives 1/2 within {box.probability:g} over the box (worst {worst:.4f}: {case})."
                if meets
                else f"No pulse found gives 1/2 within {box.probability:g} over the box; the best, "
                f"{named(pulse)}{after}, deviates by {worst:.4f} ({case}), so its bits need conditioning, a trim, or a "
                "feedback."
            )
        return BestPulse(
            pulse=pulse, target=target, p01=p01, p10=p10, WER=WER, error=max(r.error for r in results), meets=meets,
            worst_deviation=worst, worst_case=case, energy=pulse.energy(self.junction), verdict=verdict,
            tolerance=box, corners=corners, reset=self.reset,
        )  # fmt: skip

    def _corner(self, name: str, cell: Junction, pulse: Pulse) -> Corner:
        solver = FokkerPlanck(self.degree(cell, pulse), 1e9)
        if self.junction.terms:  # where a probability may be too small to be resolved, which matters to none here
            p01, p10 = (min(max(solver.once(cell, pulse, p)[0], 0.0), 1.0) for p in self._directions)
        else:
            p01, p10 = (solver.switching(cell, pulse, p).value for p in self._directions)
        return Corner(name=name, p01=p01, p10=p10)

    def judged(self, pulse: Pulse, box: Tolerance) -> BestPulse:
        """Return the answer for a pulse that is fair by itself."""
        corners = tuple(self._corner(*case) for case in box.cells(self.junction, pulse))
        worst = max((abs(p - 0.5), c.name) for c in corners for p in ((c.p01,) if self.reset else (c.p01, c.p10)))
        return self.found(pulse, "fair", box, worst, corners)

    @property
    def _directions(self) -> list[Protocol]:
        return [replace(self.protocols[0], initial="up"), replace(self.protocols[0], initial="down")]


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
      ``tolerance``; the least bad where none is. :func:`fair_pulse` keeps the answer.
    * ``"dephased"``: the shortest width after which the nominal cell stays within ``tolerance.probability``
      of 1/2 for any longer pulse of that voltage. Its robustness over the box is reported too.

    Args:
        junction: nominal cell, with a VCMA coefficient and, but for a fair pulse, an in-plane field.
        tolerance: the box; defaults where absent.
        voltage_range: to search [V], needed with further terms; 0.7 to 1.4 V_c (0.9 to 1.6 for a fair pulse) where
            absent.
        longest: longest width [s], needed with further terms; one period of the in-plane field to write, half of one
            for a fair pulse (20 relaxation times without a field), ten for a dephased one where absent.
        relax, spin_torque: of the :class:`voltaspin.device.protocol.Protocol`.
        threads, progress: as :func:`voltaspin.device.fokker_planck.switching_map`.

    Returns:
        The pulse with its evidence.

    Raises:
        InputError: a junction without in-plane field, an empty range, an unknown target.
    """
    if target not in _GRIDS:
        raise InputError(f"target {target!r} is unknown; use 'write', 'fair' or 'dephased'")
    if junction.terms and (voltage_range is None or longest is None):
        raise InputError(
            f"the voltages and widths to search for {junction.name} with {', '.join(junction.terms)} do not follow "
            "from V_c and the in-plane field; give voltage_range and longest"
        )
    if target != "fair" and not junction.terms:
        require_positive("in-plane field", junction.B_in_plane, "T", "a VCMA pulse turns the bit about it: set B_bias")
    box, search = tolerance or Tolerance(), _Search(junction, Protocol("up", relax, spin_torque), threads)
    ends, n_voltages, n_widths, periods = _GRIDS[target]
    low, high = voltage_range or sorted(k * junction.V_c for k in ends)
    if not high > low:
        raise InputError(f"voltage_range = ({low:g}, {high:g}) V must ascend")
    if longest is None:
        longest = periods * turn if (turn := period(junction)) else FORGETTING * junction.relaxation_time
    voltages, widths = np.linspace(low, high, n_voltages), np.linspace(longest / n_widths, longest, n_widths)
    maps = search.maps(voltages, widths, progress)
    if target == "write":
        return search.found(_lowest_WER(search, maps), target, None, (0.0, ""))
    off = np.max([abs(m.P_sw - 0.5) for m in maps], axis=0)
    candidates = (_settled if target == "dephased" else _flat)(voltages, widths, off, box)
    best: tuple[float, str, Pulse] | None = None
    for pulse in candidates:
        give_up = math.inf if best is None else max(box.probability, best[0])
        worst, where = search.worst_over(box, pulse, give_up)
        if best is None or worst < best[0] or worst <= box.probability:
            best = worst, where, pulse
        if worst <= box.probability or target == "dephased":
            break
    assert best is not None
    return search.found(best[2], target, box, best[:2])


def fair_pulse(
    junction: Junction,
    *,
    tolerance: Tolerance | None = None,
    protocol: Protocol | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> BestPulse:
    """Return the pulse that makes both values of the bit equally likely: the one definition that every command uses.

    It is the shortest rectangular pulse for which p01 and p10 stay within ``tolerance.probability`` of 1/2 in every
    case of the box of ``tolerance``; where no pulse does, the one with the least worst deviation. Searched are 15
    voltages from 0.9 to 1.6 V_c and 50 widths up to half a period of the in-plane field (20 relaxation times without
    one), of them the 8 to 24 that lie flattest around 1/2 in the width, by the Fokker-Planck equation.

    A junction with further terms takes another way where another one needs less voltage
    (:func:`voltaspin.device.threshold.threshold`). Below a barrier of ``WAITS`` k_B T it is left alone for
    ``WAITED`` relaxation times. Spin transfer and a spin-orbit line get a pulse of three relaxation times:
    twice the threshold where that forgets the bit, else the voltage at which p01 is 1/2. A torque of one sign
    seldom takes a 1 back, so the bit must then be reset before each pulse, ``reset`` says so, and p01 alone is judged.

    The answer follows from the junction's values alone, and it is kept in the user's cache folder; that of the
    generator preset is shipped.

    Args:
        junction: nominal cell, with two wells and VCMA, spin transfer or a spin-orbit line, or with a low barrier.
        tolerance: the box; :class:`Tolerance` where absent.
        protocol: its time of relaxation and its torque; both directions are always judged.
        threads, progress: as :func:`voltaspin.device.fokker_planck.switching_map`.

    Returns:
        The pulse with its evidence; ``meets`` and ``verdict`` say whether it holds the tolerance.

    Raises:
        InputError: no voltage acts on the junction, none makes a fair bit, it breaks the oxide, or as
            :func:`best_pulse`.
    """
    box, asked = tolerance or Tolerance(), protocol or Protocol()
    bare = replace(junction, name="")
    if (bare, box, asked) == (replace(Junction.of("generator"), name=""), Tolerance(), Protocol()):
        return BestPulse.load(Path(str(files("voltaspin") / "data" / "generator-fair-pulse.json")))
    inputs = [
        bare.to_json(), box.to_json(), asked.relax, asked.spin_torque, BestPulse.VERSION, environment()["voltaspin"],
    ]  # fmt: skip
    return cached(
        "fair-pulse", inputs, suffix=".json", read=BestPulse.load, write=lambda path, found: found.save(path),
        make=lambda: _fair(junction, box, asked, threads, progress),
    )  # fmt: skip


def _fair(
    junction: Junction, box: Tolerance, asked: Protocol, threads: int | None, progress: Progress | None
) -> BestPulse:
    span: dict[str, Any] = {}
    if junction.terms:
        from voltaspin.device.breakdown import lifetime, stress
        from voltaspin.device.low_barrier import relaxation
        from voltaspin.device.threshold import half_pulse, threshold

        if junction.barrier() <= WAITS:
            alone = relaxation(junction)
            time = max(alone.correlation_time.value, 0.0 if alone.rate is None else 1 / alone.rate.value)
            return _Search(junction, asked, threads).judged(Pulse(voltage=0.0, width=WAITED * time), box)
        scale = threshold(junction)
        if scale.way != "VCMA":
            pulse, reset = half_pulse(junction, scale.voltage, box.probability, asked)
            lifetime(junction, voltage=stress(junction, pulse))  # refuses what breaks the oxide at once
            return _Search(junction, asked, threads, reset=reset).judged(pulse, box)
        (low, high), _, _, turns = _GRIDS["fair"]
        low, high = sorted((low * scale.voltage, high * scale.voltage))
        turn = period(junction)
        span = {"voltage_range": (low, high),
                "longest": turns * turn if turn else FORGETTING * junction.relaxation_time}  # fmt: skip
    return best_pulse(
        junction, target="fair", tolerance=box, relax=asked.relax, spin_torque=asked.spin_torque, threads=threads,
        progress=progress, **span,
    )  # fmt: skip


def named(pulse: Pulse) -> str:
    """Return voltage and width of a pulse for a sentence."""
    return f"{pulse.voltage:.3f} V for {pulse.width * 1e9:.3g} ns"


def period(junction: Junction) -> float | None:
    """Return the time of one turn about the in-plane field [s]; None without such a field."""
    return 2 * math.pi / (gamma_e * junction.B_in_plane) if junction.B_in_plane > 0 else None


def _lowest_WER(search: _Search, maps: list[SwitchingMap]) -> Pulse:
    from scipy.optimize import minimize

    WER = np.max([m.WER for m in maps], axis=0)
    v, w = np.unravel_index(int(np.argmin(WER)), WER.shape)
    V0, w0 = float(maps[0].voltages[v]), float(maps[0].widths[w])
    best = Pulse(voltage=V0, width=w0)
    # The degree that resolves the best pulse of the map: at a lower one an error rate can come out negative.
    degree = FokkerPlanck(rtol=0.05).switching(search.junction, best, search.protocols[0]).degree

    def moved(x: Floats) -> Pulse:
        return Pulse(voltage=V0 * (1 + float(x[0])), width=w0 * math.exp(float(x[1])))

    def cost(x: Floats) -> float:
        results = search.both(search.junction, moved(x), FokkerPlanck(degree, 1e9))
        return math.log(max(*(result.WER or result.WER_high for result in results), 1e-13))

    start = np.array([[0.0, 0.0], [0.02, 0.0], [0.0, 0.02]])
    found = minimize(
        cost, start[0], method="Nelder-Mead",
        options={"initial_simplex": start, "xatol": 1e-4, "fatol": 1e-3, "maxfev": 60},
    )  # fmt: skip
    return moved(found.x)


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
