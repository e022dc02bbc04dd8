"""Explorations: prices by hand, fronts, searches, and work that is done once whoever stops it."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from voltaspin.core.quantity import Estimate
from voltaspin.cost.network import price_network
from voltaspin.cost.pricing import CellPulse, Prices, weight_pulse
from voltaspin.cost.table import Draws
from voltaspin.design.evaluate import SAMPLES, network_of, output_error
from voltaspin.design.result import DesignResult, nondominated, survivors, with_fronts
from voltaspin.design.search import EVALUATIONS, explore
from voltaspin.device import SwitchingModel
from voltaspin.memory import ArraySpec, convert
from voltaspin.study.runner import crew_of


def explored(space, out, workers=1):
    with crew_of(workers) as crew:
        return explore(space, out, crew=crew)


def files(out):
    return {p: p.stat().st_mtime_ns for p in (out / EVALUATIONS / "runs").glob("*/result.json")}


def test_a_design_costs_its_network_its_random_numbers_and_its_state(toy, tmp_path):
    space = toy(axes={"array.rows,array.columns": [32], "array.weight_bits": [4]})
    (point,) = explored(space, tmp_path / "out").points
    draws = Draws(samples=SAMPLES)
    design = space.design(space.settings()[0], point.choices)
    network = network_of(space.model)
    write = CellPulse.of(*weight_pulse(), table=draws.table)
    priced = price_network(network.trace, design.array, design.macro, evaluations=3, write=write,
                           draws=draws)  # fmt: skip
    model = SwitchingModel.shipped()
    numbers = 3 * 8 * 8  # one Gaussian number for each pixel and evaluation
    bits = 16 * numbers
    prices = Prices.of(model.junction, model.pulse, draws=draws)
    counts = {"pulse": 2 * bits, "reset": 2 * bits, "read": 2 * bits, "xor": bits, "lookup": numbers}
    moved = numbers * (4 + 4 + 2) * draws["SRAM 32 KB"] / 8
    whole = 1e12 * (priced.energy + prices.total(counts, "macro") + moved)
    assert point.objectives["energy"] == Estimate.of_draws(whole, unit="pJ")
    assert point.objectives["latency"] == priced.result.seconds
    area = 1e6 * (priced.area + prices.area["macro"])
    assert point.objectives["area"].value == pytest.approx(float(np.median(area)), rel=1e-12)
    assert point.energy["random numbers"].value == pytest.approx(1e12 * np.median(prices.total(counts, "macro")))
    assert {"random numbers", "state of the sampler", *priced.result.by_component} == set(point.energy)
    assert point.objectives["quality"] == output_error(network, design.array, 8)


def test_the_output_error_is_that_of_the_converted_network(net):
    network = network_of(net)
    spec = ArraySpec(mode="digital", weight_bits=3, input_bits=8, rows=64, columns=64)
    x = network.loaded.args[0]
    converted, _ = convert(network.loaded.module, spec, example=x, calibration=lambda model: model(x))
    with torch.no_grad():
        exact = network.loaded.module(x)
        square = float(((converted(x) - exact) ** 2).mean() / (exact**2).mean())
    found = output_error(network, spec, 8)
    assert found.value == pytest.approx(math.sqrt(square), rel=1e-5)
    assert 0 < found.low < found.value < found.high
    fine = output_error(network, spec.model_copy(update={"weight_bits": 8}), 8)
    assert fine.value < found.value / 8  # five bits more: 32 times less, down to the rounding of the inputs


def test_a_grid_tries_every_design_and_measures_an_error_once_for_equal_arrays(toy, tmp_path):
    found = explored(toy(steps=[2, 3]), tmp_path / "out")
    assert (found.search, len(found.points), found.errors) == ("grid", 2 * 12, 6)
    assert [p.number for p in found.points] == list(range(1, 25))
    assert len({(p.setting, p.said) for p in found.points}) == 24
    energies = {(p.steps, p.said): p.objectives["energy"].value for p in found.points}
    for (steps, said), energy in energies.items():
        if steps == 2:
            assert energies[3, said] == pytest.approx(1.5 * energy, rel=0.01)  # medians of equal draws
    assert {p.steps for p in found.front} == {2, 3}  # each way of sampling has a front


def test_stopped_explorations_go_on_and_give_the_identical_result(toy, tmp_path):
    space, out = toy(), tmp_path / "out"
    whole = explored(space, out)
    before = files(out)
    again = explored(space, out)
    assert again == whole
    assert files(out) == before
    for i, file in enumerate(sorted(before)):
        if i % 2:
            for one in file.parent.iterdir():
                one.unlink()
            file.parent.rmdir()
    assert explored(space, out) == whole
    kept = files(out)
    assert set(kept) == set(before)
    assert sum(kept[p] == before[p] for p in kept) == len(before) - len(before) // 2


SEARCHED = {
    "axes": {"array.rows,array.columns": [32, 64], "array.weight_bits": {"low": 2, "high": 8},
             "macro.node": {"low": 1.6e-8, "high": 4.5e-8, "log": True},
             "macro.columns_per_converter": [16, 40, 48, 64]},
    "trials": 24, "population": 6,
}  # fmt: skip


def test_a_search_repeats_itself_and_lists_what_cannot_be_built(toy, tmp_path):
    space = toy(**SEARCHED, steps=[2, 3])
    found = explored(space, tmp_path / "one")
    assert found.search == "NSGA-II"
    assert len(found.points) + len(found.pruned) == 24
    assert sorted(p.number for p in (*found.points, *found.pruned)) == list(range(1, 25))
    assert found.pruned
    for p in found.pruned:
        n = p.choices["macro.columns_per_converter"]
        assert p.choices["array.rows,array.columns"] == 32 < n
        assert p.reason.startswith(f"columns_per_converter = {n} is more than the 32 columns")
    assert any("cannot be built" in name for name, _ in found.summary())
    assert explored(space, tmp_path / "one") == found
    assert explored(space, tmp_path / "two") == found
    other = explored(space.model_copy(update={"seed": 1}), tmp_path / "one")
    assert [p.choices for p in other.points] != [p.choices for p in found.points]


@pytest.mark.slow
def test_two_workers_give_the_result_of_one(toy, tmp_path):
    space = toy(**SEARCHED)
    assert explored(space, tmp_path / "two", workers=2) == explored(space, tmp_path / "one")


@pytest.mark.slow
def test_a_dask_cluster_gives_the_result_of_one_process(toy, tmp_path):
    distributed = pytest.importorskip("distributed")
    space = toy(axes={"array.rows,array.columns": [32, 64], "array.weight_bits": [2, 4]})
    with (
        distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster,
        crew_of(scheduler=cluster.scheduler_address) as crew,
    ):
        found = explore(space, tmp_path / "cluster", crew=crew)
    assert found == explored(space, tmp_path / "here")
    assert files(tmp_path / "cluster").keys() != set()


def test_designs_that_differ_in_fields_without_effect_are_one(toy, tmp_path):
    axes = {"array.mode": ["digital", "analog"], "array.adc_bits": [5, 7], "macro.node": [2.2e-8]}
    found = explored(toy(array={"mode": "digital", "weight_bits": 4}, axes=axes), tmp_path / "out")
    assert [(p.choices["array.mode"], p.equal_to) for p in found.points] == [
        ("digital", None), ("digital", 1), ("analog", None), ("analog", None),
    ]  # fmt: skip
    assert [p.front for p in found.points][1] is False
    assert dict(found.summary())["equal designs"].startswith("1 differ")


@pytest.mark.slow
def test_a_search_finds_most_of_the_front_of_the_grid(toy, tmp_path):
    axes = {"array.rows,array.columns": [32, 64, 128], "array.weight_bits": [2, 3, 4, 5, 6, 8],
            "macro.node": [2.2e-8, 2.8e-8, 4.5e-8], "macro.digital_units": [1, 64, 1024]}  # fmt: skip
    objectives = ["quality", "energy"]
    grid = explored(toy(axes=axes, objectives=objectives), tmp_path / "out")
    assert len(grid.points) == 162
    searched = explored(toy(axes=axes, objectives=objectives, trials=80, population=16), tmp_path / "out")
    assert searched.search == "NSGA-II"

    def reached(points):
        """Energy at each error of the grid's front, or less."""
        return [min((q.objectives["energy"].value for q in points
                     if q.objectives["quality"].value <= p.objectives["quality"].value), default=math.inf)
                for p in grid.front]  # fmt: skip

    ratio = np.divide(reached(searched.points), reached(grid.points))
    assert (ratio >= 1).all()
    assert np.median(ratio) < 1.2


