"""Rates of a junction with further terms: over the passes of its energy, and over one that is symmetric about z.

Out of a well lead one or more saddles, two equal ones from an in-plane bit. Langer's formula holds for each, with the
factor of Mel'nikov and Meshkov for a low damping, whose loss of energy is that along the path of constant energy from
one saddle to the next. Where nothing distinguishes the directions across z, the rate is an integral over m_z at any
barrier, whatever polynomial of m_z the field is.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.units import gamma_e, k_B
from voltaspin.device.barrier import _panel, _running, depopulation
from voltaspin.device.density import MAX_DEGREE, least_degree
from voltaspin.device.drive import diffusion, drive
from voltaspin.device.energy import WELLS, Energy, Station
from voltaspin.device.escape import LEAST_SHARE, slow_mode
from voltaspin.device.junction import Junction
from voltaspin.device.landscape import Well
from voltaspin.device.sphere import Floats

EIGENVALUE_LIMIT = 22.0  #: barrier of the shallower well [k_B T] up to which the eigenvalue keeps its digits
SADDLE_LIMIT = 8.0  #: least barrier [k_B T] of the saddles' formula
WIDTH = 2.0  #: least curvature of the saddle across the pass [k_B T], below which it is no single saddle
_SPILL = 0.05  #: of ln of a population: how much of a well may lie beyond the reference plane
_DEEPEST = 600.0  #: barrier [k_B T] above which the integral over m_z overflows
_CHANGE = 2.0  #: of the energy in a panel of the integral over m_z [k_B T]
_STEP = 0.004  #: of the path along the separatrix
METHODS = (None, "mode", "eigenvalue", "saddle")


def log_rate(
    junction: Junction, voltage: float, well: Well, *, spin_torque: bool, method: str | None
) -> tuple[float, float]:
    """Return ln(rate / (1/s)) out of a well and its relative error.

    Args:
        junction: with further terms.
        voltage: of the pulse, constant [V].
        well: the one that is left, at least 1 k_B T deep.
        spin_torque: of a junction that has no torque of its own.
        method: ``"mode"`` (symmetric about z), ``"eigenvalue"`` or ``"saddle"``; the best that applies where absent.

    Raises:
        InputError: no two wells, a method that does not apply, or no method that resolves the rate.
    """
    if method not in METHODS:
        raise InputError(
            f"method {method!r} is of junctions without further terms, and {junction.name} has "
            f"{', '.join(junction.terms)}; use {', '.join(map(repr, METHODS[1:]))} or leave it out"
        )
    at = drive(junction, voltage, spin_torque=spin_torque)
    torque = at.torque and not at.axial
    if torque and method not in (None, "eigenvalue"):
        raise InputError(f"method {method!r} has no torque at {voltage:g} V; use 'eigenvalue' or leave it out")
    if torque:
        return _with_torque(junction, voltage, well, spin_torque)
    energy = Energy.of(junction, voltage, spin_torque=spin_torque)
    heights = _heights(energy, well, voltage)
    lowest = min(heights.values())
    if energy.axial and method in (None, "mode"):
        return math.log(diffusion(junction)) + log_axial_rate(energy, well), 1e-8
    if method == "mode":
        raise InputError("method 'mode' needs a layer that is symmetric about z; use 'eigenvalue' or 'saddle'")
    small = lowest <= EIGENVALUE_LIMIT and least_degree(junction) <= MAX_DEGREE
    if method == "eigenvalue" or (method is None and small):
        try:
            mode = slow_mode(junction, voltage=voltage, spin_torque=spin_torque)
            here, there = (_log_population(energy, w) for w in (well, _other(well)))
            share = min(there - here, 0.0) - math.log1p(math.exp(-abs(there - here)))
            return math.log(mode.eigenvalue) + share, max(mode.error, 1e-3)
        except InputError:
            if method is not None:
                raise
    if lowest < SADDLE_LIMIT:
        raise InputError(
            f"the rate out of the well {well!r} at {voltage:g} V is not resolved: a barrier of {lowest:.3g} k_B T is "
            f"below {SADDLE_LIMIT:g} for the saddles' formula and its energy of {energy.stiffness:.3g} k_B T asks for "
            "more harmonics than there are; take a smaller pillar or a weaker demagnetisation, or llg"
        )
    return log_saddle_rate(junction, energy, well)


def _log_population(energy: Energy, well: Well) -> float:
    """Ln of the integral of exp(-energy) over a well."""
    if not energy.axial:
        return energy.log_populations[well][0]
    top, _ = _top(energy)
    upper = (well == "up") == (energy.reference[2] > 0)
    x, w, _ = _panel()
    ends = np.linspace(top, 1, 201) if upper else np.linspace(-1, top, 201)
    half = np.diff(ends)[:, None] / 2
    U = np.polynomial.polynomial.polyval(ends[:-1, None] + half * (1 + x), energy.potential)
    return float(U.max()) + math.log(float(np.sum(half * w * np.exp(U - U.max()))))


def _other(well: Well) -> Well:
    return "down" if well == "up" else "up"


def _heights(energy: Energy, well: Well, voltage: float) -> dict[Well, float]:
    heights = energy.heights()
    if heights is None or heights[well] < 1 - 1e-6:
        what = "does not exist" if heights is None else f"is {heights[well]:.2g} k_B T deep"
        raise InputError(
            f"the well {well!r} at {voltage:g} V {what}: below 1 k_B T there are no two states to flip between; lower "
            "the voltage or the field, raise the anisotropy, or ask voltaspin.device.relaxation for the slowest "
            "mode, which needs no wells"
        )
    return heights


def _with_torque(junction: Junction, voltage: float, well: Well, spin_torque: bool) -> tuple[float, float]:
    """The eigenvalue with the stationary populations of the solution, where both wells keep a share."""
    with contextlib.suppress(InputError):
        mode = slow_mode(junction, voltage=voltage, spin_torque=spin_torque)
        energy = Energy.of(replace(junction, spin_transfer=None, line=None), voltage)
        if not energy.axial and any(abs(inside - side) > _SPILL for inside, side in energy.log_populations.values()):
            raise InputError("the reference plane cuts through a well")
        share = 1 - mode.population_up if well == "up" else mode.population_up
        if min(share, 1 - share) >= LEAST_SHARE and mode.eigenvalue < 0.3 * _relaxation(junction):
            return math.log(mode.eigenvalue * share), max(mode.error, 1e-3)
    raise InputError(
        f"the rate out of the well {well!r} at {voltage:g} V with its torque is not resolved: a well holds a share "
        f"below {LEAST_SHARE:g}, is hardly one or reaches beyond the reference plane, or its barrier is too high; "
        "lower the voltage"
    )


def _relaxation(junction: Junction) -> float:
    """Slowest relaxation inside the wells at zero voltage [1/s]."""
    alpha = junction.alpha_G
    energy = Energy.of(junction)
    if energy.axial:  # the wells are the poles
        least = float(np.abs(np.polynomial.polynomial.polyval(np.array([-1.0, 1.0]), energy.field)).min())
    else:
        least = min(sum(s.curvatures) / 2 for s in energy.stations if s.kind == 0)
    to_T = k_B * junction.temperature / (junction.Ms * junction.volume)
    return alpha * gamma_e / (1 + alpha**2) * to_T * least


# --- symmetric about z ---------------------------------------------------------------------------------


def log_axial_rate(energy: Energy, well: Well) -> float:
    """Return ln of the rate out of a well over the diffusion constant, of an energy that is symmetric about z.

    It is that of the process of two states that has the slowest eigenvalue and the stationary populations of the exact
    one, with the wells parted at the top between them: as :func:`voltaspin.device.barrier.log_axial_rates`, for any
    polynomial.

    Raises:
        InputError: more than two wells, or a barrier above 600 k_B T.
    """
    top, height = _top(energy)
    if height - min(E for _, E in energy.profile) > _DEEPEST:
        raise InputError(f"a barrier above {_DEEPEST:g} k_B T never flips; take a lower one")
    x, w, cumulative = _panel()
    ends = [-1 + (top + 1) * t for t in _graded()][:-1] + [1 - (1 - top) * t for t in reversed(_graded())]
    ends = _divided(ends, energy)
    a, b = np.array(ends[:-1])[:, None], np.array(ends[1:])[:, None]
    half = (b - a) / 2
    z = (a + b) / 2 + half * x
    E = -np.polynomial.polynomial.polyval(z, energy.potential) - height
    density, low = np.exp(-E), np.broadcast_to(b <= top + 1e-15, z.shape)
    below = _running(density, half, w, cumulative)
    above = _running(density[::-1, ::-1], half[::-1], w, cumulative)[::-1, ::-1]
    wells = [float(np.sum((half * w * density)[some])) for some in (low, ~low)]
    f, g = below / wells[0], above / wells[1]
    kernel = np.exp(E) / ((1 - z) * (1 + z))
    flux, mu = np.minimum(f, 1) * np.minimum(g, 1), 0.0
    for _ in range(500):
        F = _running(kernel * flux * f, half, w, cumulative)
        G = _running((kernel * flux * g)[::-1, ::-1], half[::-1], w, cumulative)[::-1, ::-1]
        new = g * F + f * G
        before, mu = mu, float(new.max() / flux.max())
        flux = new / new.max()
        if abs(mu - before) <= 1e-13 * mu:
            break
    up_is_above = energy.reference[2] > 0
    return -math.log(mu) - math.log(wells[1] if (well == "up") == up_is_above else wells[0])


def _top(energy: Energy) -> tuple[float, float]:
    """Latitude and energy of the one top between two wells along z."""
    inner = energy.profile
    tops = [k for k in range(1, len(inner) - 1) if inner[k][1] > max(inner[k - 1][1], inner[k + 1][1])]
    if len(tops) != 1:
        raise InputError(f"the energy has {len(tops) + 1} wells along z, and a rate is that between two")
    return inner[tops[0]]


def _divided(ends: list[float], energy: Energy) -> list[float]:
    """Panels in none of which the energy changes by more than ``_CHANGE``.

    A running integral errs by rounding times the largest value of a panel, and small ones are multiplied by the
    populations' ratio afterwards.
    """
    out = [ends[0]]
    for a, b in pairwise(ends):
        E = np.polynomial.polynomial.polyval(np.linspace(a, b, 9), energy.potential)
        parts = max(1, math.ceil(float(np.abs(np.diff(E)).sum()) / _CHANGE))
        out += [a + (b - a) * k / parts for k in range(1, parts)] + [b]
    return out


def _graded() -> Floats:
    """Ends of panels from 0 (a pole) to 1 (the top), fine at both."""
    fine = 0.5 ** np.arange(14, 1, -1)
    return np.concatenate([[0.0], fine, np.linspace(0.25, 0.75, 21)[1:-1], 1 - fine[::-1], [1.0]])


# --- saddles -------------------------------------------------------------------------------------------


def log_saddle_rate(junction: Junction, energy: Energy, well: Well) -> tuple[float, float]:
    """Return ln(rate / (1/s)) over the saddles out of a well and its relative error.

    Raises:
        InputError: more than one minimum on a side, or saddles so wide that they are none.

    Source: J. S. Langer, Ann. Phys. 54, 258 (1969); P. M. Dejardin et al., Phys. Rev. E 63, 021102 (2001), for the loss
    between two saddles.
    """
    minima = {w: [s for s in energy.stations if s.kind == 0 and energy.side(s.m) == w] for w in WELLS}
    if any(len(some) != 1 for some in minima.values()):
        raise InputError("a side of the reference plane has not one minimum but several; use method='eigenvalue'")
    bottom, alpha = minima[well][0], junction.alpha_G
    passes = [s for s, a, b in energy.ways if a is not b]
    if min(s.curvatures[1] for s in passes) < WIDTH:
        raise InputError(
            f"a saddle with a curvature of {min(s.curvatures[1] for s in passes):.2g} k_B T across is too wide "
            f"for one ({WIDTH:g} needed); use method='eigenvalue'"
        )
    rate = 0.0
    for s in passes:
        c1, c2 = s.curvatures
        growth = 0.5 * (-alpha * (c1 + c2) + math.sqrt((alpha * (c1 - c2)) ** 2 - 4 * c1 * c2))
        losses = [alpha * _loss(energy, s, minima[w][0]) for w in WELLS]
        filled = depopulation(losses[0]) * depopulation(losses[1]) / depopulation(sum(losses))
        a1, a2 = bottom.curvatures
        one = growth / (2 * math.pi) * math.sqrt(a1 * a2 / (-c1 * c2)) * filled
        rate += one * math.exp(passes[0].energy - s.energy)
    to_T = k_B * junction.temperature / (junction.Ms * junction.volume)
    height = passes[0].energy - bottom.energy
    value = math.log(gamma_e / (1 + alpha**2) * to_T * rate) - height
    width = min(s.curvatures[1] for s in passes)
    return value, 1.4 / height + 0.6 / width


def _loss(energy: Energy, saddle: Station, bottom: Station) -> float:
    """Energy lost over alpha_G along the path of constant energy from a saddle through one well to the next saddle."""
    c1, c2 = saddle.curvatures
    slope = math.sqrt(-c1 / c2)  # of the two directions in which the energy stays, in terms of the main ones
    ends = [s.m for s in energy.stations if s.kind == 1]
    start = 2e-3
    for sign, cross in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        m = saddle.m + start * (sign * saddle.directions[0] + cross * slope * saddle.directions[1]) / math.hypot(
            1, slope
        )
        m /= np.linalg.norm(m)
        flow = np.cross(energy.gradient(m), m)
        if float(flow @ (m - saddle.m)) <= 0:  # on this branch the turn leads into the saddle
            continue
        path, total, middle, steepest = 0.0, 0.0, m, 0.0
        for _ in range(int(20 / _STEP)):
            speed = float(np.linalg.norm(energy.gradient(m)))
            k1 = _along(energy, m)
            k2 = _along(energy, m + _STEP / 2 * k1)
            after = m + _STEP * k2
            after /= np.linalg.norm(after)
            g = energy.gradient(after)  # back onto the line of constant energy
            after = after - (float(energy(after)) - saddle.energy) * g / max(float(g @ g), 1e-300)
            after /= np.linalg.norm(after)
            ahead = float(np.linalg.norm(energy.gradient(after)))
            total += _STEP * (speed + ahead) / 2
            m, path = after, path + _STEP
            if path > 0.1 and min(float(np.linalg.norm(m - end)) for end in ends) < 1.5 * _STEP:
                break
            if ahead > steepest:
                middle, steepest = m, ahead
        else:
            raise InputError("the path of constant energy out of a saddle does not end at one; use method='eigenvalue'")
        if energy.descend(_inward(energy, middle)) is bottom:
            return total
    raise InputError("no path of constant energy leads from the saddle around the well; use method='eigenvalue'")


def _along(energy: Energy, m: Floats) -> Floats:
    flow = np.cross(energy.gradient(m), m)
    return np.asarray(flow / max(float(np.linalg.norm(flow)), 1e-300))


def _inward(energy: Energy, m: Floats) -> Floats:
    g = energy.gradient(m)
    out = m - 0.02 * g / max(float(np.linalg.norm(g)), 1e-300)
    return np.asarray(out / np.linalg.norm(out))
