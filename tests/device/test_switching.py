import math
from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_json, write_json
from voltaspin.device import Pulse, SwitchingModel, fair_pulse, presets
from voltaspin.device.llg import switching_probability
from voltaspin.device.response import logistic as _logistic
from voltaspin.device.switching import _fit, _logistic_regression
from voltaspin.random.streams import Stream

GENERATOR = presets.generator
PULSE = Pulse(voltage=1.3 * GENERATOR.V_c, width=0.28e-9)


@pytest.fixture(scope="module")
def model() -> SwitchingModel:
    return SwitchingModel.from_llg(
        GENERATOR,
        PULSE,
        n_devices=1000,
        seed=1,
        K_eff_points=4,
        B_z_points=3,
        B_z_range=(-8e-3, 8e-3),
        dt=3e-12,
    )


@settings(deadline=None)  # the first example compiles
@given(p01=st.floats(0, 1), p10=st.floats(0, 1), s=st.floats(-1e3, 1e3), b=st.floats(-10, 10))
def test_constant_is_constant(p01: float, p10: float, s: float, b: float) -> None:
    a, c = SwitchingModel.constant(p01, p10).probabilities(K_eff_scale=[[s, 1.0]], B_z=b)
    assert a.dtype == c.dtype == np.float64
    assert a.shape == c.shape == (1, 2)
    assert (a == p01).all()
    assert (c == p10).all()


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_constant_refuses_what_is_no_probability(p: float) -> None:
    with pytest.raises(InputError, match="p10"):
        SwitchingModel.constant(0.5, p)


def test_mirror_symmetry_of_the_built_model(model: SwitchingModel) -> None:
    b = np.linspace(-8e-3, 8e-3, 9)
    p01, p10 = model.probabilities(K_eff_scale=0.9, B_z=b)
    np.testing.assert_allclose(p01, p10[::-1], rtol=1e-12)
    assert (np.diff(p01) < 0).all()  # a field towards up holds the 0


def test_the_symmetry_holds_in_the_simulation() -> None:
    # What from_llg relies on: p10 at B_z and p01 at -B_z, simulated apart.
    n = 4000
    up = switching_probability(
        GENERATOR.with_variation(B_z=-6e-3), PULSE, initial="up", n_devices=n, dt=3e-12, relax=4e-9, seed=2
    )
    down = switching_probability(
        GENERATOR.with_variation(B_z=6e-3), PULSE, initial="down", n_devices=n, dt=3e-12, relax=4e-9, seed=2
    )
    assert abs(up.value - down.value) < 4 * math.hypot(up.error, down.error)


def test_built_model_says_how_it_was_built(model: SwitchingModel) -> None:
    assert model.provenance["n_devices"] == 1000
    assert model.provenance["p10_from_mirror_symmetry"] is True
    assert 0 < model.fit_error < 4 * 0.5 / math.sqrt(1000)
    assert model.junction == GENERATOR
    assert model.pulse == PULSE


