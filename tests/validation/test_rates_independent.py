"""Flip rates of both wells against solutions written apart from the package.

Without an in-plane field: the slowest eigenvalue of the one-dimensional equation in Legendre polynomials below
Delta 10, where a rate is that eigenvalue and not a mean first passage, and the flux over population as an integral
in logarithms from Delta 10 on, at any temperature. With one: a table of backward solutions (the committor) of high
degree, and a table of harmonics with 60 digits (tests/validation/extended_precision.py), torque included.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.special import logsumexp

from voltaspin.core.errors import InputError
from voltaspin.core.units import e_charge, gamma_e, hbar, k_B
from voltaspin.device import Junction, at_temperature, flip_rate, log_flip_rate, presets

WELLS = ("up", "down")


def junction(Delta: float, *, B: tuple[float, float, float] = (0.0, 0.0, 0.0), alpha_G: float = 0.02) -> Junction:
    return Junction.from_stability(
        Delta=Delta, diameter=50e-9, t_F=1.1e-9, Ms=1e6, t_ox=1.4e-9, alpha_G=alpha_G, xi=1e-13, RA=5e-12, B_bias=B
    )


def exponents(cell: Junction, voltage: float, torque: bool) -> tuple[float, float, float]:
    """(Delta, b_z with the torque's field a_J / alpha, diffusion [1/s]), from the parameters alone."""
    to_kT = cell.Ms * cell.volume / (k_B * cell.temperature)
    B_z = cell.B_bias[2]
    if torque:
        P = math.sqrt(cell.TMR0 / (2 + cell.TMR0))
        a_J = -hbar / (2 * e_charge * cell.Ms * cell.t_F) * P / (1 + P * P) * voltage / cell.RA
        B_z += a_J / cell.alpha_G
    return cell.Delta(voltage), B_z * to_kT, cell.alpha_G * gamma_e / (1 + cell.alpha_G**2) / to_kT


def by_integral(Delta: float, b: float, D: float) -> tuple[float, float]:
    """ln(rate) up and down: D over (integral of exp(E) / (1 - z^2) across the barrier times the well's population).

    That is the mean first passage from one well's bottom to the other's, but for the relaxation in a well. It wants
    a barrier of some 10 k_B T over both wells.
    """
    top = -b / (2 * Delta)
    u = np.linspace(-1, 1, 8001)
    reach = min(9 / math.sqrt(2 * Delta), 1 - abs(top))
    z = top + reach * u[1:-1]
    energy = -Delta * z**2 - b * z
    across = logsumexp(energy - np.log1p(-(z**2))) + math.log(reach * (u[1] - u[0]))
    out = []
    for pole in (1.0, -1.0):
        far = 1 - pole * top
        s = np.linspace(0, min(math.sqrt(far), 8 / math.sqrt(2 * Delta * far)), 8001)  # z = pole (1 - s^2)
        w = pole * (1 - s**2)
        weight = 2 * s * (s[1] - s[0])
        weight[-1] /= 2
        with np.errstate(divide="ignore"):
            well = logsumexp(Delta * w**2 + b * w + np.log(weight))
        out.append(math.log(D) - float(across) - float(well))
    return out[0], out[1]


def by_eigenvalue(Delta: float, b: float, D: float) -> tuple[float, float]:
    """ln(rate) up and down: slowest eigenvalue in Legendre polynomials, populations parted at the barrier's top."""
    x, w = np.polynomial.legendre.leggauss(400)
    n = 60
    P = np.stack([np.polynomial.legendre.Legendre.basis(k)(x) for k in range(n)])
    dP = np.stack([np.polynomial.legendre.Legendre.basis(k).deriv()(x) for k in range(n)])
    p = np.exp(Delta * (x**2 - 1) + b * x - abs(b)) * w
    eigenvalue = float(eigh((dP * (1 - x**2) * p) @ dP.T, (P * p) @ P.T, eigvals_only=True, subset_by_index=[0, 1])[1])
    top = -b / (2 * Delta)

    def population(low: float, high: float) -> float:
        z = (low + high) / 2 + (high - low) / 2 * x
        return float(np.sum(w * np.exp(Delta * (z**2 - 1) + b * z - abs(b)))) * (high - low) / 2

    up, down = population(top, 1), population(-1, top)
    return math.log(D * eigenvalue * down / (up + down)), math.log(D * eigenvalue * up / (up + down))


@pytest.mark.parametrize("torque", [False, True])
@pytest.mark.parametrize("temperature", [4.0, 77.0, 300.0, 450.0])
@pytest.mark.parametrize("Delta", [1.0, 2.5, 5.0, 8.0, 12.0, 22.0, 40.0, 80.0])
def test_axial_rates(Delta: float, temperature: float, torque: bool) -> None:
    compared = 0
    for B_z in (-60e-3, -10e-3, 0.0, 2e-3, 25e-3):
        cell = replace(junction(Delta, B=(0.0, 0.0, B_z)), temperature=temperature)
        for voltage in (-0.02, 0.005) if torque else (0.0,):
            D_eff, b, D = exponents(cell, voltage, torque)
            barriers = [D_eff * max(1 + s * b / (2 * D_eff), 0) ** 2 if D_eff > 0 else 0.0 for s in (1, -1)]
            for well, barrier in zip(WELLS, barriers, strict=True):
                ask = {"voltage": voltage, "well": well, "spin_torque": torque}
                if min(barriers) == 0 or abs(b) >= 2 * D_eff or barrier < 1 - 1e-6:
                    with pytest.raises(InputError, match=f"well '{well}'|does not exist"):
                        flip_rate(cell, **ask)  # type: ignore[arg-type]
                    continue
                found = log_flip_rate(cell, **ask)  # type: ignore[arg-type]
                if D_eff >= 10 and min(barriers) < 10:
                    continue  # neither an integral without the relaxation nor few polynomials describe it
                truth = by_integral(D_eff, b, D) if D_eff >= 10 else by_eigenvalue(D_eff, b, D)
                # The integral leaves out the relaxation, Delta exp(-barrier), and ends at 9 widths.
                slack = 3 * D_eff * math.exp(-min(barriers)) + 1e-5
                assert found.value == pytest.approx(truth[WELLS.index(well)], abs=slack)
                assert flip_rate(cell, **ask) == math.exp(found.value) >= 0  # type: ignore[arg-type]
                compared += 1
    assert torque or compared >= (
        4 if Delta >= 22 and temperature <= 300 else 1 if Delta * 300 > 2 * temperature else 0
    )


def test_the_slowest_mode_and_the_first_passage_differ_as_documented() -> None:
    # Half the slowest eigenvalue over half the inverse mean first passage to the top: 26 % at Delta 1.
    ratios = [flip_rate(junction(D)) / flip_rate(junction(D), method="axial") for D in (1.0, 5.0, 10.0, 20.0)]
    assert ratios == [pytest.approx(r, abs=5e-3) for r in (1.26, 1.025, 1.0004, 1.0)]


@pytest.mark.parametrize(
    ("B_mT", "rate"), [(20, 2.8e-7), (30, 5.6e-10), (40, 6.9e-13)]
)  # out of the deeper well of the generator, by saddle theory, to two digits
def test_the_deeper_well_of_the_generator(B_mT: float, rate: float) -> None:
    cell = replace(presets.generator, B_bias=(0.03, 0.0, B_mT * 1e-3))
    assert flip_rate(cell, well="up") == pytest.approx(rate, rel=0.05)


#: Delta, B (T), damping, rate up (1/s): the committor's dissipation in the Boltzmann density, degree 180 to 240.
COMMITTORS = [
    (80.0, (0.03, 0.0, 0.0), 0.02, 3.9476e-19),
    (60.0, (0.03, 0.0, 0.01), 0.02, 5.3137e-13),
    (80.0, (0.03, 0.0, 0.04), 0.02, 9.3106e-29),
    (80.0, (0.01, 0.0, 0.04), 0.02, 5.0369e-33),
    (60.0, (0.001, 0.0, 0.0), 0.02, 4.888e-17),
    (40.0, (0.03, 0.0, 0.0), 0.01, 0.011057),
]


@pytest.mark.parametrize(("Delta", "B", "alpha_G", "rate"), COMMITTORS)
def test_tilted_rates_by_the_committor(
    Delta: float, B: tuple[float, float, float], alpha_G: float, rate: float
) -> None:
    cell = replace(presets.generator.with_variation(K_eff_scale=Delta / 40), B_bias=B, alpha_G=alpha_G)
    for method in (None, "flux", "saddle" if B[0] > 0.005 else "flux"):
        found = log_flip_rate(cell, method=method)  # type: ignore[arg-type]
        # Within its own bounds, to which the last digit of the table is added.
        assert found.low - 5e-4 <= math.log(rate) <= found.high + 5e-4
    assert math.expm1(log_flip_rate(cell, method="flux").high - log_flip_rate(cell, method="flux").value) < 0.02


def test_at_temperature_of_a_cold_cell() -> None:
    # Delta 40 at 300 K is some 5,000 at 4 K: no float holds the rate, its logarithm has all its digits.
    cold = at_temperature(junction(40.0), 4.0)
    D_eff, b, D = exponents(cold, 0.0, False)
    assert flip_rate(cold) == 0.0
    assert log_flip_rate(cold).value == pytest.approx(by_integral(D_eff, b, D)[0], abs=1e-4)
    tilted = replace(cold, B_bias=(0.02, 0.0, 0.005))
    up, down = (log_flip_rate(tilted, well=w) for w in WELLS)  # type: ignore[arg-type]
    assert up.value < down.value < -3000


# --- torque in an in-plane field -----------------------------------------------------------------------


def test_torque_in_a_vanishing_in_plane_field_is_axial() -> None:
    for voltage, wells in ((0.01, WELLS), (0.02, WELLS)):
        cell = junction(22.0, B=(1e-7, 0.0, 0.0))
        for well in wells:
            ask = {"voltage": voltage, "well": well, "spin_torque": True}
            found = log_flip_rate(cell, **ask)  # type: ignore[arg-type]
            exact = log_flip_rate(replace(cell, B_bias=(0.0, 0.0, 0.0)), **ask)  # type: ignore[arg-type]
            assert found.low <= exact.value <= found.high
            assert found.high - found.low < 0.1


def test_the_torque_of_the_issue() -> None:
    # Delta 22 at RA 5 ohm um^2, out of the favoured well: it falls with the voltage, by 13 orders of magnitude.
    cell = junction(22.0)
    rates = [flip_rate(cell, voltage=V, well="down", spin_torque=True) for V in (0.0, 0.005, 0.01, 0.02, 0.05)]
    assert rates == sorted(rates, reverse=True)
    # Half the inverse mean first passage to the top is the number known there; 10 % is what the definitions differ by.
    passages = [flip_rate(cell, voltage=V, well="down", spin_torque=True, method="axial") for V in (0.02, 0.05)]
    assert passages == [pytest.approx(8.1e-8, rel=0.01), pytest.approx(1.5e-21, rel=0.01)]
    assert rates[3:] == [pytest.approx(passages[0], rel=0.1), pytest.approx(passages[1], rel=0.1)]
    with pytest.raises(InputError, match=r"well 'up' does not exist at 0\.1 V with its spin torque"):
        flip_rate(cell, voltage=0.1, well="down", spin_torque=True)


#: Delta, damping, in-plane field, field along z, a_J (in B_k), rates up and down (in gamma B_k / (1 + alpha^2)):
#: harmonics with 60 digits, extended_precision.py, degree 40 to 44 (last digits of degree 34 to 36 agree to 1e-3).
EXTENDED = [
    (20.0, 0.3, 0.15, 0.0, 0.0, 1.1161606e-7, 1.1161606e-7),
    (20.0, 0.3, 0.15, 0.05, -0.09, 1.526155e-5, 6.4157e-10),
]


@pytest.mark.parametrize(("Delta", "alpha_G", "h_x", "h_z", "a_J", "up", "down"), EXTENDED)
def test_tilted_rates_with_torque_in_extended_precision(
    Delta: float, alpha_G: float, h_x: float, h_z: float, a_J: float, up: float, down: float
) -> None:
    plain = replace(junction(Delta, alpha_G=alpha_G), xi=0.0)
    cell = replace(plain, B_bias=(h_x * plain.B_k(), 0.0, h_z * plain.B_k()))
    P = math.sqrt(cell.TMR0 / (2 + cell.TMR0))
    per_volt = -hbar / (2 * e_charge * cell.Ms * cell.t_F) * P / (1 + P * P) / cell.RA
    voltage, unit = a_J * cell.B_k() / per_volt, gamma_e * cell.B_k() / (1 + alpha_G**2)
    for well, rate in zip(WELLS, (up, down), strict=True):
        found = log_flip_rate(cell, voltage=voltage, well=well, spin_torque=True)  # type: ignore[arg-type]
        assert found.low - 1e-4 <= math.log(rate * unit) <= found.high + 1e-4
        assert found.value == pytest.approx(math.log(rate * unit), abs=1e-3)
