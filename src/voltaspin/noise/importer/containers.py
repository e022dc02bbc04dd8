"""Compressed files: opened into a temporary file when they hold one recording, within a bound on its size."""

from __future__ import annotations

import bz2
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

from voltaspin.noise.importer.content import beginning, foreign
from voltaspin.noise.importer.options import FileError
from voltaspin.noise.importer.reading import Content

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
            "damaged; copy it again, or say ⟦format=packed⟧ if its bytes are raw bits"
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
            raise FileError(f"{file} holds {len(found)} arrays ({listed}); say which one with ⟦column⟧")
        raise FileError(f"{file} holds {len(found)} files ({listed}); unpack it and give one of them")
    (member,) = found.values()
    if member.flag_bits & 1:
        raise FileError(f"{file} is encrypted; unpack it and give the file inside")
    return member
