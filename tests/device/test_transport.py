import math
import sys
from dataclasses import FrozenInstanceError, replace
from types import ModuleType

import numpy as np
import pytest
from scipy.constants import epsilon_0
from scipy.special import ndtr

from voltaspin.core.errors import InputError
from voltaspin.core.units import e_charge, fF, k_B, ns
from voltaspin.device import Junction, Pulse, presets
from voltaspin.device.transport import (
    PERMITTIVITY,
    ReadScheme,
    ReadState,
    _below,
    current_noise,
    oxide_capacitance,
    pulse_energy,
    read,
    read_current,
    read_disturb,
)

GENERATOR = presets.generator
UPRIGHT = replace(GENERATOR, B_bias=(0.0, 0.0, 0.0))  # rests at m_z = +-1
SCHEME = ReadScheme(voltage=-0.1, integration_time=25 * ns)


def test_current_follows_the_voltage() -> None:
    up, down = read_current(GENERATOR, voltage=0.1, m_z=[1.0, -1.0])
    assert up == pytest.approx(0.1 / GENERATOR.R_P)
    assert down == pytest.approx(0.1 / GENERATOR.R_AP(0.1))
    np.testing.assert_allclose(read_current(GENERATOR, voltage=-0.1, m_z=[1.0, -1.0]), [-up, -down])
    with pytest.raises(InputError, match="voltage = nan V"):
        read_current(GENERATOR, voltage=math.nan, m_z=1.0)
    with pytest.raises(InputError, match="-1 to 1"):
        read_current(GENERATOR, voltage=0.1, m_z=2.0)


def test_noise_is_Johnson_without_and_shot_with_a_large_voltage() -> None:
    G = 1 / GENERATOR.R_P
    for voltage in (0.0, 1e-9):
        assert float(current_noise(GENERATOR, voltage=voltage, m_z=1.0, bandwidth=2e7)) == pytest.approx(
            math.sqrt(4 * k_B * 300 * G * 2e7)
        )
    for voltage in (1.0, -1.0):
        assert float(current_noise(GENERATOR, voltage=voltage, m_z=1.0, bandwidth=2e7)) == pytest.approx(
            math.sqrt(2 * e_charge * G * 2e7)
        )
    frozen = replace(GENERATOR, temperature=0.0)
    assert float(current_noise(frozen, voltage=0.1, m_z=1.0, bandwidth=2e7)) == pytest.approx(
        math.sqrt(2 * e_charge * 0.1 * G * 2e7)
    )
    assert float(current_noise(frozen, voltage=0.0, m_z=1.0, bandwidth=2e7)) == 0


