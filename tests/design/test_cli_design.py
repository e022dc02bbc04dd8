"""``voltaspin design`` from the file to the page."""

import csv
import json
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from voltaspin.cli.app import main
from voltaspin.cost.images import image_costs
from voltaspin.cost.table import Draws
from voltaspin.design.evaluate import SAMPLES, RandomNumbers, _random_numbers, network_of
from voltaspin.design.space import Setting
from voltaspin.device import Junction
from voltaspin.diffusion import inplace

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    return end.value.code, capsys.readouterr()


def test_a_small_space_from_the_file_to_the_page(toy, tmp_path, capsys):
    axes = {"array.rows,array.columns": [32, 64], "array.weight_bits": [2, 4], "macro.columns_per_converter": [16, 48]}
    toy(axes=axes, question="Which <one>?")
    out = tmp_path / "out"
    code, said = run(capsys, "design", tmp_path / "space.json", "--out", out, "--json")
    assert (code, said.err) == (0, "")
    data = json.loads(said.out)
    _, schema = run(capsys, "schema", "design")
    Draft202012Validator(json.loads(schema.out)).validate(data)
    assert (len(data["points"]), len(data["pruned"])) == (6, 2)
    assert data == json.loads((out / "design.json").read_text())
    rows = list(csv.DictReader((out / "points.csv").read_text().splitlines()))
    for row, p in zip(rows, data["points"], strict=True):
        assert float(row["energy [pJ]"]) == p["objectives"]["energy"]["value"]
        assert float(row["quality low"]) == p["objectives"]["quality"]["low"]
        assert row["front"] == str(p["front"])
        parts = [float(v) for k, v in row.items() if k.startswith("area: ")]
        assert sum(parts) == pytest.approx(float(row["area [mm^2]"]), rel=0.2)  # medians do not quite add up
    import pyarrow.parquet as pq

    table = pq.read_table(out / "points.parquet").to_pydict()
    assert table["energy [pJ]"] == [p["objectives"]["energy"]["value"] for p in data["points"]]
    assert table["array.weight_bits"] == [p["choices"]["array.weight_bits"] for p in data["points"]]
    page = (out / "index.html").read_text()
    assert "Which &lt;one&gt;?" in page
    assert page.count("<details") == 6
    assert "columns_per_converter = 48 is more than the 32 columns" in page
    assert "random numbers" in page
    for outside in ("http:", "https:", "<script"):
        assert outside not in page
    assert (out / "pareto.png").read_bytes().startswith(b"\x89PNG")
    code, said = run(capsys, "design", tmp_path / "space.json", "--out", out)
    assert code == 0
    assert "6 by grid" in said.out


def test_without_pyarrow_there_is_csv_and_a_remark(toy, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    toy(axes={"array.weight_bits": [2, 4]})
    code, said = run(capsys, "design", tmp_path / "space.json", "--out", tmp_path / "out")
    assert (code, said.err) == (0, "voltaspin: no points.parquet, which needs pyarrow: pip install 'voltaspin[hub]'; "
                            "points.csv has the same\n")  # fmt: skip
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.name[0] != ".") == [
        "design.json", "evaluations", "index.html", "pareto.png", "points.csv", "run.json", "space.json",
    ]  # fmt: skip


def test_fewer_objectives(toy, tmp_path, capsys):
    toy(objectives=["energy", "area"], model=None, axes={"macro.node": [2.2e-8, 2.8e-8]})
    code, said = run(capsys, "design", tmp_path / "space.json", "--out", tmp_path / "out", "--json")
    assert (code, said.err) == (0, "")
    found = json.loads(said.out)
    assert found["errors"] == 0
    assert "quality" not in found["points"][0]["objectives"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--workers", "2", "--scheduler", "tcp://x"], "give one of them"),
        (["--workers", "0"], "--workers"),
        (["--scheduler", "tls://x:1"], "takes certificates"),
    ],
)
def test_bad_options_are_one_line(toy, tmp_path, capsys, arguments, says):
    toy()
    code, said = run(capsys, "design", tmp_path / "space.json", "--out", tmp_path / "out", *arguments)
    assert code == 2
    assert says in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "out" / "evaluations").exists()


def test_a_folder_of_something_else_is_left_alone(toy, tmp_path, capsys):
    toy()
    out = tmp_path / "out"
    out.mkdir()
    (out / "points.csv").write_text("mine")
    code, said = run(capsys, "design", tmp_path / "space.json", "--out", out)
    assert code == 2
    assert "points.csv" in said.err
    assert (out / "points.csv").read_text() == "mine"
    assert not (out / "evaluations").exists()


def test_the_example_is_a_space_that_can_be_explored(capsys, tmp_path):
    code, said = run(capsys, "design", EXAMPLES / "design.json", "--out", tmp_path / "out", "--dry-run")
    assert (code, said.err) == (0, "")
    assert "searched by NSGA-II" in said.out
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_survivors_get_a_kid_by_an_ordinary_study(tmp_path, capsys):
    space = {"kind": "design-space", "schema_version": 1, "name": "x", "images": 2, "steps": 2, "survivors": 4,
             "diffusion": ["gaussian", "in-place"], "cells_per_pixel": 7, "kid_images": 8, "array": "digital",
             "axes": {"array.weight_bits": [3, 8], "macro.node": [2.2e-8, 2.8e-8]}}  # fmt: skip
    (tmp_path / "space.json").write_text(json.dumps(space))
    code, said = run(capsys, "design", tmp_path / "space.json", "--out", tmp_path / "out", "--json")
    assert code == 0
    assert all("solve pulses" in line for line in said.err.splitlines())  # where no earlier run left them
    found = json.loads(said.out)
    scored = [p for p in found["points"] if p.get("kid")]
    assert len(scored) == 4
    assert {p["diffusion"] for p in scored} == {"gaussian", "in-place"}
    assert len(list((tmp_path / "out" / "kid" / "runs").glob("*/images.png"))) == 5
    page = (tmp_path / "out" / "kid" / "index.html").read_text()
    assert page.count('class="crisp"') == 5 + 2  # grids, and the paths of the two in place
    assert all(f"design {p['number']}" in page for p in scored)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*/runs/*/result.json")}
    code, _ = run(capsys, "design", tmp_path / "space.json", "--out", tmp_path / "out")
    assert code == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*/runs/*/result.json")} == before


@pytest.mark.slow
def test_an_image_in_place_costs_what_the_bill_of_images_says(tmp_path):
    setting, draws = Setting(None, "in-place", 3, 7), Draws(samples=SAMPLES)
    counted = RandomNumbers(setting, network_of(None).identity).do(tmp_path)
    pulses, moving, _ = _random_numbers(counted, draws)
    made = inplace.sample(network_of(None).pipeline, count=2, steps=3, cells_per_pixel=7)
    bill = image_costs(made, Junction.of("generator"), draws=draws)[0]
    assert 1e12 * float(sorted(pulses)[SAMPLES // 2]) == pytest.approx(bill.energy["macro"].value, rel=0.01)
    assert 1e12 * float(sorted(moving)[SAMPLES // 2]) == pytest.approx(bill.moving.value, rel=0.01)
