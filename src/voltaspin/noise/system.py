"""The operating system's bits: the reference with entropy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import NoReplayError
from voltaspin.core.renamed import renamed
from voltaspin.noise.gaussian import GaussianTransform, transform_of
from voltaspin.noise.source import Leftover, NoiseSource, Provenance, SequentialSource, checked_count

_BLOCK = 1 << 16  # bytes asked for at least


@final
@renamed(shaping="transform", precision="bits_per_sample")
class SystemSource(SequentialSource):
    """Bits of ``os.urandom``. They cannot be had again: record them to replay them.

    Args:
        bits_per_sample: bits per number.
        transform: ``"inverse_cdf"`` or ``"popcount"``, or a :class:`GaussianTransform` with its own bits.
    """

    def __init__(
        self, *, bits_per_sample: int = 16,
        transform: Literal["inverse_cdf", "popcount"] | GaussianTransform = "inverse_cdf",
    ) -> None:  # fmt: skip
        super().__init__(transform_of(transform, bits_per_sample), name="operating system")
        self._left = Leftover()

    @property
    def provenance(self) -> Provenance:
        bits, label = self.transform.bits_per_sample, self.transform.label
        details = {"precision": bits, "shaping": label}
        return Provenance("operating system", f"os.urandom, {bits}-bit {label}", details)

    def _packed(self, n: int) -> NDArray[np.uint8]:
        if (missing := n - self._left.bits) > 0:
            fresh = np.frombuffer(bytearray(os.urandom(max(-(-missing // 8), _BLOCK))), np.uint8)
            self._left.put(fresh, 8 * fresh.size)
        return self._left.take(n)

    def spawn(self, n: int) -> list[NoiseSource]:
        return [SystemSource(transform=self.transform) for _ in range(checked_count(n, "number of sources"))]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        raise NoReplayError(
            "bits of the operating system cannot be drawn again; record them with voltaspin.noise.record and replay "
            "the file with RecordedSource"
        )