def test_the_front_of_known_points():
    x = np.linspace(0, 1, 21)
    circle = np.stack([1 - np.sin(x * np.pi / 2), 1 - np.cos(x * np.pi / 2)], 1)  # convex to the origin: all on it
    behind = circle + np.array([[0.01, 0.02]])
    assert nondominated(np.concatenate([circle, behind])).tolist() == [True] * 21 + [False] * 21
    equal = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 3.0], [0.5, 9.0]])
    assert nondominated(equal).tolist() == [True, True, False, True]


def test_survivors_are_spread_over_each_front(toy, tmp_path):
    found = explored(toy(steps=[2, 3], objectives=["quality", "energy"]), tmp_path / "out")
    chosen = survivors(found.points, 4)
    assert [p.steps for p in chosen] == [2, 2, 3, 3]
    assert all(p.front for p in chosen)
    for steps in (2, 3):
        own = [p.objectives["quality"].value for p in chosen if p.steps == steps]
        whole = [p.objectives["quality"].value for p in found.front if p.steps == steps]
        assert (min(own), max(own)) == (min(whole), max(whole))
    arrays = [json.dumps(p.array) for p in survivors(found.points, 100) if p.steps == 2]
    assert len(arrays) == len(set(arrays))  # macros alone make no other images


def test_fronts_are_those_of_one_way_of_sampling(toy, tmp_path):
    points = explored(toy(steps=[2, 3]), tmp_path / "out").points
    alone = with_fronts([p for p in points if p.steps == 3], ("quality", "energy", "latency", "area"))
    assert [p.front for p in alone] == [p.front for p in points if p.steps == 3]


