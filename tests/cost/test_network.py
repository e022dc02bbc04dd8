"""Energy, time and area of a network in memory, worked out by hand."""

import math

import pytest
import torch
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.core.units import fJ, pJ
from voltaspin.cost.macro import MacroSpec
from voltaspin.cost.network import OTHER, compute_cost
from voltaspin.cost.pricing import BOUNDARIES, CellPulse
from voltaspin.cost.table import CostTable, Draws
from voltaspin.diffusion.pipelines import load_pipeline, shipped_model
from voltaspin.memory import ArraySpec, convert, trace

TABLE = CostTable.default().nominal()  # medians are products, whatever was drawn
SPEC = ArraySpec(rows=256, columns=256, weight_bits=4, input_bits=8, adc_bits=6, TMR=1.0, R_P=100e3, read_voltage=0.1,
                 bandwidth=50e6)  # fmt: skip
#: at 45 nm and its supply, digital operations cost what the table says
MACRO = MacroSpec(node=45e-9, core_voltage=1.0, rail_voltage=0.5, cell_area=40 * 28e-9**2)


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 16), nn.Linear(16, 4))


def number(name: str) -> float:
    return TABLE.circuits[name].number.value


def traced(net=None, x=None):
    return trace(net or model(), torch.zeros(1, 8) if x is None else x)


def priced(spec=SPEC, macro=MACRO, evaluations=1.0, net=None, **more):
    more = {"draws": Draws(TABLE, samples=100)} | more
    return compute_cost(traced(net), spec, macro, evaluations=evaluations, **more)


def layer_of(cost, name):
    return next(w for w in cost.layers if w.name == name)


def bit_line():
    """256 cells at a pitch of sqrt(40) x 28 nm with 0.2 fF/um, and a drain at 45 instead of 28 nm."""
    pitch_um = math.sqrt(40) * 0.028
    return 256 * (number("wire") * pitch_um + number("drain load") * 45 / 28) * fJ  # F


def test_an_analog_layer_by_hand():
    cost = priced()
    layer = layer_of(cost, "1")
    products = 32 * 16 * 6  # three slices, two columns each
    assert layer.counts["product"] == products
    # 0.1 V at a mean conductance of 7.5 uS, inputs with a mean square of 0.1, while the current averages its noise
    # over 10 ns and is converted in another 10
    watts, current_time = 0.01 * 7.5e-6, 20e-9
    in_cells = products * watts * 0.1 * current_time
    assert layer.energy["cell"]["product"].value == pytest.approx(in_cells / pJ)
    # from a rail of 0.5 V, at the mean of a Gaussian input
    from_rail = products * 0.5 * 0.1 * 7.5e-6 * math.sqrt(0.1 * 2 / math.pi) * current_time
    assert layer.energy["macro"]["product"].value == pytest.approx(from_rail / pJ)
    row_line = bit_line()  # as many columns as rows
    assert layer.energy["cell+line"]["drive"].value == pytest.approx(32 * 0.1 * row_line * 0.01 / pJ)
    flip_flop = number("flip-flop") * 45 / 28 / 0.81 * fJ
    drive = 32 * (1.5 * 0.1 * row_line * 0.01 + TABLE.dac.value * pJ + 8 * flip_flop)
    assert layer.energy["macro"]["drive"].value == pytest.approx(drive / pJ)
    adc = 0.83 * (45 / 28) ** 1.88 * pJ
    assert layer.energy["macro"]["conversion"].value == pytest.approx(16 * 3 * (adc + 0.1 * 0.5 * bit_line()) / pJ)
    width = 4 + 8 + 8  # bits of weights and inputs, and of the sum over 256 rows
    assert layer.energy["macro"]["add"].value == pytest.approx(16 * 3 * width * (3.75 * fJ + flip_flop) / pJ)
    seconds = 16 * 20e-9  # sixteen columns take turns
    elements = 16 / (1024 * 1e9)
    assert layer.seconds == pytest.approx(seconds + elements)
    assert set(layer.energy["cell"]) == {"product"}


def test_held_sums_stop_the_current_and_save_time():
    held = priced(macro=MACRO.model_copy(update={"hold": True}))
    own = layer_of(held, "1")
    assert own.energy["cell"]["product"].value == pytest.approx(
        layer_of(priced(), "1").energy["cell"]["product"].value / 2
    )
    assert own.seconds == pytest.approx(10e-9 + 16 * 10e-9 + 16 / 1.024e12)
    assert "hold circuits" in held.area_by


