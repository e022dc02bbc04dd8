"""Bits of the operating system: the reference that has entropy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.noise.gaussian import Shaping, named_shaping
from voltaspin.noise.sequential import SequentialSource
from voltaspin.noise.source import NoiseSource, Provenance, aligned, checked_count

_BLOCK = 1 << 16  # bytes asked for at least


@final
class SystemSource(SequentialSource):
    """Bits of ``os.urandom``. They cannot be had again: record them to replay them.

    Args:
        precision: bits per number.
        shaping: ``"inverse_cdf"`` or ``"popcount"`` of ``precision`` bits, or a :class:`Shaping` with its own.
    """

    def __init__(
        self, *, precision: int = 16, shaping: Literal["inverse_cdf", "popcount"] | Shaping = "inverse_cdf"
    ) -> None:
        super().__init__(named_shaping(shaping, precision))
        self.name = "operating system"
        self.ledger = Ledger(self.name)
        self._left = np.empty(0, np.uint8)
        self._skip = 0

    @property
    def provenance(self) -> Provenance:
        kind = self.shaping.label
        details = {"precision": self.shaping.coins, "shaping": kind}
        return Provenance("operating system", f"os.urandom, {self.shaping.coins}-bit {kind}", details)

    def _packed(self, n: int) -> NDArray[np.uint8]:
        missing = -(-(self._skip + n) // 8) - self._left.size
        if missing > 0:
            fresh = np.frombuffer(os.urandom(max(missing, _BLOCK)), np.uint8)
            self._left = np.concatenate([self._left, fresh])
        out = aligned(self._left, self._skip, n)
        self._left, self._skip = self._left[(self._skip + n) // 8 :], (self._skip + n) % 8
        return out

    def spawn(self, n: int) -> list[NoiseSource]:
        n = checked_count(n, "number of sources")
        return [SystemSource(shaping=self.shaping) for _ in range(n)]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        raise InputError(
            "bits of the operating system cannot be drawn again; record them with voltaspin.noise.record and replay "
            "the file with RecordedSource"
        )
