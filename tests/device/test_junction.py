import math
from dataclasses import FrozenInstanceError, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import j1

from voltaspin.core.errors import InputError
from voltaspin.core.files import write_json
from voltaspin.core.units import k_B, nm, ns
from voltaspin.device import Junction, Pulse, presets
from voltaspin.device.demagnetisation import cylinder_demagnetisation, ellipse_demagnetisation
from voltaspin.device.parameters import OFF
from voltaspin.device.terms import SelfHeating, SpinOrbitLine, SpinTransfer
from voltaspin.device.torque import forces, oxide_voltage
from voltaspin.device.warming import rise, stretches

pytestmark = pytest.mark.installed

GENERATOR = presets.generator


@pytest.mark.parametrize("tau", [0.1, 0.5, 2.0])
def test_demagnetisation_matches_the_charged_faces(tau: float) -> None:
    # Magnetostatic self-energy of two charged discs in Hankel space; the tail beyond 4000 is below 1e-6.
    factor = sum(
        quad(lambda q: j1(q) ** 2 / q**2 * -math.expm1(-2 * tau * q), a, a + 20, limit=200)[0]
        for a in range(0, 4000, 20)
    )
    N = cylinder_demagnetisation(diameter=50 * nm, height=tau * 50 * nm)
    assert N[2] == pytest.approx(factor / tau, abs=2e-6)
    assert sum(N) == pytest.approx(1)


def test_demagnetisation_of_a_squat_cylinder_and_of_the_limits() -> None:
    assert cylinder_demagnetisation(diameter=1.0, height=1e-4)[2] == pytest.approx(1, abs=1e-3)
    assert cylinder_demagnetisation(diameter=1.0, height=100.0)[2] == pytest.approx(0, abs=5e-3)
    # A cylinder as high as 0.9065 diameters demagnetises like a sphere (Joseph 1966).
    assert cylinder_demagnetisation(diameter=1.0, height=0.9065)[2] == pytest.approx(1 / 3, abs=1e-3)


@pytest.mark.parametrize(("long", "short", "height"), [(60, 40, 1.1), (200, 60, 2.0), (50, 10, 30), (50, 50, 5)])
def test_demagnetisation_of_an_ellipse_matches_the_correlation_of_the_pillar(
    long: float, short: float, height: float
) -> None:
    # In real space: the overlap of two displaced ellipses, integrated with the field of a dipole; the integral over
    # z was done by hand. Midpoint rule in the scaled radius, whose integrand is smooth but for its ends.
    a, b, n = long / 2, short / 2, 4000
    rho = (np.arange(n) + 0.5) / n * 2
    azimuth = (np.arange(400) + 0.5) / 400 * 2 * math.pi
    slope = -np.sqrt(4 - rho**2)  # of the overlap of two unit discs with their distance
    overlap = 2 * np.arccos(rho / 2) - rho / 2 * np.sqrt(4 - rho**2)
    x, y = np.multiply.outer(rho, a * np.cos(azimuth)), np.multiply.outer(rho, b * np.sin(azimuth))
    r = np.hypot(x, y)
    cell = (a * b) ** 2 * rho[:, None] * (2 / n) * (2 * math.pi / 400)
    volume = math.pi * a * b * height
    along = np.sqrt(r**2 + height**2) / r**2 - 1 / r
    Nx = -np.sum(cell * slope[:, None] * (rho[:, None] * np.cos(azimuth) ** 2) * along) / (2 * math.pi * volume)
    Nz = np.sum(cell * overlap[:, None] * (1 / r - 1 / np.hypot(r, height))) / (2 * math.pi * volume)
    ours = ellipse_demagnetisation(diameter=long, diameter_y=short, height=height)
    # The midpoint rule leaves its step near the pole of the dipole field, 2 / n of the integrand there.
    assert ours[0] == pytest.approx(Nx, abs=1e-3)
    assert ours[2] == pytest.approx(Nz, abs=1e-3)
    assert sum(ours) == pytest.approx(1, abs=1e-12)
    if long == short:
        assert ours == pytest.approx(cylinder_demagnetisation(diameter=long, height=height), abs=1e-12)


