"""Junctions with further terms through the chain, against formulas and the density."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from voltaspin import noise
from voltaspin.core.errors import InputError
from voltaspin.core.units import mT, nm, ns
from voltaspin.cost.merit import figure_of_merit
from voltaspin.cost.pricing import CellPulse
from voltaspin.device import Junction, Protocol, Pulse, SwitchingModel, fair_pulse, fokker_planck, relaxation
from voltaspin.device.breakdown import lifetime, stress
from voltaspin.device.density import first_degree
from voltaspin.device.fokker_planck import sufficient_degree, switching_pair
from voltaspin.device.integration import run
from voltaspin.device.terms import SpinOrbitLine, SpinTransfer
from voltaspin.device.threshold import threshold
from voltaspin.device.torque import oxide_voltage, spin_orbit_field, spin_torque_field
from voltaspin.memory import MagnetoelectricMemory, Variation
from voltaspin.memory.dynamics import Disturbance, Imperfections, Slopes
from voltaspin.memory.wear import oxide_lives
from voltaspin.noise import MemorySource

SOT, STT, BIT = (Junction.of(name) for name in ("zhang-2020-sot", "arm-2021-stt", "schnitzspan-2023"))
SMALL = replace(Junction.of("generator"), B_bias=(0.0, 0.0, 0.0), alpha_G=0.1).with_variation(K_eff_scale=0.3)


def test_thresholds_are_those_of_the_formulas() -> None:
    a = spin_torque_field(replace(STT, spin_transfer=SpinTransfer(efficiency=0.48)), 1.0)
    cell = replace(STT, spin_transfer=SpinTransfer(efficiency=0.48), B_bias=(0.0, 0.0, 20 * mT))
    found = threshold(cell)
    assert found.way == "spin transfer"
    assert found.voltage == pytest.approx(cell.alpha_G * (cell.B_k() + 0.02) / abs(a), rel=1e-9)
    turned = replace(cell, spin_transfer=SpinTransfer(efficiency=0.48, polarity=-1))
    assert threshold(turned).voltage == pytest.approx(-found.voltage)
    # A resistance before the pillar takes its share.
    divided = replace(cell, R_series=2e3)
    assert oxide_voltage(divided, threshold(divided).voltage) == pytest.approx(found.voltage, rel=1e-9)

    h = 0.005 / SOT.B_k()
    s = (h + math.sqrt(h**2 + 8)) / 4
    field = SOT.B_k() * math.sqrt(1 - s**2) * (s - h)
    assert threshold(SOT).voltage == pytest.approx(field / spin_orbit_field(SOT, 1.0), rel=1e-9)
    assert threshold(SOT).way == "spin-orbit torque"
    against = replace(SOT, B_bias=(-0.005, 0.0, 0.0))  # the field along the current turns the sign of the torque
    assert threshold(against).voltage == pytest.approx(-threshold(SOT).voltage)
    V_c = Junction.of("generator").V_c
    vcma = threshold(Junction.of("generator"))
    assert (vcma.way, vcma.voltage) == ("VCMA", pytest.approx(V_c))
    with pytest.raises(InputError, match="give the voltage and width"):
        threshold(replace(STT, spin_transfer=None, K2=1e3, xi=0.0))


def test_the_energy_of_a_line_and_of_a_wait_by_hand() -> None:
    pulse = Pulse(voltage=0.1, width=2 * ns)
    resistance = 278e-8 * 60 * nm / (50 * nm * 3 * nm)
    assert CellPulse.of(SOT, pulse).ohmic == pytest.approx(0.1**2 / resistance * 2e-9, rel=1e-9)
    assert CellPulse.of(SOT, pulse).charging == 0.0  # the gate is at zero
    assert CellPulse.of(BIT, Pulse(voltage=0.0, width=50 * ns)).energy == 0.0
    P, AP = 1 / STT.R_P, 1 / STT.R_AP(0.4)
    assert CellPulse.of(STT, replace(pulse, voltage=0.4)).ohmic == pytest.approx(0.16 * 2e-9 * (P + AP) / 2, rel=1e-9)


def test_the_oxide_of_a_line_is_not_stressed() -> None:
    pulse = Pulse(voltage=5.0, width=1 * ns)  # 3.6 V/nm, were it across the oxide
    assert stress(SOT, pulse) == 0.0
    assert np.isinf(oxide_lives(SOT, pulse, 4, seed=0)).all()
    gated = replace(SOT, line=replace(SOT.line, gate=0.2))
    typical = lifetime(gated, voltage=1.0, failure=-math.expm1(-1.0)) / pulse.width
    assert np.median(oxide_lives(gated, pulse, 4000, seed=0)) == pytest.approx(typical, rel=0.5)


def test_a_stray_field_acts_along_what_is_read() -> None:
    assert BIT.with_variation(B_z=1e-3).B_bias == (1e-3, 0.0, 0.0)
    assert SOT.with_variation(B_z=1e-3).B_bias == (0.005, 0.0, 1e-3)
    # Two states of energy -+ Ms V B along x have that mean where the barrier is high against kT: a bound here.
    mean = relaxation(BIT.with_variation(B_z=1e-3)).cosine.value
    x = BIT.Ms * BIT.volume * 1e-3 / (1.380649e-23 * 300)
    assert 1 / math.tanh(x) - 1 / x < mean < math.tanh(x)  # between a free moment and two states
    with pytest.raises(InputError, match="along that layer"):
        run(BIT, np.tile([1.0, 0.0, 0.0], (4, 1)), duration=1e-11, cells={"B_z": np.full(4, 1e-3)})


@pytest.mark.slow
def test_the_degree_grows_with_the_torque() -> None:
    pulse = Pulse(voltage=0.105, width=1.8 * ns)
    degree = sufficient_degree(SOT, pulse)
    given = switching_pair(SOT, pulse, relax=10 * ns, spin_torque=False, degree=degree)
    exact = [fokker_planck.switching_probability(SOT, pulse, initial=w) for w in ("up", "down")]
    for p, e in zip(given, exact, strict=True):
        assert abs(p - e.value) < 5e-3  # the first degree is 0.05 off
    plain = Junction.of("generator")
    assert sufficient_degree(plain, pulse) == first_degree(plain)


@pytest.mark.slow
def test_slopes_are_the_differences_of_the_density() -> None:
    low = replace(BIT, diameter=30 * nm, diameter_y=29 * nm)
    pulse = Pulse(voltage=0.05, width=20 * ns)
    found = Slopes.of(SwitchingModel.constant(0.5, 0.5).model_copy(update={"junction": low, "pulse": pulse}))
    # After 20 ns the bit is in equilibrium: p01 is the share of down, whose slope in the field is that of relaxation.
    h = 5e-4
    ups = [relaxation(low.with_variation(B_z=s * h)).up.value for s in (-1, 1)]
    assert found.B_z[0] == pytest.approx(-(ups[1] - ups[0]) / (2 * h), rel=0.02)
    assert found.B_z[1] == pytest.approx(-found.B_z[0], rel=0.02)
    model = SwitchingModel.constant(0.5, 0.5).model_copy(update={"junction": low, "pulse": pulse})
    with pytest.raises(InputError, match=r"neighbour_field=\.\.\."):
        Disturbance(Imperfections(slopes=found), model, rows=2, columns=2, q0=np.zeros(4), q1=np.zeros(4), seed=0)


@pytest.mark.slow
def test_a_cell_written_by_spin_transfer_from_its_pulse_to_bits() -> None:
    cell, asked = replace(SMALL, spin_transfer=SpinTransfer(), RA=10e-12, xi=0.0), Protocol(relax=1 * ns)
    found = fair_pulse(cell, protocol=asked)
    assert found.reset
    assert found.pulse.voltage > threshold(cell).voltage > 0
    assert abs(found.p01 - 0.5) < 0.01 > found.p10  # the torque takes no 1 back
    assert found.worst_deviation == max(abs(c.p01 - 0.5) for c in found.corners)
    model = SwitchingModel.from_fokker_planck(
        cell, found.pulse, relax=asked.relax, solutions=40, K_eff=0.1, B_z=2e-3, xi=0, diameter=0, RA=0, cached=False
    )
    memory = MagnetoelectricMemory(rows=64, columns=64, model=model, variation=Variation(K_eff=0.02), seed=3)
    assert model.worst_error is not None
    at = {"K_eff_scale": 1.03, "B_z": 1e-3}
    exact = fokker_planck.switching_probability(cell.with_variation(**at), found.pulse, relax=asked.relax).value
    assert abs(float(model.probabilities(**at)[0]) - exact) < model.worst_error + 5e-3
    bits, _ = MemorySource(memory=memory, seed=4, k=1, reset=True).samples(20, size=256)
    assert abs(bits.mean() - memory.p01.mean()) < 4 * math.sqrt(0.25 / bits.size)
    # Without a reset each cell stays at p01 / (p01 + p10), with a memory of 1 - p01 - p10 from pulse to pulse.
    p01, p10 = memory.p01, memory.p10
    bits, _ = MemorySource(memory=memory, seed=5, k=1, init="stationary").samples(20, size=256)
    ones, r = p01 / (p01 + p10), float((1 - p01 - p10).max())
    error = math.sqrt(float((ones * (1 - ones)).mean()) / bits.size * (1 + r) / (1 - r))
    assert abs(bits.mean() - ones.mean()) < 4 * error + 1 / 65536  # the width of a threshold
    # Priced after a reset; without one its bits are no random bits.
    assert figure_of_merit(cell, found.pulse, reset=True).cells_per_bit == 2
    with pytest.raises(InputError, match="reset the cells before it"):
        figure_of_merit(cell, found.pulse, reset=False)


@pytest.mark.slow
def test_a_line_without_a_field_forgets_and_a_low_barrier_waits() -> None:
    line = SpinOrbitLine(width=50 * nm, thickness=4 * nm, length=60 * nm, resistivity=2e-6, theta_SH=0.3)
    cell, asked = replace(SMALL, line=line), Protocol(relax=1 * ns)
    found = fair_pulse(cell, protocol=asked)
    assert not found.reset
    assert max(abs(found.p01 - 0.5), abs(found.p10 - 0.5)) < 0.01
    priced = figure_of_merit(cell, found.pulse)
    assert list(priced.own["cell"]) == ["energy"]  # the table's cell has two terminals
    assert (
        "area",
        "not priced: the cost table knows cells of two terminals, and this one has three",
    ) in priced.summary()

    low = replace(SMALL, K2=1.0).with_variation(K_eff_scale=0.2)
    waited = fair_pulse(low, protocol=asked)
    assert (waited.pulse.voltage, waited.energy, waited.reset) == (0.0, 0.0, False)
    time = relaxation(low)
    assert time.rate is not None
    assert waited.pulse.width == pytest.approx(10 * max(1 / time.rate.value, time.correlation_time.value))
    assert abs(waited.p01 - 0.5) < 1e-3  # e^-10 of the past, and both wells are alike


def test_the_grammar_resets_where_the_pulse_needs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from voltaspin.noise import grammar

    fair = SimpleNamespace(pulse=Pulse(voltage=0.4, width=6 * ns), reset=True)
    monkeypatch.setattr(grammar, "fair_pulse", lambda _: fair)
    constant = SwitchingModel.constant(0.5, 0.0)
    monkeypatch.setattr(SwitchingModel, "from_fokker_planck", lambda *_args, **_more: constant)
    source = noise.build("memory:junction=arm-2021-stt")
    assert isinstance(source, MemorySource)
    assert source.reset
    with pytest.raises(InputError, match="leave reset=no out"):
        noise.build("memory:junction=arm-2021-stt,reset=no")
    with pytest.raises(InputError, match="give both, or neither"):
        noise.build("memory:junction=arm-2021-stt,voltage=0.4V")
