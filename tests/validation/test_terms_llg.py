"""The stochastic solver with further terms against answers from outside: exact ones, and the plain problem rotated."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.core.units import gamma_e, k_B, mu_0
from voltaspin.device import Junction, Pulse, fokker_planck, presets
from voltaspin.device.equilibrium import equilibrium, well_bottom
from voltaspin.device.llg import LLG, run, switching_probability, thermalise, time_step_limit, trajectory
from voltaspin.device.protocol import Protocol
from voltaspin.device.temperature import at_temperature
from voltaspin.device.terms import SelfHeating, SpinOrbitLine, SpinTransfer
from voltaspin.device.torque import forces, spin_orbit_field, spin_torque_field
from voltaspin.device.warming import power

GENERATOR = presets.generator
#: No VCMA and no field: the anisotropy is that at rest, whatever the voltage.
AXIAL = replace(GENERATOR, xi=0.0, B_bias=(0.0, 0.0, 0.0), spin_transfer=SpinTransfer(), RA=10e-12)
LINE = SpinOrbitLine(width=60e-9, thickness=4e-9, length=200e-9, resistivity=2e-6, theta_SH=0.3)


def cold(junction: Junction, **changes: object) -> Junction:
    return replace(junction, temperature=0.0, **changes)  # type: ignore[arg-type]


def at_angle(theta: float) -> np.ndarray:
    return np.array([[math.sin(theta), 0.0, math.cos(theta)]])


def with_fields(B_k: float, B_shape: float = 0.0, **changes: object) -> Junction:
    """The generator without VCMA, with these anisotropy fields; the pillar is an ellipse where B_shape is not zero."""
    Ms, t_F = GENERATOR.Ms, GENERATOR.t_F
    tilt = B_shape / (mu_0 * Ms)
    N = ((0.2 - tilt) / 2, (0.2 + tilt) / 2, 0.8)
    K_i = (B_k * Ms / 2 + 0.5 * mu_0 * Ms**2 * (N[2] - N[0])) * t_F
    shape = {"diameter": 50e-9, "diameter_y": 50e-9} if B_shape else {"diameter": 50e-9}
    made = replace(GENERATOR, xi=0.0, K_i=K_i, N=N, **{**shape, **changes})  # type: ignore[arg-type]
    assert made.B_k() == pytest.approx(B_k, abs=1e-12)
    assert 2 * made.K_shape / Ms == pytest.approx(B_shape, abs=1e-12)
    return made


# --- equation ------------------------------------------------------------------------------------------

EVERYTHING = replace(
    GENERATOR, diameter=60e-9, diameter_y=45e-9, N=None, K2=2e4, R_series=3e4, reference=(0.6, 0.0, 0.8), RA=100e-12,
    B_bias=(0.02, -0.01, 0.005), spin_transfer=SpinTransfer(polarity=-1, efficiency=0.4, field_like=0.3),
    line=replace(LINE, field_like=-0.4, gate=0.7),
)  # fmt: skip


def test_a_short_step_is_the_equation_of_the_forces() -> None:
    # The vectors of one stage from torque.forces, at the state's own oxide voltage, by NumPy.
    junction, V, dt = cold(EVERYTHING), 0.9, 1e-16
    rng = np.random.default_rng(1)
    m = rng.normal(size=(20, 3))
    m /= np.linalg.norm(m, axis=1)[:, None]
    moved = run(junction, m, duration=dt, voltage=V, dt=dt, dtype=np.float64) - m
    for before, change in zip(m, moved, strict=True):
        now = forces(junction, V, cosine=float(before @ junction.reference))
        z = before[2]
        B = now.field + np.array([0, -now.B_shape * before[1], z * (now.B_k + now.B_K2 * (1 - z**2))])
        A, alpha = np.array(now.damping), junction.alpha_G
        torque = np.cross(before, B) + alpha * np.cross(before, np.cross(before, B))
        torque += np.cross(before, np.cross(before, A)) - alpha * np.cross(before, A)
        # A turn of 1e-5 differs from its tangent by 1e-10; sixteen digits of m are 1e-11 of it.
        np.testing.assert_allclose(change / dt, -gamma_e / (1 + alpha**2) * torque, atol=1e-4 * gamma_e * 0.2)
        assert np.linalg.norm(torque) > 1e-3


def test_a_rotated_problem_moves_in_the_same_way() -> None:
    # Hard y alone, in an ellipse, is hard z alone, in a circle, turned by a quarter about x.
    b, V = 0.12, 0.4
    term = SpinTransfer(efficiency=0.5, field_like=0.2)
    ellipse = cold(with_fields(0.0, b, B_bias=(0.02, 0.01, -0.03), reference=(0.6, 0.0, 0.8), spin_transfer=term))
    circle = cold(with_fields(-b, B_bias=(0.02, 0.03, 0.01), reference=(0.6, -0.8, 0.0), spin_transfer=term))
    start = np.array([[0.48, 0.6, 0.64]])
    one = run(ellipse, start, duration=1e-9, voltage=V, dt=0.5e-12, dtype=np.float64)
    other = run(circle, start @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]), duration=1e-9, voltage=V, dt=0.5e-12,
                dtype=np.float64)  # fmt: skip
    np.testing.assert_allclose(other, one @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]), atol=1e-10)
    assert np.linalg.norm(one - start) > 0.1


def test_the_field_like_torque_is_a_magnetic_field() -> None:
    V, start = 0.5, at_angle(0.3)
    for base in (cold(AXIAL), cold(AXIAL, spin_transfer=None, line=LINE)):
        if base.line is None:
            with_part = replace(base, spin_transfer=SpinTransfer(field_like=0.7))
            field = 0.7 * spin_torque_field(base, V) * np.array(base.reference)
        else:
            with_part = replace(base, line=replace(LINE, field_like=0.7))
            field = 0.7 * spin_orbit_field(base, V) * np.array(LINE.sigma)
        biased = replace(base, B_bias=tuple(field))
        options = {"duration": 0.5e-9, "voltage": V, "dt": 0.25e-12, "dtype": np.float64}
        one, other = run(with_part, start, **options), run(biased, start, **options)  # type: ignore[arg-type]
        np.testing.assert_allclose(one, other, atol=1e-12)
        assert np.linalg.norm(one - run(base, start, **options)) > 1e-3  # type: ignore[arg-type]


def test_polarity_and_sign_of_the_voltage_mirror_each_other() -> None:
    options = {"duration": 0.5e-9, "dt": 0.25e-12, "dtype": np.float64}
    base = cold(AXIAL, B_bias=(0.03, 0.0, 0.0), R_series=1e4)
    turned = replace(base, spin_transfer=SpinTransfer(polarity=-1))
    start = np.array([[0.28, 0.96, 0.0]])
    one = run(base, start, voltage=0.4, **options)  # type: ignore[arg-type]
    np.testing.assert_allclose(run(turned, start, voltage=-0.4, **options), one, atol=1e-12)  # type: ignore[arg-type]
    # Half a turn about x takes up to down and the torque to its opposite. The reference layer goes with it.
    half = np.diag([1.0, -1.0, -1.0])
    down = replace(base, reference=(0.0, 0.0, -1.0))
    np.testing.assert_allclose(run(down, start @ half, voltage=0.4, **options), one @ half, atol=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["heun", "rotation"])
def test_own_values_are_those_of_a_varied_junction(scheme: str) -> None:
    own = {"K_eff_scale": 0.93, "B_z": -3e-3, "xi_scale": 1.05, "diameter_scale": 1.04, "RA_scale": 0.9}
    junction = cold(EVERYTHING)
    options = {"duration": 300e-12, "voltage": 0.9, "dtype": np.float64, "dt": 0.2e-12, "scheme": scheme}
    start = at_angle(0.2)
    varied = run(junction.with_variation(**own), start, **options)  # type: ignore[arg-type]
    np.testing.assert_allclose(run(junction, start, cells=own, **options), varied, atol=1e-12)  # type: ignore[arg-type]
    assert np.linalg.norm(varied - run(junction, start, **options)) > 1e-3  # type: ignore[arg-type]


@pytest.mark.parametrize("scheme", ["heun", "rotation"])
@pytest.mark.parametrize("series", [0.0, 3e4])
def test_the_fast_kernel_follows_the_oracle(scheme: str, series: float) -> None:
    rng, n = np.random.default_rng(0), 137
    own = {
        "K_eff_scale": rng.uniform(0.9, 1.1, n), "xi_scale": rng.uniform(0.9, 1.1, n),
        "diameter_scale": rng.uniform(0.95, 1.05, n), "RA_scale": rng.uniform(0.8, 1.2, n),
        "B_z": rng.uniform(-5e-3, 5e-3, n),
    }  # fmt: skip
    junction = replace(EVERYTHING, R_series=series)
    options = {"duration": 20e-12, "voltage": (0.3, 1.0), "seed": 3, "cells": own, "scheme": scheme, "first_step": 2}
    start = equilibrium(junction, n)
    fast = run(junction, start, dt=0.2e-12, **options)  # type: ignore[arg-type]
    slow = run(junction, start, dt=0.2e-12, dtype=np.float64, **options)  # type: ignore[arg-type]
    # Rounding of 6e-8 per operation grows at most linearly with the steps here.
    np.testing.assert_allclose(fast, slow, atol=100 * 4 * 6e-8)
    assert np.abs(slow - start).max() > 0.05


def test_a_series_resistance_without_magnetoresistance_divides_the_voltage() -> None:
    # G is constant then, so the junction sees V / (1 + R_s / R_P).
    plain = replace(GENERATOR, TMR0=0.0, spin_transfer=SpinTransfer(efficiency=0.5), RA=20e-12, temperature=0.0)
    series = replace(plain, R_series=0.4 * plain.R_P)
    options = {"duration": 0.3e-9, "dt": 0.25e-12, "dtype": np.float64}
    start = at_angle(0.2)
    divided = run(plain, start, voltage=1.0 / 1.4, **options)  # type: ignore[arg-type]
    np.testing.assert_allclose(run(series, start, voltage=1.0, **options), divided, atol=1e-12)  # type: ignore[arg-type]


def test_same_bits_for_any_threads_and_parts() -> None:
    n, options = 300, {"duration": 20e-12, "voltage": 0.9, "dt": 0.25e-12, "seed": 1}
    start = equilibrium(EVERYTHING, n)
    whole = run(EVERYTHING, start, threads=1, **options)  # type: ignore[arg-type]
    np.testing.assert_array_equal(run(EVERYTHING, start, threads=3, **options), whole)  # type: ignore[arg-type]
    part = run(EVERYTHING, start[7:200], devices=np.arange(7, 200), **options)  # type: ignore[arg-type]
    np.testing.assert_array_equal(part, whole[7:200])
    half = run(EVERYTHING, start, **{**options, "duration": 10e-12})  # type: ignore[arg-type]
    again = run(EVERYTHING, half, first_step=40, **{**options, "duration": 10e-12})  # type: ignore[arg-type]
    np.testing.assert_array_equal(again, whole)


# --- thresholds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("B_z", [0.0, 0.02])
def test_spin_transfer_threshold_of_the_axial_case(B_z: float) -> None:
    # m_z obeys dz/dt = gamma' (1 - z^2) (alpha (B_k z + B_z) + a_J): up is lost where -a_J > alpha (B_k + B_z).
    junction = replace(AXIAL, B_bias=(0.0, 0.0, B_z), temperature=1.0)
    critical = junction.alpha_G * (junction.B_k() + B_z)
    V = critical / -spin_torque_field(junction, 1.0)
    pulse = [Pulse(voltage=share * V, width=100e-9) for share in (0.9, 1.1)]
    below, above = (switching_probability(junction, p, relax=5e-9, n_devices=128, threads=1).value for p in pulse)
    # At 1 K a barrier of 0.1^2 Delta = 120 k_B T is left below, and 100 ns are 25 growth times above.
    assert (below, above) == (0.0, 1.0)


def test_growth_under_spin_transfer_is_exponential_with_the_known_rate() -> None:
    junction = cold(AXIAL)
    alpha, theta, time = junction.alpha_G, 1e-3, 10e-9
    critical = alpha * junction.B_k()
    V = 1.6 * critical / -spin_torque_field(junction, 1.0)
    end = run(junction, at_angle(theta), duration=time, voltage=V, dtype=np.float64)
    grown = math.hypot(end[0, 0], end[0, 1])
    # Linear up to theta^2 = 6e-4 at the end; a step errs by the third order of 0.1.
    assert math.log(grown / theta) == pytest.approx(gamma_e / (1 + alpha**2) * 0.6 * critical * time, rel=2e-3)


def sot_threshold(h: float) -> float:
    """Critical damping-like field over B_k, of a torque along y with a field h B_k along x: found by a fine search."""
    s = np.linspace(0, 1, 1_000_001)
    found = float(np.max(np.sqrt(1 - s**2) * (s - h)))
    closed = (h + math.sqrt(h * h + 8)) / 4
    assert found == pytest.approx(math.sqrt(1 - closed**2) * (closed - h), abs=1e-9)
    return found


def sot_junction(h: float, alpha_G: float) -> tuple[Junction, float]:
    """A cold junction on a line, and the voltage of the line at which a slow ramp loses the state up."""
    bare = cold(AXIAL, spin_transfer=None, line=LINE, alpha_G=alpha_G)
    junction = replace(bare, B_bias=(h * bare.B_k(), 0.0, 0.0))
    # B + m x A is along m at rest: a negative torque along y pushes up towards +x, where the field pulls too.
    return junction, -sot_threshold(h) * bare.B_k() / spin_orbit_field(bare, 1.0)


@pytest.mark.parametrize("h", [0.1, 0.3])
def test_spin_orbit_threshold_under_a_slow_ramp(h: float) -> None:
    junction, V = sot_junction(h, 0.1)

    def end(*goals: float) -> float:
        """m_z after ramps of 20 ns to each goal, in thresholds, with 10 ns at each."""
        m, last = well_bottom(junction)[None], 0.0
        for goal in goals:
            m = run(junction, m, duration=20e-9, voltage=(last * V, goal * V))
            m = run(junction, m, duration=10e-9, voltage=goal * V)
            last = goal
        return float(m[0, 2])

    assert end(0.99) > 0.1
    assert end(0.99, 1.01) < -0.1
    assert end(-1.01) > 0.1  # the other sign holds the state, with a threshold of s + h for s - h


def test_a_step_of_current_switches_below_the_threshold_and_not_monotonically() -> None:
    junction, V = sot_junction(0.1, 0.01)
    shares = np.linspace(0.7, 1.2, 26)
    crossed, ends = [], []
    for share in shares:
        _, path = trajectory(junction, well_bottom(junction), duration=5e-9, samples=60, voltage=share * V)
        crossed.append(bool((path[:, 0, 2] < 0).any()))
        ends.append(float(run(junction, path[-1], duration=20e-9)[0, 2]) < 0)
    first = float(shares[crossed.index(True)])
    assert 0.75 < first < 0.9
    assert sum(a != b for a, b in pairwise(ends)) > 1


# --- equilibrium ---------------------------------------------------------------------------------------


def moments(m: np.ndarray) -> np.ndarray:
    """First and second moments that are not fixed by the length: (..., 8)."""
    x, y, z = np.moveaxis(np.asarray(m, np.float64), -1, 0)
    return np.stack([x, y, z, z * z, y * y, x * y, y * z, z * x], axis=-1)


def by_quadrature(junction: Junction, half: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Means of the moments and their standard deviations, from the energy by a product rule with its pole at half."""
    pole = np.array([0.0, 0.0, 1.0]) if half is None else half / np.linalg.norm(half)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    if half is not None:
        nodes, weights = (nodes + 1) / 2, weights / 2
    phi = 2 * np.pi * np.arange(1200) / 1200
    along, azimuth = np.meshgrid(nodes, phi, indexing="ij")
    across = np.linalg.svd(pole[None])[2][1:]
    circle = np.stack([np.cos(azimuth), np.sin(azimuth)], axis=-1) @ across
    m = along[..., None] * pole + np.sqrt(1 - along**2)[..., None] * circle
    z, s = m[..., 2], np.sqrt(np.maximum(1 - m[..., 2] ** 2, 0))
    energy = -junction.K_eff() * z**2 + junction.K2 * s**4 + junction.K_shape * m[..., 1] ** 2
    energy = energy - junction.Ms * (m @ np.array(junction.B_bias))
    density = np.exp(-(energy - energy.min()) * junction.volume / (k_B * junction.temperature)) * weights[:, None]
    density /= density.sum()
    values = moments(m)
    mean = np.einsum("ij,ijk->k", density, values)
    return mean, np.sqrt(np.einsum("ij,ijk->k", density, (values - mean) ** 2))


