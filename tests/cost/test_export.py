"""A mapped network as tables of other programs: they parse, they agree with each other, and they add up."""

import csv
import io
import re
import shutil
import subprocess

import pytest
import torch
import yaml
from torch import nn

from voltaspin.core.plain_yaml import yaml_text
from voltaspin.cost import CellPulse, MacroSpec, compute_cost, export_network
from voltaspin.cost.export import CHIP
from voltaspin.cost.table import CostTable, Draws
from voltaspin.memory import ArraySpec, trace

#: arrays of two kinds, and a layer that stays digital
SPEC = ArraySpec(weight_bits=4, digital_ends=False, layers={"1": {"rows": 64, "columns": 128}, "2": "digital"})
WRITE = CellPulse.rectangular(voltage=1.2, width=1e-9, resistance=1e5, capacitance=1e-16)
CHIPS = {
    "plain": MacroSpec(),
    "copies": MacroSpec(arrays=40),
    "too few arrays": MacroSpec(arrays=1),
    "never off": MacroSpec(gated=False, arrays=40),
}


def traced():
    return trace(nn.Sequential(nn.Linear(8, 300), nn.Linear(300, 16), nn.Linear(16, 4)), torch.zeros(1, 8))


@pytest.fixture(scope="module", params=CHIPS)
def exported(request):
    return request.param, export_network(traced(), SPEC, CHIPS[request.param], evaluations=3, write=WRITE)


def loaded(made):
    return {name: yaml.safe_load(text) for name, text in made.texts().items() if name.endswith(".yaml")}


def instances(name):
    found = re.search(r"\[0\.\.(\d+)\]$", name)
    return int(found[1]) + 1 if found else 1


def test_the_files_parse_to_what_was_exported(exported):
    _, made = exported
    assert loaded(made) == {
        "ERT.yaml": made.energy_reference, "ART.yaml": made.area_reference, "components.yaml": made.components,
        "architecture.yaml": made.architecture, "action_counts.yaml": made.action_counts,
    }  # fmt: skip


def test_names_agree_and_required_keys_are_there(exported):
    _, made = exported
    files = loaded(made)
    actions = {t["name"]: [a["name"] for a in t["actions"]] for t in files["ERT.yaml"]["ERT"]["tables"]}
    assert len(actions) == 4  # two kinds of arrays, digital unit, buffer
    assert [t["name"] for t in files["ART.yaml"]["ART"]["tables"]] == list(actions)
    local = files["action_counts.yaml"]["action_counts"]["local"]
    assert {c["name"]: [a["name"] for a in c["action_counts"]] for c in local} == actions
    (root,) = files["architecture.yaml"]["architecture"]["subtree"]
    assert [f"{root['name']}.{c['name']}" for c in root["local"]] == list(actions)
    classes = {c["name"]: c for c in files["components.yaml"]["compound_components"]["classes"]}
    assert [c["class"] for c in root["local"]] == list(classes)
    for (name, listed), one in zip(actions.items(), classes.values(), strict=True):
        assert set(one) == {"name", "attributes", "subcomponents", "actions"}
        assert [a["name"] for a in one["actions"]] == listed
        assert {"leak"} <= set(listed), name
        parts = {p["name"] for p in one["subcomponents"]}
        assert all(re.fullmatch("[a-z0-9_]+", p) for p in parts)
        assert {s["name"] for a in one["actions"] for s in a["subcomponents"]} <= parts
        # Accelergy evaluates texts, so attributes are numbers
        assert all(isinstance(v, int | float) for p in one["subcomponents"] for v in p["attributes"].values())


