"""Tables of measurements, CSV or HDF5, and their cells as numbers in SI; every message names the line of the file."""

from __future__ import annotations

import codecs
import csv
import io
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.spec import shown
from voltaspin.core.units import Dimension, parse_quantity

Floats = NDArray[np.float64]
Cells = NDArray[Any]  #: a column as read
#: Quantity to column name, or to (column name, factor that makes SI of it).
Columns = Mapping[str, str | tuple[str, float]]
Data = TypeVar("Data")
_MOST_ROWS = 10**8
#: Marks of encodings at the beginning of a text; the longer ones first, since UTF-32 begins like UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"), (codecs.BOM_UTF8, "utf-8-sig"),
)  # fmt: skip


class RowError(InputError):
    """A row of a data set that cannot be.

    Args:
        before, after: the message around the place; the place comes first where ``before`` is empty.
        rows: that are wrong, from 0.
    """

    def __init__(self, before: str, rows: Sequence[int], after: str) -> None:
        self.before, self.rows, self.after = before, tuple(rows), after
        super().__init__(self.at("row", range(1, max(self.rows) + 2)))

    def at(self, word: str, numbers: Sequence[int]) -> str:
        """Return the message with the rows as they are numbered elsewhere, e.g. as lines of a file."""
        places = " and ".join(str(numbers[row]) for row in self.rows)
        return f"{self.before} {word}{'s' if len(self.rows) > 1 else ''} {places} {self.after}".strip()


@dataclass(frozen=True)
class Table:
    """Columns of a file as they were read.

    Args:
        path: of the file.
        columns: by name; all of one length.
        places: of each row: the line of a CSV file, the row of an HDF5 file.
        word: ``"line"`` or ``"row"``.
        comma: whether a comma may be a decimal one, because it does not separate cells.
    """

    path: Path
    columns: Mapping[str, Cells]
    places: NDArray[np.int64]
    word: str
    comma: bool = False

    def __len__(self) -> int:
        return len(self.places)

    def rows(self, chosen: Sequence[int]) -> Table:
        """Return some rows, which keep their lines."""
        picked = list(chosen)
        return replace(self, columns={name: c[picked] for name, c in self.columns.items()}, places=self.places[picked])

    def where(self, row: int) -> str:
        """Return the line of a row, for a message."""
        return f"{self.word} {self.places[row]}"

    def texts(self, column: str) -> list[str]:
        """Return the cells of a column as words."""
        return [str(cell).strip() for cell in self.columns[column]]

    def numbers(
        self, column: str, factor: float = 1.0, *, dimension: Dimension | None = None, stated: bool = True
    ) -> Floats:
        """Return a column in SI.

        Args:
            column: its name.
            factor: that makes SI of a number without a unit.
            dimension: of cells that bring their own unit, such as ``0.75ns``; None where a cell has none.
            stated: whether the unit of a bare number is known. If not, cells with a unit and cells without one do not
                go together.

        Raises:
            InputError: a cell that is empty, no number, not finite or of another dimension.
        """
        out, own = np.empty(len(self)), np.zeros(len(self), bool)
        for row, cell in enumerate(self.columns[column]):
            try:
                out[row] = float(cell) * factor
            except (TypeError, ValueError):  # TypeError: a record of several fields, which HDF5 has
                out[row], own[row] = self._odd_number(column, row, factor, dimension)
            if not math.isfinite(out[row]):
                raise self._error(column, row, f"is {cell}; leave the row out")
        if self.comma:
            comma, point = ([k for k, c in enumerate(self.columns[column]) if mark in str(c)] for mark in ",.")
            if comma and point:
                raise self._error(column, point[0], f"has a point where {self.where(comma[0])} has a comma; write one")
        if own.any() and not own.all() and not stated:
            row = int(np.flatnonzero(~own)[0])
            raise self._error(column, row, "has no unit where other cells have one; give every cell its unit")
        return out

    def _odd_number(self, column: str, row: int, factor: float, dimension: Dimension | None) -> tuple[float, bool]:
        """Return what is no plain number: one with a decimal comma, or one with its own unit; and whether it has."""
        cell = str(self.columns[column][row]).strip()
        if not cell:
            raise self._error(column, row, "is empty; correct the cell or leave the row out")
        plain = cell.replace(",", ".") if self.comma and cell.count(",") == 1 and "." not in cell else cell
        try:
            return float(plain) * factor, False
        except ValueError:
            pass
        if dimension is not None and "," not in plain and plain[:1] in "+-.0123456789":
            return parse_quantity(plain, dimension, name=f"{self.path}: column {column!r} in {self.where(row)}:",
                                  signed=True), True  # fmt: skip
        remedy = "write a decimal point" if "," in cell else "correct the cell or leave the row out"
        raise self._error(column, row, f"is {shown(cell)}, which is no number; {remedy}")

    def _error(self, column: str, row: int, what: str) -> InputError:
        return InputError(f"{self.path}: column {column!r} in {self.where(row)} {what}")


