"""Design spaces: what they hold, and what is refused with its reason before anything runs."""

import pytest

from voltaspin.core.errors import InputError
from voltaspin.design.feasible import check_space
from voltaspin.design.space import DesignSpace, Range

HEAD = {"kind": "design-space", "schema_version": 1, "name": "x"}


def space(**fields):
    return DesignSpace.from_json(HEAD | fields, where="space.json")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"colour": 1}, "space.json: field 'colour' is unknown"),
        ({"name": " "}, "name is empty"),
        ({"axes": {"array.rowz": [1]}}, r"array\.rowz is unknown; did you mean 'rows'\?"),
        ({"axes": {"macro.nod": [1]}}, r"macro\.nod is unknown; did you mean 'node'\?"),
        ({"axes": {"rows": [1]}}, "'rows' is no field of an array or a macro; write array.FIELD or macro.FIELD"),
        ({"axes": {"array.layers": [1]}}, "array.layers is unknown"),
        ({"axes": {"steps": [1]}}, "steps is a field of the space itself, which takes a list"),
        ({"axes": {"array.rows": 64}}, r"axis 'array.rows' = 64: give a list of choices, or a range"),
        ({"axes": {"array.rows": []}}, "axis 'array.rows' has no values"),
        ({"axes": {"array.rows": [64, 64]}}, "axis 'array.rows' has the value 64 more than once"),
        ({"axes": {"array.rows": [64], "array.rows,array.columns": [64]}}, "both vary array.rows; keep one"),
        ({"axes": {"array.rows,array.columns": [[1, 2, 3]]}}, "does not give one value for each of"),
        ({"axes": {"array.rows": {"low": 64, "high": 64}}}, "axis 'array.rows': the range from 64 to 64 is empty"),
        ({"axes": {"array.rows": {"low": 64, "high": 8}}}, "from 64 to 8 is empty; give a high above its low"),
        ({"axes": {"array.rows": {"low": 64}}}, "axis 'array.rows': field 'high': Field required"),
        ({"axes": {"array.rows": {"low": 1, "hi": 2}}}, "axis 'array.rows'"),
        ({"axes": {"array.R_P": {"low": 0, "high": 1, "log": True}}}, "low = 0 of a logarithmic range must be above 0"),
        ({"axes": {"array.R_P": {"low": 1, "high": 9, "log": True, "step": 1}}}, "takes no step"),
        ({"axes": {"array.R_P": {"low": 1, "high": 9, "step": 0}}}, "step = 0 does not fit from 1 to 9"),
        ({"axes": {"array.R_P": {"low": 1, "high": 9, "step": 20}}}, "step = 20 does not fit"),
        ({"macro": {"nod": 1}}, "macro.nod is unknown; did you mean 'node'"),
        ({"macro": {"node": 2e-8}, "axes": {"macro.node": [2e-8, 3e-8]}}, "both fixed in macro and an axis"),
        ({"steps": []}, "axis 'steps' has no values"),
        ({"steps": 0}, "steps = 0 must be at least 1"),
        ({"steps": {"low": 1, "high": 2.5}}, "steps is a whole number"),
        ({"steps": list(range(1, 99))}, "98 combinations of model, diffusion, steps and cells_per_pixel"),
        ({"diffusion": "bitflip"}, "diffusion"),
        ({"axes": {"array.rows": list(range(1, 100_000))}}, "has 99,999 values, more than the 1,000"),
        ({"axes": {"array.rows": {"low": 1, "high": 10**12}}}, r"has 1e\+12 values, more than 1,000,000"),
        ({"axes": {"array.R_P": {"low": 1, "high": 1e9, "step": 1e-9}}}, r"has 1e\+18 values, more than"),
        ({"steps": {"low": 1, "high": 10**15}}, r"has 1e\+15 values"),
        ({"cells_per_pixel": [0]}, "cells_per_pixel = 0 must be at least 1"),
        ({"objectives": []}, "give each of quality, energy, latency, area at most once"),
        ({"objectives": ["energy", "energy"]}, "at most once"),
        ({"objectives": ["beauty"]}, "objectives"),
        ({"trials": 0}, "trials"),
        ({"survivors": 2, "steps": [1, 2, 3]}, "survivors = 2 are fewer than the 3 combinations"),
        ({"survivors": 2, "objectives": ["energy"]}, "add quality to objectives"),
    ],
)
def test_a_space_that_cannot_be_is_refused(fields, says):
    with pytest.raises(InputError, match=says):
        space(**fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"array": "analogue"}, "no design of it can be built: array preset 'analogue' is unknown"),
        ({"macro": {"node": 1e-9}}, "no design of it can be built: macro: node = 1 nm: scaling is stated for 5"),
        ({"axes": {"array.weight_bits": [4, 99]}}, "axis 'array.weight_bits' = 99: none of the 1 designs with it"),
        ({"axes": {"array.rows": [256, 10**6]}}, "takes .* to settle, longer than"),
        ({"axes": {"macro.columns_per_converter": [1, 16]}, "array": {"preset": "analog", "adc_bits": 10}},
         "would be .* mm tall, more than 2 mm; let"),
        ({"axes": {"macro.columns_per_converter": {"low": 16, "high": 512}}},
         "axis 'macro.columns_per_converter' = 512: none of the 64 designs tried with it can be built: "
         "columns_per_converter = 512 is more than the 256 columns"),
        ({"axes": {"array.columns": [64, 256], "macro.columns_per_converter": [32, 512]}},
         "columns_per_converter' = 512: none of the 2 designs with it"),
        ({"steps": 2000}, "2000 sampling steps: give 1 to 1000"),
        ({"axes": {"array.rows": [128.5]}}, "rows"),
        ({"axes": {"array.mode": ["digitall"]}}, "mode"),
    ],
)  # fmt: skip
def test_what_no_design_can_be_is_refused_before_anything_runs(fields, says):
    fields = {"trials": 50} | fields
    with pytest.raises(InputError, match=says):
        check_space(space(**fields))


