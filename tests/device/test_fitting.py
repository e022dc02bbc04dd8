"""Round trips: what the package simulates with noise, the fits find again within their errors."""

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.special import xlogy

from voltaspin.core.errors import InputError
from voltaspin.device import Pulse, presets
from voltaspin.device.fit import predictions as module
from voltaspin.device.fit.data import (
    ResistanceData,
    ResistanceSpread,
    SwitchingData,
    SwitchingFieldData,
    TMRData,
)
from voltaspin.device.fit.field import fit_switching_fields, fit_xi, log_escape_rates, switched
from voltaspin.device.fit.likelihood import FitResult, climb, inverse_information, uniformity
from voltaspin.device.fit.measured_pulse import switching_model_from_measurements
from voltaspin.device.fit.predictions import predict, predictions
from voltaspin.device.fit.resistance import fit_resistance, fit_spread, fit_TMR, resistance
from voltaspin.device.fit.switching import expected_seconds, fit_switching
from voltaspin.device.fokker_planck import switching_map, switching_probability
from voltaspin.device.junction import Junction
from voltaspin.device.retention import flip_rate
from voltaspin.device.sensitivity import sensitivities

GENERATOR = presets.generator
UPRIGHT = replace(GENERATOR, B_bias=(0.0, 0.0, 4e-3))
#: A low barrier, so that a few harmonics resolve it.
CELL = replace(GENERATOR.with_variation(K_eff_scale=0.2), B_bias=(0.02, 0.0, 1e-3))
OPTIONS: dict[str, Any] = {"degree": 24, "threads": 1}


def close(fit: FitResult, truth: dict[str, float], sigmas: float = 4.0) -> None:
    for name, value in truth.items():
        estimate = fit.parameters[name]
        assert abs(estimate.value - value) < sigmas * estimate.std, f"{name}: {estimate}, truth {value}"


def unit_variance(pulls: np.ndarray) -> None:
    """Pulls (seeds, parameters) have mean 0 and variance 1 within four standard errors of either."""
    n = len(pulls)
    assert np.abs(pulls.mean(axis=0)).max() < 4 / math.sqrt(n)
    assert np.abs(np.mean(pulls**2, axis=0) - 1).max() < 4 * math.sqrt(2 / n)


# --- machinery -----------------------------------------------------------------------------------------


def test_climb_finds_a_mean_and_its_error() -> None:
    x = np.array([1.0, 2.0, 6.0])
    theta, covariance = climb(
        np.array([100.0]),
        ["mean"],
        likelihood=lambda t: -0.5 * float(np.sum((x - t) ** 2)),
        slope=lambda t: (np.array([np.sum(x - t)]), np.array([[3.0]])),
    )
    assert theta == pytest.approx([3.0], abs=1e-3)
    assert covariance == pytest.approx(np.array([[1 / 3]]))


def test_what_the_data_do_not_determine_is_named() -> None:
    with pytest.raises(InputError, match="do not depend on b; leave it out"):
        inverse_information(np.diag([1.0, 0.0]), ["a", "b"])
    with pytest.raises(InputError, match=r"cannot tell (a from c|c from a)"):
        inverse_information(np.array([[1.0, 0, 1], [0, 1, 0], [1, 0, 1]]), ["a", "b", "c"])


def test_uniformity_counts_bins() -> None:
    even = (np.arange(100) + 0.5) / 100
    assert uniformity([even]) == (pytest.approx(0.0), 9)
    assert uniformity([even, np.full(50, 0.05)])[0] == pytest.approx(4 * 10 + 40**2 / 10)


# --- resistance ----------------------------------------------------------------------------------------

VOLTS = np.linspace(-0.6, 0.4, 21)


def curves(junction: Junction, seed: int, *, errors: bool = True, size: float = 0.01) -> list[ResistanceData]:
    rng, out = np.random.default_rng(seed), []
    for state in ("P", "AP"):
        blank = ResistanceData(voltage=VOLTS, R=np.ones(21), state=np.array(state))
        R = resistance(junction, blank)
        noisy = R * (1 + size * rng.standard_normal(21))
        out.append(replace(blank, R=noisy, error=size * R if errors else None))
    return out


