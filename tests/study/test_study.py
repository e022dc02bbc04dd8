"""A whole small study on the command line, and its verdicts against simulated features with known differences."""

import json
from pathlib import Path

import numpy as np
import pytest

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.device import SwitchingModel
from voltaspin.metrics import reference
from voltaspin.study.equivalence import combined, judge, power_of, standing
from voltaspin.study.runner import folder_of, prepare
from voltaspin.study.specification import RESULTS_OF, StudySpec
from voltaspin.study.work import source_of

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    return exit_.value.code, capsys.readouterr()


STUDY = {
    "kind": "study", "schema_version": 1, "name": "a small one", "question": "Does it matter?", "margin": 0.5,
    "baseline": "software", "base": {"images": 8, "steps": 2},
    "conditions": {"software": {}, "sixteen": {"sample": "software-16"},
                   "raw": {"sample": "memory-raw", "memory": {"rows": 256, "columns": 256, "K_eff_spread": 0.02}}},
    "sampling_seeds": [1, 2],
}  # fmt: skip


@pytest.mark.slow
def test_a_study_on_the_command_line(capsys, tmp_path):
    (tmp_path / "study.json").write_text(json.dumps(STUDY))
    out = tmp_path / "out"
    code, said = run(capsys, "study", tmp_path / "study.json", "--out", out, "--shard", "1/2")
    assert code == 0
    code, said = run(capsys, "study", tmp_path / "study.json", "--out", out, "--json")
    assert code == 0
    found = {v["name"]: v for v in json.loads(said.out)["verdicts"]}
    assert set(found) == {"sixteen", "raw"}
    assert found["sixteen"]["images"] == 16
    assert abs(found["sixteen"]["difference"]) < 0.05  # the same words in 65,536 levels
    page = (out / "index.html").read_text()
    assert "Does it matter?" in page
    assert page.count("<img") == 1 + 3
    said = (out / "summary.md").read_text()
    assert "| sixteen | 1 | 16 |" in said
    assert "6 samplings" in said
    assert "http:" not in page
    assert "https:" not in page
    assert (out / "verdicts.csv").read_text().startswith("name,trainings,images,difference")
    before = {p: p.stat().st_mtime_ns for p in (out / "runs").glob("*/result.json")}
    assert len(before) == 6
    run(capsys, "study", tmp_path / "study.json", "--out", out)
    assert before == {p: p.stat().st_mtime_ns for p in (out / "runs").glob("*/result.json")}


@pytest.mark.slow
def test_a_study_trains_each_model_once(capsys, tmp_path):
    small = {"images": 4, "steps": 2, "train": "software", "train_steps": 3, "channels": [16, 16, 16]}
    study = {**STUDY, "base": small, "sampling_seeds": [1],
             "conditions": {"software": {}, "sixteen": {"sample": "software-16"}}}  # fmt: skip
    (tmp_path / "study.json").write_text(json.dumps(study))
    out = tmp_path / "out"
    code, said = run(capsys, "study", tmp_path / "study.json", "--out", out)
    if code != 0 and "fashion-mnist" in said.err:
        pytest.skip("no training images here")
    assert code == 0
    assert len(list(out.glob("runs/*/model/unet"))) == 1
    assert not list(out.glob("runs/*/model/checkpoint-*"))


def spec(**fields):
    given = {"name": "x", "margin": 0.05, "baseline": "a", "sampling_seeds": (1, 2),
             "conditions": {"a": {"images": 300}, "b": {"images": 300, "steps": 49},
                            "c": {"images": 300, "steps": 48}}}  # fmt: skip
    return StudySpec(**{**given, **fields})


