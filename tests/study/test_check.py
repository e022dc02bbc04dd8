"""A study is checked as one piece: types, sizes, seeds, names, and whether every field acts."""

import csv
import json
import time

import pytest

from voltaspin.cli.app import main
from voltaspin.cli.terminal import progress_of
from voltaspin.core.errors import InputError
from voltaspin.report.study_page import page, summary, table_csv, verdicts_png
from voltaspin.study.check import check, idle, leaves
from voltaspin.study.equivalence import Verdict
from voltaspin.study.runner import prepare
from voltaspin.study.specification import Condition, StudySpec

MEMORY = {"sample": "memory-raw"}


def study(tmp_path, **fields):
    given = {"kind": "study", "schema_version": 1, "name": "x", "margin": 0.1, "baseline": "a",
             "base": {"images": 4, "steps": 1}, "conditions": {"a": {}, "b": {"sample": "memory-raw"}}}  # fmt: skip
    (tmp_path / "study.json").write_text(json.dumps({**given, **fields}))
    return tmp_path / "study.json"


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    return exit_.value.code, capsys.readouterr()


IDLE = [
    ("memory.K_eff_spread", {"memory": {"K_eff_spread": 0.01}}),
    ("memory.rows", {"memory": {"rows": 64}}),
    ("imperfections.read_error", {"imperfections": {"read_error": 0.1}}),
    ("cells.p01", {"sample": "software-16", "cells": {"p01": 0.4}}),
    ("source.reset", {"source": {"reset": True}}),
    ("train_steps", {"train_steps": 10}),
    ("channels", {"channels": (8, 8, 8)}),
    ("memory.K_eff_spread", {**MEMORY, "memory": {"K_eff_spread": 0.01}, "cells": {"p01": 0.4, "p10": 0.6}}),
    ("memory.seed", {**MEMORY, "memory": {"seed": 3}, "cells": {"p01": 0.4, "p10": 0.6}}),
    ("imperfections.drift_period", {**MEMORY, "imperfections": {"drift_period": 9.0}}),
    ("imperfections.telegraph_dwell", {**MEMORY, "imperfections": {"telegraph_dwell": 9.0, "read_error": 0.1}}),
    ("source.mapping", {**MEMORY, "source": {"mapping": "rotated"}, "cells": {"p01": 0.5, "p10": 0.5, "spread": 0.0},
                        "memory": {"stray_field_spread": 0.0}}),
    ("compute.adc_bits", {"compute": {"mode": "digital", "adc_bits": 6}}),
    ("compute.clip_share", {"compute": {"clip_share": 0.1}}),
    ("compute.write_attempts", {"compute": {"write_attempts": 3}}),
    ("compute.dummy_column", {"compute": {"dummy_column": False}}),
]  # fmt: skip
ACTS = [
    ("memory.K_eff_spread", {**MEMORY, "memory": {"K_eff_spread": 0.01}}),
    ("memory.seed", {**MEMORY, "memory": {"seed": 3}}),
    ("memory.stuck", {"sample": "memory-xor", "memory": {"stuck": 0.01}}),
    ("memory.rows", {**MEMORY, "memory": {"rows": 256}}),
    ("cells.p10", {**MEMORY, "cells": {"p01": 0.5, "p10": 0.5}}),
    ("cells.spread", {**MEMORY, "cells": {"spread": 0.01}}),
    ("source.settled", {**MEMORY, "source": {"settled": True}, "cells": {"p01": 0.55, "p10": 0.45}}),
    ("source.reset", {**MEMORY, "source": {"reset": False}}),
    ("source.mapping", {**MEMORY, "source": {"mapping": "fixed"}}),
    ("source.shaping", {**MEMORY, "source": {"shaping": ["popcount", 8]}}),
    ("source.period", {**MEMORY, "source": {"period": 2**24}}),
    ("imperfections.read_error", {**MEMORY, "imperfections": {"read_error": 1e-4}}),
    ("imperfections.variation", {**MEMORY, "imperfections": {"variation": False}}),
    ("train_steps", {"train": "software", "train_steps": 10}),
    ("compute.weight_bits", {"compute": {"mode": "digital", "weight_bits": 6}}),
    ("compute.adc_bits", {"compute": {"adc_bits": 6}}),
    ("compute.verified_bits", {"compute": {"write_attempts": 3, "write_error_rate": 1e-3, "verified_bits": 2}}),
    ("compute.layers", {"compute": {"layers": {"mid_block*": "digital"}}}),
    ("compute.mode", {"compute": {"mode": "digital"}}),
    ("steps", {"steps": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "fields"), IDLE)
def test_fields_that_do_not_act_are_found(path, fields):
    assert idle(Condition(**fields), path, varied=True)


@pytest.mark.parametrize(("path", "fields"), ACTS)
def test_fields_that_act_are_left_alone(path, fields):
    assert idle(Condition(**fields), path, varied=path != "memory.rows") == ""


def test_a_grid_over_an_idle_field_is_refused_before_anything_runs(capsys, tmp_path):
    grid = {"grid": {"memory.K_eff_spread": [0.0, 0.3]}, "conditions": {}, "baseline": "memory.K_eff_spread=0.0"}
    code, said = run(capsys, "study", study(tmp_path, **grid), "--out", tmp_path / "out")
    assert code == 2
    assert said.err.count("\n") == 1
    assert "memory.K_eff_spread does not act on it: noise 'software' has no memory" in said.err
    assert not (tmp_path / "out").exists()


def test_fields_of_the_base_must_act_somewhere(tmp_path):
    conditions = {"a": {}, "b": {"sample": "memory-raw"}}
    base = {"images": 4, "memory": {"K_eff_spread": 0.01}}
    check(StudySpec.load(study(tmp_path, base=base, conditions=conditions)))  # b has a memory
    with pytest.raises(InputError, match=r"base of study 'x': memory\.K_eff_spread acts on none of its conditions"):
        check(StudySpec.load(study(tmp_path, base=base, conditions={"a": {}, "b": {"sample": "software-16"}})))
    with pytest.raises(InputError, match="trains nothing, so its 2 training seeds do not act"):
        check(StudySpec.load(study(tmp_path, training_seeds=[0, 1])))
    with pytest.raises(InputError, match="condition 'b' of study 'x' is the baseline 'a' under another name"):
        check(StudySpec.load(study(tmp_path, conditions={"a": {}, "b": {"sample": "software"}})))
    assert dict(leaves({"memory": {"rows": 3}, "steps": 4, "memory.columns": 5, "compute": None})) == {
        "memory.rows": 3, "steps": 4, "memory.columns": 5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sampling_seeds": [0, 1, 0]}, "the sampling seed 0 2 times: equal seeds make equal images"),
        ({"training_seeds": [5, 5]}, "the training seed 5 2 times"),
        ({"sampling_seeds": [-1]}, "sampling seed -1 must not be negative"),
        ({"sampling_seeds": [True]}, "sampling_seeds"),
        ({"sampling_seeds": ["1"]}, "sampling_seeds"),
        ({"margin": "0.1"}, "margin"),
        ({"base": {"images": "100"}}, "field 'images'"),
        ({"base": {"images": 4.0}}, "field 'images'"),
        ({"base": {"steps": True}}, "field 'steps'"),
        ({"base": {"images": 10**12}}, "field 'images'"),
        ({"base": {"memory": 5}}, "field 'memory'"),
        (
            {"conditions": {"a": {}, "b": {"steps.inner": 1}}, "base": {"steps": 3}},
            "field 'steps' has no field 'inner'",
        ),
        ({"grid": {f"memory.f{i}": list(range(50)) for i in range(6)}}, "15625000002 conditions, more than 2000"),
        ({"sampling_seeds": list(range(60_000))}, "120000 runs, more than 100000"),
        ({"grid": {"steps": [1, 1]}}, "two conditions called 'steps=1'"),
        ({"conditions": {"a": {}, "line\nbreak": {}}}, "printable characters"),
        ({"conditions": {"a": {}, "\x1b[31m": {}}}, "printable characters"),
        ({"conditions": {"a": {}, "": {}}}, "printable characters"),
        ({"conditions": {"a": {}, "b" * 201: {}}}, "printable characters"),
    ],
)
def test_studies_of_wrong_types_and_sizes_are_refused_at_once(fields, message, tmp_path):
    begin = time.monotonic()
    with pytest.raises(InputError, match=message):
        StudySpec.load(study(tmp_path, **fields))
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source": {"reset": "no"}}, r"source.reset = 'no': Input should be a valid boolean"),
        ({"source": {"settled": 1}}, "source.settled = 1"),
        ({"source": {"mapping": 3}}, "source.mapping = 3"),
        ({"source": {"period": "100"}}, "source.period = '100'"),
        ({"source": {"shaping": 5}}, "cells, source, memory or imperfections|shaping"),
        ({"source": {"shaping": ["popcount"]}}, "cells, source, memory or imperfections"),
        ({"memory": {"rows": 64.5}}, "memory.rows = 64.5"),
        ({"memory": {"stuck": "0.1"}}, "memory.stuck = '0.1'"),
        ({"memory": {"junction": "generator"}}, "memory.junction = 'generator'"),
        ({"memory": {"model": {}}}, "memory.model"),
        ({"memory": {"colour": 1}}, "colour"),
        ({"imperfections": {"variation": "yes"}}, "imperfections.variation = 'yes'"),
        ({"imperfections": {"slopes": 3}}, "imperfections|slopes"),
        ({"cells": {"p01": "half"}}, "cells.p01 = 'half'"),
        ({"compute": {"dummy_column": "no"}}, "compute.dummy_column = 'no'"),
        ({"compute": {"weight_bits": "8"}}, "compute.weight_bits = '8'"),
        ({"compute": {"colour": 8}}, "colour"),
        ({"compute": {"layers": {"no such layer": "digital"}}}, "no such layer"),
        ({"memory": {"rows": 64}, "source": {"period": 100}}, "a looped source has no cells"),
    ],
)
def test_values_of_wrong_types_are_refused_when_the_condition_is_built(fields, message, tmp_path):
    with pytest.raises(InputError, match=message) as refused:
        check(StudySpec.load(study(tmp_path, conditions={"a": {}, "b": {"sample": "memory-raw", **fields}})))
    assert "condition 'b' of study 'x'" in str(refused.value)