@pytest.mark.parametrize("errors", [True, False])
def test_resistance_round_trip(errors: bool) -> None:
    truth = replace(GENERATOR, RA=0.9e-9, TMR0=1.3, V_h=0.42)
    fit = fit_resistance(curves(truth, 3, errors=errors), GENERATOR)
    close(fit, {"RA": 0.9e-9, "TMR0": 1.3, "V_h": 0.42})
    assert fit.dof == 39
    assert fit.junction is not None
    assert fit.junction.TMR0 == fit.parameters["TMR0"].value
    assert fit.parameters["TMR0"].std < 0.02
    assert np.diag(fit.correlation) == pytest.approx(1)
    if errors:
        assert fit.p_value is not None
        assert fit.p_value > 1e-3
    else:
        assert fit.chi2 is None


def test_resistance_pulls() -> None:
    truth = replace(UPRIGHT, RA=0.9e-9, TMR0=1.3, V_h=0.42)
    pulls = []
    for seed in range(30):
        fit = fit_resistance(curves(truth, seed), UPRIGHT)
        pulls.append([(e.value - getattr(truth, name)) / e.std for name, e in fit.parameters.items()])
    unit_variance(np.array(pulls))


def test_tilt_is_part_of_the_resistance() -> None:
    # Both states lean by h = B_x / B_k at zero voltage: m_z = +-sqrt(1 - h^2).
    blank = ResistanceData(voltage=0.0, R=1.0, state=["P", "AP"])  # type: ignore[arg-type]
    m_z = math.sqrt(1 - (0.03 / GENERATOR.B_k()) ** 2)
    expected = [1 / float(GENERATOR.conductance(m, 0.0)) for m in (m_z, -m_z)]
    assert resistance(GENERATOR, blank) == pytest.approx(expected, rel=1e-6)
    with pytest.raises(InputError, match=r"no two wells are left at 1\.2 V"):
        resistance(GENERATOR, replace(blank, voltage=1.2))


def test_one_state_alone() -> None:
    P, AP = curves(UPRIGHT, 0)
    with pytest.raises(InputError, match="do not depend on TMR0"):
        fit_resistance(P, UPRIGHT)
    close(fit_resistance(P, UPRIGHT, free=("RA",)), {"RA": UPRIGHT.RA})
    with pytest.raises(InputError, match="some R-V curves have errors and some have none"):
        fit_resistance([P, replace(AP, error=None)], UPRIGHT)
    with pytest.raises(InputError, match="must name each parameter once, out of RA, TMR0, V_h"):
        fit_resistance(P, UPRIGHT, free=("xi",))
    few = replace(P, voltage=VOLTS[:3], R=P.R[:3], state="P", error=1.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"3 points cannot determine and test 3 parameters .* at least 4"):
        fit_resistance(few, UPRIGHT)
    with pytest.raises(InputError, match="give one ResistanceData or a list"):
        fit_resistance([], UPRIGHT)


def test_a_model_that_does_not_fit_is_told() -> None:
    P, AP = curves(UPRIGHT, 0)
    with pytest.warns(UserWarning, match="does not describe these data within their errors"):
        fit = fit_resistance([replace(P, R=P.R * (1 + VOLTS / 2)), AP], UPRIGHT)
    assert "look at the overlay" in str(fit)


def test_TMR_round_trip() -> None:
    truth = replace(GENERATOR, TMR0=1.3, V_h=0.42)
    rng = np.random.default_rng(4)
    TMR = np.array([truth.TMR(float(v)) for v in VOLTS]) + 0.02 * rng.standard_normal(21)
    close(fit_TMR(TMRData(voltage=VOLTS, TMR=TMR, error=0.02), GENERATOR), {"TMR0": 1.3, "V_h": 0.42})  # type: ignore[arg-type]
    TMR_low = np.array([truth.TMR(float(v) / 20) for v in VOLTS]) + 0.02 * rng.standard_normal(21)
    with pytest.warns(UserWarning, match="V_h is hardly determined"):
        fit_TMR(TMRData(voltage=VOLTS / 20, TMR=TMR_low), GENERATOR)


def test_spread_round_trip_as_a_read_draws_it() -> None:
    # ReadScheme: ln(R_P) and ln(R_AP / R_P) are independent and normal.
    n, names = 400, ("R_P", "TMR", "resistance_spread", "TMR_spread")
    truth, pulls = np.array([5e5, 1.1, 0.08, 0.05]), []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        R_P = 5e5 * np.exp(0.08 * rng.standard_normal(n))
        ratio = 2.1 * np.exp(0.05 * 1.1 / 2.1 * rng.standard_normal(n))
        fit = fit_spread(ResistanceSpread(R_P=R_P, R_AP=R_P * ratio))
        assert tuple(fit.parameters) == names
        pulls.append([(e.value - t) / e.std for e, t in zip(fit.parameters.values(), truth, strict=True)])
    unit_variance(np.array(pulls))
    assert fit.parameters["resistance_spread"].low < fit.parameters["resistance_spread"].value
    with pytest.raises(InputError, match="9 devices tell no spread"):
        fit_spread(ResistanceSpread(R_P=R_P[:9], R_AP=2 * R_P[:9]))
    with pytest.raises(InputError, match="the same resistance or the same TMR"):
        fit_spread(ResistanceSpread(R_P=R_P, R_AP=2 * R_P))
    with pytest.warns(UserWarning, match="are correlated"):
        fit_spread(ResistanceSpread(R_P=R_P, R_AP=2 * R_P**1.5 / 5e5**0.5))


