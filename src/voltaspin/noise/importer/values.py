"""From the values of a file to packed bits: thresholds, units, bytes of eight bits, and one bit a value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.units import format_quantity
from voltaspin.noise.importer import content
from voltaspin.noise.importer.containers import Scratch
from voltaspin.noise.importer.options import FileError, FileOptions, Level, Understood, level_of, unit_of
from voltaspin.noise.importer.populations import TwoPopulations, two_populations
from voltaspin.noise.importer.text import Reading

_FITTED = 200_000  # values that a fit looks at, spread over the first ones read
_JUDGED = 32  # bytes from which it shows whether numbers are packed bits


@dataclass(frozen=True)
class BitFile:
    """Bits of a file, packed with the first one highest or lowest.

    Args:
        path: of the packed bits: the file itself, or a temporary one that goes with this object.
        bits: how many.
        reverse: the first bit of a byte is its lowest.
        understood: what the file was read as.
        populations: the fit of the threshold, where one was asked for.
        origin: provenance of the source that was recorded, where a description of ours says it.
    """

    path: Path
    bits: int
    reverse: bool
    understood: Understood
    populations: TwoPopulations | None = None
    origin: dict[str, Any] | None = None

    def read(self, position: int, n: int) -> NDArray[np.uint8] | None:
        """The bytes that hold ``n`` bits from ``position`` on, first bit highest; None if the file became shorter."""
        first, skip = divmod(position, 8)
        wanted = (skip + n + 7) // 8
        with self.path.open("rb") as file:
            file.seek(first)
            data = np.frombuffer(file.read(wanted), np.uint8)
        if data.size < wanted:
            return None
        return _REVERSED[data] if self.reverse else data


_REVERSED: NDArray[np.uint8] = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)), bitorder="little")


def check_uses(options: FileOptions, found: str, uses: frozenset[str]) -> None:
    other = [n for n in options.given() if n not in uses]
    if other:
        marked = " and ".join(f"⟦{n}⟧" for n in other)
        rest = f"leave {'it' if len(other) == 1 else 'them'} out, or say another ⟦format⟧"
        raise FileError(f"{marked} cannot be used: the file was recognised as {found}; {rest}")


def packed_bits(path: Path, options: FileOptions) -> BitFile:
    order = options.bit_order or "msb"
    bits = 8 * path.stat().st_size
    place = "highest" if order == "msb" else "lowest"
    understood = Understood("packed", bits, f"packed bits, the first bit of a byte is the {place}", order)
    return BitFile(path, bits, order == "lsb", understood)


def converted(reading: Reading, options: FileOptions, scratch: Scratch, name: str) -> BitFile:
    packed = reading.packed or (options.sample_type == "packed" and not reading.words)
    said, level, fit = reading.text, None, None
    check_uses(options, reading.text, reading.uses)
    unit, factor, written = _unit(reading, options, name)
    if not packed and options.threshold is None:
        if reading.words:
            raise FileError(
                f"{name}: raw converter words need a ⟦threshold⟧ above which a bit is 1, or ⟦threshold=fit⟧"
            )
        packed = _holds_bytes(reading, name)
    if packed and options.threshold is not None:
        raise FileError(f"{name} is read as packed bits, which have no ⟦threshold⟧; leave it or ⟦sample_type⟧ out")
    if not packed and options.bit_order is not None:
        raise FileError(f"{name} holds one bit a value ({reading.text}); ⟦bit_order⟧ is of packed bytes, leave it out")
    if options.threshold is not None:
        level, unit, fit = _level(reading, options, unit, factor, written, name)
        shown = format_quantity(level, unit) if unit else f"{level:.6g}{' counts' if reading.words else ''}"
        said += f", threshold {shown}{' (fitted)' if fit is not None else ''}"
        said += "" if unit or reading.words else " in the unit of the file, which is not known"
    elif options.unit is not None:
        raise FileError(f"{name} holds bits, which have no ⟦unit⟧; leave it out, or give a ⟦threshold⟧ too")
    target, bits = scratch.new(), 0
    with target.open("wb") as file:
        if packed:
            for values in reading.blocks():
                data = _as_bytes(values, bits // 8, name)
                bits += 8 * data.size
                file.write(data.tobytes())
        else:
            left = np.empty(0, np.uint8)
            for part in _bits_of(reading, level, factor, unit, name):
                bits += part.size
                part = np.concatenate([left, part])
                whole = part.size // 8 * 8
                file.write(np.packbits(part[:whole]).tobytes())
                left = part[whole:]
            file.write(np.packbits(left).tobytes())
    if not bits:
        raise FileError(f"{name} holds no values; record some bits first")
    order = (options.bit_order or "msb") if packed else None
    if packed:
        said += f", bytes of eight bits, the first the {'highest' if order == 'msb' else 'lowest'}"
    understood = Understood(
        reading.format, bits, said, order, threshold=level, unit="" if level is None else unit, column=reading.column
    )  # fmt: skip
    return BitFile(target, bits, order == "lsb", understood, fit)


def _unit(reading: Reading, options: FileOptions, name: str) -> tuple[str, float, str]:
    """SI unit of the values, the factor that makes SI of them, and the unit as it was written."""
    if options.unit is None:
        return reading.unit, reading.factor, reading.written
    found = unit_of(options.unit)
    assert found is not None
    if reading.unit and reading.written and found != (reading.unit, reading.factor):
        raise FileError(
            f"{name} says that its values are in {reading.written}, not in {options.unit}; leave ⟦unit⟧ out"
        )
    return *found, options.unit


def _level(
    reading: Reading, options: FileOptions, unit: str, factor: float, written: str, name: str
) -> tuple[float, str, TwoPopulations | None]:
    """The threshold in SI, its unit, and the fit that found it."""
    if options.threshold == "fit":
        fit = two_populations(_first(reading, factor, unit, name), unit)
        return fit.threshold, unit, fit
    assert options.threshold is not None
    level: Level = level_of(options.threshold)
    if level.unit and reading.words and not unit:
        raise FileError(f"{name}: raw converter words have no unit; give ⟦threshold⟧ in counts, without a unit")
    if level.unit and unit and level.unit != unit:
        raise FileError(f"{name} holds values in {written}; ⟦threshold⟧ {level.text} is in another unit")
    if not level.unit and factor != 1 and level.value != 0:
        raise FileError(
            f"{name} holds values in {written}, and ⟦threshold⟧ {level.text} has no unit; write ⟦threshold="
            f"{level.text}{written}⟧ if that is meant"
        )
    return level.value, unit or level.unit, None


def _in_si(values: NDArray[Any], factor: float) -> NDArray[np.float64]:
    with np.errstate(all="ignore"):  # signalling NaNs and overflows are refused as what they become
        return values.astype(np.float64) * factor


def _first(reading: Reading, factor: float, unit: str, name: str) -> NDArray[np.float64]:
    parts: list[NDArray[np.float64]] = []
    at = 0
    for values in reading.blocks():
        scaled = _in_si(values, factor)
        _check_measured(scaled, at, unit, name)
        parts.append(scaled)
        at += values.size
        if at >= 4 << 20:
            break
    found = np.concatenate([np.empty(0), *parts])
    return found[:: max(1, found.size // _FITTED)]


def _bits_of(
    reading: Reading, level: float | None, factor: float, unit: str, name: str
) -> Iterator[NDArray[np.uint8]]:  # fmt: skip
    at, ones = 0, 0
    for values in reading.blocks():
        if level is None:
            bad = np.flatnonzero((values != 0) & (values != 1))
            if bad.size:
                value = values[bad[0]]
                shown = repr(chr(int(value) ^ 48)) if reading.format == "text" else value
                raise FileError(
                    f"{name}: value {at + int(bad[0])} is {shown}, which is neither 0 nor 1; for measured values give "
                    "a ⟦threshold⟧ such as 5.4kohm or 0.35V, or ⟦threshold=fit⟧; for bytes of eight bits say "
                    "⟦sample_type=packed⟧ (numbers) or ⟦format=packed⟧ (raw bytes)"
                )
            bits = values.astype(np.uint8)
        else:
            scaled = _in_si(values, factor)
            _check_measured(scaled, at, unit, name)
            bits = (scaled > level).astype(np.uint8)
        at += values.size
        ones += int(bits.sum())
        yield bits
    if level is not None and at and ones in (0, at):
        side = "above" if ones else "below"
        raise FileError(
            f"{name}: all {at} values lie {side} the threshold of {level:g} {unit}".rstrip()
            + "; check the ⟦unit⟧ of the values and the ⟦threshold⟧, or use ⟦threshold=fit⟧"
        )


def _check_measured(values: NDArray[Any], at: int, unit: str, name: str) -> None:
    resistance = unit == "ohm"
    bad = np.flatnonzero(~np.isfinite(values) | (values <= 0) if resistance else ~np.isfinite(values))
    what = "resistance" if resistance else "value"
    if bad.size:
        wanted = "finite and positive" if resistance else "finite"
        shown = f"{values[bad[0]]} {unit}".rstrip()
        raise FileError(
            f"{name}: {what} {at + int(bad[0])} is {shown}; remove values that are not {wanted}, or check the reader"
        )
    middle = float(np.median(values)) if resistance and values.size else 1e3
    if not 1 <= middle <= 1e9:
        raise FileError(
            f"{name}: a median resistance of {middle:.3g} ohm is none of a junction (1 to 1e9 ohm); say the ⟦unit⟧ of "
            "the values, or convert the values to ohm"
        )


def _holds_bytes(reading: Reading, name: str) -> bool:
    """Whether values without a threshold are bytes of eight bits: whole numbers from 0 to 255 without structure."""
    if reading.format in ("bytes", "text"):
        return False
    seen: list[NDArray[np.uint8]] = []
    for values in reading.blocks():
        if values.dtype.kind == "b" or not values.size:
            continue
        if not ((values >= 0) & (values <= 255)).all() or (values != np.floor(values)).any():
            return False
        seen.append(values[: 1 << 16].astype(np.uint8))
        if len(seen) == 4:
            break
    sample = np.concatenate([np.empty(0, np.uint8), *seen])
    if not sample.size or sample.max() <= 1 or (sample.size < _JUDGED and sample.max() < 128):
        return False
    why = f"{sample.size} values are too few to tell" if sample.size < _JUDGED else None
    why = why or content.structure_of_bytes(sample, 0.3) or content.structure(seen)
    if why or sample.max() < 128 <= sample.size:
        raise FileError(
            f"{name} holds whole numbers from 0 to {sample.max()}, which may be bytes of eight bits or measured values "
            f"({why or 'none needs the highest bit'}); say ⟦sample_type=packed⟧, or give a ⟦threshold⟧"
        )
    return True


def _as_bytes(values: NDArray[Any], at: int, name: str) -> NDArray[np.uint8]:
    if values.dtype != np.uint8:
        bad = np.flatnonzero(~((values >= 0) & (values <= 255)) | (values != np.floor(values)))
        if bad.size:
            raise FileError(f"{name}: value {at + int(bad[0])} is {values[bad[0]]}, which is no byte (0 to 255)")
    return values.astype(np.uint8)