ELLIPSE = replace(
    GENERATOR, diameter=60e-9, diameter_y=40e-9, N=None, K2=2e4, B_bias=(0.01, 0.006, -0.004), reference=(0.6, 0.0, 0.8)
)
LOW = with_fields(0.004, 0.006, K2=1.5e3, B_bias=(0.003, -0.002, 0.001), alpha_G=0.1, reference=(1.0, 0.0, 0.0))


@pytest.mark.parametrize("well", ["up", "down"])
@pytest.mark.parametrize(
    "junction",
    [
        ELLIPSE, LOW, replace(LOW, reference=(1.0, 1.0, 1.0)), replace(GENERATOR, K2=-3e4),
        with_fields(-0.5, 0.05, B_bias=(0.002, 0.01, 0.0), reference=(1.0, 0.0, 0.0)),
        replace(ELLIPSE, temperature=4.0),
    ],
)  # fmt: skip
def test_equilibrium_has_the_moments_of_the_energy(junction: Junction, well: str) -> None:
    n, sign = 100_000, 1 if well == "up" else -1
    half = sign * np.array(junction.reference)
    m = equilibrium(junction, n, well=well, seed=4)  # type: ignore[arg-type]
    mean, spread = by_quadrature(junction, half)
    assert np.all(m @ half > -1e-6)
    np.testing.assert_allclose(np.linalg.norm(m, axis=1), 1, atol=1e-6)
    # 96 comparisons in all: 4.5 standard errors are passed by chance once in 1500 runs.
    assert np.all(np.abs(moments(m).mean(axis=0) - mean) < 4.5 * spread / math.sqrt(n) + 1e-7)
    np.testing.assert_array_equal(equilibrium(junction, 50, well=well, seed=4), m[:50])  # type: ignore[arg-type]