def test_models_that_cannot_do_what_is_asked_are_refused(net, tmp_path):
    with pytest.raises(InputError, match="is no pipeline that voltaspin samples, so that it cannot diffuse in place"):
        check_space(space(model=net, diffusion="in-place"))
    with pytest.raises(InputError, match="a KID needs a pipeline of images of 1 x 28 x 28"):
        check_space(space(model=net, survivors=3))
    with pytest.raises(InputError, match="nowhere"):
        check_space(space(model=str(tmp_path / "nowhere")))


def test_one_infeasible_combination_is_counted_and_not_refused():
    found = check_space(space(axes={"array.columns": [64, 256], "macro.columns_per_converter": [32, 128]}))
    assert list(found.values()) == [1]
    assert next(iter(found)).startswith("columns_per_converter = 128 is more than the 64 columns")


def test_tied_names_take_one_value_or_one_each():
    s = space(axes={"array.rows, array.columns": [128, [64, 256]]}, steps=20, array={"preset": "analog", "TMR": 2.0})
    first, second = (s.design(s.settings()[0], choices).array for choices in s.grid())
    assert (first.rows, first.columns, second.rows, second.columns) == (128, 128, 64, 256)
    assert (first.TMR, first.weight_bits, first.mode) == (2.0, 4, "analog")
    assert (s.size, s.is_grid) == (2, True)


def test_ranges_have_both_their_ends():
    assert Range(low=2, high=8, step=3).values == [2, 5, 8]
    assert Range(low=2, high=9, step=3).values == [2, 5, 8]
    assert Range(low=1, high=3).values == [1, 2, 3]
    assert Range(low=0.1, high=0.3, step=0.1).values == pytest.approx([0.1, 0.2, 0.3])
    assert Range(low=1.0, high=2).values is None
    assert space(axes={"array.R_P": {"low": 1e4, "high": 1e6, "log": True}}).size is None


def test_cells_per_pixel_matter_in_place_only():
    s = space(model=["a", "b"], diffusion=["gaussian", "in-place"], steps={"low": 10, "high": 20, "step": 10},
              cells_per_pixel=[7, 15])  # fmt: skip
    assert [x.name for x in s.settings()][:3] == [
        "a: Gaussian, 10 evaluations", "a: Gaussian, 20 evaluations", "a: in place, 10 evaluations, 7 cells per pixel",
    ]  # fmt: skip
    assert len(s.settings()) == 2 * (2 + 4)


def test_a_search_without_its_library_says_so(monkeypatch):
    import importlib.util

    from voltaspin.design.search import check_search

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_search(space(axes={"array.rows": [64, 128]}))
    with pytest.raises(InputError, match=r"a search needs optuna: pip install 'voltaspin\[design\]'"):
        check_search(space(axes={"array.rows": [64, 128]}, trials=1))
