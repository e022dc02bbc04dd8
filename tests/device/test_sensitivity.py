"""Derivatives of P_sw against differences of the solution itself."""

from dataclasses import replace

import pytest

from voltaspin.device import Pulse, presets
from voltaspin.device.fokker_planck import switching_probability
from voltaspin.device.sensitivity import PARAMETERS, PULSE_PARAMETERS, sensitivities

CELL = replace(presets.generator.with_variation(K_eff_scale=0.3), B_bias=(0.02, 0.005, 0.002), RA=100e-12)
PULSE = Pulse(voltage=1.1 * CELL.V_c, width=0.35e-9, rise=0.06e-9, fall=0.04e-9)
OPTIONS = {"relax": 1e-9, "spin_torque": True, "degree": 24}


@pytest.fixture(scope="module")
def derivatives():  # type: ignore[no-untyped-def]
    return sensitivities(CELL, PULSE, parameters=(*PULSE_PARAMETERS, *PARAMETERS), **OPTIONS)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*PULSE_PARAMETERS, *PARAMETERS])
def test_derivative_equals_a_difference(name: str, derivatives) -> None:  # type: ignore[no-untyped-def]
    def P(step: float) -> float:
        if name in PULSE_PARAMETERS:
            junction, pulse = CELL, replace(PULSE, **{name: getattr(PULSE, name) + step})
        else:
            junction, pulse = PARAMETERS[name][2](CELL, step), PULSE
        return switching_probability(junction, pulse, rtol=100, **OPTIONS).value  # type: ignore[arg-type]

    size = getattr(PULSE, name) if name in PULSE_PARAMETERS else PARAMETERS[name][1]
    # Small differences of large numbers make K_i, Ms and t_F stiff. Five points: error of fourth order.
    h = size * (2e-5 if name in ("K_i", "Ms", "t_F") else 1e-3)
    expected = (P(-2 * h) - 8 * P(-h) + 8 * P(h) - P(2 * h)) / (12 * h)
    assert derivatives[name].derivative == pytest.approx(expected, rel=1e-5, abs=1e-9 / size)


def test_units_and_per_percent(derivatives) -> None:  # type: ignore[no-untyped-def]
    one = derivatives["K_eff"]
    assert one.unit == "J/m^3"
    assert one.value == pytest.approx(CELL.K_eff())
    assert one.per_percent == pytest.approx(one.derivative * CELL.K_eff() / 100)


def test_other_well_is_the_mirror_image() -> None:
    quick = {"relax": 0.5e-9, "degree": 20, "parameters": ("B_z",)}
    flat = replace(CELL, B_bias=(0.02, 0.0, 0.0))
    up = sensitivities(flat, PULSE, **quick)["B_z"].derivative  # type: ignore[arg-type]
    down = sensitivities(flat, PULSE, initial="down", **quick)["B_z"].derivative  # type: ignore[arg-type]
    assert up == pytest.approx(-down, rel=1e-9)


def test_unknown_parameter() -> None:
    with pytest.raises(ValueError, match="no derivative with respect to 'colour'; known: voltage, width, K_eff"):
        sensitivities(CELL, PULSE, parameters=("colour",))


def test_width_of_a_filtered_pulse() -> None:
    with pytest.raises(ValueError, match="give tau=0"):
        sensitivities(CELL, replace(PULSE, tau=1e-11), parameters=("width",))
