"""Noise from a file that somebody recorded: the same images and tests from a real device."""

from __future__ import annotations

import hashlib
import os
import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, final, get_args

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.core.ledger import Ledger
from voltaspin.core.spec import Spec
from voltaspin.noise.gaussian import Shaping, named_shaping
from voltaspin.noise.recorded_formats import BitReader, Format, TwoPopulations
from voltaspin.noise.sequential import SequentialSource
from voltaspin.noise.source import Provenance, aligned

_BLOCK = 1 << 20  # bytes read at once
_SUFFIXES: dict[str, Format] = {".npy": "npy", ".csv": "csv"}


class Recording(Spec):
    """What stands beside a file that :func:`voltaspin.noise.recorder.record` wrote, in ``NAME.json``."""

    KIND: ClassVar[str] = "recording"
    VERSION: ClassVar[int] = 1

    bits: int
    sha256: str
    origin: dict[str, Any]
    command: str | None = None  #: that wrote it, which may write it again with these arguments
    arguments: dict[str, Any] | None = None

    @staticmethod
    def beside(path: Path) -> Path:
        """The name of the description of a recording."""
        return path.with_name(f"{path.name}.json")


@final
class RecordedSource(SequentialSource):
    """Bits of a file, in order, until they are spent.

    The numbers are handed out in the order in which they are asked for, so it is sequential: another order or
    batch size gives an image other numbers, and a step that was drawn cannot be drawn again. The file is read in
    blocks and may be larger than memory; any format but packed bits is read once when the source is made and
    kept as packed bits in a temporary file, an eighth of a byte per bit.

    Args:
        path: of the recording.
        precision: bits per number.
        shaping: ``"inverse_cdf"`` or ``"popcount"`` of ``precision`` bits, or a :class:`Shaping` with its own.
        format: ``"packed"`` (raw bits, nothing else in the file, the first is the highest of the first byte),
            ``"bytes"`` (one bit a byte, 0 or 1), ``"text"`` (the characters 0 and 1, white space between them
            does not count), ``"npy"`` (an array of any shape, in C order) or ``"csv"`` (one column). None
            goes by the suffix: ``.npy``, ``.csv``, anything else is packed.
        threshold: of ``npy`` and ``csv`` files of resistances [ohm]: a bit is 1, the antiparallel state, where
            the resistance is above it. ``"fit"`` finds it between two populations
            (:func:`voltaspin.noise.recorded_formats.two_populations`). None: the file holds 0 and 1.
        column: of a CSV file, its name in the first line or its number from 0.
        lanes: cells that were read in turn: bit ``j`` comes from cell ``j % lanes``.

    Raises:
        InputError: no such file, an empty or truncated one, values that are no bits, resistances that are not
            finite, not positive or of one population only, or a description beside it that does not fit.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        precision: int = 16,
        shaping: Literal["inverse_cdf", "popcount"] | Shaping = "inverse_cdf",
        format: Format | None = None,
        threshold: float | Literal["fit"] | None = None,
        column: str | int = 0,
        lanes: int = 1,
    ) -> None:
        super().__init__(named_shaping(shaping, precision))
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{self.path} is not a file; give a file of raw packed bits")
        self.format: Format = format or _SUFFIXES.get(self.path.suffix.lower(), "packed")
        if self.format not in get_args(Format):
            raise InputError(f"format {format!r} is unknown; use one of {', '.join(get_args(Format))}")
        if not isinstance(lanes, int | np.integer) or lanes < 1:
            raise InputError(f"lanes = {lanes!r} must be an integer of at least 1: the cells that were read in turn")
        if threshold is not None and self.format not in ("npy", "csv"):
            raise InputError(
                f"a threshold is for resistances in an npy or csv file; {self.path} is read as {self.format}"
            )
        digest, self._bytes = hashlib.sha256(), 0
        with self.path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                self._bytes += len(block)
        if not self._bytes:
            raise InputError(f"{self.path} is empty (0 bits); record some bits first")
        self.sha256 = digest.hexdigest()
        self.name = f"recorded, {self.path.name}"
        self.ledger = Ledger(self.name)
        self.populations: TwoPopulations | None = None  #: the fit, where one was asked for
        self.threshold = threshold if not isinstance(threshold, str) else None
        self._packed_file = self.path
        self.origin: dict[str, Any] | None = None  #: provenance of the source that was recorded, where it is known
        if self.format == "packed":
            self._size = 8 * self._bytes
            self._read_description()
        else:
            self._convert(threshold, column)
        self._lanes = int(lanes)
        self._position = 0

    def _read_description(self) -> None:
        if not (beside := Recording.beside(self.path)).is_file():
            return
        recording = Recording.load(beside)
        if recording.sha256 != self.sha256 or not 0 < recording.bits <= self._size:
            raise InputError(
                f"{beside} describes {recording.bits} bits of another file than {self.path} (sha256 "
                f"{recording.sha256[:12]}, the file's {self.sha256[:12]}): it was changed or cut; record it again, or "
                "remove the description to use the bytes as they are"
            )
        self._size, self.origin = recording.bits, recording.origin

    def _convert(self, threshold: float | Literal["fit"] | None, column: str | int) -> None:
        handle, name = tempfile.mkstemp(prefix="voltaspin-", suffix=".bits")
        os.close(handle)
        self._packed_file = Path(name)
        weakref.finalize(self, self._packed_file.unlink, missing_ok=True)
        self._size, left = 0, np.empty(0, np.uint8)
        reader = BitReader(self.path, self.format, threshold=threshold, column=column)
        with self._packed_file.open("wb") as file:
            for bits in reader:
                self._size += bits.size
                bits = np.concatenate([left, bits])
                whole = bits.size // 8 * 8
                file.write(np.packbits(bits[:whole]).tobytes())
                left = bits[whole:]
            file.write(np.packbits(left).tobytes())
        self.populations = reader.populations
        self.threshold = reader.threshold
        if not self._size:
            raise InputError(f"{self.path} holds no values; record some bits first")

    @property
    def lanes(self) -> int:
        return self._lanes

    @property
    def bits_left(self) -> int:
        """Bits that have not been handed out."""
        return self._size - self._position

    @property
    def provenance(self) -> Provenance:
        kind = self.shaping.label
        made = "" if self.origin is None else f" from {self.origin['kind']}: {self.origin['description']}"
        details: dict[str, Any] = {
            "file": self.path.name,
            "sha256": self.sha256,
            "bits": self._size,
            "precision": self.shaping.coins,
            "shaping": kind,
        }
        if self.format != "packed":
            details["format"] = self.format
        if self.threshold is not None:
            details["threshold_ohm"] = self.threshold
        if self.populations is not None:
            details["populations"] = self.populations.to_json()
        if self._lanes > 1:
            details["lanes"] = self._lanes
        if self.origin is not None:
            details["origin"] = self.origin
        return Provenance(
            "recorded",
            f"{self._size} recorded bits of {self.path.name} (sha256 {self.sha256[:12]}){made}, "
            f"{self.shaping.coins}-bit {kind}",
            details,
        )

    def _reserve(self, n: int) -> None:
        if n > self.bits_left:
            raise NoiseExhaustedError(
                f"{self.path.name} has run dry: the draw needs {n} bits and {self.bits_left} of "
                f"{self._size} are there; record more bits or draw fewer numbers (nothing was handed "
                "out)"
            )

    def _packed(self, n: int) -> NDArray[np.uint8]:
        first, skip = divmod(self._position, 8)
        wanted = (skip + n + 7) // 8
        parts = []
        with self._packed_file.open("rb") as file:
            file.seek(first)
            while wanted > 0 and (part := file.read(min(wanted, _BLOCK))):
                parts.append(np.frombuffer(part, np.uint8))
                wanted -= len(part)
        if wanted:
            raise InputError(f"{self.path} became shorter while it was being read; restore the recording")
        self._position += n
        return aligned(np.concatenate([np.empty(0, np.uint8), *parts]), skip, n)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "position": self._position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self._position = int(state["position"])