def test_torque_or_bias_builds_both_wells() -> None:
    seen: list[tuple[int, int]] = []
    SwitchingModel.from_llg(
        replace(GENERATOR, B_bias=(0.03, 0.0, 1e-3)), PULSE, n_devices=64, K_eff_points=3, B_z_points=3,
        dt=3e-12, relax=1e-9, progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert seen == [(k + 1, 18) for k in range(18)]


@pytest.mark.parametrize(
    ("scale", "B_z", "message"),
    [
        (1.3, 0.0, r"K_eff_scale = 1.3 is outside the range 0.75 to 1.25 .*K_eff="),
        (1.0, -9e-3, r"B_z = -0.009 T is outside .*B_z="),
        (math.nan, 0.0, "not finite"),
    ],
)
def test_refuses_outside_its_range(model: SwitchingModel, scale: float, B_z: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model.probabilities(K_eff_scale=[1.0, scale], B_z=B_z)


def test_saves_and_loads_to_the_bit(model: SwitchingModel, tmp_path) -> None:  # type: ignore[no-untyped-def]
    for kept in (model, SwitchingModel.constant(0.25, 1.0)):
        kept.save(tmp_path / "m.json")
        assert SwitchingModel.load(tmp_path / "m.json") == kept


def test_load_refuses_other_files(model: SwitchingModel, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "m.json"
    model.save(path)
    good = read_json(path)
    for change, message in (
        ({"schema_version": 99}, "version 99"),
        ({"surprise": 1}, "surprise"),
        ({"p01": good["p01"][:-1]}, "coefficients"),
        ({"junction": {**good["junction"], "t_F": -1.0}}, "t_F"),
        ({"junction": {**good["junction"], "colour": 1}}, "colour"),
    ):
        write_json(path, {**good, **change})
        with pytest.raises(InputError, match=message):
            SwitchingModel.load(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="JSON"):
        SwitchingModel.load(path)


def test_a_damaged_exponent_does_not_divide_by_zero(model: SwitchingModel) -> None:
    fields = {name: getattr(model, name) for name in SwitchingModel.model_fields}
    fields["variables"] = tuple((name, ((w[0][0], -1, w[0][2]),), c, h) for name, w, c, h in model.variables)
    with pytest.raises(ValueError, match=r"divides by B_z, which may be 0 in -0\.008 to 0\.008 T; build"):
        SwitchingModel(**fields)


def test_bad_grids_are_refused() -> None:
    for options in ({"K_eff_range": (1.1, 1.2)}, {"B_z_range": (1e-3, 2e-3)}, {"B_z_points": 2}):
        with pytest.raises(InputError):
            SwitchingModel.from_llg(GENERATOR, PULSE, n_devices=1, **options)  # type: ignore[arg-type]


def test_logistic_regression_recovers_a_known_surface() -> None:
    # Exact counts of a known polynomial come back; noisy ones come back within chi2 and at the right degree.
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(-1, 1, 7), np.linspace(-1, 1, 5)))
    u = 0.1 - 0.5 * y + 0.3 * x + 0.4 * x * y
    n = 100_000
    X = np.stack([np.ones_like(x), y, x, x * y], axis=1)
    np.testing.assert_allclose(_logistic_regression(X, n * _logistic(u), n), [0.1, -0.5, 0.3, 0.4], atol=1e-9)
    noise = Stream.of(1, "test").normals(u.size)
    p = _logistic(u)
    counts = np.round(n * p + noise * np.sqrt(n * p * (1 - p)))
    terms, _, rms, chi2 = _fit(x, y, counts[None], n)
    assert terms[-1] == (2, 0)  # a product term needs total degree 2; more would predict worse
    assert chi2 < 1 + 2 * math.sqrt(2 / (35 - 6))
    assert rms < 2 * 0.5 / math.sqrt(n)


def test_certain_pulses_stay_probabilities() -> None:
    X = np.ones((9, 1))
    for k in (0.0, 1000.0):
        c = _logistic_regression(X, np.full(9, k), 1000)
        assert abs(_logistic(c)[0] - k / 1000) < 1e-3


class TestShipped:
    def test_the_table_of_0_1_0_is_kept(self) -> None:
        old = SwitchingModel.shipped("0.1.0")
        assert (old.junction, old.pulse) == (GENERATOR, PULSE)
        assert "from_llg" in old.provenance["command"]
        assert old.chi2_per_dof is not None
        assert old.chi2_per_dof < 2

    @pytest.mark.parametrize("version", [None, "0.1.0"])
    def test_is_near_a_fair_coin(self, version: Literal["0.1.0"] | None) -> None:
        shipped = SwitchingModel.shipped(version)
        assert shipped.junction == GENERATOR
        p01, p10 = shipped.probabilities(K_eff_scale=1.0, B_z=0.0)
        assert abs(p01 - 0.5) < 0.01
        assert p01 == p10

    def test_is_the_density_under_the_fair_pulse(self) -> None:
        shipped, fair = SwitchingModel.shipped(), fair_pulse(GENERATOR)
        assert shipped.pulse == fair.pulse
        assert "fair_pulse" in shipped.provenance["command"]
        p01, p10 = shipped.probabilities(K_eff_scale=[0.95, 1.0], B_z=[-2e-3, 0.0])
        corners = {c.name: c for c in fair.corners}
        assert shipped.worst_error is not None
        for k, name in enumerate(("K_eff -5%, B_z -2 mT", "nominal")):
            allowed = shipped.worst_error + fair.error
            assert (p01[k], p10[k]) == pytest.approx((corners[name].p01, corners[name].p10), abs=allowed)

    @pytest.mark.parametrize("version", [None, "0.1.0"])
    def test_agrees_with_a_fresh_ensemble(self, version: Literal["0.1.0"] | None) -> None:
        # Off the grid and at another time step; fit error and counting error added.
        shipped = SwitchingModel.shipped(version)
        assert shipped.pulse is not None
        for s, b in ((0.93, 3e-3), (1.1, -5e-3)):
            fresh = switching_probability(
                GENERATOR.with_variation(K_eff_scale=s, B_z=b),
                shipped.pulse,
                n_devices=6000,
                dt=1e-12,
                relax=10e-9,
                seed=77,
            )
            p01, _ = shipped.probabilities(K_eff_scale=s, B_z=b)
            assert abs(fresh.value - float(p01)) < 3 * math.hypot(fresh.error, shipped.fit_error)


@pytest.fixture(scope="module")
def surrogate() -> SwitchingModel:
    T = TestFromFokkerPlanck
    return SwitchingModel.from_fokker_planck(T.soft, T.pulse, K_eff=0.1, B_z=2e-3, xi=0.05, diameter=0.0, **T.options)


class TestFromFokkerPlanck:
    soft = GENERATOR.with_variation(K_eff_scale=0.3)
    pulse = Pulse(voltage=1.3 * soft.V_c, width=0.25e-9)
    options: ClassVar[dict[str, Any]] = {"solutions": 96, "relax": 1e-9, "degree": 22, "cached": False}

    def test_answers_as_fresh_solutions_do(self, surrogate: SwitchingModel) -> None:
        from voltaspin.device.fokker_planck import switching_pair

        assert surrogate.worst_error is not None
        assert 0 < surrogate.fit_error <= surrogate.worst_error < 0.05
        rng = np.random.default_rng(5)
        for s, x, b in rng.uniform(-1, 1, (12, 3)) * [0.1, 0.05, 2e-3] + [1, 1, 0]:
            cell = self.soft.with_variation(K_eff_scale=s, xi_scale=x, B_z=b)
            exact = switching_pair(cell, self.pulse, relax=1e-9, spin_torque=False, degree=22)
            found = surrogate.probabilities(K_eff_scale=s, xi_scale=x, B_z=b)
            # Held-out cells measured the error; twelve more stay within twice their largest.
            assert abs(float(found[0]) - exact[0]) < 2 * surrogate.worst_error
            assert abs(float(found[1]) - exact[1]) < 2 * surrogate.worst_error

    def test_refuses_what_it_was_not_built_for(self, surrogate: SwitchingModel) -> None:
        with pytest.raises(InputError, match=r"diameter_scale = 1.02 is outside the range 1 to 1 .*diameter=\.\.\."):
            surrogate.probabilities(diameter_scale=[1.0, 1.02])

    def test_is_kept_in_the_cache(self, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
        monkeypatch.setenv("VOLTASPIN_CACHE", str(tmp_path))
        few = {**self.options, "solutions": 20, "cached": True}
        first = SwitchingModel.from_fokker_planck(self.soft, self.pulse, xi=0, diameter=0, **few)
        kept = list(tmp_path.rglob("*.json"))
        assert len(kept) == 1
        monkeypatch.setattr("voltaspin.device.surrogate.build", None)  # never called again
        assert SwitchingModel.from_fokker_planck(self.soft, self.pulse, xi=0, diameter=0, **few) == first

    def test_bad_input(self) -> None:
        for options, message in (
            ({"K_eff": -0.1}, "half range -0.1 of K_eff_scale"),
            ({"xi": 1.0}, "half range 1.0 of xi_scale"),
            ({"solutions": 5}, "5 solutions cannot carry a fit"),
        ):
            with pytest.raises(InputError, match=message):
                SwitchingModel.from_fokker_planck(self.soft, self.pulse, **{**self.options, **options})


def test_measurements_become_a_model() -> None:
    from voltaspin.device.fit.data import SwitchingData

    fields = np.linspace(-4e-3, 4e-3, 9)
    exact = _logistic(np.stack([0.1 + 60 * fields, -0.05 - 55 * fields]))
    counts = np.random.default_rng(3).binomial(20_000, exact)
    data = [
        SwitchingData(
            voltage=np.full(9, 1.5), width=np.full(9, 0.3e-9), B_z=fields, P_sw=k / 20_000, trials=20_000, initial=well
        )
        for k, well in zip(counts, ("up", "down"), strict=True)
    ]
    model = SwitchingModel.from_measurements(*data)
    assert model.pulse == Pulse(voltage=1.5, width=0.3e-9)
    p01, p10 = model.probabilities(B_z=[-2e-3, 0.0, 3e-3])
    expected = _logistic(np.array([[0.1 + 60 * b, -0.05 - 55 * b] for b in (-2e-3, 0.0, 3e-3)]))
    # 20,000 pulses per point, several points per coefficient: 0.0035 a point.
    np.testing.assert_allclose(p01, expected[:, 0], atol=4 * 0.0035)
    np.testing.assert_allclose(p10, expected[:, 1], atol=4 * 0.0035)
    with pytest.raises(InputError, match=r"K_eff_scale = 1\.1 is outside the range 1 to 1"):
        model.probabilities(K_eff_scale=1.1)
