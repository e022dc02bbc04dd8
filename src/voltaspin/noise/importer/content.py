"""Look at bytes: tell a known kind of file, text, one bit a byte, converter words and packed bits apart, and unpack.

Packed bits have no mark of their own, so a file counts as packed only where nothing else is seen in it. These are seen:
the first bytes of known kinds of files; characters of text; bytes of 0 and 1; and, in samples from the whole file, the
structure of numbers, which bits of a physical source do not have: a place in every byte or word that never changes, or
neighbouring places that depend on each other more than others do.

Compressed files are opened into a temporary file when they hold one recording, within a bound on its size.
"""

from __future__ import annotations

import bz2
import codecs
import errno
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.noise.importer.reading import Content, FileError

_HEAD = 1 << 16  # bytes looked at from the beginning
_WINDOW = 1 << 14  # bytes of each further look
_LOOKS = 7

#: First bytes of kinds of files that are not opened, and their names.
FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\x28\xb5\x2f\xfd", "Zstandard"), (b"\x04\x22\x4d\x18", "LZ4"), (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (b"Rar!\x1a\x07", "RAR"), (b"\x89PNG\r\n\x1a\n", "PNG"), (b"\xff\xd8\xff\xe0", "JPEG"),
    (b"\xff\xd8\xff\xe1", "JPEG"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"), (b"\x7fELF", "ELF"),
    (b"SQLite format 3\x00", "SQLite"), (b"%PDF-", "PDF"), (b"RIFF", "RIFF (AVI)"), (b"PAR1", "Parquet"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Office (XLS)"), (b"II*\x00", "TIFF"), (b"MM\x00*", "TIFF"),
    (b"TDSm", "TDMS"), (b"ARROW1", "Arrow"), (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"), (b"fLaC", "FLAC"),
    (b"OggS", "Ogg"), (b"AG10", "Keysight binary waveform"), (b"AG01", "Keysight binary waveform"),
    (b"AG03", "Keysight binary waveform"), (b"RG01", "Rigol binary waveform"), (b"RG03", "Rigol binary waveform"),
    (b"\xa5\xa5\x00\x00", "Rigol waveform"), (b":WFM#", "Tektronix waveform"), (b"WAVEDESC", "LeCroy waveform"),
)  # fmt: skip

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF32_LE, "utf-32-le"), (codecs.BOM_UTF32_BE, "utf-32-be"),
         (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))  # fmt: skip


def beginning(path: Path) -> bytes:
    """Return the first bytes of a file, enough for every mark."""
    with path.open("rb") as file:
        return file.read(1024)


def foreign(path: Path) -> str | None:
    """Return the name of a known kind of file that is not opened; None for any other content."""
    head, size = beginning(path), path.stat().st_size
    for first, name in FOREIGN:
        if head.startswith(first) and head[8:12] != b"WAVE":
            return name
    if head[257:262] == b"ustar":
        return "tar"
    if b"WAVEDESC" in head[:64]:
        return "LeCroy waveform"
    if head[3:8] == b":WFM#" or head.startswith((b"\x0f\x0f:WFM", b"\xf0\xf0:WFM")) or b":CURV" in head:
        return "Tektronix waveform"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05" and size > 8:
        with path.open("rb") as file:
            file.seek(-1, 2)
            if file.read(1) == b".":
                return "Python pickle"
    if head[:1] == b"#" and head[1:2].isdigit() and head[1:2] != b"0":
        digits = head[2 : 2 + int(head[1:2])]
        if digits.isdigit() and abs(size - 2 - len(digits) - int(digits)) <= 2:
            return "IEEE 488.2 block of an instrument"
    return None