def test_equal_and_different_conditions_are_told_apart(tmp_path):
    """Features of real garments stand for images: b are a's but for a little, c are blurred ones."""
    study, against = spec(), reference("fashion-mnist")
    prepare(tmp_path)
    rng = np.random.default_rng(0)
    for run_ in study.runs():
        folder = folder_of(tmp_path, run_)
        folder.mkdir(parents=True)
        rows = slice(300 * run_.sampling_seed, 300 * run_.sampling_seed + 300)
        features = against.features["blur" if run_.name == "c" else "real"][rows].astype(float)
        if run_.name == "b":
            features = features + 1e-3 * features.std(0) * rng.normal(size=features.shape)
        np.savez(folder / "features.npz", features=features)
    b, c = judge(study, tmp_path, against=against)
    assert (b.name, b.images, b.equivalent) == ("b", 600, True)
    assert b.power > 0.9
    assert c.detected
    assert not c.equivalent
    assert c.kid - c.baseline_kid == pytest.approx(c.difference)
    assert c.recall < -2 * c.recall_std
    assert abs(b.precision) < 3 * max(b.precision_std, 1 / 600)
    worth = standing(study.model_copy(update={"controls": ("c",), "yardstick": "c"}), [b, c])
    assert worth[0] == "Positive controls: all 1 found different."
    assert "50e-3 is below" in worth[1]
    worth = standing(study.model_copy(update={"controls": ("b", "c"), "yardstick": "b"}), [b, c])
    assert "NOT found different: b;" in worth[0]
    assert "NOT below" in worth[1]
    assert c.fd is not None
    assert c.fd > 0
    (folder_of(tmp_path, study.runs()[-1]) / "features.npz").unlink()
    with pytest.raises(InputError, match="1 of 6 runs are not done"):
        judge(study, tmp_path, against=against)


def test_three_trainings_are_judged_by_their_spread():
    value, std, z95, _ = combined([(0.0, 1e-9), (0.3, 1e-9), (0.6, 1e-9)])
    assert (value, std) == pytest.approx((0.3, 0.3 / np.sqrt(3)))
    assert z95 == pytest.approx(4.303, abs=1e-3)  # Student's t, two degrees of freedom
    assert combined([(1.0, 0.3), (2.0, 0.4)])[:2] == pytest.approx((1.5, 0.25))


def test_power_of_two_one_sided_tests():
    assert power_of(2.93, 1.0, 1.645) == pytest.approx(0.80, abs=0.005)
    assert power_of(1.0, 1.0, 1.645) == 0.0
    rng = np.random.default_rng(1)
    shown = np.mean(np.abs(rng.normal(size=20_000)) + 1.645 < 2.5)
    assert power_of(2.5, 1.0, 1.645) == pytest.approx(shown, abs=3 * 0.5 / np.sqrt(20_000))


def test_sources_of_a_study():
    assert "software" not in source_of("memory-xor", 3).provenance.to_json()["kind"]
    with pytest.raises(InputError, match="noise 'dice' is unknown"):
        source_of("dice", 0)
    with pytest.raises(InputError, match="memory or imperfections"):
        source_of("memory-raw", 0, memory={"colour": 1})
    with pytest.raises(InputError, match="memory or imperfections"):
        source_of("memory-raw", 0, imperfections={"colour": 1})


def test_descriptions_of_sources_are_read_by_the_grammar(tmp_path):
    """A path that holds a parameter's name gives no parameter, and an array's own fields keep the study's table."""
    table = SwitchingModel.shipped(RESULTS_OF)
    usual = source_of("memory-raw", 3).memory
    assert usual.model == table
    assert np.array_equal(source_of(" memory : k=1", 3).memory.p01, usual.p01)
    narrow = source_of("memory:k=1,K_eff_spread=3%", 3).memory
    assert narrow.model == table
    assert narrow.variation.K_eff == pytest.approx(0.03)
    bits = tmp_path / "width=3,junction.bin"
    bits.write_bytes(np.random.default_rng(0).bytes(2048))
    assert source_of(str(bits), 3).provenance.to_json() == source_of(str(bits), 4).provenance.to_json()
    assert (
        source_of("memory:k=1", 0, source={"period": 640}).name
        == source_of("memory-raw", 0, source={"period": 640}).name
    )


def test_the_study_of_the_arms_asks_what_it_should():
    study = StudySpec.load(EXAMPLES / "arms.json")
    noises = {"software", "software-16", "memory-raw", "memory-xor"}
    pairs = {(c.train, c.sample) for c in study.named().values()}
    assert pairs == {(a, b) for a in noises for b in noises if a == b or "software" in (a, b)}
    assert len(study.training_seeds) >= 3
    assert len(study.sampling_seeds) >= 5
    assert len(study.trainings()) == 5 * (4 + 1)
    with pytest.raises(InputError, match="control or yardstick 'no such' is none of the other conditions"):
        study.model_copy(update={"controls": ("no such",)}).named()
    with pytest.raises(InputError, match="'software' is none of the other"):
        study.model_copy(update={"yardstick": "software"}).named()
