"""What a conditioner is: a source that makes fewer and better bits from the bits of another source."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import NoiseExhaustedError
from voltaspin.core.ledger import Ledger
from voltaspin.noise.gaussian import Shaping
from voltaspin.noise.sequential import SequentialSource
from voltaspin.noise.source import NoiseSource, Provenance, aligned

BLOCK = 1 << 22  #: bits taken from the source at once


class Conditioner(SequentialSource):
    """What all conditioners share: a source, what it has given and was not handed out, and the counting.

    They compose in any order, count what they consume into the ledger, and say at which rate they deliver.

    A concrete one consumes a chunk of raw bits and gives packed bits (:meth:`_conditioned`).

    Args:
        source: that is conditioned; its sequence is consumed.
        shaping: how bits become numbers; None takes the 16-bit inverse CDF.
    """

    method: str  #: in a few words, for provenance
    fixed_rate: bool  #: whether the number of bits out follows from that of the bits in

    def __init__(self, source: NoiseSource, *, shaping: Shaping | None = None) -> None:
        super().__init__(shaping)
        self.source = source
        self.name = f"{source.name}, {self.method}"
        self.ledger = Ledger(self.name)
        self.ledger.children[source.ledger.name] = source.ledger
        self._left = np.empty(0, np.uint8)
        self._skip = 0  # bits of the first byte that were handed out
        self._kept = 0  # bits that were made and not handed out

    @abstractmethod
    def rate(self, p: float = 0.5) -> float:
        """Bits out per bit in when every bit is independently 1 with probability ``p``."""

    @property
    @abstractmethod
    def _chunk(self) -> int:
        """Raw bits consumed at once."""

    @abstractmethod
    def _conditioned(self, packed: NDArray[np.uint8], n: int) -> tuple[NDArray[np.uint8], int]:
        """(packed bits, how many) from ``n`` raw bits; counts the logic."""

    @property
    def can_alarm(self) -> bool:
        return self.source.can_alarm

    @property
    def bits_left(self) -> int | None:
        """As of any source; where the rate varies, what is surely there: the bits made and not handed out."""
        left = self.source.bits_left
        if left is None:
            return None
        return self._kept + (int(left // self._unit * self._unit * self.rate()) if self.fixed_rate else 0)

    @property
    def bits_at_most(self) -> int | None:
        left = self.source.bits_at_most
        return None if left is None else self._kept + (int(left * self.rate()) if self.fixed_rate else left)

    @property
    def _unit(self) -> int:
        """Raw bits that are consumed together."""
        return self._chunk

    @property
    def _details(self) -> dict[str, Any]:
        return {"method": self.method}

    @property
    def provenance(self) -> Provenance:
        inner = self.source.provenance
        chain = [*inner.details.get("conditioning", []), self._details]
        return Provenance(inner.kind, f"{inner.description}, {self.method}", {**inner.details, "conditioning": chain})

    def _packed(self, n: int) -> NDArray[np.uint8]:
        while self._kept < n:
            raw, size = self._raw(n)
            fresh, made = self._conditioned(raw, size)
            self.ledger.count("raw", size)
            self._left = _joined(self._left, self._skip + self._kept, fresh, made)
            self._kept += made
        out = aligned(self._left, self._skip, n)
        self._left = self._left[(self._skip + n) // 8 :].copy()
        self._skip = (self._skip + n) % 8
        self._kept -= n
        return out

    def _raw(self, n: int) -> tuple[NDArray[np.uint8], int]:
        """The next chunk of raw bits, or what is left of them in whole units; how many."""
        try:
            return self.source.take(self._chunk), self._chunk
        except NoiseExhaustedError:
            # Now a source whose own rate varies has made all it can, and knows how much that is.
            left = self.source.bits_left or 0
        size = left // self._unit * self._unit
        if size == 0:
            raise NoiseExhaustedError(
                f"{self.source.name} has run dry: {n} conditioned bits were asked for, {self._kept} are made and kept, "
                f"{left} raw bits are left; ask for fewer or record more (nothing was handed out)"
            )
        return self.source.take(size), size

    def _rest(self) -> tuple[NDArray[np.uint8], int]:
        raw, size = self.source._rest()
        if size := size // self._unit * self._unit:
            fresh, made = self._conditioned(aligned(raw, 0, size), size)
            self.ledger.count("raw", size)
            self._left = _joined(self._left, self._skip + self._kept, fresh, made)
            self._kept += made
        n = self._kept
        return self._packed(n), n

    def state_dict(self) -> dict[str, Any]:
        left = {"left": self._left.tobytes().hex(), "skip": self._skip, "kept": self._kept}
        return {**super().state_dict(), **left, "source": self.source.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.source.load_state_dict(state["source"])
        self._left = np.frombuffer(bytes.fromhex(state["left"]), np.uint8).copy()
        self._skip, self._kept = int(state["skip"]), int(state["kept"])


def _joined(packed: NDArray[np.uint8], n: int, more: NDArray[np.uint8], m: int) -> NDArray[np.uint8]:
    """``n`` packed bits and behind them ``m`` others, packed."""
    part = n % 8
    if part == 0:
        return np.concatenate([packed[: n // 8], more[: -(-m // 8)]])
    shifted = np.zeros(-(-(part + m) // 8), np.uint8)
    size = -(-m // 8)
    shifted[:size] = more[:size] >> part
    shifted[1:] |= (more[: shifted.size - 1].astype(np.uint16) << (8 - part)).astype(np.uint8)
    shifted[0] |= packed[n // 8]
    return np.concatenate([packed[: n // 8], shifted])
