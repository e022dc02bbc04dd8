"""Energy and time of a network in memory, worked out by hand."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Sourced
from voltaspin.core.units import fJ, pJ
from voltaspin.cost.network import adc_energy, compute_cost
from voltaspin.cost.pricing import BOUNDARIES, CellPulse
from voltaspin.cost.table import CostTable, Draws
from voltaspin.memory import ArraySpec, convert


def exact(table: CostTable) -> CostTable:
    """The table as if it knew every price exactly: then medians are products, whatever was drawn."""

    def fixed(value):
        if isinstance(value, Sourced):
            return replace(value, low=value.value, high=value.value)
        return {k: fixed(v) for k, v in value.items()} if isinstance(value, dict) else value

    return table.model_copy(update={name: fixed(getattr(table, name)) for name in CostTable.model_fields})


TABLE = exact(CostTable.default())


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.Linear(32, 16), nn.Linear(16, 4))


def priced(spec, images=5, **more):
    net, coverage = convert(model(), spec, example=torch.zeros(1, 8))
    net(torch.randn(5, 8))
    return compute_cost(net, coverage, images=images, **({"draws": Draws(TABLE, samples=100)} | more))


SPEC = ArraySpec(rows=256, columns=256, weight_bits=4, input_bits=8, adc_bits=6, TMR=1.0, R_P=100e3, read_voltage=0.1,
                 bandwidth=50e6)  # fmt: skip


def test_an_analog_layer_by_hand():
    cost = priced(SPEC)
    layer = next(w for w in cost.layers if w.name == "1")
    products = 32 * 16 * 6  # three slices, two columns each
    assert layer.counts["product"] == products
    # 0.1 V at a mean conductance of 7.5 uS for 10 ns, inputs with a mean square of 0.1
    assert layer.energy["cell"]["product"].value == pytest.approx((products * 0.01 * 7.5e-6 * 10e-9 * 0.1) / pJ)
    assert layer.energy["cell+line"]["drive"].value == pytest.approx((32 * 0.1 * 50 * fJ * 0.01) / pJ)
    assert layer.energy["macro"]["drive"].value == pytest.approx((32 * (1.5 * 0.1 * 50 * fJ * 0.01 + 0.1 * pJ)) / pJ)
    assert layer.energy["macro"]["conversion"].value == pytest.approx(16 * 3 * 0.83)
    assert layer.energy["macro"]["add"].value == pytest.approx(16 * 3 * 0.1)
    assert layer.energy["macro"]["byte"].value == pytest.approx((32 + 2 * 16) * 20 / 8)
    assert layer.seconds == pytest.approx(80e-9)  # eight columns for a converter of 10 ns
    assert set(layer.energy["cell"]) == {"product"}


def test_a_digital_layer_by_hand():
    cost = priced(SPEC.model_copy(update={"mode": "digital"}))
    layer = next(w for w in cost.layers if w.name == "1")
    products = 32 * 16 * 6
    sensed = 0.01 * 7.5e-6 * 25e-9
    assert layer.energy["cell"]["product"].value == pytest.approx((products * sensed) / pJ)
    assert layer.energy["macro"]["product"].value == pytest.approx((products * (sensed + 50 * fJ * 0.01 + 5 * fJ)) / pJ)
    assert layer.energy["macro"]["add"].value == pytest.approx((products * 8 * 3.75 * fJ) / pJ)  # of eight bits
    assert layer.seconds == pytest.approx(256 * 25e-9)  # row after row


def test_what_stays_digital_and_the_conventional_machine():
    # half of the draws of the weights lie at the upper end; a hundred thousand know that within 2 %
    write = CellPulse(voltage=0.0, ohmic=1e-13, charging=0.0)
    cost = priced(SPEC, write=write, draws=Draws(TABLE, samples=100_000))
    first = next(w for w in cost.layers if w.name == "0")
    assert not first.in_memory
    assert first.energy["macro"]["mac"].value == pytest.approx(8 * 32 * 0.3)
    assert first.total["cell"].value == 0
    macs = 8 * 32 + 32 * 16 + 16 * 4
    assert cost.steps == pytest.approx(1)
    assert cost.conventional["multiply-accumulate"].value == pytest.approx(macs * 0.3)
    assert cost.conventional["weights"].value == pytest.approx(macs * 100 / 8, rel=0.02)  # each weight met once
    assert cost.conventional["weights"].low == pytest.approx(macs * 100 / 8 / 10, rel=0.05)  # or every tenth time
    assert cost.writing.value == pytest.approx(0.1 * 32 * 16 * 6)
    assert cost.area.value == pytest.approx(1e6 * 32 * 16 * 6 * 40 * (28e-9) ** 2 / 0.5)


def test_every_joule_stands_in_a_layer_and_in_an_action():
    cost = priced(SPEC)
    for boundary in BOUNDARIES:
        by_action = sum(e.value for e in cost.by_action[boundary].values())
        assert by_action == pytest.approx(cost.total[boundary].value)
        assert cost.total[boundary].low <= cost.total[boundary].value <= cost.total[boundary].high
    totals = [cost.total[b].value for b in BOUNDARIES]
    assert totals == sorted(totals)
    assert dict(cost.summary())["weakest grade"] == "assumed"
    assert cost.to_json()["by_action"]["macro"]["conversion"]["value"] > 0


def test_ten_images_cost_each_what_one_does():
    one, many = priced(SPEC, images=5), priced(SPEC, images=10, per_image=2.0)
    assert many.total["macro"].value == pytest.approx(one.total["macro"].value)


def test_converters_beyond_the_table():
    draws = Draws(TABLE, samples=100)
    assert (adc_energy(draws, 2) == adc_energy(draws, 4)).all()
    assert adc_energy(draws, 12) == pytest.approx(4 * 2.57 * pJ)


def test_nothing_counted_is_refused():
    net, coverage = convert(model(), SPEC, example=torch.zeros(1, 8))
    with pytest.raises(InputError, match="computed nothing yet"):
        compute_cost(net, coverage, images=1)
    with pytest.raises(InputError, match="images = 0"):
        compute_cost(net, coverage, images=0)


@pytest.mark.parametrize("calls", [1, 7])
@pytest.mark.parametrize("ends", [True, False])
def test_every_evaluation_is_priced_and_no_calibration(calls, ends):
    """With no digital layer any number of evaluations was one; a calibration was work."""
    spec = SPEC.model_copy(update={"digital_ends": ends})
    x = torch.randn(5, 8)
    one, coverage = convert(model(), spec, example=x[:1])
    net, _ = convert(model(), spec, example=x[:1], calibration=[x] * 3)
    one(x)
    for _ in range(calls):
        net(x)
    cost, unit = (compute_cost(n, coverage, images=5, draws=Draws(TABLE, samples=100)) for n in (net, one))
    assert cost.steps == calls
    assert cost.conventional["multiply-accumulate"].value == pytest.approx(calls * (8 * 32 + 32 * 16 + 64) * 0.3)
    for boundary in BOUNDARIES:
        assert cost.total[boundary].value == pytest.approx(calls * unit.total[boundary].value)
    assert cost.seconds == pytest.approx(calls * unit.seconds)


def test_an_example_of_several_images_is_as_good_as_one():
    costs = []
    for n in (1, 4):
        net, coverage = convert(model(), SPEC, example=torch.zeros(n, 8))
        net(torch.ones(5, 8))
        costs.append(compute_cost(net, coverage, images=5).to_json())
    assert costs[0] == costs[1]


def test_digital_layers_take_time_and_everything_else_too():
    """A convolution kept digital, an LSTM and a product of no layer: each at the digital unit's rate."""

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.last = nn.LSTM(8, 16, batch_first=True), nn.Linear(16, 4)

        def forward(self, x):
            h = self.lstm(x)[0]
            return self.last(h @ (h.mT @ h))

    torch.manual_seed(0)
    x = torch.randn(2, 5, 8)
    net, coverage = convert(Mixed(), SPEC, example=x[:1])
    with torch.no_grad():
        net(x)
    cost = compute_cost(net, coverage, images=2, draws=Draws(TABLE, samples=100))
    seconds = {w.name: w.seconds for w in cost.layers}
    lstm, products = 5 * 4 * 16 * (8 + 16), 2 * 5 * 16 * 16
    assert seconds["lstm"] == pytest.approx(lstm / 1e12)
    assert seconds["attention and other products"] == pytest.approx(products / 1e12)
    assert coverage.macs == lstm + products + 5 * 64
    assert cost.conventional["multiply-accumulate"].value == pytest.approx(coverage.macs * 0.3)
    first = next(w for w in priced(SPEC).layers if w.name == "0")
    assert first.seconds == pytest.approx(8 * 32 / 1e12)


def test_no_price_without_counts():
    net, coverage = convert(model(), SPEC)
    net(torch.randn(5, 8))
    with pytest.raises(InputError, match=r"unknown without an example input; give convert\(model, spec, example="):
        compute_cost(net, coverage, images=5)
    net, coverage = convert(model(), SPEC, example=torch.zeros(1, 8))
    net[1](torch.randn(5, 32))
    with pytest.raises(InputError, match="no call of the model as a whole"):
        compute_cost(net, coverage, images=5)
