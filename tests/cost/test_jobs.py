"""What an image and a training run take, worked out by hand and against what the sampler counts."""

from types import SimpleNamespace

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Sourced
from voltaspin.cost.jobs import OWN_CPU, image_job, job, training_job, workload
from voltaspin.cost.pricing import Prices
from voltaspin.cost.processors import ProcessorRng
from voltaspin.cost.table import CostTable, Draws
from voltaspin.device import SwitchingModel
from voltaspin.plots.cost import image_energies
from voltaspin.plots.drawing import png

MODEL = SwitchingModel.shipped()
TABLE = CostTable.default()


#: Then the medians are products, whatever was drawn.
EXACT = TABLE.nominal()


@pytest.fixture(scope="module")
def prices():
    return Prices.of(
        MODEL.junction, MODEL.pulse, draws=Draws(samples=301)
    )  # odd: the median of 1 / x is 1 / the median


def test_counts_of_one_image_by_hand():
    found = job("image", "50 steps", 50 * 784, cells_per_bit=2, resets=0.02)
    # 39,200 numbers of 16 bits of two cells each, a fiftieth of them reset
    assert (found.normals, found.bits, found.pulses, found.resets) == (39_200, 627_200, 1_254_400, 25_088)
    with pytest.raises(InputError, match="image: normals = 0"):
        job("image", "none", 0)
    with pytest.raises(InputError, match=r"resets = 1\.5"):
        job("image", "twice", 1, resets=1.5)


def test_an_image_takes_what_the_sampler_draws():
    from voltaspin.diffusion.pipelines import load_pipeline, shipped_model
    from voltaspin.diffusion.sampling import sample
    from voltaspin.noise import MemorySource

    pipeline = load_pipeline(shipped_model())
    source = MemorySource(k=2, seed=1)
    sample(pipeline, source, count=2, steps=3)
    counts = source.ledger.totals()
    found = image_job(pipeline, 3, resets=counts["reset"] / counts["pulse"])
    assert {a: n // 2 for a, n in counts.items()} == {
        "normal": found.normals, "lookup": found.normals, "bit": found.bits, "xor": found.bits, "pulse": found.pulses,
        "read": found.pulses, "reset": found.resets,
    }  # fmt: skip


def test_a_training_run_takes_a_number_for_each_pixel(tmp_path):
    pipeline = SimpleNamespace(image_shape=(1, 28, 28), folder=tmp_path)
    assert training_job(pipeline, None, None).normals == 12_000 * 64 * 784
    (tmp_path / "train.json").write_text('{"steps": 10, "batch": 3}')
    assert training_job(pipeline, None, None).normals == 10 * 3 * 784
    assert training_job(pipeline, 5, 2).normals == 5 * 2 * 784


def test_energy_of_one_image_by_hand():
    prices = Prices.of(MODEL.junction, MODEL.pulse, draws=Draws(EXACT, samples=100))
    # the junction's own current is drawn still: take it out where it enters
    ohmic = prices.energy["cell"]["read"]
    assert ohmic.std() > 0
    found = workload(prices, [job("image", "one pixel", 1, cells_per_bit=2, resets=0.5)])
    by = {s.key: s for s in found.supplies}
    V = MODEL.pulse.voltage
    wire, drain = (EXACT.circuits[name].number.value for name in ("wire", "drain load"))
    line = 256 * (wire * 40**0.5 * 0.028 + drain) * 1e-15  # 65,536 cells
    line, read_line = line * V**2, line * 0.1**2
    cells = by["ours-cell"].per_job["image"].value
    # 16 bits of two cells: 32 pulses, 16 resets and 32 reads on their lines
    lines = 1e12 * (48 * line + 32 * read_line)
    assert by["ours-cell+line"].per_job["image"].value == pytest.approx(cells + lines)
    # drivers for half of the lines again, 32 senses, 16 XORs, one read of the table
    rest = 0.5 * lines + 32 * 5e-3 + 16 * 0.94e-3 + 20
    assert by["ours-macro"].per_job["image"].value == pytest.approx(cells + lines + rest)
    assert by["ours-macro"].per_normal == by["ours-macro"].per_job["image"]
    assert by["ours-macro"].over_macro.value == 1.0


def test_ranges_hold_the_values_and_jobs_scale(prices):
    jobs = job("image", "", 1000), job("training run", "", 500_000)
    found = workload(prices, jobs)
    for s in found.supplies:
        for e in (s.per_bit, s.per_normal, *s.per_job.values()):
            assert e.low < e.value < e.high
        assert s.per_job["training run"].value == pytest.approx(500 * s.per_job["image"].value)
        assert s.per_job["image"].value == pytest.approx(1000 * s.per_normal.value)
    values = [s.per_normal.value for s in found.supplies]
    assert values == sorted(values)


def processor_of(pJ: float, seconds: float | None = None) -> ProcessorRng:
    spent = None if seconds is None else Sourced(seconds, "s", "a clock", "measured", seconds, seconds)
    return ProcessorRng(
        "cpu", "CPU", "cpu", Sourced(pJ, "pJ/sample", "a meter", "measured", pJ, pJ), None, spent, "metered"
    )


def test_software_beside_the_memory_and_shares_by_hand(prices):
    image = job("image", "", 1000)
    found = workload(
        prices,
        [image],
        processors=[processor_of(2e6, seconds=2e-6)],
        networks={"a machine": np.full(301, 6e-3)},
        own_network=Sourced(0.198, "s", "a clock", "measured", 0.198, 0.198),
    )
    cpu, macro = found.supplies[-1], found.supplies[2]
    # 1000 numbers of 2 uJ beside 6 mJ of arithmetic; 2 ms beside 198 ms
    assert cpu.per_job["image"].value == pytest.approx(2e9)
    assert cpu.share["a machine"].value == pytest.approx(0.25)
    assert cpu.share[OWN_CPU].value == pytest.approx(0.01)
    # the median of an even number of draws is a mean of two, so that the inverse of a median is none to 1e-5
    assert cpu.over_macro.value == pytest.approx(2e6 / macro.per_normal.value, rel=1e-5)
    assert cpu.per_bit is None
    assert macro.share["a machine"].value == pytest.approx(macro.per_job["image"].value / 6e9, rel=1e-3)
    assert "would save no more" in found.findings[0]
    assert "25 %" in found.findings[1]
    text = "\n".join(": ".join(row) for row in found.summary())
    assert "2 mJ" in text
    assert "metered" in text
    assert png(image_energies(found))[:4] == b"\x89PNG"


def test_more_resets_cost_more(prices):
    few, many = (
        workload(prices, [job("image", "", 100, resets=r)]).supplies[0].per_job["image"].value for r in (0.0, 1.0)
    )
    reset = np.median(prices.energy["cell"]["reset"])
    assert many - few == pytest.approx(1e12 * 100 * 32 * reset, rel=0.1)  # medians of sums are no sums of medians


def test_jobs_of_another_shape_are_refused(prices):
    with pytest.raises(InputError, match="an image first"):
        workload(prices, [job("training run", "", 5)])
    with pytest.raises(InputError, match="as many bits"):
        workload(prices, [job("image", "", 5), job("training run", "", 5, cells_per_bit=3)])