def test_both_ways_to_draw_agree_where_both_know_the_junction() -> None:
    # A K2 of nothing in effect takes the general way.
    n, general = 200_000, replace(GENERATOR, K2=1e-6)
    one, other = (moments(equilibrium(j, n, seed=2)) for j in (GENERATOR, general))
    error = np.hypot(one.std(axis=0), other.std(axis=0)) / math.sqrt(n)
    assert np.all(np.abs(one.mean(axis=0) - other.mean(axis=0)) < 4 * error)


@pytest.mark.parametrize("scheme", ["heun", "rotation"])
def test_motion_keeps_the_equilibrium_of_all_conservative_terms(scheme: str) -> None:
    # Barriers of about k_B T: the ensemble spreads from one half over the whole sphere.
    n, junction = 10_000, replace(LOW, alpha_G=0.5)
    start = equilibrium(junction, n, seed=6)
    end = run(junction, start, duration=4e-9, seed=6, scheme=scheme)  # type: ignore[arg-type]
    mean, spread = by_quadrature(junction, None)
    was, _ = by_quadrature(junction, np.array(junction.reference))
    error = spread / math.sqrt(n)
    assert np.max(np.abs(was - mean) / error) > 20
    assert np.all(np.abs(moments(end).mean(axis=0) - mean) < 4 * error + 1e-3 * spread)


