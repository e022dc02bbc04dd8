import math
from dataclasses import replace

import pytest

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Sourced
from voltaspin.core.units import nm, ns
from voltaspin.device import Pulse, presets
from voltaspin.device.breakdown import Breakdown, BreakdownWarning, EModel, PowerLaw, check_breakdown, lifetime

OXIDE = replace(presets.generator, diameter=math.sqrt(4 * 2e-15 / math.pi), N=None)  # the anchor's area
BODY = 1 - math.exp(-1)  # the 63 % point, where Weibull's slope does not matter
MODELS = (PowerLaw(), EModel())


@pytest.mark.parametrize("model", MODELS)
def test_the_anchor_is_met(model: Breakdown) -> None:
    assert lifetime(OXIDE, voltage=2.1, model=model, failure=BODY) == pytest.approx(1.0)  # 1.5 V/nm over 1.4 nm
    assert lifetime(OXIDE, voltage=-2.1, model=model, failure=BODY) == pytest.approx(1.0)
    assert lifetime(OXIDE, voltage=0.0, model=model) == math.inf


def test_acceleration_by_hand() -> None:
    # Half the field is 2^45 = 3.518e13 anchor times for the power law, exp(0.75 * 30) = 5.911e9 for the E-model.
    assert lifetime(OXIDE, voltage=1.05, model=PowerLaw(), failure=BODY) == pytest.approx(3.518e13, rel=1e-3)
    assert lifetime(OXIDE, voltage=1.05, model=EModel(), failure=BODY) == pytest.approx(5.911e9, rel=1e-3)


def test_models_share_slope_and_value_at_the_anchor() -> None:
    power, exponential = (math.log(lifetime(OXIDE, voltage=2.1 * 0.999, model=model, failure=BODY)) for model in MODELS)
    assert power == pytest.approx(exponential, rel=1e-2)


def test_Weibull_and_area() -> None:
    # 1 ppm of ln(1/(1-F)) = 1e-6 at slope 1.5 is a life of 1e-4; four times the area costs 4^(1/1.5) = 2.52.
    body = lifetime(OXIDE, voltage=1.5, failure=BODY)
    assert lifetime(OXIDE, voltage=1.5) / body == pytest.approx(1e-4, rel=1e-5)
    wide = replace(OXIDE, diameter=2 * OXIDE.diameter, N=None)
    assert body / lifetime(wide, voltage=1.5, failure=BODY) == pytest.approx(2.51984, rel=1e-5)


def test_tiny_voltages_do_not_overflow() -> None:
    assert lifetime(OXIDE, voltage=1e-12) == math.inf
    assert lifetime(OXIDE, voltage=1e-12, model=EModel(), failure=BODY) == pytest.approx(math.exp(45), rel=1e-6)


def test_pulses_are_counted_and_warned_about() -> None:
    pulse = Pulse(voltage=1.8, width=0.3 * ns)
    survived = check_breakdown(OXIDE, pulse, pulses=1000)
    assert survived == pytest.approx(lifetime(OXIDE, voltage=1.8) / 0.3e-9)
    with pytest.warns(BreakdownWarning, match=r"pulses of 1\.8 V .* lower the voltage"):
        assert check_breakdown(OXIDE, pulse, pulses=2 * survived) == survived
    assert issubclass(BreakdownWarning, UserWarning)


def test_above_the_breakdown_field_nothing_is_extrapolated() -> None:
    with pytest.raises(InputError, match=r"3\.1 V over 1\.4 nm of oxide is 2\.21 V/nm.*stay below 2\.8 V"):
        check_breakdown(presets.generator, Pulse(voltage=3.1, width=1 * ns))
    check_breakdown(replace(presets.generator, t_ox=2.8 * nm), Pulse(voltage=3.1, width=1 * ns))
    with pytest.raises(ValueError, match="above the"):
        lifetime(presets.generator, voltage=-3.1, model=EModel())


@pytest.mark.parametrize("change", [{"failure": 0.0}, {"failure": 1.0}, {"voltage": math.nan}])
def test_lifetime_refuses(change: dict[str, float]) -> None:
    with pytest.raises(InputError):
        lifetime(OXIDE, **{"voltage": 1.0, **change})


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(InputError, match=r"slope = 0\.0"):
        PowerLaw(slope=Sourced(0.0, "1", "a test", "assumed"))
    with pytest.raises(InputError, match="pulses"):
        check_breakdown(OXIDE, Pulse(voltage=1.0, width=1 * ns), pulses=-1)
    with pytest.raises(TypeError):
        Breakdown()  # type: ignore[abstract]


def test_no_parameter_claims_more_than_was_read() -> None:
    for model in MODELS:
        grades = {number.grade for number in vars(model).values()}
        assert grades <= {"recalled", "assumed"}
