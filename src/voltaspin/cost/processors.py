"""The energy of random numbers on a CPU and a GPU: measured on this machine where that is possible, else sourced.

Three ways, best first: counters of this machine give the energy; the rate is timed here and the table gives the
power; the table gives both. Each result says which.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.quantity import Sourced
from voltaspin.cost.energy_counters import (
    HWMON,
    POWERCAP,
    Meter,
    NvidiaMeter,
    cpu_meter,
    energy_per_item,
    gpu_meter,
    interval,
)
from voltaspin.cost.table import CostTable, Processor, si, weakest

Measure = Literal["auto", "always", "never"]
MEASURES: tuple[Measure, ...] = get_args(Measure)
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
    import torch

    if not torch.cuda.is_available():
        notes.append(f"{meter.name}: this build of torch does not see the card; its energy was not measured")
        return None
    block = torch.empty(_ON_CARD, device="cuda:0")

    def normals() -> int:
        block.normal_()
        torch.cuda.synchronize()
        return _ON_CARD

    seconds = 3 * meter.settle
    try:
        energy = energy_per_item(
            meter, lasting(normals, seconds), unit="pJ/sample", seconds=seconds, repeats=max(repeats, 3)
        )
    except InputError as error:
        notes.append(str(error))
        return None
    how = f"{energy.source}; nvidia-smi power.draw"
    return ProcessorRng("gpu-here", f"GPU of this machine, {meter.name}, torch", "gpu", energy, None, None, how)
