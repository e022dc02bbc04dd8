"""The whole job in small: one run of the demo, its page and its numbers."""

import re
from pathlib import Path

import numpy as np
import pytest

from voltaspin import whole_chain
from voltaspin.core.files import read_json
from voltaspin.diffusion import sampling
from voltaspin.diffusion.conditions import sampled_condition
from voltaspin.diffusion.pipelines import load_pipeline, shipped_model
from voltaspin.metrics.conditions import shipped_comparison
from voltaspin.report.demo_results import DemoResults

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo")
    seen: dict[str, list[tuple[int, int]]] = {}
    results = whole_chain.demo(
        out=out, images=6, steps=3, seed=3, progress=lambda part, a, b: seen.setdefault(part, []).append((a, b))
    )
    return out, results, seen


def test_every_part_shows_progress_to_its_end(run):
    _, _, seen = run
    assert [part[0] for part in seen if part[0].isdigit()] == sorted(part[0] for part in seen if part[0].isdigit())
    assert {part[0] for part in seen} >= {"1", "2", "3", "4", "5", "6"}
    for part, steps in seen.items():
        assert steps[-1][0] == steps[-1][1], part


def test_results_are_what_is_written_and_can_be_read_again(run):
    out, results, _ = run
    assert DemoResults.load(out / "results.json") == results
    assert results.command == "voltaspin demo --images 6 --steps 3 --seed 3"


def test_the_page_is_one_file_that_asks_nobody(run):
    out, results, _ = run
    page = (out / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert not re.search(r"@import|url\((?!['\"]?data:)", page)
    assert page.count("data:image/png;base64,") >= 9
    assert results.device.chosen.verdict.split(";")[0].split(" over")[0] in page


def test_conditions_control_and_verdicts(run):
    _, results, _ = run
    assert [c.key for c in results.reverse.conditions] == ["software", "software16", "raw", "conditioned"]
    assert [c.provenance for c in results.reverse.conditions] == ["pseudo", "pseudo", "simulated", "simulated"]
    live = results.quality.live
    assert live.n == 6
    assert live.control is not None
    assert [d.condition for d in live.differences] == ["software16", "raw", "conditioned"]
    assert all(row.fd is None and "128" in row.fd_reason for row in live.rows)


def test_the_ledger_counts_every_pulse_of_the_conditioned_images(run):
    _, results, _ = run
    bits = 6 * 3 * 784 * 16  # images, draws (the first latent and two steps between three), pixels, bits
    counts = results.cost.counts
    assert counts["pulse"] == counts["read"] == 2 * bits
    assert counts["xor"] == counts["bit"] == bits
    assert counts["reset"] == 6 * 784 * 16 * 2
    assert counts["normal"] == 6 * 3 * 784


def test_common_random_numbers_make_the_software_conditions_nearly_equal(run):
    out, *_ = run
    full, coarse = (np.load(out / "samples" / f"{key}.npy").astype(int) for key in ("software", "software16"))
    other = np.load(out / "samples" / "control.npy").astype(int)
    # Levels of 16 bits differ from float32 by at most one level in 65,536, which three steps cannot blow up.
    assert abs(full - coarse).mean() < 0.1 * abs(full - other).mean()


def test_a_second_run_takes_finished_conditions_over_and_finds_the_same(run, monkeypatch):
    out, *_ = run

    def nothing(*args: object, **kwargs: object) -> None:
        raise AssertionError("a condition was sampled again")

    monkeypatch.setattr(sampling, "sample", nothing)
    settings = {"key": "control", "name": "Control", "images": 6, "folder": out / "samples",
                "progress": lambda *a: None}  # fmt: skip
    pipeline = load_pipeline(shipped_model())
    control = sampled_condition(pipeline, whole_chain.control_source(3), steps=3, **settings)
    assert control.images.shape == (6, 1, 28, 28)
    assert control.ledger.total("pulse") == 6 * 3 * 784 * 16
    with pytest.raises(AssertionError, match="sampled again"):
        sampled_condition(pipeline, whole_chain.control_source(3), steps=4, **settings)
    with pytest.raises(AssertionError, match="sampled again"):
        sampled_condition(pipeline, whole_chain.control_source(4), steps=3, **settings)


def test_the_study_that_ships_is_of_the_model_that_ships():
    study = shipped_comparison()
    assert study is not None
    assert study.n >= 5000
    assert study.steps == 50
    assert [row.condition for row in study.rows] == ["software", "software16", "raw", "conditioned"]
    assert study.control is not None
    assert study.control.detected
    assert study.control.difference.kid.low > 0
    card = read_json(Path(whole_chain.__file__).parent / "data" / "study-card.json")
    assert card["model_sha256"] == load_pipeline(shipped_model()).sha256
    assert card["command"] == study.command
