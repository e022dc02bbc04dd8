"""Cases of the stochastic macrospin equation with answers from outside: analysis and a separate solution.

Devices are independent and each gives one sample, so the error of a mean over n devices is the standard
deviation of one sample over sqrt(n). Tolerances are 4 such errors unless a comment says otherwise.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.linalg import expm

from voltaspin.core.units import gamma_e, k_B
from voltaspin.device import Junction, presets
from voltaspin.device.equilibrium import equilibrium, well_bottom
from voltaspin.device.llg import run, switching_curve, thermalise, trajectory

GENERATOR = presets.generator


def axial(Delta: float, *, alpha_G: float, B: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Junction:
    """The generator's free layer with another barrier, damping and field."""
    pillar = replace(GENERATOR, alpha_G=alpha_G, B_bias=B)
    return pillar.with_variation(K_eff_scale=Delta / GENERATOR.Delta())


def rate(junction: Junction) -> float:
    """Rotational diffusion constant D = alpha gamma' k_B T / (Ms volume) [1/s]."""
    gamma = gamma_e / (1 + junction.alpha_G**2)
    return junction.alpha_G * gamma * k_B * junction.temperature / (junction.Ms * junction.volume)


def test_free_spin_diffuses_on_the_sphere() -> None:
    # <m_z> = exp(-2 D t) and <m_z^2> = 1/3 + 2/3 exp(-6 D t) from m = z, at a time where both still move.
    n, junction = 20_000, axial(0.0, alpha_G=1.0)
    time = 0.3 / rate(junction)
    z = run(junction, np.tile([0.0, 0.0, 1.0], (n, 1)), duration=time, dt=1e-12, seed=1)[:, 2].astype(float)
    assert z.mean() == pytest.approx(math.exp(-0.6), abs=4 * z.std() / math.sqrt(n))
    assert (z**2).mean() == pytest.approx(1 / 3 + 2 / 3 * math.exp(-1.8), abs=4 * (z**2).std() / math.sqrt(n))


def test_free_spin_ends_uniform() -> None:
    n, junction = 20_000, axial(0.0, alpha_G=1.0)
    m = run(junction, np.tile([1.0, 0.0, 0.0], (n, 1)), duration=2 / rate(junction), dt=4e-12, seed=2)
    # Var(m_i^2) = 1/5 - 1/9 for a uniform direction; exp(-12) of the start is left.
    np.testing.assert_allclose((m.astype(float) ** 2).mean(axis=0), 1 / 3, atol=4 * math.sqrt(4 / 45 / n))


def test_boltzmann_in_a_deep_well_by_llg() -> None:
    # 1 - z^2 is nearly exponential, so its standard deviation is its mean; 0.1 % of Heun bias at 2 ps and
    # exp(-10) of the start are small against 4 errors (2.8 %).
    n = 20_000
    z = thermalise(axial(40.0, alpha_G=0.02), n, dt=2e-12, seed=3)[:, 2].astype(float)
    assert (1 - z**2).mean() == pytest.approx(0.025334, rel=4 / math.sqrt(n))


def test_boltzmann_over_a_low_barrier_by_llg() -> None:
    n, junction = 20_000, axial(4.0, alpha_G=0.2)
    m = run(junction, equilibrium(junction, n, seed=4) * [1, 1, 1], duration=20e-9, dt=10e-12, seed=4)
    y = 1 - m[:, 2].astype(float) ** 2
    assert y.mean() == pytest.approx(0.295373, abs=4 * y.std() / math.sqrt(n))


@pytest.mark.parametrize(("Delta", "answer"), [(40.0, 0.025334), (4.0, 0.295373)])
def test_exact_equilibrium_is_boltzmann(Delta: float, answer: float) -> None:
    n = 400_000
    m = equilibrium(axial(Delta, alpha_G=0.02), n, well="down", seed=5).astype(float)
    y = 1 - m[:, 2] ** 2
    assert (m[:, 2] < 0).all()
    assert y.mean() == pytest.approx(answer, abs=4 * y.std() / math.sqrt(n))
    assert abs(m[:, 0].mean()) < 4 * m[:, 0].std() / math.sqrt(n)


def test_exact_equilibrium_in_a_tilted_field() -> None:
    # Moments of exp(-E / k_B T) over the half sphere by quadrature in both angles.
    n, junction = 200_000, axial(6.0, alpha_G=0.02, B=(0.006, -0.008, 0.003))
    b = np.array(junction.B_bias) * junction.Ms * junction.volume / (k_B * junction.temperature)
    z = (np.polynomial.legendre.leggauss(200)[0] + 1) / 2
    w = np.polynomial.legendre.leggauss(200)[1] / 2
    phi = 2 * np.pi * np.arange(400) / 400
    s = np.sqrt(1 - z**2)
    x, y = np.outer(s, np.cos(phi)), np.outer(s, np.sin(phi))
    weight = w[:, None] * np.exp(6.0 * z[:, None] ** 2 + b[0] * x + b[1] * y + b[2] * z[:, None])
    m = equilibrium(junction, n, seed=6).astype(float)
    for sample, function in (
        (m[:, 0], x), (m[:, 1], y), (m[:, 2], z[:, None] + 0 * x), (m[:, 0] * m[:, 1], x * y),
        (m[:, 0] ** 2, x**2),
    ):  # fmt: skip
        exact = np.sum(weight * function) / np.sum(weight)
        assert sample.mean() == pytest.approx(exact, abs=4 * sample.std() / math.sqrt(n))