def test_every_sum_is_the_price_at_nominal_values(exported):
    name, made = exported
    cost = compute_cost(traced(), SPEC, CHIPS[name], evaluations=3, write=WRITE,
                        draws=Draws(CostTable.default().nominal(), samples=100))  # fmt: skip
    files = loaded(made)
    each = {(t["name"], a["name"]): a["energy"] for t in files["ERT.yaml"]["ERT"]["tables"] for a in t["actions"]}
    local = files["action_counts.yaml"]["action_counts"]["local"]
    by_counts = sum(each[c["name"], a["name"]] * a["counts"] for c in local for a in c["action_counts"])
    by_class = [
        sum(p["actions"][0]["arguments"]["part_energy"] for p in action["subcomponents"])
        for one in files["components.yaml"]["compound_components"]["classes"] for action in one["actions"]
    ]  # fmt: skip
    areas = {t["name"]: t["area"] for t in files["ART.yaml"]["ART"]["tables"]}
    part_areas = [sum(p["attributes"]["part_area"] for p in one["subcomponents"])
                  for one in files["components.yaml"]["compound_components"]["classes"]]  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(made.texts()["table.csv"])))
    energy, area, seconds = cost.total["macro"].value, 1e6 * cost.area.value, cost.seconds.value
    assert made.energy == pytest.approx(energy, rel=1e-12)
    assert by_counts == pytest.approx(energy, rel=1e-12)
    assert by_class == pytest.approx(list(each.values()), rel=1e-12)
    assert part_areas == pytest.approx(list(areas.values()), rel=1e-12)
    assert sum(instances(n) * a for n, a in areas.items()) == pytest.approx(area, rel=1e-12)
    for column, whole in (("energy_pJ", energy), ("area_um2", area), ("seconds", seconds)):
        assert sum(float(r[column]) for r in rows) == pytest.approx(whole, rel=1e-12), column
    for layer in cost.layers:
        mine = sum(float(r["energy_pJ"]) for r in rows if r["layer"] == layer.name)
        assert mine == pytest.approx(layer.total["macro"].value, rel=1e-12)
    for part, e in cost.by_component.items():
        assert sum(r.energy for r in made.table if r.component == part) == pytest.approx(e.value, rel=1e-12), part


def test_ranges_hold_the_nominal_energy_and_writing_is_the_chips(exported):
    name, made = exported
    assert all(r.energy_low <= r.energy <= r.energy_high for r in made.table)
    assert any(r.energy_low < r.energy < r.energy_high for r in made.table)
    written = [r for r in made.table if r.action == "write"]
    assert [(r.layer, r.count) for r in written] == ([(CHIP, 3 * made.mapping.cells)] if made.mapping.reloaded else [])
    assert bool(written) == (name == "too few arrays")


def test_the_mapping_as_csv(exported):
    _, made = exported
    rows = list(csv.DictReader(io.StringIO(made.texts()["mapping.csv"])))
    assert [(r["layer"], r["outputs"], r["inputs"], int(r["copies"])) for r in rows] == [
        ("0", "300", "8", made.mapping.layers[0].copies), ("1", "16", "300", made.mapping.layers[1].copies)
    ]  # fmt: skip


def test_yaml_of_awkward_values_comes_back():
    value = {
        "a": [1, 2.0, 1e-05, 1e300, -2.5e-9, 0.0], "no": "yes", "b[0..3]": {}, "on": [], "c": [{"x": "1e5", "y": "#:"}],
        "d": '"28nm"', "e": [[1, 2], {"z": None, "t": True}],
    }  # fmt: skip
    back = yaml.safe_load(yaml_text(value))
    assert back == value
    assert [type(v) for v in back["a"]] == [int] + [float] * 5
    with pytest.raises(ValueError, match="nan has no place"):
        yaml_text({"a": float("nan")})


@pytest.mark.skipif(shutil.which("accelergy") is None, reason="accelergy is not installed; it is on no package index")
@pytest.mark.parametrize("files", [["ERT.yaml"], ["architecture.yaml", "components.yaml", "-e", "plug_in.py"]])
def test_accelergy_computes_the_same_energy(tmp_path, exported, files, monkeypatch):
    _, made = exported
    for name, text in made.texts().items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("HOME", str(tmp_path))  # it writes its configuration there
    subprocess.run(
        ["accelergy", "action_counts.yaml", *files, "-f", "energy_estimation", "-o", "out"],
        cwd=tmp_path, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    found = yaml.safe_load((tmp_path / "out" / "energy_estimation.yaml").read_text())
    # with a plug-in it rounds each energy to six digits
    assert found["energy_estimation"]["Total"] == pytest.approx(made.energy, rel=1e-12 if "ERT.yaml" in files else 1e-5)
