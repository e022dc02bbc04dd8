"""Open a recorded file: unpack it, recognise its layout by content, read it, and keep packed bits.

A layout is recognised by content, never by a file's suffix. A content that could be two things is refused with the
arguments that resolve it, and a known kind of file or text is never taken for raw bits unless ``format="packed"`` says
so. To add a layout, write its reader and add its line to :data:`LAYOUTS`.
"""

from __future__ import annotations

import re
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import parse_json
from voltaspin.core.spec import Spec
from voltaspin.noise.importer import content, readers, words
from voltaspin.noise.importer.content import unpacked
from voltaspin.noise.importer.reading import Content, FileError, FileOptions, Reading, Understood
from voltaspin.noise.importer.table import NoTableError, read_table
from voltaspin.noise.importer.values import TwoPopulations, converted

_TABLE = frozenset({"column", "time_column", "delimiter", "decimal", "skip_rows"})
PACKED = frozenset({"bit_order"})
_VALUES = frozenset({"threshold", "unit", "column", "sample_type", "bit_order"})
_WORDS = frozenset({"threshold", "unit", "column", "sample_type", "byte_order", "channels", "header_bytes"})


@dataclass(frozen=True)
class Layout:
    """One layout of bits or values in a file.

    Args:
        read: from the content to a reading.
        takes: options that apply to it, besides ``format`` and ``n_cells``.
        begins: first bytes, of a layout with a mark of its own; after: what stands eight bytes later.
        title: name of the kind of file that begins so.
        seen: of a text: whether its first characters, comments left out, are of this layout.
        also: further values of ``format`` under which it is read.
        endless: whether a stream may have it, which is read as it arrives.
    """

    read: Callable[[Content], Reading]
    takes: frozenset[str] = frozenset()
    begins: tuple[bytes, ...] = ()
    after: bytes = b""
    title: str = ""
    seen: Callable[[bytes], bool] | None = None
    also: tuple[str, ...] = ()
    endless: bool = False


LAYOUTS = {
    "npy": Layout(readers.read_npy, _VALUES, (b"\x93NUMPY",), title="NumPy", also=("npz",)),
    "hdf5": Layout(readers.read_hdf5, _VALUES, (b"\x89HDF\r\n\x1a\n", b"MATLAB 7.3"), title="HDF5", also=("mat",)),
    "mat": Layout(readers.read_mat, _VALUES, (b"MATLAB 5.0",), title="MATLAB 5"),
    "wav": Layout(words.read_wav, frozenset({"threshold", "unit", "column"}), (b"RIFF", b"RF64"), b"WAVE", "WAV"),
    "text": Layout(readers.read_bits, seen=readers.is_bits, endless=True),
    "json": Layout(readers.read_json, _VALUES, seen=lambda sample: sample.lstrip()[:1] in (b"[", b"{")),
    "hex": Layout(readers.read_hex, PACKED, seen=readers.is_hex, endless=True),
    "base64": Layout(readers.read_base64, PACKED, seen=readers.is_base64, endless=True),
    "csv": Layout(read_table, _VALUES | _TABLE, endless=True),  # any other text with rows of numbers
    "bytes": Layout(words.read_bytes, endless=True),
    "samples": Layout(words.read_samples, _WORDS, endless=True),
}


def read(file: Content) -> Reading | None:
    """Recognise a content and read it; None for packed bits.

    Raises:
        FileError: not recognised, ambiguous, damaged, or options that do not apply to it.
    """
    name, file = recognised(file)
    if name is None:
        file.options.check("packed bits", PACKED)
        return None
    reading = LAYOUTS[name].read(file)
    file.options.check(reading.text, LAYOUTS[name].takes)
    return reading


def recognised(file: Content) -> tuple[str | None, Content]:
    """Name of the layout, None for packed bits, and the content, with its encoding where it is a text."""
    options, asked = file.options, file.options.format
    if asked in ("packed", "bytes", "samples"):
        return (None if asked == "packed" else asked), file
    beginning = content.beginning(file.path)
    for name, layout in LAYOUTS.items():
        if not beginning[8:].startswith(layout.after):
            continue
        if beginning.startswith(layout.begins) or beginning[512:520] in layout.begins:  # HDF5 behind a user block
            _check_kind(file, layout.title, (name, *layout.also))
            return name, file
    if foreign := content.foreign(file.path):
        _check_kind(file, foreign)
        raise FileError(
            f"{file} begins as a {foreign} file, which is not opened; export the recording as CSV, .npy or text, or "
            "say format='packed' if its bytes are raw bits"
        )
    if asked in ("npy", "npz", "mat", "hdf5", "wav"):
        raise FileError(f"{file} does not begin as a {asked} file; leave format= out to have it recognised")
    head, parts = content.looks(file.path)
    encoding = content.encoding_of(head.tobytes()) or (None if asked is None else ("utf-8", 0))
    if encoding is not None:
        text_file = replace(file, encoding=encoding[0], mark=encoding[1])
        if asked is not None or encoding[1] or all(map(content.is_text, parts)):
            return asked or _of_text(text_file), text_file
    words = options.sample_type not in (None, "packed")
    if not words and content.is_nearly_text(parts):
        raise FileError(
            f"{file} is text with control characters in it; remove them, or say format='packed' for raw bits"
        )
    if words:
        return "samples", file
    if all((p <= 1).all() for p in parts) and any(p.any() for p in parts):
        return "bytes", file
    if options.bit_order is None and (options.n_cells or 1) == 1 and (seen := content.structure(parts)):
        raise FileError(
            f"{file} does not look like packed bits: {seen}. Say format='packed' if it is, format='bytes' for one bit "
            "a byte, sample_type='int16' (or another type) and threshold= for converter words, or n_cells= for cells "
            "that were read in turn"
        )
    return None, file


