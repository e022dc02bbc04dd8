"""The Fokker-Planck solution: known limits, pulses with edges, convergence, bad input."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ive

from voltaspin.core.units import gamma_e, k_B
from voltaspin.device import Pulse, presets
from voltaspin.device.density import bessel_i, boltzmann_exponents, generator, staircase, well_density, well_indicator
from voltaspin.device.fokker_planck import switching_map, switching_probability

GENERATOR = presets.generator
SMALL = GENERATOR.with_variation(K_eff_scale=0.25)  # Delta 10: cheap
DEGREE = 36


def test_well_density_is_boltzmann_and_normalised() -> None:
    density = well_density(np.array([4.0, 0.0, 0.0]), degree=40, well="up")
    assert density @ well_indicator(40, "up") == pytest.approx(1, abs=1e-3)  # a jump at the equator: slow to converge
    whole = density + well_density(np.array([4.0, 0.0, 0.0]), degree=40, well="down")
    assert whole[0] * math.sqrt(4 * math.pi) == pytest.approx(2, abs=1e-12)
    # <1 - z^2> = 0.295373 at Delta 4, from z^2 = 1/3 + (2/3) sqrt(4 pi / 5) Y_20.
    z2 = 1 / 3 + 2 / 3 * math.sqrt(4 * math.pi / 5) * whole[2] / 2
    assert 1 - z2 == pytest.approx(0.295373, abs=1e-6)


@pytest.mark.parametrize("B", [(0.01, 0.0, 0.0), (0.006, -0.008, 0.003)])
def test_equilibrium_stands_still(B: tuple[float, float, float]) -> None:
    junction = replace(SMALL, B_bias=B)
    e = boltzmann_exponents(junction)
    # Both wells, each with its own weight, make the equilibrium of the whole sphere.
    halves = [well_density(e, degree=48, well=w) for w in ("up", "down")]
    z = np.polynomial.legendre.leggauss(200)[0] / 2 + 0.5
    w = np.polynomial.legendre.leggauss(200)[1]
    s = np.sqrt(1 - z * z)
    share = [float(np.sum(w * np.exp(e[0] * z * z + k * e[2] * z) * np.i0(e[1] * s))) for k in (1, -1)]
    whole = (share[0] * halves[0] + share[1] * halves[1]) / sum(share)
    rest = generator(junction, 0.0, degree=48)
    # The rate of change against that of one well alone.
    assert np.linalg.norm(rest.apply(whole)) < 1e-7 * np.linalg.norm(rest.apply(halves[0]))


def test_free_spin_diffuses_exactly() -> None:
    free = replace(GENERATOR.with_variation(K_eff_scale=0.0), alpha_G=1.0, B_bias=(0.0, 0.0, 0.0))
    D = gamma_e / 2 * k_B * 300 / (free.Ms * free.volume)
    start = well_density(boltzmann_exponents(free), degree=8, well="up")
    end = generator(free, 0.0, degree=8).propagate(start, 0.3 / D)
    m1, m2 = (math.sqrt(4 * math.pi / (2 * k + 1)) for k in (1, 2))
    assert end[1] * m1 == pytest.approx(0.5 * math.exp(-0.6), rel=1e-10)  # <z> of a half sphere is 1/2
    assert end[2] * m2 == pytest.approx(start[2] * m2 * math.exp(-1.8), rel=1e-10, abs=1e-14)


def test_map_agrees_with_single_pulses() -> None:
    voltages, widths = [0.9 * SMALL.V_c, 1.2 * SMALL.V_c], [0.2e-9, 0.45e-9]
    options = {"relax": 2e-9, "spin_torque": True, "degree": DEGREE, "initial": "down"}
    grid = switching_map(SMALL, voltages=voltages, widths=widths, rise=0.1e-9, fall=0.06e-9, atol=0.1, **options)
    for i, V in enumerate(voltages):
        for k, w in enumerate(widths):
            alone = switching_probability(
                SMALL, Pulse(voltage=V, width=w, rise=0.1e-9, fall=0.06e-9), rtol=10, **options
            )
            assert grid.P_sw[i, k] == pytest.approx(alone.value, abs=1e-10)


def test_mirror_symmetry() -> None:
    pulse = Pulse(voltage=SMALL.V_c, width=0.25e-9)
    up = switching_probability(SMALL.with_variation(B_z=3e-3), pulse, relax=2e-9, degree=DEGREE, rtol=10)
    down = switching_probability(
        SMALL.with_variation(B_z=-3e-3), pulse, relax=2e-9, degree=DEGREE, rtol=10, initial="down"
    )
    assert up.value == pytest.approx(down.value, abs=1e-12)


@pytest.mark.parametrize(
    "pulse",
    [
        Pulse(voltage=1.0, width=0.4e-9, rise=0.2e-9, fall=0.1e-9),
        Pulse(voltage=1.0, width=0.4e-9, tau=0.05e-9),
        Pulse(voltage=-0.5, width=0.3e-9, rise=0.05e-9, tau=0.02e-9),
    ],
)
def test_staircase_follows_the_pulse(pulse: Pulse) -> None:
    # Against 4,000 midpoint steps, whose own error is second order: 100 times finer than the staircase.
    end = pulse.duration + pulse.tail
    start = well_density(boltzmann_exponents(SMALL), degree=16, well="up")
    fine, quick = start, start
    n = 4000
    for k in range(n):
        V = float(pulse.voltage_at(end * (k + 0.5) / n))
        fine = generator(SMALL, V, degree=16).propagate(fine, end / n)
    steps = list(staircase(pulse, SMALL, 0.0, end))
    assert sum(t for _, t in steps) == pytest.approx(end)
    for V, duration in steps:
        quick = generator(SMALL, V, degree=16).propagate(quick, duration)
    np.testing.assert_allclose(quick, fine, atol=2e-5 * np.linalg.norm(fine))


def test_jitter_averages_over_widths() -> None:
    pulse = Pulse(voltage=SMALL.V_c, width=0.5e-9, jitter=0.03e-9)
    options = {"relax": 1e-9, "degree": 24, "rtol": 10.0}
    x, w = np.polynomial.hermite_e.hermegauss(21)
    each = [switching_probability(SMALL, pulse.with_width(0.5e-9 + 0.03e-9 * t), **options).value for t in x]
    expected = float(np.sum(w * each) / np.sum(w))
    assert switching_probability(SMALL, pulse, **options).value == pytest.approx(expected, abs=1e-7)


class TestBadInput:
    pulse = Pulse(voltage=1.0, width=0.3e-9)

    def test_degree_too_low(self) -> None:
        with pytest.raises(ValueError, match=r"degree 30 does not resolve a barrier of 25\.9 k_B T.*give at least"):
            switching_probability(GENERATOR, Pulse(voltage=GENERATOR.V_c, width=0.6e-9), degree=30)

    def test_degree_out_of_range(self) -> None:
        with pytest.raises(ValueError, match="degree = 1000 must lie from 5 to"):
            switching_probability(GENERATOR, self.pulse, degree=1000)

    def test_zero_temperature(self) -> None:
        with pytest.raises(ValueError, match=r"temperature = 0.*use the LLG"):
            switching_probability(replace(GENERATOR, temperature=0.0), self.pulse)

    def test_unknown_well(self) -> None:
        with pytest.raises(ValueError, match="well 'left' is unknown"):
            switching_probability(SMALL, self.pulse, initial="left")  # type: ignore[arg-type]

    @pytest.mark.parametrize("widths", [[], [0.3e-9, 0.2e-9]])
    def test_widths(self, widths: list[float]) -> None:
        with pytest.raises(ValueError, match="widths ascending"):
            switching_map(SMALL, voltages=[1.0], widths=widths)

    def test_relax(self) -> None:
        with pytest.raises(ValueError, match="relax = -1"):
            switching_probability(SMALL, self.pulse, relax=-1.0)


def test_Bessel_functions_are_those_of_scipy() -> None:
    x = np.array([0.0, 1e-310, 1e-100, 1e-80, 1e-8, 1e-3, 0.1, 1.0, 5.0, 20.0, 60.0, 200.0, 1000.0, 5000.0])
    for orders in (1, 2, 30, 73, 201):
        expected = ive(np.arange(orders)[:, None], x)
        assert bessel_i(x, orders) == pytest.approx(expected, rel=1e-12, abs=1e-80)
