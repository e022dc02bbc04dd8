"""Sources that hand out what comes next: what they share, and what they cannot do.

A recording, an instrument, the operating system and every conditioner that consumes a varying number of bits
have no address for a number. They share one drawing interface with the addressable sources, number their
draws by request, and refuse what they cannot do with the way out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.noise.gaussian import InverseCDF, Shaping
from voltaspin.noise.source import NoiseSource, checked_count, checked_streams, sizes_of


class SequentialSource(NoiseSource):
    """Bits in order: an image gets what is next, so another order or batch size gives it other numbers.

    A concrete source says which bits come next (``_packed``) and, where it can, how many are left.

    Args:
        shaping: how bits become numbers; None takes the 16-bit inverse CDF.
    """

    addressable = False

    def __init__(self, shaping: Shaping | None = None) -> None:
        self.shaping: Shaping = InverseCDF(16) if shaping is None else shaping
        self._steps: dict[int, int] = {}  # the last step drawn of each stream; -1 stands for no stream

    @property
    def bits_per_normal(self) -> int:
        return self.shaping.coins

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
        self._reserve(count * self.shaping.coins)
        # All bits first: a source that runs dry or raises an alarm on the way leaves nothing half drawn.
        out = self.shaping.from_packed(self._packed(count * self.shaping.coins), count)
        if step is not None:
            self._steps.update(dict.fromkeys(ids or [-1], int(step)))
        self.ledger.count("bit", count * self.shaping.coins)
        self.ledger.count("lookup", 0 if self.shaping.counts_ones else count)
        self.ledger.count("normal", count)
        return out.reshape(size)

    def state_dict(self) -> dict[str, Any]:
        return {
            "provenance": self.provenance.to_json(),
            "steps": {str(stream): step for stream, step in self._steps.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._check_state(state)
        self._steps = {int(stream): int(step) for stream, step in state["steps"].items()}
