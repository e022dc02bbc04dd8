"""The exact solver with further terms, against answers that come from elsewhere: formulas, integrals, symmetries."""

import math
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import dblquad

from voltaspin.core.errors import InputError
from voltaspin.core.units import gamma_e, k_B, mT, nm, ns
from voltaspin.device import Junction, Pulse, SwitchingModel, llg, log_flip_rate
from voltaspin.device.breakdown import check_breakdown
from voltaspin.device.density import built, generator, side_indicator, start_density, steps
from voltaspin.device.drive import diffusion, drive
from voltaspin.device.energy import Energy
from voltaspin.device.fokker_planck import FokkerPlanck, switching_map, switching_probability
from voltaspin.device.low_barrier import relaxation
from voltaspin.device.overview import overview
from voltaspin.device.protocol import Protocol
from voltaspin.device.sphere import coordinates
from voltaspin.device.temperature import at_temperature
from voltaspin.device.terms import SelfHeating, SpinTransfer
from voltaspin.device.torque import oxide_voltage, spin_torque_field
from voltaspin.device.transport import ReadScheme, pulse_energy, read, read_disturb

sys.path.insert(0, str(Path(__file__).parent))
from terms_cases import CASES, GENERATOR, IN_PLANE, LINE, SMALL, written


def moment(junction: Junction, degree: int, density: np.ndarray, axis: int) -> float:
    one = np.zeros(len(density))
    one[0] = math.sqrt(4 * math.pi)
    return float((coordinates(degree)[axis] @ one) @ density)


# --- the operators -------------------------------------------------------------------------------------


def test_a_junction_without_terms_is_the_limit_of_one_with_them() -> None:
    pulse = Pulse(voltage=1.2, width=0.3 * ns, rise=0.05 * ns)
    plain = replace(GENERATOR, B_bias=(25 * mT, 10 * mT, 2 * mT))
    ask = partial(switching_probability, pulse=pulse, degree=40, rtol=10, spin_torque=True)
    exact = ask(plain)
    assert ask(replace(plain, K2=1e-9)).value == pytest.approx(exact.value, abs=1e-9)
    # A reference layer that is turned around exchanges the names of the wells.
    around = ask(replace(plain, reference=(0, 0, -1), spin_transfer=SpinTransfer(polarity=-1)), initial="down")
    assert around.value == pytest.approx(exact.value, abs=1e-9)


def test_the_in_plane_frame_may_be_turned_about_z() -> None:
    # The plain operators turn the field onto x; the others take it as it is.
    turned = replace(SMALL, K2=5e3, reference=(0.6, 0, 0.8), B_bias=(20 * mT, 5 * mT, 3 * mT))
    c, s = math.cos(1.1), math.sin(1.1)
    about = lambda v: (c * v[0] - s * v[1], s * v[0] + c * v[1], v[2])  # noqa: E731
    other = replace(turned, reference=about(turned.reference), B_bias=about(turned.B_bias))
    pulse = Pulse(voltage=0.4, width=0.5 * ns)
    a, b = (switching_probability(j, pulse, degree=30, rtol=10) for j in (turned, other))
    assert a.value == pytest.approx(b.value, abs=1e-10)


def test_a_whole_frame_permuted_gives_the_same_probabilities() -> None:
    # An easy axis along z is an easy axis along x: -K z^2 is K (x^2 + y^2), and -K x^2 is K (y^2 + z^2), which is an
    # elliptical pillar with K_shape = K whose K_eff is -K. Nothing but the frame differs.
    wide, short = 100 * nm, 60 * nm
    ellipse = replace(IN_PLANE, diameter=wide, diameter_y=short, N=None, alpha_G=0.1)
    K = ellipse.K_shape
    ellipse = replace(ellipse, K_i=ellipse.K_i - (ellipse.K_eff() + K) * ellipse.t_F)
    assert ellipse.K_eff() == pytest.approx(-K, rel=1e-9)
    upright = replace(GENERATOR, alpha_G=0.1, diameter=math.sqrt(wide * short), N=None, xi=0.0, name="upright")
    upright = replace(upright, K_i=upright.K_i - (upright.K_eff() - K) * upright.t_F)
    assert upright.volume == pytest.approx(ellipse.volume)
    field = 8 * mT, 3 * mT, -5 * mT
    line = replace(LINE, sigma=(0, 1, 0), length=2000 * nm)
    # x of the ellipse is z of the upright one, its y is x, its z is y.
    a = replace(ellipse, B_bias=field, line=line)
    b = replace(upright, B_bias=(field[1], field[2], field[0]), line=replace(line, sigma=(1, 0, 0)))
    assert a.barrier() == pytest.approx(b.barrier(), rel=1e-9)
    pulse = Pulse(voltage=0.1, width=1 * ns)
    left, right = (switching_probability(j, pulse, degree=44, rtol=10) for j in (a, b))
    assert left.value == pytest.approx(right.value, abs=max(1e-8, 3 * (left.error + right.error)))


