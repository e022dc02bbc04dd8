"""Measurements on real junctions: tables in CSV or HDF5, and the four data sets that a fit takes.

A data set is one thing measured under stated conditions, in SI. :func:`load` reads it from a file by a mapping
from quantity to column, with a factor where the column is not in SI; every row is checked on the way in, so
that a fit never meets a probability of 57.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.units import require_positive
from voltaspin.device.equilibrium import well_sign
from voltaspin.device.junction import Well

Floats = NDArray[np.float64]
#: Quantity to column name, or to (column name, factor that makes SI of it).
Columns = Mapping[str, str | tuple[str, float]]
Data = TypeVar("Data")

# --- checks --------------------------------------------------------------------------------------------


def _column(name: str, values: ArrayLike, unit: str) -> Floats:
    """One-dimensional copy that cannot be written to; InputError where an entry is no finite number."""
    try:
        column = np.array(values, np.float64, ndmin=1)
    except (TypeError, ValueError):
        raise InputError(f"{name} holds something that is no number; give numbers in {unit}") from None
    if column.ndim != 1 or not len(column):
        raise InputError(f"{name} has the shape {column.shape}; give a list of at least one value in {unit}")
    if not np.isfinite(column).all():
        row = int(np.flatnonzero(~np.isfinite(column))[0])
        raise InputError(f"{name} = {column[row]} {unit} in row {row + 1} is not finite; leave that row out")
    column.setflags(write=False)
    return column


def _refuse(name: str, column: Floats, bad: NDArray[np.bool_], unit: str, limit: str, remedy: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"{name} = {column[row]:g} {unit}".rstrip() + f" in row {row + 1} must be {limit}; {remedy}")


def _same_length(owner: str, columns: Mapping[str, NDArray[Any]]) -> int:
    """Common length of the columns, of which those of length 1 count for every row."""
    n = max(map(len, columns.values()))
    for name, column in columns.items():
        if len(column) not in (1, n):
            raise InputError(f"{owner}: {name} has {len(column)} values where others have {n}; give one per row")
    return n


# --- data sets -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SwitchingData:
    """Switching probabilities counted over pulses, all from the same initial state.

    A scalar stands for a column of equal values. Counts come from P_sw times trials, so a P_sw that was
    rounded coarser than 1 / trials carries that rounding.

    Args:
        voltage: of the pulses, with their sign [V], (n,).
        width: at half height [s], (n,).
        P_sw: share of the pulses after which the other state was read [1], (n,).
        trials: pulses per row, (n,).
        B_x, B_z: applied during pulse and relaxation, on top of the junction's own field [T], (n,).
        initial: ``"up"`` (parallel, bit 0) or ``"down"``.
        rise, fall: full durations of the linear edges [s].
        relax: from the end of the pulse to the read [s].

    Raises:
        InputError: an entry that is not finite or out of range, columns of different lengths, or the same
            pulse twice.
    """

    voltage: Floats
    width: Floats
    P_sw: Floats
    trials: Floats
    B_x: Floats = field(default_factory=lambda: np.zeros(1))
    B_z: Floats = field(default_factory=lambda: np.zeros(1))
    initial: Well = "up"
    rise: float = 0.0
    fall: float = 0.0
    relax: float = 10e-9

    def __post_init__(self) -> None:
        units = {"voltage": "V", "width": "s", "P_sw": "", "trials": "", "B_x": "T", "B_z": "T"}
        columns = {name: _column(name, getattr(self, name), unit) for name, unit in units.items()}
        P, trials = columns["P_sw"], columns["trials"]
        _refuse("P_sw", P, (P < 0) | (P > 1), "", "from 0 to 1", "give a share of pulses, not percent or counts")
        _refuse("width", columns["width"], columns["width"] <= 0, "s", "positive", "give the width at half height")
        _refuse(
            "trials", trials, (trials < 1) | (trials != np.round(trials)), "", "a whole number from 1 on",
            "give the number of pulses behind the probability",
        )  # fmt: skip
        well_sign(self.initial)
        for name in ("rise", "fall", "relax"):
            require_positive(name, getattr(self, name), "s", "give seconds, zero for none", zero=True)
        n = _same_length("switching data", columns)
        for name, column in columns.items():
            object.__setattr__(self, name, np.broadcast_to(column, n))
        _refuse(
            "width", self.width, (self.rise + self.fall) > 2 * self.width, "s",
            f"at least half of rise and fall together ({self.rise + self.fall:g} s)", "give the width at half height",
        )  # fmt: skip
        settings = np.stack([self.voltage, self.width, self.B_x, self.B_z], axis=1)
        _, first, counts = np.unique(settings, axis=0, return_index=True, return_counts=True)
        if (counts > 1).any():
            V, w, B_x, B_z = settings[first[int(np.argmax(counts > 1))]]
            rows = np.flatnonzero((settings == (V, w, B_x, B_z)).all(axis=1)) + 1
            raise InputError(
                f"rows {rows[0]} and {rows[1]} hold the same pulse ({V:g} V, {w:g} s, B_x {B_x:g} T, B_z {B_z:g} T); "
                "add repeated counts up in one row, or make two data sets of them"
            )

    def __len__(self) -> int:
        return len(self.P_sw)

    @property
    def counts(self) -> Floats:
        """Flips per row [1]."""
        return self.P_sw * self.trials

    @property
    def error(self) -> Floats:
        """Binomial standard error of P_sw, (n,); with half a flip added to both outcomes, so that it is never 0."""
        p = (self.counts + 0.5) / (self.trials + 1)
        return np.asarray(np.sqrt(p * (1 - p) / self.trials))


@dataclass(frozen=True, kw_only=True)
class ResistanceData:
    """Resistance against voltage in known states: the R-V curves.

    Args:
        voltage: across the junction, with its sign [V], (n,).
        R: voltage over current [ohm], (n,); the leads taken off.
        state: ``"P"`` or ``"AP"``, one or (n,).
        error: standard error of R [ohm], one or (n,); None where it is unknown.

    Raises:
        InputError: an entry that is not finite or out of range, or columns of different lengths.
    """

    voltage: Floats
    R: Floats
    state: NDArray[np.str_]
    error: Floats | None = None

    def __post_init__(self) -> None:
        columns: dict[str, NDArray[Any]] = {"voltage": _column("voltage", self.voltage, "V")}
        columns["R"] = _column("R", self.R, "ohm")
        columns["state"] = np.char.upper(np.char.strip(np.array(self.state, dtype=str, ndmin=1)))
        if self.error is not None:
            columns["error"] = _column("error", self.error, "ohm")
        for name in {"R", "error"} & set(columns):
            _refuse(name, columns[name], columns[name] <= 0, "ohm", "positive", "give voltage over current in ohm")
        unknown = ~np.isin(columns["state"], ("P", "AP"))
        if unknown.any():
            row = int(np.flatnonzero(unknown)[0])
            raise InputError(f"state {str(columns['state'][row])!r} in row {row + 1} is unknown; write P or AP")
        n = _same_length("resistance data", columns)
        for name, column in columns.items():
            object.__setattr__(self, name, np.broadcast_to(column, n))

    def __len__(self) -> int:
        return len(self.R)


@dataclass(frozen=True, kw_only=True)
class TMRData:
    """Tunnel magnetoresistance against voltage.

    Args:
        voltage: across the junction [V], (n,).
        TMR: (R_AP - R_P) / R_P at that voltage [1], (n,).
        error: its standard error [1], one or (n,); None where it is unknown.

    Raises:
        InputError: an entry that is not finite or out of range, or columns of different lengths.
    """

    voltage: Floats
    TMR: Floats
    error: Floats | None = None

    def __post_init__(self) -> None:
        columns = {"voltage": _column("voltage", self.voltage, "V"), "TMR": _column("TMR", self.TMR, "")}
        bad = (columns["TMR"] <= 0) | (columns["TMR"] > 10)
        _refuse("TMR", columns["TMR"], bad, "", "above 0 and at most 10", "give a ratio, not percent, e.g. 1.2")
        if self.error is not None:
            columns["error"] = _column("error", self.error, "")
            _refuse("error", columns["error"], columns["error"] <= 0, "", "positive", "give a ratio, not percent")
        n = _same_length("TMR data", columns)
        for name, column in columns.items():
            object.__setattr__(self, name, np.broadcast_to(column, n))

    def __len__(self) -> int:
        return len(self.TMR)


@dataclass(frozen=True, kw_only=True)
class SwitchingFieldData:
    """Fields along z at which the state switched while the field was ramped, one entry per ramp.

    Each ramp begins where the state is certain (at saturation) and its first switch counts. The field is the
    applied one; the stray field comes out of the fit.

    Args:
        up_to_down: fields of switches from parallel to antiparallel, on falling ramps [T], (n,) or none.
        down_to_up: fields of switches back, on rising ramps [T], (m,) or none.
        ramp_rate: magnitude of dB/dt [T/s].
        voltage: constant across the junction meanwhile [V].

    Raises:
        InputError: no switch at all, an entry that is not finite, or both kinds exchanged.
    """

    up_to_down: Floats = field(default_factory=lambda: np.zeros(0))
    down_to_up: Floats = field(default_factory=lambda: np.zeros(0))
    ramp_rate: float
    voltage: float = 0.0

    def __post_init__(self) -> None:
        require_positive("ramp_rate", self.ramp_rate, "T/s", "give the magnitude of dB/dt, e.g. 0.05")
        if not math.isfinite(self.voltage):
            raise InputError(f"voltage = {self.voltage!r} V must be finite; give volts, e.g. 0")
        for name in ("up_to_down", "down_to_up"):
            given = np.asarray(getattr(self, name))
            object.__setattr__(self, name, _column(name, given, "T") if given.size else np.zeros(0))
        if not len(self):
            raise InputError("no switching fields at all; give up_to_down, down_to_up or both in tesla")
        if len(self.up_to_down) and len(self.down_to_up):
            down, up = float(self.up_to_down.mean()), float(self.down_to_up.mean())
            if down >= up:
                raise InputError(
                    f"the mean field of switches to down, {down:g} T, is not below that of switches to up, {up:g} T; "
                    "exchange the two columns, or turn the sign of the field (up is parallel and grows with B_z)"
                )

    def __len__(self) -> int:
        return len(self.up_to_down) + len(self.down_to_up)


@dataclass(frozen=True, kw_only=True)
class ResistanceSpread:
    """Both resistances of many devices of one kind.

    Args:
        R_P, R_AP: of device i in row i [ohm], (n,).
        voltage: at which they were read [V].

    Raises:
        InputError: an entry that is not positive, different lengths, or a device whose R_AP is not above R_P.
    """

    R_P: Floats
    R_AP: Floats
    voltage: float = 0.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.voltage):
            raise InputError(f"voltage = {self.voltage!r} V must be finite; give the read voltage, e.g. 0.1")
        for name in ("R_P", "R_AP"):
            column = _column(name, getattr(self, name), "ohm")
            _refuse(name, column, column <= 0, "ohm", "positive", "leave shorted devices out")
            object.__setattr__(self, name, column)
        if len(self.R_P) != len(self.R_AP):
            raise InputError(
                f"{len(self.R_P)} values of R_P and {len(self.R_AP)} of R_AP; give both of every device, in one row"
            )
        bad = self.R_AP <= self.R_P
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"R_AP = {self.R_AP[row]:g} ohm in row {row + 1} must be above R_P = {self.R_P[row]:g} ohm; "
                "leave broken devices out, or exchange the columns"
            )

    def __len__(self) -> int:
        return len(self.R_P)


# --- files ---------------------------------------------------------------------------------------------


def load(kind: type[Data], path: Path | str, columns: Columns, *, delimiter: str = ",", **fixed: Any) -> Data:
    """Read a data set from a CSV or HDF5 file.

    ``load(SwitchingData, "sweep.csv", {"width": ("t_ns", 1e-9), "P_sw": "p"}, voltage=1.2, trials=1000)``

    A CSV file has one line of column names, then rows of numbers with a decimal point; lines that begin with #
    and empty ones are skipped. In HDF5 (``.h5``, ``.hdf5``; needs h5py) a column name is the path of a
    one-dimensional data set.

    Args:
        kind: class of the data set.
        path: of the file.
        columns: from the name of an argument of ``kind`` to its column, or to (column, factor that makes SI).
        delimiter: between the cells of a CSV file.
        fixed: arguments of ``kind`` that no column gives.

    Returns:
        The data set, checked.

    Raises:
        InputError: a file that does not exist, is empty, broken or truncated; a missing column; a cell that is
            no number; or as ``kind``.
    """
    path = Path(path)
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    for name in [*columns, *fixed]:
        if name not in known:
            raise InputError(f"{kind.__name__} has no quantity {name!r}; it takes {', '.join(known)}")
        if name in columns and name in fixed:
            raise InputError(f"{name} is given by a column and by a value; leave one of them out")
    needed = [n for n, f in known.items() if f.default is MISSING and f.default_factory is MISSING]
    if absent := [name for name in needed if name not in columns and name not in fixed]:
        raise InputError(
            f"{kind.__name__} needs {absent[0]}; map it to a column of {path.name} or give {absent[0]}=..."
        )
    sources = {name: (column, 1.0) if isinstance(column, str) else column for name, column in columns.items()}
    for name, (column, factor) in sources.items():
        if not math.isfinite(factor) or factor == 0:
            raise InputError(f"the factor {factor!r} of {name} (column {column!r}) must be finite and not zero")
    read = _read_hdf5 if path.suffix.lower() in (".h5", ".hdf5", ".hdf") else _read_csv
    table = read(path, {column for column, _ in sources.values()}, delimiter)
    values = {
        name: table[column] if name == "state" else _numbers(path, column, table[column]) * factor
        for name, (column, factor) in sources.items()
    }
    try:
        return kind(**values, **fixed)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


Cells = NDArray[Any]  #: a column as read
_MOST_ROWS = 10**8


def _numbers(path: Path, column: str, cells: Cells) -> Floats:
    out = np.empty(len(cells))
    for row, cell in enumerate(cells):
        try:
            out[row] = float(cell)
        except (TypeError, ValueError):  # TypeError: a record of several fields, which HDF5 has
            remedy = "write a decimal point" if "," in str(cell) else "correct the cell or leave the row out"
            what = f"{str(cell)!r}, which is no number" if str(cell).strip() else "empty"
            raise InputError(f"{path}: column {column!r} in row {row + 1} is {what}; {remedy}") from None
        if not math.isfinite(out[row]):
            raise InputError(f"{path}: column {column!r} in row {row + 1} is {cell}; leave the row out")
    return out


def _missing(path: Path, column: str, present: list[str]) -> InputError:
    listed = ", ".join(map(repr, present)) or "none"
    return InputError(f"{path} has no column {column!r}; it has {listed}: name one of them in the mapping")


def _read_csv(path: Path, wanted: set[str], delimiter: str) -> dict[str, Cells]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [
                (number, [cell.strip() for cell in cells])
                for number, cells in enumerate(csv.reader(file, delimiter=delimiter, strict=True), start=1)
                if any(cell.strip() for cell in cells) and not cells[0].lstrip().startswith("#")
            ]
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give the path of a CSV or HDF5 file") from None
    except (OSError, ValueError, csv.Error, TypeError) as error:
        raise InputError(f"{path} is not readable as CSV ({error}); export the table as CSV in UTF-8") from None
    if not lines:
        raise InputError(f"{path} is empty; it needs a line of column names and a row of numbers per point")
    (_, header), rows = lines[0], lines[1:]
    for column in sorted(wanted):
        if column not in header:
            other = next((d for d in ";\t ,|" if d != delimiter and all(d in name for name in header[:1])), None)
            if len(header) == 1 and other is not None:
                raise InputError(
                    f"{path} has one column {header[0]!r}; its cells seem to be separated by {other!r}: "
                    f"give delimiter={other!r}"
                )
            raise _missing(path, column, header)
        if header.count(column) > 1:
            raise InputError(f"{path} has {header.count(column)} columns {column!r}; give each a name of its own")
    if not rows:
        raise InputError(f"{path} has column names but no row of numbers; it may be truncated")
    for number, cells in rows:
        if len(cells) != len(header):
            raise InputError(
                f"{path}, line {number}: {len(cells)} cells where the header has {len(header)}; the file may be "
                "truncated there, or a cell may hold the delimiter"
            )
    return {column: np.array([cells[header.index(column)] for _, cells in rows]) for column in wanted}


def hdf5_columns(file: Any) -> list[str]:
    """Paths of all data sets of an open HDF5 file, sorted."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
    return sorted(found)


