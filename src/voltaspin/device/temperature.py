"""The same junction at another temperature.

Magnetisation falls by Bloch's law; interface anisotropy and VCMA follow powers of it; the TMR follows the
polarisation. The anisotropy that is left is a small difference of large numbers, so the split between
interface and demagnetisation decides: for T* = 1100 K a Delta of 40 at 300 K is 27.1 (exponent 2.2) or 16.2
(exponent 3) at 360 K where demagnetisation takes 5.97e5 J/m^3 (Nz - Nx = 0.950 at Ms = 1e6 A/m). The factors
of the cylinder itself, 50 nm wide and 1.1 nm high, take 5.66e5 J/m^3 and give 27.3 or 16.8. With exponent 2
both parts shrink alike and Delta is 29.9 whatever the split.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Sourced
from voltaspin.core.units import require_positive
from voltaspin.device.junction import Junction

_ALZATE = "J. G. Alzate et al., Appl. Phys. Lett. 104, 112410 (2014), MgO/CoFeB/Ta"


@dataclass(frozen=True, kw_only=True)
class TemperatureLaw:
    """How the parameters of a junction follow the temperature.

    Args:
        T_star: temperature at which Bloch's law would end the magnetisation [K].
        bloch_exponent: Ms ~ 1 - (T / T_star)^bloch_exponent [1].
        K_i_exponent: K_i ~ Ms^K_i_exponent [1].
        xi_exponent: xi ~ Ms^xi_exponent [1].
        spin_wave: B in the polarisation P ~ 1 - B T^1.5 [K^-1.5].

    Raises:
        InputError: a parameter that is negative, or a T_star or Bloch exponent of zero.

    Source: P(T) as in C. H. Shang et al., Phys. Rev. B 58, R2917 (1998), whose abstract was read (77 to 420 K).
    """

    T_star: Sourced = field(
        default=Sourced(
            1100.0, "K", "near the Curie temperature of CoFeB; thinner layers may fall faster", "assumed", 700.0, 1300.0
        )
    )
    bloch_exponent: Sourced = field(default=Sourced(1.5, "1", "F. Bloch, Z. Phys. 61, 206 (1930)", "textbook"))
    K_i_exponent: Sourced = field(
        default=Sourced(2.2, "1", _ALZATE + ": 2.18; 3 is Callen and Callen's law", "recalled", 2.0, 3.0)
    )
    xi_exponent: Sourced = field(default=Sourced(2.83, "1", _ALZATE + ": 2.83", "recalled", 2.0, 3.0))
    spin_wave: Sourced = field(
        default=Sourced(
            2.0e-5, "K^-1.5", "compact models take 2e-5; fits of junctions spread around it", "recalled", 1e-5, 5e-5
        )
    )

    def __post_init__(self) -> None:
        for parameter in fields(self):
            number: Sourced = getattr(self, parameter.name)
            zero = parameter.name not in ("T_star", "bloch_exponent")
            require_positive(parameter.name, number.value, number.unit, "see the law's arguments", zero=zero)

    def magnetisation(self, temperature: float) -> float:
        """Return Ms over its value at zero kelvin [1], at ``temperature`` [K]; InputError where nothing is left."""
        require_positive("temperature", temperature, "K", "give kelvin, e.g. 360", zero=True)
        if temperature >= self.T_star.value:
            raise InputError(
                f"temperature {temperature:g} K is not below T_star = {self.T_star.value:g} K, where Bloch's law "
                "ends; it describes a layer well below that"
            )
        return 1 - (temperature / self.T_star.value) ** self.bloch_exponent.value

    def polarisation(self, temperature: float) -> float:
        """Return the spin polarisation over that at zero kelvin [1], at ``temperature`` [K]; InputError at zero."""
        require_positive("temperature", temperature, "K", "give kelvin, e.g. 360", zero=True)
        left = 1 - self.spin_wave.value * temperature**1.5
        if left <= 0:
            raise InputError(
                f"no spin polarisation is left at {temperature:g} K with B = {self.spin_wave.value:g} K^-1.5; "
                f"stay below {self.spin_wave.value ** (-2 / 3):.0f} K"
            )
        return left


def at_temperature(junction: Junction, temperature: float, *, law: TemperatureLaw | None = None) -> Junction:
    """Return the junction at another temperature; its own values hold at its own temperature.

    Ms, K_i, xi and TMR0 change. Kept: the demagnetising factors (geometry), RA (the parallel resistance of MgO
    junctions hardly moves), V_h, damping, K2 (whose law differs from layer to layer and is not known here), the
    efficiencies of torques, the line, the series resistance, and the bias field, although a stray field from reference
    layers would fall with their magnetisation. TMR0 = 2 P^2 / (1 - P^2) with equal electrodes (Julliere).

    Args:
        junction: at ``junction.temperature``.
        temperature: to go to [K].
        law: how the parameters follow; the defaults of :class:`TemperatureLaw` where absent.

    Returns:
        A junction at ``temperature``; going back gives the first one to rounding.

    Raises:
        InputError: one of the two temperatures is beyond the law, or the TMR would diverge on cooling.

    Source: see :class:`TemperatureLaw`.
    """
    law = law or TemperatureLaw()
    Ms = law.magnetisation(temperature) / law.magnetisation(junction.temperature)
    P = math.sqrt(junction.TMR0 / (2 + junction.TMR0))
    P *= law.polarisation(temperature) / law.polarisation(junction.temperature)
    if P >= 1:
        raise InputError(
            f"TMR0 = {junction.TMR0:g} at {junction.temperature:g} K would diverge at {temperature:g} K; "
            f"take a smaller B than {law.spin_wave.value:g} K^-1.5"
        )
    return replace(
        junction,
        temperature=temperature,
        Ms=junction.Ms * Ms,
        K_i=junction.K_i * Ms**law.K_i_exponent.value,
        xi=junction.xi * Ms**law.xi_exponent.value,
        TMR0=2 * P**2 / (1 - P**2),
    )
