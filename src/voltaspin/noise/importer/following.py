"""Read a stream with the readers of files: its beginning says what it is, and then its bits come as its bytes do.

The beginning stands in a temporary file while the layout is recognised, by the rules of files. From then on the same
:class:`Content` gives the bytes as they arrive, so that a reader, which begins again at every call, goes through all of
the stream. How much is the beginning depends on the options and on the bytes, never on the time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voltaspin.noise.importer import content, readers
from voltaspin.noise.importer.bit_file import LAYOUTS, PACKED, REVERSED, recognised
from voltaspin.noise.importer.reading import Content, FileError, FileOptions, Understood
from voltaspin.noise.importer.table import NoTableError
from voltaspin.noise.importer.values import Conversion, conversion
from voltaspin.noise.importer.words import width_of

Arriving = Callable[[], bytes]  #: the bytes that arrive next, one at least; none at the end
Bits = Iterator[tuple[NDArray[np.uint8], int]]

BEGINNING = 4096  #: bytes that say what a stream is, where nothing else does
_MARKS = (b"\xef", b"\xff", b"\xfe", b"\0")  # with which a byte order mark begins
_MARK, _ROWS, _MOST = 16, 512, 1 << 16  # bytes for a byte order mark, for the first rows of a table, for all above them
_JUDGED = 100  # values that must not all lie on one side of a threshold
_LONGEST = 1 << 16  # characters of a line


@dataclass(frozen=True)
class _Following(Content):
    """The content of a stream: its beginning, in a file, until it is followed; from then on all of it, once."""

    followed: list[Iterator[bytes]] = field(default_factory=list)

    def raw(self) -> Iterator[bytes]:
        return self.followed[0] if self.followed else super().raw()

    @property
    def follows(self) -> bool:
        return True

    @property
    def longest(self) -> int:
        return _LONGEST


@dataclass(frozen=True)
class Followed:
    """A stream that is being read.

    Args:
        understood: how it is read.
        bits: the bits in blocks, as they arrive: (packed with the first highest, how many).
        bytes_a_bit: 1/8 of packed bits; 0 where it varies, as in text.
    """

    understood: Understood
    bits: Bits
    bytes_a_bit: float


def follow(name: str, options: FileOptions, arriving: Arriving) -> Followed:
    """Recognise a stream by its beginning, and give its bits as they arrive.

    Args:
        name: of the stream, for messages.
        options: of the user.
        arriving: gives its bytes.

    Raises:
        FileError: not recognised, ambiguous, of a kind that has an end, or options that do not apply.
    """
    if options.threshold == "fit":
        raise FileError(
            f"{name}: threshold='fit' looks at a whole recording, which a stream is not; record some of it, fit there, "
            "and give the threshold= as a number"
        )
    if options.header_bytes:
        raise FileError(f"{name}: header_bytes={options.header_bytes} is of a file; cut the header off on the way")
    beginning, ended = b"", False

    def begin(size: int) -> bytes:
        nonlocal beginning, ended
        while len(beginning) < size and not ended:
            more = arriving()
            beginning, ended = beginning + more, not more
        return beginning

    def all_of_it() -> Iterator[bytes]:
        if beginning:
            yield beginning
        while not ended and (block := arriving()):
            yield block

    asked = options.format
    if asked is None and options.sample_type not in (None, "packed"):
        asked, options = "samples", replace(options, format="samples")
    if asked in ("packed", "bytes", "samples"):
        sizes = [0]
    elif asked in ("text", "hex", "base64"):
        sizes = [_MARK if begin(1)[:1] in _MARKS else 1]
    else:
        sizes = [_ROWS if asked == "csv" else BEGINNING, BEGINNING, _MOST]
    with tempfile.TemporaryDirectory(prefix="voltaspin-") as scratch:
        for size in sizes:
            head = begin(size)
            if ended and not head:
                raise FileError(f"{name} ended before its first byte; start what sends the bits")
            path = Path(scratch, "beginning")
            # Whole rows: a number that is cut may be another number. Bytes without rows are not cut to a few.
            rows = head.rfind(b"\n") + 1
            path.write_bytes(head[:rows] if not ended and rows > (0 if asked == "csv" else len(head) // 2) else head)
            file = _Following(path, name, options)
            try:
                how = _how(file)
                break
            except NoTableError:
                if ended or size == sizes[-1]:
                    raise
        else:
            raise AssertionError("the last size decides")
        kind = "packed" if how is None else how.reading.format
        file.followed.append(all_of_it())
    if how is None:
        order = options.bit_order or "msb"
        said = f"packed bits, the first bit of a byte is the {'highest' if order == 'msb' else 'lowest'}"
        understood = Understood(format="packed", bits=None, text=said, bit_order=order)
        return Followed(understood, _packed(map(_bytes, file.raw()), order), 1 / 8)
    a_bit = {"bytes": 1, "samples": width_of(options.sample_type) * (options.channels or 1)}.get(kind, 0)
    if how.packed:
        return Followed(how.understood(None), _packed(how.blocks(), how.bit_order), 0)
    return Followed(how.understood(None), ((np.packbits(part), part.size) for part in how.blocks()), a_bit)


def _bytes(block: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(block, np.uint8)


def _packed(blocks: Iterator[NDArray[np.uint8]], order: str | None) -> Bits:
    return ((REVERSED[part] if order == "lsb" else part, 8 * part.size) for part in blocks)


def _how(file: _Following) -> Conversion | None:
    """Return how the values become bits, by the beginning; None for packed bits."""
    container = content.kind_of(content.beginning(file.path))
    if container and file.options.format is None:
        raise FileError(
            f"{file} begins as a {container} file; unpack it on the way, or say format='packed' if its bytes are raw "
            "bits"
        )
    kind, found = recognised(file)
    if kind is None:
        file.options.check("packed bits", PACKED)
        return None
    layout = LAYOUTS[kind]
    if not layout.endless:
        raise FileError(f"{file} begins as {kind}, which has an end; save it to a file and give that")
    if kind != "text" and found.encoding != "utf-8":
        raise FileError(f"{file} is text in {found.encoding_said}, of which only 0 and 1 are followed; send UTF-8")
    reading = layout.read(found)
    file.options.check(reading.text, layout.takes)
    if kind == "csv" and not set(b"\r\n") & set(file.path.read_bytes()):
        raise FileError(f"{file} is numbers in one row without an end; send one value a line")
    how = conversion(reading, found)
    if not how.packed:  # what stands at the end of the beginning may be cut there: half of a byte
        bits = np.concatenate([np.empty(0, np.uint8), *how.blocks()])
        if bits.size >= _JUDGED:
            how.check_sides(bits.size, int(bits.sum()))
    return how


_CHARACTERS = {
    "text": b"01", "hex": b"0123456789abcdefABCDEFxX:",
    "base64": b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=",
}  # fmt: skip


def odd_byte(kind: str, data: bytes) -> int | None:
    """Return the place of the first byte that has no business in a text of this format; None where no byte tells."""
    if kind not in _CHARACTERS or any(c in data for c in b"#%!"):
        return None
    rest = data.lstrip(_CHARACTERS[kind] + readers.SEPARATORS)
    return len(data) - len(rest) if rest else None


def complete(kind: str, width: int, data: bytes) -> int:
    """Return how many of the bytes end a whole value, so that a file that ends there can be read.

    Args:
        kind: format of the stream; ``width``: bytes of one value, 0 where that varies.
        data: what arrived since the last whole value.
    """
    if width:
        return len(data) // width * width
    if kind in ("hex", "base64"):  # a byte is two digits; three are four characters
        digits = len(data.translate(None, readers.SEPARATORS + b":"))
        unit, at = (2 if kind == "hex" else 4), len(data)
        for _ in range(digits % unit):
            at -= 1
            while data[at] in readers.SEPARATORS + b":":
                at -= 1
        return at
    if kind == "text":
        return len(data)
    return max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