def test_the_bottom_of_a_well() -> None:
    lying = with_fields(-0.5, 0.05, reference=(-1, 0, 0))
    for junction in (ELLIPSE, LOW, replace(LOW, reference=(1.0, 1.0, 1.0)), lying):
        for well, sign in (("up", 1), ("down", -1)):
            bottom = well_bottom(junction, well)  # type: ignore[arg-type]
            rest = run(cold(junction, alpha_G=0.5), bottom, duration=20e-9, dtype=np.float64)[0]
            assert sign * (bottom @ junction.reference) > -1e-9
            if sign * (bottom @ junction.reference) > 1e-3:  # inside: nothing moves it
                np.testing.assert_allclose(rest, bottom, atol=1e-6)
    np.testing.assert_allclose(well_bottom(with_fields(-0.5, 0.05, reference=(1, 0, 0), B_bias=(0, 0, 0))), (1, 0, 0))
    moved = thermalise(ELLIPSE, 500, seed=1)
    assert np.mean(moved @ np.array(ELLIPSE.reference) > 0) > 0.99


# --- motion at zero voltage ----------------------------------------------------------------------------


def test_free_precession_of_an_elliptic_in_plane_magnet() -> None:
    # Kittel: stiffness B + B_shape along y, B - B_k - B_K2 along z; the damped pair of the linear equation.
    B, alpha = 0.01, 0.01
    junction = cold(with_fields(-0.4, 0.03, K2=2e4, B_bias=(B, 0.0, 0.0), alpha_G=alpha, reference=(1.0, 0.0, 0.0)))
    along_y, along_z = B + 0.03, B + 0.4 - 4 * 2e4 / junction.Ms
    rate = gamma_e / (1 + alpha**2)
    linear = rate * np.array([[-alpha * along_y, -along_z], [along_y, -alpha * along_z]])
    omega = np.linalg.eigvals(linear)[0]
    assert abs(omega.imag) == pytest.approx(gamma_e * math.sqrt(along_y * along_z), rel=2e-2)
    start = np.array([[math.cos(1e-3), math.sin(1e-3), 0.0]])
    times, path = trajectory(junction, start, duration=3e-9, samples=600, dtype=np.float64, dt=0.2e-12)
    y = path[:, 0, 1]
    zero = np.flatnonzero(y[:-1] * y[1:] < 0)
    crossing = times[zero] - y[zero] * np.diff(times)[zero] / (y[zero + 1] - y[zero])
    period = 2 * (crossing[-1] - crossing[0]) / (len(crossing) - 1)
    assert 2 * math.pi / period == pytest.approx(abs(omega.imag), rel=1e-3)
    # Amplitudes at the extremes one period apart fall by exp(Re * period).
    tops = np.flatnonzero((y[1:-1] > y[:-2]) & (y[1:-1] > y[2:])) + 1
    fall = math.log(y[tops[-1]] / y[tops[0]]) / (times[tops[-1]] - times[tops[0]])
    assert fall == pytest.approx(omega.real, rel=2e-2)


