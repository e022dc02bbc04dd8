import math
import subprocess
import sys
from dataclasses import replace

import numba
import numpy as np
import pytest
from scipy import stats

from voltaspin.core.errors import InputError
from voltaspin.core.units import gamma_e, k_B
from voltaspin.device import Pulse, presets
from voltaspin.device.density import boltzmann_exponents, well_density
from voltaspin.device.equilibrium import equilibrium, well_bottom
from voltaspin.device.kernel import LANES
from voltaspin.device.llg import (
    binomial_error,
    run,
    spin_torque_field,
    switching_curve,
    switching_probability,
    thermal_field_std,
    time_step_limit,
    trajectory,
)
from voltaspin.device.sphere import latitude
from voltaspin.random.normal import _log, gaussian_pair
from voltaspin.random.streams import Stream

GENERATOR = presets.generator


def start(n: int) -> np.ndarray:
    return np.tile(well_bottom(GENERATOR), (n, 1))


def test_same_bits_for_any_threads_and_parts() -> None:
    n = 3 * LANES + 17
    whole = run(GENERATOR, start(n), duration=50e-12, seed=1, threads=1)
    for threads in (2, 3, 7):
        np.testing.assert_array_equal(run(GENERATOR, start(n), duration=50e-12, seed=1, threads=threads), whole)
    parts = [
        run(GENERATOR, start(n)[a:b], duration=50e-12, seed=1, devices=np.arange(a, b))
        for a, b in ((0, 5), (5, 200), (200, n))
    ]
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_a_run_continues_in_two_pieces() -> None:
    whole = run(GENERATOR, start(40), duration=64e-12, dt=1e-12, seed=2)
    half = run(GENERATOR, start(40), duration=32e-12, dt=1e-12, seed=2)
    np.testing.assert_array_equal(run(GENERATOR, half, duration=32e-12, dt=1e-12, seed=2, first_step=32), whole)
    _, path = trajectory(GENERATOR, start(40), duration=64e-12, samples=4, dt=1e-12, seed=2)
    np.testing.assert_array_equal(path[-1], whole)


def test_seeds_ensembles_and_devices_do_not_share_numbers() -> None:
    runs = [
        run(junction, start(2000), duration=200e-12, seed=seed, ensemble=ensemble)[:, 1]
        for junction, seed, ensemble in (
            (GENERATOR, 1, 0), (GENERATOR, 2, 0), (GENERATOR, 1, 1), (replace(GENERATOR, name="twin"), 1, 0),
        )
    ]  # fmt: skip
    again = run(GENERATOR, start(2000), duration=200e-12, seed=1)[:, 1]
    np.testing.assert_array_equal(again, runs[0])
    # Independent samples: each of the six correlations has a standard deviation of 1/sqrt(n).
    off = np.corrcoef(runs)[np.triu_indices(4, 1)]
    assert np.abs(off).max() < 4 / math.sqrt(2000)
    assert abs(np.corrcoef(runs[0][:-1], runs[0][1:])[0, 1]) < 4 / math.sqrt(2000)


@numba.njit(error_model="numpy")  # type: ignore[untyped-decorator]
def _evaluate(u, words, log, pairs):  # type: ignore[no-untyped-def]
    for i in range(u.shape[0]):
        log[i] = _log(u[i])
        pairs[i, 0], pairs[i, 1] = gaussian_pair(words[i, 0], words[i, 1])


