"""The Monte Carlo over grades against closed forms, and the command."""

import json

import numpy as np
import pytest

from voltaspin.cli import main
from voltaspin.device import SwitchingModel
from voltaspin.errors import InputError
from voltaspin.report.claim import FACTORS, claim, claim_png, drawn
from voltaspin.report.cost import CellPulse, CostTable
from voltaspin.sourced import Sourced

MODEL = SwitchingModel.shipped()


def test_draws_have_the_interval_of_their_grade_or_of_their_range():
    z = np.random.default_rng(0).normal(size=200_000)
    low, middle, high = np.quantile(drawn(Sourced(4.0, "pJ", "s", "recalled"), z), (0.05, 0.5, 0.95))
    assert (low, middle, high) == pytest.approx((2.0, 4.0, 8.0), rel=0.02)
    low, middle, high = np.quantile(drawn(Sourced(4.0, "pJ", "s", "assumed", 1.0, 5.0), z), (0.05, 0.5, 0.95))
    assert (low, middle, high) == pytest.approx((1.0, 4.0, 5.0), rel=0.02)
    bound = drawn(Sourced(4.0, "pJ", "s", "measured", 0.0, 4.0), z)
    assert np.quantile(bound, (0.05, 0.95)) == pytest.approx((0.4, 4.0), rel=0.02)


def test_medians_are_the_prices_and_needs_follow_from_them():
    found = claim(MODEL.junction, MODEL.pulse, samples=400, against=("intel-14",), reset=False)
    cell = CellPulse.of(MODEL.junction, MODEL.pulse)
    read = 0.01 * 25e-9 / MODEL.junction.R_P
    energy = found.own["cell"]["energy"]
    exact = 2 * (cell.energy + read) * 1e12
    log_error = np.log(FACTORS["assumed"]) / 1.645 / np.sqrt(400) * 1.25  # of a median of a log-normal
    assert abs(np.log(energy.value / exact)) < 3 * log_error
    assert energy.low < exact < energy.high
    for r in found.readings:
        source = next(s for s in CostTable.default().sources if s.key == "intel-14")
        assert r.against == source.name
        if r.metric == "energy":
            assert r.needed == pytest.approx(3.0e-3, rel=0.02)
            assert r.ratio.value == pytest.approx(3.0 / found.own[r.boundary]["energy"].value, rel=0.2)
        assert r.ratio.low <= r.ratio.value <= r.ratio.high
        assert r.verdict in ("missed", "exceeded", "within the range")
    assert len(found.readings) == 12
    assert claim_png(found)[:4] == b"\x89PNG"


def test_bad_requests():
    with pytest.raises(InputError, match="generator 'rose' is not in the cost table"):
        claim(MODEL.junction, MODEL.pulse, against=("rose",))
    with pytest.raises(InputError, match="cells_per_bit = 0"):
        claim(MODEL.junction, MODEL.pulse, cells_per_bit=0)


def test_the_command(capsys, tmp_path):
    def run(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main(["cost", *arguments])
        return exit_.value.code, capsys.readouterr()

    code, said = run("--samples", "200", "--against", "intel-45", "--json", "--out", str(tmp_path / "c.png"))
    assert code == 0
    assert len(json.loads(said.out)["readings"]) == 12
    assert (tmp_path / "c.png").stat().st_size > 10_000
    code, said = run("--samples", "200")
    assert code == 0
    assert "energy x area" in said.out
    assert run("--junction", "storage")[0] == 2
    assert run("--voltage", "1.2")[0] == 2
    code, _ = run("--junction", "storage", "--voltage", "1.2", "--width", "0.3", "--samples", "100")
    assert code == 0
