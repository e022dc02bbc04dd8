import math
from dataclasses import fields

import pytest
from scipy.integrate import dblquad
from scipy.special import ellipe, ellipk

from voltaspin.core.errors import InputError
from voltaspin.core.units import e_charge, fJ_per_Vm, hbar, k_B, mT, mu_0, nm, ns, ohm_um2
from voltaspin.device import Junction, Pulse, presets
from voltaspin.device.fokker_planck import FokkerPlanck
from voltaspin.device.junction import cylinder_demagnetisation
from voltaspin.device.low_barrier import relaxation
from voltaspin.device.parameters import OFF
from voltaspin.device.protocol import Protocol

WITH_TERMS = [name for name in presets.names() if presets.get(name).terms]
PUBLISHED = [name for name in presets.names() if name not in ("generator", "storage", *WITH_TERMS)]


def test_names_begin_with_our_two_and_hold_five_published_junctions() -> None:
    assert presets.names()[:2] == ("generator", "storage")
    assert len(PUBLISHED) >= 5
    assert len(set(presets.names())) == len(presets.names())
    assert presets.get("generator") is presets.generator
    assert presets.get("storage") is presets.storage


def test_our_two_junctions_stay_as_shipped_data_name_them() -> None:
    # Shipped data name a junction by this text; it may not change by a digit.
    shared = (
        "Junction(diameter=5.0000000000000004e-08, t_F=1.1000000000000001e-09, t_ox=1.4e-09, Ms=1000000.0, "
        "K_i={}, xi={}, alpha_G=0.02, B_bias=(0.03, 0.0, 0.0), temperature=300.0, RA=1e-09, TMR0=1.0, V_h=0.5, "
        "N=(0.032936611173962405, 0.032936611173962405, 0.9341267776520752), name='{}')"
    )
    assert repr(presets.generator) == shared.format("0.0007072369807482176", "1e-13", "generator")
    assert repr(presets.storage) == shared.format("0.000783178127009617", "2e-13", "storage")


@pytest.mark.parametrize("name", presets.names())
def test_every_argument_of_a_preset_has_a_source(name: str) -> None:
    junction, sources = presets.get(name), presets.sources(name)
    assert junction.name == presets.entry(name).name == name
    needed = {field.name for field in fields(Junction)} - {"N", "K_i", "name", *OFF}
    assert needed <= set(sources)
    assert ("K_i" in sources) != ("Delta" in sources)
    for key, number in sources.items():
        assert number.source.strip()
        if key in ("reference", "line.sigma"):
            direction = junction.reference if key == "reference" else junction.line.sigma
            assert math.degrees(math.atan2(direction[1], direction[0])) == pytest.approx(number.value)
            continue
        term, _, inner = key.rpartition(".")
        if term:
            assert getattr(getattr(junction, term), inner) == pytest.approx(number.value, rel=1e-9), key
            continue
        held = {"B_bias": lambda: junction.B_bias[0], "N": lambda: junction.N[2], "Delta": junction.Delta}
        value = held.get(key, lambda key=key: getattr(junction, key))()
        assert value == pytest.approx(number.value, rel=1e-9), key


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_junction_is_a_perpendicular_one(name: str) -> None:
    junction, entry = presets.get(name), presets.entry(name)
    assert entry.title
    assert entry.notes
    assert name.split("-")[1] in entry.citation
    assert junction.K_eff() > 0
    assert junction.K_eff(junction.V_c) == pytest.approx(0, abs=1e-6 * junction.K_eff())
    assert 15 < junction.barrier() <= junction.Delta() < 100


@pytest.mark.parametrize("name", PUBLISHED + WITH_TERMS)
def test_what_a_paper_does_not_give_is_marked_and_is_the_generator_s(name: str) -> None:
    ours = presets.sources("generator")
    for key, number in presets.sources(name).items():
        if number.source.startswith("not given"):
            assert number.grade == "assumed"
            assert number.value == ours[key].value
        else:
            assert name.split("-")[0].capitalize() in number.source, key


