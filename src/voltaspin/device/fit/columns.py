"""Which column of a file has which quantity: names, synonyms and units in the names."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path

from voltaspin.core.errors import InputError
from voltaspin.core.units import Dimension, listed_units
from voltaspin.device.fit.kinds import DIRECTION_COLUMNS, KINDS, STATED, SYNONYMS, Kind
from voltaspin.device.fit.reading import hdf5_columns, is_hdf5, read_table, text_of


def _rows(path: Path) -> Iterator[str]:
    text = io.StringIO(text_of(path), newline="")
    yield from (line for line in text if line.strip() and not line.lstrip().startswith("#"))


def delimiter_of(path: Path) -> str:
    """A comma, unless the line of names has none."""
    head = next(iter(_rows(path)), "")
    return "," if "," in head else max(";\t|", key=head.count)


def column_names(path: Path) -> list[str]:
    """Names of the columns of a CSV or HDF5 file.

    Raises:
        InputError: the file cannot be read, or is empty.
    """
    try:
        if is_hdf5(path):
            with import_module("h5py").File(path, "r") as file:
                names = hdf5_columns(file)
        else:
            names = [cell.strip() for cell in next(csv.reader(_rows(path), delimiter=delimiter_of(path)), [])]
    except (ImportError, OSError, ValueError, csv.Error):
        names = []
    if not names:
        read_table(path, {""})  # says what is wrong with the file
    return names


def by_quantity(columns: Sequence[str]) -> dict[str, str]:
    """Return the column of each quantity."""
    asked: dict[str, str] = {}
    for text in columns:
        name, equals, column = (part.strip() for part in text.partition("="))
        if not (name and equals and column):
            raise InputError(f"columns='{text}': give QUANTITY=COLUMN or QUANTITY=COLUMN:UNIT")
        if name in asked:
            raise InputError(f"columns names {name} twice; give it once")
        asked[name] = column
    return asked


def kind_of(given: str | None, headers: Mapping[Path, list[str]], asked: Mapping[str, str]) -> str:
    """The kind that was given, or the one that the columns tell."""
    if given is not None:
        if given not in KINDS:
            raise InputError(f"kind={given} is unknown; use {', '.join(KINDS)}")
        return given
    seen = [name for header in headers.values() for name in header]
    fitting = []
    for name, kind in KINDS.items():
        here = {q for q in kind.names if q in asked or any(_unit_of(c, q, kind.units.get(q)) is not None for c in seen)}
        if any(mark <= here for mark in kind.marks):
            fitting.append(name)
    if len(fitting) != 1:
        listed = ", ".join(map(repr, dict.fromkeys(seen)))
        what = f"may be {' or '.join(fitting)}" if fitting else "tell no kind of measurement"
        raise InputError(f"the columns {listed} {what}; give kind={' or '.join(fitting or KINDS)}, or columns")
    return fitting[0]


_BRACKET = re.compile(r"(.*?)\s*[\[(]([^\[\]()]*)[\])]")


def _plain(unit: str) -> str:
    """The unit in plain letters, ``""`` for 1."""
    unit = unicodedata.normalize("NFKC", unit).strip().replace("\N{GREEK CAPITAL LETTER OMEGA}", "ohm")
    return "" if unit == "1" else unit.replace("\N{GREEK SMALL LETTER MU}", "u")


def _direction(quantity: str) -> tuple[str, ...]:
    return DIRECTION_COLUMNS if quantity == "initial" else ()


def _unit_of(column: str, quantity: str | None, units: Dimension | None) -> str | None:
    """The unit in a column's name, ``""`` for none; None where it is not of that quantity.

    With no quantity the rest of the name may be anything.
    """

    def named(text: str) -> bool:
        if quantity is None:
            return True
        text = re.sub(r"[\s-]+", "_", text.strip())
        if text in (known := (quantity, *SYNONYMS.get(quantity, ()), *_direction(quantity))):
            return True
        return len(text) > 1 and text.lower() in map(str.lower, known)

    for text in (column, column.rpartition("/")[2]):  # the last part of a path in HDF5
        if units is not None:
            if (match := _BRACKET.fullmatch(text)) and named(match[1]):
                return _plain(match[2])
            for parts in (text.rpartition("_"), text.rpartition(" "), text.partition("/")):
                if parts[1] and named(parts[0]) and _plain(parts[2]) in set(units.units) - {""}:
                    return _plain(parts[2])
        if named(text):
            return ""
    return None


def mapping_of(
    path: Path, header: list[str], kind: Kind, asked: Mapping[str, str]
) -> dict[str, tuple[str, str, float]]:  # fmt: skip
    """Quantity to (column, unit, factor that makes SI of it) for one file."""
    found: dict[str, tuple[str, str, float]] = {}
    for name in kind.names:
        units, column, unit = kind.units.get(name), None, ""
        if name in STATED:
            continue
        if name in asked:
            column, unit = explicit(header, asked[name], units)
        else:
            fitting = [c for c in header if _unit_of(c, name, units) is not None]
            if exact := [c for c in fitting if c == name]:
                fitting = exact[:1]
            if len(fitting) > 1:
                listed = " and ".join(map(repr, fitting))
                raise InputError(f"{path}: the columns {listed} may both be {name}; choose with columns='{name}=...'")
            if fitting:
                column, unit = fitting[0], _unit_of(fitting[0], name, units) or ""
        if column is None:
            continue
        if units is not None and unit and unit not in units.units:  # "" is SI
            raise InputError(
                f"{path}: the unit {unit!r} of {name} (column {column!r}) is unknown; write it as one of "
                f"{listed_units(units) or '1'}, in the file or in columns='{name}={column}:"
                f"{next(iter(units.units)) or '1'}'"
            )
        factor = units.units[unit] if units is not None and unit else 1.0
        found[name] = (column, unit, factor)
    if "voltage" in found:  # what was measured beside it is no axis
        found = {name: one for name, one in found.items() if name in asked or name not in ("current", "resistance")}
    return found


def explicit(header: list[str], text: str, units: Dimension | None) -> tuple[str | None, str]:
    """(column, unit) that was asked for, if the file has it."""
    if text in header:
        return text, _unit_of(text, None, units) or ""
    column, colon, unit = (part.strip() for part in text.rpartition(":"))
    return (column, _plain(unit)) if colon and column in header else (None, "")