# --- whole pulses --------------------------------------------------------------------------------------


def along_the_axis(junction: Junction, V: float, width: float) -> float:
    """P_sw out of the up well of an axial junction under a constant voltage, by the density of m_z alone.

    dp/dt = d/dz (1 - z^2) [D dp/dz - gamma' u p], u = alpha B_z(z) + a(z), D = alpha gamma' k_B T / (Ms volume): finite
    volumes with exponential fitting, and the exact exponential of their matrix in time.
    """
    from scipy.linalg import expm

    alpha, cells = junction.alpha_G, 400
    faces = np.linspace(-1, 1, cells + 1)
    z, h = (faces[1:] + faces[:-1]) / 2, 2 / cells
    rate = gamma_e / (1 + alpha**2)
    D = alpha * rate * k_B * junction.temperature / (junction.Ms * junction.volume)
    inner = faces[1:-1]
    now = [forces(junction, V, cosine=float(c)) for c in inner]
    B = np.array([f.field[2] + c * (f.B_k + f.B_K2 * (1 - c * c)) for f, c in zip(now, inner, strict=True)])
    w = rate * (alpha * B + np.array([f.damping[2] for f in now])) * h / D
    forward, back = (1 - inner**2) * D / h**2 * np.array([-w / np.expm1(-w), w / np.expm1(w)])
    M = np.zeros((cells, cells))
    k = np.arange(cells - 1)
    M[k + 1, k] += forward
    M[k, k] -= forward
    M[k, k + 1] += back
    M[k + 1, k + 1] -= back
    energy = -junction.K_eff() * z**2 + junction.K2 * (1 - z**2) ** 2 - junction.Ms * junction.B_bias[2] * z
    p = np.exp(-energy * junction.volume / (k_B * junction.temperature)) * (z > 0)
    return float((expm(M * width) @ (p / p.sum()))[z < 0].sum())