def test_a_term_that_is_off_leaves_no_trace_and_one_that_is_on_is_kept(tmp_path: Path) -> None:
    line = SpinOrbitLine(width=70 * nm, thickness=4 * nm, length=200 * nm, resistivity=2e-6, theta_SH=-0.3)
    more = replace(
        presets.generator, diameter=60 * nm, diameter_y=40 * nm, N=None, K2=1e4, R_series=500.0, line=line,
        reference=(1.0, 0.0, 1.0), spin_transfer=SpinTransfer(polarity=-1, field_like=0.2),
        heating=SelfHeating(thermal_resistance=1e6, tau=2 * ns),
    )  # fmt: skip
    assert presets.generator.terms == ()
    assert "line" not in presets.generator.to_json()
    assert "line" not in repr(presets.generator)
    assert set(more.terms) == set(OFF)
    more.save(tmp_path / "j.json")
    assert Junction.load(tmp_path / "j.json") == more
    changed = Junction.of(f"{tmp_path / 'j.json'}, theta_SH=0.2, STT_polarity=1, thermal_tau=3ns, diameter_y=50nm")
    assert changed.line == replace(line, theta_SH=0.2)
    assert changed.heating is not None
    assert changed.heating.tau == pytest.approx(3 * ns)
    assert changed.N == pytest.approx(
        ellipse_demagnetisation(diameter=60 * nm, diameter_y=50 * nm, height=more.t_F), rel=1e-9
    )
    with pytest.raises(InputError, match=r"theta_SH = 0.3 is of the term line, which generator does not have"):
        Junction.of("generator, theta_SH=0.3")
    with pytest.raises(InputError, match=r"knows VCMA .* and generator has .*K2"):
        more.require_plain("the exporter")


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"diameter_y": 60 * nm}, "x is the long axis"),
        ({"diameter_y": 1 * nm}, "up to 20 times"),
        ({"K2": math.nan}, "K2 = nan J/m"),
        ({"R_series": -1.0}, "R_series = -1.0 ohm"),
        ({"reference": (0.0, 0.0, 0.0)}, "not all zero"),
        ({"reference": (math.nan, 0.0, 0.0)}, "not all zero"),
    ],
)
def test_a_term_out_of_range_is_named(bad: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        replace(presets.generator, N=None, **bad)


@pytest.mark.parametrize("values", [{"polarity": 0}, {"efficiency": 0.0}, {"field_like": math.inf}])
def test_a_torque_out_of_range_is_named(values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(values))):
        SpinTransfer(**values)


def test_forces_of_a_pulse_by_hand() -> None:
    g = presets.generator
    line = SpinOrbitLine(width=50 * nm, thickness=5 * nm, length=100 * nm, resistivity=2e-6, theta_SH=0.2, gate=0.5)
    j = replace(g, line=line, K2=2e4, spin_transfer=SpinTransfer(efficiency=0.4, field_like=0.5))
    assert line.resistance == pytest.approx(800.0)
    assert line.current(0.4) == pytest.approx(0.5e-3)
    at = forces(j, 0.4)
    # J = 0.4 V / (2e-6 ohm m 100 nm) = 2e12 A/m^2; hbar / 2e = 3.2911e-16 V s.
    a_SO = 3.2910598e-16 * 0.2 * 2e12 / (1e6 * 1.1e-9)
    a_J = -3.2910598e-16 * 0.4 / (1e6 * 1.1e-9) * 0.2 / 1e-9
    assert at.damping == pytest.approx((0, a_SO, a_J), rel=1e-6)
    assert at.field == pytest.approx((0.03, 0, 0.5 * a_J), rel=1e-6)
    assert at.B_k == pytest.approx(g.B_k(0.2))
    assert at.B_K2 == pytest.approx(0.08)
    assert at.B_shape == 0
    # A divider: the oxide sees less, and more where its resistance is higher.
    r = replace(g, R_series=g.R_P)
    assert oxide_voltage(r, 1.0, cosine=1.0) < oxide_voltage(r, 1.0) < oxide_voltage(r, 1.0, cosine=-1.0)
    flat = replace(r, TMR0=0.0)
    assert oxide_voltage(flat, 1.0, cosine=1.0) == pytest.approx(0.5)