# --- switching fields ----------------------------------------------------------------------------------

RAMP = 0.5  # T/s


@pytest.fixture(scope="module")
def fields() -> dict[str, Any]:
    """Inverse of the distribution of switching fields from the package's own rates, for both wells."""
    grid, out = np.linspace(-0.1, -0.02, 17), {}
    for well, sign in (("up", 1), ("down", -1)):
        logs = [
            math.log(flip_rate(replace(UPRIGHT, B_bias=(0, 0, float(sign * b))), well=well, method="axial"))  # type: ignore[arg-type]
            for b in grid
        ]
        fine = np.linspace(grid[0], grid[-1], 4001)
        rate = np.exp(CubicSpline(grid, logs)(fine)) / RAMP
        hazard = np.concatenate([np.cumsum((rate[1:] + rate[:-1])[::-1])[::-1] * (fine[1] - fine[0]) / 2, [0.0]])
        out[well] = (hazard[::-1], sign * fine[::-1] - UPRIGHT.B_bias[2])
    return out


def ramps(fields: dict[str, Any], n: int, seed: int) -> SwitchingFieldData:
    rng = np.random.default_rng(seed)
    down, up = (np.interp(rng.exponential(size=n), *fields[well]) for well in ("up", "down"))
    return SwitchingFieldData(up_to_down=down, down_to_up=up, ramp_rate=RAMP)


def test_rates_are_those_of_the_retention() -> None:
    for B in (-0.09, -0.04, 0.0, 0.03):
        rate = flip_rate(replace(UPRIGHT, B_bias=(0.0, 0.0, B)), method="axial")
        assert float(log_escape_rates(UPRIGHT, [B])[0]) == pytest.approx(math.log(rate), abs=1e-9)
    assert log_escape_rates(UPRIGHT, [-0.2, -0.16])[0] == log_escape_rates(UPRIGHT, [-0.16])[0]  # no barrier left
    with pytest.raises(InputError, match="leaves no two wells"):
        log_escape_rates(UPRIGHT.with_variation(K_eff_scale=0.01), [0.0])


def test_rates_over_a_saddle_are_interpolated() -> None:
    B = np.linspace(-0.03, 0.0, 9)
    logs = log_escape_rates(GENERATOR, B)
    for k in (1, 6):
        rate = flip_rate(replace(GENERATOR, B_bias=(0.03, 0.0, float(B[k]))), method="saddle")
        assert logs[k] == pytest.approx(math.log(rate), abs=1e-3)


def test_share_switched_is_the_integral(fields: dict[str, Any]) -> None:
    for well in ("up", "down"):
        hazard, B = fields[well]
        some = slice(500, 3500, 100)
        share = switched(UPRIGHT, B[some], ramp_rate=RAMP, initial=well)  # type: ignore[arg-type]
        assert share == pytest.approx(-np.expm1(-hazard[some]), abs=1e-3)


def test_switching_fields_round_trip(fields: dict[str, Any]) -> None:
    truth = {"Delta": UPRIGHT.Delta(), "B_k": UPRIGHT.B_k(), "B_z": 4e-3}
    start = replace(UPRIGHT.with_variation(K_eff_scale=1.5), B_bias=(0.0, 0.0, 0.0))
    fit = fit_switching_fields(ramps(fields, 1000, 1), start)
    close(fit, truth)
    assert fit.parameters["Delta"].std < 2
    assert fit.parameters["B_z"].std < 0.2e-3
    assert fit.p_value is not None
    assert fit.p_value > 1e-3
    assert fit.junction is not None
    assert fit.junction.Delta() == pytest.approx(fit.parameters["Delta"].value)
    assert fit.junction.B_k() == pytest.approx(fit.parameters["B_k"].value)
    assert fit.junction.B_bias[2] == fit.parameters["B_z"].value
    assert fit.junction.R_P == pytest.approx(start.R_P)
    # Fewer unknowns: the volume of the pillar known, the stray field known, one direction of ramps.
    one = replace(ramps(fields, 300, 2), down_to_up=np.zeros(0))
    known = fit_switching_fields(one, UPRIGHT, free=("B_k",))
    close(known, {"B_k": UPRIGHT.B_k()})
    assert known.parameters["B_k"].std < 0.2 * fit.parameters["B_k"].std
    close(fit_switching_fields(one, UPRIGHT, free=("Delta",)), {"Delta": UPRIGHT.Delta()})
    with pytest.raises(InputError, match=r"one direction of ramps .* fix B_z"):
        fit_switching_fields(one, UPRIGHT)


