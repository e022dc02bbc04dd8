"""The contract of a reader: it takes a :class:`Content` and returns a :class:`Reading`."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.noise.importer.options import FileError, FileOptions

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

    def characters(self) -> Iterator[bytes]:
        """Yield the characters as ASCII in blocks; any other character is a question mark."""
        decoder = None if self.encoding == "utf-8" else codecs.getincrementaldecoder(self.encoding)(errors="replace")
        with self.path.open("rb") as file:
            file.seek(self.mark)
            while block := file.read(_BLOCK):
                yield block if decoder is None else decoder.decode(block).encode("ascii", "replace")

    def lines(self) -> Iterator[str]:
        """Yield the lines, in latin-1 where one is not UTF-8; a file of one endless line is refused."""
        plain = self.encoding == "utf-8"
        with self.path.open("rb") as raw:
            raw.seek(self.mark)
            text = io.TextIOWrapper(raw, self.encoding, "surrogateescape" if plain else "replace")
            while line := text.readline(_LONGEST):
                if len(line) == _LONGEST:
                    raise FileError(f"a line of {self} is longer than {_LONGEST} characters; write one row a line")
                if plain and not line.isascii():
                    data = line.encode("utf-8", "surrogateescape")
                    try:
                        line = data.decode("utf-8")
                    except UnicodeDecodeError:
                        line = data.decode("latin-1")
                yield line.rstrip("\n")

    @property
    def encoding_said(self) -> str:
        """The encoding in words, empty for plain text."""
        if self.encoding != "utf-8":
            return self.encoding[:-3].upper()
        return "UTF-8 with a byte order mark" if self.mark else ""


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
