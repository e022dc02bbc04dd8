"""The Monte Carlo over grades against closed forms, and the command."""

import json
from dataclasses import replace

import numpy as np
import pytest

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.core.quantity import FACTORS, Estimate, Sourced
from voltaspin.cost.merit import FAIR, MOST_CELLS, Ratio, RatioLine, figure_of_merit, randomness
from voltaspin.cost.pricing import CellPulse, Prices, bit_counts
from voltaspin.cost.table import CostTable, Draws
from voltaspin.device import SwitchingModel
from voltaspin.memory import MagnetoelectricMemory
from voltaspin.noise import MemorySource
from voltaspin.plots.cost import ratios
from voltaspin.plots.drawing import png
from voltaspin.random.streams import Stream

MODEL = SwitchingModel.shipped("0.1.0")  # its pulse is not as fair, so that some need a third cell


def prices(samples=100, pulse=MODEL.pulse, **more):
    return Prices.of(MODEL.junction, pulse, draws=Draws(samples=samples), **more)


def test_draws_have_the_interval_of_their_grade_or_of_their_range():
    z = np.random.default_rng(0).normal(size=200_000)
    low, middle, high = np.quantile(Sourced(4.0, "pJ", "s", "recalled").draws(z), (0.05, 0.5, 0.95))
    assert (low, middle, high) == pytest.approx((2.0, 4.0, 8.0), rel=0.02)
    low, middle, high = np.quantile(Sourced(4.0, "pJ", "s", "assumed", 1.0, 5.0).draws(z), (0.05, 0.5, 0.95))
    assert (low, middle, high) == pytest.approx((1.0, 4.0, 5.0), rel=0.02)
    bound = Sourced(4.0, "pJ", "s", "measured", 0.0, 4.0).draws(z)
    assert np.quantile(bound, (0.05, 0.95)) == pytest.approx((0.4, 4.0), rel=0.02)


def test_medians_are_the_prices_and_needs_follow_from_them():
    found = figure_of_merit(MODEL.junction, MODEL.pulse, against=("intel-14",), reset=False, prices=prices(400))
    cell = CellPulse.of(MODEL.junction, MODEL.pulse)
    read = 0.01 * 25e-9 / MODEL.junction.R_P
    energy = found.own["cell"]["energy"]
    exact = 2 * (cell.energy + read) * 1e12
    log_error = np.log(FACTORS["assumed"]) / 1.645 / np.sqrt(400) * 1.25  # of a median of a log-normal
    assert abs(np.log(energy.value / exact)) < 3 * log_error
    assert energy.low < exact < energy.high
    for r in found.readings:
        source = next(s for s in CostTable.default().sources if s.key == "intel-14")
        assert r.against == source.name
        if r.metric == "energy":
            assert r.needed == pytest.approx(3.0e-3, rel=0.02)
            assert r.ratio.value == pytest.approx(3.0 / found.own[r.boundary]["energy"].value, rel=0.2)
        assert r.ratio.low <= r.ratio.value <= r.ratio.high
        assert r.verdict in ("missed", "exceeded", "within the range")
    assert len(found.readings) == 12
    assert png(ratios(found))[:4] == b"\x89PNG"


