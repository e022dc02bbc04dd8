"""Analytic models of switching: their laws by other routes, their fits of known parameters, and their judgement."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import chdtrc, chdtri, expit
from scipy.stats import binom, kstest

from voltaspin.core.errors import InputError
from voltaspin.core.units import gamma_e
from voltaspin.device import Pulse, presets
from voltaspin.device.fit.analytic import Analytic, Precessional, SpinOrbitBarrier
from voltaspin.device.fit.bench import WEIGHT
from voltaspin.device.fit.compare import Comparison, chosen_models, fit_models
from voltaspin.device.fit.data import SwitchingData
from voltaspin.device.fit.devices import between_devices, file_names
from voltaspin.device.fit.goodness import _quantiles, deviances, judge, signed_root
from voltaspin.device.fit.kinds import MODEL_WORDS
from voltaspin.device.fit.model import Settings
from voltaspin.device.fit.models import MODELS
from voltaspin.device.fit.record import FitRecord, fit_measurements, prediction
from voltaspin.device.fit.tables import Measurements, read_devices
from voltaspin.device.fokker_planck import switching_probability
from voltaspin.device.torque import spin_torque_field

QUICK = tuple(word for word, model in MODELS.items() if model.quick)
NANO = 1e-9
START = presets.generator


def law(word: str, v: Any, t: Any, Delta: float) -> np.ndarray:
    model = MODELS[word]
    assert isinstance(model, Analytic)
    v, t = np.broadcast_arrays(np.asarray(v, float), np.asarray(t, float))
    log_P, log_Q = model.logs(v, t, np.full(v.shape, Delta))
    assert np.exp(log_P) + np.exp(log_Q) == pytest.approx(1)
    return np.exp(log_P)


#: Parameters inside the range of each model: (Delta, V_c, time, voltages over V_c, widths).
TRUTH: dict[str, tuple[float, float, float, np.ndarray, np.ndarray]] = {
    "thermal": (30.0, 0.8, NANO, np.linspace(0.5, 0.9, 9), np.array([10, 100, 1000]) * NANO),
    "thermal-field": (40.0, 0.8, NANO, np.linspace(0.4, 0.73, 9), np.array([10, 100, 1000]) * NANO),
    "sot": (50.0, 0.8, NANO, np.linspace(0.4, 0.82, 9), np.array([10, 100, 1000]) * NANO),
    "stt": (45.0, 0.5, 1.5 * NANO, np.linspace(1.5, 3.0, 9), np.array([1.5, 2.5, 4]) * NANO),
}


def simulated(word: str, seed: int, trials: int = 200) -> list[SwitchingData]:
    """Counts of both directions at the parameters of TRUTH; V_c of the second is 10 % larger, and negative."""
    Delta, V_c, time, v, widths = TRUTH[word]
    rng, sets = np.random.default_rng(seed), []
    for initial, sign, scale in (("up", 1.0, 1.0), ("down", -1.0, 1.1)):
        drive, width = (x.ravel() for x in np.meshgrid(v * V_c, widths))
        P = law(word, drive / (V_c * scale), width / time, Delta)
        sets.append(SwitchingData(voltage=sign * drive, width=width, P_sw=rng.binomial(trials, P) / trials,
                                  trials=np.full(len(P), trials), initial=initial))  # type: ignore[arg-type]  # fmt: skip
    return sets


# --- laws ----------------------------------------------------------------------------------------------


def test_words_are_those_of_the_models() -> None:
    assert tuple(MODELS) == MODEL_WORDS
    assert chosen_models("all") == MODEL_WORDS
    assert chosen_models("vcma, stt") == ("stt", "vcma")  # the quick ones first
    with pytest.raises(InputError, match="model 'sst' is unknown; did you mean 'stt'"):
        chosen_models("sst")


def test_thermal_laws_by_hand() -> None:
    # At V_c no barrier is left: 1 - exp(-t / tau_0).
    for word in ("thermal", "thermal-field", "sot"):
        assert law(word, 1.0, 1.0, 30.0) == pytest.approx(1 - math.exp(-1))
    assert law("thermal", 0.5, 7.0, 8.0) == pytest.approx(1 - math.exp(-7 * math.exp(-4)))
    assert law("thermal-field", 0.5, 7.0, 8.0) == pytest.approx(1 - math.exp(-7 * math.exp(-2)))
    share = math.sqrt(3) / 2 - math.pi / 6  # sqrt(1 - s^2) - s acos(s) at s = 1/2
    assert law("sot", 0.5, 7.0, 8.0) == pytest.approx(1 - math.exp(-7 * math.exp(-8 * share)))


@pytest.mark.parametrize("s", [0.1, 0.5, 0.9])
def test_the_spin_orbit_barrier_is_that_of_its_energy(s: float) -> None:
    # E / K = sin(theta)^2 - s theta: minimum below pi / 4 and maximum above.
    energy = lambda theta: math.sin(theta) ** 2 - s * theta  # noqa: E731
    bounds = {"method": "bounded", "options": {"xatol": 1e-10}}
    low = minimize_scalar(energy, bounds=(0, math.pi / 4), **bounds).fun
    high = -minimize_scalar(lambda x: -energy(x), bounds=(math.pi / 4, math.pi / 2), **bounds).fun
    assert SpinOrbitBarrier().share(np.array([s])) == pytest.approx(high - low, abs=1e-8)


@pytest.mark.parametrize(("i", "tolerance"), [(1.5, 0.09), (2.0, 0.02), (3.0, 0.02)])
def test_spin_transfer_is_near_the_Fokker_Planck_solution(i: float, tolerance: float) -> None:
    # No field and no VCMA: the torque alone, with the threshold a_J = alpha B_k.
    junction = replace(START, B_bias=(0, 0, 0), xi=0.0, RA=5e-12).with_variation(K_eff_scale=0.5)
    V_c = junction.alpha_G * junction.B_k() / abs(spin_torque_field(junction, 1.0))
    tau_D = (1 + junction.alpha_G**2) / (junction.alpha_G * gamma_e * junction.B_k())
    for grown in (1.0, 1.5, 2.0, 3.0):
        width = grown * tau_D / (i - 1)
        exact = switching_probability(junction, Pulse(voltage=i * V_c, width=width), initial="up", spin_torque=True)
        assert law("stt", i, width / tau_D, junction.Delta()) == pytest.approx(exact.value, abs=tolerance)


def test_the_curves_rise_with_the_voltage() -> None:
    for word in QUICK:
        P = law(word, np.linspace(-1, 4, 2001), 3.0, 40.0)
        assert np.all(np.diff(P) > -1e-12), word


# --- fits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", QUICK)
def test_pulls_and_probabilities(word: str) -> None:
    Delta, V_c, time, *_ = TRUTH[word]
    truth = {
        "Delta (P->AP)": Delta,
        "V_c (P->AP)": V_c,
        "Delta (AP->P)": Delta,
        "V_c (AP->P)": -1.1 * V_c,
        "tau_D": time,
    }
    seeds, pulls, chances = 40, [], []
    for seed in range(seeds):
        made = MODELS[word].fit(word, simulated(word, seed), START, Settings())
        assert made.result.p_value is not None
        chances.append(made.result.p_value)
        found = made.result.parameters
        pulls.append([math.log(e.value / truth[name]) / (e.standard_error / abs(e.value)) for name, e in found.items()])
    # Mean 0, squares as chi-squared has them, and uniform probabilities: each is off by chance once in 10,000.
    assert np.abs(np.mean(pulls, axis=0)).max() < 4 / math.sqrt(seeds)
    squares = np.sum(np.square(pulls), axis=0)
    assert chdtri(seeds, 1 - 5e-5) < squares.min()
    assert squares.max() < chdtri(seeds, 5e-5)
    assert kstest(chances, "uniform").pvalue > 6e-5


def test_intervals_and_what_is_fixed() -> None:
    made = MODELS["thermal"].fit("thermal", simulated("thermal", 1), START, Settings())
    assert made.fixed == {"tau_0": 1e-9}
    one = made.result.parameters["V_c (AP->P)"]
    assert one.low < one.value < one.high < 0
    # A factor of e in tau_0 moves Delta by one, as ln(t / tau_0) - Delta stays.
    other = MODELS["thermal"].fit(
        "thermal", simulated("thermal", 1), START, Settings(constants={"tau_0": math.e * 1e-9})
    )
    name = "Delta (P->AP)"
    assert made.result.parameters[name].value - other.result.parameters[name].value == pytest.approx(1, abs=1e-3)
    # One width does not tell the time of the spin transfer from its barrier, which then is the starting junction's.
    columns = ("voltage", "width", "P_sw", "trials", "B_x", "B_z")
    sets = [replace(one, **{name: getattr(one, name)[9:18] for name in columns}) for one in simulated("stt", 1)]
    made = MODELS["stt"].fit("stt", sets, START, Settings())
    assert made.fixed == {"Delta": pytest.approx(START.Delta())}
    assert set(made.result.parameters) == {"V_c (P->AP)", "V_c (AP->P)", "tau_D"}
    tau_D = made.result.parameters["tau_D"]
    assert abs(math.log(tau_D.value / 1.5e-9)) < 4 * tau_D.standard_error / tau_D.value


@pytest.mark.parametrize("word", QUICK)
def test_the_right_model_is_preferred(word: str) -> None:
    compared = fit_models(simulated(word, 5, trials=2000), START, QUICK, Settings())
    assert compared.fitted[0].word == word
    comparison = compared.comparison
    assert isinstance(comparison, Comparison)
    assert f"{word} describes these data" in comparison.conclusion
    rows = {one.model: one for one in comparison.models}
    assert rows[word].difference == 0
    assert rows[word].log_likelihood is not None
    # AICc by hand.
    k, n = len(rows[word].parameters), rows[word].rows
    assert rows[word].criterion == pytest.approx(-2 * rows[word].log_likelihood + 2 * k + 2 * k * (k + 1) / (n - k - 1))
    text = str(comparison)
    assert all(one in text for one in (*QUICK, "V_c (AP->P)", "outside its range", "< 0.0001"))


def test_wrong_physics_is_told_with_its_rows() -> None:
    # A plateau at 0.7, as no model here has one.
    V = np.linspace(0.8, 1.1, 16)
    P = np.where(V < 0.9, 0.02, np.where(V < 1.05, 0.7, 1.0))
    data = SwitchingData(voltage=V, width=0.75e-9, P_sw=P, trials=100, initial="down")  # type: ignore[arg-type]
    compared = fit_models([data], START, QUICK, Settings())
    assert compared.comparison is not None
    assert "None of the models describes these data" in compared.comparison.conclusion
    (note,) = compared.fitted[0].result.notes
    for told in (
        "probability below 0.0001",
        "compare other models",
        "worst: AP->P at",
        "0.75 ns",
        "sigma",
        "by voltage",
    ):
        assert told in note, told


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"P_sw": np.zeros(9)}, r"P->AP: none of 1800 pulses switched, which bounds"),
        ({"P_sw": np.ones(9)}, r"P->AP: all of 1800 pulses switched"),
        ({"B_z": np.linspace(0, 1e-3, 9)}, r"B_z runs from 0 to 0\.001 T, and the analytic models know no field"),
        ({"voltage": [1.0], "width": [1e-9], "P_sw": [0.5], "trials": [9], "B_x": [0], "B_z": [0]},
         "1 rows cannot determine and test 2 parameters"),
        ({"voltage": np.full(9, 0.5), "width": np.linspace(1, 9, 9) * 1e-9}, r"cannot tell|do not depend|settle"),
        ({"P_sw": np.repeat([0.0, 1.0], [4, 5])}, r"cannot tell|do not depend|settle"),
    ],
)  # fmt: skip
def test_data_that_determine_nothing(change: dict[str, Any], says: str) -> None:
    first = simulated("thermal", 0)[0]
    whole = {name: getattr(first, name)[:9] for name in ("voltage", "width", "P_sw", "trials", "B_x", "B_z")}
    data = SwitchingData(**(whole | change))
    with pytest.raises(InputError, match=says):
        MODELS["thermal"].fit("thermal", [data], START, Settings())


def test_without_numbers_of_pulses_nothing_is_judged() -> None:
    counted = simulated("thermal", 3, trials=50)
    blind = [replace(one, trials=np.full(len(one), WEIGHT), counted=False) for one in counted]
    compared = fit_models(blind, START, QUICK, Settings())
    assert compared.comparison is not None
    assert "can be neither judged nor compared" in compared.comparison.conclusion
    a, b = (MODELS["thermal"].fit("thermal", sets, START, Settings()).result for sets in (counted, blind))
    assert (b.chi2, b.p_value, b.log_likelihood) == (None, None, None)
    for name, estimate in a.parameters.items():
        assert b.parameters[name].value == pytest.approx(estimate.value, rel=1e-3)
        # The scatter over 50 degrees of freedom is known to 10 %; a third is three sigma.
        assert b.parameters[name].standard_error == pytest.approx(estimate.standard_error, rel=0.33)


def test_the_example_is_spin_transfer() -> None:
    """The example comes from the Fokker-Planck solution, not from any of these laws."""
    found = read_devices([Path(__file__).parents[2] / "examples" / "data" / "switching.csv"])
    assert len(found) == 6
    for one in found[::2]:
        assert isinstance(one, Measurements)
        compared = fit_models(one.sets, START, QUICK, Settings())
        assert compared.fitted[0].word == "stt"
        assert compared.fitted[0].result.p_value is not None
        assert compared.fitted[0].result.p_value > 0.01
        # V_c of the nominal junction, of which each barrier is within 10 %.
        upright = replace(START, B_bias=(0, 0, 0), xi=0.0, RA=20e-12)
        V_c = upright.alpha_G * upright.B_k() / abs(spin_torque_field(upright, 1.0))
        mine = compared.fitted[0].result.parameters["V_c (P->AP)"]
        assert abs(mine.value - V_c) < 4 * mine.standard_error + 0.1 * V_c


# --- judgement -----------------------------------------------------------------------------------------


def test_deviance_by_hand() -> None:
    k, trials, P = np.array([3.0, 0.0, 10.0]), np.full(3, 10.0), np.array([0.5, 0.1, 0.9])
    by_hand = [2 * (3 * math.log(0.6) + 7 * math.log(1.4)), 20 * math.log(1 / 0.9), 20 * math.log(1 / 0.9)]
    assert deviances(k, trials, P) == pytest.approx(by_hand)


def test_deviance_residuals_by_hand() -> None:
    """One miss in 200 where the model expects 0.02 is 7 standard errors of the model and no finding."""
    k, trials, P = np.array([199.0, 200.0, 5300.0, 0.0]), np.array([200.0, 200.0, 10_000.0, 200.0]), np.full(4, 0.9999)
    P[2:] = 0.5, 0.25
    found = signed_root(k, trials, P)
    assert found[0] == pytest.approx(-math.sqrt(2 * (199 * math.log(0.995 / 0.9999) + math.log(0.005 / 1e-4))))
    assert -2.5 < found[0] < -2.4
    assert found[1] == pytest.approx(math.sqrt(400 * -math.log(0.9999)))
    assert found[2] == pytest.approx(300 / math.sqrt(2500), rel=0.01)  # the standard error where counts are many
    assert found[3] < 0


@pytest.mark.parametrize("word", QUICK)
def test_a_fit_that_was_kept_predicts_as_it_did(word: str) -> None:
    sets = simulated(word, 3)
    found = Measurements(kind="switching", sets=sets, files=({"name": "t.csv"},), device="A")
    made = fit_measurements(found, START, models=(word,))
    kept = FitRecord.of(made, found, START, notes=[], fixed=(), degree=None, spin_torque=False, command=(),
                        environment={})  # fmt: skip
    again = prediction(FitRecord.from_json(kept.to_json()), found, START)
    assert made.model is not None
    assert again(sets) == pytest.approx(made.model.predict(sets), abs=1e-9)


@pytest.mark.parametrize(("n", "p"), [(1, 0.3), (10, 1e-12), (200, 0.02), (10**5, 0.9999), (10**9, 0.4)])
def test_drawn_counts_are_binomial(n: int, p: float) -> None:
    (count,) = _quantiles(np.array([float(n)]), np.array([p]))
    u = (np.arange(2001) + 0.5) / 2001
    assert np.abs(count(u) - binom.ppf(u, n, p)).max() <= (0 if n < 10**6 else 2)
    assert 0 <= count(np.array([1e-16]))[0] <= count(np.array([1 - 1e-16]))[0] <= n


@pytest.mark.parametrize(("trials", "slope"), [(10, 1.0), (10, 3.0), (100, 3.0)])
def test_probabilities_hold_at_small_counts(trials: int, slope: float) -> None:
    """A logistic curve, fitted exactly: the probabilities are uniform where the chi-squared law is far off."""
    x = np.linspace(-3, 3, 15)
    X, rng, ours, chi2 = np.stack([np.ones(15), x], axis=1), np.random.default_rng(1), [], []
    for _ in range(150):
        k, theta = rng.binomial(trials, expit(0.3 + slope * x)), np.array([0.3, slope])
        for _ in range(60):
            P = expit(X @ theta)
            step = np.linalg.solve((X.T * (trials * P * (1 - P))) @ X + 1e-9 * np.eye(2), X.T @ (k - trials * P))
            theta = theta + np.clip(step, -1, 1)
        if np.abs(theta).max() > 15:
            continue  # a step without a slope
        P = expit(X @ theta)
        judged = judge([SwitchingData(voltage=x, width=1e-9, P_sw=k / trials, trials=trials)], P, X)  # type: ignore[arg-type]
        assert judged.p_value is not None
        ours.append(judged.p_value)
        chi2.append(chdtrc(judged.dof, judged.total))
    assert len(ours) > 140
    assert kstest(ours, "uniform").pvalue > 1e-4
    if slope > 1:
        assert kstest(chi2, "uniform").pvalue < 1e-6


# --- devices -------------------------------------------------------------------------------------------


def test_spread_with_equal_errors_by_hand() -> None:
    x, e = np.array([1.0, 2.0, 4.0, 7.0]), 0.5
    mean, between = between_devices(x, [e] * 4)
    variance = x.var(ddof=1)
    assert mean.value == pytest.approx(3.5)
    assert between.value == pytest.approx(math.sqrt(variance - e**2))
    ends = [math.sqrt(3 * variance / chdtri(3, q) - e**2) for q in (0.025, 0.975)]
    assert [between.low, between.high] == pytest.approx(ends)
    _, none = between_devices([1.0, 1.01, 0.99], [0.5] * 3)
    assert (none.value, none.low) == (0, 0)
    with pytest.raises(InputError, match="1 values tell no spread"):
        between_devices([1.0], [0.1])


def test_spread_intervals_cover() -> None:
    rng, held, means, n, s = np.random.default_rng(2), 0, 0, 300, 0.7
    for _ in range(n):
        e = rng.uniform(0.2, 1.5, 8)
        mean, between = between_devices(rng.normal(3, s, 8) + e * rng.standard_normal(8), e)
        held += between.low <= s <= between.high
        means += mean.low <= 3 <= mean.high
    # 95 % within four binomial errors; the interval of the mean is the wider of two, so it may hold more often.
    slack = 4 * math.sqrt(0.95 * 0.05 / n)
    assert abs(held / n - 0.95) < slack
    assert means / n > 0.95 - slack


def test_files_of_devices_are_distinct_and_plain() -> None:
    names = file_names(["A 1", "A/1", "..", "ä", "x" * 200, "CON:1"])
    assert len({name.casefold() for name in names.values()}) == 6
    assert all(name.startswith("devices/") and "/" not in name[8:] and " " not in name for name in names.values())
    assert names["A 1"] == "devices/A_1.json"


def test_precession_needs_no_cancelling_at_threshold() -> None:
    near = Precessional().logs(np.array([1 - 1e-9, 1, 1 + 1e-9]), np.full(3, 2.0), np.full(3, 40.0))[0]
    assert near == pytest.approx(near[1], rel=1e-4)