def test_equilibrium_stays_and_has_boltzmanns_moments() -> None:
    junction = replace(
        SMALL, diameter=60 * nm, diameter_y=50 * nm, N=None, K2=4e3, B_bias=(5 * mT, 8 * mT, 2 * mT)
    )  # fmt: skip
    degree, energy = 40, Energy.of(junction)

    def boltzmann(weight, half: bool = False):
        def integrand(z, phi):
            s = math.sqrt(1 - z * z)
            m = np.array([s * math.cos(phi), s * math.sin(phi), z])
            return weight(m) * math.exp(-float(energy(m)) - 20)

        return dblquad(integrand, 0, 2 * math.pi, 0 if half else -1, 1, epsabs=0, epsrel=1e-6)[0]

    whole, up = boltzmann(lambda m: 1.0), boltzmann(lambda m: 1.0, half=True)
    both = [start_density(junction, degree=degree, well=w) for w in ("up", "down")]
    density = up / whole * both[0] + (1 - up / whole) * both[1]
    for axis in (0, 1, 2):
        mean = boltzmann(lambda m, axis=axis: m[axis]) / whole
        assert moment(junction, degree, density, axis) == pytest.approx(mean, abs=1e-6)
    after = generator(junction, 0.0, degree=degree).propagate(density, 5 * ns)
    assert np.abs(after - density).max() < 1e-6


# --- without a barrier ---------------------------------------------------------------------------------


def free(**values) -> Junction:
    """A layer without any anisotropy, so that m turns and diffuses freely."""
    bare = replace(SMALL, N=None, diameter=30 * nm, xi=0.0, reference=(1.0, 0.0, 0.0), **values)
    return replace(bare, K_i=bare.K_i - bare.K_eff() * bare.t_F)


def test_free_diffusion_forgets_at_twice_the_diffusion_constant() -> None:
    junction = free(temperature=900.0)
    degree, D = 12, diffusion(junction)
    start = start_density(junction, degree=degree, well="up")
    assert moment(junction, degree, start, 0) == pytest.approx(0.5, abs=1e-9)  # of a uniform half sphere
    for t in (0.1 / D, 0.5 / D):
        after = generator(junction, 0.0, degree=degree).propagate(start, t)
        assert moment(junction, degree, after, 0) == pytest.approx(0.5 * math.exp(-2 * D * t), rel=1e-9)
    found = relaxation(junction)
    assert found.correlation_time.value == pytest.approx(1 / (2 * D), rel=1e-6)
    assert found.rate is not None
    assert found.rate.value == pytest.approx(2 * D, rel=1e-3)
    assert found.up.value == pytest.approx(0.5, abs=1e-9)
    with pytest.raises(InputError, match="below 1 k_B T"):
        log_flip_rate(junction)


def test_dephasing_about_a_field_without_a_barrier() -> None:
    # In a field that is weak beside k_B T, <m_x> = exp(-2 D t) cos(gamma' B t) / 2 but for the square of
    # b = B Ms V / k_B T: the drift towards the field couples <m_x> to <m_x m_z>, which begins at zero.
    B = 0.5 * mT
    junction = replace(free(temperature=900.0, B_bias=(0.0, 0.0, B)), alpha_G=0.005)
    b = B * junction.Ms * junction.volume / (k_B * 900.0)
    degree, D = 14, diffusion(junction)
    turn = gamma_e / (1 + junction.alpha_G**2) * B
    start = start_density(junction, degree=degree, well="up")
    for t in (0.2 / D, 0.6 / D):
        after = generator(junction, 0.0, degree=degree).propagate(start, t)
        for axis, shape in ((0, math.cos), (1, math.sin)):
            expected = 0.5 * math.exp(-2 * D * t) * shape(turn * t)
            assert moment(junction, degree, after, axis) == pytest.approx(expected, abs=b * b)
    assert turn * 0.6 / D > 3  # half a turn and more


