"""The contract of a reader: it takes a :class:`Content`, with the user's options, and returns a :class:`Reading`.

The options are the same for every command and for :class:`voltaspin.noise.RecordedSource`. Whatever they leave open is
recognised by content. An error names the option to give.
"""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.result import Part
from voltaspin.core.units import CURRENT, RESISTANCE, VOLTAGE, Dimension, parse_quantity

Format = Literal[
    "packed", "bytes", "text", "hex", "base64", "json", "csv", "npy", "npz", "mat", "hdf5", "wav", "samples"
]  # fmt: skip
SampleType = Literal["packed", "int8", "uint8", "int16", "uint16", "int24", "int32", "uint32", "float32", "float64"]
BitOrder = Literal["msb", "lsb"]
ByteOrder = Literal["little", "big"]

_WORDS: dict[str, tuple[str, ...]] = {
    "format": get_args(Format), "bit_order": get_args(BitOrder), "sample_type": get_args(SampleType),
    "byte_order": get_args(ByteOrder), "decimal": (".", ","),
}  # fmt: skip
_QUANTITIES: dict[str, Dimension] = {"ohm": RESISTANCE, "V": VOLTAGE, "A": CURRENT}
_PLAIN = Dimension("number", {"": 1.0, "G": 1e9, "M": 1e6, "k": 1e3, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "n": 1e-9})
_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "space": " "}


