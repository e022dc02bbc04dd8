"""Two independent solutions of one equation: LLG ensembles and the Fokker-Planck density, judged jointly."""

from dataclasses import replace
from itertools import product

import pytest
from scipy import stats

from voltaspin.device import Junction, Pulse, fokker_planck, llg, presets

GENERATOR = presets.generator
RELAX = 5e-9
FIELDS = ((0.03, 0.0, 0.0), (0.022, 0.008, 0.003))


def points() -> list[tuple[Junction, Pulse, bool]]:
    """24: two voltages, two widths, two dampings, and field, torque and RA three ways."""
    ways = ((FIELDS[0], False, 1000e-12), (FIELDS[1], True, 1000e-12), (FIELDS[0], True, 50e-12))
    return [
        (
            replace(GENERATOR, alpha_G=alpha_G, B_bias=B, RA=RA),
            Pulse(voltage=share * GENERATOR.V_c, width=width),
            torque,
        )
        for share, width, alpha_G, (B, torque, RA) in product((1.0, 1.25), (0.2e-9, 0.42e-9), (0.02, 0.06), ways)
    ]


@pytest.mark.slow
def test_probabilities_agree_on_24_points() -> None:
    n, chi2, dof = 10_000, 0.0, 0
    for k, (junction, pulse, torque) in enumerate(points()):
        exact = fokker_planck.switching_probability(junction, pulse, relax=RELAX, spin_torque=torque)
        counted = llg.switching_probability(
            junction, pulse, relax=RELAX, spin_torque=torque, n_devices=n, dt=1e-12, seed=100 + k
        )
        variance = exact.value * exact.WER / n
        assert variance * n * n > 25  # else a count is no Gaussian
        chi2 += (counted.value - exact.value) ** 2 / variance
        dof += 1
    assert dof == 24
    # Heun's bias at 1 ps is 1e-4 of the in-well spread: nothing beside 1 / sqrt(n).
    assert 1e-3 < stats.chi2.sf(chi2, dof) < 1 - 1e-3


@pytest.mark.slow
def test_the_rotation_scheme_agrees_at_its_longer_step() -> None:
    n, chi2 = 20_000, 0.0
    some = points()[::4]
    for k, (junction, pulse, torque) in enumerate(some):
        exact = fokker_planck.switching_probability(junction, pulse, relax=RELAX, spin_torque=torque)
        dt = llg.time_step_limit(junction, pulse.voltage, scheme="rotation", tolerance=0.003)
        counted = llg.switching_probability(
            junction, pulse, relax=RELAX, spin_torque=torque, n_devices=n, dt=dt, seed=200 + k, scheme="rotation"
        )
        chi2 += (counted.value - exact.value) ** 2 / (exact.value * exact.WER / n)
    assert stats.chi2.sf(chi2, len(some)) > 1e-3


@pytest.mark.slow
def test_spread_of_cells_averages_to_the_mean_of_its_cells() -> None:
    # Half the devices 8 % stiffer and tilted: the share that flips is the mean of two exact probabilities.
    import numpy as np

    n, pulse = 20_000, Pulse(voltage=1.25 * GENERATOR.V_c, width=0.25e-9)
    own = {"K_eff_scale": np.repeat([1.0, 1.08], n // 2), "B_z": np.repeat([0.0, 4e-3], n // 2)}
    counted = llg.switching_probability(GENERATOR, pulse, relax=RELAX, n_devices=n, dt=2e-12, seed=9, cells=own)
    exact = [
        fokker_planck.switching_probability(GENERATOR.with_variation(K_eff_scale=s, B_z=b), pulse, relax=RELAX).value
        for s, b in ((1.0, 0.0), (1.08, 4e-3))
    ]
    # All start in the nominal equilibrium: 8 % of its width matters less than the counting error here.
    assert counted.value == pytest.approx(sum(exact) / 2, abs=4 * counted.error)
