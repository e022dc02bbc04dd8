import math
from dataclasses import replace

import pytest

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Sourced
from voltaspin.core.units import mu_0, nm
from voltaspin.device import Junction, presets
from voltaspin.device.temperature import TemperatureLaw, at_temperature

LAW = TemperatureLaw()
SPLIT = 5.97e5 / (mu_0 / 2 * 1.0e6**2)  # Nz - Nx for 5.97e5 J/m^3 of demagnetisation


def factors(difference: float) -> tuple[float, float, float]:
    Nz = (1 + 2 * difference) / 3
    return (1 - Nz) / 2, (1 - Nz) / 2, Nz


def delta_forty(N: tuple[float, float, float] | None) -> Junction:
    return Junction.from_stability(
        Delta=40, diameter=50 * nm, t_F=1.1 * nm, Ms=1.0e6, alpha_G=0.02, xi=1e-13, t_ox=1.4 * nm, N=N
    )


def with_exponent(exponent: float) -> TemperatureLaw:
    return replace(LAW, K_i_exponent=Sourced(exponent, "1", "a test", "assumed"))


@pytest.mark.parametrize(("exponent", "Delta"), [(2.2, 27), (3.0, 16)])
def test_delta_forty_at_360_K(exponent: float, Delta: float) -> None:
    # K_i/t_F is 6.73e5 J/m^3 here; each part falls by its own power of Ms(360)/Ms(300) = 0.94776.
    junction = delta_forty(factors(SPLIT))
    assert junction.K_i / junction.t_F == pytest.approx(6.737e5, rel=1e-3)
    hot = at_temperature(junction, 360.0, law=with_exponent(exponent))
    assert hot.Delta() == pytest.approx(Delta, abs=0.25)
    fall = (1 - (360 / 1100) ** 1.5) / (1 - (300 / 1100) ** 1.5)
    K_eff = junction.K_i / junction.t_F * fall**exponent - 5.97e5 * fall**2
    assert hot.Delta() == pytest.approx(40 * K_eff / junction.K_eff() * 300 / 360)


def test_the_cylinders_own_factors_give_another_figure() -> None:
    junction = delta_forty(None)
    assert junction.N is not None
    assert mu_0 / 2 * 1e12 * (junction.N[2] - junction.N[0]) == pytest.approx(5.66e5, rel=1e-3)
    assert at_temperature(junction, 360.0, law=with_exponent(2.2)).Delta() == pytest.approx(27.3, abs=0.05)
    assert at_temperature(junction, 360.0, law=with_exponent(3.0)).Delta() == pytest.approx(16.8, abs=0.05)


def test_exponent_two_needs_no_split() -> None:
    for N in (None, factors(SPLIT), factors(0.5)):
        hot = at_temperature(delta_forty(N), 360.0, law=with_exponent(2.0))
        assert hot.Delta() == pytest.approx(40 * 0.9477616**2 * 300 / 360, rel=1e-6)


def test_what_changes_and_what_stays() -> None:
    cold, hot = presets.generator, at_temperature(presets.generator, 360.0)
    fall = hot.Ms / cold.Ms
    assert fall == pytest.approx(0.9477616, rel=1e-6)
    assert hot.K_i / cold.K_i == pytest.approx(fall**2.2)
    assert hot.xi / cold.xi == pytest.approx(fall**2.83)
    assert hot.V_c < cold.V_c  # the anisotropy falls faster than the VCMA effect
    assert hot.temperature == 360.0
    for name in ("N", "RA", "V_h", "alpha_G", "B_bias", "diameter", "t_F", "t_ox", "name"):
        assert getattr(hot, name) == getattr(cold, name)
    # TMR0 = 1 is P^2 = 1/3; P falls by (1 - 2e-5 360^1.5) / (1 - 2e-5 300^1.5) = 0.86339/0.89608 = 0.96352.
    squared = 0.96352**2 / 3
    found = hot.TMR0 / (2 + hot.TMR0)
    assert found == pytest.approx(squared, rel=1e-4)
    assert replace(cold, TMR0=0.0) == at_temperature(replace(cold, TMR0=0.0), 300.0)


def test_there_and_back() -> None:
    back = at_temperature(at_temperature(presets.generator, 380.0), 300.0)
    direct = at_temperature(at_temperature(presets.generator, 340.0), 380.0)
    for name in ("Ms", "K_i", "xi", "TMR0", "temperature"):
        assert getattr(back, name) == pytest.approx(getattr(presets.generator, name), rel=1e-12)
        assert getattr(direct, name) == pytest.approx(
            getattr(at_temperature(presets.generator, 380.0), name), rel=1e-12
        )
    frozen = at_temperature(presets.generator, 0.0)
    assert frozen.Ms == pytest.approx(1e6 / (1 - (300 / 1100) ** 1.5))
    assert frozen.Delta() == math.inf


@pytest.mark.parametrize(
    ("temperature", "message"),
    [(-1.0, "temperature = -1.0 K"), (math.nan, "temperature = nan K"), (1100.0, "not below T_star = 1100 K")],
)
def test_temperature_refuses(temperature: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        at_temperature(presets.generator, temperature)


def test_laws_refuse() -> None:
    with pytest.raises(InputError, match="not below T_star"):
        at_temperature(replace(presets.generator, temperature=1200.0), 300.0)
    with pytest.raises(InputError, match=r"T_star = 0\.0 K"):
        replace(LAW, T_star=Sourced(0.0, "K", "a test", "assumed"))
    steep = replace(LAW, spin_wave=Sourced(1e-4, "K^-1.5", "a test", "assumed"))
    with pytest.raises(InputError, match=r"no spin polarisation is left at 500 K.*stay below 464 K"):
        at_temperature(presets.generator, 500.0, law=steep)
    with pytest.raises(InputError, match="would diverge at 4 K"):
        at_temperature(replace(presets.generator, TMR0=20.0), 4.0)
