"""Fair bits that come again after a short while: what a generator of a short period does to images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.ledger import Ledger
from voltaspin.noise.gaussian import Shaping, named_shaping
from voltaspin.noise.source import AddressableSource, NoiseSource, Provenance, checked_count
from voltaspin.random.streams import Stream

LONGEST = 2**26  #: bits of the longest period, one a byte


@final
class LoopedSource(AddressableSource):
    """One sequence of fair bits, handed out again and again: a control.

    The images stand in one row: draw ``step`` of stream ``i`` begins ``(i draws + step) n`` bits after the first one,
    where a draw has ``n`` bits, and every bit is the one that stood ``period`` places before it.

    Args:
        period: bits after which the sequence comes again, 2 to 2**26.
        seed: of the bits.
        draws: that an image may take, after which the bits of the next image begin.
        shaping, bits: as :class:`voltaspin.noise.MemorySource`.

    Raises:
        InputError: a period out of range, no draws, or a step that belongs to the next image.
    """

    def __init__(
        self, *, period: int, seed: int = 0, draws: int = 1024,
        shaping: Literal["inverse_cdf", "popcount"] | Shaping = "inverse_cdf", bits: int = 16,
    ) -> None:  # fmt: skip
        super().__init__()
        if not isinstance(period, int | np.integer) or not 2 <= period <= LONGEST:
            raise InputError(f"period = {period!r} bits must be an integer from 2 to {LONGEST}")
        if checked_count(draws, "draws of an image") == 0:
            raise InputError("draws = 0: an image takes at least one draw")
        self.period, self.seed, self.draws = int(period), seed, int(draws)
        self.shaping = named_shaping(shaping, bits)
        self.name = f"looped, {period} bits"
        self.ledger = Ledger(self.name)
        words = Stream.of(seed, "noise", "loop").words(-(-self.period // 32))
        self._loop = np.unpackbits(words.view(np.uint8), count=self.period)
        self._position = 0

    def _with_seed(self, seed: int) -> NoiseSource:
        return LoopedSource(period=self.period, seed=seed, draws=self.draws, shaping=self.shaping)

    @property
    def bits_per_normal(self) -> int:
        return self.shaping.coins

    @property
    def provenance(self) -> Provenance:
        return Provenance(
            "pseudo",
            f"Philox4x32-10, {self.period} fair bits again and again, {self.shaping.coins}-bit {self.shaping.label}, "
            f"seed {self.seed}",
            {
                "generator": "Philox4x32-10", "period": self.period, "seed": int(self.seed), "draws": self.draws,
                "shaping": self.shaping.label, "bits": self.shaping.coins,
            },
        )  # fmt: skip

    def _check_size(self, n: int) -> None:
        """Any size: the row has no end."""

    def _draw(self, stream: int, step: int, out: NDArray[np.float32]) -> None:
        if step >= self.draws:
            raise InputError(f"draw {step} of an image is the next image's where draws = {self.draws}; give more draws")
        n = out.shape[0] * self.shaping.coins
        self.shaping.fill(self._row((stream * self.draws + step) * n, n), out, self.shaping.table)
        self._count(out.shape[0])

    def _row(self, begin: int, n: int) -> NDArray[np.uint8]:
        """Bits ``begin`` to ``begin + n`` of the endless row, one a byte."""
        return self._loop[(begin % self.period + np.arange(n)) % self.period]

    def _packed(self, n: int) -> NDArray[np.uint8]:
        bits = self._row(self._position, n)
        self._position += n
        return np.packbits(bits)

    def _position_of_sequence(self) -> Any:
        return self._position

    def _set_position_of_sequence(self, position: Any) -> None:
        self._position = position

    def _sequence_normals(self, n: int) -> NDArray[np.float32]:
        packed = self._packed(n * self.shaping.coins)
        self._count(n)
        return self.shaping.from_packed(packed, n)

    def _count(self, n: int) -> None:
        self.ledger.count("bit", n * self.shaping.coins)
        self.ledger.count("lookup", 0 if self.shaping.counts_ones else n)
        self.ledger.count("normal", n)

    def state_dict(self) -> dict[str, Any]:
        return {"provenance": self.provenance.to_json(), "position": self._position, **self._next_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._check_state(state)
        self._position = int(state["position"])
        self._load_next(state)
