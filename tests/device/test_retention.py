"""Flip rates: the three methods against each other and against the exact integral."""

import math
from dataclasses import replace

import numpy as np
import pytest

from voltaspin.core.units import k_B
from voltaspin.device import Junction, presets
from voltaspin.device.retention import depopulation, flip_rate, slow_mode

GENERATOR = presets.generator


def cell(Delta: float, B: tuple[float, float, float], alpha_G: float = 0.02) -> Junction:
    return replace(GENERATOR.with_variation(K_eff_scale=Delta / 40), B_bias=B, alpha_G=alpha_G)


@pytest.mark.parametrize("alpha_G", [0.01, 0.02, 0.1])
@pytest.mark.parametrize("Delta", [32.0, 36.0])
def test_saddle_and_eigenvalue_agree_where_they_overlap(Delta: float, alpha_G: float) -> None:
    junction = cell(Delta, (0.03, 0.0, 0.0), alpha_G)
    assert 18 < junction.barrier() < 25
    assert flip_rate(junction, method="saddle") == pytest.approx(flip_rate(junction, method="eigenvalue"), rel=0.1)


def test_saddle_in_a_tilted_field() -> None:
    junction = cell(33.0, (0.02, 0.02, 0.005))
    for well in ("up", "down"):
        exact = flip_rate(junction, well=well, method="eigenvalue")  # type: ignore[arg-type]
        assert flip_rate(junction, well=well, method="saddle") == pytest.approx(exact, rel=0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize("alpha_G", [0.01, 0.1])
@pytest.mark.parametrize(("B_x", "B_z"), [(0.001, 0.0), (0.0035, 0.0), (0.003, 0.001)])
def test_weak_field_is_extrapolated_as_the_eigenvalue_says(alpha_G: float, B_x: float, B_z: float) -> None:
    # Off by 2 % at most when this was written: what is left of second order in 1 / Delta.
    junction = cell(26.0, (B_x, 0.0, B_z), alpha_G)
    for well in ("up", "down"):
        exact = flip_rate(junction, well=well, method="eigenvalue")  # type: ignore[arg-type]
        assert flip_rate(junction, well=well, method="extrapolated") == pytest.approx(exact, rel=0.05)  # type: ignore[arg-type]
    higher = cell(60.0, (B_x, 0.0, B_z), alpha_G)
    # The flux, which needs no lower barrier, is what is taken there now.
    assert flip_rate(higher) == flip_rate(higher, method="flux")
    assert flip_rate(higher) == pytest.approx(flip_rate(higher, method="extrapolated"), rel=0.1)


def test_extrapolation_meets_the_saddle() -> None:
    for Delta in (32.0, 60.0):
        junction = cell(Delta, (0.0055, 0.0, 0.0))
        assert flip_rate(junction, method="extrapolated") == pytest.approx(
            flip_rate(junction, method="saddle"), rel=0.1
        )


def test_populations_obey_detailed_balance() -> None:
    junction = cell(20.0, (0.02, 0.0, 0.004))
    b = junction.Ms * junction.volume / (k_B * 300)
    z = (np.polynomial.legendre.leggauss(400)[0] + 1) / 2
    w = np.polynomial.legendre.leggauss(400)[1]
    up, down = (
        np.sum(w * np.exp(20 * z * z + s * 0.004 * b * z - 20) * np.i0(0.02 * b * np.sqrt(1 - z * z))) for s in (1, -1)
    )
    assert slow_mode(junction).population_up == pytest.approx(up / (up + down), abs=1e-6)


def test_polarity_of_the_read_decides_the_disturb() -> None:
    slow, rest, fast = (flip_rate(GENERATOR, voltage=v) for v in (-0.1, 0.0, 0.1))
    assert slow < rest < fast
    # 23, 26 and 29 k_B T at +0.1, 0 and -0.1 V.
    assert math.log(fast / rest) == pytest.approx(3, abs=0.5)
    assert math.log(rest / slow) == pytest.approx(3, abs=0.5)


def test_spin_torque_helps_one_well() -> None:
    junction = replace(cell(24.0, (0.02, 0.0, 0.0)), RA=20e-12)
    plain = slow_mode(junction, voltage=0.1)
    pushed = slow_mode(junction, voltage=0.1, spin_torque=True)
    # A positive voltage favours down.
    assert pushed.population_up < plain.population_up
    assert pushed.rate("up") > plain.rate("up")
    assert pushed.rate("down") < plain.rate("down")


def test_depopulation_limits() -> None:
    assert depopulation(1e-4) == pytest.approx(1e-4, rel=0.02)  # A(x) = x - 0.82 x^1.5 ... for small x
    assert depopulation(50.0) == pytest.approx(1, abs=1e-5)


def test_life_of_the_presets() -> None:
    assert 10 < 1 / flip_rate(GENERATOR) < 1000  # about a minute
    assert 1 / flip_rate(presets.storage) > 10 * 365 * 86400


class TestBadInput:
    def test_no_barrier(self) -> None:
        with pytest.raises(ValueError, match="below 1 k_B T there are no two states"):
            flip_rate(GENERATOR, voltage=GENERATOR.V_c)

    def test_eigenvalue_out_of_digits(self) -> None:
        with pytest.raises(ValueError, match="no digits left; use method='saddle'"):
            flip_rate(presets.storage, method="eigenvalue")

    def test_degree(self) -> None:
        with pytest.raises(ValueError, match="degree 20 does not resolve a barrier"):
            slow_mode(cell(36.0, (0.03, 0.0, 0.0)), degree=20)

    def test_methods_that_do_not_apply(self) -> None:
        with pytest.raises(ValueError, match="breaks the axial symmetry"):
            flip_rate(GENERATOR, method="axial")
        with pytest.raises(ValueError, match="too little for a single saddle"):
            flip_rate(cell(30.0, (1e-3, 0.0, 0.0)), method="saddle")
        with pytest.raises(ValueError, match="has no spin torque"):
            flip_rate(GENERATOR, method="saddle", spin_torque=True)
        with pytest.raises(ValueError, match="method 'guess' is unknown"):
            flip_rate(GENERATOR, method="guess")  # type: ignore[arg-type]

    def test_zero_kelvin(self) -> None:
        with pytest.raises(ValueError, match="nothing flips at zero kelvin"):
            flip_rate(replace(GENERATOR, temperature=0.0))
