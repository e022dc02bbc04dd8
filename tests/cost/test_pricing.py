"""Prices worked out by hand, priced again, and beside the table's generators."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.core.quantity import Sourced
from voltaspin.cost.comparison import CostRow, compare, conventional_rows
from voltaspin.cost.pricing import CellPulse, Prices, price
from voltaspin.cost.table import CostTable, Draws, weakest

pytestmark = pytest.mark.installed

# 1.2 V over 0.5 ns through 720 kOhm is 1.44 * 0.5e-9 / 7.2e5 = 1.0e-15 J; 0.125 fF * 1.44 = 0.18e-15 J.
PULSE = CellPulse.rectangular(voltage=1.2, width=0.5e-9, resistance=720e3, capacitance=0.125e-15)
# 0.1 V over 25 ns through 500 kOhm is 0.01 * 25e-9 / 5e5 = 0.5e-15 J; no charging of the cell.
RESISTANCE = 500e3
V010 = Path(__file__).parents[1] / "data" / "v0.1.0"
#: The junction's own current is drawn with the grade "measured", a factor 1.1 for 90 %: what a median of so many draws
#: may miss, three standard errors.
SAMPLES = 40_000
NOISE = 3 * np.log(1.1) / 1.645 * 1.2533 / np.sqrt(SAMPLES)


def close(value):
    return pytest.approx(value, rel=NOISE)


def prices(table: CostTable | None = None, cells=1000, pulses=("pulse", "reset", "read")) -> Prices:
    draws = Draws((table or CostTable.default()).nominal(), samples=SAMPLES)
    of = {"pulse": PULSE, "reset": PULSE, "read": CellPulse.read(RESISTANCE, table=table)}
    return Prices.of_pulses({a: of[a] for a in pulses}, cells=cells, draws=draws, grade="measured")


def ledger(**counts: int) -> Ledger:
    made = Ledger("run")
    for action, n in counts.items():
        made.child("array").count(action, n)
    return made


def line_fF(cells: int = 1000) -> float:
    """A line of a square array: wire by pitch, and a drain for each cell."""
    circuits = CostTable.default().circuits
    wire, drain = (circuits[name].number.value for name in ("wire", "drain load"))
    return cells**0.5 * (wire * 40**0.5 * 0.028 + drain)


FULL = {"pulse": 200, "reset": 200, "read": 200, "xor": 100, "bit": 100, "normal": 10, "lookup": 10}


def priced(table: CostTable | None = None) -> dict[str, CostRow]:
    cost = compare(ledger(**FULL), prices(table))
    return {row.boundary: row for row in cost.rows if row.ours}


def test_one_pulse_by_hand():
    assert PULSE.ohmic == pytest.approx(1.0e-15)
    assert PULSE.charging == pytest.approx(0.18e-15)


def test_cell_boundary_by_hand():
    cost = compare(ledger(**FULL), prices(), images=2)
    row = cost.rows[0]
    # 400 pulses of 1.18 fJ and 200 reads of 0.5 fJ are 572 fJ, for 100 bits, 10 normals and 2 images
    assert row.energy.value == close(5.72e-3)
    assert cost.normals[0].energy.value == close(57.2e-3)
    assert cost.per_image["cell"].value == close(286e-3)
    assert row.area.value == pytest.approx(40 * 0.028**2)
    assert row.energy_area.value == close(5.72e-3 * 0.03136)
    assert row.energy_over_area.value == close(5.72e-3 / 0.03136)
    # the junction's current alone is drawn, by a factor 1.1
    assert row.energy.high / row.energy.value == pytest.approx(1.1, abs=0.02)
    per = {a: price({a: n}, prices())["cell"].value for a, n in FULL.items() if a in ("pulse", "reset", "read")}
    assert per == {"pulse": close(0.236), "reset": close(0.236), "read": close(0.1)}


def test_the_line_is_charged_by_every_pulse_and_read():
    found = price(FULL, prices())
    lines = 1e-3 * line_fF() * (400 * 1.2**2 + 200 * 0.1**2)
    assert found["cell+line"].value - found["cell"].value == pytest.approx(lines)
    longer = price(FULL, prices(cells=4000))
    assert longer["cell+line"].value - longer["cell"].value == pytest.approx(2 * lines)


def test_macro_boundary_by_hand():
    row = priced()["macro"]
    # drivers are half of the lines' energy; 200 senses of 5 fJ; 100 XORs of 0.94 fJ; 10 table reads of 20 pJ
    bits = 0.572 + 1.5e-3 * line_fF() * (400 * 1.2**2 + 200 * 0.1**2) + 200 * 5e-3 + 100 * 0.94e-3
    assert row.energy.value == close(bits / 100)
    normal = next(r for r in compare(ledger(**FULL), prices()).normals if r.key == "ours-macro")
    assert normal.energy.value == close((bits + 10 * 20) / 10)
    assert row.area.value == pytest.approx(1000 * 0.03136 / 0.52)
    assert row.energy.low < row.energy.value < row.energy.high
    assert row.grade == "assumed"


def test_every_range_of_one_quantity_is_the_same():
    """The row of a ledger, a bit of the figure of merit, a job and a price: one set of draws."""
    from voltaspin.cost.jobs import job, workload
    from voltaspin.cost.merit import figure_of_merit
    from voltaspin.device import SwitchingModel

    model = SwitchingModel.shipped()
    found = Prices.of(model.junction, model.pulse)
    merit = figure_of_merit(model.junction, model.pulse, reset=0.5, prices=found)
    counts = {"pulse": 200, "reset": 100, "read": 200, "xor": 100, "bit": 100}
    rows = {r.boundary: r for r in compare(ledger(**counts), found).rows if r.ours}
    supplies = workload(found, [job("image", "one", 10, cells_per_bit=2, resets=0.5)]).supplies
    for supply, (boundary, row) in zip(supplies, rows.items(), strict=True):
        own = merit.own[boundary]
        for e in (row.energy, supply.per_bit, price({a: n / 100 for a, n in counts.items()}, found)[boundary]):
            assert (e.value, e.low, e.high) == pytest.approx(
                (own["energy"].value, own["energy"].low, own["energy"].high)
            )
        assert row.area == own["area"]


def test_the_engine_has_the_medians_of_the_one_before_it():
    """Medians and ranges that 0.1.0 wrote for the shipped pulse, from a thousand draws of its own code."""
    from voltaspin.cost.merit import METRICS, figure_of_merit
    from voltaspin.device import Pulse, presets

    old = json.loads((V010 / "demo" / "results.json").read_text())
    chosen, claim = old["device"]["chosen"], old["cost"]["claim"]
    pulse = Pulse(voltage=chosen["voltage"], width=chosen["width"])
    resets = claim["bit"]["reset"] / claim["bit"]["pulse"]
    draws = Draws(CostTable.load(V010 / "cost" / "table.json"), samples=4000)
    found = figure_of_merit(
        presets.generator, pulse, reset=resets, prices=Prices.of(presets.generator, pulse, draws=draws),
    )  # fmt: skip
    for boundary, by in claim["own"].items():
        for metric in METRICS:
            now, before = found.own[boundary][metric], by[metric]
            # the median of n log-normal draws, of which a 90 % interval is known: 1.25 standard deviations / sqrt(n)
            std = np.log(before["high"] / before["low"]) / (2 * 1.645)
            noise = 3 * 1.2533 * std * np.sqrt(1 / 1000 + 1 / 4000)
            assert abs(np.log(now.value / before["value"])) < noise, (boundary, metric)
            # ends of an interval of 90 % are known half as well
            assert abs(np.log(now.low / before["low"])) < 3 * noise, (boundary, metric)
            assert abs(np.log(now.high / before["high"])) < 3 * noise, (boundary, metric)


def test_the_same_ledger_is_priced_again():
    default = CostTable.default()
    other = default.model_copy(
        update={
            "circuits": {
                name: c.model_copy(update={"number": replace(c.number, value=2 * c.number.value, low=None, high=None)})
                for name, c in default.circuits.items()
            },
            "cell_area": Sourced(160, "F^2", "four times, and twice the pitch", "assumed"),
        }
    )
    before, after = (price(FULL, prices(t)) for t in (default, other))
    assert after["cell"] == before["cell"]
    wire, drain = (default.circuits[name].number.value for name in ("wire", "drain load"))
    pitch = 40**0.5 * 0.028
    heavier = (2 * wire * 2 * pitch + 2 * drain) / (wire * pitch + drain)
    assert after["cell+line"].value - after["cell"].value == pytest.approx(
        heavier * (before["cell+line"].value - before["cell"].value)
    )
    assert priced(other)["cell"].area.value == pytest.approx(priced(default)["cell"].area.value * 4)


def test_a_junction_gives_its_own_pulse_energy():
    from voltaspin.device.junction import Junction, Pulse

    junction = Junction.from_stability(
        Delta=40, diameter=50e-9, t_F=1.1e-9, Ms=1e6, alpha_G=0.02, xi=1e-13, t_ox=1.4e-9, RA=1300e-12, TMR0=0
    )
    cell = CellPulse.of(junction, Pulse(voltage=1.2, width=0.5e-9))
    # "CV^2 is about 0.2 fJ, the ohmic part about 1 fJ at RA 1300 and 0.5 ns": area 1.963e-15 m^2
    assert cell.ohmic == pytest.approx(1.44 * 0.5e-9 * 1.9635e-15 / 1300e-12, rel=1e-3)
    assert cell.charging == pytest.approx(8.8542e-12 * 9.7 * 1.9635e-15 / 1.4e-9 * 1.44, rel=1e-3)
    assert 0.15e-15 < cell.charging < 0.25e-15


def test_published_products_of_energy_and_area():
    rows = {row.key: row for row in conventional_rows(Draws(samples=SAMPLES), "bit")}
    for key, product in {
        "intel-45": 1.2e4,
        "intel-45-low": 1.6e3,
        "yang-28": 8.6e3,
        "oscillator-180": 7.0e5,
    }.items():
        assert rows[key].energy_area.value == pytest.approx(product, rel=0.04)  # printed with two digits
    assert rows["vcma-published"].energy.low == pytest.approx(0.006)
    assert rows["yang-28"].area_grade == "recalled"


def test_every_number_of_the_table_can_be_converted_and_has_a_source():
    from voltaspin.cost.table import si

    table = CostTable.default()
    numbers = [*table.pulses.values(), *table.operations.values(), *(s.energy for s in table.sources)]
    numbers += [v for v in table.__dict__.values() if isinstance(v, Sourced)]
    assert len(numbers) > 35
    assert all(si(n) > 0 and n.source for n in numbers)
    assert len({s.key for s in table.sources}) == len(table.sources)


def test_table_round_trip(tmp_path):
    table = CostTable.default()
    table.save(tmp_path / "table.json")
    assert CostTable.load(tmp_path / "table.json") == table


def older(version: int) -> dict:
    """The shipped table as that version wrote it, with a price of its own."""
    data = CostTable.default().to_json() | {"schema_version": version, "name": "mine"}
    for since, fields in CostTable.SINCE.items():
        if since > version:
            for field in fields:
                del data[field]
    line = {"value": 33.0, "unit": "fF", "source": "a line", "grade": "assumed", "low": 10.0, "high": 100.0}
    return data | {"line_capacitance": line, "adc_sharing": line | {"unit": "1"}}


@pytest.mark.parametrize("version", [1, 2, 3])
def test_tables_of_earlier_versions_are_read_and_say_what_was_added(version, tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps(older(version)))
    table, shipped = CostTable.load(path), CostTable.default()
    one = CellPulse(voltage=1.0, ohmic=0.0, charging=0.0)
    prices = Prices.of_pulses({"pulse": one}, draws=Draws(table, samples=4000))
    line = price({"pulse": 1}, prices)["cell+line"]  # of 256 cells, and as wide as it was
    assert (line.value, line.low, line.high) == pytest.approx((33e-3, 10e-3, 100e-3), rel=0.1)
    assert table.processors == shipped.processors
    assert table.name.startswith(f"mine (version {version}; ")
    assert ("sha256" in table.name) == (version == 1)
    assert ("processors" in table.name) == (version < 3)
    table.save(path)
    assert CostTable.load(path) == table


def test_tables_that_are_no_tables_are_still_refused():
    for change in ({"schema_version": 5}, {"schema_version": 0}, {"schema_version": None}, {"kind": "ledger"}):
        with pytest.raises(InputError, match="cost-table"):
            CostTable.from_json(CostTable.default().to_json() | change)
    with pytest.raises(InputError, match="lookup"):
        CostTable.from_json({k: v for k, v in older(2).items() if k != "lookup"})


@pytest.mark.parametrize(
    ("pulses", "message"),
    [(("pulse", "read"), "200 of 'reset'"), (("pulse", "reset"), "in ohm")],
)
def test_what_is_counted_must_have_a_price(pulses, message):
    with pytest.raises(InputError, match=message):
        price(ledger(**FULL), prices(pulses=pulses))


def test_arrays_and_samples_are_positive():
    with pytest.raises(InputError, match="cells = 0"):
        prices(cells=0)
    with pytest.raises(InputError, match="samples = 99"):
        Draws(samples=99)
    with pytest.raises(InputError, match="images = 0"):
        compare(ledger(**FULL), prices(), images=0)


def test_bad_pulses_are_refused():
    with pytest.raises(InputError, match="resistance"):
        CellPulse.rectangular(voltage=1.0, width=1e-9, resistance=0.0, capacitance=0.0)
    with pytest.raises(InputError, match="negative"):
        CellPulse(voltage=1.0, ohmic=-1e-15, charging=0.0)
    with pytest.raises(InputError, match="not a number"):
        CellPulse(voltage=1.0, ohmic=float("nan"), charging=0.0)


def test_a_ledger_without_normals_has_no_energy_per_normal():
    cost = compare(ledger(pulse=10, bit=10), prices())
    assert not any(row.ours for row in cost.normals)
    assert cost.per_image == {}
    assert cost.rows[0].energy.value == close(1.18e-3)


def test_bits_that_are_added_up_are_charged_for_adders():
    cost = compare(ledger(pulse=160, bit=160, normal=10), prices())
    bit, normal = (next(r for r in rows if r.key == "ours-macro") for rows in (cost.rows, cost.normals))
    # 150 full adders of 30 fJ / 8, in the normals and not in the bits
    assert cost.parts["adder"].value == pytest.approx(150 * 30e-3 / 8)
    assert normal.energy.value - 16 * bit.energy.value == pytest.approx(150 * 30e-3 / 8 / 10)
    assert "adder" not in compare(ledger(pulse=160, bit=160, normal=10, lookup=10), prices()).parts


def test_counterweights_say_what_the_numbers_say():
    cost = compare(ledger(**FULL), prices(), images=2, macs_per_image=10**6)
    said = " ".join(cost.counterweights)
    line = line_fF() * 1.44  # fJ
    assert f"{line:.3g} fJ per pulse, {line / 1.18:,.0f} times the 1.18 fJ" in said
    # 40 pulses and resets per normal are 57.2 fJ in the cells: more than the published 16.3 fJ per sample
    assert "took 40 pulses and resets here: 57.2 fJ in the cells alone, more than the 16.3 fJ" in said
    # 10^6 multiply-accumulates of 3.7 + 0.9 pJ
    assert "4.6 µJ per image" in said
    # 200 pJ of table reads against 0.572 + 1.5 * 1.71 + 1 + 0.094 = 4.2 pJ of bits
    assert "97 % of the energy goes into reading the inverse-CDF" in said
    assert "the cell is worse than 7 of 7 generators whose area is known" in said


def test_a_frugal_memory_is_said_to_be_less():
    said = " ".join(compare(ledger(pulse=100, bit=100, normal=100), prices()).counterweights)
    assert "1.18 fJ in the cells alone, less than the 16.3 fJ" in said
    assert "inverse-CDF" not in said


def test_weakest_grade():
    assert weakest(["measured", "recalled", "derived"]) == "recalled"


def test_conditioners_are_priced_and_their_bits_counted_once():
    from voltaspin.noise import MemorySource, Sha256, Xor

    source = Sha256(Xor(MemorySource(k=1), k=2), H_min=0.9)
    source.bits(2560)
    counts = source.ledger.totals()
    assert counts["bit"] == 2560
    assert counts["hash"] > 0
    found = prices()
    cost = compare(source.ledger, found)
    assert cost.parts["hash"].value == pytest.approx(counts["hash"] * CostTable.default().sha256.value)
    macro = next(r for r in cost.rows if r.key == "ours-macro")
    assert macro.energy.value == close(sum(e.value for e in cost.parts.values()) / 2560)


def test_work_of_crossbars_is_refused_and_not_left_out():
    counted = Ledger()
    counted.count("conversion", 5)
    with pytest.raises(InputError, match="conversion of crossbars"):
        price(counted, prices())
