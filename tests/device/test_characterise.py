"""The record of one junction against the files that it asks, closed formulas, and junctions that lack something."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.constants import epsilon_0

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.device import Junction, Pulse, presets
from voltaspin.device.breakdown import statement
from voltaspin.device.characterisation import Characterisation
from voltaspin.device.characterise import QUICK, Effort, astroid, characterise, expected_seconds
from voltaspin.device.fokker_planck import switching_probability
from voltaspin.device.retention import flip_rate

# Delta 16 and a barrier of 10 k_B T: cheap, and still two wells.
CELL = replace(presets.generator.with_variation(K_eff_scale=0.4), B_bias=(0.012, 0.0, 0.0), name="small")
COARSE = Effort(voltages=5, widths=8, points=10, stations=3, search=False, degree=40)
FEW = Effort(voltages=3, widths=5, points=5, stations=2, search=False, degree=40)
OPTIONS = {"relax": 1e-9, "threads": 1}


@pytest.fixture(scope="module")
def parts() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture(scope="module")
def record(parts) -> Characterisation:  # type: ignore[no-untyped-def]
    return characterise(
        CELL, effort=COARSE, line_capacitance=50e-15, progress=lambda *told: parts.append(told), **OPTIONS
    )


def test_it_is_whole_and_can_be_read_again(record: Characterisation, tmp_path) -> None:  # type: ignore[no-untyped-def]
    assert record.reasons == {}
    record.save(tmp_path / "device.json")
    again = Characterisation.load(tmp_path / "device.json")
    assert again == record
    assert again.junction == CELL


def test_progress_ends_every_part_it_began(record: Characterisation, parts) -> None:  # type: ignore[no-untyped-def]
    ends = {part: (done, total) for part, done, total in parts}
    assert list(ends) == ["pulse curves", "map", "coin pulse", "sensitivities", "retention"]
    assert all(done == total for done, total in ends.values())


def test_curves_and_map_are_the_fokker_planck_solution(record: Characterisation) -> None:
    curve, grid = record.curves[1], record.map
    assert curve.voltage == pytest.approx(CELL.V_c)
    for p, error, voltage, width in (
        (curve.p01[3], 0.0, curve.voltage, curve.widths[3]),
        (grid.p01[2][4], grid.error[2][4], grid.voltages[2], grid.widths[4]),
    ):
        alone = switching_probability(
            CELL, Pulse(voltage=voltage, width=width), relax=1e-9, degree=COARSE.degree, rtol=1e9
        )
        assert p == pytest.approx(alone.value, abs=1e-10)
        assert error in (0.0, pytest.approx(alone.error, rel=1e-3))
    assert np.array(grid.WER) == pytest.approx(1 - np.array(grid.p01), abs=1e-12)
    assert grid.p10 == grid.p01  # no field along z, no torque


def test_the_write_pulse_is_the_best_of_the_map_and_sits_in_its_bathtub(record: Characterisation) -> None:
    write = record.write
    assert min(min(row) for row in record.map.WER) == write.WER
    for tub, at in ((record.bathtub.voltage, write.voltage), (record.bathtub.width, write.width)):
        k = int(np.argmin(np.abs(np.array(tub.at) - at)))
        assert tub.at[k] == pytest.approx(at)
        # At a higher degree than the map's, whose error bounds the difference.
        assert tub.WER[k] == pytest.approx(write.WER, abs=3 * max(max(row) for row in record.map.error))
        assert tub.WER[0] > 2 * write.WER < tub.WER[-1]


def test_energy_by_hand(record: Characterisation) -> None:
    coin = record.coin
    mean = (1 / CELL.R_P + 1 / CELL.R_AP(coin.voltage)) / 2
    assert coin.energy.ohmic == pytest.approx(coin.voltage**2 * mean * coin.width)
    plates = epsilon_0 * 9.7 * CELL.area / CELL.t_ox
    assert coin.energy.capacitive == pytest.approx(plates * coin.voltage**2)
    assert coin.energy.line == pytest.approx(50e-15 * coin.voltage**2)


def test_retention_and_read(record: Characterisation) -> None:
    kept = record.retention
    assert kept.life == pytest.approx(1 / flip_rate(CELL))
    assert kept.voltages[1] == 0
    assert kept.at_voltage[1] == kept.life
    assert kept.at_voltage[0] > kept.life > kept.at_voltage[2]  # a positive voltage lowers the barrier
    assert kept.at_temperature[0] > kept.at_temperature[1] > kept.at_temperature[2]
    assert record.read.voltage < 0
    assert record.read.disturb == pytest.approx(25e-9 * flip_rate(CELL, voltage=-0.1), rel=1e-3)


@pytest.mark.parametrize("share", [0.15, 0.5, 0.85])
def test_astroid_is_where_the_second_well_ends(share: float) -> None:
    in_plane, along_z = astroid(CELL.B_k(), 101)
    k = int(100 * share)
    inside, outside = (replace(CELL, B_bias=(f * in_plane[k], 0.0, f * along_z[k])).barrier() for f in (0.995, 1.005))
    assert inside > 0
    assert outside == 0


def test_astroid_of_the_record_scales_with_the_voltage(record: Characterisation) -> None:
    shares = [a.B_k / CELL.B_k() for a in record.astroid]
    assert shares == pytest.approx([1.25, 1, 0.75, 0.5, 0.25])
    assert [max(a.along_z) for a in record.astroid] == pytest.approx([a.B_k for a in record.astroid])


def test_a_field_along_z_makes_two_directions_which_are_mirror_images() -> None:
    tilted = replace(CELL, B_bias=(0.012, 0.0, 3e-3))
    found = characterise(tilted, effort=FEW, **OPTIONS)
    p01, p10 = np.array(found.map.p01), np.array(found.map.p10)
    pulse = Pulse(voltage=found.map.voltages[1], width=found.map.widths[2])
    for B_z, p in ((3e-3, p01[1, 2]), (-3e-3, p10[1, 2])):
        alone = switching_probability(
            replace(CELL, B_bias=(0.012, 0.0, B_z)), pulse, relax=1e-9, degree=found.map.degree, rtol=1e9
        )
        assert p == pytest.approx(alone.value, abs=1e-10)
    assert np.array(found.map.WER) == pytest.approx(np.maximum(1 - p01, 1 - p10), abs=1e-12)
    assert found.retention.life == pytest.approx(1 / flip_rate(tilted, well="down"))


PULSES = {"curves", "map", "write", "coin", "bathtub"}


def test_without_vcma_no_pulse_acts() -> None:
    found = characterise(replace(CELL, xi=0.0), effort=FEW, **OPTIONS)
    assert set(found.reasons) == PULSES | {"V_c"}
    assert all(getattr(found, part) is None for part in PULSES)
    assert "xi = 0" in found.reasons["map"]
    assert found.derived.V_c is None
    assert len(found.astroid) == 1
    assert found.retention.at_voltage == pytest.approx((found.retention.life,) * 2)
    assert Characterisation.from_json(found.to_json()) == found


def test_without_two_wells_there_is_no_bit() -> None:
    found = characterise(replace(CELL, B_bias=(1.5 * CELL.B_k(), 0.0, 0.0)), effort=FEW, **OPTIONS)
    assert set(found.reasons) == PULSES | {"retention", "read"}
    assert "no two wells" in found.reasons["retention"]
    assert found.astroid is not None
    plane = characterise(CELL.with_variation(K_eff_scale=-0.5), effort=FEW, **OPTIONS)
    assert set(plane.reasons) == PULSES | {"retention", "read", "astroid"}


def test_without_an_in_plane_field_a_pulse_tosses_but_does_not_write() -> None:
    axial = replace(CELL, B_bias=(0.0, 0.0, 0.0), alpha_G=0.4)
    found = characterise(axial, effort=FEW, **OPTIONS)
    assert set(found.reasons) == {"period", "write", "bathtub"}
    assert "not write it" in found.reasons["write"]
    assert found.coin.p01 == pytest.approx(0.5, abs=0.02)
    assert max(found.curves[2].p01) < 0.55
    # The quadrature in m_z, which shares nothing with the eigenvalue.
    assert found.retention.life == pytest.approx(1 / flip_rate(axial, method="axial"), rel=0.01)


def test_a_negative_coefficient_turns_every_sign() -> None:
    found = characterise(replace(CELL, xi=-CELL.xi), effort=FEW, **OPTIONS)
    voltage, width = found.map.voltages[1], found.map.widths[2]
    assert voltage < 0
    assert found.write.voltage < 0
    assert found.read.voltage == 0.1
    assert list(found.map.voltages) == sorted(found.map.voltages)
    alone = switching_probability(
        CELL, Pulse(voltage=-voltage, width=width), relax=1e-9, degree=found.map.degree, rtol=1e9
    )
    assert found.map.p01[1][2] == pytest.approx(alone.value, abs=1e-10)


def test_above_breakdown_the_oxide_has_no_life(record: Characterisation) -> None:
    assert record.oxide.limit == pytest.approx(2.0e9 * CELL.t_ox)
    lives = [life for life in record.oxide.life if life is not None]
    assert lives == sorted(lives, reverse=True)
    assert record.write.oxide_life > lives[-1]


def test_a_junction_as_data() -> None:
    assert Junction.from_json(presets.storage.to_json()) == presets.storage


def test_bad_input() -> None:
    with pytest.raises(InputError, match="temperature = 0"):
        characterise(replace(CELL, temperature=0.0), effort=QUICK)
    with pytest.raises(InputError, match="degree 8 does not resolve"):
        characterise(CELL, effort=replace(COARSE, degree=8), **OPTIONS)
    with pytest.raises(InputError, match="points = 2: give at least 3"):
        Effort(points=2)


def test_its_time_is_told_before_it_is_spent() -> None:
    quick, usual = (expected_seconds(presets.generator, effort=effort) for effort in (QUICK, Effort()))
    assert 5 < quick < usual < 600  # 17 s and a minute on one core
    many = replace(Effort(), voltages=32_000)
    assert usual * 50 < expected_seconds(presets.generator, effort=replace(many, voltages=6_400)) < 4 * 3600
    for junction, effort in ((replace(presets.generator, B_bias=(1e-7, 0.0, 0.0)), QUICK), (presets.generator, many)):
        for ask in (expected_seconds, characterise):
            with pytest.raises(InputError, match=r"take about .* hours of one core, more than 4 hours"):
                ask(junction, effort=effort)


def test_the_command_refuses_absurd_totals_before_it_makes_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["device", "characterise", "--quick", "--set", "B_x=0.1uT", "--out", str(tmp_path / "new")])
    assert ended.value.code == 2
    assert "hours of one core" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_every_recommended_pulse_carries_what_the_oxide_says(record: Characterisation) -> None:
    text = str(record)
    for name, shot in (("write", record.write), ("coin", record.coin)):
        assert shot is not None
        told = statement(CELL, Pulse(voltage=shot.voltage, width=shot.width))
        assert f"{name}, oxide: {told}" in text
    # 2.09 V on 1.4 nm is 1.49 V/nm, and 3 V break it down.
    assert statement(CELL, Pulse(voltage=2.09, width=1e-9)).startswith("warning: 1.49 V/nm of oxide, of which a share")
    assert "above the 2 V/nm at which it breaks down" in statement(CELL, Pulse(voltage=3.0, width=1e-9))
    assert not statement(CELL, Pulse(voltage=0.5, width=1e-9)).startswith("warning")