@pytest.mark.parametrize(
    ("terms", "V", "width"),
    [
        ({"K2": 1e4}, 2.2, 3e-9),
        ({"K2": -1e4, "R_series": 5e3, "RA": 20e-12, "spin_transfer": SpinTransfer(field_like=0.5)}, 1.3, 2e-9),
        ({"R_series": 1e4, "RA": 20e-12, "TMR0": 2.0, "spin_transfer": SpinTransfer(efficiency=0.6)}, 1.7, 2e-9),
        ({"line": replace(LINE, sigma=(0.0, 0.0, -1.0), field_like=0.3, gate=2.0), "K2": 5e3}, 0.1, 1e-9),
    ],
)  # fmt: skip
def test_axial_junctions_follow_the_density_of_m_z(terms: dict[str, object], V: float, width: float) -> None:
    junction = replace(GENERATOR, B_bias=(0.0, 0.0, 0.004), alpha_G=0.1, **terms)  # type: ignore[arg-type]
    exact = along_the_axis(junction, V, width)
    assert 0.03 < exact < 0.97
    counted = switching_probability(junction, Pulse(voltage=V, width=width), relax=0.0, n_devices=10_000, threads=1)
    # The volumes err by 1e-3 of the probability, a fifth of the counting error.
    assert abs(counted.value - exact) < 4 * counted.error
    assert abs(along_the_axis(replace(junction, R_series=0.0, K2=0.0), V, width) - exact) > 5 * counted.error


