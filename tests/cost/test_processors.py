"""Random numbers of processors: products of table entries, timings, counters of an invented machine."""

import math

import pytest

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Sourced
from voltaspin.cost.processors import processor_rng, timed
from voltaspin.cost.table import CostTable, Processor

TABLE = CostTable.default()


def with_processors(*processors: Processor) -> CostTable:
    return TABLE.model_copy(update={"processors": processors})


def test_every_processor_has_sources_grades_and_ranges():
    keys = [p.key for p in TABLE.processors]
    assert len(set(keys)) == len(keys)
    assert {p.kind for p in TABLE.processors} == {"cpu", "gpu"}
    for p in TABLE.processors:
        assert p.normals or p.bits
        for number in (p.power, p.normals, p.bits):
            if number is not None:
                assert number.low < number.value < number.high or number.value in (number.low, number.high)
                assert number.source


def test_power_over_rate_by_hand():
    power = Sourced(12.0, "W", "a meter", "derived", 6.0, 24.0)
    rate = Sourced(1e8, "1/s", "a clock", "measured", 2.5e7, 4e8)
    made = Processor(key="a", name="A", kind="cpu", generator="PCG64", power=power, normals=rate)
    (found,), notes = processor_rng(with_processors(made), measure="never")
    # 12 W over 1e8 a second are 120 nJ; a factor 2 and a factor 4 either way are 2^sqrt(1 + 4)
    assert found.normal.value == pytest.approx(120e3)
    factor = 2 ** math.sqrt(5)
    assert (found.normal.low, found.normal.high) == pytest.approx((120e3 / factor, 120e3 * factor))
    assert found.normal.grade == "derived"
    assert found.bit is None
    assert found.seconds is None
    assert notes == ()


def test_without_meters_the_table_is_the_same_everywhere():
    one, _ = processor_rng(TABLE, measure="never")
    other, _ = processor_rng(TABLE, measure="never")
    assert one == other
    assert [s.key for s in one] == [p.key for p in TABLE.processors]


def test_rates_are_timed_here_where_no_counter_is(tmp_path):
    first = TABLE.processors[0]
    (found,), notes = processor_rng(
        with_processors(first), gpu=False, repeats=3, powercap=tmp_path / "no", hwmon=tmp_path / "none"
    )
    assert "timed here" in found.how
    assert len(notes) == 1
    assert found.seconds.low <= found.seconds.value <= found.seconds.high
    assert found.normal.value == pytest.approx(1e12 * first.power.value * found.seconds.value)
    assert found.normal.low < found.normal.value < found.normal.high
    assert found.normal.grade == "derived"


def test_always_refuses_and_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"no energy counters.*no NVIDIA card"):
        processor_rng(TABLE, measure="always", powercap=tmp_path / "no", hwmon=tmp_path / "none")


def test_counters_are_used_where_there_are_any(tmp_path, monkeypatch):
    """A counter that gains 1 J whenever the work is asked, and nothing in idle periods."""
    from voltaspin.cost import processors as module

    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "name").write_text("package-0")
    (zone / "max_energy_range_uj").write_text("1000000000000")
    counter = zone / "energy_uj"
    counter.write_text("0")

    def counted(work, seconds):
        def once() -> int:
            counter.write_text(str(int(counter.read_text()) + 1_000_000))
            return 10**6

        return once

    monkeypatch.setattr(module, "lasting", counted)
    (found,), notes = processor_rng(
        with_processors(TABLE.processors[0]), gpu=False, seconds=0.001, repeats=3, powercap=tmp_path,
        hwmon=tmp_path / "none",
    )  # fmt: skip
    assert found.normal.value == pytest.approx(1e6)  # 1 J over a million
    assert found.normal.grade == found.bit.grade == "measured"
    assert found.how.startswith("RAPL, 1 package: 3 pairs")
    assert notes == ()


def test_a_timing_counts_every_item():
    import time

    calls = []

    def work() -> int:
        begin = time.thread_time()
        while time.thread_time() - begin < 0.001:
            pass
        calls.append(1)
        return 1000

    found = timed(work, "items", repeats=3, least=0.005)
    # a call takes at least its millisecond; how much more is the machine's
    assert found.value >= 1e-6
    assert found.low <= found.value <= found.high
    assert len(calls) > 3 * 3
