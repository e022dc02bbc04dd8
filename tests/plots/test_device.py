"""Figures and page of one junction: real pictures, prefixes, and parts that do not exist."""

import importlib.util
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from voltaspin.core.format import duration, prefixed
from voltaspin.cost.table import CostTable
from voltaspin.device import presets
from voltaspin.device.characterisation import Characterisation
from voltaspin.device.characterise import Effort, characterise
from voltaspin.report.device_page import device_charts, device_page

CELL = replace(presets.generator.with_variation(K_eff_scale=0.4), B_bias=(0.012, 0.0, 0.0))
ALL = ["pulses", "shmoo", "bathtub", "retention", "energy", "sensitivity", "astroid"]


@pytest.fixture(scope="module")
def record() -> Characterisation:
    few = Effort(voltages=5, widths=12, points=8, stations=2, search=False, degree=40)
    return characterise(CELL, effort=few, relax=1e-9, line_capacitance=50e-15, threads=1)


@pytest.fixture(scope="module")
def drawn(record: Characterisation) -> dict[str, bytes]:
    return device_charts(record)


def test_charts_are_pictures_that_show_something(drawn: dict[str, bytes]) -> None:
    assert list(drawn) == ALL
    for name, png in drawn.items():
        image = Image.open(io.BytesIO(png))
        image.load()
        assert image.format == "PNG", name
        assert 900 <= image.width <= 1700, name
        assert 300 <= image.height <= 900, name
        ink = np.asarray(image.convert("RGBA"))[..., 3] > 0
        assert 0.01 < ink.mean() < 0.9, name


def test_the_page_holds_every_picture_and_no_outside_address(record: Characterisation, drawn: dict[str, bytes]) -> None:
    page = device_page(record, drawn)
    assert page.count("data:image/png;base64,") == 2 * len(ALL)  # and one for a phone each
    assert "http" not in page.replace('http-equiv="Content', "")
    assert "<i>V</i><sub>c</sub>" in page
    assert "What it does not have" not in page


def test_what_does_not_exist_is_left_out_and_the_page_says_why(record: Characterisation) -> None:
    lacking = record.model_copy(
        update=dict.fromkeys(("curves", "map", "write", "coin", "bathtub", "retention", "astroid", "read"))
        | {"reasons": {"map": "xi = 0 J/(V m): <none>"}}
    )
    assert device_charts(lacking) == {}
    page = device_page(lacking, {})
    assert "What it does not have" in page
    assert "&lt;none&gt;" in page


@pytest.mark.parametrize(
    ("value", "unit", "scaled", "name"),
    [
        (5e-10, "s", 500, "ps"),
        (1e-9, "s", 1, "ns"),
        (-0.1, "V", -100, "mV"),
        (0.0, "V", 0, "V"),
        (2e13, "s", 2e4, "Gs"),
    ],
)
def test_prefixes(value: float, unit: str, scaled: float, name: str) -> None:
    (found,), text = prefixed([value], unit)
    assert (found, text) == (pytest.approx(scaled), name)


def test_lives_in_words() -> None:
    lives = [duration(s) for s in (4.8e-5, 53.2, 7200.0, 4 * 86400.0, 3.156e17)]
    assert lives == ["48 µs", "53.2 s", "2 h", "4 d", "1.00·10¹⁰ y"]


def test_the_table_of_the_docs(record: Characterisation) -> None:
    path = Path(__file__).parents[2] / "scripts" / "preset_table.py"
    spec = importlib.util.spec_from_file_location("preset_table", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    lacking = record.model_copy(
        update={"write": None, "coin": None, "reasons": {"write": "no turn", "coin": "no coin"}}
    )
    text = script.document([record, lacking], "python scripts/preset_table.py", CostTable.default())
    head, rule, first, second = [line for line in text.splitlines() if line.startswith("| ")][:4]
    assert len({line.count("|") for line in (head, rule, first, second)}) == 1
    assert "`python scripts/preset_table.py` made this page with voltaspin " in text
    assert first.startswith("| generator | 16 | 10.4 | ")
    assert "fJ" in first
    assert "no coin" in text
    assert second.count("– [") == 8
    assert "| xi | 1e-13 (3.3e-14 to 2.9e-13) | J/(V m) | assumed |" in text
