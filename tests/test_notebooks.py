"""What a notebook shows: short reprs, tables, figures into one's own axes."""

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import voltaspin
from voltaspin import cost, device, diffusion, memory, metrics, noise
from voltaspin.core.spec import Spec
from voltaspin.diffusion import inplace
from voltaspin.noise import sp800_22

LONGEST = 720  #: characters of a repr: some lines of a notebook

MADE = {
    "junction": lambda: device.Junction.of("arm-2021-stt"),
    "pulse": lambda: device.Pulse(voltage=1.0, width=1e-9),
    "switching model": device.SwitchingModel.shipped,
    "fair pulse": lambda: device.fair_pulse(device.presets.generator),
    "array": memory.MagnetoelectricMemory,
    "memory source": noise.MemorySource,
    "conditioned source": lambda: noise.build("memory:k=1 | health:0.9 | von-neumann"),
    "array spec": lambda: memory.ArraySpec.preset("analog"),
    "crossbar": lambda: memory.Crossbar(np.zeros((8, 8), np.float32), memory.ArraySpec()),
    "tests": lambda: sp800_22.run(np.random.default_rng(1).integers(0, 2, 20_000)),
    "recipe": lambda: diffusion.TrainSpec(steps=10, channels=(16, 32)),
    "pipeline": lambda: diffusion.load_pipeline(diffusion.shipped_model()),
    "extractor": metrics.Extractor.load,
    "reference": lambda: metrics.reference("fashion-mnist"),
    "cost table": cost.CostTable.default,
    "draws": lambda: cost.Draws(samples=100),
    "prices": lambda: cost.Prices.of(device.presets.generator, device.Pulse(voltage=1.0, width=1e-9)),
    "samples": lambda: diffusion.sample(MADE["pipeline"](), noise.PseudoSource(), count=2, steps=2),
    "images in place": lambda: inplace.sample(
        MADE["pipeline"](), count=2, steps=2, cells=inplace.CellSpec(junction="ideal")
    ),
    "map": lambda: device.fokker_planck.switching_map(
        device.presets.generator, voltages=[1.1, 1.2, 1.3], widths=[0.3e-9, 0.5e-9, 0.7e-9]
    ),
    "ledger": lambda: voltaspin.Ledger("run"),
}


@pytest.mark.parametrize("name", MADE)
def test_an_object_shows_itself_in_some_lines(name):
    text = repr(MADE[name]())
    assert len(text) <= LONGEST
    assert " object at 0x" not in text


@pytest.mark.parametrize("name", ["junction", "switching model", "array spec", "tests", "recipe", "samples", "map"])
def test_a_table_in_a_notebook(name):
    text = MADE[name]()._repr_html_()
    assert text.startswith("<table><caption>")
    assert text.count("<tr>") >= 3
    assert len(text) < 20_000


def test_a_specification_names_what_differs_and_can_be_typed_again():
    spec = diffusion.TrainSpec(steps=10, channels=(16, 32))
    assert repr(spec) == "TrainSpec(steps=10, channels=(16, 32))"
    assert eval(repr(spec), {"TrainSpec": diffusion.TrainSpec}) == spec
    assert repr(memory.ArraySpec()) == "ArraySpec()"


def test_a_table_escapes_what_a_file_brought():
    class Named(Spec):
        name: str

    assert "&lt;b&gt;" in Named(name="<b>")._repr_html_()


@pytest.mark.parametrize("name", ["samples", "images in place", "map"])
def test_a_figure_goes_into_own_axes(name):
    result, ax = MADE[name](), Figure().subplots()
    with matplotlib.rc_context():
        assert result.plot(ax) is ax
        assert isinstance(result.plot(), Axes)


def test_results_of_tests_are_a_list_with_their_p_values_by_test():
    found = MADE["tests"]()
    assert isinstance(found, list)
    values = [one.p_value for one in found if one.p_value is not None]
    assert sorted(values) == sorted(p for many in found.by_test().values() for p in many)
    assert f"{sum(p < 0.01 for p in values)} below 0.01" in repr(found)
    assert "not applied" in found._repr_html_()


@pytest.mark.slow
def test_the_demo_is_a_function(tmp_path):
    found = voltaspin.demo(images=4, steps=2, out=tmp_path / "report")
    assert (tmp_path / "report" / "index.html").stat().st_size > 100_000
    assert len(repr(found)) <= LONGEST
    assert len(found._repr_html_()) < 100_000
    assert isinstance(found.quality.live.plot(), Axes)
    assert isinstance(found.cost.plot(), Axes)
