"""Recordings: write the bits of any source into a file, and draw from the file of a real device or a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError, NoiseExhaustedError, NoiseStoppedError
from voltaspin.core.files import opened_whole, replacing, sha256_of
from voltaspin.core.renamed import renamed
from voltaspin.core.result import Result
from voltaspin.core.stopping import Stopped
from voltaspin.noise.base import BLOCK
from voltaspin.noise.gaussian import GaussianTransform, transform_of
from voltaspin.noise.importer.bit_file import Recording, open_bits
from voltaspin.noise.importer.reading import BitOrder, ByteOrder, FileOptions, Format, SampleType, Understood
from voltaspin.noise.importer.values import TwoPopulations
from voltaspin.noise.kept_cells import KeptCells, LeaveOut, noted
from voltaspin.noise.source import NoiseSource, Provenance, SequentialSource, aligned, checked_count

Written = Literal["packed", "bytes", "text"]  # format of a file of bits


@final
@renamed(shaping="transform", precision="bits_per_sample", lanes="n_cells")
class RecordedSource(SequentialSource):
    """Bits of a file, in order, until they are spent.

    The numbers are handed out in the order in which they are asked for, so it is sequential: another order or
    batch size gives an image other numbers, and a step that was drawn cannot be drawn again. The file is read in
    blocks and may be larger than memory; any content but packed bits is read once when the source is made and
    kept as packed bits in a temporary file, an eighth of a byte per bit.

    The content is recognised (:mod:`voltaspin.noise.importer`); ``understood`` says in one line as what. Everything
    but ``path``, ``bits_per_sample`` and ``transform`` is explained in :class:`voltaspin.noise.FileOptions`.

    Args:
        path: of the recording.
        bits_per_sample: bits per number.
        transform: ``"inverse_cdf"`` or ``"popcount"``, or a :class:`GaussianTransform` with its own bits.
        format: of the content.
        bit_order: of packed bytes, ``"msb"`` or ``"lsb"``.
        threshold: of measured values: with a unit (``"5.4kohm"``, ``"-20mV"``), a number in SI, or ``"fit"``, which
            finds it between two populations (:func:`voltaspin.noise.two_populations`).
        unit: of the values, where the file does not say it.
        column: of a table, or the name of an array.
        n_cells: cells that were read in turn: bit ``j`` comes from cell ``j % n_cells``.
        leave_out: cells whose bits are skipped, by number from 0: ``[3, 17]``, ``"3,17,40-47"``, or the file of a
            :class:`voltaspin.noise.CellExamination`, which says the number of cells too. ``n_cells`` of the source is
            then the number of those that are kept.
        sample_type, byte_order, channels, header_bytes: of raw converter words.
        delimiter, decimal, skip_rows: of a table.

    Raises:
        InputError: no such file, an empty, damaged or ambiguous one, values that are no bits, measured values that are
            not finite or of one population only, options that do not apply, or a description beside it that does not
            fit.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        bits_per_sample: int = 16,
        transform: Literal["inverse_cdf", "popcount"] | GaussianTransform = "inverse_cdf",
        format: Format | None = None,
        bit_order: BitOrder | None = None,
        threshold: float | str | None = None,
        unit: str | None = None,
        column: str | int | None = None,
        n_cells: int | None = None,
        leave_out: LeaveOut | None = None,
        sample_type: SampleType | None = None,
        byte_order: ByteOrder | None = None,
        channels: int | None = None,
        header_bytes: int | None = None,
        delimiter: str | None = None,
        decimal: str | None = None,
        skip_rows: int | None = None,
    ) -> None:
        self.path = Path(path)
        super().__init__(transform_of(transform, bits_per_sample), name=f"recorded, {self.path.name}")
        self.kept = None if leave_out is None else KeptCells.of(leave_out, n_cells)
        n_cells = n_cells if self.kept is None else self.kept.n_cells
        self.options = FileOptions(
            format=format, bit_order=bit_order, threshold=threshold, unit=unit, column=column,
            n_cells=n_cells, sample_type=sample_type, byte_order=byte_order,
            channels=channels, header_bytes=header_bytes,
            delimiter=delimiter, decimal=decimal, skip_rows=skip_rows,
        )  # fmt: skip
        if not self.path.is_file():
            raise InputError(f"{self.path} is not a file; give a file of recorded bits")
        if not self.path.stat().st_size:
            raise InputError(f"{self.path} is empty (0 bits); record some bits first")
        self.sha256 = sha256_of(self.path)
        self._file = open_bits(self.path, self.options, sha256=self.sha256)
        self._position = 0

    @property
    def understood(self) -> Understood:
        """The way in which the file was read; ``str`` of it is one line."""
        return noted(self._file.understood, self.kept)

    @property
    def format(self) -> str:
        """Format of the content, as it was recognised or given."""
        return self.understood.format

    @property
    def threshold(self) -> float | None:
        """Value in SI above which a bit is 1; None where the file holds bits."""
        return self.understood.threshold

    @property
    def populations(self) -> TwoPopulations | None:
        """The fit of the threshold, where one was asked for."""
        return self._file.populations

    @property
    def origin(self) -> dict[str, Any] | None:
        """Provenance of the source that was recorded, where it is known."""
        return self._file.origin

    @property
    def n_cells(self) -> int:
        return int(self.options.n_cells or 1) if self.kept is None else self.kept.kept.size

    @property
    def _bits(self) -> int:
        return self._file.bits if self.kept is None else self.kept.among(self._file.bits)

    @property
    def bits_left(self) -> int:
        """Bits that have not been handed out."""
        return self._bits - self._position

    @property
    def provenance(self) -> Provenance:
        kind = self.transform.label
        made = "" if self.origin is None else f" from {self.origin['kind']}: {self.origin['description']}"
        understood = self.understood
        details: dict[str, Any] = {
            "file": self.path.name,
            "sha256": self.sha256,
            "bits": self.understood.bits,
            "precision": self.transform.bits_per_sample,
            "shaping": kind,
            "input": understood.to_json(),
        }
        if self.format != "packed":
            details["format"] = self.format
        if self.threshold is not None:
            details["threshold"], details["unit"] = self.threshold, understood.unit
        if self.populations is not None:
            details["populations"] = self.populations.model_dump(mode="json", exclude={"environment"})
        if self.n_cells > 1:
            details["lanes"] = self.n_cells
        if self.kept is not None:
            details["left_out"] = self.kept.to_json()
        if self.origin is not None:
            details["origin"] = self.origin
        return Provenance(
            "recorded",
            f"{self.understood.bits} recorded bits of {self.path.name} (sha256 {self.sha256[:12]}){made}, "
            f"{'' if self.kept is None else f'{self.kept}, '}{self.transform.bits_per_sample}-bit {kind}",
            details,
        )

    def _reserve(self, n: int) -> None:
        if n > self.bits_left:
            raise NoiseExhaustedError(
                f"{self.path.name} has run dry: the draw needs {n} bits and {self.bits_left} of "
                f"{self._bits} are there; record more bits or draw fewer numbers (nothing was handed "
                "out)"
            )

    def _packed(self, n: int) -> NDArray[np.uint8]:
        first, size = self._position, n
        if n and self.kept is not None:
            first = self.kept.place(self._position)
            size = self.kept.span(self._position + n) - first
        found = self._file.read(first, size)
        if found is None:
            raise InputError(f"{self.path} became shorter while it was being read; restore the recording")
        skip = first % 8
        self._position += n
        if self.kept is not None:
            return self.kept.of_bits(found, size, skip=skip, at=first)[0]
        return aligned(found, skip, n)

    def _check_state(self, state: Mapping[str, Any]) -> None:
        theirs = state.get("provenance")
        details = theirs.get("details") if isinstance(theirs, Mapping) else None
        if isinstance(details, Mapping) and "input" not in details:
            # written by 0.1.0, which knew neither bit orders nor units
            ours = {k: v for k, v in self.provenance.details.items() if k not in ("input", "unit", "threshold")}
            old = {k: v for k, v in details.items() if k != "threshold_ohm"}
            same = ours == old and details.get("threshold_ohm") == self.threshold
            if same and self.understood.bit_order in (None, "msb"):
                return
        super()._check_state(state)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._position = int(state["position"])


