"""An analogue trace: values in SI at even times, read in blocks, so that memory does not grow with it.

The importer reads the file. A trace that is dead, has gaps or runs backwards in time is refused, and the message names
the line. Values of a text are kept as numbers in a temporary file, since several passes read them.
"""

from __future__ import annotations

import re
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.files import sha256_of
from voltaspin.core.units import format_quantity
from voltaspin.noise.importer import bit_file
from voltaspin.noise.importer.content import unpacked
from voltaspin.noise.importer.reading import Content, FileError, FileOptions, Reading, Understood
from voltaspin.noise.importer.values import in_given_unit, in_si
from voltaspin.noise.waveform.times import TimeCheck, rises_evenly

BLOCK = 1 << 20  #: samples of a block
_LARGEST = 1e30  # value, beyond which squares overflow
_TAIL, _LAST = 4096, 20  # bytes and lines at the end of a text that tell whether its last line is whole
_FROZEN = 50  # equal samples in a row from which a trace may have frozen
_NOISY = 0.9  # largest share of equal neighbours of a trace whose noise tells that
_BY_CHANCE = 1e-9  # probability of such a run below which it is no chance
_TEXT = ("csv", "json")  # which a second pass would parse again
_NO_UNITS = ("", "1", "a.u.", "au", "arb", "arb.", "raw", "counts", "count", "lsb", "adc", "code", "%")
_SAMPLED = 1 << 18  # samples, spread over the trace, that are kept to look at


@dataclass(frozen=True)
class Trace:
    """A trace that was read once and found to be even in time and finite.

    Args:
        file: that it came from, and its options.
        reading: of the importer.
        path: of the values as numbers, where they were kept.
        n: samples; step: between them [s].
        low, high: lowest and highest value in ``unit``.
        at_low, at_high: samples with exactly these values.
        sample: values spread over the trace, (at most 2^18,).
        sha256: of the file.
        text: what was read, in words.
        notes: on anything that was left aside.
    """

    file: Content
    reading: Reading
    path: Path | None
    n: int
    step: float
    low: float
    high: float
    at_low: int
    at_high: int
    sample: NDArray[np.float64]
    sha256: str
    text: str
    notes: tuple[str, ...] = ()

    @classmethod
    def open(cls, path: Path | str, *, sample_rate: float | None = None, **options: Any) -> Trace:
        """Open a file and read it once.

        Args:
            path: of the file.
            sample_rate: samples a second [1/s]; needed where the file says neither times nor an interval, and used
                instead of them where both are there.
            options: as of :class:`voltaspin.noise.FileOptions`.

        Raises:
            InputError: no such file, an empty one, no waveform, no times, uneven times, times that run backwards or
                jump, a value that is not finite, or columns of time and values that are swapped.
        """
        return cls.of(FileOptions(**options), Path(path), sample_rate=sample_rate)

    @classmethod
    def of(cls, options: FileOptions, path: Path, *, sample_rate: float | None = None) -> Trace:
        """:meth:`open` with options that are made already."""
        if not path.is_file():
            raise InputError(f"{path} is not a file; give a file of a waveform")
        if not path.stat().st_size:
            raise InputError(f"{path} is empty (0 bytes); record the waveform again")
        if sample_rate is not None and not 0 < sample_rate < 1e18:
            raise InputError(f"sample_rate={sample_rate:g} is no number of samples a second; give such as 1e6")
        scratch = tempfile.TemporaryDirectory(prefix="voltaspin-")
        try:
            file, containers = unpacked(Content(path, str(path), options), Path(scratch.name, "content"))
            trace = _scanned(file, _analogue(file), Path(scratch.name, "values"), sample_rate, sha256_of(path))
        except BaseException:
            scratch.cleanup()
            raise
        if trace.path is None and file.path == path:
            scratch.cleanup()
        else:
            weakref.finalize(trace, scratch.cleanup)
        found = Understood(
            format=trace.reading.format, bits=0, text=trace.text, containers=containers, unit=trace.unit,
            column=trace.reading.column,
        )  # fmt: skip
        object.__setattr__(trace, "text", str(found).replace(", 0 bits", f", {trace.n} samples"))
        return trace

    @property
    def unit(self) -> str:
        """SI unit of the values; empty where it is not known, and of converter words."""
        return self.reading.unit

    @property
    def duration(self) -> float:
        """Time from the first sample to the end of the last one [s]."""
        return self.n * self.step

    def shown(self, value: float) -> str:
        """Return a value with its unit."""
        return format_quantity(value, self.unit) if self.unit else f"{value:.6g}{' counts' * self.reading.words}"

    def blocks(self) -> Iterator[NDArray[np.float64]]:
        """Yield the values in ``unit``, in order."""
        if self.path is not None:
            with self.path.open("rb") as kept:
                while block := kept.read(8 * BLOCK):
                    yield np.frombuffer(block)
            return
        for values in self.reading.blocks():
            yield values.astype(np.float64) if self.reading.factor == 1 else values * float(self.reading.factor)

    def other(self, column: str | int) -> Trace:
        """Return another column or channel of the same file, with the same times.

        Raises:
            InputError: there is none, or it has another number of samples.
        """
        options = replace(self.file.options, column=column, threshold=None, unit=None)
        path = Path(self.file.name)
        found = Trace.of(options, path, sample_rate=1 / self.step)
        if found.n != self.n:
            raise InputError(
                f"{path}: column {column!r} has {found.n} samples and the trace {self.n}; give a column of the same "
                "length"
            )
        return found


