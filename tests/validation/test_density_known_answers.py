"""The known answers for the density and the flip rates; with test_device_known_answers.py all nine of the list:

1 free spin, 2 Boltzmann in a well, 3 Langevin's function, 5 Kittel's frequency, 6 damped precession, 7 the
Stoner-Wohlfarth astroid and 8 the generator's pulse by the LLG there; 4 the axial escape, 8 by the
Fokker-Planck equation and 9 the long pulse here.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad

from voltaspin.core.units import gamma_e, k_B
from voltaspin.device import Junction, Pulse, presets
from voltaspin.device.fokker_planck import switching_map, switching_probability
from voltaspin.device.retention import flip_rate

GENERATOR = presets.generator


def cell(Delta: float, B: tuple[float, float, float], alpha_G: float = 0.02) -> Junction:
    return replace(GENERATOR.with_variation(K_eff_scale=Delta / 40), B_bias=B, alpha_G=alpha_G)


@pytest.mark.parametrize("Delta", [5.0, 8.0, 12.0, 18.0])
def test_axial_eigenvalue_is_the_exact_integral(Delta: float) -> None:
    # Mean first passage in m_z from the pole to the equator, written out apart from the package.
    junction = cell(Delta, (0.0, 0.0, 0.0))
    D = 0.02 * gamma_e / (1 + 0.02**2) * k_B * 300 / (junction.Ms * junction.volume)
    time = quad(
        lambda z: math.exp(-Delta * z * z) / (1 - z * z) * quad(lambda x: math.exp(Delta * (x * x)), z, 1)[0], 0, 1
    )[0]
    # The slowest mode is antisymmetric: its decay rate is twice the rate per well. It starts from the pole
    # instead of the well's own distribution: the time to relax over the time to escape, Delta exp(-Delta).
    assert flip_rate(junction, method="eigenvalue") == pytest.approx(
        D / (2 * time), rel=2 * Delta * math.exp(-Delta) + 1e-6
    )
    assert flip_rate(junction, method="axial") == pytest.approx(D / (2 * time), rel=1e-6)


def test_axial_rate_reaches_its_asymptote() -> None:
    # tau = (1 + alpha^2) / (2 alpha gamma B_k) sqrt(pi / Delta) exp(Delta), relative correction about 1 / Delta.
    junction = cell(80.0, (0.0, 0.0, 0.0))
    tau = (1 + 0.02**2) / (2 * 0.02 * gamma_e * junction.B_k()) * math.sqrt(math.pi / 80) * math.exp(80)
    assert flip_rate(junction) * 2 * tau == pytest.approx(1 - 1 / 80, rel=5e-3)


def test_tail_of_a_write_error() -> None:
    result = switching_probability(GENERATOR, Pulse(voltage=GENERATOR.V_c, width=0.6e-9))
    # 5e-9 in the reference, to one digit; ours converges over the degrees.
    assert result.WER == pytest.approx(5.0e-9, rel=0.02)
    assert result.error < 0.01 * result.WER
    assert result.value + result.WER == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("width", "low", "high"),
    [(0.22e-9, 0.4935, 0.5015), (0.30e-9, 0.4935, 0.5015), (0.34e-9, 0.4935, 0.5015), (1.2e-9, 0, 1e-3)],
)
def test_plateau_and_full_turn(width: float, low: float, high: float) -> None:
    assert low <= switching_probability(GENERATOR, Pulse(voltage=GENERATOR.V_c, width=width)).value <= high


def test_long_pulse_forgets_slowly_at_cancellation() -> None:
    # At 1.3 V_c the oscillation is down to about 1 % by 5 ns; at V_c it takes more than 20 ns.
    widths = np.linspace(4.5e-9, 5.5e-9, 21)
    faster = switching_map(GENERATOR, voltages=[1.3 * GENERATOR.V_c], widths=widths, relax=5e-9)
    slower = switching_map(GENERATOR, voltages=[GENERATOR.V_c], widths=np.linspace(19e-9, 20.2e-9, 13), relax=5e-9)
    assert 0.002 < abs(faster.P_sw - 0.5).max() < 0.02
    assert abs(slower.P_sw - 0.5).max() > 0.02