def looks(path: Path) -> tuple[NDArray[np.uint8], list[NDArray[np.uint8]]]:
    """Return the beginning of a file, and further looks into it up to its end, each from a multiple of 128 bytes on."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = np.frombuffer(file.read(_HEAD), np.uint8)
        parts = [head]
        for k in range(1, _LOOKS + 1):
            at = max(0, (size - _WINDOW) * k // _LOOKS) // 128 * 128
            if at >= _HEAD:
                file.seek(at)
                parts.append(np.frombuffer(file.read(_WINDOW), np.uint8))
    return head, parts


def encoding_of(head: bytes) -> tuple[str, int] | None:
    """Return the encoding of a text and the length of its mark; None where the bytes are no text."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            # packed bits begin with two bytes of a mark too, once in 2^16, and more often where they are biased
            text = head[len(mark) : len(mark) + 4096 // 4 * 4].decode(name, "replace").encode("ascii", "replace")
            if is_text(np.frombuffer(text, np.uint8)) and text.count(b"?") <= 0.1 * len(text):
                return name, len(mark)
    if is_text(np.frombuffer(head, np.uint8)):
        return "utf-8", 0
    return None


def is_text(data: NDArray[np.uint8]) -> bool:
    """Whether bytes are characters: no control characters, and nine in ten of ASCII."""
    if data.size < 4:  # three random bytes are printable in one of twenty cases
        return bool(data.size) and bool(np.isin(data, np.frombuffer(b"01 \t\r\n", np.uint8)).all())
    control = (data < 32) & ~((data >= 9) & (data <= 13)) & (data != 26)
    if (control | (data == 127)).any():
        return False
    return bool(np.count_nonzero(data < 128) >= 0.9 * data.size)


def structure(parts: list[NDArray[np.uint8]]) -> str | None:
    """Return the evidence that bytes are numbers and not eight independent bits each; None where there is none.

    Bits of a physical source may be biased, may depend on those before, and may come from cells in turn with a bias of
    their own. Then places in a word differ in their mean, but two neighbouring places depend on each other as much as
    any other two. In numbers the high places depend on each other (sign, exponent, a narrow range) and the low ones do
    not.

    Args:
        parts: looks into the bytes, each from a multiple of 128 bytes on.
    """
    # Means are taken away place by place, over a row as long as the looks allow: cells in turn up to that many
    for size in (128, 64, 32, 16, 8):
        rows = np.concatenate([p[: p.size // size * size].reshape(-1, size) for p in parts])
        rows = rows[(rows != rows[:, :1]).any(axis=1)]  # a stretch of a dead source says nothing
        if len(rows) >= 100:
            break
    else:
        return structure_of_bytes(np.concatenate(parts), 0.6)
    bits = np.unpackbits(rows, axis=1)
    mean = bits.mean(axis=0)
    words = len(rows) * size // 8
    if ((mean == 0) | (mean == 1)).all():  # a source that repeats itself exactly
        return None
    places = mean.reshape(-1, 64).mean(axis=0)
    still = (places == 0) | (places == 1)
    ones = float(places.mean())
    # a cell may stick nearly always; that it never moves in so many words is no chance
    share = max(0.97, ones, 1 - ones)
    if still.any() and not still.all() and share < 1 and still.sum() * words * np.log(share) < np.log(1e-9):
        return f"{int(still.sum())} of every 64 bits never change"
    spread = np.sqrt(mean * (1 - mean))
    z = (bits - mean) / np.where(spread > 0, spread, 1.0)
    for lag, what in (
        (1, "neighbouring bits"), (8, "bits a byte apart"), (16, "bits two bytes apart"), (32, "bits four bytes apart"),
    ):  # fmt: skip
        r = np.einsum("ij,ij->j", z[:, :-lag], z[:, lag:]) / len(rows)
        place = np.arange(r.size) % 64
        moving = (spread[:-lag] > 0) & (spread[lag:] > 0)
        count = np.bincount(place[moving], minlength=64)
        found = (np.bincount(place[moving], r[moving], 64) / np.maximum(count, 1))[count > 0]
        if found.size and np.abs(found - np.median(found)).max() > max(0.3, 8 / np.sqrt(words)):
            return f"{what} depend on each other at some places of a word and not at others"
    return None


def structure_of_bytes(data: NDArray[np.uint8], least: float) -> str | None:
    """As :func:`structure` for few bytes, by the places within a byte alone.

    Args:
        data: bytes that follow each other.
        least: difference between the correlations of neighbours that counts; cells in turn with a bias of their own
            share places and reach 0.5.
    """
    if data.size < 64 or (data == data[0]).all():
        return None
    bits = np.unpackbits(data[:, None], axis=1)
    mean = bits.mean(axis=0)
    spread = np.sqrt(mean * (1 - mean))
    still = spread == 0
    if still.sum() * data.size * np.log(max(0.97, mean.mean(), 1 - mean.mean())) < np.log(1e-9):
        return f"{int(still.sum())} of the 8 bits of every byte never change"
    z = (bits - mean) / np.where(still, 1.0, spread)
    r = np.append((z[:, :-1] * z[:, 1:]).mean(axis=0), (z[:-1, -1] * z[1:, 0]).mean())
    r = r[~(still | np.roll(still, -1))]
    if r.size and np.abs(r - np.median(r)).max() > max(least, 8 / np.sqrt(data.size)):
        return "neighbouring bits depend on each other at some places of a byte and not at others"
    return None


def is_nearly_text(parts: list[NDArray[np.uint8]]) -> bool:
    """Whether nine in ten bytes are printable, as of a text with some control characters."""
    data = np.concatenate(parts)
    printable = np.count_nonzero(((data >= 32) & (data < 127)) | ((data >= 9) & (data <= 13)))
    return bool(data.size >= 16 and printable >= 0.9 * data.size)


_BLOCK = 1 << 20
FLOOR = 64 << 20  #: bytes that any container may expand to
RATIO = 64  #: times its own size that a container may expand to: text of 0 and 1 shrinks to a seventh, tables less
_LZMA_MEMORY = 256 << 20
_KINDS: dict[str, tuple[bytes, ...]] = {
    "gzip": (b"\x1f\x8b\x08",), "bz2": (b"BZh",), "xz": (b"\xfd7zXZ\x00",), "zip": (b"PK\x03\x04", b"PK\x05\x06"),
}  # fmt: skip


def most(size: int) -> int:
    """Return the bytes that a container of ``size`` bytes may expand to."""
    return max(FLOOR, RATIO * size)


def kind_of(beginning: bytes) -> str | None:
    """Return the kind of container that begins so, or None."""
    found = next((kind for kind, first in _KINDS.items() if beginning.startswith(first)), None)
    return None if found == "bz2" and not beginning[3:4].isdigit() else found


def unpacked(file: Content, inside: Path) -> tuple[Content, tuple[str, ...]]:
    """Return the content of a container, in a temporary file, and the container in words; any other file as it is.

    Args:
        file: as the user gave it.
        inside: temporary file into which it is expanded.

    Raises:
        FileError: damaged, more than one file inside, empty, another container inside, or larger than :func:`most`.
    """
    kind = None if file.options.format == "packed" else kind_of(beginning(file.path))
    if kind is None:
        return file, ()
    limit = most(file.path.stat().st_size)
    try:
        with _stream(file, kind) as (stream, member), inside.open("wb") as out:
            total = 0
            while block := stream.read(_BLOCK):
                total += len(block)
                if total > limit:
                    raise FileError(
                        f"{file} expands to more than {limit} bytes, {RATIO} times its own size, as no recording does; "
                        "unpack it and give the file inside"
                    )
                out.write(block)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, ValueError,
            RuntimeError) as error:  # fmt: skip
        if isinstance(error, FileError):
            raise
        # a damaged directory of a zip file seeks before its beginning; any other number is the disk's
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise FileError(
            f"{file} begins as a {kind} file and cannot be unpacked ({error or 'it ends too early'}): it is cut or "
            "damaged; copy it again, or say format='packed' if its bytes are raw bits"
        ) from None
    if not total:
        raise FileError(f"{file} holds an empty file; record some bits first")
    if again := kind_of(beginning(inside)) or foreign(inside):
        raise FileError(f"{file} holds a {again} file; unpack it and give the recording inside")
    found = replace(file, path=inside, member=member)
    if member.endswith(".npy"):  # numpy.savez wrote the container, and the reader names the array
        return found, ()
    return found, (f"{'bzip2' if kind == 'bz2' else kind}{f' ({member})' if member else ''}",)


@contextmanager
def _stream(file: Content, kind: str) -> Iterator[tuple[Any, str]]:
    if kind == "zip":
        with zipfile.ZipFile(file.path) as archive:
            member = _member(archive, file)
            with archive.open(member) as stream:
                yield stream, member.filename
    elif kind == "xz":
        # lzma.open has no bound on memory: a hostile header asks for 4 GB
        with file.path.open("rb") as raw:
            yield _Xz(raw), ""
    else:
        with (gzip.open if kind == "gzip" else bz2.open)(file.path, "rb") as stream:
            yield stream, ""


class _Xz:
    """Reads one xz stream or several, with a bound on the decoder's memory."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self._decoder = raw, self._new()

    @staticmethod
    def _new() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_LZMA_MEMORY)

    def read(self, size: int) -> bytes:
        while True:
            if self._decoder.eof:
                rest = self._decoder.unused_data.lstrip(b"\0") or self._raw.read(_BLOCK).lstrip(b"\0")
                if not rest:
                    return b""
                self._decoder = self._new()
                data = self._decoder.decompress(rest, size)
            elif self._decoder.needs_input:
                if not (more := self._raw.read(_BLOCK)):
                    raise EOFError("it ends too early")
                data = self._decoder.decompress(more, size)
            else:
                data = self._decoder.decompress(b"", size)
            if data:
                return data


def _member(archive: zipfile.ZipFile, file: Content) -> zipfile.ZipInfo:
    found = {
        m.filename: m
        for m in archive.infolist()
        if not m.is_dir()
        and not m.filename.startswith("__MACOSX/")
        and not PurePosixPath(m.filename).name.startswith(".")
    }
    if "[Content_Types].xml" in found or "mimetype" in found:
        raise FileError(f"{file} is a spreadsheet or another office document; export the recording as CSV")
    arrays, column = bool(found) and all(n.endswith(".npy") for n in found), file.options.column
    listed = ", ".join(n[:-4] if arrays else n for n in list(found)[:8]) + (", ..." if len(found) > 8 else "") or "none"
    if arrays and isinstance(column, str):
        chosen = {n: m for n, m in found.items() if n in (column, f"{column}.npy")}
        if not chosen and len(found) > 1:
            raise FileError(f"{file} has no array {column!r}; it holds {listed}")
        found = chosen or found
    if len(found) != 1:
        if arrays:
            raise FileError(f"{file} holds {len(found)} arrays ({listed}); say which one with column=")
        raise FileError(f"{file} holds {len(found)} files ({listed}); unpack it and give one of them")
    (member,) = found.values()
    if member.flag_bits & 1:
        raise FileError(f"{file} is encrypted; unpack it and give the file inside")
    return member