def _analogue(file: Content) -> Reading:
    reading = bit_file.read(file)
    if reading is None:
        raise FileError(
            f"{file} was read as packed bits and not as a waveform; for raw converter words say sample_type='int16' or "
            "another type"
        )
    if reading.packed or reading.format in ("bytes", "text"):
        raise FileError(
            f"{file} was read as {reading.text} and not as a waveform; for raw converter words say sample_type='uint8' "
            "or another type, for a table format='csv'"
        )
    _check_unit(reading, file)
    return in_given_unit(reading, file)


def _check_unit(reading: Reading, file: Content) -> None:
    """Refuse a unit in the name of a column that values of a waveform cannot have."""
    written = re.search(r"[(\[]\s*([^()\[\]]+?)\s*[)\]]\s*$", reading.column or "")
    if reading.unit or file.options.unit or not written or written[1].lower() in _NO_UNITS:
        return
    raise FileError(
        f"{file}: {written[1]!r} of the column {reading.column!r} is no unit of a voltage, a current or a resistance; "
        "correct the header, say which column= holds the values, or give their unit="
    )


def _scanned(file: Content, reading: Reading, keep: Path, rate: float | None, sha256: str) -> Trace:
    """Read every value and time once."""
    if reading.format in _TEXT:
        _check_end(file)
    given = rate is not None
    check = None if given or reading.times is None else TimeCheck(reading, str(file))
    step = 1 / rate if rate is not None else reading.step
    if check is None and step is None:
        raise FileError(
            f"{file} ({reading.text}) says neither times nor an interval between samples; give sample_rate= in samples "
            "a second"
        )
    scan = _Scan(reading, file)
    kept: IO[bytes] | None = keep.open("wb") if reading.format in _TEXT else None
    try:
        times = reading.times() if check is not None and reading.times is not None else iter(())
        for values in reading.blocks():
            scaled = scan.add(values)
            if check is not None:
                check.add(next(times, np.empty(0)), scaled)
            if kept is not None:
                kept.write(scaled.tobytes())
    finally:
        if kept is not None:
            kept.close()
    if scan.n < 2:
        raise FileError(f"{file} holds {scan.n} samples, too few for a waveform; record again")
    scan.check_frozen()
    if check is None and scan.even():
        raise FileError(
            f"{file}: the values ({reading.text}) rise by even steps, as times do; say which column holds the values "
            "with column="
        )
    notes = ("the times of the file were not used",) if given and reading.times is not None else ()
    found = check.step() if check is not None else float(step or 0)
    return Trace(
        file, reading, keep if kept is not None else None, scan.n, found, scan.low, scan.high, scan.at_low,
        scan.at_high, np.concatenate(scan.parts), sha256,
        f"{reading.text}, every {format_quantity(found, 's')}{' as given' * given}", notes,
    )  # fmt: skip


