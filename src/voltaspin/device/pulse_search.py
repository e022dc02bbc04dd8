"""Search for the pulse that makes a junction a fair coin, in spite of its stray field and its variation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.device.junction import Junction, Pulse, Well, require_positive

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Corner:
    """One cell of the tolerance box of :func:`fair_pulse`, with its simulated probabilities."""

    name: str
    K_eff_scale: float
    B_z: float
    p01: float
    p10: float
    error: float


@dataclass(frozen=True)
class FairPulse:
    """The pulse that comes closest to a fair coin over a box of cells.

    Args:
        pulse: the shortest that meets the tolerance, else the one with the least worst deviation.
        meets: whether worst deviation plus two standard errors fits the tolerance.
        worst_deviation: largest distance of p01 or p10 from 1/2 over the corners.
        worst_error: binomial standard error of one corner.
        corners: what was simulated for ``pulse``.
        curves: dicts with ``voltage``, ``widths``, ``p01``, ``p10``, ``error`` of the nominal cell.
        verdict: the outcome in one sentence.
        mirrored: p10 was not simulated but taken from p01 at the opposite stray field, which mirror symmetry
            allows without a bias field along z (and without torque); then the errors of p01 and p10 are one.
    """

    pulse: Pulse
    meets: bool
    worst_deviation: float
    worst_error: float
    corners: list[Corner]
    curves: list[dict[str, Any]]
    verdict: str
    mirrored: bool


#: Widths [s] that :func:`fair_pulse` scans: the short plateaus closely, then out to where memory is lost.
FAIR_WIDTHS: tuple[float, ...] = tuple(
    round(w * 1e-12, 15)
    for w in (*range(160, 601, 20), *range(650, 1501, 50), *range(1600, 3001, 100), *range(3250, 5001, 250))
)
_CANDIDATES = 8  #: per voltage, beside the longest width
_FINAL = 3  #: pulses whose whole box is simulated with all devices


def fair_pulse(
    junction: Junction,
    *,
    voltages: Sequence[float] | None = None,
    widths: Sequence[float] = FAIR_WIDTHS,
    tolerance: float = 0.01,
    B_z: float = 2e-3,
    K_eff: float = 0.05,
    n_devices: int = 40_000,
    seed: int = 0,
    dt: float | None = None,
    relax: float = 10e-9,
    threads: int | None = None,
    progress: Progress | None = None,
) -> FairPulse:
    """Search the shortest pulse with p01 = p10 = 1/2 within ``tolerance`` over a box of cells.

    Three stages: the curves of the nominal cell at each voltage (1/16 of the devices); the box of every
    candidate (the eight flattest widths around 1/2 of each curve and its longest), middles of the sides left
    out, with a quarter; the box of the three best with all devices, shortest first, until one meets. The box
    is the nominal cell, the four corners at +-B_z and +-K_eff, and the four middles of its sides. A pulse
    meets the tolerance only if the worst deviation plus two binomial standard errors fits; the worst of the
    counts lies about 1.5 errors above the truth, so a pulse at the limit is rejected rather than accepted.

    Args:
        junction: nominal cell.
        voltages: of the pulses [V]; V_c and 1.3 V_c where absent.
        widths: to scan [s], ascending.
        tolerance: on the probabilities [1].
        B_z: largest stray field along z [T].
        K_eff: largest relative deviation of K_eff [1].
        n_devices: per probability in the last stage.
        seed: of all randomness.
        dt: time step [s]; the longest with less than 0.1 % bias of the stiffest cell where absent.
        relax: time at zero voltage before the bit is read [s].
        threads: see :func:`voltaspin.device.llg.run`.
        progress: called with (done, total) units of work; the total can shrink at the end.

    Returns:
        The pulse and the evidence; ``verdict`` says whether any pulse met the tolerance.

    Raises:
        InputError: too few devices to decide, a bad tolerance or box, or as the LLG.
    """
    from voltaspin.device.llg import (
        USUAL_BIAS,
        binomial_error,
        check_size,
        switching_curve,
        switching_probability,
        time_step_limit,
    )

    if voltages is None:
        voltages = (junction.V_c, 1.3 * junction.V_c)
    if not 0 < tolerance < 0.5 or not 0 <= K_eff < 1 or B_z < 0 or not len(voltages):
        raise InputError(
            f"tolerance = {tolerance!r}, K_eff = {K_eff!r}, B_z = {B_z!r} T, voltages = {voltages!r}: give a "
            "tolerance between 0 and 0.5, a relative K_eff from 0 to 1, B_z >= 0 and at least one voltage"
        )
    error = float(binomial_error(np.array(0.5), n_devices))
    if 2 * error >= tolerance:
        raise InputError(
            f"n_devices = {n_devices} gives probabilities to {error:.2g}, too coarse for a tolerance of "
            f"{tolerance:g}; give at least {int(np.ceil(4 / tolerance**2))}"
        )
    if dt is None:
        stiffest = junction.with_variation(K_eff_scale=1 + K_eff, B_z=math.copysign(B_z, junction.B_bias[2]))
        dt = time_step_limit(stiffest, *voltages, tolerance=USUAL_BIAS)
    require_positive("dt", dt, "s", "give the time step, e.g. 1 * ps")
    few = max(n_devices // 16, 1)
    # two wells of curves with a sixteenth of the devices, of screens with a quarter, of full boxes with all
    screens, boxes = len(voltages) * (_CANDIDATES + 1) * 5 / 4, _FINAL * 9
    moves = 2 * ((max(widths, default=0.0) + relax) * (screens + boxes) + len(voltages) * len(widths) * relax / 16)
    check_size(n_devices, moves / dt)
    wells: tuple[Well, ...] = ("up", "down")
    total = len(voltages) * (2 * len(widths) + 4 * 5) + 2 * 9
    done = 0

    def tick(*_: int) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    curves = []
    candidates: list[Pulse] = []
    for v in voltages:
        shares = {
            well: switching_curve(
                junction, voltage=v, widths=widths, initial=well, n_devices=few, relax=relax, dt=dt,
                seed=seed, threads=threads, progress=tick,
            )
            for well in wells
        }  # fmt: skip
        p01, p10 = shares["up"][0], shares["down"][0]
        curves.append(
            {
                "voltage": float(v),
                "widths": [float(w) for w in widths],
                "p01": p01.tolist(),
                "p10": p10.tolist(),
                "error": shares["up"][1].tolist(),
                "n_devices": few,
            }
        )
        candidates += [Pulse(voltage=float(v), width=float(widths[k])) for k in _plateaus(p01, p10)]

    def box(pulse: Pulse, n: int, stage: str) -> list[Corner]:
        sides = [(s, b) for s in (1.0, 1 - K_eff, 1 + K_eff) for b in (0.0, -B_z, B_z)]
        if stage == "screen":
            sides = [(s, b) for s, b in sides if (s == 1) == (b == 0)]
        mirrored = junction.B_bias[2] == 0
        share: dict[tuple[str, float, float], float] = {}
        for s, b in sides:
            cell = replace(junction.with_variation(K_eff_scale=s, B_z=b), name=f"{junction.name}/{stage}")
            for well in wells[:1] if mirrored else wells:
                counted = switching_probability(
                    cell, pulse, initial=well, n_devices=n, relax=relax, dt=dt, seed=seed, threads=threads
                )
                share[well, s, b] = counted.value
            if mirrored:
                share["down", s, -b + 0.0] = share["up", s, b]
            tick()
        e = float(binomial_error(np.array(0.5), n))
        return [
            Corner(f"K_eff {s - 1:+.0%}, B_z {b * 1e3:+.1f} mT", s, b, share["up", s, b], share["down", s, b], e)
            for s, b in sides
        ]

    rough = sorted((_worst(box(c, n_devices // 4, "screen")), c.width, k) for k, c in enumerate(candidates))
    best: tuple[float, Pulse, list[Corner]] | None = None
    for pulse in sorted((candidates[k] for _, _, k in rough[:_FINAL]), key=lambda c: c.width):
        corners = box(pulse, n_devices, "full")
        worst = _worst(corners)
        if best is None or worst < best[0]:
            best = worst, pulse, corners
        if worst + 2 * error <= tolerance:
            best = worst, pulse, corners
            break
    assert best is not None  # every curve gives a candidate
    worst, pulse, corners = best
    meets = worst + 2 * error <= tolerance
    what = f"{pulse.voltage:.3f} V for {pulse.width * 1e9:.2f} ns"
    over = f"over +-{B_z * 1e3:g} mT and +-{K_eff:.0%} of K_eff"
    verdict = (
        f"{what} gives 1/2 within {tolerance:g} {over}: worst deviation {worst:.4f} +- {error:.4f}."
        if meets
        else f"None of the {_FINAL} finalists among {len(voltages) * len(widths)} scanned pulses gives 1/2 within "
        f"{tolerance:g} {over}; the best, {what}, deviates by "
        f"{worst:.4f} +- {error:.4f}, so its bits need conditioning or a trim of the stray field."
    )
    if progress is not None:
        progress(total, total)
    return FairPulse(pulse, meets, worst, error, corners, curves, verdict, junction.B_bias[2] == 0)


def _worst(corners: list[Corner]) -> float:
    return max(abs(p - 0.5) for c in corners for p in (c.p01, c.p10))


def _plateaus(p01: NDArray[np.float64], p10: NDArray[np.float64]) -> list[int]:
    """Indices of the eight widths whose neighbourhood deviates least from 1/2, and of the longest."""
    off = np.maximum(abs(p01 - 0.5), abs(p10 - 0.5))
    padded = np.pad(off, 1, mode="edge")
    around = np.maximum(np.maximum(padded[:-2], padded[2:]), off)
    return sorted({*map(int, np.argsort(around, kind="stable")[:_CANDIDATES]), len(off) - 1})