#: An in-plane magnet with hard y and z alike is a perpendicular one along x: the plain problem, rotated.
TURNED = with_fields(
    -0.1534, 0.1534, B_bias=(0.004, 0.0, 0.03), reference=(1.0, 0.0, 0.0), RA=1e-12, spin_transfer=SpinTransfer()
)
UPRIGHT = with_fields(0.1534, B_bias=(-0.03, 0.0, 0.004), RA=1e-12)


@pytest.mark.parametrize(("initial", "V"), [("up", 0.15), ("down", -0.15)])
def test_an_in_plane_junction_switches_like_its_upright_twin(initial: str, V: float) -> None:
    pulse = Pulse(voltage=V, width=1e-9, rise=0.1e-9)
    exact = fokker_planck.switching_probability(UPRIGHT, pulse, initial=initial, relax=3e-9, spin_torque=True)
    counted = switching_probability(TURNED, pulse, initial=initial, relax=3e-9, n_devices=10_000, threads=1)
    assert 0.05 < exact.value < 0.95
    assert abs(counted.value - exact.value) < 4 * counted.error


def test_a_turned_line_gives_the_same_count() -> None:
    # A quarter turn about z of a round pillar: sigma, field and starting states turn with it.
    n, pulse = 10_000, Pulse(voltage=-0.3, width=0.8e-9, rise=0.1e-9)
    base = replace(AXIAL, spin_transfer=None, line=replace(LINE, field_like=0.2), B_bias=(0.02, 0.0, 0.0))
    turned = replace(base, line=replace(base.line, sigma=(-1.0, 0.0, 0.0)), B_bias=(0.0, 0.02, 0.0))
    one, other = (switching_probability(j, pulse, relax=3e-9, n_devices=n, threads=1).value for j in (base, turned))
    middle = (one + other) / 2
    assert 0.05 < middle < 0.95
    assert abs(one - other) < 4 * math.sqrt(2 * middle * (1 - middle) / n)


def test_instant_heating_is_the_hot_junction() -> None:
    n, V, width = 10_000, 1.0, 1.5e-9
    warm = replace(GENERATOR, RA=20e-12, heating=SelfHeating(thermal_resistance=6e5, tau=1e-13))
    hot = at_temperature(replace(warm, heating=None), warm.temperature + 6e5 * power(warm, V))
    assert 320 < hot.temperature < 450
    counted = switching_probability(warm, Pulse(voltage=V, width=width), relax=3e-9, n_devices=n, threads=1)
    m = run(hot, equilibrium(GENERATOR, n, seed=8), duration=width, voltage=V, seed=8, threads=1)
    m = run(replace(warm, heating=None), m, duration=3e-9, seed=9, threads=1)
    expected = float(np.mean(m[:, 2] < 0))
    cool = switching_probability(replace(warm, heating=None), Pulse(voltage=V, width=width), relax=3e-9, n_devices=n)
    error = math.sqrt(2) * counted.error
    assert abs(counted.value - expected) < 4 * error
    assert abs(cool.value - expected) > 8 * error  # the test would see heating left out
    none = replace(warm, heating=SelfHeating(thermal_resistance=0.0, tau=1e-9))
    same = switching_probability(none, Pulse(voltage=V, width=width), relax=3e-9, n_devices=n, threads=1)
    assert abs(same.value - cool.value) < 4 * error


