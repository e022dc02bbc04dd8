"""The explorer: its views beside the library, its commands on the command line, its page in a browser."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from urllib.request import urlopen

import numpy as np
import pytest

from voltaspin.cli.app import main
from voltaspin.core.errors import InputError
from voltaspin.cost.pricing import Prices
from voltaspin.cost.table import Draws
from voltaspin.device import Junction, Pulse, fokker_planck
from voltaspin.explorer import ExplorerState, bit_view, price_view, switching_view
from voltaspin.explorer.views import source_of
from voltaspin.memory import MagnetoelectricMemory
from voltaspin.noise import build
from voltaspin.report.explorer_page import examples, junction_text, span_of_voltage, span_of_width, still, table


def run(capsys, line):
    words = shlex.split(line)
    assert words[0] == "voltaspin"
    with pytest.raises(SystemExit) as end:
        main(words[1:])
    return end.value.code, capsys.readouterr()


def test_the_curve_is_that_of_the_solver():
    state = ExplorerState(junction="generator, B_z=3mT", voltage=1.4, width=0.4e-9)
    view = switching_view(state)
    for well, curve, at in (("up", view.p01, view.p01_at), ("down", view.p10, view.p10_at)):
        exact = fokker_planck.switching_probability(
            state.cell, Pulse(voltage=1.4, width=0.4e-9), initial=well, rtol=1e-3
        )
        assert at.low - 1e-3 * exact.value <= exact.value <= at.high + 1e-3 * exact.value
        assert curve[view.widths.index(state.width)] == at.value
    assert view.p01 != view.p10  # a field along z tells the wells apart
    assert view.error <= 1e-3


def test_a_junction_that_is_its_own_mirror_image_has_one_curve():
    view = switching_view(ExplorerState(voltage=1.3))
    assert view.p01 == view.p10
    exact = fokker_planck.switching_probability(
        Junction.of("generator"), Pulse(voltage=1.3, width=0.274e-9), initial="down"
    )
    assert view.p10_at.low - 1e-3 <= exact.value <= view.p10_at.high + 1e-3


def test_the_quick_model_of_the_cells_is_as_exact_as_it_says():
    state = ExplorerState(voltage=1.5, width=0.3e-9, k=1)
    memory = source_of(state).memory
    spread = memory.model
    cells = [(0.9, 0.5e-3), (1.0, 0.0), (1.1, -1e-3)]
    for K, B in cells:
        p01, _ = spread.probabilities(K_eff_scale=np.array([K]), B_z=np.array([B]))
        exact = fokker_planck.switching_probability(
            state.cell.with_variation(K_eff_scale=K, B_z=B), state.pulse, initial="up"
        )
        assert abs(p01[0] - exact.value) <= 2 * spread.worst_error + 1e-3


def test_bits_of_a_biased_pulse_are_found_biased():
    fair, biased = bit_view(ExplorerState(k=2)), bit_view(ExplorerState(width=0.6e-9, k=1))
    assert fair.passed >= fair.judged - 8  # 159 P-values at 1 %: nine or more below have probability 2e-5
    assert biased.passed < biased.judged / 2
    assert fair.ones.low - 0.004 < 0.5 < fair.ones.high + 0.004
    assert biased.cell_high > biased.cell_low


def test_a_bit_costs_k_pulses_and_reads():
    state = ExplorerState(k=3)
    view = price_view(state)
    prices = Prices.of(state.cell, state.pulse, draws=Draws(samples=400))
    each = prices.energy["macro"]
    by_hand = 1e12 * np.median(3 * each["pulse"] + 3 * each["read"] + 2 * each["xor"])
    assert view.per_bit["macro"].value == pytest.approx(by_hand, rel=1e-9)
    assert view.numbers == 784
    assert price_view(ExplorerState(sampler="ddpm", steps=25)).numbers == 25 * 784


def test_the_commands_are_taken(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = ExplorerState(junction="generator, xi=1.1e-13", voltage=1.6, width=0.28e-9, k=1, steps=2, images=1)
    device, export, *_ = state.commands()
    code, said = run(capsys, device + " --devices 1k --json")
    assert code == 0
    assert json.loads(said.out)["pulse"]["width_ns"] == pytest.approx(0.28)
    assert run(capsys, export)[0] == 0
    assert Junction.load("junction.json") == state.cell
    cost = next(line for line in state.commands() if line.startswith("voltaspin cost"))
    assert run(capsys, cost + " --no-work --samples 100 --json")[0] == 0
    stated = shlex.split(state.commands()[2])
    assert stated[stated.index("--noise") + 1] == state.noise


def test_a_state_is_read_again_and_what_cannot_be_is_refused(tmp_path):
    state = ExplorerState(junction="storage", k=3)
    state.save(tmp_path / "state.json")
    assert ExplorerState.load(tmp_path / "state.json") == state
    for wrong, says in (
        ({"junction": "nosuch"}, "nosuch"), ({"width": -1e-9}, "width"), ({"K_eff_spread": 0.5}, "K_eff_spread"),
        ({"k": 0}, "k"),
    ):  # fmt: skip
        with pytest.raises((InputError, ValueError), match=says):
            ExplorerState(**wrong)
    with pytest.raises(InputError, match="takes minutes"):
        source_of(ExplorerState(junction="arm-2021-stt", voltage=0.5, width=5e-9))


def test_sliders_begin_at_the_junction(capsys):
    assert {"generator", "storage"} <= set(examples())
    for name in examples():
        base = Junction.of(name)
        values = {"Delta": round(base.Delta() * 2) / 2, "xi": round(base.xi * 1e15) * 1e-15,
                  "B_x": round(base.B_bias[0] * 1e3) * 1e-3, "temperature": round(base.temperature)}  # fmt: skip
        assert junction_text(name, base, values) == name
        assert junction_text(name, base, values | {"B_x": 0.05}) == f"{name}, B_x=0.05"
        for low, high, _, value in (span_of_voltage(base), span_of_width(base)):
            assert low < value < high
    assert "<th" in table(price_view(ExplorerState()), "<title>")
    assert "&lt;title&gt;" in table(price_view(ExplorerState()), "<title>")


def test_options_are_checked_before_anything_starts(capsys):
    pytest.importorskip("marimo")
    code, said = run(capsys, "voltaspin explore --junction nosuch --no-browser")
    assert (code, said.err.count("\n")) == (2, 1)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, said = run(capsys, f"voltaspin explore --no-browser --port {taken.getsockname()[1]}")
    assert code == 2
    assert "is in use" in said.err


def test_without_marimo_the_remedy_is_said(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "marimo", None)
    code, said = run(capsys, "voltaspin explore --no-browser")
    assert code == 2
    assert "pip install 'voltaspin[explore]'" in said.err


@pytest.fixture
def address():
    """A running explorer."""
    pytest.importorskip("marimo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "voltaspin", "explore", "--no-browser", "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    for _ in range(600):
        try:
            with urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                break
        except OSError:
            assert server.poll() is None
            time.sleep(0.1)
    yield f"http://127.0.0.1:{port}/"
    os.killpg(server.pid, 15)
    server.wait(30)


@pytest.mark.slow
def test_the_page_in_a_browser(address, browser):
    page = browser.new_page(viewport={"width": 1280, "height": 2600})
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.wait_for_selector('img[alt*="images of the shipped model"]', timeout=240_000)
    page.wait_for_selector("text=Take it with you")
    first = page.get_attribute('img[alt^="Switching probability"]', "alt")
    assert "1.65 V for 274 ps" in first
    thumb = page.get_by_role("slider").first
    thumb.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector('img[alt*="1.64 V for 274 ps"]', timeout=120_000)
    page.wait_for_selector("text=--voltage 1.64V", timeout=120_000)
    outside = [url for url in asked if not url.startswith((address, "data:", "blob:", address.replace("http", "ws")))]
    assert outside == []
    assert page.locator("img:not([alt])").count() == 0
    phone = browser.new_page(viewport={"width": 390, "height": 3600})
    phone.goto(address)
    phone.wait_for_selector("text=Take it with you", timeout=240_000)
    wide = phone.evaluate(
        "[...document.querySelectorAll('*')].filter(e => getComputedStyle(e).overflowX !== 'auto' &&"
        " e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('[style*=\"overflow-x\"]') &&"
        " !e.closest('pre') && e.getBoundingClientRect().width > 0).map(e => e.tagName + ' ' + e.className).slice(0, 5)"
    )
    assert wide == []


def test_a_description_names_the_same_array(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = ExplorerState(k=2)
    source = build(state.noise.replace(",voltage=1.65V,width=0.274ns", ""), seed=0)  # the shipped pulse: no solutions
    assert source.k == 2
    array = MagnetoelectricMemory(K_eff_spread=0.05, stray_field_spread=0.5e-3, seed=0)
    assert np.array_equal(source.memory.p01, array.p01)


def test_the_tour_of_the_site_has_the_same_panels():
    page = still(ExplorerState(steps=2, images=1))
    assert re.findall("<p><strong>(.*?)</strong>", page) == ["Switching", "Random bits", "Price", "Images"]
    assert page.count('<img src="data:image/png;base64,') == page.count('alt="') == 2
