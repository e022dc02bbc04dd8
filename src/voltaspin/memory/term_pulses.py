"""Pulses of a driver for junctions with further terms: which there are, and what they do to cells.

A torque of one sign takes a 0 to a 1 by one polarity of the pulse and a 1 to a 0 by the other. The driver has both, and
a cell gets the one for the bit that it holds.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import cached
from voltaspin.core.spec import environment
from voltaspin.core.units import gamma_e
from voltaspin.device import Junction, Pulse
from voltaspin.device.junction import Well
from voltaspin.device.response import logistic, logit, nominal
from voltaspin.memory.responses import Halves, coefficients, designs_of, term_names, terms_at

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]

VOLTAGES = np.array([0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4])  #: over V_c: three bits of a driver [assumed]
CLOCK = 10e-12  #: steps of the width [s] [assumed]

#: Voltages over the threshold, of either sign [assumed]. Three of spin transfer flip nearly all bits in its
#: time; a line flips most at two, and beyond that m ends across the easy axis and falls to either side.
MULTIPLES = {
    "spin transfer": np.array([1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0]),
    "spin-orbit torque": np.array([0.75, 0.875, 1.0, 1.25, 2.0]),
}
_MOST_WIDTHS = 64  # of a driver of torques; a longer pulse has a slower clock
_WARM_WIDTHS = 8  # where self-heating makes each width a solution of its own
_FORGETS = 0.01  # largest probability that a bit flips by itself before it is read
_RELAX = 10e-9  # before the bit is read [s]
_SMALLEST = 1e-6  # probability that is told from zero: a logit below it has no place in a polynomial
_UNSEEN = (0.7, -0.8)  # signs and sizes, in half ranges, of the cells that measure the error


def one_pulse(junction: Junction, pulse: Pulse, cells: Sequence[dict[str, float]]) -> Floats:
    """Return the logits of p01 and p10 of cells under one pulse, (cells, 2), at the degree of the nominal cell."""
    from voltaspin.device.density import first_degree
    from voltaspin.device.fokker_planck import sufficient_degree, switching_pair

    degree = max(sufficient_degree(junction, pulse), *(first_degree(junction.with_variation(**c)) for c in cells))
    pairs = [switching_pair(junction.with_variation(**c), pulse, relax=_RELAX, spin_torque=False, degree=degree)
             for c in cells]  # fmt: skip
    return _logits(np.array(pairs))


def term_pulses(
    junction: Junction, halves: Halves, *, voltages: Floats | None = None, widths: Floats | None = None,
    progress: Progress | None = None,
) -> tuple[Floats, Floats, Halves, Floats, bool, float, float]:  # fmt: skip
    """Solve all pulses of a driver for a junction with further terms: the fields of a ``PulseLibrary``, in their order.

    The equation is solved at one degree for all, that which the strongest and the weakest pulse need to change by less
    than 0.005; cells that the polynomials have not seen measure what remains.

    Raises:
        InputError: a bit that does not last, nothing that a voltage flips, or a voltage that breaks the oxide.
    """
    from voltaspin.device.breakdown import lifetime, stress
    from voltaspin.device.density import first_degree
    from voltaspin.device.fokker_planck import sufficient_degree

    check_holds(junction)
    V, w, apart = _grid(junction)
    V = V if voltages is None else np.asarray(voltages, float)
    w = w if widths is None else np.asarray(widths, float)
    strongest = max(V, key=abs)
    lifetime(junction, voltage=stress(junction, Pulse(voltage=float(strongest), width=float(w[-1]))))

    def solved() -> dict[str, Floats]:
        ends = [Pulse(voltage=float(v), width=float(w[-1])) for v in {min(V, key=abs), min(V), max(V)}]
        designs, unseen = designs_of(halves), _unseen(halves)
        cells = [junction.with_variation(**cell) for cell in (*designs, *unseen)]
        degree = max(*(sufficient_degree(junction, pulse) for pulse in ends), *(first_degree(c) for c in cells))
        mirrored = _turned(junction) and np.array_equal(V, -V[::-1])
        found = _solve(cells, V, w, ("up",) if mirrored else ("up", "down"), degree, progress)
        logits = np.moveaxis(coefficients(_logits(found[: len(designs)]), halves), 0, -1)
        guessed = [logistic(logits @ terms_at(halves, cell)) for cell in unseen]
        off = np.abs(np.array(guessed) - found[len(designs) :]) if unseen else np.zeros(1)
        if mirrored:
            signs = np.array([1 - 2 * (sum(q == "B_z" for q in term) % 2) for term in term_names(halves)])
            logits = np.concatenate([logits, logits[::-1] * signs], 2)
        return {"logits": logits, "error": np.array([np.sqrt(np.mean(off**2)), off.max(), degree])}

    inputs = [asdict(junction), halves, V.tolist(), w.tolist(), apart, environment()["voltaspin"]]
    kept = cached("term-pulses", inputs, suffix=".npz", read=_load, make=solved, write=_save)
    return V, w, halves, kept["logits"], apart, float(kept["error"][0]), float(kept["error"][1])


def check_holds(junction: Junction) -> None:
    """Refuse a junction whose bit flips by itself before it is read."""
    from voltaspin.device.density import first_degree
    from voltaspin.device.fokker_planck import switching_pair

    alone = switching_pair(junction, Pulse(voltage=0.0, width=CLOCK), relax=_RELAX, spin_torque=False,
                           degree=first_degree(junction))  # fmt: skip
    if max(alone) > _FORGETS:
        raise InputError(
            f"a cell of {junction.name} does not hold its bit: without any pulse it flips with a probability of "
            f"{max(alone):.2g} in the {_RELAX * 1e9:g} ns before it is read (barrier {junction.barrier():.3g} k_B T), "
            "and no programmed pulse flips less often; take a junction with a barrier of 15 k_B T or more, or use "
            "these bits as noise: they need no array that holds them"
        )


def _grid(junction: Junction) -> tuple[Floats, Floats, bool]:
    """Voltages, widths, and whether a 0 and a 1 need pulses of their own."""
    from voltaspin.device.threshold import TORQUE_WIDTH, threshold

    scale = threshold(junction)
    if scale.way == "VCMA":
        if junction.B_in_plane == 0:
            raise InputError(
                f"in-plane field = 0 T: at {scale.voltage:.3g} V, below what a torque of {junction.name} needs, VCMA "
                "takes the barrier away, and a pulse turns the bit about that field; set B_bias, or xi=0"
            )
        longest, voltages = np.pi / (gamma_e * junction.B_in_plane), VOLTAGES * scale.voltage
    else:
        longest = TORQUE_WIDTH * junction.relaxation_time
        levels = MULTIPLES[scale.way]
        voltages = np.concatenate([-levels[::-1], levels]) * scale.voltage
    count = _WARM_WIDTHS if junction.heating is not None else _MOST_WIDTHS
    step = max(CLOCK, CLOCK * np.ceil(longest / count / CLOCK))
    return np.asarray(voltages, float), np.arange(1, max(int(longest / step), 1) + 1) * step, scale.way != "VCMA"


def _turned(junction: Junction) -> bool:
    """Whether half a turn about x shows a 1 under -V as a 0 under V, but for the sign of B_z."""
    line = junction.line
    return (
        line is not None and line.gate == 0 and abs(line.sigma[0]) < 1e-12 and abs(line.sigma[2]) < 1e-12
        and junction.spin_transfer is None and junction.reference == (0.0, 0.0, 1.0)
        and junction.B_bias[1:] == (0.0, 0.0)
    )  # fmt: skip


def _solve(
    cells: Sequence[Junction], V: Floats, w: Floats, wells: Sequence[Well], degree: int, progress: Progress | None
) -> Floats:
    """P_sw of each cell under each pulse: float64 (cells, n, m, wells)."""
    from voltaspin.device.fokker_planck import switching_grid

    found, done = np.empty((len(cells), len(V), len(w), len(wells))), 0
    if progress is not None:
        progress(0, len(cells))

    def solve(i: int) -> None:
        nonlocal done
        found[i] = switching_grid(cells[i], V, w, wells=wells, relax=_RELAX, degree=degree)
        done += 1
        if progress is not None:
            progress(done, len(cells))

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(solve, range(len(cells))))
    return found


def _unseen(halves: Halves) -> list[dict[str, float]]:
    """Cells between those that fix the polynomials, on both sides of the nominal one."""
    if not halves:
        return []
    signs = [[s * _UNSEEN[k % 2] for k in range(len(halves))] for s in (1, -1)]
    return [{q: nominal(q) + s * half for s, (q, half) in zip(row, halves, strict=True)} for row in signs]


def _logits(p: Floats) -> Floats:
    return logit(np.clip(p, _SMALLEST, 1 - _SMALLEST))


def _save(path: Path, values: dict[str, Floats]) -> None:
    with path.open("wb") as file:
        np.savez(file, **values)  # type: ignore[arg-type]


def _load(path: Path) -> dict[str, Any]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in ("logits", "error")}
