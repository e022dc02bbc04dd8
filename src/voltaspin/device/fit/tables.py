"""Files of measurements to data sets: columns found by name, units, kinds."""

from __future__ import annotations

import csv
import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, make_dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from voltaspin.core import units
from voltaspin.core.errors import InputError
from voltaspin.core.units import Dimension, listed_units, parse_assignment
from voltaspin.device.fit import data as measurements
from voltaspin.device.fit.kinds import KINDS, Kind

# --- files --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measurements:
    """Data sets of one kind, and what was read from each file.

    Args:
        kind: key of :data:`KINDS`.
        sets: data sets, of :mod:`voltaspin.device.fit.data`.
        files: name, SHA-256, points and columns of each file.
    """

    kind: str
    sets: list[Any]
    files: tuple[dict[str, Any], ...]

    @property
    def points(self) -> int:
        return sum(map(len, self.sets))


def read_measurements(
    files: Sequence[Path], *, kind: str | None = None, columns: Sequence[str] = (), fixed: Sequence[str] = ()
) -> Measurements:
    """Read tables of measurements.

    Args:
        files: CSV or HDF5.
        kind: key of :data:`KINDS`; default: what the columns tell.
        columns: ``"width=t_pulse:ns"``: which column has a quantity, and its unit. A column called like its quantity is
            found without: ``width``, ``width_ns``, ``width (ns)``.
        fixed: ``"trials=1000"``: a quantity that no column has.

    Raises:
        InputError: a file cannot be read or was given twice, columns that tell no kind or two, a quantity that is
            missing, given twice or has an unknown unit, or a value that no data set takes.
    """
    sha256 = _digests(files)
    headers = {path: _column_names(path) for path in files}
    asked = _by_quantity(columns)
    name = _kind_of(kind, headers, asked)
    sets, read = _data_sets(KINDS[name], headers, asked, fixed)
    return Measurements(name, sets, tuple(read[path] | {"sha256": sha256[path]} for path in files))


def _digests(files: Sequence[Path]) -> dict[Path, str]:
    """SHA-256 of each file; InputError where one is not there, or is there twice."""
    found: dict[Path, str] = {}
    for path in files:
        if not path.is_file():
            raise InputError(f"{path} does not exist or is no file; give the path of a CSV or HDF5 file")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest in found.values():
            raise InputError(f"{path} was given before, or holds the same bytes; give each measurement once")
        found[path] = digest
    return found


def _is_hdf5(path: Path) -> bool:
    return path.suffix.lower() in (".h5", ".hdf5", ".hdf")