def test_switching_field_pulls(fields: dict[str, Any]) -> None:
    truth, pulls = (UPRIGHT.Delta(), UPRIGHT.B_k(), 4e-3), []
    for seed in range(20):
        fit = fit_switching_fields(ramps(fields, 400, 100 + seed), UPRIGHT)
        pulls.append([(e.value - t) / e.std for e, t in zip(fit.parameters.values(), truth, strict=True)])
    unit_variance(np.array(pulls))


def test_xi_from_the_shift_of_the_anisotropy_field() -> None:
    rng, sets = np.random.default_rng(7), []
    for V in (-0.4, 0.0, 0.4):
        torque = 5e-3 * V  # a torque acts like a field that grows with the voltage
        B = np.linspace(-0.12, 0.12, 2001)
        pair = []
        for well, falling in (("up", -1), ("down", 1)):
            here = replace(UPRIGHT, B_bias=(0.0, 0.0, 4e-3 + torque))
            share = switched(here, B, ramp_rate=RAMP, initial=well, voltage=V)  # type: ignore[arg-type]
            pair.append(np.interp(rng.random(500), share[::falling], B[::falling]))
        sets.append(SwitchingFieldData(up_to_down=pair[0], down_to_up=pair[1], ramp_rate=RAMP, voltage=V))
    fit = fit_xi(sets, replace(UPRIGHT, xi=2e-13))
    truth = {"Delta": UPRIGHT.Delta(), "B_k": UPRIGHT.B_k(), "B_z": 4e-3, "xi": 1e-13, "B_z_per_volt": 5e-3}
    close(fit, truth)
    assert fit.parameters["xi"].std < 5e-15
    assert fit.dof == 2
    assert fit.junction is not None
    assert fit.junction.xi == fit.parameters["xi"].value
    with pytest.raises(InputError, match="two or more voltages"):
        fit_xi(sets[:1], UPRIGHT)
    with pytest.raises(InputError, match="ramps in one direction only"):
        fit_xi([sets[0], replace(sets[1], up_to_down=np.zeros(0))], UPRIGHT)


def test_ramps_that_carry_no_fit() -> None:
    few = SwitchingFieldData(up_to_down=[-0.06, -0.061], down_to_up=[0.06, 0.061, 0.07], ramp_rate=1.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="2 switching fields up_to_down at 0 V; measure at least 5"):
        fit_switching_fields(few, UPRIGHT)
    equal = SwitchingFieldData(up_to_down=[-0.06] * 9, down_to_up=[0.06] * 9, ramp_rate=1.0)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="all switching fields are equal"):
        fit_switching_fields(equal, UPRIGHT)


# --- switching probabilities ---------------------------------------------------------------------------


def sweep(junction: Junction, seed: int, *, trials: int = 2000, **shape: Any) -> list[SwitchingData]:
    volts, widths = shape.get("volts", (0.15, 0.25, 0.35)), shape.get("widths", np.linspace(0.1, 0.9, 8) * 1e-9)
    V, w = (x.ravel() for x in np.meshgrid(volts, widths, indexing="ij"))
    rng, out = np.random.default_rng(seed), []
    for initial in shape.get("wells", ("up", "down")):
        blank = SwitchingData(voltage=V, width=w, P_sw=0.0, trials=trials, initial=initial, relax=1e-9)  # type: ignore[arg-type]
        P, _ = predict(junction, blank, degree=24)
        out.append(replace(blank, P_sw=rng.binomial(trials, P) / trials))
    return out