def test_gaussians_are_exact_to_float32() -> None:
    n = 200_000
    u = np.concatenate([np.linspace(2**-33, 1, n // 2), 2.0 ** -np.linspace(0, 33, n // 2)]).astype(np.float32)
    words = Stream.of(1, "test").words(2 * n).reshape(n, 2)
    words[:4] = [[0, 0], [0, 2**31], [2**32 - 1, 2**31 - 1], [2**31, 2**32 - 1]]
    log, pairs = np.empty(n, np.float32), np.empty((n, 2), np.float32)
    _evaluate(u, words, log, pairs)
    np.testing.assert_allclose(log, np.log(u.astype(float)), rtol=4e-7, atol=1e-9)
    assert not np.isnan(np.sqrt(-2 * log)).any()  # a logarithm above zero would break the Gaussians

    # The definition in float64: an angle of +-45 degrees, mirrored at the diagonal by bit 1, negated by bit 0.
    radius = np.sqrt(-2 * np.log((words[:, 0].astype(float) + 0.5) * 2.0**-32))
    point = radius * np.exp(1j * np.pi * words[:, 1].astype(np.int32) * 2.0**-33)
    point = np.where(words[:, 1] & 2, point.imag + 1j * point.real, point) * np.where(words[:, 1] & 1, -1, 1)
    # Near u = 1 the float32 logarithm of 1 - 2^-25 and of 1 differ by more than they are: an absolute error of the
    # radius of sqrt(2 * 2^-24) there, 2e-6 elsewhere.
    np.testing.assert_allclose(pairs, np.stack([point.real, point.imag], 1), atol=5e-4)
    inner = radius > 0.05
    np.testing.assert_allclose(pairs[inner], np.stack([point.real, point.imag], 1)[inner], atol=4e-6)

    # All directions alike: 16 sectors of the circle, and no correlation of the two.
    sectors = np.histogram(np.arctan2(pairs[4:, 1], pairs[4:, 0]), 16, (-np.pi, np.pi))[0]
    assert stats.chisquare(sectors).pvalue > 1e-4
    assert stats.kstest(pairs[4:].ravel(), "norm").pvalue > 1e-4
    assert abs(np.corrcoef(pairs[4:].T)[0, 1]) < 4 / math.sqrt(n)


def test_one_step_carries_exact_gaussians() -> None:
    # Free spin along z, weak damping, one step: dm = -gamma' dt m x B_th to first order,
    # so x and y show two of the kernel's Gaussians, and a spin along x the third.
    free = replace(GENERATOR, alpha_G=1e-4, B_bias=(0.0, 0.0, 0.0)).with_variation(K_eff_scale=0.0)
    n, dt = 200_000, 1e-12
    sigma = thermal_field_std(alpha_G=1e-4, Ms=free.Ms, volume=free.volume, temperature=300.0, dt=dt)
    kick = gamma_e * sigma * dt
    along_z = run(free, np.tile([0.0, 0.0, 1.0], (n, 1)), duration=dt, dt=dt, seed=3).astype(float) / kick
    along_x = run(free, np.tile([1.0, 0.0, 0.0], (n, 1)), duration=dt, dt=dt, seed=3).astype(float) / kick
    # float32 rounding near m = 0 is nothing; the kick is 4e-4, so second order is 2e-4 of a sigma.
    g_y, g_x, g_z = along_z[:, 0], -along_z[:, 1], -along_x[:, 1]
    for g in (g_x, g_y, g_z):
        assert abs(g.mean()) < 4 / math.sqrt(n)
        assert g.var() == pytest.approx(1, abs=4 * math.sqrt(2 / n))
        assert stats.kstest(g, "norm").pvalue > 1e-4
        assert abs(np.mean(np.abs(g) > 4) - 2 * stats.norm.sf(4)) < 4 * math.sqrt(6.3e-5 / n) + 1e-6
    assert np.abs(np.corrcoef([g_x, g_y, g_z])[np.triu_indices(3, 1)]).max() < 4 / math.sqrt(n)


def test_thermal_field_formula_and_refusals() -> None:
    std = thermal_field_std(alpha_G=0.02, Ms=1e6, volume=2.16e-24, temperature=300.0, dt=1e-12)
    assert std**2 == pytest.approx(2 * 0.02 * k_B * 300 / (gamma_e * 1e6 * 2.16e-24 * 1e-12))
    assert std == pytest.approx(0.0209, rel=1e-2)
    with pytest.raises(InputError, match=r"dt = 0.0 s"):
        thermal_field_std(alpha_G=0.02, Ms=1e6, volume=2.16e-24, temperature=300.0, dt=0.0)


def test_time_step_limit_keeps_the_quoted_bias() -> None:
    limit = time_step_limit(GENERATOR, GENERATOR.V_c, scheme="heun")
    omega = gamma_e * GENERATOR.B_k()
    assert (omega * limit) ** 3 / (8 * 0.02) == pytest.approx(0.01)
    assert 3.5e-12 < limit < 4.5e-12
    with pytest.raises(InputError, match=r"dt = 1e-11 s is above 4.33e-12 s.*shorter dt"):
        run(GENERATOR, start(1), duration=1e-9, dt=10e-12, scheme="heun")
    assert time_step_limit(GENERATOR, -2.0, scheme="heun") < limit  # a negative voltage stiffens the well
    assert (omega * time_step_limit(GENERATOR, GENERATOR.V_c)) ** 2 / 12 == pytest.approx(0.01)
    with pytest.raises(InputError, match=r"dt = 1.5e-11 s is above 1.28e-11 s.*rotation scheme"):
        run(GENERATOR, start(1), duration=1e-9, dt=15e-12)


def test_fluctuation_at_the_longest_step_has_the_quoted_bias() -> None:
    # 3 ns in the well at the limit: the relative excess of <1 - m_z^2> stays below 1 %, and at the default step
    # below 0.1 %, beside the standard error of the sample.
    n = 40_000
    density = well_density(boltzmann_exponents(GENERATOR), degree=60, well="up").reshape(-1, 61)[0]
    z, weight = np.polynomial.legendre.leggauss(200)
    along = weight * (density @ latitude(60, z)[0])
    exact = np.sum(along * (1 - z**2)) / np.sum(along)
    begin = equilibrium(GENERATOR, n, seed=12)
    for dt, bias in ((time_step_limit(GENERATOR), 0.01), (None, 0.001)):
        end = run(GENERATOR, begin, duration=3e-9, dt=dt, seed=12)[:, 2].astype(float)
        excess = (1 - end[end > 0] ** 2) / exact
        assert abs(excess.mean() - 1) < bias + 4 * excess.std() / math.sqrt(n)


def test_a_cold_junction_without_a_field_stays() -> None:
    cold = replace(GENERATOR, temperature=0.0, B_bias=(0.0, 0.0, 0.0)).with_variation(K_eff_scale=0.0)
    np.testing.assert_array_equal(run(cold, start(2), duration=1e-9), start(2).astype(np.float32))


def test_vectors_stay_unit_and_the_start_is_untouched() -> None:
    m = start(300).astype(np.float32)
    kept = m.copy()
    end = run(GENERATOR, m, duration=0.5e-9, seed=4)
    np.testing.assert_array_equal(m, kept)
    np.testing.assert_allclose(np.linalg.norm(end, axis=1), 1, atol=3e-7)


@pytest.mark.parametrize("bad", [[[0.0, 0.0, 2.0]], [[0.0, 1.0]], [[np.nan, 0.0, 1.0]]])
def test_run_refuses_bad_vectors(bad: list[list[float]]) -> None:
    with pytest.raises(InputError, match="m "):
        run(GENERATOR, bad, duration=1e-12)


@pytest.mark.parametrize(
    "options",
    [{"duration": -1e-9}, {"duration": 1e-12, "threads": 0}, {"duration": 1e-12, "voltage": math.inf}],
)
def test_run_refuses_bad_options(options: dict[str, float]) -> None:
    with pytest.raises(InputError):
        run(GENERATOR, start(1), **options)  # type: ignore[arg-type]


def test_no_time_changes_nothing() -> None:
    np.testing.assert_array_equal(run(GENERATOR, start(3), duration=0.0), start(3).astype(np.float32))


def test_a_ramp_is_the_mean_of_its_steps() -> None:
    # T = 0 and m along x: the torque on m_z is odd in B_k, so a symmetric ramp around V_c cancels at the end.
    cold = replace(GENERATOR, temperature=0.0, alpha_G=1e-4, B_bias=(0.0, 0.0, 0.0))
    m = np.array([[math.sin(1.0), 0.0, math.cos(1.0)]])
    V_c = cold.V_c
    half = run(cold, m, duration=0.1e-9, dt=0.1e-12, voltage=(0.0, V_c))
    back = run(cold, half, duration=0.1e-9, dt=0.1e-12, voltage=(V_c, 2 * V_c))
    turned = gamma_e * cold.B_k() * math.cos(1.0) * 0.05e-9  # mean field of the ramp
    assert math.atan2(half[0, 1], half[0, 0]) == pytest.approx(turned, rel=1e-3)
    assert math.atan2(back[0, 1], back[0, 0]) == pytest.approx(0.0, abs=1e-3)


def test_rise_and_fall_reach_the_pulse() -> None:
    # Against the same ramps cut into forty constant voltages by hand, with noise of its own.
    n, V = 2000, GENERATOR.V_c
    slow = Pulse(voltage=V, width=0.4e-9, rise=0.4e-9, fall=0.4e-9)
    built_in = switching_probability(GENERATOR, slow, n_devices=n, dt=2e-12, relax=4e-9, seed=5)
    m = equilibrium(GENERATOR, n, seed=6)
    for k in range(80):
        time = (k + 0.5) / 80 * slow.duration
        m = run(
            GENERATOR, m, duration=slow.duration / 80, voltage=float(slow.voltage_at(time)), dt=2e-12, seed=6,
            ensemble=f"piece {k}",
        )  # fmt: skip
    by_hand = float(np.mean(run(GENERATOR, m, duration=4e-9, dt=2e-12, seed=6)[:, 2] < 0))
    assert built_in.value == pytest.approx(by_hand, abs=4 * math.sqrt(2) * built_in.error)
    sharp = Pulse(voltage=V, width=0.4e-9)
    plain = switching_probability(GENERATOR, sharp, n_devices=n, dt=2e-12, relax=4e-9, seed=5)
    assert built_in.value - plain.value > 4 * math.hypot(built_in.error, plain.error)
    assert (built_in.n, plain.n) == (n, n)


def test_the_error_of_a_certain_outcome_is_not_zero() -> None:
    assert binomial_error(np.array([0.0, 1.0]), 100) == pytest.approx(math.sqrt(0.5 / 101 * 100.5 / 101 / 100))
    assert binomial_error(np.array(0.5), 10_000) == pytest.approx(0.005)


def test_curve_agrees_with_separate_pulses() -> None:
    widths = [0.3e-9, 0.4e-9]
    n = 2000
    seen: list[tuple[int, int]] = []
    curve, error = switching_curve(
        GENERATOR, voltage=GENERATOR.V_c, widths=widths, initial="down", n_devices=n, relax=4e-9, dt=2e-12,
        seed=6, progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(1, 2), (2, 2)]
    for k, width in enumerate(widths):
        alone = switching_probability(
            GENERATOR, Pulse(voltage=GENERATOR.V_c, width=width), n_devices=n, relax=4e-9, dt=2e-12, seed=7
        )
        assert abs(alone.value - curve[k]) < 4 * math.hypot(alone.error, error[k])
    with pytest.raises(InputError, match="ascend"):
        switching_curve(GENERATOR, voltage=1.0, widths=[2e-10, 1e-10])
    with pytest.raises(InputError, match="n_devices"):
        switching_curve(GENERATOR, voltage=1.0, widths=[2e-10], n_devices=0)
    with pytest.raises(InputError, match="'up'"):
        switching_curve(GENERATOR, voltage=1.0, widths=[2e-10], n_devices=10, initial="left")  # type: ignore[arg-type]


def test_spin_torque_breaks_the_symmetry_the_way_it_says() -> None:
    # 1.2 V over 1000 ohm um^2 is about 0.2 mT; at RA 100 ten times that, favouring down for V > 0.
    assert -0.3e-3 < spin_torque_field(GENERATOR, 1.2) < 0.3e-3
    thin = replace(GENERATOR, RA=100e-12)
    pulse = Pulse(voltage=thin.V_c, width=0.4e-9)
    p01, p10 = (
        switching_probability(thin, pulse, initial=well, n_devices=3000, dt=2e-12, relax=4e-9, seed=8, spin_torque=True)
        for well in ("up", "down")
    )
    assert p01.value - p10.value > 4 * math.hypot(p01.error, p10.error)


def test_spin_torque_alone_turns_m_towards_its_stable_pole() -> None:
    # T = 0, no field: dm_z/dt = gamma' a_J (1 - m_z^2), a tanh law.
    free = replace(GENERATOR, temperature=0.0, B_bias=(0.0, 0.0, 0.0), RA=10e-12)
    free = free.with_variation(K_eff_scale=0.0)
    free = replace(free, xi=0.0)
    a_J = spin_torque_field(free, 1.0)
    end = run(free, [[1.0, 0.0, 0.0]], duration=0.3e-9, dt=0.5e-12, voltage=1.0, spin_torque=True)
    gamma = gamma_e / (1 + free.alpha_G**2)
    assert end[0, 2] == pytest.approx(math.tanh(gamma * a_J * 0.3e-9), abs=1e-4)
    assert end[0, 2] < 0


def test_equilibrium_is_reproducible_and_frozen_at_zero_kelvin() -> None:
    np.testing.assert_array_equal(equilibrium(GENERATOR, 50, seed=1), equilibrium(GENERATOR, 80, seed=1)[:50])
    assert (equilibrium(GENERATOR, 50, seed=1) != equilibrium(GENERATOR, 50, seed=2)).any()
    cold = replace(GENERATOR, temperature=0.0)
    h = 0.03 / GENERATOR.B_k()
    np.testing.assert_allclose(equilibrium(cold, 2, well="down")[1], [h, 0, -math.sqrt(1 - h * h)], atol=1e-4)
    with pytest.raises(InputError, match="n = -1"):
        equilibrium(GENERATOR, -1)


def test_importing_the_package_is_cheap() -> None:
    code = "import sys, voltaspin.device as d; d.Junction; print('torch' in sys.modules, 'numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("scheme", ["heun", "rotation"])
def test_fast_kernel_follows_the_oracle(scheme: str) -> None:
    # The same words, the same Gaussians to rounding, the same steps: float32 against float64 over 100 steps with
    # every term switched on. Rounding of 6e-8 per operation grows at most linearly with the steps here.
    rng = np.random.default_rng(0)
    n = LANES + 9
    own = {
        "K_eff_scale": rng.uniform(0.9, 1.1, n), "xi_scale": rng.uniform(0.9, 1.1, n),
        "diameter_scale": rng.uniform(0.95, 1.05, n), "RA_scale": rng.uniform(0.8, 1.2, n),
        "B_z": rng.uniform(-5e-3, 5e-3, n),
    }  # fmt: skip
    junction = replace(GENERATOR, B_bias=(0.03, -0.01, 0.004), RA=50e-12)
    options = {
        "duration": 100e-12, "voltage": (0.3, 1.4), "seed": 3, "cells": own, "spin_torque": True, "scheme": scheme,
        "first_step": 2,
    }  # fmt: skip
    fast = run(junction, start(n), **options)  # type: ignore[arg-type]
    slow = run(junction, start(n), dtype=np.float64, **options)  # type: ignore[arg-type]
    assert fast.dtype == np.float32
    assert slow.dtype == np.float64
    np.testing.assert_allclose(fast, slow, atol=100 * 4 * 6e-8)
    np.testing.assert_allclose(np.linalg.norm(fast, axis=1), 1, atol=1e-6)


def test_own_values_are_those_of_a_varied_junction() -> None:
    # Without heat a device with its own values moves as the junction that has them.
    cold = replace(GENERATOR, temperature=0.0)
    own = {"K_eff_scale": 0.93, "B_z": -3e-3, "xi_scale": 1.05, "diameter_scale": 1.04, "RA_scale": 0.9}
    options = {"duration": 300e-12, "voltage": 1.3, "spin_torque": True, "dtype": np.float64}
    varied = run(cold.with_variation(**own), start(1), **options)  # type: ignore[arg-type]
    np.testing.assert_allclose(run(cold, start(1), cells=own, **options), varied, atol=1e-12)  # type: ignore[arg-type]


def test_both_schemes_tend_to_the_same_paths() -> None:
    # The same noise at the same step: schemes differ by their own error only, and that shrinks with the step.
    cold = replace(GENERATOR, temperature=0.0)
    apart = []
    for dt in (2e-12, 1e-12):
        ends = [
            run(cold, start(1), duration=200e-12, voltage=1.2, dt=dt, scheme=scheme, dtype=np.float64)
            for scheme in ("heun", "rotation")
        ]
        apart.append(float(np.abs(ends[0] - ends[1]).max()))
    assert apart[0] < 1e-3
    assert 3 < apart[0] / apart[1] < 5  # second order


def test_shaped_pulses_agree_with_fokker_planck() -> None:
    from voltaspin.device import fokker_planck

    small = GENERATOR.with_variation(K_eff_scale=0.4)
    n = 20_000
    for pulse in (
        Pulse(voltage=1.2 * small.V_c, width=0.3e-9, tau=0.04e-9),
        Pulse(voltage=1.2 * small.V_c, width=0.5e-9, jitter=0.05e-9),
        Pulse(voltage=1.2 * small.V_c, width=0.4e-9, rise=0.1e-9, fall=0.2e-9),
    ):
        counted = switching_probability(small, pulse, n_devices=n, relax=1e-9, dt=1e-12, seed=5)
        exact = fokker_planck.switching_probability(small, pulse, relax=1e-9)
        assert counted.value == pytest.approx(exact.value, abs=4 * counted.error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scheme": "euler"}, "scheme 'euler' is unknown; use 'heun' or 'rotation'"),
        ({"dtype": np.float16}, "use float32, or float64"),
        ({"cells": {"colour": 1.0}}, "'colour' is no quantity of a cell; known: K_eff_scale"),
        ({"cells": {"K_eff_scale": -1.0}}, "a factor that is not positive"),
        ({"cells": {"B_z": np.zeros(3)}}, "2 devices need as many values"),
        ({"devices": [1, 2, 3]}, "2 devices need as many numbers"),
    ],
)
def test_new_options_refuse_nonsense(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(GENERATOR, start(2), duration=1e-12, **options)  # type: ignore[arg-type]