def test_kanai_2016_has_the_printed_oxide() -> None:
    junction, sources = presets.get("kanai-2016"), presets.sources("kanai-2016")
    assert junction.t_ox == pytest.approx(2.8 * nm)
    assert pytest.approx(176_000 * ohm_um2) == junction.RA
    assert {key for key, number in sources.items() if number.grade == "measured"} == {"t_ox", "RA"}


def test_wang_2016_follows_its_laws_down_to_round_numbers_at_room_temperature() -> None:
    junction = presets.get("wang-2016")
    assert junction.Ms == pytest.approx(1.2e6, rel=1e-8)  # what the digits of Ms(0) were made for
    shrunk = junction.Ms / 1393128.323
    assert 53.39247 * shrunk**2.83 == pytest.approx(35, rel=1e-6)  # likewise the digits of the other xi(0)
    assert junction.xi == pytest.approx(35 * fJ_per_Vm * 130.39247 / 53.39247, rel=1e-6)
    assert pytest.approx(100e3) == junction.R_P
    # The program's RA(t_ox), an exponential, forwards; it takes the area in units of 1e-13 m^2.
    assert junction.R_P * junction.area * 1e13 == pytest.approx(1.54e-3 * math.exp(1.1537278e10 * junction.t_ox))
    assert junction.B_in_plane == pytest.approx(13.8 * mT, abs=0.05 * mT)
    # Its demagnetising factor: Beleggia's formula, but with the parameter k^4 where k^2 belongs.
    zeta = 1.22 / 60
    k = (1 + zeta**2) ** -0.5
    E, K = ellipe(k**4), ellipk(k**4)
    wrong = 1 + 4 * (1 - ((1 - zeta**2) * E + zeta**2 * K) / k) / (3 * math.pi * zeta)
    assert junction.N[2] == pytest.approx(wrong, abs=1e-6)
    # The cylinder that it misses is named as the end of the range.
    Nz = cylinder_demagnetisation(diameter=60 * nm, height=1.22 * nm)[2]
    assert presets.sources("wang-2016")["N"].high == pytest.approx(Nz, abs=5e-5)


def test_song_2018_is_the_published_spice_model() -> None:
    junction = presets.get("song-2018")
    assert junction.area == pytest.approx((70 * nm) ** 2)
    assert pytest.approx(130 * ohm_um2 / (70 * nm) ** 2) == junction.R_P
    # The model's own stability, in its units (cgs) and constants; it leaves the in-plane factor out.
    Nz, Ms = junction.N[2], 950 * (1 - 358 / 1420) ** 0.4
    printed = 2 * (355 / 113) * (1.5 / 1.49 - Nz) * Ms**2 * 70e-9 * 70e-9 * 1.49e-9 * 1e6 / (1.38e-16 * 358)
    in_plane = mu_0 * junction.Ms**2 / 2 * junction.N[0] * junction.volume / (k_B * junction.temperature)
    assert junction.Delta() - in_plane == pytest.approx(printed, rel=1e-3)  # k_B is rounded to 3 digits there
    P = 0.54 * (1 - 2e-5 * 358**1.5)
    assert pytest.approx(2 * P**2 / (1 - P**2)) == junction.TMR0
    assert junction.TMR(0.65) == pytest.approx(junction.TMR0 / 2)
    # Its pulse of 2.45 V works: the in-plane field has taken the barrier away below V_c.
    assert junction.barrier(2.45) == 0
    assert junction.barrier() > 40


def test_song_2018_demagnetises_like_a_square_prism() -> None:
    # Magnetostatic energy of two charged squares, in polar coordinates of the distance; eight equal sectors.
    side, height = 70.0, 1.49

    def integrand(r: float, phi: float) -> float:
        c, s = r * math.cos(phi), r * math.sin(phi)
        return (side - c) * (side - s) * (1 - r / math.hypot(r, height))

    total, _ = dblquad(integrand, 0, math.pi / 4, 0, lambda phi: side / math.cos(phi), epsrel=1e-8)
    Nz = 8 * total / (2 * math.pi * side**2 * height)
    assert presets.get("song-2018").N[2] == pytest.approx(Nz, abs=1e-6)


