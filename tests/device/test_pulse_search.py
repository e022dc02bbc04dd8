from dataclasses import replace

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.device import FairPulse, Pulse, fair_pulse, fokker_planck, presets
from voltaspin.device.pulse_search import _plateaus

GENERATOR = presets.generator


def search(**options: object) -> FairPulse:
    given = {
        "widths": [0.24e-9, 0.28e-9, 0.32e-9, 0.6e-9], "voltages": [1.3 * GENERATOR.V_c], "dt": 3e-12,
        "relax": 3e-9, "seed": 1, "tolerance": 0.06, "n_devices": 2000,
    }  # fmt: skip
    return fair_pulse(GENERATOR, **{**given, **options})  # type: ignore[arg-type]


def test_finds_the_short_plateau_under_a_loose_tolerance() -> None:
    seen: list[tuple[int, int]] = []
    found = search(progress=lambda done, total: seen.append((done, total)))
    assert found.meets
    assert found.pulse.width < 0.4e-9
    assert found.worst_deviation + 2 * found.worst_error <= 0.06
    assert found.worst_deviation == max(abs(p - 0.5) for c in found.corners for p in (c.p01, c.p10))
    assert len(found.corners) == 9
    assert {(c.K_eff_scale, c.B_z) for c in found.corners} == {
        (s, b) for s in (0.95, 1.0, 1.05) for b in (-2e-3, 0.0, 2e-3)
    }
    curve = found.curves[0]
    assert curve["p01"][3] > 0.9 < curve["p10"][3]
    assert "within 0.06" in found.verdict
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)
    assert seen[-1][0] == seen[-1][1]


def test_says_when_none_is_fair_and_takes_the_best() -> None:
    found = search(B_z=20e-3, relax=8e-9, n_devices=1600)
    assert not found.meets
    assert found.verdict.startswith("None of the 3 finalists among 4")
    assert found.pulse.width < 0.4e-9
    # A field towards up keeps the 0 and draws the 1, in every such corner.
    assert all(c.p01 < c.p10 for c in found.corners if c.B_z > 0)


def test_a_biased_junction_is_simulated_from_both_wells() -> None:
    biased = replace(GENERATOR, B_bias=(0.03, 0.0, 10e-3))
    found = fair_pulse(
        biased,
        voltages=[1.3 * GENERATOR.V_c],
        widths=[0.2e-9],
        dt=3e-12,
        relax=3e-9,
        tolerance=0.2,
        n_devices=4000,
    )
    nominal = found.corners[0]
    pulse = Pulse(voltage=1.3 * GENERATOR.V_c, width=0.2e-9)
    for counted, initial in ((nominal.p01, "up"), (nominal.p10, "down")):  # 0.440 and 0.527: no mirror images
        exact = fokker_planck.switching_probability(biased, pulse, initial=initial, relax=3e-9).value
        assert counted == pytest.approx(exact, abs=4 * nominal.error)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_devices": 1000, "tolerance": 0.01}, "at least 40000"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"K_eff": 1.0}, "K_eff"),
        ({"B_z": -1e-3}, "B_z"),
        ({"voltages": []}, "voltage"),
    ],
)
def test_refuses(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        search(**options)


def test_plateaus_prefers_flat_places_to_crossings() -> None:
    p = np.array([0.1, 0.2, 0.45, 0.55, 0.9, 0.52, 0.51, 0.51, 0.52, 0.51, 0.49, 0.5, 0.51, 0.9, 0.9, 0.95])
    picked = _plateaus(p, p)
    # Places on the plateau come first, then what is left by its worse neighbour; the longest is always there.
    assert picked == [0, 2, 6, 7, 8, 9, 10, 11, 15]
