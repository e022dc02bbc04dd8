"""An image's bits, pulses, energy and bytes: against sums done by hand."""

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.cost.images import image_costs, image_costs_text, mean_pulse
from voltaspin.cost.pricing import BOUNDARIES, CellPulse, Prices
from voltaspin.cost.table import Draws
from voltaspin.device import Pulse, presets
from voltaspin.diffusion import inplace
from voltaspin.diffusion.inplace.array import Rounding

PULSES = (("1.200 V 200 ps", 1.2, 2e-10), ("1.500 V 100 ps", 1.5, 1e-10))


def samples(counts=(30, 10), images=2):
    run = Ledger("run")
    memory = run.child("memory")
    for (name, _, _), n in zip(PULSES, counts, strict=True):
        memory.child(name).count("pulse", n)
    memory.count("write", 8)
    memory.count("read", 48)
    run.child("network").count("byte", 100)
    run.child("network").count("evaluation", 10)
    return inplace.InPlaceSamples(
        images=np.zeros((images, 1, 2, 2), np.uint8), steps=5, cells_per_pixel=3, random_bits=18.0, seconds=0.0,
        ledger=run, rounding=Rounding(), coin=0.5, flips=((0.0, 0.0), (1.0, 1.0)), pulses=PULSES, precision="float32",
        path=np.zeros((0, 1, 2, 2), np.uint8), path_times=(),
    )  # fmt: skip


def test_the_mean_pulse_has_the_sums_of_all_pulses():
    junction = presets.get("generator")
    one = mean_pulse(junction, PULSES, samples().ledger.child("memory"))
    cells = [CellPulse.of(junction, Pulse(voltage=V, width=w)) for _, V, w in PULSES]
    assert 40 * one.energy == pytest.approx(30 * cells[0].energy + 10 * cells[1].energy)
    assert 40 * one.voltage**2 == pytest.approx(30 * 1.2**2 + 10 * 1.5**2)
    with pytest.raises(InputError, match="10 of 40 pulses have no voltage"):
        mean_pulse(junction, PULSES[:1], samples().ledger.child("memory"))


def test_prices_of_a_mean_pulse_are_the_means_of_prices():
    junction = presets.get("generator")
    mean, draws = mean_pulse(junction, PULSES, samples().ledger.child("memory")), Draws(samples=100)
    parts = [Prices.of(junction, Pulse(voltage=V, width=w), draws=draws) for _, V, w in PULSES]
    whole = Prices.of(junction, mean, draws=draws)
    for b in BOUNDARIES:
        both = (30 * parts[0].energy[b]["pulse"] + 10 * parts[1].energy[b]["pulse"]) / 40
        assert np.allclose(whole.energy[b]["pulse"], both)


def test_an_image_beside_the_gaussian_samplers():
    network = {"a machine": np.full(100, 1e-9)}
    works = image_costs(samples(), presets.get("generator"), networks=network, draws=Draws(samples=100))
    ours, xor, raw = works
    assert (ours.pulses, ours.resets, ours.reads, ours.bytes_moved) == (20, 4, 24, 50)
    # five evaluations of four pixels: 20 numbers of 16 bits
    assert (xor.random_bits, xor.pulses, xor.resets, xor.xors, xor.lookups) == (320, 640, 640, 320, 20)
    assert (raw.random_bits, raw.pulses, raw.xors) == (320, 320, 0)
    assert xor.bytes_moved == raw.bytes_moved == 5 * 4 * 8 + 20 * 2
    assert [w.evaluations for w in works] == [5, 5, 5]
    for b in BOUNDARIES:
        assert ours.over[b].low == ours.over[b].high == 1
        assert ours.energy[b].low < ours.energy[b].value < ours.energy[b].high
        assert xor.energy[b].value > raw.energy[b].value
    # 20 pJ for 64 bits
    assert ours.moving.value == pytest.approx(50 / 8 * 20, rel=0.25)  # the median of 100 draws
    text = image_costs_text(works)
    assert "| random bits | 18 | 320 | 320 |" in text
    # the whole image: 1 nJ of the network, the same for all, so that little is left of the ratio
    for w in works:
        parts = w.energy["macro"].value + w.moving.value + 1000
        assert w.whole["a machine"].value == pytest.approx(parts, rel=0.1)  # medians do not add up exactly
    ratio = xor.over["with bytes and network in a machine"].value
    assert 1 < ratio < xor.over["with bytes"].value