def test_a_warming_junction_takes_pulses_of_every_shape() -> None:
    # A slow thermal time constant of 1 s leaves every pulse what it is without heating.
    slow = replace(GENERATOR, K2=1e3, heating=SelfHeating(thermal_resistance=1e6, tau=1.0))
    plain = replace(slow, heating=None)
    solver, n = LLG(devices=4000, threads=1), 4000
    for shape in ({"rise": 0.1e-9, "fall": 0.05e-9}, {"tau": 0.05e-9}, {"jitter": 0.02e-9}):
        pulse = Pulse(voltage=1.2, width=0.3e-9, **shape)
        one, other = (solver.switching(j, pulse, Protocol("up", 2e-9, False)).value for j in (slow, plain))
        middle = (one + other) / 2
        assert abs(one - other) < 4 * math.sqrt(2 * middle * (1 - middle) / n)
    widths = [Pulse(voltage=1.2, width=w) for w in (0.2e-9, 0.3e-9)]
    shares, _ = solver.curve(slow, widths, Protocol("up", 2e-9, False))
    assert shares[1] == solver.switching(slow, widths[1], Protocol("up", 2e-9, False)).value


def test_what_has_no_answer_is_refused() -> None:
    warm = replace(GENERATOR, heating=SelfHeating(thermal_resistance=1e6, tau=1e-9))
    start = well_bottom(warm)[None]
    with pytest.raises(InputError, match="warms under a voltage"):
        run(warm, start, duration=1e-10, voltage=1.0)
    with pytest.raises(InputError, match="warms under a voltage"):
        trajectory(warm, start, duration=1e-10, samples=2, voltage=1.0)
    run(warm, start, duration=1e-10)
    # Every term shortens the longest step.
    usual = time_step_limit(replace(GENERATOR, K2=1e-9), 1.0)
    strong = SpinTransfer(field_like=100.0)
    for term in ({"K2": 1e5}, {"line": replace(LINE, theta_SH=50.0)}, {"spin_transfer": strong}):
        assert time_step_limit(replace(GENERATOR, RA=10e-12, **term), 1.0) < usual  # type: ignore[arg-type]


#: Junctions and pulses on which both solvers must agree, with the well that each begins in.
CASES: tuple[tuple[str, Junction, Pulse, str], ...] = (
    ("K2", replace(GENERATOR, K2=1e4), Pulse(voltage=1.3, width=0.3e-9), "up"),
    ("spin transfer", replace(GENERATOR, RA=20e-12, spin_transfer=SpinTransfer(polarity=-1, field_like=0.3)),
     Pulse(voltage=1.2, width=0.3e-9), "down"),
    ("series", replace(GENERATOR, RA=100e-12, R_series=2e4, spin_transfer=SpinTransfer()),
     Pulse(voltage=1.6, width=0.4e-9, rise=0.05e-9), "up"),
    ("line", replace(AXIAL, spin_transfer=None, line=replace(LINE, field_like=0.2), B_bias=(0.02, 0.0, 0.0)),
     Pulse(voltage=-0.3, width=0.8e-9, rise=0.1e-9), "up"),
    ("gated line", replace(GENERATOR, line=replace(LINE, gate=2.0)), Pulse(voltage=0.5, width=0.4e-9), "down"),
    ("ellipse", replace(GENERATOR, diameter=60e-9, diameter_y=45e-9, N=None), Pulse(voltage=1.3, width=0.4e-9), "up"),
    ("in plane", TURNED, Pulse(voltage=0.15, width=1e-9, rise=0.1e-9), "up"),
    ("tilted reference", replace(GENERATOR, reference=(0.3, 0.0, 1.0), RA=20e-12, spin_transfer=SpinTransfer()),
     Pulse(voltage=0.9, width=0.3e-9), "up"),
    ("heating", replace(GENERATOR, RA=20e-12, heating=SelfHeating(thermal_resistance=6e5, tau=0.5e-9)),
     Pulse(voltage=1.0, width=1e-9), "up"),
)  # fmt: skip


@pytest.mark.slow
def test_both_solvers_agree() -> None:
    """They share the junction, its forces and the temperature of a pulse, and nothing else."""
    z = []
    for name, junction, pulse, initial in CASES:
        exact = fokker_planck.switching_probability(junction, pulse, initial=initial, relax=3e-9)
        counted = switching_probability(junction, pulse, initial=initial, relax=3e-9, n_devices=20_000, seed=1)
        assert 0.02 < counted.value < 0.98, name
        assert exact.error < counted.error, name
        z.append((counted.value - exact.value) / math.hypot(counted.error, exact.error))
    # Nine independent counts: a sum of squares above 33.7 comes once in 10,000 times.
    assert sum(value**2 for value in z) < 33.7, z
