"""The energy of random numbers on a CPU and a GPU: measured on this machine where that is possible, else sourced.

Three ways, best first: counters of this machine give the energy; the rate is timed here and the table gives the
power; the table gives both. Each result says which.

A processor's counters (RAPL or amd_energy) serve everything that runs in its package, so a piece of work is measured in
pairs: an idle period, then the work, and the idle power is taken off. The interval is Student's over the pairs. Memory
modules are not in a package. A card's power is what nvidia-smi says.
"""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Sourced
from voltaspin.cost.table import CostTable, Processor, si, weakest

POWERCAP = Path("/sys/class/powercap")
HWMON = Path("/sys/class/hwmon")
_SETTLE = 1.0  #: s that nvidia-smi averages over on recent cards (NVML, nvmlDeviceGetPowerUsage)
_LOOP_MS = 100


class Meter(Protocol):
    """Something that says how many joules passed while a piece of work ran."""

    @property
    def name(self) -> str: ...

    def during(self, work: Callable[[], int]) -> tuple[float, float, int]:
        """Joules, seconds, and what the work returned."""
        ...


@dataclass(frozen=True)
class CounterMeter:
    """Energy counters in files, in microjoules.

    Args:
        name: of the method.
        files: counters that are added up.
        ranges: where each begins again at 0 [uJ]; None for one that never does.
        clock: seconds.
    """

    name: str
    files: tuple[Path, ...]
    ranges: tuple[int | None, ...]
    clock: Callable[[], float] = time.perf_counter

    def during(self, work: Callable[[], int]) -> tuple[float, float, int]:
        before, begin = self._read(), self.clock()
        done = work()
        seconds, after = self.clock() - begin, self._read()
        used = 0
        for a, b, span in zip(before, after, self.ranges, strict=True):
            if b < a and span is None:
                raise InputError(f"an energy counter of {self.name} ran backwards; use measure='never'")
            used += b - a if b >= a else b + (span or 0) - a
        return used * 1e-6, seconds, done

    def _read(self) -> list[int]:
        return [int(f.read_text()) for f in self.files]


def cpu_meter(powercap: Path = POWERCAP, hwmon: Path = HWMON) -> CounterMeter:
    """The energy counters of all processor packages.

    Args:
        powercap: where Linux shows RAPL (``intel-rapl:N``, AMD's too since 5.8); zones named ``package-*`` count,
            their sub-zones and ``psys``, which hold the same joules again, do not.
        hwmon: where the older ``amd_energy`` driver shows sockets.

    Raises:
        InputError: neither is there or may be read; says which and why.
    """
    zones = sorted(z for z in powercap.glob("intel-rapl:*") if z.name.count(":") == 1)
    packages = [z for z in zones if _text(z / "name").startswith("package-")]
    files = tuple(z / "energy_uj" for z in packages)
    ranges: tuple[int | None, ...] = tuple(int(_text(z / "max_energy_range_uj") or 0) or None for z in packages)
    method = "RAPL"
    if not files:
        chips = [h for h in sorted(hwmon.glob("hwmon*")) if _text(h / "name") == "amd_energy"]
        labels = [label for h in chips for label in sorted(h.glob("energy*_label"))]
        sockets = [label for label in labels if _text(label).startswith("Esocket")]
        files = tuple(s.with_name(s.name.replace("_label", "_input")) for s in sockets)
        ranges, method = (None,) * len(files), "amd_energy"
    if not files:
        raise InputError(
            f"no energy counters of the processor: {powercap} has no zone named package-*, {hwmon} no amd_energy "
            "(virtual machines hide both); measure on the machine itself, or let the table's power stand with "
            "measure='auto'"
        )
    for file in files:
        try:
            int(file.read_text())
        except OSError as error:
            raise InputError(
                f"energy counter {file} cannot be read ({error.strerror}); Linux shows it to root only: run as root"
            ) from None
        except ValueError:
            raise InputError(f"energy counter {file} holds no number; use measure='never'") from None
    return CounterMeter(f"{method}, {len(files)} package{'s' if len(files) > 1 else ''}", files, ranges)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class NvidiaMeter:
    """Power of the first NVIDIA card, asked of nvidia-smi ten times a second; its own average settles for a second."""

    name: str
    program: str
    settle: float = _SETTLE

    def during(self, work: Callable[[], int]) -> tuple[float, float, int]:
        command = [self.program, "--query-gpu=power.draw", "--format=csv,noheader,nounits", "--id=0",
                   f"--loop-ms={_LOOP_MS}"]  # fmt: skip
        begin = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as asked:
            try:
                done = work()
            finally:
                seconds = time.perf_counter() - begin
                asked.terminate()
                said = asked.stdout.read() if asked.stdout else ""
        watts = [float(w) for w in said.split("\n") if _is_number(w)]
        kept = watts[math.ceil(self.settle * 1000 / _LOOP_MS) :]
        if not kept:
            raise InputError(f"nvidia-smi gave {len(watts)} powers in {seconds:.1f} s, too few; measure for longer")
        return float(np.mean(kept)) * seconds, seconds, done


