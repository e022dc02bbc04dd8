"""Results: JSON that comes back, schemas that it fits, summaries for people, and figures by kind."""

from typing import Annotated, ClassVar

import numpy as np
import pytest
from jsonschema import Draft202012Validator

from voltaspin import plots
from voltaspin.core import result
from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.core.result import Array, Part, Result, Unit, kinds


class Inner(Part):
    width: Annotated[float, Unit("s")]


class Answer(Result):
    KIND: ClassVar[str] = "test-answer"
    voltage: Annotated[float, Unit("V")]
    P_sw: Estimate
    grid: Array
    pulse: Inner
    note: str | None = None
    n: int = 3


def answer(**changes):
    fields = {"voltage": 1.54, "P_sw": Estimate(0.5, 0.4, 0.6), "grid": [[1.0, np.nan]], "pulse": Inner(width=6e-10)}
    return Answer(**fields | changes)


def test_a_result_comes_back_from_its_file(tmp_path):
    made = answer()
    made.save(tmp_path / "a.json")
    back = Answer.load(tmp_path / "a.json")
    assert back.P_sw == made.P_sw
    assert back.pulse == made.pulse
    assert back.environment == made.environment
    assert "voltaspin" in back.environment
    np.testing.assert_array_equal(back.grid, [[1.0, np.nan]])
    with pytest.raises(ValueError, match="read-only"):
        back.grid[0, 0] = 2


def test_the_json_fits_the_schema_and_another_kind_does_not():
    schema = Answer.schema_of()
    check = Draft202012Validator(schema)
    data = answer().to_json()
    check.validate(data)
    assert data["grid"] == [[1.0, None]]
    assert not check.is_valid(data | {"kind": "other"})
    assert not check.is_valid(data | {"unknown": 1})
    assert schema["properties"]["voltage"]["unit"] == "V"
    assert kinds()["test-answer"] is Answer


def test_the_summary_has_units_and_leaves_out_what_is_not_set():
    rows = dict(answer().summary())
    assert rows["voltage"] == "1.54 V"
    assert rows["pulse: width"] == "600 ps"
    assert rows["P sw"] == "0.5 (0.4 to 0.6)"
    assert rows["grid"] == "shape (1, 2), 1 to 1"
    assert "note" not in rows
    assert "environment" not in rows
    assert repr(answer()) == "Answer(voltage=1.54 V, P sw=0.5 (0.4 to 0.6), grid=shape (1, 2), 1 to 1, n=3)"
    assert "&lt;b&gt;" in answer(note="<b>")._repr_html_()


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        answer(voltage=np.inf)
    with pytest.raises(InputError, match="voltage"):
        Answer.from_json(answer().to_json() | {"voltage": "1.5"})


def test_a_figure_is_looked_up_by_kind(monkeypatch):
    monkeypatch.setattr(plots, "FIGURES", {"test-answer": lambda shown, ax=None: (shown.voltage, ax)})
    result._figures.cache_clear()
    assert answer().plot(ax=1) == (1.54, 1)
    monkeypatch.setattr(plots, "FIGURES", {})
    result._figures.cache_clear()
    with pytest.raises(InputError, match="test-answer"):
        answer().plot()
    result._figures.cache_clear()
