"""Tables of numbers in text: CSV with any delimiter and decimal sign, and what oscilloscopes export.

A table is a block of rows with numbers in the same columns, below anything that a maker writes above it. Delimiter and
decimal sign are those with which the rows are numbers; names and units stand in the lines above. docs/recordings.md
names the makers and layouts.
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.noise.importer.reading import Content, FileError, Reading, one_way, unit_name, unit_of
from voltaspin.noise.importer.time_axis import factor_of, interval_in, is_time, misnamed

ROWS = 1 << 16  # rows read at once
_SAMPLE = 1 << 18  # bytes in which the layout is looked for
_LAST = 10  # rows that say which columns hold numbers
_DOT = re.compile(r"[-+−]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?|[-+]?(?i:nan|inf|infinity)")
_COMMA = re.compile(r"[-+−]?(?:\d+(?:,\d+)?|,\d+)(?:[eE][-+]?\d+)?|[-+]?(?i:nan|inf|infinity)")
_AXIS = re.compile(
    r"(?i)(?:time|zeit|temps|t|x|x[-_ ]?axis|x[-_ ]?value|seconds?|secs?|sequence|index|idx|samples?|n|nr|no|#|i|"
    r"point|points|in s|timestamp|datetime|elapsed|elapsed time|source)(?: ?[(\[/_,]? ?(?:[munpµ]?s|ns)[)\]]?)?"
)
_TIMES = re.compile(r"(?i)\(?(?:[munpµ]?s|secs?|seconds?|sequence|)\)?")
_LABEL = re.compile(r"(?i)(?:vertical units?|v ?units?|y_unit_label|y ?units?):?")
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", " ": "space", "": "none"}
_MAKERS = (
    (r"(?i)x-axis,\d", "Keysight InfiniiVision"), (r"(?i)LECROY", "Teledyne LeCroy"),
    (r"LabVIEW Measurement", "NI LabVIEW"),
    (r"(?i)in s[,;]", "Rohde & Schwarz"), (r"X,CH\d.*Start,Increment", "Rigol"), (r"(?i)Time\(s\),CH\d", "Rigol"),
    (r"CH\dV.*tInc|Time,X\(CH", "Rigol"), (r"(?i)Record Length,Analog", "Siglent"),
    (r"(?i)Source,CH\d\s*\nSecond", "Siglent"),
    (r"(?i)(?:^|\n)\(?[mun]?s\)?[,;]\(m?V\)|Channel A|Kanal A", "PicoScope"), (r'"?TraceName"?,', "Yokogawa"),
    (r"(?i)Model,[MDT][SPBD][OSC]|Record Length,[0-9.e+]+,|Point Format|Pt Fmt", "Tektronix"),
    (r"(?i)(?:XInc|XOrg):", "Keysight Infiniium"), (r"Memory Length,", "GW Instek"),
)  # fmt: skip


@dataclass(frozen=True)
class _Dialect:
    delimiter: str
    decimal: str

    def fields(self, line: str) -> list[str]:
        parts: list[str]
        if '"' in line:
            parts = next(csv.reader([line], delimiter=self.delimiter or "\x00"), [])
        elif self.delimiter == " ":
            parts = line.split()
        else:
            parts = line.split(self.delimiter) if self.delimiter else [line]
        parts = [p.strip() for p in parts]
        while len(parts) > 1 and not parts[-1]:
            parts.pop()
        return parts

    def is_number(self, text: str) -> bool:
        return (_COMMA if self.decimal == "," else _DOT).fullmatch(text) is not None

    def number(self, text: str) -> float:
        text = text.replace("−", "-").replace(",", ".") if self.decimal == "," else text.replace("−", "-")
        return float(text.replace("D", "e").replace("d", "e"))

    def kind(self, line: str) -> str:
        """One letter a field: Number, Text or Empty."""
        return "".join("N" if self.is_number(f) else "T" if f else "E" for f in self.fields(line))


@dataclass(frozen=True)
class _Table:
    """Layout of a table: how its rows are split, where they begin, what its columns are called."""

    dialect: _Dialect
    start: int  # lines above the rows, blank ones and comments counted
    columns: tuple[int, ...]  # that hold numbers
    names: tuple[str, ...]
    units: dict[int, str]
    rows: tuple[str, ...]  # of the sample
    one_row: bool = False

    def name(self, column: int) -> str:
        """Its name, empty where it has none."""
        return self.names[column] if column < len(self.names) else ""


class NoTableError(FileError):
    """A text without rows of numbers."""


def read_table(file: Content) -> Reading:
    """Read a column of a table of numbers.

    Raises:
        NoTableError: no rows of numbers.
        FileError: delimiter or decimal sign that could be either, several columns and none named.
    """
    lines, complete = _sample(file)
    table = _layout(lines, complete, file)
    dialect = table.dialect
    if table.one_row:
        fields = dialect.fields(table.rows[0])
        if (bad := next((f for f in fields if not dialect.is_number(f)), None)) is not None:
            raise FileError(f"{file} holds {bad[:40]!r} between the numbers of its one row; remove it")
        values = np.array(list(map(dialect.number, fields)))
        return Reading("csv", lambda: iter([values]), f"one row of {values.size} numbers")
    index = _column(table, file)
    written = table.units.get(index, "")
    unit, factor = unit_of(written) or ("", 1.0)
    label = table.name(index)
    maker = next((m for pattern, m in _MAKERS if re.search(pattern, "\n".join(lines[:60]))), "")
    count = len(dialect.fields(table.rows[0]))
    said = [f"table{f' exported by {maker}' if maker else ''}"]
    if count > 1:
        said.append(f"column {index}" + (f" ({label})" if label else "") + f" of {count}")
        said.append(f"delimiter {_DELIMITERS.get(dialect.delimiter, dialect.delimiter)}")
    said.append(f"decimal {'comma' if dialect.decimal == ',' else 'point'}")
    if table.start:
        said.append(f"{table.start} line{'s' if table.start > 1 else ''} above the rows")
    times, step = _times(table, index, lines, file)
    return Reading(
        "csv", lambda: _values(table, index, file), ", ".join(said), unit=unit, factor=factor,
        written=written if unit else "", column=label or str(index), times=times, step=step,
        place=None if file.follows else lambda value: f"line {_line(table, value, file)}",
    )  # fmt: skip


def _times(
    table: _Table, index: int, lines: list[str], file: Content
) -> tuple[Callable[[], Iterator[NDArray[np.float64]]] | None, float | None]:
    """The column of times [s] beside a column of values, or the time between samples that the lines above say."""
    given, dialect = file.options.time_column, table.dialect
    above = [dialect.fields(line) for line in lines[: table.start + 40]]  # old exports have settings beside the rows
    if given is not None:
        found = _numbered(given, "time_column", table, file)
    else:
        # an unnamed first column that only rises is one of times where it does not count rows
        def counts(c: int) -> bool:
            return is_time(table.name(c)) if table.name(c) else not _counts_rows(table, c)

        axes = [c for c in table.columns if c != index and _is_axis(table, c) and counts(c)]
        step = interval_in(above)
        if not axes or (step and _counts_rows(table, axes[0])):
            return None, step
        found = axes[0]
    names = [f[found] for f in above[: table.start] if found < len(f)][-2:]

    def times() -> Iterator[NDArray[np.float64]]:
        factor = factor_of([*names, table.name(found)], file)  # only where times are asked for
        yield from (part * factor for part in _values(table, found, file))

    return times, None


def _counts_rows(table: _Table, column: int) -> bool:
    fields = [f for f in map(table.dialect.fields, table.rows[:50]) if column < len(f)]
    return all(f[column].lstrip("+-").isdecimal() for f in fields)


def _line(table: _Table, value: int, file: Content) -> int:
    """Number of the line, from 1, in which a value stands."""
    lines = enumerate(islice(chain.from_iterable(file.lines()), table.start, None), start=table.start + 1)
    rows = (number for number, line in lines if not _skipped(line) and line.strip("\x1a \t"))
    return next(islice(rows, value, None), 0)


def _sample(file: Content) -> tuple[list[str], bool]:
    """The first lines, and whether they are all."""
    lines: list[str] = []
    size = 0
    for line in chain.from_iterable(file.lines()):
        if size > _SAMPLE:
            return lines, False
        lines.append(line.rstrip("\x1a"))
        size += len(line) + 1
    return lines, True


def _skipped(line: str) -> bool:
    return not line.strip() or line.lstrip()[0] in "#%!"


def _layout(lines: list[str], complete: bool, file: Content) -> _Table:
    options = file.options
    kept = [(i, line) for i, line in enumerate(lines) if i >= (options.skip_rows or 0) and not _skipped(line)]
    if not kept:
        raise NoTableError(f"{file} holds no values; record some bits first")
    last = [line for _, line in kept[-_LAST:]]
    signs = [*",;\t ", ""] if options.delimiter in (None, *",;\t ") else [options.delimiter]
    found: list[tuple[int, _Dialect, tuple[int, ...], bool]] = []
    for d in (_Dialect(str(s), p) for s in signs for p in ".,"):
        if (
            (d.delimiter == d.decimal == "," and not any('"' in line for line in last))
            or options.decimal not in (None, d.decimal)
            or (options.delimiter is not None and d.delimiter not in (options.delimiter, ""))
        ):
            continue
        kinds = [d.kind(line) for line in last]
        width = max(map(len, kinds))
        columns = tuple(c for c in range(width) if 2 * sum(k[c : c + 1] == "N" for k in kinds) >= len(kinds))
        like = [(k, line) for k, line in zip(kinds, last, strict=True) if all(k[c : c + 1] == "N" for c in columns)]
        if not columns or (d.delimiter and not any(d.delimiter in line.strip() for _, line in like)):
            continue
        texts = [f for k, line in like for kind, f in zip(k, d.fields(line), strict=True) if kind == "T"]
        if any(c in f for f in texts for c in ",;\t" if c != d.decimal and '"' not in last[-1]):
            continue  # a field such as 10:30;0 was torn from the next one
        found.append((len(columns), d, columns, not texts))
    if not found:
        raise NoTableError(
            f"{file} has no rows of numbers: its last line is {last[-1][:60]!r}; say the delimiter= and the decimal= "
            "sign, or export it as CSV"
        )
    best = [f for f in found if f[3]] or found
    _, dialect, columns, _ = max(best, key=lambda f: f[0])
    if dialect == _Dialect(",", "."):
        both = {(f[1].delimiter, f[1].decimal) for f in best} >= {(",", "."), ("", ",")}
        dialect = _comma(kept, dialect, both, file)
        columns = columns if dialect.delimiter else (0,)
    begin = _start([line for _, line in kept], dialect, columns) if options.skip_rows is None else 0
    start, rows = kept[begin][0], tuple(line for _, line in kept[begin:])
    names, units = _header(lines[:start], lines, dialect, columns)
    one_row = complete and len(kept) == 1 and len(columns) > 1 and options.column is None
    return _Table(dialect, start, columns, names, units, rows, one_row)


def _comma(kept: list[tuple[int, str]], dialect: _Dialect, both: bool, file: Content) -> _Dialect:
    """Tell a comma between numbers from one within them: ``4,812`` is two whole numbers or one."""
    options = file.options
    rows = [f for f in (dialect.fields(line) for _, line in kept) if all(map(dialect.is_number, f))]
    padded = any(len(x) > 1 and x.isdigit() and x[0] == "0" for row in rows for x in row[1:])
    if (
        options.delimiter == ","
        or options.column not in (None, 0, "0")
        or any("." in x or "e" in x.lower() for row in rows for x in row[:-1])
    ):
        return dialect
    if padded and not both:
        raise FileError(
            f"{file} has commas between numbers and within them ({kept[-1][1][:40]!r}); export it with ; or a tab "
            "between the columns, or say delimiter='comma' if 007 is a whole number there"
        )
    if not both:
        return dialect
    header = next((line for _, line in reversed(kept) if not dialect.is_number(dialect.fields(line)[0])), None)
    # 2,95E-01: numbers with an exponent have a point, so that the digits before E are no whole number of their own
    powers = bool(rows) and all(re.fullmatch(r"\d{2,}[eE][-+]?\d+", x) for row in rows for x in row[1:])
    if padded or powers or options.decimal == ",":
        return _Dialect("", ",")
    if header is not None:
        return dialect if len(dialect.fields(header)) > 1 else _Dialect("", ",")
    first = [int(row[0]) for row in rows if row[0].isdigit()]
    if len(first) == len(rows) > 2 and len(set(np.diff(first).tolist())) == 1 and first[1] != first[0]:
        return dialect  # a running number and a value
    raise FileError(
        f"{file}: {kept[-1][1][:40]!r} is two whole numbers or one with a decimal comma; say decimal=',' or "
        "delimiter='comma'"
    )


def _start(lines: list[str], dialect: _Dialect, columns: tuple[int, ...]) -> int:
    """Index of the first row.

    A row has the same kinds of fields as the last ones. Old Tektronix exports have settings in the first columns of the
    first rows: there every line from the first on has numbers in the columns of numbers.
    """
    kinds = [dialect.kind(line) for line in lines]
    numbers = [all(k[c : c + 1] == "N" for c in columns) for k in kinds]
    # the most common one: a cut last row is no measure of the others
    common = Counter(k for k, ok in zip(kinds[-_LAST:], numbers[-_LAST:], strict=True) if ok).most_common(1)
    like = common[0][0] if common else kinds[-1]

    def same(k: str) -> bool:
        return len(k) == len(like) and all(a == b for a, b in zip(k, like, strict=True))

    strict = next(
        (i for i, k in enumerate(kinds) if same(k) and (i + 1 == len(kinds) or same(kinds[i + 1]) or numbers[i + 1])),
        next((i for i, ok in enumerate(numbers) if ok), len(lines) - 1),
    )
    # rows with other fields, such as an empty one at the end, are no lines above the rows
    while strict and numbers[strict - 1] and "T" not in kinds[strict - 1]:
        strict -= 1
    return 0 if all(numbers[:strict]) else strict


def _header(
    above: list[str], lines: list[str], dialect: _Dialect, columns: tuple[int, ...]
) -> tuple[tuple[str, ...], dict[int, str]]:
    """Names of the columns and units of those that have one, from the lines above the rows."""
    plain = [line for line in above if not _skipped(line)]
    if not plain:  # NumPy writes the names as a comment
        plain = [line.lstrip("#%! ") for line in above if line.strip()][-1:]
    header = [dialect.fields(line) for line in plain]
    names: list[str] = next((f for f in header if re.fullmatch(r"(?i)trace ?name:?", f[0])), [])
    units: dict[int, str] = {}
    last = header[-1] if header and len(header[-1]) > max(columns) else []
    if not names and 0 in columns and last:
        names = [] if all(map(dialect.is_number, last)) else last
        found = {c: names[c] for c in columns if c < len(names) and unit_of(names[c]) is not None}
        rest = [names[c] for c in columns if c < len(names) and c not in found]
        if found and len(header) > 1 and len(header[-2]) > max(found) and all(map(_TIMES.fullmatch, rest)):
            units, names = found, header[-2]
    elif not names and last and not _LABEL.fullmatch(last[0]):
        names = last  # where the first column is empty in the rows, a label above them is no name
    for c in columns:
        if c < len(names) and c not in units and (unit := _unit_in(names[c])):
            units[c] = unit
    for fields in (dialect.fields(line) for line in lines[: len(above) + 40]):
        if len(fields) > 1 and _LABEL.fullmatch(fields[0]):
            data = [c for c in columns if not (c < len(names) and _AXIS.fullmatch(names[c]))]
            if len(data) == len(columns) > 1 and not names:
                data = data[1:]
            for c, field in zip(data, fields[1:], strict=False):
                if unit_of(unit := field.rpartition(":")[2].strip()) is not None:
                    units.setdefault(c, unit)
    return tuple(names), units


_UNIT_FORMS = (
    r".*[(\[]\s*([^()\[\]]+?)\s*[)\]]", r".*\s+in\s+(\S+)", r".*\s/\s*(\S+)", r".+_(\w+)", r"CH\d+(m?V)",
    r"(?i)(?:voltage|current|resistance)\s+(\S+)",
)  # fmt: skip


def _unit_in(name: str) -> str | None:
    """The unit in ``R (kOhm)``, ``R [kohm]``, ``R / kohm``, ``V_mV``, ``C1 in V`` or ``CH1V``."""
    if unit_of(name) is not None and unit_name(name) != "A":  # a channel may be called A
        return name
    for pattern in _UNIT_FORMS:
        found = re.fullmatch(pattern, name)
        if found and unit_of(found[1]) is not None:
            return found[1]
    return None


def _numbered(column: str | int, option: str, table: _Table, file: Content) -> int:
    """The number of the column that an option names."""
    width = len(table.dialect.fields(table.rows[0]))
    if isinstance(column, str):
        number = re.fullmatch(r"#?(\d+)", column)
        named = [c for c, n in enumerate(table.names) if n == column or _bare(n) == column]
        named = [c for c in named if table.names[c] == column] or named
        if len(named) > 1:
            raise FileError(
                f"{file} has {len(named)} columns {column!r}; give its number, such as {option}='#{named[0]}'"
            )
        if number and (column[0] == "#" or not named):
            column = int(number[1])
        elif number and named != [int(number[1])] and int(number[1]) < width:
            raise FileError(
                f"{file}: column {column} may be the one of that name or of that number; say {option}='#{named[0]}' or "
                f"{option}='#{number[1]}'"
            )
        elif named:
            return named[0]
        elif not table.names:
            raise FileError(f"{file} has no line of names above its rows; give a number from 0 as {option}=")
        else:
            raise FileError(f"{file} has no column {column!r}; its columns are {', '.join(table.names)}")
    if column >= width:
        raise FileError(f"{file} has {width} columns and no column {column}; count from 0")
    return int(column)


def _column(table: _Table, file: Content) -> int:
    if file.options.column is not None:
        return _numbered(file.options.column, "column", table, file)
    left = [c for c in table.columns if len(table.columns) == 1 or not _is_axis(table, c)]
    if file.options.time_column is not None and len(left) > 1:
        left = [c for c in left if c != _numbered(file.options.time_column, "time_column", table, file)]
    if len(left) != 1:
        misnamed([table.name(c) for c in table.columns], file)
        listed = ", ".join(table.name(c) or str(c) for c in table.columns)
        raise FileError(f"{file} has {len(table.columns)} columns of numbers ({listed}); say which one with column=")
    return left[0]


def _bare(name: str) -> str:
    return re.sub(r"\s*(?:[(\[].*[)\]]|\s/\s*\S+|\s+in\s+\S+)\s*$", "", name).strip()


def _is_axis(table: _Table, column: int) -> bool:
    """Whether a column counts rows or time: by its name, or because it only rises (or only falls) over 20 rows."""
    if table.name(column) and _AXIS.fullmatch(table.name(column)):
        return True
    if column in table.units or column != table.columns[0]:
        return False
    fields = [f for f in map(table.dialect.fields, table.rows[:200]) if column < len(f)]
    values = [table.dialect.number(f[column]) for f in fields if table.dialect.is_number(f[column])]
    with np.errstate(all="ignore"):
        steps = np.diff(values)
        even = len(values) > 2 and np.ptp(steps) <= 1e-3 * np.abs(steps).max()
    return one_way(np.array(values)) and (len(values) >= 20 or bool(even))


def _values(table: _Table, index: int, file: Content) -> Iterator[NDArray[np.float64]]:
    dialect, at = table.dialect, 0
    other = "_" if dialect.decimal == "." else "_."  # float takes 1_000, and a point is no decimal comma
    for block in _rows(table, file):
        values: Any = None
        if dialect.delimiter != " ":
            with contextlib.suppress(ValueError, IndexError):  # a field that is no plain number goes the slow way
                sign = dialect.delimiter
                found = [line.split(sign, index + 1)[index] for line in block] if sign else block
                joined = "\n".join(found)
                if not any(c in joined for c in other):
                    values = np.array(list(map(float, joined.replace(",", ".").split("\n"))))
        if values is None:
            numbers: list[float] = []
            try:
                for line in block:
                    numbers.append(_number(line, at + len(numbers) + 1, table, index, file))
            except FileError:
                yield np.array(numbers)  # a stream has no other way to keep the rows before the bad one
                raise
            values = np.array(numbers)
        at += len(block)
        yield values


def _rows(table: _Table, file: Content) -> Iterator[list[str]]:
    above = table.start
    for lines in file.lines():
        rows = [line for line in lines[above:] if not _skipped(line) and line.strip("\x1a \t")]
        above = max(0, above - len(lines))
        for at in range(0, len(rows), ROWS):
            yield rows[at : at + ROWS]


def _number(line: str, row: int, table: _Table, index: int, file: Content) -> float:
    fields = table.dialect.fields(line)
    if index >= len(fields) or not table.dialect.is_number(fields[index]):
        column = index if file.options.column is None else repr(file.options.column)
        raise FileError(
            f"{file}: row {row} ({line[:60]!r}) has no number in column {column}; it may be truncated: remove the row, "
            "or give another column="
        )
    return table.dialect.number(fields[index])