def test_every_action_of_a_bit_by_hand():
    """Pulse, RA, line, read, conditioning and reset, each priced from the drawn numbers in one line."""
    samples, k, resets = 150, 3, 0.25
    found = prices(samples, cells=1000)
    junction, V, t = MODEL.junction, MODEL.pulse.voltage, MODEL.pulse.width
    f = Sourced(1.0, "1", "s", "assumed").draws(Stream.of(0, "cost", "own").normals(samples))

    def of(name: str) -> np.ndarray:
        return getattr(CostTable.default(), name).draws(Stream.of(0, "cost", name).normals(samples))

    # through the barrier, the mean of both states at the pulse's voltage; the oxide as a plate
    area = np.pi / 4 * junction.diameter**2
    G = (1 / junction.R_P + 1 / junction.R_AP(V)) / 2
    pulse = f * G * V**2 * t + 8.8542e-12 * of("permittivity") * area / junction.t_ox * V**2
    read = f * 0.1**2 * 25e-9 / junction.R_P
    np.testing.assert_allclose(found.energy["cell"]["pulse"], pulse, rtol=2e-4)
    np.testing.assert_allclose(found.energy["cell"]["read"], read, rtol=1e-9)
    assert not found.energy["cell"]["xor"].any()

    def circuit(name: str) -> np.ndarray:
        number = CostTable.default().circuits[name].number
        return number.draws(Stream.of(0, "cost", "circuit", name).normals(samples))

    pitch = np.sqrt(of("cell_area")) * 0.028  # um
    capacitance = 1000**0.5 * (circuit("wire") * pitch + circuit("drain load")) * 1e-15
    line, read_line = capacitance * V**2, capacitance * 0.1**2
    np.testing.assert_allclose(found.energy["cell+line"]["reset"], pulse + line, rtol=2e-4)
    np.testing.assert_allclose(found.energy["cell+line"]["read"], read + read_line, rtol=1e-9)
    more = 1 + of("driver_overhead")
    np.testing.assert_allclose(found.energy["macro"]["pulse"], pulse + more * line, rtol=2e-4)
    sensed = read + more * read_line + of("sense") * 1e-15
    np.testing.assert_allclose(found.energy["macro"]["read"], sensed, rtol=1e-9)
    np.testing.assert_allclose(found.energy["macro"]["xor"], of("xor") * 1e-15, rtol=1e-9)
    np.testing.assert_allclose(found.energy["macro"]["lookup"], of("lookup") * 1e-12, rtol=1e-9)
    bit = (k + k * resets) * (pulse + more * line) + k * sensed + (k - 1) * of("xor") * 1e-15
    np.testing.assert_allclose(found.total(bit_counts(cells_per_bit=k, resets=resets), "macro"), bit, rtol=2e-4)
    cell = of("cell_area") * (28e-9) ** 2
    np.testing.assert_allclose(found.area["cell+line"], cell, rtol=1e-9)
    np.testing.assert_allclose(found.area["macro"], 1000 * cell / np.minimum(of("array_efficiency"), 0.95), rtol=1e-9)


def shortened(share):
    """The shipped pulse, cut to a share of its width, and so less than even."""
    assert MODEL.pulse is not None
    return replace(MODEL.pulse, width=share * MODEL.pulse.width)


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize(("share", "stray"), [(1.0, 0.0), (0.5, 0.0), (1.6, 0.0), (0.5, 6e-3)])
def test_the_bias_that_is_left_is_that_of_a_simulated_memory(share, stray, reset):
    """Given the states that the cells held, no bit of the memory is further from 1/2 than the price says."""
    found = randomness(MODEL.junction.with_variation(B_z=stray), shortened(share), reset=float(reset))
    k, bits = found.cells_per_bit, 16 * 64
    assert found.residual_bias <= FAIR
    if k > 1:  # one cell fewer is not enough
        fewer = max(abs(1 - 2 * p) for p in ((found.p01,) if reset else (found.p01, found.p10))) ** (k - 1) / 2
        assert fewer > FAIR
    memory = MagnetoelectricMemory(
        rows=64, columns=k * bits // 64, model=SwitchingModel.constant(found.p01, found.p10), K_eff_spread=0.0
    )
    raw, conditioned = MemorySource(memory=memory, k=k, reset=reset, seed=5).samples(400, size=64)
    held = raw[:-1].sum(axis=1) if not reset else np.zeros_like(conditioned[1:], int)  # ones among the k cells
    worst = 0.0
    for ones in range(k + 1):
        chosen = conditioned[1:][held == ones]
        if chosen.size < 1000:
            continue
        # the closed form: each cell reads 1 with p01 from 0 and 1 - p10 from 1
        left = (1 - 2 * found.p01) ** (k - ones) * (2 * found.p10 - 1) ** ones / 2
        error = 0.5 / np.sqrt(chosen.size) + 2**-16  # a threshold has 16 bits
        assert abs(0.5 - left - chosen.mean()) < 4 * error
        worst = max(worst, abs(chosen.mean() - 0.5) - 4 * error)
    assert worst <= found.residual_bias


