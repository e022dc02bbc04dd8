"""A source whose bits arrive while they are used: a pipe, a device, a socket or a serial port, recorded if asked."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NoReturn, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.context import progress_of_wait
from voltaspin.core.errors import InputError, NoiseExhaustedError, NoiseStoppedError, NoReplayError
from voltaspin.core.files import is_stream
from voltaspin.core.folders import claim_file
from voltaspin.core.renamed import renamed
from voltaspin.noise.endpoint import Arriving, Endpoint
from voltaspin.noise.gaussian import GaussianTransform, transform_of
from voltaspin.noise.importer.bit_file import Recording
from voltaspin.noise.importer.following import BEGINNING, complete, follow, odd_byte
from voltaspin.noise.importer.reading import BitOrder, ByteOrder, FileError, FileOptions, Format, SampleType, Understood
from voltaspin.noise.kept_cells import KeptCells, LeaveOut, noted
from voltaspin.noise.source import Leftover, Provenance, SequentialSource

TIMEOUT = 300.0  #: seconds without a byte after which a stream is given up
_LEAST_BITS, _MOST_BITS = 1 << 8, 1 << 14  # taken at once
_BYTES = 1 << 16  # read at once where the layout does not say how many a bit takes
_SLOW = 2.0  # seconds of waiting after which a source is worth a word
_DESCRIBED = 5.0  # seconds between two descriptions of a recording that goes on


@final
@renamed(shaping="transform", precision="bits_per_sample", lanes="n_cells")
class StreamSource(SequentialSource):
    """Bits in the order in which they arrive. They cannot be had again: ``record`` them to replay them.

    The layouts of files that have no end are read: packed bits, one bit a byte, text, hexadecimal, base64, tables and
    raw converter words. What the options leave open is recognised by the first bytes
    (:mod:`voltaspin.noise.importer.following`); ``understood`` says in one line as what. No more is read than a draw
    needs, as far as the layout says how much that is. A draw waits for its bits, and raises before anything short
    leaves it; what arrived until then can be had with :meth:`rest`.

    Args:
        address: as :class:`voltaspin.noise.endpoint.Endpoint`; or what opens something else from which bytes arrive,
            called with a function that is to be called several times a second in a wait.
        bits_per_sample: bits per number.
        transform: ``"inverse_cdf"`` or ``"popcount"``, or a :class:`GaussianTransform` with its own bits.
        format, bit_order, threshold, unit, column, n_cells, sample_type, byte_order, delimiter, decimal, skip_rows: of
            the content, see :class:`voltaspin.noise.FileOptions`. ``threshold="fit"`` needs a recording.
        leave_out: cells whose bits are skipped, as of :class:`voltaspin.noise.RecordedSource`; ``record`` has them all.
        timeout: seconds without a byte after which the source is given up.
        record: file into which the bytes are written as they arrive, with their description beside it; a
            :class:`RecordedSource` of it replays the bits that were taken.
        overwrite: whether ``record`` may replace a recording that exists.

    Raises:
        InputError: the stream cannot be opened or read, its content is not recognised or ambiguous, options that do
            not apply, or a ``record`` that exists.
    """

    def __init__(
        self,
        address: str | Callable[[Callable[[], None]], Arriving],
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
        delimiter: str | None = None,
        decimal: str | None = None,
        skip_rows: int | None = None,
        timeout: float = TIMEOUT,
        record: Path | str | None = None,
        overwrite: bool = False,
    ) -> None:
        self.kept = None if leave_out is None else KeptCells.of(leave_out, n_cells)
        n_cells = n_cells if self.kept is None else self.kept.n_cells
        self.options = FileOptions(
            format=format, bit_order=bit_order, threshold=threshold, unit=unit, column=column,
            n_cells=n_cells, sample_type=sample_type, byte_order=byte_order,
            delimiter=delimiter, decimal=decimal, skip_rows=skip_rows,
        )  # fmt: skip
        if not 0 < timeout < 1e9:
            raise InputError(f"timeout = {timeout} s must be positive; give the seconds without a byte to wait for")
        self._recorder = None if record is None else _Recorder(Path(record), overwrite=overwrite)
        self._left, self._taken, self._arrived_bytes, self._arrived_bits = Leftover(), 0, 0, 0
        self._stopped: NoiseStoppedError | None = None
        self._expected: int | None = None
        self._waited, self._shown, self._wanted = 0.0, time.monotonic(), BEGINNING
        self._reading, self._last = self._shown, b""  # when the last read began, and what it gave
        self.name = address if isinstance(address, str) else ""  # until it is open
        self._endpoint: Arriving = (
            address(self._show) if callable(address) else Endpoint(str(address), timeout=timeout, waiting=self._show)
        )
        super().__init__(transform_of(transform, bits_per_sample), name=self._endpoint.name)
        if self._endpoint.system and not (options := self.options.to_json()).keys() & {"format", "sample_type"}:
            self.options = FileOptions(**{**options, "format": "packed"})
        try:
            self._followed = follow(self.name, self.options, self._read)
        except BaseException:
            self._endpoint.close()
            raise

    @property
    def understood(self) -> Understood:
        """The way in which the stream is read; ``str`` of it is one line."""
        read = self._followed.understood.model_copy(update={"notes": self._endpoint.notes})
        return noted(read, self.kept)

    @property
    def taken(self) -> int:
        """Bits that were handed out."""
        return self._taken

    @property
    def n_cells(self) -> int:
        return int(self.options.n_cells or 1) if self.kept is None else self.kept.kept.size

    @property
    def bits_at_once(self) -> int:
        """Those of half a second, so that a slow source is tested and shown that often."""
        return int(min(_MOST_BITS, max(_LEAST_BITS, 0.5 * (self._taken + self._left.bits) / max(self._waited, 1e-6))))

    @property
    def bits_left(self) -> int | None:
        """None until the stream has ended, then the bits that arrived and were not handed out."""
        return self._left.bits if isinstance(self._stopped, NoiseExhaustedError) else None

    @property
    def provenance(self) -> Provenance:
        return self._provenance(self.kept)

    def _provenance(self, kept: KeptCells | None) -> Provenance:
        """Of the bits of the cells that are kept, or of all that arrive, which a recording holds."""
        bits, label = self.transform.bits_per_sample, self.transform.label
        details: dict[str, Any] = {
            "stream": self.name, "precision": bits, "shaping": label,
            "input": noted(self._followed.understood, kept).to_json(), **self._endpoint.about,
        }  # fmt: skip
        n_cells = int(self.options.n_cells or 1) if kept is None else kept.kept.size
        if n_cells > 1:
            details["lanes"] = n_cells
        if kept is not None:
            details["left_out"] = kept.to_json()
        left = "" if kept is None else f"{kept}, "
        kind: Literal["operating system", "instrument"] = "operating system" if self._endpoint.system else "instrument"
        return Provenance(kind, f"bits as they arrive from {self.name}, {left}{bits}-bit {label}", details)

    def expect(self, n: int) -> None:
        self._expected = self._taken + n

    def close(self) -> None:
        """Let go of the stream, and complete the recording and its description."""
        self._endpoint.close()
        if self._recorder is not None:
            # What arrived before a stop is worth keeping too; else the recording holds exactly what the work took.
            left = 0 if self._stopped is None else self._left.bits
            self._recorder.finish(self._of_all(self._taken + left), ended=self.bits_left is not None)

    def _reserve(self, n: int) -> None:
        """Nothing: a draw waits for its bits, and says what there was if they do not come."""

    def _packed(self, n: int) -> NDArray[np.uint8]:
        if self._recorder is not None:
            self._recorder.begin(self._followed.understood.format, self._followed.bytes_a_bit, self._description())
        while n > self._left.bits:
            if self._stopped is not None:
                self._stop(n)
            a_bit = self._followed.bytes_a_bit
            missing = self._of_all(self._taken + n) - self._arrived_bits
            self._wanted = max(1, int(np.ceil(missing * a_bit))) if a_bit else _BYTES
            try:
                packed, size = next(self._followed.bits)
                kept = (packed, size) if self.kept is None else self.kept.of_bits(packed, size, at=self._arrived_bits)
                self._left.put(*kept)
                self._arrived_bits += size
            except StopIteration:
                self._stopped = NoiseExhaustedError(f"{self.name} has ended{self._endpoint.reason}")
            except NoiseStoppedError as error:
                self._stopped = error
            except FileError as error:
                self._stopped = NoiseStoppedError(f"{error} ({self._place()})")
            except BaseException:  # a signal: what arrived in the reader is lost, so that nothing may follow it
                self._stopped = NoiseStoppedError(f"{self.name} was interrupted")
                raise
        self._taken += n
        return self._left.take(n)

    def _of_all(self, kept: int) -> int:
        """How many bits of the stream hold the first ``kept`` that are handed out."""
        return kept if self.kept is None else self.kept.span(kept)

    def _rest(self) -> tuple[NDArray[np.uint8], int]:
        n = self._left.bits
        return (self._packed(n), n) if n else (np.empty(0, np.uint8), 0)

    def _place(self) -> str:
        """Where in the stream its reader stood, for messages."""
        end, size = self._arrived_bytes, len(self._last)
        if (at := odd_byte(self.understood.format, self._last)) is not None:
            return f"byte {end - size + at} of the stream"
        return f"in bytes {end - size} to {end - 1} of the stream"

    def _stop(self, n: int) -> NoReturn:
        assert self._stopped is not None
        kept = "" if self._recorder is None else f"; what arrived is in {self._recorder.path}"
        raise type(self._stopped)(
            f"{self._stopped}: {self._taken} bits were taken, {self._left.bits} are left and the draw needs {n}{kept} "
            "(nothing was handed out)"
        )

    def _read(self) -> bytes:
        """Return the bytes that arrive next, and record them."""
        self._reading = time.monotonic()
        data = self._endpoint.read(min(self._wanted, 1 << 20))
        self._waited += time.monotonic() - self._reading
        self._last, self._arrived_bytes = data or self._last, self._arrived_bytes + len(data)
        if self._recorder is not None:
            self._recorder.write(data, self._of_all(self._taken))
        self._show()
        return data

    def _show(self) -> None:
        """Say about once a second how a slow stream goes."""
        now = time.monotonic()
        if now - self._shown < 1 or max(self._waited, now - self._reading) < _SLOW:
            return
        self._shown, begun = now, self._expected is not None
        done, total = (self._taken + self._left.bits, self._expected) if begun else (self._arrived_bytes, BEGINNING)
        if total and (told := progress_of_wait(f"{'bits from' if begun else 'first bytes of'} {self.name}")):
            told(min(done, total), total)

    def _description(self) -> dict[str, Any]:
        options = {name: value for name, value in self.options.to_json().items() if name != "n_cells"}
        return {"origin": self._provenance(None).to_json(), "options": {**options, "format": self.understood.format}}

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise InputError(f"{self.name} is open in this process and cannot be sent to another; record its bits")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._check_state(state)
        raise NoReplayError(
            f"{self.name} hands out bits as they arrive, and those of the stopped run cannot be had again; record them "
            "to replay them"
        )


class _Recorder:
    """Writes the bytes of a stream into a file as they arrive, whole values only, and describes them beside it.

    Whatever happens, the file can be read: the description of a recording that goes on is renewed every few seconds,
    and has no hash until the recording is complete.
    """

    def __init__(self, path: Path, *, overwrite: bool) -> None:
        if is_stream(path) or not path.name:
            raise InputError(f"{path} cannot keep a recording; give record= the name of a file")
        self.path, self._beside = path, Recording.beside(path)
        if not path.parent.is_dir():
            raise InputError(f"{path.parent} does not exist; give record= a file in a folder that does")
        claim_file(path, force=overwrite, sidecar=self._beside, kind=Recording.KIND, leave="overwrite")
        self._file: Any = None
        self._waiting = b""  # bytes before the recording begins, then those of a value that is not whole
        self._sha256, self._size = hashlib.sha256(), 0
        self._about: dict[str, Any] = {}
        self._begun = self._ended = ""
        self._described = 0.0

    def begin(self, kind: str, bytes_a_bit: float, about: dict[str, Any]) -> None:
        """Begin with what arrived already, once: a command that is refused before its first bit leaves no file."""
        if self._file is None:
            self._kind, self._width = kind, int(np.ceil(bytes_a_bit))
            self._about, self._begun = about, _now()
            self._file = self.path.open("wb")
            self._save(0, "")
            self.write(b"", 0)

    def write(self, data: bytes, taken: int) -> None:
        """Write what arrived; ``taken`` bits were handed out so far."""
        self._waiting += data
        if self._file is None:
            return
        end = complete(self._kind, self._width, self._waiting)
        self._put(end)
        if time.monotonic() - self._described > _DESCRIBED:
            self._save(taken, "")

    def finish(self, taken: int, *, ended: bool) -> None:
        """Complete the file and its description; of a stream that ended, its last value needs no separator."""
        if self._file is None or self._file.closed:
            return
        if ended:
            self._put(len(self._waiting))
        os.fsync(self._file.fileno())
        self._file.close()
        self._save(taken, self._sha256.hexdigest() if taken else "")

    def _put(self, end: int) -> None:
        whole, self._waiting = self._waiting[:end], self._waiting[end:]
        if whole:
            self._file.write(whole)
            self._file.flush()
            self._sha256.update(whole)
            self._size, self._ended = self._size + len(whole), _now()

    def _save(self, taken: int, sha256: str) -> None:
        Recording(
            bits=taken, sha256=sha256, size=self._size, begun=self._begun, ended=self._ended or self._begun,
            **self._about,
        ).save(self._beside)  # fmt: skip
        self._described = time.monotonic()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
