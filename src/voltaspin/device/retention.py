"""How long a junction keeps its bit: the rate of thermal flips out of each well at a constant voltage.

A rate here is that of the process of two states which relaxes as slowly as the junction and rests in the same
populations: the slowest eigenvalue of the Fokker-Planck operator times the other well's share. Above a barrier of
some 10 k_B T that is one over the mean life of the bit. Half the inverse of the mean first passage to the barrier's
top is another definition (``method="axial"``): 20 % less at Delta 1, up to 20 % off in a field along z at any Delta.

Each well has its own method, because none covers all barriers (:func:`log_flip_rate`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.core.units import gamma_e, k_B, require_positive, require_voltage
from voltaspin.device.barrier import (
    SADDLE_FIELD,
    depopulation,
    log_axial_rates,
    log_first_passage,
    log_saddle_rate,
)
from voltaspin.device.density import MAX_DEGREE, least_degree, term_weights
from voltaspin.device.escape import LEAST_SHARE, SlowMode, log_flux_rate, slow_mode
from voltaspin.device.junction import Junction, Well
from voltaspin.device.landscape import Landscape
from voltaspin.device.low_barrier import Relaxation, relaxation
from voltaspin.device.parameters import AT_REST
from voltaspin.device.passes import log_rate
from voltaspin.device.torque import spin_torque_field
from voltaspin.device.warming import settled

__all__ = [
    "Relaxation",
    "SlowMode",
    "depopulation",
    "flip_rate",
    "log_flip_rate",
    "relaxation",
    "slow_mode",
]

Method = Literal["mode", "eigenvalue", "flux", "saddle", "axial", "extrapolated"]

#: Barrier of the shallower well [k_B T] up to which the eigenvalue still has its digits in double precision.
EIGENVALUE_LIMIT = 25.0
GOOD_SADDLE = 5.0  #: in-plane field energy [k_B T] from which the saddle's formula is preferred for its speed
LOWER = (14.0, 20.0)  #: Delta of the lower barriers from which ``"extrapolated"`` goes up


def flip_rate(
    junction: Junction,
    *,
    voltage: float = 0.0,
    well: Well = "up",
    spin_torque: bool = False,
    method: Method | None = None,
) -> float:
    """Return the thermal flips out of a well per second at a constant voltage.

    A plain number without its accuracy, and zero where the rate is below the smallest float (1e-308 per second, a
    barrier above some 730 k_B T): :func:`log_flip_rate` has the accuracy, and any rate.

    Args:
        junction: with two wells at that voltage.
        voltage: [V]; zero for storage, the read voltage for read disturb.
        well: the one that is left, at least 1 k_B T deep.
        spin_torque: of the current at ``voltage``.
        method: see :func:`log_flip_rate`, which chooses it where absent.

    Returns:
        Rate [1/s], never negative; its inverse is the mean life of the bit.

    Raises:
        InputError: as :func:`log_flip_rate`.
    """
    return math.exp(log_flip_rate(junction, voltage=voltage, well=well, spin_torque=spin_torque, method=method).value)


def log_flip_rate(
    junction: Junction,
    *,
    voltage: float = 0.0,
    well: Well = "up",
    spin_torque: bool = False,
    method: Method | None = None,
) -> Estimate:
    """Return ln(rate / (1/s)) of the thermal flips out of a well, with bounds on its numerical error.

    Args:
        junction, voltage, well, spin_torque: as :func:`flip_rate`.
        method: chosen where absent. Without an in-plane field ``"mode"``, exact in m_z at any barrier, where a
            torque acts as the field a_J / alpha_G. In an in-plane field ``"eigenvalue"`` up to 25 k_B T over the
            shallower well, whose share of the populations is Boltzmann's and not computed as a difference; above,
            ``"saddle"`` or, where the field turns the energy by less than 5 k_B T, ``"flux"`` (0.1 %, seconds).
            With torque and an in-plane field ``"eigenvalue"`` or ``"flux"``. ``"axial"`` is another definition of
            the rate, half the inverse mean first passage to the barrier's top; ``"extrapolated"`` goes up from
            lower barriers in a field of less than 3 k_B T. With further terms ``"mode"`` where nothing distinguishes
            the directions across z, torque included; else ``"eigenvalue"`` up to 22 k_B T, which is all there is with
            torque, and above it ``"saddle"``, summed over the saddles. Self-heating counts as settled.

    Returns:
        The logarithm; ``low`` and ``high`` are bounds (``level`` 1).

    Raises:
        InputError: a well that does not exist or is less than 1 k_B T deep, a method that does not apply, or no
            method that resolves the rate (docs/limits.md).

    Source: Y. P. Kalmykov, J. Appl. Phys. 96, 1138 (2004) (saddle); W. F. Brown, Phys. Rev. 130, 1677 (1963).
    """
    require_positive("temperature", junction.temperature, "K", "nothing flips at zero kelvin")
    require_voltage("voltage", voltage)
    if well not in get_args(Well):
        raise InputError(f"well {well!r} is unknown; use 'up' (parallel, bit 0) or 'down' (bit 1)")
    if method not in _METHODS:
        raise InputError(f"method {method!r} is unknown; use {', '.join(map(repr, get_args(Method)))}")
    if spin_torque and method in ("saddle", "extrapolated"):
        raise InputError(f"method {method!r} has no spin torque; leave it out, or use 'flux' or spin_torque=False")
    junction = _acting(junction, voltage)
    if junction.terms:
        warm = settled(junction, voltage)
        value, error = log_rate(warm, voltage, well, spin_torque=spin_torque, method=method)
    else:
        spin_torque = spin_torque and spin_torque_field(junction, voltage) != 0
        escape = _Escape(junction, voltage, well, spin_torque, _two_wells(junction, voltage, well, spin_torque))
        value, error = _METHODS[method](escape)
    return Estimate(value, value + math.log1p(-min(error, 0.999)), value + math.log1p(error), level=1.0)


def _acting(junction: Junction, voltage: float) -> Junction:
    """The junction without the terms that do nothing at zero volt, so that a plain one keeps all its methods."""
    return replace(junction, **AT_REST) if voltage == 0 and junction.terms else junction


def _two_wells(junction: Junction, voltage: float, well: Well, spin_torque: bool) -> Landscape:
    """The landscape, if both wells are there and the one to leave is deep; torque takes part where it has an energy."""
    land = Landscape.of(junction, voltage, spin_torque=spin_torque and junction.B_in_plane == 0)
    at = f"at {voltage:g} V{' with its spin torque' if spin_torque else ''}"
    remedy = "lower the voltage or the field, or raise Delta"
    if land.missing:
        names = " and ".join(f"the well {w!r}" for w in land.missing)
        do = "does" if len(land.missing) == 1 else "do"
        raise InputError(
            f"{names} {do} not exist {at}: its barrier is 0, and below 1 k_B T there are no two states to flip "
            f"between; {remedy}"
        )
    if (height := land.height(well)) < 1 - 1e-6:  # a Delta of 1 may come out of K_i a rounding below
        raise InputError(
            f"the barrier out of the well {well!r} {at} is {height:.2g} k_B T; below 1 k_B T there are no two states "
            f"to flip between: {remedy}"
        )
    return land


def _unresolved(junction: Junction, voltage: float, well: Well, spin_torque: bool) -> InputError:
    with_torque = " with its spin torque" if spin_torque else ""
    remedy = (
        "lower the voltage, raise RA or the damping, leave the in-plane field out (exact at any barrier), or use "
        "spin_torque=False"
        if spin_torque
        else "leave the in-plane field out (exact at any barrier), or make it larger (the saddle's formula)"
    )
    return InputError(
        f"the rate out of the well {well!r} at {voltage:g} V{with_torque} in an in-plane field of "
        f"{junction.B_in_plane:g} T is not resolved at Delta = {junction.Delta(voltage):.4g} (docs/limits.md): the "
        f"well is hardly one, or too deep for the flux; {remedy}"
    )


@dataclass(frozen=True)
class _Escape:
    """Out of one well at a constant voltage: each method gives ln(rate / (1/s)) and its relative error."""

    junction: Junction
    voltage: float
    well: Well
    spin_torque: bool
    land: Landscape

    @property
    def lowest(self) -> float:
        """Barrier of the shallower well [k_B T]."""
        return min(self.land.height("up"), self.land.height("down"))

    def best(self) -> tuple[float, float]:
        """Return the method of this well."""
        if self.junction.B_in_plane == 0:
            return self.mode()
        if self.spin_torque:
            return self.with_torque()
        if self.lowest <= EIGENVALUE_LIMIT and least_degree(self.junction) <= MAX_DEGREE:
            with contextlib.suppress(InputError):  # a deep well beside a shallow one may still ask for a higher degree
                return self.eigenvalue()
        if self.land.b_x >= GOOD_SADDLE and self.lowest >= 8:
            return self.saddle()
        return self.flux()

    # without an in-plane field

    def _symmetric(self) -> tuple[float, Landscape]:
        """ln of the diffusion constant on the sphere, and the landscape, in which a torque is a field."""
        if self.junction.B_in_plane != 0:
            raise InputError(
                f"the in-plane field of {self.junction.B_in_plane:g} T breaks the axial symmetry; use method='saddle' "
                "or 'flux'"
            )
        land = Landscape.of(self.junction, self.voltage, spin_torque=self.spin_torque)
        return math.log(term_weights(self.junction, 0.0)[6]), land

    def mode(self) -> tuple[float, float]:
        log_diffusion, land = self._symmetric()
        return log_diffusion + log_axial_rates(land)[0 if self.well == "up" else 1], 1e-9

    def first_passage(self) -> tuple[float, float]:
        log_diffusion, land = self._symmetric()
        return log_diffusion + log_first_passage(land, up=self.well == "up"), 1e-9

    # in an in-plane field

    def eigenvalue(self) -> tuple[float, float]:
        if self.spin_torque:
            mode = slow_mode(self.junction, voltage=self.voltage, spin_torque=True)
            return math.log(mode.rate(self.well)), max(mode.error, 1e-3)
        if self.lowest > EIGENVALUE_LIMIT + 3:
            raise InputError(
                f"a barrier of {self.lowest:.3g} k_B T is above {EIGENVALUE_LIMIT + 3:g}, where the eigenvalue has no "
                "digits left; use method='saddle', 'flux' or, without an in-plane field, 'mode'"
            )
        mode = slow_mode(self.junction, voltage=self.voltage)
        here = self.land.log_population(self.well)
        there = self.land.log_population("down" if self.well == "up" else "up")
        # ln of the other well's share, there / (here + there), which may be far below 1.
        share = min(there - here, 0.0) - math.log1p(math.exp(-abs(there - here)))
        return math.log(mode.eigenvalue) + share, max(mode.error, 1e-3)

    def flux(self) -> tuple[float, float]:
        found = log_flux_rate(self.junction, self.well, voltage=self.voltage, spin_torque=self.spin_torque)
        if found is None:
            raise _unresolved(self.junction, self.voltage, self.well, self.spin_torque)
        return found

    def with_torque(self) -> tuple[float, float]:
        if least_degree(self.junction) > MAX_DEGREE:
            raise _unresolved(self.junction, self.voltage, self.well, True)
        with contextlib.suppress(InputError):
            return self.flux()
        with contextlib.suppress(InputError):
            mode = slow_mode(self.junction, voltage=self.voltage, spin_torque=True)
            share = 1 - mode.population_up if self.well == "up" else mode.population_up
            # Faster than 0.3 of the relaxation a state decays before it has relaxed, at about 1 k_B T: it is no well.
            relaxation = 0.3 * float(term_weights(self.junction, self.voltage)[1])
            if share >= LEAST_SHARE and mode.eigenvalue < relaxation:
                return math.log(mode.eigenvalue * share), max(mode.error, 1e-3)
        raise _unresolved(self.junction, self.voltage, self.well, True)

    def saddle(self) -> tuple[float, float]:
        alpha_G, land = self.junction.alpha_G, self.land
        to_T = k_B * self.junction.temperature / (self.junction.Ms * self.junction.volume)
        value = math.log(gamma_e / (1 + alpha_G**2) * to_T) + log_saddle_rate(land, self.well, alpha_G=alpha_G)
        # The formula is asymptotic in the barrier, and in the field where the damping is low. Against the flux at
        # Delta 20 to 100, b_x 2.5 to 40 and damping 0.005 to 0.5 it was off by two thirds of this at most.
        return value, 0.7 / self.lowest + 0.3 / land.b_x * max(1.0, 0.005 / alpha_G)

    def extrapolated(self) -> tuple[float, float]:
        """The axial rate times what the in-plane field adds to it, which is linear in 1 / Delta and near its limit."""
        energy, junction = Landscape.of(self.junction, self.voltage).b_x, self.junction
        if energy > SADDLE_FIELD + 1:
            raise InputError(
                f"the in-plane field turns the energy by {energy:.3g} k_B T; above {SADDLE_FIELD + 1:g} it has a "
                "saddle: use method='saddle'"
            )
        Delta, full = junction.Delta(self.voltage), junction.Delta()
        if Delta < LOWER[1]:
            raise InputError(
                f"Delta = {Delta:.3g} is below {LOWER[1]:g}, where nothing is extrapolated; use 'eigenvalue'"
            )

        def bare(cell: Junction) -> float:
            upright = replace(cell, B_bias=(0.0, 0.0, cell.B_bias[2]))
            return replace(self, junction=upright, spin_torque=False).mode()[0]

        def gain(lower: float) -> float:
            cell = junction.with_variation(K_eff_scale=1 + (lower - Delta) / full)  # the voltage takes away as much
            exact = log_flip_rate(cell, voltage=self.voltage, well=self.well, method="eigenvalue").value
            return math.exp(exact - bare(cell))

        near, far = (gain(lower) for lower in reversed(LOWER))
        slope = (far - near) / (1 / LOWER[0] - 1 / LOWER[1])
        return math.log(near + slope * (1 / Delta - 1 / LOWER[1])) + bare(junction), 0.05


_METHODS: dict[Method | None, Callable[[_Escape], tuple[float, float]]] = {
    None: _Escape.best,
    "mode": _Escape.mode,
    "eigenvalue": _Escape.eigenvalue,
    "flux": _Escape.flux,
    "saddle": _Escape.saddle,
    "axial": _Escape.first_passage,
    "extrapolated": _Escape.extrapolated,
}
