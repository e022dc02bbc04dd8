"""The one importer of recorded bits: what a laboratory writes down becomes packed bits, and one line says how.

A format is recognised by content, never by its suffix. What could be two things is refused with the arguments that
settle it, and a known kind of file or text is never taken for raw bits unless ``format="packed"`` says so.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import parse_json
from voltaspin.core.spec import Spec
from voltaspin.noise.importer import arrays, content, table
from voltaspin.noise.importer import text as texts
from voltaspin.noise.importer.containers import Scratch, opened
from voltaspin.noise.importer.options import FileError, FileOptions, Understood
from voltaspin.noise.importer.text import Reading, Text
from voltaspin.noise.importer.values import BitFile, check_uses, converted, packed_bits

_SIDECAR_MOST = 16 << 20


class Recording(Spec):
    """What stands beside a file that :func:`voltaspin.noise.recorder.record` wrote, in ``NAME.json``."""

    KIND: ClassVar[str] = "recording"
    VERSION: ClassVar[int] = 1

    bits: int
    sha256: str
    origin: dict[str, Any]
    command: str | None = None  #: that wrote it, which may write it again with these arguments
    arguments: dict[str, Any] | None = None

    @staticmethod
    def beside(path: Path) -> Path:
        """The name of the description of a recording."""
        return path.with_name(f"{path.name}.json")


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
            check_uses(options, "packed bits", frozenset({"format", "bit_order", "n_cells"}))
            found = packed_bits(inner, options)
        else:
            found = converted(reading, options, scratch, name)
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
    check_uses(options, "a recording of packed bits", frozenset({"format", "bit_order", "n_cells"}))
    return recording, ()


# Recognition


def _unpacked(
    path: Path, options: FileOptions, scratch: Scratch, name: str
) -> tuple[Path, tuple[str, ...], str]:  # fmt: skip
    """The file inside the container, the container's kind, and the name of its member."""
    if options.format == "packed":
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
        return arrays.read_samples(path, name, options)
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
    if options.sample_type in (None, "packed") and content.is_nearly_text(parts):
        raise FileError(
            f"{name} is text with control characters in it; remove them, or say ⟦format=packed⟧ for raw bits"
        )
    if options.sample_type not in (None, "packed"):
        return arrays.read_samples(path, name, options)
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
        return arrays.read_npy(path, name, options, array=member[:-4])
    if opener == "mat":
        return arrays.read_mat(path, name, options)
    if opener == "hdf5":
        return arrays.read_hdf5(path, name, options)
    raise FileError(
        f"{name} begins as a {title} file, which is not opened; export the recording as CSV, .npy or text, or say "
        "⟦format=packed⟧ if its bytes are raw bits"
    )


def _of_text(text: Text, options: FileOptions, name: str) -> Reading:
    format: str | None = options.format
    table_asked = {"column", "delimiter", "decimal", "skip_rows"} & set(options.given())
    if format is None:
        blocks = texts.without_comments(text.blocks())
        sample = next((b for b in blocks if b.strip()), b"")[: 1 << 16]
        format = texts.recognised(sample)
        single = all(len(token) == 1 for token in sample.replace(b",", b" ").replace(b";", b" ").split())
        if format == "text" and single and (table_asked or options.threshold is not None):
            format = None  # a table of 0 and 1
        elif format == "text" and re.fullmatch(rb"(?:[01],[01]\s*\n){2,}(?:[01],?[01]?)?", sample.lstrip()):
            raise FileError(
                f"{name}: {sample.split()[0].decode()!r} is two bits or one number with a decimal comma; say "
                "⟦format=text⟧ for all bits row by row, ⟦decimal=,⟧, or ⟦column⟧"
            )
    if format == "text":
        return texts.read_bits(text)
    if format == "hex":
        return texts.read_hex(text, name)
    if format == "base64":
        return texts.read_base64(text, name)
    if format == "json":
        return arrays.read_json(text, name, options)
    if format == "csv" or table_asked or table.is_table(text, options):
        return table.read_table(text, name, options)
    sample = next(iter(text.blocks()), b"")[:40]
    shown = sample.decode("ascii", "replace")
    raise FileError(
        f"{name} is text that is neither 0 and 1, numbers, hexadecimal, base64 nor JSON: {shown!r}; name its form with "
        "⟦format⟧ (text, hex, base64, json or csv), or say ⟦format=packed⟧ if its bytes are raw bits"
    )


def _bytes(path: Path) -> Reading:
    def blocks() -> Iterator[NDArray[np.uint8]]:
        with path.open("rb") as file:
            while block := file.read(arrays.VALUES):
                yield np.frombuffer(block, np.uint8)

    return Reading("bytes", blocks, "one bit a byte, 0 or 1", frozenset({"format", "n_cells"}))