def gpu_meter() -> NvidiaMeter:
    """The first NVIDIA card, where nvidia-smi reports its power; raises InputError where it does not."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise InputError("no NVIDIA card: nvidia-smi is not there; let the table's numbers stand with measure='auto'")
    query = [program, "--query-gpu=name,power.draw", "--format=csv,noheader,nounits", "--id=0"]
    try:
        said = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"nvidia-smi does not answer ({error}); use measure='never'") from None
    card, _, power = said.strip().rpartition(",")
    if not _is_number(power):
        raise InputError(f"nvidia-smi reports no power ({said.strip() or 'nothing'!r}); use measure='never'")
    return NvidiaMeter(card.strip(), program)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def interval(values: Sequence[float], unit: str, source: str) -> Sourced:
    """Mean of repeats with Student's 90 % interval; at least two."""
    from scipy.stats import t

    x = np.asarray(values, dtype=np.float64)
    half = float(t.ppf(0.95, len(x) - 1) * x.std(ddof=1) / math.sqrt(len(x)))
    mean = float(x.mean())
    return Sourced(mean, unit, source, "measured", mean - half, mean + half)


def energy_per_item(
    meter: Meter,
    work: Callable[[], int],
    *,
    unit: str,
    idle: Callable[[float], None] = time.sleep,
    seconds: float = 1.0,
    repeats: int = 5,
) -> Sourced:
    """Energy [pJ] above idle of one of the items that ``work`` makes and counts.

    Args:
        meter: joules.
        work: makes items for about ``seconds`` and returns how many.
        unit: of the result, such as ``pJ/sample``.
        idle: what an idle period is.
        seconds: of an idle period; repeats: pairs of idle and work.

    Raises:
        InputError: the work is not told from idle: its interval reaches zero.
    """

    def waiting() -> int:
        idle(seconds)
        return 0

    found = []
    for _ in range(repeats):
        idle_joules, idle_seconds, _ = meter.during(waiting)
        joules, busy, items = meter.during(work)
        found.append(1e12 * (joules - idle_joules / idle_seconds * busy) / items)
    measured = interval(found, unit, f"{meter.name}: {repeats} pairs of {seconds:g} s idle and work, idle taken off")
    if measured.low is None or measured.low <= 0:
        raise InputError(
            f"{meter.name}: {measured.value:.3g} {unit} above idle with a 90 % interval from {measured.low:.3g} is "
            "not told from zero; stop what else runs on this machine and measure again"
        )
    return measured


Measure = Literal["auto", "always", "never"]
_BLOCK = 1 << 16  # numbers at a time: they stay in the cache, as those of an image do
_ON_CARD = 1 << 26


