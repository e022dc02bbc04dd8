"""Junctions with further terms that several tests share; ``CASES`` are those on which both solvers must agree."""

from dataclasses import replace

from voltaspin.core.units import mT, nm, ns
from voltaspin.device import Junction, Pulse, presets
from voltaspin.device.terms import SelfHeating, SpinOrbitLine, SpinTransfer

GENERATOR = presets.generator
#: A small pillar of easy resolution: a barrier of 12 k_B T.
SMALL = replace(GENERATOR, name="small", B_bias=(0.0, 0.0, 0.0), alpha_G=0.1).with_variation(K_eff_scale=0.3)
LINE = SpinOrbitLine(width=60 * nm, thickness=4 * nm, length=100 * nm, resistivity=2e-6, theta_SH=0.3)
#: An in-plane bit: its easy axis is x, its reference layer too, and a saddle lies at each end of y.
IN_PLANE = replace(
    GENERATOR, name="in-plane", diameter=100 * nm, diameter_y=70 * nm, N=None, K_i=5.6e-4, B_bias=(0.0, 0.0, 0.0),
    reference=(1.0, 0.0, 0.0), xi=0.0, alpha_G=0.05,
)  # fmt: skip
#: (junction, pulse, initial) on which the LLG and the density must agree.
CASES = {
    "K2": (replace(SMALL, K2=5e3, B_bias=(20 * mT, 0, 0)), Pulse(voltage=0.4, width=0.6 * ns), "up"),
    "ellipse": (
        replace(SMALL, diameter=60 * nm, diameter_y=50 * nm, N=None, B_bias=(20 * mT, 0, 0)),
        Pulse(voltage=0.4, width=0.6 * ns), "up",
    ),
    "tilted reference": (
        replace(SMALL, reference=(0.3, -0.2, 1.0), B_bias=(20 * mT, 10 * mT, 0)),
        Pulse(voltage=0.4, width=0.6 * ns, rise=0.1 * ns, fall=0.1 * ns), "down",
    ),
    "spin transfer": (
        replace(SMALL, RA=5e-12, xi=0.0, spin_transfer=SpinTransfer(field_like=0.3)),
        Pulse(voltage=0.25, width=3 * ns, rise=0.2 * ns), "up",
    ),
    "spin-orbit line": (
        replace(SMALL, line=replace(LINE, field_like=0.2), B_bias=(15 * mT, 0, 0)),
        Pulse(voltage=0.2, width=0.5 * ns), "up",
    ),
    "gated line": (
        replace(SMALL, line=replace(LINE, gate=1.0), B_bias=(15 * mT, 0, 0)),
        Pulse(voltage=0.2, width=0.5 * ns), "down",
    ),
    "series resistance": (
        replace(SMALL, R_series=2e5, TMR0=2.0, B_bias=(20 * mT, 0, 0)), Pulse(voltage=0.6, width=0.6 * ns), "up",
    ),
    "self-heating": (
        replace(SMALL, heating=SelfHeating(thermal_resistance=3e7, tau=0.5 * ns), B_bias=(20 * mT, 0, 0)),
        Pulse(voltage=0.4, width=0.6 * ns), "up",
    ),
    "in-plane, spin transfer": (
        replace(
            IN_PLANE, diameter=70 * nm, diameter_y=48 * nm, N=None, K_i=6.2e-4, RA=5e-12, spin_transfer=SpinTransfer()
        ),
        Pulse(voltage=0.05, width=3 * ns), "up",
    ),
}  # fmt: skip


def written(**values) -> Junction:
    """The small pillar with the current that spin transfer needs."""
    return replace(SMALL, RA=5e-12, xi=0.0, **values)
