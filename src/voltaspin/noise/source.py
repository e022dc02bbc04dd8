"""Noise sources for their users: bits, numbers, and the engines of NumPy and PyTorch that draw from them.

An *addressable* source computes the numbers of any (stream, step) again at will. A *sequential* one (a recording, an
instrument, the operating system, anything behind a conditioner) delivers its bits in order, numbers its draws by
request, and refuses to go back. The contract of every source is :mod:`voltaspin.noise.base`, on which the engines
build.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.extras import NeedsExtra
from voltaspin.core.ledger import Ledger
from voltaspin.noise.base import SEQUENCE as SEQUENCE
from voltaspin.noise.base import WHOLE, BitSource, checked_streams, sizes_of
from voltaspin.noise.base import Provenance as Provenance
from voltaspin.noise.base import aligned as aligned
from voltaspin.noise.base import checked_count as checked_count
from voltaspin.noise.gaussian import GaussianTransform, InverseCDF
from voltaspin.noise.numpy_rng import BitGenerator
from voltaspin.random.streams import derive_key

if TYPE_CHECKING:
    from voltaspin.noise.torch_rng import DrivenTorch


class NoiseSource(BitSource):
    """A source with its engines: what every command, model and study takes as its noise."""

    transform: GaussianTransform  #: how bits become numbers

    @property
    def shaping(self) -> GaussianTransform:
        """Old name of ``transform``."""
        return self.transform

    @property
    def bits_per_normal(self) -> int:
        return self.transform.bits_per_sample

    def bit_generator(self, *, words: int | None = None) -> BitGenerator:
        """Return this source as the engine of NumPy: ``np.random.Generator(source.bit_generator())``.

        Args:
            words: 64-bit words to draw and check beforehand. Needed of a source that can run dry or raise an
                alarm, because an engine of NumPy cannot refuse in the middle of a draw; None otherwise.

        Returns:
            See :class:`voltaspin.noise.numpy_rng.BitGenerator`.
        """
        return BitGenerator(self, words=words)

    @NeedsExtra("drive_torch")
    def drive_torch(self, *, allow: Collection[str] = ()) -> DrivenTorch:
        """Return a context in which PyTorch's random numbers come from this source.

        Args:
            allow: random operations that are left to PyTorch's own generator and counted; all others that no source
                serves raise.

        Returns:
            See :class:`voltaspin.noise.torch_rng.DrivenTorch`.
        """
        from voltaspin.noise.torch_rng import DrivenTorch

        return DrivenTorch(self, allow=allow)

    def _count_normals(self, n: int) -> None:
        self.ledger.count("bit", n * self.bits_per_normal)
        self.ledger.count("lookup", 0 if self.transform.counts_ones else n)
        self.ledger.count("normal", n)


class AddressableSource(NoiseSource):
    """The bookkeeping of addressable sources: which stream and step comes next.

    A concrete source makes one draw of one stream (``_draw``) and delivers the bits of its sequence (``_packed``).
    """

    addressable = True

    def __init__(self, name: str, *, seed: int, transform: GaussianTransform) -> None:
        self.name, self.seed, self.transform = name, seed, transform
        self.ledger = Ledger(name)
        self._position = 0  # bits of the sequence that were handed out, where a source counts no other way
        self._next: dict[int, int] = {}
        self._children = 0
        self._heir: AddressableSource | None = None  # whose sequence this process draws, where it is not our own

    def _arrived(self, path: tuple[int, ...]) -> None:
        super()._arrived(path)
        self._heir = None

    def _sequence(self) -> AddressableSource:
        if not self._path:
            return self
        if self._heir is None:
            self._heir = self._with_seed(derive_key(self.seed, "process", *self._path))
            self._heir.ledger = self.ledger
        return self._heir

    def _mark(self) -> Any:
        return self._path, self._sequence()._position_of_sequence()

    def _return_to(self, mark: Any) -> None:
        path, position = mark
        if path != self._path:
            raise InputError(f"this position of {self.name} belongs to another process; draw there, or seed anew")
        self._sequence()._set_position_of_sequence(position)

    def _position_of_sequence(self) -> Any:
        """Return where the sequence stands; nothing that is changed in place."""
        return self._own_state()

    def _set_position_of_sequence(self, position: Any) -> None:
        """Go back to what :meth:`_position_of_sequence` gave."""
        self._load_own(position)

    @abstractmethod
    def _with_seed(self, seed: int) -> AddressableSource:
        """Return the same source under another seed."""

    @abstractmethod
    def _draw(self, stream: int, step: int, out: NDArray[np.float32]) -> None:
        """Fill ``out`` (n,) with draw ``step`` of ``stream`` and count it."""

    def _check_size(self, n: int) -> None:
        """Raise InputError if one draw cannot hold ``n`` numbers."""

    def _sequence_normals(self, n: int) -> NDArray[np.float32]:
        """Return the next ``n`` numbers of the sequence; count them."""
        packed = self._packed(n * self.transform.bits_per_sample)
        self._count_normals(n)
        return self.transform.from_packed(packed, n)

    def normal(
        self, shape: int | Sequence[int], *, streams: Sequence[int] | None = None, step: int | None = None
    ) -> NDArray[np.float32]:
        size = sizes_of(shape)
        if step is not None and not 0 <= checked_count(step, "step") < 2**32:
            raise InputError(f"step {step} is above 2**32 - 1; use another stream")
        if streams is None and step is None:
            return self._sequence()._sequence_normals(prod(size)).reshape(size)
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

    def spawn(self, n: int) -> list[AddressableSource]:
        n = checked_count(n, "number of sources")
        seeds = [derive_key(self.seed, "spawn", self._children + i) for i in range(n)]
        self._children += n
        return [self._with_seed(seed) for seed in seeds]

    def _own_state(self) -> dict[str, Any]:
        """Return where the sequence stands, JSON-able."""
        return {"position": self._position}

    def _load_own(self, state: Mapping[str, Any]) -> None:
        self._position = int(state["position"])

    def state_dict(self) -> dict[str, Any]:
        state = {
            "provenance": self.provenance.to_json(), **self._own_state(),
            "next": {str(stream): at for stream, at in self._next.items()}, "children": self._children,
        }  # fmt: skip
        if self._path or self._sent:
            heir = None if self._heir is None else self._heir.state_dict()
            state["process"] = {"path": list(self._path), "sent": self._sent, "sequence": heir}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._check_state(state)
        self._load_own(state)
        self._next = {int(stream): int(at) for stream, at in state["next"].items()}
        self._children = int(state["children"])
        process = state.get("process", {"path": [], "sent": 0, "sequence": None})
        self._path, self._sent, self._heir = tuple(map(int, process["path"])), int(process["sent"]), None
        if process["sequence"] is not None:
            self._sequence().load_state_dict(process["sequence"])


class SequentialSource(NoiseSource):
    """Bits in order: an image gets the next ones, so another order or batch size gives it other numbers.

    A concrete source delivers its bits (``_packed``) and, where it can, says how many are left.

    Args:
        transform: how bits become numbers; None takes the 16-bit inverse CDF.
        name: short name for tables and figures; the class's own where absent.
    """

    addressable = False

    def __init__(self, transform: GaussianTransform | None = None, *, name: str = "") -> None:
        self.transform: GaussianTransform = InverseCDF(16) if transform is None else transform
        if name:
            self.name = name
        self.ledger = Ledger(self.name)
        self._steps: dict[int, int] = {}  # the last step drawn of each stream; -1 stands for no stream

    def normal(
        self, shape: int | Sequence[int], *, streams: Sequence[int] | None = None, step: int | None = None
    ) -> NDArray[np.float32]:
        size = sizes_of(shape)
        ids = [] if streams is None else checked_streams(streams, size)
        if step is not None:
            checked_count(step, "step")
            for stream in ids or [-1]:
                if step <= self._steps.get(stream, -1):
                    of = f"of stream {stream} " if ids else ""
                    raise InputError(
                        f"step {step} {of}was already drawn, and {self.name} cannot be addressed: it hands out each "
                        "bit once, in order; use an addressable source (MemorySource, PseudoSource) or record "
                        "its bits for replay (voltaspin.noise.record) to go back"
                    )
        count = prod(size)
        self._sequence()  # refuses in another process
        self._reserve(count * self.bits_per_normal)
        # All bits first: a source that runs dry or raises an alarm on the way leaves nothing half drawn.
        out = self.transform.from_packed(self._packed(count * self.bits_per_normal), count)
        if step is not None:
            self._steps.update(dict.fromkeys(ids or [-1], int(step)))
        self._count_normals(count)
        return out.reshape(size)

    def state_dict(self) -> dict[str, Any]:
        return {
            "provenance": self.provenance.to_json(),
            "steps": {str(stream): step for stream, step in self._steps.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._check_state(state)
        self._steps = {int(stream): int(step) for stream, step in state["steps"].items()}


class Stage(SequentialSource):
    """A source behind another one, whose bits it watches, adjusts or conditions.

    Args:
        source: whose sequence is consumed.
        does: what is done to its bits, in a few words, for names and provenance.
        transform: as :class:`SequentialSource`.
    """

    def __init__(self, source: NoiseSource, does: str, transform: GaussianTransform | None) -> None:
        super().__init__(transform, name=f"{source.name}, {does}")
        self.source, self.does = source, does
        self.ledger.children[source.ledger.name] = source.ledger

    def _as_in_0_1_0(self) -> Callable[[], None] | None:
        return self.source._as_in_0_1_0()

    @property
    def n_cells(self) -> int:
        return self.source.n_cells

    @property
    def can_alarm(self) -> bool:
        return self.source.can_alarm

    @property
    def bits_at_once(self) -> int:
        return self.source.bits_at_once

    def expect(self, n: int) -> None:
        self.source.expect(n)

    def close(self) -> None:
        self.source.close()

    @abstractmethod
    def _about(self, inner: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is added to the details ``inner`` of the source's provenance."""

    @property
    def provenance(self) -> Provenance:
        inner = self.source.provenance
        details = {**inner.details, **self._about(inner.details)}
        return Provenance(inner.kind, f"{inner.description}, {self.does}", details)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "source": self.source.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._check_state(state)
        self.source.load_state_dict(state["source"])  # first, because it may refuse
        super().load_state_dict(state)


