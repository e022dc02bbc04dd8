import json

import pytest

from voltaspin.core.errors import InputError
from voltaspin.core.files import read_json, write_json
from voltaspin.core.spec import Spec, environment


class Dish(Spec):
    KIND = "dish"
    VERSION = 2
    name: str
    grams: float = 100.0


def test_save_and_load_round_trip(tmp_path):
    dish = Dish(name="rice", grams=250)
    dish.save(tmp_path / "dish.json")
    assert Dish.load(tmp_path / "dish.json") == dish
    assert json.loads((tmp_path / "dish.json").read_text())["schema_version"] == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "drink"}, "'drink' version 2, not 'dish' version 2"),
        ({"schema_version": 1}, "version 1"),
        ({"grams": "many"}, "field 'grams'"),
        ({"salt": 1}, "field 'salt'"),
    ],
)
def test_other_data_is_refused(change, said):
    with pytest.raises(InputError, match=said):
        Dish.from_json({**Dish(name="rice").to_json(), **change})


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "x.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_broken_or_missing_file_is_named(tmp_path):
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(InputError, match="may be truncated"):
        read_json(tmp_path / "half.json")
    with pytest.raises(InputError, match="does not exist"):
        read_json(tmp_path / "none.json")


def test_environment_names_versions_without_importing_them():
    assert {"python", "voltaspin", "numpy", "torch"} <= environment().keys()
