"""The study files of the package: they load, ask what the pages quote, and their kinds of condition run when tiny."""

import json
from pathlib import Path

import numpy as np
import pytest

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.diffusion.data import ImageSet
from voltaspin.metrics import garments
from voltaspin.metrics.shipped import data_sha256
from voltaspin.study import arrays, work
from voltaspin.study.check import check
from voltaspin.study.equivalence import StudyResult
from voltaspin.study.runner import folder_of
from voltaspin.study.specification import Condition, Run, StudySpec

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def few_images(monkeypatch):
    """Garments stand for the training images."""
    images = np.tile(garments(), (2, 1, 1, 1))
    few = ImageSet(name="garments", split="train", images=images, labels=None, sha256=data_sha256(images))
    for module in (work, arrays):
        monkeypatch.setattr(module, "load_images", lambda name: few)
    monkeypatch.setattr(work, "UNSEEN", 0)
    monkeypatch.setattr(arrays, "garments", lambda: garments()[:2])


def done(capsys, tmp_path, study):
    (tmp_path / "study.json").write_text(json.dumps(study))
    with pytest.raises(SystemExit) as end:
        main(["study", str(tmp_path / "study.json"), "--out", str(tmp_path / "out")])
    said = capsys.readouterr()
    assert (end.value.code, said.err) == (0, "")
    spec = StudySpec.load(tmp_path / "study.json")
    records = {
        r.name: json.loads((folder_of(tmp_path / "out", r) / "result.json").read_text()) for r in spec.runs()
    }  # fmt: skip
    return StudyResult.load(tmp_path / "out" / "verdicts.json"), records


def tiny(name, **changes):
    """A study file of the package with few images and steps."""
    study = json.loads((EXAMPLES / name).read_text())
    study["base"] |= {"images": 4, "steps": 2}
    return study | changes


ARRAYS = {
    "float": {"compute": None},
    "base": {},
    "tuned": {"compute.weight_bits": 4, "tune": {"steps": 2, "batch": 4}},
    "corrected": {"compute.read_noise": 0.1, "correct": 8},
    "exact": {"compute.adc_model": "exact"},
}


@pytest.mark.slow
def test_networks_in_arrays_are_calibrated_tuned_and_corrected(few_images, capsys, tmp_path):
    study = tiny("compute.json", conditions=ARRAYS, axes={"compute.weight_bits": [4, 6]}, yardstick="",
                 against={"tuned": "compute.weight_bits=4", "exact": "base"})  # fmt: skip
    result, records = done(capsys, tmp_path, study)
    assert [v.name for v in result] == ["base", "tuned", "corrected", "exact", "compute.weight_bits=4"]
    assert [v.against for v in result] == ["", "compute.weight_bits=4", "", "base", ""]
    errors = {name: list(r["output_error"].values()) for name, r in records.items() if name != "float"}
    assert len(errors["base"]) == len(arrays.TIMES) == 5
    assert errors["compute.weight_bits=4"][2] > 2 * errors["base"][2] > 0  # 4 bits against 6: 16 times the variance
    assert len(records["corrected"]["arithmetic"]) == 2
    assert min(records["corrected"]["arithmetic"]) > 0
    assert len(records["tuned"]["losses"]) == 2
    page = (tmp_path / "out" / "index.html").read_text()
    assert page.count("<img") == 2 + 6
    for words in ("tuned (less compute.weight_bits=4)", "output error: 450", "variance of the arithmetic"):
        assert words in page
        assert words in (tmp_path / "out" / "summary.md").read_text().replace("\\", "")


