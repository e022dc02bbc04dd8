"""The pulse for a purpose."""

from dataclasses import replace

import numpy as np
import pytest

from voltaspin.device import LLG, Protocol, Pulse, SwitchingModel, fair_pulse, presets
from voltaspin.device.fokker_planck import switching_probability
from voltaspin.device.pulse_design import BestPulse, Tolerance, best_pulse

CELL = presets.generator.with_variation(K_eff_scale=0.4)
QUICK = {"relax": 1e-9}


@pytest.fixture(scope="module")
def write():  # type: ignore[no-untyped-def]
    return best_pulse(CELL, target="write", **QUICK)  # type: ignore[arg-type]


def test_write_pulse_is_a_local_best(write) -> None:  # type: ignore[no-untyped-def]
    here = switching_probability(CELL, write.pulse, **QUICK).WER
    assert write.WER == pytest.approx(here, rel=1e-6)
    for dV, dw in ((0.03, 0), (-0.03, 0), (0, 0.03), (0, -0.03)):
        other = Pulse(voltage=write.pulse.voltage * (1 + dV), width=write.pulse.width * (1 + dw))
        assert switching_probability(CELL, other, **QUICK).WER > 0.999 * here


def test_write_pulse_beats_a_grid(write) -> None:  # type: ignore[no-untyped-def]
    from voltaspin.device.fokker_planck import switching_map

    grid = switching_map(
        CELL, voltages=np.linspace(0.7, 1.4, 15) * CELL.V_c, widths=np.linspace(0.3e-9, 1e-9, 29), atol=0.01, **QUICK
    )
    assert write.WER <= grid.WER.min() * 1.01
    assert "writes with an error rate" in write.verdict


def test_fair_pulse_reports_the_worst_of_its_box() -> None:
    box = Tolerance(probability=0.03, B_z=1e-3, K_eff=0.02, voltage=0.01, temperature=5.0)
    found = best_pulse(CELL, target="fair", tolerance=box, **QUICK)  # type: ignore[arg-type]
    assert found.meets == (found.worst_deviation <= 0.03)
    assert max(abs(found.p01 - 0.5), abs(found.p10 - 0.5)) <= found.worst_deviation + 1e-3
    corner = CELL.with_variation(K_eff_scale=0.98, B_z=-1e-3)
    assert abs(switching_probability(corner, found.pulse, **QUICK).value - 0.5) <= found.worst_deviation + 1e-3
    assert found.p01 == found.p10  # by symmetry


def test_dephased_pulse_stays_fair_beyond_its_width() -> None:
    found = best_pulse(CELL, target="dephased", tolerance=Tolerance(probability=0.02), longest=6e-9, **QUICK)
    for factor in (1.0, 1.1, 1.23, 1.4):
        longer = Pulse(voltage=found.pulse.voltage, width=found.pulse.width * factor)
        # Between the grid's widths the oscillation may be slightly larger.
        assert abs(switching_probability(CELL, longer, **QUICK).value - 0.5) < 0.03


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="target 'erase' is unknown"):
        best_pulse(CELL, target="erase")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="set B_bias"):
        best_pulse(replace(CELL, B_bias=(0.0, 0.0, 0.0)))
    with pytest.raises(ValueError, match="must ascend"):
        best_pulse(CELL, voltage_range=(1.0, 0.5))
    with pytest.raises(ValueError, match="has forgotten its beginning"):
        best_pulse(CELL, target="dephased", longest=0.3e-9, **QUICK)  # type: ignore[arg-type]


# --- the fair pulse ------------------------------------------------------------------------------------


def test_the_shipped_fair_pulse_is_the_one_that_a_search_finds() -> None:
    """The case that decides it, at the degree of the search; the slow test below searches."""
    found = fair_pulse(presets.generator)
    assert found == fair_pulse(replace(presets.generator, name="another name"))
    _, cell, pulse = next(c for c in Tolerance().cells(presets.generator, found.pulse) if c[0] == found.worst_case)
    exact = switching_probability(cell, pulse)
    assert abs(exact.value - 0.5) == pytest.approx(found.worst_deviation, abs=exact.error + found.error)
    assert found.worst_deviation == pytest.approx(max(abs(p - 0.5) for c in found.corners for p in (c.p01, c.p10)))
    assert not found.meets
    assert (found.corners[0].p01, found.WER) == pytest.approx((found.p01, 1 - found.p01))


@pytest.mark.slow
def test_a_search_gives_the_shipped_fair_pulse() -> None:
    again = best_pulse(presets.generator, target="fair")
    shipped = fair_pulse(presets.generator)
    assert again.pulse == shipped.pulse
    assert again.worst_deviation == pytest.approx(shipped.worst_deviation, abs=1e-9)


def test_a_fair_pulse_is_kept_and_scales_with_the_junction(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("VOLTASPIN_CACHE", str(tmp_path))
    protocol = Protocol("up", 1e-9)
    found = fair_pulse(CELL, protocol=protocol)
    (kept,) = tmp_path.rglob("*.json")
    assert BestPulse.load(kept) == found == fair_pulse(CELL, protocol=protocol)
    # Twice the oxide asks for twice the voltage, and nothing else enters.
    doubled = fair_pulse(replace(CELL, t_ox=2 * CELL.t_ox), protocol=protocol)
    assert doubled.pulse.voltage == pytest.approx(2 * found.pulse.voltage)
    assert doubled.pulse.width == found.pulse.width


def test_demo_cost_spec_and_a_quick_characterisation_take_the_same_fair_pulse(capsys, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    from voltaspin.cli.app import main
    from voltaspin.device import pulse_check
    from voltaspin.device.characterise import QUICK, characterise

    fair = fair_pulse(presets.generator).pulse
    assert SwitchingModel.shipped().pulse == fair
    monkeypatch.setattr(pulse_check, "LLG", lambda **options: LLG(**{**options, "devices": 128}))
    monkeypatch.setattr(pulse_check, "WIDTHS", (0.2e-9, 0.3e-9))
    section = pulse_check.check_fair_pulse(presets.generator, seed=0, fit_error=0.0)
    assert (section.chosen.voltage, section.chosen.width) == (fair.voltage, fair.width)
    coin = characterise(presets.generator, effort=replace(QUICK, voltages=3, widths=3, points=3, stations=2)).coin
    assert coin is not None
    assert (coin.voltage, coin.width) == (fair.voltage, fair.width)
    for command, pulse in (
        (["cost", "--no-work", "--samples", "100", "--json"], f"{fair.voltage:.3g} V for {fair.width * 1e9:.3g} ns"),
        (["spec", "--junction", "generator"], f"{fair.voltage:.4g} V for {fair.width * 1e12:.4g} ps"),
    ):
        with pytest.raises(SystemExit):
            main(command)
        assert pulse in capsys.readouterr().out
