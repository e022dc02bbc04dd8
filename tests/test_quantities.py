"""Quantities with units on the command line, what they refuse, and options that do not apply."""

import json
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voltaspin.cli.app import main
from voltaspin.core import units
from voltaspin.core.errors import InputError
from voltaspin.core.units import parse_count, parse_quantity
from voltaspin.cost.merit import FAIR, figure_of_merit
from voltaspin.device import Junction, Pulse, SwitchingModel, integration, llg, presets
from voltaspin.memory import MagnetoelectricMemory
from voltaspin.memory.stored_image import retention_demo


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return caught.value.code, out, err


@pytest.mark.parametrize("width", ["0.6", "0.6ns", "600 ps", "6e-10s"])
@pytest.mark.parametrize("voltage", ["1.2", "1.2V", "1200 mV"])
def test_a_pulse_takes_units_and_one_documented_unit_without(capsys, width, voltage):
    status, out, err = call(
        capsys, "device", "--width", width, "--voltage", voltage, "--devices", "0.05k", "--json"
    )  # fmt: skip
    assert (status, err) == (0, "")
    assert json.loads(out)["pulse"] == {"voltage_V": pytest.approx(1.2), "width_ns": 0.6}
    assert json.loads(out)["p01"]["n"] == 50


REFUSED = {
    "a width in seconds": (["device", "--width", "600e-12"], "6e-19 s, which is no time of this kind"),
    "a width far too long": (["device", "--width", "1s"], "which is no time of this kind"),
    "a wrong unit": (["device", "--width", "0.6V"], "'V' is no unit of time"),
    "no number": (["device", "--width", "nan"], "--width 'nan' is no time"),
    "a voltage that hung": (["device", "--voltage", "1e6"], "1e+06 V, which is no voltage of this kind"),
    "devices beyond memory": (
        ["device", "--devices", "1e20"],
        "--devices 1e+20 trajectories take about 1e+13 GB",
    ),
    "devices and time": (["device", "--devices", "20M", "--width", "1us"], "hours; give fewer or a shorter pulse"),
    "half a device": (["device", "--devices", "1.5"], "give a whole number"),
    "no devices": (["device", "--devices", "0"], "give at least 1"),
    "a parameter off by a billion": (
        ["device", "export", "--format", "json", "--out", "-", "--set", "t_F=1.2"],
        "1.2 m",
    ),
    "a name for no circuit": (["device", "export", "--format", "json", "--out", "-", "--name", "X"], "leave them out"),
    "negative time": (["memory", "yield", "--seconds=-5"], "--retention -5 is negative"),
    "infinite time": (["memory", "yield", "--seconds", "inf"], "is no time"),
    "a share above one": (["memory", "yield", "--K-eff-spread", "7"], "--K-eff-spread 7 is 7"),
    "a share of nothing": (["memory", "yield", "--eps", "0.7"], "--eps 0.7 is 0.7"),
    "no rows": (["memory", "yield", "--rows", "0"], "--rows 0: give at least 1"),
    "cells beyond memory": (["memory", "yield", "--rows", "1M", "--columns", "1M"], "GB of memory"),
    "below absolute zero": (["memory", "store", "x.png", "--celsius=-300"], "--temperature -300 is negative"),
    "populations of grey noise": (
        ["train", "--out", "o", "--cells-per-pixel", "3"],
        "--cells-per-pixel is of --diffusion in-place",
    ),
    "cells of grey noise": (["train", "--out", "o", "--cells", "ideal"], "--junction is of --diffusion in-place"),
    "cells of a Gaussian sampler": (["sample", "--out", "o", "--cells-per-pixel", "7"], "is of --in-place"),
    "more cells than a byte counts": (["sample", "--out", "o", "--cells-per-pixel", "256"], "kept in a byte"),
    "eta of ddpm": (["sample", "--out", "o", "--eta", "0.5"], "--eta 0.5 is of --sampler ddim"),
    "steps of no image": (["cost", "--no-work", "--image-steps", "9"], "leave out --steps"),
    "images beyond reason": (["sample", "--out", "o", "--count", "1e12"], "--count 1e12 is more than"),
    "a batch beyond memory": (["sample", "--out", "o", "--batch", "100000"], "memory at once; give fewer"),
    "half an image": (["demo", "--images", "4.5"], "give a whole number"),
    "a pulse that never flips": (["cost", "--voltage", "0", "--width", "0.3ns"], "its bits are not random"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_says_so_in_one_line(capsys, tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    arguments, says = REFUSED[case]
    status, out, err = call(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1), err
    assert says in err
    assert list(tmp_path.rglob("*.png")) == []


def test_celsius_has_another_zero():
    for text in ("85degC", "85 °C", "358.15K"):
        assert parse_quantity(text, units.TEMPERATURE, name="t") == pytest.approx(358.15)
    assert parse_quantity("-40degC", units.TEMPERATURE, name="t") == pytest.approx(233.15)
    assert parse_quantity("85", units.TEMPERATURE, name="celsius", bare="degC") == pytest.approx(358.15)
    with pytest.raises(InputError, match="is no unit of difference of temperature"):
        parse_quantity("5degC", units.TEMPERATURE_CHANGE, name="drift")


@given(st.text(max_size=20) | st.floats().map(str) | st.integers().map(str))
def test_any_text_is_a_count_within_its_limits_or_refused(text):
    try:
        value = parse_count(text, name="devices", least=3, most=10**6)
    except InputError as error:
        refused = str(error)
        assert "\n" not in refused
    else:
        assert isinstance(value, int)
        assert 3 <= value <= 10**6


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["t_F", "Ms", "xi", "B_z", "temperature", "RA", "Delta"]), st.floats())
def test_any_number_of_a_parameter_makes_a_junction_or_is_refused(name, value):
    try:
        junction = Junction.of(f"generator, {name}={value}")
    except InputError as error:
        refused = str(error)
        assert "\n" not in refused
    else:  # at zero kelvin a barrier is infinite in units of k_B T
        assert junction.temperature == 0 or np.isfinite([junction.Delta(), junction.R_P, junction.B_k()]).all()


@pytest.mark.parametrize("seconds", [-5.0, float("nan"), float("inf")])
def test_a_memory_forgets_over_a_time_that_exists(seconds):
    memory = MagnetoelectricMemory(rows=4, columns=4)
    for ask in (lambda t: memory.yields(seconds=t), memory.forgetting, memory.age):
        with pytest.raises(InputError, match=r"seconds = .* s must be finite and not negative"):
            ask(seconds)
    with pytest.raises(InputError, match="seconds"):
        retention_demo(np.zeros((2, 2), np.uint8), "storage", seconds=seconds, temperature=None)
    for temperature in (-1.0, 0.0, float("nan")):
        with pytest.raises(InputError, match=r"temperature = .* K must be"):
            memory.forgetting(1.0, temperature=temperature)


def test_trajectories_are_counted_before_they_are_made():
    pulse = Pulse(voltage=1.2, width=1e-9)
    with pytest.raises(InputError, match="GB of memory"):
        llg.switching_probability(presets.generator, pulse, n_devices=10**20)
    with pytest.raises(InputError, match=r"steps, more than"):
        llg.switching_probability(presets.generator, replace(pulse, voltage=1e9), n_devices=10)


LONG = Pulse(voltage=1.2, width=20e-6)
#: Each is small in devices and small in steps; their product takes days.
TOO_LARGE = {
    "a probability": lambda: llg.switching_probability(presets.generator, LONG, n_devices=1_000_000),
    "a shaped pulse": lambda: llg.switching_probability(
        presets.generator, replace(LONG, tau=1e-10, jitter=1e-11), n_devices=1_000_000
    ),
    "a curve": lambda: llg.switching_curve(
        presets.generator, voltage=1.2, widths=np.linspace(1e-9, 2e-9, 5000), n_devices=1_000_000
    ),
    "a run": lambda: llg.run(presets.generator, np.tile([0.0, 0.0, 1.0], (1_000_000, 1)), duration=20e-6),
    "a run in float64": lambda: llg.run(
        presets.generator, np.tile([0.0, 0.0, 1.0], (20_000, 1)), duration=20e-6, dtype=np.float64
    ),
    "a trajectory": lambda: llg.trajectory(
        presets.generator, np.tile([0.0, 0.0, 1.0], (1_000_000, 1)), duration=20e-6, samples=2
    ),
    "thermalising": lambda: llg.thermalise(replace(presets.generator, alpha_G=1e-5), 10_000_000),
    "a model": lambda: SwitchingModel.from_llg(presets.generator, LONG, n_devices=1_000_000),
}


@pytest.mark.parametrize("case", TOO_LARGE)
def test_devices_times_steps_are_estimated_before_any_is_made(monkeypatch, case):
    def made(*_, **__):
        raise AssertionError("something was made")

    for module, name in (
        (llg, "equilibrium"),
        (integration, "advance"),
        (integration, "advance64"),
        (integration, "_cell_fields"),
    ):
        monkeypatch.setattr(module, name, made)
    with pytest.raises(
        InputError, match=r"devices of .* steps each take about .* hours of one core, more than 4 hours"
    ):
        TOO_LARGE[case]()


def test_what_a_trajectory_keeps_counts_as_memory():
    start = np.tile([0.0, 0.0, 1.0], (10_000, 1))
    with pytest.raises(InputError, match="GB of memory"):
        llg.trajectory(presets.generator, start, duration=1e-9, samples=10_000_000, dt=1e-12)


def test_the_estimated_time_is_about_the_time_that_it_takes():
    """Within a factor of ten on any machine."""
    start = np.tile([0.0, 0.0, 1.0], (4096, 1))
    for dtype, n in ((np.float32, 4096), (np.float64, 256)):
        llg.run(presets.generator, start[:8], duration=1e-12, dtype=dtype, threads=1)  # compiled
        taken = []
        for _ in range(3):
            begun = time.thread_time()
            llg.run(presets.generator, start[:n], duration=1e-9, dt=1e-12, dtype=dtype, threads=1)
            taken.append(time.thread_time() - begun)
        estimated = 1000 * n * (integration._FAST if dtype == np.float32 else integration._SLOW)
        assert 0.1 < estimated / min(taken) < 10


def test_only_a_random_pulse_has_a_price_and_says_how_random():
    fair = SwitchingModel.shipped().pulse
    assert fair is not None
    priced = figure_of_merit(presets.generator, fair)
    assert priced.p01 is not None
    assert abs(priced.p01 - 0.5) <= FAIR
    with pytest.raises(InputError, match=r"p01 = .* further than 0\.05 from 1/2"):
        figure_of_merit(presets.generator, replace(fair, voltage=0.4 * fair.voltage))