def test_a_digital_layer_by_hand():
    cost = priced(SPEC.model_copy(update={"mode": "digital"}))
    layer = layer_of(cost, "1")
    products = 32 * 16 * 6
    # all planes of an input meet a weight that is sensed once in 5 ns; inputs come at once here
    sensed = 0.01 * 7.5e-6 * 5e-9
    rail = 0.5 * 0.1 * 7.5e-6 * 5e-9
    line = 0.1 * 0.5 * bit_line()
    assert layer.energy["cell"]["product"].value == pytest.approx(products * sensed / pJ)
    toggled = number("toggling") * 0.94 * fJ
    sense = TABLE.sense.value * fJ
    assert layer.energy["macro"]["product"].value == pytest.approx(products * (rail + line + sense + toggled) / pJ)
    add = products * 9 * number("toggling") * 3.75 * fJ  # a tree of numbers of 8 bits
    assert layer.energy["macro"]["add"].value == pytest.approx(add / pJ)
    assert layer.seconds == pytest.approx(32 * 5e-9 + 16 / 1.024e12)  # row after row, as many as are used


def test_what_stays_digital_and_the_conventional_machine():
    # half of the draws of the weights lie at the upper end; a hundred thousand know that within 2 %
    write = CellPulse(voltage=0.0, ohmic=1e-13, charging=0.0)
    cost = priced(write=write, draws=Draws(TABLE, samples=100_000))
    first = layer_of(cost, "0")
    assert not first.in_memory
    mac = 0.3 * (1 + number("mac overhead"))
    assert first.energy["macro"]["mac"].value == pytest.approx(8 * 32 * mac)
    assert first.energy["macro"]["element"].value == pytest.approx(32 * number("elementwise") * 0.1)
    assert first.total["cell"].value == 0
    macs = 8 * 32 + 32 * 16 + 16 * 4
    assert (cost.macs, cost.steps) == (macs, 1)
    assert cost.mac_fraction == pytest.approx(32 * 16 / macs)
    assert cost.conventional["multiply-accumulate"].value == pytest.approx(macs * mac)
    assert cost.conventional["weights"].value == pytest.approx(macs * 100 / 8, rel=0.02)  # each weight met once
    assert cost.conventional["weights"].low == pytest.approx(macs * 100 / 8 / 10, rel=0.05)  # or every tenth time
    assert cost.writing is not None
    assert cost.writing.value == pytest.approx(0.1 * 32 * 16 * 6)


def test_the_area_is_that_of_whole_arrays_and_their_circuits():
    cost = priced()
    cells = 256 * 256 * 40 * 28e-9**2 / TABLE.array_efficiency.value
    at = 45 / 28
    expected = {
        "cells": cells, "converters": 16 * 618e-12 * at**0.99,
        "input drivers": 256 * number("dac area") * 1e-12 * at**2,
        "digital unit": 1024 * number("mac area") * 1e-12 * at**2,
        "buffer": 256 * 1024 * 8 * number("SRAM area") * 1e-12 * at**2,
    }  # fmt: skip
    for name, area in expected.items():
        assert cost.area_by[name].value == pytest.approx(1e6 * area, rel=1e-3), name
    assert cost.area.value == pytest.approx(sum(a.value for a in cost.area_by.values()))
    counted = cost.area.value - cost.area_by["wiring"].value
    assert cost.area_by["wiring"].value == pytest.approx(number("routing") * counted)
    more = {bits: priced(SPEC.model_copy(update={"adc_bits": bits})).area_by["converters"].value for bits in (4, 8)}
    assert more[8] > 5 * more[4]


def test_every_joule_stands_in_a_layer_an_action_and_a_component():
    cost = priced()
    for boundary in BOUNDARIES:
        by_action = sum(e.value for e in cost.by_action[boundary].values())
        assert by_action == pytest.approx(cost.total[boundary].value)
        assert sum(w.total[boundary].value for w in cost.layers) == pytest.approx(cost.total[boundary].value)
        assert cost.total[boundary].low <= cost.total[boundary].value <= cost.total[boundary].high
    assert sum(e.value for e in cost.by_component.values()) == pytest.approx(cost.total["macro"].value)
    assert sum(w.seconds for w in cost.layers) == pytest.approx(cost.seconds.value)
    totals = [cost.total[b].value for b in BOUNDARIES]
    assert totals == sorted(totals)
    assert dict(cost.summary())["weakest grade"] == "assumed"


def test_evaluations_multiply_energy_and_time():
    one, ten = priced(), priced(evaluations=10.0)
    assert ten.total["macro"].value == pytest.approx(10 * one.total["macro"].value)
    assert ten.seconds.value == pytest.approx(10 * one.seconds.value)
    assert ten.area == one.area
    for wrong in (0, -1, math.inf, math.nan):
        with pytest.raises(InputError, match="evaluations = "):
            priced(evaluations=wrong)