def test_conditioning_is_part_of_the_price():
    """A pulse that is not even pays for every cell of its XOR, in energies and in ratios alike."""
    short = prices(pulse=shortened(0.5))
    one = {"cells_per_bit": 1, "against": ("intel-14",)}
    raw = figure_of_merit(MODEL.junction, MODEL.pulse, prices=prices(), **one)
    found = figure_of_merit(MODEL.junction, shortened(0.5), prices=short, reset=False, **one)
    assert (raw.cells_per_bit, raw.bit) == (1, {"pulse": 1, "reset": 1, "read": 1})
    assert (found.cells_per_bit, found.bit) == (3, {"pulse": 3, "read": 3, "xor": 2})
    assert found.residual_bias == pytest.approx((1 - 2 * found.p01) ** 3 / 2, rel=0.05)
    three = 1e12 * np.median(short.total(bit_counts(cells_per_bit=3, resets=0.0), "macro"))
    assert found.own["macro"]["energy"].value == pytest.approx(three, rel=1e-12)
    assert "XOR of 3 cells: 3 bits of the pulse per bit" in dict(found.summary())["randomness"]
    assert "raw bits, at most" in dict(raw.summary())["randomness"]
    assert (
        figure_of_merit(MODEL.junction, shortened(0.5), cells_per_bit=5, prices=short).cells_per_bit == 5
    )  # as asked for
    with pytest.raises(InputError, match=f"XOR of {MOST_CELLS} cells is still further"):
        randomness(MODEL.junction, shortened(0.25))


def test_the_command_prices_every_job_with_the_conditioning(capsys):
    short = ("--voltage", "1.5357", "--width", "0.14", "--samples", "100", "--against", "intel-14")
    code, said = run(capsys, *short, "--measure", "never", "--image-steps", "2", "--training-steps", "1", "--json")
    found = json.loads(said.out)
    assert (code, found["cells_per_bit"], found["bit"]["pulse"]) == (0, 3, 3.0)
    assert 0 < found["residual_bias"] <= FAIR
    assert all(job["pulses"] == 3 * job["bits"] for job in found["work"]["jobs"])
    memory = next(s for s in found["work"]["supplies"] if s["key"] == "ours-macro")
    assert memory["per_bit"]["value"] == pytest.approx(found["own"]["macro"]["energy"]["value"], rel=1e-12)
    code, said = run(capsys, *short[:2], "--width", "0.05", "--no-work")
    assert (code, "give the pulse that 'voltaspin device characterise' finds" in said.err) == (2, True)


def test_bad_requests():
    with pytest.raises(InputError, match="generator 'rose' is not in the cost table"):
        figure_of_merit(MODEL.junction, MODEL.pulse, against=("rose",))
    with pytest.raises(InputError, match="reset = 2"):
        figure_of_merit(MODEL.junction, MODEL.pulse, reset=2)
    with pytest.raises(InputError, match="cells_per_bit = 0"):
        figure_of_merit(MODEL.junction, MODEL.pulse, cells_per_bit=0)


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["cost", *arguments])
    return exit_.value.code, capsys.readouterr()


def test_the_command(capsys, tmp_path):
    picture = tmp_path / "c.png"
    code, said = run(capsys, "--samples", "200", "--against", "intel-45", "--no-work", "--json", "--out", str(picture))
    assert code == 0
    found = json.loads(said.out)
    assert (found["kind"], found["schema_version"], found["work"]) == ("cost-claim", 1, None)
    assert len(found["readings"]) == len(found["verdicts"]) == 12
    assert set(found["factors"]) == set(FACTORS)
    assert found["bit"] == {"pulse": 2.0, "reset": 2.0, "read": 2.0, "xor": 1.0}
    assert picture.stat().st_size > 10_000
    code, said = run(capsys, "--samples", "200", "--no-work")
    assert code == 0
    assert "energy x area" in said.out
    assert run(capsys, "--voltage", "1.2")[0] == 2
    assert run(capsys, "--measure", "sometimes")[0] == 2
    code, said = run(capsys, "--training-batch", "0")
    assert (code, "--batch 0: give at least 1" in said.err) == (2, True)
    storage = ("--junction", "storage", "--voltage", "1.2", "--width", "0.3", "--samples", "100", "--no-work")
    assert run(capsys, *storage)[0] == 0