def test_a_pulse_warms_the_layer_by_its_power() -> None:
    heating = SelfHeating(thermal_resistance=1e7, tau=2 * ns)
    j = replace(presets.generator, heating=heating)
    pulse = Pulse(voltage=1.0, width=3 * ns)
    times = np.linspace(0, 9 * ns, 10)
    warm = rise(j, pulse, times)
    watts = float(j.conductance(0.0, 1.0))
    assert warm[1:4] == pytest.approx(1e7 * watts * -np.expm1(-times[1:4] / heating.tau), rel=1e-12)
    assert warm[9] == pytest.approx(warm[3] * math.exp(-3), rel=1e-12)
    parts = list(stretches(j, pulse, 9 * ns))
    assert parts[0][0] == 0
    assert parts[-1][1] == pytest.approx(9 * ns)
    assert all(a[1] == b[0] for a, b in pairwise(parts))
    mean = sum((b - a) * (p.temperature - 300) for a, b, p in parts) / (9 * ns)
    exact = 1e7 * watts * 3 / 9  # the integral of a rise is that of its power
    assert mean + warm[9] * 2 / 9 == pytest.approx(exact, rel=2e-3)
    assert list(stretches(presets.generator, pulse, 9 * ns)) == [(0.0, 9 * ns, presets.generator)]


def test_generator_has_its_quoted_figures() -> None:
    assert GENERATOR.K_eff() == pytest.approx(7.67e4, rel=1e-3)
    assert GENERATOR.B_k() == pytest.approx(0.1534, rel=1e-3)
    assert GENERATOR.Delta() == pytest.approx(40)
    assert GENERATOR.V_c == pytest.approx(1.18, rel=2e-3)
    assert GENERATOR.barrier() == pytest.approx(26, abs=0.2)
    assert GENERATOR.barrier(0.1) == pytest.approx(23, abs=0.5)
    assert GENERATOR.barrier(-0.1) == pytest.approx(29, abs=0.5)
    assert 1e-12 * 1000 / GENERATOR.area == pytest.approx(509e3, rel=1e-3)
    assert GENERATOR.conductance(1.0) == pytest.approx(1 / 509e3, rel=1e-3)
    assert GENERATOR.K_eff(GENERATOR.V_c) == pytest.approx(0, abs=1e-6)


def test_storage_keeps_its_bit() -> None:
    assert presets.storage.barrier() >= 60
    assert presets.storage.V_c < 1.5


def test_variation_of_interface_and_of_K_eff_differ() -> None:
    # 5 % in K_i is a large change of K_eff, a small difference of large numbers; 5 % in K_eff is 5 %.
    stiffer = replace(GENERATOR, K_i=1.05 * GENERATOR.K_i)
    assert stiffer.K_eff() / GENERATOR.K_eff() > 1.4
    cell = GENERATOR.with_variation(K_eff_scale=1.05, B_z=2e-3)
    assert cell.K_eff() == pytest.approx(1.05 * GENERATOR.K_eff())
    assert cell.K_eff(1.0) - cell.K_eff() == pytest.approx(GENERATOR.K_eff(1.0) - GENERATOR.K_eff())
    assert cell.B_bias == (0.03, 0.0, 2e-3)


def test_barrier_with_a_field_along_z() -> None:
    # Stoner-Wohlfarth along the axis: Delta (1 - h)^2 out of the shallower well, whichever it is.
    for B_z in (0.02, -0.02):
        junction = replace(GENERATOR, B_bias=(0.0, 0.0, B_z))
        h = 0.02 / junction.B_k()
        assert junction.barrier() == pytest.approx(40 * (1 - h) ** 2, rel=1e-6)
    assert GENERATOR.with_variation(B_z=1e-9).barrier() == pytest.approx(GENERATOR.barrier(), rel=1e-5)
    assert replace(GENERATOR, B_bias=(0.2, 0.0, 0.0)).barrier() == 0
    assert replace(GENERATOR, B_bias=(0.14, 0.0, 0.1)).barrier() == 0  # outside the astroid
    assert GENERATOR.barrier(1.2) == 0