def test_mean_state_of_a_bit_without_a_barrier_is_langevins() -> None:
    for B in (1 * mT, 5 * mT):
        junction = free(B_bias=(B, 0.0, 0.0))
        b = B * junction.Ms * junction.volume / (k_B * 300)
        assert relaxation(junction).cosine.value == pytest.approx(1 / math.tanh(b) - 1 / b, abs=1e-8)
        share = 0.5 + 0.5 * math.tanh(b / 2)  # (e^b - 1) / (e^b - e^-b)
        assert relaxation(junction).up.value == pytest.approx(share, abs=1e-4)


# --- torques -------------------------------------------------------------------------------------------


def test_a_field_like_torque_is_a_field() -> None:
    base = written(spin_transfer=SpinTransfer(field_like=0.5), B_bias=(15 * mT, 0, 0))
    V = 0.1
    a_J = spin_torque_field(base, V)
    still = replace(base, spin_transfer=SpinTransfer(field_like=0.0), B_bias=(15 * mT, 0, 0.5 * a_J))
    one, two = (generator(j, V, degree=16).diagonals for j in (base, still))
    assert np.abs(one - two).max() <= 1e-12 * np.abs(one).max()


def test_polarity_and_voltage_change_sign_together() -> None:
    pulse = Pulse(voltage=0.15, width=3 * ns)
    opposite = replace(pulse, voltage=-0.15)
    plus = written(spin_transfer=SpinTransfer(polarity=1, field_like=0.2))
    minus = written(spin_transfer=SpinTransfer(polarity=-1, field_like=0.2))
    ask = partial(switching_probability, degree=30, rtol=10)
    assert ask(plus, pulse).value == pytest.approx(ask(minus, opposite).value, abs=1e-11)
    assert ask(plus, pulse).value > 10 * ask(plus, opposite).value  # it favours antiparallel
    # The mirror image of everything: from down with the other polarity.
    assert ask(minus, pulse, initial="down").value == pytest.approx(ask(plus, pulse).value, abs=1e-11)
    sot = replace(SMALL, line=LINE, B_bias=(15 * mT, 0, 0))
    a = ask(sot, Pulse(voltage=0.3, width=0.5 * ns))
    b = ask(sot, Pulse(voltage=-0.3, width=0.5 * ns), initial="down")
    assert a.value == pytest.approx(b.value, abs=1e-10)


def test_torque_on_a_plain_junction_by_name_and_by_term() -> None:
    named = replace(SMALL, RA=5e-12, B_bias=(10 * mT, 0, 0))
    pulse = Pulse(voltage=0.1, width=1 * ns)
    ask = partial(switching_probability, pulse=pulse, degree=30, rtol=10)
    one, two = ask(named, spin_torque=True), ask(replace(named, spin_transfer=SpinTransfer()))
    assert one.value == pytest.approx(two.value, abs=1e-11)
    assert ask(replace(named, spin_transfer=SpinTransfer()), spin_torque=True).value == two.value


# --- circuit and heat ----------------------------------------------------------------------------------


def test_a_series_resistance_without_TMR_divides_the_voltage() -> None:
    flat = replace(SMALL, TMR0=0.0, B_bias=(20 * mT, 0, 0))
    pulse = Pulse(voltage=0.8, width=0.6 * ns, rise=0.1 * ns)
    half = replace(pulse, voltage=0.4)
    ask = partial(switching_probability, degree=30, rtol=10)
    divided = ask(replace(flat, R_series=flat.R_P), pulse)
    assert divided.value == pytest.approx(ask(flat, half).value, abs=1e-9)
    # By hand: 0.8 V over twice R_P, and the same current as half of it over one.
    assert pulse.energy(replace(flat, R_series=flat.R_P)) == pytest.approx(2 * half.energy(flat), rel=1e-12)


def test_a_series_resistance_lowers_the_field_by_the_share_at_each_angle() -> None:
    junction = replace(SMALL, R_series=4e5, TMR0=3.0)
    V = 0.6
    for side, well in ((1.0, "up"), (-1.0, "down")):
        # In a narrow well only the share at its pole counts: the generator's drift there is B_k at that voltage.
        field = np.polynomial.polynomial.polyval(side, drive(junction, V).field)
        assert field == pytest.approx(side * junction.B_k(oxide_voltage(junction, V, side)), rel=1e-8), well
    with pytest.raises(InputError, match="use llg"):
        generator(replace(junction, reference=(1.0, 0.0, 1.0)), V, degree=10)


