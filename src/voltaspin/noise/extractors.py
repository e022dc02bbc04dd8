"""Conditioners that take single bits: XOR, von Neumann, Peres. What they and those that hash need of their input:

=============  ==============================================  ============================================
conditioner    needs                                           bits out per bit in
=============  ==============================================  ============================================
``Xor``        independent bits                                1 / k
``VonNeumann`` independent bits of constant p, cell by cell    p (1 - p)
``Peres``      the same                                        tends to the Shannon entropy with the depth
``Toeplitz``   a known min-entropy                             m / n with m <= n H - 2 log2(1 / eps)
``Sha256``     a known min-entropy                             256 / n with n H >= 256 + 64
=============  ==============================================  ============================================

A cell that is not reset remembers: where p01 + p10 is not 1 its bits are not independent in time, and von
Neumann's pairs are then not fair. Reset the cells, or let an XOR of different cells come first.

None makes entropy. From simulated bits they make bits that look better.
"""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.errors import InputError
from voltaspin.noise import extractor_kernels as kernels
from voltaspin.noise.conditioner import BLOCK, Conditioner
from voltaspin.noise.conditioning import xor_bias
from voltaspin.noise.gaussian import Shaping
from voltaspin.noise.source import NoiseSource


@final
class Xor(Conditioner):
    """XOR of ``k`` bits of different cells; leaves the bias ``|1 - 2 p|**k / 2``.

    With lanes, bit ``i`` of a pulse is combined with the bits ``i + m``, ``i + 2 m``, ... of the same pulse, where
    ``m`` is the number of lanes over k: the array's own arrangement (:class:`MemorySource` with k above 1).

    Args:
        source: raw bits of at least k lanes, a number that k divides.
        k: bits combined.
        independent: combine k bits in a row of a source without lanes: only where they are independent.
            Successive states of one cell that is not reset give back the flip bit, with nothing gained.
    """

    fixed_rate = True

    def __init__(
        self, source: NoiseSource, *, k: int = 2, independent: bool = False, shaping: Shaping | None = None
    ) -> None:
        if not isinstance(k, int | np.integer) or not 2 <= k <= 4096:
            raise InputError(f"k = {k!r} must be an integer from 2 to 4096: the bits that are combined into one")
        if source.lanes == 1 and not independent and source.provenance.kind != "pseudo":
            raise InputError(
                f"{source.name} does not say that its bits come from different cells (lanes = 1), and the XOR of one "
                "cell in time may gain nothing: say independent=True if successive bits are independent, or give "
                "RecordedSource(lanes=...) the number of cells"
            )
        if source.lanes > 1 and source.lanes % k:
            raise InputError(f"k = {k} does not divide the {source.lanes} lanes of {source.name}; choose one that does")
        self.k = int(k)
        self.method = f"XOR of {k}"
        super().__init__(source, shaping=shaping)

    @property
    def lanes(self) -> int:
        return max(1, self.source.lanes // self.k)

    def rate(self, p: float = 0.5) -> float:
        return 1 / self.k

    def bias(self, p: float) -> float:
        """Bias that is left of independent bits of probability ``p``."""
        return xor_bias(p, self.k)

    @property
    def _unit(self) -> int:
        lanes = self.source.lanes if self.source.lanes > 1 else self.k
        return lanes * (8 if lanes % 8 else 1) * (8 if lanes // self.k % 8 else 1)

    @property
    def _chunk(self) -> int:
        return self._unit * max(1, BLOCK // self._unit)

    @property
    def _details(self) -> dict[str, Any]:
        return {"method": "xor", "k": self.k}

    def _conditioned(self, packed: NDArray[np.uint8], n: int) -> tuple[NDArray[np.uint8], int]:
        lanes = self.source.lanes
        self.ledger.count("xor", n // self.k * (self.k - 1))
        if lanes > 1 and lanes % (8 * self.k) == 0:
            rows = packed.reshape(n // lanes, self.k, lanes // self.k // 8)
            return np.bitwise_xor.reduce(rows, axis=1).ravel(), n // self.k
        bits = np.unpackbits(packed, count=n)
        if lanes > 1:
            folded = np.bitwise_xor.reduce(bits.reshape(n // lanes, self.k, lanes // self.k), axis=1)
        else:
            folded = np.bitwise_xor.reduce(bits.reshape(-1, self.k), axis=1)
        return np.packbits(folded), n // self.k


class _PerCell(Conditioner):
    """What works on the bits of each cell by itself."""

    fixed_rate = False

    @property
    def _rows(self) -> int:
        """Bits of one cell that are worked on together."""
        return 2

    @property
    def _unit(self) -> int:
        return self.source.lanes * self._rows

    @property
    def _chunk(self) -> int:
        return self._unit * max(1, BLOCK // self._unit)


@final
class VonNeumann(_PerCell):
    """Of two bits of one cell in a row, 01 gives 0, 10 gives 1, equal ones nothing (J. von Neumann, 1951).

    Unbiased exactly where the bits of a cell are independent and of constant probability. With lanes the pairs are
    taken of each cell by itself: neighbours in the stream have different biases. The bits come out pair after
    pair in time, in a pair of pulses cell after cell.
    """

    method = "von Neumann"

    def rate(self, p: float = 0.5) -> float:
        return p * (1 - p)

    def _conditioned(self, packed: NDArray[np.uint8], n: int) -> tuple[NDArray[np.uint8], int]:
        bits = np.unpackbits(packed, count=n)
        out = np.empty(n // 2, np.uint8)
        made = kernels.von_neumann(bits, self.source.lanes, out)
        self.ledger.count("xor", n // 2)
        return np.packbits(out[:made]), int(made)


@final
class Peres(_PerCell):
    """Von Neumann's procedure again on what it throws away (Y. Peres, Ann. Statist. 20, 590 (1992)).

    From the pairs of a sequence, besides von Neumann's bits, the XORs of all pairs and the common bits of the equal
    pairs make two sequences, to which the procedure is applied again. The rate tends to the Shannon entropy with
    the depth. It works on blocks of each cell, at whose end an odd bit is lost.

    Args:
        source: as :class:`VonNeumann`.
        depth: 1 is von Neumann's, 20 at most.
        block: bits of one cell that are worked on together; None takes 4096, fewer where there are many cells.
    """

    def __init__(
        self, source: NoiseSource, *, depth: int = 5, block: int | None = None, shaping: Shaping | None = None
    ) -> None:
        if not 1 <= depth <= 20:
            raise InputError(f"depth = {depth}: give 1 (von Neumann) to 20")
        if block is None:
            block = max(2 ** (depth + 4), min(4096, 2**26 // source.lanes))
        if not 2**depth <= block <= 2**24:
            raise InputError(f"block = {block} bits is too short or long for depth {depth}; give {2**depth} to 2**24")
        self.depth, self.block = int(depth), int(block)
        self.method = f"Peres of depth {depth}"
        super().__init__(source, shaping=shaping)

    def rate(self, p: float = 0.5) -> float:
        """Of long blocks: ``f(p) = p q + f'(2 p q) / 2 + (p^2 + q^2) f'(p^2 / (p^2 + q^2)) / 2``, one depth less."""
        return _peres_rate(p, self.depth)

    @property
    def _rows(self) -> int:
        return self.block

    @property
    def _chunk(self) -> int:
        return self._unit

    @property
    def _details(self) -> dict[str, Any]:
        return {"method": "peres", "depth": self.depth, "block": self.block}

    def _conditioned(self, packed: NDArray[np.uint8], n: int) -> tuple[NDArray[np.uint8], int]:
        rows = np.unpackbits(packed, count=n).reshape(-1, self.source.lanes)
        out = np.empty(n, np.uint8)
        made, pairs = kernels.peres(np.ascontiguousarray(rows.T), self.depth, out)
        self.ledger.count("xor", int(pairs))
        return np.packbits(out[:made]), int(made)


def _peres_rate(p: float, depth: int) -> float:
    if depth == 0 or p in (0.0, 1.0):
        return 0.0
    q = 1 - p
    same = p * p + q * q
    return p * q + _peres_rate(2 * p * q, depth - 1) / 2 + same * _peres_rate(p * p / same, depth - 1) / 2
