"""Results survive the file, and refuse what is not theirs."""

import json

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.device.pulse_check import CountedCurve
from voltaspin.metrics.conditions import ConditionScores
from voltaspin.noise.examination.statistics import CellBits
from voltaspin.report.demo_results import DemoResults


def test_round_trip(results, tmp_path):
    results.save(tmp_path / "results.json")
    assert DemoResults.load(tmp_path / "results.json") == results


def test_file_names_kind_and_version(results):
    data = results.to_json()
    assert (data["kind"], data["schema_version"]) == ("demo-results", DemoResults.VERSION)
    json.dumps(data, allow_nan=False)


@pytest.mark.parametrize("change", [{"schema_version": 999}, {"kind": "run"}, {"schema_version": None}])
def test_another_version_is_refused(results, change):
    with pytest.raises(InputError, match="demo-results"):
        DemoResults.from_json(results.to_json() | change)


def test_unknown_and_missing_fields_are_refused(results):
    data = results.to_json()
    with pytest.raises(InputError, match="extra"):
        DemoResults.from_json(data | {"extra": 1})
    del data["device"]["lag1"]
    with pytest.raises(InputError, match=r"device\.lag1"):
        DemoResults.from_json(data)


def test_not_a_number_is_refused(results):
    data = results.to_json()
    data["device"]["fit_error"] = float("nan")
    with pytest.raises(InputError, match="finite"):
        DemoResults.from_json(data)


def test_provenance_of_each_condition(results):
    assert results.provenance == {
        "software": "pseudo",
        "raw": "simulated",
        "xor": "simulated",
        "recorded": "recorded",
    }


def test_an_unknown_provenance_is_refused(results):
    data = results.to_json()
    data["reverse"]["conditions"][0]["provenance"] = "quantum"
    with pytest.raises(InputError, match="provenance"):
        DemoResults.from_json(data)


def test_conditions_have_their_own_keys(results):
    data = results.to_json()
    data["reverse"]["conditions"][1]["key"] = "software"
    with pytest.raises(InputError, match="share a key"):
        DemoResults.from_json(data)


def test_arrays_are_accepted():
    curve = CountedCurve(
        label="a",
        voltage=np.float32(1),
        widths=np.arange(3.0),
        p01=np.zeros(3),
        p10=np.ones(3),
        error=np.zeros(3),
        n_devices=10,
    )
    assert curve.widths == (0.0, 1.0, 2.0)


def test_columns_must_match():
    with pytest.raises(ValueError, match="different"):
        CountedCurve(label="a", voltage=1.0, widths=[1, 2], p01=[0], p10=[0, 0], error=[0, 0], n_devices=1)


def test_an_interval_has_its_ends_in_order():
    with pytest.raises(ValueError, match="does not hold"):
        Estimate(value=0, low=1, high=-1)


def test_no_fd_without_a_reason(results):
    kid = results.quality.live.floor.kid
    with pytest.raises(ValueError, match="fd_reason"):
        ConditionScores(condition="a", name="a", kid=kid)


def test_no_comparison_without_a_control_or_a_reason(results):
    data = results.to_json()
    data["quality"]["live"]["control"] = None
    with pytest.raises(InputError, match="control_reason"):
        DemoResults.from_json(data)


def test_histogram_has_one_edge_more(results):
    data = results.memory.raw.model_dump()
    with pytest.raises(ValueError, match="one edge more"):
        CellBits(**(data | {"histogram_edges": data["histogram_edges"][:-1]}))