def test_conductance_ends_at_the_two_resistances() -> None:
    for voltage in (0.0, 0.5, -0.5):
        G = GENERATOR.conductance([1.0, -1.0, 0.0], voltage)
        np.testing.assert_allclose(1 / G[:2], [GENERATOR.R_P, GENERATOR.R_AP(voltage)])
        assert G[2] == pytest.approx((G[0] + G[1]) / 2)
    assert GENERATOR.R_AP(0.5) == pytest.approx(1.5 * GENERATOR.R_P)  # the TMR has halved at V_h
    with pytest.raises(InputError, match="-1 to 1"):
        GENERATOR.conductance(1.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"diameter": 0.0}, r"diameter = 0.0 m must be finite and positive; .*50 \* nm"),
        ({"t_F": -1e-9}, "t_F"),
        ({"Ms": math.nan}, "Ms = nan A/m"),
        ({"alpha_G": 0.0}, "alpha_G"),
        ({"temperature": -1.0}, "temperature = -1.0 K"),
        ({"TMR0": -0.1}, "TMR0"),
        ({"xi": 1e-4}, "VCMA coefficient"),
        ({"B_bias": (0.0, math.inf, 0.0)}, "B_bias"),
        ({"B_bias": (0.0, 0.0)}, "three finite numbers"),
        ({"N": (0.1, 0.1, 0.1)}, "add up to 1"),
        ({"N": (0.0, 0.1, 0.9)}, "round"),
    ],
)
def test_junction_refuses(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(GENERATOR, **change)  # type: ignore[arg-type]


def test_junction_is_frozen_and_keyword_only() -> None:
    with pytest.raises(FrozenInstanceError):
        GENERATOR.Ms = 1.0  # type: ignore[misc]
    with pytest.raises(TypeError):
        Junction(50e-9, 1.1e-9, 1.4e-9, 1e6, 1e-3, 1e-13, 0.02)  # type: ignore[misc]


@given(
    Delta=st.floats(1, 200), diameter=st.floats(10e-9, 100e-9), t_F=st.floats(0.5e-9, 3e-9),
    Ms=st.floats(2e5, 1.5e6), temperature=st.floats(4, 500),
)  # fmt: skip
def test_from_stability_inverts_Delta(Delta: float, diameter: float, t_F: float, Ms: float, temperature: float) -> None:
    junction = Junction.from_stability(
        Delta=Delta, diameter=diameter, t_F=t_F, Ms=Ms, alpha_G=0.02, xi=1e-13, t_ox=1.4e-9,
        temperature=temperature,
    )  # fmt: skip
    assert junction.Delta() == pytest.approx(Delta, rel=1e-6)
    assert junction.B_k() == pytest.approx(2 * Delta * k_B * temperature / (Ms * junction.volume), rel=1e-6)


def test_pulse_is_a_trapezoid() -> None:
    pulse = Pulse(voltage=1.0, width=1 * ns, rise=0.2 * ns, fall=0.4 * ns)
    assert pulse.duration == pytest.approx(1.3 * ns)
    time = np.linspace(0, pulse.duration, 100_001)
    assert np.mean(pulse.voltage_at(time)) * pulse.duration == pytest.approx(pulse.voltage * pulse.width, rel=1e-4)
    np.testing.assert_allclose(pulse.voltage_at([-1e-12, 0.1 * ns, 0.5 * ns, 1.1 * ns, 2 * ns]), [0, 0.5, 1, 0.5, 0])
    np.testing.assert_allclose(Pulse(voltage=1.0, width=1 * ns).voltage_at([0, 1 * ns, 1.001 * ns]), [1, 1, 0])


def test_pulse_energy() -> None:
    # Rectangular: V^2 width times the mean conductance. Edges: the same integral over time.
    V = 1.2
    G = (1 / GENERATOR.R_P + 1 / GENERATOR.R_AP(V)) / 2
    assert Pulse(voltage=V, width=0.5 * ns).energy(GENERATOR) == pytest.approx(V**2 * G * 0.5e-9)
    edged = Pulse(voltage=V, width=1 * ns, rise=0.5 * ns, fall=0.3 * ns)
    time = np.linspace(0, edged.duration, 20_001)
    power = [v**2 * float(GENERATOR.conductance(0.0, float(v))) for v in edged.voltage_at(time)]
    assert edged.energy(GENERATOR) == pytest.approx(float(np.mean(power)) * edged.duration, rel=1e-3)


def test_energy_scale_of_a_published_cell() -> None:
    # About 1 fJ at RA 1300 ohm um^2 and 0.5 ns, 1.2 V, 50 nm.
    cell = replace(GENERATOR, RA=1300e-12)
    assert 0.7e-15 < Pulse(voltage=1.2, width=0.5 * ns).energy(cell) < 1.3e-15


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0.0},
        {"voltage": math.nan},
        {"rise": -1e-10},
        {"rise": 1.5e-9, "fall": 1e-9},
        {"width": math.inf},
    ],
)
def test_pulse_refuses(change: dict[str, float]) -> None:
    with pytest.raises(InputError):
        Pulse(**{"voltage": 1.0, "width": 1 * ns, **change})


