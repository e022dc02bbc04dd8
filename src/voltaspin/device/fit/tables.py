"""Files of measurements to data sets: columns found by name, units, kinds, devices."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from voltaspin.core import units
from voltaspin.core.errors import InputError
from voltaspin.core.units import parse_assignment
from voltaspin.device.fit import data as measurements
from voltaspin.device.fit.bench import switching_columns
from voltaspin.device.fit.columns import by_quantity, column_names, delimiter_of, explicit, kind_of, mapping_of
from voltaspin.device.fit.kinds import BELIEVED, DIRECTION_COLUMNS, KINDS, STATED, Kind
from voltaspin.device.fit.reading import Floats, Table, checked, is_hdf5, read_table
from voltaspin.device.junction import Junction

# --- files --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measurements:
    """Data sets of one kind, and what was read from each file.

    Args:
        kind: key of :data:`KINDS`.
        sets: data sets, of :mod:`voltaspin.device.fit.data`.
        files: name, SHA-256, points and columns of each file.
        device: which one was measured, where a column says it.
        notes: what a reader must know about the data.
        constants: times of models that were stated [s].
    """

    kind: str
    sets: list[Any]
    files: tuple[dict[str, Any], ...]
    device: str | None = None
    notes: tuple[str, ...] = ()
    constants: dict[str, float] = field(default_factory=dict)

    @property
    def points(self) -> int:
        return sum(map(len, self.sets))


@dataclass(frozen=True)
class BadDevice:
    """A device whose rows give no data: which one, and why."""

    device: str
    reason: str


def read_measurements(files: Sequence[Path], **how: Any) -> Measurements:
    """Read tables of measurements on one device.

    Args:
        files, how: as :func:`read_devices`.

    Raises:
        InputError: as :func:`read_devices`; several devices.
    """
    found = read_devices(files, **how)
    if len(found) > 1:
        listed = ", ".join(str(one.device) for one in found[:8])
        raise InputError(f"these files hold {len(found)} devices ({listed}); read them with read_devices")
    assert isinstance(found[0], Measurements)  # a single bad device is an error
    return found[0]


def read_devices(
    files: Sequence[Path],
    *,
    kind: str | None = None,
    columns: Sequence[str] = (),
    fixed: Sequence[str] = (),
    junction: Junction | None = None,
) -> list[Measurements | BadDevice]:
    """Read tables of measurements, each device for itself.

    Args:
        files: CSV or HDF5.
        kind: key of :data:`KINDS`; default: what the columns tell.
        columns: ``"width=t_pulse:ns"``: which column has a quantity, and its unit. A column called like its quantity
            is found without: ``width``, ``width_ns``, ``width (ns)``, and so are the names in
            :data:`voltaspin.device.fit.kinds.SYNONYMS`. A cell may bring its own unit: ``0.75ns``.
        fixed: ``"trials=1000"``: a quantity that no column has.
        junction: whose conductance makes voltages of currents where ``fixed`` says ``"resistance=junction"``.

    Returns:
        One entry for each device in the order of the files; one for all rows where no column tells devices apart.

    Raises:
        InputError: a file cannot be read or was given twice, columns that tell no kind or two, a quantity that is
            missing, given twice or has an unknown unit, a device without a name, or with two spellings. A value that
            no data set takes makes a bad device where there are several, and is an error where there is one.
    """
    sha256 = _digests(files)
    headers = {path: column_names(path) for path in files}
    asked = by_quantity(columns)
    name = kind_of(kind, headers, asked)
    tables = _tables(KINDS[name], headers, asked, fixed)
    found: list[Measurements | BadDevice] = []
    for device, parts in _by_device(tables).items():
        try:
            sets, read, notes = [], [], []
            for source, table in parts:
                here, told = _sets(KINDS[name], source, table, junction)
                sets += here
                notes += told
                read.append(source.read | {"points": sum(map(len, here)), "sha256": sha256[source.path]})
            constants = {n: v for n, v in parts[0][0].values.items() if n in ("tau_0", "tau_D")}
            found.append(Measurements(name, sets, tuple(read), device, tuple(dict.fromkeys(notes)), constants))
        except InputError as error:
            found.append(BadDevice(str(device), str(error)))
            first = error
    if all(isinstance(one, BadDevice) for one in found):
        raise first
    return found


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


@dataclass(frozen=True)
class _Source:
    """One file: where its quantities come from, and what its record says."""

    path: Path
    mapping: Mapping[str, tuple[str, str, float]]  # quantity to (column, stated unit, factor that makes SI of it)
    values: Mapping[str, Any]
    starts: bool  # whether states alone in its column of directions are those before the pulse
    read: dict[str, Any]
    asked: frozenset[str]  # quantities whose column was asked for


def _tables(
    kind: Kind, headers: Mapping[Path, list[str]], asked: Mapping[str, str], fixed: Sequence[str]
) -> list[tuple[_Source, Table]]:
    """Each file with the columns that its quantities need."""
    for name, text in asked.items():
        if name not in kind.names or name in STATED:
            listed = ", ".join(one for one in kind.names if one not in STATED)
            raise InputError(f"columns='{name}={text}': this kind of measurement has {listed}")
        if all(explicit(header, text, None)[0] is None for header in headers.values()):
            listed = ", ".join(map(repr, dict.fromkeys(c for header in headers.values() for c in header)))
            raise InputError(f"columns='{name}={text}': no file has that column; there are {listed}")
    values = dict(_stated(text, kind) for text in fixed)
    mappings = {path: mapping_of(path, header, kind, asked) for path, header in headers.items()}
    for name in values:
        if all(name in mapping for mapping in mappings.values()):
            column = next(iter(mappings.values()))[name][0]
            raise InputError(f"fixed={name}: every file has it in a column ({column!r}); leave fixed={name} out")
    tables = []
    for path, mapping in mappings.items():
        here = {name: value for name, value in values.items() if name not in mapping}
        _complete(kind, path, {*mapping, *here}, mapping)
        columns = {
            name: {
                "column": column,
                "unit": unit or next(iter(kind.units[name].units)) or "1" if name in kind.units else None,
            }
            for name, (column, unit, _) in mapping.items()
        }
        starts = "initial" in asked or mapping.get("initial", ("",))[0].lower() not in DIRECTION_COLUMNS
        source = _Source(path, mapping, here, starts, {"name": path.name, "columns": columns}, frozenset(asked))
        delimiter = "," if is_hdf5(path) else delimiter_of(path)
        tables.append((source, read_table(path, {column for column, *_ in mapping.values()}, delimiter=delimiter)))
    return tables


def _complete(kind: Kind, path: Path, given: set[str], mapping: Mapping[str, Any]) -> None:
    """Raise InputError where a file lacks a quantity that its data set needs."""
    data = getattr(measurements, kind.data)
    needed = {f.name for f in fields(data) if f.default is MISSING and f.default_factory is MISSING}
    if {"R_P", "R_AP"} & given and "R" not in given:
        needed -= {"R", "state"}
    if "current" in kind.made_of:  # a current may be a voltage, counts a share, and the number of pulses may be unknown
        needed -= (
            {"trials"} | ({"voltage"} if "current" in given else set()) | ({"P_sw"} if "flips" in given else set())
        )
    for name in sorted(needed - given):
        si = next(iter(kind.units[name].units)) if name in kind.units else ""
        unit = f":{si}" if si else ""
        raise InputError(
            f"{path} has no column for {name}; name one with columns='{name}=COLUMN{unit}', or give its value with "
            f"fixed='{name}=VALUE'"
        )
    if not set(mapping) - {"device"}:
        raise InputError(
            f"{path} has none of the columns {', '.join(kind.names)}; name them with columns='QUANTITY=COLUMN'"
        )


def _stated(text: str, kind: Kind) -> tuple[str, Any]:
    name, _, word = (part.strip() for part in text.partition("="))
    if word and (name in kind.texts or name == "device" in kind.names or (name, word) == ("resistance", "junction")):
        return name, word
    known, value = parse_assignment(
        text, {**kind.units, **dict.fromkeys(kind.names, units.NUMBER)} | dict(kind.units), name="fixed"
    )
    if known in BELIEVED and not word[-1:].isalpha() and not _believed(known, np.array(value)):
        raise InputError(
            f"fixed='{text}' is {_far_off(known, value, kind)}; write the number with its unit, such as "
            f"fixed='{known}={word}{_smaller(known, value, kind)}', or {next(iter(kind.units[known].units))} if that "
            "is meant"
        )
    return known, value


def _believed(quantity: str, values: Any) -> Any:
    """Whether each value is of the size of its quantity, or zero."""
    low, high, _ = BELIEVED.get(quantity, (0.0, math.inf, 1.0))
    return (values == 0) | ((np.abs(values) >= low) & (np.abs(values) <= high))


def _far_off(quantity: str, value: float, kind: Kind) -> str:
    (low, high, _), si = BELIEVED[quantity], next(iter(kind.units[quantity].units))
    return f"{value:g} {si}, which is no usual {quantity} ({low:g} to {high:g} {si})"


def _smaller(quantity: str, value: float, kind: Kind) -> str:
    """The unit that makes a number one of the usual size."""
    usual = BELIEVED[quantity][2]
    ratios = {u: abs(math.log(abs(value) * size / usual)) for u, size in kind.units[quantity].units.items()}
    return min(ratios, key=lambda unit: ratios[unit])


def _check_size(source: _Source, table: Table, quantity: str, values: Floats, kind: Kind) -> None:
    """Refuse a column whose numbers are no such quantity in its unit, unless the unit stands in the cells or was asked.

    Columns of pulses without any unit are :mod:`voltaspin.device.fit.bench`'s, which looks for swapped ones.
    """
    column, unit, factor = source.mapping[quantity]
    if (quantity in source.asked and unit) or _unit_of_cells(table, column):
        return
    if not unit and kind.data == "SwitchingData" and quantity in ("width", "voltage"):
        return
    off = ~_believed(quantity, values)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        likely, si = _smaller(quantity, float(values[row] / factor), kind), next(iter(kind.units[quantity].units))
        raise InputError(
            f"{source.path}: column {column!r} in {table.where(row)} is {_far_off(quantity, values[row], kind)}; if "
            f"it is in {likely}, say so with columns='{quantity}={column}:{likely}', and with "
            f"columns='{quantity}={column}:{unit or si}' if {unit or si} is meant"
        )


def _by_device(tables: Sequence[tuple[_Source, Table]]) -> dict[str | None, list[tuple[_Source, Table]]]:
    """The rows of each device, in the order in which devices first appear."""
    named = [source for source, _ in tables if "device" in source.mapping or "device" in source.values]
    found: dict[str | None, list[tuple[_Source, Table]]] = {}
    spelled: dict[str, tuple[str, str]] = {}
    for source, table in tables:
        if named and source not in named:
            raise InputError(f"{source.path} has no column for device, which {named[0].path} has; give it one")
        if "device" not in source.mapping:
            found.setdefault(source.values.get("device"), []).append((source, table))
            continue
        rows: dict[str, list[int]] = {}
        for row, device in enumerate(table.texts(column := source.mapping["device"][0])):
            if device not in rows:
                place = f"{source.path}, {table.where(row)}"
                if not device:
                    raise InputError(
                        f"{place}: the column {column!r} names no device; fill the cell or leave the row out"
                    )
                other, there = spelled.setdefault(device.casefold(), (device, place))
                if other != device:
                    raise InputError(
                        f"{place}: {device!r} and {other!r} ({there}) differ in case; write one device in one way"
                    )
            rows.setdefault(device, []).append(row)
        for device, chosen in rows.items():
            found.setdefault(device, []).append((source, table.rows(chosen)))
    return found


def _sets(kind: Kind, source: _Source, table: Table, junction: Junction | None) -> tuple[list[Any], list[str]]:
    """Data sets of one file and device, one for each combination of the shared quantities in columns; and notes."""
    data = getattr(measurements, kind.data)
    known = {f.name for f in fields(data)}
    notes: list[str] = []
    columns: dict[str, Any] = {
        name: table.numbers(column, factor, dimension=kind.units[name], stated=bool(unit))
        for name, (column, unit, factor) in source.mapping.items() if name in kind.units
    }  # fmt: skip
    for name, values_of in columns.items():
        _check_size(source, table, name, values_of, kind)
    columns |= {name: table.texts(source.mapping[name][0]) for name in kind.texts if name in source.mapping}
    values = {name: value for name, value in source.values.items() if name != "device"}
    if kind.data == "SwitchingData":
        stated = {name: unit or _unit_of_cells(table, column) for name, (column, unit, _) in source.mapping.items()}
        made, notes = checked(lambda: switching_columns(
            columns | values, len(table), starts=source.starts, stated=stated, junction=junction), table)  # fmt: skip
        columns = {name: x for name, x in made.items() if name in columns or np.ndim(x)}
        values = {name: x for name, x in made.items() if name not in columns}
    columns = {name: np.asarray(x) for name, x in columns.items()}
    wide = [s for s in ("P", "AP") if f"R_{s}" in {*columns, *values}] if "R" in known - {*columns, *values} else []
    keys = [name for name in kind.shared if name in columns]
    groups: dict[tuple[Any, ...], list[int]] = {}
    for row in range(len(table)):
        groups.setdefault(tuple(columns[name][row].item() for name in keys), []).append(row)
    sets: list[Any] = []
    for group, chosen in groups.items():
        one = values | {name: x[chosen] for name, x in columns.items() if name not in keys}
        one |= dict(zip(keys, group, strict=True))
        told = ", ".join(f"{name} = {value}" for name, value in zip(keys, group, strict=True))
        place = table.rows(chosen), f", rows with {told}" if len(groups) > 1 else ""
        if not wide:
            taken = {name: value for name, value in one.items() if name in known}
            sets.append(checked(lambda: data(**taken), *place))  # noqa: B023
        for state in wide:
            half = {"voltage": one["voltage"], "R": one[f"R_{state}"], "state": np.array(state)}
            error = one.get(f"error_{state}", one.get("error"))
            sets.append(checked(lambda: data(**half, error=error), *place))  # noqa: B023
    return sets, notes


def _unit_of_cells(table: Table, column: str) -> str:
    """The letters behind the number in the first cell; where it has some, all cells have."""
    return table.texts(column)[0].lstrip("+-.,eE0123456789 ")


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
