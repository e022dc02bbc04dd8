"""``voltaspin memory`` and sampling in crossbars."""

import json

import numpy as np
import pytest
from PIL import Image

from voltaspin.cli.app import main
from voltaspin.memory import ArraySpec, MagnetoelectricMemory


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        main(list(arguments))
    return exit_.value.code, capsys.readouterr()


def test_coverage_of_the_shipped_model(capsys, tmp_path):
    ArraySpec(weight_bits=4, layers={"mid_block*": "digital"}).save(tmp_path / "spec.json")
    code, said = run(capsys, "memory", "coverage", "--spec", str(tmp_path / "spec.json"), "--json")
    report = json.loads(said.out)
    assert code == 0
    kept = [w["name"] for w in report["layers"] if w["reason"] == "kept digital by the specification"]
    assert len(kept) == 10
    assert all(name.startswith("mid_block") for name in kept)
    code, said = run(capsys, "memory", "coverage", "--spec", "rose")
    assert code == 2
    assert "rose" in said.err


def test_images_from_crossbars(capsys, tmp_path):
    code, _ = run(capsys, "sample", "--compute", "memory", "--spec", "digital", "--count", "2", "--steps", "3",
                  "--noise", "software", "--out", str(tmp_path / "images"))  # fmt: skip
    assert code == 0
    record = (tmp_path / "images" / "run.json").read_text()
    assert '"product"' in record
    assert '"mode": "digital"' in record
    assert json.loads(record)["compute_cost"]["steps"] == pytest.approx(3)
    code, said = run(capsys, "sample", "--spec", "digital", "--out", str(tmp_path / "none"))
    assert code == 2
    assert "--compute memory" in said.err


def test_toggling_is_xor_and_costs_what_it_turns():
    memory = MagnetoelectricMemory(rows=64, columns=64, seed=1)
    memory.randomize()
    before, operand = memory.state.copy(), np.random.default_rng(0).integers(0, 2, (64, 64))
    memory.xor(operand)
    assert np.array_equal(memory.state, before ^ operand)
    assert memory.ledger.total("toggle") == operand.sum()
    memory.invert()
    assert np.array_equal(memory.state, 1 - (before ^ operand))
    now = memory.state.copy()
    memory.invert(error=0.1)
    failed = (memory.state == now).mean()
    assert abs(failed - 0.1) < 4 * np.sqrt(0.1 * 0.9 / 4096)


def test_a_picture_is_kept_and_lost(capsys, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "in.png")
    arguments = ["memory", "store", str(tmp_path / "in.png"), "--out", str(tmp_path / "out.png"), "--json"]
    code, said = run(capsys, *arguments, "--celsius", "27", "--years", "10")
    assert code == 0
    storage, generator = json.loads(said.out)["kept"]
    assert storage["lost"] == 0
    assert storage["expected"] < 1e-5
    n = storage["bits"]
    assert abs(generator["lost"] - generator["expected"]) < 4 * np.sqrt(0.25 / n)
    assert generator["lost"] > 0.2
    with Image.open(tmp_path / "out.png") as drawn:
        assert drawn.width > 800
    Image.fromarray(np.zeros((1100, 1000), np.uint8)).save(tmp_path / "large.png")
    code, said = run(capsys, "memory", "store", str(tmp_path / "large.png"), "--out", str(tmp_path / "no.png"))
    assert code == 2
    assert "1000 x 1100 pixels" in said.err
    code, said = run(capsys, "memory", "store", str(tmp_path / "none.png"))
    assert code == 2
    assert "none.png does not exist" in said.err


def test_yield_and_cost_on_the_command_line(capsys, tmp_path):
    code, said = run(capsys, "memory", "yield", "--rows", "32", "--columns", "32", "--out", str(tmp_path / "y.png"))
    assert code == 0
    assert "outside 1/2" in said.out
    assert (tmp_path / "y.png").stat().st_size > 10_000
    code, said = run(capsys, "memory", "cost", "--steps", "50", "--json")
    cost = json.loads(said.out)
    assert code == 0
    assert cost["steps"] == pytest.approx(50)
    assert cost["array"] == "analog"
    assert cost["by_action"]["macro"]["conversion"]["value"] > cost["by_action"]["cell"]["product"]["value"]


def test_a_mapped_network_is_written_for_other_programs(capsys, tmp_path):
    out = tmp_path / "macro"
    code, said = run(capsys, "memory", "export", "--steps", "2", "--out", str(out), "--json")
    assert code == 0
    made = json.loads(said.out)
    assert sorted(p.name for p in out.iterdir()) == [
        "ART.yaml", "ERT.yaml", "action_counts.yaml", "architecture.yaml", "components.yaml", "mapping.csv",
        "plug_in.py", "run.json", "table.csv",
    ]  # fmt: skip
    assert made["kind"] == "network-export"
    assert len((out / "table.csv").read_text().splitlines()) == 1 + len(made["table"])
    (out / "ERT.yaml").write_text("mine")
    code, said = run(capsys, "memory", "export", "--steps", "3", "--out", str(out))
    assert code == 2
    assert "holds another run of 'memory export'" in said.err
    assert (out / "ERT.yaml").read_text() == "mine"
    code, _ = run(capsys, "memory", "export", "--steps", "3", "--out", str(out), "--force")
    assert code == 0
    assert (out / "ERT.yaml").read_text().startswith("# Written by")


def test_lifetimes_of_the_cells(capsys, tmp_path):
    more = ("--steps", "2", "--images-per-day", "100", "--cells-per-pixel", "3")
    code, said = run(capsys, "memory", "endurance", "--endurance", "1e6", *more, "--out", str(tmp_path / "life.png"))
    assert code == 0
    assert "1.00·10⁶ cycles [assumed: as given]" in said.out
    with Image.open(tmp_path / "life.png") as drawn:
        assert drawn.width > 800
    for wrong, remedy in (("vmca", "did you mean 'vcma'?"), ("0.5", "a number of cycles from 1 on"), ("inf", "1e12")):
        code, said = run(capsys, "memory", "endurance", "--endurance", wrong)
        assert code == 2
        assert remedy in said.err


def test_a_published_macro_and_changes_of_it(capsys, tmp_path):
    code, said = run(capsys, "memory", "macro", "--preset", "list")
    assert code == 0
    assert "mram-22-2025" in said.out
    code, said = run(capsys, "memory", "macro", "--preset", "stt-40-digital", "--set", "weight_bits=2", "--json",
                     "--out", str(tmp_path / "m.png"))  # fmt: skip
    assert code == 0
    assert json.loads(said.out)["warnings"]
    assert (tmp_path / "m.png").is_file()
    for wrong, word in ((("--preset", "mram"), "use mram-22-2021"), (("--set", "rows=4"), "--published"),
                        (("--preset", "stt-40-digital", "--set", "rows"), "FIELD=VALUE")):  # fmt: skip
        code, said = run(capsys, "memory", "macro", *wrong)
        assert code == 2
        assert word in said.err


def test_the_map_of_a_network_and_its_floor_plan(capsys, tmp_path):
    code, said = run(capsys, "memory", "map", "--json", "--out", str(tmp_path / "plan.png"))
    assert code == 0
    assert json.loads(said.out)["needed"] > 100
    assert (tmp_path / "plan.png").is_file()