def test_langevin_function_along_a_tilted_field() -> None:
    n, direction = 20_000, np.array([1.0, 2.0, 2.0]) / 3
    x = 2.0
    B = x * k_B * 300 / (GENERATOR.Ms * GENERATOR.volume)
    junction = axial(0.0, alpha_G=1.0, B=tuple(B * direction))
    m = run(junction, np.tile([0.0, 0.0, -1.0], (n, 1)), duration=3 / rate(junction), dt=4e-12, seed=7)
    along = m.astype(float) @ direction
    assert along.mean() == pytest.approx(1 / math.tanh(x) - 1 / x, abs=4 * along.std() / math.sqrt(n))


def test_escape_over_a_low_barrier_follows_fokker_planck() -> None:
    # E[z(t)] from z = 1 by the exponential of the backward operator
    # D [(1 - z^2) f'' - 2 z f' + 2 Delta z (1 - z^2) f'], exact on polynomials up to truncation (degree 59).
    n, Delta = 20_000, 4.0
    junction = axial(Delta, alpha_G=0.5)
    d = np.polynomial.polynomial
    size = 60
    operator = np.zeros((size, size))
    for k in range(size):
        f = np.zeros(k + 1)
        f[k] = 1.0
        image = d.polyadd(
            d.polymul([1, 0, -1], d.polyder(f, 2)),
            d.polymul(d.polyadd([0, -2], d.polymul([0, 2 * Delta], [1, 0, -1])), d.polyder(f)),
        )
        image = image[:size]
        operator[: len(image), k] = image
    time = 1.0 / rate(junction)
    z = run(junction, np.tile([0.0, 0.0, 1.0], (n, 1)), duration=time, dt=4e-12, seed=8)[:, 2].astype(float)
    start = np.zeros(size)
    start[1] = 1.0
    expected = float(np.sum(expm(operator) @ start))
    assert 0.2 < expected < 0.9  # some have crossed, some have not
    assert z.mean() == pytest.approx(expected, abs=4 * z.std() / math.sqrt(n))


@pytest.mark.parametrize(("voltage_ratio", "B"), [(1.3, (0.03, 0.0, 0.0)), (0.5, (0.0, 0.0, 0.02))])
def test_kittel_frequency_and_decay(voltage_ratio: float, B: tuple[float, float, float]) -> None:
    # Easy plane: precession about x. Easy axis: about z. A damped oscillation sampled at equal times obeys
    # y[k+1] = a y[k] - b y[k-1] with a = 2 exp(-decay h) cos(omega h), b = exp(-2 decay h).
    junction = replace(GENERATOR, B_bias=B, temperature=0.0, alpha_G=0.01)
    voltage = voltage_ratio * junction.V_c
    B_k = junction.B_k(voltage)
    about_x = B_k < 0
    m = [1.0, 0.0, 0.01] if about_x else [0.01, 0.0, 1.0]
    times, path = trajectory(
        junction, [np.array(m) / np.linalg.norm(m)], duration=2e-9, samples=100, dt=0.5e-12, voltage=voltage
    )
    y = path[:, 0, 2 if about_x else 0].astype(float)
    h = times[1] - times[0]
    a, b = np.linalg.lstsq(np.stack([y[1:-1], -y[:-2]], axis=1), y[2:], rcond=None)[0]
    decay = -math.log(b) / (2 * h)
    omega = math.acos(a / (2 * math.sqrt(b))) / h
    if about_x:
        expected = gamma_e * math.sqrt((B[0] - B_k) * B[0]), 0.01 * gamma_e * (B[0] + abs(B_k) / 2)
    else:
        expected = gamma_e * (B_k + B[2]), 0.01 * gamma_e * (B_k + B[2])
    # The formulas hold to first order in alpha_G (1e-4) and in the amplitude squared (1e-4); Heun's second-
    # order error in the decay is (omega dt)^3 omega / 8 dt, below 1e-4 of omega and 1 % of the decay.
    assert omega == pytest.approx(expected[0], rel=1e-3)
    assert decay == pytest.approx(expected[1], rel=1e-2)


