"""What a source of noise is to its users: bits, numbers, and the engines of NumPy and PyTorch that draw from it.

What every source promises stands in :mod:`voltaspin.noise.base`, on which the engines build.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.noise.adapters import BitGenerator
from voltaspin.noise.base import SEQUENCE as SEQUENCE
from voltaspin.noise.base import WHOLE as WHOLE
from voltaspin.noise.base import BitSource as BitSource
from voltaspin.noise.base import Kind as Kind
from voltaspin.noise.base import Provenance as Provenance
from voltaspin.noise.base import _numbers_of as _numbers_of
from voltaspin.noise.base import aligned as aligned
from voltaspin.noise.base import checked_count as checked_count
from voltaspin.noise.base import checked_streams as checked_streams
from voltaspin.noise.base import sizes_of as sizes_of
from voltaspin.random.streams import derive_key

if TYPE_CHECKING:
    from voltaspin.noise.drive import DrivenTorch


class NoiseSource(BitSource):
    """A source with its engines: what every command, model and study takes as its noise."""

    def bit_generator(self, *, words: int | None = None) -> BitGenerator:
        """This source as the engine of NumPy: ``np.random.Generator(source.bit_generator())``.

        Args:
            words: 64-bit words to draw and check beforehand. Needed of a source that can run dry or raise an
                alarm, because an engine of NumPy cannot refuse in the middle of a draw; None otherwise.

        Returns:
            See :class:`voltaspin.noise.adapters.BitGenerator`.
        """
        return BitGenerator(self, words=words)

    def drive_torch(self, *, allow: Collection[str] = ()) -> DrivenTorch:
        """Context in which PyTorch's random numbers come from this source.

        Args:
            allow: random operations that are left to PyTorch's own generator and counted; all others that no source
                serves raise.

        Returns:
            See :class:`voltaspin.noise.drive.DrivenTorch`.
        """
        from voltaspin.noise.drive import DrivenTorch

        return DrivenTorch(self, allow=allow)


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
        self._heir: AddressableSource | None = None  # whose sequence this process draws, where it is not our own

    def _arrived(self, path: tuple[int, ...]) -> None:
        super()._arrived(path)
        self._heir = None

    def _sequence(self) -> AddressableSource:
        if not self._path:
            return self
        if self._heir is None:
            heir = self._with_seed(derive_key(self.seed, "process", *self._path))
            assert isinstance(heir, AddressableSource)
            heir.ledger = self.ledger
            self._heir = heir
        return self._heir

    def _mark(self) -> Any:
        return self._path, self._sequence()._position_of_sequence()

    def _return_to(self, mark: Any) -> None:
        path, position = mark
        if path != self._path:
            raise InputError(f"this position of {self.name} belongs to another process; draw there, or seed anew")
        self._sequence()._set_position_of_sequence(position)

    @abstractmethod
    def _position_of_sequence(self) -> Any:
        """Where the sequence stands; nothing that is changed in place."""

    @abstractmethod
    def _set_position_of_sequence(self, position: Any) -> None:
        """Go back to what :meth:`_position_of_sequence` gave."""

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

    def spawn(self, n: int) -> list[NoiseSource]:
        n = checked_count(n, "number of sources")
        seeds = [derive_key(self.seed, "spawn", self._children + i) for i in range(n)]
        self._children += n
        return [self._with_seed(seed) for seed in seeds]

    def _next_state(self) -> dict[str, Any]:
        state = {"next": {str(stream): at for stream, at in self._next.items()}, "children": self._children}
        if self._path or self._sent:
            heir = None if self._heir is None else self._heir.state_dict()
            state["process"] = {"path": list(self._path), "sent": self._sent, "sequence": heir}
        return state

    def _load_next(self, state: Mapping[str, Any]) -> None:
        self._next = {int(stream): int(at) for stream, at in state["next"].items()}
        self._children = int(state["children"])
        process = state.get("process", {"path": [], "sent": 0, "sequence": None})
        self._path, self._sent, self._heir = tuple(map(int, process["path"])), int(process["sent"]), None
        if process["sequence"] is not None:
            self._sequence().load_state_dict(process["sequence"])


def coin_key(seed: int, cell: int) -> int:
    """Key of the words of the ``cell``-th cell of every bit; software coins use that of cell 0."""
    return derive_key(seed, "noise", "coin", cell)