def _rows(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        yield from (line for line in file if line.strip() and not line.lstrip().startswith("#"))


def _delimiter(path: Path) -> str:
    """A comma, unless the line of names has none."""
    head = next(iter(_rows(path)), "")
    return "," if "," in head else max(";\t|", key=head.count)


def _column_names(path: Path) -> list[str]:
    """Names of the columns of a CSV or HDF5 file.

    Raises:
        InputError: the file cannot be read, or is empty.
    """
    try:
        if _is_hdf5(path):
            with import_module("h5py").File(path, "r") as file:
                names = measurements.hdf5_columns(file)
        else:
            names = [cell.strip() for cell in next(csv.reader(_rows(path), delimiter=_delimiter(path)), [])]
    except (ImportError, OSError, ValueError, csv.Error):
        names = []
    if not names:
        measurements.load(_Words, path, {"state": ""})  # says what is wrong with the file
    return names


@dataclass(frozen=True)
class _Words:
    """A column of text; ``state`` is what the reader takes as such."""

    state: Any


def _by_quantity(columns: Sequence[str]) -> dict[str, str]:
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


def _kind_of(given: str | None, headers: Mapping[Path, list[str]], asked: Mapping[str, str]) -> str:
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


def _unit_of(column: str, quantity: str | None, units: Dimension | None) -> str | None:
    """The unit in a column's name, ``""`` for none; None where it is not of that quantity.

    With no quantity the rest of the name may be anything.
    """

    def named(text: str) -> bool:
        return quantity is None or text.strip().lower() == quantity.lower()

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


def _mapping(
    path: Path, header: list[str], kind: Kind, asked: Mapping[str, str]
) -> dict[str, tuple[str, str, float]]:  # fmt: skip
    """Quantity to (column, unit, factor that makes SI of it) for one file."""
    found: dict[str, tuple[str, str, float]] = {}
    for name in kind.names:
        units, column, unit = kind.units.get(name), None, ""
        if name in asked:
            column, unit = _explicit(header, asked[name], units)
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
        found[name] = (column, unit or (next(iter(units.units)) if units is not None else ""), factor)
    return found


def _explicit(header: list[str], text: str, units: Dimension | None) -> tuple[str | None, str]:
    """(column, unit) that was asked for, if the file has it."""
    if text in header:
        return text, _unit_of(text, None, units) or ""
    column, colon, unit = (part.strip() for part in text.rpartition(":"))
    return (column, _plain(unit)) if colon and column in header else (None, "")


def _data_sets(
    kind: Kind, headers: Mapping[Path, list[str]], asked: Mapping[str, str], stated: Sequence[str]
) -> tuple[list[Any], dict[Path, dict[str, Any]]]:
    """Data sets of all files, and what was read from each."""
    for name, text in asked.items():
        if name not in kind.names:
            raise InputError(f"columns='{name}={text}': this kind of measurement has {', '.join(kind.names)}")
        if all(_explicit(header, text, None)[0] is None for header in headers.values()):
            listed = ", ".join(map(repr, dict.fromkeys(c for header in headers.values() for c in header)))
            raise InputError(f"columns='{name}={text}': no file has that column; there are {listed}")
    values = dict(_stated(text, kind) for text in stated)
    mappings = {path: _mapping(path, header, kind, asked) for path, header in headers.items()}
    for name in values:
        if all(name in mapping for mapping in mappings.values()):
            column = next(iter(mappings.values()))[name][0]
            raise InputError(f"fixed={name}: every file has it in a column ({column!r}); leave fixed={name} out")
    sets, read = [], {}
    for path, mapping in mappings.items():
        here = _sets(kind, path, mapping, {n: v for n, v in values.items() if n not in mapping})
        sets += here
        read[path] = {
            "name": path.name,
            "points": sum(map(len, here)),
            "columns": {
                n: {"column": column, "unit": unit or "1" if n in kind.units else None}
                for n, (column, unit, _) in mapping.items()
            },
        }
    return sets, read


def _stated(text: str, kind: Kind) -> tuple[str, Any]:
    name, _, word = (part.strip() for part in text.partition("="))
    if name in kind.texts and word:
        return name, word
    return parse_assignment(text, {**kind.units, **dict.fromkeys(kind.texts, units.NUMBER)}, name="fixed")


def _sets(
    kind: Kind, path: Path, mapping: Mapping[str, tuple[str, str, float]], values: Mapping[str, Any]
) -> list[Any]:
    """Data sets of one file: one for each combination of the shared quantities that it has in columns."""
    data = getattr(measurements, kind.data)
    known = {f.name for f in fields(data)}
    given = {*mapping, *values}
    wide = [s for s in ("P", "AP") if f"R_{s}" in given] if "R" in known - given else []
    needed = {f.name for f in fields(data) if f.default is MISSING and f.default_factory is MISSING}
    for name in sorted(needed - ({"R", "state"} if wide else set()) - given):
        si = next(iter(kind.units[name].units)) if name in kind.units else ""
        unit = f":{si}" if si else ""
        raise InputError(
            f"{path} has no column for {name}; name one with columns='{name}=COLUMN{unit}', or give its value with "
            f"fixed='{name}=VALUE'"
        )
    if not mapping:
        raise InputError(
            f"{path} has none of the columns {', '.join(kind.names)}; name them with columns='QUANTITY=COLUMN'"
        )
    delimiter = "," if _is_hdf5(path) else _delimiter(path)
    numbers = {name: (column, factor) for name, (column, _, factor) in mapping.items() if name in kind.units}
    table: dict[str, Any] = {}
    if numbers:
        rows: Any = measurements.load(make_dataclass("Rows", list(numbers)), path, numbers, delimiter=delimiter)
        table |= vars(rows)
    for name in set(kind.texts) & set(mapping):
        table[name] = measurements.load(_Words, path, {"state": mapping[name][0]}, delimiter=delimiter).state
    keys = [name for name in kind.shared if name in table]
    length = len(next(iter(table.values())))
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row in range(length):
        groups.setdefault(tuple(table[name][row].item() for name in keys), []).append(row)
    sets = []
    for group, chosen in groups.items():
        one = dict(values) | {name: column[chosen] for name, column in table.items() if name not in keys}
        one |= dict(zip(keys, group, strict=True))
        where = f"{path}, rows with {', '.join(f'{n} = {v}' for n, v in zip(keys, group, strict=True))}"
        try:
            if wide:
                for state in wide:
                    half = {"voltage": one["voltage"], "R": one[f"R_{state}"], "state": np.array(state)}
                    sets.append(data(**half, error=one.get(f"error_{state}", one.get("error"))))
            else:
                sets.append(data(**{name: value for name, value in one.items() if name in known}))
        except InputError as error:
            raise InputError(f"{where if len(groups) > 1 else path}: {error}") from None
    return sets


def joined(sets: Sequence[Any]) -> Any:
    """Data sets of one kind as one, all rows together.

    Raises:
        InputError: they differ in what a data set has one value of, or only some have errors.
    """
    first, together = sets[0], {}
    for name in (f.name for f in fields(first)):
        values = [getattr(one, name) for one in sets]
        if any(isinstance(value, np.ndarray) for value in values):
            if any(value is None for value in values):
                raise InputError(f"some of these data sets have a column {name} and some have none; give all or none")
            together[name] = np.concatenate(values)
        elif len(set(values)) > 1:
            listed = " and ".join(f"{value:g}" for value in sorted(set(values)))
            raise InputError(f"{name} = {listed}: data of one fit have one {name}; fit them one by one")
    return replace(first, **together)