@pytest.mark.parametrize("text", ['{"base": {"images": NaN}}', '{"margin": Infinity}', '{"name": "a", "name": "b"}'])
def test_no_number_and_repeated_keys_are_refused(text, tmp_path):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(InputError, match=r"study\.json"):
        StudySpec.load(tmp_path / "study.json")
    with pytest.raises(InputError, match="no JSON data"):
        StudySpec(name="x", margin=0.1, baseline="a", conditions={"a": {"memory": {"stuck": float("nan")}}}).named()


def test_a_dry_run_says_how_large_and_how_long_and_does_nothing(capsys, tmp_path):
    file = study(tmp_path, sampling_seeds=[1, 2], base={"images": 10, "steps": 3})
    code, said = run(capsys, "study", file, "--out", tmp_path / "out", "--dry-run")
    assert code == 0
    for words in ("2 conditions, 4 runs and 0 trainings", "40 images by 120 network evaluations", "in one process"):
        assert words in said.out
    code, said = run(capsys, "study", file, "--out", tmp_path / "out", "--dry-run", "--json")
    found = json.loads(said.out)
    assert (found["runs"], found["evaluations"]) == (4, 120)
    assert 0 < found["seconds"] < 600
    assert not (tmp_path / "out").exists()


def test_a_study_with_only_its_baseline_gets_its_page(capsys, tmp_path):
    file, out = study(tmp_path, conditions={"a": {}}), tmp_path / "out"
    code, said = run(capsys, "study", file, "--out", out)
    assert (code, said.err) == (0, "")
    assert "the only condition: there is nothing to compare it with" in (out / "index.html").read_text()
    assert (out / "index.html").read_text().count("<img") == 1
    assert "| condition |" not in (out / "summary.md").read_text()
    assert json.loads((out / "verdicts.json").read_text())["verdicts"] == []
    assert not (out / "verdicts.csv").exists()