@dataclass(frozen=True)
class ProcessorRng:
    """Energy of a processor's random numbers.

    Args:
        key, name, kind: of the processor, in the table or on this machine.
        normal: one float32 Gaussian number [pJ/sample]; bit: one random bit [pJ/bit].
        seconds: of this machine for one Gaussian number, where it was timed.
        how: one sentence.
    """

    key: str
    name: str
    kind: Literal["cpu", "gpu"]
    normal: Sourced | None
    bit: Sourced | None
    seconds: Sourced | None
    how: str


def processor_rng(
    table: CostTable,
    *,
    measure: Measure = "auto",
    gpu: bool = True,
    seconds: float = 0.5,
    repeats: int = 5,
    powercap: Path = POWERCAP,
    hwmon: Path = HWMON,
) -> tuple[tuple[ProcessorRng, ...], tuple[str, ...]]:
    """Return the energy of random numbers on all of the table's processors, and on this machine where it has counters.

    Args:
        table: rates and powers.
        measure: ``auto``: counters where there are any, else this machine's rates and the table's powers;
            ``always``: refuse without counters; ``never``: the table alone, the same on every machine.
        gpu: whether to look for a card.
        seconds, repeats: of each measured period.
        powercap, hwmon: where Linux shows the counters.

    Returns:
        Processors, and sentences on what could not be measured.

    Raises:
        InputError: ``always``, and neither a processor's nor a card's energy can be measured.
    """
    notes: list[str] = []
    cpu = _or_note(lambda: cpu_meter(powercap, hwmon), notes) if measure != "never" else None
    card = _or_note(gpu_meter, notes) if measure != "never" and gpu else None
    if measure == "always" and cpu is None and card is None:
        raise InputError("; ".join(notes))
    found = []
    for processor in table.processors:
        if processor.generator is None or measure == "never":
            found.append(_sourced(processor))
        else:
            found.append(_on_cpu(processor, cpu, notes, seconds=seconds, repeats=repeats))
    if card is not None and (measured := _on_card(card, notes, repeats=repeats)):
        found.append(measured)
    return tuple(found), tuple(notes)


def _or_note(make: Callable[[], Any], notes: list[str]) -> Any:
    try:
        return make()
    except InputError as error:
        notes.append(str(error))
        return None


def _sourced(processor: Processor) -> ProcessorRng:
    """From the table's rate and power."""
    normal, bit = processor.normals, processor.bits
    grades = weakest([processor.power, *(x for x in (normal, bit) if x)])
    rate = normal or bit or processor.power
    return ProcessorRng(
        *_named(processor),
        normal and _ratio(processor.power, normal, "pJ/sample"),
        bit and _ratio(processor.power, bit, "pJ/bit"),
        None,
        f"rate and power of the table ({grades}): {processor.power.value:g} W; {rate.source}",
    )


def _named(processor: Processor) -> tuple[str, str, Literal["cpu", "gpu"]]:
    return processor.key, processor.name, processor.kind


def _ratio(power: Sourced, rate: Sourced, unit: str) -> Sourced:
    """Energy [pJ] of power over rate; ranges, which hold 90 % of two log-normal numbers, add as squares."""
    value = 1e12 * si(power) / si(rate)
    up = math.hypot(_log(power.high, power.value), _log(rate.low, rate.value))
    down = math.hypot(_log(power.low, power.value), _log(rate.high, rate.value))
    source = f"power over rate: {power.source}; {rate.source}"
    return Sourced(value, unit, source, weakest(["derived", power, rate]), value / math.exp(down), value * math.exp(up))


def _log(end: float | None, value: float) -> float:
    return 0.0 if end is None else math.log(end / value)


