"""Noise from a file that somebody recorded: the same images and tests from a real device."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.core.ledger import Ledger
from voltaspin.noise.gaussian import Shaping, named_shaping
from voltaspin.noise.importer.bit_file import Recording, open_bits
from voltaspin.noise.importer.options import (
    BitOrder,
    ByteOrder,
    FileError,
    FileOptions,
    Format,
    SampleType,
    Understood,
)
from voltaspin.noise.importer.populations import TwoPopulations
from voltaspin.noise.sequential import SequentialSource
from voltaspin.noise.source import Provenance, aligned

__all__ = ["RecordedSource", "Recording"]

_BLOCK = 1 << 20  # bytes read at once


@final
class RecordedSource(SequentialSource):
    """Bits of a file, in order, until they are spent.

    The numbers are handed out in the order in which they are asked for, so it is sequential: another order or
    batch size gives an image other numbers, and a step that was drawn cannot be drawn again. The file is read in
    blocks and may be larger than memory; any content but packed bits is read once when the source is made and
    kept as packed bits in a temporary file, an eighth of a byte per bit.

    The content is recognised (:mod:`voltaspin.noise.importer`); ``understood`` says in one line as what. Everything
    but ``path``, ``precision`` and ``shaping`` is an option of :class:`voltaspin.noise.FileOptions`, where it is
    explained.

    Args:
        path: of the recording.
        precision: bits per number.
        shaping: ``"inverse_cdf"`` or ``"popcount"`` of ``precision`` bits, or a :class:`Shaping` with its own.
        format: of the content.
        bit_order: of packed bytes, ``"msb"`` or ``"lsb"``.
        threshold: of measured values: with a unit (``"5.4kohm"``, ``"-20mV"``), a number in SI, or ``"fit"``, which
            finds it between two populations (:func:`voltaspin.noise.two_populations`).
        unit: of the values, where the file does not say it.
        column: of a table, or the name of an array.
        n_cells: cells that were read in turn: bit ``j`` comes from cell ``j % n_cells``; ``lanes`` is its old name.
        sample_type, byte_order: of raw converter words.
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
        precision: int = 16,
        shaping: Literal["inverse_cdf", "popcount"] | Shaping = "inverse_cdf",
        format: Format | None = None,
        bit_order: BitOrder | None = None,
        threshold: float | str | None = None,
        unit: str | None = None,
        column: str | int | None = None,
        n_cells: int | None = None,
        lanes: int | None = None,
        sample_type: SampleType | None = None,
        byte_order: ByteOrder | None = None,
        delimiter: str | None = None,
        decimal: str | None = None,
        skip_rows: int | None = None,
    ) -> None:
        super().__init__(named_shaping(shaping, precision))
        self.path = Path(path)
        if lanes is not None and n_cells is not None:
            raise FileError(f"lanes = {lanes} and ⟦n_cells⟧ {n_cells} are two names of one number; give n_cells alone")
        self.options = FileOptions(
            format=format, bit_order=bit_order, threshold=threshold, unit=unit, column=column,
            n_cells=lanes if n_cells is None else n_cells, sample_type=sample_type, byte_order=byte_order,
            delimiter=delimiter, decimal=decimal, skip_rows=skip_rows,
        )  # fmt: skip
        if not self.path.is_file():
            raise InputError(f"{self.path} is not a file; give a file of recorded bits")
        digest, size = hashlib.sha256(), 0
        with self.path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
        if not size:
            raise InputError(f"{self.path} is empty (0 bits); record some bits first")
        self.sha256 = digest.hexdigest()
        self._file = open_bits(self.path, self.options, sha256=self.sha256)
        self.name = f"recorded, {self.path.name}"
        self.ledger = Ledger(self.name)
        self._lanes = int(self.options.n_cells or 1)
        self._position = 0

    @property
    def understood(self) -> Understood:
        """What the file was read as; ``str`` of it is one line."""
        return self._file.understood

    @property
    def format(self) -> str:
        """Format of the content, as it was recognised or given."""
        return self._file.understood.format

    @property
    def threshold(self) -> float | None:
        """Value in SI above which a bit is 1; None where the file holds bits."""
        return self._file.understood.threshold

    @property
    def populations(self) -> TwoPopulations | None:
        """The fit of the threshold, where one was asked for."""
        return self._file.populations

    @property
    def origin(self) -> dict[str, Any] | None:
        """Provenance of the source that was recorded, where it is known."""
        return self._file.origin

    @property
    def lanes(self) -> int:
        return self._lanes

    @property
    def n_cells(self) -> int:
        """Cells that were read in turn."""
        return self._lanes

    @property
    def bits_left(self) -> int:
        """Bits that have not been handed out."""
        return self._file.bits - self._position

    @property
    def provenance(self) -> Provenance:
        kind = self.shaping.label
        made = "" if self.origin is None else f" from {self.origin['kind']}: {self.origin['description']}"
        understood = self.understood
        details: dict[str, Any] = {
            "file": self.path.name,
            "sha256": self.sha256,
            "bits": self._file.bits,
            "precision": self.shaping.coins,
            "shaping": kind,
            "input": understood.to_json(),
        }
        if self.format != "packed":
            details["format"] = self.format
        if self.threshold is not None:
            details["threshold"], details["unit"] = self.threshold, understood.unit
        if self.populations is not None:
            details["populations"] = self.populations.model_dump(mode="json", exclude={"environment"})
        if self._lanes > 1:
            details["lanes"] = self._lanes
        if self.origin is not None:
            details["origin"] = self.origin
        return Provenance(
            "recorded",
            f"{self._file.bits} recorded bits of {self.path.name} (sha256 {self.sha256[:12]}){made}, "
            f"{self.shaping.coins}-bit {kind}",
            details,
        )

    def _reserve(self, n: int) -> None:
        if n > self.bits_left:
            raise NoiseExhaustedError(
                f"{self.path.name} has run dry: the draw needs {n} bits and {self.bits_left} of "
                f"{self._file.bits} are there; record more bits or draw fewer numbers (nothing was handed "
                "out)"
            )

    def _packed(self, n: int) -> NDArray[np.uint8]:
        found = self._file.read(self._position, n)
        if found is None:
            raise InputError(f"{self.path} became shorter while it was being read; restore the recording")
        skip = self._position % 8
        self._position += n
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