def test_heat_that_comes_at_once_is_a_hotter_junction_and_none_is_none() -> None:
    cold = replace(SMALL, B_bias=(20 * mT, 0, 0))
    pulse = Pulse(voltage=0.4, width=0.6 * ns)
    ask = partial(switching_probability, pulse=pulse, degree=30, rtol=10)
    R = 3e8
    heated = replace(cold, heating=SelfHeating(thermal_resistance=R, tau=1e-13))
    watts = 0.4**2 * float(cold.conductance(0.0, 0.4))
    hot = at_temperature(cold, 300 + R * watts)
    start = start_density(cold, degree=30, well="up")
    by_hand = built(30, generator(hot, 0.4, degree=30).weights).propagate(start, pulse.width)
    by_hand = generator(cold, 0.0, degree=30).propagate(by_hand, 10 * ns)
    flipped = 1 - float(side_indicator(30, (0.0, 0.0, 1.0)) @ by_hand)
    # m turns by about gamma B_k 0.1 ps = 1e-3 while it warms.
    assert ask(heated).value == pytest.approx(flipped, abs=1e-3)
    assert abs(ask(heated).value - ask(cold).value) > 5e-3
    slow = replace(cold, heating=SelfHeating(thermal_resistance=0.0, tau=1 * ns))
    assert ask(slow).value == pytest.approx(ask(cold).value, abs=1e-10)


def test_energy_of_a_pulse_along_a_line_by_hand() -> None:
    junction = replace(GENERATOR, line=replace(LINE, gate=0.5))
    pulse = Pulse(voltage=0.4, width=2 * ns)
    R = 2e-6 * 100e-9 / (60e-9 * 4e-9)
    expected = (0.4**2 / R + 0.2**2 * float(GENERATOR.conductance(0.0, 0.2))) * 2e-9
    assert pulse.energy(junction) == pytest.approx(expected, rel=1e-12)
    assert check_breakdown(replace(junction, line=LINE), pulse, pulses=1e15) == math.inf  # no gate, no stress


# --- what refuses, and what both solvers are asked -----------------------------------------------------


def test_a_map_follows_its_pulses() -> None:
    junction = replace(SMALL, K2=3e3, line=LINE, B_bias=(15 * mT, 0, 0))
    found = switching_map(
        junction, voltages=[0.2, 0.3], widths=[0.3 * ns, 0.5 * ns], rise=0.05 * ns, degree=24, atol=1, threads=1
    )  # fmt: skip
    one = FokkerPlanck(24).once(junction, Pulse(voltage=0.3, width=0.3 * ns, rise=0.05 * ns), Protocol())
    assert found.P_sw[1, 0] == pytest.approx(1 - one[1], abs=1e-9)
    heated = replace(junction, heating=SelfHeating(thermal_resistance=1e6, tau=1 * ns))
    warm = switching_map(heated, voltages=[0.3], widths=[0.3 * ns], rise=0.05 * ns, degree=24, atol=1, threads=1)
    one = FokkerPlanck(24).once(heated, Pulse(voltage=0.3, width=0.3 * ns, rise=0.05 * ns), Protocol())
    assert warm.P_sw[0, 0] == pytest.approx(1 - one[1], abs=1e-12)


def test_what_knows_plain_junctions_alone_refuses() -> None:
    from voltaspin.device import circuit, sensitivities
    from voltaspin.device.characterise import characterise
    from voltaspin.device.landscape import Landscape
    from voltaspin.device.pulse_design import best_pulse

    junction = replace(GENERATOR, K2=1e3)
    pulse = Pulse(voltage=1.0, width=0.5 * ns)
    for ask in (
        circuit.ngspice, circuit.verilog_a, characterise, Landscape.of, lambda j: sensitivities(j, pulse),
        lambda j: j.V_c, lambda j: best_pulse(j, target="write"),
    ):  # fmt: skip
        with pytest.raises(InputError, match="K2"):
            ask(junction)


@pytest.mark.parametrize("name", CASES)
def test_the_cases_of_both_solvers_are_resolved(name: str) -> None:
    junction, pulse, initial = CASES[name]
    found = switching_probability(junction, pulse, initial=initial, relax=2 * ns)
    assert 0.02 < found.value < 0.98  # so that the LLG can count it
    assert found.error < 5e-3
    assert sum(duration for _, duration in steps(pulse, junction, 0.0, pulse.duration)) == pytest.approx(pulse.duration)