def _on_cpu(
    processor: Processor, meter: Meter | None, notes: list[str], *, seconds: float, repeats: int
) -> ProcessorRng:
    """Timed on one core of this machine, and measured if there is a meter."""
    fill, bits = _generators(processor)
    normal_time = timed(fill, "normals", repeats=repeats)
    bit_time = timed(bits, "bits", repeats=repeats)
    if meter is not None:
        try:
            normal, bit = (
                energy_per_item(meter, lasting(work, seconds), unit=unit, seconds=seconds, repeats=repeats)
                for work, unit in ((fill, "pJ/sample"), (bits, "pJ/bit"))
            )
        except InputError as error:
            notes.append(f"{processor.name}: {error}")
        else:
            return ProcessorRng(*_named(processor), normal, bit, normal_time, normal.source)
    normal, bit = (
        _ratio(processor.power, _rate(spent), unit)
        for spent, unit in ((normal_time, "pJ/sample"), (bit_time, "pJ/bit"))
    )
    low, high = (1e9 * (x or 0.0) for x in (normal_time.low, normal_time.high))
    return ProcessorRng(
        *_named(processor), normal, bit, normal_time,
        f"{1e9 * normal_time.value:.3g} ({low:.3g} to {high:.3g}) ns of processor time for a float32 normal, timed "
        f"here; {processor.power.value:g} W for a busy core, of the table",
    )  # fmt: skip


def _generators(processor: Processor) -> tuple[Callable[[], int], Callable[[], int]]:
    """Work that draws a block of normals, and one that draws a block of bits; both return how many."""
    generator = np.random.Generator(getattr(np.random, str(processor.generator))(1))
    block = np.empty(_BLOCK, np.float32)
    raw, width = generator.bit_generator.random_raw, 32 if processor.generator == "MT19937" else 64

    def normals() -> int:
        generator.standard_normal(out=block, dtype=np.float32)
        return _BLOCK

    def bits() -> int:
        raw(_BLOCK)
        return _BLOCK * width

    return normals, bits


def timed(work: Callable[[], int], what: str, *, repeats: int = 5, least: float = 0.03) -> Sourced:
    """Processor time [s] of this thread for one of the items that ``work`` makes; 90 % interval over repeats."""
    work()
    found = []
    for _ in range(max(repeats, 3)):
        begin, items = time.thread_time(), 0
        while (spent := time.thread_time() - begin) < least:
            items += work()
        found.append(spent / items)
    measured = interval(found, "s", f"{what} timed on this machine, {len(found)} repeats")
    # a spread that reaches zero or below is no time: half the mean, then
    return replace(measured, low=max(measured.low or 0.0, measured.value / 2))


def _rate(spent: Sourced) -> Sourced:
    low, high = (1 / x if x else None for x in (spent.high, spent.low))
    return Sourced(1 / spent.value, "1/s", spent.source, "measured", low, high)


def lasting(work: Callable[[], int], seconds: float) -> Callable[[], int]:
    """``work`` over and over for ``seconds``; returns the items in all."""

    def repeated() -> int:
        end, items = time.perf_counter() + seconds, 0
        while time.perf_counter() < end:
            items += work()
        return items

    return repeated


def _on_card(meter: NvidiaMeter, notes: list[str], *, repeats: int) -> ProcessorRng | None:
    """Gaussian numbers that torch draws on the first card, above its idle power."""
    try:
        import torch
    except ImportError:
        notes.append(f"{meter.name}: its energy was not measured, which needs torch")
        return None
    if not torch.cuda.is_available():
        notes.append(f"{meter.name}: this build of torch does not see the card; its energy was not measured")
        return None
    block = torch.empty(_ON_CARD, device="cuda:0")

    def normals() -> int:
        block.normal_()
        torch.cuda.synchronize()
        return _ON_CARD

    seconds = 3 * meter.settle
    energy = _or_note(
        lambda: energy_per_item(
            meter, lasting(normals, seconds), unit="pJ/sample", seconds=seconds, repeats=max(repeats, 3)
        ),
        notes,
    )
    if energy is None:
        return None
    how = f"{energy.source}; nvidia-smi power.draw"
    return ProcessorRng("gpu-here", f"GPU of this machine, {meter.name}, torch", "gpu", energy, None, None, how)
