"""One capacitance of lines: in simulated columns, stores, pulses, and in prices of bits and of products."""

import math
from pathlib import Path

import numpy as np
import pytest

from voltaspin.core.units import fF, nm
from voltaspin.cost.macro import Macro, MacroSpec, macro_cost
from voltaspin.cost.network import compute_cost
from voltaspin.cost.pricing import drawn_line
from voltaspin.cost.table import CostTable, Draws
from voltaspin.design.space import computing
from voltaspin.memory import ArraySpec, Line
from voltaspin.memory.lines import bit_line

DRAWS = Draws(CostTable.default().nominal(), samples=100)
OLD = Path(__file__).parents[1] / "data" / "v0.1.0" / "crossbar" / "analog.json"
NOISY = ArraySpec(mode="analog", read_noise=None, R_P=100e3)


def by_hand(rows: int, *, node: float = 28 * nm, cell: float | None = None) -> float:
    """0.2 fF/um of wire along a pitch of the root of 40 F^2, and a drain of 0.1 fF at 28 nm that goes as the node."""
    pitch = math.sqrt(40) * node if cell is None else math.sqrt(cell)
    return rows * (0.2 * fF / 1e-6 * pitch + 0.1 * fF * node / (28 * nm))


def test_bits_stores_products_and_prices_have_one_line():
    assert bit_line(256) == pytest.approx(by_hand(256)) == pytest.approx(34.67 * fF, rel=1e-3)
    for rows in (64, 256, 1000):
        spec = ArraySpec(rows=rows)
        assert spec.bit_line == pytest.approx(by_hand(rows))
        assert Macro(spec, MacroSpec(), DRAWS).circuits["bit line"] == pytest.approx(np.full(100, by_hand(rows)))
    assert drawn_line(DRAWS, 256 * 256) == pytest.approx(np.full(100, by_hand(256)))
    assert Line().capacitance == pytest.approx(by_hand(1))
    assert NOISY.noise_bandwidth == pytest.approx(1 / (4 * 100e3 * by_hand(256)))


def test_a_macro_puts_its_own_pitch_and_node():
    """Into the noise and the time of a read, as into the energy."""
    for fields in ({"node": 22 * nm}, {"node": 22 * nm, "cell_area": 4.86e-14}, {"node": 65 * nm}):
        made = Macro(NOISY, MacroSpec(**fields), DRAWS)
        expected = by_hand(256, node=fields["node"], cell=fields.get("cell_area"))
        assert made.circuits["bit line"] == pytest.approx(np.full(100, expected))
        assert made.placed.bit_line == pytest.approx(expected)
        assert made.timing.settling == pytest.approx(np.full(100, max(5e-9, 2 * 100e3 * expected)))
        assert computing(NOISY, made.spec).noise_bandwidth == pytest.approx(1 / (4 * 100e3 * expected))
    quiet = ArraySpec(read_noise=0.01)
    assert computing(quiet, MacroSpec(node=22 * nm)) == quiet  # nothing in them depends on the line


def test_layers_of_other_rows_have_lines_of_their_own():
    spec = NOISY.model_copy(update={"layers": {"first*": {"rows": 64}, "last*": {"line_capacitance": 9e-15}}})
    placed = Macro(spec, MacroSpec(node=22 * nm), DRAWS).placed
    lines = [placed.of_layer(name).bit_line for name in ("other", "first", "last")]
    assert lines == pytest.approx([by_hand(256, node=22 * nm), by_hand(64, node=22 * nm), 9e-15])


def test_a_measured_line_counts_everywhere_and_the_report_says_so():
    spec = NOISY.model_copy(update={"line_capacitance": 80 * fF})
    assert spec.noise_bandwidth == pytest.approx(1 / (4 * 100e3 * 80 * fF))
    made = Macro(spec, MacroSpec(), DRAWS)
    assert made.placed == spec
    ratio = (
        macro_cost(spec, None, DRAWS).energy["bit lines"].value
        / macro_cost(NOISY, None, DRAWS).energy["bit lines"].value
    )
    assert ratio == pytest.approx(80 * fF / by_hand(256))
    said = dict(macro_cost(spec, None, DRAWS).summary())["lines"]
    assert said == "bit lines of 80 fF, as the array gives them; 256 cells, 177 nm apart, would make 34.7 fF"
    from torch import nn, zeros

    from voltaspin.memory import trace

    network = trace(nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 16), nn.Linear(16, 4)), zeros(1, 8))
    cost = compute_cost(network, spec, evaluations=1, draws=DRAWS)
    assert f"{said} (assumed)" in cost.assumptions


def test_files_of_before_keep_their_line():
    """Version 1 had 50 fF for every array, said in the file or not."""
    old = ArraySpec.load(OLD)
    bare = ArraySpec.from_json({"kind": "array-spec", "schema_version": 1, "mode": "analog", "read_noise": None})
    assert old.line_capacitance == bare.line_capacitance == 50 * fF
    assert bare.noise_bandwidth == pytest.approx(50e6)
    assert ArraySpec.from_json(bare.to_json()) == bare
    assert "as the array gives them" in Macro(bare, MacroSpec(), DRAWS).lines
    new = ArraySpec.from_json({"kind": "array-spec", "schema_version": 2, "mode": "analog"})
    assert new.line_capacitance is None
