"""Conditioners: sources that make fewer and better bits from the bits of another source.

They compose in any order, count what they consume into the ledger, and say at which rate they deliver and what
bias they leave. What each needs of its input:

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

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from math import ceil, floor, log2
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.errors import InputError, NoiseExhaustedError
from voltaspin.ledger import Ledger
from voltaspin.noise import extractor_kernels as kernels
from voltaspin.noise.checked import HealthChecked
from voltaspin.noise.conditioning import xor_bias
from voltaspin.noise.gaussian import Shaping
from voltaspin.noise.sequential import SequentialSource
from voltaspin.noise.source import NoiseSource, Provenance, aligned
from voltaspin.streams import Stream

_BLOCK = 1 << 22  # bits taken from the source at once


class Conditioner(SequentialSource):
    """What all conditioners share: a source, what it has given and was not handed out, and the counting.

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
        return self._unit * max(1, _BLOCK // self._unit)

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
        return self._unit * max(1, _BLOCK // self._unit)


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


@final
class Toeplitz(Conditioner):
    """A random linear hash: ``m`` bits from ``n``, by a Toeplitz matrix over GF(2) of ``n + m - 1`` seed bits.

    By the leftover hash lemma (R. Impagliazzo, L. Levin, M. Luby, STOC 1989) the output is within ``epsilon`` of
    uniform, for one who knows the seed, where ``m <= n H_min - 2 log2(1 / epsilon)``. More is refused.

    Args:
        source: any bits.
        H_min: min-entropy per bit of the source, assessed by its owner.
        n_in: bits per block.
        n_out: bits out of each; None takes the most that is allowed.
        epsilon: distance from uniform, of each block.
        seed: of the matrix, which is pseudo-random here; the lemma wants a random one.
    """

    fixed_rate = True

    def __init__(
        self,
        source: NoiseSource,
        *,
        H_min: float,
        n_in: int = 1024,
        n_out: int | None = None,
        epsilon: float = 2.0**-64,
        seed: int = 0,
        shaping: Shaping | None = None,
    ) -> None:
        if not 0 < H_min <= 1 or not 0 < epsilon < 1:
            raise InputError(f"H_min = {H_min} and epsilon = {epsilon} must lie above 0, at most 1 and below 1")
        if n_in % 64 or not 64 <= n_in <= 2**16:
            raise InputError(f"n_in = {n_in} bits must be a multiple of 64 from 64 to 65536")
        most = floor(n_in * H_min - 2 * log2(1 / epsilon))
        if most < 1:
            need = ceil((2 * log2(1 / epsilon) + 64) / H_min / 64) * 64
            raise InputError(
                f"{n_in} bits of {H_min} bit each leave nothing at epsilon = {epsilon:.3g}; give n_in = {need} or more"
            )
        if n_out is not None and not 1 <= n_out <= most:
            raise InputError(
                f"n_out = {n_out} is more than the {most} bits that {n_in} bits of min-entropy {H_min} give at "
                f"epsilon = {epsilon:.3g} (n H - 2 log2(1/eps)); give 1 to {most}"
            )
        self.n_in, self.n_out = int(n_in), most if n_out is None else int(n_out)
        self.H_min, self.epsilon, self.seed = float(H_min), float(epsilon), seed
        self.method = f"Toeplitz {self.n_in} to {self.n_out}"
        super().__init__(source, shaping=shaping)
        words = Stream.of(seed, "toeplitz").words(-(-(n_in + self.n_out - 1) // 32))
        #: the first column from below, then the first row: uint8 (n_in + n_out - 1,)
        self.diagonal = np.unpackbits(words.view(np.uint8))[: n_in + self.n_out - 1]
        self._tables = kernels.toeplitz_tables(self.diagonal, self.n_in, self.n_out)

    def rate(self, p: float = 0.5) -> float:
        return self.n_out / self.n_in

    @property
    def _unit(self) -> int:
        return self.n_in

    @property
    def _chunk(self) -> int:
        return self.n_in * max(1, _BLOCK // 16 // self.n_in)

    @property
    def _details(self) -> dict[str, Any]:
        return {
            "method": "toeplitz", "n_in": self.n_in, "n_out": self.n_out, "H_min": self.H_min,
            "epsilon": self.epsilon, "seed": int(self.seed), "matrix": "pseudo-random",
        }  # fmt: skip

    def _conditioned(self, packed: NDArray[np.uint8], n: int) -> tuple[NDArray[np.uint8], int]:
        blocks = n // self.n_in
        words = kernels.toeplitz(packed, self._tables, blocks, self.n_in // 8)
        bits = np.unpackbits(words.view(np.uint8).reshape(blocks, -1), axis=1, count=self.n_out)
        self.ledger.count("and", blocks * self.n_in * self.n_out)
        self.ledger.count("xor", blocks * (self.n_in - 1) * self.n_out)
        return np.packbits(bits), blocks * self.n_out


@final
class Sha256(Conditioner):
    """256 bits from each block by SHA-256, a vetted conditioner of SP 800-90B 3.1.5.1.1.

    Full entropy is claimed where a block holds 64 bits of min-entropy more than come out (SP 800-90C).

    Args:
        source: any bits.
        H_min: min-entropy per bit of the source, assessed by its owner.
        n_in: bits per block, a multiple of 8; None takes the fewest that hold 320 bits of min-entropy.
    """

    fixed_rate = True

    def __init__(
        self, source: NoiseSource, *, H_min: float, n_in: int | None = None, shaping: Shaping | None = None
    ) -> None:
        if not 0 < H_min <= 1:
            raise InputError(
                f"H_min = {H_min} bit per bit is no min-entropy of a bit; give a number above 0, at most 1"
            )
        least = ceil((256 + 64) / H_min / 8) * 8
        if n_in is not None and (n_in < least or n_in % 8):
            raise InputError(
                f"n_in = {n_in} bits of {H_min} bit each do not hold 256 + 64 bits of min-entropy in whole bytes; give "
                f"a multiple of 8 from {least}"
            )
        self.H_min, self.n_in = float(H_min), least if n_in is None else int(n_in)
        self.method = f"SHA-256 of {self.n_in}"
        super().__init__(source, shaping=shaping)

    def rate(self, p: float = 0.5) -> float:
        return 256 / self.n_in

    @property
    def _unit(self) -> int:
        return self.n_in

    @property
    def _chunk(self) -> int:
        return self.n_in * max(1, _BLOCK // 8 // self.n_in)

    @property
    def _details(self) -> dict[str, Any]:
        return {"method": "sha256", "n_in": self.n_in, "H_min": self.H_min}

    def _conditioned(self, packed: NDArray[np.uint8], n: int) -> tuple[NDArray[np.uint8], int]:
        blocks, size, data = n // self.n_in, self.n_in // 8, packed.tobytes()
        out = b"".join(hashlib.sha256(data[i * size : (i + 1) * size]).digest() for i in range(blocks))
        # the message, a bit and its length of 64 bits, in blocks of 512
        self.ledger.count("hash", blocks * -(-(self.n_in + 65) // 512))
        return np.frombuffer(out, np.uint8), 256 * blocks


_FORMS = "health:H, xor:K, von-neumann, peres:DEPTH, toeplitz:H, sha256:H"


def conditioned(source: NoiseSource, chain: str) -> NoiseSource:
    """A source behind the conditioners that a text names, from left to right, e.g. ``"xor:2,von-neumann"``.

    Args:
        source: of raw bits.
        chain: names with one number each: ``xor:K``, ``von-neumann``, ``peres:DEPTH``, and ``toeplitz:H``,
            ``sha256:H`` and ``health:H`` (:class:`voltaspin.noise.checked.HealthChecked`) with the min-entropy per
            bit; parts joined by commas. ``none`` or nothing changes nothing.

    Raises:
        InputError: a name that is unknown or a number that does not fit.
    """
    for part in chain.split(",") if chain not in ("", "none") else []:
        name, _, value = part.strip().partition(":")
        try:
            if name == "health":
                source = HealthChecked(source, H=float(value or 0.9))
            elif name == "xor":
                source = Xor(source, k=int(value or 2))
            elif name == "von-neumann" and not value:
                source = VonNeumann(source)
            elif name == "peres":
                source = Peres(source, depth=int(value or 5))
            elif name == "toeplitz":
                source = Toeplitz(source, H_min=float(value))
            elif name == "sha256":
                source = Sha256(source, H_min=float(value))
            else:
                raise InputError(f"conditioner {part!r} is unknown; use {_FORMS}, joined by commas")
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"conditioner {part!r} needs a number: {_FORMS}") from None
    return source
