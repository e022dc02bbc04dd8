"""Convert the values of a file to packed bits: thresholds, units, bytes of eight bits, and one bit a value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.units import format_quantity
from voltaspin.noise.importer import content
from voltaspin.noise.importer.options import FileError, Understood, level_of, unit_of
from voltaspin.noise.importer.populations import TwoPopulations, two_populations
from voltaspin.noise.importer.reading import Content, Reading

_FITTED = 200_000  # values that a fit looks at, spread over the first ones read
_JUDGED = 32  # bytes from which it shows whether numbers are packed bits


def converted(reading: Reading, file: Content, target: Path) -> tuple[Understood, TwoPopulations | None]:
    """Write the bits of a reading into ``target``; return how they were read, and the fit of their threshold.

    Raises:
        FileError: options that do not apply, or values that are no bits.
    """
    options, said, level, fit = file.options, reading.text, None, None
    packed = reading.packed or (options.sample_type == "packed" and not reading.words)
    unit, factor, written = _unit(reading, file)
    if not packed and options.threshold is None:
        if reading.words:
            raise FileError(
                f"{file}: raw converter words need a ⟦threshold⟧ above which a bit is 1, or ⟦threshold=fit⟧"
            )
        packed = _holds_bytes(reading, file)
    if packed and options.threshold is not None:
        raise FileError(f"{file} is read as packed bits, which have no ⟦threshold⟧; leave it or ⟦sample_type⟧ out")
    if not packed and options.bit_order is not None:
        raise FileError(f"{file} holds one bit a value ({reading.text}); ⟦bit_order⟧ is of packed bytes, leave it out")
    if options.threshold is not None:
        if options.threshold == "fit":
            fit = two_populations(_first(reading, factor, unit, file), unit)
            level = fit.threshold
        else:
            level, unit = _level(reading, unit, factor, written, file)
        shown = format_quantity(level, unit) if unit else f"{level:.6g}{' counts' if reading.words else ''}"
        said += f", threshold {shown}{' (fitted)' if fit is not None else ''}"
        said += "" if unit or reading.words else " in the unit of the file, which is not known"
    elif options.unit is not None:
        raise FileError(f"{file} holds bits, which have no ⟦unit⟧; leave it out, or give a ⟦threshold⟧ too")
    bits, left = 0, np.empty(0, np.uint8)
    with target.open("wb") as out:
        if packed:
            for values in reading.blocks():
                out.write(_as_bytes(values, bits // 8, file).tobytes())
                bits += 8 * values.size
        else:
            for part in _bits_of(reading, level, factor, unit, file):
                bits += part.size
                part = np.concatenate([left, part])
                complete = part.size // 8 * 8
                out.write(np.packbits(part[:complete]).tobytes())
                left = part[complete:]
            out.write(np.packbits(left).tobytes())
    if not bits:
        raise FileError(f"{file} holds no values; record some bits first")
    order = (options.bit_order or "msb") if packed else None
    if packed:
        said += f", bytes of eight bits, the first the {'highest' if order == 'msb' else 'lowest'}"
    return Understood(
        format=reading.format, bits=bits, text=said, bit_order=order, threshold=level,
        unit="" if level is None else unit, column=reading.column,
    ), fit  # fmt: skip


def _unit(reading: Reading, file: Content) -> tuple[str, float, str]:
    """SI unit of the values, the factor that makes SI of them, and the unit as it was written."""
    given = file.options.unit
    if given is None:
        return reading.unit, reading.factor, reading.written
    found = unit_of(given)
    assert found is not None
    if reading.unit and reading.written and found != (reading.unit, reading.factor):
        raise FileError(f"{file} says that its values are in {reading.written}, not in {given}; leave ⟦unit⟧ out")
    return *found, given


def _level(reading: Reading, unit: str, factor: float, written: str, file: Content) -> tuple[float, str]:
    """The given threshold in SI, and its unit."""
    given = file.options.threshold
    assert given is not None
    level, own = level_of(given)
    shown = given if isinstance(given, str) else f"{given:g}"
    if own and reading.words and not unit:
        raise FileError(f"{file}: raw converter words have no unit; give ⟦threshold⟧ in counts, without a unit")
    if own and unit and own != unit:
        raise FileError(f"{file} holds values in {written}; ⟦threshold⟧ {shown} is in another unit")
    if not own and factor != 1 and level != 0:
        raise FileError(
            f"{file} holds values in {written}, and ⟦threshold⟧ {shown} has no unit; write ⟦threshold="
            f"{shown}{written}⟧ if that is meant"
        )
    return level, unit or own


def _in_si(values: NDArray[Any], factor: float, at: int, unit: str, file: Content) -> NDArray[np.float64]:
    """Measured values in SI; values that no measurement gives are refused."""
    with np.errstate(all="ignore"):  # signalling NaNs and overflows are refused as what they become
        scaled: NDArray[np.float64] = values.astype(np.float64) * factor
    resistance = unit == "ohm"
    bad = np.flatnonzero(~np.isfinite(scaled) | (scaled <= 0) if resistance else ~np.isfinite(scaled))
    if bad.size:
        what, wanted = ("resistance", "finite and positive") if resistance else ("value", "finite")
        shown = f"{scaled[bad[0]]} {unit}".rstrip()
        raise FileError(
            f"{file}: {what} {at + int(bad[0])} is {shown}; remove values that are not {wanted}, or check the reader"
        )
    middle = float(np.median(scaled)) if resistance and scaled.size else 1e3
    if not 1 <= middle <= 1e9:
        raise FileError(
            f"{file}: a median resistance of {middle:.3g} ohm is none of a junction (1 to 1e9 ohm); say the ⟦unit⟧ of "
            "the values, or convert the values to ohm"
        )
    return scaled


def _first(reading: Reading, factor: float, unit: str, file: Content) -> NDArray[np.float64]:
    """Values for a fit: at most so many, from the first four million."""
    parts, at = [np.empty(0)], 0
    for values in reading.blocks():
        parts.append(_in_si(values, factor, at, unit, file))
        at += values.size
        if at >= 4 << 20:
            break
    found = np.concatenate(parts)
    return found[:: max(1, found.size // _FITTED)]


def _bits_of(
    reading: Reading, level: float | None, factor: float, unit: str, file: Content
) -> Iterator[NDArray[np.uint8]]:
    at, ones = 0, 0
    for values in reading.blocks():
        if level is None:
            bad = np.flatnonzero((values != 0) & (values != 1))
            if bad.size:
                value = values[bad[0]]
                shown = repr(chr(int(value) ^ 48)) if reading.format == "text" else value
                raise FileError(
                    f"{file}: value {at + int(bad[0])} is {shown}, which is neither 0 nor 1; for measured values give "
                    "a ⟦threshold⟧ such as 5.4kohm or 0.35V, or ⟦threshold=fit⟧; for bytes of eight bits say "
                    "⟦sample_type=packed⟧ (numbers) or ⟦format=packed⟧ (raw bytes)"
                )
            bits = values.astype(np.uint8)
        else:
            bits = (_in_si(values, factor, at, unit, file) > level).astype(np.uint8)
        at += values.size
        ones += int(bits.sum())
        yield bits
    if level is not None and at and ones in (0, at):
        side = "above" if ones else "below"
        raise FileError(
            f"{file}: all {at} values lie {side} the threshold of {level:g} {unit}".rstrip()
            + "; check the ⟦unit⟧ of the values and the ⟦threshold⟧, or use ⟦threshold=fit⟧"
        )


def _holds_bytes(reading: Reading, file: Content) -> bool:
    """Whether values without a threshold are bytes of eight bits: whole numbers from 0 to 255 without structure."""
    if reading.format in ("bytes", "text"):
        return False
    seen: list[NDArray[np.uint8]] = []
    for values in reading.blocks():
        if values.dtype.kind == "b" or not values.size:
            continue
        if _no_bytes(values).size:
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
            f"{file} holds whole numbers from 0 to {sample.max()}, which may be bytes of eight bits or measured values "
            f"({why or 'none needs the highest bit'}); say ⟦sample_type=packed⟧, or give a ⟦threshold⟧"
        )
    return True


def _no_bytes(values: NDArray[Any]) -> NDArray[np.int64]:
    """Places of values that are no whole numbers from 0 to 255."""
    return np.flatnonzero(~((values >= 0) & (values <= 255)) | (values != np.floor(values)))


def _as_bytes(values: NDArray[Any], at: int, file: Content) -> NDArray[np.uint8]:
    if values.dtype != np.uint8 and (bad := _no_bytes(values)).size:
        raise FileError(f"{file}: value {at + int(bad[0])} is {values[bad[0]]}, which is no byte (0 to 255)")
    return values.astype(np.uint8)
