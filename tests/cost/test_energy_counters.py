"""Energy counters against trees of files whose joules are known."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from voltaspin.core.errors import InputError
from voltaspin.cost.processors import NvidiaMeter, cpu_meter, energy_per_item, gpu_meter, interval


def zone(root: Path, name: str, what: str, energy: int, span: int | None = 10**12) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "name").write_text(what + "\n")
    (folder / "energy_uj").write_text(f"{energy}\n")
    if span is not None:
        (folder / "max_energy_range_uj").write_text(f"{span}\n")
    return folder / "energy_uj"


@pytest.fixture
def powercap(tmp_path) -> Path:
    """Two packages with their sub-zones, the platform and the memory-mapped copy, as Linux lists them."""
    root = tmp_path / "powercap"
    for name, what, energy in (
        ("intel-rapl:0", "package-0", 1000),
        ("intel-rapl:0:0", "core", 400),
        ("intel-rapl:0:1", "dram", 300),
        ("intel-rapl:1", "package-1", 2000),
        ("intel-rapl:2", "psys", 9000),
        ("intel-rapl-mmio:0", "package-0", 1000),
    ):
        zone(root, name, what, energy)
    return root


def add(file: Path, joules: float) -> None:
    file.write_text(str(int(file.read_text()) + round(joules * 1e6)))


def test_packages_are_added_and_nothing_is_counted_twice(powercap, tmp_path):
    meter = cpu_meter(powercap, tmp_path)
    assert meter.name == "RAPL, 2 packages"

    def work() -> int:
        for name, joules in (("0", 3), ("1", 4), ("0:0", 2), ("0:1", 50), ("2", 60)):
            add(powercap / f"intel-rapl:{name}" / "energy_uj", joules)
        add(powercap / "intel-rapl-mmio:0" / "energy_uj", 3)
        return 11

    joules, seconds, done = meter.during(work)
    assert joules == pytest.approx(7.0)
    assert seconds > 0
    assert done == 11


def test_a_counter_that_begins_again(tmp_path):
    file = zone(tmp_path / "powercap", "intel-rapl:0", "package-0", 999_000_000, span=1_000_000_000)
    meter = cpu_meter(tmp_path / "powercap", tmp_path)
    joules, _, _ = meter.during(lambda: file.write_text("2000000"))
    assert joules == pytest.approx(1 + 2)  # 1 J to the end of the range, 2 J from there
    bare = zone(tmp_path / "other", "intel-rapl:0", "package-0", 5, span=None)
    with pytest.raises(InputError, match="ran backwards"):
        cpu_meter(tmp_path / "other", tmp_path).during(lambda: bare.write_text("4"))


def test_the_older_driver_of_amd(tmp_path):
    chip = tmp_path / "hwmon" / "hwmon3"
    chip.mkdir(parents=True)
    (chip / "name").write_text("amd_energy\n")
    for i, (label, energy) in enumerate((("Ecore000", 7), ("Esocket0", 100), ("Esocket1", 200)), start=1):
        (chip / f"energy{i}_label").write_text(label + "\n")
        (chip / f"energy{i}_input").write_text(str(energy))
    meter = cpu_meter(tmp_path / "powercap", tmp_path / "hwmon")
    assert meter.name == "amd_energy, 2 packages"

    def work() -> int:
        for i, joules in ((1, 9), (2, 1), (3, 2)):
            add(chip / f"energy{i}_input", joules)
        return 1

    assert meter.during(work)[0] == pytest.approx(3.0)


def test_what_is_missing_or_closed_is_said(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no zone named package-"):
        cpu_meter(tmp_path / "a", tmp_path / "b")
    file = zone(tmp_path / "powercap", "intel-rapl:0", "package-0", 5)
    file.write_text("soon")
    with pytest.raises(InputError, match="holds no number"):
        cpu_meter(tmp_path / "powercap", tmp_path)
    reading = Path.read_text

    def closed(self, *args, **kwargs):
        if self.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return reading(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", closed)
    with pytest.raises(InputError, match=r"Permission denied.*run as root"):
        cpu_meter(tmp_path / "powercap", tmp_path)


class Bench:
    """A machine whose clock and counters move only when it is told: 20 W idle, and what the work adds."""

    def __init__(self, root: Path, extra: list[float]) -> None:
        self.file, self.now, self.extra = zone(root, "intel-rapl:0", "package-0", 0), 0.0, list(extra)

    def clock(self) -> float:
        return self.now

    def pass_time(self, seconds: float, watts: float = 20.0) -> None:
        self.now += seconds
        add(self.file, watts * seconds)

    def work(self) -> int:
        self.pass_time(3.0, 20.0 + self.extra.pop(0))
        return 1_000_000


def bench_energy(tmp_path: Path, extra: list[float]):
    from dataclasses import replace

    bench = Bench(tmp_path / "powercap", extra)
    meter = replace(cpu_meter(tmp_path / "powercap", tmp_path), clock=bench.clock)
    return energy_per_item(meter, bench.work, unit="pJ/sample", idle=bench.pass_time, seconds=2.0, repeats=len(extra))


def test_idle_power_is_taken_off_and_the_interval_is_students(tmp_path):
    watts = [4.0, 5.0, 6.0, 5.0]
    found = bench_energy(tmp_path, watts)
    # 5 W above idle for 3 s over a million numbers are 15 uJ each
    assert found.value == pytest.approx(15e6)
    half = t.ppf(0.95, 3) * np.std(watts, ddof=1) / 2 * 3e6
    assert (found.low, found.high) == pytest.approx((15e6 - half, 15e6 + half))
    assert found.grade == "measured"
    assert "4 pairs of 2 s idle and work" in found.source


def test_work_that_is_not_told_from_idle_is_refused(tmp_path):
    with pytest.raises(InputError, match="not told from zero"):
        bench_energy(tmp_path, [1.0, -1.0, 2.0])


def test_interval_of_two_values():
    found = interval([1.0, 3.0], "s", "two")
    assert found.value == 2.0
    assert found.high - found.value == pytest.approx(6.3138, rel=1e-4)  # Student's t at 95 %, one degree of freedom


def script(folder: Path, text: str) -> None:
    path = folder / "nvidia-smi"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_a_card_is_asked_by_name_and_power(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="nvidia-smi is not there"):
        gpu_meter()
    script(tmp_path, "echo 'NVIDIA Test 1, [N/A]'\n")
    with pytest.raises(InputError, match="reports no power"):
        gpu_meter()
    script(tmp_path, "echo 'NVIDIA Test 1, 41.50'\n")
    assert gpu_meter().name == "NVIDIA Test 1"


def test_the_mean_power_of_a_card_after_it_settled(tmp_path):
    import time

    # ten readings of its last second of idling, then the work's 200 W
    script(tmp_path, "for i in 1 2 3 4 5 6 7 8 9 10; do echo 50; done\n"
           "while :; do echo 200; /bin/sleep 0.02; done\n")  # fmt: skip
    meter = NvidiaMeter("card", str(tmp_path / "nvidia-smi"))
    joules, seconds, done = meter.during(lambda: time.sleep(1.0) or 5)
    assert done == 5
    assert joules == pytest.approx(200 * seconds)
    with pytest.raises(InputError, match="too few"):
        NvidiaMeter("card", os.fspath(Path("/bin/true"))).during(lambda: 1)
