"""Cycles of cells and their lifetimes, worked out by hand; pulses in place against the ledger of a run."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Estimate, Sourced
from voltaspin.cost.cycles import inplace_cycles, over_cells, random_bit_cycles, weight_cycles
from voltaspin.cost.endurance import DAY, LIMITS, Pace, findings, model_endurance, oxide_pulses
from voltaspin.cost.jobs import job
from voltaspin.cost.macro import MacroSpec
from voltaspin.cost.mapping import map_network
from voltaspin.cost.table import Draws
from voltaspin.device import Pulse, presets
from voltaspin.diffusion.any_model import build
from voltaspin.diffusion.inplace.array import CellSpec
from voltaspin.diffusion.inplace.sampling import sample
from voltaspin.diffusion.pipelines import load_pipeline, shipped_model
from voltaspin.memory import ArraySpec, MagnetoelectricMemory, trace
from voltaspin.noise import MemorySource

DRAWS = Draws(samples=100)


def exactly(value):
    return Estimate(value, value, value, level=1.0)


def known(cycles):
    return Sourced(cycles, "1", "by hand", "assumed", cycles, cycles)


def test_random_bits_by_hand():
    # four draws of six numbers of two bits from two cells each: 24 of 32 cells, every second pulse after a reset
    image = job("image", "by hand", 24, bits=2, cells_per_bit=2, resets=0.5)
    fixed = random_bit_cycles(image, draws=4, cells=32)
    assert (fixed.value, fixed.low, fixed.high, fixed.level) == (24 / 32 * 4 * 1.5, 0, 4 * 1.5, 1)
    rotated = random_bit_cycles(image, draws=4, cells=32, mapping="rotated")
    assert rotated.value == fixed.value
    assert 0 < rotated.low <= rotated.value <= rotated.high <= fixed.high
    with pytest.raises(InputError, match="24 cells but the memory has 16"):
        random_bit_cycles(image, draws=4, cells=16)
    with pytest.raises(InputError, match="draws = 7 do not divide"):
        random_bit_cycles(image, draws=7, cells=32)


@pytest.mark.parametrize("mapping", ["fixed", "rotated", "hashed"])
def test_random_bits_come_from_the_cells_of_the_source(mapping):
    memory = MagnetoelectricMemory(rows=32, columns=32)
    source = MemorySource(memory=memory, seed=3, k=2, mapping=mapping, bits_per_sample=16)
    counted = np.zeros(1024)
    for step in range(5):
        np.add.at(counted, source.cells(20, step=step).ravel(), 1)
    image = job("image", "by hand", 100, bits=16, cells_per_bit=2, resets=0.0)
    assert random_bit_cycles(image, draws=5, cells=1024, mapping=mapping, seed=3) == over_cells(counted)


def test_weights_are_written_once_or_in_every_evaluation():
    spec = ArraySpec(rows=16, columns=24, weight_bits=3, TMR=1.0, digital_ends=False)
    traced = trace(nn.Sequential(nn.Linear(40, 13)), torch.zeros(1, 40))
    mapped = {n: map_network(traced, spec, arrays=n, input_time=lambda own, rows: 1e-9) for n in (None, 4, 1)}
    assert mapped[None].needed == 6
    assert weight_cycles(mapped[None], 5) == exactly(0.0)
    few = weight_cycles(mapped[4], 5)  # six arrays' weights in four: two turns at most
    assert (few.low, few.high) == (0, 10)
    assert few.value == pytest.approx(5 * 40 * 13 * 4 / (4 * 16 * 24))
    assert weight_cycles(mapped[1], 5).high == 5 * 6


def test_pulses_in_place_are_those_of_a_run():
    pipeline = load_pipeline(shipped_model())
    # one evaluation: every cell gets the coin once, and nothing else happens
    assert inplace_cycles(pipeline, steps=1, cells_per_pixel=3) == exactly(1.0)
    run = sample(pipeline, count=2, steps=6, cells_per_pixel=15, cells=CellSpec(junction="ideal"), seed=1)
    counted = inplace_cycles(pipeline, steps=6, cells_per_pixel=15, images=run.images)
    # the run's network predicts its finished images only in the end, which changes the plan of few pixels
    assert counted.value == pytest.approx(run.per_image["pulse"] / (784 * 15), rel=0.01)
    assert counted.low < counted.value < counted.high <= 6
    anything = inplace_cycles(pipeline, steps=6, cells_per_pixel=15)
    # pixels near black and white have fewer plans than grey ones; with 50 steps the difference is 0.1 %
    assert anything.value == pytest.approx(counted.value, rel=0.05)
    with pytest.raises(InputError, match="give at least one"):
        inplace_cycles(pipeline, steps=6, cells_per_pixel=15, images=run.images[:0])


def test_a_lifetime_by_hand():
    pace = Pace.of(exactly(1000.0), known(1e6), DRAWS)
    per_image = Estimate(2.0, 1.0, 5.0, level=1.0)
    wear = pace.wear("random bits", "by hand", cells=10, per_image=per_image, per_training=exactly(400.0),
                     oxide=np.full(100, 1e9))  # fmt: skip
    for found, wanted in ((wear.per_day, 5000), (wear.images, 2e5), (wear.seconds, 200 * DAY), (wear.trainings, 2500),
                          (wear.oxide_seconds, 2e5 * DAY)):  # fmt: skip
        assert (found.value, found.low, found.high) == pytest.approx((wanted, wanted, wanted))
    beside = pace.wear("in place", "by hand", cells=10, per_image=per_image, places=4)
    assert beside.images.value == pytest.approx(8e5)
    assert beside.seconds.value == pytest.approx(800 * DAY)
    never = pace.wear("weights", "written once", cells=10, per_image=exactly(0.0), oxide=np.full(100, 1e9))
    assert (never.images, never.seconds, never.oxide_seconds, never.lasts) == (None, None, None, "yes")
    said = findings([never, beside, wear])
    assert said[0] == (
        "Cells that draw random bits: the busiest reaches the endurance after 200 d, within ten years; one oxide in a "
        "million breaks down after 548 y, beyond ten years."
    )
    assert said[-1] == "Cells that hold weights (written once) are not worn by images."


def test_the_range_of_the_endurance_is_that_of_the_lifetime():
    pace = Pace.of(exactly(1.0), LIMITS["vcma"], Draws(samples=4000))
    wear = pace.wear("random bits", "by hand", cells=1, per_image=exactly(1.0))
    # 5 and 95 % quantiles of 4000 normals lie within 3 sigma = 0.1 of 1.645: of four decades, in each side's own
    assert math.log10(wear.images.value) == pytest.approx(11, abs=0.15)
    assert math.log10(wear.images.low) == pytest.approx(10, abs=0.07)
    assert math.log10(wear.images.high) == pytest.approx(14, abs=0.2)
    assert wear.lasts == "yes"
    assert Pace.of(exactly(2.7e7), LIMITS["vcma"], DRAWS).wear(
        "random bits", "by hand", cells=1, per_image=exactly(1.0)
    ).lasts == "unsure"  # 1e11 cycles last ten years  # fmt: skip


def test_either_limit_ends_the_life():
    pace = Pace.of(exactly(1.0), known(1e9), DRAWS)
    for oxide, lasts in ((1e9, "yes"), (1e3, "no")):
        wear = pace.wear("in place", "by hand", cells=1, per_image=exactly(1.0), oxide=np.full(100, oxide))
        assert wear.lasts == lasts


def test_the_oxide_follows_its_power_law():
    junction = presets.get("storage")
    low, high = (oxide_pulses(junction, Pulse(voltage=v, width=1e-9), DRAWS) for v in (1.0, 1.2))
    exponents = np.log(low / high) / math.log(1.2)
    assert np.median(exponents) == pytest.approx(45, abs=1)
    assert np.quantile(exponents, (0.05, 0.95)) == pytest.approx((40, 50), abs=2.5)
    with pytest.raises(InputError, match="at which it breaks down"):
        oxide_pulses(junction, Pulse(voltage=4.0, width=1e-9), DRAWS)


def test_the_shipped_model_by_hand():
    pipeline, spec = load_pipeline(shipped_model()), ArraySpec.preset("analog")
    found = model_endurance(pipeline, spec, MacroSpec(arrays=100), steps=3, images_per_day=1000.0, limit=known(1e9),
                            training_steps=500, cells_per_pixel=7, draws=DRAWS)  # fmt: skip
    bits, weights, trained, placed = found.cases
    # each of three draws resets and pulses 784 x 16 x 2 of 65,536 cells
    assert (bits.per_image.high, bits.cells) == (6, 65536)
    assert bits.per_image.value == pytest.approx(6 * 784 * 32 / 65536)
    assert bits.seconds.value == pytest.approx(1e9 / 6000 * DAY)
    assert bits.per_training.high == pytest.approx(500 * 64 * 2)  # a draw for each of 64 examples
    assert weights.per_image.high == 3 * 2  # 176 arrays in 100
    assert weights.cells == 100 * 256 * 256
    assert (trained.per_training.value, trained.trainings.value) == (1000, pytest.approx(1e6))
    assert placed.per_training.value == 1000  # a write and a pulse at each step
    assert placed.cells == 784 * 7
    assert found.images_per_day.value == 1000
    again = type(found).from_json(found.to_json())
    assert again == found
    assert again.plot() is not None
    with pytest.raises(InputError, match=r"images_per_day = 1e\+12: give more than 0 and at most"):
        model_endurance(pipeline, spec, steps=3, images_per_day=1e12, draws=DRAWS)


@pytest.mark.parametrize(("rate", "limit", "said"), [(0.0, 1e6, "images_per_day = 0"), (1.0, 0.0, "limit = 0")])
def test_nothing_is_made_or_survived(rate, limit, said):
    with pytest.raises(InputError, match=said):
        Pace.of(exactly(rate), known(limit), DRAWS)


def test_any_model_with_an_example_wears_its_cells(tmp_path):
    """Sixteen numbers at each of three evaluations, 16 bits of two cells each; images in place need a schedule."""
    file = tmp_path / "net.py"
    file.write_text(
        "import torch\nfrom torch import nn\n"
        "def net():\n    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 16)), torch.zeros(1, 16)\n"
    )
    found = model_endurance(
        build(f"{file}:net"), ArraySpec(digital_ends=False), steps=3, cells=1024, training_steps=10, draws=DRAWS
    )
    by = {wear.case: wear for wear in found.cases}
    assert list(by) == ["random bits", "weights", "trained weights"]
    # 512 of 1,024 cells serve each draw, the same ones: a reset and a pulse at each of three
    assert (by["random bits"].per_image.low, by["random bits"].per_image.high) == (0, 6)
    assert by["random bits"].per_image.value == pytest.approx(3)
    assert by["trained weights"].per_training.high == 10
    assert any("schedule of a pipeline" in text for text in found.assumptions)
    bare = tmp_path / "bare.py"
    bare.write_text("from torch import nn\ndef net():\n    return nn.Linear(4, 4), {}\n")
    with pytest.raises(InputError, match="example"):
        model_endurance(build(f"{bare}:net"), ArraySpec(), steps=3, draws=DRAWS)