def test_damped_precession_follows_tanh() -> None:
    # T = 0, field along z, no anisotropy: m_z = tanh(alpha gamma' B t + artanh m_z(0)), azimuth = gamma' B t.
    junction = replace(axial(0.0, alpha_G=0.1, B=(0.0, 0.0, 0.1)), temperature=0.0)
    times, path = trajectory(junction, [[1.0, 0.0, 0.0]], duration=1e-9, samples=20, dt=0.2e-12)
    gamma = gamma_e / 1.01
    # Global error of a second-order step: (omega dt)^2 / 6 of omega t = 2e-6 * 17 rad; float32 adds 1e-5.
    np.testing.assert_allclose(path[:, 0, 2], np.tanh(0.1 * gamma * 0.1 * times), atol=1e-4)
    azimuth = np.unwrap(np.arctan2(path[:, 0, 1], path[:, 0, 0]).astype(float))
    np.testing.assert_allclose(azimuth, gamma * 0.1 * times, atol=3e-4)


@pytest.mark.parametrize("angle", [20, 45, 70])
def test_stoner_wohlfarth_astroid(angle: float) -> None:
    # A field at `angle` from -z, raised in small steps with strong damping, reverses the bit where
    # h_x^(2/3) + h_z^(2/3) = 1.
    psi = math.radians(angle)
    h_switch = (math.sin(psi) ** (2 / 3) + math.cos(psi) ** (2 / 3)) ** -1.5
    B_k = GENERATOR.B_k()
    m: np.ndarray = np.array([[0.0, 0.0, 1.0]])
    up = {}
    for share in (0.5, 0.8, 0.9, 0.95, 0.98, 1.02):
        B = share * h_switch * B_k
        junction = replace(GENERATOR, B_bias=(B * math.sin(psi), 0.0, -B * math.cos(psi)), temperature=0.0, alpha_G=1.0)
        m = run(junction, m, duration=3e-9, dt=2e-12)
        # Where the branch ends m is tilted; reversed means past the hard axis by far.
        up[share] = m[0, 2] > -0.5 * math.cos(psi)
    assert up == {0.5: True, 0.8: True, 0.9: True, 0.95: True, 0.98: True, 1.02: False}


def test_well_bottom_is_where_the_torque_vanishes() -> None:
    junction = replace(GENERATOR, temperature=0.0, alpha_G=1.0, B_bias=(0.02, 0.01, -0.01))
    for well in ("up", "down"):
        bottom = well_bottom(junction, well)
        m = run(junction, [bottom], duration=1e-9, dt=2e-12)
        np.testing.assert_allclose(m[0], bottom, atol=1e-4)


class TestGeneratorPulse:
    """P_sw at exact cancellation of the anisotropy, 30 mT in plane: a full precession takes 1.2 ns.

    The plateau values come from a separate solution of the same equation; 16,000 devices give
    0.004, so 0.494 to 0.501 is tested with 3 errors on either side.
    """

    n = 16_000
    three_errors = 3 * 0.5 / math.sqrt(n)

    def test_oscillates_and_has_a_plateau(self) -> None:
        widths = [0.22e-9, 0.26e-9, 0.30e-9, 0.34e-9, 0.6e-9, 1.2e-9]
        p, error = switching_curve(
            GENERATOR, voltage=GENERATOR.V_c, widths=widths, n_devices=self.n, dt=2e-12, relax=5e-9, seed=9
        )
        assert (p[:4] > 0.494 - self.three_errors).all()
        assert (p[:4] < 0.501 + self.three_errors).all()
        assert p[4] > 0.99
        assert p[5] < 0.01
        assert error[0] == pytest.approx(0.5 / math.sqrt(self.n), rel=0.01)

    def test_stray_field_tilts_the_plateau(self) -> None:
        # The separate solution gives .47 to .48 to two digits: a range of .465 to .485.
        p, _ = switching_curve(
            GENERATOR.with_variation(B_z=2e-3), voltage=GENERATOR.V_c, widths=[0.25e-9, 0.30e-9],
            n_devices=self.n, dt=2e-12, relax=8e-9, seed=10,
        )  # fmt: skip
        assert (p > 0.465 - self.three_errors).all()
        assert (p < 0.485 + self.three_errors).all()

    def test_weaker_field_breaks_the_plateau(self) -> None:
        weak = replace(GENERATOR, B_bias=(0.02, 0.0, 0.0))
        p, _ = switching_curve(
            weak, voltage=weak.V_c, widths=[0.30e-9], n_devices=self.n, dt=2e-12, relax=5e-9, seed=11
        )
        assert p[0] == pytest.approx(0.29, abs=0.005 + self.three_errors)


def test_quadrature_behind_the_quoted_moments() -> None:
    for Delta, quoted in ((40.0, 0.025334), (4.0, 0.295373)):
        top = quad(lambda z, D=Delta: (1 - z * z) * math.exp(D * (z * z - 1)), 0, 1)[0]
        assert top / quad(lambda z, D=Delta: math.exp(D * (z * z - 1)), 0, 1)[0] == pytest.approx(quoted, abs=1e-6)