NAMES = ["$x", "[/T]", "=1+1", "<b>bold</b>", "a|b", "{0}", "%d", "\\frac{", "@SUM(A1)", "-2+3", "[red]",
         "*x* `y`", "寸"]  # fmt: skip


def test_names_are_shown_as_they_stand(tmp_path, capsys, monkeypatch):
    conditions = {name: {"steps": i + 2} for i, name in enumerate(NAMES)}
    spec = StudySpec(name="$ [/T] <i>", question="<script>", margin=0.1, baseline="$base_{", conditions={
        "$base_{": {"steps": 1}, **conditions,
    })  # fmt: skip
    verdicts = [
        Verdict(name=n, trainings=1, images=4, difference=0.0, std=0.1, low=-0.2, high=0.2, equivalent=False, power=0.0,
                fd=None, fd_std=None, by_training=((0.0, 0.1),)) for n in NAMES
    ]  # fmt: skip
    assert verdicts_png(spec, verdicts).startswith(b"\x89PNG")
    prepare(tmp_path / "out")
    for r in spec.runs():
        folder = tmp_path / "out" / "runs" / r.key
        folder.mkdir()
        (folder / "result.json").write_text("{}")
    html = page(spec, verdicts, tmp_path / "out", "voltaspin study `x` <y>")
    assert "<b>bold" not in html
    assert "&lt;b&gt;bold&lt;/b&gt;" in html
    assert "<script>" not in html
    said = summary(spec, verdicts, tmp_path / "out", "voltaspin study `x` <y>")
    assert len({line.replace(r"\|", "").count("|") for line in said.splitlines() if line.startswith("| ")}) == 1
    assert "`` voltaspin study `x` <y> ``" in said
    cells = [row["name"] for row in csv.DictReader(table_csv(verdicts).splitlines())]
    assert [c.removeprefix("'") for c in cells] == NAMES
    assert not any(c.startswith(("=", "+", "-", "@")) for c in cells)
    # the bars' descriptions are plain text to rich
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "200")
    with progress_of() as bars:
        for name in NAMES:
            bars("sample{}", 0, 1, f": {name}")
            bars(name, 0, 1)
    assert "[/T]" in capsys.readouterr().err
