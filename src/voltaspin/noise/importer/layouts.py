"""The registry of layouts: to add one, write its reader and add its line to :data:`LAYOUTS`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from voltaspin.noise.importer import arrays, content, text
from voltaspin.noise.importer.options import FileError
from voltaspin.noise.importer.reading import Content, Reading
from voltaspin.noise.importer.table import NoTableError, read_table

_TABLE = frozenset({"column", "delimiter", "decimal", "skip_rows"})
_PACKED = frozenset({"bit_order"})
_VALUES = frozenset({"threshold", "unit", "column", "sample_type", "bit_order"})


@dataclass(frozen=True)
class Layout:
    """One layout of bits or values in a file.

    Args:
        read: from the content to a reading.
        takes: options that apply to it, besides ``format`` and ``n_cells``.
        begins: first bytes, of a layout with a mark of its own.
        title: name of the kind of file that begins so.
        seen: of a text: whether its first characters, comments left out, are of this layout.
        also: further values of ``format`` under which it is read.
    """

    read: Callable[[Content], Reading]
    takes: frozenset[str] = frozenset()
    begins: tuple[bytes, ...] = ()
    title: str = ""
    seen: Callable[[bytes], bool] | None = None
    also: tuple[str, ...] = ()


LAYOUTS = {
    "npy": Layout(arrays.read_npy, _VALUES, (b"\x93NUMPY",), "NumPy", also=("npz",)),
    "hdf5": Layout(arrays.read_hdf5, _VALUES, (b"\x89HDF\r\n\x1a\n", b"MATLAB 7.3"), "HDF5", also=("mat",)),
    "mat": Layout(arrays.read_mat, _VALUES, (b"MATLAB 5.0",), "MATLAB 5"),
    "text": Layout(text.read_bits, seen=text.is_bits),
    "json": Layout(arrays.read_json, _VALUES, seen=lambda sample: sample.lstrip()[:1] in (b"[", b"{")),
    "hex": Layout(text.read_hex, _PACKED, seen=text.is_hex),
    "base64": Layout(text.read_base64, _PACKED, seen=text.is_base64),
    "csv": Layout(read_table, _VALUES | _TABLE),  # any other text with rows of numbers
    "bytes": Layout(arrays.read_bytes),
    "samples": Layout(arrays.read_samples, frozenset({"threshold", "unit", "sample_type", "byte_order"})),
}


def read(file: Content) -> Reading | None:
    """Recognise a content and read it; None for packed bits.

    Raises:
        FileError: not recognised, ambiguous, damaged, or options that do not apply to it.
    """
    name, file = _recognised(file)
    if name is None:
        file.options.check("packed bits", _PACKED)
        return None
    reading = LAYOUTS[name].read(file)
    file.options.check(reading.text, LAYOUTS[name].takes)
    return reading


def _recognised(file: Content) -> tuple[str | None, Content]:
    """Name of the layout, None for packed bits, and the content, with its encoding where it is a text."""
    options, asked = file.options, file.options.format
    if asked in ("packed", "bytes", "samples"):
        return (None if asked == "packed" else asked), file
    beginning = content.beginning(file.path)
    for name, layout in LAYOUTS.items():
        if beginning.startswith(layout.begins) or beginning[512:520] in layout.begins:  # HDF5 behind a user block
            _check_kind(file, layout.title, (name, *layout.also))
            return name, file
    if foreign := content.foreign(file.path):
        _check_kind(file, foreign)
        raise FileError(
            f"{file} begins as a {foreign} file, which is not opened; export the recording as CSV, .npy or text, or "
            "say ⟦format=packed⟧ if its bytes are raw bits"
        )
    if asked in ("npy", "npz", "mat", "hdf5"):
        raise FileError(f"{file} does not begin as a {asked} file; leave ⟦format⟧ out to have it recognised")
    head, parts = content.looks(file.path)
    encoding = content.encoding_of(head.tobytes()) or (None if asked is None else ("utf-8", 0))
    if encoding is not None:
        text_file = replace(file, encoding=encoding[0], mark=encoding[1])
        if asked is not None or encoding[1] or all(map(content.is_text, parts)):
            return asked or _of_text(text_file), text_file
    words = options.sample_type not in (None, "packed")
    if not words and content.is_nearly_text(parts):
        raise FileError(
            f"{file} is text with control characters in it; remove them, or say ⟦format=packed⟧ for raw bits"
        )
    if words:
        return "samples", file
    if all((p <= 1).all() for p in parts) and any(p.any() for p in parts):
        return "bytes", file
    if options.bit_order is None and (options.n_cells or 1) == 1 and (seen := content.structure(parts)):
        raise FileError(
            f"{file} does not look like packed bits: {seen}. Say ⟦format=packed⟧ if it is, ⟦format=bytes⟧ for one bit "
            "a byte, ⟦sample_type=int16⟧ (or another type) and ⟦threshold⟧ for converter words, or ⟦n_cells⟧ for cells "
            "that were read in turn"
        )
    return None, file


def _check_kind(file: Content, title: str, names: tuple[str, ...] = ()) -> None:
    asked = file.options.format
    if asked not in (None, *names):
        raise FileError(f"{file} begins as a {title} file, not as {asked}; say ⟦format=packed⟧ for raw bits")


def _of_text(file: Content) -> str:
    given = file.options.to_json()
    blocks = text.without_comments(file.characters())
    sample = next((b for b in blocks if b.strip()), b"")[: 1 << 16]
    seen = (name for name, layout in LAYOUTS.items() if layout.seen and sample.strip(text.SEPARATORS))
    found = next((name for name in seen if LAYOUTS[name].seen(sample)), None)  # type: ignore[misc]
    if found == "text":
        single = all(len(token) == 1 for token in re.split(rb"[\s,;]+", sample) if token)
        if single and given.keys() & (_TABLE | {"threshold"}):
            found = None  # a table of 0 and 1
        elif re.fullmatch(rb"(?:[01],[01]\s*\n){2,}(?:[01],?[01]?)?", sample.lstrip()):
            raise FileError(
                f"{file}: {sample.split()[0].decode()!r} is two bits or one number with a decimal comma; say "
                "⟦format=text⟧ for all bits row by row, ⟦decimal=,⟧, or ⟦column⟧"
            )
    if found is None and not given.keys() & _TABLE:
        try:
            read_table(file)
        except NoTableError:
            shown = next(iter(file.characters()), b"")[:40].decode("ascii", "replace")
            raise FileError(
                f"{file} is text that is neither 0 and 1, numbers, hexadecimal, base64 nor JSON: {shown!r}; name its "
                "form with ⟦format⟧ (text, hex, base64, json or csv), or say ⟦format=packed⟧ if its bytes are raw bits"
            ) from None
    return found or "csv"