def test_the_command_prices_an_image_and_a_training_run(capsys, tmp_path):
    asked = ("--samples", "100", "--against", "intel-14", "--measure", "never", "--image-steps", "10")
    code, said = run(capsys, *asked, "--training-steps", "7", "--training-batch", "3", "--json")
    assert code == 0
    work = json.loads(said.out)["work"]
    image, training = work["jobs"]
    assert (image["normals"], training["normals"]) == (10 * 784, 7 * 3 * 784)
    by = {s["key"]: s for s in work["supplies"]}
    assert [k for k in by if k.startswith("ours")] == ["ours-cell", "ours-cell+line", "ours-macro"]
    assert {s["kind"] for s in work["supplies"]} == {"memory", "cpu", "gpu"}
    assert by["cpu-pcg64"]["per_job"]["image"]["value"] > by["ours-macro"]["per_job"]["image"]["value"]
    assert all(0 < e["value"] < 1 for s in by.values() for e in s["share"].values())
    assert len(work["networks"]) == 2
    assert work["notes"] == []
    code, said = run(capsys, *asked, "--out", str(tmp_path / "c.png"))
    assert code == 0
    assert "10 ancestral steps of 28 x 28 pixels: 7,840 normals" in said.out
    assert "12,000 steps of 64 images" in said.out  # the shipped model's own
    assert (tmp_path / "c.png").stat().st_size > 10_000


def test_measuring_where_nothing_can_be_measured_is_refused(capsys, tmp_path, monkeypatch):
    from voltaspin.cost import processors

    meter = processors.cpu_meter

    def none(*_):
        return meter(tmp_path / "no", tmp_path / "none")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(processors, "cpu_meter", none)
    code, said = run(capsys, "--samples", "100", "--measure", "always")
    assert code == 2
    assert "no energy counters of the processor" in said.err
    assert "nvidia-smi is not there" in said.err


def test_verdicts_of_ratios_count_generators():
    def ratio(against: str, value: float, about: float) -> Ratio:
        e = Estimate(value=value, low=value / 2, high=value * 2)
        return Ratio(metric="energy", boundary="cell", against=against, ratio=e, about=about, needed=value / 1e3)

    own = Estimate(value=1.0, low=0.5, high=2.0)
    some = (ratio("a", 1e3, 0.9), ratio("b", 1e5, 0.0), ratio("c", 5.0, 0.0), ratio("d", 400.0, 0.4))
    line = RatioLine("energy", "cell", some, own)
    assert line.verdict == "met against 1 of 4; 1 above, 1 below, 1 undecided"
    assert [r.against for r in line.met] == ["a"]
    assert line.span == "5× to 100,000×"
    assert (line.needed, line.had) == ("5 fJ to 100 pJ", "1 pJ")
    assert RatioLine("energy", "cell", some[1:2], own).verdict == "exceeded; 1 above"
    assert RatioLine("energy", "cell", some[1:3], own).verdict == "not met; 1 above, 1 below"
    assert RatioLine("energy", "cell", some[2:3], own).verdict == "missed; 1 below"


def test_vcma_cells_and_unread_energies_are_not_compared_against():
    table = CostTable.default()
    against = {r.against for r in figure_of_merit(MODEL.junction, MODEL.pulse, prices=prices()).readings}
    left_out = {s.name for s in table.sources if s.per == "bit" and (s.how == "unread" or s.family == "vcma")}
    assert left_out
    assert not left_out & against


def test_a_result_is_read_as_it_was_written(tmp_path):
    found = figure_of_merit(MODEL.junction, MODEL.pulse, against=("intel-14",), prices=prices())
    found.save(tmp_path / "claim.json")
    assert type(found).load(tmp_path / "claim.json") == found
