"""The one importer of recorded bits: what a laboratory writes down becomes packed bits, and one line says how.

A format is recognised by content, never by its suffix. What could be two things is refused with the arguments that
settle it, and a known kind of file or text is never taken for raw bits unless ``format="packed"`` says so.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import parse_json
from voltaspin.core.spec import Spec
from voltaspin.core.units import format_quantity
from voltaspin.noise import array_files, content, table_files, text_files
from voltaspin.noise.containers import Scratch, opened
from voltaspin.noise.file_options import FileError, FileOptions, Level, Understood, level_of, unit_of
from voltaspin.noise.populations import TwoPopulations, two_populations
from voltaspin.noise.text_files import Reading, Text

_FITTED = 200_000  # values that a fit looks at, spread over the first ones read
_JUDGED = 32  # bytes from which it shows whether numbers are packed bits
_SIDECAR_MOST = 16 << 20


class Recording(Spec):
    """What stands beside a file that :func:`voltaspin.noise.recorder.record` wrote, in ``NAME.json``."""

    KIND: ClassVar[str] = "recording"
    VERSION: ClassVar[int] = 1

    bits: int
    sha256: str
    origin: dict[str, Any]

    @staticmethod
    def beside(path: Path) -> Path:
        """The name of the description of a recording."""
        return path.with_name(f"{path.name}.json")


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


def open_bits(path: Path, options: FileOptions, *, sha256: str, name: str | None = None) -> BitFile:
    """Recognise a file and give its bits, in memory that does not grow with it.

    Args:
        path: of the file, not empty.
        options: what is said of it.
        sha256: of the file, against which a description beside it is checked.
        name: for the messages; default: the path.

    Raises:
        FileError: not recognised, ambiguous, damaged, or options that do not apply to what was found.
    """
    name = name or str(path)
    recording, notes = _description(path, options, sha256)
    if recording is not None:
        said = "packed bits as recorded by voltaspin, the first bit of a byte is the highest"
        understood = Understood("packed", recording.bits, said, "msb")
        return BitFile(path, recording.bits, False, understood, origin=recording.origin)
    scratch = Scratch()
    try:
        inner, containers, member = _unpacked(path, options, scratch, name)
        reading = _recognised(inner, member, options, name)
        if reading is None:
            _check_uses(options, "packed bits", frozenset({"format", "bit_order", "n_cells"}))
            found = _packed(inner, options)
        else:
            found = _converted(reading, options, scratch, name)
    except BaseException:
        scratch.close()
        raise
    if inner not in (path, found.path):
        inner.unlink()
    if found.path == path:
        scratch.close()
    else:
        weakref.finalize(found, scratch.close)
    object.__setattr__(found, "understood", replace(found.understood, containers=containers, notes=notes))
    return found


# A description beside the file


def _description(path: Path, options: FileOptions, sha256: str) -> tuple[Recording | None, tuple[str, ...]]:
    """The description that :func:`voltaspin.noise.recorder.record` left, and a note where another file has its name."""
    beside = Recording.beside(path)
    if options.format not in (None, "packed") or not beside.is_file():
        return None, ()
    other = (f"{beside.name} is none of ours and was not used",)
    if beside.stat().st_size > _SIDECAR_MOST:
        return None, other
    text = beside.read_bytes().decode("utf-8-sig", "replace")
    ours = re.search(r'"kind"\s*:\s*"recording"', text) is not None
    ours = ours and re.search(r'"(?:schema_version|sha256)"\s*:', text) is not None
    remedy = "record it again, or remove the description to use the bytes as they are"
    try:
        data = parse_json(text, where=str(beside))
    except InputError as error:
        if ours:
            raise InputError(f"{error}; it describes {path.name}: {remedy}") from None
        return None, other
    if not (ours and isinstance(data, dict) and data.get("kind") == Recording.KIND):
        return None, other
    try:
        recording = Recording.from_json(data, where=str(beside))
    except InputError as error:
        raise InputError(f"{error}; it describes {path.name}: {remedy}") from None
    size = 8 * path.stat().st_size
    if recording.sha256 != sha256 or not 0 < recording.bits <= size:
        raise InputError(
            f"{beside} describes {recording.bits} bits of another file than {path} (sha256 {recording.sha256[:12]}, "
            f"the file's {sha256[:12]}): it was changed or cut; {remedy}"
        )
    if options.bit_order == "lsb":
        raise FileError(f"{beside} says that the first bit of a byte is the highest; leave ⟦bit_order⟧ out")
    _check_uses(options, "a recording of packed bits", frozenset({"format", "bit_order", "n_cells"}))
    return recording, ()


# Recognition


def _unpacked(
    path: Path, options: FileOptions, scratch: Scratch, name: str
) -> tuple[Path, tuple[str, ...], str]:  # fmt: skip
    """The file inside the container, the container's kind, and the name of its member."""
    if options.format in ("packed", "bytes", "samples"):
        return path, (), ""
    found = content.signature(path)
    if found is None or found[1] not in ("gzip", "bz2", "xz", "zip"):
        return path, (), ""
    inner, member = opened(path, found[1], scratch, name, options.column)
    if not inner.stat().st_size:
        raise FileError(f"{name} holds an empty file; record some bits first")
    again = content.signature(inner)
    if again is not None and again[1] in ("gzip", "bz2", "xz", "zip", ""):
        raise FileError(f"{name} holds a {again[0]} file; unpack it and give the recording inside")
    if member.endswith(".npy"):
        return inner, (), member
    return inner, (f"{found[0]}{f' ({member})' if member else ''}",), ""


