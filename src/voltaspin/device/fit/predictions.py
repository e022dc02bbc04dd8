"""Switching probabilities of many pulses at once, from the Fokker-Planck solution.

A fit asks for hundreds of pulses at many parameters. The relaxation after the pulse takes most of the work, and it
depends on the field alone, so that pulses share it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BarycentricInterpolator

from voltaspin.core.errors import InputError
from voltaspin.core.units import require_positive
from voltaspin.device.density import (
    COARSER,
    MAX_DEGREE,
    boltzmann_exponents,
    first_degree,
    generator,
    staircase,
    term_weights,
    well_density,
    well_indicator,
)
from voltaspin.device.fit.data import Floats, SwitchingData
from voltaspin.device.fit.propagation import carry, compact, overlaps
from voltaspin.device.junction import Junction, Pulse, Well
from voltaspin.device.sphere import TERMS

_NUMBERS = 8_000_000  # of the vectors that are held at once, which bounds the memory
#: Nodes in a field that varies: so many, and one for each so many radians that its half range turns in the relaxation.
_NODES, _PHASE = 12, 1.5
_ROW_SECONDS = 2e-9  # of processor time for one row of an operator in one term of an expansion
_TAIL = 0.05  # largest last coefficient of such an expansion, where the functions have a norm of 2


def solvable(junction: Junction, degree: int | None) -> None:
    """Raise InputError where no solution exists at this degree."""
    require_positive("temperature", junction.temperature, "K", "at zero kelvin nothing diffuses")
    if degree is not None and not 5 <= degree <= MAX_DEGREE:
        raise InputError(f"degree = {degree!r} must lie from 5 to {MAX_DEGREE}; leave it out to have it chosen")


def predict(
    junction: Junction, data: SwitchingData, *, degree: int | None = None, spin_torque: bool = False
) -> tuple[Floats, Floats]:
    """P_sw of the junction for each row of the data, and its numerical error: two float64 (n,).

    The error is the change from a degree of 80 % on.
    """
    solvable(junction, degree)
    fine = first_degree(junction) if degree is None else degree
    P, coarse = (
        predictions([junction], [data], degree=L, spin_torque=spin_torque)[0]
        for L in (fine, max(int(COARSER * fine), 4))
    )
    return P, np.maximum(np.abs(P - coarse), 1e-14)


def predictions(
    junctions: Sequence[Junction], sets: Sequence[SwitchingData], *, degree: int, spin_torque: bool = False,
    across_fields: bool = False, alive: Callable[[], None] | None = None,
) -> Floats:  # fmt: skip
    """P_sw of each junction for each row of all data sets, at one degree: float64 (junctions, rows).

    The chance to be found in a well after the relaxation is one function for each field, and one walk of it back
    along a voltage serves all widths and both initial states.

    Args:
        junctions: at a temperature above zero.
        sets: what is asked; P_sw and trials are not looked at.
        degree: of the harmonics.
        spin_torque: as :func:`voltaspin.device.fit.switching.fit_switching`.
        across_fields: interpolate the relaxation where many fields differ along one axis alone. That is off by up to
            1e-3 in P_sw, and in its derivatives by some percent: enough for the way to an answer, not for one.
        alive: called every now and then.
    """
    cells: dict[tuple[Any, ...], dict[tuple[float, float, float], list[tuple[int, int, float]]]] = {}
    first = 0
    for data in sets:
        well = 0 if data.initial == "up" else 1
        for k, (B_x, B_z, V, w) in enumerate(zip(data.B_x, data.B_z, data.voltage, data.width, strict=True)):
            for j in range(len(junctions)):
                pulses = cells.setdefault((j, float(B_x), float(B_z), data.relax), {})
                pulses.setdefault((float(V), data.rise, data.fall), []).append((first + k, well, float(w)))
        first += len(data)
    out = np.empty((len(junctions), first))
    listed, together = list(cells.items()), max(_NUMBERS // (degree + 1) ** 2, 64)
    for begin in range(0, len(listed), together):
        some = listed[begin : begin + together]
        _solve(
            [key for key, _ in some], [pulses for _, pulses in some], junctions, degree, spin_torque, across_fields,
            alive, out,
        )  # fmt: skip
    return out


def solution_seconds(junction: Junction, sets: Sequence[SwitchingData], degree: int) -> float:
    """Processor time of the direct :func:`predictions` of one junction [s], from the number of terms."""
    x, y, z = junction.B_bias
    longest: dict[tuple[float, float, float, float], float] = {}
    for data in sets:
        for B_x, B_z, V, w in zip(data.B_x, data.B_z, data.voltage, data.width, strict=True):
            field = float(B_x), float(B_z)
            longest[(*field, 0.0, data.relax)] = data.relax
            pulse = (*field, float(V), math.inf)
            longest[pulse] = max(longest.get(pulse, 0.0), float(w))
    turns = sum(
        generator(replace(junction, B_bias=(x + B_x, y, z + B_z)), V, degree=degree).extent()[1] * time
        for (B_x, B_z, V, _), time in longest.items()
    )
    return 1.25 * turns * (degree + 1) ** 2 * _ROW_SECONDS  # an expansion has a quarter more terms than radians


def _solve(
    keys: Sequence[tuple[Any, ...]], pulses: Sequence[dict[tuple[float, float, float], list[tuple[int, int, float]]]],
    junctions: Sequence[Junction], degree: int, spin_torque: bool, across_fields: bool,
    alive: Callable[[], None] | None, out: Floats,
) -> None:  # fmt: skip
    """Write the probabilities of some cells, each with its pulses, into their places."""
    cells = []
    for j, B_x, B_z, _ in keys:
        x, y, z = junctions[j].B_bias
        cells.append(replace(junctions[j], B_bias=(x + B_x, y, z + B_z)))
    at_rest = np.array([[*term_weights(cell, 0.0), key[3]] for cell, key in zip(cells, keys, strict=True)])
    found_up = _found_up(degree, at_rest, np.array([key[0] for key in keys]) if across_fields else None, alive)
    wells: tuple[Well, Well] = ("up", "down")
    made: dict[tuple[bytes, int], Floats] = {}
    densities = np.zeros((len(cells), 2, found_up.shape[1]))
    for c, cell in enumerate(cells):
        exponents = boltzmann_exponents(cell)
        for k in {well for row in pulses[c].values() for _, well, _ in row}:
            if (key := (exponents.tobytes(), k)) not in made:
                made[key] = compact(degree, well_density(exponents, degree=degree, well=wells[k]))
            densities[c, k] = made[key]

    which = np.array([c for c, some in enumerate(pulses) for _ in some])
    shapes = [(cells[c], *shape) for c, some in enumerate(pulses) for shape in some]
    rows = [row for some in pulses for row in some.values()]

    def through(vectors: Floats, parts: Sequence[Sequence[tuple[float, float]]], adjoint: bool) -> Floats:
        """Vectors taken through constant voltages and their durations, one list for each pulse."""
        for step in range(max(map(len, parts))):
            here = np.array([k for k, one in enumerate(parts) if len(one) > step])
            A = np.array([term_weights(shapes[k][0], parts[k][step][0], spin_torque=spin_torque) for k in here])
            times = np.array([parts[k][step][1] for k in here])
            vectors[here] = carry(degree, A, times, vectors[here], adjoint=adjoint, alive=alive)
        return vectors

    lasts = [
        Pulse(voltage=V, width=max(w for *_, w in row), rise=rise, fall=fall)
        for (_, V, rise, fall), row in zip(shapes, rows, strict=True)
    ]
    pairs = list(zip(lasts, (shape[0] for shape in shapes), strict=True))
    falls = [list(staircase(p, c, p.duration - p.fall, p.duration))[::-1] if p.fall else [] for p, c in pairs]
    rises = [list(staircase(p, c, 0.0, p.rise)) if p.rise else [] for p, c in pairs]
    seen = through(found_up[which], falls, adjoint=True)
    starts = densities[which]
    if any(rises):
        starts = np.stack([through(starts[:, k].copy(), rises, adjoint=False) for k in (0, 1)], axis=1)
    top = np.array([term_weights(cell, V, spin_torque=spin_torque) for cell, V, *_ in shapes])
    times = [
        np.array([replace(last, width=w).duration - last.fall - last.rise for *_, w in row])
        for last, row in zip(lasts, rows, strict=True)
    ]
    chances = overlaps(degree, top, times, seen, starts, alive=alive)
    for c, row, chance in zip(which, rows, chances, strict=True):
        for (place, well, _), found in zip(row, chance, strict=True):
            out[keys[c][0], place] = 1 - found[0] if well == 0 else found[1]


def _found_up(
    degree: int, at_rest: Floats, across: NDArray[np.int64] | None, alive: Callable[[], None] | None
) -> Floats:  # fmt: skip
    """The chance to be found up after the relaxation, as a function of the start: float64 (cells, rows).

    Args:
        at_rest: the weights of every cell and its time, (cells, 8); equal ones are solved once, which those of a step
            in xi are.
        across: the junction of every cell, whose fields are interpolated, or None. Those of two junctions are never
            interpolated together: the error of a difference between them would be as large as the difference.
        degree, alive: as :func:`predictions`.
    """
    up = compact(degree, well_indicator(degree, "up"))

    def solve(rows: Floats) -> Floats:
        weights = np.ascontiguousarray(rows[:, :-1])
        return carry(degree, weights, rows[:, -1], np.repeat(up[None], len(rows), axis=0), adjoint=True, alive=alive)

    resting, first, place_of = np.unique(at_rest, axis=0, return_index=True, return_inverse=True)
    alone, lines = np.ones(len(resting), bool), [] if across is None else _lines(resting, across[first])
    out = np.empty((len(resting), len(up)))
    if lines:
        solved = np.split(solve(np.concatenate([nodes for _, nodes, _ in lines])), np.cumsum([
            len(nodes) for _, nodes, _ in lines
        ])[:-1])  # fmt: skip
        for (members, nodes, mix), at_nodes in zip(lines, solved, strict=True):
            n = len(nodes)
            last = 2 / n * np.cos((n - 1) * math.pi * (np.arange(n) + 0.5) / n) @ at_nodes
            if np.linalg.norm(last) < _TAIL:
                out[members], alone[members] = mix @ at_nodes, False
    if alone.any():
        out[alone] = solve(resting[alone])
    return out[place_of.ravel()]


def _lines(resting: Floats, junctions: NDArray[np.int64]) -> list[tuple[NDArray[np.int64], Floats, Floats]]:
    """Operators of one junction that differ in one field alone, where Chebyshev nodes along it are fewer than they are.

    Returns:
        For each line the places of its operators, the operators at its nodes, and the interpolation from those to
        these.
    """
    out, alone = [], np.ones(len(resting), bool)
    for axis in ("turn_x", "turn_z"):
        turn = TERMS.index(axis)  # and the fall along the same field after it, which is proportional
        alike = np.column_stack([junctions, np.delete(resting, [turn, turn + 1], axis=1)])
        _, line = np.unique(alike, axis=0, return_inverse=True)
        for one in range(line.max() + 1):
            members = np.flatnonzero((line.ravel() == one) & alone)
            if len(members) <= _NODES:
                continue
            low, high = (resting[members[pick(resting[members, turn])]] for pick in (np.argmin, np.argmax))
            reach = high[turn] - low[turn]
            n = _NODES + math.ceil(reach / 2 * low[-1] / _PHASE)
            if n >= len(members):
                continue
            nodes = (1 - np.cos(math.pi * (np.arange(n) + 0.5) / n)) / 2
            mix = BarycentricInterpolator(nodes, np.eye(n))((resting[members, turn] - low[turn]) / reach)
            out.append((members, low + nodes[:, None] * (high - low), np.asarray(mix)))
            alone[members] = False
    return out
