"""What a source of noise is, and the software baseline against which the memory is compared.

Two kinds of source exist. An *addressable* one (simulated, pseudo) computes the numbers of any (stream, step)
again at will, whatever the batch, the order or the thread. A *sequential* one (recorded, instrument,
operating system) hands out what comes next and says that it cannot be addressed. No source ever falls back
to another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING, Any, Literal, final, get_args

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.core.ledger import Ledger
from voltaspin.memory.pulse import GROUP, fair_bits
from voltaspin.noise.gaussian import InverseCDF, Shaping, quantiles53
from voltaspin.streams import Stream, derive_key

if TYPE_CHECKING:
    from voltaspin.noise.adapters import BitGenerator
    from voltaspin.noise.drive import DrivenTorch

Kind = Literal["simulated", "recorded", "instrument", "operating system", "pseudo"]

#: Streams that no image can have: bits and numbers in sequence, and draws at a step without a stream.
SEQUENCE = 2**63
WHOLE = 2**63 + 1


@dataclass(frozen=True)
class Provenance:
    """Where numbers came from; every report prints it.

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
    """A shape as a tuple; raises InputError on negative or fractional sizes."""
    sizes = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    if not all(isinstance(n, int | np.integer) and n >= 0 for n in sizes):
        raise InputError(f"shape {shape!r} must be made of non-negative integers")
    return tuple(int(n) for n in sizes)


def checked_count(n: int, what: str) -> int:
    """A number of things as an int; raises InputError unless it is a non-negative integer."""
    if not isinstance(n, int | np.integer) or n < 0:
        raise InputError(f"{what} {n!r} must be a non-negative integer")
    return int(n)


def aligned(packed: NDArray[np.uint8], skip: int, n: int) -> NDArray[np.uint8]:
    """Bits ``skip`` to ``skip + n`` of ``packed`` as packed bits of their own, with zeros after the last.

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
    """Stream ids, one per leading index of ``shape``; raises InputError otherwise."""
    ids = [int(s) for s in streams]
    if not shape or len(ids) != shape[0]:
        raise InputError(
            f"{len(ids)} streams were given for an array of shape {shape}; give one per leading index (image)"
        )
    for s in ids:
        if not 0 <= s < SEQUENCE:
            raise InputError(f"stream {s} is outside 0 to 2**63 - 1")
    return ids


class NoiseSource(ABC):
    """Random bits and Gaussian numbers with a known origin, a ledger and a state.

    A finite or health-checked source raises :class:`~voltaspin.core.errors.NoiseExhaustedError` (or its alarm)
    before it hands anything out; nothing falls back to a pseudo-random generator.
    """

    name: str  #: short name for tables and figures
    addressable: bool  #: whether any (stream, step) can be computed at will
    ledger: Ledger  #: what the draws so far have cost

    @property
    def lanes(self) -> int:
        """Cells that deliver in turn: bit ``j`` of the sequence comes from cell ``j % lanes`` (1: from one)."""
        return 1

    @property
    @abstractmethod
    def provenance(self) -> Provenance:
        """Where the numbers come from."""

    @property
    def can_alarm(self) -> bool:
        """Whether a health test stands in the way of the bits and may stop them at any draw."""
        return False

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
        """The next ``n`` random bits.

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
        return self._packed(n)

    def rest(self) -> tuple[NDArray[np.uint8], int]:
        """What a source that stopped had made before: (packed bits, how many), once.

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
        """The next ``n`` bits, packed; what follows them in the last byte is 0. Raises before it moves on."""

    @abstractmethod
    def normal(
        self, shape: int | Sequence[int], *, streams: Sequence[int] | None = None, step: int | None = None
    ) -> NDArray[np.float32]:
        """Standard normal numbers.

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
        """Where the source stands, JSON-able."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from :meth:`state_dict`; raises InputError if it was written by a different source."""

    def spawn(self, n: int) -> list[NoiseSource]:
        """``n`` sources whose numbers are independent of this one's and of each other's.

        Two calls never return the same children; the count of children is part of the state.

        Raises:
            InputError: a sequential source has no second sequence to give.
        """
        raise InputError(
            f"{self.name} hands out one sequence and cannot spawn {n} independent ones: give each user its own "
            "recording or its own stretch of one, or use an addressable source (MemorySource, PseudoSource)"
        )

    def bit_generator(self, *, words: int | None = None) -> BitGenerator:
        """This source as the engine of NumPy: ``np.random.Generator(source.bit_generator())``.

        Args:
            words: 64-bit words to draw and check beforehand. Needed of a source that can run dry or raise an
                alarm, because an engine of NumPy cannot refuse in the middle of a draw; None otherwise.

        Returns:
            See :class:`voltaspin.noise.adapters.BitGenerator`.
        """
        from voltaspin.noise.adapters import BitGenerator

        return BitGenerator(self, words=words)

    def drive_torch(self) -> DrivenTorch:
        """Context in which PyTorch's normal and uniform draws come from this source.

        Everything else that is random in PyTorch goes on as it was and is counted in ``passed``.

        Returns:
            See :class:`voltaspin.noise.drive.DrivenTorch`.
        """
        from voltaspin.noise.drive import DrivenTorch

        return DrivenTorch(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.provenance})"

    def _check_state(self, state: Mapping[str, Any]) -> None:
        ours = self.provenance.to_json()
        if state.get("provenance") != ours:
            raise InputError(
                f"this state belongs to another source ({state.get('provenance')}); build the source with "
                f"the same arguments and memory before loading (this one: {ours})"
            )