def test_prediction_is_the_Fokker_Planck_solution_row_by_row() -> None:
    data = SwitchingData(
        voltage=[0.3, 0.2, 0.3], width=[5e-10, 3e-10, 2e-10], P_sw=0.0, trials=1, B_z=[0.0, 2e-3, 0.0],
        B_x=1e-3, initial="down", rise=5e-11, relax=1e-9,
    )  # type: ignore[arg-type]  # fmt: skip
    P, error = predict(CELL, data, degree=24, spin_torque=True)
    for k in range(3):
        cell = replace(CELL, B_bias=(0.021, 0.0, 1e-3 + float(data.B_z[k])))
        pulse = Pulse(voltage=float(data.voltage[k]), width=float(data.width[k]), rise=5e-11)
        alone = switching_probability(
            cell, pulse, initial="down", relax=1e-9, spin_torque=True, degree=24, rtol=100
        )  # fmt: skip
        assert P[k] == pytest.approx(alone.value, abs=1e-10)
        assert error[k] == pytest.approx(alone.error, abs=1e-10)


def test_switching_round_trip() -> None:
    truth = {"xi": 1e-13, "K_eff": CELL.K_eff(), "B_x": 0.02, "B_z": 1e-3, "alpha_G": 0.02}
    start = replace(CELL.with_variation(K_eff_scale=1.1), xi=1.1e-13, B_bias=(0.022, 0.0, 0.0), alpha_G=0.025)
    fit = fit_switching(sweep(CELL, 5), start, free=tuple(truth), **OPTIONS)
    close(fit, truth)
    assert fit.dof == 48 - 5
    assert fit.p_value is not None
    assert fit.p_value > 1e-3
    assert fit.junction is not None
    assert fit.junction.K_eff() == pytest.approx(fit.parameters["K_eff"].value)
    assert fit.junction.B_bias[0] == fit.parameters["B_x"].value
    assert fit.parameters["xi"].std < 0.05e-13


def test_points_that_never_flip_ask_for_no_higher_degree() -> None:
    # At 0.05 V nothing flips: an error of 7e-6 there is a hundredth of a count, though more than sqrt(p (1 - p) / n).
    cell = CELL.with_variation(K_eff_scale=4.0)
    blank = SwitchingData(
        voltage=[0.05, 0.9, 0.95, 1.0], width=[3e-10] * 4, P_sw=0.0, trials=2000, relax=1e-9
    )  # fmt: skip
    P, _ = predict(cell, blank, degree=44)
    counts = np.random.default_rng(1).binomial(2000, np.clip(P, 0, 1))
    fit = fit_switching([replace(blank, P_sw=counts / 2000)], cell, free=("xi",), degree=44, threads=1)
    close(fit, {"xi": cell.xi})


def test_switching_pulls_and_Delta() -> None:
    pulls = []
    for seed in range(16):
        data = sweep(CELL, seed, trials=500, volts=(0.15, 0.3), widths=np.array([0.2, 0.4, 0.6]) * 1e-9, wells=("up",))
        fit = fit_switching(data, CELL, free=("xi", "Delta"), **OPTIONS)
        values = fit.parameters
        pulls.append(
            [(values["xi"].value - 1e-13) / values["xi"].std, (values["Delta"].value - 8) / values["Delta"].std]
        )
    unit_variance(np.array(pulls))


def test_errors_are_those_of_the_exact_derivatives() -> None:
    data = sweep(CELL, 9, volts=(0.3,), widths=np.array([0.2, 0.4, 0.6]) * 1e-9, wells=("up",))
    fit = fit_switching(data, CELL, free=("xi",), **OPTIONS)
    assert fit.junction is not None
    information = 0.0
    for width in data[0].width:
        slope = sensitivities(
            fit.junction, Pulse(voltage=0.3, width=float(width)), parameters=("xi",), relax=1e-9, degree=24
        )["xi"].derivative
        p = switching_probability(fit.junction, Pulse(voltage=0.3, width=float(width)), relax=1e-9, degree=24, rtol=1)
        information += 2000 * slope**2 / (p.value * p.WER)
    assert fit.parameters["xi"].std == pytest.approx(information**-0.5, rel=1e-3)


def test_switching_data_that_carry_no_fit() -> None:
    data = sweep(CELL, 0, volts=(0.3,), widths=np.array([0.2, 0.4, 0.6]) * 1e-9, wells=("up",))
    with pytest.raises(InputError, match=r"3 points cannot determine and test 4 parameters \(xi, K_eff, B_x, B_z\)"):
        fit_switching(data, CELL, **OPTIONS)
    with pytest.raises(InputError, match="one parameter at a fixed volume"):
        fit_switching(data, CELL, free=("K_eff", "Delta"), **OPTIONS)
    with pytest.raises(InputError, match="out of xi, K_eff, Delta"):
        fit_switching(data, CELL, free=("Ms",), **OPTIONS)
    with pytest.raises(InputError, match=r"degree 10 leaves an error of .* give degree=13 or more"):
        fit_switching(data, CELL, free=("xi",), degree=10, threads=1)


