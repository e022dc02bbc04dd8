"""The contract of a noise source.

Two kinds of source exist. An *addressable* one (simulated, pseudo) computes the numbers of any (stream, step)
again at will, whatever the batch, the order or the thread. A *sequential* one (recorded, instrument,
operating system) hands out what comes next and says that it cannot be addressed. No source ever falls back
to another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.core.ledger import Ledger
from voltaspin.noise.processes import Travels

Kind = Literal["simulated", "recorded", "instrument", "operating system", "pseudo"]

BLOCK = 1 << 23  #: bits that are drawn at once where nothing speaks for fewer

#: Streams that no image can have: bits and numbers in sequence, and draws at a step without a stream.
SEQUENCE = 2**63
WHOLE = 2**63 + 1


@dataclass(frozen=True)
class Provenance:
    """The origin of numbers; every report prints it.

    Args:
        kind: ``simulated`` (a model of a device, driven by a counter-based generator and so without entropy
            of its own), ``recorded``, ``instrument``, ``operating system`` or ``pseudo``.
        description: one sentence for reports.
        details: parameters that define the numbers, JSON-able.
    """

    kind: Kind
    description: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError(f"provenance {self.kind!r} is unknown; use one of {', '.join(get_args(Kind))}")

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "description": self.description, "details": dict(self.details)}

    def __str__(self) -> str:
        return f"{self.kind}: {self.description}"


def sizes_of(shape: int | Sequence[int]) -> tuple[int, ...]:
    """Return a shape as a tuple; raises InputError on negative or fractional sizes."""
    sizes = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    if not all(isinstance(n, int | np.integer) and n >= 0 for n in sizes):
        raise InputError(f"shape {shape!r} must be made of non-negative integers")
    return tuple(int(n) for n in sizes)


def checked_count(n: int, what: str) -> int:
    """Return a number of things as an int; raises InputError unless it is a non-negative integer."""
    if not isinstance(n, int | np.integer) or n < 0:
        raise InputError(f"{what} {n!r} must be a non-negative integer")
    return int(n)


def aligned(packed: NDArray[np.uint8], skip: int, n: int) -> NDArray[np.uint8]:
    """Return bits ``skip`` to ``skip + n`` of ``packed`` as packed bits, with zeros after the last.

    Args:
        packed: uint8, first bit highest; at least skip + n bits.
        skip: bits to leave out in front, 0 to 7.
        n: bits to keep.
    """
    size = -(-n // 8)
    if skip:
        wide = np.append(packed[: -(-(skip + n) // 8)], np.uint8(0)).astype(np.uint16)
        out = ((wide[:size] << skip | wide[1 : size + 1] >> (8 - skip)) & 0xFF).astype(np.uint8)
    else:
        out = packed[:size].copy()
    if n % 8:
        out[-1] &= 0xFF << (8 - n % 8) & 0xFF
    return out


def checked_streams(streams: Sequence[int], shape: tuple[int, ...]) -> list[int]:
    """Return the stream ids, one per leading index of ``shape``; raises InputError otherwise."""
    ids = [int(s) for s in streams]
    if not shape or len(ids) != shape[0]:
        raise InputError(
            f"{len(ids)} streams were given for an array of shape {shape}; give one per leading index (image)"
        )
    for s in ids:
        if not 0 <= s < SEQUENCE:
            raise InputError(f"stream {s} is outside 0 to 2**63 - 1")
    return ids


class BitSource(Travels, ABC):
    """Random bits and Gaussian numbers with a known origin, a ledger and a state.

    A finite or health-checked source raises :class:`~voltaspin.core.errors.NoiseExhaustedError` (or its alarm)
    before it hands anything out; nothing falls back to a pseudo-random generator.

    In another process (forked, or sent there by ``multiprocessing``) a copy never repeats what comes next here: an
    addressable source goes on with a sequence of its own, which depends on the order in which the processes were
    started, and a sequential one refuses. A stream and a step give the same numbers in every process. Each process
    counts into its own ledger.
    """

    name: str  #: short name for tables and figures
    addressable: bool  #: whether any (stream, step) can be computed at will
    ledger: Ledger  #: what the draws so far have cost

    @property
    def n_cells(self) -> int:
        """Cells that deliver in turn: bit ``j`` of the sequence comes from cell ``j % n_cells`` (1: from one)."""
        return 1

    @property
    def lanes(self) -> int:
        """Old name of ``n_cells``."""
        return self.n_cells

    @property
    @abstractmethod
    def provenance(self) -> Provenance:
        """Origin of the numbers."""

    @property
    def can_alarm(self) -> bool:
        """Whether a health test stands in the way of the bits and may stop them at any draw."""
        return False

    @property
    def bits_at_once(self) -> int:
        """Bits to draw at once: few where they arrive at a pace of their own, so that none waits for the others."""
        return BLOCK

    def expect(self, n: int) -> None:
        """Be told that work takes ``n`` bits in all, for the time left of a source that waits for its bits."""

    def close(self) -> None:
        """Let go of what the source holds open, and complete what it writes; nothing can be drawn after that."""

    @property
    def bits_left(self) -> int | None:
        """Bits that a finite source can surely still hand out; None for one that does not run dry."""
        return None

    @property
    def bits_at_most(self) -> int | None:
        """The same from above: more than ``bits_left`` only where a conditioner's rate varies."""
        return self.bits_left

    @property
    @abstractmethod
    def bits_per_normal(self) -> int:
        """Bits behind one Gaussian number."""

    def bits(self, n: int) -> NDArray[np.uint8]:
        """Return the next ``n`` random bits.

        Args:
            n: number of bits; consecutive calls continue each other bit by bit.

        Returns:
            Packed: uint8 (ceil(n / 8),), the first bit is the highest of the first byte and the bits
            left over in the last byte are 0.
        """
        packed = self.take(n)
        self.ledger.count("bit", int(n))
        return packed

    def take(self, n: int) -> NDArray[np.uint8]:
        """:meth:`bits` for a source that conditions or watches these: not counted as handed to a user."""
        n = checked_count(n, "number of bits")
        self._reserve(n)
        return self._sequence()._packed(n)

    def _sequence(self) -> BitSource:
        """Return the source of the next bits in this process; raises InputError where there is none."""
        if self._path:
            raise InputError(
                f"{self.name} was made in another process, where the same bits are handed out; make the source in the "
                "process that uses it, or use an addressable one (MemorySource, PseudoSource)"
            )
        return self

    def _mark(self) -> Any:
        """Return the position of the sequence, for :meth:`_return_to`; raises InputError where it cannot go back."""
        raise InputError(
            f"{self.name} hands out each bit once and cannot go back, so numbers cannot be drawn again (by a "
            "recomputation, a seed or a restored state of a generator); use MemorySource or PseudoSource, or record "
            "its bits"
        )

    def _return_to(self, mark: Any) -> None:
        """Go back to what :meth:`_mark` gave."""
        self._mark()

    def rest(self) -> tuple[NDArray[np.uint8], int]:
        """Return the bits that a source made before it stopped: (packed bits, how many), once.

        After an alarm these are the bits in front of the one that raised it, of a source that ran dry those that it
        has left. They are counted as handed out.
        """
        packed, n = self._rest()
        self.ledger.count("bit", n)
        return packed, n

    def _rest(self) -> tuple[NDArray[np.uint8], int]:
        n = self.bits_left or 0
        return self.take(n), n

    def _reserve(self, n: int) -> None:
        """Raise before anything is drawn where ``n`` bits cannot be had."""
        left = self.bits_left
        # Where a conditioner's rate varies, only trying tells; what is made by that is kept.
        if left is not None and n > left and left == self.bits_at_most:
            raise NoiseExhaustedError(
                f"{self.name} has run dry: the draw needs {n} bits and {left} are left; record more bits or "
                "draw fewer numbers (nothing was handed out)"
            )

    @abstractmethod
    def _packed(self, n: int) -> NDArray[np.uint8]:
        """Return the next ``n`` bits, packed and followed by zeros in the last byte. Raises before it moves on."""

    @abstractmethod
    def normal(
        self, shape: int | Sequence[int], *, streams: Sequence[int] | None = None, step: int | None = None
    ) -> NDArray[np.float32]:
        """Return standard normal numbers.

        Args:
            shape: of the result.
            streams: one id per leading index of ``shape`` (one stream per image), each 0 to 2**63 - 1;
                None draws the whole array from one stream.
            step: which draw of those streams. An addressable source gives the same numbers for the same
                (stream, step) and the same size per image, whatever the batch, order or thread. None takes
                the next draw: streams count their own draws from step 0, and draws at an explicit step
                are random access that leaves the count where it was.

        Returns:
            float32 of ``shape``.

        Raises:
            InputError: streams that do not fit the shape, or a step that the source cannot serve.
            NoiseExhaustedError: a finite source has fewer bits left than the draw needs.
        """

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the position of the source, JSON-able."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`; raises InputError if it was written by a different source."""

    def spawn(self, n: int) -> Sequence[BitSource]:
        """Return ``n`` sources whose numbers are independent of this one's and of each other's.

        Two calls never return the same children; the count of children is part of the state.

        Raises:
            InputError: a sequential source has no second sequence to give.
        """
        raise InputError(
            f"{self.name} hands out one sequence and cannot spawn {n} independent ones: give each user its own "
            "recording or its own stretch of one, or use an addressable source (MemorySource, PseudoSource)"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.provenance})"

    def _check_state(self, state: Mapping[str, Any]) -> None:
        theirs, ours = state.get("provenance"), self.provenance.to_json()
        if _numbers_of(theirs) == _numbers_of(ours):
            return
        if (undo := self._as_in_0_1_0()) is not None:
            if _numbers_of(theirs) == _numbers_of(self.provenance.to_json()):
                return
            undo()
        raise InputError(
            f"this state belongs to another source ({theirs}); build the source with the same arguments and memory "
            f"before loading (this one: {ours})"
        )

    def _as_in_0_1_0(self) -> Callable[[], None] | None:
        """Take the defaults of 0.1.0, with which a state may have been written; returns what takes them back."""
        return None


def _numbers_of(provenance: Any) -> Any:
    """Return a provenance without the fields that do not decide the numbers (``H_from``)."""
    if isinstance(provenance, Mapping):
        return {k: _numbers_of(v) for k, v in provenance.items() if k != "H_from"}
    return [_numbers_of(v) for v in provenance] if isinstance(provenance, list) else provenance
