"""The time axis of a table: which names are of time, its unit, and the interval that makers write above the rows."""

from __future__ import annotations

import re

from voltaspin.core.units import TIME
from voltaspin.noise.importer.reading import Content, FileError, unit_of

_NAME = re.compile(
    r"(?i)(?:time|times|zeit|temps|t|x|x[-_ ]?axis|x[-_ ]?value|seconds?|secs?|in s|timestamp|datetime|elapsed|"
    r"elapsed time|source|\(?(?:[munpµ]?s)\)?)"
)
_CLEAR = re.compile(r"(?i)(?:time|times|zeit|temps|t|timestamp|elapsed|elapsed time)")  # no other quantity has it
_BRACKETS = re.compile(r"(.*?)\s*[(\[]\s*([^()\[\]]*?)\s*[)\]]\s*")
_TAIL = re.compile(r"(?i)(.*?)(?:[_ /]|\s+in\s+)((?:[munpµ]?s|sec|seconds?))")
_UNITS = {"s": 1.0, "S": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "Second": 1.0, "seconds": 1.0}
_INTERVAL = re.compile(
    r"(?i)(?:x_?inc|x ?increment|sample interval|sampling period|sample period|h_?resolution|delta_x|t_?inc)\b:?"
)
_RATE = re.compile(r"(?i)(?:sample ?rate|sampling ?rate|fs)\b:?")
_WITHIN = re.compile(r"(?i)t_?inc\s*=\s*([-+0-9.eE]+)")


def is_time(name: str) -> bool:
    """Whether the name of a column is one of time, with or without a unit."""
    return any(_NAME.fullmatch(text) for text in (_split(name)[0], name.strip()))


def misnamed(names: list[str], file: Content) -> None:
    """Refuse a column that is named as time and has the unit of something else.

    Raises:
        FileError: such as ``time (V)``.
    """
    for name in names:
        bare, unit = _split(name)
        if unit and _CLEAR.fullmatch(bare) and _seconds(unit) is None:
            what = "a unit of something else" if unit_of(unit) else "no unit"
            raise FileError(
                f"{file}: the column {name!r} is named as time and {unit!r} is {what}; correct the header to s, ms, us "
                "or ns, or name the values with column= and the times with time_column="
            )


def factor_of(texts: list[str], file: Content) -> float:
    """Return the unit of a column of times in seconds, from the fields above it; seconds where none says it.

    Args:
        texts: the fields above the column, from the top down.
        file: for the message.

    Raises:
        FileError: a unit in brackets that is none of time.
    """
    for text in reversed(texts):
        _, unit = _split(text)
        if unit and (found := _seconds(unit)) is not None:
            return found
        if not unit and text.strip() and (found := _seconds(text.strip().strip("()[]"))) is not None:
            return found
    misnamed(texts, file)
    for text in texts:
        _, unit = _split(text)
        if unit and _BRACKETS.fullmatch(text.strip()):
            raise FileError(
                f"{file}: {unit!r} of the column of times is no unit of time; write s, ms, us or ns above it, or leave "
                "the column out and give the sample rate"
            )
    return 1.0


def interval_in(above: list[list[str]]) -> float | None:
    """Return the time between samples [s] in the lines above a table, as an interval or a rate; None where none is.

    Args:
        above: the fields of each line.
    """
    for at, fields in enumerate(above):
        for place, text in enumerate(fields):
            if found := _WITHIN.search(text):
                return _positive(found[1])
            follows = [f.rpartition(":")[2] for f in fields[place + 1 : place + 2]]
            if follows and _INTERVAL.fullmatch(text.strip()) and (value := _positive(follows[0])):
                return value
            if follows and _RATE.fullmatch(text.strip()) and (value := _positive(follows[0])):
                return 1 / value
            below = above[at + 1] if at + 1 < len(above) else []
            if text.strip() == "Increment" and place < len(below) and (value := _positive(below[place])):
                return value
    return None


def _positive(text: str) -> float | None:
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        return None
    return value if 0 < value < float("inf") else None


def _split(name: str) -> tuple[str, str]:
    """A name and its unit, which is empty where it has none."""
    if found := _BRACKETS.fullmatch(name.strip()):
        return found[1].strip(), found[2].strip()
    if found := _TAIL.fullmatch(name.strip()):
        return found[1].strip(), found[2].strip()
    return name.strip(), ""


def _seconds(unit: str) -> float | None:
    return _UNITS.get(unit, TIME.units.get(unit) if unit not in ("a", "y", "d", "h") else None)