def test_a_result_is_read_again(toy, tmp_path):
    found = explored(toy(), tmp_path / "out")
    found.save(tmp_path / "design.json")
    assert DesignResult.load(tmp_path / "design.json") == found


COMMAND = [sys.executable, "-m", "voltaspin", "design"]


@pytest.mark.slow
def test_a_killed_command_goes_on_and_two_share_the_work(toy, tmp_path):
    axes = {"array.rows,array.columns": [32, 64], "array.weight_bits": [2, 3, 4, 5, 6, 7, 8],
            "macro.node": [2.2e-8, 2.8e-8, 4.5e-8, 6.5e-8]}  # fmt: skip
    space, out = toy(axes=axes), tmp_path / "out"
    command = [*COMMAND, str(tmp_path / "space.json"), "--out", str(out)]
    process = subprocess.Popen(command, env=os.environ.copy(), stdout=subprocess.DEVNULL)
    while len(files(out)) < 10:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = files(out)
    assert len(before) < 56 + 14 + 1
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(2)]
    for one in both:
        assert (one.communicate()[1], one.returncode) == (b"", 0)
    after = files(out)
    assert len(after) == 56 + 14 + 1
    assert {p: after[p] for p in before} == before
    assert DesignResult.load(out / "design.json") == explored(space, tmp_path / "alone")
