"""Open a recorded file: unpack it, recognise its layout by content, read it, and keep packed bits.

A layout is recognised by content, never by a file's suffix. A content that could be two things is refused with the
arguments that settle it, and a known kind of file or text is never taken for raw bits unless ``format="packed"`` says
so.
"""

from __future__ import annotations

import re
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import parse_json
from voltaspin.core.spec import Spec
from voltaspin.noise.importer import layouts
from voltaspin.noise.importer.containers import unpacked
from voltaspin.noise.importer.options import FileError, FileOptions, Understood
from voltaspin.noise.importer.populations import TwoPopulations
from voltaspin.noise.importer.reading import Content
from voltaspin.noise.importer.values import converted

_SIDECAR_MOST = 16 << 20
_REVERSED: NDArray[np.uint8] = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)), bitorder="little")


class Recording(Spec):
    """The description of a file that :func:`voltaspin.noise.recorder.record` wrote, beside it in ``NAME.json``."""

    KIND: ClassVar[str] = "recording"
    VERSION: ClassVar[int] = 1

    bits: int
    sha256: str
    origin: dict[str, Any]
    command: str | None = None  #: that wrote it, which may write it again with these arguments
    arguments: dict[str, Any] | None = None

    @staticmethod
    def beside(path: Path) -> Path:
        """Return the name of the description of a recording."""
        return path.with_name(f"{path.name}.json")


@dataclass(frozen=True)
class BitFile:
    """Bits of a file, packed with the first one highest or lowest.

    Args:
        path: of the packed bits: the file itself, or a temporary one that goes with this object.
        understood: how the file was read.
        populations: the fit of the threshold, where one was asked for.
        origin: provenance of the source that was recorded, where a description of ours says it.
    """

    path: Path
    understood: Understood
    populations: TwoPopulations | None = None
    origin: dict[str, Any] | None = None

    @property
    def bits(self) -> int:
        """Number of bits."""
        return self.understood.bits

    def read(self, position: int, n: int) -> NDArray[np.uint8] | None:
        """Return the bytes that hold ``n`` bits from ``position`` on, first bit highest; None if the file shrank."""
        first, skip = divmod(position, 8)
        wanted = (skip + n + 7) // 8
        with self.path.open("rb") as file:
            file.seek(first)
            data = np.frombuffer(file.read(wanted), np.uint8)
        if data.size < wanted:
            return None
        return _REVERSED[data] if self.understood.bit_order == "lsb" else data


def open_bits(path: Path, options: FileOptions, *, sha256: str) -> BitFile:
    """Recognise a file and return its bits, in memory that does not grow with it.

    Args:
        path: of the file, not empty.
        options: of the user.
        sha256: of the file, against which a description beside it is checked.

    Raises:
        FileError: not recognised, ambiguous, damaged, or options that do not apply to the content.
    """
    recording, notes = _description(path, options, sha256)
    if recording is not None:
        said = "packed bits as recorded by voltaspin, the first bit of a byte is the highest"
        understood = Understood(format="packed", bits=recording.bits, text=said, bit_order="msb")
        return BitFile(path, understood, origin=recording.origin)
    scratch, populations = tempfile.TemporaryDirectory(prefix="voltaspin-"), None
    try:
        file, containers = unpacked(Content(path, str(path), options), Path(scratch.name, "content"))
        packed = file.path
        reading = layouts.read(file)
        if reading is None:
            order = options.bit_order or "msb"
            said = f"packed bits, the first bit of a byte is the {'highest' if order == 'msb' else 'lowest'}"
            understood = Understood(format="packed", bits=8 * packed.stat().st_size, text=said, bit_order=order)
        else:
            packed = Path(scratch.name, "bits")
            understood, populations = converted(reading, file, packed)
    except BaseException:
        scratch.cleanup()
        raise
    understood = understood.model_copy(update={"containers": containers, "notes": notes})
    found = BitFile(packed, understood, populations)
    if file.path not in (path, packed):
        file.path.unlink()
    if packed == path:
        scratch.cleanup()
    else:
        weakref.finalize(found, scratch.cleanup)
    return found


def _description(path: Path, options: FileOptions, sha256: str) -> tuple[Recording | None, tuple[str, ...]]:
    """The description that :func:`voltaspin.noise.recorder.record` left, and a note where another file has its name."""
    beside = Recording.beside(path)
    if options.format not in (None, "packed") or not beside.is_file():
        return None, ()
    other = (f"{beside.name} is none of ours and was not used",)
    if beside.stat().st_size > _SIDECAR_MOST:
        return None, other
    text = beside.read_bytes().decode("utf-8-sig", "replace")
    ours = all(re.search(key, text) for key in (r'"kind"\s*:\s*"recording"', r'"(?:schema_version|sha256)"\s*:'))
    remedy = "record it again, or remove the description to use the bytes as they are"
    try:
        data = parse_json(text, where=str(beside))
        if not (ours and isinstance(data, dict) and data.get("kind") == Recording.KIND):
            return None, other
        recording = Recording.from_json(data, where=str(beside))
    except InputError as error:
        if ours:
            raise InputError(f"{error}; it describes {path.name}: {remedy}") from None
        return None, other
    size = 8 * path.stat().st_size
    if recording.sha256 != sha256 or not 0 < recording.bits <= size:
        raise InputError(
            f"{beside} describes {recording.bits} bits of another file than {path} (sha256 {recording.sha256[:12]}, "
            f"the file's {sha256[:12]}): it was changed or cut; {remedy}"
        )
    if options.bit_order == "lsb":
        raise FileError(f"{beside} says that the first bit of a byte is the highest; leave ⟦bit_order⟧ out")
    options.check("a recording of packed bits", frozenset({"bit_order"}))
    return recording, ()
