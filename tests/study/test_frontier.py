"""Quality against energy: conditions become designs, whose energies are those of their parts."""

import json

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate
from voltaspin.cost.images import ImageWork
from voltaspin.cost.jobs import image_job
from voltaspin.cost.network import compute_cost
from voltaspin.cost.pricing import BOUNDARIES, Prices
from voltaspin.cost.table import CostTable, Draws
from voltaspin.device.switching import SwitchingModel
from voltaspin.diffusion.pipelines import load_pipeline, shipped_model
from voltaspin.memory import ArraySpec, trace
from voltaspin.metrics import reference
from voltaspin.study.frontier import Frontier, frontier, rate_of
from voltaspin.study.runner import folder_of
from voltaspin.study.specification import StudySpec

DRAWS = Draws(CostTable.default().nominal(), samples=100)
ANALOG = {"mode": "analog", "weight_bits": 4, "input_bits": 8, "adc_bits": 6}
STUDY = {
    "kind": "study", "schema_version": 1, "name": "toy", "question": "?", "margin": 0.03, "baseline": "float",
    "base": {"images": 256, "steps": 50},
    "conditions": {
        "float": {"sample": "memory-xor"},
        "analog": {"sample": "memory-xor", "compute": ANALOG, "calibrate": True},
        "analog, few": {"sample": "memory-raw", "steps": 12, "compute": ANALOG, "calibrate": True},
        "in place": {"diffusion": "in-place", "compute": ANALOG, "calibrate": True},
        "worse": {"sample": "memory-xor", "compute": {**ANALOG, "adc_bits": 8}, "calibrate": True},
    },
    "sampling_seeds": [1],
}  # fmt: skip
#: how far the features of each condition lie from those of garments, in standard deviations
FAR = {"float": 0.0, "analog": 0.01, "analog, few": 1.0, "in place": 0.3, "worse": 0.5}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study whose runs have features near those of garments, and prices."""
    file = tmp_path_factory.mktemp("study") / "study.json"
    file.write_text(json.dumps(STUDY))
    spec, out = StudySpec.load(file), file.parent / "out"
    target = reference("fashion-mnist")
    for run in spec.runs():
        folder = folder_of(out, run)
        folder.mkdir(parents=True)
        rng = np.random.default_rng(1)
        own = target.features["reference"]
        features = own[rng.choice(len(own), 256, replace=False)] + FAR[run.name] * target.scale
        np.savez(folder / "features.npz", features=features.astype(np.float32))
        work = ImageWork(
            name="in place", evaluations=50, random_bits=261257, pulses=261257, resets=0, reads=261257, xors=0,
            lookups=0, bytes_moved=1, energy={b: pJ(1e5) for b in BOUNDARIES}, moving=pJ(3e5), over={},
        )  # fmt: skip
        (folder / "result.json").write_text(json.dumps({"costs": [work.to_json()]}))
    return spec, out


def pJ(value):
    return Estimate(value, value, value, level=0.9, unit="pJ")


@pytest.fixture(scope="module")
def found(study):
    return frontier(*study, draws=DRAWS, timed=False)


def design(found, name):
    return next(d for d in found.designs if d.name == name)


def test_energies_are_those_of_network_and_noise(found):
    pipeline = load_pipeline(shipped_model())
    traced = trace(pipeline.unet)
    network = compute_cost(traced, ArraySpec(**ANALOG), evaluations=50, draws=DRAWS)
    model = SwitchingModel.shipped()
    prices = Prices.of(model.junction, model.pulse, draws=DRAWS)
    job = image_job(pipeline, 50)
    byte = 20e-12 / 8
    noise = 1e12 * (np.median(prices.total(job.counts, "macro")) + 10 * job.normals * byte)
    own = design(found, "analog")
    assert own.parts["network"].value == pytest.approx(network.total["macro"].value)
    assert own.parts["random numbers"].value == pytest.approx(noise)
    assert own.energy.value == pytest.approx(network.total["macro"].value + noise, rel=1e-6)
    assert own.area == network.area
    assert own.random_bits == job.bits == 50 * 784 * 16
    raw = design(found, "analog, few")
    assert raw.parts["random numbers"].value < own.parts["random numbers"].value / 4  # fewer steps, one cell a bit
    assert raw.parts["network"].value == pytest.approx(12 / 50 * own.parts["network"].value)
    in_place = design(found, "in place")
    assert in_place.parts["random numbers"].value == pytest.approx(4e5)
    assert in_place.random_bits == 261257


def test_floating_point_stands_for_machines(found):
    names = {d.name for d in found.designs if d.condition == "float"}
    assert names == {"float, GPU", "float, int8 digital machine"}
    cost = compute_cost(trace(load_pipeline(shipped_model()).unet), ArraySpec(**ANALOG), evaluations=50, draws=DRAWS)
    digital = design(found, "float, int8 digital machine")
    assert digital.parts["network"].value == pytest.approx(cost.conventional_total.value)
    gpu = design(found, "float, GPU").parts["network"]
    assert gpu.low < 1e12 * 2 * cost.macs / (2.1e12 * 0.2) < gpu.high


def test_the_front_holds_what_nothing_beats(found):
    front = {d.name for d in found.designs if d.on_front}
    ours = [d for d in found.designs if d.machine == "analog crossbars"]
    for d in ours:
        beaten = any(o.kid.value <= d.kid.value and o.energy.value <= d.energy.value and o is not d for o in ours)
        assert (d.name in front) != beaten
    assert "worse" not in front
    assert "analog, few" in front
    assert not any(d.on_front for d in found.designs if "crossbars" not in d.machine)
    assert [d.name for d in found.designs if d.best] == ["analog"]  # "few" is cheaper and too far off
    energies = [d.energy.value for d in found.designs]
    assert energies == sorted(energies)


def test_what_follows_is_said(found):
    said = " ".join(found.findings)
    assert "'float, int8 digital machine' takes" in said
    assert "a cheaper bit" in said
    assert "In place against Gaussian noise at 50 evaluations in analog crossbars" in said
    assert not any("CPU:" in text for text in found.assumptions)
    assert "| **analog, few** |" in found.table()
    assert Frontier.from_json(json.loads(json.dumps(found.to_json()))) == found
    assert found.plot().get_title(loc="left") == "Quality against energy"


def test_generators_are_compared_at_one_rate(found):
    best = next(d for d in found.designs if d.best)
    assert found.bit_rate == pytest.approx(best.random_bits / best.seconds.value)
    by = {r.name: r for r in found.rates}
    intel = by["Intel all-digital, 45 nm"]
    assert intel.per_area == pytest.approx(2.4e9 / 4004e-6)
    assert intel.area == pytest.approx(found.bit_rate / intel.per_area)
    assert intel.power == pytest.approx(found.bit_rate * 2.9e-12)
    assert any("this memory" in name for name in by)


def test_rates_in_words():
    sources = {s.key: s for s in CostTable.default().sources}
    assert rate_of(sources["intel-45"]) == 2.4e9
    assert rate_of(sources["stt-async"]) == pytest.approx(np.sqrt(100e6 * 128e6))
    assert rate_of(sources["oscillator-180"]) == 2e5
    assert rate_of(sources["superparamagnetic"]) is None


def test_unfinished_conditions_are_left_out(study, tmp_path):
    spec, out = study
    with pytest.raises(InputError, match="holds no finished condition of 'toy'"):
        frontier(spec, tmp_path, draws=DRAWS, timed=False)
    run = next(r for r in spec.runs() if r.name == "analog")
    part = tmp_path / "part"
    folder_of(part, run).parent.mkdir(parents=True)
    folder_of(part, run).symlink_to(folder_of(out, run))
    assert [d.name for d in frontier(spec, part, draws=DRAWS, timed=False).designs] == ["analog"]
