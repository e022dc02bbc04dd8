"""Conditioners that hash bits of a known min-entropy."""

from __future__ import annotations

import hashlib
from math import ceil, floor, log2
from typing import Literal, final

import numpy as np
from numpy.typing import NDArray

from voltaspin.core.compiled import numba
from voltaspin.core.errors import InputError
from voltaspin.core.renamed import renamed
from voltaspin.noise.conditioning import BLOCK, Conditioner
from voltaspin.noise.examination.whole import assessed
from voltaspin.noise.gaussian import GaussianTransform
from voltaspin.noise.source import NoiseSource
from voltaspin.random.streams import Stream


def _known(source: NoiseSource, H_min: float | Literal["assessed"] | None) -> tuple[float, str]:
    """Return the min-entropy per bit, and who states it."""
    return assessed(source) if H_min is None or H_min == "assessed" else (H_min, "the user's word")


@final
@renamed(shaping="transform")
class Toeplitz(Conditioner):
    """A random linear hash: ``m`` bits from ``n``, by a Toeplitz matrix over GF(2) of ``n + m - 1`` seed bits.

    By the leftover hash lemma (R. Impagliazzo, L. Levin, M. Luby, STOC 1989) the output is within ``epsilon`` of
    uniform, for one who knows the seed, where ``m <= n H_min - 2 log2(1 / epsilon)``. More is refused.

    Args:
        source: any bits.
        H_min: min-entropy per bit of the source; ``"assessed"`` or None assesses its bits (see
            ``examination.whole.assessed``).
        n_in: bits per block.
        n_out: bits out of each; None takes the most that is allowed.
        epsilon: distance from uniform, of each block.
        seed: of the matrix, which is pseudo-random here; the lemma wants a random one.
    """

    fixed_rate = True
    at_once = BLOCK // 16

    def __init__(
        self,
        source: NoiseSource,
        *,
        H_min: float | Literal["assessed"] | None,
        n_in: int = 1024,
        n_out: int | None = None,
        epsilon: float = 2.0**-64,
        seed: int = 0,
        transform: GaussianTransform | None = None,
    ) -> None:
        H_min, self.H_from = _known(source, H_min)
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
        details = {
            "method": "toeplitz", "n_in": self.n_in, "n_out": self.n_out, "H_min": self.H_min, "H_from": self.H_from,
            "epsilon": self.epsilon, "seed": int(seed), "matrix": "pseudo-random",
        }  # fmt: skip
        super().__init__(source, f"Toeplitz {self.n_in} to {self.n_out}", transform, self.n_in, details)
        words = Stream.of(seed, "toeplitz").words(-(-(n_in + self.n_out - 1) // 32))
        #: the first column from below, then the first row: uint8 (n_in + n_out - 1,)
        self.diagonal = np.unpackbits(words.view(np.uint8))[: n_in + self.n_out - 1]
        self._tables = toeplitz_tables(self.diagonal, self.n_in, self.n_out)

    def rate(self, p: float = 0.5) -> float:
        return self.n_out / self.n_in

    def _conditioned(self, packed: NDArray[np.uint8], n: int) -> tuple[NDArray[np.uint8], int]:
        blocks = n // self.n_in
        words = toeplitz(packed, self._tables, blocks, self.n_in // 8)
        bits = np.unpackbits(words.view(np.uint8).reshape(blocks, -1), axis=1, count=self.n_out)
        self.ledger.count("and", blocks * self.n_in * self.n_out)
        self.ledger.count("xor", blocks * (self.n_in - 1) * self.n_out)
        return np.packbits(bits), blocks * self.n_out


@final
@renamed(shaping="transform")
class Sha256(Conditioner):
    """256 bits from each block by SHA-256, a vetted conditioner of SP 800-90B 3.1.5.1.1.

    Full entropy is claimed where a block holds 64 bits of min-entropy more than come out (SP 800-90C).

    Args:
        source: any bits.
        H_min: min-entropy per bit of the source; ``"assessed"`` or None assesses its bits (see
            ``examination.whole.assessed``).
        n_in: bits per block, a multiple of 8; None takes the fewest that hold 320 bits of min-entropy.
    """

    fixed_rate = True
    at_once = BLOCK // 8

    def __init__(
        self,
        source: NoiseSource,
        *,
        H_min: float | Literal["assessed"] | None,
        n_in: int | None = None,
        transform: GaussianTransform | None = None,
    ) -> None:
        H_min, self.H_from = _known(source, H_min)
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
        details = {"method": "sha256", "n_in": self.n_in, "H_min": self.H_min, "H_from": self.H_from}
        super().__init__(source, f"SHA-256 of {self.n_in}", transform, self.n_in, details)

    def rate(self, p: float = 0.5) -> float:
        return 256 / self.n_in

    def _conditioned(self, packed: NDArray[np.uint8], n: int) -> tuple[NDArray[np.uint8], int]:
        blocks, size, data = n // self.n_in, self.n_in // 8, packed.tobytes()
        out = bytearray().join(hashlib.sha256(data[i * size : (i + 1) * size]).digest() for i in range(blocks))
        # the message, a bit and its length of 64 bits, in blocks of 512
        self.ledger.count("hash", blocks * -(-(self.n_in + 65) // 512))
        return np.frombuffer(out, np.uint8), 256 * blocks


def toeplitz_tables(diagonal, n_in, n_out):  # type: ignore[no-untyped-def]
    """Return the contribution of each byte of a block to the hash: uint64 (n_in / 8, 256, words), bits in packed order.

    Row ``i`` and column ``j`` of the matrix hold ``diagonal[n_out - 1 - i + j]``.
    """
    words = -(-n_out // 64)
    columns = np.zeros((n_in, words * 64), np.uint8)
    columns[:, :n_out] = np.lib.stride_tricks.sliding_window_view(diagonal, n_out)[:, ::-1]
    packed = np.packbits(columns, axis=1).view(np.uint64)
    tables = np.zeros((n_in // 8, 256, words), np.uint64)
    for bit in range(8):
        on = (np.arange(256) >> (7 - bit) & 1).astype(bool)
        tables[:, on] ^= packed[bit::8][:, None]
    return tables


@numba.njit(cache=True, nogil=True)
def toeplitz(packed, tables, blocks, size):  # type: ignore[no-untyped-def]
    """Hash of each block of ``size`` bytes: uint64 (blocks, words)."""
    words = tables.shape[2]
    out = np.zeros((blocks, words), np.uint64)
    for i in range(blocks):
        for j in range(size):
            row = tables[j, packed[i * size + j]]
            for w in range(words):
                out[i, w] ^= row[w]
    return out