def test_a_low_resistance_costs_what_flows_through_it():
    """At 5 kOhm the same voltage drives twenty times the current for as long; of 0.1.0's price nothing changed."""
    spec = SPEC.model_copy(update={"read_noise": 0.0})
    low = spec.model_copy(update={"R_P": 5e3})
    ratio = [priced(s).by_component["supply of the cells"].value for s in (low, spec)]
    assert ratio[0] == pytest.approx(20 * ratio[1])


def test_counts_are_those_of_the_converted_model():
    x = torch.randn(1, 8)
    net, _ = convert(model(), SPEC, example=x)
    net(x)
    counted = net[1].context.ledger.children["1"].totals()
    layer = layer_of(priced(), "1")
    assert {a: layer.counts[a] for a in ("product", "drive", "conversion", "add", "byte")} == pytest.approx(
        {a: counted[a] for a in ("product", "drive", "conversion", "add", "byte")}
    )


def test_products_of_no_layer_take_time_and_energy():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.inner, self.last = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 4)

        def forward(self, x):
            h = self.inner(self.first(x))
            return self.last(h @ (h.mT @ h))

    cost = compute_cost(
        traced(Mixed(), torch.zeros(1, 5, 8)), SPEC, MACRO, evaluations=1, draws=Draws(TABLE, samples=100)
    )
    other = layer_of(cost, OTHER)
    assert other.counts["mac"] == 2 * 5 * 16 * 16
    assert other.seconds == pytest.approx(2 * 5 * 16 * 16 / 1.024e12)
    assert not other.in_memory


def test_what_cannot_be_counted_has_no_price():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Linear(8, 16), nn.Linear(16, 4)
            self.between = nn.Linear(16, 16)

        def forward(self, x):
            return self.last(torch.linalg.inv(self.between(self.first(x))[..., None] * torch.eye(16)).sum(-1))

    with pytest.raises(InputError, match=r"linalg_inv.* cannot be counted"):
        priced(net=Odd())


def test_too_few_arrays_write_the_weights_in_every_evaluation():
    macro = MACRO.model_copy(update={"arrays": 1})
    spec = SPEC.model_copy(update={"rows": 16, "columns": 64})
    with pytest.raises(InputError, match=r"arrays = 1 do not hold the network, which needs \d"):
        priced(spec, macro)
    write = CellPulse(voltage=0.0, ohmic=1e-13, charging=0.0)
    cost = priced(spec, macro, evaluations=3.0, write=write)
    assert cost.mapping is not None
    assert cost.mapping.reloaded == cost.cells == 32 * 16 * 6
    assert cost.by_component["writing of weights"].value == pytest.approx(3 * 0.1 * cost.cells)
    whole = priced(spec, MACRO, evaluations=3.0, write=write)
    assert cost.area.value < whole.area.value
    assert cost.seconds.value > whole.seconds.value


def test_copies_shorten_an_image_and_cost_area():
    spec = SPEC.model_copy(update={"rows": 16, "columns": 64})
    one = priced(spec)
    assert one.mapping is not None
    more = priced(spec, MACRO.model_copy(update={"arrays": 3 * one.arrays}))
    assert layer_of(more, "1").seconds < layer_of(one, "1").seconds
    assert more.area.value > one.area.value
    assert more.total["cell"].value == pytest.approx(one.total["cell"].value)
    assert more.throughput is not None
    assert one.throughput is not None
    assert more.throughput.value >= one.throughput.value


def test_an_open_array_leaks_all_the_time():
    gated, open_ = (priced(macro=MACRO.model_copy(update={"gated": g})) for g in (True, False))
    assert open_.by_component["leakage"].value > gated.by_component["leakage"].value


def test_the_shipped_network_is_priced_within_a_second():
    """Every choice is drawn a thousand times; the times of a machine are not asserted here but in benchmarks/."""
    cost = compute_cost(trace(load_pipeline(shipped_model()).unet), ArraySpec.preset("analog"), evaluations=50)
    assert cost.macs == 50 * 226_472_128
    assert cost.mapping is not None
    assert cost.mapping.needed == cost.arrays
    assert cost.conventional_total.low < cost.conventional_total.value < cost.conventional_total.high
    # whole digital chips of 22 and 28 nm do 1 to 5 operations for a picojoule; an int8 machine of the table likewise
    per_watt = 2 * cost.macs / cost.conventional_total.value
    assert 1 < per_watt < 5