def one_by_one(junction: Junction, sets: list[SwitchingData]) -> np.ndarray:
    """P_sw by maps of one voltage and field after the other: the way of 0.1.0."""
    out = []
    for data in sets:
        P, settings = np.empty(len(data)), np.stack([data.voltage, data.B_x, data.B_z], axis=1)
        x, y, z = junction.B_bias
        for voltage, B_x, B_z in np.unique(settings, axis=0):
            rows = np.flatnonzero((settings == (voltage, B_x, B_z)).all(axis=1))
            rows = rows[np.argsort(data.width[rows])]
            P[rows] = switching_map(
                replace(junction, B_bias=(x + B_x, y, z + B_z)), voltages=[voltage], widths=data.width[rows],
                initial=data.initial, relax=data.relax, rise=data.rise, fall=data.fall, degree=24, atol=1.0, threads=1,
            ).P_sw[0]  # fmt: skip
        out.append(P)
    return np.concatenate(out)


def odd_sets() -> list[SwitchingData]:
    """Two data sets that share no field, edge or relaxation."""
    rng = np.random.default_rng(3)
    shapes: list[dict[str, Any]] = [
        {"voltage": [0.15, 0.3, 0.15, 0.3], "B_z": [0.0, 2e-3, 0.0, -1e-3], "relax": 1e-9},
        {
            "voltage": [0.2, 0.2, 0.35, 0.35],
            "B_x": 1e-3,
            "rise": 5e-11,
            "fall": 1e-10,
            "relax": 2e-9,
            "initial": "down",
        },
    ]
    blanks = [SwitchingData(width=[3e-10, 2e-10, 5e-10, 6e-10], P_sw=0.0, trials=500, **shape) for shape in shapes]
    return [replace(one, P_sw=rng.binomial(500, one_by_one(CELL, [one])) / 500) for one in blanks]


def test_solved_together_is_solved_one_by_one() -> None:
    cells = [CELL, replace(CELL, alpha_G=0.03), replace(CELL, xi=1.2e-13), CELL.with_variation(K_eff_scale=0.9)]
    together = predictions(cells, odd_sets(), degree=24)
    for P, cell in zip(together, cells, strict=True):
        assert P == pytest.approx(one_by_one(cell, odd_sets()), abs=1e-10)


def test_the_fit_finds_the_maximum_that_the_solution_one_by_one_has() -> None:
    sets, free = odd_sets(), ("xi", "B_z")
    P, n = np.concatenate([one.P_sw for one in sets]), 500

    fit = fit_switching(sets, replace(CELL, xi=1.05e-13), free=free, degree=24)
    found = fit.junction
    assert found is not None

    def likely(xi: float, B_z: float) -> float:
        x, y, z = found.B_bias
        p = one_by_one(replace(found, xi=found.xi + xi, B_bias=(x, y, z + B_z)), sets)
        return float(n * np.sum(P * np.log(p) + (1 - P) * np.log1p(-p)))

    xi, B_z = (fit.parameters[name].standard_error for name in free)
    h = 0.1  # standard errors, over which the likelihood is quadratic
    score = [likely(h * xi, 0) - likely(-h * xi, 0), likely(0, h * B_z) - likely(0, -h * B_z)]
    gradient = np.array(score) / (2 * h)
    assert gradient @ fit.correlation @ gradient < 0.03**2  # the climb ends at a hundredth of a standard error
    assert fit.numerical is not None
    assert fit.numerical.keys() == set(free)


def test_the_quick_answer_is_marked_and_holds_the_other() -> None:
    data, start = sweep(CELL, 5), replace(CELL, xi=1.05e-13)
    seen: list[FitResult] = []
    fit = fit_switching(data, start, free=("xi", "K_eff", "B_x"), degree=24, on_quick=seen.append)
    quick = fit_switching(data, start, free=("xi", "K_eff", "B_x"), degree=24, quick=True)
    assert (quick.approximate, fit.approximate, len(seen)) == (True, False, 1)
    assert str(seen[0]) == str(quick)
    assert "approximate: with harmonics up to degree 14" in str(quick)
    for name, estimate in fit.parameters.items():
        assert abs(quick.parameters[name].value - estimate.value) < 3 * quick.parameters[name].standard_error
        assert quick.parameters[name].standard_error > estimate.standard_error