def _check_kind(file: Content, title: str, names: tuple[str, ...] = ()) -> None:
    asked = file.options.format
    if asked not in (None, *names):
        raise FileError(f"{file} begins as a {title} file, not as {asked}; say format='packed' for raw bits")


def _of_text(file: Content) -> str:
    given = file.options.to_json()
    blocks = readers.without_comments(file.characters())
    sample = next((b for b in blocks if b.strip()), b"")[: 1 << 16]
    seen = (name for name, layout in LAYOUTS.items() if layout.seen and sample.strip(readers.SEPARATORS))
    found = next((name for name in seen if LAYOUTS[name].seen(sample)), None)  # type: ignore[misc]
    if found == "text":
        single = all(len(token) == 1 for token in re.split(rb"[\s,;]+", sample) if token)
        if single and given.keys() & (_TABLE | {"threshold"}):
            found = None  # a table of 0 and 1
        elif re.fullmatch(rb"(?:[01],[01]\s*\n){2,}(?:[01],?[01]?)?", sample.lstrip()):
            raise FileError(
                f"{file}: {sample.split()[0].decode()!r} is two bits or one number with a decimal comma; say "
                "format='text' for all bits row by row, decimal=',', or column="
            )
    if found in (None, "hex") and not given.keys() & (_TABLE | {"threshold"}) and readers.is_nearly_bits(sample):
        return "text"  # whose reader says which character is none; as hexadecimal or a number it would be another value
    if found is None and not given.keys() & _TABLE:
        try:
            read_table(file)
        except NoTableError:
            count = sum(1 for line in islice(chain.from_iterable(file.lines()), 1000) if line.strip())
            rows = f" ({count} lines and no row of numbers)" if count < 1000 else ""
            shown = next(iter(file.characters()), b"")[:40].decode("ascii", "replace")
            raise FileError(
                f"{file} is text that is neither 0 and 1, numbers, hexadecimal, base64 nor JSON: {shown!r}{rows}; name "
                "its form with format= (text, hex, base64, json or csv), or say format='packed' if its bytes are raw "
                "bits"
            ) from None
    return found or "csv"


_SIDECAR_MOST = 16 << 20
REVERSED: NDArray[np.uint8] = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8)), bitorder="little")


class Recording(Spec):
    """The description of recorded bits, beside their file in ``NAME.json``.

    Args:
        bits: how many were taken; the file may hold a few more, which arrived with them.
        sha256: of the file; empty while a stream is recorded.
        origin: provenance of the source.
        command, arguments: that wrote it, and may write it again with these arguments.
        options: how a stream was read, by the names of :class:`voltaspin.noise.FileOptions`; None of packed bits that
            :func:`voltaspin.noise.recorded.record` wrote.
        size: bytes of the file; ``begun``, ``ended``: when the first and the last of them were written, in UTC.
    """

    KIND: ClassVar[str] = "recording"
    VERSION: ClassVar[int] = 1

    bits: int
    sha256: str
    origin: dict[str, Any]
    command: str | None = None
    arguments: dict[str, Any] | None = None
    options: dict[str, Any] | None = None
    size: int | None = None
    begun: str | None = None
    ended: str | None = None

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
        """How many there are."""
        assert self.understood.bits is not None, "a file has an end"
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
        return REVERSED[data] if self.understood.bit_order == "lsb" else data


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
    if recording is not None and recording.options is not None:
        options = replace(options, **recording.options)
    elif recording is not None:
        said = "packed bits as recorded by voltaspin, the first bit of a byte is the highest"
        understood = Understood(format="packed", bits=recording.bits, text=said, bit_order="msb")
        return BitFile(path, understood, origin=recording.origin)
    scratch, populations = tempfile.TemporaryDirectory(prefix="voltaspin-"), None
    try:
        file, containers = unpacked(Content(path, str(path), options), Path(scratch.name, "content"))
        packed = file.path
        reading = read(file)
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
    bits = understood.bits
    if recording is not None and recording.sha256:
        bits = recording.bits
    understood = understood.model_copy(update={"bits": bits, "containers": containers, "notes": notes})
    found = BitFile(packed, understood, populations, None if recording is None else recording.origin)
    if file.path not in (path, packed):
        file.path.unlink()
    if packed == path:
        scratch.cleanup()
    else:
        weakref.finalize(found, scratch.cleanup)
    return found


def _description(path: Path, options: FileOptions, sha256: str) -> tuple[Recording | None, tuple[str, ...]]:
    """The description of a recording, and notes where it is not used or the recording was cut off."""
    beside = Recording.beside(path)
    if not beside.is_file():
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
    given = {name: value for name, value in options.to_json().items() if name != "n_cells"}
    if recording.options is None and options.format not in (None, "packed"):
        return None, ()
    if recording.options is not None and not given.items() <= recording.options.items():
        return None, (f"{beside.name} describes another way to read it and was not used",)
    if recording.options is not None and not recording.sha256:
        return recording, ("the recording of a stream that was cut off",)
    size = 8 * path.stat().st_size
    if recording.sha256 != sha256 or not 0 < recording.bits <= size:
        raise InputError(
            f"{beside} describes {recording.bits} bits of another file than {path} (sha256 {recording.sha256[:12]}, "
            f"the file's {sha256[:12]}): it was changed or cut; {remedy}"
        )
    if recording.options is not None:
        return recording, ()
    if options.bit_order == "lsb":
        raise FileError(f"{beside} says that the first bit of a byte is the highest; leave bit_order= out")
    options.check("a recording of packed bits", frozenset({"bit_order"}))
    return recording, ()
