"""A switching model from the Fokker-Planck equation: a few hundred solutions, one polynomial for millions of cells.

Under one pulse a cell enters the equation through five numbers: its anisotropy field during the pulse and
before and after it, its volume (the thermal field), its field along z, and its torque. The first decides how
far the magnetisation turns and needs high orders, the others little.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.device.density import first_degree
from voltaspin.device.fokker_planck import sufficient_degree, switching_pair
from voltaspin.device.junction import Junction, Pulse
from voltaspin.device.response import QUANTITIES, Quantity, Response, Variable, design, logistic, nominal

Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]

#: Budget of an order along each axis: cheap axes get high orders.
_COST = {"field during the pulse": 1.0, "B_z": 1.6, "K_eff": 2.6, "volume": 4.0, "torque": 5.0}
_COST |= {"K_eff_scale": 1.6, "xi_scale": 2.6, "diameter_scale": 2.6, "RA_scale": 2.6}
_HELD_OUT = 0.2  #: share of the solutions that the fit never sees


@dataclass(frozen=True)
class Fit:
    """The error of a surrogate.

    Args:
        response: the polynomial.
        rms, worst: error on solutions that the fit did not see, as a probability.
        solutions: how many were computed, the held-out ones included.
        degree: of the harmonics.
    """

    response: Response
    rms: float
    worst: float
    solutions: int
    degree: int


def build(
    junction: Junction,
    pulse: Pulse,
    *,
    half_ranges: dict[Quantity, float],
    relax: float,
    spin_torque: bool,
    solutions: int,
    degree: int | None,
    threads: int | None,
    progress: Progress | None,
) -> Fit:
    """Solve at ``solutions`` cells spread over the box of ``half_ranges`` and fit both probabilities.

    Cells are a Sobol sequence with the density of Chebyshev nodes. One in five is held out; the order of the
    polynomial is the one that predicts these best.

    Raises:
        InputError: an unknown quantity, a half range that is negative or reaches zero, too few solutions.
    """
    from scipy.stats import qmc

    for q, half in half_ranges.items():
        if q not in QUANTITIES:
            raise InputError(f"{q!r} is no quantity of a cell; known: {', '.join(QUANTITIES)}")
        if not 0 <= half < (np.inf if q == "B_z" else 1.0):
            raise InputError(f"half range {half!r} of {q} must be at least 0 and, for a scale, below 1")
    used: list[Quantity] = [q for q in QUANTITIES if half_ranges.get(q, 0) > 0]
    if solutions < 20:
        raise InputError(f"{solutions} solutions cannot carry a fit; give at least 20")
    variables = _variables(junction, pulse, half_ranges, used, spin_torque)
    cube = qmc.Sobol(max(len(used), 1), scramble=False).random_base2((solutions - 1).bit_length())[:solutions]
    spread = np.cos(np.pi * cube)
    cells = {q: np.full(solutions, nominal(q)) for q in QUANTITIES}
    for column, q in enumerate(used):
        cells[q] = nominal(q) + half_ranges[q] * spread[:, column]
    stiffest = junction.with_variation(K_eff_scale=1 + half_ranges.get("K_eff_scale", 0.0))
    L = first_degree(stiffest) if degree is None else degree
    if degree is None and junction.terms:  # at a threshold the cells in the middle need the most
        softest = junction.with_variation(K_eff_scale=1 - half_ranges.get("K_eff_scale", 0.0))
        ends = (softest, junction, stiffest)
        L = max(sufficient_degree(cell, pulse, relax=relax, spin_torque=spin_torque) for cell in ends)
    answers = np.empty((solutions, 2))
    done = 0

    def solve(i: int) -> None:
        nonlocal done
        cell = junction.with_variation(**{q: float(values[i]) for q, values in cells.items()})
        answers[i] = switching_pair(cell, pulse, relax=relax, spin_torque=spin_torque, degree=L)
        done += 1
        if progress is not None:
            progress(done, solutions)

    if progress is not None:
        progress(0, solutions)
    solve(0)  # here, so that whoever only asks for the pace can stop it
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        list(pool.map(solve, range(1, solutions)))
    x = np.stack([v(cells) for v in variables]) if variables else np.empty((0, solutions))
    return _fitted(x, np.clip(answers, 1e-14, 1 - 1e-14), variables, L)


def _variables(
    junction: Junction, pulse: Pulse, half: dict[Quantity, float], used: list[Quantity], spin_torque: bool
) -> tuple[Variable, ...]:
    """The axes on which the cells differ; with further terms each quantity is one that acts under this pulse."""
    if junction.terms:
        biased = pulse.voltage != 0 and (junction.line is None or junction.line.gate != 0)
        divided = junction.spin_transfer is not None or junction.R_series > 0 or spin_torque
        acts = {"xi_scale": biased and junction.xi != 0, "RA_scale": biased and divided}
        return tuple(Variable(q, ((q, 1, 1.0),), nominal(q), half[q]) for q in used if acts.get(q, True))
    h = {q: half.get(q, 0.0) for q in QUANTITIES}
    cancelled = 1 - junction.B_k(pulse.voltage) / junction.B_k()  # share of K_eff that the pulse takes away
    out = []
    if "K_eff_scale" in used or ("xi_scale" in used and cancelled):
        reach = h["K_eff_scale"] + abs(cancelled) * h["xi_scale"]
        weights: tuple[tuple[Quantity, int, float], ...] = (("K_eff_scale", 1, 1.0), ("xi_scale", 1, -cancelled))
        out.append(Variable("field during the pulse", weights, 1 - cancelled, reach))
    if "B_z" in used:
        out.append(Variable("B_z", (("B_z", 1, 1.0),), 0.0, h["B_z"]))
    # Without a spread of xi the field during the pulse says it already.
    if "K_eff_scale" in used and "xi_scale" in used and cancelled:
        out.append(Variable("K_eff", (("K_eff_scale", 1, 1.0),), 1.0, h["K_eff_scale"]))
    if "diameter_scale" in used:
        low, high = (1 - h["diameter_scale"]) ** 2, (1 + h["diameter_scale"]) ** 2
        out.append(Variable("volume", (("diameter_scale", 2, 1.0),), (low + high) / 2, (high - low) / 2))
    if "RA_scale" in used and spin_torque:
        low, high = 1 / (1 + h["RA_scale"]), 1 / (1 - h["RA_scale"])
        out.append(Variable("torque", (("RA_scale", -1, 1.0),), (low + high) / 2, (high - low) / 2))
    return tuple(out)


def _fitted(x: Floats, answers: Floats, variables: tuple[Variable, ...], degree: int) -> Fit:
    held = np.zeros(len(answers), bool)
    held[-max(int(_HELD_OUT * len(answers)), 4) :] = True
    logits = np.log(answers / (1 - answers))
    # Errors count as probabilities near 1/2 and as factors where a probability is small.
    weight = np.sqrt(np.maximum(answers * (1 - answers), 1e-3))
    best: Fit | None = None
    for budget in np.arange(0.0, 25.0, 1.0):
        terms = _terms([_COST[v.name] for v in variables], budget)
        if len(terms) > 0.6 * (~held).sum():
            break
        A = design(x, terms)
        c = np.stack(
            [
                np.linalg.lstsq(weight[~held, k, None] * A[~held], weight[~held, k] * logits[~held, k], rcond=None)[0]
                for k in (0, 1)
            ]
        )
        off = logistic(A[held] @ c.T) - answers[held]
        rms = float(np.sqrt(np.mean(off**2)))
        if best is None or rms < best.rms:
            response = Response(
                variables, tuple(tuple(map(int, t)) for t in terms), tuple(map(float, c[0])),
                tuple(map(float, c[1])), "chebyshev",
            )  # fmt: skip
            best = Fit(response, rms, float(abs(off).max()), len(answers), degree)
    assert best is not None  # the constant always fits into the samples
    return best


def _terms(costs: list[float], budget: float) -> NDArray[np.int64]:
    """All orders whose cost fits into the budget: int64 (terms, axes)."""
    axes = [range(int(budget / cost) + 1) for cost in costs]
    kept = [t for t in product(*axes) if sum(k * c for k, c in zip(t, costs, strict=True)) <= budget + 1e-9]
    return np.array(kept, np.int64).reshape(len(kept), len(costs))