def test_fifty_points_and_three_parameters_take_seconds() -> None:
    V, w = (x.ravel() for x in np.meshgrid([1.1, 1.2, 1.3, 1.4, 1.5], np.linspace(1.5e-10, 1.2e-9, 10)))
    blank = SwitchingData(voltage=V, width=w, P_sw=0.0, trials=1000)  # type: ignore[arg-type]
    (P,) = predictions([GENERATOR], [blank], degree=60)
    data = replace(blank, P_sw=np.random.default_rng(1).binomial(1000, np.clip(P, 0, 1)) / 1000)
    begun, quick, told = time.process_time(), list[float](), list[float]()
    fit = fit_switching(
        data, replace(GENERATOR, xi=1.03e-13), free=("xi", "K_eff", "B_x"), progress=lambda *_: told.append(0.0),
        on_quick=lambda _: quick.append(time.process_time() - begun),
    )  # fmt: skip
    close(fit, {"xi": 1e-13, "K_eff": GENERATOR.K_eff(), "B_x": 0.03})
    assert quick[0] < 10  # seconds of one core; 1 s where nothing else runs
    assert time.process_time() - begun < 60  # 5 s
    assert len(told) > 20


def across(n: int, **shape: Any) -> SwitchingData:
    """One pulse at n different fields."""
    fields = {"B_z": np.linspace(-6e-3, 6e-3, n)} | shape
    return SwitchingData(voltage=0.3, width=3e-10, P_sw=0.0, trials=2000, relax=1e-9, **fields)  # type: ignore[arg-type]


