"""What can be said of a recorded file, what was understood of it, and the error that says what to say.

The options are the same for every command and for :class:`voltaspin.noise.RecordedSource`. Whatever they leave open is
recognised by content (:mod:`voltaspin.noise.importer.bit_file`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, Literal, get_args

import numpy as np

from voltaspin.core.errors import InputError
from voltaspin.core.units import CURRENT, RESISTANCE, VOLTAGE, Dimension, parse_quantity

Format = Literal["packed", "bytes", "text", "hex", "base64", "json", "csv", "npy", "npz", "mat", "hdf5", "samples"]
SampleType = Literal["packed", "int8", "uint8", "int16", "uint16", "int32", "uint32", "float32", "float64"]
BitOrder = Literal["msb", "lsb"]
ByteOrder = Literal["little", "big"]

_QUANTITIES: dict[str, Dimension] = {"ohm": RESISTANCE, "V": VOLTAGE, "A": CURRENT}
_PLAIN = Dimension("number", {"": 1.0, "G": 1e9, "M": 1e6, "k": 1e3, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "n": 1e-9})
_DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "space": " "}
_MARK = re.compile(r"⟦(\w+)(?:=([^⟧]*))?⟧")


class FileError(InputError):
    """A file that cannot be read as it was asked for; the message names the arguments that settle it.

    An argument stands in the text as ``⟦name=value⟧`` or ``⟦name⟧``. ``str`` writes it as a keyword, and
    :meth:`as_options` as a command-line option.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        super().__init__(_MARK.sub(lambda m: m[1] if m[2] is None else f"{m[1]}={m[2]!r}", text))

    def as_options(self, option: dict[str, str]) -> str:
        """The message with every argument as the option that ``option`` names."""
        return _MARK.sub(lambda m: option.get(m[1], m[1]) + ("" if m[2] is None else f" {m[2]}"), self._text)


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """How a file is to be read; what is None is recognised by content.

    Args:
        format: of the content. ``"packed"`` (eight bits a byte and nothing else), ``"bytes"`` (one bit a byte, 0 or
            1), ``"text"`` (characters 0 and 1), ``"hex"``, ``"base64"``, ``"json"``, ``"csv"`` (any table of numbers
            and any oscilloscope export), ``"npy"``, ``"npz"``, ``"mat"``, ``"hdf5"``, ``"samples"`` (raw converter
            words, which need ``sample_type`` and ``threshold``).
        bit_order: of packed bytes: ``"msb"`` (the first bit is the highest, the default) or ``"lsb"``.
        threshold: of measured values: a bit is 1 above it. A text with a unit (``"5.4kohm"``, ``"-20mV"``), a number
            or a text without unit (``"5.4k"``), which is in SI, or ``"fit"``, which finds it between two populations.
        unit: of the values, such as ``"kohm"`` or ``"mV"``, where the file does not say it.
        column: its name or its number from 0; of arrays in one file, the name. A text ``"#2"`` is always a number.
        n_cells: cells that were read in turn: bit ``j`` comes from cell ``j % n_cells``.
        sample_type: of raw converter words; ``"packed"``: the numbers of a table or array are bytes of eight bits.
        byte_order: of raw converter words, ``"little"`` (the default) or ``"big"``.
        delimiter: of a table: ``","``, ``";"``, a tab, a space, or their names.
        decimal: sign of a table, ``"."`` or ``","``.
        skip_rows: lines of a table before its first row of numbers.

    Raises:
        FileError: a word or number that none of these is.
    """

    format: Format | None = None
    bit_order: BitOrder | None = None
    threshold: float | str | None = None
    unit: str | None = None
    column: str | int | None = None
    n_cells: int | None = None
    sample_type: SampleType | None = None
    byte_order: ByteOrder | None = None
    delimiter: str | None = None
    decimal: str | None = None
    skip_rows: int | None = None

    def __post_init__(self) -> None:
        for name, words in (
            ("format", get_args(Format)), ("bit_order", get_args(BitOrder)), ("sample_type", get_args(SampleType)),
            ("byte_order", get_args(ByteOrder)), ("decimal", (".", ",")),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value not in words:
                raise FileError(f"⟦{name}⟧ {value!r} is unknown; use one of {', '.join(words)}")
        if self.delimiter is not None:
            sign = _DELIMITERS.get(self.delimiter, self.delimiter)
            if len(sign) != 1 or sign.isalnum() or sign in ".+-\"'\n\r":
                raise FileError(f"⟦delimiter⟧ {self.delimiter!r} is none; use comma, semicolon, tab or space")
            if sign == "," == self.decimal:
                raise FileError("a comma cannot be ⟦delimiter⟧ and ⟦decimal⟧ sign at once; export the file with ;")
            object.__setattr__(self, "delimiter", sign)
        for name, least in (("n_cells", 1), ("skip_rows", 0)):
            value = getattr(self, name)
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least
            ):
                what = ": the cells (lanes) that were read in turn" if name == "n_cells" else ""
                raise FileError(f"⟦{name}⟧ {value!r} must be an integer of at least {least}{what}")
        if isinstance(self.column, bool) or (isinstance(self.column, int | np.integer) and self.column < 0):
            raise FileError(f"⟦column⟧ {self.column!r} is no column; give its name, or its number from 0")
        if self.unit is not None and unit_of(self.unit) is None:
            raise FileError(f"⟦unit⟧ {self.unit!r} is none of ohm, V or A with a prefix, such as kohm or mV")
        if self.threshold is not None and self.threshold != "fit":
            level_of(self.threshold)

    def given(self) -> tuple[str, ...]:
        """Names of the options that were given."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) is not None)

    def to_json(self) -> dict[str, Any]:
        """What was given."""
        return {name: getattr(self, name) for name in self.given()}


@dataclass(frozen=True)
class Understood:
    """What a file was read as.

    Args:
        format: as in :class:`FileOptions`.
        bits: that were read.
        text: the same in words, without the number of bits.
        bit_order: of packed bytes; None where there are none.
        threshold: above which a bit is 1, in ``unit``; None where the file holds bits.
        unit: SI unit of the values, empty where it is not known.
        column: that was read; None where there is one only.
        containers: that it lay in, from outside to inside, such as ``gzip``.
        notes: on anything that was left aside.
    """

    format: str
    bits: int
    text: str
    bit_order: BitOrder | None = None
    threshold: float | None = None
    unit: str = ""
    column: str | None = None
    containers: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        within = "".join(f"{name}: " for name in self.containers)
        line = "; ".join([f"{within}{self.text}, {self.bits} bits", *self.notes])
        return "".join(c if c.isprintable() else "?" for c in line)  # names in the file may hold anything

    def to_json(self) -> dict[str, Any]:
        return {
            "format": self.format, "bits": self.bits, "bit_order": self.bit_order, "threshold": self.threshold,
            "unit": self.unit, "column": self.column, "containers": list(self.containers), "notes": list(self.notes),
            "sentence": str(self),
        }  # fmt: skip


@dataclass(frozen=True)
class Level:
    """A threshold: its value in SI, its SI unit or an empty text, and how it was written."""

    value: float
    unit: str
    text: str


def level_of(threshold: float | str) -> Level:
    """Read a threshold, with a unit or without.

    Raises:
        FileError: neither a number nor a resistance, voltage or current, or not finite.
    """
    if not isinstance(threshold, str):
        value = float(threshold)
        if not isfinite(value):
            raise FileError(f"⟦threshold⟧ {value} is not finite; give a number, or ⟦threshold=fit⟧")
        return Level(value, "", f"{value:g}")
    for unit, dimension in (("", _PLAIN), *_QUANTITIES.items()):
        body, _, word = _split(threshold)
        # a bare number is taken by the first, and a foreign unit by none
        if unit_name(word) in dimension.units or (not unit and word in _PLAIN.units):
            name = unit_name(word) if unit else word
            return Level(parse_quantity(f"{body} {name}", dimension, name="threshold", signed=True), unit, threshold)
    raise FileError(
        f"⟦threshold⟧ {threshold[:60]!r} is no resistance, voltage, current or number; give such as 5.4kohm, 0.35V, "
        "-20mV or 5.4k with a decimal point, or fit"
    )


def _split(text: str) -> tuple[str, str, str]:
    found = re.fullmatch(r"\s*([-+−]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(\s*)(.*?)\s*", text, re.DOTALL)
    return (found[1], found[2], found[3]) if found else (text, "", "?")


def unit_name(text: str) -> str:
    """A unit as files write it, in the spelling that :mod:`voltaspin.core.units` knows."""
    text = text.strip().strip("()[]{}").strip()
    spelled = re.sub(r"(?i)volts?$", "V", text)
    spelled = re.sub(r"(?i)(amperes?|amps?)$", "A", spelled)
    spelled = re.sub(r"(?i)ohms?$", "ohm", spelled)
    return re.sub(r"^(?i:milli)(?=[VAo])", "m", re.sub(r"^(?i:kilo)(?=[VAo])", "k", re.sub(r"^K(?=ohm)", "k", spelled)))


def unit_of(text: str) -> tuple[str, float] | None:
    """SI unit and factor of a unit of resistance, voltage or current; None for any other text."""
    name = unit_name(text)
    for unit, dimension in _QUANTITIES.items():
        if name in dimension.units:
            return unit, dimension.units[name]
    return None