def test_noise_by_hand() -> None:
    # e V / 2 k_B T = 1 at 2 * 25.852 mV and 300 K, where coth 1 = 1.313035: 0.1015585 uA through 509 kOhm.
    voltage = 2 * k_B * 300 / e_charge
    assert voltage == pytest.approx(51.704e-3, rel=1e-4)
    noise = current_noise(GENERATOR, voltage=voltage, m_z=1.0, bandwidth=1.0, amplifier_noise=3e-13)
    expected = 2 * 1.602177e-19 * (51.704e-3 / GENERATOR.R_P) * 1.313035 + 9e-26
    assert float(noise) ** 2 == pytest.approx(expected, rel=1e-4)
    assert current_noise(GENERATOR, voltage=0.1, m_z=[1.0, 0.0, -1.0], bandwidth=1.0).shape == (3,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bandwidth": 0.0}, "bandwidth = 0.0 Hz"),
        ({"amplifier_noise": -1.0}, "amplifier_noise"),
        ({"voltage": math.inf}, "voltage = inf V"),
    ],
)
def test_noise_refuses(change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        current_noise(GENERATOR, **{"voltage": 0.1, "m_z": 1.0, "bandwidth": 1e7, **change})  # type: ignore[arg-type]


def test_ideal_read_by_hand() -> None:
    result = read(UPRIGHT, SCHEME)
    I_P, I_AP = -0.1 / UPRIGHT.R_P, -0.1 / UPRIGHT.R_AP(0.1)
    assert result.P.current == pytest.approx(I_P)
    assert result.AP.current == pytest.approx(I_AP)
    assert result.reference == pytest.approx((I_P + I_AP) / 2)
    assert result.margin == pytest.approx((I_AP - I_P) / 2)
    TMR = UPRIGHT.TMR(0.1)
    assert result.relative_margin == pytest.approx(TMR / (2 + TMR))
    assert result.margin_voltage == pytest.approx(0.1 * TMR / (2 + TMR))
    assert result.P.settled == 1
    assert result.P.spread == 0
    # An average over 25 ns has a bandwidth of 20 MHz; without spread the errors are Gaussian tails.
    assert result.P.noise == float(current_noise(UPRIGHT, voltage=0.1, m_z=1.0, bandwidth=2e7))
    assert result.error_0 == pytest.approx(float(ndtr(-result.margin / result.P.noise)), rel=1e-9)
    assert result.error_1 == pytest.approx(float(ndtr(-result.margin / result.AP.noise)), rel=1e-9)
    assert result.error == pytest.approx((result.error_0 + result.error_1) / 2)
    assert result.energy.ohmic == pytest.approx(Pulse(voltage=-0.1, width=25 * ns).energy(UPRIGHT))


def test_in_plane_field_tilts_the_states_and_shrinks_the_window() -> None:
    # m_z = sqrt(1 - h^2) with h = B_x / B_k at the read voltage, and the conductance is linear in m_z.
    result = read(GENERATOR, SCHEME)
    m_z = math.sqrt(1 - (0.03 / GENERATOR.B_k(-0.1)) ** 2)
    window = 0.1 * (1 / GENERATOR.R_P - 1 / GENERATOR.R_AP(0.1))
    assert result.AP.current - result.P.current == pytest.approx(m_z * window, rel=1e-6)


def test_a_slow_line_shrinks_the_margin() -> None:
    # The line settles with its capacitance times the amplifier's resistance parallel to the cell's.
    slow = replace(SCHEME, line_capacitance=50 * fF, input_resistance=1e6)
    result = read(UPRIGHT, slow)
    v = result.P.current / result.P.settled * 1e6  # settled voltage on the line
    tau = 50 * fF / (1e-6 + 1 / UPRIGHT.R_P)
    assert v == pytest.approx(-0.1 * 1e6 / (1e6 + UPRIGHT.R_P), rel=1e-9)
    time = (np.arange(100_000) + 0.5) / 100_000 * 25 * ns
    assert result.P.settled == pytest.approx(float(np.mean(1 - np.exp(-time / tau))), rel=1e-6)
    later = read(UPRIGHT, replace(slow, delay=50 * ns))
    time = time + 50 * ns
    assert later.P.settled == pytest.approx(float(np.mean(1 - np.exp(-time / tau))), rel=1e-6)
    assert result.P.settled < later.P.settled < 1
    # AP settles later, so the ratio of the currents falls towards that of the settled divider.
    ratios = [r.P.current / r.AP.current for r in (result, later, read(UPRIGHT, replace(slow, line_capacitance=0.0)))]
    assert 1 + UPRIGHT.TMR(0.1) > ratios[0] > ratios[1] > ratios[2]
    # A stiff amplifier leaves only the loss: both states settle alike and the margin shrinks with them.
    stiff = replace(SCHEME, line_capacitance=5e-12, input_resistance=5e3)
    early, ideal = read(UPRIGHT, stiff), read(UPRIGHT, replace(stiff, line_capacitance=0.0))
    assert early.margin == pytest.approx(early.P.settled * ideal.margin, rel=0.02)
    assert early.P.settled < 0.5
    assert early.error > ideal.error
    # The cell's current obeys Kirchhoff: what the cell carries at its share of the voltage enters the line.
    free = read(UPRIGHT, replace(slow, line_capacitance=0.0))
    at_cell = -0.1 - free.AP.current * 1e6
    assert free.AP.current == pytest.approx(float(read_current(UPRIGHT, voltage=at_cell, m_z=-1.0)), rel=1e-9)
    # A line that barely moves: the current is V t / (tau R) on average over the window, halved.
    stuck = read(UPRIGHT, replace(slow, line_capacitance=1e-6))
    assert stuck.P.settled == pytest.approx(25e-9 / (2 * 1e-6 / (1e-6 + 1 / UPRIGHT.R_P)), rel=1e-3)


def test_errors_match_Monte_Carlo() -> None:
    # Log-normal spreads and Gaussian noise and offset, drawn; counts agree within four binomial sigmas.
    scheme = replace(SCHEME, voltage=0.1, resistance_spread=0.12, TMR_spread=0.15, offset=4e-9, amplifier_noise=2e-12)
    result = read(UPRIGHT, scheme)
    n, rng = 400_000, np.random.default_rng(5)
    R_P = UPRIGHT.R_P * np.exp(0.12 * rng.standard_normal(n))
    TMR = UPRIGHT.TMR(0.1)
    ratio = (1 + TMR) * np.exp(0.15 * TMR / (1 + TMR) * rng.standard_normal(n))
    added = 4e-9 * rng.standard_normal((2, n))
    P = 0.1 / R_P + result.P.noise * rng.standard_normal(n) + added[0]
    AP = 0.1 / (R_P * ratio) + result.AP.noise * rng.standard_normal(n) + added[1]
    for drawn, expected in (
        (np.mean(result.reference - P > 0), result.error_0),
        (np.mean(AP - result.reference > 0), result.error_1),
    ):
        assert 1e-3 < expected < 0.1
        assert abs(drawn - expected) < 4 * math.sqrt(expected / n)
    assert np.std(0.1 / R_P) == pytest.approx(result.P.spread, rel=0.01)
    assert np.std(0.1 / (R_P * ratio)) == pytest.approx(result.AP.spread, rel=0.01)


def test_tails_have_their_closed_forms_and_do_not_cancel() -> None:
    state = ReadState(current=-2e-7, settled=1.0, log_spread=0.0, noise=1e-8)
    for reference, z in ((1.9e-7, -1), (1.0e-7, -10), (0.5e-7, -15)):
        assert _below(reference, state, 0.0, sign=1) == pytest.approx(float(ndtr(z)), rel=1e-9)
        assert _below(reference, state, 0.0, sign=-1) == pytest.approx(float(ndtr(-z)), rel=1e-9)
    spread = ReadState(current=2e-7, settled=1.0, log_spread=0.05, noise=0.0)
    assert _below(1e-7, spread, 0.0, sign=1) == pytest.approx(float(ndtr(-math.log(2) / 0.05)), rel=1e-9)
    assert _below(4e-7, spread, 0.0, sign=-1) == pytest.approx(float(ndtr(-math.log(2) / 0.05)), rel=1e-9)
    # Both ways to integrate meet where noise and spread are equal.
    lower, upper = (spread.model_copy(update={"noise": 1e-8 * (1 + shift)}) for shift in (-1e-9, 1e-9))
    assert _below(1.2e-7, lower, 0.0, sign=1) == pytest.approx(_below(1.2e-7, upper, 0.0, sign=1), rel=1e-6)
    certain = spread.model_copy(update={"log_spread": 0.0})
    assert [_below(r, certain, 0.0, sign=1) for r in (1e-7, 2e-7, 3e-7)] == pytest.approx([0, 0.5, 1], abs=1e-12)
    assert _below(1e-9, spread.model_copy(update={"noise": 1e-12}), 0.0, sign=1) == 0  # beyond the smallest double


def test_a_reference_off_the_middle_trades_the_errors() -> None:
    noisy = replace(SCHEME, resistance_spread=0.1)
    middle = read(UPRIGHT, noisy)
    higher = read(UPRIGHT, replace(noisy, reference=1.1 * middle.reference))
    assert higher.error_0 > middle.error_0
    assert higher.error_1 < middle.error_1
    assert higher.margin < middle.margin
    assert read(UPRIGHT, replace(noisy, reference=2 * middle.P.current)).margin < 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"voltage": 0.0}, "drives no current"),
        ({"voltage": math.nan}, "voltage = nan V"),
        ({"integration_time": 0.0}, "integration_time = 0.0 s"),
        ({"delay": -1e-9}, "delay"),
        ({"line_capacitance": -1.0}, "line_capacitance"),
        ({"input_resistance": math.inf}, "input_resistance"),
        ({"resistance_spread": 5.0}, "not percent"),
        ({"TMR_spread": math.nan}, "TMR_spread"),
        ({"offset": -1.0}, "offset"),
        ({"amplifier_noise": -1.0}, "amplifier_noise"),
        ({"reference": 1e-7}, "sign of the voltage"),
    ],
)
def test_scheme_refuses(change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(SCHEME, **change)  # type: ignore[arg-type]


def test_read_refuses_a_voltage_that_leaves_one_well() -> None:
    with pytest.raises(InputError, match=r"no two wells are left at the read voltage 1\.2 V"):
        read(GENERATOR, replace(SCHEME, voltage=1.2))
    with pytest.raises(FrozenInstanceError):
        SCHEME.voltage = 0.2  # type: ignore[misc]


def test_disturb_keeps_the_smallest_probabilities(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_disturb(GENERATOR, voltage=0.1, duration=1e-8, rate=1e-12) == pytest.approx(1e-20, rel=1e-12)
    assert read_disturb(GENERATOR, voltage=0.1, duration=1.0, rate=2.0) == pytest.approx(1 - math.exp(-2))
    assert read_disturb(GENERATOR, voltage=0.1, duration=0.0, rate=2.0) == 0

    def arrhenius(junction: Junction, *, voltage: float = 0.0, well: str = "up", spin_torque: bool = False) -> float:
        asked.append(well)
        return 1e9 * math.exp(-junction.barrier(voltage))

    asked: list[str] = []
    stand_in = ModuleType("voltaspin.device.retention")
    stand_in.flip_rate = arrhenius  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "voltaspin.device.retention", stand_in)
    # A positive voltage lowers the barrier from 26 to 23, a negative one raises it to 29.
    risky, safe = (read_disturb(GENERATOR, voltage=v, duration=25 * ns, well="down") for v in (0.1, -0.1))
    assert asked == ["down", "down"]
    assert risky == pytest.approx(25 * math.exp(-GENERATOR.barrier(0.1)), rel=1e-6)
    assert math.log(risky / safe) == pytest.approx(GENERATOR.barrier(-0.1) - GENERATOR.barrier(0.1))


def test_disturb_by_the_Fokker_Planck_rate() -> None:
    retention = pytest.importorskip("voltaspin.device.retention")
    risky, safe = (read_disturb(presets.storage, voltage=v, duration=25 * ns) for v in (0.1, -0.1))
    assert 0 < safe < risky < 1e-15
    assert risky == pytest.approx(25e-9 * retention.flip_rate(presets.storage, voltage=0.1))


@pytest.mark.parametrize("change", [{"voltage": math.nan}, {"duration": -1.0}, {"rate": -1.0}, {"rate": math.inf}])
def test_disturb_refuses(change: dict[str, float]) -> None:
    with pytest.raises(InputError):
        read_disturb(GENERATOR, **{"voltage": 0.1, "duration": 1e-8, "rate": 1.0, **change})


def test_pulse_energy_by_hand() -> None:
    # 50 nm wide, 1.4 nm thick: 8.8542e-12 * 9.7 * 1.9635e-15 / 1.4e-9 = 0.12046 fF, so 0.1734 fJ at 1.2 V;
    # 50 fF of line at 1.2 V draw 72 fJ.
    assert oxide_capacitance(GENERATOR) == pytest.approx(0.12046 * fF, rel=1e-3)
    pulse = Pulse(voltage=1.2, width=0.5 * ns)
    energy = pulse_energy(GENERATOR, pulse, line_capacitance=50 * fF)
    assert energy.ohmic == pulse.energy(GENERATOR)
    assert energy.capacitive == pytest.approx(0.1734e-15, rel=1e-3)
    assert energy.line == pytest.approx(72e-15)
    assert energy.total == energy.ohmic + energy.capacitive + energy.line
    assert pulse_energy(GENERATOR, pulse, eps_r=19.4).capacitive == pytest.approx(2 * energy.capacitive)
    assert pulse_energy(GENERATOR, replace(pulse, voltage=-1.2)).capacitive == energy.capacitive


def test_line_resistance_loses_the_squared_current() -> None:
    plain = replace(GENERATOR, TMR0=0.0)  # G = 1 / R_P at any voltage and in both states
    square = pulse_energy(plain, Pulse(voltage=1.0, width=1 * ns), line_resistance=1e3)
    assert square.line == pytest.approx(1e3 / plain.R_P**2 * 1e-9)
    # The square of a linear ramp averages to a third.
    edged = pulse_energy(plain, Pulse(voltage=1.0, width=1 * ns, rise=0.4 * ns, fall=0.4 * ns), line_resistance=1e3)
    assert edged.line == pytest.approx(1e3 / plain.R_P**2 * (0.6e-9 + 0.8e-9 / 3), rel=1e-3)


@pytest.mark.parametrize("change", [{"line_capacitance": -1.0}, {"line_resistance": math.nan}, {"eps_r": 0.0}])
def test_pulse_energy_refuses(change: dict[str, float]) -> None:
    with pytest.raises(InputError):
        pulse_energy(GENERATOR, Pulse(voltage=1.0, width=1 * ns), **change)


def test_the_cost_table_charges_the_same_oxide() -> None:
    from voltaspin.cost.pricing import CellPulse
    from voltaspin.cost.table import CostTable

    table, pulse = CostTable.default(), Pulse(voltage=1.2, width=0.5 * ns, rise=0.1 * ns)
    assert table.permittivity == PERMITTIVITY
    cell = CellPulse.of(GENERATOR, pulse)
    assert cell.charging == epsilon_0 * 9.7 * GENERATOR.area / GENERATOR.t_ox * 1.2**2
    assert cell.ohmic == pulse.energy(GENERATOR)
