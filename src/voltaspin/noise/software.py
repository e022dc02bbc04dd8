"""Software normals: the baseline against which the memory is compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.noise.gaussian import InverseCDF, look_up_bits
from voltaspin.noise.source import SEQUENCE, AddressableSource, Provenance, aligned, bit_key
from voltaspin.random.bernoulli import GROUP, fair_bits
from voltaspin.random.normal import quantiles53
from voltaspin.random.streams import Stream, derive_key

_LEVELS = np.arange(2**16, dtype=np.float32)


@final
class PseudoSource(AddressableSource):
    """Software normals from Philox: the baseline of every comparison with the memory.

    Args:
        seed: any non-negative integer.
        precision: bits per number, 4 to 16, by the same inverse-CDF table that the memory uses, or
            ``"full"``: the same leading 16 bits followed by 37 further bits from a stream of their own, so
            that every number lies inside the level of its 16-bit neighbour.

    Bit ``j`` of draw (stream, step) is 1 where its 16-bit word is below 32768. A ``MemorySource`` of the same
    seed and bits per number whose cells have p01 = p10 = 1/2 answers the same words in the same way, so its
    numbers are equal to these, for every k (see :mod:`voltaspin.random.bernoulli`). With other probabilities the
    two stay coupled: they differ only where a word lies between 32768 and the threshold of the cell.

    >>> PseudoSource(seed=1).normal((2, 3), streams=[5, 6], step=0).shape
    (2, 3)
    """

    def __init__(self, *, seed: int = 0, precision: int | Literal["full"] = "full") -> None:
        if isinstance(precision, str) and precision != "full":
            raise InputError(f"precision {precision!r} is unknown; use 'full' or a number of bits, 4 to 16")
        self.precision: int | str = precision
        self._full = precision == "full"
        name = "pseudo" if self._full else f"pseudo, {precision} bits"
        super().__init__(name, seed=seed, transform=InverseCDF(16 if isinstance(precision, str) else precision))
        self._key = bit_key(seed, 0)
        self._fine_key = derive_key(seed, "noise", "fine")
        self._fine_position = 0  # full-precision numbers of the sequence handed out

    def _with_seed(self, seed: int) -> PseudoSource:
        return PseudoSource(seed=seed, precision="full" if self._full else self.transform.bits_per_sample)

    @property
    def bits_per_normal(self) -> int:
        return 53 if self._full else self.transform.bits_per_sample

    @property
    def provenance(self) -> Provenance:
        width = "53-bit" if self._full else f"{self.precision}-bit"
        return Provenance(
            "pseudo",
            f"Philox4x32-10, {width} inverse-CDF normals, seed {self.seed}",
            {"generator": "Philox4x32-10", "seed": int(self.seed), "precision": self.precision},
        )

    def _check_size(self, n: int) -> None:
        if n * self.transform.bits_per_sample > 2**35:
            raise InputError(f"{n} numbers per image are more than one draw addresses; split the image")

    def _draw(self, stream: int, step: int, out: NDArray[np.float32]) -> None:
        n = out.shape[0]
        bits = np.empty(-(-n * self.transform.bits_per_sample // GROUP) * GROUP, np.uint8)
        fair_bits(np.uint64(self._key), np.uint64(stream), np.uint64(step << 32), bits)
        if self._full:
            look_up_bits(bits, 16, False, _LEVELS, out)
            fine = Stream(self._fine_key, stream).words(2 * n, start=step << 34)
            quantiles53(out, fine.view(np.uint64), out)
        else:
            self.transform.fill(bits, out)
        self._count_normals(n)

    def _packed(self, n: int) -> NDArray[np.uint8]:
        # the words of one stream, the highest bit of each byte first
        byte, skip = divmod(self._position, 8)
        word, first = divmod(byte, 4)
        words = Stream(self._key, SEQUENCE).words(-(-(first + -(-(skip + n) // 8)) // 4), start=word)
        self._position += n
        return aligned(words.reshape(-1).view(np.uint8)[first:], skip, n)

    def _sequence_normals(self, n: int) -> NDArray[np.float32]:
        if not self._full:
            return super()._sequence_normals(n)
        levels, out = self._packed(16 * n).view(">u2").astype(np.float32), np.empty(n, np.float32)
        fine = np.ascontiguousarray(Stream(self._fine_key, SEQUENCE).words(2 * n, start=2 * self._fine_position))
        quantiles53(levels, fine.view(np.uint64), out)
        self._fine_position += n
        self._count_normals(n)
        return out

    def _count_normals(self, n: int) -> None:
        self.ledger.count("bit", n * self.bits_per_normal)
        self.ledger.count("lookup", 0 if self._full else n)
        self.ledger.count("normal", n)

    def _own_state(self) -> dict[str, Any]:
        return {"position": self._position, "fine_position": self._fine_position}

    def _load_own(self, state: Mapping[str, Any]) -> None:
        self._position, self._fine_position = int(state["position"]), int(state["fine_position"])