class Leftover:
    """Packed bits that were made and not handed out."""

    def __init__(self) -> None:
        self._packed, self._skip = np.empty(0, np.uint8), 0  # bits of the first byte that were handed out
        self.bits = 0  #: how many are left

    def put(self, packed: NDArray[np.uint8], n: int) -> None:
        """Add the first ``n`` bits of ``packed``."""
        end = self._skip + self.bits
        part, size = end % 8, -(-n // 8)
        if part == 0:
            self._packed = np.concatenate([self._packed[: end // 8], packed[:size]]) if end else packed[:size]
        else:
            shifted = np.zeros(-(-(part + n) // 8), np.uint8)
            shifted[:size] = packed[:size] >> part
            shifted[1:] |= (packed[: shifted.size - 1].astype(np.uint16) << (8 - part)).astype(np.uint8)
            shifted[0] |= self._packed[end // 8]
            self._packed = np.concatenate([self._packed[: end // 8], shifted])
        self.bits += n

    def take(self, n: int) -> NDArray[np.uint8]:
        """Return the next ``n`` bits, packed; at most ``bits`` of them."""
        end, skip = divmod(self._skip + n, 8)
        out = aligned(self._packed, self._skip, n) if self._skip or skip else self._packed[:end]
        left = self._packed[end:]
        # A view would keep all of a large draw alive.
        self._packed = left.copy() if left.size < self._packed.size // 2 else left
        self._skip, self.bits = skip, self.bits - n
        return out

    def position(self) -> tuple[NDArray[np.uint8], int, int]:
        """Return the bits that are left, for :meth:`go_to`."""
        return self._packed, self._skip, self.bits

    def go_to(self, position: tuple[NDArray[np.uint8], int, int]) -> None:
        """Go back to what :meth:`position` gave."""
        self._packed, self._skip, self.bits = position

    def state_dict(self) -> dict[str, Any]:
        return {"left": self._packed.tobytes().hex(), "skip": self._skip, "kept": self.bits}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._packed = np.frombuffer(bytes.fromhex(state["left"]), np.uint8).copy()
        self._skip = int(state["skip"])
        self.bits = int(state.get("kept", 8 * self._packed.size - self._skip))


class BufferedStage(Stage):
    """A stage that makes more bits at once than are asked for, and keeps the rest."""

    def __init__(self, source: NoiseSource, does: str, transform: GaussianTransform | None) -> None:
        super().__init__(source, does, transform)
        self._left = Leftover()

    @abstractmethod
    def _make_more(self, n: int) -> None:
        """Put further bits into ``_left``; ``n`` were asked for."""

    def _packed(self, n: int) -> NDArray[np.uint8]:
        while self._left.bits < n:
            self._make_more(n)
        return self._left.take(n)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), **self._left.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        if "left" in state:  # of a stage that kept none in 0.1.0, its state does not say it
            self._left.load_state_dict(state)


def bit_key(seed: int, cell: int) -> int:
    """Return the key of the words of the ``cell``-th cell of every bit; software bits use that of cell 0."""
    return derive_key(seed, "noise", "coin", cell)
