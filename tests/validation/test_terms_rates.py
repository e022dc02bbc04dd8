"""Barriers and rates of junctions with further terms, against formulas, integrals and a flood of the energy."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad

from voltaspin.core.errors import InputError
from voltaspin.core.units import gamma_e, k_B, mT, nm
from voltaspin.device import Junction, log_flip_rate
from voltaspin.device.drive import diffusion
from voltaspin.device.energy import Energy
from voltaspin.device.low_barrier import relaxation
from voltaspin.device.terms import SpinTransfer
from voltaspin.device.torque import spin_torque_field

sys.path.insert(0, str(Path(__file__).parent))
from terms_cases import IN_PLANE, SMALL, written


@pytest.mark.parametrize(("scale", "K2"), [(0.3, 8e3), (0.3, -8e3), (0.1, 3e4)])
def test_barrier_and_rate_with_K2_against_integrals_over_m_z(scale: float, K2: float) -> None:
    junction = replace(SMALL, K2=K2).with_variation(K_eff_scale=scale / 0.3)
    to_kT = junction.volume / (k_B * 300)
    assert junction.K_eff() > 0
    assert junction.K_eff() + 2 * K2 > 0
    assert junction.barrier() == pytest.approx((junction.K_eff() + K2) * to_kT, rel=1e-9)
    # The mean first passage from a pole to the top, of which half crosses; the slowest mode follows to exp(-barrier).
    E = lambda z: to_kT * (junction.K_eff() * (1 - z * z) + K2 * (1 - z * z) ** 2)  # noqa: E731
    inside = lambda z: quad(lambda y: math.exp(-E(y)), z, 1)[0] * math.exp(E(z)) / (1 - z * z)  # noqa: E731
    time = quad(inside, 0, 1, limit=200)[0] / diffusion(junction)
    rate = math.exp(log_flip_rate(junction).value)
    assert rate == pytest.approx(1 / (2 * time), rel=0.05)  # two definitions: 2 to 5 % apart at such a barrier
    slowest = log_flip_rate(junction, method="eigenvalue").value
    assert log_flip_rate(junction).value == pytest.approx(slowest, abs=1e-3)


def test_a_cone_has_the_barrier_of_its_ring() -> None:
    junction = replace(SMALL, K2=4e4).with_variation(K_eff_scale=-1.0)
    K, K2 = junction.K_eff(), junction.K2
    assert K < 0 < K + 2 * K2
    height = (K + 2 * K2) ** 2 / (4 * K2) * junction.volume / (k_B * 300)
    assert junction.barrier() == pytest.approx(height, rel=1e-9)
    bottom = Energy.of(junction).bottoms()
    assert bottom is not None
    assert bottom[0] == pytest.approx(math.sqrt(1 + K / (2 * K2)), rel=1e-9)


@pytest.mark.parametrize("alpha_G", [0.01, 0.05, 0.3])
def test_biaxial_rate_of_an_in_plane_bit(alpha_G: float) -> None:
    junction = replace(IN_PLANE, alpha_G=alpha_G)
    to_kT = junction.volume / (k_B * 300)
    assert junction.barrier() == pytest.approx(junction.K_shape * to_kT, rel=1e-9)
    exact = log_flip_rate(junction, method="eigenvalue")
    saddle = log_flip_rate(junction, method="saddle")
    assert saddle.low <= exact.high
    assert exact.low <= saddle.high
    # Langer's formula for a strong damping by hand: two saddles at +-y, wells at +-x; in units of k_B T
    # E = D_y y^2 + D_z z^2 has (2 D_y, 2 D_z) in a well and (-2 D_y, 2 (D_z - D_y)) at a saddle.
    D_y, D_z = junction.K_shape * to_kT, -junction.Delta()
    c1, c2 = -2 * D_y, 2 * (D_z - D_y)
    growth = 0.5 * (-alpha_G * (c1 + c2) + math.sqrt((alpha_G * (c1 - c2)) ** 2 - 4 * c1 * c2))
    rate = gamma_e / (1 + alpha_G**2) / (junction.Ms * to_kT) * growth / (2 * math.pi)
    hand = 2 * rate * math.sqrt(4 * D_y * D_z / (-c1 * c2)) * math.exp(-D_y)
    if alpha_G == 0.3:  # there the factor for a low damping is 1
        assert math.exp(exact.value) == pytest.approx(hand, rel=1 / D_y)
        assert math.exp(saddle.value) == pytest.approx(hand, rel=0.02)


def test_the_axial_law_is_a_hundred_times_too_slow_for_an_in_plane_bit() -> None:
    # A film without perpendicular anisotropy: its demagnetisation turns the bit, which the axial law of that barrier
    # (Neel and Brown) does not know. By hand the two differ by sqrt(D_z / pi) / (alpha D_y) at a vanishing loss.
    film = replace(IN_PLANE, K_i=0.0, alpha_G=0.01)
    to_kT = film.volume / (k_B * 300)
    D_y, D_z, alpha_G = film.K_shape * to_kT, -film.Delta(), film.alpha_G
    axial = 2 * alpha_G * gamma_e / (1 + alpha_G**2) * D_y / (film.Ms * to_kT) * math.sqrt(D_y / math.pi)
    ratio = math.exp(log_flip_rate(film).value + D_y) / axial
    assert ratio > 100
    assert ratio == pytest.approx(math.sqrt(D_z / math.pi) / (alpha_G * D_y), rel=0.5)
    # Where the eigenvalue can be had it is many times faster too.
    small = replace(IN_PLANE, alpha_G=0.01)
    axial *= math.exp(-D_y)
    assert log_flip_rate(small, method="eigenvalue").value > math.log(10 * axial)


def test_the_saddles_follow_the_eigenvalue_up_to_twenty() -> None:
    for diameter_y, barrier in ((74.0, 15.0), (66.0, 19.0)):
        junction = replace(IN_PLANE, diameter=100 * nm, diameter_y=diameter_y * nm, N=None, K_i=6.1e-4)
        scale = barrier / junction.barrier()
        junction = replace(junction, temperature=300 / scale)
        assert junction.barrier() == pytest.approx(barrier, rel=1e-6)
        exact, saddle = (log_flip_rate(junction, method=m) for m in ("eigenvalue", "saddle"))
        assert saddle.low <= exact.high
        assert exact.low <= saddle.high


def test_an_axial_torque_rests_where_its_field_over_the_damping_would() -> None:
    junction = written(spin_transfer=SpinTransfer())
    V = 0.02
    a_J = spin_torque_field(junction, V)
    field = replace(SMALL, RA=5e-12, xi=0.0, K2=1e-9, B_bias=(0.0, 0.0, a_J / junction.alpha_G))
    with_torque, with_field = relaxation(junction, voltage=V), relaxation(field)
    assert with_torque.cosine.value == pytest.approx(with_field.cosine.value, abs=1e-8)
    assert with_torque.up.value < 0.4  # a positive voltage favours antiparallel
    assert log_flip_rate(junction, voltage=V).value == pytest.approx(log_flip_rate(field).value, abs=1e-6)
    assert junction.barrier(V) == pytest.approx(field.barrier(), rel=1e-9)


def test_the_threshold_of_spin_transfer() -> None:
    # Without a barrier left: |a_J| = alpha (B_k + B_z), where the torque out of the well up cancels the damping.
    junction = written(spin_transfer=SpinTransfer(), B_bias=(0.0, 0.0, 5 * mT))
    per_volt = abs(spin_torque_field(junction, 1.0))
    threshold = junction.alpha_G * (junction.B_k() + 5 * mT) / per_volt
    assert junction.barrier(0.98 * threshold, well="up") > 0
    assert junction.barrier(1.02 * threshold, well="up") == 0


@pytest.mark.parametrize("seed", range(8))
def test_the_lowest_pass_is_where_a_flood_joins_both_sides(seed: int) -> None:
    # Independent of slopes: the cells of a grid are flooded from the lowest on, and the deepest hollows of both sides
    # (cells that are lower than their neighbours) meet at the level of the lowest pass.
    rng = np.random.default_rng(seed)
    Delta, k2 = rng.normal(size=2) * (20, 8)
    across, along = rng.normal(size=2) * 6, float(rng.normal() * 6)
    shape, reference = abs(float(rng.normal())) * 15, rng.normal(size=3)
    reference /= np.linalg.norm(reference)
    energy = Energy(
        np.array([along, 2 * Delta + 4 * k2, 0.0, -4 * k2]), (float(across[0]), float(across[1])), shape,
        (float(reference[0]), float(reference[1]), float(reference[2])),
    )  # fmt: skip
    rows, columns = 240, 480
    theta = (np.arange(rows) + 0.5) / rows * math.pi
    phi = np.arange(columns) / columns * 2 * math.pi
    s = np.sin(theta)[:, None]
    m = np.stack([s * np.cos(phi), s * np.sin(phi), np.broadcast_to(np.cos(theta)[:, None], (rows, columns))], axis=-1)
    E = energy(m).ravel()
    up = (m @ reference).ravel() > 0
    grid = E.reshape(rows, columns)
    across_pole = [np.roll(grid[k], columns // 2) for k in (0, -1)]
    tall = np.vstack([across_pole[0], grid, across_pole[1]])
    sides = [np.roll(tall, shift, axis=1)[1 + step : rows + 1 + step] for shift in (-1, 0, 1) for step in (-1, 0, 1)]
    hollow = (grid <= np.min(sides, axis=0)).ravel()
    some = [np.flatnonzero(side & hollow) for side in (up, ~up)]
    found = energy.heights()
    if min(map(len, some)) == 0:
        assert found is None
        return
    lowest = [int(k[np.argmin(E[k])]) for k in some]
    parent = np.full(len(E), -1)

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = parent[parent[k]]
            k = int(parent[k])
        return k

    level = math.nan
    for k in map(int, np.argsort(E)):
        parent[k] = k
        row, column = divmod(k, columns)
        near = [row * columns + (column + 1) % columns, row * columns + (column - 1) % columns]
        near += [k + step for step in (-columns, columns) if 0 <= k + step < len(E)]
        near += [row * columns + (column + columns // 2) % columns] if row in (0, rows - 1) else []
        for other in near:
            if parent[other] >= 0:
                parent[root(other)] = root(k)
        if parent[lowest[0]] >= 0 and parent[lowest[1]] >= 0 and root(lowest[0]) == root(lowest[1]):
            level = float(E[k])
            break
    # The steps of the grid, 0.013, miss a station by at most half of that, squared, times the energy's curvature.
    error = 0.013**2 * 4 * energy.stiffness
    assert found is not None
    for well, bottom in zip(("up", "down"), lowest, strict=True):
        assert found[well] == pytest.approx(level - E[bottom], abs=error)


def test_a_rate_counts_wells_and_not_sides_where_the_plane_cuts_through_one() -> None:
    # The same layer read by another reference layer has the same flips, as long as it tells the two wells apart.
    cell = replace(SMALL, K2=1e3, B_bias=(20 * mT, 0.0, 2 * mT)).with_variation(K_eff_scale=0.8)
    slanted = replace(cell, reference=(0.5, 0.0, 0.5))
    minima = [s.m @ np.array(slanted.reference) for s in Energy.of(slanted).stations if s.kind == 0]
    assert sorted(np.sign(minima)) == [-1, 1]
    for well in ("up", "down"):
        one, other = (log_flip_rate(j, well=well).value for j in (cell, slanted))
        assert one == pytest.approx(other, abs=5e-3)
    spilled = Energy.of(slanted).log_populations
    assert abs(spilled["down"][0] - spilled["down"][1]) > 0.02  # the side would have given another number


@pytest.mark.parametrize("temperature", [20.0, 77.0, 150.0, 420.0])
@pytest.mark.parametrize("Delta", [12.0, 18.0, 35.0, 75.0])
def test_an_axial_rate_with_a_term_that_does_nothing_is_the_plain_one(Delta: float, temperature: float) -> None:
    # Steep energies in a field along z: panels of fixed width lost the digits of the integral over m_z; ln(rate) was
    # off by up to 100, with bounds of 1e-8. The plain rate has its integrals in closed form.
    compared = 0
    for B_z in (-0.058, -0.045, -0.03, -0.012, 0.004, 0.021, 0.037, 0.052):
        for voltage, torque in ((0.0, False), (-0.01, False), (0.003, True)):
            cell = Junction.from_stability(
                Delta=Delta, diameter=50e-9, t_F=1.1e-9, Ms=1e6, t_ox=1.4e-9, alpha_G=0.02, xi=1e-13, RA=5e-12,
                B_bias=(0.0, 0.0, B_z),
            )  # fmt: skip
            cell = replace(cell, temperature=temperature)
            for well in ("up", "down"):
                ask = {"voltage": voltage, "well": well, "spin_torque": torque}
                try:
                    plain = log_flip_rate(cell, **ask)  # type: ignore[arg-type]
                    found = log_flip_rate(replace(cell, K2=1e-6), **ask)  # type: ignore[arg-type]
                except InputError:  # no such well, or a barrier above 600 k_B T
                    continue
                assert found.value == pytest.approx(plain.value, abs=1e-6)
                compared += 1
    assert compared >= 10 or Delta * 300 / temperature > 500
