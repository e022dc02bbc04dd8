"""Conditioners: fewer and better bits from the bits of another source, by XOR, von Neumann or Peres.

The requirements on their input, with those of the hashes (:mod:`voltaspin.noise.hashing`):

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

None makes entropy: from simulated bits they make bits that look better.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from math import ceil
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.compiled import numba
from voltaspin.core.errors import InputError, NoiseExhaustedError
from voltaspin.core.renamed import renamed
from voltaspin.noise.gaussian import GaussianTransform
from voltaspin.noise.source import BufferedStage, NoiseSource, aligned

BLOCK = 1 << 22  #: bits taken from the source at once


def xor_bias(p: float, k: int) -> float:
    """Return the bias ``|P(1) - 1/2|`` that the XOR of ``k`` independent bits of probability ``p`` keeps.

    It is ``|1 - 2p|**k / 2``, the piling-up lemma. The bits must come from different cells: the XOR of two successive
    states of one cell that is not reset is its flip bit, with nothing gained.

    Source: M. Matsui, EUROCRYPT '93, LNCS 765, 386.
    """
    if not 0 <= p <= 1 or k < 1:
        raise InputError(f"p = {p} and k = {k} do not fit; p is a probability and k at least 1")
    return abs(1 - 2 * p) ** k / 2


class Conditioner(BufferedStage):
    """A source that makes fewer and better bits from the bits of another source.

    Conditioners compose in any order, count what they consume into the ledger, and say at which rate they deliver.
    A concrete one turns a chunk of raw bits into packed bits (:meth:`_conditioned`).

    Args:
        source: that is conditioned; its sequence is consumed.
        does: the method in a few words.
        transform: how bits become numbers; None takes the 16-bit inverse CDF.
        unit: raw bits that are consumed together.
        details: method and parameters, for provenance.
    """

    fixed_rate: bool  #: whether the number of bits out follows from that of the bits in
    at_once: int = BLOCK  #: raw bits consumed at once, rounded down to whole units, one at least

    def __init__(
        self, source: NoiseSource, does: str, transform: GaussianTransform | None, unit: int, details: dict[str, Any]
    ) -> None:
        super().__init__(source, does, transform)
        self._unit, self._chunk, self._details = unit, unit * max(1, self.at_once // unit), details

    @property
    def n_cells(self) -> int:
        return 1

    @abstractmethod
    def rate(self, p: float = 0.5) -> float:
        """Return the bits out per bit in when every bit is independently 1 with probability ``p``."""

    @abstractmethod
    def _conditioned(self, packed: NDArray[np.uint8], n: int) -> tuple[NDArray[np.uint8], int]:
        """Return (packed bits, how many) from ``n`` raw bits; count the logic."""

    @property
    def bits_left(self) -> int | None:
        """As of any source; where the rate varies, only the bits that were made and not handed out are certain."""
        left = self.source.bits_left
        if left is None:
            return None
        return self._left.bits + (self._made_of(left) if self.fixed_rate else 0)

    @property
    def bits_at_most(self) -> int | None:
        left = self.source.bits_at_most
        return None if left is None else self._left.bits + (self._made_of(left) if self.fixed_rate else left)

    def _made_of(self, raw: int) -> int:
        """Return the bits from so many raw ones at a fixed rate: only whole units give any."""
        return int(raw // self._unit * self._unit * self.rate())

    def _about(self, inner: Mapping[str, Any]) -> dict[str, Any]:
        return {"conditioning": [*inner.get("conditioning", []), self._details]}

    def _make_more(self, n: int) -> None:
        self._make(*self._raw(n))

    def _make(self, raw: NDArray[np.uint8], size: int) -> None:
        """Condition ``size`` raw bits and keep the result."""
        self._left.put(*self._conditioned(raw, size))
        self.ledger.count("raw", size)

    def expect(self, n: int) -> None:
        self.source.expect(ceil(n / self.rate()) if self.rate() else n)

    def _raw(self, n: int) -> tuple[NDArray[np.uint8], int]:
        """Return the next chunk of raw bits, or what is left of them in whole units; how many."""
        size = self._chunk
        if self.source.bits_at_once < BLOCK and self.rate():  # of bits that have to be waited for, none too many
            size = min(size, self._unit * ceil((n - self._left.bits) / (self._unit * self.rate())))
        try:
            return self.source.take(size), size
        except NoiseExhaustedError:
            # Now a source whose own rate varies has made all it can, and knows how much that is.
            left = self.source.bits_left or 0
        size = left // self._unit * self._unit
        if size == 0:
            raise NoiseExhaustedError(
                f"{self.source.name} has run dry: {n} conditioned bits were asked for, {self._left.bits} are made and "
                f"kept, {left} raw bits are left; ask for fewer or record more (nothing was handed out)"
            )
        return self.source.take(size), size

    def _rest(self) -> tuple[NDArray[np.uint8], int]:
        raw, size = self.source._rest()
        if size := size // self._unit * self._unit:
            self._make(aligned(raw, 0, size), size)
        n = self._left.bits
        return self._left.take(n), n


@final
@renamed(shaping="transform")
class Xor(Conditioner):
    """XOR of ``k`` bits of different cells; leaves the bias ``|1 - 2 p|**k / 2``.

    With several cells, bit ``i`` of a pulse is combined with the bits ``i + m``, ``i + 2 m``, ... of the same pulse,
    where ``m`` is the number of cells over k, as in the array itself (:class:`MemorySource` with k above 1).

    Args:
        source: raw bits of at least k cells, a number that k divides.
        k: bits combined.
        independent: combine k bits in a row of a source of one cell: only where they are independent.
            Successive states of one cell that is not reset give back the flip bit, with nothing gained.
    """

    fixed_rate = True

    def __init__(
        self, source: NoiseSource, *, k: int = 2, independent: bool = False, transform: GaussianTransform | None = None
    ) -> None:
        if not isinstance(k, int | np.integer) or not 2 <= k <= 4096:
            raise InputError(f"k = {k!r} must be an integer from 2 to 4096: the bits that are combined into one")
        if source.n_cells == 1 and not independent and source.provenance.kind != "pseudo":
            raise InputError(
                f"{source.name} does not say that its bits come from different cells (n_cells = 1), and the XOR of one "
                "cell in time may gain nothing: if its successive bits are independent, as after a reset before each "
                f"pulse, say independent=True (in a description xor:{k},independent=yes); if cells take turns, say "
                f"how many, n_cells={2 * k}"
            )
        if source.n_cells > 1 and source.n_cells % k:
            raise InputError(
                f"k = {k} does not divide the {source.n_cells} cells of {source.name}; choose one that does, or leave "
                "cells of a recording or stream out until it does (leave_out=)"
            )
        self.k = int(k)
        self._cells = source.n_cells if source.n_cells > 1 else self.k
        unit = self._cells * (8 if self._cells % 8 else 1) * (8 if self._cells // self.k % 8 else 1)
        super().__init__(source, f"XOR of {k}", transform, unit, {"method": "xor", "k": self.k})

    @property
    def n_cells(self) -> int:
        return max(1, self.source.n_cells // self.k)

    def rate(self, p: float = 0.5) -> float:
        return 1 / self.k

    def bias(self, p: float) -> float:
        """Return the bias that is left of independent bits of probability ``p``."""
        return xor_bias(p, self.k)

    def _conditioned(self, packed: NDArray[np.uint8], n: int) -> tuple[NDArray[np.uint8], int]:
        rows, made = n // self._cells, n // self.k
        self.ledger.count("xor", made * (self.k - 1))
        if self._cells % (8 * self.k) == 0:
            return np.bitwise_xor.reduce(packed.reshape(rows, self.k, -1), axis=1).ravel(), made
        bits = np.unpackbits(packed, count=n).reshape(rows, self.k, -1)
        return np.packbits(np.bitwise_xor.reduce(bits, axis=1)), made


@final
@renamed(shaping="transform")
class VonNeumann(Conditioner):
    """Of two bits of one cell in a row, 01 gives 0, 10 gives 1, equal ones nothing (J. von Neumann, 1951).

    Unbiased exactly where the bits of a cell are independent and of constant probability. The pairs are
    taken of each cell by itself: neighbours in the stream have different biases. The bits come out pair after
    pair in time, in a pair of pulses cell after cell.
    """

    fixed_rate = False

    def __init__(self, source: NoiseSource, *, transform: GaussianTransform | None = None) -> None:
        super().__init__(source, "von Neumann", transform, 2 * source.n_cells, {"method": "von Neumann"})

    def rate(self, p: float = 0.5) -> float:
        return p * (1 - p)

    def _conditioned(self, packed: NDArray[np.uint8], n: int) -> tuple[NDArray[np.uint8], int]:
        bits = np.unpackbits(packed, count=n)
        out = np.empty(n // 2, np.uint8)
        made = von_neumann(bits, self.source.n_cells, out)
        self.ledger.count("xor", n // 2)
        return np.packbits(out[:made]), int(made)


@final
@renamed(shaping="transform")
class Peres(Conditioner):
    """Von Neumann's procedure again on what it throws away (Y. Peres, Ann. Statist. 20, 590 (1992)).

    From the pairs of a sequence, besides von Neumann's bits, the XORs of all pairs and the common bits of the equal
    pairs make two sequences, to which the procedure is applied again. The rate tends to the Shannon entropy with
    the depth. It works on blocks of each cell, at whose end an odd bit is lost.

    Args:
        source: as :class:`VonNeumann`.
        depth: 1 is von Neumann's, 20 at most.
        block: bits of one cell that are worked on together; None takes 4096, fewer where there are many cells.
    """

    fixed_rate = False
    at_once = 1  # a block of each cell

    def __init__(
        self,
        source: NoiseSource,
        *,
        depth: int = 5,
        block: int | None = None,
        transform: GaussianTransform | None = None,
    ) -> None:
        if not 1 <= depth <= 20:
            raise InputError(f"depth = {depth}: give 1 (von Neumann) to 20")
        if block is None:
            block = max(2 ** (depth + 4), min(4096, 2**26 // source.n_cells))
        if not 2**depth <= block <= 2**24:
            raise InputError(f"block = {block} bits is too short or long for depth {depth}; give {2**depth} to 2**24")
        self.depth, self.block = int(depth), int(block)
        details = {"method": "peres", "depth": self.depth, "block": self.block}
        super().__init__(source, f"Peres of depth {depth}", transform, source.n_cells * self.block, details)

    def rate(self, p: float = 0.5) -> float:
        """Of long blocks: ``f(p) = p q + f'(2 p q) / 2 + (p^2 + q^2) f'(p^2 / (p^2 + q^2)) / 2``, one depth less."""
        return _peres_rate(p, self.depth)

    def _conditioned(self, packed: NDArray[np.uint8], n: int) -> tuple[NDArray[np.uint8], int]:
        rows = np.unpackbits(packed, count=n).reshape(-1, self.source.n_cells)
        out = np.empty(n, np.uint8)
        made, pairs = peres(np.ascontiguousarray(rows.T), self.depth, out)
        self.ledger.count("xor", int(pairs))
        return np.packbits(out[:made]), int(made)


def _peres_rate(p: float, depth: int) -> float:
    if depth == 0 or p in (0.0, 1.0):
        return 0.0
    q = 1 - p
    same = p * p + q * q
    return p * q + _peres_rate(2 * p * q, depth - 1) / 2 + same * _peres_rate(p * p / same, depth - 1) / 2


@numba.njit(cache=True, nogil=True)
def von_neumann(bits, cells, out):  # type: ignore[no-untyped-def]
    """Von Neumann's bits of successive pairs of rows of ``cells`` bits into ``out``; how many."""
    made = 0
    for r in range(0, bits.shape[0] // cells - 1, 2):
        one = bits[r * cells : (r + 1) * cells]
        two = bits[(r + 1) * cells : (r + 2) * cells]
        for c in range(cells):
            out[made] = one[c]
            made += one[c] ^ two[c]
    return made


@numba.njit(cache=True, nogil=True)
def _peres(s, n, depth, scratch, out, made):  # type: ignore[no-untyped-def]
    """The bits of ``s[:n]`` go to ``out`` from ``made`` on; (how many are there then, pairs looked at).

    scratch: uint8, at least 2 n of it, for the two sequences of each depth.
    """
    half = n // 2
    if depth == 0 or half == 0:
        return made, 0
    differ, equal = scratch[:half], scratch[half : 2 * half]
    same = 0
    for i in range(half):
        a, b = s[2 * i], s[2 * i + 1]
        differ[i] = a ^ b
        if a == b:
            equal[same] = a
            same += 1
        else:
            out[made] = a
            made += 1
    pairs = half
    made, more = _peres(differ, half, depth - 1, scratch[2 * half :], out, made)
    pairs += more
    made, more = _peres(equal, same, depth - 1, scratch[2 * half :], out, made)
    return made, pairs + more


@numba.njit(cache=True, nogil=True)
def peres(cells, depth, out):  # type: ignore[no-untyped-def]
    """Peres' bits of each row (the bits of one cell) of uint8 (cells, n), row after row: (how many, pairs seen)."""
    scratch = np.empty(2 * cells.shape[1] + 2, np.uint8)
    made, pairs = 0, 0
    for c in range(cells.shape[0]):
        made, more = _peres(cells[c], cells.shape[1], depth, scratch, out, made)
        pairs += more
    return made, pairs
