"""A control: fair bits that repeat after a short period."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.core.renamed import renamed
from voltaspin.noise.gaussian import GaussianTransform, transform_of
from voltaspin.noise.source import AddressableSource, Provenance, checked_count
from voltaspin.random.streams import Stream

LONGEST = 2**26  #: bits of the longest period, one a byte


@final
@renamed(shaping="transform", bits="bits_per_sample")
class PeriodicSource(AddressableSource):
    """One sequence of fair bits that is handed out again and again: a control.

    The images stand in one row: draw ``step`` of stream ``i`` begins ``(i draws + step) n`` bits after the first one,
    where a draw has ``n`` bits, and every bit is the one that stood ``period`` places before it.

    Args:
        period: bits after which the sequence comes again, 2 to 2**26.
        seed: of the bits.
        draws: that an image may take, after which the bits of the next image begin.
        transform, bits_per_sample: as :class:`voltaspin.noise.MemorySource`.

    Raises:
        InputError: a period out of range, no draws, or a step that belongs to the next image.
    """

    def __init__(
        self, *, period: int, seed: int = 0, draws: int = 1024,
        transform: Literal["inverse_cdf", "popcount"] | GaussianTransform = "inverse_cdf", bits_per_sample: int = 16,
    ) -> None:  # fmt: skip
        if not isinstance(period, int | np.integer) or not 2 <= period <= LONGEST:
            raise InputError(f"period = {period!r} bits must be an integer from 2 to {LONGEST}")
        if checked_count(draws, "draws of an image") == 0:
            raise InputError("draws = 0: an image takes at least one draw")
        super().__init__(f"looped, {period} bits", seed=seed, transform=transform_of(transform, bits_per_sample))
        self.period, self.draws = int(period), int(draws)
        words = Stream.of(seed, "noise", "loop").words(-(-self.period // 32))
        self._loop = np.unpackbits(words.view(np.uint8), count=self.period)

    def _with_seed(self, seed: int) -> PeriodicSource:
        return PeriodicSource(period=self.period, seed=seed, draws=self.draws, transform=self.transform)

    @property
    def provenance(self) -> Provenance:
        bits, label = self.transform.bits_per_sample, self.transform.label
        return Provenance(
            "pseudo",
            f"Philox4x32-10, {self.period} fair bits again and again, {bits}-bit {label}, seed {self.seed}",
            {
                "generator": "Philox4x32-10", "period": self.period, "seed": int(self.seed), "draws": self.draws,
                "shaping": label, "bits": bits,
            },
        )  # fmt: skip

    def _draw(self, stream: int, step: int, out: NDArray[np.float32]) -> None:
        if step >= self.draws:
            raise InputError(f"draw {step} of an image is the next image's where draws = {self.draws}; give more draws")
        n = out.shape[0] * self.transform.bits_per_sample
        self.transform.fill(self._row((stream * self.draws + step) * n, n), out)
        self._count_normals(out.shape[0])

    def _row(self, begin: int, n: int) -> NDArray[np.uint8]:
        """Return bits ``begin`` to ``begin + n`` of the endless row, one a byte."""
        return self._loop[(begin % self.period + np.arange(n)) % self.period]

    def _packed(self, n: int) -> NDArray[np.uint8]:
        bits = self._row(self._position, n)
        self._position += n
        return np.packbits(bits)


LoopedSource = PeriodicSource  #: old name