class BitsWritten(Result):
    """Bits of a source that were written into a file.

    Args:
        file: its path; ``bits``: how many.
        input: what a recorded file was read as, where the source is one.
        noise: provenance of the source; ``ledger``: what they cost.
    """

    KIND: ClassVar[str] = "bits"

    file: str
    bits: int
    input: dict[str, Any] | None = None
    noise: dict[str, Any]
    ledger: dict[str, int]


def blocks(source: NoiseSource, count: int | None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Yield the next bits in blocks: (how many, packed). All but the last one are of whole bytes and can be joined.

    Args:
        source: any.
        count: how many; None for all that a finite source has, and no end of another.

    Raises:
        NoiseStoppedError: an alarm, or a source that ran dry before ``count``; the bits before it were given.
    """
    left = count
    if count is not None:
        source.expect(count)
    while left is None or left > 0:
        n = max(8, source.bits_at_once // 8 * 8)
        n = n if left is None else min(n, left)
        try:
            packed = source.bits(n)
        except (NoiseStoppedError, Stopped) as stopped:
            if isinstance(stopped, Stopped) and source.bits_at_once == BLOCK:
                raise  # these bits can be had again
            packed, n = source.rest()
            if n:
                yield n, packed
            if count is None and isinstance(stopped, NoiseExhaustedError):
                return
            raise
        yield n, packed
        left = None if left is None else left - n


def write_bits(
    source: NoiseSource,
    file: IO[bytes],
    *,
    count: int | None,
    format: Written = "packed",
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write the next bits of a source into an open file.

    Args:
        source: any; count: how many bits, None as in :func:`blocks`.
        file: open for bytes.
        format: ``"packed"`` (first bit highest), ``"bytes"`` (0 or 1 each) or ``"text"`` (``0`` or ``1`` each).
        progress: called with the number of bits written.

    Returns:
        How many were written.

    Raises:
        NoiseStoppedError: as :func:`blocks`; its ``finished`` is the number of bits written before.
    """
    done = 0
    try:
        for n, packed in blocks(source, count):
            data = packed if format == "packed" else np.unpackbits(packed, count=n) + (48 if format == "text" else 0)
            file.write(data.astype(np.uint8, copy=False).tobytes())
            if source.bits_at_once < BLOCK:
                file.flush()
            done += n
            if progress is not None:
                progress(done)
    except (NoiseStoppedError, Stopped) as stopped:
        stopped.finished = done
        raise
    return done


def _kept(stopped: NoiseStoppedError | Stopped, source: NoiseSource, path: Path | str) -> int:
    """Return how many bits are kept of work that stopped; raises ``stopped`` again where nothing is.

    After a signal those of a stream are, which cannot be had again.
    """
    done = stopped.finished
    if not isinstance(done, int) or not done:
        raise stopped
    if isinstance(stopped, Stopped):
        if source.bits_at_once == BLOCK:
            raise stopped
        stopped.kept = f"the {done} bits that arrived before are in {path}"
    return done


def write_file(
    source: NoiseSource,
    path: Path | str,
    *,
    count: int,
    format: Written = "packed",
    progress: Callable[[int], None] | None = None,
) -> None:
    """:func:`write_bits` into a file that appears whole or not at all.

    Args:
        source, count, format, progress: as :func:`write_bits`.
        path: of the file, a device or a FIFO.

    Raises:
        NoiseStoppedError: as :func:`write_bits`; the file holds the bits before it, where there were any.
    """
    stopped: NoiseStoppedError | Stopped | None = None
    with opened_whole(path) as file:
        try:
            write_bits(source, file, count=count, format=format, progress=progress)
        except (NoiseStoppedError, Stopped) as error:
            _kept(error, source, path)
            stopped = error
    if stopped is not None:
        raise stopped


def record(
    source: NoiseSource,
    path: Path | str,
    *,
    bits: int,
    progress: Callable[[int, int], None] | None = None,
    about: Mapping[str, Any] | None = None,
) -> RecordedSource:
    """Write the next bits of a source into a file, and its provenance beside it.

    The file appears whole or not at all: an interrupt or a full disk leaves what was there before. After an alarm,
    where the source runs dry, or after an interrupt of a stream, the file holds the bits before it, and the error's
    ``finished`` is that recording.

    Args:
        source: any.
        path: of packed bits; ``PATH.json`` says how many they are and where they come from.
        bits: how many.
        progress: called with (bits done, in all).
        about: ``command`` and ``arguments`` for the description.

    Returns:
        The recording, at its beginning.

    Raises:
        InputError: no bits, or a folder that does not exist.
        NoiseStoppedError: an alarm, or a source that ran dry.
    """
    path, bits = Path(path), checked_count(bits, "number of bits")
    if bits < 1 or not path.parent.is_dir() or path.is_dir():
        raise InputError(
            f"cannot record {bits} bits into {path}; give at least 1 bit and a file in a folder that exists"
        )
    left = source.bits_at_most
    if left is not None and left < bits:
        raise InputError(f"{source.name} has {left} bits left, fewer than {bits}; ask for at most as many")
    origin = source.provenance.to_json()
    stopped: NoiseStoppedError | Stopped | None = None
    with replacing(path) as part:
        with part.open("wb") as file:
            show = None if progress is None else lambda done: progress(done, bits)
            try:
                done = write_bits(source, file, count=bits, progress=show)
            except (NoiseStoppedError, Stopped) as error:
                stopped, done = error, _kept(error, source, path)
        # The description first: without it, or with an old file under it, the recording is refused by its hash.
        recording = Recording(bits=done, sha256=sha256_of(part), origin=origin, **(about or {}))
        recording.save(Recording.beside(path))
    made = RecordedSource(path, format="packed")
    if stopped is not None:
        stopped.finished = made
        raise stopped
    return made