def test_zhang_2020_has_the_model_s_shape_factor_and_field() -> None:
    junction = presets.get("zhang-2020")
    assert junction.N[0] == pytest.approx(math.pi * 1.1 / (4 * 50))
    assert junction.N[2] - junction.N[0] == pytest.approx(1 - 3 * math.pi * 1.1 / (4 * 50))
    assert junction.B_in_plane == pytest.approx(mu_0 * 50 * 1000 / (4 * math.pi))  # 50 Oe
    assert pytest.approx(331e3, rel=2e-3) == junction.R_P


def test_arm_2021_has_the_printed_resistances_and_shape_factors() -> None:
    junction = presets.get("arm-2021")
    assert pytest.approx(6e3) == junction.R_P
    assert pytest.approx(2.57, abs=0.005) == junction.TMR0
    assert pytest.approx((0.029, 0.029, 0.941), abs=6e-4) == junction.N  # printed to 3 digits, adding up to 0.999
    assert junction.V_c / junction.t_ox > 2e9  # no oxide holds 2 V/nm: a cell for spin transfer


def test_liu_2022_has_the_printed_resistance_and_loses_its_anisotropy_at_its_pulse() -> None:
    junction = presets.get("liu-2022")
    assert pytest.approx(5e3) == junction.R_P
    assert pytest.approx(9.8 * ohm_um2, abs=0.05 * ohm_um2) == junction.RA
    assert round(junction.K_i, 7) == 1.0056e-3
    assert sum(junction.N) == pytest.approx(1)
    assert junction.N[0] == pytest.approx(0.010613177892974, abs=1e-12)
    assert junction.K_eff(1.5) < 0
    assert junction.B_in_plane == 0


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    for ask in (presets.get, presets.sources, presets.entry):
        with pytest.raises(InputError, match="known: generator, storage, kanai-2016"):
            ask("other")


def test_sources_are_a_copy() -> None:
    presets.sources("liu-2022").clear()
    assert presets.sources("liu-2022")


def test_the_spin_orbit_model_of_zhang_writes_at_the_currents_of_its_paper() -> None:
    # The published figures: 2 ns of -85 uA do not write, and the error rate falls between -90 and -100 uA.
    junction = presets.get("zhang-2020-sot")
    assert junction.line is not None
    assert junction.line.resistance == pytest.approx(278e-8 * 60e-9 / (50e-9 * 3e-9))

    def written(current: float) -> float:
        pulse = Pulse(voltage=current * junction.line.resistance, width=2 * ns)
        return FokkerPlanck(48).once(junction, pulse, Protocol("down"))[0]

    assert written(-60e-6) < 0.05
    assert written(-100e-6) > 0.5


def test_the_spin_transfer_model_writes_both_ways_by_the_sign_of_the_voltage() -> None:
    junction = presets.get("arm-2021-stt")
    # By hand, |a_J| = alpha B_k at the threshold, with a_J from the polarisation of 0.75 and B_k at that voltage.
    P, alpha_G = 0.75, 0.01
    a_J = hbar * P / (1 + P * P) / (2 * e_charge * junction.Ms * junction.t_F) / junction.RA
    fall = 2 * junction.xi / (junction.Ms * junction.t_ox * junction.t_F)
    plus = alpha_G * junction.B_k() / (a_J + alpha_G * fall)
    minus = alpha_G * junction.B_k() / (a_J - alpha_G * fall)
    for V, well in ((plus, "up"), (-minus, "down")):
        assert junction.barrier(0.99 * V, well=well) > 0
        assert junction.barrier(1.01 * V, well=well) == 0
    assert 0.02 < plus < minus < 1.0


def test_the_superparamagnetic_bit_is_as_fast_as_it_was_measured() -> None:
    junction = presets.get("schnitzspan-2023")
    assert junction.barrier() < 2
    assert relaxation(junction).correlation_time.value == pytest.approx(5e-9, rel=0.02)
    assert {key for key, n in presets.sources("schnitzspan-2023").items() if n.grade == "measured"} == {
        "diameter",
        "RA",
    }