def load(kind: type[Data], path: Path | str, columns: Columns, *, delimiter: str = ",", **fixed: Any) -> Data:
    """Read a data set from a CSV or HDF5 file.

    ``load(SwitchingData, "sweep.csv", {"width": ("t_ns", 1e-9), "P_sw": "p"}, voltage=1.2, trials=1000)``

    A CSV file has one line of column names, then rows of numbers; lines that begin with # and empty ones are skipped.
    A decimal comma is read where semicolons separate the cells. In HDF5 (``.h5``, ``.hdf5``; needs h5py) a column name
    is the path of a one-dimensional data set.

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
    table = read_table(path, {column for column, _ in sources.values()}, delimiter=delimiter)
    values = {
        name: np.array(table.texts(column)) if name == "state" else table.numbers(column, factor)
        for name, (column, factor) in sources.items()
    }
    return checked(lambda: kind(**values, **fixed), table)


def checked(make: Callable[[], Data], table: Table, where: str = "") -> Data:
    """Return what ``make`` makes of a table; an error of a row names its line, one without names ``where``."""
    try:
        return make()
    except RowError as error:
        raise InputError(f"{table.path}: {error.at(table.word, table.places.tolist())}") from None
    except InputError as error:
        raise InputError(f"{table.path}{where}: {error}") from None


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5 by its name."""
    return path.suffix.lower() in (".h5", ".hdf5", ".hdf")


def read_table(path: Path, wanted: set[str], *, delimiter: str = ",") -> Table:
    """Read some columns of a file.

    Raises:
        InputError: a file that does not exist, is empty, broken or truncated, or lacks a column.
    """
    if is_hdf5(path):
        return _read_hdf5(path, wanted)
    return _read_csv(path, wanted, delimiter)


def _missing(path: Path, column: str, present: list[str]) -> InputError:
    listed = ", ".join(map(repr, present)) or "none"
    return InputError(f"{path} has no column {column!r}; it has {listed}: name one of them in the mapping")


def text_of(path: Path) -> str:
    """Return a text in the encoding that its first bytes tell; without such a mark UTF-8, or Latin-1 where it is none.

    Raises:
        OSError: it cannot be read; ValueError: bytes that the encoding does not have.
    """
    data = path.read_bytes()
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    if b"\0" in data:
        raise ValueError("it has bytes of value zero, as UTF-16 without its byte order mark has and other than text")
    try:
        return data.decode()
    except UnicodeDecodeError:
        text = data.decode("latin-1")  # of old programs: letters such as a micro sign or a degree sign
        if any(unicodedata.category(letter) == "Cc" for letter in set(text) - set("\t\n\v\f\r")):
            raise
        return text


def _read_csv(path: Path, wanted: set[str], delimiter: str) -> Table:
    try:
        text = text_of(path)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        lines = [
            (reader.line_num, [cell.strip() for cell in cells])
            for cells in reader
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
    _check_end(path, rows, ended=text.endswith(("\n", "\r")))
    columns = {column: np.array([cells[header.index(column)] for _, cells in rows]) for column in wanted}
    return Table(path, columns, np.array([number for number, _ in rows]), "line", comma=delimiter == ";")


def _check_end(path: Path, rows: list[tuple[int, list[str]]], *, ended: bool) -> None:
    """Refuse a last cell that may be the beginning of one: without a line break, and the beginning of that above."""
    if len(rows) < 2 or ended:
        return
    above, last = rows[-2][1][-1], rows[-1][1][-1]
    if last != above and above.startswith(last):
        raise InputError(
            f"{path}, line {rows[-1][0]}: the last line has no line break, and its last cell {last!r} may be the "
            f"beginning of one like {above!r} above; complete it or leave the line out, and if it is whole, "
            "end it with a line break"
        )


def hdf5_columns(file: Any) -> list[str]:
    """Paths of all data sets of an open HDF5 file, sorted."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
    return sorted(found)


def _read_hdf5(path: Path, wanted: set[str]) -> Table:
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
    return Table(path, table, np.arange(1, max(lengths.values()) + 1), "row")
