"""Compressed files: opened into a temporary file when they hold one recording, within a bound on its size."""

from __future__ import annotations

import bz2
import errno
import lzma
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from voltaspin.noise.importer.options import FileError

_BLOCK = 1 << 20
FLOOR = 64 << 20  #: bytes that any container may expand to
RATIO = 64  #: times its own size that a container may expand to: text of 0 and 1 shrinks to a seventh, tables less
_LZMA_MEMORY = 256 << 20


def most(size: int) -> int:
    """Bytes that a container of ``size`` bytes may expand to."""
    return max(FLOOR, RATIO * size)


class Scratch:
    """Temporary files that are removed together."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="voltaspin-")
        self._made = 0

    def new(self) -> Path:
        """A path for another file."""
        self._made += 1
        return Path(self._folder.name) / f"part-{self._made}"

    def close(self) -> None:
        self._folder.cleanup()


def opened(path: Path, kind: str, scratch: Scratch, name: str, column: str | int | None) -> tuple[Path, str]:
    """What a container holds, as a file: its path, and the name of the member of a zip archive, else an empty text.

    Args:
        path: of the container.
        kind: ``gzip``, ``bz2``, ``xz`` or ``zip``.
        scratch: where it is expanded.
        name: of the file, for the messages.
        column: picks an array of an ``.npz`` file.

    Raises:
        FileError: damaged, more than one file inside, or larger than :func:`most`.
    """
    inside = scratch.new()
    limit = most(path.stat().st_size)
    try:
        with _stream(path, kind, name, column) as (stream, member), inside.open("wb") as file:
            total = 0
            while block := stream.read(_BLOCK):
                total += len(block)
                if total > limit:
                    raise FileError(
                        f"{name} expands to more than {limit} bytes, {RATIO} times its own size, as no recording does; "
                        "unpack it and give the file inside"
                    )
                file.write(block)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, ValueError,
            RuntimeError) as error:  # fmt: skip
        if isinstance(error, FileError):
            raise
        # a damaged directory of a zip file seeks before its beginning; any other number is the disk's
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise FileError(
            f"{name} begins as a {kind} file and cannot be unpacked ({error or 'it ends too early'}): it is cut or "
            "damaged; copy it again, or say ⟦format=packed⟧ if its bytes are raw bits"
        ) from None
    return inside, member


@contextmanager
def _stream(path: Path, kind: str, name: str, column: str | int | None) -> Iterator[tuple[IO[bytes], str]]:
    if kind == "zip":
        with zipfile.ZipFile(path) as archive:
            member = _member(archive, name, column)
            with archive.open(member) as stream:
                yield stream, member.filename
        return
    if kind == "xz":
        # lzma.open has no bound on memory: a hostile header asks for 4 GB
        with path.open("rb") as raw:
            yield _Xz(raw), ""  # type: ignore[misc]
        return
    opener: Any = bz2.open
    if kind == "gzip":
        import gzip

        opener = gzip.open
    with opener(path, "rb") as stream:
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


def _member(archive: zipfile.ZipFile, name: str, column: str | int | None) -> zipfile.ZipInfo:
    found = [
        m
        for m in archive.infolist()
        if not m.is_dir()
        and not m.filename.startswith("__MACOSX/")
        and not PurePosixPath(m.filename).name.startswith(".")
    ]
    names = [m.filename for m in found]
    if "[Content_Types].xml" in names or "mimetype" in names:
        raise FileError(f"{name} is a spreadsheet or another office document; export the recording as CSV")
    arrays = bool(found) and all(n.endswith(".npy") for n in names)
    if arrays and isinstance(column, str):
        chosen = [m for m in found if m.filename in (column, f"{column}.npy")]
        if not chosen and len(found) > 1:
            raise FileError(f"{name} has no array {column!r}; it holds {_listed([n[:-4] for n in names])}")
        found = chosen or found
    if len(found) != 1:
        if arrays:
            raise FileError(
                f"{name} holds {len(found)} arrays ({_listed([n[:-4] for n in names])}); say which one with ⟦column⟧"
            )
        raise FileError(f"{name} holds {len(found)} files ({_listed(names)}); unpack it and give one of them")
    if found[0].flag_bits & 1:
        raise FileError(f"{name} is encrypted; unpack it and give the file inside")
    return found[0]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") or "none"