@pytest.mark.slow
def test_images_in_place_and_real_images_are_conditions(few_images, capsys, tmp_path):
    training, cells = {"batch": 8, "warmup": 1}, {"junction": "ideal"}
    counts = {**training, "cells": cells, "cells_per_pixel": 5}
    sampling = {"cells": cells, "cells_per_pixel": 5}
    conditions = {
        "Gaussian": {"train": "software"},
        "carried over": {"train": "software", "diffusion": "in-place", "sampling": sampling},
        "trained on counts": {"train": "array", "diffusion": "in-place", "training": counts, "sampling": sampling},
        "variance of the cells": {"train": "array", "diffusion": "in-place", "training": counts,
                             "sampling": {**sampling, "variance": "cells"}},
        "real, 3 planes": {"diffusion": "real", "sampling": {"bits": 3}, "training": {}},
    }  # fmt: skip
    base = {"images": 4, "steps": 3, "train_steps": 2, "channels": [16, 16, 16], "training": training}
    alone = {"against": {}, "baseline": "Gaussian", "controls": [], "yardstick": "", "sampling_seeds": [3]}
    result, records = done(capsys, tmp_path, tiny("inplace.json", base=base, conditions=conditions, **alone))
    assert len(result) == 4
    assert len(list((tmp_path / "out" / "runs").glob("*/model/inplace.json"))) == 1  # both conditions share it
    assert len(list((tmp_path / "out" / "runs").glob("*/path.png"))) == 3
    assert records["carried over"]["model_sha256"] == records["Gaussian"]["model_sha256"]
    assert records["trained on counts"]["random_bits"] != records["variance of the cells"]["random_bits"]
    assert records["trained on counts"]["per_image"]["evaluation"] == 3
    page = (tmp_path / "out" / "index.html").read_text()
    for words in ("those differences are of independent images", "last loss", "steps x batch"):
        assert words in page


def test_the_studies_ask_what_their_pages_quote():
    compute, in_place = (StudySpec.load(EXAMPLES / name) for name in ("compute.json", "inplace.json"))
    named = compute.named()
    assert sum(name.startswith("compute.") for name in named) == 6 * 5 - 1 - 6
    assert named["compute.TMR=0.25"].compute == {**named["base"].compute, "TMR": 0.25}
    assert named["float"].compute is None
    assert named["read noise 0.1, corrected"].correct == 64
    assert {c.diffusion for c in in_place.named().values()} == {"gaussian", "in-place"}
    assert check(in_place).runs == len(in_place.runs())


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"sampling": {"colour": 1}}, r"sampling\.colour is unknown to gaussian images"),
        ({"diffusion": "real", "sampling": {"bits": 9}}, "a grey level has 1 to 8"),
        ({"diffusion": "in-place", "sampling": {"dither": "no"}}, r"sampling\.dither = 'no'"),
        ({"train": "array", "training": {"colour": 1}}, "colour"),
        ({"train": "array", "training": {"steps": 1}}, r"training\.steps is said by another field"),
        ({"diffusion": "in-place", "memory": {"rows": 64}}, "memory.rows does not act on it: the array draws"),
        ({"diffusion": "in-place", "sampling": {"cells": {"colour": 1}}}, "cells: field 'colour'"),
        ({"diffusion": "in-place", "sampling": {"variance": "large"}}, r"sampling\.variance = 'large'"),
        ({"diffusion": "real", "train_steps": 3}, "train_steps does not act on it: real images need no model"),
        ({"calibrate": True}, "calibrate does not act on it: its network computes in floating point"),
        ({"tune": {"steps": 3}}, "tune.steps does not act on it"),
        ({"compute": {"mode": "digital"}, "tune": {"colour": 3}}, "tune.colour is unknown"),
        ({"training": {"batch": 3}}, "training.batch does not act on it: the shipped model is trained already"),
    ],
)
def test_fields_that_a_condition_does_not_have_are_refused(fields, says):
    with pytest.raises(InputError, match=says):
        check(StudySpec(name="x", margin=0.1, baseline="a", conditions={"a": {"steps": 1}, "b": fields}))


def test_what_came_later_leaves_the_keys_of_older_runs():
    plain, later = Condition(), Condition(diffusion="real", sampling={"bits": 3})
    assert not {"diffusion", "training", "sampling", "calibrate", "tune", "correct"} & set(plain.to_json())
    assert Condition.from_json(later.to_json()) == later
    assert Run("a", Condition(train="software"), 1, 2).training.to_json() == {
        "kind": "training", "noise": "software", "steps": 2000, "channels": [32, 64, 96], "seed": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"against": {"b": "c"}}, "compares 'b' with 'c'"),
        ({"against": {"a": "b"}}, "compares 'a' with 'b'"),
        ({"axes": {"steps": []}}, "steps has no values"),
        ({"axes": {"steps": [5, 5]}}, "two conditions called 'steps=5'"),
    ],
)
def test_axes_and_pairs_that_make_no_sense_are_refused(fields, says):
    with pytest.raises(InputError, match=says):
        StudySpec(name="x", margin=0.1, baseline="a", conditions={"a": {}, "b": {"steps": 3}}, **fields).named()