def _read_hdf5(path: Path, wanted: set[str], _delimiter: str) -> dict[str, Cells]:
    try:
        h5py = import_module("h5py")
    except ImportError:
        raise InputError(f"{path} is HDF5, which needs h5py: pip install h5py, or export the table as CSV") from None
    if not path.exists():
        raise InputError(f"{path} does not exist; give the path of a CSV or HDF5 file")
    table: dict[str, Cells] = {}
    try:
        with h5py.File(path, "r") as file:
            present = hdf5_columns(file)
            for column in sorted(wanted):
                if column.strip("/") not in present:
                    raise _missing(path, column, present)
                if file[column].size > _MOST_ROWS:
                    raise InputError(f"{path}: {column!r} says that it has {file[column].size} values, more than "
                                     f"the {_MOST_ROWS} that are read; it may be damaged")  # fmt: skip
                cells = np.asarray(file[column][()])
                if cells.ndim != 1 or not len(cells):
                    raise InputError(f"{path}: {column!r} has the shape {cells.shape}; a column is one-dimensional")
                table[column] = np.char.decode(cells.astype("S"), "utf-8") if cells.dtype.kind in "SO" else cells
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        # h5py has no error of its own: what it raises depends on which byte is wrong.
        raise InputError(f"{path} is not readable HDF5 ({error}); it may be truncated: export it again") from None
    lengths = {column: len(cells) for column, cells in table.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{column!r} {n}" for column, n in lengths.items())
        raise InputError(f"{path}: the columns differ in length ({told}); they must be rows of one table")
    return table
