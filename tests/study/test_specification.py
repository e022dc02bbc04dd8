"""Studies as data: what a grid comes to, which runs are the same, and what is refused."""

import json

import pytest

from voltaspin.core.errors import InputError
from voltaspin.study import Condition, Run, StudySpec

GRID = {
    "name": "spread", "margin": 0.01, "baseline": "software", "base": {"images": 100, "steps": 10},
    "grid": {"sample": ["memory-raw", "memory-xor"], "memory.K_eff_spread": [0.02, 0.1]},
    "conditions": {"software": {}}, "sampling_seeds": [1, 2, 3],
}  # fmt: skip


def test_a_grid_and_a_list_come_to_conditions():
    spec = StudySpec(**GRID)
    named = spec.named()
    assert next(iter(named)) == "software"
    assert len(named) == 5
    chosen = named["sample=memory-raw, memory.K_eff_spread=0.1"]
    assert chosen == Condition(sample="memory-raw", memory={"K_eff_spread": 0.1}, images=100, steps=10)
    runs = spec.runs()
    assert len(runs) == 15
    assert len({r.key for r in runs}) == 15
    assert Run.from_json(json.loads(json.dumps(runs[4].to_json()))) == runs[4]


def test_keys_name_what_decides_a_result():
    a = Run("one", Condition(), 0, 1)
    assert a.key == Run("another name", Condition(), 5, 1).key  # the shipped weights have no training seed
    assert a.key != Run("one", Condition(), 0, 2).key
    assert a.key != Run("one", Condition(images=999), 0, 1).key
    trained = Condition(train="software")
    assert Run("one", trained, 0, 1).key != Run("one", trained, 1, 1).key


def test_conditions_share_a_training():
    conditions = {"a": {"train": "software"}, "b": {"train": "software", "sample": "memory-raw"}, "c": {}}
    spec = StudySpec(name="x", margin=0.1, baseline="a", conditions=conditions, training_seeds=[0, 1])
    assert [(t.noise, t.seed) for t in spec.trainings()] == [("software", 0), ("software", 1)]
    assert len(spec.runs()) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"margin": None}, "declares no margin"),
        ({"grid": {"sample": []}}, "is empty: sample has no values"),
        ({"grid": {}, "conditions": {}}, "has no condition"),
        ({"baseline": "other"}, "baseline 'other' is none of the conditions"),
        ({"colour": "blue"}, "field 'colour'"),
        ({"base": {"colour": "blue"}}, "field 'colour'"),
        ({"conditions": {"software": {"sample": "dice"}}}, "field 'sample'"),
        ({"sampling_seeds": []}, "at least one"),
        ({"margin": -1}, "field 'margin'"),
    ],
)
def test_a_study_that_cannot_be_done_says_why(change, message, tmp_path):
    data = {"kind": "study", "schema_version": 1, **GRID, **change}
    if change.get("margin", 1) is None:
        del data["margin"]
    (tmp_path / "study.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=message):
        StudySpec.load(tmp_path / "study.json")
