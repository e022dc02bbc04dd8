"""A voltage-controlled magnetic tunnel junction and the pulse applied to it.

The free layer is a round pillar that switches as one macrospin. Its perpendicular anisotropy comes from the
interface and falls with the voltage (VCMA); everything else here follows from the parameters.

Signs, settled once: the reference layer points along +z, so *up* is *parallel*, and it stores the bit 0. A
positive voltage lowers the perpendicular anisotropy for a positive ``xi``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.units import k_B, mu_0
from voltaspin.device.landscape import Landscape, Well, effective_B_z

__all__ = ["Junction", "Pulse", "Well"]


def require_positive(name: str, value: float, unit: str, remedy: str, *, zero: bool = False) -> None:
    """Raise InputError unless ``value`` is finite and positive (or zero where ``zero`` admits it)."""
    if value > 0 and not 1e-30 < value < 1e30:  # also infinity
        raise InputError(f"{name} = {value:g} {unit} is not of the size of anything physical; {remedy}")
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        allowed = "zero or positive" if zero else "positive"
        raise InputError(f"{name} = {value!r} {unit} must be finite and {allowed}; {remedy}")


def require_voltage(name: str, value: float) -> None:
    """Raise InputError unless ``value`` [V] is finite and below 1e12, where a field no longer overflows."""
    if not abs(value) < 1e12:
        raise InputError(f"{name} = {value!r} V must be finite, and of the size of a voltage; give volts, e.g. 1.2")


def require_count(name: str, value: float, *, least: int = 1, most: int = 2**62) -> None:
    """Raise InputError unless ``value`` is a whole number from ``least`` to ``most``."""
    if not least <= value <= most or value != round(value):
        raise InputError(f"{name} = {value!r} must be a whole number from {least} to {most:,}")


def cylinder_demagnetisation(*, diameter: float, height: float) -> tuple[float, float, float]:
    """Magnetometric demagnetising factors (Nx, Ny, Nz) of a uniformly magnetised round cylinder.

    Args:
        diameter: [m].
        height: [m].

    Returns:
        Three factors that add up to 1.

    Raises:
        InputError: a length is not positive.

    Source: R. I. Joseph, J. Appl. Phys. 37, 4639 (1966); written with one hypergeometric function as in
    M. Beleggia et al., J. Phys. D 38, 3333 (2005). Tested against the integral over the charged faces.
    """
    from scipy.special import hyp2f1

    require_positive("diameter", diameter, "m", "give the pillar's diameter, e.g. 50 * nm")
    require_positive("height", height, "m", "give the layer's thickness, e.g. 1.1 * nm")
    tau = height / diameter
    Nz = float(1 + 4 / (3 * math.pi * tau) - hyp2f1(-0.5, 0.5, 2.0, -(tau**-2)))
    return (1 - Nz) / 2, (1 - Nz) / 2, Nz


@dataclass(frozen=True, kw_only=True)
class Junction:
    """One round junction, SI throughout.

    Above a diameter of 40 to 50 nm a real free layer reverses incoherently and a macrospin overestimates
    ``Delta`` (arXiv 1410.7361).

    Args:
        diameter: of the pillar [m].
        t_F: thickness of the free layer [m].
        t_ox: thickness of the tunnel oxide [m].
        Ms: saturation magnetisation [A/m].
        K_i: interfacial perpendicular anisotropy [J/m^2].
        xi: VCMA coefficient [J/(V m)]: K_i falls by xi * voltage / t_ox.
        alpha_G: Gilbert damping [1].
        B_bias: fixed field (x, y, z) from outside, stray fields included [T].
        temperature: [K]; zero switches the thermal field off.
        RA: resistance-area product in the parallel state [ohm m^2].
        TMR0: (R_AP - R_P) / R_P at vanishing voltage [1].
        V_h: voltage at which the TMR has halved [V].
        N: demagnetising factors (Nx, Ny, Nz); those of the cylinder where absent.
        name: for messages and reports.

    Raises:
        InputError: a value is out of its physical range; the message names it.

    Source: VCMA anisotropy and TMR(V) as in the compact models of arXiv 2106.12304 and arXiv 2211.16588.
    """

    diameter: float
    t_F: float
    t_ox: float
    Ms: float
    K_i: float
    xi: float
    alpha_G: float
    B_bias: tuple[float, float, float] = (0.0, 0.0, 0.0)
    temperature: float = 300.0
    RA: float = 1000e-12
    TMR0: float = 1.0
    V_h: float = 0.5
    N: tuple[float, float, float] | None = None
    name: str = "junction"

    def __post_init__(self) -> None:
        require_positive("diameter", self.diameter, "m", "give the pillar's diameter, e.g. 50 * nm")
        require_positive("t_F", self.t_F, "m", "give the free layer's thickness, e.g. 1.1 * nm")
        require_positive("t_ox", self.t_ox, "m", "give the oxide's thickness, e.g. 1.4 * nm")
        require_positive("Ms", self.Ms, "A/m", "give the saturation magnetisation, e.g. 1e6")
        require_positive("K_i", self.K_i, "J/m^2", "give the interface anisotropy, e.g. 7e-4", zero=True)
        require_positive("alpha_G", self.alpha_G, "", "give the Gilbert damping, e.g. 0.02")
        require_positive("temperature", self.temperature, "K", "give kelvin, e.g. 300", zero=True)
        require_positive("RA", self.RA, "ohm m^2", "give the resistance-area product, e.g. 1000 * ohm_um2")
        require_positive("TMR0", self.TMR0, "", "give a ratio, not percent, e.g. 1.0", zero=True)
        require_positive("V_h", self.V_h, "V", "give the voltage that halves the TMR, e.g. 0.5")
        if not math.isfinite(self.xi) or abs(self.xi) > 1e-11:
            raise InputError(f"xi = {self.xi!r} J/(V m) is not a VCMA coefficient; typical is 100 * fJ_per_Vm = 1e-13")
        if len(self.B_bias) != 3 or not all(math.isfinite(b) for b in self.B_bias):
            raise InputError(f"B_bias = {self.B_bias!r} T must be three finite numbers (x, y, z) in tesla")
        object.__setattr__(self, "B_bias", tuple(float(b) for b in self.B_bias))
        if self.N is None:
            N = cylinder_demagnetisation(diameter=self.diameter, height=self.t_F)
            object.__setattr__(self, "N", N)
        elif len(self.N) != 3 or not all(0 <= n <= 1 for n in self.N) or abs(sum(self.N) - 1) > 1e-6:
            raise InputError(f"N = {self.N!r} must be three factors from 0 to 1 that add up to 1, or None")
        elif self.N[0] != self.N[1]:
            raise InputError(f"N = {self.N!r}: the pillar is round, so Nx and Ny must be equal")

    @classmethod
    def from_stability(
        cls,
        *,
        Delta: float,
        diameter: float,
        t_F: float,
        Ms: float,
        alpha_G: float,
        xi: float,
        t_ox: float,
        B_bias: tuple[float, float, float] = (0.0, 0.0, 0.0),
        temperature: float = 300.0,
        RA: float = 1000e-12,
        TMR0: float = 1.0,
        V_h: float = 0.5,
        N: tuple[float, float, float] | None = None,
        name: str = "junction",
    ) -> Junction:
        """The junction whose thermal stability without any field is ``Delta`` at ``temperature``.

        Args:
            Delta: K_eff volume / (k_B temperature) [1]; the other arguments are those of the class.

        Returns:
            A junction with the K_i that gives this Delta against its demagnetising field.

        Raises:
            InputError: as the class; also where ``temperature`` is zero.
        """
        require_positive("Delta", Delta, "", "give the stability factor, e.g. 40")
        require_positive("temperature", temperature, "K", "Delta is defined at a temperature; give e.g. 300")
        bare = cls(
            diameter=diameter, t_F=t_F, t_ox=t_ox, Ms=Ms, K_i=0.0, xi=xi, alpha_G=alpha_G, B_bias=B_bias,
            temperature=temperature, RA=RA, TMR0=TMR0, V_h=V_h, N=N, name=name,
        )  # fmt: skip
        K_eff = Delta * k_B * temperature / bare.volume
        return replace(bare, K_i=(K_eff - bare.K_eff()) * t_F)

    def with_variation(
        self,
        *,
        K_eff_scale: float = 1.0,
        B_z: float = 0.0,
        xi_scale: float = 1.0,
        diameter_scale: float = 1.0,
        RA_scale: float = 1.0,
    ) -> Junction:
        """The same junction as another cell of an array has it.

        Args:
            K_eff_scale: factor on K_eff at zero voltage [1]; what the voltage takes away stays.
            B_z: stray field along z [T], added to ``B_bias``.
            xi_scale: factor on the VCMA coefficient [1].
            diameter_scale: factor on the diameter [1]; K_eff and the demagnetising factors stay as stated.
            RA_scale: factor on the resistance-area product [1].
        """
        x, y, z = self.B_bias
        return replace(
            self,
            K_i=self.K_i + (K_eff_scale - 1) * self.K_eff() * self.t_F,
            B_bias=(x, y, z + B_z),
            xi=self.xi * xi_scale,
            diameter=self.diameter * diameter_scale,
            RA=self.RA * RA_scale,
        )

    @property
    def area(self) -> float:
        """Cross-section of the pillar [m^2]."""
        return math.pi * self.diameter**2 / 4

    @property
    def volume(self) -> float:
        """Volume of the free layer [m^3]."""
        return self.area * self.t_F

    def K_eff(self, voltage: float = 0.0) -> float:
        """Effective perpendicular anisotropy, demagnetisation included [J/m^3], at ``voltage`` [V]."""
        assert self.N is not None  # filled in by __post_init__
        surface = (self.K_i - self.xi * voltage / self.t_ox) / self.t_F
        return surface - 0.5 * mu_0 * self.Ms**2 * (self.N[2] - self.N[0])

    def B_k(self, voltage: float = 0.0) -> float:
        """Effective anisotropy field 2 K_eff / Ms [T], at ``voltage`` [V]; negative for an easy plane."""
        return 2 * self.K_eff(voltage) / self.Ms

    def Delta(self, voltage: float = 0.0) -> float:
        """K_eff volume / (k_B temperature) [1] at ``voltage`` [V], without the in-plane reduction."""
        if self.temperature == 0:
            return math.copysign(math.inf, self.K_eff(voltage))
        return self.K_eff(voltage) * self.volume / (k_B * self.temperature)

    @property
    def B_in_plane(self) -> float:
        """Magnitude of the in-plane part of ``B_bias`` [T]."""
        return math.hypot(self.B_bias[0], self.B_bias[1])

    def barrier(self, voltage: float = 0.0, *, well: Well | None = None, spin_torque: bool = False) -> float:
        """Barrier out of a well [k_B temperature] at ``voltage`` [V]: the energy of the saddle over the bottom.

        The energy knows the voltage through the anisotropy alone. The torque of its current enters only with
        ``spin_torque``, and only without an in-plane field, where it acts as the field a_J / alpha_G along z; with
        one no energy exists, and :func:`voltaspin.device.flip_rate` gives the rate itself.

        Args:
            voltage: constant [V].
            well: the one that is left; the shallower where absent.
            spin_torque: add the torque of the current at ``voltage``.

        Returns:
            Zero where only one well is left. Delta (1 - h)^2 with h = in-plane field / B_k without a field along z.

        Raises:
            InputError: an unknown well, or torque together with an in-plane field.
        """
        if well not in (None, "up", "down"):
            raise InputError(f"well {well!r} is unknown; use 'up' (parallel, bit 0) or 'down' (bit 1)")
        B_z, B_k, h = effective_B_z(self, voltage, spin_torque=spin_torque), self.B_k(voltage), 0.0
        if B_k <= 0 or (h := self.B_in_plane / B_k) >= 1:
            return 0.0
        Delta = self.Delta(voltage)
        if B_z == 0:
            return Delta * (1 - h) ** 2
        # In units of Delta, so that the barrier of a cold junction is infinite and not undefined.
        land = Landscape(1.0, 2 * h, 2 * B_z / B_k)
        heights = [land.height(w) for w in get_args(Well) if well in (None, w)]
        return Delta * min(heights) if min(heights) > 0 else 0.0

    @property
    def V_c(self) -> float:
        """Voltage at which K_eff vanishes [V]; raises InputError for a junction without VCMA."""
        if self.xi == 0:
            raise InputError("xi = 0 J/(V m): no voltage cancels the anisotropy; give a VCMA coefficient")
        return self.K_eff() * self.t_F * self.t_ox / self.xi

    @property
    def R_P(self) -> float:
        """Resistance of the parallel state [ohm]."""
        return self.RA / self.area

    def TMR(self, voltage: float = 0.0) -> float:
        """Tunnel magnetoresistance ratio [1] at ``voltage`` [V]: TMR0 / (1 + voltage^2 / V_h^2)."""
        return self.TMR0 / (1 + (voltage / self.V_h) ** 2)

    def R_AP(self, voltage: float = 0.0) -> float:
        """Resistance of the antiparallel state [ohm] at ``voltage`` [V]."""
        return self.R_P * (1 + self.TMR(voltage))

    def conductance(self, m_z: ArrayLike, voltage: float = 0.0) -> NDArray[np.float64]:
        """Conductance [S] for the direction cosine ``m_z`` [1] between the layers, at ``voltage`` [V].

        Args:
            m_z: any shape, from -1 (antiparallel) to 1 (parallel).
            voltage: [V].

        Returns:
            float64, the shape of ``m_z``.

        Raises:
            InputError: an entry of ``m_z`` is no direction cosine.
        """
        m_z = np.asarray(m_z, np.float64)
        if m_z.size and not np.all(np.abs(m_z) <= 1 + 1e-6):
            raise InputError("m_z must lie from -1 to 1; normalise the magnetisation")
        TMR = self.TMR(voltage)
        return np.asarray((1 + TMR * (1 + m_z) / 2) / (1 + TMR) / self.R_P)

    @property
    def relaxation_time(self) -> float:
        """Decay time 1 / (alpha_G gamma_e B_k) of the free precession at zero voltage [s]."""
        from voltaspin.core.units import gamma_e

        field = max(abs(self.B_k()), math.hypot(*self.B_bias))
        require_positive("field", field, "T", "a junction without anisotropy and field does not relax")
        return (1 + self.alpha_G**2) / (self.alpha_G * gamma_e * field)


def _edge(time: NDArray[np.float64], duration: float, tau: float) -> NDArray[np.float64]:
    """Answer of a low-pass to a ramp from 0 to 1 over ``duration``: a difference of two ramp answers."""
    t = np.maximum(time, 0)
    if duration == 0:
        return -np.expm1(-t / tau)
    late = np.maximum(time - duration, 0)
    return (t - late + tau * (np.expm1(-t / tau) - np.expm1(-late / tau))) / duration


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """A trapezoidal voltage pulse, rounded by the line on its way to the cell.

    Args:
        voltage: at the top [V]; positive lowers the anisotropy.
        width: at half of the top [s], so that the area under the pulse is voltage * width.
        rise, fall: full durations of the linear edges [s]; zero is a rectangular pulse.
        tau: time constant of the first-order low-pass (RC of the line) that the trapezoid passes [s].
        jitter: standard deviation of the width from pulse to pulse [s], Gaussian.

    Raises:
        InputError: a duration is not positive, the edges do not fit into the width, or the jitter is so large
            that a width could come out at nothing.
    """

    voltage: float
    width: float
    rise: float = 0.0
    fall: float = 0.0
    tau: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        require_voltage("pulse voltage", self.voltage)
        require_positive("width", self.width, "s", "give the width at half height, e.g. 0.3 * ns")
        for name in ("rise", "fall", "tau", "jitter"):
            require_positive(name, getattr(self, name), "s", "give zero for none", zero=True)
        if self.rise + self.fall > 2 * self.width:
            raise InputError(
                f"rise {self.rise:g} s and fall {self.fall:g} s do not fit a width of {self.width:g} s at "
                "half height; their sum may be twice the width at most"
            )
        if self.jitter > (self.width - (self.rise + self.fall) / 2) / 6:
            raise InputError(
                f"jitter {self.jitter:g} s is more than a sixth of the flat part of a {self.width:g} s pulse; "
                "a Gaussian of that width would cut pulses off: give less, or average over widths yourself"
            )

    def with_width(self, width: float) -> Pulse:
        """The same pulse, without jitter, of another width [s]."""
        return replace(self, width=width, jitter=0.0)

    @property
    def duration(self) -> float:
        """From the first to the last moment with a voltage [s], the tail of the low-pass left out."""
        return self.width + (self.rise + self.fall) / 2

    @property
    def tail(self) -> float:
        """How long the low-pass still gives a voltage after ``duration`` [s]: down to 1e-6 of the top."""
        return 14 * self.tau

    @property
    def knots(self) -> tuple[float, float, float, float]:
        """Times [s] at which the trapezoid bends."""
        return 0.0, self.rise, self.duration - self.fall, self.duration

    def voltage_at(self, time: ArrayLike) -> NDArray[np.float64]:
        """Voltage [V] at ``time`` [s] (any shape) after the pulse began."""
        time = np.asarray(time, np.float64)
        if self.tau > 0:
            return self._filtered(time)
        inside = np.interp(time, self.knots, [0.0, self.voltage, self.voltage, 0.0])
        if self.rise == 0:
            inside = np.where(time <= 0, self.voltage, inside)
        if self.fall == 0:
            inside = np.where(time >= self.duration, self.voltage, inside)
        return np.where((time < 0) | (time > self.duration), 0.0, inside)

    def _filtered(self, time: NDArray[np.float64]) -> NDArray[np.float64]:
        """The trapezoid through the low-pass: each edge is answered by itself."""
        begin, top, end, off = self.knots
        return self.voltage * (_edge(time - begin, top - begin, self.tau) - _edge(time - end, off - end, self.tau))

    def energy(self, junction: Junction) -> float:
        """Ohmic energy of the pulse in one cell [J], charging of lines and of the cell not included.

        The conductance is the mean of the parallel and the antiparallel state at each voltage: a cell
        that is as often 0 as 1, or one that precesses through the plane.
        """
        times = np.unique(np.clip([*self.knots, self.duration + self.tail], 0, None))
        nodes, weights = np.polynomial.legendre.leggauss(64)
        total = 0.0
        for a, b in pairwise(times):
            volts = self.voltage_at(a + (b - a) * (nodes + 1) / 2)
            power = [v**2 * float(junction.conductance(0.0, v)) for v in map(float, volts)]
            total += float(weights @ power) * (b - a) / 2
        return total