@pytest.fixture
def relaxed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The operators of each degree that a relaxation was solved for, one entry for each."""
    solved, carry = list[int](), module.carry

    def counted(degree: int, weights: np.ndarray, *rest: Any, **options: Any) -> np.ndarray:
        solved.extend([degree] * len(weights))
        return carry(degree, weights, *rest, **options)

    monkeypatch.setattr(module, "carry", counted)
    return solved


@pytest.mark.parametrize(
    ("shape", "most"),
    [
        ({}, 14),
        ({"B_x": np.linspace(-4e-3, 9e-3, 40), "B_z": 0.0}, 14),
        ({"initial": "down", "voltage_and_width": True}, 14),
        ({"B_x": np.linspace(-4e-3, 9e-3, 40)}, 40),  # no line along an axis
        ({"B_z": np.repeat([-3e-3, 1e-3], 20), "B_x": np.tile(np.linspace(-5e-3, 5e-3, 20), 2)}, 26),
    ],
)
def test_many_fields_share_their_relaxation(shape: dict[str, Any], most: int, relaxed: list[int]) -> None:
    apart = shape.pop("voltage_and_width", False)
    data = across(40, **shape)
    if apart:
        data = replace(data, voltage=np.linspace(0.1, 0.35, 40), width=np.linspace(2e-10, 9e-10, 40)[::-1])
    (direct,) = predictions([CELL], [data], degree=24)
    assert len(relaxed) == 40
    relaxed.clear()
    (shared,) = predictions([CELL], [data], degree=24, across_fields=True)
    assert len(relaxed) <= most
    assert shared == pytest.approx(direct, abs=1e-3 if most < 40 else 1e-14)


def test_fields_that_turn_far_apart_are_solved_one_by_one(relaxed: list[int]) -> None:
    # Half of the range turns by 88 rad within 10 ns, which no few nodes follow.
    data = replace(across(12, B_z=np.linspace(-5e-2, 5e-2, 12)), relax=10e-9)
    (direct,) = predictions([CELL], [data], degree=24)
    (shared,) = predictions([CELL], [data], degree=24, across_fields=True)
    assert len(relaxed) == 24
    assert shared == pytest.approx(direct, abs=1e-14)


def test_a_fit_across_fields_solves_few_of_them_but_ends_at_the_direct_solution(
    relaxed: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    blank, free = across(50), ("xi", "B_x", "B_z")
    (P,) = predictions([CELL], [blank], degree=24)
    data = replace(blank, P_sw=np.random.default_rng(4).binomial(2000, P) / 2000)
    relaxed.clear()
    fit = fit_switching(data, replace(CELL, xi=1.03e-13), free=free, degree=24)
    close(fit, {"xi": CELL.xi, "B_x": 0.02, "B_z": 1e-3})
    # One exact slope of three different relaxations (a step in xi shares its own), and single solutions.
    assert sum(degree == 24 for degree in relaxed) <= 6 * 50
    # The answer is that of the direct solution, not of an interpolation.
    assert fit.junction is not None
    (p,) = predictions([fit.junction], [data], degree=24)
    k = data.counts
    deviance = 2 * np.sum(xlogy(k, k / (2000 * p)) + xlogy(2000 - k, (2000 - k) / (2000 * (1 - p))))
    assert fit.chi2 == pytest.approx(float(deviance), rel=1e-9)


def test_interpolation_across_fields_is_of_each_junction_alone() -> None:
    blank = across(40)
    cells = [CELL, replace(CELL, B_bias=(0.02, 0, 1e-3 + 1e-8)), replace(CELL, xi=1.0001e-13)]
    together = predictions(cells, [blank], degree=19, across_fields=True)
    alone = np.concatenate([predictions([cell], [blank], degree=19, across_fields=True) for cell in cells])
    # A difference between neighbours is that of two interpolations alike, whatever else is asked in the same call.
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-12)
    direct = predictions(cells, [blank], degree=19)
    assert 1e-9 < np.abs(together - direct).max() < 1e-3


def test_pulls_across_fields() -> None:
    pulls, free, blank = [], ("xi", "B_z"), across(20)
    (P,) = predictions([CELL], [blank], degree=24)
    for seed in range(16):
        data = replace(blank, P_sw=np.random.default_rng(seed).binomial(2000, P) / 2000)
        found = fit_switching(data, replace(CELL, xi=1.02e-13), free=free, degree=24).parameters
        pulls.append([(found[name].value - true) / found[name].std for name, true in (("xi", 1e-13), ("B_z", 1e-3))])
    unit_variance(np.array(pulls))


def test_the_expected_time_grows_with_what_is_solved() -> None:
    one, many = (expected_seconds([across(n)], GENERATOR, 56, parameters=3) for n in (1, 50))
    assert many == pytest.approx(50 * one, rel=0.2)
    finer = expected_seconds([across(50)], GENERATOR, 112, parameters=3)
    assert 6 < finer / many < 9  # the third power
    assert expected_seconds([across(50)], GENERATOR, 56, parameters=6) > many


# --- one pulse -----------------------------------------------------------------------------------------


def test_curves_for_a_switching_model() -> None:
    fields = np.linspace(-8e-3, 8e-3, 9)
    truth = {"up": (-0.2, 1.1, 0.3), "down": (0.1, -0.9, 0.2)}
    pulls = []
    for seed in range(40):
        rng, pair = np.random.default_rng(seed), []
        for initial, c in truth.items():
            p = 1 / (1 + np.exp(-np.polyval(c[::-1], fields / 8e-3)))
            P = rng.binomial(5000, p) / 5000
            pair.append(
                SwitchingData(voltage=1.2, width=3e-10, P_sw=P, trials=5000, B_z=fields, initial=initial)  # type: ignore[arg-type]
            )
        model = switching_model_from_measurements(*pair)
        p01, p10, e01, e10 = model.probabilities([0.0, 5e-3])
        for p, e, c in ((p01, e01, truth["up"]), (p10, e10, truth["down"])):
            expected = 1 / (1 + np.exp(-np.polyval(c[::-1], np.array([0.0, 5e-3]) / 8e-3)))
            pulls.append((p - expected) / e)
    assert (model.voltage, model.width, model.B_z_range) == (1.2, 3e-10, (-8e-3, 8e-3))
    assert len(model.c01) == len(model.c10) >= 3
    assert model.fit_error == pytest.approx(0.007, rel=0.5)  # a binomial error of 5000 pulses
    # The degree is chosen from the data, which costs a little in excess of the errors.
    assert np.mean(np.array(pulls) ** 2) == pytest.approx(1, abs=0.45)
    with pytest.raises(InputError, match=r"B_z = 0\.009 T is outside the -0\.008 to 0\.008 T"):
        model.probabilities(9e-3)


def test_curves_that_cannot_be_drawn() -> None:
    fields = np.array([-2e-3, 0.0, 2e-3])
    up = SwitchingData(voltage=1.2, width=3e-10, P_sw=[0.4, 0.5, 0.6], trials=100, B_z=fields)  # type: ignore[arg-type]
    down = replace(up, initial="down")
    assert len(switching_model_from_measurements(up, down).c01) <= 2
    for p01, p10, message in (
        (down, up, "exchange p01 and p10"),
        (up, replace(down, voltage=1.3), r"voltage runs from 1\.2 to 1\.3 V"),
        (replace(up, P_sw=0.0), down, r"p01: 0 flips of 300 pulses bound the curve on one side"),
        (replace(up, B_z=fields + 3e-3), down, "carry no curve around 0 T"),
    ):
        with pytest.raises(InputError, match=message):
            switching_model_from_measurements(p01, p10)