# --- by name, by file, and with changes ----------------------------------------------------------------


def test_a_name_a_file_and_changes_name_a_junction(tmp_path) -> None:
    made = Junction.of("generator, t_F=1.2nm, TMR=150%")
    assert (made.t_F, made.TMR0, made.name) == (
        pytest.approx(1.2e-9), pytest.approx(1.5), "generator, t_F=1.2nm, TMR=150%",
    )  # fmt: skip
    assert made.N == pytest.approx(cylinder_demagnetisation(diameter=made.diameter, height=1.2e-9))
    made.save(tmp_path / "cell, warm.json")
    made.save(tmp_path / "cell.json")
    assert Junction.of(str(tmp_path / "cell, warm.json")) == Junction.of(str(tmp_path / "cell.json")) == made
    cold = Junction.of(f"{tmp_path / 'cell.json'}, temperature=250K")
    assert (cold.temperature, cold.name) == (250.0, f"{made.name}, temperature=250K")
    assert Junction.of("generator") == presets.generator


@pytest.mark.parametrize(
    "file",
    ["device/junction.json", "device/device.json", "device-fit/fitted/junction.json", "device-fit/fitted/fit.json"],
)
def test_the_files_of_0_1_0_are_junctions(file: str) -> None:
    found = Junction.of(str(Path(__file__).parents[1] / "data" / "v0.1.0" / file))
    assert found.name.startswith("storage, B_x=20mT" if file.startswith("device/j") else "generator")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("genrator", "'genrator' is unknown; did you mean 'generator'? known: generator, storage"),
        ("generator, t_f=1nm", "did you mean 't_F'? known: diameter, t_F"),
        ("generator, quickly", "give NAME=VALUE with one of the names diameter"),
        ("generator, t_F=30mT", "'mT' is no unit of length"),
        ("generator, Delta=4, K_i=1e-3", "say the same twice"),
        ("none.json", "none.json"),
        ("", "known: generator"),
    ],
)
def test_a_text_that_names_no_junction_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        Junction.of(text)
    assert says in str(caught.value)


def test_a_file_without_a_junction_or_a_field_is_refused(tmp_path) -> None:
    write_json(tmp_path / "fit.json", {"kind": "fit", "schema_version": 1, "junction": None})
    with pytest.raises(InputError, match="holds no junction"):
        Junction.of(str(tmp_path / "fit.json"))
    data = presets.generator.to_json()
    del data["RA"]
    with pytest.raises(InputError, match="field 'RA' is missing"):
        Junction.from_json(data)


def test_one_of_several_fitted_devices_is_picked_by_its_name(tmp_path: Path) -> None:
    other = replace(GENERATOR, xi=2 * GENERATOR.xi, name="B 2")
    (tmp_path / "devices").mkdir()
    for name, junction in (("A1", GENERATOR), ("B_2", other)):
        junction.save(tmp_path / "devices" / f"{name}.json")
    rows = [{"device": "A1", "file": "devices/A1.json"}, {"device": "B 2", "file": "devices/B_2.json"}]
    fits = tmp_path / "fit.json"
    write_json(fits, {"kind": "device-fits", "schema_version": 1, "devices": rows})
    assert Junction.of(f"{fits}#B 2") == other
    assert Junction.of(f"{fits}#A1, t_F=1.2nm").t_F == pytest.approx(1.2 * nm)
    for wrong in (fits, f"{fits}#C3"):
        with pytest.raises(InputError, match=r"give one, .*fit\.json#NAME: A1, B 2"):
            Junction.of(str(wrong))
    with pytest.raises(InputError, match=r"holds one junction, and no device 'A1'; leave #A1 out"):
        Junction.load(tmp_path / "devices" / "A1.json#A1")
    # A name with the sign in it is a file first.
    GENERATOR.save(tmp_path / "a#b.json")
    assert Junction.of(str(tmp_path / "a#b.json")) == GENERATOR