class _Scan:
    """Extremes, their numbers, and values spread over a trace."""

    def __init__(self, reading: Reading, file: Content) -> None:
        self.reading, self.file, self.n, self.stride = reading, file, 0, 1
        self.low, self.high, self.at_low, self.at_high = np.inf, -np.inf, 0, 0
        self.parts: list[NDArray[np.float64]] = []
        self.last, self.run, self.equal = np.nan, 0, 0  # value, its samples in a row so far, pairs of equal neighbours
        self.longest, self.begin, self.at = 0, 0, np.nan  # the longest such run, where it begins, and its value

    def add(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Take the next values; return them in SI."""
        scaled = in_si(values, self.n, self.reading, self.file)
        if not scaled.size:
            return scaled
        low, high = float(scaled.min()), float(scaled.max())
        if max(-low, high) > _LARGEST:
            i = int(np.argmax(np.abs(scaled)))
            raise FileError(
                f"{self.file}: {self.reading.at(self.n + i)} is {scaled[i]:.3g} {self.reading.unit}".rstrip()
                + ", which is no measured value; check the type and the byte order, or remove it"
            )
        self._runs(scaled)
        self.n += scaled.size
        at_low, at_high = int(np.count_nonzero(scaled == low)), int(np.count_nonzero(scaled == high))
        self.at_low = at_low + self.at_low * (low == self.low) if low <= self.low else self.at_low
        self.at_high = at_high + self.at_high * (high == self.high) if high >= self.high else self.at_high
        self.low, self.high = min(low, self.low), max(high, self.high)
        self.parts.append(scaled[:: self.stride].copy())
        while sum(part.size for part in self.parts) > _SAMPLED:
            self.stride *= 2
            self.parts = [part[::2] for part in self.parts]
        return scaled

    def _runs(self, scaled: NDArray[np.float64]) -> None:
        """Follow the longest run of equal samples."""
        begins = np.flatnonzero(np.concatenate([[scaled[0] != self.last], scaled[1:] != scaled[:-1]]))
        ends = np.append(begins, scaled.size)
        self.equal += scaled.size - begins.size
        self.run += int(ends[0])
        runs = np.diff(ends)
        for length, begin, value in (
            (self.run, self.n + int(ends[0]) - self.run, self.last),
            *(
                [(int(runs.max()), self.n + int(begins[runs.argmax()]), scaled[begins[runs.argmax()]])]
                if runs.size
                else []
            ),
        ):
            if length > self.longest:
                self.longest, self.begin, self.at = length, begin, float(value)
        if runs.size:
            self.run = int(runs[-1])
        self.last = float(scaled[-1])

    def check_frozen(self) -> None:
        """Refuse a noisy trace that stands still within its range for longer than chance lets it."""
        others = self.n - self.longest
        share = (self.equal - self.longest + 2) / (others + 2)
        if (
            self.longest >= _FROZEN and share < _NOISY and self.low < self.at < self.high and others > _FROZEN
            and self.n * share**self.longest < _BY_CHANCE
        ):  # fmt: skip
            last = self.begin + self.longest - 1
            raise FileError(
                f"{self.file}: {self.longest} samples in a row, from {self.reading.at(self.begin)} to "
                f"{self.reading.at(last)}, are exactly {self.at:.6g} {self.reading.unit}".rstrip()
                + ", and elsewhere neighbours differ: the channel or the digitiser stood still; export the part before "
                "or behind it"
            )

    def even(self) -> bool:
        """Whether the values rise by even steps."""
        return bool(self.stride == 1 and rises_evenly(np.concatenate(self.parts)))


def _check_end(file: Content) -> None:
    """Refuse a text whose last line has no end and is shorter than those before it: half a number is another one."""
    with file.path.open("rb") as text:
        text.seek(max(file.path.stat().st_size - _TAIL, 0))
        lines = text.read().replace(b"\0", b"").split(b"\n")  # of two or four bytes a character as well
    last, before = lines[-1].strip(), [len(line.strip()) for line in lines[-_LAST:-1]]
    if last and len(before) == _LAST - 1 and len(last) < min(before):
        raise FileError(
            f"{file}: the last line, {last.decode('latin-1')[:40]!r}, has no line break and is shorter than those "
            "before it, so that it may be cut off; remove it, or end it with a line break if it is whole"
        )