@pytest.mark.slow
def test_both_solvers_agree():
    """They share the junction, its forces and the temperature of a pulse, and nothing else."""
    z = []
    for junction, pulse, initial in CASES.values():
        exact = switching_probability(junction, pulse, initial=initial, relax=2 * ns)
        counted = llg.switching_probability(junction, pulse, initial=initial, relax=2 * ns, n_devices=20_000, seed=1)
        assert exact.error < counted.error
        z.append((counted.value - exact.value) / math.hypot(counted.error, exact.error))
    # Nine independent counts: a sum of squares above 33.7 comes once in 10,000 times.
    assert sum(value**2 for value in z) < 33.7, z


def test_a_read_goes_through_the_pillar_and_its_series_resistance() -> None:
    scheme = ReadScheme(voltage=0.02, integration_time=25 * ns)
    junction = replace(IN_PLANE, R_series=1e4, line=LINE, RA=15e-12)
    found = read(junction, scheme)
    # m lies along the reference layer and against it; the voltage divides by hand.
    v = 0.02 / (1 + 1e4 / junction.R_P)
    assert found.P.current == pytest.approx(v / junction.R_P, rel=1e-9)
    assert found.AP.current == pytest.approx(0.02 / (1e4 + junction.R_AP(0.02)), rel=1e-3)  # TMR at the cell's voltage
    tilted = replace(junction, reference=(1.0, 0.0, 1.0))
    assert read(tilted, scheme).P.current < found.P.current  # the layers enclose 45 degrees
    disturbed = read_disturb(replace(junction, R_series=0.0), voltage=0.02, duration=25 * ns)
    assert disturbed == pytest.approx(-math.expm1(-25e-9 * math.exp(log_flip_rate(IN_PLANE).value)), rel=2e-3)
    # By hand: 0.02 V through the line's ends as well.
    energy = pulse_energy(junction, Pulse(voltage=0.02, width=1 * ns))
    assert energy.ohmic == pytest.approx(0.02**2 / LINE.resistance * 1e-9, rel=1e-9)
    assert energy.capacitive == 0  # no gate


def test_a_switching_model_of_a_junction_with_terms() -> None:
    junction = replace(SMALL, line=LINE, B_bias=(15 * mT, 0, 0))
    pulse = Pulse(voltage=0.2, width=0.5 * ns)
    model = SwitchingModel.from_fokker_planck(
        junction, pulse, K_eff=0.05, B_z=2e-3, xi=0.0, diameter=0.0, RA=0.0, relax=2 * ns, solutions=24, degree=18,
        threads=1, cached=False,
    )  # fmt: skip
    for K_eff_scale, B_z in ((1.0, 0.0), (0.97, 1e-3)):
        cell = junction.with_variation(K_eff_scale=K_eff_scale, B_z=B_z)
        p01, p10 = model.probabilities(K_eff_scale=K_eff_scale, B_z=B_z)
        direct = [FokkerPlanck(18).once(cell, pulse, Protocol(w, 2 * ns))[0] for w in ("up", "down")]
        assert float(p01) == pytest.approx(direct[0], abs=5 * model.worst_error + 1e-3)
        assert float(p10) == pytest.approx(direct[1], abs=5 * model.worst_error + 1e-3)
    assert model.worst_error < 0.02


def test_an_unresolved_or_impossible_question_is_refused() -> None:
    with pytest.raises(InputError, match="does not exist: below 1 k_B T"):
        log_flip_rate(replace(SMALL, K2=1e3, B_bias=(0.0, 0.0, 0.3)))
    with pytest.raises(InputError, match="has no energy"):
        replace(SMALL, line=LINE).barrier(0.1)
    with pytest.raises(InputError, match="of junctions without further terms"):
        log_flip_rate(replace(SMALL, K2=1e3), method="flux")
    with pytest.raises(InputError, match="harmonics of about degree"):
        switching_probability(
            replace(IN_PLANE, K_i=0.0, diameter=300 * nm, diameter_y=200 * nm, N=None), Pulse(voltage=0.1, width=1 * ns)
        )
    with pytest.raises(InputError, match="hours"):
        switching_probability(replace(SMALL, line=LINE), Pulse(voltage=0.2, width=1e-3))
    with pytest.raises(InputError, match="give volts"):
        overview("arm-2021-stt", width=1 * ns, devices=10)