def _recognised(path: Path, member: str, options: FileOptions, name: str) -> Reading | None:
    """What reads the content; None for packed bits."""
    format = options.format
    if format == "packed":
        return None
    if format == "bytes":
        return _bytes(path)
    if format == "samples":
        return array_files.read_samples(path, name, options)
    found = content.signature(path)
    if found is not None:
        return _of_kind(path, found, member, options, name)
    head, parts = content.looks(path)
    if format in ("npy", "npz", "mat", "hdf5"):
        raise FileError(f"{name} does not begin as a {format} file; leave ⟦format⟧ out to have it recognised")
    encoding = content.encoding_of(head.tobytes())
    if encoding is None and format is not None:
        encoding = ("utf-8", 0)
    if encoding is not None:
        text = Text(path, *encoding)
        if format is not None or encoding[1] or all(content.is_text(p) for p in parts):
            return _of_text(text, options, name)
    if options.sample_type not in (None, "packed"):
        return array_files.read_samples(path, name, options)
    if all((p <= 1).all() for p in parts) and any(p.any() for p in parts):
        return _bytes(path)
    if options.bit_order is None and (options.n_cells or 1) == 1 and (seen := content.structure(parts)):
        raise FileError(
            f"{name} does not look like packed bits: {seen}. Say ⟦format=packed⟧ if it is, ⟦format=bytes⟧ for one bit "
            "a byte, ⟦sample_type=int16⟧ (or another type) and ⟦threshold⟧ for converter words, or ⟦n_cells⟧ for cells "
            "that were read in turn"
        )
    return None


def _of_kind(path: Path, found: tuple[str, str], member: str, options: FileOptions, name: str) -> Reading:
    title, opener = found
    if options.format not in (
        None,
        opener,
        *(("npz",) if opener == "npy" else ()),
        *(("mat",) if opener == "hdf5" else ()),
    ):
        raise FileError(f"{name} begins as a {title} file, not as {options.format}; say ⟦format=packed⟧ for raw bits")
    if opener == "npy":
        return array_files.read_npy(path, name, options, array=member[:-4])
    if opener == "mat":
        return array_files.read_mat(path, name, options)
    if opener == "hdf5":
        return array_files.read_hdf5(path, name, options)
    raise FileError(
        f"{name} begins as a {title} file, which is not opened; export the recording as CSV, .npy or text, or say "
        "⟦format=packed⟧ if its bytes are raw bits"
    )


def _of_text(text: Text, options: FileOptions, name: str) -> Reading:
    format: str | None = options.format
    table_asked = {"column", "delimiter", "decimal", "skip_rows"} & set(options.given())
    if format is None:
        blocks = text_files.without_comments(text.blocks())
        sample = next((b for b in blocks if b.strip()), b"")[: 1 << 16]
        format = text_files.recognised(sample)
        single = all(len(token) == 1 for token in sample.replace(b",", b" ").replace(b";", b" ").split())
        if format == "text" and single and (table_asked or options.threshold is not None):
            format = None  # a table of 0 and 1
    if format == "text":
        return text_files.read_bits(text)
    if format == "hex":
        return text_files.read_hex(text, name)
    if format == "base64":
        return text_files.read_base64(text, name)
    if format == "json":
        return text_files.read_json(text, name, options)
    if format == "csv" or table_asked or table_files.is_table(text, options):
        return table_files.read_table(text, name, options)
    sample = next(iter(text.blocks()), b"")[:40]
    shown = sample.decode("ascii", "replace")
    raise FileError(
        f"{name} is text that is neither 0 and 1, numbers, hexadecimal, base64 nor JSON: {shown!r}; name its form with "
        "⟦format⟧ (text, hex, base64, json or csv), or say ⟦format=packed⟧ if its bytes are raw bits"
    )


def _bytes(path: Path) -> Reading:
    def blocks() -> Iterator[NDArray[np.uint8]]:
        with path.open("rb") as file:
            while block := file.read(array_files.VALUES):
                yield np.frombuffer(block, np.uint8)

    return Reading("bytes", blocks, "one bit a byte, 0 or 1", frozenset({"format", "n_cells"}))


def _check_uses(options: FileOptions, found: str, uses: frozenset[str]) -> None:
    other = [n for n in options.given() if n not in uses]
    if other:
        marked = " and ".join(f"⟦{n}⟧" for n in other)
        rest = f"leave {'it' if len(other) == 1 else 'them'} out, or say another ⟦format⟧"
        raise FileError(f"{marked} cannot be used: the file was recognised as {found}; {rest}")


# From values to bits


def _packed(path: Path, options: FileOptions) -> BitFile:
    order = options.bit_order or "msb"
    bits = 8 * path.stat().st_size
    place = "highest" if order == "msb" else "lowest"
    understood = Understood("packed", bits, f"packed bits, the first bit of a byte is the {place}", order)
    return BitFile(path, bits, order == "lsb", understood)


def _converted(reading: Reading, options: FileOptions, scratch: Scratch, name: str) -> BitFile:
    packed = reading.packed or (options.sample_type == "packed" and not reading.words)
    said, level, fit = reading.text, None, None
    _check_uses(options, reading.text, reading.uses)
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


def _first(reading: Reading, factor: float, unit: str, name: str) -> NDArray[np.float64]:
    parts: list[NDArray[np.float64]] = []
    at = 0
    for values in reading.blocks():
        _check_measured(values * factor, at, unit, name)
        parts.append(values.astype(np.float64) * factor)
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
            scaled = values.astype(np.float64) * factor
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
    why = content.structure(seen) if sample.size >= _JUDGED else f"{sample.size} values are too few to tell"
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