class AddressableSource(NoiseSource):
    """The bookkeeping that addressable sources share: which stream and step comes next.

    A concrete source says how one draw of one stream is made (``_draw``) and which bits come next in its
    sequence (``_coins``, ``_sequence_normals``).
    """

    addressable = True
    seed: int  #: of everything that it draws

    def __init__(self) -> None:
        self._next: dict[int, int] = {}
        self._children = 0

    @abstractmethod
    def _with_seed(self, seed: int) -> NoiseSource:
        """The same source under another seed."""

    @abstractmethod
    def _draw(self, stream: int, step: int, out: NDArray[np.float32]) -> None:
        """Fill ``out`` (n,) with draw ``step`` of ``stream`` and count it."""

    @abstractmethod
    def _sequence_normals(self, n: int) -> NDArray[np.float32]:
        """The next ``n`` numbers of the sequence; count them."""

    @abstractmethod
    def _check_size(self, n: int) -> None:
        """Raise InputError if one draw cannot hold ``n`` numbers."""

    def normal(
        self, shape: int | Sequence[int], *, streams: Sequence[int] | None = None, step: int | None = None
    ) -> NDArray[np.float32]:
        size = sizes_of(shape)
        if step is not None and not 0 <= checked_count(step, "step") < 2**32:
            raise InputError(f"step {step} is above 2**32 - 1; use another stream")
        if streams is None and step is None:
            return self._sequence_normals(prod(size)).reshape(size)
        ids = [WHOLE] if streams is None else checked_streams(streams, size)
        if step is None and len(set(ids)) < len(ids):
            raise InputError("a stream is named twice in one draw; say step= or give each image its own stream")
        out = np.empty((len(ids), prod(size) // max(len(ids), 1)), np.float32)
        self._check_size(out.shape[1])
        for row, stream in zip(out, ids, strict=True):
            at = self._next.get(stream, 0) if step is None else int(step)
            self._draw(stream, at, row)
            if step is None:
                self._next[stream] = at + 1
        return out.reshape(size)

    def spawn(self, n: int) -> list[NoiseSource]:
        n = checked_count(n, "number of sources")
        seeds = [derive_key(self.seed, "spawn", self._children + i) for i in range(n)]
        self._children += n
        return [self._with_seed(seed) for seed in seeds]

    def _next_state(self) -> dict[str, Any]:
        return {"next": {str(stream): at for stream, at in self._next.items()}, "children": self._children}

    def _load_next(self, state: Mapping[str, Any]) -> None:
        self._next = {int(stream): int(at) for stream, at in state["next"].items()}
        self._children = int(state["children"])


@final
class PseudoSource(AddressableSource):
    """Software normals from Philox: the baseline of every comparison with the memory.

    Args:
        seed: any non-negative integer.
        precision: bits per number, 4 to 16, shaped by the same inverse-CDF table that the memory uses, or
            ``"full"``: the same leading 16 bits followed by 37 further bits from a stream of their own, so
            that every number lies inside the level of its 16-bit neighbour.

    Bit ``j`` of draw (stream, step) is 1 where its 16-bit word is below 32768. A ``MemorySource`` of the same
    seed and bits per number whose cells have p01 = p10 = 1/2 answers the same words in the same way, so its
    numbers are equal to these, for every k (see :mod:`voltaspin.memory.pulse`). With other probabilities the
    two stay coupled: they differ only where a word lies between 32768 and the threshold of the cell.

    >>> PseudoSource(seed=1).normal((2, 3), streams=[5, 6], step=0).shape
    (2, 3)
    """

    def __init__(self, *, seed: int = 0, precision: int | Literal["full"] = "full") -> None:
        super().__init__()
        if isinstance(precision, str) and precision != "full":
            raise InputError(f"precision {precision!r} is unknown; use 'full' or a number of bits, 4 to 16")
        self.seed = seed
        self.precision: int | str = precision
        self._full = precision == "full"
        self._shaping: Shaping = InverseCDF(16 if isinstance(precision, str) else precision)
        coins = self._shaping.coins
        self._table = np.arange(2**coins, dtype=np.float32) if self._full else self._shaping.table
        self.name = "pseudo" if self._full else f"pseudo, {precision} bits"
        self.ledger = Ledger(self.name)
        self._key = coin_key(seed, 0)
        self._fine_key = derive_key(seed, "noise", "fine")
        self._position = 0  # bits of the sequence handed out
        self._fine_position = 0  # full-precision numbers of the sequence handed out

    def _with_seed(self, seed: int) -> NoiseSource:
        return PseudoSource(seed=seed, precision="full" if self._full else self._shaping.coins)

    @property
    def bits_per_normal(self) -> int:
        return 53 if self._full else self._shaping.coins

    @property
    def provenance(self) -> Provenance:
        width = "53-bit" if self._full else f"{self.precision}-bit"
        return Provenance(
            "pseudo",
            f"Philox4x32-10, {width} inverse-CDF normals, seed {self.seed}",
            {"generator": "Philox4x32-10", "seed": int(self.seed), "precision": self.precision},
        )

    def _check_size(self, n: int) -> None:
        if n * self._shaping.coins > 2**35:
            raise InputError(f"{n} numbers per image are more than one draw addresses; split the image")

    def _draw(self, stream: int, step: int, out: NDArray[np.float32]) -> None:
        n = out.shape[0]
        coins = np.empty(-(-n * self._shaping.coins // GROUP) * GROUP, np.uint8)
        fair_bits(np.uint64(self._key), np.uint64(stream), np.uint64(step << 32), coins)
        self._shaping.fill(coins, out, self._table)
        if self._full:
            fine = Stream(self._fine_key, stream).words(2 * n, start=step << 34)
            quantiles53(out, fine.view(np.uint64), out)
        self._count(n)

    def _packed(self, n: int) -> NDArray[np.uint8]:
        # the words of one stream, the highest bit of each byte first
        byte, skip = divmod(self._position, 8)
        word, first = divmod(byte, 4)
        words = Stream(self._key, SEQUENCE).words(-(-(first + -(-(skip + n) // 8)) // 4), start=word)
        self._position += n
        return aligned(words.reshape(-1).view(np.uint8)[first:], skip, n)

    def _sequence_normals(self, n: int) -> NDArray[np.float32]:
        out = np.empty(n, np.float32)
        coins = self._shaping.coins
        packed = self._packed(n * coins)
        if self._full:
            levels = packed.view(">u2").astype(np.float32)
            fine = np.ascontiguousarray(Stream(self._fine_key, SEQUENCE).words(2 * n, start=2 * self._fine_position))
            quantiles53(levels, fine.view(np.uint64), out)
            self._fine_position += n
        else:
            self._shaping.from_packed(packed, n, out)
        self._count(n)
        return out

    def _count(self, n: int) -> None:
        self.ledger.count("bit", n * self.bits_per_normal)
        self.ledger.count("lookup", 0 if self._full else n)
        self.ledger.count("normal", n)

    def state_dict(self) -> dict[str, Any]:
        return {
            "provenance": self.provenance.to_json(),
            "position": self._position,
            "fine_position": self._fine_position,
            **self._next_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._check_state(state)
        self._position, self._fine_position = int(state["position"]), int(state["fine_position"])
        self._load_next(state)


def coin_key(seed: int, cell: int) -> int:
    """Key of the words of the ``cell``-th cell of every bit; software coins use that of cell 0."""
    return derive_key(seed, "noise", "coin", cell)