class FileError(InputError):
    """A file that cannot be read as it was asked for; the message names the arguments that resolve it."""


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """Options of a recorded file; an option that is None is recognised by content.

    Args:
        format: of the content. ``"packed"`` (eight bits a byte and nothing else), ``"bytes"`` (one bit a byte, 0 or
            1), ``"text"`` (characters 0 and 1), ``"hex"``, ``"base64"``, ``"json"``, ``"csv"`` (any table of numbers
            and any oscilloscope export), ``"npy"``, ``"npz"``, ``"mat"``, ``"hdf5"``, ``"wav"``, ``"samples"`` (raw
            converter words, which need ``sample_type`` and ``threshold``).
        bit_order: of packed bytes: ``"msb"`` (the first bit is the highest, the default) or ``"lsb"``.
        threshold: of measured values: a bit is 1 above it. A text with a unit (``"5.4kohm"``, ``"-20mV"``), a number
            or a text without unit (``"5.4k"``), which is in SI, or ``"fit"``, which finds it between two populations.
        unit: of the values, such as ``"kohm"`` or ``"mV"``, where the file does not say it.
        column: its name or its number from 0; of arrays in one file, the name; of interleaved channels, the number.
            A text ``"#2"`` is always a number.
        time_column: of a waveform: the column that holds the times, as ``column``.
        n_cells: cells that were read in turn: bit ``j`` comes from cell ``j % n_cells``.
        sample_type: type of raw converter words; ``"packed"`` says that the numbers of a table or array are bytes of
            eight bits.
        byte_order: of raw converter words, ``"little"`` (the default) or ``"big"``.
        channels: of raw converter words: channels that take turns; ``column`` says which one is read.
        header_bytes: bytes before the first raw converter word.
        delimiter: of a table: a character, or ``comma``, ``semicolon``, ``tab``, ``space``.
        decimal: decimal sign of a table, ``"."`` or ``","``.
        skip_rows: lines of a table above its first row of numbers.

    Raises:
        FileError: a value that is none of these; the message names the argument.
    """

    format: Format | None = None
    bit_order: BitOrder | None = None
    threshold: float | str | None = None
    unit: str | None = None
    column: str | int | None = None
    time_column: str | int | None = None
    n_cells: int | None = None
    sample_type: SampleType | None = None
    byte_order: ByteOrder | None = None
    channels: int | None = None
    header_bytes: int | None = None
    delimiter: str | None = None
    decimal: str | None = None
    skip_rows: int | None = None

    def __post_init__(self) -> None:
        for name, words in _WORDS.items():
            value = getattr(self, name)
            if value is not None and value not in words:
                raise FileError(f"{name}={value!r} is unknown; use one of {', '.join(words)}")
        if self.delimiter is not None:
            sign = _DELIMITERS.get(self.delimiter, self.delimiter)
            if len(sign) != 1 or sign.isalnum() or sign in ".+-\"'\n\r":
                raise FileError(f"delimiter={self.delimiter!r} is none; use comma, semicolon, tab or space")
            if sign == "," == self.decimal:
                raise FileError("a comma cannot be delimiter= and decimal= sign at once; export the file with ;")
            object.__setattr__(self, "delimiter", sign)
        for name, least, what in (
            ("n_cells", 1, ": the cells that were read in turn"), ("skip_rows", 0, ""),
            ("channels", 1, ""), ("header_bytes", 0, ""),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and (type(value) is bool or not isinstance(value, int | np.integer) or value < least):
                raise FileError(f"{name}={value!r} must be an integer of at least {least}{what}")
        for name in ("column", "time_column"):
            value = getattr(self, name)
            if isinstance(value, bool) or (isinstance(value, int | np.integer) and value < 0):
                raise FileError(f"{name}={value!r} is no column; give its name, or its number from 0")
        if self.unit is not None and unit_of(self.unit) is None:
            raise FileError(f"unit={self.unit!r} is none of ohm, V or A with a prefix, such as kohm or mV")
        if self.threshold is not None and self.threshold != "fit":
            level_of(self.threshold)

    def to_json(self) -> dict[str, Any]:
        """Return the options that were given, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def check(self, found: str, known: frozenset[str]) -> None:
        """Refuse options that do not apply to the recognised content, which takes those that are ``known``."""
        other = [name for name in self.to_json() if name not in known | {"format", "n_cells"}]
        if other:
            marked = " and ".join(f"{name}={getattr(self, name)!r}" for name in other)
            rest = f"leave {'it' if len(other) == 1 else 'them'} out, or say another format="
            raise FileError(f"{marked} cannot be used: the file was recognised as {found}; {rest}")


class Understood(Part):
    """The way in which a file was read.

    Args:
        format: as in :class:`FileOptions`.
        bits: number of bits that were read; None of a stream, which has no end.
        text: the same in words, without the number of bits.
        bit_order: of packed bytes; None where there are none.
        threshold: above which a bit is 1, in ``unit``; None where the file holds bits.
        unit: SI unit of the values, empty where it is not known.
        column: the column that was read; None where there is one only.
        containers: around the content, from outside to inside, such as ``gzip``.
        notes: on anything that was left aside.
    """

    format: str
    bits: int | None
    text: str
    bit_order: BitOrder | None = None
    threshold: float | None = None
    unit: str = ""
    column: str | None = None
    containers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        within = "".join(f"{name}: " for name in self.containers)
        size = "" if self.bits is None else f", {self.bits} bits"
        line = "; ".join([f"{within}{self.text}{size}", *self.notes])
        return "".join(c if c.isprintable() else "?" for c in line)  # names in the file may hold anything

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"text"}) | {"sentence": str(self)}


def level_of(threshold: float | str, name: str = "threshold") -> tuple[float, str]:
    """Read a threshold, with a unit or without: its value in SI, and its SI unit or an empty text.

    Args:
        threshold: the value.
        name: of the argument, for the message.

    Raises:
        FileError: neither a number nor a resistance, voltage or current, or not finite.
    """
    if not isinstance(threshold, str):
        if not isfinite(threshold):
            raise FileError(f"{name}={threshold} is not finite; give a number, or leave it to a fit")
        return float(threshold), ""
    found = re.fullmatch(r"\s*([-+−]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*", threshold, re.DOTALL)
    body, word = found.groups() if found else (threshold, "?")
    for unit, dimension in (("", _PLAIN), *_QUANTITIES.items()):
        # a bare number is taken by the first, and a foreign unit by none
        if unit_name(word) in dimension.units or (not unit and word in _PLAIN.units):
            own = unit_name(word) if unit else word
            return parse_quantity(f"{body} {own}", dimension, name=name, signed=True), unit
    raise FileError(
        f"{name}={threshold[:60]!r} is no resistance, voltage, current or number; give such as 5.4kohm, 0.35V, "
        "-20mV or 5.4k with a decimal point, or fit"
    )


def unit_name(text: str) -> str:
    """Return a unit as files write it in the spelling that :mod:`voltaspin.core.units` knows."""
    text = text.strip().strip("()[]{}").strip()
    for pattern, name in (
        (r"(?i)volts?$", "V"), (r"(?i)(amperes?|amps?)$", "A"), (r"(?i)ohms?$", "ohm"), (r"^K(?=ohm)", "k"),
        (r"^(?i:kilo)(?=[VAo])", "k"), (r"^(?i:milli)(?=[VAo])", "m"),
    ):  # fmt: skip
        text = re.sub(pattern, name, text)
    return text


def unit_of(text: str) -> tuple[str, float] | None:
    """Return SI unit and factor of a unit of resistance, voltage or current; None for any other text."""
    name = unit_name(text)
    return next(((si, d.units[name]) for si, d in _QUANTITIES.items() if name in d.units), None)


_BLOCK = 1 << 20  # bytes read at once
_LONGEST = 1 << 24  # characters of the longest line


@dataclass(frozen=True)
class Content:
    """A file out of its container; ``str`` of it is its name in messages.

    Args:
        path: the bytes.
        name: of the file that the user gave.
        options: of the user.
        member: name inside the container, empty where it has none.
        encoding: of a text.
        mark: length of its byte order mark.
    """

    path: Path
    name: str
    options: FileOptions
    member: str = ""
    encoding: str = "utf-8"
    mark: int = 0

    def __str__(self) -> str:
        return self.name

    @property
    def follows(self) -> bool:
        """Whether bytes arrive behind those of the file, so that its size says nothing."""
        return False

    def raw(self) -> Iterator[bytes]:
        """Yield the bytes in blocks."""
        with self.path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block

    def _of_text(self) -> Iterator[bytes]:
        """Yield the bytes behind the byte order mark."""
        skip = self.mark
        for block in self.raw():
            yield block[skip:]
            skip = max(0, skip - len(block))

    def characters(self) -> Iterator[bytes]:
        """Yield the characters as ASCII in blocks; any other character is a question mark."""
        decoder = None if self.encoding == "utf-8" else codecs.getincrementaldecoder(self.encoding)(errors="replace")
        for block in self._of_text():
            yield block if decoder is None else decoder.decode(block).encode("ascii", "replace")

    def lines(self) -> Iterator[list[str]]:
        """Yield the lines in blocks, in latin-1 where one is not UTF-8; a file of one endless line is refused."""
        plain, longest = self.encoding == "utf-8", self.longest
        decoder: Any = codecs.getincrementaldecoder(self.encoding)("surrogateescape" if plain else "replace")
        decoder = io.IncrementalNewlineDecoder(decoder, translate=True)
        left: list[str] = []  # of the last line, whose end is not there yet
        size = 0
        for block in self._of_text():
            *lines, rest = decoder.decode(block).split("\n")
            if lines:
                lines[0], left, size = "".join([*left, lines[0]]), [], 0
            left.append(rest)
            size += len(rest)
            if max(size, *map(len, lines), 0) >= longest:
                raise FileError(f"a line of {self} is longer than {longest} characters; write one row a line")
            yield [_of_latin_1(line) for line in lines] if plain else lines
        left.append(decoder.decode(b"", final=True).rstrip("\n"))
        if last := "".join(left):
            yield [_of_latin_1(last) if plain else last]

    @property
    def longest(self) -> int:
        """Characters of the longest line that is read."""
        return _LONGEST

    @property
    def encoding_said(self) -> str:
        """The encoding in words, empty for plain text."""
        if self.encoding != "utf-8":
            return self.encoding[:-3].upper()
        return "UTF-8 with a byte order mark" if self.mark else ""


def _of_latin_1(line: str) -> str:
    """A line whose bytes that are no UTF-8 were escaped, in latin-1 where there are any."""
    if line.isascii():
        return line
    data = line.encode("utf-8", "surrogateescape")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def one_way(values: NDArray[np.float64]) -> bool:
    """Whether the values only rise, or only fall, as time and row numbers do."""
    with np.errstate(all="ignore"):
        steps = np.diff(values)
    return bool(steps.size and ((steps > 0).all() or (steps < 0).all()))


@dataclass(frozen=True)
class Reading:
    """The content of a file, before it is bits.

    Args:
        format: as in :class:`voltaspin.noise.FileOptions`.
        blocks: yields the values in blocks, from the beginning at every call; of packed bytes uint8, else any numbers.
        text: the recognised layout in words.
        packed: the blocks are bytes of eight bits.
        unit: SI unit of the values, empty where the file does not say it.
        factor: converts the values to SI.
        written: the unit as the file writes it.
        column: the column that is read.
        words: raw converter words: without a threshold they are no bits.
        times: of a waveform: yields the times [s] in the same blocks, where the file holds them.
        step: time between samples [s], where the file says it and holds no times.
        limits: lowest and highest value that the converter can give, where the words say it.
        place: says in which line of a text a value stands, counted from 0.
    """

    format: str
    blocks: Callable[[], Iterator[NDArray[Any]]]
    text: str
    packed: bool = False
    unit: str = ""
    factor: float = 1.0
    written: str = ""
    column: str | None = None
    words: bool = False
    times: Callable[[], Iterator[NDArray[np.float64]]] | None = None
    step: float | None = None
    limits: tuple[float, float] | None = None
    place: Callable[[int], str] | None = None

    def at(self, index: int, what: str = "value") -> str:
        """Return where a value stands: its number from 0, and its line in a text."""
        return f"{what} {index}" + ("" if self.place is None else f" ({self.place(index)})")
