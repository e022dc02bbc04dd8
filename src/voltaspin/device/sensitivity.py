"""How a switching probability moves with every parameter of the junction and of its pulse.

Exact derivatives of the Fokker-Planck solution: the equation is linear in seven weights, so the derivative of
the density solves the same equation with one more source.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.result import Part
from voltaspin.device.density import (
    boltzmann_exponents,
    first_degree,
    generator,
    staircase,
    term_weights,
    well_density,
    well_indicator,
)
from voltaspin.device.junction import Junction, Pulse, Well
from voltaspin.device.sphere import Floats


def _field(axis: int) -> Callable[[Junction, float], Junction]:
    def shifted(junction: Junction, step: float) -> Junction:
        field = list(junction.B_bias)
        field[axis] += step
        return replace(junction, B_bias=(field[0], field[1], field[2]))

    return shifted


def _plain(name: str) -> Callable[[Junction, float], Junction]:
    # The demagnetising factors stay: they are a parameter of their own.
    return lambda junction, step: replace(junction, **{name: getattr(junction, name) + step})


def _with_K_eff(junction: Junction, step: float) -> Junction:
    return replace(junction, K_i=junction.K_i + step * junction.t_F)


#: Parameter: its unit, a typical size for steps, and how a junction is moved along it.
PARAMETERS: dict[str, tuple[str, float, Callable[[Junction, float], Junction]]] = {
    "K_eff": ("J/m^3", 1e5, _with_K_eff),
    "K_i": ("J/m^2", 1e-3, _plain("K_i")),
    "xi": ("J/(V m)", 1e-13, _plain("xi")),
    "Ms": ("A/m", 1e6, _plain("Ms")),
    "alpha_G": ("1", 0.02, _plain("alpha_G")),
    "diameter": ("m", 5e-8, _plain("diameter")),
    "t_F": ("m", 1e-9, _plain("t_F")),
    "t_ox": ("m", 1e-9, _plain("t_ox")),
    "temperature": ("K", 300.0, _plain("temperature")),
    "B_x": ("T", 0.03, _field(0)),
    "B_y": ("T", 0.03, _field(1)),
    "B_z": ("T", 0.03, _field(2)),
    "RA": ("ohm m^2", 1e-9, _plain("RA")),
    "TMR0": ("1", 1.0, _plain("TMR0")),
}
PULSE_PARAMETERS = {"voltage": "V", "width": "s"}


class Sensitivity(Part):
    """One derivative.

    Args:
        parameter: name.
        unit: of the parameter.
        value: of the parameter.
        derivative: dP_sw / d(parameter) [1/unit].
    """

    parameter: str
    unit: str
    value: float
    derivative: float

    @property
    def per_percent(self) -> float:
        """Change of P_sw for one percent of the parameter."""
        return self.derivative * self.value / 100


def sensitivities(
    junction: Junction,
    pulse: Pulse,
    *,
    parameters: tuple[str, ...] = ("voltage", "width", "K_eff", "xi", "B_x", "B_z", "alpha_G", "temperature"),
    initial: Well = "up",
    relax: float = 10e-9,
    spin_torque: bool = False,
    degree: int | None = None,
) -> dict[str, Sensitivity]:
    """Return the derivatives of P_sw with respect to parameters of the junction and of the pulse.

    One parameter moves while all others stay, the demagnetising factors and K_i included; ``K_eff`` moves
    through K_i. ``temperature`` moves the thermal field alone, not the material
    (:mod:`voltaspin.device.temperature`). Jitter is left out.

    Args:
        junction, pulse, initial, relax, spin_torque: as
            :func:`voltaspin.device.fokker_planck.switching_probability`.
        parameters: names from ``PARAMETERS`` and ``PULSE_PARAMETERS``.
        degree: of the harmonics; :func:`voltaspin.device.fokker_planck.least_degree` + 16 where absent.

    Returns:
        By name, in the order asked for.

    Raises:
        InputError: an unknown parameter, or a junction with further terms.
    """
    junction.require_plain("sensitivities")
    unknown = [p for p in parameters if p not in PARAMETERS and p not in PULSE_PARAMETERS]
    if unknown:
        known = ", ".join([*PULSE_PARAMETERS, *PARAMETERS])
        raise InputError(f"no derivative with respect to {unknown[0]!r}; known: {known}")
    L = first_degree(junction) + 16 if degree is None else degree
    other: Well = "down" if initial == "up" else "up"
    steps = list(staircase(pulse, junction, 0.0, pulse.duration + min(pulse.tail, relax)))
    left = relax - min(pulse.tail, relax)
    top = int(np.argmax([abs(v) * t for v, t in steps])) if pulse.tau == 0 else None
    if top is None and "width" in parameters:
        raise InputError(f"tau = {pulse.tau:g} s: the width of a filtered pulse has no derivative here; give tau=0")
    rest = generator(junction, 0.0, degree=L)
    target = well_indicator(L, other)
    seen = rest.propagate(target, left, adjoint=True)
    start = well_density(boltzmann_exponents(junction), degree=L, well=initial)
    out = {}
    for name in parameters:
        if name in PULSE_PARAMETERS:
            unit, value = PULSE_PARAMETERS[name], float(getattr(pulse, name))
            d_start, d_seen = np.zeros_like(start), np.zeros_like(start)
        else:
            unit, size, move = PARAMETERS[name]
            value = junction.K_eff() if name == "K_eff" else _value(junction, name)
            d_exponents = _slope(boltzmann_exponents, junction, move, size)
            e, scale = boltzmann_exponents(junction), 1e-5
            high, low = (well_density(e + s * scale * d_exponents * size, degree=L, well=initial) for s in (1, -1))
            d_start = (high - low) / (2 * scale * size)
            d_rest = _slope(partial(term_weights, voltage=0.0), junction, move, size)
            _, d_seen = rest.propagate_with_slope(target, np.zeros_like(target), d_rest, left, adjoint=True)
        density, d_density = start, d_start
        for k, (voltage, duration) in enumerate(steps):
            here = generator(junction, voltage, degree=L, spin_torque=spin_torque)
            if name == "voltage":
                d_weights = _voltage_slope(junction, voltage, spin_torque) * voltage / pulse.voltage
            elif name == "width":
                d_weights = np.zeros(7)
            else:
                at_voltage = partial(term_weights, voltage=voltage, spin_torque=spin_torque)
                d_weights = _slope(at_voltage, junction, move, size)
            density, d_density = here.propagate_with_slope(density, d_density, d_weights, duration)
            if name == "width" and k == top:
                d_density = d_density + here.apply(density)
        derivative = float(seen @ d_density + d_seen @ density)
        out[name] = Sensitivity(parameter=name, unit=unit, value=value, derivative=derivative)
    return out


def _value(junction: Junction, name: str) -> float:
    axis = {"B_x": 0, "B_y": 1, "B_z": 2}
    return junction.B_bias[axis[name]] if name in axis else float(getattr(junction, name))


def _slope(
    function: Callable[[Junction], Floats], junction: Junction, move: Callable[[Junction, float], Junction], size: float
) -> Floats:
    """Derivative of a smooth closed formula (not of the solution) by a five-point difference."""
    h = 1e-4 * size
    f = [function(move(junction, k * h)) for k in (-2, -1, 1, 2)]
    return (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h)


def _voltage_slope(junction: Junction, voltage: float, spin_torque: bool) -> Floats:
    """Derivative of the weights with the voltage [1/(V s)]; they are linear in it."""
    return term_weights(junction, voltage + 0.5, spin_torque=spin_torque) - term_weights(
        junction, voltage - 0.5, spin_torque=spin_torque
    )
